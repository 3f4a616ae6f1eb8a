package deploy

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"
)

const (
	rules      = "prometheus/pgha-agent.rules.yml"
	rulesTest  = "prometheus/pgha-agent.rules_test.yml"
	scrape     = "prometheus/scrape.example.yml"
	runbook    = "../docs/runbook.md"
	metricsDoc = "../docs/metrics.md"
	routes     = "prometheus/alertmanager.example.yml"
)

// promtool runs Prometheus' own checker.
func promtool(t *testing.T, args ...string) {
	t.Helper()
	checker(t, "promtool", "that Prometheus reads the rules and the scrape configuration, and that each alert fires when "+
		"it should", args...)
}

// checker runs promtool or amtool. PGHA_REQUIRE_PROMTOOL=1 makes its absence an error.
func checker(t *testing.T, tool, untested string, args ...string) {
	t.Helper()
	if _, err := exec.LookPath(tool); err != nil && os.Getenv("PGHA_REQUIRE_PROMTOOL") == "1" {
		t.Fatalf("%s is not installed, and PGHA_REQUIRE_PROMTOOL=1 asks for it; .ci/deps installs it: %v", tool, err)
	}
	need(t, tool, untested)
	if out, err := output(t, nil, append([]string{tool}, args...)...); err != nil {
		t.Errorf("%s %s: %v\n%s", tool, strings.Join(args, " "), err, out)
	}
}

func TestPrometheusReadsTheRules(t *testing.T) {
	promtool(t, "check", "rules", rules)
	promtool(t, "check", "config", scrape)
}

// The expressions of the dashboards as rules: promtool then reads them as well.
func TestPrometheusReadsTheDashboards(t *testing.T) {
	text := "groups:\n- name: dashboards\n  rules:\n"
	for i, q := range queries(t) {
		text += fmt.Sprintf("  - record: query:%d\n    expr: %q # %s\n", i, q.expr, q.where)
	}
	path := filepath.Join(t.TempDir(), "dashboards.yml")
	write(t, path, text, 0o644)
	promtool(t, "check", "rules", path)
}

func TestAlertsFireWhenTheyShould(t *testing.T) {
	if testing.Short() {
		t.Skip("short: whether each alert fires when it should was not tested")
	}
	promtool(t, "test", "rules", rulesTest)
}

func TestAlertmanagerRoutesByTheSeveritiesOfTheRules(t *testing.T) {
	const untested = "that Alertmanager reads the routes, and where each severity goes"
	checker(t, "amtool", untested, "check-config", routes)
	for severity, want := range map[string]string{"critical": "on-call", "warning": "team", "info": "channel"} {
		checker(t, "amtool", untested, "config", "routes", "test", "--config.file", routes, "--verify.receivers="+want,
			"alertname=PghaNoWriter", "cluster=orders", "severity="+severity)
	}
}

// An inhibition of an alert that has another name now does nothing, and one by a label that neither side has silences all
// of its targets.
func TestInhibitionsAreBetweenAlertsThatExist(t *testing.T) {
	type inhibition struct {
		Source []string `yaml:"source_matchers"`
		Target []string `yaml:"target_matchers"`
		Equal  []string
	}
	var doc struct {
		Inhibitions []inhibition `yaml:"inhibit_rules"`
	}
	if err := yaml.Unmarshal([]byte(read(t, routes)), &doc); err != nil || len(doc.Inhibitions) < 5 {
		t.Fatalf("%d inhibitions, %v", len(doc.Inhibitions), err)
	}
	for _, in := range doc.Inhibitions {
		if !slices.Contains(in.Equal, "cluster") {
			t.Errorf("%q inhibits other clusters' %q", in.Source, in.Target)
		}
		for _, m := range slices.Concat(in.Source, in.Target) {
			for name := range strings.SplitSeq(strings.Join(submatches(`^alertname =~? "([^"]+)"$`, m), ""), "|") {
				_, block, known := strings.Cut(read(t, rules), "- alert: "+name+"\n")
				if !known {
					t.Errorf("matcher %q: no alert %q", m, name)
				}
				expr, _, _ := strings.Cut(block, "labels:")
				for _, label := range in.Equal {
					if !regexp.MustCompile(`\bby \([^)]*\b` + label + `\b`).MatchString(expr) {
						t.Errorf("inhibition of %q by %q: alert %s has no label %s", in.Target, in.Source, name, label)
					}
				}
			}
		}
	}
}

