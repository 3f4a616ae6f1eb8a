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
	// Corosync's token plus consensus: after that long without a node it is no member; 0 when not known.
	Membership  time.Duration
	ProbeClient bool // be a client as well
	DriftEvery  time.Duration
	// Claim for a promotion that has no name: it happened before any agent ran and its history was erased.
	Unnamed string
}

// State is everything the core knows. It is a comparable value.
type State struct {
	Config Config

	// What was observed last.
	Cluster  Cluster
	Drbd     Drbd
	Postgres Postgres
	Zone     Zone
	Resolved Resolved
	// An outage that a client of the name sees is going on, and its last success before; 0 when it had none.
	ClientDown      bool
	ClientDownSince Time

	// What follows from it, by concern.
	Peers     Peers       // loss, fencing and demotion of the other nodes
	Promotion Promotion   // of this node
	Record    RecordState // reads of the record
	Write     WriteState  // writes of the record
	Repair    RepairState // of a record that somebody else has edited
	Wait      Waits       // stall and pause
	Poll      ClusterPoll // of the cluster
	Episode   Episode     // the open one, or the last
	saving    saving      // of episodes
	foreign   foreignServer
	heard     [numSources]bool // since the start, or the last stall
	tasks     [numTasks]taskState
	rng       uint64
}

// Waits are the times before which nothing is written.
type Waits struct {
	StalledAt    Time // when this process was last found to have stalled
	StalledUntil Time // nothing is written until Corosync must have noticed the stall
	PausedUntil  Time // by an operator
}

// New returns the state at the start of the agent. The seed feeds the jitter. last is the newest episode of the
// journal, with an ID of zero when there is none; sameBoot tells whether it is of this boot.
func New(cfg Config, seed uint64, last Episode, sameBoot bool) State {
	s := State{Config: cfg, rng: seed, Episode: last}
	if last.ID == 0 {
		return s
	}
	s.Peers.fences, s.Peers.fencesComplete = last.Memory.Fences, last.Memory.Kept && !last.Memory.Partial
	for i, name := range last.Memory.Unfenced {
		s.Peers.Lost[i] = LostPeer{Name: name}
		s.Peers.fencing[i] = peerFencing{name: name, absent: name != "", unseen: name != ""}
	}
	if last.Memory.Base == cfg.Record {
		s.Record.newestEpoch = last.Memory.Newest
	}
	if !sameBoot {
		if last.Open() {
			s.Episode.Outcome = OutcomeLost
			s.saving.confirmLast = true
		}
		return s
	}
	if last.Memory.Disputed != "" {
		s.Promotion.disputed = recordClaim{last.Promotion, last.Memory.Disputed}
	}
	if last.Outcome == OutcomeDemoted || last.Outcome == OutcomeAverted {
		return s // what comes next is another promotion
	}
	if last.Memory.Demoted {
		return s // the same; without a history crm_mon could not tell the two apart
	}
	// The promotion goes on if crm_mon still shows it; what was claimed for it stays claimed, where it was.
	s.Promotion.Claim = last.Promotion
	m := &last.Memory
	s.Promotion.publishedTo = recordAddr{m.Record, m.Addr}
	if of := m.baseRecord(); of == "" || of == cfg.Record {
		here := m.Record == "" || m.Record == cfg.Record && (m.Addr == cfg.Addr || cfg.Addr == "")
		s.Promotion.Published, s.Promotion.Epoch, s.Promotion.Contested = here && (last.Seen(DNSAccepted) || m.Record != ""),
			m.Epoch, m.Contested
		// Which may be a story of another record.
		s.Promotion.Contested = s.Promotion.Contested || !m.Kept && last.Outcome == OutcomeContested
		if m.Record == "" {
			s.Promotion.Epoch = last.Epoch
		}
		s.Promotion.races, s.Promotion.racesExhausted, s.Promotion.RaceUntil = last.Races, last.RacesExhausted, last.RaceUntil
		s.Repair.writtenAt, s.Repair.attemptEpoch, s.Repair.GivenUp = m.Repaired, m.RepairEpoch, m.RepairGivenUp
	} else {
		s.Episode.forgetBase()
		s.Promotion.Contested = s.Promotion.disputed == recordClaim{s.Promotion.Claim, cfg.Record}
	}
	s.Write.resolversStaleUntil, s.Write.apiStaleUntil = m.ResolversStaleUntil, m.APIStaleUntil
	if last.Open() && last.Lost.Name != "" && (last.Lost.Fenced || !m.Kept) && s.lostPeer(last.Lost.Name) == nil {
		// The memory knows who is still lost. The story tells of a peer also when it is back.
		s.rememberLost(last.Lost)
	}
	return s
}

// Retry is the state of a backoff.
type Retry struct {
	N      int // failures in a row
	At     Time
	Reason string // of the last failure
}
