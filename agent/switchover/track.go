package switchover

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pgha/pgha-agent/agent/status"
	"github.com/pgha/pgha-agent/crm"
	"github.com/pgha/pgha-agent/drbd"
	"github.com/pgha/pgha-agent/pg"
)

// seen is one look at what moves. What was not asked, or did not answer, is nil.
type seen struct {
	cluster      *crm.Status
	local, there *status.Doc     // of this node's daemon, and of the target's (the same one when this is the target)
	resolver     string          // the address that the name has, "" when not known
	view         *pg.ClientProbe // of a client that connects through the name
}

// tracker folds looks into how far the move is. It is pure: the same looks give the same story.
type tracker struct {
	plan   *Plan
	client bool // there is a client's view

	done    map[string]bool // what was said
	addr    string          // of the target, as far as it is known
	episode *status.EpisodeDoc

	demoted, promoted, running bool    // the role left; it is on the target; and PostgreSQL accepts writes there
	named, connected           bool    // the name answers the target's address; a client reaches it there
	unreached                  string  // why a client did not, the last time
	rejected                   bool    // the server does not let the client in: what it sees says nothing
	viewed, served             bool    // an agent is a client too; it reaches the database there
	outage                     float64 // that it saw, in seconds; its view has seen the address change
	failed                     string
}

func newTracker(p *Plan, client bool) *tracker {
	return &tracker{plan: p, client: client, done: map[string]bool{}, addr: p.Next}
}

// observe takes one look and returns what is new, in words.
func (t *tracker) observe(s seen) (news []string) {
	say := func(key, format string, args ...any) {
		if !t.done[key] {
			t.done[key] = true
			news = append(news, fmt.Sprintf(format, args...))
		}
	}
	p := t.plan
	if s.local != nil && s.local.Drbd != nil {
		from, to := roles(s.local, p)
		if from == drbd.RoleSecondary {
			t.demoted = true
			say("demoted", "DRBD demoted on %s", p.From)
		}
		if to == drbd.RolePrimary {
			say("promoted", "DRBD promoted on %s", p.To)
		}
	}
	t.watchCluster(s.cluster, say)
	if s.there != nil {
		t.watchTarget(s.there, say)
	}
	if s.resolver != "" && t.leadsThere(s.resolver) {
		t.named = true
		say("named", "%s answers %s", p.Record, s.resolver)
	}
	for _, d := range []*status.Doc{s.local, s.there} {
		if d == nil || d.Client == nil || !d.Client.Asked || d.Client.State == pg.StateAuth {
			continue
		}
		t.viewed = true
		if d.Client.OK && d.Client.Answered != "" && t.leadsThere(d.Client.Answered) {
			t.served = true
			if o := d.Client.LastOutage; o != nil {
				t.outage = max(t.outage, *o)
			}
			say("connected", "a client on %s reaches PostgreSQL through the name, at %s", d.Node, d.Client.Answered)
		}
	}
	if v := s.view; v != nil {
		t.rejected = v.State == pg.StateAuth
		if t.unreached = v.Err; v.OK {
			t.unreached = fmt.Sprintf("%s answers", v.Answered)
		}
		if t.connected = v.OK && v.Answered.IsValid() && t.leadsThere(v.Answered.String()); t.connected {
			what := "accepts writes"
			if v.State != pg.StateWritable {
				what = "answers (" + string(v.State) + ")"
			}
			t.running = t.running || v.State == pg.StateWritable
			say("connected", "PostgreSQL %s through the name, at %s", what, v.Answered)
		}
	}
	return news
}

// leadsThere reports an address that is the target's. A record that another claim made point at the target before the
// move, as in a rescue, says nothing until the role is there.
func (t *tracker) leadsThere(addr string) bool {
	if t.addr == "" {
		return addr != t.plan.Address
	}
	return addr == t.addr && (addr != t.plan.Address || t.promoted)
}

// roles are DRBD's, as the local daemon sees them, of the two nodes of the plan.
func roles(d *status.Doc, p *Plan) (from, to drbd.Role) {
	var peer drbd.Role
	for _, c := range d.Drbd.Connections {
		peer = c.PeerRole
	}
	if d.Node == p.To {
		return peer, d.Drbd.Role
	}
	return d.Drbd.Role, peer
}

