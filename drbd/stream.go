package drbd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os/exec"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Stream keeps one `drbdsetup events2` alive and reports what it says. Only Command is needed.
type Stream struct {
	Command      []string      // for example {"/usr/sbin/drbdsetup"}
	Resource     string        // "" follows all resources
	Logger       *slog.Logger  // nil logs nothing
	PollInterval time.Duration // between refreshes of the statistics; 0 means 10 s
	SyncInterval time.Duration // the same while a resync or verify runs; 0 means 2 s
	DumpTimeout  time.Duration // for the dump at the start of a stream; 0 means 10 s
	WaitDelay    time.Duration // how long a killed child may take to go before it is called stuck; 0 means 2 s

	answer  time.Duration         // a sign of life that was asked for may take; 0 means the constant answerWithin
	backoff time.Duration         // the first; 0 means 0.2 s
	wait    func(*exec.Cmd) error // for tests; nil means (*exec.Cmd).Wait
	noFull  bool                  // this drbdsetup has no --full
	noPoll  bool                  // this drbdsetup has no --poll
}

// Report is what a Stream knows at one moment.
//
// A report with Live is only made on a sign of life, which Seen is the time of. A quiet resource gives none by itself:
// events2 prints nothing for as long as nothing changes, so it is asked every PollInterval. Three things are a sign:
//
//   - a line of the child;
//   - with --poll, that the child has read the heartbeat "n", newline, to its end. It reads the newline only after
//     the kernel has answered the "n" in full (drbdsetup.c: events2_poll, the same in each version since 9.17). So what
//     may hang, the child and the kernel's answer, is what is asked. To write a heartbeat is no sign.
//   - without --poll (DRBD 8.4, drbd-utils before 9.17) a child does not listen. Then a second, short-lived drbdsetup
//     prints a dump, and the sign is that it tells the states which the stream has told. It says nothing of the child
//     of a resource that does not change, but that the Status is true. When it fails there is no sign.
//
// A child that owes a sign for answerWithin is killed, and the stream is lost: with the default intervals about 15 s
// after its last sign. It owes one when its heartbeat is not read, or when the second drbdsetup tells what it does not.
// One that is stopped (SIGSTOP) is killed when the next sign is due.
type Report struct {
	Live       bool // the stream runs and its dump is complete
	Generation int  // counts the complete dumps
	Status     Status
	Seen       time.Time // when there was the last sign of life
	Counters   Counters
	Err        error // why not live
	Restarts   int
	Hangs      int       // children that were ended because they gave no sign of life
	Hung       time.Time // when the last of them was ended; zero when none was
	Stuck      bool      // a killed child was not reaped: no new one is started until it is
	Dialect    string    // "9", or "8.4" for a drbdsetup that has neither --full nor --poll
}

// Backoff between two children, and how long one must live for the next backoff to start over.
const (
	firstBackoff = 200 * time.Millisecond
	maxBackoff   = 10 * time.Second
	healthyAfter = 30 * time.Second
)

// answerWithin is how long a sign of life may take once it was asked for, and how long a second drbdsetup may run. The
// looks for a sign are counted, and not the time: on a machine that stood still the child did so too.
const (
	answerWithin = 5 * time.Second
	answerLooks  = 50 // whether the heartbeat was read
	secondLooks  = 5  // dumps of a second drbdsetup that differ
)

var (
	errUsage  = errors.New("this drbdsetup does not know our options")
	errResync = errors.New("drbdsetup lost events")
	errDump   = errors.New("no complete dump in time")
	errHung   = errors.New("drbdsetup does not read its input")
	errSilent = errors.New("drbdsetup does not tell what a second one tells")
	errPaused = errors.New("drbdsetup was stopped by a signal")
	errTorn   = errors.New("the dump of a second drbdsetup has no end")
)

// run is the state of one Run.
type run struct {
	*Stream
	report  func(Report)
	folder  *Folder
	last    Report
	poll    chan polled // results of the second, short-lived events2
	polling bool
	owed    int // looks for a sign of life that was asked for and has not come, 0 when none is due
}

