package status

import (
	"encoding/json"
	"strings"
	"time"

	"github.com/pgha/pgha-agent/agent/config"
	"github.com/pgha/pgha-agent/agent/fsm"
	"github.com/pgha/pgha-agent/agent/mounts"
	"github.com/pgha/pgha-agent/agent/state"
	"github.com/pgha/pgha-agent/crm"
	"github.com/pgha/pgha-agent/drbd"
	"github.com/pgha/pgha-agent/pg"
)

// Publication is how far this node's promotion has come in DNS.
type Publication string

// The states of a publication.
const (
	PubUnknown   Publication = "unknown"   // no answer from Pacemaker yet
	PubIdle      Publication = "idle"      // not promoted: nothing to publish
	PubHeld      Publication = "held"      // promoted, and a condition holds the write back
	PubWriting   Publication = "writing"   // the write is in flight
	PubPublished Publication = "published" // accepted by Route 53
	PubObserved  Publication = "observed"  // and the resolver answers our address
	PubContested Publication = "contested" // another node claimed the record later
)

// Publications lists every Publication.
var Publications = []Publication{PubUnknown, PubIdle, PubHeld, PubWriting, PubPublished, PubObserved, PubContested}

// Publication says how far the promotion has come.
func (s *Snapshot) Publication() Publication {
	st := &s.State
	switch {
	case st.Promotion.Contested:
		return PubContested
	case st.Write.InFlight.Claim != "":
		return PubWriting
	case st.Promotion.Claim == "" && !st.Cluster.OK:
		return PubUnknown
	case st.Promotion.Claim == "" && !st.Cluster.PromotedHere:
		return PubIdle
	case !st.Promotion.Published || st.Repair.Pending:
		return PubHeld
	case st.Resolved.OK && st.Resolved.Addr == st.Config.Addr:
		return PubObserved
	default:
		return PubPublished
	}
}

// Doc is the JSON of /status and of `pgha-agent status --json`. Fields are only ever added. What is not known is null
// or absent.
type Doc struct {
	Version     string             `json:"version"`
	Node        string             `json:"node"`
	Time        time.Time          `json:"time"`
	Ready       bool               `json:"ready"`
	Unready     []string           `json:"unready"`
	Problems    []Problem          `json:"problems"`
	Publication PublicationDoc     `json:"publication"`
	Cluster     *ClusterDoc        `json:"cluster"`
	Drbd        *drbd.DumpResource `json:"drbd"`
	Postgres    PostgresDoc        `json:"postgres"`
	Record      RecordDoc          `json:"record"`
	Client      *ClientDoc         `json:"client"`
	Episode     *EpisodeDoc        `json:"episode"` // the open one, or the last
	Sources     []SourceDoc        `json:"sources"`
	Config      *ConfigDoc         `json:"config"` // null: of a daemon that does not say
	Mounts      []MountDoc         `json:"mounts"` // null when they are not known
	// The program on disk is another one than the one that runs: it was updated, and takes effect at a restart.
	Replaced bool      `json:"program_replaced,omitempty"`
	Judgment *Judgment `json:"judgment,omitempty"`
}

// ConfigDoc is what must be equal on all nodes.
type ConfigDoc struct {
	Record     string `json:"record"`
	Zone       string `json:"zone_id"`
	Ownership  string `json:"ownership"`
	PublishOn  string `json:"publish_on"`
	TTL        string `json:"ttl"`
	Repair     bool   `json:"repair"`
	Promotable string `json:"promotable"`
	Resource   string `json:"drbd_resource"`
}

// MountDoc is a filesystem that matters to the database.
type MountDoc struct {
	Point  string  `json:"point"`
	Source string  `json:"source"`
	OnDrbd bool    `json:"on_drbd"`
	Wanted bool    `json:"wanted"` // the cluster mounts the database's filesystem there
	Size   uint64  `json:"size_bytes"`
	Free   uint64  `json:"free_bytes"`
	Inodes *uint64 `json:"free_inodes,omitempty"` // absent where there is no fixed number
	FullIn float64 `json:"full_in_seconds,omitempty"`
	Error  string  `json:"error,omitempty"`
}

// OfDatabase reports a filesystem of the database of which is known how full it is.
func (m MountDoc) OfDatabase() bool { return (m.OnDrbd || m.Wanted) && m.Error == "" && m.Size > 0 }

