package pgtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// Mode is a way to stop a server.
type Mode syscall.Signal

// The shutdown modes of pg_ctl.
const (
	Smart     = Mode(syscall.SIGTERM) // waits for clients to leave
	Fast      = Mode(syscall.SIGINT)  // disconnects clients, writes a checkpoint
	Immediate = Mode(syscall.SIGQUIT) // leaves crash recovery to the next start
)

// Launch starts the postmaster and does not wait until it accepts connections.
func (s *Server) Launch() error {
	if s.Running() {
		return errors.New("server runs already")
	}
	log, err := os.OpenFile(s.log(), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }() // the child has its own copy
	cmd := s.command("postgres", "-D", s.data())
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start postgres: %w", err)
	}
	gone := make(chan struct{})
	s.cmd, s.gone = cmd, gone
	go func() {
		defer close(gone)
		_ = cmd.Wait() // how it ended is in its log
	}()
	return nil
}

// Start starts the server and waits until it accepts connections.
func (s *Server) Start() error {
	if err := s.Launch(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), startLimit)
	defer cancel()
	for {
		conn, err := pgconn.Connect(ctx, s.DSN())
		if err == nil {
			return conn.Close(ctx)
		}
		var pgErr *pgconn.PgError
		if errors.As(err, &pgErr) && pgErr.Code != "57P03" {
			return nil // it accepts connections, only not this one: pg_hba.conf or its limits are the test's affair
		}
		select {
		case <-s.gone:
			return fmt.Errorf("postgres exited at start: %s", s.Log())
		case <-ctx.Done():
			return fmt.Errorf("postgres does not accept connections: %w: %s", err, s.Log())
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// Running reports whether the postmaster lives.
func (s *Server) Running() bool {
	if s.cmd == nil {
		return false
	}
	select {
	case <-s.gone:
		return false
	default:
		return true
	}
}

// Signal sends sig to the postmaster: SIGHUP reloads the configuration, SIGSTOP makes it hang.
func (s *Server) Signal(sig syscall.Signal) error {
	if !s.Running() {
		return errors.New("server does not run")
	}
	return s.cmd.Process.Signal(sig)
}

// Stop shuts the server down and waits. It is no error when the server does not run.
func (s *Server) Stop(mode Mode) error {
	if !s.Running() {
		return nil
	}
	if err := s.Signal(syscall.Signal(mode)); err != nil {
		return fmt.Errorf("stop postgres: %w", err)
	}
	select {
	case <-s.gone:
		return nil
	case <-time.After(startLimit):
		return errors.Join(fmt.Errorf("postgres did not stop within %v", startLimit), s.Kill())
	}
}

// Kill ends the postmaster and all its children at once with SIGKILL, as a power cut would as far as
// PostgreSQL can tell (what the kernel has is not lost). It is no error when the server does not run.
func (s *Server) Kill() error {
	if !s.Running() {
		return nil
	}
	pid := s.cmd.Process.Pid
	// Stopped, it forks no more while we list its children. They are in process groups of their own, and the next
	// start fails as long as one of them holds the shared memory.
	if err := s.cmd.Process.Signal(syscall.SIGSTOP); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("kill postgres: %w", err)
	}
	family := children(pid)
	for _, child := range family {
		_ = syscall.Kill(child, syscall.SIGKILL) // it may have ended by itself
	}
	_ = s.cmd.Process.Kill() // likewise
	<-s.gone
	deadline := time.Now().Add(10 * time.Second)
	for _, child := range family {
		for alive(child) {
			if time.Now().After(deadline) {
				return fmt.Errorf("kill postgres: process %d does not end", child)
			}
			time.Sleep(time.Millisecond)
		}
	}
	return nil
}

// stat returns the state letter and the parent of a process; ok is false when there is none.
func stat(pid int) (state string, parent int, ok bool) {
	b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return "", 0, false
	}
	text := string(b)
	f := strings.Fields(text[strings.LastIndexByte(text, ')')+1:]) // the name before it may hold anything
	if len(f) < 2 {
		return "", 0, false
	}
	parent, err = strconv.Atoi(f[1])
	return f[0], parent, err == nil
}

func alive(pid int) bool {
	state, _, ok := stat(pid)
	return ok && state != "Z" && state != "X"
}

func children(pid int) (pids []int) {
	entries, _ := os.ReadDir("/proc") // without /proc there is nobody to find
	for _, e := range entries {
		child, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if _, parent, ok := stat(child); ok && parent == pid {
			pids = append(pids, child)
		}
	}
	return pids
}
