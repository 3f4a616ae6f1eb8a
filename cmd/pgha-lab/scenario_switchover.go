package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/pgha/pgha-agent/agent/switchover"
)

var switchoverScenarios = []scenario{
	{17, "pgha-agent switchover", []part{
		{"there, back and there again, by the target and by the source", switchoverAndBack},
		{"interrupted in the middle: nothing is left, and the cluster decides", switchoverInterrupted},
		{"killed in the middle: its constraint is known everywhere, and one command ends it", switchoverKilled},
	}},
}

// outageMargin is by how much the outage that the command reports may differ from the writer's: each has its own pauses
// and timeouts, and an emulated machine takes a second to log somebody in.
const outageMargin = 6 * time.Second

func switchoverAndBack(ctx context.Context, r *scenarioRun) error {
	p, s, err := r.roles()
	if err != nil {
		return err
	}
	for i, on := range []*node{s, s, p} { // as the target, as the source, and the other node as the source
		if i > 0 {
			p, s = s, p
		}
		if err := r.switchable(ctx); err != nil {
			return err
		}
		began := time.Now()
		r.say("%s: switchover from %s to %s", on.name, p.name, s.name)
		out, err := on.run(ctx, "pgha-agent switchover --yes --json --timeout 4m")
		if err != nil {
			return err
		}
		var doc struct {
			Result switchover.Result `json:"result"`
		}
		if err := json.Unmarshal([]byte(out), &doc); err != nil {
			return fmt.Errorf("read the result of switchover: %w", err)
		}
		res := doc.Result
		r.expect(res.State == switchover.Moved && len(res.Promoted) == 1 && res.Promoted[0] == s.name, "the result is %s",
			asJSON(res))
		r.expect(r.promoted() == s, "%s is not Primary after it", s.name)
		if err := r.moves(ctx, s, time.Minute); err != nil {
			return err
		}
		r.expectNoConstraint(ctx, s)
		writer := r.outageSince(began)
		if r.expect(res.Outage != nil, "no outage is reported") {
			reported := time.Duration(*res.Outage * float64(time.Second))
			r.say("outage: reported %.1fs, the writer's %.1fs", reported.Seconds(), writer.Seconds())
			r.expect((reported-writer).Abs() <= outageMargin, "the reported outage is %s, the writer's %s", reported, writer)
		}
		r.expect(res.Episode != nil, "the episode of %s was not reached from %s", s.name, on.name)
		d, err := r.status(ctx, s)
		if err != nil {
			return err
		}
		r.expect(d.Episode.Cause == "operator", "the episode's cause is %q", d.Episode.Cause)
	}
	return r.finish(ctx, terms{publications: 3})
}

// switchable waits until the checks of a switchover pass: the last move has to be over for both agents.
func (r *scenarioRun) switchable(ctx context.Context) error {
	for _, n := range r.nodes {
		if err := n.until(ctx, takeover, clusterQuiet+" && pgha-agent switchover --dry-run"); err != nil {
			return err
		}
	}
	return nil
}

// outageSince is the writer's longest that ended after a time.
func (r *scenarioRun) outageSince(from time.Time) (longest time.Duration) {
	now := time.Now()
	for _, o := range r.writer.Outages(now, 0) {
		if o.To.IsZero() || o.To.After(from) {
			longest = max(longest, o.Length(now))
		}
	}
	return longest
}

// constraintGone succeeds when the configuration holds nothing of a switchover.
const constraintGone = "! cibadmin -Q -o constraints | grep " + switchover.Prefix

func (r *scenarioRun) expectNoConstraint(ctx context.Context, n *node) {
	_, err := n.run(ctx, constraintGone)
	r.expect(err == nil, "a constraint is left: %v", err)
}

// switchoverLog is what a switchover in the background prints, and at last "exit" with its status.
const switchoverLog = "/run/lab-switchover.log"

// cutShort starts a switchover on the standby and sends it a signal once the promoted role has left the other node.
func (r *scenarioRun) cutShort(ctx context.Context, signal string) (p, s *node, err error) {
	if p, s, err = r.roles(); err != nil {
		return nil, nil, err
	}
	if err := r.switchable(ctx); err != nil {
		return nil, nil, err
	}
	pid, err := s.run(ctx, `pgha-agent switchover --yes --timeout 15m </dev/null >`+switchoverLog+` 2>&1 & pid=$!
echo $pid >/run/lab-switchover.pid
{ while [ -d /proc/$pid ]; do sleep 0.2; done; echo ended >>`+switchoverLog+`; } </dev/null >/dev/null 2>&1 &
echo $pid`)
	if err != nil {
		return nil, nil, err
	}
	r.say("%s: switchover to it, in the background", s.name)
	if err := r.await(ctx, patience, p.name+" is demoted",
		func() bool { return p.history.at(time.Now()) != "Primary" }); err != nil {
		return nil, nil, err
	}
	if _, err := s.run(ctx, "kill -"+signal+" "+pid); err != nil {
		return nil, nil, err
	}
	r.say("%s: SIG%s", s.name, signal)
	return p, s, s.until(ctx, time.Minute, "grep -q '^ended' "+switchoverLog)
}

func switchoverInterrupted(ctx context.Context, r *scenarioRun) error {
	_, s, err := r.cutShort(ctx, "INT")
	if err != nil {
		return err
	}
	log, err := s.run(ctx, "cat "+switchoverLog)
	if err != nil {
		return err
	}
	r.expect(strings.Contains(log, "is removed") && strings.Contains(log, "interrupt"), "it does not say what it did: %s",
		log)
	r.expectNoConstraint(ctx, s)
	if err := r.await(ctx, patience, "a node is Primary", func() bool { return r.promoted() != nil }); err != nil {
		return err
	}
	if err := s.until(ctx, takeover, clusterQuiet); err != nil {
		return err
	}
	p := r.promoted()
	if p == nil {
		return fmt.Errorf("the cluster is quiet and no node is Primary")
	}
	r.say("the cluster chose %s", p.name)
	if err := r.moves(ctx, p, patience); err != nil {
		return err
	}
	// Either node's promotion is a new one, with a claim of its own.
	return r.finish(ctx, terms{publications: 1})
}

func switchoverKilled(ctx context.Context, r *scenarioRun) error {
	p, s, err := r.cutShort(ctx, "KILL")
	if err != nil {
		return err
	}
	if err := r.moves(ctx, s, takeover); err != nil { // Pacemaker needs nobody for that
		return err
	}
	if err := s.until(ctx, takeover, clusterQuiet); err != nil {
		return err
	}
	for _, n := range r.nodes {
		for _, command := range []string{"explain", "status", "switchover --dry-run"} {
			out, _ := n.run(ctx, "pgha-agent "+command+" 2>&1")
			r.expect(strings.Contains(out, switchover.Undo), "%s on %s does not name %q: %s", command, n.name, switchover.Undo,
				out)
		}
	}
	if _, err := p.run(ctx, switchover.Undo); err != nil {
		return err
	}
	r.say("%s: %s", p.name, switchover.Undo)
	r.expectNoConstraint(ctx, p)
	if err := s.until(ctx, takeover, clusterQuiet); err != nil {
		return err
	}
	r.expect(r.promoted() == s, "the role did not stay on %s", s.name)
	return r.finish(ctx, terms{publications: 1})
}
