package fsm

import (
	"container/heap"
	"fmt"
	"time"
)

// kernel is virtual time: functions run in order of their time, and those of the same time in order of their making.
type kernel struct {
	now Time
	seq int
	q   queue

	spin int // jobs at this very instant
}

type job struct {
	at  Time
	seq int
	run func()
}

type queue []job

func (q queue) Len() int { return len(q) }
func (q queue) Less(i, j int) bool {
	return q[i].at < q[j].at || q[i].at == q[j].at && q[i].seq < q[j].seq
}
func (q queue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *queue) Push(x any)   { *q = append(*q, x.(job)) }
func (q *queue) Pop() any {
	last := len(*q) - 1
	x := (*q)[last]
	*q = (*q)[:last]
	return x
}

func (k *kernel) after(d time.Duration, run func()) {
	k.seq++
	heap.Push(&k.q, job{k.now + d, k.seq, run})
}

func (k *kernel) runUntil(t Time) {
	for len(k.q) > 0 && k.q[0].at <= t {
		j := heap.Pop(&k.q).(job)
		if k.spin++; j.at != k.now {
			k.spin = 0
		}
		if k.spin > 10000 {
			panic("time stands still: a busy loop")
		}
		k.now = j.at
		j.run()
	}
	k.now = t
}

// zone is a Route 53 of one name that obeys compare-and-swap.
type zone struct {
	ownership, alias bool
	addr             string
	epoch            uint64
	owner, claim     string
	changed          []answer // what the name answered, oldest first
	fail             string   // the reason with which every call fails without effect
	loseReplies      int      // the next changes are made, but the caller never hears of it
	applied          []applied
}

type answer struct {
	at   Time
	addr string
}

type applied struct {
	at    Time
	write Write
	owner string
}

func (z *zone) raw() string {
	if z.owner == "" {
		return ""
	}
	return fmt.Sprintf("v=1 epoch=%d owner=%s addr=%s claim=%s", z.epoch, z.owner, z.addr, z.claim)
}

func (z *zone) read(at Time) Read {
	switch {
	case z.fail != "":
		return Read{Zone: Zone{At: at}, Reason: z.fail}
	case z.alias:
		return Read{Zone: Zone{At: at, Refused: true, Named: true}, Reason: "refused_record"}
	}
	r := Read{Zone: Zone{At: at, OK: true, Addr: z.addr}}
	if z.ownership {
		r.Zone.Epoch, r.Zone.Owner, r.Zone.Claim, r.Zone.Raw = z.epoch, z.owner, z.claim, z.raw()
	}
	return r
}

// write makes the change if the record still is what it was based on.
func (z *zone) write(now Time, owner string, w Write) Wrote {
	switch {
	case z.fail != "":
		return Wrote{Reason: z.fail, Sent: true, OutcomeUnknown: z.fail == "timeout" || z.fail == "network"}
	case z.ownership && w.Base.Raw != z.raw():
		return Wrote{Reason: "conflict", Conflict: true, Sent: true}
	}
	z.applied = append(z.applied, applied{now, w, owner})
	z.set(now, w.Addr, w.NextEpoch, owner, w.Claim)
	if z.loseReplies > 0 {
		z.loseReplies--
		return Wrote{Reason: "timeout", Sent: true, OutcomeUnknown: true}
	}
	return Wrote{ChangeID: fmt.Sprintf("C%d", len(z.changed)), Sent: true}
}

func (z *zone) set(now Time, addr string, epoch uint64, owner, claim string) {
	z.addr, z.epoch, z.owner, z.claim = addr, epoch, owner, claim
	z.changed = append(z.changed, answer{now, addr})
}

// inSync reports whether every name server has the last change.
func (z *zone) inSync(now Time) bool {
	return len(z.changed) == 0 || now-z.changed[len(z.changed)-1].at >= 3*time.Second
}

// resolve answers as a resolver with a cache of two seconds does.
func (z *zone) resolve(now Time) Resolved {
	r := Resolved{At: now, OK: true}
	for _, c := range z.changed {
		if now-c.at >= 2*time.Second {
			r.Addr = c.addr
		}
	}
	return r
}

