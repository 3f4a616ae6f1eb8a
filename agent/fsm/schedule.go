package fsm

import "time"

// Cadence of the work. An idle node asks rarely; while something happens it asks often, and every trigger asks at once.
const (
	clusterPollIdle = 10 * time.Second
	clusterPollBusy = time.Second
	clusterPollHeld = 3 * time.Second // after five minutes of it
	busyFor         = 5 * time.Minute
	// After a hint of a promotion that crm_mon does not show yet, doubled each time.
	fastPollFirst         = 100 * time.Millisecond
	fastPollWindow        = 10 * time.Second
	postgresProbeStandby  = 5 * time.Second
	postgresProbePromoted = time.Second
	postgresProbeBusy     = 250 * time.Millisecond
	resolveIdle           = 30 * time.Second
	resolveBusy           = 500 * time.Millisecond
	resolveDown           = 5 * time.Second // a client of the name is not served: has the name changed?
	clientProbeUp         = time.Second
	clientProbeDown       = 250 * time.Millisecond
	// peerClaimDelay is how long after a promotion of a peer its claim is read, so that this node's next write is based on
	// it.
	peerClaimDelay       = 5 * time.Second
	peerClaimMaxInterval = time.Minute // at the most, from one read for a claim to the next
	maxClaimReads        = 3           // for a promotion in place

	troubledCheck   = 20 * time.Second // of a record that is known to be wrong; up to half of that more
	recheckInterval = 10 * time.Second // the least between two reads that somebody asks for
	staleReadRetry  = 10 * time.Second // after a reading from before our own write
	backoffFirst    = time.Second
	backoffMax      = 30 * time.Second
	guardRetry      = 100 * time.Millisecond

	// throttled is the reason of a call that the account's limit refused: it is shared by all clusters of the account.
	throttled = "throttled"
	// maxThrottleLevel bounds how often the interval of checks is doubled while the account is at its limit.
	maxThrottleLevel = 5

	// avertAfter is how long after the first sign a peer must still be promoted and well for the alarm to be false: longer
	// than any sensible Corosync token and consensus timeout.
	avertAfter = time.Minute
	// An open episode for which nothing is left to do is given up after this long without news.
	idleAfter = 15 * time.Minute
	// Reads of the zone that failed in a row since the start; one may fail on a first installation as well.
	resolveAfterReadFailures = 5
	outageGrace              = time.Minute // how long a finished episode waits for the client's view to recover
)

// schedule starts every task that is due.
func (s *State) schedule(now Time, out []Action) []Action {
	if s.needsWrite() && !s.tasks[taskReadRecord].inFlight && !s.Zone.OK && !s.Zone.Refused && now >= s.Record.Retry.At {
		s.tasks[taskReadRecord].due = min(s.tasks[taskReadRecord].due, now)
	}
	s.advance(taskPollCluster, now+s.clusterPollInterval(now))
	s.advance(taskProbePostgres, now+s.postgresProbeInterval())
	s.advance(taskResolve, now+s.resolveInterval(now))
	for t := range numTasks {
		if !s.wanted(t) || s.mayBeNew(t, now) || s.tasks[t].inFlight || s.tasks[t].due > now {
			continue
		}
		s.tasks[t].inFlight = true
		switch t {
		case taskPollCluster:
			out = append(out, PollCluster{})
		case taskProbePostgres:
			out = append(out, ProbePostgres{})
		case taskReadRecord:
			out = append(out, ReadRecord{})
		case taskPollChange:
			s.Write.polling = s.Write.ChangeID
			out = append(out, PollChange{ChangeID: s.Write.ChangeID})
		case taskResolve:
			out = append(out, Resolve{})
		case taskProbeClient:
			out = append(out, ProbeClient{})
		}
	}
	return out
}

// startFastPolling makes the next looks follow each other quickly for a while.
func (s *State) startFastPolling(now Time) {
	s.Poll.fastUntil, s.Poll.fastInterval = now+fastPollWindow, fastPollFirst
}

// advance brings a task forward when the state has become busier than when it was planned.
func (s *State) advance(t task, by Time) { s.tasks[t].due = min(s.tasks[t].due, by) }

func (s *State) wanted(t task) bool {
	switch t {
	case taskWrite:
		return false // started by decide
	case taskPollChange:
		return s.Write.ChangeID != ""
	case taskResolve:
		return s.NameExists()
	case taskProbeClient:
		return s.Config.ProbeClient && s.NameExists()
	default:
		return true
	}
}

// mayBeNew reports a task that asks for a name which another node may have made a moment ago: the API tells of it
// before
// the name servers do, and a resolver that is told "no such name" remembers that for minutes.
func (s *State) mayBeNew(t task, now Time) bool {
	return (t == taskResolve || t == taskProbeClient) && now < s.Record.mayBeNewUntil
}

