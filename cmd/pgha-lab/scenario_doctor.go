package main

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/pgha/pgha-agent/agent/doctor"
	"github.com/pgha/pgha-agent/cmd/internal/wait"
	"github.com/pgha/pgha-agent/cmd/pgha-lab/cloud"
	"github.com/pgha/pgha-agent/route53/route53test"
)

var doctorScenarios = []scenario{
	{16, "the doctor", []part{{"no complaint about a healthy cluster; each planted fault is found, and gone when it is " +
		"fixed", doctorFindsFaults}}},
}

// labWarnings are what the doctor rightly says of the lab: nobody makes backups here, and nothing sets the machines'
// clocks but the lab.
var labWarnings = []string{"backups", "clock"}

// fault is what is planted. One of cib, do and lab says how; in a CIB it is a sed command, and is undone by putting the
// old one back.
type fault struct {
	check string
	want  doctor.Verdict
	what  string // of the evidence or the remedy
	cib   string
	do    string // a script on the promoted node
	undo  string
	lab   func(r *scenarioRun, on bool)
	conf  string         // sed command for a copy of the agent's configuration
	after doctor.Verdict // without the fault; pass when empty
}

const (
	aliasEC2 = "AWS_ENDPOINT_URL_EC2=http://10.0.0.2:8001"
	hbaFile  = "/srv/pg/data/pg_hba.conf"
	drbdFile = "/etc/drbd.d/pg.res"
	coroFile = "/etc/corosync/corosync.conf"
	confFile = "/etc/pgha-agent/config.toml"
	hookFile = "/usr/bin/pgha-alert"
	wants    = "/etc/systemd/system/multi-user.target.wants"
)

// inFile edits a file; the old one comes back whole, owner and mode included.
func inFile(check string, want doctor.Verdict, what, file, sed string) fault {
	saved := "/root/doctor-" + filepath.Base(file)
	return fault{
		check: check, want: want, what: what,
		do:   fmt.Sprintf("cp -p %[1]s %[2]s && sed -i '%[3]s' %[1]s && ! cmp -s %[1]s %[2]s", file, saved, sed),
		undo: fmt.Sprintf("cat %s >%s", saved, file),
	}
}

// and does more after the first, both times.
func (f fault) and(do, undo string) fault {
	f.do += " && " + do
	f.undo += " && " + undo
	return f
}

// andAdjust makes the running DRBD follow its file, both times.
func (f fault) andAdjust() fault { return f.and("drbdadm adjust pg", "drbdadm adjust pg") }

// inSQL runs statements as the owner of the server.
func inSQL(check string, want doctor.Verdict, what, do, undo string) fault {
	psql := func(sql string) string {
		return fmt.Sprintf(
			`cd / && runuser -u postgres -- psql -qX -v ON_ERROR_STOP=1 -c "%s" -c "SELECT pg_reload_conf()" >/dev/null`, sql)
	}
	return fault{check: check, want: want, what: what, do: psql(do), undo: psql(undo)}
}

func inSetting(check string, want doctor.Verdict, name, value string) fault {
	return inSQL(check, want, value, fmt.Sprintf("ALTER SYSTEM SET %s = '%s'", name, value), "ALTER SYSTEM RESET "+name)
}

func unit(check, name string) fault {
	link := wants + "/" + name
	return fault{
		check: check, want: doctor.Fail, what: "systemctl disable " + name,
		do: fmt.Sprintf("mkdir -p %s && ln -s /usr/lib/systemd/system/%s %s", wants, name, link), undo: "rm " + link,
	}
}

const insertConstraint = `s#<constraints>#<constraints><rsc_location id="%s" rsc="%s" node="node1" score="%s"/>#`

