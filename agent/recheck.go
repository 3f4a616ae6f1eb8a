package agent

import (
	"context"
	"sync"
	"time"

	"github.com/pgha/pgha-agent/agent/fsm"
	"github.com/pgha/pgha-agent/agent/internal/wait"
	"github.com/pgha/pgha-agent/agent/status"
)

// How long somebody waits for the sources, and then for what the observers look at. What does not answer by then is
// shown as it is known. Together they are below the timeout of the one who asks (status.Recheck).
const (
	recheckWithin   = 4 * time.Second
	lookAgainWithin = 3 * time.Second
)

// recheck asks every source once more, and returns when all have answered. What an operator does next rests on what is
// true now: after a remedy the answers of before mislead.
func (a *Agent) recheck(ctx context.Context) {
	a.recheckSources(ctx)
	ctx, cancel := context.WithTimeout(ctx, lookAgainWithin)
	defer cancel()
	var all sync.WaitGroup // what they look at depends on the answers
	for _, o := range a.observers {
		all.Go(func() { o.again(ctx) })
	}
	all.Wait()
	a.settle(ctx)
}

// recheckSources asks every source once more.
func (a *Agent) recheckSources(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, recheckWithin)
	defer cancel()
	before := a.Snapshot().Rechecks
	a.send(ctx, message{fsm.Recheck{}, func(s *status.Snapshot) { s.Rechecks++ }})
	for s := a.Snapshot(); (s.Rechecks == before || !s.State.Rechecked()) && ctx.Err() == nil; s = a.Snapshot() {
		wait.For(ctx, 20*time.Millisecond)
	}
}

// settle waits until what was sent to the loop before is in the snapshot.
func (a *Agent) settle(ctx context.Context) {
	before := a.Snapshot().Settled
	a.send(ctx, message{fsm.Tick{}, func(s *status.Snapshot) { s.Settled++ }})
	for a.Snapshot().Settled == before && ctx.Err() == nil {
		wait.For(ctx, 20*time.Millisecond)
	}
}
