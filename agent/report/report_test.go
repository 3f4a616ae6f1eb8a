package report

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pgha/pgha-agent/agent/config"
)

// node puts programs into an otherwise empty PATH, by their scripts.
func node(t *testing.T, programs map[string]string) Options {
	t.Helper()
	dir := t.TempDir()
	for name, script := range programs {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir+":/bin:/usr/bin")
	cfg := config.Default()
	cfg.Node.Name = "pg-1"
	cfg.State.ControlSocket = filepath.Join(dir, "control.sock")
	return Options{Config: &cfg, File: "/etc/pgha-agent/config.toml", Program: "pgha-agent", Since: time.Hour}
}

// unpack returns the files of an archive, by their names.
func unpack(t *testing.T, data []byte) map[string]string {
	t.Helper()
	zipped, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for r := tar.NewReader(zipped); ; {
		head, err := r.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		name, below := strings.CutPrefix(head.Name, "dir/")
		if !below || head.Mode != 0o600 {
			t.Errorf("%s, mode %o", head.Name, head.Mode)
		}
		files[name] = string(content)
	}
}

func write(t *testing.T, o Options) (files map[string]string, items []Item) {
	t.Helper()
	var b bytes.Buffer
	var told []Item
	items, err := Write(t.Context(), &b, "dir", o, func(i Item) { told = append(told, i) })
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(told, items) {
		t.Errorf("told %v, returned %v", told, items)
	}
	return unpack(t, b.Bytes()), items
}

const cib = `<cib><configuration><resources><primitive id="fence_1" class="stonith" type="fence_aws">
<instance_attributes id="a"><nvpair id="b" name="access_key" value="AKIA-planted"/>
<nvpair value="cib-planted" id="c" name="secret_key"/><nvpair id="d" name="region" value="eu-central-1"/>
</instance_attributes></primitive></resources></configuration></cib>`

func TestWriteHidesSecretsEverywhere(t *testing.T) {
	o := node(t, map[string]string{
		"cibadmin": "cat <<'END'\n" + cib + "\nEND",
		"drbdadm":  `echo '    shared-secret "drbd-planted";'; echo '    protocol C;'`,
		"journalctl": `echo "fence_aws ran with cib-planted, AKIA-planted and drbd-planted"
echo "dial postgres://pgha:url-planted@10.0.1.10 password='other-planted'"
echo "the peer said peer-planted, and dsn-planted to PostgreSQL; arguments: $*"`,
		"pgha-agent":    `echo "ran: $*"; exit 2`,
		"stonith_admin": `echo "a device with cib-planted is wrong" >&2; exit 1`,
	})
	o.Config.Postgres.DSN = "host=/run/postgresql password=dsn-planted"
	o.Config.Peer.PasswordFile = filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(o.Config.Peer.PasswordFile, []byte("peer-planted\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	files, items := write(t, o)
	for name, content := range files {
		if strings.Contains(content, "planted") {
			t.Errorf("%s holds a secret:\n%s", name, content)
		}
	}
	for name, want := range map[string]string{
		"cib.xml":          `name="region" value="eu-central-1"`,
		"drbdadm-dump.txt": `shared-secret REDACTED;` + "\n    protocol C;",
		"settings.txt":     "postgres.dsn = is set; it is not shown, as it holds a password",
		"journal.txt":      "--since=-3600s -u pgha-agent.service",
		"kernel.txt":       "fence_aws ran with REDACTED, REDACTED and REDACTED",
		"doctor.txt":       "ran: --config /etc/pgha-agent/config.toml doctor --fix-hints",
		"explain.json":     "explain --json",
	} {
		if !strings.Contains(files[name], want) {
			t.Errorf("%s: want %q in\n%s", name, want, files[name])
		}
	}
	for _, i := range items {
		if i.Name == "fencing.txt" && i.Why != "run stonith_admin: exit status 1: a device with REDACTED is wrong" {
			t.Errorf("%+v", i)
		}
		if i.Name == "doctor.txt" && i.Why != "" { // its exit status is a verdict
			t.Errorf("%+v", i)
		}
	}
}

func TestWriteNamesWhatIsMissing(t *testing.T) {
	o := node(t, map[string]string{
		"cibadmin":   `echo '<cib><nvpair name="password" value="cut off-planted'`, // what is in it cannot be told
		"pgha-agent": `echo "the reason" >&2; exit 1`,
		"drbdadm":    `echo "a part"; echo "no such device" >&2; exit 10`,
	})
	files, items := write(t, o)
	why := map[string]string{}
	for _, i := range items {
		if _, there := files[i.Name]; there != (i.Bytes > 0) || i.What == "" {
			t.Errorf("%+v, in the archive: %v", i, there)
		}
		why[i.Name] = i.Why
	}
	for name, want := range map[string]string{
		"cib.xml":          "its secrets cannot be found",
		"status.txt":       "exit status 1: the reason",
		"drbdadm-dump.txt": "exit status 10: no such device",
		"crm_mon.txt":      "start crm_mon",
		"peers.json":       "ask the daemon",
	} {
		if !strings.Contains(why[name], want) || !strings.Contains(files["contents.txt"], name) {
			t.Errorf("%s: %q, want %q", name, why[name], want)
		}
	}
	if files["drbdadm-dump.txt"] != "a part\n" || strings.Contains(files["contents.txt"], "planted") {
		t.Errorf("%q\n%s", files["drbdadm-dump.txt"], files["contents.txt"])
	}
}

func TestWriteEnds(t *testing.T) {
	o := node(t, nil)
	ctx, cancel := context.WithCancelCause(t.Context())
	n := 0
	_, err := Write(ctx, io.Discard, "dir", o, func(Item) {
		if n++; n == 3 {
			cancel(errors.New("interrupted"))
		}
	})
	if err == nil || err.Error() != "interrupted" || n != 3 {
		t.Errorf("%v after %d files", err, n)
	}
}

func TestClean(t *testing.T) {
	for name, c := range map[string]struct {
		clean       func([]byte) ([]byte, []string, error)
		in, out     string
		wantSecrets []string
	}{
		"a script that prints it": {cleanCIB, `<a><nvpair name="passwd_script" value="/x"/></a>`,
			`<a><nvpair name="passwd_script" value="REDACTED"/></a>`, []string{"/x"}},
		"no secret": {cleanCIB, `<a><nvpair name="pcmk_host_map" value="a:b"/></a>`,
			`<a><nvpair name="pcmk_host_map" value="a:b"/></a>`, nil},
		"without quotes": {cleanDrbd, "net {\n  shared-secret abc;\n}", "net {\n  shared-secret REDACTED;\n}", []string{"abc"}},
		"with a quote":   {cleanDrbd, `shared-secret "a\"b";`, `shared-secret REDACTED;`, []string{`a\"b`}},
		"totem.key":      {cleanCorosync, "totem {\n  key: abc def\n  token: 3000\n}", "totem {\n  key: REDACTED\n  token: 3000\n}", []string{"abc def"}},
	} {
		out, found, err := c.clean([]byte(c.in))
		if err != nil || string(out) != c.out || !slices.Equal(found, c.wantSecrets) {
			t.Errorf("%s: %q, %q, %v", name, out, found, err)
		}
	}
}
