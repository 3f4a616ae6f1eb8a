package agent

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pgha/pgha-agent/agent/fsm"
	"github.com/pgha/pgha-agent/agent/state"
)

// pause holds publication back for a while, also over a restart of the agent; zero ends it. What the file says is what
// counts: the guard and the loop are told also when the client has left, and when the write failed too late to be
// undone.
func (a *Agent) pause(ctx context.Context, length time.Duration) error {
	a.pauses.Lock()
	defer a.pauses.Unlock()
	if a.pauses.over {
		return errStopping
	}
	until := time.Time{}
	if length > 0 {
		until = a.clock.Wall().Add(length)
	}
	err := state.WritePause(a.cfg.State.Dir, until)
	boot, readErr := state.ReadPause(a.cfg.State.Dir, a.clock.Wall(), a.clock.Boot())
	if readErr == nil && (err == nil || (boot != 0) == (length > 0)) {
		a.pauses.until.Store(int64(boot))
		a.send(context.WithoutCancel(ctx), message{event: fsm.Paused{Until: boot}})
	}
	return errors.Join(err, readErr)
}

// pauses lets one request after the other change the pause: file and loop hear of them in the same order.
type pauses struct {
	sync.Mutex
	over  bool
	until atomic.Int64 // fsm.Time of the last one's end, for the guard: no change leaves once the operator has the answer
}

// idle reports whether no request is being served. One is served for as long as its file is written, which a disk that
// hangs does not end.
func (p *pauses) idle() bool {
	free := p.TryLock()
	if free {
		p.Unlock()
	}
	return free
}

// end waits for the request that is being served. The next agent reads the file after that, so a later one would be
// lost on it.
func (p *pauses) end() {
	p.Lock()
	defer p.Unlock()
	p.over = true
}

// pausedUntil is until when the operator was told that publication is paused. A publication by itself is told nothing:
// the daemon may have come back, and been paused, since it began.
func (a *Agent) pausedUntil() fsm.Time {
	if a.opts.once {
		return a.pauseFound()
	}
	return fsm.Time(a.pauses.until.Load())
}

// pauseFound is until when publication is paused by the file. One that cannot be read may say so.
func (a *Agent) pauseFound() fsm.Time {
	until, err := state.ReadPause(a.cfg.State.Dir, a.clock.Wall(), a.clock.Boot())
	if err != nil {
		a.log.Error("pause file not readable: paused for an hour, because it may say so", keyErr, err)
		return a.clock.Boot() + time.Hour
	}
	return until
}
