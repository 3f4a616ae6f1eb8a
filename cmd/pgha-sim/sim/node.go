package sim

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"github.com/pgha/pgha-agent/agent"
	"github.com/pgha/pgha-agent/crm"
	"github.com/pgha/pgha-agent/drbd"
	"github.com/pgha/pgha-agent/pg"
)

// node is one machine: its kernel, its side of Pacemaker, and the processes on it. What it says of itself is the model's truth.
type node struct {
	w    *world
	i    int
	name string
	addr netip.Addr
	cfg  *agent.Config

	alive  bool // has power
	frozen bool // and stands still
	booted time.Duration
	boots  int
	hidden time.Duration // slept without its clocks
	slept  time.Duration // slept without CLOCK_MONOTONIC
	step   time.Duration // of the wall clock
	late   []job         // of processes while it is frozen

	cib *cib // Pacemaker's picture; nil: Pacemaker does not run

	primary    bool // DRBD's role
	upToDate   bool
	suspended  bool
	splitBrain bool
	pgUp       time.Duration // when PostgreSQL accepts writes
	call       int           // the last call id of Pacemaker's executor

	// The truth about promotions. A node that is taken for dead is not promoted any more, whatever it believes.
	promoted   bool
	promotions int
	ended      time.Duration // when it was last promoted
	since      time.Duration // when it was promoted last

	procs      []*proc
	daemon     *proc
	down       bool // the daemon is stopped and stays so
	crmTakes   time.Duration
	crmFails   time.Duration // until
	streamEnds time.Duration // until
	streamHangs,
	paused time.Duration // until
	pausedAt     time.Duration
	clockUnsure  time.Duration // until when a pause may last that was kept by a wall clock which stepped
	lostAt       time.Duration // when the other node lost it last
	lostPromoted bool          // and what it was then
	woke         time.Duration
	asleep       time.Duration   // when it fell asleep, the last time that its clocks stopped as well
	awake        time.Duration   // and woke up
	kept         map[string]bool // claims of which its journal must know that they were accepted
	drbdSaid     bool            // Connected, as the kernel sees it
	blind        time.Duration   // until when its picture may be from before a sleep or a cut that nobody could end
	upset        time.Duration   // when something last went wrong on it: see world.rough
}

func (w *world) newNode(i int) *node {
	n := &node{w: w, i: i, name: []string{"pg-1", "pg-2"}[i], alive: true, upToDate: true, crmTakes: ms(400), booted: -time.Hour, ended: -time.Hour, boots: 1, kept: map[string]bool{}}
	n.addr = netip.AddrFrom4([4]byte{10, 0, byte(i + 1), 10})
	cfg := agent.DefaultConfig()
	cfg.Node.Name, cfg.Node.Address = n.name, n.addr.String()
	cfg.Cluster.Promotable, cfg.Drbd.Resource = clone, resource
	cfg.Record.Name, cfg.Record.TTL = recordName, 10*time.Second
	cfg.Postgres.Client = agent.Off
	if w.s.Writable {
		cfg.Record.PublishOn = agent.PublishOnWritable
	}
	cfg.State.Dir = filepath.Join(w.dir, n.name)
	if err := os.Mkdir(cfg.State.Dir, 0o750); err != nil {
		panic(err)
	}
	n.cfg = &cfg
	return n
}

func (n *node) other() *node { return n.w.nodes[1-n.i] }

// epoch is the wall clock's time at the start of each simulation.
var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func (n *node) clock() time.Duration { return n.w.now - n.booted - n.hidden }

// passed is how long ago that was, by the node's clock: it knows nothing of a sleep in which its clocks stopped.
func (n *node) passed(since time.Duration) time.Duration {
	return n.w.now - since - max(0, n.awake-max(since, n.asleep))
}

func (n *node) wall() time.Time { return epoch.Add(n.w.now + n.step) }
func (n *node) bootID() string  { return fmt.Sprintf("%s-boot-%d", n.name, n.boots) }

// postgres is what the local server answers.
func (n *node) postgres() pg.State {
	switch {
	case !n.primary || n.pgUp == 0:
		return pg.StateRefused
	case n.w.now < n.pgUp:
		return pg.StateStartingUp
	case n.suspended:
		return pg.StateTimeout
	default:
		return pg.StateWritable
	}
}

