package explain

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/pgha/pgha-agent/agent/status"
	"github.com/pgha/pgha-agent/crm"
	"github.com/pgha/pgha-agent/drbd"
)

// target collects what keeps the database from running on one node.
type target struct {
	*judge
	node string
	list []status.Finding
	off  bool // something keeps the clone itself from running on the node, so DRBD is not up there
}

// forbids notes a reason. Commands are complete: what stands in them is what is to be typed.
func (t *target) forbids(code, text, remedy string, commands ...string) {
	t.add(status.Critical, code, text, remedy, commands...)
}

// warns notes something that makes a failover worse, or may forbid it.
func (t *target) warns(code, text, remedy string, commands ...string) {
	t.add(status.Warning, code, text, remedy, commands...)
}

func (t *target) add(severity, code, text, remedy string, commands ...string) {
	t.list = append(t.list, status.Finding{Code: code, Severity: severity, Node: t.node, Text: text, Remedy: remedy,
		Commands: commands})
}

// look asks everything that is known of the node. from is the node that has the database, "" when none has.
func (t *target) look(from string) []status.Finding {
	if t.Config == nil && t.ConfigErr != "" {
		t.add(status.Unknown, "configuration_unread", "the cluster's configuration cannot be read here: "+t.ConfigErr,
			"see why, as the agent's user", "runuser -u pgha -- cibadmin --query")
	}
	if t.Cluster != nil {
		t.nodeState()
		t.maintenance()
		t.resources()
		t.bans(from)
		t.tickets()
		t.fencing(from)
	}
	if t.leftCluster(t.node) {
		t.offline()
	}
	t.replication(from)
	t.daemon(from)
	has := func(codes ...string) bool {
		return slices.ContainsFunc(t.list, func(f status.Finding) bool { return slices.Contains(codes, f.Code) })
	}
	var follow []string
	if has("no_instance") {
		follow = ofNoInstance
	}
	if t.off || has("node_standby", "target_role", "node_health") {
		follow = ofStopped
	}
	rank := func(f status.Finding) int {
		i := slices.Index(ReasonCodes, f.Code)
		handlers := f.Code == "banned" && strings.Contains(f.Text, crm.FenceBanPrefix)
		if slices.Contains(follow, f.Code) || follow != nil && handlers {
			i += len(ReasonCodes)
		}
		return i
	}
	slices.SortStableFunc(t.list, func(a, b status.Finding) int { return rank(a) - rank(b) })
	return t.list
}

// What follows when Pacemaker was told to stop what runs on a node, and when it runs no DRBD there: it ends with that.
// The constraint of DRBD's fence-peer handler does too.
var (
	ofStopped    = slices.Concat(ofNoInstance, []string{"no_instance", "fencing_stopped"})
	ofNoInstance = []string{"disconnected", "disk", "promotion_score"}
)

// nodeState is about the node as a member of the cluster.
func (t *target) nodeState() {
	n, known := t.Cluster.Node(t.node)
	if !known {
		t.forbids("node_offline", "node "+t.node+" is no member of the cluster", "see which nodes the cluster has",
			"crm_mon -1")
		return
	}
	if policy := t.Cluster.NoQuorumPolicy; t.Cluster.Quorum == crm.No && policy != "ignore" {
		t.forbids("quorum", fmt.Sprintf("the cluster has no quorum: Pacemaker starts and promotes nothing "+
			"(no-quorum-policy is %s)", cmp.Or(policy, "stop")), "start the nodes that are away: after a cold start "+
			"Pacemaker waits until it has seen all (wait_for_all); only when the others are off for certain, "+
			"`pcs quorum unblock` ends that; on a node that is away:", "systemctl start corosync pacemaker")
	}
	switch {
	case n.Online == crm.Unknown || n.Unclean == crm.Unknown:
		t.add(status.Unknown, "node_offline", fmt.Sprintf("crm_mon does not say whether node %s is online and clean", t.node),
			"compare on both nodes", "crm_mon -1")
	case n.Unclean == crm.Yes:
		t.forbids("node_unclean", "node "+t.node+" is unclean: it may be fenced", "see the fencing history",
			"stonith_admin --history '*'")
	case n.Online == crm.No:
		t.offline()
	case n.Pending == crm.Yes:
		t.forbids("node_pending", "node "+t.node+" is still joining the cluster",
			"wait; if it lasts, see the log, on "+t.node, "journalctl -u pacemaker -n 50")
	}
	if n.Shutdown == crm.Yes && n.Online != crm.No {
		t.forbids("node_shutdown", "node "+t.node+" is leaving the cluster",
			"when it has stopped, start Pacemaker on "+t.node, "systemctl start pacemaker")
	}
	switch {
	case n.StandbyOnFail == crm.Yes:
		t.forbids("node_standby", "node "+t.node+" is in standby because an operation failed there (on-fail=standby)",
			"mend what failed, then clean up", "crm_resource --cleanup --node "+t.node)
	case n.Standby == crm.Yes:
		t.forbids("node_standby", "node "+t.node+" is in standby", "end it when the work is done", t.endStandby())
	}
	t.health(n)
}

func (t *target) offline() {
	t.forbids("node_offline", "node "+t.node+" is not in the cluster", "start Pacemaker on "+t.node+", or that machine",
		startPacemaker)
}

// endStandby is the command that ends the standby of the node. One that is not in the configuration lasts until the
// next
// reboot, or was set after that was read: the command that is not needed does no harm.
func (t *target) endStandby() string {
	permanent := "crm_standby --node " + t.node + " --delete"
	if t.Config != nil && t.Config.NodeAttributes[t.node]["standby"] != "" && t.Config.Transient[t.node]["standby"] == "" {
		return permanent
	}
	return permanent + "; crm_standby --node " + t.node + " --lifetime reboot --delete"
}

