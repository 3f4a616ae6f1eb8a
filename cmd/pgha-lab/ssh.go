package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/pgha/pgha-agent/cmd/internal/wait"
)

// shell runs commands as root in one machine, over one connection that is made again when it is lost.
type shell struct {
	target string
	key    ssh.Signer

	mu     sync.Mutex
	client *ssh.Client
}

func readKey(path string) (ssh.Signer, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read ssh key: %w", err)
	}
	return ssh.ParsePrivateKey(b)
}

// session opens a session; a connection that turns out dead is replaced once.
func (s *shell) session(ctx context.Context) (*ssh.Session, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.client != nil {
		if ses, err := within(ctx, 10*time.Second, s.client.NewSession); err == nil {
			return ses, nil
		}
		_ = s.client.Close()
		s.client = nil
	}
	conn, err := (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, "tcp", s.target)
	if err != nil {
		return nil, err
	}
	// The handshake of an emulated machine takes its time, most of all while it boots.
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	c, chans, reqs, err := ssh.NewClientConn(conn, s.target, &ssh.ClientConfig{
		// in a namespace of our own
		User: "root", Auth: []ssh.AuthMethod{ssh.PublicKeys(s.key)}, HostKeyCallback: ssh.InsecureIgnoreHostKey(),
	})
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	_ = conn.SetDeadline(time.Time{})
	s.client = ssh.NewClient(c, chans, reqs)
	return s.client.NewSession()
}

// drop forgets the connection: the machine is gone, or another one is in its place.
func (s *shell) drop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.client != nil {
		_ = s.client.Close()
		s.client = nil
	}
}

// within runs f, but does not wait for it longer than d.
func within[T any](ctx context.Context, d time.Duration, f func() (T, error)) (T, error) {
	type result struct {
		v   T
		err error
	}
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	ch := make(chan result, 1)
	go func() {
		v, err := f()
		ch <- result{v, err}
	}()
	select {
	case r := <-ch:
		return r.v, r.err
	case <-ctx.Done():
		var zero T
		return zero, ctx.Err()
	}
}

// run runs a shell script and returns what it printed. The error of a failed script holds what it said.
func (s *shell) run(ctx context.Context, script string) (string, error) {
	return s.feed(ctx, nil, script)
}

// feed is run with an input.
func (s *shell) feed(ctx context.Context, in io.Reader, script string) (string, error) {
	ses, err := s.session(ctx)
	if err != nil {
		return "", fmt.Errorf("reach %s: %w", s.target, err)
	}
	defer func() { _ = ses.Close() }()
	var out, errOut bytes.Buffer
	ses.Stdin, ses.Stdout, ses.Stderr = in, &out, &errOut
	_, err = within(ctx, 10*time.Minute, func() (struct{}, error) { return struct{}{}, ses.Run(script) })
	if err != nil {
		if ctx.Err() == nil {
			err = fmt.Errorf("%w: %s", err, tail(append(out.Bytes(), errOut.Bytes()...)))
		}
		line, _, _ := strings.Cut(strings.TrimSpace(script), "\n")
		return out.String(), fmt.Errorf("run %q on %s: %w", line, s.target, err)
	}
	return strings.TrimRight(out.String(), "\n"), nil
}

// put writes a file.
func (s *shell) put(ctx context.Context, path, mode string, content []byte) error {
	_, err := s.feed(ctx, bytes.NewReader(content), fmt.Sprintf("mkdir -p $(dirname %s) && cat >%s && chmod %s %s", path,
		path, mode, path))
	return err
}

// follow runs a command and calls f for each line of its output, until the command or ctx ends or the machine is lost.
func (s *shell) follow(ctx context.Context, script string, f func(line string)) error {
	ses, err := s.session(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = ses.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = ses.Close() })
	defer stop()
	out, err := ses.StdoutPipe()
	if err != nil {
		return err
	}
	if err := ses.Start(script); err != nil {
		return err
	}
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		f(lines.Text())
	}
	return errors.Join(lines.Err(), ses.Wait())
}

// await waits until the machine can be logged in to.
func (s *shell) await(ctx context.Context, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		_, err := s.run(ctx, "true")
		if err == nil {
			return nil
		}
		if wait.For(ctx, 300*time.Millisecond) != nil {
			return fmt.Errorf("wait for %s: %w", s.target, err)
		}
	}
}

// setClock gives the machine the host's time. A machine that comes out of a snapshot still has the time of its making.
func (s *shell) setClock(ctx context.Context) error {
	if _, err := s.run(ctx, fmt.Sprintf("date -s @%.3f >/dev/null", float64(time.Now().UnixMilli())/1000)); err != nil {
		return err
	}
	// The command itself took its time.
	ahead, err := s.ahead(ctx)
	if err != nil {
		return err
	}
	_, err = s.run(ctx, fmt.Sprintf("date -s @$(date +%%s.%%N | awk '{ printf \"%%.3f\", $1 - %.3f }') >/dev/null",
		ahead.Seconds()))
	return err
}

// ahead is by how much the machine's clock is before the host's.
func (s *shell) ahead(ctx context.Context) (time.Duration, error) {
	best, ahead := time.Hour, time.Duration(0)
	for range 3 {
		sent := time.Now()
		out, err := s.run(ctx, "date +%s%N")
		if err != nil {
			return 0, err
		}
		took := time.Since(sent)
		var ns int64
		if _, err := fmt.Sscan(out, &ns); err != nil {
			return 0, fmt.Errorf("read the clock of %s: %w", s.target, err)
		}
		if took < best {
			best, ahead = took, time.Unix(0, ns).Sub(sent.Add(took/2))
		}
	}
	return ahead, nil
}
