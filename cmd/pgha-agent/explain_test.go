package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pgha/pgha-agent/agent/explain"
	"github.com/pgha/pgha-agent/agent/status"
	"github.com/pgha/pgha-agent/drbd"
	"github.com/pgha/pgha-agent/pg"
)

const (
	peerClaim = "0e5b6a52-6b3f-5d43-9d6e-7c5a1f2b3c4d"
	ownClaim  = "c4845f66-eb00-5e7f-8bdf-8d73d4762ff4"
	testTTL   = 10 * time.Second
)

var testNow = time.Date(2026, 11, 23, 5, 50, 0, 0, time.UTC)

func before(d time.Duration) time.Time { return testNow.Add(-d) }

func connection(name string, state drbd.ConnectionState) drbd.DumpConnection {
	return drbd.DumpConnection{Name: name, Connection: state, PeerRole: "Secondary", SplitBrain: "none",
		PeerDevices: []drbd.DumpPeerDevice{{Replication: "Established", PeerDisk: "UpToDate"}}}
}

// standby is the status of a healthy standby, pg-b.
func standby() *status.Doc {
	d := &status.Doc{
		Version: "1.0", Node: "pg-b", Time: before(time.Second), Ready: true,
		Publication: status.PublicationDoc{State: status.PubIdle,
			Holds: []status.HoldDoc{{Name: "not_promoted", Text: "this node is not the promoted one"}}},
		Cluster: &status.ClusterDoc{
			Seen: before(3 * time.Second), DC: "pg-b", Quorum: new(true), FencingEnabled: new(true), Maintenance: new(false),
			Promoted: []string{"pg-a"},
			Nodes: []status.NodeDoc{
				{Name: "pg-a", Online: new(true), Unclean: new(false), Standby: new(false), Pending: new(false)},
				{Name: "pg-b", Online: new(true), Unclean: new(false), Standby: new(false), Pending: new(false)},
			},
		},
		Drbd: &drbd.DumpResource{
			Name: "pg", Role: "Secondary", Devices: []drbd.DumpDevice{{Disk: "UpToDate"}},
			Connections: []drbd.DumpConnection{connection("pg-a", "Connected")},
		},
		Postgres: status.PostgresDoc{State: pg.StateRefused},
		Record: status.RecordDoc{
			Name: testName, OwnAddr: ownAddr, Addr: peerAddr, Owner: "pg-a", Epoch: 3, Claim: peerClaim,
			Read: new(before(40 * time.Second)), ResolverAddr: new(peerAddr),
		},
	}
	for _, name := range []string{"drbd", "crm", "postgres", "route53", "resolver"} {
		d.Sources = append(d.Sources, status.SourceDoc{Name: name, Up: true, Age: new(2.0)})
	}
	return d
}

// promoted is the status of pg-b three minutes after a failover.
func promoted() *status.Doc {
	d := standby()
	d.Publication = status.PublicationDoc{State: status.PubObserved, Promotion: ownClaim, Epoch: 4}
	d.Cluster.Promoted = []string{"pg-b"}
	d.Drbd.Role = "Primary"
	d.Postgres.State = pg.StateWritable
	d.Record.Addr, d.Record.Owner, d.Record.Epoch, d.Record.Claim, d.Record.ResolverAddr = ownAddr, "pg-b", 4, ownClaim,
		new(ownAddr)
	d.Episode = episode(3*time.Minute, "complete")
	return d
}

func episode(ago time.Duration, outcome string) *status.EpisodeDoc {
	e := &status.EpisodeDoc{ID: 1, Node: "pg-b", Cause: "node_lost", Outcome: outcome, Peer: "pg-a", Start: before(ago),
		Promotion: ownClaim, Epoch: 4, Writes: 1}
	for i, p := range []string{"peer_lost", "fenced", "promoted", "dns_accepted", "dns_insync"} {
		after := time.Duration(i) * 2 * time.Second
		e.Phases = append(e.Phases, status.PhaseDoc{Phase: p, After: after.Seconds(), At: e.Start.Add(after)})
	}
	return e
}

