package crm

import (
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files anew")

// TestMain gives this process a zone that is not UTC: the times of crm_mon must not follow it.
func TestMain(m *testing.M) {
	flag.Parse()
	time.Local = time.FixedZone("CET", 3600)
	os.Exit(m.Run())
}

func read(t testing.TB, name string) []byte {
	t.Helper()
	doc, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

func parse(t *testing.T, name string) *Status {
	t.Helper()
	s, err := Parse(read(t, name))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestDocumentsOfEachVersionGiveTheirDump(t *testing.T) {
	files, _ := filepath.Glob("testdata/*.xml")
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			s, err := Parse(read(t, filepath.Base(file)))
			var dump any
			if err != nil {
				dump = NewErrorDump(err)
			} else {
				dump = s
			}
			compareGolden(t, strings.TrimSuffix(file, ".xml")+".golden.json", dump)
		})
	}
}

// Each field that may be null is null in one golden file and something in another, and the others are never null.
func TestGoldenFilesShowWhatEachFieldMayBe(t *testing.T) {
	type rows []map[string]any
	seen := map[string]map[bool]bool{} // section and field -> whether it is null
	files, _ := filepath.Glob("testdata/*.golden.json")
	for _, file := range files {
		var doc struct {
			Nodes, Failures, Bans, Attributes, Operations rows
			FenceEvents                                   rows `json:"fence_events"`
			FailCounts                                    rows `json:"fail_counts"`
			Resources                                     struct{ List rows }
		}
		_ = json.Unmarshal(read(t, filepath.Base(file)), &doc)
		for kind, list := range map[string]rows{
			"Node": doc.Nodes, "Failure": doc.Failures, "Ban": doc.Bans, "Attribute": doc.Attributes,
			"Operation": doc.Operations, "FenceEvent": doc.FenceEvents, "FailCount": doc.FailCounts,
			"Resource": doc.Resources.List,
		} {
			for _, row := range list {
				for name, value := range row {
					key := kind + "." + name
					if seen[key] == nil {
						seen[key] = map[bool]bool{}
					}
					seen[key][value == nil] = true
				}
			}
		}
	}
	for _, of := range []any{Node{}, Resource{}, Failure{}, FenceEvent{}, Ban{}, FailCount{}, Attribute{}, Operation{}} {
		for field := range reflect.TypeOf(of).Fields() {
			name := field.Tag.Get("json")
			if name == "-" {
				continue
			}
			_, unknown := field.Tag.Lookup("unknown")
			null := unknown || field.Type == reflect.TypeFor[Tri]() || field.Type == reflect.TypeFor[time.Time]()
			key := reflect.TypeOf(of).Name() + "." + name
			if !seen[key][false] || seen[key][true] != null {
				t.Errorf("%s: null %v and not null %v in the golden files; may be null: %v",
					key, seen[key][true], seen[key][false], null)
			}
		}
	}
}

// compareGolden compares what was read of a recording with its golden file, or writes it with -update.
func compareGolden(t *testing.T, golden string, dump any) {
	t.Helper()
	got, err := json.MarshalIndent(dump, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(golden, append(got, '\n'), 0o644); err != nil { //nolint:gosec // A test's own file.
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)+"\n"); diff != "" {
		t.Error(diff)
	}
}

