package fsm

import "time"

// Bounds of the gate.
const (
	// MaxClusterAge is how old the picture of the cluster may be when a write is decided or sent.
	MaxClusterAge = 5 * time.Second
	// MaxDrbdAge is how long ago the events2 stream may have shown life. The stream pushes changes at once, so that this
	// only bounds the case of a child that hangs.
	MaxDrbdAge = 60 * time.Second
	// MaxProbeAge is how old the answer of PostgreSQL may be.
	MaxProbeAge = 5 * time.Second
	// MaxDecisionAge is how long a decided write may take until its first byte is sent, by either clock.
	MaxDecisionAge = 2 * time.Second
	// PostStallDelay is how long nothing is written after this process stalled: Corosync must have had the time to notice
	// that this node was away, or crm_mon shows the picture from before the stall. Token plus consensus timeout is 2.2
	// times the token timeout: this is enough for tokens of up to 13 s. Without fencing it is longer when theirs is.
	PostStallDelay = 30 * time.Second
	// StallBound is how late the loop may wake before nothing that was decided or seen earlier is trusted. Without fencing
	// it is shorter when Corosync is quicker.
	StallBound = 3 * time.Second

	// heartbeat is the longest that the loop sleeps: only a longer stall shows.
	heartbeat = time.Second
	// shortestMembership is token plus consensus of Corosync's shortest default, a token of one second, for a
	// configuration that is not known.
	shortestMembership = 2200 * time.Millisecond
)

// unfencedCluster reports whether nobody fences: then a node that stalled goes on as it was, while the other may have
// taken over.
func (s *State) unfencedCluster() bool { return s.Poll.everSucceeded && !s.Cluster.FencingEnabled }

// postStallDelay is PostStallDelay, or what Corosync needs to notice and a look after it, where nobody fences.
func (s *State) postStallDelay() time.Duration {
	if s.unfencedCluster() {
		return max(PostStallDelay, s.Config.Membership+MaxClusterAge)
	}
	return PostStallDelay
}

// StallBound is how late the loop may wake without a stall. With fencing a node that Corosync has missed is switched
// off. Without, it must notice each stall that is long enough for Corosync to have missed it.
func (s *State) StallBound() time.Duration {
	if !s.unfencedCluster() {
		return StallBound
	}
	membership := s.Config.Membership
	if membership == 0 {
		membership = shortestMembership
	}
	return min(StallBound, max(membership-heartbeat, heartbeat/4))
}

// Hold is one condition that holds publication back. The set is closed; names are metric labels.
type Hold uint8

// The conditions, in the order in which an operator wants to read them.
const (
	HoldNotPromoted Hold = iota
	HoldCrmUnknown
	HoldNodeOffline
	HoldNodeUnclean
	HoldNodeStandby
	HoldNodePending
	HoldMaintenance
	HoldManyPromoted
	HoldPromotionPending
	HoldPeerUnknown
	HoldPeerUnclean
	HoldPeerUnfenced
	HoldDrbdUnknown
	HoldDrbdNotPrimary
	HoldDrbdNotUpToDate
	HoldDrbdSuspended
	HoldDrbdNoQuorum
	HoldSplitBrain
	HoldPostgres
	HoldStalled
	HoldPaused
	HoldContested
	HoldLostRace
	HoldIdentityUnknown
	HoldAddressUnknown
	HoldRecordUnknown
	HoldRecordRefused
	HoldBackoff
	numHolds
)

var holdNames = [numHolds]string{
	HoldNotPromoted:      "not_promoted",
	HoldCrmUnknown:       "crm_unknown",
	HoldNodeOffline:      "node_offline",
	HoldNodeUnclean:      "node_unclean",
	HoldNodeStandby:      "node_standby",
	HoldNodePending:      "node_pending",
	HoldMaintenance:      "maintenance",
	HoldManyPromoted:     "many_promoted",
	HoldPromotionPending: "promotion_pending",
	HoldPeerUnknown:      "peer_unknown",
	HoldPeerUnclean:      "peer_unclean",
	HoldPeerUnfenced:     "peer_unfenced",
	HoldDrbdUnknown:      "drbd_unknown",
	HoldDrbdNotPrimary:   "drbd_not_primary",
	HoldDrbdNotUpToDate:  "drbd_not_uptodate",
	HoldDrbdSuspended:    "drbd_suspended",
	HoldDrbdNoQuorum:     "drbd_no_quorum",
	HoldSplitBrain:       "split_brain",
	HoldPostgres:         "postgres_not_writable",
	HoldStalled:          "stalled",
	HoldPaused:           "paused",
	HoldContested:        "contested",
	HoldLostRace:         "lost_race",
	HoldIdentityUnknown:  "identity_unknown",
	HoldAddressUnknown:   "address_unknown",
	HoldRecordUnknown:    "record_unknown",
	HoldRecordRefused:    "record_refused",
	HoldBackoff:          "api_backoff",
}

