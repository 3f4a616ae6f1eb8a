package main

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"time"
)

// Names in the model, which are those of the sample configuration.
const (
	drbdName  = "pg"
	rscDrbd   = "drbd_pg"
	rscClone  = "drbd_pg-clone"
	rscGroup  = "g_pg"
	rscFs     = "fs_pg"
	rscPg     = "pgsql"
	fencePre  = "fence_"
	infinity  = 1000000
	nobody    = -1
	alExtents = 45056 // KiB of DRBD's activity log: a rejoining Primary that crashed must resync at least these
)

// figures are the durations that the model decides. Everything that is not here is real.
type figures struct {
	DrbdNotice time.Duration // ping timeout until the survivor's connection breaks
	Token      time.Duration // Corosync's token and consensus, until the node is lost
	Transition time.Duration // until the scheduler has asked for fencing
	Fence      time.Duration // fence_aws: until the instance is reported as stopped
	Promote    time.Duration // DRBD promotion, the fence-peer handler included
	Mount      time.Duration
	Boot       time.Duration // until the returning node's daemons start
	Join       time.Duration // each step of Pacemaker's start
	SyncRate   uint64        // KiB/s
}

var defaultFigures = figures{
	DrbdNotice: 1500 * time.Millisecond,
	Token:      3 * time.Second,
	Transition: 200 * time.Millisecond,
	Fence:      4 * time.Second,
	Promote:    500 * time.Millisecond,
	Mount:      300 * time.Millisecond,
	Boot:       3 * time.Second,
	Join:       700 * time.Millisecond,
	SyncRate:   12 * 1024,
}

// hooks are the real things that the model's resources stand for.
type hooks struct {
	startPostgres func(ctx context.Context, node int) error
	alert         func(node int, env map[string]string) // must not block
}

// cluster is the model: Pacemaker's information base as all members share it, and both sides of DRBD.
type cluster struct {
	mu      sync.Mutex
	fig     figures
	hooks   hooks
	nodes   [2]*node
	dc      int
	fencers [2]place // fence_<node i>
	fs, pg  place
	fencing []fenceEvent
	handler bool // the fence-peer handler's constraint against banned is in place
	banned  int
	changed time.Time // last change of the configuration
	changer string
	drbd    [2]*side
	streams map[*stream]struct{}
	marks   map[string]time.Time // when something happened, by the name of the agent's phase
}

type node struct {
	name, addr                  string
	id                          int
	stack                       bool // Pacemaker runs on it, as the node itself knows
	joining                     bool // and has not found a DC yet
	online, unclean, expectedUp bool // as the members see it
	role, pending               string
	score                       string // promotion score attribute, "" when there is none
	history                     []operation
	calls                       int
	alerts                      int
}

// place is where a resource of the group runs.
type place struct {
	node          int
	role, pending string
}

type operation struct {
	rsc, task      string
	call, rc       int
	interval, exec time.Duration
	at             time.Time
}

type fenceEvent struct {
	target, origin int
	status         string
	completed      time.Time
}

// newCluster returns a healthy cluster whose first node is promoted and runs everything.
func newCluster(names, addrs [2]string, fig figures) *cluster {
	c := &cluster{fig: fig, dc: 1, changed: time.Now(), streams: map[*stream]struct{}{}, marks: map[string]time.Time{},
		banned: nobody}
	for i := range c.nodes {
		c.nodes[i] = &node{name: names[i], addr: addrs[i], id: i + 1, stack: true, online: true, expectedUp: true,
			role: "Unpromoted", score: "10000", calls: 9}
		c.drbd[i] = &side{up: true, role: "Secondary", disk: "UpToDate", backing: "/dev/nvme1n1", conn: "Connected",
			peerRole: "Secondary",
			repl:     "Established", peerDisk: "UpToDate", path: true, size: 20 << 20}
		c.fencers[1-i] = place{node: i, role: "Started"}
	}
	c.changer = names[0]
	c.changed = time.Now()
	for i, n := range c.nodes {
		c.record(i, fencePre+c.nodes[1-i].name, "start", 0, 900*time.Millisecond)
		c.recur(i, fencePre+c.nodes[1-i].name, 0, time.Minute)
		c.record(i, rscDrbd, "start", 0, 700*time.Millisecond)
		n.calls += 12
	}
	c.recur(1, rscDrbd, 0, 13*time.Second)
	c.nodes[0].role = "Promoted"
	c.drbd[0].role, c.drbd[1].peerRole = "Primary", "Primary"
	c.record(0, rscDrbd, "promote", 0, 450*time.Millisecond)
	c.recur(0, rscDrbd, 8, 11*time.Second)
	c.fs, c.pg = place{node: 0, role: "Started"}, place{node: 0, role: "Started"}
	c.record(0, rscFs, "start", 0, 300*time.Millisecond)
	c.recur(0, rscFs, 0, 20*time.Second)
	c.record(0, rscPg, "start", 0, 1200*time.Millisecond)
	c.recur(0, rscPg, 0, 15*time.Second)
	return c
}

