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
	latches    map[latch]string // split brains, and replication then; outlive a stream, its connection and its resource
	ev         Event            // the line at hand, here so that it needs no allocation
	snap       Status
	snapOK     bool
}

// latch names the volume of a connection that the split-brain helper was called for. DRBD names both. An edited call
// that names neither, and comes before its objects, leaves -1, which stands for each.
type latch struct {
	resource     string
	peer, volume int
}

func (l latch) of(resource string, c *connection) bool {
	return l.resource == resource && (l.peer < 0 || l.peer == c.PeerNodeID)
}

// NewFolder returns a Folder at the start of a stream.
func NewFolder() *Folder {
	f := &Folder{latches: map[latch]string{}}
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
	if f.live.judge(now, f.stallAfter()) || !f.snapOK {
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

// latchSplitBrain remembers a call of the split-brain helper.
func (f *Folder) latchSplitBrain(r *resource, peer, volume int) {
	known := false
	for _, c := range r.conns {
		for _, p := range c.peers {
			if (peer < 0 || peer == c.PeerNodeID) && (volume < 0 || volume == p.Volume) {
				f.latches[latch{r.Name, c.PeerNodeID, p.Volume}] = p.Replication
				known = true
			}
		}
	}
	if !known {
		f.latches[latch{r.Name, peer, volume}] = replicationOff
	}
}

// compared ends what was known of a split brain on each volume of the connection that has a replication state which
// follows a comparison of the data. Connected alone is no such sign: DRBD 8.4 and 9.0 say it before they compare,
// later ones after it. Each of them compares while replication is Off, calls the helper, and then either leaves Off or
// disconnects (drbd_receiver.c: receive_state, drbd_sync_handshake). Every known state but Off comes after that.
//
// A disk that is attached while connected is compared under Established, so that the state of the time of the call
// says nothing (drbd_attach_handshake). It counts after the connection was down.
//
// The volume counts by itself: the news of one volume's state may come after the call for the next one.
func (f *Folder) compared(resource string, c *connection) (changed bool) {
	if len(f.latches) == 0 && !c.suspected {
		return false
	}
	for _, p := range c.peers {
		off := c.State != "Connected" || p.Replication == replicationOff
		if !off && p.Replication == unknownWord {
			continue
		}
		changed = !off && set(&c.suspected, false) || changed
		for l, was := range f.latches {
			switch {
			case !l.of(resource, c) || l.volume >= 0 && l.volume != p.Volume:
			case off:
				f.latches[l] = replicationOff
			case p.Replication != was:
				delete(f.latches, l)
				changed = true
			}
		}
	}
	return changed
}

// latched reports whether a split brain is known on the connection. One of a volume that was removed since does not
// count.
func (f *Folder) latched(resource string, c *connection) bool {
	for l := range f.latches {
		if l.of(resource, c) && (l.volume < 0 || len(c.peers) == 0 || c.peer(l.volume) != nil) {
			return true
		}
	}
	return false
}

// renamed moves split brains to the new name.
func (f *Folder) renamed(from, to string) {
	for l, was := range f.latches {
		if l.resource == from {
			delete(f.latches, l)
			f.latches[latch{to, l.peer, l.volume}] = was
		}
	}
}

// state is one generation.
type state struct {
	resources map[string]*resource
}

type resource struct {
	Resource // without its children
	devices  []*Device
	conns    []*connection
}

type connection struct {
	Connection // without its children
	peers      []*peerDevice
	suspected  bool
}

type peerDevice struct {
	PeerDevice
	progress
}

// progress is what rates and stalls are judged by.
type progress struct {
	moved time.Time // when replication, done or out-of-sync last changed
	left  uint64    // out of sync, in bytes, as last printed
	told  bool      // the stream prints rates itself
	// toldDone: the stream prints percents itself, as all but 8.4's do. If not, most is the most that was out of sync since the resync was first seen.
	toldDone bool
	most     uint64
	sampled  time.Time // of the sample that rates are derived from
	sample   uint64
}

func (s *state) resource(name []byte) *resource { return s.resources[string(name)] }

func (r *resource) device(volume, minor int) *Device {
	for _, d := range r.devices {
		if d.Volume == volume || volume < 0 && minor >= 0 && d.Minor == minor {
			return d
		}
	}
	return nil
}

// connection finds a connection by node id, or by name when the line or the connection has no node id.
func (r *resource) connection(node int, name []byte) *connection {
	for _, c := range r.conns {
		if node >= 0 && c.PeerNodeID == node {
			return c
		}
	}
	for _, c := range r.conns {
		if (node < 0 || c.PeerNodeID < 0) && len(name) > 0 && c.Name == string(name) {
			return c
		}
	}
	return nil
}

func (c *connection) peer(volume int) *peerDevice {
	for _, p := range c.peers {
		if p.Volume == volume {
			return p
		}
	}
	return nil
}

// inherit takes over from the generation before what a dump does not print: helper calls, and since when a resync
// has not moved. A call that still ran then may have ended unseen.
func (s *state) inherit(old *state) {
	for name, r := range s.resources {
		was := old.resources[name]
		if was == nil {
			continue
		}
		if len(r.Helpers) == 0 && len(was.Helpers) > 0 {
			r.Helpers = slices.Clone(was.Helpers)
			for i := range r.Helpers {
				r.Helpers[i].Running = false
			}
		}
		for _, c := range r.conns {
			wasConn := was.connection(c.PeerNodeID, []byte(c.Name))
			if wasConn == nil {
				continue
			}
			for _, p := range c.peers {
				q := wasConn.peer(p.Volume)
				if q != nil && q.Replication == p.Replication && q.Done == p.Done && q.left == p.left {
					p.moved, p.Stalled = q.moved, q.Stalled
				}
			}
		}
	}
}

// judge sets Stalled, and reports whether that changed anything.
func (s *state) judge(now time.Time, after time.Duration) (changed bool) {
	for _, r := range s.resources {
		for _, c := range r.conns {
			for _, p := range c.peers {
				stalled := resyncing(p.Replication) && now.Sub(p.moved) >= after
				changed = set(&p.Stalled, stalled) || changed
			}
		}
	}
	return changed
}

func resyncing(replication string) bool {
	switch replication {
	case "SyncSource", "SyncTarget", "PausedSyncS", "PausedSyncT":
		return true
	}
	return false
}

// snapshot copies the state. Slices of reasons and finished strings are never changed in place and may be shared.
func (f *Folder) snapshot(s *state) Status {
	var out Status
	for _, r := range s.resources {
		res := r.Resource
		res.Helpers = slices.Clone(r.Helpers)
		for _, d := range r.devices {
			dev := *d
			dev.Stats = clone(d.Stats)
			res.Devices = append(res.Devices, dev)
		}
		for _, c := range r.conns {
			conn := c.Connection
			conn.Paths = slices.Clone(c.Paths)
			switch {
			case f.latched(r.Name, c):
				conn.SplitBrain = SplitBrainLatched
			case c.suspected:
				conn.SplitBrain = SplitBrainSuspected
			}
			for _, p := range c.peers {
				peer := p.PeerDevice
				peer.Stats = clone(p.Stats)
				conn.Volumes = append(conn.Volumes, peer)
			}
			res.Connections = append(res.Connections, conn)
		}
		out.Resources = append(out.Resources, res)
	}
	slices.SortFunc(out.Resources, func(a, b Resource) int {
		return cmp.Compare(a.Name, b.Name)
	})
	return out
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
				if c.State == "StandAlone" {
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
