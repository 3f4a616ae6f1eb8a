package agent

import (
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
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
	"github.com/pgha/pgha-agent/agent/fsm"
	"github.com/pgha/pgha-agent/agent/status"
	"github.com/pgha/pgha-agent/crm"
	"github.com/pgha/pgha-agent/drbd"
	"github.com/pgha/pgha-agent/pg"
)

var update = flag.Bool("update", false, "rewrite generated documents")

// bareAgent is an agent that does not run, with everything in its snapshot that a source can tell.
func bareAgent(t testing.TB) *Agent {
	t.Helper()
	cfg := config.Default()
	cfg.Node.Name, cfg.Node.Address = "pg-b", "10.0.2.10"
	cfg.Cluster.Promotable, cfg.Drbd.Resource = "drbd_pg-clone", "pg"
	cfg.Record.ZoneID, cfg.Record.Name = "Z0TEST", testName
	cfg.State.Dir = t.TempDir()
	a, err := New(Options{Config: &cfg, Version: "test", Logger: testLoggerOf(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.close)
	now := a.clock.Boot()
	rep := healthyDrbd()
	res := &rep.Status.Resources[0]
	res.Connections[0].Volumes = []drbd.PeerDevice{{Replication: "SyncSource", PeerDisk: "Inconsistent", Done: 37.5, RateBytesPerSec: 1 << 20, ETA: time.Minute, Stats: &drbd.PeerDeviceStats{OutOfSyncBytes: 4096}}}
	res.Helpers = []drbd.HelperCall{{Helper: drbd.Helper{Name: "fence-peer", Duration: time.Second, ExitCode: 4}}}
	st := healthyStatus()
	st.FailCounts = []crm.FailCount{{Node: "pg-a", Resource: "pgsql", Count: 2}}
	st.Bans = []crm.Ban{{ID: "drbd-fence-by-handler-pg", Node: "pg-a"}}
	a.details = status.Snapshot{
		Crm: st, Drbd: rep, FenceBans: map[string]fsm.Time{"drbd-fence-by-handler-pg": now - time.Second},
		Postgres: pg.Health{
			State: pg.StateWritable, Started: testWall, Timeline: 3,
			Replicas: []pg.Replica{{Name: "reporting", SentLagBytes: 1, WriteLagBytes: 2, FlushLagBytes: 3, ReplayLagBytes: 4}},
			Slots:    []pg.Slot{{Name: "reporting", Active: true, RetainedBytes: 16 << 20}},
		},
	}
	for src := range a.details.Sources {
		a.details.Sources[src] = status.SourceState{Up: true, LastSuccess: now}
	}
	a.state.Cluster = clusterFacts(st, a.id, now, testWall)
	a.state.Drbd = drbdFacts(rep, "pg", now, fsm.Drbd{})
	a.state.Zone = fsm.Zone{At: now, OK: true, Addr: "10.0.2.10", Epoch: 4}
	a.state.Resolved = fsm.Resolved{At: now, OK: true, Addr: "10.0.2.10"}
	a.publish(now)
	return a
}

func TestMetricsPassTheLinter(t *testing.T) {
	problems, err := testutil.GatherAndLint(bareAgent(t).metrics.registry)
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
	a := bareAgent(t)
	gathered, err := a.metrics.registry.Gather()
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
	b.WriteString("# Metrics\n\nGenerated from the code by `make docs`; a test keeps it current. Every metric is about the node that exports it, or about what that node sees.\n" +
		"A metric whose source is down is absent or shows `unknown`, never an old number: watch `pgha_source_up`.\n" +
		"The usual `go_*` and `process_*` metrics are there as well, and `go_gc_heap_live_bytes`: what the last garbage collection left.\n\n| metric | type | labels | meaning |\n|---|---|---|---|\n")
	documented := 0
	for _, f := range gathered {
		if !strings.HasPrefix(f.GetName(), "pgha_") {
			continue
		}
		documented++
		slices.Sort(labels[f.GetName()])
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", f.GetName(), strings.ToLower(f.GetType().String()), strings.Join(labels[f.GetName()], ", "), f.GetHelp())
	}
	// Every family must have a series in this snapshot, or it would be missing from the page.
	for _, f := range stateFamilies() {
		name := regexp.MustCompile(`fqName: "([^"]+)"`).FindStringSubmatch(f.desc.String())[1]
		if !strings.Contains(b.String(), "`"+name+"`") {
			t.Errorf("%s has no series in the test's snapshot: add what it shows to bareAgent", name)
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
	path := filepath.Join("..", "docs", name)
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
	a := bareAgent(t)
	st := healthyStatus()
	st.Nodes = append(st.Nodes, st.Nodes...)
	st.FailCounts = []crm.FailCount{{Node: "a", Resource: "r", Count: 1}, {Node: "a", Resource: "r", Count: 1}}
	a.details.Crm = st
	a.publish(a.clock.Boot())
	rec := httptest.NewRecorder()
	a.publicMux().ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if rec.Code != http.StatusOK || !strings.Contains(rec.Body.String(), "pgha_local_writer 1") {
		t.Errorf("code %d", rec.Code)
	}
}

func TestSourcesThatNeverAnsweredShowNoStaleNumbers(t *testing.T) {
	a := bareAgent(t)
	a.details = status.Snapshot{}
	a.state.Cluster, a.state.Drbd, a.state.Zone, a.state.Resolved = fsm.Cluster{}, fsm.Drbd{}, fsm.Zone{}, fsm.Resolved{}
	a.publish(a.clock.Boot())
	for _, name := range []string{"pgha_cluster_promoted", "pgha_drbd_role", "pgha_dns_record_matches", "pgha_postgres_replication_lag_bytes"} {
		if n, err := testutil.GatherAndCount(a.metrics.registry, name); err != nil || n != 0 {
			t.Errorf("%s: %d series, %v", name, n, err)
		}
	}
	if n, err := testutil.GatherAndCount(a.metrics.registry, "pgha_source_up"); err != nil || n != int(status.NumSources) {
		t.Errorf("pgha_source_up: %d series, %v", n, err)
	}
}

func BenchmarkScrape(b *testing.B) {
	a := bareAgent(b)
	mux := a.publicMux()
	b.ReportAllocs()
	for b.Loop() {
		rec := httptest.NewRecorder()
		mux.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/metrics", nil))
		if rec.Code != http.StatusOK {
			b.Fatal(rec.Code)
		}
	}
}

var _ prometheus.Collector = (*stateCollector)(nil)
