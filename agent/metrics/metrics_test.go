package metrics

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/pgha/pgha-agent/agent/config"
	"github.com/pgha/pgha-agent/agent/explain"
	"github.com/pgha/pgha-agent/agent/fsm"
	"github.com/pgha/pgha-agent/agent/mounts"
	"github.com/pgha/pgha-agent/agent/status"
	"github.com/pgha/pgha-agent/crm"
	"github.com/pgha/pgha-agent/drbd"
	"github.com/pgha/pgha-agent/pg"
)

var update = flag.Bool("update", false, "rewrite generated documents")

var wall = time.Date(2026, 11, 23, 2, 0, 0, 0, time.UTC)

func registryOf(s *status.Snapshot) *prometheus.Registry { return registryAt(s, s.At) }

// registryAt is of a scrape at a time, when the loop may have stalled since the snapshot.
func registryAt(s *status.Snapshot, now fsm.Time) *prometheus.Registry {
	none := func() uint64 { return 0 }
	return New(Source{Snapshot: func() *status.Snapshot { return s }, Now: func() fsm.Time { return now }, Rejected: none,
		Malformed: none}).Registry
}

// fullSnapshot is of a promoted node, with everything in it that a source can tell.
func fullSnapshot() *status.Snapshot {
	const now = time.Hour
	cfg := config.Default()
	cfg.Node.Name, cfg.Cluster.Promotable, cfg.Drbd.Resource = "pg-b", "drbd_pg-clone", "pg"
	node := func(name string) crm.Node {
		return crm.Node{Name: name, Type: "member", Online: crm.Yes, Standby: crm.No, Maintenance: crm.No, Pending: crm.No,
			Unclean: crm.No}
	}
	inst := func(node string, role crm.Role) crm.Resource {
		return crm.Resource{ID: "drbd_pg", Agent: "ocf:linbit:drbd", Node: node, Clone: "drbd_pg-clone", Promotable: true,
			Role: role, Managed: crm.Yes}
	}
	s := &status.Snapshot{
		Config: &cfg, Version: "test", Client: true, At: now, Wall: wall,
		Crm: &crm.Status{
			Quorum: crm.Yes, FencingEnabled: crm.Yes, MaintenanceMode: crm.No, Nodes: []crm.Node{node("pg-a"), node("pg-b")},
			Resources:   []crm.Resource{inst("pg-a", crm.RoleUnpromoted), inst("pg-b", crm.RolePromoted)},
			FailCounts:  []crm.FailCount{{Node: "pg-a", Resource: "pgsql", Count: 2}},
			Bans:        []crm.Ban{{ID: "drbd-fence-by-handler-pg", Node: "pg-a"}},
			FenceEvents: []crm.FenceEvent{{Target: "pg-a", Action: "off", Status: "success", Completed: wall}},
		},
		Drbd: drbd.Report{Live: true, Status: drbd.Status{Resources: []drbd.Resource{{
			Name: "pg", Role: drbd.RolePrimary, SuspendedKnown: true, Devices: []drbd.Device{{Disk: "UpToDate"}},
			Connections: []drbd.Connection{{Name: "pg-a", State: "Connected", PeerRole: drbd.RoleSecondary,
				Volumes: []drbd.PeerDevice{{
					Replication: "SyncSource", PeerDisk: "Inconsistent", Done: 37.5, RateBytesPerSec: 1 << 20, ETA: time.Minute,
					Stats: &drbd.PeerDeviceStats{OutOfSyncBytes: 4096},
				}}}},
			Helpers: []drbd.HelperCall{{Helper: drbd.Helper{Name: "fence-peer", Duration: time.Second, ExitCode: 4}}},
		}}}},
		FenceBans: map[string]fsm.Time{"drbd-fence-by-handler-pg": now - time.Second},
		MountsAt:  now, Mounts: []mounts.Filesystem{{Point: "/srv/pg", OnDrbd: true, Size: 1 << 40, Free: 1 << 39, FullIn: time.Hour,
			Inodes: 1000, FreeInodes: 500}},
		Peers:       []status.Peer{{Node: "pg-a", Err: "connection refused"}},
		ClientProbe: pg.ClientProbe{OK: true, Answers: true, State: pg.StateWritable},
		Postgres: pg.Health{LSN: 1 << 20, FlushStall: 9 * time.Second, SyncWait: 8 * time.Second,
			State: pg.StateWritable, Started: wall, Timeline: 3,
			Replicas: []pg.Replica{{Name: "reporting", SentLagBytes: 1, WriteLagBytes: 2, FlushLagBytes: 3, ReplayLagBytes: 4}},
			Slots:    []pg.Slot{{Name: "reporting", Active: true, RetainedBytes: 16 << 20}},
		},
	}
	for src := range s.Sources {
		s.Sources[src] = status.SourceState{Up: true, LastSuccess: now}
	}
	s.State.Config.Addr = "10.0.2.10"
	s.State.Cluster = fsm.Cluster{At: now, OK: true, Online: true, PromotedHere: true, PromotedCount: 1,
		FencingEnabled: true}
	s.State.Drbd = fsm.Drbd{At: now, Live: true, Primary: true, UpToDate: true, Connected: true}
	s.State.Zone = fsm.Zone{At: now, OK: true, Addr: "10.0.2.10", Epoch: 4}
	s.State.Resolved = fsm.Resolved{At: now, OK: true, Addr: "10.0.2.10"}
	return s
}

