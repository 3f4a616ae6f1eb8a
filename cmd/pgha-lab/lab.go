package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pgha/pgha-agent/cmd/internal/wait"
)

// lab is one running pair of machines with their network and their AWS.
type lab struct {
	dir      string // of this run
	cache    string
	img      image
	drbd9    bool
	handler  []byte // instead of the distribution's fence-peer handler
	stage    string // what `make install` installs
	packages string // what `make packages` made

	record bool // have the machines write down what they see

	nodes []*node
	aws   *aws
}

// node is a machine, the shell in it, and what was seen of its DRBD.
type node struct {
	*machine
	*shell
	history *history
}

func nodeAddr(name string) netip.Addr {
	switch name {
	case "node1":
		return netip.MustParseAddr("10.0.1.10")
	case "node2":
		return netip.MustParseAddr("10.0.2.10")
	}
	return netip.Addr{}
}

// newLab makes the network and AWS. No machine runs yet.
func newLab(ctx context.Context, dir, cache, stage string, img image, drbd9 bool) (*lab, error) {
	key, err := readKey(img.path("id"))
	if err != nil {
		return nil, err
	}
	if err := os.Symlink(img.path("id"), filepath.Join(dir, "id")); err != nil {
		return nil, err
	}
	l := &lab{dir: dir, cache: cache, img: img, drbd9: drbd9, stage: stage}
	machines := make([]*machine, 2)
	for i := range machines {
		n := fmt.Sprint(i + 1)
		machines[i] = &machine{
			name: "node" + n, id: "i-0000000000000000" + n, addr: nodeAddr("node" + n),
			gateway: netip.MustParseAddr("10.0." + n + ".1"),
			tap:     "tap" + n, mac: "52:54:00:00:0" + n + ":10", img: img, dir: dir,
		}
		l.nodes = append(l.nodes, &node{machine: machines[i],
			shell: &shell{target: machines[i].addr.String() + ":22", key: key}, history: newHistory("node" + n)})
	}
	if err := makeNetwork(ctx, machines); err != nil {
		return nil, err
	}
	if l.aws, err = startAWS(machines); err != nil {
		return nil, fmt.Errorf("start AWS: %w", err)
	}
	return l, nil
}

func (l *lab) node(name string) *node {
	i := slices.IndexFunc(l.nodes, func(n *node) bool { return n.name == name })
	return l.nodes[i]
}

func (l *lab) other(n *node) *node {
	if n == l.nodes[0] {
		return l.nodes[1]
	}
	return l.nodes[0]
}

