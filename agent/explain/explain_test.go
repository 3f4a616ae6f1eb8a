package explain

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pgha/pgha-agent/agent/fsm"
	"github.com/pgha/pgha-agent/agent/status"
	"github.com/pgha/pgha-agent/drbd"
	"github.com/pgha/pgha-agent/pg"
)

const (
	testTTL  = 10 * time.Second
	ownClaim = "c4845f66-eb00-5e7f-8bdf-8d73d4762ff4"
)

var testNow = time.Date(2026, 11, 23, 5, 50, 0, 0, time.UTC)

// promoted is the status of pg-b, which has published and sees its peer. edit makes a case of it.
func promoted(edit ...func(*status.Doc)) *status.Doc {
	d := &status.Doc{
		Node: "pg-b", Time: testNow, Ready: true,
		Publication: status.PublicationDoc{State: status.PubObserved, Promotion: ownClaim, Epoch: 4},
		Cluster: &status.ClusterDoc{Promoted: []string{"pg-b"}, Nodes: []status.NodeDoc{
			{Name: "pg-a", Online: new(true), Unclean: new(false)}, {Name: "pg-b", Online: new(true), Unclean: new(false)},
		}},
		Drbd: &drbd.DumpResource{Devices: []drbd.DumpDevice{{Disk: drbd.DiskUpToDate}}, Connections: []drbd.DumpConnection{
			{Name: "pg-a", Connection: drbd.ConnConnected, PeerDevices: []drbd.DumpPeerDevice{{PeerDisk: drbd.DiskUpToDate}}},
		}, Role: drbd.RolePrimary},
		Postgres: status.PostgresDoc{State: pg.StateWritable},
		Record: status.RecordDoc{Name: "db.pgha.internal", OwnAddr: "10.0.2.10", Addr: "10.0.2.10", Owner: "pg-b", Epoch: 4,
			Claim: ownClaim, Read: new(testNow), ResolverAddr: new("10.0.2.10")},
	}
	for _, name := range []string{"drbd", "crm", "postgres", "route53", "resolver"} {
		d.Sources = append(d.Sources, status.SourceDoc{Name: name, Up: true, Age: new(2.0)})
	}
	for _, f := range edit {
		f(d)
	}
	return d
}

// standby makes it the node that is not promoted.
func standby(d *status.Doc) {
	d.Publication, d.Cluster.Promoted = status.PublicationDoc{State: status.PubIdle}, []string{"pg-a"}
	d.Record.Addr, d.Record.Owner, d.Record.ResolverAddr = "10.0.1.10", "pg-a", new("10.0.1.10")
}

// failover makes it one with a failover that began some time ago.
func failover(ago time.Duration) func(*status.Doc) {
	return func(d *status.Doc) {
		d.Episode = &status.EpisodeDoc{ID: 1, Cause: "node_lost", Outcome: "open", Start: testNow.Add(-ago)}
	}
}

// held makes it one that does not publish.
func held(holds ...string) func(*status.Doc) {
	return func(d *status.Doc) {
		d.Publication = status.PublicationDoc{State: status.PubHeld, Promotion: ownClaim}
		for _, h := range holds {
			d.Publication.Holds = append(d.Publication.Holds, status.HoldDoc{Name: h, Text: "text of " + h})
		}
	}
}

func finding(code, severity string) func(*status.Doc) {
	return func(d *status.Doc) {
		d.Problems = append(d.Problems, status.Problem{Code: code, Severity: severity, Text: "text of " + code})
	}
}

// check holds what is true of every explanation.
func check(t *testing.T, x Explanation) {
	t.Helper()
	if x.Record == "" || x.Node == "" || x.WaitsFor == "" || x.Next == "" {
		t.Errorf("something is not said: %+v", x)
	}
	if (x.Verdict == OK) != (x.Next == "Nothing to do.") {
		t.Errorf("verdict %s, and next %q", x.Verdict, x.Next)
	}
	commands := Commands(&x)
	if strings.Contains(strings.Join(commands, "\n"), "--confirm") {
		t.Errorf("commands %q: that is for a person who knows", commands)
	}
	if x.Command != "" && (len(commands) == 0 || commands[0] != x.Command) {
		t.Errorf("commands %q, the first is %q", commands, x.Command)
	}
	data, err := json.Marshal(x)
	said := bytes.Replace(data, []byte(`"possible":null`), nil, 1) // not known is an answer there
	if err != nil || bytes.Contains(said, []byte("null")) {
		t.Errorf("%s, %v", data, err)
	}
}

