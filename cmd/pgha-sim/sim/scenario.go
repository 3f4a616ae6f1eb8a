package sim

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pgha/pgha-agent/agent/config"
)

// Scenario is what happens to a cluster, as text:
//
//	seed 7                    how long everything takes, and all that is left to chance
//	fencing disabled
//	publish_on writable
//	client view               the agents are clients as well
//	fencing leaves off        a fenced node stays off until somebody switches it on
//	token 4.5s                Corosync's; its consensus timeout is 1.2 times as long
//	third dr                  a third DRBD node, no member of the cluster; or a diskless tiebreaker
//	quorum suspend-io         DRBD asks for two of three; or io-error
//	volumes 2                 of the resource
//	drbd 8.4                  which does not know names of nodes
//	deadly 400                an agent dies at one of 400 of its steps
//	stalling 900              and stands still at one of 900
//	+30s power off pg-1       and so on: see Steps
//
// The name primary stands for the node that is promoted at that time, standby for the other. An order that makes no
// sense at its time is passed over.
type Scenario struct {
	Seed                    uint64
	Fencing, Writable, View bool
	StaysOff, DRBD84        bool
	Token                   time.Duration
	Third, Quorum           string
	Volumes                 int
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
		{s.StaysOff, "fencing leaves off"}, {s.Token > 0, fmt.Sprintf("token %v", s.Token)},
		{s.Third != "", "third " + s.Third},
		{s.Quorum != "", "quorum " + s.Quorum}, {s.Volumes > 0, fmt.Sprintf("volumes %d", s.Volumes)}, {s.DRBD84, "drbd 8.4"},
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
		case first == "fencing" && rest == "leaves off":
			s.StaysOff = true
		case first == "token":
			s.Token, err = time.ParseDuration(rest)
		case first == "third" && (rest == "dr" || rest == "tiebreaker"):
			s.Third = rest
		case first == "quorum" && (rest == "suspend-io" || rest == "io-error"):
			s.Quorum = rest
		case first == "volumes" && notNumber == nil && number < 10:
			s.Volumes = int(number)
		case first == "drbd" && rest == "8.4":
			s.DRBD84 = true
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
	"standby NODE TIME":           func(w *world, n *node, d time.Duration) { w.standby(n, d) },
	"stop cluster NODE TIME":      func(w *world, n *node, d time.Duration) { w.stopCluster(n, d) },
	"power on NODE":               func(_ *world, n *node, _ time.Duration) { n.powerOn() },
	"replace NODE":                func(_ *world, n *node, _ time.Duration) { n.replace() },
	"fail disk NODE TIME":         func(w *world, n *node, d time.Duration) { w.failDisk(n, d) },
	"third down":                  func(w *world, _ *node, _ time.Duration) { w.thirdNode(true) },
	"third up":                    func(w *world, _ *node, _ time.Duration) { w.thirdNode(false) },
	"instance failed NODE TIME":   func(w *world, n *node, d time.Duration) { n.flaw, n.flawed = "failed", w.now+d },
	"instance blocked NODE TIME":  func(w *world, n *node, d time.Duration) { n.flaw, n.flawed = "blocked", w.now+d },
	"instance orphaned NODE TIME": func(w *world, n *node, d time.Duration) { n.flaw, n.flawed = "orphaned", w.now+d },
	"bounce NODE":                 func(w *world, n *node, _ time.Duration) { w.bounce(n) },
	"power off NODE":              func(_ *world, n *node, _ time.Duration) { n.powerOff() },
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
	// lost nodes count as clean without it
	"fencing skips":         func(w *world, _ *node, _ time.Duration) { w.fence = "skips" },
	"fence history cleaned": func(w *world, _ *node, _ time.Duration) { w.history(nil) },
	"fence history returns": func(w *world, _ *node, _ time.Duration) {
		events := slices.Clone(w.allFences)
		slices.Reverse(events)
		w.history(events)
	},
	"fence history hidden TIME": func(w *world, _ *node, d time.Duration) {
		w.hidden(true)
		w.after(d, func() { w.hidden(false) })
	},
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
				n.paused, n.pausedAt, n.pauseFile = w.now+d, w.now, n.wall().Add(d)
			})
		}
	},
	"resume NODE": func(_ *world, n *node, _ time.Duration) {
		if p := n.daemon; p != nil {
			p.tell(0, func() {
				n.paused, n.pauseFile = 0, time.Time{}
				if err := p.d.Pause(0); err != nil {
					panic(err)
				}
			})
		}
	},
	"clock NODE TIME": func(_ *world, n *node, d time.Duration) {
		n.step += d
	},
	"publish NODE": func(_ *world, n *node, _ time.Duration) {
		if n.alive && !n.frozen {
			n.publish(90 * time.Second) // of an operator who waits
		}
	},
	"journal unreadable NODE TIME": func(w *world, n *node, d time.Duration) {
		n.breakJournal(true)
		w.after(d, func() { n.breakJournal(false) })
	},
	"systemd hangs NODE TIME": func(w *world, n *node, d time.Duration) {
		n.systemdHangs = max(n.systemdHangs, w.now+d)
		n.pid1.Store(true)
		w.after(d, func() { n.pid1.Store(w.now < n.systemdHangs) })
	},
	"disk hangs NODE TIME": func(w *world, n *node, d time.Duration) { n.diskHangs = w.now + d },
	// What they are told to do.
	"reload NODE": func(_ *world, n *node, _ time.Duration) { n.configure(func(*config.Config) {}) },
	"rename": func(w *world, _ *node, _ time.Duration) {
		w.configure(func(c *config.Config) { c.Record.Name = swap(c.Record.Name, recordName, "rw."+recordName) })
	},
	"rezone": func(w *world, _ *node, _ time.Duration) {
		w.configure(func(c *config.Config) { c.Record.ZoneID = swap(c.Record.ZoneID, "Z1SIM", "Z2SIM") })
	},
	"renumber NODE": func(_ *world, n *node, _ time.Duration) {
		a := n.addr.As4()
		a[3]++
		n.addr = netip.AddrFrom4(a)
		n.configure(func(*config.Config) {})
	},
	"swap addresses": func(w *world, _ *node, _ time.Duration) {
		w.nodes[0].addr, w.nodes[1].addr = w.nodes[1].addr, w.nodes[0].addr
		w.configure(func(*config.Config) {})
	},
	// What they learn from.
	"events2 ends NODE TIME": func(_ *world, n *node, d time.Duration) { n.stream(d) },
	"events2 hangs NODE TIME": func(w *world, n *node, d time.Duration) {
		n.streamHangs = w.now + d
		w.after(noSignOfLife, func() { n.each(func(p *proc) { p.streamLost() }) })
		w.after(d, func() { n.each(func(p *proc) { p.stream(0) }) })
	},
	"crm_mon fails NODE TIME": func(w *world, n *node, d time.Duration) { n.crmFails = w.now + d },
	"crm_mon slow NODE TIME": func(w *world, n *node, d time.Duration) {
		n.crmTakes = 9 * time.Second
		w.after(d, func() { n.crmTakes = ms(400) })
	},
	"crm_mon crawls NODE TIME": func(w *world, n *node, d time.Duration) { n.crmCrawls, n.crmCrawled = w.now+d, w.now },
	"alerts work":              func(w *world, _ *node, _ time.Duration) { w.alerts = "" },
	"alerts few":               func(w *world, _ *node, _ time.Duration) { w.alerts = "few" },
	"alerts lost":              func(w *world, _ *node, _ time.Duration) { w.alerts = "lost" },
	"forge NODE":               func(w *world, n *node, _ time.Duration) { w.forge(n) },
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
	"api behind":        func(w *world, _ *node, _ time.Duration) { w.zone.breaks("behind", 60) },
	"api expired":       func(w *world, _ *node, _ time.Duration) { w.zone.breaks("expired", 100) },
	"api new words":     func(w *world, _ *node, _ time.Duration) { w.zone.breaks("new words", 100) },
	"edit address":      func(w *world, _ *node, _ time.Duration) { w.editAddress(w.edited()) },
	"edit second value": func(w *world, _ *node, _ time.Duration) { w.editSecondValue(w.edited()) },
	"edit delete address": func(w *world, _ *node, _ time.Duration) {
		w.editDelete(w.edited(), w.edited().name, "A")
	},
	"edit delete owner": func(w *world, _ *node, _ time.Duration) {
		w.editDelete(w.edited(), ownerName(w.edited()), "TXT")
	},
	"edit owner":    func(w *world, _ *node, _ time.Duration) { w.editOwner(w.edited()) },
	"edit nonsense": func(w *world, _ *node, _ time.Duration) { w.editNonsense(w.edited()) },
	"edit fights": func(w *world, _ *node, _ time.Duration) {
		w.zone.fights = true
		w.editAddress(w.edited())
	},
	"edit ends":   func(w *world, _ *node, _ time.Duration) { w.zone.fights = false },
	"insync TIME": func(w *world, _ *node, d time.Duration) { w.zone.pending = d },
}

// swap is the one of two that s is not.
func swap(s, one, two string) string {
	if s == one {
		return two
	}
	return one
}

func parseOrder(text string) (order, error) {
	words := strings.Fields(text)
	var o order
	for i, word := range words {
		if d, err := time.ParseDuration(word); err == nil {
			o.d, words[i] = d, "TIME"
		} else if i > 0 && slices.Contains([]string{"primary", "standby", "pg-1", "pg-2"}, word) {
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
	if o.node != "" && !strings.HasPrefix(step.What, "clock") {
		w.rough(n)
		w.after(o.d, func() { w.rough(n) })
	}
	api, fence := w.zone.fault, w.fence
	o.do(w, n, o.d)
	if api != w.zone.fault {
		w.zone.faultChanged = w.now
	}
	if api != w.zone.fault || fence != w.fence {
		for _, n := range w.nodes {
			w.rough(n)
		}
	}
}
