package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/pgha/pgha-agent/agent/explain"
	"github.com/pgha/pgha-agent/agent/status"
	"github.com/pgha/pgha-agent/cmd/internal/wait"
	"github.com/pgha/pgha-agent/route53"
	"github.com/pgha/pgha-agent/route53/route53test"
)

var answerScenarios = []scenario{
	{21, "every answer right, on either node", []part{
		{"what forbids a failover while clients are served: said, and gone when the remedy is followed", failoverForbidden},
		{"what cuts clients off with a healthy cluster: said, and gone when the remedy is followed", clientsCutOff},
		{"another record name on one node, then a failover: said before and after; corrected, it is no contest",
			otherName},
		{"an agent that hangs in a failover learns late; a restart by Pacemaker is in the history", toldLate},
		{"a contested record while the other node stays away: the remedy promotes anew on the same node", promotedAnew},
		{"what a cleanup does to a healthy database, and that it does nothing in maintenance", cleanups},
		{"what keeps DRBD or a fence device away, what every commit waits for, what stops all", keptAway},
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
	told    string              // of the event that the histories have of it; "" means none
	own     bool                // only the node where it is planted can know of it, and has it in its history
	undo    string              // a hand's work, where the remedy leaves it to a person
	allows  bool                // a failover
	later   bool                // it is the same when the first minute of a change is over
	more    bool                // it is not all that is wrong: the next step after the remedy is followed too
}

// What the history tells.
const (
	cutOffEvent = "a client of the name is cut off"
)

// anyState is for faults that some clients get around.
const anyState status.ClientsState = "any"

const psqlAsOwner = `cd / && runuser -u postgres -- psql -qX -v ON_ERROR_STOP=1 `

var forbidding = []question{
	{what: "the promoted role is banned from the standby", code: "banned",
		told: "constraint cli-ban-drbd_pg-clone-on-",
		do:   "crm_resource --ban --resource drbd_pg-clone --promoted --node STANDBY"},
	{what: "the group is banned from the standby", code: "banned", told: "constraint cli-ban-g_pg-on-",
		do: "crm_resource --ban --resource g_pg --node STANDBY"},
	{what: "a rule keeps the group from the standby", code: "banned", told: "constraint by-rule is new",
		do: `cibadmin --create --scope constraints --xml-text '<rsc_location id="by-rule" rsc="g_pg"><rule id="by-rule-r" ` +
			`score="-INFINITY" boolean-op="and"><expression id="by-rule-e" attribute="#uname" operation="eq" ` +
			`value="STANDBY"/></rule></rsc_location>'`},
	{what: "the fail count of PostgreSQL is INFINITY on the standby", code: "fail_count", told: "fail count of pgsql on ",
		do: "crm_attribute --type status --node STANDBY --name 'fail-count-pgsql#start_0' --update INFINITY && " +
			"crm_attribute --type status --node STANDBY --name 'last-failure-pgsql#start_0' --update $(date +%s)"},
	{what: "the standby is in standby", code: "node_standby", told: "is in standby",
		do: "crm_standby --node STANDBY --update on"},
	{what: "the standby is in standby until it reboots", code: "node_standby", told: "is in standby",
		do: "crm_standby --node STANDBY --lifetime reboot --update on"},
	{what: "the standby is in maintenance", code: "maintenance", told: "is in maintenance",
		do: "crm_attribute --node STANDBY --name maintenance --update true"},
	{what: "the cluster is in maintenance", code: "maintenance", told: "maintenance mode of the cluster is on",
		do: "crm_attribute --name maintenance-mode --update true"},
	{what: "the group is unmanaged", code: "unmanaged", told: "is-managed of g_pg",
		do: "crm_resource --resource g_pg --meta --set-parameter is-managed --parameter-value false"},
	{what: "PostgreSQL is in maintenance", code: "unmanaged", told: "maintenance of pgsql",
		do: "crm_resource --resource pgsql --meta --set-parameter maintenance --parameter-value true"},
	{what: "the health of the standby is red", code: "node_health", told: "health of ",
		do: "crm_attribute --name node-health-strategy --update migrate-on-red && " +
			"attrd_updater --node STANDBY --name '#health-disk' --update red"},
	{what: "a PostgreSQL of its own runs on the standby", code: "foreign_postgres", standby: true,
		told: "a PostgreSQL outside of Pacemaker runs on ",
		do:   "pg_createcluster 17 main >/dev/null && systemctl enable --quiet --now postgresql postgresql@17-main"},
	{what: "a filesystem is mounted on the standby where the database's belongs", code: "foreign_mount", standby: true,
		told: "tmpfs is mounted at /srv/pg on ",
		do:   "mount -t tmpfs tmpfs /srv/pg"},
	{what: "a verify finds blocks that differ", code: "out_of_sync", told: "blocks out of sync found",
		both: "sed -i 's/^ *protocol C;/&\\nverify-alg crc32c;/' " +
			drbdFile + " && drbdadm adjust pg", standby: true,
		do: "dd if=/dev/urandom of=/dev/vdb bs=4k count=16 seek=5000 oflag=direct conv=notrunc status=none && " +
			"drbdadm verify pg && until drbdsetup status pg | grep -q Verify; do sleep 0.2; done; " +
			"while drbdsetup status pg | grep -q Verify; do sleep 1; done"},
	{what: "another record name is set on the standby", code: "other_configuration", standby: true,
		do:   "sed -i 's/^name = .*/name = \"db2.pgha.internal\"/' " + confFile + " && systemctl reload pgha-agent",
		undo: "sed -i 's/^name = .*/name = \"db.pgha.internal\"/' " + confFile + " && systemctl reload pgha-agent"},
	{what: "the device that fences the promoted node is stopped", code: "fencing_stopped", told: "target-role of fence_",
		do: "crm_resource --resource fence_PROMOTED --meta --set-parameter target-role --parameter-value Stopped"},
	{what: "the cluster is in maintenance, and the promotion score of the standby is gone", code: "promotion_score",
		more: true,
		do: "crm_attribute --name maintenance-mode --update true && sleep 3 && " +
			"attrd_updater --node STANDBY --name master-drbd_pg --delete"},
	{what: "the program of the standby's agent is replaced", code: "agent_replaced", standby: true, allows: true,
		do: "cp /usr/bin/pgha-agent /usr/bin/pgha-agent.new && mv /usr/bin/pgha-agent.new /usr/bin/pgha-agent"},
	{what: "drbdsetup is stopped by a signal on the standby", code: "drbd_hung", words: "gave no sign of life",
		standby: true,
		allows:  true, told: "gave no sign of life", own: true,
		do: `pkill -STOP -P "$(systemctl show --property MainPID --value pgha-agent)" drbdsetup`},
}

func failoverForbidden(ctx context.Context, r *scenarioRun) error {
	if err := r.ask(ctx, forbidding); err != nil {
		return err
	}
	return r.finish(ctx, terms{publications: 0, outcome: "any"})
}

var cutting = []question{
	{what: "PostgreSQL is stopped by a signal", code: "postgres_hangs", told: cutOffEvent, words: "it hangs",
		clients: status.ClientsCutOff,
		do:      "pkill -STOP -x postgres"},
	{what: "DRBD's I/O is suspended by hand", code: "drbd_suspended", told: "DRBD suspended I/O on ", clients: status.ClientsCutOff,
		do: "drbdsetup suspend-io 0"},
	{what: "the group is stopped by its target-role", code: "target_role", told: "target-role of g_pg",
		clients: status.ClientsCutOff,
		words:   "by its target-role",
		do:      "crm_resource --resource g_pg --meta --set-parameter target-role --parameter-value Stopped"},
	{what: "the server rejects the agent's role", code: "role_rejected", clients: status.ClientsUnknown,
		do: "sed -i '1i host all pgha all reject' " + hbaFile + " && " + psqlAsOwner +
			"-c 'SELECT pg_reload_conf()' >/dev/null",
		undo: "sed -i 1d " + hbaFile},
	{what: "the address in the zone is deleted, and the agent may not write", code: "record_missing", told: "the record was deleted by somebody else",
		clients: status.ClientsCutOff, lab: func(r *scenarioRun, on bool) {
			deny(changeRecords)(r, on)
			if on {
				r.aws.zone.Remove(recordName, "A")
			}
			r.aws.resolver.Flush()
		}},
	{what: "the resolver fails", code: "resolver_down", told: cutOffEvent, words: "the resolver does not answer",
		clients: status.ClientsCutOff, lab: func(r *scenarioRun, on bool) {
			r.aws.resolver.SetMode(map[bool]route53test.DNSMode{true: route53test.DNSServFail, false: route53test.DNSNormal}[on])
		}},
	{what: "the filesystem of the database is full", code: "filesystem_full", words: "/srv/pg is full",
		told:    "filesystem /srv/pg is full on ",
		clients: status.ClientsPartly,
		do:      "fallocate -l $(($(df --output=avail -B1 /srv/pg | tail -1) - 4194304)) /srv/pg/filler || true; df /srv/pg",
		undo:    "rm /srv/pg/filler"},
	{what: "the filesystem of the database is frozen", code: "commits_hang", words: "commits hang", told: cutOffEvent,
		clients: status.ClientsCutOff, do: "fsfreeze --freeze /srv/pg"},
	{what: "PostgreSQL is stopped by a signal, and the address in the zone is deleted", code: "postgres_hangs",
		words: "it hangs", told: cutOffEvent, more: true, clients: status.ClientsCutOff, do: "pkill -STOP -x postgres",
		lab: func(r *scenarioRun, on bool) {
			deny(changeRecords)(r, on)
			if on {
				r.aws.zone.Remove(recordName, "A")
			}
			r.aws.resolver.Flush()
		}},
	{what: "somebody adds a second value to the record", code: "record_drift", words: "by hand", more: true,
		told:    "the record was changed by somebody else",
		clients: anyState, lab: func(r *scenarioRun, on bool) {
			if on {
				r.aws.zone.Set(route53test.Simple(recordName, "A", 5, r.nodes[0].addr.String(), r.nodes[1].addr.String()))
			} else {
				r.aws.zone.Remove(recordName, "A") // as the remedy says, by hand
			}
			r.aws.resolver.Flush()
		}},
	{what: "somebody makes the record a weighted one", code: "record_drift", words: "by hand", more: true,
		told:    "the record was changed by somebody else",
		clients: anyState,
		lab: func(r *scenarioRun, on bool) {
			r.aws.zone.Remove(recordName, "A")
			if on {
				set := route53test.Simple(recordName, "A", 5, r.promoted().addr.String())
				set.SetIdentifier, set.Weight = "somebody's", new(int64(1))
				r.aws.zone.Set(set)
			}
			r.aws.resolver.Flush()
		}},
}

func clientsCutOff(ctx context.Context, r *scenarioRun) error {
	if err := r.ask(ctx, cutting); err != nil {
		return err
	}
	return r.finish(ctx, terms{publications: anyNumber, outcome: "any"})
}

var keeping = []question{
	{what: "DRBD is banned from the standby", code: "banned", told: "constraint cli-ban-drbd_pg-clone-on-", later: true,
		do: "crm_resource --ban --resource drbd_pg-clone --node STANDBY"},
	{what: "the permanent health of the standby is red", code: "node_health", told: "health of ", later: true,
		do: "crm_attribute --name node-health-strategy --update migrate-on-red && " +
			"crm_attribute --node STANDBY --name '#health-disk' --update red"},
	{what: "a score outweighs the promotion score of the standby", code: "banned", told: "constraint outweighs is new",
		do: `cibadmin --create --scope constraints --xml-text '<rsc_location id="outweighs" rsc="drbd_pg-clone" ` +
			`role="Promoted" node="STANDBY" score="-20000"/>'`},
	{what: "no fence device is for the promoted node", code: "fencing_stopped", told: "pcmk_host_list of fence_",
		do: "crm_resource --resource fence_PROMOTED --set-parameter pcmk_host_list --parameter-value nobody"},
	{what: "the device that fences the promoted node is banned from the standby", code: "fencing_stopped",
		told: "constraint cli-ban-fence_",
		do:   "crm_resource --ban --resource fence_PROMOTED --node STANDBY"},
	{what: "commits wait for a synchronous standby", code: "sync_standby", told: cutOffEvent,
		clients: status.ClientsCutOff, words: "synchronous standby",
		do: psqlAsOwner + `-c "ALTER SYSTEM SET synchronous_standby_names = 'nosuch'" -c 'SELECT pg_reload_conf()' >/dev/null`},
	{what: "all resources are stopped", code: "target_role", told: "stop-all-resources is new", clients: status.ClientsCutOff,
		words: "stop-all-resources", do: "crm_attribute --name stop-all-resources --update true"},
}

func keptAway(ctx context.Context, r *scenarioRun) error {
	if err := r.ask(ctx, keeping); err != nil {
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
	// A record that is new may be unknown to resolvers, so it is not asked for at once.
	if err := r.await(ctx, 3*time.Minute, "the agents of both nodes are clients", func() bool {
		return r.value(p, "pgha_client_up") == 1 && r.value(s, "pgha_client_up") == 1
	}); err != nil {
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
	var before [2]int
	if q.told != "" {
		for i, n := range r.nodes {
			var err error
			if before[i], err = n.happened(ctx, q.told); err != nil {
				return err
			}
		}
	}
	if q.both != "" {
		if err := r.both(func(n *node) error { _, err := n.run(ctx, q.both); return err }); err != nil {
			return err
		}
	}
	if q.lab != nil {
		q.lab(r, true)
	}
	if _, err := n.run(ctx, strings.NewReplacer("STANDBY", s.name, "PROMOTED", p.name).Replace(q.do)); err != nil {
		return err
	}
	var last [2]*status.Judgment
	q.clients = cmp.Or(q.clients, status.ClientsServed)
	tells := func(x *status.Judgment) bool {
		switch {
		case x == nil || x.Verdict == status.VerdictWaiting: // an outage of seconds may be over by itself
			return false
		case q.clients == anyState:
			return x.Verdict == status.VerdictProblem
		}
		return found(x, q.code) != nil && x.Database.State == q.clients
	}
	err := r.asked(ctx, 2*time.Minute, "both nodes tell it", func() bool {
		for i, n := range r.nodes {
			if last[i], _ = r.explained(ctx, n); !tells(last[i]) {
				return false
			}
		}
		return found(last[0], q.code) != nil || found(last[1], q.code) != nil
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
	if f != nil && err == nil && q.later {
		if err := wait.For(ctx, 75*time.Second); err != nil {
			return err
		}
		for i, n := range r.nodes {
			last[i], err = r.explained(ctx, n)
			r.say("%s, later: %s", n.name, answers(last[i]))
			if err != nil {
				return err
			}
			r.expect(last[i].Verdict == status.VerdictAttention, "%s: the verdict of %s is %s later", q.what, n.name,
				last[i].Verdict)
		}
	}
	if f != nil && err == nil {
		r.judged(ctx, q, *f, p, last)
	}
	if q.told != "" {
		for i, on := range r.nodes {
			if q.own && on != n {
				continue
			}
			if err := r.asked(ctx, time.Minute, "the history of "+on.name+" tells it", func() bool {
				count, err := on.happened(ctx, q.told)
				return err == nil && count > before[i]
			}); err != nil {
				r.expect(false, "%s: %s: %v", q.what, q.told, err)
			}
		}
	}
	if err := r.follow(ctx, q, f, n); err != nil {
		r.expect(false, "%s: the remedy: %v", q.what, err)
	}
	if !q.more {
		return r.healthy(ctx, 3*time.Minute)
	}
	for range 3 {
		if err = r.healthy(ctx, time.Minute); err == nil || ctx.Err() != nil {
			return err
		}
		x, err := r.explained(ctx, p)
		if err != nil {
			return err
		}
		r.say("%s: %s", p.name, answers(x))
		if x.Verdict == status.VerdictWaiting {
			continue
		}
		next := status.Finding{Commands: explain.Commands(x)}
		for _, f := range slices.Concat(x.Findings, x.Failover.Reasons) {
			if slices.Equal(f.Commands, next.Commands) {
				next.Node = f.Node
			}
		}
		r.carryOut(ctx, q, next, p)
		r.aws.resolver.Flush() // it remembers for a quarter of an hour that there was no address
	}
	return r.healthy(ctx, time.Minute)
}

// happened counts the events of a node's history that have some words.
func (n *node) happened(ctx context.Context, words string) (count int, err error) {
	out, err := n.run(ctx, "pgha-agent history --events --json")
	if err != nil {
		return 0, err
	}
	return strings.Count(out, words), nil
}

// judged expects what follows from a finding: in the verdict, the next step, and what switchover would do. p has the
// database.
func (r *scenarioRun) judged(ctx context.Context, q question, f status.Finding, p *node, told [2]*status.Judgment) {
	words := cmp.Or(q.words, f.Text)
	for i, n := range r.nodes {
		x := told[i]
		r.expect(x.Database.Node == p.name || q.code == "target_role", "%s: %s says that %q has the database", q.what, n.name,
			x.Database.Node)
		if q.lab == nil && q.code != "other_configuration" {
			r.expect(strings.Contains(x.Record, p.addr.String()) && strings.Contains(x.Record, p.name),
				"%s: %s does not say why the name points at %s: %s", q.what, n.name, p.name, x.Record)
		}
		r.expect(x.Verdict != status.VerdictOK, "%s: the verdict of %s is ok", q.what, n.name)
		next := x.Next + " " + x.Command
		r.expect(strings.Contains(strings.ToLower(next), strings.ToLower(words)),
			"%s: the next step on %s is not that of %s: %s",
			q.what, n.name, f.Code, next)
		_ = r.answered(ctx, q, n, "pgha-agent status", words)
		check := "clients"
		if q.clients == status.ClientsServed {
			check = "failover"
		}
		if !q.allows && q.clients != anyState {
			_ = r.answered(ctx, q, n, "pgha-agent doctor --only "+check, words)
		}
		if q.clients != status.ClientsServed {
			continue
		}
		if q.allows {
			r.expect(x.Failover.Possible != nil && *x.Failover.Possible, "%s: %s says %s", q.what, n.name, x.Failover.Text)
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
	r.expect(strings.Contains(strings.ToLower(flat(out)), strings.ToLower(flat(text))),
		"%s: `%s` on %s does not say %q: %v %s", q.what,
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
	if f != nil {
		r.carryOut(ctx, q, *f, n)
	}
	return nil
}

// carryOut runs the commands of a finding on the node that it names, else on n.
func (r *scenarioRun) carryOut(ctx context.Context, q question, f status.Finding, n *node) {
	if i := slices.IndexFunc(r.nodes, func(n *node) bool { return n.name == f.Node }); i >= 0 {
		n = r.nodes[i]
	}
	for _, c := range f.Commands {
		r.say("%s: %s", n.name, c)
		_, err := n.run(ctx, "cd /tmp; timeout 120 "+c)
		r.expect(err == nil || looks.MatchString(c), "%s: %v", q.what, err)
	}
}

// looks are commands whose status says what they found, or that nothing was there to be ended any more.
var looks = regexp.MustCompile(`^(pgha-agent (explain|doctor|check-config|history)|crm_mon|drbd(setup|adm) status|ps|dig|df|du|` +
	`journalctl|systemctl status|crm_simulate|psql|stonith_admin --history|fsfreeze --unfreeze|pkill|nft|iptables|ip) `)

// otherName is a mistake in one node's file that nothing shows until the database moves there.
func otherName(ctx context.Context, r *scenarioRun) error {
	p, s, err := r.roles()
	if err != nil {
		return err
	}
	set := func(n *node, name string) error {
		_, err := n.run(ctx, fmt.Sprintf("sed -i 's/^name = .*/name = %q/' %s && pgha-agent check-config; systemctl "+
			"reload pgha-agent", name,
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
	// In its first seconds a failover looks like many faults, and whoever mends one of them is in its way.
	for cut := time.Now(); r.promoted() != s && time.Since(cut) < takeover; {
		x, err := r.explained(ctx, s)
		if err != nil {
			return err
		}
		changes := func(command string) bool { return command != "pgha-agent watch" && !looks.MatchString(command) }
		r.expect(!slices.ContainsFunc(explain.Commands(x), changes) && x.Database.State != status.ClientsServed,
			"in a failover: %s", answers(x))
		r.say("%s: %s", s.name, answers(x))
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
	p, _, err := r.roles()
	if err != nil {
		return err
	}
	if _, err := p.run(ctx, "pkill -KILL -x postgres"); err != nil {
		return err
	}
	r.say("%s: PostgreSQL is killed", p.name)
	if err := r.await(ctx, patience, "the writer is out", func() bool { return !r.writesTo(p) }); err != nil {
		return err
	}
	if err := r.await(ctx, patience, "Pacemaker has restarted it", func() bool { return r.writesTo(p) }); err != nil {
		return err
	}
	inBoth := func(event string) {
		if err := r.asked(ctx, patience, "the history of both nodes tells it", func() bool {
			return !slices.ContainsFunc(r.nodes, func(n *node) bool { count, _ := n.happened(ctx, event); return count == 0 })
		}); err != nil {
			r.expect(false, "%v", err)
		}
	}
	inBoth("of pgsql failed")
	// Its scores go with it: the database may be stopped and started until they are there again.
	if _, err := p.run(ctx, "pkill -KILL -x pacemaker-attrd"); err != nil {
		return err
	}
	killed := time.Now()
	r.say("%s: pacemaker-attrd is killed", p.name)
	inBoth("the promotion score master-drbd_pg of")
	if err := r.healthy(ctx, 2*patience); err != nil {
		return err
	}
	p, s, err := r.roles()
	if err != nil {
		return err
	}
	r.say("the writer was out for %s; %s has the database", r.outageSince(killed).Round(100*time.Millisecond), p.name)
	if err := r.cut(p); err != nil {
		return err
	}
	// The watchdog ends an agent that hangs after 30 s, so it is to hang no earlier.
	if err := r.await(ctx, takeover, p.name+" is being fenced", func() bool { return r.fencings(p) > 0 }); err != nil {
		return err
	}
	if _, err := s.run(ctx, "systemctl kill --kill-whom=main -s STOP pgha-agent"); err != nil {
		return err
	}
	r.say("%s: its agent hangs", s.name)
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
	return r.finish(ctx, terms{publications: anyNumber, outcome: "any", bound: 2 * time.Minute})
}

// promotedAnew has a stranger claim the record when there is no other node to move to.
func promotedAnew(ctx context.Context, r *scenarioRun) error {
	p, s, err := r.roles()
	if err != nil {
		return err
	}
	if err := r.cut(s); err != nil {
		return err
	}
	if err := r.await(ctx, takeover, s.name+" is fenced", func() bool { return r.fencings(s) > 0 }); err != nil {
		return err
	}
	was, err := r.aws.owner()
	if err != nil {
		return err
	}
	foreign := route53.Owner{Epoch: was.Epoch + 10, Node: "node9", Addr: s.addr,
		Claim: "7b1f0c1e-54a0-4c38-9a3d-2f0e5d6c7b8a"}
	r.aws.zone.Set(route53test.Simple(ownerName, "TXT", 5, foreign.String()))
	r.aws.zone.Set(route53test.Simple(recordName, "A", 5, s.addr.String()))
	r.say("a stranger claims the record: %s", foreign)
	restart := "crm_resource --restart --resource drbd_pg-clone"
	var x *status.Judgment
	err = r.asked(ctx, patience, p.name+" tells how to promote it anew without the other node", func() bool {
		x, _ = r.explained(ctx, p)
		return x != nil && x.Verdict == status.VerdictProblem && strings.Contains(x.Next, "`"+restart+"`")
	})
	r.say("%s: %s", p.name, answers(x))
	if err != nil {
		return err
	}
	if _, err := p.run(ctx, restart); err != nil {
		return err
	}
	r.say("%s: %s", p.name, restart)
	if err := r.moves(ctx, p, takeover); err != nil {
		return err
	}
	is, err := r.aws.owner()
	if err != nil {
		return err
	}
	r.expect(is.Node == p.name && is.Epoch == foreign.Epoch+1 && is.Claim != was.Claim, "the owner is %s", is)
	if err := r.boot(ctx, s); err != nil {
		return err
	}
	if err := r.healthy(ctx, takeover); err != nil {
		return err
	}
	return r.finish(ctx, terms{publications: 1, outcome: "any", bound: takeover})
}

// cleanups erases what Pacemaker knows of the database's resources where they run, and looks at what it does then. A
// cleanup does nothing without a failure, so there is one, which Pacemaker is told not to act on.
func cleanups(ctx context.Context, r *scenarioRun) error {
	p, _, err := r.roles()
	if err != nil {
		return err
	}
	if _, err := p.run(ctx, "crm_attribute --type op_defaults --name on-fail --update ignore"); err != nil {
		return err
	}
	for _, c := range []struct {
		resource, what string
		safe           bool
	}{
		{"drbd_pg", "cleanup", false}, {"drbd_pg", "refresh", false}, {"fs_pg", "cleanup", false},
		{"pgsql", "cleanup", true}, {"drbd_pg", "cleanup", true}, {"drbd_pg", "refresh", true}, {"fs_pg", "cleanup", true},
		{"drbd_pg", "cleanup", true}, {"drbd_pg", "refresh", true},
	} {
		if err := p.until(ctx, takeover, clusterQuiet); err != nil {
			return err
		}
		command := fmt.Sprintf("crm_resource --%s --resource %s --node %s", c.what, c.resource, p.name)
		if c.what == "cleanup" {
			if _, err := p.run(ctx, fmt.Sprintf("crm_resource --fail --resource %s --node %s", c.resource, p.name)); err != nil {
				return err
			}
			if err := p.until(ctx, takeover, "crm_mon -1 --include=none,failures | grep "+c.resource); err != nil {
				return err
			}
		}
		switch {
		case c.safe && c.what == "cleanup": // as explain says
			x, err := r.explained(ctx, p)
			if err != nil {
				return err
			}
			f := found(x, "fail_count")
			if f == nil || !strings.Contains(f.Commands[0], command) {
				return fmt.Errorf("explain does not say how to clean up: %s: %s", answers(x), asJSON(x.Findings))
			}
			command = f.Commands[0]
		case c.safe:
			command = "crm_attribute --name maintenance-mode --update true; " + command +
				"; crm_resource --wait --timeout 120; crm_attribute --name maintenance-mode --delete"
		}
		const started = psqlAsOwner + `-Atc 'SELECT pg_postmaster_start_time()'`
		before, err := p.run(ctx, started)
		if err != nil {
			return err
		}
		began := time.Now()
		if _, err := p.run(ctx, command); err != nil {
			return err
		}
		r.say("%s", command)
		for time.Since(began) < 20*time.Second {
			x, err := r.explained(ctx, p)
			if err != nil {
				return err
			}
			if x.Database.State != status.ClientsServed || x.Verdict == status.VerdictProblem {
				r.say("%s: %s", p.name, answers(x))
			}
		}
		if err := p.until(ctx, takeover, clusterQuiet+" && "+started); err != nil {
			return err
		}
		after, err := p.run(ctx, started)
		r.say("the writer was out for %s", r.outageSince(began).Round(100*time.Millisecond))
		r.expect(err == nil && (!c.safe || after == before), "PostgreSQL was stopped: it has run since %s, now since %s",
			before,
			after)
	}
	return r.finish(ctx, terms{publications: anyNumber, outcome: "any"})
}
