package explore

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"
)

// raceDetector is set where a search takes ten times as long. It is one goroutine: there is nothing to detect.
var raceDetector bool

// TestEveryInterleaving searches each budget that is not long to its end.
func TestEveryInterleaving(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: the searches take minutes")
	}
	for _, b := range Budgets() {
		if b.Long {
			continue
		}
		if raceDetector {
			b.Promotions, b.Faults = 1, 10*time.Second
		}
		t.Run(b.Name, func(t *testing.T) {
			var story bytes.Buffer
			r, err := Run(context.Background(), b, &story)
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%v: %v", b, r)
			if r.Violation != "" {
				t.Errorf("%s\n%s", r.Violation, story.String())
			}
		})
	}
}

// TestWithoutFencingTheRecordMayStayWrong: what only fencing can promise does not hold without it, as docs/safety.md
// says. The search finds it, and tells the same story each time.
func TestWithoutFencingTheRecordMayStayWrong(t *testing.T) {
	b := Budget{Promotions: 1, Freezes: 1, Faults: 10 * time.Second, AtWakes: true, Unsafe: true, strict: true}
	var stories [2]bytes.Buffer
	var results [2]Result
	for i := range stories {
		var err error
		if results[i], err = Run(context.Background(), b, &stories[i]); err != nil {
			t.Fatal(err)
		}
		results[i].Took = 0
	}
	if results[0] != results[1] || stories[0].String() != stories[1].String() {
		t.Errorf("%v and %v:\n%s\n%s", results[0], results[1], stories[0].String(), stories[1].String())
	}
	for _, want := range []string{
		"FROZEN", "PROMOTED (p2)", "Route 53 ACCEPTS p2, epoch 2",
		"VIOLATION of I2: the record names pg-2, and pg-1 is promoted",
	} {
		if !strings.Contains(stories[0].String(), want) {
			t.Errorf("the story does not tell %q:\n%s", want, stories[0].String())
		}
	}
}

func TestASearchEndsWhenItIsToldTo(t *testing.T) {
	ctx, stop := context.WithCancel(context.Background())
	stop()
	if _, err := Run(ctx, Budgets()[0], &bytes.Buffer{}); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

// TestTheJudgeCondemns shows each wrong deed directly: a judge that never condemns would make every search a success.
func TestTheJudgeCondemns(t *testing.T) {
	late := quanta(lookAge) + 1
	ours := request{claim: claim{0, 2, 1}}
	for name, c := range map[string]struct {
		deed func(s *search, w *world)
		want string // "" for a deed that is right
	}{
		"a change of the promoted node": {func(s *search, w *world) { s.sends(w, &ours) }, ""},
		"a change just after the promotion": {func(s *search, w *world) {
			w.demote(0)
			w.nodes[0].ended = late - 1
			s.sends(w, &ours)
		}, ""},
		"a change after the promotion": {func(s *search, w *world) {
			w.demote(0)
			w.nodes[0].ended = late
			s.sends(w, &ours)
		}, "I1"},
		"a change of one that woke up late": {func(s *search, w *world) {
			w.promote(1)
			s.sends(w, &ours)
		}, "I1"},
		"a claim that is known to be accepted": {func(s *search, w *world) {
			w.nodes[0].knows = true
			s.sends(w, &ours)
		}, "I3"},
		"a claim that is accepted once more": {func(s *search, w *world) {
			s.accept(w, &request{claim: claim{0, 2, 1}, base: w.record})
		}, ""},
		"a claim that is accepted for the third time": {func(s *search, w *world) {
			w.accepted[1] = 2
			s.accept(w, &request{claim: claim{0, 2, 1}, base: w.record})
		}, "I3"},
		"a change while the other is unclean": {func(s *search, w *world) {
			w.nodes[1].unclean, w.nodes[1].silent = true, late
			s.sends(w, &ours)
		}, "I6"},
		"a record that names the other": {func(s *search, w *world) {
			w.record = claim{1, 2, 2}
			s.judge(*w, 0)
		}, "I2"},
		"a record that is right": {func(s *search, w *world) { s.judge(*w, 0) }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSearch(Budget{Promotions: 2})
			w := s.first
			w.nodes[0].knows = false
			c.deed(s, &w)
			if c.want == "" && s.violation != "" || !strings.HasPrefix(s.violation, c.want) {
				t.Errorf("%q, want %q", s.violation, c.want)
			}
		})
	}
}
