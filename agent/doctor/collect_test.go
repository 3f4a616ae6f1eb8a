package doctor

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials"

	"github.com/pgha/pgha-agent/crm"
	"github.com/pgha/pgha-agent/drbd"
)

// TestLabPasses: what the lab builds is what docs/install.md recommends.
func TestLabPasses(t *testing.T) {
	text, err := os.ReadFile("../../cmd/pgha-lab/guest/cib.xml")
	if err != nil {
		t.Fatal(err)
	}
	// The alert is registered later; this preference is for the first start only.
	preference := `<rsc_location id="first-promotion" rsc="drbd_pg-clone" role="Promoted" node="node2" score="50"/>`
	if !strings.Contains(string(text), preference) {
		t.Fatal("the lab's first preference is another one")
	}
	cib, err := crm.ParseConfiguration([]byte(strings.Replace(string(text), preference, "", 1)))
	if err != nil {
		t.Fatal(err)
	}
	f := healthy(t)
	cib.Properties["dc-version"] = "3.0.0-3.0.0" // Pacemaker adds it
	f.Options.Clone, f.Options.Resource, f.Options.Node, f.CIB = "drbd_pg-clone", "pg", "node1", cib
	for _, c := range All() {
		if !slices.Equal(c.Needs, []Source{fromCIB}) && c.Name != "drbd-handler-timeout" {
			continue
		}
		if r := f.result(c); r.Verdict != Pass && c.Name != "fence-timeout" { // fence_lab states no time
			t.Errorf("%s: %s: %s", c.Name, r.Verdict, r.Evidence)
		}
	}
}

