package status

import "github.com/pgha/pgha-agent/agent/fsm"

// Phase is how a phase of an episode is shown to people.
type Phase struct {
	Is   fsm.Phase
	Text string
	Tone string // color on the page: what kind of step it is
}

// Phases has every phase in the order of an episode. The texts of history, watch, switchover, the page and the
// demo are from this table.
var Phases = []Phase{
	{fsm.PeerLost, "peer lost", "warn"},
	{fsm.FenceRequested, "fencing requested", "warn"},
	{fsm.Fenced, "peer fenced", "warn"},
	{fsm.Promoted, "DRBD promoted here", "busy"},
	{fsm.Mounted, "filesystem mounted", "busy"},
	{fsm.PgStarted, "PostgreSQL answers", "ok"},
	{fsm.Writable, "PostgreSQL accepts writes", "ok"},
	{fsm.DNSAccepted, "record accepted by Route 53", "dns"},
	{fsm.DNSInSync, "record in sync on all name servers", "dns"},
	{fsm.DNSObserved, "resolver answers the new address", "dns"},
	{fsm.Complete, "complete", ""},
}

// PhaseText says a phase in an operator's words. One that only a newer daemon knows is its name.
func PhaseText(name string) string {
	for _, p := range Phases {
		if p.Is.String() == name {
			return p.Text
		}
	}
	return name
}
