package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pgha/pgha-agent/agent/status"
	"github.com/pgha/pgha-agent/cmd/internal/wait"
	"github.com/pgha/pgha-agent/cmd/pgha-lab/cloud"
)

var linkScenarios = []scenario{
	{5, "links", []part{
		{"replication cut: I/O waits for the fence-peer handler, and nothing is published", cutReplication},
		{"cluster cut: a fence race, and the promoted node survives",
			func(ctx context.Context, r *scenarioRun) error { return fenceRace(ctx, r, clusterLink) }},
		{"both cut: the same", func(ctx context.Context, r *scenarioRun) error { return fenceRace(ctx, r, everyLink) }},
	}},
	{6, "PostgreSQL killed", []part{{"restarted in place twice, then moved", killPostgres}}},
	{7, "storage fails", []part{
		{"the promoted node loses its disk", loseDisk},
		{"the filesystem is unmounted under the database", loseMount},
	}},
	{8, "fencing fails, then works", []part{{"nothing is written until the lost node is fenced", lateFencing}}},
	{11, "split brain", []part{{"provoked, reported, and fixed as docs/operate.md says", splitBrain}}},
}

// constraint is what the fence-peer handler leaves in the CIB to keep the other node from being promoted, by the name
// of its rule: so crm_mon calls it.
const constraint = "drbd-fence-by-handler-pg-rule-drbd_pg-clone"

func cutReplication(ctx context.Context, r *scenarioRun) error {
	p, s, err := r.roles()
	if err != nil {
		return err
	}
	epoch := r.value(p, "pgha_dns_epoch")
	if err := cutLinks(ctx, replicationLink); err != nil {
		return err
	}
	r.say("replication link cut")
	suspended := func() bool { return r.value(p, "pgha_drbd_suspended", "reason", "fencing") == 1 }
	if err := r.await(ctx, time.Minute, p.name+"'s agent reports suspended I/O", suspended); err != nil {
		return err
	}
	from := time.Now()
	if err := r.await(ctx, time.Minute, p.name+"'s I/O goes on", func() bool { return !suspended() }); err != nil {
		return err
	}
	r.expect(r.handler != nil || time.Since(from) > (tunedTimeout-2)*time.Second,
		"I/O stalled for %s: the handler did not run its time", time.Since(from))
	if err := r.await(ctx, 30*time.Second, "the writer writes again", func() bool { return r.writesTo(p) }); err != nil {
		return err
	}
	if err := wait.For(ctx, 15*time.Second); err != nil {
		return err
	}
	for _, n := range r.nodes {
		r.expect(r.value(n, "pgha_drbd_connection", "peer", r.peerName(n), "state", "Connected") == 0,
			"%s's agent shows the cut connection as Connected", n.name)
		r.expect(r.value(n, "pgha_fence_constraint_age_seconds", "constraint", constraint) > 0,
			"%s's agent does not show the constraint", n.name)
	}
	r.expect(r.answers(ctx, s, "/replica") == 503, "%s calls itself a replica that could take over", s.name)
	if err := healLinks(ctx); err != nil {
		return err
	}
	r.say("healed")
	if err := s.until(ctx, time.Minute, clusterQuiet); err != nil {
		return err
	}
	r.say("resynced")
	if err := r.constraintGoes(ctx); err != nil {
		return err
	}
	return r.unmoved(ctx, p, epoch)
}

// constraintGoes waits until the handler's constraint is gone, in the CIB and for the agents.
func (r *scenarioRun) constraintGoes(ctx context.Context) error {
	if err := r.nodes[0].until(ctx, 30*time.Second,
		"! cibadmin --query --scope constraints | grep drbd-fence-by-handler"); err != nil {
		return err
	}
	return r.await(ctx, 30*time.Second, "the handler's constraint is gone", func() bool {
		return !slices.ContainsFunc(r.nodes, func(n *node) bool {
			return r.value(n, "pgha_fence_constraint_age_seconds", "constraint", constraint) > 0
		})
	})
}

// unmoved finishes a part in which p stayed promoted all the time.
func (r *scenarioRun) unmoved(ctx context.Context, p *node, epoch float64) error {
	r.expect(len(p.history.all()) == 1, "%s did not stay Primary: %v", p.name, p.history.all())
	for _, n := range r.nodes {
		if !n.Running() {
			continue
		}
		r.expect(r.value(n, "pgha_dns_epoch") == epoch, "the epoch went from %g to %g by %s's agent", epoch,
			r.value(n, "pgha_dns_epoch"), n.name)
	}
	d, err := r.status(ctx, p)
	if err != nil {
		return err
	}
	r.expect(d.Publication.State == status.PubObserved && d.Ready, "%s is %s, not ready because of %v", p.name,
		d.Publication.State, d.Unready)
	return r.finish(ctx, terms{publications: 0})
}

