package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pgha/pgha-agent/agent"
	"github.com/pgha/pgha-agent/agent/fsm"
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

func connection(name, state string) drbd.DumpConnection {
	return drbd.DumpConnection{Name: name, Connection: state, PeerRole: "Secondary", SplitBrain: "none", PeerDevices: []drbd.DumpPeerDevice{{Replication: "Established", PeerDisk: "UpToDate"}}}
}

// standby is the status of a healthy standby, pg-b.
func standby() *agent.StatusDoc {
	d := &agent.StatusDoc{
		Version: "1.0", Node: "pg-b", Time: before(time.Second), Ready: true,
		Publication: agent.PublicationDoc{State: agent.PubIdle, Holds: []agent.HoldDoc{{Name: "not_promoted", Text: "this node is not the promoted one"}}},
		Cluster: &agent.ClusterDoc{
			Seen: before(3 * time.Second), DC: "pg-b", Quorum: new(true), FencingEnabled: new(true), Maintenance: new(false), Promoted: []string{"pg-a"},
			Nodes: []agent.NodeDoc{
				{Name: "pg-a", Online: new(true), Unclean: new(false), Standby: new(false), Pending: new(false)},
				{Name: "pg-b", Online: new(true), Unclean: new(false), Standby: new(false), Pending: new(false)},
			},
		},
		Drbd: &drbd.DumpResource{
			Name: "pg", Role: "Secondary", Devices: []drbd.DumpDevice{{Disk: "UpToDate"}}, Connections: []drbd.DumpConnection{connection("pg-a", "Connected")},
		},
		Postgres: agent.PostgresDoc{State: pg.StateRefused},
		Record: agent.RecordDoc{
			Name: testName, OwnAddr: ownAddr, Addr: peerAddr, Owner: "pg-a", Epoch: 3, Claim: peerClaim, Read: new(before(40 * time.Second)), ResolverAddr: new(peerAddr),
		},
	}
	for _, name := range []string{"drbd", "crm", "postgres", "route53", "resolver"} {
		d.Sources = append(d.Sources, agent.SourceDoc{Name: name, Up: true, Age: new(2.0)})
	}
	return d
}

// promoted is the status of pg-b three minutes after a failover.
func promoted() *agent.StatusDoc {
	d := standby()
	d.Publication = agent.PublicationDoc{State: agent.PubObserved, Promotion: ownClaim, Epoch: 4}
	d.Cluster.Promoted = []string{"pg-b"}
	d.Drbd.Role = "Primary"
	d.Postgres.State = pg.StateWritable
	d.Record.Addr, d.Record.Owner, d.Record.Epoch, d.Record.Claim, d.Record.ResolverAddr = ownAddr, "pg-b", 4, ownClaim, new(ownAddr)
	d.Episode = episode(3*time.Minute, "complete")
	return d
}

func episode(ago time.Duration, outcome string) *agent.EpisodeDoc {
	e := &agent.EpisodeDoc{ID: 1, Node: "pg-b", Cause: "node_lost", Outcome: outcome, Peer: "pg-a", Start: before(ago), Promotion: ownClaim, Epoch: 4, Writes: 1}
	for i, p := range []string{"peer_lost", "fenced", "promoted", "dns_accepted", "dns_insync"} {
		after := time.Duration(i) * 2 * time.Second
		e.Phases = append(e.Phases, agent.PhaseDoc{Phase: p, After: after.Seconds(), At: e.Start.Add(after)})
	}
	return e
}

// lost takes the other node away, some time ago.
func lost(d *agent.StatusDoc, ago time.Duration) *agent.StatusDoc {
	d.Cluster.Nodes[0].Online = new(false)
	d.Drbd.Connections = []drbd.DumpConnection{connection("pg-a", "Connecting")}
	d.Episode = episode(ago, "open")
	d.Episode.Phases, d.Episode.Promotion = d.Episode.Phases[:1], ""
	return d
}

