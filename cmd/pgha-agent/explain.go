package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/text"
	"github.com/spf13/cobra"

	"github.com/pgha/pgha-agent/agent"
	"github.com/pgha/pgha-agent/agent/config"
	"github.com/pgha/pgha-agent/agent/switchover"
)

func newExplain(file *string) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "explain",
		Short: "Say in plain words why the record points where it points, and the one next step",
		Long: "explain asks the daemon over its control socket, as status does, and says in words why the record points where it points, why this node\n" +
			"publishes or not, what it waits for, and what to do next. It changes nothing.\n\n" +
			"The verdict is ok, waiting (it goes on by itself), attention (it works, and somebody should look) or problem. Exit status: 0 ready and no\n" +
			"problem, 2 not ready or a problem, 1 the daemon does not answer.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := config.Load(*file)
			if err != nil {
				return err
			}
			var x explanation
			doc, fail := agent.FetchStatus(cmd.Context(), cfg.State.ControlSocket)
			if fail != nil {
				x = explainSilence(fail)
				fail = errors.New("the daemon does not answer")
			} else {
				x = explain(doc, time.Now(), cfg.Record.TTL)
				x.addLeftover(leftover(cmd.Context()))
				switch {
				case !doc.Ready:
					fail = &exitError{2, fmt.Errorf("this node is not ready (verdict: %s)", x.Verdict)}
				case x.Verdict == verdictProblem:
					fail = &exitError{2, errors.New("there is a problem")}
				}
			}
			if asJSON {
				err = printJSON(cmd.OutOrStdout(), x)
			} else {
				printExplanation(cmd.OutOrStdout(), x)
			}
			return errors.Join(err, fail)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// verdict is the whole explanation in a word.
type verdict string

// The verdicts. What goes on by itself hides what should be looked at some time: first it has to end.
const (
	verdictOK        verdict = "ok"
	verdictAttention verdict = "attention" // works, and somebody should look
	verdictWaiting   verdict = "waiting"   // goes on by itself
	verdictProblem   verdict = "problem"   // needs a person
)

var verdictRank = map[verdict]int{verdictOK: 0, verdictAttention: 1, verdictWaiting: 2, verdictProblem: 3}

// explanation is the JSON of `pgha-agent explain --json`. Fields are only ever added.
type explanation struct {
	Verdict  verdict         `json:"verdict"`
	Record   string          `json:"record"` // why the record points where it points
	Node     string          `json:"node"`   // why this node publishes or not
	Holds    []agent.HoldDoc `json:"holds"`  // what holds it back, what to fix first first
	WaitsFor string          `json:"waits_for"`
	Next     string          `json:"next"` // the one next step
	Command  string          `json:"command,omitempty"`
	Notes    []string        `json:"notes"`
}

// addLeftover speaks of what a switchover left in the cluster's configuration, which the daemon does not read.
func (x *explanation) addLeftover(left string, err error) {
	switch {
	case err != nil:
		x.Notes = append(x.Notes, fmt.Sprintf("Whether a switchover left its constraint behind is not known: %v.", err))
	case left != "":
		x.Notes = append(x.Notes, left+".")
		if verdictRank[x.Verdict] < verdictRank[verdictAttention] {
			x.Verdict, x.Next, x.Command = verdictAttention, "If no switchover is under way, remove what one that was killed left.", switchover.Undo
		}
	}
}

// patience is how long after the first sign of a failover its usual conditions need no person: fencing takes its tens of seconds.
const patience = time.Minute

// oldAnswer is how old the last step of a daemon that answers may be. It makes one every few seconds.
const oldAnswer = 10 * time.Second

// explainer makes one explanation.
type explainer struct {
	*agent.StatusDoc
	now time.Time
	ttl time.Duration
	out explanation
}

