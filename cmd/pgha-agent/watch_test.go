package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pgha/pgha-agent/agent/status"
)

// look is what a fetch gives.
type look struct {
	doc *status.Doc
	err error
}

// failover is a standby that takes over, while the daemon is away for a moment.
func failover() []look {
	gone := errors.New("connect: no such file or directory")
	first := lost(standby(), 3*time.Second)
	second := held(5*time.Second, "peer_unclean")
	second.Episode.Phases = second.Episode.Phases[:1]
	third := promoted()
	third.Publication.State, third.Episode = status.PubPublished, episode(9*time.Second, "open")
	late := third.Episode.Phases[1]
	third.Episode.Phases = append(third.Episode.Phases[:1:1], third.Episode.Phases[2:]...)
	fourth := promoted()
	fourth.Episode = episode(10*time.Second, "complete")
	fourth.Episode.Phases[1] = late // found late
	return []look{{doc: standby()}, {doc: standby()}, {doc: first}, {doc: second}, {err: gone}, {err: gone}, {doc: third},
		{doc: fourth}, {doc: fourth}}
}

// play watches a list of looks, and ends as Ctrl-C does. Its clock is testNow when it starts.
func play(t *testing.T, looks []look, v viewer) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	fetch := func(context.Context) (*status.Doc, error) {
		next := looks[0]
		if looks = looks[1:]; len(looks) == 0 {
			time.AfterFunc(time.Second/2, cancel)
		}
		return next.doc, next.err
	}
	if err := watch(ctx, time.Second, fetch, v); err != nil {
		t.Error(err)
	}
	if len(looks) > 0 {
		t.Errorf("%d looks were not taken", len(looks))
	}
}

func TestWatchPrintsALinePerChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got bytes.Buffer
		play(t, failover(), &changes{out: &got})
		golden(t, filepath.Join("testdata", "watch", "changes.txt"), got.String())
	})
}

func TestWatchDoesNotTellAnOldEpisode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got bytes.Buffer
		play(t, []look{{doc: promoted()}, {doc: promoted()}}, &changes{out: &got})
		if n := strings.Count(got.String(), "\n"); n != 1 || strings.Contains(got.String(), "episode") {
			t.Errorf("want one line and no episode:\n%s", got.String())
		}
	})
}

func TestWatchRedrawsATerminal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got bytes.Buffer
		play(t, failover(), &screen{out: &got, size: func() (int, int, error) { return 100, 40, nil }})
		golden(t, filepath.Join("testdata", "watch", "screen.txt"), strings.ReplaceAll(got.String(), "\x1b", "^["))
		if !strings.HasPrefix(got.String(), enterScreen) || !strings.HasSuffix(got.String(), leaveScreen) {
			t.Error("the terminal is not given back as it was")
		}
	})
}

func TestWatchFitsTheWindow(t *testing.T) {
	for _, size := range [][2]int{{80, 24}, {40, 10}, {5, 2}, {1, 1}} {
		var got bytes.Buffer
		s := &screen{out: &got, size: func() (int, int, error) { return size[0], size[1], nil }}
		if err := s.show(testNow, held(time.Minute, "peer_unclean"), nil); err != nil {
			t.Fatal(err)
		}
		body := strings.TrimSuffix(strings.TrimPrefix(got.String(), home), clearBelow)
		lines := strings.Split(strings.ReplaceAll(body, clearLine, ""), "\r\n")
		if len(lines) > size[1] {
			t.Errorf("%d lines in a window of %d", len(lines), size[1])
		}
		for _, line := range lines {
			if n := len([]rune(line)); n > size[0] {
				t.Errorf("a line of %d in a window of %d: %q", n, size[0], line)
			}
			if strings.ContainsAny(line, "\x1b\n") {
				t.Errorf("control characters in %q", line)
			}
		}
	}
}

func TestWatchSizeUnknown(t *testing.T) {
	var got bytes.Buffer
	s := &screen{out: &got, size: func() (int, int, error) { return 0, 0, os.ErrInvalid }}
	if err := s.show(testNow, standby(), nil); err != nil || !strings.Contains(got.String(), "publication") {
		t.Errorf("%v: %q", err, got.String())
	}
}

// In a real terminal the program draws, and gives the terminal back when Ctrl-C ends it.
func TestWatchInATerminal(t *testing.T) {
	ptmx, tty := openTerminal(t)
	config := filepath.Join(t.TempDir(), "config.toml")
	text := "[cluster]\npromotable = \"c\"\n[drbd]\nresource = \"r\"\n[record]\nzone_id = \"Z1\"\n" +
		"name = \"db.pgha.internal\"\n[state]\ncontrol_socket = \"" + config + ".sock\"\n"
	if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	root := newRoot()
	root.SetOut(tty)
	root.SetArgs([]string{"watch", "--interval", "100ms", "--config", config})
	ended := make(chan error, 1)
	go func() { ended <- root.ExecuteContext(ctx) }()
	var got []byte
	buf := make([]byte, 4096)
	for !bytes.Contains(got, []byte("THE DAEMON DOES NOT ANSWER")) {
		n, err := ptmx.Read(buf)
		if err != nil {
			t.Fatalf("%v after %q", err, got)
		}
		got = append(got, buf[:n]...)
	}
	cancel()
	for !bytes.Contains(got, []byte(leaveScreen)) {
		n, err := ptmx.Read(buf)
		if err != nil {
			t.Fatalf("%v after %q", err, got)
		}
		got = append(got, buf[:n]...)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if !bytes.HasPrefix(got, []byte(enterScreen)) {
		t.Errorf("began with %.20q", got)
	}
}

func openTerminal(t *testing.T) (ptmx, tty *os.File) {
	t.Helper()
	ptmx, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("watch in a terminal was not tested: %v", err)
	}
	t.Cleanup(func() { ptmx.Close() })
	n, err := unix.IoctlGetInt(int(ptmx.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(ptmx.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		tty, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	}
	if err != nil {
		t.Skipf("watch in a terminal was not tested: %v", err)
	}
	t.Cleanup(func() { tty.Close() })
	return ptmx, tty
}

// A pipe that nobody reads ends the watch, and the terminal is given back all the same.
func TestWatchEndsWhenNobodyReads(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	defer w.Close()
	fetch := func(context.Context) (*status.Doc, error) { return standby(), nil }
	if err := watch(t.Context(), time.Second, fetch, &changes{out: w}); err == nil {
		t.Error("no error")
	}
}
