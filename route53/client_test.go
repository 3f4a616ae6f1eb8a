package route53_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/pgha/pgha-agent/route53"
	"github.com/pgha/pgha-agent/route53/route53test"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	name    = "db.pgha.internal"
	txtName = "_pgha.db.pgha.internal"
	secret  = "SECRETKEY0123456789"
	session = "SESSIONTOKEN0123456789"
)

var (
	addrA = netip.MustParseAddr("10.0.1.10")
	addrB = netip.MustParseAddr("10.0.2.10")
)

func staticCredentials(context.Context) (aws.Credentials, error) {
	return aws.Credentials{AccessKeyID: "AKIDTEST", SecretAccessKey: secret, SessionToken: session}, nil
}

func fake(t testing.TB, o route53test.Options) *route53test.Server {
	t.Helper()
	s := route53test.New(o)
	if err := s.Start("127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// client makes a client of url. Its connections end with the test, its environment is empty.
func client(t testing.TB, url string, change ...func(*route53.Options)) *route53.Client {
	t.Helper()
	t.Setenv("AWS_CONFIG_FILE", "/nonexistent")
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
	tr := &http.Transport{}
	t.Cleanup(tr.CloseIdleConnections)
	o := route53.Options{
		ZoneID: "Z0PGHATEST", Name: name, TTL: 30 * time.Second, Ownership: true, EndpointURL: url, Timeout: 2 * time.Second,
		Credentials: aws.CredentialsProviderFunc(staticCredentials), HTTPClient: &http.Client{Transport: tr},
	}
	for _, f := range change {
		f(&o)
	}
	c, err := route53.New(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func owner(epoch uint64, node string, addr netip.Addr) route53.Owner {
	return route53.Owner{Epoch: epoch, Node: node, Addr: addr, Claim: route53.Claim("boot", node, fmt.Sprint(epoch))}
}

func next(base route53.Owner, node string, addr netip.Addr) route53.Write {
	return route53.Write{Base: base, Next: owner(base.Epoch+1, node, addr), Addr: addr}
}

// wantErr checks the Error and that it tells no secret, at any depth.
func wantErr(t *testing.T, err error, reason route53.Reason, sent bool) {
	t.Helper()
	var e *route53.Error
	if !errors.As(err, &e) {
		t.Fatalf("got %v, want an *Error with %s", err, reason)
	}
	if e.Reason != reason || e.Sent != sent {
		t.Errorf("reason %s, sent %v; want %s, %v: %v", e.Reason, e.Sent, reason, sent, err)
	}
	for ; err != nil; err = errors.Unwrap(err) {
		if s := fmt.Sprintf("%v %+v %#v", err, err, err); strings.Contains(s, secret) || strings.Contains(s, session) {
			t.Errorf("secret in %s", s)
		}
	}
}

func aRecord(t *testing.T, s *route53test.Server) string {
	t.Helper()
	set, ok := s.Get(name, "A")
	if !ok {
		return ""
	}
	return fmt.Sprintf("%s/%d", strings.Join(set.Values, ","), *set.TTL)
}

func TestPublishReadBackAndInsync(t *testing.T) {
	s := fake(t, route53test.Options{})
	c := client(t, s.URL())
	rec, err := c.Read(t.Context())
	if err != nil || rec != (route53.Record{}) {
		t.Fatalf("empty zone: %+v, %v", rec, err)
	}
	for i, node := range []string{"pg-a", "pg-b", "pg-a"} {
		addr := []netip.Addr{addrA, addrB, addrA}[i]
		w := next(rec.Owner, node, addr)
		id, err := c.Write(t.Context(), w)
		if err != nil {
			t.Fatal(err)
		}
		if insync, err := c.Change(t.Context(), id); err != nil || !insync {
			t.Fatalf("change %s: %v, %v", id, insync, err)
		}
		if rec, err = c.Read(t.Context()); err != nil {
			t.Fatal(err)
		}
		want := route53.Record{Addr: addr, TTL: 30 * time.Second, Owner: w.Next}
		want.Owner.TTL, want.Owner.Raw = 30*time.Second, w.Next.String()
		if diff := cmp.Diff(want, rec, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
			t.Fatal(diff)
		}
	}
	if got, want := s.Count(""), 4+3+3; got != want {
		t.Errorf("%d calls, want %d: one for each read, write and change", got, want)
	}
}

func TestReadAsksTwiceOnlyWhenOthersCrowdTheRecord(t *testing.T) {
	s := fake(t, route53test.Options{})
	c := client(t, s.URL())
	if _, err := c.Write(t.Context(), next(route53.Owner{}, "pg-a", addrA)); err != nil {
		t.Fatal(err)
	}
	for i, want := range map[int]int{8: 1, 12: 2} {
		for j := range i {
			s.Set(route53test.Simple(fmt.Sprintf("%d.%s", j, name), "A", 30, "10.0.0.1"))
		}
		before := s.Count("")
		rec, err := c.Read(t.Context())
		if err != nil || rec.Owner.Epoch != 1 || rec.Addr != addrA {
			t.Fatalf("%+v, %v", rec, err)
		}
		if got := s.Count("") - before; got != want {
			t.Errorf("%d neighbors: %d calls, want %d", i, got, want)
		}
		for j := range i {
			s.Remove(fmt.Sprintf("%d.%s", j, name), "A")
		}
	}
}

func TestReadRepeatsTheOwnerAsItStands(t *testing.T) {
	s := fake(t, route53test.Options{})
	c := client(t, s.URL())
	raw := owner(41, "pg-b", addrB).String()
	s.Set(route53test.Simple(txtName, "TXT", 77, raw))
	s.Set(route53test.Simple(name, "A", 15, addrB.String()))
	rec, err := c.Read(t.Context())
	if err != nil || rec.Owner.TTL != 77*time.Second || rec.Owner.Raw != raw || rec.TTL != 15*time.Second {
		t.Fatalf("%+v, %v", rec, err)
	}
	if _, err := c.Write(t.Context(), next(rec.Owner, "pg-a", addrA)); err != nil {
		t.Fatalf("the DELETE does not repeat what was read: %v", err)
	}
	if got := aRecord(t, s); got != "10.0.1.10/30" {
		t.Error(got)
	}
}

func TestForeignRecordsAreRefusedByName(t *testing.T) {
	one := int64(1)
	yes := true
	set := func(n, typ string, f func(*route53test.RecordSet), values ...string) route53test.RecordSet {
		s := route53test.Simple(n, typ, 30, values...)
		if f != nil {
			f(&s)
		}
		return s
	}
	tests := []struct {
		what string
		set  route53test.RecordSet
		says string
	}{
		{"alias", set(name, "A", func(s *route53test.RecordSet) {
			s.TTL, s.AliasTarget = nil, &route53test.AliasTarget{HostedZoneID: "Z1", DNSName: "lb.example.com."}
		}), "is an alias of lb.example.com."},
		{"weighted", set(name, "A", func(s *route53test.RecordSet) { s.SetIdentifier, s.Weight = "one", &one },
			"10.0.0.1"), `routing policy "weighted"`},
		{"latency", set(name, "A", func(s *route53test.RecordSet) { s.SetIdentifier, s.Region = "one", "eu-central-1" },
			"10.0.0.1"), `routing policy "latency"`},
		{"failover", set(name, "A", func(s *route53test.RecordSet) { s.SetIdentifier, s.Failover = "one", "PRIMARY" },
			"10.0.0.1"), `routing policy "failover"`},
		{"geolocation", set(name, "A", func(s *route53test.RecordSet) {
			s.SetIdentifier, s.GeoLocation = "one", &route53test.GeoLocation{CountryCode: "DE"}
		}, "10.0.0.1"), `routing policy "geolocation"`},
		{"multivalue", set(name, "A", func(s *route53test.RecordSet) { s.SetIdentifier, s.MultiValueAnswer = "one", &yes },
			"10.0.0.1"), `routing policy "multivalue answer"`},
		{"health check", set(name, "A", func(s *route53test.RecordSet) { s.HealthCheckID = "hc" }, "10.0.0.1"),
			"has a health check"},
		{"two values", set(name, "A", nil, "10.0.0.1", "10.0.0.2"), "has 2 values"},
		{"AAAA", set(name, "AAAA", nil, "::1"), "AAAA record at db.pgha.internal"},
		{"CNAME", set(name, "CNAME", nil, "x.pgha.internal"), "CNAME record at db.pgha.internal"},
		{"foreign TXT", set(txtName, "TXT", nil, `"heritage=external-dns"`), "heritage=external-dns"},
		{"TXT of a later version", set(txtName, "TXT", nil, `"v=2 epoch=1"`), "v=2 epoch=1"},
		{"two TXT values", set(txtName, "TXT", nil, `"a"`, `"b"`), "has 2 values"},
		{"CNAME in place of the TXT", set(txtName, "CNAME", nil, "x.pgha.internal"),
			"CNAME record at _pgha.db.pgha.internal"},
	}
	for _, tt := range tests {
		t.Run(tt.what, func(t *testing.T) {
			s := fake(t, route53test.Options{})
			s.Set(tt.set)
			rec, err := client(t, s.URL()).Read(t.Context())
			wantErr(t, err, route53.ReasonRefusedRecord, true)
			if rec != (route53.Record{}) {
				t.Errorf("a record and an error: %+v", rec)
			}
			e, _ := errors.AsType[*route53.Error](err)
			if named := !strings.HasPrefix(tt.set.Name, "_pgha."); e.Named != named {
				t.Errorf("named %v, want %v", e.Named, named)
			}
			if !strings.Contains(err.Error(), tt.says) {
				t.Errorf("%v does not say %q", err, tt.says)
			}
		})
	}
	t.Run("TXT without ownership is not looked at", func(t *testing.T) {
		s := fake(t, route53test.Options{})
		s.Set(route53test.Simple(txtName, "TXT", 30, `"foreign"`))
		c := client(t, s.URL(), func(o *route53.Options) { o.Ownership = false })
		if _, err := c.Read(t.Context()); err != nil {
			t.Error(err)
		}
		if _, err := c.Write(t.Context(), route53.Write{Addr: addrA}); err != nil {
			t.Error(err)
		}
		if got := s.Calls()[1].Changes; len(got) != 1 || got[0].Action != "UPSERT" {
			t.Errorf("%+v", got)
		}
	})
}

func TestOfTwoWritersWithOneBaseExactlyOneWins(t *testing.T) {
	for range 8 {
		s := fake(t, route53test.Options{})
		seed := client(t, s.URL())
		if _, err := seed.Write(t.Context(), next(route53.Owner{}, "pg-a", addrA)); err != nil {
			t.Fatal(err)
		}
		rec, err := seed.Read(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		a, b := client(t, s.URL()), client(t, s.URL())
		var errA, errB error
		var wg sync.WaitGroup
		wg.Go(func() { _, errA = a.Write(t.Context(), next(rec.Owner, "pg-a", addrA)) })
		wg.Go(func() { _, errB = b.Write(t.Context(), next(rec.Owner, "pg-b", addrB)) })
		wg.Wait()
		if (errA == nil) == (errB == nil) {
			t.Fatalf("pg-a: %v, pg-b: %v", errA, errB)
		}
		winner, loss := "10.0.1.10/30", errB
		if errA != nil {
			winner, loss = "10.0.2.10/30", errA
		}
		wantErr(t, loss, route53.ReasonConflict, true)
		if got := aRecord(t, s); got != winner {
			t.Errorf("record %s, winner %s", got, winner)
		}
	}
}

func TestLateWriteAfterAForeignClaimChangesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := route53test.New(route53test.Options{})
		defer s.Close()
		tr, end := virtual(s, 0)
		defer end()
		over := func(timeout time.Duration) *route53.Client {
			return client(t, "http://10.0.0.5", func(o *route53.Options) {
				o.HTTPClient, o.Timeout = &http.Client{Transport: tr}, timeout
			})
		}
		a, b := over(100*time.Millisecond), over(2*time.Second)
		if _, err := b.Write(t.Context(), next(route53.Owner{}, "pg-b", addrB)); err != nil {
			t.Fatal(err)
		}
		rec, err := b.Read(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		const delay = 400 * time.Millisecond
		s.Inject(route53test.Fault{Kind: route53test.Late, Op: "ChangeResourceRecordSets", Delay: delay})
		_, err = a.Write(t.Context(), next(rec.Owner, "pg-a", addrA))
		wantErr(t, err, route53.ReasonTimeout, true)
		if _, err := b.Write(t.Context(), next(rec.Owner, "pg-b", addrB)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(delay)
		synctest.Wait()
		if n := s.Count("ChangeResourceRecordSets"); n != 3 {
			t.Fatalf("%d writes", n)
		}
		late := s.Calls()[len(s.Calls())-1]
		if late.Code != "InvalidChangeBatch" || late.Applied {
			t.Errorf("the late write: %+v", late)
		}
		if got := aRecord(t, s); got != "10.0.2.10/30" {
			t.Errorf("record %s", got)
		}
	})
}

func TestLostReplyIsRecognizedByTheClaim(t *testing.T) {
	s := fake(t, route53test.Options{})
	c := client(t, s.URL())
	w := next(route53.Owner{}, "pg-a", addrA)
	s.Inject(route53test.Fault{Kind: route53test.LoseReply})
	_, err := c.Write(t.Context(), w)
	wantErr(t, err, route53.ReasonNetwork, true)
	_, err = c.Write(t.Context(), w)
	wantErr(t, err, route53.ReasonConflict, true)
	rec, err := c.Read(t.Context())
	if err != nil || rec.Owner.Claim != w.Next.Claim {
		t.Fatalf("%+v, %v", rec, err)
	}
	if n := s.Count("ChangeResourceRecordSets"); n != 2 {
		t.Errorf("%d writes reached the API, want 2: net/http or the SDK repeated one", n)
	}
}

func TestGuardSaysNoAndNothingIsSent(t *testing.T) {
	for _, warm := range []bool{false, true} {
		s := fake(t, route53test.Options{})
		c := client(t, s.URL())
		if warm {
			if err := c.Warm(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		stale := errors.New("stall of 5 s")
		w := next(route53.Owner{}, "pg-a", addrA)
		asked := 0
		w.Guard = func() error { asked++; return stale }
		_, err := c.Write(t.Context(), w)
		wantErr(t, err, route53.ReasonGuard, false)
		if !errors.Is(err, stale) {
			t.Errorf("the guard's own error is lost: %v", err)
		}
		if asked != 1 || s.Count("") != 0 {
			t.Errorf("asked %d times, %d calls", asked, s.Count(""))
		}
		w.Guard = func() error { asked++; return nil }
		if _, err := c.Write(t.Context(), w); err != nil || asked != 2 {
			t.Errorf("guard says yes: %v, asked %d times", err, asked)
		}
	}
}

// Not even the head of a refused request leaves: neither on a new connection nor on a warm one.
func TestRefusedWriteLeavesNoByteOnTheWire(t *testing.T) {
	s := route53test.New(route53test.Options{})
	defer s.Close()
	srv := httptest.NewServer(s)
	defer srv.Close()
	var written atomic.Int64
	tr := &http.Transport{DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := (&net.Dialer{}).DialContext(ctx, network, addr)
		return countingConn{conn, &written}, err
	}}
	defer tr.CloseIdleConnections()
	c := client(t, srv.URL, func(o *route53.Options) { o.HTTPClient = &http.Client{Transport: tr} })
	w := next(route53.Owner{}, "pg-a", addrA)
	for _, warm := range []bool{false, true} {
		if warm {
			if err := c.Warm(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		before := written.Load()
		w.Guard = func() error { return errors.New("no") }
		_, err := c.Write(t.Context(), w)
		wantErr(t, err, route53.ReasonGuard, false)
		if n := written.Load() - before; n != 0 {
			t.Errorf("warm %v: %d bytes went out", warm, n)
		}
	}
}

type countingConn struct {
	net.Conn
	n *atomic.Int64
}

func (c countingConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.n.Add(int64(n))
	return n, err
}

// The guard is asked after the connection is made: a handshake that takes seconds must not lie between the two.
func TestGuardComesAfterTheHandshake(t *testing.T) {
	https := httptest.NewTLSServer(nil) // of which the keys are taken
	https.Close()
	synctest.Test(t, func(t *testing.T) {
		s := route53test.New(route53test.Options{})
		defer s.Close()
		network := make(pipes)
		defer close(network)
		go func() { _ = http.Serve(network, s) }() //nolint:gosec // no peer but this test
		connected := false
		tr := &http.Transport{
			DialContext: func(context.Context, string, string) (net.Conn, error) {
				here, there := net.Pipe()
				network <- tls.Server(there, https.TLS)
				return here, nil
			},
			TLSClientConfig: https.Client().Transport.(*http.Transport).TLSClientConfig.Clone(),
		}
		tr.TLSClientConfig.VerifyConnection = func(tls.ConnectionState) error {
			time.Sleep(route53.ConnectWait / 2)
			connected = true
			return nil
		}
		defer tr.CloseIdleConnections()
		c := client(t, "https://127.0.0.1", func(o *route53.Options) { o.HTTPClient = &http.Client{Transport: tr} })
		w := next(route53.Owner{}, "pg-a", addrA)
		asked := 0
		w.Guard = func() error {
			if asked++; !connected {
				t.Error("the guard was asked before the connection was there")
			}
			return nil
		}
		if _, err := c.Write(t.Context(), w); err != nil || asked != 1 {
			t.Fatalf("asked %d times, %v", asked, err)
		}
	})
}

// A guard that is slow must not let the request go out after Write has reported that nothing was sent.
func TestGuardThatOutlivesTheTimeoutSendsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := route53test.New(route53test.Options{})
		defer s.Close()
		tr, end := virtual(s, 0)
		defer end()
		c := client(t, "http://10.0.0.5", func(o *route53.Options) {
			o.HTTPClient, o.Timeout = &http.Client{Transport: tr}, 50*time.Millisecond
		})
		w := next(route53.Owner{}, "pg-a", addrA)
		release := make(chan struct{})
		w.Guard = func() error { <-release; return nil }
		_, err := c.Write(t.Context(), w)
		wantErr(t, err, route53.ReasonTimeout, false)
		close(release)
		synctest.Wait() // for all that follows from the guard's answer
		if n := s.Count(""); n != 0 {
			t.Errorf("%d calls", n)
		}
	})
}

func TestNothingIsSentWithoutConnectionOrCredentials(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = ln.Close()
	w := next(route53.Owner{}, "pg-a", addrA)
	asked := false
	w.Guard = func() error { asked = true; return nil }
	_, err = client(t, "http://"+ln.Addr().String()).Write(t.Context(), w)
	wantErr(t, err, route53.ReasonNetwork, false)

	s := fake(t, route53test.Options{})
	over := make(chan struct{})
	defer close(over)
	for what, provider := range map[string]aws.CredentialsProviderFunc{
		"fails": func(context.Context) (aws.Credentials, error) { return aws.Credentials{}, errors.New("no role") },
		// The SDK's cache runs its source without the caller's deadline: the call must return all the same.
		"hangs": func(context.Context) (aws.Credentials, error) { <-over; return aws.Credentials{}, errors.New("over") },
	} {
		c := client(t, s.URL(), func(o *route53.Options) { o.Credentials, o.Timeout = provider, 100*time.Millisecond })
		_, err := c.Write(t.Context(), w)
		wantErr(t, err, route53.ReasonCredentials, false)
		if werr := c.Warm(t.Context()); route53.ReasonOf(werr) != route53.ReasonCredentials {
			t.Errorf("%s: warm: %v", what, werr)
		}
	}
	if asked || s.Count("") != 0 {
		t.Errorf("guard asked %v, %d calls", asked, s.Count(""))
	}
}

func TestWriteRefusesWhatWouldBreakTheSwap(t *testing.T) {
	base := owner(3, "pg-b", addrB)
	base.Raw, base.TTL = base.String(), 30*time.Second
	good := next(base, "pg-a", addrA)
	for what, f := range map[string]func(*route53.Write){
		"no address":       func(w *route53.Write) { w.Addr = netip.Addr{} },
		"IPv6":             func(w *route53.Write) { w.Addr = netip.MustParseAddr("::1") },
		"other address":    func(w *route53.Write) { w.Addr = addrB },
		"same epoch":       func(w *route53.Write) { w.Next.Epoch = 3 },
		"epoch too large":  func(w *route53.Write) { w.Next.Epoch = 1 << 63 }, // which no read would take
		"no next":          func(w *route53.Write) { w.Next = route53.Owner{} },
		"node with spaces": func(w *route53.Write) { w.Next.Node = "a b" },
		"no claim":         func(w *route53.Write) { w.Next.Claim = "" },
		"base without raw": func(w *route53.Write) { w.Base.Raw = "" },
	} {
		s := fake(t, route53test.Options{})
		w := good
		f(&w)
		_, err := client(t, s.URL()).Write(t.Context(), w)
		t.Log(what, err)
		wantErr(t, err, route53.ReasonInvalid, false)
		if s.Count("") != 0 {
			t.Errorf("%s: sent", what)
		}
	}
}

func TestEachAnswerHasItsReason(t *testing.T) {
	refuse := func(status int, code, body string) route53test.Fault {
		return route53test.Fault{Kind: route53test.Refuse, Status: status, Code: code, Body: body}
	}
	raw := func(status int, body string) route53test.Fault {
		return route53test.Fault{Kind: route53test.Raw, Status: status, Body: body}
	}
	quoted := "The request signature we calculated does not match.\nPOST\nx-amz-security-token:" + session + "\n" + secret
	tests := []struct {
		name  string
		fault route53test.Fault
		want  route53.Reason
	}{
		{"throttled", route53test.Fault{Kind: route53test.Throttle}, route53.ReasonThrottled},
		{"throttling exception", refuse(400, "ThrottlingException", "Rate exceeded"), route53.ReasonThrottled},
		{"429 of a proxy", raw(429, "slow down"), route53.ReasonThrottled},
		{"prior request", route53test.Fault{Kind: route53test.Prior}, route53.ReasonPriorRequest},
		{"batch in the general form", refuse(400, "InvalidChangeBatch",
			"[Tried to create resource record set [name='db.', type='A'] but it already exists]"), route53.ReasonConflict},
		{"our mistake", refuse(400, "InvalidChangeBatch", "[Number of records limit of 1000 exceeded.]"),
			route53.ReasonInvalid},
		{"a CNAME came", refuse(400, "InvalidChangeBatch", "[RRSet of type A with DNS name db. is not permitted because a "+
			"conflicting RRSet of type CNAME with the same DNS name already exists in zone x.]"), route53.ReasonRefusedRecord},
		{"no zone", refuse(404, "NoSuchHostedZone", "No hosted zone found with ID: Z"), route53.ReasonNoZone},
		{"access denied", refuse(403, "AccessDenied", "User: arn:aws:sts::1:assumed-role/x is not authorized"),
			route53.ReasonDenied},
		{"access denied exception", refuse(403, "AccessDeniedException", "no"), route53.ReasonDenied},
		{"bad key id", refuse(403, "InvalidClientTokenId", "The security token included in the request is invalid."),
			route53.ReasonDenied},
		{"bad signature", refuse(403, "SignatureDoesNotMatch", quoted), route53.ReasonDenied},
		{"expired token", refuse(403, "ExpiredToken", "The security token included in the request is expired"),
			route53.ReasonDenied},
		{"expired request", refuse(400, "RequestExpired", "Request has expired."), route53.ReasonDenied},
		{"unknown code with 403", refuse(403, "SomethingNew", "no"), route53.ReasonDenied},
		{"invalid input", refuse(400, "InvalidInput", "Invalid resource type: foo"), route53.ReasonInvalid},
		{"malformed input", refuse(400, "MalformedInput", "no"), route53.ReasonInvalid},
		{"internal failure", refuse(500, "InternalFailure", ""), route53.ReasonServer},
		{"unavailable", refuse(503, "ServiceUnavailable", "Service Unavailable"), route53.ReasonServer},
		{"502 of a proxy", raw(502, "<html><body>bad gateway</body></html>"), route53.ReasonServer},
		{"500 without body", raw(500, ""), route53.ReasonServer},
		{"503 page of a load balancer", raw(503, "<html><body>no server</body></html>"), route53.ReasonServer},
		{"504 of a gateway", raw(504, "gateway timeout"), route53.ReasonServer},
		{"401 page of a proxy", raw(401, "<html><body>login</body></html>"), route53.ReasonDenied},
		{"403 page of a proxy", raw(403, "<html>\n<br>login</html>"), route53.ReasonDenied},
		{"403 without body", raw(403, ""), route53.ReasonDenied},
		{"403 in JSON", raw(403, `{"message":"Forbidden"}`), route53.ReasonDenied},
		{"407 page of a proxy", raw(407, "<html><body>who are you?</body></html>"), route53.ReasonDenied},
		{"408 of a proxy", raw(408, "<html><body>timeout</body></html>"), route53.ReasonTimeout},
		{"404 page", raw(404, "<html><body>not found</body></html>"), route53.ReasonGarbage},
		{"405 page", raw(405, "<html><body>method not allowed</body></html>"), route53.ReasonGarbage},
		{"document without a code", raw(400, "<ErrorResponse><Error></Error></ErrorResponse>"), route53.ReasonGarbage},
		{"400 without body", raw(400, ""), route53.ReasonGarbage},
		{"200 without body", raw(200, ""), route53.ReasonGarbage},
		{"200 with HTML", raw(200, "<html><body>login</body></html>"), route53.ReasonGarbage},
		{"200 with text", raw(200, "hello"), route53.ReasonGarbage},
		{"200 with half a document", raw(200, `<?xml version="1.0"?><ListResourceRecordSetsResponse><Max`),
			route53.ReasonGarbage},
		{"200 with JSON", raw(200, `{"ok":true}`), route53.ReasonGarbage},
		{"redirect for good", raw(301, "<html><body>moved</body></html>"), route53.ReasonGarbage},
		{"redirect", raw(302, ""), route53.ReasonGarbage},
		{"unknown code", refuse(400, "SomethingNew", "no"), route53.ReasonOther},
		{"dropped", route53test.Fault{Kind: route53test.DropRequest}, route53.ReasonNetwork},
		{"hang", route53test.Fault{Kind: route53test.Hang}, route53.ReasonTimeout},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := fake(t, route53test.Options{})
			seen := map[string]int{}
			c := client(t, s.URL(), func(o *route53.Options) {
				o.Timeout = 300 * time.Millisecond
				o.Observe = func(op string, r route53.Reason, took time.Duration) {
					if took <= 0 || took > 5*time.Second {
						t.Errorf("%s took %v", op, took)
					}
					seen[op+" "+string(r)]++
				}
			})
			tt.fault.Count = 3
			s.Inject(tt.fault)
			start := time.Now()
			rec, err := c.Read(t.Context())
			wantErr(t, err, tt.want, true)
			if rec != (route53.Record{}) {
				t.Errorf("a record and an error: %+v", rec)
			}
			if e, ok := errors.AsType[*route53.Error](err); ok && e.Foreign != (tt.fault.Kind == route53test.Raw) {
				t.Errorf("foreign %v: %v", e.Foreign, err)
			}
			id, err := c.Write(t.Context(), next(route53.Owner{}, "pg-a", addrA))
			wantErr(t, err, tt.want, true)
			if id != "" {
				t.Errorf("an id and an error: %s", id)
			}
			insync, err := c.Change(t.Context(), "C1")
			wantErr(t, err, tt.want, true)
			if insync {
				t.Error("insync and an error")
			}
			if took := time.Since(start); took > 4*time.Second {
				t.Errorf("took %v", took)
			}
			want := map[string]int{
				"ListResourceRecordSets " + string(tt.want): 1, "ChangeResourceRecordSets " + string(tt.want): 1, "GetChange " +
					string(tt.want): 1,
			}
			if diff := cmp.Diff(want, seen); diff != "" {
				t.Error(diff)
			}
			if n := s.Count(""); tt.fault.Kind != route53test.DropRequest && n != 3 {
				t.Errorf("%d calls reached the API, want 3", n)
			}
		})
	}
}

// Only a good status makes a good answer of a good document.
func TestStatusOverrulesTheDocument(t *testing.T) {
	const (
		change = `<ChangeInfo><Id>/change/C1</Id><Status>INSYNC</Status><SubmittedAt>2026-01-02T03:04:05Z</SubmittedAt></ChangeInfo>`
		list   = `<ResourceRecordSets></ResourceRecordSets><IsTruncated>false</IsTruncated><MaxItems>10</MaxItems>`
		zone   = `<HostedZone><Id>/hostedzone/Z1</Id><Name>pgha.internal.</Name><CallerReference>x</CallerReference></HostedZone>`
	)
	for status, want := range map[int]route53.Reason{
		200: route53.ReasonNone, 302: route53.ReasonGarbage, 400: route53.ReasonGarbage, 403: route53.ReasonDenied,
		404: route53.ReasonGarbage,
		429: route53.ReasonThrottled, 500: route53.ReasonServer, 502: route53.ReasonServer, 503: route53.ReasonServer,
	} {
		s := fake(t, route53test.Options{})
		c := client(t, s.URL())
		answer := func(root, body string) {
			doc := `<?xml version="1.0"?><` + root + ` xmlns="https://route53.amazonaws.com/doc/2013-04-01/">` + body + `</` +
				root + `>`
			s.Inject(route53test.Fault{Kind: route53test.Raw, Status: status, Body: doc})
		}
		check := func(what string, err error) {
			if got := route53.ReasonOf(err); got != want {
				t.Errorf("%s with status %d: %q (%v), want %q", what, status, got, err, want)
			}
		}
		answer("ListResourceRecordSetsResponse", list)
		_, err := c.Read(t.Context())
		check("read", err)
		answer("ChangeResourceRecordSetsResponse", change)
		_, err = c.Write(t.Context(), next(route53.Owner{}, "pg-a", addrA))
		check("write", err)
		answer("GetChangeResponse", change)
		_, err = c.Change(t.Context(), "C1")
		check("change", err)
		answer("GetHostedZoneResponse", zone)
		_, err = c.Zone(t.Context())
		check("zone", err)
	}
}

func TestTenMinutesOfThrottlingStayThrottling(t *testing.T) {
	s := fake(t, route53test.Options{})
	c := client(t, s.URL())
	s.Inject(route53test.Fault{Kind: route53test.Throttle, Count: -1})
	w := next(route53.Owner{}, "pg-a", addrA)
	for range 120 { // one attempt each 5 s
		_, err := c.Write(t.Context(), w)
		wantErr(t, err, route53.ReasonThrottled, true)
	}
	s.ClearFaults()
	if _, err := c.Write(t.Context(), w); err != nil {
		t.Fatal(err)
	}
	if n := s.Count(""); n != 121 {
		t.Errorf("%d calls: somebody else retries", n)
	}
}

func TestCallerThatGivesUp(t *testing.T) {
	s := fake(t, route53test.Options{})
	c := client(t, s.URL())
	s.Inject(route53test.Fault{Kind: route53test.Hang})
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	_, err := c.Write(ctx, next(route53.Owner{}, "pg-a", addrA))
	wantErr(t, err, route53.ReasonOther, true)
	if !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	_, err = c.Write(ctx, next(route53.Owner{}, "pg-a", addrA))
	wantErr(t, err, route53.ReasonOther, false)
}

func TestWarmKeepsOneConnectionAndIsNoAPICall(t *testing.T) {
	s := route53test.New(route53test.Options{})
	defer s.Close()
	srv := httptest.NewUnstartedServer(s)
	var conns atomic.Int32
	srv.Config.ConnState = func(_ net.Conn, st http.ConnState) {
		if st == http.StateNew {
			conns.Add(1)
		}
	}
	srv.Start()
	defer srv.Close()
	c := client(t, srv.URL)
	for range 3 {
		if err := c.Warm(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.Write(t.Context(), next(route53.Owner{}, "pg-a", addrA)); err != nil {
		t.Fatal(err)
	}
	if conns.Load() != 1 || s.Probes() != 3 || s.Count("") != 1 {
		t.Errorf("%d connections, %d probes, %d calls", conns.Load(), s.Probes(), s.Count(""))
	}
}

// A server that closes idle connections must not cost a write: net/http moves it to a new connection before the guard.
func TestWriteSurvivesAnIdleConnectionThatWasClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := route53test.New(route53test.Options{})
		defer s.Close()
		tr, end := virtual(s, 0)
		defer end()
		connections := 0
		connect := tr.DialContext
		tr.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
			connections++
			return connect(ctx, network, addr)
		}
		c := client(t, "http://10.0.0.5", func(o *route53.Options) { o.HTTPClient = &http.Client{Transport: tr} })
		if err := c.Warm(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * serverIdle)
		synctest.Wait() // net/http has noticed
		if _, err := c.Write(t.Context(), next(route53.Owner{}, "pg-a", addrA)); err != nil || connections != 2 {
			t.Fatalf("%d connections, %v", connections, err)
		}
	})
}

