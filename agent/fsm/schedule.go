package fsm

import "time"

// Cadence of the work. An idle node asks rarely; while something happens it asks often, and every trigger asks at once.
const (
	lookIdle      = 10 * time.Second
	lookBusy      = time.Second
	lookHeld      = 3 * time.Second // after five minutes of it
	busyFor       = 5 * time.Minute
	lookHintFirst = 100 * time.Millisecond // after a hint of a promotion that crm_mon does not show yet, doubled each time
	hintWindow    = 10 * time.Second
	probeStandby  = 5 * time.Second
	probePromoted = time.Second
	probeBusy     = 250 * time.Millisecond
	resolveIdle   = 30 * time.Second
	resolveBusy   = 500 * time.Millisecond
	viewUp        = time.Second
	viewDown      = 250 * time.Millisecond
	// peerClaims is how long after a promotion of a peer its claim is read, so that this node's next write is based on it.
	peerClaims      = 5 * time.Second
	peerClaimsAgain = time.Minute // at the most, from one read for a claim to the next
	maxClaimReads   = 3           // for a promotion in place

	behindAgain  = 10 * time.Second // after a reading from before our own write
	backoffFirst = time.Second
	backoffMax   = 30 * time.Second
	guardRetry   = 100 * time.Millisecond

	// throttled is the reason of a call that the account's limit refused: it is shared by all clusters of the account.
	throttled = "throttled"
	// maxCrowded bounds how often the interval of checks is doubled while the account is at its limit.
	maxCrowded = 5

	// avertAfter is how long after the first sign a peer must still be promoted and well for the alarm to be false: longer than any
	// sensible Corosync token and consensus timeout.
	avertAfter = time.Minute
	idleAfter  = 15 * time.Minute // an open episode for which nothing is left to do is given up after this long without news
	askAnyway  = 5                // reads of the zone that failed in a row since the start; one may fail on a first installation as well
	gapWait    = time.Minute      // how long a finished episode waits for the client's view to recover
)

// MaxPolls is how many times one accepted change is asked about.
const MaxPolls = 10

// pollAfter is the wait before each poll: most private zones are in sync within seconds, Route 53 promises about 60.
var pollAfter = [MaxPolls]time.Duration{
	time.Second, time.Second, 2 * time.Second, 3 * time.Second, 4 * time.Second, 6 * time.Second, 8 * time.Second,
	12 * time.Second, 18 * time.Second, 30 * time.Second,
}

// schedule starts every task that is due.
func (s *State) schedule(now Time, out []Action) []Action {
	if s.needsWrite() && !s.tasks[taskRead].Flying && !s.Zone.OK && !s.Zone.Refused && now >= s.ReadRetry.At {
		s.tasks[taskRead].Due = min(s.tasks[taskRead].Due, now)
	}
	s.hurry(taskLook, now+s.lookEvery(now))
	s.hurry(taskProbe, now+s.probeEvery())
	s.hurry(taskResolve, now+s.resolveEvery(now))
	for t := range numTasks {
		if !s.wanted(t) || s.tasks[t].Flying || s.tasks[t].Due > now {
			continue
		}
		s.tasks[t].Flying = true
		switch t {
		case taskLook:
			out = append(out, Look{})
		case taskProbe:
			out = append(out, Probe{})
		case taskRead:
			out = append(out, ReadRecord{})
		case taskPoll:
			s.polling = s.ChangeID
			out = append(out, Poll{ChangeID: s.ChangeID})
		case taskResolve:
			out = append(out, Resolve{})
		case taskView:
			out = append(out, View{})
		}
	}
	return out
}

// hurried makes the next looks follow each other quickly for a while.
func (s *State) hurried(now Time) { s.hintUntil, s.lookGap = now+hintWindow, lookHintFirst }

// hurry brings a task forward when the state has become busier than when it was planned.
func (s *State) hurry(t task, by Time) { s.tasks[t].Due = min(s.tasks[t].Due, by) }

func (s *State) wanted(t task) bool {
	switch t {
	case taskWrite:
		return false // started by decide
	case taskPoll:
		return s.ChangeID != ""
	case taskResolve:
		return s.nameExists()
	case taskView:
		return s.Config.View && s.nameExists()
	default:
		return true
	}
}

// nameExists reports whether the name may be resolved: a resolver that is asked for a name that is not there yet remembers for
// minutes that it is not.
func (s *State) nameExists() bool {
	if s.Zone.At == 0 {
		return s.ReadRetry.N >= askAnyway // the API does not answer: the record is most likely there
	}
	return s.Zone.Addr != "" && !s.created
}

// Next returns when a Tick is due.
func (s *State) Next(now Time) Time {
	next := now + lookIdle
	for t := range numTasks {
		if s.wanted(t) && !s.tasks[t].Flying {
			next = min(next, s.tasks[t].Due)
		}
	}
	for _, at := range [...]Time{s.Retry.At, s.ReadRetry.At, s.StalledUntil, s.PausedUntil, s.RaceUntil} {
		if at > now {
			next = min(next, at)
		}
	}
	return max(next, now)
}

func (s *State) lookEvery(now Time) time.Duration {
	switch {
	case now < s.hintUntil && s.Promotion == "":
		return max(s.lookGap, min(s.LookTook, lookHeld))
	case !s.Episode.Open() && !s.needsWrite() && now >= s.StalledUntil:
		return lookIdle
	case now-s.lastNews < busyFor:
		// crm_mon runs on the machine that fails over: it may have a tenth of it, not more.
		return max(lookBusy, min(10*s.LookTook, lookHeld))
	default:
		return lookHeld
	}
}

func (s *State) probeEvery() time.Duration {
	switch {
	case !s.Drbd.Primary && s.Promotion == "":
		return probeStandby
	case s.Episode.Open() && !s.Episode.Seen(Writable):
		return probeBusy
	default:
		return probePromoted
	}
}

func (s *State) resolveEvery(now Time) time.Duration {
	if s.Published && s.Episode.Open() && !s.Episode.Seen(DNSObserved) && now-s.Episode.Stamps[DNSAccepted] < busyFor {
		return resolveBusy
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
