package fsm

import "time"

// Cadence of the work. An idle node asks rarely; while something happens it asks often, and every trigger asks at once.
const (
	lookIdle      = 10 * time.Second
	lookBusy      = time.Second
	lookHeld      = 3 * time.Second // after five minutes of it
	busyFor       = 5 * time.Minute
	lookHintFirst = 100 * time.Millisecond // after a hint of a promotion that crm_mon does not show yet, doubled each time
	hintWindow    = 10 * time.Second
	probeStandby  = 5 * time.Second
	probePromoted = time.Second
	probeBusy     = 250 * time.Millisecond
	resolveIdle   = 30 * time.Second
	resolveBusy   = 500 * time.Millisecond
	viewUp        = time.Second
	viewDown      = 250 * time.Millisecond
	// peerClaims is how long after a promotion of a peer its claim is read, so that this node's next write is based on it.
	peerClaims      = 5 * time.Second
	peerClaimsAgain = time.Minute

	backoffFirst = time.Second
	backoffMax   = 30 * time.Second
	guardRetry   = 100 * time.Millisecond

	// avertAfter is how long after the first sign a peer must still be promoted and well for the alarm to be false: longer than any
	// sensible Corosync token and consensus timeout.
	avertAfter = time.Minute
	idleAfter  = 15 * time.Minute // an open episode for which nothing is left to do is given up after this long without news
	gapWait    = time.Minute      // how long a finished episode waits for the client's view to recover
)

// MaxPolls is how many times one accepted change is asked about.
const MaxPolls = 10

// pollAfter is the wait before each poll: most private zones are in sync within seconds, Route 53 promises about 60.
var pollAfter = [MaxPolls]time.Duration{
	time.Second, time.Second, 2 * time.Second, 3 * time.Second, 4 * time.Second, 6 * time.Second, 8 * time.Second,
	12 * time.Second, 18 * time.Second, 30 * time.Second,
}

// Config is what the core must know of the configuration.
type Config struct {
	Node            string
	Addr            string // own address in canonical text, "" until known
	PublishWritable bool   // hold back until PostgreSQL accepts writes
	Ownership       bool   // guard the record with the TXT pair
	View            bool   // be a client as well
	DriftEvery      time.Duration
	Unnamed         string // claim for a promotion that has no name: it happened before any agent ran and its history was erased
}

// Retry is the state of a backoff.
type Retry struct {
	N      int // failures in a row
	At     Time
	Reason string // of the last failure
}

// State is everything the core knows. It is a comparable value.
type State struct {
	Config Config

	Cluster  Cluster
	Drbd     Drbd
	Postgres Postgres
	Zone     Zone
	Resolved Resolved
	Lost     [MaxPeers]LostPeer
	fences   [MaxPeers]fences

	// The promotion of this node, "" when it is not promoted.
	Promotion string
	Since     Time // when the promotion was first seen
	Published bool // its claim was accepted
	Epoch     uint64
	Contested bool
	RaceUntil Time
	raceUsed  bool

	Retry        Retry // of the write
	ReadRetry    Retry
	LookFailures int
	StalledUntil Time
	PausedUntil  Time
	Writing      Write // the write in flight; zero Claim when none
	wroteAt      Time  // when the last one ended
	created      bool  // the last change made the record, and has not reached all name servers yet
	cancelled    bool
	ChangeID     string
	polling      string // the change that the poll in flight asks about
	Polls        int
	ClientDown   bool

	Episode     Episode // the open one, or the last
	replaced    Episode // ended in this very step, and followed by another: still to be saved
	lastNews    Time
	hintUntil   Time
	lookGap     time.Duration
	lookTook    time.Duration // of the last good look
	peerDemoted bool          // when DRBD was connected last, no peer was Primary
	lastPeer    string        // the peer that was seen promoted last, until this node is
	everLooked  bool
	confirmLast bool

	tasks [numTasks]taskState
	rng   uint64
}

