package fsm

import "time"

// WriteState is the write of the record: the one in flight, its retries, and what follows an accepted one.
type WriteState struct {
	InFlight Write // zero Claim when there is none
	Retry    Retry // of the write
	endedAt  Time  // when the last one ended that may have changed the record
	// A write of this promotion may have been made: where nobody owns the record, a reading of our address tells.
	outcomeUnknown      bool
	canceled            bool   // the write in flight was given up
	createdRecord       bool   // the last change made the record, and has not reached all name servers yet
	resolversStaleUntil Time   // until then the resolvers may not all have heard of our last change
	apiStaleUntil       Time   // until then the API may answer what was before it
	ChangeID            string // the accepted change that is asked about, "" when there is none
	polling             string // the change that the poll in flight asks about
	Polls               int    // how often it was asked about
}

// MaxPolls is how many times one accepted change is asked about.
const MaxPolls = 10

// pollAfter is the wait before each poll: most private zones are in sync within seconds, Route 53 promises about 60.
var pollAfter = [MaxPolls]time.Duration{
	time.Second, time.Second, 2 * time.Second, 3 * time.Second, 4 * time.Second, 6 * time.Second, 8 * time.Second,
	12 * time.Second, 18 * time.Second, 30 * time.Second,
}

// needsWrite reports whether this node's promotion is not yet in the zone, or has to be written there again.
func (s *State) needsWrite() bool {
	return s.Promotion.Claim != "" && (!s.Promotion.Published || s.Repair.Pending) && !s.Promotion.Contested
}

// foreignBase reports whether a write would be based on another node's claim.
func (s *State) foreignBase() bool {
	return s.Config.Ownership && s.Zone.Owner != "" && s.Zone.Owner != s.Config.Node
}