var plantedFaults = []fault{
	// In the CIB, while the cluster is in maintenance: nothing moves.
	{check: "fencing-enabled", want: doctor.Fail, what: "false",
		cib: `s/name="stonith-enabled" value="true"/name="stonith-enabled" value="false"/`},
	{check: "fence-device", want: doctor.Fail, what: "no device fences node2",
		cib: `s/name="pcmk_host_list" value="node2"/name="pcmk_host_list" value="node3"/`},
	{check: "fence-device-place", want: doctor.Warn, what: "nothing keeps fence_node2 off",
		cib: `s/rsc="fence_node2" node="node2" score="-INFINITY"/rsc="fence_node2" node="node2" score="-5"/`},
	{check: "fence-delay", want: doctor.Fail, what: "same delay",
		cib: `s/name="priority-fencing-delay" value="10s"/name="priority-fencing-delay" value="0s"/`},
	{check: "fence-delay", want: doctor.Fail, what: "no resource has a priority",
		cib: `s/name="priority" value="10"/name="priority" value="0"/`},
	{check: "drbd-handler-timeout", want: doctor.Fail, what: "must win the fence race",
		cib: `s/name="priority-fencing-delay" value="10s"/name="priority-fencing-delay" value="0s"/`},
	{check: "fence-attempts", want: doctor.Warn, what: "5",
		cib: `s/name="stonith-max-attempts" value="1000"/name="stonith-max-attempts" value="5"/`},
	{check: "fence-timeout", want: doctor.Warn, what: "Pacemaker waits 2m0s",
		cib:   `/name="plug" value="i-00000000000000001"/s#$#<nvpair id="doctor-power" name="power_timeout" value="150"/>#`,
		after: doctor.Skip},
	{check: "fence-instance", want: doctor.Fail, what: "i-0000000000000000",
		cib: `s/name="plug" value="i-0000000000000000./name="plug" value="i-0000000000000000f/`},
	{check: "fence-permissions", want: doctor.Fail, what: "InvalidInstanceID.NotFound",
		cib: `s/name="plug" value="i-0000000000000000./name="plug" value="i-0000000000000000f/`},
	{check: "quorum-policy", want: doctor.Fail, what: "ignore",
		cib: `s#\(<nvpair [^>]*name="stonith-action"\)#<nvpair id="doctor-quorum" name="no-quorum-policy" value="ignore"/>\1#`},
	{check: "promotable-clone", want: doctor.Fail, what: "notify",
		cib: `s/name="notify" value="true"/name="notify" value="false"/`},
	{check: "drbd-monitors", want: doctor.Fail, what: "only one runs",
		cib: `s/name="monitor" interval="13s"/name="monitor" interval="11s"/`},
	{check: "colocation", want: doctor.Fail, what: "fs_pg", cib: `s/ with-rsc-role="Promoted"//`},
	{check: "ordering", want: doctor.Fail, what: "fs_pg", cib: `s/first-action="promote"/first-action="start"/`},
	{check: "stickiness", want: doctor.Warn, what: "is 0",
		cib: `s/name="resource-stickiness" value="1000"/name="resource-stickiness" value="0"/`},
	{check: "stickiness", want: doctor.Warn, what: "prefers node1",
		cib: fmt.Sprintf(insertConstraint, "doctor-prefer", "g_pg", "INFINITY")},
	{check: "dns-in-group", want: doctor.Fail, what: "doctor-dns",
		cib: `s#</group>#<primitive id="doctor-dns" class="ocf" provider="heartbeat" type="aws-vpc-route53"/></group>#;` +
			// A probe of it would take half a minute.
			`s#<constraints>#<constraints><rsc_location id="doctor-dns-1" rsc="doctor-dns" node="node1" score="0" resource-discovery="never"/>` +
			`<rsc_location id="doctor-dns-2" rsc="doctor-dns" node="node2" score="0" resource-discovery="never"/>#`},
	{check: "fence-constraint", want: doctor.Fail, what: "drbd-fence-by-handler-pg",
		cib: fmt.Sprintf(insertConstraint, "drbd-fence-by-handler-pg-drbd_pg-clone", "drbd_pg-clone", "-INFINITY")},
	{check: "move-constraint", want: doctor.Warn, what: "cli-ban-g_pg",
		cib: fmt.Sprintf(insertConstraint, "cli-ban-g_pg-on-node1", "g_pg", "-INFINITY")},
	{check: "alert-hook", want: doctor.Warn, what: "no alert", cib: `s#path="` + hookFile + `"#path="/usr/bin/true"#`},
	{
		check: "promotion-score", want: doctor.Fail, what: "no promotion score",
		do:   "crm_attribute -N $(uname -n) -l reboot -n master-drbd_pg -D",
		undo: "crm_attribute -N $(uname -n) -l reboot -n master-drbd_pg -v 10000",
	},

	// In files.
	{check: "alert-hook", want: doctor.Fail, what: "mode 0700", do: "chmod 700 " + hookFile,
		undo: "chmod 755 " + hookFile},
	{check: "alert-hook", want: doctor.Fail, what: "mode 0600", do: "chmod 600 " + confFile,
		undo: "chmod 640 " + confFile},
	inFile("corosync-token", doctor.Warn, "2.2s", coroFile, "s/token: 10000/token: 1000/").
		and("crm_attribute -n stonith-enabled -v false", "crm_attribute -n stonith-enabled -v true"),
	inFile("two-node", doctor.Fail, "not set", coroFile, "/two_node: 1/d"),
	inFile("wait-for-all", doctor.Fail, "0", coroFile, "s/two_node: 1/two_node: 1\\n    wait_for_all: 0/"),
	inFile("drbd-handlers", doctor.Fail, "no fence-peer", drbdFile, "/ fence-peer /d"),
	inFile("drbd-handler-timeout", doctor.Fail, "90 s", drbdFile, "s/ --timeout [0-9]*//"),
	inFile("drbd-fencing", doctor.Fail, "dont-care", drbdFile, "/fencing resource-and-stonith;/d").andAdjust(),
	{check: "drbd-agent", want: doctor.Fail, what: "cannot be run", do: "chmod -x /usr/lib/ocf/resource.d/linbit/drbd",
		undo: "chmod +x /usr/lib/ocf/resource.d/linbit/drbd"},
	{check: "drbd-port", want: doctor.Warn, what: "7789", do: "sysctl -qw net.ipv4.ip_local_port_range='1024 60999'",
		undo: "sysctl -qw net.ipv4.ip_local_port_range='32768 60999'"},
	// drbd-utils may bring a file that keeps multipath off its devices
	{check: "multipath", want: doctor.Warn, what: "multipathd",
		do: "touch /run/multipathd.pid; for f in $(grep -ls drbd /etc/multipath.conf /etc/multipath/conf.d/*.conf); do " +
			"mv $f $f.away; done",
		undo: "rm /run/multipathd.pid; for f in $(ls /etc/multipath.conf.away /etc/multipath/conf.d/*.away 2>/dev/null); " +
			"do mv $f ${f%.away}; done"},
	unit("drbd-not-enabled", "drbd.service"),
	unit("postgres-not-enabled", "postgresql.service"),
	{check: "port-pcsd", want: doctor.Warn, what: "refuses", do: "mv /etc/systemd/system/pcsd.service /root/",
		undo: "mv /root/pcsd.service /etc/systemd/system/", after: doctor.Skip},
	{
		check: "port-postgres", want: doctor.Fail, what: "no answer",
		do: "nft 'add table ip doctor; add chain ip doctor out { type filter hook output priority 0; }; add rule ip " +
			"doctor out ip daddr { 10.0.1.10, 10.0.2.10 } oifname != \"lo\" tcp dport 5432 drop'",
		undo: "nft delete table ip doctor",
	},
	{check: "backups", want: doctor.Pass, what: "newest dump",
		do:   "mkdir -p /var/backups/postgresql && date >/var/backups/postgresql/app.dump",
		undo: "rm -r /var/backups/postgresql", after: doctor.Warn},

	// In PostgreSQL. pg_hba_file_rules shows the file as it is, loaded or not.
	inFile("hba-trust", doctor.Fail, "trusts 10.0.0.0", hbaFile, "$ a host all all 10.0.0.0/8 trust"),
	inFile("hba-trust", doctor.Fail, "line", hbaFile, "$ a host all all 10.0.0.0/8 no-such-method"),
	inSetting("password-encryption", doctor.Warn, "password_encryption", "md5"),
	inSetting("synchronous-commit", doctor.Warn, "synchronous_commit", "off"),
	inSetting("full-page-writes", doctor.Fail, "full_page_writes", "off"),
	inSetting("fsync", doctor.Fail, "fsync", "off"),
	inSQL("postgres-role", doctor.Warn, "pg_monitor", "REVOKE pg_monitor FROM pgha", "GRANT pg_monitor TO pgha"),
	inSQL("postgres-role", doctor.Fail, "default_transaction_read_only",
		"ALTER ROLE pgha SET default_transaction_read_only = on", "ALTER ROLE pgha RESET default_transaction_read_only"),

	// In AWS.
	{check: "fence-permissions", want: doctor.Fail, what: "UnauthorizedOperation", lab: func(r *scenarioRun, on bool) {
		r.aws.ec2.SetFault(map[bool]cloud.Fault{true: cloud.Denied, false: cloud.None}[on])
	}},
	{check: "route53-write", want: doctor.Fail, what: "denied", lab: deny("ChangeResourceRecordSets")},
	{check: "route53-read", want: doctor.Fail, what: "denied", lab: deny("ListResourceRecordSets")},
	{check: "zone-private", want: doctor.Unknown, what: "route53:GetHostedZone", lab: deny("GetHostedZone")},

	// In the agent's configuration.
	{check: "own-address", want: doctor.Fail, what: "10.9.9.9", conf: `1i [node]\naddress = "10.9.9.9"`},
	{check: "promotable-clone", want: doctor.Fail, what: "no clone", conf: `s/^promotable = .*/promotable = "other"/`},
	{check: "drbd-state", want: doctor.Unknown, what: "not up here", conf: `s/^resource = .*/resource = "other"/`},
	{check: "record-ttl", want: doctor.Warn, what: "5m0s", conf: `s/^ttl = .*/ttl = "5m"/`},
	{check: "peer-settings", want: doctor.Fail, what: "record.ttl", conf: `s/^ttl = .*/ttl = "5m"/`},
	{check: "resolver", want: doctor.Fail, what: "resolver", conf: `/^ttl/a resolver = "10.0.0.2:54"`},
}

