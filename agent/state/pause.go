package state

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/pgha/pgha-agent/agent/fsm"
)

// MaxPause bounds a pause: a forgotten one would undo the agent for good.
const MaxPause = 7 * 24 * time.Hour

const pauseName = "pause.json"

// pauseFile keeps a pause over a restart of the agent. It holds wall-clock time, so that it ends in time over a reboot
// as well.
type pauseFile struct {
	Until time.Time `json:"until"`
}

// ReadPause returns until when publication is paused, by the clock that counts from boot; zero when it is not. wall and
// boot are now, by both clocks.
func ReadPause(dir string, wall time.Time, boot fsm.Time) (fsm.Time, error) {
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
	left := min(p.Until.Sub(wall), MaxPause) // a wall clock that is far off must not make it longer, or the sum overflow
	if left <= 0 {
		return 0, nil
	}
	return boot + left, nil
}

// WritePause makes a pause last over a restart; the zero time ends it.
func WritePause(dir string, until time.Time) error {
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
