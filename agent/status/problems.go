package status

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pgha/pgha-agent/agent/fsm"
	"github.com/pgha/pgha-agent/crm"
)

// Problem is something that an operator should know, with what to do about it.
type Problem struct {
	Code     string `json:"code"`     // from a closed set
	Severity string `json:"severity"` // warning or critical
	Text     string `json:"text"`
	Remedy   string `json:"remedy,omitempty"`
}

// Severities of a Problem.
const (
	Warning  = "warning"
	Critical = "critical"
)

// banIsOld is how long a fence-peer constraint may stay while the peers are connected: a resync of that length
// deserves a finding too.
const banIsOld = 5 * time.Minute

// drbdStopped reports that Pacemaker keeps DRBD stopped on this node: what keeps it so is the finding, and not DRBD.
func (s *Snapshot) drbdStopped() bool {
	if s.Crm == nil || !s.State.Cluster.OK {
		return false
	}
	instances := s.Crm.Instances(s.Config.Cluster.Promotable)
	return s.State.Cluster.Standby || len(instances) > 0 && !slices.ContainsFunc(instances, func(r crm.Resource) bool {
		return r.Node == s.Config.Node.Name && r.Role != crm.RoleStopped
	})
}

// Problems derives from a snapshot what an operator should know.
func (s *Snapshot) Problems() []Problem {
	var list []Problem
	add := func(cond bool, code, severity, text, remedy string) {
		if cond {
			list = append(list, Problem{code, severity, text, remedy})
		}
	}
	st := &s.State
	for src, state := range s.Sources {
		critical := Source(src) == SourceCrm || Source(src) == SourceDrbd && !s.drbdStopped()
		if state.Err == "" || Source(src) == SourceClient {
			continue
		}
		severity := Warning
		if critical {
			severity = Critical
		}
		add(true, "source_"+Source(src).String(), severity, fmt.Sprintf("%s does not answer: %s", Source(src), state.Err),
			sourceRemedies[src])
		add(state.Stuck, "child_stuck", Critical,
			fmt.Sprintf("a child process of %s cannot be killed (D state)", Source(src)),
			"the kernel or its storage hangs; a reboot may be the only way out")
	}
	if slow := s.slowCrm(); slow != "" {
		late := s.LookTook > fsm.MaxClusterAge
		add(late, "crm_slow", Critical, "no picture of the cluster is young enough to publish by: "+slow, slowCrmRemedy)
		add(!late, "crm_slow", Warning, "the picture of the cluster comes late: "+slow, slowCrmRemedy)
	}
	if s.Publication() == PubHeld {
		for _, h := range s.Holds.List() {
			help := s.HoldDoc(h)
			add(true, "held_"+help.Name, Critical, "not published: "+help.Text, help.Remedy)
		}
	}
	add(st.Promotion.Contested, "contested", Critical, HoldOf(fsm.HoldContested).Text, HoldOf(fsm.HoldContested).Remedy)
	if st.Drift() {
		f := driftProblem(st)
		if st.Zone.Refused && s.Refusal != "" {
			f.Text += ": " + s.Refusal
		}
		list = append(list, f)
	}
	add(st.TTLDrift(), "record_ttl", Warning,
		fmt.Sprintf("the record's TTL is %v, record.ttl is %v", st.Zone.TTL, st.Config.TTL),
		"clients may use an old address for the longer of the two; `pgha-agent publish --once` on the promoted node writes "+
			"the configured one")
	add(st.Promotion.Published && st.Resolved.OK && st.Resolved.Addr != st.Config.Addr && !st.Episode.Open(),
		"resolver_stale", Warning,
		fmt.Sprintf("the resolver answers %q", st.Resolved.Addr),
		"it may hold an old answer for one TTL; longer than that, check the zone's VPC association")
	add(st.Drbd.Live && st.SplitBrain(), "split_brain", Critical, HoldOf(fsm.HoldSplitBrain).Text,
		HoldOf(fsm.HoldSplitBrain).Remedy)
	const link = "is that node up? `drbdsetup status`; the network between the nodes, DRBD's port"
	apart := st.Drbd.Live && !st.Drbd.Connected && !st.Drbd.SplitBrain && !st.Cluster.Standby
	peer, some := st.ConnectedPeer()
	add(apart && !some, "drbd_disconnected", Warning,
		"DRBD is not connected: the other node does not get the data", link)
	add(apart && some && !st.PeersConnected(), "drbd_disconnected", Warning,
		"DRBD is connected to "+peer+", and not to another node of the cluster", link)
	add(apart && st.PeersConnected(), "drbd_disconnected", Warning,
		"DRBD is not connected to a node outside the cluster: a tiebreaker, or a copy for recovery", link)
	add(st.Promotion.Claim != "" && s.Postgres.State != "writable" && s.Postgres.State != "", "postgres", Critical,
		fmt.Sprintf("PostgreSQL on the promoted node: %s %s", s.Postgres.State, s.Postgres.Err),
		"`pgha-agent explain` says what keeps it; `crm_mon -1rf`, and its log")
	add(st.Cluster.OK && !st.Cluster.FencingEnabled, "fencing_disabled", Critical,
		"fencing is disabled: after a network failure both nodes can be promoted, and no record can tell clients which "+
			"one is right",
		"`pgha-agent doctor --only fence-device` says what is missing; configure a fence device and test it, then enable "+
			"fencing: `crm_attribute --name stonith-enabled --update true`")
	if unread := s.unreadHistory(); st.Cluster.FencingEnabled && unread != "" {
		add(true, "fence_history", Warning, "a fencing would not be seen, and the promotion after it not be published: "+
			unread, unreadHistoryRemedy)
	}
	if s.Crm != nil {
		add(len(s.Crm.Instances(s.Config.Cluster.Promotable)) == 0, "clone_missing", Critical,
			fmt.Sprintf("crm_mon shows no promotable clone %q", s.Config.Cluster.Promotable),
			"check cluster.promotable against `crm_mon -1`")
		_, known := s.Crm.Node(s.Config.Node.Name)
		add(!known, "node_missing", Critical, fmt.Sprintf("crm_mon shows no node %q", s.Config.Node.Name),
			"check node.name against `crm_mon -1`")
		for _, n := range s.Crm.Nodes {
			add(n.Name != s.Config.Node.Name && n.Unclean == crm.Yes, "peer_unclean", Critical,
				fmt.Sprintf("%s is lost and not fenced yet: Pacemaker promotes nothing before it is", n.Name),
				s.uncleanRemedy())
		}
		for _, b := range s.Crm.FenceBans() {
			add(st.Drbd.Live && st.PeersConnected() && s.At-s.FenceBans[b.ID] > banIsOld, "fence_constraint", Warning,
				fmt.Sprintf("constraint %s of the DRBD fence-peer handler is still there: the other node cannot be promoted", b.ID),
				"it goes when the peer is UpToDate again, `drbdsetup status`; if it stays then, see docs/operate.md, A leftover "+
					"fencing constraint")
		}
		add(s.Crm.MaintenanceMode == crm.Yes, "maintenance", Warning, "the cluster is in maintenance mode",
			"end it when the work is done: `crm_attribute --name maintenance-mode --delete`")
	}
	add(st.Wait.PausedUntil > s.At, "paused", Warning, "publication on this node is paused until "+
		s.WallOf(st.Wait.PausedUntil).Format(time.RFC3339), "`pgha-agent resume`")
	add(s.HTTPErr != "", "http", Warning, "metrics and health checks are not served: "+s.HTTPErr,
		"see what has the port, `ss -ltnp`, or correct http.listen and http.web_config_file, then "+
			"`systemctl reload pgha-agent`")
	add(s.JournalErr != "", "journal", Warning, "episodes cannot be saved: "+s.JournalErr,
		fmt.Sprintf("free space, `df -h %[1]s`, or give the directory back to the agent's user, `ls -ld %[1]s`",
			s.Config.State.Dir))
	add(s.ConfigErr != "", "config", Warning, "the configuration was not reloaded: "+
		strings.ReplaceAll(s.ConfigErr, "\n", "; "), brokenConfigRemedy)
	for _, w := range s.Config.Warnings() {
		add(true, "config_warning", Warning, w, "change it in the configuration, then `systemctl reload pgha-agent`")
	}
	return list
}