func TestDocumentsWithoutDataAreErrors(t *testing.T) {
	for name, test := range map[string]struct {
		doc    string
		noData bool
		code   int // of a StatusError
		text   string
	}{
		"nothing":          {doc: "", text: "no XML element"},
		"blank":            {doc: " \n", text: "no XML element"},
		"text":             {doc: "Error: cluster is not available", text: `begins "Error: cluster is not available`},
		"terminal escapes": {doc: "\x1b[31mred\x00" + strings.Repeat("ä", 100), text: `\x1b[31mred\x00\u00e4`},
		"other root":       {doc: "<cib/>", text: "root element is"},
		"two roots":        {doc: "<crm_mon><nodes/></crm_mon><crm_mon/>", text: "second root"},
		"text after root":  {doc: "<crm_mon><nodes/></crm_mon>warning", text: "outside the root"},
		"crossed tags":     {doc: "<crm_mon><nodes></crm_mon></nodes>", text: "XML"},
		"too deep":         {doc: strings.Repeat("<crm_mon>", 80) + strings.Repeat("</crm_mon>", 80), text: "depth"},
		"too large":        {doc: "<crm_mon>" + strings.Repeat(" ", MaxDocument) + "</crm_mon>", text: "larger than"},
		"custom entity":    {doc: `<!DOCTYPE a [<!ENTITY x "y">]><crm_mon><nodes>&x;</nodes></crm_mon>`, text: "entity"},
		"legacy, empty":    {doc: `<crm_mon version="3.0.0"/>`, noData: true},
		"OK, empty":        {doc: `<pacemaker-result><status code="0" message="OK"/></pacemaker-result>`, noData: true},
		"OK, only errors": {
			doc: `<pacemaker-result><status code="0" message="OK"><errors><error>no CIB</error></errors></status>` +
				`</pacemaker-result>`,
			noData: true, text: "no CIB",
		},
		"no status at all": {doc: `<pacemaker-result/>`, noData: true},
		"code no number":   {doc: `<pacemaker-result><nodes/><status code="x"/></pacemaker-result>`, text: "not a number"},
		"not connected": {
			doc: `<pacemaker-result><status code="102" message="Not connected">` +
				`<errors><error>a</error><error>b</error></errors></status></pacemaker-result>`,
			code: 102, text: "Not connected (code 102): a; b",
		},
		"failed after data": {
			doc:  `<pacemaker-result><nodes/><status code="124" message="Timeout occurred"/></pacemaker-result>`,
			code: 124, text: "Timeout",
		},
		"disconnected": {
			doc: `<pacemaker-result><crm-mon-disconnected description="Waiting until cluster is available" ` +
				`pacemakerd-state="starting_daemons"/><nodes/></pacemaker-result>`,
			noData: true, text: "starting_daemons",
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := Parse([]byte(test.doc))
			if s != nil || err == nil {
				t.Fatalf("Parse = %v, %v", s, err)
			}
			if errors.Is(err, ErrNoData) != test.noData {
				t.Errorf("errors.Is(%v, ErrNoData) = %v", err, !test.noData)
			}
			var said *StatusError
			if errors.As(err, &said) && said.Code != test.code || said == nil && test.code != 0 {
				t.Errorf("err = %#v, want code %d", err, test.code)
			}
			if !strings.Contains(err.Error(), test.text) {
				t.Errorf("err = %q, want %q in it", err, test.text)
			}
			if len(err.Error()) > 600 {
				t.Errorf("error of %d bytes", len(err.Error()))
			}
		})
	}
}

func TestCutDocumentIsAnErrorWhereverItIsCut(t *testing.T) {
	doc := strings.TrimSpace(string(read(t, "hand-3.0.xml")))
	for i := range len(doc) {
		if s, err := Parse([]byte(doc[:i])); err == nil {
			t.Fatalf("cut at %d: %v", i, s)
		}
	}
}

func TestAbsentSectionsAreNilAndEmptyOnesAreNot(t *testing.T) {
	absent := parse(t, "hand-absent.xml")
	present := parse(t, "hand-empty.xml")
	for i := range reflect.TypeFor[Status]().NumField() {
		field := reflect.TypeFor[Status]().Field(i)
		if field.Type.Kind() != reflect.Slice || field.Name == "Errors" {
			continue
		}
		if !reflect.ValueOf(*absent).Field(i).IsNil() {
			t.Errorf("%s is not nil without its section", field.Name)
		}
		if v := reflect.ValueOf(*present).Field(i); v.IsNil() || v.Len() != 0 {
			t.Errorf("%s = %v with an empty section", field.Name, v)
		}
	}
}

