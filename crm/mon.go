package crm

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	defaultTimeout = 10 * time.Second
	exitUsage      = 64
	optionOutput   = "--output-as=xml" // Pacemaker 2.0.3 and later
	optionLegacy   = "--as-xml"        // all, on its way out
)

// ErrStuck says that an earlier crm_mon was killed and is still not gone (a process in uninterruptible sleep cannot be
// killed). No other one is started until it is.
var ErrStuck = errors.New("an earlier crm_mon was killed and has not ended")

// Mon runs crm_mon. It is safe for concurrent use, and never runs two at a time: a second caller of Look waits for the
// first to finish, as long as its context lets it.
type Mon struct {
	Command []string      // default {"/usr/sbin/crm_mon"}; the option for XML is appended
	Timeout time.Duration // of one run, default 10 s

	once   sync.Once
	turn   chan struct{} // holds one token while nobody looks
	legacy bool          // this crm_mon wants --as-xml
	child  child
}

// Look runs crm_mon once and returns what it says. Errors: a *StatusError or ErrNoData when a document says so
// itself, an *ExitError when there is no such document, ErrStuck, the context's error, and those of Parse.
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
	if m.child.stuck() {
		return nil, ErrStuck
	}
	timeout := m.Timeout
	if timeout <= 0 {
		timeout = defaultTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()

	run, err := m.run(ctx)
	if err == nil && run.usage() {
		// The package may be older or newer than at the last look: try the other word, remember what works.
		var other result
		m.legacy = !m.legacy
		if other, err = m.run(ctx); err == nil && other.usage() {
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

// usage tells whether crm_mon did not know the option.
func (r *result) usage() bool {
	if r.code == exitUsage {
		return true
	}
	text := strings.ToLower(string(r.stderr.Bytes()))
	return r.code != 0 && (strings.Contains(text, "unrecognized option") || strings.Contains(text, "unknown option"))
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
	return nil, r.exitError("crm_mon")
}

func (m *Mon) run(ctx context.Context) (result, error) {
	argv := m.Command
	if len(argv) == 0 {
		argv = []string{"/usr/sbin/crm_mon"}
	}
	return m.child.run(ctx, "crm_mon", append(slices.Clip(argv), m.option()))
}
