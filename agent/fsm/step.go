package fsm

// Step advances the state by one event at time now and returns what to do. now must not go backwards.
func (s State) Step(now Time, ev Event) (State, []Action) {
	before := s.Episode
	var out []Action

	switch e := ev.(type) {
	case Tick:
	case Hint:
		s.tasks[taskPollCluster].trigger(now)
		if e.Promotion {
			s.startFastPolling(now)
			s.tasks[taskProbePostgres].trigger(now)
		}
	case ClusterPolled:
		s.clusterPolled(now, e.Cluster)
	case DrbdChanged:
		s.drbdChanged(now, e.Drbd)
	case PostgresProbed:
		s.postgresProbed(now, e.Postgres)
	case Read:
		s.read(now, e)
	case Wrote:
		s.wrote(now, e)
	case ChangePolled:
		s.changePolled(now, e)
	case ResolvedName:
		s.resolvedName(now, e.Resolved)
	case ClientProbed:
		s.clientProbed(now, e)
	case Stalled:
		s.Wait.StalledAt, s.Wait.StalledUntil = now, now+s.postStallDelay()
		s.Cluster.OK = false
		s.tasks[taskPollCluster].trigger(now)
	case Paused:
		s.Wait.PausedUntil = e.Until
	case AddressKnown:
		s.Config.Addr = e.Addr
		if s.Promotion.publishedTo.addr != "" && s.Promotion.publishedTo.addr != e.Addr {
			s.Promotion.Published = false
		}
	case Republish:
		// A claim that was accepted once is never written over a newer one.
		s.Promotion.racesExhausted = s.Promotion.racesExhausted || s.Promotion.Published
		s.Promotion.Published, s.Zone.OK = false, false // what the zone holds now decides whether there is anything to write
		s.Repair.Pending, s.Repair.attemptEpoch, s.Repair.writtenAt, s.Repair.GivenUp = false, 0, 0, false
		s.Repair.ttl = true
		s.tasks[taskReadRecord].trigger(now)
		s.tasks[taskPollCluster].trigger(now)
	case Recheck:
		s.recheck(now)
	}

	s.identifyPromotion(now)
	s.reconcileOwner(now)
	s.recordPhases(now)
	out = s.decide(now, out)
	s.hear(ev)
	s.memorize()
	out = s.schedule(now, out)
	if s.Episode != before {
		s.saving.changedAt = now
	}
	if s.saving.replaced.ID != 0 {
		out = append(out, Save{Episode: s.saving.replaced})
		s.saving.replaced = Episode{}
	}
	if s.Episode != before || s.saving.confirmLast {
		s.saving.confirmLast = false
		out = append(out, Save{Episode: s.Episode})
	}
	return s, out
}
