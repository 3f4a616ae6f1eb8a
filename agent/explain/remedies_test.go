package explain

import (
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pgha/pgha-agent/agent/internal/codetest"
	"github.com/pgha/pgha-agent/agent/status"
	"github.com/pgha/pgha-agent/crm"
	"github.com/pgha/pgha-agent/drbd"
	"github.com/pgha/pgha-agent/pg"
)

// plants has a state for every finding, and for every remedy that it may have.
var plants = map[string]func(*Facts){
	"split_brain": func(f *Facts) { f.Own.Drbd.Connections[0].SplitBrain = "latched" },
	"node_unclean": func(f *Facts) {
		f.Cluster.Nodes[1].Unclean = crm.Yes
	},
	"quorum":                func(f *Facts) { f.Cluster.Quorum = crm.No },
	"node_offline":          func(f *Facts) { f.Cluster.Nodes[1].Online = crm.No },
	"node_offline: unknown": func(f *Facts) { f.Cluster.Nodes[1].Online = crm.Unknown },
	"node_offline: member": func(f *Facts) {
		f.Cluster.Nodes = f.Cluster.Nodes[:1]
	},
	"node_pending":  func(f *Facts) { f.Cluster.Nodes[1].Pending = crm.Yes },
	"node_shutdown": func(f *Facts) { f.Cluster.Nodes[1].Shutdown = crm.Yes },
	"node_standby":  func(f *Facts) { f.Cluster.Nodes[1].Standby = crm.Yes },
	"node_standby: kept": func(f *Facts) {
		f.Cluster.Nodes[1].Standby = crm.Yes
		f.Config.NodeAttributes = map[string]map[string]string{"pg-b": {"standby": "on"}}
	},
	"node_standby: failed": func(f *Facts) { f.Cluster.Nodes[1].StandbyOnFail = crm.Yes },
	"node_health": func(f *Facts) {
		f.Cluster.Nodes[1].Health = "red"
		f.Config.Properties["node-health-strategy"] = "migrate-on-red"
		f.Cluster.Attributes = append(f.Cluster.Attributes, crm.Attribute{Node: "pg-b", Name: "#health_disk", Value: "red"})
	},
	"node_health: not among crm_mon's attributes": func(f *Facts) {
		f.Cluster.Nodes[1].Health = "red"
		f.Config.Properties["node-health-strategy"] = "migrate-on-red"
		f.Config.Transient = map[string]map[string]string{"pg-b": {"#health-disk": "red"}}
	},
	"fencing_failed": func(f *Facts) {
		f.Cluster.FenceEvents = []crm.FenceEvent{{Target: "pg-a", Action: "off", Status: "failed"}}
	},
	"fencing_stopped: disabled": func(f *Facts) {
		noFencing(f)
		f.Config.Primitive("fence-a").Meta["target-role"] = "Stopped"
	},
	"fencing_stopped: none": func(f *Facts) {
		f.Cluster.Resources, f.Config.Primitives = f.Cluster.Resources[:5], f.Config.Primitives[:4]
		f.Config.Properties["cluster-name"] = "pg"
	},
	"node_unclean: the writer":           lostWriter,
	"fencing_missing: of one that lives": func(f *Facts) { f.Cluster.Nodes[0].Unclean = crm.Yes },
	"fencing_stopped":                    func(f *Facts) { f.instance("fence-a", "pg-b").Role = crm.RoleStopped },
	"fencing_stopped: all":               noFencing,
	"fencing_disabled":                   func(f *Facts) { f.Cluster.FencingEnabled = crm.No },
	"fencing_disabled: no device": func(f *Facts) {
		f.Cluster.FencingEnabled = crm.No
		f.Cluster.Resources, f.Config.Primitives = f.Cluster.Resources[:5], f.Config.Primitives[:4]
	},
	"fencing_disabled: by its newer name": func(f *Facts) {
		f.Cluster.FencingEnabled = crm.No
		f.Config.Properties["fencing-enabled"] = "false"
	},
	"disk": func(f *Facts) { f.Own.Drbd.Devices[0].Disk = drbd.DiskInconsistent },
	"resync": func(f *Facts) {
		v := &f.Peers["pg-a"].Drbd.Connections[0].PeerDevices[0]
		v.PeerDisk, v.Replication, v.Done = drbd.DiskInconsistent, drbd.ReplSyncSource, new(40.0)
	},
	"resync: stalled": func(f *Facts) {
		v := &f.Peers["pg-a"].Drbd.Connections[0].PeerDevices[0]
		v.PeerDisk, v.Replication, v.Done, v.Stalled = drbd.DiskInconsistent, drbd.ReplSyncSource, new(40.0), true
	},
	"disk: paused": func(f *Facts) {
		v := &f.Peers["pg-a"].Drbd.Connections[0].PeerDevices[0]
		v.PeerDisk, v.Replication, v.ResyncSuspended = drbd.DiskInconsistent, drbd.ReplPausedSyncS, []string{"peer"}
	},
	"disk: paused here": func(f *Facts) {
		v := &f.Peers["pg-a"].Drbd.Connections[0].PeerDevices[0]
		v.PeerDisk, v.Replication, v.ResyncSuspended = drbd.DiskInconsistent, drbd.ReplPausedSyncS, []string{"user"}
	},
	"disk: no resync": func(f *Facts) { f.Peers["pg-a"].Drbd.Connections[0].PeerDevices[0].PeerDisk = drbd.DiskOutdated },
	"disk: lost":      func(f *Facts) { f.Peers["pg-a"].Drbd.Connections[0].PeerDevices[0].PeerDisk = drbd.DiskDiskless },
	"disconnected":    func(f *Facts) { f.Peers["pg-a"].Drbd.Connections[0].Connection = drbd.ConnStandAlone },
	"drbd_quorum":     func(f *Facts) { f.Own.Drbd.Devices[0].Quorum = new(false) },
	"drbd_quorum: of the database": func(f *Facts) {
		f.Peers["pg-a"].Drbd.Devices[0].Quorum = new(false)
	},
	"out_of_sync": func(f *Facts) {
		f.Peers["pg-a"].Drbd.Connections[0].PeerDevices[0].OutOfSyncBytes = new(uint64(8192))
	},
	"path": func(f *Facts) {
		f.Peers["pg-a"].Drbd.Connections[0].Paths = []drbd.DumpPath{{Peer: "ipv4:10.0.2.10:7789", Established: new(false)},
			{Peer: "ipv4:10.1.2.10:7789", Established: new(true)}}
	},
	"foreign_postgres": func(f *Facts) { f.Own.Postgres.Foreign = true },
	"foreign_postgres: of the database": func(f *Facts) {
		f.Peers["pg-a"].Postgres.Foreign = true
	},
	"foreign_mount": func(f *Facts) {
		f.Own.Mounts = []status.MountDoc{{Point: "/srv/pg", Source: "tmpfs", Wanted: true}}
	},
	"resource_blocked": func(f *Facts) { f.instance("drbd", "pg-b").Blocked = crm.Yes },
	"resource_failed":  func(f *Facts) { f.instance("drbd", "pg-b").Failed = crm.Yes },
	"fail_count": func(f *Facts) {
		f.Cluster.FailCounts = []crm.FailCount{{Node: "pg-b", Resource: "pgsql", Count: crm.Infinity, Threshold: 3}}
	},
	"fail_count: of what has not run there": func(f *Facts) {
		f.Config.Transient = map[string]map[string]string{"pg-b": {"fail-count-pgsql#start_0": "INFINITY"}}
	},
	"fail_count: below": func(f *Facts) {
		f.Cluster.FailCounts = []crm.FailCount{{Node: "pg-b", Resource: "pgsql", Count: 1, Threshold: 3}}
	},
	"no_instance":     func(f *Facts) { f.instance("drbd", "pg-b").Node = "" },
	"promotion_score": func(f *Facts) { f.Cluster.Attributes = f.Cluster.Attributes[:1] },
	"banned":          ban("cli-ban-drbd-clone-on-pg-b", -crm.Infinity),
	"banned: a score": ban("cli-ban-drbd-clone-on-pg-b", -100),
	"banned: colocation": func(f *Facts) {
		f.Config.Colocations = append(f.Config.Colocations, crm.Colocation{ID: "apart", Resource: "database", With: "web",
			Score: -crm.Infinity})
	},
	"banned: by rule": ban("operators-rule", -crm.Infinity),
	"banned: behind": func(f *Facts) {
		ban("drbd-fence-by-handler-pg-rule-drbd-clone", -crm.Infinity)(f)
		f.Own.Drbd.Devices[0].Disk = drbd.DiskInconsistent
		f.Peers["pg-a"].Drbd.Connections[0].PeerDevices[0].PeerDisk = drbd.DiskInconsistent
	},
	"banned: left": ban("drbd-fence-by-handler-pg-rule-drbd-clone", -crm.Infinity),
	"ticket": func(f *Facts) {
		f.Cluster.Tickets = []crm.Ticket{{ID: "T", Status: "revoked"}}
		f.Config.Tickets = []crm.TicketConstraint{{ID: "t", Resource: "drbd-clone", Ticket: "T"}}
	},
	"ticket: standby": func(f *Facts) {
		f.Cluster.Tickets = []crm.Ticket{{ID: "T", Status: "granted", Standby: crm.Yes}}
		f.Config.Tickets = []crm.TicketConstraint{{ID: "t", Resource: "drbd-clone", Ticket: "T"}}
	},
	"ticket: perhaps": func(f *Facts) {
		f.Cluster.Tickets = []crm.Ticket{{ID: "T", Status: "revoked"}}
		f.Config = nil
	},
	"target_role": func(f *Facts) { f.Config.Clones[0].Meta["target-role"] = "Slave" },
	"maintenance": func(f *Facts) { f.Cluster.MaintenanceMode = crm.Yes },
	"maintenance: of a node": func(f *Facts) {
		f.Cluster.Nodes[1].Maintenance = crm.Yes
	},
	"unmanaged": func(f *Facts) {
		f.Config.Groups[0].Meta["is-managed"] = "false"
		f.instance("pgsql", "pg-a").Managed = crm.No
	},
	"unmanaged: by a default": func(f *Facts) { f.instance("pgsql", "pg-a").Managed = crm.No },
	"unmanaged: not known how": func(f *Facts) {
		f.Config = nil
		f.instance("pgsql", "pg-a").Managed = crm.No
	},
	"paused":                       func(f *Facts) { f.Own.Publication.PausedUntil = new(testNow.Add(time.Hour)) },
	"route53":                      func(f *Facts) { f.Own.Sources[3] = status.SourceDoc{Name: "route53", Error: "denied"} },
	"other_configuration":          func(f *Facts) { f.Peers["pg-a"].Config.Zone = "Z2" },
	"other_configuration: address": func(f *Facts) { f.docOn("pg-b").Record.OwnAddr = addrA },
	"other_configuration: address of the database": sharedAndMoved,
	"other_configuration: clients": func(f *Facts) {
		a := f.Peers["pg-a"]
		a.Config.Record, a.Record.Name = "dbx.pgha.internal", "dbx.pgha.internal"
		cutOff(f, pg.StateRefused, "connection refused")
	},
	"config":                  broken("pg-b"),
	"config: of the database": broken("pg-a"),
	"peer_agent": func(f *Facts) {
		f.Node, f.Own, f.Peers, f.Errs = "pg-a", f.Peers["pg-a"], nil, map[string]string{"pg-b": "refused"}
	},

	"configuration_unread": func(f *Facts) { f.Config, f.ConfigErr = nil, "exit status 1" },
	"may_promote":          func(f *Facts) { f.nobodyPromoted(); f.Own.Drbd.MayPromote = new(false) },
	"agent_replaced":       func(f *Facts) { f.Own.Replaced = true },
	"other_version":        func(f *Facts) { f.Own.Version, f.Peers["pg-a"].Version = "0.2.0", "0.1.0" },
	"drbd_hung":            func(f *Facts) { f.Own.Sources[0].Hung = new(testNow.Add(-time.Minute)) },
	"switchover":           func(f *Facts) { f.Own.Replaced = true }, // it is not in the facts; something else is the next step
	"role_forgotten": func(f *Facts) {
		f.instance("drbd", "pg-a").Role = crm.RoleUnpromoted
		f.Own.Cluster.Promoted, f.Peers["pg-a"].Cluster.Promoted = nil, nil
	},
	"disk_lost":          func(f *Facts) { f.Peers["pg-a"].Drbd.Devices[0].Disk = drbd.DiskDiskless },
	"disk_lost: resyncs": func(f *Facts) { f.Peers["pg-a"].Drbd.Devices[0].Disk = drbd.DiskInconsistent },
	"disk_lost: alone": func(f *Facts) {
		f.Peers["pg-a"].Drbd.Devices[0].Disk = drbd.DiskDiskless
		f.Peers["pg-a"].Drbd.Connections[0].Connection = drbd.ConnConnecting
	},
	"disk_lost: a copy elsewhere": func(f *Facts) {
		a := f.Peers["pg-a"].Drbd
		elsewhere := a.Connections[0]
		elsewhere.Name = "backup"
		a.Devices[0].Disk, a.Connections[0].Connection = drbd.DiskDiskless, drbd.ConnConnecting
		a.Connections = append(a.Connections, elsewhere)
	},
	"many_promoted": func(f *Facts) { f.instance("drbd", "pg-b").Role = crm.RolePromoted },
	"fail_count: of the database": func(f *Facts) {
		f.Cluster.FailCounts = []crm.FailCount{{Node: "pg-a", Resource: "pgsql", Count: 2, Threshold: 3}}
	},
	"paused: of the database":        func(f *Facts) { f.Peers["pg-a"].Publication.PausedUntil = new(testNow.Add(time.Hour)) },
	"drbd_suspended: by hand":        func(f *Facts) { f.Peers["pg-a"].Drbd.Suspended = []string{"user"} },
	"postgres_down: an error":        server(pg.StateError),
	"way_blocked: its agent is away": func(f *Facts) { cutOff(f, pg.StateTimeout, "timeout"); f.Peers = nil },
	"name_elsewhere: held": func(f *Facts) {
		named(addrB)(f)
		f.Peers["pg-a"].Publication = status.PublicationDoc{State: status.PubHeld, LastFailure: "denied",
			Holds: []status.HoldDoc{{Name: "api_backoff", Text: "the API refused"}}}
	},
	"name_elsewhere: of one resolver": func(f *Facts) { named("10.9.9.9")(f); f.Own.Client.OK = true },
	"drbd_suspended":                  func(f *Facts) { f.Peers["pg-a"].Drbd.Suspended = []string{"fencing"} },
	"filesystem_full":                 mounted(status.MountDoc{Point: "/srv/pg", OnDrbd: true, Size: 100 << 30, Free: 1 << 20}),
	"filesystem_full: inodes":         mounted(status.MountDoc{Point: "/srv/pg", OnDrbd: true, Size: 100 << 30, Free: 50 << 30, Inodes: new(uint64(0))}),
	"filesystem_fills":                mounted(status.MountDoc{Point: "/srv/pg", OnDrbd: true, Size: 100 << 30, Free: 5 << 30}),
	"commits_hang":                    func(f *Facts) { f.Peers["pg-a"].Postgres.FlushStall = 40 },
	"sync_standby":                    func(f *Facts) { f.Peers["pg-a"].Postgres.SyncWait = 40 },
	"postgres_recovers":               server(pg.StateStartingUp),
	"postgres_hangs":                  server(pg.StateTimeout),
	"postgres_too_many":               server(pg.StateTooMany),
	"postgres_read_only":              server(pg.StateReadOnly),
	"postgres_standby":                server(pg.StateInRecovery),
	"postgres_stops":                  server(pg.StateShuttingDown),
	"postgres_down":                   server(pg.StateRefused),
	"role_rejected":                   server(pg.StateAuth),
	"role_rejected: limit":            rejects(`FATAL: too many connections for role "pgha" (SQLSTATE 53300)`),
	"role_rejected: database":         rejects(`FATAL: too many connections for database "postgres" (SQLSTATE 53300)`),
	"role_rejected: read only":        rejects(pg.ReadOnlySource + "user"),
	"role_rejected: dsn":              rejects(pg.ReadOnlySource + "client"),
	"role_rejected: dsn of one node": func(f *Facts) {
		f.Own.Client = &status.ClientDoc{Asked: true, State: pg.StateAuth, Error: pg.ReadOnlySource + "client"}
	},
	"role_rejected: of one node": func(f *Facts) {
		f.Own.Client = &status.ClientDoc{Asked: true, State: pg.StateAuth, Error: "pg_hba.conf rejects connection"}
	},
	"postgres_dsn": func(f *Facts) {
		f.Peers["pg-a"].Postgres = status.PostgresDoc{State: pg.StateRefused, Error: "no such file"}
	},
	"foreign_postgres: where the database is": func(f *Facts) { f.stopped(); f.Peers["pg-a"].Postgres.Foreign = true },
	"way_blocked: refused":                    func(f *Facts) { cutOff(f, pg.StateRefused, "refused") },
	"way_blocked: for one": func(f *Facts) {
		f.Own.Client = &status.ClientDoc{Asked: true, State: pg.StateTimeout, DownSince: new(testNow.Add(-time.Minute))}
	},
	"way_blocked: an error": func(f *Facts) { cutOff(f, pg.StateError, "an error") },
	"cluster_unknown": func(f *Facts) {
		f.nobodyPromoted()
		f.Cluster = nil
	},
	"fencing_under_way": func(f *Facts) {
		lostWriter(f)
		f.Cluster.FenceEvents = []crm.FenceEvent{{Target: "pg-a", Action: "off", Status: "pending", Delegate: "pg-b"}}
	},
	"fencing_missing": lostWriter,
	"nobody_promoted": (*Facts).nobodyPromoted,
	"record_missing": func(f *Facts) {
		f.Own.Record.Addr, f.Own.Record.ResolverAddr = "", nil
		f.Own.Client = &status.ClientDoc{State: pg.StateWritable, DownSince: new(testNow.Add(-time.Minute))}
		f.Peers["pg-a"].Client = f.Own.Client
	},
	"resolver_down": func(f *Facts) {
		cutOff(f, pg.StateError, "SERVFAIL")
		f.Own.Sources[4] = status.SourceDoc{Name: "resolver", Error: "SERVFAIL"}
		f.Peers["pg-a"].Sources[4] = f.Own.Sources[4]
	},
	"name_negative":  named(""),
	"name_elsewhere": named("10.9.9.9"),
	"way_blocked":    func(f *Facts) { cutOff(f, pg.StateTimeout, "timeout") },
}

