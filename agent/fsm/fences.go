package fsm

// FenceID is the identity of one successful fencing in the history of the cluster: whom, what, by whom and when. Zero
// is none. Identities are compared and never ordered: the clock that stamps the history may step in either direction.
type FenceID uint64

// Fences is a set of identities, in the order in which they were added. It is a comparable value; the zero value is
// empty.
type Fences string

const (
	fenceSize = 8
	// maxFences bounds what is remembered: twice what Pacemaker's history holds (MAX_STONITH_HISTORY in fenced_history.c).
	maxFences = 1000
)

// Has reports whether the set contains id.
func (f Fences) Has(id FenceID) bool {
	for key := id.key(); len(f) >= fenceSize; f = f[fenceSize:] {
		if f[:fenceSize] == key {
			return true
		}
	}
	return false
}

// With returns the set with id in it. A set that is full loses the one that was added first.
func (f Fences) With(id FenceID) Fences {
	if id == 0 || f.Has(id) {
		return f
	}
	if len(f) == maxFences*fenceSize {
		f = f[fenceSize:]
	}
	return f + id.key()
}

func (id FenceID) key() Fences {
	var key [fenceSize]byte
	for i := range key {
		key[i] = byte(id >> (8 * (fenceSize - 1 - i)))
	}
	return Fences(key[:])
}

// Valid reports whether the set is one that With could have made.
func (f Fences) Valid() bool { return len(f)%fenceSize == 0 && len(f) <= maxFences*fenceSize }

// IDs returns the members in the order in which they were added.
func (f Fences) IDs() []FenceID {
	ids := make([]FenceID, 0, len(f)/fenceSize)
	for ; len(f) >= fenceSize; f = f[fenceSize:] {
		var id FenceID
		for i := range fenceSize {
			id = id<<8 | FenceID(f[i])
		}
		ids = append(ids, id)
	}
	return ids
}

// peerFencing is what is known of one peer's fencings beside their identities.
type peerFencing struct {
	name string
	// When the last one was first seen on a peer that still looked like a member; 0 when it did not, or has come back
	// since.
	earlyAt         Time
	absent          bool
	unseen          bool // no look of this process has shown the peer yet: the journal knows it
	seenAt          Time // when the last good look began
	historyRead     bool // the history was shown once
	mayHaveReturned bool // since the history was last shown, the peer may have come back from a fencing
	disconnected    bool // at the last good look, or since, DRBD was not connected to the peer
	reconnected     bool // and then it was
	reconnectedAt   Time // when DRBD last said so
}

// updateFences takes in the history of a peer, and reports whether it holds a fencing that proves why the peer is away:
// one that this agent has never seen, and from which the peer cannot have come back meanwhile. What the history holds
// at the first sight of it is old, unless the journal remembers what was known before. A history that was cleaned and
// comes back holds nothing new.
func (s *State) updateFences(now Time, p Peer) bool {
	at, absent := s.Cluster.At, !p.Online || p.Unclean
	f := s.fencingOf(p.Name)
	if f == nil {
		f = s.trackPeer(p)
	}
	if !absent && (f.absent || f.earlyAt != 0 && at-f.earlyAt >= earlyFenceWindow) {
		f.earlyAt = 0 // what was before its return, or long before, explains no later loss
	}
	f.mayHaveReturned = f.mayHaveReturned || !absent && (f.absent || f.reconnected || at-f.seenAt > earlyFenceWindow)
	overtaken := f.reconnectedAt-at > earlyFenceWindow // what DRBD has said of a return is from long after this look began
	f.absent, f.unseen, f.seenAt, f.disconnected, f.reconnected = absent, false, at, !s.connected(p.Name),
		f.reconnected && overtaken
	if p.HistoryUnreadable {
		return false
	}
	fresh := false
	for _, id := range append(p.Fences.IDs(), p.Fenced) {
		if id != 0 && !s.Peers.fences.Has(id) {
			fresh = true
			s.Peers.fences = s.Peers.fences.With(id)
		}
	}
	proves := fresh && !f.mayHaveReturned && (f.historyRead || s.Peers.fencesComplete)
	if fresh {
		f.earlyAt = 0
		if proves && !absent {
			f.earlyAt = now
		}
	}
	f.historyRead, f.mayHaveReturned = true, f.mayHaveReturned && overtaken
	return proves
}

// fencesKnown reports whether a fencing that is not in the set is one that has come up since: the history of each peer
// was read, and none can have come back meanwhile.
func (s *State) fencesKnown() bool {
	read := false
	for i := range s.Peers.fencing {
		f := &s.Peers.fencing[i]
		if f.name == "" || s.Cluster.PeerCount > 0 && !s.Cluster.hasPeer(f.name) {
			continue
		}
		if f.mayHaveReturned || !f.historyRead && !s.Peers.fencesComplete {
			return false
		}
		read = read || f.historyRead
	}
	return read || s.Peers.fencesComplete
}

// fencedEarly reports whether a fencing of the peer came up while it still looked like a member, for a short time.
func (s *State) fencedEarly(name string) bool {
	f := s.fencingOf(name)
	return f != nil && f.earlyAt != 0 && !f.mayHaveReturned
}

func (s *State) fencingOf(name string) *peerFencing {
	if name == "" {
		return nil
	}
	for i := range s.Peers.fencing {
		if s.Peers.fencing[i].name == name {
			return &s.Peers.fencing[i]
		}
	}
	return nil
}

// trackPeer makes room for a peer that is seen for the first time, in the place of one that has left the cluster. One
// that is a member may have come back while no agent ran.
func (s *State) trackPeer(p Peer) *peerFencing {
	var names [MaxPeers]string
	for i := range s.Peers.fencing {
		names[i] = s.Peers.fencing[i].name
	}
	absent := !p.Online || p.Unclean
	f := &s.Peers.fencing[s.Cluster.freeSlot(names)]
	*f = peerFencing{name: p.Name, absent: absent, seenAt: s.Cluster.At, mayHaveReturned: !absent}
	return f
}
