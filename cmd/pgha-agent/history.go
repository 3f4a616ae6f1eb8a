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
	"github.com/jedib0t/go-pretty/v6/text"
	"github.com/spf13/cobra"

	"github.com/pgha/pgha-agent/agent/state"
	"github.com/pgha/pgha-agent/agent/status"
)

func newHistory(file *string) *cobra.Command {
	var asJSON, events bool
	cmd := &cobra.Command{
		Use:   "history [EPISODE]",
		Short: "Show the episodes of this node and what happened beside them, or one episode as a timeline",
		Long: "history reads what the agent of this node has written down: the episodes, one for each promotion, and the " +
			"events beside them:\n" +
			"operations that failed, restarts, what was changed in the cluster's configuration and by whom, fencing, " +
			"outages of clients,\n" +
			"what DRBD lost, resyncs, a record that somebody else changed, the agents of other nodes, and when\n" +
			"no agent was looking. With a number, or last, it shows one episode as a timeline, with the events of that " +
			"time. It " +
			"works without the daemon.",
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := readSettings(cmd, *file)
			if err != nil {
				return err
			}
			entries, _, err := state.ReadJournal(cfg.State.Dir)
			if err != nil && !errors.Is(err, fs.ErrNotExist) { // before the first episode there is no journal
				return err
			}
			read, err := state.ReadEvents(cfg.State.Dir)
			if err != nil {
				return err
			}
			told := inOrder(read)
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
					return printJSON(out, storyDoc{doc, during(told, doc)})
				}
				printTimeline(out, doc)
				printEvents(out, during(told, doc))
				return nil
			}
			if events && asJSON {
				return printJSON(out, told)
			}
			if asJSON {
				return printJSON(out, docs)
			}
			if events {
				printEvents(out, told)
				return nil
			}
			printHistory(out, docs)
			printEvents(out, told[len(told)-min(len(told), eventsShown):])
			printCutOff(out, told)
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.Flags().BoolVar(&events, "events", false, "show all events, and no episodes")
	return cmd
}

// storyDoc is the JSON of one episode. Fields are only ever added.
type storyDoc struct {
	*status.EpisodeDoc
	Events []state.Event `json:"events"` // of its time
}

const (
	eventsShown  = 15
	eventsBefore = time.Minute     // of an episode: what led to it
	eventsAfter  = 5 * time.Minute // what came of it
)

// lateBy is how much later than others of its time an event may be written down: a condition has to last.
const lateBy = time.Minute

// inOrder sorts events by time, but not over a clock that was set.
func inOrder(read []state.Event) []state.Event {
	list := append([]state.Event{}, read...)
	for i := range list {
		for j := i; j > 0; j-- {
			early := list[j-1].At.Sub(list[j].At)
			if early <= 0 || early > lateBy || list[j-1].Kind == state.EventClock || list[j].Kind == state.EventClock {
				break
			}
			list[j-1], list[j] = list[j], list[j-1]
		}
	}
	return list
}

// during leaves the events of an episode's time.
func during(events []state.Event, d *status.EpisodeDoc) []state.Event {
	end := d.Start
	for _, p := range d.Phases {
		if p.At.After(end) {
			end = p.At
		}
	}
	return slices.DeleteFunc(slices.Clone(events), func(e state.Event) bool {
		return e.At.Before(d.Start.Add(-eventsBefore)) || e.At.After(end.Add(eventsAfter))
	})
}

// Widths of what is printed for a terminal of 80 columns.
const (
	historyWidth = 80
	eventIndent  = 36 // time and kind of an event
	barWidth     = 12
)

func printEvents(w io.Writer, events []state.Event) {
	if len(events) == 0 {
		return
	}
	fmt.Fprintln(w)
	for _, e := range events {
		head := fmt.Sprintf("%s  %-9s", e.At.UTC().Format("2006-01-02 15:04:05 UTC"), e.Kind)
		for line := range strings.SplitSeq(text.WrapSoft(printable(e.Text), historyWidth-eventIndent), "\n") {
			fmt.Fprintf(w, "%-*s%s\n", eventIndent, head, strings.TrimRight(line, " "))
			head = ""
		}
	}
}

// printCutOff says that clients are cut off, as far as the events tell. With a daemon status says it more exactly.
func printCutOff(w io.Writer, events []state.Event) {
	for _, e := range slices.Backward(events) {
		switch e.Kind {
		case state.EventServed:
			return
		case state.EventCutOff:
			fmt.Fprintf(w, "\nClients of the name are cut off since %s.\nNo event tells that they are served again.\n",
				e.At.UTC().Format("2006-01-02 15:04:05 UTC"))
			return
		}
	}
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
	t.Style().Box.PaddingLeft = ""
	t.AppendHeader(table.Row{"#", "start", "cause", "outcome", "promoted", "writable", "observed", "outage"})
	for _, d := range slices.Backward(docs) {
		outage := "-"
		if d.Outage != nil {
			outage = fmt.Sprintf("%.1fs", *d.Outage)
		}
		if d.CutOffSince != nil {
			outage = "goes on"
		}
		t.AppendRow(table.Row{
			d.ID, d.Start.Format("2006-01-02 15:04"), d.Cause, d.Outcome, after(d, "promoted"), after(d, "writable"),
			after(d, "dns_observed"), outage,
		})
	}
	t.Render()
	for i := 1; i < len(docs); i++ {
		if docs[i].Start.Before(docs[i-1].Start) {
			fmt.Fprintf(w, "\nEpisode %d is newer than %d: the clock was set back between them.\n", docs[i].ID, docs[i-1].ID)
		}
	}
	if slices.ContainsFunc(docs, func(d *status.EpisodeDoc) bool { return slices.ContainsFunc(d.Phases, isLate) }) {
		fmt.Fprint(w, "\n", learnedLate, "\n")
	}
}

func after(d *status.EpisodeDoc, phase string) string {
	for _, p := range d.Phases {
		if p.Phase == phase {
			return fmt.Sprintf("%s%.1fs", sign(p), p.After)
		}
	}
	return "-"
}

// sign marks the time of a phase; one that was learned late came before it.
func sign(p status.PhaseDoc) string {
	if p.Late {
		return "≤+"
	}
	return "+"
}

// learnedLate explains the sign.
const learnedLate = "≤: learned late, because the agent did not run or stood still when it happened.\n" +
	"The time is when the agent learned it."

func isLate(p status.PhaseDoc) bool { return p.Late }

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
		at := fmt.Sprintf("T%-9s", fmt.Sprintf("%s%.2fs", sign(p), p.After))
		bar := strings.Repeat("─", int(p.After/total*barWidth)) + "●"
		fmt.Fprintln(w, strings.TrimRight(fmt.Sprintf("%s %-34s %-*s %s", at, status.PhaseText(p.Phase), barWidth+1, bar,
			printable(note)), " "))
	}
	if d.Outage != nil {
		fmt.Fprintf(w, "\nA client of the name was without a server for %.2f s; then %s answered.\n", *d.Outage,
			status.OrDash(d.Answered))
	}
	if d.CutOffSince != nil {
		end := "It was still cut off at the end of the episode."
		if d.Outcome == "open" {
			end = "It is cut off since then."
		}
		fmt.Fprintf(w, "\nA client of the name was last served at %s.\n"+end+"\n",
			d.CutOffSince.Format(time.RFC3339))
	}
	if slices.ContainsFunc(d.Phases, isLate) {
		fmt.Fprint(w, "\n", learnedLate, "\n")
	}
}