// health is about node health. Without a strategy Pacemaker looks away (pe_node_health in lib/pengine).
func (t *target) health(n crm.Node) {
	strategy := "migrate-on-red"
	if t.Config != nil {
		strategy = t.Config.Property("node-health-strategy")
	}
	bad := n.Health == "red" || n.Health == "yellow" && strategy == "only-green"
	if !bad || strategy == "" || strategy == "none" {
		return
	}
	attributes := map[string]string{} // crm_mon need not show them
	var permanent, transient map[string]string
	if t.Config != nil {
		permanent, transient = t.Config.NodeAttributes[t.node], t.Config.Transient[t.node]
		maps.Copy(attributes, permanent)
		maps.Copy(attributes, transient)
	}
	for _, a := range t.Cluster.Attributes {
		if a.Node == t.node {
			attributes[a.Name] = a.Value
		}
	}
	var names, commands []string
	for _, name := range slices.Sorted(maps.Keys(attributes)) {
		if value := attributes[name]; strings.HasPrefix(name, "#health") && value != "green" {
			names = append(names, name+" is "+value)
			if permanent[name] != "" {
				commands = append(commands, fmt.Sprintf("crm_attribute --node %s --name '%s' --delete", t.node, name))
			}
			if permanent[name] == "" || transient[name] != "" {
				commands = append(commands, fmt.Sprintf("attrd_updater --node %s --name '%s' --delete", t.node, name))
			}
		}
	}
	text := fmt.Sprintf("the health of %s is %s", t.node, n.Health)
	if len(names) > 0 {
		text += " (" + strings.Join(names, ", ") + ")"
	}
	t.forbids("node_health", text, "mend what its health agent found; it turns green by itself, or is cleared by hand",
		commands...)
}

// maintenance is about what Pacemaker is told not to touch.
func (t *target) maintenance() {
	if t.Cluster.MaintenanceMode == crm.Yes {
		t.forbids("maintenance", "the cluster is in maintenance mode: Pacemaker does nothing",
			"end it when the work is done", "crm_attribute --name maintenance-mode --delete")
		return // everything in it is unmanaged then
	}
	held := false
	for _, n := range t.Cluster.Nodes {
		if n.Maintenance == crm.Yes && (n.Name == t.node || n.Name == t.promoted()) {
			held = true
			t.forbids("maintenance", "node "+n.Name+" is in maintenance: Pacemaker does nothing there",
				"end it when the work is done", "crm_attribute --node "+n.Name+" --name maintenance --delete")
		}
	}
	if held {
		return
	}
	for _, id := range t.unmanaged() {
		t.forbids("unmanaged", "resource "+id+" is unmanaged or in maintenance: Pacemaker neither stops nor starts it",
			"let Pacemaker manage it again", t.manage(id)...)
	}
}

