package crm

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
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
				dump = NewDump(s)
			}
			compareGolden(t, strings.TrimSuffix(file, ".xml")+".golden.json", dump)
		})
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
		"nothing":           {doc: "", text: "no XML element"},
		"blank":             {doc: " \n", text: "no XML element"},
		"text":              {doc: "Error: cluster is not available on this node", text: `begins "Error: cluster is not available`},
		"terminal escapes":  {doc: "\x1b[31mred\x00" + strings.Repeat("ä", 100), text: `\x1b[31mred\x00\u00e4`},
		"other root":        {doc: "<cib/>", text: "root element is"},
		"two roots":         {doc: "<crm_mon><nodes/></crm_mon><crm_mon/>", text: "second root"},
		"text after root":   {doc: "<crm_mon><nodes/></crm_mon>warning", text: "outside the root"},
		"crossed tags":      {doc: "<crm_mon><nodes></crm_mon></nodes>", text: "XML"},
		"too deep":          {doc: strings.Repeat("<crm_mon>", 80) + strings.Repeat("</crm_mon>", 80), text: "depth"},
		"too large":         {doc: "<crm_mon>" + strings.Repeat(" ", MaxDocument) + "</crm_mon>", text: "larger than"},
		"custom entity":     {doc: `<!DOCTYPE a [<!ENTITY x "y">]><crm_mon><nodes>&x;</nodes></crm_mon>`, text: "entity"},
		"legacy, empty":     {doc: `<crm_mon version="3.0.0"/>`, noData: true},
		"OK, empty":         {doc: `<pacemaker-result><status code="0" message="OK"/></pacemaker-result>`, noData: true},
		"OK, only errors":   {doc: `<pacemaker-result><status code="0" message="OK"><errors><error>no CIB</error></errors></status></pacemaker-result>`, noData: true, text: "no CIB"},
		"no status at all":  {doc: `<pacemaker-result/>`, noData: true},
		"code no number":    {doc: `<pacemaker-result><nodes/><status code="x"/></pacemaker-result>`, text: "not a number"},
		"not connected":     {doc: `<pacemaker-result><status code="102" message="Not connected"><errors><error>a</error><error>b</error></errors></status></pacemaker-result>`, code: 102, text: "Not connected (code 102): a; b"},
		"failed after data": {doc: `<pacemaker-result><nodes/><status code="124" message="Timeout occurred"/></pacemaker-result>`, code: 124, text: "Timeout"},
		"disconnected":      {doc: `<pacemaker-result><crm-mon-disconnected description="Waiting until cluster is available" pacemakerd-state="starting_daemons"/><nodes/></pacemaker-result>`, noData: true, text: "starting_daemons"},
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
	absent, err := Parse([]byte(`<crm_mon><summary/></crm_mon>`))
	if err != nil {
		t.Fatal(err)
	}
	present, err := Parse([]byte(`<crm_mon><nodes/><resources/><node_attributes/><node_history/><failures/><fence_history/><bans/></crm_mon>`))
	if err != nil {
		t.Fatal(err)
	}
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
	if d := NewDump(absent); d.Promoted != nil || d.Resources != nil || d.Nodes != nil {
		t.Errorf("dump guesses: %+v", d)
	}
	if got := mustJSON(t, NewDump(present).Promoted); got != "{}" {
		t.Errorf("promoted = %s", got)
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

// bigDocument has the shape of a document of crm_mon 2.1.5 for a static CIB of 32 nodes and 500 resources with history.
func bigDocument() []byte {
	const nodes, resources = 32, 500
	var b strings.Builder
	b.WriteString(`<pacemaker-result api-version="2.25" request="crm_mon --output-as=xml"><summary><current_dc present="true" version="2.1.5" name="node1" id="1" with_quorum="true"/></summary>` + "\n<nodes>\n")
	for n := range nodes {
		fmt.Fprintf(&b, `    <node name="node%d" id="%d" online="true" standby="false" standby_onfail="false" maintenance="false" pending="false" unclean="false" health="green" feature_set="3.16.2" shutdown="false" expected_up="true" is_dc="false" resources_running="16" type="member"/>`+"\n", n, n)
	}
	b.WriteString("</nodes>\n<resources>\n")
	for r := range resources {
		fmt.Fprintf(&b, `    <resource id="rsc%d" resource_agent="ocf:pacemaker:Dummy" role="Started" active="true" orphaned="false" blocked="false" maintenance="false" managed="true" failed="false" failure_ignored="false" nodes_running_on="1">`+"\n"+`      <node name="node%d" id="%d" cached="true"/>`+"\n    </resource>\n", r, r%nodes, r%nodes)
	}
	b.WriteString("</resources>\n<node_history>\n")
	for n := range nodes {
		fmt.Fprintf(&b, "    <node name=\"node%d\">\n", n)
		for r := n; r < resources; r += nodes {
			fmt.Fprintf(&b, `      <resource_history id="rsc%d" orphan="false" migration-threshold="1000000">`+"\n", r)
			for call, task := range []string{"start", "monitor"} {
				fmt.Fprintf(&b, `        <operation_history call="%d" task="%s" rc="0" rc_text="ok" interval="10000ms" last-rc-change="Mon Nov 23 00:50:00 2026" exec-time="20ms" queue-time="0ms"/>`+"\n", 2*r+call, task)
			}
			b.WriteString("      </resource_history>\n")
		}
		b.WriteString("    </node>\n")
	}
	b.WriteString("</node_history>\n<status code=\"0\" message=\"OK\"/>\n</pacemaker-result>\n")
	return []byte(b.String())
}

func BenchmarkParse32Nodes500Resources(b *testing.B) {
	doc := bigDocument()
	b.SetBytes(int64(len(doc)))
	b.ReportAllocs()
	for b.Loop() {
		s, err := Parse(doc)
		if err != nil || len(s.Nodes) != 32 || len(s.Resources) != 500 || len(s.Operations) != 1000 {
			b.Fatal(s, err)
		}
	}
}

// TestLargestDocumentFitsIntoMemory holds what a document may cost: the unit gives the daemon and crm_mon 256 MiB.
func TestLargestDocumentFitsIntoMemory(t *testing.T) {
	const most = 160 << 20
	for _, element := range []string{`<a/>`, `<ban id="x" node="y" resource="z" weight="1"/>`, `<a b="1" c="2" d="3" e="4"/>`} {
		doc := []byte(`<pacemaker-result><nodes>` + strings.Repeat(element, (MaxDocument-200)/len(element)) + `</nodes><status code="0" message="OK"/></pacemaker-result>`)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, _ = Parse(doc) // some of it is no cluster: what matters is that it was read
		runtime.ReadMemStats(&after)
		if used := after.TotalAlloc - before.TotalAlloc; used > most {
			t.Errorf("%d MiB for %d MiB of %s", used>>20, len(doc)>>20, element)
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
		d := roundTrip(t, NewDump(s))
		if s.Resources != nil && d.Resources.Count != len(d.Resources.List) {
			t.Fatalf("%d instances, %d listed", d.Resources.Count, len(d.Resources.List))
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
