package state

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pgha/pgha-agent/agent/fsm"
)

func TestWriterWritesWhatChangedDuringAWrite(t *testing.T) {
	dir := t.TempDir()
	w := NewWriter(dir)
	older, newer, next := testEntry(1), testEntry(1), testEntry(2)
	older.Episode.Outcome = ""
	during := []Entry{newer, next}
	ops := journalSystem
	ops.write = func(f *os.File, b []byte) (int, error) {
		if len(during) > 0 {
			w.Save(during[0])
			during = during[1:]
		}
		return f.Write(b)
	}
	var err error
	if w.journal, _, err = openJournal(dir, journalMax, ops); err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	w.Save(older)
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	if got, _ := reread(t, dir); cmp.Diff([]Entry{newer, next}, got) != "" {
		t.Errorf("journal %+v", got)
	}
}

// TestWriterWritesWhatIsLeftAtItsEnd: the wake-up for it is gone, as when the disk refused it before.
func TestWriterWritesWhatIsLeftAtItsEnd(t *testing.T) {
	dir := t.TempDir()
	w := NewWriter(dir)
	defer w.Close()
	w.Save(testEntry(1))
	<-w.wake
	ended, end := context.WithCancel(t.Context())
	end()
	if err := w.Run(ended, func(error) {}); err != nil {
		t.Fatal(err)
	}
	if got, _ := reread(t, dir); len(got) != 1 {
		t.Errorf("%d episodes in the journal", len(got))
	}
}

func TestRewrittenJournalIsInItsDirectoryBeforeItCounts(t *testing.T) {
	dir := t.TempDir()
	var synced []string
	ops := journalSystem
	ops.sync = func(f *os.File) error {
		synced = append(synced, filepath.Base(f.Name()))
		return nil
	}
	j, _, err := openJournal(dir, journalMax, ops)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = j.Close() }()
	mustAppend(t, j, testEntry(1))
	if err := j.rewrite(); err != nil {
		t.Fatal(err)
	}
	mustAppend(t, j, testEntry(2))
	mustAppend(t, j, testEntry(3))
	d := filepath.Base(dir)
	want := []string{d, journalName, journalTemp, d, journalTemp, journalTemp} // the file keeps the name it was opened by
	if diff := cmp.Diff(want, synced); diff != "" {
		t.Errorf("synced (-want +got)\n%s", diff)
	}
}

func TestEpisodeOfAJournalThatOpensLateIsEnded(t *testing.T) {
	for boot, want := range map[string]fsm.Outcome{"boot": fsm.OutcomeIncomplete, "before": fsm.OutcomeLost} {
		dir := t.TempDir()
		open := testEntry(4)
		open.Boot, open.Episode.Outcome = boot, ""
		j, _ := mustOpen(t, dir)
		mustAppend(t, j, open)
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
		w := NewWriter(dir)
		defer w.Close()
		own := testEntry(1)
		own.Boot = "boot"
		w.Save(own)
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
		own.Episode.ID, open.Episode.Outcome = 5, want
		if got, _ := reread(t, dir); cmp.Diff([]Entry{open, own}, got) != "" {
			t.Errorf("open in %s: journal %+v", boot, got)
		}
	}
}

func TestWriterKeepsWhatTheDiskRefuses(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "later")
	w := NewWriter(dir)
	entry := func(id uint64, cause fsm.Cause) Entry {
		return Entry{Boot: "b", Saved: time.Now(), Node: "pg-b", Episode: fsm.Episode{ID: id, Cause: cause, Start: 1}}
	}
	w.Save(entry(1, fsm.CauseUnknown))
	w.Save(entry(1, fsm.CauseNodeLost))
	w.Save(entry(2, fsm.CauseStartUp))
	if err := w.Flush(); err == nil {
		t.Fatal("no error without a directory")
	}
	if err := os.Mkdir(dir, 0o750); err != nil {
		t.Fatal(err)
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	got, _, err := ReadJournal(dir)
	if err != nil || len(got) != 2 || got[0].Episode.Cause != fsm.CauseNodeLost || got[1].Episode.ID != 2 {
		t.Errorf("%v %+v", err, got)
	}
}
