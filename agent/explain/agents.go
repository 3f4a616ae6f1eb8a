package explain

import (
	"fmt"
	"time"

	"github.com/pgha/pgha-agent/agent/status"
)

// hangTold is how long a drbdsetup that hung is told after it was replaced. The stream works then; that it hung says
// something of the machine.
const hangTold = 10 * time.Minute

// agents judges the agents themselves. Nothing of it keeps clients from the database, or the database from failing
// over.
func (j *judge) agents() (list []status.Finding) {
	add := func(node, code, text, remedy string, commands ...string) {
		list = append(list, report(status.Warning, code, node, text, remedy, commands...))
	}
	replaced := false
	for _, d := range j.docs() {
		if d.Replaced {
			replaced = true
			add(d.Node, "agent_replaced", fmt.Sprintf("the agent of %s was updated on disk, and the one of before still runs",
				d.Node), "restart it, on "+d.Node+": that is safe at any time", "systemctl restart pgha-agent")
		}
		if hung := sourceOf(d, "drbd").Hung; hung != nil && j.Now.Sub(*hung) < hangTold {
			add(d.Node, "drbd_hung", fmt.Sprintf("a drbdsetup gave no sign of life on %s and was replaced %s ago: news of DRBD "+
				"came late", d.Node, status.Ago(j.Now.Sub(*hung))), "see, on "+d.Node+", how often, and what else hangs there",
				"journalctl -u pgha-agent -g 'DRBD stream lost'", "journalctl -k -n 50")
		}
	}
	for _, node := range j.others() {
		d := j.Peers[node]
		if d == nil || replaced || j.Own.Version == "" || d.Version == "" || d.Version == j.Own.Version {
			continue // the restart of one that was updated comes first
		}
		add(node, "other_version", fmt.Sprintf("the agents run different versions: %s on %s, %s on %s", j.Own.Version, j.Node,
			d.Version, node), "install the same package on both nodes, and restart the agent that was updated: that is safe "+
			"at any time; this says what a node has installed:", "pgha-agent version")
	}
	return list
}
