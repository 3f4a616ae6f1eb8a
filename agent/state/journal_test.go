package state

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/pgha/pgha-agent/agent/fsm"
)

func testEntry(id uint64) Entry {
	e := Entry{
		Boot: "5d3cbb1e-7d0f-4b0a-8f0e-2f3a6a1f6d11", Saved: time.Date(2026, 3, 1, 10, 0, 0, 123456789, time.UTC),
		Uptime: 81234*time.Second + 1, Node: "pg-1", Addr: "10.0.1.10",
		Episode: fsm.Episode{
			ID: id, Cause: fsm.CauseNodeLost, Outcome: fsm.OutcomeComplete, Start: 81200 * time.Second, Peer: "pg-2",
			Why: "DRBD: NetworkFailure <\"&\n", Promotion: "claim", BaseEpoch: 3, Attempted: true, Epoch: 4,
			Outage: fsm.Outage{From: 1, To: 2, Answered: "10.0.1.10"}, Writes: 1,
			Lost: fsm.LostPeer{Name: "pg-2", Fenced: true}, Races: 2, RacesExhausted: true, RaceUntil: 9,
			Memory: fsm.Memory{Kept: true, Fences: fsm.Fences("").With(7).With(1 << 63), Unfenced: [fsm.MaxPeers]string{"pg-3"}},
		},
	}
	for p := range fsm.NumPhases {
		e.Episode.Stamps[p] = 81200*time.Second + time.Duration(p)*time.Second + 7
	}
	return e
}

func mustOpen(t testing.TB, dir string) (*Journal, []Entry) {
	t.Helper()
	j, entries, err := OpenJournal(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = j.Close() })
	return j, entries
}

func mustAppend(t testing.TB, j *Journal, e Entry) {
	t.Helper()
	if err := j.Append(e); err != nil {
		t.Fatal(err)
	}
}

func reread(t testing.TB, dir string) ([]Entry, int) {
	t.Helper()
	entries, skipped, err := ReadJournal(dir)
	if err != nil {
		t.Fatal(err)
	}
	return entries, skipped
}

// TestJournalLineIsStable holds the format: journals of older agents must stay readable.
func TestJournalLineIsStable(t *testing.T) {
	e := testEntry(7)
	for p := range fsm.NumPhases {
		if p != fsm.PeerLost && p != fsm.Complete {
			e.Episode.Stamps[p] = 0
		}
	}
	line, err := formatEntry(e)
	if err != nil {
		t.Fatal(err)
	}
	want :=
		`{"boot":"5d3cbb1e-7d0f-4b0a-8f0e-2f3a6a1f6d11","saved":"2026-03-01T10:00:00.123456789Z","uptime":81234000000001,` +
			`"node":"pg-1","addr":"10.0.1.10","episode":{"id":7,"cause":"node_lost","outcome":"complete","start":81200000000000,` +
			`"phases":{"peer_lost":81200000000007,"complete":81210000000007},"peer":"pg-2","why":"DRBD: NetworkFailure <\"&\n",` +
			`"promotion":"claim","base_epoch":3,"attempted":true,"epoch":4,"gap":{"from":1,"to":2,"answered":"10.0.1.10"},"writes":1,` +
			`"lost":{"name":"pg-2","fenced":true},"races":2,"raced":true,"race_until":9,` +
			`"memory":{"fences":"00000000000000078000000000000000","unfenced":["pg-3"]}}}` + "\n"
	if d := cmp.Diff(want, string(line[9:])); d != "" {
		t.Error(d)
	}
	if !e.Wall(e.Uptime).Equal(e.Saved) || !e.Wall(0).IsZero() {
		t.Error("Wall")
	}
	// A newer agent's additions do not make the line unreadable.
	var got Entry
	if err := got.UnmarshalJSON(
		[]byte(`{"new":1,"episode":{"id":1,"cause":"operator","phases":{"switched":5,"fenced":6}}}`)); err != nil ||
		got.Episode.Stamps[fsm.Fenced] != 6 {
		t.Errorf("%v %v", got, err)
	}
}