func TestServerThatSpeaksNoHTTPIsGarbage(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		_, _ = conn.Read(make([]byte, 4096))
		_, _ = conn.Write([]byte("220 mail.example.com ESMTP\r\n"))
		_ = conn.Close()
	})
	_, err = client(t, "http://"+ln.Addr().String()).Read(t.Context())
	wantErr(t, err, route53.ReasonGarbage, true)
	_ = ln.Close()
	wg.Wait()
}

// An answer that breaks off may hide a change that was made.
func TestAnswerThatBreaksOffIsNetwork(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Length", "1000")
		_, _ = w.Write([]byte("<ChangeResourceRecordSetsResponse><ChangeInfo>"))
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}))
	defer srv.Close()
	_, err := client(t, srv.URL).Write(t.Context(), next(route53.Owner{}, "pg-a", addrA))
	wantErr(t, err, route53.ReasonNetwork, true)
}

func TestEndlessAnswerIsCutOff(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		b := []byte(strings.Repeat("<a>", 10000))
		for {
			if _, err := w.Write(b); err != nil {
				return
			}
		}
	}))
	defer srv.Close()
	// Reading up to the bound takes the race detector seconds.
	_, err := client(t, srv.URL, func(o *route53.Options) { o.Timeout = time.Minute }).Read(t.Context())
	wantErr(t, err, route53.ReasonGarbage, true)
}

