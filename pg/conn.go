package pg

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"golang.org/x/sys/unix"
)

// maxMessage bounds one protocol message of the server, in bytes. Ours are a few hundred.
const maxMessage = 1 << 20

type dialFunc = pgconn.DialFunc

// deadPeer is how long a machine that has vanished may leave what it was sent unacknowledged, and how long one is
// waited for that is silent and does not answer keepalives. A server that only hangs acknowledges: its kernel does.
const deadPeer = 5 * time.Second

// newDialer returns how sockets are opened.
func newDialer() dialFunc {
	d := net.Dialer{
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: deadPeer, Interval: deadPeer / 2, Count: 2},
		Control: func(network, _ string, c syscall.RawConn) error {
			if !strings.HasPrefix(network, "tcp") {
				return nil
			}
			return c.Control(func(fd uintptr) {
				_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(deadPeer.Milliseconds()))
			})
		},
	}
	return d.DialContext
}

// session is one connection together with its socket. The socket is kept because the driver's own way to give
// up on a query opens a second connection for a cancel request and waits up to 15 s for the first: against a
// server that hangs, that is a heap of connections. We close the socket; statement_timeout ends the query.
type session struct {
	*pgconn.PgConn
	socket net.Conn
}

func (s *session) abort() {
	_ = s.socket.Close() // nothing depends on how an abandoned socket closes
}

type ourDial struct{}

var errNoCancelRequest = errors.New("no second connection for a cancel request")

// connect opens one connection within ctx. The returned address is the peer of the last socket that opened,
// also when the server then refused us; it is zero for a unix socket and when no socket opened.
func connect(ctx context.Context, config *pgconn.Config, dial dialFunc) (*session, netip.Addr, error) {
	s := &session{}
	var peer netip.Addr
	cfg := config.Copy()
	cfg.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
		if ctx.Value(ourDial{}) == nil {
			return nil, errNoCancelRequest
		}
		c, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		s.socket = c
		if ap, err := netip.ParseAddrPort(c.RemoteAddr().String()); err == nil {
			peer = ap.Addr().Unmap()
		}
		return c, nil
	}
	// sslmode=prefer makes two configurations for one host, and the driver resolves each: once is enough, and both
	// must mean the same server.
	var host string
	var addrs []string
	cfg.LookupFunc = func(ctx context.Context, h string) ([]string, error) {
		if h == host && addrs != nil {
			return addrs, nil
		}
		found, err := config.LookupFunc(ctx, h)
		host, addrs = h, found
		return found, err
	}
	var err error
	s.PgConn, err = pgconn.ConnectConfig(context.WithValue(ctx, ourDial{}, true), cfg)
	if err != nil {
		if s.socket != nil {
			s.abort()
		}
		return nil, peer, err
	}
	return s, peer, nil
}

// ownParams prepares a parsed configuration: who we are, and nothing of the driver's that would add round
// trips or time limits of its own.
func ownParams(cfg *pgconn.Config) {
	cfg.RuntimeParams["application_name"] = "pgha-agent"
	cfg.RuntimeParams["client_encoding"] = "UTF8"
	cfg.MaxProtocolMessageBodyLen = maxMessage
	cfg.ConnectTimeout = 0    // the context bounds it
	cfg.ValidateConnect = nil // target_session_attrs: what it would ask, our query asks
}
