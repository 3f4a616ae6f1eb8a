package agent

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pgha/pgha-agent/agent/config"
	"github.com/pgha/pgha-agent/agent/fsm"
)

// hung takes nothing until it is let go: stderr that nobody reads, or a service manager that stalls.
type hung struct {
	release chan struct{}
	mu      sync.Mutex
	text    bytes.Buffer
}

func newHung() *hung { return &hung{release: make(chan struct{})} }

// Write implements io.Writer.
func (h *hung) Write(b []byte) (int, error) {
	<-h.release
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.text.Write(b)
}

// Notify implements Notifier.
func (h *hung) Notify(state string) { _, _ = h.Write([]byte(state + "\n")) }

func (h *hung) lines() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return strings.Split(strings.TrimSuffix(h.text.String(), "\n"), "\n")
}

// logger writes the text of each line, and its attributes, to h.
func (h *hung) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(h, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey || a.Key == slog.LevelKey {
			return slog.Attr{}
		}
		return a
	}}))
}

// TestLogThatNobodyReadsHoldsNobodyUp would not end if a caller waited: the bubble says so when nothing in it can go
// on.
func TestLogThatNobodyReadsHoldsNobodyUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stderr := newHung()
		h := newLogAside(stderr.logger().Handler())
		log := slog.New(h).With("source", "drbd").WithGroup("g")
		log.Info("first")
		synctest.Wait() // it is being written
		for n := range logWaits + 7 {
			log.Info("line", "n", n)
		}
		begin := time.Now()
		h.lines.flush(logFlush)
		if waited := time.Since(begin); waited != logFlush {
			t.Errorf("waited %v for the log, want %v", waited, logFlush)
		}
		close(stderr.release)
		h.lines.flush(time.Hour)
		got := stderr.lines()
		want := []string{"msg=first source=drbd"}
		for n := range logWaits {
			want = append(want, fmt.Sprintf("msg=line source=drbd g.n=%d", n))
		}
		want = append(want, `msg="log lines lost: nobody read the log" source=drbd g.count=7`)
		if !slices.Equal(got, want) {
			t.Errorf("%d lines, want %d; the last is %q", len(got), len(want), got[len(got)-1])
		}
		log.Info("afterwards")
		h.lines.flush(time.Hour)
		if got := stderr.lines(); got[len(got)-1] != "msg=afterwards source=drbd" {
			t.Errorf("the last line is %q", got[len(got)-1])
		}
	})
}

func TestNotifierThatHangsIsToldWhatIsThen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		systemd := newHung()
		n := beside(systemd)
		n.Notify("STATUS=one")
		synctest.Wait()
		for _, state := range []string{"READY=1", "WATCHDOG=1", "STATUS=two", "RELOADING=1", "WATCHDOG=1", "STATUS=READY",
			"READY=1"} {
			n.Notify(state)
		}
		if beside(n) != n {
			t.Error("a queue before the queue")
		}
		close(systemd.release)
		synctest.Wait()
		want := []string{"STATUS=one", "RELOADING=1", "WATCHDOG=1", "STATUS=READY", "READY=1"}
		if got := systemd.lines(); !slices.Equal(got, want) {
			t.Errorf("told %q, want %q", got, want)
		}
	})
}

