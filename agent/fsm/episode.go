package fsm

// Phase is a step of a promotion. Phases may come in any order and may be missing.
type Phase uint8

// The phases, in the order in which a failover usually goes through them.
const (
	PeerLost Phase = iota // first sign: DRBD connection or crm_mon
	FenceRequested
	Fenced
	Promoted
	Mounted
	PgStarted // accepts connections
	Writable
	DNSAccepted
	DNSInSync
	DNSObserved // the resolver answers our address
	Complete
	NumPhases
)

var phaseNames = [NumPhases]string{
	"peer_lost", "fence_requested", "fenced", "promoted", "mounted", "pg_started", "writable", "dns_accepted",
	"dns_insync", "dns_observed", "complete",
}

// String returns the phase's name.
func (p Phase) String() string { return phaseNames[p] }

// Cause says why a promotion happened.
type Cause string

// The closed set of causes.
const (
	CauseUnknown        Cause = "unknown"
	CauseNodeLost       Cause = "node_lost"
	CauseResourceFailed Cause = "resource_failed"
	CauseOperator       Cause = "operator"
	CauseStartUp        Cause = "start_up"
)

// Causes lists every Cause.
var Causes = []Cause{CauseUnknown, CauseNodeLost, CauseResourceFailed, CauseOperator, CauseStartUp}

// Outcome says how an episode ended; "" while it is open.
type Outcome string

// The closed set of outcomes.
const (
	OutcomeComplete   Outcome = "complete"   // the name answers our address and PostgreSQL accepts writes
	OutcomeDemoted    Outcome = "demoted"    // this node lost the promotion before that
	OutcomeAverted    Outcome = "averted"    // the peer stayed or became promoted: no promotion happened here
	OutcomeContested  Outcome = "contested"  // another node claimed the record later: the promotion is over for the name
	OutcomeIncomplete Outcome = "incomplete" // nothing more happened for a long time
	OutcomeLost       Outcome = "lost"       // the node rebooted before the end
)

// Outcomes lists every Outcome.
var Outcomes = []Outcome{OutcomeComplete, OutcomeDemoted, OutcomeAverted, OutcomeContested, OutcomeIncomplete,
	OutcomeLost}

// Episode is the story of one promotion on this node, from the first sign to the end. Its times are CLOCK_BOOTTIME of
// this node.
type Episode struct {
	ID        uint64 // counts up on each node; 0 means that there is none
	Cause     Cause
	Outcome   Outcome
	Start     Time
	Stamps    [NumPhases]Time // zero: not seen
	Late      [NumPhases]bool // learned after the agent began or stood still: the phase is at most as late as its stamp
	Peer      string          // the node that was promoted before, "" when not known
	Why       string          // what the first sign was
	Promotion string          // claim of the promotion, "" until it is known
	// Ownership epoch that our first write was based on, or that a lost race has shown since.
	BaseEpoch      uint64
	BaseClaim      string   // and the claim of that epoch
	Attempted      bool     // a write of the claim was sent or may have been
	Races          int      // foreign claims that were waited out, each of them a lost race
	RacesExhausted bool     // no wait is left: the next foreign claim is final
	RaceUntil      Time     // end of the last wait
	Epoch          uint64   // ownership epoch of our accepted claim, 0 until then
	Outage         Outage   // what a client of the service name saw, zero when nothing
	Writes         int      // change requests sent
	Lost           LostPeer // the peer's fencing state, so that a restart in the middle does not forget it
	// What the agent must not forget, as of the last save; it may change after the end of the story.
	Memory Memory
}

// Memory is what must survive a restart of the agent, whatever became of the episode that it is saved with.
type Memory struct {
	Kept   bool   // false: saved by an agent that remembered nothing of this
	Fences Fences // every successful fencing that this agent has seen, so that none counts as new twice
	// The history was not readable since a peer may last have come back: one that it shows may be from before.
	Partial  bool
	Unfenced [MaxPeers]string // peers that were lost while promoted, and not fenced since

	// Of this node's promotion.
	Base                string // the record that the story's base and lost races are of
	Record, Addr        string // where its claim was accepted, "" until then
	Epoch               uint64 // the newest epoch of it that is known
	Newest              uint64 // the newest that the record has shown, of whomever
	Contested           bool   // and another node's newer claim was found there
	Disputed            string // the last record in which such a claim was found, which need not be the present one
	Demoted             bool   // it has ended, although the story had its end before
	ResolversStaleUntil Time   // until then the resolvers may show what was before our last write
	APIStaleUntil       Time   // until then the API may
	Repaired            Time   // when the record was last written again because of an edit by somebody else
	RepairEpoch         uint64 // the epoch of that write, which may not have left
	RepairGivenUp       bool   // and it was edited again soon after
}

// baseRecord is the record that the story is about, "" when that is not known.
func (m *Memory) baseRecord() string {
	if m.Base != "" {
		return m.Base
	}
	return m.Record
}

// forgetBase forgets what the record held: the promotion goes on, and another record is its own from now on.
func (e *Episode) forgetBase() {
	e.Attempted, e.BaseEpoch, e.BaseClaim = false, 0, ""
	e.Races, e.RacesExhausted, e.RaceUntil = 0, false, 0
}

// Open reports whether the episode is going on.
func (e *Episode) Open() bool { return e.ID != 0 && e.Outcome == "" }

// Seen reports whether the phase has its time.
func (e *Episode) Seen(p Phase) bool { return e.Stamps[p] != 0 }

