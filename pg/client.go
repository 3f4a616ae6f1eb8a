// Package pg asks PostgreSQL how it is: the local server as a probe, and the service as its clients see it.
package pg

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// Client sees the service as an application does: it resolves the name, connects, asks, and hangs up, each time
// anew, so that no connection of its own can hide a failover. It sees what a client that commits sees: WAL that does
// not reach the disk, or a synchronous standby, is an outage.
type Client struct {
	Timeout time.Duration // of a whole Probe, name resolution included; 0 is 2 s. Set before the first Probe, as the next
	// WriteEvery is how often a Probe writes a WAL record of its own, and waits until it is on disk; 0 is never.
	WriteEvery time.Duration

	config  *pgconn.Config
	secrets []string
	dial    dialFunc

	mu    sync.Mutex
	hung  map[string]hanging // by the address of the server
	flush flushWatch
	sync  syncWatch
	wrote time.Time // when the last record of its own was on disk
}

// hanging is what is known of attempts that a server took and did not end in time.
type hanging struct {
	since time.Time // when the one began that has not ended; zero when there is none
	times int       // given up, one after the other
}

// NewClient makes a Client for dsn, whose host is the service name. Each Probe resolves it through resolve, which
// returns addresses and respects its context; nil is the system's resolver. Errors never hold the password.
func NewClient(dsn string, resolve func(ctx context.Context, host string) ([]string, error)) (*Client, error) {
	cfg, err := parseDSN(dsn)
	if err != nil {
		return nil, err
	}
	ownParams(cfg)
	if resolve != nil {
		cfg.LookupFunc = func(ctx context.Context, host string) ([]string, error) {
			if _, err := netip.ParseAddr(host); err == nil {
				return []string{host}, nil
			}
			addrs, err := resolve(ctx, host)
			if err != nil {
				return nil, &lookupError{err}
			}
			return addrs, nil
		}
	}
	return &Client{config: cfg, secrets: []string{cfg.Password}, dial: newDialer(),
		hung: map[string]hanging{}}, nil
}

// lookupError is a name that the resolver did not answer.
type lookupError struct{ err error }

func (e *lookupError) Error() string { return e.err.Error() }
func (e *lookupError) Unwrap() error { return e.err }

const clientSQL = `SELECT pg_is_in_recovery(), current_setting('transaction_read_only'), host(inet_server_addr()),
 current_setting('server_version_num'),
 CASE WHEN pg_is_in_recovery() THEN NULL ELSE pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0') END,
 CASE WHEN pg_is_in_recovery() THEN NULL ELSE pg_wal_lsn_diff(pg_current_wal_flush_lsn(), '0/0') END,
 ` + walWriterSQL + `, ` + walWaitSQL + `, ` + syncWaitSQL + `, ` + readOnlySQL

// What writes a WAL record and waits until it is on disk, whatever synchronous_commit says, and for no standby. From 17
// on it takes no transaction id.
const (
	writeSQL   = `SELECT pg_logical_emit_message(false, 'pgha', '', true)`
	writeSQL16 = `SELECT pg_logical_emit_message(true, 'pgha', ''), set_config('synchronous_commit', 'local', true)`
)

// Probe makes one attempt, bounded by Timeout and ctx.
//
// A server that rejects our role (StateAuth) answers: it checks roles only once it accepts connections, and the passive
// node of a DRBD pair runs no PostgreSQL at all, so an outage can be measured without a role. It is not OK, because
// whether clients can write is not known then.
//
// An attempt that a server took, and does not end, goes on beyond the Probe. There is no second one at that server
// before it has ended or was given up: reconnecting after each timeout fills a server that waits for its disk with
// backends that nothing ends.
func (c *Client) Probe(ctx context.Context) ClientProbe {
	v := ClientProbe{Begin: time.Now()}
	timeout := c.Timeout
	if timeout <= 0 {
		timeout = defaultTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	a := c.begin(context.WithoutCancel(ctx), v.Begin)
	var err error
	select {
	case <-a.done:
		v.State, v.Answered, err = a.state, a.answered, a.err
		a.end()
	case <-ctx.Done():
		v.State, err = classify(ctx.Err()), errors.New("no answer in time")
		a.leave(errors.Is(ctx.Err(), context.DeadlineExceeded))
	}
	if lookup, ok := errors.AsType[*lookupError](err); ok {
		err = lookup // pgx says it once for each way that it tried
		var answer interface{ NotFound() bool }
		v.NoName = errors.As(err, &answer) && answer.NotFound()
	}
	v.OK = v.State == StateWritable
	v.Answers = v.OK || v.State == StateAuth
	v.Err = errText(err, c.secrets)
	v.End = time.Now()
	return v
}

// clientAttempt is one attempt.
type clientAttempt struct {
	client *Client
	began  time.Time
	end    context.CancelFunc
	done   chan struct{}

	// What it found, when done is closed.
	state    State
	answered netip.Addr
	err      error

	// Under the client's lock.
	server string // where a socket has opened last
	over   bool   // it has ended, and nothing may wait for that any more
	left   bool   // its Probe does not wait for it any more, and so the client's hung has it
	gaveUp bool   // nobody does
}

func (c *Client) begin(ctx context.Context, now time.Time) *clientAttempt {
	a := &clientAttempt{client: c, began: now, done: make(chan struct{})}
	ctx, a.end = context.WithCancel(ctx)
	go func() {
		defer close(a.done)
		defer a.ended()
		a.state, a.answered, a.err = a.run(ctx)
	}()
	return a
}

// dial opens a socket, unless an earlier attempt hangs in that server.
func (a *clientAttempt) dial(ctx context.Context, network, server string) (net.Conn, error) {
	c := a.client
	c.mu.Lock()
	since := c.hung[server].since
	c.mu.Unlock()
	if !since.IsZero() {
		return nil, hangError{time.Since(since)}
	}
	conn, err := c.dial(ctx, network, server)
	if err == nil {
		c.mu.Lock()
		a.server = server
		c.mu.Unlock()
	}
	return conn, err
}

// leave ends an attempt that took too long, unless a server has taken it: that one may hang there for a while.
func (a *clientAttempt) leave(mayHang bool) {
	c := a.client
	c.mu.Lock()
	defer c.mu.Unlock()
	if a.over {
		return
	}
	if a.server == "" || !mayHang {
		a.end()
		return
	}
	h := c.hung[a.server]
	h.since, a.left = a.began, true
	c.hung[a.server] = h
	time.AfterFunc(hangTime(h.times), func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if a.left {
			a.left, a.gaveUp = false, true
			c.hung[a.server] = hanging{times: h.times + 1}
			a.end()
		}
	})
}

