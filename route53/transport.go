package route53

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"sync"
	"time"
)

const (
	// ConnectWait is how long a write with a guard waits for its connection. The decision behind it ages meanwhile, and a
	// guard that refuses costs the connection that was just made. So the write gives up first. The transport goes on
	// connecting, and the next attempt finds the connection. It is well below the age at which callers refuse.
	ConnectWait = time.Second

	// idleTimeout is how long an unused connection stays open on our side. Warm is called more often than that; what is
	// in between (a NAT gateway drops flows after 350 s) is kept open by TCP keep-alives, every 15 s by Go's default.
	idleTimeout = 30 * time.Minute

	// maxAnswer bounds an answer. Ten record sets or an error document are far smaller.
	maxAnswer = 1 << 20
)

// newTransport makes the pool that holds the warm connection. HTTP/1.1 only: that is what the endpoint speaks, and the
// late guard needs the request to own its connection.
func newTransport() *http.Transport {
	return &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
		TLSHandshakeTimeout: 10 * time.Second,
		// A session cache makes the handshake of a connection that was lost one round trip shorter.
		TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, ClientSessionCache: tls.NewLRUClientSessionCache(4)},
		OnProxyConnectResponse: func(_ context.Context, proxy *url.URL, _ *http.Request, resp *http.Response) error {
			if resp.StatusCode == http.StatusOK {
				return nil
			}
			return &proxyError{proxy.Host, resp.StatusCode}
		},
		TLSNextProto:        map[string]func(string, *tls.Conn) http.RoundTripper{},
		MaxIdleConnsPerHost: 2,
		IdleConnTimeout:     idleTimeout,
	}
}

// attempt is what one call knows about its own request. It travels in the context.
type attempt struct {
	guard func() error // nil for reads

	mu       sync.Mutex
	asked    bool
	refusal  error // why the request must not go out
	sent     bool  // the request may have left
	sealed   bool  // the call is over: whoever still holds the body must not send it
	status   int
	guardErr error
}

type attemptKey struct{}

func withAttempt(ctx context.Context, a *attempt) context.Context {
	return context.WithValue(ctx, attemptKey{}, a)
}

var (
	errSealed       = errors.New("the call has already returned")
	errNoConnection = fmt.Errorf("no connection within %v: %w", ConnectWait, context.DeadlineExceeded)
)

// ask asks the guard. It does not wait for it longer than for the call itself: net/http would not return before. A call
// that is over sends nothing, whatever the guard says.
func (a *attempt) ask(ctx context.Context) error {
	var err error
	if a.guard != nil {
		done := make(chan error, 1)
		go func() { done <- a.guard() }()
		select {
		case err = <-done:
			if err != nil {
				err = &guardError{err}
			}
		case <-ctx.Done():
		}
	}
	if err == nil {
		err = context.Cause(ctx)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.asked, a.refusal = true, err
	if _, ok := errors.AsType[*guardError](err); ok {
		a.guardErr = err
	}
	return err
}

// release says whether the request may go out now, and remembers that it did.
func (a *attempt) release(ctx context.Context) error {
	a.mu.Lock()
	asked := a.asked
	a.mu.Unlock()
	if !asked {
		_ = a.ask(ctx) // kept in refusal
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.refusal != nil:
		return a.refusal
	case a.sealed:
		return errSealed
	}
	a.sent = true
	return nil
}

// outcome closes the attempt: when it reports sent=false, no request will ever go out.
func (a *attempt) outcome() (sent bool, status int, guardErr error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.sealed = true
	return a.sent, a.status, a.guardErr
}

// guarded is the RoundTripper under the SDK. It asks the guard when signing, dialing and the TLS handshake are over and
// the next step is the write. Two things hold a refused request back: the body, without which it is no request, gives
// an error instead of bytes; and the connection's write deadline is put in the past, so that not even the head leaves.
type guarded struct{ next http.RoundTripper }

func (g guarded) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx := req.Context()
	a, ok := ctx.Value(attemptKey{}).(*attempt)
	if !ok {
		return g.next.RoundTrip(req)
	}
	hasBody := req.Body != nil && req.Body != http.NoBody
	ctx, cancel := context.WithCancelCause(ctx) // ends with the call's own context, which the answer's body needs
	var late *time.Timer
	req = req.Clone(httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GetConn: func(string) {
			if a.guard != nil {
				late = time.AfterFunc(ConnectWait, func() { cancel(errNoConnection) })
			}
		},
		GotConn: func(info httptrace.GotConnInfo) {
			if late != nil {
				late.Stop()
			}
			err := a.ask(ctx) // again when net/http moves the request from a closed idle connection to a new one
			if err != nil && info.Conn != nil {
				_ = info.Conn.SetWriteDeadline(time.Unix(1, 0))
			}
			if !hasBody {
				_ = a.release(ctx)
			}
		},
	}))
	// Without GetBody net/http cannot repeat a request whose body it has begun to read, so it never sends one a second
	// time behind the guard's back.
	req.GetBody = nil
	if hasBody {
		req.Body = &guardedBody{ReadCloser: req.Body, ctx: ctx, attempt: a}
	}
	resp, err := g.next.RoundTrip(req)
	if err != nil {
		// The guard's answer explains the failure better than the broken write that follows from it.
		if _, _, guardErr := a.outcome(); guardErr != nil {
			return nil, guardErr
		}
		return nil, err
	}
	a.mu.Lock()
	a.status = resp.StatusCode
	a.mu.Unlock()
	resp.Body = &limitedBody{Reader: io.LimitReader(resp.Body, maxAnswer), Closer: resp.Body}
	return resp, nil
}

// CloseIdleConnections is what http.Client's method of that name calls.
func (g guarded) CloseIdleConnections() {
	if t, ok := g.next.(interface{ CloseIdleConnections() }); ok {
		t.CloseIdleConnections()
	}
}

type guardedBody struct {
	io.ReadCloser
	ctx      context.Context //nolint:containedctx // of the one request that this body belongs to
	attempt  *attempt
	released bool
}

func (b *guardedBody) Read(p []byte) (int, error) {
	if !b.released {
		if err := b.attempt.release(b.ctx); err != nil {
			return 0, err
		}
		b.released = true
	}
	return b.ReadCloser.Read(p)
}

type limitedBody struct {
	io.Reader
	io.Closer
}
