package fsm

import (
	"fmt"
	"reflect"
	"testing"
	"time"
	"unsafe"

	"pgregory.net/rapid"
)

// durations are the fields that are lengths of time, not readings of the clock.
var durations = map[string]bool{
	"Config.DriftEvery": true, "Config.TTL": true, "Config.Membership": true,
	"Zone.TTL": true, "Zone.OwnerTTL": true, "Write.InFlight.Base.TTL": true, "Write.InFlight.Base.OwnerTTL": true,
	"Poll.fastInterval": true, "Poll.Took": true,
}

// eachTime calls f for each field of the state, at any depth, that may be a time.
func eachTime(s *State, f func(path string, t *Time)) {
	var walk func(path string, v reflect.Value)
	walk = func(path string, v reflect.Value) {
		switch {
		case v.Type() == reflect.TypeFor[Time]():
			f(path, (*Time)(unsafe.Pointer(v.UnsafeAddr())))
		case v.Kind() == reflect.Struct:
			for i := range v.NumField() {
				walk(join(path, v.Type().Field(i).Name), v.Field(i))
			}
		case v.Kind() == reflect.Array:
			for i := range v.Len() {
				walk(fmt.Sprintf("%s[%d]", path, i), v.Index(i))
			}
		}
	}
	walk("", reflect.ValueOf(s).Elem())
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

// TestEveryTimeIsListed: Shifted and Canonical know each field that is a reading of the clock.
func TestEveryTimeIsListed(t *testing.T) {
	var s State
	listed := map[*Time]int{}
	s.times(func(at *Time) { listed[at]++ })
	eachTime(&s, func(path string, at *Time) {
		want := 1
		if durations[path] {
			want = 0
		}
		if listed[at] != want {
			t.Errorf("State.%s is listed %d times, want %d: add a reading of the clock to times, and to Canonical "+
				"what may be forgotten of it; add a length of time to durations in this test", path, listed[at], want)
		}
		delete(listed, at)
	})
	if len(listed) > 0 {
		t.Errorf("%d listed times are no fields", len(listed))
	}
}

// TestNoAgeGoesOn: a time of long ago is as good as one that is an hour older, or a search would never end.
func TestNoAgeGoesOn(t *testing.T) {
	const now = 1000 * time.Hour
	with := func(change func(*State)) State {
		s := goodState(now)
		change(&s)
		return s
	}
	open := Episode{ID: 3, Start: now - 9*time.Hour}
	told := demotion{name: peer, known: true}
	for name, base := range map[string]State{
		"at rest":    with(func(s *State) { s.Peers.demotions[0] = told }),
		"begun":      with(func(s *State) { s.Episode = open }),
		"written":    with(func(s *State) { s.Episode, s.Write.InFlight.Claim = open, "p1" }),
		"published":  with(func(s *State) { s.Episode, s.Promotion.Published = open, true }),
		"complete":   with(func(s *State) { s.Episode.ID, s.Episode.Outcome = 3, OutcomeComplete }),
		"demoted":    with(func(s *State) { s.Episode.ID, s.Episode.Outcome = 3, OutcomeDemoted }),
		"a client":   with(func(s *State) { s.Episode, s.Config.ProbeClient = open, true }),
		"PostgreSQL": with(func(s *State) { s.Episode, s.Config.PublishWritable = open, true }),
	} {
		eachTime(&base, func(path string, _ *Time) {
			if durations[path] {
				return
			}
			aged := func(age time.Duration) State {
				s := base
				eachTime(&s, func(p string, at *Time) {
					if p == path {
						*at = now - age
					}
				})
				switch path { // the gap is as long as ever
				case "Episode.Outage.From":
					s.Episode.Outage.To = now - age + time.Minute
				case "Episode.Outage.To":
					s.Episode.Outage.From = now - age - time.Minute
				}
				return s.Canonical(now)
			}
			if a, b := aged(8*time.Hour), aged(7*time.Hour); a != b {
				t.Errorf("%s: State.%s is kept for ever:\n%s", name, path, differences(a, b))
			}
		})
	}
}

// differences names the fields in which two states differ.
func differences(a, b State) string {
	out := ""
	var walk func(path string, v, w reflect.Value)
	walk = func(path string, v, w reflect.Value) {
		switch v.Kind() {
		case reflect.Struct:
			for i := range v.NumField() {
				walk(join(path, v.Type().Field(i).Name), v.Field(i), w.Field(i))
			}
		case reflect.Array:
			for i := range v.Len() {
				walk(fmt.Sprintf("%s[%d]", path, i), v.Index(i), w.Index(i))
			}
		default:
			if !v.Equal(w) {
				out += fmt.Sprintf("%s: %v, %v\n", path, v, w)
			}
		}
	}
	walk("", reflect.ValueOf(a), reflect.ValueOf(b))
	return out
}

// TestCanonicalActsTheSame drives a state and its canonical form, which is at another time of the clock, through the
// same random walk. They want the same, and their canonical forms stay the same value.
func TestCanonicalActsTheSame(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWalk(t)
		shift := time.Duration(rapid.IntRange(1, 1000).Draw(t, "shift")) * time.Hour
		twin := w.st.Canonical(w.now).Shifted(shift)
		w.stepped = func(ev Event, actions []Action) {
			at := w.now + shift
			next, twins := twin.Step(at, shiftedEvent(ev, shift))
			if a, b := told(actions, w.now), told(twins, at); a != b {
				t.Fatalf("after %T it wants\n%s\nand its canonical form\n%s", ev, a, b)
			}
			a, b := w.st.Canonical(w.now), next.Canonical(at).Shifted(-shift)
			for _, s := range []*State{&a, &b} { // kept for a read in flight, even for one that began after it
				s.Write.endedAt, s.Record.awaited.due = 0, max(s.Record.awaited.due, w.now)
				forget(&s.Write.apiStaleUntil, w.now, 0)
				forget(&s.Episode.Memory.APIStaleUntil, w.now, 0)
			}
			if a != b {
				t.Fatalf("after %T their canonical forms differ:\n%s", ev, differences(a, b))
			}
			if a, b := w.st.Next(w.now), next.Next(at)-shift; a != b {
				t.Fatalf("after %T the next tick is due at %v, and %v", ev, a, b)
			}
			if a, b := w.st.Gate(w.now), next.Gate(at); a != b {
				t.Fatalf("after %T held back by %v, and %v", ev, a.List(), b.List())
			}
			if twin = next; rapid.Bool().Draw(t, "again") {
				twin = next.Canonical(at)
			}
		}
		w.restarted = func() {
			paused := twin.Wait.PausedUntil
			twin = New(w.cfg, uint64(w.now), twin.Episode, true)
			twin.Wait.PausedUntil = paused
		}
		w.run()
	})
}

