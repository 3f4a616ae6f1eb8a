package route53

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"golang.org/x/net/dns/dnsmessage"
)

// FuzzDNSAnswer feeds packets to the resolver's parser as the answer to its question.
func FuzzDNSAnswer(f *testing.F) {
	name := dnsmessage.MustNewName("db.pgha.internal.")
	q := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: 7, RecursionDesired: true},
		Questions: []dnsmessage.Question{{Name: name, Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET}},
	}
	header := func(n dnsmessage.Name, t dnsmessage.Type, ttl uint32) dnsmessage.ResourceHeader {
		return dnsmessage.ResourceHeader{Name: n, Type: t, Class: dnsmessage.ClassINET, TTL: ttl}
	}
	other := dnsmessage.MustNewName("a.pgha.internal.")
	for _, answers := range [][]dnsmessage.Resource{
		nil,
		{{Header: header(name, dnsmessage.TypeA, 10), Body: &dnsmessage.AResource{A: [4]byte{10, 0, 2, 10}}}},
		{
			{Header: header(name, dnsmessage.TypeCNAME, 1<<31), Body: &dnsmessage.CNAMEResource{CNAME: other}},
			{Header: header(other, dnsmessage.TypeA, 5), Body: &dnsmessage.AResource{A: [4]byte{10, 0, 2, 10}}},
		},
		{ // in a circle
			{Header: header(name, dnsmessage.TypeCNAME, 1), Body: &dnsmessage.CNAMEResource{CNAME: other}},
			{Header: header(other, dnsmessage.TypeCNAME, 1), Body: &dnsmessage.CNAMEResource{CNAME: name}},
		},
	} {
		m := q
		m.Response, m.Answers = true, answers
		b, err := m.Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
		f.Add(b[:len(b)-1])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		msg, err := parseReply(b, q)
		if err != nil {
			return
		}
		if !msg.Response || msg.ID != q.ID {
			t.Fatalf("took %+v for an answer", msg.Header)
		}
		addrs, err := answer(msg, name)
		if (err == nil) != (len(addrs) > 0) {
			t.Fatalf("%v, %v", addrs, err)
		}
		for _, a := range addrs {
			if !a.Is4() {
				t.Fatalf("address %v", a)
			}
		}
	})
}

func FuzzResolvConf(f *testing.F) {
	f.Add([]byte("# comment\nsearch x\nnameserver 10.0.0.2\n"))
	f.Add([]byte("nameserver\nnameserver x\n\tnameserver fe80::1%eth0 x\r\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		path := filepath.Join(t.TempDir(), "resolv.conf")
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		server, err := firstNameserver(path)
		if _, bad := netip.ParseAddr(server); (bad == nil) != (err == nil) {
			t.Fatalf("%q, %v", server, err)
		}
	})
}

