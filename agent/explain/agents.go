package explain

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pgha/pgha-agent/agent/status"
)

// hangTold is how long a drbdsetup that hung is told after it was replaced. The stream works then; that it hung says
// something of the machine.
const hangTold = 10 * time.Minute

// awayRemedy is for an agent that was not reached from a node, and that may run.
func awayRemedy(node, from string) string {
	return "see that its http.listen can be reached from " + from + ", and that it runs; a restart starts it too, and " +
		"is safe at any time; on " + node + ":"
}

var awayCommands = []string{restartAgent, "systemctl status pgha-agent"}

// agents judges the agents themselves. Nothing of it keeps clients from the database, or the database from failing
// over.
func (j *judge) agents() (list []status.Finding) {
	add := func(node, code, text, remedy string, commands ...string) {
		list = append(list, report(status.Warning, code, node, text, remedy, commands...))
	}
	if node := j.primary(); node != j.Node && j.docOf(node) == nil && j.Errs[node] != "" && !j.lost(node) {
		add(node, "peer_agent", fmt.Sprintf("the agent of %s, which has the database, was not reached (%s)", node,
			j.Errs[node]), awayRemedy(node, j.Node), awayCommands...)
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

// toldThere repeats what another agent says of itself, and the one of the node that has the database of its record:
// whoever asks here should not have to ask there to know of it. told: why the record does not follow has been said.
func (j *judge) toldThere(told bool) (list []status.Finding) {
	for _, node := range j.others() {
		if d := j.Peers[node]; d != nil {
			for _, p := range d.Problems {
				if slices.Contains([]string{"crm_slow", "child_stuck", "clone_missing", "node_missing", "config"}, p.Code) {
					commands := actsOf(p)
					if len(commands) == 0 {
						commands = []string{"pgha-agent explain"}
					}
					list = append(list, report(status.Warning, p.Code, node, node+": "+p.Text, cmp.Or(p.Remedy,
						"see what its agent says")+"; on "+node+":", commands...))
				}
			}
		}
	}
	node := j.primary()
	d := j.Peers[node]
	if d == nil {
		return list
	}
	if until := d.Publication.PausedUntil; until != nil {
		list = append(list, report(status.Warning, "paused", node, fmt.Sprintf("the agent of %s is paused until %s: it does "+
			"not mend its record", node, until.Format("15:04:05 MST")), "end the pause, on "+node, "pgha-agent resume"))
	}
	for _, p := range d.Problems {
		ofRecord := slices.Contains([]string{"record_drift", "record_ttl", "contested", "source_route53"}, p.Code)
		if !ofRecord && !strings.HasPrefix(p.Code, "held_") || p.Code == "record_drift" && repairing(d) ||
			told && p.Code != "source_route53" {
			continue
		}
		command := "pgha-agent explain"
		if _, rest, ok := strings.Cut(p.Remedy, "`"); ok {
			command, _, _ = strings.Cut(rest, "`")
		}
		list = append(list, report(p.Severity, p.Code, node, node+": "+p.Text,
			strings.TrimRight(p.Remedy, ".")+"; on "+node+":", command))
	}
	return list
}
