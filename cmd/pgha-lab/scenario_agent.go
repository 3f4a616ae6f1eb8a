package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pgha/pgha-agent/agent/status"
	"github.com/pgha/pgha-agent/cmd/internal/wait"
	"github.com/pgha/pgha-agent/route53/route53test"
)

var agentScenarios = []scenario{
	{9, "the agent dies", []part{
		{"killed at each phase of a failover, it goes on where it was", killedAtEachPhase},
		{"stopped: systemd holds its socket, and the first alert starts it", stoppedAgent},
		{"stopped with its socket: the alert hook publishes by itself", hookPublishes},
		{"hung: the watchdog ends it, or the hook publishes", hungAgent},
	}},
	{10, "Route 53 fails during a failover", []part{
		{"down until 20 s after the promotion", route53Down},
		{"throttled, slow, and one reply lost, each in a planned move", route53Rough},
	}},
	{15, "state directory full", []part{{"the record does not wait for the journal, and the journal catches up",
		stateFull}}},
}

// withoutDaemon is the bound for a promotion that finds no daemon: its start, or two of the hook's deliveries that time
// out after a second each and the start of the whole agent in the hook, on an emulated processor.
const withoutDaemon = 20 * time.Second

// patience is how long is waited for what is not what a part judges.
const patience = takeover

func killedAtEachPhase(ctx context.Context, r *scenarioRun) error {
	p, s, err := r.roles()
	if err != nil {
		return err
	}
	if err := r.cut(p); err != nil {
		return err
	}
	moments := []struct {
		what string
		come func() bool
	}{
		{"the agent saw the loss", func() bool {
			d, _ := r.status(ctx, s)
			return d != nil && d.Episode != nil && d.Episode.Outcome == "open"
		}},
		{"fencing", func() bool { return r.fencings(p) > 0 }},
		{"DRBD's promotion", func() bool { return r.promoted() == s }},
		{"acceptance by Route 53", func() bool { return r.aws.record() == s.addr.String() }},
		{"the first commit", func() bool { return r.writesTo(s) }},
	}
	for _, m := range moments {
		if err := r.await(ctx, patience, m.what, m.come); err != nil {
			return err
		}
		// Until: it may still be on its way up from the kill before.
		if err := s.until(ctx, withoutDaemon, "systemctl kill --kill-whom=main -s KILL pgha-agent"); err != nil {
			return err
		}
		r.say("%s: agent killed", s.name)
	}
	// The hook and the daemon that comes up again may both try: it is the same claim, so the zone takes one of them.
	if err := r.finish(ctx, terms{publications: 1, bound: withoutDaemon}); err != nil {
		return err
	}
	restarts, err := s.run(ctx, "systemctl show -P NRestarts pgha-agent")
	r.expect(err == nil && restarts == fmt.Sprint(len(moments)), "systemd restarted the agent %s times: %v", restarts, err)
	return r.journaledOnce(ctx, s, "complete")
}

// fencings counts the requests to switch a machine off.
func (r *scenarioRun) fencings(n *node) (count int) {
	for _, c := range r.aws.ec2.Calls() {
		if c.Action == "StopInstances" && slices.Contains(c.Instances, n.id) {
			count++
		}
	}
	return count
}

// episodes is what the journal of a node has of this run.
func (r *scenarioRun) episodes(ctx context.Context, n *node) (list []status.EpisodeDoc, err error) {
	out, err := n.run(ctx, "pgha-agent history --json")
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal([]byte(out), &list); err != nil {
		return nil, fmt.Errorf("read the history of %s: %w", n.name, err)
	}
	return slices.DeleteFunc(list, func(d status.EpisodeDoc) bool { return d.Start.Before(r.start) }), nil
}

// journaledOnce checks that the journal has one episode of this run, and how it ended.
func (r *scenarioRun) journaledOnce(ctx context.Context, n *node, outcome string) error {
	list, err := r.episodes(ctx, n)
	if err != nil {
		return err
	}
	r.expect(len(list) == 1 && list[0].Outcome == outcome && list[0].Epoch > 0, "one %s episode in the journal: %s",
		outcome, asJSON(list))
	return nil
}

func stoppedAgent(ctx context.Context, r *scenarioRun) error {
	p, s, err := r.roles()
	if err != nil {
		return err
	}
	if _, err := s.run(ctx, "systemctl stop pgha-agent"); err != nil {
		return err
	}
	r.say("%s: agent stopped", s.name)
	if err := r.killAndCut(ctx, p); err != nil {
		return err
	}
	if err := r.await(ctx, patience, s.name+": an alert started the agent", func() bool {
		state, err := s.run(ctx, "systemctl show -P ActiveState pgha-agent")
		return err == nil && state != "inactive" && state != "deactivating"
	}); err != nil {
		return err
	}
	r.expect(r.promoted() == nil, "the agent was not started by the loss of %s, but after the promotion", p.name)
	if err := r.moves(ctx, s, patience); err != nil {
		return err
	}
	if err := r.finish(ctx, terms{publications: 1, bound: withoutDaemon}); err != nil {
		return err
	}
	return r.journaledOnce(ctx, s, "complete")
}