// PublicationDoc says whether this node publishes, and why not.
type PublicationDoc struct {
	State       Publication `json:"state"`
	Promotion   string      `json:"promotion,omitempty"` // claim that names the promotion
	Epoch       uint64      `json:"epoch,omitempty"`
	Holds       []HoldDoc   `json:"holds"`
	Attempts    int         `json:"failed_attempts"`
	LastFailure string      `json:"last_failure,omitempty"`
	PausedUntil *time.Time  `json:"paused_until,omitempty"`
}

// HoldDoc is one condition that holds publication back.
type HoldDoc struct {
	Name   string `json:"name"`
	Text   string `json:"text"`
	Remedy string `json:"remedy,omitempty"`
}

// ClusterDoc is the last good look at the cluster.
type ClusterDoc struct {
	Seen           time.Time `json:"seen"`
	LookSeconds    float64   `json:"look_seconds"` // that crm_mon took the last time, good or bad
	DC             string    `json:"dc,omitempty"`
	Quorum         *bool     `json:"quorum"` // proves nothing with two nodes
	FencingEnabled *bool     `json:"fencing_enabled"`
	Maintenance    *bool     `json:"maintenance_mode"`
	Promoted       []string  `json:"promoted"`
	Nodes          []NodeDoc `json:"nodes"`
}

// NodeDoc is a node of the cluster.
type NodeDoc struct {
	Name    string `json:"name"`
	Online  *bool  `json:"online"`
	Unclean *bool  `json:"unclean"`
	Standby *bool  `json:"standby"`
	Pending *bool  `json:"pending"`
}

// PostgresDoc is the last probe of the local server.
type PostgresDoc struct {
	State    pg.State   `json:"state"`
	Error    string     `json:"error,omitempty"`
	Started  *time.Time `json:"started,omitempty"`
	Version  int        `json:"version,omitempty"`
	Timeline uint32     `json:"timeline,omitempty"`
	LSN      uint64     `json:"lsn,omitempty"`
	// WAL has not reached the disk for so long: commits hang.
	FlushStall float64 `json:"flush_stall_seconds,omitempty"`
	// No synchronous standby has confirmed a commit for so long: commits hang.
	SyncWait float64 `json:"sync_wait_seconds,omitempty"`
	// It answered while DRBD was Secondary here: its data are not the cluster's.
	Foreign  bool         `json:"foreign,omitempty"`
	Replicas []ReplicaDoc `json:"replicas,omitempty"` // of additional streaming standbys, if there are any
	Slots    []SlotDoc    `json:"slots,omitempty"`
}

// ReplicaDoc is an additional streaming standby.
type ReplicaDoc struct {
	Name        string   `json:"name"`
	Addr        string   `json:"addr,omitempty"`
	State       string   `json:"state"`
	SyncState   string   `json:"sync_state"`
	ReplayBytes *int64   `json:"replay_lag_bytes"`
	FlushBytes  *int64   `json:"flush_lag_bytes"`
	ReplayLag   *float64 `json:"replay_lag_seconds"`
}

// SlotDoc is a replication slot.
type SlotDoc struct {
	Name     string `json:"name"`
	Type     string `json:"type"`
	Active   bool   `json:"active"`
	Retained *int64 `json:"retained_bytes"`
	WAL      string `json:"wal_status,omitempty"`
}

// RecordDoc sets what the zone holds beside what the resolver answers and what this node would publish.
type RecordDoc struct {
	Name         string     `json:"name"`
	OwnAddr      string     `json:"own_addr"`
	Addr         string     `json:"addr"` // in the zone, "" when there is none or it was not read
	TTL          float64    `json:"ttl_seconds,omitempty"`
	Owner        string     `json:"owner,omitempty"`
	Epoch        uint64     `json:"epoch,omitempty"`
	Claim        string     `json:"claim,omitempty"`
	Read         *time.Time `json:"read,omitempty"`
	ResolverAddr *string    `json:"resolver_addr"` // null when the resolver does not answer
	Drift        bool       `json:"drift"`
}

