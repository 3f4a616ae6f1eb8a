package fsm

import (
	"testing"
	"time"
)

// TestNobodyAsksForTheNameAfterOneFailedRead: on a first installation the name is not there yet, and the first read may time out on a busy
// machine. A resolver that is asked then answers "no such name" for minutes.
func TestNobodyAsksForTheNameAfterOneFailedRead(t *testing.T) {
	asks := func(actions []Action) bool {
		for _, a := range actions {
			switch a.(type) {
			case Resolve, View:
				return true
			}
		}
		return false
	}
	cfg := testConfig()
	cfg.View = true
	s, now := New(cfg, 1, Episode{}, false), boot
	var out []Action
	for failures := 1; failures <= askAnyway; failures++ {
		now += time.Minute // every backoff is over
		s, _ = s.Step(now, Tick{})
		s, out = s.Step(now+time.Second, Read{Reason: "timeout"})
		if asks(out) != (failures == askAnyway) {
			t.Errorf("%d reads failed: the name is asked for: %v", failures, asks(out))
		}
	}
}