// killAndCut kills a node's agent, and the node before systemd can bring it back.
func (r *scenarioRun) killAndCut(ctx context.Context, n *node) error {
	if _, err := n.run(ctx, "systemctl kill --kill-whom=main -s KILL pgha-agent"); err != nil {
		return err
	}
	r.say("%s: agent killed", n.name)
	return r.cut(n)
}

func hookPublishes(ctx context.Context, r *scenarioRun) error {
	p, s, err := r.roles()
	if err != nil {
		return err
	}
	if _, err := s.run(ctx, "systemctl stop pgha-agent.socket pgha-agent.service"); err != nil {
		return err
	}
	r.say("%s: agent and its socket stopped", s.name)
	if err := r.killAndCut(ctx, p); err != nil {
		return err
	}
	if err := r.moves(ctx, s, patience); err != nil {
		return err
	}
	active, _ := s.run(ctx, "systemctl is-active pgha-agent.service pgha-agent.socket")
	r.expect(!strings.Contains(active, "\nactive") && !strings.HasPrefix(active, "active"), "nobody started the agent: %q",
		active)
	if _, err := s.run(ctx, "systemctl start --no-block pgha-agent.socket pgha-agent.service"); err != nil {
		return err
	}
	r.say("%s: agent started again", s.name)
	if err := r.await(ctx, time.Minute, s.name+": the agent knows the publication as its own", func() bool {
		d, _ := r.status(ctx, s)
		return d != nil && d.Publication.State == status.PubObserved && d.Publication.Promotion == d.Record.Claim &&
			d.Record.Owner == s.name
	}); err != nil {
		return err
	}
	if err := r.finish(ctx, terms{publications: 1, bound: withoutDaemon}); err != nil {
		return err
	}
	r.expect(r.calls(r.start, s)["ChangeResourceRecordSets"] == 1, "one write was sent: %v", r.calls(r.start, s))
	d, err := r.status(ctx, s)
	if err != nil {
		return err
	}
	r.expect(d.Episode.Writes == 0, "the daemon wrote %d times", d.Episode.Writes)
	return r.journaledOnce(ctx, s, "complete")
}

// calls counts a node's requests of Route 53 by operation.
func (r *scenarioRun) calls(since time.Time, n *node) map[string]int {
	count := map[string]int{}
	for _, c := range r.aws.zone.Calls() {
		if c.From == n.addr.String() && !c.At.Before(since) {
			count[c.Op]++
		}
	}
	return count
}

// hungAgent stops the process and leaves its socket open: who connects is not refused, and gets no answer. The watchdog
// ends the agent 30 s after its last word, systemd starts it 2 s later, the hook gives up on it after two seconds: one
// of them is first, whenever the promotion comes.
func hungAgent(ctx context.Context, r *scenarioRun) error {
	p, s, err := r.roles()
	if err != nil {
		return err
	}
	if _, err := s.run(ctx, "systemctl kill --kill-whom=main -s STOP pgha-agent"); err != nil {
		return err
	}
	hung := time.Now()
	r.say("%s: agent stopped by SIGSTOP", s.name)
	if err := r.cut(p); err != nil {
		return err
	}
	if err := r.moves(ctx, s, patience); err != nil {
		return err
	}
	if err := r.finish(ctx, terms{publications: 1, bound: withoutDaemon}); err != nil {
		return err
	}
	log, err := s.run(ctx, "journalctl -u pgha-agent -o short-unix --no-pager --since=-10min | grep -m1 'Watchdog "+
		"timeout'")
	if !r.expect(err == nil, "the watchdog did not end the agent: %v", err) {
		return nil
	}
	var at float64
	if _, err := fmt.Sscan(log, &at); err != nil {
		return fmt.Errorf("read the time of %q: %w", log, err)
	}
	after := time.UnixMilli(int64(at * 1000)).Sub(hung)
	r.expect(after < 32*time.Second, "the watchdog took %s", after)
	d, err := r.status(ctx, s)
	if err != nil {
		return err
	}
	who := "the hook"
	if d.Episode.Writes > 0 {
		who = "the daemon, restarted,"
	}
	r.say("the watchdog ended the agent %.1fs after it hung; DRBD's promotion came %.1fs after that; %s published",
		after.Seconds(), s.history.primarySince().Sub(hung.Add(after)).Seconds(), who)
	return r.journaledOnce(ctx, s, "complete")
}