// answers is the status with which a node's agent answers a path; 0 when it does not.
func (r *scenarioRun) answers(ctx context.Context, n *node, path string) (code int) {
	out, _ := n.run(ctx, "curl -s -o /dev/null -w '%{http_code}' http://localhost:9668"+path)
	_, _ = fmt.Sscan(out, &code)
	return code
}

// fenceRace cuts a link that Corosync needs: each side wants to fence the other. priority-fencing-delay lets the
// promoted node win, which matters for more than the outage: with the replication cut as well, DRBD may have let it go
// on alone, and what was committed then would be lost with it.
func fenceRace(ctx context.Context, r *scenarioRun, link string) error {
	p, s, err := r.roles()
	if err != nil {
		return err
	}
	epoch := r.value(p, "pgha_dns_epoch")
	if err := cutLinks(ctx, link); err != nil {
		return err
	}
	r.say("links cut")
	if err := r.lost(ctx, s, takeover); err != nil {
		return err
	}
	if err := r.await(ctx, time.Minute, "the writer writes to "+p.name, func() bool { return r.writesTo(p) }); err != nil {
		return err
	}
	// A request of the loser that was on its way would come now.
	if err := wait.For(ctx, 30*time.Second); err != nil {
		return err
	}
	r.expect(p.Running() && !s.Running(), "the promoted node runs: %t, the other one: %t", p.Running(), s.Running())
	r.expect(r.fencings(p) == 0, "%s asked for the end of the promoted node", s.name)
	return r.unmoved(ctx, p, epoch)
}

// killPostgres kills the postmaster as often as migration-threshold says.
func killPostgres(ctx context.Context, r *scenarioRun) error {
	p, s, err := r.roles()
	if err != nil {
		return err
	}
	epoch := r.value(p, "pgha_dns_epoch")
	for i := range 3 {
		killed := time.Now()
		if _, err := p.run(ctx, "kill -9 $(head -1 /srv/pg/data/postmaster.pid)"); err != nil {
			return err
		}
		r.say("%s: PostgreSQL killed", p.name)
		if err := r.await(ctx, time.Minute, "its agent has the finding postgres",
			func() bool { return r.finds(ctx, p, "postgres") }); err != nil {
			return err
		}
		if i == 2 {
			break
		}
		if err := r.await(ctx, takeover, "restarted in place, and the writer writes", func() bool {
			d, _ := r.status(ctx, p)
			return d != nil && d.Postgres.Started != nil && d.Postgres.Started.After(killed) && d.Postgres.State == "writable" &&
				r.writesTo(p)
		}); err != nil {
			return err
		}
		// PostgreSQL serves before its resource agent's start has seen it: killed then, it would be waited for until the
		// start times out.
		if err := p.until(ctx, takeover, "crm_resource --wait --timeout 60"); err != nil {
			return err
		}
		r.expect(r.value(p, "pgha_cluster_resource_failcount", "node", p.name, "resource", "pgsql") == float64(i+1),
			"the agent shows the fail count as %g",
			r.value(p, "pgha_cluster_resource_failcount", "node", p.name, "resource", "pgsql"))
		r.expect(len(r.aws.publications()) == 0 && r.value(p, "pgha_dns_epoch") == epoch, "a restart was published: %v",
			r.aws.publications())
	}
	if err := r.moves(ctx, s, 2*takeover); err != nil {
		return err
	}
	d, err := r.status(ctx, s)
	if err != nil {
		return err
	}
	r.expect(d.Episode.Cause == "resource_failed", "the episode's cause is %q", d.Episode.Cause)
	return r.finish(ctx, terms{publications: 1})
}

// finds is whether a node's agent has a finding.
func (r *scenarioRun) finds(ctx context.Context, n *node, code string) bool {
	d, _ := r.status(ctx, n)
	return d != nil && slices.ContainsFunc(d.Problems, func(f status.Problem) bool { return f.Code == code })
}

// loseDisk detaches the promoted node's disk, as on-io-error does. DRBD goes on with the peer's, and the database
// notices nothing. The resource agent lowers the node's score from 10000 to 10, which is more than the stickiness:
// Pacemaker moves the database to the node that has a disk, and attaches nothing by itself.
func loseDisk(ctx context.Context, r *scenarioRun) error {
	p, s, err := r.roles()
	if err != nil {
		return err
	}
	if _, err := p.run(ctx, "drbdadm detach --force pg"); err != nil {
		return err
	}
	r.say("%s: disk detached", p.name)
	if err := r.await(ctx, time.Minute, "both agents report it", func() bool {
		d, _ := r.status(ctx, s)
		return r.value(p, "pgha_drbd_disk", "volume", "0", "state", "Diskless") == 1 && d != nil && d.Drbd != nil &&
			strings.Contains(asJSON(d.Drbd), `"peer_disk":"Diskless"`)
	}); err != nil {
		return err
	}
	if err := r.moves(ctx, s, 2*takeover); err != nil {
		return err
	}
	if _, err := p.run(ctx, "drbdadm attach pg"); err != nil {
		return err
	}
	r.say("%s: disk attached", p.name)
	if err := s.until(ctx, takeover, clusterQuiet); err != nil {
		return err
	}
	r.say("resynced")
	r.expect(r.value(p, "pgha_drbd_disk", "volume", "0", "state", "UpToDate") == 1,
		"%s's agent does not show its disk as UpToDate", p.name)
	return r.finish(ctx, terms{publications: 1})
}