// ClientDoc is what a client of the name sees from this node.
type ClientDoc struct {
	OK    bool `json:"ok"`
	Asked bool `json:"asked"` // false: the name does not exist, so that no client can resolve it; the rest is from before
	// The last success before the outage that goes on; absent when there is none, or no success was seen.
	DownSince  *time.Time `json:"down_since,omitempty"`
	State      pg.State   `json:"state"`
	Answered   string     `json:"answered,omitempty"`
	Error      string     `json:"error,omitempty"`
	NoName     bool       `json:"no_name,omitempty"` // the resolver answered that the name has no address
	LastOutage *float64   `json:"last_outage_seconds,omitempty"`
}

// UnmarshalJSON reads also what a daemon of before 0.2 says, which asks in any case and does not tell that.
func (c *ClientDoc) UnmarshalJSON(data []byte) error {
	type plain ClientDoc
	p := plain{Asked: true}
	err := json.Unmarshal(data, &p)
	*c = ClientDoc(p)
	return err
}

// SourceDoc says how fresh a source is.
type SourceDoc struct {
	Name     string   `json:"name"`
	Up       bool     `json:"up"`
	Age      *float64 `json:"age_seconds"` // since the last success; null when there was none
	Failures uint64   `json:"failures"`
	Error    string   `json:"error,omitempty"`
	Stale    bool     `json:"stale"` // no answer for too long: the node is not ready
	// Of drbd: children of its stream that gave no sign of life and were replaced, and when the last one was.
	Hangs int        `json:"hangs,omitempty"`
	Hung  *time.Time `json:"last_hang,omitempty"`
}

// EpisodeDoc is the story of one promotion.
type EpisodeDoc struct {
	ID        uint64     `json:"id"`
	Node      string     `json:"node"`
	Cause     string     `json:"cause"`
	Outcome   string     `json:"outcome"` // "open" while it goes on
	Peer      string     `json:"peer,omitempty"`
	Why       string     `json:"why,omitempty"`
	Start     time.Time  `json:"start"`
	Phases    []PhaseDoc `json:"phases"` // in the order of time; phases that were not seen are missing
	Promotion string     `json:"promotion,omitempty"`
	Epoch     uint64     `json:"epoch,omitempty"`
	Writes    int        `json:"writes"`
	Outage    *float64   `json:"client_outage_seconds,omitempty"` // last success to first success of a client of the name
	Answered  string     `json:"client_answered_by,omitempty"`
	// The last success of a client of the name, when it was still cut off at the end of the episode.
	CutOffSince *time.Time `json:"client_cut_off_since,omitempty"`
}

// PhaseDoc is the time of one phase.
type PhaseDoc struct {
	Phase string    `json:"phase"`
	After float64   `json:"after_seconds"` // since the start of the episode
	At    time.Time `json:"at"`
	// The agent did not run, or stood still, when it happened: At is when it was learned.
	Late bool `json:"late,omitempty"`
}

// NewEpisodeDoc makes the document of an episode. wall converts its times.
func NewEpisodeDoc(e *fsm.Episode, node string, wall func(fsm.Time) time.Time) *EpisodeDoc {
	if e.ID == 0 {
		return nil
	}
	d := &EpisodeDoc{
		ID: e.ID, Node: node, Cause: string(e.Cause), Outcome: string(e.Outcome), Peer: e.Peer, Why: e.Why,
		Start:     wall(e.Start),
		Promotion: e.Promotion, Epoch: e.Epoch, Writes: e.Writes, Phases: []PhaseDoc{},
	}
	if e.Open() {
		d.Outcome = "open"
	}
	for _, p := range e.ByTime() {
		d.Phases = append(d.Phases, PhaseDoc{p.String(), (e.Stamps[p] - e.Start).Seconds(), wall(e.Stamps[p]), e.Late[p]})
	}
	switch o := e.Outage; {
	case o.GoesOn():
		d.CutOffSince = new(wall(o.From))
	case o != fsm.Outage{}:
		d.Outage, d.Answered = new(o.Length().Seconds()), o.Answered
	}
	return d
}

// EntryDoc makes the document of a journal entry.
func EntryDoc(e *state.Entry) *EpisodeDoc { return NewEpisodeDoc(&e.Episode, e.Node, e.Wall) }

