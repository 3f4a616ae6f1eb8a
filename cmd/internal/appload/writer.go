// Package appload is what watches a cluster from outside: an application that writes numbered rows through the service
// name all the time, knows to the moment when it could not, and compares what it was promised with what is stored; and
// a reader of the nodes' metrics.
package appload

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgha/pgha-agent/cmd/internal/wait"
)

// Config says what to write to. Host and Port are required, the zero values of the rest have defaults.
type Config struct {
	Host           string // the service name, an address, or the directory of a unix socket
	Port           uint16
	User, Database string // default "app"
	Password       string
	Resolver       string        // host:port of the DNS server asked at each new connection; "" is the system's
	Connections    int           // default 4
	Pause          time.Duration // after a commit, on each connection; default 15 ms
	Retry          time.Duration // after an error, on each connection; default 100 ms
	Timeout        time.Duration // of a commit, and of a login; default 1 s
	Connect        time.Duration // of name and TCP connection together; default 1 s
	Name           string        // of this writer in the table, also its application_name; default "app"
	// optional: gets one Write per acknowledged commit, "RFC3339Nano writer n server\n"; it is waited for
	Log io.Writer
}

// Table is where all writers keep their rows.
const Table = "appload"

// Writer writes until it is told to stop, and survives whatever the database does meanwhile.
type Writer struct {
	cfg  Config
	base *pgconn.Config
	next atomic.Int64 // the last number taken
	from int64        // numbers of this Writer are above; set by Prepare

	logMu sync.Mutex // not mu: a slow disk under the log must hold up no reader

	mu      sync.Mutex
	acked   bitmap
	count   int
	lastN   int64
	commits commits
	failed  int
	err     error     // of the last failure
	stopped time.Time // when Run was told to end
}

// New makes a Writer; it connects to nothing yet.
func New(cfg Config) (*Writer, error) {
	cfg.User = cmp.Or(cfg.User, "app")
	cfg.Database = cmp.Or(cfg.Database, "app")
	cfg.Name = cmp.Or(cfg.Name, "app")
	cfg.Connections = cmp.Or(cfg.Connections, 4)
	cfg.Pause = cmp.Or(cfg.Pause, 15*time.Millisecond)
	cfg.Retry = cmp.Or(cfg.Retry, 100*time.Millisecond)
	cfg.Timeout = cmp.Or(cfg.Timeout, time.Second)
	cfg.Connect = cmp.Or(cfg.Connect, time.Second)
	switch {
	case cfg.Host == "" || cfg.Port == 0:
		return nil, errors.New("appload: host and port are required")
	case cfg.Connections < 0 || cfg.Pause < 0 || cfg.Retry < 0 || cfg.Timeout < 0 || cfg.Connect < 0:
		return nil, errors.New("appload: connections and times must be positive")
	case strings.ContainsAny(cfg.Name, " \t\r\n\x00"):
		return nil, fmt.Errorf("appload: white space in the name %q", cfg.Name)
	}
	// Everything that the environment might have said is set below.
	base, err := pgconn.ParseConfig("host=/ port=1 user=x dbname=x sslmode=disable target_session_attrs=any")
	if err != nil {
		return nil, fmt.Errorf("appload: %w", err)
	}
	base.User, base.Database, base.Password = cfg.User, cfg.Database, cfg.Password
	base.RuntimeParams = map[string]string{"application_name": cfg.Name}
	base.ConnectTimeout = 0 // the context's
	return &Writer{cfg: cfg, base: base}, nil
}

// Run writes until ctx ends, then lets commits under way end; all of that is over, at the latest, after Config.Timeout.
// Call it once.
func (w *Writer) Run(ctx context.Context) {
	var wg sync.WaitGroup
	for range w.cfg.Connections {
		wg.Go(func() {
			for ctx.Err() == nil {
				if err := w.write(ctx); err != nil && ctx.Err() == nil {
					w.fail(err)
				}
				_ = wait.For(ctx, w.cfg.Retry)
			}
		})
	}
	<-ctx.Done()
	w.mu.Lock()
	w.stopped = time.Now()
	w.mu.Unlock()
	wg.Wait()
}

// write uses one connection until it fails or ctx ends. After any error the connection is given up, as a careful
// application does: a server that answers "read-only" is the wrong one.
func (w *Writer) write(ctx context.Context) error {
	s, err := w.connect(ctx, w.cfg.Host, w.cfg.Port, 1)
	if err != nil {
		return err
	}
	defer s.close()
	server := s.raw.RemoteAddr().String()
	for ctx.Err() == nil {
		n := w.next.Add(1)
		// Not ctx: a commit under way shall end, or its row would be stored and not known. The deadline ends it in a black
		// hole. A commit without an answer may have happened; its number is never used again, and only what was acknowledged
		// counts.
		_ = s.raw.SetDeadline(time.Now().Add(w.cfg.Timeout)) // fails when closed: then Exec does too
		res := s.pg.ExecParams(context.Background(), "INSERT INTO "+Table+" (writer, n) VALUES ($1, $2)",
			[][]byte{[]byte(w.cfg.Name), strconv.AppendInt(nil, n, 10)}, nil, nil, nil).Read()
		at := time.Now()
		if res.Err != nil {
			return fmt.Errorf("insert %d at %s: %w", n, server, res.Err)
		}
		if err := w.ack(n, at, server); err != nil {
			return err
		}
		_ = wait.For(ctx, w.cfg.Pause)
	}
	return nil
}

