package main

import (
	"context"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// client is an application: it writes numbered rows through the service name, all the time, over several connections.
type client struct {
	config *pgconn.Config
	next   atomic.Int64
	wrote  func(kib uint64)

	mu       sync.Mutex
	acked    []int64
	failed   int
	last     time.Time
	gapFrom  time.Time // the longest time without an acknowledged commit
	gapTo    time.Time
	answered string // server of the last commit
}

const (
	clientConnections = 4
	clientPause       = 15 * time.Millisecond
	clientRetry       = 100 * time.Millisecond
	clientTimeout     = time.Second
)

// newClient makes a client that resolves the name at a DNS server for each new connection, as an application without a cache does.
func newClient(name string, port int, dns string) (*client, error) {
	cfg, err := pgconn.ParseConfig(fmt.Sprintf("host=%s port=%d user=app dbname=app sslmode=disable connect_timeout=1 application_name=demo", name, port))
	if err != nil {
		return nil, err
	}
	resolver := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, dns)
	}}
	cfg.LookupFunc = func(ctx context.Context, host string) ([]string, error) { return resolver.LookupHost(ctx, host+".") }
	return &client{config: cfg, wrote: func(uint64) {}}, nil
}

func (c *client) createTable(ctx context.Context) error {
	conn, err := pgconn.ConnectConfig(ctx, c.config)
	if err != nil {
		return fmt.Errorf("connect through the name: %w", err)
	}
	defer func() { _ = conn.Close(ctx) }()
	_, err = conn.Exec(ctx, "CREATE TABLE demo_rows (n bigint PRIMARY KEY, at timestamptz NOT NULL DEFAULT clock_timestamp())").ReadAll()
	return err
}

// run writes until ctx ends.
func (c *client) run(ctx context.Context) {
	var wg sync.WaitGroup
	for range clientConnections {
		wg.Go(func() {
			for ctx.Err() == nil {
				c.session(ctx)
				_ = sleep(ctx, clientRetry)
			}
		})
	}
	wg.Wait()
}

// session writes over one connection until it fails.
func (c *client) session(ctx context.Context) {
	dial, cancel := context.WithTimeout(ctx, 2*clientTimeout)
	conn, err := pgconn.ConnectConfig(dial, c.config)
	cancel()
	if err != nil {
		c.fail()
		return
	}
	defer func() {
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), clientTimeout)
		defer cancel()
		_ = conn.Close(end) // it failed, or nobody needs it any more
	}()
	server := conn.Conn().RemoteAddr().String()
	for ctx.Err() == nil {
		n := c.next.Add(1)
		// A commit whose answer is lost may have happened: only what was acknowledged counts.
		op, cancel := context.WithTimeout(context.WithoutCancel(ctx), clientTimeout)
		_, err := conn.Exec(op, fmt.Sprintf("INSERT INTO demo_rows (n) VALUES (%d)", n)).ReadAll()
		cancel()
		if err != nil {
			c.fail()
			return
		}
		c.ack(n, server)
		_ = sleep(ctx, clientPause)
	}
}

func (c *client) fail() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failed++
}

func (c *client) ack(n int64, server string) {
	c.wrote(8)
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	if !c.last.IsZero() && now.Sub(c.last) > c.gapTo.Sub(c.gapFrom) {
		c.gapFrom, c.gapTo = c.last, now
	}
	c.last, c.answered = now, server
	c.acked = append(c.acked, n)
}

// outage is the longest time from one acknowledged commit to the next.
func (c *client) outage() (from, to time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.gapFrom, c.gapTo
}

func (c *client) counts() (acked, failed int, last time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.acked), c.failed, c.last
}

// server is the host:port of the last acknowledged commit.
func (c *client) server() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.answered
}

// compare looks for the rows that have been acknowledged until now. More may be stored: of commits whose answer was lost, and of
// those that came since.
func (c *client) compare(ctx context.Context) (acked, lost []int64, stored int, err error) {
	c.mu.Lock()
	acked = append(acked, c.acked...)
	c.mu.Unlock()
	conn, err := pgconn.ConnectConfig(ctx, c.config)
	if err != nil {
		return nil, nil, 0, fmt.Errorf("connect through the name: %w", err)
	}
	defer func() { _ = conn.Close(ctx) }()
	results, err := conn.Exec(ctx, "SELECT n FROM demo_rows").ReadAll()
	if err != nil {
		return nil, nil, 0, fmt.Errorf("read the rows: %w", err)
	}
	have := map[string]bool{}
	for _, row := range results[0].Rows {
		have[string(row[0])] = true
	}
	for _, n := range acked {
		if !have[fmt.Sprint(n)] {
			lost = append(lost, n)
		}
	}
	return acked, lost, len(have), nil
}