// sharedAndMoved: the record follows a failover to an address where the database is not.
func sharedAndMoved(f *Facts) {
	cutOff(f, pg.StateRefused, "connection refused")
	for _, node := range []string{"pg-a", "pg-b"} {
		r := &f.docOn(node).Record
		r.OwnAddr, r.Addr, r.ResolverAddr = addrB, addrB, new(addrB)
	}
}

// broken makes the configuration file of a node one that its agent has not taken.
func broken(node string) func(*Facts) {
	return func(f *Facts) {
		f.docOn(node).Problems = []status.Problem{{Code: "config", Severity: status.Warning,
			Text:   "the configuration was not reloaded: config.toml:9: bogus: unknown field",
			Remedy: "`pgha-agent check-config` shows what is wrong; correct it, then `systemctl reload pgha-agent`"}}
	}
}

// docOn is the document of a node's daemon.
func (f *Facts) docOn(node string) *status.Doc {
	if node == f.Node {
		return f.Own
	}
	return f.Peers[node]
}

func noFencing(f *Facts) {
	for _, r := range []*crm.Resource{f.instance("fence-a", "pg-b"), f.instance("fence-b", "pg-a")} {
		r.Role = crm.RoleStopped
	}
}

func ban(id string, weight int) func(*Facts) {
	return func(f *Facts) {
		f.Cluster.Bans = []crm.Ban{{ID: id, Resource: "drbd-clone", Node: "pg-b", Weight: weight, PromotedOnly: crm.Yes}}
	}
}