// TestNextStepHasAllItsCommands: a text that speaks of the second command shows it.
func TestNextStepHasAllItsCommands(t *testing.T) {
	f := world(t)
	server(pg.StateTimeout)(f)
	x := Judge(*f)
	if got := Commands(&x); len(got) != 2 || !strings.HasPrefix(got[1], "pkill -CONT") {
		t.Errorf("%q of %q", got, x.Next)
	}
	if got := Commands(&Explanation{Command: "crm_mon -1"}); len(got) != 1 {
		t.Errorf("a step of no finding: %q", got)
	}
	if got := Commands(&Explanation{}); len(got) != 0 {
		t.Errorf("no command: %q", got)
	}
}

// TestAgentInTroubleIsTold: the agent that would publish after a failover cannot, and the other one says so.
func TestAgentInTroubleIsTold(t *testing.T) {
	f := world(t)
	f.Own.Problems = []status.Problem{{Code: "crm_slow", Severity: status.Critical, Text: "crm_mon took 8 s"}}
	f.Node, f.Own, f.Peers = "pg-a", f.Peers["pg-a"], map[string]*status.Doc{"pg-b": f.Own}
	x := Judge(*f)
	if x.Verdict != Attention || !strings.Contains(x.Next, "pg-b: crm_mon took 8 s") {
		t.Errorf("%s, %s", x.Verdict, x.Next)
	}
}

// TestSentence: what a text begins with stays as it is when it is a name.
func TestSentence(t *testing.T) {
	for text, want := range map[string]string{
		"mend it: ": "Mend it.", "pg-a is lost": "pg-a is lost.", "node1 is lost": "node1 is lost.",
		"db.pgha.internal leads elsewhere": "db.pgha.internal leads elsewhere.", "/srv/pg is full": "/srv/pg is full.", "": "",
		"ändere": "Ändere.",
	} {
		if got := Sentence(text); got != want {
			t.Errorf("%q: %q", text, got)
		}
	}
}

// TestYoungByEitherAgent: the node that the database leaves has no episode, and tells the same.
func TestYoungByEitherAgent(t *testing.T) {
	for _, side := range []string{"pg-b", "pg-a"} {
		f := world(t)
		f.nobodyPromoted()
		f.Own.Episode = &status.EpisodeDoc{ID: 1, Outcome: "open", Start: testNow.Add(-10 * time.Second)}
		if side == "pg-a" {
			f.Node, f.Own, f.Peers = "pg-a", f.Peers["pg-a"], map[string]*status.Doc{"pg-b": f.Own}
		}
		if x := Judge(*f); x.Verdict != Waiting {
			t.Errorf("%s: %s, %s", side, x.Verdict, x.Next)
		}
	}
}

// episodeOf is the episode of this promotion, which published with an epoch.
func episodeOf(epoch uint64) func(*status.Doc) {
	return func(d *status.Doc) {
		d.Publication.Promotion = ownClaim
		d.Episode = &status.EpisodeDoc{ID: 7, Outcome: "complete", Promotion: ownClaim, Epoch: epoch,
			Start: testNow.Add(-time.Hour), Phases: []status.PhaseDoc{{Phase: "dns_accepted", At: testNow.Add(-time.Hour)}}}
	}
}

