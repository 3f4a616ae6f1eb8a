package crm

import (
	"cmp"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// setting is one thing that is configured.
type setting struct {
	of    string // the resource or node that it comes and goes with, "" when it stands for itself
	name  string
	value string
	shown string // value, without what nobody may see
}

// secret are the names of what is never shown, and the values that may hold one, such as a connection string.
var secret = regexp.MustCompile(`(?i)pass|pwd|secret|key|token|login|credential|auth`)

// Bounds of what is shown, in bytes.
const (
	maxValue  = 60
	maxChange = 115 // of which an event has room for three
)

func shown(name, value string) string {
	if secret.MatchString(name) || secret.MatchString(value) {
		return "(not shown)"
	}
	return bound(cmp.Or(value, `""`), maxValue)
}

func bound(text string, n int) string {
	if len(text) > n {
		return strings.ToValidUTF8(text[:n], "") + "..."
	}
	return text
}

// Compare tells what differs between a configuration and the one that followed it, one line for each difference, what
// people look for first: constraints, then what stands and falls with a resource or a node, then properties. Passwords
// and the like are not in it.
func Compare(before, after *Configuration) (changes []string) {
	was, is := before.settings(), after.settings()
	had, has := map[string]setting{}, map[string]setting{}
	for _, s := range was {
		had[s.name] = s
	}
	for _, s := range is {
		has[s.name] = s
	}
	both := func(name string) bool {
		_, a := had[name]
		_, b := has[name]
		return a && b
	}
	for _, s := range is {
		switch old, known := had[s.name]; {
		case !known && (s.of == "" || both(s.of)):
			changes = append(changes, fmt.Sprintf("%s is new: %s", s.name, s.shown))
		case known && old.value != s.value:
			changes = append(changes, fmt.Sprintf("%s: %s -> %s", s.name, old.shown, s.shown))
		}
	}
	for _, s := range was {
		if _, left := has[s.name]; !left && (s.of == "" || both(s.of)) {
			changes = append(changes, fmt.Sprintf("%s is gone, it was: %s", s.name, s.shown))
		}
	}
	for i := range changes {
		changes[i] = bound(changes[i], maxChange)
	}
	return changes
}

// settings lists what is configured. A name occurs once, as far as the CIB's ids do.
func (c *Configuration) settings() (list []setting) {
	add := func(of, name, value string) { list = append(list, setting{of, name, value, value}) }
	pairs := func(of, what string, m map[string]string) {
		for _, name := range slices.Sorted(maps.Keys(m)) {
			list = append(list, setting{of, what + name + suffix(of), m[name], shown(name, m[name])})
		}
	}
	c.constraints(func(id, value string) { add("", "constraint "+id, value) })
	meta := func(id string, m map[string]string) { pairs("resource "+id, "", m) }
	for _, p := range c.Primitives {
		of := "resource " + p.ID
		add("", of, p.Agent()+in(" in group ", p.Group)+in(" in clone ", p.Clone))
		meta(p.ID, p.Meta)
		pairs(of, "parameter ", p.Params)
		for _, op := range p.Ops {
			add(of, fmt.Sprintf("%s every %s%s of %s", op.Name, cmp.Or(op.Interval, "0"), in(" as ", string(op.Role)), p.ID),
				"timeout "+cmp.Or(op.Timeout, "not set"))
		}
	}
	for _, g := range c.Groups {
		add("", "resource "+g.ID, "a group")
		meta(g.ID, g.Meta)
	}
	for _, cl := range c.Clones {
		add("", "resource "+cl.ID, map[bool]string{true: "a promotable clone", false: "a clone"}[cl.Promotable])
		meta(cl.ID, cl.Meta)
	}
	for _, n := range c.Nodes {
		add("", "node "+n, "a member")
		pairs("node "+n, "attribute ", c.NodeAttributes[n])
	}
	pairs("", "property ", c.Properties)
	pairs("", "default ", c.Defaults)
	for _, a := range c.Alerts {
		of := "alert " + a.ID
		add("", of, a.Path)
		pairs(of, "parameter ", a.Params)
		pairs(of, "", a.Meta)
	}
	return list
}

// constraints calls f with each.
func (c *Configuration) constraints(f func(id, value string)) {
	for _, l := range c.Locations {
		value := fmt.Sprintf("%s%s on %s: %s", cmp.Or(l.Resource, l.Pattern), in(" as ", string(l.Role)),
			cmp.Or(l.Node, "the nodes of a rule"), scoreText(l.Score))
		if !l.Until.IsZero() {
			value += " until " + l.Until.UTC().Format("2006-01-02 15:04:05")
		}
		f(l.ID, value)
	}
	for _, l := range c.Colocations {
		value := fmt.Sprintf("%s%s with %s%s: %s", l.Resource, in(" as ", string(l.Role)), l.With,
			in(" as ", string(l.WithRole)), scoreText(l.Score))
		if len(l.Sets) > 0 {
			value = fmt.Sprintf("colocation of sets %v: %s", l.Sets, scoreText(l.Score))
		}
		f(l.ID, value)
	}
	for _, o := range c.Orders {
		value := fmt.Sprintf("%s %s before %s %s (%s)", o.FirstAction, o.First, o.ThenAction, o.Then, o.Kind)
		if o.Sets {
			value = "an order of sets"
		}
		f(o.ID, value)
	}
	for _, t := range c.Tickets {
		f(t.ID, fmt.Sprintf("%s%s needs ticket %s%s", t.Resource, in(" as ", string(t.Role)), t.Ticket,
			in(", without it ", t.LossPolicy)))
	}
}

// in is a word with what leads to it, "" without the word.
func in(lead, word string) string {
	if word == "" {
		return ""
	}
	return lead + word
}

// suffix is what a setting is of, behind its name.
func suffix(of string) string {
	_, id, _ := strings.Cut(of, " ")
	return in(" of ", id)
}
