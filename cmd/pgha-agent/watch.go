package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/jedib0t/go-pretty/v6/text"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/pgha/pgha-agent/agent/explain"
	"github.com/pgha/pgha-agent/agent/status"
)

func newWatch(file *string) *cobra.Command {
	var interval time.Duration
	cmd := &cobra.Command{
		Use:   "watch",
		Short: "Follow the status live, until Ctrl-C",
		Long: "watch shows what status shows again and again, and with it the open episode with its phases as they come. " +
			"When the output is no terminal, it\n" +
			"prints a line for each change instead. A daemon that goes away is waited for. Exit status: 0 after Ctrl-C.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if interval < minInterval {
				return fmt.Errorf("--interval %v: want at least %v", interval, minInterval)
			}
			cfg, err := readSettings(cmd, *file)
			if err != nil {
				return err
			}
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
			defer stop()
			fetch := func(ctx context.Context) (*status.Doc, error) {
				return status.Fetch(ctx, cfg.State.ControlSocket)
			}
			out := cmd.OutOrStdout()
			if f, ok := out.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
				size := func() (int, int, error) { return term.GetSize(int(f.Fd())) }
				return watch(ctx, interval, fetch, &screen{out: out, size: size, ttl: cfg.Record.TTL})
			}
			return watch(ctx, interval, fetch, &changes{out: out, ttl: cfg.Record.TTL})
		},
	}
	cmd.Flags().DurationVar(&interval, "interval", time.Second, "time between two looks")
	return cmd
}

// minInterval keeps a watch from being work for the daemon.
const minInterval = 100 * time.Millisecond

// viewer shows one look at the daemon after the other. Either doc or fail is nil.
type viewer interface {
	open() error
	show(now time.Time, doc *status.Doc, fail error) error
	close() error
}

