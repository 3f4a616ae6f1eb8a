package doctor

import (
	"cmp"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pgha/pgha-agent/agent/explain"
	"github.com/pgha/pgha-agent/agent/fsm"
	"github.com/pgha/pgha-agent/crm"
	"github.com/pgha/pgha-agent/drbd"
)

var pacemakerChecks = []Check{
	{
		Name: "failover", Area: Pacemaker, Needs: []Source{fromCIB, fromCrm},
		Also: []Source{fromState, fromDaemon, fromPeers},
		Want: "the database could fail over to the other node now",
		Why: "What forbids it shows when the node that has the database fails: then the database stays down until a person " +
			"comes.",
		Remedy: "`pgha-agent explain`",
		Judge:  judgeFailover,
	},
	{
		Name: "quorum-policy", Area: Pacemaker, Needs: []Source{fromCIB},
		Want: "no-quorum-policy is not ignore",
		Why: "two_node in Corosync already keeps the survivor of two running. ignore takes away the rest of what " +
			"quorum protects: a node that boots alone fences the healthy one.",
		Remedy: "pcs property unset no-quorum-policy",
		Judge: func(f *Facts) Finding {
			if v := f.CIB.Property("no-quorum-policy"); v == "ignore" {
				return fail("no-quorum-policy is ignore")
			} else if v != "" {
				return pass("%s", v)
			}
			return pass("stop, by default")
		},
	},
	{
		Name: "maintenance", Area: Pacemaker, Needs: []Source{fromCrm}, Also: []Source{fromState},
		Want:   "neither the cluster nor a node with a copy of the data is in maintenance or standby",
		Why:    "Pacemaker does not fail over then, and the agent publishes nothing in maintenance. It is easily forgotten.",
		Remedy: "pcs property set maintenance-mode=false; pcs node unmaintenance --all; pcs node unstandby --all",
		Judge: func(f *Facts) Finding {
			ours := append(explain.Targets(f.facts(), f.Options.Node), f.Options.Node)
			var found []string
			if f.Crm.MaintenanceMode == crm.Unknown {
				return unknown("crm_mon does not say")
			}
			if f.Crm.MaintenanceMode == crm.Yes {
				found = append(found, "the cluster is in maintenance")
			}
			for _, n := range f.Crm.Nodes {
				if !slices.Contains(ours, n.Name) {
					continue
				}
				if n.Maintenance == crm.Yes {
					found = append(found, n.Name+" is in maintenance")
				}
				if n.Standby == crm.Yes {
					found = append(found, n.Name+" is in standby")
				}
			}
			if len(found) > 0 {
				return warn("%s", strings.Join(found, "; ")).remedy("%s", f.told("", "maintenance", "node_standby"))
			}
			return pass("none")
		},
	},
	{
		Name: "promotable-clone", Area: Pacemaker, Needs: []Source{fromCIB},
		Want: "the configured clone is promotable, sends notifications, has one promoted instance, and runs " +
			"ocf:linbit:drbd for the configured resource",
		Why: "DRBD's agent needs the notifications to know its peer; with more than one promoted instance both nodes " +
			"may write.",
		Remedy: "pcs resource meta {clone} promotable=true notify=true clone-max=2 clone-node-max=1 promoted-max=1 " +
			"promoted-node-max=1",
		Judge: judgeClone,
	},
	{
		Name: "drbd-monitors", Area: Pacemaker, Needs: []Source{fromCIB},
		Want: "the DRBD resource is monitored in both roles, with different intervals",
		Why: "An operation without a role watches unpromoted instances only: nothing notices a failed Primary. " +
			"Pacemaker does not accept two with the same interval.",
		Remedy: "pcs resource op add DRBD-PRIMITIVE monitor interval=11s role=Promoted timeout=60s; pcs resource op add " +
			"DRBD-PRIMITIVE monitor interval=13s role=Unpromoted timeout=60s",
		Judge: judgeMonitors,
	},
	{
		Name: "colocation", Area: Pacemaker, Needs: []Source{fromCIB}, Also: []Source{fromShow},
		Want: "file system and PostgreSQL are tied to the promoted DRBD with score INFINITY",
		Why: "Otherwise Pacemaker may start them where DRBD is Secondary: the mount fails, the node collects failures, " +
			"the database is down.",
		Remedy: "pcs constraint colocation add {group} with Promoted {clone} INFINITY",
		Judge:  judgeColocation,
	},
	{
		Name: "ordering", Area: Pacemaker, Needs: []Source{fromCIB}, Also: []Source{fromShow},
		Want: "file system and PostgreSQL start after the promotion of DRBD",
		Why: "Without the order Pacemaker may try the mount on a Secondary, and it fails. An order after start " +
			"instead of promote does not prevent that.",
		Remedy: "pcs constraint order promote {clone} then start {group}",
		Judge:  judgeOrdering,
	},
	{
		Name: "stickiness", Area: Pacemaker, Needs: []Source{fromCIB},
		Want:   "the database stays where it is when a node comes back",
		Why:    "Without stickiness, or with a preferred node that weighs more, each repaired node costs a second outage.",
		Remedy: "pcs resource defaults update resource-stickiness=1000",
		Judge:  judgeStickiness,
	},
	{
		Name: "dns-in-group", Area: Pacemaker, Needs: []Source{fromCIB},
		Want: "the database does not depend on a DNS resource",
		Why: "When the DNS API fails, that resource fails, and Pacemaker moves the whole group for it, to a node where " +
			"it fails as well. The agent writes the record instead.",
		Remedy: "pcs resource delete DNS-RESOURCE (the agent moves the record)",
		Judge:  judgeDNS,
	},
	{
		Name: "fence-constraint", Area: Pacemaker, Needs: []Source{fromCIB}, Also: []Source{fromCrm, fromState},
		Want: "no constraint of DRBD's fence-peer handler is left behind",
		Why: "It forbids the promotion of the peer. While the peer is out of sync that is right; left behind it blocks " +
			"the next failover.",
		Remedy: "is the unfence-peer handler configured? Then, with the peer UpToDate: pcs constraint delete CONSTRAINT",
		Judge:  judgeFenceConstraint,
	},
	{
		Name: "move-constraint", Area: Pacemaker, Needs: []Source{fromCIB}, Also: []Source{fromCrm},
		Want: "no constraint of an earlier move by hand is left",
		Why: "`pcs resource move`, `ban` and `crm_resource --move` leave one behind: the database cannot go to that " +
			"node, or goes back to it.",
		Remedy: "pcs resource clear {clone}; pcs resource clear {group}",
		Judge:  judgeMoveConstraint,
	},
	{
		Name: "promotion-score", Area: Pacemaker, Needs: []Source{fromCrm, fromState},
		Want: "Pacemaker has a promotion score for DRBD here, when its data is good",
		Why: "DRBD's agent sets it. Pacemaker can lose it when a node comes back that was not off (seen in our lab), " +
			"and then neither promotes this node nor leaves it promoted.",
		Remedy: "attrd_updater --refresh",
		Judge:  judgeScore,
	},
	{
		Name: "alert-hook", Area: Pacemaker, Needs: []Source{fromCIB, fromHost}, Also: []Source{fromCorosync},
		Want: "the agent's hook is registered as an alert with enough time, and user hacluster can run it and read its " +
			"configuration",
		Why: "The hook makes the agent look at once, and publishes by itself when the agent is down at a promotion. " +
			"Without it the agent notices by DRBD, or within 10 s.",
		Remedy: "sudo /usr/share/pgha-agent/register-alert.sh",
		Judge:  judgeHook,
	},
}

