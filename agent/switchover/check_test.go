package switchover

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/pgha/pgha-agent/agent/explain"
	"github.com/pgha/pgha-agent/agent/status"
	"github.com/pgha/pgha-agent/crm"
	"github.com/pgha/pgha-agent/drbd"
)

var noon = time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)

const (
	clone    = "drbd_pg-clone"
	fromAddr = "10.0.1.10"
	toAddr   = "10.0.2.10"
)

func connection(peer string, role drbd.Role) []drbd.DumpConnection {
	return []drbd.DumpConnection{{Name: peer, Connection: "Connected", PeerRole: role, SplitBrain: "none",
		PeerDevices: []drbd.DumpPeerDevice{{Replication: "Established", PeerDisk: "UpToDate"}}}}
}

func statusOf(node, addr string, state status.Publication, role, peerRole drbd.Role) *status.Doc {
	return &status.Doc{
		Node: node, Time: noon, Ready: true, Publication: status.PublicationDoc{State: state},
		Drbd: &drbd.DumpResource{Name: "pg", Role: role, Suspended: []string{},
			Devices: []drbd.DumpDevice{{Disk: "UpToDate"}}, Connections: connection("peer", peerRole)},
		Record:  status.RecordDoc{Name: "db.pgha.internal", OwnAddr: addr, Addr: fromAddr, ResolverAddr: new(fromAddr)},
		Episode: &status.EpisodeDoc{ID: 4, Outcome: "complete"},
	}
}

// cluster is pg-a and pg-b, with pg-a promoted and the database there.
func cluster() *crm.Status {
	node := func(name string) crm.Node {
		return crm.Node{Name: name, Type: "member", Online: crm.Yes, Standby: crm.No, StandbyOnFail: crm.No,
			Maintenance: crm.No, Pending: crm.No, Unclean: crm.No, Shutdown: crm.No}
	}
	resource := func(id, agent, node string, role crm.Role) crm.Resource {
		return crm.Resource{ID: id, Agent: agent, Node: node, Role: role, Managed: crm.Yes, Maintenance: crm.No,
			Blocked: crm.No, Failed: crm.No}
	}
	st := &crm.Status{
		PacemakerVersion: "3.0.0", FencingEnabled: crm.Yes, MaintenanceMode: crm.No,
		Nodes: []crm.Node{node("pg-a"), node("pg-b")},
		Resources: []crm.Resource{
			resource("drbd_pg", "ocf:linbit:drbd", "pg-a", crm.RolePromoted),
			resource("drbd_pg", "ocf:linbit:drbd", "pg-b", crm.RoleUnpromoted),
			resource("pgsql", "ocf:heartbeat:pgsql", "pg-a", crm.RoleStarted),
			resource("fence_b", "stonith:fence_aws", "pg-a", crm.RoleStarted),
		},
		Bans: []crm.Ban{{ID: "fence_b-not-on-target", Resource: "fence_b", Node: "pg-b", Weight: -crm.Infinity}},
	}
	st.Resources[0].Clone, st.Resources[1].Clone = clone, clone
	return st
}

// healthy is seen from pg-b, the standby.
func healthy() Facts {
	return Facts{
		Node: "pg-b", Clone: clone, Now: noon, Cluster: cluster(),
		Config: &crm.Configuration{
			Clones: []crm.Clone{{ID: clone, Promotable: true}}, Groups: []crm.Group{{ID: "g_pg"}},
			Primitives: []crm.Primitive{{ID: "drbd_pg", Type: "drbd", Clone: clone}, {ID: "pgsql", Type: "pgsql", Group: "g_pg"},
				{ID: "web", Type: "nginx"}},
			Colocations: []crm.Colocation{{Resource: "g_pg", With: clone, WithRole: crm.RolePromoted, Score: crm.Infinity}},
		},
		Status: statusOf("pg-b", toAddr, status.PubIdle, drbd.RoleSecondary, drbd.RolePrimary),
		Peer:   statusOf("pg-a", fromAddr, status.PubObserved, drbd.RolePrimary, drbd.RoleSecondary),
	}
}

