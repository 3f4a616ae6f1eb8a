package fsm

import "time"

// Seeds that make every jitter the shortest or the longest that it can be. A search of all states tries both ends.
const (
	JitterShortest uint64 = 1<<64 - 4
	JitterLongest  uint64 = 1<<64 - 2

	drawn uint64 = 1 // is set in both by a jitter
)

// Seeded returns the state with another seed of its jitter.
func (s State) Seeded(seed uint64) State {
	s.rng = seed
	return s
}

// Drew reports whether there was a jitter since Seeded with JitterShortest or JitterLongest.
func (s *State) Drew() bool { return s.rng&drawn != 0 }

// never is when a task is due that is not going to be: see Canonical.
const (
	never     Time = 1<<63 - 1
	farFuture      = 50 * 365 * 24 * time.Hour
)

// maxEventAge is how old an observation in a later event may be.
const maxEventAge = 10 * time.Second

// longAgo is an age beyond every bound in this package.
const longAgo = idleAfter + time.Minute

// Shifted returns the state with all its times moved by d. What it does at now+d is what the state does at now.
func (s State) Shifted(d time.Duration) State {
	s.times(func(t *Time) {
		if *t != 0 && *t != never {
			*t += d
		}
	})
	return s
}

// times calls f for each field that is a reading of the clock. TestEveryTimeIsListed fails for a field that is missing.
func (s *State) times(f func(*Time)) {
	for _, t := range [...]*Time{
		&s.ClientDownSince, &s.Cluster.At, &s.Drbd.At, &s.Postgres.At, &s.Zone.At, &s.Resolved.At,
		&s.Record.readAt, &s.Write.endedAt, &s.Write.InFlight.Decided, &s.Write.InFlight.Base.At,
		&s.Write.Retry.At, &s.Record.Retry.At, &s.Promotion.RaceUntil, &s.Wait.StalledAt, &s.Wait.StalledUntil,
		&s.Wait.PausedUntil,
		&s.Poll.fastUntil, &s.saving.changedAt, &s.Peers.diskLostAt, &s.Record.awaited.due, &s.Write.resolversStaleUntil,
		&s.Write.apiStaleUntil, &s.Record.resolversStaleUntil,
		&s.Record.mayBeNewUntil, &s.Record.recheckedAt, &s.Repair.writtenAt, &s.Repair.suspectedAt,
	} {
		f(t)
	}
	for i := range s.Peers.fencing {
		f(&s.Peers.fencing[i].earlyAt)
		f(&s.Peers.fencing[i].seenAt)
		f(&s.Peers.fencing[i].reconnectedAt)
	}
	for i := range s.Peers.demotions {
		f(&s.Peers.demotions[i].at)
		f(&s.Peers.demotions[i].disconnectedAt)
	}
	for i := range s.tasks {
		f(&s.tasks[i].due)
	}
	for _, e := range [...]*Episode{&s.Episode, &s.saving.replaced} {
		f(&e.Start)
		f(&e.RaceUntil)
		f(&e.Memory.ResolversStaleUntil)
		f(&e.Memory.APIStaleUntil)
		f(&e.Memory.Repaired)
		f(&e.Outage.From)
		f(&e.Outage.To)
		for p := range e.Stamps {
			f(&e.Stamps[p])
		}
	}
}

