package appload

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pgha/pgha-agent/pg/pgtest"
	"github.com/pgha/pgha-agent/route53/route53test"
)

const (
	name      = "db.pgha.internal"
	direct    = "127.0.0.1"
	proxyAddr = "127.0.0.2"
)

// world is a database, a proxy before it with the same port, and the name of one of the two.
type world struct {
	db    *pgtest.Server
	proxy *proxy
	zone  *route53test.Server
	dns   *route53test.DNS
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{db: pgtest.Start(t, pgtest.Options{Listen: direct, Settings: map[string]string{"fsync": "off"}})}
	for _, sql := range []string{"CREATE ROLE app LOGIN", "CREATE DATABASE app OWNER app"} {
		if _, err := w.db.Query(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	w.proxy = startProxy(t, net.JoinHostPort(proxyAddr, strconv.Itoa(w.db.Port)),
		net.JoinHostPort(direct, strconv.Itoa(w.db.Port)))
	w.zone = route53test.New(route53test.Options{ZoneName: "pgha.internal"})
	t.Cleanup(w.zone.Close)
	var err error
	if w.dns, err = w.zone.DNS(route53test.DNSOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.dns.Close)
	w.point(direct)
	return w
}

func (w *world) point(addr string) { w.zone.Set(route53test.Simple(name, "A", 1, addr)) }

func (w *world) config() Config {
	return Config{Host: name, Port: uint16(w.db.Port), Resolver: w.dns.Addr(), Timeout: 300 * time.Millisecond,
		Connect: 300 * time.Millisecond, Retry: 20 * time.Millisecond, Pause: 2 * time.Millisecond}
}

func (w *world) writer(t *testing.T, cfg Config) *Writer {
	t.Helper()
	wr, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := wr.Prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	return wr
}

// run runs a Writer and returns what ends it.
func run(t *testing.T, wr *Writer) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { wr.Run(ctx) })
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			begin := time.Now()
			wg.Wait()
			if d := time.Since(begin); d > wr.cfg.Timeout+patience {
				t.Errorf("Run ended after %v", d)
			}
		})
	}
	t.Cleanup(stop)
	return stop
}

// nothingRuns looks for goroutines that a Writer left: its own, the driver's, the resolver's.
func nothingRuns(t *testing.T) {
	t.Helper()
	buf := make([]byte, 1<<20)
	for end := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		var left []string
		for stack := range strings.SplitSeq(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
			if strings.Contains(stack, "(*Writer)") || strings.Contains(stack, "jackc/pgx") ||
				strings.Contains(stack, "net.(*Resolver)") {
				left = append(left, stack)
			}
		}
		if len(left) == 0 {
			return
		}
		if time.Now().After(end) {
			t.Errorf("%d goroutines are left:\n%s", len(left), strings.Join(left, "\n\n"))
			return
		}
	}
}

// patience is for what a busy machine may still have to do. It is shorter than the 5 s of a question to a silent
// resolver and the 15 s of the driver's attempts to cancel, which must not go on.
const patience = 3 * time.Second

// until waits for what must come.
func until(t *testing.T, wr *Writer, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			failed, err := wr.Failed()
			t.Fatalf("waited in vain: %s; %d commits, %d failures, %v", what, wr.Acked(), failed, err)
		}
	}
}

// more waits for n more commits.
func more(t *testing.T, wr *Writer, n int) {
	t.Helper()
	n += wr.Acked()
	until(t, wr, fmt.Sprintf("%d commits", n), func() bool { return wr.Acked() >= n })
}

// fails waits for n more failures, the last of which is like that.
func fails(t *testing.T, wr *Writer, n int, like func(error) bool) {
	t.Helper()
	before, _ := wr.Failed()
	until(t, wr, fmt.Sprintf("%d more failures", n), func() bool {
		failed, err := wr.Failed()
		return failed >= before+n && like(err)
	})
}

func anyhow(error) bool { return true }

