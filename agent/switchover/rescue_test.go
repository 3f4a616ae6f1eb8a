package switchover

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pgha/pgha-agent/agent/explain"
	"github.com/pgha/pgha-agent/agent/status"
	"github.com/pgha/pgha-agent/crm"
	"github.com/pgha/pgha-agent/drbd"
	"github.com/pgha/pgha-agent/pg"
)

// hold makes pg-a, which has the database, one that does not publish.
func hold(names ...string) func(*Facts) {
	return func(f *Facts) {
		d := f.Peer
		d.Publication = status.PublicationDoc{State: status.PubHeld, Promotion: "c1"}
		for _, name := range names {
			d.Publication.Holds = append(d.Publication.Holds, status.HoldDoc{Name: name, Text: "text of " + name})
			d.Problems = append(d.Problems,
				status.Problem{Code: "held_" + name, Severity: status.Critical, Text: "not published: text of " + name})
		}
		f.record("pg-b", toAddr, 3)
	}
}

// contested makes pg-a one whose record another claim took: that of pg-b, which is not promoted.
func contested(f *Facts) {
	f.Peer.Publication = status.PublicationDoc{State: status.PubContested, Promotion: "c1", Epoch: 4}
	f.Peer.Problems = []status.Problem{{Code: "contested", Severity: status.Critical, Text: "another node claimed the record"}}
	f.Peer.Episode.Outcome = "contested"
	f.record("pg-b", toAddr, 5)
}

func (f *Facts) record(owner, addr string, epoch uint64) {
	for _, d := range []*status.Doc{f.Status, f.Peer} {
		r := &d.Record
		r.Addr, r.ResolverAddr, r.Owner, r.Epoch, r.Claim, r.Read = addr, new(addr), owner, epoch, "c2", new(noon)
	}
}

// disk makes that of pg-a one that is not good, as both kernels see it.
func disk(state drbd.DiskState) func(*Facts) {
	return func(f *Facts) {
		f.Peer.Drbd.Devices[0].Disk = state
		f.Status.Drbd.Connections[0].PeerDevices[0].PeerDisk = state
	}
}

// seenFrom turns the facts around: the command runs on pg-a.
func (f *Facts) seenFromSource() { f.Node, f.Status, f.Peer = "pg-a", f.Peer, f.Status }

