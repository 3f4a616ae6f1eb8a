package state

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pgha/pgha-agent/agent/fsm"
)

const (
	splitBrainName = "split-brain"
	maxSplitBrain  = 64 << 10
)

// SplitBrain keeps which peers have a split brain. It is known from one call of a helper, which a new stream of a new
// agent does not see again: it finds a resource that is not connected, which has harmless causes as well. The file says
// with which peers this is because of a split brain: the name of a connection on each line, an empty line for the one
// that has no name. An empty file means every peer that is not connected.
type SplitBrain struct {
	Dir         string
	ForgetsNone bool // a process that sees one moment: it adds, and the daemon decides what is over

	// Told of a peer before the file is written, which takes as long as the disk; nil: nobody.
	Begun, Over func(peer string)
}

func (s SplitBrain) file() string { return filepath.Join(s.Dir, splitBrainName) }

// latches is what the file says.
type latches struct {
	every bool // the file is there, and does not tell which peers it means
	peers []string
}

func (l latches) has(peer string) bool { return l.every || slices.Contains(l.peers, peer) }

// Remember keeps each peer's latch over a restart, in d and in the file: until the connection to that peer is back.
// last is what the stream said before d. With an error, what is kept may differ from what d says.
func (s SplitBrain) Remember(d *fsm.Drbd, last fsm.Drbd) error {
	if !d.Live || d.Connected && last.Connected && !d.SplitBrain && !last.SplitBrain {
		return nil
	}
	known, err := s.read()
	n := 0
	for n < len(d.Connections) && d.Connections[n].Name != "" {
		n++
	}
	for _, peer := range known.peers {
		if peer != "" && n < len(d.Connections) && d.Connection(peer) == (fsm.Connection{}) {
			// DRBD 8.4 destroys a connection that it gives up.
			d.Connections[n] = fsm.Connection{Name: peer, DisconnectReason: "StandAlone"}
			n++
		}
	}
	conns := d.Connections[:n]
	if n == 0 { // a stream that names no connection
		conns = []fsm.Connection{{Connected: d.Connected, SplitBrain: d.SplitBrain}}
	}
	d.SplitBrain = false
	for i := range conns {
		c := &conns[i]
		switch was := last.Connection(c.Name); {
		case c.SplitBrain && !was.SplitBrain:
			s.tell(s.Begun, c.Name)
		case (!c.Connected || c.Comparing) && known.has(c.Name):
			c.SplitBrain = true
		case c.Connected && !c.SplitBrain && known.has(c.Name) && !s.ForgetsNone:
			s.tell(s.Over, c.Name)
		}
		d.SplitBrain = d.SplitBrain || c.SplitBrain
	}
	return errors.Join(err, s.save(known, conns))
}

func (s SplitBrain) tell(whom func(string), peer string) {
	if whom != nil {
		whom(peer)
	}
}

// save brings the file up to date.
func (s SplitBrain) save(known latches, conns []fsm.Connection) error {
	var next []string
	if s.ForgetsNone {
		next = slices.Clone(known.peers)
	}
	for _, c := range conns {
		if c.SplitBrain {
			next = append(next, c.Name)
		}
	}
	slices.Sort(next)
	next = slices.Compact(next)
	if known.every && s.ForgetsNone || !known.every && slices.Equal(next, known.peers) {
		return nil
	}
	var err error
	if len(next) == 0 {
		err = os.Remove(s.file())
	} else {
		err = replaceFile(s.Dir, splitBrainName, []byte(strings.Join(next, "\n")+"\n"))
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("split brain not written down, a restart finds what was known before: %w", err)
	}
	return nil
}

// read reads the file. One that cannot be read may mean every peer.
func (s SplitBrain) read() (latches, error) {
	f, err := openRegular(s.file(), os.O_RDONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return latches{}, nil
	}
	if err != nil {
		return latches{every: true}, fmt.Errorf("which peers have a split brain is not known: %w", err)
	}
	defer func() { _ = f.Close() }()
	text, err := io.ReadAll(io.LimitReader(f, maxSplitBrain))
	if err != nil {
		return latches{every: true}, fmt.Errorf("which peers have a split brain is not known: %w", err)
	}
	if len(text) == 0 {
		return latches{every: true}, nil
	}
	peers := strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
	slices.Sort(peers)
	return latches{peers: slices.Compact(peers)}, nil
}
