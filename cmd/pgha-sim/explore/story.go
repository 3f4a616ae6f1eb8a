package explore

import (
	"fmt"
	"io"
	"slices"
)

// tell tells the story of the world that was found last, as the simulator does.
func (s *search) tell(out io.Writer) {
	var path []edge
	for n := uint32(len(s.edges) - 1); n != 0; n = s.edges[n].parent {
		path = append(path, s.edges[n])
	}
	w := s.first
	s.out, s.elapsed = out, 0
	for _, e := range slices.Backward(path) {
		s.shortest = e.shortest
		s.apply(&w, e.move)
	}
	if writer, calm := w.calm(); calm {
		s.line("", "* nothing fails any more")
		s.shortest, s.good = false, map[world]bool{}
		s.settles(w, writer)
	}
	s.line("", "VIOLATION of %s", s.result.Violation)
	s.out = nil
}

func (s *search) line(name, format string, args ...any) {
	if s.out != nil {
		fmt.Fprintf(s.out, "%+10.3fs  %-5s %s\n", s.elapsed.Seconds(), name, fmt.Sprintf(format, args...))
	}
}

// say tells a part of the story, if it is being told.
func (s *search) say(who int, format string, args ...any) { s.line(names[who], format, args...) }

// tellMove tells what happens, unless the move says it better itself.
func (s *search) tellMove(w *world, m move) {
	if s.out == nil || int(m.kind) >= len(words) || words[m.kind] == "" {
		return
	}
	what, who := words[m.kind], int(m.who)
	switch m.kind {
	case replyLost, timesOut, requestLost, lands:
		r := w.requests[m.who]
		what, who = fmt.Sprintf("%s (%s)", what, claims[r.number]), int(r.node)
	case isPromoted, isBounced:
		what = fmt.Sprintf("%s (%s)", what, claims[w.next])
	}
	s.say(who, "%s", what)
}
