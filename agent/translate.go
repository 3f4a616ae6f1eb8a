package agent

import (
	"fmt"
	"hash/fnv"
	"io"
	"strings"
	"time"

	"github.com/pgha/pgha-agent/agent/fsm"
	"github.com/pgha/pgha-agent/agent/status"
	"github.com/pgha/pgha-agent/crm"
	"github.com/pgha/pgha-agent/drbd"
	"github.com/pgha/pgha-agent/pg"
	"github.com/pgha/pgha-agent/route53"
)

// failedRecently is how old a peer's failed operation may be to count as the cause of a promotion.
const failedRecently = 10 * time.Minute

// identity is what names this node and this boot in a claim.
type identity struct{ boot, node, clone string }

// claim names the promotion that the operation made. The same operation gives the same claim after a restart of the
// agent, and in the alert hook, so that whoever comes second finds the work done.
func (id identity) claim(op crm.Operation) string {
	return route53.Claim(id.boot, id.node, operation(op))
}

// operation names one run of an operation in a node's history.
func operation(op crm.Operation) string {
	changed := op.LastChangeText // only when it could not be read as a time
	if !op.LastChange.IsZero() {
		changed = fmt.Sprint(op.LastChange.Unix())
	}
	return fmt.Sprintf("%s/%d/%s", op.Resource, op.Call, changed)
}

// unnamed is the claim for a promotion whose operation nobody saw and the history has forgotten.
func (id identity) unnamed() string { return route53.Claim(id.boot, id.node, "unnamed") }

// clusterFacts translates one crm_mon document into the terms of the decision. What the document leaves open becomes
// the value that forbids.
func clusterFacts(st *crm.Status, id identity, at fsm.Time, wall time.Time) fsm.Cluster {
	c := fsm.Cluster{At: at, OK: true, FencingEnabled: st.FencingEnabled != crm.No}

	node, known := st.Node(id.node)
	c.Online = known && node.Online == crm.Yes
	c.Unclean = node.Unclean != crm.No
	c.Standby = node.Standby != crm.No || node.StandbyOnFail == crm.Yes
	c.Pending = node.Pending != crm.No
	c.Maintenance = st.MaintenanceMode != crm.No || node.Maintenance == crm.Yes

	promoted := st.Promoted(id.clone)
	c.PromotedCount = len(promoted)
	for _, name := range promoted {
		if name == id.node {
			c.PromotedHere = true
		} else {
			c.PromotedPeer = name
		}
	}
	for _, r := range st.Instances(id.clone) {
		if r.Node != id.node {
			continue
		}
		c.Maintenance = c.Maintenance || r.Managed == crm.No || r.Maintenance == crm.Yes
		c.ActionPending = c.ActionPending || r.Role.InFlight() || crm.Role(r.Pending).InFlight()
		c.Promoting = c.Promoting || r.Role == crm.RolePromoting || r.Pending == string(crm.RolePromoting)
	}
	if op, ok := st.PromoteOp(id.clone, id.node); ok && c.PromotedHere {
		c.Promotion = id.claim(op)
	}
	for _, r := range st.Resources {
		if r.Node == id.node && strings.HasSuffix(r.Agent, ":Filesystem") && r.Role == crm.RoleStarted &&
			!crm.Role(r.Pending).InFlight() {
			c.FilesystemHere = true
		}
	}
	for _, n := range st.Nodes {
		if n.Name == id.node || n.Type != "" && n.Type != "member" {
			continue
		}
		if c.PeerCount == fsm.MaxPeers {
			c.TooMany = true
			break
		}
		c.Peers[c.PeerCount] = peerFacts(st, n, id.clone, promoted)
		if op, ok := st.PromoteOp(id.clone, n.Name); ok {
			c.Peers[c.PeerCount].Promotion = operation(op)
		}
		c.PeerCount++
		c.OperatorMove = c.OperatorMove || n.Standby == crm.Yes
		c.PeerFailed = c.PeerFailed || failed(st, n.Name, wall)
	}
	for _, b := range st.Bans {
		if b.Node != id.node && strings.HasPrefix(b.ID, "cli-ban-") {
			c.OperatorMove = true
		}
	}
	return c
}

// turning reports whether a role says that an instance is on its way into or out of its promotion: crm_mon shows the
// operation in place of the role until its end is recorded (native_pending_state in native_output.c of Pacemaker 2.1).
func turning(r crm.Role) bool { return r == crm.RolePromoting || r == crm.RoleDemoting }

