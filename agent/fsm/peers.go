package fsm

import "time"

// Peers is what is known of the other nodes beside the last poll of the cluster.
type Peers struct {
	Lost           [MaxPeers]LostPeer
	fences         Fences                   // every successful fencing that this agent has seen
	fencesComplete bool                     // and those of before the start are in it
	fencing        [MaxPeers]peerFencing    // of each peer, beside the identities
	demotions      [MaxConnections]demotion // of the connections' peers
	lastPromoted   string                   // the peer that was seen promoted last, until this node is
	// When a peer was last seen without its disk; 0: never since this node was promoted.
	diskLostAt Time
}

// LostPeer remembers a peer that went away while it was promoted.
type LostPeer struct {
	Name   string
	Fenced bool // a successful fencing that was not known before the loss has been seen
}

// updatePeer follows one peer through loss, fencing and return.
func (s *State) updatePeer(now Time, old Cluster, p Peer) {
	s.forgetDemotion(s.Cluster.At, p)
	early := s.fencedEarly(p.Name)
	fresh := s.updateFences(now, p)
	lost := s.lostPeer(p.Name)
	if p.Online && !p.Unclean {
		if lost != nil {
			*lost = LostPeer{}
		}
		return
	}
	if lost == nil && !s.Poll.everSucceeded && p.Unclean && p.mayBePrimary() {
		// It was lost before this process began, and its fencing is still to come.
		lost = s.rememberLost(LostPeer{Name: p.Name})
	}
	if lost == nil {
		for _, q := range old.Peers[:old.PeerCount] {
			was := q.Online && !q.Unclean && q.mayBePrimary()
			if q.Name == p.Name && (was && !s.departedCleanly(now, p) || p.Unclean && p.mayBePrimary()) {
				s.beginEpisode(now, "crm_mon: node lost")
				s.startFastPolling(now) // fencing is requested next
				lost = s.rememberLost(LostPeer{Name: p.Name, Fenced: early})
				s.markPhase(now, PeerLost)
			}
		}
	}
	if lost == nil {
		return
	}
	if was, known := old.peer(p.Name); known && !was.Online && !was.Unclean && p.Unclean && p.mayBePrimary() {
		lost.Fenced = false // it came back out of sight, was promoted, and is lost once more
	}
	lost.Fenced = lost.Fenced || fresh
	if s.Episode.Peer != p.Name {
		return // the loss belongs to an earlier story
	}
	if p.Fencing || lost.Fenced {
		s.markPhase(now, FenceRequested)
	}
	if lost.Fenced {
		s.markPhase(now, Fenced)
	}
	if s.Episode.Open() {
		s.Episode.Lost = *lost
	}
}

// earlyFenceWindow is how long a fencing may be known before the cluster notices that the node is gone: an operator who
// fences a healthy node is faster than Corosync's token timeout and two looks.
const earlyFenceWindow = 30 * time.Second

func (s *State) lostPeer(name string) *LostPeer {
	for i := range s.Peers.Lost {
		if s.Peers.Lost[i].Name == name {
			return &s.Peers.Lost[i]
		}
	}
	return nil
}

func (s *State) rememberLost(l LostPeer) *LostPeer {
	var names [MaxPeers]string
	for i := range s.Peers.Lost {
		names[i] = s.Peers.Lost[i].Name
	}
	slot := &s.Peers.Lost[s.Cluster.freeSlot(names)]
	*slot = l
	return slot
}

func (s *State) peersHealthy() bool {
	for _, p := range s.Cluster.Peers[:s.Cluster.PeerCount] {
		if !p.Online || p.Unclean {
			return false
		}
	}
	return true
}
