package fsm

// read takes in the authoritative record.
func (s *State) read(now Time, e Read) {
	known := s.Zone.OK || s.Zone.Refused
	if e.Reason == throttled && known {
		// Only a check, and it stands in line with the writes of other clusters: the account's limit is theirs first.
		s.crowded = min(s.crowded+1, maxCrowded)
	} else if e.Reason == "" && s.crowded > 0 {
		s.crowded--
	}
	check := s.Config.DriftEvery << s.crowded
	s.tasks[taskRead].landed(now, check/2+s.jitter(check))
	s.readForClaim(now, e.Zone.At)
	if e.Reason != "" && !e.Zone.Refused {
		s.ReadRetry = s.backoff(now, s.ReadRetry, e.Reason)
		if e.Reason == throttled && s.Zone.OK { // a refused record is waited for: somebody may be about to clear it away
			s.tasks[taskRead].Due = max(s.tasks[taskRead].Due, s.ReadRetry.At)
			return
		}
		s.tasks[taskRead].Due = s.ReadRetry.At
		if known { // only a check: no hurry for an API that is in trouble
			s.tasks[taskRead].Due += backoffMax
		}
		return
	}
	s.ReadRetry = Retry{}
	if e.Zone.At < s.wroteAt {
		// Begun before a write ended that may have changed the record: it may show what was before.
		s.ReadRetry.At = now + guardRetry
		s.tasks[taskRead].Due = s.ReadRetry.At
		return
	}
	if s.behind(e.Zone) {
		s.ReadRetry.At = now + behindAgain
		s.tasks[taskRead].Due = s.ReadRetry.At
		return
	}
	s.Zone, s.readAt = e.Zone, now
	if s.ChangeID == "" {
		s.created = false // nobody asks about the change any more: its promotion ended while it was written
	}
	if s.Zone.Refused {
		s.tasks[taskRead].Due = now + backoffMax
	}
}

// behind reports whether a reading is from before this node's own write, which the API has accepted since: soon after it, an older epoch is no
// change by somebody else. Where a claim was deleted, epochs begin again, and what was before may bear the same. What was refused before
// has no epoch, and neither has a record without an owner.
func (s *State) behind(z Zone) bool {
	if !s.Published || z.At >= s.lagging {
		return false
	}
	if !s.Config.Ownership {
		return z.Refused || z.OK && z.Addr != s.Config.Addr
	}
	older := z.Epoch < s.Epoch || z.Epoch == s.Epoch && z.Claim != s.Promotion
	return z.Refused || z.OK && older
}

// settle compares the record with this node's promotion: whose it is.
func (s *State) settle(now Time) {
	z := s.Zone
	s.newest = max(s.newest, z.Epoch)
	if s.Promotion == "" || !s.Cluster.PromotedHere || !z.OK {
		return
	}
	switch {
	case !s.Config.Ownership:
		if !s.Published && s.unsure && z.Addr == s.Config.Addr {
			s.unsettled(now, 0)
			s.accepted(now, 0)
		}
	case z.Claim == s.Promotion && z.Claim != "":
		// Also the end of a write whose reply was lost, or of one by the hook while the agent was down. A claim with another address
		// is ours to write again.
		if z.Epoch > max(s.Epoch, s.attempt) { // an operator has published it once more, whatever became of it since
			s.Repairing, s.attempt, s.repaired, s.Fights = false, 0, 0, false
		}
		switch same := z.Addr == s.Config.Addr || s.Config.Addr == ""; {
		case same:
			if !s.Published {
				s.unsettled(now, 0)
				s.accepted(now, z.Epoch)
			}
			s.Repairing = false
		case s.Published:
			s.edited(now)
		}
		s.Epoch = max(s.Epoch, z.Epoch)
	case z.Owner == s.Config.Node || z.Owner == "":
		s.Repairing = false // it is not our claim any more that an edit left alone
	case s.accepts() && z.Epoch > s.Epoch:
		s.Contested = true
	case s.accepts() || !s.Episode.Attempted || z.Epoch <= s.Episode.BaseEpoch:
		s.Repairing = false // the same
	case z.Claim == s.Episode.BaseClaim && z.Claim != "":
		s.Episode.BaseEpoch = z.Epoch // written again by its node, before this promotion or late: no other promotion
	default:
		s.raced(now)
	}
}

// maxRaces is how many foreign claims a promotion waits out while fencing is enabled. One may be older than this promotion and never read
// until now. One more may be on its way when its node is fenced: every request on the way has the same base, so that only one is made, and a
// fenced node forms no other. The third is spare, for a node that is fenced twice. A fencing that lies ends here.
const maxRaces = 3

// accepts reports whether the claim of this promotion was accepted in this record, with whatever address.
func (s *State) accepts() bool {
	return s.Published || s.Epoch > 0 && s.published.record == s.Config.Record
}

