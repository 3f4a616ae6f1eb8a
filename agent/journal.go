package agent

import (
	"context"
	"net/netip"

	"github.com/pgha/pgha-agent/agent/fsm"
	"github.com/pgha/pgha-agent/agent/state"
	"github.com/pgha/pgha-agent/agent/status"
	"github.com/pgha/pgha-agent/pg"
)

// openJournal reads how the last episode stood. A journal that cannot be opened costs the history, never the record:
// the agent starts without it, says so, and tries again with each entry.
func (a *Agent) openJournal() (last fsm.Episode, sameBoot bool) {
	open := a.journal.Open
	if a.opts.once {
		open = a.journal.OpenReadOnly
	}
	e, err := open()
	if err != nil {
		a.log.Error("journal not open", keyErr, err)
		a.observed.JournalErr = err.Error()
	}
	if e == nil {
		return last, false
	}
	last, sameBoot = e.Episode, e.Boot == a.id.boot
	if !sameBoot {
		a.earlier = *e
	}
	if sameBoot && last.Open() {
		a.resumeView(e.Client)
	}
	return last, sameBoot
}

// resumeView lets the client's view go on from before a restart in the middle of an episode. After a longer time
// without an agent nobody knows when an outage began.
func (a *Agent) resumeView(c state.ClientSeen) {
	if c == (state.ClientSeen{}) {
		return
	}
	v := pg.ClientProbe{Answers: true, End: a.clock.Wall().Add(c.At - a.clock.Boot())}
	v.Answered, _ = netip.ParseAddr(c.Addr) // not known stays not known
	a.observed.Served = c
	a.outage.Resume(v)
}

// entry makes the journal's line of an episode. One that a reboot ended stays in the boot that its times are of.
func (a *Agent) entry(e fsm.Episode) state.Entry {
	if e.ID == a.earlier.Episode.ID {
		lost := a.earlier
		lost.Episode = e
		return lost
	}
	return state.Entry{
		Boot: a.id.boot, Node: a.id.node, Addr: a.state.Config.Addr, Saved: a.clock.Wall(), Uptime: a.clock.Boot(),
		Client: a.observed.Served, Episode: e,
	}
}

// journalSaved shows how the last attempt to save went.
func (a *Agent) journalSaved(ctx context.Context, err error) {
	text := ""
	if err != nil {
		text = err.Error()
		a.metrics.JournalFailures.Inc()
	}
	if text == a.Snapshot().JournalErr {
		return
	}
	if err != nil {
		a.log.Error("episode not saved, trying again", keyErr, err)
	}
	a.send(ctx, message{fsm.Tick{}, func(s *status.Snapshot) { s.JournalErr = text }})
}
