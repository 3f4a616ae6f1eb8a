package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
)

// ui prints the story: plain lines, and on a terminal a line that moves while something takes its time.
type ui struct {
	out      io.Writer
	terminal bool
	start    time.Time
	unread   func() // called when nobody reads any more

	mu     sync.Mutex
	moving string // the line that is being redrawn, "" when there is none
	drawn  time.Time
	failed int
}

func newUI(out *os.File, unread func()) *ui {
	st, err := out.Stat()
	u := &ui{out: out, terminal: err == nil && st.Mode()&os.ModeCharDevice != 0 && os.Getenv("TERM") != "dumb",
		start: time.Now(), unread: unread}
	if !u.terminal || os.Getenv("NO_COLOR") != "" {
		text.DisableColors()
	}
	return u
}

func (u *ui) clear() {
	if u.moving != "" {
		_, _ = fmt.Fprint(u.out, "\r\x1b[K")
		u.moving = ""
	}
}

// print writes a block as it is.
func (u *ui) print(block string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.clear()
	if _, err := fmt.Fprintln(u.out, block); err != nil {
		u.unread()
	}
}

// step writes one line with the time since the start.
func (u *ui) step(format string, args ...any) {
	u.print(text.Faint.Sprintf("[%6.1fs]", time.Since(u.start).Seconds()) + " " + fmt.Sprintf(format, args...))
}

// title opens a chapter.
func (u *ui) title(s string) { u.print("\n" + text.Bold.Sprint(s)) }

const spinner = `|/-\`

// wait redraws the moving line; without a terminal it prints nothing.
func (u *ui) wait(format string, args ...any) {
	if !u.terminal {
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if time.Since(u.drawn) < 80*time.Millisecond && u.moving != "" {
		return
	}
	u.drawn = time.Now()
	tick := spinner[int(time.Since(u.start)/(100*time.Millisecond))%len(spinner)]
	u.moving = fmt.Sprintf("%c %s", tick, fmt.Sprintf(format, args...))
	_, _ = fmt.Fprint(u.out, "\r\x1b[K"+u.moving)
}

// bar draws progress in percent.
func bar(percent float64) string {
	const width = 30
	n := int(percent * width / 100)
	return "[" + strings.Repeat("#", n) + strings.Repeat(".", width-n) + fmt.Sprintf("] %5.1f %%", percent)
}

// check prints whether something that must hold does, and remembers when it does not.
func (u *ui) check(ok bool, format string, args ...any) {
	sign := text.FgGreen.Sprint("  ok    ")
	if !ok {
		sign = text.FgRed.Sprint("  FAILED")
		u.mu.Lock()
		u.failed++
		u.mu.Unlock()
	}
	u.print(sign + " " + fmt.Sprintf(format, args...))
}

func (u *ui) table(header table.Row, rows []table.Row) {
	w := table.NewWriter()
	w.SetStyle(table.StyleLight)
	w.AppendHeader(header)
	w.AppendRows(rows)
	u.print(w.Render())
}
