package agent

import (
	"errors"
	"os"
	"path/filepath"

	"github.com/pgha/pgha-agent/agent/fsm"
)

// A split brain is known from one call of a helper, which a new stream of a new agent does not see again: it finds a resource that is not
// connected, which has harmless causes as well. The file says that this is because of a split brain.
const splitBrainName = "split-brain"

func (a *Agent) splitBrainFile() string { return filepath.Join(a.cfg.State.Dir, splitBrainName) }

// rememberSplitBrain keeps the latch over a restart: until the resource is connected again. last is what the stream said before d.
func (a *Agent) rememberSplitBrain(d *fsm.Drbd, last fsm.Drbd) {
	switch {
	case !d.Live:
	case d.SplitBrain && !last.SplitBrain:
		a.log.Error("split brain", keyNext, holdHelp[fsm.HoldSplitBrain][1])
		if err := replaceFile(a.cfg.State.Dir, splitBrainName, nil); err != nil {
			a.log.Error("split brain not remembered over a restart", keyErr, err)
		}
	case !d.Connected:
		if _, err := os.Lstat(a.splitBrainFile()); err == nil {
			d.SplitBrain = true
		}
	// DRBD 8.4 says Connected before it has compared the data, which is when the latch goes.
	case !d.SplitBrain && (last.SplitBrain || !last.Connected) && !a.opts.once:
		switch err := os.Remove(a.splitBrainFile()); {
		case err == nil:
			a.log.Info("split brain is over: connected again")
		case !errors.Is(err, os.ErrNotExist):
			a.log.Error("split brain not forgotten", keyErr, err)
		}
	}
}
