package route53test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// DNSOptions are the manners of the resolver.
type DNSOptions struct {
	Addr     string // default "127.0.0.1:0"; the same port is taken for UDP and TCP
	CacheTTL bool   // keep answers for their TTL, as the VPC's resolver does, so that clients see stale ones

	// Delay is from accepted to visible here: the authoritative servers, and so the resolvers that ask them, get a change
	// at different times. 0 means what Options say, negative means at once. GetChange answers INSYNC when all servers have
	// the change: not before the longest Delay of any resolver, even if Options.SyncDelay is shorter.
	Delay time.Duration

	// TTL takes the place of the records' own in A and TXT answers (whole seconds; 0 means theirs). With CacheTTL it is
	// how long they are kept.
	TTL time.Duration
}

// DNSMode is how the resolver behaves.
type DNSMode int

// The modes.
const (
	DNSNormal   DNSMode = iota
	DNSSilent           // takes questions and does not answer
	DNSServFail         // answers SERVFAIL
	DNSTruncate         // answers by UDP only that TCP is needed
	DNSGarbage          // answers bytes that are no message
)

// DNS is a resolver in front of the zone.
type DNS struct {
	server *Server
	opts   DNSOptions
	udp    net.PacketConn
	tcp    net.Listener
	wg     sync.WaitGroup

	mu      sync.Mutex
	mode    DNSMode
	queries int
	cache   map[string]cached
	conns   map[net.Conn]bool
	closed  bool
}

type cached struct {
	msg dnsmessage.Message
	at  time.Time
	end time.Time
}

// DNS starts a resolver that shows what has propagated. Close it before the Server.
func (s *Server) DNS(o DNSOptions) (*DNS, error) {
	if o.Addr == "" {
		o.Addr = "127.0.0.1:0"
	}
	var err error
	// A free port for UDP may be taken for TCP: with any port allowed, try again.
	for range 10 {
		d := &DNS{server: s, opts: o, cache: map[string]cached{}, conns: map[net.Conn]bool{}}
		if d.udp, err = net.ListenPacket("udp", o.Addr); err != nil {
			continue
		}
		if d.tcp, err = net.Listen("tcp", d.udp.LocalAddr().String()); err != nil {
			_ = d.udp.Close()
			continue
		}
		s.mu.Lock()
		s.slowest = max(s.slowest, o.Delay)
		s.mu.Unlock()
		d.wg.Go(d.serveUDP)
		d.wg.Go(d.serveTCP)
		return d, nil
	}
	return nil, fmt.Errorf("start fake resolver: %w", err)
}

// Addr is host:port of the resolver.
func (d *DNS) Addr() string { return d.udp.LocalAddr().String() }

// Queries is the number of questions so far.
func (d *DNS) Queries() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.queries
}

// SetMode changes the behavior.
func (d *DNS) SetMode(m DNSMode) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.mode = m
}

// Flush empties the cache.
func (d *DNS) Flush() {
	d.mu.Lock()
	defer d.mu.Unlock()
	clear(d.cache)
}

// Close stops the resolver and waits for its goroutines.
func (d *DNS) Close() {
	d.mu.Lock()
	d.closed = true
	for c := range d.conns {
		_ = c.Close()
	}
	d.mu.Unlock()
	_ = d.udp.Close()
	_ = d.tcp.Close()
	d.wg.Wait()
}

func (d *DNS) serveUDP() {
	b := make([]byte, 65535)
	for {
		n, from, err := d.udp.ReadFrom(b)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue
		}
		if reply := d.reply(b[:n], true); reply != nil {
			_, _ = d.udp.WriteTo(reply, from)
		}
	}
}

func (d *DNS) serveTCP() {
	for {
		conn, err := d.tcp.Accept()
		if err != nil {
			return
		}
		d.mu.Lock()
		if d.closed {
			d.mu.Unlock()
			_ = conn.Close()
			return
		}
		d.conns[conn] = true
		d.mu.Unlock()
		d.wg.Go(func() {
			d.serveConn(conn)
			_ = conn.Close()
			d.mu.Lock()
			delete(d.conns, conn)
			d.mu.Unlock()
		})
	}
}

func (d *DNS) serveConn(conn net.Conn) {
	for {
		var size [2]byte
		if _, err := io.ReadFull(conn, size[:]); err != nil {
			return
		}
		b := make([]byte, binary.BigEndian.Uint16(size[:]))
		if _, err := io.ReadFull(conn, b); err != nil {
			return
		}
		reply := d.reply(b, false)
		if reply == nil {
			continue
		}
		if _, err := conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(reply))), reply...)); err != nil {
			return
		}
	}
}

// reply answers one question; nil means silence.
func (d *DNS) reply(b []byte, udp bool) []byte {
	var q dnsmessage.Message
	if err := q.Unpack(b); err != nil || q.Response || len(q.Questions) != 1 {
		return nil
	}
	d.mu.Lock()
	d.queries++
	mode := d.mode
	d.mu.Unlock()
	msg := dnsmessage.Message{Questions: q.Questions}
	switch {
	case mode == DNSSilent:
		return nil
	case mode == DNSGarbage:
		return []byte("this is no DNS message")
	case mode == DNSServFail:
		msg.RCode = dnsmessage.RCodeServerFailure
	case mode == DNSTruncate && udp:
		msg.Truncated = true
	default:
		msg = d.resolve(q.Questions[0])
	}
	msg.ID, msg.Response, msg.RecursionDesired, msg.RecursionAvailable = q.ID, true, q.RecursionDesired, true
	out, err := msg.Pack()
	if err != nil {
		return nil
	}
	if udp && len(out) > 512 {
		msg.Answers, msg.Authorities, msg.Truncated = nil, nil, true
		out, _ = msg.Pack()
	}
	return out
}

