// Package deploy holds what is installed beside the agent to the tools that read it, and to the agent.
package deploy

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/coreos/go-systemd/v22/unit"
	"github.com/google/go-cmp/cmp"

	"github.com/pgha/pgha-agent/agent/config"
	"github.com/pgha/pgha-agent/route53"
)

const (
	service = "pgha-agent.service"
	socket  = "pgha-agent.socket"

	// maxExposure is systemd's own measure, from 0 (best) to 10.
	maxExposure = "1.5"
)

// need skips the test when a tool is missing.
func need(t *testing.T, tool, untested string) {
	t.Helper()
	if _, err := exec.LookPath(tool); err != nil {
		t.Skipf("%s is not installed: %s was not tested", tool, untested)
	}
}

// output runs a command and returns what it printed. Pacemaker's and the tests' own variables do not reach it.
func output(t *testing.T, env []string, command ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), command[0], command[1:]...)
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C", "HOME=" + t.TempDir()}, env...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func write(t *testing.T, path, text string, mode fs.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// root makes a file system with our units and stand-ins for what they start and depend on.
func root(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{service, socket} {
		write(t, filepath.Join(dir, "etc/systemd/system", name), read(t, name), 0o644)
	}
	for _, program := range []string{"usr/bin/pgha-agent", "bin/kill"} {
		write(t, filepath.Join(dir, program), "#!/bin/sh\n", 0o755)
	}
	for _, target := range []string{"basic", "sysinit", "shutdown", "sockets", "multi-user", "network-online"} {
		write(t, filepath.Join(dir, "usr/lib/systemd/system", target+".target"), "[Unit]\nDescription=stand-in\n", 0o644)
	}
	write(t, filepath.Join(dir, "usr/lib/systemd/system/system.slice"), "[Unit]\nDescription=stand-in\n", 0o644)
	return dir
}

func verify(t *testing.T, root string) string {
	t.Helper()
	out, err := output(t, nil, "systemd-analyze", "verify", "--man=no", "--root="+root, service, socket)
	if err != nil && out == "" {
		return err.Error()
	}
	return strings.TrimSpace(out)
}

func TestUnitsVerify(t *testing.T) {
	need(t, "systemd-analyze", "that systemd understands the units")
	dir := root(t)
	if out := verify(t, dir); out != "" {
		t.Errorf("systemd-analyze verify:\n%s", out)
	}
	// That silence means something: a misspelled option and a program that is not there are noticed.
	path := filepath.Join(dir, "etc/systemd/system", service)
	write(t, path, strings.Replace(read(t, service), "ProtectHome=", "ProtectHouse=", 1), 0o644)
	if out := verify(t, dir); !strings.Contains(out, "ProtectHouse") {
		t.Errorf("a misspelled option gave %q", out)
	}
	write(t, path, strings.ReplaceAll(read(t, service), "/usr/bin/pgha-agent", "/usr/bin/nothing"), 0o644)
	if out := verify(t, dir); !strings.Contains(out, "/usr/bin/nothing") {
		t.Errorf("a missing program gave %q", out)
	}
}

func TestServiceIsConfined(t *testing.T) {
	need(t, "systemd-analyze", "how confined the service is")
	threshold := strings.ReplaceAll(maxExposure, ".", "") // in tenths
	out, err := output(t, nil, "systemd-analyze", "security", "--no-pager", "--offline=yes", "--threshold="+threshold,
		"--root="+root(t), service)
	figure := regexp.MustCompile(`exposure level for \S+: ([0-9.]+)`).FindStringSubmatch(out)
	if figure == nil && strings.Contains(out, "unrecognized option") {
		t.Skipf("this systemd-analyze cannot judge a unit file: how confined the service is was not tested: %s", out)
	}
	if err != nil || figure == nil {
		t.Fatalf("exposure level %q, want at most %s: %v\n%s", figure, maxExposure, err, out)
	}
	t.Logf("exposure level %s, at most %s", figure[1], maxExposure)
}

// options returns the values of a unit's options, by section and name.
func options(t *testing.T, name string) map[string][]string {
	t.Helper()
	opts, err := unit.DeserializeOptions(strings.NewReader(read(t, name)))
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	m := map[string][]string{}
	for _, o := range opts {
		m[o.Section+"."+o.Name] = append(m[o.Section+"."+o.Name], o.Value)
	}
	return m
}

