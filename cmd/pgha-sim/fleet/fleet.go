// Package fleet asks how long many clusters in one AWS account need to correct their records when all of them fail over
// at once and share the account's few requests a second to Route 53. Each of our nodes is a real core; the shell agent
// is a model of its loop.
package fleet

import (
	"container/heap"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/pgha/pgha-agent/agent/fsm"
)

// Account is what all clusters share.
type Account struct {
	Clusters int
	Rate     float64 // requests a second
	Burst    float64
}

// Outcome is when each record was right, in order, and what was asked of the API until then. A cluster that was not
// right at the end is missing.
type Outcome struct {
	Right              []time.Duration
	Requests, Refused  int
	Lists, Sets, Polls int // requests that were served
}

// After returns when the given part of all clusters was right; false when it never was.
func (o *Outcome) After(part float64, of int) (time.Duration, bool) {
	n := int(part * float64(of))
	if n > len(o.Right) || n == 0 {
		return 0, false
	}
	return o.Right[n-1], true
}

const (
	before   = 4 * time.Hour // of steady state before the event
	promoted = 30 * time.Second
	latency  = 80 * time.Millisecond
)

// world is the time and the account's token bucket.
type world struct {
	now, end time.Duration
	acc      Account
	tokens   float64
	filled   time.Duration
	q        queue
	seq      int
	rng      *rand.Rand
	out      Outcome
}

type job struct {
	at  time.Duration
	seq int
	run func()
}

type queue []job

func (q queue) Len() int { return len(q) }
func (q queue) Less(i, j int) bool {
	return q[i].at < q[j].at || q[i].at == q[j].at && q[i].seq < q[j].seq
}
func (q queue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *queue) Push(x any)   { *q = append(*q, x.(job)) }
func (q *queue) Pop() any {
	last := len(*q) - 1
	x := (*q)[last]
	*q = (*q)[:last]
	return x
}

func newWorld(acc Account, seed uint64, end time.Duration) *world {
	return &world{acc: acc, tokens: acc.Burst, end: before + end, rng: rand.New(rand.NewPCG(seed, 1))}
}

func (w *world) after(d time.Duration, f func()) {
	w.seq++
	heap.Push(&w.q, job{w.now + d, w.seq, f})
}

func (w *world) run() *Outcome {
	for len(w.q) > 0 && w.q[0].at <= w.end && len(w.out.Right) < w.acc.Clusters {
		j := heap.Pop(&w.q).(job)
		w.now = j.at
		j.run()
	}
	slices.Sort(w.out.Right)
	return &w.out
}

// allowed takes a token, if there is one. A request that is refused costs none.
func (w *world) allowed(served *int) bool {
	w.tokens = min(w.acc.Burst, w.tokens+(w.now-w.filled).Seconds()*w.acc.Rate)
	w.filled = w.now
	counts := w.now >= before
	if counts {
		w.out.Requests++
	}
	if w.tokens < 1 {
		if counts {
			w.out.Refused++
		}
		return false
	}
	w.tokens--
	if counts {
		*served++
	}
	return true
}

func (w *world) jitter(d time.Duration) time.Duration { return time.Duration(w.rng.Int64N(int64(d))) }

// Ours runs the real core of each node that is promoted by the event, and before that of both nodes of each cluster.
func Ours(acc Account, end time.Duration) *Outcome {
	w := newWorld(acc, 1, end)
	for i := range acc.Clusters {
		c := &cluster{w: w, owner: "a", epoch: 1}
		for k, name := range []string{"a", "b"} {
			n := &node{w: w, c: c, name: name, addr: fmt.Sprintf("10.0.%d.10", k+1)}
			n.other = map[string]string{"a": "b", "b": "a"}[name]
			n.st = fsm.New(fsm.Config{Node: name, Addr: n.addr, Ownership: true, DriftEvery: 5 * time.Minute}, uint64(2*i+k+1),
				fsm.Episode{}, false)
			w.after(w.jitter(10*time.Minute), n.start)
			c.nodes = append(c.nodes, n)
		}
		w.after(before, func() { c.nodes[0].dead = true }) // the zone of all writers goes down
		w.after(before+w.jitter(10*time.Second), c.nodes[1].loses)
		w.after(before+promoted+w.jitter(10*time.Second), c.nodes[1].promotes)
	}
	return w.run()
}

// cluster is one record with its owner.
type cluster struct {
	w     *world
	nodes []*node
	owner string
	epoch uint64
}

