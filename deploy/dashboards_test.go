package deploy

import (
	"bufio"
	"cmp"
	"encoding/json"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
)

// query is one expression of a dashboard, with the variables set.
type query struct{ where, expr, legend string }

func queries(t *testing.T) []query {
	t.Helper()
	var all []query
	for _, file := range dashboards(t) {
		board := board(t, file)
		add := func(what string, id any, title, expr, legend string) {
			expr = strings.NewReplacer("$__rate_interval", "5m", "$cluster", "lab").Replace(expr)
			all = append(all, query{fmt.Sprintf("%s: %s %v %q", filepath.Base(file), what, id, title), expr, legend})
		}
		for _, p := range board.Panels {
			for _, target := range p.Targets {
				add("panel", p.ID, p.Title, target.Expr, target.LegendFormat)
			}
		}
		for i, a := range board.Annotations.List {
			add("annotation", i+1, a.Name, a.Expr, a.TitleFormat+a.TextFormat)
		}
	}
	return all
}

// Labels that are no matchers: a misspelled one in a grouping or a legend is no error for Prometheus or Grafana, only
// an empty answer or name.
func TestDashboardsGroupByLabelsThatExist(t *testing.T) {
	d := documentedMetrics(t)
	for _, q := range queries(t) {
		known := []string{"cluster", "instance", "job", "le"}
		for _, m := range selector.FindAllStringSubmatch(q.expr, -1) {
			known = append(known, d.labels[m[1]]...)
		}
		if strings.Contains(q.expr, "ALERTS") {
			known = append(known, "alertname", "alertstate", "severity")
		}
		used := submatches(`\{\{ ?(\w+) ?\}\}`, q.legend)
		for _, list := range submatches(`\b(?:by|on|ignoring|without|group_left|group_right) ?\(([^)]*)\)`, q.expr) {
			used = append(used, strings.FieldsFunc(list, func(r rune) bool { return r == ',' || r == ' ' })...)
		}
		for _, label := range used {
			if !slices.Contains(known, label) {
				t.Errorf("%s: no label %q in the metrics of %s", q.where, label, q.expr)
			}
		}
	}
}

// scrapesEnv names a directory with NODE-UNIXMILLISECONDS.prom files of a lab run (dist/lab), whatever is around them.
const scrapesEnv = "PGHA_SCRAPES"

// comparison is what makes an answer empty in good times: the rest of the expression must find something nevertheless.
var comparison = regexp.MustCompile(` (?:==|!=|>=|<=|>|<)(?: bool)? [0-9.]+`)

// notInTheLab is what no lab run need have: streaming replicas, slots, and a filesystem that fills for ten minutes.
var notInTheLab = regexp.MustCompile(`pgha_postgres_(replication_lag|slot)_|pgha_filesystem_full_in_seconds`)

// Each query is asked of a real Prometheus that holds what the agents of a lab run really exported.
func TestDashboardsFindSomethingInALabRun(t *testing.T) {
	dir := os.Getenv(scrapesEnv)
	if dir == "" {
		t.Skip(scrapesEnv + " names no directory with the scrapes of a lab run: that each query of the dashboards finds " +
			"something was not tested")
	}
	for _, tool := range []string{"prometheus", "promtool"} {
		need(t, tool, "that each query of the dashboards finds something")
	}
	from, to, base := serve(t, dir)
	var whole, stripped int
	for _, q := range queries(t) {
		if strings.Contains(q.expr, "ALERTS{") {
			continue // Prometheus makes it from the rules, and promtool tests those
		}
		expr := recorded(t, q.expr)
		n := ask(t, base, expr, from, to)
		if n > 0 {
			whole++
			continue
		}
		rest := comparison.ReplaceAllString(expr, "")
		if rest != expr && ask(t, base, rest, from, to) > 0 {
			stripped++
			t.Logf("%s: true at no time of this run: %s", q.where, q.expr)
			continue
		}
		if notInTheLab.MatchString(q.expr) {
			t.Logf("%s: the lab has no such thing: %s", q.where, q.expr)
			continue
		}
		t.Errorf("%s: finds nothing: %s", q.where, q.expr)
	}
	t.Logf("%d queries found something, %d more without their comparison, in scrapes from %s to %s", whole, stripped, from,
		to)
}

