package agent

import (
	"context"
	"sync"
	"time"

	"github.com/pgha/pgha-agent/agent/fsm"
	"github.com/pgha/pgha-agent/agent/internal/wait"
	"github.com/pgha/pgha-agent/agent/status"
)

// recheckWithin bounds how long somebody waits for answers. What does not answer by then is shown as it is known.
const recheckWithin = 5 * time.Second

// recheck asks every source once more, and returns when all have answered. What an operator does next rests on what is
// true now: after a remedy the answers of before mislead.
func (a *Agent) recheck(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, recheckWithin)
	defer cancel()
	before := a.Snapshot().Rechecks
	a.send(ctx, message{fsm.Recheck{}, func(s *status.Snapshot) { s.Rechecks++ }})
	for s := a.Snapshot(); (s.Rechecks == before || !s.State.Rechecked()) && ctx.Err() == nil; s = a.Snapshot() {
		wait.For(ctx, 20*time.Millisecond)
	}
	var all sync.WaitGroup // what they look at depends on the answers
	for _, o := range a.observers {
		all.Go(func() { o.again(ctx) })
	}
	all.Wait()
}
