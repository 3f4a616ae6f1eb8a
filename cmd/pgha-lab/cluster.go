package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/rand"
	"crypto/sha256"
	_ "embed"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"text/template"
	"time"

	"github.com/pgha/pgha-agent/cmd/internal/wait"
)

// The cluster's configuration, as docs/install.md recommends it. What is otherwise is so because emulated machines are
// slow.

//go:embed guest/corosync.conf
var corosyncConf []byte

//go:embed guest/pg.res.tmpl
var drbdTemplate string

//go:embed guest/cib.xml
var cibXML []byte

//go:embed guest/dns-resource.xml
var dnsResourceXML []byte

//go:embed guest/fence_lab
var fenceAgent []byte

//go:embed guest/config.toml
var agentConfig string

// first is where the database is promoted first.
const first = "node2"

// drbdConfig is the resource file. timeout is the fence-peer handler's; 0 leaves its default.
func drbdConfig(drbd9 bool, timeout int) []byte {
	v := struct {
		DRBD9                            bool
		FencePeer, UnfenceEvent, Unfence string
	}{drbd9, fencePeer(drbd9), "after-resync-target", "/usr/lib/drbd/crm-unfence-peer.sh"}
	if drbd9 {
		v.UnfenceEvent, v.Unfence = "unfence-peer", "/usr/lib/drbd/crm-unfence-peer.9.sh"
	}
	if timeout > 0 {
		v.FencePeer += fmt.Sprintf(" --timeout %d", timeout)
	}
	var b bytes.Buffer
	if err := template.Must(template.New("pg.res").Parse(drbdTemplate)).Execute(&b, v); err != nil {
		panic(err) // a mistake in the template
	}
	return b.Bytes()
}

// fencePeer is where the handler is.
func fencePeer(drbd9 bool) string {
	if drbd9 {
		return "/usr/lib/drbd/crm-fence-peer.9.sh"
	}
	return "/usr/lib/drbd/crm-fence-peer.sh"
}

const tunedTimeout = 5

// useHandler lets the fence-peer handler of the running cluster have its own timeout, and puts the script in its place
// when there is one.
func (l *lab) useHandler(ctx context.Context, script []byte) error {
	return l.both(func(n *node) error {
		if script != nil {
			if err := n.put(ctx, fencePeer(l.drbd9), "755", script); err != nil {
				return err
			}
		}
		if err := n.put(ctx, "/etc/drbd.d/pg.res", "644", drbdConfig(l.drbd9, 0)); err != nil {
			return err
		}
		// Newer drbd-utils have their locks below /run.
		_, err := n.run(ctx, "mkdir -p /run/drbd/lock && drbdadm adjust pg && sync")
		return err
	})
}

func clusterKey() string {
	return shortHash(fmt.Sprintf("%s%s%s%s%s%s%s%s%d", corosyncConf, drbdTemplate, cibXML, fenceAgent, nodeSetup,
		dataSetup, databaseSetup, dataDisk, machineMemory))
}

const nodeSetup = `set -e
mkdir -p /srv/pg
chmod 400 /etc/corosync/authkey
modprobe drbd
mkdir -p /root/.aws
printf '[profile cluster]\nregion = us-east-1\noutput = text\nendpoint_url = http://10.0.0.2:8053\n' >/root/.aws/config
sync
drbdadm -- --force create-md pg >/dev/null 2>&1
drbdadm up pg`

// The new machines' disks are equal: empty. That skips the first resync.
const dataSetup = `set -e
for i in $(seq 200); do drbdadm cstate pg | grep -q Connected && break; sleep 0.2; done
drbdadm new-current-uuid --clear-bitmap VOLUME
drbdadm -- --force primary pg
mkfs.ext4 -q -E lazy_itable_init=0 /dev/drbd0
mount /dev/drbd0 /srv/pg
install -d -o postgres -g postgres -m 700 /srv/pg/data
cd /
runuser -u postgres -- /usr/lib/postgresql/17/bin/initdb -D /srv/pg/data --auth-local=peer --auth-host=reject -U postgres -E UTF8 --locale=C --no-sync >/dev/null
cat >>/srv/pg/data/postgresql.conf <<'EOF'
listen_addresses = '*'
shared_buffers = 64MB
max_connections = 60
unix_socket_directories = '/var/run/postgresql'
log_line_prefix = '%m [%p] '
EOF
cat >/srv/pg/data/pg_hba.conf <<'EOF'
local all      postgres             peer
local postgres pgha                 peer
host  app      app       10.0.0.0/8 scram-sha-256
host  postgres pgha      10.0.0.0/8 scram-sha-256
EOF
chown postgres:postgres /srv/pg/data/*.conf
sync
umount /srv/pg
drbdadm secondary pg`

const databaseSetup = `cd /; runuser -u postgres -- psql -qX <<'EOF'
CREATE ROLE pgha LOGIN PASSWORD 'lab';
GRANT pg_monitor TO pgha;
CREATE ROLE app LOGIN PASSWORD 'lab';
CREATE DATABASE app OWNER app;
EOF`

