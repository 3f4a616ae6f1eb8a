package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/pgha/pgha-agent/agent/config"
	"github.com/pgha/pgha-agent/agent/explain"
	"github.com/pgha/pgha-agent/agent/status"
	"github.com/pgha/pgha-agent/agent/switchover"
	"github.com/pgha/pgha-agent/crm"
)

// Exit statuses of switchover, beside 0 and 1.
const (
	exitRefused    = 2
	exitNotMoved   = 3
	exitUnverified = 4
	exitLeftover   = 5
)

type switchoverFlags struct {
	to                              string
	yes, dryRun, json, undo, rescue bool
	timeout                         time.Duration
}

func newSwitchover(file *string) *cobra.Command {
	var f switchoverFlags
	cmd := &cobra.Command{
		Use:   "switchover",
		Short: "Move the database to the other node, as planned work",
		Long: "switchover looks whether a move would be safe now, says what will happen, asks, and moves the promoted " +
			"role by Pacemaker's own tools. It\n" +
			"follows the move live, asks the name and PostgreSQL through it, removes its constraint, and says for how long " +
			"clients were cut off. It runs on\n" +
			"either node, as root or in group haclient. The daemon has no part in it.\n\n" +
			"It acts by one location constraint, pgha-switchover-CLONE, which prefers the other node and ends by itself. " +
			"Interrupted (Ctrl-C, a lost\n" +
			"terminal, SIGTERM) it removes the constraint, and Pacemaker decides; killed with -9 it leaves the constraint " +
			"until its time is over, and\n" +
			"--undo removes it.\n\n" +
			"--rescue moves the database away from what is wrong where it is: a record that is contested or held, a disk that " +
			"is lost under the database.\n" +
			"A planned move is refused because of just that. A rescue goes on where the move itself mends it, says the risk, " +
			"and wants the word rescue.\n" +
			"A split brain, a disk of the target that is not UpToDate, and a target that is not online and clean are always " +
			"refused.\n\n" +
			"Exit status: 0 moved and verified (with --dry-run: it would be safe); 1 an error before anything was changed; 2 " +
			"refused, nothing was changed;\n" +
			"3 not moved, the constraint is removed; 4 moved, but not all was verified, the constraint is removed; 5 the " +
			"constraint stands.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if f.timeout < time.Second {
				return fmt.Errorf("--timeout %v: want at least a second", f.timeout)
			}
			if f.json && !f.yes && !f.dryRun && !f.undo {
				return errors.New("--json asks nobody: say --yes or --dry-run")
			}
			load := needConfig
			if f.undo { // it acts on Pacemaker only
				load = func(file, _ string) (*config.Config, error) {
					s, err := readSettings(cmd, file)
					if err != nil {
						return nil, err
					}
					return s.Config, nil
				}
			}
			cfg, err := load(*file, "or move the database from the other node, by its own file: nothing was changed")
			if err != nil {
				return err
			}
			world, err := switchover.NewLive(cfg)
			if err != nil {
				return err
			}
			end := []os.Signal{os.Interrupt, syscall.SIGTERM}
			if !signal.Ignored(syscall.SIGHUP) { // nohup
				end = append(end, syscall.SIGHUP)
			}
			ctx, stop := signal.NotifyContext(cmd.Context(), end...)
			defer stop()
			// Nobody reads any more: that is no reason to leave a constraint behind. A write then fails, and nothing else.
			deaf := make(chan os.Signal, 1)
			signal.Notify(deaf, syscall.SIGPIPE)
			defer signal.Stop(deaf)
			if f.undo {
				return undoSwitchover(ctx, cmd.OutOrStdout(), world)
			}
			return f.run(ctx, cmd, cfg, world)
		},
	}
	cmd.Flags().StringVar(&f.to, "to", "", "node to move to; needed with more than one that could take it")
	cmd.Flags().BoolVarP(&f.yes, "yes", "y", false, "do not ask")
	cmd.Flags().BoolVar(&f.dryRun, "dry-run", false, "check, say what would happen, and change nothing")
	cmd.Flags().DurationVar(&f.timeout, "timeout", 5*time.Minute,
		"give up, and remove the constraint, when the move is not verified by then")
	cmd.Flags().BoolVar(&f.json, "json", false, "print the plan and the result as JSON; progress goes to stderr")
	cmd.Flags().BoolVar(&f.rescue, "rescue", false,
		"go on where the move itself mends what is wrong: a contested or held record, a lost disk of the present node")
	cmd.Flags().BoolVar(&f.undo, "undo", false,
		"remove the constraint of a switchover that was killed, and do nothing else")
	return cmd
}

