// Package status is what an agent knows, and how that is shown: the snapshot of one moment, what is wrong in it, the
// JSON documents made of it, the tables of holds and phases in an operator's words, and the client that asks a daemon
// for them.
package status

import (
	"time"

	"github.com/pgha/pgha-agent/agent/config"
	"github.com/pgha/pgha-agent/agent/fsm"
	"github.com/pgha/pgha-agent/agent/mounts"
	"github.com/pgha/pgha-agent/agent/state"
	"github.com/pgha/pgha-agent/crm"
	"github.com/pgha/pgha-agent/drbd"
	"github.com/pgha/pgha-agent/pg"
	"github.com/pgha/pgha-agent/route53"
)

// Snapshot is what the agent knows after one step of the loop. It is never changed after it was published.
type Snapshot struct {
	Config  *config.Config
	Version string
	Client  bool // whether there is a client's view

	At    fsm.Time  // CLOCK_BOOTTIME of the step
	Wall  time.Time // the same moment by the wall clock
	State fsm.State
	Holds fsm.Holds // State.Gate(At)

	Crm          *crm.Status   // last good look, nil before the first
	LookTook     time.Duration // of the last look, good or bad
	Drbd         drbd.Report
	Postgres     pg.Health
	LastStarted  time.Time // when the server began that answered last; zero when none has
	Record       route53.Record
	Refusal      string // why the record must not be overwritten, as of the last read that got an answer; "" when it may
	ClientProbe  pg.ClientProbe
	ClientOutage fsm.Outage       // the client's last finished outage
	Served       state.ClientSeen // the client's last success
	Number       uint64           // of State.Episode, in the journal
	Earlier      state.Entry      // the last episode, when it is of another boot: what its times count from

	// What only the judgment needs.
	Peers            []Peer             // the other nodes' daemons; nil before they were asked
	Configuration    *crm.Configuration // of the cluster, as it was last read; nil before
	ConfigurationAt  fsm.Time           // when that reading began
	ConfigurationErr string             // why the last reading failed, "" when it did not
	Mounts           []mounts.Filesystem
	MountsAt         fsm.Time // when they were last seen; they hang when this is old
	MountsErr        string
	Replaced         bool // the program on disk is another one than the one that runs

	Sources  [NumSources]SourceState
	Rechecks uint64 // that were asked for
	Settled  uint64 // how often somebody waited for what was sent to the loop before

	// Constraints of the DRBD fence-peer handler, and when each was first seen; never changed.
	FenceBans map[string]fsm.Time

	JournalErr string // why the last episode could not be saved, "" when it was
	HTTPErr    string // why metrics and health checks are not served, "" when they are
	ConfigErr  string // why the last reload was refused, "" when it was not
}

// Peer is what the daemon of another node said when it was last asked.
type Peer struct {
	Node string
	At   fsm.Time
	Doc  *Doc   // nil when it did not answer
	Err  string // why not
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
	NumSources
)

// String returns the source's name, which is also its metric label.
func (s Source) String() string {
	return [NumSources]string{"drbd", "crm", "postgres", "route53", "resolver", "client"}[s]
}

// Enabled reports whether the agent uses a source at all.
func (s *Snapshot) Enabled(src Source) bool { return src != SourceClient || s.Client }

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

// FindResource returns the resource with a name.
func FindResource(st drbd.Status, name string) (drbd.Resource, bool) {
	for _, r := range st.Resources {
		if r.Name == name {
			return r, true
		}
	}
	return drbd.Resource{}, false
}

// Resource returns the DRBD resource under the database.
func (s *Snapshot) Resource() (drbd.Resource, bool) {
	return FindResource(s.Drbd.Status, s.Config.Drbd.Resource)
}

// Asked records how a source answered.
func (s *Snapshot) Asked(src Source, now fsm.Time, err error) {
	st := &s.Sources[src]
	st.Up, st.Err = err == nil, ""
	if err != nil {
		st.Failures++
		st.Err = err.Error()
		return
	}
	st.LastSuccess = now
}
