package main

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/pgha/pgha-agent/pg/pgtest"
	"github.com/pgha/pgha-agent/route53/route53test"
)

// The demo without agents: somebody else moves the record.
func TestClientLosesNoAcknowledgedRowWhenTheDatabaseMoves(t *testing.T) {
	if _, err := pgtest.BinDir(); errors.Is(err, pgtest.ErrNotInstalled) {
		t.Skip("not tested against a real PostgreSQL: none is installed")
	}
	dir, err := os.MkdirTemp("", "pgha-demo-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	port, err := freePort(0, testAddrs[:]...)
	if err != nil {
		t.Fatal(err)
	}
	db, err := newDatabase(newSpawner(), filepath.Join(dir, "volume"), port)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.stop() })
	var nodes [2]*machine
	for i := range nodes {
		nodes[i] = &machine{addr: testAddrs[i], dir: filepath.Join(dir, testNames[i])}
		if err := os.MkdirAll(nodes[i].socketDir(), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	zone := route53test.New(route53test.Options{ZoneName: "pgha.internal"})
	t.Cleanup(zone.Close)
	zone.Set(route53test.Simple(recordName, "A", 1, testAddrs[0]))
	dns, err := zone.DNS(route53test.DNSOptions{CacheTTL: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(dns.Close)

	if err := db.start(nodes[0]); err != nil {
		t.Fatal(err)
	}
	for _, sql := range []string{"CREATE ROLE app LOGIN", "CREATE DATABASE app OWNER app"} {
		if _, err := db.query(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	c, err := newClient(recordName, port, dns.Addr(), func(uint64) {})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	t.Cleanup(wg.Wait)
	t.Cleanup(cancel)
	wg.Go(func() { c.Run(ctx) })
	for end := time.Now().Add(20 * time.Second); c.Acked() < 20; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			_, err := c.Failed()
			t.Fatalf("%d commits, %v", c.Acked(), err)
		}
	}

	cut := time.Now()
	if err := db.server.Kill(); err != nil {
		t.Fatal(err)
	}
	killed := time.Now()
	if err := db.start(nodes[1]); err != nil {
		t.Fatal(err)
	}
	zone.Set(route53test.Simple(recordName, "A", 1, testAddrs[1]))
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		_, _, server := c.Last()
		if host, _, _ := net.SplitHostPort(server); host == testAddrs[1] {
			break
		}
		if time.Now().After(end) {
			t.Fatal("the client does not find the new node")
		}
	}
	l, err := c.Verify(t.Context(), "")
	failed, _ := c.Failed()
	if err != nil || len(l.Lost) > 0 || l.Acked == 0 || l.Stored < l.Acked || failed == 0 {
		t.Errorf("%+v, %d errors, %v", l, failed, err)
	}
	now := time.Now()
	// a busy machine reads the last reply late
	if from, to := longest(c.Outages(now, 0), now); from.After(killed.Add(time.Second)) || !to.After(cut) {
		t.Errorf("outage from %v to %v, cut from %v to %v", from, to, cut, killed)
	}
}

func TestStalePIDFileOfALivingServerIsKept(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "data"), 0o700); err != nil {
		t.Fatal(err)
	}
	db := &database{server: &pgtest.Server{Dir: dir}}
	if err := db.removeStalePID(); err != nil {
		t.Errorf("without a file: %v", err)
	}
	pid := filepath.Join(dir, "data", "postmaster.pid")
	for _, text := range []string{"1\n/data\n", "not a number\n"} {
		if err := os.WriteFile(pid, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := db.removeStalePID(); err == nil {
			t.Errorf("a file that says %q is removed", text)
		}
	}
	if err := os.WriteFile(pid, []byte("2147483646\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := db.removeStalePID(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(pid); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the stale file stays: %v", err)
	}
}