func TestJournalKeepsTheLastLineOfEachEpisode(t *testing.T) {
	dir := t.TempDir()
	j, entries := mustOpen(t, dir)
	if len(entries) != 0 || j.Skipped != 0 {
		t.Fatalf("new journal: %v", entries)
	}
	second := testEntry(2)
	second.Episode.Outcome = ""
	mustAppend(t, j, second)
	mustAppend(t, j, testEntry(1))
	second.Boot, second.Episode.Outcome = "another boot", fsm.OutcomeLost
	mustAppend(t, j, second)
	want := []Entry{testEntry(1), second}
	got, skipped := reread(t, dir)
	if d := cmp.Diff(want, got); d != "" || skipped != 0 {
		t.Errorf("skipped %d %s", skipped, d)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if err := j.Append(second); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("append after close: %v", err)
	}
	if _, got = mustOpen(t, dir); cmp.Diff(want, got) != "" {
		t.Error("reopened journal differs")
	}
}

func TestJournalRefusesWhatItCouldNotReadBack(t *testing.T) {
	j, _ := mustOpen(t, t.TempDir())
	for name, change := range map[string]func(*fsm.Episode){
		"no id":           func(e *fsm.Episode) { e.ID = 0 },
		"unknown cause":   func(e *fsm.Episode) { e.Cause = "x" },
		"unknown outcome": func(e *fsm.Episode) { e.Outcome = "x" },
	} {
		e := testEntry(1)
		change(&e.Episode)
		if err := j.Append(e); err == nil {
			t.Error(name)
		}
	}
}

func TestJournalShortensTexts(t *testing.T) {
	dir := t.TempDir()
	j, _ := mustOpen(t, dir)
	e := testEntry(1)
	e.Episode.Why = strings.Repeat("€", 1000) + "\xff"
	e.Node = "\xff"
	mustAppend(t, j, e)
	got, _ := reread(t, dir)
	if w := got[0].Episode.Why; w != strings.Repeat("€", maxEntryText/3) || got[0].Node != "\uFFFD" {
		t.Errorf("%q", w)
	}
	// And the longest line is what the bounds say.
	nasty := strings.Repeat("\x00", maxEntryText)
	e.Boot, e.Node, e.Addr, e.Episode.Peer, e.Episode.Why, e.Episode.Promotion = nasty, nasty, nasty, nasty, nasty, nasty
	e.Episode.Outage.Answered, e.Episode.Lost.Name = nasty, nasty
	if line, err := formatEntry(e); err != nil || len(line) > maxEntryLine {
		t.Errorf("%d bytes, %v", len(line), err)
	}
}

