package agent

import (
	"context"
	"os"
	"os/user"
	"strconv"

	"github.com/pgha/pgha-agent/agent/fsm"
	"github.com/pgha/pgha-agent/agent/status"
	"github.com/pgha/pgha-agent/crm"
)

// alerted takes one alert from the hook. It returns nil once the loop has it: with an error the hook publishes a promotion itself,
// which an agent that hangs or stops would not.
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
	a.metrics.alertGaps.Add(float64(missed))
	a.metrics.alert(alert.Kind)
	return message{event: fsm.Hint{Promotion: alert.Kind == crm.AlertResource && alert.Task == "promote"}}
}

// mayAlert returns who may send alerts: Pacemaker's user, root, and the agent's own. The socket's mode already keeps others out; this keeps
// out the rest of group haclient.
func mayAlert() func(uint32) bool {
	allowed := map[uint32]bool{0: true, uint32(os.Getuid()): true}
	if u, err := user.Lookup("hacluster"); err == nil {
		if uid, err := strconv.ParseUint(u.Uid, 10, 32); err == nil {
			allowed[uint32(uid)] = true
		}
	}
	return func(uid uint32) bool { return allowed[uid] }
}
