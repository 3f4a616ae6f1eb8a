package switchover

import (
	"cmp"
	"context"
	"errors"
	"math"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pgha/pgha-agent/agent/internal/wait"
	"github.com/pgha/pgha-agent/agent/status"
	"github.com/pgha/pgha-agent/crm"
	"github.com/pgha/pgha-agent/drbd"
	"github.com/pgha/pgha-agent/pg"
)

// fakeWorld is a cluster that obeys a preference as Pacemaker does: after 2 s the role has left pg-a, after 4 s it is
// on pg-b, after 8 s PostgreSQL works there, after 10 s the name points there. Faults are named.
type fakeWorld struct {
	mu       sync.Mutex
	set      time.Time // when the preference was set; zero when never
	stands   bool
	log      []string
	here     string // the node that the command runs on
	hidden   bool   // the target's daemon cannot be reached
	noClient bool
	rejected bool   // the server rejects the role of the command's client
	agents   bool   // the agents are clients
	walled   bool   // and reach nothing there
	slow     bool   // the daemons take long to answer
	named    string // the address that the name has before the move, "" for pg-a's

	stuck      bool // Pacemaker does nothing
	failsStart bool // PostgreSQL fails to start on pg-b, and Pacemaker goes back
	deadAPI    bool // the name never moves
	noRemoval  bool // the constraint cannot be removed
	exists     bool
	lostReply  bool // Prefer worked, but says that it did not
}

func (w *fakeWorld) at() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.set.IsZero() || w.stuck {
		return 0
	}
	return time.Since(w.set)
}

func (w *fakeWorld) Prefer(_ context.Context, l crm.Location, _ string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.exists {
		return crm.ErrExists
	}
	w.log = append(w.log, "prefer "+l.Node)
	w.set, w.stands = time.Now(), true
	if w.lostReply {
		return errors.New("timeout")
	}
	return nil
}

func (w *fakeWorld) Withdraw(ctx context.Context, id string) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.noRemoval {
		return errors.New("no controller")
	}
	w.log = append(w.log, "withdraw "+id)
	w.stands = false
	return nil
}

func (w *fakeWorld) Look(context.Context) (*crm.Status, error) {
	st, at := cluster(), w.at()
	switch {
	case w.failsStart && at > 6*time.Second:
		st.Failures = []crm.Failure{{Node: "pg-b", Resource: "pgsql", Task: "start", Op: "pgsql_start_0",
			ExitStatus: "error"}}
		if at < 10*time.Second {
			st.Resources[0].Role = crm.RoleUnpromoted
		}
	case at > 4*time.Second:
		st.Resources[0].Role, st.Resources[1].Role = crm.RoleUnpromoted, crm.RolePromoted
	case at > 2*time.Second:
		st.Resources[0].Role = crm.RoleUnpromoted
	}
	return st, nil
}

func (w *fakeWorld) Status(ctx context.Context, node string) (*status.Doc, error) {
	if w.slow {
		wait.For(ctx, 4*time.Second)
	}
	if node != w.here && w.hidden {
		return nil, errors.New("refused")
	}
	at := w.at()
	a, b := drbd.RolePrimary, drbd.RoleSecondary
	if at > 2*time.Second {
		a = drbd.RoleSecondary
	}
	if at > 4*time.Second {
		b = drbd.RolePrimary
	}
	d := statusOf("pg-b", toAddr, status.PubIdle, b, a)
	if node == "pg-a" {
		d = statusOf("pg-a", fromAddr, status.PubIdle, a, b)
	}
	if w.agents {
		d.Client = &status.ClientDoc{Asked: true, State: pg.StateTimeout}
		if name := w.name(); name == toAddr && at > 12*time.Second && !w.walled {
			d.Client = &status.ClientDoc{Asked: true, OK: true, State: pg.StateWritable, Answered: name,
				LastOutage: new(11.5)}
		}
	}
	if node == "pg-a" {
		return d, nil
	}
	if at > 4*time.Second {
		d.Episode = &status.EpisodeDoc{ID: 5, Cause: "operator", Outcome: "open",
			Phases: []status.PhaseDoc{{Phase: "promoted", After: 2}}}
	}
	if at > 8*time.Second {
		d.Episode.Phases = append(d.Episode.Phases, status.PhaseDoc{Phase: "writable", After: 6})
	}
	return d, nil
}

func (w *fakeWorld) name() string {
	if w.at() > 10*time.Second && !w.deadAPI && !w.failsStart {
		return toAddr
	}
	return cmp.Or(w.named, fromAddr)
}

