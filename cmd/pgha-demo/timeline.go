package main

import (
	"context"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/pgha/pgha-agent/cmd/internal/wait"
)

// powerCut is what the cluster does by itself after the power of the promoted node is gone: it detects the loss,
// fences, and moves everything to the other node. It returns when PostgreSQL runs there. Names and order of the steps
// are those of the recordings of a real cluster; the durations are the model's figures, but for PostgreSQL's own.
func (c *cluster) powerCut(ctx context.Context, dead int) error {
	alive := 1 - dead
	c.update(func() {
		c.nodes[dead].stack = false
		*c.drbd[dead] = side{size: c.drbd[dead].size}
	})
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error { return c.replicationLost(gctx, alive) })
	g.Go(func() error { return c.fenceNode(gctx, dead, alive) })
	if err := g.Wait(); err != nil {
		return err
	}
	return c.takeOver(ctx, dead, alive)
}

// replicationLost is DRBD's own view of the loss.
func (c *cluster) replicationLost(ctx context.Context, alive int) error {
	if err := wait.For(ctx, c.fig.DrbdNotice); err != nil {
		return err
	}
	c.change(alive, func(s *side) {
		s.conn, s.peerRole, s.disk, s.repl, s.peerDisk = "NetworkFailure", "Unknown", "Consistent", "Off", "DUnknown"
		s.pending, s.unacked = 0, 0
		c.mark("peer_lost")
	})
	if err := wait.For(ctx, 10*time.Millisecond); err != nil {
		return err
	}
	c.change(alive, func(s *side) { s.disk = "UpToDate" })
	c.change(alive, func(s *side) { s.path = false })
	if err := c.helper(ctx, alive, "disconnected", 25*time.Millisecond, 0); err != nil {
		return err
	}
	c.change(alive, func(s *side) { s.conn, s.received, s.sent = "Unconnected", 0, 0 })
	c.change(alive, func(s *side) { s.conn = "Connecting" })
	return nil
}

// fenceNode is Corosync's and Pacemaker's: node lost, fencing asked for and done.
func (c *cluster) fenceNode(ctx context.Context, dead, alive int) error {
	if err := wait.For(ctx, c.fig.Token); err != nil {
		return err
	}
	c.update(func() {
		n := c.nodes[dead]
		n.online, n.unclean, n.history, n.score = false, true, nil, ""
		c.dc = alive
	})
	c.alertNode(alive, dead, "lost")
	if err := wait.For(ctx, c.fig.Transition); err != nil {
		return err
	}
	c.update(func() {
		c.fencing = append([]fenceEvent{{target: dead, origin: alive, status: "pending"}}, c.fencing...)
		c.mark("fence_requested")
	})
	if err := wait.For(ctx, c.fig.Fence); err != nil {
		return err
	}
	c.update(func() {
		c.fencing[0].status, c.fencing[0].completed = "success", time.Now()
		c.mark("fenced")
		n := c.nodes[dead]
		n.unclean, n.expectedUp = false, false
		n.set("Stopped", "")
		for _, p := range []*place{&c.fs, &c.pg, &c.fencers[alive]} {
			*p = place{node: nobody, role: "Stopped"}
		}
	})
	name := c.nodes[alive].name
	c.alert(alive, "fencing", map[string]string{
		"node": c.nodes[dead].name, "task": "st_notify_fence", "rc": "0",
		"desc": "Operation off of " + c.nodes[dead].name + " by " + name + " for pacemaker-controld.860@" + name +
			": OK (ref=c1a43178-9d05-4680-9317-f18c285a4487)",
	})
	return nil
}

// takeOver promotes, mounts and starts PostgreSQL on the surviving node.
func (c *cluster) takeOver(ctx context.Context, dead, i int) error {
	promote := func(ctx context.Context) error {
		if err := c.helper(ctx, i, "fence-peer", c.fig.Promote*4/5, 5<<8); err != nil {
			return err
		}
		c.change(i, func(s *side) { s.peerDisk = "Outdated" })
		c.change(i, func(s *side) {
			s.role = "Primary"
			c.mark("promoted")
		})
		c.update(func() { c.handler, c.banned, c.changed, c.changer = true, dead, time.Now(), c.nodes[i].name })
		return wait.For(ctx, c.fig.Promote/5)
	}
	if err := c.run(ctx, i, rscDrbd, "promote", c.nodes[i].set, "Promoting", "Promoted", "pacemaker_promoted",
		promote); err != nil {
		return err
	}
	c.update(func() {
		c.recur(i, rscDrbd, 8, 11*time.Second)
		c.nodes[i].score = "10000"
	})
	mount := func(ctx context.Context) error { return wait.For(ctx, c.fig.Mount) }
	if err := c.run(ctx, i, rscFs, "start", c.fs.set(i), "Starting", "Started", "mounted", mount); err != nil {
		return err
	}
	c.update(func() { c.recur(i, rscFs, 0, 20*time.Second) })
	start := func(ctx context.Context) error {
		if c.hooks.startPostgres == nil {
			return nil
		}
		return c.hooks.startPostgres(ctx, i)
	}
	if err := c.run(ctx, i, rscPg, "start", c.pg.set(i), "Starting", "Started", "pg_started", start); err != nil {
		return err
	}
	c.update(func() { c.recur(i, rscPg, 0, 15*time.Second) })
	return nil
}

