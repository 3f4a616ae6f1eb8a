package status

import (
	"strings"
	"testing"
	"time"

	"github.com/pgha/pgha-agent/agent/config"
	"github.com/pgha/pgha-agent/agent/fsm"
)

// TestThirdNodeThatIsDown is a tiebreaker, or a copy elsewhere: the other node of the cluster gets the data, and can
// take over.
func TestThirdNodeThatIsDown(t *testing.T) {
	const now = time.Hour
	peer := fsm.Connection{Name: "pg-a", Connected: true}
	s := &Snapshot{Config: &config.Config{}, At: now, State: fsm.State{
		Cluster: fsm.Cluster{At: now, OK: true, Online: true, PeerCount: 1,
			Peers: [fsm.MaxPeers]fsm.Peer{{Name: "pg-a", Online: true}}},
		Drbd: fsm.Drbd{At: now, Live: true, UpToDate: true,
			Connections: [fsm.MaxConnections]fsm.Connection{peer, {Name: "tiebreaker"}}},
	}}
	say := func() string {
		for _, p := range s.Problems() {
			if p.Code == "drbd_disconnected" {
				return p.Text
			}
		}
		return ""
	}
	if text := say(); !s.IsStandby(now) || !strings.Contains(text, "outside the cluster") {
		t.Errorf("standby %t, %q", s.IsStandby(now), text)
	}
	members := &s.State.Cluster
	members.Peers[1], members.PeerCount = fsm.Peer{Name: "tiebreaker", Online: true}, 2
	if text := say(); s.IsStandby(now) || !strings.Contains(text, "connected to pg-a, and not to another node") {
		t.Errorf("nobody Primary: standby %t, %q", s.IsStandby(now), text)
	}
	s.State.Drbd.Connections[0].Primary = true
	if !s.IsStandby(now) {
		t.Error("the Primary's data come here, and it is no standby")
	}
	members.PeerCount, s.State.Drbd.Connections[0].Primary = 1, false
	s.State.Drbd.Connections[0].Connected, s.State.Drbd.Connections[1].Connected = false, true
	if text := say(); s.IsStandby(now) || !strings.Contains(text, "the other node does not get the data") {
		t.Errorf("standby %t, %q", s.IsStandby(now), text)
	}
}

// TestDriftProblemSaysWhoDoesWhat: what the operator reads depends on what the agent does about it.
func TestDriftProblemSaysWhoDoesWhat(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*fsm.State)
		text   string
		remedy string
	}{
		"edited":    {func(*fsm.State) {}, `holds "10.9.9.9"`, "publish --once"},
		"repairing": {func(s *fsm.State) { s.Repair.Pending = true }, "being written again", "nothing, unless"},
		"fought":    {func(s *fsm.State) { s.Repair.GivenUp = true }, "changed again within ten minutes", "CloudTrail"},
		"alias":     {func(s *fsm.State) { s.Zone.OK, s.Zone.Refused = false, true }, "not a simple record", "by hand"},
	} {
		t.Run(name, func(t *testing.T) {
			s := fsm.State{Zone: fsm.Zone{OK: true, Addr: "10.9.9.9", Owner: "pg-b"}}
			c.change(&s)
			if f := driftProblem(&s); f.Code != "record_drift" || !strings.Contains(f.Text, c.text) ||
				!strings.Contains(f.Remedy, c.remedy) {
				t.Errorf("%+v", f)
			}
		})
	}
}
