package fsm

import "time"

// Time is a reading of CLOCK_BOOTTIME: the time since this node booted. Zero means "never".
type Time = time.Duration

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

// Peer is another cluster node in the same look.
type Peer struct {
	Name            string
	Online, Unclean bool
	Promoted        bool
	Fencing         bool  // a fencing action against it is pending
	Fenced          int64 // time of its latest successful fencing, unix microseconds of the cluster's clock; 0 when there is none
}

// Drbd is what the events2 stream says about the configured resource.
type Drbd struct {
	At   Time
	Live bool // the stream is up and its first dump is complete; the other fields mean nothing otherwise

	Primary, UpToDate, Suspended bool
	SplitBrain                   bool   // latched
	Connected, PeerPrimary       bool   // over all connections: every one connected, any peer Primary
	PeerDiskLost                 bool   // a peer's disk is Failed or Diskless, and was not left out on purpose
	LostWhy                      string // connection state that ended Connected
}

// Postgres is what one probe of the local server says.
type Postgres struct {
	At        Time
	Accepting bool // accepts connections
	Writable  bool
}

// Zone is what the authoritative record holds.
type Zone struct {
	At       Time
	OK       bool   // read, and of a form that this agent may write
	Refused  bool   // of a form that must not be overwritten (alias, weighted, several values)
	Addr     string // "" when there is no address record
	Epoch    uint64 // ownership record; zero fields when there is none
	Owner    string
	Claim    string
	Raw      string
	OwnerTTL time.Duration
}

// Resolved is the answer of the resolver that clients use.
type Resolved struct {
	At   Time
	OK   bool
	Addr string // "" for a negative answer
}

// Gap is an outage that a client of the service name saw: from its last success to its next one.
type Gap struct {
	From, To Time
	Answered string // the server that answered at To
}