// comeBack boots the lost node, which joins as Secondary and is resynced. The caller starts the node's own daemons when
// booted is called.
func (c *cluster) comeBack(ctx context.Context, i int, booted func() error, progress func(done float64)) error {
	if err := wait.For(ctx, c.fig.Boot); err != nil {
		return err
	}
	if err := booted(); err != nil {
		return err
	}
	peer := 1 - i
	// Pacemaker is up, but has found no DC yet: then crm_mon calls every node unclean.
	c.update(func() {
		n := c.nodes[i]
		n.stack, n.joining, n.calls, n.alerts = true, true, 0, 0
	})
	if err := wait.For(ctx, c.fig.Join); err != nil {
		return err
	}
	c.update(func() {
		n := c.nodes[i]
		n.joining, n.online, n.expectedUp = false, true, true
	})
	c.alertNode(peer, i, "member")
	c.alertNode(i, peer, "member")
	join := func(ctx context.Context) error { return wait.For(ctx, c.fig.Join) }
	fencer := fencePre + c.nodes[peer].name
	if err := c.run(ctx, i, fencer, "start", c.fencers[peer].set(i), "Starting", "Started", "", join); err != nil {
		return err
	}
	c.update(func() {
		c.recur(i, fencer, 0, time.Minute)
		c.nodes[i].calls += 12 // the probes
	})
	if err := c.run(ctx, i, rscDrbd, "start", c.nodes[i].set, "Starting", "Unpromoted", "",
		func(ctx context.Context) error { return c.attach(ctx, i) }); err != nil {
		return err
	}
	c.update(func() { c.nodes[i].score = "10" })
	if err := c.resync(ctx, peer, i, progress); err != nil {
		return err
	}
	c.update(func() {
		c.recur(i, rscDrbd, 0, 13*time.Second)
		c.nodes[i].score = "10000"
	})
	return nil
}

// attach brings the resource up on a node that crashed as Primary.
func (c *cluster) attach(ctx context.Context, i int) error {
	steps := []func(s *side){
		func(s *side) {
			*s = side{up: true, role: "Secondary", disk: "Diskless", backing: "none", conn: "StandAlone", peerRole: "Unknown",
				repl:     "Off",
				peerDisk: "DUnknown", noMetadata: true, oos: alExtents}
		},
		func(s *side) { s.disk = "Attaching" },
		func(s *side) {
			s.disk, s.backing, s.size, s.noMetadata = "Consistent", "/dev/nvme1n1", c.drbd[1-i].size, false
		},
		func(s *side) { s.conn = "Unconnected" },
		func(s *side) { s.conn = "Connecting" },
	}
	for _, step := range steps {
		c.change(i, step)
		if err := wait.For(ctx, 60*time.Millisecond); err != nil {
			return err
		}
	}
	return wait.For(ctx, c.fig.Join)
}

// resync connects the two sides and copies what differs from src to dst.
func (c *cluster) resync(ctx context.Context, src, dst int, progress func(done float64)) error {
	both := func(f func(s, d *side)) {
		c.mu.Lock()
		defer c.mu.Unlock()
		f(c.drbd[src], c.drbd[dst])
		c.multicast(src, false)
		c.multicast(dst, false)
	}
	both(func(s, d *side) { s.path, d.path = true, true })
	if err := wait.For(ctx, 150*time.Millisecond); err != nil {
		return err
	}
	both(func(s, d *side) {
		s.conn, s.peerRole, s.repl, s.peerDisk = "Connected", "Secondary", "WFBitMapS", "Consistent"
		d.conn, d.peerRole, d.repl, d.peerDisk, d.disk = "Connected", "Primary", "WFBitMapT", "UpToDate", "Outdated"
	})
	both(func(s, _ *side) { s.peerDisk = "Outdated" })
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error { return c.helper(gctx, src, "before-resync-source", 50*time.Millisecond, 0) })
	g.Go(func() error { return c.helper(gctx, dst, "before-resync-target", 35*time.Millisecond, 0) })
	if err := g.Wait(); err != nil {
		return err
	}
	start, said := time.Now(), time.Now()
	both(func(s, d *side) {
		total := s.oos + d.oos
		for _, x := range []*side{s, d} {
			x.oos, x.resyncTotal, x.resyncLeft, x.resyncStart = total, total, total, start
			x.received, x.sent = 0, 0
		}
		s.repl, s.peerDisk, d.repl, d.disk = "SyncSource", "Inconsistent", "SyncTarget", "Inconsistent"
	})
	for done := 0.0; done < 100; {
		if err := wait.For(ctx, 100*time.Millisecond); err != nil {
			return err
		}
		c.mu.Lock()
		s, d := c.drbd[src], c.drbd[dst]
		copied := min(s.resyncTotal, uint64(time.Since(start).Seconds()*float64(c.fig.SyncRate)))
		left := s.resyncTotal - copied
		delta := s.resyncLeft - left
		s.sent, d.received, d.written, s.read = s.sent+delta, d.received+delta, d.written+delta, s.read+delta
		for _, x := range []*side{s, d} {
			x.resyncLeft, x.oos = left, left
		}
		done = s.done()
		// The kernel tells about a running resync every three seconds without being asked.
		if time.Since(said) >= 3*time.Second {
			said = time.Now()
			c.multicast(src, true)
			c.multicast(dst, true)
		}
		c.mu.Unlock()
		progress(done)
	}
	if err := c.helper(ctx, dst, "after-resync-target", 100*time.Millisecond, 0); err != nil {
		return err
	}
	both(func(s, d *side) {
		for _, x := range []*side{s, d} {
			x.repl, x.peerDisk, x.resyncStart, x.resyncTotal, x.resyncLeft = "Established", "UpToDate", time.Time{}, 0, 0
		}
		d.disk = "UpToDate"
	})
	if err := c.helper(ctx, src, "unfence-peer", 45*time.Millisecond, 0); err != nil {
		return err
	}
	c.update(func() { c.handler, c.banned, c.changed, c.changer = false, nobody, time.Now(), c.nodes[dst].name })
	return nil
}
