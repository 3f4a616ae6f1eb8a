package main

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/pgha/pgha-agent/agent/status"
	"github.com/pgha/pgha-agent/cmd/internal/appload"
	"github.com/pgha/pgha-agent/cmd/internal/wait"
	"github.com/pgha/pgha-agent/route53/route53test"
)

const (
	zoneID     = "Z0PGHADEMO"
	recordName = "db.pgha.internal"
	recordTTL  = 5 // seconds
	dnsDelay   = 2 * time.Second
	modulePath = "github.com/pgha/pgha-agent"

	staticBuild = "CGO_ENABLED=0" // starts faster
)

// demo is everything that runs.
type demo struct {
	ui             *ui
	once, keep     bool
	agentPath      string
	port, httpPort int

	dir     string
	spawn   *spawner
	db      *database
	zone    *route53test.Server
	dns     *route53test.DNS
	cluster *cluster
	nodes   [2]*machine
	client  *appload.Writer
	stop    context.CancelFunc // ends what runs in the background
	bg      sync.WaitGroup
	told    bool // the story is over
	cut     time.Time
	writes  int // accepted changes of the record when the power was cut
}

// story runs the demo from the start to its last line.
func (d *demo) story(ctx context.Context) error {
	ctx, d.stop = context.WithCancel(ctx)
	for _, chapter := range []func(context.Context) error{d.prepare, d.begin, d.failover, d.report, d.comeBack} {
		if err := chapter(ctx); err != nil {
			return err
		}
	}
	d.told = true
	if d.once {
		return nil
	}
	d.invite()
	<-ctx.Done()
	return nil
}

// inBackground runs f, and ends the demo in order if f panics.
func (d *demo) inBackground(f func()) {
	d.bg.Go(func() {
		defer func() {
			if p := recover(); p != nil {
				d.ui.check(false, "panic: %v\n%s", p, debug.Stack())
				d.stop()
			}
		}()
		f()
	})
}

// begin starts the cluster, the agents and the client.
func (d *demo) begin(ctx context.Context) error {
	d.ui.title("A healthy cluster")
	if err := d.db.start(d.nodes[0]); err != nil {
		return err
	}
	if _, err := d.db.query(ctx, "CREATE ROLE pgha LOGIN; GRANT pg_monitor TO pgha; CREATE ROLE app LOGIN"); err != nil {
		return fmt.Errorf("create roles: %w", err)
	}
	if _, err := d.db.query(ctx, "CREATE DATABASE app OWNER app"); err != nil {
		return fmt.Errorf("create database: %w", err)
	}
	d.ui.step("PostgreSQL runs on %s:%d", d.nodes[0].addr, d.port)
	for _, m := range d.nodes {
		if err := m.boot(d.cluster); err != nil {
			return err
		}
	}
	// The standby comes first, as docs/install.md has it: it is a client of the name from then on. After the first claim
	// it would wait a minute, until all name servers must know the name.
	for _, m := range []*machine{d.nodes[1], d.nodes[0]} {
		if err := d.start(ctx, m); err != nil {
			return err
		}
	}
	err := d.until(ctx, 30*time.Second, "the record names "+d.nodes[0].name, func() (bool, error) {
		st, err := d.nodes[0].status(ctx)
		return err == nil && st.Record.Owner == d.nodes[0].name && st.Record.Addr == d.nodes[0].addr &&
			(st.Episode == nil || st.Episode.Outcome != "open"), err
	})
	if err != nil {
		return err
	}
	err = d.until(ctx, 30*time.Second, "the agent of "+d.nodes[1].name+" has read the claim", func() (bool, error) {
		st, err := d.nodes[1].status(ctx)
		return err == nil && st.Record.Owner == d.nodes[0].name, err
	})
	if err != nil {
		return err
	}
	d.ui.step("both agents are ready; %s names %s, claimed by %s", recordName, d.nodes[0].addr, d.nodes[0].name)

	wrote := func(kib uint64) {
		d.cluster.mu.Lock()
		i := 0
		if d.cluster.drbd[1].role == "Primary" {
			i = 1
		}
		d.cluster.mu.Unlock()
		d.cluster.wrote(i, kib)
	}
	if d.client, err = newClient(recordName, d.port, d.dns.Addr(), wrote); err != nil {
		return err
	}
	if err := d.client.Prepare(ctx); err != nil {
		return err
	}
	d.inBackground(func() { d.client.Run(ctx) })
	for end := time.Now().Add(3 * time.Second); time.Now().Before(end); {
		d.ui.wait("the client writes through %s: %d rows", recordName, d.client.Acked())
		if err := wait.For(ctx, 100*time.Millisecond); err != nil {
			return err
		}
	}
	acked := d.client.Acked()
	failed, err := d.client.Failed()
	d.ui.step("the client wrote %d rows over several connections in 3 s", acked)
	if failed > 0 || acked == 0 {
		return errors.Join(fmt.Errorf("the client could not write before anything was broken: %d rows, %d errors", acked,
			failed), err)
	}
	return nil
}

// start starts an agent and waits until it is ready.
func (d *demo) start(ctx context.Context, m *machine) error {
	if err := m.startAgent(); err != nil {
		return err
	}
	d.ui.step("agent of %s: process %d, http://%s", m.name, m.daemon.cmd.Process.Pid, m.http)
	return d.ready(ctx, m)
}

