package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/pgha/pgha-agent/route53/route53test"
)

// world is a running daemon and everything around it.
type world struct {
	dir, agent string
	aws        *route53test.Server
	dns        *route53test.DNS
	http       *http.Server
	public     string // the daemon's own HTTP address
	daemon     *exec.Cmd
	marks      chan mark
	env        []string
}

// mark is a moment of a promotion.
type mark struct {
	what string
	at   time.Time
}

// The marks: two lines of the daemon's log, and the request at the fake.
const (
	markAlert    = "alert"
	markPromoted = "this node is promoted"
	markRequest  = "ChangeResourceRecordSets"
)

const config = `
[node]
name = "pg-b"
address = "$ADDR"
[cluster]
promotable = "drbd_pg-clone"
crm_mon = ["$DIR/crm_mon"]
[drbd]
resource = "pg"
drbdsetup = ["$DIR/drbdsetup"]
[postgres]
dsn = "$DSN"
client = "$CLIENT"
[record]
zone_id = "Z0PGHATEST"
name = "db.pgha.internal"
endpoint_url = "$API"
resolver = "$DNS"
[http]
listen = "$HTTP"
[state]
dir = "$DIR/state"
alert_socket = "$DIR/alert.sock"
control_socket = "$DIR/control.sock"
[log]
level = "debug"
format = "json"
`

const events = `exists resource name:pg role:Primary suspended:no may_promote:no promotion_score:10101
exists connection name:pg peer-node-id:1 conn-name:pg-a connection:Connected role:Secondary
exists device name:pg volume:0 minor:0 backing_dev:/dev/vdb disk:UpToDate client:no open:no quorum:yes
exists peer-device name:pg peer-node-id:1 conn-name:pg-a volume:0 replication:Established peer-disk:UpToDate peer-client:no resync-suspended:no
exists -
`

// cluster is crm_mon's document of two healthy nodes. DRBD stays Primary all the time, so that the alert alone tells of
// a promotion: a change of DRBD's role would make the daemon look by itself.
func cluster(promoteCall int) string {
	role, history := "Unpromoted", ""
	if promoteCall > 0 {
		role = "Promoted"
		history = fmt.Sprintf(`<node name="pg-b"><resource_history id="drbd_pg" orphan="false" migration-threshold="3">`+
			`<operation_history call="%d" task="promote" rc="0" rc_text="OK" last-rc-change="Mon Nov 23 01:51:55 2026" exec-time="556ms" queue-time="2ms"/>`+
			`</resource_history></node>`, promoteCall)
	}
	node :=
		`<node name="%s" id="%d" online="true" standby="false" standby_onfail="false" maintenance="false" pending="false" unclean="false" shutdown="false" expected_up="true" is_dc="%t" type="member"/>`
	instance :=
		`<resource id="drbd_pg" resource_agent="ocf:linbit:drbd" role="%s" active="true" orphaned="false" blocked="false" managed="true" failed="false" failure_ignored="false" nodes_running_on="1"><node name="%s" id="1" cached="true"/></resource>`
	return `<pacemaker-result api-version="2.35" request="crm_mon --output-as=xml"><summary><stack type="corosync" pacemakerd-state="running"/>` +
		`<current_dc present="true" version="2.1.8" name="pg-b" id="2" with_quorum="true"/>` +
		`<cluster_options stonith-enabled="true" symmetric-cluster="true" no-quorum-policy="stop" maintenance-mode="false"/></summary><nodes>` +
		fmt.Sprintf(node, "pg-a", 1, false) + fmt.Sprintf(node, "pg-b", 2, true) +
		`</nodes><resources><clone id="drbd_pg-clone" multi_state="true" unique="false" managed="true" disabled="false" failed="false" failure_ignored="false">` +
		fmt.Sprintf(instance, role, "pg-b") + fmt.Sprintf(instance, "Unpromoted", "pg-a") +
		`</clone></resources><node_history>` + history +
		`</node_history><fence_history/><bans/><status code="0" message="OK"/></pacemaker-result>`
}

// node is what differs between the benchmark's and the soak's node.
type node struct{ addr, dsn, client string }

