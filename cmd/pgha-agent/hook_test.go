package main

import (
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/pgha/pgha-agent/agent/alertsock"
	"github.com/pgha/pgha-agent/crm"
)

// hookWorld is a world with an alert socket that takes alerts, and the environment of a hook.
type hookWorld struct {
	*world
	dir, config, socket string
	env                 []string
	got                 chan crm.Alert
}

func newHookWorld(t testing.TB) *hookWorld {
	t.Helper()
	dir, err := os.MkdirTemp("", "pgha") // a socket's path has to be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Mkdir(filepath.Join(dir, "state"), 0o755); err != nil {
		t.Fatal(err)
	}
	w, vars, stop, err := newWorld(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	h := &hookWorld{
		world: w, dir: dir, config: filepath.Join(dir, "config.toml"), socket: filepath.Join(dir, "alert.sock"),
		got: make(chan crm.Alert, 1),
	}
	h.env = append(os.Environ(), "CRM_alert_version=3.0.0", "CRM_alert_kind=resource", "CRM_alert_task=promote",
		"CRM_alert_rc=0", "CRM_alert_node=pg-b")
	for k, v := range vars {
		h.env = append(h.env, k+"="+v)
	}
	return h
}

// serve takes alerts as the daemon does.
func (h *hookWorld) serve(t testing.TB) {
	t.Helper()
	l, err := net.Listen("unix", h.socket)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- alertsock.ServeAlerts(ctx, l, alertsock.AlertServer{
			AllowUID: func(uint32) bool { return true },
			Deliver:  func(_ context.Context, a crm.Alert, _ uint32) error { h.got <- a; return nil },
		})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func (h *hookWorld) run(t testing.TB, env []string, command ...string) (string, error) {
	t.Helper()
	path, err := exec.LookPath(command[0])
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), path, command[1:]...)
	cmd.Env = append(slices.Clone(h.env), env...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// opened runs do and returns the names in dir that were opened meanwhile.
func opened(t testing.TB, dir string, do func()) []string {
	t.Helper()
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if _, err := unix.InotifyAddWatch(fd, dir, unix.IN_OPEN|unix.IN_ACCESS); err != nil {
		t.Fatal(err)
	}
	do()
	buf := make([]byte, 64<<10)
	n, err := unix.Read(fd, buf)
	if errors.Is(err, unix.EAGAIN) {
		return nil
	} else if err != nil {
		t.Fatal(err)
	}
	var names []string
	for at := 0; at < n; {
		ev := (*unix.InotifyEvent)(unsafe.Pointer(&buf[at]))
		at += unix.SizeofInotifyEvent
		names = append(names, strings.TrimRight(string(buf[at:at+int(ev.Len)]), "\x00"))
		at += int(ev.Len)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func TestDeliveredAlertReadsNoConfigurationAndOpensNoNetwork(t *testing.T) {
	h := newHookWorld(t)
	recipient := []string{"CRM_alert_recipient=" + h.socket}

	// First that the two traps work: without a daemon the hook falls back, reads the configuration, and dies of the socket
	// it opens.
	var out string
	var err error
	names := opened(t, h.dir, func() { out, err = h.run(t, recipient, "unixonly", "pgha-alert", "--config", h.config) })
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit) && exit.ExitCode() == 99:
		t.Skipf("this kernel or container has no seccomp filters, so that it was not tested that the hook opens no "+
			"network: %s", out)
	case !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGSYS:
		t.Fatalf("hook without a daemon: %v, want it killed by SIGSYS\n%s", err, out)
	case !slices.Contains(names, "config.toml"):
		t.Fatalf("hook without a daemon opened %q, want config.toml among them", names)
	}

	// In a world of its own: what the killed hook had started may still run in the first.
	h = newHookWorld(t)
	recipient = []string{"CRM_alert_recipient=" + h.socket}
	h.serve(t)
	before := h.aws.Count("") + h.aws.Probes()
	names = opened(t, h.dir, func() { out, err = h.run(t, recipient, "unixonly", "pgha-alert", "--config", h.config) })
	if err != nil || out != "" {
		t.Fatalf("hook: %v\n%s", err, out)
	}
	if len(names) > 0 {
		t.Errorf("hook opened %q, want nothing", names)
	}
	if n := h.aws.Count("") + h.aws.Probes() - before; n != 0 {
		t.Errorf("%d requests to the API, want none", n)
	}
	select {
	case a := <-h.got:
		if a.Kind != crm.AlertResource || a.Task != "promote" || a.Node != "pg-b" {
			t.Errorf("the daemon got %+v", a)
		}
	case <-time.After(5 * time.Second):
		t.Error("the daemon got nothing")
	}
}

// BenchmarkAlertHook is the hook's share of a failover: the real binary, from exec to exit, with a daemon that answers.
func BenchmarkAlertHook(b *testing.B) {
	h := newHookWorld(b)
	hook := filepath.Join(h.dir, "pgha-alert")
	build := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", hook, "../pgha-alert")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		b.Fatalf("build: %v\n%s", err, out)
	}
	h.serve(b)
	go func() {
		for range h.got { //nolint:revive // nobody looks at these alerts
		}
	}()
	env := []string{"CRM_alert_recipient=" + h.socket}
	for b.Loop() {
		if out, err := h.run(b, env, hook); err != nil || out != "" {
			b.Fatalf("%v\n%s", err, out)
		}
	}
}

// TestHookEndsBeforePacemakerKillsIt: what the registration says is what the hook goes by.
func TestHookEndsBeforePacemakerKillsIt(t *testing.T) {
	for option, want := range map[string]time.Duration{
		"": 25 * time.Second, "60s": 55 * time.Second, "60": 55 * time.Second, "8s": 4 * time.Second,
		"0": -25 * time.Second, "1min": -25 * time.Second, "-60s": -25 * time.Second, // an error, and the default
	} {
		got, err := publishWait(option)
		if err != nil {
			got = -got
		}
		if got != want {
			t.Errorf("%q: %v, %v; want %v", option, got, err, want)
		}
		if limit, err := seconds(option, alertTimeout); err == nil && limit > 0 && got >= limit {
			t.Errorf("%q: waits %v of %v", option, got, limit)
		}
	}
	// The option is named alike by whoever sets it, reads it and judges it.
	for _, file := range []string{"../../deploy/register-alert.sh", "../../docs/install.md",
		"../../agent/doctor/checks_pacemaker.go"} {
		text, err := os.ReadFile(file)
		if err != nil || !strings.Contains(string(text), alertTimeoutVar) {
			t.Errorf("%s does not name %s: %v", file, alertTimeoutVar, err)
		}
	}
}
