package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"

	"github.com/coreos/go-systemd/v22/activation"
	"github.com/coreos/go-systemd/v22/daemon"

	"github.com/pgha/pgha-agent/agent/fsm"
)

var errReload = errors.New("configuration reloaded")

// Daemon runs agents one after the other: each value from reload loads the configuration again and, when it is good, replaces
// the agent by a new one, which continues from the journal as after a restart. A bad configuration changes nothing.
func Daemon(ctx context.Context, opts Options, load func() (*Config, *slog.Logger, error), reload <-chan struct{}) error {
	cfg, log, err := load()
	if err != nil {
		return err
	}
	if opts.Alerts, err = inherited(); err != nil {
		return err
	}
	if opts.Notify != nil {
		opts.Notify = beside(opts.Notify) // one for all agents: what they say keeps its order
	}
	for {
		opts.Config, opts.Logger = cfg, log
		a, err := New(opts)
		if err != nil {
			return err
		}
		err = a.runUntil(ctx, reload, func() (err error) {
			cfg, log, err = load()
			return err
		})
		if err != nil || ctx.Err() != nil {
			return err
		}
	}
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

// runUntil runs the agent until ctx ends, or until a reload for which the new configuration could be loaded.
func (a *Agent) runUntil(ctx context.Context, reload <-chan struct{}, load func() error) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	for {
		select {
		case err := <-done:
			return err
		case <-reload:
			if err := load(); err != nil {
				a.log.Error("configuration not reloaded", keyErr, err)
				a.send(ctx, message{event: fsm.Tick{}, apply: func(s *Snapshot) { s.ConfigErr = err.Error() }})
				continue
			}
			a.log.Info("configuration reloaded")
			if a.opts.Notify != nil {
				a.opts.Notify.Notify(daemon.SdNotifyReloading)
			}
			stop(errReload)
			return <-done
		}
	}
}
