package agent

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pgha/pgha-agent/agent/config"
	"github.com/pgha/pgha-agent/agent/internal/statetest"
	"github.com/pgha/pgha-agent/agent/status"
)

// TestReloadThatCannotBeDoneChangesNothing reloads what a running daemon must refuse, each in its own way, and then
// what it takes.
func TestReloadThatCannotBeDoneChangesNothing(t *testing.T) {
	w := newWorld(t)
	awsConfig := filepath.Join(w.dir, "aws-config")
	w.write("aws-config", "[default]\nregion = eu-central-1\n")
	t.Setenv("AWS_CONFIG_FILE", awsConfig)
	w.write("occupied", "")
	good := w.cfg
	systemd, reload, done := &notes{}, make(chan struct{}), make(chan error, 1)
	var next func() (*config.Config, error)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	next = func() (*config.Config, error) { return good, nil }
	go func() {
		done <- Daemon(ctx, Options{Version: "test", Notify: systemd}, func() (*config.Config, *slog.Logger, error) {
			cfg, err := next()
			return cfg, testLoggerOf(t), err
		}, reload)
	}()
	problem := func() string {
		doc, err := status.Fetch(ctx, good.State.ControlSocket)
		if err != nil {
			return err.Error()
		}
		if i := slices.IndexFunc(doc.Problems, func(f status.Problem) bool { return f.Code == "config" }); i >= 0 {
			return doc.Problems[i].Text
		}
		return ""
	}
	w.await("the daemon", func() bool { return problem() == "" && systemd.has("READY=1") })
	changed := func(change func(*config.Config)) func() (*config.Config, error) {
		return func() (*config.Config, error) {
			cfg := *good
			change(&cfg)
			return &cfg, nil
		}
	}
	for _, c := range []struct {
		want string
		next func() (*config.Config, error)
	}{
		{"line 7", func() (*config.Config, error) { return nil, errors.New("line 7") }},
		{"postgres.dsn", changed(func(c *config.Config) { c.Postgres.DSN = "host=a,b" })},
		{"listen for control", changed(func(c *config.Config) {
			c.State.ControlSocket = filepath.Join(w.dir, "none",
				"control.sock")
		})},
		{"state.dir cannot change", changed(func(c *config.Config) { c.State.Dir = t.TempDir() })},
		{"listen for alerts", changed(func(c *config.Config) { c.State.AlertSocket = filepath.Join(w.dir, "occupied") })},
		{"max_attempts", func() (*config.Config, error) {
			w.write("aws-config", "[default]\nmax_attempts = x\n")
			return good, nil
		}},
	} {
		next = c.next
		select {
		case reload <- struct{}{}:
		case err := <-done:
			t.Fatalf("before %s the daemon has ended: %v", c.want, err)
		}
		w.await(c.want+" in the finding", func() bool { return strings.Contains(problem(), c.want) })
	}
	if systemd.has("RELOADING=1") {
		t.Error("systemd was told of a reload")
	}
	w.write("aws-config", "[default]\nregion = eu-central-1\n")
	moved := *good
	moved.State.ControlSocket = filepath.Join(w.dir, "moved.sock")
	next = func() (*config.Config, error) { return &moved, nil }
	reload <- struct{}{}
	w.await("the new socket", func() bool { _, err := status.Fetch(ctx, moved.State.ControlSocket); return err == nil })
	good = &moved
	w.await("the finding to go, and the reload to be over", func() bool {
		systemd.mu.Lock()
		defer systemd.mu.Unlock()
		at := slices.Index(systemd.list, "RELOADING=1")
		return at >= 0 && slices.Contains(systemd.list[at:], "READY=1") && problem() == ""
	})
	if _, err := os.Lstat(w.cfg.State.ControlSocket); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the old socket is still there: %v", err)
	}
	stop()
	select {
	case err := <-done:
		if err != nil {
			t.Errorf("Daemon: %v", err)
		}
	case <-time.After(time.Minute):
		t.Error("the daemon did not stop")
	}
}

// TestReloadWaitsForTheDisk: the next agent goes on from the journal and the pause file alone, and would not know what
// is not written yet.
func TestReloadWaitsForTheDisk(t *testing.T) {
	a := agentOn(t, t.TempDir(), "boot", newTestClock())
	opts := Options{Config: a.cfg, Logger: testLoggerOf(t), Clock: a.clock, boot: "boot"}
	reload := func() error {
		next, err := a.successor(opts)
		if err == nil {
			next.close()
		}
		return err
	}
	a.journal.Save(statetest.Entry(1))
	if err := reload(); err == nil || !strings.Contains(err.Error(), a.cfg.State.Dir) {
		t.Errorf("with an episode that is not saved: %v", err)
	}
	if err := a.journal.Flush(); err != nil {
		t.Fatal(err)
	}
	a.pauses.Lock() // what a request holds while its file is written: the disk hangs
	if err := reload(); err == nil || !strings.Contains(err.Error(), a.cfg.State.Dir) {
		t.Errorf("with a pause that is being written: %v", err)
	}
	a.pauses.Unlock()
	if err := reload(); err != nil {
		t.Errorf("with all saved: %v", err)
	}
}
