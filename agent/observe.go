package agent

import (
	"context"
	"os"
	"time"

	"github.com/pgha/pgha-agent/agent/fsm"
	"github.com/pgha/pgha-agent/agent/mounts"
	"github.com/pgha/pgha-agent/agent/peer"
	"github.com/pgha/pgha-agent/agent/status"
	"github.com/pgha/pgha-agent/crm"
)

// observer looks at something that only the judgment needs, again and again, and at once when somebody asks. Nothing
// that writes rests on it, so it may hang.
type observer struct {
	look  func(context.Context)
	every time.Duration
	asked chan chan struct{}
}

func newObserver(every time.Duration, look func(context.Context)) *observer {
	return &observer{look, every, make(chan chan struct{})}
}

// run looks until ctx ends.
func (o *observer) run(ctx context.Context) {
	var waiting chan struct{}
	for ctx.Err() == nil {
		o.look(ctx)
		if waiting != nil {
			close(waiting)
			waiting = nil
		}
		timer := time.NewTimer(o.every)
		select {
		case <-ctx.Done():
		case <-timer.C:
		case waiting = <-o.asked:
		}
		timer.Stop()
	}
}

// again looks once more. It returns when that has ended, or ctx.
func (o *observer) again(ctx context.Context) {
	done := make(chan struct{})
	select {
	case o.asked <- done:
	case <-ctx.Done():
		return
	}
	select {
	case <-done:
	case <-ctx.Done():
	}
}

const (
	askPeersEvery          = 5 * time.Second
	readConfigurationEvery = 2 * time.Second // whether it has changed is known without reading it
	// Neither an attribute that lasts until the next reboot nor a second change within a second shows as a change.
	configurationTooOld = 10 * time.Second
	lookAtMountsEvery   = 10 * time.Second
	lookAtProgramEvery  = time.Minute
)

func (a *Agent) makeObservers() []*observer {
	return []*observer{
		newObserver(askPeersEvery, a.askPeers(peer.New(a.cfg))),
		newObserver(readConfigurationEvery, a.readConfiguration(new(crm.CIB))),
		newObserver(lookAtMountsEvery, a.lookAtMounts(new(mounts.Watch))),
		newObserver(lookAtProgramEvery, a.lookAtProgram),
	}
}

// askPeers asks the daemon of each other node for its status.
func (a *Agent) askPeers(c *peer.Client) func(context.Context) {
	return func(ctx context.Context) {
		s := a.Snapshot()
		if s.Crm == nil {
			return
		}
		hosts := c.Hosts(s.Doc())
		var nodes []string
		for _, n := range s.Crm.Nodes {
			if n.Name != s.Config.Node.Name && (n.Type == "" || n.Type == "member") && len(nodes) < fsm.MaxPeers {
				nodes = append(nodes, n.Name)
			}
		}
		peers := c.AskEach(ctx, nodes, hosts...)
		for i := range peers {
			peers[i].At = a.clock.Boot()
		}
		if ctx.Err() == nil {
			a.send(ctx, message{fsm.Tick{}, func(s *status.Snapshot) { s.Peers = peers }})
		}
	}
}

// readConfiguration reads the cluster's configuration when it has changed.
func (a *Agent) readConfiguration(cib *crm.CIB) func(context.Context) {
	var change time.Time
	var readAt fsm.Time
	var asked uint64
	return func(ctx context.Context) {
		s, now := a.Snapshot(), a.clock.Boot()
		if s.Crm == nil || readAt != 0 && s.Crm.LastChange.Equal(change) && now-readAt < configurationTooOld &&
			s.Rechecks == asked {
			return
		}
		change, readAt, asked = s.Crm.LastChange, now, s.Rechecks
		c, err := cib.Configuration(ctx)
		if ctx.Err() != nil {
			return
		}
		a.send(ctx, message{fsm.Tick{}, func(s *status.Snapshot) {
			if s.ConfigurationErr = ""; err != nil {
				s.ConfigurationErr = err.Error()
				return
			}
			s.Configuration, s.ConfigurationAt = c, now
		}})
	}
}

// lookAtProgram sees whether the program on disk is still the one that runs.
func (a *Agent) lookAtProgram(ctx context.Context) {
	path, err := os.Executable() // as it was at the start
	if replaced := err == nil && replacedAt(path); replaced != a.Snapshot().Replaced {
		a.send(ctx, message{fsm.Tick{}, func(s *status.Snapshot) { s.Replaced = replaced }})
	}
}

// replacedAt reports whether another program than the running one is at a path. A path with nothing there is none: the
// update is under way, or the package was removed, and a restart would fail.
func replacedAt(path string) bool {
	running, err := os.Stat("/proc/self/exe") // the file itself, also after its name was given to another one
	if err != nil {
		return false
	}
	there, err := os.Stat(path)
	return err == nil && !os.SameFile(running, there)
}

// lookAtMounts sees how full the database's filesystems are, and what is mounted where the cluster mounts them.
func (a *Agent) lookAtMounts(w *mounts.Watch) func(context.Context) {
	return func(ctx context.Context) {
		s, now := a.Snapshot(), a.clock.Boot()
		want := mounts.Wanted{DataDir: s.Postgres.DataDirectory}
		if res, ok := s.Resource(); ok {
			for _, v := range res.Devices {
				want.Minors = append(want.Minors, v.Minor)
			}
		}
		if s.Configuration != nil {
			want.Points = s.Configuration.MountPoints(s.Config.Cluster.Promotable)
		}
		found, err := w.Look(now, want)
		a.send(ctx, message{fsm.Tick{}, func(s *status.Snapshot) {
			s.Mounts, s.MountsAt, s.MountsErr = found, now, ""
			if err != nil {
				s.MountsErr = err.Error()
			}
		}})
	}
}
