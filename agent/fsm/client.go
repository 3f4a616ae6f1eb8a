package fsm

// Resolved is the answer of the resolver that clients use.
type Resolved struct {
	At   Time
	OK   bool
	Addr string // "" for a negative answer
}

// Outage is an outage that a client of the service name saw: from its last success to its next one.
type Outage struct {
	From, To Time
	Answered string // the server that answered at To
}

// nameExists reports whether the name may be resolved: a resolver that is asked for a name that is not there yet
// remembers for minutes that it is not.
func (s *State) nameExists() bool {
	if s.Zone.At == 0 {
		return s.Record.Retry.N >= resolveAfterReadFailures // the API does not answer: the record is most likely there
	}
	return s.Zone.Addr != "" && !s.Write.createdRecord
}

func (s *State) clientProbed(now Time, e ClientProbed) {
	s.ClientDown = e.Down
	if s.Episode.Open() && e.Outage.To > s.Episode.Start &&
		e.Outage.To-e.Outage.From > s.Episode.Outage.To-s.Episode.Outage.From {
		s.Episode.Outage = e.Outage
	}
	every := clientProbeUp
	if e.Down {
		every = clientProbeDown
		s.suspectRecord(now)
	}
	s.tasks[taskProbeClient].finished(now, every)
}