// loseMount takes the filesystem away from the running database. Nobody can stop a database without its data directory:
// the resource agent's stop fails, so Pacemaker has the node fenced, and the other one takes over. The agents see a
// lost node.
func loseMount(ctx context.Context, r *scenarioRun) error {
	p, s, err := r.roles()
	if err != nil {
		return err
	}
	if _, err := p.run(ctx, "umount -l /srv/pg"); err != nil {
		return err
	}
	r.say("%s: /srv/pg unmounted", p.name)
	// The monitor notices within 20 s; the database's own may hang for its minute, and its stop as well.
	if err := r.lost(ctx, p, 5*time.Minute); err != nil {
		return err
	}
	return r.tookOver(ctx, s, p, "node_lost")
}

// lost waits until fencing has cut a node's power.
func (r *scenarioRun) lost(ctx context.Context, n *node, limit time.Duration) error {
	if err := r.await(ctx, limit, n.name+" is fenced", func() bool { return !n.Running() }); err != nil {
		return err
	}
	n.history.off(time.Now())
	n.drop()
	return nil
}

// tookOver finishes a part in which n takes over from old, which is fenced: published once, and not before the fencing.
func (r *scenarioRun) tookOver(ctx context.Context, n, old *node, cause string) error {
	if err := r.moves(ctx, n, 2*takeover); err != nil { // crash recovery included
		return err
	}
	calls := r.aws.ec2.Calls()
	i := slices.IndexFunc(calls, func(c cloud.PowerCall) bool {
		return c.Action == "StopInstances" && c.Code == "" && slices.Contains(c.Instances, old.id)
	})
	list := r.aws.publications()
	r.expect(i >= 0 && len(list) > 0 && list[0].at.After(calls[i].At),
		"published %v, and the calls of the power API were %v", list, calls)
	if err := r.finish(ctx, terms{publications: 1}); err != nil {
		return err
	}
	d, err := r.status(ctx, n)
	if err != nil {
		return err
	}
	r.expect(d.Episode.Cause == cause, "the episode's cause is %q", d.Episode.Cause)
	return nil
}

func lateFencing(ctx context.Context, r *scenarioRun) error {
	p, s, err := r.roles()
	if err != nil {
		return err
	}
	r.aws.ec2.SetFault(cloud.Unavailable)
	if err := r.cut(p); err != nil {
		return err
	}
	if err := r.await(ctx, time.Minute, s.name+"'s agent shows the lost node as unclean", func() bool {
		return r.value(s, "pgha_cluster_node", "node", p.name, "state", "unclean") == 1
	}); err != nil {
		return err
	}
	if err := wait.For(ctx, 90*time.Second); err != nil {
		return err
	}
	r.expect(r.value(s, "pgha_cluster_node", "node", p.name, "state", "unclean") == 1,
		"the lost node does not count as unclean any more")
	// The fence agent tries for a minute and is then started again: no attempt has an end yet, as Pacemaker sees it.
	r.expect(r.value(s, "pgha_fence_events", "target", p.name, "status", "pending") > 0,
		"the agent shows no fencing under way")
	r.expect(r.value(s, "pgha_fence_events", "target", p.name, "status", "success") == 0,
		"the agent shows a fencing that succeeded")
	r.expect(s.history.at(time.Now()) == "Secondary" && len(r.aws.publications()) == 0,
		"%s is %s before its peer was fenced, published %v", s.name, s.history.at(time.Now()), r.aws.publications())
	refused := 0
	for _, c := range r.aws.ec2.Calls() {
		if c.Action == "StopInstances" && c.Code != "" {
			refused++
		}
	}
	r.expect(refused >= 10, "only %d requests to stop it", refused)
	d, err := r.status(ctx, s)
	if err != nil {
		return err
	}
	r.expect(d.Publication.State == status.PubIdle && slices.ContainsFunc(d.Publication.Holds,
		func(h status.HoldDoc) bool { return h.Name == "not_promoted" }),
		"the survivor's publication is %s", asJSON(d.Publication))
	r.expect(d.Episode != nil && d.Episode.Outcome == "open" && d.Episode.Writes == 0, "the survivor's episode is %s",
		asJSON(d.Episode))
	r.aws.ec2.SetFault(cloud.None)
	r.say("the power API works again")
	return r.tookOver(ctx, s, p, "node_lost")
}

