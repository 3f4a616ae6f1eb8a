package sim

import (
	"slices"
	"time"

	"github.com/pgha/pgha-agent/crm"
)

const (
	clone      = "drbd_pg-clone"
	primitive  = "drbd_pg"
	resource   = "pg"
	recordName = "db.pgha.internal"
	recordTTL  = 10 * time.Second
)

// cib is Pacemaker's picture of the cluster. Nodes that see each other share one; a node that is cut off or asleep has
// a copy of its own.
type cib struct {
	n           [2]member
	maintenance bool
	busy        bool             // a transition is under way
	move        bool             // somebody asked for a move
	maintained  time.Duration    // since when
	fences      []crm.FenceEvent // the fencer's history, newest first
	cached      *crm.Status
}

// member is a node in a picture.
type member struct {
	online, unclean, pending bool
	role                     crm.Role
	action                   crm.Role // in flight
	call                     int      // of the promote operation in the history; 0: none
	at                       time.Time
	mounted                  bool
	standby                  bool
	stopping                 bool // the cluster's software is
	fencing                  bool
	failed                   time.Time
	lost                     time.Duration
	left                     bool // in good order
	skipped                  bool // taken for clean without a fencing
	twin                     bool // its last fencing looks like an earlier one: nobody can tell them apart
}

// status is the document that crm_mon prints of the picture.
func (b *cib) status(w *world) *crm.Status {
	if b.cached != nil {
		return b.cached
	}
	tri := func(is bool) crm.Tri {
		if is {
			return crm.Yes
		}
		return crm.No
	}
	st := &crm.Status{
		FencingEnabled: tri(w.s.Fencing), MaintenanceMode: tri(b.maintenance), Quorum: crm.Yes,
		PromotableClones: []string{clone},
		Nodes:            make([]crm.Node, 0, 2), Resources: make([]crm.Resource, 0, 3),
	}
	for i := range b.n {
		m, name := &b.n[i], w.nodes[i].name
		st.Nodes = append(st.Nodes, crm.Node{
			Name: name, Type: "member", Online: tri(m.online), Standby: tri(m.standby), StandbyOnFail: crm.No,
			Maintenance: crm.No,
			Pending:     tri(m.pending), Unclean: tri(m.unclean),
		})
		st.Resources = append(st.Resources, w.instances(b, i)...)
		if m.mounted {
			st.Resources = append(st.Resources, crm.Resource{ID: "fs_pg", Agent: "ocf:heartbeat:Filesystem", Node: name,
				Role: crm.RoleStarted, Active: crm.Yes, Managed: crm.Yes})
		}
		if m.call != 0 {
			st.Operations = append(st.Operations, crm.Operation{Node: name, Resource: primitive, Task: "promote", Call: m.call,
				LastChange: m.at})
		}
		if !m.failed.IsZero() {
			st.Failures = append(st.Failures, crm.Failure{Node: name, Resource: "pgsql", Task: "monitor", At: m.failed})
		}
		if m.fencing {
			st.FenceEvents = append(st.FenceEvents, crm.FenceEvent{Target: name, Action: "off", Status: "pending"})
		}
	}
	st.FenceEvents = append(st.FenceEvents, b.fences...)
	if w.noHistory != 0 {
		st.FenceEvents, st.FenceHistoryError = nil, "102"
	}
	b.cached = st
	return st
}

// instances are the clone's instances on a node, with what may be wrong with them.
func (w *world) instances(b *cib, i int) []crm.Resource {
	m, n := &b.n[i], w.nodes[i]
	r := crm.Resource{ID: primitive, Agent: "ocf:linbit:drbd", Node: n.name, Clone: clone, Promotable: true, Role: m.role,
		Active: crm.Yes, Managed: crm.Yes}
	if b.maintenance {
		r.Managed = crm.No
	}
	var all []crm.Resource
	if w.now < n.flawed && n.flaw == "orphaned" { // clone-max was greater once
		orphan := r
		orphan.Orphaned, orphan.Role = crm.Yes, crm.RoleUnpromoted
		all = append(all, orphan)
	}
	if w.now < n.flawed && n.flaw != "orphaned" {
		r.Failed = crm.Yes
		if n.flaw == "blocked" {
			r.Blocked = crm.Yes
		}
	}
	if m.action != "" {
		r.Pending = string(m.action)
	} else if m.role == crm.RoleStopped {
		return all
	}
	return append(all, r)
}

