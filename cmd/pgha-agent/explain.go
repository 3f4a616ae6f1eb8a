package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pgha/pgha-agent/agent/explain"
	"github.com/pgha/pgha-agent/agent/status"
)

func newExplain(file *string) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "explain",
		Short: "Say whether clients can write, whether the database could fail over, and the one next step",
		Long: "explain makes the daemon ask every source once more, and says in words whether clients can write through " +
			"the name (DATABASE), whether the\n" +
			"database could fail over now and what forbids it (FAILOVER), why the record points where it points, why this " +
			"node publishes or not, what\n" +
			"goes on by itself, and what to do next. Both nodes say the same about the database. When the daemon does not " +
			"answer, it looks at the cluster,\n" +
			"DRBD, PostgreSQL and the name itself. It changes nothing.\n\n" +
			"The verdict is ok, waiting (it goes on by itself), attention (it works, and somebody should look) or problem. " +
			"Exit status: 0 ready and no\n" +
			"problem, 2 not ready or a problem, 1 the daemon does not answer.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := readSettings(cmd, *file)
			if err != nil {
				return err
			}
			doc, fail := status.Recheck(cmd.Context(), cfg.State.ControlSocket)
			x := judgmentOf(cmd.Context(), cfg, doc, fail)
			if fail != nil {
				fail = errors.New("the daemon does not answer")
			} else {
				fail = judgedExit(doc, &x)
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

// explainSays are problems that explain says in its own words: in the part about the record.
var explainSays = []string{"contested", "record_drift", "resolver_stale"}

// printExplanation prints the next step last: that is where the eye is when a command ends.
func printExplanation(w io.Writer, x explain.Explanation) {
	width := wordsOf(w)
	say := func(name, words string) { part(w, width, name, words) }
	printHeadline(w, width, &x)
	say("RECORD", x.Record)
	say("NODE", x.Node)
	if len(x.Holds) > 0 {
		say("", "What holds it back, in the order to fix it:")
	}
	for i, h := range x.Holds {
		say("", fmt.Sprintf("%d. %s: %s", i+1, h.Name, h.Text))
		if h.Remedy != "" {
			say("", "   -> "+h.Remedy)
		}
	}
	name := "ALSO"
	for _, f := range untold(&x, explainSays...) {
		words := explain.Sentence(f.Text)
		if strings.HasPrefix(f.Code, "source_") || f.Code == "config_warning" { // begins with a name
			words = strings.TrimRight(f.Text, ".") + "."
		}
		say(name, "- "+words)
		if f.Remedy != "" {
			printRemedy(w, width, f)
		}
		name = ""
	}
	for _, n := range x.Notes {
		say(name, "- "+n)
		name = ""
	}
	printWaits(w, width, &x)
	fmt.Fprintln(w)
	printNext(w, width, &x)
}