func mounted(m status.MountDoc) func(*Facts) {
	return func(f *Facts) { f.Peers["pg-a"].Mounts = []status.MountDoc{m} }
}

func server(state pg.State) func(*Facts) {
	return func(f *Facts) {
		f.Peers["pg-a"].Postgres = status.PostgresDoc{State: state, Error: "why"}
		cutOff(f, state, "why")
	}
}

// rejects: the server serves others, as far as is known, and not the agent.
func rejects(why string) func(*Facts) {
	return func(f *Facts) {
		f.Peers["pg-a"].Postgres = status.PostgresDoc{State: pg.StateAuth, Error: why}
		for _, d := range []*status.Doc{f.Own, f.Peers["pg-a"]} {
			d.Client = &status.ClientDoc{Asked: true, State: pg.StateAuth, Error: why}
		}
	}
}

func named(addr string) func(*Facts) {
	return func(f *Facts) {
		cutOff(f, pg.StateTimeout, "timeout")
		f.Own.Record.ResolverAddr, f.Peers["pg-a"].Record.ResolverAddr = new(addr), new(addr)
	}
}

// lostWriter: the node with the database is gone, and its agent with it.
func lostWriter(f *Facts) {
	f.Cluster.Nodes[0].Online, f.Cluster.Nodes[0].Unclean = crm.No, crm.Yes
	f.Peers, f.Errs = nil, map[string]string{"pg-a": "timeout"}
	f.Own.Drbd.Connections[0].PeerRole = drbd.RoleUnknown
	f.Own.Client = &status.ClientDoc{Asked: true, State: pg.StateTimeout, DownSince: new(testNow.Add(-time.Minute))}
}