// roundTrip is an HTTP transport made of a function.
type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// FuzzAPIAnswer lets the API answer every call with any status and body.
func FuzzAPIAnswer(f *testing.F) {
	const list = `<?xml version="1.0"?><ListResourceRecordSetsResponse xmlns="https://route53.amazonaws.com/doc/2013-04-01/"><ResourceRecordSets>` +
		`<ResourceRecordSet><Name>db.pgha.internal.</Name><Type>A</Type><TTL>10</TTL><ResourceRecords><ResourceRecord><Value>10.0.2.10</Value></ResourceRecord></ResourceRecords></ResourceRecordSet>` +
		`<ResourceRecordSet><Name>_pgha.db.pgha.internal.</Name><Type>TXT</Type><TTL>10</TTL><ResourceRecords><ResourceRecord><Value>"v=1 epoch=3 owner=pg-a addr=10.0.2.10 claim=0e5b6a52-6b3f-5d43-9d6e-7c5a1f2b3c4d"</Value></ResourceRecord></ResourceRecords></ResourceRecordSet>` +
		`</ResourceRecordSets><IsTruncated>false</IsTruncated><MaxItems>10</MaxItems></ListResourceRecordSetsResponse>`
	f.Add(200, []byte(list))
	f.Add(200, []byte(`<ChangeResourceRecordSetsResponse><ChangeInfo><Id>/change/C1</Id><Status>PENDING</Status><SubmittedAt>2026-01-01T00:00:00Z</SubmittedAt></ChangeInfo></ChangeResourceRecordSetsResponse>`))
	f.Add(200, []byte(`<GetChangeResponse><ChangeInfo><Id>/change/C1</Id><Status>INSYNC</Status><SubmittedAt>x</SubmittedAt></ChangeInfo></GetChangeResponse>`))
	f.Add(400, []byte(`<?xml version="1.0"?><InvalidChangeBatch xmlns="https://route53.amazonaws.com/doc/2013-04-01/"><Messages><Message>but it already exists</Message></Messages><RequestId>x</RequestId></InvalidChangeBatch>`))
	f.Add(400, []byte(`<ErrorResponse><Error><Type>Sender</Type><Code>Throttling</Code><Message>Rate exceeded</Message></Error><RequestId>x</RequestId></ErrorResponse>`))
	f.Add(403, []byte(`<ErrorResponse><Error><Code>SignatureDoesNotMatch</Code><Message>tokentokentoken</Message></Error></ErrorResponse>`))
	f.Add(503, []byte("<html>"))
	var status int
	var body string
	c, err := New(f.Context(), Options{
		ZoneID: "Z0PGHATEST", Name: "db.pgha.internal", TTL: 10 * time.Second, Ownership: true,
		EndpointURL: "http://127.0.0.1:1", Region: "us-east-1",
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: "AKIDTEST", SecretAccessKey: "secretsecretsecret",
				SessionToken: "tokentokentoken"}, nil
		}),
		HTTPClient: &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: status, Request: r, Header: http.Header{},
				Body: io.NopCloser(strings.NewReader(body))}, nil
		})},
	})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, code int, answer []byte) {
		if code < 100 || code > 999 {
			return // net/http gives no others
		}
		status, body = code, string(answer)
		check := func(err error) {
			t.Helper()
			if err == nil {
				return
			}
			if !slices.Contains(Reasons, ReasonOf(err)) || strings.Contains(err.Error(), "secretsecretsecret") {
				t.Fatalf("reason %q of %v", ReasonOf(err), err)
			}
			if n := len(err.Error()); n > 8<<10 {
				t.Fatalf("an error of %d bytes", n)
			}
		}
		rec, err := c.Read(t.Context())
		check(err)
		if err != nil && rec != (Record{}) || rec.Addr.IsValid() && !rec.Addr.Is4() {
			t.Fatalf("%+v, %v", rec, err)
		}
		_, err = c.Change(t.Context(), "C1")
		check(err)
		next := Owner{Epoch: 4, Node: "pg-b", Addr: netip.MustParseAddr("10.0.2.10"),
			Claim: "11111111-6b3f-5d43-9d6e-7c5a1f2b3c4d"}
		id, err := c.Write(t.Context(), Write{Next: next, Addr: next.Addr, Guard: func() error { return nil }})
		check(err)
		if (err == nil) != (id != "") {
			t.Fatalf("change %q, %v", id, err)
		}
	})
}

// FuzzMetadataAnswer lets instance metadata answer with anything.
func FuzzMetadataAnswer(f *testing.F) {
	f.Add(200, []byte("10.0.2.10"), []byte("token"))
	f.Add(200, []byte("fd00::1"), []byte(""))
	f.Add(404, []byte("<html>"), []byte("\n"))
	var status int
	var body, token []byte
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut {
			w.Header().Set("X-Aws-Ec2-Metadata-Token-Ttl-Seconds", "300")
			_, _ = w.Write(token)
			return
		}
		w.WriteHeader(status)
		_, _ = w.Write(body)
	}))
	f.Cleanup(server.Close)
	f.Fuzz(func(t *testing.T, s int, b, tok []byte) {
		if s < 200 || s > 599 {
			return // others are not answers
		}
		status, body, token = s, b, tok
		addr, err := OwnAddress(t.Context(), server.URL)
		if (err == nil) != (addr.Is4() && !addr.IsUnspecified()) {
			t.Fatalf("%v, %v", addr, err)
		}
	})
}
