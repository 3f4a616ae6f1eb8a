package drbd

import (
	"errors"
	"fmt"
	"io"
	"time"
)

// Dump is the documented JSON form of a Status, as `pgha-agent debug events2` prints it. What is not known is null.
type Dump struct {
	Resources     []DumpResource `json:"resources"`
	Counters      DumpCounters   `json:"counters"`
	Complete      bool           `json:"complete"`       // whether "exists -" was seen
	SkippedEvents uint64         `json:"skipped_events"` // sum of the "- skipped N" lines
}

// DumpCounters are the Counters of a Dump.
type DumpCounters struct {
	Lines          uint64 `json:"lines"`
	Skipped        uint64 `json:"skipped"`
	UnknownVerbs   uint64 `json:"unknown_verbs"`
	UnknownObjects uint64 `json:"unknown_objects"`
	UnknownKeys    uint64 `json:"unknown_keys"`
	UnknownValues  uint64 `json:"unknown_values"`
}

// DumpResource is a Resource. Suspended is empty when I/O runs, and null when not known.
type DumpResource struct {
	Name           string           `json:"name"`
	Role           Role             `json:"role"`
	Suspended      []string         `json:"suspended"`
	MayPromote     *bool            `json:"may_promote"`
	PromotionScore *int64           `json:"promotion_score"`
	Devices        []DumpDevice     `json:"devices"`
	Connections    []DumpConnection `json:"connections"`
	Helpers        []DumpHelper     `json:"helpers"`
}

// DumpDevice is a Device.
type DumpDevice struct {
	Volume     int              `json:"volume"`
	Minor      *int             `json:"minor"`
	Disk       DiskState        `json:"disk"`
	BackingDev *string          `json:"backing_dev"`
	Client     *bool            `json:"client"`
	Open       *bool            `json:"open"`
	Quorum     *bool            `json:"quorum"`
	Statistics *DumpDeviceStats `json:"statistics"`
}

// DumpDeviceStats are DeviceStats.
type DumpDeviceStats struct {
	SizeBytes    uint64 `json:"size_bytes"`
	ReadBytes    uint64 `json:"read_bytes"`
	WrittenBytes uint64 `json:"written_bytes"`
	ALWrites     uint64 `json:"al_writes"`
	BMWrites     uint64 `json:"bm_writes"`
	UpperPending uint64 `json:"upper_pending"`
	LowerPending uint64 `json:"lower_pending"`
	ALSuspended  *bool  `json:"al_suspended"`
}

// DumpConnection is a Connection. SplitBrain is none, suspected or latched.
type DumpConnection struct {
	PeerNodeID      *int             `json:"peer_node_id"`
	Name            string           `json:"name"`
	Connection      ConnectionState  `json:"connection"`
	PeerRole        Role             `json:"peer_role"`
	SplitBrain      string           `json:"split_brain"`
	Congested       *bool            `json:"congested"`
	APInFlightBytes *uint64          `json:"ap_in_flight_bytes"`
	RSInFlightBytes *uint64          `json:"rs_in_flight_bytes"`
	Paths           []DumpPath       `json:"paths"`
	PeerDevices     []DumpPeerDevice `json:"peer_devices"`
}

// DumpPath is a Path.
type DumpPath struct {
	Local       string `json:"local"`
	Peer        string `json:"peer"`
	Established *bool  `json:"established"`
}

// DumpPeerDevice is a PeerDevice. ResyncSuspended is empty when a resync may run, and null when not known.
type DumpPeerDevice struct {
	Volume             int              `json:"volume"`
	Replication        ReplicationState `json:"replication"`
	PeerDisk           DiskState        `json:"peer_disk"`
	PeerClient         *bool            `json:"peer_client"`
	Done               *float64         `json:"done"`
	ETASeconds         *float64         `json:"eta_seconds"`
	RateBytesPerSecond *float64         `json:"rate_bytes_per_second"`
	OutOfSyncBytes     *uint64          `json:"out_of_sync_bytes"`
	ReceivedBytes      *uint64          `json:"received_bytes"`
	SentBytes          *uint64          `json:"sent_bytes"`
	Pending            *uint64          `json:"pending"`
	Unacked            *uint64          `json:"unacked"`
	ResyncSuspended    []string         `json:"resync_suspended"`
	Stalled            bool             `json:"stalled"`
}

// DumpHelper is a HelperCall.
type DumpHelper struct {
	Name            string   `json:"name"`
	PeerNodeID      *int     `json:"peer_node_id"`
	Volume          *int     `json:"volume"`
	Running         bool     `json:"running"`
	ExitCode        *int     `json:"exit_code"`
	DurationSeconds *float64 `json:"duration_seconds"`
}

// ReadAll folds a whole recording. A recording without the end of a dump gives what was folded so far, with
// Complete false. The error is the reader's.
func ReadAll(r io.Reader, now time.Time) (*Dump, error) {
	f := NewFolder()
	if err := f.readFrom(r, now); err != nil {
		return nil, err
	}
	return f.Dump(now), nil
}

