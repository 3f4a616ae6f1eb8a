package doctor

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pgha/pgha-agent/crm"
)

var fencingChecks = []Check{
	{
		Name: "fencing-enabled", Area: Fencing, Needs: []Source{fromCIB},
		Want: "stonith-enabled is not off, and there is a fence device",
		Why: "With two nodes quorum proves nothing. Without fencing both nodes can write at once after a network " +
			"fault, and their data diverge.",
		Remedy: "pcs stonith create fence_{peer} fence_aws ...; pcs property set stonith-enabled=true",
		Judge:  judgeFencingEnabled,
	},
	{
		Name: "fence-device", Area: Fencing, Needs: []Source{fromCIB},
		Want: "each node can be fenced by a device that the other node may use",
		Why: "If no device can fence a node, Pacemaker never takes over from it: it waits for a fencing that cannot " +
			"succeed.",
		Remedy: `pcs stonith update DEVICE pcmk_host_map="{node}:i-...;{peer}:i-..."`,
		Judge:  judgeFenceDevice,
	},
	{
		Name: "fence-device-place", Area: Fencing, Needs: []Source{fromCIB, fromCrm},
		Want: "a device for one node is kept off that node, and all devices run",
		Why: "A device that runs on its own target fails with it, and its monitor says nothing about the connection " +
			"from the survivor to the power API.",
		Remedy: "pcs constraint location DEVICE avoids TARGET=INFINITY",
		Judge:  judgeFencePlace,
	},
	{
		Name: "fence-delay", Area: Fencing, Needs: []Source{fromCIB},
		Want: "the promoted node wins when both nodes want to fence each other",
		Why: "When only the links between the nodes break, both fence. Without a delay both may go down. A delay that " +
			"belongs to a node, and not to the data, may let the node with the last commits lose.",
		Remedy: "pcs property set priority-fencing-delay=10s && pcs resource meta {group} priority=10 (longer than the " +
			"fence device takes to reach EC2)",
		Judge: judgeFenceDelay,
	},
	{
		Name: "fence-timeout", Area: Fencing, Needs: []Source{fromCIB},
		Want: "Pacemaker waits longer for a fence device than the device for the power",
		Why: "Otherwise Pacemaker gives up on a stop that is about to succeed, and begins again: the failover takes " +
			"minutes.",
		Remedy: "pcs property set stonith-timeout=120s (a minute more than the device waits), or pcmk_off_timeout " +
			"(pcmk_reboot_timeout) of the device if that is set",
		Judge: judgeFenceTimeout,
	},
	{
		// Pacemaker gives up on a target after that many failures and fences it only when something else changes
		// (daemons/controld/controld_fencing.c, too_many_fencing_failures; the default is in DEFAULT_FENCING_MAX_ATTEMPTS).
		// A power API that is away answers fast, so ten failures are seconds, not an outage.
		Name: "fence-attempts", Area: Fencing, Needs: []Source{fromCIB},
		Want: "stonith-max-attempts is at least 100",
		Why: "The default is 10. In the lab ten quick failures took 34 s; then Pacemaker gave up, and the database " +
			"stayed down when the power API was back.",
		Remedy: "pcs property set stonith-max-attempts=1000",
		Judge: func(f *Facts) Finding {
			n := 10
			if v := f.CIB.Property("stonith-max-attempts"); v != "" {
				if v == "INFINITY" {
					return pass("INFINITY")
				}
				var err error
				if n, err = strconv.Atoi(v); err != nil {
					return unknown("stonith-max-attempts is %q", v)
				}
			}
			if n < 100 {
				return warn("stonith-max-attempts is %d", n)
			}
			return pass("%d", n)
		},
	},
}

// fenced says whether Pacemaker fences at all. It needs the CIB.
func (f *Facts) fenced() bool { return !isNo(f.CIB.Property("stonith-enabled")) }

// judgeFencingEnabled does not ask whether fencing works, because only a test shows that (docs/maintenance.md). It
// finds the cluster that has none.
func judgeFencingEnabled(f *Facts) Finding {
	if !f.fenced() {
		return fail("stonith-enabled is %s", f.CIB.Property("stonith-enabled"))
	}
	devices := activeDevices(f.CIB)
	if len(devices) == 0 {
		return fail("no fence device is configured, or all are disabled")
	}
	var ids []string
	for _, d := range devices {
		ids = append(ids, d.ID)
	}
	return pass("%s", strings.Join(ids, ", "))
}

