package sim

import (
	"bytes"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pgha/pgha-agent/route53"
)

// seeds is small, so that `go test ./...` stays quick; `make sim` runs as many as one has time for.
var seeds = flag.Int("seeds", 60, "random scenarios to run")

// TestScenarios runs what is kept in testdata: scenarios that once were wrong, and those that docs/safety.md leans on. Each says in its
// comment what to look at.
func TestScenarios(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no scenarios", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			s, err := Parse(string(text))
			if err != nil {
				t.Fatal(err)
			}
			var story bytes.Buffer
			if r := Run(s, &story); r.Violation != "" {
				t.Errorf("%s\n%s", r.Violation, story.String())
			}
			for line := range strings.Lines(string(text)) {
				if want, is := strings.CutPrefix(line, "# tells: "); is && !strings.Contains(story.String(), strings.TrimSpace(want)) {
					t.Errorf("the story does not tell %q:\n%s", strings.TrimSpace(want), story.String())
				}
			}
		})
	}
}

// TestSeeds runs random scenarios.
func TestSeeds(t *testing.T) {
	began := time.Now()
	promotions := 0
	for seed := range uint64(*seeds) {
		if time.Since(began) > time.Minute {
			t.Logf("stopped after %d of %d seeds: this machine is slow", seed, *seeds)
			break
		}
		s := Generate(seed, 20)
		r := Run(s, nil)
		promotions += r.Promotions
		if r.Violation != "" {
			t.Fatalf("seed %d: %s\n%s", seed, r.Violation, Shrink(s))
		}
	}
	t.Logf("%d promotions", promotions)
	if promotions < 100 {
		t.Error("hardly anything happened")
	}
}

func TestASeedAlwaysTellsTheSameStory(t *testing.T) {
	var first, second bytes.Buffer
	s := Generate(3, 8)
	Run(s, &first)
	again, err := Parse(s.String())
	if err != nil {
		t.Fatal(err)
	}
	Run(again, &second)
	if first.String() != second.String() || first.Len() < 1000 {
		t.Errorf("%d and %d bytes", first.Len(), second.Len())
	}
}