func (f *Folder) readFrom(r io.Reader, now time.Time) error {
	var cut lines
	buf := make([]byte, 32<<10)
	for {
		n, err := r.Read(buf)
		cut.feed(buf[:n], func(line []byte) { f.Line(now, line) }, f.Torn)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("read events: %w", err)
		}
	}
	if cut.end() {
		f.Torn()
	}
	return nil
}

// Dump gives the state as it is now, also of a dump that is not complete.
func (f *Folder) Dump(now time.Time) *Dump {
	s := f.state()
	s.updateStalled(now, f.stallAfter())
	f.snapOK = false // it may have changed what the last snapshot says
	d := NewDump(f.snapshot(s))
	c := f.counters
	d.Complete, d.SkippedEvents = f.Complete(), c.SkippedEvents
	d.Counters = DumpCounters{c.Lines, c.Skipped, c.UnknownVerbs, c.UnknownObjects, c.UnknownKeys, c.UnknownValues}
	return d
}

// NewDump makes the documented JSON form of a Status. Counters are zero: they belong to a recording.
func NewDump(s Status) *Dump {
	d := &Dump{Resources: []DumpResource{}}
	for _, r := range s.Resources {
		out := DumpResource{
			Name: r.Name, Role: r.Role, Suspended: list(r.Suspended, r.SuspendedKnown), MayPromote: r.MayPromote.bool(),
			PromotionScore: known(r.PromotionScore, r.PromotionScore >= 0),
			Devices:        []DumpDevice{}, Connections: []DumpConnection{}, Helpers: []DumpHelper{},
		}
		for _, v := range r.Devices {
			out.Devices = append(out.Devices, dumpDevice(v))
		}
		for _, c := range r.Connections {
			out.Connections = append(out.Connections, dumpConnection(c))
		}
		for _, h := range r.Helpers {
			out.Helpers = append(out.Helpers, DumpHelper{Name: h.Name, PeerNodeID: known(h.PeerNodeID, h.PeerNodeID >= 0),
				Volume: known(h.Volume, h.Volume >= 0), Running: h.Running, ExitCode: known(h.ExitCode, h.ExitCode >= 0),
				DurationSeconds: known(h.Duration.Seconds(), !h.Running && !h.Started.IsZero() && h.ExitCode >= 0)})
		}
		d.Resources = append(d.Resources, out)
	}
	return d
}

func dumpDevice(v Device) DumpDevice {
	out := DumpDevice{
		Volume: v.Volume, Minor: known(v.Minor, v.Minor >= 0), Disk: v.Disk,
		BackingDev: known(v.BackingDev, v.BackingDev != ""),
		Client:     v.Client.bool(), Open: v.Open.bool(), Quorum: v.Quorum.bool(),
	}
	if s := v.Stats; s != nil {
		out.Statistics = &DumpDeviceStats{s.SizeBytes, s.ReadBytes, s.WrittenBytes, s.ALWrites, s.BMWrites, s.UpperPending,
			s.LowerPending, s.ALSuspended.bool()}
	}
	return out
}

func dumpConnection(c Connection) DumpConnection {
	out := DumpConnection{
		PeerNodeID: known(c.PeerNodeID, c.PeerNodeID >= 0), Name: c.Name, Connection: c.State, PeerRole: c.PeerRole,
		SplitBrain: c.SplitBrain.String(), Congested: c.Congested.bool(),
		APInFlightBytes: known(c.APInFlightBytes, c.StatsKnown), RSInFlightBytes: known(c.RSInFlightBytes, c.StatsKnown),
		Paths: []DumpPath{}, PeerDevices: []DumpPeerDevice{},
	}
	for _, p := range c.Paths {
		out.Paths = append(out.Paths, DumpPath{p.Local, p.Peer, p.Established.bool()})
	}
	for _, p := range c.Volumes {
		v := DumpPeerDevice{
			Volume: p.Volume, Replication: p.Replication, PeerDisk: p.PeerDisk, PeerClient: p.PeerClient.bool(),
			Done: known(p.Done, p.Done >= 0), ETASeconds: known(p.ETA.Seconds(), p.ETA >= 0),
			RateBytesPerSecond: known(p.RateBytesPerSec, p.RateBytesPerSec >= 0),
			ResyncSuspended:    list(p.ResyncSuspended, p.ResyncSuspendedKnown), Stalled: p.Stalled,
		}
		if s := p.Stats; s != nil {
			v.OutOfSyncBytes, v.ReceivedBytes, v.SentBytes = &s.OutOfSyncBytes, &s.ReceivedBytes, &s.SentBytes
			v.Pending, v.Unacked = &s.Pending, &s.Unacked
		}
		out.PeerDevices = append(out.PeerDevices, v)
	}
	return out
}

func known[T any](v T, ok bool) *T {
	if !ok {
		return nil
	}
	return &v
}

func list(l []string, ok bool) []string {
	if ok && l == nil {
		return []string{}
	}
	return l
}

func (t Tri) bool() *bool {
	return known(t == Yes, t != Unknown)
}

// String returns none, suspected or latched.
func (s SplitBrain) String() string {
	switch s {
	case SplitBrainSuspected:
		return "suspected"
	case SplitBrainLatched:
		return "latched"
	}
	return "none"
}
