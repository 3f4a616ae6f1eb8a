package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
	"github.com/spf13/cobra"

	"github.com/pgha/pgha-agent/agent/explain"
	"github.com/pgha/pgha-agent/agent/status"
	"github.com/pgha/pgha-agent/pg"
)

func newStatus(file *string) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show what the daemon knows and does",
		Long: "status says whether clients can write, whether the database could fail over, and the next step, as explain " +
			"does; then the record and what\n" +
			"this node does. It asks the daemon over its control socket. When that does not answer, it says what it sees " +
			"itself.\n\n" +
			"Exit status, as of explain: 0 ready and no problem, 2 not ready or a problem, 1 the daemon does not answer.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := readSettings(cmd, *file)
			if err != nil {
				return err
			}
			out := cmd.OutOrStdout()
			doc, silent := status.Fetch(cmd.Context(), cfg.State.ControlSocket)
			if silent != nil && asJSON {
				return silent
			}
			x := judgmentOf(cmd.Context(), cfg, doc, silent)
			switch {
			case asJSON:
				err = printJSON(out, doc)
			case silent != nil:
				x.Notes = x.Notes[1:] // why it is silent: the error says it
				printJudgment(out, &x)
				printFindings(out, &x)
			default:
				printJudgment(out, &x)
				printDocument(out, doc, &x)
				printFindings(out, &x)
			}
			if silent == nil {
				silent = judgedExit(doc, &x)
			}
			return errors.Join(err, silent)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// printJudgment prints the judgment, before what it rests on.
func printJudgment(w io.Writer, x *explain.Explanation) {
	width := wordsOf(w)
	printHeadline(w, width, x)
	if x.WaitsFor != "nothing" {
		printWaits(w, width, x)
	}
	printNext(w, width, x)
	fmt.Fprintln(w)
}

// printDocument prints the record and what this node does.
func printDocument(w io.Writer, d *status.Doc, x *explain.Explanation) {
	t := newTable(w)
	width := 110
	if words := wordsOf(w); words < wordsWidth { // a narrow terminal, and the names have 16 columns
		width = words + nameWidth - 18
	}
	t.SetColumnConfigs([]table.ColumnConfig{{Number: 2, WidthMax: width, WidthMaxEnforcer: text.WrapSoft}})
	row := func(name, format string, args ...any) { t.AppendRow(table.Row{name, fmt.Sprintf(format, args...)}) }

	row("node", "%s  (pgha-agent %s, %s)", d.Node, d.Version, d.Time.Format(time.RFC3339))
	row("publication", "%s%s", d.Publication.State, publicationNote(d))
	for _, h := range x.Holds {
		row("  held by", "%s: %s", h.Name, h.Text)
		if h.Remedy != "" {
			row("", "-> %s", h.Remedy)
		}
	}
	row("record", "%s  zone %s  resolver %s  own %s", d.Record.Name, status.OrDash(d.Record.Addr), resolverAnswer(d),
		status.OrDash(d.Record.OwnAddr))
	row("  owner", "%s  epoch %d", status.OrDash(d.Record.Owner), d.Record.Epoch)
	if c := d.Cluster; c != nil {
		row("cluster", "promoted %s  dc %s  fencing %s  maintenance %s", status.OrDash(strings.Join(c.Promoted, ",")),
			status.OrDash(c.DC), yesNo(c.FencingEnabled), yesNo(c.Maintenance))
		for _, n := range c.Nodes {
			row("  "+n.Name, "online %s  unclean %s  standby %s", yesNo(n.Online), yesNo(n.Unclean), yesNo(n.Standby))
		}
	} else {
		row("cluster", "not known")
	}
	printDrbd(row, d)
	note := d.Postgres.Error
	if d.Postgres.State == pg.StateRefused { // nobody listens: as it should be on a standby
		note = ""
	}
	row("postgres", "%s  %s", d.Postgres.State, note)
	if d.Client != nil {
		row("client view", "%s", clientNote(d.Client))
	}
	if e := d.Episode; e != nil {
		row("last episode", "#%d %s, %s, %s", e.ID, e.Cause, e.Outcome, e.Start.Format(time.RFC3339))
	}
	for _, s := range d.Sources {
		if !s.Up && s.Error == "" { // else there is a finding
			row("source "+s.Name, "DOWN  it has not answered yet")
		}
	}
	t.Render()
}

// printFindings prints what is wrong beside what has been said.
func printFindings(w io.Writer, x *explain.Explanation) {
	for _, f := range untold(x, "paused") { // the latter is in the line about the publication
		fmt.Fprintf(w, "\n%s %s: %s\n", strings.ToUpper(f.Severity), f.Code, printable(f.Text))
		if f.Remedy != "" {
			fmt.Fprintf(w, "  -> %s\n", printable(f.Remedy))
		}
		for _, command := range f.Commands {
			fmt.Fprintf(w, "     %s\n", printable(command))
		}
	}
	for i, n := range x.Notes {
		if i == 0 {
			fmt.Fprintln(w)
		}
		fmt.Fprintf(w, "- %s\n", printable(n))
	}
}

func printDrbd(row func(string, string, ...any), d *status.Doc) {
	if d.Drbd == nil {
		row("drbd", "not known")
		return
	}
	var disks []string
	for _, v := range d.Drbd.Devices {
		disks = append(disks, string(v.Disk))
	}
	row("drbd", "%s  %s  disk %s", d.Drbd.Name, d.Drbd.Role, strings.Join(disks, ","))
	for _, c := range d.Drbd.Connections {
		for _, v := range c.PeerDevices {
			row("  "+c.Name, "%s  peer %s  disk %s  %s%s", c.Connection, c.PeerRole, v.PeerDisk, v.Replication,
				status.SyncNote(v.Done, v.ETASeconds, v.Stalled))
		}
	}
}

func publicationNote(d *status.Doc) string {
	p := &d.Publication
	var notes []string
	if p.PausedUntil != nil {
		notes = append(notes, "PAUSED until "+p.PausedUntil.Format(time.RFC3339))
	}
	if len(notes) == 0 {
		return ""
	}
	return "  (" + strings.Join(notes, "; ") + ")"
}

func clientNote(c *status.ClientDoc) string {
	note := string(c.State)
	if !c.Asked {
		return "not asked: the name does not exist"
	}
	if c.OK {
		note = "ok, answered by " + status.OrDash(c.Answered)
	} else if c.Error != "" {
		note += "  " + c.Error
	}
	if c.LastOutage != nil {
		note += fmt.Sprintf("  (last outage %.1f s)", *c.LastOutage)
	}
	return note
}

func resolverAnswer(d *status.Doc) string {
	if d.Record.ResolverAddr == nil {
		return "?"
	}
	return status.OrDash(*d.Record.ResolverAddr)
}

func yesNo(b *bool) string {
	switch {
	case b == nil:
		return "?"
	case *b:
		return "yes"
	default:
		return "no"
	}
}
