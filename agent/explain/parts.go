package explain

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pgha/pgha-agent/agent/status"
	"github.com/pgha/pgha-agent/pg"
)

// explainRecord says why the record points where it points. Clients follow it, so it comes first and is said even
// when all is well. The cases with trouble come before the normal ones.
func (e *explainer) explainRecord() {
	r, p := &e.Record, &e.Publication
	var words string
	switch {
	case r.Read == nil:
		words = "Not known: the zone has not been read yet."
	case r.Drift:
		words = fmt.Sprintf("CHANGED BY SOMEBODY ELSE: this node published %s as %s%s, and now the zone has %s.", r.Name,
			r.OwnAddr, e.published(), zoneHas(r))
		e.explainDrift()
	case r.Addr == "" && e.source("route53").Error != "":
		words = fmt.Sprintf("The record under %s does not belong to this agent, or cannot be read: %s.", r.Name,
			e.source("route53").Error)
	case p.State == status.PubContested:
		words = fmt.Sprintf(
			"CONTESTED: %s points at %s by the claim of %s with epoch %d, which came after this node's own (epoch %d).", r.Name,
			status.OrDash(r.Addr), status.OrDash(r.Owner), r.Epoch, p.Epoch)
	case r.Addr == "":
		words = fmt.Sprintf("%s has no address yet: no agent has published it. The agent of the promoted node does that.",
			r.Name)
	case p.Promotion != "" && r.Claim == p.Promotion:
		words = fmt.Sprintf("%s points at %s, because %s published it%s.", r.Name, r.Addr, status.OrDash(r.Owner),
			e.published())
	case r.Owner == e.Node:
		words = fmt.Sprintf("%s points at %s, because this node published it in an earlier promotion (epoch %d).", r.Name,
			r.Addr, r.Epoch)
	case r.Owner != "":
		words = fmt.Sprintf("%s points at %s, because %s published it (epoch %d). When and why: `pgha-agent history` there.",
			r.Name, r.Addr, r.Owner, r.Epoch)
	default:
		words = fmt.Sprintf("%s points at %s. The zone names no owner: written by hand, or with record.ownership = \"none\".",
			r.Name, r.Addr)
	}
	if r.Read != nil {
		if age := e.now.Sub(*r.Read); age > time.Minute {
			words += fmt.Sprintf(" The zone was read %s ago.", status.Ago(age))
		}
	}
	e.out.Record = words + e.resolver()
}

// explainDrift says who does what about a record that somebody changed.
func (e *explainer) explainDrift() {
	if repairing(e.Doc) {
		e.wait("the write that repairs the record")
		return
	}
	e.out.WaitsFor = "a person: the agent does not take back what somebody changed"
	const publish = "pgha-agent publish --once"
	for _, p := range e.Problems {
		if p.Code == "record_drift" && !strings.HasPrefix(p.Remedy, "`") { // more than to write it again
			e.raise(Problem, Sentence(p.Text)+" "+Sentence(p.Remedy), publish)
		}
	}
	e.raise(Problem,
		"Find out who changed the zone: a person or another program. Then write the record again, on the promoted node:",
		publish)
}

// repairing reports an agent that is about to write again what somebody changed, and that nothing holds back.
func repairing(d *status.Doc) bool {
	if d == nil || !d.Record.Drift {
		return false
	}
	p := &d.Publication
	return p.State == status.PubWriting || p.State == status.PubHeld && len(p.Holds) == 0
}

func zoneHas(r *status.RecordDoc) string {
	if r.Addr == "" {
		return "no address that is this agent's"
	}
	return fmt.Sprintf("%s, owner %s, epoch %d", r.Addr, status.OrDash(r.Owner), r.Epoch)
}

