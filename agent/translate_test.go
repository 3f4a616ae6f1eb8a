package agent

import (
	"testing"
	"time"

	"github.com/pgha/pgha-agent/agent/fsm"
	"github.com/pgha/pgha-agent/crm"
	"github.com/pgha/pgha-agent/drbd"
)

var (
	testID   = identity{boot: "boot", node: "pg-b", clone: "drbd_pg-clone"}
	testWall = time.Date(2026, 11, 23, 2, 0, 0, 0, time.UTC)
)

// healthyStatus is pg-b promoted, pg-a a good standby.
func healthyStatus() *crm.Status {
	node := func(name string) crm.Node {
		return crm.Node{Name: name, Type: "member", Online: crm.Yes, Standby: crm.No, StandbyOnFail: crm.No,
			Maintenance: crm.No, Pending: crm.No, Unclean: crm.No}
	}
	inst := func(node string, role crm.Role) crm.Resource {
		return crm.Resource{ID: "drbd_pg", Agent: "ocf:linbit:drbd", Node: node, Clone: "drbd_pg-clone", Promotable: true,
			Role: role, Managed: crm.Yes, Maintenance: crm.No}
	}
	return &crm.Status{
		Quorum: crm.Yes, FencingEnabled: crm.Yes, MaintenanceMode: crm.No,
		Nodes: []crm.Node{node("pg-a"), node("pg-b")},
		Resources: []crm.Resource{
			inst("pg-a", crm.RoleUnpromoted), inst("pg-b", crm.RolePromoted),
			{ID: "fs", Agent: "ocf:heartbeat:Filesystem", Node: "pg-b", Role: crm.RoleStarted, Managed: crm.Yes},
		},
		Operations: []crm.Operation{{Node: "pg-b", Resource: "drbd_pg", Task: "promote", Call: 37, RC: 0,
			LastChange: testWall}},
	}
}

