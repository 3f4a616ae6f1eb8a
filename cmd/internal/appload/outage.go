package appload

import (
	"slices"
	"time"
)

// Outage is the time from one acknowledged commit to the next. Both times have monotonic readings, taken when the
// answer was read.
type Outage struct {
	From, To               time.Time // To is zero while it lasts
	LastServer, NextServer string    // host:port of those who acknowledged at From and To
}

// Length is how long it took, or has taken until now.
func (o Outage) Length(now time.Time) time.Duration {
	if o.To.IsZero() {
		return now.Sub(o.From)
	}
	return o.To.Sub(o.From)
}

// Shortest is the least Outage that is remembered, which bounds the memory that an hour can need.
const Shortest = 100 * time.Millisecond

// moment is one acknowledgement.
type moment struct {
	at     time.Time
	server string
}

// commits remembers the gaps between acknowledgements.
type commits struct {
	first, last moment
	gaps        []Outage // sorted, each at least Shortest
}

// add takes acknowledgements in any order: that of two connections' lines in the log need not be that of their answers.
func (c *commits) add(m moment) {
	switch {
	case c.last.at.IsZero():
		c.first, c.last = m, m
	case !m.at.Before(c.last.at):
		c.gaps = append(c.gaps, long(c.last, m)...)
		c.last = m
	case m.at.Before(c.first.at):
		c.gaps = slices.Insert(c.gaps, 0, long(m, c.first)...)
		c.first = m
	default:
		for i := len(c.gaps) - 1; i >= 0 && c.gaps[i].To.After(m.at); i-- {
			if g := c.gaps[i]; g.From.Before(m.at) {
				halves := append(long(moment{g.From, g.LastServer}, m), long(m, moment{g.To, g.NextServer})...)
				c.gaps = slices.Replace(c.gaps, i, i+1, halves...)
			}
		}
	}
}

// long is the gap between two neighbors if it is to be remembered.
func long(a, b moment) []Outage {
	if b.at.Sub(a.at) < Shortest {
		return nil
	}
	return []Outage{{From: a.at, To: b.at, LastServer: a.server, NextServer: b.server}}
}

func (c *commits) outages(now time.Time, least time.Duration) (list []Outage) {
	for _, g := range c.gaps {
		if g.To.Sub(g.From) >= least {
			list = append(list, g)
		}
	}
	if !c.last.at.IsZero() && now.Sub(c.last.at) >= max(least, Shortest) {
		list = append(list, Outage{From: c.last.at, LastServer: c.last.server})
	}
	return list
}