func TestParseSaysWhatIsWrong(t *testing.T) {
	for text, want := range map[string]string{
		"seed x":              "line 1",
		"+5s make coffee":     "no such order",
		"\n+5 power off pg-1": "line 2",
	} {
		if _, err := Parse(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

// TestTheOracleSees tells the oracle of each wrong deed directly: a judge that never condemns would make every simulation a success.
func TestTheOracleSees(t *testing.T) {
	for name, c := range map[string]struct {
		deed func(w *world, p *proc)
		want string // "" for a deed that is right
	}{
		"a write of the promoted node": {func(w *world, p *proc) { w.oracle.sends(p, "c1") }, ""},
		"a write after the promotion": {func(w *world, p *proc) {
			p.n.unpromoted()
			w.now += LookAge + 1
			p.looked, p.heard = p.n.clock(), p.n.clock()
			w.oracle.sends(p, "c1")
		}, "invariant 1"},
		"a write in maintenance":       {func(w *world, p *proc) { p.n.cib.maintenance = true; w.oracle.sends(p, "c1") }, "invariant 6"},
		"a write while paused":         {func(w *world, p *proc) { p.n.paused = w.now + time.Minute; w.oracle.sends(p, "c1") }, "invariant 6"},
		"a write on an old look":       {func(w *world, p *proc) { p.looked -= LookAge + 1; w.oracle.sends(p, "c1") }, "invariant 6"},
		"a write on a dead stream":     {func(w *world, p *proc) { p.live = false; w.oracle.sends(p, "c1") }, "invariant 6"},
		"a write with an unclean peer": {func(w *world, p *proc) { p.n.cib.n[1].unclean = true; w.oracle.sends(p, "c1") }, "invariant 6"},
		"a claim made three times":     {func(w *world, p *proc) { claims(w, p.n, "c1", "c1", "c1") }, "invariant 3"},
		"a claim sent again, unknown":  {func(w *world, p *proc) { claims(w, p.n, "c1"); w.oracle.sends(p, "c1"); claims(w, p.n, "c1") }, ""},
		"a claim sent again, known": {func(w *world, p *proc) {
			claims(w, p.n, "c1")
			w.oracle.tells(p, "c1")
			w.oracle.sends(p, "c1")
		}, "invariant 3"},
		"a claim sent again, in the journal": {func(w *world, p *proc) {
			claims(w, p.n, "c1")
			w.oracle.tells(p, "c1")
			w.now += Kept + 1
			p.kill()
			p.n.spawn(false)
			again := p.n.daemon
			again.looked, again.heard, again.live = p.n.clock(), p.n.clock(), true
			w.oracle.sends(again, "c1")
		}, "invariant 3"},
		"two claims of one promotion": {func(w *world, p *proc) { claims(w, p.n, "c1", "c2") }, "invariant 3"},
		"a contested node that writes": {func(w *world, p *proc) {
			claims(w, p.n, "c1")
			w.oracle.tells(p, "c1")
			w.oracle.reads(p, foreign(w, p.n))
			w.oracle.sends(p, "c1")
		}, "invariant 4"},
		"a node that lost a race and does not know that it had won": {func(w *world, p *proc) {
			claims(w, p.n, "c1")
			w.oracle.reads(p, foreign(w, p.n))
			w.oracle.sends(p, "c1")
		}, ""},
		"a write in a maintenance that began in a sleep": {func(w *world, p *proc) {
			n := p.n
			n.asleep, n.awake = w.now, w.now+time.Minute
			n.cib.maintenance, n.cib.maintained = true, w.now+time.Second
			w.now, n.hidden = w.now+time.Minute+LookAge, n.hidden+time.Minute
			p.looked, p.heard = n.clock()-LookAge, n.clock()
			w.oracle.sends(p, "c1")
		}, ""},
		"too many calls":                {func(w *world, p *proc) { calls(w, p.n, CallsPerMinute+1) }, "invariant 7"},
		"as many calls as there may be": {func(w *world, p *proc) { calls(w, p.n, CallsPerMinute) }, ""},
		"a record that stays on the other": {func(w *world, p *proc) {
			for range 5 * 60 {
				w.now += time.Second
				w.oracle.compares()
			}
		}, "invariant 2"},
	} {
		t.Run(name, func(t *testing.T) {
			w, p := promotedWorld(t)
			c.deed(w, p)
			if v := w.oracle.violation; c.want == "" && v != "" || !strings.HasPrefix(v, c.want) {
				t.Errorf("%q, want %q", v, c.want)
			}
		})
	}
}

// promotedWorld has one promoted node, which has looked just now. Its agent does nothing: the jobs are gone.
func promotedWorld(t *testing.T) (*world, *proc) {
	w := newWorld(&Scenario{Fencing: true}, t.TempDir(), io.Discard)
	t.Cleanup(w.close)
	w.jobs = nil
	n := w.nodes[0]
	w.now = 10 * time.Minute
	n.becomes()
	n.cib.n[0].role = "Promoted"
	p := n.daemon
	p.looked, p.heard, p.live = n.clock(), n.clock(), true
	w.beat()
	return w, p
}

func claims(w *world, n *node, names ...string) {
	for i, name := range names {
		w.oracle.accepts(n, route53.Owner{Epoch: uint64(i + 1), Node: n.name, Claim: name}, n.promotions)
	}
}

func foreign(_ *world, n *node) route53.Record {
	return route53.Record{Owner: route53.Owner{Epoch: 9, Node: n.other().name, Claim: "theirs"}}
}

func calls(w *world, n *node, times int) {
	for range times {
		w.oracle.call(n, "read", "")
	}
}

// TestTheOracleReadsJournals gives it journals that cannot be.
func TestTheOracleReadsJournals(t *testing.T) {
	line := func(episode string) string { return `00000000 {"boot":"b","episode":` + episode + "}\n" }
	for name, c := range map[string]struct{ journal, want string }{
		"in order":             {line(`{"id":1,"start":5,"phases":{"promoted":5}}`) + line(`{"id":1,"outcome":"demoted","start":5,"phases":{"promoted":5}}`) + line(`{"id":2,"start":9}`), ""},
		"never ended":          {line(`{"id":1,"start":5}`) + line(`{"id":2,"start":9}`), "has no end"},
		"ended twice":          {line(`{"id":1,"start":5,"outcome":"demoted"}`) + line(`{"id":1,"start":5,"outcome":"complete"}`), "ended as"},
		"one is missing":       {line(`{"id":1,"start":5,"outcome":"demoted"}`) + line(`{"id":3,"start":5}`), "follows"},
		"before its beginning": {line(`{"id":1,"start":5,"phases":{"promoted":4}}`), "began at"},
		"mounted, unpromoted":  {line(`{"id":1,"start":5,"phases":{"mounted":7}}`), "mounted"},
		"writable too early":   {line(`{"id":1,"start":5,"phases":{"promoted":5,"pg_started":9,"writable":8}}`), "writable"},
	} {
		t.Run(name, func(t *testing.T) {
			w, p := promotedWorld(t)
			if err := os.WriteFile(filepath.Join(p.n.cfg.State.Dir, "journal"), []byte(c.journal), 0o640); err != nil {
				t.Fatal(err)
			}
			w.oracle.judgeJournals()
			if v := w.oracle.violation; (c.want == "") != (v == "") || !strings.Contains(v, c.want) {
				t.Errorf("%q, want %q", v, c.want)
			}
		})
	}
}
