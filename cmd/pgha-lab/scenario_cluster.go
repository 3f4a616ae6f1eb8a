package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/pgha/pgha-agent/agent/status"
	"github.com/pgha/pgha-agent/cmd/internal/wait"
)

var clusterScenarios = []scenario{
	{12, "operator's hands", []part{{"maintenance, cleanup, refresh, unmanaged resources, Pacemaker stopped: no write",
		operatorsHands}}},
	{13, "cold boot", []part{
		{"both machines lose power and come back together", coldBoot},
		{"the same, and the other node is promoted", coldBootElsewhere},
	}},
	{14, "long crash recovery", []part{{"the record is right long before PostgreSQL is", longRecovery}}},
}

// operatorsHands does what people do to a healthy cluster. None of it is a promotion, so none of it may reach Route 53.
func operatorsHands(ctx context.Context, r *scenarioRun) error {
	p, s, err := r.roles()
	if err != nil {
		return err
	}
	before, err := r.status(ctx, p)
	if err != nil {
		return err
	}
	maintenance := func(on bool) func() error {
		return func() error {
			if _, err := p.run(ctx, fmt.Sprintf("crm_attribute -t crm_config -n maintenance-mode -v %t", on)); err != nil {
				return err
			}
			return r.await(ctx, time.Minute, fmt.Sprintf("both agents say maintenance: %t", on), func() bool {
				for _, n := range r.nodes {
					d, _ := r.status(ctx, n)
					if d == nil || slices.ContainsFunc(d.Problems,
						func(f status.Problem) bool { return f.Code == "maintenance" }) != on {
						return false
					}
				}
				return true
			})
		}
	}
	run := func(n *node, script string) func() error {
		return func() error {
			_, err := n.run(ctx, script)
			return err
		}
	}
	for _, step := range []struct {
		what string
		do   func() error
	}{
		{"maintenance", maintenance(true)},
		// Erases the history, the promote operation with it. Outside of maintenance it may restart the database: docs/lab.md.
		{"refresh", run(s, "crm_resource --refresh")},
		{"maintenance ends", maintenance(false)},
		{"cleanup", run(s, "crm_resource --cleanup")},
		{"the group unmanaged", run(p, "crm_resource -r g_pg -m -p is-managed -v false")},
		{"the clone unmanaged", run(p, "crm_resource -r drbd_pg-clone -m -p is-managed -v false")},
		{"both managed again", run(p,
			"crm_resource -r drbd_pg-clone -m -d is-managed; crm_resource -r g_pg -m -d is-managed")},
		{"maintenance again", maintenance(true)},
		{"Pacemaker stopped on " + s.name, run(s, "systemctl stop pacemaker")},
		{"Pacemaker started on " + s.name, run(s, "systemctl start pacemaker")},
		{"maintenance ends again", maintenance(false)},
	} {
		r.say("%s", step.what)
		if err := step.do(); err != nil {
			return err
		}
		// A step into the middle of another's probes would be a different story.
		if err := p.until(ctx, patience, "crm_resource --wait --timeout 60"); err != nil {
			return err
		}
		// Longer than from one idle look of the agent at Pacemaker to the next.
		if err := wait.For(ctx, 12*time.Second); err != nil {
			return err
		}
		d, err := r.status(ctx, p)
		if err != nil {
			return err
		}
		r.expect(d.Publication.State == status.PubObserved && d.Publication.Promotion == before.Publication.Promotion &&
			d.Record.Epoch == before.Record.Epoch,
			"%s: the publication was %s, is %s", step.what, asJSON(before.Publication), asJSON(d.Publication))
	}
	if err := p.until(ctx, takeover, clusterQuiet); err != nil {
		return err
	}
	for _, n := range r.nodes {
		r.expect(r.calls(r.start, n)["ChangeResourceRecordSets"] == 0, "%s tried to write: %v", n.name, r.calls(r.start, n))
		list, err := r.episodes(ctx, n)
		r.expect(err == nil && !slices.ContainsFunc(list, func(d status.EpisodeDoc) bool { return d.Promotion != "" }),
			"%s saw a promotion: %s %v", n.name, asJSON(list), err)
	}
	r.expect(len(p.history.all()) == 1, "%s was Primary all the time: %v", p.name, p.history.all())
	r.expect(r.outage() < 10*time.Second, "the writer was out for %s", r.outage())
	return r.finish(ctx, terms{outcome: "any"})
}

// coldBoot is a promotion whichever node it is: the boot is another one, so the claim is too, and it is written once.
func coldBoot(ctx context.Context, r *scenarioRun) error {
	for _, n := range r.nodes {
		if err := r.cut(n); err != nil {
			return err
		}
	}
	if err := r.bootBoth(ctx); err != nil {
		return err
	}
	return r.afterColdBoot(ctx)
}

// bootBoth switches both machines on. One alone would wait for the other: two_node implies wait_for_all.
func (r *scenarioRun) bootBoth(ctx context.Context) error {
	r.say("both: power on")
	if err := r.both(func(n *node) error { return r.boot(ctx, n) }); err != nil {
		return err
	}
	r.say("both: cluster started")
	return nil
}

