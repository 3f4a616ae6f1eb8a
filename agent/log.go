package agent

import (
	"github.com/pgha/pgha-agent/agent/fsm"
	"github.com/pgha/pgha-agent/agent/status"
)

// Keys of log attributes.
const (
	keyErr     = "err"
	keyWhy     = "why"
	keyAddr    = "addr"
	keyLate    = "late"
	keyCount   = "count"
	keyEpisode = "episode"
	keyPhase   = "phase"
	keyAfter   = "after"
	keyCause   = "cause"
	keyPeer    = "peer"
	keyOutcome = "outcome"
	keyClaim   = "claim"
	keyEpoch   = "epoch"
	keyHolds   = "holds"
	keyReason  = "reason"
	keyNext    = "next"
	keyAlert   = "alert"
	keyUID     = "uid"
	keyListen  = "listen"
)

// logTransitions writes one line for each thing that changed for an operator.
func (a *Agent) logTransitions(before *fsm.State) {
	s := &a.state
	e, was := &s.Episode, &before.Episode
	id := a.journal.Number(e.ID)
	if e.ID != was.ID {
		a.log.Info("episode begins", keyEpisode, id, keyWhy, e.Why, keyPeer, e.Peer)
		was = &fsm.Episode{}
	}
	for p := range fsm.NumPhases {
		if e.Seen(p) && !was.Seen(p) {
			a.log.Info("phase", keyEpisode, id, keyPhase, p.String(), keyAfter, e.Stamps[p]-e.Start)
		}
	}
	if s.Promotion.Claim != before.Promotion.Claim {
		if s.Promotion.Claim != "" {
			a.log.Info("this node is promoted", keyEpisode, id, keyCause, e.Cause, keyClaim, s.Promotion.Claim)
		} else {
			a.log.Info("this node is no longer promoted", keyClaim, before.Promotion.Claim)
		}
	}
	if s.Promotion.Published && !before.Promotion.Published {
		a.log.Info("record published", keyAddr, s.Config.Addr, keyEpoch, s.Promotion.Epoch, keyClaim, s.Promotion.Claim)
	}
	if s.Promotion.Contested && !before.Promotion.Contested {
		a.log.Error("another node claimed the record later: waiting for a new promotion",
			"owner", s.Zone.Owner, keyEpoch, s.Zone.Epoch, "our_epoch", s.Promotion.Epoch)
	}
	if s.Write.Retry.N > before.Write.Retry.N {
		a.log.Warn("record not written", keyReason, s.Write.Retry.Reason, "attempt", s.Write.Retry.N, keyNext,
			s.Write.Retry.At-a.snap.Load().At)
	}
	if s.Record.Retry.N > before.Record.Retry.N {
		a.log.Warn("record not read", keyReason, s.Record.Retry.Reason, "attempt", s.Record.Retry.N, keyErr,
			a.observed.Sources[status.SourceRoute53].Err)
	}
	if s.Repair.Pending && !before.Repair.Pending {
		a.log.Warn("writing the record again: somebody else has edited its address", "record_addr", s.Zone.Addr, "our_addr",
			s.Config.Addr)
	}
	if s.Repair.GivenUp && !before.Repair.GivenUp {
		a.log.Error(
			"the record was edited again soon after its repair: nothing more is written until `publish --once` or a new "+
				"promotion",
			"record_addr", s.Zone.Addr, "our_addr", s.Config.Addr)
	}
	if s.Zone.Refused && !before.Zone.Refused {
		a.log.Error("what stands under the name is never overwritten", keyErr, a.observed.Refusal)
	}
	if s.Drift() && !before.Drift() {
		a.log.Error("the record was changed by somebody else", "record_addr", s.Zone.Addr, "owner", s.Zone.Owner, "our_addr",
			s.Config.Addr)
	}
	a.logHolds()
}

// episodeEnds logs and counts the end of an episode. It may have been followed by another within the same step.
func (a *Agent) episodeEnds(e *fsm.Episode) {
	a.log.Info("episode ends", keyEpisode, a.journal.Number(e.ID), keyOutcome, e.Outcome, keyCause, e.Cause,
		"client_outage", e.Outage.Length())
	a.metrics.EpisodeEnds(e, a.clock.Wall())
	a.cloud.episodeEnds(a.Snapshot().EpisodeDoc(*e, a.journal.Number(e.ID)))
}

// logSources says which sources stopped answering or answer again. The record's own lines are about Route 53 already,
// and the client of the name is without an answer in each failover.
func (a *Agent) logSources(was *[status.NumSources]status.SourceState) {
	for src, now := range a.observed.Sources {
		if status.Source(src) == status.SourceRoute53 || status.Source(src) == status.SourceClient ||
			now.Up == was[src].Up && (now.Up || was[src].Failures > 0) {
			continue
		}
		if now.Up {
			if was[src].Failures > 0 {
				a.log.Info("source answers again", "source", status.Source(src).String())
			}
		} else if now.Failures > 0 {
			a.log.Warn("source does not answer", "source", status.Source(src).String(), keyErr, now.Err)
		}
	}
}

// logHolds says what holds publication back, when that has changed and this node has something to publish.
func (a *Agent) logHolds() {
	holds := fsm.Holds(0)
	if a.snap.Load().Publication() == status.PubHeld {
		holds = a.snap.Load().Holds
	}
	if holds != a.loggedHolds && holds != 0 {
		a.log.Info("publication held back", keyHolds, holdNames(holds))
	}
	a.loggedHolds = holds
}

// holdNames makes a set of conditions readable in the log.
func holdNames(h fsm.Holds) []string {
	names := []string{}
	for _, x := range h.List() {
		names = append(names, x.String())
	}
	return names
}
