package pgtest

import (
	"errors"
	"os"
)

// TB is the part of testing.TB used here; an interface of our own keeps package testing out of programs.
type TB interface {
	Helper()
	Cleanup(func())
	Failed() bool
	Logf(format string, args ...any)
	Fatalf(format string, args ...any)
	Skipf(format string, args ...any)
}

// Start gives a test a running server, removed at its end. Without an installed PostgreSQL the test is skipped,
// or fails when PGHA_REQUIRE_POSTGRES=1.
func Start(t TB, o Options) *Server {
	t.Helper()
	s, err := New("", o)
	keep(t, s, err)
	return s
}

// StartStandby gives a test a running streaming standby of s; see NewStandby.
func StartStandby(t TB, s *Server, o Options, name, slot string) *Server {
	t.Helper()
	sb, err := s.NewStandby("", o, name, slot)
	keep(t, sb, err)
	return sb
}

func keep(t TB, s *Server, err error) {
	t.Helper()
	if errors.Is(err, ErrNotInstalled) && os.Getenv("PGHA_REQUIRE_POSTGRES") != "1" {
		t.Skipf("not tested against a real PostgreSQL: %v", err)
	}
	if err != nil {
		t.Fatalf("make PostgreSQL: %v", err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("log of PostgreSQL on port %d:\n%s", s.Port, s.Log())
		}
		if err := s.Remove(); err != nil {
			t.Logf("remove PostgreSQL: %v", err)
		}
	})
	if err := s.Start(); err != nil {
		t.Fatalf("start PostgreSQL: %v", err)
	}
}
