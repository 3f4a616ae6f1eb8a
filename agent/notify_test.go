package agent

import (
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pgha/pgha-agent/agent/status"
)

type notes struct {
	mu   sync.Mutex
	list []string
}

func (n *notes) Notify(state string) { n.mu.Lock(); n.list = append(n.list, state); n.mu.Unlock() }

func (n *notes) has(state string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.ContainsFunc(n.list, func(s string) bool { return strings.HasPrefix(s, state) })
}

func TestReadyDoesNotWaitForAClusterThatIsDown(t *testing.T) {
	a, clock, _ := promotedAgent(t)
	to := &notes{}
	a.notify = newNotifier(to, clock.Boot())
	a.observed.Sources = [status.NumSources]status.SourceState{}
	a.publish(clock.Boot())
	a.heartbeat(clock.Boot())
	if to.has("READY=1") {
		t.Error("ready before any source was asked")
	}
	clock.advance(readyBy+time.Second, readyBy+time.Second, 0)
	a.publish(clock.Boot())
	a.heartbeat(clock.Boot())
	if !to.has("READY=1") {
		t.Error("not ready after the deadline")
	}
}

func TestWatchdogIsFedByTheLoopOnly(t *testing.T) {
	t.Setenv("WATCHDOG_USEC", "4000000")
	a, clock, _ := promotedAgent(t)
	to := &notes{}
	a.notify = newNotifier(to, clock.Boot())
	a.heartbeat(clock.Boot())
	first := len(to.list)
	a.heartbeat(clock.Boot())
	if len(to.list) != first || !to.has("WATCHDOG=1") {
		t.Errorf("notes %v", to.list)
	}
	clock.advance(time.Second, time.Second, 0)
	a.heartbeat(clock.Boot())
	if len(to.list) != first+1 {
		t.Errorf("not fed after a quarter of the watchdog's time: %v", to.list)
	}
}

func TestStatusLineNamesWhatHoldsTheRecordBack(t *testing.T) {
	a, clock, _ := promotedAgent(t)
	a.state.Cluster.Maintenance = true
	a.publish(clock.Boot())
	if line := a.statusLine(a.Snapshot()); !strings.Contains(line, "maintenance") {
		t.Errorf("status line %q", line)
	}
}