// route53Down first has connections that break, and from the promotion on answers that say no.
func route53Down(ctx context.Context, r *scenarioRun) error {
	p, s, err := r.roles()
	if err != nil {
		return err
	}
	r.aws.zone.Inject(route53test.Fault{Kind: route53test.DropRequest, Count: -1})
	if err := r.cut(p); err != nil {
		return err
	}
	if err := r.await(ctx, patience, s.name+" is Primary", func() bool { return r.promoted() == s }); err != nil {
		return err
	}
	const more = 20 * time.Second
	end := r.promotedFor(s, more/2)
	if err := r.await(ctx, patience, s.name+": the write is held back", func() bool {
		// After a write that may have arrived the zone must be read before the next one: the wait is that of the reads.
		return r.value(s, "pgha_publication", "state", "held") == 1 &&
			(r.value(s, "pgha_publication_held", "condition", "api_backoff") == 1 ||
				r.value(s, "pgha_publication_held", "condition", "record_unknown") == 1)
	}); err != nil {
		return err
	}
	if err := wait.For(ctx, end); err != nil {
		return err
	}
	r.aws.zone.ClearFaults()
	r.aws.zone.Inject(route53test.Fault{Kind: route53test.Refuse, Status: 503, Code: "ServiceUnavailable",
		Body: "try later", Count: -1})
	r.say("Route 53 answers 503")
	if err := wait.For(ctx, r.promotedFor(s, more)); err != nil {
		return err
	}
	d, err := r.status(ctx, s)
	if err != nil {
		return err
	}
	r.expect(!d.Ready && d.Publication.LastFailure != "" && d.Publication.Attempts > 0, "the status says why: %s",
		asJSON(d.Publication))
	// Only the first is a write: whether it arrived is not known, so the zone has to be read before the next.
	failed := r.calls(s.history.primarySince(), s)
	r.aws.zone.ClearFaults()
	r.say("Route 53 works again, after failed requests: %v", failed)
	r.expect(failed["ChangeResourceRecordSets"] == 1, "%d writes on what is not known", failed["ChangeResourceRecordSets"])
	// Waits of at most 1, 2, 4, 8, 16, 30 s, each of random length: after 20 s the next one is over within 30.
	r.expect(failed["ListResourceRecordSets"] >= 2 && failed["ListResourceRecordSets"] <= 20, "%d attempts in %s",
		failed["ListResourceRecordSets"], more)
	if err := r.moves(ctx, s, patience); err != nil {
		return err
	}
	if err := r.finish(ctx, terms{publications: 1, bound: more + 30*time.Second + bound}); err != nil {
		return err
	}
	fails, err := s.run(ctx, "crm_mon -1 --include=none,failures")
	r.expect(err == nil && !strings.Contains(fails, "pgsql") && !strings.Contains(fails, "drbd"),
		"Pacemaker heard nothing of it: %s %v", fails, err)
	return nil
}

// promotedFor is how long it takes until the node has been Primary for d.
func (r *scenarioRun) promotedFor(n *node, d time.Duration) time.Duration {
	return time.Until(n.history.primarySince().Add(d))
}

// route53Rough moves the database three times. The zone must take one change for each, and the requests stay within
// what docs/performance.md promises, plus those that what went wrong must cost.
func route53Rough(ctx context.Context, r *scenarioRun) error {
	p, s, err := r.roles()
	if err != nil {
		return err
	}
	const change = "ChangeResourceRecordSets"
	for i, trouble := range []struct {
		what    string
		begin   func()
		changes int           // requests to change the record, at most
		reads   int           // of the zone, beside the one that checks
		bound   time.Duration // from promotion to accepted
	}{
		{"three writes throttled", func() {
			r.aws.zone.Inject(route53test.Fault{Kind: route53test.Throttle, Op: change, Count: 3})
		}, 4, 0, bound + 7*time.Second}, // waits of up to 1, 2 and 4 s
		{"each request takes 1.5 s", func() { r.aws.zone.SetLatency("", 1500*time.Millisecond) }, 1, 0,
			bound + 1500*time.Millisecond},
		{"the reply to the write is lost", func() {
			r.aws.zone.Inject(route53test.Fault{Kind: route53test.LoseReply, Op: change})
		}, 1, 1, bound},
	} {
		trouble.begin()
		r.say("Route 53: %s; %s: standby", trouble.what, p.name)
		since := time.Now()
		if _, err := p.run(ctx, "crm_attribute -N "+p.name+" -n standby -v on"); err != nil {
			return err
		}
		if err := r.moves(ctx, s, patience); err != nil {
			return err
		}
		var d *status.Doc
		if err := r.await(ctx, time.Minute, s.name+": the episode is complete", func() bool {
			d, _ = r.status(ctx, s)
			return d != nil && d.Episode != nil && d.Episode.Outcome == "complete"
		}); err != nil {
			return err
		}
		r.aws.zone.ClearFaults()
		list, calls := r.aws.publications(), r.calls(since, s)
		if r.expect(len(list) == i+1 && list[i].by == s.name, "one change accepted: %v", list) {
			after := list[i].at.Sub(s.history.primarySince())
			r.say("accepted %.2fs after DRBD's promotion; requests: %v", after.Seconds(), calls)
			r.expect(after <= trouble.bound, "accepted %s after the promotion", after)
		}
		r.expect(calls[change] == trouble.changes, "%d writes, expected %d", calls[change], trouble.changes)
		r.expect(d.Episode.Writes == calls[change], "the episode counts %d writes", d.Episode.Writes)
		r.expect(calls["GetChange"] <= 10, "%d polls", calls["GetChange"])
		// One more: the drift check may be due just then.
		r.expect(calls["ListResourceRecordSets"] <= 1+trouble.reads+1, "%d reads", calls["ListResourceRecordSets"])
		if _, err := s.run(ctx, "crm_attribute -N "+p.name+" -n standby -D"); err != nil {
			return err
		}
		if err := s.until(ctx, takeover, clusterQuiet); err != nil {
			return err
		}
		p, s = s, p
	}
	return r.finish(ctx, terms{publications: 3})
}

