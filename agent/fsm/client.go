package fsm

import "time"

// Resolved is the answer of the resolver that clients use.
type Resolved struct {
	At   Time
	OK   bool
	Addr string // "" for a negative answer
}

// Outage is an outage that a client of the service name saw: from its last success to its next one. To is 0 while it
// goes on.
type Outage struct {
	From, To Time
	Answered string // the server that answered at To
}

// GoesOn reports an outage that has begun and not ended.
func (o Outage) GoesOn() bool { return o.From != 0 && o.To == 0 }

// Length is how long the outage was; 0 while it goes on.
func (o Outage) Length() time.Duration { return max(0, o.To-o.From) }

// NameExists reports whether the name may be resolved: a resolver that is asked for a name that is not there yet
// remembers for minutes that it is not. While it does not exist, neither the resolver nor the service is asked.
func (s *State) NameExists() bool {
	if s.Zone.At == 0 {
		return s.Record.Retry.N >= resolveAfterReadFailures // the API does not answer: the record is most likely there
	}
	return (s.Zone.Addr != "" || s.Zone.Named) && !s.Write.createdRecord
}

// resolvedName takes in what the resolver answers. When the zone, as it was last read, does not explain the answer, one
// of the two has changed since: the zone is read again.
func (s *State) resolvedName(now Time, r Resolved) {
	s.Resolved = r
	s.tasks[taskResolve].finished(now, s.resolveInterval(now))
	switch {
	case !r.OK:
	case s.owns() && r.Addr != s.Config.Addr || s.Zone.OK && r.Addr != s.Zone.Addr:
		s.suspectRecord(now)
	case !s.ClientDown:
		s.Repair.suspicions = 0
	}
}

// clientProbed takes in one attempt of a client.
func (s *State) clientProbed(now Time, e ClientProbed) {
	s.ClientDown, s.ClientDownSince = e.Down, 0
	if e.Down {
		s.ClientDownSince = e.Since
	}
	if o := &s.Episode.Outage; o.GoesOn() && e.Outage.From == o.From {
		*o = e.Outage // it went on beyond the end of the episode
	}
	if s.Episode.Open() && e.Outage.To > s.Episode.Start &&
		e.Outage.Length() > s.Episode.Outage.Length() {
		s.Episode.Outage = e.Outage
	}
	every := clientProbeUp
	if e.Down {
		every = clientProbeDown
		if s.owns() {
			s.suspectRecord(now)
		}
	}
	s.tasks[taskProbeClient].finished(now, every)
}
