package pg

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

const (
	defaultTimeout          = 2 * time.Second
	defaultReplicationEvery = 5 * time.Second
	defaultNewEvery         = 5 * time.Second

	// hangLimit is how long a server that does not answer keeps our one connection before it is given up for a
	// new one. Each one given up may leave a backend behind that hangs in I/O (DRBD suspended), and those count
	// against max_connections; so it is much longer than the time one probe waits, and doubles each time up to
	// maxHangLimit.
	hangLimit    = 30 * time.Second
	maxHangLimit = 5 * time.Minute
)

// hangTime is how long the next attempt may hang when so many have hung before it, one after the other.
func hangTime(hung int) time.Duration { return min(hangLimit<<min(hung, 10), maxHangLimit) }

// Prober asks one PostgreSQL server how it is, over one connection that it keeps. Beside it a new one is opened now and
// then: a postmaster that is stopped, or has no connection left, still serves the kept one, and no client that connects
// now. What the new one is told is the State then. The role needs no rights; with
// pg_monitor it sees more of pg_stat_replication. When default_transaction_read_only is set for the
// role or its database, what other clients may do is not seen: that is StateAuth.
//
// The connection held makes a *smart* shutdown wait for us; Pacemaker's resource agents use fast.
type Prober struct {
	Timeout          time.Duration // of one Probe; 0 is 2 s. Set before the first Probe, as the next
	ReplicationEvery time.Duration // how old Replicas and Slots may be; 0 is 5 s
	NewEvery         time.Duration // how long after a new connection the next is tried; 0 is 5 s

	config  *pgconn.Config
	secrets []string
	dial    dialFunc

	mu      sync.Mutex // held during Probe and Close
	running *attempt   // nil between probes, unless the last one timed out
	closed  bool

	// Of the running attempt, else of the holder of mu.
	idle     *session
	extras   extras
	noExtras bool      // our role may not read them: ask again only on the next connection
	opened   time.Time // when a new connection was last accepted
	hung     int       // attempts that were given up, one after the other
	flush    flushWatch
	sync     syncWatch
}

// attempt is one exchange with the server. It may outlive the probe that began it, never the next connection:
// a server that hangs must not collect our connections.
type attempt struct {
	cancel context.CancelFunc
	done   chan struct{}
	health Health // valid when done is closed
}

// NewProber makes a Prober for one server: a URL or keyword=value string with one host, best a unix socket
// directory. It connects to nothing yet. Errors never hold the password.
func NewProber(dsn string) (*Prober, error) {
	cfg, err := parseDSN(dsn)
	if err != nil {
		return nil, err
	}
	for _, f := range cfg.Fallbacks {
		if f.Host != cfg.Host || f.Port != cfg.Port {
			// The answer of another server must never pass for this one's.
			return nil, errors.New("parse connection string: more than one host; a probe is about one server")
		}
	}
	ownParams(cfg)
	cfg.RuntimeParams["search_path"] = "pg_catalog"
	return &Prober{config: cfg, secrets: []string{cfg.Password}, dial: newDialer()}, nil
}

// Probe asks the server and returns within Timeout. It never fails: State carries the class of what went wrong,
// unknown when ctx was canceled. Calls are serialized. Replicas and Slots are shared between results and must not
// be changed.
func (p *Prober) Probe(ctx context.Context) Health {
	begin := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, p.timeout())
	defer cancel()
	h := p.probe(ctx)
	h.Took = time.Since(begin)
	return h
}

// Close ends the connection. A Probe after Close says unknown.
func (p *Prober) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	if p.running != nil {
		p.running.cancel()
		<-p.running.done
		p.running = nil
	}
	p.drop()
}

func (p *Prober) timeout() time.Duration {
	if p.Timeout > 0 {
		return p.Timeout
	}
	return defaultTimeout
}

func (p *Prober) probe(ctx context.Context) Health {
	if p.closed {
		return Health{State: StateUnknown, Err: "prober is closed"}
	}
	for {
		if err := ctx.Err(); err != nil {
			return p.failed(err)
		}
		late := p.running != nil
		if !late {
			p.start()
		}
		select {
		case <-p.running.done:
			h := p.running.health
			p.running = nil
			if !late {
				return h
			}
			// It answers an earlier probe: how things were, not how they are. Ask again.
		case <-ctx.Done():
			return p.failed(ctx.Err())
		}
	}
}

