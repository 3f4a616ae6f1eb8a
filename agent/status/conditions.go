package status

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/pgha/pgha-agent/agent/state"
	"github.com/pgha/pgha-agent/crm"
	"github.com/pgha/pgha-agent/drbd"
)

// conditionList collects conditions.
type conditionList struct {
	list  []condition
	whole map[string]bool
}

// add takes in how a subject is: wrong in some way, or well when that is "".
func (l *conditionList) add(kind state.EventKind, topic, object, how, begins, ends string) *condition {
	l.list = append(l.list, condition{subject: subject{topic, object}, state: how, kind: kind, begins: begins, ends: ends})
	return &l.list[len(l.list)-1]
}

// when is a word for what is wrong, "" when it is not.
func when(wrong bool) string {
	if wrong {
		return "yes"
	}
	return ""
}

// asked are the sources whose silence nothing else tells.
var asked = map[Source]string{SourceCrm: "Pacemaker", SourceRoute53: "Route 53", SourceResolver: "the resolver"}

// conditions lists what is known to be well or wrong. What is not in the list is not known, but for topics of which the
// whole is in it.
func (s *Snapshot) conditions() ([]condition, map[string]bool) {
	l := &conditionList{whole: map[string]bool{}}
	if s.Drbd.Live {
		s.drbdConditions(l)
	}
	for _, n := range s.nodeViews() {
		n.conditions(l)
	}
	s.peerConditions(l)
	if s.Crm != nil && s.Sources[SourceCrm].Up {
		s.clusterConditions(l)
	}
	for src, now := range s.Sources {
		what := asked[Source(src)]
		if what != "" && (now.Up || now.Failures > 0) {
			l.add(state.EventGap, "source", what, when(!now.Up), what+" does not answer the agent: "+now.Err,
				what+" answers the agent again").holds = lostAnswer
		}
	}
	return l.list, l.whole
}

// drbdConditions is how this node's DRBD sees itself and its peers.
func (s *Snapshot) drbdConditions(l *conditionList) {
	own := s.Config.Node.Name
	res, up := s.Resource()
	l.add(state.EventDrbd, "drbd", own, when(!up), "DRBD is stopped on "+own, "DRBD runs again on "+own)
	for _, d := range res.Devices {
		if d.Client != drbd.Yes {
			l.disk(own, d.Volume, d.Disk)
		}
	}
	for _, c := range res.Connections {
		peer := s.peerName(c.Name)
		connected := c.State == drbd.ConnConnected
		l.add(state.EventDrbd, "connection", peer, when(!connected),
			fmt.Sprintf("DRBD connection to %s lost (%s)", peer,
				cmp.Or(s.State.Drbd.Connection(c.Name).DisconnectReason, string(c.State))), "DRBD is connected to "+peer+" again")
		l.splitBrain(own, peer, s.State.Drbd.Connection(c.Name).SplitBrain)
		for _, v := range c.Volumes {
			if v.PeerClient != drbd.Yes {
				l.disk(peer, v.Volume, v.PeerDisk)
			}
			l.resync(own, peer, v)
		}
	}
	if up && len(res.Connections) == 0 && s.Drbd.Dialect == "8.4" { // which gives a connection up altogether
		peer := s.peerName("peer")
		l.add(state.EventDrbd, "connection", peer, "yes", "DRBD connection to "+peer+" lost (given up)", "")
		l.splitBrain(own, peer, s.State.Drbd.SplitBrain)
	}
}

// splitBrain takes in what the agent remembers: a DRBD that was restarted has forgotten it.
func (l *conditionList) splitBrain(own, peer string, is bool) {
	between := "split brain between " + own + " and " + peer
	l.add(state.EventDrbd, "split brain", peer, when(is), between, "the "+between+" has ended")
}

// peerName is the node that a connection leads to: DRBD 8.4 calls its only peer "peer".
func (s *Snapshot) peerName(connection string) string {
	if p := s.State.Cluster; connection == "peer" && p.PeerCount == 1 {
		return p.Peers[0].Name
	}
	return connection
}

func (l *conditionList) disk(node string, volume int, disk drbd.DiskState) {
	what := "disk of " + node
	if volume > 0 {
		what = fmt.Sprintf("disk of volume %d of %s", volume, node)
	}
	switch how := ""; disk {
	case drbd.DiskDUnknown, drbd.DiskUnknown:
	default:
		if disk.Lost() {
			how = string(disk)
		}
		l.add(state.EventDrbd, "disk", what, how, fmt.Sprintf("%s: %s", what, disk), what+" is there again")
	}
}

