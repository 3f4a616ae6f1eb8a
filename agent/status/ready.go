package status

import (
	"time"

	"github.com/pgha/pgha-agent/agent/fsm"
)

// freshFor is how old the last look may be for this node to claim anything. An idle agent looks every ten seconds.
const freshFor = 25 * time.Second

// fresh reports whether the snapshot can speak for now. A process that stood still has to look again first; one crm_mon
// that failed is no reason to send clients away.
func (s *Snapshot) fresh(now fsm.Time) bool {
	c, stalled := &s.State.Cluster, s.State.Wait.StalledAt
	return now-s.At < fsm.StallBound && c.At != 0 && now-c.At < freshFor && c.At >= stalled && s.State.Drbd.Live
}

// IsWriter is this node's own claim: freshly seen promoted by Pacemaker, and Primary by DRBD.
func (s *Snapshot) IsWriter(now fsm.Time) bool {
	return s.fresh(now) && s.State.Cluster.PromotedHere && s.State.Drbd.Primary
}

// IsStandby reports a node that could take over now: connected, Secondary, with good data.
func (s *Snapshot) IsStandby(now fsm.Time) bool {
	c, d := &s.State.Cluster, &s.State.Drbd
	return s.fresh(now) && c.Online && !c.Unclean && !c.Standby && !c.PromotedHere && d.Live && !d.Primary && d.UpToDate &&
		s.followsPrimary() && !s.State.SplitBrain()
}

// followsPrimary reports whether the data come here: from the Primary, or from whichever peer becomes it. A third node
// that only votes may be away.
func (s *Snapshot) followsPrimary() bool {
	name, _ := s.State.ConnectedPeer()
	return s.State.PeersConnected() || s.State.Drbd.Connection(name).Primary
}
