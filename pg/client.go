// Package pg asks PostgreSQL how it is: the local server as a probe, and the service as its clients see it.
package pg

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// Client sees the service as an application does: it resolves the name, connects, asks, and hangs up, each time
// anew, so that no connection of its own can hide a failover.
type Client struct {
	Timeout time.Duration // of a whole Probe, name resolution included; 0 is 2 s. Set before the first Probe

	config  *pgconn.Config
	secrets []string
	dial    dialFunc
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
	return &Client{config: cfg, secrets: []string{cfg.Password}, dial: (&net.Dialer{}).DialContext}, nil
}

// lookupError is a name that the resolver did not answer.
type lookupError struct{ err error }

func (e *lookupError) Error() string { return e.err.Error() }
func (e *lookupError) Unwrap() error { return e.err }

const clientSQL = `SELECT pg_is_in_recovery(), current_setting('transaction_read_only'), host(inet_server_addr())`

// Probe makes one attempt, bounded by Timeout and ctx.
//
// A server that rejects our role (StateAuth) counts as OK: it checks roles only once it accepts connections,
// and the passive node of a DRBD pair runs no PostgreSQL at all, so an outage can be measured without a role.
func (c *Client) Probe(ctx context.Context) ClientProbe {
	v := ClientProbe{Begin: time.Now()}
	timeout := c.Timeout
	if timeout <= 0 {
		timeout = defaultTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var err error
	v.State, v.Answered, err = c.probe(ctx)
	if lookup, ok := errors.AsType[*lookupError](err); ok {
		err = lookup // pgx says it once for each way that it tried
	}
	v.OK = v.State == StateWritable || v.State == StateAuth
	v.Err = errText(err, c.secrets)
	v.End = time.Now()
	return v
}

func (c *Client) probe(ctx context.Context) (State, netip.Addr, error) {
	s, peer, err := connect(ctx, c.config, c.dial)
	if err == nil {
		defer s.abort()
		var v clientView
		if v, err = askClient(ctx, s); err == nil {
			_ = s.Close(ctx) // we have the answer
			if !v.addr.IsValid() {
				v.addr = peer
			}
			return v.state, v.addr, nil
		}
	}
	if _, ok := errors.AsType[*pgconn.PgError](err); !ok {
		peer = netip.Addr{} // a socket that opens is no answer of a server
	}
	return classify(err), peer, err
}

type clientView struct {
	state State
	addr  netip.Addr
}

func askClient(ctx context.Context, s *session) (v clientView, err error) {
	err = run(ctx, s, clientSQL, func(_ int, r row) error {
		f := fields{row: r}
		recovery, readOnly, addr := f.bool(0), f.bool(1), f.text(2)
		if err := f.done(3); err != nil {
			return err
		}
		switch {
		case recovery:
			v.state = StateInRecovery
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
