// Package fsm is the agent's core: it decides when this node may point the service name at itself, and keeps the
// story of each promotion. It does nothing by itself. Time comes in as an argument, everything the agent learns comes
// in as an Event, and everything it should do goes out as Actions:
//
//	next, actions := state.Step(now, event)
//
// Each Action but Save and Cancel ends in exactly one Event of its kind, whatever happens to it; until then no second
// one of that kind is asked for. A State is a comparable value: copies are independent, and next == state means that
// nothing happened.
//
// All times are readings of CLOCK_BOOTTIME of this node. That clock goes on while the machine sleeps, never steps, and
// has the same meaning after a restart of the agent, so that an episode can be continued.
package fsm