// lost takes the other node away, some time ago.
func lost(d *status.Doc, ago time.Duration) *status.Doc {
	d.Cluster.Nodes[0].Online = new(false)
	d.Drbd.Connections = []drbd.DumpConnection{connection("pg-a", "Connecting")}
	d.Episode = episode(ago, "open")
	d.Episode.Phases, d.Episode.Promotion = d.Episode.Phases[:1], ""
	return d
}

// held is promoted and held back, with the record still the other node's; ago is how long.
func held(ago time.Duration, holds ...string) *status.Doc {
	d := lost(promoted(), ago)
	d.Publication = status.PublicationDoc{State: status.PubHeld, Promotion: ownClaim}
	was := standby().Record
	d.Record = was
	for _, h := range holds {
		hold := status.HoldDoc{Name: h, Text: "text of " + h, Remedy: "remedy of " + h}
		d.Publication.Holds = append(d.Publication.Holds, hold)
		problem(d, "held_"+h, status.Critical, "not published: "+hold.Text, hold.Remedy)
	}
	return d
}

func problem(d *status.Doc, code, severity, text, remedy string) {
	d.Problems = append(d.Problems, status.Problem{Code: code, Severity: severity, Text: text, Remedy: remedy})
	if severity == status.Critical {
		d.Ready, d.Unready = false, append(d.Unready, code+": "+text)
	}
}

func down(d *status.Doc, source, why string, age *float64) {
	severity := status.Warning
	if source == "crm" || source == "drbd" {
		severity = status.Critical
	}
	for i := range d.Sources {
		if s := &d.Sources[i]; s.Name == source {
			s.Up, s.Error, s.Failures, s.Age = false, why, 7, age
		}
	}
	problem(d, "source_"+source, severity, source+" does not answer: "+why, "")
}

// change makes a case of a status and what is different in it.
func change(d *status.Doc, f func(d *status.Doc)) *status.Doc {
	f(d)
	return d
}

