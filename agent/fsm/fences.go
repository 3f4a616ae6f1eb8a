package fsm

// FenceID is the identity of one successful fencing in the history of the cluster: whom, what, by whom and when. Zero is none. Identities are
// compared and never ordered: the clock that stamps the history may step in either direction.
type FenceID uint64

// Fences is a set of identities, in the order in which they were added. It is a comparable value; the zero value is empty.
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

// fencings is what is known of one peer's fencings beside their identities.
type fencings struct {
	name   string
	early  Time // when the last one was first seen on a peer that still looked like a member; 0 when it did not, or has come back since
	away   bool
	unseen bool // no look of this process has shown the peer yet: the journal knows it
	seen   Time // when the last good look began
	read   bool // the history was shown once
	old    bool // since the history was last shown, the peer may have come back from a fencing
	cut    bool // at the last good look, or since, DRBD was not connected to the peer
	back   bool // and then it was
	said   Time // when DRBD last said so
}

// learnFences takes in the history of a peer, and reports whether it holds a fencing that proves why the peer is away: one that this agent
// has never seen, and from which the peer cannot have come back meanwhile. What the history holds at the first sight of it is old, unless
// the journal remembers what was known before. A history that was cleaned and comes back holds nothing new.
func (s *State) learnFences(now Time, p Peer) bool {
	at, away := s.Cluster.At, !p.Online || p.Unclean
	f := s.fencingsOf(p.Name)
	if f == nil {
		f = s.follow(p)
	}
	if !away && (f.away || f.early != 0 && at-f.early >= earlyFence) {
		f.early = 0 // what was before its return, or long before, explains no later loss
	}
	f.old = f.old || !away && (f.away || f.back || at-f.seen > earlyFence)
	overtaken := f.said-at > earlyFence // what DRBD has said of a return is from long after this look began
	f.away, f.unseen, f.seen, f.cut, f.back = away, false, at, !s.connected(p.Name), f.back && overtaken
	if p.Unread {
		return false
	}
	fresh := false
	for _, id := range append(p.Fences.IDs(), p.Fenced) {
		if id != 0 && !s.fences.Has(id) {
			fresh = true
			s.fences = s.fences.With(id)
		}
	}
	proves := fresh && !f.old && (f.read || s.remembers)
	if fresh {
		f.early = 0
		if proves && !away {
			f.early = now
		}
	}
	f.read, f.old = true, f.old && overtaken
	return proves
}

// knowsFences reports whether a fencing that is not in the set is one that has come up since: the history of each peer was read, and none
// can have come back meanwhile.
func (s *State) knowsFences() bool {
	read := false
	for i := range s.peers {
		f := &s.peers[i]
		if f.name == "" || s.Cluster.PeerCount > 0 && !s.Cluster.has(f.name) {
			continue
		}
		if f.old || !f.read && !s.remembers {
			return false
		}
		read = read || f.read
	}
	return read || s.remembers
}

// fencedEarly reports whether a fencing of the peer came up while it still looked like a member, for a short time.
func (s *State) fencedEarly(name string) bool {
	f := s.fencingsOf(name)
	return f != nil && f.early != 0 && !f.old
}

func (s *State) fencingsOf(name string) *fencings {
	if name == "" {
		return nil
	}
	for i := range s.peers {
		if s.peers[i].name == name {
			return &s.peers[i]
		}
	}
	return nil
}

// follow makes room for a peer that is seen for the first time, in the place of one that has left the cluster. One that is a member may have
// come back while no agent ran.
func (s *State) follow(p Peer) *fencings {
	var names [MaxPeers]string
	for i := range s.peers {
		names[i] = s.peers[i].name
	}
	away := !p.Online || p.Unclean
	f := &s.peers[s.Cluster.slot(names)]
	*f = fencings{name: p.Name, away: away, seen: s.Cluster.At, old: !away}
	return f
}
