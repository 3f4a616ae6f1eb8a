package doctor

import (
	"slices"
	"strings"

	"github.com/pgha/pgha-agent/crm"
)

const openCorosync = "allow UDP 5404-5405 between the nodes in the security group; see `journalctl -u corosync`"

var networkChecks = []Check{
	{
		Name: "corosync-membership", Area: Network, Needs: []Source{fromCrm},
		Want:   "all nodes are members (UDP 5404 and 5405 are open both ways)",
		Why:    "A node that is no member takes no part: it cannot take over.",
		Remedy: openCorosync,
		Judge: func(f *Facts) Finding {
			var away []string
			for _, n := range f.Crm.Nodes {
				if n.Online != crm.Yes && (n.Type == "" || n.Type == "member") {
					away = append(away, n.Name)
				}
			}
			switch {
			case len(f.Crm.Nodes) == 0:
				return unknown("crm_mon lists no node")
			case len(away) > 0:
				bad := fail("not online: %s", strings.Join(away, ", "))
				if told := f.told("", "node_offline", "node_unclean"); told != "" {
					return bad.remedy("%s; where Pacemaker runs there: %s", told, openCorosync)
				}
				return bad
			}
			return pass("%d nodes online", len(f.Crm.Nodes))
		},
	},
	{
		Name: "port-drbd", Area: Network, Needs: []Source{fromPorts},
		Want:   "the peer's DRBD port can be reached",
		Why:    "Without it nothing is replicated.",
		Remedy: "allow the resource's TCP port (7789 is usual) between the nodes in the security group",
		Judge: func(f *Facts) Finding {
			switch f.Ports.Drbd {
			case "": // not tried: collectPorts leaves a working connection alone
				return pass("DRBD is connected")
			case reachSilent:
				return fail("no answer from %s", f.Ports.Peer)
			case reachRefused:
				return warn("%s refuses: the way is open, but DRBD does not listen there",
					f.Ports.Peer).remedy("on {peer}: drbdadm status {resource}")
			}
			return pass("%s answers", f.Ports.Peer)
		},
	},
	{
		Name: "port-postgres", Area: Network, Needs: []Source{fromPorts, fromCrm},
		Want: "the peer's port 5432 can be reached",
		Why: "If this node cannot reach the port of the peer, clients most likely cannot either, and that shows only " +
			"at the failover. The agent's view as a client needs the port too.",
		Remedy: "allow TCP 5432 from the clients' and both nodes' addresses in the security group of both nodes",
		Judge: func(f *Facts) Finding {
			// On a node that is not promoted a refusal is the right answer: no firewall drops the packet, and no PostgreSQL runs
			// that Pacemaker does not know.
			there := slices.Contains(f.Crm.Promoted(f.Options.Clone), f.peer())
			switch f.Ports.Postgres {
			case reachSilent:
				return fail("no answer from %s", f.Ports.Peer)
			case reachRefused:
				if there {
					return fail("%s refuses although it is the promoted node",
						f.Ports.Peer).remedy("on {peer}: is PostgreSQL up, and listen_addresses '*'?")
				}
				return pass("%s refuses, as it should without PostgreSQL: nothing filters the port", f.Ports.Peer)
			}
			if !there {
				return fail("something listens on 5432 of %s, which is not promoted",
					f.Ports.Peer).remedy("on {peer}: ss -ltnp 'sport = 5432'; systemctl disable --now postgresql")
			}
			return pass("%s answers", f.Ports.Peer)
		},
	},
	{
		Name: "port-pcsd", Area: Network, Needs: []Source{fromPorts, fromHost},
		Want:   "the peer's pcsd (TCP 2224) can be reached",
		Why:    "pcs changes settings on both nodes through it. Without it a change is made on one node only.",
		Remedy: "on {peer}: systemctl enable --now pcsd; allow TCP 2224 between the nodes in the security group",
		Judge: func(f *Facts) Finding {
			switch {
			case f.Host.PcsdMasked:
				return skip("pcsd is not installed or masked here")
			case f.Ports.Pcsd == reachSilent:
				return fail("no answer from %s", f.Ports.Peer)
			case f.Ports.Pcsd == reachRefused:
				return warn("%s refuses: the way is open, but pcsd does not run there", f.Ports.Peer)
			}
			return pass("%s answers", f.Ports.Peer)
		},
	},
}
