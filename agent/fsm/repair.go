package fsm

import "time"

// RepairState is the repair of a record that somebody else has edited.
type RepairState struct {
	Pending      bool   // the record is to be written again
	attemptEpoch uint64 // the epoch of the last repair that may have left
	writtenAt    Time   // when the record was last repaired; 0: never for this promotion
	ttl          bool   // an operator has asked for the configured TTL too
	GivenUp      bool   // it was edited again soon after: nothing more is written for this promotion
	suspectedAt  Time   // when the record was last read because of what a client or the resolver saw
	suspicions   int    // such reads since the resolver last answered this node's address
}

const (
	// repeatedEditWindow is how long after a repair another edit of the record means that somebody keeps writing it.
	repeatedEditWindow = 10 * time.Minute
	// suspectInterval is the least time between two reads that what a client or the resolver saw has caused. It doubles
	// while they go on to see it.
	suspectInterval = time.Minute
	// maxRepairBaseAge is how old the reading may be that a repair is based on. The API guards the claim that was read,
	// and not what stands beside it: that may have become what is never written over.
	maxRepairBaseAge = time.Minute
	maxSuspicions    = 3
	// inSyncAfter is how long Route 53 may take to bring a change to all its name servers: it promises about 60 s.
	inSyncAfter = time.Minute
)

// handleEdit judges a record that holds this promotion's claim and another address: somebody else has edited what is
// ours. It is written again, once: who edits it again soon after would only be fought with.
func (s *State) handleEdit(now Time) {
	z := &s.Zone
	switch {
	// An older epoch is a read that lags behind our last write.
	case !s.Config.Repair || s.Repair.GivenUp || z.Epoch < s.Promotion.Epoch:
	case s.Repair.Pending && (s.Repair.attemptEpoch == 0 || z.Epoch < s.Repair.attemptEpoch):
	case s.Repair.Pending || s.Repair.writtenAt != 0 && now-s.Repair.writtenAt < repeatedEditWindow &&
		z.Epoch >= s.Repair.attemptEpoch:
		s.Repair.Pending, s.Repair.GivenUp = false, true
	case z.Epoch < s.Repair.attemptEpoch: // which never was made, and still may not have left when the process ends
		s.Repair.Pending = true
	default:
		s.Repair.Pending, s.Repair.attemptEpoch = true, 0
	}
}

// suspectRecord reads the record soon, because the resolver or a client sees something else than the zone held. It
// waits until everybody must have heard of the last change, and gives way when the account is at its limit. A record
// that is known to be wrong is read often anyway.
func (s *State) suspectRecord(now Time) {
	if s.Write.resolversStaleUntil == 0 { // what was written before the start is not known
		s.expectStaleAnswers(now, 0)
	}
	idle := s.Write.InFlight.Claim == "" && s.Write.ChangeID == "" && s.Record.throttleLevel == 0 && s.Record.Retry.N == 0
	wait := suspectInterval << min(s.Repair.suspicions, maxSuspicions)
	if s.recordTroubled() || !idle || now < max(s.Write.resolversStaleUntil, s.Record.resolversStaleUntil) ||
		s.Repair.suspectedAt != 0 && now-s.Repair.suspectedAt < wait {
		return
	}
	s.Repair.suspectedAt = now
	s.Repair.suspicions++
	s.advance(taskReadRecord, now)
}

// recordTroubled reports a record that is known not to lead clients to the promoted node, so that somebody is about to
// change it.
func (s *State) recordTroubled() bool {
	z, peer := &s.Zone, s.Cluster.PromotedPeer
	switch {
	case z.Refused, s.Drift():
		return true
	case !z.OK, !s.Cluster.OK, s.Cluster.PromotedHere == (peer != ""): // not known, or nobody or more than one is promoted
		return false
	}
	return z.Addr == "" || peer != "" && s.Config.Ownership && z.Owner != peer
}

// Drift reports whether the published record does not say what this node wrote.
func (s *State) Drift() bool {
	z := &s.Zone
	if z.OK && z.Owner == s.Config.Node && z.Addr == s.Config.Addr && s.Cluster.Promotion == "" &&
		z.Epoch > s.Promotion.Epoch {
		// A later claim of this node, which a journal that was cut off and a history that was erased have forgotten.
		return false
	}
	return s.owns() && (z.Refused || z.OK &&
		(z.Addr != s.Config.Addr || s.Config.Ownership && z.Claim != s.Promotion.Claim))
}

// TTLDrift reports whether the published record has another TTL than the configured one, and is right otherwise.
func (s *State) TTLDrift() bool {
	return s.owns() && !s.Drift() && s.Zone.OK && s.otherTTL()
}

// otherTTL reports a record with another TTL than the configured one.
func (s *State) otherTTL() bool {
	return s.Zone.TTL != s.Config.TTL && s.Config.TTL != 0 && s.Zone.TTL != 0
}
