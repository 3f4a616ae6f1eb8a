package crm

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/beevik/etree"
)

// Configuration is how a cluster is configured: what the agent needs of the CIB's <configuration> (xml/resources-*.rng,
// xml/constraints-*.rng and xml/alerts-*.rng in Pacemaker's sources).
type Configuration struct {
	Properties  map[string]string // cluster options as written; see Property
	Nodes       []string          // names of the cluster nodes
	Primitives  []Primitive       // fence devices are those of class "stonith"
	Clones      []Clone
	Groups      []Group
	Locations   []Location
	Colocations []Colocation
	Orders      []Order
	Tickets     []TicketConstraint
	// NodeAttributes are the permanent ones of each node, by its name: standby and maintenance are among them.
	NodeAttributes map[string]map[string]string
	// Transient are those until the next reboot, of each node, from the status section. nil: not read.
	Transient map[string]map[string]string
	Defaults  map[string]string // rsc_defaults
	Alerts    []AlertAgent
	// InfiniteStickiness are the ids of the elements whose resource-stickiness is INFINITY: no preference is stronger.
	InfiniteStickiness []string
}

// Primitive is one resource as configured. What a template gives it is filled in.
type Primitive struct {
	ID, Class, Provider, Type string
	Group, Clone              string // what it is in, "" when it is in none
	Params, Meta              map[string]string
	Ops                       []Op
}

// Agent returns the agent as crm_mon prints it: "ocf:linbit:drbd".
func (p *Primitive) Agent() string {
	if p.Provider == "" {
		return p.Class + ":" + p.Type
	}
	return p.Class + ":" + p.Provider + ":" + p.Type
}

// RunsPostgres reports a resource that runs PostgreSQL.
func (p *Primitive) RunsPostgres() bool { return RunsPostgres(p.Agent()) }

// RunsPostgres reports that an agent, such as ocf:heartbeat:pgsql or systemd:postgresql@17-main, runs PostgreSQL. It
// goes by the name: a unit that only begins with "postgres" may be an exporter.
func RunsPostgres(agent string) bool {
	kind := agent[strings.LastIndexByte(agent, ':')+1:]
	return strings.HasPrefix(kind, "pgsql") || strings.HasPrefix(kind, "postgresql") ||
		strings.HasPrefix(agent, "ocf:") && strings.HasPrefix(kind, "postgres")
}

// Top returns the id that constraints on the whole of it name: that of its clone or group, else its own.
func (p *Primitive) Top() string {
	if p.Clone != "" {
		return p.Clone
	}
	if p.Group != "" {
		return p.Group
	}
	return p.ID
}

// FenceTargets returns the nodes that a fence device can fence by its parameters. It is false without a list and a map:
// then Pacemaker asks the device (pcmk_host_check; daemons/fenced/fenced_commands.c, can_fence_host_with_device), and
// nothing in the CIB says what it answers.
func (p *Primitive) FenceTargets() (nodes []string, known bool) {
	split := func(s string) []string {
		return strings.FieldsFunc(s, func(r rune) bool { return strings.ContainsRune(" ,;\t\n", r) })
	}
	nodes = split(p.Params["pcmk_host_list"])
	for _, pair := range split(p.Params["pcmk_host_map"]) {
		if node, _, ok := strings.Cut(pair, ":"); ok && !slices.Contains(nodes, node) {
			nodes = append(nodes, node)
		}
	}
	return nodes, len(nodes) > 0
}

// Op is a configured operation.
type Op struct {
	Name, Interval, Timeout string
	Role                    Role // "" when not given
}

// Clone is a clone, promotable or not.
type Clone struct {
	ID         string
	Promotable bool
	Meta       map[string]string
}

// Group is a group of primitives; they name it.
type Group struct {
	ID   string
	Meta map[string]string
}