// unresolved is how the name is not found.
func unresolved(err error) bool {
	_, ok := errors.AsType[*net.DNSError](err)
	return ok
}

// stalled is whether an outage is open.
func stalled(wr *Writer) bool {
	list := wr.Outages(time.Now(), Shortest)
	return len(list) > 0 && list[len(list)-1].To.IsZero()
}

// nothingLost compares, and returns the ledger.
func nothingLost(t *testing.T, wr *Writer, addr string) Ledger {
	t.Helper()
	l, err := wr.Verify(t.Context(), addr)
	if err != nil || len(l.Lost) > 0 || l.Acked == 0 || l.Stored < l.Acked {
		t.Fatalf("%+v, %v", l, err)
	}
	return l
}

func TestWriterSurvivesCrashesOfTheServer(t *testing.T) {
	world := newWorld(t)
	var log bytes.Buffer
	cfg := world.config()
	cfg.Log = &log
	wr := world.writer(t, cfg)
	stop := run(t, wr)
	var cuts []time.Time
	for _, end := range []func() error{world.db.Kill, func() error { return world.db.Stop(pgtest.Fast) }} {
		more(t, wr, 50)
		if err := end(); err != nil {
			t.Fatal(err)
		}
		fails(t, wr, wr.cfg.Connections, func(err error) bool { return err != nil })
		until(t, wr, "an open outage", func() bool { return stalled(wr) })
		cut := time.Now()
		if err := world.db.Start(); err != nil {
			t.Fatal(err)
		}
		cuts = append(cuts, cut)
		more(t, wr, 50)
	}
	nothingLost(t, wr, "") // while it writes
	stop()
	nothingRuns(t)
	l := nothingLost(t, wr, world.db.Dir)
	t.Logf("%+v", l)

	// The log says the same as the Writer, line by line, and has the same gaps.
	lines := strings.Split(strings.TrimSuffix(log.String(), "\n"), "\n")
	if len(lines) != wr.Acked() || l.Acked != wr.Acked() {
		t.Errorf("%d lines, %d acknowledged, %d in the ledger", len(lines), wr.Acked(), l.Acked)
	}
	var at []time.Time
	seen := map[int64]bool{}
	for _, line := range lines {
		var stamp, who, server string
		var n int64
		if _, err := fmt.Sscan(line, &stamp, &who, &n, &server); err != nil || who != "app" || seen[n] ||
			server != net.JoinHostPort(direct, strconv.Itoa(world.db.Port)) {
			t.Fatalf("line %q: %v", line, err)
		}
		seen[n] = true
		when, err := time.Parse(time.RFC3339Nano, stamp)
		if err != nil {
			t.Fatal(err)
		}
		at = append(at, when)
	}
	slices.SortFunc(at, time.Time.Compare)
	for _, cut := range cuts {
		var found bool
		for _, o := range wr.Outages(time.Now(), Shortest) {
			i, ok := slices.BinarySearchFunc(at, o.From.Round(0), time.Time.Compare)
			if !ok || i+1 == len(at) || !at[i+1].Equal(o.To.Round(0)) {
				t.Errorf("outage %v to %v is not in the log", o.From, o.To)
			}
			found = found || !o.From.After(cut) && o.To.After(cut)
		}
		if !found {
			t.Errorf("no outage around %v: %v", cut, wr.Outages(time.Now(), 0))
		}
	}
}