// EpisodeDoc makes the document of the present or last episode, under its number in the journal.
func (s *Snapshot) EpisodeDoc(e fsm.Episode, number uint64) *EpisodeDoc {
	wall := s.WallOf
	if e.ID == s.Earlier.Episode.ID {
		wall = s.Earlier.Wall
	}
	e.ID = number
	return NewEpisodeDoc(&e, s.Config.Node.Name, wall)
}

// Doc makes the document of a snapshot.
func (s *Snapshot) Doc() *Doc {
	st := &s.State
	unready := s.Unready()
	d := &Doc{
		Version: s.Version, Node: s.Config.Node.Name, Time: s.Wall, Ready: len(unready) == 0,
		Unready:     append([]string{}, unready...),
		Problems:    append([]Problem{}, s.Problems()...),
		Publication: s.publicationDoc(),
		Cluster:     s.clusterDoc(),
		Postgres: PostgresDoc{
			State: s.Postgres.State, Error: s.Postgres.Err, Version: s.Postgres.Version, Timeline: s.Postgres.Timeline,
			LSN: s.Postgres.LSN, FlushStall: s.Postgres.FlushStall.Seconds(), SyncWait: s.Postgres.SyncWait.Seconds(),
			Foreign:  st.ForeignServer(),
			Replicas: replicaDocs(s.Postgres.Replicas), Slots: slotDocs(s.Postgres.Slots),
		},
		Record: RecordDoc{
			Name: s.Config.Record.Name, OwnAddr: st.Config.Addr, Addr: st.Zone.Addr, TTL: st.Zone.TTL.Seconds(),
			Owner: st.Zone.Owner, Epoch: st.Zone.Epoch, Claim: st.Zone.Claim, Drift: st.Drift(),
		},
		Episode: s.EpisodeDoc(st.Episode, s.Number),
	}
	if d.Postgres.State == "" {
		d.Postgres.State = pg.StateUnknown
	}
	if !s.Postgres.Started.IsZero() {
		d.Postgres.Started = &s.Postgres.Started
	}
	if st.Zone.At != 0 {
		d.Record.Read = new(s.WallOf(st.Zone.At))
	}
	if st.Resolved.OK {
		d.Record.ResolverAddr = &st.Resolved.Addr
	}
	if res, ok := s.Resource(); ok && s.Drbd.Live {
		d.Drbd = &drbd.NewDump(drbd.Status{Resources: []drbd.Resource{res}}).Resources[0]
	}
	if s.Client {
		asked := st.NameExists()
		p := &s.ClientProbe
		d.Client = &ClientDoc{OK: p.OK && asked, Asked: asked, State: p.State, Error: p.Err, NoName: p.NoName}
		switch {
		case st.ClientDownSince != 0:
			d.Client.DownSince = new(s.WallOf(st.ClientDownSince))
		case !asked && s.Served.At != 0:
			d.Client.DownSince = new(s.WallOf(s.Served.At))
		}
		if s.ClientProbe.Answered.IsValid() {
			d.Client.Answered = s.ClientProbe.Answered.String()
		}
		if s.ClientOutage != (fsm.Outage{}) {
			d.Client.LastOutage = new(s.ClientOutage.Length().Seconds())
		}
	}
	d.Config, d.Mounts, d.Replaced = NewConfigDoc(s.Config), s.mountDocs(), s.Replaced
	for src, source := range s.Sources {
		if !s.Enabled(Source(src)) {
			continue
		}
		doc := SourceDoc{Name: Source(src).String(), Up: source.Up, Failures: source.Failures, Error: source.Err,
			Stale: s.stale(Source(src))}
		if source.LastSuccess != 0 {
			doc.Age = new(max(0, (s.At - source.LastSuccess).Seconds()))
		}
		if Source(src) == SourceDrbd && s.Drbd.Hangs > 0 {
			doc.Hangs, doc.Hung = s.Drbd.Hangs, new(s.Drbd.Hung.UTC().Round(0))
		}
		d.Sources = append(d.Sources, doc)
	}
	return d
}

// NewConfigDoc makes the document of what a configuration must have alike with that of the other nodes.
func NewConfigDoc(c *config.Config) *ConfigDoc {
	return &ConfigDoc{
		Record: c.Record.Name, Zone: strings.TrimPrefix(c.Record.ZoneID, "/hostedzone/"), Ownership: c.Record.Ownership,
		PublishOn: c.Record.PublishOn, TTL: c.Record.TTL.String(), Repair: c.Record.Repair,
		Promotable: c.Cluster.Promotable, Resource: c.Drbd.Resource,
	}
}

