package fsm

import "time"

// MaxPeers bounds the number of other cluster nodes that the core keeps apart.
const MaxPeers = 3

// Cluster is what one look at crm_mon says, in the terms of the decision. Whatever the document leaves open must be
// given as the value that forbids: an unknown node is not online, unknown fencing is enabled.
type Cluster struct {
	At Time // when the look began; what changed later is not in it
	OK bool // the look succeeded; the other fields mean nothing otherwise

	Online, Unclean, Standby, Pending bool // this node
	Maintenance                       bool // cluster, this node or the promotable clone; or the clone is unmanaged
	FencingEnabled                    bool

	PromotedHere   bool
	PromotedCount  int    // instances of the clone in role Promoted, on all nodes
	PromotedPeer   string // a peer that is shown as promoted, "" when there is none
	ActionPending  bool   // a promote, demote, start or stop is in flight for this node's instance
	Promoting      bool   // and it is the promote
	Promotion      string // claim that names the promote operation in this node's history; "" when the history shows none
	FilesystemHere bool   // a Filesystem resource is started on this node
	OperatorMove   bool   // a peer is in standby, or a cli-* constraint bans it
	PeerFailed     bool   // a peer has failed operations

	Peers     [MaxPeers]Peer
	PeerCount int
	TooMany   bool // more peers than MaxPeers: nothing can be concluded
}

// hasPeer reports whether the look shows a peer of that name.
func (c *Cluster) hasPeer(name string) bool {
	_, has := c.peer(name)
	return has
}

func (c *Cluster) peer(name string) (Peer, bool) {
	for _, p := range c.Peers[:c.PeerCount] {
		if p.Name == name {
			return p, true
		}
	}
	return Peer{}, false
}

// freeSlot is where to keep something of another peer, when these names are kept already: an empty place, or that of
// one which has left the cluster.
func (c *Cluster) freeSlot(kept [MaxPeers]string) int {
	left := 0
	for i, name := range kept {
		switch {
		case name == "":
			return i
		case !c.hasPeer(name):
			left = i
		}
	}
	return left
}

// Peer is another cluster node in the same look.
type Peer struct {
	Name              string
	Online, Unclean   bool
	Promoted          bool
	ChangingRole      bool    // on its way into or out of its promotion: it may be DRBD's Primary
	Promotion         string  // names the promote operation in its history, "" when that shows none
	Fencing           bool    // a fencing action against it is pending
	Fenced            FenceID // its successful fencing with the newest time, 0 when the history holds none
	Fences            Fences  // all of them; Fenced may be left out
	HistoryUnreadable bool    // the history could not be read: what is not in it may be old
}

// mayBePrimary reports a peer that is promoted, or on its way.
func (p *Peer) mayBePrimary() bool { return p.Promoted || p.ChangingRole }

// ClusterPoll is how the cluster is polled.
type ClusterPoll struct {
	everSucceeded bool          // since the start
	failures      int           // in a row
	Took          time.Duration // the last one that succeeded
	fastUntil     Time          // after a hint of a promotion, polls follow each other quickly
	fastInterval  time.Duration // between them; it doubles
}

// clusterPolled takes in one look at the cluster and what it says about the peers.
func (s *State) clusterPolled(now Time, c Cluster) {
	if !c.OK {
		s.Cluster.OK = false
		s.Poll.failures++
		s.tasks[taskPollCluster].finished(now, min(clusterPollIdle, time.Second<<min(s.Poll.failures-1, 4)))
		return
	}
	s.Poll.failures = 0
	old := s.Cluster
	s.Cluster = c
	for _, p := range c.Peers[:c.PeerCount] {
		s.updatePeer(now, old, p)
	}
	if c.PromotedPeer != "" {
		s.Peers.lastPromoted = c.PromotedPeer
		s.awaitClaim(now)
	}
	if c.Promoting && s.Poll.everSucceeded {
		s.beginEpisode(now, "crm_mon: promoting")
	}
	first := !s.Poll.everSucceeded
	s.Poll.everSucceeded = true
	if first && c.PromotedHere && !c.FencingEnabled {
		// A machine that stalled may have its agent restarted by systemd's watchdog, and nothing then remembers the stall.
		// With fencing such a node does not go on.
		s.Wait.StalledAt, s.Wait.StalledUntil = now, max(s.Wait.StalledUntil, now+s.postStallDelay())
	}
	s.Poll.Took = now - c.At
	if s.Poll.fastInterval < clusterPollBusy {
		s.Poll.fastInterval *= 2
	}
	s.tasks[taskPollCluster].finished(now, s.clusterPollInterval(now))
}
