package explore

import (
	"fmt"
	"time"

	"github.com/pgha/pgha-agent/agent/fsm"
)

const (
	// base is the time of every world: all times are relative to it.
	base fsm.Time = 1000 * time.Hour
	// quantum is the time that passes at once. What happens within it happens in every order.
	quantum = 5 * time.Second
	// longest is how many of them may pass at once.
	longest = 50

	// notices is how long Corosync takes at most to notice that a node is silent, or is back.
	notices = 10 * time.Second
	// fences is how long fencing takes at most from then on, and promotes a promotion once nobody is promoted.
	fences   = 10 * time.Second
	promotes = 10 * time.Second
	// sleeps is the longest sleep that a machine wakes up from.
	sleeps = 60 * time.Second
	// flight is the longest way of a request.
	flight = 60 * time.Second
	// settle is the longest time until the record is right.
	settle = 150 * time.Second

	ttl       = 10 * time.Second
	maxClaims = 10
	maxEpochs = 20
)

var (
	names  = [2]string{"pg-1", "pg-2"}
	addrs  = [2]string{"10.0.1.10", "10.0.2.10"}
	claims = [maxClaims]string{"", "p1", "p2", "p3", "p4", "p5", "p6", "p7", "p8", "p9"}
	raws   = func() (raws [maxEpochs][maxClaims]string) {
		for epoch := range raws {
			for claim := range raws[epoch] {
				raws[epoch][claim] = fmt.Sprintf("epoch=%d claim=%s", epoch, claims[claim])
			}
		}
		return raws
	}()
)

// world is one state of everything. It is small and comparable, and has no pointer: cores are numbers.
type world struct {
	cores    [2]uint32
	nodes    [2]node
	requests [2]request
	record   claim // the TXT; the address is its node's
	accepted [maxClaims]uint8
	left     left
	unled    uint8 // quanta since the number of promoted nodes is not one
	next     uint8 // the claim of the next promotion
}

// node is a machine and its agent, but for the core.
type node struct {
	alive, frozen bool
	unclean       bool // Corosync has noticed, and it is to be fenced
	gone          bool // no member of the other's cluster
	promotion     uint8
	silent        uint8 // quanta since it fell silent, was noticed, or woke up
	asleep        uint8 // quanta
	ended         uint8 // quanta since its promotion ended
	fencings      uint8

	up       bool // the agent runs
	told     bool // of the last change of the cluster
	reading  bool
	phase    phase
	forsaken bool // its request was answered while it slept

	knows  bool  // its claim was accepted, and it was told
	sent   bool  // it has sent a change for this promotion
	missed uint8 // claims of the other that were accepted since it last read the record before that
	twin   bool  // the other was promoted too during this promotion
	older  bool  // and later
}

// phase is that of a node's write.
type phase uint8

const (
	idle    phase = iota
	signing       // it is decided
	waiting       // it has left
)

// claim is an ownership record, by number.
type claim struct{ node, epoch, number uint8 }

// request is a change under way. Zero is none.
type request struct {
	claim
	base  claim // what it replaces; whose that is does not matter
	waits bool  // its sender waits for the reply
	age   uint8 // quanta
}

// left is what may still happen.
type left struct {
	promotions, crashes, freezes, cuts, boots, reads, late uint8
	quanta                                                 uint8
}

func quanta(d time.Duration) uint8 { return uint8(d / quantum) }

func (n *node) promoted() bool { return n.alive && n.promotion != 0 }
func (n *node) runs() bool     { return n.up && !n.frozen }

// busy reports whether the agent waits for Route 53, or Route 53 for it.
func (n *node) busy() bool { return n.reading || n.forsaken || n.phase != idle }

// well reports whether the node takes part in the cluster.
func (n *node) well() bool { return n.alive && !n.frozen && !n.unclean && !n.gone }

// quiet reports whether the other node does not hear this one, and has not noticed.
func (n *node) quiet() bool { return (!n.alive || n.frozen) && !n.gone && !n.unclean }

// shown counts the promoted nodes that Pacemaker shows.
func (w *world) shown() int {
	count := 0
	for i := range w.nodes {
		if w.nodes[i].promotion != 0 && !w.nodes[i].gone {
			count++
		}
	}
	return count
}

// tellAll has everybody hear of a change of the cluster.
func (w *world) tellAll() {
	for i := range w.nodes {
		w.nodes[i].told = !w.nodes[i].up
	}
}

// promote gives node i its next promotion.
func (w *world) promote(i int) {
	n, o := &w.nodes[i], &w.nodes[1-i]
	w.demote(i)
	w.left.promotions--
	n.promotion = w.next
	w.next++
	if o.promoted() {
		n.twin, o.twin, o.older = true, true, true
	}
}

// demote ends the promotion of node i.
func (w *world) demote(i int) {
	n := &w.nodes[i]
	n.promotion, n.ended = 0, 0
	n.knows, n.sent, n.twin, n.older = false, false, false, false
}

// forsake has nobody wait for the requests of node i.
func (w *world) forsake(i int) {
	for j := range w.requests {
		if r := &w.requests[j]; r.number != 0 && int(r.node) == i {
			r.waits = false
		}
	}
}

// open reports whether a claim may still be sent or accepted.
func (w *world) open(number uint8) bool {
	for i := range w.nodes {
		if number == w.nodes[i].promotion || number == w.requests[i].number {
			return true
		}
	}
	return false
}

// tidy makes worlds the same that differ in nothing that matters.
func (w *world) tidy() {
	for number := range w.accepted {
		if !w.open(uint8(number)) {
			w.accepted[number] = 0
		}
	}
	if a, b := &w.requests[0], &w.requests[1]; b.number != 0 && (a.number == 0 || b.before(a)) {
		*a, *b = *b, *a
	}
}

func (r *request) before(o *request) bool {
	if r.number != o.number {
		return r.number < o.number
	}
	return r.age > o.age
}
