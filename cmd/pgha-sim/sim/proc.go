package sim

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/pgha/pgha-agent/agent"
	"github.com/pgha/pgha-agent/crm"
	"github.com/pgha/pgha-agent/drbd"
	"github.com/pgha/pgha-agent/pg"
	"github.com/pgha/pgha-agent/route53"
)

// proc is one process with an agent in it: the daemon, or the publication of the hook.
type proc struct {
	w       *world
	n       *node
	d       *agent.Simulated
	once    bool
	dead    bool
	stalled time.Duration // until
	tasks   []*task
	turns   int
	saving  bool
	waits   bool          // its loop, for PID 1
	hung    time.Duration // and does so until
	cancels func()
	reports []drbd.Report // of the stream, on their way

	is      deed          // what it publishes, but for the claim
	free    time.Duration // of a publication without the daemon: since when nothing has been in its way
	paused  time.Duration // of a publication without the daemon: until when
	episode uint64        // that it showed last
	turned  time.Duration
	durable time.Duration // what it was told before is in its journal
	memory
}

// memory is what a process was told: what the oracle judges it by.
type memory struct {
	born     time.Duration
	looked   time.Duration // by the node's clock: when its last good look began
	sight    time.Duration // when that began
	met      time.Duration // and when the first one did
	shown    int           // the promotion of its own that this look showed
	heard    time.Duration // when the events2 stream last said something
	said     drbd.Report   // what that was
	demoted  time.Duration // since when DRBD, connected, has called the other node Secondary; -1: it does not
	primary  time.Duration // when DRBD last began to show the other node connected and Primary
	vague    bool          // the other node may have come back since it last saw the history
	away     bool          // it was in the last look
	relinked time.Duration // and when it may have, for a new stream shows it
	// when the last look began that showed the other node promoted and well; -1: the last one did not
	saw   time.Duration
	blank bool // it could not read its journal
	// the other node was promoted and well in one look, and gone in the next, or the journal says so
	lost        bool
	lostAt      time.Duration
	gone        bool          // and, for all that it was shown, has not been back
	unfenced    bool          // and nobody had fenced it in the last look
	seen        time.Duration // when the last look began that showed the other node promoted
	seenSince   time.Duration // and since when it was
	read        time.Duration // when the last reading of the record began
	latest      string        // the claim that this or an earlier process of the node read last
	throttled   int           // readings that the account's limit refused, less those that went well since
	fenced      map[crm.FenceEvent]time.Duration
	missed      time.Duration          // when a reading of the record last failed
	wrote       time.Duration          // when its last change request ended
	told        map[deed]time.Duration // what it knows to be accepted, since when
	quiet       map[deed]bool          // of these, the claims after which it has read a newer one of the other node
	foreign     bool                   // it has read its own claim with an address that is not its own
	repaired    time.Duration          // when it last wrote its record again because of that
	repairedFor deed
	repairing   uint64 // the epoch of one that it has sent, and does not know yet how it went
}

var errDead = errors.New("the process has died")

// spawn starts a process on the node.
func (n *node) spawn(once bool) {
	w := n.w
	p := &proc{w: w, n: n, once: once, is: n.deed(""), free: w.now}
	p.memory = memory{born: w.now, latest: n.rivals.last, demoted: -1, saw: -1, repaired: -time.Hour,
		told: map[deed]time.Duration{}, quiet: map[deed]bool{}, fenced: map[crm.FenceEvent]time.Duration{}}
	w.oracle.remembers(p)
	src := agent.Sources{Crm: p, Drbd: p, Postgres: prober{p}, Zone: api{p}, Resolver: resolver{p}}
	if w.s.View && !once {
		src.Client = client{p}
	}
	d, err := agent.NewSimulated(agent.Options{Config: n.cfg, Version: "sim", Logger: w.logger(n)},
		agent.Simulation{Clock: clock{n}, Boot: n.bootID(), Sources: src, Once: once, Start: p.start, Notify: n.notifier(p),
			Membership: w.membership()})
	if err != nil {
		panic(err) // the state directory is ours: a fault of the simulator
	}
	p.d = d
	if p.paused = n.pauseFound(); !once {
		n.paused, n.pausedAt = p.paused, w.now
	}
	n.procs = append(n.procs, p)
	if !once {
		if w.now > 0 {
			n.starts = append(n.starts, w.now)
		}
		n.daemon = p
	}
	w.rough(n)
	p.stream(w.between(ms(1), ms(300)))
	p.turn()
}

