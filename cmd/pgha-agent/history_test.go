package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/pgha/pgha-agent/agent/fsm"
	"github.com/pgha/pgha-agent/agent/state"
)

// told makes a state directory with what agents of two boots, and before and after the clock was set, have written.
func told(t *testing.T) (config string) {
	t.Helper()
	dir := t.TempDir()
	j, _, err := state.OpenJournal(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	entry := func(boot string, saved time.Time, uptime time.Duration, e fsm.Episode) {
		t.Helper()
		e.Stamps[fsm.PeerLost] = e.Start
		if err := j.Append(state.Entry{Boot: boot, Saved: saved, Uptime: uptime, Node: "pg-b", Addr: ownAddr,
			Episode: e}); err != nil {
			t.Fatal(err)
		}
	}
	stamps := func(start time.Duration) (s [fsm.NumPhases]fsm.Time) {
		for i, p := range []fsm.Phase{fsm.Fenced, fsm.Promoted, fsm.DNSAccepted, fsm.Writable, fsm.DNSObserved} {
			s[p] = start + time.Duration(i+1)*12300*time.Millisecond
		}
		return s
	}
	// Before a reboot: a long uptime, and an episode that the reboot ended.
	entry("boot-1", before(3*time.Hour), 900*time.Hour, fsm.Episode{ID: 1, Cause: fsm.CauseNodeLost,
		Outcome: fsm.OutcomeLost, Peer: "pg-a", Why: "DRBD: NetworkFailure", Start: 900*time.Hour - 3*time.Minute})
	// After it: a short uptime, and an episode whose fencing was learned late.
	late := fsm.Episode{ID: 2, Cause: fsm.CauseResourceFailed, Outcome: fsm.OutcomeIncomplete, Peer: "pg-a",
		Start: 10 * time.Minute, Stamps: stamps(10 * time.Minute), Epoch: 4, Writes: 1,
		Outage: fsm.Outage{From: 10 * time.Minute, To: 11 * time.Minute, Answered: ownAddr}}
	late.Late[fsm.Fenced], late.Late[fsm.Promoted] = true, true
	entry("boot-2", before(2*time.Hour), 20*time.Minute, late)
	// The clock is set back by a day; then an episode with an outage that goes on.
	entry("boot-2", before(25*time.Hour), 80*time.Minute, fsm.Episode{ID: 3, Cause: fsm.CauseNodeLost, Peer: "pg-a",
		Start: 79 * time.Minute, Stamps: stamps(79 * time.Minute), Epoch: 5, Writes: 1,
		Outage: fsm.Outage{From: 79*time.Minute - time.Second}})
	cutOff := before(25*time.Hour + time.Minute)
	if err := (state.Events{Dir: dir}).Add([]state.Event{
		{At: before(3 * time.Hour), Kind: state.EventFailed, Text: "monitor of pgsql failed on pg-b: not running, and a " +
			"reason that is too long for one line of a terminal"},
		{At: before(2 * time.Hour), Kind: state.EventAgent, Text: "agent 0.2.0 begins; the one before told something last " +
			"at 2026-11-23 02:50:00: what happened meanwhile is learned late"},
		{At: before(25 * time.Hour), Kind: state.EventClock, Text: "the clock was set back by 23 h 0 min"},
		{At: cutOff, Kind: state.EventCutOff, Text: "a client of the name is cut off: connection refused"},
		{At: cutOff.Add(time.Second), Kind: state.EventRestarted, Text: "PostgreSQL was started anew"},
	}); err != nil {
		t.Fatal(err)
	}
	config = filepath.Join(dir, "config.toml")
	if err := os.WriteFile(config, []byte("[cluster]\npromotable = \"c\"\n[drbd]\nresource = \"r\"\n[record]\n"+
		"zone_id = \"Z1\"\nname = \"db.pgha.internal\"\n[state]\ndir = \""+dir+"\"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	return config
}

// TestHistory: the newest episode is first by its number, also after a reboot and after the clock was set back; each has
// the times of its own boot and clock; and all of it fits a terminal of 80 columns.
func TestHistory(t *testing.T) {
	config := told(t)
	for name, args := range map[string][]string{
		"list": nil, "reboot": {"1"}, "late": {"2"}, "goes_on": {"last"}, "events": {"--events"},
	} {
		var got bytes.Buffer
		root := newRoot()
		root.SetOut(&got)
		root.SetArgs(append([]string{"history", "--config", config}, args...))
		if err := root.ExecuteContext(t.Context()); err != nil {
			t.Fatal(err)
		}
		golden(t, filepath.Join("testdata", "history", name+".txt"), got.String())
		for line := range strings.Lines(got.String()) {
			if n := utf8.RuneCountInString(strings.TrimRight(line, " \n")); n > historyWidth {
				t.Errorf("%s: a line of %d columns: %q", name, n, line)
			}
		}
	}
	var got bytes.Buffer
	root := newRoot()
	root.SetOut(&got)
	root.SetArgs([]string{"history", "2", "--json", "--config", config})
	if err := root.ExecuteContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	golden(t, filepath.Join("testdata", "history", "late.json"), got.String())
}

// TestEventsInOrder: what was written down a little late is where it belongs, and a clock that was set parts what is not
// to be compared.
func TestEventsInOrder(t *testing.T) {
	event := func(second int, kind state.EventKind) state.Event {
		return state.Event{At: before(time.Hour).Add(time.Duration(second) * time.Second), Kind: kind}
	}
	for name, c := range map[string]struct{ read, want []state.Event }{
		"none": {nil, []state.Event{}},
		"late": {[]state.Event{event(1, "a"), event(5, "b"), event(5, "c"), event(3, "d")},
			[]state.Event{event(1, "a"), event(3, "d"), event(5, "b"), event(5, "c")}},
		"an hour late": {[]state.Event{event(3600, "a"), event(1, "b")}, []state.Event{event(3600, "a"), event(1, "b")}},
		"over a clock": {[]state.Event{event(9, "a"), event(3, state.EventClock), event(4, "b"), event(2, "c")},
			[]state.Event{event(9, "a"), event(3, state.EventClock), event(2, "c"), event(4, "b")}},
	} {
		if diff := cmp.Diff(c.want, inOrder(c.read)); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", name, diff)
		}
	}
}
