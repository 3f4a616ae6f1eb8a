package doctor

import (
	"flag"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pgha/pgha-agent/agent/status"
	"github.com/pgha/pgha-agent/crm"
	"github.com/pgha/pgha-agent/crm/corosync"
	"github.com/pgha/pgha-agent/drbd"
	"github.com/pgha/pgha-agent/pg"
	"github.com/pgha/pgha-agent/route53"
)

var update = flag.Bool("update", false, "rewrite docs/doctor.md")

// healthy is a cluster as docs/install.md wants it, seen from the promoted node pg-1. edit changes the text of its CIB,
// pairs of old and new.
func healthy(t *testing.T, edit ...string) *Facts {
	t.Helper()
	text, err := os.ReadFile("testdata/cib.xml")
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(edit); i += 2 {
		if !strings.Contains(string(text), edit[i]) {
			t.Fatalf("the CIB has no %s", edit[i])
		}
		text = []byte(strings.ReplaceAll(string(text), edit[i], edit[i+1]))
	}
	cib, err := crm.ParseConfiguration(text)
	if err != nil {
		t.Fatal(err)
	}
	yes := crm.Yes
	f := &Facts{
		Options: Options{
			Node: "pg-1", Clone: "drbd-clone", Resource: "r0", Address: "imds",
			PostgresDSN: "host=/var/run/postgresql user=pgha dbname=postgres",
			Record:      route53.Options{ZoneID: "Z1", Name: "db.pgha.internal", TTL: 10 * time.Second},
			ConfigFile:  "/etc/pgha-agent/config.toml",
			Version:     "0.1.0", Client: true, Settings: settings(),
		},
		CIB: cib,
		Crm: &crm.Status{
			MaintenanceMode: crm.No, FencingEnabled: yes,
			Nodes: []crm.Node{{Name: "pg-1", Online: yes, Unclean: crm.No}, {Name: "pg-2", Online: yes, Unclean: crm.No}},
			Resources: []crm.Resource{
				{ID: "fence_1", Agent: "stonith:fence_aws", Node: "pg-2", Role: crm.RoleStarted},
				{ID: "fence_2", Agent: "stonith:fence_aws", Node: "pg-1", Role: crm.RoleStarted},
				{ID: "drbd", Clone: "drbd-clone", Node: "pg-1", Role: crm.RolePromoted},
				{ID: "drbd", Clone: "drbd-clone", Node: "pg-2", Role: crm.RoleUnpromoted},
			},
			Attributes: []crm.Attribute{{Node: "pg-1", Name: "master-drbd", Value: "10000"},
				{Node: "pg-2", Name: "master-drbd", Value: "10000"}},
		},
		Corosync: &corosync.Config{Token: 10 * time.Second, TokenGiven: true, Consensus: 12 * time.Second, Nodes: 2,
			TwoNode: true, WaitForAll: true},
		Show: &drbd.Config{
			Protocol: "C", Fencing: "resource-and-stonith", Devices: []string{"/dev/drbd0"},
			Addresses: []netip.AddrPort{netip.MustParseAddrPort("10.0.1.10:7789")},
			Peers:     []netip.AddrPort{netip.MustParseAddrPort("10.0.2.10:7789")},
		},
		Dump: &drbd.Config{Handlers: map[string]string{
			"fence-peer": "/usr/lib/drbd/crm-fence-peer.9.sh --timeout 5", "unfence-peer": "/usr/lib/drbd/crm-unfence-peer.9.sh",
		}},
		Versions: drbdVersions{Module: "9.2.18", Utils: "9.22.0"},
		State:    connectedTo("pg-2", drbd.RolePrimary),
		Daemon: &status.Doc{Node: "pg-1", Version: "0.1.0", Config: settings(), Record: status.RecordDoc{Name: "db.pgha.internal"},
			Client:   &status.ClientDoc{OK: true, Asked: true, State: pg.StateWritable},
			Postgres: status.PostgresDoc{State: pg.StateWritable}},
		Peers: []status.Peer{{Node: "pg-2", Doc: &status.Doc{Node: "pg-2", Version: "0.1.0", Config: settings(),
			Drbd: connectedTo("pg-1", drbd.RoleSecondary), Client: &status.ClientDoc{OK: true, Asked: true, State: pg.StateWritable},
			Postgres: status.PostgresDoc{State: pg.StateRefused}}}},
		Space: &spaceFacts{Mounts: []status.MountDoc{
			{Point: "/srv/pg", OnDrbd: true, Size: 100 << 30, Free: 60 << 30, Inodes: new(uint64(1000))}}},
		Login: &loginFacts{},
		Host: &hostFacts{
			DrbdAgent: true, Ephemeral: [2]int{32768, 60999}, Programs: map[string]string{"/usr/bin/pgha-alert": ""},
			DumpAge: -1,
			Mounts:  map[string]string{"/": "/dev/nvme0n1p1", "/srv/pg": "/dev/drbd0"},
		},
		Postgres: &pg.Audit{
			Version: 170000, ArchiveTool: "pgbackrest", LastArchived: 2e9, RoleExists: true, RoleLogin: true, RoleMonitors: true,
			Settings: map[string]string{
				"fsync": "on", "full_page_writes": "on", "synchronous_commit": "on", "listen_addresses": "*",
				"password_encryption": "scram-sha-256",
				"data_directory":      "/srv/pg/data", "archive_mode": "on", "default_transaction_read_only": "off",
			},
		},
		HBA: []pg.HBARule{
			{Line: 1, Type: "local", Method: "peer"},
			{Line: 2, Type: "host", Address: "10.0.0.0", Netmask: "255.0.0.0", Method: "scram-sha-256"},
			{Line: 3, Type: "host", Address: "127.0.0.1", Netmask: "255.255.255.255", Method: "trust"},
		},
		Instance: &route53.Instance{Addr: netip.MustParseAddr("10.0.1.10"), ID: "i-00000000000000001", Region: "eu-central-1",
			VPC: "vpc-1"},
		Record:   &recordAnswer{Record: route53.Record{Addr: netip.MustParseAddr("10.0.1.10"), TTL: 10 * time.Second}},
		Zone:     &route53.Zone{Name: "pgha.internal", Private: true, VPCs: []string{"vpc-1"}},
		Power:    []powerAnswer{{Action: "StopInstances", Instance: "i-00000000000000002", Code: "DryRunOperation"}},
		Resolved: []netip.Addr{netip.MustParseAddr("10.0.1.10")},
		Ports:    &portFacts{Peer: netip.MustParseAddr("10.0.2.10"), Pcsd: reachOpen, Postgres: reachRefused},
		Clock:    &clockFacts{Synchronized: true, Error: time.Millisecond},
		absent:   map[Source]Finding{},
	}
	return f
}

