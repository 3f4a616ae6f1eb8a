package pg

import (
	"net/netip"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestOutageFindsGaps(t *testing.T) {
	t0 := time.Unix(1_700_000_000, 0)
	at := func(s int) time.Time { return t0.Add(time.Duration(s) * time.Second) }
	a, b := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	type step struct {
		ok  bool
		who netip.Addr
		gap *Outage
	}
	ok, fail := func(who netip.Addr) step { return step{ok: true, who: who} }, step{}
	ends := func(who netip.Addr, g Outage) step { return step{ok: true, who: who, gap: &g} }
	none := netip.Addr{}
	cases := []struct {
		name  string
		steps []step // one a second; an attempt ends half a second after it began
	}{
		{"nothing seen", nil},
		{"all is well", []step{ok(a), ok(a), ok(a)}},
		{"failover", []step{ok(a), fail, fail, ends(b, Outage{at(0), at(3), a, b, 2}), ok(b)}},
		{"same server again", []step{ok(a), fail, ends(a, Outage{at(0), at(2), a, a, 1})}},
		{"two gaps", []step{ok(a), fail, ends(a, Outage{at(0), at(2), a, a, 1}), fail, ends(b, Outage{at(2), at(4), a, b, 1})}},
		{"gap lasts", []step{ok(a), ok(a), fail, fail, fail}},
		{"failed from the start", []step{fail, fail}},
		{"beginning not seen is no gap", []step{fail, fail, ok(a), ok(a)}},
		{"moved without a failure", []step{ok(a), ends(b, Outage{at(0), at(1), a, b, 0}), ok(b)}},
		{"server not known on one side is no move", []step{ok(a), ok(none), ok(b)}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			var o OutageTracker
			for i, s := range c.steps {
				end := at(i)
				got := o.Observe(ClientProbe{Begin: end.Add(-time.Second / 2), End: end, Answers: s.ok, Answered: s.who})
				if d := cmp.Diff(s.gap, got, cmp.Comparer(func(x, y netip.Addr) bool { return x == y })); d != "" {
					t.Errorf("view %d: %s", i, d)
				}
			}
		})
	}
}

func TestOutageIgnoresLateViews(t *testing.T) {
	t0 := time.Unix(1_700_000_000, 0)
	var o OutageTracker
	o.Observe(ClientProbe{Answers: true, End: t0})
	o.Observe(ClientProbe{Answers: true, End: t0.Add(2 * time.Second)})
	if o.Observe(ClientProbe{End: t0.Add(time.Second)}); o.failures != 0 {
		t.Error("a view older than the last counts")
	}
}

func TestGapDuration(t *testing.T) {
	t0 := time.Unix(1_700_000_000, 0)
	if d := (Outage{From: t0, To: t0.Add(time.Minute)}).Duration(); d != time.Minute {
		t.Error(d)
	}
	if d := (Outage{From: t0}).Duration(); d != 0 {
		t.Error("a gap that lasts has duration " + strconv.Itoa(int(d)))
	}
}
