package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pgha/pgha-agent/agent/status"
	"github.com/pgha/pgha-agent/cmd/internal/appload"
	"github.com/pgha/pgha-agent/cmd/internal/wait"
	"github.com/pgha/pgha-agent/route53/route53test"
)

// The modes of the comparison: the same cluster and the same power cut, with the record moved in another way.
const (
	modeShell    = "shell"    // ocf:heartbeat:aws-vpc-route53, last in the database's group
	modePromoted = "promoted" // the agent, publish_on = "promoted"
	modeWritable = "writable" // the agent, publish_on = "writable"
	modeFound    = "found"    // as promoted, with the fence-peer handler as the distribution ships it
	modeUpgraded = "upgraded" // as promoted, with the handler of LAB_HANDLER
)

var benchModes = []string{modeShell, modePromoted, modeWritable}

// view is a population of clients: how long after the acceptance their resolver's authoritative server has a change,
// and for how long the resolver keeps an answer. All of them look at the same failover.
type view struct {
	Delay time.Duration `json:"delay"`
	TTL   time.Duration `json:"ttl"`
}

func benchViews() (views []view) {
	for _, ttl := range []time.Duration{5, 30} {
		for _, delay := range []time.Duration{0, 10, 30} {
			views = append(views, view{delay * time.Second, ttl * time.Second})
		}
	}
	return views
}

func (v view) String() string {
	return fmt.Sprintf("delay %.0f s, TTL %.0f s", v.Delay.Seconds(), v.TTL.Seconds())
}

// benchRun is what one run measured. Times are seconds since the power cut, by the host's clock.
type benchRun struct {
	Mode     string            `json:"mode"`
	At       time.Time         `json:"at"`
	DRBD     string            `json:"drbd"`
	Promoted float64           `json:"promoted"`
	Accepted float64           `json:"accepted"`
	Writable float64           `json:"writable"` // first commit over a direct connection, without the name
	Started  float64           `json:"started"`  // the DNS resource's start had ended; shell only
	CPU      float64           `json:"cpu"`      // seconds of the survivor's processor, of the agent or the aws commands
	Calls    int               `json:"calls"`    // of the Route 53 API
	Views    []benchView       `json:"views"`
	Phases   []status.PhaseDoc `json:"phases,omitempty"` // of the agent's episode; after_seconds since the power cut
}

type benchView struct {
	view
	Observed float64 `json:"observed"` // the resolver answers the new address
	Outage   float64 `json:"outage"`   // what its clients saw: last commit to first commit
}

// runBench does the runs that are missing from the file, one after the other.
func runBench(ctx context.Context, l *lab, runs int, modes []string, file string) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	for i := range runs {
		// In turns, so that whatever else the machine does meets all of them.
		for _, mode := range modes {
			done, err := readRuns(file)
			if err != nil {
				return err
			}
			if n := countMode(done, mode); n > i {
				continue
			}
			fmt.Printf("bench %s, run %d of %d\n", mode, i+1, runs)
			var r *benchRun
			for attempt := 1; ; attempt++ {
				if r, err = benchOnce(ctx, l, mode); err == nil || ctx.Err() != nil || attempt == 3 {
					break
				}
				fmt.Printf("  failed, once more: %v\n", err)
			}
			if err != nil {
				return fmt.Errorf("bench %s: %w", mode, err)
			}
			f, err := os.OpenFile(file, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
			if err != nil {
				return err
			}
			err = json.NewEncoder(f).Encode(r)
			if cerr := f.Close(); err == nil {
				err = cerr
			}
			if err != nil {
				return err
			}
			fmt.Printf("  promoted %.1fs, accepted %.1fs, writable %.1fs, %d calls, outages", r.Promoted, r.Accepted, r.Writable,
				r.Calls)
			for _, v := range r.Views {
				fmt.Printf(" %.1fs (%s)", v.Outage, v.view)
			}
			fmt.Println()
		}
	}
	return nil
}

func countMode(runs []benchRun, mode string) (n int) {
	for _, r := range runs {
		if r.Mode == mode {
			n++
		}
	}
	return n
}