// held is promoted and held back, with the record still the other node's; ago is how long.
func held(ago time.Duration, holds ...string) *agent.StatusDoc {
	d := lost(promoted(), ago)
	d.Publication = agent.PublicationDoc{State: agent.PubHeld, Promotion: ownClaim}
	was := standby().Record
	d.Record = was
	for _, h := range holds {
		hold := agent.HoldDoc{Name: h, Text: "text of " + h, Remedy: "remedy of " + h}
		d.Publication.Holds = append(d.Publication.Holds, hold)
		problem(d, "held_"+h, agent.Critical, "not published: "+hold.Text, hold.Remedy)
	}
	return d
}

func problem(d *agent.StatusDoc, code, severity, text, remedy string) {
	d.Problems = append(d.Problems, agent.Finding{Code: code, Severity: severity, Text: text, Remedy: remedy})
	if severity == agent.Critical {
		d.Ready, d.Unready = false, append(d.Unready, code+": "+text)
	}
}

func down(d *agent.StatusDoc, source, why string, age *float64) {
	severity := agent.Warning
	if source == "crm" || source == "drbd" {
		severity = agent.Critical
	}
	for i := range d.Sources {
		if s := &d.Sources[i]; s.Name == source {
			s.Up, s.Error, s.Failures, s.Age = false, why, 7, age
		}
	}
	problem(d, "source_"+source, severity, source+" does not answer: "+why, "")
}

// change makes a case of a status and what is different in it.
func change(d *agent.StatusDoc, f func(d *agent.StatusDoc)) *agent.StatusDoc {
	f(d)
	return d
}