// judgeClone fails for every deviation: Pacemaker runs such a clone without complaint, and the fault shows at a
// failover. The old names with "master" are what clusters that came from Pacemaker 1.1 have.
func judgeClone(f *Facts) Finding {
	c := f.CIB.Clone(f.Options.Clone)
	if c == nil {
		return fail("there is no clone %q (cluster.promotable of the agent's configuration)", f.Options.Clone).
			remedy("see the ids in `crm_mon -1`; then cluster.promotable in the agent's configuration, or create the clone")
	}
	var wrong []string
	say := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	if !c.Promotable {
		say("it is not promotable")
	}
	if c.Meta["notify"] != "true" {
		say("notify is not true")
	}
	for _, limit := range []struct{ name, old, want string }{
		{"clone-max", "", "2"}, {"clone-node-max", "", "1"}, {"promoted-max", "master-max", "1"},
		{"promoted-node-max", "master-node-max", "1"},
	} {
		v := c.Meta[limit.name]
		if v == "" && limit.old != "" {
			v = c.Meta[limit.old]
		}
		if v != "" && v != limit.want {
			say("%s is %s", limit.name, v)
		}
	}
	var resource string
	for _, p := range f.CIB.Primitives {
		if p.Clone == c.ID && p.Agent() == drbdAgent {
			resource = p.Params["drbd_resource"]
		}
	}
	if resource != f.Options.Resource {
		say("it runs the DRBD resource %q, the agent is configured for %q", resource, f.Options.Resource)
	}
	if len(wrong) > 0 {
		return fail("%s: %s", c.ID, strings.Join(wrong, "; "))
	}
	return pass("%s runs %s", c.ID, resource)
}

