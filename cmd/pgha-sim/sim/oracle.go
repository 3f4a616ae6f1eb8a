package sim

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/pgha/pgha-agent/crm"
	"github.com/pgha/pgha-agent/drbd"
	"github.com/pgha/pgha-agent/route53"
)

// Bounds of the model and of the invariants. docs/safety.md states the same, and says why.
const (
	// Membership is Corosync's token and consensus timeout, the least that it needs to go on without a node, unless the
	// scenario has another token.
	Membership = 2 * time.Second
	// Slowest is the longest that it needs, or that a node which was away needs to notice that.
	Slowest = 10 * time.Second
	// Flight is the longest way of a change request from its last check to Route 53, with all retransmissions.
	Flight = 60 * time.Second
	// LookAge is how old a node's picture of the cluster may be when a change leaves it.
	LookAge = 5 * time.Second
	// StreamAge is the same for DRBD's stream, which says each change at once.
	StreamAge = 60 * time.Second
	// Behind is how old a reading of Route 53 may be when it lags behind what was changed.
	Behind = 40 * time.Second
	// Blind is how long after a sleep that stopped all clocks, or after a cut of the network, a node that nobody fenced
	// may act on its old picture. It must be longer than Slowest.
	Blind = 30 * time.Second
	// Settle is the longest that a promoted node needs to get its record, once nothing is in its way any more.
	Settle = 150 * time.Second
	// Quick is the same when nothing had been in its way for Settle before: the wait of a lost race, for a standby that
	// did not know the latest claim, and what a look and a write take.
	Quick = 50 * time.Second
	// Prompt is the same when the node had the time to read the latest claim as well, and waits for nothing else.
	Prompt = 20 * time.Second
	// Known is how long after a claim that followed its promotion at once a standby that is well has read it.
	Known = 30 * time.Second
	// Alone is how long a publication without the daemon needs at most, for a hold without fencing and what a look and a
	// write take.
	Alone = 40 * time.Second
	// CallsPerMinute bounds the API calls of one node, whatever goes wrong.
	CallsPerMinute = 60
	// CallsOfStart is how many more each start of the daemon within that minute may bring, but for the first of the node:
	// a new process does not know how often the last one asked in vain.
	CallsOfStart = 10
	// MaxPolls bounds the questions whether one change is in sync.
	MaxPolls = 10
	// Kept is how long after a process learned of its claim its journal has that, once it has written what was asked for.
	Kept = time.Minute
	// RepairPause is how long after an agent wrote its record again it may not do so once more.
	RepairPause = 10 * time.Minute
	// Checked is how long a drift may show what was before: half of drift_check to three halves of it, and what a repair
	// takes.
	Checked = 10 * time.Minute
	// blur is how long no look may succeed until what DRBD shows of a promotion may be one after a fencing that was not
	// seen either.
	blur = 30 * time.Second
	// Rest is how long a simulation goes on after everything has been fixed.
	Rest = 10 * time.Minute
)

// oracle judges. It looks at the model's truth, and at what the agents send and Route 53 accepts; it does not look into
// an agent.
type oracle struct {
	w         *world
	violation string

	claims   map[deed]int    // how often each was accepted
	again    [2]int          // claims of each node that were accepted twice
	mine     [2]map[key]mark // the last of each node that was accepted
	erased   [2]int          // the promotion whose history was erased before the agent can be sure to have seen it
	fought   [2]int          // the promotion whose record was edited again too soon to be repaired
	accepted [2]map[int]int  // changes of each node, for each of its configurations
	repairs  [2]int
	edits    map[key][]time.Duration // when each record was edited
	repaired map[key]time.Duration   // when it was last repaired
	polls    map[string]int

	steady  time.Duration // since when writer has had every right to the record
	steadyN *node
	steadyP int
	steadyD deed // where its record is to be, and with which address

	slowest   time.Duration // of what Settle and Quick bound, for information
	quickest  time.Duration
	promptest time.Duration
	busiest   int
	episodes  int
}

