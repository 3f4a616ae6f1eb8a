package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pgha/pgha-agent/agent/fsm"
	"github.com/pgha/pgha-agent/agent/status"
	"github.com/pgha/pgha-agent/cmd/internal/appload"
	"github.com/pgha/pgha-agent/cmd/internal/wait"
)

// scenarioRun is one part of a scenario on the running lab: a writer outside of the cluster that writes through the name
// all the time, the lab's own look at DRBD's roles, and the agents' metrics.
type scenarioRun struct {
	*lab
	out    string // directory for what was recorded
	start  time.Time
	writer *appload.Writer
	watch  *appload.Watcher
	stop   func() // the writer and the onlookers

	mu     sync.Mutex
	failed []string
	story  []moment
}

// moment is one line of the story.
type moment struct {
	at   time.Time
	who  string
	what string
}

// newScenarioRun starts the onlookers and waits until the writer writes and both agents have been scraped.
func newScenarioRun(ctx context.Context, l *lab, out string) (*scenarioRun, error) {
	if err := os.MkdirAll(out, 0o755); err != nil {
		return nil, err
	}
	r := &scenarioRun{lab: l, out: out, start: time.Now()}
	look, end := context.WithCancel(ctx)
	var wg sync.WaitGroup
	r.stop = func() { end(); wg.Wait() }
	targets := map[string]string{}
	for _, n := range l.nodes {
		f, err := os.Create(filepath.Join(out, n.name+"-events2.log"))
		if err != nil {
			r.stop()
			return nil, err
		}
		n.history.reset()
		n.history.file = f
		wg.Go(func() { n.history.follow(look, n.shell); _ = f.Close() })
		targets[n.name] = "http://" + n.addr.String() + ":9668/metrics"
	}
	r.watch = appload.Watch(look, targets, 2*time.Second, watched...) // what a scrape costs is a tenth of a second here
	wg.Go(r.watch.Wait)
	wg.Go(func() { keepScrapes(look, filepath.Join(out, "scrapes"), targets, scrapeEvery) })
	var err error
	if r.writer, err = newWriter("writer", resolverAddr.String()+":53"); err == nil {
		err = retry(ctx, 30*time.Second, func() error { return r.writer.Prepare(ctx) })
	}
	if err != nil {
		r.stop()
		return nil, fmt.Errorf("start the writer: %w", err)
	}
	wg.Go(func() { r.writer.Run(look) })
	if l.record {
		if err := r.startRecording(ctx); err != nil {
			r.stop()
			return nil, err
		}
	}
	if err := r.await(ctx, time.Minute, "the writer writes and the lab sees the roles", func() bool {
		for _, n := range r.nodes {
			if _, ok := r.watch.Value(n.name, "pgha_dns_epoch", nil); !ok {
				return false
			}
		}
		return r.writer.Acked() >= 20 && r.promoted() != nil
	}); err != nil {
		r.stop()
		return nil, err
	}
	return r, nil
}

// watched are the series of the agents that the lab keeps.
var watched = []string{
	"pgha_publication", "pgha_dns_epoch", "pgha_client_up", "pgha_drbd_sync_done_ratio", "pgha_drbd_sync_eta_seconds",
	"pgha_drbd_split_brain", "pgha_drbd_suspended",
	"pgha_drbd_disk", "pgha_publication_held", "pgha_journal_failures_total", "pgha_episodes_total", "pgha_postgres_state",
	"pgha_drbd_connection", "pgha_fence_constraint_age_seconds", "pgha_fence_events", "pgha_cluster_node",
	"pgha_cluster_resource_failcount",
	stallsSeries,
}

// stallsSeries counts how often an agent found that it had stalled. A machine that is emulated on a busy host does:
// with a smaller bound for it more failovers would be held back.
const stallsSeries = "pgha_stalls_total"

// stalls is how often the agents noticed a stall of their own, and when. What a machine noticed just before it lost its
// power is not known.
func (r *scenarioRun) stalls() (count int, moments []moment) {
	for _, n := range r.nodes {
		for _, g := range r.watch.Growths(n.name, stallsSeries, nil) {
			count += int(g.By)
			moments = append(moments, moment{g.To, n.name, fmt.Sprintf("noticed a stall (%gx)", g.By)})
		}
	}
	return count, moments
}