var place = regexp.MustCompile(`\bon (pg-[a-z0-9]+)`)

// programs are those whose options TestCommandsOfRemediesExist in cmd/pgha-agent knows.
var programs = []string{"pgha-agent", "crm_mon", "crm_resource", "crm_attribute", "crm_standby", "crm_ticket", "crm_simulate",
	"cibadmin", "attrd_updater", "stonith_admin", "drbdadm", "drbdsetup", "systemctl", "journalctl", "psql", "dig", "df", "du",
	"umount", "fsfreeze", "ps", "pkill", "runuser", "nft", "iptables", "ip"}

// TestDiskUnderTheDatabase: the database moves to a good copy that can take it, and nowhere else.
func TestDiskUnderTheDatabase(t *testing.T) {
	for name, moves := range map[string]bool{
		"disk_lost": true, "disk_lost: resyncs": false, "disk_lost: alone": false, "disk_lost: a copy elsewhere": false,
	} {
		f := world(t)
		plants[name](f)
		x := Judge(*f)
		i := slices.IndexFunc(x.Findings, func(r status.Finding) bool { return r.Code == "disk_lost" })
		if i < 0 || (x.Findings[i].Commands[0] == Rescue) != moves {
			t.Errorf("%s: %+v, want a move: %v", name, x.Findings, moves)
		}
	}
}

