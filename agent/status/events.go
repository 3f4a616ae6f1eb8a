package status

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pgha/pgha-agent/agent/state"
	"github.com/pgha/pgha-agent/crm"
)

// daemonClients are Pacemaker's own daemons: what they change in the configuration is nobody's action.
var daemonClients = []string{"", "crmd", "attrd", "pacemaker-controld", "pacemaker-attrd", "pacemaker-execd",
	"stonith-ng",
	"pacemaker-fenced"}

// Events tells what has happened between two snapshots of one process that no episode tells: what failed, what was
// restarted, what people did, and when clients were cut off. It changes neither.
func Events(before, after *Snapshot) (list []state.Event) {
	add := func(kind state.EventKind, at time.Time, format string, args ...any) {
		if at.IsZero() || at.After(after.Wall) {
			at = after.Wall
		}
		list = append(list, state.Event{At: at, Kind: kind, Text: fmt.Sprintf(format, args...)})
	}
	if before.Crm != nil && after.Crm != nil && before.Crm != after.Crm {
		clusterEvents(before.Crm, after.Crm, add)
	}
	b, a := &before.State, &after.State
	switch {
	case a.ClientDown && !b.ClientDown && a.ClientDownSince != 0:
		add(state.EventCutOff, after.WallOf(a.ClientDownSince), "a client of the name is cut off: %s", after.ClientProbe.Err)
	case !a.ClientDown && b.ClientDown && after.ClientOutage != before.ClientOutage:
		add(state.EventServed, after.WallOf(after.ClientOutage.To), "a client of the name is served again after %s",
			Ago(after.ClientOutage.Length()))
	}
	if !after.Postgres.Started.IsZero() && !before.LastStarted.IsZero() &&
		!after.Postgres.Started.Equal(before.LastStarted) {
		add(state.EventRestarted, after.Postgres.Started, "PostgreSQL was started anew (before: %s)",
			before.LastStarted.UTC().Format(time.DateTime))
	}
	switch {
	case a.Wait.PausedUntil > after.At && b.Wait.PausedUntil != a.Wait.PausedUntil:
		add(state.EventPaused, time.Time{}, "publication is paused until %s",
			after.WallOf(a.Wait.PausedUntil).UTC().Format(time.DateTime))
	case b.Wait.PausedUntil > after.At && a.Wait.PausedUntil <= after.At:
		add(state.EventPaused, time.Time{}, "the pause was ended")
	}
	if a.Repair.GivenUp && !b.Repair.GivenUp {
		add(state.EventRecord, time.Time{}, "the record was changed again after it was written again: it is left alone")
	}
	if a.Promotion.Contested && !b.Promotion.Contested {
		add(state.EventRecord, time.Time{}, "%s claimed the record after this node had", OrDash(a.Zone.Owner))
	}
	if n := after.Drbd.Hangs; n > before.Drbd.Hangs {
		add(state.EventGap, after.Drbd.Hung, "a drbdsetup gave no sign of life and was replaced: news of DRBD came late")
	}
	// A wall clock that time.Now has read also holds the monotonic one, which a step leaves alone.
	step := after.Wall.Round(0).Sub(before.Wall.Round(0)) - (after.At - before.At)
	if step.Abs() > clockStep && before.At != 0 {
		add(state.EventClock, time.Time{}, "the clock was set %s by %s", direction(step), Ago(step.Abs()))
	}
	if a.Wait.StalledAt != b.Wait.StalledAt {
		add(state.EventGap, time.Time{}, "the agent stood still; what happened meanwhile it learned late")
	}
	return list
}

// clockStep is how far the wall clock may move against the one that counts from boot between two snapshots, which are
// a second apart: time servers turn a clock slowly.
const clockStep = 2 * time.Second

func direction(step time.Duration) string {
	if step < 0 {
		return "back"
	}
	return "forward"
}