// TestVerdict holds the verdict and the next step: those of the worst thing, and the first of several that are equal.
func TestVerdict(t *testing.T) {
	for name, c := range map[string]struct {
		doc      *status.Doc
		want     Verdict
		next, in string // the next step; words of a note, of the record's part or of the node's
	}{
		"healthy": {promoted(), OK, "Nothing to do.", "has published its address"},
		"standby": {promoted(standby), OK, "Nothing to do.", "nothing to publish here"},
		"hangs": {promoted(func(d *status.Doc) { d.Time = testNow.Add(-time.Minute) }), Problem,
			"The daemon answers, but it hangs", "1 min 0 s ago"},
		"a failover's hold at first": {promoted(held("peer_unclean"), failover(10*time.Second)), Waiting, "Wait",
			"does not publish"},
		"a failover's hold for long": {promoted(held("peer_unclean"), failover(2*time.Minute)), Problem,
			"Find out why the other node is not fenced", "does not publish"},
		"a hold outside of a failover": {promoted(held("peer_unclean")), Problem,
			"Find out why the other node is not fenced", "does not publish"},
		"a hold and a finding": {promoted(held("paused"), finding("http", status.Critical)), Problem,
			"End the pause", "text of http"},
		"what stands is no next step": {promoted(finding("fencing_disabled", status.Critical),
			finding("clone_missing", status.Critical)), Problem, "Text of clone_missing", "text of fencing_disabled"},
		"what stands, alone": {promoted(finding("config_warning", status.Warning)), Attention, "Nothing to do now",
			"text of config_warning"},
		"a fault of the agent alone": {promoted(func(d *status.Doc) {
			d.Problems = append(d.Problems, status.Problem{Code: "journal", Severity: status.Warning,
				Text: "episodes cannot be saved: no space left on device", Remedy: "free space, `df -h /var/lib/pgha-agent`"})
		}), Attention, "Episodes cannot be saved: no space left on device. Free space", "episodes cannot be saved"},
		"denied needs a person at once": {promoted(held("api_backoff"), failover(time.Second), func(d *status.Doc) {
			d.Publication.Attempts, d.Publication.LastFailure = 1, "denied"
		}), Problem, "See why the API", "Failed writes in a row: 1"},
		"throttled does not": {promoted(held("api_backoff"), failover(time.Second), func(d *status.Doc) {
			d.Publication.Attempts, d.Publication.LastFailure = 1, "throttled"
		}), Waiting, "Wait", "Failed writes in a row: 1"},
		"crash recovery": {promoted(finding("postgres", status.Critical),
			func(d *status.Doc) { d.Postgres.State = pg.StateStartingUp }), Waiting, "Wait", "has published"},
		"written again": {promoted(episodeOf(1), func(d *status.Doc) { d.Publication.Epoch = 4 }), OK, "Nothing to do",
			"published it (epoch 4), and has written it again since epoch 1, promotion"},
		"written once": {promoted(episodeOf(4), func(d *status.Doc) { d.Publication.Epoch = 4 }), OK, "Nothing to do",
			"published it (epoch 4) at "},
		"no address for the resolver": {promoted(func(d *status.Doc) {
			d.Publication.State, d.Record.ResolverAddr = status.PubPublished, new("")
		}), Attention, "Ask the resolver yourself", "there is no address: it remembers that for up to 15 minutes"},
		"drift": {promoted(func(d *status.Doc) { d.Record.Drift = true }), Problem, "Find out who changed the zone",
			"CHANGED BY SOMEBODY ELSE"},
		"local disk": {promoted(func(d *status.Doc) { d.Drbd.Devices[0].Disk = drbd.DiskInconsistent }), Attention,
			"The disk of DRBD is Inconsistent on pg-b", "has published"},
		"connection": {promoted(func(d *status.Doc) {
			d.Drbd.Connections[0].Connection, d.Drbd.Connections[0].SplitBrain = drbd.ConnStandAlone, "suspected"
		}), Attention,
			"DRBD is not connected to pg-a (StandAlone): its data are behind; it may be a split brain", "has published"},
		"peer's disk": {promoted(func(d *status.Doc) {
			d.Drbd.Connections[0].PeerDevices[0].PeerDisk = drbd.DiskOutdated
		}), Attention, "The disk of pg-a is Outdated", "has published"},
	} {
		x := Status(c.doc, testNow, testTTL)
		check(t, x)
		all := strings.Join(append(x.Notes, x.Record, x.Node), "\n")
		for _, f := range x.Findings {
			all += "\n" + f.Text
		}
		if x.Verdict != c.want || !strings.HasPrefix(x.Next, c.next) || !strings.Contains(all, c.in) {
			t.Errorf("%s: %s, next %q; want %s, %q and %q in\n%s", name, x.Verdict, x.Next, c.want, c.next, c.in, all)
		}
	}
}

// TestOrder: a fault comes before a person's choice, and what passes by itself is last, whatever the table says.
func TestOrder(t *testing.T) {
	d := promoted(held("paused", "peer_unclean", "moon_phase", "drbd_not_uptodate"), failover(time.Second))
	var got []string
	for _, h := range Status(d, testNow, testTTL).Holds {
		got = append(got, h.Name)
	}
	if want := "drbd_not_uptodate moon_phase paused peer_unclean"; strings.Join(got, " ") != want {
		t.Errorf("%v, want %s", got, want)
	}
	if d.Publication.Holds[0].Name != "paused" {
		t.Error("the document was changed")
	}
}

