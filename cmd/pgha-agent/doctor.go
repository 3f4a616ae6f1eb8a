package main

import (
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
	"github.com/spf13/cobra"

	"github.com/pgha/pgha-agent/agent"
	"github.com/pgha/pgha-agent/agent/doctor"
)

func newDoctor(file *string) *cobra.Command {
	var only, leave []string
	var asJSON, hints, list bool
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Check this node and the cluster for what makes a failover slow, unsafe or impossible",
		Long: "doctor looks at Pacemaker, Corosync, DRBD, PostgreSQL, AWS and this machine, and judges what it sees, " +
			"check by check. It changes nothing:\n" +
			"permissions are tried with requests that AWS must refuse. It needs no running daemon, and asks those of the " +
			"nodes where they answer. Run it as root on\n" +
			"each node: as another user, or on the standby, some facts cannot be had, and the verdict is unknown or skip, " +
			"never pass. docs/doctor.md lists the checks.\n\n" +
			"Exit status by the worst verdict: 0 pass or skip, 2 fail, 3 warn, 4 unknown; 1 when doctor itself cannot run.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			checks, err := doctor.Select(only, leave)
			if err != nil {
				return err
			}
			if list {
				listChecks(cmd.OutOrStdout(), checks)
				return nil
			}
			cfg, err := readSettings(cmd, *file)
			if err != nil {
				return err
			}
			if !cfg.whole {
				return errors.New("doctor needs more of the configuration than can be read: " + mendConfig)
			}
			results := doctor.Run(cmd.Context(), agent.DoctorOptions(cfg.Config, *file, version), checks)
			if asJSON {
				err = printJSON(cmd.OutOrStdout(), results)
			} else {
				printDoctor(cmd.OutOrStdout(), results, hints)
			}
			if err == nil {
				err = doctorExit(results)
			}
			return err
		},
	}
	cmd.Flags().StringSliceVar(&only, "only", nil, "run these checks or areas only")
	cmd.Flags().StringSliceVar(&leave, "skip", nil, "leave these checks or areas out")
	cmd.Flags().BoolVar(&hints, "fix-hints", false, "say for each problem why it matters and how to fix it")
	cmd.Flags().BoolVar(&list, "list", false, "list the checks and run none")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// doctorExit turns the worst verdict into an exit status.
func doctorExit(results []doctor.Result) error {
	worst := doctor.Worst(results)
	code := map[doctor.Verdict]int{doctor.Fail: 2, doctor.Warn: 3, doctor.Unknown: 4}[worst]
	if code == 0 {
		return nil
	}
	return &exitError{code, fmt.Errorf("the worst verdict is %s", worst)}
}

// printDoctor prints the problems first, worst first, then the rest, each by area.
func printDoctor(w io.Writer, results []doctor.Result, hints bool) {
	results = slices.Clone(results)
	slices.SortStableFunc(results, func(a, b doctor.Result) int { return doctor.Worse(b.Verdict, a.Verdict) })
	count := map[doctor.Verdict]int{}
	t := newTable(w)
	t.SetColumnConfigs([]table.ColumnConfig{{Number: 4, WidthMax: 110, WidthMaxEnforcer: text.WrapSoft}})
	last := doctor.Verdict("")
	for _, r := range results {
		if last != "" && last != r.Verdict && hints {
			t.AppendRow(table.Row{})
		}
		last = r.Verdict
		count[r.Verdict]++
		t.AppendRow(table.Row{r.Verdict, r.Area, r.Check, r.Evidence})
		if hints && r.Remedy != "" {
			t.AppendRow(table.Row{"", "", "  want", r.Want})
			if r.Verdict != doctor.Unknown {
				t.AppendRow(table.Row{"", "", "  why", r.Why})
			}
			t.AppendRow(table.Row{"", "", "  remedy", r.Remedy})
		}
	}
	t.Render()
	fmt.Fprintf(w, "\n%d checks:", len(results))
	for _, v := range slices.Backward(doctor.Verdicts) {
		fmt.Fprintf(w, " %d %s", count[v], v)
	}
	fmt.Fprintln(w)
	if !hints && doctor.Worse(doctor.Worst(results), doctor.Skip) > 0 {
		fmt.Fprintln(w, "Why it matters and how to fix it: pgha-agent doctor --fix-hints")
	}
}

func listChecks(w io.Writer, checks []doctor.Check) {
	t := newTable(w)
	for _, c := range checks {
		t.AppendRow(table.Row{c.Area, c.Name, c.Want})
	}
	t.Render()
}
