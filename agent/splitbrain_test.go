package agent

import (
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"testing"

	"github.com/pgha/pgha-agent/agent/fsm"
)

// TestSplitBrainIsForgottenOnceConnected feeds what the stream shows when a split brain is mended. Version 9 drops the latch with the word
// Connected; 8.4 says Connected while the sides still compare their data, and drops it a moment later.
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
			a := &Agent{cfg: &Config{}, log: slog.New(slog.DiscardHandler)}
			a.cfg.State.Dir = t.TempDir()
			if !reports[0].Connected && !reports[0].SplitBrain {
				if err := os.WriteFile(a.splitBrainFile(), nil, 0o640); err != nil {
					t.Fatal(err)
				}
			}
			var last fsm.Drbd
			for i, d := range reports {
				a.rememberSplitBrain(&d, last)
				last = d
				_, err := os.Lstat(a.splitBrainFile())
				if remembered := err == nil; d.Live && remembered != d.SplitBrain {
					t.Errorf("report %d: split brain %t, remembered %t", i+1, d.SplitBrain, remembered)
				} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
					t.Error(err)
				}
			}
		})
	}
}