func TestClusterFactsTakeWhatIsNotSaidForTheWorse(t *testing.T) {
	facts := func(change func(*crm.Status)) fsm.Cluster {
		st := healthyStatus()
		change(st)
		return clusterFacts(st, testID, 7, testWall)
	}
	good := facts(func(*crm.Status) {})
	if !good.Online || good.Unclean || good.Standby || good.Pending || good.Maintenance || !good.FencingEnabled ||
		!good.PromotedHere ||
		good.PromotedCount != 1 || good.ActionPending || good.Promotion == "" || !good.FilesystemHere ||
		good.PeerCount != 1 || good.OperatorMove || good.PeerFailed {
		t.Fatalf("healthy cluster: %+v", good)
	}
	here := func(s *crm.Status) *crm.Resource { return &s.Resources[1] }
	for name, c := range map[string]struct {
		change func(*crm.Status)
		ok     func(fsm.Cluster) bool
	}{
		"node missing": {func(s *crm.Status) { s.Nodes = s.Nodes[:1] },
			func(c fsm.Cluster) bool { return !c.Online && c.Unclean && c.Standby && c.Pending }},
		"online not said": {func(s *crm.Status) { s.Nodes[1].Online = crm.Unknown },
			func(c fsm.Cluster) bool { return !c.Online }},
		"unclean not said": {func(s *crm.Status) { s.Nodes[1].Unclean = crm.Unknown },
			func(c fsm.Cluster) bool { return c.Unclean }},
		"standby on fail": {func(s *crm.Status) { s.Nodes[1].StandbyOnFail = crm.Yes },
			func(c fsm.Cluster) bool { return c.Standby }},
		"maintenance not said": {func(s *crm.Status) { s.MaintenanceMode = crm.Unknown },
			func(c fsm.Cluster) bool { return c.Maintenance }},
		"node in maintenance": {func(s *crm.Status) { s.Nodes[1].Maintenance = crm.Yes },
			func(c fsm.Cluster) bool { return c.Maintenance }},
		"clone unmanaged": {func(s *crm.Status) { here(s).Managed = crm.No },
			func(c fsm.Cluster) bool { return c.Maintenance }},
		"clone in maintenance": {func(s *crm.Status) { here(s).Maintenance = crm.Yes },
			func(c fsm.Cluster) bool { return c.Maintenance }},
		"fencing not said": {func(s *crm.Status) { s.FencingEnabled = crm.Unknown },
			func(c fsm.Cluster) bool { return c.FencingEnabled }},
		"fencing off": {func(s *crm.Status) { s.FencingEnabled = crm.No },
			func(c fsm.Cluster) bool { return !c.FencingEnabled }},
		"two promoted": {func(s *crm.Status) { s.Resources[0].Role = crm.RolePromoted }, func(c fsm.Cluster) bool {
			return c.PromotedCount == 2 && c.PromotedPeer == "pg-a" && c.Peers[0].Promoted
		}},
		"demote pending": {func(s *crm.Status) { here(s).Pending = "Demoting" },
			func(c fsm.Cluster) bool { return c.ActionPending }},
		"monitor pending": {func(s *crm.Status) { here(s).Pending = "Monitoring" },
			func(c fsm.Cluster) bool { return !c.ActionPending }},
		"promoting": {func(s *crm.Status) { here(s).Role = crm.RolePromoting },
			func(c fsm.Cluster) bool { return !c.PromotedHere && c.ActionPending && c.Promoting }},
		"history erased": {func(s *crm.Status) { s.Operations = nil },
			func(c fsm.Cluster) bool { return c.PromotedHere && c.Promotion == "" }},
		"peer unclean not said": {func(s *crm.Status) { s.Nodes[0].Unclean = crm.Unknown },
			func(c fsm.Cluster) bool { return c.Peers[0].Unclean }},
		"peer lost": {func(s *crm.Status) { s.Nodes[0].Online = crm.No },
			func(c fsm.Cluster) bool { return !c.Peers[0].Online }},
		"remote node is no peer": {func(s *crm.Status) { s.Nodes[0].Type = "remote" },
			func(c fsm.Cluster) bool { return c.PeerCount == 0 }},
		"peer promoted": {func(s *crm.Status) { s.Resources[0].Role = crm.RolePromoted },
			func(c fsm.Cluster) bool { return c.Peers[0].Promoted && !c.Peers[0].ChangingRole }},
		"peer promoting": {func(s *crm.Status) { s.Resources[0].Role = crm.RolePromoting },
			func(c fsm.Cluster) bool { return !c.Peers[0].Promoted && c.Peers[0].ChangingRole }},
		"peer's demote pending": {func(s *crm.Status) { s.Resources[0].Pending = "Demoting" },
			func(c fsm.Cluster) bool { return c.Peers[0].ChangingRole }},
		"peer monitored": {func(s *crm.Status) { s.Resources[0].Pending = "Monitoring" },
			func(c fsm.Cluster) bool { return !c.Peers[0].ChangingRole }},
		"this node demoting": {func(s *crm.Status) { here(s).Role = crm.RoleDemoting },
			func(c fsm.Cluster) bool { return !c.Peers[0].ChangingRole }},
		"peer in standby": {func(s *crm.Status) { s.Nodes[0].Standby = crm.Yes },
			func(c fsm.Cluster) bool { return c.OperatorMove }},
		"moved by constraint": {func(s *crm.Status) {
			s.Bans = []crm.Ban{{ID: "cli-ban-drbd_pg-clone-on-pg-a",
				Node: "pg-a"}}
		}, func(c fsm.Cluster) bool { return c.OperatorMove }},
		"fence handler constrain": {func(s *crm.Status) {
			s.Bans = []crm.Ban{{ID: "drbd-fence-by-handler-pg",
				Node: "pg-a"}}
		}, func(c fsm.Cluster) bool { return !c.OperatorMove }},
		"failed lately": {func(s *crm.Status) {
			s.Failures = []crm.Failure{{Node: "pg-a",
				At: testWall.Add(-time.Minute)}}
		}, func(c fsm.Cluster) bool { return c.PeerFailed }},
		"failed long ago": {func(s *crm.Status) {
			s.Failures = []crm.Failure{{Node: "pg-a",
				At: testWall.Add(-time.Hour)}}
		}, func(c fsm.Cluster) bool { return !c.PeerFailed }},
		"filesystem elsewhere": {func(s *crm.Status) { s.Resources[2].Node = "pg-a" },
			func(c fsm.Cluster) bool { return !c.FilesystemHere }},
		"fenced": {func(s *crm.Status) {
			s.FenceEvents = []crm.FenceEvent{{Target: "pg-a", Action: "off", Status: "success", Completed: testWall}}
		}, func(c fsm.Cluster) bool {
			return c.Peers[0].Fenced != 0 && c.Peers[0].Fences.Has(c.Peers[0].Fenced) && !c.Peers[0].Fencing
		}},
		// As an operator typed it: Pacemaker keeps that, and fences.
		"fenced under its name in capitals": {func(s *crm.Status) {
			s.FenceEvents = []crm.FenceEvent{{Target: "PG-A", Action: "off", Status: "success", Completed: testWall}}
		}, func(c fsm.Cluster) bool { return c.Peers[0].Fenced != 0 && c.Peers[0].Fences.Has(c.Peers[0].Fenced) }},
		"fenced, nobody knows when": {func(s *crm.Status) {
			s.FenceEvents = []crm.FenceEvent{{Target: "pg-a", Action: "off", Status: "success"}}
		}, func(c fsm.Cluster) bool { return c.Peers[0].Fenced == 0 && c.Peers[0].Fences == "" }},
		"fencing pending": {func(s *crm.Status) {
			s.FenceEvents = []crm.FenceEvent{{Target: "pg-a", Action: "off", Status: "pending"}}
		}, func(c fsm.Cluster) bool { return c.Peers[0].Fenced == 0 && c.Peers[0].Fencing }},
		"too many nodes": {func(s *crm.Status) {
			for _, n := range []string{"c", "d", "e"} {
				s.Nodes = append(s.Nodes, crm.Node{Name: n, Type: "member", Online: crm.Yes, Unclean: crm.No})
			}
		}, func(c fsm.Cluster) bool { return c.TooMany }},
	} {
		if got := facts(c.change); !c.ok(got) {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func TestClaimNamesThePromotionAndNothingElse(t *testing.T) {
	base := func() *crm.Status { return healthyStatus() }
	claim := func(id identity, st *crm.Status) string { return clusterFacts(st, id, 1, testWall).Promotion }
	first := claim(testID, base())
	if again := claim(testID, base()); again != first {
		t.Error("the same promote operation gave another claim")
	}
	later := base()
	later.Operations[0].Call = 38
	again := base()
	again.Operations[0].LastChange = testWall.Add(time.Second)
	rebooted := testID
	rebooted.boot = "another"
	for name, got := range map[string]string{
		"another call": claim(testID, later), "another time": claim(testID, again), "another boot": claim(rebooted, base()),
		"no name": testID.unnamed(),
	} {
		if got == first || got == "" {
			t.Errorf("%s: claim %q, want a new one", name, got)
		}
	}
}

func healthyDrbd() drbd.Report {
	return drbd.Report{Live: true, Status: drbd.Status{Resources: []drbd.Resource{{
		Name: "pg", Role: drbd.RolePrimary, SuspendedKnown: true,
		Devices:     []drbd.Device{{Disk: "UpToDate"}, {Volume: 1, Disk: "UpToDate"}},
		Connections: []drbd.Connection{{Name: "pg-a", State: "Connected", PeerRole: drbd.RoleSecondary}},
	}}}}
}

func TestDrbdFacts(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*drbd.Report, *drbd.Resource)
		ok     func(fsm.Drbd) bool
	}{
		"healthy": {func(*drbd.Report, *drbd.Resource) {}, func(d fsm.Drbd) bool {
			return d.Live && d.Primary && d.UpToDate && !d.Suspended && !d.SplitBrain && d.Connected && !d.PeerPrimary
		}},
		"stream down": {func(r *drbd.Report, _ *drbd.Resource) { r.Live = false },
			func(d fsm.Drbd) bool { return d == fsm.Drbd{At: 5} }},
		"other resource": {func(_ *drbd.Report, r *drbd.Resource) { r.Name = "other" },
			func(d fsm.Drbd) bool { return !d.Live }},
		"secondary": {func(_ *drbd.Report, r *drbd.Resource) { r.Role = drbd.RoleSecondary },
			func(d fsm.Drbd) bool { return !d.Primary }},
		"first disk bad": {func(_ *drbd.Report, r *drbd.Resource) { r.Devices[0].Disk = "Inconsistent" },
			func(d fsm.Drbd) bool { return !d.UpToDate }},
		"no quorum": {func(_ *drbd.Report, r *drbd.Resource) { r.Devices[0].Quorum = drbd.No },
			func(d fsm.Drbd) bool { return d.NoQuorum }},
		"quorum unknown": {func(_ *drbd.Report, r *drbd.Resource) { r.Devices[0].Quorum = drbd.Unknown },
			func(d fsm.Drbd) bool { return !d.NoQuorum }},
		"second disk bad": {func(_ *drbd.Report, r *drbd.Resource) { r.Devices[1].Disk = "Inconsistent" },
			func(d fsm.Drbd) bool { return !d.UpToDate }},
		"no disk": {func(_ *drbd.Report, r *drbd.Resource) { r.Devices = nil },
			func(d fsm.Drbd) bool { return !d.UpToDate }},
		"suspended": {func(_ *drbd.Report, r *drbd.Resource) { r.Suspended = []string{"fencing"} },
			func(d fsm.Drbd) bool { return d.Suspended }},
		"suspended unknown": {func(_ *drbd.Report, r *drbd.Resource) { r.SuspendedKnown = false },
			func(d fsm.Drbd) bool { return d.Suspended }},
		"split brain": {func(_ *drbd.Report, r *drbd.Resource) { r.Connections[0].SplitBrain = drbd.SplitBrainLatched },
			func(d fsm.Drbd) bool { return d.SplitBrain }},
		"only suspected": {func(_ *drbd.Report,
			r *drbd.Resource) {
			r.Connections[0].SplitBrain = drbd.SplitBrainSuspected
		}, func(d fsm.Drbd) bool { return !d.SplitBrain }},
		"peer's disk lost": {func(_ *drbd.Report, r *drbd.Resource) {
			r.Connections[0].Volumes = []drbd.PeerDevice{{PeerDisk: "Diskless"}}
		}, func(d fsm.Drbd) bool { return d.PeerDiskLost }},
		"peer's disk fails": {func(_ *drbd.Report, r *drbd.Resource) {
			r.Connections[0].Volumes = []drbd.PeerDevice{{PeerDisk: "UpToDate"}, {PeerDisk: "Failed"}}
		}, func(d fsm.Drbd) bool { return d.PeerDiskLost }},
		"peer without a disk on purpose": {func(_ *drbd.Report, r *drbd.Resource) {
			r.Connections[0].Volumes = []drbd.PeerDevice{{PeerDisk: "Diskless", PeerClient: drbd.Yes}}
		}, func(d fsm.Drbd) bool { return !d.PeerDiskLost }},
		"connected, not compared yet": {func(_ *drbd.Report, r *drbd.Resource) {
			r.Connections[0].Volumes = []drbd.PeerDevice{{Replication: "Established"}, {Replication: "Off"}}
		}, func(d fsm.Drbd) bool { return d.Connected && d.Connections[0].Comparing }},
		"compared": {func(_ *drbd.Report, r *drbd.Resource) {
			r.Connections[0].Volumes = []drbd.PeerDevice{{Replication: "SyncSource"}}
		}, func(d fsm.Drbd) bool { return d.Connected && !d.Connections[0].Comparing }},
		"connected, role not said yet": {func(_ *drbd.Report, r *drbd.Resource) {
			r.Connections[0].PeerRole = drbd.RoleUnknown
		}, func(d fsm.Drbd) bool { return d.Connected && d.Connections[0].RoleUnknown }},
		"connected to a Secondary": {func(_ *drbd.Report, r *drbd.Resource) {
			r.Connections[0].PeerRole = drbd.RoleSecondary
		}, func(d fsm.Drbd) bool {
			return d.Connected && !d.Connections[0].RoleUnknown && !d.Connections[0].Primary
		}},
		"connected to a Primary": {func(_ *drbd.Report, r *drbd.Resource) {
			r.Connections[0].PeerRole = drbd.RolePrimary
		}, func(d fsm.Drbd) bool { return !d.Connections[0].RoleUnknown && d.Connections[0].Primary }},
		"peer behind": {func(_ *drbd.Report, r *drbd.Resource) {
			r.Connections[0].Volumes = []drbd.PeerDevice{{PeerDisk: "Inconsistent"}}
		}, func(d fsm.Drbd) bool { return !d.PeerDiskLost }},
		"connection lost": {func(_ *drbd.Report, r *drbd.Resource) { r.Connections[0].State = "NetworkFailure" },
			func(d fsm.Drbd) bool { return !d.Connected && d.DisconnectReason == "NetworkFailure" }},
	} {
		r := healthyDrbd()
		c.change(&r, &r.Status.Resources[0])
		if got := drbdFacts(r, "pg", 5, fsm.Drbd{}); !c.ok(got) {
			t.Errorf("%s: %+v", name, got)
		}
	}
	r := healthyDrbd()
	r.Status.Resources[0].Connections[0].State = "Connecting"
	if got := drbdFacts(r, "pg", 5,
		fsm.Drbd{DisconnectReason: "NetworkFailure"}); got.DisconnectReason != "NetworkFailure" {
		t.Errorf("the first word of a lost connection gave way to %q", got.DisconnectReason)
	}
}

// TestFencingIsKnownByItsIdentity follows the history of fencings through looks at the cluster, whose clock steps: what
// counts is whether an event was ever seen, in whatever order their times are.
func TestFencingIsKnownByItsIdentity(t *testing.T) {
	event := func(at time.Duration, origin string) crm.FenceEvent {
		return crm.FenceEvent{Target: "pg-a", Action: "off", Status: "success", Origin: origin,
			Client: "pacemaker-controld.9", Completed: testWall.Add(at)}
	}
	old, older, fresh := event(26*time.Hour, "pg-b"), event(-time.Hour, "pg-b"), event(time.Minute, "pg-b")
	same, coarse := event(26*time.Hour, "pg-b"), old
	coarse.Completed, same.Delegate = old.Completed.Truncate(time.Second), "pg-b"
	old.Completed = old.Completed.Add(123456 * time.Microsecond)
	rebooted, byHand := old, old
	rebooted.Action, byHand.Client = "reboot", "stonith_admin.7"
	for name, c := range map[string]struct {
		before, after []crm.FenceEvent
		restart, held bool
	}{
		"none":                              {held: true},
		"a new one, stamped before the old": {before: []crm.FenceEvent{old}, after: []crm.FenceEvent{old, fresh}},
		"the same, the agent restarts": {before: []crm.FenceEvent{old}, after: []crm.FenceEvent{fresh, old},
			restart: true},
		"the first":                        {after: []crm.FenceEvent{fresh}},
		"only the old one":                 {before: []crm.FenceEvent{old}, after: []crm.FenceEvent{old}, held: true},
		"the old one without its fraction": {before: []crm.FenceEvent{old}, after: []crm.FenceEvent{coarse}, held: true},
		"the old one with its delegate":    {before: []crm.FenceEvent{old}, after: []crm.FenceEvent{same}, held: true},
		"the old ones in another order": {before: []crm.FenceEvent{old, older}, after: []crm.FenceEvent{older, old},
			held: true},
		"another node's of the same time": {before: []crm.FenceEvent{old},
			after: []crm.FenceEvent{event(26*time.Hour, "pg-c")}},
		"another action at the same time":   {before: []crm.FenceEvent{old}, after: []crm.FenceEvent{rebooted}},
		"another client's of the same time": {before: []crm.FenceEvent{old}, after: []crm.FenceEvent{byHand}},
		"a failed one": {after: []crm.FenceEvent{{Target: "pg-a", Action: "off", Status: "failed",
			Completed: testWall}}, held: true},
		"one that switched the node on": {after: []crm.FenceEvent{{Target: "pg-a", Action: "on", Status: "success",
			Completed: testWall}}, held: true},
		"the other node's": {after: []crm.FenceEvent{{Target: "pg-b", Action: "off", Status: "success",
			Completed: testWall}}, held: true},
		"a new one, and the old one cleaned": {before: []crm.FenceEvent{old, older}, after: []crm.FenceEvent{fresh}},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := fsm.Config{Node: "pg-b", Addr: "127.0.2.10", Ownership: true, DriftEvery: 5 * time.Minute}
			s := fsm.New(cfg, 1, fsm.Episode{}, false)
			now := fsm.Time(0)
			look := func(events []crm.FenceEvent, change func(peer, promoted *crm.Node, r []crm.Resource)) {
				now += 40 * time.Second
				st := healthyStatus()
				st.FenceEvents = events
				change(&st.Nodes[0], &st.Nodes[1], st.Resources)
				s, _ = s.Step(now, fsm.ClusterPolled{Cluster: clusterFacts(st, testID, now, testWall)})
			}
			gone := func(peer, _ *crm.Node, r []crm.Resource) { peer.Online, r[0].Role = crm.No, crm.RoleStopped }
			s, _ = s.Step(now, fsm.DrbdChanged{Drbd: fsm.Drbd{Live: true, UpToDate: true, Connected: true, PeerPrimary: true}})
			look(c.before, func(_, _ *crm.Node, r []crm.Resource) {
				r[0].Role, r[1].Role = crm.RolePromoted,
					crm.RoleUnpromoted
			})
			s, _ = s.Step(now, fsm.DrbdChanged{Drbd: fsm.Drbd{Live: true, UpToDate: true}})
			look(c.before, gone)
			look(nil, gone) // the history is cleaned for a moment
			if c.restart {
				s = fsm.New(cfg, 1, s.Episode, true)
			}
			look(c.after, gone)
			if held := s.Safety(now).Has(fsm.HoldPeerUnfenced); held != c.held {
				t.Errorf("held %t", held)
			}
		})
	}
}

