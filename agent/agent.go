package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/pgha/pgha-agent/agent/alertsock"
	"github.com/pgha/pgha-agent/agent/config"
	"github.com/pgha/pgha-agent/agent/fsm"
	"github.com/pgha/pgha-agent/agent/internal/wait"
	"github.com/pgha/pgha-agent/agent/metrics"
	"github.com/pgha/pgha-agent/agent/state"
	"github.com/pgha/pgha-agent/agent/status"
	"github.com/pgha/pgha-agent/crm"
	"github.com/pgha/pgha-agent/crm/corosync"
	"github.com/pgha/pgha-agent/drbd"
	"github.com/pgha/pgha-agent/pg"
	"github.com/pgha/pgha-agent/route53"
)

// Options are what an Agent is made of beside its configuration.
type Options struct {
	Config  *config.Config
	Version string
	Logger  *slog.Logger // may block: the agent does not wait for it
	Clock   Clock        // nil: the kernel's
	Alerts  net.Listener // alert socket held by systemd; nil: the agent makes its own
	Notify  Notifier     // systemd; nil: nobody to tell
	File    string       // of the configuration; the doctor looks whether the hook can read it

	once       bool          // one publication without a daemon: the journal is only read
	sources    *Sources      // nil: the real ones
	boot       string        // boot id; "": the kernel's
	membership time.Duration // Corosync's, with sources; else its file tells
	corosync   string        // Corosync's file; "": where Corosync has it
}

// Agent is the daemon of one node. The loop owns state, observed and loggedHolds; everything else reads the snapshot.
type Agent struct {
	cfg   *config.Config
	opts  Options
	log   *slog.Logger
	clock Clock
	id    identity

	membership time.Duration // Corosync's, as its file said at the start; 0 when not known

	inbox       chan message
	ended       chan struct{} // closed when the loop has ended
	state       fsm.State
	observed    status.Snapshot
	snap        atomic.Pointer[status.Snapshot]
	loggedHolds fsm.Holds
	planned     fsm.Time // when the loop means to wake next
	outage      pg.OutageTracker
	lastDrbd    atomic.Pointer[fsm.Drbd] // what the stream said last: the loop may not have taken it in yet
	cancel      context.CancelCauseFunc  // of the write in flight
	effects     sync.WaitGroup
	start       func(func()) // starts an effect beside the loop

	src        Sources
	alertsAt   net.Listener // sockets, once they are open
	controlAt  net.Listener
	journal    *state.Writer
	earlier    state.Entry // the last episode, when it is of another boot: what its times count from
	pauses     pauses
	sequenceMu sync.Mutex
	sequence   crm.Sequence
	metrics    *metrics.Metrics
	cloud      *cloud // nil: off
	notify     notifier
	observers  []*observer
	events     aside[[]state.Event]
	toldStart  bool                   // of saveEvents
	story      status.Story           // of noteEvents
	onStep     func(*status.Snapshot) // nil but for PublishOnce
	alerts     alertsock.AlertCounters
}

// message is an event with what the snapshot should show beside it.
type message struct {
	event fsm.Event
	apply func(*status.Snapshot) // run by the loop; may be nil
}

// New makes an Agent. It fails only on what no wait would fix; AWS, Pacemaker, DRBD and PostgreSQL need not be
// there.
func New(opts Options) (*Agent, error) {
	a, err := prepare(opts)
	if err != nil {
		return nil, err
	}
	a.begin()
	return a, nil
}

// prepare makes the part of an Agent that can fail. It leaves alone what belongs to an agent that still runs.
func prepare(opts Options) (*Agent, error) {
	a := &Agent{
		cfg: opts.Config, opts: opts, log: opts.Logger, clock: opts.Clock, inbox: make(chan message, 64),
		ended:   make(chan struct{}),
		journal: state.NewWriter(opts.Config.State.Dir),
	}
	if opts.sources == nil { // a simulation has one thread, and what it says an order
		a.log = slog.New(newLogAside(opts.Logger.Handler()))
	}
	if opts.Notify != nil {
		a.opts.Notify = beside(opts.Notify)
	}
	a.lastDrbd.Store(&fsm.Drbd{})
	if a.clock == nil {
		a.clock = SystemClock{}
	}
	a.start = a.effects.Go
	boot := opts.boot
	var err error
	if boot == "" {
		if boot, err = bootID(); err != nil {
			return nil, err
		}
	}
	a.id = identity{boot: boot, node: a.cfg.Node.Name, clone: a.cfg.Cluster.Promotable}
	if err := a.connect(); err != nil {
		return nil, err
	}
	return a, nil
}