// mountsTooOld is how old a look at the filesystems may be: one that hangs is not known.
const mountsTooOld = time.Minute

func (s *Snapshot) mountDocs() []MountDoc {
	if s.MountsAt == 0 || s.MountsErr != "" || s.At-s.MountsAt > mountsTooOld {
		return nil
	}
	docs := []MountDoc{}
	for _, m := range s.Mounts {
		docs = append(docs, NewMountDoc(m))
	}
	return docs
}

// NewMountDoc makes the document of a filesystem.
func NewMountDoc(m mounts.Filesystem) MountDoc {
	d := MountDoc{Point: m.Point, Source: m.Source, OnDrbd: m.OnDrbd, Wanted: m.Wanted, Size: m.Size, Free: m.Free,
		FullIn: m.FullIn.Seconds(), Error: m.Err}
	if m.Inodes > 0 {
		d.Inodes = new(m.FreeInodes)
	}
	return d
}

func (s *Snapshot) publicationDoc() PublicationDoc {
	st := &s.State
	d := PublicationDoc{
		State: s.Publication(), Promotion: st.Promotion.Claim, Epoch: st.Promotion.Epoch, Attempts: st.Write.Retry.N,
		LastFailure: st.Write.Retry.Reason, Holds: []HoldDoc{},
	}
	if d.State == PubIdle {
		d.Holds = append(d.Holds, s.HoldDoc(fsm.HoldNotPromoted)) // the other holds do not matter then
	} else if !st.Settled() {
		for _, h := range s.Holds.List() {
			d.Holds = append(d.Holds, s.HoldDoc(h))
		}
	}
	if st.Wait.PausedUntil > s.At {
		d.PausedUntil = new(s.WallOf(st.Wait.PausedUntil))
	}
	return d
}

// NewHoldDoc makes the document of a hold, as the table of holds has it.
func NewHoldDoc(h fsm.Hold) HoldDoc { return HoldDoc{h.String(), HoldOf(h).Text, HoldOf(h).Remedy} }

func (s *Snapshot) clusterDoc() *ClusterDoc {
	if s.Crm == nil {
		return nil
	}
	return NewClusterDoc(s.Crm, s.Config.Cluster.Promotable, s.WallOf(s.State.Cluster.At), s.LookTook)
}

// NewClusterDoc makes the document of a look at the cluster, which ended at a time and took so long.
func NewClusterDoc(st *crm.Status, clone string, seen time.Time, took time.Duration) *ClusterDoc {
	d := &ClusterDoc{
		Seen: seen, LookSeconds: took.Seconds(), DC: st.DC, Quorum: known(st.Quorum),
		FencingEnabled: known(st.FencingEnabled), Maintenance: known(st.MaintenanceMode), Promoted: st.Promoted(clone),
		Nodes: []NodeDoc{},
	}
	for _, n := range st.Nodes {
		d.Nodes = append(d.Nodes, NodeDoc{n.Name, known(n.Online), known(n.Unclean), known(n.Standby), known(n.Pending)})
	}
	return d
}

func replicaDocs(list []pg.Replica) (docs []ReplicaDoc) {
	for _, r := range list {
		d := ReplicaDoc{Name: r.Name, Addr: r.Addr, State: r.State, SyncState: r.SyncState,
			ReplayBytes: atLeast0(r.ReplayLagBytes), FlushBytes: atLeast0(r.FlushLagBytes)}
		if r.ReplayLag >= 0 {
			d.ReplayLag = new(r.ReplayLag.Seconds())
		}
		docs = append(docs, d)
	}
	return docs
}

func slotDocs(list []pg.Slot) (docs []SlotDoc) {
	for _, s := range list {
		docs = append(docs, SlotDoc{s.Name, s.Type, s.Active, atLeast0(s.RetainedBytes), s.WALStatus})
	}
	return docs
}

// atLeast0 makes what package pg gives as -1 unknown.
func atLeast0(n int64) *int64 {
	if n < 0 {
		return nil
	}
	return &n
}

func known(t crm.Tri) *bool {
	if t == crm.Unknown {
		return nil
	}
	return new(t == crm.Yes)
}
