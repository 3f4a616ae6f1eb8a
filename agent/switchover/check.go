// Package switchover moves the promoted role to the other node when an operator asks for it: what is checked first,
// the move by a location constraint that ends by itself, and what makes it done. It is the only part of the agent that
// changes the cluster, and no daemon uses it.
package switchover

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pgha/pgha-agent/agent/explain"
	"github.com/pgha/pgha-agent/agent/status"
	"github.com/pgha/pgha-agent/crm"
	"github.com/pgha/pgha-agent/drbd"
)

// Prefix begins the ids of the constraints that a switchover sets, so that a person sees where they come from.
const Prefix = "pgha-switchover-"

// Undo is the command that removes what a switchover that was killed left.
const Undo = "pgha-agent switchover --undo"

// Facts are what is known before a move. What could not be asked is nil, with the error beside it.
type Facts struct {
	Node, Clone string // this node, and the promotable clone or its primitive
	To          string // where to, "" for the only other node
	Rescue      bool   // the operator wants to go on where the move itself mends what is wrong
	Now         time.Time

	Status     *status.Doc // of this node's daemon
	StatusErr  error
	Cluster    *crm.Status
	ClusterErr error
	Config     *crm.Configuration
	ConfigErr  error
	Peer       *status.Doc // of the other node's daemon
	PeerErr    error
}

// Verdict is how a check came out.
type Verdict string

// The verdicts. A warning is shown and refuses nothing.
const (
	OK   Verdict = "ok"
	Warn Verdict = "warning"
	Fail Verdict = "fail"
)

// Check is one thing that must hold for a move to be safe now.
type Check struct {
	Name    string  `json:"name"` // from a closed set
	Verdict Verdict `json:"verdict"`
	Text    string  `json:"text"`
	Remedy  string  `json:"remedy,omitempty"`
	// How the move itself mends all that is wrong, and at what risk: a rescue goes on then, and the check is a warning.
	// "" when it does not: then nothing overrides the check.
	Rescue string `json:"rescue,omitempty"`
}

// Plan is what a switchover would do, and whether it may.
type Plan struct {
	Clone   string   `json:"clone"` // the id that the constraint names
	From    string   `json:"from"`
	To      string   `json:"to"`
	Record  string   `json:"record"`
	Address string   `json:"address"`            // that the record has now
	Next    string   `json:"to_address"`         // after the move; "" when the other node's daemon could not be asked
	Checks  []Check  `json:"checks"`             // sorted by what to fix first
	Steps   []string `json:"steps"`              // what will happen
	Stale   []string `json:"leftover,omitempty"` // expired constraints of an earlier run: removed first

	pacemaker   string // version
	lastEpisode uint64 // of the target before the move
}

// Refused lists the checks that failed.
func (p *Plan) Refused() []Check {
	return slices.DeleteFunc(slices.Clone(p.Checks), func(c Check) bool { return c.Verdict != Fail })
}

// Overridden lists the checks that failed, and do not refuse the rescue.
func (p *Plan) Overridden() []Check {
	return slices.DeleteFunc(slices.Clone(p.Checks), func(c Check) bool { return c.Verdict != Warn || c.Rescue == "" })
}

// ID is the id of the constraint.
func (p *Plan) ID() string { return Prefix + p.Clone }

// Leftovers are the constraints of switchovers in a configuration.
func Leftovers(c *crm.Configuration) []crm.Location {
	return slices.DeleteFunc(slices.Clone(c.Locations),
		func(l crm.Location) bool { return !strings.HasPrefix(l.ID, Prefix) })
}

// staleAfter is how old the daemon's last step and its last look at the cluster may be.
const staleAfter = 30 * time.Second

// MakePlan judges the facts. It changes nothing and makes no request.
func MakePlan(f Facts) *Plan {
	p := &Plan{Clone: f.Clone, Checks: []Check{}, Steps: []string{}}
	j := judge{Facts: f, plan: p}
	if j.daemon() && j.cluster() && j.roles() {
		j.blockers()
		j.leftovers()
		j.stickiness()
		j.episodes()
		j.record()
		p.Steps = []string{
			fmt.Sprintf("constraint %s prefers %s for the promoted role of %s; it ends by itself if this command is killed",
				p.ID(), p.To, p.Clone),
			fmt.Sprintf(
				"Pacemaker stops PostgreSQL on %s, demotes DRBD there, promotes %s and starts PostgreSQL: clients are cut off "+
					"meanwhile", p.From, p.To),
			p.publication(),
			"when the database works there, the constraint is removed; then the name is resolved, and PostgreSQL " +
				"tried through it",
		}
	}
	return p
}