// edit changes a picture; the cluster then does what follows from it.
func (w *world) edit(b *cib, f func()) {
	f()
	b.cached = nil
	w.changed()
	for _, n := range w.nodes {
		if n.cib == b {
			n.news = w.now
		}
	}
	w.after(w.between(ms(10), ms(300)), func() { w.plan(b) })
}

// leader is a node that runs Pacemaker with this picture, nil when there is none.
func (b *cib) leader(w *world) *node {
	for _, n := range w.nodes {
		if n.cib == b && n.alive && !n.frozen {
			return n
		}
	}
	return nil
}

// plan starts what the picture asks for, one thing at a time.
func (w *world) plan(b *cib) {
	if b.busy || b.maintenance || b.leader(w) == nil {
		return
	}
	var promoted []*node
	for i, m := range b.n {
		if m.unclean {
			return // first it must be fenced
		}
		if m.role == crm.RolePromoted {
			promoted = append(promoted, w.nodes[i])
		}
	}
	if len(promoted) == 2 { // two sides have met
		w.demote(b, promoted[1])
		return
	}
	for i, n := range w.nodes {
		m := &b.n[i]
		leaves := m.standby || m.stopping
		switch {
		case n.cib != b || !m.online || m.pending || !n.alive:
		case leaves && m.role == crm.RolePromoted:
			w.demote(b, n)
			return
		case leaves && m.role == crm.RoleUnpromoted:
			w.stop(b, n)
			return
		case m.stopping:
			w.leavesInOrder(b, n)
			return
		case !leaves && m.role == crm.RoleStopped:
			w.start(b, n)
			return
		}
	}
	if len(promoted) == 1 && b.move {
		w.demote(b, promoted[0])
		return
	}
	first := w.nodes[w.prefer]
	for _, n := range []*node{first, first.other()} {
		m := &b.n[n.i]
		if len(promoted) == 0 && n.cib == b && m.online && !m.pending && n.alive && n.good() && n.quorate() &&
			m.role == crm.RoleUnpromoted {
			w.promote(b, n)
			return
		}
	}
}

// starts brings the resource up on n, and stop takes it down, with a demotion before it where it is promoted.
func (w *world) start(b *cib, n *node) {
	w.acts(b, n, crm.RoleStarting, crm.RoleUnpromoted, func() {
		n.up, n.primary, n.upToDate = true, false, !n.other().primary
		w.drbdChanged()
		w.third(n)
		w.meet(n)
	})
}

func (w *world) stop(b *cib, n *node) {
	w.acts(b, n, crm.RoleStopping, crm.RoleStopped, func() {
		w.story(n, "DRBD is down")
		n.down()
		n.other().drbdSaid = false
		w.drbdChanged()
	})
}

// acts is one action of Pacemaker on n: do happens when it succeeds, and a while later the picture shows it.
func (w *world) acts(b *cib, n *node, action, role crm.Role, do func()) {
	boot := n.boots
	w.edit(b, func() { b.busy, b.n[n.i].action = true, action })
	w.after(w.usually(ms(50), time.Second, 5*time.Second), func() {
		ok := n.alive && !n.frozen && n.boots == boot && n.cib == b
		if ok {
			do()
		}
		w.after(w.usually(0, ms(200), 2*time.Second), func() {
			w.edit(b, func() {
				b.busy, b.n[n.i].action = false, ""
				if ok && n.boots == boot && n.cib == b {
					b.n[n.i].role = role
				}
			})
		})
	})
}

// leavesInOrder ends the cluster's software on n.
func (w *world) leavesInOrder(b *cib, n *node) {
	w.story(n, "Pacemaker stops")
	n.cib, n.stopped = nil, true
	w.edit(b, func() { b.n[n.i] = member{role: crm.RoleStopped, standby: b.n[n.i].standby, left: true} })
	n.other().alert(crm.Alert{Kind: crm.AlertNode, Node: n.name, Desc: "lost"})
}

