package pgtest_test

import (
	"testing"

	"github.com/pgha/pgha-agent/pg/pgtest"
)

func TestServerSurvivesEveryStop(t *testing.T) {
	s := pgtest.Start(t, pgtest.Options{})
	if _, err := s.Query(t.Context(), "CREATE TABLE kept AS SELECT 42 AS n"); err != nil {
		t.Fatal(err)
	}
	stops := []struct {
		name string
		stop func() error
	}{
		{"smart", func() error { return s.Stop(pgtest.Smart) }},
		{"fast", func() error { return s.Stop(pgtest.Fast) }},
		{"immediate", func() error { return s.Stop(pgtest.Immediate) }},
		{"kill", s.Kill},
	}
	for _, c := range stops {
		if err := c.stop(); err != nil || s.Running() {
			t.Fatalf("%s: running %v, %v", c.name, s.Running(), err)
		}
		if err := c.stop(); err != nil {
			t.Fatalf("%s twice: %v", c.name, err)
		}
		if err := s.Start(); err != nil {
			t.Fatalf("start after %s: %v", c.name, err)
		}
		if got, err := s.Query(t.Context(), "SELECT n FROM kept"); err != nil || got != "42" {
			t.Fatalf("after %s: %q, %v", c.name, got, err)
		}
	}
	if err := s.Start(); err == nil {
		t.Fatal("a second start over a running server is accepted")
	}
}

func TestNewFailsClearlyOnLongSocketPath(t *testing.T) {
	dir := t.TempDir()
	for range 12 {
		dir += "/0123456789"
	}
	if _, err := pgtest.New(dir, pgtest.Options{}); err == nil {
		t.Fatal("accepted a socket path longer than the kernel does")
	}
}
