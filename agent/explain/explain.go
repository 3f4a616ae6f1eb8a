// Package explain says what a status means: why the record points where it points, why this node publishes or not,
// what it waits for, and the one next step.
//
// It is pure: documents and facts go in, an Explanation goes out. It makes no request, reads no clock, and prints
// nothing: the caller fetches the status and says what time it is. So a test, the fuzzer, and a caller that has the
// documents of several nodes use the same judgment. Each part of the judgment raises the verdict as far as it must;
// the next step is that of the first part that raised it highest, and the parts are in the order of what a person
// should look at.
package explain

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"syscall"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/pgha/pgha-agent/agent/status"
)

type (
	// Verdict has its type where the documents are.
	Verdict = status.Verdict
	// Explanation has its type where the documents are.
	Explanation = status.Judgment
)

// The verdicts.
const (
	OK        = status.VerdictOK
	Attention = status.VerdictAttention
	Waiting   = status.VerdictWaiting
	Problem   = status.VerdictProblem
)

var verdictRank = map[Verdict]int{OK: 0, Attention: 1, Waiting: 2, Problem: 3}

// AddLeftover speaks of what a switchover left in the cluster's configuration, which the daemon does not read. undo is
// the command that removes it.
func AddLeftover(x *Explanation, left, undo string, err error) {
	switch {
	case err != nil:
		x.Notes = append(x.Notes, fmt.Sprintf("Whether a switchover left its constraint behind is not known: %v.", err))
	case left != "":
		f := status.Finding{Code: "switchover", Severity: status.Warning, Text: left}
		const next = "if no switchover is under way, remove what one that was killed left"
		if verdictRank[x.Verdict] < verdictRank[Attention] {
			x.Verdict, x.Next, x.Command = Attention, Sentence(next), undo
		} else {
			f.Remedy, f.Commands = next, []string{undo}
		}
		x.Findings = append(x.Findings, f)
	}
}

// patience is how long after the first sign of a failover its usual conditions need no person. Every failover passes
// through them: the peer is lost, fencing takes its tens of seconds, DRBD is promoted, PostgreSQL recovers. An
// explanation that calls for a person at each of these would be ignored when it matters. After a minute one of them
// does not end by itself.
const patience = time.Minute

// OldAnswer is how old the last step of a daemon that answers may be. It makes one every few seconds.
const OldAnswer = 10 * time.Second

// explainer makes one explanation.
type explainer struct {
	*status.Doc
	judge  *judge
	now    time.Time
	ttl    time.Duration
	out    Explanation
	judged []status.Finding // of the database and the failover
}

// Status says what a status means at a time, with nothing else known.
func Status(d *status.Doc, now time.Time, ttl time.Duration) Explanation {
	return Judge(Facts{Now: now, Node: d.Node, Own: d, TTL: ttl})
}

// Of makes the document of a snapshot, with the judgment in it.
func Of(s *status.Snapshot) *status.Doc {
	d := s.Doc()
	f := Facts{
		Now: d.Time, Node: d.Node, Clone: s.Config.Cluster.Promotable, Resource: s.Config.Drbd.Resource, Own: d,
		TTL: s.Config.Record.TTL, Config: s.Configuration, ConfigErr: s.ConfigurationErr,
		Peers: map[string]*status.Doc{}, Errs: map[string]string{},
	}
	if s.Sources[status.SourceCrm].Up {
		f.Cluster = s.Crm
	}
	for _, p := range s.Peers {
		if p.Doc != nil {
			f.Peers[p.Node] = p.Doc
		} else {
			f.Errs[p.Node] = p.Err
		}
	}
	x := Judge(f)
	d.Judgment = &x
	d.Unready = append([]string{}, notReady(&x, d.Unready)...)
	d.Ready = len(d.Unready) == 0
	return d
}

// notReady lists why a load balancer or an operator should not rely on this node and the database now. It follows the
// verdict; what goes on by itself counts only while clients are cut off. known is what the daemon says of itself.
func notReady(x *Explanation, known []string) (why []string) {
	if x.Verdict == Problem || x.Verdict == Waiting && x.Database.State == status.ClientsCutOff {
		why = append(why, string(x.Verdict)+": "+x.Next)
		if x.Database.State == status.ClientsCutOff || x.Database.State == status.ClientsPartly {
			why[0] = x.Database.Text
		}
		for _, f := range x.Findings {
			if f.Severity == status.Critical {
				why = append(why, f.Code+": "+f.Text)
			}
		}
	}
	for _, w := range known {
		if !slices.Contains(why, w) {
			why = append(why, w)
		}
	}
	return why
}