// TestUnreadFencingHistoryTeachesNothing: what the history shows after it could not be read at the start is old.
func TestUnreadFencingHistoryTeachesNothing(t *testing.T) {
	s := fsm.New(fsm.Config{Node: "pg-b", Addr: "127.0.2.10", Ownership: true, DriftEvery: 5 * time.Minute}, 1,
		fsm.Episode{}, false)
	old := []crm.FenceEvent{{Target: "pg-a", Action: "off", Status: "success", Completed: testWall.Add(-time.Hour)}}
	for i, look := range []struct {
		unread string
		events []crm.FenceEvent
		gone   bool
	}{{unread: "102"}, {events: old}, {events: old, gone: true}} {
		now := fsm.Time(i+1) * 5 * time.Second
		st := healthyStatus()
		st.FenceHistoryError, st.FenceEvents = look.unread, look.events
		st.Resources[0].Role, st.Resources[1].Role = crm.RolePromoted, crm.RoleUnpromoted
		if look.gone {
			st.Nodes[0].Online, st.Resources[0].Role, st.Resources[1].Role = crm.No, crm.RoleStopped, crm.RolePromoted
		}
		s, _ = s.Step(now, fsm.ClusterPolled{Cluster: clusterFacts(st, testID, now, testWall)})
	}
	if !s.Safety(15 * time.Second).Has(fsm.HoldPeerUnfenced) {
		t.Error("a fencing of an hour ago counts as one of now")
	}
}
