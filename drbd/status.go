// Package drbd follows DRBD through `drbdsetup events2`: it parses lines, folds them into a Status, and keeps the
// child that prints them alive. It only reads.
package drbd

import "time"

// Tri is a boolean that drbdsetup may also print as "unknown" or not at all.
type Tri uint8

// The three values of a Tri; the zero value is "not known".
const (
	Unknown Tri = iota
	No
	Yes
)

// Role is a DRBD role. Unknown words become RoleUnknown.
type Role string

// DRBD roles.
const (
	RoleUnknown   Role = "Unknown"
	RolePrimary   Role = "Primary"
	RoleSecondary Role = "Secondary"
)

// SplitBrain says what is known of a split brain on one connection.
type SplitBrain uint8

// A split brain is Suspected when a stream starts and finds StandAlone (which has other causes as well), and
// Latched once the kernel called the split-brain helper. Both last until that connection replicates again: until the
// volume has a replication state other than Off. Connected is too early a sign, and a connection to another peer none.
const (
	SplitBrainNone SplitBrain = iota
	SplitBrainSuspected
	SplitBrainLatched
)

// Status is everything one `drbdsetup events2` stream has told. A Status that was handed out is never changed.
type Status struct {
	Resources []Resource // sorted by name
}

// Resource is one DRBD resource as this node sees it.
type Resource struct {
	Name           string
	Role           Role
	Suspended      []string // reasons (user, no-data, fencing, quorum); nil when I/O runs
	SuspendedKnown bool     // false until the stream printed the field
	MayPromote     Tri
	PromotionScore int64 // -1 when not printed (DRBD 8.4)
	Devices        []Device
	Connections    []Connection
	Helpers        []HelperCall // the last calls of userspace helpers, oldest first, at most MaxHelpers
}

// Device is one local volume.
type Device struct {
	Volume     int
	Minor      int    // -1 when not printed
	BackingDev string // "" when diskless or not printed
	Disk       DiskState
	Client     Tri
	Open       Tri
	// Quorum is No when DRBD refuses writes here. It is also Yes when quorum is off, and Unknown with DRBD 8.4, which
	// has none.
	Quorum Tri
	Stats  *DeviceStats // nil without --statistics
}

// DeviceStats are a volume's counters, converted to base units.
type DeviceStats struct {
	SizeBytes, ReadBytes, WrittenBytes             uint64
	ALWrites, BMWrites, UpperPending, LowerPending uint64
	ALSuspended                                    Tri
}

// Connection is one peer of a resource.
//
// Name is what the configuration calls the connection: its own name if it has one (`connection NAME { ... }`, or _name
// in its net section), else the host that it leads to (`on HOST`; of stacked or floating hosts all of them, joined with
// "_": drbdadm_postparse.c, create_implicit_net_options). So it is the peer's host name where nobody chose another.
// drbdsetup of 8.4 prints "peer" and node id 0 for the only peer there is, whatever its name.
type Connection struct {
	PeerNodeID                       int // -1 when not printed
	Name                             string
	State                            ConnectionState
	PeerRole                         Role
	SplitBrain                       SplitBrain
	Congested                        Tri
	APInFlightBytes, RSInFlightBytes uint64
	StatsKnown                       bool
	Paths                            []Path
	Volumes                          []PeerDevice
}

// Path is one network path of a connection.
type Path struct {
	Local, Peer string // "ipv4:10.0.1.10:7789"
	Established Tri
}

// PeerDevice is a volume on a peer, with the progress of a resync or verify.
type PeerDevice struct {
	Volume      int
	Replication ReplicationState
	PeerDisk    DiskState
	// PeerClient is Yes when the peer has no disk by configuration, as a tiebreaker. It is Unknown with DRBD 8.4.
	PeerClient           Tri
	ResyncSuspended      []string // reasons (user, peer, dependency); nil when not suspended
	ResyncSuspendedKnown bool     // false until the stream printed the field
	// Done is a percentage, negative when no resync or verify runs. DRBD 8.4 prints none: then it is of what was left
	// when the resync was first seen.
	Done            float64
	RateBytesPerSec float64          // negative when not known
	ETA             time.Duration    // negative when not known
	Stalled         bool             // a resync that made no progress for StallAfter
	Stats           *PeerDeviceStats // nil without --statistics
}

// PeerDeviceStats are the counters of a peer device, converted to base units.
type PeerDeviceStats struct {
	ReceivedBytes, SentBytes, OutOfSyncBytes uint64
	Pending, Unacked                         uint64
}

// Helper is one call of a userspace helper (fence-peer, split-brain, before-resync-target, ...).
type Helper struct {
	Name     string
	Running  bool
	Started  time.Time     // zero when the call was not seen
	Duration time.Duration // of a finished call whose start was seen
	ExitCode int           // decoded from either form of status; -1 while running or when unknown
}

// HelperCall is a Helper and what it was called for.
type HelperCall struct {
	Helper
	PeerNodeID int // -1 when the call named no peer
	Volume     int // -1 when the call named no volume

	stamped bool // Started is by the clock of the line
}

// MaxHelpers bounds the helper calls remembered for one resource.
const MaxHelpers = 16