var explainCases = []struct {
	name string
	doc  *status.Doc
	want explain.Verdict
}{
	{"healthy_promoted", promoted(), explain.OK},
	{"healthy_standby", standby(), explain.OK},
	{"held_by_peer_unclean_at_first", held(12*time.Second, "peer_unclean"), explain.Waiting},
	{"held_by_peer_unclean_for_long", held(4*time.Minute, "peer_unclean"), explain.Problem},
	{"held_by_maintenance", change(held(time.Minute, "maintenance"), func(d *status.Doc) {
		d.Cluster.Maintenance = new(true)
		problem(d, "maintenance", status.Warning, "the cluster is in maintenance mode", "")
	}), explain.Problem},
	{"held_by_a_choice_behind_a_fault", held(5*time.Minute, "maintenance", "paused", "stalled", "drbd_not_uptodate"),
		explain.Problem},
	{"held_by_api_backoff", change(held(20*time.Second, "api_backoff"), func(d *status.Doc) {
		d.Publication.Attempts, d.Publication.LastFailure = 2, "throttled"
	}), explain.Waiting},
	{"held_by_api_backoff_denied", change(held(20*time.Second, "api_backoff"), func(d *status.Doc) {
		d.Publication.Attempts, d.Publication.LastFailure = 1, "denied"
	}), explain.Problem},
	{"held_by_pause", change(held(5*time.Minute, "paused"), func(d *status.Doc) {
		d.Publication.PausedUntil = new(testNow.Add(35 * time.Minute))
		problem(d, "paused", status.Warning, "publication on this node is paused", "`pgha-agent resume`")
	}), explain.Problem},
	{"held_by_identity_unknown", held(10*time.Minute, "identity_unknown"), explain.Problem},
	{"held_by_what_a_newer_daemon_says", held(10*time.Minute, "moon_phase", "paused"), explain.Problem},
	{"writing", change(held(9*time.Second), func(d *status.Doc) { d.Publication.State = status.PubWriting }),
		explain.Waiting},
	{"contested", change(promoted(), func(d *status.Doc) {
		d.Publication.State = status.PubContested
		d.Record.Addr, d.Record.Owner, d.Record.Epoch, d.Record.Claim, d.Record.ResolverAddr = peerAddr, "pg-a", 5, peerClaim,
			new(peerAddr)
		problem(d, "contested", status.Critical, "another node claimed the record after this one did", "compare")
	}), explain.Problem},
	{"drift_by_hand_edit", change(promoted(), func(d *status.Doc) {
		d.Record.Drift, d.Record.Addr, d.Record.Owner, d.Publication.State = true, "10.9.9.9", "pg-b", status.PubPublished
		d.Record.ResolverAddr = new("10.9.9.9")
		problem(d, "record_drift", status.Critical, "the record was changed", "publish")
	}), explain.Problem},
	{"split_brain_on_promoted", change(promoted(), func(d *status.Doc) {
		d.Drbd.Connections[0].Connection, d.Drbd.Connections[0].SplitBrain = "StandAlone", "latched"
		problem(d, "split_brain", status.Critical, "DRBD has detected a split brain",
			"decide which side keeps its data; see docs/operate.md")
	}), explain.Problem},
	{"split_brain_holds", change(held(2*time.Minute, "split_brain"), func(d *status.Doc) {
		problem(d, "split_brain", status.Critical, "DRBD has detected a split brain",
			"decide which side keeps its data; see docs/operate.md")
	}), explain.Problem},
	{"resolver_stale_within_ttl", change(promoted(), func(d *status.Doc) {
		d.Publication.State, d.Episode, d.Record.ResolverAddr = status.PubPublished, episode(14*time.Second, "open"),
			new(peerAddr)
	}), explain.Waiting},
	{"resolver_stale_not_in_sync", change(promoted(), func(d *status.Doc) {
		d.Publication.State, d.Episode, d.Record.ResolverAddr = status.PubPublished, episode(14*time.Second, "open"),
			new(peerAddr)
		d.Episode.Phases = d.Episode.Phases[:4]
	}), explain.Waiting},
	{"resolver_stale_too_long", change(promoted(), func(d *status.Doc) {
		d.Publication.State, d.Record.ResolverAddr = status.PubPublished, new(peerAddr)
		problem(d, "resolver_stale", status.Warning, "the resolver answers", "check")
	}), explain.Attention},
	{"paused_standby", change(standby(), func(d *status.Doc) {
		d.Publication.PausedUntil = new(testNow.Add(90 * time.Minute))
		problem(d, "paused", status.Warning, "publication on this node is paused", "`pgha-agent resume`")
	}), explain.Attention},
	{"maintenance_on_promoted", change(promoted(), func(d *status.Doc) {
		d.Cluster.Maintenance = new(true)
		problem(d, "maintenance", status.Warning, "the cluster is in maintenance mode", "")
	}), explain.Attention},
	{"daemon_without_crm_mon", change(standby(), func(d *status.Doc) {
		d.Cluster = nil
		d.Publication = status.PublicationDoc{State: status.PubUnknown, Holds: []status.HoldDoc{
			{Name: "crm_unknown", Text: "no fresh answer from crm_mon",
				Remedy: "see `systemctl status pacemaker`; is user pgha in group haclient?"},
			{Name: "drbd_not_primary", Text: "DRBD is not Primary here", Remedy: "see `drbdsetup status`"},
		}}
		down(d, "crm", "crm_mon: Permission denied", nil)
	}), explain.Problem},
	{"held_by_a_slow_crm_mon", change(held(20*time.Second, "crm_unknown"), func(d *status.Doc) {
		problem(d, "crm_slow", status.Critical, "no picture is young enough: crm_mon takes 7s", "remedy of crm_slow")
	}), explain.Problem},
	{"slow_crm_mon_on_standby", change(standby(), func(d *status.Doc) {
		problem(d, "crm_slow", status.Warning, "the picture comes late: crm_mon takes 3s", "remedy of crm_slow")
	}), explain.Attention},
	{"held_by_a_fencing_nobody_sees", change(held(5*time.Minute, "peer_unfenced"), func(d *status.Doc) {
		problem(d, "fence_history", status.Warning, "a fencing would not be seen", "remedy of fence_history")
	}), explain.Problem},
	{"daemon_just_started", change(standby(), func(d *status.Doc) {
		d.Cluster, d.Drbd, d.Record.Read, d.Record.Addr, d.Record.Owner, d.Record.ResolverAddr = nil, nil, nil, "", "", nil
		d.Publication = status.PublicationDoc{State: status.PubUnknown,
			Holds: []status.HoldDoc{{Name: "crm_unknown"}, {Name: "drbd_unknown"}, {Name: "record_unknown"}}}
		d.Ready = false
		for i := range d.Sources {
			d.Sources[i].Up, d.Sources[i].Age, d.Sources[i].Stale = false, nil, true
			d.Unready = append(d.Unready, d.Sources[i].Name+": no answer for too long ()")
		}
	}), explain.Waiting},
	{"daemon_hangs", change(promoted(), func(d *status.Doc) { d.Time = before(5 * time.Minute) }), explain.Problem},
	{"first_installation_standby", change(standby(), func(d *status.Doc) {
		d.Record.Addr, d.Record.Owner, d.Record.Epoch, d.Record.Claim, d.Record.ResolverAddr = "", "", 0, "", nil
	}), explain.Attention},
	{"first_installation_no_database", change(standby(), func(d *status.Doc) {
		d.Record.Addr, d.Record.Owner, d.Record.Epoch, d.Record.Claim, d.Record.ResolverAddr = "", "", 0, "", nil
		d.Cluster.Promoted = []string{}
	}), explain.Problem},
	{"standby_while_peer_is_fenced", change(lost(standby(), 8*time.Second),
		func(d *status.Doc) { d.Cluster.Nodes[0].Unclean = new(true) }), explain.Waiting},
	{"standby_and_fencing_fails", change(lost(standby(), 8*time.Minute),
		func(d *status.Doc) { d.Cluster.Nodes[0].Unclean = new(true) }), explain.Problem},
	{"standby_out_of_date", change(standby(), func(d *status.Doc) {
		d.Drbd.Devices[0].Disk = "Inconsistent"
	}), explain.Attention},
	{"peer_resyncs", change(promoted(), func(d *status.Doc) {
		d.Drbd.Connections[0].PeerDevices[0] = drbd.DumpPeerDevice{Replication: "SyncSource", PeerDisk: "Inconsistent",
			Done: new(45.2), ETASeconds: new(190.0)}
	}), explain.Attention},
	{"postgres_in_crash_recovery", change(promoted(), func(d *status.Doc) {
		d.Postgres = status.PostgresDoc{State: pg.StateStartingUp, Error: "the database system is starting up"}
		problem(d, "postgres", status.Critical, "PostgreSQL on the promoted node: starting_up", "")
	}), explain.Waiting},
	{"postgres_down_on_promoted", change(promoted(), func(d *status.Doc) {
		d.Postgres = status.PostgresDoc{State: pg.StateRefused, Error: "connection refused"}
		problem(d, "postgres", status.Critical, "PostgreSQL on the promoted node: refused connection refused", "")
	}), explain.Problem},
	{"source_drbd_down_on_promoted", change(promoted(), func(d *status.Doc) {
		d.Drbd = nil
		down(d, "drbd", "drbdsetup: exit status 20", new(75.0))
	}), explain.Problem},
	{"route53_down_on_standby", change(standby(), func(d *status.Doc) {
		down(d, "route53", "read record: network: dial tcp: i/o timeout", new(700.0))
	}), explain.Attention},
	{"fencing_disabled", change(promoted(), func(d *status.Doc) {
		d.Cluster.FencingEnabled = new(false)
		problem(d, "fencing_disabled", status.Critical, "fencing is disabled",
			"configure fence_aws and set stonith-enabled=true")
	}), explain.Attention},
	{"record_still_ours_after_switchover", change(standby(), func(d *status.Doc) {
		d.Record.Addr, d.Record.Owner, d.Record.ResolverAddr = ownAddr, "pg-b", new(ownAddr)
	}), explain.Attention},
}