// brokenConfigRemedy is for an agent that runs on with the configuration of before.
const brokenConfigRemedy = "the next start of the agent fails with it: `pgha-agent check-config` shows what is wrong; " +
	"correct it, which may be in a file that it names, then `systemctl reload pgha-agent`"

// sourceRemedies say where to look when a source does not answer.
var sourceRemedies = [NumSources]string{
	SourceDrbd: "is the DRBD module loaded, and the resource up? `drbdsetup status`",
	SourceCrm:  "`systemctl status pacemaker`; is user pgha in group haclient?",
	SourcePostgres: "on the promoted node see PostgreSQL and its log; the agent's role and access: " +
		"`pgha-agent doctor --only postgres-role`",
	SourceRoute53:  "network, credentials, permissions: `pgha-agent doctor --only aws`",
	SourceResolver: "see the resolver that clients use: the VPC's, or the one of record.resolver",
}

// notSimple is said of a record of a form that is never written over.
const notSimple = "what stands under the name is not a simple record, and is never overwritten"

// driftProblem says what somebody else has done to the record, and who does what about it.
func driftProblem(st *fsm.State) Problem {
	f := Problem{
		"record_drift", Critical, fmt.Sprintf("the record was changed by somebody else: it holds %q, owner %q", st.Zone.Addr,
			st.Zone.Owner),
		"`pgha-agent publish --once` on the promoted node writes it again",
	}
	switch {
	case st.Zone.Refused:
		f.Text = "the record was changed by somebody else: " + notSimple
		f.Remedy = "remove that record by hand; then `pgha-agent publish --once` on the promoted node"
	case st.Repair.GivenUp:
		f.Text += "; it was written again, and changed again within ten minutes"
		f.Remedy =
			"find out who writes it: in CloudTrail, event ChangeResourceRecordSets of this zone; then `pgha-agent publish " +
				"--once` on the promoted node"
	case st.Repair.Pending:
		f.Text += "; it is being written again"
		f.Remedy = "nothing, unless this lasts: then see what holds publication back"
	}
	return f
}