func (w *fakeWorld) Resolve(context.Context) (string, error) { return w.name(), nil }
func (w *fakeWorld) HasClient() bool                         { return !w.noClient }

func (w *fakeWorld) Connect(ctx context.Context) pg.ClientProbe {
	at, name := w.at(), w.name()
	v := pg.ClientProbe{Begin: time.Now()}
	wait.For(ctx, 20*time.Millisecond)
	v.End = time.Now()
	if name == fromAddr && at < time.Second || name == toAddr && at > 8*time.Second {
		v.OK, v.Answers, v.State, v.Answered = true, true, pg.StateWritable, netip.MustParseAddr(name)
		if w.rejected {
			v.OK, v.State, v.Err = false, pg.StateAuth, "no password"
		}
	}
	return v
}

// move runs a switchover of the fake world in virtual time. after, when not 0, is when the operator presses Ctrl-C.
func move(t *testing.T, w *fakeWorld, after time.Duration) (res *Result, lines []string) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		f := healthy()
		if w.here == "" {
			w.here = "pg-b"
		}
		if w.here == "pg-a" {
			f.Node, f.Status, f.Peer = "pg-a", f.Peer, f.Status
			if w.hidden {
				f.Peer = nil
			}
		}
		p := MakePlan(f)
		if r := p.Refused(); len(r) > 0 {
			t.Fatalf("refused: %+v", r)
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		if after > 0 {
			time.AfterFunc(after, func() { cancel(errors.New("interrupted")) })
		}
		m := Mover{World: w, Node: w.here, Timeout: time.Minute,
			Say: func(at time.Duration, line string) { lines = append(lines, at.Round(time.Second/2).String()+" "+line) }}
		var err error
		if res, err = m.Move(ctx, p); err != nil {
			lines = append(lines, err.Error())
		}
		cancel(nil)
		synctest.Wait()
	})
	return res, lines
}

func TestMove(t *testing.T) {
	const gone = "withdraw " + Prefix + clone
	for name, c := range map[string]struct {
		world    *fakeWorld
		after    time.Duration
		state    State
		promoted string
		why      string
		log      []string
	}{
		"seen from the target": {&fakeWorld{}, 0, Moved, "pg-b", "", []string{"prefer pg-b", gone}},
		"seen from the source": {&fakeWorld{here: "pg-a"}, 0, Moved, "pg-b", "", []string{"prefer pg-b", gone}},
		"the target's agent is away": {&fakeWorld{here: "pg-a", hidden: true}, 0, Moved, "pg-b", "",
			[]string{"prefer pg-b", gone}},
		"without a client's view":        {&fakeWorld{noClient: true}, 0, Moved, "pg-b", "", []string{"prefer pg-b", gone}},
		"no password, and no other view": {&fakeWorld{rejected: true}, 0, Moved, "pg-b", "", []string{"prefer pg-b", gone}},
		"no password, and the agents see it": {&fakeWorld{rejected: true, agents: true}, 0, Moved, "pg-b", "",
			[]string{"prefer pg-b", gone}},
		"no password, and the agents do not reach it": {&fakeWorld{rejected: true, agents: true, walled: true}, 0, Unverified,
			"pg-b", "no client reaches pg-b through the name; the last attempt: no password", []string{"prefer pg-b", gone}},
		"Pacemaker does nothing": {&fakeWorld{stuck: true}, 0, NotMoved, "pg-a", "not within 1m0s: pg-b is not promoted",
			[]string{"prefer pg-b", gone}},
		"PostgreSQL does not start": {&fakeWorld{failsStart: true}, 0, NotMoved, "pg-a", "start of pgsql failed on pg-b",
			[]string{"prefer pg-b", gone}},
		"the record does not follow": {&fakeWorld{deadAPI: true}, 0, Unverified, "pg-b",
			"db.pgha.internal does not answer the new address", []string{"prefer pg-b", gone}},
		"interrupted at once": {&fakeWorld{}, time.Millisecond, NotMoved, "pg-a", "interrupted",
			[]string{"prefer pg-b", gone}},
		"interrupted after the role": {&fakeWorld{}, 7 * time.Second, Unverified, "pg-b",
			"interrupted: PostgreSQL was not seen", []string{"prefer pg-b", gone}},
		"interrupted while it waits": {&fakeWorld{deadAPI: true}, 20 * time.Second, Unverified, "pg-b", "interrupted",
			[]string{"prefer pg-b", gone}},
		"the constraint stays": {&fakeWorld{noRemoval: true}, 0, Leftover, "pg-b", "could not be removed",
			[]string{"prefer pg-b"}},
		"interrupted, and it stays": {&fakeWorld{noRemoval: true}, 3 * time.Second, Leftover, "pg-b", "interrupted",
			[]string{"prefer pg-b"}},
		"the reply to it was lost": {&fakeWorld{lostReply: true, stuck: true}, 0, NotMoved, "pg-a", "was not set: timeout",
			[]string{"prefer pg-b", gone}},
		"lost, and cannot be removed": {&fakeWorld{lostReply: true, noRemoval: true, stuck: true}, 0, Leftover, "pg-a",
			"was not set: timeout", []string{"prefer pg-b"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := c.world
			res, lines := move(t, w, c.after)
			if res == nil {
				t.Fatal(lines)
			}
			if res.State != c.state || !slices.Equal(res.Promoted, []string{c.promoted}) || !strings.Contains(res.Why, c.why) ||
				(c.why == "") != (res.Why == "") {
				t.Errorf("%s on %v: %q; want %s on %s: %q\n%s", res.State, res.Promoted, res.Why, c.state, c.promoted, c.why,
					strings.Join(lines, "\n"))
			}
			if !slices.Equal(w.log, c.log) || w.stands != (c.state == Leftover) || (res.Left != nil) != w.stands {
				t.Errorf("log %v, want %v; stands %v, says %v", w.log, c.log, w.stands, res.Left)
			}
			if c.state != Moved && res.Command == "" {
				t.Error("no next command")
			}
		})
	}
}

