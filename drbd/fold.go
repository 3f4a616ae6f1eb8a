package drbd

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// StallAfter is how long a resync may stand still before it is called stalled.
const StallAfter = 5 * time.Minute

// Counters count what a Folder was given. They go on over the restarts of a stream.
type Counters struct {
	Lines          uint64 // all lines that are not blank
	Skipped        uint64 // lines not applied: torn, too long, or without the names that say which object is meant
	UnknownVerbs   uint64
	UnknownObjects uint64
	UnknownKeys    uint64
	UnknownValues  uint64 // words not known to this package, and numbers that cannot be true
	SkippedEvents  uint64 // events that drbdsetup says it lost ("- skipped N")
}

// Folder folds the lines of a stream into a Status. It is not safe for concurrent use.
type Folder struct {
	StallAfter time.Duration // 0 means the constant StallAfter

	counters   Counters
	live       *state // nil until the first dump was complete
	next       *state // what is built before "exists -", nil when there is no dump under way
	generation int
	resync     bool
	latches    latches // split brains; outlive a stream, its connection and its resource
	ev         Event   // the line at hand, here so that it needs no allocation
	snap       Status
	snapOK     bool
}

// NewFolder returns a Folder at the start of a stream.
func NewFolder() *Folder {
	f := &Folder{latches: latches{}}
	f.NewStream()
	return f
}

// NewStream says that a new stream starts: its dump builds a new state, and replaces the one before at "exists -".
// Until then Status stays what it was. Objects that the new dump does not name are gone then; split brains stay.
func (f *Folder) NewStream() {
	f.next = &state{resources: map[string]*resource{}}
	f.resync = false
}

// Complete reports whether the current stream's dump is complete.
func (f *Folder) Complete() bool { return f.next == nil }

// Generation counts the complete dumps.
func (f *Folder) Generation() int { return f.generation }

// NeedResync reports that drbdsetup lost events of this stream: the state may be wrong until a new stream starts.
func (f *Folder) NeedResync() bool { return f.resync }

// Counters returns what was counted so far.
func (f *Folder) Counters() Counters { return f.counters }

// Torn counts a line that never became complete, and does not apply it.
func (f *Folder) Torn() {
	f.counters.Lines++
	f.counters.Skipped++
}

// Line folds one line, and reports whether it changed anything. It allocates nothing when it does not.
// now is only compared with other times given to the same Folder.
func (f *Folder) Line(now time.Time, line []byte) bool {
	return f.fold(now, line, false)
}

// Statistics folds the counters alone of a line that comes from a second, short-lived events2: what it says of
// states may be older than what the stream has told since, and it must neither end nor start a dump.
func (f *Folder) Statistics(now time.Time, line []byte) bool {
	return f.live != nil && f.fold(now, line, true)
}

func (f *Folder) fold(now time.Time, line []byte, statistics bool) bool {
	var err error
	f.ev, err = Parse(line, f.ev.Fields)
	ev := &f.ev
	if errors.Is(err, errBlank) {
		return false
	}
	f.counters.Lines++
	if err != nil {
		f.counters.Skipped++
		if ev.Verb == VerbUnknown && errors.Is(err, errNoWords) {
			f.counters.UnknownVerbs++
		}
		return false
	}
	switch {
	case ev.Verb == VerbUnknown:
		f.counters.UnknownVerbs++
		return false
	case ev.Verb == VerbSkipped:
		f.counters.SkippedEvents += ev.Skipped
		f.resync = true
		return true
	case ev.Object == ObjectUnknown:
		f.counters.UnknownObjects++
		return false
	case ev.Object == ObjectEnd:
		return !statistics && f.swap()
	case statistics && ev.Verb != VerbExists:
		return false
	}
	s := f.state()
	a := apply{f: f, s: s, now: now, ev: ev, statistics: statistics}
	if !a.identify() {
		f.counters.Skipped++
		return false
	}
	a.run()
	if a.changed && s == f.live {
		f.snapOK = false
	}
	return a.changed
}

// state is what lines change now.
func (f *Folder) state() *state {
	if f.next != nil {
		return f.next
	}
	return f.live
}

// swap makes the dump the state.
func (f *Folder) swap() bool {
	if f.next == nil {
		return false // a second dump in one stream: merged already
	}
	if f.live != nil {
		f.next.inherit(f.live)
	}
	f.live, f.next = f.next, nil
	f.generation++
	f.snapOK = false
	return true
}

// Status returns the last complete state, empty before the first. It is a copy, made only when something changed
// since the last call; now decides what has stalled.
func (f *Folder) Status(now time.Time) Status {
	if f.live == nil {
		return Status{}
	}
	if f.live.updateStalled(now, f.stallAfter()) || !f.snapOK {
		f.snap, f.snapOK = f.snapshot(f.live), true
	}
	return f.snap
}

func (f *Folder) stallAfter() time.Duration {
	if f.StallAfter > 0 {
		return f.StallAfter
	}
	return StallAfter
}

// snapshot copies the state. Slices of reasons and finished strings are never changed in place and may be shared.
func (f *Folder) snapshot(s *state) Status {
	var out Status
	for _, r := range s.resources {
		res := r.Resource
		res.Helpers = slices.Clone(r.Helpers)
		for _, d := range r.devices.sorted(compareDevices) {
			dev := *d
			dev.Stats = clone(d.Stats)
			res.Devices = append(res.Devices, dev)
		}
		for _, c := range r.conns.sorted(compareConnections) {
			res.Connections = append(res.Connections, f.snapshotOf(r.Name, c))
		}
		out.Resources = append(out.Resources, res)
	}
	slices.SortFunc(out.Resources, func(a, b Resource) int {
		return cmp.Compare(a.Name, b.Name)
	})
	return out
}

func (f *Folder) snapshotOf(resource string, c *connection) Connection {
	conn := c.Connection
	for _, p := range c.paths.sorted(comparePaths) {
		conn.Paths = append(conn.Paths, *p)
	}
	switch {
	case f.latches.on(resource, c):
		conn.SplitBrain = SplitBrainLatched
	case c.suspected:
		conn.SplitBrain = SplitBrainSuspected
	}
	for _, p := range c.peers.sorted(comparePeers) {
		peer := p.PeerDevice
		peer.Stats = clone(p.Stats)
		conn.Volumes = append(conn.Volumes, peer)
	}
	return conn
}

// sameStates reports whether two Statuses tell the same states of the resource, or of all when it is "". Statistics and
// progress differ between any two moments. DRBD 8.4 tells that it destroys a connection that it gives up, and a dump
// shows it as StandAlone.
func sameStates(a, b Status, resource string) bool {
	of := func(s Status) string {
		var out strings.Builder
		for _, r := range s.Resources {
			if resource != "" && r.Name != resource { // 8.4 does not restrict the dump of --now
				continue
			}
			fmt.Fprintln(&out, r.Name, r.Role, r.Suspended)
			for _, d := range r.Devices {
				fmt.Fprintln(&out, d.Volume, d.Disk, d.Quorum)
			}
			for _, c := range r.Connections {
				if c.State == ConnStandAlone {
					continue
				}
				fmt.Fprintln(&out, c.PeerNodeID, c.Name, c.State, c.PeerRole)
				for _, p := range c.Volumes {
					fmt.Fprintln(&out, p.Volume, p.Replication, p.PeerDisk)
				}
			}
		}
		return out.String()
	}
	return of(a) == of(b)
}

func clone[T any](p *T) *T {
	if p == nil {
		return nil
	}
	c := *p
	return &c
}

func set[T comparable](dst *T, v T) bool {
	if *dst == v {
		return false
	}
	*dst = v
	return true
}
