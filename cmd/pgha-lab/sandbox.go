package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// The lab runs in namespaces of its own for processes, network and mounts. When its process ends, however it ends, the
// kernel ends everything in them: no machine, interface or address is left behind.

// sandboxDir names the run's directory to the process inside; outside it is not set.
const sandboxDir = "PGHA_LAB_DIR"

// enterSandbox runs this program again inside new namespaces and waits for it. It returns the exit code.
func enterSandbox(dir string) (int, error) {
	// The child dies with the thread that made it.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd := exec.Command("/proc/self/exe")
	cmd.Args = os.Args
	cmd.Env = append(os.Environ(), sandboxDir+"="+dir)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNET | syscall.CLONE_NEWNS,
		Pdeathsig:  syscall.SIGKILL,
		Setpgid:    true,
	}
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer signal.Stop(signals)
	if err := cmd.Start(); err != nil {
		return 1, fmt.Errorf("enter namespaces: %w", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "pid"), []byte(fmt.Sprint(cmd.Process.Pid)), 0o644); err != nil {
		_ = cmd.Process.Kill()
		return 1, err
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	asked := 0
	for {
		select {
		case <-signals:
			// First in order, then at once.
			if asked++; asked == 1 {
				_ = cmd.Process.Signal(syscall.SIGTERM)
			} else {
				_ = cmd.Process.Kill()
			}
		case err := <-done:
			if exit, ok := errors.AsType[*exec.ExitError](err); ok {
				return max(1, exit.ExitCode()), nil
			}
			return 0, err
		}
	}
}

// settleSandbox is the first thing inside: a /proc of our own, and no mount that goes back out.
func settleSandbox() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return fmt.Errorf("mount /proc: %w", err)
	}
	return nil
}

// openShell gives the caller a root shell, or one command, in a machine of the running lab.
func openShell(ctx context.Context, cache, node string, args []string) error {
	runs, _ := filepath.Glob(filepath.Join(cache, "run", "*", "pid"))
	for _, r := range runs {
		f, err := lockDir(filepath.Dir(r))
		if err == nil {
			_ = f.Close() // left over from a lab that is gone
			continue
		}
		pid, err := os.ReadFile(r)
		if err != nil {
			continue
		}
		addr := nodeAddr(node)
		if !addr.IsValid() {
			return fmt.Errorf("no machine is called %q: node1 or node2", node)
		}
		argv := append([]string{"-t", string(pid), "-n", "ssh", "-q", "-i", filepath.Join(filepath.Dir(r), "id"),
			"-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "ServerAliveInterval=10",
			"root@" + addr.String()}, args...)
		cmd := exec.CommandContext(ctx, "nsenter", argv...)
		cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
		return cmd.Run()
	}
	return errors.New("no lab is running: start one with `make lab`")
}
