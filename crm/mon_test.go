package crm

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// standIn writes a shell script that is run instead of crm_mon; $doc in it is a small healthy document.
func standIn(t testing.TB, script string) *Mon {
	t.Helper()
	file := filepath.Join(t.TempDir(), "crm_mon")
	script = "#!/bin/sh\ndoc='<crm_mon><nodes><node name=\"a\" online=\"true\"/></nodes></crm_mon>'\n" + script + "\n"
	if err := os.WriteFile(file, []byte(script), 0o755); err != nil { //nolint:gosec // It has to be executable.
		t.Fatal(err)
	}
	return &Mon{Command: []string{file}, Timeout: 5 * time.Second}
}

func TestLookRunsCrmMonInTheCLocale(t *testing.T) {
	t.Setenv("LC_ALL", "de_DE.UTF-8")
	m := standIn(t, `[ "$*" = "--output-as=xml" ] && [ "$LC_ALL" = C ] &&
[ "$(ps -o pgid= $$ | tr -d ' ')" = $$ ] && echo "$doc"`)
	s, err := m.Look(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if n, ok := s.Node("a"); !ok || n.Online != Yes {
		t.Errorf("status = %+v", s)
	}
}

// crm_mon of Pacemaker 1.1 prints local time without a zone. Its zone is not the machine's: the time of the last
// promotion is a part of the claim, and a machine whose zone is changed has made no other promotion.
func TestATimeWithoutAZoneDoesNotFollowTheMachinesZone(t *testing.T) {
	const script = `doc='<crm_mon version="1.1.24"><nodes><node name="a" online="true"/></nodes>'` + "\n" +
		`doc="$doc<node_history><node name=\"a\">"` + "\n" +
		`doc="$doc<resource_history id=\"d\"><operation_history call=\"37\" task=\"promote\" rc=\"0\" ` +
		`last-rc-change=\"$(LC_TIME=C date -d @1795398715 '+%a %b %e %H:%M:%S %Y')\"/>` +
		`</resource_history></node></node_history></crm_mon>"` +
		"\n" + `echo "$doc"`
	for _, zone := range []string{"", "UTC", "Europe/Berlin", "CET-1", "America/St_Johns", "<-0330>3:30"} {
		t.Run(zone, func(t *testing.T) {
			if zone != "" {
				t.Setenv("TZ", zone)
			}
			s, err := standIn(t, script).Look(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			op, ok := s.PromoteOp("d", "a")
			if !ok || op.LastChange.Unix() != 1795398715 || op.LastChangeText != "Mon Nov 23 01:51:55 2026" {
				t.Errorf("%+v", op)
			}
		})
	}
}

// What prints its zone prints the same instant.
func TestATimeWithAZoneIsTakenAsPrinted(t *testing.T) {
	t.Setenv("TZ", "Europe/Berlin")
	s, err := standIn(t, `echo "<crm_mon><nodes><node name=\"a\" online=\"true\"/></nodes><node_history><node name=\"a\">`+
		`<resource_history id=\"d\"><operation_history call=\"37\" task=\"promote\" rc=\"0\" `+
		`last-rc-change=\"2026-11-23 02:51:55 +01:00\"/>`+
		`</resource_history></node></node_history></crm_mon>"`).Look(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if op, ok := s.PromoteOp("d", "a"); !ok || op.LastChange.Unix() != 1795398715 {
		t.Errorf("%+v", op)
	}
}

func TestLookRemembersTheOptionThatCrmMonKnows(t *testing.T) {
	for name, usage := range map[string]string{
		"getopt, exit 1": `echo "crm_mon: unrecognized option '$1'" >&2; exit 1`,
		"glib, exit 64":  `echo "crm_mon: Unknown option $1" >&2; exit 64`,
		"usage, silent":  `exit 64`,
		"usage in XML, 64": `echo '<pacemaker-result><status code="64" message="Incorrect usage"/></pacemaker-result>'
exit 64`,
	} {
		t.Run(name, func(t *testing.T) {
			log := filepath.Join(t.TempDir(), "log")
			m := standIn(t, `echo "$1" >>`+log+`; case $1 in --as-xml) echo "$doc";; *) `+usage+`;; esac`)
			for range 2 {
				if _, err := m.Look(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			got, _ := os.ReadFile(log)
			if want := "--output-as=xml\n--as-xml\n--as-xml\n"; string(got) != want {
				t.Errorf("calls %q, want %q", got, want)
			}
		})
	}
	t.Run("and goes back after an upgrade", func(t *testing.T) {
		m := standIn(t, `[ $1 = --output-as=xml ] || exit 64; echo "$doc"`)
		m.legacy = true
		if _, err := m.Look(t.Context()); err != nil || m.legacy {
			t.Errorf("err = %v, legacy = %v", err, m.legacy)
		}
	})
	t.Run("and gives the error of the first when neither is known", func(t *testing.T) {
		var exit *ExitError
		_, err := standIn(t, `echo "no $1" >&2; exit 64`).Look(t.Context())
		if !errors.As(err, &exit) || exit.Code != 64 || exit.Last != "no --output-as=xml" {
			t.Errorf("err = %v", err)
		}
	})
}

func TestLookTellsFailuresApart(t *testing.T) {
	for name, test := range map[string]struct {
		script string
		check  func(error) bool
	}{
		"error document": {
			`echo '<pacemaker-result><status code="102" message="Not connected"/></pacemaker-result>'; exit 102`,
			func(err error) bool { var e *StatusError; return errors.As(err, &e) && e.Code == 102 },
		},
		"error document, exit 0": {
			`echo '<pacemaker-result><status code="102" message="Not connected"/></pacemaker-result>'`,
			func(err error) bool { var e *StatusError; return errors.As(err, &e) && e.Code == 102 },
		},
		"exit code and last line": {
			`printf 'first\n\033[1mlast\n\n' >&2; exit 102`,
			func(err error) bool {
				var e *ExitError
				return errors.As(err, &e) && e.Code == 102 && e.Last == " [1mlast"
			},
		},
		"legacy document without data, exit 102": {
			`echo '<crm_mon version="3.0.0"/>'; exit 102`,
			func(err error) bool { var e *ExitError; return errors.As(err, &e) && e.Code == 102 },
		},
		"good document, bad exit": {
			`echo "$doc"; exit 1`,
			func(err error) bool { var e *ExitError; return errors.As(err, &e) && e.Code == 1 },
		},
		"no data": {
			`echo '<crm_mon version="3.0.0"/>'`,
			func(err error) bool { return errors.Is(err, ErrNoData) },
		},
		"signal": {
			`kill -SEGV $$`,
			func(err error) bool { var e *ExitError; return errors.As(err, &e) && e.Code == -1 },
		},
		"nothing": {`:`, func(err error) bool { return strings.Contains(err.Error(), "no XML element") }},
		"endless": {
			`exec cat /dev/zero`,
			func(err error) bool { return strings.Contains(err.Error(), "more than") },
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := standIn(t, test.script).Look(t.Context())
			if s != nil || err == nil || !test.check(err) {
				t.Errorf("Look = %v, %v", s, err)
			}
		})
	}
	m := &Mon{Command: []string{filepath.Join(t.TempDir(), "missing")}}
	if _, err := m.Look(t.Context()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing program: %v", err)
	}
}

func TestLookThatTakesTooLongLeavesNoProcessBehind(t *testing.T) {
	pidFile := filepath.Join(t.TempDir(), "pid")
	m := standIn(t, `trap '' TERM; sleep 60 & echo $! >`+pidFile+`.new; mv `+pidFile+`.new `+pidFile+`; wait`)
	m.Timeout = time.Second
	start := time.Now()
	_, err := m.Look(t.Context())
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("err = %v", err)
	}
	if took := time.Since(start); took > 4*time.Second {
		t.Errorf("took %v", took)
	}
	gone(t, pidFile)
	m.Command = standIn(t, `echo "$doc"`).Command
	if _, err := m.Look(t.Context()); err != nil {
		t.Errorf("next look: %v", err)
	}
}

func TestLookDoesNotWaitForWhatCrmMonLeftRunning(t *testing.T) {
	pidFile := filepath.Join(t.TempDir(), "pid")
	m := standIn(t, `sleep 60 & echo $! >`+pidFile+`; echo "$doc"`)
	start := time.Now()
	if _, err := m.Look(t.Context()); err != nil {
		t.Errorf("err = %v", err)
	}
	if took := time.Since(start); took > 3*time.Second {
		t.Errorf("took %v", took)
	}
	gone(t, pidFile)
}

// gone waits until the process named in a file does not run any more.
func gone(t *testing.T, pidFile string) {
	t.Helper()
	b, err := os.ReadFile(pidFile)
	if err != nil {
		t.Fatal(err)
	}
	pid := strings.TrimSpace(string(b))
	for range 200 {
		stat, err := os.ReadFile("/proc/" + pid + "/stat")
		if err != nil || strings.Contains(string(stat), ") Z ") {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Errorf("process %s still runs", pid)
}

func TestNothingIsStartedWhileAKilledChildRemains(t *testing.T) {
	m := standIn(t, `echo "$doc"`)
	if _, err := m.Look(t.Context()); err != nil {
		t.Fatal(err)
	}
	reaped := make(chan struct{}) // as a child in uninterruptible sleep leaves it
	m.child.reaped = reaped
	if _, err := m.Look(t.Context()); !errors.Is(err, ErrStuck) {
		t.Errorf("err = %v, want ErrStuck", err)
	}
	close(reaped)
	if _, err := m.Look(t.Context()); err != nil {
		t.Errorf("after it is gone: %v", err)
	}
}

func TestLooksTakeTurns(t *testing.T) {
	lock := filepath.Join(t.TempDir(), "lock")
	m := standIn(t, `mkdir `+lock+` || exit 3; sleep 0.02; rmdir `+lock+`; echo "$doc"`)
	var wg sync.WaitGroup
	for range 5 {
		wg.Go(func() {
			if _, err := m.Look(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()

	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	slow := standIn(t, `read -r line <`+fifo+`; echo "$doc"`)
	wg.Go(func() { _, _ = slow.Look(t.Context()) })
	release, err := os.OpenFile(fifo, os.O_WRONLY, 0) // returns when the child reads
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := slow.Look(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a waiting look ignores its context: %v", err)
	}
	_ = release.Close()
	wg.Wait()
}

func BenchmarkLook(b *testing.B) {
	m := standIn(b, `echo "$doc"`)
	for b.Loop() {
		if _, err := m.Look(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}
