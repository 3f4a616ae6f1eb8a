package main

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
)

// toolServer answers the crm_mon, cibadmin and drbdsetup of one node (package standin) until the node's power is cut.
type toolServer struct {
	c    *cluster
	node int
	l    net.Listener

	mu    sync.Mutex
	calls map[net.Conn]int // process id of the other end
	wg    sync.WaitGroup
}

func serveTools(c *cluster, node int, dir string) (*toolServer, error) {
	l, err := net.Listen("unix", filepath.Join(dir, "cluster.sock"))
	if err != nil {
		return nil, fmt.Errorf("listen for cluster tools: %w", err)
	}
	t := &toolServer{c: c, node: node, l: l, calls: map[net.Conn]int{}}
	t.wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			t.mu.Lock()
			t.calls[conn] = peerPID(conn)
			t.mu.Unlock()
			t.wg.Go(func() { t.answer(conn) })
		}
	})
	return t, nil
}

func peerPID(conn net.Conn) int {
	raw, err := conn.(*net.UnixConn).SyscallConn()
	if err != nil {
		return 0
	}
	pid := 0
	_ = raw.Control(func(fd uintptr) {
		if cred, err := syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED); err == nil {
			pid = int(cred.Pid)
		}
	})
	return pid
}

// kill ends the server and every tool that is running, as the end of the node would.
func (t *toolServer) kill() {
	_ = t.l.Close()
	t.mu.Lock()
	for conn, pid := range t.calls {
		if pid > 1 {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		_ = conn.Close()
	}
	t.mu.Unlock()
	t.wg.Wait()
}

const (
	frameStdout = 1
	frameStderr = 2
	frameExit   = 3
)

func frame(w io.Writer, kind byte, body string) error {
	b := binary.BigEndian.AppendUint32([]byte{kind}, uint32(len(body)))
	_, err := w.Write(append(b, body...))
	return err
}

func (t *toolServer) answer(conn net.Conn) {
	defer func() {
		t.mu.Lock()
		delete(t.calls, conn)
		t.mu.Unlock()
		_ = conn.Close()
	}()
	r := bufio.NewReader(conn)
	var size [4]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return
	}
	argv := make([]byte, min(binary.BigEndian.Uint32(size[:]), 1<<16))
	if _, err := io.ReadFull(r, argv); err != nil {
		return
	}
	args := strings.Split(string(argv), "\x00")
	code := 0
	switch args[0] {
	case "crm_mon":
		code = t.crmMon(conn, args[1:])
	case "cibadmin":
		code = t.cibadmin(conn, args[1:])
	case "drbdsetup":
		code = t.drbdsetup(conn, r, args[1:])
	}
	_ = frame(conn, frameExit, string([]byte{byte(code)}))
}

func (t *toolServer) crmMon(w io.Writer, args []string) int {
	xml := false
	for _, a := range args {
		switch a {
		case "--output-as=xml":
			xml = true
		case "-1", "--one-shot", "-r", "--inactive", "-n", "--group-by-node":
		default:
			_ = frame(w, frameStderr, "crm_mon: unknown option "+a+"\n")
			return 64
		}
	}
	var text string
	var code int
	if xml {
		text, code = t.c.crmMon(t.node, strings.Join(append([]string{"crm_mon"}, args...), " "))
	} else {
		text, code = t.c.crmMonText(t.node)
	}
	_ = frame(w, frameStdout, text)
	return code
}

// cibadmin only reads: the demo moves nothing by a constraint.
func (t *toolServer) cibadmin(w io.Writer, args []string) int {
	if asked := strings.Join(args, " "); asked != "-Q -o configuration" {
		_ = frame(w, frameStderr, "cibadmin: the demo has no "+asked+"\n")
		return 64
	}
	text, code := t.c.configuration(t.node)
	kind := byte(frameStdout)
	if code != 0 {
		kind = frameStderr
	}
	_ = frame(w, kind, text)
	return code
}

const drbdUsage = `drbdsetup events2 - Show the current state and all state changes of a resource, or of all resources.

USAGE: drbdsetup events2 [options] [{resource | all}]
OPTIONS: --timestamps --statistics --now --poll --full --color[={always|auto|never}]
`

func (t *toolServer) drbdsetup(w io.Writer, r *bufio.Reader, args []string) int {
	if len(args) > 0 && args[0] == "status" {
		_ = frame(w, frameStdout, t.c.drbdStatus(t.node))
		return 0
	}
	if len(args) == 0 || args[0] != "events2" {
		_ = frame(w, frameStdout, drbdUsage)
		return 20
	}
	o, bad := parseEvents2(args[1:])
	if bad != "" {
		_ = frame(w, frameStderr, "drbdsetup events2: unrecognized option '"+bad+"'\n")
		_ = frame(w, frameStdout, drbdUsage)
		return 20
	}
	st := t.c.subscribe(t.node, o)
	defer t.c.unsubscribe(st)
	if o.now {
		return flush(w, st.lines)
	}
	input := make(chan bool) // true for each refresh asked for, closed at the end of a polled stream
	done := make(chan struct{})
	defer close(done)
	go func() {
		defer close(input)
		for {
			line, err := r.ReadBytes('\n')
			if !o.poll {
				if err != nil {
					<-done // without --poll standard input means nothing
					return
				}
				continue
			}
			if err != nil || !bytes.Equal(line, []byte("n\n")) {
				return
			}
			select {
			case input <- true:
			case <-done:
				return
			}
		}
	}()
	for {
		select {
		case line, ok := <-st.lines:
			if !ok {
				return 20 // the reader did not keep up: the real one fails on a netlink overrun
			}
			if frame(w, frameStdout, line) != nil {
				return 0
			}
		case _, ok := <-input:
			if !ok {
				return flush(w, st.lines)
			}
			t.c.poll(st)
		}
	}
}

func flush(w io.Writer, lines <-chan string) int {
	for {
		select {
		case line, ok := <-lines:
			if !ok {
				return 20
			}
			_ = frame(w, frameStdout, line)
		default:
			return 0
		}
	}
}
