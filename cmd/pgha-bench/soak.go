package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/pgha/pgha-agent/cmd/internal/wait"
	"github.com/pgha/pgha-agent/pg/pgtest"
	"github.com/pgha/pgha-agent/route53/route53test"
)

const (
	soakBeat   = 2 * time.Second  // between two disturbances
	soakSample = 15 * time.Second // between two looks at the daemon
	soakAddr   = "127.0.2.10"     // of the node, and of its PostgreSQL
)

// soak runs the daemon while nothing around it stands still, and fails when something of it grows.
func soak(ctx context.Context, agent string, length time.Duration) error {
	server, err := pgtest.New("", pgtest.Options{Listen: soakAddr})
	if err != nil {
		return fmt.Errorf("make PostgreSQL: %w", err)
	}
	defer func() { _ = server.Remove() }()
	err = errors.Join(server.WriteFile("pg_hba.conf", "local all all trust\nhost all all 127.0.0.0/8 trust\n"),
		server.Start())
	if err != nil {
		return fmt.Errorf("start PostgreSQL: %w", err)
	}
	n := node{soakAddr, fmt.Sprintf("host=%s port=%d user=postgres dbname=postgres", server.Dir, server.Port),
		fmt.Sprintf("user=postgres dbname=postgres port=%d", server.Port)}
	return inWorld(ctx, agent, func(string) node { return n }, func(w *world) error {
		go func() {
			for range w.marks { //nolint:revive // nobody times these promotions
			}
		}()
		c := &churn{world: w, server: server, call: 1000}
		var g growth
		begin := time.Now()
		used, err := w.usageDuring(func() error {
			for next := begin; time.Since(begin) < length; {
				if err := c.beat(ctx); err != nil {
					return fmt.Errorf("after %v: %w", time.Since(begin).Round(time.Second), err)
				}
				if time.Now().After(next) {
					next = next.Add(soakSample)
					if err := g.look(ctx, w, time.Since(begin)); err != nil {
						return err
					}
				}
				if err := wait.For(ctx, soakBeat); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		cpu := 100 * used.own.Seconds() / time.Since(begin).Seconds()
		fmt.Printf("%v, %d beats: %d promotions, %d alerts, %d scrapes, %d API faults, %d restarts of the DRBD stream, %d "+
			"of PostgreSQL, %d reloads; %.1f %% of a core\n\n",
			time.Since(begin).Round(time.Second), c.n, c.promotions, c.alerts, c.scrapes, c.faults, c.streams, c.servers,
			c.reloads, cpu)
		text, err := g.verdict(length)
		fmt.Print(text)
		return err
	})
}

// churn is what happens around the daemon, a little in each beat.
type churn struct {
	*world
	server *pgtest.Server
	call   int // of the promotion that is shown
	held   []net.Conn
	n      int

	promotions, alerts, scrapes, faults, streams, servers, reloads int
}

// faults are what the API does wrong, in turn.
var apiFaults = []route53test.Fault{
	{Kind: route53test.Throttle, Count: 3}, {Kind: route53test.LoseReply, Op: markRequest},
	{Kind: route53test.Throttle, Op: "GetChange", Count: 2},
}

func (c *churn) beat(ctx context.Context) error {
	c.n++
	every := func(n int) bool { return c.n%n == 0 }
	c.clients()
	for _, path := range []string{"/metrics", "/status", "/history", "/"} {
		if _, err := c.get(ctx, path); err == nil {
			c.scrapes++ // in a reload the port is closed for a moment
		}
	}
	if every(13) {
		if err := c.restartStream(); err != nil {
			return err
		}
	}
	if err := c.drbdLines(); err != nil {
		return err
	}
	if every(7) {
		c.aws.Inject(apiFaults[c.faults%len(apiFaults)])
		c.faults++
	}
	switch {
	case every(11): // crm_mon has no answer until the next change
		if err := os.WriteFile(filepath.Join(c.dir, "crm.xml"), []byte("<crm_mon"), 0o644); err != nil {
			return err
		}
	case every(5):
		call := 0
		if c.promotions%2 == 0 {
			c.call++
			call = c.call
		}
		c.promotions++
		if err := c.promote(call); err != nil {
			return err
		}
	}
	if every(3) || every(5) {
		hook := exec.CommandContext(ctx, c.hook())
		hook.Env = c.alertEnv(filepath.Join(c.dir, "alert.sock"), c.n)
		if err := hook.Run(); err != nil {
			return fmt.Errorf("run the hook: %w", err)
		}
		c.alerts++
	}
	if every(40) {
		c.servers++
		if c.server.Running() {
			return c.server.Stop(pgtest.Fast)
		}
		return c.server.Start()
	}
	if every(45) {
		c.reloads++
		return c.daemon.Process.Signal(syscall.SIGHUP)
	}
	return nil
}

// clients leave the last beat's connections and make new ones that ask for nothing, or for nonsense.
func (c *churn) clients() {
	for _, conn := range c.held {
		_ = conn.Close()
	}
	c.held = c.held[:0]
	for _, to := range [][2]string{
		{"tcp", c.public}, {"unix", filepath.Join(c.dir, "control.sock")}, {"unix", filepath.Join(c.dir, "alert.sock")},
	} {
		conn, err := net.DialTimeout(to[0], to[1], time.Second)
		if err != nil {
			continue // a reload
		}
		_, _ = conn.Write([]byte("GET /metrics HTTP/1.1\r\nHost: half a requ")) // no answer is expected
		c.held = append(c.held, conn)
	}
}

// drbdLines tell of a connection that is lost and of a resync.
func (c *churn) drbdLines() error {
	f, err := os.OpenFile(filepath.Join(c.dir, "events"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	var b strings.Builder
	const peer = "peer-device name:pg peer-node-id:1 conn-name:pg-a volume:0"
	switch c.n % 8 {
	case 3:
		b.WriteString("change connection name:pg peer-node-id:1 conn-name:pg-a connection:NetworkFailure role:Unknown\n")
	case 5:
		b.WriteString("change connection name:pg peer-node-id:1 conn-name:pg-a connection:Connected role:Secondary\n")
	default:
		for i := range 20 {
			fmt.Fprintf(&b, "change %s replication:SyncSource peer-disk:Inconsistent done:%d.%02d\n", peer, i*5, c.n%100)
		}
		fmt.Fprintf(&b, "change %s replication:Established peer-disk:UpToDate\n", peer)
	}
	_, err = f.WriteString(b.String())
	return err
}

// restartStream ends the daemon's drbdsetup, as an unloaded module does, and begins its file again.
func (c *churn) restartStream() error {
	if err := os.WriteFile(filepath.Join(c.dir, "events"), []byte(events), 0o644); err != nil {
		return err
	}
	pids, err := childrenOf(c.daemon.Process.Pid)
	if err != nil {
		return err
	}
	for text := range strings.FieldsSeq(pids) {
		line, _ := os.ReadFile("/proc/" + text + "/cmdline") // gone: not the one
		if pid, err := strconv.Atoi(text); err == nil && strings.HasPrefix(string(line), "tail\x00") {
			c.streams++
			_ = syscall.Kill(pid, syscall.SIGTERM) // the daemon may have ended it
		}
	}
	return nil
}

// growth is what was measured of the daemon over time.
type growth struct {
	at     []float64 // hours
	series [len(watched)][]float64
}

// watched are the things that must not grow, and what counts as growth in an hour.
var watched = [...]struct {
	what, unit string
	scale      float64
	most       float64 // per hour, in units
}{
	{"resident memory", "MiB", 1 << 20, 2},
	{"heap after a collection", "MiB", 1 << 20, 0.5},
	{"goroutines", "", 1, 2},
	{"file descriptors", "", 1, 2},
	{"threads", "", 1, 2},
}

var watchedMetrics = [len(watched)]string{
	"process_resident_memory_bytes", "go_gc_heap_live_bytes", "go_goroutines", "process_open_fds", "go_threads",
}

// look takes one sample from the daemon's own metrics. The daemon may be in the middle of a reload: then the next one
// has to do.
func (g *growth) look(ctx context.Context, w *world, since time.Duration) error {
	page, err := w.get(ctx, "/metrics")
	if err != nil {
		if w.daemon.Process.Signal(syscall.Signal(0)) != nil {
			return errors.New("the daemon is gone")
		}
		return nil
	}
	var row [len(watched)]float64
	for i, name := range watchedMetrics {
		_, rest, ok := strings.Cut("\n"+string(page), "\n"+name+" ")
		text, _, _ := strings.Cut(rest, "\n")
		v, err := strconv.ParseFloat(text, 64)
		if !ok || err != nil {
			return fmt.Errorf("no figure of %s", name)
		}
		row[i] = v / watched[i].scale
	}
	g.at = append(g.at, since.Hours())
	for i, v := range row {
		g.series[i] = append(g.series[i], v)
	}
	note("%v: %.1f", since.Round(time.Second), row)
	return nil
}

// verdict makes the table, and an error when something grows.
func (g *growth) verdict(length time.Duration) (string, error) {
	// The first part is warm-up: pools fill, PostgreSQL's types and TLS sessions are kept.
	from := len(g.at) / 6
	if len(g.at)-from < 3 {
		return "", fmt.Errorf("%d samples in %v are too few to see a trend", len(g.at), length)
	}
	var b strings.Builder
	var errs []error
	b.WriteString("| What | first | last | least | most | trend per hour | bound |\n|---|---|---|---|---|---|---|\n")
	for i, w := range watched {
		s := g.series[i][from:]
		slope := trend(g.at[from:], s)
		fmt.Fprintf(&b, "| %s | %.1f | %.1f | %.1f | %.1f | %+.2f %s | %+g |\n", w.what, s[0], s[len(s)-1], slices.Min(s),
			slices.Max(s), slope, w.unit, w.most)
		if slope > w.most {
			errs = append(errs, fmt.Errorf("%s grows by %.2f %s an hour", w.what, slope, w.unit))
		}
	}
	return b.String(), errors.Join(errs...)
}

// trend is the median of the slopes between all pairs of samples (Theil and Sen): peaks do not count for more than that
// they are some.
func trend(x, y []float64) float64 {
	var slopes []float64
	for i := range x {
		for j := range i {
			if x[i] != x[j] {
				slopes = append(slopes, (y[i]-y[j])/(x[i]-x[j]))
			}
		}
	}
	if len(slopes) == 0 {
		return 0
	}
	slices.Sort(slopes)
	return slopes[len(slopes)/2]
}