// tree makes files below a directory that stands for the root. A text that begins with "->" is a link.
func tree(t *testing.T, files map[string]string) *Facts {
	t.Helper()
	root := t.TempDir()
	for name, text := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		var err error
		if target, is := strings.CutPrefix(text, "->"); is {
			err = os.Symlink(target, path)
		} else {
			err = os.WriteFile(path, []byte(text), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return &Facts{Options: Options{root: root}, Now: time.Now()}
}

func TestCollectHost(t *testing.T) {
	f := tree(t, map[string]string{
		"/usr/lib/ocf/resource.d/linbit/drbd":                              "#!/bin/sh",
		"/usr/lib/drbd/fence":                                              "#!/bin/sh",
		"/etc/systemd/system/multi-user.target.wants/postgresql.service":   "->/x",
		"/etc/systemd/system/multi-user.target.wants/drbd.service":         "->/x",
		"/etc/systemd/system/multi-user.target.wants/postgresql@x.service": "->/x",
		"/etc/systemd/system/multi-user.target.wants/pgha-agent.service":   "->/x",
		"/etc/systemd/system/multi-user.target.wants/drbd-reactor.service": "->/x",
		"/usr/sbin/pcsd": "", "/etc/systemd/system/pcsd.service": "->/dev/null",
		"/run/multipathd.pid": "1", "/proc/sys/net/ipv4/ip_local_port_range": "32768\t60999\n",
		"/proc/sys/net/ipv4/ip_local_reserved_ports": "7789\n",
		"/proc/self/mounts":                          "/dev/vda / ext4 rw 0 0\n/dev/drbd0 /srv/with\\040space ext4 rw 0 0\n",
		"/var/backups/postgresql/a.sql":              "x", "/var/backups/postgresql/empty": "",
	})
	chmod := func(name string, mode os.FileMode) {
		if err := os.Chmod(f.path(name), mode); err != nil {
			t.Fatal(err)
		}
	}
	chmod("/usr/lib/ocf/resource.d/linbit/drbd", 0o755)
	f.Dump = &drbd.Config{Handlers: map[string]string{"fence-peer": "/usr/lib/drbd/fence --timeout 5",
		"other": "/usr/lib/drbd/none"}}
	if err := collectHost(t.Context(), f); err != nil {
		t.Fatal(err)
	}
	h := f.Host
	if !h.DrbdAgent || !h.PcsdMasked || h.Multipath != "running" || h.Ephemeral != [2]int{32768, 60999} ||
		h.Reserved != "7789" ||
		h.Mounts["/srv/with space"] != "/dev/drbd0" || h.DumpAge < 0 || h.DumpAge > time.Minute {
		t.Errorf("%+v", h)
	}
	if want := []string{"drbd.service", "postgresql.service", "postgresql@x.service"}; !slices.Equal(h.Enabled, want) {
		t.Errorf("enabled %q, want %q", h.Enabled, want)
	}
	if got := h.Programs["/usr/lib/drbd/fence"]; !strings.Contains(got, "mode 0644") {
		t.Errorf("a handler that cannot be run: %q", got)
	}
	if got := h.Programs["/usr/lib/drbd/none"]; !strings.Contains(got, "does not exist") {
		t.Errorf("a handler that is not there: %q", got)
	}
	if f := tree(t, map[string]string{"/run/multipathd.pid": "1",
		"/etc/multipath.conf": "blacklist { devnode \"^drbd\" }"}); f.multipath() != "running, drbd is blacklisted" {
		t.Errorf("multipath %q", f.multipath())
	}
}

func TestMay(t *testing.T) {
	f := tree(t, map[string]string{"/a/b/hook": "x"})
	if err := os.Chmod(f.path("/"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct {
		file, dir os.FileMode
		bit       uint32
		want      string
	}{
		{0o755, 0o755, 1, ""}, {0o744, 0o755, 1, "mode 0744"}, {0o755, 0o750, 1, "directory"}, {0o644, 0o755, 4, ""},
		{0o640, 0o755, 4, "mode 0640"},
	} {
		if err := errors.Join(os.Chmod(f.path("/a/b/hook"), x.file), os.Chmod(f.path("/a/b"), x.dir)); err != nil {
			t.Fatal(err)
		}
		// nobody is in no group that owns the files.
		if got := f.may("/a/b/hook", "nobody", x.bit); x.want == "" && got != "" || !strings.Contains(got, x.want) {
			t.Errorf("file %o, directory %o: %q, want %q", x.file, x.dir, got, x.want)
		}
	}
	if got := f.may("/a/b/hook", "no-such-user", 1); got == "" {
		t.Error("a user who does not exist may run it")
	}
}

func TestRunCommand(t *testing.T) {
	t.Setenv("TZ", "Europe/Berlin")
	if out, err := run(t.Context(), nil, "sh", "-c", `echo "$LC_ALL $TZ"`); err != nil || string(out) != "C UTC\n" {
		t.Errorf("%q, %v", out, err)
	}
	if out, err := run(t.Context(), nil, "sh", "-c", "echo a; pwd"); err != nil || string(out) != "a\n/\n" {
		t.Errorf("%q, %v", out, err)
	}
	if _, err := run(t.Context(), nil, "sh", "-c", "echo first >&2; echo the reason >&2; exit 3"); err == nil ||
		!strings.Contains(err.Error(), "exit status 3: the reason") {
		t.Errorf("%v", err)
	}
	if _, err := run(t.Context(), nil, "no-such-program"); err == nil {
		t.Error("no error")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	start := time.Now()
	if _, err := run(ctx, nil, "sleep", "60"); err == nil || time.Since(start) > 5*time.Second {
		t.Errorf("%v after %s", err, time.Since(start))
	}
}

// TestNothingIsThere runs everything on a machine that is no cluster node: no check may pass for want of facts, and
// none may hang.
func TestNothingIsThere(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	t.Setenv("AWS_CONFIG_FILE", "/nonexistent")
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
	o := healthy(t).Options
	o.CrmMon, o.Drbdsetup, o.root = []string{"/nonexistent/crm_mon"}, []string{"/nonexistent/drbdsetup"}, t.TempDir()
	o.PostgresDSN = "host=" + t.TempDir() + " user=pgha dbname=postgres"
	o.Record.EndpointURL, o.IMDS, o.Resolver = "http://127.0.0.1:1", "http://127.0.0.1:1", "127.0.0.1:1"
	hostOnly := []string{"postgres-not-enabled", "drbd-not-enabled", "multipath"} // no file says that it is wrong
	for _, r := range Run(t.Context(), o, All()) {
		if r.Verdict == Pass && !slices.Contains(hostOnly, r.Check) && r.Check != "clock" {
			t.Errorf("%s passes: %s", r.Check, r.Evidence)
		}
		if r.Verdict == Unknown && r.Evidence == "" {
			t.Errorf("%s is unknown and does not say why", r.Check)
		}
	}
}

func TestDial(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	to := netip.MustParseAddrPort(l.Addr().String())
	if got := dial(t.Context(), to); got != reachOpen {
		t.Errorf("open port: %s", got)
	}
	l.Close()
	if got := dial(t.Context(), to); got != reachRefused {
		t.Errorf("closed port: %s", got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if got := dial(ctx, to); got != reachSilent {
		t.Errorf("no answer: %s", got)
	}
}

// TestDryRun: DryRun is always sent, the request is signed, and each kind of answer is told apart.
func TestDryRun(t *testing.T) {
	status, body := http.StatusPreconditionFailed,
		`<Response><Errors><Error><Code>DryRunOperation</Code><Message>would have succeeded</Message></Error></Errors></Response>`
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := r.ParseForm(); err != nil || r.Form.Get("DryRun") != "true" ||
			r.Form.Get("InstanceId.1") != "i-00000000000000001" || r.Form.Get("Version") != "2016-11-15" {
			t.Errorf("%v, %v", r.Form, err)
		}
		if auth := r.Header.Get("Authorization"); !strings.Contains(auth, "Credential=AKID/") ||
			!strings.Contains(auth, "/eu-central-1/ec2/aws4_request") {
			t.Errorf("authorization %q", auth)
		}
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	}))
	defer srv.Close()
	api := ec2API{region: "eu-central-1", endpoint: srv.URL,
		credentials: credentials.NewStaticCredentialsProvider("AKID", "secret", "")}
	for _, action := range powerActions {
		if code, _, err := api.dryRun(t.Context(), action, "i-00000000000000001"); code != "DryRunOperation" || err != nil {
			t.Errorf("%s: %s, %v", action, code, err)
		}
	}
	status, body = http.StatusForbidden, strings.ReplaceAll(body, "DryRunOperation", "UnauthorizedOperation")
	if code, _, err := api.dryRun(t.Context(), "StopInstances", "i-00000000000000001"); code != "UnauthorizedOperation" ||
		err != nil {
		t.Errorf("%s, %v", code, err)
	}
	status, body = http.StatusOK, `<StopInstancesResponse/>`
	if code, _, err := api.dryRun(t.Context(), "StopInstances", "i-00000000000000001"); code != "" || err == nil {
		t.Errorf("an answer that says it was done: %s, %v", code, err)
	}
	body = `bad gateway`
	if code, _, err := api.dryRun(t.Context(), "StopInstances", "i-00000000000000001"); code != "" || err == nil {
		t.Errorf("another answer: %s, %v", code, err)
	}
}

func TestVersions(t *testing.T) {
	for out, want := range map[string]drbdVersions{
		"DRBDADM_API_VERSION=1\nDRBD_KERNEL_VERSION_CODE=0x08040b\nDRBDADM_VERSION_CODE=0x091600\nDRBDADM_VERSION=9.22.0\n": {"8.4.11", "9.22.0"},
		"DRBDADM_API_VERSION=2\nDRBD_KERNEL_VERSION_CODE=0x090212\nDRBD_KERNEL_VERSION=9.2.18\n" +
			"DRBDADM_VERSION_CODE=0x091600\nDRBDADM_VERSION=9.22.0\n": {"9.2.18", "9.22.0"},
		"DRBD_KERNEL_VERSION_CODE=0x000000\nDRBDADM_VERSION=9.34.0\n": {"", "9.34.0"},
	} {
		if got, err := readVersions([]byte(out)); err != nil || got != want {
			t.Errorf("%q: %+v, %v", out, got, err)
		}
	}
	if _, err := readVersions([]byte("no\n")); err == nil {
		t.Error("no version, and no error")
	}
}

// TestCollectCorosync: what is wrong with the file decides the remedy, and its timeouts as AWS recommends them pass
// with fencing.
func TestCollectCorosync(t *testing.T) {
	for text, want := range map[string]string{
		"":                           "run it as root; `chmod 644 /etc/corosync/corosync.conf`",
		"totem {\n token: 30 s\n}\n": "mend /etc/corosync/corosync.conf on both nodes",
		"totem {\n token: 30000\n consensus: 36000\n transport: udpu\n} # as AWS recommends\n": "",
	} {
		files := map[string]string{"/etc/hostname": "pg-1"}
		if text != "" {
			files["/etc/corosync/corosync.conf"] = text
		}
		f := tree(t, files)
		err := collectCorosync(t.Context(), f)
		if a, is := errors.AsType[*absence](err); is != (want != "") || is && !strings.HasPrefix(a.Remedy, want) {
			t.Errorf("%q: %v, want remedy %q", text, err, want)
		}
		if want != "" {
			continue
		}
		f.CIB = healthy(t).CIB
		if r := judge(t, f, "corosync-token"); r.Verdict != Pass ||
			!strings.Contains(r.Evidence, "together 1m6s, before a failover begins") {
			t.Errorf("%s: %s", r.Verdict, r.Evidence)
		}
	}
}
