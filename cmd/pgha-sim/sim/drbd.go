package sim

import (
	"time"

	"github.com/pgha/pgha-agent/crm"
	"github.com/pgha/pgha-agent/drbd"
)

// view is what of DRBD's word is about a promotion.
type view struct {
	primary, connected bool
	peer               drbd.Role
}

// down takes DRBD's resource away.
func (n *node) down() {
	n.up, n.primary, n.drbdSaid, n.thirdSaid, n.suspended = false, false, false, false, false
}

// role is what Pacemaker finds when it looks what runs on a node that nobody has promoted.
func (n *node) role() crm.Role {
	if n.up {
		return crm.RoleUnpromoted
	}
	return crm.RoleStopped
}

// good reports whether all volumes hold the newest data.
func (n *node) good() bool { return n.upToDate && !n.badDisk }

// quorate reports whether n has DRBD's quorum: two of three nodes, where there are three and it is asked for.
func (n *node) quorate() bool { return n.w.s.Quorum == "" || n.drbdSaid || n.thirdSaid }

// third connects n to the third DRBD node, which is no member of the cluster, or ends the connection.
func (w *world) third(n *node) {
	if w.s.Third == "" {
		return
	}
	w.after(w.between(ms(50), 3*time.Second), func() {
		if said := n.up && !w.thirdDown; said != n.thirdSaid {
			n.thirdSaid = said
			w.drbdChanged()
		}
	})
}

// hears takes in what the other node says of itself over DRBD's connection. One that is gone says nothing.
func (n *node) hears() {
	o := n.other()
	if !n.drbdSaid || !o.up || n.w.cut {
		return
	}
	n.peerRole, n.peerDisks = drbd.RoleSecondary, o.disks()
	if o.primary {
		n.peerRole = drbd.RolePrimary
	}
}

// drbd is what an events2 stream says that begins now.
func (n *node) drbd() drbd.Report {
	if !n.up {
		return drbd.Report{Live: true}
	}
	o := n.other()
	res := drbd.Resource{Name: resource, Role: drbd.RoleSecondary, SuspendedKnown: true}
	if n.primary {
		res.Role = drbd.RolePrimary
	}
	if n.suspended {
		res.Suspended = []string{"fencing"}
	}
	quorum := drbd.Yes
	if !n.quorate() {
		quorum = drbd.No
		if n.w.s.Quorum == "suspend-io" {
			res.Suspended = append(res.Suspended, "quorum")
		}
	}
	for v, disk := range n.disks() {
		res.Devices = append(res.Devices, drbd.Device{Volume: v, Disk: disk, Quorum: quorum})
	}
	c := drbd.Connection{PeerNodeID: o.i, Name: o.name, State: drbd.ConnConnecting, PeerRole: drbd.RoleUnknown}
	if n.w.s.DRBD84 {
		c.Name = "peer"
	}
	switch {
	case n.drbdSaid:
		c.State, c.PeerRole = drbd.ConnConnected, n.peerRole
		for v, disk := range n.peerDisks {
			c.Volumes = append(c.Volumes, drbd.PeerDevice{Volume: v, Replication: drbd.ReplEstablished, PeerDisk: disk})
		}
	case n.splitBrain:
		c.State, c.SplitBrain = drbd.ConnStandAlone, drbd.SplitBrainLatched
	case o.up: // it did not say goodbye
		c.State = drbd.ConnNetworkFailure
	}
	res.Connections = []drbd.Connection{c}
	if n.w.s.Third != "" {
		c := drbd.Connection{PeerNodeID: 2, Name: "dr", State: drbd.ConnConnecting, PeerRole: drbd.RoleUnknown}
		if n.thirdSaid {
			c.State, c.PeerRole = drbd.ConnConnected, drbd.RoleSecondary
			c.Volumes = []drbd.PeerDevice{{Replication: drbd.ReplEstablished, PeerDisk: drbd.DiskUpToDate}}
			if n.w.s.Third == "tiebreaker" {
				c.Volumes[0].PeerDisk, c.Volumes[0].PeerClient = drbd.DiskDiskless, drbd.Yes
			}
		}
		res.Connections = append(res.Connections, c)
	}
	return drbd.Report{Live: true, Status: drbd.Status{Resources: []drbd.Resource{res}}}
}

// disks are the states of n's volumes.
func (n *node) disks() []drbd.DiskState {
	disks := make([]drbd.DiskState, max(1, n.w.s.Volumes))
	for v := range disks {
		if disks[v] = drbd.DiskUpToDate; !n.upToDate {
			disks[v] = drbd.DiskInconsistent
		}
	}
	if n.badDisk {
		disks[len(disks)-1] = drbd.DiskFailed
	}
	return disks
}
