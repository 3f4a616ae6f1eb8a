package agent

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/pgha/pgha-agent/agent/fsm"
	"github.com/pgha/pgha-agent/agent/state"
	"github.com/pgha/pgha-agent/agent/status"
	"github.com/pgha/pgha-agent/crm"
	"github.com/pgha/pgha-agent/drbd"
	"github.com/pgha/pgha-agent/pg"
	"github.com/pgha/pgha-agent/route53"
)

// perform starts what the core asked for. Each action but Save and Cancel runs in a goroutine of its own and comes back
// as one message.
func (a *Agent) perform(ctx context.Context, action fsm.Action) {
	switch act := action.(type) {
	case fsm.PollCluster:
		a.effect(ctx, a.pollCluster)
	case fsm.ProbePostgres:
		a.effect(ctx, a.probePostgres)
	case fsm.ReadRecord:
		a.effect(ctx, a.readRecord)
	case fsm.Write:
		writeCtx, cancel := context.WithCancelCause(ctx)
		a.cancel = cancel
		mono := a.clock.Mono()
		a.effect(ctx, func(context.Context) message {
			defer cancel(nil)
			return a.write(writeCtx, act, mono)
		})
	case fsm.Cancel:
		a.log.Warn("giving up the write in flight", keyWhy, act.Why)
		a.cancel(fmt.Errorf("no longer allowed: %s", act.Why))
	case fsm.PollChange:
		a.effect(ctx, func(ctx context.Context) message { return a.pollChange(ctx, act.ChangeID) })
	case fsm.Resolve:
		a.effect(ctx, a.resolve)
	case fsm.ProbeClient:
		a.effect(ctx, a.probeClient)
	case fsm.Save:
		a.journal.Save(a.entry(act.Episode))
	}
}

// effect runs do beside the loop, and sends the loop what it returns.
func (a *Agent) effect(ctx context.Context, do func(context.Context) message) {
	a.start(func() { a.send(ctx, do(ctx)) })
}

// pollCluster runs crm_mon.
func (a *Agent) pollCluster(ctx context.Context) message {
	at := a.clock.Boot()
	st, err := a.src.Crm.Look(ctx)
	facts := fsm.Cluster{At: at}
	if err == nil {
		facts = clusterFacts(st, a.id, at, a.clock.Wall())
	}
	took := a.clock.Boot() - at
	a.metrics.Looks.Observe(took.Seconds())
	return message{fsm.ClusterPolled{Cluster: facts}, func(s *status.Snapshot) {
		s.LookTook = took
		s.Asked(status.SourceCrm, a.clock.Boot(), err)
		s.Sources[status.SourceCrm].Stuck = errors.Is(err, crm.ErrStuck)
		if err == nil {
			s.Crm = st
			s.FenceBans = fenceBans(st, s.FenceBans, at)
		}
	}}
}

// fenceBans remembers since when each constraint of the fence-peer handler has been there: the document has no age.
func fenceBans(st *crm.Status, before map[string]fsm.Time, now fsm.Time) map[string]fsm.Time {
	seen := map[string]fsm.Time{}
	for _, b := range st.FenceBans() {
		seen[b.ID] = now
		if since, ok := before[b.ID]; ok {
			seen[b.ID] = since
		}
	}
	return seen
}

// drbdChanged makes the message of one report of the stream.
func (a *Agent) drbdChanged(r drbd.Report) message {
	at := a.clock.Boot()
	last := *a.lastDrbd.Load()
	facts := drbdFacts(r, a.cfg.Drbd.Resource, at, last)
	// The guard hears of it before anything waits for the disk; a latch that is known ends only after its file was asked.
	heard := facts
	heard.SplitBrain = heard.SplitBrain || last.SplitBrain
	a.lastDrbd.Store(&heard)
	a.rememberSplitBrain(&facts, last)
	a.lastDrbd.Store(&facts)
	return message{fsm.DrbdChanged{Drbd: facts}, func(s *status.Snapshot) {
		err := r.Err
		if r.Live && !facts.Live {
			err = fmt.Errorf("resource %q is down here (or not configured: check drbd.resource)", a.cfg.Drbd.Resource)
		}
		if r.Live || err != nil {
			s.Asked(status.SourceDrbd, at, err)
		}
		s.Sources[status.SourceDrbd].Stuck = r.Stuck
		s.Drbd = r
	}}
}

