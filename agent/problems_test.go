package agent

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/pgha/pgha-agent/agent/fsm"
	"github.com/pgha/pgha-agent/agent/status"
	"github.com/pgha/pgha-agent/crm"
)

// slowMon is a crm_mon that takes a while of the test's time.
type slowMon struct {
	clock *testClock
	took  time.Duration
	st    *crm.Status
	err   error
}

func (m *slowMon) Look(context.Context) (*crm.Status, error) {
	m.clock.advance(m.took, m.took, m.took)
	return m.st, m.err
}

// TestHelpIsExact: what holds this node back, or is about to, is said with its cause, and the remedy is for that cause.
func TestHelpIsExact(t *testing.T) {
	lose := func(a *Agent, events ...crm.FenceEvent) {
		a.observed.Crm.Nodes[0].Online, a.observed.Crm.FenceEvents, a.observed.Crm.DC = crm.No, events, "pg-b"
		a.state.Cluster.Peers[0].Online = false
		a.state.Peers.Lost[0] = fsm.LostPeer{Name: "pg-a"}
	}
	look := func(took time.Duration, err error) func(*Agent, *testClock) {
		return func(a *Agent, c *testClock) {
			a.src.Crm = &slowMon{c, took, a.observed.Crm, err}
			a.step(t.Context(), a.pollCluster(t.Context()))
		}
	}
	const history = "stonith_admin --history '*'"
	for name, x := range map[string]struct {
		given          func(*Agent, *testClock)
		code, severity string // of the finding; "-" is not there
		text, remedy   string // parts of them
	}{
		"a quick look":      {look(100*time.Millisecond, nil), "crm_slow", "-", "", ""},
		"half of the bound": {look(fsm.MaxClusterAge/2, nil), "crm_slow", "-", "", ""},
		"a slow look":       {look(3*time.Second, nil), "crm_slow", status.Warning, "crm_mon takes 3s", "time crm_mon -1"},
		"the bound": {look(fsm.MaxClusterAge, nil), "crm_slow", status.Warning, "crm_mon takes 5s",
			"time crm_mon -1"},
		"too slow": {look(7*time.Second, nil), "crm_slow", status.Critical,
			"young enough to publish by: crm_mon takes 7s", "time crm_mon -1"},
		"never in time": {look(10*time.Second, context.DeadlineExceeded), "crm_slow", status.Critical,
			"crm_mon takes 10s", "time crm_mon -1"},
		"held by it": {look(7*time.Second, nil), "held_crm_unknown", status.Critical, "crm_mon takes 7s",
			"time crm_mon -1"},
		"held by another": {
			look(time.Second, &crm.ExitError{Command: "crm_mon", Code: 102}), "held_crm_unknown", status.Critical,
			"no fresh answer", "systemctl status pacemaker",
		},
		"stalled": {
			func(a *Agent, _ *testClock) { a.step(t.Context(), message{event: fsm.Stalled{}}) },
			"held_stalled", status.Critical, "nothing is written for 30 s more", "wait",
		},
		"fencing failed": {
			func(a *Agent, _ *testClock) {
				lose(a, crm.FenceEvent{Target: "pg-a", Action: "off", Status: "success", Completed: testWall}) // of an earlier loss
			},
			"held_peer_unfenced", status.Critical,
			"no fencing has succeeded since; the one that the history shows may be from before", "--confirm pg-a",
		},
		"not in the history": {
			func(a *Agent, _ *testClock) { lose(a, crm.FenceEvent{Target: "pg-a", Action: "off", Status: "failed"}) },
			"held_peer_unfenced", status.Critical, "shows no fencing of it",
			"only when pg-a is off for certain (EC2 says stopped), `stonith_admin --confirm pg-a`",
		},
		"no history": {
			func(a *Agent, _ *testClock) {
				lose(a)
				a.observed.Crm.FenceHistoryError = "102"
			},
			"held_peer_unfenced", status.Critical, "cannot be seen: crm_mon cannot read the fencing history (code 102)",
			"--confirm is not seen either",
		},
		"no history before": {
			func(a *Agent, _ *testClock) { a.observed.Crm.DC, a.observed.Crm.FenceHistoryError = "pg-b", "102" },
			"fence_history", status.Warning, "would not be seen", history,
		},
		"no history and no fencing": {
			func(a *Agent, _ *testClock) {
				a.observed.Crm.DC, a.observed.Crm.FenceHistoryError = "pg-b", "102"
				a.state.Cluster.FencingEnabled = false
			},
			"fence_history", "-", "", "",
		},
		"a cluster that forms": {
			func(a *Agent, _ *testClock) { a.observed.Crm.DC, a.observed.Crm.FenceHistoryError = "", "102" }, "fence_history",
			"-", "", "",
		},
	} {
		t.Run(name, func(t *testing.T) {
			a, clock, _ := promotedAgent(t)
			a.start = func(func()) {} // nothing is asked
			x.given(a, clock)
			a.publish(clock.Boot())
			var got *status.Problem
			problems := a.Snapshot().Problems()
			for i := range problems {
				if problems[i].Code == x.code {
					got = &problems[i]
				}
			}
			switch {
			case x.severity == "-" && got != nil:
				t.Errorf("found %+v", *got)
			case x.severity == "-":
			case got == nil:
				t.Errorf("no %s among %+v", x.code, problems)
			case got.Severity != x.severity || !strings.Contains(got.Text, x.text) || !strings.Contains(got.Remedy, x.remedy):
				t.Errorf("%+v, want %s, %q, %q", *got, x.severity, x.text, x.remedy)
			}
			// The same words are in the document that status and explain show.
			for _, h := range a.Snapshot().Doc().Publication.Holds {
				if "held_"+h.Name == x.code && (!strings.Contains(h.Text, x.text) || !strings.Contains(h.Remedy, x.remedy)) {
					t.Errorf("hold %+v, want %q, %q", h, x.text, x.remedy)
				}
			}
		})
	}
}

func TestStatusSaysHowLongALookTook(t *testing.T) {
	a, clock, _ := promotedAgent(t)
	a.start = func(func()) {}
	a.src.Crm = &slowMon{clock, 7 * time.Second, a.observed.Crm, nil}
	a.step(t.Context(), a.pollCluster(t.Context()))
	if got := a.Snapshot().Doc().Cluster.LookSeconds; got != 7 {
		t.Errorf("%v s, want 7", got)
	}
}
