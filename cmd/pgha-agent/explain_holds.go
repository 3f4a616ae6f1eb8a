package main

import (
	"slices"
	"time"

	"github.com/pgha/pgha-agent/agent"
)

// advice is what explain knows about a hold beyond its text and remedy, which the daemon sends.
type advice struct {
	name    string
	passes  bool   // of itself, in the course of a failover
	waits   string // for what
	next    string // the one next step when it does not pass
	command string
}

// holdAdvice is in the order of what to fix first: what endangers data, then Pacemaker, nodes and fencing, then DRBD and PostgreSQL, then the
// record. What a person has chosen comes after all faults, so that nobody ends a pause with a fault behind it. What only needs time is last.
var holdAdvice = []advice{
	{"split_brain", false, "a person who decides which side keeps its data", "Decide which side keeps its data: section Split brain of docs/operate.md. Look first, on both nodes:", "drbdsetup status --verbose"},
	{"many_promoted", true, "the end of one of the two promotions", "Before anything else find out which node has the data. Compare on both nodes:", "crm_mon -1"},
	{"crm_unknown", true, "an answer of crm_mon", "See whether Pacemaker runs here.", "systemctl status pacemaker"},
	{"node_offline", false, "Pacemaker to count this node as online", "Compare on both nodes:", "crm_mon -1"},
	{"node_unclean", false, "the cluster's decision about this node: it may be fenced", "See who fences whom.", "stonith_admin --history '*'"},
	{"peer_unclean", true, "the fencing of the other node", "Find out why the other node is not fenced, and mend the fence device.", "stonith_admin --history '*'"},
	{"peer_unfenced", true, "a successful fencing of the other node", "Find out why the other node is not fenced, and mend the fence device.", "stonith_admin --history '*'"},
	{"peer_unknown", false, "the cluster to show the other node", "See which nodes the cluster has.", "crm_mon -1"},
	{"drbd_unknown", true, "an answer of drbdsetup", "See whether DRBD answers at all.", "drbdsetup status"},
	{"drbd_not_primary", true, "DRBD to become Primary here", "See what DRBD says.", "drbdsetup status"},
	{"drbd_not_uptodate", false, "the local disk to be UpToDate", "See what DRBD says. The other node may have newer data.", "drbdsetup status"},
	{"drbd_no_quorum", true, "DRBD to have its quorum again", "See which DRBD nodes are away.", "drbdsetup status --verbose"},
	{"drbd_suspended", true, "DRBD to resume I/O", "See why DRBD suspends I/O; mostly a fence-peer handler that runs.", "drbdsetup status --verbose"},
	{"postgres_not_writable", true, "PostgreSQL to accept writes", "See the PostgreSQL log, and what failed.", "crm_mon -1rf"},
	{"address_unknown", false, "this node's own address", "Set node.address in the configuration, or enable instance metadata (IMDSv2), then reload.", "systemctl reload pgha-agent"},
	{"record_refused", false, "the foreign record under the name to go", "Remove that record from the zone by hand. What it is:", "journalctl -u pgha-agent -n 50"},
	{"record_unknown", true, "the first good read of the zone", "See why the zone cannot be read: network, credentials, permissions.", "journalctl -u pgha-agent -n 50"},
	{"identity_unknown", false, "a new promotion", "If this shows the same promoted node on both nodes, move the database once, as planned work: that is a new promotion.", "crm_mon -1"},
	{"contested", false, "a new promotion", "Compare on both nodes which one is promoted:", "crm_mon -1"},
	{"maintenance", false, "the end of maintenance", "End maintenance when the work is done. What is in maintenance:", "crm_mon -1"},
	{"node_standby", false, "the end of this node's standby", "End standby when this node should take part again.", "pcs node unstandby"},
	{"paused", false, "the end of the pause", "End the pause when the record may move.", "pgha-agent resume"},
	{"not_promoted", true, "Pacemaker to show this node as promoted", "See which node is promoted.", "crm_mon -1"},
	{"node_pending", true, "this node to finish joining the cluster", "See why it does not join.", "journalctl -u pacemaker -n 50"},
	{"promotion_pending", true, "an operation of Pacemaker that is in flight here", "See which operation does not end.", "crm_mon -1rf"},
	{"stalled", true, "the wait after a standstill to pass", "It repeats: the machine is overloaded, or is being paused.", "journalctl -u pgha-agent -n 50"},
	{"lost_race", true, "the 30 s after another node's claim came first", "See which node is promoted.", "crm_mon -1"},
	{"api_backoff", true, "the next try at the Route 53 API", "See why the API does not take the write. No agent can move the name without it.", "journalctl -u pgha-agent -n 50"},
}