// publication says what the agent of the target does with the record.
func (p *Plan) publication() string {
	if p.Address != "" && p.Address == p.Next {
		return fmt.Sprintf("the agent of %s claims %s anew: it stays at %s", p.To, p.Record, p.Next)
	}
	return fmt.Sprintf("the agent of %s moves %s from %s to %s", p.To, p.Record, orUnknown(p.Address), orUnknown(p.Next))
}

func orUnknown(s string) string {
	if s == "" {
		return "its own address"
	}
	return s
}

// judge makes the checks of one plan.
type judge struct {
	Facts
	plan *Plan
	ours []string // ids of the database's resources
}

// problem is one thing that forbids a move. Without a remedy of its own it has that of its check. rescue says how the
// move itself mends it, and at what risk; "" when it does not.
type problem struct{ text, remedy, rescue string }

// check adds one check: it fails when there is a problem.
func (j *judge) check(name, good string, problems list) bool {
	c := Check{Name: name, Verdict: OK, Text: good}
	if len(problems) > 0 {
		var texts, rescues []string
		mended := true
		for _, p := range problems {
			c.Remedy = cmp.Or(c.Remedy, p.remedy, remedies[name])
			texts, rescues = append(texts, p.text), append(rescues, p.rescue)
			mended = mended && p.rescue != ""
		}
		c.Verdict, c.Text = Fail, strings.Join(unique(texts), "; ")
		switch {
		case mended && j.there() == nil: // whether the record would follow there is not known
			c.Remedy = fmt.Sprintf("run this on %s: its agent was not reached from here, and a rescue needs its word that "+
				"the record can follow", j.plan.To)
		case mended:
			c.Rescue = strings.Join(unique(rescues), "; ")
			if j.Rescue {
				c.Verdict = Warn
			}
		}
	}
	j.plan.Checks = append(j.plan.Checks, c)
	return len(problems) == 0
}

func (j *judge) warn(name, text, remedy string) {
	j.plan.Checks = append(j.plan.Checks, Check{Name: name, Verdict: Warn, Text: text, Remedy: remedy})
}

// remedies are those of checks whose problems have no more exact one.
var remedies = map[string]string{
	"daemon":       "`systemctl restart pgha-agent`, which starts it too and is safe at any time; are you root or in group haclient?",
	"pacemaker":    "`systemctl status pacemaker`; are you root or in group haclient?",
	"one_promoted": "`pgha-agent explain` says what is promoted, and what is in the way",
	"nodes":        "`crm_mon -1r`",
	"pause":        "`pgha-agent resume`, on that node",
	"failures":     "see it, mend it, and wait until Pacemaker is idle: `crm_mon -1rf`",
	"fencing":      "wait for its end: `stonith_admin --history '*'`",
	"leftover":     "if none is: `" + Undo + "`",
	"drbd":         "`drbdsetup status --verbose`; wait for the end of a resync",
	"episode":      "`pgha-agent watch`; an episode that only waits for the resolver ends by itself",
	"record":       "`pgha-agent explain`, on that node",
}

// list collects problems.
type list []problem

func (l *list) add(bad bool, format string, args ...any) {
	if bad {
		*l = append(*l, problem{text: fmt.Sprintf(format, args...)})
	}
}

func (j *judge) daemon() bool {
	var bad list
	if j.Status == nil {
		bad.add(true, "%v", j.StatusErr)
	} else {
		age := j.Now.Sub(j.Status.Time)
		bad.add(age > staleAfter, "it hangs: its last step was %.0f s ago", age.Seconds())
		bad.add(j.Status.Node != j.Node, "it calls itself %q, the configuration says %q", j.Status.Node, j.Node)
	}
	return j.check("daemon", "the daemon of this node answers", bad)
}

func (j *judge) cluster() bool {
	var bad list
	bad.add(j.Cluster == nil, "%v", j.ClusterErr)
	bad.add(j.Config == nil, "%v", j.ConfigErr)
	return j.check("pacemaker", "Pacemaker answers, and its configuration can be read", bad)
}

