package drbd

import "iter"

// latches are the calls of the split-brain helper that are not over: by resource, peer and volume, each with the
// replication state of its volume at the time of the call. DRBD names peer and volume. An edited call that names
// neither, and comes before its objects, leaves -1, which stands for each.
type latches map[string]map[int]map[int]ReplicationState

// maxLatches bounds the volumes that are told apart on one connection, and those that one call is noted for. There are
// few: DRBD drops a connection at the first volume with a split brain. A call above the bound stands for each volume.
const maxLatches = 256

func (l latches) add(resource string, peer, volume int, replication ReplicationState) {
	if l[resource] == nil {
		l[resource] = map[int]map[int]ReplicationState{}
	}
	volumes := l[resource][peer]
	if volumes == nil {
		volumes = map[int]ReplicationState{}
		l[resource][peer] = volumes
	}
	if _, known := volumes[volume]; !known && len(volumes) >= maxLatches {
		volume, replication = -1, ReplOff
	}
	volumes[volume] = replication
}

// call remembers a call of the split-brain helper.
func (l latches) call(r *resource, peer, volume int) {
	var conns []*connection
	if peer >= 0 {
		if c := r.conns.byKey[connKey{node: peer}]; c != nil {
			conns = append(conns, c)
		}
	} else if len(r.conns.byKey) <= maxLatches {
		conns = r.conns.sorted(compareConnections)
	}
	var peers []*peerDevice
	var nodes []int
	for _, c := range conns {
		if len(peers) > maxLatches || volume < 0 && len(c.peers.byKey) > maxLatches {
			peers = nil
			break
		}
		for _, p := range c.called(volume) {
			nodes, peers = append(nodes, c.PeerNodeID), append(peers, p)
		}
	}
	for i, p := range peers {
		l.add(r.Name, nodes[i], p.Volume, p.Replication)
	}
	if len(peers) == 0 {
		l.add(r.Name, peer, volume, ReplOff)
	}
}

// called returns the peer device of the volume, or all when it is -1.
func (c *connection) called(volume int) []*peerDevice {
	if volume < 0 {
		return c.peers.sorted(comparePeers)
	}
	if p := c.peers.byKey[volume]; p != nil {
		return []*peerDevice{p}
	}
	return nil
}

// compared ends what was known of a split brain on each volume of the connection that has a replication state which
// follows a comparison of the data. Connected alone is no such sign: DRBD 8.4 and 9.0 say it before they compare,
// later ones after it. Each of them compares while replication is Off, calls the helper, and then either leaves Off or
// disconnects (drbd_receiver.c: receive_state, drbd_sync_handshake). Every known state but Off comes after that.
//
// A disk that is attached while connected is compared under Established, so that the state of the time of the call
// says nothing (drbd_attach_handshake). It counts after the connection was down.
//
// The volume counts by itself: the news of one volume's state may come after the call for the next one.
func (l latches) compared(resource string, c *connection) (changed bool) {
	if len(l) == 0 && !c.suspected {
		return false
	}
	replicates := c.State == ConnConnected && c.replicating > 0
	changed = replicates && set(&c.suspected, false)
	for volumes := range l.of(resource, c) {
		for volume, was := range volumes {
			if volume < 0 {
				if replicates {
					delete(volumes, volume)
					changed = true
				}
				continue
			}
			p := c.peers.byKey[volume]
			if p == nil {
				continue
			}
			off := c.State != ConnConnected || p.Replication == ReplOff
			if !off && p.Replication == ReplUnknown {
				continue
			}
			switch {
			case off:
				volumes[volume] = ReplOff
			case p.Replication != was:
				delete(volumes, volume)
				changed = true
			}
		}
	}
	return changed
}

// of goes over the volumes of the connection, and of those that stand for each connection. A connection that has lost
// its last one is forgotten.
func (l latches) of(resource string, c *connection) iter.Seq[map[int]ReplicationState] {
	return func(yield func(map[int]ReplicationState) bool) {
		peers := l[resource]
		for _, node := range []int{c.PeerNodeID, -1}[:1+one(c.PeerNodeID >= 0)] {
			volumes := peers[node]
			if len(volumes) > 0 && !yield(volumes) {
				return
			}
			if len(volumes) == 0 {
				delete(peers, node)
			}
		}
		if len(peers) == 0 {
			delete(l, resource)
		}
	}
}

// on reports whether a split brain is known on the connection. One of a volume that was removed since does not count.
func (l latches) on(resource string, c *connection) bool {
	for volumes := range l.of(resource, c) {
		for volume := range volumes {
			if volume < 0 || len(c.peers.byKey) == 0 || c.peers.byKey[volume] != nil {
				return true
			}
		}
	}
	return false
}

// rename moves split brains to the new name, where they replace what is known of the same volumes.
func (l latches) rename(from, to string) {
	moved, there := l[from], l[to]
	delete(l, from)
	if len(moved) == 0 {
		return
	}
	few, replace := moved, true
	l[to] = there
	if len(there) < len(moved) { // the fewer are moved
		few, replace = there, false
		l[to] = moved
	}
	for peer, volumes := range few {
		for volume, was := range volumes {
			if _, known := l[to][peer][volume]; replace || !known {
				l.add(to, peer, volume, was)
			}
		}
	}
}
