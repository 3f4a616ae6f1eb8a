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
		s.awaitClaim(now)
	}
	if c.Promoting && s.everLooked {
		s.begin(now, "crm_mon: promoting")
	}
	first := !s.everLooked
	s.everLooked = true
	if first && c.PromotedHere && !c.FencingEnabled {
		// A machine that froze and woke may have its agent restarted by systemd's watchdog, and nothing then remembers the stall. With
		// fencing such a node does not wake.
		s.StalledAt, s.StalledUntil = now, max(s.StalledUntil, now+s.stallHold())
	}
	s.LookTook = now - c.At
	if s.lookGap < lookBusy {
		s.lookGap *= 2
	}
	s.tasks[taskLook].landed(now, s.lookEvery(now))
}

// awaited is the claim that a promoted peer makes: this node's next write is to be based on it.
type awaited struct {
	peer, promotion string // whose
	stale           string // what the record held when the promotion was first seen
	due             Time   // when the record is to be read for it
	reads           int    // that were made for it
}

// awaitClaim plans the reads for the claim of the promoted peer: soon after each of its promotions, and again while the record does not show
// it. What else reads the record does not count: that may have been before the claim.
func (s *State) awaitClaim(now Time) {
	if !s.Config.Ownership {
		return
	}
	peer, promotion := s.Cluster.PromotedPeer, ""
	for _, p := range s.Cluster.Peers[:s.Cluster.PeerCount] {
		if p.Name == peer {
			promotion = p.Promotion
		}
	}
	a := &s.awaited
	if a.peer != peer || promotion != a.promotion && promotion != "" {
		*a = awaited{peer: peer, promotion: promotion, due: now + (peerClaims+s.jitter(peerClaims))<<s.crowded}
		if s.everLooked { // else it may have been promoted, and have made its claim, long ago
			a.stale = s.Zone.Claim
		}
	}
	if s.claimAwaited() {
		s.hurry(taskRead, max(a.due, s.ReadRetry.At))
	}
}

// claimAwaited reports whether the record has yet to show the claim of the promoted peer: it is read once for each promotion that is seen.
// A promotion in place whose claim does not come is given up: the owner's agent may be down, and the record is right.
func (s *State) claimAwaited() bool {
	a := &s.awaited
	return a.reads == 0 || s.Zone.Owner != a.peer || s.Zone.Claim == a.stale && a.reads < maxClaimReads
}

// readForClaim counts a read that began when one was due for a peer's claim, and sets the next.
func (s *State) readForClaim(now, began Time) {
	a := &s.awaited
	if a.peer == "" || began < a.due {
		return
	}
	a.reads++
	a.due = now + min(peerClaimsAgain, peerClaims<<min(a.reads, 4))<<s.crowded
}

// peer follows one peer through loss, fencing and return.
func (s *State) peer(now Time, old Cluster, p Peer) {
	s.promotedAgain(s.Cluster.At, p)
	early := s.fencedEarly(p.Name)
	fresh := s.learnFences(now, p)
	lost := s.lost(p.Name)
	if p.Online && !p.Unclean {
		if lost != nil {
			*lost = LostPeer{}
		}
		return
	}
	if lost == nil && !s.everLooked && p.Unclean && p.Promoted {
		lost = s.remember(LostPeer{Name: p.Name}) // it was lost before this process began, and its fencing is still to come
	}
	if lost == nil {
		for _, q := range old.Peers[:old.PeerCount] {
			was := q.Online && !q.Unclean && (q.Promoted || q.Turning)
			if q.Name == p.Name && (was && !s.left(now, p) || p.Unclean && p.Promoted) {
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
	var names [MaxPeers]string
	for i := range s.Lost {
		names[i] = s.Lost[i].Name
	}
	slot := &s.Lost[s.Cluster.slot(names)]
	*slot = l
	return slot
}
