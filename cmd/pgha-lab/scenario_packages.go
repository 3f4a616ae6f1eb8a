package main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/pgha/pgha-agent/cmd/internal/wait"
	"github.com/pgha/pgha-agent/route53/route53test"
)

var packageScenarios = []scenario{{18, "packages and the resource agent", []part{
	{"the deb installed, upgraded under fire, removed and purged", packageLife},
	{"Route 53 down with ocf:pgha:route53 last in the group: the database stays", resourceAgentStays},
}}}

//go:embed guest/ocf-resource.xml
var ocfResourceXML []byte

// packageLife takes the deb through its life on the standby: over the agent that `make install` made, an upgrade while
// the alert hook runs all the time and the node is promoted, removal, a second installation, purge. The promotion is
// published, and the cluster notices nothing.
func packageLife(ctx context.Context, r *scenarioRun) error {
	list, _ := filepath.Glob(filepath.Join(r.packages, "pgha-agent_*_amd64.deb"))
	if len(list) != 1 {
		return fmt.Errorf("%d packages for amd64 in %s: run `make packages`", len(list), r.packages)
	}
	deb, err := os.ReadFile(list[0])
	if err != nil {
		return err
	}
	p, s, err := r.roles()
	if err != nil {
		return err
	}
	if err := s.put(ctx, "/root/pgha-agent.deb", "644", deb); err != nil {
		return err
	}
	for _, step := range []struct {
		what  string
		do    func(context.Context, *scenarioRun, *node) error
		moves bool // the database, to the node and back
	}{
		{"the deb over what `make install` made", installDeb, false},
		{"upgrade while alerts come in", upgradeDeb, true},
		{"removal, and installation again", removeDeb, false},
		{"purge", purgeDeb, false},
	} {
		r.say("%s: %s", s.name, step.what)
		from := time.Now()
		if err := step.do(ctx, r, s); err != nil {
			return fmt.Errorf("%s: %w", step.what, err)
		}
		if !step.moves {
			out := r.outageSince(from)
			r.expect(out < 10*time.Second, "%s: the writer was out for %s", step.what, out)
		}
	}
	r.expect(len(p.history.all()) == 3, "%s was Primary but for the upgrade: %v", p.name, p.history.all())
	return r.finish(ctx, terms{outcome: "any", publications: 2})
}

// dpkg is how an administrator's tools call it when nobody is there to answer.
const dpkg = "DEBIAN_FRONTEND=noninteractive dpkg --force-confold "

// installed is what has to hold whenever the package is there: its files unchanged, the lab's configuration kept with
// the hook's group able to read it, and the program that runs is the one on the disk.
const installed = `set -e
dpkg-query -W -f '${db:Status-Status}\n' pgha-agent | grep -qx installed
test -z "$(dpkg --verify pgha-agent | grep -v '/etc/pgha-agent/config.toml$\|/usr/share/man/\|/usr/share/doc/')"
grep -qx 'zone_id = "Z0LAB"' /etc/pgha-agent/config.toml
test "$(stat -c '%U:%G %a' /etc/pgha-agent/config.toml)" = 'root:haclient 640'
test "$(stat -c '%U:%G %a' /var/lib/pgha-agent)" = 'pgha:haclient 750'
id -nG pgha | grep -qw haclient
test -x /usr/share/pacemaker/alerts/pgha-alert -a -x /usr/lib/ocf/resource.d/pgha/route53
systemctl is-enabled -q pgha-agent.service pgha-agent.socket
test "$(readlink /proc/$(systemctl show -P MainPID pgha-agent)/exe)" = /usr/bin/pgha-agent
pgha-agent status --json | jq -e .ready >/dev/null`

func installDeb(ctx context.Context, _ *scenarioRun, n *node) error {
	if _, err := n.run(ctx, dpkg+"--install /root/pgha-agent.deb"); err != nil {
		return err
	}
	return n.until(ctx, 2*time.Minute, installed)
}

