package sim

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/pgha/pgha-agent/route53"
)

// Bounds of the model and of the invariants. docs/safety.md states the same, and says why.
const (
	// Token is the longest that Corosync needs to notice that a node is away, or that it was away itself.
	Token = 10 * time.Second
	// Flight is the longest way of a change request from its last check to Route 53, with all retransmissions.
	Flight = 60 * time.Second
	// LookAge is how old a node's picture of the cluster may be when a change leaves it.
	LookAge = 5 * time.Second
	// StreamAge is the same for DRBD's stream, which says each change at once.
	StreamAge = 60 * time.Second
	// Blind is how long after a sleep that stopped all clocks, or after a cut of the network, a node that nobody fenced may act on its old
	// picture. It must be longer than Token.
	Blind = 30 * time.Second
	// Settle is the longest that a promoted node needs to get its record, once nothing is in its way any more.
	Settle = 150 * time.Second
	// Quick is the same when nothing had been in its way for Settle before: the wait of a lost race, for a standby that did not know the latest
	// claim, and what a look and a write take.
	Quick = 50 * time.Second
	// CallsPerMinute bounds the API calls of one node, whatever goes wrong.
	CallsPerMinute = 60
	// MaxPolls bounds the questions whether one change is in sync.
	MaxPolls = 10
	// Kept is how long after a process was told something its journal has it on the disk, whatever happened meanwhile.
	Kept = 5 * time.Minute
	// Rest is how long a simulation goes on after everything has been mended.
	Rest = 10 * time.Minute
)

// oracle judges. It looks at the model's truth, and at what the agents send and Route 53 accepts; it does not look into an agent.
type oracle struct {
	w         *world
	violation string

	claims   map[string]int // how often each was accepted
	again    [2]int         // claims of each node that were accepted twice
	mine     [2]route53.Owner
	during   [2]int // the promotion in which it was sent
	erased   [2]int // the promotion whose history was erased before the agent can be sure to have seen it
	accepted [2]int
	calls    [2][]time.Duration
	polls    map[string]int

	steady  time.Duration // since when writer has had every right to the record
	steadyN *node
	steadyP int

	slowest  time.Duration // of what Settle and Quick bound, for information
	quickest time.Duration
	busiest  int
	episodes int
}

func (o *oracle) violated(number int, format string, args ...any) {
	if o.violation != "" {
		return
	}
	o.violation = fmt.Sprintf("invariant %d: %s", number, fmt.Sprintf(format, args...))
	o.w.story(nil, "VIOLATION of %s", o.violation)
}

// sends judges a change request that passes its last check.
func (o *oracle) sends(p *proc, claim string) {
	w, n := o.w, p.n
	w.story(n, "sends the change")
	now := n.clock()
	if since := w.now - n.ended; !n.promoted && since > LookAge && !o.blind(p) {
		o.violated(1, "%s sends a change %v after its promotion has ended", n.name, since)
	}
	if b := n.cib; b != nil && b.maintenance && n.passed(b.maintained) > LookAge {
		o.violated(6, "%s sends a change %v after maintenance began", n.name, n.passed(b.maintained))
	}
	if b := n.cib; b != nil && b.n[1-n.i].unclean && n.passed(b.n[1-n.i].lost) > LookAge {
		o.violated(6, "%s sends a change although the other node has been unclean for %v", n.name, n.passed(b.n[1-n.i].lost))
	}
	if w.now < n.paused && w.now > n.pausedAt && !p.once {
		o.violated(6, "%s sends a change although it is paused for another %v", n.name, n.paused-w.now)
	}
	if age := now - p.looked; p.looked == 0 || age > LookAge {
		o.violated(6, "%s sends a change on a look at the cluster that is %v old", n.name, age)
	}
	if age := now - p.heard; !p.live || age > StreamAge {
		o.violated(6, "%s sends a change on DRBD's word of %v ago, live %v", n.name, age, p.live)
	}
	if other := n.other(); n.cib != nil && n.cib.n[other.i].skipped && other.lostPromoted && o.saw(p, other) {
		o.violated(6, "%s sends a change although %s was lost while promoted, and not fenced", n.name, other.name)
	}
	if p.quiet[claim] {
		o.violated(4, "%s writes although its claim was contested", n.name)
	}
	if o.knows(p, claim) {
		o.violated(3, "%s sends claim %s, and knows that it was accepted", n.name, claim)
	}
}