// settings are those that both agents of the healthy cluster have.
func settings() *status.ConfigDoc {
	return &status.ConfigDoc{Record: "db.pgha.internal", Zone: "Z1", Ownership: "txt", PublishOn: "promoted", TTL: "10s",
		Repair: true, Promotable: "drbd-clone", Resource: "r0"}
}

// connectedTo is DRBD on a node that is connected to a peer, with both disks good.
func connectedTo(peer string, role drbd.Role) *drbd.DumpResource {
	return &drbd.DumpResource{Name: "r0", Role: role, Suspended: []string{},
		Devices: []drbd.DumpDevice{{Disk: drbd.DiskUpToDate, Quorum: new(true)}},
		Connections: []drbd.DumpConnection{{Name: peer, Connection: drbd.ConnConnected, SplitBrain: "none",
			PeerDevices: []drbd.DumpPeerDevice{{PeerDisk: drbd.DiskUpToDate, Replication: drbd.ReplEstablished,
				OutOfSyncBytes: new(uint64(0))}}}},
	}
}

func judge(t *testing.T, f *Facts, name string) Result {
	t.Helper()
	list := All()
	i := slices.IndexFunc(list, func(c Check) bool { return c.Name == name })
	if i < 0 {
		t.Fatalf("there is no check %s", name)
	}
	return f.result(list[i])
}

func TestHealthyClusterPasses(t *testing.T) {
	f := healthy(t)
	for _, c := range All() {
		if r := f.result(c); r.Verdict != Pass || r.Remedy != "" || r.Evidence == "" {
			t.Errorf("%s: %s: %q, remedy %q", c.Name, r.Verdict, r.Evidence, r.Remedy)
		}
	}
}

// A node without good data, or without DRBD, is not to be promoted.
func TestNoScoreIsNeededWithoutData(t *testing.T) {
	for in, plant := range map[string]func(*Facts){
		"Outdated":     func(f *Facts) { f.State.Devices[0].Disk = "Outdated" },
		"does not run": func(f *Facts) { f.Crm.Resources = nil },
	} {
		f := healthy(t)
		f.Crm.Attributes = nil
		plant(f)
		if got := judgeScore(f); got.Verdict != Pass || !strings.Contains(got.Evidence, in) {
			t.Errorf("%s: %+v", in, got)
		}
	}
}