// decide starts the write, or gives the one in flight up.
func (s *State) decide(now Time, out []Action) []Action {
	if s.tasks[taskWrite].inFlight {
		// What is merely unknown does not cancel: the guard before the first byte sees to that.
		sure := s.Safety(now) &^ (1<<HoldCrmUnknown | 1<<HoldDrbdUnknown | 1<<HoldPostgres)
		if (sure != 0 || s.Write.InFlight.Claim != s.Promotion.Claim) && !s.Write.canceled {
			s.Write.canceled = true
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
	if s.foreignBase() && s.Cluster.At <= s.Record.readAt {
		// The claim may be that of a node that was promoted after the look began. Only a look that is newer than the claim
		// tells whose turn it is.
		s.tasks[taskPollCluster].trigger(now)
		return out
	}
	if s.Repair.Pending && now-s.Record.readAt > maxRepairBaseAge {
		s.advance(taskReadRecord, max(now, s.Record.Retry.At))
		return out
	}
	if s.Config.Ownership && s.Zone.Owner != "" && s.Zone.Raw == "" {
		s.Zone.OK = false // schedule reads it again, at the pace of the read's own backoff
		return out
	}
	// Where somebody has deleted a claim, its epoch is still behind us: what is on the way from before must not be newer,
	// and no late reading of it may look so.
	next := max(s.Zone.Epoch, s.Promotion.Epoch, s.Record.newestEpoch) + 1
	s.Write.InFlight = Write{Decided: now, Base: s.Zone, NextEpoch: next, Claim: s.Promotion.Claim, Addr: s.Config.Addr}
	if s.Repair.Pending {
		s.Repair.writtenAt, s.Repair.attemptEpoch = now, s.Write.InFlight.NextEpoch
	}
	if !s.Episode.Attempted {
		s.Episode.Attempted, s.Episode.BaseEpoch, s.Episode.BaseClaim = true, s.Zone.Epoch, s.Zone.Claim
	}
	s.tasks[taskWrite].inFlight = true
	return append(out, s.Write.InFlight)
}

func (s *State) wrote(now Time, e Wrote) {
	w := s.Write.InFlight
	s.Write.InFlight, s.Write.canceled = Write{}, false
	if e.Reason == "" || e.OutcomeUnknown || e.Conflict {
		s.Write.endedAt = now
	}
	s.tasks[taskWrite].inFlight = false
	if s.Episode.Open() && s.Episode.Promotion == w.Claim && e.Sent {
		s.Episode.Writes++
	}
	if e.Reason == "" {
		s.Write.createdRecord = w.Base.Addr == ""
		s.expectStaleAnswers(now, w.Base.TTL)
		queued := s.Write.Retry.Reason == throttled
		s.Zone = Zone{
			At: now, OK: true, Addr: w.Addr, TTL: s.Config.TTL, Epoch: w.NextEpoch, Owner: s.Config.Node, Claim: w.Claim,
			// The exact text is not known until it is read back; until then it is no base for another write.
		}
		if w.Claim == s.Promotion.Claim {
			s.recordAcceptance(now, w.NextEpoch)
			s.Write.Polls, s.Write.ChangeID = 0, e.ChangeID
			s.tasks[taskPollChange].due = now + pollAfter[0]
			if queued && !s.Write.createdRecord {
				s.Write.ChangeID = "" // others still wait for what polls would use up; the resolver tells enough
			}
		}
		return
	}
	s.Write.outcomeUnknown = s.Write.outcomeUnknown || e.OutcomeUnknown && w.Claim == s.Promotion.Claim
	if e.OutcomeUnknown || e.Conflict {
		// Only the record tells what is. After a refusal it is still what it was.
		s.Zone.OK = false
		s.tasks[taskReadRecord].trigger(now)
	}
	switch {
	case e.Conflict && s.Write.Retry.N == 0:
		s.Write.Retry = Retry{N: 1, At: now, Reason: e.Reason}
	case !e.Sent && e.Reason == "guard":
		s.Write.Retry = Retry{N: s.Write.Retry.N, At: now + guardRetry, Reason: e.Reason}
		s.tasks[taskPollCluster].trigger(now)
	default:
		s.Write.Retry = s.backoff(now, s.Write.Retry, e.Reason)
	}
}

// recordAcceptance records that the claim of the promotion is in the zone.
func (s *State) recordAcceptance(now Time, epoch uint64) {
	s.Promotion.Published, s.Promotion.Epoch, s.Promotion.publishedTo = true, epoch,
		recordAddr{s.Config.Record, s.Config.Addr}
	s.Repair.Pending, s.Repair.ttl, s.Write.outcomeUnknown, s.Write.Retry = false, false, false, Retry{}
	if s.markPhase(now, DNSAccepted) {
		s.Episode.Epoch = epoch
	}
	s.tasks[taskResolve].trigger(now)
}

// expectStaleAnswers says that the record may have changed just now: resolvers may answer what they had before for its
// time to live, which was before. The API does not cache.
func (s *State) expectStaleAnswers(now Time, before time.Duration) {
	s.Write.apiStaleUntil = now + inSyncAfter
	s.Write.resolversStaleUntil = s.Write.apiStaleUntil + max(before, s.Config.TTL)
}

func (s *State) changePolled(now Time, e ChangePolled) {
	s.tasks[taskPollChange].inFlight = false
	if s.Write.polling != s.Write.ChangeID || s.Write.ChangeID == "" {
		return // the answer is about an earlier change
	}
	s.Write.Polls++
	switch {
	case e.InSync:
		s.Write.createdRecord, s.Record.mayBeNewUntil = false, 0
		s.markPhase(now, DNSInSync)
		s.Write.ChangeID = ""
		s.tasks[taskReadRecord].trigger(now)
		s.tasks[taskResolve].trigger(now)
	case s.Write.Polls >= MaxPolls, e.Reason == throttled && !s.Write.createdRecord:
		s.Write.ChangeID, s.Write.createdRecord = "", false
		s.tasks[taskReadRecord].trigger(now)
	default:
		s.tasks[taskPollChange].due = now + pollAfter[s.Write.Polls]
	}
}
