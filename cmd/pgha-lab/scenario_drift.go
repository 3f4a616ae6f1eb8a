package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pgha/pgha-agent/agent/status"
	"github.com/pgha/pgha-agent/route53"
	"github.com/pgha/pgha-agent/route53/route53test"
)

var driftScenarios = []scenario{
	{19, "somebody else writes the zone", []part{
		{"the address edited, and after a planned move deleted: each is written again, once", editedAddress},
		{"the ownership record deleted: reported; a foreign one: contested until a new promotion", editedOwner},
		{"an editor that fights: one repair, then a report until an operator publishes", fightingEditor},
	}},
}

const (
	listRecords   = "ListResourceRecordSets"
	changeRecords = "ChangeResourceRecordSets"

	// enoughReads is how often an agent has read what it is to leave alone before the lab believes that it does.
	enoughReads = 3
	// The shortest and the longest drift_check: the agent reads the zone all the time, or only when something makes it.
	driftOften, driftNever = "30s", "24h"
)

func editedAddress(ctx context.Context, r *scenarioRun) error {
	p, s, err := r.roles()
	if err != nil {
		return err
	}
	// Only what the resolver answers can make the agents look.
	if err := r.checkDrift(ctx, driftNever); err != nil {
		return err
	}
	if err := r.repaired(ctx, p, "the address is now "+s.name+"'s", func() { r.edit(s.addr.String()) }); err != nil {
		return err
	}
	// A second edit within ten minutes would be a fight. A new promotion begins anew.
	if err := r.standbyMove(ctx, p, s); err != nil {
		return err
	}
	if err := r.repaired(ctx, s, "the address is deleted", func() { r.aws.zone.Remove(recordName, "A") }); err != nil {
		return err
	}
	return r.finish(ctx, terms{publications: 3})
}

// edit is somebody's hand on the address.
func (r *scenarioRun) edit(addr string) { r.aws.zone.Set(route53test.Simple(recordName, "A", 5, addr)) }

// repaired has somebody edit the address, and checks that the promoted node writes it again: the same claim, the next
// epoch, one change.
func (r *scenarioRun) repaired(ctx context.Context, p *node, what string, edit func()) error {
	was, err := r.aws.owner()
	if err != nil {
		return err
	}
	before := len(r.aws.publications())
	edit()
	r.say("somebody edits the zone: %s", what)
	if err := r.await(ctx, patience, p.name+" has written it again",
		func() bool { return len(r.aws.publications()) > before }); err != nil {
		return err
	}
	is, err := r.aws.owner()
	if err != nil {
		return err
	}
	r.expect(is.Claim == was.Claim && is.Epoch == was.Epoch+1 && is.Node == p.name, "the owner was %s, is %s", was, is)
	return r.settled(ctx, p)
}

// settled waits until an agent finds nothing wrong with the record.
func (r *scenarioRun) settled(ctx context.Context, n *node) error {
	return r.await(ctx, patience, n.name+": observed, and no drift", func() bool {
		r.aws.resolver.Flush() // it remembers for a quarter of an hour that there was no address
		d, _ := r.status(ctx, n)
		return d != nil && d.Publication.State == status.PubObserved && !slices.ContainsFunc(d.Problems, isDrift)
	})
}

func isDrift(f status.Problem) bool { return f.Code == "record_drift" }

// drift waits until an agent reports drift whose remedy contains some words.
func (r *scenarioRun) drift(ctx context.Context, n *node, words string) error {
	return r.await(ctx, patience, fmt.Sprintf("%s reports record_drift: %s", n.name, words), func() bool {
		d, _ := r.status(ctx, n)
		return d != nil && slices.ContainsFunc(d.Problems, func(f status.Problem) bool {
			return isDrift(f) && strings.Contains(f.Remedy, words)
		})
	})
}

// leftAlone lets an agent read the zone some times more, and checks that no request to change it was sent meanwhile.
func (r *scenarioRun) leftAlone(ctx context.Context, n *node) error {
	since := time.Now()
	if err := r.reads(ctx, enoughReads, n); err != nil {
		return err
	}
	calls := r.calls(since, n)
	r.expect(calls[changeRecords] == 0, "%s tried to write: %v", n.name, calls)
	return nil
}

// reads waits until each of the nodes has read the zone so many times from now on.
func (r *scenarioRun) reads(ctx context.Context, times int, nodes ...*node) error {
	since := time.Now()
	for _, n := range nodes {
		if err := r.await(ctx, patience, fmt.Sprintf("%s has read the zone (%dx)", n.name, times),
			func() bool { return r.calls(since, n)[listRecords] >= times }); err != nil {
			return err
		}
	}
	return nil
}