// newWriter makes the run's writer, which asks that resolver at each new connection.
func newWriter(name, resolver string) (*appload.Writer, error) {
	return appload.New(writerConfig(name, recordName, resolver, 3))
}

// writerConfig is what all of the lab's writers have in common: an emulated machine takes its time to log somebody in.
func writerConfig(name, host, resolver string, connections int) appload.Config {
	return appload.Config{
		Host: host, Port: 5432, User: "app", Database: "app", Password: "lab", Resolver: resolver, Name: name,
		Connections: connections,
		Pause:       150 * time.Millisecond, Retry: 200 * time.Millisecond,
		Timeout: 4 * time.Second, Connect: 2 * time.Second,
	}
}

func retry(ctx context.Context, limit time.Duration, f func() error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		err := f()
		if err == nil {
			return nil
		}
		if wait.For(ctx, 500*time.Millisecond) != nil {
			return err
		}
	}
}

// say adds a line to the story.
func (r *scenarioRun) say(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	m := moment{time.Now(), "lab", fmt.Sprintf(format, args...)}
	r.story = append(r.story, m)
	fmt.Printf("  %6.1fs  %s\n", m.at.Sub(r.start).Seconds(), m.what)
}

// expect notes a failure; the run goes on, to learn more.
func (r *scenarioRun) expect(ok bool, format string, args ...any) bool {
	if !ok {
		r.say("FAILED: "+format, args...)
		r.mu.Lock()
		r.failed = append(r.failed, fmt.Sprintf(format, args...))
		r.mu.Unlock()
	}
	return ok
}

// await waits for something; its error names it.
func (r *scenarioRun) await(ctx context.Context, limit time.Duration, what string, cond func() bool) error {
	end := time.Now().Add(limit)
	for !cond() {
		if time.Now().After(end) {
			return fmt.Errorf("not within %s: %s", limit, what)
		}
		if err := wait.For(ctx, 100*time.Millisecond); err != nil {
			return err
		}
	}
	r.say("%s", what)
	return nil
}

// promoted is the node that is Primary by the lab's own look; nil if none or both are.
func (r *scenarioRun) promoted() (p *node) {
	for _, n := range r.nodes {
		if n.history.at(time.Now()) == "Primary" {
			if p != nil {
				return nil
			}
			p = n
		}
	}
	return p
}

// roles gives the promoted node and the other one.
func (r *scenarioRun) roles() (p, s *node, err error) {
	if p = r.promoted(); p == nil {
		return nil, nil, errors.New("no node, or both, are Primary")
	}
	return p, r.other(p), nil
}

// cut pulls a machine's plug.
func (r *scenarioRun) cut(n *node) error {
	err := n.PowerOff()
	n.history.off(time.Now())
	n.drop()
	r.say("%s: power cut", n.name)
	return err
}

// status is what the agent of a node says.
func (r *scenarioRun) status(ctx context.Context, n *node) (*status.Doc, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	var d status.Doc
	body, err := fetch(ctx, http.DefaultClient, "http://"+n.addr.String()+":9668/status")
	if err == nil {
		err = json.Unmarshal(body, &d)
	}
	if err != nil {
		return nil, fmt.Errorf("ask the agent of %s: %w", n.name, err)
	}
	return &d, nil
}

// value is the newest value of a series of a node's agent; 0 if it is not there.
func (r *scenarioRun) value(n *node, series string, labels ...string) float64 {
	m := map[string]string{}
	for i := 0; i+1 < len(labels); i += 2 {
		m[labels[i]] = labels[i+1]
	}
	v, _ := r.watch.Value(n.name, series, m)
	return v
}

// moves waits until n is Primary, the record names it, and the writer writes to it.
func (r *scenarioRun) moves(ctx context.Context, n *node, limit time.Duration) error {
	end := time.Now().Add(limit)
	for _, w := range []struct {
		what string
		cond func() bool
	}{
		{n.name + " is Primary", func() bool { return r.promoted() == n }},
		{"the record names " + n.name, func() bool { return r.aws.record() == n.addr.String() }},
		{"the writer writes to " + n.name, func() bool { return r.writesTo(n) }},
	} {
		if err := r.await(ctx, max(time.Until(end), time.Second), w.what, w.cond); err != nil {
			return err
		}
	}
	return nil
}

