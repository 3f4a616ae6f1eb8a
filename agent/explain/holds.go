package explain

import (
	"fmt"
	"slices"
	"time"

	"github.com/pgha/pgha-agent/agent/fsm"
	"github.com/pgha/pgha-agent/agent/status"
)

// advice is a hold with its name, and what is known here: the waiting, the next step and the command may be more exact
// than the table's.
type advice struct {
	name string
	status.Hold
}

// adviceFor returns the place of a hold in the order of what to fix first, and its advice. One that only a newer daemon
// knows comes after the faults that are known.
func (e *explainer) adviceFor(h status.HoldDoc) (int, advice) {
	i, known := status.FindHold(h.Name)
	if !known {
		i, _ = status.FindHold(fsm.HoldMaintenance.String())
		return i, advice{h.Name, status.Hold{WaitsFor: "the end of hold " + h.Name, Next: "See: " + h.Text + "."}}
	}
	a := advice{h.Name, status.Holds[i]}
	switch {
	case a.Is == fsm.HoldMaintenance && e.Cluster != nil && isTrue(e.Cluster.Maintenance):
		a.Next, a.Command = "End maintenance when the work is done.", "crm_attribute --name maintenance-mode --delete"
	case a.Is == fsm.HoldNodeStandby:
		a.Command = (&target{judge: e.judge, node: e.Node}).endStandby()
	case a.Is == fsm.HoldIdentityUnknown:
		a.Next, a.Command = e.promoteAnew()
	case a.Is == fsm.HoldDrbdNotUpToDate:
		for _, f := range e.judge.server(e.Node) {
			if f.Code == "disk_lost" {
				a.Next, a.Command = Sentence(f.Text)+" "+Sentence(f.Remedy), f.Commands[0]
			}
		}
	case a.Is == fsm.HoldCrmUnknown && e.judge.stoppedHere():
		a.Next, a.Command = startStep, startPacemaker
	case a.Is == fsm.HoldCrmUnknown && e.slowCrm():
		a.WaitsFor, a.Next, a.Command = "a faster answer of crm_mon", slowCrmStep[0], slowCrmStep[1]
	case a.Is == fsm.HoldPeerUnfenced && e.found("fence_history", status.Warning):
		a.WaitsFor, a.Next = "a fencing history that can be read", "See why the fencing history cannot be read here."
		a.Command = "runuser -u pgha -- stonith_admin --history '*'"
	}
	return i, a
}

// Rescue is the command that moves the database away from what is wrong where it is: a planned move is refused there.
const Rescue = "pgha-agent switchover --rescue"

// promoteAnew tells how a promotion whose record was lost to another claim, or whose identity is not known, is followed
// by a new one. The other node takes the database, if it can. What forbids that forbids the command too, so it comes
// first.
func (e *explainer) promoteAnew() (next, command string) {
	f := e.judge.failover()
	forbids := slices.IndexFunc(f.Reasons, critical)
	switch {
	case e.Cluster == nil || !slices.Equal(e.Cluster.Promoted, []string{e.Node}):
		return "Compare on both nodes which one is promoted. If it is the other, all is well. If it is this one alone, " +
			"move the database once: `" + Rescue + "`.", "crm_mon -1"
	case forbids < 0:
		return "If the other node does not show itself as promoted, move the database once: that is a new promotion, which " +
			"claims the record anew.", Rescue
	}
	r := f.Reasons[forbids]
	next = fmt.Sprintf("%s The database has to move once, by `%s`, and %s cannot take it now.", Sentence(r.Text), Rescue,
		f.To)
	if r.Code == "node_offline" && len(e.judge.others()) == 1 {
		next += fmt.Sprintf(" If %s stays away: `crm_resource --restart --resource %s` stops the database and promotes it "+
			"anew here.", f.To, e.judge.cloneID())
	}
	next += " " + Sentence(r.Remedy)
	if len(r.Commands) > 0 {
		command = r.Commands[0]
	}
	return next, command
}

