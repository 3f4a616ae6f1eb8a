package sim

import (
	"container/heap"
	"context"
	"iter"
	"math/rand/v2"
	"slices"
	"time"
)

// kernel is virtual time: jobs run in order of their time, and those of the same time in the order in which they were
// made.
type kernel struct {
	now     time.Duration
	rng     *rand.Rand
	seq     uint64
	jobs    jobs
	current *task // the effect that runs
}

type job struct {
	at  time.Duration
	seq uint64
	p   *proc // nil: nothing on a machine
	run func()
}

type jobs []job

func (q jobs) Len() int { return len(q) }
func (q jobs) Less(i, j int) bool {
	return q[i].at < q[j].at || q[i].at == q[j].at && q[i].seq < q[j].seq
}
func (q jobs) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *jobs) Push(x any)   { *q = append(*q, x.(job)) }
func (q *jobs) Pop() any {
	last := len(*q) - 1
	x := (*q)[last]
	*q = (*q)[:last]
	return x
}

// after runs f when d has passed, whatever happens to machines.
func (k *kernel) after(d time.Duration, f func()) { k.on(nil, d, f) }

// on runs f as a part of process p: not when it has died by then, and later when it or its machine stands still.
func (k *kernel) on(p *proc, d time.Duration, f func()) {
	k.seq++
	heap.Push(&k.jobs, job{k.now + max(d, 0), k.seq, p, f})
}

// until runs the world up to time t.
func (k *kernel) until(t time.Duration, stop func() bool) {
	for len(k.jobs) > 0 && k.jobs[0].at <= t && !stop() {
		j := heap.Pop(&k.jobs).(job)
		k.now = j.at
		if j.p == nil {
			j.run()
		} else {
			j.p.runs(j.run)
		}
	}
	k.now = max(k.now, t)
}

// chance is true once in n times; never for 0.
func (k *kernel) chance(n int) bool { return n > 0 && k.rng.IntN(n) == 0 }

func (k *kernel) between(lo, hi time.Duration) time.Duration {
	return lo + time.Duration(k.rng.Int64N(int64(hi-lo)+1))
}

// usually is between lo and mid, and once in ten times between mid and hi.
func (k *kernel) usually(lo, mid, hi time.Duration) time.Duration {
	if k.chance(10) {
		return k.between(mid, hi)
	}
	return k.between(lo, mid)
}

// task is one effect of an agent: the agent's own blocking code, which runs as a coroutine and gives control back where
// it waits.
type task struct {
	p     *proc
	next  func() (struct{}, bool)
	stop  func()
	yield func(struct{}) bool
	waits int // counts the waits: a wake-up is for one of them
}

// start is agent.Simulation.Start.
func (p *proc) start(f func()) {
	t := &task{p: p}
	t.next, t.stop = iter.Pull(func(yield func(struct{}) bool) {
		t.yield = yield
		f()
	})
	p.tasks = append(p.tasks, t)
	p.w.on(p, 0, t.resume)
}

func (t *task) resume() {
	k := &t.p.w.kernel
	before := k.current
	k.current = t
	_, waiting := t.next()
	k.current = before
	if !waiting {
		t.p.tasks = slices.DeleteFunc(t.p.tasks, func(x *task) bool { return x == t })
		t.p.turn()
	}
}

// wait lets time pass for the running effect. It is false when the process died meanwhile.
func (k *kernel) wait(d time.Duration) bool {
	wake, wait := k.waiting()
	k.on(k.current.p, d, wake)
	return wait()
}

// waiting prepares a wait of the running effect that several may end: the first call of wake does.
func (k *kernel) waiting() (wake func(), wait func() bool) {
	t := k.current
	t.waits++
	this := t.waits
	return func() {
			if t.waits == this {
				t.waits++
				t.resume()
			}
		}, func() bool {
			return t.yield(struct{}{})
		}
}

// cancels ends the wait when ctx is canceled. Only the agent's loop cancels, so that it is enough to look after each
// turn.
func (t *task) cancels(ctx context.Context, wake func()) {
	t.p.cancels = func() {
		if ctx.Err() != nil {
			t.p.cancels = nil
			wake()
		}
	}
}
