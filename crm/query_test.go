package crm

import (
	"slices"
	"testing"
	"time"
)

func TestNodeIsFoundByName(t *testing.T) {
	s := parse(t, "hand-2.0.xml")
	if n, ok := s.Node("far"); !ok || n.Type != "remote" || n.Maintenance != Yes || n.StandbyOnFail != Yes {
		t.Errorf("far = %+v, %v", n, ok)
	}
	if n, ok := s.Node("web-bundle-0"); !ok || n.Type != "guest" {
		t.Errorf("web-bundle-0 = %+v, %v", n, ok)
	}
	if n, ok := s.Node("nobody"); ok {
		t.Errorf("nobody = %+v", n)
	}
}

func TestPromotedNamesTheNodesOfAClone(t *testing.T) {
	for _, test := range []struct {
		file, id             string
		promoted, unpromoted []string
		instances            int
	}{
		{"hand-1.1.xml", "ms_drbd", []string{"db-a"}, []string{"db-b"}, 2},
		{"hand-1.1.xml", "drbd", []string{"db-a"}, []string{"db-b"}, 2},
		{"hand-1.1.xml", "drbd:0", []string{"db-a"}, nil, 1},
		{"hand-1.1.xml", "drb", nil, nil, 0},
		{"hand-1.1.xml", "", nil, nil, 0},
		{"hand-2.0.xml", "web-bundle", []string{"web-bundle-0"}, nil, 3},
		{"hand-2.0.xml", "web", []string{"web-bundle-0"}, nil, 2},
		{"hand-2.0.xml", "idle", nil, nil, 0},
		// db-b is unclean, which is the caller's business.
		{"hand-2.1.xml", "stack-clone", []string{"db-a", "db-b"}, []string{"db-a"}, 4},
		{"hand-2.1.xml", "stack", []string{"db-a", "db-b"}, []string{"db-a"}, 4},
		{"hand-2.1.xml", "disk", []string{"db-a", "db-b"}, nil, 2},
		{"hand-2.1.xml", "log", nil, []string{"db-a"}, 2},
		{"hand-3.0.xml", "drbd-clone", []string{"db-b"}, nil, 2},
		{"lab-3.0.0-group-by-node.xml", "drbd_pg", []string{"node2"}, []string{"node1"}, 2},
	} {
		s := parse(t, test.file)
		if got := s.Promoted(test.id); !slices.Equal(got, test.promoted) || got == nil {
			t.Errorf("%s: Promoted(%q) = %#v, want %v", test.file, test.id, got, test.promoted)
		}
		if got := s.Unpromoted(test.id); !slices.Equal(got, test.unpromoted) || got == nil {
			t.Errorf("%s: Unpromoted(%q) = %#v, want %v", test.file, test.id, got, test.unpromoted)
		}
		if got := s.Instances(test.id); len(got) != test.instances {
			t.Errorf("%s: Instances(%q) = %v, want %d", test.file, test.id, got, test.instances)
		}
	}
}

func TestInstancesCarryWhatEnclosesThem(t *testing.T) {
	s := parse(t, "hand-2.1.xml")
	disk := s.Instances("disk")[0]
	want := Resource{
		ID: "disk", Agent: "ocf:pacemaker:Stateful", Node: "db-a", Clone: "stack-clone", Group: "stack:0", Promotable: true,
		Role: RolePromoted, Pending: "Monitoring", Active: Yes, Managed: Yes, Maintenance: Yes,
		Blocked: No, Failed: No, Orphaned: No,
	}
	if disk != want {
		t.Errorf("disk = %+v, want %+v", disk, want)
	}
	ip := s.Instances("ip")
	if len(ip) != 2 || ip[0].Node != "db-a" || ip[1].Node != "db-b" || s.Elements.Total != 5 || len(s.Resources) != 6 {
		t.Errorf("ip = %+v, %d elements, %d instances", ip, s.Elements.Total, len(s.Resources))
	}
	old := parse(t, "hand-1.1.xml")
	for _, drbd := range old.Instances("ms_drbd") {
		if drbd.Managed != No || !drbd.Promotable {
			t.Errorf("%s: an unmanaged clone's instance is managed: %+v", drbd.ID, drbd)
		}
	}
	if old.Elements.Unmanaged != 0 {
		t.Errorf("elements count the clone's word: %+v", old.Elements)
	}
	bundle := parse(t, "hand-2.0.xml")
	if r := bundle.Instances("web-bundle-podman-0")[0]; r.Promotable || r.Bundle != "web-bundle" || r.Managed != No {
		t.Errorf("container = %+v", r)
	}
	for _, r := range bundle.Instances("web") {
		if !r.Promotable {
			t.Errorf("web = %+v", r)
		}
	}
}