func TestExplain(t *testing.T) {
	for _, c := range explainCases {
		t.Run(c.name, func(t *testing.T) {
			x := explain.Status(c.doc, testNow, testTTL)
			if x.Verdict != c.want {
				t.Errorf("verdict %s, want %s", x.Verdict, c.want)
			}
			checkExplanation(t, x)
			var got bytes.Buffer
			printExplanation(&got, x)
			golden(t, filepath.Join("testdata", "explain", c.name+".txt"), got.String())
			checkSaidOnce(t, x, got.String())
			got.Reset()
			printJudgment(&got, &x)
			printDocument(&got, c.doc, &x)
			printFindings(&got, &x)
			golden(t, filepath.Join("testdata", "status", c.name+".txt"), got.String())
			checkSaidOnce(t, x, got.String())
		})
	}
}

// checkSaidOnce: no finding and no hold is told twice in one output.
func checkSaidOnce(t *testing.T, x explain.Explanation, out string) {
	t.Helper()
	out = strings.ToLower(strings.Join(strings.Fields(out), " "))
	var texts []string
	for _, f := range append(x.Findings, x.Failover.Reasons...) {
		texts = append(texts, f.Text)
	}
	for _, h := range x.Holds {
		if !strings.Contains(x.Next, h.Text) { // of a hold that only a newer daemon knows nothing else can be said
			texts = append(texts, h.Text)
		}
	}
	texts = slices.DeleteFunc(texts, func(text string) bool { return text == "" })
	for _, text := range texts {
		if n := strings.Count(out, strings.ToLower(text)); n > 1 {
			t.Errorf("%q is said %d times in\n%s", text, n, out)
		}
	}
}

