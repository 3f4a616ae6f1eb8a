package agent

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pgha/pgha-agent/agent/alertsock"
	"github.com/pgha/pgha-agent/agent/config"
	"github.com/pgha/pgha-agent/agent/fsm"
	"github.com/pgha/pgha-agent/agent/status"
	"github.com/pgha/pgha-agent/crm"
	"github.com/pgha/pgha-agent/route53/route53test"
)

const (
	testZone = "Z0PGHATEST"
	testName = "db.pgha.internal"
)

// world is everything around one agent: stand-ins for crm_mon and drbdsetup that print what the test says, and the
// strict Route 53 fake.
type world struct {
	t   *testing.T
	dir string
	aws *route53test.Server
	dns *route53test.DNS
	cfg *config.Config
}

// crmDoc prints a crm_mon document of a two-node cluster as node pg-b sees it.
type crmDoc struct {
	promoted     string // node
	peerOnline   bool
	peerUnclean  bool
	fenced       time.Time
	maintenance  bool
	noHistory    bool
	promoteCall  int
	pendingHere  string
	filesystemOn string
}

func (d crmDoc) String() string {
	role := func(node string) string {
		if node == d.promoted {
			return "Promoted"
		}
		return "Unpromoted"
	}
	instance := func(node, pending string) string {
		if pending != "" {
			pending = fmt.Sprintf(" pending=%q", pending)
		}
		return fmt.Sprintf(
			`<resource id="drbd_pg" resource_agent="ocf:linbit:drbd" role=%q active="true" orphaned="false" blocked="false" managed="true" failed="false" failure_ignored="false" nodes_running_on="1"%s><node name=%q id="1" cached="true"/></resource>`,
			role(node), pending, node)
	}
	var b strings.Builder
	fmt.Fprintf(&b,
		`<pacemaker-result api-version="2.35" request="crm_mon --output-as=xml"><summary><stack type="corosync" pacemakerd-state="running"/><current_dc present="true" version="2.1.8" name="pg-b" id="2" with_quorum="true"/><cluster_options stonith-enabled="true" symmetric-cluster="true" no-quorum-policy="stop" maintenance-mode="%t"/></summary><nodes>`, d.maintenance)
	fmt.Fprintf(&b,
		`<node name="pg-a" id="1" online="%t" standby="false" standby_onfail="false" maintenance="false" pending="false" unclean="%t" shutdown="false" expected_up="true" is_dc="false" type="member"/>`, d.peerOnline, d.peerUnclean)
	b.WriteString(
		`<node name="pg-b" id="2" online="true" standby="false" standby_onfail="false" maintenance="false" pending="false" unclean="false" shutdown="false" expected_up="true" is_dc="true" type="member"/></nodes><resources><clone id="drbd_pg-clone" multi_state="true" unique="false" managed="true" disabled="false" failed="false" failure_ignored="false">`)
	b.WriteString(instance("pg-b", d.pendingHere))
	if d.peerOnline || d.peerUnclean {
		b.WriteString(instance("pg-a", ""))
	}
	b.WriteString(`</clone>`)
	if d.filesystemOn != "" {
		fmt.Fprintf(&b,
			`<resource id="fs_pg" resource_agent="ocf:heartbeat:Filesystem" role="Started" active="true" orphaned="false" blocked="false" managed="true" failed="false" failure_ignored="false" nodes_running_on="1"><node name=%q id="2" cached="true"/></resource>`, d.filesystemOn)
	}
	b.WriteString(`</resources><node_attributes><node name="pg-a"><attribute name="master-drbd_pg" value="10000"/></node>` +
		`<node name="pg-b"><attribute name="master-drbd_pg" value="10000"/></node></node_attributes><node_history>`)
	if d.promoted == "pg-b" && !d.noHistory {
		fmt.Fprintf(&b,
			`<node name="pg-b"><resource_history id="drbd_pg" orphan="false" migration-threshold="3"><operation_history call="%d" task="promote" rc="0" rc_text="OK" last-rc-change="Mon Nov 23 01:51:55 2026" exec-time="556ms" queue-time="2ms"/></resource_history></node>`, max(d.promoteCall, 37))
	}
	b.WriteString(`</node_history><fence_history>`)
	if !d.fenced.IsZero() {
		fmt.Fprintf(&b,
			`<fence_event status="success" target="pg-a" action="off" delegate="pg-b" client="pacemaker-controld" origin="pg-b" completed=%q/>`, d.fenced.Format("2006-01-02 15:04:05Z07:00"))
	}
	b.WriteString(`</fence_history><bans/><status code="0" message="OK"/></pacemaker-result>`)
	return b.String()
}