func TestMetricsPassTheLinter(t *testing.T) {
	problems, err := testutil.GatherAndLint(registryOf(fullSnapshot()))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		if strings.HasPrefix(p.Metric, "pgha_") {
			t.Errorf("%s: %s", p.Metric, p.Text)
		}
	}
}

// TestMetricsDocumented holds docs/metrics.md to what the agent exports; -update rewrites it.
func TestMetricsDocumented(t *testing.T) {
	gathered, err := registryOf(fullSnapshot()).Gather()
	if err != nil {
		t.Fatal(err)
	}
	labels := map[string][]string{}
	for _, f := range gathered {
		for _, m := range f.Metric {
			for _, l := range m.Label {
				if !slices.Contains(labels[f.GetName()], l.GetName()) {
					labels[f.GetName()] = append(labels[f.GetName()], l.GetName())
				}
			}
		}
	}
	var b strings.Builder
	b.WriteString(
		"# Metrics\n\nGenerated from the code by `make docs`; a test keeps it current. Every metric is about the node " +
			"that exports it, or about what that node sees.\n" +
			"A metric whose source is down is absent or shows `unknown`, never an old number: watch `pgha_source_up`.\n" +
			"The usual `go_*` and `process_*` metrics are there as well, and `go_gc_heap_live_bytes`: what the last garbage " +
			"collection left.\n\n| metric | type | labels | meaning |\n|---|---|---|---|\n")
	documented := 0
	for _, f := range gathered {
		if !strings.HasPrefix(f.GetName(), "pgha_") {
			continue
		}
		documented++
		slices.Sort(labels[f.GetName()])
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", f.GetName(), strings.ToLower(f.GetType().String()),
			strings.Join(labels[f.GetName()], ", "), f.GetHelp())
	}
	// Every family must have a series in this snapshot, or it would be missing from the page.
	for _, f := range stateFamilies(nil) {
		name := regexp.MustCompile(`fqName: "([^"]+)"`).FindStringSubmatch(f.desc.String())[1]
		if !strings.Contains(b.String(), "`"+name+"`") {
			t.Errorf("%s has no series in the test's snapshot: add what it shows to fullSnapshot", name)
		}
	}
	b.WriteString("\n## Values of the enumerating labels\n\n")
	list := func(name string, values ...string) {
		fmt.Fprintf(&b, "- **%s**: %s\n", name, strings.Join(values, ", "))
	}
	var holds []string
	for _, h := range fsm.AllHolds() {
		holds = append(holds, h.String())
	}
	list("condition of `pgha_publication_held`", holds...)
	var phases []string
	for p := range fsm.NumPhases {
		phases = append(phases, p.String())
	}
	list("phase of `pgha_failover_phase_seconds`", phases...)
	list("cause of `pgha_episodes_total`", words(fsm.Causes)...)
	list("outcome of `pgha_episodes_total`", words(fsm.Outcomes)...)
	list("state of `pgha_publication`", words(status.Publications)...)
	list("state of `pgha_postgres_state`", words(pg.States)...)
	list("state of `pgha_clients`", words(status.ClientsStates)...)
	list("verdict of `pgha_verdict`", words(status.Verdicts)...)
	list("reason of `pgha_failover_reason`", explain.ReasonCodes...)
	compareDoc(t, "metrics.md", b.String())
	if documented < 40 {
		t.Errorf("only %d metrics", documented)
	}
}

func words[T ~string](list []T) []string {
	var out []string
	for _, w := range list {
		out = append(out, string(w))
	}
	return out
}