const drbdAgent = "ocf:linbit:drbd"

// judgeMonitors knows two rules of Pacemaker. A monitor without a role is for instances that are not promoted
// (lib/pacemaker/pcmk_sched_recurring.c, recurring_op_for_active). Two monitors with the same interval are duplicates,
// whatever their roles (is_op_dup in the same file).
func judgeMonitors(f *Facts) Finding {
	for _, p := range f.CIB.Primitives {
		if p.Agent() != drbdAgent || p.Params["drbd_resource"] != f.Options.Resource {
			continue
		}
		intervals := map[crm.Role]string{}
		for _, op := range p.Ops {
			if d, _ := pacemakerTime(op.Interval); op.Name == "monitor" && d > 0 {
				role := op.Role
				if role == "" || role == crm.RoleStarted {
					role = crm.RoleUnpromoted
				}
				intervals[role] = d.String()
			}
		}
		promoted, unpromoted := intervals[crm.RolePromoted], intervals[crm.RoleUnpromoted]
		switch {
		case promoted == "":
			return fail("%s: nothing monitors the promoted instance", p.ID)
		case unpromoted == "":
			return warn("%s: nothing monitors the unpromoted instance", p.ID)
		case promoted == unpromoted:
			return fail("%s: both monitors have the interval %s, so only one runs", p.ID, promoted)
		}
		return pass("promoted every %s, unpromoted every %s", promoted, unpromoted)
	}
	return fail("no primitive %s runs the DRBD resource %q", drbdAgent, f.Options.Resource)
}

// chained goes from each primitive of the database through the constraints until it meets the promoted clone. by
// returns, for the ids that a primitive goes by, whether a constraint leads straight to it, and the other resources
// that constraints lead to.
func (f *Facts) chained(by func(ids []string) (direct bool, next []string)) (loose []string) {
	var reaches func(ids []string, depth int) bool
	reaches = func(ids []string, depth int) bool {
		direct, next := by(ids)
		if direct || depth == 0 {
			return direct
		}
		return slices.ContainsFunc(next, func(id string) bool { return reaches(f.idsOf(id), depth-1) })
	}
	for _, p := range f.database() {
		if !reaches(f.idsOf(p.ID), 5) {
			loose = append(loose, p.ID)
		}
	}
	return loose
}

// idsOf returns the ids that bind a resource: its own and its group's.
func (f *Facts) idsOf(id string) []string {
	if p := f.CIB.Primitive(id); p != nil && p.Group != "" {
		return []string{id, p.Group}
	}
	return []string{id}
}

// isClone says whether a constraint that names id means the promotable clone.
func (f *Facts) isClone(id string) bool {
	c := f.CIB.Clone(f.Options.Clone)
	if c == nil {
		return false
	}
	p := f.CIB.Primitive(id)
	return id == c.ID || p != nil && p.Clone == c.ID
}

