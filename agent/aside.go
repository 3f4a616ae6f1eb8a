package agent

import (
	"slices"
	"sync"
	"time"
)

// aside does one thing after the other beside its callers, for what may hang as long as it likes: a log that nobody
// reads, a service manager that stands still. It has a goroutine only while there is something to do.
type aside[T any] struct {
	do func(T)

	mu      sync.Mutex
	waiting []T
	idle    chan struct{} // closed when nothing waits and nothing is being done; nil: nothing ever was
	busy    bool
}

// change edits what waits. It does not wait itself.
func (q *aside[T]) change(edit func(waiting []T) []T) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.waiting = edit(q.waiting)
	if !q.busy && len(q.waiting) > 0 {
		q.busy, q.idle = true, make(chan struct{})
		go q.work()
	}
}

func (q *aside[T]) work() {
	for {
		q.mu.Lock()
		if len(q.waiting) == 0 {
			q.busy = false
			close(q.idle)
			q.mu.Unlock()
			return
		}
		next := q.waiting[0]
		q.waiting = slices.Delete(q.waiting, 0, 1)
		q.mu.Unlock()
		q.do(next)
	}
}

// empty reports whether nothing waits.
func (q *aside[T]) empty() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.waiting) == 0
}

// flush waits until everything is done, at most for d.
func (q *aside[T]) flush(d time.Duration) {
	q.mu.Lock()
	idle := q.idle
	q.mu.Unlock()
	if idle == nil {
		return
	}
	select {
	case <-idle:
	case <-time.After(d):
	}
}
