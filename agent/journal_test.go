package agent

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pgha/pgha-agent/agent/config"
	"github.com/pgha/pgha-agent/agent/fsm"
	"github.com/pgha/pgha-agent/agent/internal/statetest"
	"github.com/pgha/pgha-agent/agent/state"
	"github.com/pgha/pgha-agent/drbd"
)

// lastWords is a stream of DRBD that, when the agent stops, brings an episode's end.
type lastWords struct{ save func() }

func (l lastWords) Run(ctx context.Context, _ func(drbd.Report)) error {
	<-ctx.Done()
	time.Sleep(50 * time.Millisecond) // whatever writes the journal sees the end as well
	l.save()
	return ctx.Err()
}

func TestLastEpisodeIsSavedAtTheStop(t *testing.T) {
	w := newWorld(t)
	a, err := New(Options{Config: w.cfg, Version: "test", Logger: testLoggerOf(t)})
	if err != nil {
		t.Fatal(err)
	}
	a.src.Drbd = lastWords{func() { a.journal.Save(statetest.Entry(1)) }}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	w.await("a look", func() bool { return a.Snapshot().State.Cluster.OK })
	stop()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if got, _ := statetest.Read(t, w.dir); len(got) != 1 {
		t.Errorf("%d episodes in the journal", len(got))
	}
}

// agentOn makes an agent that is stepped by hand, on a state directory.
func agentOn(t *testing.T, dir, boot string, clock Clock) *Agent {
	t.Helper()
	cfg := config.Default()
	cfg.Node.Name, cfg.Node.Address, cfg.State.Dir = "pg-b", "127.0.2.10", dir
	cfg.Record.ZoneID, cfg.Record.Name = "Z1", testName
	a, err := New(Options{Config: &cfg, Logger: testLoggerOf(t), Clock: clock, boot: boot})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.close)
	a.start = func(func()) {}
	return a
}

// promoted steps an agent into a promotion.
func promoted(t *testing.T, a *Agent, claim string) {
	t.Helper()
	now := a.clock.Boot()
	a.step(t.Context(), message{event: fsm.DrbdChanged{Drbd: fsm.Drbd{At: now, Live: true, UpToDate: true, Connected: true,
		Primary: true}}})
	a.step(t.Context(), message{event: fsm.ClusterPolled{Cluster: fsm.Cluster{
		At: now, OK: true, Online: true, PromotedHere: true, PromotedCount: 1, FencingEnabled: true, Promotion: claim,
	}}})
	if !a.state.Episode.Open() || a.state.Episode.Promotion != claim {
		t.Fatalf("episode %+v", a.state.Episode)
	}
}

