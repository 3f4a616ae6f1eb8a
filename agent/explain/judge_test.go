package explain

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pgha/pgha-agent/agent/status"
	"github.com/pgha/pgha-agent/crm"
	"github.com/pgha/pgha-agent/drbd"
	"github.com/pgha/pgha-agent/pg"
)

const (
	addrA = "10.0.1.10"
	addrB = "10.0.2.10"
)

// testCIB is the configuration of the cluster of these tests.
const testCIB = `<cib><configuration>
<crm_config/><nodes><node id="1" uname="pg-a"/><node id="2" uname="pg-b"/></nodes><resources>
 <clone id="drbd-clone"><meta_attributes id="m"><nvpair id="m1" name="promotable" value="true"/></meta_attributes>
  <primitive id="drbd" class="ocf" provider="linbit" type="drbd"/></clone>
 <group id="database"><primitive id="fs" class="ocf" provider="heartbeat" type="Filesystem"/>
  <primitive id="pgsql" class="ocf" provider="heartbeat" type="pgsql"/></group>
 <primitive id="web" class="systemd" type="nginx"/>
 <primitive id="fence-a" class="stonith" type="fence_aws"/><primitive id="fence-b" class="stonith" type="fence_aws"/>
</resources><constraints>
 <rsc_colocation id="c" rsc="database" with-rsc="drbd-clone" with-rsc-role="Promoted" score="INFINITY"/>
</constraints></configuration></cib>`

// world is a healthy cluster: pg-a has the database. Both daemons are known, and the facts are those of pg-b unless a
// case takes the other side.
func world(t *testing.T) *Facts {
	t.Helper()
	conf, err := crm.ParseConfiguration([]byte(testCIB))
	if err != nil {
		t.Fatal(err)
	}
	node := func(name string) crm.Node {
		return crm.Node{Name: name, Type: "member", Online: crm.Yes, Standby: crm.No, StandbyOnFail: crm.No,
			Maintenance: crm.No, Pending: crm.No, Unclean: crm.No, Shutdown: crm.No, Health: "green"}
	}
	resource := func(id, clone, group, agent, node string, role crm.Role) crm.Resource {
		return crm.Resource{ID: id, Clone: clone, Group: group, Agent: agent, Node: node, Role: role, Managed: crm.Yes,
			Maintenance: crm.No, Blocked: crm.No, Failed: crm.No, Promotable: clone != ""}
	}
	a, b := docOf("pg-a", addrA), docOf("pg-b", addrB)
	a.Drbd.Role, b.Drbd.Connections[0].PeerRole = drbd.RolePrimary, drbd.RolePrimary
	a.Postgres.State = pg.StateWritable
	a.Publication = status.PublicationDoc{State: status.PubObserved, Promotion: ownClaim, Epoch: 4}
	b.Publication = status.PublicationDoc{State: status.PubIdle}
	return &Facts{
		Now: testNow, Node: "pg-b", Clone: "drbd-clone", Resource: "pg", TTL: testTTL, Own: b,
		Peers: map[string]*status.Doc{"pg-a": a}, Errs: map[string]string{}, Config: conf,
		Cluster: &crm.Status{
			FencingEnabled: crm.Yes, MaintenanceMode: crm.No, DC: "pg-a", Nodes: []crm.Node{node("pg-a"), node("pg-b")},
			Resources: []crm.Resource{
				resource("drbd", "drbd-clone", "", "ocf:linbit:drbd", "pg-a", crm.RolePromoted),
				resource("drbd", "drbd-clone", "", "ocf:linbit:drbd", "pg-b", crm.RoleUnpromoted),
				resource("fs", "", "database", "ocf:heartbeat:Filesystem", "pg-a", crm.RoleStarted),
				resource("pgsql", "", "database", "ocf:heartbeat:pgsql", "pg-a", crm.RoleStarted),
				resource("web", "", "", "systemd:nginx", "pg-b", crm.RoleStarted),
				resource("fence-a", "", "", "stonith:fence_aws", "pg-b", crm.RoleStarted),
				resource("fence-b", "", "", "stonith:fence_aws", "pg-a", crm.RoleStarted),
			},
			Attributes: []crm.Attribute{{Node: "pg-a", Name: "master-drbd", Value: "10000"},
				{Node: "pg-b", Name: "master-drbd", Value: "10000"}},
		},
	}
}

// docOf is the status of one of its daemons, as a standby's.
func docOf(node, addr string) *status.Doc {
	peer := map[string]string{"pg-a": "pg-b", "pg-b": "pg-a"}[node]
	d := &status.Doc{
		Node: node, Time: testNow, Ready: true,
		Cluster: &status.ClusterDoc{Promoted: []string{"pg-a"}, Nodes: []status.NodeDoc{
			{Name: "pg-a", Online: new(true), Unclean: new(false)}, {Name: "pg-b", Online: new(true), Unclean: new(false)},
		}},
		Drbd: &drbd.DumpResource{Name: "pg", Role: drbd.RoleSecondary, Suspended: []string{},
			Devices: []drbd.DumpDevice{{Disk: drbd.DiskUpToDate, Quorum: new(true)}},
			Connections: []drbd.DumpConnection{{Name: peer, Connection: drbd.ConnConnected, PeerRole: drbd.RoleSecondary,
				SplitBrain: "none", PeerDevices: []drbd.DumpPeerDevice{{Replication: drbd.ReplEstablished,
					PeerDisk: drbd.DiskUpToDate, OutOfSyncBytes: new(uint64(0))}}}}},
		Postgres: status.PostgresDoc{State: pg.StateRefused},
		Record: status.RecordDoc{Name: "db.pgha.internal", OwnAddr: addr, Addr: addrA, Owner: "pg-a", Epoch: 4, Claim: ownClaim,
			Read: new(testNow), ResolverAddr: new(addrA)},
		Client: &status.ClientDoc{OK: true, Asked: true, State: pg.StateWritable, Answered: addrA},
		Config: &status.ConfigDoc{Record: "db.pgha.internal", Zone: "Z1", Promotable: "drbd-clone", Resource: "pg"},
		Mounts: []status.MountDoc{},
	}
	for _, name := range []string{"drbd", "crm", "postgres", "route53", "resolver", "client"} {
		d.Sources = append(d.Sources, status.SourceDoc{Name: name, Up: true, Age: new(1.0)})
	}
	return d
}

// cutOff makes the clients of both nodes fail for a while.
func cutOff(f *Facts, state pg.State, why string) {
	for _, d := range []*status.Doc{f.Own, f.Peers["pg-a"]} {
		d.Client = &status.ClientDoc{Asked: true, State: state, Error: why, DownSince: new(testNow.Add(-2 * time.Minute))}
	}
}

// instance returns an instance of a resource of the cluster.
func (f *Facts) instance(id, node string) *crm.Resource {
	i := slices.IndexFunc(f.Cluster.Resources, func(r crm.Resource) bool { return r.ID == id && r.Node == node })
	return &f.Cluster.Resources[i]
}

// forgottenAndDown is what a cleanup of DRBD does to the database.
func forgottenAndDown(f *Facts, since time.Duration) {
	f.instance("drbd", "pg-a").Role = crm.RoleUnpromoted
	f.Peers["pg-a"].Postgres = status.PostgresDoc{State: pg.StateRefused, Error: "no such file"}
	cutOff(f, pg.StateRefused, "refused")
	for _, d := range []*status.Doc{f.Own, f.Peers["pg-a"]} {
		d.Cluster.Promoted = nil
		d.Client.DownSince = new(testNow.Add(-since))
	}
}

// fencingDisabled is what Pacemaker and both daemons say.
func fencingDisabled(f *Facts) {
	f.Cluster.FencingEnabled = crm.No
	for _, d := range []*status.Doc{f.Own, f.Peers["pg-a"]} {
		d.Problems = append(d.Problems, status.Problem{Code: "fencing_disabled", Severity: status.Critical,
			Text: "fencing is disabled: both nodes can be promoted", Remedy: "enable it: `crm_attribute --name x`"})
	}
}