// ByTime lists the phases that were seen, earliest first; at the same moment in the usual order.
func (e *Episode) ByTime() []Phase {
	var seen []Phase
	for p := range NumPhases {
		if e.Seen(p) {
			seen = append(seen, p)
		}
	}
	for i := 1; i < len(seen); i++ { // a handful: insertion keeps equal ones in order
		for j := i; j > 0 && e.Stamps[seen[j]] < e.Stamps[seen[j-1]]; j-- {
			seen[j], seen[j-1] = seen[j-1], seen[j]
		}
	}
	return seen
}

// beginEpisode opens an episode unless one is open.
func (s *State) beginEpisode(now Time, why string) {
	if s.Episode.Open() {
		return
	}
	if s.Promotion.Claim != "" && (s.Cluster.Promotion == "" || s.Cluster.Promotion == s.Promotion.Claim) {
		return // the promotion that is known already
	}
	s.Episode = Episode{ID: s.Episode.ID + 1, Cause: CauseUnknown, Start: now, Peer: s.Peers.lastPromoted, Why: why}
}

// markPhase stamps a phase of the open episode once.
func (s *State) markPhase(now Time, p Phase) bool {
	if !s.Episode.Open() || s.Episode.Seen(p) {
		return false
	}
	s.Episode.Stamps[p], s.Episode.Late[p] = now, !s.heard[toldBy[p]]
	return true
}

func (s *State) endEpisode(o Outcome) {
	if s.Episode.Open() {
		s.Episode.Outcome = o
	}
}

// recordPhases reads the phases off the state, and ends the episode when its story is over.
func (s *State) recordPhases(now Time) {
	e := &s.Episode
	if !e.Open() {
		return
	}
	c := &s.Cluster
	if s.Promotion.Claim != "" {
		s.markPhase(now, Promoted)
		if c.OK && c.FilesystemHere {
			s.markPhase(now, Mounted)
		}
	}
	if e.Seen(Promoted) && s.Postgres.At >= e.Start {
		if s.Postgres.Accepting {
			s.markPhase(now, PgStarted)
		}
		if s.Postgres.Writable {
			s.markPhase(now, Writable)
		}
	}
	if s.Promotion.Published && s.Resolved.OK && s.Resolved.Addr == s.Config.Addr &&
		s.Resolved.At >= e.Stamps[DNSAccepted] && e.Seen(DNSAccepted) {
		s.markPhase(now, DNSObserved)
	}
	switch {
	case s.Promotion.Contested:
		s.endEpisode(OutcomeContested)
	case e.Seen(Writable) && e.Seen(DNSObserved) && s.Write.ChangeID == "" &&
		(!s.ClientDown || now-max(e.Stamps[Writable], e.Stamps[DNSObserved]) > outageGrace):
		s.markPhase(now, Complete)
		e.Late[Complete] = e.Late[e.last(Writable, DNSObserved)]
		s.endEpisode(OutcomeComplete)
	case s.Promotion.Claim == "" && c.OK && c.At-e.Start > avertAfter && c.PromotedPeer != "" && s.peersHealthy() &&
		!s.Drbd.Primary:
		s.endEpisode(OutcomeAverted)
	case s.isQuiescent() && now-max(s.saving.changedAt, e.Start) > idleAfter:
		s.endEpisode(OutcomeIncomplete)
	}
	since := s.ClientDownSince
	if since != 0 && s.Promotion.Claim != "" && !e.Open() && now-since > e.Outage.Length() {
		e.Outage = Outage{From: since} // goes on
	}
}

// last returns the one of two phases that was stamped later.
func (e *Episode) last(a, b Phase) Phase {
	if e.Stamps[a] > e.Stamps[b] {
		return a
	}
	return b
}

// isQuiescent reports whether an open episode waits for nothing that the agent or the cluster must still do: only for
// the resolver, or for a promotion that no lost peer calls for.
func (s *State) isQuiescent() bool {
	if s.Promotion.Claim == "" {
		return s.Peers.Lost == [MaxPeers]LostPeer{}
	}
	return s.Promotion.Published && s.Episode.Seen(PgStarted)
}

// saving is what of the episodes is still to be journaled.
type saving struct {
	replaced    Episode // ended in this very step, and followed by another: still to be saved
	confirmLast bool
	changedAt   Time // when the episode last changed
}

// memorize keeps with the last episode what must survive a restart.
func (s *State) memorize() {
	if s.Promotion.Contested {
		s.Promotion.disputed = recordClaim{s.Promotion.Claim, s.Config.Record}
	}
	if s.Episode.ID == 0 {
		return
	}
	o := s.Episode.Outcome
	over := o == OutcomeDemoted || o == OutcomeAverted || o == OutcomeLost // which say it already
	m := Memory{
		Kept: true, Fences: s.Peers.fences, Partial: !s.fencesKnown(), Base: s.Config.Record,
		Record: s.Promotion.publishedTo.record, Addr: s.Promotion.publishedTo.addr, Epoch: s.Promotion.Epoch,
		Newest:    s.Record.newestEpoch,
		Contested: s.Promotion.Contested, Demoted: s.Promotion.Claim == "" && s.Episode.Promotion != "" && !over,
		ResolversStaleUntil: s.Write.resolversStaleUntil, APIStaleUntil: s.Write.apiStaleUntil, Repaired: s.Repair.writtenAt,
		RepairEpoch: s.Repair.attemptEpoch, RepairGivenUp: s.Repair.GivenUp,
	}
	if s.Promotion.disputed.claim == s.Episode.Promotion {
		m.Disputed = s.Promotion.disputed.record
	}
	for i, l := range s.Peers.Lost {
		if !l.Fenced {
			m.Unfenced[i] = l.Name
		}
	}
	s.Episode.Memory = m
}