// fire runs the hook as Pacemaker does, one call after the other, until its file is gone. A line for each: "ok" when
// the daemon acknowledged the alert, else what the hook said.
const fire = `touch /run/fire
while [ -e /run/fire ]; do
	said=$(runuser -u hacluster -- env CRM_alert_version=3.0.0 CRM_alert_kind=node CRM_alert_desc=member CRM_alert_node=$(hostname) /usr/bin/pgha-alert 2>&1)
	echo "${said:-ok}" | tr '\n' ' '; echo
	sleep 0.1
done >/root/fired </dev/null 2>&1 &`

// newerDeb makes a newer package of the same content, with another sample configuration.
const newerDeb = `set -e
rm -rf /root/newer && dpkg-deb -R /root/pgha-agent.deb /root/newer
sed -i 's/^Version: .*/&+lab/' /root/newer/DEBIAN/control
echo '# a newer sample' >>/root/newer/etc/pgha-agent/config.toml
dpkg-deb --root-owner-group -Zgzip -z1 -b /root/newer /root/newer.deb >/dev/null`

func upgradeDeb(ctx context.Context, r *scenarioRun, n *node) error {
	if _, err := n.run(ctx, newerDeb); err != nil {
		return err
	}
	socket, err := n.run(ctx, "systemctl show -P ActiveEnterTimestampMonotonic pgha-agent.socket")
	if err != nil {
		return err
	}
	pid, err := n.run(ctx, "systemctl show -P MainPID pgha-agent")
	if err != nil {
		return err
	}
	if _, err := n.run(ctx, fire); err != nil {
		return err
	}
	p, _, err := r.roles()
	if err != nil {
		return err
	}
	// The daemon is replaced while this node is being promoted: whoever is there then publishes, the daemon or the hook.
	r.say("%s: standby", p.name)
	_, err = n.run(ctx, "crm_attribute -N "+p.name+" -n standby -v on; "+dpkg+"--install /root/newer.deb")
	if err == nil {
		err = r.moves(ctx, n, takeover)
	}
	if err == nil {
		_, err = n.run(ctx, "crm_attribute -N "+p.name+" -n standby -D")
	}
	if err == nil {
		err = n.until(ctx, 2*time.Minute, installed)
	}
	_, end := n.run(ctx, "rm -f /run/fire; sleep 5") // the last call may take two tries of a second each
	if err := errors.Join(err, end); err != nil {
		return err
	}
	version, err := n.run(ctx, "dpkg-query -W -f '${Version}' pgha-agent")
	r.expect(err == nil && strings.HasSuffix(version, "+lab"), "version %q is installed: %v", version, err)
	after, err := n.run(ctx, "systemctl show -P MainPID pgha-agent")
	r.expect(err == nil && after != pid, "the daemon was not restarted: pid %s", after)
	after, err = n.run(ctx, "systemctl show -P ActiveEnterTimestampMonotonic pgha-agent.socket")
	r.expect(err == nil && after == socket, "the socket was restarted: active since %s, before since %s", after, socket)

	out, err := n.run(ctx, "cat /root/fired")
	if err != nil {
		return err
	}
	lines := strings.Split(out, "\n")
	taken := 0
	for _, l := range lines {
		if strings.TrimSpace(l) == "ok" {
			taken++
		}
	}
	r.say("%s: %d alerts, %d of them acknowledged by the daemon", n.name, len(lines), taken)
	r.expect(taken >= 5, "%d alerts were acknowledged", taken)
	if err := n.until(ctx, takeover, clusterQuiet); err != nil {
		return err
	}
	return r.standbyMove(ctx, n, p)
}

func removeDeb(ctx context.Context, _ *scenarioRun, n *node) error {
	if _, err := n.run(ctx, `set -ex
dpkg --remove pgha-agent
test ! -e /usr/bin/pgha-agent -a ! -e /run/pgha-alert.sock
test "$(systemctl is-active pgha-agent.service)" != active
test "$(systemctl is-active pgha-agent.socket)" != active
grep -qx 'zone_id = "Z0LAB"' /etc/pgha-agent/config.toml
test -e /var/lib/pgha-agent/journal
id pgha >/dev/null
`+dpkg+`--install /root/newer.deb
systemctl start pgha-agent`); err != nil {
		return err
	}
	return n.until(ctx, 2*time.Minute, installed)
}

