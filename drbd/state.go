package drbd

import (
	"cmp"
	"slices"
	"time"
)

// state is one generation.
type state struct {
	resources map[string]*resource
}

type resource struct {
	Resource // without its children
	devices  table[int, Device]
	minors   firsts[int] // volumes by minor
	conns    table[connKey, connection]
	names    firsts[string] // node ids by name
}

// connKey is the node id, or the name where no line has told a node id (-1).
type connKey struct {
	node int
	name string
}

type connection struct {
	Connection  // without its children
	peers       table[int, peerDevice]
	paths       table[pathKey, Path]
	replicating int // peers whose replication state is known and not Off
	suspected   bool
}

func (c *connection) key() connKey {
	if c.PeerNodeID >= 0 {
		return connKey{node: c.PeerNodeID}
	}
	return connKey{node: -1, name: c.Name}
}

type pathKey struct{ local, peer string }

type peerDevice struct {
	PeerDevice
	progress
}

// replicates reports a replication state that follows a comparison of the data.
func (p *peerDevice) replicates() bool {
	return p.Replication != ReplOff && p.Replication != ReplUnknown
}

func compareDevices(x, y *Device) int { return cmp.Compare(x.Volume, y.Volume) }

func comparePeers(x, y *peerDevice) int { return cmp.Compare(x.Volume, y.Volume) }

func comparePaths(x, y *Path) int {
	return cmp.Or(cmp.Compare(x.Local, y.Local), cmp.Compare(x.Peer, y.Peer))
}

func compareConnections(x, y *connection) int {
	return cmp.Or(cmp.Compare(x.PeerNodeID, y.PeerNodeID), cmp.Compare(x.Name, y.Name))
}

// progress is what rates and stalls are judged by.
type progress struct {
	moved time.Time // when catching up began or ended, or done or out-of-sync last changed
	left  uint64    // out of sync, in bytes, as last printed
	told  bool      // the stream prints rates itself
	// The percent that was printed last. Congestion makes a resync begin anew all the time, at the same percent.
	lastDone float64
	// toldDone: the stream prints percents itself, as all but 8.4's do. If not, most is the most that was out of sync
	// since the resync was first seen.
	toldDone bool
	most     uint64
	sampled  time.Time // of the sample that rates are derived from
	sample   uint64
}

func (s *state) resource(name []byte) *resource { return s.resources[string(name)] }

func (r *resource) device(volume, minor int) *Device {
	if volume >= 0 {
		return r.devices.byKey[volume]
	}
	volume, ok := r.minors.first(minor, func(volume int) bool {
		d := r.devices.byKey[volume]
		return d != nil && d.Minor == minor
	})
	if minor < 0 || !ok {
		return nil
	}
	return r.devices.byKey[volume]
}

// connection finds a connection by node id, or by name when the line or the connection has no node id.
func (r *resource) connection(node int, name []byte) *connection {
	if node >= 0 {
		if c := r.conns.byKey[connKey{node: node}]; c != nil {
			return c
		}
	}
	if len(name) == 0 {
		return nil
	}
	if c := r.conns.byKey[connKey{-1, string(name)}]; c != nil || node >= 0 {
		return c
	}
	named := string(name)
	node, ok := r.names.first(named, func(node int) bool {
		c := r.conns.byKey[connKey{node: node}]
		return c != nil && c.Name == named
	})
	if !ok {
		return nil
	}
	return r.conns.byKey[connKey{node: node}]
}

// addConnection files a connection, also one that has got a node id or another name.
func (r *resource) addConnection(c *connection) {
	r.conns.put(c.key(), c)
	if c.PeerNodeID >= 0 {
		r.names.add(c.Name, c.PeerNodeID)
	}
}

// inherit takes over from the generation before what a dump does not print: helper calls, and since when a resync
// has not moved. A call that still ran then may have ended unseen.
func (s *state) inherit(old *state) {
	for name, r := range s.resources {
		was := old.resources[name]
		if was == nil {
			continue
		}
		if len(r.Helpers) == 0 && len(was.Helpers) > 0 {
			r.Helpers = slices.Clone(was.Helpers)
			for i := range r.Helpers {
				r.Helpers[i].Running = false
			}
		}
		for _, c := range r.conns.byKey {
			wasConn := was.connection(c.PeerNodeID, []byte(c.Name))
			if wasConn == nil {
				continue
			}
			for _, p := range c.peers.byKey {
				q := wasConn.peers.byKey[p.Volume]
				if q != nil && catchingUp(q.Replication) == catchingUp(p.Replication) && q.lastDone == p.lastDone &&
					q.left == p.left {
					p.moved, p.Stalled = q.moved, q.Stalled
				}
			}
		}
	}
}

// updateStalled sets Stalled, and reports whether that changed anything.
func (s *state) updateStalled(now time.Time, after time.Duration) (changed bool) {
	for _, r := range s.resources {
		for _, c := range r.conns.byKey {
			for _, p := range c.peers.byKey {
				stalled := catchingUp(p.Replication) && now.Sub(p.moved) >= after
				changed = set(&p.Stalled, stalled) || changed
			}
		}
	}
	return changed
}

// catchingUp reports that blocks differ that a resync is to copy: one runs, is paused, or begins when a congestion
// ends.
func catchingUp(replication ReplicationState) bool {
	return resyncing(replication) || replication == ReplAhead || replication == ReplBehind
}

func resyncing(replication ReplicationState) bool {
	switch replication {
	case ReplSyncSource, ReplSyncTarget, ReplPausedSyncS, ReplPausedSyncT:
		return true
	}
	return false
}