// recorded returns an expression with the rules in place of their recordings, which nobody made during the lab run. All
// of it is one cluster.
func recorded(t *testing.T, expr string) string {
	t.Helper()
	var doc struct {
		Groups []struct {
			Rules []struct{ Record, Expr string }
		}
	}
	if err := yaml.Unmarshal([]byte(read(t, rules)), &doc); err != nil {
		t.Fatal(err)
	}
	for _, r := range slices.Backward(doc.Groups[0].Rules) { // a rule uses earlier ones
		if r.Record != "" {
			expr = regexp.MustCompile(regexp.QuoteMeta(r.Record)+`(\{[^}]*\})?`).ReplaceAllLiteralString(expr, "("+r.Expr+")")
		}
	}
	return expr
}

// serve loads the scrapes into a Prometheus on loopback and returns their times and its address.
func serve(t *testing.T, dir string) (from, to time.Time, base string) {
	t.Helper()
	text := filepath.Join(t.TempDir(), "scrapes.txt")
	from, to = openMetrics(t, dir, text)
	data := t.TempDir()
	promtool(t, "tsdb", "create-blocks-from", "openmetrics", text, data)

	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	_ = l.Close()
	config := filepath.Join(t.TempDir(), "prometheus.yml")
	write(t, config, "", 0o644)
	server := exec.CommandContext(t.Context(), "prometheus", "--config.file="+config, "--storage.tsdb.path="+data,
		"--storage.tsdb.retention.time=100y",
		"--web.listen-address="+addr, "--log.level=error")
	server.Stderr = os.Stderr
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Process.Kill(); _ = server.Wait() })
	base = "http://" + addr
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
		if resp, err := http.Get(base + "/-/ready"); err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return from, to, base
			}
		}
		if time.Now().After(deadline) {
			t.Fatal("prometheus is not ready after a minute")
		}
	}
}

// openMetrics writes all scrapes into one file, with their times and the labels of a scrape configuration.
func openMetrics(t *testing.T, dir, path string) (from, to time.Time) {
	t.Helper()
	type scrape struct {
		path, node string
		at         time.Time
	}
	name := regexp.MustCompile(`^(.+)-(\d{12,})\.prom$`)
	var all []scrape
	if err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if m := name.FindStringSubmatch(filepath.Base(path)); err == nil && !d.IsDir() && m != nil {
			ms, _ := strconv.ParseInt(m[2], 10, 64) // digits only
			all = append(all, scrape{path, m[1], time.UnixMilli(ms)})
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(all, func(a, b scrape) int { return a.at.Compare(b.at) })
	nodes := map[string]bool{}
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	out := bufio.NewWriter(f)
	sample := regexp.MustCompile(`^(\w+)(?:\{(.*)\})? (\S+)$`)
	for _, s := range all {
		nodes[s.node] = true
		target := fmt.Sprintf(`cluster="lab",instance=%q,job="pgha"`, s.node)
		at := float64(s.at.UnixMilli()) / 1000
		fmt.Fprintf(out, "up{%s} 1 %.3f\n", target, at)
		for line := range strings.Lines(read(t, s.path)) {
			if m := sample.FindStringSubmatch(strings.TrimSuffix(line, "\n")); m != nil {
				fmt.Fprintf(out, "%s{%s} %s %.3f\n", m[1], strings.TrimPrefix(m[2]+",", ",")+target, m[3], at)
			}
		}
	}
	fmt.Fprintln(out, "# EOF")
	if err := cmp.Or(out.Flush(), f.Close()); err != nil {
		t.Fatal(err)
	}
	if len(nodes) < 2 || len(all) < 4 {
		t.Fatalf("%s: %d scrapes of %d nodes; a lab run leaves them of both", dir, len(all), len(nodes))
	}
	return all[0].at, all[len(all)-1].at
}

// ask returns how many series answer an expression at some time.
func ask(t *testing.T, base, expr string, from, to time.Time) int {
	t.Helper()
	resp, err := http.PostForm(base+"/api/v1/query_range", url.Values{
		"query": {expr}, "step": {strconv.Itoa(max(15, int(to.Sub(from).Seconds())/5000))},
		"start": {strconv.FormatInt(from.Unix(), 10)}, "end": {strconv.FormatInt(to.Unix(), 10)},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	var answer struct {
		Error string
		Data  struct{ Result []json.RawMessage }
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil || answer.Error != "" {
		t.Errorf("%s: %v %s", expr, err, answer.Error)
	}
	return len(answer.Data.Result)
}