// TestRescue: a rescue goes on where the move itself mends what is wrong, and nowhere else. What it overrides refuses a
// planned move, which says so.
func TestRescue(t *testing.T) {
	both := func(a, b func(*Facts)) func(*Facts) { return func(f *Facts) { a(f); b(f) } }
	noPeer := func(f *Facts) { f.Status.Drbd.Connections[0].Connection = drbd.ConnConnecting }
	for name, c := range map[string]struct {
		plant      func(*Facts)
		overridden []string // by --rescue
		refused    []string // whatever is typed
	}{
		"healthy":          {func(*Facts) {}, nil, nil},
		"contested":        {contested, []string{"record"}, nil},
		"identity unknown": {hold("identity_unknown"), []string{"record"}, nil},
		"between two looks": {hold("crm_unknown", "identity_unknown"), []string{"record"},
			nil},
		"credentials denied here": {both(hold("api_backoff"), func(f *Facts) {
			f.Peer.Problems = append(f.Peer.Problems, status.Problem{Code: "source_route53", Severity: status.Warning, Text: "denied"})
			f.Peer.Episode.Outcome = "open"
		}), []string{"episode", "record"}, nil},
		"own disk is bad":               {both(disk(drbd.DiskDiskless), hold("drbd_not_uptodate")), []string{"drbd", "record"}, nil},
		"diskless":                      {disk(drbd.DiskDiskless), []string{"drbd"}, nil},
		"failed":                        {disk(drbd.DiskFailed), []string{"drbd"}, nil},
		"contested and diskless":        {both(contested, disk(drbd.DiskDiskless)), []string{"drbd", "record"}, nil},
		"it resyncs":                    {disk(drbd.DiskInconsistent), nil, []string{"drbd"}},
		"it is old":                     {disk(drbd.DiskOutdated), nil, []string{"drbd"}},
		"held, and the next in line":    {both(hold("identity_unknown"), func(f *Facts) { f.Peer.Problems[0].Code = "held_record_refused" }), nil, []string{"record"}},
		"a foreign record":              {hold("record_refused", "identity_unknown"), nil, []string{"record"}},
		"held by a split brain":         {hold("split_brain"), nil, []string{"record"}},
		"peer unfenced":                 {hold("peer_unfenced"), nil, []string{"record"}},
		"suspended":                     {hold("drbd_suspended", "identity_unknown"), nil, []string{"record"}},
		"no quorum":                     {hold("drbd_no_quorum"), nil, []string{"record"}},
		"what only a newer daemon says": {hold("moon_phase"), nil, []string{"record"}},
		"about to write":                {hold(), nil, []string{"record"}},
		"published, not observed":       {func(f *Facts) { f.Peer.Publication.State = status.PubPublished }, nil, []string{"record"}},
		"the target cannot publish": {both(contested, func(f *Facts) {
			f.Status.Problems = []status.Problem{{Code: "source_route53", Severity: status.Warning, Text: "denied"}}
		}), nil, []string{"record"}},
		"the target has no address":     {both(contested, func(f *Facts) { f.Status.Record.OwnAddr = "" }), nil, []string{"record"}},
		"an episode of the target":      {both(contested, func(f *Facts) { f.Status.Episode.Outcome = "open" }), []string{"record"}, []string{"episode"}},
		"an episode of a healthy one":   {func(f *Facts) { f.Peer.Episode.Outcome = "open" }, nil, []string{"episode"}},
		"diskless, and the copy is old": {both(disk(drbd.DiskDiskless), func(f *Facts) { f.Status.Drbd.Devices[0].Disk = drbd.DiskOutdated }), nil, []string{"drbd"}},
		"held by what has no problem beside it": {both(hold("identity_unknown"), func(f *Facts) {
			f.Peer.Publication.Holds = append(f.Peer.Publication.Holds, status.HoldDoc{Name: "moon_phase"})
		}), nil, []string{"record"}},
		"the target says that it is contested": {func(f *Facts) {
			f.Status.Publication.State = status.PubContested
			f.Status.Problems = []status.Problem{{Code: "contested", Severity: status.Critical, Text: "contested"}}
		}, nil, []string{"record"}},
		"the target is diskless": {func(f *Facts) { f.Status.Drbd.Devices[0].Disk = drbd.DiskDiskless }, nil, []string{"drbd"}},
		"diskless, and apart":    {both(disk(drbd.DiskDiskless), noPeer), nil, []string{"drbd"}},
		"diskless, and nothing is known of the peer": {both(disk(drbd.DiskDiskless), func(f *Facts) {
			f.Status.Drbd.Connections[0].PeerDevices = nil
		}), nil, []string{"drbd"}},
		"diskless, and a split brain": {both(disk(drbd.DiskDiskless), func(f *Facts) {
			f.Status.Drbd.Connections[0].SplitBrain = "latched"
		}), nil, []string{"drbd"}},
		"diskless, and suspended":  {both(disk(drbd.DiskDiskless), func(f *Facts) { f.Status.Drbd.Suspended = []string{"no-data"} }), nil, []string{"drbd"}},
		"contested, split brain":   {both(contested, func(f *Facts) { f.Status.Drbd.Connections[0].SplitBrain = "latched" }), []string{"record"}, []string{"drbd"}},
		"contested, copy is old":   {both(contested, func(f *Facts) { f.Status.Drbd.Devices[0].Disk = drbd.DiskInconsistent }), []string{"record"}, []string{"drbd"}},
		"contested, apart":         {both(contested, noPeer), []string{"record"}, []string{"drbd"}},
		"contested, away":          {both(contested, func(f *Facts) { f.Cluster.Nodes[1].Online = crm.No }), []string{"record"}, []string{"nodes"}},
		"contested, unclean":       {both(contested, func(f *Facts) { f.Cluster.Nodes[1].Unclean = crm.Yes }), []string{"record"}, []string{"nodes"}},
		"contested, unclean here":  {both(contested, func(f *Facts) { f.Cluster.Nodes[0].Unclean = crm.Yes }), []string{"record"}, []string{"nodes"}},
		"contested, maintenance":   {both(contested, func(f *Facts) { f.Cluster.MaintenanceMode = crm.Yes }), []string{"record"}, []string{"maintenance"}},
		"contested, both promoted": {both(contested, func(f *Facts) { f.Cluster.Resources[1].Role = crm.RolePromoted }), nil, []string{"one_promoted"}},
		"contested, paused":        {both(contested, func(f *Facts) { f.Status.Publication.PausedUntil = new(noon.Add(time.Hour)) }), []string{"record"}, []string{"pause"}},
	} {
		t.Run(name, func(t *testing.T) {
			f := healthy()
			c.plant(&f)
			planned := MakePlan(f)
			f.Rescue = true
			rescue := MakePlan(f)
			all := slices.Concat(c.overridden, c.refused)
			slices.Sort(all)
			refused := names(planned.Refused())
			if slices.Sort(refused); !slices.Equal(refused, slices.Compact(all)) {
				t.Errorf("planned: refused %v, want %v", refused, all)
			}
			if got := names(rescue.Overridden()); !slices.Equal(got, c.overridden) {
				t.Errorf("overridden %v, want %v", got, c.overridden)
			}
			if got := names(rescue.Refused()); !slices.Equal(got, c.refused) {
				t.Errorf("refused %v, want %v", got, c.refused)
			}
			for i, check := range planned.Checks {
				if r := rescue.Checks[i]; check.Text != r.Text || check.Rescue != r.Rescue || check.Name != r.Name {
					t.Errorf("planned %+v, rescue %+v", check, r)
				}
				if check.Verdict == Fail && slices.Contains(c.overridden, check.Name) && check.Name != "episode" &&
					!strings.Contains(check.Rescue, "Risk: ") {
					t.Errorf("no risk is said: %+v", check)
				}
				if check.Verdict == Fail && check.Remedy == "" {
					t.Errorf("no way out: %+v", check)
				}
			}
		})
	}
}