// Location is a location constraint.
type Location struct {
	ID       string    `json:"id"`
	Resource string    `json:"resource"`          // "" when a pattern says which
	Pattern  string    `json:"pattern,omitempty"` // regular expression of resource ids
	Node     string    `json:"node"`              // "" when no single node is named
	Role     Role      `json:"role"`              // "" for every role
	Score    int       `json:"score"`
	Until    time.Time `json:"until"` // when it ends to apply; zero when it does not end by itself
}

// About reports whether the constraint is about one of some resources. A pattern may be found anywhere in an id, unless
// it begins with "!" (unpack_rsc_location in lib/pacemaker/pcmk_sched_location.c); one that cannot be read is about
// none.
func (l Location) About(ids []string) bool {
	if l.Pattern == "" {
		return slices.Contains(ids, l.Resource)
	}
	pattern, inverted := strings.CutPrefix(l.Pattern, "!")
	re, err := regexp.Compile(pattern)
	return err == nil && slices.ContainsFunc(ids, func(id string) bool { return re.MatchString(id) != inverted })
}

// Applies reports whether the constraint is in force at a time.
func (l Location) Applies(now time.Time) bool { return l.Until.IsZero() || now.Before(l.Until) }

// Colocation keeps Resource where With is. Roles are "" when not given. When it is written with resource sets, it has
// Sets in place of the two.
type Colocation struct {
	ID, Resource, With string
	Role, WithRole     Role
	Score              int
	Sets               []ResourceSet
}

// ResourceSet is a set in a colocation. Each of its resources is with the one before it if it is sequential, and with
// those of the next set (unpack_colocation_set and colocate_rsc_sets in lib/pacemaker/pcmk_sched_colocation.c).
type ResourceSet struct {
	Sequential bool
	Role       Role
	Resources  []string
}

// Order does FirstAction of First before ThenAction of Then. Actions have their defaults filled in. Sets says that it
// is
// written with resource sets, which are not read.
type Order struct {
	ID, First, FirstAction, Then, ThenAction, Kind string
	Sets                                           bool
}

// TicketConstraint lets a resource run only where a ticket is granted.
type TicketConstraint struct {
	ID, Resource, Ticket, LossPolicy string
	Role                             Role // "" for every role
}

// AlertAgent is an alert that Pacemaker calls. Kinds are those selected; nil means the default ones: node, fencing,
// resource.
type AlertAgent struct {
	ID, Path string
	Params   map[string]string // what the agent finds in its environment
	Meta     map[string]string // for Pacemaker
	Kinds    []string
}

// Property returns a cluster option by its old name. Pacemaker 3.0.2 and later know those that begin with "stonith-"
// as "fencing-" too.
func (c *Configuration) Property(name string) string {
	if v, ok := c.Properties[name]; ok {
		return v
	}
	rest, _ := strings.CutPrefix(name, "stonith-")
	return c.Properties["fencing-"+rest]
}

// Option reads a word of the configuration as Pacemaker does (pcmk__parse_bool in lib/common/strings.c; case does not
// matter). Unknown is for what is no such word.
func Option(word string) Tri {
	switch strings.ToLower(word) {
	case "true", "on", "yes", "y", "1":
		return Yes
	case "false", "off", "no", "n", "0":
		return No
	}
	return Unknown
}

// Primitive returns the primitive of that id, nil when there is none.
func (c *Configuration) Primitive(id string) *Primitive {
	i := slices.IndexFunc(c.Primitives, func(p Primitive) bool { return p.ID == id })
	if i < 0 {
		return nil
	}
	return &c.Primitives[i]
}

// FenceDevices returns the primitives of class stonith.
func (c *Configuration) FenceDevices() []*Primitive {
	var out []*Primitive
	for i := range c.Primitives {
		if c.Primitives[i].Class == "stonith" {
			out = append(out, &c.Primitives[i])
		}
	}
	return out
}

