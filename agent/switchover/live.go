package switchover

import (
	"context"
	"errors"
	"time"

	"github.com/pgha/pgha-agent/agent/config"
	"github.com/pgha/pgha-agent/agent/peer"
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
	peer     *peer.Client
	hosts    []string // where another daemon may be, by what the local one says
}

// NewLive makes the World of a configuration. It makes no request yet.
func NewLive(cfg *config.Config) (*Live, error) {
	w := &Live{cfg: cfg, mon: crm.Mon{Command: cfg.Cluster.CrmMon}, peer: peer.New(cfg)}
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

// Status implements World.
func (w *Live) Status(ctx context.Context, node string) (*status.Doc, error) {
	if node != w.cfg.Node.Name {
		return w.peer.Ask(ctx, node, w.hosts...)
	}
	d, err := status.Fetch(ctx, w.cfg.State.ControlSocket)
	if err == nil {
		w.hosts = w.peer.Hosts(d)
	}
	return d, err
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
