package status

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pgha/pgha-agent/agent/config"
	"github.com/pgha/pgha-agent/agent/fsm"
	"github.com/pgha/pgha-agent/agent/mounts"
	"github.com/pgha/pgha-agent/agent/state"
	"github.com/pgha/pgha-agent/crm"
	"github.com/pgha/pgha-agent/drbd"
)

var storyWall = time.Date(2026, 11, 23, 5, 50, 0, 0, time.UTC)

// healthy is a snapshot of pg-a, where all is well, so long after the story has begun.
func healthy(after time.Duration) *Snapshot {
	peer := drbd.PeerDevice{Replication: drbd.ReplEstablished, PeerDisk: drbd.DiskUpToDate, Stats: &drbd.PeerDeviceStats{}}
	res := drbd.Resource{Name: "pg", Role: drbd.RolePrimary, SuspendedKnown: true,
		Devices:     []drbd.Device{{Disk: drbd.DiskUpToDate}},
		Connections: []drbd.Connection{{Name: "pg-b", State: drbd.ConnConnected, Volumes: []drbd.PeerDevice{peer}}}}
	s := &Snapshot{At: time.Hour + after, Wall: storyWall.Add(after),
		Config: &config.Config{Node: config.Node{Name: "pg-a"}, Drbd: config.Drbd{Resource: "pg"}},
		Drbd:   drbd.Report{Live: true, Status: drbd.Status{Resources: []drbd.Resource{res}}},
		Crm: &crm.Status{
			Nodes:   []crm.Node{{Name: "pg-a", Online: crm.Yes}, {Name: "pg-b", Online: crm.Yes, Health: "green"}},
			Tickets: []crm.Ticket{{ID: "T", Status: "granted"}},
		},
		Configuration: &crm.Configuration{Properties: map[string]string{},
			Transient: map[string]map[string]string{"pg-a": {}, "pg-b": {}}},
		Peers: []Peer{{Node: "pg-b", Doc: &Doc{Node: "pg-b", Drbd: &drbd.DumpResource{Role: drbd.RoleSecondary,
			Suspended: []string{}}, Mounts: []MountDoc{}}}},
		Mounts: []mounts.Filesystem{{Point: "/srv/pg", OnDrbd: true, Size: 1 << 40, Free: 1 << 30}},
	}
	s.MountsAt = s.At
	s.Sources[SourceCrm].Up = true
	return s
}

func (s *Snapshot) res() *drbd.Resource { return &s.Drbd.Status.Resources[0] }

func (s *Snapshot) link() *drbd.Connection { return &s.res().Connections[0] }

func (s *Snapshot) copy() *drbd.PeerDevice { return &s.link().Volumes[0] }

func texts(list []state.Event) (lines []string) {
	for _, e := range list {
		lines = append(lines, fmt.Sprintf("%s %s %s", e.At.Format("05"), e.Kind, e.Text))
	}
	return lines
}

