package agent

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/pgha/pgha-agent/agent/config"
	"github.com/pgha/pgha-agent/agent/fsm"
	"github.com/pgha/pgha-agent/agent/status"
	"github.com/pgha/pgha-agent/agent/web"
	"github.com/pgha/pgha-agent/crm"
	"github.com/pgha/pgha-agent/drbd"
	"github.com/pgha/pgha-agent/pg"
)

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
	res.Connections[0].Volumes = []drbd.PeerDevice{{Replication: "SyncSource", PeerDisk: "Inconsistent", Done: 37.5,
		RateBytesPerSec: 1 << 20, ETA: time.Minute, Stats: &drbd.PeerDeviceStats{OutOfSyncBytes: 4096}}}
	res.Helpers = []drbd.HelperCall{{Helper: drbd.Helper{Name: "fence-peer", Duration: time.Second, ExitCode: 4}}}
	st := healthyStatus()
	st.FailCounts = []crm.FailCount{{Node: "pg-a", Resource: "pgsql", Count: 2}}
	st.Bans = []crm.Ban{{ID: "drbd-fence-by-handler-pg", Node: "pg-a"}}
	a.observed = status.Snapshot{
		Crm: st, Drbd: rep, FenceBans: map[string]fsm.Time{"drbd-fence-by-handler-pg": now - time.Second},
		Postgres: pg.Health{
			State: pg.StateWritable, Started: testWall, Timeline: 3,
			Replicas: []pg.Replica{{Name: "reporting", SentLagBytes: 1, WriteLagBytes: 2, FlushLagBytes: 3, ReplayLagBytes: 4}},
			Slots:    []pg.Slot{{Name: "reporting", Active: true, RetainedBytes: 16 << 20}},
		},
	}
	for src := range a.observed.Sources {
		a.observed.Sources[src] = status.SourceState{Up: true, LastSuccess: now}
	}
	a.state.Cluster = clusterFacts(st, a.id, now, testWall)
	a.state.Drbd = drbdFacts(rep, "pg", now, fsm.Drbd{})
	a.state.Zone = fsm.Zone{At: now, OK: true, Addr: "10.0.2.10", Epoch: 4}
	a.state.Resolved = fsm.Resolved{At: now, OK: true, Addr: "10.0.2.10"}
	a.publish(now)
	return a
}

func BenchmarkScrape(b *testing.B) {
	a := bareAgent(b)
	mux := web.Public(a.webOptions())
	b.ReportAllocs()
	for b.Loop() {
		rec := httptest.NewRecorder()
		mux.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/metrics", nil))
		if rec.Code != http.StatusOK {
			b.Fatal(rec.Code)
		}
	}
}
