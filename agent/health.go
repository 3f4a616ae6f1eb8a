package agent

import (
	"fmt"
	"time"

	"github.com/pgha/pgha-agent/agent/fsm"
	"github.com/pgha/pgha-agent/crm"
)

// Finding is something that an operator should know, with what to do about it.
type Finding struct {
	Code     string `json:"code"`     // from a closed set
	Severity string `json:"severity"` // warning or critical
	Text     string `json:"text"`
	Remedy   string `json:"remedy,omitempty"`
}

// Severities of a Finding.
const (
	Warning  = "warning"
	Critical = "critical"
)

// holdHelp says for each condition what it means and what the operator can do.
var holdHelp = map[fsm.Hold][2]string{
	fsm.HoldNotPromoted:      {"this node is not the promoted one", ""},
	fsm.HoldCrmUnknown:       {"no fresh answer from crm_mon", "see `systemctl status pacemaker`; is user pgha in group haclient?"},
	fsm.HoldNodeOffline:      {"Pacemaker does not count this node as online", "see `crm_mon -1` on both nodes"},
	fsm.HoldNodeUnclean:      {"Pacemaker counts this node as unclean: it may be fenced", "see the fencing history: `stonith_admin --history '*'`"},
	fsm.HoldNodeStandby:      {"this node is in standby", "`pcs node unstandby` when it should take part again"},
	fsm.HoldNodePending:      {"this node is still joining the cluster", "wait; if it lasts, see the Pacemaker log"},
	fsm.HoldMaintenance:      {"cluster, node or resource is in maintenance, or unmanaged", "nothing is written until maintenance ends, by hand or not"},
	fsm.HoldManyPromoted:     {"more than one node is shown as promoted", "wait for fencing; if it lasts, find out which node has the data before anything else"},
	fsm.HoldPromotionPending: {"a promote, demote, start or stop is in flight here", "wait"},
	fsm.HoldPeerUnknown:      {"the cluster has no other node, or too many", "see `crm_mon -1`"},
	fsm.HoldPeerUnclean:      {"the other node is lost and not fenced yet", "see the fence device: `stonith_admin --history '*'`, then `crm_resource --cleanup -r <fence device>`"},
	fsm.HoldPeerUnfenced:     {"the other node was lost while it was promoted, and no fencing has succeeded since", "see the fence device; `stonith_admin --confirm <node>` only when that node is off for certain"},
	fsm.HoldDrbdUnknown:      {"no live answer from drbdsetup", "is the DRBD module loaded? `drbdsetup status`"},
	fsm.HoldDrbdNotPrimary:   {"DRBD is not Primary here", "see `drbdsetup status`"},
	fsm.HoldDrbdNotUpToDate:  {"the local disk is not UpToDate", "see `drbdsetup status`; the peer may have newer data"},
	fsm.HoldDrbdSuspended:    {"DRBD has suspended I/O", "a fence-peer handler that runs is the usual reason; see `drbdsetup status --verbose`"},
	fsm.HoldDrbdNoQuorum:     {"DRBD has lost its own quorum: writes fail or wait", "see `drbdsetup status --verbose`; connect the nodes that vote again"},
	fsm.HoldSplitBrain:       {"DRBD has detected a split brain", "decide which side keeps its data; see docs/operate.md"},
	fsm.HoldPostgres:         {"PostgreSQL does not accept writes here yet (publish_on is writable)", "see the PostgreSQL log; crash recovery takes its time"},
	fsm.HoldStalled:          {"this process stood still a moment ago", "wait; if it repeats, the machine is overloaded or was paused"},
	fsm.HoldPaused:           {"publication is paused by an operator", "`pgha-agent resume`"},
	fsm.HoldContested:        {"another node claimed the record after this one did", "only one node may be promoted: compare `crm_mon -1` on both nodes"},
	fsm.HoldLostRace:         {"another node's claim came first; waiting 30 s, then looking again", "wait"},
	fsm.HoldIdentityUnknown:  {"Pacemaker's history does not show which promotion this is, and the record is another node's", "after a cleanup or refresh with the agent down: a planned move makes a new promotion"},
	fsm.HoldAddressUnknown:   {"this node's own address is not known", "set node.address, or enable instance metadata (IMDSv2)"},
	fsm.HoldRecordUnknown:    {"the record has not been read yet", "see the last error of the route53 source: network, credentials, permissions"},
	fsm.HoldRecordRefused:    {"what stands under the name is not a simple record of ours, and is never overwritten", "remove that record in Route 53 by hand, or choose another name"},
	fsm.HoldBackoff:          {"the API refused or did not answer; trying again shortly", "see the last failure"},
}

