package agent

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/pgha/pgha-agent/agent/config"
	"github.com/pgha/pgha-agent/agent/doctor"
)

// TestCorosyncsTimeoutsReachTheCore: each New reads the file, at the start and at a reload. What it cannot tell is 0,
// never a guess.
func TestCorosyncsTimeoutsReachTheCore(t *testing.T) {
	file := filepath.Join(t.TempDir(), "corosync.conf")
	cfg := config.Default()
	cfg.Record.ZoneID, cfg.Record.Name = "Z0TEST", testName
	for _, x := range []struct {
		text string // "": there is no such file
		sim  bool
		want time.Duration
	}{
		{"", false, 0},
		{"totem {\n token: 30000\n consensus: 36000\n}\n", false, 66 * time.Second},
		{"totem {\n token: 1000\n}\n", false, 2200 * time.Millisecond},
		{"totem {\n token: 1000\n}\nnodelist {\n node {\n }\n node {\n }\n node {\n }\n}\n", false, 3630 * time.Millisecond},
		{"totem {\n}\n", false, 0},
		{"totem {\n token: soon\n}\n", false, 0},
		{"totem {\n token: 1000\n}\n", true, 7 * time.Second},
	} {
		if x.text != "" {
			if err := os.WriteFile(file, []byte(x.text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		cfg.State.Dir = t.TempDir()
		opts := Options{Config: &cfg, Logger: testLoggerOf(t), corosync: file}
		if x.sim {
			opts.sources, opts.membership = &bareAgent(t).src, 7*time.Second
		}
		a, err := New(opts)
		if err != nil {
			t.Fatal(err)
		}
		if got := a.state.Config.Membership; got != x.want {
			t.Errorf("%q, simulated %v: membership %v, want %v", x.text, x.sim, got, x.want)
		}
		a.close()
	}
}

// The doctor judges Corosync's token by how long the loop sleeps, which it cannot see.
func TestDoctorKnowsTheHeartbeat(t *testing.T) {
	if heartbeat != doctor.Heartbeat {
		t.Errorf("the loop sleeps for %v at most, the doctor says %v", heartbeat, doctor.Heartbeat)
	}
}