// secondValue is somebody's edit of the record, as both agents have read it.
func secondValue(f *Facts) {
	for _, d := range []*status.Doc{f.Own, f.Peers["pg-a"]} {
		d.Record.Addr, d.Record.Owner, d.Record.Epoch, d.Record.Claim = "", "", 0, ""
		d.Record.ResolverAddr = new("[10.0.1.10 10.0.2.10]")
		i := slices.IndexFunc(d.Sources, func(s status.SourceDoc) bool { return s.Name == "route53" })
		d.Sources[i].Error = "read record: refused_record: the A record db.pgha.internal has 2 values, want 1; delete it"
	}
	a := f.Peers["pg-a"]
	a.Record.Drift = true
	a.Problems = []status.Problem{{Code: "record_drift", Severity: status.Critical, Text: "the record has 2 values",
		Remedy: "remove that record by hand; then `pgha-agent publish --once` on the promoted node"},
		{Code: "source_route53", Severity: status.Warning, Text: "route53 does not answer"}}
}

// stopped makes the group not run.
func (f *Facts) stopped() {
	for _, id := range []string{"fs", "pgsql"} {
		r := f.instance(id, "pg-a")
		r.Node, r.Role = "", crm.RoleStopped
	}
	f.Peers["pg-a"].Postgres = status.PostgresDoc{State: pg.StateRefused}
	cutOff(f, pg.StateRefused, "connection refused")
}

// nobodyPromoted makes the cluster one without a promoted node.
func (f *Facts) nobodyPromoted() {
	f.stopped()
	f.instance("drbd", "pg-a").Role = crm.RoleUnpromoted
	f.Peers["pg-a"].Drbd.Role, f.Own.Drbd.Connections[0].PeerRole = drbd.RoleSecondary, drbd.RoleSecondary
	for _, d := range []*status.Doc{f.Own, f.Peers["pg-a"]} {
		d.Cluster.Promoted, d.Publication = nil, status.PublicationDoc{State: status.PubIdle}
	}
}

