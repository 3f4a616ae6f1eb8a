// Package statetest makes journals for tests.
package statetest

import (
	"testing"
	"time"

	"github.com/pgha/pgha-agent/agent/fsm"
	"github.com/pgha/pgha-agent/agent/state"
)

// Entry is a complete episode with a number.
func Entry(id uint64) state.Entry {
	e := state.Entry{
		Boot: "5d3cbb1e-7d0f-4b0a-8f0e-2f3a6a1f6d11", Saved: time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC),
		Uptime: 81234 * time.Second,
		Node:   "pg-1", Addr: "10.0.1.10",
		Episode: fsm.Episode{
			ID: id, Cause: fsm.CauseNodeLost, Outcome: fsm.OutcomeComplete, Start: 81200 * time.Second, Peer: "pg-2",
			Why:       "DRBD: NetworkFailure",
			Promotion: "claim", BaseEpoch: 3, Attempted: true, Epoch: 4,
			Late: [fsm.NumPhases]bool{fsm.Fenced: true}, Outage: fsm.Outage{From: 1, To: 2, Answered: "10.0.1.10"}, Writes: 1,
			Lost: fsm.LostPeer{Name: "pg-2", Fenced: true}, Races: 2, RacesExhausted: true, RaceUntil: 9,
			Memory: fsm.Memory{Kept: true, Fences: fsm.Fences("").With(7).With(1 << 63), Unfenced: [fsm.MaxPeers]string{"pg-3"}},
		},
	}
	for p := range fsm.NumPhases {
		e.Episode.Stamps[p] = 81200*time.Second + time.Duration(p)*time.Second
	}
	return e
}

// Open opens the journal in dir until the test ends.
func Open(t testing.TB, dir string) (*state.Journal, []state.Entry) {
	t.Helper()
	j, entries, err := state.OpenJournal(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = j.Close() })
	return j, entries
}

// Append saves an entry.
func Append(t testing.TB, j *state.Journal, e state.Entry) {
	t.Helper()
	if err := j.Append(e); err != nil {
		t.Fatal(err)
	}
}

// Read returns the journal of dir, and the number of damaged lines.
func Read(t testing.TB, dir string) ([]state.Entry, int) {
	t.Helper()
	entries, skipped, err := state.ReadJournal(dir)
	if err != nil {
		t.Fatal(err)
	}
	return entries, skipped
}
