package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/pgha/pgha-agent/route53/route53test"
)

var update = flag.Bool("update", false, "write golden files and docs/commands.md")

// The zone as the fake has it, and the record that the world's configuration names.
const (
	testName     = "db.pgha.internal"
	peerAddr     = "10.0.1.10"
	ownAddr      = "10.0.2.10"
	awaitAtMost  = 20 * time.Second
	awaitBetween = 10 * time.Millisecond
)

// TestMain lets the test binary be every program of a script: the agent, the hook, and stand-ins for what they run.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"pgha-agent": main,
		"pgha-alert": main,
		"crm_mon":    standInCrmMon,
		"drbdsetup":  standInDrbdsetup,
		"cibadmin":   standInCibadmin,
		"activate":   activate,
		"unixonly":   unixOnly,
	})
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script", Setup: setup, UpdateScripts: *update, RequireExplicitExec: true, RequireUniqueNames: true,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"append": cmdAppend, "await": cmdAwait, "record": cmdRecord, "writes": cmdWrites, "requests": cmdRequests,
			"notified": cmdNotified,
			"hup":      cmdHup, "term": cmdTerm, "killed": cmdKilled, "within": cmdWithin, "hostile": cmdHostile, "cut": cmdCut,
			"exits": cmdExits,
		},
	})
}

// world is what is around an agent: the strict fake of Route 53 with its resolver, and what systemd was told.
type world struct {
	aws      *route53test.Server
	dns      *route53test.DNS
	notified transcript
}

// transcript keeps the datagrams of a notify socket.
type transcript struct {
	mu   sync.Mutex
	text []string
}

func (tr *transcript) read(conn *net.UnixConn) {
	buf := make([]byte, 4096)
	for {
		n, err := conn.Read(buf)
		if err != nil {
			return
		}
		tr.mu.Lock()
		tr.text = append(tr.text, string(buf[:n]))
		tr.mu.Unlock()
	}
}

func (tr *transcript) all() string {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	return strings.Join(tr.text, "\n")
}

// newWorld starts the fakes, writes testdata/world into dir, and returns the variables that its configuration and its
// programs need.
func newWorld(dir string) (w *world, vars map[string]string, stop func(), err error) {
	w = &world{aws: route53test.New(route53test.Options{SyncDelay: 50 * time.Millisecond})}
	if err := w.aws.Start("127.0.0.1:0"); err != nil {
		return nil, nil, nil, err
	}
	if w.dns, err = w.aws.DNS(route53test.DNSOptions{}); err != nil {
		w.aws.Close()
		return nil, nil, nil, err
	}
	stop = func() { w.dns.Close(); w.aws.Close() }
	w.aws.Set(route53test.Simple(testName, "A", 10, peerAddr))
	w.aws.Set(route53test.Simple("_pgha."+testName, "TXT", 10,
		`"v=1 epoch=3 owner=pg-a addr=10.0.1.10 claim=0e5b6a52-6b3f-5d43-9d6e-7c5a1f2b3c4d"`))
	vars = map[string]string{
		"WORLD": dir, "AWS_URL": w.aws.URL(), "DNS_ADDR": w.dns.Addr(), "NOTIFY": filepath.Join(dir, "notify.sock"),
		"AWS_ACCESS_KEY_ID": "AKIATEST", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_EC2_METADATA_DISABLED": "true",
		"AWS_REGION":      "eu-central-1",
		"GORACE":          "atexit_sleep_ms=0", // a second at the end of each of these programs is more than crm_mon may take
		"AWS_CONFIG_FILE": "/nonexistent", "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent",
	}
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: vars["NOTIFY"], Net: "unixgram"})
	if err != nil {
		stop()
		return nil, nil, nil, err
	}
	go w.notified.read(conn)
	closeFakes := stop
	stop = func() { conn.Close(); closeFakes() }
	files, err := filepath.Glob("testdata/world/*")
	if err != nil || len(files) == 0 {
		stop()
		return nil, nil, nil, fmt.Errorf("no testdata/world: %w", err)
	}
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err == nil {
			text := os.Expand(string(data), func(k string) string { return vars[k] })
			err = os.WriteFile(filepath.Join(dir, filepath.Base(name)), []byte(text), 0o644)
		}
		if err != nil {
			stop()
			return nil, nil, nil, err
		}
	}
	return w, vars, stop, nil
}

