package sim

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"slices"
	"time"

	"github.com/pgha/pgha-agent/agent"
	"github.com/pgha/pgha-agent/crm"
	"github.com/pgha/pgha-agent/drbd"
	"github.com/pgha/pgha-agent/pg"
)

// proc is one process with an agent in it: the daemon, or the publication of the hook.
type proc struct {
	w       *world
	n       *node
	d       *agent.Driver
	once    bool
	dead    bool
	stalled time.Duration // until
	tasks   []*task
	turns   int
	saving  bool
	cancels func()

	// What the oracle knows: what this process was told.
	looked time.Duration // by the node's clock: when its last good look began
	heard  time.Duration // when the events2 stream last said something
	live   bool          // and that it is alive
	born   time.Duration
	told   map[string]time.Duration // claims that it knows to be accepted, since when
	quiet  map[string]bool          // of these, the claims after which it has read a newer one of the other node
}

var errDead = errors.New("the process has died")

// spawn starts a process on the node.
func (n *node) spawn(once bool) {
	w := n.w
	p := &proc{w: w, n: n, once: once, born: w.now, told: map[string]time.Duration{}, quiet: map[string]bool{}}
	src := agent.Sources{Crm: p, Drbd: p, Postgres: prober{p}, Zone: api{p}, Resolver: resolver{w}}
	if w.s.View && !once {
		src.Client = client{p}
	}
	d, err := agent.NewDriver(agent.Options{Config: n.cfg, Version: "sim", Logger: w.logger(n)},
		agent.Simulation{Clock: clock{n}, Boot: n.bootID(), Sources: src, Once: once, Start: p.start})
	if err != nil {
		panic(err) // the state directory is ours: a fault of the simulator
	}
	p.d = d
	n.procs = append(n.procs, p)
	if !once {
		n.daemon = p
	}
	w.rough(n)
	p.stream(w.between(ms(1), ms(300)))
	p.turn()
	if once {
		w.on(p, w.between(5*time.Second, 25*time.Second), p.kill) // the alert's timeout
	}
}

// runs runs one job of the process, or kills it, or makes it wait.
func (p *proc) runs(f func()) {
	w := p.w
	switch {
	case p.dead:
	case p.n.frozen:
		p.n.late = append(p.n.late, job{p: p, run: f})
	case w.now < p.stalled:
		w.on(p, p.stalled-w.now, f)
	case w.chance(w.s.Deadly):
		w.story(p.n, "agent dies")
		p.kill()
		p.n.restarts()
	case w.chance(w.s.Stalling):
		d := w.usually(0, 3*time.Second, 40*time.Second)
		w.story(p.n, "agent stands still for %v", d)
		p.stall(d)
		w.on(p, d, f)
	default:
		f()
	}
}

func (p *proc) stall(d time.Duration) {
	p.stalled = max(p.stalled, p.w.now+d)
	p.w.rough(p.n)
	p.w.after(d, func() { p.w.rough(p.n) })
}

// kill ends the process at once; what it has sent is on its way.
func (p *proc) kill() {
	if p.dead {
		return
	}
	p.dead = true
	for _, t := range p.tasks {
		t.stop()
	}
	p.tasks, p.cancels = nil, nil
	for claim, at := range p.told {
		if !p.once && p.w.now-at > Kept {
			p.n.kept[claim] = true
		}
	}
	p.d.Close()
	p.n.procs = slices.DeleteFunc(p.n.procs, func(x *proc) bool { return x == p })
	if p.n.daemon == p {
		p.n.daemon = nil
	}
	p.w.rough(p.n)
}

// turn runs the loop of the agent as soon as possible, and from then on whenever it wants to.
func (p *proc) turn() { p.turnIn(0) }

func (p *proc) turnIn(d time.Duration) {
	p.turns++
	this := p.turns
	p.w.on(p, d, func() {
		if p.turns != this {
			return
		}
		sleep := p.d.Turn()
		if p.once && p.d.Done() {
			p.kill()
			return
		}
		p.turnIn(max(sleep, time.Microsecond))
		if p.cancels != nil {
			p.cancels()
		}
		p.save()
	})
}