// splitBrain writes on both sides of a cut connection, with Pacemaker kept out of it, and fixes it by docs/operate.md.
func splitBrain(ctx context.Context, r *scenarioRun) error {
	p, s, err := r.roles()
	if err != nil {
		return err
	}
	epoch := r.value(p, "pgha_dns_epoch")
	// crm_attribute does what `pcs property set` does, without a minute of Python on an emulated processor.
	if _, err := p.run(ctx, "crm_attribute -n maintenance-mode -v true"); err != nil {
		return err
	}
	if _, err := s.run(ctx, `set -e
drbdadm disconnect pg
drbdadm -- --force primary pg
dd if=/dev/urandom of=/dev/drbd0 bs=4k count=4 seek=200000 oflag=direct 2>/dev/null
drbdadm connect pg`); err != nil {
		return err
	}
	r.say("%s: made Primary by force and written to, then connected", s.name)
	alone := func(n *node) bool {
		out, _ := n.run(ctx, "drbdadm cstate pg") // asked again soon
		return out == "StandAlone"
	}
	if err := r.await(ctx, time.Minute, "both agents have the finding split_brain", func() bool {
		switch {
		case r.finds(ctx, p, "split_brain") && r.finds(ctx, s, "split_brain"):
			return true
		// A kernel that is slow to compare the data sees the other one hang up first, takes that for a failure of the network,
		// and waits: it finds out when they meet again.
		case alone(s) && !alone(p):
			_, _ = s.run(ctx, "drbdadm connect pg")
		case alone(p) && !alone(s):
			_, _ = p.run(ctx, "drbdadm connect pg")
		}
		return false
	}); err != nil {
		return err
	}
	if err := wait.For(ctx, 15*time.Second); err != nil { // as long as a wrong reaction may take
		return err
	}
	for _, n := range r.nodes {
		out, _ := n.run(ctx, "drbdadm cstate pg")
		r.expect(out == "StandAlone", "%s's connection is %s", n.name, out)
		r.expect(r.value(n, "pgha_drbd_split_brain", "peer", r.peerName(n), "state", "latched") == 1,
			"%s's agent does not show the split brain in pgha_drbd_split_brain", n.name)
		r.expect(r.value(n, "pgha_drbd_connection", "peer", r.peerName(n), "state", "StandAlone") == 1,
			"%s's agent does not show the connection as StandAlone in pgha_drbd_connection", n.name)
		d, err := r.status(ctx, n)
		if err != nil {
			return err
		}
		r.expect(!d.Ready, "%s's agent says it is ready", n.name)
	}
	r.expect(r.writesTo(p) && len(r.aws.publications()) == 0, "the writer writes to %s: %t; published: %v", p.name,
		r.writesTo(p), r.aws.publications())

	// What docs/operate.md says, line by line. Nothing is mounted on the side that is thrown away.
	for _, step := range []struct {
		on      *node
		command string
	}{
		{s, "drbdadm disconnect pg || drbdadm cstate pg | grep -qx StandAlone"}, // there it fails, as the document says
		{s, "drbdadm secondary pg"},
		{s, "drbdadm connect --discard-my-data pg"},
		{p, "drbdadm connect pg"},
	} {
		_, err := step.on.run(ctx, step.command)
		r.say("%s: %s", step.on.name, step.command)
		r.expect(err == nil, "a step of docs/operate.md fails: %v", err)
	}
	if err := p.until(ctx, time.Minute, "drbdadm dstate pg | grep -qx UpToDate/UpToDate"); err != nil {
		return err
	}
	r.say("resynced")
	if _, err := p.run(ctx, "crm_attribute -n maintenance-mode -v false"); err != nil {
		return err
	}
	if err := p.until(ctx, 2*takeover, clusterQuiet); err != nil {
		return err
	}
	if err := r.await(ctx, 30*time.Second, "no agent has the finding any more", func() bool {
		return !r.finds(ctx, p, "split_brain") && !r.finds(ctx, s, "split_brain")
	}); err != nil {
		return err
	}
	for _, n := range r.nodes {
		r.expect(r.value(n, "pgha_drbd_split_brain", "peer", r.peerName(n), "state", "none") == 1,
			"%s's agent still shows a split brain in pgha_drbd_split_brain", n.name)
		_, err := n.run(ctx, "test ! -e /var/lib/pgha-agent/split-brain")
		r.expect(err == nil, "%s's agent still remembers the split brain in its file", n.name)
	}
	return r.unmoved(ctx, p, epoch)
}