// roles finds out from where to where. Nothing else can be judged without it.
func (j *judge) roles() bool {
	var bad list
	st := j.Cluster
	for _, r := range st.Instances(j.Clone) {
		if r.Clone != "" {
			j.plan.Clone = r.Clone // the configuration may name the primitive
		}
	}
	promoted, others := st.Promoted(j.Clone), st.Unpromoted(j.Clone)
	switch {
	case len(promoted) == 0:
		bad.add(true, "no node is promoted: there is nothing to move")
	case len(promoted) > 1:
		bad.add(true, "more than one node is shown as promoted: %s", strings.Join(promoted, ", "))
	case j.To == promoted[0]:
		bad.add(true, "%s is the promoted one already", j.To)
	default:
		j.plan.From, j.plan.To = promoted[0], j.To
		if len(others) == 0 || j.To != "" { // what keeps the other node from it is judged below
			others = explain.Targets(j.facts(), promoted[0])
		}
		switch {
		case j.To != "":
			bad.add(!slices.Contains(others, j.To), "%s has no copy of the data", j.To)
		case len(others) == 1:
			j.plan.To = others[0]
		default:
			bad.add(true, "want one node that could take over, found %d (%s)", len(others), strings.Join(others, ", "))
		}
	}
	p := j.plan
	p.pacemaker = st.PacemakerVersion
	p.Record, p.Address = j.Status.Record.Name, j.Status.Record.Addr
	if j.Status.Record.ResolverAddr != nil && *j.Status.Record.ResolverAddr != "" {
		p.Address = *j.Status.Record.ResolverAddr // what clients have; a standby reads the zone rarely
	}
	for _, d := range []*status.Doc{j.Status, j.Peer} {
		if d != nil && d.Node == p.To {
			p.Next = d.Record.OwnAddr
			if d.Episode != nil {
				p.lastEpisode = d.Episode.ID
			}
		}
	}
	return j.check("one_promoted", fmt.Sprintf("%s is promoted, and no other", p.From), bad)
}

// checkOf is the check that each reason against a failover belongs to. TestEveryReasonHasItsCheck holds it complete.
var checkOf = map[string]string{
	"node_offline": "nodes", "node_unclean": "nodes", "node_pending": "nodes", "node_shutdown": "nodes",
	"node_standby": "nodes", "quorum": "nodes",
	"node_health": "nodes",
	"maintenance": "maintenance", "unmanaged": "maintenance",
	"paused":           "pause",
	"resource_blocked": "failures", "resource_failed": "failures", "fail_count": "failures", "no_instance": "failures",
	"promotion_score": "failures",
	"fencing_failed":  "fencing", "fencing_stopped": "fencing", "fencing_disabled": "fencing_disabled",
	"banned": "constraints", "ticket": "constraints", "target_role": "constraints", "configuration_unread": "constraints",
	"split_brain": "drbd", "disk": "drbd", "disconnected": "drbd", "drbd_quorum": "drbd", "out_of_sync": "drbd",
	"resync":      "drbd",
	"may_promote": "drbd", "path": "drbd_path",
	"foreign_postgres": "target", "foreign_mount": "target",
	"other_configuration": "configuration", "config": "configuration",
	"peer_agent": "peer_agent", "route53": "record", // which asks the agents itself
}

// facts are what explain judges by.
func (j *judge) facts() explain.Facts {
	f := explain.Facts{
		Now: j.Now, Node: j.Node, Clone: j.Clone, Own: j.Status, Cluster: j.Cluster, Config: j.Config,
		Peers: map[string]*status.Doc{}, Errs: map[string]string{},
	}
	switch other := j.other(); {
	case other == "":
	case j.Peer != nil:
		f.Peers[other] = j.Peer
	case j.PeerErr != nil:
		f.Errs[other] = j.PeerErr.Error()
	}
	return f
}

// blockers asks what would keep the database from failing over to the target: that keeps it from being moved there too.
func (j *judge) blockers() {
	f := j.facts()
	j.ours = explain.Database(f)
	found := map[string][]status.Finding{}
	for _, r := range explain.Blockers(f, j.plan.From, j.plan.To) {
		found[checkOf[r.Code]] = append(found[checkOf[r.Code]], r)
	}
	for _, c := range []struct {
		name, good string
		more       func() list
	}{
		{"nodes", "both nodes are online, clean and not in standby", j.from},
		{"maintenance", "nothing is in maintenance or unmanaged", nil},
		{"pause", "no agent is paused", j.fromPaused},
		{"failures", "nothing has failed on " + j.plan.To + ", and Pacemaker is idle", j.busy},
		{"fencing", "fencing works, and none is under way", j.fencing},
		{"constraints", "no constraint keeps the role from " + j.plan.To, j.preferences},
		{"drbd", "DRBD is connected, both disks are UpToDate", j.disks},
		{"target", "nothing outside of Pacemaker is in the way on " + j.plan.To, nil},
		{"configuration", "both agents are configured alike", nil},
	} {
		var bad list
		for _, r := range found[c.name] {
			if r.Severity != status.Warning { // unknown is no pass
				bad = append(bad, problem{text: r.Text, remedy: r.Advice()})
			} else {
				j.warn(c.name, r.Text, r.Advice())
			}
		}
		if c.more != nil {
			bad = append(bad, c.more()...)
		}
		j.check(c.name, c.good, bad)
	}
	for _, name := range []string{"fencing_disabled", "drbd_path"} {
		for _, r := range found[name] {
			j.warn(name, r.Text, r.Advice())
		}
	}
	if j.Peer == nil && j.Node != j.plan.To {
		j.warn("peer_agent",
			fmt.Sprintf(
				"the agent of %s was not reached (%v): what is in the way there is not known, and the move is followed from this "+
					"node only",
				j.plan.To, j.PeerErr),
			"run this on "+j.plan.To+" instead, or see that its http.listen can be reached from here")
	}
	if slices.ContainsFunc(j.Cluster.Failures, func(f crm.Failure) bool {
		return f.Node == j.plan.From && j.isOurs(f.Resource)
	}) {
		j.warn("failures_there",
			"operations have failed on "+j.plan.From+": the episode may have the cause resource_failed", "")
	}
}

