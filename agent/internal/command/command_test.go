package command

import (
	"context"
	"strings"
	"testing"
	"time"
)

func TestRun(t *testing.T) {
	t.Setenv("TZ", "Europe/Berlin")
	run := func(script string) (string, error) {
		out, err := Run(t.Context(), time.Minute, nil, "sh", "-c", script)
		return string(out), err
	}
	if out, err := run(`echo "$LC_ALL $TZ"`); err != nil || out != "C UTC\n" {
		t.Errorf("%q, %v", out, err)
	}
	if out, err := run("echo a; pwd"); err != nil || out != "a\n/\n" {
		t.Errorf("%q, %v", out, err)
	}
	if out, err := run("echo part; echo first >&2; echo the reason >&2; exit 3"); err == nil || out != "part\n" ||
		!strings.Contains(err.Error(), "exit status 3: the reason") {
		t.Errorf("%q, %v", out, err)
	}
	if out, err := run("yes"); err == nil || len(out) != maxOutput || !strings.Contains(err.Error(), "more than 8 MiB") {
		t.Errorf("%d bytes, %v", len(out), err)
	}
	if _, err := Run(t.Context(), time.Minute, nil, "no-such-program"); err == nil {
		t.Error("no error")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	start := time.Now()
	if out, err := Run(ctx, time.Minute, nil, "sh", "-c", "echo begun; exec sleep 60"); err == nil ||
		time.Since(start) > 30*time.Second {
		t.Errorf("%q, %v after %s", out, err, time.Since(start)) // far below the minute that the program takes
	}
}
