package alertsock

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"golang.org/x/sync/errgroup"

	"github.com/pgha/pgha-agent/crm"
)

// alertTest is a server on a real socket, stopped and checked for leaks at the end of the test.
func testAlert(n int) crm.Alert {
	return crm.Alert{Kind: crm.AlertResource, Sequence: n, At: time.Date(2026, 3, 1, 10, 0, 0, 5000, time.UTC),
		Node: "pg-1", Task: "promote", RC: &n}
}

type alertTest struct {
	path     string
	counters *AlertCounters
	stop     func() error

	mu  sync.Mutex
	got []crm.Alert
	uid uint32
}

func serveAlerts(t *testing.T, change func(*AlertServer)) *alertTest {
	t.Helper()
	s := &alertTest{path: filepath.Join(t.TempDir(), "alert.sock"), counters: &AlertCounters{}}
	l, err := ListenUnix(s.path, 0o660)
	if err != nil {
		t.Fatal(err)
	}
	opts := AlertServer{
		Deliver: func(_ context.Context, a crm.Alert, uid uint32) error {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.got, s.uid = append(s.got, a), uid
			return nil
		},
		AllowUID: func(uid uint32) bool { return uid == uint32(os.Getuid()) },
		Counters: s.counters,
	}
	if change != nil {
		change(&opts)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- ServeAlerts(ctx, l, opts) }()
	s.stop = sync.OnceValue(func() error { cancel(); return <-done })
	t.Cleanup(func() {
		if err := s.stop(); err != nil {
			t.Errorf("serve: %v", err)
		}
		goleak.VerifyNone(t)
	})
	return s
}

func (s *alertTest) dial(t *testing.T) *net.UnixConn {
	t.Helper()
	c, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: s.path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	return c
}

func (s *alertTest) send(t *testing.T, n int) error {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	return SendAlert(ctx, s.path, testAlert(n))
}

func (s *alertTest) wantCounts(t *testing.T, received, rejected, malformed uint64) {
	t.Helper()
	c := s.counters
	if c.Received.Load() != received || c.Rejected.Load() != rejected || c.Malformed.Load() != malformed {
		t.Errorf("received %d, rejected %d, malformed %d", c.Received.Load(), c.Rejected.Load(), c.Malformed.Load())
	}
}

func TestAlertArrivesAndIsAnswered(t *testing.T) {
	s := serveAlerts(t, nil)
	if err := s.send(t, 1); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]crm.Alert{testAlert(1)}, s.got); d != "" || s.uid != uint32(os.Getuid()) {
		t.Errorf("uid %d: %s", s.uid, d)
	}
	s.wantCounts(t, 1, 0, 0)
}

func TestAlertSocketAnswersEachKindOfClient(t *testing.T) {
	doc, err := json.Marshal(testAlert(1))
	if err != nil {
		t.Fatal(err)
	}
	good := string(doc) + "\n"
	for name, c := range map[string]struct {
		send      string
		halfClose bool
		want      string
		malformed uint64
	}{
		"good":                    {good, false, "ok\n", 0},
		"half-closed":             {good, true, "ok\n", 0},
		"more after the line":     {good + good + "garbage", false, "ok\n", 0},
		"CRLF":                    {string(doc) + "\r\n", false, "ok\n", 0},
		"garbage":                 {"\x00\xff{\n", false, "err not an alert\n", 1},
		"empty line":              {"\n", false, "err not an alert\n", 1},
		"no kind":                 {"{}\n", false, "err not an alert\n", 1},
		"nothing":                 {"", true, "err not an alert\n", 1},
		"no newline":              {string(doc), true, "err not an alert\n", 1},
		"no newline, kept open":   {string(doc), false, "err not an alert\n", 1},
		"silent":                  {"", false, "err not an alert\n", 1},
		"line of the longest":     {strings.Repeat(" ", alertLine-len(good)) + good, false, "ok\n", 0},
		"line of one byte more":   {strings.Repeat(" ", alertLine-len(good)+1) + good, false, "err not an alert\n", 1},
		"huge line":               {strings.Repeat("x", 1<<20), false, "err not an alert\n", 1},
		"huge line, then the end": {strings.Repeat("x", 1<<20), true, "err not an alert\n", 1},
	} {
		t.Run(name, func(t *testing.T) {
			s := serveAlerts(t, nil)
			conn := s.dial(t)
			// The server may close before a huge line is out: then the write fails, and the answer is still there.
			_, _ = conn.Write([]byte(c.send))
			if c.halfClose {
				_ = conn.CloseWrite()
			}
			var answer [64]byte
			n, err := conn.Read(answer[:])
			if string(answer[:n]) != c.want {
				t.Errorf("answer %q, %v", answer[:n], err)
			}
			if err := s.stop(); err != nil {
				t.Fatal(err)
			}
			s.wantCounts(t, 1-c.malformed, 0, c.malformed)
		})
	}
}

