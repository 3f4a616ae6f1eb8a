package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"github.com/pgha/pgha-agent/agent/config"
	"github.com/pgha/pgha-agent/agent/status"
	"github.com/pgha/pgha-agent/agent/switchover"
	"github.com/pgha/pgha-agent/pg"
)

func newStatus(file *string) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show what the daemon knows and does",
		Long: "status asks the daemon over its control socket. Exit status: 0 ready, 2 not ready, 1 the daemon does not " +
			"answer.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := config.Load(*file)
			if err != nil {
				return err
			}
			doc, err := status.Fetch(cmd.Context(), cfg.State.ControlSocket)
			if err != nil {
				return err
			}
			if asJSON {
				err = printJSON(cmd.OutOrStdout(), doc)
			} else {
				printStatus(cmd.OutOrStdout(), doc)
				// a cluster that does not answer has its own line
				if left, err := leftover(cmd.Context()); err == nil && left != "" {
					fmt.Fprintf(cmd.OutOrStdout(), "\nWARNING switchover: %s\n  -> if none is: `%s`\n", left, switchover.Undo)
				}
			}
			if err == nil && !doc.Ready {
				return &exitError{2, fmt.Errorf("not ready: %s", strings.Join(doc.Unready, "; "))}
			}
			return err
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func printStatus(w io.Writer, d *status.Doc) {
	t := newTable(w)
	t.SetColumnConfigs([]table.ColumnConfig{{Number: 2, WidthMax: 110}})
	row := func(name, format string, args ...any) { t.AppendRow(table.Row{name, fmt.Sprintf(format, args...)}) }

	row("node", "%s  (pgha-agent %s, %s)", d.Node, d.Version, d.Time.Format(time.RFC3339))
	row("publication", "%s%s", d.Publication.State, publicationNote(d))
	for _, h := range d.Publication.Holds {
		if d.Publication.State != status.PubIdle {
			row("  held by", "%s: %s", h.Name, h.Text)
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
		if !s.Up {
			row("source "+s.Name, "DOWN  %s", s.Error)
		}
	}
	t.Render()
	for _, p := range d.Problems {
		fmt.Fprintf(w, "\n%s %s: %s\n", strings.ToUpper(p.Severity), p.Code, p.Text)
		if p.Remedy != "" {
			fmt.Fprintf(w, "  -> %s\n", p.Remedy)
		}
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
	if p.LastFailure != "" && p.Attempts > 0 {
		notes = append(notes, fmt.Sprintf("%d failed attempts, last: %s", p.Attempts, p.LastFailure))
	}
	if p.PausedUntil != nil {
		notes = append(notes, "PAUSED until "+p.PausedUntil.Format(time.RFC3339))
	}
	if d.Record.Drift {
		notes = append(notes, "CHANGED BY SOMEBODY ELSE")
	}
	if len(notes) == 0 {
		return ""
	}
	return "  (" + strings.Join(notes, "; ") + ")"
}

func clientNote(c *status.ClientDoc) string {
	note := string(c.State)
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