func setup(env *testscript.Env) error {
	if err := os.Mkdir(filepath.Join(env.WorkDir, "state"), 0o755); err != nil {
		return err
	}
	w, vars, stop, err := newWorld(env.WorkDir)
	if err != nil {
		return err
	}
	env.Defer(stop)
	for k, v := range vars {
		env.Setenv(k, v)
	}
	env.Values["world"] = w
	return nil
}

func worldOf(ts *testscript.TestScript) *world { return ts.Value("world").(*world) }

// await waits until ok, and says what it saw last when that does not come.
func await(ts *testscript.TestScript, ok func() (bool, string)) {
	deadline := time.Now().Add(awaitAtMost)
	for {
		good, saw := ok()
		if good {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("timed out; the last was:\n%s", saw)
		}
		time.Sleep(awaitBetween)
	}
}

// append FILE FROM appends one file to another.
func cmdAppend(ts *testscript.TestScript, _ bool, args []string) {
	f, err := os.OpenFile(ts.MkAbs(args[0]), os.O_APPEND|os.O_WRONLY, 0)
	ts.Check(err)
	defer f.Close()
	_, err = f.WriteString(ts.ReadFile(args[1]))
	ts.Check(err)
}

// await REGEXP COMMAND... runs the command until its output matches.
func cmdAwait(ts *testscript.TestScript, _ bool, args []string) {
	want := regexp.MustCompile("(?m)" + args[0])
	await(ts, func() (bool, string) {
		err := ts.Exec(args[1], args[2:]...)
		out := ts.ReadFile("stdout") + ts.ReadFile("stderr")
		return want.MatchString(out), fmt.Sprintf("%s%v", out, err)
	})
}

// record ADDR waits until the zone has that address; with ! it wants that it has another one now.
func cmdRecord(ts *testscript.TestScript, neg bool, args []string) {
	now := func() (bool, string) {
		set, _ := worldOf(ts).aws.Get(testName, "A")
		got := strings.Join(set.Values, ",")
		return got == args[0], got
	}
	if !neg {
		await(ts, now)
	} else if is, got := now(); is {
		ts.Fatalf("the record is %s", got)
	}
}

// writes N wants that many change requests so far.
func cmdWrites(ts *testscript.TestScript, _ bool, args []string) {
	if got := strconv.Itoa(worldOf(ts).aws.Count("ChangeResourceRecordSets")); got != args[0] {
		ts.Fatalf("%s change requests, want %s", got, args[0])
	}
}

// requests N wants that many connections of any kind to the API so far.
func cmdRequests(ts *testscript.TestScript, _ bool, args []string) {
	aws := worldOf(ts).aws
	if got := strconv.Itoa(aws.Count("") + aws.Probes()); got != args[0] {
		ts.Fatalf("%s requests, want %s", got, args[0])
	}
}

// notified REGEXP waits until systemd was told something that matches; with ! it wants that it was not, so far.
func cmdNotified(ts *testscript.TestScript, neg bool, args []string) {
	want := regexp.MustCompile("(?m)" + args[0])
	now := func() (bool, string) {
		text := worldOf(ts).notified.all()
		return want.MatchString(text), text
	}
	if !neg {
		await(ts, now)
	} else if is, got := now(); is {
		ts.Fatalf("systemd was told:\n%s", got)
	}
}

// hup sends SIGHUP to the programs in the background; the script's own kill does not know that signal.
func cmdHup(ts *testscript.TestScript, _ bool, _ []string) {
	for _, cmd := range ts.BackgroundCmds() {
		ts.Check(cmd.Process.Signal(syscall.SIGHUP))
	}
}

// term DURATION sends SIGTERM to the program in the background, and kills it after that time, so that a wait that
// follows fails.
func cmdTerm(ts *testscript.TestScript, _ bool, args []string) {
	most, err := time.ParseDuration(args[0])
	ts.Check(err)
	for _, cmd := range ts.BackgroundCmds() {
		late := time.AfterFunc(most, func() { _ = cmd.Process.Kill() })
		ts.Check(cmd.Process.Signal(syscall.SIGTERM))
		ts.Defer(func() { late.Stop() })
	}
}