// TestWhatNow plants what may go wrong, and asks on both nodes: can clients write, what is to be done, could the
// database fail over.
func TestWhatNow(t *testing.T) {
	full := status.MountDoc{Point: "/srv/pg", OnDrbd: true, Size: 100 << 30, Free: 1 << 20}
	for name, c := range map[string]struct {
		plant    func(*Facts)
		verdict  Verdict
		clients  status.ClientsState
		next     string // in the next step or its command
		failover string // the first reason against it, "" when it is possible, "?" when that is not known
	}{
		"healthy": {func(*Facts) {}, OK, status.ClientsServed, "Nothing to do", ""},
		"PostgreSQL hangs": {func(f *Facts) {
			f.Peers["pg-a"].Postgres = status.PostgresDoc{State: pg.StateTimeout, Error: "no answer in time"}
			cutOff(f, pg.StateTimeout, "no answer in time")
		}, Problem, status.ClientsCutOff, "takes no new connection", ""},
		"other record": {func(f *Facts) { f.Peers["pg-a"].Config.Record = "dbx.pgha.internal" }, Attention, status.ClientsServed,
			"record.name", "other_configuration"},
		"other record, which nobody has published": {func(f *Facts) {
			f.Own.Config.Record, f.Own.Record.Name, f.Own.Record.Addr, f.Own.Record.ResolverAddr = "db2.pgha.internal",
				"db2.pgha.internal", "", nil
			f.Own.Client = &status.ClientDoc{DownSince: new(testNow.Add(-time.Minute))}
		}, Attention, status.ClientsServed, "record.name", "other_configuration"},
		"other record, and a failover": {func(f *Facts) {
			a := f.Peers["pg-a"]
			a.Config.Record, a.Record.Name = "dbx.pgha.internal", "dbx.pgha.internal"
			f.Own.Record.Addr, f.Own.Record.ResolverAddr = addrB, new(addrB)
			cutOff(f, pg.StateRefused, "connection refused")
			a.Client.OK, a.Client.State, a.Client.DownSince = true, pg.StateWritable, nil
		}, Problem, status.ClientsPartly, "record.name", "other_configuration"},
		"filesystem full": {func(f *Facts) { f.Peers["pg-a"].Mounts = []status.MountDoc{full} }, Problem, status.ClientsPartly,
			"/srv/pg is full on pg-a", ""},
		"filesystem fills": {func(f *Facts) {
			fills := full
			fills.Free, fills.FullIn = 30<<30, 3600
			f.Peers["pg-a"].Mounts = []status.MountDoc{fills}
		}, Attention, status.ClientsServed, "full in 1 h 0 min", ""},
		"commits hang": {func(f *Facts) {
			f.Peers["pg-a"].Postgres.FlushStall = 40
			cutOff(f, pg.StateTimeout, "commits hang: WAL has not reached the disk for 40 s")
		}, Problem, status.ClientsCutOff, "commits hang on pg-a", ""},
		"commits wait for a synchronous standby": {func(f *Facts) {
			f.Peers["pg-a"].Postgres.SyncWait = 40
			cutOff(f, pg.StateTimeout, "commits hang: no synchronous standby has confirmed one for 40 s")
		}, Problem, status.ClientsCutOff, "SHOW synchronous_standby_names", ""},
		"commits wait for a synchronous standby, as the server says": {func(f *Facts) {
			f.Peers["pg-a"].Postgres.SyncWait = 40
		}, Problem, status.ClientsPartly, "let commits go on without it", ""},
		"commits wait for a synchronous standby, and its agent is away": {func(f *Facts) {
			cutOff(f, pg.StateTimeout, pg.NoStandby+" for 40 s")
			f.Peers, f.Errs = nil, map[string]string{"pg-a": "connection refused"}
		}, Problem, status.ClientsCutOff, "commits hang on pg-a", ""},
		"I/O suspended": {func(f *Facts) {
			f.Peers["pg-a"].Drbd.Suspended = []string{"fencing"}
			cutOff(f, pg.StateTimeout, "no answer in time")
		}, Problem, status.ClientsCutOff, "DRBD has suspended I/O on pg-a", ""},
		"blocks out of sync": {func(f *Facts) {
			f.Peers["pg-a"].Drbd.Connections[0].PeerDevices[0].OutOfSyncBytes = new(uint64(8192))
		}, Attention, status.ClientsServed, "8 KiB differ", "out_of_sync"},
		"ban of the role": {func(f *Facts) {
			f.Cluster.Bans = []crm.Ban{{ID: "cli-ban-x", Resource: "drbd-clone", Node: "pg-b", Weight: -crm.Infinity, PromotedOnly: crm.Yes}}
		}, Attention, status.ClientsServed, "crm_resource --clear --resource drbd-clone --node pg-b", "banned"},
		"ban of the role, nobody promoted": {func(f *Facts) {
			f.nobodyPromoted()
			f.Cluster.Bans = []crm.Ban{{ID: "by-rule", Resource: "drbd", Node: "pg-a", Weight: -crm.Infinity},
				{ID: "cli-ban-x", Resource: "drbd-clone", Node: "pg-b", Weight: -crm.Infinity}}
		}, Problem, status.ClientsCutOff, "rsc_location[@id='by-rule' or rule/@id='by-rule']", "banned"},
		"fail count": {func(f *Facts) {
			f.Cluster.FailCounts = []crm.FailCount{{Node: "pg-b", Resource: "pgsql", Count: crm.Infinity, Threshold: 3}}
		}, Attention, status.ClientsServed, "crm_resource --cleanup --resource pgsql --node pg-b", "fail_count"},
		"fail count of another": {func(f *Facts) {
			f.Cluster.FailCounts = []crm.FailCount{{Node: "pg-b", Resource: "web", Count: crm.Infinity, Threshold: 3}}
			f.instance("web", "pg-b").Managed = crm.No
		}, OK, status.ClientsServed, "Nothing to do", ""},
		"standby": {func(f *Facts) { f.Cluster.Nodes[1].Standby = crm.Yes }, Attention, status.ClientsServed,
			"crm_standby --node pg-b", "node_standby"},
		"node in maintenance": {func(f *Facts) { f.Cluster.Nodes[1].Maintenance = crm.Yes }, Attention, status.ClientsServed,
			"--name maintenance --delete", "maintenance"},
		"group unmanaged": {func(f *Facts) {
			f.Config.Groups[0].Meta["is-managed"] = "false"
			f.instance("fs", "pg-a").Managed, f.instance("pgsql", "pg-a").Managed = crm.No, crm.No
		}, Attention, status.ClientsServed, "crm_resource --resource database --meta --delete-parameter is-managed", "unmanaged"},
		"promotion score gone": {func(f *Facts) { f.Cluster.Attributes = f.Cluster.Attributes[:1] }, Attention, status.ClientsServed,
			"--force-check", "promotion_score"},
		"target-role of PostgreSQL": {func(f *Facts) {
			f.stopped()
			f.instance("pgsql", "").TargetRole = "Stopped"
		}, Problem, status.ClientsCutOff, "crm_resource --resource pgsql --meta --delete-parameter target-role", "target_role"},
		"target-role of the clone": {func(f *Facts) {
			f.nobodyPromoted()
			f.instance("drbd", "pg-a").TargetRole, f.instance("drbd", "pg-b").TargetRole = "Slave", "Slave"
			f.Config.Clones[0].Meta["target-role"] = "Slave"
		}, Problem, status.ClientsCutOff, "--resource drbd-clone --meta --delete-parameter target-role", "target_role"},
		"health is red": {func(f *Facts) {
			f.Cluster.Nodes[1].Health = "red"
			f.Config.Properties["node-health-strategy"] = "migrate-on-red"
		}, Attention, status.ClientsServed, "the health of pg-b is red", "node_health"},
		"health is red and nobody minds": {func(f *Facts) { f.Cluster.Nodes[1].Health = "red" }, OK, status.ClientsServed, "Nothing", ""},
		"ticket revoked": {func(f *Facts) {
			f.Cluster.Tickets = []crm.Ticket{{ID: "T", Status: "revoked"}}
			f.Config.Tickets = []crm.TicketConstraint{{ID: "t", Resource: "drbd-clone", Ticket: "T"}}
		}, Attention, status.ClientsServed, "crm_ticket --ticket T --grant --force", "ticket"},
		"ticket in standby": {func(f *Facts) {
			f.Cluster.Tickets = []crm.Ticket{{ID: "T", Status: "granted", Standby: crm.Yes}}
			f.Config.Tickets = []crm.TicketConstraint{{ID: "t", Resource: "drbd-clone", Ticket: "T"}}
		}, Attention, status.ClientsServed, "crm_ticket --ticket T --activate", "ticket"},
		"failed and blocked": {func(f *Facts) {
			r := f.instance("drbd", "pg-a")
			r.Failed, r.Blocked = crm.Yes, crm.Yes
		}, Attention, status.ClientsServed, "drbd has failed on pg-a and is blocked", "resource_blocked"},
		"no fence device runs": {func(f *Facts) {
			for _, r := range []*crm.Resource{f.instance("fence-a", "pg-b"), f.instance("fence-b", "pg-a")} {
				r.Node, r.Role = "", crm.RoleStopped
			}
		}, Attention, status.ClientsServed, "fence device fence-a does not run", "fencing_stopped"},
		"fencing failed": {func(f *Facts) {
			f.Cluster.FenceEvents = []crm.FenceEvent{{Target: "pg-a", Action: "off", Status: "failed", ExitReason: "no credentials"}}
		}, Attention, status.ClientsServed, "the last fencing of pg-a failed: no credentials", "fencing_failed"},
		"secondary without quorum": {func(f *Facts) { f.Own.Drbd.Devices[0].Quorum = new(false) }, Attention, status.ClientsServed,
			"no quorum on pg-b", "drbd_quorum"},
		"disk behind": {func(f *Facts) { f.Peers["pg-a"].Drbd.Connections[0].PeerDevices[0].PeerDisk = drbd.DiskInconsistent }, Attention,
			status.ClientsServed, "the disk of pg-b is Inconsistent", "disk"},
		"resync": {func(f *Facts) {
			f.Own.Drbd.Devices[0].Disk = drbd.DiskInconsistent
			v := &f.Peers["pg-a"].Drbd.Connections[0].PeerDevices[0]
			v.PeerDisk, v.Replication, v.Done, v.ETASeconds = drbd.DiskInconsistent, drbd.ReplSyncSource, new(40.0), new(90.0)
		}, Attention, status.ClientsServed, "40.0 % done, 1m30s left", "resync"},
		"resync, and a volume without one": {func(f *Facts) {
			c := &f.Peers["pg-a"].Drbd.Connections[0]
			c.PeerDevices = append(c.PeerDevices, drbd.DumpPeerDevice{Replication: drbd.ReplPausedSyncS, PeerDisk: drbd.DiskInconsistent})
			c.PeerDevices[0].PeerDisk, c.PeerDevices[0].Replication = drbd.DiskInconsistent, drbd.ReplSyncSource
		}, Attention, status.ClientsServed, "the disk of pg-b is Inconsistent", "disk"},
		"may not be promoted": {func(f *Facts) {
			f.nobodyPromoted()
			f.Own.Drbd.MayPromote, f.Peers["pg-a"].Drbd.MayPromote = new(false), new(false)
		}, Problem, status.ClientsCutOff, "DRBD does not let pg-", ""},
		"may not be promoted beside a Primary": {func(f *Facts) { f.Own.Drbd.MayPromote = new(false) }, OK, status.ClientsServed,
			"Nothing to do", ""},
		"configuration unread": {func(f *Facts) { f.Config, f.ConfigErr = nil, "permission denied" }, Attention,
			status.ClientsServed, "runuser -u pgha -- cibadmin --query", "?"},
		"disconnected": {func(f *Facts) { f.Peers["pg-a"].Drbd.Connections[0].Connection = drbd.ConnStandAlone }, Attention,
			status.ClientsServed, "drbdadm adjust pg", "disconnected"},
		"split brain that one kernel has found": {func(f *Facts) {
			f.Own.Drbd.Connections[0].Connection, f.Own.Drbd.Connections[0].SplitBrain = drbd.ConnStandAlone, "latched"
			f.Peers["pg-a"].Drbd.Connections[0].Connection = drbd.ConnConnecting
		}, Attention, status.ClientsServed, "decide which side keeps its data", "split_brain"},
		"PostgreSQL outside of Pacemaker": {func(f *Facts) { f.Own.Postgres.Foreign = true }, Attention, status.ClientsServed,
			"systemctl disable --now postgresql", "foreign_postgres"},
		"PostgreSQL of a moment ago, DRBD demoted since": {func(f *Facts) { f.Own.Postgres.State = pg.StateWritable }, OK,
			status.ClientsServed, "Nothing to do", ""},
		"something else is mounted": {func(f *Facts) {
			f.Own.Mounts = []status.MountDoc{{Point: "/srv/pg", Source: "tmpfs", Wanted: true}}
		}, Attention, status.ClientsServed, "umount /srv/pg", "foreign_mount"},
		"paused there": {func(f *Facts) { f.Own.Publication.PausedUntil = new(testNow.Add(time.Hour)) }, Attention, status.ClientsServed,
			"", "paused"},
		"A deleted": {func(f *Facts) {
			for _, d := range []*status.Doc{f.Own, f.Peers["pg-a"]} {
				d.Record.Addr, d.Record.ResolverAddr = "", nil
				d.Client = &status.ClientDoc{State: pg.StateWritable, DownSince: new(testNow.Add(-time.Minute))}
			}
		}, Problem, status.ClientsCutOff, "the zone holds no address", ""},
		"record edited": {func(f *Facts) {
			cutOff(f, pg.StateTimeout, "timeout")
			for _, d := range []*status.Doc{f.Own, f.Peers["pg-a"]} {
				d.Record.Addr, d.Record.ResolverAddr = "10.9.9.9", new("10.9.9.9")
			}
		}, Problem, status.ClientsCutOff, "leads to 10.9.9.9, and the database is on pg-a", ""},
		"resolver down": {func(f *Facts) {
			cutOff(f, pg.StateError, "SERVFAIL")
			for _, d := range []*status.Doc{f.Own, f.Peers["pg-a"]} {
				d.Record.ResolverAddr = nil
				d.Sources[4] = status.SourceDoc{Name: "resolver", Error: "the resolver answers SERVFAIL", Age: new(120.0)}
			}
		}, Problem, status.ClientsCutOff, "the resolver does not answer", ""},
		"role rejected": {func(f *Facts) {
			f.Peers["pg-a"].Postgres = status.PostgresDoc{State: pg.StateAuth, Error: "no pg_hba.conf entry"}
			for _, d := range []*status.Doc{f.Own, f.Peers["pg-a"]} {
				d.Client = &status.ClientDoc{Asked: true, State: pg.StateAuth, Error: "no pg_hba.conf entry"}
			}
		}, Attention, status.ClientsUnknown, "rejects the agent's role", ""},
		"a limit of the agent's role": {rejects(`FATAL: too many connections for role "pgha" (SQLSTATE 53300)`), Attention,
			status.ClientsUnknown, `-c "ALTER ROLE pgha CONNECTION LIMIT -1"`, ""},
		"a limit of the agent's database": {rejects(`FATAL: too many connections for database "postgres" (SQLSTATE 53300)`),
			Attention, status.ClientsUnknown, `-c "ALTER DATABASE postgres CONNECTION LIMIT -1"`, ""},
		"the agent's role is read only": {rejects(pg.ReadOnlySource + "user"), Attention, status.ClientsUnknown,
			`-c "ALTER ROLE pgha RESET default_transaction_read_only"`, ""},
		"the agent's role is read only, as new sessions see": {func(f *Facts) {
			rejects(pg.ReadOnlySource + "database user")(f)
			f.Peers["pg-a"].Postgres = status.PostgresDoc{State: pg.StateWritable}
		}, Attention, status.ClientsUnknown, `-c "ALTER ROLE pgha IN DATABASE postgres RESET default_transaction_read_only"`, ""},
		"the agent's database is read only": {rejects(pg.ReadOnlySource + "database"), Attention, status.ClientsUnknown,
			`-c "ALTER DATABASE postgres RESET default_transaction_read_only"`, ""},
		"the address of one node is rejected": {func(f *Facts) {
			f.Own.Client = &status.ClientDoc{Asked: true, State: pg.StateAuth, Error: "pg_hba.conf rejects connection for host"}
		}, Attention, status.ClientsServed, "rejects the client's view of pg-b, and perhaps other clients there", ""},
		"the limit lets one view in": {func(f *Facts) {
			f.Own.Client = &status.ClientDoc{Asked: true, State: pg.StateAuth, Error: `role "pgha" (SQLSTATE 53300)`}
		}, Attention, status.ClientsServed, `-c "ALTER ROLE pgha CONNECTION LIMIT -1"`, ""},
		"postgres.dsn is wrong": {func(f *Facts) {
			f.Peers["pg-a"].Postgres = status.PostgresDoc{State: pg.StateRefused, Error: "no such file"}
		}, Attention, status.ClientsServed, "correct postgres.dsn", ""},
		"down, and clients were served a moment ago": {func(f *Facts) {
			f.stopped()
			f.Own.Client = &status.ClientDoc{OK: true, Asked: true, State: pg.StateWritable, Answered: addrA}
		}, Problem, status.ClientsPartly, "PostgreSQL does not run on pg-a", ""},
		"it listens on no address": {func(f *Facts) { cutOff(f, pg.StateRefused, "connection refused") }, Problem,
			status.ClientsCutOff, `-c "ALTER SYSTEM SET listen_addresses = '*'"`, ""},
		"its port is filtered": {func(f *Facts) { cutOff(f, pg.StateTimeout, "timeout") }, Problem, status.ClientsCutOff,
			"see its firewall, on pg-a", ""},
		"its port is filtered for one node": {func(f *Facts) {
			f.Own.Client = &status.ClientDoc{Asked: true, State: pg.StateTimeout, Error: "timeout", DownSince: new(testNow.Add(-time.Minute))}
		}, Problem, status.ClientsPartly, "on pg-b see its own firewall and route", ""},
		"a foreign PostgreSQL where the database is": {func(f *Facts) {
			f.stopped()
			f.Peers["pg-a"].Postgres.Foreign = true
		}, Problem, status.ClientsCutOff, "the oldest server on pg-a, where the database's own does not run", ""},
		"too many connections": {func(f *Facts) {
			f.Peers["pg-a"].Postgres = status.PostgresDoc{State: pg.StateTooMany}
			cutOff(f, pg.StateTooMany, "too many clients")
		}, Problem, status.ClientsCutOff, "no connection left", ""},
		"cleaned up on the promoted node": {func(f *Facts) {
			f.instance("drbd", "pg-a").Role = crm.RoleUnpromoted // what crm_mon shows until the next probe
			for _, d := range []*status.Doc{f.Own, f.Peers["pg-a"]} {
				d.Cluster.Promoted = nil
			}
		}, Attention, status.ClientsServed, "clean up or move nothing", ""},
		"and Pacemaker stops the database for that": {func(f *Facts) { forgottenAndDown(f, 20*time.Second) }, Waiting,
			status.ClientsCutOff, "Wait", ""},
		"and does not start it again": {func(f *Facts) { forgottenAndDown(f, 2*time.Minute) }, Problem, status.ClientsCutOff,
			"PostgreSQL does not run on pg-a", ""},
		"nobody promoted, and nothing forbids it": {func(f *Facts) { f.nobodyPromoted() }, Problem, status.ClientsCutOff,
			"crm_simulate --live-check", ""},
		"one view fails": {func(f *Facts) {
			f.Own.Client = &status.ClientDoc{Asked: true, State: pg.StateTimeout, Error: "timeout", DownSince: new(testNow.Add(-time.Minute))}
		}, Problem, status.ClientsPartly, "a client on pg-b does not reach it", ""},
		"a blip": {func(f *Facts) {
			cutOff(f, pg.StateRefused, "connection refused")
			f.Own.Client.DownSince, f.Peers["pg-a"].Client.DownSince = new(testNow.Add(-2*time.Second)), new(testNow.Add(-2*time.Second))
		}, Waiting, status.ClientsCutOff, "Wait", ""},
		"DRBD has no connection": {func(f *Facts) { f.Peers["pg-a"].Drbd.Connections = nil }, Attention, status.ClientsServed,
			"drbdadm up pg", "disconnected"},
		"fence constraint left behind": {func(f *Facts) {
			f.Cluster.Bans = []crm.Ban{{ID: crm.FenceBanPrefix + "pg-drbd-clone", Resource: "drbd-clone", Node: "pg-b",
				Weight: -crm.Infinity, PromotedOnly: crm.Yes}}
		}, Attention, status.ClientsServed, "cibadmin --delete --xpath", "banned"},
		"peer's agent is away, DRBD not connected": {func(f *Facts) {
			f.Peers, f.Errs = nil, map[string]string{"pg-a": "connection refused"}
			f.Own.Drbd.Connections[0].Connection = drbd.ConnStandAlone
		}, Attention, status.ClientsServed, "DRBD on pg-b is not connected to pg-a (StandAlone)", "disconnected"},
		"peer's agent is away, blocks out of sync": {func(f *Facts) {
			f.Peers, f.Errs = nil, map[string]string{"pg-a": "connection refused"}
			f.Own.Drbd.Connections[0].PeerDevices[0].OutOfSyncBytes = new(uint64(8192))
		}, Attention, status.ClientsServed, "8 KiB differ", "out_of_sync"},
		"peer's agent is away, its disk too": {func(f *Facts) { // what the target does not need
			f.Peers, f.Errs = nil, map[string]string{"pg-a": "connection refused"}
			f.Own.Drbd.Connections[0].PeerDevices[0].PeerDisk = drbd.DiskDiskless
		}, Attention, status.ClientsServed, "the agent of pg-a, which has the database", ""},
		"peer's agent is away, DRBD unknown": {func(f *Facts) {
			f.Peers, f.Errs = nil, map[string]string{"pg-a": "connection refused"}
			f.Own.Drbd = nil
		}, Attention, status.ClientsServed, "the state of DRBD between pg-a and pg-b is not known", "?"},
		"a fence device of the database's node": {func(f *Facts) { // the other one fences the other node
			f.Config.Primitive("fence-a").Params["pcmk_host_list"] = "pg-a"
			f.Config.Primitive("fence-b").Params["pcmk_host_map"] = "pg-b:i-1"
			r := f.instance("fence-a", "pg-b")
			r.Node, r.Role = "", crm.RoleStopped
			f.Cluster.Failures = []crm.Failure{{Node: "pg-b", Resource: "fence-a", Task: "start", ExitReason: "Unable to authorize"}}
		}, Attention, status.ClientsServed, "(start: Unable to authorize): pg-a cannot be fenced", "fencing_stopped"},
		"a fence device of the other node": {func(f *Facts) {
			f.Config.Primitive("fence-a").Params["pcmk_host_list"] = "pg-a"
			f.Config.Primitive("fence-b").Params["pcmk_host_list"] = "pg-b"
			f.instance("fence-b", "pg-a").Role = crm.RoleStopped
		}, Attention, status.ClientsServed, "crm_mon --one-shot --inactive --failcounts", ""},
		"fence devices disabled": {func(f *Facts) {
			noFencing(f)
			f.Config.Primitive("fence-a").Meta["target-role"] = "Stopped"
			f.Config.Primitive("fence-b").Meta["target-role"] = "Stopped"
		}, Attention, status.ClientsServed, "crm_resource --resource fence-a --meta --delete-parameter target-role", "fencing_stopped"},
		"no fence device": {func(f *Facts) {
			f.Cluster.Resources, f.Config.Primitives = f.Cluster.Resources[:5], f.Config.Primitives[:4]
			f.Config.Properties["cluster-name"] = "pg"
		}, Attention, status.ClientsServed, "no fence device is configured", "fencing_stopped"},
		"a watchdog fences": {func(f *Facts) {
			f.Cluster.Resources, f.Config.Primitives = f.Cluster.Resources[:5], f.Config.Primitives[:4]
			f.Config.Properties["cluster-name"] = "pg"
			f.Config.Properties["stonith-watchdog-timeout"] = "10"
		}, OK, status.ClientsServed, "Nothing to do", ""},
		"kept apart from what runs there": {func(f *Facts) {
			f.Config.Colocations = append(f.Config.Colocations, crm.Colocation{ID: "apart", Resource: "database", With: "web",
				Score: -crm.Infinity})
		}, Attention, status.ClientsServed, "cibadmin --delete --xpath \"//rsc_colocation[@id='apart']\"", "banned"},
		"another is kept apart from the database": {func(f *Facts) {
			f.Config.Colocations = append(f.Config.Colocations, crm.Colocation{ID: "apart", Resource: "web", With: "database",
				Score: -crm.Infinity})
		}, OK, status.ClientsServed, "Nothing to do", ""},
		"in standby, so that DRBD is stopped": {func(f *Facts) {
			f.Cluster.Nodes[1].Standby = crm.Yes
			f.instance("drbd", "pg-b").Role, f.Own.Drbd = crm.RoleStopped, nil
			c := &f.Peers["pg-a"].Drbd.Connections[0]
			c.Connection, c.PeerDevices[0].PeerDisk = drbd.ConnConnecting, drbd.DiskOutdated
		}, Attention, status.ClientsServed, "crm_standby --node pg-b", "node_standby"},
		"clone stopped by its target-role": {func(f *Facts) {
			f.nobodyPromoted()
			f.instance("drbd", "pg-a").Node, f.instance("drbd", "pg-b").Node = "", ""
			f.Config.Clones[0].Meta["target-role"] = "Stopped"
		}, Problem, status.ClientsCutOff, "--resource drbd-clone --meta --delete-parameter target-role", "target_role"},
		"another TTL": {func(f *Facts) {
			f.Peers["pg-a"].Problems = []status.Problem{{Code: "record_ttl", Severity: status.Warning, Text: "the record's TTL is 300 s",
				Remedy: "`pgha-agent publish --once` on the promoted node writes it"}}
		}, Attention, status.ClientsServed, "pgha-agent publish --once", ""},
		"no quorum": {func(f *Facts) { f.nobodyPromoted(); f.Cluster.Quorum = crm.No }, Problem, status.ClientsCutOff,
			"the cluster has no quorum", "quorum"},
		"no quorum, and nobody minds": {func(f *Facts) { f.Cluster.Quorum, f.Cluster.NoQuorumPolicy = crm.No, "ignore" }, OK,
			status.ClientsServed, "Nothing to do", ""},
		"zone denied there": {func(f *Facts) {
			f.Own.Sources[3] = status.SourceDoc{Name: "route53", Error: "AccessDenied"}
		}, Attention, status.ClientsServed, "pgha-agent doctor --only aws", "route53"},
		"two promoted": {func(f *Facts) { f.instance("drbd", "pg-b").Role = crm.RolePromoted }, Problem, status.ClientsPartly,
			"more than one node has the database: pg-a, pg-b", "?"},
		"two Primaries, each sees itself": {func(f *Facts) {
			f.Own.Drbd.Role = drbd.RolePrimary
			cutOff(f, pg.StateTimeout, "timeout")
		}, Problem, status.ClientsCutOff, "more than one node has the database: pg-a, pg-b", "?"},
		"it failed, and works again": {func(f *Facts) {
			f.Cluster.FailCounts = []crm.FailCount{{Node: "pg-a", Resource: "pgsql", Count: 2, Threshold: 3}}
			f.Cluster.Failures = []crm.Failure{{Node: "pg-a", Resource: "pgsql", Task: "monitor", ExitStatus: "not running"}}
		}, Attention, status.ClientsServed, "resource pgsql has a fail count of 2 on pg-a (monitor: not running)", ""},
		"it fails there, and could run here": {func(f *Facts) {
			f.instance("pgsql", "pg-a").Failed = crm.Yes
			f.Peers["pg-a"].Postgres = status.PostgresDoc{State: pg.StateRefused}
			cutOff(f, pg.StateRefused, "connection refused")
		}, Problem, status.ClientsCutOff, "resource pgsql has failed on pg-a", ""},
		"recovers": {func(f *Facts) { server(pg.StateStartingUp)(f) }, Waiting, status.ClientsCutOff, "Wait", ""},
		"recovers for long": {func(f *Facts) {
			server(pg.StateStartingUp)(f)
			f.Own.Client.DownSince, f.Peers["pg-a"].Client.DownSince = new(testNow.Add(-6*time.Minute)), new(testNow.Add(-6*time.Minute))
		}, Problem, status.ClientsCutOff, "whether it goes on", ""},
		"a standby.signal": {func(f *Facts) { server(pg.StateInRecovery)(f) }, Problem, status.ClientsCutOff, "pg_promote", ""},
		"the replication link is cut": {func(f *Facts) { // the disk is Outdated because of it
			f.Peers["pg-a"].Drbd.Connections[0].Connection = drbd.ConnConnecting
			f.Own.Drbd.Connections[0].Connection, f.Own.Drbd.Devices[0].Disk = drbd.ConnConnecting, drbd.DiskOutdated
		}, Attention, status.ClientsServed, "drbdadm adjust pg", "disconnected"},
		"a resync that is paused": {func(f *Facts) { plants["disk: paused"](f) }, Attention, status.ClientsServed,
			"somebody paused the resync: let it go on, on pg-b", "disk"},
		"a resync that stands still": {func(f *Facts) { plants["resync: stalled"](f) }, Attention, status.ClientsServed,
			"it does not move", "resync"},
		"one resolver is wrong": {func(f *Facts) {
			f.Own.Record.ResolverAddr = new("10.9.9.9")
			f.Own.Client = &status.ClientDoc{Asked: true, State: pg.StateTimeout, DownSince: new(testNow.Add(-time.Minute))}
		}, Problem, status.ClientsPartly, "the resolver of pg-b may hold an old answer", ""},
		"no client looks, and the name leads elsewhere": {func(f *Facts) {
			f.Own.Client, f.Peers["pg-a"].Client = nil, nil
			f.Own.Record.ResolverAddr, f.Peers["pg-a"].Record.ResolverAddr = new("10.9.9.9"), new("10.9.9.9")
			f.Peers["pg-a"].Publication.State = status.PubPublished
		}, Attention, status.ClientsUnknown, "dig db.pgha.internal", ""},
		"a second value, as its agent says": {func(f *Facts) {
			named("10.9.9.9")(f)
			a := f.Peers["pg-a"]
			a.Record.Drift = true
			a.Problems = []status.Problem{{Code: "record_drift", Severity: status.Critical, Text: "the record has 2 values",
				Remedy: "remove that record by hand; then write it again"}}
		}, Problem, status.ClientsCutOff, "remove that record by hand", ""},
		"lost a moment ago, and its fence device on its way": {func(f *Facts) {
			f.nobodyPromoted()
			for _, id := range [][2]string{{"fence-b", "pg-a"}, {"fence-a", "pg-b"}} { // nothing fences any more
				r := f.instance(id[0], id[1])
				r.Node, r.Role = "", crm.RoleStopped
			}
			f.Own.Episode = &status.EpisodeDoc{ID: 1, Outcome: "open", Start: testNow.Add(-40 * time.Second)}
		}, Waiting, status.ClientsCutOff, "Wait", "fencing_stopped"},
		"the same for long": {func(f *Facts) {
			f.nobodyPromoted()
			r := f.instance("fence-b", "pg-a")
			r.Node, r.Role = "", crm.RoleStopped
		}, Problem, status.ClientsCutOff, "no node is promoted, and nothing that is seen here forbids it", ""},
		"a name that was made a moment ago": {func(f *Facts) {
			f.Own.Client, f.Peers["pg-a"].Client = &status.ClientDoc{}, &status.ClientDoc{}
		}, OK, status.ClientsUnknown, "Nothing to do", ""},
		"a cluster that was made a moment ago": {func(f *Facts) {
			for _, d := range []*status.Doc{f.Own, f.Peers["pg-a"]} {
				d.Client, d.Record.Addr, d.Record.ResolverAddr = &status.ClientDoc{DownSince: new(testNow.Add(-10 * time.Second))}, "", nil
				d.Episode = &status.EpisodeDoc{ID: 1, Outcome: "open", Start: testNow.Add(-10 * time.Second)}
			}
		}, Waiting, status.ClientsCutOff, "Wait", ""},
		"the name has no address, and who writes it is away": {func(f *Facts) {
			f.Own.Record.Addr, f.Own.Record.ResolverAddr = "", nil
			f.Own.Client = &status.ClientDoc{DownSince: new(testNow.Add(-time.Minute))}
			f.Peers, f.Errs = nil, map[string]string{"pg-a": "timeout"}
		}, Problem, status.ClientsCutOff, "on pg-a. systemctl restart pgha-agent", ""},
		"no address for the client, and the resolver was not asked since": {func(f *Facts) {
			f.Own.Record.ResolverAddr = nil
			f.Own.Client = &status.ClientDoc{Asked: true, NoName: true, State: pg.StateError, Error: "the resolver answers NODATA",
				DownSince: new(testNow.Add(-time.Minute))}
		}, Problem, status.ClientsPartly, "until then clients reach the database at 10.0.1.10", ""},
		"no node has a score, nor any other attribute": {func(f *Facts) {
			f.nobodyPromoted()
			f.Cluster.Attributes, f.Cluster.Operations = nil, []crm.Operation{}
		}, Problem, status.ClientsCutOff, "has no promotion score", "promotion_score"},
		"one that could be promoted, and one that is off": {func(f *Facts) {
			f.nobodyPromoted()
			f.Cluster.Nodes[0].Online = crm.No
			f.instance("drbd", "pg-a").Node = ""
			f.Peers, f.Errs = nil, map[string]string{"pg-a": "no route to host"}
		}, Problem, status.ClientsCutOff, "nothing that is seen here forbids it", ""},
		"a second value, some clients get around it": {func(f *Facts) { secondValue(f) }, Problem, status.ClientsServed,
			"remove that record by hand", "route53"},
		"TXT is gone": {func(f *Facts) {
			a := f.Peers["pg-a"]
			a.Record.Drift = true
			a.Problems = []status.Problem{{Code: "record_drift", Severity: status.Critical, Text: "it holds no owner",
				Remedy: "`pgha-agent publish --once` on the promoted node writes it again"}}
		}, Problem, status.ClientsServed, "pgha-agent publish --once", ""},
		"edited, and being written again": {func(f *Facts) {
			named("10.9.9.9")(f)
			f.Peers["pg-a"].Record.Drift, f.Peers["pg-a"].Publication = true, status.PublicationDoc{State: status.PubWriting}
			f.Own.Client.DownSince, f.Peers["pg-a"].Client.DownSince = new(testNow.Add(-7*time.Second)), new(testNow.Add(-7*time.Second))
		}, Waiting, status.ClientsCutOff, "Wait", ""},
		"promoted, and the API denies": {func(f *Facts) { plants["name_elsewhere: held"](f) }, Problem, status.ClientsCutOff,
			"pgha-agent doctor --only aws", ""},
		"paused where the database is": {func(f *Facts) {
			f.Peers["pg-a"].Publication.PausedUntil = new(testNow.Add(time.Hour))
		}, Attention, status.ClientsServed, "pgha-agent resume", ""},
		"a clock that is ahead": {func(f *Facts) {
			server(pg.StateRefused)(f)
			f.Peers["pg-a"].Client.DownSince = new(testNow.Add(3 * time.Minute))
		}, Problem, status.ClientsCutOff, "PostgreSQL does not run on pg-a", ""},
		"Corosync's link is cut, and DRBD's is not": {func(f *Facts) {
			f.Cluster.Nodes[0].Online, f.Cluster.Nodes[0].Unclean = crm.No, crm.Yes
		}, Problem, status.ClientsServed, "Pacemaker has lost pg-a, which still has the database", "node_unclean"},
		"its agent is away, and Pacemaker shows PostgreSQL stopped": {func(f *Facts) {
			f.stopped()
			f.Peers, f.Errs = nil, map[string]string{"pg-a": "connection refused"}
		}, Problem, status.ClientsCutOff, "PostgreSQL does not run on pg-a", ""},
		"its agent is away, and clients do not reach it": {func(f *Facts) {
			cutOff(f, pg.StateTimeout, "timeout")
			f.Peers, f.Errs = nil, map[string]string{"pg-a": "connection refused"}
		}, Problem, status.ClientsCutOff, "whether it runs there is not known", ""},
		"nobody promoted: the node that the least keeps from it": {func(f *Facts) {
			f.nobodyPromoted()
			f.Peers["pg-a"].Drbd.Devices[0].Disk = drbd.DiskOutdated
			f.Cluster.Attributes = f.Cluster.Attributes[1:]
			f.Cluster.Bans = []crm.Ban{{ID: "cli-ban-x", Resource: "drbd-clone", Node: "pg-b", Weight: -crm.Infinity}}
		}, Problem, status.ClientsCutOff, "crm_resource --clear --resource drbd-clone --node pg-b", "banned"},
		"other versions": {func(f *Facts) { f.Own.Version, f.Peers["pg-a"].Version = "0.2.0", "0.1.0" }, Attention,
			status.ClientsServed, "the agents run different versions", ""},
		"updated on disk": {func(f *Facts) {
			f.Own.Version, f.Peers["pg-a"].Version, f.Own.Replaced = "0.1.0", "0.2.0", true
		}, Attention, status.ClientsServed, "restart it, on pg-b: that is safe at any time. systemctl restart pgha-agent", ""},
		"drbdsetup hung": {func(f *Facts) { f.Own.Sources[0].Hung = new(testNow.Add(-9 * time.Minute)) }, Attention,
			status.ClientsServed, "A drbdsetup gave no sign of life on pg-b and was replaced 9 min 0 s ago", ""},
		"drbdsetup hung long ago": {func(f *Facts) { f.Own.Sources[0].Hung = new(testNow.Add(-11 * time.Minute)) }, OK,
			status.ClientsServed, "Nothing to do", ""},
		"one attempt of one client fails": {func(f *Facts) {
			f.Own.Client = &status.ClientDoc{Asked: true, State: pg.StateTimeout, Error: "no answer in time",
				DownSince: new(testNow.Add(-3 * time.Second))}
		}, OK, status.ClientsServed, "Nothing to do", ""},
		"one client fails for longer": {func(f *Facts) {
			f.Own.Client = &status.ClientDoc{Asked: true, State: pg.StateTimeout, Error: "no answer in time",
				DownSince: new(testNow.Add(-6 * time.Second))}
		}, Problem, status.ClientsPartly, "does not reach it", ""},
		"a client hears first that the server stops": {func(f *Facts) {
			f.Own.Client = &status.ClientDoc{Asked: true, State: pg.StateShuttingDown, Error: "is shutting down"}
		}, Problem, status.ClientsPartly, "PostgreSQL on pg-a is shutting down", ""},
		"drbdsetup hung, and crm_mon is slow on both nodes": {func(f *Facts) {
			f.Own.Sources[0].Hung = new(testNow.Add(-time.Minute))
			for _, d := range []*status.Doc{f.Own, f.Peers["pg-a"]} {
				d.Problems = []status.Problem{{Code: "crm_slow", Severity: status.Warning, Text: "it comes late", Remedy: "wait"}}
			}
		}, Attention, status.ClientsServed, "A drbdsetup gave no sign of life on pg-b", ""},
		"crm_mon is slow on the other node": {func(f *Facts) {
			f.Peers["pg-a"].Problems = []status.Problem{{Code: "crm_slow", Severity: status.Warning, Text: "it comes late",
				Remedy: "time crm_mon -1"}}
		}, Attention, status.ClientsServed, "time crm_mon -1", ""},
		"updated on disk, and a ban": {func(f *Facts) {
			f.Own.Replaced = true
			f.Cluster.Bans = []crm.Ban{{ID: "cli-ban-x", Resource: "drbd-clone", Node: "pg-b", Weight: -crm.Infinity}}
		}, Attention, status.ClientsServed, "crm_resource --clear", "banned"},
		"updated on disk, and PostgreSQL hangs": {func(f *Facts) {
			f.Own.Replaced = true
			f.Peers["pg-a"].Postgres = status.PostgresDoc{State: pg.StateTimeout, Error: "no answer in time"}
			cutOff(f, pg.StateTimeout, "no answer in time")
		}, Problem, status.ClientsCutOff, "takes no new connection", ""},
		"updated on disk, and a warning that stands": {func(f *Facts) {
			f.Own.Replaced = true
			for _, d := range []*status.Doc{f.Own, f.Peers["pg-a"]} {
				d.Problems = []status.Problem{{Code: "config_warning", Severity: status.Warning, Text: "x"}}
			}
		}, Attention, status.ClientsServed, "systemctl restart pgha-agent", ""},
		"DRBD does not answer": {func(f *Facts) {
			f.Own.Drbd, f.Peers["pg-a"].Drbd = nil, nil
		}, Attention, status.ClientsServed, "the state of DRBD between pg-a and pg-b is not known", "?"},
		"fencing disabled": {func(f *Facts) { fencingDisabled(f) }, Attention, status.ClientsServed,
			"a failover waits for that. crm_attribute --name stonith-enabled --update true", ""},
		"fencing disabled, and a warning that stands": {func(f *Facts) {
			f.Own.Problems = []status.Problem{{Code: "config_warning", Severity: status.Warning, Text: "x"}}
			f.Peers["pg-a"].Problems = slices.Clone(f.Own.Problems)
			fencingDisabled(f)
		}, Attention, status.ClientsServed, "crm_attribute --name stonith-enabled --update true", ""},
		"fencing disabled, and no device": {func(f *Facts) {
			fencingDisabled(f)
			plants["fencing_stopped: none"](f)
		}, Attention, status.ClientsServed, "enabled without one, Pacemaker starts nothing; the first command says what is " +
			"missing: pgha-agent doctor --only fence-device", ""},
		"fencing disabled, and a ban": {func(f *Facts) {
			fencingDisabled(f)
			plants["banned"](f)
		}, Attention, status.ClientsServed, "crm_resource --clear", "banned"},
		"the standby's address is the database's": {func(f *Facts) { f.docOn("pg-b").Record.OwnAddr = addrA }, Attention,
			status.ClientsServed, "correct node.address", "other_configuration"},
		"the address of the database's node is the standby's": {func(f *Facts) { sharedAndMoved(f) }, Problem,
			status.ClientsCutOff, "most likely on pg-a. pgha-agent check-config", "other_configuration"},
		"no agent knows its address": {func(f *Facts) {
			f.Own.Record.OwnAddr, f.Peers["pg-a"].Record.OwnAddr = "", ""
		}, OK, status.ClientsServed, "Nothing to do", ""},
		"the standby's configuration is broken": {broken("pg-b"), Attention, status.ClientsServed,
			"then `systemctl reload pgha-agent`; on pg-b: pgha-agent check-config", ""},
		"the configuration of the database's node is broken": {broken("pg-a"), Attention, status.ClientsServed,
			"then `systemctl reload pgha-agent`", ""},
		"both configurations are broken": {func(f *Facts) { broken("pg-a")(f); broken("pg-b")(f) }, Attention,
			status.ClientsServed, "on pg-b: pgha-agent check-config", ""},
		"peer's agent is away": {func(f *Facts) { f.Peers, f.Errs = nil, map[string]string{"pg-a": "connection refused"} },
			Attention, status.ClientsServed, "the agent of pg-a, which has the database, was not reached", ""},
		"the standby's agent is away": {func(f *Facts) {
			f.Node, f.Own, f.Peers, f.Errs = "pg-a", f.Peers["pg-a"], nil, map[string]string{"pg-b": "connection refused"}
		}, Attention, status.ClientsServed, "the agent of pg-b was not reached", "?"},
		"the standby's agent is not asked yet": {func(f *Facts) { f.Node, f.Own, f.Peers = "pg-a", f.Peers["pg-a"], nil }, OK,
			status.ClientsServed, "Nothing to do", "?"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, side := range []string{"pg-b", "pg-a"} {
				f := world(t)
				c.plant(f)
				if side == "pg-a" {
					if f.Peers == nil {
						continue
					}
					f.Node, f.Own, f.Peers = "pg-a", f.Peers["pg-a"], map[string]*status.Doc{"pg-b": f.Own}
				}
				x := Judge(*f)
				check(t, x)
				if x.Verdict != c.verdict || x.Database.State != c.clients || !strings.Contains(strings.ToLower(x.Next+" "+x.Command), strings.ToLower(c.next)) {
					t.Errorf("%s: %s, clients %s, next %q %q; want %s, %s, %q\n%s", side, x.Verdict, x.Database.State, x.Next, x.Command,
						c.verdict, c.clients, c.next, x.Database.Text)
				}
				got := ""
				switch p := x.Failover.Possible; {
				case p == nil:
					got = "?"
				case !*p:
					got = x.Failover.Reasons[0].Code
				}
				if got != c.failover {
					t.Errorf("%s: failover %q, want %q: %s", side, got, c.failover, x.Failover.Text)
				}
				for _, r := range x.Failover.Reasons {
					if !slices.Contains(ReasonCodes, r.Code) || r.Text == "" || r.Remedy == "" {
						t.Errorf("%s: %+v", side, r)
					}
				}
			}
		})
	}
}