// raced handles a foreign claim that is newer than what our write was based on, when none of ours was accepted yet. It may be from
// before this promotion: read too late, or a write of the old node that was on its way for long. Or this node is the old one, and has not
// noticed. So it waits until Corosync must have noticed, looks again, and goes on if the gate then finds this node alone promoted, with no
// peer unclean and none lost unfenced. Without fencing nothing ends the other node's writes: a second such claim is the other's, for good.
func (s *State) raced(now Time) {
	if s.raceUsed || s.races > 0 && !s.Cluster.FencingEnabled {
		s.Contested = true
		return
	}
	s.races++
	s.raceUsed = !s.Cluster.FencingEnabled || s.races == maxRaces
	s.Episode.Races, s.Episode.Raced = s.races, s.raceUsed
	s.RaceUntil = now + s.stallHold()
	s.Episode.RaceUntil = s.RaceUntil
	s.Cluster.OK = false
	s.Episode.BaseEpoch, s.Episode.BaseClaim = s.Zone.Epoch, s.Zone.Claim
	s.tasks[taskLook].nudge(now)
}

// accepted records that the claim of the promotion is in the zone.
func (s *State) accepted(now Time, epoch uint64) {
	s.Published, s.Epoch, s.published = true, epoch, place{s.Config.Record, s.Config.Addr}
	s.Repairing, s.unsure, s.Retry = false, false, Retry{}
	if s.mark(now, DNSAccepted) {
		s.Episode.Epoch = epoch
	}
	s.tasks[taskResolve].nudge(now)
}

func (s *State) wrote(now Time, e Wrote) {
	w := s.Writing
	s.Writing, s.canceled = Write{}, false
	if e.Reason == "" || e.Unsure || e.Conflict {
		s.wroteAt = now
	}
	s.tasks[taskWrite].Flying = false
	if s.Episode.Open() && s.Episode.Promotion == w.Claim && e.Sent {
		s.Episode.Writes++
	}
	if e.Reason == "" {
		s.created = w.Base.Addr == ""
		s.unsettled(now, w.Base.TTL)
		queued := s.Retry.Reason == throttled
		s.Zone = Zone{
			At: now, OK: true, Addr: w.Addr, TTL: s.Config.TTL, Epoch: w.NextEpoch, Owner: s.Config.Node, Claim: w.Claim,
			// The exact text is not known until it is read back; until then it is no base for another write.
		}
		if w.Claim == s.Promotion {
			s.accepted(now, w.NextEpoch)
			s.Polls, s.ChangeID = 0, e.ChangeID
			s.tasks[taskPoll].Due = now + pollAfter[0]
			if queued && !s.created {
				s.ChangeID = "" // others still wait for what polls would use up; the resolver tells enough
			}
		}
		return
	}
	s.unsure = s.unsure || e.Unsure && w.Claim == s.Promotion
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
	case s.Polls >= MaxPolls, e.Reason == throttled && !s.created:
		s.ChangeID, s.created = "", false
		s.tasks[taskRead].nudge(now)
	default:
		s.tasks[taskPoll].Due = now + pollAfter[s.Polls]
	}
}

// needsWrite reports whether this node's promotion is not yet in the zone, or has to be written there again.
func (s *State) needsWrite() bool {
	return s.Promotion != "" && (!s.Published || s.Repairing) && !s.Contested
}

// foreignBase reports whether a write would be based on another node's claim.
func (s *State) foreignBase() bool {
	return s.Config.Ownership && s.Zone.Owner != "" && s.Zone.Owner != s.Config.Node
}

// decide starts the write, or gives the one in flight up.
func (s *State) decide(now Time, out []Action) []Action {
	if s.tasks[taskWrite].Flying {
		// What is merely unknown does not cancel: the guard before the first byte sees to that.
		sure := s.Safety(now) &^ (1<<HoldCrmUnknown | 1<<HoldDrbdUnknown | 1<<HoldPostgres)
		if (sure != 0 || s.Writing.Claim != s.Promotion) && !s.canceled {
			s.canceled = true
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
	if s.foreignBase() && s.Cluster.At <= s.readAt {
		// The claim may be that of a node that was promoted after the look began. Only a look that is newer than the claim tells whose turn it is.
		s.tasks[taskLook].nudge(now)
		return out
	}
	if s.Repairing && now-s.readAt > repairBase {
		s.hurry(taskRead, max(now, s.ReadRetry.At))
		return out
	}
	if s.Config.Ownership && s.Zone.Owner != "" && s.Zone.Raw == "" {
		s.Zone.OK = false // schedule reads it again, at the pace of the read's own backoff
		return out
	}
	// Where somebody has deleted a claim, its epoch is still behind us: what is on the way from before must not be newer, and no late
	// reading of it may look so.
	next := max(s.Zone.Epoch, s.Epoch, s.newest) + 1
	s.Writing = Write{Decided: now, Base: s.Zone, NextEpoch: next, Claim: s.Promotion, Addr: s.Config.Addr}
	if s.Repairing {
		s.repaired, s.attempt = now, s.Writing.NextEpoch
	}
	if !s.Episode.Attempted {
		s.Episode.Attempted, s.Episode.BaseEpoch, s.Episode.BaseClaim = true, s.Zone.Epoch, s.Zone.Claim
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
