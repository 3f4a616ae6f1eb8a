package agent

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/pgha/pgha-agent/agent/internal/statetest"
	"github.com/pgha/pgha-agent/agent/internal/wait"
	"github.com/pgha/pgha-agent/agent/status"
)

// enemies are the ways of clients that mean no good. Each connects again and again until ctx ends.
var enemies = map[string]func(ctx context.Context, dial func() (net.Conn, error)){
	"silent": hold(""),
	"half open": func(ctx context.Context, dial func() (net.Conn, error)) { // it sends the end of its side and stays
		reconnect(ctx, dial, func(c net.Conn) {
			if w, ok := c.(interface{ CloseWrite() error }); ok {
				_ = w.CloseWrite()
			}
			_, _ = io.Copy(io.Discard, c)
		})
	},
	"slow":          hold("GET /metrics HTTP/1.1\r\nHost: x\r\nX: ", "x"),
	"slow body":     hold("POST /pause HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000\r\n\r\n", " "),
	"slow alert":    hold(`{"kind":"node"`, " "),
	"garbage":       send("\x16\x03\x01\x00\xff\x00{\"kind\":\x00\n\n\n"),
	"huge header":   flood("GET / HTTP/1.1\r\nHost: x\r\nX: "),
	"huge body":     flood("POST /pause HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000000\r\n\r\n"),
	"huge line":     flood(""),
	"reads nothing": hold(strings.Repeat("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", 200)),
	"asks much":     send(strings.Repeat("GET /status HTTP/1.1\r\nHost: x\r\n\r\n", 20)),
	"hangs up":      eachTime(func(c net.Conn) {}),
}

func eachTime(do func(net.Conn)) func(context.Context, func() (net.Conn, error)) {
	return func(ctx context.Context, dial func() (net.Conn, error)) { reconnect(ctx, dial, do) }
}

// reconnect connects, does one thing and connects anew.
func reconnect(ctx context.Context, dial func() (net.Conn, error), do func(net.Conn)) {
	for ctx.Err() == nil {
		c, err := dial()
		if err == nil {
			stop := context.AfterFunc(ctx, func() { _ = c.Close() })
			do(c)
			stop()
			_ = c.Close()
		}
		wait.For(ctx, 100*time.Millisecond) // they share the processor with the agent, which others would not
	}
}

// hold sends a beginning, then a drip now and then, for as long as it is let.
func hold(first string, drip ...string) func(context.Context, func() (net.Conn, error)) {
	return eachTime(func(c net.Conn) {
		_, err := io.WriteString(c, first)
		for err == nil && len(drip) > 0 {
			time.Sleep(100 * time.Millisecond)
			_, err = io.WriteString(c, drip[0])
		}
		time.Sleep(time.Second) // reads nothing
		_, _ = c.Read(make([]byte, 1))
	})
}

func send(text string) func(context.Context, func() (net.Conn, error)) {
	return eachTime(func(c net.Conn) {
		_, _ = io.WriteString(c, text)
		_ = c.SetReadDeadline(time.Now().Add(time.Second))
		_, _ = io.Copy(io.Discard, c)
	})
}

var megabyte = bytes.Repeat([]byte("x"), 1<<20)

// flood sends without an end.
func flood(first string) func(context.Context, func() (net.Conn, error)) {
	return eachTime(func(c net.Conn) {
		_, err := io.WriteString(c, first)
		for err == nil {
			_, err = c.Write(megabyte)
		}
	})
}

// besiege sends the hostile clients, several of each kind, to every socket until stop is called. For HTTP they come
// from an address of their own.
func besiege(t *testing.T, w *world) (stop func()) {
	t.Helper()
	const each = 6
	ctx, cancel := context.WithCancel(context.Background())
	enemy := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 66)}, Timeout: time.Second}
	var all sync.WaitGroup
	for _, kind := range enemies {
		for _, to := range [][2]string{{"tcp", w.cfg.HTTP.Listen}, {"unix", w.cfg.State.ControlSocket},
			{"unix", w.cfg.State.AlertSocket}} {
			dial := func() (net.Conn, error) {
				if to[0] == "tcp" {
					return enemy.DialContext(ctx, to[0], to[1])
				}
				return (&net.Dialer{Timeout: time.Second}).DialContext(ctx, to[0], to[1])
			}
			for range each {
				all.Go(func() { kind(ctx, dial) })
			}
		}
	}
	stop = sync.OnceFunc(func() { cancel(); all.Wait() })
	t.Cleanup(stop)
	return stop
}

// publicationTime fails over and returns how long the record takes to move after the alert was sent.
func publicationTime(w *world) time.Duration {
	w.t.Helper()
	begin := time.Now()
	w.failOver()
	w.await("record to move", func() bool { return w.record() == "127.0.2.10" })
	return time.Since(begin)
}

// inUse is what a process under siege could run out of. The hostile clients are in the same process: what they have is
// counted too.
type inUse struct{ heap, goroutines atomic.Int64 }

func (u *inUse) watch(ctx context.Context) {
	for ctx.Err() == nil {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		u.heap.Store(max(u.heap.Load(), int64(m.HeapAlloc)))
		u.goroutines.Store(max(u.goroutines.Load(), int64(runtime.NumGoroutine())))
		wait.For(ctx, 50*time.Millisecond)
	}
}