func names(checks []Check) (names []string) {
	for _, c := range checks {
		names = append(names, c.Name)
	}
	return names
}

// TestRescueSeenFromTheSource judges the same as on the target, unless the target's agent cannot be asked.
func TestRescueSeenFromTheSource(t *testing.T) {
	for name, plant := range map[string]func(*Facts){"contested": contested, "diskless": disk(drbd.DiskDiskless)} {
		f := healthy()
		plant(&f)
		f.Rescue = true
		want := names(MakePlan(f).Overridden())
		f.seenFromSource()
		p := MakePlan(f)
		if got := names(p.Overridden()); len(p.Refused()) > 0 || !slices.Equal(got, want) {
			t.Errorf("%s: refused %+v, overridden %v, want %v", name, p.Refused(), got, want)
		}
		f.Peer = nil
		p = MakePlan(f)
		if got := p.Refused(); !slices.Equal(names(got), want) || !strings.HasPrefix(got[0].Remedy, "run this on pg-b") {
			t.Errorf("%s: the target is not known: %+v", name, got)
		}
	}
}

// TestConfirm: what came up while the question stood was not agreed to.
func TestConfirm(t *testing.T) {
	f := healthy()
	f.Rescue = true
	contested(&f)
	agreed := MakePlan(f)
	again := MakePlan(f)
	if again.Confirm(agreed); len(again.Refused()) > 0 {
		t.Errorf("nothing has changed: %+v", again.Refused())
	}
	disk(drbd.DiskDiskless)(&f)
	again = MakePlan(f)
	if again.Confirm(agreed); !slices.Equal(names(again.Refused()), []string{"drbd"}) {
		t.Errorf("refused %+v, want drbd", again.Refused())
	}
}