// submatches returns the first group of each match.
func submatches(re, text string) []string {
	var out []string
	for _, m := range regexp.MustCompile(re).FindAllStringSubmatch(text, -1) {
		out = append(out, m[1])
	}
	return out
}

func alertNames(t *testing.T) []string {
	names := submatches(`(?m)^ +- alert: (\w+)$`, read(t, rules))
	if len(names) < 20 {
		t.Fatalf("only %d alerts found: has the form of %s changed?", len(names), rules)
	}
	return names
}

func TestEveryAlertIsComplete(t *testing.T) {
	blocks := strings.Split(read(t, rules), "- alert: ")[1:]
	if len(blocks) != len(alertNames(t)) {
		t.Fatalf("%d blocks, %d alerts", len(blocks), len(alertNames(t)))
	}
	for _, b := range blocks {
		name, _, _ := strings.Cut(b, "\n")
		for _, want := range []string{
			`labels: \{ severity: (critical|warning|info) \}`, `summary: "[A-Z].+"`, `description: '.*\{\{ \$labels\.cluster \}\}.+'`,
			`runbook_url: https://github\.com/pgha/pgha-agent/blob/HEAD/docs/runbook\.md#` + strings.ToLower(name) + `\n`,
		} {
			if !regexp.MustCompile(want).MatchString(b) {
				t.Errorf("%s lacks %s", name, want)
			}
		}
		// A host and port is no name: at most what stands in when no agent has told one.
		if strings.Count(b, "{{ $labels.instance }}") != strings.Count(b, "{{ else }}{{ $labels.instance }}") {
			t.Errorf("%s names an instance instead of the node", name)
		}
	}
}

// One definition of the writer, of the agents and of their names: everything else goes by the recordings.
func TestRulesAndDashboardsGoByTheRecordings(t *testing.T) {
	_, alerts, _ := strings.Cut(read(t, rules), "# ---- What clients feel")
	exprs := map[string]string{"the alerts": alerts}
	for _, q := range queries(t) {
		exprs[q.where] += q.expr + "\n"
	}
	raw := regexp.MustCompile(`(?:^|[^:\w])(pgha_local_writer|pgha_node_info|up)\b(?:[^:\w]|$)`)
	for where, expr := range exprs {
		expr = regexp.MustCompile(`(?m)^ *#.*$|^ *(?:summary|description):.*$`).ReplaceAllString(expr, "")
		for _, m := range raw.FindAllStringSubmatch(expr, -1) {
			t.Errorf("%s: %s itself, instead of its recording", where, m[1])
		}
	}
}

// Whether the tests hold is promtool's to say; here, that there is one for each side of each alert.
func TestEveryAlertHasATestThatFiresAndOneThatDoesNot(t *testing.T) {
	fires, silent := map[string]bool{}, map[string]bool{}
	for _, test := range strings.Split(read(t, rulesTest), "  - name: ")[1:] {
		for _, c := range strings.Split(test, "- expr: ")[1:] {
			// The series of cluster "good" are the case that must not fire; the samples list all that did.
			for _, name := range submatches(`^count by \(alertname, cluster\) \(ALERTS\{alertname="(\w+)"`, c) {
				found := strings.Contains(c, `labels: '{alertname="`+name+`"`)
				fires[name] = fires[name] || found
				silent[name] = silent[name] || !found || strings.Contains(test, `cluster="good"`) &&
					!strings.Contains(c, `cluster="good"`)
			}
		}
	}
	for _, name := range alertNames(t) {
		if !fires[name] || !silent[name] {
			t.Errorf("%s: a test where it fires: %t, and one where it must not: %t", name, fires[name], silent[name])
		}
	}
}

func TestRunbookHasASectionForEachAlert(t *testing.T) {
	alerts, sections := alertNames(t), submatches(`(?m)^#+ (Pgha\w+)$`, read(t, runbook))
	slices.Sort(alerts)
	slices.Sort(sections)
	if diff := cmp.Diff(alerts, sections); diff != "" {
		t.Errorf("alerts of %s (-) and sections of %s (+):\n%s", rules, runbook, diff)
	}
	for _, s := range strings.Split(read(t, runbook), "\n### ")[1:] {
		name, _, _ := strings.Cut(s, "\n")
		for _, part := range []string{"**Means.**", "**Clients.**", "**Look.**", "**Do.**", "**Don't.**"} {
			if !strings.Contains(s, part) {
				t.Errorf("section %s has no %s", name, part)
			}
		}
	}
}

