package route53

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"sync"
	"time"
)

const (
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
		TLSClientConfig:     &tls.Config{MinVersion: tls.VersionTLS12, ClientSessionCache: tls.NewLRUClientSessionCache(4)},
		TLSNextProto:        map[string]func(string, *tls.Conn) http.RoundTripper{},
		MaxIdleConnsPerHost: 2,
		IdleConnTimeout:     idleTimeout,
	}
}

// attempt is what one call knows about its own request. It travels in the context.
type attempt struct {
	guard func() error // nil for reads

	mu       sync.Mutex
	sent     bool // bytes of the request may have left
	sealed   bool // RoundTrip returned: whoever still holds the body must not send it
	status   int
	guardErr error
}

type attemptKey struct{}

func withAttempt(ctx context.Context, a *attempt) context.Context {
	return context.WithValue(ctx, attemptKey{}, a)
}

var errSealed = errors.New("the call has already returned")

// pass is called when a connection is there and the first byte is about to go out.
func (a *attempt) pass() error {
	if a.guard != nil {
		if err := a.guard(); err != nil {
			a.mu.Lock()
			defer a.mu.Unlock()
			a.guardErr = &guardError{err}
			return a.guardErr
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.sealed {
		return errSealed
	}
	a.sent = true
	return nil
}

// outcome closes the attempt: when it reports sent=false, no byte will ever go out.
func (a *attempt) outcome() (sent bool, status int, guardErr error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.sealed = true
	return a.sent, a.status, a.guardErr
}

// guarded is the RoundTripper under the SDK. It asks the guard when signing, dialling and the TLS handshake are over:
// the body is first read when net/http fills its write buffer, and nothing is flushed before the body is in. A request
// whose headers overflow that buffer has its head sent earlier, but without its body it is not a request.
type guarded struct{ next http.RoundTripper }

func (g guarded) RoundTrip(req *http.Request) (*http.Response, error) {
	a, ok := req.Context().Value(attemptKey{}).(*attempt)
	if !ok {
		return g.next.RoundTrip(req)
	}
	req = req.Clone(req.Context())
	// Without GetBody net/http cannot repeat a request whose body it has begun to read, so it never sends one a second
	// time behind the guard's back. A request that met a closed idle connection earlier than that is still moved to a
	// new connection, and meets the guard there.
	req.GetBody = nil
	if req.Body != nil && req.Body != http.NoBody {
		req.Body = &guardedBody{ReadCloser: req.Body, attempt: a}
	} else {
		req = req.WithContext(httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{
			GotConn: func(httptrace.GotConnInfo) { _ = a.pass() },
		}))
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

type guardedBody struct {
	io.ReadCloser
	attempt *attempt
	passed  bool
}

func (b *guardedBody) Read(p []byte) (int, error) {
	if !b.passed {
		if err := b.attempt.pass(); err != nil {
			return 0, err
		}
		b.passed = true
	}
	return b.ReadCloser.Read(p)
}

type limitedBody struct {
	io.Reader
	io.Closer
}
