package metrics

import (
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/pgha/pgha-agent/agent/explain"
	"github.com/pgha/pgha-agent/agent/fsm"
	"github.com/pgha/pgha-agent/agent/status"
	"github.com/pgha/pgha-agent/crm"
	"github.com/pgha/pgha-agent/drbd"
	"github.com/pgha/pgha-agent/pg"
)

// The states that a state set shows. Each is always present, and exactly one of a set is 1.
var (
	drbdRoles       = []drbd.Role{drbd.RolePrimary, drbd.RoleSecondary}
	splitBrainWords = []string{"none", "suspected", "latched"}
	nodeStates      = []string{"online", "offline", "unclean", "standby", "pending", "maintenance"}
)

// view is the snapshot of one scrape, with the document made of it, which several families read.
type view struct {
	*status.Snapshot
	doc *status.Doc // nil until it is asked for
}

// judged returns the document of the snapshot, with the judgment in it.
func (v *view) judged() *status.Doc {
	if v.doc == nil {
		v.doc = explain.Of(v.Snapshot)
	}
	return v.doc
}

// family is one metric that is read off a snapshot. collect emits its series.
type family struct {
	desc    *prometheus.Desc
	collect func(s *view, emit func(v float64, labels ...string))
}

// stateCollector reads the snapshot when Prometheus asks: it starts no process and waits for nothing.
type stateCollector struct {
	snapshot func() *status.Snapshot
	families []family
}

func newStateCollector(src Source) *stateCollector {
	return &stateCollector{snapshot: src.Snapshot, families: stateFamilies(src.Now)}
}

// Describe implements prometheus.Collector.
func (c *stateCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, f := range c.families {
		ch <- f.desc
	}
}

// Collect implements prometheus.Collector.
func (c *stateCollector) Collect(ch chan<- prometheus.Metric) {
	s := &view{Snapshot: c.snapshot()}
	for _, f := range c.families {
		seen := map[string]bool{}
		f.collect(s, func(v float64, labels ...string) {
			// Odd documents can name a thing twice; one bad series must not cost the whole scrape.
			var key strings.Builder
			for _, l := range labels {
				key.WriteString(l + "\xff")
			}
			if seen[key.String()] {
				return
			}
			seen[key.String()] = true
			if m, err := prometheus.NewConstMetric(f.desc, prometheus.GaugeValue, v, labels...); err == nil {
				ch <- m
			}
		})
	}
}

func gauge(name, help string, labels []string, collect func(s *view, emit func(float64, ...string))) family {
	return family{prometheus.NewDesc("pgha_"+name, help, labels, nil), collect}
}

// stateSet emits one series per known state and one for unknown.
func stateSet[T ~string](states []T, current T, emit func(float64, ...string), labels ...string) {
	found := false
	for _, state := range states {
		found = found || state == current
		emit(number(state == current), append(slices.Clip(labels), string(state))...)
	}
	emit(number(!found), append(slices.Clip(labels), "unknown")...)
}

