package main

import (
	"context"
	"fmt"
	"time"

	"github.com/pgha/pgha-agent/agent/status"
	"github.com/pgha/pgha-agent/crm"
)

var clockScenarios = []scenario{
	{20, "clock step on the survivor",
		[]part{{"it fences with its clock 26 h ahead, is set back, and fences again with an older stamp", clockStep}}},
}

// clockAhead is more than a day, so that no date is right either.
const clockAhead = 26 * time.Hour

// clockStep has the same node survive twice. In the history that its second fencing joins, the first one's stamp is
// ahead by a day.
func clockStep(ctx context.Context, r *scenarioRun) error {
	p, s, err := r.roles()
	if err != nil {
		return err
	}
	if _, err := s.run(ctx, fmt.Sprintf("date -s '+%d seconds' >/dev/null", int(clockAhead.Seconds()))); err != nil {
		return err
	}
	r.say("%s: its clock is set %s ahead", s.name, clockAhead)
	if _, _, err := r.failOver(ctx); err != nil {
		return err
	}
	if err := r.heldByNothing(ctx, s); err != nil {
		return err
	}
	if err := s.setClock(ctx); err != nil {
		return err
	}
	r.say("%s: its clock is set right", s.name)
	stamps, err := r.fenceStamps(ctx, s, p)
	if err != nil {
		return err
	}
	r.expect(len(stamps) == 1 && time.Until(stamps[0]) > clockAhead/2, "the fencing of %s is stamped %v", p.name, stamps)

	if err := r.boot(ctx, p); err != nil {
		return err
	}
	r.say("%s: power on, cluster started", p.name)
	if err := s.until(ctx, 2*takeover, clusterQuiet); err != nil {
		return err
	}
	if err := r.standbyMove(ctx, s, p); err != nil {
		return err
	}
	// What it knows of the first fencing is from its journal then.
	if err := r.restartAgent(ctx, s); err != nil {
		return err
	}
	if _, _, err := r.failOver(ctx); err != nil {
		return err
	}
	if err := r.heldByNothing(ctx, s); err != nil {
		return err
	}
	stamps, err = r.fenceStamps(ctx, s, p)
	if err != nil {
		return err
	}
	r.say("%s was fenced at %v, by %s's clock", p.name, stamps, s.name)
	r.expect(len(stamps) == 2 && stamps[0].Sub(stamps[1]).Abs() > clockAhead/2, "the fencings of %s are stamped %v",
		p.name, stamps)
	if err := r.finish(ctx, terms{publications: 3}); err != nil {
		return err
	}
	d, err := r.status(ctx, s)
	if err != nil {
		return err
	}
	r.expect(d.Episode.Cause == "node_lost" && d.Episode.Writes == 1, "the episode is %s", asJSON(d.Episode))

	if err := r.restartAgent(ctx, s); err != nil {
		return err
	}
	if err := r.heldByNothing(ctx, s); err != nil {
		return err
	}
	r.expect(len(r.aws.publications()) == 3, "the restarted agent wrote: %v", r.aws.publications())
	return nil
}

// restartAgent restarts a node's agent and waits until it has looked at the cluster.
func (r *scenarioRun) restartAgent(ctx context.Context, n *node) error {
	if _, err := n.run(ctx, "systemctl restart pgha-agent"); err != nil {
		return err
	}
	return r.await(ctx, patience, n.name+": agent restarted", func() bool {
		d, _ := r.status(ctx, n)
		return d != nil && d.Cluster != nil && d.Publication.State != status.PubUnknown
	})
}

// heldByNothing waits until a promoted node's agent is content: were its peer unfenced in its eyes, it would hold the
// record back and say so.
func (r *scenarioRun) heldByNothing(ctx context.Context, n *node) error {
	var d *status.Doc
	err := r.await(ctx, patience, n.name+": observed, and nothing is held back", func() bool {
		d, _ = r.status(ctx, n)
		return d != nil && d.Publication.State == status.PubObserved && len(d.Publication.Holds) == 0
	})
	if d != nil && err != nil {
		err = fmt.Errorf("%w: %s", err, asJSON(d.Publication))
	}
	return err
}

// fenceStamps are the times of the fencings of a node that succeeded, as another node tells them.
func (r *scenarioRun) fenceStamps(ctx context.Context, by, of *node) (stamps []time.Time, err error) {
	out, err := by.run(ctx, "crm_mon --output-as=xml")
	if err != nil {
		return nil, err
	}
	st, err := crm.Parse([]byte(out))
	if err != nil {
		return nil, fmt.Errorf("read crm_mon of %s: %w", by.name, err)
	}
	for _, e := range st.Fenced(of.name) {
		stamps = append(stamps, e.Completed)
	}
	return stamps, nil
}