// TestPacemakerStoppedHere: it does not answer on the node where it was stopped, and the other node's agent sees that.
func TestPacemakerStoppedHere(t *testing.T) {
	stop := func(t *testing.T, node string) *Facts {
		f := world(t)
		if node == "pg-a" {
			f.Node, f.Own, f.Peers = "pg-a", f.Peers["pg-a"], map[string]*status.Doc{"pg-b": f.Own}
		}
		f.Cluster, f.Config, f.ConfigErr = nil, nil, "no CIB"
		f.Own.Sources[1] = status.SourceDoc{Name: "crm", Error: "exit status 102", Failures: 9, Age: new(90.0)}
		f.Own.Publication = status.PublicationDoc{State: status.PubUnknown, Holds: []status.HoldDoc{{Name: "crm_unknown"}}}
		f.Own.Problems = []status.Problem{{Code: "source_crm", Severity: status.Critical, Text: "crm does not answer"}}
		for _, d := range f.Peers {
			i := slices.IndexFunc(d.Cluster.Nodes, func(n status.NodeDoc) bool { return n.Name == node })
			d.Cluster.Nodes[i].Online = new(false)
		}
		return f
	}
	t.Run("standby", func(t *testing.T) {
		f := stop(t, "pg-b")
		f.Own.Drbd, f.Peers["pg-a"].Drbd.Connections[0].Connection = nil, drbd.ConnConnecting
		x := Judge(*f)
		check(t, x)
		if p := x.Failover.Possible; p == nil || *p || x.Failover.Reasons[0].Code != "node_offline" ||
			x.Command != startPacemaker || !strings.Contains(x.Next, "Pacemaker does not run here") {
			t.Errorf("%s; %s, %q", x.Failover.Text, x.Next, x.Command)
		}
	})
	t.Run("the other agent does not know either", func(t *testing.T) {
		f := stop(t, "pg-b")
		f.Peers["pg-a"].Sources[1].Up = false
		x := Judge(*f)
		if x.Failover.Possible != nil || x.Command != "systemctl status pacemaker" {
			t.Errorf("%s; %s, %q", x.Failover.Text, x.Next, x.Command)
		}
	})
	t.Run("where the database runs", func(t *testing.T) {
		f := stop(t, "pg-a")
		f.Peers["pg-b"].Cluster.Promoted = nil
		x := Judge(*f)
		check(t, x)
		if x.Failover.Possible != nil || x.Command != "systemctl status pacemaker" || x.Database.Node != "pg-a" {
			t.Errorf("%s; %s, %q; database on %q", x.Failover.Text, x.Next, x.Command, x.Database.Node)
		}
	})
	t.Run("where the database was", func(t *testing.T) {
		f := stop(t, "pg-a")
		b := f.Peers["pg-b"]
		f.Own.Drbd, f.Own.Postgres.State = nil, pg.StateRefused
		b.Cluster.Promoted, b.Drbd.Role, b.Postgres.State = []string{"pg-b"}, drbd.RolePrimary, pg.StateWritable
		x := Judge(*f)
		if p := x.Failover.Possible; p == nil || *p || x.Failover.To != "pg-a" || x.Command != startPacemaker ||
			x.Database.Node != "pg-b" {
			t.Errorf("%s; %s, %q; database on %q", x.Failover.Text, x.Next, x.Command, x.Database.Node)
		}
	})
}

