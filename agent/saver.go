package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pgha/pgha-agent/agent/fsm"
	"github.com/pgha/pgha-agent/pg"
)

// saver writes episodes to the journal beside the loop: a slow or full disk must never hold a failover up. An entry that could not be
// written is kept and tried again.
type saver struct {
	dir     string
	journal *Journal      // nil while it cannot be opened
	known   uint64        // the newest episode that the agent could read, and counts on from
	behind  atomic.Uint64 // by how much the later ones have higher numbers in the journal
	mu      sync.Mutex
	pending []JournalEntry // at most one per episode
	wake    chan struct{}
}

func newSaver(dir string) *saver { return &saver{dir: dir, wake: make(chan struct{}, 1)} }

// number returns the number that an episode has in the journal. The agent counts on from what it could read at its start. A journal that could
// be opened only later may hold newer ones: then the agent's own come behind them, for the newest is what a restart goes on from.
func (s *saver) number(id uint64) uint64 {
	if id > s.known {
		id += s.behind.Load()
	}
	return id
}

// openJournal reads how the last episode stood. A journal that cannot be opened costs the history, never the record: the agent starts
// without it, says so, and tries again with each entry.
func (a *Agent) openJournal() (last fsm.Episode, sameBoot bool) {
	var j *Journal
	var entries []JournalEntry
	var err error
	if a.opts.once {
		if entries, _, err = ReadJournal(a.cfg.State.Dir); errors.Is(err, fs.ErrNotExist) {
			err = nil // no daemon has run here yet
		}
	} else {
		j, entries, err = OpenJournal(a.cfg.State.Dir)
	}
	if err != nil {
		a.log.Error("journal not open", keyErr, err)
		a.details.JournalErr = err.Error()
		// A lock or a file system that only lets read keeps from writing alone. What cannot be read either is not known.
		entries, _, _ = ReadJournal(a.cfg.State.Dir)
	}
	a.journal.journal = j
	if n := len(entries); n > 0 {
		e := &entries[n-1]
		last, sameBoot = e.Episode, e.Boot == a.id.boot
		a.journal.known = last.ID
		if !sameBoot {
			a.earlier = *e
		}
		if sameBoot && last.Open() {
			a.resumeView(e.Client)
		}
	}
	return last, sameBoot
}

// resumeView lets the client's view go on from before a restart in the middle of an episode. After a longer time without an agent nobody
// knows when an outage began.
func (a *Agent) resumeView(c ClientSeen) {
	if c == (ClientSeen{}) {
		return
	}
	v := pg.View{OK: true, End: a.clock.Wall().Add(c.At - a.clock.Boot())}
	v.Answered, _ = netip.ParseAddr(c.Addr) // not known stays not known
	a.details.Served = c
	a.outage.Resume(v)
}

// entry makes the journal's line of an episode. One that a reboot ended stays in the boot that its times are of.
func (a *Agent) entry(e fsm.Episode) JournalEntry {
	if e.ID == a.earlier.Episode.ID {
		lost := a.earlier
		lost.Episode = e
		return lost
	}
	return JournalEntry{
		Boot: a.id.boot, Node: a.id.node, Addr: a.state.Config.Addr, Saved: a.clock.Wall(), Uptime: a.clock.Boot(), Client: a.details.Served, Episode: e,
	}
}

func (s *saver) save(e JournalEntry) {
	s.mu.Lock()
	if n := len(s.pending); n > 0 && s.pending[n-1].Episode.ID == e.Episode.ID {
		s.pending[n-1] = e
	} else {
		s.pending = append(s.pending, e)
	}
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// run writes what is pending until ctx ends, and then once more. It tells saved how each attempt went.
func (s *saver) run(ctx context.Context, saved func(error)) error {
	for {
		select {
		case <-s.wake:
		case <-ctx.Done():
			_ = s.flush() // the last words: there is nobody left to tell
			return nil
		}
		for {
			err := s.flush()
			saved(err)
			if err == nil || ctx.Err() != nil {
				break
			}
			sleep(ctx, 5*time.Second)
		}
	}
}

// flush writes what is pending, oldest first, and keeps what could not be written.
func (s *saver) flush() error {
	for {
		s.mu.Lock()
		if len(s.pending) == 0 {
			s.mu.Unlock()
			return nil
		}
		e := s.pending[0]
		s.mu.Unlock()
		if s.journal == nil {
			if err := s.openLate(e.Boot); err != nil {
				return fmt.Errorf("open journal: %w", err)
			}
		}
		line := e
		line.Episode.ID = s.number(e.Episode.ID)
		if err := s.journal.Append(line); err != nil {
			return fmt.Errorf("append to journal: %w", err)
		}
		s.mu.Lock()
		// A newer state of the same episode may have taken its place meanwhile: that one is still to be written.
		if s.pending[0] == e {
			s.pending = s.pending[1:]
		}
		s.mu.Unlock()
	}
}

// openLate opens a journal that could not be opened at the start. If its newest episode is open, and the agent does not know it, nobody else will
// end it.
func (s *saver) openLate(boot string) error {
	j, entries, err := OpenJournal(s.dir)
	if err != nil {
		return err
	}
	if n := len(entries); n > 0 && entries[n-1].Episode.ID > s.known {
		last := entries[n-1]
		s.behind.Store(last.Episode.ID - s.known)
		if last.Episode.Open() {
			last.Episode.Outcome = fsm.OutcomeIncomplete
			if last.Boot != boot {
				last.Episode.Outcome = fsm.OutcomeLost
			}
			if err := j.Append(last); err != nil {
				_ = j.Close()
				return err
			}
		}
	}
	s.journal = j
	return nil
}

// waiting reports whether something is still to be written.
func (s *saver) waiting() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.pending) > 0
}

func (s *saver) close() {
	if s.journal != nil {
		_ = s.journal.Close()
	}
}

// journalSaved shows how the last attempt to save went.
func (a *Agent) journalSaved(ctx context.Context, err error) {
	text := ""
	if err != nil {
		text = err.Error()
		a.metrics.journalFailures.Inc()
	}
	if text == a.Snapshot().JournalErr {
		return
	}
	if err != nil {
		a.log.Error("episode not saved, trying again", keyErr, err)
	}
	a.send(ctx, message{fsm.Tick{}, func(s *Snapshot) { s.JournalErr = text }})
}
