package explain

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pgha/pgha-agent/agent/status"
	"github.com/pgha/pgha-agent/crm"
	"github.com/pgha/pgha-agent/drbd"
)

// Facts are what a judgment rests on. What is nil is not known.
type Facts struct {
	Now             time.Time
	Node            string // this node
	Clone, Resource string // as configured
	Own             *status.Doc
	TTL             time.Duration          // of the record, as configured
	Peers           map[string]*status.Doc // of the other nodes' daemons
	Errs            map[string]string      // why one did not answer
	Cluster         *crm.Status
	Config          *crm.Configuration
	ConfigErr       string // why the configuration could not be read; "" when it was, or was not tried yet
}

// judge judges one set of facts.
type judge struct {
	Facts
	ids []string // of the database's resources
}

func newJudge(f Facts) *judge {
	j := &judge{Facts: f}
	if j.Resource == "" && f.Own != nil && f.Own.Drbd != nil {
		j.Resource = f.Own.Drbd.Name
	}
	if j.Resource == "" && f.Own != nil && f.Own.Config != nil {
		j.Resource = f.Own.Config.Resource
	}
	switch {
	case f.Config != nil:
		j.ids = f.Config.Database(f.Clone)
	case f.Cluster != nil:
		for _, r := range f.Cluster.Resources {
			if looksOurs(r, f.Clone) {
				j.ids = append(j.ids, base(r.ID), r.Clone, r.Group)
			}
		}
	}
	j.ids = slices.DeleteFunc(j.ids, func(id string) bool { return id == "" })
	return j
}

// looksOurs guesses what belongs to the database when the configuration, which says it, is not known.
func looksOurs(r crm.Resource, clone string) bool {
	if r.ID == clone || base(r.ID) == clone || r.Clone == clone {
		return true
	}
	return strings.HasSuffix(r.Agent, ":Filesystem") || crm.RunsPostgres(r.Agent)
}

// cloneID is the id of the clone, which may be configured by its primitive.
func (j *judge) cloneID() string {
	if j.Cluster != nil {
		for _, r := range j.Cluster.Instances(j.Clone) {
			if r.Clone != "" {
				return r.Clone
			}
		}
	}
	return j.Clone
}

// ours reports an instance of a resource of the database.
func (j *judge) ours(r crm.Resource) bool { return slices.Contains(j.ids, base(r.ID)) }

// docOf returns what is known from a node's daemon.
func (j *judge) docOf(node string) *status.Doc {
	if node == "" {
		return nil
	}
	if node == j.Node {
		return j.Own
	}
	return j.Peers[node]
}

// docs returns all that is known from daemons, this node's first.
func (j *judge) docs() (docs []*status.Doc) {
	if j.Own != nil {
		docs = append(docs, j.Own)
	}
	for _, node := range j.others() {
		if d := j.Peers[node]; d != nil {
			docs = append(docs, d)
		}
	}
	return docs
}

// others lists the other nodes of the cluster that are members, sorted.
func (j *judge) others() (nodes []string) {
	for node := range j.Peers {
		nodes = append(nodes, node)
	}
	for node := range j.Errs {
		nodes = append(nodes, node)
	}
	if j.Cluster == nil && j.Own != nil && j.Own.Cluster != nil {
		for _, n := range j.Own.Cluster.Nodes {
			if n.Name != j.Node {
				nodes = append(nodes, n.Name)
			}
		}
	}
	if j.Cluster != nil {
		for _, n := range j.Cluster.Nodes {
			if n.Name != j.Node && (n.Type == "" || n.Type == "member") {
				nodes = append(nodes, n.Name)
			}
		}
	}
	slices.Sort(nodes)
	return slices.Compact(nodes)
}