// documented is what docs/metrics.md says: each metric with its labels, and the values of those labels that it lists.
type documented struct {
	labels map[string][]string // metric: labels
	values map[string][]string // "metric/label": values; absent when the document lists none
}

func documentedMetrics(t *testing.T) documented {
	t.Helper()
	d := documented{map[string][]string{}, map[string][]string{}}
	text := read(t, metricsDoc)
	for _, m := range regexp.MustCompile("(?m)^\\| `(pgha_\\w+)` \\| (\\w+) \\| ([^|]*) \\|").FindAllStringSubmatch(text,
		-1) {
		labels := strings.Fields(strings.ReplaceAll(m[3], ",", " "))
		d.labels[m[1]] = labels
		if m[2] == "histogram" {
			d.labels[m[1]+"_sum"], d.labels[m[1]+"_count"], d.labels[m[1]+"_bucket"] = labels, labels,
				append(slices.Clone(labels), "le")
		}
	}
	for _, m := range regexp.MustCompile("(?m)^- \\*\\*(\\w+) of `(pgha_\\w+)`\\*\\*: (.*)$").FindAllStringSubmatch(text,
		-1) {
		values := strings.Split(m[3], ", ")
		for _, suffix := range []string{"", "_bucket", "_count", "_sum"} {
			d.values[m[2]+suffix+"/"+m[1]] = values
		}
	}
	for _, recorded := range submatches(`(?m)^ +- record: (\S+)$`, read(t, rules)) {
		d.labels[recorded] = []string{"node", "record"} // at most
	}
	if len(d.labels) < 40 || len(d.values) < 5 {
		t.Fatalf("%d metrics, %d lists of values: has the form of %s changed?", len(d.labels), len(d.values), metricsDoc)
	}
	return d
}

// A selector is a metric, or our recording of one, with its matchers; %q stands in templates of annotations.
var (
	selector = regexp.MustCompile(`\b((?:\w+:)?pgha_\w+(?::\w+)?)(?:\{([^}]*)\})?`)
	matcher  = regexp.MustCompile(`(\w+)\s*(=~|!~|!=|=)\s*(?:"([^"]*)"|%q)`)
)

// check returns what an expression says that the documents do not know.
func (d documented) check(expr string) []string {
	var wrong []string
	for _, m := range selector.FindAllStringSubmatch(expr, -1) {
		labels, known := d.labels[m[1]]
		if !known {
			wrong = append(wrong, "no metric "+m[1])
			continue
		}
		for _, l := range matcher.FindAllStringSubmatch(m[2], -1) {
			label := l[1]
			if label == "cluster" || label == "instance" || label == "job" {
				continue // from the scrape configuration
			}
			if !slices.Contains(labels, label) {
				wrong = append(wrong, fmt.Sprintf("%s has no label %s", m[1], label))
			}
			for value := range strings.SplitSeq(l[3], "|") {
				if list, ok := d.values[m[1]+"/"+label]; ok && value != "" && !strings.HasPrefix(value, "$") &&
					!slices.Contains(list, value) {
					wrong = append(wrong, fmt.Sprintf("%s: %s is never %q", m[1], label, value))
				}
			}
		}
	}
	return wrong
}

func TestCheckFindsWhatIsNotDocumented(t *testing.T) {
	d := documentedMetrics(t)
	for expr, want := range map[string]int{
		`pgha_local_writer == 1`: 0, `pgha_locl_writer`: 1, `pgha_publication{state="held"}`: 0,
		`pgha_publication{state=~"held|writeing"}`: 1,
		`pgha_publication{stat="held"}`:            1, `pgha_failover_phase_seconds_bucket{phase="complete",le="60"}`: 0,
		`cluster:pgha_local_writer:sum > 1`: 0, `pgha_episodes_total{cause!="nobody"}`: 1,
	} {
		if got := d.check(expr); len(got) != want {
			t.Errorf("%s: %d objections %q, want %d", expr, len(got), got, want)
		}
	}
}

func TestRulesNameMetricsThatExist(t *testing.T) {
	for _, file := range []string{rules, rulesTest} {
		// Comments may name what they like.
		text := regexp.MustCompile(`(?m)^ *#.*$`).ReplaceAllString(read(t, file), "")
		for _, wrong := range documentedMetrics(t).check(text) {
			t.Errorf("%s: %s", file, wrong)
		}
	}
}

