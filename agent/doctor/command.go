package doctor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	commandTimeout = 15 * time.Second // drbdadm and cibadmin take seconds on a busy machine
	maxOutput      = 8 << 20
)

// unreaped holds the programs that were killed and have not ended (drbdsetup can hang in the kernel). No second one of
// a kind is started.
var unreaped sync.Map // program -> struct{}

// run runs a command to its end and returns what it printed. It returns when its time is over even if the process
// cannot be killed.
func run(ctx context.Context, as *syscall.Credential, argv ...string) ([]byte, error) {
	if _, stuck := unreaped.Load(argv[0]); stuck {
		return nil, absent(unknown("an earlier %s was killed and has not ended", argv[0]))
	}
	within := commandTimeout
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
			return nil, fmt.Errorf("run %s: no answer within %s", argv[0], within)
		case err != nil:
			return stdout.Bytes(), fmt.Errorf("run %s: %w: %s", argv[0], err, lastLine(stderr.String()))
		}
		return stdout.Bytes(), nil
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

// bounded keeps the first maxOutput bytes, and ends a command that prints more.
type bounded struct{ bytes.Buffer }

// Write implements io.Writer.
func (b *bounded) Write(p []byte) (int, error) {
	if b.Len()+len(p) > maxOutput {
		return 0, errors.New("too much output")
	}
	return b.Buffer.Write(p)
}

func lastLine(s string) string {
	s = strings.TrimSpace(s)
	return oneLine(s[strings.LastIndexByte(s, '\n')+1:])
}

// credential makes a command run as another user.
func credential(name string) (*syscall.Credential, error) {
	u, err := user.Lookup(name)
	if err != nil {
		return nil, err
	}
	uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
	gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
	if err := errors.Join(err1, err2); err != nil {
		return nil, err
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
}

func asRoot() bool { return os.Geteuid() == 0 }

// childEnv is what the parsers of a program's output rely on: messages in English, because whether an option is known
// is read from them, and times in UTC. A crm_mon before Pacemaker 2.0.3 prints times without a zone: the time of a
// promotion is a part of its claim, and one promotion has one claim, even when the machine's zone changes.
var childEnv = []string{"LC_ALL=C", "TZ=UTC"}