// TestMissingFactIsNeverAPass: whatever a check needs and does not get makes it unknown, or skip, with what the source
// said.
func TestMissingFactIsNeverAPass(t *testing.T) {
	for _, c := range All() {
		if len(c.Needs) == 0 {
			t.Errorf("%s needs nothing", c.Name)
		}
		for _, s := range c.Needs {
			f := healthy(t)
			f.absent[s] = unknown("no answer").remedy("as root on {node}")
			if r := f.result(c); r.Verdict != Unknown || r.Evidence != "no answer" || r.Remedy != "as root on pg-1" {
				t.Errorf("%s without source %d: %+v", c.Name, s, r)
			}
			f.absent[s] = skip("not here")
			if r := f.result(c); r.Verdict != Skip || r.Remedy != "" {
				t.Errorf("%s where source %d does not apply: %+v", c.Name, s, r)
			}
		}
	}
}

// TestChecksReadWhatTheyNeed takes every source away from a check that it does not name: what it reads of another one is nil
// when that source does not answer, and the daemon runs the free checks.
func TestChecksReadWhatTheyNeed(t *testing.T) {
	forget := [numSources]func(*Facts){
		fromCIB: func(f *Facts) { f.CIB = nil }, fromCrm: func(f *Facts) { f.Crm = nil },
		fromCorosync: func(f *Facts) { f.Corosync = nil }, fromShow: func(f *Facts) { f.Show = nil },
		fromDump: func(f *Facts) { f.Dump = nil }, fromVersions: func(f *Facts) { f.Versions = drbdVersions{} },
		fromState: func(f *Facts) { f.State = nil }, fromHost: func(f *Facts) { f.Host = nil },
		fromPostgres: func(f *Facts) { f.Postgres = nil }, fromHBA: func(f *Facts) { f.HBA = nil },
		fromInstance: func(f *Facts) { f.Instance = nil }, fromRecord: func(f *Facts) { f.Record = nil },
		fromTryWrite: func(f *Facts) { f.TryWrite = nil }, fromZone: func(f *Facts) { f.Zone = nil },
		fromPower: func(f *Facts) { f.Power = nil }, fromResolver: func(f *Facts) { f.Resolved = nil },
		fromPorts: func(f *Facts) { f.Ports = nil }, fromClock: func(f *Facts) { f.Clock = nil },
		fromDaemon: func(f *Facts) { f.Daemon = nil }, fromPeers: func(f *Facts) { f.Peers = nil },
		fromSpace: func(f *Facts) { f.Space = nil }, fromLogin: func(f *Facts) { f.Login = nil },
	}
	for _, c := range All() {
		t.Run(c.Name, func(t *testing.T) {
			f := healthy(t)
			for s := range numSources {
				if !slices.Contains(c.Needs, s) {
					forget[s](f)
					f.absent[s] = unknown("no answer")
				}
			}
			f.result(c) // panics when a source is read that is not in Needs
		})
	}
}

func TestChecksAreWellDescribed(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range All() {
		file := "checks_" + string(c.Area) + ".go" // where a reader looks for it
		if code, err := os.ReadFile(file); err != nil || !strings.Contains(string(code), `"`+c.Name+`"`) {
			t.Errorf("%s is not in %s (%v)", c.Name, file, err)
		}
		if seen[c.Name] || c.Name != strings.ToLower(c.Name) || strings.ContainsAny(c.Name, " _.") {
			t.Errorf("name %q", c.Name)
		}
		seen[c.Name] = true
		if c.Want == "" || !strings.HasSuffix(c.Why, ".") || c.Remedy == "" || !slices.Contains(Areas, c.Area) {
			t.Errorf("%s: want %q, why %q, remedy %q, area %q", c.Name, c.Want, c.Why, c.Remedy, c.Area)
		}
		if slices.Contains(Areas, Area(c.Name)) {
			t.Errorf("%s is an area too", c.Name)
		}
	}
}

func TestSelect(t *testing.T) {
	names := func(only, leave []string) string {
		checks, err := Select(only, leave)
		if err != nil {
			return err.Error()
		}
		var list []string
		for _, c := range checks {
			list = append(list, c.Name)
		}
		return strings.Join(list, " ")
	}
	for _, x := range []struct {
		only, leave []string
		want        string
	}{
		{[]string{"fsync", "corosync"}, nil, "two-node wait-for-all corosync-token fsync"},
		{[]string{"corosync"}, []string{"two-node"}, "wait-for-all corosync-token"},
		{[]string{"fsync"}, []string{"postgres"}, ""},
		{[]string{"fsnyc"}, nil, "there is no check or area \"fsnyc\": `pgha-agent doctor --list` shows them"},
	} {
		if got := names(x.only, x.leave); got != x.want {
			t.Errorf("only %v, leave %v: %q, want %q", x.only, x.leave, got, x.want)
		}
	}
}
