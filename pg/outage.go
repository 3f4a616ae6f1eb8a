package pg

import (
	"net/netip"
	"time"
)

// Outage is a time in which clients were not served, or could not be shown to be.
type Outage struct {
	From          time.Time  // end of the last success
	To            time.Time  // end of the first success after it; zero while the gap lasts
	Before, After netip.Addr // who answered on each side; zero when not known
	Failures      int        // failed attempts in it; 0 when only the server changed between two successes
}

// Duration is the outage that a client saw; it is at most one attempt and one pause longer than the real one.
// It is 0 while the gap lasts.
func (g Outage) Duration() time.Duration {
	if g.To.IsZero() {
		return 0
	}
	return g.To.Sub(g.From)
}

// OutageTracker finds gaps in a series of views. The zero value is ready; it is not safe for concurrent use.
type OutageTracker struct {
	last     ClientProbe // the last success; zero before the first
	end      time.Time
	failures int
}

// Observe adds one view and returns the gap that it ends, if any: the first success after failures, or a success
// at another server than before. Failures before the first success are not a gap, because nobody knows when it
// began. Views must come in the order of their ends; one that comes late is ignored.
func (o *OutageTracker) Observe(v ClientProbe) (finished *Outage) {
	if v.End.Before(o.end) {
		return nil
	}
	o.end = v.End
	if !v.Answers {
		o.failures++
		return nil
	}
	moved := v.Answered.IsValid() && o.last.Answered.IsValid() && v.Answered != o.last.Answered
	if o.last.Answers && (o.failures > 0 || moved) {
		finished = &Outage{From: o.last.End, To: v.End, Before: o.last.Answered, After: v.Answered, Failures: o.failures}
	}
	o.last, o.failures = v, 0
	return finished
}

// Last is the last success; it does not answer when there was none.
func (o *OutageTracker) Last() ClientProbe { return o.last }

// Resume begins with a success that was seen before, by an Outage of another process.
func (o *OutageTracker) Resume(last ClientProbe) { o.last, o.end = last, last.End }
