package appload

import (
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestOutagesAreExactInWhateverOrderAnswersAreRecorded(t *testing.T) {
	start := time.Now()
	rapid.Check(t, func(rt *rapid.T) {
		offsets := rapid.SliceOfNDistinct(rapid.IntRange(0, 3000), 1, 30, rapid.ID[int]).Draw(rt, "offsets")
		var c commits
		for _, ms := range offsets {
			c.add(moment{start.Add(time.Duration(ms) * time.Millisecond), fmt.Sprint(ms)})
		}
		slices.Sort(offsets)
		least := time.Duration(rapid.IntRange(0, 500).Draw(rt, "least")) * time.Millisecond
		var want []Outage
		for i := 1; i < len(offsets); i++ {
			from, to := time.Duration(offsets[i-1])*time.Millisecond, time.Duration(offsets[i])*time.Millisecond
			if to-from >= max(least, Shortest) {
				want = append(want, Outage{start.Add(from), start.Add(to), fmt.Sprint(offsets[i-1]), fmt.Sprint(offsets[i])})
			}
		}
		last := start.Add(time.Duration(offsets[len(offsets)-1]) * time.Millisecond)
		if got := c.outages(last, least); !reflect.DeepEqual(got, want) {
			rt.Fatalf("got %v, want %v", got, want)
		}
	})
}

func TestOpenOutageIsTheLast(t *testing.T) {
	start := time.Now()
	var c commits
	if got := c.outages(start.Add(time.Hour), 0); got != nil {
		t.Errorf("before the first commit: %v", got)
	}
	c.add(moment{start, "a"})
	now := start.Add(time.Second)
	got := c.outages(now, time.Second)
	if len(got) != 1 || !got[0].To.IsZero() || got[0].LastServer != "a" || got[0].Length(now) != time.Second {
		t.Errorf("%v", got)
	}
	if got := c.outages(now, time.Second+1); got != nil {
		t.Errorf("too short: %v", got)
	}
}

func TestOutageStillOpenWhenToldToEndDoesNotGrow(t *testing.T) {
	start := time.Now()
	w := &Writer{stopped: start.Add(time.Second)}
	w.commits.add(moment{start, "a"})
	for least, want := range map[time.Duration]int{time.Second: 1, time.Second + 1: 0} {
		if got := w.Outages(start.Add(time.Hour), least); len(got) != want {
			t.Errorf("at least %v: %v", least, got)
		}
	}
}

func TestBitmapHoldsWhatWasSet(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		set := rapid.SliceOf(rapid.Int64Range(0, 500)).Draw(rt, "set")
		gone := rapid.SliceOf(rapid.Int64Range(0, 700)).Draw(rt, "cleared")
		var b bitmap
		want := map[int64]bool{}
		for _, n := range set {
			b.set(n)
			want[n] = true
		}
		for _, n := range gone {
			b.clear(n)
			delete(want, n)
		}
		n := 0
		for _, i := range b.list(0) {
			if n++; !want[i] {
				rt.Fatalf("%d is there", i)
			}
		}
		if n != len(want) {
			rt.Fatalf("%d of %d", n, len(want))
		}
	})
}