func TestPathsAreTheAgentsDefaults(t *testing.T) {
	state := config.Default().State
	svc, sock := options(t, service), options(t, socket)
	for _, c := range []struct{ what, got, want string }{
		{"alert socket", strings.Join(sock["Socket.ListenStream"], " "), state.AlertSocket},
		{"state directory", "/var/lib/" + strings.Join(svc["Service.StateDirectory"], " "), state.Dir},
		{"control socket", "/run/" + strings.Join(svc["Service.RuntimeDirectory"], " ") + "/control.sock",
			state.ControlSocket},
		{"group of both", strings.Join(slices.Concat(svc["Service.Group"], sock["Socket.SocketGroup"]), " "),
			"haclient haclient"},
		{"user of both", strings.Join(slices.Concat(svc["Service.User"], sock["Socket.SocketUser"]), " "), "pgha pgha"},
	} {
		if c.got != c.want {
			t.Errorf("%s: %q, want %q", c.what, c.got, c.want)
		}
	}
	if got := svc["Unit.Requires"]; !slices.Contains(got, socket) {
		t.Errorf("the service requires %q, want %s among them: alerts wait in its backlog", got, socket)
	}
	for _, name := range []string{service, socket} {
		for key, values := range options(t, name) {
			link := slices.Contains([]string{"Unit.Requires", "Unit.BindsTo", "Unit.PartOf", "Unit.Wants", "Unit.Conflicts",
				"Unit.OnFailure"}, key)
			if link && strings.Contains(strings.Join(values, " "), "pacemaker") {
				t.Errorf("%s: %s=%q: neither may start, stop or fail the other", name, key, values)
			}
		}
	}
	dirs := map[string]string{}
	for line := range strings.Lines(read(t, "tmpfiles.conf")) {
		if f := strings.Fields(line); len(f) > 4 && f[0] == "d" {
			dirs[f[1]] = strings.Join(f[2:5], " ")
		}
	}
	want := map[string]string{
		state.Dir: "0750 pgha haclient", "/etc/pgha-agent": "0750 root haclient",
	}
	if diff := cmp.Diff(want, dirs); diff != "" {
		t.Errorf("tmpfiles.conf (-want +got):\n%s", diff)
	}
}

func TestUserAndDirectoriesAreMade(t *testing.T) {
	need(t, "systemd-sysusers", "sysusers.conf")
	dir := t.TempDir()
	write(t, filepath.Join(dir, "usr/lib/sysusers.d/pgha-agent.conf"), read(t, "sysusers.conf"), 0o644)
	write(t, filepath.Join(dir, "usr/lib/tmpfiles.d/pgha-agent.conf"), read(t, "tmpfiles.conf"), 0o644)
	out, err := output(t, nil, "systemd-sysusers", "--dry-run", "--root="+dir, "pgha-agent.conf")
	if err != nil {
		t.Fatalf("systemd-sysusers: %v\n%s", err, out)
	}
	for _, want := range []string{"Creating group 'haclient'", "Creating user 'pgha'"} {
		if !strings.Contains(out, want) {
			t.Errorf("systemd-sysusers says %q, want %q in it", out, want)
		}
	}
	if os.Geteuid() != 0 {
		t.Skip("only root can make users and give directories away: that was not tested")
	}
	need(t, "systemd-tmpfiles", "tmpfiles.conf")
	write(t, filepath.Join(dir, "etc/passwd"), "root:x:0:0::/:/bin/sh\nhacluster:x:189:189::/:/bin/sh\n", 0o644)
	write(t, filepath.Join(dir, "etc/group"), "root:x:0:\nhaclient:x:189:\n", 0o644)
	for _, command := range [][]string{
		{"systemd-sysusers", "--root=" + dir, "pgha-agent.conf"},
		{"systemd-tmpfiles", "--root=" + dir, "--create", "pgha-agent.conf"},
	} {
		for range 2 { // installing again changes nothing
			if out, err := output(t, nil, command...); err != nil {
				t.Fatalf("%s: %v\n%s", command[0], err, out)
			}
		}
	}
	if group := read(t, filepath.Join(dir,
		"etc/group")); !regexp.MustCompile(`(?m)^haclient:x:189:pgha$`).MatchString(group) {
		t.Errorf("groups are\n%swant pgha in Pacemaker's own haclient", group)
	}
	info, err := os.Stat(filepath.Join(dir, config.Default().State.Dir))
	if err != nil {
		t.Fatal(err)
	}
	if want := fs.ModeDir | 0o750; info.Mode() != want {
		t.Errorf("mode of the state directory is %v, want %v", info.Mode(), want)
	}
}

