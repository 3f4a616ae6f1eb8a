package crm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

const (
	// reapDelay is how long a killed child may take to go, and how long a child's own children may hold its pipes.
	reapDelay     = 500 * time.Millisecond
	maxStderr     = 16 << 10
	maxStderrLine = 300
)

// ExitError says that a command failed; crm_mon, that it did so without saying why in XML.
type ExitError struct {
	Command string // "crm_mon", "cibadmin"
	Code    int    // exit code, -1 when a signal ended it
	Last    string // last line of its stderr, may be empty
}

// Error names the exit code and the last line of stderr.
func (e *ExitError) Error() string {
	text := fmt.Sprintf("%s: exit code %d", e.Command, e.Code)
	if e.Code == -1 {
		text = e.Command + ": ended by a signal"
	}
	if e.Last != "" {
		text += ": " + e.Last
	}
	return text
}

// result is what a child that ended left behind.
type result struct {
	stdout, stderr capped
	code           int
}

func (r *result) exitError(command string) *ExitError {
	return &ExitError{Command: command, Code: r.code, Last: r.stderr.lastLine()}
}

// child runs a command of Pacemaker, one at a time, in a process group of its own: whatever it starts goes with it,
// and a Ctrl-C on the terminal is not for it.
type child struct {
	reaped chan struct{} // closed when the last one is gone
}

// stuck reports whether an earlier one was killed and has not ended.
func (c *child) stuck() bool {
	if c.reaped == nil {
		return false
	}
	select {
	case <-c.reaped:
		return false
	default:
		return true
	}
}

// run starts argv and waits until it ended or the context did. One that survives its own killing stays stuck. The
// name is for errors.
func (c *child) run(ctx context.Context, name string, argv []string) (result, error) {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	r := &result{stdout: capped{limit: MaxDocument, stop: true}, stderr: capped{limit: maxStderr}}
	cmd.Stdout, cmd.Stderr = &r.stdout, &r.stderr
	cmd.Env = append(os.Environ(), childEnv...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = reapDelay
	if err := cmd.Start(); err != nil {
		return result{}, fmt.Errorf("start %s: %w", name, err)
	}
	reaped := make(chan struct{})
	c.reaped = reaped
	var waitErr error
	go func() {
		waitErr = cmd.Wait()
		close(reaped)
	}()
	select {
	case <-reaped:
	case <-ctx.Done():
		grace := time.NewTimer(2 * reapDelay)
		defer grace.Stop()
		select {
		case <-reaped:
		case <-grace.C: // r still belongs to the goroutine
			return result{}, fmt.Errorf("run %s: %w; it was killed and has not ended", name, context.Cause(ctx))
		}
	}
	if errors.Is(waitErr, exec.ErrWaitDelay) {
		// It left children behind that hold its pipes. Their group still exists, so its number is not reused.
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	}
	r.code = cmd.ProcessState.ExitCode()
	if ctx.Err() != nil && r.code != 0 {
		return result{}, fmt.Errorf("run %s: %w", name, context.Cause(ctx))
	}
	return *r, nil
}

// capped keeps the first limit bytes. Beyond them it refuses more, which closes the pipe on the child, or drops them.
type capped struct {
	buf   bytes.Buffer
	limit int
	stop  bool
	over  bool
}

// Write keeps what there is room for.
func (c *capped) Write(p []byte) (int, error) {
	room := c.limit - c.buf.Len()
	if len(p) <= room {
		return c.buf.Write(p)
	}
	c.over = true
	c.buf.Write(p[:room])
	if c.stop {
		return room, errors.New("too much output")
	}
	return len(p), nil
}

// Bytes returns what was kept.
func (c *capped) Bytes() []byte { return c.buf.Bytes() }

// lastLine returns the last line that is not blank, fit for a log.
func (c *capped) lastLine() string {
	text := strings.TrimSpace(c.buf.String())
	return clean(text[strings.LastIndexByte(text, '\n')+1:], maxStderrLine)
}

// childEnv is what the parsers of a program's output rely on: messages in English, because whether an option is known
// is read from them, and times in UTC. A crm_mon before Pacemaker 2.0.3 prints times without a zone: the time of a
// promotion is a part of its claim, and one promotion has one claim, whatever becomes of the machine's zone.
var childEnv = []string{"LC_ALL=C", "TZ=UTC"}
