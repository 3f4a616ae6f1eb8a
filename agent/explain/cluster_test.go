package explain

import (
	"slices"
	"strings"
	"testing"

	"github.com/pgha/pgha-agent/agent/status"
	"github.com/pgha/pgha-agent/crm"
	"github.com/pgha/pgha-agent/drbd"
	"github.com/pgha/pgha-agent/pg"
)

// configure gives the world a configuration: that of testCIB, changed as a CIB is.
func configure(t *testing.T, f *Facts, replace ...string) {
	t.Helper()
	cib := strings.NewReplacer(replace...).Replace(testCIB)
	if cib == testCIB {
		t.Fatalf("nothing of %q is in the CIB", replace)
	}
	conf, err := crm.ParseConfiguration([]byte(cib))
	if err != nil {
		t.Fatal(err)
	}
	f.Config = conf
}

// property is a replacement that sets a cluster option.
func property(name, value string) []string {
	return []string{"<crm_config/>", `<crm_config><cluster_property_set id="o"><nvpair id="o1" name="` + name + `" value="` +
		value + `"/></cluster_property_set></crm_config>`}
}

// noClone stops DRBD on pg-b as Pacemaker does.
func noClone(f *Facts) {
	f.Cluster.Resources = slices.DeleteFunc(f.Cluster.Resources, func(r crm.Resource) bool {
		return r.ID == "drbd" && r.Node == "pg-b"
	})
	f.Cluster.Attributes = f.Cluster.Attributes[:1]
	f.Own.Drbd = nil
	i := slices.IndexFunc(f.Own.Sources, func(s status.SourceDoc) bool { return s.Name == "drbd" })
	f.Own.Sources[i] = status.SourceDoc{Name: "drbd", Error: "no resource"}
	f.Own.Problems = []status.Problem{{Code: "source_drbd", Severity: status.Warning, Text: "drbd does not answer"}}
	c := &f.Peers["pg-a"].Drbd.Connections[0]
	c.Connection, c.PeerRole, c.PeerDevices = drbd.ConnConnecting, "", nil
}