// New returns the state at the start of the agent. The seed feeds the jitter. last is the newest episode of the journal, with an ID of
// zero when there is none; sameBoot tells whether it is of this boot.
func New(cfg Config, seed uint64, last Episode, sameBoot bool) State {
	s := State{Config: cfg, rng: seed, Episode: last}
	if last.ID == 0 {
		return s
	}
	if !sameBoot {
		if last.Open() {
			s.Episode.Outcome = OutcomeLost
			s.confirmLast = true
		}
		return s
	}
	if last.Outcome == OutcomeDemoted || last.Outcome == OutcomeAverted {
		return s // what comes next is another promotion
	}
	// The promotion goes on if crm_mon still shows it; what was claimed for it stays claimed.
	s.Promotion, s.Since = last.Promotion, last.Stamps[Promoted]
	s.Published, s.Epoch = last.Seen(DNSAccepted), last.Epoch
	s.Contested = last.Outcome == OutcomeContested
	s.raceUsed, s.RaceUntil = last.Raced, last.RaceUntil
	if last.Open() && last.Lost.Name != "" {
		s.Lost[0] = last.Lost
	}
	return s
}

// Step advances the state by one event at time now and returns what to do. now must not go backwards.
func (s State) Step(now Time, ev Event) (State, []Action) {
	before := s.Episode
	var out []Action

	switch e := ev.(type) {
	case Tick:
	case Hint:
		s.tasks[taskLook].nudge(now)
		if e.Promotion {
			s.hurried(now)
			s.tasks[taskProbe].nudge(now)
		}
	case Looked:
		s.looked(now, e.Cluster)
	case DrbdChanged:
		s.drbd(now, e.Drbd)
	case Probed:
		s.Postgres = e.Postgres
		s.tasks[taskProbe].landed(now, s.probeEvery())
	case Read:
		s.read(now, e)
	case Wrote:
		s.wrote(now, e)
	case Polled:
		s.polled(now, e)
	case ResolvedName:
		s.Resolved = e.Resolved
		s.tasks[taskResolve].landed(now, s.resolveEvery(now))
	case Viewed:
		s.viewed(now, e)
	case Stalled:
		s.StalledUntil = now + StallHold
		s.Cluster.OK = false
		s.tasks[taskLook].nudge(now)
	case Paused:
		s.PausedUntil = e.Until
	case AddressKnown:
		s.Config.Addr = e.Addr
	case Republish:
		// A claim that was accepted once is never written over a newer one.
		s.raceUsed = s.raceUsed || s.Published
		s.Published, s.Zone.OK = false, false // what the zone holds now decides whether there is anything to write
		s.tasks[taskRead].nudge(now)
		s.tasks[taskLook].nudge(now)
	}

	s.name(now)
	s.settle(now)
	s.stamp(now)
	out = s.decide(now, out)
	out = s.schedule(now, out)
	if s.Episode != before {
		s.lastNews = now
	}
	if s.replaced.ID != 0 {
		out = append(out, Save{Episode: s.replaced})
		s.replaced = Episode{}
	}
	if s.Episode != before || s.confirmLast {
		s.confirmLast = false
		out = append(out, Save{Episode: s.Episode})
	}
	return s, out
}

// looked takes in one look at the cluster and what it says about the peers.
func (s *State) looked(now Time, c Cluster) {
	if !c.OK {
		s.Cluster.OK = false
		s.LookFailures++
		s.tasks[taskLook].landed(now, min(lookIdle, time.Second<<min(s.LookFailures-1, 4)))
		return
	}
	s.LookFailures = 0
	old := s.Cluster
	s.Cluster = c
	for _, p := range c.Peers[:c.PeerCount] {
		s.peer(now, old, p)
	}
	if c.PromotedPeer != "" {
		s.lastPeer = c.PromotedPeer
		if s.Config.Ownership && s.Zone.Owner != c.PromotedPeer {
			// Its claim will come, or has: know the epoch before it is needed.
			s.hurry(taskRead, max(now+peerClaims+s.jitter(peerClaims), s.Zone.At+peerClaimsAgain, s.ReadRetry.At))
		}
	}
	if c.Promoting && s.everLooked {
		s.begin(now, "crm_mon: promoting")
	}
	if !s.everLooked && c.PromotedHere && !c.FencingEnabled {
		// A machine that froze and woke may have its agent restarted by systemd's watchdog, and nothing then remembers the stall. With
		// fencing such a node does not wake.
		s.StalledUntil = max(s.StalledUntil, now+StallHold)
	}
	s.everLooked = true
	s.lookTook = now - c.At
	if s.lookGap < lookBusy {
		s.lookGap *= 2
	}
	s.tasks[taskLook].landed(now, s.lookEvery(now))
}

