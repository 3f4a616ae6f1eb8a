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
	f := s.fencesOf(p)
	before := f.before(now)
	f.learn(now, p)
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
				lost = s.remember(LostPeer{Name: p.Name, FencedBefore: before})
				s.mark(now, PeerLost)
			}
		}
	}
	if lost == nil {
		return
	}
	lost.Fenced = lost.Fenced || p.Fenced > lost.FencedBefore
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

// fences is what is known of one peer's fencing history. It only grows: a history that was cleaned and comes back is nothing new.
type fences struct {
	name   string
	newest int64
	older  int64 // the newest one before that
	at     Time  // when newest was first seen on a peer that still looked like a member; 0 when it did not, or has come back since
	away   bool
}

// earlyFence is how long a fencing may be known before the cluster notices that the node is gone: an operator who fences a healthy
// node is faster than Corosync's token timeout and two looks.
const earlyFence = 30 * time.Second

// before returns the newest fencing that has nothing to do with a loss that is noticed now.
func (f *fences) before(now Time) int64 {
	if f.at != 0 && now-f.at <= earlyFence {
		return f.older
	}
	return f.newest
}

func (f *fences) learn(now Time, p Peer) {
	away := !p.Online || p.Unclean
	if p.Fenced > f.newest {
		f.older, f.newest, f.at = f.newest, p.Fenced, 0
		if !away {
			f.at = now
		}
	}
	if f.away && !away {
		f.at = 0 // what was before its return explains no later loss
	}
	f.away = away
}

// fencesOf finds the peer's memory, or makes one: what is in the history at the first sight is old.
func (s *State) fencesOf(p Peer) *fences {
	slot := &s.fences[0]
	for i := range s.fences {
		if s.fences[i].name == p.Name {
			return &s.fences[i]
		}
		if slot.name != "" && s.fences[i].name == "" {
			slot = &s.fences[i]
		}
	}
	*slot = fences{name: p.Name, newest: p.Fenced, older: p.Fenced, away: !p.Online || p.Unclean}
	return slot
}

// left reports whether a peer that is gone and clean was demoted before it went: DRBD said so over a live connection. Nobody fences
// such a peer, although two looks may show it promoted and then gone, with nothing between.
func (s *State) left(now Time, p Peer) bool {
	return !p.Online && !p.Unclean && s.peerDemoted && s.Drbd.Live && now-s.Drbd.At <= MaxDrbdAge
}

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

func (s *State) drbd(now Time, d Drbd) {
	old := s.Drbd
	s.Drbd = d
	if d.PeerDiskLost || old.PeerDiskLost {
		s.peerDisk = now
	}
	if !d.Live {
		s.peerDemoted = false
		return
	}
	if d.Connected {
		s.peerDemoted = !d.PeerPrimary
	}
	changed := !old.Live || old.Primary != d.Primary || old.Connected != d.Connected || old.PeerPrimary != d.PeerPrimary || old.Suspended != d.Suspended
	if changed {
		s.tasks[taskLook].nudge(now)
	}
	if !old.Live || s.Promotion != "" || old.Primary {
		return
	}
	switch {
	case d.Primary:
		s.begin(now, "DRBD: Primary")
		s.mark(now, Promoted)
		s.hurried(now)
		s.tasks[taskProbe].nudge(now)
	case old.Connected && old.PeerPrimary && !d.Connected:
		s.begin(now, "DRBD: "+d.LostWhy)
		s.mark(now, PeerLost)
	case old.PeerPrimary && d.Connected && !d.PeerPrimary:
		s.begin(now, "DRBD: peer demoted")
	}
}
