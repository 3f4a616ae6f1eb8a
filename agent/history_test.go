package agent

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pgha/pgha-agent/agent/state"
)

// TestHistoryTellsWhatLasts: what DRBD loses for longer than a moment is an event, and its end is another.
func TestHistoryTellsWhatLasts(t *testing.T) {
	w := newWorld(t)
	w.cfg.State.Dir = t.TempDir()
	a, _ := w.start()
	w.ready(a)
	time.Sleep(2 * time.Second) // what it finds first is not told
	told := func(words string) {
		t.Helper()
		w.await(words, func() bool {
			list, err := state.ReadEvents(w.cfg.State.Dir)
			return err == nil && slices.ContainsFunc(list, func(e state.Event) bool {
				return e.Kind == state.EventDrbd && strings.HasPrefix(e.Text, words)
			})
		})
	}
	w.drbd("change connection name:pg peer-node-id:1 conn-name:pg-a connection:NetworkFailure role:Unknown\n" +
		"change connection name:pg peer-node-id:1 conn-name:pg-a connection:Connecting\n")
	told("DRBD connection to pg-a lost (")
	w.drbd("change connection name:pg peer-node-id:1 conn-name:pg-a connection:Connected role:Primary\n")
	told("DRBD is connected to pg-a again after ")
}
