package route53_test

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/pgha/pgha-agent/route53"
	"github.com/pgha/pgha-agent/route53/route53test"
)

func resolver(t *testing.T) (*route53test.Server, *route53test.DNS, route53.Resolver) {
	t.Helper()
	s := route53test.New(route53test.Options{})
	d, err := s.DNS(route53test.DNSOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	return s, d, route53.Resolver{Server: d.Addr(), Timeout: 200 * time.Millisecond}
}

func TestLookupFollowsAliases(t *testing.T) {
	s, _, r := resolver(t)
	s.Set(route53test.Simple(name, "A", 30, addrA.String()))
	s.Set(route53test.Simple("www.pgha.internal", "CNAME", 20, name))
	s.Set(route53test.Simple("a.pgha.internal", "CNAME", 20, "b.pgha.internal"))
	s.Set(route53test.Simple("b.pgha.internal", "CNAME", 20, "a.pgha.internal"))
	for _, n := range []string{name, "DB.PGHA.internal.", "www.pgha.internal"} {
		addrs, err := r.Lookup(t.Context(), n)
		if err != nil || len(addrs) != 1 || addrs[0] != addrA {
			t.Errorf("%s: %v, %v", n, addrs, err)
		}
	}
	if addrs, err := r.Lookup(t.Context(), "a.pgha.internal"); err == nil {
		t.Errorf("loop of aliases: %v", addrs)
	}
}

func TestLookupNamesTheResolversAnswer(t *testing.T) {
	s, d, r := resolver(t)
	s.Set(route53test.Simple("txt.pgha.internal", "TXT", 30, `"x"`))
	s.Set(route53test.Simple(name, "A", 30, addrA.String()))
	check := func(n, want string) {
		t.Helper()
		addrs, err := r.Lookup(t.Context(), n)
		var e *route53.DNSError
		if !errors.As(err, &e) || e.RCode != want || addrs != nil {
			t.Errorf("%s: %v, %v, want %s", n, addrs, err, want)
		}
	}
	check("none.pgha.internal", "NXDOMAIN")
	check("txt.pgha.internal", "NODATA")
	check("db.example.com", "REFUSED")
	d.SetMode(route53test.DNSServFail)
	check(name, "SERVFAIL")
}

func TestLookupTriesTwiceAndThenGivesUp(t *testing.T) {
	s, d, r := resolver(t)
	s.Set(route53test.Simple(name, "A", 30, addrA.String()))
	for _, mode := range []route53test.DNSMode{route53test.DNSSilent, route53test.DNSGarbage} {
		d.SetMode(mode)
		before, start := d.Queries(), time.Now()
		_, err := r.Lookup(t.Context(), name)
		if !errors.Is(err, context.DeadlineExceeded) || d.Queries()-before != 2 || time.Since(start) > 2*time.Second {
			t.Errorf("mode %d: %v after %d queries and %v", mode, err, d.Queries()-before, time.Since(start))
		}
	}
	d.SetMode(route53test.DNSTruncate)
	if addrs, err := r.Lookup(t.Context(), name); err != nil || len(addrs) != 1 {
		t.Errorf("TCP: %v, %v", addrs, err)
	}
	for _, bad := range []string{"", string(make([]byte, 300))} {
		if _, err := r.Lookup(t.Context(), bad); err == nil {
			t.Errorf("%q found", bad)
		}
	}
}

// Anybody can send a packet: an answer with another id or to another question is not ours.
func TestLookupIgnoresForeignAnswers(t *testing.T) {
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = pc.Close() }()
	done := make(chan struct{})
	go func() {
		defer close(done)
		b := make([]byte, 512)
		n, from, err := pc.ReadFrom(b)
		if err != nil {
			return
		}
		var q dnsmessage.Message
		if q.Unpack(b[:n]) != nil {
			return
		}
		send := func(id uint16, qname string, ip byte) {
			nm := dnsmessage.MustNewName(qname)
			m := dnsmessage.Message{
				Header:    dnsmessage.Header{ID: id, Response: true},
				Questions: []dnsmessage.Question{{Name: nm, Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET}},
				Answers: []dnsmessage.Resource{{Header: dnsmessage.ResourceHeader{Name: nm, Class: dnsmessage.ClassINET, TTL: 5},
					Body: &dnsmessage.AResource{A: [4]byte{10, 0, 0, ip}}}},
			}
			out, _ := m.Pack()
			_, _ = pc.WriteTo(out, from)
		}
		send(q.ID+1, name+".", 66)
		send(q.ID, "evil.internal.", 66)
		send(q.ID, name+".", 1)
	}()
	addrs, err := route53.Resolver{Server: pc.LocalAddr().String()}.Lookup(t.Context(), name)
	if err != nil || len(addrs) != 1 || addrs[0].String() != "10.0.0.1" {
		t.Errorf("%v, %v", addrs, err)
	}
	<-done
}
