package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pgha/pgha-agent/agent/fsm"
)

// pause holds publication back for a while, also over a restart of the agent; zero ends it. What the file says is what counts: the guard and
// the loop are told also when the client has left, and when the write failed too late to be undone.
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
	err := writePause(a.cfg.State.Dir, until)
	boot, readErr := readPause(a.cfg.State.Dir, a.clock)
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

// idle reports whether no request is being served. One is served for as long as its file is written, which a disk that hangs does not end.
func (p *pauses) idle() bool {
	free := p.TryLock()
	if free {
		p.Unlock()
	}
	return free
}

// end waits for the request that is being served. The next agent reads the file after that, so a later one would be lost on it.
func (p *pauses) end() {
	p.Lock()
	defer p.Unlock()
	p.over = true
}

// pauseFile keeps a pause over a restart of the agent. It holds wall-clock time, so that it ends in time over a reboot as well.
type pauseFile struct {
	Until time.Time `json:"until"`
}

const pauseName = "pause.json"

// pausedUntil is until when the operator was told that publication is paused. A publication by itself is told nothing: the daemon may have
// come back, and been paused, since it began.
func (a *Agent) pausedUntil() fsm.Time {
	if a.opts.once {
		return a.pauseFound()
	}
	return fsm.Time(a.pauses.until.Load())
}

// pauseFound is until when publication is paused by the file. One that cannot be read may say so.
func (a *Agent) pauseFound() fsm.Time {
	until, err := readPause(a.cfg.State.Dir, a.clock)
	if err != nil {
		a.log.Error("pause file not readable: paused for an hour, because it may say so", keyErr, err)
		return a.clock.Boot() + time.Hour
	}
	return until
}

// readPause returns until when publication is paused; zero when it is not.
func readPause(dir string, clock Clock) (fsm.Time, error) {
	f, err := openRegular(filepath.Join(dir, pauseName), os.O_RDONLY, 0)
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("open pause file: %w", err)
	}
	defer f.Close()
	var p pauseFile
	if err := json.NewDecoder(io.LimitReader(f, 4096)).Decode(&p); err != nil {
		return 0, fmt.Errorf("read pause file: %w", err)
	}
	left := min(p.Until.Sub(clock.Wall()), maxPause) // a wall clock that is far off must not make it longer, or the sum overflow
	if left <= 0 {
		return 0, nil
	}
	return clock.Boot() + left, nil
}

// writePause makes a pause last, or ends it.
func writePause(dir string, until time.Time) error {
	if until.IsZero() {
		if err := os.Remove(filepath.Join(dir, pauseName)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("remove pause file: %w", err)
		}
		if err := syncDir(dir, (*os.File).Sync); err != nil {
			return fmt.Errorf("remove pause file: %w", err)
		}
		return nil
	}
	data, err := json.Marshal(pauseFile{Until: until})
	if err != nil {
		return err
	}
	if err := replaceFile(dir, pauseName, data); err != nil {
		return fmt.Errorf("write pause file: %w", err)
	}
	return nil
}
