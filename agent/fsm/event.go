package fsm

import "time"

// Event is something that the agent learned. The set is closed.
type Event interface{ event() }

type (
	// Tick says only that time has passed; State.Next tells when one is due.
	Tick struct{}
	// Hint says that something happened to the cluster: an alert, or a guess. It makes the agent look, and is never believed.
	Hint struct{ Promotion bool }
	// Looked ends Look.
	Looked struct{ Cluster Cluster }
	// DrbdChanged carries a change of the events2 stream, or its end.
	DrbdChanged struct{ Drbd Drbd }
	// Probed ends Probe.
	Probed struct{ Postgres Postgres }
	// Read ends ReadRecord. Its Zone means something when Reason is "" or the record is refused.
	Read struct {
		Zone   Zone
		Reason string
	}
	// Wrote ends Write.
	Wrote struct {
		ChangeID string // of an accepted change
		Reason   string // "" when the change was accepted
		Conflict bool   // the record was not what the write was based on: nothing was changed by this request
		Sent     bool   // the request may have reached the API
		Unsure   bool   // and whether it changed anything is not known: the reply was lost, or says nothing
	}
	// Polled ends Poll.
	Polled struct {
		InSync bool
		Reason string
	}
	// ResolvedName ends Resolve.
	ResolvedName struct{ Resolved Resolved }
	// Viewed ends View. Gap is set when the client's view ended an outage with this attempt.
	Viewed struct {
		Down bool // an outage is going on
		Gap  Gap
	}
	// Stalled says that this process stood still for a while, or that the clocks disagree about how long it ran.
	Stalled struct{}
	// Paused holds publication back until the given time; a time in the past resumes it.
	Paused struct{ Until Time }
	// AddressKnown carries this node's own address, in canonical text.
	AddressKnown struct{ Addr string }
	// Republish asks for a new write of a claim that was accepted before, by an operator's command.
	Republish struct{}
)

func (Tick) event()         {}
func (Hint) event()         {}
func (Looked) event()       {}
func (DrbdChanged) event()  {}
func (Probed) event()       {}
func (Read) event()         {}
func (Wrote) event()        {}
func (Polled) event()       {}
func (ResolvedName) event() {}
func (Viewed) event()       {}
func (Stalled) event()      {}
func (Paused) event()       {}
func (AddressKnown) event() {}
func (Republish) event()    {}

// Action is something that the agent should do. The set is closed.
type Action interface{ action() }

type (
	// Look runs crm_mon once; ends in Looked.
	Look struct{}
	// Probe asks the local PostgreSQL; ends in Probed.
	Probe struct{}
	// ReadRecord reads the authoritative record; ends in Read.
	ReadRecord struct{}
	// Write sends the guarded change; ends in Wrote. Before the first byte is sent, Safety must be asked again and Decided must be
	// no longer ago than MaxDecisionAge.
	Write struct {
		Decided   Time
		Base      Zone // what the change replaces
		NextEpoch uint64
		Claim     string
		Addr      string
	}
	// Poll asks whether the accepted change is in sync; ends in Polled.
	Poll struct{ ChangeID string }
	// Resolve asks the resolver for the name; ends in ResolvedName.
	Resolve struct{}
	// View connects through the name as a client; ends in Viewed.
	View struct{}
	// Cancel gives up the write in flight, which still ends in Wrote.
	Cancel struct{ Why string }
	// Save journals the episode as it is now.
	Save struct{ Episode Episode }
)

func (Look) action()       {}
func (Probe) action()      {}
func (ReadRecord) action() {}
func (Write) action()      {}
func (Poll) action()       {}
func (Resolve) action()    {}
func (View) action()       {}
func (Cancel) action()     {}
func (Save) action()       {}

// task is an action that ends in one event; at most one of each is in flight.
type task uint8

const (
	taskLook task = iota
	taskProbe
	taskRead
	taskWrite
	taskPoll
	taskResolve
	taskView
	numTasks
)

type taskState struct {
	Due    Time // when the next one should start; zero is at once
	Flying bool
	Again  bool // something happened while it was in flight: start over at once
}

// nudge makes the task start now, or once more when the one in flight has ended.
func (t *taskState) nudge(now Time) {
	if t.Flying {
		t.Again = true
	}
	t.Due = min(t.Due, now)
}

// landed marks the end of a task in flight and sets the next one.
func (t *taskState) landed(now Time, next time.Duration) {
	t.Flying = false
	t.Due = now + next
	if t.Again {
		t.Again, t.Due = false, now
	}
}
