// Package sim runs the agents of a two-node cluster in virtual time against a model of everything around them:
// Pacemaker, DRBD, PostgreSQL, Route 53, clocks, and what can go wrong with each. The agents are the real ones: loop,
// core, guard, facts, journal. A simple oracle, which knows the model's truth and not the agents' mind, judges what
// they do.
package sim

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/pgha/pgha-agent/agent/config"
	"github.com/pgha/pgha-agent/crm"
	"github.com/pgha/pgha-agent/drbd"
)

type world struct {
	kernel
	s      *Scenario
	dir    string
	nodes  [2]*node
	zone   *zone
	oracle *oracle
	out    io.Writer // the story; nil: nobody listens

	prefer    int              // the node that Pacemaker would rather promote
	fence     string           // how the fence device fares, "" when well
	allFences []crm.FenceEvent // that ever were in a history
	noHistory time.Duration    // since when crm_mon cannot ask for it; 0: it can
	alerts    string
	cut       bool // the nodes do not see each other
	thirdDown bool // the third DRBD node is not there

	promotions int
	calm       time.Duration // since when nothing has changed
}

// Result is what one simulation came to.
type Result struct {
	Promotions int
	Episodes   int // that the journals of both nodes hold
	Virtual    time.Duration
	Violation  string // "" when every invariant held

	// The nearest that the agents came to the bounds of the same names.
	Settle, Quick, Prompt time.Duration
	CallsPerMinute        int
}

