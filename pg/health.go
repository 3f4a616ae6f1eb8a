package pg

import (
	"net/netip"
	"time"
)

// State is the answer of one probe, as an operator would say it.
type State string

// The closed set of answers; each is also a metric label.
const (
	StateUnknown      State = "unknown"
	StateWritable     State = "writable"
	StateReadOnly     State = "read_only"            // not in recovery, but default_transaction_read_only is on
	StateInRecovery   State = "in_recovery"          // accepts connections as a standby
	StateStartingUp   State = "starting_up"          // 57P03 during start or crash recovery
	StateShuttingDown State = "shutting_down"        // 57P01, or 57P03 while stopping
	StateTooMany      State = "too_many_connections" // 53300
	StateRefused      State = "refused"              // nobody listens
	StateAuth         State = "auth"                 // it serves others, not this role: 28xxx, its limit, read only
	StateTimeout      State = "timeout"
	StateError        State = "error"
)

// States lists every State.
var States = []State{
	StateUnknown, StateWritable, StateReadOnly, StateInRecovery, StateStartingUp, StateShuttingDown, StateTooMany,
	StateRefused, StateAuth, StateTimeout, StateError,
}

// Health is what one probe found. Fields behind State are zero unless the server answered queries.
type Health struct {
	State    State
	Err      string // "" when the server answered; never holds a password
	Took     time.Duration
	Started  time.Time // pg_postmaster_start_time()
	Version  int       // server_version_num
	Timeline uint32
	LSN      uint64 // current WAL position: insert position, or replay position in recovery
	// FlushStall is for how long WAL has been waiting for the disk in vain: commits hang. 0 when they do not, as far as
	// can be seen without writing.
	FlushStall time.Duration
	// SyncWait is for how long a commit has been waiting for a synchronous standby: those after it wait too. 0 when none
	// does, or as briefly as it is usual. Without pg_monitor the commits of other roles are not seen.
	SyncWait time.Duration
	// DataDirectory is where the data are; "" when the role may not know it (pg_monitor may).
	DataDirectory string
	Replicas      []Replica // pg_stat_replication; nil when there are none
	Slots         []Slot    // pg_replication_slots; nil when there are none
}

// Replica is one row of pg_stat_replication.
type Replica struct {
	Name, Addr, State, SyncState string
	// The lags are behind the current position; -1 when not known.
	SentLagBytes, WriteLagBytes, FlushLagBytes, ReplayLagBytes int64
	WriteLag, FlushLag, ReplayLag                              time.Duration
}

// Slot is one row of pg_replication_slots.
type Slot struct {
	Name, Type    string
	Active        bool
	RetainedBytes int64  // WAL kept back for it; -1 when not known
	WALStatus     string // reserved, extended, unreserved, lost; "" before PostgreSQL 13
}

// ClientProbe is what a client that connects through the service name saw.
type ClientProbe struct {
	Begin, End time.Time // of the attempt
	OK         bool      // a server answered as a primary would: it accepts connections and writes
	// Answers says that clients are served as far as can be seen: OK, or the server rejects our role, which it does only
	// once it accepts connections.
	Answers  bool
	Answered netip.Addr // the server that answered (inet_server_addr, else the address connected to)
	State    State
	Err      string
	NoName   bool // the resolver answered that the name has no address: its error has a method NotFound, which is true
}
