package drbd

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
)

// The JSON of `drbdsetup status --json` (drbd-utils 9, user/v9/drbdsetup.c). DRBD 8.4 has none.

type jsonResource struct {
	Name             *string          `json:"name"`
	Role             string           `json:"role"`
	Suspended        jsonTri          `json:"suspended"`
	SuspendedUser    jsonTri          `json:"suspended-user"`
	SuspendedNoData  jsonTri          `json:"suspended-no-data"`
	SuspendedFencing jsonTri          `json:"suspended-fencing"`
	SuspendedQuorum  jsonTri          `json:"suspended-quorum"`
	MayPromote       jsonTri          `json:"may_promote"`
	PromotionScore   jsonNumber       `json:"promotion_score"`
	Devices          []jsonDevice     `json:"devices"`
	Connections      []jsonConnection `json:"connections"`
}

type jsonDevice struct {
	Volume       jsonNumber `json:"volume"`
	Minor        jsonNumber `json:"minor"`
	Disk         string     `json:"disk-state"`
	BackingDev   string     `json:"backing_dev"`
	Client       jsonTri    `json:"client"`
	Open         jsonTri    `json:"open"`
	Quorum       jsonTri    `json:"quorum"`
	Size         jsonNumber `json:"size"`
	Read         jsonNumber `json:"read"`
	Written      jsonNumber `json:"written"`
	ALWrites     jsonNumber `json:"al-writes"`
	BMWrites     jsonNumber `json:"bm-writes"`
	UpperPending jsonNumber `json:"upper-pending"`
	LowerPending jsonNumber `json:"lower-pending"`
	ALSuspended  jsonTri    `json:"al-suspended"`
}

type jsonConnection struct {
	PeerNodeID jsonNumber       `json:"peer-node-id"`
	Name       string           `json:"name"`
	State      string           `json:"connection-state"`
	Congested  jsonTri          `json:"congested"`
	PeerRole   string           `json:"peer-role"`
	APInFlight jsonNumber       `json:"ap-in-flight"`
	RSInFlight jsonNumber       `json:"rs-in-flight"`
	Volumes    []jsonPeerDevice `json:"peer_devices"`
}

type jsonPeerDevice struct {
	Volume          jsonNumber `json:"volume"`
	Replication     string     `json:"replication-state"`
	PeerDisk        string     `json:"peer-disk-state"`
	PeerClient      jsonTri    `json:"peer-client"`
	ResyncSuspended *string    `json:"resync-suspended"`
	Received        jsonNumber `json:"received"`
	Sent            jsonNumber `json:"sent"`
	OutOfSync       jsonNumber `json:"out-of-sync"`
	Pending         jsonNumber `json:"pending"`
	Unacked         jsonNumber `json:"unacked"`
	Done            jsonNumber `json:"percent-resync-done"`
	Rate            jsonNumber `json:"db1/dt1 [MiB/s]"`
	ETA             jsonNumber `json:"estimated-seconds-to-finish"`
}

// jsonNumber keeps a number as printed; anything else is "not known", not an error.
type jsonNumber []byte

func (n *jsonNumber) UnmarshalJSON(b []byte) error {
	if _, ok := parseDecimal(b); ok {
		*n = bytes.Clone(b)
	}
	return nil
}

// units returns the number in base units, 0 when it is not known or below zero.
func (n jsonNumber) units(unit uint64) uint64 {
	v, ok := parseUint(n)
	if !ok || v >= maxCounter {
		return 0
	}
	return v * unit
}

func (n jsonNumber) decimal(limit float64) float64 {
	v, ok := parseDecimal(n)
	if !ok || v > limit {
		return -1
	}
	return v
}

func (n jsonNumber) integer() int {
	v, ok := parseUint(n)
	if !ok || v > 1<<30 {
		return -1
	}
	return int(v)
}

type jsonTri Tri

func (t *jsonTri) UnmarshalJSON(b []byte) error {
	switch string(b) {
	case "true", `"yes"`:
		*t = jsonTri(Yes)
	case "false", `"no"`:
		*t = jsonTri(No)
	default:
		*t = jsonTri(Unknown)
	}
	return nil
}

// parseStatusJSON reads the output of `drbdsetup status --json`. What a stream alone can tell (helpers, split brains,
// stalls, paths) is absent.
func parseStatusJSON(b []byte) (Status, error) {
	if len(b) > maxOutput {
		return Status{}, fmt.Errorf("parse drbd status: more than %d bytes", maxOutput)
	}
	var in []jsonResource
	if err := json.Unmarshal(b, &in); err != nil {
		return Status{}, fmt.Errorf("parse drbd status: %w", err)
	}
	var out Status
	for i, r := range in {
		if r.Name == nil || *r.Name == "" {
			return Status{}, fmt.Errorf("parse drbd status: resource %d has no name", i)
		}
		res, err := r.resource()
		if err != nil {
			return Status{}, fmt.Errorf("parse drbd status: resource %q: %w", *r.Name, err)
		}
		out.Resources = append(out.Resources, res)
	}
	slices.SortStableFunc(out.Resources, func(a, b Resource) int { return cmp.Compare(a.Name, b.Name) })
	return out, nil
}

