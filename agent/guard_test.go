package agent

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pgha/pgha-agent/agent/fsm"
	"github.com/pgha/pgha-agent/agent/state"
	"github.com/pgha/pgha-agent/agent/status"
	"github.com/pgha/pgha-agent/drbd"
	"github.com/pgha/pgha-agent/pg"
	"github.com/pgha/pgha-agent/route53"
)

// testClock is a Clock that the test moves. The two clocks drift apart as they do over a suspend.
type testClock struct {
	mu         sync.Mutex
	boot, mono time.Duration
	wall       time.Time
}

func newTestClock() *testClock {
	return &testClock{boot: time.Hour, mono: time.Hour, wall: testWall}
}

func (c *testClock) Boot() time.Duration { c.mu.Lock(); defer c.mu.Unlock(); return c.boot }

func (c *testClock) Mono() time.Duration { c.mu.Lock(); defer c.mu.Unlock(); return c.mono }

func (c *testClock) Wall() time.Time { c.mu.Lock(); defer c.mu.Unlock(); return c.wall }

func (c *testClock) advance(boot, mono, wall time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.boot, c.mono, c.wall = c.boot+boot, c.mono+mono, c.wall.Add(wall)
}

// promotedAgent does not run; its state is that of a promoted node that is about to write.
func promotedAgent(t *testing.T) (*Agent, *testClock, fsm.Write) {
	a, clock := bareAgent(t), newTestClock()
	a.clock = clock
	now := clock.Boot()
	a.state.Cluster.At, a.state.Drbd.At = now, now
	known := a.state.Drbd
	a.lastDrbd.Store(&known)
	a.state.Promotion.Claim = a.state.Cluster.Promotion
	a.publish(now)
	if h := a.state.Safety(now); h != 0 {
		t.Fatalf("held by %v", holdNames(h))
	}
	return a, clock, fsm.Write{Decided: now, Claim: a.state.Promotion.Claim, Addr: a.cfg.Node.Address}
}

// asked is a Zone that does the last thing that the real one does before a request's first byte: it asks the guard, and
// keeps the answer.
type asked struct {
	*route53.Client // nil: nothing else is asked
	err             error
}

func (z *asked) Close() {}

func (z *asked) Write(_ context.Context, w route53.Write) (string, error) {
	z.err = w.Guard()
	return "", z.err
}

