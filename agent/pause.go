package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pgha/pgha-agent/agent/fsm"
)

// pauseFile keeps a pause over a restart of the agent. It holds wall-clock time, so that it ends in time over a reboot as well.
type pauseFile struct {
	Until time.Time `json:"until"`
}

func pausePath(dir string) string { return filepath.Join(dir, "pause.json") }

// readPause returns until when publication is paused; zero when it is not.
func readPause(dir string, clock Clock) (fsm.Time, error) {
	fd, err := unix.Open(pausePath(dir), unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("open pause file: %w", err)
	}
	f := os.NewFile(uintptr(fd), "pause.json")
	defer f.Close()
	var p pauseFile
	if err := json.NewDecoder(io.LimitReader(f, 4096)).Decode(&p); err != nil {
		return 0, fmt.Errorf("read pause file: %w", err)
	}
	left := p.Until.Sub(clock.Wall())
	if left <= 0 {
		return 0, nil
	}
	return clock.Boot() + left, nil
}

// writePause makes a pause last, or ends it.
func writePause(dir string, until time.Time) error {
	if until.IsZero() {
		if err := os.Remove(pausePath(dir)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("remove pause file: %w", err)
		}
		return nil
	}
	data, err := json.Marshal(pauseFile{Until: until})
	if err != nil {
		return err
	}
	tmp, err := os.CreateTemp(dir, ".pause-*")
	if err != nil {
		return fmt.Errorf("write pause file: %w", err)
	}
	defer func() { _ = os.Remove(tmp.Name()) }() // a no-op after the rename
	if _, err = tmp.Write(data); err == nil {
		err = tmp.Chmod(0o640) // the hook reads it as hacluster, in the file's group
	}
	if err == nil {
		err = tmp.Sync()
	}
	if err = errors.Join(err, tmp.Close()); err != nil {
		return fmt.Errorf("write pause file: %w", err)
	}
	if err := os.Rename(tmp.Name(), pausePath(dir)); err != nil {
		return fmt.Errorf("write pause file: %w", err)
	}
	return nil
}