// look is what there is without Pacemaker's answer on this node: the last look here, which is old when crm_mon fails,
// or that of another node where it answers.
func (j *judge) look() *status.ClusterDoc {
	if j.Own == nil {
		return nil
	}
	if !sourceOf(j.Own, "crm").Up {
		for _, d := range j.docs() {
			if d.Cluster != nil && sourceOf(d, "crm").Up {
				return d.Cluster
			}
		}
	}
	return j.Own.Cluster
}

// leftCluster reports a node that others see outside of the cluster, and Pacemaker does not answer on this one.
func (j *judge) leftCluster(node string) bool {
	return j.Cluster == nil && slices.ContainsFunc(j.docs(), func(d *status.Doc) bool {
		return d != j.Own && d.Node != node && d.Cluster != nil && sourceOf(d, "crm").Up &&
			slices.ContainsFunc(d.Cluster.Nodes, func(n status.NodeDoc) bool { return n.Name == node && isFalse(n.Online) })
	})
}

// stoppedHere reports that Pacemaker does not run on this node, which does not have the database: to start it is right.
func (j *judge) stoppedHere() bool { return j.leftCluster(j.Node) && j.primary() != j.Node }

// startPacemaker is for a node that is not in the cluster.
const startPacemaker = "systemctl start corosync pacemaker"

// promoted is the node that Pacemaker shows as promoted, "" when there is none or more than one.
func (j *judge) promoted() string {
	var nodes []string
	switch {
	case j.Cluster != nil:
		nodes = j.Cluster.Promoted(j.Clone)
	case j.look() != nil:
		nodes = j.look().Promoted
	}
	if len(nodes) == 1 {
		return nodes[0]
	}
	return ""
}

// primary is the node that has the database: the one that Pacemaker shows as promoted and has not lost, else the one
// whose kernel says that it is DRBD's Primary. "" when nobody has it, or more than one.
func (j *judge) primary() string {
	if node := j.promoted(); node != "" && !j.lost(node) {
		return node
	}
	var found []string
	for _, d := range j.docs() {
		if d.Drbd != nil && d.Drbd.Role == drbd.RolePrimary {
			found = append(found, d.Node)
		}
	}
	if j.Own != nil && j.Own.Drbd != nil {
		for _, c := range j.Own.Drbd.Connections {
			for _, node := range j.others() {
				if c.PeerRole == drbd.RolePrimary && j.sameNode(c.Name, node) {
					found = append(found, node)
				}
			}
		}
	}
	slices.Sort(found)
	if found = slices.Compact(found); len(found) == 1 {
		return found[0]
	}
	return ""
}

// writers lists the nodes that have the database, sorted: those that Pacemaker shows as promoted and has not lost, or
// those whose kernels call themselves DRBD's Primary. More than one is a fault; a move may look like it for seconds.
func (j *judge) writers() (nodes []string) {
	if j.Cluster != nil {
		nodes = slices.DeleteFunc(slices.Clone(j.Cluster.Promoted(j.Clone)), j.lost)
	}
	if len(nodes) < 2 {
		nodes = nil
		for _, d := range j.docs() {
			if d.Drbd != nil && d.Drbd.Role == drbd.RolePrimary {
				nodes = append(nodes, d.Node)
			}
		}
	}
	slices.Sort(nodes)
	return slices.Compact(nodes)
}

// lost reports a node that the cluster does not have, or not for sure.
func (j *judge) lost(node string) bool {
	if j.Cluster == nil {
		c := j.look()
		return c != nil && slices.ContainsFunc(c.Nodes, func(n status.NodeDoc) bool {
			return n.Name == node && (isFalse(n.Online) || isTrue(n.Unclean))
		})
	}
	n, known := j.Cluster.Node(node)
	return !known || n.Online == crm.No || n.Unclean == crm.Yes
}

// sameNode reports whether DRBD's name of a peer, its host name, is that of a node of the cluster. DRBD 8.4 calls its
// only peer "peer".
func (j *judge) sameNode(peer, node string) bool {
	if strings.EqualFold(peer, node) {
		return true
	}
	short, _, _ := strings.Cut(peer, ".")
	name, _, _ := strings.Cut(node, ".")
	return strings.EqualFold(short, name) || peer == "peer" && len(j.others()) == 1 && node != ""
}