func journalOf(t *testing.T, episodes uint64) string {
	t.Helper()
	dir := t.TempDir()
	j, _ := statetest.Open(t, dir)
	for id := range episodes {
		statetest.Append(t, j, statetest.Entry(id+1))
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	return dir
}

func promotions(entries []state.Entry) (list []string) {
	for _, e := range entries {
		list = append(list, e.Episode.Promotion)
	}
	return list
}

// TestEpisodesComeBehindThoseOfAJournalThatOpensLate holds the number of an episode, in the journal and wherever else
// it is shown.
func TestEpisodesComeBehindThoseOfAJournalThatOpensLate(t *testing.T) {
	for name, lock := range map[string]func(t *testing.T, dir string) (unlock func()){
		"cannot be read": func(t *testing.T, dir string) func() {
			second := filepath.Join(dir, "backup")
			if err := os.Link(state.JournalFile(dir), second); err != nil {
				t.Fatal(err)
			}
			return func() { _ = os.Remove(second) }
		},
		"another writes": func(t *testing.T, dir string) func() {
			j, _ := statetest.Open(t, dir)
			return func() {
				statetest.Append(t, j, statetest.Entry(3)) // its last
				_ = j.Close()
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := journalOf(t, 2)
			unlock := lock(t, dir)
			a := agentOn(t, dir, "boot", newTestClock())
			promoted(t, a, "first")
			if err := a.journal.Flush(); err == nil {
				t.Fatal("the journal is not in the way")
			}
			unlock()
			before, _ := statetest.Read(t, dir)
			if err := a.journal.Flush(); err != nil {
				t.Fatal(err)
			}
			promoted(t, a, "second") // the first one ends, under the number that it has
			if err := a.journal.Flush(); err != nil {
				t.Fatal(err)
			}
			entries, _ := statetest.Read(t, dir)
			if diff := cmp.Diff(append(promotions(before), "first", "second"), promotions(entries)); diff != "" {
				t.Errorf("journal (-want +got)\n%s", diff)
			}
			last := entries[len(entries)-1].Episode
			if shown := a.Snapshot().Doc().Episode; shown.ID != last.ID || shown.Promotion != "second" {
				t.Errorf("status shows number %d, the journal %d", shown.ID, last.ID)
			}
			a.close()
			if b := agentOn(t, dir, "boot", newTestClock()); b.state.Promotion.Claim != "second" {
				t.Errorf("a restart goes on from %q", b.state.Promotion.Claim)
			}
		})
	}
}

// TestJournalThatCanOnlyBeReadIsNotForgotten: a file system that became read-only, or another process with the lock.
func TestJournalThatCanOnlyBeReadIsNotForgotten(t *testing.T) {
	dir := t.TempDir()
	j, _ := statetest.Open(t, dir)
	e := statetest.Entry(7)
	e.Boot, e.Episode.Promotion, e.Episode.Outcome = "boot", "claim", fsm.OutcomeContested
	e.Episode.Memory.Contested = true
	statetest.Append(t, j, e) // and stays open
	a := agentOn(t, dir, "boot", newTestClock())
	if st := &a.state; st.Promotion.Claim != "claim" || !st.Promotion.Contested || st.Episode.ID != 7 ||
		a.Snapshot().JournalErr == "" {
		t.Errorf("promotion %q, contested %t, episode %d, finding %q", st.Promotion.Claim, st.Promotion.Contested,
			st.Episode.ID, a.Snapshot().JournalErr)
	}
}

// TestEpisodeThatARebootEndedKeepsItsBoot: its times count from there.
func TestEpisodeThatARebootEndedKeepsItsBoot(t *testing.T) {
	dir := t.TempDir()
	j, _ := statetest.Open(t, dir)
	e := statetest.Entry(3)
	e.Boot, e.Uptime, e.Saved = "before", 240*time.Hour, testWall.Add(-5*time.Minute)
	e.Episode.Start, e.Episode.Outcome, e.Episode.RaceUntil = 239*time.Hour, "", 241*time.Hour
	e.Episode.Memory.Base = "Z1 db.pgha.internal txt"
	statetest.Append(t, j, e)
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	began := e.Wall(e.Episode.Start)
	for start := range 2 {
		a := agentOn(t, dir, "after", newTestClock())
		if st := &a.state; st.Promotion.Claim != "" || st.Promotion.RaceUntil != 0 {
			t.Errorf("start %d goes on with %q, race until %v", start, st.Promotion.Claim, st.Promotion.RaceUntil)
		}
		a.step(t.Context(), message{event: fsm.Tick{}})
		if err := a.journal.Flush(); err != nil {
			t.Fatal(err)
		}
		want := e
		want.Episode.Outcome = fsm.OutcomeLost
		if got, _ := statetest.Read(t, dir); cmp.Diff([]state.Entry{want}, got) != "" {
			t.Errorf("start %d: journal %+v", start, got)
		}
		if shown := a.Snapshot().Doc().Episode; !shown.Start.Equal(began) || shown.Outcome != string(fsm.OutcomeLost) {
			t.Errorf("start %d: status shows %s from %v, want %v", start, shown.Outcome, shown.Start, began)
		}
		a.close()
	}
	// The next one is of this boot.
	a := agentOn(t, dir, "after", newTestClock())
	promoted(t, a, "next")
	if err := a.journal.Flush(); err != nil {
		t.Fatal(err)
	}
	if got, _ := statetest.Read(t, dir); len(got) != 2 || got[1].Boot != "after" || got[1].Uptime != a.clock.Boot() {
		t.Errorf("journal %+v", got)
	}
}
