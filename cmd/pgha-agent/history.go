package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"github.com/pgha/pgha-agent/agent/config"
	"github.com/pgha/pgha-agent/agent/state"
	"github.com/pgha/pgha-agent/agent/status"
)

func newHistory(file *string) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "history [EPISODE]",
		Short: "Show the episodes of this node, or one of them as a timeline",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := config.Load(*file)
			if err != nil {
				return err
			}
			entries, _, err := state.ReadJournal(cfg.State.Dir)
			if err != nil && !errors.Is(err, fs.ErrNotExist) { // before the first episode there is no journal
				return err
			}
			docs := []*status.EpisodeDoc{}
			for _, e := range entries {
				docs = append(docs, status.EntryDoc(&e))
			}
			out := cmd.OutOrStdout()
			if len(args) == 1 {
				doc, err := find(docs, args[0])
				switch {
				case err != nil:
					return err
				case asJSON:
					return printJSON(out, doc)
				}
				printTimeline(out, doc)
				return nil
			}
			if asJSON {
				return printJSON(out, docs)
			}
			printHistory(out, docs)
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func find(docs []*status.EpisodeDoc, arg string) (*status.EpisodeDoc, error) {
	if arg == "last" {
		if len(docs) == 0 {
			return nil, errors.New("no episodes yet")
		}
		return docs[len(docs)-1], nil
	}
	id, err := strconv.ParseUint(arg, 10, 64)
	if err != nil {
		return nil, fmt.Errorf("episode %q: want a number from `pgha-agent history`, or last", arg)
	}
	for _, d := range docs {
		if d.ID == id {
			return d, nil
		}
	}
	return nil, fmt.Errorf("no episode %d: see `pgha-agent history`", id)
}

func printHistory(w io.Writer, docs []*status.EpisodeDoc) {
	if len(docs) == 0 {
		fmt.Fprintln(w, "no episodes yet")
		return
	}
	t := newTable(w)
	t.AppendHeader(table.Row{"#", "start", "cause", "outcome", "promoted", "writable", "dns", "observed", "client outage"})
	for _, d := range slices.Backward(docs) {
		outage := "-"
		if d.Outage != nil {
			outage = fmt.Sprintf("%.1f s", *d.Outage)
		}
		t.AppendRow(table.Row{
			d.ID, d.Start.Format("2006-01-02 15:04:05"), d.Cause, d.Outcome, after(d, "promoted"), after(d, "writable"),
			after(d, "dns_accepted"),
			after(d, "dns_observed"), outage,
		})
	}
	t.Render()
}

func after(d *status.EpisodeDoc, phase string) string {
	for _, p := range d.Phases {
		if p.Phase == phase {
			return fmt.Sprintf("+%.1f s", p.After)
		}
	}
	return "-"
}

const barWidth = 40

// printTimeline prints one episode, with a bar for when each phase came.
func printTimeline(w io.Writer, d *status.EpisodeDoc) {
	fmt.Fprintf(w, "episode %d on %s: %s, %s", d.ID, d.Node, d.Cause, d.Outcome)
	if d.Peer != "" {
		fmt.Fprintf(w, ", before: %s", d.Peer)
	}
	fmt.Fprintf(w, "\nT+0 is %s\n\n", d.Start.Format(time.RFC3339Nano))
	total := 1e-9
	for _, p := range d.Phases {
		total = max(total, p.After)
	}
	for _, p := range d.Phases {
		note := ""
		switch p.Phase {
		case "peer_lost":
			note = d.Why
		case "dns_accepted":
			note = fmt.Sprintf("epoch %d, %d write(s)", d.Epoch, d.Writes)
		}
		n := int(p.After / total * barWidth)
		fmt.Fprintf(w, "T+%-8s %-34s %-*s %s\n", fmt.Sprintf("%.2fs", p.After), status.PhaseText(p.Phase), barWidth,
			strings.Repeat("─", n)+"●", note)
	}
	if d.Outage != nil {
		fmt.Fprintf(w, "\nA client of the name was without a server for %.2f s; then %s answered.\n", *d.Outage,
			status.OrDash(d.Answered))
	}
}