// published says when and by which promotion this node published, as far as it is known.
func (e *explainer) published() string {
	words := ""
	if e.Publication.Epoch > 0 {
		words = fmt.Sprintf(" (epoch %d)", e.Publication.Epoch)
	}
	if e.rewritten() {
		words += fmt.Sprintf(", and has written it again since epoch %d", e.Episode.Epoch)
	}
	if at, ok := e.phase("dns_accepted"); ok {
		words += fmt.Sprintf(" at %s, %s ago, in episode %d (%s)", at.Format(time.RFC3339), status.Ago(e.now.Sub(at)),
			e.Episode.ID, e.Episode.Cause)
	}
	if id := e.Publication.Promotion; id != "" {
		words += ", promotion " + id[:min(8, len(id))]
	}
	return words
}

// rewritten reports that the record was written again after what the episode tells of it.
func (e *explainer) rewritten() bool {
	ep := e.Episode
	return ep != nil && ep.Promotion != "" && ep.Promotion == e.Publication.Promotion && ep.Epoch != 0 &&
		e.Publication.Epoch > ep.Epoch
}

// phase finds the time of a phase of this promotion. A record that was written again since has none.
func (e *explainer) phase(name string) (time.Time, bool) {
	if ep := e.Episode; ep != nil && ep.Promotion != "" && ep.Promotion == e.Publication.Promotion && !e.rewritten() {
		for _, p := range ep.Phases {
			if p.Phase == name {
				return p.At, true
			}
		}
	}
	return time.Time{}, false
}

// resolver says what the resolver answers; when that is the old address, for how long at most. A cache may hold the old
// address for one TTL from the moment when the last name server had it, which is the one of "in sync" and not of the
// write. Until Route 53 says so, a minute is assumed. Only what stays longer needs a person.
func (e *explainer) resolver() string {
	r := &e.Record
	switch {
	case r.ResolverAddr == nil:
		return ""
	case *r.ResolverAddr == r.Addr && r.Addr == "":
		return ""
	case *r.ResolverAddr == r.Addr:
		return " The resolver answers the same."
	}
	words := fmt.Sprintf(" The resolver answers %s", *r.ResolverAddr)
	if *r.ResolverAddr == "" {
		words = " The resolver answers that there is no address"
	}
	if e.Publication.State != status.PubPublished || r.Drift {
		return words + ": one of the two is older."
	}
	const stale = "Ask the resolver yourself. If it stays, check the zone's association with this VPC and the TTL of " +
		"the record before."
	dig := "dig " + r.Name
	if *r.ResolverAddr == "" {
		e.raise(Attention, stale, dig)
		return words + ": it remembers that for up to 15 minutes."
	}
	accepted, known := e.phase("dns_accepted")
	insync, synced := e.phase("dns_insync")
	switch {
	case !known:
		e.raise(Attention, stale, dig)
		return words + fmt.Sprintf(": that is wrong when it lasts longer than one TTL (%s) after the write.", e.ttl)
	case !synced && e.now.Sub(accepted) < patience+e.ttl:
		e.wait("Route 53 to bring the record to all its servers, then one TTL for the resolver")
		return words + fmt.Sprintf(
			", the old address: for one TTL (%s) at most after Route 53 says that the record is in sync.", e.ttl)
	case !synced:
		insync = accepted.Add(patience)
	}
	left := insync.Add(e.ttl).Sub(e.now)
	if left > 0 {
		e.wait(fmt.Sprintf("the resolver to forget the old address, %s at most", status.Ago(left)))
		return words + fmt.Sprintf(", the old address: for %s more at most (TTL %s).", status.Ago(left), e.ttl)
	}
	e.raise(Attention, stale, dig)
	return words + fmt.Sprintf(", and should have stopped %s ago (TTL %s).", status.Ago(-left), e.ttl)
}