// resolve answers from the cache or from the zone.
func (d *DNS) resolve(q dnsmessage.Question) dnsmessage.Message {
	if !d.opts.CacheTTL {
		msg, _ := d.lookup(q)
		return msg
	}
	id := strings.ToLower(q.Name.String()) + " " + q.Type.String()
	now := d.server.opts.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	c, ok := d.cache[id]
	if !ok || !now.Before(c.end) {
		msg, ttl := d.lookup(q)
		c = cached{msg: msg, at: now, end: now.Add(time.Duration(ttl) * time.Second)}
		d.cache[id] = c
	}
	msg := c.msg
	msg.Questions = []dnsmessage.Question{q}
	age := uint32(now.Sub(c.at) / time.Second)
	msg.Answers = aged(msg.Answers, age)
	msg.Authorities = aged(msg.Authorities, age)
	return msg
}

func aged(rrs []dnsmessage.Resource, age uint32) []dnsmessage.Resource {
	out := make([]dnsmessage.Resource, len(rrs))
	for i, rr := range rrs {
		rr.Header.TTL -= min(age, rr.Header.TTL)
		out[i] = rr
	}
	return out
}

// lookup answers from what has propagated, with the time the answer may be kept.
func (d *DNS) lookup(q dnsmessage.Question) (msg dnsmessage.Message, ttl uint32) {
	z, apex := d.server.visible(d.opts.Delay), d.server.opts.ZoneName
	msg.Questions = []dnsmessage.Question{q}
	name := canonicalName(q.Name.String())
	if name != apex && !strings.HasSuffix(name, "."+apex) {
		msg.RCode = dnsmessage.RCodeRefused
		return msg, 0
	}
	ttl = 1<<31 - 1
	owner := q.Name
	for range 8 {
		found, alias, exists := false, "", false
		for _, set := range z.sorted() {
			exists = exists || set.Name == name || strings.HasSuffix(set.Name, "."+name)
			if set.Name != name || set.TTL == nil || "Type"+set.Type != q.Type.String() && set.Type != "CNAME" {
				continue
			}
			for _, v := range set.Values {
				body, ok := resource(set.Type, v)
				if !ok {
					continue
				}
				keep := uint32(*set.TTL)
				if d.opts.TTL > 0 && (set.Type == "A" || set.Type == "TXT") {
					keep = uint32(d.opts.TTL / time.Second)
				}
				msg.Answers = append(msg.Answers, dnsmessage.Resource{
					Header: dnsmessage.ResourceHeader{Name: owner, Class: dnsmessage.ClassINET, TTL: keep}, Body: body,
				})
				ttl = min(ttl, keep)
				if set.Type == "CNAME" && q.Type != dnsmessage.TypeCNAME {
					alias = v
				} else {
					found = true
				}
			}
		}
		if found {
			return msg, ttl
		}
		if alias == "" {
			if !exists {
				msg.RCode = dnsmessage.RCodeNameError
			}
			break
		}
		next, err := dnsmessage.NewName(strings.TrimSuffix(alias, ".") + ".")
		if err != nil {
			break
		}
		name, owner = canonicalName(alias), next
	}
	soa, minimum := soaOf(z, apex)
	msg.Authorities = []dnsmessage.Resource{soa}
	// RFC 2308, section 5: a negative answer lives for the lesser of the SOA's TTL and its minimum.
	return msg, min(ttl, minimum)
}

// resource makes the body of the types that matter here.
func resource(typ, v string) (dnsmessage.ResourceBody, bool) {
	switch typ {
	case "A":
		if a, err := netip.ParseAddr(v); err == nil && a.Is4() {
			return &dnsmessage.AResource{A: a.As4()}, true
		}
	case "AAAA":
		if a, err := netip.ParseAddr(v); err == nil && a.Is6() {
			return &dnsmessage.AAAAResource{AAAA: a.As16()}, true
		}
	case "TXT":
		texts, ok := unquote(v)
		return &dnsmessage.TXTResource{TXT: texts}, ok
	case "CNAME":
		n, err := dnsmessage.NewName(strings.TrimSuffix(v, ".") + ".")
		return &dnsmessage.CNAMEResource{CNAME: n}, err == nil
	}
	return nil, false
}

func soaOf(z zone, apex string) (dnsmessage.Resource, uint32) {
	set := z[key{apex, "SOA", ""}]
	if set.TTL == nil || len(set.Values) == 0 {
		return dnsmessage.Resource{}, 0
	}
	f := strings.Fields(set.Values[0])
	num := func(i int) uint32 {
		if i >= len(f) {
			return 0
		}
		n, _ := strconv.ParseUint(f[i], 10, 32)
		return uint32(n)
	}
	body := &dnsmessage.SOAResource{Serial: num(2), Refresh: num(3), Retry: num(4), Expire: num(5), MinTTL: num(6)}
	if len(f) > 1 {
		body.NS, _ = dnsmessage.NewName(f[0])
		body.MBox, _ = dnsmessage.NewName(f[1])
	}
	ttl := min(uint32(*set.TTL), body.MinTTL)
	name, _ := dnsmessage.NewName(apex)
	return dnsmessage.Resource{
		Header: dnsmessage.ResourceHeader{Name: name, Class: dnsmessage.ClassINET, TTL: ttl}, Body: body,
	}, ttl
}