// begin goes on from what the state directory says, once no other agent writes there.
func (a *Agent) begin() {
	a.membership = a.readMembership()
	last, sameBoot := a.openJournal()
	a.state = fsm.New(a.coreConfig(), uint64(a.clock.Wall().UnixNano()), last, sameBoot)
	a.state.Wait.PausedUntil = a.pauseFound()
	a.metrics = metrics.New(metrics.Source{
		Snapshot: a.Snapshot, Now: a.clock.Boot, Rejected: a.alerts.Rejected.Load, Malformed: a.alerts.Malformed.Load,
	})
	a.cloud = newCloud(a)
	a.observers = a.makeObservers()
	a.events.do = a.saveEvents
	a.publish(a.clock.Boot())
}

func (a *Agent) coreConfig() fsm.Config {
	c := fsm.Config{
		Node:            a.cfg.Node.Name,
		PublishWritable: a.cfg.Record.PublishOn == config.PublishOnWritable,
		Ownership:       a.cfg.Record.Ownership == config.OwnershipTXT,
		Repair:          a.cfg.Record.Repair && a.cfg.Record.Ownership == config.OwnershipTXT,
		Record:          a.cfg.Record.ZoneID + " " + a.cfg.Record.Name + " " + a.cfg.Record.Ownership,
		TTL:             a.cfg.Record.TTL,
		ProbeClient:     a.src.Client != nil,
		DriftEvery:      a.cfg.Record.DriftCheck,
		Membership:      a.membership,
		Unnamed:         a.id.unnamed(),
	}
	if addr, err := netip.ParseAddr(a.cfg.Node.Address); err == nil {
		c.Addr = addr.String()
	}
	return c
}

// readMembership reads how long Corosync takes to agree that a node is away. Nothing fails for it: 0 is unknown, and
// the core then waits as long as it may need to.
func (a *Agent) readMembership() time.Duration {
	if a.opts.sources != nil {
		return a.opts.membership
	}
	file := cmp.Or(a.opts.corosync, corosync.File)
	c, err := corosync.Read(file)
	if err == nil && c.Membership() == 0 {
		err = fmt.Errorf("%s gives no token, and its default depends on Corosync's version", file)
	}
	if err != nil {
		if !a.opts.once {
			a.log.Info("Corosync's timeouts are not known: the wait after a stall is the default one", keyErr, err)
		}
		return 0
	}
	return c.Membership()
}