// told is what the actions want, without the story.
func told(actions []Action, now Time) string {
	out := ""
	for _, a := range actions {
		switch b := a.(type) {
		case Save:
			s := State{Episode: b.Episode}
			a = Save{Episode: s.Canonical(now).Shifted(-now).Episode}
		case Write:
			b.Decided -= now
			b.Base.At = 0
			a = b
		}
		out += fmt.Sprintf("%T%+v\n", a, a)
	}
	return out
}

func shiftedEvent(ev Event, d time.Duration) Event {
	switch e := ev.(type) {
	case ClusterPolled:
		e.Cluster.At += d
		return e
	case DrbdChanged:
		e.Drbd.At += d
		return e
	case PostgresProbed:
		e.Postgres.At += d
		return e
	case Read:
		e.Zone.At += d
		return e
	case ResolvedName:
		e.Resolved.At += d
		return e
	case ClientProbed:
		if e.Outage != (Outage{}) {
			e.Outage.From, e.Outage.To = e.Outage.From+d, e.Outage.To+d
		}
		return e
	case Paused:
		e.Until += d
		return e
	default:
		return ev
	}
}

func TestSeedsThatMakeEveryJitterExtreme(t *testing.T) {
	for seed, want := range map[uint64]func(time.Duration) time.Duration{
		JitterShortest: func(time.Duration) time.Duration { return 0 },
		JitterLongest:  func(d time.Duration) time.Duration { return d - 1 },
	} {
		s := State{}.Seeded(seed)
		if s.Drew() {
			t.Errorf("seed %x: a jitter before there was any", seed)
		}
		for _, d := range []time.Duration{1, time.Second, 24 * time.Hour} {
			if got := s.jitter(d); got != want(d) {
				t.Errorf("seed %x: %v of %v, want %v", seed, got, d, want(d))
			}
			if !s.Drew() {
				t.Errorf("seed %x: a jitter is not noticed", seed)
			}
		}
	}
}
