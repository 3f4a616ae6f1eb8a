package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"
	"golang.org/x/crypto/bcrypt"
	"golang.org/x/sys/unix"

	"github.com/pgha/pgha-agent/route53/route53test"
)

// The secrets that the daemon of this test is given, each in the way that an operator might choose.
var secrets = map[string]string{
	"password of the probe":           "dsn-Zq7w9LkT2p",
	"password of the client's view":   "view-Xe4n8RmB6c",
	"password in the environment":     "pgenv-Hs3v5JdY1q",
	"AWS secret key":                  "awssecret+Ty6u/8GfN0b",
	"AWS session token":               "awstoken//Wk2m7CxP4z==",
	"password of the metrics page":    "web-Oa9i1VbE5h",
	"password in a bad configuration": "bad-Uf0r6QwM3j",
}

// leaks returns which secrets stand in a text, in any form that somebody could turn back.
func leaks(text string) (which []string) {
	for name, s := range secrets {
		for _, form := range []string{s, url.QueryEscape(s), url.PathEscape(s),
			base64.StdEncoding.EncodeToString([]byte("prometheus:" + s)), strconv.Quote(s)} {
			if strings.Contains(text, form) {
				which = append(which, name)
				break
			}
		}
	}
	return which
}

// tellTale is a PostgreSQL server that asks for the password in clear text and puts it into its answers, in turn in
// several ways.
type tellTale struct {
	net.Listener
	mu   sync.Mutex
	seen map[string]bool
}

func newTellTale(t *testing.T) *tellTale {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	tt := &tellTale{Listener: l, seen: map[string]bool{}}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for n := 0; ; n++ {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { defer c.Close(); tt.answer(c, n) }()
		}
	}()
	return tt
}

func (tt *tellTale) answer(c net.Conn, n int) {
	b := pgproto3.NewBackend(c, c)
	if _, err := b.ReceiveStartupMessage(); err != nil {
		return
	}
	b.Send(&pgproto3.AuthenticationCleartextPassword{})
	if b.Flush() != nil || b.SetAuthType(pgproto3.AuthTypeCleartextPassword) != nil {
		return
	}
	msg, err := b.Receive()
	p, ok := msg.(*pgproto3.PasswordMessage)
	if err != nil || !ok {
		return
	}
	tt.mu.Lock()
	tt.seen[p.Password] = true
	tt.mu.Unlock()
	switch n % 3 {
	case 0:
		b.Send(&pgproto3.ErrorResponse{Severity: "FATAL", Code: "28P01", Message: "wrong password " + p.Password,
			Detail: p.Password, Hint: p.Password})
	case 1:
		b.Send(&pgproto3.ErrorResponse{Severity: "FATAL", Code: "XX000", Message: p.Password + "\n" + p.Password})
	default:
		_, _ = io.WriteString(c, "HTTP/1.1 400 "+p.Password+"\r\n\r\n")
	}
	_ = b.Flush()
}

func (tt *tellTale) has(s string) bool { tt.mu.Lock(); defer tt.mu.Unlock(); return tt.seen[s] }

// lockedBuffer takes what a process prints.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string { l.mu.Lock(); defer l.mu.Unlock(); return l.b.String() }