// apiNeedsPerson are reasons of the API that no retry fixes.
var apiNeedsPerson = []string{"denied", "credentials", "no_zone", "invalid"}

// passing reports whether a hold needs no person yet. The table says which holds a failover passes through; these
// exceptions need facts that the table does not have: what the API said, whether a source was ever asked, whether
// PostgreSQL recovers.
func (e *explainer) passing(a advice) bool {
	if a.Next == "" || a.Is.String() != a.name { // only a newer daemon knows it
		return false
	}
	switch a.Is {
	case fsm.HoldBackoff:
		// The next try is seconds away, and most refusals are over by then.
		return e.Publication.Attempts < 5 && !slices.Contains(apiNeedsPerson, e.Publication.LastFailure)
	case fsm.HoldStalled, fsm.HoldLostRace: // end by the clock
		return true
	case fsm.HoldPostgres:
		return e.recovering() || e.young()
	case fsm.HoldCrmUnknown:
		// A look that succeeded counts for less time than there is between two looks.
		crm := e.source("crm")
		return (e.neverAsked("crm") || e.young() || crm.Up && !crm.Stale) && !e.slowCrm()
	case fsm.HoldDrbdUnknown:
		return e.neverAsked("drbd") || e.young()
	case fsm.HoldRecordUnknown:
		return e.neverAsked("route53") || e.young() && e.source("route53").Error == ""
	}
	return a.Passes && e.young()
}

// found reports a finding of the daemon.
func (e *explainer) found(code, severity string) bool {
	return slices.ContainsFunc(e.Problems, func(p status.Problem) bool { return p.Code == code && p.Severity == severity })
}

// slowCrm reports a crm_mon that is too slow for any picture of the cluster to count.
func (e *explainer) slowCrm() bool { return e.found("crm_slow", status.Critical) }

// neverAsked reports a source that has neither answered nor failed: the daemon has just started.
func (e *explainer) neverAsked(name string) bool {
	s := e.source(name)
	return s.Age == nil && s.Failures == 0
}

// source is empty when the agent does not use it.
func (e *explainer) source(name string) status.SourceDoc {
	for _, s := range e.Sources {
		if s.Name == name {
			return s
		}
	}
	return status.SourceDoc{}
}

// young reports whether a failover is going on that began lately, as any of the nodes tells: the one that the database
// leaves has no episode. It goes by one clock: an episode and its document are of one node.
func (e *explainer) young() bool {
	return slices.ContainsFunc(append(e.judge.docs(), e.Doc), func(d *status.Doc) bool {
		ep := d.Episode
		return ep != nil && ep.Outcome == "open" && d.Time.Sub(ep.Start) < patience
	})
}

// holdsInOrder sorts the holds by what to fix first; what passes by itself is last. The second result is the advice of
// the first. The daemon lists the holds in the order in which it looks at conditions, which says nothing of causes:
// many of them are consequences of one fault, and a person has time for one.
func (e *explainer) holdsInOrder() ([]status.HoldDoc, advice) {
	rank := func(h status.HoldDoc) int {
		i, a := e.adviceFor(h)
		if e.passing(a) {
			i += 1000
		}
		return i
	}
	holds := slices.Clone(e.Publication.Holds)
	slices.SortStableFunc(holds, func(a, b status.HoldDoc) int { return rank(a) - rank(b) })
	if len(holds) == 0 {
		return []status.HoldDoc{}, advice{"", status.Hold{WaitsFor: "the write, any moment now"}}
	}
	_, first := e.adviceFor(holds[0])
	return holds, first
}

// since says how long a failover has been going on, or nothing.
func (e *explainer) since() string {
	if ep := e.Episode; ep != nil && ep.Outcome == "open" {
		return " (the failover began " + status.Ago(e.Time.Sub(ep.Start).Round(time.Second)) + " ago)"
	}
	return ""
}

func isTrue(b *bool) bool { return b != nil && *b }

func isFalse(b *bool) bool { return b != nil && !*b }