// TestLongTTL: a TTL that is far from the configured one is told with the failover, on both nodes.
func TestLongTTL(t *testing.T) {
	for ttl, want := range map[float64]bool{0: false, 10: false, 60: false, 3600: true} {
		for _, side := range []string{"pg-b", "pg-a"} {
			f := world(t)
			f.Peers["pg-a"].Record.TTL, f.Own.Record.TTL = ttl, 10 // the standby reads the zone rarely
			if side == "pg-a" {
				f.Node, f.Own, f.Peers = "pg-a", f.Peers["pg-a"], map[string]*status.Doc{"pg-b": f.Own}
			}
			x := Judge(*f)
			if got := strings.Contains(x.Failover.Text, "clients may go to the old address for 1 h 0 min"); got != want {
				t.Errorf("%s, %v s: %s", side, ttl, x.Failover.Text)
			}
		}
	}
}

// TestBrokenConfigurationIsToldOnBothNodes: each node names every file that is broken, once, with its commands.
func TestBrokenConfigurationIsToldOnBothNodes(t *testing.T) {
	for _, side := range []string{"pg-b", "pg-a"} {
		f := world(t)
		broken("pg-a")(f)
		broken("pg-b")(f)
		if side == "pg-a" {
			f.Node, f.Own, f.Peers = "pg-a", f.Peers["pg-a"], map[string]*status.Doc{"pg-b": f.Own}
		}
		x := Judge(*f)
		var nodes []string
		for _, r := range slices.Concat(x.Findings, x.Failover.Reasons) {
			if r.Code != "config" {
				continue
			}
			nodes = append(nodes, r.Node)
			if want := []string{"pgha-agent check-config", "systemctl reload pgha-agent"}; !slices.Equal(r.Commands, want) {
				t.Errorf("%s: %q", side, r.Commands)
			}
		}
		slices.Sort(nodes)
		if !slices.Equal(nodes, []string{"pg-a", "pg-b"}) || x.Command != "pgha-agent check-config" {
			t.Errorf("%s: of %v, next %q %q", side, nodes, x.Next, x.Command)
		}
	}
}

