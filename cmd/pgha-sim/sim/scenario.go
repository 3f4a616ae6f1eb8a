package sim

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Scenario is what happens to a cluster, as text:
//
//	seed 7                    how long everything takes, and all that is left to chance
//	fencing disabled
//	publish_on writable
//	client view               the agents are clients as well
//	deadly 400                an agent dies at one of 400 of its steps
//	stalling 900              and stands still at one of 900
//	+30s power off pg-1       and so on: see Steps
//
// The name primary stands for the node that is promoted at that time, standby for the other. An order that makes no sense at its time is
// passed over.
type Scenario struct {
	Seed                    uint64
	Fencing, Writable, View bool
	Deadly, Stalling        int
	Steps                   []Step
}

// Step is one thing that happens.
type Step struct {
	At   time.Duration // since the start
	What string
}

// String is the text that Parse reads.
func (s *Scenario) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "seed %d\n", s.Seed)
	for _, line := range []struct {
		is   bool
		text string
	}{
		{!s.Fencing, "fencing disabled"}, {s.Writable, "publish_on writable"}, {s.View, "client view"},
		{s.Deadly > 0, fmt.Sprintf("deadly %d", s.Deadly)}, {s.Stalling > 0, fmt.Sprintf("stalling %d", s.Stalling)},
	} {
		if line.is {
			fmt.Fprintln(&b, line.text)
		}
	}
	for _, step := range s.Steps {
		fmt.Fprintf(&b, "+%v %s\n", step.At, step.What)
	}
	return b.String()
}

// Parse reads a scenario. Empty lines and what follows a # are passed over.
func Parse(text string) (*Scenario, error) {
	s := &Scenario{Fencing: true}
	for n, line := range slices.Collect(strings.Lines(text)) {
		line, _, _ = strings.Cut(line, "#")
		first, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		number, notNumber := strconv.ParseUint(rest, 10, 64)
		var err error
		switch {
		case first == "":
		case first == "seed" && notNumber == nil:
			s.Seed = number
		case first == "deadly" && notNumber == nil:
			s.Deadly = int(number)
		case first == "stalling" && notNumber == nil:
			s.Stalling = int(number)
		case first == "fencing" && rest == "disabled":
			s.Fencing = false
		case first == "publish_on" && rest == "writable":
			s.Writable = true
		case first == "client" && rest == "view":
			s.View = true
		case first[0] == '+':
			var at time.Duration
			if at, err = time.ParseDuration(first[1:]); err == nil {
				_, err = parseOrder(rest)
			}
			s.Steps = append(s.Steps, Step{at, rest})
		default:
			err = fmt.Errorf("neither a setting nor +TIME and an order")
		}
		if err != nil {
			return nil, fmt.Errorf("line %d, %q: %w", n+1, strings.TrimSpace(line), err)
		}
	}
	return s, nil
}

// order is what a step does. d is its duration; it is 0 for an order without one.
type order struct {
	do   func(w *world, n *node, d time.Duration)
	node string
	d    time.Duration
}