// deed is a claim at a place, with an address: what an agent publishes. moved tells apart what a node is configured for
// now and then again.
type deed struct {
	key   key
	addr  netip.Addr
	moved int
	claim string
}

type mark struct {
	deed
	epoch  uint64
	during int // the promotion in which it was sent
	// another claim was accepted in it before: that of the daemon, when this is one of the hook for the promotion before
	second   bool
	repaired uint64 // the epoch with which it was last written again after an edit
}

func newOracle(w *world) *oracle {
	return &oracle{w: w, claims: map[deed]int{}, polls: map[string]int{}, edits: map[key][]time.Duration{},
		repaired: map[key]time.Duration{}, mine: [2]map[key]mark{{}, {}}, accepted: [2]map[int]int{{}, {}}}
}

func (o *oracle) violated(number int, format string, args ...any) {
	if o.violation != "" {
		return
	}
	o.violation = fmt.Sprintf("invariant %d: %s", number, fmt.Sprintf(format, args...))
	o.w.story(nil, "VIOLATION of %s", o.violation)
}

// sends judges a change request that passes its last check, and reports whether it only brings back what a stranger has
// changed.
func (o *oracle) sends(p *proc, d deed) (repairs bool) {
	w, n := o.w, p.n
	w.story(n, "sends the change")
	now := n.clock()
	if since := w.now - n.ended; !n.promoted && since > LookAge && !o.blind(n) {
		o.violated(1, "%s sends a change %v after its promotion has ended", n.name, since)
	}
	if b := n.cib; b != nil && b.maintenance && n.passed(b.maintained) > LookAge {
		o.violated(6, "%s sends a change %v after maintenance began", n.name, n.passed(b.maintained))
	}
	if b := n.cib; b != nil && b.n[1-n.i].unclean && n.passed(b.n[1-n.i].lost) > LookAge {
		o.violated(6, "%s sends a change although the other node has been unclean for %v", n.name, n.passed(b.n[1-n.i].lost))
	}
	until, since := n.paused, n.pausedAt
	if p.once {
		until = n.pauseFound() // which may be another time: the wall clock may have been set
	}
	if w.now < until && w.now > since {
		o.violated(6, "%s sends a change although it is paused for another %v", n.name, until-w.now)
	}
	if age := now - p.looked; p.looked == 0 || age > LookAge {
		o.violated(6, "%s sends a change on a look at the cluster that is %v old", n.name, age)
	}
	if age := now - p.heard; !p.said.Live || age > StreamAge {
		o.violated(6, "%s sends a change on DRBD's word of %v ago, live %v", n.name, age, p.said.Live)
	} else if why := forbids(p.said); why != "" {
		o.violated(6, "%s sends a change although DRBD has said: %s", n.name, why)
	}
	misled := n.misled != 0 && n.misled > p.lostAt-time.Minute
	if other := n.other(); p.lost && n.cib != nil && n.cib.n[other.i].skipped && other.lostPromoted && !misled {
		o.violated(6, "%s sends a change although %s was lost while promoted, and not fenced", n.name, other.name)
	}
	other := o.erased[n.i] == n.promotions // another promotion, which can only be known by the name of the last
	if p.quiet[d] && !other {
		o.violated(4, "%s writes although its claim was contested", n.name)
	}
	if repairs = o.knows(p, d); repairs {
		switch {
		case other:
		case !p.foreign:
			o.violated(3, "%s sends claim %s, and knows that it was accepted", n.name, d.claim)
		case p.repairedFor == d && w.now-p.repaired < RepairPause && p.repaired > n.byHand:
			o.violated(3, "%s repairs its record, and did so %v ago", n.name, w.now-p.repaired)
		}
	}
	return repairs
}