// Clone returns the clone of that id, or around the primitive or group of that id; nil when there is none.
func (c *Configuration) Clone(id string) *Clone {
	for _, p := range c.Primitives {
		if p.Clone != "" && (p.ID == id || p.Group == id) {
			id = p.Clone
			break
		}
	}
	i := slices.IndexFunc(c.Clones, func(cl Clone) bool { return cl.ID == id })
	if i < 0 {
		return nil
	}
	return &c.Clones[i]
}

// ParseConfiguration reads what `cibadmin --query` printed, with or without `-o configuration`. The bounds are those
// of Parse.
func ParseConfiguration(doc []byte) (*Configuration, error) {
	root, err := readRoot(doc)
	if err != nil {
		return nil, fmt.Errorf("parse cibadmin output: %w", err)
	}
	conf := root
	if root.Tag == "cib" {
		conf = root.SelectElement("configuration")
	}
	if conf == nil || conf.Tag != "configuration" {
		return nil, fmt.Errorf("parse cibadmin output: <%s> holds no configuration", excerpt([]byte(root.Tag)))
	}
	c := &Configuration{Properties: map[string]string{}, Defaults: map[string]string{},
		NodeAttributes: map[string]map[string]string{}}
	for section := range conf.ChildElementsSeq() {
		switch section.Tag {
		case "crm_config":
			for set := range section.ChildElementsSeq() {
				addPairs(c.Properties, set)
			}
		case "nodes":
			for n := range section.ChildElementsSeq() {
				if kind := attr(n, "type"); n.Tag == "node" && (kind == "" || kind == "member") {
					c.Nodes = append(c.Nodes, attr(n, "uname"))
					c.NodeAttributes[attr(n, "uname")] = pairs(n, "instance_attributes")
				}
			}
		case "resources":
			if err := c.readResources(section); err != nil {
				return nil, fmt.Errorf("parse cibadmin output: %w", err)
			}
		case "rsc_defaults":
			for set := range section.ChildElementsSeq() {
				addPairs(c.Defaults, set)
			}
		case "constraints":
			for e := range section.ChildElementsSeq() {
				c.readConstraint(e)
			}
		case "alerts":
			for e := range section.ChildElementsSeq() {
				c.readAlert(e)
			}
		}
	}
	c.readStickiness(conf)
	return c, nil
}

// parseTransient reads the nodes' transient attributes in what `cibadmin --query -o status` printed, nil when that is
// something else.
func parseTransient(doc []byte) map[string]map[string]string {
	root, err := readRoot(doc)
	if err != nil || root.Tag != "status" {
		return nil
	}
	all := map[string]map[string]string{}
	for state := range root.ChildElementsSeq() {
		if state.Tag != "node_state" {
			continue
		}
		for e := range state.ChildElementsSeq() {
			if e.Tag == "transient_attributes" {
				all[attr(state, "uname")] = pairs(e, "instance_attributes")
			}
		}
	}
	return all
}

// FailCounts sums up, for each resource that has failed on a node, the counts of its operations (pe_get_failcount in
// Pacemaker's lib/pengine/failcounts.c). A name is fail-count-RESOURCE#OPERATION_INTERVAL.
func (c *Configuration) FailCounts(node string) map[string]int {
	counts := map[string]int{}
	for name, value := range c.Transient[node] {
		name, is := strings.CutPrefix(name, "fail-count-")
		count, ok := score(value)
		if !is || !ok {
			continue
		}
		if i := strings.LastIndexByte(name, '#'); i >= 0 {
			name = name[:i]
		}
		counts[name] = min(counts[name]+count, Infinity)
	}
	return counts
}

// Threshold is from which fail count on a resource may not run on a node: migration-threshold of the resource, of what
// it is in, or by default. Zero is never.
func (c *Configuration) Threshold(resource string) int {
	const name = "migration-threshold"
	p := c.Primitive(resource)
	if p == nil {
		return Infinity
	}
	text := p.Meta[name]
	for _, g := range c.Groups {
		if text == "" && g.ID == p.Group {
			text = g.Meta[name]
		}
	}
	for _, o := range c.Clones {
		if text == "" && o.ID == p.Clone {
			text = o.Meta[name]
		}
	}
	threshold, ok := score(cmp.Or(text, c.Defaults[name]))
	if !ok {
		return Infinity
	}
	return threshold
}

