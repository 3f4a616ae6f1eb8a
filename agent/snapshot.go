package agent

import (
	"time"

	"github.com/pgha/pgha-agent/agent/fsm"
	"github.com/pgha/pgha-agent/agent/state"
	"github.com/pgha/pgha-agent/crm"
	"github.com/pgha/pgha-agent/drbd"
	"github.com/pgha/pgha-agent/pg"
	"github.com/pgha/pgha-agent/route53"
)

// Snapshot is what the agent knows after one step of the loop. It is never changed after it was published.
type Snapshot struct {
	At    fsm.Time  // CLOCK_BOOTTIME of the step
	Wall  time.Time // the same moment by the wall clock
	State fsm.State
	Holds fsm.Holds // State.Gate(At)

	Crm      *crm.Status   // last good look, nil before the first
	LookTook time.Duration // of the last look, good or bad
	Drbd     drbd.Report
	Postgres pg.Health
	Record   route53.Record
	Refusal  string // why the record must not be overwritten, as of the last read that got an answer; "" when it may
	View     pg.View
	ViewGap  fsm.Gap          // the client's last finished outage
	Served   state.ClientSeen // the client's last success

	Sources [numSources]SourceState

	FenceBans map[string]fsm.Time // constraints of the DRBD fence-peer handler, and when each was first seen; never changed

	JournalErr string // why the last episode could not be saved, "" when it was
	HTTPErr    string // why metrics and health checks are not served, "" when they are
	ConfigErr  string // why the last reload was refused, "" when it was not
}

// Source is one of the places that the agent learns from.
type Source uint8

// The sources.
const (
	SourceDrbd Source = iota
	SourceCrm
	SourcePostgres
	SourceRoute53
	SourceResolver
	SourceClient
	numSources
)

// String returns the source's name, which is also its metric label.
func (s Source) String() string {
	return [numSources]string{"drbd", "crm", "postgres", "route53", "resolver", "client"}[s]
}

// asks reports whether the agent uses a source at all.
func (a *Agent) asks(s Source) bool { return s != SourceClient || a.src.Client != nil }

// SourceState says how fresh a source is.
type SourceState struct {
	Up          bool
	LastSuccess fsm.Time // 0: never
	Failures    uint64   // since the start of the agent
	Err         string   // of the last failure, "" when up
	Stuck       bool     // a child of this source cannot be reaped
}

// WallOf converts a time of this boot to the wall clock, by the offset at the snapshot.
func (s *Snapshot) WallOf(t fsm.Time) time.Time { return s.Wall.Add(t - s.At) }
