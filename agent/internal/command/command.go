// Package command runs the programs of a node: bounded in time and output, even when one cannot be killed.
package command

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/pgha/pgha-agent/agent/internal/text"
)

// maxOutput is more than any program of a node prints, but the journal.
const maxOutput = 8 << 20

// unreaped holds the programs that were killed and have not ended (drbdsetup can hang in the kernel). No second one of
// a kind is started.
var unreaped sync.Map // program -> struct{}

// Run runs a program to its end, as another user if as is not nil, and returns what it printed, which on an error may
// be a part. It returns when its time is over even if the process cannot be killed. Messages are in English, and times
// in UTC.
func Run(ctx context.Context, within time.Duration, as *syscall.Credential, argv ...string) ([]byte, error) {
	if _, stuck := unreaped.Load(argv[0]); stuck {
		return nil, fmt.Errorf("an earlier %s was killed and has not ended", argv[0])
	}
	if end, bounded := ctx.Deadline(); bounded {
		within = min(within, time.Until(end).Round(time.Second/10))
	}
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	cmd := exec.CommandContext(ctx, program(argv[0]), argv[1:]...)
	var stdout, stderr bounded
	cmd.Stdout, cmd.Stderr, cmd.Dir = &stdout, &stderr, "/"
	cmd.Env = append(os.Environ(), childEnv...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Credential: as}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", argv[0], err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case err := <-ended:
		switch {
		case ctx.Err() != nil:
			return stdout.data, fmt.Errorf("run %s: no answer within %s", argv[0], within)
		case stdout.full:
			return stdout.data, fmt.Errorf("run %s: it prints more than %d MiB", argv[0], maxOutput>>20)
		case err != nil:
			return stdout.data, fmt.Errorf("run %s: %w: %s", argv[0], err, lastLine(string(stderr.data)))
		}
		return stdout.data, nil
	case <-time.After(within + 3*time.Second):
		unreaped.Store(argv[0], struct{}{})
		go func() {
			<-ended //nolint:errcheck // it was killed
			unreaped.Delete(argv[0])
		}()
		return nil, fmt.Errorf("run %s: it was killed and has not ended", argv[0])
	}
}

// program finds what only root has in its PATH.
func program(name string) string {
	if _, err := exec.LookPath(name); err != nil && !strings.Contains(name, "/") {
		if path, err := exec.LookPath("/usr/sbin/" + name); err == nil {
			return path
		}
	}
	return name
}

// bounded keeps the first maxOutput bytes, and ends a command that prints more. It embeds no buffer: io.Copy would use
// the buffer's ReadFrom, which has no bound.
type bounded struct {
	data []byte
	full bool
}

// Write implements io.Writer.
func (b *bounded) Write(p []byte) (int, error) {
	if room := maxOutput - len(b.data); len(p) > room {
		b.full = true
		b.data = append(b.data, p[:room]...)
		return room, errors.New("too much output")
	}
	b.data = append(b.data, p...)
	return len(p), nil
}

func lastLine(s string) string {
	s = strings.TrimSpace(s)
	return text.Line(s[strings.LastIndexByte(s, '\n')+1:], 300)
}

// childEnv is what the parsers of a program's output rely on: messages in English, because whether an option is known
// is read from them, and times in UTC. A crm_mon before Pacemaker 2.0.3 prints times without a zone: the time of a
// promotion is a part of its claim, and one promotion has one claim, even when the machine's zone changes.
var childEnv = []string{"LC_ALL=C", "TZ=UTC"}
