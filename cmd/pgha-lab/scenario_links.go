package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pgha/pgha-agent/agent"
	"github.com/pgha/pgha-agent/cmd/pgha-lab/cloud"
)

var linkScenarios = []scenario{
	{5, "links", []part{
		{"replication cut: I/O waits for the fence-peer handler, and nothing is published", cutReplication},
		{"cluster cut: a fence race, and one survives", func(ctx context.Context, t *trial) error { return fenceRace(ctx, t, clusterLink) }},
		{"both cut: the same", func(ctx context.Context, t *trial) error { return fenceRace(ctx, t, everyLink) }},
	}},
	{6, "PostgreSQL killed", []part{{"restarted in place twice, then moved", killPostgres}}},
	{7, "storage fails", []part{
		{"the promoted node loses its disk", loseDisk},
		{"the filesystem is unmounted under the database", loseMount},
	}},
	{8, "fencing fails, then works", []part{{"nothing is written until the lost node is fenced", lateFencing}}},
	{11, "split brain", []part{{"provoked, reported, and mended as docs/operate.md says", splitBrain}}},
}

// constraint is what the fence-peer handler leaves in the CIB to keep the other node from being promoted.
const constraint = "drbd-fence-by-handler-pg-drbd_pg-clone"

func cutReplication(ctx context.Context, t *trial) error {
	p, s, err := t.roles()
	if err != nil {
		return err
	}
	epoch := t.value(p, "pgha_dns_epoch")
	if err := cutLinks(ctx, replicationLink); err != nil {
		return err
	}
	t.say("replication link cut")
	suspended := func() bool { return t.value(p, "pgha_drbd_suspended", "reason", "fencing") == 1 }
	if err := t.await(ctx, 30*time.Second, p.name+"'s agent reports suspended I/O", suspended); err != nil {
		return err
	}
	from := time.Now()
	if err := t.await(ctx, 30*time.Second, p.name+"'s I/O goes on", func() bool { return !suspended() }); err != nil {
		return err
	}
	t.expect(time.Since(from) > (tunedTimeout-2)*time.Second, "I/O stood still for %s: the handler did not run its time", time.Since(from))
	if err := t.await(ctx, 10*time.Second, "the writer writes again", func() bool { return t.writesTo(p) }); err != nil {
		return err
	}
	if err := sleep(ctx, 15*time.Second); err != nil {
		return err
	}
	for _, n := range t.nodes {
		t.expect(t.value(n, "pgha_drbd_connection", "peer", t.peerName(n), "state", "Connected") == 0, "%s's agent shows the cut connection as Connected", n.name)
		t.expect(t.value(n, "pgha_fence_constraint_age_seconds", "constraint", constraint) > 0, "%s's agent does not show the constraint", n.name)
	}
	t.expect(t.answers(ctx, s, "/replica") == 503, "%s calls itself a replica that could take over", s.name)
	if err := healLinks(ctx); err != nil {
		return err
	}
	t.say("healed")
	if err := s.until(ctx, time.Minute, clusterQuiet); err != nil {
		return err
	}
	t.say("resynced")
	if err := t.constraintGoes(ctx); err != nil {
		return err
	}
	return t.unmoved(ctx, p, epoch)
}

// constraintGoes waits until the handler's constraint is gone, in the CIB and for the agents.
func (t *trial) constraintGoes(ctx context.Context) error {
	if err := t.nodes[0].until(ctx, 30*time.Second, "! cibadmin --query --scope constraints | grep drbd-fence-by-handler"); err != nil {
		return err
	}
	return t.await(ctx, 30*time.Second, "the handler's constraint is gone", func() bool {
		return !slices.ContainsFunc(t.nodes, func(n *node) bool {
			return t.value(n, "pgha_fence_constraint_age_seconds", "constraint", constraint) > 0
		})
	})
}

// unmoved finishes a part in which p stayed promoted all the time.
func (t *trial) unmoved(ctx context.Context, p *node, epoch float64) error {
	t.expect(len(p.history.all()) == 1, "%s did not stay Primary: %v", p.name, p.history.all())
	for _, n := range t.nodes {
		t.expect(t.value(n, "pgha_dns_epoch") == epoch, "the epoch went from %g to %g by %s's agent", epoch, t.value(n, "pgha_dns_epoch"), n.name)
	}
	d, err := t.status(ctx, p)
	if err != nil {
		return err
	}
	t.expect(d.Publication.State == agent.PubObserved && d.Ready, "%s is %s, not ready because of %v", p.name, d.Publication.State, d.Unready)
	return t.finish(ctx, terms{publications: 0})
}

// answers is the status with which a node's agent answers a path; 0 when it does not.
func (t *trial) answers(ctx context.Context, n *node, path string) (code int) {
	out, _ := n.run(ctx, "curl -s -o /dev/null -w '%{http_code}' http://localhost:9668"+path)
	_, _ = fmt.Sscan(out, &code)
	return code
}

