package agent

import (
	"fmt"
	"slices"
	"time"

	"github.com/pgha/pgha-agent/agent/state"
	"github.com/pgha/pgha-agent/agent/status"
)

// noteEvents has what happened between two snapshots saved beside the loop. It is for people: nothing waits for it.
func (a *Agent) noteEvents(before, after *status.Snapshot) {
	if a.opts.once || a.opts.sources != nil {
		return
	}
	if list := append(status.Events(before, after), a.story.Next(after)...); len(list) > 0 {
		a.events.change(func(waiting [][]state.Event) [][]state.Event { return append(waiting, list) })
	}
}

// noteRun tells that the agent begins, or ends.
func (a *Agent) noteRun(text string) {
	list := []state.Event{{At: a.clock.Wall(), Kind: state.EventAgent, Text: text}}
	a.events.change(func(waiting [][]state.Event) [][]state.Event { return append(waiting, list) })
}

// gapFrom is how long an agent must have been away for the history to tell.
const gapFrom = time.Minute

// saveEvents appends events to the file. The first of an agent's says since when none had run, as far as those of
// before show.
func (a *Agent) saveEvents(list []state.Event) {
	dir := a.cfg.State.Dir
	if first := &list[0]; first.Kind == state.EventAgent && !a.toldStart {
		a.toldStart = true
		if old, err := state.ReadEvents(dir); err == nil && len(old) > 0 {
			begun := 0
			for i, e := range old {
				if e.Kind == state.EventAgent { // by one clock from there on, unless it was set under way
					begun = i
				}
			}
			last := slices.MaxFunc(old[begun:], func(x, y state.Event) int { return x.At.Compare(y.At) })
			if first.At.Before(last.At) {
				first.Text += fmt.Sprintf("; by the clock that was before the last event, of %s: the clock was set back",
					last.At.UTC().Format(time.DateTime))
			} else if first.At.Sub(last.At) > gapFrom {
				first.Text += fmt.Sprintf("; the one before told something last at %s: what happened meanwhile is learned late",
					last.At.UTC().Format(time.DateTime))
			}
		}
	}
	if err := (state.Events{Dir: dir}).Add(list); err != nil {
		a.log.Warn("events not saved", keyErr, err)
	}
}
