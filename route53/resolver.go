package route53

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// DNSError is an answer of the resolver that holds no address. RCode is NXDOMAIN, SERVFAIL, REFUSED and so on, or
// NODATA when the name exists without an A record.
type DNSError struct{ RCode string }

// Error names the code.
func (e *DNSError) Error() string { return "the resolver answers " + e.RCode }

// NotFound reports that the name has no address, as far as the resolver knows.
func (e *DNSError) NotFound() bool { return e.RCode == "NXDOMAIN" || e.RCode == "NODATA" }

// Resolver asks one DNS server itself: the libc's and Go's resolvers may cache.
type Resolver struct {
	Server  string        // host:port; "" means the first nameserver of /etc/resolv.conf, read again each time
	Timeout time.Duration // of one try; 0 means 2 s. There are at most two tries
}

const udpSize = 1232 // what we accept by UDP: no more than fits in one unfragmented packet

// Lookup asks for the IPv4 addresses of name, which is taken as fully qualified.
func (r Resolver) Lookup(ctx context.Context, name string) (addrs []netip.Addr, err error) {
	defer func() {
		if err != nil {
			addrs, err = nil, fmt.Errorf("look up %s: %w", name, err)
		}
	}()
	server := r.Server
	if server == "" {
		if server, err = systemServer("/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"); err != nil {
			return nil, err
		}
	}
	qname, err := dnsmessage.NewName(strings.TrimSuffix(name, ".") + ".")
	if err != nil {
		return nil, err
	}
	timeout := r.Timeout
	if timeout <= 0 {
		timeout = 2 * time.Second
	}
	network := "udp"
	for try := 0; ; try++ {
		var msg dnsmessage.Message
		msg, err = exchange(ctx, network, server, qname, timeout)
		switch {
		case err == nil && msg.Truncated && network == "udp":
			network, try = "tcp", 0
			continue
		case err == nil:
			return answer(msg, qname)
		case try > 0 || ctx.Err() != nil:
			return nil, err
		}
	}
}

// exchange sends one question and waits for its answer.
func exchange(
	ctx context.Context, network, server string, name dnsmessage.Name, timeout time.Duration,
) (dnsmessage.Message, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var id [2]byte
	_, _ = rand.Read(id[:]) // never fails
	q := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: binary.BigEndian.Uint16(id[:]), RecursionDesired: true},
		Questions: []dnsmessage.Question{{Name: name, Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET}},
	}
	packet, err := q.Pack()
	if err != nil {
		return dnsmessage.Message{}, err
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, network, server)
	if err != nil {
		return dnsmessage.Message{}, err
	}
	defer func() { _ = conn.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()

	if network == "tcp" {
		packet = append(binary.BigEndian.AppendUint16(nil, uint16(len(packet))), packet...)
	}
	if _, err := conn.Write(packet); err != nil {
		return dnsmessage.Message{}, err
	}
	for {
		b, err := receive(conn, network)
		if err != nil {
			if ctx.Err() != nil {
				err = ctx.Err()
			}
			return dnsmessage.Message{}, err
		}
		msg, err := parseReply(b, q)
		if err == nil {
			return msg, nil
		}
		// By UDP anybody can send: wait on for the real one, as resolvers do.
		if network == "tcp" {
			return dnsmessage.Message{}, err
		}
	}
}

func receive(conn net.Conn, network string) ([]byte, error) {
	if network == "udp" {
		b := make([]byte, udpSize)
		n, err := conn.Read(b)
		return b[:n], err
	}
	var size [2]byte
	if _, err := io.ReadFull(conn, size[:]); err != nil {
		return nil, err
	}
	b := make([]byte, binary.BigEndian.Uint16(size[:]))
	_, err := io.ReadFull(conn, b)
	return b, err
}

// parseReply unpacks b when it answers q. A truncated reply is only read up to its question.
func parseReply(b []byte, q dnsmessage.Message) (dnsmessage.Message, error) {
	var p dnsmessage.Parser
	h, err := p.Start(b)
	if err != nil {
		return dnsmessage.Message{}, fmt.Errorf("parse the answer: %w", err)
	}
	qs, err := p.AllQuestions()
	if err != nil {
		return dnsmessage.Message{}, fmt.Errorf("parse the answer: %w", err)
	}
	if !h.Response || h.ID != q.ID || len(qs) != 1 || qs[0].Type != q.Questions[0].Type ||
		qs[0].Class != q.Questions[0].Class || !sameName(qs[0].Name, q.Questions[0].Name) {
		return dnsmessage.Message{}, errors.New("the answer is to another question")
	}
	msg := dnsmessage.Message{Header: h, Questions: qs}
	if h.Truncated {
		return msg, nil
	}
	if msg.Answers, err = p.AllAnswers(); err != nil {
		return dnsmessage.Message{}, fmt.Errorf("parse the answer: %w", err)
	}
	return msg, nil
}

func sameName(a, b dnsmessage.Name) bool { return strings.EqualFold(a.String(), b.String()) }

// answer follows the aliases from name to its addresses.
func answer(msg dnsmessage.Message, name dnsmessage.Name) (addrs []netip.Addr, err error) {
	if msg.RCode != dnsmessage.RCodeSuccess {
		return nil, &DNSError{RCode: rcode(msg.RCode)}
	}
	for range len(msg.Answers) + 1 {
		next := name
		for _, rr := range msg.Answers {
			if !sameName(rr.Header.Name, name) {
				continue
			}
			switch body := rr.Body.(type) {
			case *dnsmessage.AResource:
				addrs = append(addrs, netip.AddrFrom4(body.A))
			case *dnsmessage.CNAMEResource:
				next = body.CNAME
			}
		}
		if len(addrs) > 0 {
			return addrs, nil
		}
		if next == name {
			break
		}
		name = next
	}
	return nil, &DNSError{RCode: "NODATA"}
}

func rcode(c dnsmessage.RCode) string {
	switch c {
	case dnsmessage.RCodeFormatError:
		return "FORMERR"
	case dnsmessage.RCodeServerFailure:
		return "SERVFAIL"
	case dnsmessage.RCodeNameError:
		return "NXDOMAIN"
	case dnsmessage.RCodeNotImplemented:
		return "NOTIMP"
	case dnsmessage.RCodeRefused:
		return "REFUSED"
	}
	return fmt.Sprintf("RCODE%d", c)
}

// systemServer finds the nameserver. systemd-resolved's stub is itself a cache, so the server behind it is asked.
func systemServer(path, behindStub string) (string, error) {
	server, err := firstNameserver(path)
	if err == nil && server == "127.0.0.53" {
		if real, err := firstNameserver(behindStub); err == nil {
			server = real
		}
	}
	if err != nil {
		return "", err
	}
	return net.JoinHostPort(server, "53"), nil
}

func firstNameserver(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }()
	for sc := bufio.NewScanner(f); sc.Scan(); {
		fields := strings.Fields(sc.Text())
		if len(fields) < 2 || fields[0] != "nameserver" {
			continue
		}
		if _, err := netip.ParseAddr(fields[1]); err == nil {
			return fields[1], nil
		}
	}
	return "", fmt.Errorf("%s names no nameserver", path)
}
