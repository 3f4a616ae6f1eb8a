package fsm

import "time"

// Time is a reading of CLOCK_BOOTTIME: the time since this node booted. Zero means "never".
type Time = time.Duration

// Event is something that the agent learned. The set is closed.
type Event interface{ event() }

type (
	// Tick says only that time has passed; State.Next tells when one is due.
	Tick struct{}
	// Hint says that something happened to the cluster: an alert, or a guess. It makes the agent look, and is never
	// believed.
	Hint struct{ Promotion bool }
	// ClusterPolled ends PollCluster.
	ClusterPolled struct{ Cluster Cluster }
	// DrbdChanged carries a change of the events2 stream, or its end.
	DrbdChanged struct{ Drbd Drbd }
	// PostgresProbed ends ProbePostgres.
	PostgresProbed struct{ Postgres Postgres }
	// Read ends ReadRecord. Its Zone means something when Reason is "" or the record is refused.
	Read struct {
		Zone   Zone
		Reason string
	}
	// Wrote ends Write.
	Wrote struct {
		ChangeID       string // of an accepted change
		Reason         string // "" when the change was accepted
		Conflict       bool   // the record was not what the write was based on: nothing was changed by this request
		Sent           bool   // the request may have reached the API
		OutcomeUnknown bool   // and whether it changed anything is not known: the reply was lost, or says nothing
	}
	// ChangePolled ends PollChange.
	ChangePolled struct {
		InSync bool
		Reason string
	}
	// ResolvedName ends Resolve.
	ResolvedName struct{ Resolved Resolved }
	// ClientProbed ends ProbeClient. Outage is set when this attempt ended an outage.
	ClientProbed struct {
		Down   bool // an outage is going on
		Since  Time // the last success before it; 0 when there was none
		Outage Outage
	}
	// Stalled says that this process stalled, or that the clocks disagree about how long it ran.
	Stalled struct{}
	// Paused holds publication back until the given time; a time in the past resumes it.
	Paused struct{ Until Time }
	// AddressKnown carries this node's own address, in canonical text.
	AddressKnown struct{ Addr string }
	// Republish asks for a new write of a claim that was accepted before, by an operator's command.
	Republish struct{}
	// Recheck asks everything once more, at once: somebody wants to know how it is now.
	Recheck struct{}
)

func (Tick) event() {}

func (Hint) event() {}

func (ClusterPolled) event() {}

func (DrbdChanged) event() {}

func (PostgresProbed) event() {}

func (Read) event() {}

func (Wrote) event() {}

func (ChangePolled) event() {}

func (ResolvedName) event() {}

func (ClientProbed) event() {}

func (Stalled) event() {}

func (Paused) event() {}

func (AddressKnown) event() {}

func (Republish) event() {}

func (Recheck) event() {}

// Action is something that the agent should do. The set is closed.
type Action interface{ action() }

type (
	// PollCluster runs crm_mon once; ends in ClusterPolled.
	PollCluster struct{}
	// ProbePostgres asks the local PostgreSQL; ends in PostgresProbed.
	ProbePostgres struct{}
	// ReadRecord reads the authoritative record; ends in Read.
	ReadRecord struct{}
	// Write sends the guarded change; ends in Wrote. Before the first byte is sent, Safety must be asked again and Decided
	// must be no longer ago than MaxDecisionAge.
	Write struct {
		Decided   Time
		Base      Zone // what the change replaces
		NextEpoch uint64
		Claim     string
		Addr      string
	}
	// PollChange asks whether the accepted change is in sync; ends in ChangePolled.
	PollChange struct{ ChangeID string }
	// Resolve asks the resolver for the name; ends in ResolvedName.
	Resolve struct{}
	// ProbeClient connects through the name as a client; ends in ClientProbed.
	ProbeClient struct{}
	// Cancel gives up the write in flight, which still ends in Wrote.
	Cancel struct{ Why string }
	// Save journals the episode as it is now.
	Save struct{ Episode Episode }
)

func (PollCluster) action() {}

func (ProbePostgres) action() {}

func (ReadRecord) action() {}

func (Write) action() {}

func (PollChange) action() {}

func (Resolve) action() {}

func (ProbeClient) action() {}

func (Cancel) action() {}

func (Save) action() {}