// peer follows one peer through loss, fencing and return.
func (s *State) peer(now Time, old Cluster, p Peer) {
	f := s.fencesOf(p)
	before := f.before(now)
	f.learn(now, p)
	lost := s.lost(p.Name)
	if p.Online && !p.Unclean {
		if lost != nil {
			*lost = LostPeer{}
		}
		return
	}
	if lost == nil {
		for _, q := range old.Peers[:old.PeerCount] {
			if q.Name == p.Name && q.Promoted && q.Online && !q.Unclean && !s.left(now, p) {
				s.begin(now, "crm_mon: node lost")
				s.hurried(now) // fencing is requested next
				lost = s.remember(LostPeer{Name: p.Name, FencedBefore: before})
				s.mark(now, PeerLost)
			}
		}
	}
	if lost == nil {
		return
	}
	lost.Fenced = lost.Fenced || p.Fenced > lost.FencedBefore
	if s.Episode.Peer != p.Name {
		return // the loss belongs to an earlier story
	}
	if p.Fencing || lost.Fenced {
		s.mark(now, FenceRequested)
	}
	if lost.Fenced {
		s.mark(now, Fenced)
	}
	if s.Episode.Open() {
		s.Episode.Lost = *lost
	}
}

// fences is what is known of one peer's fencing history. It only grows: a history that was cleaned and comes back is nothing new.
type fences struct {
	name   string
	newest int64
	older  int64 // the newest one before that
	at     Time  // when newest was first seen on a peer that still looked like a member; 0 when it did not, or has come back since
	away   bool
}

// earlyFence is how long a fencing may be known before the cluster notices that the node is gone: an operator who fences a healthy
// node is faster than Corosync's token timeout and two looks.
const earlyFence = 30 * time.Second

// before returns the newest fencing that has nothing to do with a loss that is noticed now.
func (f *fences) before(now Time) int64 {
	if f.at != 0 && now-f.at <= earlyFence {
		return f.older
	}
	return f.newest
}

func (f *fences) learn(now Time, p Peer) {
	away := !p.Online || p.Unclean
	if p.Fenced > f.newest {
		f.older, f.newest, f.at = f.newest, p.Fenced, 0
		if !away {
			f.at = now
		}
	}
	if f.away && !away {
		f.at = 0 // what was before its return explains no later loss
	}
	f.away = away
}

// fencesOf finds the peer's memory, or makes one: what is in the history at the first sight is old.
func (s *State) fencesOf(p Peer) *fences {
	slot := &s.fences[0]
	for i := range s.fences {
		if s.fences[i].name == p.Name {
			return &s.fences[i]
		}
		if slot.name != "" && s.fences[i].name == "" {
			slot = &s.fences[i]
		}
	}
	*slot = fences{name: p.Name, newest: p.Fenced, older: p.Fenced, away: !p.Online || p.Unclean}
	return slot
}

// left reports whether a peer that is gone and clean was demoted before it went: DRBD said so over a live connection. Nobody fences
// such a peer, although two looks may show it promoted and then gone, with nothing between.
func (s *State) left(now Time, p Peer) bool {
	return !p.Online && !p.Unclean && s.peerDemoted && s.Drbd.Live && now-s.Drbd.At <= MaxDrbdAge
}

func (s *State) lost(name string) *LostPeer {
	for i := range s.Lost {
		if s.Lost[i].Name == name {
			return &s.Lost[i]
		}
	}
	return nil
}

func (s *State) remember(l LostPeer) *LostPeer {
	slot := &s.Lost[0]
	for i := range s.Lost {
		if s.Lost[i].Name == "" {
			slot = &s.Lost[i]
			break
		}
	}
	*slot = l
	return slot
}

func (s *State) drbd(now Time, d Drbd) {
	old := s.Drbd
	s.Drbd = d
	if !d.Live {
		s.peerDemoted = false
		return
	}
	if d.Connected {
		s.peerDemoted = !d.PeerPrimary
	}
	changed := !old.Live || old.Primary != d.Primary || old.Connected != d.Connected || old.PeerPrimary != d.PeerPrimary || old.Suspended != d.Suspended
	if changed {
		s.tasks[taskLook].nudge(now)
	}
	if !old.Live || s.Promotion != "" || old.Primary {
		return
	}
	switch {
	case d.Primary:
		s.begin(now, "DRBD: Primary")
		s.mark(now, Promoted)
		s.hurried(now)
		s.tasks[taskProbe].nudge(now)
	case old.Connected && old.PeerPrimary && !d.Connected:
		s.begin(now, "DRBD: "+d.LostWhy)
		s.mark(now, PeerLost)
	case old.PeerPrimary && d.Connected && !d.PeerPrimary:
		s.begin(now, "DRBD: peer demoted")
	}
}

