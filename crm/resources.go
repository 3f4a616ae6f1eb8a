package crm

import (
	"strings"

	"github.com/beevik/etree"
)

// place is where a resource element stands: what encloses it, and what those enclosing say about it.
type place struct {
	clone, group, bundle string
	promotable           bool
	managed, maintenance Tri
}

// within adds what a clone, group or bundle says.
func (p place) within(e *etree.Element) place {
	p.managed = allOf(p.managed, tri(e, "managed"))
	p.maintenance = anyOf(p.maintenance, tri(e, "maintenance"))
	return p
}

// reader collects resources.
type reader struct {
	out        []Resource
	promotable []string // ids of clones and bundles
	ids        map[string]struct{}
	sums       ElementCounts
}

// readResources reads the resources section, then the resources printed inside of nodes (--group-by-node). The latter
// come without their clone, and 2.1 prints a clone that is partly stopped in both places, so the section has
// precedence.
func (s *Status) readResources(section, nodes *etree.Element) {
	r := reader{ids: make(map[string]struct{})}
	if section != nil {
		r.out, r.promotable = []Resource{}, []string{}
		r.children(section, place{})
	}
	if nodes != nil {
		r.nested(nodes)
	}
	r.sums.IDs = len(r.ids)
	s.Resources, s.PromotableClones, s.Elements = r.out, r.promotable, r.sums
}

// showsPromotable tells whether anything below e has a role that only promotable clones have.
func showsPromotable(e *etree.Element) bool {
	for child := range e.ChildElementsSeq() {
		if child.Tag == "resource" {
			if promotableRole(roleOf(child)) {
				return true
			}
		} else if showsPromotable(child) {
			return true
		}
	}
	return false
}

func promotableRole(role Role) bool {
	switch role {
	case RolePromoted, RoleUnpromoted, RolePromoting, RoleDemoting:
		return true
	}
	return false
}

func roleOf(e *etree.Element) Role { return todaysRole(attr(e, "role")) }

func todaysRole(role string) Role {
	switch role {
	case "Master":
		return RolePromoted
	case "Slave":
		return RoleUnpromoted
	default:
		return Role(role)
	}
}

// children reads what is below the section, a clone, a group, a bundle or a replica.
func (r *reader) children(parent *etree.Element, at place) {
	for e := range parent.ChildElementsSeq() {
		below := at
		switch e.Tag {
		case "resource":
			r.resource(e, at)
			continue
		case "clone":
			below = at.within(e)
			below.clone = attr(e, "id")
			if below.promotable = tri(e, "multi_state") == Yes || showsPromotable(e); below.promotable {
				r.promotable = append(r.promotable, below.clone)
			}
		case "group":
			below = at.within(e)
			below.group = attr(e, "id")
		case "bundle":
			below = at.within(e)
			below.bundle = attr(e, "id")
			first := len(r.out)
			r.children(e, below)
			if markPromotable(r.out[first:]) {
				r.promotable = append(r.promotable, below.bundle)
			}
			continue
		}
		r.children(e, below)
	}
}

// markPromotable marks the primitive inside of a promotable bundle, on all replicas when one shows the role; its
// neighbors (container, address, connection) are not promotable. It tells whether there was one.
func markPromotable(replicas []Resource) bool {
	for _, shown := range replicas {
		if !promotableRole(shown.Role) {
			continue
		}
		for i := range replicas {
			if baseID(replicas[i].ID) == baseID(shown.ID) {
				replicas[i].Promotable = true
			}
		}
		return true
	}
	return false
}

// resource appends one instance per node that the element names, or one without a node.
func (r *reader) resource(e *etree.Element, at place) {
	instance := r.instance(e, at)
	before := len(r.out)
	for node := range e.ChildElementsSeq() {
		if node.Tag == "node" {
			instance.Node = attr(node, "name")
			r.out = append(r.out, instance)
		}
	}
	if len(r.out) == before {
		r.out = append(r.out, instance)
	}
}

// nested appends the resources printed inside of nodes, unless the resources section told more about them.
func (r *reader) nested(nodes *etree.Element) {
	type key struct{ id, node string }
	var seen map[key]bool
	for node := range nodes.ChildElementsSeq() {
		for e := range node.ChildElementsSeq() {
			if e.Tag != "resource" {
				continue
			}
			if seen == nil {
				seen = make(map[key]bool)
				for _, known := range r.out {
					seen[key{known.ID, known.Node}] = true
				}
			}
			instance := r.instance(e, place{})
			instance.Node = attr(node, "name") // an instance on several nodes is printed below each of them
			if k := (key{instance.ID, instance.Node}); !seen[k] {
				seen[k] = true
				r.out = append(r.out, instance)
			}
		}
	}
}

// instance reads an element, without its nodes, and counts it.
func (r *reader) instance(e *etree.Element, at place) Resource {
	in := Resource{
		ID: attr(e, "id"), Agent: attr(e, "resource_agent"),
		Clone: at.clone, Group: at.group, Bundle: at.bundle, Promotable: at.promotable,
		Role: roleOf(e), TargetRole: attr(e, "target_role"), Pending: attr(e, "pending"),
		Active: tri(e, "active"), Blocked: tri(e, "blocked"), Failed: tri(e, "failed"),
		Orphaned: anyOf(tri(e, "removed"), tri(e, "orphaned")),
		Managed:  tri(e, "managed"), Maintenance: anyOf(at.maintenance, tri(e, "maintenance")),
	}
	r.count(&in)
	in.Managed = allOf(at.managed, in.Managed)
	return in
}

func (r *reader) count(in *Resource) {
	c := &r.sums
	c.Total++
	r.ids[in.ID] = struct{}{}
	switch in.Role {
	case RoleStarted:
		c.Started++
	case RoleStopped:
		c.Stopped++
	case RolePromoted:
		c.Promoted++
	case RoleUnpromoted:
		c.Unpromoted++
	default:
		c.OtherRoles++
	}
	for _, is := range []struct {
		yes bool
		sum *int
	}{
		{in.Failed == Yes, &c.Failed},
		{in.Blocked == Yes, &c.Blocked},
		{in.Managed == No, &c.Unmanaged},
		{in.Orphaned == Yes, &c.Orphaned},
	} {
		if is.yes {
			*is.sum++
		}
	}
}

// allOf is No when one of them is, else what is said.
func allOf(a, b Tri) Tri {
	if a == No || b == No {
		return No
	}
	return max(a, b)
}

// anyOf is Yes when one of them is, else what is said.
func anyOf(a, b Tri) Tri { return max(a, b) }

// baseID drops the instance number of a clone's member: "st:0" is an instance of "st".
func baseID(id string) string {
	i := strings.LastIndexByte(id, ':')
	if i <= 0 || i == len(id)-1 || strings.Trim(id[i+1:], "0123456789") != "" {
		return id
	}
	return id[:i]
}
