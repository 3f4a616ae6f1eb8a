package fsm

import "time"

// place is a record and what stands in it: where a claim was accepted.
type place struct{ record, addr string }

// claimed is the claim of a promotion in a record.
type claimed struct{ claim, record string }

const (
	// repairAgain is how long after a repair another edit of the record means that somebody keeps writing it.
	repairAgain = 10 * time.Minute
	// suspectAgain is the least time between two reads that what a client or the resolver saw has caused. It doubles while they go on to see it.
	suspectAgain = time.Minute
	// repairBase is how old the reading may be that a repair is based on. The API guards the claim that was read, and not
	// what stands beside it: that may have become what is never written over.
	repairBase    = time.Minute
	maxSuspicions = 3
	// inSyncAfter is how long Route 53 may take to bring a change to all its name servers: it promises about 60 s.
	inSyncAfter = time.Minute
)

// edited judges a record that holds this promotion's claim and another address: somebody else has edited what is ours. It is written again,
// once: who edits it again soon after would only be fought with.
func (s *State) edited(now Time) {
	z := &s.Zone
	switch {
	case !s.Config.Repair || s.Fights || z.Epoch < s.Epoch: // an older epoch is a read that lags behind our last write
	case s.Repairing && (s.attempt == 0 || z.Epoch < s.attempt):
	case s.Repairing || s.repaired != 0 && now-s.repaired < repairAgain && z.Epoch >= s.attempt:
		s.Repairing, s.Fights = false, true
	case z.Epoch < s.attempt: // which never was made, and still may not have left when the process ends
		s.Repairing = true
	default:
		s.Repairing, s.attempt = true, 0
	}
}

// suspect reads the record soon, because the resolver or a client does not find this node under the name. It waits until everybody must have
// heard of the last change, and gives way when the account is at its limit.
func (s *State) suspect(now Time) {
	if s.settled == 0 { // what was written before the start is not known
		s.unsettled(now, 0)
	}
	idle := s.Writing.Claim == "" && s.ChangeID == "" && s.crowded == 0 && s.ReadRetry.N == 0
	wait := suspectAgain << min(s.suspicions, maxSuspicions)
	if !s.owns() || s.Drift() || !idle || now < s.settled || s.suspected != 0 && now-s.suspected < wait {
		return
	}
	s.suspected = now
	s.suspicions++
	s.hurry(taskRead, now)
}

// unsettled says that the record may have changed just now: resolvers may answer what they had before for its time to live, which was before.
// The API does not cache.
func (s *State) unsettled(now Time, before time.Duration) {
	s.lagging = now + inSyncAfter
	s.settled = s.lagging + max(before, s.Config.TTL)
}