// fenceRace cuts a link that Corosync needs: each side wants to fence the other. The one that fencing spares for a while survives, here
// the one without the database.
func fenceRace(ctx context.Context, t *trial, link string) error {
	p, s, err := t.roles()
	if err != nil {
		return err
	}
	if err := cutLinks(ctx, link); err != nil {
		return err
	}
	t.say("links cut")
	if err := t.await(ctx, 90*time.Second, "one is fenced", func() bool { return !p.Running() || !s.Running() }); err != nil {
		return err
	}
	if !t.expect(s.Running(), "%s was fenced, which has the head start", s.name) {
		return nil
	}
	p.history.off(time.Now())
	p.drop()
	if err := t.moves(ctx, s, takeover); err != nil {
		return err
	}
	// A request of the loser that was on its way would come now.
	if err := sleep(ctx, 20*time.Second); err != nil {
		return err
	}
	t.expect(s.Running() && !p.Running(), "the survivor runs: %t, the loser: %t", s.Running(), p.Running())
	for _, c := range t.aws.ec2.Calls() {
		t.expect(c.Action != "StopInstances" || !slices.Contains(c.Instances, s.id), "%s asked for the end of the survivor", c.From)
	}
	d, err := t.status(ctx, s)
	if err != nil {
		return err
	}
	t.expect(d.Episode.Cause == "node_lost", "the episode's cause is %q", d.Episode.Cause)
	return t.finish(ctx, terms{publications: 1})
}

// killPostgres kills the postmaster as often as migration-threshold says.
func killPostgres(ctx context.Context, t *trial) error {
	p, s, err := t.roles()
	if err != nil {
		return err
	}
	epoch := t.value(p, "pgha_dns_epoch")
	for i := range 3 {
		killed := time.Now()
		if _, err := p.run(ctx, "kill -9 $(head -1 /srv/pg/data/postmaster.pid)"); err != nil {
			return err
		}
		t.say("%s: PostgreSQL killed", p.name)
		if err := t.await(ctx, 30*time.Second, "its agent has the finding postgres", func() bool { return t.finds(ctx, p, "postgres") }); err != nil {
			return err
		}
		if i == 2 {
			break
		}
		if err := t.await(ctx, 90*time.Second, "restarted in place, and the writer writes", func() bool {
			d, _ := t.status(ctx, p)
			return d != nil && d.Postgres.Started != nil && d.Postgres.Started.After(killed) && d.Postgres.State == "writable" && t.writesTo(p)
		}); err != nil {
			return err
		}
		t.expect(t.value(p, "pgha_cluster_resource_failcount", "node", p.name, "resource", "pgsql") == float64(i+1), "the agent shows the fail count as %g",
			t.value(p, "pgha_cluster_resource_failcount", "node", p.name, "resource", "pgsql"))
		t.expect(len(t.aws.publications()) == 0 && t.value(p, "pgha_dns_epoch") == epoch, "a restart was published: %v", t.aws.publications())
	}
	if err := t.moves(ctx, s, takeover); err != nil {
		return err
	}
	d, err := t.status(ctx, s)
	if err != nil {
		return err
	}
	t.expect(d.Episode.Cause == "resource_failed", "the episode's cause is %q", d.Episode.Cause)
	return t.finish(ctx, terms{publications: 1})
}

// finds is whether a node's agent has a finding.
func (t *trial) finds(ctx context.Context, n *node, code string) bool {
	d, _ := t.status(ctx, n)
	return d != nil && slices.ContainsFunc(d.Problems, func(f agent.Finding) bool { return f.Code == code })
}

func loseDisk(ctx context.Context, t *trial) error {
	p, _, err := t.roles()
	if err != nil {
		return err
	}
	if _, err := p.run(ctx, "drbdadm detach --force pg"); err != nil {
		return err
	}
	t.say("%s: disk detached", p.name)
	if err := t.await(ctx, 30*time.Second, "its agent reports Diskless", func() bool {
		return t.value(p, "pgha_drbd_disk", "volume", "0", "state", "Diskless") == 1
	}); err != nil {
		return err
	}
	for range 20 {
		_ = sleep(ctx, 3*time.Second)
		out, _ := within(ctx, 20*time.Second, func() (string, error) { return p.run(ctx, "date; crm_mon -1 -A | grep -v '^ *$' | tail -n +8; cat /proc/drbd | grep cs:") })
		fmt.Println(out)
	}
	return t.finish(ctx, terms{publications: 0})
}

func loseMount(ctx context.Context, t *trial) error {
	p, _, err := t.roles()
	if err != nil {
		return err
	}
	if _, err := p.run(ctx, "umount -l /srv/pg"); err != nil {
		return err
	}
	t.say("%s: /srv/pg unmounted", p.name)
	for range 20 {
		_ = sleep(ctx, 3*time.Second)
		out, _ := within(ctx, 20*time.Second, func() (string, error) { return p.run(ctx, "date; crm_mon -1 | grep -v '^ *$' | tail -n +8; mount | grep srv; pgrep -o postgres") })
		fmt.Println(out)
	}
	return t.finish(ctx, terms{publications: 0})
}