// TestClusterKeepsTheDatabaseAway: the first reason is the cause, and its commands end it.
func TestClusterKeepsTheDatabaseAway(t *testing.T) {
	ban := func(id, resource, node string) crm.Ban {
		return crm.Ban{ID: id, Resource: resource, Node: node, Weight: -crm.Infinity, PromotedOnly: crm.No}
	}
	const fences = `<primitive id="fence-a" class="stonith" type="fence_aws"/><primitive id="fence-b" class="stonith" type="fence_aws"/>`
	fencesOf := func(a string) []string {
		of := func(node, hosts string) string {
			return `<primitive id="fence-` + node + `" class="stonith" type="fence_aws"><instance_attributes id="i` + node + `">` +
				`<nvpair id="h` + node + `" name="pcmk_host_list" value="` + hosts + `"/></instance_attributes></primitive>`
		}
		return []string{"<primitive id=\"fence-a\" class=\"stonith\" type=\"fence_aws\"/>", of("a", a),
			"<primitive id=\"fence-b\" class=\"stonith\" type=\"fence_aws\"/>", of("b", "pg-b")}
	}
	if !strings.Contains(testCIB, fences) {
		t.Fatal("the CIB has other fence devices")
	}
	for name, c := range map[string]struct {
		plant         func(*Facts)
		code, text    string // of the first reason; "" when a failover is possible
		command       string // among its commands
		neverSuggests string
	}{
		"the clone is banned": {func(f *Facts) {
			noClone(f)
			f.Cluster.Bans = []crm.Ban{ban("cli-ban-x", "drbd-clone", "pg-b")}
		}, "banned", "keeps drbd-clone from pg-b", "crm_resource --clear --resource drbd-clone --node pg-b", "drbdadm"},
		"DRBD failed to start too often": {func(f *Facts) {
			noClone(f)
			f.Cluster.FailCounts = []crm.FailCount{{Node: "pg-b", Resource: "drbd", Count: crm.Infinity, Threshold: crm.Infinity}}
		}, "fail_count", "drbd has a fail count", "crm_resource --cleanup --resource drbd --node pg-b", "drbdadm"},
		"clone-max": {func(f *Facts) {
			noClone(f)
			configure(t, f, `name="promotable" value="true"/>`, `name="promotable" value="true"/><nvpair id="m2" name="clone-max" value="1"/>`)
		}, "no_instance", "its clone-max is 1", "crm_resource --resource drbd-clone --meta --delete-parameter clone-max", "drbdadm"},
		"clone-max is not why": {func(f *Facts) {
			noClone(f)
			configure(t, f, `name="promotable" value="true"/>`, `name="promotable" value="true"/><nvpair id="m2" name="clone-max" value="2"/>`)
			f.Cluster.Resources = append(f.Cluster.Resources, crm.Resource{ID: "drbd", Clone: "drbd-clone", Role: crm.RoleStopped})
		}, "no_instance", "runs no instance of drbd-clone", "crm_simulate --live-check --show-scores", "drbdadm"},
		"the clone's ticket": {func(f *Facts) {
			noClone(f)
			configure(t, f, "<constraints>", `<constraints><rsc_ticket id="t" rsc="drbd-clone" ticket="T" loss-policy="stop"/>`)
			f.Cluster.Tickets = []crm.Ticket{{ID: "T", Status: "revoked"}}
		}, "ticket", "ticket T is revoked", "crm_ticket --ticket T --grant --force", "drbdadm"},
		"only what is allowed runs": {func(f *Facts) {
			noClone(f)
			configure(t, f, property("symmetric-cluster", "False")...)
		}, "banned", "no constraint allows drbd-clone to run on pg-b", "crm_attribute --name symmetric-cluster --delete", ""},
		"only what is allowed runs, and this is": {func(f *Facts) {
			configure(t, f, append(property("symmetric-cluster", "off"), "<constraints>", `<constraints>
<rsc_location id="l1" rsc="drbd-clone" node="pg-b" score="0"/><rsc_location id="l2" rsc="database" node="pg-b" score="10"/>`)...)
		}, "", "", "", ""},
		"what the group must be with is banned": {func(f *Facts) {
			configure(t, f, "<constraints>", `<constraints><rsc_colocation id="d" rsc="database" with-rsc="web" score="INFINITY"/>`)
			f.Cluster.Bans = []crm.Ban{ban("cli-ban-web", "web", "pg-b")}
		}, "banned", "keeps web from pg-b", "crm_resource --clear --resource web --node pg-b", ""},
		"web is banned, and the database does not need it": {func(f *Facts) {
			f.Cluster.Bans = []crm.Ban{ban("cli-ban-web", "web", "pg-b")}
		}, "", "", "", ""},
		"no device is for the database's node": {func(f *Facts) { configure(t, f, fencesOf("nobody")...) },
			"fencing_stopped", "no fence device is for pg-a: it cannot be fenced when it is lost; fence-a is for nobody",
			"crm_resource --resource fence-a --set-parameter pcmk_host_list --parameter-value pg-a", "cleanup"},
		"the device of the database's node is deleted": {func(f *Facts) {
			configure(t, f, `<primitive id="fence-a" class="stonith" type="fence_aws"/>`, "", `<primitive id="fence-b" class="stonith" type="fence_aws"/>`,
				fencesOf("pg-a")[3])
			f.Cluster.Resources = slices.DeleteFunc(f.Cluster.Resources, func(r crm.Resource) bool { return r.ID == "fence-a" })
		}, "fencing_stopped", "no fence device is for pg-a", "pgha-agent doctor --only fence-device", "cleanup"},
		"each device is for its node": {func(f *Facts) {
			configure(t, f, fencesOf("pg-a")...)
			f.Cluster.Bans = []crm.Ban{ban("loc-a", "fence-a", "pg-a"), ban("loc-b", "fence-b", "pg-b")}
		}, "", "", "", ""},
		"its device is banned from the other node, and stopped": {func(f *Facts) {
			configure(t, f, fencesOf("pg-a")...)
			f.Cluster.Bans = []crm.Ban{ban("loc-a", "fence-a", "pg-a"), ban("loc-b", "fence-b", "pg-b"),
				ban("cli-ban-fence-a", "fence-a", "pg-b")}
			r := f.instance("fence-a", "pg-b")
			r.Role, r.Node = crm.RoleStopped, ""
		}, "fencing_stopped", "cli-ban-fence-a from pg-b: pg-a cannot be fenced",
			"crm_resource --clear --resource fence-a --node pg-b", "cleanup"},
		"its device runs on its own target, and is banned from the other node": {func(f *Facts) {
			configure(t, f, fencesOf("pg-a")...)
			f.Cluster.Bans = []crm.Ban{{ID: "wrong", Resource: "fence-a", Node: "pg-b", Weight: -100}}
			f.instance("fence-a", "pg-b").Node = "pg-a"
		}, "fencing_stopped", "wrong from pg-b: pg-a cannot be fenced", RemoveConstraint("wrong"), "cleanup"},
		"a score that outweighs the promotion score": {func(f *Facts) {
			f.Cluster.Bans = []crm.Ban{{ID: "l", Resource: "drbd-clone", Node: "pg-b", Weight: -20000, PromotedOnly: crm.Yes}}
		}, "banned", "its score of -20000 outweighs the promotion score of 10000", RemoveConstraint("l"), ""},
		"a score that does not": {func(f *Facts) {
			f.Cluster.Bans = []crm.Ban{{ID: "l", Resource: "drbd-clone", Node: "pg-b", Weight: -9999, PromotedOnly: crm.Yes}}
		}, "", "", "", ""},
		"permanent health": {func(f *Facts) {
			f.Cluster.Nodes[1].Health = "red"
			f.Config.Properties["node-health-strategy"] = "migrate-on-red"
			f.Config.NodeAttributes = map[string]map[string]string{"pg-b": {"#health-disk": "red"}}
		}, "node_health", "#health-disk is red", "crm_attribute --node pg-b --name '#health-disk' --delete", "attrd_updater"},
		"health, and what DRBD's handler made of it": {func(f *Facts) {
			noClone(f)
			f.Cluster.Nodes[1].Health = "red"
			f.Config.Properties["node-health-strategy"] = "migrate-on-red"
			f.Cluster.Attributes = append(f.Cluster.Attributes, crm.Attribute{Node: "pg-b", Name: "#health-disk", Value: "red"})
			f.Cluster.Bans = []crm.Ban{{ID: crm.FenceBanPrefix + "pg", Resource: "drbd-clone", Node: "pg-b", Weight: -crm.Infinity,
				PromotedOnly: crm.Yes}}
		}, "node_health", "#health-disk is red", "attrd_updater --node pg-b --name '#health-disk' --delete", "drbdadm"},
		"all are stopped by default": {func(f *Facts) {
			f.Config.Defaults = map[string]string{"target-role": "Stopped"}
			f.instance("drbd", "pg-b").TargetRole = "Stopped"
		}, "target_role", "stopped by its target-role", "crm_attribute --type rsc_defaults --name target-role --delete", "--meta"},
		"all are in maintenance by default": {func(f *Facts) {
			f.Config.Defaults = map[string]string{"maintenance": "true"}
			f.instance("drbd", "pg-b").Maintenance = crm.Yes
		}, "unmanaged", "unmanaged or in maintenance", "crm_attribute --type rsc_defaults --name maintenance --delete", "--meta"},
	} {
		t.Run(name, func(t *testing.T) {
			f := world(t)
			c.plant(f)
			f.Clone = "drbd-clone"
			for range 2 {
				x := Judge(*f)
				check(t, x)
				f.Node, f.Own, f.Peers = "pg-a", f.Peers["pg-a"], map[string]*status.Doc{"pg-b": f.Own}
				if c.code == "" {
					if x.Failover.Possible == nil || !*x.Failover.Possible {
						t.Errorf("no failover: %s", x.Failover.Text)
					}
					continue
				}
				r := x.Failover.Reasons
				if *x.Failover.Possible || r[0].Code != c.code || !strings.Contains(r[0].Text, c.text) ||
					!slices.Contains(r[0].Commands, c.command) {
					t.Errorf("%s\n%+v", x.Failover.Text, r)
				}
				if all := strings.Join(append(r[0].Commands, x.Command), "; "); c.neverSuggests != "" &&
					strings.Contains(all, c.neverSuggests) || x.Verdict != Attention || !slices.Contains(r[0].Commands, x.Command) {
					t.Errorf("%s, next %q: %s", x.Verdict, x.Next, all)
				}
			}
		})
	}
}

