package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/pgha/pgha-agent/route53/route53test"
)

const (
	zoneID     = "Z0PGHADEMO"
	recordName = "db.pgha.internal"
	recordTTL  = 5 // seconds
	dnsDelay   = 2 * time.Second
	modulePath = "github.com/pgha/pgha-agent"
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
	client  *client
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

// prepare builds and configures everything; nothing runs yet but the name service.
func (d *demo) prepare(ctx context.Context) (err error) {
	d.ui.title("Preparing")
	if err := installPostgres(ctx, d.ui.step); err != nil {
		return err
	}
	if d.dir, err = os.MkdirTemp("", "pgha-demo-"); err != nil {
		return err
	}
	if err := os.Chmod(d.dir, 0o755); err != nil { // PostgreSQL is another user when we are root
		return err
	}
	d.ui.step("everything is in %s and goes with it", d.dir)
	d.spawn = newSpawner()
	standin := filepath.Join(d.dir, "standin")
	if err := build(ctx, modulePath+"/cmd/pgha-demo/standin", standin); err != nil {
		return err
	}
	if d.agentPath == "" {
		d.ui.step("building the agent")
		d.agentPath = filepath.Join(d.dir, "pgha-agent")
		if err := build(ctx, modulePath+"/cmd/pgha-agent", d.agentPath); err != nil {
			return err
		}
	} else if d.agentPath, err = filepath.Abs(d.agentPath); err != nil {
		return err
	}

	addrs := [2]string{"127.0.1.10", "127.0.2.10"}
	names := [2]string{"pg-primary", "pg-secondary"}
	if d.port, err = freePort(d.port, addrs[:]...); err != nil {
		return err
	}
	d.zone = route53test.New(route53test.Options{ZoneID: zoneID, ZoneName: "pgha.internal", SyncDelay: dnsDelay, Rate: 5, Burst: 5})
	if err := d.zone.Start("127.0.0.1:0"); err != nil {
		return err
	}
	// As in a zone that people kept by hand until now. The agent takes it over.
	d.zone.Set(route53test.Simple(recordName, "A", recordTTL, addrs[0]))
	if d.dns, err = d.zone.DNS(route53test.DNSOptions{CacheTTL: true}); err != nil {
		return err
	}
	d.ui.step("Route 53 stand-in at %s (5 requests a second, changes in sync after %v), resolver at %s (keeps answers for their TTL)", d.zone.URL(), dnsDelay, d.dns.Addr())
	if d.db, err = newDatabase(d.spawn, filepath.Join(d.dir, "volume"), d.port); err != nil {
		return err
	}

	d.cluster = newCluster(names, addrs, defaultFigures)
	for i := range d.nodes {
		httpPort, err := freePort(d.httpPort+i, "127.0.0.1")
		if err != nil {
			return err
		}
		m := &machine{
			index: i, name: names[i], addr: addrs[i], dir: filepath.Join(d.dir, names[i]), http: "127.0.0.1:" + strconv.Itoa(httpPort),
			agentPath: d.agentPath, spawn: d.spawn,
			env: []string{"AWS_ACCESS_KEY_ID=demo", "AWS_SECRET_ACCESS_KEY=demo", "AWS_REGION=us-east-1", "AWS_EC2_METADATA_DISABLED=true"},
		}
		d.nodes[i] = m
		err = m.prepare(settings{Port: d.port, Zone: zoneID, Record: recordName, TTL: strconv.Itoa(recordTTL) + "s", Endpoint: d.zone.URL(), Resolver: d.dns.Addr()}, standin)
		if err != nil {
			return err
		}
	}
	d.cluster.hooks = hooks{
		startPostgres: func(_ context.Context, i int) error { return d.db.start(d.nodes[i]) },
		alert:         func(i int, env map[string]string) { d.nodes[i].alert(env) },
	}
	return nil
}

// freePort returns port if nobody listens there, else one that is free on all addresses.
func freePort(port int, addrs ...string) (int, error) {
	for range 20 {
		free := true
		for _, addr := range addrs {
			l, err := net.Listen("tcp", net.JoinHostPort(addr, strconv.Itoa(port)))
			if err != nil {
				free = false
				break
			}
			if port == 0 {
				port = l.Addr().(*net.TCPAddr).Port
			}
			_ = l.Close()
		}
		if free {
			return port, nil
		}
		port = 0
	}
	return 0, fmt.Errorf("no free port on %s", strings.Join(addrs, " and "))
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
	// The promoted node comes first, as in most installations: the other then finds the claim when it starts.
	if err := d.start(ctx, d.nodes[0]); err != nil {
		return err
	}
	err := d.until(ctx, 30*time.Second, "the record names "+d.nodes[0].name, func() (bool, error) {
		st, err := d.nodes[0].status(ctx)
		return err == nil && st.Record.Owner == d.nodes[0].name && st.Record.Addr == d.nodes[0].addr && (st.Episode == nil || st.Episode.Outcome != "open"), err
	})
	if err != nil {
		return err
	}
	if err := d.start(ctx, d.nodes[1]); err != nil {
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

	if d.client, err = newClient(recordName, d.port, d.dns.Addr()); err != nil {
		return err
	}
	if err := d.client.createTable(ctx); err != nil {
		return err
	}
	d.client.wrote = func(kib uint64) {
		d.cluster.mu.Lock()
		i := 0
		if d.cluster.drbd[1].role == "Primary" {
			i = 1
		}
		d.cluster.mu.Unlock()
		d.cluster.wrote(i, kib)
	}
	d.inBackground(func() { d.client.run(ctx) })
	for end := time.Now().Add(3 * time.Second); time.Now().Before(end); {
		acked, _, _ := d.client.counts()
		d.ui.wait("the client writes through %s: %d rows", recordName, acked)
		if err := sleep(ctx, 100*time.Millisecond); err != nil {
			return err
		}
	}
	acked, failed, _ := d.client.counts()
	d.ui.step("the client wrote %d rows over %d connections in 3 s", acked, clientConnections)
	if failed > 0 || acked == 0 {
		return fmt.Errorf("the client could not write before anything was broken: %d rows, %d errors", acked, failed)
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
			return false, fmt.Errorf("agent of %s ended: %w: %w", m.name, errFatal, m.daemon.err)
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
		if err := sleep(ctx, 100*time.Millisecond); err != nil {
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
	shown, text := map[string]bool{}, phaseText(d.cluster.fig)
	for {
		if err := sleep(ctx, 50*time.Millisecond); err != nil {
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
			return fmt.Errorf("the surviving agent ended: %w", alive.daemon.err)
		case time.Since(d.cut) > time.Minute:
			return fmt.Errorf("not over after a minute: %s", holdsOf(st))
		case err != nil || st.Episode == nil || before.Episode != nil && st.Episode.ID == before.Episode.ID:
			continue
		}
		for _, p := range st.Episode.Phases {
			if !shown[p.Phase] {
				shown[p.Phase] = true
				d.ui.step("T+%5.2fs  %-16s %s", p.At.Sub(d.cut).Seconds(), p.Phase, text[p.Phase])
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
		return err == nil && st.Drbd != nil && st.Drbd.Role == "Secondary" && len(st.Drbd.Devices) == 1 && st.Drbd.Devices[0].Disk == "UpToDate", err
	})
	if err != nil {
		return err
	}
	d.ui.step("%s is Secondary and UpToDate; watching for three seconds whether its agent leaves the record alone", back.name)
	if err := sleep(ctx, 3*time.Second); err != nil {
		return err
	}
	d.ui.check(len(d.accepted()) == writes, "the return of %s changed nothing in Route 53 (%d changes before and after)", back.name, writes)
	a, _ := d.zone.Get(recordName, "A")
	d.ui.check(len(a.Values) == 1 && a.Values[0] == d.nodes[1].addr, "%s still names %s", recordName, d.nodes[1].addr)
	return d.checkRows(ctx)
}

// checkRows compares what the client was promised with what is there.
func (d *demo) checkRows(ctx context.Context) error {
	acked, lost, stored, err := d.client.compare(ctx)
	if err != nil {
		return err
	}
	_, failed, _ := d.client.counts()
	d.ui.check(len(lost) == 0 && len(acked) > 0 && stored >= len(acked), "every acknowledged row is there: %d acknowledged, %d missing, %d stored (%d attempts failed)",
		len(acked), len(lost), stored, failed)
	return nil
}

// invite leaves everything running and says how to look at it.
func (d *demo) invite() {
	d.ui.title("Both agents keep running; Ctrl-C ends everything")
	for _, m := range d.nodes {
		d.ui.print(fmt.Sprintf("  %-13s http://%s/status   http://%s/metrics", m.name, m.http, m.http))
	}
	m := d.nodes[1]
	d.ui.print(fmt.Sprintf(`
  %[1]s status  --config %[2]s
  %[1]s history --config %[2]s
  %[3]s/crm_mon
  %[3]s/drbdsetup status
  psql -h %[4]s -p %[5]d -U app -c 'SELECT count(*) FROM demo_rows' app
`, d.agentPath, m.config(), m.dir, m.addr, d.port))
}

// explain shows the ends of the logs after a failure.
func (d *demo) explain() {
	for _, m := range d.nodes {
		if m != nil {
			d.ui.print("\n--- end of " + m.log() + "\n" + m.logTail())
		}
	}
}

// cleanUp ends every process and removes the directory. It may be called at any time.
func (d *demo) cleanUp() error {
	if d.stop != nil {
		d.stop()
	}
	d.bg.Wait()
	for _, m := range d.nodes {
		if m != nil {
			m.shutDown()
		}
	}
	var err error
	if d.db != nil && d.db.server != nil {
		err = d.db.stop()
	}
	if d.dns != nil {
		d.dns.Close()
	}
	if d.zone != nil {
		d.zone.Close()
	}
	if d.dir != "" && d.keep {
		d.ui.print("kept " + d.dir)
	} else if d.dir != "" {
		err = errors.Join(err, os.RemoveAll(d.dir))
	}
	return err
}