// isOurs reports a resource that the database is made of.
func (j *judge) isOurs(resource string) bool {
	id, _, _ := strings.Cut(resource, ":")
	return slices.Contains(j.ours, id)
}

// from is about the node that the database leaves.
func (j *judge) from() (bad list) {
	name := j.plan.From
	n, known := j.Cluster.Node(name)
	bad.add(!known || n.Online != crm.Yes, "%s is not online", name)
	bad.add(n.Unclean != crm.No, "%s is unclean: it may be fenced", name)
	bad.add(n.Pending == crm.Yes, "%s is still joining the cluster", name)
	bad.add(n.Shutdown == crm.Yes, "%s is shutting down", name)
	return bad
}

func (j *judge) fromPaused() (bad list) {
	for _, d := range []*status.Doc{j.Status, j.Peer} {
		if d != nil && d.Node == j.plan.From && d.Publication.PausedUntil != nil {
			bad.add(true, "the agent of %s is paused until %s", d.Node, d.Publication.PausedUntil.Format(time.RFC3339))
		}
	}
	return bad
}

// busy is about operations that failed on the target and that no fail count tells of, and those under way.
func (j *judge) busy() (bad list) {
	for _, f := range j.Cluster.Failures {
		bad.add(f.Node == j.plan.To && j.isOurs(f.Resource), "%s of %s failed on %s", f.Task, f.Resource, f.Node)
	}
	for _, r := range j.Cluster.Resources {
		bad.add(j.isOurs(r.ID) && (r.Role.InFlight() || crm.Role(r.Pending).InFlight()), "Pacemaker is at work on %s", r.ID)
	}
	return bad
}

func (j *judge) fencing() (bad list) {
	for _, n := range j.Cluster.Nodes {
		_, pending := j.Cluster.PendingFence(n.Name)
		bad.add(pending, "the fencing of %s is under way", n.Name)
	}
	return bad
}

// leftovers looks for constraints of other switchovers.
func (j *judge) leftovers() {
	var left list
	for _, l := range Leftovers(j.Config) {
		if !l.Applies(j.Now) {
			j.plan.Stale = append(j.plan.Stale, l.ID)
			continue
		}
		left.add(true, "%s prefers %s until %s: another switchover is under way, or was killed", l.ID, l.Node,
			l.Until.Format(time.RFC3339))
	}
	j.check("leftover", "no other switchover is under way", left)
}

// preferences looks for what would hold the role where it is, or take it back.
func (j *judge) preferences() (bad list) {
	for _, l := range j.Config.Locations {
		mine := strings.HasPrefix(l.ID, Prefix)
		if mine || l.Node != j.plan.From || l.Score <= 0 || !l.Applies(j.Now) || !l.About(j.ours) {
			continue
		}
		remove := explain.RemoveConstraint(l.ID)
		if strings.HasPrefix(l.ID, "cli-prefer-") {
			remove = "crm_resource --clear --resource " + l.Resource
		}
		bad = append(bad, problem{
			text: fmt.Sprintf("%s draws %s to %s: it would not move, or would move back", l.ID,
				cmp.Or(l.Resource, l.Pattern), l.Node),
			remedy: "remove it, unless the database belongs there: `" + remove + "`",
		})
	}
	return bad
}

func (j *judge) stickiness() {
	sets := j.Config.InfiniteStickiness
	if len(sets) == 0 {
		return
	}
	j.check("stickiness", "", list{{
		text: "resource-stickiness is INFINITY in " + strings.Join(sets, ", ") + ": no preference moves that",
		remedy: fmt.Sprintf("use a finite one: `cibadmin --delete --xpath "+
			"\"//*[@id='%s']/nvpair[@name='resource-stickiness']\"`, then `crm_attribute --type rsc_defaults "+
			"--name resource-stickiness --update 1000`", sets[0]),
	}})
}

