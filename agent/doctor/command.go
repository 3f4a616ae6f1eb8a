package doctor

import (
	"context"
	"errors"
	"os"
	"os/user"
	"strconv"
	"syscall"
	"time"

	"github.com/pgha/pgha-agent/agent/internal/command"
)

const commandTimeout = 15 * time.Second // drbdadm and cibadmin take seconds on a busy machine

// run runs a command to its end and returns what it printed.
func run(ctx context.Context, as *syscall.Credential, argv ...string) ([]byte, error) {
	return command.Run(ctx, commandTimeout, as, argv...)
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
