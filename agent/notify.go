package agent

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

	"github.com/pgha/pgha-agent/agent/fsm"
	"github.com/pgha/pgha-agent/agent/status"
)

// Notifier tells the service manager how the agent is. It may block.
type Notifier interface{ Notify(state string) }

// notifyAside is a Notifier that hands messages to another one beside the caller: a service manager that stalls must
// not stop the loop. They say what is, so of those that wait only the newest of each kind counts.
type notifyAside struct{ aside[string] }

// beside returns a Notifier that does not block, n itself when it is one.
func beside(n Notifier) Notifier {
	if n, ok := n.(*notifyAside); ok {
		return n
	}
	return &notifyAside{aside[string]{do: n.Notify}}
}

// Notify implements Notifier. It does not wait.
func (n *notifyAside) Notify(state string) {
	kind, _, _ := strings.Cut(state, "=")
	n.change(func(waiting []string) []string {
		return append(slices.DeleteFunc(waiting, func(s string) bool { return strings.HasPrefix(s, kind+"=") }), state)
	})
}

// Systemd is the Notifier of a unit with Type=notify; it does nothing outside of one.
type Systemd struct{}

// Notify implements Notifier. A message that cannot be delivered is nothing that the agent could do anything about.
func (Systemd) Notify(state string) { _, _ = daemon.SdNotify(false, state) }

// readyBy is when the unit counts as started even if a source has not answered: a cluster that is down must not keep
// the unit, and Pacemaker behind it, from starting.
const readyBy = 3 * time.Second

type notifier struct {
	to       Notifier
	started  fsm.Time
	ready    bool
	status   string
	watchdog time.Duration // half of WatchdogSec, 0 without
	fed      fsm.Time
}

func newNotifier(to Notifier, now fsm.Time) notifier {
	n := notifier{to: to, started: now}
	if every, err := daemon.SdWatchdogEnabled(false); err == nil {
		n.watchdog = every / 2
	}
	return n
}

// heartbeat tells systemd that the loop is alive. Only the loop calls it: a loop that hangs starves the watchdog.
func (a *Agent) heartbeat(now fsm.Time) {
	n := &a.notify
	if n.to == nil {
		return
	}
	s := a.snap.Load()
	if status := a.statusLine(s); status != n.status {
		n.status = status
		n.to.Notify("STATUS=" + status)
	}
	looked := s.Sources[status.SourceCrm] != status.SourceState{} &&
		s.Sources[status.SourceDrbd] != status.SourceState{} && s.Sources[status.SourceRoute53] != status.SourceState{}
	if !n.ready && (looked || now-n.started > readyBy) {
		n.ready = true
		n.to.Notify(daemon.SdNotifyReady)
	}
	if n.watchdog > 0 && now-n.fed >= n.watchdog/2 {
		n.fed = now
		n.to.Notify(daemon.SdNotifyWatchdog)
	}
}

// statusLine is the one line that `systemctl status` shows.
func (a *Agent) statusLine(s *status.Snapshot) string {
	st := &s.State
	switch pub := s.Publication(); pub {
	case status.PubUnknown:
		return "no answer from Pacemaker yet"
	case status.PubIdle:
		if st.Cluster.OK && st.Cluster.PromotedPeer != "" {
			return "standby; promoted is " + st.Cluster.PromotedPeer
		}
		return "not promoted"
	case status.PubHeld:
		return fmt.Sprintf("promoted; %s not published: %v", a.cfg.Record.Name, holdNames(s.Holds))
	case status.PubWriting:
		return fmt.Sprintf("promoted; writing %s, epoch %d", a.cfg.Record.Name, st.Write.InFlight.NextEpoch)
	default:
		return fmt.Sprintf("promoted; %s %s, epoch %d", a.cfg.Record.Name, pub, st.Promotion.Epoch)
	}
}
