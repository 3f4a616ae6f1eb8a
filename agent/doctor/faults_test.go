package doctor

import (
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pgha/pgha-agent/agent/status"
	"github.com/pgha/pgha-agent/crm"
	"github.com/pgha/pgha-agent/drbd"
	"github.com/pgha/pgha-agent/pg"
	"github.com/pgha/pgha-agent/route53"
)

func refused(reason route53.Reason) error {
	return &route53.Error{Op: "read record", Reason: reason, Err: fmt.Errorf("AccessDenied: no")}
}

// planted is a fault that a check must find. cib holds pairs of old and new text of the CIB.
type planted struct {
	check string
	want  Verdict
	in    string // the evidence or the remedy names it
	cib   []string
	plant func(*Facts)
}

// faults are what each check is for.
var faults = []planted{
	{"fencing-enabled", Fail, "stonith-enabled is false",
		[]string{`name="stonith-enabled" value="true"`, `name="stonith-enabled" value="false"`}, nil},
	{"fencing-enabled", Fail, "no fence device", []string{`class="stonith"`, `class="ocf" provider="x"`}, nil},
	{"fence-device", Fail, "no device fences pg-2", []string{`pg-2:i-`, `pg-3:i-`}, nil},
	{"fence-device", Fail, "banned", []string{`rsc="fence_2" node="pg-2"`, `rsc="fence_2" node="pg-1"`}, nil},
	{"fence-device-place", Fail, "fence_2 runs on its own target pg-2", nil,
		func(f *Facts) { f.Crm.Resources[1].Node = "pg-2" }},
	{"fence-device-place", Fail, "fence_2 does not run", nil, func(f *Facts) { f.Crm.Resources[1].Failed = crm.Yes }},
	{"fence-device-place", Warn, "nothing keeps fence_1 off",
		[]string{`<rsc_location id="f1-place" rsc="fence_1" node="pg-1" score="-INFINITY"/>`, ``}, nil},
	{"fence-delay", Fail, "same delay (0s)", []string{priorityDelay, ``}, nil},
	{"fence-delay", Fail, "same delay (15s)",
		[]string{priorityDelay, ``, delayOf("1"), delayOf("1", "base", "15s"), delayOf("2"),
			delayOf("2", "base", "pg-1:0s;pg-2:15s")}, nil},
	{"fence-delay", Warn, "pg-1 is fenced 15s later than the other node",
		[]string{priorityDelay, ``, delayOf("1"), delayOf("1", "base", "15s")}, nil},
	{"fence-delay", Warn, "only chance", []string{priorityDelay, ``, delayOf("1"), delayOf("1", "max", "15s")}, nil},
	{"fence-delay", Fail, "pcs resource meta g priority=10",
		[]string{`name="priority" value="10"`, `name="priority" value="0"`}, nil},
	{"fence-delay", Warn, "less than twice", []string{delayOf("1"), delayOf("1", "max", "15s")}, nil},
	{"fence-timeout", Warn, "fence_1: Pacemaker waits 1m0s, the device 1m0s", []string{`value="120s"`, `value="60s"`},
		nil},
	{"fence-timeout", Warn, "pcs property set stonith-timeout=300s",
		[]string{delayOf("1"), param("1", "power_timeout", "240")}, nil},
	{"fence-timeout", Warn, "pcs stonith update fence_1 pcmk_reboot_timeout=300s", []string{
		delayOf("1"), param("1", "power_timeout", "240") + param("1", "pcmk_reboot_timeout", "120s"),
		`name="stonith-timeout" value="120s"`, `name="stonith-timeout" value="300s"`,
	}, nil},
	{"fence-timeout", Warn, "pcs stonith update fence_1 pcmk_reboot_timeout=120s; pcs property set stonith-timeout=120s",
		[]string{
			delayOf("1"), param("1", "pcmk_reboot_timeout", "10s"), `name="stonith-timeout" value="120s"`,
			`name="stonith-timeout" value="30s"`,
		}, nil},
	{"fence-attempts", Warn, "10", []string{`<nvpair id="opt-attempts" name="stonith-max-attempts" value="1000"/>`, ``},
		nil},
	{"quorum-policy", Fail, "ignore", []string{`<nvpair id="opt-stonith"`,
		`<nvpair id="x" name="no-quorum-policy" value="ignore"/><nvpair id="opt-stonith"`}, nil},
	{"maintenance", Warn, "pg-2 is in standby", nil, func(f *Facts) { f.Crm.Nodes[1].Standby = crm.Yes }},
	{"maintenance", Unknown, "does not say", nil, func(f *Facts) { f.Crm.MaintenanceMode = crm.Unknown }},
	{"promotable-clone", Fail, "no clone", nil, func(f *Facts) { f.Options.Clone = "other" }},
	{"promotable-clone", Fail, "not promotable",
		[]string{`name="promotable" value="true"`, `name="promotable" value="false"`}, nil},
	{"promotable-clone", Fail, "notify", []string{`name="notify" value="true"`, `name="notify" value="false"`}, nil},
	{"promotable-clone", Fail, "promoted-max is 2",
		[]string{`name="promoted-max" value="1"`, `name="promoted-max" value="2"`}, nil},
	{"promotable-clone", Fail, `"r1"`, []string{`name="drbd_resource" value="r0"`, `name="drbd_resource" value="r1"`},
		nil},
	{"drbd-monitors", Fail, "promoted", []string{` role="Promoted" timeout`, ` timeout`}, nil},
	{"drbd-monitors", Fail, "only one runs", []string{`interval="13s"`, `interval="11"`}, nil},
	{"colocation", Fail, "fs, pgsql", []string{` with-rsc-role="Promoted"`, ``}, nil},
	{"colocation", Fail, "pgsql", []string{`rsc="g" with-rsc`, `rsc="fs" with-rsc`}, nil},
	{"colocation", Unknown, "resource sets",
		[]string{`rsc="g" with-rsc="drbd-clone" with-rsc-role="Promoted" score="INFINITY"/>`,
			`score="INFINITY"><resource_set id="s"/></rsc_colocation>`}, nil},
	{"ordering", Fail, "fs, pgsql", []string{`first-action="promote"`, `first-action="start"`}, nil},
	{"ordering", Fail, "then start {group}", []string{`then-action="start"/>`, `then-action="start" kind="Optional"/>`},
		nil},
	{"stickiness", Warn, "is 0", []string{`name="resource-stickiness" value="1000"`, `name="other" value="1000"`}, nil},
	{"stickiness", Warn, "prefers pg-2", []string{`<rsc_location id="f1-place"`,
		`<rsc_location id="p" rsc="drbd-clone" role="Promoted" node="pg-2" score="INFINITY"/><rsc_location id="f1-place"`},
		nil},
	{"dns-in-group", Fail, "dns (ocf:heartbeat:aws-vpc-route53)",
		[]string{`</group>`, `<primitive id="dns" class="ocf" provider="heartbeat" type="aws-vpc-route53"/></group>`}, nil},
	{"dns-in-group", Fail, "depends on dns", []string{
		`<group id="g">`, `<primitive id="dns" class="ocf" provider="x" type="route53-private"/><group id="g">`,
		`<constraints>`, `<constraints><rsc_order id="o" first="dns" then="g"/>`,
	}, nil},
	{"promotion-score", Fail, "no promotion score", nil, func(f *Facts) { f.Crm.Attributes = f.Crm.Attributes[1:] }},
	{"fence-constraint", Fail, "drbd-fence-by-handler-r0", []string{`<constraints>`, fenceBan}, nil},
	{"fence-constraint", Warn, "as it should be", []string{`<constraints>`, fenceBan},
		func(f *Facts) { f.State.Connections[0].PeerDevices[0].PeerDisk = "Outdated" }},
	{"move-constraint", Warn, "cli-ban-g-on-pg-1",
		[]string{`<constraints>`,
			`<constraints><rsc_location id="cli-ban-g-on-pg-1" rsc="g" node="pg-1" score="-INFINITY"/>`}, nil},
	{"alert-hook", Warn, "no alert", []string{`/usr/bin/pgha-alert`, `/usr/bin/mail`}, nil},
	{"alert-hook", Fail, "chmod 755 /usr/bin/pgha-alert", nil,
		func(f *Facts) { f.Host.Programs["/usr/bin/pgha-alert"] = "mode 0700" }},
	{"alert-hook", Fail, "chgrp haclient", nil, func(f *Facts) { f.Host.ConfigFile = "mode 0600" }},
	{"alert-hook", Warn, "select_resources",
		[]string{`path="/usr/bin/pgha-alert"/>`,
			`path="/usr/bin/pgha-alert"><select><select_nodes/><select_fencing/></select></alert>`}, nil},
	{"alert-hook", Warn, "disabled", []string{`path="/usr/bin/pgha-alert"/>`,
		`path="/usr/bin/pgha-alert"><meta_attributes id="m"><nvpair id="e" name="enabled" value="false"/></meta_attributes></alert>`}, nil},
	{"alert-hook", Warn, "writes nothing for 30s after its first look, and it ends after 25s", noFencing, nil},
	{"alert-hook", Warn, "pcs alert update pgha-agent options pgha_timeout=60s meta timeout=60s", noFencing, nil},
	{"alert-hook", Warn, "pgha_timeout=87s meta timeout=87s", append(hookOf("60s", "60s"), noFencing...),
		tokenOf(30 * time.Second)},
	{"alert-hook", Fail, "goes by a timeout of 1m0s, and Pacemaker kills it after 30s", hookOf("60s", ""), nil},
	{"alert-hook", Fail, "goes by a timeout of 30s, and Pacemaker kills it after 10s", hookOf("", "10s"), nil},
	{"alert-hook", Fail, `"1min", not a number of seconds`, hookOf("1min", "60s"), nil},
	{"alert-hook", Unknown, `"soon"`, hookOf("", "soon"), nil},
	{"two-node", Fail, "not set", nil, func(f *Facts) { f.Corosync.TwoNode = false }},
	{"wait-for-all", Fail, "0", nil, func(f *Facts) { f.Corosync.WaitForAll = false }},
	{"corosync-token", Fail,
		"together 33s, and the agent holds back for 30s only: the agent cannot read Corosync's file: mode 0600", noFencing,
		func(f *Facts) {
			tokenOf(15 * time.Second)(f)
			f.Host.CorosyncFile = "mode 0600"
		}},
	{"corosync-token", Fail, "chmod 644 /etc/corosync/corosync.conf && systemctl reload", noFencing, func(f *Facts) {
		tokenOf(30 * time.Second)(f)
		f.Host = nil
	}},
	{"corosync-token", Fail, "together 1.1s, and the agent notices a stall only from 1.25s on", noFencing,
		tokenOf(500 * time.Millisecond)},
	{"corosync-token", Fail, "together 1.98s, and the agent notices a stall only from 2.2s on", noFencing, func(f *Facts) {
		tokenOf(900 * time.Millisecond)(f)
		f.Host.CorosyncFile = "mode 0600"
	}},
	{"corosync-token", Warn, "together 2.2s. Each pause of the agent of 1.2s counts", noFencing, tokenOf(time.Second)},
	{"corosync-token", Warn, "totem { token: 10000 }", noFencing, tokenOf(time.Second)},
	{"corosync-token", Warn, "1 s; Corosync's file gives no token. Each pause of the agent of 1.2s", noFencing,
		func(f *Facts) { f.Corosync.TokenGiven = false }},
	{"corosync-token", Warn, "chmod 644", noFencing, func(f *Facts) { f.Host.CorosyncFile = "mode 0600" }},
	{"drbd-state", Fail, "StandAlone", nil, func(f *Facts) { f.State.Connections[0].Connection = "StandAlone" }},
	{"drbd-state", Fail, "Diskless", nil, func(f *Facts) { f.State.Devices[0].Disk = "Diskless" }},
	{"drbd-state", Fail, "Primary", nil, func(f *Facts) { f.State.Connections = nil }},
	{"drbd-protocol", Fail, "A", nil, func(f *Facts) { f.Show.Protocol = "A" }},
	{"drbd-two-primaries", Fail, "on", nil, func(f *Facts) { f.Show.TwoPrimaries = true }},
	{"drbd-fencing", Fail, "resource-only", nil, func(f *Facts) { f.Show.Fencing = "resource-only" }},
	{"drbd-handlers", Fail, "no fence-peer", nil, func(f *Facts) { delete(f.Dump.Handlers, "fence-peer") }},
	{"drbd-handlers", Fail, "no unfence-peer", nil, func(f *Facts) { delete(f.Dump.Handlers, "unfence-peer") }},
	{"drbd-handlers", Fail, "does not exist", nil,
		func(f *Facts) { f.Host.Programs["/usr/lib/drbd/crm-fence-peer.9.sh"] = "it does not exist" }},
	{"drbd-handler-timeout", Fail, "must win the fence race", []string{priorityDelay, ``}, nil},
	{"drbd-handler-timeout", Fail, "90 s", nil,
		func(f *Facts) { f.Dump.Handlers["fence-peer"] = "/usr/lib/drbd/crm-fence-peer.9.sh" }},
	{"drbd-handler-timeout", Fail, "60 s", nil,
		func(f *Facts) { f.Dump.Handlers["fence-peer"] = "/usr/lib/drbd/crm-fence-peer.9.sh --timeout=60" }},
	{"drbd-handler-timeout", Warn, "2.1.7", []string{`"3.0.0-3.0.0"`, `"2.1.6-9.el9"`},
		func(f *Facts) { f.Dump.Handlers["fence-peer"] = "crm-fence-peer.sh" }},
	{"drbd-handler-timeout", Unknown, "dc-version", []string{`name="dc-version"`, `name="other"`}, nil},
	{"drbd-agent", Fail, "missing", nil, func(f *Facts) { f.Host.DrbdAgent = false }},
	{"drbd-version", Fail, "not loaded", nil, func(f *Facts) { f.Versions.Module = "" }},
	{"drbd-version", Fail, "8.9.5", nil, func(f *Facts) { f.Versions.Utils = "8.9.5" }},
	{"drbd-version", Warn, "9.5.0", nil, func(f *Facts) { f.Versions.Utils = "9.5.0" }},
	{"drbd-port", Warn, "ip_local_reserved_ports=40000", nil,
		func(f *Facts) { f.Show.Addresses[0] = netip.MustParseAddrPort("10.0.1.10:40000") }},
	{"drbd-not-enabled", Fail, "systemctl disable drbd.service", nil,
		func(f *Facts) { f.Host.Enabled = []string{"drbd.service"} }},
	{"multipath", Warn, "multipathd", nil, func(f *Facts) { f.Host.Multipath = "running" }},
	{"postgres-not-enabled", Fail, "systemctl disable postgresql@17-main.service", nil,
		func(f *Facts) { f.Host.Enabled = []string{"postgresql@17-main.service"} }},
	{"data-on-drbd", Fail, "/var/lib/postgresql", nil,
		func(f *Facts) { f.Postgres.Settings["data_directory"] = "/var/lib/postgresql/17/main" }},
	{"data-on-drbd", Fail, "/srv/pg2", []string{`/srv/pg/data`, `/srv/pg2/data`}, func(f *Facts) { f.Postgres = nil }},
	{"data-on-drbd", Fail, "/dev/nvme0n1p1", nil, func(f *Facts) { delete(f.Host.Mounts, "/srv/pg") }},
	{"listen-addresses", Fail, "localhost", nil,
		func(f *Facts) { f.Postgres.Settings["listen_addresses"] = "localhost, 127.0.0.1" }},
	{"listen-addresses", Warn, "10.0.1.10", nil,
		func(f *Facts) { f.Postgres.Settings["listen_addresses"] = "localhost,10.0.1.10" }},
	{"hba-trust", Fail, "line 2 trusts 10.0.0.0 255.0.0.0", nil, func(f *Facts) { f.HBA[1].Method = "trust" }},
	{"hba-trust", Fail, "line 3 trusts 127.0.0.1 0.0.0.0", nil, func(f *Facts) { f.HBA[2].Netmask = "0.0.0.0" }},
	{"hba-trust", Fail, "invalid", nil, func(f *Facts) { f.HBA[1].Error = "invalid authentication method" }},
	{"password-encryption", Warn, "md5", nil, func(f *Facts) { f.Postgres.Settings["password_encryption"] = "md5" }},
	{"fsync", Fail, "off", nil, func(f *Facts) { f.Postgres.Settings["fsync"] = "off" }},
	{"full-page-writes", Fail, "off", nil, func(f *Facts) { f.Postgres.Settings["full_page_writes"] = "off" }},
	{"full-page-writes", Unknown, "not visible", nil, func(f *Facts) { delete(f.Postgres.Settings, "full_page_writes") }},
	{"synchronous-commit", Warn, "off", nil, func(f *Facts) { f.Postgres.Settings["synchronous_commit"] = "off" }},
	{"postgres-role", Fail, "ALTER ROLE pgha RESET", nil,
		func(f *Facts) { f.Postgres.ReadOnlyFor = []string{"reporting", "pgha"} }},
	{"postgres-role", Fail, "no role pgha", nil, func(f *Facts) { f.Postgres.RoleExists = false }},
	{"postgres-role", Warn, "pg_monitor", nil, func(f *Facts) { f.Postgres.RoleMonitors = false }},
	{"backups", Warn, "no archived WAL", nil, func(f *Facts) { f.Postgres.ArchiveTool = "" }},
	{"backups", Fail, "fails", nil, func(f *Facts) { f.Postgres.LastFailed = 2e9 + 1 }},
	{"backups", Warn, "48h", nil, func(f *Facts) { f.Postgres.ArchiveTool, f.Host.DumpAge = "", 48*time.Hour }},
	{"corosync-membership", Fail, "pg-2", nil, func(f *Facts) { f.Crm.Nodes[1].Online = crm.No }},
	{"port-drbd", Fail, "no answer", nil, func(f *Facts) { f.Ports.Drbd = reachSilent }},
	{"port-drbd", Warn, "on pg-2: drbdadm status r0", nil, func(f *Facts) { f.Ports.Drbd = reachRefused }},
	{"port-postgres", Fail, "no answer", nil, func(f *Facts) { f.Ports.Postgres = reachSilent }},
	{"port-postgres", Fail, "something listens", nil, func(f *Facts) { f.Ports.Postgres = reachOpen }},
	{"port-postgres", Fail, "refuses although", nil, func(f *Facts) { f.Options.Node = "pg-2" }},
	{"port-pcsd", Fail, "no answer", nil, func(f *Facts) { f.Ports.Pcsd = reachSilent }},
	{"port-pcsd", Warn, "does not run", nil, func(f *Facts) { f.Ports.Pcsd = reachRefused }},
	{"imds-v2", Warn, "i-00000000000000001", nil, func(f *Facts) { f.Instance.V1 = true }},
	{"own-address", Fail, "10.9.9.9", nil, func(f *Facts) { f.Options.Address = "10.9.9.9" }},
	{"fence-instance", Fail, "i-0000000000000000f", nil, func(f *Facts) { f.Instance.ID = "i-0000000000000000f" }},
	{"fence-permissions", Fail, "UnauthorizedOperation", nil,
		func(f *Facts) { f.Power[0].Code = "UnauthorizedOperation" }},
	{"fence-permissions", Unknown, "RequestLimitExceeded", nil,
		func(f *Facts) { f.Power[0].Code = "RequestLimitExceeded" }},
	{"route53-read", Fail, "denied", nil, func(f *Facts) { f.Record.Err = refused(route53.ReasonDenied) }},
	{"route53-read", Unknown, "throttled", nil, func(f *Facts) { f.Record.Err = refused(route53.ReasonThrottled) }},
	{"route53-write", Fail, "denied", nil, func(f *Facts) { f.TryWrite = refused(route53.ReasonDenied) }},
	{"route53-write", Fail, "docs/design.md", nil, func(f *Facts) {
		f.TryWrite = &route53.Error{Op: "try to write", Reason: route53.ReasonOther, Err: route53.ErrAccepted}
	}},
	{"route53-read", Fail, "HTTPS_PROXY", nil, func(f *Facts) {
		f.Record.Err = &route53.Error{Op: "read record", Reason: route53.ReasonDenied, Sent: true, Foreign: true,
			Err: errors.New("status 407")}
	}},
	{"route53-write", Fail, "HTTPS_PROXY", nil, func(f *Facts) {
		f.TryWrite = &route53.Error{Op: "try to write", Reason: route53.ReasonDenied, Sent: true, Foreign: true,
			Err: errors.New("status 403")}
	}},
	{"route53-write", Unknown, "words", nil, func(f *Facts) { f.TryWrite = refused(route53.ReasonInvalid) }},
	{"route53-write", Unknown, "other", nil, func(f *Facts) { f.TryWrite = refused(route53.ReasonOther) }},
	{"zone-private", Warn, "public", nil, func(f *Facts) { f.Zone.Private = false }},
	{"zone-private", Fail, "VPCId=vpc-1", nil, func(f *Facts) { f.Zone.VPCs = []string{"vpc-2"} }},
	{"zone-private", Fail, "not in zone", nil, func(f *Facts) { f.Zone.Name = "a.internal" }},
	{"record-simple", Fail, "refused_record", nil, func(f *Facts) { f.Record.Err = refused(route53.ReasonRefusedRecord) }},
	{"record-ttl", Warn, "5m0s", nil, func(f *Facts) { f.Record.Record.TTL = 5 * time.Minute }},
	{"resolver", Warn, "10.0.2.10", nil, func(f *Facts) { f.Resolved[0] = netip.MustParseAddr("10.0.2.10") }},
	{"resolver", Fail, "2 addresses", nil, func(f *Facts) {
		f.Resolved = append(f.Resolved,
			netip.MustParseAddr("10.0.2.10"))
	}},
	{"clock", Warn, "not synchronized", nil, func(f *Facts) { f.Clock.Synchronized = false }},

	// What the shared judgment knows.
	{"failover", Fail, "crm_resource --clear --resource drbd-clone --node pg-2", nil, func(f *Facts) {
		f.Crm.Bans = []crm.Ban{{ID: "cli-ban-drbd-clone-on-pg-2", Resource: "drbd-clone", Node: "pg-2", Weight: -crm.Infinity}}
	}},
	{"failover", Fail, "8 KiB differ between the disks of pg-1 and pg-2", nil, outOfSync},
	{"failover", Fail, "crm_standby --node pg-2", nil, func(f *Facts) { f.Crm.Nodes[1].Standby = crm.Yes }},
	{"failover", Fail, "in standby; resource fs has a fail count", nil, func(f *Facts) {
		f.Crm.Nodes[1].Standby = crm.Yes
		f.Crm.FailCounts = []crm.FailCount{{Node: "pg-2", Resource: "fs", Count: 1}}
	}},
	{"failover", Fail, "--only peer-settings", nil, func(f *Facts) { f.Peers[0].Doc.Config.Record = "dbx.pgha.internal" }},
	{"failover", Fail, "--only clients", nil, func(f *Facts) {
		f.Crm.Resources[2].Role, f.State.Role = crm.RoleUnpromoted, drbd.RoleSecondary
	}},
	{"failover", Warn, "fail count of 1", nil, func(f *Facts) {
		f.Crm.FailCounts = []crm.FailCount{{Node: "pg-2", Resource: "fs", Count: 1, Threshold: 3}}
	}},
	{"failover", Unknown, "the agent of pg-2 was not reached (connection refused)", nil, peerAway},
	{"failover", Unknown, "the state of DRBD between pg-1 and pg-2 is not known", nil,
		func(f *Facts) { f.State, f.Peers[0].Doc.Drbd = nil, nil }},
	{"failover", Unknown, "systemctl restart pgha-agent", nil, func(f *Facts) {
		asStandby(f)
		daemonAway(f)
	}},
	{"failover", Fail, "DRBD on pg-2 is not connected to pg-1 (StandAlone)", nil, func(f *Facts) {
		asStandby(f)
		f.Peers[0] = status.Peer{Node: "pg-1", Err: "connection refused"}
		f.State.Connections[0].Connection = drbd.ConnStandAlone
	}},
	{"clients", Fail, "CLIENTS ARE CUT OFF: nobody can write through db.pgha.internal", nil, func(f *Facts) {
		for _, d := range []*status.Doc{f.Daemon, f.Peers[0].Doc} {
			d.Client = &status.ClientDoc{Asked: true, State: pg.StateRefused, Error: "connection refused"}
			d.Postgres = status.PostgresDoc{State: pg.StateRefused, Error: "connection refused"}
		}
	}},
	{"clients", Fail, "from pg-2, and not from pg-1", nil, func(f *Facts) {
		f.Daemon.Client = &status.ClientDoc{Asked: true, State: pg.StateTimeout, Error: "no answer in time"}
	}},
	{"clients", Fail, "no node is promoted: node pg-1 is in standby", nil, func(f *Facts) {
		f.Crm.Resources[2].Role, f.State.Role = crm.RoleUnpromoted, drbd.RoleSecondary
		f.Crm.Nodes[0].Standby = crm.Yes
		f.Daemon.Client, f.Peers[0].Doc.Client = nil, nil
	}},
	{"clients", Fail, "--only filesystem-space", nil, func(f *Facts) {
		f.Daemon.Mounts = []status.MountDoc{{Point: "/srv/pg", OnDrbd: true, Size: 100 << 30, Free: 1 << 20}}
	}},
	{"clients", Warn, "pgha-agent switchover", nil, func(f *Facts) { f.State.Devices[0].Disk = drbd.DiskDiskless }},
	{"clients", Unknown, "--only postgres-role", nil, func(f *Facts) {
		for _, d := range []*status.Doc{f.Daemon, f.Peers[0].Doc} {
			d.Client = &status.ClientDoc{Asked: true, State: pg.StateAuth, Error: "no pg_hba.conf entry"}
		}
		f.Daemon.Postgres = status.PostgresDoc{State: pg.StateAuth}
	}},
	{"clients", Unknown, "the daemon does not answer", nil, func(f *Facts) {
		daemonAway(f)
		peerAway(f)
	}},
	{"peer-settings", Fail, `the setting record.name is "db.pgha.internal" on pg-1 and "dbx.pgha.internal" on pg-2`, nil,
		func(f *Facts) { f.Peers[0].Doc.Config.Record = "dbx.pgha.internal" }},
	{"peer-settings", Fail, "both take 10.9.9.9 for their own address", nil, func(f *Facts) {
		f.Options.Address, f.Peers[0].Doc.Record.OwnAddr = "10.9.9.9", "10.9.9.9"
	}},
	{"peer-settings", Fail, "record.repair", nil, func(f *Facts) { f.Peers[0].Doc.Config.Repair = false }},
	{"peer-settings", Unknown, "the agent of pg-2 was not reached: connection refused", nil, peerAway},
	{"peer-settings", Unknown, "grep -v '^ *#' /etc/pgha-agent/config.toml", nil, peerAway},
	{"peer-settings", Unknown, "does not tell its settings", nil, func(f *Facts) { f.Peers[0].Doc.Config = nil }},
	{"peer-settings", Warn, "version 0.1.0 on pg-1 and 0.2.0 on pg-2", nil,
		func(f *Facts) { f.Peers[0].Doc.Version = "0.2.0" }},
	{"peer-settings", Warn, "version 0.1.0, and 0.2.0 is installed", nil, func(f *Facts) { f.Options.Version = "0.2.0" }},
	{"peer-settings", Warn, "other settings than its file", nil, func(f *Facts) { f.Daemon.Config.TTL = "30s" }},
	{"filesystem-space", Fail, "/srv/pg is full on pg-1 (1 MiB left)", nil,
		func(f *Facts) { f.Space.Mounts[0].Free = 1 << 20 }},
	{"filesystem-space", Fail, "no inode left", nil, func(f *Facts) { f.Space.Mounts[0].Inodes = new(uint64(0)) }},
	{"filesystem-space", Warn, "4 % left", nil, func(f *Facts) { f.Space.Mounts[0].Free = 4 << 30 }},
	{"filesystem-space", Unknown, "/srv/pg: statfs", nil, func(f *Facts) {
		f.Space.Mounts[0] = status.MountDoc{Point: "/srv/pg", Error: "statfs: permission denied"}
	}},
	{"filesystem-space", Unknown, "where pg_wal leads", nil, func(f *Facts) { f.Space.WAL = "where pg_wal leads" }},
	{"filesystem-space", Fail, "where pg_wal leads", nil, func(f *Facts) {
		f.Space.Mounts[0].Free, f.Space.WAL = 0, "where pg_wal leads"
	}},
	{"filesystem-space", Unknown, "no filesystem", nil, func(f *Facts) { f.Space.Mounts = nil }},
	{"postgres-role", Fail, "local all pgha peer", nil, func(f *Facts) { f.Login.Rejected = "no pg_hba.conf entry" }},
	{"postgres-role", Fail, "CONNECTION LIMIT -1", nil, func(f *Facts) {
		f.Login.Rejected = `FATAL: too many connections for role "pgha" (SQLSTATE 53300)`
	}},
	{"postgres-role", Fail, "there is no role pgha", nil, func(f *Facts) {
		f.Login.Rejected, f.Postgres.RoleExists = "role does not exist", false
	}},
	{"postgres-role", Unknown, "what it may do is not known", nil, func(f *Facts) { f.Postgres = nil }},
	{"drbd-state", Fail, "8 KiB are out of sync", nil, outOfSync},
	{"drbd-state", Fail, "Consistent", nil,
		func(f *Facts) { f.State.Connections[0].PeerDevices[0].PeerDisk = drbd.DiskConsistent }},
	{"drbd-state", Warn, "40.0 % done", nil, func(f *Facts) {
		v := &f.State.Connections[0].PeerDevices[0]
		v.PeerDisk, v.Replication, v.Done, v.OutOfSyncBytes = drbd.DiskInconsistent, "SyncSource", new(40.0), new(uint64(8192))
	}},
	{"move-constraint", Warn, "--only failover", []string{`<constraints>`,
		`<constraints><rsc_location id="cli-ban-g-on-pg-2" rsc="g" node="pg-2" score="-INFINITY"/>`}, func(f *Facts) {
		f.Crm.Bans = []crm.Ban{{ID: "cli-ban-g-on-pg-2", Resource: "g", Node: "pg-2", Weight: -crm.Infinity}}
	}},
	{"move-constraint", Warn, "crm_resource --clear --resource g", []string{`<constraints>`,
		`<constraints><rsc_location id="cli-prefer-g" rsc="g" node="pg-2" score="INFINITY"/>`}, nil},
	{"fence-constraint", Fail, "--only failover", []string{`<constraints>`, fenceBan}, func(f *Facts) {
		f.Crm.Bans = []crm.Ban{{ID: "drbd-fence-by-handler-r0-drbd-clone", Resource: "drbd-clone", Node: "pg-2",
			Weight: -crm.Infinity, PromotedOnly: crm.Yes}}
	}},
	{"maintenance", Warn, "--only failover", nil, func(f *Facts) { f.Crm.Nodes[1].Standby = crm.Yes }},
	{"maintenance", Warn, "pcs node unstandby --all", nil, func(f *Facts) { f.Crm.Nodes[0].Standby = crm.Yes }},
	{"fence-device-place", Fail, "--only failover", nil, func(f *Facts) {
		f.Crm.Resources[1].Node, f.Crm.Resources[1].Role = "", crm.RoleStopped
	}},
	{"fence-device-place", Fail, "crm_resource --cleanup --resource fence_2", nil, func(f *Facts) {
		f.Crm.Resources = slices.Delete(f.Crm.Resources, 1, 2)
	}},
	{"corosync-membership", Fail, "--only failover", nil, func(f *Facts) { f.Crm.Nodes[1].Online = crm.No }},
	{"corosync-membership", Fail, "UDP 5404", nil, func(f *Facts) { f.Crm.Nodes[1].Online = crm.No }},
	{"drbd-state", Fail, "--only clients", nil, func(f *Facts) { f.State.Devices[0].Disk = drbd.DiskDiskless }},
	{"drbd-state", Fail, "--only failover", nil, outOfSync},
	{"promotion-score", Fail, "attrd_updater --refresh", nil, func(f *Facts) { f.Crm.Attributes = f.Crm.Attributes[1:] }},
	{"promotion-score", Fail, "--only failover", nil, func(f *Facts) {
		asStandby(f)
		f.Crm.Attributes = f.Crm.Attributes[:1]
	}},
}