// unmanaged lists what of the database is not managed: by the element that says so, where that is known.
func (t *target) unmanaged() (ids []string) {
	for _, r := range t.Cluster.Resources {
		if !t.ours(r) || r.Managed != crm.No && r.Maintenance != crm.Yes {
			continue
		}
		id := r.ID
		for _, outer := range []string{r.Group, r.Clone} {
			if m := t.meta(outer); m["is-managed"] != "" || m["maintenance"] != "" {
				id = outer
			}
		}
		if !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	return ids
}

// manage returns the commands that let Pacemaker manage a resource again.
func (t *target) manage(id string) (commands []string) {
	m := t.meta(id)
	for _, name := range []string{"is-managed", "maintenance"} {
		if _, set := m[name]; set || t.Config == nil {
			commands = append(commands, deleteMeta(id, name))
		}
	}
	for _, name := range []string{"is-managed", "maintenance"} {
		if len(commands) == 0 && t.Config.Defaults[name] != "" {
			commands = append(commands, deleteDefault(name))
		}
	}
	if len(commands) == 0 {
		commands = []string{"crm_resource --resource " + id + " --meta --set-parameter is-managed --parameter-value true"}
	}
	return commands
}

func deleteDefault(name string) string {
	return "crm_attribute --type rsc_defaults --name " + name + " --delete"
}

func deleteMeta(id, name string) string {
	return fmt.Sprintf("crm_resource --resource %s --meta --delete-parameter %s", id, name)
}

// meta returns the meta attributes that stand at a resource, nil when they are not known.
func (t *target) meta(id string) map[string]string {
	if t.Config == nil || id == "" {
		return nil
	}
	if p := t.Config.Primitive(id); p != nil {
		return p.Meta
	}
	for _, c := range t.Config.Clones {
		if c.ID == id {
			return c.Meta
		}
	}
	for _, g := range t.Config.Groups {
		if g.ID == id {
			return g.Meta
		}
	}
	return nil
}

// resources is about the database's resources: failed, stopped by somebody, or without a right to be promoted.
func (t *target) resources() {
	seen := map[string]bool{}
	once := func(key string) bool {
		was := seen[key]
		seen[key] = true
		return !was
	}
	for _, r := range t.Cluster.Resources {
		if !t.ours(r) {
			continue
		}
		where := r.Node
		switch {
		case r.Blocked == crm.Yes && once("blocked "+r.ID+where):
			remedy, command := t.cleanHere("mend what failed there", r.ID, where)
			t.forbids("resource_blocked", fmt.Sprintf("resource %s has failed on %s%s and is blocked: Pacemaker does nothing "+
				"more with it", r.ID, status.OrDash(where), t.why(r.ID, where)), remedy, command)
		case r.Failed == crm.Yes && once("failed "+r.ID+where):
			severity := status.Critical
			if where != "" && where != t.node {
				severity = status.Warning // it does not keep the database from this node
			}
			remedy, command := t.cleanHere("see why, mend it", r.ID, where)
			t.add(severity, "resource_failed", fmt.Sprintf("resource %s has failed on %s%s", r.ID, status.OrDash(where),
				t.why(r.ID, where)), remedy, "crm_mon --one-shot --failcounts --operations", command)
		}
		id, role := t.targetRole(r)
		stopped := strings.EqualFold(role, "stopped")
		kept := r.Promotable && (crm.Role(role) == crm.RoleUnpromoted || role == "Slave")
		if (stopped || kept) && once("role "+id) {
			word := "stopped"
			if kept {
				word = "kept unpromoted"
			}
			t.forbids("target_role", fmt.Sprintf("resource %s is %s by its target-role (%s)", id, word, role), "let it run",
				t.dropRole(id))
		}
	}
	t.stopAll()
	for _, c := range t.failCounts() {
		if !slices.Contains(t.ids, base(c.Resource)) || c.Count == 0 {
			continue
		}
		t.failCount(c)
	}
	t.instance()
}

// dropRole is the command that removes the target-role of a resource: from where it stands.
func (t *target) dropRole(id string) string {
	if t.Config != nil && t.meta(id)["target-role"] == "" && t.Config.Defaults["target-role"] != "" {
		return deleteDefault("target-role")
	}
	return deleteMeta(id, "target-role")
}

// stopAll is about the cluster option that stops every resource (lib/common/options.c of Pacemaker).
func (t *target) stopAll() {
	if t.Config != nil && crm.Option(t.Config.Property("stop-all-resources")) == crm.Yes {
		t.forbids("target_role", "the cluster option stop-all-resources keeps every resource stopped", "let them run",
			"crm_attribute --name stop-all-resources --delete")
	}
}

// failCounts lists those of the node. crm_mon leaves out resources that have not run there.
func (t *target) failCounts() (list []crm.FailCount) {
	for _, c := range t.Cluster.FailCounts {
		if c.Node == t.node {
			list = append(list, c)
		}
	}
	if t.Config == nil {
		return list
	}
	counts := t.Config.FailCounts(t.node)
	for _, id := range slices.Sorted(maps.Keys(counts)) {
		if !slices.ContainsFunc(list, func(c crm.FailCount) bool { return base(c.Resource) == base(id) }) {
			list = append(list, crm.FailCount{Node: t.node, Resource: id, Count: counts[id],
				Threshold: t.Config.Threshold(base(id))})
		}
	}
	return list
}

// failCount notes a fail count of the node.
func (t *target) failCount(c crm.FailCount) {
	text := fmt.Sprintf("resource %s has a fail count of %s on %s%s", c.Resource, score(c.Count), t.node,
		t.why(c.Resource, t.node))
	remedy, command := t.cleanHere("mend what failed there", c.Resource, t.node)
	if c.Threshold > 0 && c.Count >= c.Threshold {
		t.off = t.off || t.ofClone(c.Resource)
		t.forbids("fail_count", fmt.Sprintf("%s, and may not run there from %s on", text, score(c.Threshold)), remedy,
			command)
	} else {
		t.warns("fail_count", text, remedy, command)
	}
}

// why says, in brackets, what crm_mon prints of the last failure of a resource on a node, or on any when none is given.
func (t *target) why(resource, node string) string {
	var last crm.Failure
	for _, f := range t.Cluster.Failures {
		if base(f.Resource) == base(resource) && (node == "" || f.Node == node) && !f.At.Before(last.At) {
			last = f
		}
	}
	if reason := cmp.Or(last.ExitReason, last.ExitStatus); reason != "" {
		return fmt.Sprintf(" (%s: %s)", last.Task, reason)
	}
	return ""
}

// cleanup erases the failures of a resource on a node, "" for all nodes.
func cleanup(resource, node string) string {
	command := "crm_resource --cleanup --resource " + base(resource)
	if node != "" {
		command += " --node " + node
	}
	return command
}

// cleanHere is the remedy for failures of a resource of the database on a node, "" for all nodes. Where the database
// runs, a cleanup of what it depends on stops it: Pacemaker has forgotten that this runs, or which node is promoted,
// and asks only then (seen with Pacemaker 3.0: 30 s for DRBD, 12 s for the filesystem). In maintenance it asks, and
// stops nothing. It is one line, and its wait is bounded (crm_resource itself waits for an hour), so that nobody is
// left in maintenance.
func (t *target) cleanHere(first, resource, node string) (remedy, command string) {
	command = cleanup(resource, node)
	primary := t.primary()
	if primary == "" || node != "" && node != primary || base(resource) == t.postgresID() ||
		t.Cluster.MaintenanceMode == crm.Yes {
		return first + ", then clean up", command
	}
	return first + ", then clean up in maintenance: else Pacemaker forgets what runs, and stops the database for a while",
		"crm_attribute --name maintenance-mode --update true; " + command + "; crm_resource --wait --timeout 120; " +
			"crm_attribute --name maintenance-mode --delete"
}

func base(id string) string {
	id, _, _ = strings.Cut(id, ":")
	return id
}

func score(n int) string {
	if n >= crm.Infinity {
		return "INFINITY"
	}
	return fmt.Sprint(n)
}

// targetRole returns the target-role that counts for an instance, and what it stands at.
func (t *target) targetRole(r crm.Resource) (id, role string) {
	for _, outer := range []string{r.Clone, r.Group} {
		if role := t.meta(outer)["target-role"]; role != "" {
			return outer, role
		}
	}
	if r.TargetRole == "" {
		return r.ID, t.meta(base(r.ID))["target-role"]
	}
	if t.Config == nil && r.Clone != "" { // mostly said of the clone
		return r.Clone, r.TargetRole
	}
	return base(r.ID), r.TargetRole
}

// instance is about the node's own instance of the clone: it must run, and have the right to be promoted.
func (t *target) instance() {
	n, _ := t.Cluster.Node(t.node)
	if n.Online != crm.Yes || n.Standby == crm.Yes || n.StandbyOnFail == crm.Yes {
		return // says it all
	}
	var mine *crm.Resource
	running := 0
	for _, r := range t.Cluster.Instances(t.Clone) {
		if r.Role != crm.RoleStopped {
			running++
		}
		if r.Node == t.node {
			mine = &r
		}
	}
	if mine == nil {
		most, err := strconv.Atoi(t.meta(t.cloneID())["clone-max"])
		if err == nil && most <= running {
			t.forbids("no_instance", fmt.Sprintf("node %s runs no instance of %s: its clone-max is %d", t.node, t.Clone, most),
				"let every node have one", deleteMeta(t.cloneID(), "clone-max"))
			return
		}
		t.forbids("no_instance", fmt.Sprintf("node %s runs no instance of %s", t.node, t.Clone),
			"see why Pacemaker does not start it there", "crm_simulate --live-check --show-scores")
		return
	}
	if mine.Role != crm.RoleUnpromoted || !t.Cluster.ShowsAttributes() {
		return
	}
	if has, known := t.promotionScore(mine.ID); known && has > 0 {
		return
	}
	t.forbids("promotion_score", fmt.Sprintf("node %s has no promotion score for %s: Pacemaker does not promote it there",
		t.node, mine.ID),
		"DRBD's agent sets it at its next monitor when the disk is good, and by the first command at once; when it has set "+
			"it and Pacemaker has lost it, the second sends all again; on "+t.node+":",
		"crm_resource --resource "+base(mine.ID)+" --force-check", "attrd_updater --refresh")
}

// ofClone reports an id of the clone or of what is in it.
func (t *target) ofClone(id string) bool {
	id = base(id)
	return id == t.cloneID() || id == t.Clone || slices.ContainsFunc(t.Cluster.Instances(t.Clone),
		func(r crm.Resource) bool { return base(r.ID) == id })
}

// promotionScore is what the resource's agent has set for its promotion on the node.
func (t *target) promotionScore(id string) (score int, known bool) {
	name := "master-" + base(id)
	for _, a := range t.Cluster.Attributes {
		if a.Node == t.node && (a.Name == name || strings.HasPrefix(a.Name, name+":")) {
			if strings.Contains(a.Value, "INFINITY") {
				score, known = crm.Infinity, true
				if strings.HasPrefix(a.Value, "-") {
					score = -crm.Infinity
				}
			} else if n, err := strconv.Atoi(a.Value); err == nil {
				score, known = n, true
			}
			if score > 0 {
				return score, known
			}
		}
	}
	return score, known
}

// bans is about location constraints that forbid the node, also by rule, by role, on the group.
func (t *target) bans(from string) {
	for _, b := range t.Cluster.Bans {
		if b.Node != t.node || !slices.Contains(t.ids, base(b.Resource)) || b.Weight >= 0 {
			continue
		}
		what := b.Resource
		if b.PromotedOnly == crm.Yes {
			what = "the promoted role of " + what
		}
		text := fmt.Sprintf("constraint %s keeps %s from %s", b.ID, what, t.node)
		remedy, command := "remove it when it is not meant to be", "crm_resource --clear --resource "+base(b.Resource)+" "+
			"--node "+t.node
		switch {
		case strings.HasPrefix(b.ID, crm.FenceBanPrefix) && t.inSync(from):
			text += ": DRBD's fence-peer handler set it, and left it although the disks are in sync again"
			remedy, command = "remove it; see that the unfence-peer handler is configured", RemoveConstraint(b.ID)
		case strings.HasPrefix(b.ID, crm.FenceBanPrefix):
			text += ": DRBD's fence-peer handler set it, because that disk is behind"
			remedy, command = "it goes when the disks are in sync again; see the connection and the resync",
				"drbdadm status "+t.Resource
		case !strings.HasPrefix(b.ID, "cli-"):
			command = RemoveConstraint(b.ID)
		}
		has, known := 0, false
		for _, r := range t.Cluster.Instances(t.Clone) {
			if r.Node == t.node && b.PromotedOnly == crm.Yes {
				has, known = t.promotionScore(r.ID)
			}
		}
		switch {
		case b.Weight <= -crm.Infinity:
			t.off = t.off || b.PromotedOnly != crm.Yes && t.ofClone(b.Resource)
			t.forbids("banned", text, remedy, command)
		case known && has+b.Weight < 0: // node_to_be_promoted_on in lib/pacemaker/pcmk_sched_promotable.c
			t.forbids("banned", fmt.Sprintf("%s (its score of %d outweighs the promotion score of %d)", text, b.Weight, has),
				remedy, command)
		default:
			t.warns("banned", fmt.Sprintf("%s (score %d)", text, b.Weight), remedy, command)
		}
	}
	if t.Config != nil {
		t.apart()
		t.optIn()
	}
}

// optIn is about a cluster in which a resource runs only where a constraint allows it.
func (t *target) optIn() {
	if crm.Option(t.Config.Property("symmetric-cluster")) != crm.No {
		return
	}
	for _, id := range []string{t.cloneID(), t.postgresID()} {
		top := id
		if p := t.Config.Primitive(id); p != nil {
			top = p.Top()
		}
		if !slices.ContainsFunc(t.Config.Locations, func(l crm.Location) bool {
			return l.About([]string{id, top}) && (l.Node == t.node || l.Node == "") && l.Score >= 0
		}) {
			t.off = t.off || id == t.cloneID()
			t.forbids("banned", fmt.Sprintf("no constraint allows %s to run on %s, and one must: symmetric-cluster is off", top,
				t.node), "allow every resource to run everywhere, or add the constraint",
				"crm_attribute --name symmetric-cluster --delete")
		}
	}
}

// apart is about colocations that keep the database away from what runs on the node: that is placed first.
func (t *target) apart() {
	for _, c := range t.Config.Colocations {
		for _, pair := range c.Pairs() {
			if c.Score > -crm.Infinity || !slices.Contains(t.ids, pair[0]) || slices.Contains(t.ids, pair[1]) {
				continue
			}
			there := slices.ContainsFunc(t.Cluster.Resources, func(r crm.Resource) bool {
				return r.Node == t.node && r.Role != crm.RoleStopped && (c.WithRole == "" || c.WithRole == r.Role) &&
					slices.Contains([]string{base(r.ID), r.Group, r.Clone}, pair[1])
			})
			if there {
				t.off = t.off || t.ofClone(pair[0])
				t.forbids("banned", fmt.Sprintf("constraint %s keeps %s away from %s, which runs on %s", c.ID, pair[0], pair[1],
					t.node), "remove it when it is not meant to be, or move "+pair[1]+" away",
					fmt.Sprintf("cibadmin --delete --xpath \"//rsc_colocation[@id='%s']\"", c.ID))
			}
		}
	}
}

// RemoveConstraint is the command that removes a location constraint. crm_mon names one that has a rule by its rule.
func RemoveConstraint(id string) string {
	return fmt.Sprintf("cibadmin --delete --xpath \"//rsc_location[@id='%[1]s' or rule/@id='%[1]s']\"", id)
}

// inSync reports that the node is known to have what another one has: connected, and both disks good.
func (t *target) inSync(from string) bool {
	d := t.docOf(from)
	if d == nil || d.Drbd == nil {
		return false
	}
	for _, c := range d.Drbd.Connections {
		if t.sameNode(c.Name, t.node) {
			return hasCopy(c)
		}
	}
	return false
}

// hasCopy reports a peer that is known to have a good copy of all.
func hasCopy(c drbd.DumpConnection) bool {
	return c.Connection == drbd.ConnConnected && len(c.PeerDevices) > 0 &&
		!slices.ContainsFunc(c.PeerDevices, func(v drbd.DumpPeerDevice) bool {
			return v.PeerDisk != drbd.DiskUpToDate || v.Replication != drbd.ReplEstablished
		})
}

// tickets is about tickets of a cluster of clusters. Without the configuration nobody knows what one is for.
func (t *target) tickets() {
	for _, ticket := range t.Cluster.Tickets {
		if ticket.Status == "granted" && ticket.Standby != crm.Yes {
			continue
		}
		text := fmt.Sprintf("ticket %s is %s", ticket.ID, status.OrDash(ticket.Status))
		// Without --force crm_ticket only warns.
		remedy := "grant it, where the database is to run, when no other site has it: booth does that, or by hand"
		command := "crm_ticket --ticket " + ticket.ID + " --grant --force"
		if ticket.Status == "granted" {
			text = fmt.Sprintf("ticket %s is in standby", ticket.ID)
			remedy, command = "activate it when the work is done", "crm_ticket --ticket "+ticket.ID+" --activate"
		}
		if t.Config == nil {
			t.warns("ticket", text, remedy, command)
			continue
		}
		for _, c := range t.Config.Tickets {
			if c.Ticket == ticket.ID && slices.Contains(t.ids, c.Resource) {
				t.off = t.off || t.ofClone(c.Resource)
				t.forbids("ticket", fmt.Sprintf("%s, and %s runs only with it", text, c.Resource), remedy, command)
			}
		}
	}
}

// fencing is about whether the node that has the database could be fenced. The failover of a node that is lost waits
// for that.
func (t *target) fencing(from string) {
	if t.Cluster.FencingEnabled == crm.No {
		remedy := "enable it, and test the fence devices: a node that is lost is fenced from then on, and a failover waits " +
			"for that"
		commands := []string{t.enableFencing()}
		if !t.someDevice() {
			remedy = "configure a fence device and test it, then enable fencing: enabled without one, Pacemaker starts " +
				"nothing; the first command says what is missing:"
			commands = slices.Insert(commands, 0, "pgha-agent doctor --only fence-device")
		}
		t.warns("fencing_disabled", "fencing is disabled: after a loss nothing keeps the data from two writers", remedy,
			commands...)
		return
	}
	if from == "" {
		from = t.promoted() // and lost
	}
	if from != "" && from != t.node && t.unfenced(from) {
		text := fmt.Sprintf("%s is lost and not fenced yet: nothing is promoted before it is", from)
		if _, pending := t.Cluster.PendingFence(from); pending {
			text = fmt.Sprintf("%s is lost and is being fenced: the failover waits for that", from)
		}
		t.forbids("node_unclean", text, "see the fencing history", "stonith_admin --history '*'")
	}
	t.devices(from)
	for _, name := range []string{from, t.node} {
		if name == "" {
			continue
		}
		if e, failed := t.fencingFailed(name); failed {
			text := fmt.Sprintf("the last fencing of %s failed", name)
			if e.ExitReason != "" {
				text += ": " + e.ExitReason
			}
			t.forbids("fencing_failed", text, "mend the fence device; then clear the failure from the history",
				"stonith_admin --history "+name+" --verbose", "stonith_admin --cleanup --history "+name)
		}
	}
}

// someDevice reports that a fence device is configured, or fencing by watchdog.
func (t *target) someDevice() bool {
	return slices.ContainsFunc(t.Cluster.Resources, fenceDevice) ||
		t.Config != nil && (len(t.Config.FenceDevices()) > 0 || t.watchdog())
}

// unfenced reports a node that the cluster has lost and does not know to be off.
func (j *judge) unfenced(node string) bool {
	n, known := j.Cluster.Node(node)
	return known && n.Unclean == crm.Yes
}

// devices is about the fence devices. Those that can fence the node that has the database count: a failover after its
// loss waits for one of them.
func (t *target) devices(from string) {
	// Without any property it is what an ACL lets this user see.
	if t.Config != nil && len(t.Config.Properties) > 0 && !t.someDevice() {
		t.forbids("fencing_stopped", "no fence device is configured: a node that is lost cannot be fenced",
			"configure one and test it; this says what is missing:", "pgha-agent doctor --only fence-device")
		return
	}
	var down []crm.Resource
	running, reported := false, false
	for _, r := range t.Cluster.Resources {
		switch {
		case !fenceDevice(r):
		case r.Role == crm.RoleStarted && r.Failed != crm.Yes:
			running = running || t.canFence(r, from) && len(t.keptFrom(r, from)) == 0
		default:
			down = append(down, r)
		}
	}
	for _, r := range down {
		text := fmt.Sprintf("fence device %s does not run%s", r.ID, t.why(r.ID, ""))
		remedy := "see why, mend it, then clean up"
		commands := []string{"crm_mon --one-shot --inactive --failcounts", cleanup(r.ID, "")}
		bans := t.keptFrom(r, t.victim(r, from))
		switch id, role := t.targetRole(r); {
		case strings.EqualFold(role, "stopped"):
			text = fmt.Sprintf("fence device %s is stopped by its target-role", r.ID)
			remedy, commands = "let it run", []string{t.dropRole(id)}
		case t.Config != nil && crm.Option(t.Config.Property("stop-all-resources")) == crm.Yes:
			text = fmt.Sprintf("fence device %s is stopped by stop-all-resources", r.ID)
			remedy, commands = "let it run", []string{"crm_attribute --name stop-all-resources --delete"}
		case len(bans) > 0:
			text, remedy, commands = keptAway(r, bans)
		}
		switch {
		case running || !t.canFence(r, from):
			t.warns("fencing_stopped", text, remedy, commands...)
		case from == "":
			reported = true
			t.forbids("fencing_stopped", text+": a node that is lost cannot be fenced", remedy, commands...)
		default:
			reported = true
			t.forbids("fencing_stopped", fmt.Sprintf("%s: %s cannot be fenced when it is lost", text, from), remedy,
				commands...)
		}
	}
	if from != "" && !running && !reported && t.Config != nil && len(t.Config.FenceDevices()) > 0 && !t.watchdog() {
		t.noDevice(from)
	}
}

// noDevice is about devices that run, of which none can fence the node that has the database.
func (t *target) noDevice(from string) {
	for _, r := range t.Cluster.Resources {
		if bans := t.keptFrom(r, from); fenceDevice(r) && t.canFence(r, from) && len(bans) > 0 {
			text, remedy, commands := keptAway(r, bans)
			t.forbids("fencing_stopped", fmt.Sprintf("%s: %s cannot be fenced when it is lost", text, from), remedy,
				commands...)
			return
		}
	}
	text := fmt.Sprintf("no fence device is for %s: it cannot be fenced when it is lost", from)
	for _, p := range t.Config.FenceDevices() {
		targets, _ := p.FenceTargets()
		stray := slices.ContainsFunc(targets, func(n string) bool { _, member := t.Cluster.Node(n); return !member })
		if stray && p.Params["pcmk_host_list"] != "" && p.Params["pcmk_host_map"] == "" {
			t.forbids("fencing_stopped", fmt.Sprintf("%s; %s is for %s, which is no member", text, p.ID,
				strings.Join(targets, ", ")), "name the node in the device, if it is the one that can fence it; then test it",
				"crm_resource --resource "+p.ID+" --set-parameter pcmk_host_list --parameter-value "+from,
				"pgha-agent doctor --only fence-device")
			return
		}
	}
	t.forbids("fencing_stopped", text, "configure one, or name that node in the pcmk_host_list or pcmk_host_map of one; "+
		"what each is for:", "pgha-agent doctor --only fence-device", "cibadmin --query --scope resources")
}

// victim is the node that a device is asked about: the one that has the database, if it is for that.
func (t *target) victim(r crm.Resource, from string) string {
	if !t.canFence(r, from) {
		targets, _ := t.Config.Primitive(base(r.ID)).FenceTargets()
		return targets[0]
	}
	return from
}

// keptFrom returns the constraints that keep a fence device from every node that could fence another one with it: a
// node registers no device with a negative score there (local_node_allowed_for in daemons/fenced/fenced_cib.c).
// nil: there is a node that may use it.
func (t *target) keptFrom(r crm.Resource, victim string) (bans []crm.Ban) {
	for _, n := range t.Cluster.Nodes {
		if n.Name == victim || n.Type != "" && n.Type != "member" {
			continue
		}
		i := slices.IndexFunc(t.Cluster.Bans, func(b crm.Ban) bool {
			return base(b.Resource) == base(r.ID) && b.Node == n.Name && b.Weight < 0 && b.PromotedOnly != crm.Yes
		})
		if i < 0 {
			return nil
		}
		bans = append(bans, t.Cluster.Bans[i])
	}
	return bans
}

// keptAway says which constraints keep a fence device from where it is needed, and how they are removed.
func keptAway(r crm.Resource, bans []crm.Ban) (text, remedy string, commands []string) {
	var words []string
	for _, b := range bans {
		words = append(words, fmt.Sprintf("%s from %s", b.ID, b.Node))
		command := RemoveConstraint(b.ID)
		if strings.HasPrefix(b.ID, "cli-") {
			command = "crm_resource --clear --resource " + base(r.ID) + " --node " + b.Node
		}
		commands = append(commands, command)
	}
	return fmt.Sprintf("constraints keep fence device %s away: %s", r.ID, strings.Join(words, ", ")),
		"remove what is not meant to be; one that keeps a device from its own target is right", commands
}

// watchdog reports fencing by each node's watchdog (SBD), which needs no device.
func (t *target) watchdog() bool {
	timeout := t.Config.Property("stonith-watchdog-timeout")
	return timeout != "" && timeout != "0"
}

// canFence reports whether a device can fence a node, as far as its parameters say.
func (t *target) canFence(r crm.Resource, node string) bool {
	if t.Config == nil || node == "" {
		return true
	}
	p := t.Config.Primitive(base(r.ID))
	if p == nil {
		return true
	}
	targets, known := p.FenceTargets()
	return !known || slices.ContainsFunc(targets, func(n string) bool { return strings.EqualFold(n, node) })
}

// enableFencing is the command that enables fencing. Pacemaker 3.0.2 and later look at the newer name first.
func (t *target) enableFencing() string {
	name := "stonith-enabled"
	if t.Config != nil && t.Config.Property("fencing-enabled") != "" {
		name = "fencing-enabled"
	}
	return "crm_attribute --name " + name + " --update true"
}

// fencingFailed returns the last fencing of a node if it failed. The history is newest first.
func (t *target) fencingFailed(node string) (crm.FenceEvent, bool) {
	for _, e := range t.Cluster.FenceEvents {
		if !strings.EqualFold(e.Target, node) || e.Action != "off" && e.Action != "reboot" || e.Status == "pending" {
			continue
		}
		return e, e.Status == "failed"
	}
	return crm.FenceEvent{}, false
}

func fenceDevice(r crm.Resource) bool { return strings.HasPrefix(r.Agent, "stonith:") }

// replication is about DRBD between the node that has the database and this one.
func (t *target) replication(from string) {
	own, other := t.docOf(t.node), t.docOf(from)
	if (own == nil || own.Drbd == nil) && (other == nil || other.Drbd == nil) {
		t.add(status.Unknown, "disk", fmt.Sprintf("the disk of %s is not known: DRBD was not seen", t.node),
			"see, on "+t.node+", what DRBD says", strings.TrimSpace("drbdadm status "+t.Resource))
	}
	if d := t.docOf(t.node); d != nil && d.Drbd != nil {
		for _, v := range d.Drbd.Devices {
			if v.Quorum != nil && !*v.Quorum {
				t.forbids("drbd_quorum", fmt.Sprintf("volume %d has no quorum on %s: DRBD does not let it be promoted", v.Volume,
					t.node),
					"connect the DRBD nodes that vote", "drbdsetup status --verbose "+t.Resource)
			}
			if v.Disk != drbd.DiskUpToDate {
				t.disk(v.Disk)
			}
		}
		if may := d.Drbd.MayPromote; from == "" && may != nil && !*may { // beside a Primary it is never allowed
			t.warns("may_promote", fmt.Sprintf("DRBD does not let %s be promoted now", t.node),
				"see its disk, quorum and connections", "drbdsetup status --verbose "+t.Resource)
		}
		for _, c := range d.Drbd.Connections { // a kernel that was slow to compare knows only that the other one hung up
			if t.sameNode(c.Name, from) && c.SplitBrain == drbd.SplitBrainLatched.String() {
				t.splitBrain()
				return
			}
		}
	}
	if d := t.docOf(from); d != nil && d.Drbd != nil {
		if len(d.Drbd.Connections) == 0 {
			t.forbids("disconnected", fmt.Sprintf("DRBD on %s has no connection to %s: its data are behind", from, t.node),
				"bring DRBD up on both nodes", "drbdadm up "+t.Resource, "drbdadm adjust "+t.Resource)
		}
		for _, c := range d.Drbd.Connections {
			if t.sameNode(c.Name, t.node) {
				t.connection(from, c)
			}
		}
		return
	}
	t.otherEnd(from)
}

// otherEnd is about DRBD as only the node itself sees it: nothing is known from the node that has the database.
func (t *target) otherEnd(from string) {
	if from == "" {
		return
	}
	seen := false
	if d := t.docOf(t.node); d != nil && d.Drbd != nil {
		for _, c := range d.Drbd.Connections {
			if !t.sameNode(c.Name, from) {
				continue
			}
			seen = true
			if c.Connection != drbd.ConnConnected && c.SplitBrain != drbd.SplitBrainLatched.String() {
				t.forbids("disconnected", fmt.Sprintf("DRBD on %s is not connected to %s (%s): its data may be behind", t.node,
					from, c.Connection), "bring "+from+" back, or the network to it; after that, on both nodes:",
					"drbdadm adjust "+t.Resource)
				continue
			}
			c.PeerDevices = slices.Clone(c.PeerDevices)
			for i := range c.PeerDevices { // this end's disk has been judged, and the other's is not the target's
				c.PeerDevices[i].PeerDisk = drbd.DiskUpToDate
			}
			t.connection(from, c)
		}
	}
	if !seen {
		t.add(status.Unknown, "disconnected", fmt.Sprintf("the state of DRBD between %s and %s is not known here", from,
			t.node), "look on both nodes", "drbdsetup status --verbose "+t.Resource)
	}
}

// disk notes a disk that is not good, once, and returns that finding.
func (t *target) disk(state drbd.DiskState) *status.Finding {
	is := func(f status.Finding) bool { return f.Code == "disk" || f.Code == "resync" }
	if !slices.ContainsFunc(t.list, is) {
		text := fmt.Sprintf("the disk of %s is %s", t.node, state)
		if state.Lost() {
			t.forbids("disk", text, "mend that disk, then attach it, on "+t.node, "drbdadm attach "+t.Resource)
		} else {
			t.forbids("disk", text, "wait for the end of a resync; without one, see what DRBD says",
				"drbdadm status "+t.Resource)
		}
	}
	return &t.list[slices.IndexFunc(t.list, is)]
}

func (t *target) splitBrain() {
	t.forbids("split_brain", "DRBD has detected a split brain with "+t.node,
		"decide which side keeps its data: runbook, split brain; look first, on both nodes",
		"drbdsetup status --verbose "+t.Resource)
}

// peerDisk says how far a resync of the node's disk is, or that none runs. resync: nothing but resyncs keep it from
// being good.
func (t *target) peerDisk(from string, v drbd.DumpPeerDevice, resync bool) {
	f := t.disk(v.PeerDisk)
	if v.PeerDisk.Lost() {
		return
	}
	if note := status.SyncNote(v.Done, v.ETASeconds, v.Stalled); note != "" {
		f.Text += ": " + string(v.Replication) + "," + note[1:]
	}
	switch {
	case v.Replication == drbd.ReplEstablished:
		f.Text, f.Remedy = fmt.Sprintf("the disk of %s is %s, and no resync runs", t.node, v.PeerDisk),
			"disconnect and connect: DRBD then compares the disks anew"
		f.Commands = []string{"drbdadm disconnect " + t.Resource, "drbdadm connect " + t.Resource}
	case slices.Contains(v.ResyncSuspended, "user"), slices.Contains(v.ResyncSuspended, "peer"):
		on := from
		if !slices.Contains(v.ResyncSuspended, "user") {
			on = t.node
		}
		f.Text += ", paused on " + on
		f.Node, f.Remedy = on, "somebody paused the resync: let it go on, on "+on
		f.Commands = []string{"drbdadm resume-sync " + t.Resource}
	case v.Stalled:
		f.Remedy = "it does not move: see the network and the disks; a new connection begins it where it stands"
		f.Commands = []string{"drbdsetup status --verbose --statistics " + t.Resource, "drbdadm disconnect " + t.Resource,
			"drbdadm connect " + t.Resource}
	}
	if resync {
		f.Code = "resync"
	}
}

func (t *target) connection(from string, c drbd.DumpConnection) {
	see := "drbdadm status " + t.Resource
	switch {
	case c.SplitBrain == drbd.SplitBrainLatched.String():
		t.splitBrain()
		return
	case c.Connection != drbd.ConnConnected:
		maybe := ""
		if c.SplitBrain == drbd.SplitBrainSuspected.String() {
			maybe = "; it may be a split brain"
		}
		t.forbids("disconnected", fmt.Sprintf("DRBD is not connected to %s (%s): its data are behind%s", t.node,
			c.Connection, maybe),
			"bring that node back, or the network to it; after that, on both nodes:", "drbdadm adjust "+t.Resource)
		return
	}
	resync := !slices.ContainsFunc(c.PeerDevices, func(v drbd.DumpPeerDevice) bool {
		return v.PeerDisk != drbd.DiskUpToDate && v.Replication != drbd.ReplSyncSource
	})
	for _, v := range c.PeerDevices {
		if v.PeerDisk != drbd.DiskUpToDate {
			t.peerDisk(from, v, resync)
			continue
		}
		if v.Replication == drbd.ReplEstablished && v.OutOfSyncBytes != nil && *v.OutOfSyncBytes > 0 {
			t.forbids("out_of_sync", fmt.Sprintf("%d KiB differ between the disks of %s and %s, as a verify found: after a "+
				"failover old blocks would be read",
				*v.OutOfSyncBytes/1024, status.OrDash(from), t.node),
				"let DRBD copy them: disconnect and connect, on "+t.node, "drbdadm disconnect "+t.Resource,
				"drbdadm connect "+t.Resource)
		}
	}
	for _, p := range c.Paths {
		if p.Established != nil && !*p.Established && len(c.Paths) > 1 {
			t.warns("path", fmt.Sprintf("the path %s of DRBD to %s is down", p.Peer, t.node), "mend that network", see)
		}
	}
}

// daemon is about what only the node itself can tell.
func (t *target) daemon(from string) {
	d := t.docOf(t.node)
	if d == nil {
		if t.node != t.Node {
			t.add(status.Unknown, "peer_agent", fmt.Sprintf("the agent of %s was not reached (%s)", t.node,
				cmp.Or(t.Errs[t.node], "not asked yet")),
				awayRemedy(t.node, t.Node), awayCommands...)
		}
		return
	}
	secondary := d.Drbd != nil && d.Drbd.Role == drbd.RoleSecondary
	if d.Postgres.Foreign {
		t.forbids("foreign_postgres", fmt.Sprintf("a PostgreSQL outside of Pacemaker runs on %s: the database cannot "+
			"start there", t.node),
			"stop it, and see that systemd does not start it; the second command shows its unit when that is another; the "+
				"third stops the oldest server however it was started, and only on "+t.node, "systemctl disable --now postgresql",
			"ps -o pid,unit:40,cmd -C postgres", stopServer)
	}
	for _, m := range d.Mounts {
		if secondary && m.Wanted && !m.OnDrbd {
			t.forbids("foreign_mount", fmt.Sprintf("%s is mounted at %s on %s: the database's filesystem cannot be", m.Source,
				m.Point, t.node),
				"unmount it, on "+t.node, "umount "+m.Point)
		}
	}
	if until := d.Publication.PausedUntil; until != nil {
		t.forbids("paused", fmt.Sprintf("the agent of %s is paused until %s: the record would not follow", t.node,
			until.Format("15:04:05 MST")), "end the pause, on "+t.node, "pgha-agent resume")
	}
	if why := sourceOf(d, "route53").Error; why != "" {
		t.forbids("route53", fmt.Sprintf("the agent of %s cannot read the record in the zone: it would not follow (%s)",
			t.node, why), "see why, on "+t.node+": network, credentials, permissions, a record of another form",
			"pgha-agent doctor --only aws")
	}
	for _, p := range d.Problems {
		if p.Code == "config" {
			t.warns("config", t.node+": "+p.Text, p.Remedy+"; on "+t.node+":", actsOf(p)...)
		}
	}
	if other := t.docOf(from); other != nil && other != d {
		for _, diff := range Differences(other, d) {
			t.forbids("other_configuration", diff, "make it equal on both nodes, then reload the one that you changed",
				"systemctl reload pgha-agent")
		}
		// Clients reach the one that has the database.
		if text, remedy, commands := sameAddress(other, d, t.node); text != "" {
			t.forbids("other_configuration", text, remedy, commands...)
		}
	}
}