func (w *world) promote(b *cib, n *node) {
	boot := n.boots
	w.edit(b, func() { b.busy, b.move, b.n[n.i].action = true, false, crm.RolePromoting })
	w.after(w.usually(ms(50), 2*time.Second, 10*time.Second), func() {
		lag := w.usually(0, ms(300), 3*time.Second)
		ok := n.alive && !n.frozen && n.boots == boot && n.cib == b && n.up && n.quorate() &&
			(!n.drbdSaid || !n.other().primary)
		if w.cut && n.other().cib == b {
			ok = false // no news of it would come through: the cluster, which has not noticed yet, tries again
		}
		if ok {
			n.becomes()
			w.drbdChanged()
		}
		w.after(lag, func() {
			if ok && n.primary {
				n.alert(crm.Alert{Kind: crm.AlertResource, Node: n.name, Task: "promote", Resource: primitive})
			}
		})
		w.after(w.between(lag/2, lag), func() {
			ok := ok && n.primary && n.boots == boot
			w.edit(b, func() {
				m := &b.n[n.i]
				b.busy, m.action = false, ""
				if ok && n.cib == b {
					m.role, m.call, m.at = crm.RolePromoted, n.call, n.wall()
				}
			})
			if ok {
				w.startDatabase(b, n)
			}
		})
	})
}

func (w *world) startDatabase(b *cib, n *node) {
	w.after(w.between(ms(200), 2*time.Second), func() {
		if n.primary && b.n[n.i].role == crm.RolePromoted {
			b.n[n.i].mounted, b.cached = true, nil
			n.pgUp = w.now + w.usually(ms(500), 8*time.Second, 90*time.Second)
		}
	})
}

func (w *world) demote(b *cib, n *node) {
	w.edit(b, func() {
		b.busy, b.n[n.i].action, b.n[n.i].mounted = true, crm.RoleDemoting, false
	})
	n.pgUp = 0
	boot := n.boots
	w.after(w.usually(ms(50), 2*time.Second, 10*time.Second), func() {
		ok := n.alive && !n.frozen && n.boots == boot && n.cib == b
		if ok {
			n.primary, n.suspended = false, false
			n.unpromoted()
			w.story(n, "demoted")
			w.drbdChanged()
			n.alert(crm.Alert{Kind: crm.AlertResource, Node: n.name, Task: "demote", Resource: primitive})
		}
		w.after(w.usually(0, ms(200), 2*time.Second), func() {
			w.edit(b, func() {
				b.busy, b.move, b.n[n.i].action = false, false, ""
				if ok && n.cib == b {
					b.n[n.i].role = crm.RoleUnpromoted
				}
			})
		})
	})
}

// bounce demotes and promotes the node within one moment, which no look at the cluster can see.
func (w *world) bounce(n *node) {
	b := n.cib
	if b == nil || b.busy || b.maintenance || !n.alive || n.frozen || !n.promoted || b.n[n.i].role != crm.RolePromoted ||
		b.n[1-n.i].unclean || n.other().primary {
		return
	}
	w.story(n, "demoted")
	n.unpromoted()
	n.becomes()
	n.pgUp = 0
	if w.chance(2) {
		w.drbdChanged()
	}
	w.edit(b, func() { b.n[n.i].call, b.n[n.i].at, b.n[n.i].mounted = n.call, n.wall(), false })
	n.alert(crm.Alert{Kind: crm.AlertResource, Node: n.name, Task: "promote", Resource: primitive})
	w.startDatabase(b, n)
}

// lost is said when the other node hears nothing of n any more, for whatever reason.
func (w *world) lost(n *node) {
	o := n.other()
	w.after(w.between(ms(300), 6*time.Second), func() { // DRBD notices
		if !n.alive || n.frozen || w.cut {
			o.drbdSaid = false
			w.drbdChanged()
		}
	})
	w.after(w.between(w.membership(), w.slowest()), func() { // Corosync notices
		if o.cib == nil || !o.alive || o.frozen || n.alive && !n.frozen && !n.stopped && !w.cut {
			return
		}
		w.leaves(o, n)
	})
}