// staleAfter is how old the last success of a source may be until /readyz is red.
var staleAfter = [NumSources]time.Duration{
	SourceDrbd: fsm.MaxDrbdAge, SourceCrm: 30 * time.Second, SourcePostgres: 30 * time.Second,
	SourceRoute53:  15 * time.Minute,
	SourceResolver: 2 * time.Minute,
}

// stale reports a source that has not answered for so long that the node is not ready.
func (s *Snapshot) stale(src Source) bool {
	limit, st := staleAfter[src], &s.Sources[src]
	switch src {
	case SourceRoute53:
		limit = max(limit, 2*s.Config.Record.DriftCheck)
	case SourceResolver:
		if st.LastSuccess == 0 && st.Failures == 0 {
			return false // not asked before there is a record
		}
	case SourceClient:
		return false
	}
	return st.LastSuccess == 0 || s.At-st.LastSuccess > limit
}

// Unready lists why the agent could not do its job now; nil when it could.
func (s *Snapshot) Unready() []string {
	var why []string
	for src := range NumSources {
		if s.stale(src) {
			why = append(why, fmt.Sprintf("%s: no answer for too long (%s)", src, s.Sources[src].Err))
		}
	}
	for _, p := range s.Problems() {
		if p.Severity == Critical {
			why = append(why, p.Code+": "+p.Text)
		}
	}
	return why
}
