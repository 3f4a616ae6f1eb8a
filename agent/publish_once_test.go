package agent

import (
	"testing"
	"time"

	"github.com/pgha/pgha-agent/agent/fsm"
	"github.com/pgha/pgha-agent/agent/internal/statetest"
)

// TestPublishOnceWaitsForTheLookThatShowsThePromotion: the journal tells of an earlier one, which ended while no daemon
// ran. The alert may come before crm_mon shows the promotion that it is about.
func TestPublishOnceWaitsForTheLookThatShowsThePromotion(t *testing.T) {
	for name, contested := range map[string]bool{"published before": false, "contested before": true} {
		dir, clock := t.TempDir(), newTestClock()
		a := agentOn(t, dir, "boot", clock)
		record := a.state.Config.Record
		a.close()
		j, _ := statetest.Open(t, dir)
		e := statetest.Entry(3)
		e.Boot, e.Episode.Promotion, e.Episode.Outcome = "boot", "p1", fsm.OutcomeComplete
		m := &e.Episode.Memory
		m.Base, m.Record, m.Addr, m.Epoch, m.Contested = record, record, "127.0.2.10", 5, contested
		statetest.Append(t, j, e)
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
		a = agentOn(t, dir, "boot", clock)
		if st := &a.state; st.Promotion.Claim != "p1" || !st.Promotion.Published || st.Promotion.Contested != contested {
			t.Fatalf("promotion %q, published %v, contested %v", st.Promotion.Claim, st.Promotion.Published,
				st.Promotion.Contested)
		}
		done := false
		a.onStep = a.untilSettled(t.Context(), func() { done = true })
		now := a.clock.Boot()
		look := fsm.Cluster{At: now, OK: true, Online: true, FencingEnabled: true, PeerCount: 1}
		look.Peers[0] = fsm.Peer{Name: "pg-a"}
		drbd := fsm.Drbd{At: now, Live: true, UpToDate: true, Primary: true}
		theirs := fsm.Zone{At: now, OK: true, Addr: "127.0.1.10", Epoch: 6, Owner: "pg-a", Claim: "c1", Raw: "raw6"}
		for _, ev := range []fsm.Event{fsm.DrbdChanged{Drbd: drbd}, fsm.Read{Zone: theirs},
			fsm.ClusterPolled{Cluster: look}} {
			a.step(t.Context(), message{event: ev})
		}
		if done {
			t.Errorf("%s: ended before the promotion was seen", name)
		}
		clock.advance(time.Second, time.Second, time.Second)
		look.At, look.PromotedHere, look.PromotedCount, look.Promotion = clock.Boot(), true, 1, "p2"
		a.step(t.Context(), message{event: fsm.ClusterPolled{Cluster: look}})
		a.step(t.Context(), message{event: fsm.Wrote{ChangeID: "C1", Sent: true}})
		if !done || !a.state.Promotion.Published || a.state.Promotion.Claim != "p2" {
			t.Errorf("%s: promotion %q, published %v, done %v", name, a.state.Promotion.Claim, a.state.Promotion.Published, done)
		}
	}
}
