package switchover

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/pgha/pgha-agent/agent/internal/wait"
	"github.com/pgha/pgha-agent/agent/status"
	"github.com/pgha/pgha-agent/crm"
	"github.com/pgha/pgha-agent/pg"
)

// World is what a move acts on and looks at. Every call respects its context.
type World interface {
	Prefer(ctx context.Context, l crm.Location, pacemaker string) error
	Withdraw(ctx context.Context, id string) error
	Look(ctx context.Context) (*crm.Status, error)
	Status(ctx context.Context, node string) (*status.Doc, error) // of the daemon of this or another node
	Resolve(ctx context.Context) (string, error)                  // the address of the name, "" when it has none
	Connect(ctx context.Context) pg.ClientProbe                   // one attempt of a client
	HasClient() bool                                              // whether Connect may be called
}

// State is how a switchover ended.
type State string

// The closed set of states.
const (
	// The database works on the target, clients reach it there, nothing of the command is left.
	Moved      State = "moved"
	Unverified State = "unverified" // the role moved, but not all that makes it useful was seen in time; nothing is left
	NotMoved   State = "not_moved"  // the target is not promoted; nothing is left, and Pacemaker decides
	Leftover   State = "leftover"   // the constraint could not be removed: it stands until it ends by itself
)

// Result is the outcome of a move.
type Result struct {
	State    State     `json:"state"`
	Why      string    `json:"why,omitempty"` // of anything but moved
	Promoted []string  `json:"promoted"`      // nodes that Pacemaker shows as promoted at the end
	Began    time.Time `json:"began"`
	Seconds  float64   `json:"seconds"`
	// What a client of the name saw; null when it saw none, or there was no client.
	Outage  *float64           `json:"client_outage_seconds"`
	Episode *status.EpisodeDoc `json:"episode"` // of the target's agent; null when it was not reached
	Left    *crm.Location      `json:"leftover,omitempty"`
	Command string             `json:"command,omitempty"` // the next one to run
}

// Timing of a move.
const (
	lookEvery  = 2 * time.Second // at most, and no more than a fifth of the time: crm_mon is not free
	askEvery   = 500 * time.Millisecond
	undoWithin = 30 * time.Second
	// Spare is by how much the constraint outlives the timeout: time to remove it.
	Spare = 2 * time.Minute
)

// Mover moves. Say gets a line for each thing that happens.
type Mover struct {
	World   World
	Node    string        // this node
	Timeout time.Duration // until the move is verified
	Say     func(after time.Duration, line string)
}

// Move does what the plan says, and takes back the constraint however it ends: done, failed, too late, or ctx canceled.
// Only a kill leaves it, and then until its time is over. An error means that nothing was changed.
func (m *Mover) Move(ctx context.Context, p *Plan) (*Result, error) {
	began := time.Now()
	say := func(format string, args ...any) { m.Say(time.Since(began), fmt.Sprintf(format, args...)) }
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	for _, id := range p.Stale {
		if err := m.World.Withdraw(ctx, id); err != nil {
			return nil, fmt.Errorf("remove %s, which an earlier switchover left: %w", id, err)
		}
	}
	pref := crm.Location{
		ID: p.ID(), Resource: p.Clone, Node: p.To, Role: crm.RolePromoted, Score: crm.Infinity,
		Until: began.Add(m.Timeout + Spare).Truncate(time.Second),
	}
	// From here on the constraint may exist even after an error. Only ErrExists says for certain that it is not ours.
	err := m.World.Prefer(context.WithoutCancel(ctx), pref, p.pacemaker)
	if errors.Is(err, crm.ErrExists) {
		return nil, fmt.Errorf("another switchover has just begun: %w", err)
	}
	res := &Result{State: NotMoved, Began: began, Promoted: []string{}}
	t := newTracker(p, m.World.HasClient())
	u := &undo{world: m.World, id: pref.ID, say: say}
	var gap time.Duration
	if err != nil {
		res.Why = fmt.Sprintf("the constraint was not set: %v", err)
	} else {
		say("constraint %s is set, until %s at most", pref.ID, pref.Until.Format(time.TimeOnly))
		res.Why, gap = m.follow(ctx, t, u, say)
	}
	u.finish(ctx)
	m.conclude(context.WithoutCancel(ctx), t, res)
	res.Outage, res.Episode, res.Seconds = t.clientOutage(gap), t.episode, time.Since(began).Seconds()
	if !u.gone {
		res.State, res.Left, res.Command = Leftover, &pref, Undo
		res.Why = cmp.Or(res.Why, "the constraint could not be removed")
	}
	return res, nil
}