// resync is how far a volume is from its copy.
func (l *conditionList) resync(own, peer string, v drbd.PeerDevice) {
	to, runs, verify := peer, false, false
	switch v.Replication {
	case drbd.ReplSyncSource, drbd.ReplPausedSyncS:
		runs = true
	case drbd.ReplSyncTarget, drbd.ReplPausedSyncT:
		to, runs = own, true
	case drbd.ReplVerifyS, drbd.ReplVerifyT:
		verify = true
	case drbd.ReplOff, drbd.ReplEstablished:
	default:
		return // on its way
	}
	of, left := fmt.Sprintf("%s/%d", peer, v.Volume), ""
	if v.Stats != nil {
		left = ": " + size(v.Stats.OutOfSyncBytes)
	}
	ends := "a resync with " + peer + " has ended"
	if v.Replication == drbd.ReplOff {
		ends = "a resync with " + peer + " broke off"
	}
	l.add(state.EventDrbd, "resync", of, when(runs), "resync of "+to+" begun"+left, ends)
	l.add(state.EventDrbd, "verify", of, when(verify), "verify with "+peer+" begun", "the verify with "+peer+" has ended")
}

// size says a number of bytes as a person would.
func size(n uint64) string {
	switch {
	case n < 1<<20:
		return fmt.Sprintf("%d KiB", n>>10)
	case n < 1<<30:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	default:
		return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
	}
}

// nodeView is what only a node itself can see, and its daemon tells the others.
type nodeView struct {
	node    string
	drbd    *drbd.DumpResource
	foreign bool
	mounts  []MountDoc
}

func (s *Snapshot) nodeViews() []nodeView {
	own := nodeView{node: s.Config.Node.Name, foreign: s.State.ForeignServer(), mounts: s.mountDocs()}
	if res, up := s.Resource(); up && s.Drbd.Live {
		own.drbd = &drbd.NewDump(drbd.Status{Resources: []drbd.Resource{res}}).Resources[0]
	}
	list := []nodeView{own}
	for _, p := range s.Peers {
		if d := p.Doc; d != nil {
			list = append(list, nodeView{p.Node, d.Drbd, d.Postgres.Foreign, d.Mounts})
		}
	}
	return list
}

// full is how little may be free for writes to fail: PostgreSQL takes WAL segments of 16 MiB.
const full = 16 << 20

func (n *nodeView) conditions(l *conditionList) {
	if d := n.drbd; d != nil {
		if d.Suspended != nil {
			why := strings.Join(d.Suspended, ", ")
			l.add(state.EventDrbd, "suspended", n.node, why, fmt.Sprintf("DRBD suspended I/O on %s (%s)", n.node, why),
				"DRBD's I/O runs again on "+n.node)
		}
		lost := slices.ContainsFunc(d.Devices, func(v drbd.DumpDevice) bool { return v.Quorum != nil && !*v.Quorum })
		l.add(state.EventDrbd, "quorum", n.node, when(lost), "DRBD has lost its quorum on "+n.node,
			"DRBD has its quorum again on "+n.node)
		n.outOfSync(l)
	}
	l.add(state.EventHost, "postgres", n.node, when(n.foreign), "a PostgreSQL outside of Pacemaker runs on "+n.node,
		"the PostgreSQL outside of Pacemaker on "+n.node+" is gone")
	secondary := n.drbd != nil && n.drbd.Role == drbd.RoleSecondary
	if n.mounts != nil && n.drbd != nil {
		l.whole["mount "+n.node] = true
	}
	for _, m := range n.mounts {
		if secondary && m.Wanted && !m.OnDrbd {
			l.add(state.EventHost, "mount "+n.node, m.Point, "yes", fmt.Sprintf("%s is mounted at %s on %s, where the "+
				"database's filesystem belongs", m.Source, m.Point, n.node), m.Point+" on "+n.node+" is free again")
		}
		if m.OfDatabase() {
			left := size(m.Free) + " free"
			if m.Inodes != nil && *m.Inodes == 0 {
				left = "no inode free"
			}
			l.add(state.EventHost, "space", m.Point+" "+n.node, when(m.Free < full || m.Inodes != nil && *m.Inodes == 0),
				fmt.Sprintf("filesystem %s is full on %s: %s", m.Point, n.node, left),
				fmt.Sprintf("filesystem %s on %s has space again", m.Point, n.node))
		}
	}
}