// Judge answers from facts. Own must be there.
func Judge(f Facts) Explanation {
	e := &explainer{Doc: f.Own, now: f.Now, ttl: f.TTL, judge: newJudge(f)}
	e.out = Explanation{Verdict: OK, Holds: []status.HoldDoc{}, Findings: []status.Finding{}, Notes: []string{},
		Next: "Nothing to do."}
	// The order decides the next step between equals: the database and its clients, the record that they follow, what
	// holds this node back, what forbids a failover, everything else.
	e.explainDatabase()
	if age := f.Now.Sub(f.Own.Time); age > OldAnswer {
		e.raise(Problem, "The daemon answers, but it hangs. See why with `journalctl -u pgha-agent -n 50`, and restart it: "+
			"that is safe at any time. Do not trust the rest before.", restartAgent)
		e.note("The daemon made its last step %s ago: what it says here is as old as that.", status.Ago(age))
	}
	e.explainRecord()
	e.explainNode()
	e.explainFailover()
	e.explainRest()
	if e.out.WaitsFor == "" {
		e.out.WaitsFor = "nothing"
	}
	return e.out
}

// passesWhenYoung are findings that every failover goes through.
var passesWhenYoung = []string{"fencing_under_way", "fencing_missing", "nobody_promoted", "postgres_down",
	"postgres_stops", "disconnected", "node_offline", "node_unclean", "disk", "resync", "no_instance", "promotion_score",
	"banned", "way_blocked", "name_elsewhere", "resource_failed", "name_negative", "many_promoted", "fencing_stopped",
	"record_missing"}

// blip is how long clients may be cut off before somebody is called: one attempt that fails is no outage yet.
const blip = 5 * time.Second

// recoveryPatience is how long a server may recover until somebody should see whether it does, or stands still.
const recoveryPatience = 5 * time.Minute

// explainDatabase says whether clients can write, and if not, why and what to do.
func (e *explainer) explainDatabase() {
	db, findings := e.judge.database()
	e.out.Database = db
	e.out.Findings = append(e.out.Findings, findings...)
	forgotten := slices.ContainsFunc(findings, func(f status.Finding) bool { return f.Code == "role_forgotten" })
	for _, f := range findings {
		within := func(d time.Duration) bool { return db.Since != nil && e.now.Sub(*db.Since) < d }
		passes := e.young() && slices.Contains(passesWhenYoung, f.Code) || within(blip) ||
			f.Code == "postgres_recovers" && (db.Since == nil || within(recoveryPatience)) ||
			f.Code == "name_elsewhere" && within(patience) && repairing(e.judge.docOf(db.Node)) ||
			forgotten && within(patience) && (f.Code == "postgres_down" || f.Code == "postgres_stops")
		switch {
		case f.Severity != status.Critical:
			e.raiseFinding(Attention, f)
		case passes:
			e.wait("the end of this: " + f.Text)
		default:
			e.raiseFinding(Problem, f)
		}
	}
	if db.State == status.ClientsCutOff && len(findings) == 0 {
		e.raise(Problem, "See why clients are cut off.", "pgha-agent status")
	}
}

// raiseFinding makes a finding's remedy the next step, if nothing as bad came before.
func (e *explainer) raiseFinding(v Verdict, f status.Finding) {
	next := Sentence(f.Text)
	if f.Remedy != "" {
		next += " " + Sentence(f.Remedy)
	}
	if strings.HasSuffix(f.Remedy, ":") { // the command follows
		next = strings.TrimSuffix(next, ".") + ":"
	}
	command := ""
	if len(f.Commands) > 0 {
		command = f.Commands[0]
	}
	e.raise(v, next, command)
}

// Sentence makes a text one. A name at its beginning, of a node, a host or a path, stays as it is.
func Sentence(text string) string {
	text = strings.TrimRight(text, ".: ")
	if text == "" {
		return ""
	}
	r, n := utf8.DecodeRuneInString(text)
	first, _, _ := strings.Cut(text, " ")
	if strings.ContainsAny(first, "-./_0123456789") {
		return text + "."
	}
	return string(unicode.ToUpper(r)) + text[n:] + "."
}

// explainFailover says whether the database could fail over now.
func (e *explainer) explainFailover() {
	f := e.judge.failover()
	e.out.Failover = f
	if e.young() && e.out.Database.State != status.ClientsServed { // one is going on
		return
	}
	for _, r := range f.Reasons {
		if r.Severity == status.Critical {
			e.raiseFinding(Attention, r)
		}
	}
	for _, r := range f.Reasons {
		if r.Severity == status.Warning && !slices.Contains(standing, r.Code) {
			e.raiseFinding(Attention, r)
		}
	}
	for _, r := range f.Reasons {
		notAsked := r.Code == "peer_agent" && e.judge.Errs[r.Node] == ""
		if r.Severity == status.Unknown && !notAsked { // which is no yes
			e.raiseFinding(Attention, r)
		}
	}
}

// raise makes the verdict at least v. The part that raised it highest first gives the next step.
func (e *explainer) raise(v Verdict, next, command string) {
	if verdictRank[v] > verdictRank[e.out.Verdict] {
		e.out.Verdict, e.out.Next, e.out.Command = v, next, command
	}
}

// wait is for what goes on by itself. It says what for even when the verdict is higher: that still holds.
func (e *explainer) wait(what string) {
	e.out.WaitsFor = what
	e.raise(Waiting, "Wait: this continues by itself. Follow it with", "pgha-agent watch")
}

