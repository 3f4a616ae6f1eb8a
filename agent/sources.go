package agent

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/pgha/pgha-agent/crm"
	"github.com/pgha/pgha-agent/drbd"
	"github.com/pgha/pgha-agent/pg"
	"github.com/pgha/pgha-agent/route53"
)

// Sources are an agent's ways to the world around it. What each promises is said at the type that New takes for it.
type Sources struct {
	Crm interface { // *crm.Mon
		Look(context.Context) (*crm.Status, error)
	}
	Drbd interface { // *drbd.Stream
		Run(context.Context, func(drbd.Report)) error
	}
	Postgres interface { // *pg.Prober
		Probe(context.Context) pg.Health
		Close()
	}
	Client interface { // *pg.Client; nil: no client's view
		Probe(context.Context) pg.ClientProbe
	}
	Zone interface { // *route53.Client
		Read(context.Context) (route53.Record, error)
		Write(context.Context, route53.Write) (changeID string, err error)
		Change(ctx context.Context, id string) (insync bool, err error)
		Warm(context.Context) error
		Close()
	}
	Resolver interface { // *route53.Resolver
		Lookup(ctx context.Context, name string) ([]netip.Addr, error)
	}
	Credentials aws.CredentialsProvider // for other services of AWS
}

// connect makes the clients of the sources. None of them talks to anybody yet.
func (a *Agent) connect() error {
	if a.opts.sources != nil {
		a.src = *a.opts.sources
		return nil
	}
	c := a.cfg
	resolver, client, err := c.NameView()
	if err != nil {
		return err
	}
	prober, err := pg.NewProber(c.Postgres.DSN)
	if err != nil {
		return fmt.Errorf("postgres.dsn: %w", err)
	}
	o := c.Route53()
	o.Observe = func(op string, reason route53.Reason, took time.Duration) { a.metrics.Route53Call(op, reason, took) }
	zone, err := route53.New(context.Background(), o)
	if err != nil {
		return err
	}
	a.src = Sources{
		Crm:      &crm.Mon{Command: c.Cluster.CrmMon},
		Drbd:     &drbd.Stream{Command: c.Drbd.Drbdsetup, Resource: c.Drbd.Resource, Logger: a.log},
		Postgres: prober, Zone: zone, Resolver: resolver, Credentials: zone.Credentials(),
	}
	if client != nil { // an interface that holds a nil pointer is not nil
		a.src.Client = client
	}
	return nil
}
