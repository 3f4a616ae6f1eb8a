package agent

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/pgha/pgha-agent/agent/config"
	"github.com/pgha/pgha-agent/agent/fsm"
	"github.com/pgha/pgha-agent/agent/state"
)

// told returns what the loop would take in, oldest first.
func told(a *Agent) (list []fsm.Event) {
	for len(a.inbox) > 0 {
		list = append(list, (<-a.inbox).event)
	}
	return list
}

func TestPauseReachesTheLoopThoughItsClientLeft(t *testing.T) {
	a := bareAgent(t)
	a.clock = newTestClock()
	gone, leave := context.WithCancel(t.Context())
	leave()
	for range 20 { // one of two ready cases is taken at random
		for _, length := range []time.Duration{time.Hour, 0} {
			if err := a.pause(gone, length); err != nil {
				t.Fatal(err)
			}
			until, err := state.ReadPause(a.cfg.State.Dir, a.clock.Wall(), a.clock.Boot())
			if got := told(a); err != nil || len(got) != 1 || got[0] != (fsm.Paused{Until: until}) ||
				(until != 0) != (length != 0) {
				t.Fatalf("pause for %v: file says %v (%v), the loop is told %v", length, until, err, got)
			}
		}
	}
}

// meddler is a clock that lets something else happen when it is asked the second time: between the write of a pause and
// the word to the loop.
type meddler struct {
	Clock
	asked  int
	meddle func()
}

func (m *meddler) Wall() time.Time {
	if m.asked++; m.asked == 2 {
		m.meddle()
	}
	return m.Clock.Wall()
}

func TestPausesAtOnceLeaveFileAndLoopAtOne(t *testing.T) {
	a := bareAgent(t)
	resumed := make(chan error, 1)
	a.clock = &meddler{Clock: newTestClock(), meddle: func() {
		if a.pauses.idle() {
			t.Error("nothing keeps another request out")
		}
		go func() { resumed <- a.pause(t.Context(), 0) }()
	}}
	if err := errors.Join(a.pause(t.Context(), time.Hour), <-resumed); err != nil {
		t.Fatal(err)
	}
	until, err := state.ReadPause(a.cfg.State.Dir, testWall, time.Hour)
	if list := told(a); err != nil || len(list) != 2 || list[1] != (fsm.Paused{Until: until}) {
		t.Errorf("file says %v (%v), the loop was told %v", until, err, list)
	}
}

// TestPauseThatFailsChangesTheLoopOnlyWithTheFile takes the state directory away: the file cannot be written, and says
// nothing.
func TestPauseThatFailsChangesTheLoopOnlyWithTheFile(t *testing.T) {
	a := bareAgent(t)
	a.cfg.State.Dir = filepath.Join(a.cfg.State.Dir, "gone")
	if err := a.pause(t.Context(), time.Hour); err == nil {
		t.Error("a pause without a file")
	}
	if list := told(a); len(list) != 0 {
		t.Errorf("a pause that is not kept: the loop is told %v", list)
	}
}

// TestPauseAfterTheEndIsRefused: the next agent has read the file by then.
func TestPauseAfterTheEndIsRefused(t *testing.T) {
	w := newWorld(t)
	a, stop := w.start()
	w.ready(a)
	stop()
	if err := a.pause(t.Context(), time.Hour); !errors.Is(err, errStopping) {
		t.Errorf("paused by an agent that has ended: %v", err)
	}
	if _, err := os.Stat(filepath.Join(w.dir, "pause.json")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("and there is a file: %v", err)
	}
}

func TestUnreadablePauseFilePauses(t *testing.T) {
	for name, text := range map[string]string{"empty": "", "torn": `{"until":"2026-`, "no time": `{"until":5}`} {
		cfg, clock := config.Default(), newTestClock()
		cfg.Node.Name, cfg.Node.Address, cfg.State.Dir = "pg-b", "127.0.2.10", t.TempDir()
		cfg.Record.ZoneID, cfg.Record.Name = "Z1", testName
		if err := os.WriteFile(filepath.Join(cfg.State.Dir, "pause.json"), []byte(text), 0o640); err != nil {
			t.Fatal(err)
		}
		a, err := New(Options{Config: &cfg, Logger: testLoggerOf(t), Clock: clock})
		if err != nil {
			t.Fatal(err)
		}
		defer a.close()
		if want := clock.Boot() + time.Hour; a.state.Wait.PausedUntil != want || !a.Snapshot().Holds.Has(fsm.HoldPaused) {
			t.Errorf("%s: paused until %v, want %v", name, a.state.Wait.PausedUntil, want)
		}
	}
}
