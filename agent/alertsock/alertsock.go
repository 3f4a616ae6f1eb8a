// Package alertsock carries alerts from the hook to the daemon over a Unix socket. It links in little: the hook is on
// the failover path and starts once for each alert.
package alertsock

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pgha/pgha-agent/crm"
)

// The protocol of the alert socket: the client sends one alert as one line of JSON, the server answers "ok\n" when the
// agent has taken it, or "err <reason>\n", and closes. Alerts are hints; who sends one twice after a lost answer does
// no harm.
const (
	alertLine    = 32 << 10 // bytes of one alert with its newline at most
	alertClients = 64       // that have not said their line yet; one more, and the first of them has to go
	// Served at once, those whose alert is being delivered included; more wait in the kernel's backlog.
	alertServed   = 128
	alertDeadline = time.Second // for the line; again for the delivery with its answer
	alertLogEvery = 10 * time.Second
)

// DefaultPath is where systemd holds the socket.
const DefaultPath = "/run/pgha-alert.sock"

// DeliverBy bounds a hook's delivery: the daemon answers in a millisecond, or it is not well.
const DeliverBy = time.Second

// Path returns the socket that an alert is for: its recipient when that is an absolute path, else DefaultPath.
func Path(a crm.Alert) string {
	if filepath.IsAbs(a.Recipient) {
		return filepath.Clean(a.Recipient)
	}
	return DefaultPath
}

// Errors of SendAlert.
var (
	// ErrNoListener says that nobody listens on the alert socket: the agent is not there, and systemd does not hold the
	// socket for it.
	ErrNoListener = errors.New("nobody listens")
	// ErrAlertRefused says that the agent took the connection but not the alert.
	ErrAlertRefused = errors.New("alert refused")
)

// AlertServer is what ServeAlerts works with.
type AlertServer struct {
	// Called by several goroutines; must return soon after ctx ends.
	Deliver  func(ctx context.Context, a crm.Alert, uid uint32) error
	AllowUID func(uid uint32) bool // may this user send alerts
	Logger   *slog.Logger
	Counters *AlertCounters // may be nil
}

// AlertCounters count the connections to the alert socket by how they ended.
type AlertCounters struct {
	Received  atomic.Uint64 // alerts that were delivered
	Rejected  atomic.Uint64 // of users who may not, and alerts that could not be delivered
	Malformed atomic.Uint64 // nothing, no alert, too long or too slow
}

// ServeAlerts serves the alert socket until ctx ends, and then closes l, waits for its clients, which are cut short,
// and returns nil. It returns an error when l fails for good.
func ServeAlerts(ctx context.Context, l net.Listener, opts AlertServer) error {
	s := &alertServer{AlertServer: opts}
	if s.Counters == nil {
		s.Counters = &AlertCounters{}
	}
	ctx, cancel := context.WithCancel(ctx)
	var clients sync.WaitGroup
	defer clients.Wait()
	defer cancel()
	defer context.AfterFunc(ctx, func() { _ = l.Close() })()
	defer func() { _ = l.Close() }()

	slots := make(chan struct{}, alertServed)
	for {
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			return nil
		}
		conn, err := l.Accept()
		switch {
		case err == nil:
			clients.Go(func() {
				defer func() { <-slots }()
				s.serve(ctx, conn)
			})
			continue
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("accept alerts: %w", err)
		}
		// Out of file descriptors or the like: it passes, and the backlog keeps the clients.
		<-slots
		s.log("accept alerts", "err", err)
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

type alertServer struct {
	AlertServer
	lastLog atomic.Int64

	mu      sync.Mutex
	reading []net.Conn // in the order in which they came
}

// enter counts a client whose line is to be read. The hook sends its line at once, so who has been silent the longest
// is not the hook: that one is closed when there are too many.
func (s *alertServer) enter(conn net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.reading) >= alertClients {
		_ = s.reading[0].Close()
		s.reading = slices.Delete(s.reading, 0, 1)
	}
	s.reading = append(s.reading, conn)
}

// leave is for the end of the line. A client that was closed for another one is not counted any more.
func (s *alertServer) leave(conn net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reading = slices.DeleteFunc(s.reading, func(c net.Conn) bool { return c == conn })
}

// log keeps to one line in a while, whatever a client does; the counters have the numbers.
func (s *alertServer) log(msg string, args ...any) {
	now, last := time.Now().UnixNano(), s.lastLog.Load()
	if now-last > int64(alertLogEvery) && s.lastLog.CompareAndSwap(last, now) && s.Logger != nil {
		s.Logger.Warn(msg, args...)
	}
}

// serve serves one client.
func (s *alertServer) serve(ctx context.Context, conn net.Conn) {
	defer func() { _ = conn.Close() }()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	uid, err := PeerUID(conn)
	if err != nil || !s.AllowUID(uid) {
		s.Counters.Rejected.Add(1)
		s.log("alert client refused", "uid", uid, "err", err)
		answerAlert(conn, "user is not allowed")
		return
	}
	s.take(ctx, conn, uid)
}

// take reads one alert, delivers it and answers.
func (s *alertServer) take(ctx context.Context, conn net.Conn, uid uint32) {
	_ = conn.SetDeadline(time.Now().Add(alertDeadline)) // fails on a closed connection only, which the read tells
	s.enter(conn)
	a, err := readAlert(conn)
	s.leave(conn)
	if err != nil {
		if ctx.Err() == nil {
			s.Counters.Malformed.Add(1)
			s.log("alert not understood", "uid", uid, "err", err)
		}
		answerAlert(conn, "not an alert")
		return
	}
	_ = conn.SetDeadline(time.Now().Add(alertDeadline))
	ctx, cancel := context.WithTimeout(ctx, alertDeadline)
	defer cancel()
	if err := s.Deliver(ctx, a, uid); err != nil {
		s.Counters.Rejected.Add(1)
		s.log("alert not delivered", "uid", uid, "err", err)
		answerAlert(conn, "not delivered")
		return
	}
	s.Counters.Received.Add(1)
	answerAlert(conn, "")
}

