package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/pgha/pgha-agent/route53/route53test"
)

// prepare builds and configures everything; nothing runs yet but the name service.
func (d *demo) prepare(ctx context.Context) (err error) {
	d.ui.title("Preparing")
	if err := installPostgres(ctx, d.ui.step); err != nil {
		return err
	}
	if d.dir, err = os.MkdirTemp("", "pgha-demo-"); err != nil {
		return err
	}
	if err := os.Chmod(d.dir, 0o755); err != nil { // PostgreSQL is another user when we are root
		return err
	}
	d.ui.step("everything is in %s and goes with it", d.dir)
	d.spawn = newSpawner()
	standin := filepath.Join(d.dir, "standin")
	if err := build(ctx, modulePath+"/cmd/pgha-demo/standin", standin, staticBuild); err != nil {
		return err
	}
	if d.agentPath == "" {
		d.ui.step("building the agent")
		d.agentPath = filepath.Join(d.dir, "pgha-agent")
		if err := build(ctx, modulePath+"/cmd/pgha-agent", d.agentPath); err != nil {
			return err
		}
	} else if d.agentPath, err = filepath.Abs(d.agentPath); err != nil {
		return err
	}

	addrs := [2]string{"127.0.1.10", "127.0.2.10"}
	names := [2]string{"pg-primary", "pg-secondary"}
	if d.port, err = freePort(d.port, addrs[:]...); err != nil {
		return err
	}
	if d.httpPort, err = freePort(d.httpPort, addrs[:]...); err != nil {
		return err
	}
	d.zone = route53test.New(route53test.Options{ZoneID: zoneID, ZoneName: "pgha.internal", SyncDelay: dnsDelay, Rate: 5,
		Burst: 5})
	if err := d.zone.Start("127.0.0.1:0"); err != nil {
		return err
	}
	// A record that people made by hand. The agent takes it over.
	d.zone.Set(route53test.Simple(recordName, "A", recordTTL, addrs[0]))
	if d.dns, err = d.zone.DNS(route53test.DNSOptions{CacheTTL: true}); err != nil {
		return err
	}
	d.ui.step("Route 53 stand-in at %s (5 requests a second, changes in sync after %v), resolver at %s (keeps answers "+
		"for their TTL)", d.zone.URL(), dnsDelay, d.dns.Addr())
	if d.db, err = newDatabase(d.spawn, filepath.Join(d.dir, "volume"), d.port); err != nil {
		return err
	}

	d.cluster = newCluster(names, addrs, defaultFigures)
	for i := range d.nodes {
		// On one port, as a cluster has it, so that the agents find each other.
		reserved, err := net.Listen("tcp", net.JoinHostPort(addrs[i], strconv.Itoa(d.httpPort)))
		if err != nil {
			return err
		}
		m := &machine{
			index: i, name: names[i], addr: addrs[i], dir: filepath.Join(d.dir, names[i]), http: reserved.Addr().String(),
			reserved:  reserved,
			agentPath: d.agentPath, spawn: d.spawn,
			env: []string{"AWS_ACCESS_KEY_ID=demo", "AWS_SECRET_ACCESS_KEY=demo", "AWS_REGION=eu-central-1",
				"AWS_EC2_METADATA_DISABLED=true",
				"PATH=" + filepath.Join(d.dir, names[i]) + ":" + os.Getenv("PATH")}, // of cibadmin
		}
		d.nodes[i] = m
		err = m.prepare(settings{Port: d.port, Zone: zoneID, Record: recordName, TTL: strconv.Itoa(recordTTL) + "s",
			Endpoint: d.zone.URL(), Resolver: d.dns.Addr()}, standin)
		if err != nil {
			return err
		}
	}
	d.cluster.hooks = hooks{
		startPostgres: func(_ context.Context, i int) error { return d.db.start(d.nodes[i]) },
		alert:         func(i int, env map[string]string) { d.nodes[i].alert(env) },
	}
	return nil
}

// freePort returns port if nobody listens there, else one that is free on all addresses.
func freePort(port int, addrs ...string) (int, error) {
	for range 20 {
		free := true
		for _, addr := range addrs {
			l, err := net.Listen("tcp", net.JoinHostPort(addr, strconv.Itoa(port)))
			if err != nil {
				free = false
				break
			}
			if port == 0 {
				port = l.Addr().(*net.TCPAddr).Port
			}
			_ = l.Close()
		}
		if free {
			return port, nil
		}
		port = 0
	}
	return 0, fmt.Errorf("no free port on %s", strings.Join(addrs, " and "))
}
