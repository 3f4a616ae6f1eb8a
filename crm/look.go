package crm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	defaultTimeout = 10 * time.Second
	// reapDelay is how long a killed child may take to go, and how long a child's own children may hold its pipes.
	reapDelay     = 500 * time.Millisecond
	maxStderr     = 16 << 10
	exitUsage     = 64
	optionOutput  = "--output-as=xml" // Pacemaker 2.0.3 and later
	optionLegacy  = "--as-xml"        // all, on its way out
	maxStderrLine = 300
)

// ErrStuck says that an earlier crm_mon was killed and is still not gone (a process in uninterruptible sleep cannot be
// killed). No other one is started until it is.
var ErrStuck = errors.New("an earlier crm_mon was killed and has not ended")

// ExitError says that crm_mon failed without saying why in XML.
type ExitError struct {
	Code int    // exit code, -1 when a signal ended it
	Last string // last line of its stderr, may be empty
}

// Error names the exit code and the last line of stderr.
func (e *ExitError) Error() string {
	text := fmt.Sprintf("crm_mon: exit code %d", e.Code)
	if e.Code == -1 {
		text = "crm_mon: ended by a signal"
	}
	if e.Last != "" {
		text += ": " + e.Last
	}
	return text
}

// Mon runs crm_mon. It is safe for concurrent use, and never runs two at a time: a second caller of Look waits for the
// first to finish, as long as its context lets it.
type Mon struct {
	Command []string      // default {"/usr/sbin/crm_mon"}; the option for XML is appended
	Timeout time.Duration // of one run, default 10 s

	once   sync.Once
	turn   chan struct{} // holds one token while nobody looks
	legacy bool          // this crm_mon wants --as-xml
	reaped chan struct{} // closed when the last child is gone
}

// Look runs crm_mon once and returns what it says. Errors: a *StatusError or ErrNoData when a document says so itself, an
// *ExitError when there is no such document, ErrStuck, the context's error, and those of Parse.
func (m *Mon) Look(ctx context.Context) (*Status, error) {
	m.once.Do(func() {
		m.turn = make(chan struct{}, 1)
		m.turn <- struct{}{}
	})
	select {
	case <-m.turn:
		defer func() { m.turn <- struct{}{} }()
	case <-ctx.Done():
		return nil, fmt.Errorf("wait for another crm_mon: %w", context.Cause(ctx))
	}
	if m.reaped != nil {
		select {
		case <-m.reaped:
		default:
			return nil, ErrStuck
		}
	}
	timeout := m.Timeout
	if timeout <= 0 {
		timeout = defaultTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()

	run, err := m.run(ctx, m.option())
	if err == nil && run.usage() {
		// The package may be older or newer than at the last look: try the other word, remember what works.
		var other result
		m.legacy = !m.legacy
		if other, err = m.run(ctx, m.option()); err == nil && other.usage() {
			m.legacy = !m.legacy
		} else {
			run = other
		}
	}
	if err != nil {
		return nil, err
	}
	return run.status()
}

func (m *Mon) option() string {
	if m.legacy {
		return optionLegacy
	}
	return optionOutput
}

// result is what a child that ended left behind.
type result struct {
	stdout, stderr capped
	code           int
}

// usage tells whether crm_mon did not know the option.
func (r *result) usage() bool {
	if r.code == exitUsage {
		return true
	}
	text := bytes.ToLower(r.stderr.Bytes())
	return r.code != 0 && (bytes.Contains(text, []byte("unrecognized option")) || bytes.Contains(text, []byte("unknown option")))
}

func (r *result) status() (*Status, error) {
	if r.stdout.over {
		return nil, fmt.Errorf("crm_mon printed more than %d bytes", MaxDocument)
	}
	s, err := Parse(r.stdout.Bytes())
	var said *StatusError
	if errors.As(err, &said) && said.Code != 0 || r.code == 0 {
		return s, err
	}
	return nil, &ExitError{Code: r.code, Last: r.stderr.lastLine()}
}

// run starts a child and waits until it ended or the context did. The child that survives its own killing keeps m.reaped open.
func (m *Mon) run(ctx context.Context, option string) (result, error) {
	argv := m.Command
	if len(argv) == 0 {
		argv = []string{"/usr/sbin/crm_mon"}
	}
	cmd := exec.CommandContext(ctx, argv[0], append(argv[1:len(argv):len(argv)], option)...)
	r := &result{stdout: capped{limit: MaxDocument, stop: true}, stderr: capped{limit: maxStderr}}
	cmd.Stdout, cmd.Stderr = &r.stdout, &r.stderr
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = reapDelay
	if err := cmd.Start(); err != nil {
		return result{}, fmt.Errorf("start crm_mon: %w", err)
	}
	reaped := make(chan struct{})
	m.reaped = reaped
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
			return result{}, fmt.Errorf("run crm_mon: %w; it was killed and has not ended", context.Cause(ctx))
		}
	}
	if errors.Is(waitErr, exec.ErrWaitDelay) {
		// It left children behind that hold its pipes. Their group still exists, so its number is not reused.
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	}
	r.code = cmd.ProcessState.ExitCode()
	if ctx.Err() != nil && r.code != 0 {
		return result{}, fmt.Errorf("run crm_mon: %w", context.Cause(ctx))
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
