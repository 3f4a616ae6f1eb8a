package doctor

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pgha/pgha-agent/pg"
	"github.com/pgha/pgha-agent/route53"
)

func collectPostgres(ctx context.Context, f *Facts) error {
	_, _, role, err := pg.Endpoint(f.Options.PostgresDSN)
	if err != nil {
		return err
	}
	value, err := f.ask(ctx, pg.AuditSQL(role))
	if err == nil {
		f.Postgres, err = pg.ParseAudit(value)
	}
	return err
}

func collectHBA(ctx context.Context, f *Facts) error {
	value, err := f.ask(ctx, pg.HBASQL)
	if err == nil {
		f.HBA, err = pg.ParseHBA(value)
	}
	return err
}

// ask puts one question to the local server. Root has no role there, so it becomes the user that owns the server, and
// asks with psql; anybody else asks as the agent does.
func (f *Facts) ask(ctx context.Context, sql string) ([]byte, error) {
	if f.Crm != nil && !f.promotedHere() {
		return nil, absent(skip("PostgreSQL runs on the promoted node only: run the doctor there"))
	}
	host, port, _, err := pg.Endpoint(f.Options.PostgresDSN)
	if err != nil {
		return nil, err
	}
	if asRoot() && strings.HasPrefix(host, "/") {
		owner, psql := "postgres", "psql"
		if f.CIB != nil {
			for _, p := range f.database() {
				if name := p.Params["pgdba"]; name != "" {
					owner = name
				}
				if program := p.Params["psql"]; program != "" {
					psql = program
				}
			}
		}
		as, err := credential(owner)
		if err != nil {
			return nil, err
		}
		out, err := run(ctx, as, psql, "-XAtq", "-h", host, "-p", port, "-U", owner, "-d", "postgres", "-c",
			"SET statement_timeout = 5000", "-c", sql)
		if err != nil {
			return nil, absent(unknown("ask PostgreSQL as %s: %s", owner,
				oneLine(err.Error())).remedy("see the PostgreSQL log; does pg_hba.conf have `local all %s peer`?", owner))
		}
		return out, nil
	}
	value, state, err := pg.Ask(ctx, f.Options.PostgresDSN, sql)
	if err != nil {
		return nil, absent(unknown("PostgreSQL: %s: %s", state,
			oneLine(err.Error())).remedy("run it as root, or as user pgha with the role that docs/install.md describes"))
	}
	return value, nil
}

func collectInstance(ctx context.Context, f *Facts) error {
	i, err := route53.DescribeInstance(ctx, f.Options.IMDS)
	if err != nil {
		return absent(unknown("%s", oneLine(err.Error())).remedy(
			"`aws ec2 modify-instance-metadata-options --instance-id ID --http-endpoint enabled --http-tokens required " +
				"--http-put-response-hop-limit 1`"))
	}
	f.Instance = &i
	return nil
}

// recordAnswer is what a read of the record gave: the record, or why there is none.
type recordAnswer struct {
	Record route53.Record
	Err    error
}

func collectRecord(ctx context.Context, f *Facts) error {
	c, err := f.route53Client()
	if err != nil {
		return err
	}
	rec, err := c.Read(ctx)
	f.Record = &recordAnswer{rec, err}
	return nil
}

func collectTryWrite(ctx context.Context, f *Facts) error {
	if f.Record == nil || f.Record.Err != nil {
		return absent(unknown("the record could not be read, so no write was tried").remedy(
			"first mend what the check route53-read reports"))
	}
	c, err := f.route53Client()
	if err != nil {
		return err
	}
	f.TryWrite = c.TryWrite(ctx, f.Record.Record)
	return nil
}

func collectZone(ctx context.Context, f *Facts) error {
	c, err := f.route53Client()
	if err != nil {
		return err
	}
	z, err := c.Zone(ctx)
	if err != nil {
		return absent(unknown("%s", oneLine(err.Error())).remedy(
			"allow route53:GetHostedZone on the zone, as deploy/iam-policy.json does"))
	}
	f.Zone = &z
	return nil
}

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

// Refused means that the way is open and nobody listens; Silent that a firewall or security group swallows the packets.
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

type clockFacts struct {
	Synchronized bool
	Error        time.Duration // the kernel's estimate of the largest error
}

func collectClock(_ context.Context, f *Facts) error {
	var t unix.Timex // all zero: only asks
	state, err := unix.Adjtimex(&t)
	if err != nil {
		return fmt.Errorf("ask the kernel about its clock: %w", err)
	}
	f.Clock = &clockFacts{Synchronized: state != unix.TIME_ERROR && t.Status&unix.STA_UNSYNC == 0,
		Error: time.Duration(t.Maxerror) * time.Microsecond}
	return nil
}