// explainNode says why this node publishes or not. An unknown state is treated like a held one: the agent publishes
// nothing in both.
func (e *explainer) explainNode() {
	e.out.Holds = []status.HoldDoc{}
	switch e.Publication.State {
	case status.PubIdle:
		e.explainIdle()
	case status.PubWriting:
		e.out.Node = e.Node + " is promoted, and its write to Route 53 is in progress."
		e.wait("the answer of Route 53" + e.since())
	case status.PubPublished:
		e.out.Node = e.Node + " is promoted and has published its address."
		if e.Record.ResolverAddr == nil && !e.Record.Drift {
			e.wait("the resolver's first answer")
		}
	case status.PubObserved:
		e.out.Node = e.Node + " is promoted and has published its address, and the resolver answers it."
	case status.PubContested:
		e.out.Node =
			"This node published, and another one claimed the record later. It does not take the record back: it waits until " +
				"it is demoted, or promoted anew."
		e.out.WaitsFor = "a new promotion, of this node or of the other"
		next, command := e.promoteAnew()
		e.raise(Problem, next, command)
	default: // held, unknown
		holds, first := e.holdsInOrder()
		e.out.Holds = holds
		if e.Publication.State == status.PubHeld {
			e.out.Node = e.Node + " is promoted and does not publish."
		} else {
			e.out.Node = "It is not known whether " + e.Node +
				" is promoted, so it publishes nothing. If it is the standby, it is normal that DRBD is not Primary and that " +
				"PostgreSQL does not run."
		}
		if n := e.Publication.Attempts; n > 0 && e.Publication.LastFailure != "" {
			e.note("Failed writes in a row: %d. The last reason of the API: %s.", n, e.Publication.LastFailure)
		}
		if first.name == "" || e.passing(first) {
			e.wait(first.WaitsFor + e.since())
			return
		}
		e.out.WaitsFor = first.WaitsFor + e.since()
		e.raise(Problem, first.Next, first.Command)
	}
}

// explainIdle is for a node that is not promoted. Its own state is then uninteresting: it says what the cluster does,
// and whether the record agrees.
func (e *explainer) explainIdle() {
	c := e.Cluster
	if c == nil {
		e.out.Node = e.Node + " is not promoted."
		return
	}
	lost := func(name string) bool {
		return slices.ContainsFunc(c.Nodes, func(n status.NodeDoc) bool {
			return n.Name == name &&
				(isFalse(n.Online) || isTrue(n.Unclean))
		})
	}
	switch promoted := strings.Join(c.Promoted, ", "); {
	case promoted == "" && e.judge.primary() != "":
		e.out.Node = fmt.Sprintf("Pacemaker shows no node as promoted, and %s is DRBD's Primary: a cleanup or a refresh "+
			"erases what "+
			"Pacemaker knows. It finds the role again when it has asked DRBD's agent.", e.judge.primary())
	case promoted == "" && e.young():
		e.out.Node = "No node is promoted right now; Pacemaker is at work."
		e.wait("Pacemaker to promote a node" + e.since())
	case promoted == "":
		e.out.Node =
			"No node is promoted: the database is down. Pacemaker has to promote one; this agent only publishes it then."
		e.out.WaitsFor = "Pacemaker to promote a node" + e.since()
		e.raise(Problem, "See why Pacemaker promotes no node: failures, fail counts, promotion scores (master-...), bans.",
			"crm_mon -1rfAL")
	case lost(c.Promoted[0]):
		e.out.Node = fmt.Sprintf(
			"%s is not promoted. %s was, and is lost; Pacemaker promotes this node when %s has been fenced.", e.Node, promoted,
			promoted)
		if e.young() {
			e.wait("the fencing of " + promoted + e.since())
			return
		}
		e.out.WaitsFor = "the fencing of " + promoted + e.since()
		e.raise(Problem, "Find out why "+promoted+" is not fenced, and fix the fence device.", "stonith_admin --history '*'")
	default:
		e.out.Node = fmt.Sprintf("%s is not promoted, %s is: nothing to publish here.", e.Node, promoted)
		r := &e.Record
		missing := r.Read != nil && r.Addr == "" && e.source("route53").Error == ""
		moved := r.ResolverAddr != nil && *r.ResolverAddr != r.Addr // since the zone was read, which a standby does rarely
		if (missing || r.Owner == e.Node) && !moved {
			e.out.Node += " But the record, as it was read here, does not name " + promoted + "."
			e.raise(Attention, "See on "+promoted+" why it does not publish.", "pgha-agent explain")
		}
	}
}