// stateFull puts the survivor's state on a full file system of its own.
func stateFull(ctx context.Context, r *scenarioRun) error {
	p, s, err := r.roles()
	if err != nil {
		return err
	}
	if _, err := s.run(ctx, `set -e
systemctl stop pgha-agent
mount -t tmpfs -o size=64k,mode=0750,uid=$(id -u pgha),gid=$(getent group haclient | cut -d: -f3) tmpfs /var/lib/pgha-agent
systemd-tmpfiles --create pgha-agent.conf
dd if=/dev/zero of=/var/lib/pgha-agent/filler bs=4k 2>/dev/null || true
systemctl start --no-block pgha-agent`); err != nil {
		return err
	}
	r.say("%s: the state directory is full", s.name)
	if err := r.await(ctx, time.Minute, s.name+": the agent is up, and ready in spite of it", func() bool {
		d, _ := r.status(ctx, s)
		return d != nil && d.Ready
	}); err != nil {
		return err
	}
	if err := r.cut(p); err != nil {
		return err
	}
	if err := r.moves(ctx, s, patience); err != nil {
		return err
	}
	d, err := r.status(ctx, s)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(d.Problems, func(f status.Problem) bool { return f.Code == "journal" })
	r.expect(i >= 0 && strings.Contains(d.Problems[i].Text, "no space") && d.Problems[i].Remedy != "",
		"the status says so: %s", asJSON(d.Problems))
	r.expect(r.value(s, "pgha_journal_failures_total") >= 1, "%g failures to save were counted",
		r.value(s, "pgha_journal_failures_total"))
	if list, err := r.episodes(ctx, s); err == nil {
		r.expect(len(list) == 0, "the journal has what it has no space for: %s", asJSON(list))
	}
	if _, err := s.run(ctx, "rm /var/lib/pgha-agent/filler"); err != nil {
		return err
	}
	r.say("%s: space freed", s.name)
	if err := r.await(ctx, time.Minute, s.name+": the episode is saved after all", func() bool {
		list, err := r.episodes(ctx, s)
		d, _ := r.status(ctx, s)
		return err == nil && len(list) == 1 && list[0].Outcome == "complete" &&
			d != nil && !slices.ContainsFunc(d.Problems, func(f status.Problem) bool { return f.Code == "journal" })
	}); err != nil {
		return err
	}
	// The next one: a promotion on the same node, without a failover.
	failures := r.value(s, "pgha_journal_failures_total")
	if _, err := s.run(ctx, "crm_resource -r drbd_pg-clone -m -p target-role -v Unpromoted"); err != nil {
		return err
	}
	if err := r.await(ctx, patience, s.name+" is demoted",
		func() bool { return s.history.at(time.Now()) == "Secondary" }); err != nil {
		return err
	}
	if _, err := s.run(ctx, "crm_resource -r drbd_pg-clone -m -d target-role"); err != nil {
		return err
	}
	if err := r.await(ctx, patience, s.name+" is promoted again",
		func() bool { return r.promoted() == s && len(r.aws.publications()) == 2 }); err != nil {
		return err
	}
	if err := r.finish(ctx, terms{publications: 2}); err != nil {
		return err
	}
	list, err := r.episodes(ctx, s)
	if err != nil {
		return err
	}
	r.expect(len(list) == 2 && list[1].Outcome == "complete", "two episodes in the journal: %s", asJSON(list))
	r.expect(r.value(s, "pgha_journal_failures_total") == failures, "more failures to save")
	return nil
}