// blind reports whether a node that was taken for dead cannot know that yet: it slept with its clocks, or was cut off, and nobody fenced it. A
// process that was started after a sleep cannot know of it either, and with fencing has no reason to expect one.
func (o *oracle) blind(p *proc) bool {
	w, n := o.w, p.n
	return o.unfenced() && w.now <= n.blind || w.s.Fencing && o.unfenced() && p.born >= n.woke && w.now <= n.woke+Blind
}

// unfenced reports whether this cluster has gone on without a node that it did not switch off.
func (o *oracle) unfenced() bool { return !o.w.s.Fencing || o.w.lied || o.w.skipped }

// saw reports whether the process must know that the other node was promoted when it was lost: it and the other had been well for a while.
func (o *oracle) saw(p *proc, other *node) bool {
	const while = time.Minute
	at := other.lostAt
	return at > other.since+while && at > p.born+while && (p.n.upset < at-while || p.n.upset > at)
}

// accepts judges a change that Route 53 has made.
func (o *oracle) accepts(n *node, owner route53.Owner, during int) {
	switch o.claims[owner.Claim]++; o.claims[owner.Claim] {
	case 1:
	case 2: // the node cannot know of the first one, or sends would have condemned it
		o.again[n.i]++
	default:
		o.violated(3, "claim %s of %s was accepted %d times", owner.Claim, n.name, o.claims[owner.Claim])
	}
	if o.accepted[n.i]++; o.accepted[n.i] > n.promotions+o.again[n.i] {
		o.violated(3, "%s has been promoted %d times, and wrote the record %d times", n.name, n.promotions, o.accepted[n.i])
	}
	o.mine[n.i], o.during[n.i] = owner, during
}

// reads notes what a process knows of the record.
func (o *oracle) reads(p *proc, rec route53.Record) {
	mine := o.mine[p.n.i]
	switch {
	case mine.Claim == "":
	case rec.Owner.Claim == mine.Claim:
		o.tells(p, mine.Claim)
	case rec.Owner.Node == p.n.other().name && rec.Owner.Epoch > mine.Epoch && o.knows(p, mine.Claim):
		p.quiet[mine.Claim] = true
	}
}

// tells notes that a process has learned that a claim of its node was accepted.
func (o *oracle) tells(p *proc, claim string) {
	if _, known := p.told[claim]; !known {
		p.told[claim] = o.w.now
	}
}

// knows reports whether a process must know that the claim was accepted.
func (o *oracle) knows(p *proc, claim string) bool {
	_, told := p.told[claim]
	return told || !p.once && p.n.kept[claim]
}

// call counts a request that has reached Route 53.
func (o *oracle) call(n *node, op, id string) {
	calls := append(o.calls[n.i], o.w.now)
	for o.w.now-calls[0] > time.Minute {
		calls = calls[1:]
	}
	o.calls[n.i] = calls
	o.busiest = max(o.busiest, len(calls))
	if len(calls) > CallsPerMinute {
		o.violated(7, "%s made %d calls within a minute", n.name, len(calls))
	}
	if op == "poll" {
		if o.polls[id]++; o.polls[id] > MaxPolls {
			o.violated(7, "%s asked %d times about change %s", n.name, o.polls[id], id)
		}
	}
}

// compares asks each second whether the record names the node that has every right to it.
func (o *oracle) compares() {
	w := o.w
	n := w.writer()
	if n == nil || !o.entitled(n) || n != o.steadyN || n.promotions != o.steadyP {
		o.steadyN, o.steady = n, w.now
		if n != nil {
			o.steadyP = n.promotions
		}
		return
	}
	for _, n := range w.nodes {
		if n.upset > w.now-time.Second {
			return
		}
	}
	age := w.now - o.steady
	if w.zone.addr == n.addr && w.zone.owner.Node == n.name || o.excused(n) {
		return
	}
	quick := o.steady-n.upset > Settle
	if quick {
		o.quickest = max(o.quickest, age)
	} else {
		o.slowest = max(o.slowest, min(age, w.now-n.upset))
	}
	if age > Settle && w.now-n.upset > Settle || quick && age > Quick {
		o.violated(2, "%s has had every right to the record for %v, and it names %q", n.name, age, w.zone.owner.Node)
	}
}