// rememberSplitBrain keeps a split brain over a restart. last is what the stream said before d.
func (a *Agent) rememberSplitBrain(d *fsm.Drbd, last fsm.Drbd) {
	file := state.SplitBrain{
		Dir: a.cfg.State.Dir, ForgetsNone: a.opts.once,
		Begun: func(peer string) {
			a.log.Error("split brain", keyPeer, peer, keyNext, status.HoldOf(fsm.HoldSplitBrain).Remedy)
		},
		Over: func(peer string) { a.log.Info("split brain is over: connected again", keyPeer, peer) },
	}
	if err := file.Remember(d, last); err != nil {
		a.log.Error("split brain file", keyErr, err)
	}
}

// probePostgres asks the local server.
func (a *Agent) probePostgres(ctx context.Context) message {
	at := a.clock.Boot()
	h := a.src.Postgres.Probe(ctx)
	facts := fsm.Postgres{At: at, Accepting: accepting(h.State), Writable: h.State == pg.StateWritable}
	if !h.Started.IsZero() {
		facts.Server = h.Started.UnixMicro()
	}
	return message{fsm.PostgresProbed{Postgres: facts}, func(s *status.Snapshot) {
		s.Postgres = h
		if !h.Started.IsZero() {
			s.LastStarted = h.Started
		}
		// No server is what a Secondary has: that is an answer. Up means that the probe found out.
		var err error
		if h.State == pg.StateTimeout || h.State == pg.StateError || h.State == pg.StateAuth {
			err = errors.New(h.Err)
		}
		s.Asked(status.SourcePostgres, a.clock.Boot(), err)
	}}
}

// probeClient connects to the name as an application does, and measures outages.
func (a *Agent) probeClient(ctx context.Context) message {
	v := a.src.Client.Probe(ctx)
	wall, boot := a.clock.Wall(), a.clock.Boot()
	toBoot := func(t time.Time) fsm.Time { return boot - wall.Sub(t) }
	gap := a.outage.Observe(v) // one view is in flight at a time
	ev := fsm.ClientProbed{Down: !v.Answers}
	if last := a.outage.Last(); ev.Down && last.Answers {
		ev.Since = toBoot(last.End)
	}
	if gap != nil {
		ev.Outage = fsm.Outage{From: toBoot(gap.From), To: toBoot(gap.To)}
		if gap.After.IsValid() {
			ev.Outage.Answered = gap.After.String()
		}
		a.metrics.ClientServedAgain(ev.Outage)
	}
	return message{ev, func(s *status.Snapshot) {
		s.ClientProbe = v
		if v.Answers {
			s.Served = state.ClientSeen{At: toBoot(v.End)}
			if v.Answered.IsValid() {
				s.Served.Addr = v.Answered.String()
			}
		}
		if gap != nil {
			s.ClientOutage = ev.Outage
		}
		var err error
		if !v.OK {
			err = errors.New(v.Err)
		}
		s.Asked(status.SourceClient, a.clock.Boot(), err)
	}}
}

// resolve asks the resolver that clients use.
func (a *Agent) resolve(ctx context.Context) message {
	at := a.clock.Boot()
	addrs, err := a.src.Resolver.Lookup(ctx, a.cfg.Record.Name)
	if noSuchName(err) {
		err = nil // there is no such record: that is an answer
	}
	facts := fsm.Resolved{At: at, OK: err == nil}
	if len(addrs) > 0 {
		facts.Addr = addrs[0].String()
	}
	if len(addrs) > 1 {
		facts.Addr = fmt.Sprint(addrs) // never equal to one address
	}
	return message{fsm.ResolvedName{Resolved: facts},
		func(s *status.Snapshot) { s.Asked(status.SourceResolver, a.clock.Boot(), err) }}
}

func noSuchName(err error) bool {
	e, ok := errors.AsType[*route53.DNSError](err)
	return ok && e.NotFound()
}

