// Package pgtest runs throwaway PostgreSQL servers of the installed version, as a user that is not root, for tests
// and demonstrations. It can stop them, kill them as a power cut would, and start them again.
package pgtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// Options of a server. The zero value is a small server on a free port of 127.0.0.1 with a unix socket.
type Options struct {
	Listen   string            // IP address to listen on; "" is 127.0.0.1
	Port     int               // 0 is a free one
	Settings map[string]string // postgresql.conf, values unquoted
}

// Server is one data directory and at most one postmaster over it. It is not safe for concurrent use.
type Server struct {
	Dir    string // holds everything; the socket is in it too
	Listen string
	Port   int

	bin  string
	cred *syscall.Credential // nil: as we are
	cmd  *exec.Cmd           // nil when not running
	gone chan struct{}       // closed when cmd has been reaped
}

// ErrNotInstalled says that no PostgreSQL server was found on this machine.
var ErrNotInstalled = errors.New("no PostgreSQL server found in PATH, /usr/lib/postgresql or by pg_config")

// startLimit bounds Start; crash recovery of a test's data takes seconds.
const startLimit = 60 * time.Second

// BinDir finds the directory of initdb and postgres.
func BinDir() (string, error) {
	var dirs []string
	if p, err := exec.LookPath("postgres"); err == nil {
		if p, err = filepath.EvalSymlinks(p); err == nil { // its siblings are where the file is, not the link
			dirs = append(dirs, filepath.Dir(p))
		}
	}
	debian, _ := filepath.Glob("/usr/lib/postgresql/*/bin") // the pattern is constant
	version := func(dir string) int {
		n, _ := strconv.Atoi(filepath.Base(filepath.Dir(dir))) // 0 sorts last
		return n
	}
	slices.SortFunc(debian, func(a, b string) int { return version(b) - version(a) })
	dirs = append(dirs, debian...)
	if out, err := exec.Command("pg_config", "--bindir").Output(); err == nil {
		dirs = append(dirs, strings.TrimSpace(string(out)))
	}
	for _, dir := range dirs {
		if isFile(filepath.Join(dir, "postgres")) && isFile(filepath.Join(dir, "initdb")) {
			return dir, nil
		}
	}
	return "", ErrNotInstalled
}

func isFile(path string) bool {
	st, err := os.Stat(path)
	return err == nil && st.Mode().IsRegular()
}

// New makes a data directory below dir and does not start it. With dir "" it makes a new temporary directory, which
// Remove deletes. dir must be reachable by the user postgres (or nobody) when we are root.
func New(dir string, o Options) (*Server, error) {
	s, err := prepare(dir, o)
	if err != nil {
		return nil, err
	}
	err = s.tool("initdb", "-D", s.data(), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
	if err == nil {
		err = s.configure(o)
	}
	return s.or(err)
}

// or returns s, or err after cleaning up.
func (s *Server) or(err error) (*Server, error) {
	if err != nil {
		return nil, errors.Join(err, s.Remove())
	}
	return s, nil
}

// NewStandby makes a copy of a running server that follows it by streaming when started, under the given
// application_name and, if slot is not "", through a new physical slot of that name.
func (s *Server) NewStandby(dir string, o Options, name, slot string) (*Server, error) {
	sb, err := prepare(dir, o)
	if err != nil {
		return nil, err
	}
	args := []string{"-D", sb.data(), "-h", s.Dir, "-p", strconv.Itoa(s.Port), "-U", "postgres",
		"-c", "fast", "-X", "stream", "--no-sync"}
	if slot != "" {
		args = append(args, "-C", "-S", slot)
	}
	if err := sb.tool("pg_basebackup", args...); err != nil {
		return sb.or(err)
	}
	settings := map[string]string{
		"primary_conninfo":  fmt.Sprintf("host=%s port=%d user=postgres application_name=%s", s.Dir, s.Port, name),
		"primary_slot_name": slot,
	}
	maps.Copy(settings, o.Settings)
	o.Settings = settings
	return sb.or(errors.Join(sb.configure(o), sb.WriteFile("standby.signal", "")))
}

func prepare(dir string, o Options) (*Server, error) {
	bin, err := BinDir()
	if err != nil {
		return nil, err
	}
	if dir == "" {
		// Not below a test's own directory: its parents are closed to other users, and its name too long for a socket.
		if dir, err = os.MkdirTemp("", "pgha-pg-"); err != nil {
			return nil, err
		}
	} else if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	s := &Server{Dir: dir, Listen: o.Listen, Port: o.Port, bin: bin}
	if s.Listen == "" {
		s.Listen = "127.0.0.1"
	}
	if s.Port == 0 {
		l, err := net.Listen("tcp", net.JoinHostPort(s.Listen, "0"))
		if err != nil {
			return nil, fmt.Errorf("find free port: %w", err)
		}
		s.Port = l.Addr().(*net.TCPAddr).Port
		if err := l.Close(); err != nil {
			return nil, err
		}
	}
	if n := len(s.socket()); n > 107 {
		return nil, fmt.Errorf("socket path %s has %d bytes, more than 107", s.socket(), n)
	}
	if os.Geteuid() == 0 { // initdb and postgres refuse to run as root
		if s.cred, err = unprivileged(); err != nil {
			return nil, err
		}
		if err := os.Chown(dir, int(s.cred.Uid), int(s.cred.Gid)); err != nil {
			return nil, err
		}
	}
	return s, os.Chmod(dir, 0o755)
}

func unprivileged() (*syscall.Credential, error) {
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
		gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
		if err := errors.Join(err1, err2); err != nil {
			return nil, fmt.Errorf("user %s: %w", name, err)
		}
		return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
	}
	return nil, errors.New("running as root and there is no user postgres or nobody")
}

