package state

import (
	"errors"
	"io/fs"
	"os"
	"testing"

	"github.com/pgha/pgha-agent/agent/fsm"
)

// TestSplitBrainIsForgottenOnceConnected feeds what the stream shows when a split brain is fixed. Version 9 drops the
// latch with the word Connected; 8.4 says Connected while the sides still compare their data, and drops it a moment
// later.
func TestSplitBrainIsForgottenOnceConnected(t *testing.T) {
	latched := fsm.Drbd{Live: true, SplitBrain: true}
	connected := fsm.Drbd{Live: true, Connected: true}
	comparing := fsm.Drbd{Live: true, Connected: true, SplitBrain: true}
	for name, reports := range map[string][]fsm.Drbd{
		"9":                            {connected, latched, connected},
		"8.4":                          {connected, comparing, latched, comparing, connected},
		"latched before this agent":    {{Live: true}, connected},
		"the same, and 8.4 compares":   {{Live: true}, comparing, connected},
		"the stream breaks in between": {latched, {}, comparing, connected},
	} {
		t.Run(name, func(t *testing.T) {
			s := SplitBrain{Dir: t.TempDir()}
			if !reports[0].Connected && !reports[0].SplitBrain {
				if err := os.WriteFile(s.file(), nil, 0o640); err != nil {
					t.Fatal(err)
				}
			}
			var last fsm.Drbd
			for i, d := range reports {
				if err := s.Remember(&d, last); err != nil {
					t.Error(err)
				}
				last = d
				_, err := os.Lstat(s.file())
				if remembered := err == nil; d.Live && remembered != d.SplitBrain {
					t.Errorf("report %d: split brain %t, remembered %t", i+1, d.SplitBrain, remembered)
				} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
					t.Error(err)
				}
			}
		})
	}
}

// TestSplitBrainIsRememberedPerPeer: what the connection to one peer says changes nothing about another one. A third
// node, for disaster recovery, is down all the time.
func TestSplitBrainIsRememberedPerPeer(t *testing.T) {
	report := func(connected, split bool, third ...fsm.Connection) fsm.Drbd {
		d := fsm.Drbd{Live: true, SplitBrain: split}
		d.Connections[0] = fsm.Connection{Name: "pg-a", Connected: connected, SplitBrain: split}
		copy(d.Connections[1:], third)
		return d
	}
	dr := fsm.Connection{Name: "dr"}
	comparing := report(true, false, dr)
	comparing.Connections[0].Comparing = true
	gone := fsm.Drbd{Live: true}
	gone.Connections[0] = dr
	for name, c := range map[string]struct {
		file    string // "" for none; "every" for an empty one
		reports []fsm.Drbd
		latched []bool // after each report, of pg-a
		left    string // what the file says in the end
	}{
		"fixed while the third node is down": {
			reports: []fsm.Drbd{report(true, false, dr), report(false, true, dr), report(false, false, dr),
				report(true, false, dr), report(true, false, dr)},
			latched: []bool{false, true, true, false, false},
		},
		"restart, then fixed": {
			file: "pg-a\n", reports: []fsm.Drbd{report(false, false, dr), report(true, false, dr), report(false, false, dr)},
			latched: []bool{true, false, false},
		},
		"the third node is back, the split brain is not": {
			file: "pg-a\n", reports: []fsm.Drbd{report(false, false, dr),
				report(false, false, fsm.Connection{Name: "dr", Connected: true})}, latched: []bool{true, true}, left: "pg-a\n",
		},
		"a connection that is gone": {file: "pg-a\n", reports: []fsm.Drbd{gone, report(true, false, dr)},
			latched: []bool{true, false}},
		"restart, and the data are compared first": {
			file: "pg-a\n", reports: []fsm.Drbd{comparing, report(true, false, dr)}, latched: []bool{true, false},
		},
		"nobody knows which peer": {file: "every", reports: []fsm.Drbd{report(true, false, dr)}, latched: []bool{false},
			left: "dr\n"},
	} {
		t.Run(name, func(t *testing.T) {
			s := SplitBrain{Dir: t.TempDir()}
			if c.file != "" {
				text := c.file
				if text == "every" {
					text = ""
				}
				if err := os.WriteFile(s.file(), []byte(text), 0o640); err != nil {
					t.Fatal(err)
				}
			}
			var last fsm.Drbd
			for i, d := range c.reports {
				if err := s.Remember(&d, last); err != nil {
					t.Error(err)
				}
				last = d
				if got := d.Connection("pg-a").SplitBrain; got != c.latched[i] {
					t.Errorf("report %d: latched %t", i+1, got)
				}
			}
			if text, err := os.ReadFile(s.file()); string(text) != c.left || err != nil && !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("the file says %q, %v", text, err)
			}
		})
	}
}

func TestSplitBrainFileThatCannotBeReadLatchesEveryPeer(t *testing.T) {
	s := SplitBrain{Dir: t.TempDir()}
	if err := os.Mkdir(s.file(), 0o750); err != nil {
		t.Fatal(err)
	}
	d := fsm.Drbd{Live: true}
	d.Connections[0] = fsm.Connection{Name: "pg-a"}
	if err := s.Remember(&d, fsm.Drbd{}); !d.SplitBrain || err == nil {
		t.Errorf("not latched, %v", err)
	}
}