func TestChecks(t *testing.T) {
	ban := func(id, node string) func(*Facts) {
		return func(f *Facts) {
			f.Cluster.Bans = append(f.Cluster.Bans, crm.Ban{ID: id, Resource: clone, Node: node, Weight: -crm.Infinity})
		}
	}
	location := func(l crm.Location) func(*Facts) {
		return func(f *Facts) { f.Config.Locations = append(f.Config.Locations, l) }
	}
	for name, c := range map[string]struct {
		change       func(*Facts)
		fails, warns []string
	}{
		"healthy": {func(*Facts) {}, nil, nil},
		"no daemon": {func(f *Facts) { f.Status, f.StatusErr = nil, errors.New("refused") },
			[]string{"daemon"}, nil},
		"daemon hangs":        {func(f *Facts) { f.Now = noon.Add(time.Minute) }, []string{"daemon"}, nil},
		"other node's daemon": {func(f *Facts) { f.Status.Node = "pg-a" }, []string{"daemon"}, nil},
		"no Pacemaker": {func(f *Facts) { f.Cluster, f.ClusterErr = nil, errors.New("not connected") },
			[]string{"pacemaker"}, nil},
		"configuration not read": {func(f *Facts) { f.Config, f.ConfigErr = nil, errors.New("denied") },
			[]string{"pacemaker"}, nil},
		"nobody promoted": {func(f *Facts) { f.Cluster.Resources[0].Role = crm.RoleUnpromoted },
			[]string{"one_promoted"}, nil},
		"both promoted": {func(f *Facts) { f.Cluster.Resources[1].Role = crm.RolePromoted },
			[]string{"one_promoted"}, nil},
		"to where it is":       {func(f *Facts) { f.To = "pg-a" }, []string{"one_promoted"}, nil},
		"to an unknown node":   {func(f *Facts) { f.To = "pg-c" }, []string{"one_promoted"}, nil},
		"to the other by name": {func(f *Facts) { f.To = "pg-b" }, nil, nil},
		"target has no instance": {func(f *Facts) { f.Cluster.Resources[1].Role, f.Cluster.Resources[1].Node = crm.RoleStopped, "" },
			[]string{"failures"}, nil},
		"target in standby, by name": {func(f *Facts) {
			f.To, f.Cluster.Nodes[1].Standby = "pg-b", crm.Yes
			f.Cluster.Resources[1].Role, f.Cluster.Resources[1].Node = crm.RoleStopped, ""
		}, []string{"nodes"}, nil},
		"target in standby, its instance stopped": {func(f *Facts) {
			f.Cluster.Nodes[1].Standby = crm.Yes
			f.Cluster.Resources[1].Role, f.Cluster.Resources[1].Node = crm.RoleStopped, ""
		}, []string{"nodes"}, nil},
		"target offline":          {func(f *Facts) { f.Cluster.Nodes[1].Online = crm.No }, []string{"nodes"}, nil},
		"target's state not said": {func(f *Facts) { f.Cluster.Nodes[1].Unclean = crm.Unknown }, []string{"nodes"}, nil},
		"target in standby":       {func(f *Facts) { f.Cluster.Nodes[1].Standby = crm.Yes }, []string{"nodes"}, nil},
		"source unclean":          {func(f *Facts) { f.Cluster.Nodes[0].Unclean = crm.Yes }, []string{"nodes"}, nil},
		"maintenance mode":        {func(f *Facts) { f.Cluster.MaintenanceMode = crm.Yes }, []string{"maintenance"}, nil},
		"node in maintenance": {func(f *Facts) { f.Cluster.Nodes[0].Maintenance = crm.Yes }, []string{"maintenance"},
			nil},
		"database unmanaged": {func(f *Facts) { f.Cluster.Resources[2].Managed = crm.No }, []string{"maintenance"},
			nil},
		"blocked": {func(f *Facts) { f.Cluster.Resources[2].Blocked = crm.Yes }, []string{"failures"}, nil},
		"another resource unmanaged, blocked and failed": {func(f *Facts) {
			web := crm.Resource{ID: "web", Agent: "systemd:nginx", Node: "pg-b", Managed: crm.No, Blocked: crm.Yes, Failed: crm.Yes,
				Pending: "Starting"}
			f.Cluster.Resources = append(f.Cluster.Resources, web)
			f.Cluster.Failures = []crm.Failure{{Node: "pg-b", Resource: "web", Task: "start"}}
			f.Cluster.FailCounts = []crm.FailCount{{Node: "pg-b", Resource: "web", Count: crm.Infinity, Threshold: 1}}
		}, nil, nil},
		"another resource drawn to the source": {location(crm.Location{ID: "web-prefers", Resource: "web", Node: "pg-a", Score: 100}), nil,
			nil},
		"resources by a pattern drawn to the source": {location(crm.Location{ID: "p", Pattern: "web_.*", Node: "pg-a", Score: 100}), nil, nil},
		"the database by a pattern":                  {location(crm.Location{ID: "p", Pattern: "^drbd", Node: "pg-a", Score: 100}), []string{"constraints"}, nil},
		"a PostgreSQL outside on the target":         {func(f *Facts) { f.Status.Postgres.Foreign = true }, []string{"target"}, nil},
		"another record there": {func(f *Facts) {
			f.Status.Config, f.Peer.Config = &status.ConfigDoc{Record: "a"}, &status.ConfigDoc{Record: "b"}
		}, []string{"configuration"}, nil},
		"blocks out of sync": {func(f *Facts) {
			f.Peer.Drbd.Connections[0].Name = "pg-b"
			f.Peer.Drbd.Connections[0].PeerDevices[0].OutOfSyncBytes = new(uint64(4096))
		}, []string{"drbd"}, nil},
		"target paused": {func(f *Facts) { f.Status.Publication.PausedUntil = new(noon.Add(time.Hour)) },
			[]string{"pause"}, nil},
		"source paused": {func(f *Facts) { f.Peer.Publication.PausedUntil = new(noon.Add(time.Hour)) },
			[]string{"pause"}, nil},
		"source's agent away": {func(f *Facts) { f.Peer, f.PeerErr = nil, errors.New("refused") }, nil, nil},
		"failed on the target": {func(f *Facts) {
			f.Cluster.Failures = []crm.Failure{{Node: "pg-b", Resource: "pgsql",
				Task: "start"}}
		}, []string{"failures"}, nil},
		"failed on the source": {func(f *Facts) {
			f.Cluster.Failures = []crm.Failure{{Node: "pg-a", Resource: "pgsql",
				Task: "monitor"}}
		}, nil, []string{"failures_there"}},
		"fail count on the target": {func(f *Facts) {
			f.Cluster.FailCounts = []crm.FailCount{{Node: "pg-b",
				Resource: "drbd_pg", Count: 3, Threshold: 3}}
		}, []string{"failures"}, nil},
		"a smaller fail count": {func(f *Facts) {
			f.Cluster.FailCounts = []crm.FailCount{{Node: "pg-b", Resource: "drbd_pg", Count: 1, Threshold: 3}}
		}, nil, []string{"failures"}},
		"Pacemaker at work": {func(f *Facts) { f.Cluster.Resources[1].Pending = "Stopping" }, []string{"failures"},
			nil},
		"a monitor is no work": {func(f *Facts) { f.Cluster.Resources[1].Pending = "Monitoring" }, nil, nil},
		"fencing under way": {func(f *Facts) {
			f.Cluster.FenceEvents = []crm.FenceEvent{{Target: "pg-a",
				Status: "pending"}}
		}, []string{"fencing"}, nil},
		"fencing disabled": {func(f *Facts) { f.Cluster.FencingEnabled = crm.No }, nil, []string{"fencing_disabled"}},
		"operator's ban":   {ban("cli-ban-drbd_pg-clone-on-pg-b", "pg-b"), []string{"constraints"}, nil},
		"DRBD's ban": {ban("drbd-fence-by-handler-pg-rule-drbd_pg-clone", "pg-b"), []string{"constraints"},
			nil},
		"ban of the source": {ban("cli-ban-drbd_pg-clone-on-pg-a", "pg-a"), nil, nil},
		"source is preferred": {location(crm.Location{ID: "home", Resource: clone, Node: "pg-a", Score: 50}),
			[]string{"constraints"}, nil},
		"target is preferred": {location(crm.Location{ID: "home", Resource: clone, Node: "pg-b", Score: 50}), nil, nil},
		"another switchover": {location(crm.Location{ID: Prefix + clone, Resource: clone, Node: "pg-a",
			Score: crm.Infinity, Until: noon.Add(time.Minute)}), []string{"leftover"}, nil},
		"an expired one": {location(crm.Location{ID: Prefix + clone, Resource: clone, Node: "pg-a",
			Score: crm.Infinity, Until: noon}), nil, nil},
		"glued": {func(f *Facts) { f.Config.InfiniteStickiness = []string{"rsc-defaults"} },
			[]string{"stickiness"}, nil},
		"DRBD unknown": {func(f *Facts) { f.Status.Drbd = nil }, []string{"drbd"}, nil},
		"not connected": {func(f *Facts) { f.Status.Drbd.Connections[0].Connection = "Connecting" },
			[]string{"drbd"}, nil},
		"no connection": {func(f *Facts) { f.Status.Drbd.Connections = nil }, []string{"drbd"}, nil},
		"peer's disk lost": {func(f *Facts) { f.Status.Drbd.Connections[0].PeerDevices[0].PeerDisk = "Diskless" },
			[]string{"drbd"}, nil},
		"own disk behind": {func(f *Facts) { f.Status.Drbd.Devices[0].Disk = "Inconsistent" }, []string{"drbd"},
			nil},
		"resync": {func(f *Facts) {
			f.Status.Drbd.Connections[0].PeerDevices[0].Replication =
				"SyncTarget"
		}, []string{"drbd"}, nil},
		"suspended": {func(f *Facts) { f.Status.Drbd.Suspended = []string{"fencing"} }, []string{"drbd"}, nil},
		"split brain suspected": {func(f *Facts) { f.Status.Drbd.Connections[0].SplitBrain = "suspected" },
			[]string{"drbd"}, nil},
		"open episode":       {func(f *Facts) { f.Status.Episode.Outcome = "open" }, []string{"episode"}, nil},
		"open episode there": {func(f *Facts) { f.Peer.Episode.Outcome = "open" }, []string{"episode"}, nil},
		"no episode yet":     {func(f *Facts) { f.Status.Episode = nil }, nil, nil},
		"record held":        {func(f *Facts) { f.Peer.Publication.State = status.PubHeld }, []string{"record"}, nil},
		"critical finding": {func(f *Facts) {
			f.Status.Problems = []status.Problem{{Code: "source_drbd",
				Severity: status.Critical}}
		}, []string{"record"}, nil},
		"API away on the target": {func(f *Facts) {
			f.Status.Problems = []status.Problem{{Code: "source_route53", Severity: status.Warning}}
		}, []string{"record"}, nil},
		"warnings do not refuse": {func(f *Facts) {
			f.Status.Problems = []status.Problem{{Code: "http",
				Severity: status.Warning}}
		}, nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			f := healthy()
			c.change(&f)
			p := MakePlan(f)
			var fails, warns []string
			for _, check := range p.Checks {
				switch check.Verdict {
				case Fail:
					fails = append(fails, check.Name)
				case Warn:
					warns = append(warns, check.Name)
				case OK:
				}
				if check.Text == "" || check.Verdict == Fail && check.Remedy == "" {
					t.Errorf("%s says nothing: %+v", check.Name, check)
				}
			}
			if !slices.Equal(fails, c.fails) || !slices.Equal(warns, c.warns) {
				t.Errorf("fails %v, want %v; warns %v, want %v", fails, c.fails, warns, c.warns)
			}
			if len(c.fails) == 0 && (p.From != "pg-a" || p.To != "pg-b" || p.Address != fromAddr || p.Next != toAddr ||
				len(p.Steps) == 0) {
				t.Errorf("plan %+v", p)
			}
		})
	}
}

