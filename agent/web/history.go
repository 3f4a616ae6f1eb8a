package web

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"net/http"
	"os"
	"time"

	"github.com/pgha/pgha-agent/agent/state"
	"github.com/pgha/pgha-agent/agent/status"
)

// historyShows is how many episodes are shown, the newest ones.
const historyShows = 20

// history serves the newest episodes as JSON. The journal is read again only when it has changed, by one request at a
// time: frequent requests from many places cost no more, and a disk that hangs holds up one read.
type history struct {
	dir  string
	turn chan struct{}
	file fs.FileInfo // of the journal when it was read; nil: there was none
	body []byte      // nil: not read yet
}

func newHistory(dir string) *history { return &history{dir: dir, turn: make(chan struct{}, 1)} }

// ServeHTTP answers with what `pgha-agent history --json` prints, or 304 when that is what the client has.
func (h *history) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	setNoStore(w)
	select {
	case h.turn <- struct{}{}:
	case <-r.Context().Done():
		return
	case <-time.After(2 * time.Second):
		http.Error(w, "the journal is still being read", http.StatusServiceUnavailable)
		return
	}
	body, err := h.read()
	<-h.turn
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("ETag", fmt.Sprintf(`"%08x-%x"`, crc32.ChecksumIEEE(body), len(body)))
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(body))
}

func (h *history) read() ([]byte, error) {
	// Before the read: what is added while it runs makes the next request read again.
	file, err := os.Lstat(state.JournalFile(h.dir))
	if err != nil && !errors.Is(err, fs.ErrNotExist) { // before the first episode there is no journal
		return nil, fmt.Errorf("open journal: %w", err)
	}
	if h.body != nil && sameJournal(file, h.file) {
		return h.body, nil
	}
	docs := []*status.EpisodeDoc{}
	if file != nil {
		entries, err := state.ReadNewest(h.dir, historyShows)
		if err != nil {
			return nil, err
		}
		for _, e := range entries[max(0, len(entries)-historyShows):] {
			docs = append(docs, status.EntryDoc(&e))
		}
	}
	body, err := json.MarshalIndent(docs, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("write history: %w", err)
	}
	h.file, h.body = file, append(body, '\n')
	return h.body, nil
}

// sameJournal reports whether nothing was written between two looks: lines are only added, and a rewrite makes a new
// file.
func sameJournal(a, b fs.FileInfo) bool {
	if a == nil || b == nil {
		return a == nil && b == nil
	}
	return os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
}