func (r *scenarioRun) writesTo(n *node) bool {
	_, at, server := r.writer.Last()
	return strings.HasPrefix(server, n.addr.String()+":") && time.Since(at) < 2*time.Second
}

// bound is how long after DRBD's promotion Route 53 has the record, at most, on these slow machines.
const bound = 6 * time.Second

const anyNumber = -1

// terms are what may differ in a part of a scenario from what holds in all of them.
type terms struct {
	publications int           // how many are accepted in all, or anyNumber
	bound        time.Duration // from promotion to accepted; 0 means the lab's
	twoWriters   bool          // fencing lied: two nodes may believe in themselves for a while
	outcome      string        // of the promoted node's last episode; "" means complete, "any" is not looked at
}

// finish checks what has to hold after each part: nothing acknowledged is lost, there never were two writers, and the
// record names the promoted node, written once for each promotion by the node that had it.
func (r *scenarioRun) finish(ctx context.Context, want terms) error {
	p, _, err := r.roles()
	if err != nil {
		return err
	}
	if err := r.await(ctx, time.Minute, "the writer writes to "+p.name, func() bool { return r.writesTo(p) }); err != nil {
		r.expect(false, "%v", err)
	}
	if want.outcome == "" {
		want.outcome = "complete"
	}
	if want.outcome != "any" {
		var d *status.Doc
		err := r.await(ctx, time.Minute, "the agent's episode is "+want.outcome, func() bool {
			d, _ = r.status(ctx, p)
			return d != nil && d.Episode != nil && d.Episode.Outcome == want.outcome
		})
		r.expect(err == nil, "%v: %s", err, asJSON(d))
		if d != nil && d.Episode != nil {
			r.expect(inOrder(d.Episode.Phases), "the phases are in order: %s", asJSON(d.Episode.Phases))
		}
	}
	r.expect(r.aws.record() == p.addr.String(), "the record is %s, promoted is %s (%s)", r.aws.record(), p.name, p.addr)
	list := r.aws.publications()
	r.expect(want.publications == anyNumber || len(list) == want.publications,
		"%d publications were accepted, expected %d: %v", len(list), want.publications, list)
	for _, pub := range list {
		i := slices.IndexFunc(r.nodes, func(n *node) bool { return n.name == pub.by })
		if !r.expect(i >= 0 && r.nodes[i].addr.String() == pub.addr, "a publication of %s by %q", pub.addr, pub.by) {
			continue
		}
		n := r.nodes[i]
		r.expect(n.history.at(pub.at) == "Primary", "%s published while its role was %q", n.name, n.history.at(pub.at))
	}
	since := p.history.promotedAt()
	// What follows in the same promotion is the repair of an edited record.
	first := slices.IndexFunc(list, func(pub publication) bool { return !pub.at.Before(since) })
	if len(list) > 0 && !since.IsZero() && r.expect(first >= 0, "nothing was published since the last promotion: %v",
		list) {
		limit := cmp.Or(want.bound, bound)
		due := since.Add(limit)
		if delayed := r.lastStall(p, list[first].at).Add(fsm.PostStallDelay + limit); delayed.After(due) {
			due = delayed
			r.say("%s's agent stalled: this host is too busy for its machines; nothing is written for %s then", p.name,
				fsm.PostStallDelay)
		}
		after := list[first].at.Sub(since).Round(10 * time.Millisecond)
		r.say("accepted %s after DRBD's promotion", after)
		r.expect(!list[first].at.After(due), "the record was accepted %s after the promotion, due was %s", after,
			due.Sub(since).Round(10*time.Millisecond))
	}
	if !want.twoWriters {
		for _, two := range r.watch.TwoWriters() {
			r.expect(!two.Proven, "two writers from %s to %s", two.From.Format(clockFormat), two.To.Format(clockFormat))
		}
	}
	r.stop()
	ledger, err := r.writer.Verify(ctx, p.addr.String())
	if err != nil {
		return err
	}
	r.say("%d commits acknowledged, %d stored, %d lost; longest outage %.1fs", ledger.Acked, ledger.Stored,
		len(ledger.Lost), r.outage().Seconds())
	r.expect(len(ledger.Lost) == 0, "acknowledged commits are lost: %v", ledger.Lost)
	return nil
}