// entitled reports whether nothing that an agent may wait for is in the way of n.
func (o *oracle) entitled(n *node) bool {
	w := o.w
	if !n.alive || n.frozen || n.daemon == nil || n.cib == nil || !n.primary || !n.upToDate || n.suspended || n.splitBrain {
		return false
	}
	b, z := n.cib, w.zone
	me, peer := b.n[n.i], b.n[1-n.i]
	switch {
	case !me.online || me.role != "Promoted" || me.action != "" || b.maintenance:
	case peer.unclean || peer.role == "Promoted" || peer.skipped:
	case w.now < n.crmFails || n.crmTakes > time.Second || w.now < n.streamEnds || w.now < n.streamHangs || w.now < n.paused || n.clockUnsure > w.now:
	case z.fault != "" || z.flying > 0:
	case w.s.Writable && n.postgres() != "writable":
	default:
		return true
	}
	return false
}

// excused reports whether the other owns the record by right, as far as this node can know: both were promoted at once and the other was later,
// or the history that names this promotion was erased before anybody looked.
func (o *oracle) excused(n *node) bool {
	return o.unfenced() && (o.during[n.i] == n.promotions || n.other().since > n.since) || o.erased[n.i] == n.promotions
}

// judgeJournals reads the journals as a stranger would: line by line.
func (o *oracle) judgeJournals() {
	for _, n := range o.w.nodes {
		path := filepath.Join(n.cfg.State.Dir, "journal")
		f, err := os.Open(path)
		if err != nil {
			o.violated(5, "%v", err)
			return
		}
		o.judgeJournal(n, bufio.NewScanner(f))
		_ = f.Close()
	}
}

type line struct {
	Boot    string
	Episode struct {
		ID      uint64
		Outcome string
		Start   time.Duration
		Phases  map[string]time.Duration
	}
}

func (o *oracle) judgeJournal(n *node, lines *bufio.Scanner) {
	var last line
	for lines.Scan() {
		var l line
		text := lines.Bytes()
		if len(text) < 10 || json.Unmarshal(text[9:], &l) != nil {
			continue // torn by a power cut
		}
		e, was := &l.Episode, &last.Episode
		switch {
		case e.ID != was.ID && e.ID != was.ID+1:
			o.violated(5, "%s: episode %d follows episode %d", n.name, e.ID, was.ID)
		case e.ID != was.ID && was.ID != 0 && was.Outcome == "":
			o.violated(5, "%s: episode %d has no end, and another follows", n.name, was.ID)
		case e.ID == was.ID && was.Outcome != "" && e.Outcome != was.Outcome:
			o.violated(5, "%s: episode %d ended as %q, and then as %q", n.name, e.ID, was.Outcome, e.Outcome)
		}
		for phase, at := range e.Phases {
			if at < e.Start {
				o.violated(5, "%s: episode %d began at %v, and %s was at %v", n.name, e.ID, e.Start, phase, at)
			}
			if before, seen := was.Phases[phase]; seen && e.ID == was.ID && before != at {
				o.violated(5, "%s: episode %d: %s was at %v, and then at %v", n.name, e.ID, phase, before, at)
			}
		}
		for _, order := range phaseOrder {
			first, one := e.Phases[order[0]]
			second, two := e.Phases[order[1]]
			if two && (!one || first > second) {
				o.violated(5, "%s: episode %d has %s at %v and %s at %v", n.name, e.ID, order[1], second, order[0], first)
			}
		}
		last = l
	}
	o.episodes += int(last.Episode.ID) // counts from 1
}

// phaseOrder lists which phase cannot be without an earlier one.
var phaseOrder = [][2]string{
	{"fence_requested", "fenced"}, {"promoted", "mounted"}, {"promoted", "pg_started"}, {"pg_started", "writable"}, {"promoted", "dns_accepted"},
	{"dns_accepted", "dns_insync"}, {"dns_accepted", "dns_observed"}, {"writable", "complete"}, {"dns_observed", "complete"},
}