// switchoverDoc is the JSON of `pgha-agent switchover --json`. Fields are only ever added.
type switchoverDoc struct {
	Plan   *switchover.Plan   `json:"plan"`
	Result *switchover.Result `json:"result"` // null when nothing was done
}

func (f *switchoverFlags) run(ctx context.Context, cmd *cobra.Command, cfg *config.Config,
	world *switchover.Live) error {
	out, progress := cmd.OutOrStdout(), cmd.OutOrStdout()
	if f.json {
		progress = cmd.ErrOrStderr()
	}
	doc := switchoverDoc{Plan: f.plan(ctx, world, f.to)}
	var err error
	if !f.json {
		printPlan(out, doc.Plan)
	}
	if refused := doc.Plan.Refused(); len(refused) > 0 {
		err = refusal(refused)
	} else if !f.dryRun {
		if err = f.ask(ctx, cmd, doc.Plan); err == nil {
			err = f.move(ctx, progress, cfg, world, &doc)
		}
	}
	if f.json {
		err = errors.Join(printJSON(out, doc), err)
	}
	return err
}

// plan looks at everything once, and judges it.
func (f *switchoverFlags) plan(ctx context.Context, world *switchover.Live, to string) *switchover.Plan {
	facts := world.Gather(ctx, to)
	facts.Rescue = f.rescue
	return switchover.MakePlan(facts)
}

// refusal names what refuses, and whether a rescue would go on.
func refusal(refused []switchover.Check) error {
	var names []string
	mended := true
	for _, c := range refused {
		names, mended = append(names, c.Name), mended && c.Rescue != ""
	}
	hint := ""
	if mended {
		hint = "; the move itself mends that: see the risk, then `" + explain.Rescue + "`"
	}
	return &exitError{exitRefused, fmt.Errorf("refused, nothing was changed: %s%s", strings.Join(names, ", "), hint)}
}

// ask wants a word of consent: another one when checks are overridden.
func (f *switchoverFlags) ask(ctx context.Context, cmd *cobra.Command, p *switchover.Plan) error {
	if f.yes {
		return nil
	}
	if in, ok := cmd.InOrStdin().(*os.File); !ok || !term.IsTerminal(int(in.Fd())) {
		return errors.New("there is no terminal to ask on: say --yes")
	}
	question, want := consent(p)
	fmt.Fprint(cmd.OutOrStdout(), question)
	answer := make(chan string, 1)
	go func() {
		line, _ := bufio.NewReader(cmd.InOrStdin()).ReadString('\n')
		answer <- strings.TrimSpace(line)
	}()
	select {
	case <-ctx.Done():
		return fmt.Errorf("nothing was changed: %w", context.Cause(ctx))
	case word := <-answer:
		if word != want {
			return errors.New("nothing was changed: not confirmed")
		}
		return nil
	}
}

// consent is the question, and the word that is a yes to it. One who is used to type yes does not rescue by it.
func consent(p *switchover.Plan) (question, word string) {
	verb, word := "Move", "yes"
	if len(p.Overridden()) > 0 {
		verb, word = "Rescue", "rescue"
	}
	return fmt.Sprintf("\n%s the database from %s to %s now? Type %s: ", verb, p.From, p.To, word), word
}

// move looks once more, since the question may have stood for long, and moves.
func (f *switchoverFlags) move(ctx context.Context, progress io.Writer, cfg *config.Config, world *switchover.Live,
	doc *switchoverDoc) error {
	if !f.yes {
		confirmed := doc.Plan
		doc.Plan = f.plan(ctx, world, confirmed.To)
		doc.Plan.Confirm(confirmed)
		if refused := doc.Plan.Refused(); len(refused) > 0 {
			printChecks(progress, refused)
			return refusal(refused)
		}
	}
	m := switchover.Mover{World: world, Node: cfg.Node.Name, Timeout: f.timeout,
		Say: func(after time.Duration, line string) {
			fmt.Fprintf(progress, "T+%-7s %s\n", fmt.Sprintf("%.1fs", after.Seconds()), printable(line))
		}}
	fmt.Fprintln(progress)
	var err error
	if doc.Result, err = m.Move(ctx, doc.Plan); err != nil {
		return fmt.Errorf("nothing was changed: %w", err)
	}
	if !f.json {
		printResult(progress, doc.Plan, doc.Result)
	}
	return outcome(doc.Result)
}