// Next returns when a Tick is due.
func (s *State) Next(now Time) Time {
	next := now + clusterPollIdle
	for t := range numTasks {
		if s.wanted(t) && !s.mayBeNew(t, now) && !s.tasks[t].inFlight {
			next = min(next, s.tasks[t].due)
		}
	}
	for _, at := range [...]Time{s.Record.mayBeNewUntil, s.Write.Retry.At, s.Record.Retry.At, s.Wait.StalledUntil,
		s.Wait.PausedUntil,
		s.Promotion.RaceUntil} {
		if at > now {
			next = min(next, at)
		}
	}
	return max(next, now)
}

func (s *State) clusterPollInterval(now Time) time.Duration {
	switch {
	case now < s.Poll.fastUntil && s.Promotion.Claim == "":
		return max(s.Poll.fastInterval, min(s.Poll.Took, clusterPollHeld))
	case !s.Episode.Open() && !s.needsWrite() && now >= s.Wait.StalledUntil:
		return clusterPollIdle
	case now-s.saving.changedAt < busyFor:
		// crm_mon runs on the machine that fails over: it may have a tenth of it, not more.
		return max(clusterPollBusy, min(10*s.Poll.Took, clusterPollHeld))
	default:
		return clusterPollHeld
	}
}

func (s *State) postgresProbeInterval() time.Duration {
	switch {
	case !s.Drbd.Primary && s.Promotion.Claim == "":
		return postgresProbeStandby
	case s.Episode.Open() && !s.Episode.Seen(Writable):
		return postgresProbeBusy
	default:
		return postgresProbePromoted
	}
}

func (s *State) resolveInterval(now Time) time.Duration {
	if s.Promotion.Published && s.Episode.Open() && !s.Episode.Seen(DNSObserved) &&
		now-s.Episode.Stamps[DNSAccepted] < busyFor {
		return resolveBusy
	}
	if s.ClientDown {
		return resolveDown
	}
	return resolveIdle
}

// backoff counts a failure: full jitter over 1, 2, 4 ... 30 seconds, for ever.
func (s *State) backoff(now Time, r Retry, reason string) Retry {
	r.N++
	r.Reason = reason
	limit := min(backoffMax, backoffFirst<<min(r.N-1, 5))
	r.At = now + s.jitter(limit)
	return r
}

// jitter returns a duration in [0, d), from a splitmix64 sequence, or an end of it for the two seeds that ask for one.
func (s *State) jitter(d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	switch s.rng &^ drawn {
	case JitterShortest:
		s.rng |= drawn
		return 0
	case JitterLongest:
		s.rng |= drawn
		return d - 1
	}
	s.rng += 0x9e3779b97f4a7c15
	z := s.rng
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return time.Duration((z ^ z>>31) % uint64(d))
}

// task is an action that ends in one event; at most one of each is in flight.
type task uint8

const (
	taskPollCluster task = iota
	taskProbePostgres
	taskReadRecord
	taskWrite
	taskPollChange
	taskResolve
	taskProbeClient
	numTasks
)

type taskState struct {
	due      Time // when the next one should start; zero is at once
	inFlight bool
	rerun    bool // something happened while it was in flight: start over at once
	awaited  bool // by somebody who asked for a Recheck
}

// trigger makes the task start now, or once more when the one in flight has ended.
func (t *taskState) trigger(now Time) {
	if t.inFlight {
		t.rerun = true
	}
	t.due = min(t.due, now)
}

// finished marks the end of a task in flight and sets the next one.
func (t *taskState) finished(now Time, next time.Duration) {
	t.inFlight = false
	t.due = now + next
	if t.rerun {
		t.rerun, t.due = false, now
		return
	}
	t.awaited = false
}

// recheck starts everything that tells how it is. The API is not asked more often than it may be.
func (s *State) recheck(now Time) {
	for _, t := range [...]task{taskPollCluster, taskProbePostgres, taskResolve, taskProbeClient} {
		if s.wanted(t) && !s.mayBeNew(t, now) {
			s.tasks[t].trigger(now)
			s.tasks[t].awaited = true
		}
	}
	if r := &s.Record; now >= r.Retry.At && (r.recheckedAt == 0 || now-r.recheckedAt >= recheckInterval) {
		r.recheckedAt = now
		s.advance(taskReadRecord, now)
		s.tasks[taskReadRecord].awaited = true
	}
}

// Rechecked reports whether everything that the last Recheck has started has ended.
func (s *State) Rechecked() bool {
	for t := range s.tasks {
		if s.tasks[t].awaited {
			return false
		}
	}
	return true
}