func TestPromoteOpIsTheLastThatSucceeded(t *testing.T) {
	for _, test := range []struct {
		file, id, node string
		call           int
	}{
		{"hand-1.1.xml", "ms_drbd", "db-a", 20},
		{"hand-1.1.xml", "drbd", "db-a", 20},
		{"hand-1.1.xml", "drbd:0", "db-a", 20},
		{"hand-1.1.xml", "ms_drbd", "db-b", 0},
		{"hand-1.1.xml", "old_ip", "db-a", 0},
		{"hand-3.0.xml", "drbd-clone", "db-b", 41},
		{"hand-3.0.xml", "drbd-clone", "", 0},
		{"hand-2.0.xml", "web-bundle", "web-bundle-0", 0},
	} {
		op, ok := parse(t, test.file).PromoteOp(test.id, test.node)
		if ok != (test.call != 0) || op.Call != test.call {
			t.Errorf("%s: PromoteOp(%q, %q) = %+v, %v, want call %d", test.file, test.id, test.node, op, ok, test.call)
		}
	}
	op, _ := parse(t, "hand-1.1.xml").PromoteOp("ms_drbd", "db-a")
	if op.ExecTime != 2044*time.Millisecond || op.LastChangeText != "Tue Mar  5 09:12:33 2024" ||
		op.LastChange.UTC().Hour() != 9 {
		t.Errorf("op = %+v", op)
	}
}

func TestLastFenceIsTheNewestThatTookTheNodeDown(t *testing.T) {
	for _, test := range []struct{ file, target, want string }{
		{"hand-3.0.xml", "db-a", "2026-11-02T09:59:50.253165Z"}, // not the later "on", nor the failure
		{"hand-3.0.xml", "db-b", ""},
		{"hand-2.0.xml", "db-b", "2020-10-25T01:10:11Z"},
		{"hand-2.1.xml", "db-b", ""},
	} {
		e, ok := parse(t, test.file).LastFence(test.target)
		got := ""
		if ok {
			got = e.Completed.UTC().Format(time.RFC3339Nano)
		}
		if got != test.want {
			t.Errorf("%s: LastFence(%q) = %+v, %v, want %s", test.file, test.target, e, ok, test.want)
		}
	}
	undated := Status{FenceEvents: []FenceEvent{
		{Target: "a", Action: "off", Status: "success"},
		{Target: "a", Action: "reboot", Status: "success", Completed: time.Unix(1, 0)},
	}}
	if e, ok := undated.LastFence("a"); !ok || e.Action != "reboot" {
		t.Errorf("an event without a time wins: %+v", e)
	}
}

func TestPendingFenceAndBansAreFound(t *testing.T) {
	if e, ok := parse(t, "hand-3.0.xml").PendingFence("db-a"); !ok || e.Action != "reboot" || !e.Completed.IsZero() {
		t.Errorf("pending = %+v, %v", e, ok)
	}
	if e, ok := parse(t, "hand-2.0.xml").PendingFence("db-b"); ok {
		t.Errorf("pending = %+v", e)
	}
	if e, ok := parse(t, "lab-3.0.0-fencing.xml").PendingFence("NODE2"); !ok {
		t.Errorf("lab: pending = %+v, %v", e, ok)
	}
	bans := parse(t, "hand-1.1.xml").FenceBans()
	if len(bans) != 1 || bans[0].Weight != -1000000 || bans[0].PromotedOnly != Yes || bans[0].Node != "db-b" {
		t.Errorf("bans = %+v", bans)
	}
	other := Status{Bans: []Ban{{ID: "cli-ban-drbd-fence-by-handler-"}}}
	if bans := other.FenceBans(); len(bans) != 0 {
		t.Errorf("bans = %+v", bans)
	}
}

// TestUnreadFencingHistoryIsNotAnEmptyOne: there is no section before the first fencing, which is no error.
func TestUnreadFencingHistoryIsNotAnEmptyOne(t *testing.T) {
	for file, want := range map[string]string{
		"lab-3.0.0-no-dc.xml": "102", "hand-2.1.xml": "102",
		"lab-3.0.0-fencing.xml": "", "lab-3.0.0-history-erased.xml": "", "hand-3.0.xml": "",
	} {
		s := parse(t, file)
		if s.FenceHistoryError != want || want != "" && s.FenceEvents != nil {
			t.Errorf("%s: error %q, events %v; want error %q", file, s.FenceHistoryError, s.FenceEvents, want)
		}
	}
}