func TestAlertOfAnotherUserIsRefused(t *testing.T) {
	s := serveAlerts(t, func(o *AlertServer) { o.AllowUID = func(uint32) bool { return false } })
	if err := s.send(t, 1); !errors.Is(err, ErrAlertRefused) {
		t.Errorf("got %v", err)
	}
	s.wantCounts(t, 0, 1, 0)
	if len(s.got) != 0 {
		t.Error("delivered")
	}
}

func TestAlertThatCannotBeDeliveredIsNotAcknowledged(t *testing.T) {
	s := serveAlerts(t, func(o *AlertServer) {
		o.Deliver = func(ctx context.Context, _ crm.Alert, _ uint32) error { <-ctx.Done(); return ctx.Err() }
	})
	begin := time.Now()
	if err := s.send(t, 1); !errors.Is(err, ErrAlertRefused) {
		t.Errorf("got %v", err)
	}
	if d := time.Since(begin); d > 3*alertDeadline {
		t.Errorf("took %s", d)
	}
	s.wantCounts(t, 0, 1, 0)
}

func TestSlowClientsHoldNobodyUp(t *testing.T) {
	s := serveAlerts(t, nil)
	var drips sync.WaitGroup
	for range 2 * alertServed {
		conn := s.dial(t)
		drips.Go(func() { // a byte now and then, which must not extend the deadline
			for {
				if _, err := conn.Write([]byte("{")); err != nil {
					return
				}
				time.Sleep(50 * time.Millisecond)
			}
		})
	}
	begin := time.Now()
	if err := s.send(t, 1); err != nil {
		t.Error(err)
	}
	if d := time.Since(begin); d > alertDeadline {
		t.Errorf("a good client waited %s", d)
	}
	drips.Wait() // each is closed, for another one or at its deadline
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	s.wantCounts(t, 1, 0, 2*alertServed)
}

func TestManyAlertsAtOnceAllArrive(t *testing.T) {
	s := serveAlerts(t, nil)
	const clients = 500
	var senders errgroup.Group
	senders.SetLimit(alertClients) // with one more, who is slow to say its line may have to go, and its hook goes on alone
	for n := range clients {
		senders.Go(func() error { return s.send(t, n) })
	}
	if err := senders.Wait(); err != nil {
		t.Error(err)
	}
	seen := map[int]bool{}
	for _, a := range s.got {
		seen[a.Sequence] = true
	}
	if len(seen) != clients || len(s.got) != clients {
		t.Errorf("%d alerts, %d of them different", len(s.got), len(seen))
	}
	s.wantCounts(t, clients, 0, 0)
}

func TestServeAlertsEndsWithItsClients(t *testing.T) {
	inside := make(chan struct{})
	s := serveAlerts(t, func(o *AlertServer) {
		o.Deliver = func(ctx context.Context, _ crm.Alert, _ uint32) error { close(inside); <-ctx.Done(); return ctx.Err() }
	})
	for range 3 {
		s.dial(t)
	}
	sent := make(chan error, 1)
	go func() { sent <- s.send(t, 1) }()
	<-inside
	begin := time.Now()
	if err := s.stop(); err != nil {
		t.Error(err)
	}
	if d := time.Since(begin); d > alertDeadline/2 {
		t.Errorf("took %s", d)
	}
	if err := <-sent; err == nil {
		t.Error("acknowledged")
	}
}

