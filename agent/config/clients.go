package config

import (
	"context"
	"fmt"

	"github.com/pgha/pgha-agent/pg"
	"github.com/pgha/pgha-agent/route53"
)

// Route53 returns what a client of the record is made of.
func (c *Config) Route53() route53.Options {
	return route53.Options{
		ZoneID: c.Record.ZoneID, Name: c.Record.Name, TTL: c.Record.TTL, Ownership: c.Record.Ownership == OwnershipTXT,
		EndpointURL: c.Record.EndpointURL, Region: c.Record.Region,
	}
}

// NameView makes what sees the name as clients do: the resolver that they use, and a client of PostgreSQL, nil when it
// is off.
func (c *Config) NameView() (*route53.Resolver, *pg.Client, error) {
	resolver := &route53.Resolver{Server: c.Record.Resolver}
	if c.Postgres.Client == Off {
		return resolver, nil, nil
	}
	client, err := pg.NewClient("host="+c.Record.Name+" "+c.Postgres.Client,
		func(ctx context.Context, host string) ([]string, error) {
			addrs, err := resolver.Lookup(ctx, host)
			if err != nil {
				return nil, err
			}
			hosts := make([]string, len(addrs))
			for i, addr := range addrs {
				hosts[i] = addr.String()
			}
			return hosts, nil
		})
	if err != nil {
		return nil, nil, fmt.Errorf("postgres.client: %w", err)
	}
	client.WriteEvery = c.Postgres.WriteEvery
	return resolver, client, nil
}
