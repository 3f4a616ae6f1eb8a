package agent

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sync/errgroup"

	"github.com/pgha/pgha-agent/agent/config"
	"github.com/pgha/pgha-agent/agent/fsm"
	"github.com/pgha/pgha-agent/agent/status"
	"github.com/pgha/pgha-agent/drbd"
)

// PublishOnce is the gate and the write of a daemon that is not running: the same core, sources and guard, until this
// node's promotion is in the zone or ctx ends. It keeps no journal of its own and opens no socket. The document says
// how it ended.
func PublishOnce(ctx context.Context, opts Options) (*status.Doc, error) {
	cfg := *opts.Config
	cfg.Postgres.Client = config.Off
	opts.Config, opts.once = &cfg, true
	a, err := New(opts)
	if err != nil {
		return nil, err
	}
	defer a.close()
	ctx, finish := context.WithCancelCause(ctx)
	defer finish(nil)
	a.onStep = a.untilSettled(ctx, func() { finish(errSettled) })
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return a.src.Drbd.Run(ctx, func(r drbd.Report) { a.send(ctx, a.drbdChanged(r)) }) })
	if a.state.Config.Addr == "" {
		group.Go(func() error { a.findAddress(ctx); return nil })
	}
	group.Go(func() error { return a.loop(ctx) })
	err = group.Wait()
	a.effects.Wait()
	s := a.Snapshot()
	doc := s.Doc()
	switch {
	case s.State.Promotion.Contested && judged(&s.State):
		return doc, errors.New("another node claimed the record later: waiting for a new promotion")
	case s.State.Promotion.Published && s.State.Zone.OK && judged(&s.State) && !s.State.Drift():
		return doc, nil
	case err != nil && !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded):
		return doc, err
	default:
		return doc, fmt.Errorf("not published: %v", holdNames(s.Holds))
	}
}

// untilSettled watches the steps of a publication: it calls done when nothing is left to do, and asks once for a write
// over a record that says something else than what was claimed.
func (a *Agent) untilSettled(ctx context.Context, done func()) func(*status.Snapshot) {
	republished := false
	return func(s *status.Snapshot) {
		switch st := &s.State; {
		case !st.Settled() || !judged(st) || st.Write.InFlight.Claim != "":
		case st.Drift() || st.TTLDrift(): // until the request has been taken in, which other messages may come before
			if !republished {
				republished = true
				a.start(func() { a.send(ctx, message{event: fsm.Republish{}}) }) // not from within the loop: its inbox may be full
			}
		default:
			done()
		}
	}
}

// judged reports whether the state knows enough to tell whose the record is and what it should hold. What the journal
// says may be of a promotion that ended while no daemon ran, and a look that comes too early for an alert does not show
// the next one.
func judged(st *fsm.State) bool {
	c := &st.Cluster
	shown := c.At != 0 && c.PromotedHere && (c.Promotion == st.Promotion.Claim || c.Promotion == "")
	return shown && st.Zone.At != 0 && st.Config.Addr != ""
}

var errSettled = errors.New("settled")