func TestPlanSeenFromThePromotedNode(t *testing.T) {
	f := healthy()
	f.Node, f.Clone = "pg-a", "drbd_pg" // the configuration may name the primitive
	f.Status, f.Peer = f.Peer, f.Status
	p := MakePlan(f)
	if len(p.Refused()) > 0 || p.To != "pg-b" || p.Next != toAddr || p.Clone != clone || p.lastEpisode != 4 {
		t.Errorf("plan %+v", p)
	}
	f.Peer, f.PeerErr = nil, errors.New("refused")
	p = MakePlan(f)
	if len(p.Refused()) > 0 || p.Next != "" ||
		!slices.ContainsFunc(p.Checks, func(c Check) bool { return c.Name == "peer_agent" && c.Verdict == Warn }) {
		t.Errorf("plan %+v", p)
	}
}

func TestAnExpiredConstraintIsRemovedFirst(t *testing.T) {
	f := healthy()
	f.Config.Locations = []crm.Location{{ID: Prefix + clone, Node: "pg-a", Until: noon.Add(-time.Hour)}}
	if p := MakePlan(f); !slices.Equal(p.Stale, []string{Prefix + clone}) {
		t.Errorf("stale %v", p.Stale)
	}
}

// TestEveryReasonHasItsCheck: what forbids a failover forbids a move.
func TestEveryReasonHasItsCheck(t *testing.T) {
	for _, code := range explain.ReasonCodes {
		if checkOf[code] == "" {
			t.Errorf("%s belongs to no check", code)
		}
	}
}