// forbids is what in DRBD's word forbids a node to write, "" when nothing does.
func forbids(r drbd.Report) string {
	if len(r.Status.Resources) == 0 {
		return "no resource"
	}
	res := r.Status.Resources[0]
	if res.Role != drbd.RolePrimary || len(res.Suspended) > 0 {
		return fmt.Sprintf("%s, suspended %v", res.Role, res.Suspended)
	}
	for _, dev := range res.Devices {
		if dev.Disk != drbd.DiskUpToDate || dev.Quorum == drbd.No {
			return fmt.Sprintf("volume %d is %s, quorum %d", dev.Volume, dev.Disk, dev.Quorum)
		}
	}
	for _, c := range res.Connections {
		if c.SplitBrain == drbd.SplitBrainLatched {
			return "split brain"
		}
	}
	return ""
}

// blind reports whether a node that was taken for dead cannot know that yet. Where nobody fences it was cut off, or
// slept without its clocks, or is a cluster of its own still, for the other node slept, was off or had not joined when
// it came back. With fencing that lied of it or passed it over, it has no reason to expect that, and notices a short
// sleep later than Corosync may.
func (o *oracle) blind(n *node) bool {
	if o.w.s.Fencing {
		return o.w.now <= n.spared
	}
	alone := n.cib != nil && (n.lonely && n.cib != n.other().cib || n.primary && n.other().cib == nil)
	return o.w.now <= n.blind || alone
}

// apart reports whether the promotion of a node began before the cluster was whole again that has gone on without a
// node which it did not switch off, and what that node sent had arrived.
func (o *oracle) apart(n *node) bool {
	return !o.w.s.Fencing || n.since < max(n.spared, n.other().spared)+Flight
}

// looks notes what a look that began then shows of the other node, with the history of fencings or without.
func (o *oracle) looks(p *proc, began time.Duration, other member, hidden bool) {
	if p.sight == 0 {
		p.met = began
	}
	away := !other.online || other.unclean
	p.vague = p.vague || !away && (p.away || p.sight == 0 || began > p.sight+blur || p.relinked > p.sight)
	blurred := p.relinked > p.sight+blur || p.vague && !hidden
	p.vague = p.vague && hidden
	p.sight, p.away = began, away
	if !away {
		p.lost, p.gone, p.saw, p.n.blurred = false, false, -1, false
		if other.role == crm.RolePromoted {
			p.saw, p.seen, p.seenSince = began, began, p.n.other().since
		}
		return
	}
	if other.lost > p.lostAt && p.primary < p.lostAt {
		p.lost = false // it was back meanwhile, which neither a look nor DRBD has shown
	}
	p.unfenced = other.unclean || other.skipped
	p.n.blurred = p.n.blurred || blurred
	// That DRBD has called it demoted since explains that it is gone.
	if p.saw >= 0 && (other.unclean || p.demoted < p.saw) {
		p.lost, p.gone, p.lostAt = true, true, o.w.now
	}
	p.saw = -1
}

// forgotten notes that a history which holds these fencings is cleaned: who has not seen one of the other node's never
// can.
func (o *oracle) forgotten(n *node, events []crm.FenceEvent) {
	for _, e := range events {
		if e.Target == n.other().name && e.Status == "success" && !n.knows(e) {
			n.untold = o.w.now
		}
	}
}

// returned notes that a history shows to n what it did not: when n has not seen a fencing of the other node before, it
// cannot know that it is old.
func (o *oracle) returned(n *node) {
	if slices.ContainsFunc(o.w.allFences, func(e crm.FenceEvent) bool {
		return e.Target == n.other().name && !n.knows(e)
	}) {
		n.misled = o.w.now
	}
}

// knows reports whether the daemon of this node, or its journal, has seen that fencing.
func (n *node) knows(e crm.FenceEvent) bool {
	seen := false
	if n.daemon != nil {
		_, seen = n.daemon.fenced[e]
	}
	return seen || n.keptFenced[e]
}

// listens notes what DRBD says.
func (o *oracle) listens(p *proc, r drbd.Report) {
	was := peerOf(p.said)
	p.heard, p.said = p.n.clock(), r
	is := peerOf(r)
	if is == nil {
		p.demoted = -1 // it may have been promoted since
		return
	}
	switch {
	case !primary(is):
	case was == nil && p.sight > 0:
		p.relinked = o.w.now
	case was != nil && !primary(was):
		p.relinked, p.primary = o.w.now, o.w.now
	}
	switch {
	case is.State != drbd.ConnConnected:
	case primary(is):
		p.demoted = -1
	case p.demoted < 0:
		p.demoted = o.w.now
	}
}