func outOfSync(f *Facts) { f.State.Connections[0].PeerDevices[0].OutOfSyncBytes = new(uint64(8192)) }

func peerAway(f *Facts) { f.Peers[0] = status.Peer{Node: f.Peers[0].Node, Err: "connection refused"} }

func daemonAway(f *Facts) {
	f.Daemon = nil
	f.absent[fromDaemon] = unknown("the daemon does not answer").remedy("systemctl restart pgha-agent")
}

// asStandby makes the facts those of the other node.
func asStandby(f *Facts) {
	a, b := f.Daemon, f.Peers[0].Doc
	a.Drbd = f.State
	f.Options.Node, f.Daemon, f.State, f.Peers[0] = "pg-2", b, b.Drbd, status.Peer{Node: "pg-1", Doc: a}
	b.Drbd = nil
}

// noFencing disables it in the CIB.
var noFencing = []string{`name="stonith-enabled" value="true"`, `name="stonith-enabled" value="false"`}

// tokenOf gives Corosync a token, and the consensus timeout that follows.
func tokenOf(token time.Duration) func(*Facts) {
	return func(f *Facts) {
		f.Corosync.Token = token
		f.Corosync.Consensus = f.Corosync.Token + f.Corosync.Token/5
	}
}

// hookOf registers the alert with an option for the hook and a timeout for Pacemaker, each unless "".
func hookOf(option, timeout string) []string {
	alert := `path="/usr/bin/pgha-alert">`
	if option != "" {
		alert += `<instance_attributes id="o"><nvpair id="on" name="pgha_timeout" value="` + option +
			`"/></instance_attributes>`
	}
	if timeout != "" {
		alert += `<meta_attributes id="m"><nvpair id="mn" name="timeout" value="` + timeout + `"/></meta_attributes>`
	}
	return []string{`path="/usr/bin/pgha-alert"/>`, alert + `</alert>`}
}

