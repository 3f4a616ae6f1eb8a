package fsm

import "time"

// Zone is what the authoritative record holds.
type Zone struct {
	At       Time
	OK       bool          // read, and of a form that this agent may write
	Refused  bool          // of a form that must not be overwritten (alias, weighted, several values)
	Named    bool          // refused, and an address record of whatever form stands there: the name leads somewhere
	Addr     string        // "" when there is no address record
	TTL      time.Duration // of the address record, 0 when not known
	Epoch    uint64        // ownership record; zero fields when there is none
	Owner    string
	Claim    string
	Raw      string
	OwnerTTL time.Duration
}

// RecordState is how the record is read.
type RecordState struct {
	Retry         Retry        // of the read
	readAt        Time         // when the read ended that Zone is from
	newestEpoch   uint64       // the newest that the record has shown
	throttleLevel uint8        // how often the interval of checks has been doubled
	awaited       awaitedClaim // of the promoted peer
	mayBeNewUntil Time         // until then the name servers may not have heard of a record that another node has made
	recheckedAt   Time         // when it was last read because somebody asked
	// Until then the resolvers may not all have heard of the change that the last reading showed.
	resolversStaleUntil Time
}

// read takes in the authoritative record.
func (s *State) read(now Time, e Read) {
	known := s.Zone.OK || s.Zone.Refused
	if e.Reason == throttled && known {
		// Only a check, and it stands in line with the writes of other clusters: the account's limit is theirs first.
		s.Record.throttleLevel = min(s.Record.throttleLevel+1, maxThrottleLevel)
	} else if e.Reason == "" && s.Record.throttleLevel > 0 {
		s.Record.throttleLevel--
	}
	check := s.Config.DriftEvery << s.Record.throttleLevel
	s.tasks[taskReadRecord].finished(now, check/2+s.jitter(check))
	s.readForClaim(now, e.Zone.At)
	if e.Reason != "" && !e.Zone.Refused {
		s.Record.Retry = s.backoff(now, s.Record.Retry, e.Reason)
		if e.Reason == throttled && s.Zone.OK { // a refused record is waited for: somebody may be about to clear it away
			s.tasks[taskReadRecord].due = max(s.tasks[taskReadRecord].due, s.Record.Retry.At)
			return
		}
		s.tasks[taskReadRecord].due = s.Record.Retry.At
		if known { // only a check: no hurry for an API that is in trouble
			s.tasks[taskReadRecord].due += backoffMax
		}
		return
	}
	s.Record.Retry = Retry{}
	if e.Zone.At < s.Write.endedAt {
		// Begun before a write ended that may have changed the record: it may show what was before.
		s.Record.Retry.At = now + guardRetry
		s.tasks[taskReadRecord].due = s.Record.Retry.At
		return
	}
	if s.predatesWrite(e.Zone) {
		s.Record.Retry.At = now + staleReadRetry
		s.tasks[taskReadRecord].due = s.Record.Retry.At
		return
	}
	if s.Zone.Addr == "" && !s.Zone.Named && e.Zone.Addr != "" && !s.Write.createdRecord && (s.Zone.At != 0 ||
		e.Zone.Epoch == 1) {
		s.Record.mayBeNewUntil = now + inSyncAfter
	}
	if s.Zone.At != 0 && e.Zone.Addr != s.Zone.Addr { // by whomever: the resolvers hear of it later
		s.Record.resolversStaleUntil = now + inSyncAfter + max(s.Zone.TTL, e.Zone.TTL)
	}
	s.Zone, s.Record.readAt = e.Zone, now
	if s.Write.ChangeID == "" {
		s.Write.createdRecord = false // nobody asks about the change any more: its promotion ended while it was written
	}
	if !s.NameExists() {
		s.Resolved = Resolved{} // nobody asks any more: what was answered before is no answer of now
	}
	if s.recordTroubled() {
		s.tasks[taskReadRecord].due = now + (troubledCheck+s.jitter(troubledCheck/2))<<s.Record.throttleLevel
	}
}

// predatesWrite reports whether a reading is from before this node's own write, which the API has accepted since: soon
// after it, an older epoch is no change by somebody else. Where a claim was deleted, epochs begin again, and what was
// before may bear the same. What was refused before has no epoch, and neither has a record without an owner.
func (s *State) predatesWrite(z Zone) bool {
	if !s.Promotion.Published || z.At >= s.Write.apiStaleUntil {
		return false
	}
	if !s.Config.Ownership {
		return z.Refused || z.OK && z.Addr != s.Config.Addr
	}
	older := z.Epoch < s.Promotion.Epoch || z.Epoch == s.Promotion.Epoch && z.Claim != s.Promotion.Claim
	return z.Refused || z.OK && older
}

