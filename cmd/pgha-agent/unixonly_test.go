package main

import (
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// unixOnly COMMAND... runs the command so that the kernel kills it when it opens a socket of any family but AF_UNIX.
func unixOnly() {
	runtime.LockOSThread() // the filter is this thread's, and so of what it executes
	path, err := exec.LookPath(os.Args[1])
	die(err)
	const (
		nr     = 0  // offsetof(struct seccomp_data, nr)
		family = 16 // offsetof(struct seccomp_data, args[0])
	)
	load := func(at uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: at}
	}
	unless := func(value uint32, skip uint8) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: skip, K: value}
	}
	end := func(action uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: action}
	}
	filter := []unix.SockFilter{
		load(nr),
		unless(unix.SYS_SOCKET, 3),
		load(family),
		unless(unix.AF_UNIX, 2),
		end(unix.SECCOMP_RET_ALLOW), // a Unix socket
		end(unix.SECCOMP_RET_ALLOW), // another system call
		end(unix.SECCOMP_RET_KILL_PROCESS),
	}
	prog := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	die(unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
	die(unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&prog)), 0, 0))
	die(syscall.Exec(path, os.Args[1:], os.Environ()))
}
