package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/text"
	"golang.org/x/term"

	"github.com/pgha/pgha-agent/agent"
	"github.com/pgha/pgha-agent/agent/explain"
	"github.com/pgha/pgha-agent/agent/status"
	"github.com/pgha/pgha-agent/agent/switchover"
)

// judgmentOf returns what the daemon judges, with what a switchover has left. Of a daemon that does not answer, for
// which silent is the reason, or that hangs, it returns what is seen without it.
func judgmentOf(ctx context.Context, cfg *settings, doc *status.Doc, silent error) explain.Explanation {
	if explain.MayNotAsk(silent) {
		return explain.Silence(silent, explain.Facts{})
	}
	if silent == nil && time.Since(doc.Time) <= explain.OldAnswer {
		x := explain.Given(doc, time.Now(), cfg.Record.TTL)
		left, err := leftover(ctx)
		explain.AddLeftover(&x, left, switchover.Undo, err)
		return x
	}
	if !cfg.whole { // what to look at is not known
		if silent == nil {
			return explain.Given(doc, time.Now(), cfg.Record.TTL)
		}
		x := explain.Silence(silent, explain.Facts{})
		explain.AddBroken(&x)
		return x
	}
	f, unseen := agent.FactsWithoutDaemon(ctx, cfg.Config, cfg.file, doc)
	var x explain.Explanation
	if silent != nil {
		x = explain.Silence(silent, f)
	} else {
		x = explain.Judge(f)
	}
	if silent != nil && cfg.broken {
		explain.AddBroken(&x)
	}
	for _, why := range unseen {
		x.Notes = append(x.Notes, "Not known: "+strings.TrimRight(why, ".")+".")
	}
	if f.Config != nil { // else it is among them
		explain.AddLeftover(&x, leftoverIn(f.Config, f.Now), switchover.Undo, nil)
	}
	return x
}

// judgedExit turns a judgment into the exit status of status and explain.
func judgedExit(doc *status.Doc, x *explain.Explanation) error {
	switch {
	case !doc.Ready:
		return &exitError{2, fmt.Errorf("this node is not ready (verdict: %s)", x.Verdict)}
	case x.Verdict == explain.Problem:
		return &exitError{2, errors.New("there is a problem")}
	}
	return nil
}

// Columns of what is printed as parts: a name, and words beside it.
const (
	nameWidth  = 10
	wordsWidth = 96
)

// wordsOf is how wide words are that are printed beside a name: less on a narrow terminal. A pipe or a file has no
// width.
func wordsOf(w io.Writer) int {
	if f, ok := w.(*os.File); ok {
		if width, _, err := term.GetSize(int(f.Fd())); err == nil && width > 0 {
			return max(30, min(wordsWidth, width-nameWidth))
		}
	}
	return wordsWidth
}

// part prints words beside a name, in lines of at most that width.
func part(w io.Writer, width int, name, words string) {
	for i, line := range strings.Split(text.WrapSoft(printable(words), width), "\n") {
		if i > 0 {
			name = ""
		}
		fmt.Fprintf(w, "%-*s%s\n", nameWidth, name, strings.TrimRight(line, " "))
	}
}

// printHeadline prints what a person fears for first: the verdict, whether clients can write, and whether the database
// could fail over, with what to do about it when that is not the next step.
func printHeadline(w io.Writer, width int, x *explain.Explanation) {
	fmt.Fprintf(w, "%s\n\n", strings.ToUpper(string(x.Verdict)))
	part(w, width, "DATABASE", x.Database.Text)
	part(w, width, "FAILOVER", x.Failover.Text)
	for _, r := range x.Failover.Reasons {
		told := strings.Contains(x.Failover.Text, r.Text)
		if told && r.Remedy != "" && !strings.Contains(strings.ToLower(x.Next), strings.ToLower(r.Remedy)) {
			printRemedy(w, width, r)
		}
	}
}

// printRemedy prints what to do about a finding, and each command in a line of its own, to be copied.
func printRemedy(w io.Writer, width int, f status.Finding) {
	part(w, width, "", "-> "+f.Remedy)
	for _, command := range f.Commands {
		fmt.Fprintf(w, "%*s   %s\n", nameWidth, "", printable(command))
	}
}

func printWaits(w io.Writer, width int, x *explain.Explanation) {
	part(w, width, "WAITS", "for "+x.WaitsFor)
}

func printNext(w io.Writer, width int, x *explain.Explanation) {
	part(w, width, "NEXT", explain.Step(x))
	for i, command := range explain.Commands(x) {
		if i == 0 {
			fmt.Fprintln(w)
		}
		fmt.Fprintf(w, "%*s%s\n", nameWidth, "", printable(command))
	}
}

// untold returns the findings that are still to be told, without those that are said in other words.
func untold(x *explain.Explanation, said ...string) []status.Finding {
	return slices.DeleteFunc(explain.Untold(x), func(f status.Finding) bool { return slices.Contains(said, f.Code) })
}
