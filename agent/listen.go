package agent

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/user"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/pgha/pgha-agent/agent/alertsock"
	"github.com/pgha/pgha-agent/agent/config"
	"github.com/pgha/pgha-agent/agent/fsm"
	"github.com/pgha/pgha-agent/agent/internal/wait"
	"github.com/pgha/pgha-agent/agent/status"
	"github.com/pgha/pgha-agent/agent/web"
	"github.com/pgha/pgha-agent/crm"
)

// open opens the sockets that are not open yet, but for those that before, an agent that still runs, has in use.
func (a *Agent) open(before *Agent) (err error) {
	inUse := func(path string) bool {
		return before != nil && (path == before.cfg.State.AlertSocket || path == before.cfg.State.ControlSocket)
	}
	switch alerts := a.cfg.State.AlertSocket; {
	case a.alertsAt != nil:
	case a.opts.Alerts != nil:
		a.alertsAt, err = again(a.opts.Alerts)
	case !inUse(alerts):
		a.alertsAt, err = alertsock.ListenUnix(alerts, 0o660)
	}
	if err != nil {
		return fmt.Errorf("listen for alerts: %w", err)
	}
	if control := a.cfg.State.ControlSocket; a.controlAt == nil && !inUse(control) {
		if a.controlAt, err = alertsock.ListenUnix(control, 0o660); err != nil {
			return fmt.Errorf("listen for control: %w", err)
		}
	}
	return nil
}

// listen serves the sockets until ctx ends.
func (a *Agent) listen(ctx context.Context, group *errgroup.Group) {
	group.Go(func() error {
		return alertsock.ServeAlerts(ctx, a.alertsAt,
			alertsock.AlertServer{Deliver: a.alerted, AllowUID: mayAlert(), Logger: a.log, Counters: &a.alerts})
	})
	group.Go(func() error {
		return web.ServeControl(ctx, a.log, a.controlAt, web.Control(a.webOptions()))
	})
	if a.cfg.HTTP.Listen != config.Off {
		group.Go(func() error { a.servePublic(ctx); return nil })
	}
}

// servePublic serves metrics and health checks. A port that is taken or a bad certificate costs those, never the
// record: it is shown as a problem and tried again.
func (a *Agent) servePublic(ctx context.Context) {
	for ctx.Err() == nil {
		err := a.servePublicOnce(ctx)
		if ctx.Err() != nil {
			return
		}
		a.log.Error("metrics and health checks are not served, trying again", keyErr, err)
		a.send(ctx, message{fsm.Tick{}, func(s *status.Snapshot) { s.HTTPErr = err.Error() }})
		wait.For(ctx, 5*time.Second)
	}
}

func (a *Agent) servePublicOnce(ctx context.Context) error {
	tcp, err := net.Listen("tcp", a.cfg.HTTP.Listen)
	if err != nil {
		return err
	}
	return web.ServePublic(ctx, a.log, tcp, a.cfg.HTTP.WebConfig, web.Public(a.webOptions()), func() {
		a.log.Info("listening", keyListen, tcp.Addr().String())
		a.send(ctx, message{fsm.Tick{}, func(s *status.Snapshot) { s.HTTPErr = "" }})
	})
}

func (a *Agent) webOptions() web.Options {
	return web.Options{Snapshot: a.Snapshot, Now: a.clock.Boot, Metrics: a.metrics.Registry, StateDir: a.cfg.State.Dir,
		Pause: a.pause, Recheck: a.recheck, Log: a.log}
}

// mayAlert returns who may send alerts: Pacemaker's user, root, and the agent's own. The socket's mode already keeps
// others out; this keeps out the rest of group haclient.
func mayAlert() func(uint32) bool {
	allowed := map[uint32]bool{0: true, uint32(os.Getuid()): true}
	if u, err := user.Lookup("hacluster"); err == nil {
		if uid, err := strconv.ParseUint(u.Uid, 10, 32); err == nil {
			allowed[uint32(uid)] = true
		}
	}
	return func(uid uint32) bool { return allowed[uid] }
}

// alerted takes one alert from the hook. It returns nil once the loop has it: with an error the hook publishes a
// promotion itself, which an agent that hangs or stops would not.
func (a *Agent) alerted(ctx context.Context, alert crm.Alert, uid uint32) error {
	m, taken := a.hint(alert, uid), make(chan struct{})
	m.apply = func(*status.Snapshot) { close(taken) }
	a.send(ctx, m)
	select {
	case <-taken:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-a.ended:
		return errStopping
	}
}

// hint counts an alert, and makes of it what it means, whatever it says: look now.
func (a *Agent) hint(alert crm.Alert, uid uint32) message {
	a.log.Debug("alert", keyAlert, alert.Kind, "task", alert.Task, "resource", alert.Resource, keyUID, uid)
	a.sequenceMu.Lock()
	missed, _ := a.sequence.Next(alert.Sequence)
	a.sequenceMu.Unlock()
	a.metrics.AlertGaps.Add(float64(missed))
	a.metrics.Alert(alert.Kind)
	return message{event: fsm.Hint{Promotion: alert.Kind == crm.AlertResource && alert.Task == "promote"}}
}