func purgeDeb(ctx context.Context, _ *scenarioRun, n *node) error {
	_, err := n.run(ctx, `set -ex
dpkg --purge pgha-agent
test ! -e /var/lib/pgha-agent
test "$(ls -A /etc/pgha-agent)" = pgpass # a file of the administrator's
test "$(systemctl is-active pgha-agent.service)" != active
test -z "$(find /etc/systemd /var/lib/systemd -name 'pgha-agent*')"
test -z "$(dpkg-query -W pgha-agent 2>/dev/null)"
id pgha >/dev/null`)
	return err
}

// resourceAgentStays is what ocf:heartbeat:aws-vpc-route53 fails: with it, a DNS trouble moved the database
// (docs/lab.md).
func resourceAgentStays(ctx context.Context, r *scenarioRun) error {
	p, s, err := r.roles()
	if err != nil {
		return err
	}
	if err := p.put(ctx, "/root/dns.xml", "600", ocfResourceXML); err != nil {
		return err
	}
	if _, err := p.run(ctx, "cibadmin --modify --allow-create -o resources --xml-file /root/dns.xml"); err != nil {
		return err
	}
	runsOn := func(n *node) error {
		return n.until(ctx, patience, "crm_resource -r dns -W -Q | grep -qx "+n.name)
	}
	if err := runsOn(p); err != nil {
		return err
	}
	r.say("the resource runs on %s", p.name)
	out, err := p.run(ctx, "export OCF_RESKEY_hosted_zone_id=Z0LAB OCF_RESKEY_hostname=db.pgha.internal "+
		"OCF_RESKEY_ttl=5; /usr/lib/ocf/resource.d/pgha/route53 validate-all")
	r.expect(err == nil, "validate-all: %s %v", out, err)

	r.aws.zone.Inject(route53test.Fault{Kind: route53test.DropRequest, Count: -1})
	r.say("Route 53 is down; %s: standby", p.name)
	if _, err := p.run(ctx, "crm_attribute -N "+p.name+" -n standby -v on"); err != nil {
		return err
	}
	if err := r.await(ctx, patience, s.name+" is Primary", func() bool { return r.promoted() == s }); err != nil {
		return err
	}
	if err := runsOn(s); err != nil {
		return err
	}
	r.say("the resource is started on %s, without a record", s.name)
	// From now on Pacemaker could move the database back, if it thought that there was a reason.
	if _, err := s.run(ctx, "crm_attribute -N "+p.name+" -n standby -D"); err != nil {
		return err
	}
	// No crm_resource --wait here: with a degraded monitor it was seen not to return.
	if err := s.until(ctx, takeover,
		"crm_mon -1 | grep -q 'Unpromoted: ' && drbdadm dstate pg | grep -qx UpToDate/UpToDate"); err != nil {
		return err
	}
	degraded := s.until(ctx, time.Minute,
		"crm_mon -1 --include=none,failures | grep -i 'dns.*\\(degraded\\|might fail soon\\)'")
	r.expect(degraded == nil, "crm_mon says that the resource is degraded: %v", degraded)
	if err := wait.For(ctx, 45*time.Second); err != nil { // four monitors
		return err
	}
	for _, n := range r.nodes {
		count, err := s.run(ctx, "crm_failcount --query -r dns -N "+n.name)
		r.expect(err == nil && strings.HasSuffix(strings.TrimSpace(count), "value=0"), "failures of dns on %s: %s %v", n.name,
			count, err)
	}
	where, err := s.run(ctx, "crm_resource -r pgsql -W -Q")
	r.expect(err == nil && where == s.name, "the database is on %q: %v", where, err)
	r.expect(len(s.history.all()) == 2, "%s was promoted once and stayed so: %v", s.name, s.history.all())

	r.aws.zone.ClearFaults()
	down := time.Since(s.history.primarySince())
	r.say("Route 53 works again")
	if err := r.moves(ctx, s, patience); err != nil {
		return err
	}
	if err := s.until(ctx, 2*time.Minute,
		"crm_resource --cleanup -r dns && sleep 20 && ! crm_mon -1 --include=none,failures | grep dns"); err != nil {
		r.expect(false, "the monitor is content again: %v", err)
	}
	return r.finish(ctx, terms{publications: 1, bound: down + 30*time.Second + bound})
}