func TestPolicyAllowsWhatTheClientDoesAndNoMore(t *testing.T) {
	var policy struct {
		Version   string
		Statement []struct {
			Sid, Effect, Resource string
			Action                words
			Condition             map[string]map[string]words
		}
	}
	dec := json.NewDecoder(strings.NewReader(read(t, "iam-policy.json")))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&policy); err != nil {
		t.Fatal(err)
	}
	if policy.Version != "2012-10-17" {
		t.Errorf("version %q", policy.Version)
	}
	var allowed []string
	for _, s := range policy.Statement {
		allowed = append(allowed, s.Action...)
		if s.Effect != "Allow" || !strings.HasPrefix(s.Resource, "arn:aws:route53:::") ||
			s.Resource == "arn:aws:route53:::*" {
			t.Errorf("%s: effect %q, resource %q", s.Sid, s.Effect, s.Resource)
		}
		if !slices.Contains(s.Action, "route53:ChangeResourceRecordSets") {
			continue
		}
		const name = "db.pgha.internal"
		want := map[string]map[string]words{"ForAllValues:StringEquals": {
			"route53:ChangeResourceRecordSetsNormalizedRecordNames": {name, route53.OwnerPrefix + "." + name},
			"route53:ChangeResourceRecordSetsRecordTypes":           {"A", "TXT"},
			"route53:ChangeResourceRecordSetsActions":               {"CREATE", "DELETE", "UPSERT"},
		}}
		if diff := cmp.Diff(want, s.Condition); diff != "" {
			t.Errorf("%s: condition (-want +got):\n%s", s.Sid, diff)
		}
	}
	slices.Sort(allowed)
	if diff := cmp.Diff(clientActions(t), allowed); diff != "" {
		t.Errorf("actions (-the client's calls +allowed):\n%s", diff)
	}
}

// words is one string or a list of them, as policies have it.
type words []string

func (w *words) UnmarshalJSON(data []byte) error {
	var one string
	if json.Unmarshal(data, &one) == nil {
		*w = words{one}
		return nil
	}
	return json.Unmarshal(data, (*[]string)(w))
}

// clientActions are the calls of the API in the source of package route53.
func clientActions(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("../route53/*.go")
	if err != nil || len(files) == 0 {
		t.Fatalf("no source of package route53: %v", err)
	}
	var actions []string
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		for _, call := range regexp.MustCompile(`\.api\.([A-Z]\w+)\(ctx`).FindAllStringSubmatch(read(t, name), -1) {
			actions = append(actions, "route53:"+call[1])
		}
	}
	slices.Sort(actions)
	return slices.Compact(actions)
}

func TestResourceAgentHandsOver(t *testing.T) {
	dir := t.TempDir()
	program, ra := filepath.Join(dir, "pgha-agent"), filepath.Join(dir, "route53")
	write(t, ra, strings.Replace(read(t, "ocf/route53"), "=/usr/bin/pgha-agent", "="+program, 1), 0o755)
	// Without the program a stop still succeeds: one that fails has the node fenced.
	for action, want := range map[string]int{"stop": 0, "monitor": 5, "start": 5} {
		_, err := output(t, nil, ra, action)
		got := 0
		if e, ok := errors.AsType[*exec.ExitError](err); ok {
			got = e.ExitCode()
		}
		if got != want {
			t.Errorf("%s without the program: exit code %d, want %d", action, got, want)
		}
	}
	write(t, program, "#!/bin/sh\necho \"$@\"\n", 0o755)
	if out, err := output(t, nil, ra, "monitor"); err != nil || out != "ocf monitor\n" {
		t.Errorf("handed over %q: %v", out, err)
	}
}

