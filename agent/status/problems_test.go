package status

import (
	"go/ast"
	"go/parser"
	"go/token"
	"strings"
	"testing"
	"time"

	"github.com/pgha/pgha-agent/agent/config"
	"github.com/pgha/pgha-agent/agent/fsm"
	"github.com/pgha/pgha-agent/agent/internal/codetest"
	"github.com/pgha/pgha-agent/crm"
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

// TestEveryProblemHasARemedy reads the source: each problem says what to do about it, whatever state shows it.
func TestEveryProblemHasARemedy(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "problems.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	codes, sites := []string{}, 0
	site := func(args []ast.Expr, code, remedy int) {
		sites++
		if lit, ok := args[code].(*ast.BasicLit); ok {
			codes = append(codes, lit.Value)
		}
		if lit, ok := args[remedy].(*ast.BasicLit); ok && lit.Value == `""` {
			t.Errorf("problem %s has no remedy", codes[len(codes)-1])
		}
	}
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.CallExpr:
			if name, ok := n.Fun.(*ast.Ident); ok && name.Name == "add" {
				site(n.Args, 1, 4)
			}
		case *ast.CompositeLit:
			if name, ok := n.Type.(*ast.Ident); ok && name.Name == "Problem" {
				site(n.Elts, 0, 3)
			}
		}
		return true
	})
	if sites < 25 || len(codes) < 20 {
		t.Errorf("%d places, codes %v: is that all?", sites, codes)
	}
	for src, remedy := range sourceRemedies {
		if remedy == "" && Source(src) != SourceClient {
			t.Errorf("source_%s has no remedy", Source(src))
		}
	}
}

// TestRemediesNameWhatIsThere: a node and a fence device that are known are filled in.
func TestRemediesNameWhatIsThere(t *testing.T) {
	node := func(name string, online, unclean crm.Tri) crm.Node {
		return crm.Node{Name: name, Online: online, Unclean: unclean}
	}
	s := &Snapshot{Config: &config.Config{}, Crm: &crm.Status{DC: "pg-a", Nodes: []crm.Node{node("pg-a", crm.Yes, crm.No),
		node("pg-b", crm.No, crm.Yes)}, Resources: []crm.Resource{{ID: "fence-b", Agent: "stonith:fence_aws"}, {ID: "pgsql"}}}}
	s.State.Peers.Lost[0].Name = "pg-b"
	want := func(h fsm.Hold, words string) {
		t.Helper()
		if d := s.HoldDoc(h); !strings.Contains(d.Remedy, words) {
			t.Errorf("%s: %q, want %q", h, d.Remedy, words)
		}
	}
	want(fsm.HoldPeerUnclean, "`crm_resource --cleanup --resource fence-b`")
	want(fsm.HoldPeerUnfenced, "`stonith_admin --confirm pg-b`")
	s.Crm.FenceEvents = []crm.FenceEvent{{Target: "pg-b", Action: "off", Status: "pending"}}
	want(fsm.HoldPeerUnclean, "wait for the fencing that is under way")
	s.Crm.FenceEvents[0].Status = "success"
	want(fsm.HoldPeerUnfenced, "`stonith_admin --confirm pg-b`")
	s.Crm = nil
	for _, h := range fsm.AllHolds() {
		d := s.HoldDoc(h)
		for _, c := range append(codetest.Quoted(d.Remedy), HoldOf(h).Command) {
			if codetest.Vague(c) {
				t.Errorf("%s: %q is not complete", h, c)
			}
		}
	}
}

// TestDrbdThatPacemakerStopped: a DRBD that is down is a fault of its own only where Pacemaker wants it up.
func TestDrbdThatPacemakerStopped(t *testing.T) {
	instance := func(node string, role crm.Role) crm.Resource {
		return crm.Resource{ID: "drbd", Clone: "drbd-clone", Node: node, Role: role}
	}
	there := instance("pg-a", crm.RolePromoted)
	for name, c := range map[string]struct {
		instances []crm.Resource
		standby   bool
		ok        bool
		want      string
	}{
		"up":                   {[]crm.Resource{there, instance("pg-b", crm.RoleUnpromoted)}, false, true, Critical},
		"in standby":           {[]crm.Resource{there}, true, true, Warning},
		"kept away":            {[]crm.Resource{there}, false, true, Warning},
		"stopped":              {[]crm.Resource{there, instance("", crm.RoleStopped)}, false, true, Warning},
		"no such clone":        {nil, false, true, Critical},
		"Pacemaker is unknown": {[]crm.Resource{there}, false, false, Critical},
	} {
		s := &Snapshot{Config: &config.Config{}, Crm: &crm.Status{Resources: c.instances}}
		s.Config.Node.Name, s.Config.Cluster.Promotable = "pg-b", "drbd-clone"
		s.State.Cluster.OK, s.State.Cluster.Standby = c.ok, c.standby
		s.Sources[SourceDrbd].Err = "no such resource"
		got := ""
		for _, p := range s.Problems() {
			if p.Code == "source_drbd" {
				got = p.Severity
			}
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}
