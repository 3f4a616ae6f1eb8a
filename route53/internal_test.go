package route53

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
)

func bareClient(t *testing.T, o Options) *Client {
	t.Helper()
	t.Setenv("AWS_CONFIG_FILE", "/nonexistent")
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
	o.ZoneID, o.Name = "Z1", "db.x"
	o.Credentials = aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
		return aws.Credentials{AccessKeyID: "AKID", SecretAccessKey: "secret"}, nil
	})
	c, err := New(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// The status counts although the SDK finds no error, as its step for InvalidChangeBatch does with some answers.
func TestStatusCountsWhenTheSDKFindsNoError(t *testing.T) {
	c := bareClient(t, Options{})
	for status, want := range map[int]Reason{
		200: ReasonNone, 302: ReasonGarbage, 403: ReasonDenied, 404: ReasonGarbage, 429: ReasonThrottled,
		500: ReasonServer, 503: ReasonServer,
	} {
		err := c.call(t.Context(), "write record", "ChangeResourceRecordSets", nil, func(ctx context.Context) error {
			a := ctx.Value(attemptKey{}).(*attempt)
			a.sent, a.status = true, status
			return nil
		}, func() bool { return true })
		if got := ReasonOf(err); got != want {
			t.Errorf("status %d: %v, want %q", status, err, want)
		}
		if e, ok := err.(*Error); ok && (!e.Sent || !e.Foreign) { //nolint:errorlint // what call itself returns
			t.Errorf("status %d: sent %v, foreign %v", status, e.Sent, e.Foreign)
		}
	}
}

// A call that ends while the guard thinks sends nothing, although the guard says yes.
func TestGuardsYesComesTooLate(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("the promotion has changed")
	a := &attempt{guard: func() error { cancel(why); return nil }}
	if err := a.release(ctx); !errors.Is(err, why) {
		t.Errorf("released: %v", err)
	}
	if sent, _, _ := a.outcome(); sent {
		t.Error("counts as sent")
	}
}

// The third safeguard: net/http sends a request a second time only when it can ask for its body again. That body would
// be one that no guard holds back.
func TestRequestCannotBeRepeated(t *testing.T) {
	ctx := withAttempt(t.Context(), &attempt{guard: func() error { return nil }})
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://x/", strings.NewReader("batch"))
	if err != nil || req.GetBody == nil {
		t.Fatalf("the request cannot be repeated to begin with: %v", err)
	}
	var sent *http.Request
	next := roundTrip(func(r *http.Request) (*http.Response, error) { sent = r; return nil, http.ErrServerClosed })
	// nolint:bodyclose // there is no answer
	if _, err := (guarded{next}).RoundTrip(req); !errors.Is(err, http.ErrServerClosed) {
		t.Fatal(err)
	}
	if _, ok := sent.Body.(*guardedBody); !ok || sent.GetBody != nil {
		t.Errorf("body %T, can be asked for again: %v", sent.Body, sent.GetBody != nil)
	}
}

// A proxy that does not let the agent through says so itself: nothing was sent.
func TestProxyThatRefusesTheWay(t *testing.T) {
	for status, want := range map[int]Reason{
		401: ReasonDenied, 403: ReasonDenied, 407: ReasonDenied, 429: ReasonThrottled, 404: ReasonNetwork,
		502: ReasonNetwork, 503: ReasonNetwork,
	} {
		proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method != http.MethodConnect {
				t.Errorf("%s before CONNECT", r.Method)
			}
			w.WriteHeader(status)
		}))
		at, err := url.Parse(proxy.URL)
		if err != nil {
			t.Fatal(err)
		}
		at.User = url.UserPassword("pgha", "hunter2")
		tr := newTransport()
		tr.Proxy = http.ProxyURL(at)
		c := bareClient(t, Options{EndpointURL: "https://route53.example.com", HTTPClient: &http.Client{Transport: tr}})
		_, err = c.Read(t.Context())
		e, ok := err.(*Error) //nolint:errorlint // what call itself returns
		if !ok || e.Reason != want || e.Sent || e.Foreign {
			t.Errorf("status %d: %#v, want %s, not sent", status, e, want)
		}
		if text := err.Error(); !strings.Contains(text, at.Host) || !strings.Contains(text, http.StatusText(status)) ||
			strings.Contains(text, "hunter2") {
			t.Errorf("status %d: %s", status, text)
		}
		if werr := c.Warm(t.Context()); ReasonOf(werr) != want {
			t.Errorf("status %d: warm: %v", status, werr)
		}
		tr.CloseIdleConnections()
		proxy.Close()
	}
}

func TestNormalName(t *testing.T) {
	for in, want := range map[string]string{
		"DB.x.": "db.x", `\052.x.`: "*.x", `\137pgha.db.x.`: "_pgha.db.x", `a\05`: `a\05`, `\400.x`: `\400.x`, "": "",
	} {
		if got := normalName(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func TestSystemServerLooksBehindTheStub(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		p := filepath.Join(dir, name)
		if err := os.WriteFile(p, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return p
	}
	plain := file("plain", "# comment\nsearch x\nnameserver junk\nnameserver 10.0.0.2\nnameserver 10.0.0.3\n")
	stub := file("stub", "nameserver 127.0.0.53\n")
	none := file("none", "search x\n")
	for _, tt := range []struct{ path, behind, want string }{
		{plain, none, "10.0.0.2:53"}, {stub, plain, "10.0.0.2:53"}, {stub, none, "127.0.0.53:53"},
		{file("six", "nameserver fd00::1\n"), none, "[fd00::1]:53"}, {none, plain, ""},
		{filepath.Join(dir, "missing"), plain, ""},
	} {
		got, err := systemServer(tt.path, tt.behind)
		if got != tt.want || (err == nil) != (tt.want != "") {
			t.Errorf("%s: %q, %v", tt.path, got, err)
		}
	}
}
