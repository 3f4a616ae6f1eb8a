package appload

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// writerSeries is 1 on a node that claims to be the writer; see docs/metrics.md.
const writerSeries = "pgha_local_writer"

// scrapeBytes bounds what is read of one answer; an agent's is some 40 KiB.
const scrapeBytes = 4 << 20

// Watcher keeps what the nodes' metrics said.
type Watcher struct {
	interval time.Duration
	series   []string
	client   *http.Client
	wg       sync.WaitGroup

	mu      sync.Mutex
	samples map[string][]sample
}

// sample is one scrape. What it says was so at some moment between start and end.
type sample struct {
	start, end time.Time
	// by key; nil: unreachable. Shared by equal neighbors, so that hours of them fit into memory.
	values map[string]float64
	err    string
}

// Watch scrapes each target (node -> URL) now and at each interval until ctx ends, and keeps pgha_local_writer and the
// families named. A scrape that takes longer than two intervals counts as unreachable. Of histograms it keeps NAME_sum
// and NAME_count.
func Watch(ctx context.Context, targets map[string]string, interval time.Duration, series ...string) *Watcher {
	w := &Watcher{
		interval: interval,
		series:   append([]string{writerSeries}, series...),
		// a transport of its own: no proxy, no shared connections
		client:  &http.Client{Transport: &http.Transport{}, Timeout: 2 * interval},
		samples: map[string][]sample{},
	}
	for node, url := range targets {
		w.wg.Go(func() {
			tick := time.NewTicker(interval)
			defer tick.Stop()
			for ctx.Err() == nil {
				s := sample{start: time.Now()}
				values, err := w.scrape(ctx, url)
				if ctx.Err() != nil {
					break // not the node's fault
				}
				s.end, s.values = time.Now(), values
				if err != nil {
					s.err = err.Error()
				}
				w.keep(node, s)
				select {
				case <-tick.C:
				case <-ctx.Done():
				}
			}
		})
	}
	return w
}

// Wait returns when the context of Watch has ended and nothing runs any more.
func (w *Watcher) Wait() {
	w.wg.Wait()
	w.client.CloseIdleConnections()
}

func (w *Watcher) scrape(ctx context.Context, url string) (map[string]float64, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	resp, err := w.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }() // read, or failed
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("GET %s: %s", url, resp.Status)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(io.LimitReader(resp.Body, scrapeBytes))
	if err != nil {
		return nil, fmt.Errorf("parse %s: %w", url, err)
	}
	values := map[string]float64{}
	for _, name := range w.series {
		for _, m := range families[name].GetMetric() {
			labels := map[string]string{}
			for _, l := range m.GetLabel() {
				labels[l.GetName()] = l.GetValue()
			}
			switch {
			case m.Gauge != nil:
				values[key(name, labels)] = m.Gauge.GetValue()
			case m.Counter != nil:
				values[key(name, labels)] = m.Counter.GetValue()
			case m.Histogram != nil:
				values[key(name+"_sum", labels)] = m.Histogram.GetSampleSum()
				values[key(name+"_count", labels)] = float64(m.Histogram.GetSampleCount())
			}
		}
	}
	return values, nil
}

// key writes a series as Prometheus does, labels sorted.
func key(name string, labels map[string]string) string {
	if len(labels) == 0 {
		return name
	}
	var parts []string
	for _, l := range slices.Sorted(maps.Keys(labels)) {
		parts = append(parts, fmt.Sprintf("%s=%q", l, labels[l]))
	}
	return name + "{" + strings.Join(parts, ",") + "}"
}

func (w *Watcher) keep(node string, s sample) {
	w.mu.Lock()
	defer w.mu.Unlock()
	list := w.samples[node]
	if n := len(list); n > 0 && s.same(list[n-1]) {
		s.values, s.err = list[n-1].values, list[n-1].err
	}
	w.samples[node] = append(list, s)
}

// same is whether two scrapes said the same.
func (s sample) same(o sample) bool {
	return s.err == o.err && (s.values == nil) == (o.values == nil) && maps.Equal(s.values, o.values)
}

// Value is what a node's newest scrape says of a series with exactly these labels; false when it does not, or when the
// node was unreachable.
func (w *Watcher) Value(node, series string, labels map[string]string) (float64, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	list := w.samples[node]
	if len(list) == 0 {
		return 0, false
	}
	v, ok := list[len(list)-1].values[key(series, labels)]
	return v, ok
}

// Growth is how much a counter has grown from one scrape that answered to the next.
type Growth struct {
	From, To time.Time // the start of the one and the end of the other
	By       float64
}

// Growths lists when a counter of a node, with exactly these labels, was seen to grow after the first scrape. A value
// below the one before is of a process that began at 0.
func (w *Watcher) Growths(node, series string, labels map[string]string) (list []Growth) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var from time.Time // of the last scrape that answered
	last := 0.0
	for _, s := range w.samples[node] {
		v, ok := s.values[key(series, labels)]
		if !ok {
			continue
		}
		if v < last {
			last = 0
		}
		if !from.IsZero() && v > last {
			list = append(list, Growth{from, s.end, v - last})
		}
		last, from = v, s.start
	}
	return list
}

// Scrapes is how many scrapes of a node answered, and how many did not: an assertion over no samples says nothing.
func (w *Watcher) Scrapes(node string) (answered, unreachable int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, s := range w.samples[node] {
		if s.values == nil {
			unreachable++
		} else {
			answered++
		}
	}
	return answered, unreachable
}

// Dump writes what was kept, one line for each run of scrapes of a node that said the same.
func (w *Watcher) Dump(out io.Writer) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, node := range slices.Sorted(maps.Keys(w.samples)) {
		for list := w.samples[node]; len(list) > 0; {
			n := 1
			for n < len(list) && list[n].same(list[0]) {
				n++
			}
			said := []string{"unreachable: " + list[0].err}
			if list[0].values != nil {
				said = nil
				for _, k := range slices.Sorted(maps.Keys(list[0].values)) {
					said = append(said, fmt.Sprintf("%s=%g", k, list[0].values[k]))
				}
			}
			_, err := fmt.Fprintf(out, "%s %s %s %dx %s\n", list[0].start.Format(time.RFC3339Nano),
				list[n-1].end.Format(time.RFC3339Nano), node, n, strings.Join(said, " "))
			if err != nil {
				return err
			}
			list = list[n:]
		}
	}
	return nil
}