// disks is about DRBD as this node sees it: what a failover does not mind, and a move does.
func (j *judge) disks() (bad list) {
	d := j.Status.Drbd
	if d == nil {
		bad.add(true, "DRBD does not answer on this node")
		return bad
	}
	add := func(is bool, text, remedy string) {
		if is {
			bad = append(bad, problem{text: text, remedy: remedy})
		}
	}
	const see = "`drbdsetup status --verbose`"
	add(d.Suspended == nil || len(d.Suspended) > 0, "I/O is suspended",
		"see which handler runs, and whether the other node is being fenced: runbook PghaDrbdSuspended; "+see)
	bad.add(len(d.Devices) == 0, "the disk here is not known")
	for _, v := range d.Devices {
		j.disk(&bad, j.Node, "here", v.Disk)
	}
	bad.add(len(d.Connections) == 0, "there is no connection")
	for _, c := range d.Connections {
		if !strings.EqualFold(c.Name, j.plan.From) && !strings.EqualFold(c.Name, j.plan.To) && len(d.Connections) > 1 {
			continue // a third node changes nothing for the two
		}
		connected := c.Connection == drbd.ConnConnected
		add(c.SplitBrain != drbd.SplitBrainNone.String(), "split brain: "+c.SplitBrain,
			"decide which side keeps its data: docs/operate.md, Split brain; look first, on both nodes: "+see)
		add(!connected, fmt.Sprintf("the connection to %s is %s", c.Name, c.Connection),
			"bring that node back, or the network to it; after that, on both nodes: `drbdadm adjust "+d.Name+"`")
		bad.add(connected && len(c.PeerDevices) == 0, "the disk of %s is not known", c.Name)
		for _, v := range c.PeerDevices {
			if connected {
				j.disk(&bad, j.other(), "of "+c.Name, v.PeerDisk)
			}
			bad.add(connected && v.Replication != drbd.ReplEstablished, "%s: %s", c.Name, v.Replication)
		}
	}
	return bad
}

// disk wants the disk of a node UpToDate.
func (j *judge) disk(bad *list, node, words string, state drbd.DiskState) {
	if state != drbd.DiskUpToDate {
		*bad = append(*bad, problem{text: fmt.Sprintf("the disk %s is %s", words, state), rescue: j.diskRescue(node, state)})
	}
}

// other is the one of the two nodes of the plan that this is not.
func (j *judge) other() string {
	if j.Node == j.plan.To {
		return j.plan.From
	}
	return j.plan.To
}

// there returns what the agent of the target says, nil when it was not reached.
func (j *judge) there() *status.Doc {
	for _, d := range []*status.Doc{j.Status, j.Peer} {
		if d != nil && d.Node == j.plan.To && j.plan.To != "" {
			return d
		}
	}
	return nil
}

func (j *judge) episodes() {
	var bad list
	for _, d := range []*status.Doc{j.Status, j.Peer} {
		if d != nil && d.Episode != nil && d.Episode.Outcome == "open" {
			bad = append(bad, problem{text: fmt.Sprintf("episode %d of %s is not over", d.Episode.ID, d.Node),
				rescue: j.episodeRescue(d)})
		}
	}
	j.check("episode", "no episode is open", bad)
}

// record wants that the record will follow: it names the promoted node now, and no agent reports what would hold it up.
func (j *judge) record() {
	var bad list
	for _, d := range []*status.Doc{j.Status, j.Peer} {
		if d == nil {
			continue
		}
		for _, f := range d.Problems {
			known := f.Code == "fencing_disabled" || f.Code == "paused" || f.Code == "maintenance"
			if !known && (f.Severity == status.Critical || f.Code == "source_route53") {
				bad = append(bad, problem{text: d.Node + ": " + f.Text, rescue: j.problemRescue(d, f.Code)})
			}
		}
		if d.Node == j.plan.From && d.Publication.State != status.PubObserved {
			bad = append(bad, problem{
				text:   fmt.Sprintf("the record does not name %s now: publication is %s", d.Node, d.Publication.State),
				rescue: j.publicationRescue(d),
			})
		}
		bad.add(d.Node == j.plan.To && d.Record.OwnAddr == "", "the agent of %s does not know its own address", d.Node)
	}
	j.check("record", "the record names "+j.plan.From+", and the agents have no problem", bad)
}

func unique(l []string) []string {
	slices.Sort(l)
	return slices.Compact(l)
}
