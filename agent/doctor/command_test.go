package doctor

import (
	"context"
	"strings"
	"testing"
	"time"
)

func TestRunCommand(t *testing.T) {
	t.Setenv("TZ", "Europe/Berlin")
	if out, err := run(t.Context(), nil, "sh", "-c", `echo "$LC_ALL $TZ"`); err != nil || string(out) != "C UTC\n" {
		t.Errorf("%q, %v", out, err)
	}
	if out, err := run(t.Context(), nil, "sh", "-c", "echo a; pwd"); err != nil || string(out) != "a\n/\n" {
		t.Errorf("%q, %v", out, err)
	}
	if _, err := run(t.Context(), nil, "sh", "-c", "echo first >&2; echo the reason >&2; exit 3"); err == nil ||
		!strings.Contains(err.Error(), "exit status 3: the reason") {
		t.Errorf("%v", err)
	}
	if _, err := run(t.Context(), nil, "no-such-program"); err == nil {
		t.Error("no error")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	start := time.Now()
	if _, err := run(ctx, nil, "sleep", "60"); err == nil || time.Since(start) > 5*time.Second {
		t.Errorf("%v after %s", err, time.Since(start))
	}
}
