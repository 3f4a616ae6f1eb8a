package drbd

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// TestMain lets the test binary play drbdsetup: DRBD_FAKE is the play, DRBD_FAKE_DIR a directory for what it must
// remember between two calls.
func TestMain(m *testing.M) {
	if play := os.Getenv("DRBD_FAKE"); play != "" {
		os.Exit(fake(play, os.Getenv("DRBD_FAKE_DIR"), os.Args[1:]))
	}
	os.Exit(m.Run())
}

// fake is a drbdsetup. It complains on stderr, to be found in the test's log, when a sister of it runs.
func fake(play, dir string, args []string) int {
	now := strings.Contains(strings.Join(args, " "), "--now")
	kind := "stream"
	if now {
		kind = "now"
	}
	lock := filepath.Join(dir, kind+".lock")
	f, err := os.OpenFile(lock, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return 99
	}
	if syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) != nil {
		_ = os.WriteFile(filepath.Join(dir, "two-at-once"), nil, 0o600)
		return 98
	}
	log, err := os.OpenFile(filepath.Join(dir, "calls"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return 99
	}
	fmt.Fprintln(log, strings.Join(args, " "))
	calls, _ := os.ReadFile(filepath.Join(dir, "calls"))
	call := strings.Count(string(calls), "\n")

	for _, option := range []string{"--full", "--poll"} {
		if strings.Contains(play, "no"+option) && strings.Contains(strings.Join(args, " "), option) {
			fmt.Print("\nUSAGE: drbdsetup command device arguments options\n\nCommands are:\n")
			fmt.Fprintf(os.Stderr, "events2: unrecognized option '%s'\n", option)
			return 20
		}
	}
	if now {
		for _, l := range fullDump {
			l = strings.Replace(l, "sent:250012", "sent:300000", 1)
			if strings.Contains(play, "moved") {
				l = strings.Replace(l, "role:Primary", "role:Secondary", 1)
			}
			fmt.Println(l)
		}
		return 0
	}
	if play == "hang" && call == 1 {
		fmt.Println(fullDump[0])
		time.Sleep(time.Hour)
	}
	if play == "nomodule" {
		fmt.Fprintln(os.Stderr, "modprobe: ERROR: could not insert 'drbd'\nFailed to modprobe drbd (No such file or "+
			"directory)")
		return 20
	}
	for _, l := range fullDump {
		if strings.Contains(play, "moved") && call > 3 { // after both steps down and a stream that has been compared
			l = strings.Replace(l, "role:Primary", "role:Secondary", 1)
		}
		fmt.Println(l)
	}
	switch {
	case strings.HasPrefix(play, "exit"):
		code, _ := strconv.Atoi(play[4:])
		awaitLive(dir, call)
		fmt.Print("2026-11-23T01:59:30.0+00:00 destroy resource name:pg\n2026-11-23T01:59:30.0+00:00 torn")
		fmt.Fprintln(os.Stderr, "the last word")
		return code
	case play == "skipped" && call == 1:
		awaitLive(dir, call)
		fmt.Println("- skipped 3")
	case strings.HasPrefix(play, "stopped") && awaitLive(dir, 1) && call <= strings.Count(play, "no--poll")+1:
		_ = syscall.Kill(os.Getpid(), syscall.SIGSTOP)
	case play == "deaf":
		time.Sleep(time.Hour)
	case play == "halfway": // the kernel does not answer: it has the n, and does not come back for the newline
		_, _ = os.Stdin.Read(make([]byte, 1))
		time.Sleep(time.Hour)
	case play == "sigterm":
		signal.Ignore(syscall.SIGTERM)
	case play == "burst":
		var b strings.Builder
		for i := range 400 {
			fmt.Fprintf(&b, "change peer-device name:pg peer-node-id:1 volume:0 sent:%d\n", i)
		}
		awaitLive(dir, call)
		fmt.Print(b.String())
	}
	if strings.Contains(play, "no--poll") {
		time.Sleep(time.Hour) // a plain stream does not read its input
	}
	in := bufio.NewScanner(os.Stdin)
	for i := 0; in.Scan() && in.Text() == "n"; i++ {
		if play == "idle" {
			continue
		}
		fmt.Printf("change peer-device name:pg peer-node-id:1 conn-name:node2 volume:0 replication:SyncSource sent:%d\n",
			260000+i)
	}
	return 0 // the end of stdin ends it
}