// Differences tells what two nodes are configured with differently and must have alike. Nothing is said of a node that
// does not tell its settings.
func Differences(a, b *status.Doc) (texts []string) {
	if a.Config == nil || b.Config == nil {
		return nil // one is of a version that does not say
	}
	for _, field := range []struct{ name, a, b string }{
		{"record.name", a.Config.Record, b.Config.Record},
		{"record.zone_id", a.Config.Zone, b.Config.Zone},
		{"record.ownership", a.Config.Ownership, b.Config.Ownership},
		{"record.publish_on", a.Config.PublishOn, b.Config.PublishOn},
		{"record.ttl", a.Config.TTL, b.Config.TTL},
		{"record.repair", fmt.Sprint(a.Config.Repair), fmt.Sprint(b.Config.Repair)},
		{"cluster.promotable", a.Config.Promotable, b.Config.Promotable},
		{"drbd.resource", a.Config.Resource, b.Config.Resource},
	} {
		if field.a != field.b {
			texts = append(texts, fmt.Sprintf("the setting %s is %q on %s and %q on %s", field.name, field.a, a.Node, field.b,
				b.Node))
		}
	}
	return texts
}

// SameAddress tells of two nodes that would publish the same address, "" when they would not, or it is not known.
func SameAddress(a, b *status.Doc) string {
	if a.Node == b.Node || a.Record.OwnAddr == "" || a.Record.OwnAddr != b.Record.OwnAddr {
		return ""
	}
	return fmt.Sprintf("the agents of %s and %s both take %s for their own address", a.Node, b.Node, a.Record.OwnAddr)
}

// sameAddress is that, with where the mistake most likely is.
func sameAddress(a, b *status.Doc, wrong string) (text, remedy string, commands []string) {
	return SameAddress(a, b), "correct node.address in /etc/pgha-agent/config.toml where it is not the node's own, most " +
		"likely on " + wrong, []string{"pgha-agent check-config", "systemctl reload pgha-agent"}
}

// failover judges whether the database would fail over now.
func (j *judge) failover() status.Failover {
	best := status.Failover{Reasons: []status.Finding{}}
	if nodes := j.writers(); len(nodes) > 1 {
		best.Text = "Whether the database could fail over is not known: more than one node has it."
		return best
	}
	from := j.primary()
	for _, node := range j.targets(from) {
		f := j.failoverTo(from, node)
		if f.Possible == nil || *f.Possible {
			f.Text += j.longTTL(from)
		}
		if best.Text == "" || rankOf(f.Possible) < rankOf(best.Possible) ||
			rankOf(f.Possible) == rankOf(best.Possible) && len(f.Reasons) < len(best.Reasons) {
			best = f
		}
	}
	if best.Text == "" {
		best.Text = "Whether the database could fail over is not known: no other node is known."
		if j.Cluster != nil {
			best.Possible, best.Text = new(false), "The database could not fail over: there is no other node."
		}
	}
	return best
}

// longTTL says for how long clients may go to the old address after a failover, where that is not what is configured.
func (j *judge) longTTL(from string) string {
	d := cmp.Or(j.docOf(from), j.Own)
	if d == nil || j.TTL == 0 {
		return ""
	}
	if ttl := time.Duration(d.Record.TTL * float64(time.Second)); ttl > j.TTL+time.Minute {
		return fmt.Sprintf(" After a failover clients may go to the old address for %s: that is the record's TTL.",
			status.Ago(ttl))
	}
	return ""
}

// Blockers tells what keeps the database from running on a node, if it moved there from another one now, sorted by what
// to fix first.
func Blockers(f Facts, from, to string) []status.Finding {
	t := &target{judge: newJudge(f), node: to}
	return t.look(from)
}