// Canonical returns a state that acts like this one from now on. It is the same value for states that differ only in
// what cannot matter: times beyond every bound, counters beyond the last step of a backoff, the parts of an episode
// that only tell its story. A search of all states ends because of it. The actions are the same but for the story in
// Save and the time in a Write's base.
//
// Observations in later events must be at most ten seconds old. A task that is due in more than fifty years is never
// due.
func (s State) Canonical(now Time) State {
	s.forgetObservations(now)
	s.forgetStory(now)
	for _, t := range [...]*Time{
		&s.Write.Retry.At, &s.Record.Retry.At, &s.Promotion.RaceUntil, &s.Wait.StalledUntil, &s.Wait.PausedUntil,
		&s.Poll.fastUntil, &s.Episode.RaceUntil, &s.Record.resolversStaleUntil,
		&s.Record.mayBeNewUntil,
	} {
		if *t <= now {
			*t = 0
		}
	}
	forget(&s.Repair.writtenAt, now, repeatedEditWindow)
	forget(&s.Episode.Memory.Repaired, now, repeatedEditWindow)
	forget(&s.Repair.suspectedAt, now, suspectInterval<<maxSuspicions)
	forget(&s.Record.recheckedAt, now, recheckInterval)
	s.Repair.suspicions = min(s.Repair.suspicions, maxSuspicions)
	for i := range s.Peers.fencing {
		if p := &s.Peers.fencing[i]; p.earlyAt != 0 {
			clamp(&p.earlyAt, now, earlyFenceWindow+maxEventAge)
		}
		// A look that begins later, or at most ten seconds ago, is not overtaken.
		forget(&s.Peers.fencing[i].reconnectedAt, now, 0)
		forget(&s.Peers.fencing[i].seenAt, now, earlyFenceWindow+maxEventAge)
	}
	for i := range s.Peers.demotions {
		if d := &s.Peers.demotions[i]; d.known {
			clamp(&d.at, now, demotionDelay+maxEventAge)
			if forget(&d.disconnectedAt, now, maxEventAge); !d.unseen {
				d.disconnectedAt = 0
			}
		} else {
			*d = demotion{}
		}
	}
	s.Write.InFlight.Base.At = 0
	s.Write.outcomeUnknown = s.Write.outcomeUnknown && !s.Config.Ownership // else the claim tells
	clamp(&s.Write.InFlight.Decided, now, MaxDecisionAge)
	s.Wait.StalledAt, s.ClientDownSince, s.heard = 0, 0, [numSources]bool{} // only told
	for _, t := range [...]*Time{&s.Write.resolversStaleUntil, &s.Episode.Memory.ResolversStaleUntil} {
		if *t != 0 {
			*t = max(*t, now) // that it was ever so counts as well
		}
	}
	s.Record.awaited.reads = min(s.Record.awaited.reads, 4)
	if !s.tasks[taskReadRecord].inFlight { // every read will begin later
		s.Write.endedAt, s.Record.awaited.due = 0, max(s.Record.awaited.due, now)
		forget(&s.Write.apiStaleUntil, now, 0)
		forget(&s.Episode.Memory.APIStaleUntil, now, 0)
	}
	if s.Poll.fastUntil == 0 {
		s.Poll.fastInterval = 0
	}
	if s.Write.ChangeID == "" {
		s.Write.Polls = 0
	}
	if !s.tasks[taskPollChange].inFlight {
		s.Write.polling = ""
	}
	if s.Write.Retry.Reason != throttled {
		s.Write.Retry.Reason = ""
	}
	s.Record.Retry.Reason = ""
	// backoff doubles five times, looked four times.
	s.Write.Retry.N, s.Record.Retry.N, s.Poll.failures = min(s.Write.Retry.N, 6), min(s.Record.Retry.N, 6),
		min(s.Poll.failures, 4)
	s.forgetDue(now)
	return s
}

// clamp makes all ages beyond the bound the same.
func clamp(t *Time, now Time, bound time.Duration) { *t = max(*t, now-bound-1) }

// forget makes an age beyond the bound the same as never.
func forget(t *Time, now Time, bound time.Duration) {
	if now-*t > bound {
		*t = 0
	}
}

