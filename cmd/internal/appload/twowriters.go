package appload

import (
	"maps"
	"slices"
	"time"
)

// Interval is a time in which more than one node claimed to be the writer.
type Interval struct {
	From, To time.Time
	Nodes    []string // sorted
	// Proven says that scrapes of one node before and after saw it as the writer while scrapes of another did so of that
	// one. An interval that is not proven may come from the old node's last scrape before a change and the new node's
	// first after it.
	Proven bool
}

// TwoWriters are the times when, by the newest scrape of each node and none older than two intervals, the claims summed
// up to more than one.
func (w *Watcher) TwoWriters() []Interval {
	w.mu.Lock()
	defer w.mu.Unlock()
	return twoWriters(w.samples, w.interval, time.Now())
}

// span is a time in which a node claimed.
type span struct {
	node     string
	from, to time.Time
}

func twoWriters(samples map[string][]sample, interval time.Duration, now time.Time) []Interval {
	var claimed, sure []span
	for _, node := range slices.Sorted(maps.Keys(samples)) {
		list := samples[node]
		for i, s := range list {
			if s.values[writerSeries] < 1 {
				continue
			}
			until := s.end.Add(2 * interval)
			if until.After(now) {
				until = now
			}
			if i+1 < len(list) {
				next := list[i+1]
				if next.end.Before(until) {
					until = next.end
				}
				if next.values[writerSeries] >= 1 && next.start.Sub(s.end) <= 2*interval {
					sure = join(sure, span{node, s.end, next.start})
				}
			}
			claimed = join(claimed, span{node, s.end, until})
		}
	}
	list := overlaps(claimed)
	proven := overlaps(sure)
	for i := range list {
		list[i].Proven = slices.ContainsFunc(proven, func(p Interval) bool {
			return p.From.Before(list[i].To) && list[i].From.Before(p.To)
		})
	}
	return list
}

// join appends a span, or lengthens the last one when they touch. The spans of a node come in order.
func join(list []span, s span) []span {
	if n := len(list); n > 0 && list[n-1].node == s.node && !s.from.After(list[n-1].to) {
		list[n-1].to = s.to
		return list
	}
	return append(list, s)
}

// overlaps finds where spans of two or more nodes are.
func overlaps(spans []span) (list []Interval) {
	var edges []time.Time
	for _, s := range spans {
		edges = append(edges, s.from, s.to)
	}
	slices.SortFunc(edges, time.Time.Compare)
	for i := 1; i < len(edges); i++ {
		from, to := edges[i-1], edges[i]
		if !from.Before(to) {
			continue
		}
		var nodes []string
		for _, s := range spans {
			if !s.from.After(from) && !s.to.Before(to) {
				nodes = append(nodes, s.node)
			}
		}
		switch n := len(list); {
		case len(nodes) < 2:
		case n > 0 && list[n-1].To.Equal(from) && slices.Equal(list[n-1].Nodes, nodes):
			list[n-1].To = to
		default:
			list = append(list, Interval{From: from, To: to, Nodes: nodes})
		}
	}
	return list
}
