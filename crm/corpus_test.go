package crm

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// corpus returns the folder with recordings of real tools, which is no part of the repository.
func corpus(t *testing.T, missing string) string {
	t.Helper()
	dir := os.Getenv("PGHA_CORPUS")
	if dir == "" {
		root, err := os.Getwd()
		if err != nil {
			t.Fatal(err)
		}
		for {
			if _, err := os.Stat(filepath.Join(root, "go.mod")); err == nil {
				break
			}
			if root == filepath.Dir(root) {
				t.Fatal("no go.mod above the test")
			}
			root = filepath.Dir(root)
		}
		dir = filepath.Join(root, "..", "shared", "corpus")
	}
	if _, err := os.Stat(filepath.Join(dir, "open", "index.tsv")); err != nil {
		t.Skip("no corpus of real outputs (set PGHA_CORPUS): not tested " + missing)
	}
	return dir
}

// truths reads index.tsv: one map of column to value per file of that kind.
func truths(t *testing.T, dir, kind string) []map[string]string {
	t.Helper()
	f, err := os.Open(filepath.Join(dir, "open", "index.tsv"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var head []string
	var rows []map[string]string
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		cells := strings.Split(lines.Text(), "\t")
		if head == nil {
			head = cells
			continue
		}
		row := map[string]string{}
		for i, name := range head {
			row[name] = cells[i]
		}
		if row["kind"] == kind {
			rows = append(rows, row)
		}
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	if len(rows) == 0 {
		t.Fatalf("no rows of kind %s", kind)
	}
	return rows
}

var anySection = regexp.MustCompile(
	`<(summary|nodes|resources|node_history|node_attributes|failures|fence_history|bans)\b`)

func TestCorpusDocumentsMatchTheirGroundTruth(t *testing.T) {
	dir := corpus(t, "661 crm_mon documents against their ground truth")
	compared := map[string]int{}
	for _, row := range truths(t, dir, "crm_mon") {
		doc, err := os.ReadFile(filepath.Join(dir, "open", row["file"]))
		if err != nil {
			t.Fatal(err)
		}
		t.Run(row["file"], func(t *testing.T) {
			s, err := Parse(doc)
			if (s == nil) == (err == nil) {
				t.Fatalf("Parse = %v, %v: want one of them", s, err)
			}
			var said *StatusError
			if code := row["status_code"]; code != "" && code != "0" {
				if !errors.As(err, &said) || strconv.Itoa(said.Code) != code || said.Message != row["status_message"] ||
					strconv.Itoa(len(said.Errors)) != row["errors"] {
					t.Fatalf("err = %v, want code %s, %q, %s errors", err, code, row["status_message"], row["errors"])
				}
				return
			}
			if !anySection.Match(doc) {
				if !errors.Is(err, ErrNoData) {
					t.Fatalf("err = %v, want ErrNoData", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			d := roundTrip(t, s)
			for column, got := range columns(d, row) {
				want := row[column]
				compared[column]++
				if column == "promotable" && want == "" {
					want = "{}" // the index does not tell "none" from "section absent"
				}
				if column == "stonith_enabled" && want == "" {
					want = row["fencing_enabled_attr"] // the same option in 3.0.2 and later
				}
				if column == "fence_events" && row["fence_history_status"] != "" {
					want = "" // the fencer could not be asked: not known, where the index counts 0
				}
				if got != want {
					t.Errorf("%s = %q, want %q", column, got, want)
				}
			}
		})
	}
	for _, column := range slices.Sorted(maps.Keys(compared)) {
		t.Logf("%s: %d documents", column, compared[column])
	}
}

// printed is a part of the JSON form of a Status, as its reader knows it from docs/json.md.
type printed struct {
	PacemakerVersion *string             `json:"pacemaker_version"`
	DC               *string             `json:"dc"`
	Quorum           *bool               `json:"quorum"`
	FencingEnabled   *bool               `json:"fencing_enabled"`
	MaintenanceMode  *bool               `json:"maintenance_mode"`
	NoQuorumPolicy   *string             `json:"no_quorum_policy"`
	Promoted         map[string][]string `json:"promoted"`
	Unpromoted       map[string][]string `json:"unpromoted"`
	Resources        *struct {
		Count    int
		Elements ElementCounts
		List     []any
	} `json:"resources"`
	Nodes []struct {
		Name                                               string
		Type                                               *string
		Online, Unclean, Standby, Maintenance, Pending, DC *bool
		StandbyOnFail                                      *bool `json:"standby_onfail"`
		Shutdown                                           *bool
	} `json:"nodes"`
	Failures    []any `json:"failures"`
	FenceEvents []any `json:"fence_events"`
	Bans        []any `json:"bans"`
	Errors      []any `json:"errors"`
}

// roundTrip is what a reader of the JSON gets to see.
func roundTrip(t *testing.T, s *Status) *printed {
	t.Helper()
	out := new(printed)
	if err := json.Unmarshal([]byte(mustJSON(t, s)), out); err != nil {
		t.Fatal(err)
	}
	return out
}

// columns computes the index's columns from the JSON form alone.
func columns(d *printed, row map[string]string) map[string]string {
	yes := func(b *bool) bool { return b != nil && *b }
	opt := func(s *string) string {
		if s == nil {
			return ""
		}
		return *s
	}
	tristate := func(b *bool) string {
		if b == nil {
			return ""
		}
		return strconv.FormatBool(*b)
	}
	length := func(n int, absent bool) string {
		if absent {
			return ""
		}
		return strconv.Itoa(n)
	}
	got := map[string]string{
		"dc_name": opt(d.DC), "with_quorum": tristate(d.Quorum), "maintenance_mode": tristate(d.MaintenanceMode),
		"no_quorum_policy": opt(d.NoQuorumPolicy), "pcmk_version": opt(d.PacemakerVersion),
		"has_nodes": strconv.FormatBool(d.Nodes != nil), "has_resources": strconv.FormatBool(d.Promoted != nil),
		"failures": length(len(d.Failures), d.Failures == nil), "bans": length(len(d.Bans), d.Bans == nil),
		"fence_events":    length(len(d.FenceEvents), d.FenceEvents == nil),
		"stonith_enabled": tristate(d.FencingEnabled),
	}
	if row["errors"] != "" {
		got["errors"] = strconv.Itoa(len(d.Errors))
	}
	nodes := map[string]int{}
	var states []string
	for _, n := range d.Nodes {
		var s string
		for _, a := range []struct {
			column, letter string
			set            bool
		}{
			{"online", "O", yes(n.Online)}, {"offline", "", n.Online != nil && !*n.Online}, {"unclean", "U", yes(n.Unclean)},
			{"standby", "S", yes(n.Standby)}, {"standby_onfail", "F", yes(n.StandbyOnFail)},
			{"maintenance", "M", yes(n.Maintenance)},
			{"pending", "P", yes(n.Pending)}, {"shutdown", "D", yes(n.Shutdown)}, {"", "*", yes(n.DC)},
			{"n_member", "", opt(n.Type) == "member"}, {"n_remote", "", opt(n.Type) == "remote"},
			{"n_guest", "", opt(n.Type) == "guest"}, {"n_ping", "", opt(n.Type) == "ping"},
		} {
			if a.set {
				nodes[a.column]++
				s += a.letter
			}
		}
		if s == "" {
			s = "-"
		}
		states = append(states, n.Name+"="+s)
	}
	for _, column := range []string{
		"online", "offline", "unclean", "standby", "standby_onfail", "maintenance", "pending", "shutdown",
		"n_member", "n_remote", "n_guest", "n_ping",
	} {
		got[column] = strconv.Itoa(nodes[column])
	}
	got["nodes"] = strconv.Itoa(len(d.Nodes))
	got["node_states"] = strings.Join(states, " ")

	var e ElementCounts
	if d.Resources != nil {
		e = d.Resources.Elements
	}
	for column, n := range map[string]int{
		"resource_elems": e.Total, "resource_ids": e.IDs, "started": e.Started, "stopped": e.Stopped, "promoted": e.Promoted,
		"unpromoted": e.Unpromoted, "failed": e.Failed, "blocked_res": e.Blocked, "unmanaged": e.Unmanaged,
		"orphaned": e.Orphaned,
	} {
		got[column] = strconv.Itoa(n)
	}
	type side struct {
		Promoted   []string `json:"promoted"`
		Unpromoted []string `json:"unpromoted"`
	}
	clones := map[string]side{}
	for id := range d.Promoted {
		clones[id] = side{d.Promoted[id], d.Unpromoted[id]}
	}
	b, _ := json.Marshal(clones)
	got["promotable"] = spaced(string(b))
	return got
}

// spaced writes JSON the way the index does.
func spaced(s string) string {
	return strings.NewReplacer(`":`, `": `, `",`, `", `, `],`, `], `, `},`, `}, `).Replace(s)
}

func TestCorpusOfOtherOutputsNeverPanics(t *testing.T) {
	dir := corpus(t, "130 results of other Pacemaker tools and one text")
	for _, kind := range []string{"pacemaker_result_other", "crm_mon_nonxml"} {
		for _, row := range truths(t, dir, kind) {
			doc, err := os.ReadFile(filepath.Join(dir, "open", row["file"]))
			if err != nil {
				t.Fatal(err)
			}
			s, err := Parse(doc)
			if (s == nil) == (err == nil) {
				t.Errorf("%s: Parse = %v, %v: want one of them", row["file"], s, err)
			}
			if kind == "crm_mon_nonxml" && err == nil {
				t.Errorf("%s: no error", row["file"])
			}
		}
	}
}

func TestLabRecordingsShowWhatTheirIndexSays(t *testing.T) {
	if n := checkStates(t, filepath.Join("testdata", "lab")); n == 0 {
		t.Error("no recordings")
	}
}

func TestCorpusLabRecordingsShowWhatTheirIndexSays(t *testing.T) {
	dir := corpus(t, "more states of the lab cluster")
	for _, lab := range []string{"lab", "lab9"} {
		checkStates(t, filepath.Join(dir, lab))
	}
}

// checkStates compares the recordings of a folder with what its index says about each: folder, nodes | resources |
// DRBD. It returns how many there are.
func checkStates(t *testing.T, dir string) (n int) {
	t.Helper()
	index, err := os.ReadFile(filepath.Join(dir, "INDEX-states.txt"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(index)) {
		parts := strings.SplitN(line, "|", 3)
		head := strings.Fields(parts[0])
		if len(parts) < 2 || len(head) < 2 {
			continue
		}
		files, _ := filepath.Glob(filepath.Join(dir, head[0], "crm_mon*.xml"))
		if len(files) == 0 {
			t.Errorf("%s/%s: no recording", dir, head[0])
		}
		for _, file := range files {
			doc, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			s, err := Parse(doc)
			if err != nil {
				t.Errorf("%s: %v", file, err)
				continue
			}
			if got, want := nodeWords(s), strings.Join(head[1:], " "); got != want {
				t.Errorf("%s: nodes %q, want %q", file, got, want)
			}
			n++
			roles := map[string]bool{}
			for _, r := range s.Resources {
				roles[r.ID+":"+string(r.Role)] = true
			}
			for word := range strings.FieldsSeq(parts[1]) {
				role, _, _ := strings.Cut(word, "/")
				if !strings.HasPrefix(role, "drbd_pg:") {
					continue // the others move while the recorder runs one command after another
				}
				if !roles[role] {
					t.Errorf("%s: no instance %q", file, role)
				}
			}
		}
	}
	return n
}

// nodeWords writes the nodes as the index does.
func nodeWords(s *Status) string {
	var nodes []string
	for _, n := range s.Nodes {
		var words []string
		for _, w := range []struct {
			name string
			is   Tri
		}{
			{"online", n.Online}, {"standby", n.Standby}, {"maintenance", n.Maintenance}, {"pending", n.Pending},
			{"unclean", n.Unclean}, {"shutdown", n.Shutdown}, {"is_dc", n.DC},
		} {
			if w.is == Yes {
				words = append(words, w.name)
			}
		}
		nodes = append(nodes, n.Name+"="+strings.Join(words, ","))
	}
	return strings.Join(nodes, " ")
}

func TestCorpusAlertsMatchAPlainReading(t *testing.T) {
	dir := corpus(t, "354 alert environments")
	var n int
	read := func(name string, vars map[string]string, env []string) {
		n++
		a, ok, err := AlertFromEnv(env)
		if vars["CRM_alert_version"] == "" && err == nil && !ok {
			return // CRM_notify_* alone
		}
		if err != nil || !ok {
			t.Errorf("%s: %v, %v", name, ok, err)
			return
		}
		number := func(p *int) string {
			if p == nil {
				return ""
			}
			return strconv.Itoa(*p)
		}
		got := map[string]string{
			"kind": a.Kind, "version": a.Version, "recipient": a.Recipient, "node": a.Node, "nodeid": a.NodeID, "desc": a.Desc,
			"task": a.Task, "rsc": a.Resource, "rc": number(a.RC), "target_rc": number(a.TargetRC), "status": number(a.Status),
			"interval": number(a.IntervalMS), "exec_time": number(a.ExecTimeMS), "attribute_name": a.AttributeName,
			"attribute_value": a.AttributeValue,
		}
		for field, value := range got {
			if want := vars["CRM_alert_"+field]; value != want {
				t.Errorf("%s: %s = %q, want %q", name, field, value, want)
			}
		}
		if want := vars["CRM_alert_node_sequence"]; want != "" && strconv.Itoa(a.Sequence) != want {
			t.Errorf("%s: sequence = %d, want %s", name, a.Sequence, want)
		}
		at := ""
		if !a.At.IsZero() {
			at = fmt.Sprintf("%d.%06d", a.At.Unix(), a.At.Nanosecond()/1000)
		}
		want := ""
		if vars["CRM_alert_timestamp_epoch"] != "" {
			want = vars["CRM_alert_timestamp_epoch"] + "." + fmt.Sprintf("%06s", vars["CRM_alert_timestamp_usec"])
		}
		if at != want {
			t.Errorf("%s: at = %q, want %q", name, at, want)
		}
		b, err := json.Marshal(a)
		if err != nil {
			t.Fatal(err)
		}
		if back, err := DecodeAlert(b); err != nil || mustJSON(t, back) != string(b) {
			t.Errorf("%s: round trip: %v, %v", name, back, err)
		}
	}
	for _, row := range truths(t, dir, "alert_env") {
		if filepath.Ext(row["file"]) != ".env" {
			continue // notes
		}
		b, err := os.ReadFile(filepath.Join(dir, "open", row["file"]))
		if err != nil {
			t.Fatal(err)
		}
		vars := map[string]string{}
		var env []string
		for line := range strings.SplitSeq(strings.TrimSuffix(string(b), "\n"), "\n") {
			k, v, _ := strings.Cut(line, "=")
			vars[k] = v
			env = append(env, line)
		}
		read(row["file"], vars, env)
	}
	streams, _ := filepath.Glob(filepath.Join(dir, "open", "alert_stream", "*", "*.jsonl"))
	for _, file := range streams {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(b)) {
			var call struct{ Env map[string]string }
			if err := json.Unmarshal([]byte(line), &call); err != nil {
				t.Fatal(err)
			}
			var env []string
			for k, v := range call.Env {
				env = append(env, k+"="+v)
			}
			read(file, call.Env, env)
		}
	}
	t.Logf("%d alerts", n)
}

func mustJSON(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestCorpusSequencesHaveOnlyTheRestartsThatHappened(t *testing.T) {
	dir := corpus(t, "sequence numbers of a whole cluster run")
	streams, _ := filepath.Glob(filepath.Join(dir, "open", "alert_stream", "*", "*.jsonl"))
	for _, file := range streams {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		last, restarts := map[string]*Sequence{}, map[string]int{}
		for line := range strings.Lines(string(b)) {
			var call struct {
				Env  map[string]string
				Host string
			}
			if err := json.Unmarshal([]byte(line), &call); err != nil {
				t.Fatal(err)
			}
			if last[call.Host] == nil {
				last[call.Host] = &Sequence{}
			}
			n, _ := strconv.Atoi(call.Env["CRM_alert_node_sequence"])
			_, restarted := last[call.Host].Next(n)
			if restarted {
				restarts[call.Host]++
			}
		}
		timeline, err := os.ReadFile(strings.TrimSuffix(file, ".jsonl") + ".timeline.txt")
		if err != nil {
			t.Fatal(err)
		}
		for host := range last {
			started := len(regexp.MustCompile(` start `+host+` pid`).FindAll(timeline, -1))
			if restarts[host] != started-1 {
				t.Errorf("%s: %s: %d restarts, want %d", filepath.Base(file), host, restarts[host], started-1)
			}
		}
	}
}
