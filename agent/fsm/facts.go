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

// has reports whether the look shows a peer of that name.
func (c *Cluster) has(name string) bool {
	for _, p := range c.Peers[:c.PeerCount] {
		if p.Name == name {
			return true
		}
	}
	return false
}

// slot is where to keep something of another peer, when these names are kept already: an empty place, or that of one which has left the cluster.
func (c *Cluster) slot(kept [MaxPeers]string) int {
	left := 0
	for i, name := range kept {
		switch {
		case name == "":
			return i
		case !c.has(name):
			left = i
		}
	}
	return left
}

// Peer is another cluster node in the same look.
type Peer struct {
	Name            string
	Online, Unclean bool
	Promoted        bool
	Turning         bool    // on its way into or out of its promotion: it may be DRBD's Primary
	Promotion       string  // names the promote operation in its history, "" when that shows none
	Fencing         bool    // a fencing action against it is pending
	Fenced          FenceID // its successful fencing with the newest time, 0 when the history holds none
	Fences          Fences  // all of them; Fenced may be left out
	Unread          bool    // the history could not be read: what is not in it may be old
}

// Drbd is what the events2 stream says about the configured resource.
type Drbd struct {
	At   Time
	Live bool // the stream is up and its first dump is complete, with the resource in it; the other fields mean nothing otherwise
	Down bool // the stream is up, and the resource is not in it: nobody is Primary here

	Primary, UpToDate, Suspended bool
	NoQuorum                     bool // a volume has lost DRBD's own quorum: writes fail or wait

	// Over all connections. What is decided goes by the peer's own connection, where connections have names.
	SplitBrain             bool   // latched
	Connected, PeerPrimary bool   // every one connected, any peer Primary
	PeerDiskLost           bool   // a peer's disk is Failed or Diskless, and was not left out on purpose
	LostWhy                string // connection state that ended Connected

	Connections [MaxConnections]Connection // those with a name, from the first on
}

// MaxConnections bounds the DRBD connections that the core keeps apart.
const MaxConnections = 8

// Connection is what the stream says of one DRBD peer, which need not be a node of the cluster.
type Connection struct {
	Name                           string // DRBD's name of the peer: its host name, unless the configuration says otherwise
	Connected, Primary, SplitBrain bool
	RoleUnknown                    bool   // Connected, and the role has not been said yet: DRBD 8.4 says it about 30 ms later
	Comparing                      bool   // Connected, and the data have not been compared yet: DRBD 8.4 and early 9.0 say so first
	DiskLost                       bool   // as PeerDiskLost
	LostWhy                        string // connection state that ended Connected
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
	OK       bool          // read, and of a form that this agent may write
	Refused  bool          // of a form that must not be overwritten (alias, weighted, several values)
	Addr     string        // "" when there is no address record
	TTL      time.Duration // of the address record, 0 when not known
	Epoch    uint64        // ownership record; zero fields when there is none
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