// ack counts a commit, which was acknowledged at the given time, once it is in the log.
func (w *Writer) ack(n int64, at time.Time, server string) error {
	if w.cfg.Log != nil {
		w.logMu.Lock()
		_, err := fmt.Fprintf(w.cfg.Log, "%s %s %d %s\n", at.Format(time.RFC3339Nano), w.cfg.Name, n, server)
		if f, ok := w.cfg.Log.(interface{ Flush() error }); ok && err == nil {
			err = f.Flush()
		}
		w.logMu.Unlock()
		if err != nil {
			return fmt.Errorf("log of commit %d: %w", n, err)
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.acked.set(n - w.from)
	w.count++
	if !at.Before(w.commits.last.at) {
		w.lastN = n
	}
	w.commits.add(moment{at, server})
	return nil
}

func (w *Writer) fail(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.failed++
	w.err = err
}

// Acked is the number of acknowledged commits.
func (w *Writer) Acked() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.count
}

// Failed is the number of failed connections and commits, and the last error.
func (w *Writer) Failed() (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.failed, w.err
}

// Last is the number of the newest acknowledged commit, the time of its acknowledgement, and the server's host:port;
// zero values before the first.
func (w *Writer) Last() (n int64, at time.Time, server string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.lastN, w.commits.last.at, w.commits.last.server
}

// Outages are the gaps between acknowledged commits over all connections, oldest first, that took least and Shortest or
// longer. One that is still open at now, or was when Run was told to end, is the last and has a zero To. There is none
// before the first commit.
func (w *Writer) Outages(now time.Time, least time.Duration) []Outage {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.stopped.IsZero() && now.After(w.stopped) {
		now = w.stopped
	}
	return w.commits.outages(now, least)
}

// session is one connection to a server.
type session struct {
	raw net.Conn
	pg  *pgconn.PgConn
}

// connect asks the resolver, dials and logs in. The driver gets the dialed connection and can make no other: it would
// send a cancel request to a dead server for 15 seconds after each failure. The time limits are multiplied by patience.
func (w *Writer) connect(ctx context.Context, host string, port uint16, patience time.Duration) (*session, error) {
	dialer := net.Dialer{Timeout: patience * w.cfg.Connect}
	if w.cfg.Resolver != "" {
		// A new one each time: one Resolver joins equal questions under way, and whoever leaves early leaves a goroutine
		// behind.
		dialer.Resolver = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
			c, err := new(net.Dialer).DialContext(ctx, network, w.cfg.Resolver)
			if err == nil { // a question to a silent server would go on for 5 seconds after ctx ended
				context.AfterFunc(ctx, func() { _ = c.Close() })
			}
			return c, err
		}}
		if !strings.HasPrefix(host, "/") && net.ParseIP(host) == nil && !strings.HasSuffix(host, ".") {
			host += "." // no search list
		}
	}
	network, address := pgconn.NetworkAddress(host, port)
	raw, err := dialer.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	cfg := w.base.Copy()
	cfg.Host, cfg.Port = host, port
	cfg.LookupFunc = func(context.Context, string) ([]string, error) { return []string{raw.RemoteAddr().String()}, nil }
	var used atomic.Bool
	cfg.DialFunc = func(context.Context, string, string) (net.Conn, error) {
		if used.Swap(true) {
			return nil, net.ErrClosed
		}
		return raw, nil
	}
	ctx, cancel := context.WithTimeout(ctx, patience*w.cfg.Timeout)
	defer cancel()
	pg, err := pgconn.ConnectConfig(ctx, cfg)
	if err != nil {
		_ = raw.Close() // the driver may have done so
		return nil, err
	}
	return &session{raw: raw, pg: pg}, nil
}

// close leaves nothing behind, whatever state the connection is in.
func (s *session) close() {
	if !s.pg.IsClosed() && !s.pg.IsBusy() { // say goodbye; ten bytes fit into the socket's buffer
		_ = s.raw.SetDeadline(time.Now().Add(100 * time.Millisecond))
		_ = s.pg.Close(context.Background())
	}
	_ = s.raw.Close()                    // ends what the driver does in the background after an error
	_ = s.pg.Close(context.Background()) // nothing when it closed itself
	<-s.pg.CleanupDone()
}
