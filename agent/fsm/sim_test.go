package fsm

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"
)

// cluster is a small Pacemaker over two nodes. It fences before it promotes, unless fencing is disabled.
type cluster struct {
	t       *testing.T
	seed    uint64
	k       kernel
	r       *rand.Rand
	z       zone
	fencing bool
	nodes   [2]*simNode
	claims  int
	busy    bool // a failover or a move is under way
}

type simNode struct {
	c        *cluster
	i        int
	a        *agent
	name     string
	addr     string
	alive    bool // powered on
	member   bool // as the cluster sees it
	unclean  bool
	promoted bool
	claim    string
	fenced   int64
	wasUntil Time // end of its last promotion
	pgUp     Time // when PostgreSQL accepts writes
	stale    Time // until then its own crm_mon and DRBD show the world from before the freeze
	old      [2]nodeView
}

type nodeView struct {
	member, unclean, promoted bool
	claim                     string
	fenced                    int64
}

func (n *simNode) other() *simNode { return n.c.nodes[1-n.i] }

func (n *simNode) now() (me, them nodeView) {
	view := func(x *simNode) nodeView { return nodeView{x.member, x.unclean, x.promoted, x.claim, x.fenced} }
	return view(n), view(n.other())
}

func (n *simNode) seesOld() bool { return n.c.k.now < n.stale }

func (n *simNode) views() (me, them nodeView) {
	if n.seesOld() {
		return n.old[0], n.old[1]
	}
	return n.now()
}

func (n *simNode) look() Cluster {
	if n.c.r.IntN(30) == 0 {
		return Cluster{} // crm_mon failed
	}
	m, o := n.views()
	c := Cluster{
		OK: true, Online: m.member, FencingEnabled: n.c.fencing, PromotedHere: m.promoted, Promotion: m.claim, FilesystemHere: m.promoted, PeerCount: 1,
	}
	c.Peers[0] = Peer{Name: n.other().name, Online: o.member, Unclean: o.unclean, Promoted: o.promoted, Fenced: o.fenced}
	if m.promoted {
		c.PromotedCount++
	}
	if o.promoted {
		c.PromotedCount++
		c.PromotedPeer = n.other().name
	}
	return c
}

func (n *simNode) drbd() Drbd {
	m, o := n.views()
	connected := n.other().alive || n.seesOld()
	return Drbd{
		At: n.c.k.now, Live: true, UpToDate: true, Primary: m.promoted, Connected: connected, PeerPrimary: connected && o.promoted, LostWhy: "NetworkFailure",
	}
}

func (c *cluster) ms(lo, hi int) time.Duration {
	return time.Duration(lo+c.r.IntN(hi-lo)) * time.Millisecond
}

func newCluster(t *testing.T, seed uint64) *cluster {
	c := &cluster{t: t, seed: seed, r: rand.New(rand.NewPCG(seed, 7))}
	c.k.now, c.fencing = boot, seed%4 != 0
	c.z.ownership = true
	for i, name := range []string{peer, me} {
		n := &simNode{c: c, i: i, name: name, addr: []string{peerAddr, myAddr}[i], alive: true, member: true}
		cfg := testConfig()
		cfg.Node, cfg.Addr, cfg.Unnamed = name, n.addr, name+"/unnamed"
		n.a = &agent{
			k: &c.k, cfg: cfg, zone: &c.z, look: n.look, drbd: n.drbd,
			probe: func() Postgres { up := n.promoted && c.k.now >= n.pgUp; return Postgres{Accepting: up, Writable: up} },
			lag: func(kind string) time.Duration {
				switch {
				case kind == "probe":
					return c.ms(1, 20)
				case kind == "request" && c.r.IntN(20) == 0:
					return c.ms(1000, 30000) // arrives when nobody expects it any more
				case c.r.IntN(10) == 0:
					return c.ms(500, 5000)
				default:
					return c.ms(20, 400)
				}
			},
		}
		c.nodes[i] = n
	}
	return c
}

// changed tells the agents what they would notice by themselves: DRBD at once, alerts sometimes.
func (c *cluster) changed() {
	for _, n := range c.nodes {
		if !n.alive {
			continue
		}
		n.a.event(DrbdChanged{n.drbd()})
		if c.r.IntN(3) > 0 {
			n.a.event(Hint{Promotion: c.r.IntN(2) == 0})
		}
	}
}

func (c *cluster) promote(n *simNode) {
	if n.other().promoted {
		c.t.Fatalf("seed %d: the model promoted both", c.seed)
	}
	c.claims++
	n.promoted, n.claim, n.pgUp = true, fmt.Sprintf("%s/%d", n.name, c.claims), c.k.now+c.ms(500, 20000)
	c.changed()
}

func (c *cluster) demote(n *simNode) {
	n.promoted, n.claim, n.wasUntil = false, "", c.k.now
}

// move is planned: demote here, promote there, or here again.
func (c *cluster) move(n *simNode) {
	c.busy = true
	c.demote(n)
	c.changed()
	to := n
	if n.other().alive && n.other().member && c.r.IntN(4) > 0 {
		to = n.other()
	}
	c.k.after(c.ms(100, 4000), func() { c.busy = false; c.promote(to) })
}

