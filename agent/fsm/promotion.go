package fsm

import "time"

// Promotion is the promotion of this node, and what became of its claim.
type Promotion struct {
	Claim       string     // names the promotion, "" when this node is not promoted
	Published   bool       // the claim was accepted
	publishedTo recordAddr // where the claim was accepted
	Epoch       uint64     // ownership epoch of the claim, as far as it is known
	Contested   bool       // another node claimed the record later
	// What another node claimed later: it stays so when the promotion, or the record, is another one for a while.
	disputed       recordClaim
	RaceUntil      Time // until then a lost race is waited out
	races          int  // lost, and waited out
	racesExhausted bool // no wait is left: the next foreign claim is final
}

// recordAddr is a record and what stands in it: where a claim was accepted.
type recordAddr struct{ record, addr string }

// recordClaim is the claim of a promotion in a record.
type recordClaim struct{ claim, record string }

// identifyPromotion keeps the identity of this node's promotion. A promote operation that the history shows for the
// first time is a new promotion; a history that was erased (cleanup, refresh) is not, and neither is a look that misses
// the role for a moment while the kernel still is Primary and nobody else is promoted.
func (s *State) identifyPromotion(now Time) {
	c, d := &s.Cluster, &s.Drbd
	if !c.OK {
		return
	}
	switch {
	case c.PromotedHere && c.Promotion != "" && c.Promotion != s.Promotion.Claim:
		s.promote(now, c.Promotion)
	case c.PromotedHere && s.Promotion.Claim == "" && s.Zone.OK && s.Config.Ownership && s.Zone.Owner == s.Config.Node &&
		s.Zone.Claim != "":
		s.promote(now, s.Zone.Claim)
	case c.PromotedHere && s.Promotion.Claim == "" && s.Zone.OK && s.Zone.Owner == "":
		s.promote(now, s.Config.Unnamed)
	case !c.PromotedHere && s.Promotion.Claim != "" && (d.Live && !d.Primary || d.Down || c.PromotedPeer != ""):
		s.endEpisode(OutcomeDemoted)
		s.resetPromotion("")
	}
}

// resetPromotion starts over with another promotion, or with none. Of what was known of the last one's way into the
// zone, only the failures of the API are of use to it.
func (s *State) resetPromotion(claim string) {
	s.Promotion.Claim = claim
	if claim != "" && claim != s.Promotion.disputed.claim {
		s.Promotion.disputed = recordClaim{}
	}
	s.Promotion.Contested = claim != "" && claim != s.Config.Unnamed &&
		s.Promotion.disputed == recordClaim{claim, s.Config.Record}
	s.Promotion.Published, s.Promotion.Epoch = false, 0
	// A promotion in place asks at once, and then as seldom as the last one did: the API that failed is the same.
	s.Write.Retry.At = 0
	if claim == "" {
		s.Write.Retry = Retry{}
	}
	s.Promotion.publishedTo, s.Repair.Pending, s.Repair.attemptEpoch, s.Repair.writtenAt, s.Repair.GivenUp = recordAddr{},
		false, 0, 0, false
	s.Promotion.races, s.Promotion.racesExhausted, s.Promotion.RaceUntil = 0, false, 0
	s.Write.ChangeID, s.Write.createdRecord, s.Write.outcomeUnknown = "", false, false
}

func (s *State) promote(now Time, claim string) {
	if s.Episode.Promotion != "" && s.Episode.Promotion != claim && s.Episode.Open() {
		s.endEpisode(OutcomeDemoted)
		s.saving.replaced = s.Episode
	}
	s.beginEpisode(now, "promotion")
	s.resetPromotion(claim)
	s.Peers.lastPromoted = ""
	e := &s.Episode
	e.Promotion = claim
	switch {
	case e.Seen(PeerLost) || e.Seen(Fenced):
		e.Cause = CauseNodeLost
	case s.Cluster.OperatorMove:
		e.Cause = CauseOperator
	case s.Cluster.PeerFailed || s.Peers.diskLostAt != 0 && now-s.Peers.diskLostAt < diskLossWindow:
		e.Cause = CauseResourceFailed
	case e.Peer == "":
		e.Cause = CauseStartUp
	case s.peersHealthy():
		e.Cause = CauseOperator // the peer was promoted, is well and has not failed: somebody moved it
	}
	s.Peers.diskLostAt = 0
	s.tasks[taskProbePostgres].trigger(now)
}

// diskLossWindow is how long a peer's lost disk may be back, or out of sight, and still be why it lost the promotion:
// as long as a failed operation.
const diskLossWindow = 10 * time.Minute

// owns reports whether this node has published its promotion and is still shown as promoted: only then is the record
// its own to judge.
func (s *State) owns() bool {
	if s.Drbd.Down || s.Drbd.Live && !s.Drbd.Primary {
		return false // whatever Pacemaker said last: it may be gone as well
	}
	if !s.Cluster.OK && !s.Drbd.Live {
		return false // neither says anything
	}
	return s.Promotion.Published && !s.Promotion.Contested && s.Config.Addr != "" && s.Poll.everSucceeded &&
		s.Cluster.PromotedHere && (s.Cluster.Promotion == s.Promotion.Claim || s.Cluster.Promotion == "")
}

// Settled reports whether nothing more is to be done for this node's promotion: published and not edited since, or
// contested.
func (s *State) Settled() bool { return s.Promotion.Claim != "" && !s.needsWrite() }