// checkExplanation holds what is true of every explanation.
func checkExplanation(t *testing.T, x explain.Explanation) {
	t.Helper()
	if x.Record == "" || x.Node == "" || x.WaitsFor == "" || x.Next == "" {
		t.Errorf("something is not said: %+v", x)
	}
	if (x.Verdict == explain.OK) != (x.Next == "Nothing to do.") {
		t.Errorf("verdict %s, and next %q", x.Verdict, x.Next)
	}
	if strings.Contains(x.Command, "--confirm") {
		t.Errorf("command %q: that is for a person who knows", x.Command)
	}
	data, err := json.Marshal(x)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(bytes.Replace(data, []byte(`"possible":null`), nil, 1), []byte("null")) {
		t.Errorf("null in %s", data)
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	if *update {
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", name, diff)
	}
}

func TestExplainJSON(t *testing.T) {
	var got bytes.Buffer
	if err := printJSON(&got, explain.Status(held(4*time.Minute, "peer_unclean"), testNow, testTTL)); err != nil {
		t.Fatal(err)
	}
	golden(t, filepath.Join("testdata", "explain", "held_by_peer_unclean_for_long.json"), got.String())
}

func TestExplainWithoutDaemon(t *testing.T) {
	for name, err := range map[string]error{
		"no_daemon":   errors.New("ask the daemon at /run/pgha-agent/control.sock: connect: no such file or directory"),
		"may_not_ask": fmt.Errorf("ask the daemon at /run/pgha-agent/control.sock: connect: %w", syscall.EACCES),
	} {
		x := explain.Silence(err, explain.Facts{})
		checkExplanation(t, x)
		var got bytes.Buffer
		printExplanation(&got, x)
		golden(t, filepath.Join("testdata", "explain", name+".txt"), got.String())
	}
}

func TestExplainPrintsNoControlCharacters(t *testing.T) {
	d := promoted()
	down(d, "crm", "\x1b[2J\u009b31m\rgone", nil)
	var got bytes.Buffer
	printExplanation(&got, explain.Status(d, testNow, testTTL))
	if strings.ContainsAny(got.String(), "\x1b\r\u009b") {
		t.Errorf("control characters in %q", got.String())
	}
}