// checkDrift sets drift_check on both nodes and has the agents take it over.
func (r *scenarioRun) checkDrift(ctx context.Context, every string) error {
	since := time.Now()
	if err := r.both(func(n *node) error {
		_, err := n.run(ctx, "echo 'drift_check = \""+every+"\"' >>/etc/pgha-agent/config.toml && pgha-agent check-config "+
			"&& systemctl reload pgha-agent")
		return err
	}); err != nil {
		return err
	}
	return r.await(ctx, patience, "both agents run with drift_check = "+every, func() bool {
		return !slices.ContainsFunc(r.nodes, func(n *node) bool {
			d, _ := r.status(ctx, n)
			return d == nil || !d.Ready || r.calls(since, n)[listRecords] == 0 // each start reads the zone
		})
	})
}

func editedOwner(ctx context.Context, r *scenarioRun) error {
	p, s, err := r.roles()
	if err != nil {
		return err
	}
	if err := r.checkDrift(ctx, driftOften); err != nil {
		return err
	}
	was, err := r.aws.owner()
	if err != nil {
		return err
	}
	r.aws.zone.Remove(ownerName, "TXT")
	r.say("somebody deletes the ownership record")
	if err := r.drift(ctx, p, "publish --once"); err != nil {
		return err
	}
	if err := r.leftAlone(ctx, p); err != nil {
		return err
	}
	if err := r.publishOnce(ctx, p, was); err != nil {
		return err
	}

	// Neither node's: the one that is promoted next bases its claim on a stranger's.
	foreign := route53.Owner{Epoch: was.Epoch + 10, Node: "node9", Addr: s.addr,
		Claim: "7b1f0c1e-54a0-4c38-9a3d-2f0e5d6c7b8a"}
	r.aws.zone.Set(route53test.Simple(ownerName, "TXT", 5, foreign.String()))
	r.say("somebody writes a foreign ownership record: %s", foreign)
	if err := r.await(ctx, patience, p.name+": contested", func() bool {
		d, _ := r.status(ctx, p)
		return d != nil && d.Publication.State == status.PubContested
	}); err != nil {
		return err
	}
	_, err = p.run(ctx, "pgha-agent publish --once")
	r.expect(err != nil && strings.Contains(err.Error(), "waiting for a new promotion"),
		"publish --once on a contested record: %v", err)
	if err := r.leftAlone(ctx, p); err != nil {
		return err
	}
	if err := r.reads(ctx, 1, s); err != nil { // it is to know the claim that it takes the record from
		return err
	}
	if err := r.standbyMove(ctx, p, s); err != nil {
		return err
	}
	is, err := r.aws.owner()
	if err != nil {
		return err
	}
	r.expect(is.Node == s.name && is.Epoch == foreign.Epoch+1, "the owner after the move is %s", is)
	return r.finish(ctx, terms{publications: 2})
}

// publishOnce is the operator's remedy: it writes the claim again with the next epoch, and the daemon takes it for its
// own.
func (r *scenarioRun) publishOnce(ctx context.Context, p *node, was route53.Owner) error {
	before := len(r.aws.publications())
	out, err := p.run(ctx, "pgha-agent publish --once")
	if err != nil {
		return err
	}
	r.say("%s: publish --once: %s", p.name, out)
	is, err := r.aws.owner()
	if err != nil {
		return err
	}
	r.expect(is.Node == p.name && is.Claim == was.Claim && is.Epoch == was.Epoch+1, "the owner was %s, is %s", was, is)
	r.expect(len(r.aws.publications()) == before+1, "publish --once made %d changes", len(r.aws.publications())-before)
	return r.settled(ctx, p)
}

func fightingEditor(ctx context.Context, r *scenarioRun) error {
	p, s, err := r.roles()
	if err != nil {
		return err
	}
	if err := r.checkDrift(ctx, driftOften); err != nil {
		return err
	}
	if err := r.repaired(ctx, p, "the address is now "+s.name+"'s", func() { r.edit(s.addr.String()) }); err != nil {
		return err
	}
	r.edit(s.addr.String())
	r.say("the editor writes it again")
	if err := r.drift(ctx, p, "CloudTrail"); err != nil {
		return err
	}
	if err := r.leftAlone(ctx, p); err != nil {
		return err
	}
	if _, err := p.run(ctx, "systemctl restart pgha-agent"); err != nil {
		return err
	}
	r.say("%s: agent restarted", p.name)
	if err := r.drift(ctx, p, "CloudTrail"); err != nil {
		return err
	}
	if err := r.leftAlone(ctx, p); err != nil {
		return err
	}
	was, err := r.aws.owner()
	if err != nil {
		return err
	}
	r.expect(r.aws.record() == s.addr.String() && len(r.aws.publications()) == 1, "the record is %s after %v",
		r.aws.record(), r.aws.publications())
	r.say("the editor is found and ended")
	if err := r.publishOnce(ctx, p, was); err != nil {
		return err
	}
	// What follows is another story.
	if err := r.repaired(ctx, p, "the address is now "+s.name+"'s, by another hand",
		func() { r.edit(s.addr.String()) }); err != nil {
		return err
	}
	return r.finish(ctx, terms{publications: 3})
}