// killed NAME SIGNAL sends a signal to one program in the background, which `wait NAME` then waits for; the script's
// own kill knows too few.
func cmdKilled(ts *testscript.TestScript, _ bool, args []string) {
	sig := map[string]os.Signal{"HUP": syscall.SIGHUP, "KILL": syscall.SIGKILL, "INT": syscall.SIGINT}[args[1]]
	for _, cmd := range ts.BackgroundCmds() {
		if strings.Contains(strings.Join(cmd.Args, " "), args[0]) {
			ts.Check(cmd.Process.Signal(sig))
			return
		}
	}
	ts.Fatalf("no program %s in the background", args[0])
}

// within DURATION COMMAND... wants that the command succeeds in that time; with ! that it fails in that time.
func cmdWithin(ts *testscript.TestScript, neg bool, args []string) {
	most, err := time.ParseDuration(args[0])
	ts.Check(err)
	start := time.Now()
	err = ts.Exec(args[1], args[2:]...)
	if took := time.Since(start); took > most {
		ts.Fatalf("took %v, more than %v", took, most)
	}
	if (err != nil) != neg {
		ts.Fatalf("ended with: %v", err)
	}
}

// exits CODE COMMAND... wants that the command ends with that exit code.
func cmdExits(ts *testscript.TestScript, _ bool, args []string) {
	err := ts.Exec(args[1], args[2:]...)
	code := 0
	if e, ok := errors.AsType[*exec.ExitError](err); ok {
		code = e.ExitCode()
	} else if err != nil {
		ts.Fatalf("%v", err)
	}
	if strconv.Itoa(code) != args[0] {
		ts.Fatalf("exit code %d, want %s", code, args[0])
	}
}

// cut FILE N takes the last bytes off a file: one in a script always ends with a newline.
func cmdCut(ts *testscript.TestScript, _ bool, args []string) {
	n, err := strconv.Atoi(args[1])
	ts.Check(err)
	ts.Check(os.Truncate(ts.MkAbs(args[0]), int64(len(ts.ReadFile(args[0]))-n)))
}