// watch looks until ctx ends.
func watch(ctx context.Context, interval time.Duration, fetch func(context.Context) (*status.Doc, error),
	v viewer) (err error) {
	if err := v.open(); err != nil {
		return err
	}
	defer func() {
		if cerr := v.close(); err == nil {
			err = cerr
		}
	}()
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		doc, fail := fetch(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err := v.show(time.Now(), doc, fail); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// ANSI sequences. The alternate screen gives the terminal back as it was.
const (
	enterScreen = "\x1b[?1049h\x1b[?25l"
	leaveScreen = "\x1b[?25h\x1b[?1049l"
	home        = "\x1b[H"
	clearLine   = "\x1b[K"
	clearBelow  = "\x1b[J"
)

// screen redraws the whole status in a terminal.
type screen struct {
	out  io.Writer
	size func() (width, height int, err error)
	ttl  time.Duration // of the record
	last *status.Doc   // the last good one
}

func (s *screen) open() error { return s.write(enterScreen) }

func (s *screen) close() error { return s.write(leaveScreen) }

func (s *screen) write(text string) error {
	_, err := io.WriteString(s.out, text) // in one call, so that nobody sees half a picture
	return err
}

func (s *screen) show(now time.Time, doc *status.Doc, fail error) error {
	width, height, err := s.size()
	if err != nil || width < 1 || height < 1 {
		width, height = 80, 24
	}
	var body bytes.Buffer
	if fail != nil {
		fmt.Fprintf(&body, "%s  THE DAEMON DOES NOT ANSWER; the cluster goes on without it\n%v\n"+
			"How the database is, without the daemon: `pgha-agent explain`\n\n", now.Format(time.TimeOnly), fail)
		if doc = s.last; doc != nil {
			fmt.Fprintf(&body, "What it said last, %s ago:\n", status.Ago(now.Sub(doc.Time)))
		}
	} else {
		s.last = doc
		word := "ready"
		if !doc.Ready {
			word = "NOT READY"
		}
		fmt.Fprintf(&body, "%s  %s  (Ctrl-C ends)\n\n", now.Format(time.TimeOnly), word)
	}
	if doc != nil {
		// what one watches for goes first: a small window cuts the end
		x := explain.Given(doc, now, s.ttl)
		if fail == nil { // what was judged then is no answer now
			words := min(max(width-nameWidth, 1), wordsWidth)
			printHeadline(&body, words, &x)
			if x.WaitsFor != "nothing" {
				printWaits(&body, words, &x)
			}
			if x.Verdict != explain.Waiting { // then the next step is to watch
				printNext(&body, words, &x)
			}
			fmt.Fprintln(&body)
		}
		if doc.Episode != nil && doc.Episode.Outcome == "open" {
			printTimeline(&body, doc.Episode)
			fmt.Fprintln(&body)
		}
		printDocument(&body, doc, &x)
		printFindings(&body, &x)
	}
	return s.write(frame(body.String(), width, height))
}

// frame cuts a picture to the window and makes of it what redraws the window without a flicker.
func frame(body string, width, height int) string {
	lines := strings.Split(strings.TrimRight(body, "\n"), "\n")
	if len(lines) > height {
		more := len(lines) - height + 1
		lines = append(lines[:height-1], fmt.Sprintf("... %d more lines: make the window larger", more))
	}
	var b strings.Builder
	b.WriteString(home)
	for i, line := range lines {
		if i > 0 {
			b.WriteString("\r\n")
		}
		b.WriteString(clearLine) // before the text: after a line of the full width it would take the last letter
		b.WriteString(text.Trim(strings.TrimRight(printable(line), " "), width))
	}
	b.WriteString(clearBelow)
	return b.String()
}

// changes prints a line for each change, for a pipe or a file.
type changes struct {
	out     io.Writer
	ttl     time.Duration // of the record
	last    string
	episode uint64
	phases  map[string]bool // of that episode, as far as they are printed: one that is found late may be in the middle
	outcome string
	over    bool // it was over at the first look: no news
	started bool
}

func (c *changes) open() error { return nil }

func (c *changes) close() error { return nil }

func (c *changes) show(now time.Time, doc *status.Doc, fail error) error {
	var lines []string
	if fail != nil {
		lines = append(lines, "no daemon: "+fail.Error())
	} else {
		x := explain.Given(doc, now, c.ttl)
		lines = append(lines, summary(doc, &x))
	}
	if lines[0] == c.last {
		lines = nil
	} else {
		c.last = lines[0]
	}
	if doc != nil {
		lines = append(lines, c.news(doc.Episode)...)
	}
	for _, line := range lines {
		if _, err := fmt.Fprintf(c.out, "%s %s\n", now.Format(time.RFC3339), printable(line)); err != nil {
			return err
		}
	}
	return nil
}

// news returns a line for each phase that was not printed yet.
func (c *changes) news(e *status.EpisodeDoc) (lines []string) {
	first := !c.started
	c.started = true
	if e == nil {
		return nil
	}
	if e.ID != c.episode {
		c.episode, c.phases, c.outcome = e.ID, map[string]bool{}, "open"
		c.over = first && e.Outcome != "open"
		if !c.over {
			lines = append(lines, fmt.Sprintf("episode %d: begins, %s", e.ID, e.Start.Format(time.RFC3339)))
		}
	}
	if c.over {
		return nil
	}
	for _, p := range e.Phases {
		if !c.phases[p.Phase] {
			c.phases[p.Phase] = true
			lines = append(lines, fmt.Sprintf("episode %d: T+%.2fs %s", e.ID, p.After, status.PhaseText(p.Phase)))
		}
	}
	if e.Outcome != c.outcome {
		c.outcome = e.Outcome
		lines = append(lines, fmt.Sprintf("episode %d: ends, %s, %s", e.ID, e.Cause, e.Outcome))
	}
	return lines
}

// summary is what a change is measured by: nothing that moves all the time.
func summary(d *status.Doc, x *explain.Explanation) string {
	words := []string{"ready"}
	if !d.Ready {
		words[0] = "not-ready"
	}
	add := func(format string, args ...any) { words = append(words, fmt.Sprintf(format, args...)) }
	possible := map[string]string{"yes": "possible", "no": "impossible", "?": "unknown"}[yesNo(x.Failover.Possible)]
	add("verdict=%s clients=%s failover=%s", x.Verdict, x.Database.State, possible)
	add("publication=%s", d.Publication.State)
	if d.Publication.State != status.PubIdle && len(d.Publication.Holds) > 0 {
		var holds []string
		for _, h := range d.Publication.Holds {
			holds = append(holds, h.Name)
		}
		add("held-by=%s", strings.Join(holds, ","))
	}
	add("zone=%s owner=%s epoch=%d resolver=%s", status.OrDash(d.Record.Addr), status.OrDash(d.Record.Owner),
		d.Record.Epoch, resolverAnswer(d))
	if d.Cluster != nil {
		add("promoted=%s", status.OrDash(strings.Join(d.Cluster.Promoted, ",")))
	}
	if d.Drbd != nil {
		add("drbd=%s", d.Drbd.Role)
		for _, c := range d.Drbd.Connections {
			add("%s=%s", c.Name, c.Connection)
		}
	}
	add("postgres=%s", d.Postgres.State)
	for _, f := range slices.Concat(x.Findings, x.Failover.Reasons) {
		if word := f.Severity + ":" + f.Code; !slices.Contains(words, word) {
			words = append(words, word)
		}
	}
	return strings.Join(words, " ")
}