// TestStoppedDatabaseNamesItsCause: nothing runs, and what keeps it so is the next step.
func TestStoppedDatabaseNamesItsCause(t *testing.T) {
	stopped := func(f *Facts, ids ...string) {
		for i := range f.Cluster.Resources {
			if r := &f.Cluster.Resources[i]; slices.Contains(ids, r.ID) {
				r.Role, r.Node = crm.RoleStopped, ""
			}
		}
		for _, d := range []*status.Doc{f.Own, f.Peers["pg-a"]} {
			d.Postgres = status.PostgresDoc{State: pg.StateRefused, Error: "no such file"}
		}
		cutOff(f, pg.StateRefused, "refused")
	}
	for name, c := range map[string]struct {
		plant   func(*Facts)
		command string
	}{
		"stop-all-resources": {func(f *Facts) {
			configure(t, f, property("stop-all-resources", "yes")...)
			stopped(f, "drbd", "fs", "pgsql", "web", "fence-a", "fence-b")
			for _, d := range []*status.Doc{f.Own, f.Peers["pg-a"]} {
				d.Cluster.Promoted, d.Drbd = nil, nil
			}
		}, "crm_attribute --name stop-all-resources --delete"},
		"a ticket of the group": {func(f *Facts) {
			configure(t, f, "<constraints>", `<constraints><rsc_ticket id="t" rsc="database" ticket="T" loss-policy="stop"/>`)
			f.Cluster.Tickets = []crm.Ticket{{ID: "T", Status: "revoked"}}
			stopped(f, "fs", "pgsql")
		}, "crm_ticket --ticket T --grant --force"},
		"what the group waits for is stopped": {func(f *Facts) {
			configure(t, f, "<constraints>", `<constraints><rsc_order id="o" first="web" then="database"/>`)
			stopped(f, "fs", "pgsql", "web")
			f.instance("web", "").TargetRole = "Stopped"
		}, "crm_resource --resource web --meta --delete-parameter target-role"},
	} {
		t.Run(name, func(t *testing.T) {
			f := world(t)
			c.plant(f)
			for range 2 {
				x := Judge(*f)
				check(t, x)
				if x.Verdict != Problem || x.Database.State != status.ClientsCutOff || x.Command != c.command {
					t.Errorf("%s, clients %s, next %q %q", x.Verdict, x.Database.State, x.Next, x.Command)
				}
				f.Node, f.Own, f.Peers = "pg-a", f.Peers["pg-a"], map[string]*status.Doc{"pg-b": f.Own}
			}
		})
	}
}
