package appload

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestTwoWriters(t *testing.T) {
	start := time.Now()
	// A letter is a scrape at each full interval (of 1 s), which takes 0.1 s: 1 claims, 0 does not, x is unreachable, -
	// there was none.
	for name, tc := range map[string]struct{ a, b, want string }{
		"one writer":                      {"1111", "0000", ""},
		"nobody":                          {"0000", "0000", ""},
		"change between two scrapes":      {"1100", "0011", ""},
		"old node's last scrape lasts":    {"110", "01", "1.1-2.1"},
		"both for long":                   {"01111", "11111", "1.1-4.2 proven"},
		"proven only while both are seen": {"1111", "0110", "1.1-3.1 proven"},
		"unreachable is no claim":         {"11xx", "0011", ""},
		"claim ends after two intervals":  {"1----", "00011", ""},
		"claim of a silent node":          {"1----", "0111", "1.1-2.1"},
		"twice":                           {"11011", "01010", "1.1-2.1 3.1-4.1"},
	} {
		t.Run(name, func(t *testing.T) {
			samples := map[string][]sample{}
			for node, scrapes := range map[string]string{"a": tc.a, "b": tc.b} {
				for i, c := range scrapes {
					s := sample{start: start.Add(time.Duration(i) * time.Second)}
					s.end = s.start.Add(100 * time.Millisecond)
					switch c {
					case '-':
						continue
					case 'x':
						s.err = "unreachable"
					default:
						s.values = map[string]float64{writerSeries: float64(c - '0')}
					}
					samples[node] = append(samples[node], s)
				}
			}
			var got []string
			for _, i := range twoWriters(samples, time.Second, start.Add(4200*time.Millisecond)) {
				text := fmt.Sprintf("%.1f-%.1f", i.From.Sub(start).Seconds(), i.To.Sub(start).Seconds())
				if i.Proven {
					text += " proven"
				}
				got = append(got, text)
				if len(i.Nodes) != 2 {
					t.Errorf("nodes %v", i.Nodes)
				}
			}
			if text := strings.Join(got, " "); text != tc.want {
				t.Errorf("got %q, want %q", text, tc.want)
			}
		})
	}
}

func TestWatcherSeesTwoWritersAndNodesThatAreAway(t *testing.T) {
	defer goleak.VerifyNone(t)
	const interval = 50 * time.Millisecond
	var mode [2]atomic.Int32 // 0, 1: the claim; 2: refuses; 3: does not answer; 4: answers nonsense
	targets := map[string]string{"gone": "http://127.0.0.1:1/metrics"}
	for i := range mode {
		s := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			switch m := mode[i].Load(); m {
			case 2:
				http.Error(rw, "no", http.StatusServiceUnavailable)
			case 3:
				<-r.Context().Done()
			case 4:
				fmt.Fprint(rw, "pgha_local_writer one\n")
			default:
				fmt.Fprintf(rw, "# TYPE pgha_local_writer gauge\npgha_local_writer %d\n"+
					"# TYPE pgha_publication gauge\npgha_publication{state=\"held\"} 0\npgha_publication{state=\"observed\"} 1\n"+
					"# TYPE pgha_client_outage_seconds histogram\npgha_client_outage_seconds_bucket{le=\"+Inf\"} 2\n"+
					"pgha_client_outage_seconds_sum 7.5\npgha_client_outage_seconds_count 2\n"+
					"# TYPE pgha_paused gauge\npgha_paused 1\n", m)
			}
		}))
		defer s.Close()
		targets[[]string{"a", "b"}[i]] = s.URL + "/metrics"
	}
	mode[0].Store(1)
	ctx, cancel := context.WithCancel(t.Context())
	w := Watch(ctx, targets, interval, "pgha_publication", "pgha_client_outage_seconds")
	defer w.Wait()
	defer cancel()
	value := func(node, series string, labels map[string]string, want float64) func() bool {
		return func() bool {
			v, ok := w.Value(node, series, labels)
			return ok && v == want
		}
	}
	until := func(what string, holds func() bool) {
		t.Helper()
		for end := time.Now().Add(10 * time.Second); !holds(); time.Sleep(5 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("in vain: %s", what)
			}
		}
	}
	until("a claims", value("a", writerSeries, nil, 1))
	until("a label", value("b", "pgha_publication", map[string]string{"state": "observed"}, 1))
	until("a sum", value("a", "pgha_client_outage_seconds_sum", nil, 7.5))
	until("a count", value("a", "pgha_client_outage_seconds_count", nil, 2))
	if _, ok := w.Value("a", "pgha_paused", nil); ok {
		t.Error("kept a series that nobody asked for")
	}
	if list := w.TwoWriters(); len(list) > 0 {
		t.Errorf("two writers: %v", list)
	}
	mode[1].Store(1)
	until("two writers, proven", func() bool {
		list := w.TwoWriters()
		return len(list) == 1 && list[0].Proven
	})
	for _, m := range []int32{2, 3, 4} {
		mode[0].Store(m)
		until(fmt.Sprintf("mode %d is unreachable", m), func() bool { _, ok := w.Value("a", writerSeries, nil); return !ok })
		mode[0].Store(0)
		until("a is back", value("a", writerSeries, nil, 0))
	}
	if _, ok := w.Value("gone", writerSeries, nil); ok {
		t.Error("a node that was never there has a value")
	}
	if answered, unreachable := w.Scrapes("gone"); answered > 0 || unreachable == 0 {
		t.Errorf("%d answered, %d did not", answered, unreachable)
	}
	var b strings.Builder
	if err := w.Dump(&b); err != nil {
		t.Error(err)
	}
	for _, part := range []string{" gone ", "unreachable: ", `pgha_publication{state="observed"}=1`,
		"503 Service Unavailable", "Client.Timeout", "parse http"} {
		if !strings.Contains(b.String(), part) {
			t.Errorf("dump without %q:\n%s", part, b.String())
		}
	}
}

func TestGrowthOfACounterOverRestarts(t *testing.T) {
	start := time.Now()
	// A digit is what a scrape at each second says, x is unreachable.
	for name, tc := range map[string]struct{ scrapes, want string }{
		"never":                     {"0000", ""},
		"what was before the start": {"3333", ""},
		"twice":                     {"011133", "0-1 +1, 3-4 +2"},
		"unreachable between":       {"1xx2", "0-3 +1"},
		"restart":                   {"3x0011", "3-4 +1"},
		"restart, and at once":      {"3x2", "0-2 +2"},
		"unreachable at first":      {"xx23", "2-3 +1"},
	} {
		w := &Watcher{samples: map[string][]sample{}}
		for i, c := range tc.scrapes {
			at := start.Add(time.Duration(i) * time.Second)
			s := sample{start: at, end: at}
			if c != 'x' {
				s.values = map[string]float64{"stalls": float64(c - '0')}
			}
			w.keep("a", s)
		}
		var got []string
		for _, g := range w.Growths("a", "stalls", nil) {
			got = append(got, fmt.Sprintf("%.0f-%.0f +%g", g.From.Sub(start).Seconds(), g.To.Sub(start).Seconds(), g.By))
		}
		if text := strings.Join(got, ", "); text != tc.want {
			t.Errorf("%s: %q, want %q", name, text, tc.want)
		}
	}
}