// judgeColocation counts score INFINITY only: with less, Pacemaker may place the file system elsewhere when another
// preference weighs more. A colocation with the clone and no role is one with any instance, a Secondary too.
func judgeColocation(f *Facts) Finding {
	loose := f.chained(func(ids []string) (direct bool, next []string) {
		for _, c := range f.CIB.Colocations {
			if !slices.Contains(ids, c.Resource) || c.Score < crm.Infinity {
				continue
			}
			if f.isClone(c.With) {
				direct = direct || c.WithRole == crm.RolePromoted
			} else {
				next = append(next, c.With)
			}
		}
		return direct, next
	})
	return f.tied(loose, "not tied to the promoted DRBD",
		slices.ContainsFunc(f.CIB.Colocations, func(c crm.Colocation) bool { return len(c.Sets) > 0 }))
}

// judgeOrdering counts mandatory orders only: an optional one holds only when both actions happen in the same
// transition.
func judgeOrdering(f *Facts) Finding {
	loose := f.chained(func(ids []string) (direct bool, next []string) {
		for _, o := range f.CIB.Orders {
			if !slices.Contains(ids, o.Then) || o.ThenAction != "start" || o.Kind != "Mandatory" {
				continue
			}
			if f.isClone(o.First) {
				direct = direct || o.FirstAction == "promote"
			} else {
				next = append(next, o.First)
			}
		}
		return direct, next
	})
	return f.tied(loose, "not ordered after the promotion",
		slices.ContainsFunc(f.CIB.Orders, func(o crm.Order) bool { return o.Sets }))
}

// tied makes the finding. A constraint with resource sets makes it unknown instead of a failure: sets are not read
// here, and may well tie what seems loose.
func (f *Facts) tied(loose []string, what string, sets bool) Finding {
	var ids []string
	for _, p := range f.database() {
		ids = append(ids, p.ID)
	}
	switch {
	case len(ids) == 0:
		return fail("there is neither a file system on DRBD's device nor PostgreSQL among the resources")
	case len(loose) > 0 && sets:
		return unknown("a constraint is written with resource sets, which this check does not read; else %s: %s", what,
			strings.Join(loose, ", ")).
			remedy("look at `pcs constraint --full` yourself")
	case len(loose) > 0:
		return fail("%s: %s", what, strings.Join(loose, ", "))
	}
	return pass("%s", strings.Join(ids, ", "))
}

// judgeStickiness takes the least sticky part of the database, because that part moves first, and compares it with the
// constraints that prefer a node now: a rule with a date that is over prefers nothing.
func judgeStickiness(f *Facts) Finding {
	least, at := crm.Infinity+1, ""
	for _, p := range f.database() {
		text := f.CIB.Defaults["resource-stickiness"]
		for _, g := range f.CIB.Groups {
			if v := g.Meta["resource-stickiness"]; g.ID == p.Group && v != "" {
				text = v
			}
		}
		if v := p.Meta["resource-stickiness"]; v != "" {
			text = v
		}
		n, err := strconv.Atoi(text)
		if text == "INFINITY" {
			n, err = crm.Infinity, nil
		}
		if text != "" && err != nil {
			return unknown("%s: resource-stickiness is %q", p.ID, text)
		}
		if n < least {
			least, at = n, p.ID
		}
	}
	if at == "" {
		return skip("there is no database among the resources")
	}
	if least <= 0 {
		return warn("resource-stickiness of %s is %d", at, least)
	}
	for _, l := range f.CIB.Locations {
		names := f.isClone(l.Resource) || slices.ContainsFunc(f.database(),
			func(p *crm.Primitive) bool { return l.Resource == p.ID || l.Resource == p.Group })
		if names && l.Node != "" && l.Score >= least && l.Applies(f.Now) {
			return warn("constraint %s prefers %s with %d, stickiness is %d", l.ID, l.Node, l.Score,
				least).remedy("pcs constraint delete %s", l.ID)
		}
	}
	return pass("%d", least)
}

// isDNS knows the resource agents that write records with an API. Ours never fails for DNS trouble, so it does not
// count.
func isDNS(p *crm.Primitive) bool {
	return p.Class == "ocf" && p.Provider != "pgha" && (strings.Contains(p.Type, "route53") ||
		strings.Contains(p.Type, "dns"))
}