func newWorld(t *testing.T) *world {
	t.Helper()
	t.Setenv("AWS_ACCESS_KEY_ID", "AKIATEST")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	// The region of the instances. Signatures for Route 53 are for us-east-1 all the same.
	t.Setenv("AWS_REGION", "eu-central-1")
	dir, err := os.MkdirTemp("", "pgha") // a socket's path has to be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	w := &world{t: t, dir: dir, aws: route53test.New(route53test.Options{SyncDelay: 50 * time.Millisecond})}
	if err := w.aws.Start("127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.aws.Close)
	if w.dns, err = w.aws.DNS(route53test.DNSOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.dns.Close)

	w.write("crm.xml", crmDoc{promoted: "pg-a", peerOnline: true}.String())
	w.write("events", `exists resource name:pg role:Secondary suspended:no may_promote:no promotion_score:10101
exists connection name:pg peer-node-id:1 conn-name:pg-a connection:Connected role:Primary
exists device name:pg volume:0 minor:0 backing_dev:/dev/vdb disk:UpToDate client:no open:no quorum:yes
exists peer-device name:pg peer-node-id:1 conn-name:pg-a volume:0 replication:Established peer-disk:UpToDate peer-client:no resync-suspended:no
exists -
`)
	w.script("crm_mon", `cat `+filepath.Join(dir, "crm.xml"))
	// It reads its heartbeats.
	w.script("drbdsetup", `exec 3<&0; cat <&3 >/dev/null 2>&1 & exec tail -n +1 -f `+filepath.Join(dir, "events"))
	w.aws.Set(route53test.Simple(testName, "A", 10, "127.0.1.10"))
	w.aws.Set(route53test.Simple("_pgha."+testName, "TXT", 10,
		`"v=1 epoch=3 owner=pg-a addr=127.0.1.10 claim=0e5b6a52-6b3f-5d43-9d6e-7c5a1f2b3c4d"`))

	cfg := config.Default()
	cfg.Node.Name, cfg.Node.Address = "pg-b", "127.0.2.10"
	cfg.Cluster.Promotable, cfg.Cluster.CrmMon = "drbd_pg-clone", []string{filepath.Join(dir, "crm_mon")}
	cfg.Drbd.Resource, cfg.Drbd.Drbdsetup = "pg", []string{filepath.Join(dir, "drbdsetup")}
	cfg.Postgres.DSN, cfg.Postgres.Client = "host="+dir+" user=pgha dbname=postgres", "off"
	cfg.Record.ZoneID, cfg.Record.Name, cfg.Record.EndpointURL = testZone, testName, w.aws.URL()
	cfg.Record.Resolver = w.dns.Addr()
	cfg.HTTP.Listen = "127.0.0.1:0"
	cfg.State = config.State{Dir: dir, AlertSocket: filepath.Join(dir, "alert.sock"),
		ControlSocket: filepath.Join(dir, "control.sock")}
	w.cfg = &cfg
	return w
}

func (w *world) write(name, text string) {
	w.t.Helper()
	path := filepath.Join(w.dir, name)
	if err := os.WriteFile(path+".new", []byte(text), 0o644); err != nil {
		w.t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) script(name, body string) {
	w.t.Helper()
	if err := os.WriteFile(filepath.Join(w.dir, name), []byte("#!/bin/sh\n"+body+"\n"), 0o755); err != nil {
		w.t.Fatal(err)
	}
}

// drbd appends lines to the running stream.
func (w *world) drbd(lines string) {
	w.t.Helper()
	f, err := os.OpenFile(filepath.Join(w.dir, "events"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		w.t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString(lines); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) crm(d crmDoc) { w.t.Helper(); w.write("crm.xml", d.String()) }

// start runs an agent until the test ends or stop is called.
func (w *world) start() (a *Agent, stop func()) {
	w.t.Helper()
	a, err := New(Options{Config: w.cfg, Version: "test", Logger: testLoggerOf(w.t)})
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				w.t.Errorf("Run: %v", err)
			}
		case <-time.After(15 * time.Second):
			w.t.Error("the agent did not stop")
		}
	})
	w.t.Cleanup(stop)
	return a, stop
}

