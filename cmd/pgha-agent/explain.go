package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/text"
	"github.com/spf13/cobra"

	"github.com/pgha/pgha-agent/agent/config"
	"github.com/pgha/pgha-agent/agent/explain"
	"github.com/pgha/pgha-agent/agent/status"
	"github.com/pgha/pgha-agent/agent/switchover"
)

func newExplain(file *string) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "explain",
		Short: "Say in plain words why the record points where it points, and the one next step",
		Long: "explain asks the daemon over its control socket, as status does, and says in words why the record points " +
			"where it points, why this node\n" +
			"publishes or not, what it waits for, and what to do next. It changes nothing.\n\n" +
			"The verdict is ok, waiting (it goes on by itself), attention (it works, and somebody should look) or problem. " +
			"Exit status: 0 ready and no\n" +
			"problem, 2 not ready or a problem, 1 the daemon does not answer.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := config.Load(*file)
			if err != nil {
				return err
			}
			var x explain.Explanation
			doc, fail := status.Recheck(cmd.Context(), cfg.State.ControlSocket)
			if fail != nil {
				x = explain.Silence(fail)
				fail = errors.New("the daemon does not answer")
			} else {
				x = explain.Status(doc, time.Now(), cfg.Record.TTL)
				if doc.Judgment != nil && time.Since(doc.Time) <= explain.OldAnswer {
					x = *doc.Judgment
				}
				left, err := leftover(cmd.Context())
				explain.AddLeftover(&x, left, switchover.Undo, err)
				switch {
				case !doc.Ready:
					fail = &exitError{2, fmt.Errorf("this node is not ready (verdict: %s)", x.Verdict)}
				case x.Verdict == explain.Problem:
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

// printExplanation prints the next step last: that is where the eye is when a command ends.
func printExplanation(w io.Writer, x explain.Explanation) {
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
	part("DATABASE", x.Database.Text)
	part("FAILOVER", x.Failover.Text)
	part("RECORD", x.Record)
	part("NODE", x.Node)
	if len(x.Holds) > 0 {
		part("", "What holds it back, in the order to fix it:")
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