func (c *Configuration) readStickiness(e *etree.Element) {
	if e.Tag == "nvpair" && attr(e, "name") == "resource-stickiness" {
		if n, ok := score(attr(e, "value")); ok && n >= Infinity {
			c.InfiniteStickiness = append(c.InfiniteStickiness, attr(e.Parent(), "id"))
		}
	}
	for child := range e.ChildElementsSeq() {
		c.readStickiness(child)
	}
}

// configuredReader reads the resources section.
type configuredReader struct {
	*Configuration
	templates map[string]*etree.Element
	given     int // elements that templates gave to primitives
}

func (c *Configuration) readResources(section *etree.Element) error {
	r := configuredReader{Configuration: c, templates: map[string]*etree.Element{}}
	for t := range section.ChildElementsSeq() {
		if name := attr(t, "id"); t.Tag == "template" && name != "" {
			r.templates[name] = t
		}
	}
	r.children(section, "", "")
	if r.given > MaxTags {
		return fmt.Errorf("templates give their primitives more than %d elements", MaxTags)
	}
	return nil
}

func (r *configuredReader) children(in *etree.Element, clone, group string) {
	for e := range in.ChildElementsSeq() {
		id := attr(e, "id")
		switch e.Tag {
		case "primitive":
			r.Primitives = append(r.Primitives, r.primitive(e, clone, group))
		case "group":
			r.Groups = append(r.Groups, Group{ID: id, Meta: pairs(e, "meta_attributes")})
			r.children(e, clone, id)
		case "clone", "master":
			meta := pairs(e, "meta_attributes")
			promotable := e.Tag == "master" || meta["promotable"] == "true"
			r.Clones = append(r.Clones, Clone{ID: id, Promotable: promotable, Meta: meta})
			r.children(e, id, "")
		}
	}
}

// template returns the template of a primitive, nil when it has none. A large template that many primitives use has no
// bound in the size of the document, so what templates give is counted.
func (r *configuredReader) template(e *etree.Element) *etree.Element {
	t := r.templates[attr(e, "template")]
	if t == nil || r.given > MaxTags {
		return nil
	}
	for set := range t.ChildElementsSeq() {
		r.given += len(set.Child)
	}
	return t
}

func (r *configuredReader) primitive(e *etree.Element, clone, group string) Primitive {
	p := Primitive{
		ID: attr(e, "id"), Class: attr(e, "class"), Provider: attr(e, "provider"), Type: attr(e, "type"),
		Clone: clone, Group: group, Params: map[string]string{}, Meta: map[string]string{},
	}
	from := []*etree.Element{e}
	if t := r.template(e); t != nil {
		p.Class, p.Provider, p.Type = attr(t, "class"), attr(t, "provider"), attr(t, "type")
		from = []*etree.Element{t, e}
	}
	for _, f := range from {
		for set := range f.ChildElementsSeq() {
			switch set.Tag {
			case "instance_attributes":
				addPairs(p.Params, set)
			case "meta_attributes":
				addPairs(p.Meta, set)
			case "operations":
				for op := range set.ChildElementsSeq() {
					p.Ops = append(p.Ops, Op{
						Name: attr(op, "name"), Interval: attr(op, "interval"), Timeout: attr(op, "timeout"),
						Role: todaysRole(attr(op, "role")),
					})
				}
			}
		}
	}
	return p
}

