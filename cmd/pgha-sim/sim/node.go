package sim

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/pgha/pgha-agent/agent/config"
	"github.com/pgha/pgha-agent/crm"
	"github.com/pgha/pgha-agent/drbd"
	"github.com/pgha/pgha-agent/pg"
)

// node is one machine: its kernel, its side of Pacemaker, and the processes on it. What it says of itself is the
// model's truth.
type node struct {
	w     *world
	i     int
	name  string
	addr  netip.Addr
	cfg   *config.Config
	moved int // how often it was configured for another record, or another address

	alive    bool // has power
	staysOff bool // and nobody switches it on again
	frozen   bool // and stands still
	booted   time.Duration
	boots    int
	hidden   time.Duration // slept without its clocks
	slept    time.Duration // slept without CLOCK_MONOTONIC
	step     time.Duration // of the wall clock
	late     []job         // of processes while it is frozen

	cib     *cib // Pacemaker's picture; nil: Pacemaker does not run
	stopped bool // and shall not

	up         bool // DRBD's resource is there
	primary    bool // its role
	upToDate   bool
	badDisk    bool // its last volume has none
	suspended  bool
	splitBrain bool
	split      bool      // and since then it was not connected to the other node, which tells it that this is over
	drbdSaid   bool      // connected with the other node, as the kernel sees it
	peerRole   drbd.Role // what that said of itself last
	peerDisks  []drbd.DiskState
	view       view
	thirdSaid  bool          // and with the third
	pgUp       time.Duration // when PostgreSQL accepts writes
	call       int           // the last call id of Pacemaker's executor

	// The truth about promotions. A node that is taken for dead is not promoted any more, whatever it believes.
	promoted   bool
	promotions int
	ended      time.Duration // when it was last promoted
	since      time.Duration // when it was promoted last

	procs    []*proc
	daemon   *proc
	off      bool // the daemon is stopped and stays so
	crmTakes time.Duration
	crmCrawls,
	crmCrawled time.Duration // until, and since
	crmFails   time.Duration // until
	flaw       string        // of the instance
	flawed     time.Duration // until
	streamEnds time.Duration // until
	streamHangs,
	diskHangs, // until
	paused time.Duration // until
	pausedAt     time.Duration
	systemdHangs time.Duration // until
	pid1         atomic.Bool   // it does
	pauseFile    time.Time     // until when, by the wall clock: what a new process goes by
	lostPromoted bool          // and what it was then
	diedPromoted bool          // what it was when it lost its power
	woke         time.Duration
	// it cannot know whether the other node, which is away, was fenced before its last promotion or after
	blurred bool
	joined  time.Duration // when it last became a member of the other's cluster again
	lonely  bool          // it has been away like that, and is a cluster of its own still
	spared  time.Duration // until when a fencing that lied or was skipped explains what it does
	asleep  time.Duration // when it fell asleep, the last time that its clocks stopped as well
	awake   time.Duration // and woke up
	kept    map[deed]bool // what its journal must know to be accepted
	// and that the other node was lost while it was promoted, and nobody had fenced it
	keptLost   bool
	keptGone   bool                    // the same, fenced or not
	keptLostAt time.Duration           // and when
	vague      bool                    // and that it may have come back while nobody saw the history
	keptFenced map[crm.FenceEvent]bool // the same of fencings that were seen
	// the other node's daemon had read the record as it was when this one was promoted
	known     bool
	calls     []time.Duration // of the API in the last minute
	starts    []time.Duration // of a daemon in the place of another, in the last minute
	byHand    time.Duration   // when a publication without the daemon was last accepted
	rivals    rivals          // what it has read
	untold    time.Duration   // when a fencing of the other node was last erased before the daemon saw it
	misled    time.Duration   // when the history last came back with one that the daemon does not know
	noJournal bool            // it cannot be opened
	blanks    int             // processes that found it so
	replaced  bool            // by another machine, at least once
	// when something last happened to its promotion, or to what it knows of the other node
	news time.Duration
	// until when its picture may be from before a sleep or a cut that nobody could end
	blind time.Duration
	upset time.Duration // when something last went wrong on it: see world.rough
}

// forever is longer than any simulation.
const forever = time.Duration(1 << 60)

// rivals are the claims that a node has read for the first time during a promotion, and that are not its own.
type rivals struct {
	during, count int
	last, counted string // the claim that the node read last, and that which was counted last
	strange       bool   // one was a stranger's, and newer than the node's own that was accepted
}

func (w *world) newNode(i int) *node {
	n := &node{w: w, i: i, name: []string{"pg-1", "pg-2"}[i], alive: true, upToDate: true, crmTakes: ms(400),
		booted: -time.Hour, ended: -time.Hour, woke: -time.Hour, spared: -time.Hour, boots: 1,
		kept: map[deed]bool{}, keptFenced: map[crm.FenceEvent]bool{}}
	n.addr = netip.AddrFrom4([4]byte{10, 0, byte(i + 1), 10})
	cfg := config.Default()
	cfg.Node.Name, cfg.Node.Address = n.name, n.addr.String()
	cfg.Cluster.Promotable, cfg.Drbd.Resource = clone, resource
	cfg.Record.ZoneID, cfg.Record.Name, cfg.Record.TTL = "Z1SIM", recordName, recordTTL
	cfg.Postgres.Client = config.Off
	if w.s.Writable {
		cfg.Record.PublishOn = config.PublishOnWritable
	}
	cfg.State.Dir = filepath.Join(w.dir, n.name)
	if err := os.Mkdir(cfg.State.Dir, 0o750); err != nil {
		panic(err)
	}
	n.cfg = &cfg
	return n
}

