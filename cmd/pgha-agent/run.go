package main

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/pgha/pgha-agent/agent"
	"github.com/pgha/pgha-agent/agent/config"
)

func newRun(file *string) *cobra.Command {
	return &cobra.Command{
		Use:   "run",
		Short: "Run the daemon (the systemd unit does this)",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGTERM, syscall.SIGINT)
			defer stop()
			defer context.AfterFunc(ctx, func() { agent.Systemd{}.Notify(daemon.SdNotifyStopping) })()
			return agent.Daemon(ctx, agent.Options{Version: version, Notify: agent.Systemd{}, File: *file}, loader(*file),
				reloads(ctx))
		},
	}
}

// loader returns a function that reads the configuration and makes the logger that it asks for.
func loader(path string) func() (*config.Config, *slog.Logger, error) {
	return func() (*config.Config, *slog.Logger, error) {
		cfg, err := config.Load(path)
		if err != nil {
			return nil, nil, err
		}
		return cfg, newLogger(cfg.Log), nil
	}
}

// reloads turns SIGHUP into values of a channel.
func reloads(ctx context.Context) <-chan struct{} {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGHUP)
	out := make(chan struct{})
	go func() {
		defer signal.Stop(signals)
		for {
			select {
			case <-ctx.Done():
				return
			case <-signals:
				select {
				case out <- struct{}{}:
				case <-ctx.Done():
				}
			}
		}
	}()
	return out
}

func newLogger(c config.Log) *slog.Logger {
	var level slog.Level
	_ = level.UnmarshalText([]byte(c.Level)) // LoadConfig has checked it
	opts := &slog.HandlerOptions{Level: level, ReplaceAttr: func(_ []string, attr slog.Attr) slog.Attr {
		if attr.Value.Kind() == slog.KindDuration { // JSON would have bare nanoseconds
			attr.Value = slog.StringValue(attr.Value.Duration().Round(time.Millisecond).String())
		}
		return attr
	}}
	if c.Format == "text" || c.Format == "auto" && term.IsTerminal(int(os.Stderr.Fd())) {
		return slog.New(slog.NewTextHandler(os.Stderr, opts))
	}
	return slog.New(slog.NewJSONHandler(os.Stderr, opts))
}
