package switchover

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/pgha/pgha-agent/agent/config"
	"github.com/pgha/pgha-agent/agent/status"
	"github.com/pgha/pgha-agent/crm"
	"github.com/pgha/pgha-agent/pg"
	"github.com/pgha/pgha-agent/route53"
)

// Live is the World of a configuration: this node's Pacemaker and daemon, the other daemon over the network, the
// resolver, and PostgreSQL.
type Live struct {
	cfg      *config.Config
	mon      crm.Mon
	cib      crm.CIB
	resolver *route53.Resolver
	client   *pg.Client
	hosts    []string // where another daemon may be, by what the local one says
}

// NewLive makes the World of a configuration. It makes no request yet.
func NewLive(cfg *config.Config) (*Live, error) {
	w := &Live{cfg: cfg, mon: crm.Mon{Command: cfg.Cluster.CrmMon}}
	var err error
	w.resolver, w.client, err = cfg.NameView()
	return w, err
}

// Gather asks each source once.
func (w *Live) Gather(ctx context.Context, to string) Facts {
	f := Facts{Node: w.cfg.Node.Name, Clone: w.cfg.Cluster.Promotable, To: to}
	f.Status, f.StatusErr = w.Status(ctx, f.Node)
	f.Cluster, f.ClusterErr = w.mon.Look(ctx)
	f.Config, f.ConfigErr = w.cib.Configuration(ctx)
	f.PeerErr = errors.New("not asked")
	if f.Cluster != nil {
		for _, n := range append(f.Cluster.Promoted(f.Clone), f.Cluster.Unpromoted(f.Clone)...) {
			if n != f.Node && (to == "" || to == f.Node || n == to) {
				f.Peer, f.PeerErr = w.Status(ctx, n)
			}
		}
	}
	f.Now = time.Now()
	return f
}

// Standing asks Pacemaker for the constraints of switchovers that stand.
func Standing(ctx context.Context) ([]crm.Location, error) {
	c, err := new(crm.CIB).Configuration(ctx)
	if err != nil {
		return nil, err
	}
	return Leftovers(c), nil
}

// Prefer implements World.
func (w *Live) Prefer(ctx context.Context, l crm.Location, pacemaker string) error {
	return w.cib.AddPreference(ctx, l, pacemaker)
}

// Withdraw implements World.
func (w *Live) Withdraw(ctx context.Context, id string) error { return w.cib.RemoveConstraint(ctx, id) }

// Look implements World.
func (w *Live) Look(ctx context.Context) (*crm.Status, error) { return w.mon.Look(ctx) }

// Status implements World. Another node's daemon is looked for where DRBD's peer is (9 says so), under the node's name,
// and where the name points, on the port of this node's http.listen. What answers must call itself by that node's name.
func (w *Live) Status(ctx context.Context, node string) (*status.Doc, error) {
	if node == w.cfg.Node.Name {
		d, err := status.Fetch(ctx, w.cfg.State.ControlSocket)
		if err == nil {
			w.hosts = peerHosts(d)
		}
		return d, err
	}
	if w.cfg.HTTP.Listen == config.Off || w.cfg.HTTP.WebConfig != "" {
		return nil, errors.New("http.listen is off, or wants a certificate or password")
	}
	_, port, err := net.SplitHostPort(w.cfg.HTTP.Listen)
	if err != nil {
		return nil, fmt.Errorf("http.listen: %w", err)
	}
	for _, host := range append([]string{node}, w.hosts...) {
		d, ferr := status.FetchOf(ctx, net.JoinHostPort(host, port))
		if ferr == nil && d.Node == node {
			return d, nil
		}
		if ferr == nil {
			ferr = fmt.Errorf("the daemon at %s is that of %s", host, d.Node)
		}
		if err == nil {
			err = ferr
		}
	}
	return nil, err
}

// peerHosts are the addresses in a status that may be another node's.
func peerHosts(d *status.Doc) (hosts []string) {
	add := func(host string) {
		if a, err := netip.ParseAddr(host); err == nil && host != d.Record.OwnAddr && !a.IsUnspecified() {
			hosts = append(hosts, host)
		}
	}
	if d.Drbd != nil {
		for _, c := range d.Drbd.Connections {
			for _, p := range c.Paths {
				if host, _, err := net.SplitHostPort(strings.TrimPrefix(strings.TrimPrefix(p.Peer, "ipv4:"), "ipv6:")); err == nil {
					add(host)
				}
			}
		}
	}
	add(d.Record.Addr)
	if d.Record.ResolverAddr != nil {
		add(*d.Record.ResolverAddr)
	}
	return hosts
}

// Resolve implements World.
func (w *Live) Resolve(ctx context.Context) (string, error) {
	addrs, err := w.resolver.Lookup(ctx, w.cfg.Record.Name)
	if err != nil || len(addrs) == 0 {
		return "", err
	}
	return addrs[0].String(), nil
}

// HasClient implements World.
func (w *Live) HasClient() bool { return w.client != nil }

// Connect implements World.
func (w *Live) Connect(ctx context.Context) pg.ClientProbe { return w.client.Probe(ctx) }