// forgetStory leaves of the episode what decides.
func (s *State) forgetStory(now Time) {
	s.Peers.diskLostAt, s.Drbd.PeerDiskLost, s.Drbd.DisconnectReason = 0, false, "" // they only tell the cause
	for i := range s.Drbd.Connections {
		c := &s.Drbd.Connections[i]
		c.DiskLost, c.DisconnectReason = false, ""
	}
	s.saving.replaced = Episode{} // empty between two steps
	e := &s.Episode
	if e.ID == 0 {
		*e, s.saving.changedAt = Episode{}, 0
		return
	}
	e.ID, e.Why, e.Cause, e.Writes, e.Late = 1, "", "", 0, [NumPhases]bool{}
	if !e.Open() {
		s.forgetEnded(now)
		return
	}
	clamp(&e.Start, now, longAgo)
	clamp(&s.saving.changedAt, now, longAgo)
	if e.Outage != (Outage{}) {
		e.Outage = Outage{From: now - e.Outage.Length(), To: now} // only its length is compared
	}
	for p := range NumPhases {
		t := &e.Stamps[p]
		switch {
		case *t == 0:
		case p == DNSAccepted && !e.Seen(DNSObserved):
			clamp(t, now, busyFor)
		case (p == Writable || p == DNSObserved) && s.Config.ProbeClient:
			clamp(t, now, outageGrace)
		default:
			*t = now - longAgo
		}
	}
}

// forgetEnded leaves of an episode that has ended what a restart and a late write ask for.
func (s *State) forgetEnded(now Time) {
	e := &s.Episode
	clamp(&s.saving.changedAt, now, busyFor)
	if e.Outcome == OutcomeDemoted || e.Outcome == OutcomeAverted {
		*e = Episode{ID: e.ID, Outcome: e.Outcome, Memory: e.Memory}
		return
	}
	accepted := e.Seen(DNSAccepted)
	if !e.Outage.GoesOn() {
		e.Outage = Outage{}
	}
	e.Start, e.Stamps, e.Peer, e.Lost = 0, [NumPhases]Time{}, "", LostPeer{}
	if accepted {
		e.Stamps[DNSAccepted] = now - longAgo
	}
}

// forgetObservations makes what was seen as old as it counts.
func (s *State) forgetObservations(now Time) {
	e := &s.Episode
	if c := &s.Cluster; now-c.At > MaxClusterAge {
		averts := e.Open() && c.At-e.Start > avertAfter
		c.At = now - longAgo
		if averts {
			c.At = now - MaxClusterAge - 1
		}
	}
	clamp(&s.Drbd.At, now, MaxDrbdAge)
	if s.Zone.At != 0 {
		s.Zone.At = now // only whether it was read ever
	}
	switch {
	case s.Config.Repair: // a repair may be based on it
		forget(&s.Record.readAt, now, maxRepairBaseAge)
	case s.foreignBase():
		forget(&s.Record.readAt, now, MaxClusterAge)
	default:
		s.Record.readAt = 0
	}
	// What PostgreSQL and the resolver said counts for the open episode, or not at all.
	switch p := &s.Postgres; {
	case p.At >= now, s.Config.PublishWritable && now-p.At <= MaxProbeAge:
	case !e.Open() || p.At < e.Start || e.Seen(PgStarted) && e.Seen(Writable):
		*p = Postgres{}
	case s.Config.PublishWritable:
		p.At = now - MaxProbeAge - 1
	default:
		p.At = now - 1
	}
	switch r := &s.Resolved; {
	case r.At >= now:
	case !e.Open() || !e.Seen(DNSAccepted) || e.Seen(DNSObserved) || r.At < e.Stamps[DNSAccepted]:
		*r = Resolved{}
	default:
		r.At = now - 1
	}
}

// forgetDue makes the tasks that are due, in flight or not wanted the same, whatever their time was.
func (s *State) forgetDue(now Time) {
	for t := range numTasks {
		due := &s.tasks[t].due
		s.tasks[t].awaited = false // only told
		*due = max(*due, now)
		switch {
		case t == taskWrite, t == taskPollChange && s.Write.ChangeID == "", t != taskPollChange && s.tasks[t].inFlight:
			*due = now
		case *due-now > farFuture:
			*due = never
		}
	}
}
