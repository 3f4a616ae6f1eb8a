package fsm

import (
	"testing"
	"time"
)

// TestForeignServer: a server that answers while DRBD is Secondary here is not the database, also after a promotion.
func TestForeignServer(t *testing.T) {
	const cluster, other = 100, 200
	accepts := func(server int64) Postgres { return Postgres{Accepting: true, Writable: true, Server: server} }
	type probe struct {
		primary bool
		says    Postgres
	}
	hangs := map[string]bool{"the stream hangs in a failover": true} // nothing is heard between the probes
	for name, c := range map[string]struct {
		probes            []probe
		foreign, writable bool
	}{
		"the database":                  {[]probe{{true, accepts(cluster)}}, false, true},
		"no server on the standby":      {[]probe{{false, Postgres{}}, {false, Postgres{}}}, false, false},
		"once, while demoted":           {[]probe{{true, accepts(cluster)}, {false, accepts(cluster)}}, false, true},
		"on its way while demoted":      {[]probe{{true, accepts(cluster)}, {false, accepts(cluster)}, {false, Postgres{}}}, false, false},
		"on its way, and promoted anew": {[]probe{{false, accepts(cluster)}, {true, accepts(other)}}, false, true},
		"foreign":                       {[]probe{{false, accepts(other)}, {false, accepts(other)}}, true, false},
		"and still after a promotion": {[]probe{{false, accepts(other)}, {false, accepts(other)}, {true, accepts(other)}},
			true, false},
		"and does not say which it is": {[]probe{{false, accepts(other)}, {false, accepts(other)}, {true, accepts(0)}},
			true, false},
		"then the database": {[]probe{{false, accepts(other)}, {false, accepts(other)}, {true, accepts(cluster)}},
			false, true},
		"the stream hangs in a failover": {[]probe{{false, accepts(cluster)}, {false, accepts(cluster)},
			{true, accepts(cluster)}}, false, true},
		"stopped, then the database": {[]probe{{false, accepts(0)}, {false, accepts(0)}, {true, Postgres{}},
			{true, accepts(0)}}, false, true},
	} {
		s, now := settled()
		for _, p := range c.probes {
			if s.Drbd.Live, s.Drbd.Primary = true, p.primary; !hangs[name] {
				s, _ = s.Step(now, DrbdChanged{s.Drbd})
			}
			p.says.At = now
			s, _ = s.Step(now, PostgresProbed{p.says})
			now += time.Second
		}
		if s.ForeignServer() != c.foreign || s.Postgres.Writable != c.writable {
			t.Errorf("%s: foreign %v, writable %v", name, s.ForeignServer(), s.Postgres.Writable)
		}
	}
}
