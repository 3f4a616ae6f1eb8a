package doctor

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pgha/pgha-agent/drbd"
)

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