// runs runs one job of the process, or kills it, or makes it wait.
func (p *proc) runs(f func()) {
	w := p.w
	switch {
	case p.dead:
	case p.n.frozen:
		p.n.late = append(p.n.late, job{p: p, run: f})
	case w.now < max(p.stalled, p.hung):
		w.on(p, max(p.stalled, p.hung)-w.now, f)
	case w.chance(w.s.Deadly):
		w.story(p.n, "agent dies")
		p.kill()
		p.n.restarts()
	case w.chance(w.s.Stalling):
		d := w.usually(0, 3*time.Second, 40*time.Second)
		w.story(p.n, "agent stalls for %v", d)
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
	p.w.oracle.keeps(p)
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
		p.turned = p.w.now
		if p.waits {
			p.waits = false
			p.hung = p.n.systemdHangs
		}
		p.w.oracle.hears(p)
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
	switch {
	case p.saving || p.once:
	case !p.d.Unsaved():
		p.durable = p.turned
	default:
		p.saving = true
		p.saveIn(p.w.usually(ms(1), ms(50), 20*time.Second))
	}
}

func (p *proc) saveIn(d time.Duration) {
	p.w.on(p, max(d, p.n.diskHangs-p.w.now), func() {
		if p.d.Flush() != nil {
			p.saveIn(5 * time.Second)
			return
		}
		p.saving = false
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
	begun := w.now
	first, second := w.usually(ms(5), ms(300), n.crmTakes), w.usually(ms(1), ms(100), n.crmTakes)
	if w.now < n.crmCrawls {
		first, second = w.between(ms(1), 5*time.Second), w.between(5*time.Second, 5*time.Second)
	}
	if !w.wait(first) {
		return nil, errDead
	}
	var st *crm.Status
	var other member
	hidden := false
	shown := n.promotions
	if n.cib != nil && w.now >= n.crmFails && !w.chance(100) {
		st, other, hidden = n.cib.status(w), n.cib.n[1-n.i], w.noHistory != 0
	}
	if !w.wait(second) {
		return nil, errDead
	}
	if st == nil {
		return nil, errors.New("crm_mon: not connected")
	}
	p.looked, p.shown = began, shown
	for _, e := range st.FenceEvents {
		if _, seen := p.fenced[e]; !seen {
			p.fenced[e] = w.now
		}
	}
	w.oracle.looks(p, begun, other, hidden)
	return st, nil
}

// stream makes a new events2 child say everything, and then that it is alive.
func (p *proc) stream(d time.Duration) {
	p.tell(d, func() {
		p.reports = append(p.reports, p.n.drbd())
		p.next()
	})
}

// streams hands over what the stream says after a while: one thing after the other, as it was said.
func (p *proc) streams(d time.Duration, r drbd.Report) {
	p.reports = append(p.reports, r)
	p.tell(d, p.next)
}

func (p *proc) next() {
	r := p.reports[0]
	p.reports = p.reports[1:]
	p.report(r)
}

// noSignOfLife is how long a stream may hang: then the child is killed, and the stream is lost (package drbd, Report).
const noSignOfLife = 15 * time.Second

// streamLost tells the agent that the stream has hung for too long, if it still does.
func (p *proc) streamLost() {
	p.tell(0, func() {
		if p.w.now < p.n.streamHangs {
			p.hear(drbd.Report{Err: errors.New("events2 gives no sign of life")})
		}
	})
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
	p.hear(r)
}

func (p *proc) hear(r drbd.Report) {
	p.w.oracle.listens(p, r)
	p.d.Drbd(r)
}

// systemd is PID 1, which may hang: whoever tells it something waits then. In the agent nobody may who runs the loop.
type systemd struct {
	p     *proc
	hangs *atomic.Bool
}

func (s systemd) Notify(string) {
	if s.hangs.Load() && within("(*Simulated).Turn") {
		s.p.waits = true
	}
}

// within reports whether a function of that name is among the callers.
func within(name string) bool {
	var pcs [64]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(2, pcs[:])])
	for {
		f, more := frames.Next()
		if strings.HasSuffix(f.Function, name) {
			return true
		}
		if !more {
			return false
		}
	}
}

// notifier is how p reaches PID 1. To tell it each change costs time: only where it hangs at some time.
func (n *node) notifier(p *proc) agent.Notifier {
	if !slices.ContainsFunc(n.w.s.Steps, func(s Step) bool { return strings.HasPrefix(s.What, "systemd hangs") }) {
		return nil
	}
	return systemd{p, &n.pid1}
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

func (s client) Probe(context.Context) pg.ClientProbe {
	w, n := s.p.w, s.p.n
	v := pg.ClientProbe{Begin: n.wall(), State: pg.StateTimeout, Err: "timeout"}
	to := w.nodeOf(w.zone.resolve(s.p.is.key))
	d := 2 * time.Second
	if to != nil && to.alive && !to.frozen {
		if v.State = to.postgres(); v.State == pg.StateWritable {
			v.OK, v.Answers, v.Answered, v.Err = true, true, to.addr, ""
		}
		d = w.between(ms(2), ms(50))
	}
	w.wait(d)
	v.End = n.wall()
	return v
}

type resolver struct{ p *proc }

func (s resolver) Lookup(context.Context, string) ([]netip.Addr, error) {
	w := s.p.w
	addr := w.zone.resolve(s.p.is.key)
	switch {
	case !w.wait(w.between(ms(1), ms(20))):
		return nil, errDead
	case !addr.IsValid():
		return nil, &route53.DNSError{RCode: "NODATA"}
	}
	return []netip.Addr{addr}, nil
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
