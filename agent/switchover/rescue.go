package switchover

import (
	"fmt"
	"slices"
	"strings"

	"github.com/pgha/pgha-agent/agent/fsm"
	"github.com/pgha/pgha-agent/agent/status"
	"github.com/pgha/pgha-agent/drbd"
)

// A rescue is a move away from what is wrong where the database is. It is needed because of just what a planned move
// refuses: a record that does not follow, a disk that is lost. The functions here say, for one problem, how the move
// itself mends it and at what risk. That may only be something of the node that the database leaves. Whatever is about
// the target, the connection, fencing, or what Pacemaker may do, is never overridden: the move would fail, or promote
// old data.

// mendedHolds are the holds that a promotion of the other node ends: it has another identity, address, disk and way to
// the API. The picture of the cluster is taken anew by this command. All other holds are about both nodes, pass by
// themselves, or have a command of their own.
var mendedHolds = []fsm.Hold{
	fsm.HoldContested, fsm.HoldIdentityUnknown, fsm.HoldAddressUnknown, fsm.HoldRecordUnknown, fsm.HoldBackoff,
	fsm.HoldDrbdNotUpToDate, fsm.HoldCrmUnknown,
}

// publicationRescue is for a promotion of the source that the record does not follow.
func (j *judge) publicationRescue(d *status.Doc) string {
	held := d.Publication.State == status.PubHeld && len(d.Publication.Holds) > 0
	for _, h := range d.Publication.Holds {
		held = held && mended(h.Name)
	}
	if d.Node != j.plan.From || !held && d.Publication.State != status.PubContested {
		return ""
	}
	return fmt.Sprintf("the promotion of %[1]s is a new one, and claims the record anew. Risk: if the agent of %[1]s "+
		"cannot publish either, clients do not find the database there", j.plan.To)
}

// mended reports a hold, by its name, that a promotion of the other node ends.
func mended(hold string) bool {
	return slices.ContainsFunc(mendedHolds, func(h fsm.Hold) bool { return h.String() == hold })
}

// problemRescue is for a problem that an agent reports.
func (j *judge) problemRescue(d *status.Doc, code string) string {
	rescue := j.publicationRescue(d)
	hold, held := strings.CutPrefix(code, "held_")
	if rescue != "" && (code == "contested" || code == "source_route53" || held && mended(hold)) {
		return rescue
	}
	return ""
}

// episodeRescue is for an episode that is open because the record does not follow.
func (j *judge) episodeRescue(d *status.Doc) string {
	if j.publicationRescue(d) == "" {
		return ""
	}
	return fmt.Sprintf("the episode of %s ends with its demotion", d.Node)
}

// diskRescue is for the disk of the source: DRBD then serves the database from the target's. That this one is good and
// connected is checked beside it.
func (j *judge) diskRescue(node string, state drbd.DiskState) string {
	if node != j.plan.From || !state.Lost() {
		return ""
	}
	return fmt.Sprintf("%[2]s has the good copy, and serves the database over the network now. Risk: there is no second "+
		"copy before the disk of %[1]s is mended, and if the stop on %[1]s hangs, Pacemaker fences %[1]s", j.plan.From,
		j.plan.To)
}

// Confirm refuses what would be overridden now at a risk that was not in the plan to which the operator agreed.
func (p *Plan) Confirm(agreed *Plan) {
	said := agreed.Overridden()
	for i, c := range p.Checks {
		known := slices.ContainsFunc(said, func(o Check) bool { return o.Name == c.Name && o.Rescue == c.Rescue })
		if c.Verdict == Warn && c.Rescue != "" && !known {
			p.Checks[i].Verdict = Fail
		}
	}
}
