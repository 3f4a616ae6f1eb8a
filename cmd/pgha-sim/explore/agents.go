package explore

import (
	"fmt"
	"time"

	"github.com/pgha/pgha-agent/agent/fsm"
)

// happening is what happens to an agent.
type happening uint8

const (
	ages happening = iota // a quantum passes, and the machine sleeps or the process is dead
	ticks
	news
	stalls
	reads
	cannotRead
	refused // by the guard
	published
	conflicts
	unanswered
	begins
	beginsAnew // after a boot
	dies
	losesAll // but the journal, which is of another boot from here on
)

// stimulus is what happens to an agent, and all that it sees when it looks around. What its core does depends on
// nothing else: the core is asked once for each stimulus.
type stimulus struct {
	node     uint8
	core     uint32
	what     happening
	phase    phase
	shortest bool // jitters
	record   claim
	own      uint8 // promotion of this node
	blind    bool  // it has slept, and its picture of the cluster is from before
	other    peer
}

// peer is what Pacemaker and DRBD show of the other node.
type peer struct {
	promotion, fencings uint8
	unclean, gone       bool
}

// reaction is what comes of a stimulus.
type reaction struct {
	core  uint32
	phase phase
	reads bool // a read is to be made
	gives bool // up the request that waits for its reply
	drew  bool // a jitter made a difference
}

// config is that of one agent. Its drift check is too far away to come.
func config(i int) fsm.Config {
	return fsm.Config{
		Node: names[i], Addr: addrs[i], Ownership: true, Record: "db", TTL: ttl,
		DriftEvery: 150 * 365 * 24 * time.Hour, Unnamed: "unnamed",
	}
}

// happens lets something happen to the agent of node i.
func (s *search) happens(w *world, i int, what happening) {
	n, o := &w.nodes[i], &w.nodes[1-i]
	at := stimulus{
		node: uint8(i), core: w.cores[i], what: what, phase: n.phase, shortest: s.shortest, record: w.record,
		own: n.promotion, blind: n.unclean || n.gone, other: peer{o.promotion, o.fencings, o.unclean, o.gone},
	}
	r, known := s.reactions[at]
	if !known || s.out != nil {
		r = s.react(at)
		s.reactions[at] = r
	}
	w.cores[i], n.phase, n.reading = r.core, r.phase, n.reading || r.reads
	s.drew = s.drew || r.drew
	if r.gives {
		w.forsake(i)
	}
}

// react asks the core.
func (s *search) react(at stimulus) reaction {
	i := int(at.node)
	a := agent{s: s, i: i, at: at, core: *s.cores.at(at.core)}
	a.phase = at.phase
	switch at.what {
	case ages, ticks:
		a.core = a.core.Shifted(-quantum)
	case reads, cannotRead:
		// A look is younger than what else happens in its quantum, but not than a read that ends after it.
		a.core.Cluster.At = min(a.core.Cluster.At, base)
	case dies:
		a.core = fsm.State{Episode: a.core.Episode}
	case losesAll:
		e := a.core.Episode
		a.core = fsm.State{Episode: fsm.Episode{ID: e.ID, Outcome: e.Outcome, Memory: e.Memory}}
	case begins, beginsAnew:
		a.core = fsm.New(config(i), 0, a.core.Episode, at.what == begins)
	}
	a.core = a.core.Seeded(fsm.JitterLongest)
	if at.shortest {
		a.core = a.core.Seeded(fsm.JitterShortest)
	}
	for _, ev := range a.events() {
		a.deliver(ev)
	}
	a.drew = a.core.Drew()
	a.reaction.core = s.cores.number(a.core.Seeded(0).Canonical(base))
	return a.reaction
}

// agent is one process while it reacts.
type agent struct {
	s    *search
	i    int
	at   stimulus
	core fsm.State
	reaction
	queue []fsm.Event
}

// events are what the core is told, one after the other.
func (a *agent) events() []fsm.Event {
	stream := fsm.DrbdChanged{Drbd: a.drbd()}
	switch a.at.what {
	case ticks:
		return []fsm.Event{stream}
	case news:
		return []fsm.Event{stream, fsm.Hint{Promotion: a.at.own != 0}}
	case stalls:
		return []fsm.Event{fsm.Stalled{}}
	case reads:
		return []fsm.Event{fsm.Read{Zone: a.zone()}}
	case cannotRead:
		return []fsm.Event{fsm.Read{Zone: fsm.Zone{At: base}, Reason: "timeout"}}
	case refused:
		return []fsm.Event{fsm.Wrote{Reason: "guard"}}
	case published:
		return []fsm.Event{fsm.Wrote{ChangeID: "C", Sent: true}}
	case conflicts:
		return []fsm.Event{fsm.Wrote{Reason: "conflict", Conflict: true, Sent: true}}
	case unanswered:
		return []fsm.Event{fsm.Wrote{Reason: "timeout", Sent: true, OutcomeUnknown: true}}
	case begins, beginsAnew:
		return []fsm.Event{fsm.Tick{}, stream}
	}
	return nil
}