func peerFacts(st *crm.Status, n crm.Node, clone string, promoted []string) fsm.Peer {
	p := fsm.Peer{Name: n.Name, Online: n.Online == crm.Yes, Unclean: n.Unclean != crm.No}
	for _, name := range promoted {
		p.Promoted = p.Promoted || name == n.Name
	}
	for _, r := range st.Instances(clone) {
		p.ChangingRole = p.ChangingRole || r.Node == n.Name && (turning(r.Role) || turning(crm.Role(r.Pending)))
	}
	_, p.Fencing = st.PendingFence(n.Name)
	p.HistoryUnreadable = st.FenceHistoryError != ""
	for _, e := range st.Fenced(n.Name) {
		p.Fences = p.Fences.With(fenceID(e))
	}
	if ev, ok := st.LastFence(n.Name); ok {
		p.Fenced = fenceID(ev)
	}
	return p
}

// fenceID names an event of the fencing history. Nodes hand the history to each other, some versions without the
// fraction of the second: the same event must not become another one by that. An event without a time has no identity,
// and proves nothing.
func fenceID(e crm.FenceEvent) fsm.FenceID {
	if e.Completed.IsZero() {
		return 0
	}
	h := fnv.New64a()
	for _, part := range []string{e.Target, e.Action, e.Origin, e.Client, e.Completed.UTC().Format(time.DateTime)} {
		_, _ = io.WriteString(h, part)
		_, _ = h.Write([]byte{0})
	}
	return max(1, fsm.FenceID(h.Sum64()))
}

func failed(st *crm.Status, node string, now time.Time) bool {
	for _, f := range st.Failures {
		if f.Node == node && (f.At.IsZero() || now.Sub(f.At) < failedRecently) {
			return true
		}
	}
	return false
}

// drbdFacts translates the stream's report about the configured resource. before is the last one: it tells what a lost
// connection was.
func drbdFacts(r drbd.Report, resource string, at fsm.Time, before fsm.Drbd) fsm.Drbd {
	d := fsm.Drbd{At: at, Live: r.Live}
	res, ok := status.FindResource(r.Status, resource)
	if !r.Live || !ok {
		d.Live, d.Down = false, r.Live
		return d
	}
	d.Primary = res.Role == drbd.RolePrimary
	d.Suspended = !res.SuspendedKnown || len(res.Suspended) > 0
	d.UpToDate = len(res.Devices) > 0
	for _, dev := range res.Devices {
		d.UpToDate = d.UpToDate && dev.Disk == drbd.DiskUpToDate
		d.NoQuorum = d.NoQuorum || dev.Quorum == drbd.No
	}
	d.Connected = len(res.Connections) > 0
	named := 0
	for _, c := range res.Connections {
		is := connectionFacts(c)
		d.SplitBrain = d.SplitBrain || is.SplitBrain
		d.PeerPrimary = d.PeerPrimary || is.Primary
		d.PeerDiskLost = d.PeerDiskLost || is.DiskLost
		if !is.Connected {
			d.Connected, d.DisconnectReason = false, is.DisconnectReason
			if was := before.Connection(is.Name); !was.Connected && was.DisconnectReason != "" {
				is.DisconnectReason = was.DisconnectReason // the first word says why; what follows is the usual way to Connecting
			}
		}
		if c.Name != "" && named < fsm.MaxConnections {
			d.Connections[named] = is
			named++
		}
	}
	if !d.Connected && !before.Connected && before.DisconnectReason != "" {
		d.DisconnectReason = before.DisconnectReason
	}
	return d
}

func connectionFacts(c drbd.Connection) fsm.Connection {
	is := fsm.Connection{
		Name: c.Name, Connected: c.State == drbd.ConnConnected,
		Primary: c.PeerRole == drbd.RolePrimary, SplitBrain: c.SplitBrain == drbd.SplitBrainLatched,
	}
	is.RoleUnknown = is.Connected && !is.Primary && c.PeerRole != drbd.RoleSecondary
	if !is.Connected {
		is.DisconnectReason = string(c.State)
	}
	for _, v := range c.Volumes {
		is.Comparing = is.Comparing || is.Connected && v.Replication == drbd.ReplOff
		is.DiskLost = is.DiskLost || v.PeerDisk.Lost() && v.PeerClient != drbd.Yes
	}
	return is
}

// accepting reports whether a server answered the probe, be it with a refusal of our role.
func accepting(s pg.State) bool {
	switch s {
	case pg.StateWritable, pg.StateReadOnly, pg.StateInRecovery, pg.StateTooMany, pg.StateAuth:
		return true
	default:
		return false
	}
}

// zoneFacts translates the record that was read.
func zoneFacts(r route53.Record, at fsm.Time) fsm.Zone {
	z := fsm.Zone{
		At: at, OK: true, Epoch: r.Owner.Epoch, Owner: r.Owner.Node, Claim: r.Owner.Claim, Raw: r.Owner.Raw,
		OwnerTTL: r.Owner.TTL,
	}
	if r.Addr.IsValid() {
		z.Addr, z.TTL = r.Addr.String(), r.TTL
	}
	return z
}