func readRuns(file string) (runs []benchRun, err error) {
	f, err := os.Open(file)
	if os.IsNotExist(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	for d := json.NewDecoder(f); d.More(); {
		var r benchRun
		if err := d.Decode(&r); err != nil {
			return nil, fmt.Errorf("read %s: %w", file, err)
		}
		runs = append(runs, r)
	}
	return runs, nil
}

// awsTimed stands between the resource agent and the aws command: it leads to the lab's Route 53, and notes the
// processor time.
const awsTimed = `#!/bin/bash
export AWS_ENDPOINT_URL=http://10.0.0.2:8053 AWS_DEFAULT_REGION=us-east-1 AWS_DEFAULT_OUTPUT=text
/usr/bin/aws "$@"
rc=$?
times >>/run/aws-times
exit $rc
`

// prepareMode brings the cluster up with the record moved in that way.
func (l *lab) prepareMode(ctx context.Context, mode string) error {
	if mode == modeShell {
		return l.ready(ctx, shellLayer)
	}
	if err := l.ready(ctx, agentLayer); err != nil {
		return err
	}
	switch mode {
	case modeFound:
		return l.useHandler(ctx, nil)
	case modeUpgraded:
		if l.handler == nil {
			return errors.New("mode upgraded needs --handler or LAB_HANDLER")
		}
		return l.useHandler(ctx, l.handler)
	case modeWritable:
		return l.both(func(n *node) error {
			_, err := n.run(ctx,
				`printf 'publish_on = "writable"\n' >>/etc/pgha-agent/config.toml && systemctl restart pgha-agent && sync`)
			if err != nil {
				return err
			}
			return n.until(ctx, time.Minute, `pgha-agent status --json | jq -e .ready`)
		})
	}
	return nil
}

// installShell adds the DNS resource to the database's group and waits until it has published.
func (l *lab) installShell(ctx context.Context) error {
	if err := l.both(func(n *node) error {
		return n.put(ctx, "/usr/local/bin/aws-timed", "755", []byte(awsTimed))
	}); err != nil {
		return err
	}
	n := l.node(first)
	group := append(append([]byte(`<group id="g_pg">`), dnsResourceXML...), `</group>`...)
	if err := n.put(ctx, "/root/dns.xml", "600", group); err != nil {
		return err
	}
	if _, err := n.run(ctx, "cibadmin --modify --allow-create -o resources --xml-file /root/dns.xml"); err != nil {
		return err
	}
	if err := n.until(ctx, 5*time.Minute, `crm_resource -r dns -W -Q | grep -qx `+first); err != nil {
		return err
	}
	return n.until(ctx, 2*time.Minute, clusterQuiet)
}

// benchOnce measures one failover.
func benchOnce(ctx context.Context, l *lab, mode string) (*benchRun, error) {
	if err := l.prepareMode(ctx, mode); err != nil {
		return nil, err
	}
	// Route 53 as a whole is as slow as its slowest server; the machines' own resolver is not.
	l.aws.zone.SetDelays(30*time.Second, -1)
	run, end := context.WithCancel(ctx)
	var wg sync.WaitGroup
	stop := func() { end(); wg.Wait() }
	defer stop()
	for _, n := range l.nodes {
		n.history.reset()
		wg.Go(func() { n.history.follow(run, n.shell) })
	}
	views := benchViews()
	resolvers := make([]*route53test.DNS, len(views))
	writers := make([]*appload.Writer, len(views))
	for i, v := range views {
		delay := v.Delay
		if delay == 0 {
			delay = -1 // at once
		}
		addr := fmt.Sprintf("%s:%d", resolverAddr, 5300+i)
		var err error
		if resolvers[i], err = l.aws.zone.DNS(route53test.DNSOptions{Addr: addr, CacheTTL: true, Delay: delay,
			TTL: v.TTL}); err != nil {
			return nil, err
		}
		defer resolvers[i].Close()
		if writers[i], err = newBenchWriter(fmt.Sprintf("clients%d", i), recordName, addr, nil); err != nil {
			return nil, err
		}
	}
	survivor := l.other(l.node(first))
	opened := &firstCommit{}
	direct, err := newBenchWriter("direct", survivor.addr.String(), "", opened)
	if err != nil {
		return nil, err
	}
	if err := retry(ctx, time.Minute, func() error { return writers[0].Prepare(ctx) }); err != nil {
		return nil, err
	}
	for _, w := range writers {
		wg.Go(func() { w.Run(run) })
	}
	awaitAll := func(limit time.Duration, cond func(*appload.Writer) bool) error {
		end := time.Now().Add(limit)
		for _, w := range writers {
			for !cond(w) {
				if time.Now().After(end) {
					return fmt.Errorf("not all clients write within %s", limit)
				}
				if err := wait.For(ctx, 100*time.Millisecond); err != nil {
					return err
				}
			}
		}
		return nil
	}
	if err := awaitAll(time.Minute, func(w *appload.Writer) bool { return w.Acked() >= 20 }); err != nil {
		return nil, err
	}
	// As much to recover in each run, however old the last checkpoint in the frozen machines is.
	if _, err := l.node(first).run(ctx, `cd / && runuser -u postgres -- psql -qXc CHECKPOINT`); err != nil {
		return nil, err
	}
	// The machines come to rest after they were thawed.
	if err := wait.For(ctx, 10*time.Second); err != nil {
		return nil, err
	}

	before := len(l.aws.zone.Calls())
	cpu, err := l.dnsCPU(ctx, survivor, mode)
	if err != nil {
		return nil, err
	}
	p := l.node(first)
	r := &benchRun{Mode: mode, At: time.Now().UTC(), DRBD: map[bool]string{false: "8.4", true: "9"}[l.drbd9]}
	cut := time.Now()
	if err := p.PowerOff(); err != nil {
		return nil, err
	}
	p.history.off(cut)
	p.drop()
	wg.Go(func() { direct.Run(run) })
	var mu sync.Mutex
	observed := make([]float64, len(views))
	for i, d := range resolvers {
		wg.Go(func() {
			at := awaitAnswer(run, d.Addr(), survivor.addr.String())
			mu.Lock()
			defer mu.Unlock()
			observed[i] = at.Sub(cut).Seconds()
		})
	}
	onSurvivor := func(w *appload.Writer) bool {
		_, at, server := w.Last()
		return at.After(cut) && strings.HasPrefix(server, survivor.addr.String())
	}
	if err := awaitAll(6*time.Minute, onSurvivor); err != nil {
		return nil, err
	}
	// The rest of the publication's calls: what follows the change until it is in sync.
	if mode == modeShell {
		if err := survivor.until(ctx, 5*time.Minute,
			"crm_resource -r dns -W -Q | grep -qx "+survivor.name+" && crm_resource --wait --timeout 120"); err != nil {
			return nil, err
		}
		r.Started = time.Since(cut).Seconds()
	} else if err := wait.For(ctx, 5*time.Second); err != nil {
		return nil, err
	}
	r.Calls = len(l.aws.zone.Calls()) - before
	after, err := l.dnsCPU(ctx, survivor, mode)
	if err != nil {
		return nil, err
	}
	r.CPU = after - cpu
	pubs := l.aws.publications()
	if len(pubs) == 0 || pubs[len(pubs)-1].addr != survivor.addr.String() {
		return nil, fmt.Errorf("the record was not moved: %v", pubs)
	}
	r.Accepted = pubs[len(pubs)-1].at.Sub(cut).Seconds()
	r.Promoted = survivor.history.primarySince().Sub(cut).Seconds()
	r.Writable = opened.at().Sub(cut).Seconds()
	if mode != modeShell {
		var d status.Doc
		out, err := survivor.run(ctx, "pgha-agent status --json")
		if out == "" {
			return nil, err
		}
		if err := json.Unmarshal([]byte(out), &d); err != nil {
			return nil, err
		}
		ahead, err := survivor.ahead(ctx)
		if err != nil {
			return nil, err
		}
		if d.Episode != nil {
			r.Phases = d.Episode.Phases
			for i := range r.Phases {
				r.Phases[i].After = r.Phases[i].At.Add(-ahead).Sub(cut).Seconds()
			}
		}
	}
	stop()
	for i, v := range views {
		r.Views = append(r.Views, benchView{v, observed[i], longestOutage(writers[i]).Seconds()})
	}
	return r, nil
}

// newBenchWriter makes the clients of one resolver: few, since all of them share one emulated server.
func newBenchWriter(name, host, resolver string, log io.Writer) (*appload.Writer, error) {
	cfg := writerConfig(name, host, resolver, 2)
	cfg.Log = log
	return appload.New(cfg)
}

// firstCommit is a writer's log that keeps only when it began.
type firstCommit struct {
	mu    sync.Mutex
	first time.Time
}

func (f *firstCommit) Write(b []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.first.IsZero() {
		f.first = time.Now()
	}
	return len(b), nil
}

func (f *firstCommit) at() time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.first
}

