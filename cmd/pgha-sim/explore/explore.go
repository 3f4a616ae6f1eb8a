// Package explore goes through every interleaving of a small model: the real cores of two agents, a cluster, and a
// record that only a compare-and-swap changes. Where the simulator draws one of many courses, this search takes all of
// them, within a budget of what may go wrong. docs/safety.md lists what the model leaves out.
package explore

import (
	"context"
	"fmt"
	"io"
	"runtime/debug"
	"strings"
	"time"
)

// Budget bounds a search: what may happen in a cluster that starts with pg-1 promoted and its record right.
type Budget struct {
	Name string
	Long bool // it takes longer than a test

	Promotions   int // at most 8
	Crashes      int // of an agent, which is started again
	Freezes      int // of a machine with all its clocks
	Cuts         int // of a machine's power
	Boots        int // of a machine that is off
	FailedReads  int
	LateRequests int // that are lost, lose their reply, or arrive long after their sender has given up

	Faults      time.Duration // how long something may go wrong or be promoted; then only what follows from it happens
	AtWakes     bool          // it happens only when somebody has something to do, not in every quantum
	BothJitters bool          // each is the longest or the shortest that it can be; otherwise all are the longest
	Slow        bool          // what Pacemaker and DRBD tell an agent may come after all that happens within a quantum
	Unsafe      bool          // without fencing, and with the weaker promise
	strict      bool          // without fencing, and with the promise that only fencing can keep
}

// String tells what may happen.
func (b Budget) String() string {
	var parts []string
	for _, p := range []struct {
		n    int
		what string
	}{
		{b.Promotions, "promotions"}, {b.Cuts, "power cuts"}, {b.Boots, "boots"}, {b.Crashes, "crashes"},
		{b.Freezes, "freezes"}, {b.FailedReads, "failed reads"}, {b.LateRequests, "late requests"},
	} {
		if p.n > 0 {
			parts = append(parts, fmt.Sprintf("%s: %d", p.what, p.n))
		}
	}
	out := fmt.Sprintf("%s; within %v", strings.Join(parts, ", "), b.Faults)
	if b.AtWakes {
		out += ", when somebody has something to do"
	}
	if b.Slow {
		out += ", news delayed"
	}
	if b.BothJitters {
		out += ", both ends of each jitter"
	}
	if b.Unsafe {
		out += ", without fencing"
	}
	return out
}

// Budgets lists all of them. Those that are not long are in the tests.
func Budgets() []Budget {
	list := []Budget{
		{Name: "power", Promotions: 3, Cuts: 1, LateRequests: 1, AtWakes: true},
		{Name: "crash", Promotions: 2, Crashes: 1, LateRequests: 1, AtWakes: true},
		{Name: "freeze", Promotions: 2, Freezes: 1, LateRequests: 1, AtWakes: true},
		{Name: "reboot", Promotions: 2, Cuts: 1, Boots: 1, LateRequests: 1, AtWakes: true},
		{Name: "reads", Promotions: 2, Cuts: 1, FailedReads: 1, LateRequests: 1, AtWakes: true},
		{Name: "often", Promotions: 2, LateRequests: 1, BothJitters: true},
		{Name: "slow", Promotions: 3, AtWakes: true, BothJitters: true, Slow: true},
		{Name: "unsafe-freeze", Promotions: 2, Freezes: 1, AtWakes: true, Unsafe: true},
		{Name: "unsafe-late", Promotions: 1, Freezes: 1, LateRequests: 1, AtWakes: true, Unsafe: true},
		{Name: "unsafe-power", Promotions: 2, Cuts: 1, LateRequests: 1, AtWakes: true, Unsafe: true},

		{Name: "power-long", Promotions: 3, Cuts: 1, LateRequests: 1, AtWakes: true, BothJitters: true},
		{Name: "crash-long", Promotions: 2, Crashes: 1, LateRequests: 1, AtWakes: true, BothJitters: true},
		{Name: "freeze-long", Promotions: 2, Freezes: 1, AtWakes: true, BothJitters: true},
		{Name: "reboot-long", Promotions: 2, Cuts: 1, Boots: 1, LateRequests: 1, AtWakes: true, BothJitters: true},
		{Name: "slow-long", Promotions: 3, LateRequests: 1, AtWakes: true, Slow: true},
		{Name: "unsafe-long", Promotions: 2, Freezes: 1, LateRequests: 1, AtWakes: true, Unsafe: true},
	}
	for i := range list {
		list[i].Faults = time.Minute
		list[i].Long = strings.HasSuffix(list[i].Name, "-long")
	}
	return list
}

// Result says what a search has found.
type Result struct {
	States, Moves int
	Calm          int // states in which the record was compared with the truth
	Depth         int
	Took          time.Duration
	Violation     string // "" when there is none
}

// String tells the figures.
func (r Result) String() string {
	return fmt.Sprintf("%d states, %d moves, %d records compared, at most %d moves in a row, %v",
		r.States, r.Moves, r.Calm, r.Depth, r.Took.Round(100*time.Millisecond))
}

// Run searches until every state within the budget was seen, or one violates an invariant; its shortest story goes to
// out. It fails when ctx ends before that. The result depends on nothing but the budget and the core.
func Run(ctx context.Context, b Budget, out io.Writer) (Result, error) {
	// Nearly everything is kept: a heap of twice its size would be for nothing.
	defer debug.SetGCPercent(debug.SetGCPercent(25))
	s := newSearch(b)
	began := time.Now()
	err := s.all(ctx)
	s.result.Took = time.Since(began)
	if s.result.Violation != "" {
		s.tell(out)
	}
	return s.result, err
}
