package agent

import (
	"context"
	"log/slog"
	"testing"

	"github.com/pgha/pgha-agent/agent/config"
	"github.com/pgha/pgha-agent/crm"
	"github.com/pgha/pgha-agent/pg"
)

// noServer is a PostgreSQL that nobody asks.
type noServer struct{}

func (noServer) Probe(context.Context) pg.Health { panic("not used") }
func (noServer) Close()                          {}

// A process that wakes up after a long time finds more than its inbox holds, and its loop has not run yet.
func TestDriverTakesMoreThanItsInboxHolds(t *testing.T) {
	cfg := config.Default()
	cfg.Node.Name, cfg.State.Dir, cfg.Drbd.Resource = "pg-b", t.TempDir(), "pg"
	d, err := NewSimulated(Options{Config: &cfg, Logger: slog.New(slog.DiscardHandler)},
		Simulation{Clock: newTestClock(), Boot: "b", Sources: Sources{Postgres: noServer{}, Zone: &asked{}},
			Start: func(func()) {}})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	for range 10 * cap(d.a.inbox) {
		d.Drbd(healthyDrbd())
		d.Alert(crm.Alert{Kind: crm.AlertNode})
	}
	d.Turn()
	if left := len(d.a.inbox); left != 0 || !d.Snapshot().State.Drbd.Primary {
		t.Errorf("%d messages left, DRBD %+v", left, d.Snapshot().State.Drbd)
	}
}