// read takes in the authoritative record.
func (s *State) read(now Time, e Read) {
	s.tasks[taskRead].landed(now, s.Config.DriftEvery/2+s.jitter(s.Config.DriftEvery))
	if e.Reason != "" && !e.Zone.Refused {
		s.ReadRetry = s.backoff(now, s.ReadRetry, e.Reason)
		s.tasks[taskRead].Due = s.ReadRetry.At
		if s.Zone.OK { // only a check: no hurry for an API that is in trouble
			s.tasks[taskRead].Due += backoffMax
		}
		return
	}
	s.ReadRetry = Retry{}
	if e.Zone.At < s.wroteAt {
		// Begun before our write ended: it may show what was before.
		s.ReadRetry.At = now + guardRetry
		s.tasks[taskRead].Due = s.ReadRetry.At
		return
	}
	s.Zone = e.Zone
	if s.Zone.Refused {
		s.tasks[taskRead].Due = now + backoffMax
		return
	}
}

// settle compares the record with this node's promotion: whose it is.
func (s *State) settle(now Time) {
	z := s.Zone
	if s.Promotion == "" || !s.Cluster.PromotedHere || !z.OK {
		return
	}
	switch {
	case !s.Config.Ownership:
		if !s.Published && z.Addr == s.Config.Addr && s.Episode.Attempted {
			s.accepted(now, 0)
		}
	case z.Claim == s.Promotion && z.Claim != "":
		// Also the end of a write whose reply was lost, or of one by the hook while the agent was down. A claim with another address
		// is ours to write again.
		if !s.Published && (z.Addr == s.Config.Addr || s.Config.Addr == "") {
			s.accepted(now, z.Epoch)
		}
		s.Epoch = z.Epoch
	case z.Owner == s.Config.Node || z.Owner == "":
	case s.Published && z.Epoch > s.Epoch:
		s.Contested = true
	case !s.Published && s.Episode.Attempted && z.Epoch > s.Episode.BaseEpoch:
		s.raced(now)
	}
}

// raced handles a foreign claim that is newer than what our write was based on, when none of ours was accepted yet. It may be from
// before this promotion: read too late, or a write of the old node that was on its way for long. Or this node is the old one, and has not
// noticed. So it waits until Corosync must have noticed, looks again, and tries once more. A second such claim is the other's, for good.
func (s *State) raced(now Time) {
	if s.raceUsed {
		s.Contested = true
		return
	}
	s.raceUsed, s.Episode.Raced = true, true
	s.RaceUntil = now + StallHold
	s.Episode.RaceUntil = s.RaceUntil
	s.Cluster.OK = false
	s.Episode.BaseEpoch = s.Zone.Epoch
	s.tasks[taskLook].nudge(now)
}

// accepted records that the claim of the promotion is in the zone.
func (s *State) accepted(now Time, epoch uint64) {
	s.Published, s.Epoch = true, epoch
	s.Retry = Retry{}
	if s.mark(now, DNSAccepted) {
		s.Episode.Epoch = epoch
	}
	s.tasks[taskResolve].nudge(now)
}

func (s *State) wrote(now Time, e Wrote) {
	w := s.Writing
	s.Writing, s.cancelled, s.wroteAt = Write{}, false, now
	s.tasks[taskWrite].Flying = false
	if s.Episode.Open() && s.Episode.Promotion == w.Claim && e.Sent {
		s.Episode.Writes++
	}
	if e.Reason == "" {
		s.created = w.Base.Addr == ""
		s.Zone = Zone{
			At: now, OK: true, Addr: w.Addr, Epoch: w.NextEpoch, Owner: s.Config.Node, Claim: w.Claim,
			// The exact text is not known until it is read back; until then it is no base for another write.
		}
		if w.Claim == s.Promotion {
			s.accepted(now, w.NextEpoch)
			s.Polls, s.ChangeID = 0, e.ChangeID
			s.tasks[taskPoll].Due = now + pollAfter[0]
		}
		return
	}
	if e.Unsure || e.Conflict {
		// Only the record tells what is. After a refusal it is still what it was.
		s.Zone.OK = false
		s.tasks[taskRead].nudge(now)
	}
	switch {
	case e.Conflict && s.Retry.N == 0:
		s.Retry = Retry{N: 1, At: now, Reason: e.Reason}
	case !e.Sent && e.Reason == "guard":
		s.Retry = Retry{N: s.Retry.N, At: now + guardRetry, Reason: e.Reason}
		s.tasks[taskLook].nudge(now)
	default:
		s.Retry = s.backoff(now, s.Retry, e.Reason)
	}
}

