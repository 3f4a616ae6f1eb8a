package status

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pgha/pgha-agent/agent/fsm"
	"github.com/pgha/pgha-agent/agent/state"
	"github.com/pgha/pgha-agent/crm"
)

// Story tells what lasts: a condition that begins and ends, and what has changed in the cluster's configuration. It
// remembers what it has told. The zero value is ready; what it finds first was so before, and is not told.
type Story struct {
	at            fsm.Time
	lines         map[subject]*line
	whole         map[string]bool    // topics of which everything was known once
	configuration *crm.Configuration // that was told
	pace          pace
	record        string // what somebody else has made of the record that this node has published
	recordPace    pace
}

// subject is what a condition is about.
type subject struct{ topic, object string }

// condition is how a subject is.
type condition struct {
	subject
	state        string // "" when all is well
	kind         state.EventKind
	begins, ends string
	holds        time.Duration // how long it must hold to be told, at least settled
}

// line is what was told of a subject.
type line struct {
	told    condition
	since   fsm.Time // when that began; 0: before the story
	next    condition
	nextAt  fsm.Time
	flicker int // changes that went by untold
	pace    pace
}

const (
	// settled is how long a condition must hold: many pass in a moment, and mean nothing.
	settled = 2 * time.Second
	// lookEvery is how often conditions are looked at.
	lookEvery = time.Second
	// paceBurst and paceEvery bound what is told of one subject that comes and goes.
	paceBurst, paceEvery = 20, 3 * time.Minute
	// maxSubjects is above what a cluster has: names also come from other nodes' daemons.
	maxSubjects = 500
	// maxChanges is how many changes of the configuration one event tells.
	maxChanges = 3
)

// pace bounds a number of events.
type pace struct {
	spent int
	from  fsm.Time // since then none of the spent has come back
}

// take reports whether one more may be told.
func (p *pace) take(now fsm.Time) bool {
	back := int((now - p.from) / paceEvery)
	p.spent, p.from = max(0, p.spent-back), p.from+time.Duration(back)*paceEvery
	if p.spent == 0 {
		p.from = now
	}
	if p.spent >= paceBurst {
		return false
	}
	p.spent++
	return true
}

// Next tells what has begun, ended or changed by this snapshot.
func (t *Story) Next(s *Snapshot) (list []state.Event) {
	list = t.recordChanged(s)
	if t.lines == nil {
		t.lines, t.whole = map[subject]*line{}, map[string]bool{}
	} else if s.At-t.at < lookEvery {
		return list
	}
	t.at = s.At
	conditions, whole := s.conditions()
	seen := map[subject]bool{}
	for _, c := range conditions {
		seen[c.subject] = true
		l := t.lines[c.subject]
		if l == nil {
			if len(t.lines) >= maxSubjects {
				continue
			}
			l = &line{told: c}
			if t.whole[c.topic] { // it was not there before
				l.told = condition{subject: c.subject}
			}
			t.lines[c.subject] = l
		}
		list = append(list, l.step(s, c)...)
	}
	var gone []subject
	for of := range t.lines {
		if whole[of.topic] && !seen[of] {
			gone = append(gone, of)
		}
	}
	slices.SortFunc(gone, func(a, b subject) int { return strings.Compare(a.topic+a.object, b.topic+b.object) })
	for _, of := range gone {
		l := t.lines[of]
		list = append(list, l.step(s, condition{subject: of, kind: l.told.kind, ends: l.told.ends})...)
		if l.told.state == "" && l.nextAt == 0 && s.At-l.pace.from > paceBurst*paceEvery {
			delete(t.lines, of)
		}
	}
	for topic := range whole {
		t.whole[topic] = true
	}
	return append(list, t.changed(s)...)
}

// step takes in how a subject is now.
func (l *line) step(s *Snapshot, c condition) []state.Event {
	if c.state == l.told.state {
		if l.nextAt != 0 {
			l.flicker++
		}
		l.told, l.nextAt = c, 0
		return nil
	}
	if l.nextAt == 0 || l.next.state != c.state {
		l.nextAt = s.At
	}
	l.next = c
	if s.At-l.nextAt < max(settled, c.holds, l.told.holds) || !l.pace.take(s.At) {
		return nil
	}
	text := c.begins
	if c.state == "" {
		if text = c.ends; l.since != 0 {
			text += " after " + Ago(l.nextAt-l.since)
		}
	}
	if l.flicker > 2 {
		text += fmt.Sprintf("; before, it came and went %d times", l.flicker)
	}
	at := l.nextAt
	l.told, l.since, l.nextAt, l.flicker = c, at, 0, 0
	return []state.Event{{At: s.WallOf(at), Kind: c.kind, Text: text}}
}

// changed tells what has changed in the cluster's configuration.
func (t *Story) changed(s *Snapshot) []state.Event {
	c := s.Configuration
	if c == nil || c == t.configuration {
		return nil
	}
	if t.configuration == nil {
		t.configuration = c
		return nil
	}
	list := slices.DeleteFunc(crm.Compare(t.configuration, c), toldAnyway)
	if len(list) > 0 && !t.pace.take(s.At) {
		return nil
	}
	t.configuration = c
	if len(list) == 0 {
		return nil
	}
	if n := len(list) - maxChanges; n > 0 {
		list = append(list[:maxChanges], fmt.Sprintf("and %d more", n))
	}
	return []state.Event{{At: s.Wall, Kind: state.EventChanged, Text: "configuration: " + strings.Join(list, "; ")}}
}

// recordChanged tells what somebody else makes of the record that this node has published. It may be written again in a
// moment, so each snapshot is looked at.
func (t *Story) recordChanged(s *Snapshot) []state.Event {
	st, how := &s.State, t.record
	zone := &st.Zone
	switch {
	case st.Drift():
		how = recordText(zone.Refused, st.Config.Addr, zone.Addr)
	case st.Promotion.Claim == "":
		how, t.record = "", "" // it follows another node, or none
	case zone.OK && zone.Addr == st.Config.Addr:
		how = ""
	}
	if how == t.record || !t.recordPace.take(s.At) {
		return nil
	}
	t.record = how
	return []state.Event{{At: s.Wall, Kind: state.EventRecord, Text: cmp.Or(how, "the record is right again: "+zone.Addr)}}
}

// toldAnyway are changes that events of the cluster tell, or that say nothing.
func toldAnyway(change string) bool {
	for _, name := range []string{"property maintenance-mode", "property last-lrm-refresh", "attribute standby of ",
		"attribute maintenance of "} {
		if strings.HasPrefix(change, name) {
			return true
		}
	}
	return false
}