func number(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// stateFamilies makes every metric that shows the state. A source that is down shows as pgha_source_up 0; what only it
// could tell is then absent or unknown, never a stale number.
func stateFamilies(now func() fsm.Time) []family {
	return []family{
		gauge("build_info", "The agent's version; always 1.", []string{"version"},
			func(s *view, emit func(float64, ...string)) {
				emit(1, s.Version)
			}),
		gauge("node_info", "The node that this agent runs on, by its name in the cluster; always 1.", []string{"node"},
			func(s *view, emit func(float64, ...string)) {
				emit(1, s.Config.Node.Name)
			}),
		gauge("record_info", "The record that this node is configured with; always 1. It must be the same on all nodes.",
			[]string{"record", "zone"}, func(s *view, emit func(float64, ...string)) {
				c := s.judged().Config
				emit(1, c.Record, c.Zone)
			}),
		gauge("source_up", "Whether the last attempt to ask a source succeeded.", []string{"source"},
			func(s *view, emit func(float64, ...string)) {
				for src, st := range s.Sources {
					if s.Enabled(status.Source(src)) {
						emit(number(st.Up), status.Source(src).String())
					}
				}
			}),
		gauge("source_last_success_timestamp_seconds", "When a source last answered, 0 when it never has.",
			[]string{"source"}, func(s *view, emit func(float64, ...string)) {
				for src, st := range s.Sources {
					if st.LastSuccess == 0 {
						emit(0, status.Source(src).String())
						continue
					}
					emit(float64(s.WallOf(st.LastSuccess).UnixMilli())/1e3, status.Source(src).String())
				}
			}),
		gauge("source_age_seconds", "Time since a source last answered; absent when it never has.", []string{"source"},
			func(s *view, emit func(float64, ...string)) {
				for src, st := range s.Sources {
					if st.LastSuccess != 0 {
						emit(max(0, (s.At-st.LastSuccess).Seconds()), status.Source(src).String())
					}
				}
			}),
		gauge("child_stuck", "Whether a child process of a source cannot be reaped (it hangs in the kernel).",
			[]string{"source"}, func(s *view, emit func(float64, ...string)) {
				emit(number(s.Sources[status.SourceDrbd].Stuck), "drbd")
				emit(number(s.Sources[status.SourceCrm].Stuck), "crm")
			}),
		gauge("local_writer",
			"Whether this node claims to be the writer: promoted by Pacemaker and Primary by DRBD. The sum over a cluster "+
				"must be 1.", nil, func(s *view, emit func(float64, ...string)) {
				emit(number(s.IsWriter(now())))
			}),
		gauge("publication", "How far this node's promotion has come in DNS.", []string{"state"},
			func(s *view, emit func(float64, ...string)) {
				for _, p := range status.Publications {
					emit(number(s.Publication() == p), string(p))
				}
			}),
		gauge("publication_held",
			"Conditions that hold publication of this node's promotion back now; all 0 unless it is promoted and not published.",
			[]string{"condition"}, func(s *view, emit func(float64, ...string)) {
				held := s.Publication() == status.PubHeld
				for _, h := range fsm.AllHolds() {
					emit(number(held && s.Holds.Has(h)), h.String())
				}
			}),
		gauge("publication_failed_attempts", "Failed writes in a row for the current promotion.", nil,
			func(s *view, emit func(float64, ...string)) {
				emit(float64(s.State.Write.Retry.N))
			}),
		gauge("paused", "Whether an operator has paused publication.", nil,
			func(s *view, emit func(float64, ...string)) {
				emit(number(s.State.Wait.PausedUntil > s.At))
			}),
		gauge("dns_contested", "Whether another node claimed the record after this node did.", nil,
			func(s *view, emit func(float64, ...string)) {
				emit(number(s.State.Promotion.Contested))
			}),
		gauge("dns_record_matches", "Whether the zone holds this node's address; absent until it was read.", nil,
			func(s *view, emit func(float64, ...string)) {
				if s.State.Zone.At != 0 {
					emit(number(s.State.Zone.Addr == s.State.Config.Addr && s.State.Config.Addr != ""))
				}
			}),
		gauge("dns_resolver_matches", "Whether the resolver answers this node's address; absent while it does not answer.",
			nil, func(s *view, emit func(float64, ...string)) {
				if s.State.Resolved.OK {
					emit(number(s.State.Resolved.Addr == s.State.Config.Addr && s.State.Config.Addr != ""))
				}
			}),
		gauge("dns_drift", "Whether the record that this node published was changed by somebody else.", nil,
			func(s *view, emit func(float64, ...string)) {
				emit(number(s.State.Drift()))
			}),
		gauge("dns_epoch", "Ownership epoch in the zone; absent until it was read.", nil,
			func(s *view, emit func(float64, ...string)) {
				if s.State.Zone.At != 0 {
					emit(float64(s.State.Zone.Epoch))
				}
			}),
		gauge("episode_open", "Whether an episode is going on.", nil,
			func(s *view, emit func(float64, ...string)) {
				emit(number(s.State.Episode.Open()))
			}),
		gauge("client_up",
			"Whether a client of the service name can write from this node; absent when that is not known: the client's view "+
				"is off, has not been tried, the server rejects its role, or the agent stalls.", nil,
			func(s *view, emit func(float64, ...string)) {
				if p := s.ClientProbe; p.State != "" && p.State != pg.StateAuth && now()-s.At < fsm.StallBound {
					emit(number(p.OK && s.State.NameExists()))
				}
			}),
		gauge("cluster_node",
			"State of each cluster node as crm_mon shows it here; several can be 1, all are 0 while crm_mon does not answer.",
			[]string{"node", "state"}, collectNodes),
		gauge("cluster_promoted",
			"Whether crm_mon shows the promotable clone as promoted on a node; absent while crm_mon does not answer.",
			[]string{"node"}, func(s *view, emit func(float64, ...string)) {
				if !s.State.Cluster.OK {
					return
				}
				promoted := map[string]bool{}
				for _, n := range s.Crm.Promoted(s.Config.Cluster.Promotable) {
					promoted[n] = true
				}
				for _, n := range s.Crm.Nodes {
					emit(number(promoted[n.Name]), n.Name)
				}
			}),
		gauge("cluster_quorum",
			"Whether the partition has quorum. With two nodes this proves nothing; absent when not known.", nil,
			triState(func(c *crm.Status) crm.Tri { return c.Quorum })),
		gauge("cluster_fencing_enabled", "Whether fencing is enabled; absent when not known.", nil,
			triState(func(c *crm.Status) crm.Tri { return c.FencingEnabled })),
		gauge("cluster_maintenance_mode", "Whether the cluster is in maintenance mode; absent when not known.", nil,
			triState(func(c *crm.Status) crm.Tri { return c.MaintenanceMode })),
		gauge("cluster_resource_failcount", "Fail count of a resource on a node; 1000000 is infinity.",
			[]string{"node", "resource"}, func(s *view, emit func(float64, ...string)) {
				if s.State.Cluster.OK {
					for _, f := range s.Crm.FailCounts {
						emit(float64(f.Count), f.Node, f.Resource)
					}
				}
			}),
		gauge("fence_events", "Events in the cluster's fencing history, by target and status.", []string{"target", "status"},
			func(s *view, emit func(float64, ...string)) {
				if !s.State.Cluster.OK {
					return
				}
				for _, n := range s.Crm.Nodes {
					for _, status := range []string{"success", "failed", "pending"} {
						count := 0
						for _, e := range s.Crm.FenceEvents {
							if strings.EqualFold(e.Target, n.Name) && e.Status == status {
								count++
							}
						}
						emit(float64(count), n.Name, status)
					}
				}
			}),
		gauge("fence_constraint_age_seconds",
			"How long a constraint of the DRBD fence-peer handler has been seen; absent when there is none.",
			[]string{"constraint"}, func(s *view, emit func(float64, ...string)) {
				for id, since := range s.FenceBans {
					emit((s.At - since).Seconds(), id)
				}
			}),
		gauge("drbd_role", "DRBD role of this node.", []string{"role"},
			withDrbd(func(r drbd.Resource, emit func(float64, ...string)) {
				stateSet(drbdRoles, r.Role, emit)
			})),
		gauge("drbd_suspended", "Whether DRBD has suspended I/O, by reason.", []string{"reason"},
			withDrbd(func(r drbd.Resource, emit func(float64, ...string)) {
				for _, reason := range []string{"user", "no-data", "fencing", "quorum"} {
					emit(number(slices.Contains(r.Suspended, reason)), reason)
				}
			})),
		gauge("drbd_disk", "State of each local DRBD disk.", []string{"volume", "state"},
			withDrbd(func(r drbd.Resource, emit func(float64, ...string)) {
				for _, d := range r.Devices {
					stateSet(drbd.DiskStates, d.Disk, emit, itoa(d.Volume))
				}
			})),
		gauge("drbd_connection", "State of the connection to each DRBD peer.", []string{"peer", "state"},
			withDrbd(func(r drbd.Resource, emit func(float64, ...string)) {
				for _, c := range r.Connections {
					stateSet(drbd.ConnectionStates, c.State, emit, c.Name)
				}
				if len(r.Connections) == 0 { // DRBD 8.4 destroys a connection that goes StandAlone
					stateSet(drbd.ConnectionStates, drbd.ConnStandAlone, emit, "peer")
				}
			})),
		gauge("drbd_split_brain", "What is known of a split brain with each DRBD peer; latched until the connection is back.",
			[]string{"peer", "state"}, func(s *view, emit func(float64, ...string)) {
				withDrbd(func(r drbd.Resource, emit func(float64, ...string)) {
					for _, c := range r.Connections {
						stateSet(splitBrainWords, splitBrainWords[min(int(c.SplitBrain), len(splitBrainWords)-1)], emit, c.Name)
					}
					if len(r.Connections) == 0 && s.State.Drbd.SplitBrain { // as above
						stateSet(splitBrainWords, "latched", emit, "peer")
					}
				})(s, emit)
			}),
		gauge("drbd_replication", "Replication state with each DRBD peer.", []string{"peer", "volume", "state"},
			eachPeerDevice(func(peer string, v drbd.PeerDevice, emit func(float64, ...string)) {
				stateSet(drbd.ReplicationStates, v.Replication, emit, peer, itoa(v.Volume))
			})),
		gauge("drbd_peer_disk", "State of each DRBD peer's disk.", []string{"peer", "volume", "state"},
			eachPeerDevice(func(peer string, v drbd.PeerDevice, emit func(float64, ...string)) {
				stateSet(drbd.DiskStates, v.PeerDisk, emit, peer, itoa(v.Volume))
			})),
		gauge("drbd_sync_done_ratio", "Progress of a resync or verify, 0 to 1; absent when none runs.",
			[]string{"peer", "volume"}, eachPeerDevice(func(peer string, v drbd.PeerDevice, emit func(float64, ...string)) {
				if v.Done >= 0 {
					emit(v.Done/100, peer, itoa(v.Volume))
				}
			})),
		gauge("drbd_sync_rate_bytes_per_second", "Rate of a resync; absent when not known.", []string{"peer", "volume"},
			eachPeerDevice(func(peer string, v drbd.PeerDevice, emit func(float64, ...string)) {
				if v.RateBytesPerSec >= 0 {
					emit(v.RateBytesPerSec, peer, itoa(v.Volume))
				}
			})),
		gauge("drbd_sync_eta_seconds",
			"Time left of a resync, too long in its first seconds, which DRBD takes slowly; absent when not known.",
			[]string{"peer", "volume"}, eachPeerDevice(func(peer string, v drbd.PeerDevice, emit func(float64, ...string)) {
				if v.ETA >= 0 {
					emit(v.ETA.Seconds(), peer, itoa(v.Volume))
				}
			})),
		gauge("drbd_sync_stalled", "Whether a resync has made no progress for minutes.", []string{"peer", "volume"},
			eachPeerDevice(func(peer string, v drbd.PeerDevice, emit func(float64, ...string)) {
				emit(number(v.Stalled), peer, itoa(v.Volume))
			})),
		gauge("drbd_out_of_sync_bytes", "Data that differs from the peer's; absent when not known.",
			[]string{"peer", "volume"}, eachPeerDevice(func(peer string, v drbd.PeerDevice, emit func(float64, ...string)) {
				if v.Stats != nil {
					emit(float64(v.Stats.OutOfSyncBytes), peer, itoa(v.Volume))
				}
			})),
		gauge("drbd_helper_seconds",
			"Duration of the last helper call of DRBD that ended; a slow fence-peer delays every promotion.", []string{"helper"},
			withDrbd(func(r drbd.Resource, emit func(float64, ...string)) {
				for _, h := range helpers(r) {
					if !h.Running && h.Duration > 0 {
						emit(h.Duration.Seconds(), h.Name)
					}
				}
			})),
		gauge("drbd_helper_exit_code", "Exit code of the last helper call of DRBD.", []string{"helper"},
			withDrbd(func(r drbd.Resource, emit func(float64, ...string)) {
				for _, h := range helpers(r) {
					if h.ExitCode >= 0 {
						emit(float64(h.ExitCode), h.Name)
					}
				}
			})),
		gauge("postgres_state", "Answer of the local PostgreSQL server. On a DRBD Secondary, refused is healthy.",
			[]string{"state"}, func(s *view, emit func(float64, ...string)) {
				for _, state := range pg.States {
					current := s.Postgres.State
					if current == "" {
						current = pg.StateUnknown
					}
					emit(number(state == current), string(state))
				}
			}),
		gauge("filesystem_size_bytes", "Size of a filesystem of the database; absent when it is not mounted here.",
			[]string{"mountpoint"}, eachFilesystem(func(m status.MountDoc, emit func(float64, ...string)) {
				emit(float64(m.Size), m.Point)
			})),
		gauge("filesystem_free_bytes", "What is free of a filesystem of the database, for others than root.",
			[]string{"mountpoint"}, eachFilesystem(func(m status.MountDoc, emit func(float64, ...string)) {
				emit(float64(m.Free), m.Point)
			})),
		gauge("filesystem_free_inodes",
			"Inodes that are free in a filesystem of the database; absent when it has no fixed number of them.",
			[]string{"mountpoint"}, eachFilesystem(func(m status.MountDoc, emit func(float64, ...string)) {
				if m.Inodes != nil {
					emit(float64(*m.Inodes), m.Point)
				}
			})),
		gauge("filesystem_full_in_seconds",
			"When a filesystem of the database is full at the rate of the last ten minutes; absent when it does not fill.",
			[]string{"mountpoint"}, eachFilesystem(func(m status.MountDoc, emit func(float64, ...string)) {
				if m.FullIn > 0 {
					emit(m.FullIn, m.Point)
				}
			})),
		gauge("peer_up",
			"Whether the daemon of another node answered when it was last asked; absent for a node that only votes.",
			[]string{"node"}, func(s *view, emit func(float64, ...string)) {
				f := explain.Facts{Node: s.Config.Node.Name, Clone: s.Config.Cluster.Promotable, Own: s.judged(), Cluster: s.Crm}
				for _, p := range s.Peers {
					if !explain.OnlyVotes(f, p.Node) {
						emit(number(p.Doc != nil), p.Node)
					}
				}
			}),
		gauge("clients", "Whether clients can write through the name, as both nodes see it; unknown while the agent stalls.",
			[]string{"state"}, func(s *view, emit func(float64, ...string)) {
				state := status.ClientsUnknown
				if now()-s.At < fsm.StallBound {
					state = s.judged().Judgment.Database.State
				}
				for _, is := range status.ClientsStates {
					emit(number(is == state), string(is))
				}
			}),
		gauge("verdict", "The judgment of explain in a word.", []string{"verdict"},
			func(s *view, emit func(float64, ...string)) {
				verdict := s.judged().Judgment.Verdict
				for _, is := range status.Verdicts {
					emit(number(is == verdict), string(is))
				}
			}),
		gauge("failover_possible", "Whether the database would fail over now if its node failed; absent when that is not "+
			"known.", nil,
			func(s *view, emit func(float64, ...string)) {
				if p := s.judged().Judgment.Failover.Possible; p != nil {
					emit(number(*p))
				}
			}),
		gauge("failover_reason", "Whether this reason forbids a failover, or may.", []string{"reason"},
			func(s *view, emit func(float64, ...string)) {
				reasons := s.judged().Judgment.Failover.Reasons
				for _, code := range explain.ReasonCodes {
					emit(number(slices.ContainsFunc(reasons, func(f status.Finding) bool { return f.Code == code })), code)
				}
			}),
		gauge("postgres_start_time_seconds", "When the local PostgreSQL server started; absent unless it answers.", nil,
			func(s *view, emit func(float64, ...string)) {
				if !s.Postgres.Started.IsZero() {
					emit(float64(s.Postgres.Started.UnixMilli()) / 1e3)
				}
			}),
		gauge("postgres_flush_stall_seconds",
			"For how long WAL of the local PostgreSQL server has not reached the disk, so that commits hang; 0 when it does, "+
				"absent unless the server answers.", nil, func(s *view, emit func(float64, ...string)) {
				if s.Postgres.LSN > 0 {
					emit(s.Postgres.FlushStall.Seconds())
				}
			}),
		gauge("postgres_sync_wait_seconds",
			"For how long a commit on the local PostgreSQL server has waited for a synchronous standby, so that commits hang; "+
				"0 when none does, or only briefly; absent unless the server answers.", nil,
			func(s *view, emit func(float64, ...string)) {
				if s.Postgres.LSN > 0 {
					emit(s.Postgres.SyncWait.Seconds())
				}
			}),
		gauge("postgres_timeline", "Timeline of the local PostgreSQL server; absent unless it answers.", nil,
			func(s *view, emit func(float64, ...string)) {
				if s.Postgres.Timeline > 0 {
					emit(float64(s.Postgres.Timeline))
				}
			}),
		gauge("postgres_replication_lag_bytes",
			"How far an additional streaming standby is behind; absent when there are none.", []string{"replica", "position"},
			func(s *view, emit func(float64, ...string)) {
				for _, r := range s.Postgres.Replicas {
					for position, lag := range map[string]int64{"sent": r.SentLagBytes, "write": r.WriteLagBytes,
						"flush": r.FlushLagBytes, "replay": r.ReplayLagBytes} {
						if lag >= 0 {
							emit(float64(lag), r.Name, position)
						}
					}
				}
			}),
		gauge("postgres_replication_lag_seconds",
			"Time lag of an additional streaming standby; absent when there are none or it is idle.",
			[]string{"replica", "position"}, func(s *view, emit func(float64, ...string)) {
				for _, r := range s.Postgres.Replicas {
					for position, lag := range map[string]float64{"write": r.WriteLag.Seconds(), "flush": r.FlushLag.Seconds(),
						"replay": r.ReplayLag.Seconds()} {
						if lag >= 0 {
							emit(lag, r.Name, position)
						}
					}
				}
			}),
		gauge("postgres_slot_active", "Whether a replication slot is in use.", []string{"slot"},
			func(s *view, emit func(float64, ...string)) {
				for _, slot := range s.Postgres.Slots {
					emit(number(slot.Active), slot.Name)
				}
			}),
		gauge("postgres_slot_retained_bytes", "WAL that a replication slot keeps back.", []string{"slot"},
			func(s *view, emit func(float64, ...string)) {
				for _, slot := range s.Postgres.Slots {
					if slot.RetainedBytes >= 0 {
						emit(float64(slot.RetainedBytes), slot.Name)
					}
				}
			}),
	}
}