// leaves takes node n out of the picture of o.
func (w *world) leaves(o, n *node) {
	b := o.cib
	if n.cib == b { // n keeps what it last knew
		if n.alive {
			mine := *b
			mine.busy, mine.cached = false, nil
			for i := range mine.n {
				mine.n[i].action, mine.n[i].fencing = "", false
			}
			n.cib = &mine
		}
	}
	if !b.n[n.i].online {
		w.still(b)
		return
	}
	w.story(o, "Pacemaker: %s is lost", n.name)
	n.lostPromoted = n.promoted || !n.alive && n.diedPromoted
	w.edit(b, func() {
		m := &b.n[n.i]
		m.online, m.pending, m.action, m.mounted, m.lost = false, false, "", false, w.now
		b.busy = false
		if w.s.Fencing && w.fence != "skips" {
			m.unclean = true
			return
		}
		m.role, m.call = crm.RoleStopped, 0
		m.skipped, m.twin = w.s.Fencing, false
		if w.s.Fencing && n.alive {
			n.spared = forever
		}
		if n.frozen {
			n.unpromoted() // the cluster goes on without it
		}
	})
	w.still(b)
	o.alert(crm.Alert{Kind: crm.AlertNode, Node: n.name, Desc: "lost"})
	if b.n[n.i].unclean {
		w.fences(b, n, 0)
	}
}

// fences asks the fence device to switch n off, again and again.
func (w *world) fences(b *cib, n *node, tries int) {
	o := b.leader(w)
	if o == nil || o == n || !b.n[n.i].unclean {
		return
	}
	w.edit(b, func() { b.n[n.i].fencing = true })
	d := w.between(ms(500), 8*time.Second)
	if w.fence == "slow" {
		d = w.between(30*time.Second, 150*time.Second)
	}
	w.after(d, func() {
		if o := b.leader(w); o == nil || o == n || !b.n[n.i].unclean {
			return
		}
		if w.fence == "fails" || w.chance(12) {
			w.story(o, "fencing of %s failed", n.name)
			w.edit(b, func() { b.n[n.i].fencing = false; b.fenced(w.event(o, n, "failed")) })
			w.after(w.between(time.Second, 20*time.Second), func() { w.fences(b, n, tries+1) })
			return
		}
		w.story(o, "fenced %s", n.name)
		if w.fence == "lies" && n.alive {
			w.story(n, "which is not true")
			n.spared = forever
			if n.frozen {
				n.unpromoted() // it would go on, but it sleeps
			}
		} else {
			n.powerOff()
			n.staysOff = w.s.StaysOff
		}
		w.edit(b, func() {
			m := &b.n[n.i]
			m.unclean, m.fencing, m.role, m.call = false, false, crm.RoleStopped, 0
			e := w.event(o, n, "success")
			m.twin = slices.Contains(w.allFences, e)
			b.fenced(e)
			w.allFences = append(w.allFences, e)
		})
		o.alert(crm.Alert{Kind: crm.AlertFencing, Node: n.name, Task: "off"})
	})
}

// event is an entry of the fencing history, which bears the time of the node that fences, to the second, as crm_mon
// prints it.
func (w *world) event(by, target *node, status string) crm.FenceEvent {
	return crm.FenceEvent{
		Target: target.name, Action: "off", Delegate: by.name, Client: "pacemaker-controld", Origin: by.name, Status: status,
		Completed: by.wall().Truncate(time.Second),
	}
}

func (b *cib) fenced(e crm.FenceEvent) { b.fences = append([]crm.FenceEvent{e}, b.fences...) }

// returns is said when a node answers again that may have been missed.
func (w *world) returns(n *node) {
	o := n.other()
	w.after(w.between(ms(1), 3*time.Second), func() {
		if n.alive && n.drbdSaid && !o.drbdSaid {
			n.drbdSaid = false
			w.drbdChanged()
		}
	})
	if !o.alive || o.frozen || o.stopped || w.cut {
		w.lost(o) // it has not heard of that yet
	}
	w.after(w.between(ms(500), w.slowest()), func() {
		switch {
		case !n.alive || n.frozen:
		case !w.cut && o.alive && !o.frozen:
			w.joins(n)
		case n.cib != nil: // the other went meanwhile: its Corosync has waited for long enough
			w.leaves(n, o)
		}
	})
}

// still makes the truth of a picture: a node that was taken for dead, and nobody switched off, is promoted again when
// it is seen so.
func (w *world) still(b *cib) {
	for _, n := range w.nodes {
		n.promoted = n.promoted || n.cib == b && n.primary && b.n[n.i].role == crm.RolePromoted
	}
}