// banIsOld is how long a fence-peer constraint may stay while the peers are connected: a resync of that length is worth a word too.
const banIsOld = 5 * time.Minute

// Problems derives from a snapshot what an operator should know.
func (a *Agent) Problems(s *Snapshot) []Finding {
	var list []Finding
	add := func(cond bool, code, severity, text, remedy string) {
		if cond {
			list = append(list, Finding{code, severity, text, remedy})
		}
	}
	st := &s.State
	for src, state := range s.Sources {
		standby := st.Cluster.OK && st.Cluster.Standby // then Pacemaker stops DRBD here, as it should be
		critical := Source(src) == SourceCrm || Source(src) == SourceDrbd && !standby
		if state.Err == "" || Source(src) == SourceClient {
			continue
		}
		severity := Warning
		if critical {
			severity = Critical
		}
		add(true, "source_"+Source(src).String(), severity, fmt.Sprintf("%s does not answer: %s", Source(src), state.Err), "")
		add(state.Stuck, "child_stuck", Critical, fmt.Sprintf("a child process of %s cannot be killed (D state)", Source(src)), "the kernel or its storage hangs; a reboot may be the only way out")
	}
	if slow := s.slowCrm(); slow != "" {
		late := s.LookTook > fsm.MaxLookAge
		add(late, "crm_slow", Critical, "no picture of the cluster is young enough to publish by: "+slow, slowCrmRemedy)
		add(!late, "crm_slow", Warning, "the picture of the cluster comes late: "+slow, slowCrmRemedy)
	}
	if publicationOf(s) == PubHeld {
		for _, h := range s.Holds.List() {
			help := s.holdDoc(h)
			add(true, "held_"+help.Name, Critical, "not published: "+help.Text, help.Remedy)
		}
	}
	add(st.Contested, "contested", Critical, holdHelp[fsm.HoldContested][0], holdHelp[fsm.HoldContested][1])
	if st.Drift() {
		f := driftFinding(st)
		if st.Zone.Refused && s.Refusal != "" {
			f.Text += ": " + s.Refusal
		}
		list = append(list, f)
	}
	add(st.TTLDrift(), "record_ttl", Warning, fmt.Sprintf("the record's TTL is %v, record.ttl is %v", st.Zone.TTL, st.Config.TTL),
		"the next promotion writes the configured one; clients may use an old address for the longer of the two")
	add(st.Published && st.Resolved.OK && st.Resolved.Addr != st.Config.Addr && !st.Episode.Open(), "resolver_stale", Warning,
		fmt.Sprintf("the resolver answers %q", st.Resolved.Addr), "it may hold an old answer for one TTL; longer than that, check the zone's VPC association")
	add(st.Drbd.Live && st.SplitBrain(), "split_brain", Critical, holdHelp[fsm.HoldSplitBrain][0], holdHelp[fsm.HoldSplitBrain][1])
	const link = "is that node up? `drbdsetup status`; the network between the nodes, DRBD's port"
	apart := st.Drbd.Live && !st.Drbd.Connected && !st.Drbd.SplitBrain && !st.Cluster.Standby
	add(apart && !st.PeersConnected(), "drbd_disconnected", Warning, "DRBD is not connected: the other node does not get the data", link)
	add(apart && st.PeersConnected(), "drbd_disconnected", Warning, "DRBD is not connected to a node outside the cluster: a tiebreaker, or a copy for recovery", link)
	add(st.Promotion != "" && s.Postgres.State != "writable" && s.Postgres.State != "", "postgres", Critical,
		fmt.Sprintf("PostgreSQL on the promoted node: %s %s", s.Postgres.State, s.Postgres.Err), "")
	add(st.Cluster.OK && !st.Cluster.FencingEnabled, "fencing_disabled", Critical,
		"fencing is disabled: after a network failure both nodes can be promoted, and no record can tell clients which one is right",
		"configure fence_aws and set stonith-enabled=true")
	if unread := s.unreadHistory(); st.Cluster.FencingEnabled && unread != "" {
		add(true, "fence_history", Warning, "a fencing would not be seen, and the promotion after it not be published: "+unread, unreadHistoryRemedy)
	}
	if s.Crm != nil {
		add(len(s.Crm.Instances(a.id.clone)) == 0, "clone_missing", Critical,
			fmt.Sprintf("crm_mon shows no promotable clone %q", a.id.clone), "check cluster.promotable against `crm_mon -1`")
		_, known := s.Crm.Node(a.id.node)
		add(!known, "node_missing", Critical, fmt.Sprintf("crm_mon shows no node %q", a.id.node), "check node.name against `crm_mon -1`")
		for _, n := range s.Crm.Nodes {
			add(n.Name != a.id.node && n.Unclean == crm.Yes, "peer_unclean", Critical,
				fmt.Sprintf("%s is lost and not fenced yet: Pacemaker promotes nothing before it is", n.Name), holdHelp[fsm.HoldPeerUnclean][1])
		}
		for _, b := range s.Crm.FenceBans() {
			add(st.Drbd.Live && st.PeersConnected() && s.At-s.FenceBans[b.ID] > banIsOld, "fence_constraint", Warning,
				fmt.Sprintf("constraint %s of the DRBD fence-peer handler is still there: the other node cannot be promoted", b.ID),
				"it goes when the peer is UpToDate again; see docs/operate.md if it stays")
		}
		add(s.Crm.MaintenanceMode == crm.Yes, "maintenance", Warning, "the cluster is in maintenance mode", "")
	}
	add(st.PausedUntil > s.At, "paused", Warning, "publication on this node is paused until "+s.WallOf(st.PausedUntil).Format(time.RFC3339), "`pgha-agent resume`")
	add(s.HTTPErr != "", "http", Warning, "metrics and health checks are not served: "+s.HTTPErr, "see http.listen and http.web_config_file")
	add(s.JournalErr != "", "journal", Warning, "episodes cannot be saved: "+s.JournalErr, "free space or mend permissions of the state directory")
	add(s.ConfigErr != "", "config", Warning, "the configuration was not reloaded: "+s.ConfigErr,
		"mend what it names, which may be in another file, and reload again; `pgha-agent check-config` looks at the configuration")
	for _, w := range a.cfg.Warnings() {
		add(true, "config_warning", Warning, w, "")
	}
	return list
}