// saidAs lists the findings that say the same as a problem of the daemon, under a name of their own: one of the two is
// told.
var saidAs = map[string][]string{
	"drbd_disconnected": {"disconnected", "split_brain"},
	"fence_constraint":  {"banned"},
	"peer_unclean":      {"node_unclean", "fencing_under_way", "fencing_missing"},
	"resolver_stale":    {"name_elsewhere"},
	"source_resolver":   {"resolver_down"},
	"source_crm":        {"cluster_unknown"},
}

// standing are findings that have been there before and are there after: never the next step in trouble. Where there is
// none, a critical one is; with the others an operator may have chosen to live.
// A ban with a finite score is a preference.
var standing = []string{"fencing_disabled", "config_warning", "fence_constraint", "banned"}

// late reports a picture of the cluster that comes late and still counts: a matter of load that comes and goes, and so
// the last to look at of what is wrong now.
func late(code, severity string) bool { return code == "crm_slow" && severity == status.Warning }

// explainRest has a finding for each of the other things that matter. Each is told once: not what the database's or the
// failover's part has found. What stands comes last, so that it hides nothing.
func (e *explainer) explainRest() {
	e.judged = slices.Concat(e.out.Findings, e.out.Failover.Reasons)
	if e.Publication.PausedUntil != nil {
		e.raise(Attention, "End the pause when the record may move.", "pgha-agent resume")
	}
	for _, p := range e.Problems {
		if !slices.Contains(standing, p.Code) && !late(p.Code, p.Severity) {
			e.explainProblem(p)
		}
	}
	for _, s := range e.Sources {
		if s.Stale && s.Error == "" && !e.neverAsked(s.Name) {
			e.raise(Problem, "See why "+s.Name+" is silent.", "journalctl -u pgha-agent -n 50")
			e.note("%s: no answer for too long.", s.Name)
		}
	}
	told := slices.ContainsFunc(e.out.Findings, func(f status.Finding) bool { return f.Code == "name_elsewhere" })
	agents := e.judge.agents()
	for _, f := range e.judge.toldThere(told) {
		if slices.ContainsFunc(e.judged, func(r status.Finding) bool { return r.Code == f.Code && r.Node == f.Node }) {
			continue
		}
		if late(f.Code, f.Severity) {
			agents = append(agents, f)
			continue
		}
		e.out.Findings = append(e.out.Findings, f)
		switch {
		case f.Severity != status.Critical:
			e.raiseFinding(Attention, f)
		case !e.young():
			e.raiseFinding(Problem, f)
		}
	}
	for _, f := range agents {
		e.raiseFinding(Attention, f)
		e.out.Findings = append(e.out.Findings, f)
	}
	for _, p := range e.Problems {
		if late(p.Code, p.Severity) {
			e.explainProblem(p)
		}
	}
	quiet := false
	for _, p := range e.Problems {
		switch {
		case !slices.Contains(standing, p.Code):
		case p.Severity == status.Critical: // nobody is to live with it
			e.raiseFinding(Attention, e.tell(p))
		default:
			quiet = true
			e.tell(p)
		}
	}
	if quiet {
		e.raise(Attention, "Nothing to do now. The findings say what to look at some day.", "")
	}
	if !e.Ready && e.out.Verdict == OK {
		e.raise(Attention, "See what makes this node not ready.", "pgha-agent status")
		e.note("Not ready: %s.", strings.Join(e.Unready, "; "))
	}
}

