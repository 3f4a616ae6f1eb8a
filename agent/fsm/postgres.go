package fsm

// Postgres is what one probe of the local server says.
type Postgres struct {
	At        Time
	Accepting bool // accepts connections
	Writable  bool
	Server    int64 // names the server: when it started, by its own clock; 0 when it did not say
}

// foreignServer is a server that answers while DRBD is Secondary here: its data are not the cluster's.
type foreignServer struct {
	server int64
	probes uint8 // in a row that saw it so: one alone may have been on its way while DRBD was demoted
	// DRBD has said Secondary since the first of them. A stream that hangs says nothing of now: the server may be the
	// database, after a promotion that is still to be heard of.
	heard bool
}

// ForeignServer reports a local PostgreSQL that does not run on the data under DRBD: it answered while DRBD was
// Secondary here. After a promotion it still holds the port.
func (s *State) ForeignServer() bool { return s.foreign.probes == 2 }

// roleHeard takes in that DRBD has said something.
func (f *foreignServer) roleHeard(d *Drbd) {
	if f.probes != 1 {
		return
	}
	if f.heard = d.Live && !d.Primary; !f.heard {
		*f = foreignServer{}
	}
}

// postgresProbed takes in a probe. What a foreign server says is nothing about the database.
func (s *State) postgresProbed(now Time, p Postgres) {
	f := &s.foreign
	switch {
	case !p.Accepting:
		*f = foreignServer{}
	case s.Drbd.Live && !s.Drbd.Primary:
		if f.server = p.Server; f.probes == 0 || f.heard {
			f.probes = min(f.probes+1, 2)
		}
	case f.probes < 2 || p.Server != 0 && p.Server != f.server:
		*f = foreignServer{}
	}
	if s.ForeignServer() {
		p.Accepting, p.Writable = false, false
	}
	p.Server = 0
	s.Postgres = p
	s.tasks[taskProbePostgres].finished(now, s.postgresProbeInterval())
}