func (s *State) polled(now Time, e Polled) {
	s.tasks[taskPoll].Flying = false
	if s.polling != s.ChangeID || s.ChangeID == "" {
		return // the answer is about an earlier change
	}
	s.Polls++
	switch {
	case e.InSync:
		s.created = false
		s.mark(now, DNSInSync)
		s.ChangeID = ""
		s.tasks[taskRead].nudge(now)
		s.tasks[taskResolve].nudge(now)
	case s.Polls >= MaxPolls:
		s.ChangeID, s.created = "", false
		s.tasks[taskRead].nudge(now)
	default:
		s.tasks[taskPoll].Due = now + pollAfter[s.Polls]
	}
}

func (s *State) viewed(now Time, e Viewed) {
	s.ClientDown = e.Down
	if s.Episode.Open() && e.Gap.To > s.Episode.Start && e.Gap.To-e.Gap.From > s.Episode.Gap.To-s.Episode.Gap.From {
		s.Episode.Gap = e.Gap
	}
	every := viewUp
	if e.Down {
		every = viewDown
	}
	s.tasks[taskView].landed(now, every)
}

// name keeps the identity of this node's promotion. A promote operation that the history shows for the first time is a new
// promotion; a history that was erased (cleanup, refresh) is not, and neither is a look that misses the role for a
// moment while the kernel still is Primary.
func (s *State) name(now Time) {
	c, d := &s.Cluster, &s.Drbd
	if !c.OK {
		return
	}
	switch {
	case c.PromotedHere && c.Promotion != "" && c.Promotion != s.Promotion:
		s.promote(now, c.Promotion)
	case c.PromotedHere && s.Promotion == "" && s.Zone.OK && s.Config.Ownership && s.Zone.Owner == s.Config.Node && s.Zone.Claim != "":
		s.promote(now, s.Zone.Claim)
	case c.PromotedHere && s.Promotion == "" && s.Zone.OK && s.Zone.Owner == "":
		s.promote(now, s.Config.Unnamed)
	case !c.PromotedHere && s.Promotion != "" && d.Live && !d.Primary:
		s.end(OutcomeDemoted)
		s.Promotion, s.Since, s.Published, s.Epoch, s.Contested, s.raceUsed = "", 0, false, 0, false, false
		s.RaceUntil, s.Retry, s.ChangeID, s.created = 0, Retry{}, "", false
	}
}

func (s *State) promote(now Time, claim string) {
	if s.Episode.Promotion != "" && s.Episode.Promotion != claim && s.Episode.Open() {
		s.end(OutcomeDemoted)
		s.replaced = s.Episode
	}
	s.begin(now, "promotion")
	s.Promotion, s.Since, s.lastPeer = claim, now, ""
	s.Published, s.Epoch, s.Contested, s.raceUsed, s.RaceUntil, s.Retry = false, 0, false, false, 0, Retry{}
	s.ChangeID, s.created = "", false
	e := &s.Episode
	e.Promotion = claim
	switch {
	case e.Seen(PeerLost) || e.Seen(Fenced):
		e.Cause = CauseNodeLost
	case s.Cluster.OperatorMove:
		e.Cause = CauseOperator
	case s.Cluster.PeerFailed:
		e.Cause = CauseResourceFailed
	case e.Peer == "":
		e.Cause = CauseStartUp
	case s.peersWell():
		e.Cause = CauseOperator // the peer was promoted, is well and has not failed: somebody moved it
	}
	s.tasks[taskProbe].nudge(now)
}

// begin opens an episode unless one is open.
func (s *State) begin(now Time, why string) {
	if s.Episode.Open() {
		return
	}
	if s.Promotion != "" && (s.Cluster.Promotion == "" || s.Cluster.Promotion == s.Promotion) {
		return // the promotion that is known already
	}
	s.Episode = Episode{ID: s.Episode.ID + 1, Cause: CauseUnknown, Start: now, Peer: s.lastPeer, Why: why}
}