// TestNoSecretLeavesTheDaemon lets every source fail in ways that repeat the secret that it was given, and looks for it
// in everything that the daemon and the commands give away, to the last words of a crash.
func TestNoSecretLeavesTheDaemon(t *testing.T) {
	h := newHookWorld(t)
	server := newTellTale(t)
	_, port, _ := net.SplitHostPort(server.Addr().String())
	h.aws.Set(route53test.Simple(testName, "A", 10, "127.0.0.1")) // where the client's view goes

	hash, err := bcrypt.GenerateFromPassword([]byte(secrets["password of the metrics page"]), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(h.config)
	if err != nil {
		t.Fatal(err)
	}
	edit := func(pairs ...string) string { return strings.NewReplacer(pairs...).Replace(string(text)) }
	at := "sslmode=disable port=" + port
	good := edit(
		`dsn = "host=`+h.dir+` user=pgha dbname=postgres"`,
		fmt.Sprintf(`dsn = "host=127.0.0.1 %s user=pgha dbname=postgres password=%s"`, at, secrets["password of the probe"]),
		`client = "off"`, fmt.Sprintf(`client = "%s user=pgha dbname=postgres password=%s"`, at,
			secrets["password of the client's view"]),
		`listen = "127.0.0.1:0"`, fmt.Sprintf("listen = \"127.0.0.1:0\"\nweb_config_file = %q",
			filepath.Join(h.dir, "web.yml")),
	) + "\n[log]\nlevel = \"debug\"\nformat = \"json\"\n"
	bad := edit(`dsn = "host=`+h.dir, `dsn = "postgres://pgha:`+secrets["password in a bad configuration"]+`@[::1/x host=`)
	for name, content := range map[string]string{
		"config.toml": good, "bad.toml": bad, "web.yml": "basic_auth_users: { prometheus: '" + string(hash) + "' }\n",
	} {
		if err := os.WriteFile(filepath.Join(h.dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	h.env = append(h.env, "AWS_SECRET_ACCESS_KEY="+secrets["AWS secret key"],
		"AWS_SESSION_TOKEN="+secrets["AWS session token"],
		"PGPASSWORD="+secrets["password in the environment"], "GOTRACEBACK=crash",
		"NOTIFY_SOCKET="+filepath.Join(h.dir, "notify.sock"))

	// The API quotes what was signed, as the real one does when a signature is wrong.
	quoted := "The Canonical String was x-amz-security-token:" + secrets["AWS session token"] + " " +
		secrets["AWS secret key"]
	h.aws.Inject(
		route53test.Fault{Kind: route53test.Refuse, Status: 403, Code: "SignatureDoesNotMatch", Body: quoted},
		route53test.Fault{Kind: route53test.Raw, Status: 500, Body: "<html>" + quoted},
		route53test.Fault{Kind: route53test.Raw, Status: 200, Body: "<Error>" + quoted},
		route53test.Fault{Kind: route53test.DropRequest},
	)

	path, err := exec.LookPath("pgha-agent")
	if err != nil {
		t.Fatal(err)
	}
	var log lockedBuffer
	daemon := exec.Command(path, "run", "--config", h.config)
	daemon.Env, daemon.Stdout, daemon.Stderr, daemon.Dir = h.env, &log, &log, t.TempDir()
	if err := daemon.Start(); err != nil {
		t.Fatal(err)
	}
	ended := sync.OnceValue(daemon.Wait)
	defer func() { _ = daemon.Process.Kill(); _ = ended() }()
	wait := func(what string, ok func() bool) {
		t.Helper()
		for deadline := time.Now().Add(awaitAtMost); !ok(); time.Sleep(awaitBetween) {
			if time.Now().After(deadline) {
				t.Fatalf("timed out waiting for: %s\n%s", what, log.String())
			}
		}
	}

	found := 0
	look := func(where, text string) {
		found += len(text)
		for _, secret := range leaks(text) {
			t.Errorf("the %s is in %s", secret, where)
		}
	}
	listening := regexp.MustCompile(`"msg":"listening","listen":"([^"]+)"`)
	wait("the listener", func() bool { return listening.MatchString(log.String()) })
	public := "http://" + listening.FindStringSubmatch(log.String())[1]
	wait("the probe and the client's view to have told their passwords", func() bool {
		return server.has(secrets["password of the probe"]) && server.has(secrets["password of the client's view"])
	})
	wait("the API's faults to be over", func() bool { return h.aws.Count("ListResourceRecordSets") >= 4 })
	ask := func(password string) (status int) {
		for _, page := range []string{"/", "/metrics", "/status", "/history", "/healthz", "/readyz", "/primary", "/none"} {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, public+page, nil)
			if err != nil {
				t.Fatal(err)
			}
			req.SetBasicAuth("prometheus", password)
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			if err != nil {
				t.Fatal(err)
			}
			look("GET "+page, string(body)+fmt.Sprint(resp.Header))
			status = resp.StatusCode
		}
		return status
	}
	if code := ask("wrong"); code != http.StatusUnauthorized {
		t.Errorf("status %d with a wrong password", code)
	}
	if code := ask(secrets["password of the metrics page"]); code != http.StatusNotFound {
		t.Errorf("status %d of no page with the right password", code)
	}
	// Everything fails, and a bad configuration is loaded.
	for name, content := range map[string]string{"crm.xml": "<crm_mon " + secrets["AWS secret key"][:3],
		"config.toml": bad} {
		if err := os.WriteFile(filepath.Join(h.dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := daemon.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	wait("the bad configuration to be refused", func() bool {
		return strings.Contains(log.String(), "configuration not reloaded")
	})
	if err := os.WriteFile(h.config, []byte(good), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, command := range [][]string{
		{"status"}, {"status", "--json"}, {"explain"}, {"explain", "--json"}, {"history"}, {"history", "--json"},
		{"check-config"},
		{"check-config", "--config", filepath.Join(h.dir, "bad.toml")}, {"run", "--config", filepath.Join(h.dir, "bad.toml")},
		{"publish", "--once", "--wait", "1s"}, {"version"},
	} {
		if len(command) < 3 || command[len(command)-2] != "--config" {
			command = append(command, "--config", h.config)
		}
		out, err := h.run(t, nil, append([]string{"pgha-agent"}, command...)...)
		if exit := new(exec.ExitError); err != nil && !errors.As(err, &exit) {
			t.Fatalf("%q: %v", command, err)
		}
		look(fmt.Sprintf("the output of %q", command), out)
	}
	pids := []string{strconv.Itoa(daemon.Process.Pid)}
	children, _ := filepath.Glob("/proc/" + pids[0] + "/task/*/children")
	for _, name := range children {
		list, _ := os.ReadFile(name) // the thread may have ended
		pids = append(pids, strings.Fields(string(list))...)
	}
	for _, pid := range pids {
		line, _ := os.ReadFile("/proc/" + pid + "/cmdline") // so may the child
		look("the command line of process "+pid, string(line))
	}
	look("what systemd was told", h.notified.all())
	err = filepath.WalkDir(filepath.Join(h.dir, "state"), func(path string, d os.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			var data []byte
			data, err = os.ReadFile(path)
			look(path, string(data))
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}

	// A crash prints every goroutine, and dumps no core.
	if crash(t, daemon, ended) {
		t.Error("the daemon dumped core")
	}
	said := log.String()
	look("the log", said)
	if !strings.Contains(said, "goroutine ") || found < 50_000 {
		t.Errorf("only %d bytes were looked at:\n%s", found, said)
	}
	// That the sources did tell, and were not just silent.
	if !strings.Contains(said, "xxxxx") {
		t.Errorf("no error repeated a password, so none had to be hidden:\n%s", said)
	}
	seen := map[string]bool{}
	for _, call := range h.aws.Calls() {
		seen[call.Code] = true
	}
	if !seen["SignatureDoesNotMatch"] {
		t.Error("the API did not quote a signature")
	}
}

// crash ends a process with SIGQUIT and reports whether it dumped core, which it is allowed to.
func crash(t *testing.T, cmd *exec.Cmd, wait func() error) bool {
	t.Helper()
	unlimited := unix.Rlimit{Cur: unix.RLIM_INFINITY, Max: unix.RLIM_INFINITY}
	if err := unix.Prlimit(cmd.Process.Pid, unix.RLIMIT_CORE, &unlimited, nil); err != nil {
		t.Skipf("cannot allow core dumps (%v): that none is made was not tested", err)
	}
	if err := cmd.Process.Signal(syscall.SIGQUIT); err != nil {
		t.Fatal(err)
	}
	_ = wait() // it was killed
	return cmd.ProcessState.Sys().(syscall.WaitStatus).CoreDump()
}

func TestOtherProgramsWouldDumpCoreHere(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	other := exec.CommandContext(ctx, "sleep", "60")
	other.Dir = t.TempDir()
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	if !crash(t, other, other.Wait) {
		t.Skip("no program dumps core on this machine: that the agent does not was not tested")
	}
}