// peerOf is what DRBD says of the other node, nil when it says nothing.
func peerOf(r drbd.Report) *drbd.Connection {
	if !r.Live || len(r.Status.Resources) == 0 {
		return nil
	}
	return &r.Status.Resources[0].Connections[0]
}

func primary(c *drbd.Connection) bool {
	return c.State == drbd.ConnConnected && c.PeerRole == drbd.RolePrimary
}

// keeps notes what of a process's memory its journal has, and remembers what a new process must find there.
func (o *oracle) keeps(p *proc) {
	if p.once {
		return
	}
	for d, at := range p.told {
		if at < p.durable && o.w.now-at > Kept {
			p.n.kept[d] = true
		}
	}
	for e, at := range p.fenced {
		if at < p.durable && p.episode != 0 { // the journal has no place for what was seen before the first episode
			p.n.keptFenced[e] = true
		}
	}
	p.n.vague = p.vague
	p.n.keptLost = p.lost && p.unfenced && p.lostAt < p.durable
	p.n.keptGone = p.gone && p.lostAt < p.durable
	p.n.keptLostAt = p.lostAt
}

func (o *oracle) remembers(p *proc) {
	if p.once && p.n.daemon != nil {
		o.keeps(p.n.daemon) // the journal is that of a process that lives, and may have seen the other node come back
	}
	if p.blank = p.n.noJournal; p.blank {
		p.n.blanks++
		p.n.kept, p.n.keptFenced = map[deed]bool{}, map[crm.FenceEvent]bool{}
	}
	p.lost, p.gone = p.n.keptLost && !p.blank, p.n.keptGone && !p.blank
	p.vague, p.lostAt = p.n.vague, p.n.keptLostAt
}

// accepts judges a change that Route 53 has made. repairs says that it only brought back what a stranger had changed.
func (o *oracle) accepts(n *node, d deed, next route53.Owner, during int, repairs bool) {
	if repairs {
		o.repairs[n.i]++
		o.repaired[d.key] = o.w.now
	} else {
		o.claims[d]++
	}
	switch {
	case repairs || o.claims[d] == 1:
	// the node cannot know of the others, or sends would have condemned it
	case o.claims[d] <= 2+len(o.edits[d.key])+n.blanks:
		o.again[n.i]++
	default:
		o.violated(3, "claim %s of %s was accepted %d times", d.claim, n.name, o.claims[d])
	}
	if o.erased[n.i] == during && !repairs && o.claims[d] == 1 && o.mine[n.i][d.key].during == during {
		o.again[n.i]++ // the same promotion by another name, for its own is forgotten
	}
	if d.addr != n.addr {
		o.w.zone.of(d.key).strayed = o.w.now
	}
	// Each configuration by itself: a publication by itself goes on with the one that it began with.
	if o.accepted[n.i][d.moved]++; o.accepted[n.i][d.moved] > n.promotions+o.again[n.i]+n.moved+o.repairs[n.i] {
		o.violated(3, "%s has been promoted %d times, and wrote the record %d times", n.name, n.promotions, o.accepted[n.i])
	}
	is, was := mark{deed: d, epoch: next.Epoch, during: during}, o.mine[n.i][d.key]
	is.second = was.during == during && (was.second || was.claim != d.claim)
	if repairs {
		is.repaired = next.Epoch
	} else if was.deed == d {
		is.repaired = was.repaired
	}
	o.mine[n.i][d.key] = is
}

