package drbd

// The states are DRBD's own words, from the kernel's drbd_strings.c as drbdsetup prints them. A word that this package
// does not know becomes the Unknown one.

// DiskState is the state of a disk, this node's or a peer's.
type DiskState string

// The disk states. DRBD says DiskDUnknown of the disk of a peer that it has no connection to.
const (
	DiskUnknown      DiskState = unknownWord
	DiskDiskless     DiskState = "Diskless"
	DiskAttaching    DiskState = "Attaching"
	DiskDetaching    DiskState = "Detaching"
	DiskFailed       DiskState = "Failed"
	DiskNegotiating  DiskState = "Negotiating"
	DiskInconsistent DiskState = "Inconsistent"
	DiskOutdated     DiskState = "Outdated"
	DiskDUnknown     DiskState = "DUnknown"
	DiskConsistent   DiskState = "Consistent"
	DiskUpToDate     DiskState = "UpToDate"
)

// DiskStates lists each DiskState but DiskUnknown.
var DiskStates = []DiskState{
	DiskDiskless, DiskAttaching, DiskDetaching, DiskFailed, DiskNegotiating, DiskInconsistent, DiskOutdated,
	DiskDUnknown, DiskConsistent, DiskUpToDate,
}

// Lost reports a disk that does not come back by itself: somebody has to attach it, or to replace it.
func (s DiskState) Lost() bool { return s == DiskDiskless || s == DiskFailed }

// ConnectionState is the state of a connection.
type ConnectionState string

// The connection states.
const (
	ConnUnknown        ConnectionState = unknownWord
	ConnStandAlone     ConnectionState = "StandAlone"
	ConnDisconnecting  ConnectionState = "Disconnecting"
	ConnUnconnected    ConnectionState = "Unconnected"
	ConnTimeout        ConnectionState = "Timeout"
	ConnBrokenPipe     ConnectionState = "BrokenPipe"
	ConnNetworkFailure ConnectionState = "NetworkFailure"
	ConnProtocolError  ConnectionState = "ProtocolError"
	ConnTearDown       ConnectionState = "TearDown"
	ConnConnecting     ConnectionState = "Connecting"
	ConnConnected      ConnectionState = "Connected"
)

// ConnectionStates lists each ConnectionState but ConnUnknown.
var ConnectionStates = []ConnectionState{
	ConnStandAlone, ConnDisconnecting, ConnUnconnected, ConnTimeout, ConnBrokenPipe, ConnNetworkFailure,
	ConnProtocolError, ConnTearDown, ConnConnecting, ConnConnected,
}

// ReplicationState is the state of a volume between this node and a peer.
type ReplicationState string

// The replication states.
const (
	ReplUnknown       ReplicationState = unknownWord
	ReplOff           ReplicationState = "Off"
	ReplEstablished   ReplicationState = "Established"
	ReplStartingSyncS ReplicationState = "StartingSyncS"
	ReplStartingSyncT ReplicationState = "StartingSyncT"
	ReplWFBitMapS     ReplicationState = "WFBitMapS"
	ReplWFBitMapT     ReplicationState = "WFBitMapT"
	ReplWFSyncUUID    ReplicationState = "WFSyncUUID"
	ReplSyncSource    ReplicationState = "SyncSource"
	ReplSyncTarget    ReplicationState = "SyncTarget"
	ReplVerifyS       ReplicationState = "VerifyS"
	ReplVerifyT       ReplicationState = "VerifyT"
	ReplPausedSyncS   ReplicationState = "PausedSyncS"
	ReplPausedSyncT   ReplicationState = "PausedSyncT"
	ReplAhead         ReplicationState = "Ahead"
	ReplBehind        ReplicationState = "Behind"
)

// ReplicationStates lists each ReplicationState but ReplUnknown.
var ReplicationStates = []ReplicationState{
	ReplOff, ReplEstablished, ReplStartingSyncS, ReplStartingSyncT, ReplWFBitMapS, ReplWFBitMapT,
	ReplWFSyncUUID, ReplSyncSource, ReplSyncTarget, ReplVerifyS, ReplVerifyT, ReplPausedSyncS, ReplPausedSyncT,
	ReplAhead, ReplBehind,
}