// reconcileOwner compares the record with this node's promotion: whose it is.
func (s *State) reconcileOwner(now Time) {
	z := s.Zone
	s.Record.newestEpoch = max(s.Record.newestEpoch, z.Epoch)
	if s.Promotion.Claim == "" || !s.Cluster.PromotedHere || !z.OK {
		return
	}
	switch {
	case !s.Config.Ownership:
		if !s.Promotion.Published && s.Write.outcomeUnknown && z.Addr == s.Config.Addr {
			s.expectStaleAnswers(now, 0)
			s.recordAcceptance(now, 0)
		}
	case z.Claim == s.Promotion.Claim && z.Claim != "":
		// Also the end of a write whose reply was lost, or of one by the hook while the agent was down. A claim with another
		// address is ours to write again.
		// an operator has published it once more, whatever became of it since
		if z.Epoch > max(s.Promotion.Epoch, s.Repair.attemptEpoch) {
			s.Repair.Pending, s.Repair.attemptEpoch, s.Repair.writtenAt, s.Repair.GivenUp = false, 0, 0, false
		}
		switch same := z.Addr == s.Config.Addr || s.Config.Addr == ""; {
		case same && s.Repair.ttl && !s.Promotion.Published && s.otherTTL():
		case same:
			if !s.Promotion.Published {
				s.expectStaleAnswers(now, 0)
				s.recordAcceptance(now, z.Epoch)
			}
			s.Repair.Pending = false
		case s.Promotion.Published:
			s.handleEdit(now)
		}
		s.Promotion.Epoch = max(s.Promotion.Epoch, z.Epoch)
	case z.Owner == s.Config.Node || z.Owner == "":
		s.Repair.Pending = false // it is not our claim any more that an edit left alone
	case s.claimAccepted() && z.Epoch > s.Promotion.Epoch:
		s.Promotion.Contested = true
	case s.claimAccepted() || !s.Episode.Attempted || z.Epoch <= s.Episode.BaseEpoch:
		s.Repair.Pending = false // the same
	case z.Claim == s.Episode.BaseClaim && z.Claim != "":
		s.Episode.BaseEpoch = z.Epoch // written again by its node, before this promotion or late: no other promotion
	case s.Promotion.Contested: // for good: no later claim is waited out
	default:
		s.handleLostRace(now)
	}
}

// maxLostRaces is how many foreign claims a promotion waits out while fencing is enabled. One may be older than this
// promotion and never read until now. One more may be on its way when its node is fenced: every request on the way has
// the same base, so that only one is made, and a fenced node forms no other. The third is spare, for a node that is
// fenced twice. A fencing that lies ends here.
const maxLostRaces = 3

// claimAccepted reports whether the claim of this promotion was accepted in this record, with whatever address.
func (s *State) claimAccepted() bool {
	return s.Promotion.Published || s.Promotion.Epoch > 0 && s.Promotion.publishedTo.record == s.Config.Record
}

// handleLostRace handles a foreign claim that is newer than what our write was based on, when none of ours was accepted
// yet. It may be from before this promotion: read too late, or a write of the old node that was on its way for long. Or
// this node is the old one, and has not noticed. So it waits until Corosync must have noticed, looks again, and goes on
// if the gate then finds this node alone promoted, with no peer unclean and none lost unfenced. Without fencing nothing
// ends the other node's writes: a second such claim is the other's, for good.
func (s *State) handleLostRace(now Time) {
	if s.Promotion.racesExhausted || s.Promotion.races > 0 && !s.Cluster.FencingEnabled {
		s.Promotion.Contested = true
		return
	}
	s.Promotion.races++
	s.Promotion.racesExhausted = !s.Cluster.FencingEnabled || s.Promotion.races == maxLostRaces
	s.Episode.Races, s.Episode.RacesExhausted = s.Promotion.races, s.Promotion.racesExhausted
	s.Promotion.RaceUntil = now + s.postStallDelay()
	s.Episode.RaceUntil = s.Promotion.RaceUntil
	s.Cluster.OK = false
	s.Episode.BaseEpoch, s.Episode.BaseClaim = s.Zone.Epoch, s.Zone.Claim
	s.tasks[taskPollCluster].trigger(now)
}

// awaitedClaim is the claim that a promoted peer makes: this node's next write is to be based on it.
type awaitedClaim struct {
	peer, promotion string // whose
	oldClaim        string // what the record held when the promotion was first seen
	due             Time   // when the record is to be read for it
	reads           int    // that were made for it
}

// awaitClaim plans the reads for the claim of the promoted peer: soon after each of its promotions, and again while the
// record does not show it. What else reads the record does not count: that may have been before the claim.
func (s *State) awaitClaim(now Time) {
	if !s.Config.Ownership {
		return
	}
	peer, promotion := s.Cluster.PromotedPeer, ""
	for _, p := range s.Cluster.Peers[:s.Cluster.PeerCount] {
		if p.Name == peer {
			promotion = p.Promotion
		}
	}
	a := &s.Record.awaited
	if a.peer != peer || promotion != a.promotion && promotion != "" {
		*a = awaitedClaim{peer: peer, promotion: promotion,
			due: now + (peerClaimDelay+s.jitter(peerClaimDelay))<<s.Record.throttleLevel}
		if s.Poll.everSucceeded { // else it may have been promoted, and have made its claim, long ago
			a.oldClaim = s.Zone.Claim
		}
	}
	if s.claimAwaited() {
		s.advance(taskReadRecord, max(a.due, s.Record.Retry.At))
	}
}

// claimAwaited reports whether the record has yet to show the claim of the promoted peer: it is read once for each
// promotion that is seen. A promotion in place whose claim does not come is given up: the owner's agent may be down,
// and the record is right.
func (s *State) claimAwaited() bool {
	a := &s.Record.awaited
	return a.reads == 0 || s.Zone.Owner != a.peer || s.Zone.Claim == a.oldClaim && a.reads < maxClaimReads
}

// readForClaim counts a read that began when one was due for a peer's claim, and sets the next.
func (s *State) readForClaim(now, began Time) {
	a := &s.Record.awaited
	if a.peer == "" || began < a.due {
		return
	}
	a.reads++
	a.due = now + min(peerClaimMaxInterval, peerClaimDelay<<min(a.reads, 4))<<s.Record.throttleLevel
}