func TestJournalSurvivesACutAtEveryByte(t *testing.T) {
	whole := journalBytes(t, 3)
	ends := lineEnds(whole)
	for cut := range len(whole) + 1 {
		dir := t.TempDir()
		writeJournal(t, dir, whole[:cut])
		lines := 0
		for _, end := range ends {
			if cut >= end-1 { // all but the newline is a whole line
				lines++
			}
		}
		j, got, err := openJournal(dir, journalMax, (&failAt{}).ops())
		if err != nil {
			t.Fatal(err)
		}
		if len(got) != lines {
			t.Fatalf("cut at %d: %d episodes of %d", cut, len(got), lines)
		}
		mustAppend(t, j, testEntry(9))
		after, skipped := reread(t, dir)
		if len(after) != lines+1 || after[lines].Episode.ID != 9 || skipped != j.Skipped || skipped > 1 {
			t.Fatalf("cut at %d: %d episodes after the append, skipped %d", cut, len(after), skipped)
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestJournalLosesOnlyTheLineThatWasDamaged(t *testing.T) {
	whole := journalBytes(t, 4)
	ends := lineEnds(whole)
	for _, mask := range []byte{0x01, 0x20, 0x80, 0xff} {
		line := 0
		for i := range whole {
			if i == ends[line] {
				line++
			}
			damaged := bytes.Clone(whole)
			damaged[i] ^= mask
			entries, skipped := parseJournal(damaged)
			got := newestEpisodes(entries)
			if skipped == 0 || skipped > 2 || len(got) != 3 {
				t.Fatalf("byte %d ^ %x: %d episodes, skipped %d", i, mask, len(got), skipped)
			}
			for k, e := range got {
				id := k + 1
				if k >= line {
					id++
				}
				if e.Episode.ID != uint64(id) || cmp.Diff(testEntry(e.Episode.ID), e) != "" {
					t.Fatalf("byte %d ^ %x: episode %d is %+v", i, mask, id, e)
				}
			}
		}
	}
}

func journalBytes(t *testing.T, episodes int) []byte {
	t.Helper()
	var b []byte
	for id := range episodes {
		line, err := formatEntry(testEntry(uint64(id + 1)))
		if err != nil {
			t.Fatal(err)
		}
		b = append(b, line...)
	}
	return b
}

func lineEnds(data []byte) (ends []int) {
	for i, c := range data {
		if c == '\n' {
			ends = append(ends, i+1)
		}
	}
	return ends
}

func writeJournal(t testing.TB, dir string, data []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, journalName), data, 0o640); err != nil {
		t.Fatal(err)
	}
}

func TestJournalStaysBounded(t *testing.T) {
	dir := t.TempDir()
	j, _ := mustOpen(t, dir)
	j.ops.sync = func(*os.File) error { return nil } // 3000 of them take a while
	const last = 3000
	for id := range uint64(last) {
		mustAppend(t, j, testEntry(id+1))
		info, err := os.Stat(filepath.Join(dir, journalName))
		if err != nil || info.Size() > journalMax {
			t.Fatalf("episode %d: %v bytes, %v", id, info.Size(), err)
		}
	}
	got, skipped := reread(t, dir)
	if len(got) != Keeps || got[0].Episode.ID != last-Keeps+1 || skipped != 0 {
		t.Errorf("%d episodes from %d, skipped %d", len(got), got[0].Episode.ID, skipped)
	}
	// Long lines: fewer episodes, same bound.
	e := testEntry(last + 1)
	e.Episode.Why = strings.Repeat("\x00", maxEntryText)
	e.Episode.Peer, e.Node, e.Episode.Promotion, e.Boot = e.Episode.Why, e.Episode.Why, e.Episode.Why, e.Episode.Why
	for range 1000 {
		mustAppend(t, j, e)
		e.Episode.ID++
	}
	info, err := os.Stat(filepath.Join(dir, journalName))
	if err != nil || info.Size() > journalMax {
		t.Errorf("%d bytes, %v", info.Size(), err)
	}
	if names, _ := filepath.Glob(filepath.Join(dir, "*")); len(names) != 2 {
		t.Errorf("left behind: %q", names)
	}
}

func TestJournalIsLocked(t *testing.T) {
	dir := t.TempDir()
	j, _ := mustOpen(t, dir)
	if _, _, err := OpenJournal(dir); !errors.Is(err, ErrLocked) {
		t.Fatalf("second writer: %v", err)
	}
	reread(t, dir) // does not need the lock
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	mustOpen(t, dir)
	info, err := os.Stat(filepath.Join(dir, journalLock))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("others may open the lock: %v %v", info.Mode(), err)
	}
}

