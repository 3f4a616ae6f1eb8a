package doctor

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"syscall"
	"time"

	"github.com/pgha/pgha-agent/route53"
)

func collectResolver(ctx context.Context, f *Facts) error {
	addrs, err := route53.Resolver{Server: f.Options.Resolver}.Lookup(ctx, f.Options.Record.Name)
	if _, ok := errors.AsType[*route53.DNSError](err); ok {
		return absent(fail("%s", oneLine(err.Error())).remedy(
			"is the zone associated with this VPC, does the record exist (`pgha-agent status`), does the resolver know the "+
				"zone (`dig %s`)?", f.Options.Record.Name))
	}
	if err != nil {
		return absent(fail("%s", oneLine(err.Error())).remedy(
			"does the VPC's resolver answer? /etc/resolv.conf, or record.resolver in the agent's configuration; the VPC " +
				"needs enableDnsSupport"))
	}
	f.Resolved = addrs
	return nil
}

// reach is how an attempt to connect ended.
type reach string

// Refused means that the port can be reached and nothing listens; Silent that a firewall or security group drops the
// packets.
const (
	reachOpen    reach = "open"
	reachRefused reach = "refused"
	reachSilent  reach = "silent"
)

type portFacts struct {
	Peer                 netip.Addr
	Pcsd, Postgres, Drbd reach // "" when it was not tried
}

func collectPorts(ctx context.Context, f *Facts) error {
	if f.Show == nil || len(f.Show.Peers) == 0 {
		return absent(unknown("the peer's address is not known: DRBD's running configuration does not show it"))
	}
	peer := f.Show.Peers[0]
	p := &portFacts{Peer: peer.Addr()}
	p.Pcsd = dial(ctx, netip.AddrPortFrom(p.Peer, 2224))
	p.Postgres = dial(ctx, netip.AddrPortFrom(p.Peer, 5432))
	// A stray connection would only disturb one that works.
	if f.State == nil || !slices.ContainsFunc(f.State.Connections, drbdConnected) {
		p.Drbd = dial(ctx, peer)
	}
	f.Ports = p
	return nil
}

func dial(ctx context.Context, to netip.AddrPort) reach {
	c, err := (&net.Dialer{Timeout: 3 * time.Second}).DialContext(ctx, "tcp", to.String())
	switch {
	case err == nil:
		_ = c.Close()
		return reachOpen
	case errors.Is(err, syscall.ECONNREFUSED):
		return reachRefused
	}
	return reachSilent
}