func TestHookIsRegisteredOnce(t *testing.T) {
	if out, err := output(t, nil, "sh", "-n", "register-alert.sh"); err != nil {
		t.Fatalf("sh -n: %v\n%s", err, out)
	}
	dir := t.TempDir()
	cib := filepath.Join(dir, "cib.xml")
	if out, err := output(t, nil, "sh", "register-alert.sh", filepath.Join(dir, "nothing")); err == nil ||
		!strings.Contains(out, "install pgha-agent") {
		t.Errorf("with no hook: %v, %q", err, out)
	}
	need(t, "cibadmin", "the alert in a CIB")
	hook := filepath.Join(dir, "pgha-alert")
	write(t, hook, "#!/bin/sh\n", 0o755)
	bin := filepath.Join(dir, "bin") // cibadmin and no pcs: that one wants a running cluster
	for _, tool := range []string{"cibadmin", "sh"} {
		path, err := exec.LookPath(tool)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(bin, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(path, filepath.Join(bin, tool)); err != nil {
			t.Fatal(err)
		}
	}
	env := []string{"CIB_file=" + cib, "PATH=" + bin}
	for _, before := range []string{"", `<alerts><alert id="other" path="/bin/true"/></alerts>`} {
		empty, err := output(t, nil, "cibadmin", "--empty")
		if err != nil {
			t.Fatalf("cibadmin --empty: %v\n%s", err, empty)
		}
		empty = empty[strings.Index(empty, "<cib"):]
		write(t, cib, strings.Replace(empty, "</configuration>", before+"</configuration>", 1), 0o600)
		for i, want := range []string{"", "registered already"} {
			out, err := output(t, env, "sh", "register-alert.sh", hook)
			if err != nil || !strings.Contains(out, want) {
				t.Fatalf("call %d: %v, %q, want %q in it", i+1, err, out, want)
			}
		}
		// cibadmin checks each change against Pacemaker's schema and refuses what does not fit.
		after := read(t, cib)
		if n := strings.Count(after, fmt.Sprintf("<alert id=\"pgha-agent\" path=%q>", hook)); n != 1 ||
			strings.Count(after, "<alerts>") != 1 {
			t.Errorf("registered %d times:\n%s", n, after)
		}
		// Pacemaker goes by the one and the hook by the other: the same time.
		for _, line := range []string{`name="timeout" value="60s"`, `name="pgha_timeout" value="60s"`} {
			if !strings.Contains(after, line) {
				t.Errorf("without %s:\n%s", line, after)
			}
		}
		if before != "" && !strings.Contains(after, `id="other"`) {
			t.Errorf("another alert is gone:\n%s", after)
		}
	}
}

// TestHookKnowsItsTimeout: both ways of registering say the timeout to Pacemaker and, once more, to the hook.
func TestHookKnowsItsTimeout(t *testing.T) {
	for tool, want := range map[string][]string{
		"pcs":      {"options pgha_timeout=60s meta timeout=60s"},
		"cibadmin": {`name="timeout" value="60s"`, `name="pgha_timeout" value="60s"`},
	} {
		dir := t.TempDir()
		hook := filepath.Join(dir, "pgha-alert")
		write(t, hook, "#!/bin/sh\n", 0o755)
		write(t, filepath.Join(dir, "cibadmin"), "#!/bin/sh\necho \"$@\"\n[ \"$1\" != --query ]\n", 0o755)
		write(t, filepath.Join(dir, tool), "#!/bin/sh\necho \"$@\"\n[ \"$1\" != --query ]\n", 0o755)
		out, err := output(t, []string{"PATH=" + dir}, "/bin/sh", "register-alert.sh", hook)
		if err != nil {
			t.Fatalf("%s: %v\n%s", tool, err, out)
		}
		for _, w := range want {
			if !strings.Contains(out, w) {
				t.Errorf("%s: without %s:\n%s", tool, w, out)
			}
		}
		if i := strings.Index(out, "<alert "); i >= 0 {
			if err := xml.Unmarshal([]byte(out[i:]), new(struct{})); err != nil {
				t.Errorf("%v:\n%s", err, out)
			}
		}
	}
}