// lastStall is when a node's agent noticed the last stall of its own before that moment, at the latest; zero when
// it did not. It owes nobody a write for PostStallDelay then, and on a host that is busy with something else that is
// what an emulated machine does.
func (r *scenarioRun) lastStall(n *node, before time.Time) (last time.Time) {
	for _, g := range r.watch.Growths(n.name, stallsSeries, nil) {
		if g.From.Before(before) {
			last = g.To
		}
	}
	return last
}

// outage is the writer's longest.
func (r *scenarioRun) outage() time.Duration { return longestOutage(r.writer) }

func longestOutage(w *appload.Writer) (longest time.Duration) {
	now := time.Now()
	for _, o := range w.Outages(now, 0) {
		longest = max(longest, o.Length(now))
	}
	return longest
}

const clockFormat = "15:04:05.000"

// inOrder is whether the phases that cannot come before others did not.
func inOrder(phases []status.PhaseDoc) bool {
	order := []string{"fenced", "promoted", "dns_accepted", "dns_insync"}
	last := -1
	for _, p := range phases {
		if i := slices.Index(order, p.Phase); i >= 0 {
			if i < last {
				return false
			}
			last = i
		}
	}
	return true
}

func asJSON(v any) string {
	b, _ := json.Marshal(v)
	return string(b)
}

// write leaves the story and what the machines say behind.
func (r *scenarioRun) write(ctx context.Context) {
	story := slices.Clone(r.story)
	_, stalls := r.stalls()
	story = append(story, stalls...)
	for _, n := range r.nodes {
		for _, change := range n.history.all() {
			story = append(story, moment{change.at, n.name, "role " + cmp.Or(change.role, "gone")})
		}
	}
	for _, c := range r.aws.zone.Calls() {
		what := fmt.Sprintf("%s %d %s", c.Op, c.Status, c.Code)
		if c.Applied {
			what += " applied: " + strings.Join(c.Values(recordName, "A"), " ")
		}
		story = append(story, moment{c.At, "route53", what + " from " + c.From})
	}
	for _, c := range r.aws.ec2.Calls() {
		if c.Action != "DescribeInstances" {
			story = append(story, moment{c.At, "ec2", fmt.Sprintf("%s %s %s from %s", c.Action, strings.Join(c.Instances, " "),
				c.Code, c.From)})
		}
	}
	for _, o := range r.writer.Outages(time.Now(), time.Second) {
		story = append(story, moment{o.From, "writer", "last commit on " + o.LastServer})
		if !o.To.IsZero() {
			story = append(story, moment{o.To, "writer", fmt.Sprintf("writes again on %s after %.1fs", o.NextServer,
				o.To.Sub(o.From).Seconds())})
		}
	}
	slices.SortStableFunc(story, func(a, b moment) int { return a.at.Compare(b.at) })
	var b strings.Builder
	for _, m := range story {
		fmt.Fprintf(&b, "%s %+8.2f %-8s %s\n", m.at.Format(clockFormat), m.at.Sub(r.start).Seconds(), m.who, m.what)
	}
	_ = os.WriteFile(filepath.Join(r.out, "story.txt"), []byte(b.String()), 0o644)
	if f, err := os.Create(filepath.Join(r.out, "metrics.txt")); err == nil {
		_ = r.watch.Dump(f)
		_ = f.Close()
	}
	if r.record {
		if err := r.fetchRecords(ctx); err != nil {
			r.say("%v", err)
		}
	}
	_ = r.both(func(n *node) error {
		if !n.Running() {
			return nil
		}
		ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
		defer cancel()
		for name, script := range map[string]string{
			"agent.log": "journalctl -u pgha-agent -o short-precise --no-pager -n 3000",
			"pacemaker.log": "journalctl _SYSTEMD_UNIT=pacemaker.service + _SYSTEMD_UNIT=corosync.service + " +
				"_TRANSPORT=kernel -o short-precise --no-pager -n 3000",
			"status.json": "pgha-agent status --json",
			"history.txt": "pgha-agent history",
			"crm_mon.xml": "crm_mon --output-as=xml",
		} {
			if out, err := n.run(ctx, script); err == nil || out != "" {
				_ = os.WriteFile(filepath.Join(r.out, n.name+"-"+name), []byte(out+"\n"), 0o644)
			}
		}
		return nil
	})
}