// driftFinding says what somebody else has done to the record, and who does what about it.
func driftFinding(st *fsm.State) Finding {
	f := Finding{
		"record_drift", Critical, fmt.Sprintf("the record was changed by somebody else: it holds %q, owner %q", st.Zone.Addr, st.Zone.Owner),
		"`pgha-agent publish --once` on the promoted node writes it again",
	}
	switch {
	case st.Zone.Refused:
		f.Text = "the record was changed by somebody else: what stands under the name is not a simple record, and is never overwritten"
		f.Remedy = "remove that record by hand; then `pgha-agent publish --once` on the promoted node"
	case st.Fights:
		f.Text += "; it was written again, and changed again within ten minutes"
		f.Remedy = "find out who writes it: in CloudTrail, event ChangeResourceRecordSets of this zone; then `pgha-agent publish --once` on the promoted node"
	case st.Repairing:
		f.Text += "; it is being written again"
		f.Remedy = "nothing, unless this lasts: then see what holds publication back"
	}
	return f
}

// staleAfter is how old the last success of a source may be until /readyz is red.
var staleAfter = [numSources]time.Duration{
	SourceDrbd: fsm.MaxDrbdAge, SourceCrm: 30 * time.Second, SourcePostgres: 30 * time.Second, SourceRoute53: 15 * time.Minute,
	SourceResolver: 2 * time.Minute,
}

// unready lists why the agent could not do its job now; nil when it could.
func (a *Agent) unready(s *Snapshot) []string {
	var why []string
	for src, limit := range staleAfter {
		if limit == 0 {
			continue
		}
		if src == int(SourceRoute53) {
			limit = max(limit, 2*a.cfg.Record.DriftCheck)
		}
		st := s.Sources[src]
		if src == int(SourceResolver) && st.LastSuccess == 0 && st.Failures == 0 {
			continue // not asked before there is a record
		}
		if st.LastSuccess == 0 || s.At-st.LastSuccess > limit {
			why = append(why, fmt.Sprintf("%s: no answer for too long (%s)", Source(src), st.Err))
		}
	}
	for _, p := range a.Problems(s) {
		if p.Severity == Critical {
			why = append(why, p.Code+": "+p.Text)
		}
	}
	return why
}