// judgeDNS looks for DNS resources that the database depends on. A DNS resource beside it, or one that depends on the
// database, may fail without moving it.
func judgeDNS(f *Facts) Finding {
	for i := range f.CIB.Primitives {
		d := &f.CIB.Primitives[i]
		if !isDNS(d) {
			continue
		}
		for _, p := range f.database() {
			ids := f.idsOf(p.ID)
			needs := func(other string) bool { return other == d.ID || d.Group != "" && other == d.Group }
			switch {
			case d.Group != "" && d.Group == p.Group:
				return fail("%s (%s) is in the database's group %s", d.ID, d.Agent(),
					d.Group).remedy("pcs resource delete %s (the agent moves the record)", d.ID)
			case slices.ContainsFunc(f.CIB.Colocations, func(c crm.Colocation) bool {
				return slices.Contains(ids, c.Resource) && needs(c.With) && c.Score >= crm.Infinity
			}), slices.ContainsFunc(f.CIB.Orders, func(o crm.Order) bool {
				return slices.Contains(ids, o.Then) && needs(o.First) && o.Kind == "Mandatory"
			}):
				return fail("%s depends on %s (%s)", p.ID, d.ID,
					d.Agent()).remedy("pcs resource delete %s (the agent moves the record)", d.ID)
			}
		}
	}
	return pass("it does not")
}

// judgeFenceConstraint needs DRBD's state to tell right from left behind: the handler places the constraint when the
// peer is lost, and it has to stay until the peer has the data again.
func judgeFenceConstraint(f *Facts) Finding {
	ids := explain.Database(f.facts())
	for _, l := range f.CIB.Locations {
		if !strings.HasPrefix(l.ID, crm.FenceBanPrefix) || !l.About(ids) {
			continue
		}
		if f.State != nil && f.inSync() {
			return fail("%s is there although the peer is UpToDate", l.ID).remedy("%s; is an unfence-peer handler configured?",
				f.told("pcs constraint delete "+l.ID, "banned"))
		}
		return warn("%s is there, as it should be until the peer is UpToDate", l.ID).remedy("%s",
			f.told("leave it; it goes with the resync", "banned"))
	}
	return pass("none")
}

// judgeMoveConstraint looks for what Pacemaker's tools leave at the database's resources: the ids are those of its
// tools/crm_resource_ban.c. What keeps the database from the node that it could fail over to is the failover's.
func judgeMoveConstraint(f *Facts) Finding {
	ids := explain.Database(f.facts())
	var left, remedies []string
	for _, l := range f.CIB.Locations {
		ban := strings.HasPrefix(l.ID, "cli-ban-")
		if !ban && !strings.HasPrefix(l.ID, "cli-prefer-") || !l.About(ids) {
			continue
		}
		left = append(left, l.ID)
		remedy := "crm_resource --clear --resource " + l.Resource
		if ban && f.Crm != nil && !slices.Contains(f.Crm.Promoted(f.Options.Clone), l.Node) {
			remedy = f.told(remedy, "banned")
		}
		if !slices.Contains(remedies, remedy) {
			remedies = append(remedies, remedy)
		}
	}
	if len(left) > 0 {
		return warn("%s", strings.Join(left, ", ")).remedy("%s", strings.Join(remedies, "; "))
	}
	return pass("none")
}

// judgeScore looks for the node attribute that Pacemaker reads as promotion score (lib/common/attrs.c,
// pcmk_promotion_score_name: "master-" and the id). Its value is DRBD's agent's affair. A node without good data, or
// without DRBD, has no score and needs none.
func judgeScore(f *Facts) Finding {
	for _, d := range f.State.Devices {
		if d.Disk != drbd.DiskUpToDate {
			return pass("the data here is %s", d.Disk)
		}
	}
	for _, r := range f.Crm.Instances(f.Options.Clone) {
		if r.Node != f.Options.Node || r.Role != crm.RolePromoted && r.Role != crm.RoleUnpromoted {
			continue
		}
		for _, a := range f.Crm.Attributes {
			if a.Node == f.Options.Node && a.Name == "master-"+r.ID {
				return pass("%s is %s", a.Name, a.Value)
			}
		}
		return fail("%s is UpToDate here, and %s has no promotion score", f.Options.Resource, r.ID).remedy("%s",
			f.told("", "promotion_score"))
	}
	return pass("Pacemaker does not run DRBD here")
}

