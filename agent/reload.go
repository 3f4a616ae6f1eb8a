package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/coreos/go-systemd/v22/activation"
	"github.com/coreos/go-systemd/v22/daemon"

	"github.com/pgha/pgha-agent/agent/config"
	"github.com/pgha/pgha-agent/agent/fsm"
	"github.com/pgha/pgha-agent/agent/internal/wait"
	"github.com/pgha/pgha-agent/agent/status"
)

// Daemon runs agents one after the other: each value from reload loads the configuration again and, when an agent can
// be made of it, replaces the one that runs, and goes on from the journal as after a restart. A bad configuration
// changes nothing.
func Daemon(ctx context.Context, opts Options, load func() (*config.Config, *slog.Logger, error),
	reload <-chan struct{}) (err error) {
	if opts.Config, opts.Logger, err = load(); err != nil {
		return err
	}
	if opts.Alerts, err = inherited(); err != nil {
		return err
	}
	if opts.Notify != nil {
		opts.Notify = beside(opts.Notify) // one for all agents: what they say keeps its order
	}
	a, err := prepare(opts)
	for err == nil && a != nil {
		a.begin()
		a, err = a.runUntil(ctx, reload, func() (*Agent, error) {
			opts := opts
			var err error
			if opts.Config, opts.Logger, err = load(); err != nil {
				return nil, err
			}
			return a.successor(opts)
		})
	}
	return err
}

// reloadPatience is how long a reload waits for a journal or a pause that is just being written.
const reloadPatience = 2 * time.Second

// soon waits for idle, but no longer than reloadPatience, and reports whether it came to that.
func soon(idle func() bool) bool {
	ctx, cancel := context.WithTimeout(context.Background(), reloadPatience)
	defer cancel()
	for !idle() {
		if ctx.Err() != nil {
			return false
		}
		wait.For(ctx, 10*time.Millisecond)
	}
	return true
}

// successor prepares an agent that can take over from this one, which goes on when that fails.
func (a *Agent) successor(opts Options) (*Agent, error) {
	if dir := opts.Config.State.Dir; dir != a.cfg.State.Dir {
		// The journal, a pause and a latched split brain stand in the old one.
		return nil,
			fmt.Errorf("state.dir cannot change from %s to %s in a reload: stop the daemon, move the files, and start it",
				a.cfg.State.Dir, dir)
	}
	if !soon(a.pauses.idle) {
		return nil, fmt.Errorf("a pause or its end is still being written: fix the disk of %s, then reload again",
			a.cfg.State.Dir)
	}
	if !soon(func() bool { return !a.journal.Waiting() }) {
		// The successor goes on from the journal alone: it would write again for a promotion that this agent knows to be
		// contested.
		return nil, fmt.Errorf("the last episode is not saved yet: make room in %s or fix it, then reload again",
			a.cfg.State.Dir)
	}
	next, err := prepare(opts)
	if err != nil {
		return nil, err
	}
	if err := next.open(a); err != nil {
		next.close()
		return nil, err
	}
	return next, nil
}

// inherited returns the alert socket that systemd holds for us, nil without one.
func inherited() (net.Listener, error) {
	listeners, err := activation.Listeners()
	if err != nil {
		return nil, fmt.Errorf("take sockets from systemd: %w", err)
	}
	if len(listeners) == 0 {
		return nil, nil
	}
	if len(listeners) > 1 || listeners[0] == nil || listeners[0].Addr().Network() != "unix" {
		return nil, errors.New("take sockets from systemd: want exactly one Unix stream socket, see pgha-agent.socket")
	}
	return listeners[0], nil
}

// again returns a listener of its own on the same socket, so that closing it leaves the socket to the next agent.
func again(l net.Listener) (net.Listener, error) {
	f, err := l.(*net.UnixListener).File()
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return net.FileListener(f)
}

// runUntil runs the agent until ctx ends, or until a reload for which load has made the next agent.
func (a *Agent) runUntil(ctx context.Context, reload <-chan struct{}, load func() (*Agent, error)) (*Agent, error) {
	running, stop := context.WithCancel(ctx)
	defer stop()
	done := make(chan error, 1)
	go func() { done <- a.Run(running) }()
	for {
		select {
		case err := <-done:
			return nil, err
		case <-reload:
			next, err := load()
			if err != nil {
				a.log.Error("configuration not reloaded", keyErr, err)
				a.send(running, message{event: fsm.Tick{}, apply: func(s *status.Snapshot) { s.ConfigErr = err.Error() }})
				continue
			}
			a.log.Info("configuration reloaded")
			if a.opts.Notify != nil {
				a.opts.Notify.Notify(daemon.SdNotifyReloading)
			}
			stop()
			if err := <-done; err != nil || ctx.Err() != nil {
				next.close()
				return nil, err
			}
			return next, nil
		}
	}
}
