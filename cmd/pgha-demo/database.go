package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/pgha/pgha-agent/pg/pgtest"
)

// database is one real PostgreSQL data directory that follows the promoted node, as it does on a DRBD volume.
type database struct {
	spawn  *spawner
	server *pgtest.Server
}

// newDatabase makes the data directory with the roles of the demo.
func newDatabase(spawn *spawner, dir string, port int) (*database, error) {
	d := &database{spawn: spawn}
	err := spawn.do(func() (err error) {
		// Everything as PostgreSQL ships it: the crash recovery of the demo is a real one.
		d.server, err = pgtest.New(dir, pgtest.Options{Listen: "127.0.0.1", Port: port,
			Settings: map[string]string{"max_connections": "50"}})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("make the data directory: %w", err)
	}
	// Nobody but this machine can reach the loopback addresses.
	return d, d.server.WriteFile("pg_hba.conf", "local all all trust\nhost all all 127.0.0.0/8 trust\n")
}

// start runs the server on a node's address and in its socket directory.
func (d *database) start(m *machine) error {
	if err := d.removeStalePID(); err != nil {
		return err
	}
	st, err := os.Stat(d.server.Dir) // owned by whom PostgreSQL runs as
	if err != nil {
		return err
	}
	owner := st.Sys().(*syscall.Stat_t)
	if err := os.Chown(m.socketDir(), int(owner.Uid), int(owner.Gid)); err != nil {
		return err
	}
	return d.spawn.do(func() error {
		err := d.server.Configure(map[string]string{"listen_addresses": m.addr,
			"unix_socket_directories": d.server.Dir + ", " + m.socketDir()})
		if err != nil {
			return err
		}
		d.server.Listen = m.addr
		return d.server.Start()
	})
}

// removeStalePID does what a boot or the resource agent does after a crash: the file names a process of another
// machine. Here that is this machine, so the process must be gone.
func (d *database) removeStalePID() error {
	path := filepath.Join(d.server.Dir, "data", "postmaster.pid")
	b, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	first, _, _ := strings.Cut(string(b), "\n")
	pid, err := strconv.Atoi(strings.TrimSpace(first))
	if err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("PostgreSQL still runs as process %d: the old node was not stopped", pid)
	}
	return os.Remove(path)
}

func (d *database) query(ctx context.Context, sql string) (string, error) {
	return d.server.Query(ctx, sql)
}

// stop shuts the server down in order, which also gives its shared memory back to the system.
func (d *database) stop() error {
	return d.spawn.do(func() error { return d.server.Stop(pgtest.Fast) })
}

// installPostgres installs PostgreSQL's server if there is none, and says so. It neither makes nor touches the
// distribution's own cluster.
func installPostgres(ctx context.Context, say func(format string, args ...any)) error {
	if _, err := pgtest.BinDir(); err == nil || !errors.Is(err, pgtest.ErrNotInstalled) {
		return err
	}
	apt, err := exec.LookPath("apt-get")
	if err != nil || os.Geteuid() != 0 {
		return errors.New("no PostgreSQL server found: install one (Debian: apt-get install postgresql), or run the demo " +
			"as root")
	}
	const conf = "/etc/postgresql-common/createcluster.conf"
	if _, err := os.Stat(conf); errors.Is(err, os.ErrNotExist) {
		if err := os.MkdirAll(filepath.Dir(conf), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(conf,
			[]byte("# Written by pgha-demo: it brings its own data directory.\ncreate_main_cluster = false\n"),
			0o644); err != nil {
			return err
		}
		say("wrote %s, so that no PostgreSQL is started by the installation", conf)
	}
	for _, args := range [][]string{{"update"}, {"install", "-y", "--no-install-recommends", "-o",
		"Dpkg::Options::=--force-confold", "postgresql"}} {
		say("apt-get %s", strings.Join(args, " "))
		cmd := exec.CommandContext(ctx, apt, args...)
		cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
		cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) } // SIGKILL would leave dpkg's lock
		cmd.WaitDelay = time.Minute
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("apt-get %s: %w\n%s", args[0], err, out)
		}
	}
	_, err = pgtest.BinDir()
	return err
}