// mark stamps a phase of the open episode once.
func (s *State) mark(now Time, p Phase) bool {
	if !s.Episode.Open() || s.Episode.Seen(p) {
		return false
	}
	s.Episode.Stamps[p] = now
	return true
}

func (s *State) end(o Outcome) {
	if s.Episode.Open() {
		s.Episode.Outcome = o
	}
}

// stamp reads the phases off the state, and ends the episode when its story is over.
func (s *State) stamp(now Time) {
	e := &s.Episode
	if !e.Open() {
		return
	}
	c := &s.Cluster
	if s.Promotion != "" {
		s.mark(now, Promoted)
		if c.OK && c.FilesystemHere {
			s.mark(now, Mounted)
		}
	}
	if e.Seen(Promoted) && s.Postgres.At >= e.Start {
		if s.Postgres.Accepting {
			s.mark(now, PgStarted)
		}
		if s.Postgres.Writable {
			s.mark(now, Writable)
		}
	}
	if s.Published && s.Resolved.OK && s.Resolved.Addr == s.Config.Addr && s.Resolved.At >= e.Stamps[DNSAccepted] && e.Seen(DNSAccepted) {
		s.mark(now, DNSObserved)
	}
	switch {
	case s.Contested:
		s.end(OutcomeContested)
	case e.Seen(Writable) && e.Seen(DNSObserved) && s.ChangeID == "" && (!s.ClientDown || now-max(e.Stamps[Writable], e.Stamps[DNSObserved]) > gapWait):
		s.mark(now, Complete)
		s.end(OutcomeComplete)
	case s.Promotion == "" && c.OK && c.At-e.Start > avertAfter && c.PromotedPeer != "" && s.peersWell() && !s.Drbd.Primary:
		s.end(OutcomeAverted)
	case s.nothingLeft() && now-max(s.lastNews, e.Start) > idleAfter:
		s.end(OutcomeIncomplete)
	}
}

// nothingLeft reports whether an open episode waits for nothing that the agent or the cluster must still do: only for the resolver, or for
// a promotion that no lost peer calls for.
func (s *State) nothingLeft() bool {
	if s.Promotion == "" {
		return s.Lost == [MaxPeers]LostPeer{}
	}
	return s.Published && s.Episode.Seen(PgStarted)
}

func (s *State) peersWell() bool {
	for _, p := range s.Cluster.Peers[:s.Cluster.PeerCount] {
		if !p.Online || p.Unclean {
			return false
		}
	}
	return true
}

// needsWrite reports whether this node's promotion is not yet in the zone.
func (s *State) needsWrite() bool { return s.Promotion != "" && !s.Published && !s.Contested }

// decide starts the write, or gives the one in flight up.
func (s *State) decide(now Time, out []Action) []Action {
	if s.tasks[taskWrite].Flying {
		// What is merely unknown does not cancel: the guard before the first byte sees to that.
		sure := s.Safety(now) &^ (1<<HoldCrmUnknown | 1<<HoldDrbdUnknown | 1<<HoldPostgres)
		if (sure != 0 || s.Writing.Claim != s.Promotion) && !s.cancelled {
			s.cancelled = true
			out = append(out, Cancel{Why: sure.first()})
		}
		return out
	}
	if !s.needsWrite() {
		return out
	}
	if h := s.Gate(now); h != 0 {
		return out
	}
	if s.Config.Ownership && s.Zone.Owner != "" && s.Zone.Raw == "" {
		s.Zone.OK = false // schedule reads it again, at the pace of the read's own backoff
		return out
	}
	s.Writing = Write{Decided: now, Base: s.Zone, NextEpoch: s.Zone.Epoch + 1, Claim: s.Promotion, Addr: s.Config.Addr}
	if !s.Episode.Attempted {
		s.Episode.Attempted, s.Episode.BaseEpoch = true, s.Zone.Epoch
	}
	s.tasks[taskWrite].Flying = true
	return append(out, s.Writing)
}

func (s Holds) first() string {
	if l := s.List(); len(l) > 0 {
		return l[0].String()
	}
	return "promotion changed"
}