// tellLive tells the children of a play that the dump was seen; awaitLive waits for that, each of them for its own.
func tellLive(t *testing.T, dir string, r Report) {
	t.Helper()
	if !r.Live {
		return
	}
	if err := os.WriteFile(filepath.Join(dir, fmt.Sprint("live", r.Generation)), nil, 0o600); err != nil {
		t.Error(err)
	}
}

func awaitLive(dir string, generation int) bool {
	for {
		if _, err := os.Stat(filepath.Join(dir, fmt.Sprint("live", generation))); err == nil {
			return true
		}
		time.Sleep(time.Millisecond)
	}
}

// follow runs a stream on the fake until done says so.
func follow(t *testing.T, play string, set func(*Stream), done func(Report) bool) ([]Report, string) {
	t.Helper()
	dir := t.TempDir()
	t.Setenv("DRBD_FAKE", play)
	t.Setenv("DRBD_FAKE_DIR", dir)
	s := &Stream{Command: []string{os.Args[0]}, PollInterval: 20 * time.Millisecond, SyncInterval: 20 * time.Millisecond,
		DumpTimeout: 5 * time.Second, WaitDelay: 2 * time.Second, backoff: 5 * time.Millisecond}
	if set != nil {
		set(s)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var reports []Report
	finished := false
	err := s.Run(ctx, func(r Report) {
		if finished {
			return
		}
		reports = append(reports, r)
		tellLive(t, dir, r)
		if done(r) {
			finished = true
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) || !finished {
		t.Fatalf("Run: %v; last report %+v", err, reports[max(0, len(reports)-1):])
	}
	if _, err := os.Stat(filepath.Join(dir, "two-at-once")); err == nil {
		t.Error("two children of a kind at once")
	}
	calls, _ := os.ReadFile(filepath.Join(dir, "calls"))
	return reports, string(calls)
}

func sent(r Report) uint64 {
	if len(r.Status.Resources) == 0 {
		return 0
	}
	return r.Status.Resources[0].Connections[0].Volumes[0].Stats.SentBytes / 1024
}

func TestStreamReportsTheDumpAndWhatPollingBrings(t *testing.T) {
	reports, calls := follow(t, "plain", nil, func(r Report) bool { return sent(r) >= 260002 })
	if !reports[0].Live || reports[0].Generation != 1 || reports[0].Dialect != "9" || sent(reports[0]) != 250012 {
		t.Errorf("first report %+v", reports[0])
	}
	if calls != "events2 --timestamps --statistics --full --poll\n" {
		t.Errorf("calls: %s", calls)
	}
}

func TestStreamShowsTheAgeWhenNothingChanges(t *testing.T) {
	n := 0
	reports, _ := follow(t, "idle", nil, func(Report) bool { n++; return n == 10 })
	for i, r := range reports {
		if !r.Live || r.Restarts != 0 || i > 0 && !r.Seen.After(reports[i-1].Seen) {
			t.Errorf("report %d: %+v", i, r)
		}
	}
}

// asked is a run whose dump is complete, of a child that is one end of a pipe.
func asked(t *testing.T, noPoll bool) (r *run, c *child, in *os.File, reports *int) {
	t.Helper()
	in, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeAll(in, out) })
	reports = new(int)
	r = &run{Stream: &Stream{Logger: slog.New(slog.DiscardHandler), noPoll: noPoll}, folder: folder(t, base),
		poll: make(chan polled, 1)}
	r.last.Live = true
	r.report = func(Report) { *reports++ }
	return r, &child{stdin: out}, in, reports
}

// The heartbeat is a sign of life when it was read to its end, and not before: not when it was written, and not when
// the child has taken the n and waits for the kernel.
func TestAHeartbeatIsASignOfLifeWhenItWasRead(t *testing.T) {
	r, c, in, reports := asked(t, false)
	look := func(want int, wait time.Duration) {
		t.Helper()
		next, err := r.ask(t.Context(), c)
		if err != nil || next != wait || *reports != want {
			t.Fatalf("next look after %v, %v; %d reports, want %d and %v", next, err, *reports, want, wait)
		}
	}
	read := func() {
		t.Helper()
		if n, err := in.Read(make([]byte, 1)); n != 1 || err != nil {
			t.Fatal(n, err)
		}
	}
	const step, quiet = answerWithin / answerLooks, 10 * time.Second
	for round := range 3 {
		before := r.last.Seen
		look(round, step) // writes it
		look(round, step)
		read()
		look(round, step)
		read()
		look(round+1, quiet)
		if !r.last.Seen.After(before) {
			t.Fatal("no new sign of life")
		}
	}
	seen := r.last.Seen
	look(3, step)
	read() // the n alone
	for range answerLooks - 1 {
		look(3, step)
	}
	if _, err := r.ask(t.Context(), c); !errors.Is(err, errHung) || *reports != 3 || r.last.Seen != seen {
		t.Errorf("%v, %d reports, seen %v later", err, *reports, r.last.Seen.Sub(seen))
	}
}

// A slow child that talks is not hung, and its heartbeat is not written twice.
func TestWhoTalksLives(t *testing.T) {
	r, c, _, _ := asked(t, false)
	free := make(chan []byte, 1)
	for range 5 * answerLooks {
		if _, err := r.ask(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		if r.owed == answerLooks {
			r.foldAll([]byte("change resource name:pg role:Primary\n"), nil, free, &lines{}, &tail{})
			<-free
		}
	}
	if n, err := unread(c); err != nil || n != 2 {
		t.Errorf("%d bytes unread, %v", n, err)
	}
}

// Without --poll, a second drbdsetup is compared with: it, and not the passing of time, says that a picture is true.
func TestASecondDrbdsetupIsComparedWith(t *testing.T) {
	same := base
	moved := strings.Replace(base, "Inconsistent", "UpToDate", 1)
	torn := strings.Replace(base, "exists -\n", "", 1)
	others := "exists resource name:other role:Primary suspended:no\n" + base
	counters := strings.Replace(base, "disk:Inconsistent", "disk:Inconsistent read:7", 1)
	for name, test := range map[string]struct {
		dumps    []string // "" is a drbdsetup that failed, "talks" a line of the child in between
		resource string
		reports  int
		err      error
	}{
		"quiet for hours":     {dumps: slices.Repeat([]string{same}, 1000), reports: 1000},
		"other counters":      {dumps: []string{counters}, reports: 1},
		"a change on its way": {dumps: []string{same, moved, moved, same, moved, same}, reports: 3},
		"a change that is not told": {dumps: []string{same, moved, moved, moved, moved, moved}, reports: 1,
			err: errSilent},
		"the child talks": {dumps: []string{moved, moved, moved, moved, "talks", moved, moved, moved,
			moved, same}, reports: 1},
		"torn dumps": {dumps: slices.Repeat([]string{torn}, 2*secondLooks)},
		"a failure":  {dumps: []string{"", same}, reports: 1},
		"nobody can ask": {dumps: append([]string{same}, slices.Repeat([]string{""}, 2*secondLooks)...),
			reports: 1},
		"a resource that is not followed": {dumps: slices.Repeat([]string{others}, 10), resource: "pg", reports: 10},
		"and one that is, as all are":     {dumps: slices.Repeat([]string{others}, secondLooks), err: errSilent},
		"the resource is gone": {dumps: slices.Repeat([]string{"exists -\n"}, secondLooks), resource: "pg",
			err: errSilent},
		"another connection state": {dumps: slices.Repeat([]string{strings.Replace(base, "Connected", "StandAlone",
			1)}, secondLooks), err: errSilent},
		"another peer's role": {dumps: slices.Repeat([]string{strings.Replace(base, "role:Primary",
			"role:Secondary", 1)}, secondLooks), err: errSilent},
		"another role": {dumps: slices.Repeat([]string{strings.Replace(base, "role:Secondary",
			"role:Primary", 1)}, secondLooks), err: errSilent},
		"suspended": {dumps: slices.Repeat([]string{strings.Replace(base, "suspended:no",
			"suspended:quorum", 1)}, secondLooks), err: errSilent},
		"without quorum": {dumps: slices.Repeat([]string{strings.Replace(base, "quorum:yes", "quorum:no",
			1)}, secondLooks), err: errSilent},
		"another replication": {dumps: slices.Repeat([]string{strings.Replace(base, "Established", "Off", 1)},
			secondLooks), err: errSilent},
		"another disk of the peer": {dumps: slices.Repeat([]string{strings.Replace(base, "peer-disk:UpToDate",
			"peer-disk:Outdated", 1)}, secondLooks), err: errSilent},
		"a split brain that nobody prints": {dumps: []string{"talks of a split brain", same}, reports: 1},
	} {
		t.Run(name, func(t *testing.T) {
			r, _, _, reports := asked(t, true)
			r.Resource = test.resource
			free := make(chan []byte, 1)
			for i, dump := range test.dumps {
				var err error
				switch dump {
				case "":
					_, err = r.merge(polled{err: errHung})
				case "talks", "talks of a split brain":
					line := "change device name:pg volume:0 disk:Inconsistent\n"
					if dump != "talks" {
						line = "call helper name:pg peer-node-id:1 helper:split-brain\n"
						*reports-- // not of a dump
					}
					r.foldAll([]byte(line), nil, free, &lines{}, &tail{})
					<-free
				default:
					_, err = r.merge(polled{out: []byte(dump)})
				}
				if last := i == len(test.dumps)-1; err != nil && !last || last && !errors.Is(err, test.err) {
					t.Fatalf("dump %d: %v, want %v", i, err, test.err)
				}
			}
			if *reports != test.reports {
				t.Errorf("%d reports of life, want %d", *reports, test.reports)
			}
		})
	}
}

// TestADumpOfAConnectionThatWasGivenUp: DRBD 8.4 destroys it, and its dumps show it without a name.
func TestADumpOfAConnectionThatWasGivenUp(t *testing.T) {
	const resource = "exists resource name:pg role:Secondary suspended:no\n"
	const device = "exists device name:pg volume:0 minor:0 disk:Outdated\n"
	const dump = resource + "exists connection name:pg peer-node-id:0 connection:StandAlone role:Unknown\n" + device +
		"exists peer-device name:pg peer-node-id:0 volume:0 replication:Off peer-disk:DUnknown resync-suspended:no\nexists " +
		"-\n"
	fold := func(text string) Status {
		f := NewFolder()
		for line := range strings.Lines(text) {
			f.Line(time.Unix(0, 0), []byte(line))
		}
		return f.Status(time.Unix(0, 0))
	}
	told := fold(resource + "exists connection name:pg peer-node-id:0 conn-name:peer connection:Connected " +
		"role:Primary\n" + device +
		"exists -\nchange connection name:pg peer-node-id:0 conn-name:peer connection:StandAlone role:Unknown\n" +
		"destroy connection name:pg peer-node-id:0 conn-name:peer\n")
	if !sameStates(told, fold(dump), "pg") {
		t.Errorf("the child would be taken for hung:\n%s\n%s", show(told), show(fold(dump)))
	}
	if c := fold(dump).Resources[0].Connections; len(c) != 1 || c[0].Name != "peer" || c[0].State != "StandAlone" {
		t.Errorf("connections %+v", c)
	}
}

// What docs and the type say: 15 s by default from the last sign of life to the loss.
func TestAHungChildIsGivenUpWithinFifteenSeconds(t *testing.T) {
	r, c, _, _ := asked(t, false)
	var took time.Duration
	for took = r.interval(); ; {
		next, err := r.ask(t.Context(), c)
		if err != nil {
			break
		}
		took += next
	}
	if took > 15*time.Second {
		t.Errorf("%v", took)
	}
}

// A child without --poll that does not tell what has changed is replaced by one that does.
func TestStreamReplacesAChildThatDoesNotTell(t *testing.T) {
	reports, _ := follow(t, "no--full,no--poll,moved", func(s *Stream) { s.answer = 100 * time.Millisecond },
		func(r Report) bool { return r.Live && r.Restarts > 0 })
	for _, r := range reports[:len(reports)-1] {
		if r.Live && r.Generation == 1 && r.Seen != reports[0].Seen {
			t.Errorf("a sign of life of a child that has been overtaken: %+v", r)
		}
	}
	if r := reports[len(reports)-1]; r.Status.Resources[0].Role != RoleSecondary {
		t.Errorf("last report %+v", r)
	}
}

func TestStreamEndIsLossWhateverTheExitCode(t *testing.T) {
	for code, want := range map[int]string{0: "exit code 0: the last word", 20: "exit code 20: the last word",
		121: "exit code 121: the drbd module was unloaded: the last word"} {
		t.Run(strconv.Itoa(code), func(t *testing.T) {
			reports, _ := follow(t, fmt.Sprint("exit", code), func(s *Stream) {
				s.PollInterval, s.SyncInterval = time.Hour,
					time.Hour
			}, func(r Report) bool { return r.Live && r.Generation == 3 })
			lost := 0
			for i, r := range reports {
				if r.Live {
					continue
				}
				lost++
				if r.Err == nil || !strings.HasSuffix(r.Err.Error(), want) || !reports[i-1].Live {
					t.Errorf("report %d: %v", i, r.Err)
				}
				if r.Counters.Skipped != uint64(lost) {
					t.Errorf("torn line not counted: %+v", r.Counters)
				}
			}
			if lost != 2 || reports[len(reports)-1].Restarts != 2 {
				t.Errorf("%d losses, %d restarts", lost, reports[len(reports)-1].Restarts)
			}
		})
	}
}

func TestStreamWithoutModuleNeverLives(t *testing.T) {
	reports, calls := follow(t, "nomodule", nil, func(r Report) bool { return r.Restarts == 3 })
	for _, r := range reports {
		if r.Live || r.Err == nil || !strings.Contains(r.Err.Error(), "exit code 20: Failed to modprobe drbd") {
			t.Errorf("%+v", r)
		}
	}
	if strings.Count(calls, "--full --poll") != 4 {
		t.Errorf("stepped down for no reason:\n%s", calls)
	}
}

func TestStreamStepsDownToWhatDrbdsetupKnows(t *testing.T) {
	for play, want := range map[string]struct{ last, dialect string }{
		"no--full":          {"events2 --timestamps --statistics --poll pg", "9"},
		"no--poll":          {"events2 --timestamps --statistics --full pg", "9"},
		"no--full,no--poll": {"events2 --timestamps --statistics pg", "8.4"},
	} {
		t.Run(play, func(t *testing.T) {
			reports, calls := follow(t, play, func(s *Stream) { s.Resource = "pg" },
				func(r Report) bool { return sent(r) >= 260002 || sent(r) == 300000 })
			var last string
			for l := range strings.SplitSeq(calls, "\n") {
				if l != "" && !strings.Contains(l, "--now") {
					last = l
				}
			}
			r := reports[len(reports)-1]
			if last != want.last || r.Dialect != want.dialect || r.Generation != 1 || r.Restarts != 0 {
				t.Errorf("%q, %+v", last, r)
			}
			if r.Counters.UnknownVerbs != 0 {
				t.Errorf("the usage text was folded: %+v", r.Counters)
			}
		})
	}
}

func TestStreamRestartsAChildThatHangs(t *testing.T) {
	for play, want := range map[string]error{"hang": errDump, "deaf": errHung, "halfway": errHung, "skipped": errResync,
		"stopped": errPaused, "stopped,no--poll": errPaused} {
		t.Run(play, func(t *testing.T) {
			var err error
			var stream *Stream
			reports, _ := follow(t, play, func(s *Stream) {
				stream = s
				switch play {
				case "hang":
					s.DumpTimeout = 300 * time.Millisecond
				case "deaf", "halfway":
					s.answer = 300 * time.Millisecond
				}
			}, func(r Report) bool {
				if r.Err != nil {
					err = r.Err
					// Only the first child hangs. The next one may take its time on a busy machine.
					stream.DumpTimeout, stream.answer = 10*time.Second, 10*time.Second
				}
				return r.Live && r.Restarts > 0
			})
			if !errors.Is(err, want) {
				t.Errorf("lost for %v", err)
			}
			hangs := 1
			if play == "skipped" {
				hangs = 0
			}
			if last := reports[len(reports)-1]; last.Hangs != hangs || last.Hung.IsZero() != (hangs == 0) {
				t.Errorf("%d hangs, the last at %v", last.Hangs, last.Hung)
			}
		})
	}
}

func TestStreamEndsAChildThatIgnoresSIGTERM(t *testing.T) {
	start := time.Now()
	follow(t, "sigterm", nil, func(r Report) bool { return r.Live })
	if d := time.Since(start); d > 5*time.Second {
		t.Errorf("took %v", d)
	}
}

func TestBurstIsFewReports(t *testing.T) {
	reports, _ := follow(t, "burst", func(s *Stream) { s.PollInterval, s.SyncInterval = time.Hour, time.Hour },
		func(r Report) bool { return sent(r) == 399 })
	if len(reports) > 4 {
		t.Errorf("%d reports", len(reports))
	}
}

func TestNoNewChildWhileOneIsNotReaped(t *testing.T) {
	var release atomic.Bool
	stuck := 0
	var calls int
	dir := t.TempDir()
	t.Setenv("DRBD_FAKE", "exit0")
	t.Setenv("DRBD_FAKE_DIR", dir)
	count := func() int {
		b, _ := os.ReadFile(filepath.Join(dir, "calls"))
		return strings.Count(string(b), "\n")
	}
	s := &Stream{Command: []string{os.Args[0]}, WaitDelay: 50 * time.Millisecond, backoff: time.Millisecond}
	s.wait = func(c *exec.Cmd) error {
		err := c.Wait()
		for !release.Load() {
			time.Sleep(time.Millisecond)
		}
		return err
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	err := s.Run(ctx, func(r Report) {
		tellLive(t, dir, r)
		switch {
		case r.Stuck:
			stuck++
			if r.Live || !errors.Is(r.Err, errStuck) {
				t.Errorf("%+v", r)
			}
			time.AfterFunc(200*time.Millisecond, func() { calls = count(); release.Store(true) })
		case r.Generation == 2:
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) || stuck != 1 || calls != 1 {
		t.Errorf("%v, stuck %d times, %d calls while stuck", err, stuck, calls)
	}
}

func TestEndOfInputEndsTheFake(t *testing.T) {
	t.Setenv("DRBD_FAKE", "plain")
	t.Setenv("DRBD_FAKE_DIR", t.TempDir())
	c, err := startChild(t.Context(), []string{os.Args[0], "events2"}, time.Second, (*exec.Cmd).Wait)
	if err != nil {
		t.Fatal(err)
	}
	defer closeAll(c.stdout)
	closeAll(c.stdin)
	if !c.reaped(5*time.Second) || c.err != nil {
		t.Errorf("not ended: %v", c.err)
	}
}

// What a second, short-lived drbdsetup is started with.
func TestOnce(t *testing.T) {
	run := func(ctx context.Context, limit int64, command ...string) (string, error) {
		out, _, err := once(ctx, command, time.Second, limit, (*exec.Cmd).Wait)
		return string(out), err
	}
	if out, err := run(t.Context(), 3, "/bin/echo", "hi"); out != "hi\n" || err != nil {
		t.Errorf("%q, %v", out, err)
	}
	if out, err := run(t.Context(), 2, "/bin/echo", "hi"); err == nil || out != "" {
		t.Errorf("%q, %v", out, err)
	}
	if out, err := run(t.Context(), 9, "/nonexistent/drbdsetup"); err == nil || out != "" {
		t.Errorf("%q, %v", out, err)
	}
	if out, err := run(t.Context(), 9, "/bin/false"); err == nil || !strings.Contains(err.Error(), "exit code 1") ||
		out != "" {
		t.Errorf("%q, %v", out, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := run(ctx, 9, "/bin/sh", "-c", "sleep 60"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
}

func TestAChildOfTheStreamSpeaksEnglishInUTC(t *testing.T) {
	t.Setenv("LC_ALL", "de_DE.UTF-8")
	t.Setenv("TZ", "Europe/Berlin")
	out, _, err := once(t.Context(), []string{"/bin/sh", "-c", `echo "$LC_ALL $TZ"`}, time.Second, 100, (*exec.Cmd).Wait)
	if err != nil || string(out) != "C UTC\n" {
		t.Errorf("%q, %v", out, err)
	}
}