// outOfSync tells of blocks that differ while no resync will copy them. Both sides may know of the same.
func (n *nodeView) outOfSync(l *conditionList) {
	for _, c := range n.drbd.Connections {
		for _, v := range c.PeerDevices {
			if v.Replication != drbd.ReplEstablished || v.OutOfSyncBytes == nil {
				continue
			}
			pair := []string{n.node, c.Name}
			slices.Sort(pair)
			between := strings.Join(pair, " and ")
			if c.Name == "peer" { // of DRBD 8.4: the only one
				between = "the two nodes"
			}
			of := subject{"out of sync", fmt.Sprintf("%s/%d", between, v.Volume)}
			if known := slices.IndexFunc(l.list, func(c condition) bool { return c.subject == of }); known >= 0 {
				if l.list[known].state != "" {
					continue
				}
				l.list = slices.Delete(l.list, known, known+1)
			}
			l.add(state.EventDrbd, of.topic, of.object, when(*v.OutOfSyncBytes > 0),
				fmt.Sprintf("blocks out of sync found between %s: %s", between, size(*v.OutOfSyncBytes)),
				"no blocks are out of sync any more between "+between)
		}
	}
}

// lostAnswer is how long what is asked every few seconds may not answer: a daemon may be restarted.
const lostAnswer = 12 * time.Second

// peerConditions is about the daemons of the other nodes.
func (s *Snapshot) peerConditions(l *conditionList) {
	for _, p := range s.Peers {
		d := p.Doc
		if d != nil || s.Crm != nil && inCluster(s.Crm, p.Node) { // without the node there is no daemon either
			l.add(state.EventPeer, "agent", p.Node, when(d == nil), fmt.Sprintf("the agent of %s does not answer: %s", p.Node,
				p.Err), "the agent of "+p.Node+" answers again").holds = lostAnswer
		}
		if d == nil {
			continue
		}
		until := d.Publication.PausedUntil
		begins := ""
		if until != nil {
			begins = "publication on " + p.Node + " is paused until " + until.UTC().Format(time.DateTime)
		}
		l.add(state.EventPeer, "pause", p.Node, when(until != nil), begins, "the pause of "+p.Node+" has ended")
		how := ""
		if d.Record.Drift {
			refused := slices.ContainsFunc(d.Problems, func(p Problem) bool { return strings.Contains(p.Text, notSimple) })
			how = recordText(refused, d.Record.OwnAddr, d.Record.Addr)
		}
		l.add(state.EventRecord, "record", p.Node, how, how, "the record is right again")
	}
}

// clusterConditions is what Pacemaker keeps count of.
func (s *Snapshot) clusterConditions(l *conditionList) {
	for _, n := range s.Crm.Nodes {
		if n.Online != crm.Yes {
			continue
		}
		c := s.Configuration
		if n.Health != "" {
			l.add(state.EventCluster, "health", n.Name, strings.TrimSuffix(n.Health, "green"), fmt.Sprintf("health of %s: %s%s",
				n.Name, n.Health, unhealthy(c, n.Name)), "health of "+n.Name+": green again")
		}
		if c == nil || c.Transient == nil {
			continue
		}
		topic := "fail count " + n.Name
		l.whole[topic] = true
		counts := c.FailCounts(n.Name)
		for _, resource := range slices.Sorted(maps.Keys(counts)) {
			count := counts[resource]
			if limit := c.Threshold(resource); count < crm.Infinity && (limit == 0 || count < limit) {
				continue
			}
			text := fmt.Sprint(count)
			if count >= crm.Infinity {
				text = "INFINITY"
			}
			l.add(state.EventCluster, topic, resource, text, fmt.Sprintf("fail count of %s on %s: %s, so it may not run there",
				resource, n.Name, text), "fail count of "+resource+" on "+n.Name+" is cleared")
		}
	}
	for _, t := range s.Crm.Tickets {
		how := strings.TrimPrefix(t.Status, "granted")
		if how == "" && t.Standby == crm.Yes {
			how = "in standby"
		}
		l.add(state.EventCluster, "ticket", t.ID, how, "ticket "+t.ID+" is "+how, "ticket "+t.ID+" is granted")
	}
}

// unhealthy names the attributes that make a node's health, which crm_mon does not show; "" when they are not known.
func unhealthy(c *crm.Configuration, node string) string {
	if c == nil {
		return ""
	}
	attributes := map[string]string{}
	maps.Copy(attributes, c.NodeAttributes[node])
	maps.Copy(attributes, c.Transient[node])
	var names []string
	for _, name := range slices.Sorted(maps.Keys(attributes)) {
		if value := attributes[name]; strings.HasPrefix(name, "#health") && value != "green" {
			names = append(names, name+" is "+value)
		}
	}
	if len(names) == 0 {
		return ""
	}
	return " (" + strings.Join(names, ", ") + ")"
}

// recordText says what somebody else has made of the record.
func recordText(refused bool, own, now string) string {
	switch {
	case refused:
		return "the record was changed by somebody else: " + notSimple
	case now == "":
		return "the record was deleted by somebody else: it was " + OrDash(own)
	case now == own:
		return "the owner of the record was changed by somebody else"
	}
	return fmt.Sprintf("the record was changed by somebody else: %s to %s", OrDash(own), now)
}