// schedule starts every task that is due.
func (s *State) schedule(now Time, out []Action) []Action {
	if s.needsWrite() && !s.tasks[taskRead].Flying && !s.Zone.OK && !s.Zone.Refused && now >= s.ReadRetry.At {
		s.tasks[taskRead].Due = min(s.tasks[taskRead].Due, now)
	}
	s.hurry(taskLook, now+s.lookEvery(now))
	s.hurry(taskProbe, now+s.probeEvery())
	s.hurry(taskResolve, now+s.resolveEvery(now))
	for t := range numTasks {
		if !s.wanted(t) || s.tasks[t].Flying || s.tasks[t].Due > now {
			continue
		}
		s.tasks[t].Flying = true
		switch t {
		case taskLook:
			out = append(out, Look{})
		case taskProbe:
			out = append(out, Probe{})
		case taskRead:
			out = append(out, ReadRecord{})
		case taskPoll:
			s.polling = s.ChangeID
			out = append(out, Poll{ChangeID: s.ChangeID})
		case taskResolve:
			out = append(out, Resolve{})
		case taskView:
			out = append(out, View{})
		}
	}
	return out
}

// hurried makes the next looks follow each other quickly for a while.
func (s *State) hurried(now Time) { s.hintUntil, s.lookGap = now+hintWindow, lookHintFirst }

// hurry brings a task forward when the state has become busier than when it was planned.
func (s *State) hurry(t task, by Time) { s.tasks[t].Due = min(s.tasks[t].Due, by) }

func (s *State) wanted(t task) bool {
	switch t {
	case taskWrite:
		return false // started by decide
	case taskPoll:
		return s.ChangeID != ""
	case taskResolve:
		return s.nameExists()
	case taskView:
		return s.Config.View && s.nameExists()
	default:
		return true
	}
}

// nameExists reports whether the name may be resolved: a resolver that is asked for a name that is not there yet remembers for
// minutes that it is not.
func (s *State) nameExists() bool {
	if s.Zone.At == 0 {
		return s.ReadRetry.N > 0 // the API does not answer: the record is most likely there
	}
	return s.Zone.Addr != "" && !s.created
}

// Next returns when a Tick is due.
func (s *State) Next(now Time) Time {
	next := now + lookIdle
	for t := range numTasks {
		if s.wanted(t) && !s.tasks[t].Flying {
			next = min(next, s.tasks[t].Due)
		}
	}
	for _, at := range [...]Time{s.Retry.At, s.ReadRetry.At, s.StalledUntil, s.PausedUntil, s.RaceUntil} {
		if at > now {
			next = min(next, at)
		}
	}
	return max(next, now)
}

func (s *State) lookEvery(now Time) time.Duration {
	switch {
	case now < s.hintUntil && s.Promotion == "":
		return max(s.lookGap, min(s.lookTook, lookHeld))
	case !s.Episode.Open() && !s.needsWrite() && now >= s.StalledUntil:
		return lookIdle
	case now-s.lastNews < busyFor:
		// crm_mon runs on the machine that fails over: it may have a tenth of it, not more.
		return max(lookBusy, min(10*s.lookTook, lookHeld))
	default:
		return lookHeld
	}
}

func (s *State) probeEvery() time.Duration {
	switch {
	case !s.Drbd.Primary && s.Promotion == "":
		return probeStandby
	case s.Episode.Open() && !s.Episode.Seen(Writable):
		return probeBusy
	default:
		return probePromoted
	}
}

func (s *State) resolveEvery(now Time) time.Duration {
	if s.Published && s.Episode.Open() && !s.Episode.Seen(DNSObserved) && now-s.Episode.Stamps[DNSAccepted] < busyFor {
		return resolveBusy
	}
	return resolveIdle
}

// backoff counts a failure: full jitter over 1, 2, 4 ... 30 seconds, for ever.
func (s *State) backoff(now Time, r Retry, reason string) Retry {
	r.N++
	r.Reason = reason
	limit := min(backoffMax, backoffFirst<<min(r.N-1, 5))
	r.At = now + s.jitter(limit)
	return r
}

// jitter returns a duration in [0, d), from a splitmix64 sequence.
func (s *State) jitter(d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	s.rng += 0x9e3779b97f4a7c15
	z := s.rng
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return time.Duration((z ^ z>>31) % uint64(d))
}

// Drift reports whether the published record no longer says what this node wrote.
func (s *State) Drift() bool {
	return s.Published && !s.Contested && s.Zone.OK && (s.Zone.Addr != s.Config.Addr || s.Config.Ownership && s.Zone.Claim != s.Promotion)
}

// Settled reports whether nothing more is to be done for this node's promotion: published, or contested.
func (s *State) Settled() bool { return s.Promotion != "" && (s.Published || s.Contested) }