// drbd is what an events2 stream says that begins now.
func (n *node) drbd() drbd.Report {
	o := n.other()
	res := drbd.Resource{Name: resource, Role: drbd.RoleSecondary, SuspendedKnown: true}
	if n.primary {
		res.Role = drbd.RolePrimary
	}
	if n.suspended {
		res.Suspended = []string{"fencing"}
	}
	disk := "UpToDate"
	if !n.upToDate {
		disk = "Inconsistent"
	}
	res.Devices = []drbd.Device{{Disk: disk}}
	c := drbd.Connection{Name: o.name, State: "NetworkFailure", PeerRole: drbd.RoleUnknown}
	switch {
	case n.drbdSaid:
		c.State, c.PeerRole = "Connected", drbd.RoleSecondary
		if o.primary {
			c.PeerRole = drbd.RolePrimary
		}
	case n.splitBrain:
		c.State, c.SplitBrain = "StandAlone", drbd.SplitBrainLatched
	}
	res.Connections = []drbd.Connection{c}
	return drbd.Report{Live: true, Status: drbd.Status{Resources: []drbd.Resource{res}}}
}

// powerOff ends everything on the node.
func (n *node) powerOff() {
	if !n.alive {
		return
	}
	w := n.w
	w.story(n, "POWER OFF")
	for len(n.procs) > 0 {
		n.procs[0].kill()
	}
	n.tear()
	n.alive, n.frozen, n.late, n.cib = false, false, nil, nil
	n.primary, n.drbdSaid, n.suspended, n.pgUp = false, false, false, 0
	n.unpromoted()
	w.lost(n)
	w.after(w.between(20*time.Second, 90*time.Second), n.powerOn)
}

// tear damages the end of the journal as a power cut does that comes into the middle of an append: the line is not whole.
func (n *node) tear() {
	if !n.w.chance(4) {
		return
	}
	path := filepath.Join(n.cfg.State.Dir, "journal")
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return // there was none yet
	}
	_, _ = f.WriteString(`0badc0de {"boot":"` + "x\n"[:n.w.rng.IntN(3)])
	_ = f.Close()
}

func (n *node) powerOn() {
	if n.alive {
		return
	}
	w := n.w
	w.story(n, "boots")
	n.alive, n.boots, n.booted, n.slept, n.hidden, n.call = true, n.boots+1, w.now-20*time.Second, 0, 0, 0
	n.blind = 0
	n.upToDate = !n.other().primary
	w.rough(n)
	n.restarts()
	w.after(w.between(2*time.Second, 10*time.Second), func() { w.joins(n) })
}

// restarts starts the daemon after a while, as systemd does.
func (n *node) restarts() {
	n.w.after(n.w.usually(ms(200), 3*time.Second, 60*time.Second), func() {
		if n.alive && n.daemon == nil && !n.down {
			if n.frozen {
				n.restarts()
				return
			}
			n.w.story(n, "agent starts")
			n.spawn(false)
		}
	})
}

// freeze makes the machine stand still until thaw. Its clocks may stand still as well, which no program on it can notice.
func (n *node) freeze(d time.Duration, clocks bool) {
	if !n.alive || n.frozen {
		return
	}
	w := n.w
	w.story(n, "FROZEN for %v", d)
	n.frozen = true
	w.rough(n)
	w.lost(n)
	began, boot := w.now, n.boots
	w.after(d, func() {
		if !n.frozen || n.boots != boot {
			return // it was powered off meanwhile
		}
		w.story(n, "wakes")
		n.frozen = false
		if clocks {
			n.hidden += w.now - began
			n.asleep, n.awake = began, w.now
			n.blind = w.now + Blind
		} else if w.chance(2) {
			n.slept += w.now - began
		}
		n.woke = w.now
		w.rough(n)
		late := n.late
		n.late = nil
		for _, j := range late {
			w.on(j.p, 0, j.run)
		}
		w.returns(n)
	})
}

// becomes makes the node the promoted one, in the kernel.
func (n *node) becomes() {
	n.primary, n.promoted, n.since = true, true, n.w.now
	n.promotions++
	n.w.promotions++
	n.call++
	n.w.story(n, "PROMOTED (%d)", n.promotions)
	n.w.changed()
}

// unpromoted ends its promotion for the cluster.
func (n *node) unpromoted() {
	if n.promoted {
		n.promoted, n.ended = false, n.w.now
		n.w.changed()
	}
}

// alert is one run of the alert agent on this node, which may go astray.
func (n *node) alert(a crm.Alert) {
	w := n.w
	if !n.alive || n.frozen || w.alerts == "lost" {
		return
	}
	n.call++
	a.Sequence = n.call
	times := 1
	switch {
	case w.chance(6) || w.alerts == "few":
		return
	case w.chance(10):
		times = 2
	}
	for range times {
		d := w.usually(ms(1), ms(50), 30*time.Second)
		boot := n.boots
		w.after(d, func() {
			switch {
			case n.boots != boot:
			case n.daemon != nil:
				p := n.daemon
				p.tell(0, func() { p.d.Alert(a) })
			case a.Task == "promote" && n.alive && !n.frozen && len(n.procs) == 0 && w.chance(2):
				w.story(n, "the hook publishes by itself")
				n.spawn(true)
			}
		})
	}
}
