package explain

// Reason is what people should know about something that keeps the database from running on another node.
type Reason struct {
	Code  string // of the Finding, and the label of the metric
	Means string
	Do    string // in general; the Finding has the commands, with everything filled in
}

// Reasons has every reason against a failover, in the order of what to fix first: what endangers data, then nodes and
// fencing, then DRBD, then what the cluster's resources are kept from. What a person has chosen comes after all faults.
// What could not be seen, and what only warns, is last. docs/operate.md is made of this table.
var Reasons = []Reason{
	{"split_brain",
		"Both sides have changes that the other one lacks.",
		"Decide which side keeps its data: [Split brain](#split-brain)."},
	{"quorum",
		"The cluster has no quorum, so Pacemaker starts and promotes nothing. After a cold start it waits until it has " +
			"seen all nodes.",
		"Start the nodes that are away."},
	{"node_unclean",
		"A node is lost and not fenced yet: the other one, or the one that had the database.",
		"See the fencing history: [PghaFencingStuck](runbook.md#pghafencingstuck)."},
	{"node_offline",
		"The other node is not in the cluster. Or `crm_mon` does not say whether it is: that makes the answer " +
			"unknown.",
		"Start the machine, or Pacemaker on it."},
	{"node_pending",
		"The other node is still joining the cluster.",
		"Wait. If it lasts: `journalctl -u pacemaker -n 50` there."},
	{"node_shutdown",
		"The other node is leaving the cluster.",
		"Start Pacemaker there when the work is done."},
	{"fencing_failed",
		"The last fencing of a node failed. A failover waits for the fencing, and the next one may fail too.",
		"Fix the fence device and test it: [fencing test](maintenance.md#fencing-test)."},
	{"fencing_stopped",
		"A fence device does not run, is kept away by constraints, or is not for that node; or none is configured. If " +
			"another one that can fence the database's node runs, this is a warning. If none does, that node cannot be " +
			"fenced when it is lost.",
		"Do what `explain` says of that device; then test it: [fencing test](maintenance.md#fencing-test)."},
	{"disconnected",
		"DRBD is not connected: the other node's data is behind.",
		"Bring that node or the network back: [PghaDrbdDisconnected](runbook.md#pghadrbddisconnected)."},
	{"disk",
		"The other node's disk is not UpToDate, and no resync runs.",
		"See what DRBD says: [PghaPeerNotUpToDate](runbook.md#pghapeernotuptodate)."},
	{"drbd_quorum",
		"DRBD has no quorum on the other node, and does not let it be promoted.",
		"Connect the DRBD nodes that vote."},
	{"out_of_sync",
		"A verify found blocks that differ. After a failover old blocks would be read.",
		"Let DRBD copy them: [PghaOutOfSync](runbook.md#pghaoutofsync)."},
	{"resync",
		"A resync runs, and the other node's disk is good at its end only.",
		"Wait. If it takes hours: [PghaResyncLong](runbook.md#pgharesynclong)."},
	{"may_promote",
		"No node is Primary, and DRBD says that it does not let this one be promoted. A warning.",
		"See its disk, quorum and connections."},
	{"foreign_postgres",
		"A PostgreSQL that Pacemaker did not start runs on the other node. The database cannot start beside it.",
		"Stop it there, and keep systemd from starting it."},
	{"foreign_mount",
		"Something else is mounted there where the database's filesystem belongs.",
		"Unmount it."},
	{"resource_blocked",
		"A resource of the database failed and is blocked: Pacemaker does nothing more with it.",
		"Fix what failed, then clean up. Where the database runs: [in maintenance](maintenance.md)."},
	{"resource_failed",
		"A resource of the database has failed. On the node that has the database it is a warning.",
		"See why, fix it, then clean up. Where the database runs: [in maintenance](maintenance.md)."},
	{"fail_count",
		"A resource has failed there. From `migration-threshold` on it may not run there; below it, this is a " +
			"warning.",
		"Fix what failed, then clean up. A cleanup without a fix lets it fail again. Where the database runs: " +
			"[in maintenance](maintenance.md)."},
	{"no_instance",
		"The other node runs no instance of the clone: DRBD is stopped there.",
		"See why Pacemaker does not start it: `crm_simulate --live-check --show-scores`."},
	{"promotion_score",
		"DRBD's agent has set no promotion score there, so Pacemaker does not promote it.",
		"Wait for the next monitor: it sets the score when the disk is good. At once, on that node: " +
			"`crm_resource --force-check`, as `explain` writes it out."},
	{"banned",
		"A location constraint keeps the database, or its promoted role, from the other node; or a colocation keeps " +
			"it away from what runs there; or the cluster is opt-in (`symmetric-cluster`), and none allows it there. One of " +
			"DRBD's fence-peer handler ends with the resync. One with a finite score is a warning, unless it outweighs the " +
			"promotion score.",
		"Remove it when it is not meant to be. One of the handler: [A leftover fencing " +
			"constraint](#a-leftover-fencing-constraint)."},
	{"ticket",
		"A ticket that the database needs is not granted, or is in standby.",
		"Grant it where the database is to run, when no other site has it. In standby: activate it."},
	{"target_role",
		"A `target-role` keeps the database stopped or unpromoted, or `stop-all-resources` stops all.",
		"Delete that meta attribute, or that cluster option."},
	{"node_health",
		"The node health is red, or yellow with the strategy `only-green`.",
		"Fix what the health agent found."},
	{"other_configuration",
		"The two agents are configured differently where they must be equal. After a failover clients would look " +
			"at another name, or the record would not follow. Or both take the same address for their own.",
		"Make it equal, but node.address: [PghaOtherConfiguration](runbook.md#pghaotherconfiguration)."},
	{"route53",
		"The other node's agent cannot read the record in the zone: it would not follow.",
		"See why there: `pgha-agent doctor --only aws`."},
	{"config",
		"The other node's configuration file is broken. Its agent runs on with what it read before, and does not start " +
			"again: after a restart of that node the record would not follow. A warning.",
		"`pgha-agent check-config` there shows what is wrong. Correct it, then `systemctl reload pgha-agent`."},
	{"node_standby",
		"The other node is in standby, by a person or because an operation failed (`on-fail=standby`).",
		"End it when the work is done."},
	{"maintenance",
		"Cluster or node is in maintenance: Pacemaker does nothing.",
		"End it when the work is done: [PghaMaintenanceForgotten](runbook.md#pghamaintenanceforgotten)."},
	{"unmanaged",
		"A resource of the database is unmanaged or in maintenance.",
		"Let Pacemaker manage it again."},
	{"paused",
		"The other node's agent is paused: the record would not follow.",
		"`pgha-agent resume` there."},
	{"configuration_unread",
		"The cluster's configuration cannot be read here, so rules, tickets and groups are not seen. It makes " +
			"the answer unknown.",
		"`runuser -u pgha -- cibadmin --query` says why."},
	{"peer_agent",
		"The other node's agent was not reached, and what only it sees is not known. It makes the answer unknown.",
		"[PghaPeerNotReached](runbook.md#pghapeernotreached)."},
	{"path",
		"One of several paths of DRBD is down. A warning.",
		"Fix that network."},
	{"fencing_disabled",
		"Fencing is disabled: after a loss nothing keeps the data from two writers. A warning.",
		"[PghaFencingDisabled](runbook.md#pghafencingdisabled)."},
}

// ReasonCodes lists the codes of Reasons in their order. Each is a label of a metric.
var ReasonCodes = reasonCodes()

func reasonCodes() (codes []string) {
	for _, r := range Reasons {
		codes = append(codes, r.Code)
	}
	return codes
}