// TestLoopWaitsForNobody runs the loop's turns while neither the log nor systemd, the disk or AWS takes anything. It
// would not end if one of them held the loop up.
func TestLoopWaitsForNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		t.Setenv("WATCHDOG_USEC", "4000000")
		stderr, systemd, clock := newHung(), newHung(), newTestClock()
		cfg := config.Default()
		cfg.Node.Name, cfg.Node.Address, cfg.State.Dir = "pg-b", "127.0.2.10", t.TempDir()
		cfg.Record.ZoneID, cfg.Record.Name = "Z1", testName
		cfg.CloudWatch.TopicARN = "arn:aws:sns:eu-central-1:1:x"
		a, err := New(Options{Config: &cfg, Logger: stderr.logger(), Clock: clock, Notify: systemd})
		if err != nil {
			t.Fatal(err)
		}
		a.start = func(func()) {}
		a.planned = clock.Boot()
		a.notify = newNotifier(a.opts.Notify, a.planned)
		for n := range 3 * logWaits { // each a promotion, and its end
			now := clock.Boot()
			c := fsm.Cluster{
				At: now, OK: true, Online: true, PromotedHere: n%2 == 0, PromotedCount: 1, FencingEnabled: true,
				Promotion: fmt.Sprintf("claim %d", n),
			}
			a.turn(t.Context(), message{event: fsm.DrbdChanged{Drbd: fsm.Drbd{At: now, Live: true, UpToDate: true,
				Primary: n%2 == 0}}})
			a.turn(t.Context(), message{event: fsm.ClusterPolled{Cluster: c}})
			clock.advance(time.Second, time.Second, time.Second)
		}
		if got := a.Snapshot().At; got != clock.Boot()-time.Second {
			t.Errorf("the last step was at %v", got)
		}
		close(stderr.release)
		close(systemd.release)
		a.close()
		synctest.Wait()
		begins := func(line string) bool { return strings.Contains(line, "episode begins") }
		if log := stderr.lines(); !slices.ContainsFunc(log, begins) || !strings.Contains(log[len(log)-1], "log lines lost") {
			t.Errorf("log from %q to %q", log[0], log[len(log)-1])
		}
		if told := systemd.lines(); !slices.Contains(told, "READY=1") || !slices.Contains(told, "WATCHDOG=1") ||
			len(told) > 4 {
			t.Errorf("told systemd %q", told)
		}
	})
}

// TestLastWordsReachTheLog stops an agent whose log is slow: what was said before the end of Run is there at its end.
func TestLastWordsReachTheLog(t *testing.T) {
	var log bytes.Buffer
	a := bareAgent(t)
	a.log = slog.New(newLogAside(slog.NewTextHandler(slowWriter{&log}, nil)))
	for n := range 20 {
		a.log.Info("line", "n", n)
	}
	a.close()
	if !strings.Contains(log.String(), "n=19") {
		t.Errorf("the log ends with %q", log.String())
	}
}

type slowWriter struct{ to *bytes.Buffer }

func (w slowWriter) Write(b []byte) (int, error) {
	time.Sleep(time.Millisecond)
	return w.to.Write(b)
}

// TestAlertIsTakenOnceTheLoopHasIt holds what "ok" on the alert socket means: the hook does nothing then, so a loop
// that hangs or has ended must not have it said.
func TestAlertIsTakenOnceTheLoopHasIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := bareAgent(t)
		a.start = func(func()) {}
		send := func() <-chan error {
			answer := make(chan error, 1)
			go func() { answer <- a.alerted(t.Context(), promoteAlert, 0) }()
			synctest.Wait()
			return answer
		}
		answered := func(answer <-chan error) (error, bool) {
			synctest.Wait()
			select {
			case err := <-answer:
				return err, true
			default:
				return nil, false
			}
		}
		answer := send()
		if err, ok := answered(answer); ok {
			t.Fatalf("answered %v, and nobody has taken it in", err)
		}
		m := <-a.inbox
		if m.event != (fsm.Hint{Promotion: true}) {
			t.Errorf("event %#v", m.event)
		}
		a.step(t.Context(), m)
		if err, ok := answered(answer); err != nil || !ok {
			t.Errorf("taken in, and the answer is %v, given %t", err, ok)
		}
		// SIGTERM: what is in the inbox stays there.
		answer = send()
		stopped, stop := context.WithCancel(t.Context())
		stop()
		a.inbox = make(chan message) // so that the loop sees the end only
		_ = a.loop(stopped)
		if err, ok := answered(answer); err == nil || !ok {
			t.Errorf("the loop has ended, and the answer is %v, given %t", err, ok)
		}
		if err, ok := answered(send()); err == nil || !ok {
			t.Errorf("after the end the answer is %v, given %t", err, ok)
		}
	})
}