const priorityDelay = `<nvpair id="opt-priority" name="priority-fencing-delay" value="10s"/>`

// delayOf is a line of the CIB's fence devices, with a delay of its own when kind and value follow.
func delayOf(n string, kind ...string) string {
	line := `<nvpair id="f` + n + `-r" name="region" value="eu-central-1"/>`
	if len(kind) > 0 {
		line += `<nvpair id="f` + n + `-d" name="pcmk_delay_` + kind[0] + `" value="` + kind[1] + `"/>`
	}
	return line
}

// param is a parameter of a fence device of the CIB, beside those it has.
func param(n, name, value string) string {
	return delayOf(n) + `<nvpair id="f` + n + `-` + name + `" name="` + name + `" value="` + value + `"/>`
}

const fenceBan = `<constraints><rsc_location id="drbd-fence-by-handler-r0-drbd-clone" rsc="drbd-clone">` +
	`<rule id="r" role="Promoted" score="-INFINITY"><expression id="e" attribute="#uname" operation="ne" value="pg-1"/></rule></rsc_location>`

func TestEachFaultIsFound(t *testing.T) {
	for _, x := range faults {
		t.Run(x.check+"/"+x.in, func(t *testing.T) {
			f := healthy(t, x.cib...)
			if x.plant != nil {
				x.plant(f)
			}
			r := judge(t, f, x.check)
			in := strings.ReplaceAll(x.in, "{group}", "g")
			if r.Verdict != x.want || !strings.Contains(r.Evidence+" "+r.Remedy, in) {
				t.Errorf("%s: %q, remedy %q; want %s with %q", r.Verdict, r.Evidence, r.Remedy, x.want, in)
			}
			if r.Verdict != Unknown && r.Remedy == "" || regexp.MustCompile(`\{[a-z]+\}`).MatchString(r.Remedy) {
				t.Errorf("remedy %q", r.Remedy)
			}
		})
	}
	for _, c := range All() {
		if !slices.ContainsFunc(faults, func(x planted) bool { return x.check == c.Name && x.want != Unknown }) {
			t.Errorf("%s has no fault that it must find", c.Name)
		}
	}
}