func lateFencing(ctx context.Context, t *trial) error {
	p, s, err := t.roles()
	if err != nil {
		return err
	}
	t.aws.ec2.SetFault(cloud.Unavailable)
	if err := t.cut(p); err != nil {
		return err
	}
	if err := t.await(ctx, time.Minute, s.name+"'s agent shows the lost node as unclean", func() bool {
		return t.value(s, "pgha_cluster_node", "node", p.name, "state", "unclean") == 1
	}); err != nil {
		return err
	}
	if err := sleep(ctx, 90*time.Second); err != nil {
		return err
	}
	t.expect(t.value(s, "pgha_cluster_node", "node", p.name, "state", "unclean") == 1, "the lost node does not count as unclean any more")
	t.expect(t.value(s, "pgha_fence_events", "target", p.name, "status", "failed") > 0, "the agent shows no fencing that failed")
	t.expect(s.history.at(time.Now()) == "Secondary" && len(t.aws.publications()) == 0, "%s is %s before its peer was fenced, published %v", s.name, s.history.at(time.Now()), t.aws.publications())
	refused := 0
	for _, c := range t.aws.ec2.Calls() {
		if c.Action == "StopInstances" && c.Code != "" {
			refused++
		}
	}
	t.expect(refused >= 10, "only %d requests to stop it", refused)
	d, err := t.status(ctx, s)
	if err != nil {
		return err
	}
	fmt.Println(asJSON(d))
	t.aws.ec2.SetFault(cloud.None)
	t.say("the power API works again")
	if err := t.moves(ctx, s, takeover); err != nil {
		return err
	}
	calls := t.aws.ec2.Calls()
	i := slices.IndexFunc(calls, func(c cloud.PowerCall) bool { return c.Action == "StopInstances" && c.Code == "" && slices.Contains(c.Instances, p.id) })
	list := t.aws.publications()
	t.expect(i >= 0 && len(list) == 1 && list[0].at.After(calls[i].At), "published %v before the power was off", list)
	return t.finish(ctx, terms{publications: 1})
}

func splitBrain(ctx context.Context, t *trial) error {
	p, s, err := t.roles()
	if err != nil {
		return err
	}
	epoch := t.value(p, "pgha_dns_epoch")
	if _, err := s.run(ctx, "pcs property set maintenance-mode=true"); err != nil {
		return err
	}
	out, err := s.run(ctx, `drbdadm disconnect pg; drbdadm -- --force primary pg; echo $?
dd if=/dev/urandom of=/dev/drbd0 bs=4k count=4 seek=200000 oflag=direct 2>&1; cat /proc/drbd; cibadmin --query --scope constraints`)
	fmt.Println(out, err)
	out, err = p.run(ctx, "cat /proc/drbd; crm_mon -1")
	fmt.Println(out, err)
	if _, err := s.run(ctx, "drbdadm connect pg"); err != nil {
		return err
	}
	latched := func(n *node) bool {
		return t.value(n, "pgha_drbd_split_brain", "peer", t.peerName(n), "state", "latched") == 1 && t.finds(ctx, n, "split_brain")
	}
	if err := t.await(ctx, 30*time.Second, "both agents report a split brain", func() bool { return latched(p) && latched(s) }); err != nil {
		out, err = p.run(ctx, "cat /proc/drbd; crm_mon -1")
		fmt.Println(out, err)
		out, err = s.run(ctx, "cat /proc/drbd; crm_mon -1")
		fmt.Println(out, err)
		return err
	}
	if err := t.await(ctx, 10*time.Second, "the writer goes on", func() bool { return t.writesTo(p) }); err != nil {
		return err
	}
	// As docs/operate.md says. Pacemaker is kept out of it already.
	if _, err := s.run(ctx, "drbdadm disconnect pg && drbdadm secondary pg && drbdadm connect --discard-my-data pg"); err != nil {
		return err
	}
	if out, err := p.run(ctx, "drbdadm cstate pg; drbdadm connect pg"); err != nil {
		t.say("%v: %s", err, out)
	}
	if err := p.until(ctx, time.Minute, "drbdadm dstate pg | grep -qx UpToDate/UpToDate"); err != nil {
		return err
	}
	out, err = p.run(ctx, "cat /proc/drbd; crm_mon -1; cibadmin --query --scope constraints")
	fmt.Println(out, err)
	if _, err := s.run(ctx, "pcs property set maintenance-mode=false"); err != nil {
		return err
	}
	if err := s.until(ctx, time.Minute, clusterQuiet); err != nil {
		return err
	}
	if err := t.await(ctx, 30*time.Second, "the latch is gone", func() bool { return !latched(p) && !latched(s) }); err != nil {
		return err
	}
	return t.unmoved(ctx, p, epoch)
}

var _ = strings.Join