func TestWriterLeavesABlackHoleAndFollowsTheName(t *testing.T) {
	world := newWorld(t)
	world.point(proxyAddr)
	wr := world.writer(t, world.config())
	stop := run(t, wr)
	more(t, wr, 50)
	if _, _, server := wr.Last(); !strings.HasPrefix(server, proxyAddr) {
		t.Errorf("commits by %s", server)
	}
	world.proxy.hole.Store(true)
	fails(t, wr, 2*wr.cfg.Connections, anyhow) // commits, and logins after them
	for _, mode := range []route53test.DNSMode{route53test.DNSSilent, route53test.DNSServFail, route53test.DNSGarbage} {
		world.dns.SetMode(mode)
		fails(t, wr, 2*wr.cfg.Connections, unresolved)
	}
	world.point(direct)
	world.dns.SetMode(route53test.DNSNormal)
	moved := time.Now()
	more(t, wr, 50)
	_, at, server := wr.Last()
	if !strings.HasPrefix(server, direct+":") || at.Before(moved) {
		t.Errorf("last commit at %v by %s", at, server)
	}
	var o Outage
	for _, x := range wr.Outages(time.Now(), Shortest) {
		if strings.HasPrefix(x.LastServer, proxyAddr) && strings.HasPrefix(x.NextServer, direct+":") {
			o = x
		}
	}
	if o.From.IsZero() || o.From.After(moved) || o.To.Before(moved) {
		t.Errorf("outage %+v, moved %v", o, moved)
	}
	stop()
	nothingRuns(t)
	nothingLost(t, wr, net.JoinHostPort(direct, strconv.Itoa(world.db.Port)))
}

func TestRunEndsInABlackHoleAndWhileNothingAnswers(t *testing.T) {
	world := newWorld(t)
	world.point(proxyAddr)
	wr := world.writer(t, world.config())
	stop := run(t, wr)
	more(t, wr, 10)
	world.proxy.hole.Store(true)
	until(t, wr, "a commit under way", func() bool { return world.proxy.swallowed.Load() > 0 })
	stop()
	nothingRuns(t)
	nothingLost(t, wr, direct)

	// The connections are reset, and new ones get no answer: neither do the driver's attempts to cancel what it had asked.
	world.proxy.hole.Store(false)
	cfg := world.config()
	cfg.Name = "reset"
	wr = world.writer(t, cfg)
	stop = run(t, wr)
	more(t, wr, 10)
	world.proxy.hole.Store(true)
	world.proxy.reset()
	taken := world.proxy.taken.Load()
	until(t, wr, "a new connection", func() bool { return world.proxy.taken.Load() > taken })
	stop()
	nothingRuns(t)
	nothingLost(t, wr, direct)

	wr = world.writer(t, Config{Host: direct, Port: uint16(world.db.Port), Name: "second"})
	if err := world.db.Kill(); err != nil {
		t.Fatal(err)
	}
	stop = run(t, wr)
	fails(t, wr, 1, anyhow)
	stop()
	nothingRuns(t)
	if n := wr.Acked(); n > 0 {
		t.Errorf("%d commits", n)
	}
	if _, err := wr.Verify(t.Context(), ""); err == nil {
		t.Error("a dead server was read")
	}
}