func wordOf[T ~string](w *words, s string) T {
	if i := w.index([]byte(s)); i > 0 {
		return T(w.list[i])
	}
	return unknownWord
}

func (r *jsonResource) resource() (Resource, error) {
	out := Resource{Name: *r.Name, Role: wordOf[Role](roleWords, r.Role), SuspendedKnown: r.Suspended != jsonTri(Unknown),
		MayPromote: Tri(r.MayPromote), PromotionScore: int64(r.PromotionScore.integer())}
	for _, reason := range []struct {
		is   jsonTri
		name string
	}{{r.SuspendedUser, "user"}, {r.SuspendedNoData, "no-data"}, {r.SuspendedFencing, "fencing"},
		{r.SuspendedQuorum, "quorum"}} {
		if reason.is == jsonTri(Yes) {
			out.Suspended = append(out.Suspended, reason.name)
			out.SuspendedKnown = true
		}
	}
	if out.Suspended == nil && r.Suspended == jsonTri(Yes) {
		out.Suspended = []string{unknownWord} // old drbd-utils give no reasons
	}
	for i, d := range r.Devices {
		volume := d.Volume.integer()
		if volume < 0 && d.Volume == nil {
			volume = i // trimmed documents leave it out; drbdsetup prints them in order
		}
		if volume < 0 {
			return out, fmt.Errorf("device %d has no volume", i)
		}
		out.Devices = append(out.Devices, d.device(volume))
	}
	for _, c := range r.Connections {
		conn := Connection{PeerNodeID: c.PeerNodeID.integer(), Name: c.Name,
			State:    wordOf[ConnectionState](connectionWords, c.State),
			PeerRole: wordOf[Role](roleWords, c.PeerRole), Congested: Tri(c.Congested), APInFlightBytes: c.APInFlight.units(512),
			RSInFlightBytes: c.RSInFlight.units(512), StatsKnown: c.APInFlight != nil}
		for i, p := range c.Volumes {
			conn.Volumes = append(conn.Volumes, p.peerDevice(i))
		}
		slices.SortStableFunc(conn.Volumes, func(a, b PeerDevice) int { return cmp.Compare(a.Volume, b.Volume) })
		out.Connections = append(out.Connections, conn)
	}
	slices.SortStableFunc(out.Devices, func(a, b Device) int { return cmp.Compare(a.Volume, b.Volume) })
	slices.SortStableFunc(out.Connections, func(a, b Connection) int {
		return cmp.Or(cmp.Compare(a.PeerNodeID, b.PeerNodeID), cmp.Compare(a.Name, b.Name))
	})
	return out, nil
}

func (d *jsonDevice) device(volume int) Device {
	out := Device{Volume: volume, Minor: d.Minor.integer(), Disk: wordOf[DiskState](diskWords, d.Disk),
		Client: Tri(d.Client),
		Open:   Tri(d.Open), Quorum: Tri(d.Quorum)}
	if d.BackingDev != "none" {
		out.BackingDev = d.BackingDev
	}
	if d.Read != nil {
		out.Stats = &DeviceStats{SizeBytes: d.Size.units(1024), ReadBytes: d.Read.units(1024),
			WrittenBytes: d.Written.units(1024),
			ALWrites:     d.ALWrites.units(1), BMWrites: d.BMWrites.units(1), UpperPending: d.UpperPending.units(1),
			LowerPending: d.LowerPending.units(1), ALSuspended: Tri(d.ALSuspended)}
	}
	return out
}

func (p *jsonPeerDevice) peerDevice(i int) PeerDevice {
	out := PeerDevice{Volume: p.Volume.integer(), Replication: wordOf[ReplicationState](replicationWords,
		p.Replication), PeerDisk: wordOf[DiskState](diskWords, p.PeerDisk),
		PeerClient: Tri(p.PeerClient), Done: p.Done.decimal(100), RateBytesPerSec: -1, ETA: -1}
	if out.Volume < 0 {
		out.Volume = i
	}
	if rate := p.Rate.decimal(1 << 30); rate >= 0 {
		out.RateBytesPerSec = rate * (1 << 20)
	}
	if eta := p.ETA.decimal(maxETA.Seconds()); eta >= 0 {
		out.ETA = seconds(eta)
	}
	if p.ResyncSuspended != nil {
		out.ResyncSuspendedKnown = true
		if *p.ResyncSuspended != "no" {
			for rest := []byte(*p.ResyncSuspended); rest != nil; {
				var word []byte
				word, rest = cutComma(rest)
				out.ResyncSuspended = append(out.ResyncSuspended, reasonOf(word))
			}
		}
	}
	if p.Received != nil || p.OutOfSync != nil {
		out.Stats = &PeerDeviceStats{ReceivedBytes: p.Received.units(1024), SentBytes: p.Sent.units(1024),
			OutOfSyncBytes: p.OutOfSync.units(1024), Pending: p.Pending.units(1), Unacked: p.Unacked.units(1)}
	}
	return out
}
