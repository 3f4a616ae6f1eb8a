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

// lookTakes is how old an observation in a later event may be.
const lookTakes = 10 * time.Second

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
		&s.Cluster.At, &s.Drbd.At, &s.Postgres.At, &s.Zone.At, &s.Resolved.At,
		&s.readAt, &s.wroteAt, &s.Writing.Decided, &s.Writing.Base.At,
		&s.Retry.At, &s.ReadRetry.At, &s.RaceUntil, &s.StalledAt, &s.StalledUntil, &s.PausedUntil,
		&s.hintUntil, &s.lastNews, &s.peerDisk, &s.awaited.due, &s.settled, &s.lagging, &s.repaired, &s.suspected,
	} {
		f(t)
	}
	for i := range s.peers {
		f(&s.peers[i].early)
		f(&s.peers[i].seen)
		f(&s.peers[i].said)
	}
	for i := range s.demotions {
		f(&s.demotions[i].at)
		f(&s.demotions[i].cut)
	}
	for i := range s.tasks {
		f(&s.tasks[i].Due)
	}
	for _, e := range [...]*Episode{&s.Episode, &s.replaced} {
		f(&e.Start)
		f(&e.RaceUntil)
		f(&e.Memory.Settled)
		f(&e.Memory.Lagging)
		f(&e.Memory.Repaired)
		f(&e.Gap.From)
		f(&e.Gap.To)
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
		&s.Retry.At, &s.ReadRetry.At, &s.RaceUntil, &s.StalledUntil, &s.PausedUntil, &s.hintUntil, &s.Episode.RaceUntil,
	} {
		if *t <= now {
			*t = 0
		}
	}
	forget(&s.repaired, now, repairAgain)
	forget(&s.Episode.Memory.Repaired, now, repairAgain)
	forget(&s.suspected, now, suspectAgain<<maxSuspicions)
	s.suspicions = min(s.suspicions, maxSuspicions)
	for i := range s.peers {
		if p := &s.peers[i]; p.early != 0 {
			clamp(&p.early, now, earlyFence+lookTakes)
		}
		forget(&s.peers[i].said, now, 0) // a look that begins later, or at most ten seconds ago, is not overtaken
		forget(&s.peers[i].seen, now, earlyFence+lookTakes)
	}
	for i := range s.demotions {
		if d := &s.demotions[i]; d.told {
			clamp(&d.at, now, demoteTakes+lookTakes)
			if forget(&d.cut, now, lookTakes); !d.unseen {
				d.cut = 0
			}
		} else {
			*d = demotion{}
		}
	}
	s.Writing.Base.At = 0
	s.unsure = s.unsure && !s.Config.Ownership // else the claim tells
	clamp(&s.Writing.Decided, now, MaxDecisionAge)
	s.StalledAt = 0 // only told
	for _, t := range [...]*Time{&s.settled, &s.Episode.Memory.Settled} {
		if *t != 0 {
			*t = max(*t, now) // that it was ever so counts as well
		}
	}
	s.awaited.reads = min(s.awaited.reads, 4)
	if !s.tasks[taskRead].Flying { // every read will begin later
		s.wroteAt, s.awaited.due = 0, max(s.awaited.due, now)
		forget(&s.lagging, now, 0)
		forget(&s.Episode.Memory.Lagging, now, 0)
	}
	if s.hintUntil == 0 {
		s.lookGap = 0
	}
	if s.ChangeID == "" {
		s.Polls = 0
	}
	if !s.tasks[taskPoll].Flying {
		s.polling = ""
	}
	if s.Retry.Reason != throttled {
		s.Retry.Reason = ""
	}
	s.ReadRetry.Reason = ""
	// backoff doubles five times, looked four times.
	s.Retry.N, s.ReadRetry.N, s.LookFailures = min(s.Retry.N, 6), min(s.ReadRetry.N, 6), min(s.LookFailures, 4)
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
	s.peerDisk, s.Drbd.PeerDiskLost, s.Drbd.LostWhy = 0, false, "" // they only tell the cause
	for i := range s.Drbd.Connections {
		c := &s.Drbd.Connections[i]
		c.DiskLost, c.LostWhy = false, ""
	}
	s.replaced = Episode{} // empty between two steps
	e := &s.Episode
	if e.ID == 0 {
		*e, s.lastNews = Episode{}, 0
		return
	}
	e.ID, e.Why, e.Cause, e.Writes = 1, "", "", 0
	if !e.Open() {
		s.forgetEnded(now)
		return
	}
	clamp(&e.Start, now, longAgo)
	clamp(&s.lastNews, now, longAgo)
	if e.Gap != (Gap{}) {
		e.Gap = Gap{From: now - (e.Gap.To - e.Gap.From), To: now} // only its length is compared
	}
	for p := range NumPhases {
		t := &e.Stamps[p]
		switch {
		case *t == 0:
		case p == DNSAccepted && !e.Seen(DNSObserved):
			clamp(t, now, busyFor)
		case (p == Writable || p == DNSObserved) && s.Config.View:
			clamp(t, now, gapWait)
		default:
			*t = now - longAgo
		}
	}
}

// forgetEnded leaves of an episode that has ended what a restart and a late write ask for.
func (s *State) forgetEnded(now Time) {
	e := &s.Episode
	clamp(&s.lastNews, now, busyFor)
	if e.Outcome == OutcomeDemoted || e.Outcome == OutcomeAverted {
		*e = Episode{ID: e.ID, Outcome: e.Outcome, Memory: e.Memory}
		return
	}
	accepted := e.Seen(DNSAccepted)
	e.Start, e.Stamps, e.Peer, e.Gap, e.Lost = 0, [NumPhases]Time{}, "", Gap{}, LostPeer{}
	if accepted {
		e.Stamps[DNSAccepted] = now - longAgo
	}
}

// forgetObservations makes what was seen as old as it counts.
func (s *State) forgetObservations(now Time) {
	e := &s.Episode
	if c := &s.Cluster; now-c.At > MaxLookAge {
		averts := e.Open() && c.At-e.Start > avertAfter
		c.At = now - longAgo
		if averts {
			c.At = now - MaxLookAge - 1
		}
	}
	clamp(&s.Drbd.At, now, MaxDrbdAge)
	if s.Zone.At != 0 {
		s.Zone.At = now // only whether it was read ever
	}
	switch {
	case s.Config.Repair: // a repair may be based on it
		forget(&s.readAt, now, repairBase)
	case s.foreignBase():
		forget(&s.readAt, now, MaxLookAge)
	default:
		s.readAt = 0
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
		due := &s.tasks[t].Due
		*due = max(*due, now)
		switch {
		case t == taskWrite, t == taskPoll && s.ChangeID == "", t != taskPoll && s.tasks[t].Flying:
			*due = now
		case *due-now > farFuture:
			*due = never
		}
	}
}
