package fsm

import (
	"testing"
	"time"
)

// TestNobodyAsksForTheNameAfterOneFailedRead: on a first installation the name is not there yet, and the first read may
// time out on a busy machine. A resolver that is asked then answers "no such name" for minutes.
func TestNobodyAsksForTheNameAfterOneFailedRead(t *testing.T) {
	asks := func(actions []Action) bool {
		for _, a := range actions {
			switch a.(type) {
			case Resolve, ProbeClient:
				return true
			}
		}
		return false
	}
	cfg := testConfig()
	cfg.ProbeClient = true
	s, now := New(cfg, 1, Episode{}, false), boot
	var out []Action
	for failures := 1; failures <= resolveAfterReadFailures; failures++ {
		now += time.Minute // every backoff is over
		s, _ = s.Step(now, Tick{})
		s, out = s.Step(now+time.Second, Read{Reason: "timeout"})
		if asks(out) != (failures == resolveAfterReadFailures) {
			t.Errorf("%d reads failed: the name is asked for: %v", failures, asks(out))
		}
	}
}

// TestReadFromBeforeAWriteIsNotBelieved: a read that was on its way while a write ended may show what was before the
// write, which would look like a record that somebody took away.
func TestReadFromBeforeAWriteIsNotBelieved(t *testing.T) {
	s := New(testConfig(), 1, Episode{}, false)
	s, _ = s.Step(boot, Tick{}) // starts a read
	s, _ = s.Step(boot+2*time.Second, Wrote{ChangeID: "C1"})
	ours := s.Zone
	s, _ = s.Step(boot+3*time.Second, Read{Zone: Zone{At: boot + time.Second, OK: true, Addr: "10.0.1.10", Epoch: 4,
		Owner: "pg-a"}})
	if s.Zone != ours {
		t.Errorf("the record is %+v, want what was written, %+v", s.Zone, ours)
	}
	if at := s.tasks[taskReadRecord].due; at > boot+3*time.Second+guardRetry {
		t.Errorf("read again after %v", at-boot)
	}
	after := Zone{At: boot + 4*time.Second, OK: true, Addr: "10.0.1.10", Epoch: 6, Owner: "pg-a"}
	if s, _ = s.Step(boot+5*time.Second, Read{Zone: after}); s.Zone != after {
		t.Errorf("a read from after the write left %+v", s.Zone)
	}
}

// TestPromotionInPlaceKeepsTheBackoff: an API that fails is no better for the next promotion. It is asked once at once,
// and then as seldom as for the last one: a daemon and a publication by hand beside it else ask more than 60 times a
// minute.
func TestPromotionInPlaceKeepsTheBackoff(t *testing.T) {
	s, now := settled()
	s.Promotion.Published, s.Write.Retry = false, Retry{N: 5, At: now + 20*time.Second, Reason: "server"}
	next := goodCluster(now)
	next.Promotion = "p2"
	s, _ = s.Step(now, ClusterPolled{next})
	if s.Promotion.Claim != "p2" || s.Write.Retry.At > now {
		t.Fatalf("promotion %q, the first attempt waits %v", s.Promotion.Claim, s.Write.Retry.At-now)
	}
	s.Write.InFlight, s.tasks[taskWrite].inFlight = Write{Claim: "p2"}, true
	s.rng = JitterLongest
	s, _ = s.Step(now, Wrote{Reason: "server", Sent: true})
	if got, want := s.Write.Retry.At-now, backoffMax-1; s.Write.Retry.N != 6 || got != want {
		t.Errorf("failure %d of the API in a row waits up to %v, want %v", s.Write.Retry.N, got, want)
	}
	if s.resetPromotion(""); s.Write.Retry != (Retry{}) {
		t.Errorf("a node that is not promoted remembers %+v", s.Write.Retry)
	}
}