func (n *node) other() *node { return n.w.nodes[1-n.i] }

// key is where its record is, as it is configured.
func (n *node) key() key { return key{n.cfg.Record.ZoneID, n.cfg.Record.Name} }

// deed is what it is to publish for a claim.
func (n *node) deed(claim string) deed { return deed{n.key(), n.addr, n.moved, claim} }

// configure changes the configuration, which a daemon that runs then loads again: the old agent in it ends in good
// order, and a new one begins.
func (n *node) configure(change func(*config.Config)) {
	cfg := *n.cfg
	change(&cfg)
	if cfg.Node.Address = n.addr.String(); cfg.Node != n.cfg.Node || cfg.Record != n.cfg.Record {
		n.moved++
	}
	n.cfg = &cfg
	if p := n.daemon; p != nil {
		p.tell(0, func() {
			if p.n.daemon != p {
				return
			}
			n.w.story(n, "agent loads its configuration")
			if p.d.Flush() == nil && n.w.now >= n.diskHangs {
				p.durable = p.turned
			}
			p.kill()
			n.spawn(false)
		})
	}
}

// replace puts another machine into the place of the node, with its name, and an empty disk.
func (n *node) replace() {
	n.powerOff()
	n.w.story(n, "is replaced")
	entries, err := os.ReadDir(n.cfg.State.Dir)
	for _, e := range entries {
		err = errors.Join(err, os.Remove(filepath.Join(n.cfg.State.Dir, e.Name())))
	}
	if err != nil {
		panic(err)
	}
	n.replaced, n.kept, n.keptLost, n.keptGone, n.pauseFile, n.paused = true, map[deed]bool{}, false, false, time.Time{}, 0
	n.keptFenced = map[crm.FenceEvent]bool{}
}

// pauseFound is until when a new process is paused, which goes by the file.
func (n *node) pauseFound() time.Duration {
	return n.w.now + min(n.pauseFile.Sub(n.wall()), 7*24*time.Hour)
}

// breakJournal makes the journal one that cannot be opened, or fixes it.
func (n *node) breakJournal(broken bool) {
	path := filepath.Join(n.cfg.State.Dir, "journal")
	n.noJournal = broken
	if broken {
		_ = os.Link(path, path+".backup") // it may not be there
		return
	}
	_ = os.Remove(path + ".backup")
}

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
	case n.suspended || !n.quorate():
		return pg.StateTimeout
	default:
		return pg.StateWritable
	}
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
	n.spared = min(n.spared, w.now)
	n.down()
	n.diedPromoted = n.promoted
	n.pgUp, n.badDisk = 0, false
	n.unpromoted()
	w.lost(n)
	w.after(w.between(20*time.Second, 90*time.Second), func() {
		if !n.staysOff {
			n.powerOn()
		}
	})
}

// tear damages the end of the journal as a power cut does that comes into the middle of an append: the line is not
// whole.
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
	n.staysOff, n.stopped = false, false
	n.alive, n.boots, n.booted, n.slept, n.hidden, n.call = true, n.boots+1, w.now-20*time.Second, 0, 0, 0
	n.blind, n.lonely, n.keptLost, n.keptGone = 0, false, false, false
	w.rough(n)
	n.restarts()
	w.after(w.between(2*time.Second, 10*time.Second), func() { w.joins(n) })
}

// restarts starts the daemon after a while, as systemd does.
func (n *node) restarts() {
	n.w.after(n.w.usually(ms(200), 3*time.Second, 60*time.Second), func() {
		if n.alive && n.daemon == nil && !n.off {
			if n.frozen {
				n.restarts()
				return
			}
			n.w.story(n, "agent starts")
			n.spawn(false)
		}
	})
}

// freeze makes the machine stand still until thaw. Its clocks may stand still as well, which no program on it can
// notice.
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
			n.blind, n.lonely = w.now+Blind+w.waits(), true
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
	before, standby := n.w.zone.of(n.key()).settled, n.other().daemon
	n.known = before == 0 || standby != nil && standby.read > before
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
				n.publish(pick(w.rng, 25*time.Second, 55*time.Second)) // of an alert that is registered with 30 s, or 60
			}
		})
	}
}

// publish is a publication without the daemon, which may take so long: the alert hook's, or an operator's.
func (n *node) publish(timeout time.Duration) {
	n.w.story(n, "a publication by itself")
	n.spawn(true)
	p := n.procs[len(n.procs)-1]
	n.w.on(p, timeout, func() {
		n.w.oracle.gaveUp(p)
		p.kill()
	})
}
