package web

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/pgha/pgha-agent/agent/config"
	"github.com/pgha/pgha-agent/agent/fsm"
	"github.com/pgha/pgha-agent/agent/internal/statetest"
	"github.com/pgha/pgha-agent/agent/state"
	"github.com/pgha/pgha-agent/agent/status"
	"github.com/pgha/pgha-agent/drbd"
	"github.com/pgha/pgha-agent/pg"
)

// hostile is a node's name as a cluster's configuration could hold it.
const hostile = `<script>document.title="owned"</script><img src=x onerror=document.title="owned">`

const testName = "db.pgha.internal"

// testOptions are those of an agent that knows nothing yet.
func testOptions(t testing.TB) Options {
	cfg := config.Default()
	s := &status.Snapshot{Config: &cfg, Version: "test", Wall: time.Now()}
	return Options{
		Snapshot: func() *status.Snapshot { return s }, Now: func() fsm.Time { return s.At },
		Metrics: prometheus.NewRegistry(), StateDir: t.TempDir(),
		Log: slog.New(slog.DiscardHandler),
	}
}

func get(h http.Handler, method, path string, header ...string) *httptest.ResponseRecorder {
	req := httptest.NewRequest(method, path, nil)
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, req)
	return rec
}

func TestPageIsServedAtTheRootOnly(t *testing.T) {
	mux := Public(testOptions(t))
	for _, c := range []struct {
		method, path string
		code         int
		body         bool
	}{
		{"GET", "/", 200, true},
		{"HEAD", "/", 200, false},
		{"POST", "/", 405, true},
		{"GET", "/index.html", 404, true},
		{"GET", "/favicon.ico", 404, true},
		{"GET", "/history", 200, true},
		{"HEAD", "/history", 200, false},
		{"POST", "/history", 405, true},
		{"GET", "/history/1", 404, true},
	} {
		rec := get(mux, c.method, c.path)
		if rec.Code != c.code || rec.Body.Len() > 0 != c.body {
			t.Errorf("%s %s: %d with %d bytes, want %d and body %v", c.method, c.path, rec.Code, rec.Body.Len(), c.code, c.body)
		}
	}
	if n := len(page); n > 25_000 {
		t.Errorf("the page has %d bytes: it is for a phone in the middle of the night", n)
	}
}

