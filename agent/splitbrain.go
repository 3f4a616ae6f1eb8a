package agent

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

// A split brain is known from one call of a helper, which a new stream of a new agent does not see again: it finds a resource that is not
// connected, which has harmless causes as well. The file says with which peers this is because of a split brain: the name of a connection
// on each line, an empty line for the one that has no name. An empty file means every peer that is not connected.
const (
	splitBrainName = "split-brain"
	maxSplitBrain  = 64 << 10
)

func (a *Agent) splitBrainFile() string { return filepath.Join(a.cfg.State.Dir, splitBrainName) }

// latches is what the file says.
type latches struct {
	every bool // the file is there, and does not tell which peers it means
	peers []string
}

func (l latches) has(peer string) bool { return l.every || slices.Contains(l.peers, peer) }

// rememberSplitBrain keeps each peer's latch over a restart: until the connection to that peer is back. last is what the stream said before d.
func (a *Agent) rememberSplitBrain(d *fsm.Drbd, last fsm.Drbd) {
	if !d.Live || d.Connected && last.Connected && !d.SplitBrain && !last.SplitBrain {
		return
	}
	known, err := a.splitBrains()
	if err != nil {
		a.log.Error("which peers have a split brain is not known", keyErr, err)
	}
	n := 0
	for n < len(d.Connections) && d.Connections[n].Name != "" {
		n++
	}
	for _, peer := range known.peers {
		if peer != "" && n < len(d.Connections) && d.Connection(peer) == (fsm.Connection{}) {
			d.Connections[n] = fsm.Connection{Name: peer, LostWhy: "StandAlone"} // DRBD 8.4 destroys a connection that it gives up
			n++
		}
	}
	if n == 0 {
		one := fsm.Connection{Connected: d.Connected, SplitBrain: d.SplitBrain}
		a.keepLatch(&one, last.Connection(""), known)
		d.SplitBrain = one.SplitBrain
		a.saveLatches(known, []fsm.Connection{one})
		return
	}
	d.SplitBrain = false
	for i := range d.Connections[:n] {
		c := &d.Connections[i]
		a.keepLatch(c, last.Connection(c.Name), known)
		d.SplitBrain = d.SplitBrain || c.SplitBrain
	}
	a.saveLatches(known, d.Connections[:n])
}

// keepLatch sets the latch of a connection that is down, from the file.
func (a *Agent) keepLatch(c *fsm.Connection, last fsm.Connection, known latches) {
	switch {
	case c.SplitBrain && !last.SplitBrain:
		a.log.Error("split brain", keyPeer, c.Name, keyNext, holdHelp[fsm.HoldSplitBrain][1])
	case (!c.Connected || c.Comparing) && known.has(c.Name):
		c.SplitBrain = true
	case c.Connected && !c.SplitBrain && known.has(c.Name) && !a.opts.once:
		a.log.Info("split brain is over: connected again", keyPeer, c.Name)
	}
}

// saveLatches brings the file up to date. A publication without a daemon forgets nothing.
func (a *Agent) saveLatches(known latches, conns []fsm.Connection) {
	var next []string
	if a.opts.once {
		next = slices.Clone(known.peers)
	}
	for _, c := range conns {
		if c.SplitBrain {
			next = append(next, c.Name)
		}
	}
	slices.Sort(next)
	next = slices.Compact(next)
	if known.every && a.opts.once || !known.every && slices.Equal(next, known.peers) {
		return
	}
	var err error
	if len(next) == 0 {
		err = os.Remove(a.splitBrainFile())
	} else {
		err = replaceFile(a.cfg.State.Dir, splitBrainName, []byte(strings.Join(next, "\n")+"\n"))
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		a.log.Error("split brain not written down: a restart finds what was known before", keyErr, err)
	}
}

// splitBrains reads the file. One that cannot be read may mean every peer.
func (a *Agent) splitBrains() (latches, error) {
	f, err := openRegular(a.splitBrainFile(), os.O_RDONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return latches{}, nil
	}
	if err != nil {
		return latches{every: true}, fmt.Errorf("open split brain file: %w", err)
	}
	defer func() { _ = f.Close() }()
	text, err := io.ReadAll(io.LimitReader(f, maxSplitBrain))
	if err != nil {
		return latches{every: true}, fmt.Errorf("read split brain file: %w", err)
	}
	if len(text) == 0 {
		return latches{every: true}, nil
	}
	peers := strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
	slices.Sort(peers)
	return latches{peers: slices.Compact(peers)}, nil
}
