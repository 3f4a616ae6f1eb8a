package fsm

import "time"

// name keeps the identity of this node's promotion. A promote operation that the history shows for the first time is a new
// promotion; a history that was erased (cleanup, refresh) is not, and neither is a look that misses the role for a
// moment while the kernel still is Primary and nobody else is promoted.
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
	case !c.PromotedHere && s.Promotion != "" && (d.Live && !d.Primary || d.Down || c.PromotedPeer != ""):
		s.end(OutcomeDemoted)
		s.belong("")
	}
}

// belong starts over with another promotion, or with none. Of what was known of the last one's way into the zone, only the failures of the
// API are of use to it.
func (s *State) belong(claim string) {
	s.Promotion = claim
	if claim != "" && claim != s.disputed.claim {
		s.disputed = claimed{}
	}
	s.Contested = claim != "" && claim != s.Config.Unnamed && s.disputed == claimed{claim, s.Config.Record}
	s.Published, s.Epoch = false, 0
	s.Retry.At = 0 // a promotion in place asks at once, and then as seldom as the last one did: the API that failed is the same
	if claim == "" {
		s.Retry = Retry{}
	}
	s.published, s.Repairing, s.attempt, s.repaired, s.Fights = place{}, false, 0, 0, false
	s.races, s.raceUsed, s.RaceUntil = 0, false, 0
	s.ChangeID, s.created, s.unsure = "", false, false
}

func (s *State) promote(now Time, claim string) {
	if s.Episode.Promotion != "" && s.Episode.Promotion != claim && s.Episode.Open() {
		s.end(OutcomeDemoted)
		s.replaced = s.Episode
	}
	s.begin(now, "promotion")
	s.belong(claim)
	s.lastPeer = ""
	e := &s.Episode
	e.Promotion = claim
	switch {
	case e.Seen(PeerLost) || e.Seen(Fenced):
		e.Cause = CauseNodeLost
	case s.Cluster.OperatorMove:
		e.Cause = CauseOperator
	case s.Cluster.PeerFailed || s.peerDisk != 0 && now-s.peerDisk < diskLostLately:
		e.Cause = CauseResourceFailed
	case e.Peer == "":
		e.Cause = CauseStartUp
	case s.peersWell():
		e.Cause = CauseOperator // the peer was promoted, is well and has not failed: somebody moved it
	}
	s.peerDisk = 0
	s.tasks[taskProbe].nudge(now)
}

// diskLostLately is how long a peer's lost disk may be back, or out of sight, and still be why it lost the promotion: as long as a failed operation.
const diskLostLately = 10 * time.Minute

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