// TestEveryHold: each hold of the core, alone or in pairs, gives a whole explanation; after an hour it is a problem.
func TestEveryHold(t *testing.T) {
	passesByClock := func(h fsm.Hold) bool { // crm_unknown while crm_mon answers: the next look ends it
		return h == fsm.HoldStalled || h == fsm.HoldLostRace || h == fsm.HoldBackoff || h == fsm.HoldCrmUnknown
	}
	for _, h := range fsm.AllHolds() {
		for _, other := range fsm.AllHolds() {
			for _, ago := range []time.Duration{time.Second, time.Hour} {
				x := Status(promoted(held(h.String(), other.String()), failover(ago)), testNow, testTTL)
				check(t, x)
				if ago == time.Hour && x.Verdict != Problem && (!passesByClock(h) || !passesByClock(other)) {
					t.Errorf("%s and %s for an hour: %s", h, other, x.Verdict)
				}
			}
		}
	}
}

// TestCrmUnknown: a picture of the cluster that is between two looks needs nobody; one that no look follows does.
func TestCrmUnknown(t *testing.T) {
	for name, c := range map[string]struct {
		edit func(*status.SourceDoc)
		want Verdict
	}{
		"between two looks": {func(*status.SourceDoc) {}, Waiting},
		"down":              {func(s *status.SourceDoc) { s.Up, s.Error, s.Failures = false, "no answer", 3 }, Problem},
		"hangs":             {func(s *status.SourceDoc) { s.Stale = true }, Problem},
	} {
		x := Status(promoted(held("crm_unknown"), func(d *status.Doc) { c.edit(&d.Sources[1]) }), testNow, testTTL)
		if check(t, x); x.Verdict != c.want {
			t.Errorf("%s: %s, %q", name, x.Verdict, x.Next)
		}
	}
}

// TestNeedsNothing: a daemon of another version, or one that knows next to nothing, gives an explanation too.
func TestNeedsNothing(t *testing.T) {
	for _, state := range append(status.Publications, "", "nonsense") {
		check(t, Status(&status.Doc{Time: testNow, Publication: status.PublicationDoc{State: state}}, testNow, 0))
	}
}

// TestSilence: without the daemon the database is judged by what is seen without it, and gives the next step when it is
// down. What is not seen is not known.
func TestSilence(t *testing.T) {
	silent := errors.New("no socket")
	for name, c := range map[string]struct {
		plant         func(*Facts)
		clients       status.ClientsState
		next, command string
		possible      string
	}{
		"nothing was looked at": {nil, status.ClientsUnknown, "The daemon does not answer", "systemctl restart pgha-agent", "?"},
		"all is well":           {func(*Facts) {}, status.ClientsServed, "The daemon does not answer", "systemctl restart pgha-agent", "yes"},
		"nothing could be seen": {func(f *Facts) {
			f.Own, f.Cluster, f.Config, f.Peers = &status.Doc{Node: "pg-b"}, nil, nil, nil
		}, status.ClientsUnknown, "The daemon does not answer", "systemctl restart pgha-agent", "?"},
		"PostgreSQL hangs": {func(f *Facts) {
			f.Peers["pg-a"].Postgres = status.PostgresDoc{State: pg.StateTimeout, Error: "no answer in time"}
			cutOff(f, pg.StateTimeout, "no answer in time")
		}, status.ClientsCutOff, "PostgreSQL on pg-a takes no new connection", "ps -o pid,stat,wchan:20,cmd -C postgres", "yes"},
		"nobody promoted": {func(f *Facts) { f.nobodyPromoted() }, status.ClientsCutOff, "No node is promoted",
			"crm_simulate --live-check --show-scores", "yes"},
		"the other agent is away too, and DRBD is not connected": {func(f *Facts) {
			f.Peers, f.Errs = nil, map[string]string{"pg-a": "connection refused"}
			f.Own.Drbd.Connections[0].Connection = drbd.ConnConnecting
		}, status.ClientsServed, "The daemon does not answer", "systemctl restart pgha-agent", "no"},
	} {
		f := world(t)
		if c.plant == nil {
			*f = Facts{}
		} else {
			c.plant(f)
		}
		x := Silence(silent, *f)
		check(t, x)
		possible := "?"
		if p := x.Failover.Possible; p != nil {
			possible = map[bool]string{true: "yes", false: "no"}[*p]
		}
		if x.Verdict != Problem || x.Database.State != c.clients || !strings.HasPrefix(x.Next, c.next) ||
			x.Command != c.command || possible != c.possible {
			t.Errorf("%s: %s, clients %s, failover %s, next %q %q", name, x.Verdict, x.Database.State, possible, x.Next, x.Command)
		}
	}
	x := Silence(fmt.Errorf("dial: %w", syscall.ECONNREFUSED), Facts{})
	if !strings.HasPrefix(x.Next, "The daemon does not run. Start it") || x.Command != "systemctl restart pgha-agent" {
		t.Errorf("%q, %q", x.Next, x.Command)
	}
	if AddBroken(&x); x.Command != "pgha-agent check-config" || !strings.Contains(x.Next, "systemctl restart pgha-agent") {
		t.Errorf("%q, %q", x.Next, x.Command)
	}
	if x := Silence(fs.ErrPermission, Facts{}); x.Verdict != Problem || x.Command != "sudo pgha-agent explain" {
		t.Errorf("%s, %q", x.Verdict, x.Command)
	}
}

