package explore

import (
	"context"
	"fmt"
	"hash/maphash"
	"io"
	"time"

	"github.com/pgha/pgha-agent/agent/fsm"
)

// search is breadth first: the first violation that it finds takes the fewest moves.
type search struct {
	budget Budget
	result Result

	first     world
	worlds    list[world]
	edges     []edge
	cores     list[fsm.State]
	reactions map[stimulus]reaction
	good      map[world]bool // the record becomes right from here

	// Of the move that is being made.
	shortest  bool // jitters
	drew      bool
	violation string
	elapsed   time.Duration
	out       io.Writer // nil unless the story is told
	buffer    []move
}

// edge is how a world was found.
type edge struct {
	parent   uint32
	move     move
	shortest bool
}

// list numbers values, and finds the number of one that it has. It grows without being copied.
type list[T comparable] struct {
	chunks [][]T
	len    uint32
	seed   maphash.Seed
	slots  []uint32 // numbers from 1, by their hash; 0: free
}

const chunk = 1 << 10

func newList[T comparable]() list[T] {
	return list[T]{seed: maphash.MakeSeed(), slots: make([]uint32, 1024)}
}

func (l *list[T]) at(n uint32) *T { return &l.chunks[n/chunk][n%chunk] }

// number returns the value's number.
func (l *list[T]) number(v T) uint32 {
	if uint64(l.len)*4 > uint64(len(l.slots))*3 {
		l.slots = make([]uint32, 2*len(l.slots))
		for n := range l.len {
			*l.slot(l.at(n)) = n + 1
		}
	}
	slot := l.slot(&v)
	if *slot == 0 {
		if l.len%chunk == 0 {
			l.chunks = append(l.chunks, make([]T, chunk))
		}
		*l.at(l.len) = v
		l.len++
		*slot = l.len
	}
	return *slot - 1
}

// slot is where the number of the value stands, or is to be put.
func (l *list[T]) slot(v *T) *uint32 {
	mask := uint64(len(l.slots) - 1)
	for h := maphash.Comparable(l.seed, *v); ; h++ {
		slot := &l.slots[h&mask]
		if *slot == 0 || *l.at(*slot - 1) == *v {
			return slot
		}
	}
}

func newSearch(b Budget) *search {
	s := &search{
		budget: b, worlds: newList[world](), cores: newList[fsm.State](),
		reactions: map[stimulus]reaction{}, good: map[world]bool{},
	}
	s.first = s.begin()
	return s
}

// begin is the world at the start: pg-1 is promoted, its record is right, and both agents know.
func (s *search) begin() world {
	w := world{record: claim{0, 1, 1}, next: 2}
	none := s.cores.number(fsm.State{})
	w.cores = [2]uint32{none, none}
	w.nodes[0].promotion = 1
	for i := range w.nodes {
		w.nodes[i].alive = true
		s.start(&w, i, beginsAnew)
	}
	for range 100 {
		s.buffer = s.moves(&w, s.buffer)
		s.apply(&w, s.wellMeant(s.buffer))
	}
	if writer, calm := w.calm(); !calm || !s.right(&w, writer) {
		panic(fmt.Sprintf("the model does not start: %+v", w))
	}
	b := s.budget
	w.left = left{
		promotions: uint8(b.Promotions), crashes: uint8(b.Crashes), freezes: uint8(b.Freezes), cuts: uint8(b.Cuts),
		boots: uint8(b.Boots), reads: uint8(b.FailedReads), late: uint8(b.LateRequests), quanta: quanta(b.Faults),
	}
	return w
}

// all visits every world within the budget.
func (s *search) all(ctx context.Context) error {
	s.worlds.number(s.first)
	s.edges = append(s.edges, edge{})
	var moves []move
	level := uint32(1)
	for n := uint32(0); n < s.worlds.len; n++ {
		if n == level {
			level = s.worlds.len
			s.result.Depth++
		}
		if n&1023 == 0 && ctx.Err() != nil {
			return fmt.Errorf("stopped after %d states, %d moves deep: %w", n, s.result.Depth, ctx.Err())
		}
		from := *s.worlds.at(n)
		moves = s.moves(&from, moves)
		for _, m := range moves {
			if s.visit(from, edge{n, m, false}) || s.budget.BothJitters && s.drew && s.visit(from, edge{n, m, true}) {
				return nil
			}
		}
	}
	return nil
}

// visit makes one move, and reports whether it leads to a violation.
func (s *search) visit(w world, e edge) bool {
	s.result.Moves++
	s.violation, s.shortest, s.drew = "", e.shortest, false
	s.apply(&w, e.move)
	if s.worlds.number(w) < uint32(len(s.edges)) {
		return false
	}
	s.edges = append(s.edges, e)
	s.result.States++
	if writer, calm := w.calm(); calm && s.violation == "" {
		s.result.Calm++
		drew := s.drew
		s.shortest = false
		s.judge(w, writer)
		s.drew = drew
	}
	s.result.Violation = s.violation
	return s.violation != ""
}
