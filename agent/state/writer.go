package state

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pgha/pgha-agent/agent/fsm"
	"github.com/pgha/pgha-agent/agent/internal/wait"
)

// Writer writes episodes to the journal beside the loop: a slow or full disk must never hold a failover up. An entry
// that could not be written is kept and tried again.
type Writer struct {
	dir     string
	journal *Journal      // nil while it cannot be opened
	known   uint64        // the newest episode that the agent could read, and counts on from
	behind  atomic.Uint64 // by how much the later ones have higher numbers in the journal
	mu      sync.Mutex
	pending []Entry // at most one per episode
	wake    chan struct{}
}

// NewWriter makes the writer of the journal in dir, which Open opens.
func NewWriter(dir string) *Writer { return &Writer{dir: dir, wake: make(chan struct{}, 1)} }

// Open returns how the newest episode stood, nil when there is none. What can be read counts also with an error: a
// lock, or a file system that only lets read, keeps from writing alone. A journal that cannot be opened for writing is
// tried again with each entry.
func (w *Writer) Open() (*Entry, error) {
	j, entries, err := OpenJournal(w.dir)
	if err != nil {
		entries, _, _ = ReadJournal(w.dir) // what cannot be read either is not known
	}
	w.journal = j
	return w.newest(entries), err
}

// OpenReadOnly is Open for a process that saves nothing.
func (w *Writer) OpenReadOnly() (*Entry, error) {
	entries, _, err := ReadJournal(w.dir)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil // no daemon has run here yet
	}
	return w.newest(entries), err
}

func (w *Writer) newest(entries []Entry) *Entry {
	if len(entries) == 0 {
		return nil
	}
	e := &entries[len(entries)-1]
	w.known = e.Episode.ID
	return e
}

// Number returns the number that an episode has in the journal. The agent counts on from what it could read at its
// start. A journal that could be opened only later may hold newer ones: then the agent's own come behind them, for the
// newest is what a restart goes on from.
func (w *Writer) Number(id uint64) uint64 {
	if id > w.known {
		id += w.behind.Load()
	}
	return id
}

// Save has an entry written soon.
func (w *Writer) Save(e Entry) {
	w.mu.Lock()
	if n := len(w.pending); n > 0 && w.pending[n-1].Episode.ID == e.Episode.ID {
		w.pending[n-1] = e
	} else {
		w.pending = append(w.pending, e)
	}
	w.mu.Unlock()
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// Run writes what is pending until ctx ends, and then once more. It tells saved how each attempt went.
func (w *Writer) Run(ctx context.Context, saved func(error)) error {
	for {
		select {
		case <-w.wake:
		case <-ctx.Done():
			_ = w.Flush() // the last words: there is nobody left to tell
			return nil
		}
		for {
			err := w.Flush()
			saved(err)
			if err == nil || ctx.Err() != nil {
				break
			}
			wait.For(ctx, 5*time.Second)
		}
	}
}

// Flush writes what is pending, oldest first, and keeps what could not be written.
func (w *Writer) Flush() error {
	select {
	case <-w.wake: // for what is written now
	default:
	}
	for {
		w.mu.Lock()
		if len(w.pending) == 0 {
			w.mu.Unlock()
			return nil
		}
		e := w.pending[0]
		w.mu.Unlock()
		if w.journal == nil {
			if err := w.openLate(e.Boot); err != nil {
				return fmt.Errorf("open journal: %w", err)
			}
		}
		line := e
		line.Episode.ID = w.Number(e.Episode.ID)
		if err := w.journal.Append(line); err != nil {
			return fmt.Errorf("append to journal: %w", err)
		}
		w.mu.Lock()
		// A newer state of the same episode may have taken its place meanwhile: that one is still to be written.
		if w.pending[0] == e {
			w.pending = w.pending[1:]
		}
		w.mu.Unlock()
	}
}

// openLate opens a journal that could not be opened at the start. If its newest episode is open, and the agent does not
// know it, nobody else will end it.
func (w *Writer) openLate(boot string) error {
	j, entries, err := OpenJournal(w.dir)
	if err != nil {
		return err
	}
	if n := len(entries); n > 0 && entries[n-1].Episode.ID > w.known {
		last := entries[n-1]
		w.behind.Store(last.Episode.ID - w.known)
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
	w.journal = j
	return nil
}

// Waiting reports whether something is still to be written.
func (w *Writer) Waiting() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.pending) > 0
}

// Close gives the journal free.
func (w *Writer) Close() {
	if w.journal != nil {
		_ = w.journal.Close()
	}
}