// deliver is one step of the core, and all that follows from it at once.
func (a *agent) deliver(ev fsm.Event) {
	a.queue = append(a.queue[:0], ev)
	for k := 0; k < len(a.queue); k++ {
		if k > 100 {
			panic(fmt.Sprintf("the core of %s is busy for ever", names[a.i]))
		}
		before := a.core
		var actions []fsm.Action
		a.core, actions = before.Step(base, a.queue[k])
		if a.core.Promotion.Contested && !before.Promotion.Contested {
			a.s.say(a.i, "gives up: contested")
		}
		if a.core.Promotion.RaceUntil > max(before.Promotion.RaceUntil, base) {
			a.s.say(a.i, "has lost a race, and waits")
		}
		for _, action := range actions {
			a.perform(action)
		}
	}
}

// perform does what the core wants. All but reads and writes take no time.
func (a *agent) perform(action fsm.Action) {
	switch action := action.(type) {
	case fsm.PollCluster:
		a.queue = append(a.queue, fsm.ClusterPolled{Cluster: a.look()})
	case fsm.ProbePostgres:
		on := a.at.own != 0
		a.queue = append(a.queue, fsm.PostgresProbed{Postgres: fsm.Postgres{At: base, Accepting: on, Writable: on}})
	case fsm.Resolve:
		// As long as it knows its record to be right, so does the resolver.
		r := fsm.Resolved{At: base, OK: true, Addr: addrs[1-a.i]}
		if a.core.Promotion.Published {
			r.Addr = addrs[a.i]
		}
		a.queue = append(a.queue, fsm.ResolvedName{Resolved: r})
	case fsm.PollChange:
		a.queue = append(a.queue, fsm.ChangePolled{InSync: true})
	case fsm.ReadRecord:
		a.reads = true
	case fsm.Write:
		a.phase = signing
		a.s.say(a.i, "decides to write %s, epoch %d, over %s, epoch %d",
			action.Claim, action.NextEpoch, action.Base.Claim, action.Base.Epoch)
	case fsm.Cancel:
		if a.phase == idle {
			return
		}
		sent := a.phase == waiting
		a.phase, a.gives = idle, sent
		a.queue = append(a.queue, fsm.Wrote{Reason: "canceled", Sent: sent, OutcomeUnknown: sent})
	}
}

// look is what crm_mon prints.
func (a *agent) look() fsm.Cluster {
	own, o := a.at.own, a.at.other
	c := fsm.Cluster{At: base + 1, OK: true, Online: true, FencingEnabled: !a.s.budget.Unsafe, PeerCount: 1}
	if own != 0 {
		c.PromotedHere, c.FilesystemHere, c.PromotedCount, c.Promotion = true, true, 1, claims[own]
	}
	p := &c.Peers[0]
	p.Name = names[1-a.i]
	for k := range o.fencings {
		p.Fenced = fsm.FenceID(100*(2-a.i) + int(k))
		p.Fences = p.Fences.With(p.Fenced)
	}
	if a.at.blind {
		p.Online = true
		return c
	}
	p.Online, p.Unclean = !o.unclean && !o.gone, o.unclean
	if o.promotion != 0 && !o.gone {
		p.Promoted, p.Promotion, c.PromotedPeer = true, claims[o.promotion], p.Name
		c.PromotedCount++
	}
	return c
}

// drbd is what the events2 stream says.
func (a *agent) drbd() fsm.Drbd {
	c := fsm.Connection{Name: names[1-a.i], Connected: !a.at.blind && !a.at.other.unclean && !a.at.other.gone}
	c.Primary = c.Connected && a.at.other.promotion != 0
	return fsm.Drbd{
		At: base, Live: true, UpToDate: true, Primary: a.at.own != 0, Connected: c.Connected, PeerPrimary: c.Primary,
		Connections: [fsm.MaxConnections]fsm.Connection{c},
	}
}

// zone is what Route 53 answers.
func (a *agent) zone() fsm.Zone {
	r := a.at.record
	return fsm.Zone{
		At: base, OK: true, Addr: addrs[r.node], TTL: ttl, Owner: names[r.node], Epoch: uint64(r.epoch),
		Claim: claims[r.number], Raw: raws[r.epoch][r.number],
	}
}