// judgeFenceDevice asks who may use a device, not where it runs: the fencer of every node registers each device that
// the node is not banned from (Pacemaker daemons/fenced/fenced_scheduler.c, register_if_fencing_device). A stopped
// device is left out there too, so it is no device here (activeDevices).
func judgeFenceDevice(f *Facts) Finding {
	var bad, good []string
	for _, node := range f.CIB.Nodes {
		var by, banned []string
		for _, d := range activeDevices(f.CIB) {
			targets, known := d.FenceTargets()
			if known && !slices.Contains(targets, node) {
				continue
			}
			// Any node may use a device that it is not banned from, wherever it runs; a node fences itself only when no other
			// can.
			if slices.ContainsFunc(f.CIB.Nodes, func(n string) bool { return n != node && !bannedFrom(f.CIB, d, n) }) {
				by = append(by, d.ID)
			} else {
				banned = append(banned, d.ID)
			}
		}
		switch {
		case len(by) > 0:
			good = append(good, node+" by "+strings.Join(by, ", "))
		case len(banned) > 0:
			bad = append(bad, fmt.Sprintf("%s fences %s, but every other node is banned from it", strings.Join(banned, ", "),
				node))
		default:
			bad = append(bad, "no device fences "+node)
		}
	}
	if len(bad) > 0 {
		return fail("%s", strings.Join(bad, "; "))
	}
	return pass("%s", strings.Join(good, "; "))
}

// judgeFencePlace looks at devices for one node only. One that fences both nodes has to run on one of its targets, and
// any node may use it wherever it runs.
func judgeFencePlace(f *Facts) Finding {
	var bad, away, cleanups, loose []string
	for _, d := range activeDevices(f.CIB) {
		var at []string
		for _, r := range f.Crm.Instances(d.ID) {
			if r.Node != "" && r.Role == crm.RoleStarted && r.Failed != crm.Yes {
				at = append(at, r.Node)
			}
		}
		if len(at) == 0 {
			away = append(away, d.ID+" does not run")
			cleanups = append(cleanups, "crm_resource --cleanup --resource "+d.ID)
		}
		targets, known := d.FenceTargets()
		if !known || len(targets) != 1 {
			continue
		}
		if slices.Contains(at, targets[0]) {
			bad = append(bad, d.ID+" runs on its own target "+targets[0])
		} else if !bannedFrom(f.CIB, d, targets[0]) {
			loose = append(loose, fmt.Sprintf("nothing keeps %s off its target %s", d.ID, targets[0]))
		}
	}
	switch {
	case len(bad) > 0:
		return fail("%s", strings.Join(append(bad, away...), "; "))
	case len(away) > 0:
		return fail("%s", strings.Join(away, "; ")).remedy("%s",
			f.told(strings.Join(cleanups, "; "), "fencing_stopped"))
	case len(loose) > 0:
		return warn("%s", strings.Join(loose, "; "))
	}
	return pass("all run, none on its own target")
}

// judgeFenceDelay judges only two nodes: with more, the partition without quorum does not fence. Pacemaker delays the
// fencing of the node with the higher priority, and adds nothing when both have the same (lib/pengine/pe_actions.c,
// node_priority_fencing_delay). A promoted instance counts for its priority plus one, and for nothing when its
// priority is 0 (lib/pengine/native.c, native_priority_to_node): so priority-fencing-delay without a priority does
// nothing. Twice the random delay is what Pacemaker's own description of the option asks for (lib/common/options.c). A
// delay for a name comes second: it is right until the first failover.
func judgeFenceDelay(f *Facts) Finding {
	if len(f.CIB.Nodes) != 2 {
		return skip("%d nodes: quorum decides", len(f.CIB.Nodes))
	}
	base, random := map[string]time.Duration{}, map[string]time.Duration{}
	var longest time.Duration
	for _, node := range f.CIB.Nodes {
		for _, d := range activeDevices(f.CIB) {
			if targets, known := d.FenceTargets(); known && !slices.Contains(targets, node) {
				continue
			}
			base[node] = max(base[node], delayFor(d.Params["pcmk_delay_base"], node))
			random[node] = max(random[node], delayFor(d.Params["pcmk_delay_max"], node))
			longest = max(longest, random[node])
		}
	}
	a, b := f.CIB.Nodes[0], f.CIB.Nodes[1]
	if priority, _ := pacemakerTime(f.CIB.Property("priority-fencing-delay")); priority > 0 {
		switch {
		case !hasPriority(f.CIB):
			return fail("priority-fencing-delay is %s, but no resource has a priority, so it does nothing", priority).
				remedy("pcs resource meta {group} priority=10")
		case priority < 2*longest:
			return warn("priority-fencing-delay is %s, less than twice pcmk_delay_max (%s): chance may win", priority, longest).
				remedy("pcs property set priority-fencing-delay=%s", 2*longest)
		}
		return pass("the promoted node has %s", priority)
	}
	if base[a] != base[b] {
		ahead := a
		if base[b] > base[a] {
			ahead = b
		}
		return warn("%s is fenced %s later than the other node, promoted or not", ahead, (base[a] - base[b]).Abs())
	}
	if random[a] > 0 || random[b] > 0 {
		return warn("only chance decides (pcmk_delay_max %s): it may fence the promoted node, or both", longest)
	}
	return fail("both nodes are fenced after the same delay (%s)", base[a])
}