func readAlert(conn net.Conn) (crm.Alert, error) {
	line, err := bufio.NewReaderSize(conn, alertLine).ReadSlice('\n')
	switch {
	case errors.Is(err, bufio.ErrBufferFull):
		return crm.Alert{}, fmt.Errorf("line of more than %d bytes", alertLine)
	case err != nil:
		// Without its newline a line is not known to be whole.
		return crm.Alert{}, fmt.Errorf("read line: %w", err)
	}
	return crm.DecodeAlert(line[:len(line)-1])
}

// answerAlert tells the client how it went. It may be gone: that is its own affair.
func answerAlert(conn net.Conn, problem string) {
	answer := "ok\n"
	if problem != "" {
		answer = "err " + problem + "\n"
	}
	_ = conn.SetWriteDeadline(time.Now().Add(alertDeadline))
	_, _ = conn.Write([]byte(answer))
}

// PeerUID returns the user who connected. The kernel vouches for it (SO_PEERCRED, unix(7)).
func PeerUID(conn net.Conn) (uint32, error) {
	u, ok := conn.(*net.UnixConn)
	if !ok {
		return 0, fmt.Errorf("peer credentials: %T is not a Unix socket", conn)
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return 0, fmt.Errorf("peer credentials: %w", err)
	}
	var cred *unix.Ucred
	var credErr error
	if err := raw.Control(func(fd uintptr) {
		cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); err != nil {
		return 0, fmt.Errorf("peer credentials: %w", err)
	}
	if credErr != nil {
		return 0, fmt.Errorf("peer credentials: %w", credErr)
	}
	return cred.Uid, nil
}

// SendAlert hands an alert to the agent behind the socket and waits until the agent has taken it, at most until ctx
// ends. The error is ErrNoListener when nobody listens, ErrAlertRefused when the agent answered no, and ctx's when
// there was no answer in time: then the agent may still take the alert later.
func SendAlert(ctx context.Context, socket string, a crm.Alert) error {
	doc, err := json.Marshal(a)
	if err != nil {
		return fmt.Errorf("send alert: %w", err)
	}
	if len(doc) >= alertLine {
		return fmt.Errorf("send alert: %d bytes are more than %d", len(doc), alertLine-1)
	}
	conn, err := dialAlert(ctx, socket)
	if err != nil {
		return fmt.Errorf("send alert: %w", err)
	}
	defer func() { _ = conn.Close() }()
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
	_, writeErr := conn.Write(append(doc, '\n'))
	// The server may have answered and closed before it read everything: its answer tells more than the failed write.
	answer, err := bufio.NewReaderSize(conn, 256).ReadSlice('\n')
	reason, refused := strings.CutPrefix(strings.TrimSpace(string(answer)), "err ")
	switch {
	case err == nil && string(answer) == "ok\n":
		return nil
	case err == nil && refused:
		return fmt.Errorf("send alert: %w: %q", ErrAlertRefused, reason)
	case ctx.Err() != nil:
		return fmt.Errorf("send alert: wait for the answer: %w", ctx.Err())
	case err == nil:
		return fmt.Errorf("send alert: answer %q is not of this protocol", answer)
	case writeErr != nil:
		return fmt.Errorf("send alert: %w", writeErr)
	default:
		return fmt.Errorf("send alert: read the answer: %w", err)
	}
}

func dialAlert(ctx context.Context, socket string) (net.Conn, error) {
	for {
		conn, err := new(net.Dialer).DialContext(ctx, "unix", socket)
		switch {
		case errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, fs.ErrNotExist):
			return nil, fmt.Errorf("%w: %w", ErrNoListener, err)
		case !errors.Is(err, syscall.EAGAIN):
			return conn, err
		}
		// The backlog is full. A socket that does not block cannot wait for room.
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// ListenUnix listens on a stream socket at path with the given permissions. A socket that nobody listens on is removed
// first, as a crash leaves it; a file of any other kind is not, nor a socket that answers.
func ListenUnix(path string, mode os.FileMode) (net.Listener, error) {
	if err := removeStaleSocket(path); err != nil {
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	lc := net.ListenConfig{Control: ownerOnly}
	l, err := lc.Listen(context.Background(), "unix", path)
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	if err := os.Chmod(path, mode); err != nil {
		_ = l.Close()
		return nil, fmt.Errorf("listen: %w", err)
	}
	return l, nil
}

// ownerOnly sets the mode of a socket that is not bound yet. On Linux its file gets that mode, less the umask: nobody
// else can connect before the chmod, and the umask, which is the whole process's, is left alone.
func ownerOnly(_, _ string, c syscall.RawConn) error {
	var err error
	if e := c.Control(func(fd uintptr) { err = unix.Fchmod(int(fd), 0o600) }); e != nil {
		return e
	}
	return err
}

func removeStaleSocket(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Mode().Type() != fs.ModeSocket {
		return errors.New("a file that is not a socket is in the way")
	}
	conn, err := net.DialTimeout("unix", path, time.Second)
	switch {
	case err == nil:
		_ = conn.Close()
		return fmt.Errorf("another process answers: %w", syscall.EADDRINUSE)
	case errors.Is(err, syscall.ECONNREFUSED):
		return os.Remove(path)
	case errors.Is(err, fs.ErrNotExist):
		return nil
	default: // for instance EAGAIN, a listener whose backlog is full
		return err
	}
}