// save writes the journal some time after the loop has asked for it.
func (p *proc) save() {
	if p.saving || p.once || !p.d.Unsaved() {
		return
	}
	p.saving = true
	p.w.on(p, p.w.usually(ms(1), ms(50), 20*time.Second), func() {
		p.saving = false
		p.d.Flush()
		p.save()
	})
}

// tell runs f, which hands something to the loop, after a while.
func (p *proc) tell(d time.Duration, f func()) {
	p.w.on(p, d, func() {
		f()
		p.turn()
	})
}

// Look implements the source: crm_mon shows some moment between its start and its end.
func (p *proc) Look(context.Context) (*crm.Status, error) {
	w, n := p.w, p.n
	began := n.clock()
	if !w.wait(w.usually(ms(5), ms(300), n.crmTakes)) {
		return nil, errDead
	}
	var st *crm.Status
	if n.cib != nil && w.now >= n.crmFails && !w.chance(100) {
		st = n.cib.status(w)
	}
	if !w.wait(w.usually(ms(1), ms(100), n.crmTakes)) {
		return nil, errDead
	}
	if st == nil {
		return nil, errors.New("crm_mon: not connected")
	}
	p.looked = began
	return st, nil
}

// stream makes a new events2 child say everything, and then that it is alive.
func (p *proc) stream(d time.Duration) {
	p.tell(d, func() { p.report(p.n.drbd()) })
}

// Run is not called: the simulator reports by itself.
func (p *proc) Run(context.Context, func(drbd.Report)) error { panic("not used") }

func (p *proc) report(r drbd.Report) {
	if p.w.now < p.n.streamHangs {
		return
	}
	if r.Live && p.w.now < p.n.streamEnds {
		r = drbd.Report{Err: errors.New("events2 ended")}
	}
	p.heard, p.live = p.n.clock(), r.Live
	p.d.Drbd(r)
}

type prober struct{ p *proc }

func (s prober) Close() {}

func (s prober) Probe(context.Context) pg.Health {
	w, n := s.p.w, s.p.n
	if !w.wait(w.usually(ms(1), ms(20), 2*time.Second)) {
		return pg.Health{State: pg.StateError}
	}
	return pg.Health{State: n.postgres()}
}

// client is a client of the name on this node.
type client struct{ p *proc }

func (s client) Probe(context.Context) pg.View {
	w, n := s.p.w, s.p.n
	v := pg.View{Begin: n.wall(), State: pg.StateTimeout, Err: "timeout"}
	to := w.nodeOf(w.zone.resolve())
	d := 2 * time.Second
	if to != nil && to.alive && !to.frozen {
		if v.State = to.postgres(); v.State == pg.StateWritable {
			v.OK, v.Answered, v.Err = true, to.addr, ""
		}
		d = w.between(ms(2), ms(50))
	}
	w.wait(d)
	v.End = n.wall()
	return v
}

type resolver struct{ w *world }

func (s resolver) Lookup(context.Context, string) ([]netip.Addr, time.Duration, error) {
	addr := s.w.zone.resolve()
	if !s.w.wait(s.w.between(ms(1), ms(20))) || !addr.IsValid() {
		return nil, 0, errors.New("no answer")
	}
	return []netip.Addr{addr}, 10 * time.Second, nil
}

// clock is the agent's clock on a node.
type clock struct{ n *node }

func (c clock) Boot() time.Duration { return c.n.clock() }
func (c clock) Mono() time.Duration { return c.n.clock() - c.n.slept }
func (c clock) Wall() time.Time     { return c.n.wall() }

func ms(n int) time.Duration { return time.Duration(n) * time.Millisecond }

// logger prints what the agent says about itself into the story.
func (w *world) logger(n *node) *slog.Logger {
	if w.out == nil {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(&teller{w: w, n: n})
}