// clusterEvents tells what two looks at the cluster show.
func clusterEvents(before, after *crm.Status, add func(state.EventKind, time.Time, string, ...any)) {
	for _, f := range after.Failures {
		if !slices.Contains(before.Failures, f) {
			why := f.ExitReason
			if why == "" {
				why = f.ExitStatus
			}
			add(state.EventFailed, f.At, "%s of %s failed on %s: %s", f.Task, f.Resource, f.Node, OrDash(why))
		}
	}
	for _, f := range before.Failures {
		same := func(g crm.Failure) bool { return g.Node == f.Node && g.Resource == f.Resource }
		if f.Resource != "" && inCluster(after, f.Node) && !slices.ContainsFunc(after.Failures, same) {
			add(state.EventCluster, time.Time{}, "the failed %s of %s on %s was cleaned up, or has expired", f.Task, f.Resource,
				f.Node)
		}
	}
	for _, h := range erased(before, after) {
		add(state.EventCluster, time.Time{}, "Pacemaker's history of %s on %s was erased by a cleanup or a refresh",
			h.resource, h.node)
	}
	for _, a := range scoresGone(before, after) {
		add(state.EventCluster, time.Time{}, "the promotion score %s of %s is gone: Pacemaker promotes no node without "+
			"one, and "+
			"may demote it. When the scores of all nodes go at once, pacemaker-attrd was restarted", a.Name, a.Node)
	}
	for _, e := range after.FenceEvents {
		if e.Status != "pending" && !slices.Contains(before.FenceEvents, e) && len(before.FenceEvents) > 0 {
			add(state.EventFenced, e.Completed, "fencing (%s) of %s: %s, by %s for %s", e.Action, e.Target, OrDash(e.Status),
				OrDash(e.Delegate),
				OrDash(e.Client))
		}
	}
	if c := after.ChangedBy; !after.LastChange.Equal(before.LastChange) && !slices.Contains(daemonClients, c.Client) {
		add(state.EventChanged, after.LastChange, "the cluster's configuration was changed by %s with %s on %s",
			OrDash(c.User), c.Client, OrDash(c.Origin))
	}
	if before.MaintenanceMode != after.MaintenanceMode && after.MaintenanceMode != crm.Unknown {
		add(state.EventCluster, time.Time{}, "maintenance mode of the cluster is %s", onOff(after.MaintenanceMode))
	}
	for _, n := range after.Nodes {
		was, known := before.Node(n.Name)
		if !known {
			continue
		}
		for _, flag := range []struct {
			name     string
			was, now crm.Tri
		}{{"in the cluster", was.Online, n.Online}, {"in standby", was.Standby, n.Standby}, {"in maintenance",
			was.Maintenance,
			n.Maintenance}, {"unclean", was.Unclean, n.Unclean}} {
			if flag.was != flag.now && flag.now != crm.Unknown && flag.was != crm.Unknown {
				word := "is"
				if flag.now == crm.No {
					word = "is not"
				}
				add(state.EventCluster, time.Time{}, "%s %s %s", n.Name, word, flag.name)
			}
		}
	}
}

func inCluster(st *crm.Status, node string) bool {
	n, known := st.Node(node)
	return known && n.Online == crm.Yes
}

type historyOf struct{ node, resource string }

// erased lists the histories that a cleanup has erased: of what was done before nothing is left, or a probe alone.
func erased(before, after *crm.Status) (list []historyOf) {
	if after.Operations == nil {
		return nil
	}
	left := map[historyOf]bool{}
	for _, op := range after.Operations {
		if op.Task != "monitor" || op.Interval != 0 {
			left[historyOf{op.Node, op.Resource}] = true
		}
	}
	for _, op := range before.Operations {
		h := historyOf{op.Node, op.Resource}
		did := op.Task != "monitor" || op.Interval != 0
		if did && !left[h] && inCluster(before, h.node) && inCluster(after, h.node) && !slices.Contains(list, h) {
			list = append(list, h)
		}
	}
	return list
}

// scoresGone lists the promotion scores that are not there any more although their resource runs. A resource agent
// takes its own away when it stops.
func scoresGone(before, after *crm.Status) (list []crm.Attribute) {
	if !after.ShowsAttributes() {
		return nil
	}
	for _, a := range before.Attributes {
		resource, isScore := strings.CutPrefix(a.Name, "master-")
		resource, _, _ = strings.Cut(resource, ":")
		runs := slices.ContainsFunc(after.Resources, func(r crm.Resource) bool {
			id, _, _ := strings.Cut(r.ID, ":")
			return id == resource && r.Node == a.Node && (r.Role == crm.RolePromoted || r.Role == crm.RoleUnpromoted)
		})
		same := func(b crm.Attribute) bool { return b.Node == a.Node && b.Name == a.Name }
		if isScore && runs && inCluster(after, a.Node) && !slices.ContainsFunc(after.Attributes, same) {
			list = append(list, a)
		}
	}
	return list
}

func onOff(t crm.Tri) string { return map[crm.Tri]string{crm.Yes: "on", crm.No: "off"}[t] }