func (c *cluster) raw() string { return fmt.Sprintf("epoch=%d owner=%s", c.epoch, c.owner) }

// node feeds one core with what a well node sees.
type node struct {
	w                 *world
	c                 *cluster
	name, other, addr string
	st                fsm.State
	dead              bool
	lost, primary     bool
	wakes             int
}

// at is a time of the node's clock, which is never 0.
func (n *node) at() fsm.Time { return n.w.now + time.Minute }

func (n *node) start() { n.step(fsm.DrbdChanged{Drbd: n.drbd()}) }

func (n *node) loses() { n.lost = true; n.step(fsm.DrbdChanged{Drbd: n.drbd()}) }

func (n *node) promotes() { n.primary = true; n.step(fsm.DrbdChanged{Drbd: n.drbd()}) }

func (n *node) drbd() fsm.Drbd {
	return fsm.Drbd{
		At: n.at(), Live: true, UpToDate: true, Primary: n.primary || n.name == "a", Connected: !n.lost,
		PeerPrimary: !n.lost && n.name == "b", DisconnectReason: "NetworkFailure",
	}
}

func (n *node) look() fsm.Cluster {
	here := n.primary || n.name == "a"
	c := fsm.Cluster{At: n.at(), OK: true, Online: true, FencingEnabled: true, PromotedHere: here, FilesystemHere: here,
		PeerCount: 1}
	p := &c.Peers[0]
	*p = fsm.Peer{Name: n.other, Online: !n.lost}
	switch {
	case here:
		c.PromotedCount, c.Promotion = 1, "claim of "+n.name
		if n.lost {
			p.Fenced = fsm.FenceID(before)
		}
	case !n.lost:
		p.Promoted, c.PromotedCount, c.PromotedPeer = true, 1, n.other
	}
	return c
}

func (n *node) step(ev fsm.Event) {
	if n.dead {
		return
	}
	var actions []fsm.Action
	n.st, actions = n.st.Step(n.at(), ev)
	for _, a := range actions {
		n.perform(a)
	}
	n.wakes++
	this := n.wakes
	n.w.after(n.st.Next(n.at())-n.at(), func() {
		if n.wakes == this {
			if n.at()-n.st.Drbd.At > 30*time.Second { // the stream shows life
				n.st.Drbd.At = n.at()
			}
			n.step(fsm.Tick{})
		}
	})
}

// perform does what matters to the API. PostgreSQL and the resolver never answer.
func (n *node) perform(a fsm.Action) {
	w := n.w
	began := n.at()
	switch a := a.(type) {
	case fsm.PollCluster:
		// In the steady state nothing depends on it, and 20000 nodes look often: the first one ends shortly before the event.
		took := max(300*time.Millisecond, before-time.Minute-w.now+w.jitter(30*time.Second))
		w.after(took, func() {
			c := n.look()
			c.At = n.at() - min(took, 300*time.Millisecond)
			n.step(fsm.ClusterPolled{Cluster: c})
		})
	case fsm.ReadRecord:
		w.after(latency, func() {
			ev := fsm.Read{Zone: fsm.Zone{At: began}, Reason: "throttled"}
			if w.allowed(&w.out.Lists) {
				c := n.c
				ev = fsm.Read{Zone: fsm.Zone{At: began, OK: true, Addr: "10.0.1.10", Epoch: c.epoch, Owner: c.owner,
					Claim: "claim of " + c.owner, Raw: c.raw(), OwnerTTL: 10 * time.Second}}
				if c.owner == "b" {
					ev.Zone.Addr = "10.0.2.10"
				}
			}
			n.step(ev)
		})
	case fsm.Write:
		w.after(latency, func() {
			switch {
			case !w.allowed(&w.out.Sets):
				n.step(fsm.Wrote{Reason: "throttled", Sent: true})
			case a.Base.Raw != n.c.raw():
				n.step(fsm.Wrote{Reason: "conflict", Sent: true, Conflict: true})
			default:
				n.c.owner, n.c.epoch = n.name, a.NextEpoch
				w.out.Right = append(w.out.Right, w.now-before)
				n.step(fsm.Wrote{ChangeID: "C", Sent: true})
			}
		})
	case fsm.PollChange:
		w.after(latency, func() {
			if !w.allowed(&w.out.Polls) {
				n.step(fsm.ChangePolled{Reason: "throttled"})
				return
			}
			n.step(fsm.ChangePolled{InSync: w.rng.IntN(4) == 0})
		})
	}
}