// explain says what a status means at a time. The TTL is the configured one: the status does not have it.
func explain(d *agent.StatusDoc, now time.Time, ttl time.Duration) explanation {
	e := &explainer{StatusDoc: d, now: now, ttl: ttl}
	e.out = explanation{Verdict: verdictOK, Holds: []agent.HoldDoc{}, Notes: []string{}, Next: "Nothing to do."}
	if age := now.Sub(d.Time); age > oldAnswer {
		e.raise(verdictProblem, "The daemon answers, but it hangs. See why before you trust the rest.", "journalctl -u pgha-agent -n 50")
		e.note("The daemon made its last step %s ago: all of this is from then.", ago(age))
	}
	e.explainRecord()
	e.explainNode()
	e.explainRest()
	if e.out.WaitsFor == "" {
		e.out.WaitsFor = "nothing"
	}
	return e.out
}

// raise makes the verdict at least v. Whoever raised it highest first says the next step.
func (e *explainer) raise(v verdict, next, command string) {
	if verdictRank[v] > verdictRank[e.out.Verdict] {
		e.out.Verdict, e.out.Next, e.out.Command = v, next, command
	}
}

// wait is for what goes on by itself.
func (e *explainer) wait(what string) {
	e.out.WaitsFor = what
	e.raise(verdictWaiting, "Wait: this goes on by itself. Follow it with", "pgha-agent watch")
}

func (e *explainer) note(format string, args ...any) {
	e.out.Notes = append(e.out.Notes, fmt.Sprintf(format, args...))
}

// explainSilence is for a daemon that does not answer.
func explainSilence(err error) explanation {
	x := explanation{
		Verdict: verdictProblem, Holds: []agent.HoldDoc{}, Notes: []string{err.Error()}, WaitsFor: "an answer of the daemon",
		Record: "Not known: the daemon does not answer. `history` works without it.",
		Node: "The cluster goes on without the daemon: it never promotes, fences, starts or stops anything. A promotion is still published: the next alert " +
			"makes systemd start the daemon, and when that fails the alert hook publishes by itself, under the same conditions. Metrics, health checks " +
			"and retries after an API error wait for the daemon.",
		Next: "See why it does not run, then `journalctl -u pgha-agent -n 50`.", Command: "systemctl status pgha-agent",
	}
	if errors.Is(err, fs.ErrPermission) {
		x.Record, x.Node = "Not known: you may not ask the daemon.", "Only root and group haclient may open its control socket."
		x.Next, x.Command = "Ask again as root.", "sudo pgha-agent explain"
	}
	return x
}

// printExplanation prints the next step last: that is where the eye is when a command ends.
func printExplanation(w io.Writer, x explanation) {
	const width = 96
	part := func(name, words string) {
		for i, line := range strings.Split(text.WrapSoft(printable(words), width), "\n") {
			if i > 0 {
				name = ""
			}
			fmt.Fprintf(w, "%-8s  %s\n", name, strings.TrimRight(line, " "))
		}
	}
	fmt.Fprintf(w, "%s\n\n", strings.ToUpper(string(x.Verdict)))
	part("RECORD", x.Record)
	part("NODE", x.Node)
	if len(x.Holds) > 0 {
		part("", "What holds it back, in the order to mend it:")
	}
	for i, h := range x.Holds {
		part("", fmt.Sprintf("%d. %s: %s", i+1, h.Name, h.Text))
		if h.Remedy != "" {
			part("", "   -> "+h.Remedy)
		}
	}
	for i, n := range x.Notes {
		name := "ALSO"
		if i > 0 {
			name = ""
		}
		part(name, "- "+n)
	}
	part("WAITS", "for "+x.WaitsFor)
	fmt.Fprintln(w)
	part("NEXT", x.Next)
	if x.Command != "" {
		fmt.Fprintf(w, "\n          %s\n", printable(x.Command))
	}
}

// printable keeps what other programs said from moving the cursor.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return ' '
		}
		return r
	}, s)
}

// ago says a duration as a person would: no more than two units.
func ago(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%.0f s", max(0, d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%d min %d s", int(d.Minutes()), int(d.Seconds())%60)
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h %d min", int(d.Hours()), int(d.Minutes())%60)
	default:
		return fmt.Sprintf("%d days", int(d.Hours())/24)
	}
}