// tell makes a finding of a problem, unless one says it, and returns that which does.
func (e *explainer) tell(p status.Problem) status.Finding {
	i := slices.IndexFunc(e.judged, func(f status.Finding) bool {
		return f.Code == p.Code && (f.Code != "config" || f.Node == e.Node) || slices.Contains(saidAs[p.Code], f.Code)
	})
	if i >= 0 {
		return e.judged[i]
	}
	f := status.Finding{Code: p.Code, Severity: p.Severity, Node: e.Node, Text: p.Text, Remedy: p.Remedy,
		Commands: actsOf(p)}
	e.out.Findings = append(e.out.Findings, f)
	return f
}

// actsOf are the commands of a problem's remedy, in their order, when a person has but to type them.
func actsOf(p status.Problem) (commands []string) {
	if !slices.Contains([]string{"config", "record_ttl", "fencing_disabled", "http", "journal"}, p.Code) {
		return nil
	}
	for i, part := range strings.Split(p.Remedy, "`") {
		if i%2 == 1 {
			commands = append(commands, part)
		}
	}
	return commands
}

// slowCrmStep is the next step when crm_mon is slow.
var slowCrmStep = [2]string{"Find out what slows crm_mon down on this machine.", "time crm_mon -1"}

// startStep is the next step when Pacemaker does not run here.
const startStep = "Pacemaker does not run here, and the other node has the database: it could not fail over. Start " +
	"Pacemaker when the work here is done:"

// sourceStep is the next step for a source that is down.
var sourceStep = map[string]string{
	"crm": "systemctl status pacemaker", "drbd": "drbdsetup status", "postgres": "journalctl -u pgha-agent -n 50",
	"route53": "pgha-agent doctor --only aws", "resolver": "journalctl -u pgha-agent -n 50",
}

// explainProblem judges a problem that the daemon has found. Holds have been told, and what PostgreSQL says is the
// database's part.
func (e *explainer) explainProblem(p status.Problem) {
	name, isSource := strings.CutPrefix(p.Code, "source_")
	if strings.HasPrefix(p.Code, "held_") || p.Code == "postgres" {
		return
	}
	heldBy := func(name string) bool {
		return slices.ContainsFunc(e.out.Holds, func(h status.HoldDoc) bool { return h.Name == name })
	}
	if heldBy(p.Code) || p.Code == "crm_slow" && heldBy("crm_unknown") ||
		p.Code == "fence_history" && heldBy("peer_unfenced") {
		return // told with the hold
	}
	e.tell(p)
	if age := e.source(name).Age; isSource && age != nil {
		e.note("%s last answered %s ago.", name, status.Ago(time.Duration(*age*float64(time.Second))))
	}
	v := Attention
	if p.Severity == status.Critical {
		v = Problem
	}
	next, command := strings.TrimSpace(Sentence(p.Text)+" "+Sentence(p.Remedy)), ""
	if acts := actsOf(p); len(acts) > 0 {
		command = acts[0]
	}
	switch {
	case slices.Contains(explained, p.Code), e.young() && p.Code == "peer_unclean":
		return // another part has judged it; the latter is part of every failover
	case isSource:
		next, command = "See why "+name+" does not answer.", sourceStep[name]
		if name == "crm" && e.judge.stoppedHere() {
			next, command = startStep, startPacemaker
		}
		if e.young() {
			v = Attention
		}
	case p.Code == "split_brain" || p.Code == "maintenance":
		_, a := e.adviceFor(status.HoldDoc{Name: p.Code})
		next, command = a.Next, a.Command
	case p.Code == "crm_slow":
		next, command = slowCrmStep[0], slowCrmStep[1]
	}
	e.raise(v, next, command)
}

// explained are problems that the part about the database, the failover or the record has judged.
var explained = []string{"contested", "record_drift", "resolver_stale", "drbd_disconnected", "paused"}

// recovering reports a PostgreSQL on its way: crash recovery takes its time.
func (e *explainer) recovering() bool { return e.Postgres.State == pg.StateStartingUp }
