package fsm

// source is where the agent hears of a phase.
type source uint8

const (
	fromCluster source = iota
	fromPostgres
	fromRecord
	fromResolver
	numSources
)

// toldBy is where each phase is heard of. What DRBD tells counts as heard of the cluster.
var toldBy = [NumPhases]source{
	PgStarted: fromPostgres, Writable: fromPostgres, DNSAccepted: fromRecord, DNSInSync: fromRecord,
	DNSObserved: fromResolver,
}

// hear notes which sources have told how it is since the agent began, or stood still. The first word of each tells of
// phases that may be long past.
func (s *State) hear(ev Event) {
	switch e := ev.(type) {
	case ClusterPolled:
		s.heard[fromCluster] = s.heard[fromCluster] || e.Cluster.OK
	case PostgresProbed:
		s.heard[fromPostgres] = true
	case Read:
		s.heard[fromRecord] = s.heard[fromRecord] || e.Reason == ""
	case ResolvedName:
		s.heard[fromResolver] = s.heard[fromResolver] || e.Resolved.OK
	case Stalled:
		s.heard = [numSources]bool{}
	}
	if s.Write.InFlight.Claim != "" { // what becomes of it is heard at once
		s.heard[fromRecord] = true
	}
}
