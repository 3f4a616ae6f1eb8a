package crm

import "slices"

// Database returns the ids of what the database of a promotable clone is made of: the clone and what it holds, and what
// must be where it is, from one constraint to the next. clone may name the primitive. What the clone and PostgreSQL
// need, by colocation or order and from one to the next, belongs to it too; what else hangs on that does not.
func (c *Configuration) Database(clone string) []string {
	if cl := c.Clone(clone); cl != nil {
		clone = cl.ID
	}
	d := database{Configuration: c}
	d.add(clone)
	core := database{Configuration: c, ids: slices.Clone(d.ids)}
	for before := 0; before != len(d.ids); {
		before = len(d.ids)
		for _, col := range c.Colocations {
			if col.Score < Infinity {
				continue
			}
			for _, pair := range col.Pairs() {
				if d.has(pair[1]) {
					d.add(pair[0])
				}
			}
		}
	}
	for _, p := range c.Primitives {
		if p.RunsPostgres() && d.has(p.ID) {
			core.add(p.ID)
		}
	}
	for needs := core.needs(); len(needs) > 0; needs = core.needs() {
		for _, id := range needs {
			core.add(id)
		}
	}
	for _, id := range core.ids {
		d.add(id)
	}
	slices.Sort(d.ids)
	return d.ids
}

// database collects ids.
type database struct {
	*Configuration
	ids []string
}

func (d *database) has(id string) bool { return slices.Contains(d.ids, id) }

// add takes in a resource, what is in it, and what it is in.
func (d *database) add(id string) {
	if id == "" || d.has(id) {
		return
	}
	d.ids = append(d.ids, id)
	for i := range d.Primitives {
		p := &d.Primitives[i]
		switch id {
		case p.ID:
			d.add(p.Group)
			d.add(p.Clone)
		case p.Group:
			d.add(p.ID)
			d.add(p.Clone)
		case p.Clone:
			d.add(p.ID)
		}
	}
}

// needs returns what the resources collected so far must be with, or wait for.
func (d *database) needs() (ids []string) {
	for _, col := range d.Colocations {
		for _, pair := range col.Pairs() {
			if col.Score >= Infinity && d.has(pair[0]) && !d.has(pair[1]) {
				ids = append(ids, pair[1])
			}
		}
	}
	for _, o := range d.Orders {
		if o.Kind == "Mandatory" && d.has(o.Then) && !d.has(o.First) {
			ids = append(ids, o.First)
		}
	}
	return ids
}

// Pairs returns what is kept with what.
func (col *Colocation) Pairs() [][2]string {
	if len(col.Sets) == 0 {
		return [][2]string{{col.Resource, col.With}}
	}
	var pairs [][2]string
	for i, set := range col.Sets {
		for j, id := range set.Resources {
			if j > 0 && set.Sequential {
				pairs = append(pairs, [2]string{id, set.Resources[j-1]})
			}
			if i+1 < len(col.Sets) {
				for _, with := range col.Sets[i+1].Resources {
					pairs = append(pairs, [2]string{id, with})
				}
			}
		}
	}
	return pairs
}

// MountPoints lists where the database of a clone mounts filesystems.
func (c *Configuration) MountPoints(clone string) (points []string) {
	ids := c.Database(clone)
	for _, p := range c.Primitives {
		if p.Type == "Filesystem" && slices.Contains(ids, p.ID) && p.Params["directory"] != "" {
			points = append(points, p.Params["directory"])
		}
	}
	return points
}
