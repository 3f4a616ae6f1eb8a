package fsm

import "time"

// looked takes in one look at the cluster and what it says about the peers.
func (s *State) looked(now Time, c Cluster) {
	if !c.OK {
		s.Cluster.OK = false
		s.LookFailures++
		s.tasks[taskLook].landed(now, min(lookIdle, time.Second<<min(s.LookFailures-1, 4)))
		return
	}
	s.LookFailures = 0
	old := s.Cluster
	s.Cluster = c
	for _, p := range c.Peers[:c.PeerCount] {
		s.peer(now, old, p)
	}
	if c.PromotedPeer != "" {
		s.lastPeer = c.PromotedPeer
		if s.Config.Ownership && s.Zone.Owner != c.PromotedPeer {
			// Its claim will come, or has: know the epoch before it is needed.
			s.hurry(taskRead, max(now+(peerClaims+s.jitter(peerClaims))<<s.crowded, s.Zone.At+peerClaimsAgain, s.ReadRetry.At))
		}
	}
	if c.Promoting && s.everLooked {
		s.begin(now, "crm_mon: promoting")
	}
	if !s.everLooked && c.PromotedHere && !c.FencingEnabled {
		// A machine that froze and woke may have its agent restarted by systemd's watchdog, and nothing then remembers the stall. With
		// fencing such a node does not wake.
		s.StalledUntil = max(s.StalledUntil, now+StallHold)
	}
	s.everLooked = true
	s.lookTook = now - c.At
	if s.lookGap < lookBusy {
		s.lookGap *= 2
	}
	s.tasks[taskLook].landed(now, s.lookEvery(now))
}

// peer follows one peer through loss, fencing and return.
func (s *State) peer(now Time, old Cluster, p Peer) {
	s.promotedAgain(s.Cluster.At, p)
	early := s.fencedEarly(now, p.Name)
	fresh := s.learnFences(now, p)
	lost := s.lost(p.Name)
	if p.Online && !p.Unclean {
		if lost != nil {
			*lost = LostPeer{}
		}
		return
	}
	if lost == nil {
		for _, q := range old.Peers[:old.PeerCount] {
			if q.Name == p.Name && q.Promoted && q.Online && !q.Unclean && !s.left(now, p) {
				s.begin(now, "crm_mon: node lost")
				s.hurried(now) // fencing is requested next
				lost = s.remember(LostPeer{Name: p.Name, Fenced: early})
				s.mark(now, PeerLost)
			}
		}
	}
	if lost == nil {
		return
	}
	lost.Fenced = lost.Fenced || fresh
	if s.Episode.Peer != p.Name {
		return // the loss belongs to an earlier story
	}
	if p.Fencing || lost.Fenced {
		s.mark(now, FenceRequested)
	}
	if lost.Fenced {
		s.mark(now, Fenced)
	}
	if s.Episode.Open() {
		s.Episode.Lost = *lost
	}
}

// earlyFence is how long a fencing may be known before the cluster notices that the node is gone: an operator who fences a healthy
// node is faster than Corosync's token timeout and two looks.
const earlyFence = 30 * time.Second

func (s *State) lost(name string) *LostPeer {
	for i := range s.Lost {
		if s.Lost[i].Name == name {
			return &s.Lost[i]
		}
	}
	return nil
}

func (s *State) remember(l LostPeer) *LostPeer {
	slot := &s.Lost[0]
	for i := range s.Lost {
		if s.Lost[i].Name == "" {
			slot = &s.Lost[i]
			break
		}
	}
	*slot = l
	return slot
}
