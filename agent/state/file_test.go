package state

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// nobody is a user who is neither root nor the agent.
const nobody = 65534

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

// plants are what a hostile user may put where the agent has its files. Each is made at path and may point at target.
var plants = map[string]func(path, target string) error{
	"symlink":   func(path, target string) error { return os.Symlink(target, path) },
	"hard link": func(path, target string) error { return os.Link(target, path) },
	"fifo":      func(path, _ string) error { return syscall.Mkfifo(path, 0o600) },
	"directory": func(path, _ string) error { return os.Mkdir(path, 0o700) },
	"socket":    func(path, _ string) error { return syscall.Mknod(path, syscall.S_IFSOCK|0o600, 0) },
	"others may write it": func(path, _ string) error {
		return errors.Join(os.WriteFile(path, nil, 0o600), os.Chmod(path, 0o666))
	},
	"belongs to another": func(path, _ string) error {
		return errors.Join(os.WriteFile(path, nil, 0o600), os.Chown(path, nobody, -1))
	},
}

func TestPlantedFilesAreNeitherReadNorWritten(t *testing.T) {
	for name, plant := range plants {
		t.Run(name, func(t *testing.T) {
			if name == "belongs to another" && os.Geteuid() != 0 {
				t.Skip("only root can give files away: a file of another user was not tested")
			}
			dir, elsewhere := t.TempDir(), t.TempDir()
			target := filepath.Join(elsewhere, "target")
			before := []byte(`{"until":"2999-01-01T00:00:00Z"}`)
			plantAt := func(file string) {
				t.Helper()
				_ = os.RemoveAll(filepath.Join(dir, file))
				if err := errors.Join(os.WriteFile(target, before, 0o600), plant(filepath.Join(dir, file), target)); err != nil {
					t.Fatal(err)
				}
			}
			untouched := func(what string) {
				t.Helper()
				if now, err := os.ReadFile(target); err != nil || !bytes.Equal(now, before) {
					t.Errorf("%s: the file behind it holds %q, %v", what, now, err)
				}
			}
			limited(t, func() {
				plantAt(pauseName)
				if until, err := ReadPause(dir, time.Now(), 0); err == nil {
					t.Errorf("pause of %v read from it", until)
				}
				err := WritePause(dir, time.Now().Add(time.Hour))
				untouched("write a pause")
				if name == "directory" {
					if err == nil {
						t.Error("a pause in place of a directory")
					}
				} else if until, readErr := ReadPause(dir, time.Now(), 0); err != nil || readErr != nil || until == 0 {
					t.Errorf("own pause in its place: %v, %v, %v", err, until, readErr)
				}
				plantAt(splitBrainName)
				_ = replaceFile(dir, splitBrainName, nil)
				untouched("remember a split brain")
				for _, file := range []string{journalLock, journalName} {
					plantAt(file)
					if _, _, err := OpenJournal(dir); err == nil {
						t.Errorf("taken for %s", file)
					}
					untouched("open the journal")
					_ = os.RemoveAll(filepath.Join(dir, file))
				}
				// In place of the new file of a rewrite it is removed.
				j, _ := mustOpen(t, dir)
				mustAppend(t, j, testEntry(1))
				plantAt(journalTemp)
				if err := j.rewrite(); err != nil {
					t.Errorf("rewrite: %v", err)
				}
				untouched("rewrite the journal")
				if err := j.Close(); err != nil {
					t.Fatal(err)
				}
				if list, _ := reread(t, dir); len(list) != 1 {
					t.Errorf("%d episodes after the rewrite", len(list))
				}
			})
		})
	}
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

func TestStateSurvivesAFullFileSystem(t *testing.T) {
	dir := smallDisk(t, "64k")
	j, _ := mustOpen(t, dir)
	if err := WritePause(dir, time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	saved := uint64(0)
	var err error
	for ; err == nil; saved++ {
		err = j.Append(testEntry(saved + 1))
	}
	saved-- // the one that did not fit
	if !errors.Is(err, syscall.ENOSPC) || saved < 10 {
		t.Fatalf("%d saved, then %v", saved, err)
	}
	if err := WritePause(dir, time.Now().Add(2*time.Hour)); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("pause on a full disk: %v", err)
	}
	if left, err := ReadPause(dir, time.Now(), 0); err != nil || left > time.Hour {
		t.Errorf("the pause before: %v, %v", left, err)
	}
	if hidden, _ := filepath.Glob(filepath.Join(dir, ".pause*")); len(hidden) != 0 {
		t.Errorf("left behind: %q", hidden)
	}
	if list, skipped := reread(t, dir); uint64(len(list)) != saved || skipped != 0 {
		t.Errorf("%d episodes and %d damaged lines, want %d and none", len(list), skipped, saved)
	}
	if err := os.Remove(filepath.Join(dir, pauseName)); err != nil { // frees a page
		t.Fatal(err)
	}
	mustAppend(t, j, testEntry(saved+1))
	if list, skipped := reread(t, dir); uint64(len(list)) != saved+1 || skipped != 0 {
		t.Errorf("%d episodes and %d damaged lines once there is room", len(list), skipped)
	}
}

// TestJournalSurvivesADiskThatIsFullAtAnyByte lets the disk take only a part of a line, of every length, and not even
// truncate it.
func TestJournalSurvivesADiskThatIsFullAtAnyByte(t *testing.T) {
	line, err := formatEntry(testEntry(2))
	if err != nil {
		t.Fatal(err)
	}
	for part := range len(line) + 1 {
		dir := t.TempDir()
		j, _ := mustOpen(t, dir)
		mustAppend(t, j, testEntry(1))
		full := &failAt{n: 1, sticky: true, partial: part}
		j.ops = full.ops()
		if err := j.Append(testEntry(2)); !errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("byte %d: %v", part, err)
		}
		whole := part >= len(line)-1 // the newline is not needed
		check := func(when string, list []Entry, skipped int) {
			t.Helper()
			torn := !whole && part > 0
			if len(list) < 1 || list[0].Episode.ID != 1 || len(list) > 1 != whole || (skipped == 1) != torn {
				t.Fatalf("byte %d, %s: %d episodes, %d damaged lines", part, when, len(list), skipped)
			}
		}
		list, skipped := reread(t, dir)
		check("while it is full", list, skipped)
		_ = j.Close() // a crash
		j, list = mustOpen(t, dir)
		check("after a crash", list, j.Skipped)
		mustAppend(t, j, testEntry(3))
		if list, _ = reread(t, dir); list[0].Episode.ID != 1 || list[len(list)-1].Episode.ID != 3 {
			t.Fatalf("byte %d: %d episodes once there is room", part, len(list))
		}
		_ = j.Close()
	}
}

func TestNoStateDirectory(t *testing.T) {
	if _, err := ReadPause(filepath.Join(t.TempDir(), "none"), time.Now(), 0); err != nil &&
		!errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	if err := replaceFile(filepath.Join(t.TempDir(), "none"), pauseName, nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v", err)
	}
}
