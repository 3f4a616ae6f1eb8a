package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pgha/pgha-agent/agent/status"
	"github.com/pgha/pgha-agent/cmd/internal/wait"
	"github.com/pgha/pgha-agent/route53/route53test"
)

var answerScenarios = []scenario{
	{21, "every answer right, on either node", []part{
		{"what forbids a failover while clients are served: said, and gone when the remedy is followed", failoverForbidden},
		{"what cuts clients off with a healthy cluster: said, and gone when the remedy is followed", clientsCutOff},
		{"another record name on one node, then a failover: said before and after; corrected, it is no contest",
			otherName},
		{"an agent that hangs in a failover learns late; a restart by Pacemaker is in the history", toldLate},
		{"the cleanup of DRBD, ten times: what it does to a healthy database", cleanups},
	}},
}

// question is a fault that is planted, and what both nodes must then answer.
type question struct {
	what    string
	both    string // a script for both nodes, before it
	do      string // a script
	standby bool   // it runs there, not on the promoted node
	lab     func(r *scenarioRun, on bool)
	code    string              // of the finding, or of the reason against a failover
	clients status.ClientsState // "" means served
	words   string              // of the finding that do not change from one question to the next; "" means all of it
	undo    string              // a hand's work, where the remedy leaves it to a person

}

const psqlAsOwner = `cd / && runuser -u postgres -- psql -qX -v ON_ERROR_STOP=1 `

var forbidding = []question{
	{what: "the promoted role is banned from the standby", code: "banned",
		do: "crm_resource --ban --resource drbd_pg-clone --promoted --node STANDBY"},
	{what: "the group is banned from the standby", code: "banned", do: "crm_resource --ban --resource g_pg --node STANDBY"},
	{what: "a rule keeps the group from the standby", code: "banned",
		do: `cibadmin --create --scope constraints --xml-text '<rsc_location id="by-rule" rsc="g_pg"><rule id="by-rule-r" ` +
			`score="-INFINITY" boolean-op="and"><expression id="by-rule-e" attribute="#uname" operation="eq" ` +
			`value="STANDBY"/></rule></rsc_location>'`},
	{what: "the fail count of PostgreSQL is INFINITY on the standby", code: "fail_count",
		do: "crm_attribute --type status --node STANDBY --name 'fail-count-pgsql#start_0' --update INFINITY && " +
			"crm_attribute --type status --node STANDBY --name 'last-failure-pgsql#start_0' --update $(date +%s)"},
	{what: "the standby is in standby", code: "node_standby", do: "crm_standby --node STANDBY --update on"},
	{what: "the standby is in standby until it reboots", code: "node_standby",
		do: "crm_standby --node STANDBY --lifetime reboot --update on"},
	{what: "the standby is in maintenance", code: "maintenance",
		do: "crm_attribute --node STANDBY --name maintenance --update true"},
	{what: "the cluster is in maintenance", code: "maintenance", do: "crm_attribute --name maintenance-mode --update true"},
	{what: "the group is unmanaged", code: "unmanaged",
		do: "crm_resource --resource g_pg --meta --set-parameter is-managed --parameter-value false"},
	{what: "PostgreSQL is in maintenance", code: "unmanaged",
		do: "crm_resource --resource pgsql --meta --set-parameter maintenance --parameter-value true"},
	{what: "the health of the standby is red", code: "node_health",
		do: "crm_attribute --name node-health-strategy --update migrate-on-red && " +
			"attrd_updater --node STANDBY --name '#health-disk' --update red"},
	{what: "a PostgreSQL of its own runs on the standby", code: "foreign_postgres", standby: true,
		do: "pg_createcluster 17 main >/dev/null && systemctl enable --quiet --now postgresql postgresql@17-main"},
	{what: "a filesystem is mounted on the standby where the database's belongs", code: "foreign_mount", standby: true,
		do: "mount -t tmpfs tmpfs /srv/pg"},
	{what: "a verify finds blocks that differ", code: "out_of_sync", both: "sed -i 's/^ *protocol C;/&\\nverify-alg crc32c;/' " +
		drbdFile + " && drbdadm adjust pg", standby: true,
		do: "dd if=/dev/urandom of=/dev/vdb bs=4k count=16 seek=5000 oflag=direct conv=notrunc status=none && " +
			"drbdadm verify pg && until drbdsetup status pg | grep -q Verify; do sleep 0.2; done; " +
			"while drbdsetup status pg | grep -q Verify; do sleep 1; done"},
	{what: "another record name is set on the standby", code: "other_configuration", standby: true,
		do:   "sed -i 's/^name = .*/name = \"db2.pgha.internal\"/' " + confFile + " && systemctl reload pgha-agent",
		undo: "sed -i 's/^name = .*/name = \"db.pgha.internal\"/' " + confFile + " && systemctl reload pgha-agent"},
	{what: "the device that fences the promoted node is stopped", code: "fencing_stopped",
		do: "crm_resource --resource fence_PROMOTED --meta --set-parameter target-role --parameter-value Stopped"},
}