// Run simulates a scenario. The story, when wanted, goes to out.
func Run(s *Scenario, out io.Writer) Result {
	dir, err := os.MkdirTemp(scratch(), "pgha-sim-")
	if err != nil {
		panic(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	w := newWorld(s, dir, out)
	defer w.close()
	end := time.Minute
	for _, step := range s.Steps {
		w.after(step.At, func() { w.obey(step) })
		end = max(end, step.At)
	}
	w.after(end+time.Second, w.allWell)
	w.beat()
	w.until(end+Rest, func() bool { return w.oracle.violation != "" })
	if w.oracle.violation == "" {
		w.oracle.judgeJournals()
	}
	return Result{
		Promotions: w.promotions, Episodes: w.oracle.episodes, Virtual: w.now, Violation: w.oracle.violation,
		Settle: w.oracle.slowest, Quick: w.oracle.quickest, Prompt: w.oracle.promptest, CallsPerMinute: w.oracle.busiest,
	}
}

// newWorld makes a cluster of two nodes that has just been started, and of which Pacemaker will promote one.
func newWorld(s *Scenario, dir string, out io.Writer) *world {
	w := &world{s: s, dir: dir, out: out}
	w.rng = rand.New(rand.NewPCG(s.Seed, 9))
	w.zone, w.oracle = newZone(w), newOracle(w)
	b := &cib{}
	for i := range w.nodes {
		w.nodes[i] = w.newNode(i)
	}
	for i, n := range w.nodes {
		n.cib, n.up, n.drbdSaid, n.peerRole, n.peerDisks = b, true, true, drbd.RoleSecondary, n.disks()
		w.third(n)
		b.n[i] = member{online: true, role: crm.RoleUnpromoted}
		n.spawn(false)
	}
	w.after(w.between(ms(100), 20*time.Second), func() { w.edit(b, func() {}) })
	return w
}

// close ends all processes.
func (w *world) close() {
	for _, n := range w.nodes {
		for len(n.procs) > 0 {
			n.procs[0].kill()
		}
	}
}

// scratch is a place without a disk under it, where there is one: the journals are synced at each line.
func scratch() string {
	if st, err := os.Stat("/dev/shm"); err == nil && st.IsDir() {
		return "/dev/shm"
	}
	return ""
}

// allWell ends all faults, so that the last thing to be seen is whether the agents come to rest.
func (w *world) allWell() {
	for _, what := range []string{"api works", "fencing works", "alerts work", "edit ends", "third up"} {
		w.obey(Step{What: what})
	}
	s := *w.s
	s.Deadly, s.Stalling, w.s = 0, 0, &s
	w.zone.pending = 5 * time.Second
}

// membership is Corosync's token and consensus timeout: sooner it does not go on without a node. slowest is when it has
// done so at the latest, or a node that is back has noticed that it was away.
func (w *world) membership() time.Duration { return cmp.Or(w.s.Token*22/10, Membership) }

func (w *world) slowest() time.Duration { return max(Slowest, w.membership()+3*time.Second) }

// waits is by how much more than Blind a node must wait for a slow Corosync where nobody fences.
func (w *world) waits() time.Duration {
	if w.s.Fencing {
		return 0
	}
	return max(0, w.slowest()+LookAge-Blind)
}

// beat is what happens all the time: the streams show life, and the oracle compares.
func (w *world) beat() {
	for _, n := range w.nodes {
		w.every(10*time.Second, func() { n.each(func(p *proc) { p.stream(0) }) })
	}
	w.every(time.Second, w.oracle.compares)
}

func (w *world) every(d time.Duration, f func()) {
	w.after(d, func() {
		f()
		w.every(d, f)
	})
}

func (w *world) changed() { w.calm = w.now }

// rough notes that something went wrong on a node, or for it, that may hold its agent up for long.
func (w *world) rough(n *node) {
	n.upset = w.now
	w.changed()
}

// writer is the promoted node, nil when there is none or more than one.
func (w *world) writer() *node {
	var found *node
	for _, n := range w.nodes {
		if n.promoted {
			if found != nil {
				return nil
			}
			found = n
		}
	}
	return found
}

func (w *world) nodeOf(addr netip.Addr) *node {
	for _, n := range w.nodes {
		if n.addr == addr {
			return n
		}
	}
	return nil
}

func (n *node) each(f func(*proc)) {
	for _, p := range n.procs {
		f(p)
	}
}

// stream ends events2 for a while.
func (n *node) stream(d time.Duration) {
	w := n.w
	n.streamEnds = w.now + d
	n.each(func(p *proc) { p.streams(ms(1), drbd.Report{Err: io.EOF}) })
	w.after(d+ms(1), func() { n.each(func(p *proc) { p.stream(w.between(ms(1), ms(300))) }) })
}

func (n *node) killDaemon(stay time.Duration) {
	if n.daemon == nil {
		return
	}
	n.daemon.kill()
	if stay == 0 {
		n.restarts()
		return
	}
	n.off = true
	n.w.after(stay, func() {
		n.off = false
		n.restarts()
	})
}

func (w *world) partition(d time.Duration) {
	if w.cut || !w.nodes[0].alive || !w.nodes[1].alive {
		return
	}
	w.cut = true
	for _, n := range w.nodes {
		n.blind, n.lonely = w.now+d+Blind+w.waits(), true
		w.lost(n)
	}
	w.after(d, func() {
		w.story(nil, "the network is whole again")
		w.cut = false
		w.changed()
		for _, n := range w.nodes {
			w.returns(n)
		}
	})
}

// replicationCut cuts DRBD's connection only. The promoted side stands until its handler has told the cluster.
func (w *world) replicationCut(d time.Duration) {
	for _, n := range w.nodes {
		if !n.drbdSaid {
			return
		}
	}
	for _, n := range w.nodes {
		n.drbdSaid, n.suspended = false, n.primary && w.s.Fencing
	}
	w.drbdChanged()
	w.after(w.between(time.Second, 15*time.Second), func() {
		for _, n := range w.nodes {
			n.suspended = false
		}
		w.drbdChanged()
	})
	w.after(d, func() { w.meet(w.nodes[0]) })
}

func (w *world) maintain(d time.Duration) {
	for _, n := range w.nodes {
		if b := n.cib; b != nil && !b.maintenance {
			w.edit(b, func() { b.maintenance = true })
			b.maintained = w.now
		}
	}
	w.after(d, func() {
		for _, n := range w.nodes {
			if b := n.cib; b != nil && b.maintenance {
				w.edit(b, func() { b.maintenance = false })
			}
		}
	})
}

// cleanup erases the history of operations, and with it what tells a standby of a promotion in place.
func (w *world) cleanup() {
	for _, r := range w.zone.records {
		r.usual = false
	}
	for _, n := range w.nodes {
		if b := n.cib; b != nil {
			w.edit(b, func() {
				for i := range b.n {
					b.n[i].call, b.n[i].failed = 0, time.Time{}
				}
			})
		}
	}
	for _, n := range w.nodes {
		if n.daemon == nil || w.now-n.since < time.Minute || w.now-n.upset < time.Minute {
			w.oracle.erased[n.i] = n.promotions
		}
	}
}

// forge sends alerts that nobody but an attacker would send.
func (w *world) forge(n *node) {
	for range 1 + w.rng.IntN(20) {
		p := n.daemon
		if p == nil {
			return
		}
		a := crm.Alert{
			Kind: pick(w.rng, crm.AlertResource, crm.AlertNode, crm.AlertFencing, "nonsense"),
			Task: pick(w.rng, "promote", "demote", "off"),
			Node: pick(w.rng, "pg-1", "pg-2", "pg-3"), Resource: primitive, Desc: pick(w.rng, "lost", "member", "ok"),
			Sequence: w.rng.IntN(1 << 30),
		}
		p.tell(w.between(0, 20*time.Second), func() { p.d.Alert(a) })
	}
}

func (z *zone) breaks(how string, percent int) { z.fault, z.percent = how, percent }

// standby puts a node into standby for a while; stopCluster ends the cluster's software on it for a while.
func (w *world) standby(n *node, d time.Duration) {
	set := func(is bool) {
		for _, x := range w.nodes {
			if b := x.cib; b != nil && b.n[n.i].standby != is {
				w.edit(b, func() { b.n[n.i].standby = is })
			}
		}
	}
	set(true)
	w.after(d, func() { set(false) })
}

func (w *world) stopCluster(n *node, d time.Duration) {
	b := n.cib
	if b == nil || !n.alive || n.frozen || n.stopped || !b.n[n.i].online {
		return
	}
	w.edit(b, func() { b.n[n.i].stopping = true })
	boot := n.boots
	w.after(d, func() { w.startCluster(n, boot) })
}

func (w *world) startCluster(n *node, boot int) {
	switch {
	case n.boots != boot || !n.alive:
	case !n.stopped: // it has not come to it, or is about to stop
		if n.cib != nil && n.cib.n[n.i].stopping {
			w.after(time.Second, func() { w.startCluster(n, boot) })
		}
	default:
		w.story(n, "Pacemaker starts")
		n.stopped = false
		w.rough(n)
		w.after(w.between(time.Second, 5*time.Second), func() { w.joins(n) })
	}
}

// failDisk takes the last volume's disk away for a while.
func (w *world) failDisk(n *node, d time.Duration) {
	if !n.up {
		return
	}
	n.badDisk = true
	w.drbdChanged()
	boot := n.boots
	w.after(d, func() {
		if n.boots == boot && n.badDisk {
			n.badDisk = false
			w.rough(n)
			w.drbdChanged()
			if n.cib != nil {
				w.plan(n.cib)
			}
		}
	})
}

// thirdNode makes the third DRBD node go or come.
func (w *world) thirdNode(down bool) {
	w.thirdDown = down
	for _, n := range w.nodes {
		w.third(n)
	}
}

// configure changes the configuration of both nodes.
func (w *world) configure(change func(*config.Config)) {
	for _, n := range w.nodes {
		n.configure(change)
	}
}

// edited is the record that an editor thinks of: the first node's.
func (w *world) edited() key { return w.nodes[0].key() }

// hidden makes crm_mon show no fencing history, or show it again.
func (w *world) hidden(is bool) {
	if is {
		w.noHistory = cmp.Or(w.noHistory, w.now)
	} else if w.noHistory != 0 {
		for _, n := range w.nodes {
			started := n.daemon == nil || n.daemon.born > w.noHistory
			if n.cib != nil && (started || n.other().joined > w.noHistory) { // what it sees only now may be from before that
				w.oracle.forgotten(n, n.cib.fences)
			}
		}
		w.noHistory = 0
	}
	for _, n := range w.nodes {
		if n.cib != nil {
			n.cib.cached = nil
		}
		w.rough(n)
	}
}

// history changes what the fencer of each node remembers.
func (w *world) history(events []crm.FenceEvent) {
	for _, n := range w.nodes {
		if n.cib != nil {
			if events == nil {
				w.oracle.forgotten(n, n.cib.fences)
			}
			w.edit(n.cib, func() { n.cib.fences = slices.Clone(events) })
		}
	}
	if events != nil {
		for _, n := range w.nodes {
			w.oracle.returned(n)
		}
	}
}

// story adds a line about a node, or about nothing in particular.
func (w *world) story(n *node, format string, args ...any) {
	if w.out == nil {
		return
	}
	name := ""
	if n != nil {
		name = n.name
	}
	fmt.Fprintf(w.out, "%+10.3fs  %-5s %s\n", w.now.Seconds(), name, fmt.Sprintf(format, args...))
}

// teller makes lines of the story from what an agent logs.
type teller struct {
	w *world
	n *node
}

func (t *teller) Enabled(context.Context, slog.Level) bool { return true }
func (t *teller) WithAttrs([]slog.Attr) slog.Handler       { return t }
func (t *teller) WithGroup(string) slog.Handler            { return t }

func (t *teller) Handle(_ context.Context, r slog.Record) error {
	if r.Level < slog.LevelInfo {
		return nil
	}
	var b strings.Builder
	r.Attrs(func(a slog.Attr) bool {
		fmt.Fprintf(&b, " %s=%v", a.Key, a.Value)
		return true
	})
	t.w.story(t.n, "  says: %s%s", r.Message, b.String())
	return nil
}