func TestNewTouchesNoNetworkAndChecksItsInput(t *testing.T) {
	t.Setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://127.0.0.1:1")
	t.Setenv("AWS_DEFAULTS_MODE", "auto")
	start := time.Now()
	client(t, "", func(o *route53.Options) { o.Credentials = nil })
	if took := time.Since(start); took > time.Second {
		t.Errorf("took %v", took)
	}
	for what, o := range map[string]route53.Options{
		"no name":    {ZoneID: "Z1"},
		"bad name":   {ZoneID: "Z1", Name: "a b.example.com"},
		"bad label":  {ZoneID: "Z1", Name: "a..example.com"},
		"no zone":    {Name: name},
		"zone path":  {ZoneID: "Z1/rrset", Name: name},
		"half a ttl": {ZoneID: "Z1", Name: name, TTL: 1500 * time.Millisecond},
	} {
		if c, err := route53.New(t.Context(), o); err == nil || c != nil {
			t.Errorf("%s: %v, %v", what, c, err)
		} else {
			t.Log(err)
		}
	}
}

// The credentials come from the instance's role, through the SDK's own chain.
func TestRoleCredentialsThroughInstanceMetadata(t *testing.T) {
	m := &route53test.IMDS{Role: "pgha", AccessKey: "AKIDROLE", SecretKey: secret, Session: session,
		Expires: time.Now().Add(6 * time.Hour)}
	srv := httptest.NewServer(m)
	defer srv.Close()
	defer m.Close()
	s := fake(t, route53test.Options{AccessKeyID: "AKIDROLE"})
	for _, v := range []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE",
		"AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"} {
		t.Setenv(v, "")
	}
	t.Setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", srv.URL)
	c := client(t, s.URL(), func(o *route53.Options) { o.Credentials = nil })
	if err := c.Warm(t.Context()); err != nil {
		t.Fatal(err)
	}
	asked := m.Requests()
	if _, err := c.Write(t.Context(), next(route53.Owner{}, "pg-a", addrA)); err != nil {
		t.Fatal(err)
	}
	if m.Requests() != asked {
		t.Error("the write asked for credentials although it was warm")
	}
}

