package drbd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"
)

var errStuck = errors.New("drbdsetup cannot be killed (uninterruptible sleep?)")

// maxOutput bounds what is read of a short-lived drbdsetup, in bytes.
const maxOutput = 16 << 20

// child is one drbdsetup process. Its pipes are ours and not exec's, so that Wait does not cut off what the process
// wrote last.
type child struct {
	cmd    *exec.Cmd
	stdin  *os.File
	stdout *os.File
	stderr tail
	pid    int
	done   chan struct{} // closed when the process is reaped
	err    error         // how it ended; read after done
}

// startChild starts the command in its own process group. It is killed when ctx ends; done may still never close.
func startChild(
	ctx context.Context, command []string, delay time.Duration, wait func(*exec.Cmd) error,
) (*child, error) {
	if len(command) == 0 {
		return nil, errors.New("start drbdsetup: no command")
	}
	inR, inW, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("start drbdsetup: %w", err)
	}
	outR, outW, err := os.Pipe()
	if err != nil {
		closeAll(inR, inW)
		return nil, fmt.Errorf("start drbdsetup: %w", err)
	}
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	c := &child{cmd: cmd, stdin: inW, stdout: outR, done: make(chan struct{})}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = inR, outW, &c.stderr
	cmd.Env = append(os.Environ(), childEnv...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = delay
	err = cmd.Start()
	closeAll(inR, outW)
	if err != nil {
		closeAll(inW, outR)
		return nil, fmt.Errorf("start drbdsetup: %w", err)
	}
	c.pid = cmd.Process.Pid
	go func() {
		c.err = wait(cmd)
		close(c.done)
	}()
	return c, nil
}

func closeAll(files ...*os.File) {
	for _, f := range files {
		_ = f.Close() // nothing was written that a failed close could lose
	}
}

// stopped reports a process that somebody stopped (SIGSTOP): the state after the name in /proc/PID/stat is T. A name
// may hold anything, so the last parenthesis counts.
func (c *child) stopped() bool {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", c.pid))
	return err == nil && bytes.HasPrefix(data[bytes.LastIndexByte(data, ')')+1:], []byte(" T"))
}

// reaped waits for the end of a killed process, at most d.
func (c *child) reaped(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-c.done:
		return true
	case <-t.C:
		return false
	}
}

// ended says how a reaped process ended: exit code or signal, and its last words.
func (c *child) ended() error {
	how := "exit code 0"
	var exit *exec.ExitError
	switch {
	case errors.As(c.err, &exit) && exit.ExitCode() >= 0:
		how = fmt.Sprintf("exit code %d", exit.ExitCode())
		if exit.ExitCode() == 121 {
			how += ": the drbd module was unloaded"
		}
	case c.err != nil:
		how = c.err.Error()
	}
	if last := c.stderr.last(); last != "" {
		how += ": " + last
	}
	return errors.New("drbdsetup ended: " + how)
}

// once runs a short-lived command to its end and returns what it printed, at most limit bytes. It returns when ctx
// ends even if the process cannot be killed; the child tells when it is reaped.
func once(
	ctx context.Context, command []string, delay time.Duration, limit int64, wait func(*exec.Cmd) error,
) ([]byte, *child, error) {
	c, err := startChild(ctx, command, delay, wait)
	if err != nil {
		return nil, nil, err
	}
	defer closeAll(c.stdin, c.stdout)
	type result struct {
		out []byte
		err error
	}
	read := make(chan result, 1)
	go func() {
		out, err := io.ReadAll(io.LimitReader(c.stdout, limit+1))
		read <- result{out, err}
	}()
	var res result
	select {
	case res = <-read:
	case <-ctx.Done():
	}
	if int64(len(res.out)) > limit {
		_ = c.cmd.Cancel() // the process may be gone already
		res.err = fmt.Errorf("read drbdsetup: more than %d bytes", limit)
	}
	select {
	case <-c.done:
	case <-ctx.Done():
		if !c.reaped(delay) {
			return nil, c, errStuck
		}
	}
	switch {
	case res.err != nil:
		return nil, c, res.err
	case ctx.Err() != nil:
		return nil, c, fmt.Errorf("run drbdsetup: %w", context.Cause(ctx))
	case c.err != nil:
		return nil, c, c.ended()
	}
	return res.out, c, nil
}

// tail keeps the end of what is written to it.
type tail struct {
	mu  sync.Mutex
	buf []byte
}

const tailSize = 4 << 10

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, p[max(0, len(p)-tailSize):]...)
	if n := len(t.buf) - tailSize; n > 0 {
		t.buf = append(t.buf[:0], t.buf[n:]...)
	}
	return len(p), nil
}

func (t *tail) text() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.buf)
}

// last returns the last line that is not blank, made printable and short.
func (t *tail) last() string {
	b := bytes.TrimSpace([]byte(t.text()))
	b = b[bytes.LastIndexByte(b, '\n')+1:]
	s := strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(string(b), "?"))
	return s[:min(len(s), 200)]
}

// childEnv is what the parsers of a program's output rely on: messages in English, because whether an option is known
// is read from them, and times in UTC. A crm_mon before Pacemaker 2.0.3 prints times without a zone: the time of a
// promotion is a part of its claim, and one promotion has one claim, whatever becomes of the machine's zone.
var childEnv = []string{"LC_ALL=C", "TZ=UTC"}