// TestStory: what begins is told once, as of when it began, and so is its end.
func TestStory(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*Snapshot)
		want   []string // after 60 s with it, and 60 s without
	}{
		"nothing":           {func(*Snapshot) {}, nil},
		"DRBD is not known": {func(s *Snapshot) { s.Drbd = drbd.Report{} }, nil},
		"disconnected": {func(s *Snapshot) { s.link().State, s.copy().PeerDisk = drbd.ConnConnecting, drbd.DiskDUnknown },
			[]string{"10 drbd DRBD connection to pg-b lost (Connecting)", "10 drbd DRBD is connected to pg-b again after 1 min 0 s"}},
		"the first word of why": {func(s *Snapshot) {
			s.link().State = drbd.ConnConnecting
			s.State.Drbd = fsm.Drbd{Connections: [fsm.MaxConnections]fsm.Connection{{Name: "pg-b", DisconnectReason: "NetworkFailure"}}}
		}, []string{"10 drbd DRBD connection to pg-b lost (NetworkFailure)", "10 drbd DRBD is connected to pg-b again after 1 min 0 s"}},
		"given up by DRBD 8.4": {func(s *Snapshot) {
			s.Drbd.Dialect, s.res().Connections = "8.4", nil
			s.State.Cluster = fsm.Cluster{PeerCount: 1, Peers: [fsm.MaxPeers]fsm.Peer{{Name: "pg-b"}}}
		}, []string{"10 drbd DRBD connection to pg-b lost (given up)", "10 drbd DRBD is connected to pg-b again after 1 min 0 s"}},
		"stopped": {func(s *Snapshot) { s.Drbd.Status.Resources = nil },
			[]string{"10 drbd DRBD is stopped on pg-a", "10 drbd DRBD runs again on pg-a after 1 min 0 s"}},
		"split brain": {func(s *Snapshot) {
			s.State.Drbd.Connections[0] = fsm.Connection{Name: "pg-b", SplitBrain: true}
		},
			[]string{"10 drbd split brain between pg-a and pg-b", "10 drbd the split brain between pg-a and pg-b has ended after 1 min 0 s"}},
		"diskless": {func(s *Snapshot) { s.res().Devices[0].Disk = drbd.DiskDiskless },
			[]string{"10 drbd disk of pg-a: Diskless", "10 drbd disk of pg-a is there again after 1 min 0 s"}},
		"diskless on purpose": {func(s *Snapshot) {
			s.res().Devices[0].Disk, s.res().Devices[0].Client = drbd.DiskDiskless, drbd.Yes
		}, nil},
		"the peer's disk": {func(s *Snapshot) { s.copy().PeerDisk = drbd.DiskFailed },
			[]string{"10 drbd disk of pg-b: Failed", "10 drbd disk of pg-b is there again after 1 min 0 s"}},
		"a resync": {func(s *Snapshot) {
			s.copy().Replication, s.copy().Stats.OutOfSyncBytes = drbd.ReplSyncSource, 1288490189
		}, []string{"10 drbd resync of pg-b begun: 1.2 GiB", "10 drbd a resync with pg-b has ended after 1 min 0 s"}},
		"a resync here": {func(s *Snapshot) { s.copy().Replication, s.copy().Stats = drbd.ReplSyncTarget, nil },
			[]string{"10 drbd resync of pg-a begun", "10 drbd a resync with pg-b has ended after 1 min 0 s"}},
		"a verify": {func(s *Snapshot) { s.copy().Replication, s.copy().Stats.OutOfSyncBytes = drbd.ReplVerifyS, 1<<20 },
			[]string{"10 drbd verify with pg-b begun", "10 drbd the verify with pg-b has ended after 1 min 0 s"}},
		"out of sync": {func(s *Snapshot) { s.copy().Stats.OutOfSyncBytes = 64 << 10 }, []string{
			"10 drbd blocks out of sync found between pg-a and pg-b: 64 KiB",
			"10 drbd no blocks are out of sync any more between pg-a and pg-b after 1 min 0 s"}},
		"out of sync, as both know": {func(s *Snapshot) {
			s.copy().Stats.OutOfSyncBytes = 64 << 10
			s.Peers[0].Doc.Drbd.Connections = []drbd.DumpConnection{{Name: "pg-a", PeerDevices: []drbd.DumpPeerDevice{
				{Replication: drbd.ReplEstablished, OutOfSyncBytes: new(uint64(64 << 10))}}}}
		}, []string{"10 drbd blocks out of sync found between pg-a and pg-b: 64 KiB",
			"10 drbd no blocks are out of sync any more between pg-a and pg-b after 1 min 0 s"}},
		"DRBD 8.4 gives up for a split brain": {func(s *Snapshot) {
			s.Drbd.Dialect, s.res().Connections, s.State.Drbd.SplitBrain = "8.4", nil, true
			s.State.Cluster = fsm.Cluster{PeerCount: 1, Peers: [fsm.MaxPeers]fsm.Peer{{Name: "pg-b"}}}
		}, []string{"10 drbd DRBD connection to pg-b lost (given up)", "10 drbd split brain between pg-a and pg-b",
			"10 drbd DRBD is connected to pg-b again after 1 min 0 s",
			"10 drbd the split brain between pg-a and pg-b has ended after 1 min 0 s"}},
		"Pacemaker does not answer": {func(s *Snapshot) {
			s.Sources[SourceCrm] = SourceState{Failures: 1, Err: "timeout"}
		}, []string{"10 gap Pacemaker does not answer the agent: timeout", "10 gap Pacemaker answers the agent again after 1 min 0 s"}},
		"a restart of Pacemaker": {func(s *Snapshot) {
			if s.At < time.Hour+20*time.Second {
				s.Sources[SourceCrm] = SourceState{Failures: 1, Err: "timeout"}
			}
		}, nil},
		"no source was asked yet": {func(s *Snapshot) { s.Sources = [NumSources]SourceState{} }, nil},
		"suspended": {func(s *Snapshot) { s.res().Suspended = []string{"user"} },
			[]string{"10 drbd DRBD suspended I/O on pg-a (user)", "10 drbd DRBD's I/O runs again on pg-a after 1 min 0 s"}},
		"suspended there": {func(s *Snapshot) { s.Peers[0].Doc.Drbd.Suspended = []string{"user"} },
			[]string{"10 drbd DRBD suspended I/O on pg-b (user)", "10 drbd DRBD's I/O runs again on pg-b after 1 min 0 s"}},
		"DRBD's quorum": {func(s *Snapshot) { s.res().Devices[0].Quorum = drbd.No },
			[]string{"10 drbd DRBD has lost its quorum on pg-a", "10 drbd DRBD has its quorum again on pg-a after 1 min 0 s"}},
		"another PostgreSQL": {func(s *Snapshot) { s.Peers[0].Doc.Postgres.Foreign = true }, []string{
			"10 host a PostgreSQL outside of Pacemaker runs on pg-b",
			"10 host the PostgreSQL outside of Pacemaker on pg-b is gone after 1 min 0 s"}},
		"another mount": {func(s *Snapshot) {
			s.Peers[0].Doc.Mounts = []MountDoc{{Point: "/srv/pg", Source: "tmpfs", Wanted: true}}
		}, []string{"10 host tmpfs is mounted at /srv/pg on pg-b, where the database's filesystem belongs",
			"10 host /srv/pg on pg-b is free again after 1 min 0 s"}},
		"full": {func(s *Snapshot) { s.Mounts[0].Free = 0 }, []string{
			"10 host filesystem /srv/pg is full on pg-a: 0 KiB free", "10 host filesystem /srv/pg on pg-a has space again after 1 min 0 s"}},
		"no inode": {func(s *Snapshot) { s.Mounts[0].Inodes = 100 }, []string{
			"10 host filesystem /srv/pg is full on pg-a: no inode free", "10 host filesystem /srv/pg on pg-a has space again after 1 min 0 s"}},
		"no agent": {func(s *Snapshot) { s.Peers = []Peer{{Node: "pg-b", Err: "refused"}} }, []string{
			"10 peer the agent of pg-b does not answer: refused", "10 peer the agent of pg-b answers again after 1 min 0 s"}},
		"no node": {func(s *Snapshot) { s.Peers, s.Crm.Nodes[1].Online = []Peer{{Node: "pg-b", Err: "refused"}}, crm.No }, nil},
		"paused": {func(s *Snapshot) { s.Peers[0].Doc.Publication.PausedUntil = new(storyWall.Add(time.Hour)) }, []string{
			"10 peer publication on pg-b is paused until 2026-11-23 06:50:00", "10 peer the pause of pg-b has ended after 1 min 0 s"}},
		"the peer's record": {func(s *Snapshot) {
			s.Peers[0].Doc.Record = RecordDoc{OwnAddr: "10.0.1.10", Addr: "10.9.9.9", Drift: true}
		}, []string{"10 record the record was changed by somebody else: 10.0.1.10 to 10.9.9.9",
			"10 record the record is right again after 1 min 0 s"}},
		"it is no simple record": {func(s *Snapshot) {
			s.Peers[0].Doc.Record = RecordDoc{OwnAddr: "10.0.1.10", Drift: true}
			s.Peers[0].Doc.Problems = []Problem{driftProblem(&fsm.State{Zone: fsm.Zone{Refused: true}})}
		}, []string{"10 record the record was changed by somebody else: what stands under the name is not a simple record, and is " +
			"never overwritten", "10 record the record is right again after 1 min 0 s"}},
		"health": {func(s *Snapshot) { s.Crm.Nodes[1].Health = "red" },
			[]string{"10 cluster health of pg-b: red", "10 cluster health of pg-b: green again after 1 min 0 s"}},
		"health, and why": {func(s *Snapshot) {
			s.Crm.Nodes[1].Health = "yellow"
			s.Configuration.Transient["pg-b"]["#health-disk"] = "yellow"
		}, []string{"10 cluster health of pg-b: yellow (#health-disk is yellow)", "10 cluster health of pg-b: green again after 1 min 0 s"}},
		"a fail count": {func(s *Snapshot) {
			s.Configuration = &crm.Configuration{Transient: map[string]map[string]string{"pg-b": {"fail-count-pgsql#start_0": "INFINITY"}}}
		}, []string{"10 cluster fail count of pgsql on pg-b: INFINITY, so it may not run there",
			"10 cluster fail count of pgsql on pg-b is cleared after 1 min 0 s"}},
		"it may fail": {func(s *Snapshot) {
			s.Configuration = &crm.Configuration{Transient: map[string]map[string]string{"pg-b": {"fail-count-pgsql#start_0": "1"}}}
		}, nil},
		"a ticket": {func(s *Snapshot) { s.Crm.Tickets[0].Status = "revoked" },
			[]string{"10 cluster ticket T is revoked", "10 cluster ticket T is granted after 1 min 0 s"}},
		"a ticket in standby": {func(s *Snapshot) { s.Crm.Tickets[0].Standby = crm.Yes },
			[]string{"10 cluster ticket T is in standby", "10 cluster ticket T is granted after 1 min 0 s"}},
		"the configuration": {func(s *Snapshot) {
			s.Configuration = &crm.Configuration{Properties: map[string]string{"a": "1", "b": "2", "c": "3", "d": "4", "maintenance-mode": "true"},
				Transient: s.Configuration.Transient}
		}, []string{"10 changed configuration: property a is new: 1; property b is new: 2; property c is new: 3; and 1 more",
			"10 changed configuration: property a is gone, it was: 1; property b is gone, it was: 2; property c is gone, it was: 3; and 1 more"}},
		"what is told anyway": {func(s *Snapshot) {
			s.Configuration = &crm.Configuration{Properties: map[string]string{"maintenance-mode": "true"}, Transient: s.Configuration.Transient}
		}, nil},
	} {
		var story Story
		var list []state.Event
		for at := time.Duration(0); at < 3*time.Minute; at += 100 * time.Millisecond {
			s := healthy(at)
			if at >= 10*time.Second && at < 70*time.Second {
				c.change(s)
			}
			list = append(list, story.Next(s)...)
		}
		if diff := cmp.Diff(c.want, texts(list)); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", name, diff)
		}
		// Who begins with it tells only its end.
		story, list = Story{}, nil
		for at := time.Duration(0); at < 3*time.Minute; at += time.Second {
			s := healthy(at)
			if at < 70*time.Second {
				c.change(s)
			}
			list = append(list, story.Next(s)...)
		}
		if len(list) > max(1, len(c.want)/2) || c.want != nil && slices.ContainsFunc(list, func(e state.Event) bool {
			return e.At.Sub(storyWall) != 70*time.Second
		}) {
			t.Errorf("%s from the start: %q", name, texts(list))
		}
	}
}

