package fleet

import "time"

// What the shell agent does: a monitor each 30 s lists the zone and, when the record is wrong, sends an UPSERT and asks
// until the change is in sync. Each of its calls is the AWS command line, which tries three times by itself (retry mode
// "standard", exponential with full jitter, at most 20 s). A call that fails in the end fails the monitor, and the next
// one begins from the front.
const (
	shellEvery = 30 * time.Second
	shellTries = 3
	shellPoll  = 20 * time.Second
	startUp    = 1500 * time.Millisecond // of the command line
)

// Shell runs the shell agent for each cluster.
func Shell(acc Account, end time.Duration) *Outcome {
	w := newWorld(acc, 2, end)
	for range acc.Clusters {
		s := &shell{w: w}
		w.after(w.jitter(shellEvery), s.monitor)
		w.after(before, func() { s.moved = true }) // the other node's agent does not run any more
		// The record is wrong from here on; the agent on the new node starts with the database.
		w.after(before+promoted+w.jitter(10*time.Second), func() { s.wrong = true; s.generation++; s.monitor() })
	}
	return w.run()
}

type shell struct {
	w            *world
	moved, wrong bool
	generation   int // of the agent: that on the dead node stops
}

func (s *shell) monitor() {
	w, g := s.w, s.generation
	began := w.now
	again := func() {
		if g == s.generation {
			w.after(max(shellEvery-(w.now-began), 0), func() {
				if g == s.generation {
					s.monitor()
				}
			})
		}
	}
	if s.moved && !s.wrong {
		return
	}
	s.call(&w.out.Lists, 1, func(ok bool) {
		if !ok || !s.wrong {
			again()
			return
		}
		s.call(&w.out.Sets, 1, func(ok bool) {
			if !ok {
				again()
				return
			}
			s.wrong, s.moved = false, false
			w.out.Right = append(w.out.Right, w.now-before)
			s.sync(again)
		})
	})
}

// sync asks until the change is in sync.
func (s *shell) sync(done func()) {
	s.w.after(shellPoll, func() {
		s.call(&s.w.out.Polls, 1, func(ok bool) {
			if !ok || s.w.rng.IntN(2) == 0 {
				s.sync(done)
				return
			}
			done()
		})
	})
}

func (s *shell) call(served *int, try int, done func(ok bool)) {
	w := s.w
	d := latency
	if try == 1 {
		d += startUp
	}
	w.after(d, func() {
		switch {
		case w.allowed(served):
			done(true)
		case try == shellTries:
			done(false)
		default:
			w.after(w.jitter(min(time.Second<<(try-1), 20*time.Second)), func() { s.call(served, try+1, done) })
		}
	})
}