func TestGuardStopsADecisionThatIsNoLongerTrue(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*Agent, *testClock)
		want   string // "" lets the write pass
	}{
		"nothing changed": {func(*Agent, *testClock) {}, ""},
		"a second passed": {func(_ *Agent, c *testClock) { c.advance(time.Second, time.Second, time.Second) }, ""},
		"the process stood": {func(_ *Agent, c *testClock) { c.advance(3*time.Second, 3*time.Second, 3*time.Second) },
			"stalled"},
		"the machine slept":     {func(_ *Agent, c *testClock) { c.advance(3*time.Second, 0, 3*time.Second) }, "stalled"},
		"only boottime stood":   {func(_ *Agent, c *testClock) { c.advance(0, 3*time.Second, 0) }, "stalled"},
		"the wall clock jumped": {func(_ *Agent, c *testClock) { c.advance(0, 0, 24*time.Hour) }, ""},
		"demoted":               {func(a *Agent, _ *testClock) { a.state.Cluster.PromotedHere = false }, "not_promoted"},
		"peer promoted too":     {func(a *Agent, _ *testClock) { a.state.Cluster.PromotedCount = 2 }, "many_promoted"},
		"another promotion":     {func(a *Agent, _ *testClock) { a.state.Promotion.Claim = "other" }, "changed"},
		"contested":             {func(a *Agent, _ *testClock) { a.state.Promotion.Contested = true }, "changed"},
		"accepted meanwhile":    {func(a *Agent, _ *testClock) { a.state.Promotion.Published = true }, "accepted"},
		"written again": {func(a *Agent, _ *testClock) {
			a.state.Promotion.Published, a.state.Repair.Pending = true,
				true
		}, ""},
		"events2 ended": {func(a *Agent, _ *testClock) { a.state.Drbd.Live = false }, "drbd_unknown"},
		"not yet in the loop": {func(a *Agent, _ *testClock) {
			r := healthyDrbd()
			r.Status.Resources[0].Role = drbd.RoleSecondary
			a.drbdChanged(r)
		}, "drbd_not_primary"},
		"paused, not yet in the loop": {func(a *Agent, _ *testClock) { _ = a.pause(t.Context(), time.Hour) }, "paused"},
		"resumed, not yet in the loop": {func(a *Agent,
			_ *testClock) {
			_ = a.pause(t.Context(), time.Hour)
			_ = a.pause(t.Context(), 0)
		}, ""},
		"by itself, paused by a daemon that is back": {func(a *Agent, c *testClock) {
			a.opts.once = true
			_ = state.WritePause(a.cfg.State.Dir, c.Wall().Add(time.Hour))
		}, "paused"},
		"by itself, the pause file not readable": {func(a *Agent, _ *testClock) {
			a.opts.once = true
			_ = os.WriteFile(filepath.Join(a.cfg.State.Dir, "pause.json"), []byte("{"), 0o600)
		}, "paused"},
	} {
		a, clock, w := promotedAgent(t)
		mono := clock.Mono()
		c.change(a, clock)
		a.publish(clock.Boot())
		zone := &asked{}
		a.src.Zone = zone
		a.write(t.Context(), w, mono)
		err := zone.err
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

// TestPublicationByItselfSaysThatItIsPaused: the daemon was away when it began, is back, and has acknowledged the
// pause.
func TestPublicationByItselfSaysThatItIsPaused(t *testing.T) {
	a, clock, w := promotedAgent(t)
	a.opts.once, a.src.Zone, a.start = true, &asked{}, func(func()) {}
	if err := agentOn(t, a.cfg.State.Dir, "boot", clock).pause(t.Context(), time.Hour); err != nil {
		t.Fatal(err)
	}
	wrote := a.write(t.Context(), w, clock.Mono())
	select {
	case m := <-a.inbox:
		a.step(t.Context(), m)
	default:
	}
	a.step(t.Context(), wrote)
	if s := a.Snapshot(); !s.Holds.Has(fsm.HoldPaused) || s.State.Write.InFlight.Claim != "" {
		t.Errorf("held by %v, writing %+v", holdNames(s.Holds), s.State.Write.InFlight)
	}
}

func TestLoopNoticesThatItStoodStill(t *testing.T) {
	a, clock, _ := promotedAgent(t)
	a.planned = clock.Boot() + heartbeat
	clock.advance(2*time.Second, 2*time.Second, 0)
	a.noticeStall(t.Context())
	if a.state.Wait.StalledUntil != 0 {
		t.Error("a second of delay was taken for a stall")
	}
	clock.advance(10*time.Second, 0, 0)
	a.noticeStall(t.Context())
	a.effects.Wait()
	now := clock.Boot()
	if a.state.Wait.StalledUntil <= now || a.state.Cluster.OK {
		t.Errorf("stalled until %v at %v, picture of the cluster trusted: %v", a.state.Wait.StalledUntil, now,
			a.state.Cluster.OK)
	}
}

func TestPauseEndsByTheWallClockOverAReboot(t *testing.T) {
	dir, clock := t.TempDir(), newTestClock()
	if err := state.WritePause(dir, clock.Wall().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	rebooted := newTestClock()
	rebooted.boot, rebooted.wall = time.Minute, clock.Wall().Add(30*time.Minute)
	until, err := state.ReadPause(dir, rebooted.Wall(), rebooted.Boot())
	if want := 31 * time.Minute; err != nil || until != want {
		t.Errorf("paused until %v, %v; want %v", until, err, want)
	}
	rebooted.wall = clock.Wall().Add(2 * time.Hour)
	if until, err := state.ReadPause(dir, rebooted.Wall(), rebooted.Boot()); err != nil || until != 0 {
		t.Errorf("paused until %v, %v after the end", until, err)
	}
}

func TestPauseFileIsNotFollowed(t *testing.T) {
	dir := t.TempDir()
	secret := filepath.Join(t.TempDir(), "secret")
	if err := errors.Join(os.WriteFile(secret, []byte("{}"), 0o600),
		os.Symlink(secret, filepath.Join(dir, "pause.json"))); err != nil {
		t.Fatal(err)
	}
	if _, err := state.ReadPause(dir, testWall, time.Hour); err == nil {
		t.Error("a symbolic link was read")
	}
}

func TestSplitBrainIsRememberedOverARestartUntilConnected(t *testing.T) {
	report := func(state drbd.ConnectionState, brain drbd.SplitBrain) drbd.Report {
		r := healthyDrbd()
		c := &r.Status.Resources[0].Connections[0]
		c.State, c.SplitBrain = state, brain
		return r
	}
	facts := func(a *Agent, r drbd.Report) fsm.Drbd {
		return a.drbdChanged(r).event.(fsm.DrbdChanged).Drbd
	}
	a := bareAgent(t)
	if facts(a, report("StandAlone", drbd.SplitBrainSuspected)).SplitBrain {
		t.Error("a suspicion alone counts as a split brain")
	}
	facts(a, report("StandAlone", drbd.SplitBrainLatched))
	a.lastDrbd.Store(&fsm.Drbd{}) // the agent is restarted: the stream finds StandAlone
	if !facts(a, report("StandAlone", drbd.SplitBrainSuspected)).SplitBrain {
		t.Error("forgotten over the restart")
	}
	a.lastDrbd.Store(&fsm.Drbd{})
	if !facts(a, report("Connecting", drbd.SplitBrainNone)).SplitBrain {
		t.Error("forgotten when the other side is the one that stands alone")
	}
	facts(a, report("Connected", drbd.SplitBrainNone))
	a.lastDrbd.Store(&fsm.Drbd{})
	if facts(a, report("StandAlone", drbd.SplitBrainSuspected)).SplitBrain {
		t.Error("remembered although the resource was connected again")
	}
}

func TestBusyPortCostsOnlyTheMetrics(t *testing.T) {
	w := newWorld(t)
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	w.cfg.HTTP.Listen = busy.Addr().String()
	a, _ := w.start()
	w.ready(a)
	w.await("the problem to show", func() bool {
		return slices.ContainsFunc(a.Snapshot().Problems(), func(f status.Problem) bool { return f.Code == "http" })
	})
	w.failOver()
	w.await("record to move", func() bool { return w.record() == "127.0.2.10" })
}

func TestFrozenProcessClaimsNothing(t *testing.T) {
	a, clock, _ := promotedAgent(t)
	if !a.Snapshot().IsWriter(clock.Boot()) {
		t.Fatal("a fresh promoted node claims nothing")
	}
	clock.advance(10*time.Second, 10*time.Second, 0)
	if a.Snapshot().IsWriter(clock.Boot()) {
		t.Error("a snapshot from before the freeze still claims the writer's role")
	}
}

func TestClientOutageIsMeasuredOverARestart(t *testing.T) {
	a, clock, _ := promotedAgent(t)
	seen := state.ClientSeen{At: clock.Boot() - 20*time.Second, Addr: "10.0.1.10"}
	a.observed.Served = seen
	open := fsm.Episode{ID: 7, Cause: fsm.CauseNodeLost, Start: clock.Boot() - 19*time.Second}
	a.journal.Save(a.entry(open))
	if err := a.journal.Flush(); err != nil {
		t.Fatal(err)
	}
	a.close()
	b, err := New(Options{Config: a.cfg, Logger: testLoggerOf(t), Clock: clock})
	if err != nil {
		t.Fatal(err)
	}
	defer b.close()
	if b.observed.Served != seen {
		t.Errorf("last served %+v, want %+v", b.observed.Served, seen)
	}
	wall := clock.Wall()
	for i, v := range []pg.ClientProbe{{End: wall},
		{End: wall.Add(time.Second), Answers: true, Answered: netip.MustParseAddr("10.0.2.10")}} {
		if gap := b.outage.Observe(v); (gap != nil) != (i == 1) || gap != nil && gap.Duration() != 21*time.Second {
			t.Errorf("view %d: gap %+v", i, gap)
		}
	}
	// An episode that had ended says nothing about an outage now.
	open.Outcome = fsm.OutcomeComplete
	b.journal.Save(b.entry(open))
	if err := b.journal.Flush(); err != nil {
		t.Fatal(err)
	}
	b.close()
	c, err := New(Options{Config: a.cfg, Logger: testLoggerOf(t), Clock: clock})
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	if c.observed.Served != (state.ClientSeen{}) {
		t.Errorf("last served %+v after the episode ended", c.observed.Served)
	}
}