// asked is what the judgment of a node is made of, when the command has these facts.
func asked(f Facts) explain.Facts {
	return explain.Facts{Now: f.Now, Node: f.Node, Clone: f.Clone, Own: f.Status, TTL: 10 * time.Second, Cluster: f.Cluster,
		Config: f.Config, Peers: map[string]*status.Doc{f.Peer.Node: f.Peer}}
}

// TestWhatExplainNamesIsNotRefused goes the whole circle at the level of documents: the status of a node, the next step
// of its judgment, and the checks of the command that this names.
func TestWhatExplainNamesIsNotRefused(t *testing.T) {
	for name, c := range map[string]struct {
		plant func(*Facts)
		next  string
	}{
		"contested":        {contested, "move the database once"},
		"identity unknown": {hold("identity_unknown"), "move the database once"},
		"diskless":         {disk(drbd.DiskDiskless), "The disk of DRBD is Diskless on pg-a"},
		"promoted with a lost disk": {func(f *Facts) { disk(drbd.DiskFailed)(f); hold("drbd_not_uptodate")(f) },
			"The disk of DRBD is Failed on pg-a"},
	} {
		t.Run(name, func(t *testing.T) {
			f := healthy()
			for i, d := range []*status.Doc{f.Status, f.Peer} {
				d.Cluster = &status.ClusterDoc{Promoted: []string{"pg-a"}}
				d.Postgres.State = []pg.State{pg.StateRefused, pg.StateWritable}[i]
				d.Drbd.Connections[0].Name = []string{"pg-a", "pg-b"}[i]
			}
			c.plant(&f)
			f.seenFromSource()
			x := explain.Judge(asked(f))
			if x.Command != explain.Rescue || !strings.Contains(x.Next, c.next) {
				t.Fatalf("next %q, command %q", x.Next, x.Command)
			}
			p := MakePlan(f)
			if len(p.Refused()) == 0 {
				t.Error("a planned move would do")
			}
			f.Rescue = true
			if p = MakePlan(f); len(p.Refused()) > 0 {
				t.Errorf("refused: %+v", p.Refused())
			}
			// It cannot work while the other node is away: then that is the next step, and the command comes after it.
			f.Cluster.Nodes[1].Online, f.Peer, f.PeerErr = crm.No, nil, nil
			f.Status.Drbd.Connections[0].Connection = drbd.ConnConnecting
			if MakePlan(f).Refused() == nil {
				t.Error("not refused without the other node")
			}
			facts := asked(Facts{Now: f.Now, Node: f.Node, Clone: f.Clone, Status: f.Status, Cluster: f.Cluster, Config: f.Config,
				Peer: &status.Doc{Node: "pg-c"}})
			facts.Peers = nil
			if x := explain.Judge(facts); x.Command == explain.Rescue {
				t.Errorf("without the other node: next %q, command %q", x.Next, x.Command)
			}
		})
	}
}

// TestMoveOfARescue: a contested record may point at the target all the time. It says nothing before the role is there.
func TestMoveOfARescue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := healthy()
		contested(&f)
		f.Rescue = true
		p := MakePlan(f)
		if p.Address != toAddr || p.Next != toAddr || !strings.Contains(strings.Join(p.Steps, " "), "claims db.pgha.internal anew") {
			t.Fatalf("plan %+v", p)
		}
		var lines []string
		w := &fakeWorld{here: "pg-b", named: toAddr}
		m := Mover{World: w, Node: "pg-b", Timeout: time.Minute,
			Say: func(at time.Duration, line string) { lines = append(lines, at.Round(time.Second/2).String()+" "+line) }}
		res, err := m.Move(t.Context(), p)
		if err != nil || res.State != Moved || w.stands {
			t.Fatalf("%+v, %v\n%s", res, err, strings.Join(lines, "\n"))
		}
		if res.Seconds < 8 {
			t.Errorf("done after %.1f s, before PostgreSQL works on pg-b\n%s", res.Seconds, strings.Join(lines, "\n"))
		}
	})
}