func (e *explainer) note(format string, args ...any) {
	e.out.Notes = append(e.out.Notes, fmt.Sprintf(format, args...))
}

// Given returns the judgment in a daemon's document. A daemon of before 0.2 gives none, and one that hangs gives an old
// one: then the document is judged here.
func Given(d *status.Doc, now time.Time, ttl time.Duration) Explanation {
	if d.Judgment != nil && now.Sub(d.Time) <= OldAnswer {
		return *d.Judgment
	}
	return Status(d, now, ttl)
}

// Untold lists the findings that the sentences about database, failover, waiting and the next step do not tell, what to
// fix first first, and each once.
func Untold(x *Explanation) (list []status.Finding) {
	var told []string
	for _, said := range []string{x.Database.Text, x.Failover.Text, x.WaitsFor, x.Next} {
		told = append(told, strings.ToLower(said))
	}
	for _, f := range slices.Concat(x.Findings, x.Failover.Reasons) {
		text := strings.ToLower(strings.TrimRight(f.Text, ".: "))
		if !slices.ContainsFunc(told, func(s string) bool { return strings.Contains(s, text) }) {
			list, told = append(list, f), append(told, text)
		}
	}
	return list
}

// Step is the next step for somebody who has read the sentences about database and failover: without what they say.
func Step(x *Explanation) string {
	for _, f := range slices.Concat(x.Findings, x.Failover.Reasons) {
		rest, ok := strings.CutPrefix(x.Next, Sentence(f.Text)+" ")
		text := strings.ToLower(strings.TrimRight(f.Text, ".: "))
		if ok && strings.Contains(strings.ToLower(x.Database.Text+x.Failover.Text), text) {
			return rest
		}
	}
	return x.Next
}

// Commands lists the commands of the next step, in their order: those of the finding that it is about.
func Commands(x *Explanation) []string {
	for _, f := range slices.Concat(x.Findings, x.Failover.Reasons) {
		if len(f.Commands) > 0 && f.Commands[0] == x.Command && strings.HasPrefix(x.Next, Sentence(f.Text)) {
			return f.Commands
		}
	}
	if x.Command == "" {
		return nil
	}
	return []string{x.Command}
}

// MayNotAsk reports that a daemon did not answer because of who asked.
func MayNotAsk(err error) bool { return errors.Is(err, fs.ErrPermission) }

// restartAgent also starts one that does not run.
const restartAgent = "systemctl restart pgha-agent"

// daemonStep is the next step for a daemon that does not answer. One that runs keeps what it says in the journal.
func daemonStep(err error) string {
	const start = "that is safe at any time. If it does not stay, `journalctl -u pgha-agent -n 50` says why:"
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) {
		return "The daemon does not run. Start it: " + start
	}
	return "The daemon does not answer. See `systemctl status pgha-agent`, and restart it: " + start
}

// AddBroken speaks of a configuration that keeps a daemon that does not answer from starting.
func AddBroken(x *Explanation) {
	if x.Command == restartAgent {
		x.Next = "The configuration is broken: the daemon does not start with it. See all that is wrong, correct it, then " +
			"`" + restartAgent + "`:"
		x.Command = "pgha-agent check-config"
	}
}

// Silence is for a daemon that does not answer, and err says why. f is what could be seen without it; without f.Own
// nothing was looked at. The person who reads it fears for the database first: when that is down, it gives the next
// step.
func Silence(err error, f Facts) Explanation {
	e := &explainer{Doc: &status.Doc{}, now: f.Now, judge: newJudge(f)}
	e.out = Explanation{
		Verdict: OK, Holds: []status.HoldDoc{}, Findings: []status.Finding{}, Notes: []string{err.Error()},
		Database: status.Database{State: status.ClientsUnknown, Text: "Whether clients can write is not known: the " +
			"daemon does not answer."},
		Failover: status.Failover{Reasons: []status.Finding{}, Text: "Whether the database could fail over is not known: " +
			"the daemon does not answer."},
		WaitsFor: "an answer of the daemon",
		Record:   "Not known: the daemon does not answer. `history` works without it.",
		Node: "The cluster works without the daemon, which never promotes, fences, starts or stops anything. A promotion " +
			"is still published: the next alert makes systemd start the daemon. If that fails, the alert hook publishes " +
			"by itself, under the same conditions. Metrics, health checks and retries after an API error wait for the " +
			"daemon.",
	}
	if MayNotAsk(err) {
		e.out.Record, e.out.Node = "Not known: you may not ask the daemon.",
			"Only root and group haclient may open its control socket."
		e.raise(Problem, "Ask again as root.", "sudo pgha-agent explain")
		return e.out
	}
	if f.Own != nil {
		e.explainDatabase()
		e.out.WaitsFor = "an answer of the daemon"
	}
	e.raise(Problem, daemonStep(err), restartAgent)
	if f.Own != nil {
		e.explainFailover()
	}
	return e.out
}