func (r *scenarioRun) afterColdBoot(ctx context.Context) error {
	if err := r.await(ctx, patience, "a node is Primary", func() bool { return r.promoted() != nil }); err != nil {
		return err
	}
	p := r.promoted()
	if err := r.moves(ctx, p, patience); err != nil {
		return err
	}
	if err := p.until(ctx, takeover, clusterQuiet); err != nil {
		return err
	}
	r.expect(len(r.aws.ec2.Calls()) == 0 || r.fencings(r.nodes[0])+r.fencings(r.nodes[1]) == 0, "a node was fenced")
	d, err := r.status(ctx, r.other(p))
	if err != nil {
		return err
	}
	r.expect(d.Publication.State == status.PubIdle && d.Ready, "the other agent is %s: %v", d.Publication.State, d.Unready)
	return r.finish(ctx, terms{publications: 1})
}

// coldBootElsewhere has the cluster come up in maintenance, with the operator's wish for the node that was not
// promoted.
func coldBootElsewhere(ctx context.Context, r *scenarioRun) error {
	p, s, err := r.roles()
	if err != nil {
		return err
	}
	if _, err := s.run(ctx, fmt.Sprintf(`crm_attribute -t crm_config -n maintenance-mode -v true
cibadmin --create -o constraints --xml-text '<rsc_location id="wish" rsc="drbd_pg-clone" role="Promoted" node="%s" score="INFINITY"/>'
sleep 3`, s.name)); err != nil {
		return err
	}
	r.say("maintenance, and a wish for %s", s.name)
	for _, n := range r.nodes {
		if err := r.cut(n); err != nil {
			return err
		}
	}
	if err := r.bootBoth(ctx); err != nil {
		return err
	}
	if err := s.until(ctx, takeover,
		`crm_mon -1 | grep -q 'Online: \[ node1 node2 \]' || crm_mon -1 | grep -c 'Node .*: online' | grep -qx 2`); err != nil {
		return err
	}
	r.expect(r.promoted() == nil && r.aws.record() == p.addr.String(), "nothing happens in maintenance")
	if _, err := s.run(ctx, "crm_attribute -t crm_config -n maintenance-mode -v false"); err != nil {
		return err
	}
	r.say("maintenance ends")
	if err := r.await(ctx, patience, s.name+" is Primary", func() bool { return r.promoted() == s }); err != nil {
		return err
	}
	return r.afterColdBoot(ctx)
}

const (
	recoverySetup = `cd /; runuser -u postgres -- psql -qX app <<'EOF'
ALTER SYSTEM SET checkpoint_timeout = '1h';
ALTER SYSTEM SET max_wal_size = '600MB';
ALTER SYSTEM SET autovacuum = off;
SELECT pg_reload_conf();
CREATE TABLE much (k text PRIMARY KEY, n int);
CHECKPOINT;
EOF`
	// Nice, and in pieces: the resource agent's own look at PostgreSQL has 60 s.
	recoveryFill = `cd /; runuser -u postgres -- psql -qXAt app <<'EOF'
SET synchronous_commit = off;
SELECT pg_backend_pid() AS pid \gset
\setenv PID :pid
\! renice -n 19 -p $PID >/dev/null
SELECT format('INSERT INTO much SELECT md5(g::text), g FROM generate_series(%s, %s) g', n, n + 9999) FROM generate_series(1, 250000, 10000) n \gexec
SELECT pg_size_pretty(pg_current_wal_lsn() - redo_lsn) FROM pg_control_checkpoint();
EOF`
)

func longRecovery(ctx context.Context, r *scenarioRun) error {
	p, s, err := r.roles()
	if err != nil {
		return err
	}
	if _, err := p.run(ctx, recoverySetup); err != nil {
		return err
	}
	wal, err := p.run(ctx, recoveryFill)
	if err != nil {
		return err
	}
	r.say("%s of WAL since the checkpoint", wal)
	if err := r.cut(p); err != nil {
		return err
	}
	if err := r.await(ctx, patience, "the record names "+s.name,
		func() bool { return r.aws.record() == s.addr.String() }); err != nil {
		return err
	}
	var said *status.Doc
	if err := r.await(ctx, 5*time.Minute, s.name+": observed, and PostgreSQL is starting up", func() bool {
		d, _ := r.status(ctx, s)
		if d != nil && d.Postgres.State == "starting_up" && d.Publication.State == status.PubObserved {
			said = d
		}
		return said != nil && r.value(s, "pgha_postgres_state", "state", "starting_up") == 1 &&
			r.value(s, "pgha_postgres_state", "state", "writable") == 0
	}); err != nil {
		return err
	}
	r.expect(!said.Ready && slices.ContainsFunc(said.Problems,
		func(f status.Problem) bool { return f.Code == "postgres" }), "the status says so: %s", asJSON(said.Problems))
	starting := time.Now()
	r.expect(said.Episode.Outcome == "open", "the episode is %s meanwhile", said.Episode.Outcome)
	if err := r.moves(ctx, s, 10*time.Minute); err != nil {
		return err
	}
	r.expect(time.Since(starting) > 15*time.Second, "PostgreSQL recovered in %s: not long enough to tell",
		time.Since(starting))
	if err := r.finish(ctx, terms{publications: 1}); err != nil {
		return err
	}
	d, err := r.status(ctx, s)
	if err != nil {
		return err
	}
	at := map[string]float64{}
	for _, p := range d.Episode.Phases {
		at[p.Phase] = p.After
	}
	r.say("accepted %.1fs, mounted %.1fs, writable %.1fs after the loss", at["dns_accepted"], at["mounted"],
		at["writable"])
	r.expect(at["dns_accepted"] > 0 && at["writable"]-at["dns_accepted"] > 30,
		"the record was only %.1fs ahead of the database", at["writable"]-at["dns_accepted"])
	r.expect(at["complete"] >= at["writable"], "the episode was complete before the database: %s",
		asJSON(d.Episode.Phases))
	return nil
}