// judgeHook goes from what keeps the hook from running at all to what only costs it time. Pacemaker runs alerts as user
// hacluster (daemons/execd/execd_alerts.c), so that user's rights count, not root's.
func judgeHook(f *Facts) Finding {
	i := slices.IndexFunc(f.CIB.Alerts, func(a crm.AlertAgent) bool {
		return slices.Contains([]string{"pgha-alert", "pgha-agent"}, filepath.Base(a.Path))
	})
	if i < 0 {
		return warn("no alert calls pgha-alert")
	}
	a := f.CIB.Alerts[i]
	missing := slices.DeleteFunc([]string{"select_nodes", "select_fencing", "select_resources"},
		func(kind string) bool { return slices.Contains(a.Kinds, kind) })
	switch trouble := f.Host.Programs[a.Path]; {
	case isNo(a.Meta["enabled"]):
		return warn("alert %s is disabled", a.ID).remedy("pcs alert update %s meta enabled=true", a.ID)
	case trouble != "":
		return fail("hacluster cannot run it: %s", trouble).remedy("chmod 755 %s, and 755 for the directories above", a.Path)
	case f.Host.ConfigFile != "":
		return fail("hacluster cannot read the configuration: %s",
			f.Host.ConfigFile).remedy("chgrp haclient %s && chmod 640 %s", f.Options.ConfigFile, f.Options.ConfigFile)
	case a.Kinds != nil && len(missing) > 0:
		return warn("alert %s does not select %s", a.ID, strings.Join(missing, ", "))
	}
	return f.hookTime(a)
}

const (
	hookOption  = "pgha_timeout"   // of the alert: the hook reads it
	hookDefault = 30 * time.Second // Pacemaker's PCMK__ALERT_DEFAULT_TIMEOUT_MS, and the hook's without the option
	hookSpare   = 5 * time.Second  // the hook ends that much earlier
	hookWrites  = 10 * time.Second // what a look, a read and a write may take after the hold
	hookUsual   = 60 * time.Second
)

// hookTime judges whether the hook can publish before Pacemaker kills it, and whether it knows when that is.
func (f *Facts) hookTime(a crm.AlertAgent) Finding {
	limit, ok := pacemakerTime(cmp.Or(a.Meta["timeout"], hookDefault.String()))
	if !ok {
		return unknown("timeout of alert %s is %q", a.ID, a.Meta["timeout"])
	}
	// Without fencing the hook holds back after its first look as a daemon that just started does: it cannot know whether
	// this machine stalled before, and was replaced.
	hold := fsm.PostStallDelay
	if known, _ := f.membership(); known > 0 {
		hold = max(hold, known+fsm.MaxClusterAge)
	}
	need := hookUsual
	if !f.fenced() {
		need = max(need, (hold+hookWrites+hookSpare).Truncate(time.Second)+time.Second)
	}
	update := fmt.Sprintf("pcs alert update %s options %s=%.0fs meta timeout=%.0[3]fs", a.ID, hookOption, need.Seconds())
	told := hookDefault
	if text := a.Params[hookOption]; text != "" {
		n, err := strconv.Atoi(strings.TrimSuffix(text, "s"))
		if err != nil || n <= 0 {
			return fail("%s of alert %s is %q, not a number of seconds: the hook goes by %s", hookOption, a.ID, text,
				hookDefault).remedy("%s", update)
		}
		told = time.Duration(n) * time.Second
	}
	switch {
	case told > limit:
		return fail("the hook goes by a timeout of %s, and Pacemaker kills it after %s", told, limit).remedy("%s", update)
	case !f.fenced() && told-hookSpare < hold+hookWrites:
		return warn("without fencing the hook writes nothing for %s after its first look, and it ends after %s", hold,
			told-hookSpare).
			remedy("%s", update)
	}
	return pass("alert %s calls %s", a.ID, a.Path)
}
