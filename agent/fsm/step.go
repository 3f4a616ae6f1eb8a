package fsm

import "time"

// Config is what the core must know of the configuration.
type Config struct {
	Node            string
	Addr            string // own address in canonical text, "" until known
	PublishWritable bool   // hold back until PostgreSQL accepts writes
	Ownership       bool   // guard the record with the TXT pair
	Repair          bool   // write the record again when somebody else has edited its address
	Record          string // names the record: zone, name and whether it is owned; another one is written anew
	TTL             time.Duration
	Membership      time.Duration // Corosync's token plus consensus: after that long without a node it is no member; 0 when not known
	View            bool          // be a client as well
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

	fences    Fences // every successful fencing that this agent has seen
	remembers bool   // and those of before the start are in it
	peers     [MaxPeers]fencings

	// The promotion of this node, "" when it is not promoted.
	Promotion string
	Published bool // its claim was accepted
	published place
	Epoch     uint64
	Contested bool
	disputed  claimed // what another node claimed later: it stays so when the promotion, or the record, is another one for a while
	RaceUntil Time
	races     int  // lost, and waited out
	raceUsed  bool // no wait is left: the next foreign claim is final

	Retry        Retry // of the write
	ReadRetry    Retry
	LookFailures int
	StalledAt    Time // when this process was last found to have stood still
	StalledUntil Time
	PausedUntil  Time
	Writing      Write  // the write in flight; zero Claim when none
	readAt       Time   // when the read ended that Zone is from
	newest       uint64 // epoch that the record has shown
	wroteAt      Time   // when the last one ended that may have changed the record
	settled      Time   // until then the resolvers may not all have heard of our last change
	lagging      Time   // until then the API may answer what was before it
	unsure       bool   // a write of this promotion may have been made: where nobody owns the record, a reading of our address tells
	created      bool   // the last change made the record, and has not reached all name servers yet
	canceled     bool
	ChangeID     string
	crowded      uint8  // how often the interval of checks has been doubled
	polling      string // the change that the poll in flight asks about
	Polls        int
	ClientDown   bool

	// The repair of a record that somebody else has edited.
	Repairing  bool   // it is to be written
	attempt    uint64 // the epoch of its last write that may have left
	repaired   Time   // when it was last written; 0: never for this promotion
	Fights     bool   // it was edited again soon after: nothing more is written for this promotion
	suspected  Time   // when the record was last read because of what a client or the resolver saw
	suspicions int    // such reads since the resolver last answered this node's address

	Episode     Episode // the open one, or the last
	replaced    Episode // ended in this very step, and followed by another: still to be saved
	lastNews    Time
	hintUntil   Time
	lookGap     time.Duration
	LookTook    time.Duration // of the last good look
	demotions   [MaxConnections]demotion
	lastPeer    string // the peer that was seen promoted last, until this node is
	awaited     awaited
	peerDisk    Time // when a peer was last seen without its disk; 0: never since this node was promoted
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
	s.fences, s.remembers = last.Memory.Fences, last.Memory.Kept && !last.Memory.Partial
	for i, name := range last.Memory.Unfenced {
		s.Lost[i] = LostPeer{Name: name}
		s.peers[i] = fencings{name: name, away: name != "", unseen: name != ""}
	}
	if last.Memory.Base == cfg.Record {
		s.newest = last.Memory.Newest
	}
	if !sameBoot {
		if last.Open() {
			s.Episode.Outcome = OutcomeLost
			s.confirmLast = true
		}
		return s
	}
	if last.Memory.Disputed != "" {
		s.disputed = claimed{last.Promotion, last.Memory.Disputed}
	}
	if last.Outcome == OutcomeDemoted || last.Outcome == OutcomeAverted {
		return s // what comes next is another promotion
	}
	if last.Memory.Demoted {
		return s // the same; without a history crm_mon could not tell the two apart
	}
	// The promotion goes on if crm_mon still shows it; what was claimed for it stays claimed, where it was.
	s.Promotion = last.Promotion
	m := &last.Memory
	s.published = place{m.Record, m.Addr}
	if of := m.place(); of == "" || of == cfg.Record {
		here := m.Record == "" || m.Record == cfg.Record && (m.Addr == cfg.Addr || cfg.Addr == "")
		s.Published, s.Epoch, s.Contested = here && (last.Seen(DNSAccepted) || m.Record != ""), m.Epoch, m.Contested
		s.Contested = s.Contested || !m.Kept && last.Outcome == OutcomeContested // which may be a story of another record
		if m.Record == "" {
			s.Epoch = last.Epoch
		}
		s.races, s.raceUsed, s.RaceUntil = last.Races, last.Raced, last.RaceUntil
		s.repaired, s.attempt, s.Fights = m.Repaired, m.RepairEpoch, m.Fights
	} else {
		s.Episode.baseless()
		s.Contested = s.disputed == claimed{s.Promotion, cfg.Record}
	}
	s.settled, s.lagging = m.Settled, m.Lagging
	if last.Open() && last.Lost.Name != "" && (last.Lost.Fenced || !m.Kept) && s.lost(last.Lost.Name) == nil {
		// The memory knows who is still lost. The story tells of a peer also when it is back.
		s.remember(last.Lost)
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
		switch {
		case e.Resolved.OK && e.Resolved.Addr != s.Config.Addr:
			s.suspect(now)
		case e.Resolved.OK && !s.ClientDown:
			s.suspicions = 0
		}
	case Viewed:
		s.viewed(now, e)
	case Stalled:
		s.StalledAt, s.StalledUntil = now, now+s.stallHold()
		s.Cluster.OK = false
		s.tasks[taskLook].nudge(now)
	case Paused:
		s.PausedUntil = e.Until
	case AddressKnown:
		s.Config.Addr = e.Addr
		if s.published.addr != "" && s.published.addr != e.Addr {
			s.Published = false
		}
	case Republish:
		// A claim that was accepted once is never written over a newer one.
		s.raceUsed = s.raceUsed || s.Published
		s.Published, s.Zone.OK = false, false // what the zone holds now decides whether there is anything to write
		s.Repairing, s.attempt, s.repaired, s.Fights = false, 0, 0, false
		s.tasks[taskRead].nudge(now)
		s.tasks[taskLook].nudge(now)
	}

	s.name(now)
	s.settle(now)
	s.stamp(now)
	out = s.decide(now, out)
	s.memorize()
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

// memorize keeps with the last episode what must survive a restart.
func (s *State) memorize() {
	if s.Contested {
		s.disputed = claimed{s.Promotion, s.Config.Record}
	}
	if s.Episode.ID == 0 {
		return
	}
	o := s.Episode.Outcome
	over := o == OutcomeDemoted || o == OutcomeAverted || o == OutcomeLost // which say it already
	m := Memory{
		Kept: true, Fences: s.fences, Partial: !s.knowsFences(), Base: s.Config.Record, Record: s.published.record, Addr: s.published.addr, Epoch: s.Epoch, Newest: s.newest,
		Contested: s.Contested, Demoted: s.Promotion == "" && s.Episode.Promotion != "" && !over,
		Settled: s.settled, Lagging: s.lagging, Repaired: s.repaired, RepairEpoch: s.attempt, Fights: s.Fights,
	}
	if s.disputed.claim == s.Episode.Promotion {
		m.Disputed = s.disputed.record
	}
	for i, l := range s.Lost {
		if !l.Fenced {
			m.Unfenced[i] = l.Name
		}
	}
	s.Episode.Memory = m
}

func (s *State) viewed(now Time, e Viewed) {
	s.ClientDown = e.Down
	if s.Episode.Open() && e.Gap.To > s.Episode.Start && e.Gap.To-e.Gap.From > s.Episode.Gap.To-s.Episode.Gap.From {
		s.Episode.Gap = e.Gap
	}
	every := viewUp
	if e.Down {
		every = viewDown
		s.suspect(now)
	}
	s.tasks[taskView].landed(now, every)
}

// owns reports whether this node has published its promotion and is still shown as promoted: only then is the record its own to judge.
func (s *State) owns() bool {
	if s.Drbd.Down || s.Drbd.Live && !s.Drbd.Primary {
		return false // whatever Pacemaker said last: it may be gone as well
	}
	if !s.Cluster.OK && !s.Drbd.Live {
		return false // neither says anything
	}
	return s.Published && !s.Contested && s.Config.Addr != "" && s.everLooked && s.Cluster.PromotedHere && (s.Cluster.Promotion == s.Promotion || s.Cluster.Promotion == "")
}

// Drift reports whether the published record does not say what this node wrote.
func (s *State) Drift() bool {
	z := &s.Zone
	if z.OK && z.Owner == s.Config.Node && z.Addr == s.Config.Addr && s.Cluster.Promotion == "" && z.Epoch > s.Epoch {
		return false // a later claim of this node, which a journal that was cut off and a history that was erased have forgotten
	}
	return s.owns() && (z.Refused || z.OK && (z.Addr != s.Config.Addr || s.Config.Ownership && z.Claim != s.Promotion))
}

// TTLDrift reports whether the published record has another TTL than the configured one, and is right otherwise.
func (s *State) TTLDrift() bool {
	return s.owns() && !s.Drift() && s.Zone.OK && s.Zone.TTL != s.Config.TTL && s.Config.TTL != 0 && s.Zone.TTL != 0
}

// Settled reports whether nothing more is to be done for this node's promotion: published and not edited since, or contested.
func (s *State) Settled() bool { return s.Promotion != "" && !s.needsWrite() }