// reads notes what a process has learned of the record from a reading that began then.
func (o *oracle) reads(p *proc, rec route53.Record, began time.Duration) {
	mine := o.mine[p.n.i][p.is.key]
	p.rival(rec.Owner, mine)
	if p.read = began; began < p.wrote {
		return // it may show what was before
	}
	if began < p.wrote+time.Minute && rec.Owner.Epoch < mine.epoch {
		// It may take that for one that lags behind its own write. When that was of another process, it tells nothing new of
		// the claim.
		p.foreign = p.foreign || rec.Owner.Claim == mine.claim && rec.Addr != p.is.addr
		return
	}
	p.foreign = false
	switch {
	case mine.claim == "":
	case rec.Owner.Claim == mine.claim:
		o.repairKnown(p, mine.deed, rec.Owner.Epoch)
		// or it cannot know the claim for its own
		if p.foreign = rec.Addr != p.is.addr; rec.Addr == mine.addr && p.shown >= mine.during {
			o.tells(p, mine.deed)
		}
	case rec.Owner.Node == p.n.other().name && rec.Owner.Epoch > mine.epoch && o.knows(p, mine.deed):
		p.quiet[mine.deed] = true
	}
}

// rival notes that a process has read a claim that is not its node's own. What another process of the node read before
// the promotion is new to this one.
func (p *proc) rival(is route53.Owner, mine mark) {
	n := p.n
	if n.rivals.during != n.promotions {
		n.rivals = rivals{during: n.promotions, last: n.rivals.last}
	}
	unread := is.Claim != n.rivals.last || is.Claim != p.latest && is.Claim != n.rivals.counted
	if is.Claim != "" && is.Node != n.name && unread {
		n.rivals.count++
		n.rivals.counted = is.Claim
		n.rivals.strange = n.rivals.strange || is.Node != n.other().name && mine.during == n.promotions &&
			is.Epoch > mine.epoch
	}
	n.rivals.last, p.latest = is.Claim, is.Claim
}

// repairKnown notes that a process has learned, from an answer with that epoch, that it has written its record again.
func (o *oracle) repairKnown(p *proc, d deed, epoch uint64) {
	m := o.mine[p.n.i][d.key]
	if m.deed == d && m.repaired != 0 && p.repairing != 0 && epoch >= max(m.repaired, p.repairing) {
		p.repaired, p.repairedFor, p.repairing = o.w.now, d, 0
	}
}

// edited notes that a stranger changes a record.
func (o *oracle) edited(k key) {
	last := o.repaired[k]
	if n := len(o.edits[k]); n > 0 {
		last = max(last, o.edits[k][n-1])
	}
	if last != 0 && o.w.now-last < RepairPause+Settle {
		for _, n := range o.w.nodes {
			o.fought[n.i] = n.promotions
		}
	}
	o.edits[k] = append(o.edits[k], o.w.now)
}

// hears judges what a process shows to an operator after a turn of its loop.
func (o *oracle) hears(p *proc) {
	const while = time.Minute
	n, now, st := p.n, o.w.now, &p.d.Snapshot().State
	if st.Episode.ID != p.episode && !p.once {
		z := o.w.zone // which tells who a promotion is, where the history was erased
		quiet := max(n.news, n.upset, p.born, z.faultChanged) < now-while && z.fault == ""
		if p.episode = st.Episode.ID; st.Episode.Open() && st.Episode.Outcome == "" && quiet {
			o.violated(5, "%s opens episode %d, and nothing has happened for %v", n.name, p.episode, now-n.news)
		}
	}
	if !st.Drift() {
		return
	}
	told := n.clock()-min(p.looked, p.heard) < now-n.ended // by a look and by DRBD, since the end of its promotion
	r, mine := o.w.zone.of(p.is.key), o.mine[n.i][p.is.key]
	settled := r.settled
	if p.born > settled { // its journal need not tell of that write, and a reading may lag behind it
		settled += Behind
	}
	switch {
	case !n.promoted && told && max(n.ended, n.upset, p.born) < now-while:
		o.violated(8, "%s says that its record was changed, and has not been promoted for %v", n.name, now-n.ended)
	case !r.edited && r.owner.Node == n.name && r.addr == n.addr && settled < min(p.read, now-while) &&
		mine.during == n.promotions && !mine.second:
		o.violated(8, "%s says that somebody else has changed the record, which is its own", n.name)
	}
}