// dnsCPU is the processor time that moving records has taken on a node until now, in seconds.
func (l *lab) dnsCPU(ctx context.Context, n *node, mode string) (float64, error) {
	script := `systemctl show -p CPUUsageNSec --value pgha-agent | awk '{ print $1 / 1e9 }'`
	if mode == modeShell {
		// Every second line is the children's: "0m1.234s 0m0.123s".
		script =
			`[ -e /run/aws-times ] || : >/run/aws-times; awk 'NR % 2 == 0 { gsub(/s/, ""); for (i = 1; i <= 2; i++) { split($i, f, "m"); t += 60 * f[1] + f[2] } } END { print t + 0 }' /run/aws-times`
	}
	out, err := n.run(ctx, script)
	if err != nil {
		return 0, err
	}
	var v float64
	if _, err := fmt.Sscan(out, &v); err != nil {
		return 0, fmt.Errorf("read the processor time of %s: %q", n.name, out)
	}
	return v, nil
}

// awaitAnswer is when the resolver first answers that address.
func awaitAnswer(ctx context.Context, resolver, addr string) time.Time {
	r := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, resolver)
	}}
	for {
		list, _ := r.LookupHost(ctx, recordName+".")
		if slices.Contains(list, addr) {
			return time.Now()
		}
		if wait.For(ctx, 100*time.Millisecond) != nil {
			return time.Now()
		}
	}
}