// TestGiven: a daemon that hangs, or says no judgment, is judged here.
func TestGiven(t *testing.T) {
	given := Explanation{Verdict: Waiting}
	d := promoted(func(d *status.Doc) { d.Judgment = &given })
	if x := Given(d, testNow, testTTL); x.Verdict != Waiting {
		t.Errorf("%s", x.Verdict)
	}
	if x := Given(d, testNow.Add(time.Minute), testTTL); x.Verdict != Problem {
		t.Errorf("hangs: %s", x.Verdict)
	}
	if x := Given(promoted(), testNow, testTTL); x.Verdict != OK {
		t.Errorf("says none: %s", x.Verdict)
	}
}

// TestEachThingIsTold: what somebody has read in the sentences and the next step is not among the rest, and all else is.
func TestEachThingIsTold(t *testing.T) {
	banned := status.Finding{Code: "banned", Text: "constraint x keeps drbd from pg-b", Remedy: "remove it"}
	score := status.Finding{Code: "promotion_score", Text: "no score"}
	x := Explanation{
		Database: status.Database{Text: "Clients can write."},
		Failover: status.Failover{Text: "It could NOT fail over: constraint x keeps drbd from pg-b.",
			Reasons: []status.Finding{banned, score}},
		Findings: []status.Finding{{Code: "filesystem_fills", Text: "/srv fills"}, {Code: "again", Text: "/srv fills"}},
		Next:     "Constraint x keeps drbd from pg-b. Remove it.",
	}
	var codes []string
	for _, f := range Untold(&x) {
		codes = append(codes, f.Code)
	}
	if got := strings.Join(codes, " "); got != "filesystem_fills promotion_score" {
		t.Errorf("untold: %s", got)
	}
	if got := Step(&x); got != "Remove it." {
		t.Errorf("step %q", got)
	}
	x.Failover.Text = "It could fail over."
	if got := Step(&x); got != x.Next {
		t.Errorf("step %q", got)
	}
}

// TestCommands: the next step has all commands of its finding, since its words may count them.
func TestCommands(t *testing.T) {
	two := status.Finding{Text: "it hangs", Remedy: "stop it; then start it", Commands: []string{"stop", "start"}}
	x := Explanation{Next: "It hangs. Stop it; then start it.", Command: "stop", Findings: []status.Finding{two}}
	if got := Commands(&x); !slices.Equal(got, two.Commands) {
		t.Errorf("of a finding: %q", got)
	}
	x.Next = "End the pause."
	if got := Commands(&x); !slices.Equal(got, []string{"stop"}) {
		t.Errorf("of something else: %q", got)
	}
	if got := Commands(&Explanation{Next: "It hangs. Wait.", Findings: x.Findings}); got != nil {
		t.Errorf("without a command: %q", got)
	}
}

// TestAddLeftover: what a switchover left needs attention, and hides nothing that is worse.
func TestAddLeftover(t *testing.T) {
	x := Status(promoted(), testNow, testTTL)
	if AddLeftover(&x, "", "undo", nil); x.Verdict != OK {
		t.Errorf("nothing is left: %+v", x)
	}
	if AddLeftover(&x, "It is there", "undo", nil); x.Verdict != Attention || x.Command != "undo" {
		t.Errorf("%+v", x)
	}
	x = Status(promoted(held("paused")), testNow, testTTL)
	if AddLeftover(&x, "It is there", "undo", nil); x.Verdict != Problem || x.Command == "undo" || len(x.Findings) != 1 ||
		x.Findings[0].Commands[0] != "undo" {
		t.Errorf("%+v", x)
	}
}

// FuzzStatus takes any document for the daemon's: one of another version, or of another program at the socket.
func FuzzStatus(f *testing.F) {
	for _, d := range []*status.Doc{{}, promoted(), promoted(standby), promoted(held("peer_unclean"))} {
		data, err := json.Marshal(d)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte(`{"cluster":{"nodes":[{}]},"drbd":{"connections":[{}]},"episode":{},"client":{},"sources":[{}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var doc status.Doc
		if json.Unmarshal(data, &doc) == nil {
			check(t, Status(&doc, testNow, testTTL))
		}
	})
}