// adviceFor returns the place in the order as well. A hold that a newer daemon has comes after the faults that are known.
func (e *explainer) adviceFor(h agent.HoldDoc) (int, advice) {
	i := slices.IndexFunc(holdAdvice, func(a advice) bool { return a.name == h.Name })
	if i < 0 {
		return slices.IndexFunc(holdAdvice, func(a advice) bool { return a.name == "maintenance" }), advice{name: h.Name, waits: "the end of hold " + h.Name, next: "See: " + h.Text + "."}
	}
	a := holdAdvice[i]
	switch {
	case a.name == "maintenance" && e.Cluster != nil && isTrue(e.Cluster.Maintenance):
		a.next, a.command = "End maintenance when the work is done.", "pcs property set maintenance-mode=false"
	case a.name == "node_standby":
		a.command += " " + e.Node
	case a.name == "crm_unknown" && e.slowCrm():
		a.waits, a.next, a.command = "a crm_mon that is quicker", slowCrmStep[0], slowCrmStep[1]
	case a.name == "peer_unfenced" && e.found("fence_history", agent.Warning):
		a.waits, a.next = "a fencing history that can be read", "See why the fencing history cannot be read here."
		a.command = "sudo -u pgha stonith_admin --history '*'"
	}
	return i, a
}

// apiNeedsPerson are reasons of the API that no retry mends.
var apiNeedsPerson = []string{"denied", "credentials", "no_zone", "invalid"}

// passing reports whether a hold needs nobody yet.
func (e *explainer) passing(a advice) bool {
	if a.name == "api_backoff" {
		return e.Publication.Attempts < 5 && !slices.Contains(apiNeedsPerson, e.Publication.LastFailure)
	}
	switch a.name {
	case "stalled", "lost_race": // end by the clock
		return true
	case "postgres_not_writable":
		return e.recovering() || e.young()
	case "crm_unknown":
		return (e.neverAsked("crm") || e.young()) && !e.slowCrm()
	case "drbd_unknown":
		return e.neverAsked("drbd") || e.young()
	case "record_unknown":
		return e.neverAsked("route53") || e.young() && e.source("route53").Error == ""
	}
	return a.passes && e.young()
}

// found reports a finding of the daemon.
func (e *explainer) found(code, severity string) bool {
	return slices.ContainsFunc(e.Problems, func(p agent.Finding) bool { return p.Code == code && p.Severity == severity })
}

// slowCrm reports a crm_mon that is too slow for any picture of the cluster to count.
func (e *explainer) slowCrm() bool { return e.found("crm_slow", agent.Critical) }

// neverAsked reports a source that has neither answered nor failed: the daemon has just started.
func (e *explainer) neverAsked(name string) bool {
	s := e.source(name)
	return s.Age == nil && s.Failures == 0
}

// source is empty when the agent does not use it.
func (e *explainer) source(name string) agent.SourceDoc {
	for _, s := range e.Sources {
		if s.Name == name {
			return s
		}
	}
	return agent.SourceDoc{}
}

// young reports whether a failover is going on that began lately.
func (e *explainer) young() bool {
	ep := e.Episode
	return ep != nil && ep.Outcome == "open" && e.Time.Sub(ep.Start) < patience
}

// holdsInOrder sorts the holds by what to fix first; what passes of itself is last. The second result is the advice of the first.
func (e *explainer) holdsInOrder() ([]agent.HoldDoc, advice) {
	rank := func(h agent.HoldDoc) int {
		i, a := e.adviceFor(h)
		if e.passing(a) {
			i += 1000
		}
		return i
	}
	holds := slices.Clone(e.Publication.Holds)
	slices.SortStableFunc(holds, func(a, b agent.HoldDoc) int { return rank(a) - rank(b) })
	if len(holds) == 0 {
		return []agent.HoldDoc{}, advice{waits: "the write, any moment now"}
	}
	_, first := e.adviceFor(holds[0])
	return holds, first
}

// since says how long a failover has been going on, or nothing.
func (e *explainer) since() string {
	if ep := e.Episode; ep != nil && ep.Outcome == "open" {
		return " (the failover began " + ago(e.Time.Sub(ep.Start).Round(time.Second)) + " ago)"
	}
	return ""
}

func isTrue(b *bool) bool { return b != nil && *b }

func isFalse(b *bool) bool { return b != nil && !*b }