// agent drives one State as the real agent does: effects take time, each ends in one event, and dies with the process.
type agent struct {
	k       *kernel
	cfg     Config
	zone    *zone
	st      State
	journal Episode
	up      bool
	life    int // of the process: effects of an earlier one come to nothing
	wakes   int
	stalled bool
	late    []Event // that happened while it was stalled
	giveUp  func()  // of the write in flight

	look  func() Cluster
	probe func() Postgres
	view  func() ClientProbed
	drbd  func() Drbd
	lag   func(kind string) time.Duration
	seen  func(ev Event, before State, actions []Action)
}

func (a *agent) start(sameBoot bool) {
	a.life++
	a.up, a.late = true, nil
	a.st = New(a.cfg, uint64(a.k.seq), a.journal, sameBoot)
	a.event(Tick{})
	a.event(DrbdChanged{Drbd: a.drbd()})
}

func (a *agent) stop() { a.up, a.life = false, a.life+1 }

// resume ends a stall: the loop notices that it stalled before it takes in anything else.
func (a *agent) resume() {
	if !a.stalled {
		return
	}
	a.stalled = false
	late := a.late
	a.late = nil
	if a.up {
		a.event(Stalled{})
		for _, ev := range late {
			a.event(ev)
		}
		a.event(DrbdChanged{Drbd: a.drbd()})
	}
}

func (a *agent) event(ev Event) {
	if !a.up {
		return
	}
	if a.stalled {
		a.late = append(a.late, ev)
		return
	}
	before := a.st
	var actions []Action
	a.st, actions = a.st.Step(a.k.now, ev)
	if a.seen != nil {
		a.seen(ev, before, actions)
	}
	for _, act := range actions {
		a.perform(act)
	}
	a.wakes++
	wake := a.wakes
	a.k.after(a.st.Next(a.k.now)-a.k.now, func() {
		if wake == a.wakes {
			a.event(Tick{})
		}
	})
}

// later runs f in this life of the process.
func (a *agent) later(kind string, f func()) {
	life := a.life
	a.k.after(a.lag(kind), func() {
		if life == a.life {
			f()
		}
	})
}

func (a *agent) perform(act Action) {
	at := a.k.now
	switch act := act.(type) {
	case PollCluster:
		c := a.look()
		c.At = at
		a.later("look", func() { a.event(ClusterPolled{c}) })
	case ProbePostgres:
		p := a.probe()
		p.At = at
		a.later("probe", func() { a.event(PostgresProbed{p}) })
	case ReadRecord:
		a.later("request", func() {
			r := a.zone.read(at)
			a.later("reply", func() { a.event(r) })
		})
	case PollChange:
		a.later("request", func() {
			a.event(ChangePolled{InSync: a.zone.fail == "" && a.zone.inSync(at),
				Reason: a.zone.fail})
		})
	case Resolve:
		a.later("reply", func() { a.event(ResolvedName{a.zone.resolve(at)}) })
	case ProbeClient:
		a.later("reply", func() { a.event(a.view()) })
	case Save:
		a.journal = act.Episode
	case Cancel:
		a.giveUp()
	case Write:
		a.write(act)
	}
}

// write signs, asks the guard, and sends; what was sent may be made long after everybody has given up on it.
func (a *agent) write(w Write) {
	sent, done := false, false
	finish := func(e Wrote) {
		if !done {
			done = true
			a.event(e)
		}
	}
	a.giveUp = func() {
		finish := finish
		a.later("probe", func() { finish(Wrote{Reason: "canceled", Sent: sent, OutcomeUnknown: sent}) })
	}
	a.later("sign", func() {
		if done {
			return
		}
		if a.stalled || a.k.now-w.Decided > MaxDecisionAge || a.st.Safety(a.k.now) != 0 || a.st.Promotion.Claim != w.Claim ||
			a.st.Promotion.Contested {
			finish(Wrote{Reason: "guard"})
			return
		}
		sent = true
		life, name := a.life, a.cfg.Node
		a.k.after(a.lag("request"), func() {
			e := a.zone.write(a.k.now, name, w)
			a.k.after(a.lag("reply"), func() {
				if life == a.life {
					finish(e)
				}
			})
		})
	})
}
