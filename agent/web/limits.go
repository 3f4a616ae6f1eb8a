package web

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/pgha/pgha-agent/agent/alertsock"
)

// What clients of the HTTP servers get at most. The daemon needs file descriptors for crm_mon, drbdsetup, the alert
// socket and Route 53: no client may use them up.
const (
	maxConns  = 128 // connections of one server
	connsEach = 32  // of these by one client: one does not lock out the others
	atOnce    = 4   // large answers that are computed at the same time
	patience  = 2 * time.Second
)

// limitedListener closes connections beyond the limits as soon as they come.
type limitedListener struct {
	net.Listener
	mu    sync.Mutex
	conns map[string]int // by client
	total int
}

func limitConns(l net.Listener) *limitedListener {
	return &limitedListener{Listener: l, conns: map[string]int{}}
}

// Accept implements net.Listener. Its connections are *limitedConn.
func (l *limitedListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		client := clientOf(c)
		if !l.enter(client) {
			_ = c.Close()
			continue
		}
		return &limitedConn{Conn: c, client: client, leave: sync.OnceFunc(func() { l.leave(client) })}, nil
	}
}

func (l *limitedListener) enter(client string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.total >= maxConns || l.conns[client] >= connsEach {
		return false
	}
	l.total++
	l.conns[client]++
	return true
}

func (l *limitedListener) leave(client string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.total--
	if l.conns[client]--; l.conns[client] == 0 {
		delete(l.conns, client)
	}
}

type limitedConn struct {
	net.Conn
	client string
	leave  func()
}

// Close implements net.Conn.
func (c *limitedConn) Close() error {
	defer c.leave()
	return c.Conn.Close()
}

// clientOf says who counts as one client: a user on this machine, an IPv4 address, or an IPv6 network, of which one
// host has all addresses.
func clientOf(c net.Conn) string {
	if uid, err := alertsock.PeerUID(c); err == nil {
		return fmt.Sprint("uid ", uid)
	}
	at, err := netip.ParseAddrPort(c.RemoteAddr().String())
	if err != nil {
		return c.RemoteAddr().String()
	}
	addr := at.Addr().Unmap()
	if addr.Is6() {
		network, _ := addr.WithZone("").Prefix(64) // fits every IPv6 address
		return network.String()
	}
	return addr.String()
}

// slots bounds how many large answers are computed at once.
type slots chan struct{}

// bounded computes the answer of h as a whole while it holds a slot, and sends it without one: a client that reads
// slowly keeps its own connection busy, and a copy of its answer.
func (s slots) bounded(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		late := time.NewTimer(patience)
		defer late.Stop()
		select {
		case s <- struct{}{}:
		case <-r.Context().Done():
			return
		case <-late.C:
			http.Error(w, "too many requests at once", http.StatusServiceUnavailable)
			return
		}
		answer := wholeAnswer{header: w.Header(), code: http.StatusOK}
		func() {
			defer func() { <-s }()
			h.ServeHTTP(&answer, r)
		}()
		w.WriteHeader(answer.code)
		_, _ = w.Write(answer.body.Bytes()) // an error means that the client is gone
	})
}

// wholeAnswer is a ResponseWriter that keeps the answer.
type wholeAnswer struct {
	header http.Header
	code   int
	body   bytes.Buffer
}

func (a *wholeAnswer) Header() http.Header         { return a.header }
func (a *wholeAnswer) WriteHeader(code int)        { a.code = code }
func (a *wholeAnswer) Write(p []byte) (int, error) { return a.body.Write(p) }