func TestMoveTellsItsStory(t *testing.T) {
	res, lines := move(t, &fakeWorld{}, 0)
	want := []string{
		"0s constraint pgha-switchover-drbd_pg-clone is set", "2.5s DRBD demoted on pg-a", "4.5s DRBD promoted on pg-b",
		"6s Pacemaker shows pg-b as promoted",
		"8.5s PostgreSQL accepts writes", "8.5s constraint pgha-switchover-drbd_pg-clone is removed",
	}
	// In either order.
	for _, w := range []string{"10.5s db.pgha.internal answers 10.0.2.10",
		"10.5s PostgreSQL accepts writes through the name, at 10.0.2.10"} {
		if !slices.Contains(lines, w) {
			t.Errorf("want %q in\n%s", w, strings.Join(lines, "\n"))
		}
	}
	for i, w := range want {
		if i >= len(lines) || !strings.Contains(lines[i], w) {
			t.Fatalf("line %d: want %q in\n%s", i, w, strings.Join(lines, "\n"))
		}
	}
	if res.Outage == nil || *res.Outage < 9 || *res.Outage > 11 {
		t.Errorf("outage %v, want about 9.5 s", res.Outage)
	}
	if res.Episode == nil || res.Episode.ID != 5 {
		t.Errorf("episode %+v", res.Episode)
	}
}

// What is told is what a client saw that was in, whoever typed the command.
func TestMoveTellsTheOutage(t *testing.T) {
	for name, c := range map[string]struct {
		world *fakeWorld
		want  float64
	}{
		"of the client here":                          {&fakeWorld{}, 9.5},
		"of the client here, without a password":      {&fakeWorld{rejected: true}, 9.5},
		"of the client here, the daemons being slow":  {&fakeWorld{slow: true}, 9.5},
		"of the agents, who keep a connection":        {&fakeWorld{agents: true, slow: true}, 11.5},
		"of the agents, without a password":           {&fakeWorld{agents: true, rejected: true}, 11.5},
		"of the one agent that is reached":            {&fakeWorld{agents: true, rejected: true, here: "pg-a", hidden: true}, 11.5},
		"of the other view, as the agents see no end": {&fakeWorld{agents: true, walled: true}, 9.5},
	} {
		t.Run(name, func(t *testing.T) {
			res, lines := move(t, c.world, 0)
			if res == nil || res.Outage == nil || math.Abs(*res.Outage-c.want) > 1 {
				t.Errorf("outage of %+v, want %v\n%s", res, c.want, strings.Join(lines, "\n"))
			}
		})
	}
	if res, _ := move(t, &fakeWorld{noClient: true}, 0); res.Outage != nil {
		t.Errorf("outage %v without a client", *res.Outage)
	}
}

func TestMoveGivesWayToAnother(t *testing.T) {
	w := &fakeWorld{exists: true}
	res, lines := move(t, w, 0)
	if res != nil || len(w.log) > 0 || !strings.Contains(strings.Join(lines, " "), "another switchover") {
		t.Errorf("%+v %v %v", res, w.log, lines)
	}
}
