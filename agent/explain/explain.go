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
	"time"

	"github.com/pgha/pgha-agent/agent/status"
)

// Verdict is the whole explanation in a word.
type Verdict string

// The verdicts. What goes on by itself hides what should be looked at some time: first it has to end.
const (
	OK        Verdict = "ok"
	Attention Verdict = "attention" // works, and somebody should look
	Waiting   Verdict = "waiting"   // goes on by itself
	Problem   Verdict = "problem"   // needs a person
)

var verdictRank = map[Verdict]int{OK: 0, Attention: 1, Waiting: 2, Problem: 3}

// Explanation is the JSON of `pgha-agent explain --json`. Fields are only ever added.
type Explanation struct {
	Verdict  Verdict          `json:"verdict"`
	Record   string           `json:"record"` // why the record points where it points
	Node     string           `json:"node"`   // why this node publishes or not
	Holds    []status.HoldDoc `json:"holds"`  // what holds it back, what to fix first first
	WaitsFor string           `json:"waits_for"`
	Next     string           `json:"next"` // the one next step
	Command  string           `json:"command,omitempty"`
	Notes    []string         `json:"notes"`
}

// AddLeftover speaks of what a switchover left in the cluster's configuration, which the daemon does not read. undo is
// the command that removes it.
func (x *Explanation) AddLeftover(left, undo string, err error) {
	switch {
	case err != nil:
		x.Notes = append(x.Notes, fmt.Sprintf("Whether a switchover left its constraint behind is not known: %v.", err))
	case left != "":
		x.Notes = append(x.Notes, left+".")
		if verdictRank[x.Verdict] < verdictRank[Attention] {
			x.Verdict, x.Next, x.Command = Attention, "If no switchover is under way, remove what one that was killed left.",
				undo
		}
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
	now time.Time
	ttl time.Duration
	out Explanation
}

// Status says what a status means at a time. The TTL is the configured one: the status does not have it.
func Status(d *status.Doc, now time.Time, ttl time.Duration) Explanation {
	e := &explainer{Doc: d, now: now, ttl: ttl}
	e.out = Explanation{Verdict: OK, Holds: []status.HoldDoc{}, Notes: []string{}, Next: "Nothing to do."}
	if age := now.Sub(d.Time); age > OldAnswer {
		e.raise(Problem, "The daemon answers, but it hangs. See why before you trust the rest.",
			"journalctl -u pgha-agent -n 50")
		e.note("The daemon made its last step %s ago: everything here is as old as that.", status.Ago(age))
	}
	// The order decides the next step between equals. A record that somebody else changed comes first, because clients
	// follow it now. What holds this node back is next. Everything else may be a reason for it, or has been there before.
	e.explainRecord()
	e.explainNode()
	e.explainRest()
	if e.out.WaitsFor == "" {
		e.out.WaitsFor = "nothing"
	}
	return e.out
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

// Silence is for a daemon that does not answer. The person who reads it fears for the database first: so it says what
// goes on without the daemon.
func Silence(err error) Explanation {
	x := Explanation{
		Verdict: Problem, Holds: []status.HoldDoc{}, Notes: []string{err.Error()}, WaitsFor: "an answer of the daemon",
		Record: "Not known: the daemon does not answer. `history` works without it.",
		Node: "The cluster works without the daemon, which never promotes, fences, starts or stops anything. A promotion " +
			"is still published: the next alert makes systemd start the daemon. If that fails, the alert hook publishes " +
			"by itself, under the same conditions. Metrics, health checks and retries after an API error wait for the " +
			"daemon.",
		Next: "See why it does not run, then `journalctl -u pgha-agent -n 50`.", Command: "systemctl status pgha-agent",
	}
	if errors.Is(err, fs.ErrPermission) {
		x.Record, x.Node = "Not known: you may not ask the daemon.",
			"Only root and group haclient may open its control socket."
		x.Next, x.Command = "Ask again as root.", "sudo pgha-agent explain"
	}
	return x
}
