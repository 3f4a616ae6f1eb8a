package agent

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pgha/pgha-agent/crm"
)

func testAlert(n int) crm.Alert {
	rc := n
	return crm.Alert{Kind: crm.AlertResource, Sequence: n, At: time.Date(2026, 3, 1, 10, 0, 0, 5000, time.UTC), Node: "pg-1", Task: "promote", RC: &rc}
}

// limited fails the test when f hangs, as it would on a FIFO.
func limited(t *testing.T, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() { defer close(done); f() }()
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		t.Fatal("hangs")
	}
}

func TestSpoolReturnsAlertsOnceAndInOrder(t *testing.T) {
	dir := t.TempDir()
	var want []crm.Alert
	for n := range 10 {
		if err := SpoolAlert(dir, testAlert(n+1)); err != nil {
			t.Fatal(err)
		}
		want = append(want, testAlert(n+1))
	}
	names, _ := filepath.Glob(filepath.Join(dir, "*"))
	if info, err := os.Stat(names[0]); err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	first, bad, err := DrainSpool(dir, 4)
	if err != nil || bad != 0 || len(first) != 4 {
		t.Fatalf("%d alerts, %d bad, %v", len(first), bad, err)
	}
	rest, bad, err := DrainSpool(dir, 100)
	if d := cmp.Diff(want, append(first, rest...)); d != "" || bad != 0 || err != nil {
		t.Errorf("%d bad, %v: %s", bad, err, d)
	}
	if again, bad, err := DrainSpool(dir, 100); len(again) != 0 || bad != 0 || err != nil {
		t.Errorf("again: %v %d %v", again, bad, err)
	}
}

func TestSpoolFilesAreReadableByTheGroupWhateverTheUmask(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0o777))
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := SpoolAlert(dir, testAlert(1)); err != nil {
		t.Fatal(err)
	}
	names, _ := filepath.Glob(filepath.Join(dir, "*"))
	if info, err := os.Stat(names[0]); err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("%v %v", info, err)
	}
}

func TestSpoolDropsTheOldest(t *testing.T) {
	dir := t.TempDir()
	const over = 5
	for n := range spoolFiles + over {
		if err := SpoolAlert(dir, testAlert(n)); err != nil {
			t.Fatal(err)
		}
	}
	got, bad, err := DrainSpool(dir, 1000)
	if err != nil || bad != 0 || len(got) != spoolFiles || got[0].Sequence != over {
		t.Errorf("%d alerts from %d, %d bad, %v", len(got), got[0].Sequence, bad, err)
	}
}

func TestSpoolRefusesAHugeAlert(t *testing.T) {
	a := testAlert(1)
	a.Desc = strings.Repeat("x", spoolFileSize)
	if err := SpoolAlert(t.TempDir(), a); err == nil {
		t.Error("kept")
	}
}

func TestDrainSpoolRemovesWhatIsNoAlert(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "secret.json")
	if err := os.WriteFile(secret, []byte(`{"kind":"node","desc":"secret"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	name := func(n int) string { return filepath.Join(dir, fmt.Sprintf("%019d-1.json", n)) }
	old := time.Now().Add(-time.Hour)
	for _, err := range []error{
		os.Symlink(secret, name(1)),
		syscall.Mkfifo(name(2), 0o666),
		os.WriteFile(name(3), []byte("not JSON"), 0o600),
		os.WriteFile(name(4), []byte(`{"kind":"node","desc":"`+strings.Repeat("x", spoolFileSize)+`"}`), 0o600),
		os.Mkdir(name(5), 0o700),
		os.WriteFile(name(6), nil, 0o600),
		os.WriteFile(filepath.Join(dir, "other name"), []byte(`{"kind":"node"}`), 0o600),
		os.WriteFile(filepath.Join(dir, spoolTemp+"old"), nil, 0o600),
		os.Chtimes(filepath.Join(dir, spoolTemp+"old"), old, old),
		os.WriteFile(filepath.Join(dir, spoolTemp+"young"), nil, 0o600),
		os.Symlink(dir, filepath.Join(dir, "loop")),
		syscall.Mknod(filepath.Join(dir, "socket"), syscall.S_IFSOCK|0o600, 0),
		os.Truncate(name(6), 1<<40), // sparse
		SpoolAlert(dir, testAlert(7)),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	limited(t, func() {
		got, bad, err := DrainSpool(dir, 100)
		if d := cmp.Diff([]crm.Alert{testAlert(7)}, got); d != "" || bad != 10 || err != nil {
			t.Errorf("%d bad, %v: %s", bad, err, d)
		}
	})
	left, _ := os.ReadDir(dir)
	if len(left) != 1 || left[0].Name() != spoolTemp+"young" {
		t.Errorf("left: %v", left)
	}
	if _, err := os.Stat(secret); err != nil {
		t.Errorf("followed a link: %v", err)
	}
}

func TestDrainSpoolReportsWhatItCannotRemove(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "a", "b"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := SpoolAlert(dir, testAlert(1)); err != nil {
		t.Fatal(err)
	}
	got, bad, err := DrainSpool(dir, 100)
	if len(got) != 1 || bad != 1 || err == nil {
		t.Errorf("%v, %d bad, %v", got, bad, err)
	}
}

func TestSpoolMayBeMissingForTheReaderOnly(t *testing.T) {
	dir := filepath.Join(t.TempDir(), SpoolName)
	if got, bad, err := DrainSpool(dir, 10); got != nil || bad != 0 || err != nil {
		t.Errorf("%v %d %v", got, bad, err)
	}
	if err := SpoolAlert(dir, testAlert(1)); err == nil {
		t.Error("spooled into nothing")
	}
	if err := os.Symlink(t.TempDir(), dir); err != nil {
		t.Fatal(err)
	}
	if err := SpoolAlert(dir, testAlert(1)); err == nil {
		t.Error("spooled through a link")
	}
	if _, _, err := DrainSpool(dir, 10); err == nil {
		t.Error("drained through a link")
	}
}

func TestSpoolIsSafeForWritersAndReaderAtOnce(t *testing.T) {
	dir := t.TempDir()
	const writers, each = 4, 40
	done := make(chan error, writers)
	for range writers {
		go func() {
			var err error
			for n := 0; n < each && err == nil; n++ {
				err = SpoolAlert(dir, testAlert(n))
			}
			done <- err
		}()
	}
	total := 0
	drain := func() {
		got, bad, err := DrainSpool(dir, 1000)
		if bad != 0 || err != nil {
			t.Errorf("%d bad, %v", bad, err)
		}
		total += len(got)
	}
	for left := writers; left > 0; {
		select {
		case err := <-done:
			left--
			if err != nil {
				t.Error(err)
			}
		default:
			drain()
		}
	}
	drain()
	if total != writers*each {
		t.Errorf("%d alerts of %d", total, writers*each)
	}
}