func TestJournalRefusesOtherKindsOfFiles(t *testing.T) {
	for name, make := range map[string]func(path string) error{
		"symlink":   func(p string) error { return os.Symlink("/etc/passwd", p) },
		"dangling":  func(p string) error { return os.Symlink(p+".x", p) },
		"fifo":      func(p string) error { return syscall.Mkfifo(p, 0o600) },
		"directory": func(p string) error { return os.Mkdir(p, 0o700) },
	} {
		for _, file := range []string{journalName, journalLock} {
			dir := t.TempDir()
			if err := make(filepath.Join(dir, file)); err != nil {
				t.Fatal(err)
			}
			if _, _, err := OpenJournal(dir); err == nil {
				t.Errorf("%s as %s was opened", name, file)
			}
			if _, err := os.Lstat(filepath.Join(dir, "journal.x")); err == nil {
				t.Error("symlink was followed")
			}
			if _, _, err := ReadJournal(dir); err == nil {
				t.Errorf("%s as %s was read", name, file)
			}
		}
	}
	if _, _, err := ReadJournal(t.TempDir()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no journal: %v", err)
	}
}

// failAt makes the n-th call from now on fail, and all that follow when sticky: a full disk, or a crash.
type failAt struct {
	n, calls int
	sticky   bool
	partial  int // bytes that a failing write writes all the same
}

func (f *failAt) now() bool {
	f.calls++
	return f.calls == f.n || f.sticky && f.calls > f.n
}

func (f *failAt) ops() journalOps {
	failed := fmt.Errorf("injected: %w", syscall.ENOSPC)
	return journalOps{
		write: func(file *os.File, b []byte) (int, error) {
			if f.now() {
				n, _ := file.Write(b[:min(f.partial, len(b))])
				return n, failed
			}
			return file.Write(b)
		},
		sync: func(file *os.File) error {
			if f.now() {
				return failed
			}
			return nil
		},
		truncate: func(file *os.File, n int64) error {
			if f.now() {
				return failed
			}
			return file.Truncate(n)
		},
		rename: func(from, to string) error {
			if f.now() {
				return failed
			}
			return os.Rename(from, to)
		},
	}
}

// TestJournalSurvivesAFailureAtEveryCall fails each call in turn, in a sequence that has a rewrite in it, and looks
// that everything that was acknowledged is there, after the failure and after a crash at that call.
func TestJournalSurvivesAFailureAtEveryCall(t *testing.T) {
	const most, fill, more = 30 << 10, 14, 6
	lineOf := func(id uint64) Entry {
		e := testEntry(id)
		e.Episode.Why = strings.Repeat("w", maxEntryText)
		e.Episode.Promotion = e.Episode.Why
		return e
	}
	var full []byte // close to the size at which it is rewritten
	id := uint64(0)
	for {
		line, err := formatEntry(lineOf(id + 1))
		if err != nil {
			t.Fatal(err)
		}
		if len(full)+(more/2)*len(line) > most {
			break
		}
		full = append(full, line...)
		id++
	}
	if id < fill {
		t.Fatalf("only %d episodes", id)
	}
	for _, sticky := range []bool{false, true} {
		for _, partial := range []int{0, 1, 700, 1 << 20} {
			var calls int
			for n := 1; ; n++ {
				dir := t.TempDir()
				writeJournal(t, dir, full)
				f := &failAt{n: n, sticky: sticky, partial: partial}
				j, _, err := openJournal(dir, most, f.ops())
				if err != nil {
					t.Fatal(err)
				}
				var acked uint64
				for k := range uint64(more) {
					err := j.Append(lineOf(id + 1 + k))
					if err != nil && !sticky {
						err = j.Append(lineOf(id + 1 + k)) // the caller's second try
						if err != nil {
							t.Fatalf("call %d: second try: %v", n, err)
						}
					}
					if err == nil {
						acked = id + 1 + k
					}
				}
				calls = f.calls
				// A crash here leaves what is on disk: open it as the next start does.
				if err := j.Close(); err != nil {
					t.Fatal(err)
				}
				_, got := mustOpen(t, dir)
				have := map[uint64]bool{}
				for _, e := range got {
					have[e.Episode.ID] = true
				}
				for want := id - 4; want <= max(acked, id); want++ {
					if !have[want] {
						t.Fatalf("call %d, sticky %v, partial %d: episode %d is lost", n, sticky, partial, want)
					}
				}
				if !sticky && acked != id+more {
					t.Fatalf("call %d: acknowledged up to %d", n, acked)
				}
				if n > calls {
					break
				}
			}
			if calls < 2*more+4 {
				t.Fatalf("only %d calls: was there no rewrite?", calls)
			}
		}
	}
}