// both runs f for both nodes at the same time.
func (l *lab) both(f func(*node) error) error {
	errs := make([]error, len(l.nodes))
	var wg sync.WaitGroup
	for i, n := range l.nodes {
		wg.Go(func() { errs[i] = f(n) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// powerOff cuts both machines' power.
func (l *lab) powerOff() {
	_ = l.both(func(n *node) error {
		err := n.PowerOff()
		n.drop()
		return err
	})
}

// The layers that are cached: each is built on the one before.
const (
	clusterLayer = "cluster" // the whole cluster runs, without the agent
	agentLayer   = "agent"   // the agent is installed, and the record names the promoted node
	shellLayer   = "shell"   // instead, the record is moved by a resource agent in the database's group
)

// ready brings the machines up in the state of the layer, building it and those below if they are not cached.
func (l *lab) ready(ctx context.Context, layer string) error {
	dir, err := l.layerDir(layer)
	if err != nil {
		return err
	}
	if _, err := os.Stat(dir); err == nil {
		return l.loadSound(ctx, dir)
	}
	start := time.Now()
	switch layer {
	case clusterLayer:
		slog.Info("building the cluster", "about", "2m30s")
		err = l.buildCluster(ctx)
	case agentLayer:
		err = l.buildAgent(ctx)
	case shellLayer:
		if err = l.ready(ctx, clusterLayer); err == nil {
			slog.Info("adding the DNS resource", "about", "3m")
			err = l.installShell(ctx)
		}
	}
	if err != nil {
		return fmt.Errorf("build layer %s: %w", layer, err)
	}
	if err := cached(dir, func(tmp string) error { return l.save(ctx, tmp) }); err != nil {
		return fmt.Errorf("save layer %s: %w", layer, err)
	}
	slog.Info("layer saved", "layer", layer, "took", time.Since(start).Round(time.Second))
	return l.loadSound(ctx, dir)
}

// buildAgent installs the agent in the cluster. A machine that stands still right after it was thawed may be fenced,
// which no installation survives: it begins once more, with the cluster as it was saved.
func (l *lab) buildAgent(ctx context.Context) (err error) {
	for range 2 {
		if err = l.ready(ctx, clusterLayer); err != nil {
			return err
		}
		slog.Info("installing the agent", "about", "1m")
		if err = l.installAgent(ctx); err == nil || ctx.Err() != nil {
			return err
		}
		for _, n := range l.nodes {
			shown, _ := n.run(ctx, "uptime; crm_mon -1; pgha-agent status; journalctl -u pgha-agent -o cat -n 30 --no-pager")
			slog.Warn("the agent was not installed", "node", n.name, "err", err, "shows", shown)
		}
	}
	return err
}

// loadSound loads a layer until both machines are well. On a busy host one of them may stall for longer than
// Corosync waits, right after it was thawed: then the other one fences it.
func (l *lab) loadSound(ctx context.Context, dir string) (err error) {
	for range 3 {
		if err = l.load(ctx, dir); err == nil || ctx.Err() != nil {
			return err
		}
		slog.Warn("a machine did not come back from its snapshot, once more", "err", err)
	}
	return err
}

// layerDir names a layer by everything that went into it.
func (l *lab) layerDir(layer string) (string, error) {
	key := []string{l.img.key, fmt.Sprint(l.drbd9), clusterKey()}
	switch layer {
	case shellLayer:
		key = append(key, string(dnsResourceXML), awsTimed)
	case agentLayer:
		k, err := treeKey(l.stage)
		if err != nil {
			return "", err
		}
		key = append(key, k, agentConfig)
	}
	return filepath.Join(l.cache, layer+"-"+shortHash(strings.Join(key, "\n"))), nil
}

// save freezes the running machines into dir. Their power is off then.
func (l *lab) save(ctx context.Context, dir string) error {
	if err := l.both(func(n *node) error {
		_, err := n.run(ctx, "sync")
		n.drop()
		return err
	}); err != nil {
		return err
	}
	// Together: each would miss the other.
	if err := l.both(func(n *node) error { return n.Pause(ctx) }); err != nil {
		return err
	}
	err := l.both(func(n *node) error {
		if err := n.monitor(ctx, func(q *qmp) error {
			if err := q.do("migrate-set-parameters", map[string]any{"max-bandwidth": 8 << 30}, nil); err != nil {
				return err
			}
			if err := q.do("migrate", map[string]any{"uri": "exec:zstd -1 -T1 -q -c >" + filepath.Join(dir, n.name+".ram")},
				nil); err != nil {
				return err
			}
			for {
				var s struct{ Status string }
				if err := q.do("query-migrate", nil, &s); err != nil {
					return err
				}
				switch s.Status {
				case "completed":
					return nil
				case "failed", "canceled":
					return fmt.Errorf("save memory: %s", s.Status)
				}
				if err := wait.For(ctx, 100*time.Millisecond); err != nil {
					return err
				}
			}
		}); err != nil {
			return err
		}
		if err := n.PowerOff(); err != nil {
			return err
		}
		for _, disk := range []string{"root.qcow2", "data.qcow2"} {
			if err := os.Rename(n.file(disk), filepath.Join(dir, n.name+"-"+disk)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	b, err := json.Marshal(l.aws.zone.Records())
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "zone.json"), b, 0o644)
}

// load starts both machines from a frozen layer, with the zone as it was, and sets their clocks.
func (l *lab) load(ctx context.Context, dir string) error {
	l.powerOff()
	if err := l.aws.reset(filepath.Join(dir, "zone.json")); err != nil {
		return fmt.Errorf("restore the zone: %w", err)
	}
	if err := l.both(func(n *node) error {
		for _, disk := range []string{"root.qcow2", "data.qcow2"} {
			_ = os.Remove(n.file(disk))
		}
		if err := n.makeDisks(ctx, filepath.Join(dir, n.name+"-root.qcow2"),
			filepath.Join(dir, n.name+"-data.qcow2")); err != nil {
			return err
		}
		if err := n.start(filepath.Join(dir, n.name+".ram")); err != nil {
			return err
		}
		status, err := n.leaves(ctx, "inmigrate")
		if err == nil && status != "paused" && status != "postmigrate" && status != "prelaunch" {
			err = fmt.Errorf("load memory of %s: machine is %s", n.name, status)
		}
		return err
	}); err != nil {
		return err
	}
	// Asked for its address, a machine learns ours.
	if err := command(ctx, "ip", "neigh", "flush", "all"); err != nil {
		return err
	}
	if err := l.both(func(n *node) error { return n.Resume(ctx) }); err != nil {
		return err
	}
	if err := l.both(func(n *node) error {
		for end := time.Now().Add(2 * time.Minute); ; {
			err := n.await(ctx, 5*time.Second)
			if err == nil {
				break
			}
			if !n.Running() || ctx.Err() != nil || time.Now().After(end) {
				return fmt.Errorf("%s after it was thawed: running %t: %w", n.name, n.Running(), err)
			}
		}
		return n.setClock(ctx)
	}); err != nil {
		return err
	}
	return l.nodes[0].until(ctx, 30*time.Second, `crm_mon -1 | grep -q 'Online: \[ node1 node2 \]'`)
}

// boot switches a machine on again and waits until it is up; the cluster's services are not enabled, so they are
// started.
func (l *lab) boot(ctx context.Context, n *node) error {
	n.drop()
	if err := n.PowerOn(); err != nil {
		return err
	}
	if err := n.await(ctx, 3*time.Minute); err != nil {
		return err
	}
	if err := n.setClock(ctx); err != nil {
		return err
	}
	_, err := n.run(ctx, "systemctl is-system-running --wait >/dev/null; systemctl start corosync pacemaker")
	return err
}
