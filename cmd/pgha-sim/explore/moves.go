package explore

// move is one thing that happens: a kind, and to whom.
type move struct {
	kind kind
	who  uint8 // a node or a request, as the kind says
}

type kind uint8

const (
	timePasses kind = iota
	// The agents.
	hears
	guarded
	readAnswered
	givesUp
	// Requests.
	answered
	lands
	// Trouble.
	readFails
	replyLost
	timesOut
	requestLost
	crashes
	starts
	freezes
	wakes
	losesPower
	neverWakes // follows from a long sleep
	boots
	// The cluster.
	isNoticed
	isFenced
	isPromoted
	isDemoted
	isBounced
	rejoins
)

// words say what a move is. A kind without words tells itself.
var words = [...]string{
	hears: "hears of the cluster", readAnswered: "reads the record", readFails: "cannot read the record",
	replyLost: "the reply is lost", timesOut: "the request times out, and is still under way",
	requestLost: "the request is lost", lands: "the request arrives late", givesUp: "gives its request up",
	crashes: "the agent dies", starts: "the agent starts", freezes: "FROZEN", wakes: "wakes up",
	losesPower: "POWER OFF", boots: "boots",
	isNoticed: "Pacemaker: lost", isFenced: "fenced", isPromoted: "PROMOTED", isDemoted: "demoted",
	isBounced: "demoted and PROMOTED", rejoins: "is a member again",
}

// moves lists what may happen next. Time passes only when nobody must do something first.
func (s *search) moves(w *world, out []move) []move {
	out = out[:0]
	for i := range w.nodes {
		// Nobody else is concerned when an agent hears that is busy with nothing: it hears first.
		if n := &w.nodes[i]; !s.budget.Slow && n.runs() && !n.told && !n.busy() {
			return append(out, move{hears, uint8(i)})
		}
	}
	urgent := false
	may := func(k kind, who int, now bool) {
		out = append(out, move{k, uint8(who)})
		urgent = urgent || now
	}
	s.agentMoves(w, may)
	s.requestMoves(w, may)
	if s.budget.Slow || w.allTold() {
		s.clusterMoves(w, may)
		s.troubleMoves(w, may)
	}
	if !urgent {
		out = append(out, move{kind: timePasses})
	}
	return out
}

func (w *world) allTold() bool {
	for i := range w.nodes {
		if n := &w.nodes[i]; n.runs() && !n.told {
			return false
		}
	}
	return true
}

func (s *search) agentMoves(w *world, may func(kind, int, bool)) {
	for i := range w.nodes {
		n := &w.nodes[i]
		if !n.runs() {
			continue
		}
		if !n.told {
			may(hears, i, true)
		}
		if n.forsaken {
			may(givesUp, i, true)
		}
		if n.phase == signing {
			may(guarded, i, true)
		}
		if n.reading {
			may(readAnswered, i, true)
			if w.left.reads > 0 {
				may(readFails, i, true)
			}
		}
	}
}

func (s *search) requestMoves(w *world, may func(kind, int, bool)) {
	for j := range w.requests {
		r := &w.requests[j]
		switch {
		case r.number == 0:
		case r.waits && !w.nodes[r.node].frozen:
			may(answered, j, true)
			if w.left.late > 0 {
				may(replyLost, j, true)
				may(timesOut, j, true)
				may(requestLost, j, true)
			}
		default:
			may(lands, j, r.age >= quanta(flight))
		}
	}
}