var explainCases = []struct {
	name string
	doc  *agent.StatusDoc
	want verdict
}{
	{"healthy_promoted", promoted(), verdictOK},
	{"healthy_standby", standby(), verdictOK},
	{"held_by_peer_unclean_at_first", held(12*time.Second, "peer_unclean"), verdictWaiting},
	{"held_by_peer_unclean_for_long", held(4*time.Minute, "peer_unclean"), verdictProblem},
	{"held_by_maintenance", change(held(time.Minute, "maintenance"), func(d *agent.StatusDoc) {
		d.Cluster.Maintenance = new(true)
		problem(d, "maintenance", agent.Warning, "the cluster is in maintenance mode", "")
	}), verdictProblem},
	{"held_by_a_choice_behind_a_fault", held(5*time.Minute, "maintenance", "paused", "stalled", "drbd_not_uptodate"), verdictProblem},
	{"held_by_api_backoff", change(held(20*time.Second, "api_backoff"), func(d *agent.StatusDoc) {
		d.Publication.Attempts, d.Publication.LastFailure = 2, "throttled"
	}), verdictWaiting},
	{"held_by_api_backoff_denied", change(held(20*time.Second, "api_backoff"), func(d *agent.StatusDoc) {
		d.Publication.Attempts, d.Publication.LastFailure = 1, "denied"
	}), verdictProblem},
	{"held_by_pause", change(held(5*time.Minute, "paused"), func(d *agent.StatusDoc) {
		d.Publication.PausedUntil = new(testNow.Add(35 * time.Minute))
		problem(d, "paused", agent.Warning, "publication on this node is paused", "`pgha-agent resume`")
	}), verdictProblem},
	{"held_by_identity_unknown", held(10*time.Minute, "identity_unknown"), verdictProblem},
	{"held_by_what_a_newer_daemon_says", held(10*time.Minute, "moon_phase", "paused"), verdictProblem},
	{"writing", change(held(9*time.Second), func(d *agent.StatusDoc) { d.Publication.State = agent.PubWriting }), verdictWaiting},
	{"contested", change(promoted(), func(d *agent.StatusDoc) {
		d.Publication.State = agent.PubContested
		d.Record.Addr, d.Record.Owner, d.Record.Epoch, d.Record.Claim, d.Record.ResolverAddr = peerAddr, "pg-a", 5, peerClaim, new(peerAddr)
		problem(d, "contested", agent.Critical, "another node claimed the record after this one did", "compare")
	}), verdictProblem},
	{"drift_by_hand_edit", change(promoted(), func(d *agent.StatusDoc) {
		d.Record.Drift, d.Record.Addr, d.Record.Owner, d.Publication.State = true, "10.9.9.9", "pg-b", agent.PubPublished
		d.Record.ResolverAddr = new("10.9.9.9")
		problem(d, "record_drift", agent.Critical, "the record was changed", "publish")
	}), verdictProblem},
	{"split_brain_on_promoted", change(promoted(), func(d *agent.StatusDoc) {
		d.Drbd.Connections[0].Connection, d.Drbd.Connections[0].SplitBrain = "StandAlone", "latched"
		problem(d, "split_brain", agent.Critical, "DRBD has detected a split brain", "decide which side keeps its data; see docs/operate.md")
	}), verdictProblem},
	{"split_brain_holds", change(held(2*time.Minute, "split_brain"), func(d *agent.StatusDoc) {
		problem(d, "split_brain", agent.Critical, "DRBD has detected a split brain", "decide which side keeps its data; see docs/operate.md")
	}), verdictProblem},
	{"resolver_stale_within_ttl", change(promoted(), func(d *agent.StatusDoc) {
		d.Publication.State, d.Episode, d.Record.ResolverAddr = agent.PubPublished, episode(14*time.Second, "open"), new(peerAddr)
	}), verdictWaiting},
	{"resolver_stale_not_in_sync", change(promoted(), func(d *agent.StatusDoc) {
		d.Publication.State, d.Episode, d.Record.ResolverAddr = agent.PubPublished, episode(14*time.Second, "open"), new(peerAddr)
		d.Episode.Phases = d.Episode.Phases[:4]
	}), verdictWaiting},
	{"resolver_stale_too_long", change(promoted(), func(d *agent.StatusDoc) {
		d.Publication.State, d.Record.ResolverAddr = agent.PubPublished, new(peerAddr)
		problem(d, "resolver_stale", agent.Warning, "the resolver answers", "check")
	}), verdictAttention},
	{"paused_standby", change(standby(), func(d *agent.StatusDoc) {
		d.Publication.PausedUntil = new(testNow.Add(90 * time.Minute))
		problem(d, "paused", agent.Warning, "publication on this node is paused", "`pgha-agent resume`")
	}), verdictAttention},
	{"maintenance_on_promoted", change(promoted(), func(d *agent.StatusDoc) {
		d.Cluster.Maintenance = new(true)
		problem(d, "maintenance", agent.Warning, "the cluster is in maintenance mode", "")
	}), verdictAttention},
	{"daemon_without_crm_mon", change(standby(), func(d *agent.StatusDoc) {
		d.Cluster = nil
		d.Publication = agent.PublicationDoc{State: agent.PubUnknown, Holds: []agent.HoldDoc{
			{Name: "crm_unknown", Text: "no fresh answer from crm_mon", Remedy: "see `systemctl status pacemaker`; is user pgha in group haclient?"},
			{Name: "drbd_not_primary", Text: "DRBD is not Primary here", Remedy: "see `drbdsetup status`"},
		}}
		down(d, "crm", "crm_mon: Permission denied", nil)
	}), verdictProblem},
	{"held_by_a_slow_crm_mon", change(held(20*time.Second, "crm_unknown"), func(d *agent.StatusDoc) {
		problem(d, "crm_slow", agent.Critical, "no picture is young enough: crm_mon takes 7s", "remedy of crm_slow")
	}), verdictProblem},
	{"slow_crm_mon_on_standby", change(standby(), func(d *agent.StatusDoc) {
		problem(d, "crm_slow", agent.Warning, "the picture comes late: crm_mon takes 3s", "remedy of crm_slow")
	}), verdictAttention},
	{"held_by_a_fencing_nobody_sees", change(held(5*time.Minute, "peer_unfenced"), func(d *agent.StatusDoc) {
		problem(d, "fence_history", agent.Warning, "a fencing would not be seen", "remedy of fence_history")
	}), verdictProblem},
	{"daemon_just_started", change(standby(), func(d *agent.StatusDoc) {
		d.Cluster, d.Drbd, d.Record.Read, d.Record.Addr, d.Record.Owner, d.Record.ResolverAddr = nil, nil, nil, "", "", nil
		d.Publication = agent.PublicationDoc{State: agent.PubUnknown, Holds: []agent.HoldDoc{{Name: "crm_unknown"}, {Name: "drbd_unknown"}, {Name: "record_unknown"}}}
		d.Ready = false
		for i := range d.Sources {
			d.Sources[i].Up, d.Sources[i].Age = false, nil
			d.Unready = append(d.Unready, d.Sources[i].Name+": no answer for too long ()")
		}
	}), verdictWaiting},
	{"daemon_hangs", change(promoted(), func(d *agent.StatusDoc) { d.Time = before(5 * time.Minute) }), verdictProblem},
	{"first_installation_standby", change(standby(), func(d *agent.StatusDoc) {
		d.Record.Addr, d.Record.Owner, d.Record.Epoch, d.Record.Claim, d.Record.ResolverAddr = "", "", 0, "", nil
	}), verdictAttention},
	{"first_installation_no_database", change(standby(), func(d *agent.StatusDoc) {
		d.Record.Addr, d.Record.Owner, d.Record.Epoch, d.Record.Claim, d.Record.ResolverAddr = "", "", 0, "", nil
		d.Cluster.Promoted = []string{}
	}), verdictProblem},
	{"standby_while_peer_is_fenced", change(lost(standby(), 8*time.Second), func(d *agent.StatusDoc) { d.Cluster.Nodes[0].Unclean = new(true) }), verdictWaiting},
	{"standby_and_fencing_fails", change(lost(standby(), 8*time.Minute), func(d *agent.StatusDoc) { d.Cluster.Nodes[0].Unclean = new(true) }), verdictProblem},
	{"standby_out_of_date", change(standby(), func(d *agent.StatusDoc) {
		d.Drbd.Devices[0].Disk = "Inconsistent"
	}), verdictAttention},
	{"peer_resyncs", change(promoted(), func(d *agent.StatusDoc) {
		d.Drbd.Connections[0].PeerDevices[0] = drbd.DumpPeerDevice{Replication: "SyncSource", PeerDisk: "Inconsistent", Done: new(45.2), ETASeconds: new(190.0)}
	}), verdictAttention},
	{"postgres_in_crash_recovery", change(promoted(), func(d *agent.StatusDoc) {
		d.Postgres = agent.PostgresDoc{State: pg.StateStartingUp, Error: "the database system is starting up"}
		problem(d, "postgres", agent.Critical, "PostgreSQL on the promoted node: starting_up", "")
	}), verdictWaiting},
	{"postgres_down_on_promoted", change(promoted(), func(d *agent.StatusDoc) {
		d.Postgres = agent.PostgresDoc{State: pg.StateRefused, Error: "connection refused"}
		problem(d, "postgres", agent.Critical, "PostgreSQL on the promoted node: refused connection refused", "")
	}), verdictProblem},
	{"source_drbd_down_on_promoted", change(promoted(), func(d *agent.StatusDoc) {
		d.Drbd = nil
		down(d, "drbd", "drbdsetup: exit status 20", new(75.0))
	}), verdictProblem},
	{"route53_down_on_standby", change(standby(), func(d *agent.StatusDoc) {
		down(d, "route53", "read record: network: dial tcp: i/o timeout", new(700.0))
	}), verdictAttention},
	{"fencing_disabled", change(promoted(), func(d *agent.StatusDoc) {
		d.Cluster.FencingEnabled = new(false)
		problem(d, "fencing_disabled", agent.Critical, "fencing is disabled", "configure fence_aws and set stonith-enabled=true")
	}), verdictAttention},
	{"record_still_ours_after_switchover", change(standby(), func(d *agent.StatusDoc) {
		d.Record.Addr, d.Record.Owner, d.Record.ResolverAddr = ownAddr, "pg-b", new(ownAddr)
	}), verdictAttention},
}