// unrelated adds a failed resource, a third node in standby, and a third DRBD node that only votes and is away.
func unrelated(f *Facts) {
	f.Crm.Nodes = append(f.Crm.Nodes, crm.Node{Name: "pg-3", Online: crm.Yes, Unclean: crm.No, Standby: crm.Yes})
	f.Crm.Resources = append(f.Crm.Resources, crm.Resource{ID: "web", Agent: "systemd:nginx", Node: "pg-2",
		Managed: crm.No, Failed: crm.Yes, Blocked: crm.Yes})
	f.Crm.FailCounts = []crm.FailCount{{Node: "pg-2", Resource: "web", Count: crm.Infinity, Threshold: 1}}
	f.Crm.Bans = []crm.Ban{{ID: "cli-ban-web-on-pg-2", Resource: "web", Node: "pg-2", Weight: -crm.Infinity}}
	f.State.Connections = append(f.State.Connections, drbd.DumpConnection{Name: "vote.pgha.internal", Connection: "Connecting",
		PeerDevices: []drbd.DumpPeerDevice{{PeerDisk: "DUnknown", Replication: "Off"}}})
}

// TestNoViewIsWanted: whoever turned the client's view off is told that nobody looks, and not that all is well.
func TestNoViewIsWanted(t *testing.T) {
	f := healthy(t)
	f.Options.Client, f.Daemon.Client, f.Peers[0].Doc.Client = false, nil, nil
	if r := judge(t, f, "clients"); r.Verdict != Skip || !strings.Contains(r.Evidence, "postgres.client") {
		t.Errorf("%+v", r)
	}
}

