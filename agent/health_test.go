package agent

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/common/expfmt"

	"github.com/pgha/pgha-agent/agent/fsm"
	"github.com/pgha/pgha-agent/crm"
)

func findings(a *Agent) (codes []string) {
	for _, f := range a.Problems(a.Snapshot()) {
		codes = append(codes, f.Code+" "+f.Severity)
	}
	return codes
}

func TestPeerThatIsLostAndNotFencedIsAFinding(t *testing.T) {
	a := bareAgent(t)
	if slices.Contains(findings(a), "peer_unclean critical") {
		t.Error("a healthy peer is unclean")
	}
	for i, n := range a.details.Crm.Nodes {
		if n.Name != "pg-b" {
			a.details.Crm.Nodes[i].Unclean = crm.Yes
		}
	}
	a.publish(a.clock.Boot())
	if got := findings(a); !slices.Contains(got, "peer_unclean critical") {
		t.Errorf("findings: %v", got)
	}
}

// DRBD 8.4 destroys a connection that goes StandAlone: the alerts on it and on a split brain must still have something to look at.
func TestSplitBrainWithoutAConnectionIsInTheMetrics(t *testing.T) {
	a := bareAgent(t)
	a.details.Drbd.Status.Resources[0].Connections = nil
	a.state.Drbd.Connected, a.state.Drbd.SplitBrain = false, true
	a.publish(a.clock.Boot())
	if got := findings(a); !slices.Contains(got, "split_brain critical") || slices.Contains(got, "drbd_disconnected warning") {
		t.Errorf("findings: %v", got)
	}
	want := func(name, line string) {
		t.Helper()
		out, err := testutil.CollectAndFormat(a.metrics.registry, expfmt.TypeTextPlain, name)
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

// TestThirdNodeThatIsDown is a tiebreaker, or a copy elsewhere: the other node of the cluster gets the data, and can take over.
func TestThirdNodeThatIsDown(t *testing.T) {
	const now = time.Hour
	peer := fsm.Connection{Name: "pg-a", Connected: true}
	s := &Snapshot{At: now, State: fsm.State{
		Cluster: fsm.Cluster{At: now, OK: true, Online: true, PeerCount: 1, Peers: [fsm.MaxPeers]fsm.Peer{{Name: "pg-a", Online: true}}},
		Drbd:    fsm.Drbd{At: now, Live: true, UpToDate: true, Connections: [fsm.MaxConnections]fsm.Connection{peer, {Name: "tiebreaker"}}},
	}}
	say := func() string {
		for _, p := range bareAgent(t).Problems(s) {
			if p.Code == "drbd_disconnected" {
				return p.Text
			}
		}
		return ""
	}
	if text := say(); !isStandby(s, now) || !strings.Contains(text, "outside the cluster") {
		t.Errorf("standby %t, %q", isStandby(s, now), text)
	}
	s.State.Drbd.Connections[0].Connected, s.State.Drbd.Connections[1].Connected = false, true
	if text := say(); isStandby(s, now) || !strings.Contains(text, "the other node does not get the data") {
		t.Errorf("standby %t, %q", isStandby(s, now), text)
	}
}

// TestRepairThatIsHeldBackSaysWhy: the finding of a drift sends the operator to what holds publication back.
func TestRepairThatIsHeldBackSaysWhy(t *testing.T) {
	a := bareAgent(t)
	a.state.Cluster.Maintenance, a.state.Promotion, a.state.Published, a.state.Repairing = true, "claim", true, true
	a.publish(a.clock.Boot())
	if got := findings(a); !slices.Contains(got, "held_maintenance critical") {
		t.Errorf("findings: %v", got)
	}
	if holds := a.Status(a.Snapshot()).Publication.Holds; !slices.ContainsFunc(holds, func(h HoldDoc) bool { return h.Name == "maintenance" }) {
		t.Errorf("holds: %v", holds)
	}
}

// TestDriftFindingSaysWhoDoesWhat: what the operator reads depends on what the agent does about it.
func TestDriftFindingSaysWhoDoesWhat(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*fsm.State)
		text   string
		remedy string
	}{
		"edited":    {func(*fsm.State) {}, `holds "10.9.9.9"`, "publish --once"},
		"repairing": {func(s *fsm.State) { s.Repairing = true }, "being written again", "nothing, unless"},
		"fought":    {func(s *fsm.State) { s.Fights = true }, "changed again within ten minutes", "CloudTrail"},
		"alias":     {func(s *fsm.State) { s.Zone.OK, s.Zone.Refused = false, true }, "not a simple record", "by hand"},
	} {
		t.Run(name, func(t *testing.T) {
			s := fsm.State{Zone: fsm.Zone{OK: true, Addr: "10.9.9.9", Owner: "pg-b"}}
			c.change(&s)
			if f := driftFinding(&s); f.Code != "record_drift" || !strings.Contains(f.Text, c.text) || !strings.Contains(f.Remedy, c.remedy) {
				t.Errorf("%+v", f)
			}
		})
	}
}