// clusterMoves lists what Pacemaker does, and what a machine does by itself.
func (s *search) clusterMoves(w *world, may func(kind, int, bool)) {
	shown, unsettled := w.shown(), w.unled >= quanta(promotes)
	for i := range w.nodes {
		n, o := &w.nodes[i], &w.nodes[1-i]
		if n.quiet() && o.well() {
			may(isNoticed, i, n.silent >= quanta(notices))
		}
		if n.unclean && o.well() {
			may(isFenced, i, n.silent >= quanta(fences))
		}
		if n.frozen {
			may(wakes, i, false)
		}
		if n.alive && !n.up && !n.frozen {
			may(starts, i, false)
		}
		if s.budget.Unsafe && n.gone && n.alive && !n.frozen {
			may(rejoins, i, n.silent >= quanta(notices))
		}
		if shown == 2 && n.well() && o.well() {
			may(isDemoted, i, unsettled)
		}
		if shown == 0 && w.left.promotions > 0 && n.well() && !o.unclean && !o.quiet() {
			may(isPromoted, i, unsettled)
		}
	}
}

func (s *search) troubleMoves(w *world, may func(kind, int, bool)) {
	if w.left.quanta == 0 {
		return
	}
	both := w.nodes[0].well() && w.nodes[1].well()
	for i := range w.nodes {
		n := &w.nodes[i]
		if w.left.crashes > 0 && n.runs() {
			may(crashes, i, false)
		}
		if both && w.left.freezes > 0 {
			may(freezes, i, false)
		}
		if both && w.left.cuts > 0 && w.left.promotions > 0 {
			may(losesPower, i, false)
		}
		if both && n.promoted() && w.left.promotions > 0 && w.shown() == 1 {
			may(isDemoted, i, false)
			may(isBounced, i, false)
		}
		if n.gone && !n.alive && w.left.boots > 0 && w.nodes[1-i].well() {
			may(boots, i, false)
		}
	}
}

// apply makes the move.
func (s *search) apply(w *world, m move) {
	i := int(m.who)
	s.tellMove(w, m)
	switch m.kind {
	case timePasses:
		s.pass(w)
	case hears:
		w.nodes[i].told = true
		s.happens(w, i, news)
	case guarded:
		s.guard(w, i)
	case givesUp:
		w.nodes[i].forsaken = false
		s.unanswered(w, i)
	case readAnswered:
		s.read(w, i)
	case readFails:
		w.left.reads--
		w.nodes[i].reading = false
		s.happens(w, i, cannotRead)
	case answered, lands, replyLost, timesOut, requestLost:
		s.moveRequest(w, m.kind, &w.requests[i])
	default:
		s.moveMachine(w, m.kind, i)
	}
	w.tidy()
}

// read answers the read of node i.
func (s *search) read(w *world, i int) {
	n := &w.nodes[i]
	n.reading = false
	n.knows = n.knows || n.promotion != 0 && w.record.number == n.promotion
	if !n.sent {
		n.missed = 0
	}
	s.happens(w, i, reads)
}

func (s *search) moveRequest(w *world, k kind, slot *request) {
	r := *slot
	i := int(r.node)
	if k == timesOut {
		slot.waits = false
	} else {
		*slot = request{}
	}
	if k == replyLost || k == timesOut || k == requestLost {
		w.left.late--
	}
	switch k {
	case answered:
		s.answer(w, &r)
	case lands:
		s.accept(w, &r)
		w.nodes[i].forsaken = w.nodes[i].forsaken || r.waits
	case replyLost:
		s.accept(w, &r)
		s.unanswered(w, i)
	default:
		s.unanswered(w, i)
	}
}

// answer brings the reply of a request.
func (s *search) answer(w *world, r *request) {
	i := int(r.node)
	n := &w.nodes[i]
	n.phase = idle
	if !s.accept(w, r) {
		s.happens(w, i, conflicts)
		return
	}
	n.knows = n.knows || r.number == n.promotion
	s.happens(w, i, published)
}

// unanswered tells node i that it will never know.
func (s *search) unanswered(w *world, i int) {
	w.nodes[i].phase = idle
	s.happens(w, i, unanswered)
}