func (p *Prober) failed(err error) Health {
	if errors.Is(err, context.DeadlineExceeded) {
		return Health{State: StateTimeout, Err: "no answer in time"}
	}
	return Health{State: classify(err), Err: errText(err, p.secrets)}
}

func (p *Prober) start() {
	ctx, cancel := context.WithTimeout(context.Background(), max(hangTime(p.hung), p.timeout()))
	a := &attempt{cancel: cancel, done: make(chan struct{})}
	p.running = a
	go func() {
		defer close(a.done)
		defer cancel()
		a.health = p.attempt(ctx)
		if p.hung++; !errors.Is(ctx.Err(), context.DeadlineExceeded) {
			p.hung = 0
		}
	}()
}

// attempt uses the connection we have, and when that one turns out broken, one new one: a server that was
// restarted or replaced under us breaks the old socket and is no failure.
func (p *Prober) attempt(ctx context.Context) Health {
	if p.idle != nil {
		h, err := p.ask(ctx)
		if err == nil {
			return p.tryNew(ctx, h)
		}
		if p.idle != nil || ctx.Err() != nil {
			return p.failed(err)
		}
	}
	s, err := p.connect(ctx)
	if err != nil {
		return p.failed(err)
	}
	p.idle, p.extras, p.noExtras = s, extras{}, false
	h, err := p.ask(ctx)
	if err != nil {
		return p.failed(err)
	}
	return h
}

func (p *Prober) connect(ctx context.Context) (*session, error) {
	cfg := p.config
	if _, ok := cfg.RuntimeParams["statement_timeout"]; !ok {
		cfg = cfg.Copy()
		cfg.RuntimeParams["statement_timeout"] = strconv.FormatInt(max(1, p.timeout().Milliseconds()), 10)
	}
	s, _, err := connect(ctx, cfg, p.dial)
	if err == nil {
		p.opened = time.Now()
	}
	return s, err
}

// tryNew opens a new connection when it is time to, and returns h, what the kept one said, or why there is no new one.
func (p *Prober) tryNew(ctx context.Context, h Health) Health {
	every := p.NewEvery
	if every <= 0 {
		every = defaultNewEvery
	}
	if time.Since(p.opened) < every {
		return h
	}
	s, err := p.connect(ctx)
	if err != nil {
		failed := p.failed(err)
		failed.Err = "a new connection: " + failed.Err
		return failed
	}
	defer s.abort()
	_ = s.Close(ctx) // it was accepted: that is all
	return h
}

// ask queries over the idle connection and drops it when it broke.
func (p *Prober) ask(ctx context.Context) (Health, error) {
	var x *extras
	if p.extrasDue() {
		x = &extras{read: time.Now()}
	}
	h, wal, extraErr, err := readHealth(ctx, p.idle, x)
	if err != nil {
		var pgErr *pgconn.PgError
		if p.idle.IsClosed() || !errors.As(err, &pgErr) {
			p.drop() // broken, or speaks nonsense
		}
		return Health{}, err
	}
	if x != nil {
		p.extras = *x
		var pgErr *pgconn.PgError
		if extraErr != nil {
			p.extras = extras{read: x.read} // half of them would look like all of them
			p.noExtras = errors.As(extraErr, &pgErr) && strings.HasPrefix(pgErr.Code, "42")
		}
	}
	if h.Timeline == 0 {
		h.Timeline = p.extras.timeline
	}
	h.Replicas, h.Slots, h.DataDirectory = p.extras.replicas, p.extras.slots, p.extras.directory
	h.FlushStall, h.SyncWait = p.flush.observe(time.Now(), wal), p.sync.observe(time.Now(), wal.standby)
	if h.State == StateAuth || h.State == StateReadOnly {
		p.drop() // what a role or a database sets is that of when the session began
	}
	return h, nil
}

func (p *Prober) extrasDue() bool {
	every := p.ReplicationEvery
	if every <= 0 {
		every = defaultReplicationEvery
	}
	return !p.noExtras && (p.extras.read.IsZero() || time.Since(p.extras.read) >= every)
}

// drop closes the idle connection, politely when it still works.
func (p *Prober) drop() {
	if p.idle == nil {
		return
	}
	if !p.idle.IsClosed() {
		ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
		defer cancel()
		_ = p.idle.Close(ctx) // the socket is closed next, whatever this says
	}
	p.idle.abort()
	p.idle = nil
}