// The label values that docs/metrics.md does not list come from the code.
func TestRulesNameSourcesAndReasonsThatExist(t *testing.T) {
	var code string
	for _, file := range []string{"agent/metrics/metrics.go", "agent/metrics/state.go", "agent/status/snapshot.go",
		"drbd/states.go", "route53/errors.go"} {
		code += read(t, "../"+file)
	}
	text := read(t, rules)
	for _, file := range dashboards(t) {
		text += strings.ReplaceAll(read(t, file), `\"`, `"`)
	}
	for _, m := range regexp.MustCompile(`\b(source|reason|state|status|role)(?:=~|!~|!=|=)"([^"$]*)"`).FindAllStringSubmatch(text, -1) {
		for value := range strings.SplitSeq(m[2], "|") {
			if !strings.Contains(code, `"`+value+`"`) && !strings.Contains(read(t, metricsDoc), value) {
				t.Errorf("%s: %q is in no source file", m[0], value)
			}
		}
	}
}

// The rules know an agent by its job's name before it has ever answered.
func TestRulesKnowTheJobOfTheScrapeConfiguration(t *testing.T) {
	matchers := submatches(`job=~"([^"]+)"`, read(t, rules))
	if len(matchers) != 1 {
		t.Fatalf("jobs %q in the rules, want one place", matchers)
	}
	jobs := submatches(`(?m)^ *- job_name: (\S+)`, read(t, scrape)+read(t, "../docs/install.md"))
	if len(jobs) < 2 {
		t.Fatalf("jobs %q", jobs)
	}
	for _, job := range jobs {
		if !regexp.MustCompile("^(?:" + matchers[0] + ")$").MatchString(job) {
			t.Errorf("job %q is not one of %s", job, matchers[0])
		}
	}
}

func dashboards(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("grafana/*.json")
	if err != nil || len(files) < 2 {
		t.Fatalf("dashboards: %q, %v", files, err)
	}
	return files
}

// dashboard is what the tests read of one.
type dashboard struct {
	Title, UID    string
	SchemaVersion int
	Panels        []panel
	Templating    struct {
		List []struct{ Name, Type string }
	}
	Annotations struct {
		List []struct {
			Name, Expr, TitleFormat, TextFormat string
			Datasource                          struct{ UID string }
		}
	}
}

type panel struct {
	ID          int
	Title, Type string
	Datasource  *struct{ UID string }
	GridPos     struct{ H, W, X, Y int }
	FieldConfig struct {
		Defaults struct {
			Unit       string
			Thresholds struct {
				Steps []struct {
					Color string
					Value float64
				}
			}
			Links []struct{ URL string }
		}
		Overrides []struct {
			Matcher    struct{ ID, Options string }
			Properties []struct {
				ID    string
				Value json.RawMessage
			}
		}
	}
	Targets []struct{ Expr, LegendFormat string }
}

// board reads a dashboard.
func board(t *testing.T, file string) dashboard {
	t.Helper()
	var b dashboard
	if err := json.Unmarshal([]byte(read(t, file)), &b); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	return b
}