// TestCleanupStopsNothing: where the database runs, what it depends on is cleaned up in maintenance.
func TestCleanupStopsNothing(t *testing.T) {
	const begin, end = "crm_attribute --name maintenance-mode --update true; ",
		"; crm_resource --wait --timeout 120; crm_attribute --name maintenance-mode --delete"
	for name, c := range map[string]struct {
		plant func(*Facts)
		code  string
		want  string // the last command
	}{
		"DRBD":           {failed("drbd", "pg-a"), "fail_count", begin + "crm_resource --cleanup --resource drbd --node pg-a" + end},
		"the filesystem": {failed("fs", "pg-a"), "fail_count", begin + "crm_resource --cleanup --resource fs --node pg-a" + end},
		"PostgreSQL":     {failed("pgsql", "pg-a"), "fail_count", "crm_resource --cleanup --resource pgsql --node pg-a"},
		"on the standby": {failed("drbd", "pg-b"), "fail_count", "crm_resource --cleanup --resource drbd --node pg-b"},
		"maintenance already": {func(f *Facts) {
			failed("drbd", "pg-a")(f)
			f.Cluster.MaintenanceMode = crm.Yes
		}, "fail_count", "crm_resource --cleanup --resource drbd --node pg-a"},
		"nobody has the database": {func(f *Facts) {
			f.nobodyPromoted()
			failed("drbd", "pg-a")(f)
			f.Cluster.FailCounts[0].Count = crm.Infinity
		}, "fail_count", "crm_resource --cleanup --resource drbd --node pg-a"},
		"a failed instance": {func(f *Facts) { f.instance("fs", "pg-a").Failed = crm.Yes }, "resource_failed",
			begin + "crm_resource --cleanup --resource fs --node pg-a" + end},
		"one that is nowhere": {func(f *Facts) {
			r := f.instance("fs", "pg-a")
			r.Node, r.Failed = "", crm.Yes
		}, "resource_failed", begin + "crm_resource --cleanup --resource fs" + end},
		"a blocked one": {func(f *Facts) { f.instance("drbd", "pg-a").Blocked = crm.Yes }, "resource_blocked",
			begin + "crm_resource --cleanup --resource drbd --node pg-a" + end},
	} {
		f := world(t)
		c.plant(f)
		x := Judge(*f)
		r := found(&x, c.code)
		if r == nil || len(r.Commands) == 0 || r.Commands[len(r.Commands)-1] != c.want {
			t.Errorf("%s: %+v, want %q", name, r, c.want)
		}
	}
}

