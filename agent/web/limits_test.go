package web

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	stdlog "log"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// addrConn is a connection from somewhere.
type addrConn struct {
	net.Conn
	from net.Addr
}

func (c addrConn) RemoteAddr() net.Addr { return c.from }

// memoryListener accepts the other ends of pipes, on which virtual time works.
type memoryListener chan net.Conn

func (l memoryListener) Accept() (net.Conn, error) {
	c, ok := <-l
	if !ok {
		return nil, net.ErrClosed
	}
	return c, nil
}
func (l memoryListener) Close() error   { return nil }
func (l memoryListener) Addr() net.Addr { return &net.TCPAddr{} }

// dial connects as a client at that address.
func (l memoryListener) dial(from string) net.Conn {
	here, there := net.Pipe()
	l <- addrConn{there, net.TCPAddrFromAddrPort(netip.MustParseAddrPort(from))}
	return here
}

// serveInMemory serves h, with our limits, until the test's bubble ends.
func serveInMemory(t *testing.T, h http.Handler) memoryListener {
	t.Helper()
	l := make(memoryListener)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- serve(ctx, slog.New(slog.DiscardHandler), h, func(s *http.Server) error { return s.Serve(limitConns(l)) })
	}()
	t.Cleanup(func() {
		close(l)
		cancel()
		<-done
		time.Sleep(time.Minute) // virtual time stands still once the test is over: what is left must end now
	})
	return l
}

func TestSlowClientsLoseTheirConnection(t *testing.T) {
	hello := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(w, strings.Repeat("x", 1<<20))
	})
	for name, c := range map[string]struct {
		first string // sent at once
		drip  string // sent again and again, a second apart
		read  bool   // the answer as well
		after time.Duration
	}{
		"says nothing":              {"", "", true, 5 * time.Second},
		"a header byte each second": {"GET / HTTP/1.1\r\nHost: x\r\nX: ", "x", true, 5 * time.Second},
		"a body byte each second": {"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n", "x", true,
			10 * time.Second},
		"does not read":       {"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "", false, 10 * time.Second},
		"asks once and stays": {"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "", true, 2 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				conn := serveInMemory(t, hello).dial("192.0.2.1:1000")
				begin := time.Now()
				if _, err := conn.Write([]byte(c.first)); err != nil && c.first != "" {
					t.Fatal(err)
				}
				if c.read {
					go func() { _, _ = io.Copy(io.Discard, conn) }()
				}
				for drip := []byte(c.drip); ; time.Sleep(time.Second) {
					// What is written to a closed pipe fails. A server that only waits takes nothing: then a deadline tells that it is
					// still there.
					_ = conn.SetWriteDeadline(time.Now().Add(time.Millisecond))
					if len(drip) == 0 {
						drip = []byte("\r\n") // between requests it means nothing
					}
					if _, err := conn.Write(drip); errors.Is(err, io.ErrClosedPipe) {
						break
					}
					if c.drip == "" {
						drip = nil
					}
					if time.Since(begin) > time.Hour {
						t.Fatal("still connected after an hour")
					}
				}
				if took := time.Since(begin); took > c.after+2*time.Second {
					t.Errorf("connected for %v, want at most %v", took, c.after)
				}
			})
		})
	}
}

// answerOn reads the answer to a request that was written to conn.
func answerOn(conn net.Conn) (code int, err error) {
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, err
}

func TestClientsCannotFillTheLog(t *testing.T) {
	var out bytes.Buffer
	log := stdlog.New(httpLog{slog.New(slog.NewJSONHandler(&out, nil))}, "", 0)
	log.Print("http: TLS handshake error from 192.0.2.1:1: EOF")
	if out.Len() > 0 {
		t.Errorf("a client's mistake is in the log: %s", out.String())
	}
	log.Print("http: panic serving 192.0.2.1:1: boom")
	if !strings.Contains(out.String(), `"level":"ERROR"`) {
		t.Errorf("a panic is not in the log: %q", out.String())
	}
}

func TestHugeHeadersAreRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var served atomic.Int32
		conn := serveInMemory(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { served.Add(1) })).dial(
			"192.0.2.1:1000")
		go func() {
			_, _ = fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: x\r\nX: %s\r\n\r\n", strings.Repeat("x", 1<<20))
		}()
		if code, err := answerOn(conn); err != nil || code != http.StatusRequestHeaderFieldsTooLarge || served.Load() != 0 {
			t.Errorf("status %d, %v, served %d", code, err, served.Load())
		}
	})
}

func TestNoClientTakesAllConnections(t *testing.T) {
	l := make(memoryListener)
	limited := limitConns(l)
	accepted := make(chan net.Conn, 2*maxConns)
	go func() {
		for {
			c, err := limited.Accept()
			if err != nil {
				return
			}
			accepted <- c
		}
	}()
	defer close(l)
	// open makes n connections and returns those that were not closed at once.
	open := func(n int, from string) (mine []net.Conn) {
		for range n {
			c := l.dial(from)
			t.Cleanup(func() { _ = c.Close() })
			done := make(chan bool, 1)
			go func() { _, err := c.Read(make([]byte, 1)); done <- errors.Is(err, io.EOF) }()
			select {
			case a := <-accepted:
				mine = append(mine, a)
			case closed := <-done:
				if !closed {
					t.Fatal("neither accepted nor closed")
				}
			}
		}
		return mine
	}
	hog := open(connsEach+10, "192.0.2.66:1")
	if len(hog) != connsEach {
		t.Errorf("one client has %d connections, want %d", len(hog), connsEach)
	}
	if n := len(open(1, "192.0.2.1:1")); n != 1 {
		t.Error("another client is locked out")
	}
	for _, c := range hog[:3] {
		_ = c.Close()
		_ = c.Close() // counts once
	}
	if n := len(open(10, "192.0.2.66:2")); n != 3 {
		t.Errorf("%d connections after 3 had ended", n)
	}
	for host := range 10 {
		open(connsEach, fmt.Sprintf("[2001:db8:0:%x::1]:1", host))
		open(1, fmt.Sprintf("[2001:db8:0:%x::2]:1", host)) // the same network
	}
	if limited.total != maxConns {
		t.Errorf("%d connections in all, want %d", limited.total, maxConns)
	}
}

func TestLargeAnswersAreComputedAFewAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var running, most atomic.Int32
		hang := make(chan struct{})
		h := make(slots, atOnce).bounded(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			most.Store(max(most.Load(), running.Add(1)))
			defer running.Add(-1)
			if r.URL.Path == "/hang" {
				<-hang
			}
			w.Header().Set("X-Test", "yes")
			w.WriteHeader(http.StatusTeapot)
			_, _ = io.WriteString(w, "tea")
		}))
		ask := func(path string) *httptest.ResponseRecorder {
			rec := httptest.NewRecorder()
			h.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, path, nil))
			return rec
		}
		if r := ask("/"); r.Code != http.StatusTeapot || r.Body.String() != "tea" || r.Header().Get("X-Test") != "yes" {
			t.Errorf("answer %+v", r)
		}
		for range atOnce {
			go ask("/hang")
		}
		synctest.Wait()
		begin := time.Now()
		if r := ask("/"); r.Code != http.StatusServiceUnavailable || time.Since(begin) != patience {
			t.Errorf("status %d after %v", r.Code, time.Since(begin))
		}
		close(hang)
		synctest.Wait()
		if r := ask("/"); r.Code != http.StatusTeapot {
			t.Errorf("status %d when there is room again", r.Code)
		}
		if most.Load() != atOnce {
			t.Errorf("%d at once, want %d", most.Load(), atOnce)
		}
	})
}

func TestReaderThatIsSlowHoldsNoSlot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := serveInMemory(t, make(slots, 1).bounded(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, strings.Repeat("x", 1<<20))
		})))
		slow := l.dial("192.0.2.66:1")
		if _, err := io.WriteString(slow, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		conn := l.dial("192.0.2.1:1")
		begin := time.Now()
		go func() { _, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n") }()
		if code, err := answerOn(conn); err != nil || code != http.StatusOK || time.Since(begin) != 0 {
			t.Errorf("status %d, %v after %v", code, err, time.Since(begin))
		}
	})
}