// follow looks until the move is verified, has failed, or time is up. why is "" when it is verified. gap is the outage
// that a client here saw.
func (m *Mover) follow(ctx context.Context, t *tracker, u *undo, say func(string, ...any)) (why string,
	gap time.Duration) {
	ctx, cancel := context.WithTimeoutCause(ctx, m.Timeout, fmt.Errorf("not within %s", m.Timeout))
	defer cancel()
	looks, views, answers := m.looks(ctx), m.views(ctx), m.answers(ctx, t.plan)
	var client pg.OutageTracker
	for {
		var s seen
		select {
		case <-ctx.Done():
			return strings.TrimSuffix(fmt.Sprintf("%v: %s", context.Cause(ctx), t.missing()), ": "), gap
		case s.cluster = <-looks:
		case v := <-views:
			s.view = &v
			if g := client.Observe(v); g != nil {
				gap = max(gap, g.Duration())
			}
		case s = <-answers:
		}
		for _, line := range t.observe(s) {
			say("%s", line)
		}
		if t.failed != "" {
			return t.failed, gap
		}
		if t.settled() {
			u.try(ctx)
		}
		if t.verified() {
			return "", gap
		}
	}
}

// ask asks the daemons and the resolver. One that does not answer is asked again the next time.
func (m *Mover) ask(ctx context.Context, p *Plan) (s seen) {
	s.local, _ = m.World.Status(ctx, m.Node)
	if m.Node == p.To {
		s.there = s.local
	} else {
		s.there, _ = m.World.Status(ctx, p.To)
	}
	s.resolver, _ = m.World.Resolve(ctx)
	return s
}

// looks runs crm_mon again and again until ctx ends.
func (m *Mover) looks(ctx context.Context) <-chan *crm.Status {
	return repeat(ctx, func(took time.Duration) time.Duration { return max(lookEvery, 4*took) },
		func() (*crm.Status, bool) {
			st, err := m.World.Look(ctx)
			return st, err == nil
		})
}

// answers asks the daemons and the resolver again and again until ctx ends.
func (m *Mover) answers(ctx context.Context, p *Plan) <-chan seen {
	return repeat(ctx, shortly, func() (seen, bool) { return m.ask(ctx, p), true })
}

// views connects as a client again and again until ctx ends.
func (m *Mover) views(ctx context.Context) <-chan pg.ClientProbe {
	if !m.World.HasClient() {
		return nil
	}
	return repeat(ctx, shortly, func() (pg.ClientProbe, bool) { return m.World.Connect(ctx), true })
}

func shortly(time.Duration) time.Duration { return askEvery }

// repeat calls look until ctx ends, and hands on what it finds. pause follows each call, by how long it took. Each look
// has a goroutine of its own: a daemon that is slow to answer does not make the client's view late.
func repeat[T any](ctx context.Context, pause func(took time.Duration) time.Duration, look func() (T, bool)) <-chan T {
	ch := make(chan T)
	go func() {
		for ctx.Err() == nil {
			start := time.Now()
			v, ok := look()
			took := time.Since(start)
			if ok {
				select {
				case ch <- v:
				case <-ctx.Done():
				}
			}
			wait.For(ctx, pause(took))
		}
	}()
	return ch
}

// undo removes the constraint. A cluster without a controller takes no change for a while.
type undo struct {
	world World
	id    string
	say   func(string, ...any)
	gone  bool
	said  bool // that it does not work
	next  time.Time
}

// try tries once, and not again within three seconds.
func (u *undo) try(ctx context.Context) {
	if u.gone || time.Now().Before(u.next) {
		return
	}
	u.next = time.Now().Add(3 * time.Second)
	switch err := u.world.Withdraw(ctx, u.id); {
	case err == nil:
		u.gone = true
		u.say("constraint %s is removed", u.id)
	case !u.said:
		u.said = true
		u.say("constraint %s is not removed yet, trying on: %v", u.id, err)
	}
}

// finish tries until it works, for a limited time, even when the command was canceled.
func (u *undo) finish(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoWithin)
	defer cancel()
	for u.next = (time.Time{}); !u.gone && ctx.Err() == nil; wait.For(ctx, askEvery) {
		u.try(ctx)
		if u.gone {
			return
		}
	}
}

// conclude says where the role is in the end.
func (m *Mover) conclude(ctx context.Context, t *tracker, res *Result) {
	if res.Why == "" {
		res.State, res.Promoted = Moved, []string{t.plan.To}
		return
	}
	ctx, cancel := context.WithTimeout(ctx, undoWithin)
	defer cancel()
	for ctx.Err() == nil { // Pacemaker may be between the two
		if st, err := m.World.Look(ctx); err == nil {
			if res.Promoted = st.Promoted(t.plan.Clone); len(res.Promoted) == 1 {
				break
			}
		}
		wait.For(ctx, lookEvery)
	}
	if len(res.Promoted) == 1 && res.Promoted[0] == t.plan.To {
		res.State = Unverified
	}
	res.Command = "pgha-agent explain"
}