func (c *Configuration) readConstraint(e *etree.Element) {
	value, _ := score(attr(e, "score"))
	switch e.Tag {
	case "rsc_location":
		c.Locations = append(c.Locations, readLocation(e))
	case "rsc_colocation":
		c.Colocations = append(c.Colocations, Colocation{
			ID: attr(e, "id"), Resource: attr(e, "rsc"), Role: todaysRole(attr(e, "rsc-role")),
			With: attr(e, "with-rsc"), WithRole: todaysRole(attr(e, "with-rsc-role")), Score: value, Sets: readSets(e),
		})
	case "rsc_ticket":
		c.Tickets = append(c.Tickets, TicketConstraint{ID: attr(e, "id"), Resource: attr(e, "rsc"), Ticket: attr(e, "ticket"),
			LossPolicy: attr(e, "loss-policy"), Role: todaysRole(attr(e, "rsc-role"))})
	case "rsc_order":
		o := Order{
			ID: attr(e, "id"), First: attr(e, "first"), FirstAction: attr(e, "first-action"),
			Then: attr(e, "then"), ThenAction: attr(e, "then-action"), Kind: attr(e, "kind"),
			Sets: e.SelectElement("resource_set") != nil,
		}
		if o.FirstAction == "" {
			o.FirstAction = "start"
		}
		if o.ThenAction == "" {
			o.ThenAction = o.FirstAction
		}
		if o.Kind == "" {
			o.Kind = "Mandatory"
			if s := attr(e, "score"); s != "" && value == 0 { // the form before kind
				o.Kind = "Optional"
			}
		}
		c.Orders = append(c.Orders, o)
	}
}

func readSets(constraint *etree.Element) (sets []ResourceSet) {
	for e := range constraint.ChildElementsSeq() {
		if e.Tag != "resource_set" {
			continue
		}
		set := ResourceSet{Sequential: attr(e, "sequential") != "false", Role: roleOf(e)}
		for ref := range e.ChildElementsSeq() {
			set.Resources = append(set.Resources, attr(ref, "id"))
		}
		sets = append(sets, set)
	}
	return sets
}

// readLocation reads a constraint with a node and a score, or one with a rule of the form that AddPreference and
// crm_resource write. Of other rules only the score is known.
func readLocation(e *etree.Element) Location {
	l := Location{ID: attr(e, "id"), Resource: attr(e, "rsc"), Pattern: attr(e, "rsc-pattern"), Node: attr(e, "node"),
		Role: roleOf(e)}
	l.Score, _ = score(attr(e, "score"))
	if rule := e.SelectElement("rule"); rule != nil {
		l.Score, _ = score(attr(rule, "score"))
		if role := roleOf(rule); role != "" {
			l.Role = role
		}
		for x := range rule.ChildElementsSeq() {
			switch {
			case x.Tag == "expression" && attr(x, "attribute") == "#uname" && attr(x, "operation") == "eq":
				l.Node = attr(x, "value")
			case x.Tag == "date_expression" && attr(x, "operation") == "lt":
				l.Until = parseTime(attr(x, "end"))
			}
		}
	}
	return l
}

func (c *Configuration) readAlert(e *etree.Element) {
	if e.Tag != "alert" {
		return
	}
	a := AlertAgent{
		ID: attr(e, "id"), Path: attr(e, "path"), Params: pairs(e, "instance_attributes"), Meta: pairs(e, "meta_attributes"),
	}
	if sel := e.SelectElement("select"); sel != nil {
		a.Kinds = []string{}
		for kind := range sel.ChildElementsSeq() {
			a.Kinds = append(a.Kinds, kind.Tag)
		}
	}
	c.Alerts = append(c.Alerts, a)
}

func pairs(e *etree.Element, tag string) map[string]string {
	out := map[string]string{}
	for set := range e.ChildElementsSeq() {
		if set.Tag == tag {
			addPairs(out, set)
		}
	}
	return out
}

func addPairs(to map[string]string, set *etree.Element) {
	for e := range set.ChildElementsSeq() {
		if e.Tag == "nvpair" {
			to[attr(e, "name")] = attr(e, "value")
		}
	}
}