// failed gives a resource a fail count on a node.
func failed(resource, node string) func(*Facts) {
	return func(f *Facts) {
		f.Cluster.FailCounts = []crm.FailCount{{Node: node, Resource: resource, Count: 1, Threshold: 3}}
	}
}

// found is the finding or reason of a code.
func found(x *Explanation, code string) *status.Finding {
	for _, r := range slices.Concat(x.Findings, x.Failover.Reasons) {
		if r.Code == code {
			return &r
		}
	}
	return nil
}

// TestFenceConstraintStaysWhileTheDiskIsBehind: it is right then, and removing it by hand would lose commits.
func TestFenceConstraintStaysWhileTheDiskIsBehind(t *testing.T) {
	f := world(t)
	f.Cluster.Bans = []crm.Ban{{ID: crm.FenceBanPrefix + "pg-drbd-clone", Resource: "drbd-clone", Node: "pg-b",
		Weight: -crm.Infinity, PromotedOnly: crm.Yes}}
	f.Peers["pg-a"].Drbd.Connections[0].PeerDevices[0].PeerDisk = drbd.DiskOutdated
	for _, r := range Blockers(*f, "pg-a", "pg-b") {
		if advice := r.Advice(); r.Code == "banned" && (strings.Contains(advice, "delete") || !strings.Contains(advice, "drbdadm")) {
			t.Errorf("%s", advice)
		}
	}
}