// hostile COMMAND... runs the command under environments that nobody should have sent. It must succeed under each.
func cmdHostile(ts *testscript.TestScript, _ bool, args []string) {
	long, many := strings.Repeat("x", 100<<10), []string{}
	for i := range 2000 {
		many = append(many, fmt.Sprintf("CRM_alert_extra%d=%d", i, i))
	}
	for _, hostile := range [][]string{
		{"CRM_alert_version=3.0.0"},
		{"CRM_alert_kind="},
		{"CRM_alert_kind=resource", "CRM_alert_kind=node"},
		{"CRM_alert_kind=\x00"[:15] + "\xff\xfe\xed", "CRM_alert_node=\x1b[2J\r\n\tpg-b\u202e"},
		{"CRM_alert_kind=" + long, "CRM_alert_desc=" + strings.Repeat(`"<&\`, 20<<10)},
		{"CRM_alert_kind=resource", "CRM_alert_rc=99999999999999999999", "CRM_alert_node_sequence=-1",
			"CRM_alert_timestamp_epoch=9e99", "CRM_alert_timestamp_usec=NaN"},
		{"CRM_alert_kind=resource", "CRM_alert_task=promote", "CRM_alert_rc=0", "CRM_alert_node=$(reboot)",
			"CRM_alert_rsc=../../../etc/passwd"},
		{"CRM_alert_kind=node", "CRM_alert_recipient=/"},
		{"CRM_alert_kind=node", "CRM_alert_recipient=relative"},
		{"CRM_alert_kind=node", "CRM_alert_recipient=/dev/zero"},
		{"CRM_alert_kind=node", "CRM_alert_recipient=/" + long},
		{"CRM_alert_kind=node", "CRM_alert_recipient=/proc/self/mem"},
		append(many, "CRM_alert_kind=node"),
		{"CRM_alert_kind=node", "GODEBUG=gctrace=x", "GOMAXPROCS=-1", "HOME=", "PATH=", "LANG=\xff"},
		{"=CRM_alert_kind=node", "CRM_alert_kind", "CRM_alert_kind=node"},
	} {
		path, err := exec.LookPath(args[0])
		ts.Check(err)
		cmd := exec.Command(path, args[1:]...)
		cmd.Dir = ts.MkAbs(".")
		cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "GORACE=" + ts.Getenv("GORACE")}, hostile...)
		out, err := cmd.CombinedOutput()
		if err != nil || bytes.Contains(out, []byte("goroutine ")) {
			ts.Fatalf("under %.200q: %v\n%s", hostile, err, out)
		}
		if bytes.ContainsAny(out, "\x1b\r") {
			ts.Fatalf("under %.200q it printed control characters: %q", hostile, out)
		}
	}
}

// standInCrmMon prints the file that is its first argument, which the configuration gives it.
func standInCrmMon() {
	data, err := os.ReadFile(os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, "crm_mon: Connection to cluster failed: Connection refused")
		os.Exit(102)
	}
	_, _ = os.Stdout.Write(data)
}

// standInDrbdsetup follows the file that is its first argument until its stdin ends, as `drbdsetup events2 --poll`
// does.
func standInDrbdsetup() {
	once := slices.Contains(os.Args, "--now")
	if !once {
		go func() { _, _ = io.Copy(io.Discard, os.Stdin); os.Exit(0) }()
	}
	f, err := os.Open(os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, "Could not connect to 'drbd' generic netlink family")
		os.Exit(20)
	}
	for {
		if _, err := io.Copy(os.Stdout, f); err != nil || once {
			return
		}
		time.Sleep(awaitBetween)
	}
}

// standInCibadmin keeps the constraints in $WORLD/constraints, one in a line, as the real one does. Like Pacemaker, it
// acts on a preference: when there is a file $WORLD/moves, the cluster looks as moved.xml and moved.events say, a
// moment later. Without the file cib-fails it always answers.
func standInCibadmin() {
	dir := os.Getenv("WORLD")
	if why, err := os.ReadFile(filepath.Join(dir, "cib-fails")); err == nil {
		fmt.Fprint(os.Stderr, string(why))
		os.Exit(102)
	}
	file := filepath.Join(dir, "constraints")
	data, _ := os.ReadFile(file)
	switch args := strings.Join(os.Args[1:], " "); {
	case args == "-Q -o configuration":
		fmt.Printf("<configuration><constraints>%s</constraints></configuration>\n", data)
	case strings.HasPrefix(args, "-C -o constraints -X <rsc_location id=\""):
		id, _, _ := strings.Cut(strings.TrimPrefix(args, "-C -o constraints -X <rsc_location id=\""), "\"")
		if strings.Contains(string(data), "rsc_location id=\""+id+"\"") {
			fmt.Fprintln(os.Stderr, "Call failed: File exists")
			os.Exit(108)
		}
		die(os.WriteFile(file, append(data, os.Args[5]+"\n"...), 0o644))
		if _, err := os.Stat(filepath.Join(dir, "moves")); err == nil {
			time.Sleep(100 * time.Millisecond)
			die(os.Rename(filepath.Join(dir, "moved.xml"), filepath.Join(dir, "crm.xml")))
			events, err := os.ReadFile(filepath.Join(dir, "moved.events"))
			die(err)
			f, err := os.OpenFile(filepath.Join(dir, "events"), os.O_APPEND|os.O_WRONLY, 0)
			die(err)
			_, err = f.Write(events)
			die(err)
		}
	case strings.HasPrefix(args, "-D --xpath //rsc_location[@id='"):
		id := strings.TrimSuffix(strings.TrimPrefix(args, "-D --xpath //rsc_location[@id='"), "']")
		var left strings.Builder
		for line := range strings.Lines(string(data)) {
			if !strings.Contains(line, "rsc_location id=\""+id+"\"") {
				left.WriteString(line)
			}
		}
		die(os.WriteFile(file, []byte(left.String()), 0o644))
	default:
		fmt.Fprintln(os.Stderr, "cibadmin: this stand-in does not know", args)
		os.Exit(64)
	}
}

// activate SOCKET COMMAND... does what systemd does for a socket unit: it listens, and starts the command with the
// socket as file 3.
func activate() {
	l, err := net.Listen("unix", os.Args[1])
	die(err)
	f, err := l.(*net.UnixListener).File()
	die(err)
	path, err := exec.LookPath(os.Args[2])
	die(err)
	if f.Fd() != 3 {
		die(syscall.Dup3(int(f.Fd()), 3, 0))
	} else {
		_, _, errno := syscall.Syscall(syscall.SYS_FCNTL, 3, syscall.F_SETFD, 0)
		if errno != 0 {
			die(errno)
		}
	}
	env := append(os.Environ(), "LISTEN_FDS=1", "LISTEN_PID="+strconv.Itoa(os.Getpid()), "LISTEN_FDNAMES=alert")
	die(syscall.Exec(path, os.Args[2:], env))
}

func die(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(99)
	}
}