// tells notes that a process has learned that a claim of its node was accepted.
func (o *oracle) tells(p *proc, d deed) {
	if _, known := p.told[d]; !known {
		p.told[d] = o.w.now
	}
}

// knows reports whether a process must know that the claim was accepted.
func (o *oracle) knows(p *proc, d deed) bool {
	_, told := p.told[d]
	return told || !p.once && !p.blank && p.n.kept[d]
}

// call counts a request that has reached Route 53.
func (o *oracle) call(n *node, op, id string) {
	n.calls = append(n.calls, o.w.now)
	for o.w.now-n.calls[0] > time.Minute {
		n.calls = n.calls[1:]
	}
	for len(n.starts) > 0 && o.w.now-n.starts[0] > time.Minute {
		n.starts = n.starts[1:]
	}
	o.busiest = max(o.busiest, len(n.calls))
	if len(n.calls) > CallsPerMinute+CallsOfStart*len(n.starts) {
		o.violated(7, "%s made %d calls within a minute", n.name, len(n.calls))
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
	for _, n := range w.nodes {
		n.each(func(p *proc) { o.watches(p) })
	}
	n := w.writer()
	if n == nil || n.daemon == nil || w.now < n.daemon.stalled || !o.entitled(n) || n != o.steadyN ||
		n.promotions != o.steadyP || o.steadyD != n.deed("") {
		o.steadyN, o.steady = n, w.now
		if n != nil {
			o.steadyP, o.steadyD = n.promotions, n.deed("")
		}
		return
	}
	for _, n := range w.nodes {
		if n.upset > w.now-time.Second {
			return
		}
	}
	age := w.now - o.steady
	r := w.zone.of(n.key())
	if r.edited { // found by a check alone, which is not repeated in a hurry when it fails
		age = w.now - max(o.steady, n.daemon.missed)
	}
	if r.addr == n.addr && (r.owner.Node == n.name || r.edited) || o.excused(n, r) {
		return
	}
	quick := o.steady-n.upset > Settle
	between := func(t time.Duration) bool { return t >= r.since && t <= r.settled }
	prompt := o.steady-max(n.upset, n.daemon.born, r.settled) > Known && w.zone.fault == "" &&
		(w.zone.faultChanged == 0 || o.steady-w.zone.faultChanged > Settle) &&
		// nothing tells the standby of another
		!w.s.Writable && r.usual && n.daemon.missed < r.settled && n.daemon.seen > r.settled &&
		n.daemon.seenSince == r.since &&
		// one that starts, or looks for the first time, between the two takes the claim before for it
		!between(n.daemon.born) && !between(n.daemon.met)
	switch {
	case prompt:
		o.promptest = max(o.promptest, age)
	case quick:
		o.quickest = max(o.quickest, age)
	default:
		o.slowest = max(o.slowest, min(age, w.now-n.upset))
	}
	more := w.waits()
	if age > Settle+more && w.now-n.upset > Settle+more || quick && age > Quick+more || prompt && age > Prompt {
		o.violated(2, "%s has had every right to the record for %v, and it names %v of %q", n.name, age, r.addr, r.owner.Node)
	}
}

// watches judges what a process shows, and how long a publication without the daemon has had nothing in its way.
func (o *oracle) watches(p *proc) {
	w, n := o.w, p.n
	if p.once {
		if !o.entitled(n) || o.excused(n, w.zone.of(p.is.key)) || n.upset > w.now-time.Second ||
			w.now < max(p.paused, n.pauseFound(), p.stalled) {
			p.free = w.now
		}
		return
	}
	if w.now < n.crmCrawls && w.now-max(n.crmCrawled, p.born, n.woke, p.stalled) > time.Minute && !n.frozen {
		for _, problem := range p.d.Problems() {
			if problem.Code == "crm_slow" {
				return
			}
		}
		o.violated(8, "%s does not say that crm_mon is too slow", n.name)
	}
}

// gaveUp judges a publication without the daemon at the end of its time.
func (o *oracle) gaveUp(p *proc) {
	r := o.w.zone.of(p.is.key)
	limit := Alone
	if p.n.rivals.during == p.n.promotions && p.n.rivals.count > 0 {
		limit += Blind // a lost race is waited out
	}
	if free := o.w.now - p.free; free > limit && (r.addr != p.n.addr || r.owner.Node != p.n.name) && !o.excused(p.n, r) &&
		o.w.waits() == 0 {
		o.violated(2, "%s publishes by itself, and has not done so in %v with every right to it", p.n.name, free)
	}
}

// entitled reports whether nothing that an agent may wait for is in the way of n.
func (o *oracle) entitled(n *node) bool {
	w := o.w
	if !n.alive || n.frozen || n.cib == nil || !n.primary || !n.good() || !n.quorate() || n.suspended || n.split {
		return false
	}
	b, z := n.cib, w.zone
	me, peer := b.n[n.i], b.n[1-n.i]
	switch {
	case !me.online || me.role != "Promoted" || me.action != "" || b.maintenance:
	case peer.unclean || peer.role == "Promoted" || peer.skipped || peer.twin:
	case !peer.online && w.noHistory != 0:
	case !peer.online && (n.untold > peer.lost || n.blurred):
	// nothing told it of the demotion before
	case peer.left && (n.daemon != nil && n.daemon.gone || n.daemon == nil && n.keptGone):
	case z.of(n.key()).edited && n.daemon != nil && n.daemon.throttled > 0: // it gives way to the writes of others
	case w.now < n.crmFails || w.now < n.crmCrawls || n.crmTakes > time.Second || w.now < n.streamEnds ||
		w.now < n.streamHangs || w.now < n.paused && w.now >= n.pausedAt:
	case z.fault != "" && z.fault != "behind" && z.fault != "new words" || z.flying[1-n.i] > 0:
	case w.s.Writable && n.postgres() != "writable":
	default:
		return true
	}
	return false
}

// excused reports whether the record is another's by right, as far as this node can know: strangers have left what no
// agent may overwrite; they have changed the claim of this promotion, or once more what was just repaired; too many
// foreign claims were read; both nodes were promoted at once, and the other's claim is the later one; the history that
// names this promotion was erased before anybody looked; or its own claim has arrived with an address that it no longer
// has, after it read what a stranger had left, and it checks the record only now and then.
func (o *oracle) excused(n *node, r *record) bool {
	mine := o.mine[n.i][n.key()]
	published := mine.during == n.promotions
	races := 1
	if o.w.s.Fencing {
		races = 3
	}
	switch {
	case r.err != nil:
	case r.edited && published && r.owner.Claim != mine.claim:
	case r.edited && published && mine.addr == n.addr && o.fought[n.i] == n.promotions:
	case n.rivals.during == n.promotions && (n.rivals.count > races || n.rivals.strange):
	case o.apart(n) && r.owner.Node == n.other().name && (published || n.other().since > n.since):
	case o.erased[n.i] == n.promotions && !published:
	case r.owner.Node == n.name && r.strayed != 0 && o.w.now-r.strayed < Checked && n.daemon != nil &&
		n.daemon.d.Snapshot().State.Drift():
	default:
		return false
	}
	return true
}

// judgeJournals reads the journals as a stranger would: line by line.
func (o *oracle) judgeJournals() {
	for _, n := range o.w.nodes {
		path := filepath.Join(n.cfg.State.Dir, "journal")
		f, err := os.Open(path)
		if errors.Is(err, os.ErrNotExist) && n.replaced {
			continue
		}
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
		case e.ID == was.ID && l.Boot != last.Boot:
			o.violated(5, "%s: episode %d was of boot %s, and then of boot %s", n.name, e.ID, last.Boot, l.Boot)
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
	{"fence_requested", "fenced"}, {"promoted", "mounted"}, {"promoted", "pg_started"}, {"pg_started", "writable"},
	{"promoted", "dns_accepted"},
	{"dns_accepted", "dns_insync"}, {"dns_accepted", "dns_observed"}, {"writable", "complete"},
	{"dns_observed", "complete"},
}
