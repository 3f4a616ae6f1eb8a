package status

import (
	"slices"

	"github.com/pgha/pgha-agent/agent/fsm"
)

// Hold is what people should know about a condition that holds publication back.
type Hold struct {
	Is     fsm.Hold
	Text   string // what it means
	Remedy string // what to do about it; "" when nothing
	More   string // what else docs/operate.md says

	Passes   bool   // by itself, in the course of a failover
	WaitsFor string // what ends it
	Next     string // the one next step when it does not pass
	Command  string
}

// Holds has every hold, in the order of what to fix first: what endangers data, then Pacemaker, nodes and fencing, then
// DRBD and PostgreSQL, then the record. What a person has chosen comes after all faults, so that nobody ends a pause
// with a fault behind it. What only needs time is last. status, explain, the page and docs/operate.md are made of this
// table.
var Holds = []Hold{
	{
		Is: fsm.HoldSplitBrain, Text: "DRBD has detected a split brain",
		Remedy:   "decide which side keeps its data; see docs/operate.md",
		More:     "[Split brain](#split-brain).",
		WaitsFor: "a person who decides which side keeps its data",
		Next:     "Decide which side keeps its data: section Split brain of docs/operate.md. Look first, on both nodes:",
		Command:  "drbdsetup status --verbose",
	},
	{
		Is: fsm.HoldManyPromoted, Text: "more than one node is shown as promoted",
		Remedy: "wait for fencing; if it lasts, find out which node has the data before anything else",
		Passes: true, WaitsFor: "the end of one of the two promotions",
		Next:    "Before anything else find out which node has the data. Compare on both nodes:",
		Command: "crm_mon -1",
	},
	{
		Is: fsm.HoldCrmUnknown, Text: "no fresh answer from crm_mon",
		Remedy: "see `systemctl status pacemaker`; is user pgha in group haclient?",
		More: "An answer counts for 5 s. When `crm_mon` takes longer than that (finding `crm_slow`): `time crm_mon -1`, " +
			"and the load " +
			"of the machine.",
		Passes: true, WaitsFor: "an answer of crm_mon",
		Next: "See whether Pacemaker runs here.", Command: "systemctl status pacemaker",
	},
	{
		Is: fsm.HoldNodeOffline, Text: "Pacemaker does not count this node as online",
		Remedy:   "see `crm_mon -1` on both nodes",
		WaitsFor: "Pacemaker to count this node as online",
		Next:     "Compare on both nodes:", Command: "crm_mon -1",
	},
	{
		Is: fsm.HoldNodeUnclean, Text: "Pacemaker counts this node as unclean: it may be fenced",
		Remedy:   "see the fencing history: `stonith_admin --history '*'`",
		WaitsFor: "the cluster's decision about this node: it may be fenced",
		Next:     "See which node fences which.", Command: "stonith_admin --history '*'",
	},
	{
		Is: fsm.HoldPeerUnclean, Text: "the other node is lost and not fenced yet",
		Remedy: "see the fence device: `stonith_admin --history '*'`; clean up its resource when it is mended",
		More:   "Fencing gives up after `stonith-max-attempts`: clean up when the device is fixed.",
		Passes: true, WaitsFor: "the fencing of the other node",
		Next: "Find out why the other node is not fenced, and fix the fence device.", Command: "stonith_admin --history '*'",
	},
	{
		Is: fsm.HoldPeerUnfenced, Text: "the other node was lost while it was promoted, and no fencing has succeeded since",
		Remedy: "see the fence device: `stonith_admin --history '*'`; confirm a fencing only when that node is off for certain",
		More: "A fencing that may be from before the node's last return does not count. If the history cannot be read " +
			"(finding " +
			"`fence_history`), a fencing and `--confirm` are not seen: `runuser -u pgha -- stonith_admin --history '*'` says why. " +
			"`crm_mon` " +
			"prints the history from Pacemaker 2.0.1 on; before that, the hold lasts until that node is back.",
		Passes: true, WaitsFor: "a successful fencing of the other node",
		Next: "Find out why the other node is not fenced, and fix the fence device.", Command: "stonith_admin --history '*'",
	},
	{
		Is: fsm.HoldPeerUnknown, Text: "the cluster has no other node, or too many", Remedy: "see `crm_mon -1`",
		More:     "Three other nodes are the most.",
		WaitsFor: "the cluster to show the other node",
		Next:     "See which nodes the cluster has.", Command: "crm_mon -1",
	},
	{
		Is: fsm.HoldDrbdUnknown, Text: "no live answer from drbdsetup",
		Remedy: "is the DRBD module loaded? `drbdsetup status`",
		Passes: true, WaitsFor: "an answer of drbdsetup",
		Next: "See whether DRBD answers at all.", Command: "drbdsetup status",
	},
	{
		Is: fsm.HoldDrbdNotPrimary, Text: "DRBD is not Primary here", Remedy: "see `drbdsetup status`",
		Passes: true, WaitsFor: "DRBD to become Primary here",
		Next: "See what DRBD says.", Command: "drbdsetup status",
	},
	{
		Is: fsm.HoldDrbdNotUpToDate, Text: "the local disk is not UpToDate",
		Remedy: "see `drbdsetup status`; the peer may have newer data. A disk that is lost while the peer has a good copy: " +
			"`pgha-agent switchover --rescue`",
		WaitsFor: "the local disk to be UpToDate",
		Next:     "See what DRBD says. The other node may have newer data.", Command: "drbdsetup status",
	},
	{
		Is: fsm.HoldDrbdNoQuorum, Text: "DRBD has lost its own quorum: writes fail or wait",
		Remedy: "see `drbdsetup status --verbose`; connect the nodes that vote again",
		Passes: true, WaitsFor: "DRBD to have its quorum again",
		Next: "See which DRBD nodes are not connected.", Command: "drbdsetup status --verbose",
	},
	{
		Is: fsm.HoldDrbdSuspended, Text: "DRBD has suspended I/O",
		Remedy: "a fence-peer handler that runs is the usual reason; see `drbdsetup status --verbose`",
		More:   "[install.md](install.md) has the handler.",
		Passes: true, WaitsFor: "DRBD to resume I/O",
		Next: "See why DRBD suspends I/O; mostly a fence-peer handler that runs.", Command: "drbdsetup status --verbose",
	},
	{
		Is: fsm.HoldPostgres, Text: "PostgreSQL does not accept writes here yet (publish_on is writable)",
		Remedy: "see the PostgreSQL log; crash recovery takes its time",
		Passes: true, WaitsFor: "PostgreSQL to accept writes",
		Next: "See what failed, then the log of PostgreSQL.", Command: "crm_mon -1rf",
	},
	{
		Is: fsm.HoldAddressUnknown, Text: "this node's own address is not known",
		Remedy:   "set node.address, or enable instance metadata (IMDSv2)",
		WaitsFor: "this node's own address",
		Next:     "Set node.address in the configuration, or enable instance metadata (IMDSv2), then reload.",
		Command:  "systemctl reload pgha-agent",
	},
	{
		Is:       fsm.HoldRecordRefused,
		Text:     "what stands under the name is not a simple record of ours, and is never overwritten",
		Remedy:   "remove that record in Route 53 by hand, or choose another name",
		More:     "An alias, weighted, multi-value or foreign record; the text of the hold says which.",
		WaitsFor: "the foreign record under the name to go",
		Next:     "Remove that record from the zone by hand. What it is:", Command: "pgha-agent status",
	},
	{
		Is: fsm.HoldRecordUnknown, Text: "the record has not been read yet",
		Remedy: "see the last error of the route53 source: network, credentials, permissions",
		More:   "Or it must be read again, after a conflict or a lost reply.",
		Passes: true, WaitsFor: "the first good read of the zone",
		Next:    "See why the zone cannot be read: network, credentials, permissions.",
		Command: "pgha-agent doctor --only aws",
	},
	{
		Is:       fsm.HoldIdentityUnknown,
		Text:     "Pacemaker's history does not show which promotion this is, and the record is another node's",
		Remedy:   "after a cleanup or refresh with the agent down: a move makes a new promotion, `pgha-agent switchover --rescue`",
		More:     "Or the record was not read. [Rescue](#rescue) the database once.",
		WaitsFor: "a new promotion",
		Next:     "Move the database once: that is a new promotion, which claims the record anew.",
		Command:  "pgha-agent switchover --rescue",
	},
	{
		Is: fsm.HoldContested, Text: "another node claimed the record after this one did",
		Remedy: "only one node may be promoted: compare `crm_mon -1` on both nodes. This one alone: " +
			"`pgha-agent switchover --rescue`",
		More:     "[Contested, and drift](#contested-and-drift).",
		WaitsFor: "a new promotion",
		Next:     "Compare on both nodes which one is promoted:", Command: "crm_mon -1",
	},
	{
		Is: fsm.HoldMaintenance, Text: "cluster, node or resource is in maintenance, or unmanaged",
		Remedy:   "end maintenance when the work is done; until then nothing is written, by hand or not",
		WaitsFor: "the end of maintenance",
		Next:     "End maintenance when the work is done. What is in maintenance:", Command: "crm_mon -1",
	},
	{
		Is: fsm.HoldNodeStandby, Text: "this node is in standby",
		Remedy:   "`crm_standby --delete` on this node when it should take part again",
		WaitsFor: "the end of this node's standby",
		Next:     "End standby when this node should take part again.", Command: "crm_standby --delete",
	},
	{
		Is: fsm.HoldPaused, Text: "publication is paused by an operator", Remedy: "`pgha-agent resume`",
		More:     "Or the pause file was not readable when the agent started: then for an hour.",
		WaitsFor: "the end of the pause",
		Next:     "End the pause when the record may move.", Command: "pgha-agent resume",
	},
	{
		Is: fsm.HoldNotPromoted, Text: "this node is not the promoted one",
		Passes: true, WaitsFor: "Pacemaker to show this node as promoted",
		Next: "See which node is promoted.", Command: "crm_mon -1",
	},
	{
		Is: fsm.HoldNodePending, Text: "this node is still joining the cluster",
		Remedy: "wait; if it lasts, see the Pacemaker log",
		Passes: true, WaitsFor: "this node to finish joining the cluster",
		Next: "See why it does not join.", Command: "journalctl -u pacemaker -n 50",
	},
	{
		Is: fsm.HoldPromotionPending, Text: "a promote, demote, start or stop is in flight here", Remedy: "wait",
		Passes: true, WaitsFor: "an operation of Pacemaker that is in flight here",
		Next: "See which operation does not end.", Command: "crm_mon -1rf",
	},
	{
		Is: fsm.HoldStalled, Text: "this process stalled a moment ago",
		Remedy: "wait; if it repeats, the machine is overloaded or was paused",
		More: "Nothing is written for 30 s from then. With fencing disabled also after a start on a promoted node, and for " +
			"5 s more than Corosync's token and consensus timeout if that is longer.",
		Passes: true, WaitsFor: "the wait after a stall to pass",
		Next: "It repeats: the machine is overloaded, or is being paused.", Command: "journalctl -u pgha-agent -n 50",
	},
	{
		Is: fsm.HoldLostRace, Text: "another node's claim came first; waiting 30 s, then looking again", Remedy: "wait",
		More:   "It goes on if this node alone is promoted: three times at most, once without fencing.",
		Passes: true, WaitsFor: "the 30 s after another node's claim came first",
		Next: "See which node is promoted.", Command: "crm_mon -1",
	},
	{
		Is: fsm.HoldBackoff, Text: "the API refused or did not answer; trying again shortly", Remedy: "see the last failure",
		Passes: true, WaitsFor: "the next try at the Route 53 API",
		Next:    "See why the API does not take the write. No agent can move the name without it.",
		Command: "pgha-agent doctor --only aws",
	},
}

// HoldOf returns the line of a hold.
func HoldOf(h fsm.Hold) Hold {
	return Holds[slices.IndexFunc(Holds, func(x Hold) bool { return x.Is == h })]
}

// FindHold returns the place in the table of the hold with a name. It is false for one that only a newer daemon knows.
func FindHold(name string) (int, bool) {
	i := slices.IndexFunc(Holds, func(x Hold) bool { return x.Is.String() == name })
	return i, i >= 0
}