func failoverForbidden(ctx context.Context, r *scenarioRun) error {
	if err := r.ask(ctx, forbidding); err != nil {
		return err
	}
	return r.finish(ctx, terms{publications: 0, outcome: "any"})
}

var cutting = []question{
	{what: "PostgreSQL is stopped by a signal", code: "postgres_hangs", words: "it hangs", clients: status.ClientsCutOff,
		do: "pkill -STOP -x postgres"},
	{what: "DRBD's I/O is suspended by hand", code: "drbd_suspended", clients: status.ClientsCutOff,
		do: "drbdsetup suspend-io 0"},
	{what: "the group is stopped by its target-role", code: "target_role", clients: status.ClientsCutOff,
		words: "by its target-role",
		do:    "crm_resource --resource g_pg --meta --set-parameter target-role --parameter-value Stopped"},
	{what: "the server rejects the agent's role", code: "role_rejected", clients: status.ClientsUnknown,
		do:   "sed -i '1i host all pgha all reject' " + hbaFile + " && " + psqlAsOwner + "-c 'SELECT pg_reload_conf()' >/dev/null",
		undo: "sed -i 1d " + hbaFile},
	{what: "the address in the zone is deleted, and the agent may not write", code: "record_missing",
		clients: status.ClientsCutOff, lab: func(r *scenarioRun, on bool) {
			deny(changeRecords)(r, on)
			if on {
				r.aws.zone.Remove(recordName, "A")
			}
			r.aws.resolver.Flush()
		}},
	{what: "the resolver fails", code: "resolver_down", words: "the resolver does not answer", clients: status.ClientsCutOff, lab: func(r *scenarioRun, on bool) {
		r.aws.resolver.SetMode(map[bool]route53test.DNSMode{true: route53test.DNSServFail, false: route53test.DNSNormal}[on])
	}},
	{what: "the filesystem of the database is full", code: "filesystem_full", words: "/srv/pg is full", clients: status.ClientsPartly,
		do:   "fallocate -l $(($(df --output=avail -B1 /srv/pg | tail -1) - 4194304)) /srv/pg/filler || true; df /srv/pg",
		undo: "rm /srv/pg/filler"},
}

func clientsCutOff(ctx context.Context, r *scenarioRun) error {
	if err := r.ask(ctx, cutting); err != nil {
		return err
	}
	return r.finish(ctx, terms{publications: anyNumber, outcome: "any"})
}