func (t *tracker) watchCluster(st *crm.Status, say func(string, string, ...any)) {
	if st == nil {
		return
	}
	p := t.plan
	promoted := st.Promoted(p.Clone)
	t.promoted = len(promoted) == 1 && promoted[0] == p.To
	if t.promoted {
		say("role", "Pacemaker shows %s as promoted", p.To)
	}
	if n, known := st.Node(p.To); !known || n.Online != crm.Yes || n.Unclean == crm.Yes || n.Standby == crm.Yes {
		t.failed = p.To + " is offline, unclean or in standby"
	}
	for _, f := range st.Failures {
		what := fmt.Sprintf("%s of %s failed on %s (%s)", f.Task, f.Resource, f.Node,
			strings.TrimSpace(f.ExitStatus+" "+f.ExitReason))
		say("failure "+f.Op+f.Node, "%s", what)
		if f.Node == p.To {
			t.failed = what
		}
	}
	for _, n := range st.Nodes {
		if _, pending := st.PendingFence(n.Name); pending {
			say("fencing "+n.Name, "Pacemaker fences %s", n.Name)
		}
	}
}

// watchTarget follows the episode of the promotion, which the target's agent keeps.
func (t *tracker) watchTarget(d *status.Doc, say func(string, string, ...any)) {
	p := t.plan
	if d.Record.OwnAddr != "" {
		t.addr = d.Record.OwnAddr
	}
	if d.Episode == nil || d.Episode.ID <= p.lastEpisode {
		return
	}
	t.episode = d.Episode
	for _, ph := range d.Episode.Phases {
		switch ph.Phase {
		case "promoted":
			say("promoted", "DRBD promoted on %s", p.To)
		case "writable":
			t.running = true
			fallthrough
		case "mounted", "pg_started", "dns_accepted", "dns_insync":
			say(ph.Phase, "%s", status.PhaseText(ph.Phase))
		}
	}
	for _, f := range d.Problems {
		if name, held := strings.CutPrefix(f.Code, "held_"); held && slices.ContainsFunc(d.Publication.Holds,
			func(h status.HoldDoc) bool { return h.Name == name }) {
			say(f.Code, "the agent of %s does not publish yet: %s", p.To, f.Text)
		}
	}
}

// settled reports that the database works on the target, so that the constraint has nothing to hold any more. If
// nothing is known of PostgreSQL (no agent of the target, no role for the client's view), a client's connection is
// enough.
func (t *tracker) settled() bool { return t.promoted && (t.running || t.connected || t.served) }

// verified reports that the move is done as clients see it.
func (t *tracker) verified() bool { return t.settled() && t.named && !t.unseen() }

// unseen reports that no client was seen to reach the target, and one could be. The agents' clients count as much as
// the command's own: who types it may have no password of the agent's role.
func (t *tracker) unseen() bool {
	return !t.connected && !t.served && (t.viewed || t.client && !t.rejected)
}

// missing says what verified still waits for.
func (t *tracker) missing() string {
	var why []string
	add := func(missing bool, format, of string) {
		if missing {
			why = append(why, fmt.Sprintf(format, of))
		}
	}
	add(!t.promoted, "%s is not promoted", t.plan.To)
	add(t.promoted && !t.settled(), "PostgreSQL was not seen to accept writes on %s", t.plan.To)
	add(!t.named, "%s does not answer the new address", t.plan.Record)
	add(t.unseen(), "no client reaches %s through the name", t.plan.To)
	add(t.unseen() && t.unreached != "", "the last attempt: %s", t.unreached)
	return strings.Join(why, "; ")
}

// clientOutage is what a client saw, in seconds: one of the agents, or, when they saw none, the one here. An agent
// keeps a connection, as applications do. The one here logs in anew each time and gives up after two seconds: what a
// busy server takes too long for is no outage of those who are connected.
func (t *tracker) clientOutage(here time.Duration) *float64 {
	longest := t.outage
	if e := t.episode; e != nil && e.Outage != nil {
		longest = max(longest, *e.Outage)
	}
	if longest == 0 {
		longest = here.Seconds()
	}
	if longest == 0 {
		return nil
	}
	return &longest
}