// readRecord reads the record in the zone.
func (a *Agent) readRecord(ctx context.Context) message {
	at := a.clock.Boot()
	rec, err := a.src.Zone.Read(ctx)
	ev := fsm.Read{Zone: fsm.Zone{At: at}}
	if err == nil {
		ev.Zone = zoneFacts(rec, at)
	} else {
		reason := route53.ReasonOf(err)
		ev.Reason, ev.Zone.Refused = string(reason), reason == route53.ReasonRefusedRecord
		e, _ := errors.AsType[*route53.Error](err)
		ev.Zone.Named = e != nil && e.Named
	}
	return message{ev, func(s *status.Snapshot) {
		s.Asked(status.SourceRoute53, a.clock.Boot(), err)
		switch {
		case err == nil:
			s.Record, s.Refusal = rec, ""
		case ev.Zone.Refused:
			s.Refusal = whyRefused(err)
		}
	}}
}

// whyRefused is why the record is refused, without what the reader knows already.
func whyRefused(err error) string {
	if e, ok := errors.AsType[*route53.Error](err); ok {
		err = e.Err
	}
	return err.Error()
}

// answered reports whether the API that gives this reason refused the request for something that has nothing to do with
// what the record holds: then what was read before is still true. ReasonInvalid is not among them: it may be a conflict
// in words that this agent does not know.
func answered(r route53.Reason) bool {
	switch r {
	case route53.ReasonThrottled, route53.ReasonPriorRequest, route53.ReasonDenied, route53.ReasonCredentials,
		route53.ReasonNoZone, route53.ReasonGuard:
		return true
	default:
		return false
	}
}

// pollChange asks whether a change is on all name servers.
func (a *Agent) pollChange(ctx context.Context, id string) message {
	inSync, err := a.src.Zone.Change(ctx, id)
	ev := fsm.ChangePolled{InSync: inSync}
	if err != nil {
		reason := route53.ReasonOf(err)
		ev.Reason = string(reason)
	}
	return message{ev, func(s *status.Snapshot) { s.Asked(status.SourceRoute53, a.clock.Boot(), err) }}
}

// write sends the guarded change. The guard runs when the request is complete and signed, right before its first byte.
func (a *Agent) write(ctx context.Context, w fsm.Write, mono time.Duration) message {
	owner := route53.Owner{Epoch: w.NextEpoch, Node: a.id.node, Addr: mustAddr(w.Addr), Claim: w.Claim}
	change, err := a.src.Zone.Write(ctx, route53.Write{
		Base: route53.Owner{Epoch: w.Base.Epoch, Node: w.Base.Owner, Claim: w.Base.Claim, Raw: w.Base.Raw,
			TTL: w.Base.OwnerTTL},
		Next:  owner,
		Addr:  owner.Addr,
		Guard: func() error { return a.guard(ctx, w, mono) },
	})
	ev := fsm.Wrote{ChangeID: change}
	if err != nil {
		reason, sent := route53.ReasonOf(err), mayHaveArrived(err)
		ev.Reason, ev.Sent, ev.Conflict = string(reason), sent, reason == route53.ReasonConflict
		ev.OutcomeUnknown = sent && (foreign(err) || !answered(reason))
	} else {
		ev.Sent = true
	}
	return message{ev, func(s *status.Snapshot) {
		s.Asked(status.SourceRoute53, a.clock.Boot(), err)
		if err == nil {
			s.Record = route53.Record{Addr: owner.Addr, TTL: a.cfg.Record.TTL, Owner: owner}
		}
	}}
}

// foreign reports whether somebody else than the API may have answered, like a proxy that shows a page of its own in
// place of the API's answer. Whatever that says, the change may have been made.
func foreign(err error) bool {
	e, ok := errors.AsType[*route53.Error](err)
	return ok && e.Foreign
}

// mayHaveArrived reports whether the request of a call that failed may have reached the API.
func mayHaveArrived(err error) bool {
	e, ok := errors.AsType[*route53.Error](err)
	return !ok || e.Sent
}

// mustAddr parses an address that was formatted by netip before.
func mustAddr(text string) netip.Addr { return netip.MustParseAddr(text) }