func compareDoc(t *testing.T, name, want string) {
	t.Helper()
	path := filepath.Join("..", "..", "docs", name)
	if *update {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil || string(got) != want {
		t.Errorf("docs/%s is not current (%v): run `make docs`", name, err)
	}
}

func TestScrapeSurvivesNamesThatComeTwice(t *testing.T) {
	s := fullSnapshot()
	s.Crm.Nodes = append(s.Crm.Nodes, s.Crm.Nodes...)
	s.Crm.FailCounts = []crm.FailCount{{Node: "a", Resource: "r", Count: 1}, {Node: "a", Resource: "r", Count: 1}}
	if n, err := testutil.GatherAndCount(registryOf(s), "pgha_local_writer",
		"pgha_cluster_resource_failcount"); err != nil || n != 2 {
		t.Errorf("%d series, %v", n, err)
	}
}

// TestOtherNodesAndFilesystemsAreLeftOut: a node that only votes has no agent, and a filesystem that holds no data of the
// database may be as full as it likes.
func TestOtherNodesAndFilesystemsAreLeftOut(t *testing.T) {
	s := fullSnapshot()
	s.Crm.Nodes = append(s.Crm.Nodes, crm.Node{Name: "witness", Type: "member", Online: crm.Yes})
	s.Peers = append(s.Peers, status.Peer{Node: "witness", Err: "connection refused"})
	s.Mounts = append(s.Mounts, mounts.Filesystem{Point: "/", Size: 1 << 30},
		mounts.Filesystem{Point: "/srv/hangs", Wanted: true, Err: "statfs: input/output error"})
	for _, metric := range []string{"pgha_peer_up", "pgha_filesystem_size_bytes", "pgha_filesystem_free_bytes"} {
		if n, err := testutil.GatherAndCount(registryOf(s), metric); err != nil || n != 1 {
			t.Errorf("%s: %d series, %v", metric, n, err)
		}
	}
}

func TestSourcesThatNeverAnsweredShowNoStaleNumbers(t *testing.T) {
	full := fullSnapshot()
	registry := registryOf(&status.Snapshot{Config: full.Config, Client: true, At: full.At, Wall: full.Wall})
	for _, name := range []string{"pgha_cluster_promoted", "pgha_drbd_role", "pgha_dns_record_matches",
		"pgha_postgres_replication_lag_bytes"} {
		if n, err := testutil.GatherAndCount(registry, name); err != nil || n != 0 {
			t.Errorf("%s: %d series, %v", name, n, err)
		}
	}
	if n, err := testutil.GatherAndCount(registry, "pgha_source_up"); err != nil || n != int(status.NumSources) {
		t.Errorf("pgha_source_up: %d series, %v", n, err)
	}
}

// TestStalledAgentTellsNothingOfClients: what it saw before it stalled must not hide an outage that the other agent sees.
func TestStalledAgentTellsNothingOfClients(t *testing.T) {
	s := fullSnapshot()
	live, stalled := registryAt(s, s.At+fsm.StallBound-time.Millisecond), registryAt(s, s.At+fsm.StallBound)
	if got := values(t, live, "pgha_client_up"); !maps.Equal(got, map[string]float64{"": 1}) {
		t.Errorf("pgha_client_up: %v", got)
	}
	if got := values(t, stalled, "pgha_client_up"); len(got) != 0 {
		t.Errorf("pgha_client_up while the agent stalls: %v", got)
	}
	if got := values(t, live, "pgha_clients"); got["unknown"] != 0 {
		t.Errorf("pgha_clients: %v", got)
	}
	want := map[string]float64{"served": 0, "partly": 0, "cut_off": 0, "unknown": 1}
	if got := values(t, stalled, "pgha_clients"); !maps.Equal(got, want) {
		t.Errorf("pgha_clients while the agent stalls: %v", got)
	}
}

// values returns the series of a gauge with at most one label, by the value of that.
func values(t *testing.T, registry *prometheus.Registry, name string) map[string]float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]float64{}
	for _, f := range families {
		for _, m := range f.Metric {
			label := ""
			for _, l := range m.Label {
				label = l.GetValue()
			}
			if f.GetName() == name {
				found[label] = m.GetGauge().GetValue()
			}
		}
	}
	return found
}

var _ prometheus.Collector = (*stateCollector)(nil)

// TestSourceThatIsDownShowsNothingOld: what only it could tell is absent, or unknown, though the last answer is still there.
func TestSourceThatIsDownShowsNothingOld(t *testing.T) {
	s := fullSnapshot()
	s.State.Cluster.OK, s.Drbd.Live = false, false
	families, err := registryOf(s).Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		name := f.GetName()
		if !slices.ContainsFunc([]string{"pgha_cluster_", "pgha_drbd_", "pgha_fence_events"}, func(p string) bool {
			return strings.HasPrefix(name, p)
		}) {
			continue
		}
		for _, m := range f.Metric {
			unknown := false
			for _, l := range m.Label {
				unknown = unknown || l.GetValue() == "unknown"
			}
			if m.GetGauge().GetValue() != 0 && !unknown {
				t.Errorf("%s %v is %v", name, m.Label, m.GetGauge().GetValue())
			}
		}
	}
}