func deny(op string) func(*scenarioRun, bool) {
	return func(r *scenarioRun, on bool) {
		r.aws.zone.ClearFaults()
		if on {
			r.aws.zone.Inject(route53test.Fault{Kind: route53test.Refuse, Op: op, Status: 403, Code: "AccessDenied",
				Body: "not authorized", Count: -1})
		}
	}
}

func doctorFindsFaults(ctx context.Context, r *scenarioRun) error {
	p, s, err := r.roles()
	if err != nil {
		return err
	}
	for _, n := range []*node{p, s} {
		r.noComplaint(ctx, n, "root", "")
		r.noComplaint(ctx, n, "pgha", "runuser -u pgha -- env HOME=/nonexistent ")
	}
	r.expect(len(r.aws.zone.Accepted()) == 0, "the doctor changed the zone: %v", r.aws.publications())

	// Nothing that is planted in the CIB may move anything.
	if _, err := p.run(ctx, "crm_attribute -t crm_config -n maintenance-mode -v true"); err != nil {
		return err
	}
	r.verdict(ctx, p, fault{check: "maintenance", want: doctor.Warn, what: "maintenance"}, doctor.Warn)
	if _, err := p.run(ctx, "cibadmin --query -o configuration >/root/doctor-cib.xml"); err != nil {
		return err
	}
	for _, f := range plantedFaults {
		r.plant(ctx, p, f)
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	if _, err := p.run(ctx, "crm_attribute -t crm_config -n maintenance-mode -v false"); err != nil {
		return err
	}
	if err := p.until(ctx, takeover, clusterQuiet); err != nil {
		return err
	}
	r.noComplaint(ctx, p, "root", "")
	r.expect(len(r.aws.zone.Accepted()) == 0, "the doctor changed the zone: %v", r.aws.publications())
	for _, c := range r.aws.ec2.Calls() {
		r.expect(c.Code != "" || c.Action == "DescribeInstances", "%s %v was done", c.Action, c.Instances)
	}
	r.expect(len(p.history.all()) == 1, "%s was Primary all the time: %v", p.name, p.history.all())
	return r.finish(ctx, terms{outcome: "any"})
}

// examine runs the doctor on a node. Its exit status is the verdict's, so an error of the shell is none here.
func (r *scenarioRun) examine(ctx context.Context, n *node, as, args string) ([]doctor.Result, error) {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	out, err := n.run(ctx, fmt.Sprintf("export %s; %spgha-agent doctor --json %s", aliasEC2, as, args))
	var list []doctor.Result
	if bad := json.Unmarshal([]byte(out), &list); bad != nil {
		return nil, fmt.Errorf("the doctor on %s: %w: %w", n.name, bad, err)
	}
	return list, nil
}

// noComplaint expects no fail, and warnings only where the lab deserves them. Only root may see everything. It asks
// again when something did not answer in time.
func (r *scenarioRun) noComplaint(ctx context.Context, n *node, who, as string) {
	var complaints []string
	for range 3 {
		list, err := r.examine(ctx, n, as, "")
		if err != nil {
			complaints = []string{err.Error()}
			continue
		}
		complaints = nil
		count := map[doctor.Verdict]int{}
		for _, res := range list {
			count[res.Verdict]++
			if res.Verdict == doctor.Fail || res.Verdict == doctor.Warn && !slices.Contains(labWarnings, res.Check) ||
				res.Verdict == doctor.Unknown && who == "root" {
				complaints = append(complaints, fmt.Sprintf("%s is %s: %s", res.Check, res.Verdict, res.Evidence))
			}
		}
		r.say("%s as %s: %v", n.name, who, count)
		if len(complaints) == 0 {
			return
		}
	}
	r.expect(false, "%s as %s: %s", n.name, who, strings.Join(complaints, "; "))
}

// plant makes one fault, expects its verdict, takes it away, and expects that it is gone. Whatever fails, the rest is
// tried.
func (r *scenarioRun) plant(ctx context.Context, n *node, f fault) {
	do, undo := f.do, f.undo
	if f.cib != "" {
		do = "sed '" + f.cib + "' /root/doctor-cib.xml >/root/doctor-planted.xml && ! cmp -s /root/doctor-cib.xml " +
			"/root/doctor-planted.xml && " +
			"cibadmin --replace -o configuration --xml-file /root/doctor-planted.xml"
		undo = "cibadmin --replace -o configuration --xml-file /root/doctor-cib.xml"
	}
	if f.conf != "" {
		do, undo = "sed '"+f.conf+"' "+confFile+" >/root/doctor.toml && ! cmp -s "+confFile+" /root/doctor.toml",
			"rm /root/doctor.toml"
	}
	planted := true
	if f.lab != nil {
		f.lab(r, true)
	} else {
		_, err := n.run(ctx, do)
		planted = r.expect(err == nil, "%s: plant %q: %v", f.check, f.what, err)
	}
	if planted {
		r.verdict(ctx, n, f, f.want)
	}
	if f.lab != nil {
		f.lab(r, false)
	} else if _, err := n.run(ctx, undo); planted {
		r.expect(err == nil, "%s: undo %q: %v", f.check, f.what, err)
	}
	after := f.after
	if after == "" {
		after = doctor.Pass
	}
	r.verdict(ctx, n, fault{check: f.check}, after)
}

// verdict asks until the check says what is expected: a reload of PostgreSQL takes a moment.
func (r *scenarioRun) verdict(ctx context.Context, n *node, f fault, want doctor.Verdict) {
	args := "--only " + f.check
	if f.conf != "" {
		args += " --config /root/doctor.toml"
	}
	var last string
	for range 4 {
		list, err := r.examine(ctx, n, "", args)
		if err != nil || len(list) != 1 {
			last = fmt.Sprintf("%v, %d results", err, len(list))
		} else if res := list[0]; res.Verdict == want && strings.Contains(res.Evidence+" "+res.Remedy, f.what) {
			r.say("%s: %s: %s", f.check, res.Verdict, res.Evidence)
			return
		} else {
			last = fmt.Sprintf("%s: %s (%s)", res.Verdict, res.Evidence, res.Remedy)
		}
		if wait.For(ctx, time.Second) != nil {
			return
		}
	}
	r.expect(false, "%s: want %s with %q, got %s", f.check, want, f.what, last)
}