func newWorld(ctx context.Context, dir, agent string, n node) (w *world, err error) {
	w = &world{dir: dir, agent: agent, marks: make(chan mark, 1024)}
	defer func() {
		if err != nil {
			w.close()
		}
	}()
	w.aws = route53test.New(route53test.Options{SyncDelay: 10 * time.Millisecond})
	w.aws.Set(route53test.Simple("db.pgha.internal", "A", 10, "10.0.1.10"))
	if w.dns, err = w.aws.DNS(route53test.DNSOptions{}); err != nil {
		return w, err
	}
	api, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return w, err
	}
	w.http = &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(rw http.ResponseWriter,
		r *http.Request) {
		if r.Method == http.MethodPost {
			w.marks <- mark{markRequest, time.Now()}
		}
		w.aws.ServeHTTP(rw, r)
	})}
	go func() { _ = w.http.Serve(api) }()
	if w.public, err = freeAddr(); err != nil {
		return w, err
	}
	text := strings.NewReplacer("$DIR", dir, "$API", "http://"+api.Addr().String(), "$DNS", w.dns.Addr(), "$HTTP",
		w.public,
		"$ADDR", n.addr, "$DSN", n.dsn, "$CLIENT", n.client).Replace(config)
	// The stand-ins are a shell that becomes cat or tail: one fork and two execs, which is less than the real programs
	// need. A cat beside the tail reads the heartbeats.
	for name, body := range map[string]string{
		"config.toml": text, "events": events,
		"crm_mon": "#!/bin/sh\nexec cat '" + dir + "/crm.xml'\n",
		"drbdsetup": "#!/bin/sh\ncase \"$*\" in *--now*) exec cat '" + dir + "/events';; esac\n" +
			"exec 3<&0; cat <&3 >/dev/null 2>&1 &\nexec tail -n +1 -f '" + dir + "/events'\n",
	} {
		if err = os.WriteFile(filepath.Join(dir, name), []byte(body), 0o755); err != nil {
			return w, err
		}
	}
	if err = errors.Join(w.promote(0), os.MkdirAll(filepath.Join(dir, "state"), 0o755),
		os.Symlink(filepath.Join(filepath.Dir(agent), "pgha-alert"), w.hook())); err != nil {
		return w, err
	}
	w.env = append(os.Environ(), "AWS_ACCESS_KEY_ID=AKIATEST", "AWS_SECRET_ACCESS_KEY=secret",
		"AWS_EC2_METADATA_DISABLED=true", "AWS_REGION=eu-central-1",
		"AWS_CONFIG_FILE=/nonexistent", "AWS_SHARED_CREDENTIALS_FILE=/nonexistent")
	if err = w.start(); err != nil {
		return w, err
	}
	return w, w.await(ctx, func() bool { return w.aws.Count("ListResourceRecordSets") > 0 && w.ready(ctx) })
}

func freeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

func (w *world) hook() string { return filepath.Join(w.dir, "pgha-alert") }

// promote shows a promotion with that call id, or none for 0.
func (w *world) promote(call int) error {
	path := filepath.Join(w.dir, "crm.xml")
	return errors.Join(os.WriteFile(path+".new", []byte(cluster(call)), 0o644), os.Rename(path+".new", path))
}

// start starts the daemon and follows its log.
func (w *world) start() error {
	w.daemon = exec.Command(w.agent, "run", "--config", filepath.Join(w.dir, "config.toml"))
	w.daemon.Env = w.env
	stderr, err := w.daemon.StderrPipe()
	if err != nil {
		return err
	}
	if err := w.daemon.Start(); err != nil {
		return err
	}
	go w.follow(stderr)
	return nil
}

func (w *world) follow(log io.Reader) {
	for lines := bufio.NewScanner(log); lines.Scan(); {
		var line struct {
			Time  time.Time
			Level string
			Msg   string
			Err   string
		}
		if json.Unmarshal(lines.Bytes(), &line) != nil {
			fmt.Fprintln(os.Stderr, lines.Text())
			continue
		}
		switch {
		case line.Msg == markAlert || line.Msg == markPromoted:
			w.marks <- mark{line.Msg, line.Time}
		case line.Level == "ERROR":
			fmt.Fprintln(os.Stderr, lines.Text())
		}
	}
}

// ready reports whether the daemon is up: without PostgreSQL it is not called ready, but it answers.
func (w *world) ready(ctx context.Context) bool {
	_, err := w.get(ctx, "/healthz")
	return err == nil
}

func (w *world) get(ctx context.Context, path string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+w.public+path, nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return nil, errors.New(resp.Status)
	}
	return io.ReadAll(resp.Body)
}

func (w *world) await(ctx context.Context, ok func() bool) error {
	for deadline := time.Now().Add(20 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if time.Now().After(deadline) {
			return errors.New("the daemon does not come to where it should be")
		}
	}
	return nil
}

func (w *world) close() {
	if w.daemon != nil && w.daemon.Process != nil {
		_ = w.daemon.Process.Signal(syscall.SIGTERM)
		kill := time.AfterFunc(5*time.Second, func() { _ = w.daemon.Process.Kill() })
		_ = w.daemon.Wait()
		kill.Stop()
	}
	var stops sync.WaitGroup
	if w.http != nil {
		stops.Go(func() { _ = w.http.Close() })
	}
	if w.dns != nil {
		stops.Go(w.dns.Close)
	}
	stops.Go(w.aws.Close)
	stops.Wait()
}