// Run runs the agent until ctx ends. It does not touch the record on the way out: a record that is missing or wrong
// outlives the stop in every cache.
func (a *Agent) Run(ctx context.Context) error {
	defer a.close()
	if err := a.open(nil); err != nil {
		return err
	}
	saving, loopEnded := context.WithCancel(context.WithoutCancel(ctx))
	defer loopEnded()
	group, ctx := errgroup.WithContext(ctx)
	a.noteRun("agent " + a.opts.Version + " begins")
	a.listen(ctx, group)
	saved := make(chan error, 1)
	go func() { saved <- a.journal.Run(saving, func(err error) { a.journalSaved(ctx, err) }) }()
	group.Go(func() error {
		return a.src.Drbd.Run(ctx, func(r drbd.Report) { a.send(ctx, a.drbdChanged(r)) })
	})
	group.Go(func() error { a.keepWarm(ctx); return nil })
	if a.cloud != nil {
		group.Go(func() error { a.cloud.putAll(ctx); return nil })
		group.Go(func() error { a.cloud.publish(ctx); return nil })
	}
	group.Go(func() error { a.diagnose(ctx); return nil })
	for _, o := range a.observers {
		group.Go(func() error { o.run(ctx); return nil })
	}
	if a.state.Config.Addr == "" {
		group.Go(func() error { a.findAddress(ctx); return nil })
	}
	group.Go(func() error { return a.loop(ctx) })
	err := group.Wait()
	a.noteRun("agent ends")
	a.effects.Wait()
	a.pauses.end()
	loopEnded() // only now: its last step may have had something to save
	err = errors.Join(err, <-saved)
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

func (a *Agent) close() {
	for _, l := range []net.Listener{a.alertsAt, a.controlAt} {
		if l != nil {
			_ = l.Close()
		}
	}
	a.src.Postgres.Close()
	a.src.Zone.Close()
	a.journal.Close()
	a.events.flush(logFlush)
	if h, ok := a.log.Handler().(logAside); ok {
		h.lines.flush(logFlush)
	}
}

// send hands an event to the loop, unless ctx or the loop ends before it has room.
func (a *Agent) send(ctx context.Context, m message) {
	select {
	case a.inbox <- m:
	case <-ctx.Done():
	case <-a.ended:
	}
}

// loop is the only place where the state changes.
func (a *Agent) loop(ctx context.Context) error {
	defer close(a.ended)
	timer := time.NewTimer(0)
	defer timer.Stop()
	a.planned = a.clock.Boot()
	a.notify = newNotifier(a.opts.Notify, a.planned)
	for {
		var m message
		select {
		case <-ctx.Done():
			if a.cancel != nil {
				a.cancel(errStopping)
			}
			return ctx.Err()
		case m = <-a.inbox:
		case <-timer.C:
			m = message{event: fsm.Tick{}}
		}
		timer.Reset(a.turn(ctx, m))
	}
}

// turn is one round of the loop. It returns how long the loop may sleep.
func (a *Agent) turn(ctx context.Context, m message) time.Duration {
	a.noticeStall(ctx)
	a.step(ctx, m)
	now := a.clock.Boot()
	a.planned = min(a.state.Next(now), now+heartbeat)
	a.heartbeat(now)
	return a.planned - now
}

// heartbeat is the longest that the loop sleeps, and so how soon it notices that it stalled.
const heartbeat = time.Second

// noticeStall compares when the loop meant to wake with when it did: a stopped, swapped out or suspended process wakes
// late. Its picture of the cluster is from before.
func (a *Agent) noticeStall(ctx context.Context) {
	if late := a.clock.Boot() - a.planned; late > a.state.StallBound() {
		a.log.Warn("stalled, holding publication back until the cluster has been looked at again", keyLate, late)
		a.metrics.Stalls.Inc()
		a.step(ctx, message{event: fsm.Stalled{}})
	}
}

// step feeds one event to the core, shows the result and starts what it asks for.
func (a *Agent) step(ctx context.Context, m message) {
	now := a.clock.Boot()
	before := a.state
	if m.apply != nil {
		was := a.observed.Sources
		m.apply(&a.observed)
		a.logSources(&was)
	}
	var actions []fsm.Action
	a.state, actions = a.state.Step(now, m.event)
	last := a.snap.Load()
	a.publish(now)
	a.noteEvents(last, a.snap.Load())
	a.logTransitions(&before)
	a.metrics.Transitions(&before.Episode, &a.state.Episode)
	for _, action := range actions {
		if save, ok := action.(fsm.Save); ok && save.Episode.Outcome != "" && (save.Episode.ID != before.Episode.ID ||
			before.Episode.Open()) {
			a.episodeEnds(&save.Episode)
		}
		a.perform(ctx, action)
	}
	if a.onStep != nil {
		a.onStep(a.snap.Load())
	}
}

// publish makes the state of now visible to everybody else.
func (a *Agent) publish(now fsm.Time) {
	s := a.observed
	s.At, s.Wall, s.State = now, a.clock.Wall(), a.state
	s.Holds = a.state.Gate(now)
	s.Config, s.Version, s.Client = a.cfg, a.opts.Version, a.src.Client != nil
	s.Number, s.Earlier = a.journal.Number(a.state.Episode.ID), a.earlier
	a.snap.Store(&s)
}

// Snapshot returns what the agent knows.
func (a *Agent) Snapshot() *status.Snapshot { return a.snap.Load() }

// findAddress asks the instance metadata for this node's address until it answers.
func (a *Agent) findAddress(ctx context.Context) {
	for delay := time.Second; ctx.Err() == nil; delay = min(2*delay, 30*time.Second) {
		addr, err := route53.OwnAddress(ctx, a.cfg.Record.IMDS)
		if err == nil {
			a.log.Info("own address from instance metadata", keyAddr, addr)
			a.send(ctx, message{event: fsm.AddressKnown{Addr: addr.String()}})
			return
		}
		a.log.Warn("own address not known: set node.address, or enable instance metadata (IMDSv2)", keyErr, err)
		wait.For(ctx, delay)
	}
}

// keepWarm keeps credentials fresh and a connection to the API open, so that the first packet of a promotion is the
// write.
func (a *Agent) keepWarm(ctx context.Context) {
	for ctx.Err() == nil {
		if err := a.src.Zone.Warm(ctx); err != nil && ctx.Err() == nil {
			a.log.Debug("API connection not warm", keyErr, err)
		}
		wait.For(ctx, 25*time.Second)
	}
}

var errStopping = errors.New("agent is stopping")