func (w *world) alert(a crm.Alert) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := alertsock.SendAlert(ctx, w.cfg.State.AlertSocket, a); err != nil {
		w.t.Fatalf("send alert: %v", err)
	}
}

func (w *world) await(what string, ok func() bool) {
	w.t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			w.t.Fatalf("timed out waiting for: %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func (w *world) record() string {
	set, _ := w.aws.Get(testName, "A")
	return strings.Join(set.Values, ",")
}

func (w *world) owner() string {
	set, _ := w.aws.Get("_pgha."+testName, "TXT")
	return strings.Join(set.Values, ",")
}

func testLoggerOf(t testing.TB) *slog.Logger {
	if testing.Verbose() {
		return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	return slog.New(slog.DiscardHandler)
}

var promoteAlert = crm.Alert{Kind: crm.AlertResource, Version: "3.0.0", Node: "pg-b", Resource: "drbd_pg",
	Task: "promote", RC: new(0), Sequence: 1}

// ready waits until the agent has seen everything once.
func (w *world) ready(a *Agent) {
	w.t.Helper()
	w.await("first look at all sources", func() bool {
		s := a.Snapshot()
		return s.State.Cluster.OK && s.State.Drbd.Live && s.State.Zone.OK && s.State.Resolved.OK
	})
}

// failOver lets pg-a die and be fenced, and pg-b be promoted.
func (w *world) failOver() {
	w.t.Helper()
	w.crm(crmDoc{promoted: "pg-b", fenced: time.Now().Add(time.Minute), filesystemOn: "pg-b"})
	w.drbd("change connection name:pg peer-node-id:1 conn-name:pg-a connection:NetworkFailure role:Unknown\n" +
		"change resource name:pg role:Primary may_promote:no promotion_score:10101\n")
	w.alert(promoteAlert)
}

func TestRecordMovesWhenThisNodeIsPromoted(t *testing.T) {
	w := newWorld(t)
	a, _ := w.start()
	w.ready(a)
	reads := w.aws.Count("ListResourceRecordSets")
	if reads != 1 {
		t.Errorf("%d reads of the record at start, want 1", reads)
	}
	w.failOver()
	w.await("record to move", func() bool { return w.record() == "127.0.2.10" })
	if got, want := w.owner(), "epoch=4 owner=pg-b addr=127.0.2.10"; !strings.Contains(got, want) {
		t.Errorf("owner record %q, want it to contain %q", got, want)
	}
	w.await("resolver and INSYNC", func() bool {
		s := a.Snapshot()
		return s.Publication() == status.PubObserved && s.State.Zone.Raw != ""
	})
	if n := w.aws.Count("ChangeResourceRecordSets"); n != 1 {
		t.Errorf("%d writes, want 1", n)
	}
	if n := w.aws.Count("ListResourceRecordSets") - reads; n != 1 {
		t.Errorf("%d reads for the promotion, want 1", n)
	}
	if n := w.aws.Count("GetChange"); n < 1 || n > 10 {
		t.Errorf("%d polls, want 1 to 10", n)
	}
	doc := a.Snapshot().Doc()
	if doc.Episode == nil || doc.Episode.Cause != "node_lost" {
		t.Errorf("episode %+v, want cause node_lost", doc.Episode)
	}
}

func TestRestartDoesNotPublishAgain(t *testing.T) {
	w := newWorld(t)
	a, stop := w.start()
	w.ready(a)
	w.failOver()
	w.await("record to move", func() bool { return a.Snapshot().Publication() == status.PubObserved })
	stop()
	writes := w.aws.Count("ChangeResourceRecordSets")
	a, _ = w.start()
	w.await("the claim to be recognized", func() bool { return a.Snapshot().Publication() == status.PubObserved })
	// And with the history erased by a cleanup as well.
	w.crm(crmDoc{promoted: "pg-b", noHistory: true, fenced: time.Now()})
	looked := a.Snapshot().State.Cluster.At
	w.alert(crm.Alert{Kind: crm.AlertNode, Version: "3.0.0", Sequence: 2})
	w.await("another look", func() bool { return a.Snapshot().State.Cluster.At > looked })
	if n := w.aws.Count("ChangeResourceRecordSets"); n != writes {
		t.Errorf("%d writes after the restart, want none", n-writes)
	}
	if got := a.Snapshot().Publication(); got != status.PubObserved {
		t.Errorf("publication %s, want observed", got)
	}
}

func TestPeerNotFencedHoldsTheRecord(t *testing.T) {
	w := newWorld(t)
	a, _ := w.start()
	w.ready(a)
	w.crm(crmDoc{promoted: "pg-a", peerUnclean: true})
	w.drbd("change connection name:pg peer-node-id:1 conn-name:pg-a connection:NetworkFailure role:Unknown\n")
	w.await("loss of the peer", func() bool { return a.Snapshot().State.Peers.Lost[0].Name == "pg-a" })
	w.crm(crmDoc{promoted: "pg-b"}) // offline, clean, and no fence event: something lies
	w.drbd("change resource name:pg role:Primary\n")
	w.alert(promoteAlert)
	w.await("hold", func() bool {
		d := a.Snapshot().Doc()
		return d.Publication.State == status.PubHeld && len(d.Publication.Holds) == 1 &&
			d.Publication.Holds[0].Name == "peer_unfenced"
	})
	if w.record() != "127.0.1.10" {
		t.Errorf("record moved to %s without a fence", w.record())
	}
	w.crm(crmDoc{promoted: "pg-b", fenced: time.Now()})
	w.alert(crm.Alert{Kind: crm.AlertFencing, Version: "3.0.0", Sequence: 2})
	w.await("record to move after the fence", func() bool { return w.record() == "127.0.2.10" })
}

func TestLostReplyIsRecognisedAsOurOwnClaim(t *testing.T) {
	w := newWorld(t)
	a, _ := w.start()
	w.ready(a)
	w.aws.Inject(route53test.Fault{Op: "ChangeResourceRecordSets", Kind: route53test.LoseReply})
	w.failOver()
	w.await("publication", func() bool { return a.Snapshot().Publication() == status.PubObserved })
	if n := w.aws.Count("ChangeResourceRecordSets"); n != 1 {
		t.Errorf("%d writes, want 1: the read-back shows our claim", n)
	}
}

func TestDaemonKeepsRunningWhenEverySourceIsAway(t *testing.T) {
	w := newWorld(t)
	w.script("crm_mon", "echo 'crm_mon: Connection to cluster failed: Connection refused' >&2; exit 102")
	w.script("drbdsetup", "echo 'Could not connect to generic netlink' >&2; exit 20")
	w.aws.Close()
	w.dns.Close()
	a, _ := w.start()
	w.await("all sources to have failed", func() bool {
		s := a.Snapshot()
		return s.Sources[status.SourceCrm].Failures > 0 && s.Sources[status.SourceDrbd].Failures > 0 &&
			s.Sources[status.SourceRoute53].Failures > 0 && s.Sources[status.SourceResolver].Failures > 0
	})
	doc := a.Snapshot().Doc()
	if doc.Ready || doc.Publication.State != status.PubUnknown {
		t.Errorf("ready %v publication %s, want not ready and unknown", doc.Ready, doc.Publication.State)
	}
	for _, want := range []string{"source_crm", "source_drbd", "source_route53"} {
		found := false
		for _, p := range doc.Problems {
			found = found || p.Code == want
		}
		if !found {
			t.Errorf("no problem %s in %+v", want, doc.Problems)
		}
	}
}

func TestPauseHoldsAndResumeReleases(t *testing.T) {
	w := newWorld(t)
	a, stop := w.start()
	w.ready(a)
	if err := status.Pause(t.Context(), w.cfg.State.ControlSocket, time.Hour); err != nil {
		t.Fatal(err)
	}
	stop() // a pause outlives the agent
	a, _ = w.start()
	w.ready(a)
	w.failOver()
	w.await("held", func() bool {
		return a.Snapshot().Publication() == status.PubHeld && a.Snapshot().State.Cluster.PromotedHere
	})
	if w.record() != "127.0.1.10" {
		t.Error("published while paused")
	}
	if err := status.Pause(t.Context(), w.cfg.State.ControlSocket, 0); err != nil {
		t.Fatal(err)
	}
	w.await("record to move", func() bool { return w.record() == "127.0.2.10" })
}

func TestPublishOnceWithoutADaemon(t *testing.T) {
	w := newWorld(t)
	ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
	defer cancel()
	if _, err := PublishOnce(ctx, Options{Config: w.cfg, Logger: testLoggerOf(t)}); err == nil ||
		!strings.Contains(err.Error(), "not_promoted") {
		t.Fatalf("on the standby: %v, want not_promoted", err)
	}
	w.crm(crmDoc{promoted: "pg-b", fenced: time.Now()})
	w.drbd("change resource name:pg role:Primary\n")
	for range 2 { // the second finds the work done
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		doc, err := PublishOnce(ctx, Options{Config: w.cfg, Logger: testLoggerOf(t)})
		if err != nil || doc.Record.Addr != "127.0.2.10" {
			t.Fatalf("record %q, %v", doc.Record.Addr, err)
		}
	}
	if n := w.aws.Count("ChangeResourceRecordSets"); n != 1 {
		t.Errorf("%d writes, want 1", n)
	}
	// Somebody edits the address by hand: the operator's command repairs it.
	w.aws.Set(route53test.Simple(testName, "A", 10, "127.9.9.9"))
	ctx2, cancel2 := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel2()
	if _, err := PublishOnce(ctx2, Options{Config: w.cfg, Logger: testLoggerOf(t)}); err != nil ||
		w.record() != "127.0.2.10" {
		t.Errorf("after a hand edit: record %s, %v", w.record(), err)
	}
}

func TestPublishOnceJudgesTheRecordWhenItKnowsAll(t *testing.T) {
	for name, late := range map[string]func(w *world) (answer func()){
		"crm_mon after the zone": func(w *world) func() {
			answer := filepath.Join(w.dir, "answer")
			w.script("crm_mon", "while [ ! -e "+answer+" ]; do sleep 0.02; done; cat "+filepath.Join(w.dir, "crm.xml"))
			return func() { _ = os.WriteFile(answer, nil, 0o644) }
		},
		"the own address after both": func(w *world) func() {
			imds := &route53test.IMDS{LocalIPv4: "127.0.2.10"}
			imds.SetMode(route53test.IMDSNotFound)
			srv := httptest.NewServer(imds)
			t.Cleanup(srv.Close)
			w.cfg.Node.Address, w.cfg.Record.IMDS = config.AddressIMDS, srv.URL
			return func() { imds.SetMode(route53test.IMDSv2Only) }
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			t.Setenv("AWS_EC2_METADATA_DISABLED", "false")
			a, stop := w.start()
			w.ready(a)
			w.failOver()
			w.await("publication", func() bool { return a.Snapshot().Publication() == status.PubObserved })
			stop() // the journal says that the claim was accepted
			w.aws.Set(route53test.Simple(testName, "A", 10, "127.9.9.9"))
			read := w.aws.Count("ListResourceRecordSets")
			answer := late(w)
			go func() {
				for w.aws.Count("ListResourceRecordSets") == read && t.Context().Err() == nil {
					time.Sleep(time.Millisecond)
				}
				time.Sleep(300 * time.Millisecond) // for what is known to be taken in
				answer()
			}()
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			if _, err := PublishOnce(ctx, Options{Config: w.cfg, Logger: testLoggerOf(t)}); err != nil ||
				w.record() != "127.0.2.10" {
				t.Errorf("record %s, %v", w.record(), err)
			}
			// Without a look nothing is known of the record, whatever the journal says.
			w.aws.Set(route53test.Simple(testName, "A", 10, "127.9.9.9"))
			w.script("crm_mon", "exit 1")
			ctx, cancel = context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			if doc, err := PublishOnce(ctx, Options{Config: w.cfg, Logger: testLoggerOf(t)}); err == nil {
				t.Errorf("without crm_mon: %s is called published", doc.Record.Addr)
			}
		})
	}
}

func TestHTTPAnswersWhatLoadBalancersKnow(t *testing.T) {
	w := newWorld(t)
	a, _ := w.start()
	w.ready(a)
	says := func() string {
		_, primary := httpGet(t, w, "/primary")
		_, replica := httpGet(t, w, "/replica")
		return primary + replica
	}
	codes := func() (c [4]int) {
		for i, path := range []string{"/healthz", "/readyz", "/primary", "/replica"} {
			c[i], _ = httpGet(t, w, path)
		}
		return c
	}
	w.await("postgres probed", func() bool { return a.Snapshot().Sources[status.SourcePostgres].LastSuccess != 0 })
	if got, want := codes(), [4]int{200, 200, 503, 200}; got != want {
		t.Errorf("healthz readyz primary replica = %v, want %v on a healthy standby", got, want)
	}
	if got, want := says(), "not primary\nstandby: this node could take over\n"; got != want {
		t.Errorf("primary and replica of a healthy standby say %q, want %q", got, want)
	}
	w.failOver()
	w.await("publication", func() bool { return a.Snapshot().Publication() == status.PubObserved })
	// There is no PostgreSQL in this test: promoted, and not ready to serve.
	if got, want := codes(), [4]int{200, 503, 503, 503}; got != want {
		t.Errorf("healthz readyz primary replica = %v, want %v on a promoted node without PostgreSQL", got, want)
	}
	if got, want := says(), "not primary\nthis node is not a standby that could take over\n"; got != want {
		t.Errorf("primary and replica of a promoted node without PostgreSQL say %q, want %q", got, want)
	}
	doc, err := status.Fetch(t.Context(), w.cfg.State.ControlSocket)
	if err != nil || doc.Node != "pg-b" {
		t.Errorf("status: %v, %+v", err, doc)
	}
}

func httpGet(t *testing.T, w *world, path string) (code int, body string) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", w.cfg.State.ControlSocket)
		}}}
	resp, err := client.Get("http://pgha-agent" + path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

func TestRefusalInUnknownWordsIsFollowedByARead(t *testing.T) {
	w := newWorld(t)
	a, _ := w.start()
	w.ready(a)
	// A conflict that the API words in a way nobody expected, because another node has claimed meanwhile.
	w.aws.Set(route53test.Simple("_pgha."+testName, "TXT", 10,
		`"v=1 epoch=4 owner=pg-a addr=127.0.1.10 claim=11111111-6b3f-5d43-9d6e-7c5a1f2b3c4d"`))
	w.aws.Inject(route53test.Fault{Op: "ChangeResourceRecordSets", Kind: route53test.Refuse, Status: 400,
		Code: "InvalidChangeBatch", Body: "Something else is there."})
	w.failOver()
	w.await("the newer claim to be read", func() bool { return a.Snapshot().State.Zone.Epoch == 4 })
	w.await("the hold", func() bool { return a.Snapshot().Holds.Has(fsm.HoldLostRace) })
	if w.record() != "127.0.1.10" {
		t.Errorf("record %s", w.record())
	}
}