func TestDashboardsAreSound(t *testing.T) {
	d := documentedMetrics(t)
	for _, file := range dashboards(t) {
		t.Run(filepath.Base(file), func(t *testing.T) {
			board := board(t, file)
			if len(board.Annotations.List) == 0 {
				t.Error("no annotations of episodes")
			}
			for _, a := range board.Annotations.List {
				if a.Datasource.UID != "${datasource}" || !strings.Contains(a.Expr, "$cluster") ||
					!strings.Contains(a.TextFormat, "{{cluster}}") {
					t.Errorf("annotation %q mixes all clusters, or asks another datasource: %+v", a.Name, a)
				}
			}
			if board.Title == "" || board.UID == "" || board.SchemaVersion < 36 {
				t.Errorf("title %q, uid %q, schema version %d", board.Title, board.UID, board.SchemaVersion)
			}
			var vars []string
			for _, v := range board.Templating.List {
				vars = append(vars, v.Name+" "+v.Type)
			}
			if !slices.Contains(vars, "datasource datasource") || !slices.Contains(vars, "cluster query") {
				t.Errorf("variables %q", vars)
			}
			ids := map[int]bool{}
			for i, p := range board.Panels {
				if ids[p.ID] || p.ID == 0 {
					t.Errorf("panel %q: id %d is not its own", p.Title, p.ID)
				}
				ids[p.ID] = true
				if p.Title == "" || p.FieldConfig.Defaults.Unit == "" || len(p.Targets) == 0 {
					t.Errorf("panel %d %q: unit %q, %d targets", p.ID, p.Title, p.FieldConfig.Defaults.Unit, len(p.Targets))
				}
				if p.Datasource == nil || p.Datasource.UID != "${datasource}" {
					t.Errorf("panel %d %q does not ask the datasource of the variable", p.ID, p.Title)
				}
				for _, target := range p.Targets {
					if !strings.Contains(target.Expr, "$cluster") {
						t.Errorf("panel %d %q mixes all clusters: %s", p.ID, p.Title, target.Expr)
					}
					// With All chosen, two clusters may have nodes, phases or reasons of the same name.
					if p.Type != "table" && !strings.Contains(target.LegendFormat, "{{cluster}}") ||
						strings.Contains(target.LegendFormat, "{{instance}}") {
						t.Errorf("panel %d %q: legend %q lacks the cluster, or names no node", p.ID, p.Title, target.LegendFormat)
					}
					for _, wrong := range d.check(target.Expr) {
						t.Errorf("panel %d %q: %s", p.ID, p.Title, wrong)
					}
				}
				for _, q := range board.Panels[:i] {
					if a, b := p.GridPos, q.GridPos; a.X < b.X+b.W && b.X < a.X+a.W && a.Y < b.Y+b.H && b.Y < a.Y+a.H {
						t.Errorf("panels %d and %d overlap", p.ID, q.ID)
					}
				}
			}
		})
	}
}

// A line or a color of a dashboard, and the rule that it stands for.
func TestDashboardsHaveTheThresholdsOfTheRules(t *testing.T) {
	steps := map[string][]float64{}
	for _, p := range board(t, "grafana/cluster.json").Panels {
		for _, s := range p.FieldConfig.Defaults.Thresholds.Steps {
			steps[p.Title] = append(steps[p.Title], s.Value)
		}
	}
	for _, c := range []struct {
		panel string
		line  float64
		alert string
		rule  string // what the alert's expression says
	}{
		{"Filesystems of the database: left", 0.1, "PghaFilesystemFilling", "pgha_filesystem_size_bytes) < 0.1\n"},
		{"Filesystems of the database: full in", 4 * 3600, "PghaFilesystemFilling", "full_in_seconds < 4 * 3600\n"},
		{"Commits: for how long they hang", 30, "PghaCommitsHang", "flush_stall_seconds) > 30\n"},
		{"Commits: for how long they hang", 30, "PghaCommitsHang", "sync_wait_seconds) > 30\n"},
		{"crm_mon: mean time of a run", 2.5, "PghaCrmSlow", ") > 2.5\n"},
		{"Failover phases: mean since the agents started", 60, "PghaFailoverSlow", `le=~"60|60.0"`},
	} {
		if got := steps[c.panel]; !slices.Equal(got, []float64{0, c.line}) {
			t.Errorf("panel %q: steps %v, want one at %v", c.panel, got, c.line)
		}
		_, block, _ := strings.Cut(read(t, rules), "- alert: "+c.alert+"\n")
		if expr, _, _ := strings.Cut(block, "for:"); !strings.Contains(expr, c.rule) {
			t.Errorf("%s does not say %q any more: panel %q shows %v", c.alert, c.rule, c.panel, c.line)
		}
	}
}

// A click on a cluster leads to its dashboard, with the same data source and time.
func TestFleetDashboardLinksToTheCluster(t *testing.T) {
	target := "/d/" + board(t, "grafana/cluster.json").UID + "?var-cluster="
	for _, p := range board(t, "grafana/fleet.json").Panels {
		var links []string
		for _, l := range p.FieldConfig.Defaults.Links {
			links = append(links, l.URL)
		}
		for _, o := range p.FieldConfig.Overrides {
			for _, property := range o.Properties {
				if o.Matcher.ID == "byName" && o.Matcher.Options == "cluster" && property.ID == "links" {
					links = append(links, submatches(`"url": *"([^"]+)"`, string(property.Value))...)
				}
			}
		}
		if len(links) != 1 || !strings.HasPrefix(links[0], target) || !strings.Contains(links[0], "${datasource:queryparam}") ||
			!strings.Contains(links[0], "${__url_time_range}") {
			t.Errorf("panel %d %q: links %q", p.ID, p.Title, links)
		}
	}
}