func TestServeAlertsReportsAListenerThatWasClosed(t *testing.T) {
	l, err := ListenUnix(filepath.Join(t.TempDir(), "s"), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	if err := ServeAlerts(t.Context(), l, AlertServer{}); !errors.Is(err, net.ErrClosed) {
		t.Errorf("got %v", err)
	}
	goleak.VerifyNone(t)
}

// flakyListener fails its first calls as a process without free file descriptors does.
type flakyListener struct {
	net.Listener
	fails int
}

func (l *flakyListener) Accept() (net.Conn, error) {
	if l.fails > 0 {
		l.fails--
		return nil, &net.OpError{Op: "accept", Err: syscall.EMFILE}
	}
	return l.Listener.Accept()
}

func TestServeAlertsOutlivesAShortageOfFileDescriptors(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := ListenUnix(path, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	done := make(chan error, 1)
	go func() {
		done <- ServeAlerts(ctx, &flakyListener{l, 2}, AlertServer{
			Deliver:  func(context.Context, crm.Alert, uint32) error { return nil },
			AllowUID: func(uint32) bool { return true },
		})
	}()
	if err := SendAlert(ctx, path, testAlert(1)); err != nil {
		t.Error(err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	goleak.VerifyNone(t)
}

func TestSendAlertTellsWhyItFailed(t *testing.T) {
	defer goleak.VerifyNone(t)
	dir := t.TempDir()
	path := filepath.Join(dir, "s")
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if err := SendAlert(ctx, path, testAlert(1)); !errors.Is(err, ErrNoListener) {
		t.Errorf("no socket: %v", err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	// As when systemd holds the socket and the agent is down.
	if err := SendAlert(ctx, path, testAlert(1)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("no answer: %v", err)
	}
	answer := func(s string) error {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		var wg sync.WaitGroup
		wg.Go(func() {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = c.Read(make([]byte, 4096))
			_, _ = io.WriteString(c, s)
			_ = c.Close()
		})
		defer wg.Wait()
		return SendAlert(ctx, path, testAlert(1))
	}
	_, _ = l.Accept() // the one above
	for s, want := range map[string]bool{"ok\n": true, "ok": false, "": false, "okay\n": false,
		strings.Repeat("o", 4096): false} {
		if err := answer(s); (err == nil) != want || errors.Is(err, ErrAlertRefused) {
			t.Errorf("answer %.10q: %v", s, err)
		}
	}
	if err := answer("err \x1b[2J\n"); !errors.Is(err, ErrAlertRefused) || strings.Contains(err.Error(), "\x1b") {
		t.Errorf("%v", err)
	}
	l.SetUnlinkOnClose(false)
	_ = l.Close()
	ctx, cancel = context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if err := SendAlert(ctx, path, testAlert(1)); !errors.Is(err, ErrNoListener) {
		t.Errorf("stale socket: %v", err)
	}
	huge := testAlert(1)
	huge.Desc = strings.Repeat("x", alertLine)
	if err := SendAlert(ctx, path, huge); err == nil || errors.Is(err, ErrNoListener) {
		t.Errorf("huge alert: %v", err)
	}
}

func TestSendAlertWaitsForRoomInTheBacklog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), path)
	defer func() { _ = f.Close() }()
	if err := errors.Join(syscall.Bind(fd, &syscall.SockaddrUnix{Name: path}), syscall.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	full, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = full.Close() }()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if err := SendAlert(ctx, path, testAlert(1)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

func TestListenUnixRemovesOnlyAStaleSocket(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "s")
	for name, make := range map[string]func() error{
		"file":      func() error { return os.WriteFile(path, nil, 0o600) },
		"directory": func() error { return os.Mkdir(path, 0o700) },
		"fifo":      func() error { return syscall.Mkfifo(path, 0o600) },
		"symlink":   func() error { return os.Symlink("nowhere", path) },
	} {
		if err := make(); err != nil {
			t.Fatal(err)
		}
		if _, err := ListenUnix(path, 0o600); err == nil {
			t.Errorf("listens in place of a %s", name)
		}
		if _, err := os.Lstat(path); err != nil {
			t.Errorf("removed a %s", name)
		}
		_ = os.Remove(path)
	}
	first, err := ListenUnix(path, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ListenUnix(path, 0o600); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("took the place of one that answers: %v", err)
	}
	first.(*net.UnixListener).SetUnlinkOnClose(false) // a crash
	_ = first.Close()
	second, err := ListenUnix(path, 0o660)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o660 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	_ = second.Close()
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("left behind: %v", err)
	}
}

// TestSocketIsClosedToOthersBeforeItsChmod holds what ListenUnix expects of the kernel.
func TestSocketIsClosedToOthersBeforeItsChmod(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0))
	path := filepath.Join(t.TempDir(), "s")
	lc := net.ListenConfig{Control: ownerOnly}
	l, err := lc.Listen(t.Context(), "unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

func BenchmarkSendAlert(b *testing.B) {
	path := filepath.Join(b.TempDir(), "s")
	l, err := ListenUnix(path, 0o600)
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	done := make(chan error, 1)
	go func() {
		done <- ServeAlerts(ctx, l, AlertServer{
			Deliver:  func(context.Context, crm.Alert, uint32) error { return nil },
			AllowUID: func(uint32) bool { return true },
		})
	}()
	for b.Loop() {
		if err := SendAlert(ctx, path, testAlert(1)); err != nil {
			b.Fatal(err)
		}
	}
	cancel()
	if err := <-done; err != nil {
		b.Fatal(fmt.Errorf("serve: %w", err))
	}
}