func TestLostRowsAreFoundAndWritersShareTheTable(t *testing.T) {
	world := newWorld(t)
	var writers [3]*Writer
	for i := range writers {
		cfg := world.config()
		cfg.Name = "writer's" + strconv.Itoa(i)
		var err error
		if writers[i], err = New(cfg); err != nil {
			t.Fatal(err)
		}
	}
	var wg sync.WaitGroup
	for _, wr := range writers { // all create the table at once
		wg.Go(func() {
			if err := wr.Prepare(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	var stops []func()
	for _, wr := range writers {
		stops = append(stops, run(t, wr))
	}
	for _, wr := range writers {
		more(t, wr, 70)
	}
	for _, stop := range stops {
		stop()
	}
	nothingRuns(t)
	w := writers[1]
	l := nothingLost(t, w, "")
	lose(t, world, "DELETE FROM "+Table+" WHERE n IN (7, 65)")
	got, err := w.Verify(t.Context(), "")
	if err != nil || !slices.Equal(got.Lost, []int64{7, 65}) || got.Acked != l.Acked || got.Stored != l.Stored-2 {
		t.Errorf("%+v, %v", got, err)
	}
	// The same name again, as after a restart of the program: its numbers go on, and its ledger is its own.
	again := world.writer(t, w.cfg)
	stop := run(t, again)
	more(t, again, 10)
	stop()
	nothingRuns(t)
	if l := nothingLost(t, again, ""); l.Stored > 200 && l.Stored > again.Acked()+again.cfg.Connections {
		t.Errorf("%+v", l)
	}
	if n, err := again.Failed(); n > 0 {
		t.Errorf("%d failures, %v", n, err)
	}
	lose(t, world, "DROP TABLE "+Table)
	if _, err := w.Verify(t.Context(), ""); err == nil {
		t.Error("no table and no error")
	}
}

// lose runs sql in the application's database.
func lose(t *testing.T, world *world, sql string) {
	t.Helper()
	wr, err := New(world.config())
	if err != nil {
		t.Fatal(err)
	}
	s, err := wr.connect(t.Context(), direct, wr.cfg.Port, patient)
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	if _, err := s.pg.Exec(t.Context(), sql).ReadAll(); err != nil {
		t.Fatal(err)
	}
}

type badLog struct{}

func (badLog) Write([]byte) (int, error) { return 0, errors.New("disk full") }

func TestCommitThatIsNotLoggedDoesNotCount(t *testing.T) {
	world := newWorld(t)
	cfg := world.config()
	cfg.Log = badLog{}
	wr := world.writer(t, cfg)
	stop := run(t, wr)
	fails(t, wr, 1, func(err error) bool { return strings.Contains(err.Error(), "disk full") })
	stop()
	nothingRuns(t)
	if n := wr.Acked(); n > 0 {
		t.Errorf("%d counted", n)
	}
}

func TestBadConfigsAreRefused(t *testing.T) {
	for what, cfg := range map[string]Config{
		"no host":          {Port: 1},
		"no port":          {Host: "h"},
		"space in name":    {Host: "h", Port: 1, Name: "a b"},
		"negative timeout": {Host: "h", Port: 1, Timeout: -1},
	} {
		if w, err := New(cfg); err == nil || w != nil {
			t.Errorf("%s: %v, %v", what, w, err)
		}
	}
	w, err := New(Config{Host: "h", Port: 1})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Verify(t.Context(), "h:port"); err == nil {
		t.Error("a port that is no number is taken")
	}
}

// proxy forwards TCP until it becomes a black hole: it then takes connections and bytes, and answers nothing.
type proxy struct {
	to        string
	hole      atomic.Bool
	swallowed atomic.Int64 // what came into the hole
	taken     atomic.Int64 // connections

	mu    sync.Mutex
	conns []net.Conn
}

func startProxy(t *testing.T, listen, to string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", listen)
	if err != nil {
		t.Skipf("the black hole was not tested: %v", err)
	}
	p := &proxy{to: to}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			p.taken.Add(1)
			wg.Go(func() { p.serve(c) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		p.mu.Lock()
		for _, c := range p.conns {
			c.Close()
		}
		p.mu.Unlock()
		wg.Wait()
	})
	return p
}

// reset ends all connections with clients.
func (p *proxy) reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := 0; i < len(p.conns); i += 2 {
		_ = p.conns[i].(*net.TCPConn).SetLinger(0)
		p.conns[i].Close()
	}
}

func (p *proxy) serve(c net.Conn) {
	up, err := net.Dial("tcp", p.to)
	if err != nil {
		c.Close()
		return
	}
	p.mu.Lock()
	p.conns = append(p.conns, c, up)
	p.mu.Unlock()
	var wg sync.WaitGroup
	for _, way := range [][2]net.Conn{{c, up}, {up, c}} {
		wg.Go(func() { p.pipe(way[0], way[1]) })
	}
	wg.Wait()
}

func (p *proxy) pipe(from, to net.Conn) {
	buf := make([]byte, 4096)
	for {
		n, err := from.Read(buf)
		if p.hole.Load() { // whatever comes, and the end of the connection too, is swallowed
			p.swallowed.Add(1)
			_, _ = io.Copy(io.Discard, from)
			return
		}
		if err != nil {
			to.Close()
			return
		}
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
	}
}