func TestPageLetsTheBrowserRunNothingButItsOwn(t *testing.T) {
	mux := Public(testOptions(t))
	h := get(mux, "GET", "/").Header()
	for name, want := range map[string]string{
		"Content-Type": "text/html; charset=utf-8", "X-Content-Type-Options": "nosniff", "Cache-Control": "no-store",
		"Referrer-Policy": "no-referrer",
	} {
		if got := h.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	policy := h.Get("Content-Security-Policy")
	if !strings.HasPrefix(policy, "default-src 'none'; script-src 'sha256-") || strings.Contains(policy, "unsafe") ||
		strings.Contains(policy, "*") {
		t.Errorf("policy %q", policy)
	}
	for _, path := range []string{"/status", "/history", "/readyz"} {
		h := get(mux, "GET", path).Header()
		if h.Get("Cache-Control") != "no-store" || h.Get("X-Content-Type-Options") != "nosniff" ||
			h.Get("Content-Type") != "application/json" {
			t.Errorf("%s: headers %v", path, h)
		}
	}
}

// TestPageKnowsNoMarkupButItsOwn keeps out what the policy would refuse anyway, and what would make text into markup.
func TestPageKnowsNoMarkupButItsOwn(t *testing.T) {
	for _, bad := range []string{"innerHTML", "outerHTML", "insertAdjacent", "document.write", "eval(", "http://",
		"https://", " style=", "onclick=\"", "src="} {
		if strings.Contains(page, bad) {
			t.Errorf("the page contains %q", bad)
		}
	}
	for _, tag := range []string{"<script", "<style"} {
		if n := strings.Count(page, tag); n != 1 {
			t.Errorf("%d times %s, want 1: the policy has one digest", n, tag)
		}
	}
}

// TestPageKnowsEveryWord holds the page to the words that the status can use.
func TestPageKnowsEveryWord(t *testing.T) {
	known := func(kind, word string) {
		if !regexp.MustCompile(`\b` + word + `"?: ?`).MatchString(page) {
			t.Errorf("%s %s is not on the page", kind, word)
		}
	}
	for _, p := range status.Publications {
		known("publication", string(p))
	}
	for p := range fsm.NumPhases {
		known("phase", p.String())
	}
	for _, o := range fsm.Outcomes {
		known("outcome", string(o))
	}
}

func TestStatusKeepsMarkupInNamesInsideItsStrings(t *testing.T) {
	o := testOptions(t)
	o.Snapshot().Config.Node.Name = hostile
	rec := get(Public(o), "GET", "/status")
	var doc status.Doc
	if err := json.Unmarshal(rec.Body.Bytes(), &doc); err != nil || doc.Node != hostile {
		t.Errorf("node %q, %v", doc.Node, err)
	}
	if strings.Contains(rec.Body.String(), "<script") {
		t.Error("a browser that took this for HTML would run it")
	}
}

func TestHistoryGivesTheNewestEpisodes(t *testing.T) {
	dir := t.TempDir()
	h := newHistory(dir)
	if rec := get(h, "GET", "/history"); rec.Code != 200 || rec.Body.String() != "[]\n" {
		t.Fatalf("without a journal: %d %q", rec.Code, rec.Body)
	}
	j, _ := statetest.Open(t, dir)
	for id := uint64(1); id <= historyShows+5; id++ {
		statetest.Append(t, j, statetest.Entry(id))
	}
	first := get(h, "GET", "/history")
	var docs []status.EpisodeDoc
	if err := json.Unmarshal(first.Body.Bytes(), &docs); err != nil {
		t.Fatal(err)
	}
	if len(docs) != historyShows || docs[0].ID != 6 || docs[historyShows-1].ID != 25 {
		t.Errorf("%d episodes, %d to %d: want the newest 20, oldest first", len(docs), docs[0].ID, docs[len(docs)-1].ID)
	}
	entry := statetest.Entry(6)
	want, _ := json.Marshal(status.EntryDoc(&entry))
	if got, _ := json.Marshal(docs[0]); string(got) != string(want) {
		t.Errorf("episode\n%s\nwant\n%s", got, want)
	}
	tag := first.Header().Get("ETag")
	if rec := get(h, "GET", "/history", "If-None-Match", tag); rec.Code != http.StatusNotModified || rec.Body.Len() != 0 {
		t.Errorf("asked again: %d, want 304", rec.Code)
	}
	read := &h.body[0]
	get(h, "GET", "/history")
	if &h.body[0] != read {
		t.Error("the journal was read again without a change")
	}
	e := statetest.Entry(25)
	e.Episode.Outcome = fsm.OutcomeContested
	statetest.Append(t, j, e)
	if rec := get(h, "GET", "/history", "If-None-Match", tag); rec.Code != 200 ||
		!strings.Contains(rec.Body.String(), `"contested"`) {
		t.Errorf("after a change: %d, want 200 and the new outcome", rec.Code)
	}
}

func TestHistorySaysWhenTheJournalCannotBeRead(t *testing.T) {
	dir := t.TempDir()
	h := newHistory(dir)
	j, _ := statetest.Open(t, dir)
	statetest.Append(t, j, statetest.Entry(1))
	if rec := get(h, "GET", "/history"); rec.Code != 200 {
		t.Fatal(rec.Code)
	}
	path := state.JournalFile(dir)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
	if rec := get(h, "GET", "/history"); rec.Code != 500 || !strings.Contains(rec.Body.String(), "not a regular file") ||
		rec.Header().Get("ETag") != "" {
		t.Errorf("%d %q %v: want 500 and the reason, not the old history", rec.Code, rec.Body, rec.Header())
	}
}

func TestHistoryDoesNotQueueUpBehindAReadThatHangs(t *testing.T) {
	h := newHistory(t.TempDir())
	h.turn <- struct{}{}
	if rec := get(h, "GET", "/history"); rec.Code != http.StatusServiceUnavailable {
		t.Errorf("%d, want 503", rec.Code)
	}
}

func BenchmarkHistoryAfterAChange(b *testing.B) {
	dir := b.TempDir()
	j, _ := statetest.Open(b, dir)
	for id := range uint64(1000) { // nearly a full one
		statetest.Append(b, j, statetest.Entry(id+1))
	}
	h := newHistory(dir)
	for b.Loop() {
		h.body = nil
		get(h, "GET", "/history")
	}
}

// pageExamples are states of a cluster as the page has to tell them.
func pageExamples(now time.Time) map[string]*status.Doc {
	yes, no := new(true), new(false)
	node := func(name string, online, unclean *bool) status.NodeDoc {
		return status.NodeDoc{Name: name, Online: online, Unclean: unclean, Standby: no, Pending: no}
	}
	disk := func(role drbd.Role, disk drbd.DiskState, c drbd.DumpConnection) *drbd.DumpResource {
		return &drbd.DumpResource{Name: "pg", Role: role, Suspended: []string{}, Devices: []drbd.DumpDevice{{Disk: disk}},
			Connections: []drbd.DumpConnection{c}}
	}
	link := func(state drbd.ConnectionState, role drbd.Role, repl drbd.ReplicationState, disk drbd.DiskState) drbd.DumpConnection {
		return drbd.DumpConnection{Name: "pg-a", Connection: state, PeerRole: role, SplitBrain: "none",
			PeerDevices: []drbd.DumpPeerDevice{{Replication: repl, PeerDisk: disk, ResyncSuspended: []string{}}}}
	}
	base := func(state status.Publication) *status.Doc {
		d := &status.Doc{
			Version: "1.0.0", Node: "pg-b", Time: now, Ready: true, Unready: []string{}, Problems: []status.Problem{},
			Publication: status.PublicationDoc{State: state, Holds: []status.HoldDoc{}},
			Cluster: &status.ClusterDoc{
				Seen: now, DC: "pg-b", Quorum: yes, FencingEnabled: yes, Maintenance: no, Promoted: []string{"pg-b"},
				Nodes: []status.NodeDoc{node("pg-a", yes, no), node("pg-b", yes, no)},
			},
			Drbd: disk("Primary", "UpToDate", link("Connected", "Secondary", "Established", "UpToDate")),
			Postgres: status.PostgresDoc{State: pg.StateWritable, Started: new(now.Add(-9 * time.Hour)), Version: 170011,
				Timeline: 1, LSN: 27545776},
			Record: status.RecordDoc{
				Name: testName, OwnAddr: "10.0.2.10", Addr: "10.0.2.10", Owner: "pg-b", Epoch: 4, Read: new(now.Add(-time.Minute)),
				ResolverAddr: new("10.0.2.10"),
			},
			Client: &status.ClientDoc{OK: true, State: pg.StateWritable, Answered: "10.0.2.10", LastOutage: new(10.22)},
		}
		for src := range status.NumSources {
			d.Sources = append(d.Sources, status.SourceDoc{Name: src.String(), Up: true, Age: new(1.5 + 40*float64(src))})
		}
		return d
	}
	finding := func(d *status.Doc, code, severity, text, remedy string) {
		d.Problems = append(d.Problems, status.Problem{Code: code, Severity: severity, Text: text, Remedy: remedy})
		if severity == status.Critical {
			d.Ready, d.Unready = false, append(d.Unready, code+": "+text)
		}
	}
	hold := func(d *status.Doc, h fsm.Hold) {
		d.Publication.Holds = append(d.Publication.Holds, status.NewHoldDoc(h))
		finding(d, "held_"+h.String(), status.Critical, "not published: "+status.HoldOf(h).Text, status.HoldOf(h).Remedy)
	}

	healthy := base(status.PubObserved)
	healthy.Publication.Promotion, healthy.Publication.Epoch = "c4845f66-eb00-5e7f-8bdf-8d73d4762ff4", 4

	failover := base(status.PubHeld)
	failover.Publication.Promotion = "c4845f66-eb00-5e7f-8bdf-8d73d4762ff4"
	failover.Cluster.Nodes[0] = node("pg-a", no, yes)
	failover.Cluster.Promoted = []string{"pg-a", "pg-b"}
	failover.Drbd = disk("Primary", "UpToDate", link("Connecting", "Unknown", "Off", "Outdated"))
	failover.Drbd.Suspended = []string{"fencing"}
	failover.Postgres = status.PostgresDoc{State: pg.StateStartingUp, Error: "the database system is starting up"}
	failover.Record.Addr, failover.Record.Owner, failover.Record.Epoch, failover.Record.ResolverAddr = "10.0.1.10", "pg-a",
		3, new("10.0.1.10")
	failover.Client = &status.ClientDoc{State: pg.StateTimeout, Error: "dial tcp 10.0.1.10:5432: i/o timeout"}
	hold(failover, fsm.HoldPeerUnclean)
	hold(failover, fsm.HoldDrbdSuspended)
	start := now.Add(-6400 * time.Millisecond)
	failover.Episode = &status.EpisodeDoc{
		ID: 26, Node: "pg-b", Cause: "node_lost", Outcome: "open", Peer: "pg-a", Why: "DRBD: Connecting", Start: start,
		Phases: []status.PhaseDoc{{Phase: "peer_lost", At: start},
			{Phase: "fence_requested", After: 2.3, At: start.Add(2300 * time.Millisecond)}},
	}

	resync := base(status.PubIdle)
	resync.Publication.Holds = []status.HoldDoc{status.NewHoldDoc(fsm.HoldNotPromoted)}
	resync.Cluster.Promoted = []string{"pg-a"}
	resync.Drbd = disk("Secondary", "Inconsistent", link("Connected", "Primary", "SyncTarget", "UpToDate"))
	v := &resync.Drbd.Connections[0].PeerDevices[0]
	v.Done, v.ETASeconds, v.RateBytesPerSecond, v.OutOfSyncBytes = new(43.0), new(754.0), new(118e6), new(uint64(89e9))
	resync.Postgres = status.PostgresDoc{State: pg.StateRefused, Error: "dial unix: connection refused"}
	resync.Record.Addr, resync.Record.Owner, resync.Record.ResolverAddr = "10.0.1.10", "pg-a", new("10.0.1.10")
	finding(resync, "fence_constraint", status.Warning,
		"constraint drbd-fence-by-handler-pg of the DRBD fence-peer handler is still there: the other node cannot be "+
			"promoted",
		"it goes when the peer is UpToDate again; see docs/operate.md if it stays")

	split := base(status.PubContested)
	split.Publication.Promotion = "c4845f66-eb00-5e7f-8bdf-8d73d4762ff4"
	split.Drbd = disk("Primary", "UpToDate", link("StandAlone", "Unknown", "Off", "Unknown"))
	split.Drbd.Connections[0].SplitBrain = "latched"
	split.Record.Addr, split.Record.Owner, split.Record.Epoch, split.Record.ResolverAddr, split.Record.Drift = "10.0.1.10",
		"pg-a", 5, nil, true
	split.Cluster.FencingEnabled, split.Cluster.Nodes[0].Online = no, nil
	finding(split, "contested", status.Critical, status.HoldOf(fsm.HoldContested).Text,
		status.HoldOf(fsm.HoldContested).Remedy)
	finding(split, "split_brain", status.Critical, status.HoldOf(fsm.HoldSplitBrain).Text,
		status.HoldOf(fsm.HoldSplitBrain).Remedy)
	finding(split, "source_crm", status.Critical, "crm does not answer: exit status 102: Connection refused", "")
	split.Sources[status.SourceCrm] = status.SourceDoc{Name: "crm", Age: new(48.0), Failures: 5,
		Error: "exit status 102: Connection refused", Stale: true}
	split.Sources[status.SourceResolver].Stale = true
	split.Unready = append(split.Unready, "crm: no answer for too long (exit status 102: Connection refused)",
		"resolver: no answer for too long ()")

	evil := base(status.PubObserved)
	evil.Node, evil.Cluster.Nodes[1].Name, evil.Cluster.Promoted, evil.Record.Owner, evil.Drbd.Name = hostile, hostile,
		[]string{hostile}, hostile, hostile
	finding(evil, "journal", status.Warning, "episodes cannot be saved: "+hostile, hostile)
	return map[string]*status.Doc{"healthy": healthy, "failover": failover, "resync": resync, "split": split,
		"hostile": evil}
}

// pageServer serves the page with an example for the status and a journal of two episodes.
func pageServer(t *testing.T, name string) *httptest.Server {
	t.Helper()
	dir := t.TempDir()
	j, _ := statetest.Open(t, dir)
	e := statetest.Entry(24)
	e.Episode.Cause, e.Episode.Outage = fsm.CauseOperator, fsm.Outage{}
	statetest.Append(t, j, e)
	e = statetest.Entry(25)
	at := func(s float64) fsm.Time { return e.Episode.Start + fsm.Time(s*float64(time.Second)) }
	e.Episode.Stamps = [fsm.NumPhases]fsm.Time{
		fsm.PeerLost: at(0), fsm.FenceRequested: at(2.3), fsm.Fenced: at(5.9), fsm.Promoted: at(6.4), fsm.Mounted: at(6.8),
		fsm.PgStarted: at(7.9),
		fsm.Writable:  at(8.1), fsm.DNSAccepted: at(6.7), fsm.DNSObserved: at(8.9), fsm.DNSInSync: at(9.4),
		fsm.Complete: at(9.4),
	}
	e.Episode.Outage = fsm.Outage{From: at(-1), To: at(9.22), Answered: "10.0.2.10"}
	statetest.Append(t, j, e)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", servePage)
	mux.Handle("GET /history", newHistory(dir))
	mux.HandleFunc("GET /status", func(w http.ResponseWriter,
		_ *http.Request) {
		writeJSON(w, 200, pageExamples(time.Now())[name])
	})
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s
}

// browser is the path of a Chromium, or "" when there is none.
func browser() string {
	if path := os.Getenv("PGHA_CHROMIUM"); path != "" {
		return path
	}
	for _, name := range []string{"chromium-headless-shell", "chromium"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	return ""
}

// chromium runs a headless browser and returns what it prints.
func chromium(t *testing.T, args ...string) string {
	t.Helper()
	path := browser()
	if path == "" && os.Getenv("PGHA_REQUIRE_BROWSER") == "1" {
		t.Fatal("no Chromium (package chromium-headless-shell), and PGHA_REQUIRE_BROWSER=1 asks for it")
	}
	if path == "" {
		t.Skip("no Chromium (PGHA_CHROMIUM names another one): what the page shows in a browser was not tested")
	}
	// Not t.TempDir: the browser's last children write into it until after it has ended.
	dir, err := os.MkdirTemp("", "pgha-page")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	cmd := exec.CommandContext(t.Context(), path, append([]string{
		"--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
		"--disable-component-update",
		"--disable-sync", "--user-data-dir=" + dir, "--enable-logging=stderr", "--virtual-time-budget=4000",
	}, args...)...)
	var messages strings.Builder
	cmd.Stderr = &messages
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("chromium: %v\n%s", err, messages.String())
	}
	for line := range strings.Lines(messages.String()) {
		if strings.Contains(line, "CONSOLE") && !strings.Contains(line, "favicon") {
			t.Errorf("the browser complains: %s", line)
		}
	}
	return string(out)
}

func TestPageShowsLiveDataInABrowser(t *testing.T) {
	for name, want := range map[string][]string{
		"healthy": {"Published: the name answers this node", `class="chip ok">promoted`, "Episode 25: node lost, complete",
			"10.2 s", "a shell failover", "17.11"},
		"failover": {"Promoted, and not published", "lost and not fenced yet", "<code>stonith_admin --history '*'</code>",
			"suspended: fencing", "Episode 26: node lost, open", "going on"},
		"resync": {"Not promoted: nothing to publish", `value="43"`, "13 min left", "118 MB/s",
			"as it should be on the standby"},
		"split":   {"Contested", "split brain", "changed by somebody else", "old: 48 s ago", `class="old"`, "not_ready"},
		"hostile": {"&lt;script&gt;document.title"},
	} {
		t.Run(name, func(t *testing.T) {
			dom := chromium(t, "--dump-dom", pageServer(t, name).URL)
			for _, w := range want {
				if !strings.Contains(dom, w) {
					t.Errorf("the page does not show %q", w)
				}
			}
			if n := strings.Count(dom, "<script>"); n != 1 || strings.Contains(dom, "<img") ||
				strings.Contains(dom, "<title>owned") {
				t.Errorf("a name became markup: %d scripts", n)
			}
			if strings.Contains(dom, `class="stale"`) {
				t.Error("live data look stale")
			}
			if t.Failed() {
				t.Log(dom[strings.Index(dom, "<body"):])
			}
		})
	}
}

func TestPageSaysThatItHasNoAnswer(t *testing.T) {
	mux := http.NewServeMux()
	var asked atomic.Int32
	mux.HandleFunc("GET /{$}", servePage)
	mux.HandleFunc("GET /history", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, 200, []string{}) })
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) {
		if asked.Add(1) > 1 {
			panic(http.ErrAbortHandler)
		}
		writeJSON(w, 200, pageExamples(time.Now())["healthy"])
	})
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	dom := chromium(t, "--dump-dom", s.URL)
	for _, want := range []string{`class="stale"`, "No answer since", "What is shown is from then",
		"Published: the name answers this node"} {
		if !strings.Contains(dom, want) {
			t.Errorf("the page does not show %q:\n%s", want, dom[strings.Index(dom, "<body"):])
		}
	}
}