// orders are the ways to say a step: NODE is a node, TIME a duration. The rest are words.
var orders = map[string]func(w *world, n *node, d time.Duration){
	// The cluster.
	"move": func(w *world, _ *node, _ time.Duration) {
		if n := w.writer(); n != nil && n.cib != nil {
			w.prefer = 1 - n.i
			w.edit(n.cib, func() { n.cib.move = true })
		}
	},
	"bounce NODE":    func(w *world, n *node, _ time.Duration) { w.bounce(n) },
	"power off NODE": func(_ *world, n *node, _ time.Duration) { n.powerOff() },
	"freeze NODE TIME": func(_ *world, n *node, d time.Duration) {
		n.freeze(d, false)
	},
	"freeze NODE with its clocks TIME": func(_ *world, n *node, d time.Duration) {
		n.freeze(d, true)
	},
	"partition TIME": func(w *world, _ *node, d time.Duration) { w.partition(d) },
	"cut replication TIME": func(w *world, _ *node, d time.Duration) {
		w.replicationCut(d)
	},
	"maintenance TIME": func(w *world, _ *node, d time.Duration) { w.maintain(d) },
	"cleanup":          func(w *world, _ *node, _ time.Duration) { w.cleanup() },
	"fail NODE": func(w *world, n *node, _ time.Duration) {
		if n.cib != nil && n.promoted && n.cib.n[n.i].online {
			w.prefer = 1 - n.i
			w.edit(n.cib, func() { n.cib.n[n.i].failed, n.cib.move = n.wall(), true })
		}
	},
	// The fence device.
	"fencing works": func(w *world, _ *node, _ time.Duration) { w.fence = "" },
	"fencing slow":  func(w *world, _ *node, _ time.Duration) { w.fence = "slow" },
	"fencing fails": func(w *world, _ *node, _ time.Duration) { w.fence = "fails" },
	"fencing lies":  func(w *world, _ *node, _ time.Duration) { w.fence = "lies" },
	"fencing skips": func(w *world, _ *node, _ time.Duration) { w.fence = "skips" }, // lost nodes count as clean without it
	// The agents.
	"kill NODE":       func(_ *world, n *node, _ time.Duration) { n.killDaemon(0) },
	"stop NODE TIME":  func(_ *world, n *node, d time.Duration) { n.killDaemon(d) },
	"stall NODE TIME": func(_ *world, n *node, d time.Duration) { n.each(func(p *proc) { p.stall(d) }) },
	"pause NODE TIME": func(w *world, n *node, d time.Duration) {
		if p := n.daemon; p != nil {
			p.tell(0, func() {
				if err := p.d.Pause(d); err != nil {
					panic(err)
				}
				n.paused, n.pausedAt = w.now+d, w.now
			})
		}
	},
	"resume NODE": func(_ *world, n *node, _ time.Duration) {
		if p := n.daemon; p != nil {
			p.tell(0, func() {
				n.paused = 0
				if err := p.d.Pause(0); err != nil {
					panic(err)
				}
			})
		}
	},
	"clock NODE TIME": func(_ *world, n *node, d time.Duration) {
		n.step += d
		n.paused, n.clockUnsure = 0, max(n.paused, n.w.now+4*time.Hour)
	},
	// What they learn from.
	"events2 ends NODE TIME": func(_ *world, n *node, d time.Duration) { n.stream(d) },
	"events2 hangs NODE TIME": func(w *world, n *node, d time.Duration) {
		n.streamHangs = w.now + d
		w.after(d, func() { n.each(func(p *proc) { p.stream(0) }) })
	},
	"crm_mon fails NODE TIME": func(w *world, n *node, d time.Duration) { n.crmFails = w.now + d },
	"crm_mon slow NODE TIME": func(w *world, n *node, d time.Duration) {
		n.crmTakes = 9 * time.Second
		w.after(d, func() { n.crmTakes = ms(400) })
	},
	"alerts work": func(w *world, _ *node, _ time.Duration) { w.alerts = "" },
	"alerts few":  func(w *world, _ *node, _ time.Duration) { w.alerts = "few" },
	"alerts lost": func(w *world, _ *node, _ time.Duration) { w.alerts = "lost" },
	"forge NODE":  func(w *world, n *node, _ time.Duration) { w.forge(n) },
	// Route 53. The last one counts.
	"api works":         func(w *world, _ *node, _ time.Duration) { w.zone.fault = "" },
	"api throttled":     func(w *world, _ *node, _ time.Duration) { w.zone.breaks("throttled", 60) },
	"api off":           func(w *world, _ *node, _ time.Duration) { w.zone.breaks("lost", 100) },
	"api prior":         func(w *world, _ *node, _ time.Duration) { w.zone.breaks("prior", 70) },
	"api broken":        func(w *world, _ *node, _ time.Duration) { w.zone.breaks("broken", 80) },
	"api denied":        func(w *world, _ *node, _ time.Duration) { w.zone.breaks("denied", 100) },
	"api loses replies": func(w *world, _ *node, _ time.Duration) { w.zone.breaks("loses replies", 60) },
	"api late":          func(w *world, _ *node, _ time.Duration) { w.zone.breaks("late", 50) },
	"api slow":          func(w *world, _ *node, _ time.Duration) { w.zone.breaks("slow", 100) },
	"insync TIME":       func(w *world, _ *node, d time.Duration) { w.zone.pending = d },
}

func parseOrder(text string) (order, error) {
	words := strings.Fields(text)
	var o order
	for i, word := range words {
		if d, err := time.ParseDuration(word); err == nil {
			o.d, words[i] = d, "TIME"
		} else if slices.Contains([]string{"primary", "standby", "pg-1", "pg-2"}, word) {
			o.node, words[i] = word, "NODE"
		}
	}
	var known bool
	if o.do, known = orders[strings.Join(words, " ")]; !known {
		return o, fmt.Errorf("no such order; they are %s", strings.Join(orderNames(), ", "))
	}
	return o, nil
}

// orderNames lists the orders, always in the same way.
func orderNames() []string {
	var names []string
	for name := range orders {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func (w *world) obey(step Step) {
	o, err := parseOrder(step.What)
	if err != nil {
		panic(err) // Parse has seen it
	}
	n := w.nodes[0]
	writer := w.writer()
	switch {
	case o.node == "pg-2", o.node == "primary" && writer == w.nodes[1], o.node == "standby" && writer != w.nodes[1]:
		n = w.nodes[1]
	}
	w.story(nil, "* %s", step.What)
	w.changed()
	for _, n := range w.nodes {
		if strings.HasPrefix(step.What, "api") || strings.HasPrefix(step.What, "fencing") {
			w.rough(n)
		}
	}
	if o.node != "" {
		w.rough(n)
		w.after(o.d, func() { w.rough(n) })
	}
	o.do(w, n, o.d)
}