// joins makes a node that runs a member of the other's cluster again, once that runs as well.
func (w *world) joins(n *node) {
	o := n.other()
	if !n.alive || n.frozen || n.stopped {
		return
	}
	if !o.alive || o.frozen || o.stopped || w.cut {
		if n.cib == nil { // Corosync waits for all
			w.after(5*time.Second, func() { w.joins(n) })
		} else { // it has not heard of that yet, when the other went while it came back
			w.lost(o)
		}
		return
	}
	if o.cib == nil {
		if n.cib == nil {
			b := &cib{}
			for i, x := range w.nodes {
				b.n[i] = member{online: true, role: x.role()}
				x.cib = b
			}
			w.together()
			w.edit(b, func() {})
			w.meet(n)
			return
		}
		w.joins(o)
		return
	}
	b := o.cib
	if n.cib == b && b.n[n.i].online {
		w.meet(n)
		return
	}
	if b.n[n.i].unclean && n.cib != nil {
		w.after(3*time.Second, func() { w.joins(n) }) // it is going to be fenced
		return
	}
	w.story(n, "joins the cluster")
	role := n.role()
	call, at := 0, time.Time{}
	if n.primary && n.cib != nil {
		role, call, at = n.cib.n[n.i].role, n.cib.n[n.i].call, n.cib.n[n.i].at
	}
	mounted := n.cib != nil && n.cib.n[n.i].mounted
	n.cib, n.joined = b, w.now
	w.together()
	w.edit(b, func() {
		b.n[n.i] = member{online: true, role: role, call: call, at: at, mounted: mounted, standby: b.n[n.i].standby}
	})
	w.still(b)
	w.meet(n)
}

// together notes that both nodes are members of one cluster: each learns within moments what it is to the other.
func (w *world) together() {
	for _, n := range w.nodes {
		if n.lonely {
			n.lonely, n.blind = false, max(n.blind, w.now+LookAge)
		}
		n.spared = min(n.spared, max(w.now+LookAge, n.woke+Blind))
	}
}

// meet connects DRBD, which finds out whether both sides wrote.
func (w *world) meet(n *node) {
	o := n.other()
	w.after(w.between(ms(100), 4*time.Second), func() {
		switch {
		case !n.up || !o.up || n.frozen || o.frozen || w.cut:
		case n.primary && o.primary && !n.drbdSaid:
			if !n.splitBrain {
				w.story(nil, "DRBD: SPLIT BRAIN")
			}
			n.splitBrain, o.splitBrain, n.split, o.split = true, true, true, true
			w.drbdChanged()
			w.after(w.between(20*time.Second, 60*time.Second), func() { w.heal(n) })
		case n.splitBrain || o.splitBrain:
		default:
			n.drbdSaid, o.drbdSaid, n.split, o.split = true, true, false, false
			n.suspended, o.suspended = false, false
			w.drbdChanged()
			w.resync()
		}
	})
}

// heal is the operator who throws one side's data away.
func (w *world) heal(n *node) {
	o := n.other()
	if !n.splitBrain && !o.splitBrain {
		return
	}
	if n.primary && o.primary || !n.up || !o.up || n.frozen || o.frozen || w.cut {
		w.after(10*time.Second, func() { w.heal(n) })
		return
	}
	n.splitBrain, o.splitBrain = false, false
	loser := n
	if n.primary {
		loser = o
	}
	loser.upToDate = false
	w.story(loser, "its data is given up, and synchronized")
	w.meet(n)
}

// resync makes the data of a connected node good again.
func (w *world) resync() {
	w.after(w.between(2*time.Second, 20*time.Second), func() {
		for _, n := range w.nodes {
			if n.drbdSaid && !n.upToDate && n.other().upToDate {
				n.upToDate = true
				w.drbdChanged()
				if n.cib != nil {
					w.plan(n.cib)
				}
			}
		}
	})
}

// drbdChanged makes the streams say what has changed.
func (w *world) drbdChanged() {
	w.changed()
	for _, n := range w.nodes {
		if !n.alive {
			continue
		}
		n.hears()
		if is := (view{n.primary, n.drbdSaid, n.peerRole}); is != n.view {
			n.view, n.news = is, w.now
		}
		then := n.drbd()
		for _, p := range n.procs {
			p.streams(w.between(ms(1), ms(30)), then)
		}
	}
}
