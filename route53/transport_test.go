package route53_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pgha/pgha-agent/route53"
	"github.com/pgha/pgha-agent/route53/route53test"
)

// pipes is a network in memory, for virtual time.
type pipes chan net.Conn

func (p pipes) Accept() (net.Conn, error) {
	c, ok := <-p
	if !ok {
		return nil, net.ErrClosed
	}
	return c, nil
}

func (p pipes) Close() error   { return nil }
func (p pipes) Addr() net.Addr { return &net.TCPAddr{} }

// serverIdle is how long virtual's server keeps an idle connection.
const serverIdle = time.Hour

// virtual serves h inside a bubble of synctest. Each connection takes setup.
func virtual(h http.Handler, setup time.Duration) (tr *http.Transport, end func()) {
	network := make(pipes)
	server := &http.Server{Handler: h, IdleTimeout: serverIdle, ReadHeaderTimeout: serverIdle}
	go func() { _ = server.Serve(network) }()
	tr = &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
		time.Sleep(setup)
		here, there := net.Pipe()
		network <- there
		return here, nil
	}}
	return tr, func() {
		tr.CloseIdleConnections()
		close(network)
	}
}

// While a connection is made, the decision behind a write grows too old for its guard. The write waits for the
// connection no longer than the decision lasts, and the connection serves the next write.
func TestSlowConnectionServesALaterWrite(t *testing.T) {
	const (
		lasts   = 2 * time.Second         // of a decision
		answers = 1500 * time.Millisecond // after the request: that wait is another one
		pause   = 300 * time.Millisecond
	)
	for _, setup := range []time.Duration{0, 900 * time.Millisecond, 1500 * time.Millisecond, 2500 * time.Millisecond,
		6 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			s := route53test.New(route53test.Options{})
			defer s.Close()
			s.SetLatency("", answers)
			tr, end := virtual(s, setup)
			defer end()
			c := client(t, "http://10.0.0.5", func(o *route53.Options) {
				o.HTTPClient, o.Timeout = &http.Client{Transport: tr}, 3*time.Second
			})
			began, refused := time.Now(), 0
			w := next(route53.Owner{}, "pg-a", addrA)
			for {
				decided := time.Now()
				w.Guard = func() error {
					if age := time.Since(decided); age > lasts {
						refused++
						return fmt.Errorf("the decision is %v old", age)
					}
					return nil
				}
				_, err := c.Write(t.Context(), w)
				if err == nil {
					break
				}
				wantErr(t, err, route53.ReasonTimeout, false)
				if time.Since(began) > time.Minute {
					t.Fatalf("a connection that takes %v is never used", setup)
				}
				time.Sleep(pause)
			}
			if took := time.Since(began); refused > 0 || took > setup+pause+answers {
				t.Errorf("a connection that takes %v: written after %v, refused %d times", setup, took, refused)
			}
			time.Sleep(time.Minute) // the connections of the other attempts
			tr.CloseIdleConnections()
			if n := s.Count(""); n != 1 {
				t.Errorf("%d requests, want 1", n)
			}
			synctest.Wait()
		})
	}
}

// wire makes connections on which what was written can be seen, and which fail as told.
type wire struct {
	mu      sync.Mutex
	written bytes.Buffer
	deaf    bool        // to write deadlines
	broken  atomic.Bool // each write fails
	dials   atomic.Int32
}

func (w *wire) transport(t *testing.T) *http.Client {
	tr := &http.Transport{DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		w.dials.Add(1)
		conn, err := (&net.Dialer{}).DialContext(ctx, network, addr)
		return &wireConn{conn, w}, err
	}}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

func (w *wire) text() string { w.mu.Lock(); defer w.mu.Unlock(); return w.written.String() }

type wireConn struct {
	net.Conn
	wire *wire
}

func (c *wireConn) Write(p []byte) (int, error) {
	if c.wire.broken.Load() {
		return 0, syscall.EPIPE
	}
	c.wire.mu.Lock()
	defer c.wire.mu.Unlock()
	n, err := c.Conn.Write(p)
	c.wire.written.Write(p[:n])
	return n, err
}

func (c *wireConn) SetWriteDeadline(at time.Time) error {
	if c.wire.deaf {
		return nil
	}
	return c.Conn.SetWriteDeadline(at)
}

// Of the three safeguards the write deadline alone keeps the head back (TestRefusedWriteLeavesNoByteOnTheWire). The
// body alone holds the request back on a connection that does not obey deadlines: without its body it is none.
func TestRefusedWriteHasNoBodyWithoutDeadlines(t *testing.T) {
	s := fake(t, route53test.Options{})
	w := &wire{deaf: true}
	c := client(t, s.URL(), func(o *route53.Options) { o.HTTPClient = w.transport(t) })
	write := next(route53.Owner{}, "pg-a", addrA)
	write.Guard = func() error { return errors.New("no") }
	_, err := c.Write(t.Context(), write)
	wantErr(t, err, route53.ReasonGuard, false)
	head, body, _ := strings.Cut(w.text(), "\r\n\r\n")
	if !strings.HasPrefix(head, "POST ") || body != "" || s.Count("") != 0 {
		t.Errorf("head %q, body %q, %d calls", head, body, s.Count(""))
	}
}

// A call is at most one request. The caller decides on a repeat, and asks its gate before. (TestRequestCannotBeRepeated
// has the safeguard, which counts when the SDK gives a body that can be asked for again.)
func TestWriteThatBreaksOnAWarmConnectionIsNotRepeated(t *testing.T) {
	s := fake(t, route53test.Options{})
	w := &wire{}
	c := client(t, s.URL(), func(o *route53.Options) { o.HTTPClient = w.transport(t) })
	if err := c.Warm(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.broken.Store(true)
	asked := 0
	write := next(route53.Owner{}, "pg-a", addrA)
	write.Guard = func() error {
		asked++
		w.broken.Store(asked == 1)
		return nil
	}
	_, err := c.Write(t.Context(), write)
	wantErr(t, err, route53.ReasonNetwork, false)
	if asked != 1 || s.Count("") != 0 || w.dials.Load() != 1 {
		t.Errorf("the guard was asked %d times, %d calls, %d connections", asked, s.Count(""), w.dials.Load())
	}
}

// early is a transport that gives up while it still holds the body, as the contract of http.RoundTripper allows.
type early struct{ body io.Reader }

func (e *early) RoundTrip(r *http.Request) (*http.Response, error) {
	httptrace.ContextClientTrace(r.Context()).GotConn(httptrace.GotConnInfo{})
	e.body = r.Body
	return nil, errors.New("broken")
}

// A call that has reported that nothing was sent sends nothing later.
func TestBodyEndsWithTheCall(t *testing.T) {
	var tr early
	c := client(t, "http://10.0.0.5", func(o *route53.Options) { o.HTTPClient = &http.Client{Transport: &tr} })
	write := next(route53.Owner{}, "pg-a", addrA)
	write.Guard = func() error { return nil }
	_, err := c.Write(t.Context(), write)
	wantErr(t, err, route53.ReasonNetwork, false)
	if b, err := io.ReadAll(tr.body); len(b) > 0 || err == nil {
		t.Errorf("after the call: %q, %v", b, err)
	}
}
