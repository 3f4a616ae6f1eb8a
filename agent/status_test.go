package agent

import (
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/common/expfmt"

	"github.com/pgha/pgha-agent/agent/status"
	"github.com/pgha/pgha-agent/crm"
)

func findings(a *Agent) (codes []string) {
	for _, f := range a.Snapshot().Problems() {
		codes = append(codes, f.Code+" "+f.Severity)
	}
	return codes
}

func TestPeerThatIsLostAndNotFencedIsAFinding(t *testing.T) {
	a := bareAgent(t)
	if slices.Contains(findings(a), "peer_unclean critical") {
		t.Error("a healthy peer is unclean")
	}
	for i, n := range a.observed.Crm.Nodes {
		if n.Name != "pg-b" {
			a.observed.Crm.Nodes[i].Unclean = crm.Yes
		}
	}
	a.publish(a.clock.Boot())
	if got := findings(a); !slices.Contains(got, "peer_unclean critical") {
		t.Errorf("findings: %v", got)
	}
}

// DRBD 8.4 destroys a connection that goes StandAlone: the alerts on it and on a split brain must still have something
// to look at.
func TestSplitBrainWithoutAConnectionIsInTheMetrics(t *testing.T) {
	a := bareAgent(t)
	a.observed.Drbd.Status.Resources[0].Connections = nil
	a.state.Drbd.Connected, a.state.Drbd.SplitBrain = false, true
	a.publish(a.clock.Boot())
	if got := findings(a); !slices.Contains(got, "split_brain critical") ||
		slices.Contains(got, "drbd_disconnected warning") {
		t.Errorf("findings: %v", got)
	}
	want := func(name, line string) {
		t.Helper()
		out, err := testutil.CollectAndFormat(a.metrics.Registry, expfmt.TypeTextPlain, name)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(out), line) {
			t.Errorf("without %q:\n%s", line, out)
		}
	}
	want("pgha_drbd_split_brain", `pgha_drbd_split_brain{peer="peer",state="latched"} 1`)
	want("pgha_drbd_connection", `pgha_drbd_connection{peer="peer",state="StandAlone"} 1`)

	a.state.Drbd.SplitBrain = false
	a.publish(a.clock.Boot())
	if got := findings(a); !slices.Contains(got, "drbd_disconnected warning") {
		t.Errorf("findings: %v", got)
	}
}

// TestRepairThatIsHeldBackSaysWhy: the finding of a drift sends the operator to what holds publication back.
func TestRepairThatIsHeldBackSaysWhy(t *testing.T) {
	a := bareAgent(t)
	a.state.Cluster.Maintenance, a.state.Promotion.Claim, a.state.Promotion.Published, a.state.Repair.Pending = true,
		"claim", true, true
	a.publish(a.clock.Boot())
	if got := findings(a); !slices.Contains(got, "held_maintenance critical") {
		t.Errorf("findings: %v", got)
	}
	if holds := a.Snapshot().Doc().Publication.Holds; !slices.ContainsFunc(holds,
		func(h status.HoldDoc) bool { return h.Name == "maintenance" }) {
		t.Errorf("holds: %v", holds)
	}
}