// TestOtherHealthyShapes are clusters that are right in another way.
func TestOtherHealthyShapes(t *testing.T) {
	for _, x := range []struct {
		check string
		cib   []string
		plant func(*Facts)
	}{
		{"fence-delay", []string{`name="priority" value="10"`, `name="other" value="10"`, `<nvpair id="dc-n"`,
			`<nvpair id="y" name="priority" value="1"/><nvpair id="dc-n"`}, nil},
		{"drbd-handler-timeout", nil, func(f *Facts) {
			f.Versions.Utils, f.Dump.Handlers["fence-peer"] = "9.28.0", "/usr/lib/drbd/crm-fence-peer.9.sh"
		}},
		{"fence-device-place", []string{`pg-1:i-00000000000000001`, `pg-1:i-00000000000000001;pg-2:i-00000000000000002`,
			`<rsc_location id="f1-place" rsc="fence_1" node="pg-1" score="-INFINITY"/>`, ``}, nil},
		{"colocation", []string{`rsc="g" with-rsc="drbd-clone"`, `rsc="g" with-rsc="drbd"`}, nil},
		{"colocation", []string{`<rsc_order`, `<rsc_colocation id="two" rsc="x" with-rsc="g" score="INFINITY"/><rsc_order`},
			nil},
		{"ordering", []string{`then="g" then-action="start"/>`,
			`then="fs" then-action="start"/><rsc_order id="two" first="fs" then="pgsql"/>`}, nil},
		{"promotable-clone", []string{`<clone id="drbd-clone">`, `<master id="drbd-clone">`, `</clone>`, `</master>`,
			`name="promotable" value="true"`, `name="master-max" value="1"`}, nil},
		{"dns-in-group", []string{`</group>`, `<primitive id="dns" class="ocf" provider="pgha" type="route53"/></group>`},
			nil},
		{"drbd-handlers", nil, func(f *Facts) {
			f.Dump.Handlers = map[string]string{"fence-peer": "/usr/lib/drbd/crm-fence-peer.sh --timeout 5",
				"after-resync-target": "/usr/lib/drbd/crm-unfence-peer.sh"}
		}},
		{"drbd-port", nil, func(f *Facts) {
			f.Show.Addresses[0], f.Host.Reserved = netip.MustParseAddrPort("10.0.1.10:40000"), "1,39999-40001"
		}},
		{"port-postgres", nil, func(f *Facts) { f.Options.Node, f.Ports.Postgres = "pg-2", reachOpen }},
		{"two-node", nil, func(f *Facts) { f.Corosync.TwoNode, f.Corosync.Device = false, true }},
		{"alert-hook", append(hookOf("60s", "60s"), noFencing...), nil},
		{"alert-hook", append(hookOf("45", "1min"), noFencing...), nil},
		{"alert-hook", append(hookOf("90s", "90s"), noFencing...), tokenOf(30 * time.Second)},
		// With fencing no token is wrong for the record, and without it the hold follows a file that the agent can read.
		{"corosync-token", nil, tokenOf(time.Second)},
		{"corosync-token", nil, func(f *Facts) { f.Corosync.TokenGiven = false }},
		{"corosync-token", nil, func(f *Facts) {
			tokenOf(30 * time.Second)(f) // as AWS and SUSE recommend on EC2
			f.Host = nil
		}},
		{"failover", nil, asStandby},
		{"clients", nil, asStandby},
		{"peer-settings", nil, asStandby},
		{"peer-settings", nil, daemonAway},
		{"failover", nil, daemonAway}, // the other node's daemon tells all that matters there
		{"clients", nil, daemonAway},
		{"postgres-role", nil, daemonAway},
		{"clients", nil, peerAway},
		// What else is in the cluster neither counts nor stops anything.
		{"failover", nil, unrelated}, {"clients", nil, unrelated}, {"maintenance", nil, unrelated},
		{"drbd-state", nil, unrelated}, {"peer-settings", nil, unrelated},
		{"move-constraint", []string{`<constraints>`,
			`<constraints><rsc_location id="cli-ban-web-on-pg-2" rsc="web" node="pg-2" score="-INFINITY"/>`}, nil},
		{"fence-constraint", []string{`<constraints>`, strings.ReplaceAll(fenceBan, "drbd-clone", "other-clone")}, nil},
		{"corosync-token", noFencing, tokenOf(30 * time.Second)},
		{"corosync-token", noFencing, tokenOf(2 * time.Second)},
	} {
		f := healthy(t, x.cib...)
		if x.plant != nil {
			x.plant(f)
		}
		if r := judge(t, f, x.check); r.Verdict != Pass {
			t.Errorf("%s: %s: %s", x.check, r.Verdict, r.Evidence)
		}
	}
}