// promotedWins says whether the promoted node goes first in a fence race.
func promotedWins(c *crm.Configuration) bool {
	delay, _ := pacemakerTime(c.Property("priority-fencing-delay"))
	return delay > 0 && hasPriority(c)
}

// fenceSpare is what Pacemaker gets beyond what a device waits for the power: requests to EC2 and their retries.
const fenceSpare = time.Minute

// judgeFenceTimeout compares two clocks that know nothing of each other: Pacemaker's for the whole action, which is the
// device's pcmk_ACTION_timeout or else stonith-timeout (daemons/fenced/fenced_commands.c, get_action_timeout), and the
// device's own for the power to go. When Pacemaker's ends first, it kills the agent and counts a failure, although the
// machine is about to stop.
func judgeFenceTimeout(f *Facts) Finding {
	general, ok := pacemakerTime(cmp.Or(f.CIB.Property("stonith-timeout"), "60s"))
	if !ok {
		return unknown("stonith-timeout is %q", f.CIB.Property("stonith-timeout"))
	}
	action := cmp.Or(f.CIB.Property("stonith-action"), "reboot")
	var short, fine, fixes []string
	var longest time.Duration // that a device waits to which stonith-timeout applies, and is too short
	for _, d := range activeDevices(f.CIB) {
		power := d.Params["power_timeout"]
		if power == "" && d.Type == "fence_aws" {
			power = "60" // fence-agents agents/aws/fence_aws.py, power_timeout
		}
		need, ok := pacemakerTime(power)
		if !ok {
			continue
		}
		own := "pcmk_" + action + "_timeout"
		limit, ownLimit := pacemakerTime(d.Params[own])
		if !ownLimit {
			limit = general
		}
		text := fmt.Sprintf("%s: Pacemaker waits %s, the device %s", d.ID, limit, need)
		switch {
		case limit > need:
			fine = append(fine, text)
			continue
		case ownLimit:
			fixes = append(fixes, fmt.Sprintf("pcs stonith update %s %s=%.0fs", d.ID, own, (need+fenceSpare).Seconds()))
		default:
			longest = max(longest, need)
		}
		short = append(short, text)
	}
	if longest > 0 {
		fixes = append(fixes, fmt.Sprintf("pcs property set stonith-timeout=%.0fs", (longest+fenceSpare).Seconds()))
	}
	switch {
	case len(short) > 0:
		return warn("%s", strings.Join(short, "; ")).remedy("%s", strings.Join(fixes, "; "))
	case len(fine) == 0:
		return skip("no device states how long it waits (stonith-timeout is %s)", general)
	}
	return pass("%s", strings.Join(fine, "; "))
}

// hasPriority accepts a priority anywhere: which resource has it does not matter, because all that is promoted or
// active on a node adds to that node's priority.
func hasPriority(c *crm.Configuration) bool {
	positive := func(meta map[string]string) bool {
		n, err := strconv.Atoi(meta["priority"])
		return err == nil && n > 0
	}
	return positive(c.Defaults) ||
		slices.ContainsFunc(c.Clones, func(x crm.Clone) bool { return positive(x.Meta) }) ||
		slices.ContainsFunc(c.Groups, func(x crm.Group) bool { return positive(x.Meta) }) ||
		slices.ContainsFunc(c.Primitives, func(x crm.Primitive) bool { return positive(x.Meta) })
}

// bannedFrom says whether a constraint of score -INFINITY keeps a resource off a node.
func bannedFrom(c *crm.Configuration, p *crm.Primitive, node string) bool {
	return slices.ContainsFunc(c.Locations, func(l crm.Location) bool {
		return (l.Resource == p.ID || l.Resource == p.Top()) && l.Node == node && l.Score <= -crm.Infinity
	})
}

// delayFor reads "15s", or "node1:15s;node2:0s" (Pacemaker 2.1.2 and later; daemons/fenced/fenced_commands.c,
// get_action_delay_base).
func delayFor(text, node string) time.Duration {
	if !strings.Contains(text, ":") {
		d, _ := pacemakerTime(text)
		return d
	}
	for pair := range strings.FieldsFuncSeq(text, func(r rune) bool { return strings.ContainsRune(" ;", r) }) {
		if name, value, _ := strings.Cut(pair, ":"); name == node {
			d, _ := pacemakerTime(value)
			return d
		}
	}
	return 0
}
