package main

import (
	"testing"

	"github.com/pgha/pgha-agent/agent/status"
)

func TestTextsOfThePhasesHaveTheirNames(t *testing.T) {
	named := map[string]bool{}
	decided := decidedBy(defaultFigures)
	for _, p := range status.Phases {
		named[p.Is.String()] = true
		if decided[p.Is.String()] == "" {
			t.Errorf("the demo does not say what decides when %q is reached", p.Is)
		}
	}
	for name := range decided {
		if !named[name] {
			t.Errorf("the demo says what decides when %q is reached, which is no phase", name)
		}
	}
	for name := range shell {
		if !named[name] {
			t.Errorf("the shell version has a time for %q, which is no phase", name)
		}
	}
}