// TestStoryOfWhatFlaps: what is over in a moment is not told, and what comes and goes for hours does not fill the file.
func TestStoryOfWhatFlaps(t *testing.T) {
	for name, c := range map[string]struct {
		every time.Duration
		most  int
	}{"too fast to tell": {time.Second, 0}, "all the time": {10 * time.Second, 20 + 6*20}} {
		var story Story
		var list []state.Event
		var configured []*crm.Configuration
		for n := range 2 {
			configured = append(configured, &crm.Configuration{Properties: map[string]string{"a": fmt.Sprint(n)}})
		}
		changes := 0
		for at := time.Duration(0); at < 6*time.Hour; at += time.Second {
			s := healthy(at)
			n := int(at/c.every) % 2
			s.Configuration = configured[n]
			if n == 1 {
				s.link().State = drbd.ConnConnecting
			}
			for _, e := range story.Next(s) {
				if e.Kind == state.EventChanged {
					changes++
				} else {
					list = append(list, e)
				}
			}
		}
		if len(list) > c.most || changes > 20+6*20 || c.most > 0 && (len(list) < 100 || changes < 100) {
			t.Errorf("%s: %d events, %d changes", name, len(list), changes)
		}
		if c.most > 0 && !strings.Contains(list[len(list)-1].Text, "it came and went") {
			t.Errorf("%s: %s", name, list[len(list)-1].Text)
		}
	}
}