func (s *Server) configure(o Options) error {
	settings := map[string]string{
		"listen_addresses": s.Listen, "port": strconv.Itoa(s.Port), "unix_socket_directories": s.Dir,
		"shared_buffers": "16MB", "dynamic_shared_memory_type": "mmap", "log_line_prefix": "%m [%p] ",
	}
	maps.Copy(settings, o.Settings)
	return s.Configure(settings)
}

// Configure appends settings to postgresql.conf. They count from the next start or reload on, unless ALTER SYSTEM
// set them too.
func (s *Server) Configure(settings map[string]string) error {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		fmt.Fprintf(&b, "%s = '%s'\n", name, strings.ReplaceAll(settings[name], "'", "''"))
	}
	f, err := os.OpenFile(filepath.Join(s.data(), "postgresql.conf"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(b.String())
	return errors.Join(err, f.Close())
}

// WriteFile writes a file of the data directory, such as pg_hba.conf, as the server's user.
func (s *Server) WriteFile(name, text string) error {
	path := filepath.Join(s.data(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		return err
	}
	if s.cred == nil {
		return nil
	}
	return os.Chown(path, int(s.cred.Uid), int(s.cred.Gid))
}

func (s *Server) data() string   { return filepath.Join(s.Dir, "data") }
func (s *Server) log() string    { return filepath.Join(s.Dir, "log") }
func (s *Server) socket() string { return filepath.Join(s.Dir, ".s.PGSQL."+strconv.Itoa(s.Port)) }

// DSN connects over the unix socket as the superuser postgres. Keywords appended to it win.
func (s *Server) DSN() string {
	return fmt.Sprintf("host=%s port=%d user=postgres dbname=postgres sslmode=disable", s.Dir, s.Port)
}

// TCP is the DSN over TCP; host "" is the address listened on.
func (s *Server) TCP(host string) string {
	if host == "" {
		host = s.Listen
	}
	return fmt.Sprintf("host=%s port=%d user=postgres dbname=postgres sslmode=disable", host, s.Port)
}

// Query runs sql as superuser and returns the first column of the last row.
func (s *Server) Query(ctx context.Context, sql string) (string, error) {
	conn, err := pgconn.Connect(ctx, s.DSN())
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close(ctx) }() // the answer is what counts
	results, err := conn.Exec(ctx, sql).ReadAll()
	if err != nil {
		return "", err
	}
	var value string
	for _, r := range results {
		if r.Err != nil {
			return "", r.Err
		}
		if n := len(r.Rows); n > 0 && len(r.Rows[n-1]) > 0 {
			value = string(r.Rows[n-1][0])
		}
	}
	return value, nil
}

// Log returns the end of the server's log.
func (s *Server) Log() string {
	b, _ := os.ReadFile(s.log()) // no log is an empty one
	if len(b) > 4000 {
		b = b[len(b)-4000:]
	}
	return string(b)
}

// Remove kills the server if it runs and deletes its files, and its directory unless that holds other things.
func (s *Server) Remove() error {
	err := s.Kill()
	for _, path := range []string{s.data(), s.log(), s.socket(), s.socket() + ".lock"} {
		err = errors.Join(err, os.RemoveAll(path))
	}
	_ = os.Remove(s.Dir) // fails when somebody else keeps something there
	return err
}

func (s *Server) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(s.bin, name), args...)
	cmd.Dir = s.Dir
	cmd.Env = append(os.Environ(), "LC_ALL=C", "TZ=UTC")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Setpgid:    true,
		Credential: s.cred,
		Pdeathsig:  syscall.SIGQUIT, // an immediate shutdown, so that a crashed test leaves no server behind
	}
	return cmd
}

func (s *Server) tool(name string, args ...string) error {
	cmd := s.command(name, args...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w: %s", name, err, strings.TrimSpace(out.String()))
	}
	return nil
}