// ask plants one fault after the other. Whatever fails, the rest is tried.
func (r *scenarioRun) ask(ctx context.Context, list []question) error {
	p, s, err := r.roles()
	if err != nil {
		return err
	}
	if err := r.healthy(ctx, 2*time.Minute); err != nil {
		return err
	}
	for _, q := range list {
		if err := r.askOne(ctx, q, p, s); err != nil {
			r.expect(false, "%s: %v", q.what, err)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return nil
}

// asked waits for answers of both nodes. A question costs an emulated machine seconds, so it is not asked all the time.
func (r *scenarioRun) asked(ctx context.Context, limit time.Duration, what string, cond func() bool) error {
	end := time.Now().Add(limit)
	for !cond() {
		if time.Now().After(end) {
			return fmt.Errorf("not within %s: %s", limit, what)
		}
		if err := wait.For(ctx, 5*time.Second); err != nil {
			return err
		}
	}
	r.say("%s", what)
	return nil
}

// explained is what `pgha-agent explain` says on a node.
func (r *scenarioRun) explained(ctx context.Context, n *node) (*status.Judgment, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	out, err := n.run(ctx, "pgha-agent explain --json")
	var x status.Judgment
	if bad := json.Unmarshal([]byte(out), &x); bad != nil {
		return nil, fmt.Errorf("explain on %s: %w: %w", n.name, bad, err)
	}
	return &x, nil
}

// found is the finding of a code, among what is wrong with the database or what forbids a failover.
func found(x *status.Judgment, code string) *status.Finding {
	if x == nil {
		return nil
	}
	for _, f := range slices.Concat(x.Findings, x.Failover.Reasons) {
		if f.Code == code {
			return &f
		}
	}
	return nil
}

// healthy waits until both nodes say that clients are served, and that nothing forbids a failover.
func (r *scenarioRun) healthy(ctx context.Context, limit time.Duration) error {
	var last []string
	err := r.asked(ctx, limit, "both nodes say that clients are served and the database could fail over", func() bool {
		last = nil
		for _, n := range r.nodes {
			x, err := r.explained(ctx, n)
			if err != nil || x.Database.State != status.ClientsServed || x.Failover.Possible == nil || !*x.Failover.Possible ||
				x.Verdict == status.VerdictProblem {
				last = append(last, fmt.Sprintf("%s: %v %s", n.name, err, answers(x)))
			}
		}
		return len(last) == 0
	})
	if err != nil {
		err = fmt.Errorf("%w: %s", err, strings.Join(last, "; "))
	}
	return err
}

// answers are the parts of an explanation that a person acts on.
func answers(x *status.Judgment) string {
	if x == nil {
		return ""
	}
	return fmt.Sprintf("%s | %s | %s | NEXT %s [%s]", x.Verdict, x.Database.Text, x.Failover.Text, x.Next, x.Command)
}

// askOne plants a fault, asks both nodes, does what they say to the letter, and expects that all is well again.
func (r *scenarioRun) askOne(ctx context.Context, q question, p, s *node) error {
	n := p
	if q.standby {
		n = s
	}
	r.say("planted: %s", q.what)
	if q.both != "" {
		if err := r.both(func(n *node) error { _, err := n.run(ctx, q.both); return err }); err != nil {
			return err
		}
	}
	if q.lab != nil {
		q.lab(r, true)
	} else if _, err := n.run(ctx, strings.NewReplacer("STANDBY", s.name, "PROMOTED", p.name).Replace(q.do)); err != nil {
		return err
	}
	var last [2]*status.Judgment
	if q.clients == "" {
		q.clients = status.ClientsServed
	}
	err := r.asked(ctx, 2*time.Minute, "both nodes tell it", func() bool {
		for i, n := range r.nodes {
			last[i], _ = r.explained(ctx, n)
			if found(last[i], q.code) == nil || last[i].Database.State != q.clients {
				return false
			}
		}
		return true
	})
	for i, n := range r.nodes {
		r.say("%s: %s", n.name, answers(last[i]))
	}
	if err != nil {
		r.expect(false, "%s: %s is not told, or clients are not %s", q.what, q.code, q.clients)
	}
	f := found(last[0], q.code)
	if f == nil {
		f = found(last[1], q.code)
	}
	if f != nil && err == nil {
		r.judged(ctx, q, *f, last)
	}
	if err := r.follow(ctx, q, f, n); err != nil {
		r.expect(false, "%s: the remedy: %v", q.what, err)
	}
	return r.healthy(ctx, 3*time.Minute)
}

// judged expects what follows from a finding: in the verdict, the next step, and what switchover would do.
func (r *scenarioRun) judged(ctx context.Context, q question, f status.Finding, told [2]*status.Judgment) {
	words := cmp.Or(q.words, f.Text)
	for i, n := range r.nodes {
		x := told[i]
		r.expect(x.Verdict != status.VerdictOK, "%s: the verdict of %s is ok", q.what, n.name)
		next := x.Next + " " + x.Command
		r.expect(strings.Contains(strings.ToLower(next), strings.ToLower(words)), "%s: the next step on %s is not that of %s: %s",
			q.what, n.name, f.Code, next)
		_ = r.answered(ctx, q, n, "pgha-agent status", words)
		check := "clients"
		if q.clients == status.ClientsServed {
			check = "failover"
		}
		_ = r.answered(ctx, q, n, "pgha-agent doctor --only "+check, words)
		if q.clients != status.ClientsServed {
			continue
		}
		r.expect(x.Failover.Possible != nil && !*x.Failover.Possible, "%s: %s says %s", q.what, n.name, x.Failover.Text)
		if r.answered(ctx, q, n, "pgha-agent switchover --dry-run", words) == nil {
			r.expect(false, "%s: switchover --dry-run on %s does not refuse", q.what, n.name)
		}
	}
}

// answered expects that what a command says has a text, wherever its lines end, and returns its error.
func (r *scenarioRun) answered(ctx context.Context, q question, n *node, command, text string) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	out, err := n.run(ctx, command)
	r.expect(strings.Contains(strings.ToLower(flat(out)), strings.ToLower(flat(text))), "%s: `%s` on %s does not say %q: %v %s", q.what,
		command, n.name, text, err, out)
	return err
}

// flat is a text without the places where its lines end.
func flat(text string) string { return strings.Join(strings.Fields(text), " ") }

// follow does what a finding says, to the letter: its commands, in their order, on its node.
func (r *scenarioRun) follow(ctx context.Context, q question, f *status.Finding, n *node) error {
	if q.lab != nil {
		q.lab(r, false)
	}
	if q.undo != "" {
		if _, err := n.run(ctx, q.undo); err != nil {
			return err
		}
	}
	if f == nil {
		return nil
	}
	if other := r.node(f.Node); other != nil {
		n = other
	}
	for _, c := range f.Commands {
		r.say("%s: %s", n.name, c)
		if _, err := n.run(ctx, "cd /tmp; timeout 120 "+c); err != nil {
			r.say("%v", err)
		}
	}
	return nil
}

// otherName is a mistake in one node's file that nothing shows until the database moves there.
func otherName(ctx context.Context, r *scenarioRun) error {
	p, s, err := r.roles()
	if err != nil {
		return err
	}
	set := func(n *node, name string) error {
		_, err := n.run(ctx, fmt.Sprintf("sed -i 's/^name = .*/name = %q/' %s && pgha-agent check-config; systemctl reload pgha-agent", name,
			confFile))
		return err
	}
	if err := set(s, "db2.pgha.internal"); err != nil {
		return err
	}
	r.say("%s: another record name", s.name)
	if err := r.cut(p); err != nil {
		return err
	}
	if err := r.await(ctx, takeover, s.name+" is Primary", func() bool { return r.promoted() == s }); err != nil {
		return err
	}
	var x *status.Judgment
	tells := func(state status.ClientsState, code string) func() bool {
		return func() bool {
			x, _ = r.explained(ctx, s)
			return x != nil && x.Database.State == state && (code == "" || found(x, code) != nil)
		}
	}
	// It serves its own name well; that clients ask for another one only the other node can know.
	if err := r.boot(ctx, p); err != nil {
		return err
	}
	err = r.asked(ctx, patience, s.name+" tells that the names differ", tells(status.ClientsPartly, "other_configuration"))
	r.say("%s: %s", s.name, answers(x))
	if err != nil {
		r.expect(false, "%v", err)
	}
	if err := set(s, recordName); err != nil {
		return err
	}
	r.say("%s: the name is corrected", s.name)
	if err := r.moves(ctx, s, patience); err != nil {
		x, _ = r.explained(ctx, s)
		return fmt.Errorf("%w: %s", err, answers(x))
	}
	if err := r.healthy(ctx, takeover); err != nil {
		return err
	}
	return r.finish(ctx, terms{publications: anyNumber, outcome: "any", bound: time.Hour})
}

// toldLate has an agent hang while the hook publishes, and Pacemaker restart the database.
func toldLate(ctx context.Context, r *scenarioRun) error {
	p, s, err := r.roles()
	if err != nil {
		return err
	}
	if _, err := p.run(ctx, "pkill -KILL -x postgres"); err != nil {
		return err
	}
	r.say("%s: PostgreSQL is killed", p.name)
	if err := r.await(ctx, patience, "Pacemaker has restarted it", func() bool { return r.writesTo(p) }); err != nil {
		return err
	}
	if err := r.asked(ctx, patience, "the history of both nodes tells it", func() bool {
		for _, n := range r.nodes {
			if out, err := n.run(ctx, "pgha-agent history"); err != nil || !strings.Contains(out, "pgsql") {
				return false
			}
		}
		return true
	}); err != nil {
		r.expect(false, "%v", err)
	}
	if _, err := s.run(ctx, "pkill -STOP -x pgha-agent"); err != nil {
		return err
	}
	r.say("%s: its agent hangs", s.name)
	if err := r.cut(p); err != nil {
		return err
	}
	if err := r.moves(ctx, s, patience); err != nil {
		return err
	}
	if err := r.await(ctx, patience, "the episode has phases that were learned late", func() bool {
		list, _ := r.episodes(ctx, s)
		for _, e := range list {
			for _, ph := range e.Phases {
				if ph.Late {
					return true
				}
			}
		}
		return false
	}); err != nil {
		r.expect(false, "%v", err)
	}
	return r.finish(ctx, terms{publications: 1, outcome: "any", bound: 2 * time.Minute})
}

// cleanups erases what Pacemaker knows of DRBD's promoted instance, again and again, and looks at what it does then.
func cleanups(ctx context.Context, r *scenarioRun) error {
	p, _, err := r.roles()
	if err != nil {
		return err
	}
	for i := range 10 {
		command := "crm_resource --cleanup --resource drbd_pg --node " + p.name
		if i%2 == 1 {
			command = "crm_resource --refresh --resource drbd_pg --node " + p.name
		}
		began := time.Now()
		if _, err := p.run(ctx, command); err != nil {
			return err
		}
		if err := wait.For(ctx, 20*time.Second); err != nil {
			return err
		}
		if err := p.until(ctx, takeover, clusterQuiet); err != nil {
			return err
		}
		r.say("%s: the writer was out for %s, roles %v", command, r.outageSince(began).Round(100*time.Millisecond), p.history.all())
	}
	return r.finish(ctx, terms{publications: anyNumber, outcome: "any"})
}