// TestStoryOfTheRecord: an edit of this node's record is told also when it is mended at once; and once, whatever else is
// not known meanwhile.
func TestStoryOfTheRecord(t *testing.T) {
	var story Story
	at := time.Duration(0)
	next := func(zone fsm.Zone, promoted, known bool) []string {
		at += 100 * time.Millisecond
		s := healthy(at)
		s.State, _ = fsm.New(fsm.Config{Node: "pg-a", Addr: "10.0.1.10", Ownership: true}, 1, fsm.Episode{}, false).
			Step(s.At, fsm.ClusterPolled{Cluster: fsm.Cluster{OK: true}})
		s.State.Zone = zone
		if promoted {
			s.State.Cluster = fsm.Cluster{OK: known, PromotedHere: known}
			s.State.Drbd = fsm.Drbd{Live: known, Primary: known}
			s.State.Promotion = fsm.Promotion{Claim: "claim", Published: true}
		}
		return texts(story.Next(s))
	}
	good := fsm.Zone{OK: true, Addr: "10.0.1.10", Owner: "pg-a", Claim: "claim"}
	edited, deleted, claimed := good, good, good
	edited.Addr, deleted.Addr, claimed.Claim = "10.9.9.9", "", "other"
	const is = "00 record the record was "
	for _, c := range []struct {
		zone            fsm.Zone
		promoted, known bool
		want            string
	}{
		{good, true, true, ""},
		{edited, true, true, is + "changed by somebody else: 10.0.1.10 to 10.9.9.9"},
		{edited, true, true, ""},
		{edited, true, false, ""}, // Pacemaker and DRBD do not answer
		{edited, true, true, ""},
		{good, true, true, "00 record the record is right again: 10.0.1.10"},
		{deleted, true, true, is + "deleted by somebody else: it was 10.0.1.10"},
		{edited, true, true, is + "changed by somebody else: 10.0.1.10 to 10.9.9.9"},
		{edited, false, true, ""}, // demoted
		{good, true, true, ""},
		{claimed, true, true, "01 record the owner of the record was changed by somebody else"},
		{fsm.Zone{Refused: true}, true, true, "01 record the record was changed by somebody else: " + notSimple},
	} {
		if got := strings.Join(next(c.zone, c.promoted, c.known), "; "); got != c.want {
			t.Errorf("at %s: %q, want %q", at, got, c.want)
		}
	}
}

// TestStoryIsBounded: names that another node makes up do not fill the memory.
func TestStoryIsBounded(t *testing.T) {
	var story Story
	for n := range 2 * maxSubjects {
		s := healthy(time.Duration(n) * time.Second)
		s.Peers[0].Doc.Mounts = []MountDoc{{Point: fmt.Sprint("/", n), OnDrbd: true, Size: 1}}
		story.Next(s)
	}
	if len(story.lines) > maxSubjects {
		t.Errorf("%d subjects", len(story.lines))
	}
}