// record writes a finished operation to the node's history, where it replaces what the resource had.
func (c *cluster) record(i int, rsc, task string, rc int, exec time.Duration) int {
	n := c.nodes[i]
	n.calls++
	c.forget(i, rsc)
	n.history = append(n.history, operation{rsc: rsc, task: task, call: n.calls, rc: rc, exec: exec,
		at: time.Now().Add(-exec)})
	return n.calls
}

// begin writes an operation that is in flight, as crm_mon shows it.
func (c *cluster) begin(i int, rsc, task string) {
	c.forget(i, rsc)
	c.nodes[i].history = append(c.nodes[i].history, operation{rsc: rsc, task: task, call: -1, rc: 193, at: time.Now()})
}

// recur writes a recurring monitor beside the last operation.
func (c *cluster) recur(i int, rsc string, rc int, interval time.Duration) {
	n := c.nodes[i]
	n.calls += 2
	n.history = append(n.history, operation{rsc: rsc, task: "monitor", call: n.calls, rc: rc, interval: interval,
		exec: 40 * time.Millisecond, at: time.Now()})
}

func (c *cluster) forget(i int, rsc string) {
	var kept []operation
	for _, o := range c.nodes[i].history {
		if o.rsc != rsc {
			kept = append(kept, o)
		}
	}
	c.nodes[i].history = kept
}

// update changes Pacemaker's side of the model.
func (c *cluster) update(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f()
}

// wrote accounts for data that the application wrote on the Primary, in KiB.
func (c *cluster) wrote(i int, kib uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s, p := c.drbd[i], c.drbd[1-i]
	s.written += kib
	s.alWrites = s.written / 4096
	if s.conn == "Connected" {
		s.sent += kib
		p.received += kib
		p.written += kib
	} else if s.up {
		s.oos += kib
	}
}

// mark notes the moment at which the cluster reached a phase. The lock is held.
func (c *cluster) mark(phase string) { c.marks[phase] = time.Now() }

// reached returns when the cluster reached a phase.
func (c *cluster) reached(phase string) (time.Time, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	at, ok := c.marks[phase]
	return at, ok
}

// alertEnv is what pacemaker-execd gives an alert agent beside the kind's own variables.
func (c *cluster) alertEnv(i int, kind string, kv map[string]string) map[string]string {
	n := c.nodes[i]
	n.alerts++
	now := time.Now()
	env := map[string]string{
		"CRM_alert_kind": kind, "CRM_alert_version": "3.0.0", "CRM_alert_recipient": "",
		"CRM_alert_node_sequence":   strconv.Itoa(n.alerts),
		"CRM_alert_timestamp":       now.Format("15:04:05.000000"),
		"CRM_alert_timestamp_epoch": strconv.FormatInt(now.Unix(), 10),
		"CRM_alert_timestamp_usec":  fmt.Sprintf("%06d", now.Nanosecond()/1000),
	}
	for k, v := range kv {
		env["CRM_alert_"+k] = v
	}
	return env
}

func (c *cluster) alert(i int, kind string, kv map[string]string) {
	c.mu.Lock()
	env := c.alertEnv(i, kind, kv)
	c.mu.Unlock()
	if c.hooks.alert != nil {
		c.hooks.alert(i, env)
	}
}

func (c *cluster) alertNode(i, about int, desc string) {
	n := c.nodes[about]
	c.alert(i, "node", map[string]string{"node": n.name, "nodeid": strconv.Itoa(n.id), "desc": desc})
}

func (c *cluster) alertResource(i int, rsc, task string, exec time.Duration) {
	c.alert(i, "resource", map[string]string{
		"node": c.nodes[i].name, "rsc": rsc, "task": task, "desc": "OK", "rc": "0", "target_rc": "0", "status": "0",
		"interval":  "0",
		"exec_time": strconv.FormatInt(exec.Milliseconds(), 10),
	})
}

// run carries an operation out on a resource: in flight, then done.
func (c *cluster) run(ctx context.Context, i int, rsc, task string, state func(role, pending string), during, after,
	phase string, work func(context.Context) error) error {
	start := time.Now()
	c.update(func() {
		c.begin(i, rsc, task)
		state(during, "")
	})
	if err := work(ctx); err != nil {
		return fmt.Errorf("%s %s on %s: %w", task, rsc, c.nodes[i].name, err)
	}
	took := time.Since(start)
	c.update(func() {
		c.record(i, rsc, task, 0, took)
		state(after, "")
		if phase != "" {
			c.mark(phase)
		}
	})
	c.alertResource(i, rsc, task, took)
	return nil
}

func (p *place) set(i int) func(role, pending string) {
	return func(role, pending string) { *p = place{node: i, role: role, pending: pending} }
}

func (n *node) set(role, pending string) { n.role, n.pending = role, pending }
