package explore

import (
	"fmt"
	"time"

	"github.com/pgha/pgha-agent/agent/fsm"
)

// violated keeps the first violation of a move.
func (s *search) violated(format string, args ...any) {
	if s.violation == "" {
		s.violation = fmt.Sprintf(format, args...)
	}
}

// guard asks core i once more, as the agent does right before the first byte, and sends.
func (s *search) guard(w *world, i int) {
	n, core := &w.nodes[i], s.cores.at(w.cores[i])
	write := core.Write.InFlight
	n.phase = idle
	old := base-write.Decided > fsm.MaxDecisionAge
	if old || core.Safety(base) != 0 || core.Promotion.Claim != write.Claim || core.Promotion.Contested {
		s.say(i, "the guard refuses")
		s.happens(w, i, refused)
		return
	}
	s.say(i, "sends the change")
	r := request{
		claim: claim{uint8(i), uint8(write.NextEpoch), numberOf(write.Claim)},
		base:  claim{0, uint8(write.Base.Epoch), numberOf(write.Base.Claim)},
		waits: true,
	}
	s.sends(w, &r)
	n.sent = s.budget.Unsafe
	for j := range w.requests {
		if w.requests[j].number == 0 {
			w.requests[j] = r
			n.phase = waiting
			return
		}
	}
	s.answer(w, &r) // two are under way already
}

func numberOf(name string) uint8 {
	for number := range claims {
		if claims[number] == name {
			return uint8(number)
		}
	}
	panic("no such claim: " + name)
}

// lookAge is LookAge of docs/safety.md: how old a node's picture of the cluster may be when a change leaves it. The
// judge does not ask the core.
const lookAge = 5 * time.Second

// sends judges a change that leaves its node.
func (s *search) sends(w *world, r *request) {
	n, o := &w.nodes[r.node], &w.nodes[1-r.node]
	switch {
	case !n.promoted() && n.ended > quanta(lookAge):
		s.violated("I1: %s sends a change after its promotion has ended", names[r.node])
	case n.older && o.promoted():
		s.violated("I1: %s sends a change although %s was promoted after it", names[r.node], names[1-r.node])
	case n.promoted() && r.number == n.promotion && n.knows:
		s.violated("I3: %s sends %s, and knows that it was accepted", names[r.node], claims[r.number])
	case o.unclean && n.well() && o.silent > quanta(lookAge):
		s.violated("I6: %s sends a change while %s is unclean", names[r.node], names[1-r.node])
	}
}

// accepts judges a change that Route 53 has made.
func (s *search) accepts(w *world, r *request) {
	if s.budget.Unsafe {
		o := &w.nodes[1-r.node]
		o.missed = min(o.missed+1, 2)
	}
	if w.accepted[r.number]++; w.accepted[r.number] > 2 {
		s.violated("I3: %s is accepted for the third time", claims[r.number])
	}
}

// calm reports whether only time and the agents are left to do anything, and who is promoted then.
func (w *world) calm() (writer int, calm bool) {
	writer = -1
	for i := range w.nodes {
		n := &w.nodes[i]
		if n.promotion != 0 && !n.gone {
			writer = i
		}
		if n.alive && !n.frozen && (!n.up || !n.told || n.busy() || n.gone || n.unclean) {
			return 0, false
		}
		if n.quiet() || n.unclean || n.frozen && !n.gone {
			return 0, false
		}
	}
	return writer, w.shown() == 1 && w.requests == [2]request{}
}

// right reports whether the record names the promoted node, and its agent knows.
func (s *search) right(w *world, writer int) bool {
	core := s.cores.at(w.cores[writer])
	return int(w.record.node) == writer && core.Promotion.Published && !core.Promotion.Contested
}

// judge compares a calm record with the truth: from here on nothing fails, and the record must become right in time.
func (s *search) judge(w world, writer int) {
	if s.settles(w, writer) {
		return
	}
	s.violated("I2: the record names %s, and %s is promoted", names[w.record.node], names[writer])
}

// settles reports whether the record becomes right, or is excused. What it has seen on the way does as well.
func (s *search) settles(w world, writer int) bool {
	var path []world
	for began := s.elapsed; s.elapsed-began <= settle; {
		if s.good[w] || s.right(&w, writer) || s.excused(&w, writer) {
			for _, w := range path {
				s.good[w] = true
			}
			return true
		}
		path = append(path, w)
		if s.cores.at(w.cores[writer]).Promotion.Contested {
			return false
		}
		s.buffer = s.moves(&w, s.buffer)
		s.apply(&w, s.wellMeant(s.buffer))
	}
	return false
}

// wellMeant picks the move of a world in which nothing fails.
func (s *search) wellMeant(moves []move) move {
	for _, m := range moves {
		switch m.kind {
		case hears, guarded, readAnswered, answered:
			return m
		}
	}
	return move{kind: timePasses}
}

// excused reports whether the record may stay wrong until the next promotion, as docs/safety.md says of a cluster
// without fencing: two nodes were promoted at once, or more than one claim of the other was on its way.
func (s *search) excused(w *world, writer int) bool {
	n := &w.nodes[writer]
	return s.budget.Unsafe && !s.budget.strict &&
		(n.twin || s.cores.at(w.cores[writer]).Promotion.Contested && n.missed > 1)
}
