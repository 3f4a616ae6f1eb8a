package main

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pgha/pgha-agent/agent/alertsock"
	"github.com/pgha/pgha-agent/crm"
)

// build puts the hook into a directory, beside a pgha-agent that only says how it was called.
func build(t *testing.T) (dir string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "pgha") // a socket's path has to be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if out, err := exec.Command("go", "build", "-o", dir+"/", ".").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	if err := os.WriteFile(filepath.Join(dir, "pgha-agent"), []byte("#!/bin/sh\necho \"called: $* ($CRM_alert_task)\"\n"),
		0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestHookDeliversOrHandsOverAndNeverFails(t *testing.T) {
	dir := build(t)
	socket := filepath.Join(dir, "alert.sock")
	promote := []string{"CRM_alert_version=3.0.0", "CRM_alert_kind=resource", "CRM_alert_task=promote",
		"CRM_alert_recipient=" + socket}
	run := func(env []string, args ...string) string {
		t.Helper()
		cmd := exec.Command(filepath.Join(dir, "pgha-alert"), args...)
		cmd.Env = env
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Errorf("%v: %v", env, err)
		}
		return string(out)
	}
	for name, c := range map[string]struct {
		env  []string
		args []string
		want string
	}{
		"nobody listens": {promote, nil, "called: alert (promote)"},
		"called by hand": {nil, nil, "called: alert ()"},
		"kind missing":   {promote[:1], nil, "called: alert ()"},
		"with flags":     {promote, []string{"--config", "x"}, "called: alert --config x (promote)"},
		"hostile": {append([]string{"CRM_alert_desc=" + strings.Repeat("\n\x01", 20000)}, promote...), nil,
			"called: alert (promote)"},
		"relative recipient": {[]string{"CRM_alert_version=3", "CRM_alert_kind=node", "CRM_alert_recipient=a/b"}, nil,
			"called: alert ()"},
	} {
		if got := run(c.env, c.args...); !strings.Contains(got, c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}

	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	got, done := make(chan crm.Alert, 1), make(chan error, 1)
	go func() {
		done <- alertsock.ServeAlerts(ctx, l, alertsock.AlertServer{
			AllowUID: func(uint32) bool { return true },
			Deliver:  func(_ context.Context, a crm.Alert, _ uint32) error { got <- a; return nil },
		})
	}()
	if out := run(promote); out != "" {
		t.Errorf("delivered, and printed %q", out)
	}
	select {
	case a := <-got:
		if a.Task != "promote" {
			t.Errorf("the daemon got %+v", a)
		}
	case <-time.After(5 * time.Second):
		t.Error("the daemon got nothing")
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}

	// A hook that was copied somewhere alone has nobody to hand over to, and still does not fail.
	if err := os.Remove(filepath.Join(dir, "pgha-agent")); err != nil {
		t.Fatal(err)
	}
	if out := run(promote); !strings.Contains(out, "call pgha-agent") {
		t.Errorf("alone: %q", out)
	}
}
