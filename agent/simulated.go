package agent

import (
	"context"
	"time"

	"github.com/pgha/pgha-agent/agent/fsm"
	"github.com/pgha/pgha-agent/agent/status"
	"github.com/pgha/pgha-agent/crm"
	"github.com/pgha/pgha-agent/drbd"
)

// Simulated is an Agent whose scheduler is the caller: it has no goroutine, timer or socket of its own. A simulation
// drives through it, in virtual time, what a daemon runs: the loop's turns, effects, facts, guard and journal. It is
// not safe for concurrent use.
type Simulated struct {
	a    *Agent
	ctx  context.Context
	stop context.CancelFunc
	done bool
}

// Simulation is what a Simulated needs in place of the machine.
type Simulation struct {
	Clock   Clock
	Boot    string // boot id
	Sources Sources
	Once    bool         // the publication of the alert hook instead of the daemon
	Start   func(func()) // starts an effect, which may block in Sources
	// Membership is Corosync's token and consensus timeout, as its file gives them; 0 when it cannot be read.
	Membership time.Duration
	Notify     Notifier // nil: nobody to tell
}

// NewSimulated makes an agent as New does. It reads the journal and the pause in the state directory.
func NewSimulated(opts Options, sim Simulation) (*Simulated, error) {
	opts.Clock, opts.boot, opts.sources, opts.once = sim.Clock, sim.Boot, &sim.Sources, sim.Once
	opts.membership, opts.Notify = sim.Membership, sim.Notify
	a, err := New(opts)
	if err != nil {
		return nil, err
	}
	a.start = sim.Start
	d := &Simulated{a: a}
	d.ctx, d.stop = context.WithCancel(context.Background())
	a.planned = a.clock.Boot()
	a.notify = newNotifier(a.opts.Notify, a.planned)
	if sim.Once {
		a.onStep = a.untilSettled(d.ctx, func() { d.done = true })
	}
	return d, nil
}

// Turn lets the loop take in everything that has arrived, or the passing of time when nothing has, and returns how long
// it may sleep then.
func (d *Simulated) Turn() (sleep time.Duration) {
	for first := true; ; first = false {
		m := message{event: fsm.Tick{}}
		select {
		case m = <-d.a.inbox:
		default:
			if !first {
				return sleep
			}
		}
		sleep = d.a.turn(d.ctx, m)
	}
}

// Alert is an alert that came through the socket. It is taken in by the next Turn, as is all that follows.
func (d *Simulated) Alert(a crm.Alert) {
	d.makeRoom()
	d.a.send(d.ctx, d.a.hint(a, 0))
}

// Drbd is a report of the events2 stream.
func (d *Simulated) Drbd(r drbd.Report) {
	d.makeRoom()
	d.a.send(d.ctx, d.a.drbdChanged(r))
}

// makeRoom is for what comes by itself, and piles up while a process stalls: its sender would wait until the loop has
// run. An effect comes back once, so that the other half of the inbox always has room for the few there are.
func (d *Simulated) makeRoom() {
	if len(d.a.inbox) >= cap(d.a.inbox)/2 {
		d.Turn()
	}
}

// Pause is an operator's pause, kept in the state directory; zero ends it.
func (d *Simulated) Pause(length time.Duration) error { return d.a.pause(d.ctx, length) }

// Flush writes to the journal what waits to be written, which the daemon does beside the loop. After an error it waits
// still.
func (d *Simulated) Flush() error {
	err := d.a.journal.Flush()
	d.a.journalSaved(d.ctx, err)
	return err
}

// Unsaved reports whether something waits for Flush.
func (d *Simulated) Unsaved() bool { return d.a.journal.Waiting() }

// Snapshot returns what the agent knows.
func (d *Simulated) Snapshot() *status.Snapshot { return d.a.Snapshot() }

// Problems lists what the agent tells an operator now.
func (d *Simulated) Problems() []status.Problem { return d.a.Snapshot().Problems() }

// Done reports whether a publication of the hook has nothing left to do.
func (d *Simulated) Done() bool { return d.done }

// Close ends the process as a crash does: nothing more is written. What the effects in flight wait for is the caller's
// to end.
func (d *Simulated) Close() {
	d.stop()
	d.a.close()
}