// String returns the condition's name.
func (h Hold) String() string { return holdNames[h] }

// AllHolds lists every condition.
func AllHolds() []Hold {
	all := make([]Hold, numHolds)
	for i := range all {
		all[i] = Hold(i)
	}
	return all
}

// Holds is a set of conditions.
type Holds uint32

// Has reports whether the set contains h.
func (s Holds) Has(h Hold) bool { return s&(1<<h) != 0 }

// List returns the members in order.
func (s Holds) List() []Hold {
	var list []Hold
	for h := range numHolds {
		if s.Has(h) {
			list = append(list, h)
		}
	}
	return list
}

func (s *Holds) when(cond bool, h Hold) {
	if cond {
		*s |= 1 << h
	}
}

// Safety returns the conditions that forbid this node to publish at time now: the list of docs/design.md, and nothing
// about the record itself. An empty set means that this node is the promoted one, on data that is fresh.
func (s *State) Safety(now Time) Holds {
	var h Holds
	c, d := &s.Cluster, &s.Drbd

	if !c.OK || now-c.At > MaxClusterAge {
		h.when(true, HoldCrmUnknown)
	} else {
		h.when(!c.PromotedHere, HoldNotPromoted)
		h.when(!c.Online, HoldNodeOffline)
		h.when(c.Unclean, HoldNodeUnclean)
		h.when(c.Standby, HoldNodeStandby)
		h.when(c.Pending, HoldNodePending)
		h.when(c.Maintenance, HoldMaintenance)
		h.when(c.PromotedCount > 1 || c.PromotedHere && (c.PromotedCount != 1 || c.PromotedPeer != ""), HoldManyPromoted)
		h.when(c.ActionPending, HoldPromotionPending)
		h.when(c.TooMany || c.PeerCount == 0, HoldPeerUnknown)
		for _, p := range c.Peers[:c.PeerCount] {
			h.when(p.Promoted && c.PromotedHere, HoldManyPromoted)
			h.when(p.Unclean, HoldPeerUnclean)
			h.when(!p.Online && c.FencingEnabled && s.unfenced(p), HoldPeerUnfenced)
		}
	}
	if !d.Live || now-d.At > MaxDrbdAge {
		h.when(true, HoldDrbdUnknown)
	} else {
		h.when(!d.Primary, HoldDrbdNotPrimary)
		h.when(!d.UpToDate, HoldDrbdNotUpToDate)
		h.when(d.Suspended, HoldDrbdSuspended)
		h.when(d.NoQuorum, HoldDrbdNoQuorum)
		h.when(s.SplitBrain(), HoldSplitBrain)
	}
	h.when(s.Config.PublishWritable && (!s.Postgres.Writable || now-s.Postgres.At > MaxProbeAge), HoldPostgres)
	h.when(now < s.Wait.StalledUntil, HoldStalled)
	h.when(now < s.Wait.PausedUntil, HoldPaused)
	return h
}

// Gate returns every condition that holds publication of the current promotion back at time now.
func (s *State) Gate(now Time) Holds {
	h := s.Safety(now)
	h.when(s.Promotion.Contested, HoldContested)
	h.when(now < s.Promotion.RaceUntil, HoldLostRace)
	h.when(s.Cluster.PromotedHere && s.Promotion.Claim == "", HoldIdentityUnknown)
	h.when(s.Config.Addr == "", HoldAddressUnknown)
	h.when(!s.Zone.OK && !s.Zone.Refused, HoldRecordUnknown)
	h.when(s.Zone.Refused, HoldRecordRefused)
	h.when(now < s.Write.Retry.At, HoldBackoff)
	return h
}

// unfenced reports whether a peer that was lost while it was promoted has not been fenced since.
func (s *State) unfenced(p Peer) bool {
	for _, l := range s.Peers.Lost {
		if l.Name == p.Name && l.Name != "" {
			return !l.Fenced
		}
	}
	return false
}

func (s Holds) first() string {
	if l := s.List(); len(l) > 0 {
		return l[0].String()
	}
	return "promotion changed"
}