// BenchmarkWriteWarm measures from the call of Write to the arrival of the whole request at the server, over a warm
// loopback connection: what the agent itself adds to a promotion.
func BenchmarkWriteWarm(b *testing.B) {
	arrived := make(chan time.Time, 1)
	s := route53test.New(route53test.Options{})
	defer s.Close()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			body, _ := io.ReadAll(r.Body)
			arrived <- time.Now()
			r.Body = io.NopCloser(strings.NewReader(string(body)))
		}
		s.ServeHTTP(w, r)
	}))
	defer srv.Close()
	c := client(b, srv.URL)
	if err := c.Warm(b.Context()); err != nil {
		b.Fatal(err)
	}
	var base route53.Owner
	var total time.Duration
	for b.Loop() {
		w := next(base, "pg-a", addrA)
		start := time.Now()
		if _, err := c.Write(b.Context(), w); err != nil {
			b.Fatal(err)
		}
		total += (<-arrived).Sub(start)
		base = w.Next
		base.Raw, base.TTL = base.String(), 30*time.Second
	}
	b.ReportMetric(float64(total.Nanoseconds())/float64(b.N), "ns/arrival")
}

// TestRefusedCredentialsAreFetchedAgain: an instance gets another role because the first one is denied. Its source of
// credentials has the new ones at once, and the old ones would last for hours.
func TestRefusedCredentialsAreFetchedAgain(t *testing.T) {
	s := fake(t, route53test.Options{AccessKeyID: "AKIDNEW"})
	key, fetched := "AKIDOLD", 0
	c := client(t, s.URL(), func(o *route53.Options) {
		o.Credentials = aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			fetched++
			return aws.Credentials{
				AccessKeyID: key, SecretAccessKey: secret, SessionToken: session, CanExpire: true,
				Expires: time.Now().Add(6 * time.Hour),
			}, nil
		})
	})
	_, err := c.Read(t.Context())
	wantErr(t, err, route53.ReasonDenied, true)
	key = "AKIDNEW"
	for range 3 {
		if _, err := c.Read(t.Context()); err != nil {
			t.Errorf("with the credentials of the new role: %v", err)
		}
	}
	if fetched != 2 {
		t.Errorf("credentials were fetched %d times, want once for each role", fetched)
	}
}

// TestOwnerBehindAnotherTypeOfItsName: the first page of the listing ends between two types of the ownership record's
// name.
func TestOwnerBehindAnotherTypeOfItsName(t *testing.T) {
	s := fake(t, route53test.Options{})
	c := client(t, s.URL())
	if _, err := c.Write(t.Context(), next(route53.Owner{}, "pg-a", addrA)); err != nil {
		t.Fatal(err)
	}
	s.Set(route53test.Simple(txtName, "A", 30, addrB.String()))
	for i := range 8 {
		s.Set(route53test.Simple(fmt.Sprintf("%d.%s", i, name), "A", 30, addrB.String()))
	}
	if rec, err := c.Read(t.Context()); err != nil || rec.Owner.Node != "pg-a" {
		t.Errorf("owner %+v, %v", rec.Owner, err)
	}
}