func TestJournalStopsGrowingWhenItCannotBeRewritten(t *testing.T) {
	dir := t.TempDir()
	const most = 64 << 10
	j, _, err := openJournal(dir, most, (&failAt{}).ops())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = j.Close() }()
	j.ops.rename = func(string, string) error { return syscall.EACCES }
	e := testEntry(1)
	e.Episode.Why = strings.Repeat("\x00", maxEntryText)
	e.Episode.Peer, e.Episode.Promotion = e.Episode.Why, e.Episode.Why
	for n := 0; n < 1000 && err == nil; n++ {
		e.Episode.ID++
		err = j.Append(e)
	}
	info, _ := os.Stat(filepath.Join(dir, journalName))
	if !errors.Is(err, syscall.EACCES) || info.Size() <= most || info.Size() > 2*most {
		t.Fatalf("%d bytes, error %v", info.Size(), err)
	}
	j.ops.rename = os.Rename
	mustAppend(t, j, e)
	if info, _ = os.Stat(filepath.Join(dir, journalName)); info.Size() > most {
		t.Errorf("%d bytes", info.Size())
	}
}

func TestJournalReturnsWhatWasAppended(t *testing.T) {
	times := rapid.Int64()
	text := rapid.StringN(0, 100, maxEntryText)
	entries := rapid.Custom(func(t *rapid.T) Entry {
		e := Entry{
			Boot: text.Draw(t, "boot"), Node: text.Draw(t, "node"), Addr: text.Draw(t, "addr"),
			Uptime: fsm.Time(times.Draw(t, "uptime")),
			Client: ClientSeen{fsm.Time(times.Draw(t, "seen")), text.Draw(t, "by")},
			Saved:  time.Unix(rapid.Int64Range(0, 1<<33).Draw(t, "sec"), rapid.Int64Range(0, 999999999).Draw(t, "ns")).UTC(),
			Episode: fsm.Episode{
				ID: rapid.Uint64Range(1, 8).Draw(t, "id"), Cause: rapid.SampledFrom(fsm.Causes).Draw(t, "cause"),
				Outcome: rapid.SampledFrom(append([]fsm.Outcome{""}, fsm.Outcomes...)).Draw(t, "outcome"),
				Start:   fsm.Time(times.Draw(t, "start")), Peer: text.Draw(t, "peer"), Why: text.Draw(t, "why"),
				Promotion: text.Draw(t, "promotion"), BaseEpoch: rapid.Uint64().Draw(t, "base"),
				Attempted: rapid.Bool().Draw(t, "attempted"),
				Epoch:     rapid.Uint64().Draw(t, "epoch"), Writes: rapid.Int().Draw(t, "writes"),
				Outage: fsm.Outage{From: fsm.Time(times.Draw(t, "from")), To: fsm.Time(times.Draw(t, "to")),
					Answered: text.Draw(t, "answered")},
				Lost: fsm.LostPeer{Name: text.Draw(t, "lost"), Fenced: rapid.Bool().Draw(t, "fenced")},
			},
		}
		if m := &e.Episode.Memory; rapid.Bool().Draw(t, "kept") {
			m.Kept, m.Partial = true, rapid.Bool().Draw(t, "partial")
			for _, id := range rapid.SliceOfN(rapid.Uint64(), 0, 5).Draw(t, "fences") {
				m.Fences = m.Fences.With(fsm.FenceID(id))
			}
			m.Unfenced[0] = text.Draw(t, "unfenced")
		}
		for p := range fsm.NumPhases {
			e.Episode.Stamps[p] = fsm.Time(times.Draw(t, "stamp"))
		}
		return e
	})
	rapid.Check(t, func(rt *rapid.T) {
		dir := t.TempDir()
		j, _, err := openJournal(dir, journalMax, (&failAt{}).ops())
		if err != nil {
			rt.Fatal(err)
		}
		want := map[uint64]Entry{}
		for _, e := range rapid.SliceOfN(entries, 0, 12).Draw(rt, "entries") {
			if err := j.Append(e); err != nil {
				rt.Fatal(err)
			}
			want[e.Episode.ID] = e
			if rapid.IntRange(0, 3).Draw(rt, "restart") == 0 {
				_ = j.Close()
				if j, _, err = openJournal(dir, journalMax, (&failAt{}).ops()); err != nil {
					rt.Fatal(err)
				}
			}
		}
		_ = j.Close()
		list, skipped, err := ReadJournal(dir)
		got := map[uint64]Entry{}
		for _, e := range list {
			got[e.Episode.ID] = e
		}
		if d := cmp.Diff(want, got); d != "" || err != nil || skipped != 0 || len(list) != len(want) {
			rt.Fatalf("%v, skipped %d: %s", err, skipped, d)
		}
	})
}

