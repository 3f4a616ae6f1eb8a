package status

import (
	"strings"
	"testing"
	"time"

	"github.com/pgha/pgha-agent/agent/fsm"
	"github.com/pgha/pgha-agent/agent/state"
	"github.com/pgha/pgha-agent/crm"
	"github.com/pgha/pgha-agent/pg"
)

func TestEvents(t *testing.T) {
	wall := time.Date(2026, 11, 23, 5, 50, 0, 0, time.UTC)
	const at = time.Hour
	look := func(change func(*crm.Status)) *crm.Status {
		st := &crm.Status{LastChange: wall.Add(-time.Hour), MaintenanceMode: crm.No,
			Nodes:       []crm.Node{{Name: "pg-a", Online: crm.Yes, Standby: crm.No}},
			FenceEvents: []crm.FenceEvent{{Target: "pg-b", Action: "off", Status: "success", Completed: wall.Add(-time.Hour)}}}
		if change != nil {
			change(st)
		}
		return st
	}
	did := func(tasks ...string) func(*crm.Status) {
		return func(st *crm.Status) {
			st.Operations = []crm.Operation{}
			for _, task := range tasks {
				op := crm.Operation{Node: "pg-a", Resource: "drbd", Task: task, Interval: 10 * time.Second}
				if task == "probe" {
					op.Task = "monitor"
				}
				if task != "monitor" {
					op.Interval = 0
				}
				st.Operations = append(st.Operations, op)
			}
		}
	}
	scored := func(score string) func(*Snapshot) {
		return func(s *Snapshot) {
			s.Crm = look(func(st *crm.Status) {
				st.Resources = []crm.Resource{{ID: "drbd:0", Clone: "drbd-clone", Node: "pg-a", Role: crm.RolePromoted}}
				st.Attributes = []crm.Attribute{{Node: "pg-a", Name: "#health-disk", Value: "green"}}
				if score != "" {
					st.Attributes = append(st.Attributes, crm.Attribute{Node: "pg-a", Name: "master-drbd", Value: score})
				}
			})
		}
	}
	for name, c := range map[string]struct {
		before, after func(*Snapshot)
		kind          state.EventKind // "" for none
		text          string
		at            time.Time
	}{
		"nothing": {nil, nil, "", "", time.Time{}},
		"an operation fails": {nil, func(s *Snapshot) {
			s.Crm = look(func(st *crm.Status) {
				st.Failures = []crm.Failure{{Node: "pg-a", Resource: "pgsql", Task: "monitor", ExitReason: "not running", At: wall.Add(-time.Minute)}}
			})
		}, state.EventFailed, "monitor of pgsql failed on pg-a: not running", wall.Add(-time.Minute)},
		"it has failed before": {func(s *Snapshot) {
			s.Crm = look(func(st *crm.Status) { st.Failures = []crm.Failure{{Node: "pg-a", Resource: "pgsql"}} })
		}, func(s *Snapshot) {
			s.Crm = look(func(st *crm.Status) { st.Failures = []crm.Failure{{Node: "pg-a", Resource: "pgsql"}} })
		}, "", "", time.Time{}},
		"a fencing": {nil, func(s *Snapshot) {
			s.Crm = look(func(st *crm.Status) {
				st.FenceEvents = append([]crm.FenceEvent{{Target: "pg-a", Action: "off", Status: "failed", Delegate: "pg-b"}}, st.FenceEvents...)
			})
		}, state.EventFenced, "fencing (off) of pg-a: failed, by pg-b", wall},
		"somebody bans": {nil, func(s *Snapshot) {
			s.Crm = look(func(st *crm.Status) {
				st.LastChange, st.ChangedBy = wall.Add(-time.Second), crm.Change{User: "root", Client: "crm_resource", Origin: "pg-a"}
			})
		}, state.EventChanged, "by root with crm_resource on pg-a", wall.Add(-time.Second)},
		"Pacemaker itself": {nil, func(s *Snapshot) {
			s.Crm = look(func(st *crm.Status) { st.LastChange, st.ChangedBy = wall, crm.Change{Client: "crmd"} })
		}, "", "", time.Time{}},
		"standby": {nil, func(s *Snapshot) { s.Crm = look(func(st *crm.Status) { st.Nodes[0].Standby = crm.Yes }) }, state.EventCluster,
			"pg-a is in standby", wall},
		"maintenance": {nil, func(s *Snapshot) { s.Crm = look(func(st *crm.Status) { st.MaintenanceMode = crm.Yes }) },
			state.EventCluster, "maintenance mode of the cluster is on", wall},
		"clients cut off": {nil, func(s *Snapshot) {
			s.State.ClientDown, s.State.ClientDownSince, s.ClientProbe.Err = true, at-2*time.Second, "refused"
		}, state.EventCutOff, "cut off: refused", wall.Add(-2 * time.Second)},
		"and served": {func(s *Snapshot) { s.State.ClientDown = true },
			func(s *Snapshot) { s.ClientOutage = fsm.Outage{From: at - 100*time.Second, To: at} },
			state.EventServed, "served again after 1 min 40 s", wall},
		"PostgreSQL restarted": {func(s *Snapshot) { s.LastStarted = wall.Add(-time.Hour) },
			func(s *Snapshot) { s.Postgres = pg.Health{Started: wall.Add(-time.Second)} }, state.EventRestarted, "started anew", wall.Add(-time.Second)},
		"the first answer": {nil, func(s *Snapshot) { s.Postgres = pg.Health{Started: wall} }, "", "", time.Time{}},
		"paused":           {nil, func(s *Snapshot) { s.State.Wait.PausedUntil = at + time.Hour }, state.EventPaused, "paused until", wall},
		"resumed":          {func(s *Snapshot) { s.State.Wait.PausedUntil = at + time.Hour }, nil, state.EventPaused, "ended", wall},
		"cleaned up": {func(s *Snapshot) {
			s.Crm = look(func(st *crm.Status) { st.Failures = []crm.Failure{{Node: "pg-a", Resource: "pgsql", Task: "monitor"}} })
		}, nil, state.EventCluster, "the failed monitor of pgsql on pg-a was cleaned up", wall},
		"it fails in another way": {func(s *Snapshot) {
			s.Crm = look(func(st *crm.Status) { st.Failures = []crm.Failure{{Node: "pg-a", Resource: "pgsql", Task: "monitor"}} })
		}, func(s *Snapshot) {
			s.Crm = look(func(st *crm.Status) { st.Failures = []crm.Failure{{Node: "pg-a", Resource: "pgsql", Task: "start"}} })
		}, state.EventFailed, "start of pgsql failed on pg-a", wall},
		"history erased": {func(s *Snapshot) { s.Crm = look(did("promote", "monitor")) },
			func(s *Snapshot) { s.Crm = look(did("probe")) }, state.EventCluster, "history of drbd on pg-a was erased", wall},
		"history of a restart": {func(s *Snapshot) { s.Crm = look(did("start", "monitor")) },
			func(s *Snapshot) { s.Crm = look(did("stop")) }, "", "", time.Time{}},
		"history of a node that left": {func(s *Snapshot) { s.Crm = look(did("promote")) }, func(s *Snapshot) {
			s.Crm = look(func(st *crm.Status) { st.Operations, st.Nodes[0].Online = []crm.Operation{}, crm.No })
		}, state.EventCluster, "pg-a is not in the cluster", wall},
		"a score goes":    {scored("10000"), scored(""), state.EventCluster, "the promotion score master-drbd of pg-a is gone", wall},
		"a score changes": {scored("10000"), scored("10"), "", "", time.Time{}},
		"a score goes with its instance": {scored("10000"), func(s *Snapshot) {
			s.Crm = look(func(st *crm.Status) { st.Attributes = []crm.Attribute{} })
		}, "", "", time.Time{}},
		"the last score goes": {scored("10000"), func(s *Snapshot) {
			scored("")(s)
			s.Crm.Attributes, s.Crm.Operations = nil, []crm.Operation{}
		}, state.EventCluster, "the promotion score master-drbd of pg-a is gone", wall},
		"a document without attributes": {scored("10000"), nil, "", "", time.Time{}},
		"drbdsetup hung": {nil, func(s *Snapshot) { s.Drbd.Hangs, s.Drbd.Hung = 1, wall.Add(-time.Second) }, state.EventGap,
			"a drbdsetup gave no sign of life", wall.Add(-time.Second)},
		"clock set back": {func(s *Snapshot) { s.Wall = wall.Add(time.Hour) }, nil, state.EventClock,
			"set back by 1 h 0 min", wall},
		"clock set forward": {func(s *Snapshot) { s.Wall = wall.Add(-time.Minute) }, nil, state.EventClock, "set forward by 59 s",
			wall},
		"stood still": {nil, func(s *Snapshot) { s.State.Wait.StalledAt = at }, state.EventGap, "stood still", wall},
		"the record is left alone": {nil, func(s *Snapshot) { s.State.Repair.GivenUp = true }, state.EventRecord,
			"it is left alone", wall},
		"another claim": {nil, func(s *Snapshot) { s.State.Promotion.Contested, s.State.Zone.Owner = true, "pg-b" }, state.EventRecord,
			"pg-b claimed the record after this node had", wall},
	} {
		before := &Snapshot{At: at - time.Second, Wall: wall.Add(-time.Second), Crm: look(nil)}
		after := &Snapshot{At: at, Wall: wall, Crm: look(nil)}
		if c.before != nil {
			c.before(before)
		}
		if c.after != nil {
			c.after(after)
		}
		list := Events(before, after)
		switch {
		case c.kind == "" && len(list) != 0, c.kind != "" && len(list) != 1:
			t.Errorf("%s: %+v", name, list)
		case c.kind != "" && (list[0].Kind != c.kind || !strings.Contains(list[0].Text, c.text) || !list[0].At.Equal(c.at)):
			t.Errorf("%s: %+v", name, list[0])
		}
	}
}