// TestPartners: a node that only votes has no copy of the data, whether it is of the cluster or not.
func TestPartners(t *testing.T) {
	f := world(t)
	f.Cluster.Nodes = append(f.Cluster.Nodes, crm.Node{Name: "pg-c", Type: "member", Online: crm.Yes})
	data := f.Own.Drbd.Connections[0]
	vote := drbd.DumpConnection{Name: "pg-c", Connection: drbd.ConnConnected,
		PeerDevices: []drbd.DumpPeerDevice{{PeerClient: new(true)}}}
	elsewhere := drbd.DumpConnection{Name: "far", Connection: drbd.ConnConnected, PeerDevices: data.PeerDevices}
	f.Own.Drbd.Connections = []drbd.DumpConnection{vote, elsewhere, data}
	if got := Targets(*f, f.Node); !slices.Equal(got, []string{"pg-a"}) {
		t.Errorf("%v", got)
	}
	if got := PartnerConnections(*f); len(got) != 1 || got[0].Name != "pg-a" {
		t.Errorf("%+v", got)
	}
	f.Own.Drbd.Connections = []drbd.DumpConnection{elsewhere} // and the cluster has other names
	if got := PartnerConnections(*f); len(got) != 1 {
		t.Errorf("without a name that matches: %+v", got)
	}
}
