package agent

import (
	"context"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/pgha/pgha-agent/agent/config"
	"github.com/pgha/pgha-agent/agent/doctor"
	"github.com/pgha/pgha-agent/agent/explain"
	"github.com/pgha/pgha-agent/agent/fsm"
	"github.com/pgha/pgha-agent/agent/peer"
	"github.com/pgha/pgha-agent/agent/status"
	"github.com/pgha/pgha-agent/drbd"
	"github.com/pgha/pgha-agent/pg"
)

// lookWithin bounds each question that is asked without the daemon.
const lookWithin = 5 * time.Second

// FactsWithoutDaemon looks at the cluster, DRBD, PostgreSQL and the name once, for a person whose daemon does not
// answer, and asks the daemons of the other nodes. last is what a daemon that hangs said, nil when there is no answer:
// what cannot be seen without it stays as old as that. It takes a few seconds at most. The texts say what could not be
// seen now, and why.
func FactsWithoutDaemon(ctx context.Context, c *config.Config, file string, last *status.Doc) (explain.Facts,
	[]string) {
	d := &status.Doc{Time: time.Now()}
	if last != nil {
		*d = *last
	}
	d.Node, d.Record.Name, d.Record.ResolverAddr = c.Node.Name, c.Record.Name, nil
	d.Client, d.Cluster, d.Sources = nil, nil, slices.Clone(d.Sources)
	if addr, err := netip.ParseAddr(c.Node.Address); err == nil {
		d.Record.OwnAddr = addr.String()
	}
	var seen doctor.Seen
	var all sync.WaitGroup
	inTime, cancel := context.WithTimeout(ctx, lookWithin)
	defer cancel()
	all.Go(func() { seen = doctor.Look(inTime, DoctorOptions(c, file, "")) })
	all.Go(func() { d.Postgres = askPostgres(inTime, c.Postgres.DSN) })
	all.Go(func() { askName(inTime, c, d) })
	all.Wait()
	if seen.Drbd != nil && seen.Drbd.Role == drbd.RoleSecondary && accepting(d.Postgres.State) {
		// It may have answered before DRBD was demoted.
		inTime, cancel := context.WithTimeout(ctx, lookWithin)
		d.Postgres = askPostgres(inTime, c.Postgres.DSN)
		cancel()
		d.Postgres.Foreign = accepting(d.Postgres.State)
	}
	if d.Postgres.State == pg.StateAuth { // who asks is seldom the agent's user
		d.Postgres.State = pg.StateUnknown
	}
	f := explain.Facts{
		Node: c.Node.Name, Clone: c.Cluster.Promotable, Resource: c.Drbd.Resource, Own: d, TTL: c.Record.TTL,
		Peers: map[string]*status.Doc{}, Errs: map[string]string{}, Cluster: seen.Cluster, Config: seen.Config,
	}
	d.Drbd = seen.Drbd
	if seen.Cluster != nil {
		d.Cluster = status.NewClusterDoc(seen.Cluster, f.Clone, time.Now(), 0)
		inTime, cancel := context.WithTimeout(ctx, lookWithin)
		defer cancel()
		askOthers(inTime, peer.New(c), &f)
	}
	f.Now = time.Now()
	return f, seen.Missing
}

// askPostgres makes one probe.
func askPostgres(ctx context.Context, dsn string) status.PostgresDoc {
	p, err := pg.NewProber(dsn)
	if err != nil {
		return status.PostgresDoc{State: pg.StateUnknown, Error: err.Error()}
	}
	defer p.Close()
	h := p.Probe(ctx)
	return status.PostgresDoc{State: h.State, Error: h.Err}
}

// askName asks the resolver, and PostgreSQL through the name.
func askName(ctx context.Context, c *config.Config, d *status.Doc) {
	resolver, client, err := c.NameView()
	if err != nil {
		return // check-config tells
	}
	addrs, err := resolver.Lookup(ctx, c.Record.Name)
	if err != nil && !noSuchName(err) {
		name := status.SourceResolver.String()
		d.Sources = slices.DeleteFunc(d.Sources, func(s status.SourceDoc) bool { return s.Name == name })
		d.Sources = append(d.Sources, status.SourceDoc{Name: name, Error: err.Error()})
	} else {
		d.Record.ResolverAddr = new("")
		if len(addrs) > 0 {
			d.Record.ResolverAddr = new(addrs[0].String())
		}
	}
	if client == nil {
		return
	}
	p := client.Probe(ctx)
	if p.State == pg.StateAuth { // who asks is seldom the agent's user
		return
	}
	d.Client = &status.ClientDoc{OK: p.OK, Asked: true, State: p.State, Error: p.Err, NoName: p.NoName}
	if p.Answered.IsValid() {
		d.Client.Answered = p.Answered.String()
	}
}

// askOthers asks the daemons of the other nodes.
func askOthers(ctx context.Context, c *peer.Client, f *explain.Facts) {
	var nodes []string
	for _, n := range f.Cluster.Nodes {
		if n.Name != f.Node && (n.Type == "" || n.Type == "member") && len(nodes) < fsm.MaxPeers {
			nodes = append(nodes, n.Name)
		}
	}
	for _, p := range c.AskEach(ctx, nodes, c.Hosts(f.Own)...) {
		if p.Doc != nil {
			f.Peers[p.Node] = p.Doc
		} else {
			f.Errs[p.Node] = p.Err
		}
	}
}