func TestFailoverAmongHostileClients(t *testing.T) {
	// What it takes when nobody is hostile.
	calm := newWorld(t)
	b, stopCalm := calm.start()
	calm.ready(b)
	usual := publicationTime(calm)
	stopCalm()

	w := newWorld(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w.cfg.HTTP.Listen = l.Addr().String()
	_ = l.Close()
	a, _ := w.start()
	w.ready(a)
	before := runtime.NumGoroutine() // other tests' as well
	stop := besiege(t, w)
	var used inUse
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go used.watch(ctx)
	time.Sleep(2 * time.Second) // they have taken what they can get

	// Another client is served meanwhile, over HTTP and over the control socket.
	if code, err := fetch(t, "http://"+w.cfg.HTTP.Listen+"/metrics"); err != nil || code != http.StatusOK {
		t.Errorf("a scrape among hostile clients: %d, %v", code, err)
	}
	received := a.alerts.Received.Load()
	// failOver fails the test when its alert is not taken within the time that a hook waits, over and over.
	took := publicationTime(w)
	// The hostile clients take the processor away as well: there are more of them than cores.
	if took > usual+3*time.Second {
		t.Errorf("published after %v, without them after %v", took, usual)
	}
	if a.alerts.Received.Load() == received {
		t.Error("the alert did not arrive")
	}
	w.await("resolver and INSYNC", func() bool { return a.Snapshot().Publication() == status.PubObserved })
	if n := w.aws.Count("ChangeResourceRecordSets"); n != 1 {
		t.Errorf("%d writes, want 1", n)
	}
	if a.Snapshot().State.Wait.PausedUntil != 0 {
		t.Error("somebody paused the agent")
	}
	stop()
	cancel()
	t.Logf(
		"published after %v, without them after %v; at most %d MiB of heap, %d goroutines, %d before; %d malformed alerts",
		took, usual, used.heap.Load()>>20, used.goroutines.Load(), before, a.alerts.Malformed.Load())
	if used.heap.Load() > 64<<20 {
		t.Errorf("%d MiB of heap in use", used.heap.Load()>>20)
	}
	if a.alerts.Malformed.Load() == 0 {
		t.Error("no hostile client reached the alert socket")
	}
	w.await("the hostile clients to be forgotten", func() bool { return runtime.NumGoroutine() < before+20 })
}

func fetch(t *testing.T, url string) (int, error) {
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		return 0, err
	}
	resp, err := (&http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, err
}

func TestStoppedAgentLeavesNothing(t *testing.T) {
	w := newWorld(t)
	before := goleak.IgnoreCurrent()
	for range 3 { // as in reloads
		a, stop := w.start()
		w.ready(a)
		w.await("a warm connection", func() bool { return w.aws.Probes() > 0 })
		stop()
	}
	goleak.VerifyNone(t, before)
}

func TestAlertOfAnotherUserIsRefusedByTheAgent(t *testing.T) {
	w := newWorld(t)
	if err := os.Chmod(w.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	a, _ := w.start()
	w.ready(a)
	if err := os.Chmod(w.cfg.State.AlertSocket, 0o666); err != nil { // as open as it could be
		t.Fatal(err)
	}
	asUser(t, nobody, func() {
		// In this thread, because the kernel looks at its user when it connects.
		c, err := net.Dial("unix", w.cfg.State.AlertSocket)
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		_, _ = io.WriteString(c, `{"kind":"resource","task":"promote","node":"pg-b","rc":0}`+"\n")
		answer, _ := io.ReadAll(c)
		if got := string(answer); got != "err user is not allowed\n" {
			t.Errorf("answer %q", got)
		}
	})
	if a.alerts.Rejected.Load() != 1 || a.alerts.Received.Load() != 0 {
		t.Errorf("rejected %d, received %d", a.alerts.Rejected.Load(), a.alerts.Received.Load())
	}
}

func TestFullDiskCostsTheHistoryNotTheRecord(t *testing.T) {
	w := newWorld(t)
	dir := smallDisk(t, "64k")
	w.cfg.State.Dir = dir
	a, stop := w.start()
	w.ready(a)
	filler := dir + "/filler"
	f, err := os.Create(filler)
	if err != nil {
		t.Fatal(err)
	}
	for b := make([]byte, 512); err == nil; {
		_, err = f.Write(b)
	}
	_ = f.Close()
	w.failOver()
	w.await("record to move", func() bool { return w.record() == "127.0.2.10" })
	w.await("the finding", func() bool {
		return strings.Contains(fmt.Sprint(findings(a)), "journal")
	})
	if err := status.Pause(t.Context(), w.cfg.State.ControlSocket, time.Hour); err == nil ||
		!strings.Contains(err.Error(), "no space") {
		t.Errorf("a pause that cannot be kept: %v", err)
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	w.await("the episode to be saved", func() bool { return a.Snapshot().JournalErr == "" })
	stop()
	if list, skipped := statetest.Read(t, dir); len(list) != 1 || skipped != 0 || list[0].Episode.Epoch != 4 {
		t.Errorf("%d episodes, %d damaged lines", len(list), skipped)
	}
}

// nobody is a user who is neither root nor the agent.
const nobody = 65534

// asUser runs do as another user, in a thread of its own: the kernel's credentials belong to threads.
func asUser(t *testing.T, uid int, do func()) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can be another user: what such a one can do was not tested")
	}
	runtime.LockOSThread()
	set := func(euid int) {
		if _, _, e := syscall.RawSyscall(unix.SYS_SETRESUID, ^uintptr(0), uintptr(euid), ^uintptr(0)); e != 0 {
			t.Fatalf("become user %d: %v", euid, e)
		}
	}
	set(uid)
	defer func() { set(0); runtime.UnlockOSThread() }()
	do()
}

// smallDisk mounts a file system of that many bytes.
func smallDisk(t *testing.T, size string) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("none", dir, "tmpfs", 0, "size="+size); err != nil {
		t.Skipf("cannot mount a small file system (%v): a really full one was not tested", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	return dir
}