func TestTimesAreReadInEveryPrintedForm(t *testing.T) {
	for text, want := range map[string]string{
		"Thu Aug  4 10:49:31 2011":     "2011-08-04T10:49:31Z",
		"Mon Nov 23 00:32:25 2026":     "2026-11-23T00:32:25Z",
		"Mon Nov 23 00:32:25 UTC 2026": "2026-11-23T00:32:25Z",
		"Mon Nov 23 00:32:25 CET 2026": "",
		"2026-11-23 01:11:03Z":         "2026-11-23T01:11:03Z",
		"2026-11-23 01:11:03.253165Z":  "2026-11-23T01:11:03.253165Z",
		"2026-11-23 01:11:03 +02:00":   "2026-11-22T23:11:03Z",
		"2026-11-23 01:11:03 -05:30":   "2026-11-23T06:41:03Z",
		"2026-11-23 01:11:03.5":        "2026-11-23T01:11:03.5Z",
		"2026-11-23T01:11:03Z":         "2026-11-23T01:11:03Z",
		"1970-01-01 00:00:00Z":         "",
		"1970-01-01 01:00:00 +01:00":   "",
		"Thu Jan  1 01:00:00 1970":     "",
		"":                             "",
		"{{RECENT_TIMESTAMP}}":         "",
		"2026-13-45 99:00:00Z":         "",
	} {
		got := ""
		if at := parseTime(text); !at.IsZero() {
			got = at.UTC().Format(time.RFC3339Nano)
		}
		if got != want {
			t.Errorf("parseTime(%q) = %q, want %q", text, got, want)
		}
	}
}

func TestOperationKeysAreTakenApart(t *testing.T) {
	for _, test := range []struct{ key, task, resource, want string }{
		{"st_demote_0", "demote", "st", "demote"},
		{"test-vm_migrate_to_0", "", "test-vm", "migrate_to"},
		{"a_b_migrate_from_0", "", "a_b", "migrate_from"},
		{"my_ip_monitor_10000", "", "my_ip", "monitor"},
		{"st_post_notify_promote_0", "notify", "st", "notify"},
		{"st_pre_notify_start_0", "", "st", "notify"},
		{"no-key", "start", "no-key", ""},
		{"a_b", "", "a_b", ""},
		{"_0", "", "", ""},
		{"", "", "", ""},
	} {
		if resource, task := splitOpKey(test.key, test.task); resource != test.resource || task != test.want {
			t.Errorf("splitOpKey(%q, %q) = %q, %q, want %q, %q", test.key, test.task, resource, task, test.resource, test.want)
		}
	}
}

func FuzzParse(f *testing.F) {
	files, _ := filepath.Glob("testdata/*.xml")
	for _, file := range files {
		f.Add(read(f, filepath.Base(file)))
	}
	f.Fuzz(func(t *testing.T, doc []byte) {
		s, err := Parse(doc)
		if (s == nil) == (err == nil) {
			t.Fatalf("Parse = %v, %v: want one of them", s, err)
		}
		if err != nil {
			_ = mustJSON(t, NewErrorDump(err))
			return
		}
		d := roundTrip(t, s)
		if s.Resources != nil && d.Resources.Count != len(d.Resources.List) {
			t.Fatalf("%d instances, %d listed", d.Resources.Count, len(d.Resources.List))
		}
		for id, nodes := range d.Promoted {
			if !slices.Equal(nodes, s.Promoted(id)) || !slices.Equal(d.Unpromoted[id], s.Unpromoted(id)) {
				t.Fatalf("%q: %v and %v printed, want %v and %v", id, nodes, d.Unpromoted[id], s.Promoted(id), s.Unpromoted(id))
			}
		}
		if e := s.Elements; e.Started+e.Stopped+e.Promoted+e.Unpromoted+e.OtherRoles != e.Total {
			t.Fatalf("counts do not add up: %+v", e)
		}
		for _, n := range s.Nodes {
			_, _ = s.LastFence(n.Name)
			_, _ = s.PendingFence(n.Name)
			for _, id := range s.PromotableClones {
				_, _ = s.PromoteOp(id, n.Name)
			}
		}
		_ = s.FenceBans()
	})
}
