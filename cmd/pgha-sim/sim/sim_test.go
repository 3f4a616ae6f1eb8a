package sim

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pgha/pgha-agent/crm"
	"github.com/pgha/pgha-agent/drbd"
	"github.com/pgha/pgha-agent/route53"
)

// seeds is small, so that `go test ./...` stays quick; `make sim` runs as many as one has time for.
var seeds = flag.Int("seeds", 40, "random scenarios to run")

// TestScenarios runs what is kept in testdata: scenarios that violated an invariant, and those that docs/safety.md
// leans on. Each says in its comment what to look at. Whatever is changed changes how long everything takes, and what a
// seed means: so each runs with some seeds, one of which has to tell the story.
func TestScenarios(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no scenarios", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			s, err := Parse(string(text))
			if err != nil {
				t.Fatal(err)
			}
			var stories bytes.Buffer
			for range 4 {
				var story bytes.Buffer
				if r := Run(s, &story); r.Violation != "" {
					t.Errorf("seed %d: %s\n%s", s.Seed, r.Violation, story.String())
				}
				stories.Write(story.Bytes())
				s.Seed++
			}
			for line := range strings.Lines(string(text)) {
				if want, is := strings.CutPrefix(line, "# tells: "); is &&
					!strings.Contains(stories.String(), strings.TrimSpace(want)) {
					t.Errorf("no story tells %q:\n%s", strings.TrimSpace(want), stories.String())
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

// TestTheOracleSees tells the oracle of each wrong deed directly: a judge that never condemns would make every
// simulation a success.
func TestTheOracleSees(t *testing.T) {
	for name, c := range map[string]struct {
		deed func(w *world, p *proc)
		want string // "" for a deed that is right
	}{
		"a write of the promoted node": {func(w *world, p *proc) { w.oracle.sends(p, claim(p.n, "c1")) }, ""},
		"a write after the promotion": {func(w *world, p *proc) {
			p.n.unpromoted()
			w.now += LookAge + 1
			p.looked, p.heard = p.n.clock(), p.n.clock()
			w.oracle.sends(p, claim(p.n, "c1"))
		}, "invariant 1"},
		"a write in maintenance": {func(w *world, p *proc) {
			p.n.cib.maintenance = true
			w.oracle.sends(p, claim(p.n, "c1"))
		}, "invariant 6"},
		"a write while paused": {func(w *world, p *proc) {
			p.n.paused = w.now + time.Minute
			w.oracle.sends(p, claim(p.n, "c1"))
		}, "invariant 6"},
		"a write by itself that a daemon's pause ends": {func(w *world, p *proc) {
			p.once, p.n.pauseFile = true, p.n.wall().Add(time.Minute)
			w.now += time.Second
			p.looked, p.heard = p.n.clock(), p.n.clock()
			w.oracle.sends(p, claim(p.n, "c1"))
		}, "invariant 6"},
		"a write on an old look": {func(w *world, p *proc) {
			p.looked -= LookAge + 1
			w.oracle.sends(p, claim(p.n, "c1"))
		}, "invariant 6"},
		"a write on a dead stream": {func(w *world, p *proc) { p.said.Live = false; w.oracle.sends(p, claim(p.n, "c1")) },
			"invariant 6"},
		"a write with an unclean peer": {func(w *world, p *proc) {
			p.n.cib.n[1].unclean = true
			w.oracle.sends(p, claim(p.n, "c1"))
		}, "invariant 6"},
		"a claim made three times": {func(w *world, p *proc) { claims(w, p.n, "c1", "c1", "c1") }, "invariant 3"},
		"a claim sent again, unknown": {func(w *world, p *proc) {
			claims(w, p.n, "c1")
			w.oracle.sends(p, claim(p.n, "c1"))
			claims(w, p.n, "c1")
		}, ""},
		"a claim sent again, known": {func(w *world, p *proc) {
			claims(w, p.n, "c1")
			w.oracle.tells(p, claim(p.n, "c1"))
			w.oracle.sends(p, claim(p.n, "c1"))
		}, "invariant 3"},
		"a claim sent again, in the journal": {func(w *world, p *proc) {
			claims(w, p.n, "c1")
			w.oracle.tells(p, claim(p.n, "c1"))
			w.now += Kept + 1
			p.durable = w.now
			p.kill()
			p.n.spawn(false)
			again := p.n.daemon
			again.looked = p.n.clock()
			w.oracle.listens(again, p.n.drbd())
			w.oracle.sends(again, claim(p.n, "c1"))
		}, "invariant 3"},
		"two claims of one promotion": {func(w *world, p *proc) { claims(w, p.n, "c1", "c2") }, "invariant 3"},
		"a contested node that writes": {func(w *world, p *proc) {
			claims(w, p.n, "c1")
			w.oracle.tells(p, claim(p.n, "c1"))
			w.oracle.reads(p, foreign(w, p.n), w.now)
			w.oracle.sends(p, claim(p.n, "c1"))
		}, "invariant 4"},
		"a node that writes for another promotion by the name of the contested one": {func(w *world, p *proc) {
			claims(w, p.n, "c1")
			w.oracle.tells(p, claim(p.n, "c1"))
			w.oracle.reads(p, foreign(w, p.n), w.now)
			p.n.promotions++
			w.oracle.erased[p.n.i] = p.n.promotions
			w.oracle.sends(p, claim(p.n, "c1"))
		}, ""},
		"a node that lost a race and does not know that it had won": {func(w *world, p *proc) {
			claims(w, p.n, "c1")
			w.oracle.reads(p, foreign(w, p.n), w.now)
			w.oracle.sends(p, claim(p.n, "c1"))
		}, ""},
		"a write in a maintenance that began in a sleep": {func(w *world, p *proc) {
			n := p.n
			n.asleep, n.awake = w.now, w.now+time.Minute
			n.cib.maintenance, n.cib.maintained = true, w.now+time.Second
			w.now, n.hidden = w.now+time.Minute+LookAge, n.hidden+time.Minute
			p.looked, p.heard = n.clock()-LookAge, n.clock()
			w.oracle.sends(p, claim(p.n, "c1"))
		}, ""},
		"a write on a disk that is not good": {func(w *world, p *proc) {
			p.n.badDisk = true
			w.oracle.listens(p, p.n.drbd())
			w.oracle.sends(p, claim(p.n, "c1"))
		}, "invariant 6"},
		"a write without DRBD's quorum": {func(w *world, p *proc) {
			w.s.Third, w.s.Quorum, p.n.drbdSaid = "dr", "io-error", false
			w.oracle.listens(p, p.n.drbd())
			w.oracle.sends(p, claim(p.n, "c1"))
		}, "invariant 6"},
		"a write after a loss that was seen": {func(w *world, p *proc) {
			unfenced(w, p, -1)
			w.oracle.sends(p, claim(p.n, "c1"))
		}, "invariant 6"},
		"a write after a loss that DRBD has explained": {func(w *world, p *proc) {
			unfenced(w, p, w.now+1)
			w.oracle.sends(p, claim(p.n, "c1"))
		}, ""},
		"the same, before its stream ended": {func(w *world, p *proc) {
			w.oracle.looks(p, w.now, member{online: true, role: crm.RolePromoted}, false)
			p.demoted = w.now + 1
			w.oracle.listens(p, drbd.Report{})
			unfenced(w, p, p.demoted)
			w.oracle.listens(p, p.n.drbd())
			w.oracle.sends(p, claim(p.n, "c1"))
		}, "invariant 6"},
		"a write after a loss that no look showed": {func(w *world, p *proc) {
			unfenced(w, p, -1)
			p.lost = false
			w.oracle.sends(p, claim(p.n, "c1"))
		}, ""},
		"a write after a loss that DRBD explains": {func(w *world, p *proc) {
			unfenced(w, p, w.now)
			w.oracle.sends(p, claim(p.n, "c1"))
		}, ""},
		"a write after a loss that the journal tells": {func(w *world, p *proc) {
			unfenced(w, p, -1)
			p.durable = w.now + 1
			p.kill()
			p.n.spawn(false)
			again := p.n.daemon
			again.looked = p.n.clock()
			w.oracle.listens(again, p.n.drbd())
			w.oracle.sends(again, claim(p.n, "c1"))
		}, "invariant 6"},
		"a record that is repaired once":  {func(w *world, p *proc) { repair(w, p) }, ""},
		"a record that is repaired again": {func(w *world, p *proc) { repair(w, p); repair(w, p) }, "invariant 3"},
		"a record that is repaired again, later": {func(w *world, p *proc) {
			repair(w, p)
			w.now += RepairPause
			p.looked = p.n.clock()
			w.oracle.listens(p, p.n.drbd())
			repair(w, p)
		}, ""},
		"a claim for a new address": {func(w *world, p *proc) {
			claims(w, p.n, "c1")
			w.oracle.tells(p, claim(p.n, "c1"))
			p.n.moved++
			w.oracle.sends(p, claim(p.n, "c1"))
			claims(w, p.n, "c1")
		}, ""},
		"more claims than promotions": {func(w *world, p *proc) {
			claims(w, p.n, "c1", "c2")
		}, "invariant 3"},
		"a claim at the new place, and one more at the old": {func(w *world, p *proc) {
			claims(w, p.n, "c1")
			old := claim(p.n, "c2")
			p.n.moved++
			claims(w, p.n, "c1")
			p.n.promotions++
			claims(w, p.n, "c2")
			w.oracle.accepts(p.n, old, route53.Owner{Epoch: 2, Node: p.n.name, Claim: "c2"}, p.n.promotions, false)
		}, ""},
		"a slow crm_mon, and nothing said": {func(w *world, p *proc) {
			w.now += 2 * time.Minute
			p.n.crmCrawled, p.n.crmCrawls = w.now-time.Minute-1, w.now+1
			w.oracle.watches(p)
		}, "invariant 8"},
		"a publication by itself that does not come": {func(w *world, p *proc) {
			p.once = true
			p.free -= Alone + 1
			w.oracle.gaveUp(p)
		}, "invariant 2"},
		"a publication by itself, and a record that nobody may overwrite": {func(w *world, p *proc) {
			p.once = true
			w.zone.of(p.n.key()).err = io.ErrUnexpectedEOF
			stays(w)
			w.zone.of(p.n.key()).err = nil
			w.oracle.gaveUp(p)
		}, ""},
		"a publication by itself that waits out a lost race": {func(w *world, p *proc) {
			p.once = true
			p.free = w.now - Alone - Blind
			rivaled(p, 1)
			w.oracle.gaveUp(p)
		}, ""},
		"a publication by itself that waits for ever after a lost race": {func(w *world, p *proc) {
			p.once = true
			p.free = w.now - Alone - Blind - 1
			rivaled(p, 1)
			w.oracle.gaveUp(p)
		}, "invariant 2"},
		"a publication by itself after a loss that the daemon knows": {func(w *world, p *proc) {
			unfenced(w, p, -1)
			p.durable = w.now + 1
			alone(w, p.n)
		}, "invariant 6"},
		"a publication by itself after a loss from which the other was back": {func(w *world, p *proc) {
			unfenced(w, p, -1)
			p.n.keptLost = true
			w.oracle.looks(p, w.now, member{online: true}, false)
			alone(w, p.n)
		}, ""},
		"a loss that DRBD may have hidden": {func(w *world, p *proc) {
			unfenced(w, p, -1)
			p.n.cib.n[1-p.n.i].skipped = false
			p.relinked = p.sight + blur + 1
			w.oracle.looks(p, p.relinked, p.n.cib.n[1-p.n.i], false)
			stays(w)
		}, ""},
		"a loss that DRBD cannot have hidden": {func(w *world, p *proc) {
			unfenced(w, p, -1)
			p.n.cib.n[1-p.n.i].skipped = false
			p.relinked = p.sight + blur
			w.oracle.looks(p, p.relinked, p.n.cib.n[1-p.n.i], false)
			stays(w)
		}, "invariant 2"},
		"a return with the history hidden, then a loss": {func(w *world, p *proc) {
			vague(w, p, true)
			stays(w)
		}, ""},
		"a return with the history shown, then a loss": {func(w *world, p *proc) {
			vague(w, p, false)
			stays(w)
		}, "invariant 2"},
		"a stop of the other that nothing explains": {func(w *world, p *proc) { leaves(w, p, -1); stays(w) }, ""},
		"a stop of the other that DRBD explains": {func(w *world, p *proc) {
			leaves(w, p, w.now)
			stays(w)
		}, "invariant 2"},
		"a publication by itself after a stop that the journal does not explain": {func(w *world, p *proc) {
			leaves(w, p, -1)
			p.durable = w.now + 1
			gives(w, p)
		}, ""},
		"a publication by itself after a stop that the journal does not tell of": {func(w *world, p *proc) {
			leaves(w, p, -1)
			gives(w, p)
		}, "invariant 2"},
		"a standby that has seen the promotion of the record, and not read its claim": {func(w *world, p *proc) {
			p.seenSince = time.Minute
			claimed(w, p)
		}, "invariant 2"},
		"a standby that has seen another promotion of that node, which has claimed nothing": {func(w *world, p *proc) {
			p.seenSince = 2 * time.Minute
			claimed(w, p)
		}, ""},
		"a standby that looked for the first time after that promotion, and before its claim": {func(w *world, p *proc) {
			p.seenSince, p.met = time.Minute, time.Minute+time.Second/2
			claimed(w, p)
		}, ""},
		"a record that is repaired after a reading that may lag": {func(w *world, p *proc) {
			lags(w, p, time.Minute-1)
			w.oracle.sends(p, claim(p.n, "c1"))
		}, ""},
		"a record that is repaired, which a later reading does not show": {func(w *world, p *proc) {
			lags(w, p, time.Minute)
			w.oracle.sends(p, claim(p.n, "c1"))
		}, "invariant 3"},
		"too many calls":                {func(w *world, p *proc) { calls(w, p.n, CallsPerMinute+1) }, "invariant 7"},
		"as many calls as there may be": {func(w *world, p *proc) { calls(w, p.n, CallsPerMinute) }, ""},
		"too many calls after a restart": {func(w *world, p *proc) {
			restarted(w, p.n)
			calls(w, p.n, CallsPerMinute+CallsOfStart+1)
		}, "invariant 7"},
		"as many calls as there may be after a restart": {func(w *world, p *proc) {
			restarted(w, p.n)
			calls(w, p.n, CallsPerMinute+CallsOfStart)
		}, ""},
		"too many calls a minute after a restart": {func(w *world, p *proc) {
			restarted(w, p.n)
			w.now += time.Minute + 1
			calls(w, p.n, CallsPerMinute+1)
		}, "invariant 7"},
		"a record that stays on the other": {func(w *world, _ *proc) { stays(w) }, "invariant 2"},
		"the same, and its own change is on its way": {func(w *world, p *proc) {
			w.zone.flying[p.n.i] = 1
			stays(w)
		}, "invariant 2"},
		"the same, and the other's change is on its way": {func(w *world, p *proc) {
			w.zone.flying[1-p.n.i] = 1
			stays(w)
		}, ""},
		"the same, and the history is hidden, which nobody needs": {func(w *world, _ *proc) {
			w.hidden(true)
			stays(w)
		}, "invariant 2"},
		"the same, and the history is hidden, with the other lost": {func(w *world, p *proc) {
			w.hidden(true)
			p.n.cib.n[1-p.n.i].online = false
			stays(w)
		}, ""},
		"the same, with three old claims before, and a fencing that lied": {func(w *world, p *proc) {
			p.n.spared = forever
			rivaled(p, 3)
			stays(w)
		}, "invariant 2"},
		"the same, with a fourth": {func(w *world, p *proc) { rivaled(p, 4); stays(w) }, ""},
		"the same, and the daemon read one of the four before it was promoted": {func(w *world, p *proc) {
			before(p)
			rivaled(p, 4)
			stays(w)
		}, "invariant 2"},
		"the same, and only a publication by itself did": {func(w *world, p *proc) {
			p.n.spawn(true)
			before(p.n.procs[1])
			rivaled(p, 4)
			stays(w)
		}, ""},
		"a newer claim of the other, and a fencing that lied": {func(w *world, p *proc) {
			p.n.spared = forever
			claims(w, p.n, "c1")
			w.zone.of(p.n.key()).owner = foreign(w, p.n).Owner
			stays(w)
		}, ""},
		"its own claim again, after a stranger's newer one": {func(w *world, p *proc) {
			claims(w, p.n, "c1")
			p.rival(route53.Owner{Node: "pg-9", Claim: "theirs", Epoch: 2}, w.oracle.mine[p.n.i][p.n.key()])
			stays(w)
		}, ""},
		"the same, after a stranger's older one": {func(w *world, p *proc) {
			claims(w, p.n, "c1")
			p.rival(route53.Owner{Node: "pg-9", Claim: "theirs"}, w.oracle.mine[p.n.i][p.n.key()])
			stays(w)
		}, "invariant 2"},
		"its own claim with another address, and a fencing that lied": {func(w *world, p *proc) {
			p.n.spared = forever
			edited(w, p.n, "c1")
			stays(w)
		}, "invariant 2"},
		"another claim of a stranger": {func(w *world, p *proc) { edited(w, p.n, "theirs"); stays(w) }, ""},
		"its own claim, edited twice": {func(w *world, p *proc) {
			edited(w, p.n, "c1")
			edited(w, p.n, "c1")
			stays(w)
		}, ""},
		"the same, and it has a new address": {func(w *world, p *proc) {
			edited(w, p.n, "c1")
			edited(w, p.n, "c1")
			p.n.addr = netip.MustParseAddr("10.0.1.11")
			stays(w)
		}, "invariant 2"},
		"an edited record, and a reading that fails": {func(w *world, p *proc) {
			edited(w, p.n, "c1")
			p.missed = w.now + 4*time.Minute + 30*time.Second
			stays(w)
		}, ""},
		"an edited record, and a reading that failed long ago": {func(w *world, p *proc) {
			edited(w, p.n, "c1")
			p.missed = w.now + time.Minute
			stays(w)
		}, "invariant 2"},
		"an erased history, and nothing published": {func(w *world, p *proc) {
			w.oracle.erased[p.n.i] = p.n.promotions
			stays(w)
		}, ""},
		"an erased history, and an edited record": {func(w *world, p *proc) {
			w.oracle.erased[p.n.i] = p.n.promotions
			edited(w, p.n, "c1")
			stays(w)
		}, "invariant 2"},
		"a write after a loss, and an old fencing of its own comes back": {func(w *world, p *proc) {
			unfenced(w, p, -1)
			w.allFences = []crm.FenceEvent{w.event(p.n.other(), p.n, "success")}
			w.oracle.returned(p.n)
			w.oracle.sends(p, claim(p.n, "c1"))
		}, "invariant 6"},
		"a write after a loss, and an old fencing of the other comes back": {func(w *world, p *proc) {
			unfenced(w, p, -1)
			w.allFences = []crm.FenceEvent{w.event(p.n, p.n.other(), "success")}
			w.oracle.returned(p.n)
			w.oracle.sends(p, claim(p.n, "c1"))
		}, ""},
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
	p.looked = n.clock()
	w.oracle.listens(p, n.drbd())
	w.beat()
	return w, p
}

// stays lets five minutes pass, in which the record stays as it is.
func stays(w *world) {
	for range 5 * 60 {
		w.now += time.Second
		w.oracle.compares()
	}
}

// edited makes the record of n, which has published c1, one that a stranger has edited, and that holds this claim of n.
func edited(w *world, n *node, name string) {
	if w.oracle.claims[n.deed("c1")] == 0 {
		claims(w, n, "c1")
	}
	w.oracle.edited(n.key())
	r := w.zone.of(n.key())
	r.edited, r.addr, r.owner = true, netip.MustParseAddr(stranger), route53.Owner{Epoch: 1, Node: n.name, Claim: name}
}

// rivaled makes p one that has read so many claims which are not its own.
func rivaled(p *proc, claims int) {
	for i := range claims {
		p.rival(route53.Owner{Node: p.n.other().name, Claim: fmt.Sprint(i)}, mark{})
	}
}

// before makes p one that has read a claim of the other node before this promotion.
func before(p *proc) {
	rivaled(p, 1)
	p.n.rivals.during--
}

func claim(n *node, name string) deed { return n.deed(name) }

func claims(w *world, n *node, names ...string) {
	for i, name := range names {
		w.oracle.accepts(n, claim(n, name), route53.Owner{Epoch: uint64(i + 1), Node: n.name, Claim: name}, n.promotions,
			false)
	}
}

// unfenced makes the other node one that was promoted, as a look of p has shown, and is gone without a fencing. DRBD
// has called it demoted then.
func unfenced(w *world, p *proc, demoted time.Duration) {
	o := p.n.other()
	o.lostPromoted, p.demoted = true, demoted
	w.oracle.looks(p, w.now, member{online: true, role: crm.RolePromoted}, false)
	p.n.cib.n[o.i] = member{skipped: true}
	w.oracle.looks(p, w.now, p.n.cib.n[o.i], false)
}

// leaves shows p that the other node is promoted, and that it has left the cluster in good order. DRBD called it
// demoted then, or never.
func leaves(w *world, p *proc, demoted time.Duration) {
	p.demoted = demoted
	w.oracle.looks(p, w.now, member{online: true, role: crm.RolePromoted}, false)
	p.n.cib.n[1-p.n.i] = member{left: true}
	w.oracle.looks(p, w.now, p.n.cib.n[1-p.n.i], false)
}

// gives ends p, and lets five minutes of a publication without it pass, and end.
func gives(w *world, p *proc) {
	p.kill()
	p.n.spawn(true)
	once := p.n.procs[0]
	stays(w)
	w.oracle.gaveUp(once)
}

// claimed lets the record stay, for longer than Prompt, on the claim of a promotion of the other node that began after
// one minute.
func claimed(w *world, p *proc) {
	r := w.zone.of(p.n.key())
	r.usual, r.since, r.settled, p.seen = true, time.Minute, time.Minute+time.Second, 3*time.Minute
	for range Prompt/time.Second + 5 {
		w.now += time.Second
		w.oracle.compares()
	}
}

// vague shows p that the other node is away, back, and fenced. Until then the history is hidden or not.
func vague(w *world, p *proc, hidden bool) {
	o := 1 - p.n.i
	w.oracle.looks(p, w.now, member{online: true}, false)
	w.oracle.looks(p, w.now+1, member{}, hidden)
	w.oracle.looks(p, w.now+2, member{online: true}, hidden)
	p.n.cib.n[o].online = false
	w.oracle.looks(p, w.now+3, p.n.cib.n[o], false)
}

// alone lets a publication without the daemon of n send its change.
func alone(w *world, n *node) {
	n.spawn(true)
	p := n.procs[len(n.procs)-1]
	p.looked = n.clock()
	w.oracle.listens(p, n.drbd())
	w.oracle.sends(p, claim(n, "c1"))
}

// lags lets p, which has read its claim with another address, read an older record that long after its write.
func lags(w *world, p *proc, after time.Duration) {
	claims(w, p.n, "c1")
	w.oracle.tells(p, claim(p.n, "c1"))
	p.foreign, p.wrote = true, w.now-after
	w.oracle.reads(p, route53.Record{}, w.now)
}

// repair makes p write its record again after a stranger has changed it.
func repair(w *world, p *proc) {
	d := claim(p.n, "c1")
	if w.oracle.claims[d] == 0 {
		claims(w, p.n, "c1")
		w.oracle.tells(p, d)
	}
	p.foreign = true
	next := route53.Owner{Epoch: w.oracle.mine[p.n.i][d.key].epoch + 1, Node: p.n.name, Claim: "c1"}
	w.oracle.accepts(p.n, d, next, p.n.promotions, w.oracle.sends(p, d))
	p.repairing = next.Epoch
	w.oracle.repairKnown(p, d, next.Epoch)
}

func foreign(_ *world, n *node) route53.Record {
	return route53.Record{Owner: route53.Owner{Epoch: 9, Node: n.other().name, Claim: "theirs"}}
}

func restarted(w *world, n *node) {
	n.daemon.kill()
	n.spawn(false)
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
		"in order": {line(`{"id":1,"start":5,"phases":{"promoted":5}}`) +
			line(`{"id":1,"outcome":"demoted","start":5,"phases":{"promoted":5}}`) + line(`{"id":2,"start":9}`), ""},
		"never ended": {line(`{"id":1,"start":5}`) + line(`{"id":2,"start":9}`), "has no end"},
		"of two boots": {line(`{"id":1,"start":5}`) +
			strings.Replace(line(`{"id":1,"start":5,"outcome":"lost"}`), `"b"`, `"c"`, 1), "boot"},
		"ended twice": {line(`{"id":1,"start":5,"outcome":"demoted"}`) +
			line(`{"id":1,"start":5,"outcome":"complete"}`), "ended as"},
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