// TestEveryFindingHasAWayOut plants every finding that the source has. Each says what to do, with a command that has
// everything filled in. That these commands exist is tested in cmd/pgha-agent.
//
// Its node is the one where its commands are to be run, when the remedy names one.
func TestEveryFindingHasAWayOut(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	codes, err := codetest.Codes(files, []string{"forbids", "warns", "add", "report", "one"}, []string{"Finding"})
	if err != nil || len(codes) < 50 {
		t.Fatalf("%d codes, %v", len(codes), err)
	}
	seen := map[string]bool{}
	for name, plant := range plants {
		want, _, _ := strings.Cut(name, ":")
		found := false
		for _, side := range []string{"pg-b", "pg-a"} {
			f := world(t)
			plant(f)
			if side == "pg-a" {
				if f.Peers["pg-a"] == nil {
					continue
				}
				f.Node, f.Own, f.Peers = "pg-a", f.Peers["pg-a"], map[string]*status.Doc{"pg-b": f.Own}
			}
			x := Judge(*f)
			if want == "switchover" {
				AddLeftover(&x, "a switchover has left its constraint", "crm_resource --clear --resource drbd-clone", nil)
			}
			for _, r := range slices.Concat(x.Findings, x.Failover.Reasons) {
				seen[r.Code] = true
				found = found || r.Code == want
				if !slices.Contains(codes, r.Code) {
					t.Errorf("%s: code %s is not found in the source", name, r.Code)
				}
				if r.Text == "" || r.Remedy == "" || len(r.Commands) == 0 || slices.ContainsFunc(r.Commands, codetest.Vague) {
					t.Errorf("%s: no way out of %+v", name, r)
				}
				if on := place.FindAllStringSubmatch(r.Remedy, -1); len(on) > 0 && on[len(on)-1][1] != r.Node {
					t.Errorf("%s: its commands are for %s, its node is %s: %s", name, on[len(on)-1][1], r.Node, r.Remedy)
				}
				for _, c := range r.Commands {
					if name, _, _ := strings.Cut(c, " "); !slices.Contains(programs, name) {
						t.Errorf("%s: the program of %q is not known", name, c)
					}
				}
				for _, c := range codetest.Quoted(r.Remedy) {
					if codetest.Vague(c) {
						t.Errorf("%s: %q is not complete: %+v", name, c, r)
					}
				}
			}
			if codetest.Vague(x.Command) && x.Command != "" {
				t.Errorf("%s: command %q of %q is not complete", name, x.Command, x.Next)
			}
		}
		if !found {
			t.Errorf("the state of %s does not show it", name)
		}
	}
	for _, code := range codes {
		if !seen[code] {
			t.Errorf("finding %s is not planted", code)
		}
	}
}