// Targets lists the nodes of the cluster that could take over from a node, sorted: those with a copy of the data.
func Targets(f Facts, from string) []string { return newJudge(f).targets(from) }

// PartnerConnections returns the connections of this node's DRBD to the nodes of the cluster that have a copy of the
// data: those to nodes that only vote, or are of no cluster, are not among them. Where no name matches it returns all.
// Own must be there, with its DRBD.
func PartnerConnections(f Facts) []drbd.DumpConnection {
	j, partners := newJudge(f), Targets(f, f.Node)
	all := f.Own.Drbd.Connections
	list := slices.DeleteFunc(slices.Clone(all), func(c drbd.DumpConnection) bool {
		return !slices.ContainsFunc(partners, func(node string) bool { return j.sameNode(c.Name, node) })
	})
	if len(list) == 0 {
		return all
	}
	return list
}

// Database lists the ids of the resources that the database is made of.
func Database(f Facts) []string { return newJudge(f).ids }

// rankOf sorts yes before unknown before no.
func rankOf(possible *bool) int {
	switch {
	case possible == nil:
		return 1
	case *possible:
		return 0
	}
	return 2
}

// targets lists the nodes that could take over: those with a copy of the data. A node that only votes has none.
func (j *judge) targets(from string) (nodes []string) {
	for _, node := range append(j.others(), j.Node) {
		if node != from && !j.onlyVotes(node) {
			nodes = append(nodes, node)
		}
	}
	slices.Sort(nodes)
	return nodes
}

// OnlyVotes reports a node without a copy of the data, as far as the facts tell. It needs no daemon of the agent.
func OnlyVotes(f Facts, node string) bool { return newJudge(f).onlyVotes(node) }

// onlyVotes reports a node without a copy of the data: DRBD says that its disk is left out on purpose, or knows the
// other nodes and not this one.
func (j *judge) onlyVotes(node string) bool {
	if node == j.Node || j.Own == nil || j.Own.Drbd == nil {
		return false
	}
	known := false
	for _, c := range j.Own.Drbd.Connections {
		if !j.sameNode(c.Name, node) {
			continue
		}
		known = true
		for _, v := range c.PeerDevices {
			if v.PeerClient == nil || !*v.PeerClient {
				return false
			}
		}
		if len(c.PeerDevices) == 0 {
			return false
		}
	}
	if known {
		return true
	}
	// DRBD 9 lists every peer by its name. With several members of the cluster, one without a connection has no copy.
	return len(j.others()) > 1 && len(j.Own.Drbd.Connections) > 0
}

// failoverTo judges one target.
func (j *judge) failoverTo(from, node string) status.Failover {
	t := &target{judge: j, node: node}
	f := status.Failover{To: node, Reasons: t.look(from), Possible: new(true),
		Text: fmt.Sprintf("The database could fail over to %s.", node)}
	if f.Reasons == nil {
		f.Reasons = []status.Finding{}
	}
	forbids := slices.IndexFunc(f.Reasons, func(r status.Finding) bool { return r.Severity == status.Critical })
	unknown := slices.IndexFunc(f.Reasons, func(r status.Finding) bool { return r.Severity == status.Unknown })
	switch {
	case forbids >= 0:
		f.Possible, f.Text = new(false), fmt.Sprintf("The database could NOT fail over to %s: %s.", node,
			f.Reasons[forbids].Text)
	case j.Cluster == nil && j.Own != nil && j.Own.Cluster != nil && sourceOf(j.Own, "crm").Error == "":
		f.Possible, f.Text = nil, "Whether the database could fail over is not known: this daemon does not tell all that "+
			"Pacemaker says."
	case j.Cluster == nil:
		f.Possible, f.Text = nil, "Whether the database could fail over is not known: Pacemaker does not answer."
	case unknown >= 0:
		f.Possible = nil
		f.Text = fmt.Sprintf("Nothing that is seen here forbids a failover to %s, but not all of it is: %s.", node,
			f.Reasons[unknown].Text)
	}
	return f
}