// accept makes a request, or refuses it.
func (s *search) accept(w *world, r *request) bool {
	if r.base.epoch != w.record.epoch || r.base.number != w.record.number {
		s.say(int(r.node), "Route 53 refuses %s: it replaces epoch %d, and the record has %d",
			claims[r.number], r.base.epoch, w.record.epoch)
		return false
	}
	w.record = r.claim
	s.say(int(r.node), "Route 53 ACCEPTS %s, epoch %d", claims[r.number], r.epoch)
	s.accepts(w, r)
	return true
}

func (s *search) moveMachine(w *world, k kind, i int) {
	n := &w.nodes[i]
	switch k {
	case crashes:
		w.left.crashes--
		s.stop(w, i, dies)
		return
	case starts:
		s.start(w, i, begins)
		return
	case freezes:
		w.left.freezes--
		n.frozen, n.silent, n.asleep = true, 0, 0
		return
	case losesPower:
		w.left.cuts--
		s.stop(w, i, losesAll)
		n.alive, n.silent = false, 0
		return
	case neverWakes:
		s.stop(w, i, losesAll)
		n.alive, n.frozen, n.asleep = false, false, 0
		if n.gone {
			w.demote(i)
		}
		return
	case wakes:
		n.frozen, n.silent, n.asleep = false, 0, 0
		if n.up {
			s.happens(w, i, stalls)
			n.told = false
		}
		return
	case isNoticed:
		n.silent = 0
		n.unclean, n.gone = !s.budget.Unsafe, s.budget.Unsafe
		if n.gone && !n.alive {
			w.demote(i)
		}
	case isFenced:
		s.stop(w, i, losesAll)
		w.demote(i)
		n.alive, n.frozen, n.unclean, n.gone, n.silent, n.asleep = false, false, false, true, 0, 0
		n.fencings++
	case boots:
		w.left.boots--
		n.alive, n.gone = true, false
		s.start(w, i, beginsAnew)
	case isPromoted, isBounced:
		w.promote(i)
	case isDemoted:
		w.demote(i)
	case rejoins:
		n.gone, n.silent = false, 0
	}
	if w.shown() == 1 {
		w.unled = 0
	}
	w.tellAll()
}

// stop ends the process of node i. Only its journal is left.
func (s *search) stop(w *world, i int, how happening) {
	n := &w.nodes[i]
	n.up, n.told, n.reading, n.forsaken, n.phase = false, true, false, false, idle
	s.happens(w, i, how)
	w.forsake(i)
}

// start begins a process on node i.
func (s *search) start(w *world, i int, how happening) {
	w.nodes[i].up, w.nodes[i].told = true, true
	s.happens(w, i, how)
}

// pass lets one quantum pass, or as many as nobody has anything to do in.
func (s *search) pass(w *world) {
	for range longest {
		s.tick(w)
		if !s.budget.AtWakes && w.left.quanta > 0 {
			return
		}
		if s.buffer = s.moves(w, s.buffer); s.buffer[len(s.buffer)-1].kind != timePasses {
			return
		}
	}
}

func (s *search) tick(w *world) {
	s.elapsed += quantum
	if w.left.quanta > 0 {
		w.left.quanta--
	}
	if w.unled = min(w.unled+1, quanta(promotes)); w.shown() == 1 {
		w.unled = 0
	}
	for j := range w.requests {
		if r := &w.requests[j]; r.number != 0 {
			r.age++
		}
	}
	for i := range w.nodes {
		n := &w.nodes[i]
		if n.promotion == 0 {
			n.ended = min(n.ended+1, quanta(lookAge)+1)
		}
		if n.frozen {
			if n.asleep++; n.asleep > quanta(sleeps) {
				s.say(i, "never wakes up")
				s.moveMachine(w, neverWakes, i)
			}
		}
		if n.quiet() || n.unclean || n.gone && n.alive && !n.frozen {
			n.silent = min(n.silent+1, quanta(max(notices, fences)))
		}
	}
	for i := range w.nodes {
		if w.nodes[i].runs() {
			s.happens(w, i, ticks)
		} else {
			s.happens(w, i, ages)
		}
	}
}