// crash cuts the power; the survivor fences and takes over; the lost node boots again later.
func (c *cluster) crash(n *simNode) {
	c.busy = true
	n.alive = false
	n.a.stop()
	n.a.frozen = false
	was := n.promoted
	n.wasUntil = max(n.wasUntil, c.k.now)
	c.changed()
	c.k.after(c.ms(500, 3000), func() {
		n.member, n.unclean = false, c.fencing
		if !c.fencing {
			n.promoted, n.claim = false, ""
		}
		c.changed()
		c.k.after(c.ms(1000, 20000), func() {
			n.unclean, n.promoted, n.claim = false, false, ""
			if c.fencing {
				n.fenced = int64(c.k.now)
			}
			c.changed()
			if was {
				c.k.after(c.ms(50, 2000), func() { c.promote(n.other()) })
			}
			c.k.after(c.ms(30000, 90000), func() {
				n.alive, n.member, c.busy = true, true, false
				n.a.start(false)
				c.changed()
			})
		})
	})
}

// freeze stops a whole machine for a while. With fencing it never wakes; without, it wakes into a world that went on.
func (c *cluster) freeze(n *simNode) {
	c.busy = true
	n.a.frozen = true
	if c.fencing {
		c.crash(n)
		return
	}
	n.old[0], n.old[1] = n.now()
	n.stale = 1 << 62
	was := n.promoted
	c.k.after(c.ms(1000, 4000), func() {
		n.member = false
		c.demote(n)
		c.changed()
		if was {
			c.k.after(c.ms(50, 2000), func() { c.promote(n.other()) })
		}
		c.k.after(c.ms(5000, 60000), func() {
			n.stale = c.k.now + c.ms(100, 10000) // Corosync needs its token timeout to see that it was away
			n.a.thaw()
			c.k.after(n.stale-c.k.now, func() { n.member, c.busy = true, false; c.changed() })
		})
	})
}

func (c *cluster) disturb() {
	n := c.nodes[c.r.IntN(2)]
	owner := c.nodes[0]
	if c.nodes[1].promoted {
		owner = c.nodes[1]
	}
	switch c.r.IntN(8) {
	case 0, 1:
		if !c.busy && owner.promoted {
			c.move(owner)
		}
	case 2, 3:
		if !c.busy && owner.promoted && owner.other().member {
			c.crash(owner)
		}
	case 4:
		if !c.busy && owner.promoted && owner.other().member {
			c.freeze(owner)
		}
	case 5:
		if n.a.up && !n.a.frozen {
			n.a.stop()
			c.k.after(c.ms(10, 5000), func() {
				if n.alive && !n.a.up {
					n.a.start(true)
				}
			})
		}
	case 6:
		c.z.loseReplies++
	case 7:
		c.z.fail = []string{"throttled", "timeout"}[c.r.IntN(2)]
		c.k.after(c.ms(1000, 40000), func() { c.z.fail = "" })
	}
}

// inFlight bounds how long after its decision a change can be made.
const inFlight = MaxDecisionAge + 30*time.Second

func (c *cluster) run() {
	for _, n := range c.nodes {
		n.a.start(true)
	}
	c.k.after(c.ms(100, 20000), func() { c.promote(c.nodes[c.r.IntN(2)]) })
	for range 6 + c.r.IntN(10) {
		c.k.after(c.ms(20000, 400000), c.disturb)
	}
	for _, n := range c.nodes { // the streams show life
		for at := range 60 {
			c.k.after(time.Duration(at)*15*time.Second, func() {
				if n.alive {
					n.a.event(DrbdChanged{n.drbd()})
				}
			})
		}
	}
	seen := 0
	byClaim := map[string]int{}
	for c.k.now < boot+14*time.Minute {
		c.k.runUntil(c.k.now + 100*time.Millisecond)
		for ; seen < len(c.z.applied); seen++ {
			w := c.z.applied[seen]
			n := c.nodes[0]
			if w.owner == me {
				n = c.nodes[1]
			}
			if !n.promoted && n.wasUntil < w.write.Decided-inFlight {
				c.t.Fatalf("seed %d: at %v a change of %s was made, which has not been promoted since %v", c.seed, w.at, w.owner, n.wasUntil)
			}
			if byClaim[w.write.Claim]++; byClaim[w.write.Claim] > 1 {
				c.t.Fatalf("seed %d: claim %s was made twice", c.seed, w.write.Claim)
			}
			for _, earlier := range c.z.applied[:seen] {
				if earlier.write.NextEpoch >= w.write.NextEpoch {
					c.t.Fatalf("seed %d: epoch %d after %d", c.seed, w.write.NextEpoch, earlier.write.NextEpoch)
				}
			}
		}
	}
	for _, n := range c.nodes {
		if n.promoted && c.z.owner != n.name {
			c.t.Fatalf("seed %d: %s is promoted since long, the record names %q, held back by %v, contested %v\n%+v",
				c.seed, n.name, c.z.owner, n.a.st.Gate(c.k.now).List(), n.a.st.Contested, n.a.st.Episode)
		}
	}
}

// TestTwoNodesAgreeInTheEnd simulates clusters with crashes, moves, freezes, restarts and a bad API. PGHA_SIM_SEEDS says how many.
func TestTwoNodesAgreeInTheEnd(t *testing.T) {
	seeds := 2000
	if v := os.Getenv("PGHA_SIM_SEEDS"); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil {
			t.Fatalf("PGHA_SIM_SEEDS: %v", err)
		}
		seeds = n
	} else if testing.Short() {
		seeds = 200
	}
	promotions, changes := 0, 0
	began := time.Now()
	for seed := range uint64(seeds) {
		if os.Getenv("PGHA_SIM_SEEDS") == "" && time.Since(began) > 20*time.Second {
			t.Logf("stopped after %d of %d clusters: the race detector makes it slow", seed, seeds)
			break
		}
		c := newCluster(t, seed)
		c.run()
		promotions += c.claims
		changes += len(c.z.applied)
	}
	t.Logf("%d promotions, %d changes", promotions, changes)
}