type polled struct {
	out []byte
	err error
}

// Run follows DRBD until ctx ends, and returns ctx's error. It calls report from its own goroutine: when a dump is
// complete, after each batch of lines that changed something, on a sign of life that was asked for, and when the
// stream is lost. A Stream must not be run twice at the same time.
func (s *Stream) Run(ctx context.Context, report func(Report)) error {
	if s.Logger == nil {
		s.Logger = slog.New(slog.DiscardHandler)
	}
	if s.wait == nil {
		s.wait = (*exec.Cmd).Wait
	}
	r := &run{Stream: s, report: report, folder: NewFolder(), poll: make(chan polled, 1)}
	delay := orDefault(s.backoff, firstBackoff)
	for {
		started := time.Now()
		r.folder.NewStream()
		before := r.folder.counters
		err := r.follow(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if errors.Is(err, errUsage) {
			s.Logger.Info("drbdsetup is older than our options", "dialect", s.dialect(), "args", s.args())
			r.folder.counters = before // the usage text is no stream
			continue
		}
		if hung(err) {
			r.last.Hangs, r.last.Hung = r.last.Hangs+1, time.Now()
		}
		r.lost(err)
		if time.Since(started) >= healthyAfter {
			delay = orDefault(s.backoff, firstBackoff)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(delay/2 + rand.N(delay/2+1)):
		}
		delay = min(2*delay, maxBackoff)
		r.last.Restarts++
	}
}

// hung reports the loss of a child that gave no sign of life.
func hung(err error) bool {
	return errors.Is(err, errHung) || errors.Is(err, errSilent) || errors.Is(err, errPaused) || errors.Is(err, errDump)
}

func orDefault(d, def time.Duration) time.Duration {
	if d > 0 {
		return d
	}
	return def
}

func (s *Stream) dialect() string {
	if s.noFull && s.noPoll {
		return "8.4"
	}
	return "9"
}

func (s *Stream) args() []string {
	args := []string{"events2", "--timestamps", "--statistics"}
	if !s.noFull {
		args = append(args, "--full")
	}
	if !s.noPoll {
		args = append(args, "--poll")
	}
	if s.Resource != "" {
		args = append(args, s.Resource)
	}
	return args
}

// dropUnsupported drops the options that the usage error names, or both when it names none of them, and reports whether
// there was anything to drop.
func (s *Stream) dropUnsupported(text string) bool {
	if !strings.Contains(text, "unrecognized option") || s.noFull && s.noPoll {
		return false
	}
	full, poll := strings.Contains(text, "--full'"), strings.Contains(text, "--poll'")
	if full && !s.noFull || poll && !s.noPoll {
		s.noFull, s.noPoll = s.noFull || full, s.noPoll || poll
	} else {
		s.noFull, s.noPoll = true, true
	}
	return true
}

// emit reports the present state.
func (r *run) emit() {
	now := time.Now()
	r.last.Status = r.folder.Status(now)
	r.last.Generation = r.folder.Generation()
	r.last.Counters = r.folder.Counters()
	r.last.Dialect = r.dialect()
	r.report(r.last)
}

func (r *run) lost(err error) {
	r.Logger.Warn("DRBD stream lost", "error", err, "was_live", r.last.Live)
	r.last.Live, r.last.Err = false, err
	r.emit()
}

// follow runs one child to its end and says how it ended. It returns only when the child is reaped or ctx ended.
func (r *run) follow(ctx context.Context) error {
	cctx, cancel := context.WithCancel(ctx)
	defer cancel()
	delay := orDefault(r.WaitDelay, 2*time.Second)
	c, err := startChild(cctx, slices.Concat(r.Command, r.args()), delay, r.wait)
	if err != nil {
		return err
	}
	defer closeAll(c.stdin, c.stdout)
	r.owed = 0
	var cut lines
	var head tail // what came before the dump was complete: perhaps a usage text
	why := r.read(ctx, c, &cut, &head)
	if cut.end() {
		r.folder.Torn()
	}
	if why == nil { // the child closed its output: it should be gone in a moment
		c.reaped(delay)
	}
	cancel()
	if !c.reaped(delay) {
		if why == nil {
			why = errStuck
		}
		r.last.Stuck = true
		r.lost(fmt.Errorf("%w: %w", errStuck, why))
		select {
		case <-c.done:
			r.last.Stuck = false
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if why != nil {
		return why
	}
	if !r.folder.Complete() && r.dropUnsupported(head.text()+c.stderr.text()) {
		return errUsage
	}
	return c.ended()
}

// read folds what the child prints until its output ends (nil), or until there is a reason to end the child.
func (r *run) read(ctx context.Context, c *child, cut *lines, head *tail) error {
	// Two buffers go round between the reader and the loop.
	chunks, free := make(chan []byte), make(chan []byte, 2)
	free <- make([]byte, MaxLine)
	free <- make([]byte, MaxLine)
	gone := make(chan struct{})
	defer close(gone)
	go func() {
		defer close(chunks)
		for {
			var buf []byte
			select {
			case buf = <-free:
			case <-gone:
				return
			}
			n, err := c.stdout.Read(buf[:cap(buf)])
			if err != nil {
				return
			}
			select {
			case chunks <- buf[:n]:
			case <-gone:
				return
			}
		}
	}()
	dump := time.NewTimer(orDefault(r.DumpTimeout, 10*time.Second))
	defer dump.Stop()
	due := time.Now().Add(time.Hour)
	tick := time.NewTimer(time.Until(due))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-dump.C:
			if !r.folder.Complete() {
				return errDump
			}
		case <-tick.C:
			next, err := r.ask(ctx, c)
			if err != nil {
				return err
			}
			due = time.Now().Add(next)
			tick.Reset(next)
		case p := <-r.poll:
			r.polling = false
			next, err := r.merge(p)
			if err != nil {
				return err
			}
			due = time.Now().Add(next)
			tick.Reset(next)
		case <-c.done:
			// A grandchild may hold the pipe open: take what is there, no more.
			_ = c.stdout.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
			for chunk := range chunks {
				r.foldAll(chunk, chunks, free, cut, head)
			}
			return nil
		case chunk, ok := <-chunks:
			if !ok {
				return nil
			}
			r.foldAll(chunk, chunks, free, cut, head)
			if r.folder.NeedResync() {
				return errResync
			}
			if d := r.interval(); r.last.Live && time.Until(due) > d { // live just now, or a resync began
				due = time.Now().Add(d)
				tick.Reset(d)
			}
		}
	}
}

// foldAll folds a chunk and what has come behind it, and reports once. A flood does not keep it from reporting.
func (r *run) foldAll(chunk []byte, chunks <-chan []byte, free chan<- []byte, cut *lines, head *tail) {
	now := time.Now()
	until := now.Add(50 * time.Millisecond)
	changed := false
	for more := true; more; {
		if !r.folder.Complete() {
			_, _ = head.Write(chunk) // cannot fail
		}
		cut.feed(chunk, func(line []byte) { changed = r.folder.Line(now, line) || changed }, r.folder.Torn)
		free <- chunk[:cap(chunk)]
		r.last.Seen = now
		if r.owed = min(r.owed, 1); r.noPoll { // who talks lives; a heartbeat stays to be read
			r.owed = 0
		}
		if now = time.Now(); now.After(until) {
			break
		}
		select {
		case chunk, more = <-chunks:
		default:
			more = false
		}
	}
	if !changed || !r.folder.Complete() {
		return
	}
	if !r.last.Live && !r.folder.NeedResync() {
		r.last.Live, r.last.Err = true, nil
		r.Logger.Info("DRBD stream live", "generation", r.folder.Generation(), "dialect", r.dialect())
	}
	r.emit()
}

// interval is short while a resync or verify runs.
func (r *run) interval() time.Duration {
	for _, res := range r.last.Status.Resources {
		for _, c := range res.Connections {
			for _, p := range c.Volumes {
				if resyncing(p.Replication) || p.Done >= 0 {
					return orDefault(r.SyncInterval, 2*time.Second)
				}
			}
		}
	}
	return orDefault(r.PollInterval, 10*time.Second)
}

// ask asks for statistics and a sign of life, or looks whether the one that was asked for has come. It returns when to
// come again. Without the heartbeat an idle --poll would not notice either that the module is gone (seen with DRBD
// 9.2).
func (r *run) ask(ctx context.Context, c *child) (time.Duration, error) {
	switch {
	case !r.folder.Complete():
		return r.interval(), nil
	case c.stopped(): // without --poll nothing else tells, as long as the resource is quiet
		return 0, errPaused
	case r.noPoll:
		r.startPoll(ctx)
		return r.interval(), nil
	case r.owed == 0:
		_ = c.stdin.SetWriteDeadline(time.Now().Add(time.Second)) // pipes have deadlines on Linux
		if _, err := c.stdin.WriteString("n\n"); err != nil {
			if c.reaped(100 * time.Millisecond) {
				return r.interval(), nil // its exit code says more; the loop sees its end next
			}
			return 0, fmt.Errorf("write heartbeat: %w", err)
		}
	default:
		if n, err := unread(c); err == nil && n == 0 {
			r.alive()
			return r.interval(), nil
		}
		if r.owed >= answerLooks {
			return 0, errHung
		}
	}
	r.owed++
	return orDefault(r.answer, answerWithin) / answerLooks, nil
}

// alive notes a sign of life.
func (r *run) alive() {
	r.owed = 0
	r.last.Seen = time.Now()
	r.emit()
}

// unread counts the bytes that the child has not read yet.
func unread(c *child) (n int, err error) {
	conn, err := c.stdin.SyscallConn()
	if err != nil {
		return 0, err
	}
	cerr := conn.Control(func(fd uintptr) { n, err = unix.IoctlGetInt(int(fd), unix.TIOCINQ) })
	return n, errors.Join(cerr, err)
}

// startPoll asks a second drbdsetup for statistics, unless the one before is not reaped.
func (r *run) startPoll(ctx context.Context) {
	if r.polling {
		return
	}
	r.polling = true
	command := slices.Concat(r.Command, []string{"events2", "--now", "--statistics"})
	if r.Resource != "" {
		command = append(command, r.Resource)
	}
	delay := orDefault(r.WaitDelay, 2*time.Second)
	go func() {
		pctx, cancel := context.WithTimeout(ctx, answerWithin)
		defer cancel()
		out, c, err := once(pctx, command, delay, maxOutput, r.wait)
		if errors.Is(err, errStuck) {
			r.Logger.Warn("no DRBD statistics until drbdsetup can be reaped", "error", err)
		}
		if c != nil {
			<-c.done
		}
		r.poll <- polled{out, err} // room for one, and there is only one
	}()
}

// merge takes what a second drbdsetup printed: its statistics, and whether it tells the states that the child has told.
// The two are never of the same moment, so that one difference is no sign of anything: the child may be about to tell
// it. It returns when to ask again.
func (r *run) merge(p polled) (time.Duration, error) {
	if !r.folder.Complete() {
		return r.interval(), nil
	}
	err := p.err
	if err == nil {
		err = r.compare(p.out)
	}
	switch {
	case err == nil:
		r.alive()
		return r.interval(), nil
	case !errors.Is(err, errSilent): // that another one fails proves nothing against the child
		r.Logger.Warn("no DRBD statistics", "error", err)
		return r.interval(), nil
	}
	if r.owed++; r.owed >= secondLooks {
		return 0, err
	}
	return orDefault(r.answer, answerWithin) / secondLooks, nil
}

func (r *run) compare(dump []byte) error {
	now := time.Now()
	var cut lines
	second := NewFolder()
	cut.feed(dump, func(line []byte) {
		r.folder.Statistics(now, line)
		second.Line(now, line)
	}, r.folder.Torn)
	switch {
	case !second.Complete():
		return errTorn
	case !sameStates(r.folder.Status(now), second.Status(now), r.Resource):
		return errSilent
	}
	return nil
}