// ready waits until an agent says so itself.
func (d *demo) ready(ctx context.Context, m *machine) error {
	why := ""
	return d.until(ctx, 30*time.Second, "agent of "+m.name+" is ready", func() (bool, error) {
		if m.daemon.exited() {
			return false, fmt.Errorf("agent of %s ended: %w", m.name, errors.Join(errFatal, m.daemon.err))
		}
		st, err := m.status(ctx)
		if err != nil {
			return false, err
		}
		if why = strings.Join(st.Unready, ", "); why != "" {
			err = errors.New(why)
		}
		return st.Ready, err
	})
}

var errFatal = errors.New("no use in waiting")

// until asks again and again whether something holds.
func (d *demo) until(ctx context.Context, limit time.Duration, what string, holds func() (bool, error)) error {
	start := time.Now()
	for {
		ok, err := holds()
		switch {
		case ok:
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, errFatal):
			return err
		case time.Since(start) > limit:
			if err == nil {
				err = errors.New("not so")
			}
			return fmt.Errorf("waited %v in vain until %s: %w", limit, what, err)
		}
		d.ui.wait("waiting until %s", what)
		if err := wait.For(ctx, 100*time.Millisecond); err != nil {
			return err
		}
	}
}

// failover cuts the power of the first node and watches the other's agent.
func (d *demo) failover(ctx context.Context) error {
	alive := d.nodes[1]
	before, err := alive.status(ctx)
	if err != nil {
		return err
	}
	d.writes = len(d.accepted())
	d.ui.title("Power cut of " + d.nodes[0].name + ": agent, PostgreSQL and cluster end at once")
	d.cut = time.Now()
	if err := d.db.server.Kill(); err != nil {
		return err
	}
	d.nodes[0].cutPower()

	moved := make(chan error, 1)
	d.inBackground(func() { moved <- d.cluster.powerCut(ctx, 0) })
	shown, decided := map[string]bool{}, decidedBy(d.cluster.fig)
	for {
		if err := wait.For(ctx, 50*time.Millisecond); err != nil {
			return err
		}
		select {
		case err := <-moved:
			if err != nil {
				return err
			}
			moved = nil
		default:
		}
		d.ui.wait("T+%.1fs", time.Since(d.cut).Seconds())
		st, err := alive.status(ctx)
		switch {
		case alive.daemon.exited():
			return fmt.Errorf("the surviving agent ended: %w", errors.Join(errFatal, alive.daemon.err))
		case time.Since(d.cut) > time.Minute:
			return fmt.Errorf("not over after a minute: %s", holdsOf(st))
		case err != nil || st.Episode == nil || before.Episode != nil && st.Episode.ID == before.Episode.ID:
			continue
		}
		for _, p := range st.Episode.Phases {
			if !shown[p.Phase] {
				shown[p.Phase] = true
				d.ui.step("T+%5.2fs  %-34s %s", p.At.Sub(d.cut).Seconds(), status.PhaseText(p.Phase), decided[p.Phase])
			}
		}
		if st.Episode.Outcome != "open" && moved == nil {
			return nil
		}
	}
}

func holdsOf(st *statusDoc) string {
	if st == nil {
		return "the agent does not answer"
	}
	var names []string
	for _, h := range st.Publication.Holds {
		names = append(names, h.Name)
	}
	return "publication " + st.Publication.State + ", held back by: " + strings.Join(names, ", ")
}

// accepted lists the changes of the record that Route 53 took.
func (d *demo) accepted() (list []route53test.Call) {
	for _, c := range d.zone.Calls() {
		if c.Applied {
			list = append(list, c)
		}
	}
	return list
}

// comeBack powers the first node on again, and checks that this moves nothing.
func (d *demo) comeBack(ctx context.Context) error {
	back := d.nodes[0]
	d.ui.title(back.name + " is powered on again")
	writes := len(d.accepted())
	booted := func() error {
		if err := back.boot(d.cluster); err != nil {
			return err
		}
		d.ui.step("%s has booted; its agent starts before the cluster does", back.name)
		return back.startAgent()
	}
	quarter := 0.0
	err := d.cluster.comeBack(ctx, 0, booted, func(done float64) {
		d.ui.wait("DRBD resync %s", bar(done))
		if done >= quarter {
			if !d.ui.terminal {
				d.ui.step("DRBD resync %s", bar(done))
			}
			quarter += 25
		}
	})
	if err != nil {
		return err
	}
	if err := d.ready(ctx, back); err != nil {
		return err
	}
	err = d.until(ctx, 10*time.Second, "the agent of "+back.name+" sees Secondary UpToDate", func() (bool, error) {
		st, err := back.status(ctx)
		return err == nil && st.Drbd != nil && st.Drbd.Role == "Secondary" && len(st.Drbd.Devices) == 1 &&
			st.Drbd.Devices[0].Disk == "UpToDate", err
	})
	if err != nil {
		return err
	}
	d.ui.step("%s is Secondary and UpToDate; watching for three seconds whether its agent leaves the record alone",
		back.name)
	if err := wait.For(ctx, 3*time.Second); err != nil {
		return err
	}
	d.ui.check(len(d.accepted()) == writes, "the return of %s changed nothing in Route 53 (%d changes before and after)",
		back.name, writes)
	a, _ := d.zone.Get(recordName, "A")
	d.ui.check(len(a.Values) == 1 && a.Values[0] == d.nodes[1].addr, "%s still names %s", recordName, d.nodes[1].addr)
	return d.checkRows(ctx)
}