func outcome(r *switchover.Result) error {
	switch r.State {
	case switchover.NotMoved:
		return &exitError{exitNotMoved, fmt.Errorf("not moved: %s", r.Why)}
	case switchover.Unverified:
		return &exitError{exitUnverified, fmt.Errorf("moved, but not verified: %s", r.Why)}
	case switchover.Leftover:
		return &exitError{exitLeftover, fmt.Errorf("%s stands until %s (%s): %s removes it", r.Left.ID,
			r.Left.Until.Format(time.RFC3339), r.Why, r.Command)}
	default:
		return nil
	}
}

func printPlan(w io.Writer, p *switchover.Plan) {
	printChecks(w, p.Checks)
	if len(p.Refused()) > 0 {
		return
	}
	fmt.Fprintf(w, "\nMove %s from %s to %s:\n", p.Clone, p.From, p.To)
	for i, step := range p.Steps {
		fmt.Fprintf(w, "  %d. %s\n", i+1, step)
	}
}

func printChecks(w io.Writer, checks []switchover.Check) {
	words := map[switchover.Verdict]string{switchover.OK: "ok", switchover.Warn: "WARN", switchover.Fail: "FAIL"}
	for _, c := range checks {
		fmt.Fprintf(w, "%-4s  %-16s  %s\n", words[c.Verdict], c.Name, printable(c.Text))
		follow := func(format, text string) { fmt.Fprintf(w, "%-4s  %-16s  -> "+format+"\n", "", "", printable(text)) }
		switch {
		case c.Verdict != switchover.Fail && c.Rescue != "":
			follow("overridden by --rescue: %s", c.Rescue)
			continue
		case c.Remedy != "":
			follow("%s", c.Remedy)
		}
		if c.Rescue != "" {
			follow("would be overridden by --rescue: %s", c.Rescue)
		}
	}
}

func printResult(w io.Writer, p *switchover.Plan, r *switchover.Result) {
	fmt.Fprintln(w)
	if r.Episode != nil {
		printTimeline(w, r.Episode)
		fmt.Fprintln(w)
	}
	switch {
	case r.State == switchover.Moved:
		fmt.Fprintf(w, "Moved to %s in %.1f s. Nothing of this command is left in the cluster.\n", p.To, r.Seconds)
	case len(r.Promoted) == 1:
		fmt.Fprintf(w, "Pacemaker shows %s as promoted.\n", r.Promoted[0])
	default:
		fmt.Fprintf(w, "Pacemaker shows no single promoted node now (%s).\n", status.OrDash(strings.Join(r.Promoted, ", ")))
	}
	if r.Outage != nil {
		fmt.Fprintf(w, "A client of the name was without a server for %.1f s.\n", *r.Outage)
	}
	if r.Command != "" {
		fmt.Fprintf(w, "Next: %s\n", r.Command)
	}
}

// undoSwitchover removes what a killed one left.
func undoSwitchover(ctx context.Context, out io.Writer, world *switchover.Live) error {
	left, err := switchover.Standing(ctx)
	if err != nil {
		return err
	}
	for _, l := range left {
		if err := world.Withdraw(ctx, l.ID); err != nil {
			return &exitError{exitLeftover, fmt.Errorf("remove %s: %w", l.ID, err)}
		}
		fmt.Fprintf(out, "removed %s, which preferred %s\n", l.ID, l.Node)
	}
	if len(left) == 0 {
		fmt.Fprintln(out, "nothing of a switchover is left")
	}
	return nil
}

// leftover says that a switchover's constraint stands; "" when none does. Whether one could be asked is in the error.
func leftover(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	c, err := new(crm.CIB).Configuration(ctx)
	if err != nil {
		return "", err
	}
	return leftoverIn(c, time.Now()), nil
}

// leftoverIn is leftover for a configuration that was read.
func leftoverIn(c *crm.Configuration, now time.Time) string {
	left := switchover.Leftovers(c)
	if len(left) == 0 {
		return ""
	}
	l := left[0]
	if !l.Applies(now) {
		return fmt.Sprintf("%s is left of a switchover to %s; it ended to apply at %s and does nothing", l.ID, l.Node,
			l.Until.Format(time.RFC3339))
	}
	return fmt.Sprintf("%s prefers %s until %s: a switchover is under way, or was killed", l.ID, l.Node,
		l.Until.Format(time.RFC3339))
}