func FuzzReadJournal(f *testing.F) {
	line, err := formatEntry(testEntry(1))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(line)
	f.Add(append(append([]byte("torn\n\n"), line...), line[:len(line)/2]...))
	f.Add(bytes.ReplaceAll(append(line, line...), []byte("\n"), []byte("x")))
	f.Fuzz(func(t *testing.T, data []byte) {
		dir := t.TempDir()
		writeJournal(t, dir, data)
		before, skipped := reread(t, dir)
		j, got, err := openJournal(dir, journalMax, (&failAt{}).ops()) // without fsync: there are to be many
		if err != nil {
			t.Fatal(err)
		}
		if j.Skipped != skipped || cmp.Diff(before, got) != "" {
			t.Fatal("reader and writer disagree")
		}
		for _, e := range got {
			if _, err := formatEntry(e); err != nil {
				t.Fatalf("read what cannot be written: %v", err)
			}
		}
		e := testEntry(1)
		mustAppend(t, j, e)
		after, skippedAfter := reread(t, dir)
		if skippedAfter != skipped || len(after) == 0 {
			t.Fatalf("skipped %d, then %d", skipped, skippedAfter)
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

func BenchmarkJournalAppend(b *testing.B) {
	j, _ := mustOpen(b, b.TempDir())
	e := testEntry(1)
	b.ReportAllocs()
	for b.Loop() {
		if err := j.Append(e); err != nil {
			b.Fatal(err)
		}
	}
}

// TestNewestOfALongJournal has its newest episodes in the last part of the file, or one of them in so many lines that
// they are not.
func TestNewestOfALongJournal(t *testing.T) {
	for _, c := range []struct {
		name     string
		episodes uint64
		lines    int // of the last episode
	}{
		{"many episodes", 480, 1},
		{"many lines", 30, 480},
	} {
		t.Run(c.name, func(t *testing.T) {
			var file []byte
			for id := uint64(1); id <= c.episodes; id++ {
				line, err := formatEntry(testEntry(id))
				if err != nil {
					t.Fatal(err)
				}
				file = append(file, line...)
				for i := 1; id == c.episodes && i < c.lines; i++ {
					file = append(file, line...)
				}
			}
			dir := t.TempDir()
			if err := os.WriteFile(JournalFile(dir), file, 0o600); err != nil {
				t.Fatal(err)
			}
			if len(file) <= newestTail {
				t.Fatalf("a journal of %d bytes proves nothing", len(file))
			}
			const count = 20
			list, err := ReadNewest(dir, count)
			if err != nil || len(list) < count || list[len(list)-1].Episode.ID != c.episodes {
				t.Fatalf("%d episodes, want the newest %d: %v", len(list), count, err)
			}
			if first := list[len(list)-count].Episode.ID; first != c.episodes-count+1 {
				t.Errorf("the first of the newest %d is %d", count, first)
			}
		})
	}
}
