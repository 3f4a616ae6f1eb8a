package agent

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"
)

const (
	// logWaits is how many lines wait for a log that is not read. More are lost, and counted.
	logWaits = 1024
	// logFlush is how long a stopping agent waits for its last lines to be written.
	logFlush = 2 * time.Second
)

// logAside is a slog.Handler that hands lines to another one beside the caller: stderr is a pipe or a socket, and
// whoever should read it may hang. It formats later, so the values of a line must not change after the call.
type logAside struct {
	to    slog.Handler
	lines *logLines // shared by all that With makes
}

type logLine struct {
	to     slog.Handler
	record slog.Record
}

type logLines struct {
	aside[logLine]
	lost atomic.Uint64
}

func newLogAside(to slog.Handler) logAside {
	q := &logLines{}
	q.do = func(l logLine) {
		_ = l.to.Handle(context.Background(), l.record) // a log that fails: nowhere to say so
		if !q.empty() {
			return
		}
		if n := q.lost.Swap(0); n > 0 {
			r := slog.NewRecord(time.Now(), slog.LevelWarn, "log lines lost: nobody read the log", 0)
			r.AddAttrs(slog.Uint64(keyCount, n))
			_ = l.to.Handle(context.Background(), r)
		}
	}
	return logAside{to: to, lines: q}
}

// Enabled implements slog.Handler.
func (h logAside) Enabled(ctx context.Context, level slog.Level) bool {
	return h.to.Enabled(ctx, level)
}

// Handle implements slog.Handler. It does not wait.
func (h logAside) Handle(_ context.Context, r slog.Record) error {
	h.lines.change(func(waiting []logLine) []logLine {
		if len(waiting) >= logWaits {
			h.lines.lost.Add(1)
			return waiting
		}
		return append(waiting, logLine{h.to, r.Clone()})
	})
	return nil
}

// WithAttrs implements slog.Handler.
func (h logAside) WithAttrs(attrs []slog.Attr) slog.Handler {
	return logAside{h.to.WithAttrs(attrs), h.lines}
}

// WithGroup implements slog.Handler.
func (h logAside) WithGroup(name string) slog.Handler {
	return logAside{h.to.WithGroup(name), h.lines}
}
