// Command standin answers as crm_mon, cibadmin or drbdsetup on one node of the demo's cluster.
//
// It is linked as DIR/crm_mon, DIR/cibadmin and DIR/drbdsetup and asks the model behind DIR/cluster.sock. It
// holds no knowledge of its own and little code: an agent starts crm_mon every second or so, and the real one takes a
// few milliseconds.
package main

import (
	"encoding/binary"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// Exit codes of the real tools when nobody answers them.
const (
	crmNotConnected = 102
	drbdFailed      = 20
)

func main() {
	tool := filepath.Base(os.Args[0])
	lost := drbdFailed
	if tool != "drbdsetup" {
		lost = crmNotConnected
	}
	// The path of the link, wherever the working directory is.
	self, err := os.Executable()
	if err != nil {
		self = os.Args[0]
	}
	c, err := dial(filepath.Join(filepath.Dir(self), "cluster.sock"))
	if err != nil {
		fail(tool, err, lost)
	}
	argv := strings.Join(append([]string{tool}, os.Args[1:]...), "\x00")
	req := binary.BigEndian.AppendUint32(nil, uint32(len(argv)))
	if _, err := c.Write(append(req, argv...)); err != nil {
		fail(tool, err, lost)
	}
	go func() {
		_, _ = io.Copy(c, os.Stdin)
		_ = syscall.Shutdown(int(c.Fd()), syscall.SHUT_WR)
	}()
	for {
		// A frame is its kind (1 stdout, 2 stderr, 3 exit), a length, and so many bytes.
		var head [5]byte
		if _, err := io.ReadFull(c, head[:]); err != nil {
			fail(tool, err, lost)
		}
		body := make([]byte, binary.BigEndian.Uint32(head[1:]))
		if _, err := io.ReadFull(c, body); err != nil {
			fail(tool, err, lost)
		}
		out := os.Stdout
		switch head[0] {
		case 2:
			out = os.Stderr
		case 3:
			os.Exit(int(body[0]))
		}
		if _, err := out.Write(body); err != nil {
			os.Exit(lost)
		}
	}
}

// dial connects without package net, whose start would take as long as everything else here.
func dial(path string) (*os.File, error) {
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	if err := syscall.Connect(fd, &syscall.SockaddrUnix{Name: path}); err != nil {
		return nil, os.NewSyscallError("connect", err)
	}
	return os.NewFile(uintptr(fd), path), nil
}

func fail(tool string, err error, code int) {
	_, _ = os.Stderr.WriteString(tool + ": " + err.Error() + "\n")
	os.Exit(code)
}