func TestExplain(t *testing.T) {
	for _, c := range explainCases {
		t.Run(c.name, func(t *testing.T) {
			x := explain(c.doc, testNow, testTTL)
			if x.Verdict != c.want {
				t.Errorf("verdict %s, want %s", x.Verdict, c.want)
			}
			checkExplanation(t, x)
			var got bytes.Buffer
			printExplanation(&got, x)
			golden(t, filepath.Join("testdata", "explain", c.name+".txt"), got.String())
		})
	}
}

// checkExplanation holds what is true of every explanation.
func checkExplanation(t *testing.T, x explanation) {
	t.Helper()
	if x.Record == "" || x.Node == "" || x.WaitsFor == "" || x.Next == "" {
		t.Errorf("something is not said: %+v", x)
	}
	if (x.Verdict == verdictOK) != (x.Next == "Nothing to do.") {
		t.Errorf("verdict %s, and next %q", x.Verdict, x.Next)
	}
	if strings.Contains(x.Command, "--confirm") {
		t.Errorf("command %q: that is for a person who knows", x.Command)
	}
	data, err := json.Marshal(x)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(data, []byte("null")) {
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
	if err := printJSON(&got, explain(held(4*time.Minute, "peer_unclean"), testNow, testTTL)); err != nil {
		t.Fatal(err)
	}
	golden(t, filepath.Join("testdata", "explain", "held_by_peer_unclean_for_long.json"), got.String())
}

// Every hold that the core knows has its place in the order, and alone or in pairs gives a whole explanation.
func TestExplainKnowsEveryHold(t *testing.T) {
	if n := len(fsm.AllHolds()); len(holdAdvice) != n {
		t.Errorf("advice for %d holds of %d", len(holdAdvice), n)
	}
	for _, h := range fsm.AllHolds() {
		if _, a := (&explainer{StatusDoc: standby()}).adviceFor(agent.HoldDoc{Name: h.String()}); a.name == "" || a.waits == "" || a.next == "" || strings.HasPrefix(a.next, "See: ") {
			t.Errorf("no advice for hold %s", h)
		}
		for _, other := range fsm.AllHolds() {
			for _, ago := range []time.Duration{time.Second, time.Hour} {
				x := explain(held(ago, h.String(), other.String()), testNow, testTTL)
				checkExplanation(t, x)
				if ago == time.Hour && x.Verdict != verdictProblem && (!passesByClock(h) || !passesByClock(other)) {
					t.Errorf("%s and %s for an hour: %s", h, other, x.Verdict)
				}
			}
		}
	}
}

func passesByClock(h fsm.Hold) bool {
	return h == fsm.HoldStalled || h == fsm.HoldLostRace || h == fsm.HoldBackoff
}

// A status of a daemon of another version, or one that knows next to nothing, is no reason to fail.
func TestExplainNeedsNothing(t *testing.T) {
	for _, state := range append(agent.Publications, "", "nonsense") {
		checkExplanation(t, explain(&agent.StatusDoc{Time: testNow, Publication: agent.PublicationDoc{State: state}}, testNow, 0))
	}
}

func TestExplainWithoutDaemon(t *testing.T) {
	for name, err := range map[string]error{
		"no_daemon":   errors.New("ask the daemon at /run/pgha-agent/control.sock: connect: no such file or directory"),
		"may_not_ask": fmt.Errorf("ask the daemon at /run/pgha-agent/control.sock: connect: %w", syscall.EACCES),
	} {
		x := explainSilence(err)
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
	printExplanation(&got, explain(d, testNow, testTTL))
	if strings.ContainsAny(got.String(), "\x1b\r\u009b") {
		t.Errorf("control characters in %q", got.String())
	}
}