// buildCluster boots two machines from the image and makes a cluster of them, without the agent.
func (l *lab) buildCluster(ctx context.Context) error {
	l.powerOff()
	authkey := make([]byte, 256)
	_, _ = rand.Read(authkey)
	if err := l.both(func(n *node) error {
		if err := n.makeDisks(ctx, l.img.path("base.qcow2"), ""); err != nil {
			return err
		}
		if err := n.PowerOn(); err != nil {
			return err
		}
		if err := n.await(ctx, 4*time.Minute); err != nil {
			return err
		}
		if err := n.setClock(ctx); err != nil {
			return err
		}
		_, _ = n.run(ctx, "systemctl is-system-running --wait") // a masked unit makes it degraded
		for _, f := range []struct {
			path, mode string
			content    []byte
		}{
			{"/etc/corosync/corosync.conf", "644", corosyncConf},
			{"/etc/corosync/authkey", "400", authkey},
			{"/etc/drbd.d/pg.res", "644", drbdConfig(l.drbd9, tunedTimeout)},
			{"/usr/sbin/fence_lab", "755", fenceAgent},
		} {
			if err := n.put(ctx, f.path, f.mode, f.content); err != nil {
				return err
			}
		}
		_, err := n.run(ctx, nodeSetup)
		return err
	}); err != nil {
		return err
	}
	volume := "pg"
	if l.drbd9 {
		volume = "pg/0"
	}
	n := l.node(first)
	if _, err := n.run(ctx, strings.Replace(dataSetup, "VOLUME", volume, 1)); err != nil {
		return err
	}
	if err := l.both(func(n *node) error {
		_, err := n.run(ctx, "drbdadm down pg && systemctl start corosync pacemaker")
		return err
	}); err != nil {
		return err
	}
	if err := n.until(ctx, 3*time.Minute, `crm_mon -1 | grep -q 'Online: \[ node1 node2 \]'`); err != nil {
		return err
	}
	if err := n.put(ctx, "/root/cib.xml", "600", cibXML); err != nil {
		return err
	}
	if _, err := n.run(ctx, "cibadmin --replace -o configuration --xml-file /root/cib.xml"); err != nil {
		return err
	}
	if err := n.until(ctx, 4*time.Minute, `crm_resource -r pgsql -W -Q | grep -qx `+first); err != nil {
		return err
	}
	if err := n.until(ctx, time.Minute, databaseSetup); err != nil {
		return err
	}
	// It was only for the first start: a preference would be a failback.
	_, err := n.run(ctx, `cibadmin --delete --xpath "//rsc_location[@id='first-promotion']"`)
	if err != nil {
		return err
	}
	return n.until(ctx, 2*time.Minute, clusterQuiet)
}

// clusterQuiet succeeds when the cluster has nothing to do any more and both sides have the data.
const clusterQuiet = `crm_resource --wait --timeout 60 && crm_mon -1 | grep -q 'Unpromoted: \[ node[12] \]' && drbdadm dstate pg | grep -qx UpToDate/UpToDate`

// until runs a script again and again until it succeeds.
func (s *shell) until(ctx context.Context, limit time.Duration, script string) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		_, err := s.run(ctx, script)
		if err == nil {
			return nil
		}
		if wait.For(ctx, 500*time.Millisecond) != nil {
			return fmt.Errorf("not within %s: %w", limit, err)
		}
	}
}

// installAgent does what docs/install.md says, and waits for the first publication.
func (l *lab) installAgent(ctx context.Context) error {
	archive, err := pack(l.stage)
	if err != nil {
		return fmt.Errorf("pack the agent: %w", err)
	}
	if err := l.both(func(n *node) error {
		if _, err := n.feed(ctx, bytes.NewReader(archive),
			"tar -C / -xz --no-same-owner --keep-directory-symlink"); err != nil {
			return err
		}
		if err := n.put(ctx, "/etc/pgha-agent/config.toml", "640", []byte(agentConfig)); err != nil {
			return err
		}
		_, err := n.run(ctx, `set -e
echo '*:*:postgres:pgha:lab' >/etc/pgha-agent/pgpass
systemd-sysusers
systemd-tmpfiles --create pgha-agent.conf
systemctl daemon-reload
pgha-agent check-config
systemctl enable --quiet --now pgha-agent
sync`)
		return err
	}); err != nil {
		return err
	}
	n := l.node(first)
	if _, err := n.run(ctx, "/usr/share/pgha-agent/register-alert.sh"); err != nil {
		return err
	}
	if err := n.until(ctx, 2*time.Minute,
		`pgha-agent status --json | jq -e '.publication.state == "observed" and .ready'`); err != nil {
		return err
	}
	// A standby reads the zone some seconds after its peer has published: then its own write has the right base.
	return l.other(n).until(ctx, time.Minute,
		`pgha-agent status --json | jq -e '.publication.state == "idle" and .ready and .record.owner == "`+first+`"'`)
}

// pack makes a compressed archive of a directory tree, owned by root.
func pack(dir string) ([]byte, error) {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	t := tar.NewWriter(z)
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		link := ""
		if info.Mode()&fs.ModeSymlink != 0 {
			if link, err = os.Readlink(path); err != nil {
				return err
			}
		}
		h, err := tar.FileInfoHeader(info, link)
		if err != nil {
			return err
		}
		if h.Name, err = filepath.Rel(dir, path); err != nil {
			return err
		}
		h.Uid, h.Gid, h.Uname, h.Gname = 0, 0, "root", "root"
		if err := t.WriteHeader(h); err != nil || link != "" {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer func() { _ = f.Close() }()
		_, err = io.Copy(t, f)
		return err
	})
	if err != nil {
		return nil, err
	}
	if err := t.Close(); err != nil {
		return nil, err
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// treeKey is a hash of the names and contents under dir.
func treeKey(dir string) (string, error) {
	h := sha256.New()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		fmt.Fprintln(h, strings.TrimPrefix(path, dir), len(b))
		h.Write(b)
		return nil
	})
	return fmt.Sprintf("%x", h.Sum(nil))[:12], err
}

func shortHash(s string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(s)))[:12] }