// ended forgets that the server hung, once it has answered.
func (a *clientAttempt) ended() {
	c := a.client
	c.mu.Lock()
	defer c.mu.Unlock()
	if a.left || !a.gaveUp && a.state != StateTimeout {
		delete(c.hung, a.server)
	}
	a.over, a.left = true, false
}

// hangError says that an earlier attempt has not ended. It is a timeout.
type hangError struct{ since time.Duration }

func (e hangError) Error() string {
	return fmt.Sprintf("the server has not answered an earlier connection for %.0f s", e.since.Seconds())
}

// Timeout implements net.Error.
func (hangError) Timeout() bool { return true }

// Temporary implements net.Error.
func (hangError) Temporary() bool { return true }

func (a *clientAttempt) run(ctx context.Context) (State, netip.Addr, error) {
	c := a.client
	s, peer, err := connect(ctx, c.config, a.dial)
	if err == nil {
		defer s.abort()
		var v clientView
		if v, err = askClient(ctx, s); err == nil {
			if !v.addr.IsValid() {
				v.addr = peer
			}
			if err = v.why; v.state == StateWritable {
				v.state, err = c.checkCommits(ctx, s, v)
			}
			_ = s.Close(ctx) // we have the answer
			return v.state, v.addr, err
		}
	}
	if _, ok := errors.AsType[*pgconn.PgError](err); !ok {
		peer = netip.Addr{} // a socket that opens is no answer of a server
	}
	return classify(err), peer, err
}

// checkCommits tells whether what clients commit reaches the disk, and the synchronous standby if there is one.
func (c *Client) checkCommits(ctx context.Context, s *session, v clientView) (State, error) {
	c.mu.Lock()
	stall, wait := c.flush.observe(time.Now(), v.wal), c.sync.observe(time.Now(), v.wal.standby)
	write := c.WriteEvery > 0 && time.Since(c.wrote) >= c.WriteEvery
	c.mu.Unlock()
	if stall > 0 {
		return StateTimeout, fmt.Errorf("commits hang: WAL has not reached the disk for %.0f s", stall.Seconds())
	}
	if wait > 0 {
		return StateTimeout, fmt.Errorf(NoStandby+" for %.0f s", wait.Seconds())
	}
	if !write {
		return StateWritable, nil
	}
	sql := writeSQL
	if v.version < 170000 {
		sql = writeSQL16
	}
	if err := run(ctx, s, sql, func(int, row) error { return nil }); err != nil {
		return classify(err), fmt.Errorf("write a WAL record: %w", err)
	}
	c.mu.Lock()
	c.wrote = time.Now()
	c.mu.Unlock()
	return StateWritable, nil
}

type clientView struct {
	state   State
	why     error // of StateAuth
	addr    netip.Addr
	version int
	wal     walPosition
}

func askClient(ctx context.Context, s *session) (v clientView, err error) {
	err = run(ctx, s, clientSQL, func(_ int, r row) error {
		f := fields{row: r}
		recovery, readOnly, addr := f.bool(0), f.bool(1), f.text(2)
		v.version = int(f.uint(3, 10, 31))
		v.wal = walPosition{inserted: f.uint(4, 10, 64), flushed: f.uint(5, 10, 64),
			writerDelay: time.Duration(f.int(6)) * time.Microsecond, waiting: f.bool(7), standby: f.text(8)}
		own := readOnlyError(f.text(9))
		if err := f.done(10); err != nil {
			return err
		}
		switch {
		case recovery:
			v.state = StateInRecovery
		case readOnly && own != nil:
			v.state, v.why = StateAuth, own
		case readOnly:
			v.state = StateReadOnly
		default:
			v.state = StateWritable
		}
		if a, err := netip.ParseAddr(addr); err == nil {
			v.addr = a.Unmap()
		}
		return nil
	})
	if err == nil && v.state == "" {
		err = errors.New("read answer: no row")
	}
	return v, err
}
