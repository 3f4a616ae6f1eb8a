package crm

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

func TestAlertIsReadFromItsEnvironment(t *testing.T) {
	a, ok, err := AlertFromEnv([]string{
		"PATH=/bin", "CRM_alert_version=3.0.0", "CRM_alert_kind=resource", "CRM_alert_recipient=",
		"CRM_alert_node_sequence=17",
		"CRM_alert_timestamp=11:11:11.000000", "CRM_alert_timestamp_epoch=1795395158", "CRM_alert_timestamp_usec=012007",
		"CRM_alert_node=node1", "CRM_alert_desc=OK", "CRM_alert_task=promote", "CRM_alert_rsc=drbd_pg", "CRM_alert_rc=0",
		"CRM_alert_target_rc=0", "CRM_alert_status=0", "CRM_alert_interval=0", "CRM_alert_exec_time=92128",
		"CRM_notify_node=other", "CRM_notify_nodeid=9", "CRM_alert_rc=7",
	})
	if err != nil || !ok {
		t.Fatal(ok, err)
	}
	zero, exec := 0, 92128
	want := Alert{
		Kind: AlertResource, Version: "3.0.0", Sequence: 17, At: time.Date(2026, 11, 23, 0, 52, 38, 12007000, time.UTC),
		Node: "node1", Desc: "OK", Task: "promote", Resource: "drbd_pg",
		RC: &zero, TargetRC: &zero, Status: &zero, IntervalMS: &zero, ExecTimeMS: &exec,
	}
	if diff := cmp.Diff(want, a); diff != "" {
		t.Error(diff)
	}
}

// TestRecordedAlertsGiveTheirDump reads what Pacemaker really put into the environment of an alert agent: a block for
// each alert.
func TestRecordedAlertsGiveTheirDump(t *testing.T) {
	files, _ := filepath.Glob("testdata/alerts-*.env")
	if len(files) == 0 {
		t.Fatal("no recordings")
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			var dump []Alert
			for block := range strings.SplitSeq(strings.TrimSpace(string(read(t, filepath.Base(file)))), "\n\n") {
				a, ok, err := AlertFromEnv(strings.Split(block, "\n"))
				if err != nil || !ok {
					t.Fatalf("%v, %v:\n%s", ok, err, block)
				}
				checkAlert(t, a)
				dump = append(dump, a)
			}
			compareGolden(t, strings.TrimSuffix(file, ".env")+".golden.json", dump)
		})
	}
}

func TestAlertsThatAreNone(t *testing.T) {
	for name, test := range map[string]struct {
		env    []string
		ok     bool
		failed bool
	}{
		"by hand":      {env: []string{"PATH=/bin", "CRM_notify_kind=node", "CRM_notify_version=1.1"}},
		"empty":        {env: nil},
		"strange":      {env: []string{"", "=", "CRM_alert_", "CRM_alert_=x", "CRM_alert_kind"}},
		"no kind":      {env: []string{"CRM_alert_version=3.0.0", "CRM_alert_kind="}, failed: true},
		"no version":   {env: []string{"CRM_alert_kind=node"}, ok: true},
		"unknown kind": {env: []string{"CRM_alert_version=4", "CRM_alert_kind=weather"}, ok: true},
		"first of two": {env: []string{"CRM_alert_kind=node", "CRM_alert_kind="}, ok: true},
		"numbers absurd": {ok: true, env: []string{
			"CRM_alert_kind=node", "CRM_alert_rc=1e9", "CRM_alert_node_sequence=-1",
			"CRM_alert_timestamp_epoch=99999999999999999999",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			a, ok, err := AlertFromEnv(test.env)
			if ok != test.ok || (err != nil) != test.failed {
				t.Errorf("AlertFromEnv = %+v, %v, %v", a, ok, err)
			}
			if !ok && a != (Alert{}) {
				t.Errorf("a value without an alert: %+v", a)
			}
			if a.RC != nil || a.Sequence != 0 || !a.At.IsZero() {
				t.Errorf("numbers from nothing: %+v", a)
			}
		})
	}
}

func TestHostileAlertValuesAreBounded(t *testing.T) {
	for name, value := range map[string]string{
		"megabytes": strings.Repeat("x", 5<<20), "quotes": strings.Repeat(`"\`, 5000), "tags": strings.Repeat("<&>", 5000),
		"invalid": strings.Repeat("\xff\xfe", 5000), "NUL": "a\x00b", "newlines": "a\nb\r\n\tc\x1b[2J",
		"runes": strings.Repeat("ä€😀", 500),
		"bidi":  "a\u202eb\u2028c",
	} {
		t.Run(name, func(t *testing.T) {
			var env []string
			for _, field := range []string{
				"kind", "version", "recipient", "node", "nodeid", "desc", "task", "rsc", "rc", "target_rc", "status", "interval",
				"exec_time", "attribute_name", "attribute_value", "node_sequence", "timestamp_epoch", "timestamp_usec",
			} {
				env = append(env, "CRM_alert_"+field+"="+value)
			}
			a, ok, err := AlertFromEnv(env)
			if !ok || err != nil {
				t.Fatal(ok, err)
			}
			checkAlert(t, a)
		})
	}
	cut, _, _ := AlertFromEnv([]string{"CRM_alert_kind=" + strings.Repeat("a", 1023) + "€"})
	if len(cut.Kind) != 1023 {
		t.Errorf("a rune is cut: %d bytes", len(cut.Kind))
	}
}

// checkAlert holds for every alert: printable, bounded, and the same after a trip over the wire.
func checkAlert(t *testing.T, a Alert) {
	t.Helper()
	hidden := func(r rune) bool { return !unicode.IsPrint(r) }
	for _, s := range []string{
		a.Kind, a.Version, a.Recipient, a.Node, a.NodeID, a.Desc, a.Task, a.Resource, a.AttributeName, a.AttributeValue,
	} {
		if len(s) > 1024 || !utf8.ValidString(s) || strings.ContainsFunc(s, hidden) {
			t.Errorf("text of %d bytes: %.80q", len(s), s)
		}
	}
	b, err := json.Marshal(a)
	if err != nil {
		t.Fatal(err)
	}
	back, err := DecodeAlert(b)
	if err != nil {
		t.Fatalf("%v: %d bytes", err, len(b))
	}
	if diff := cmp.Diff(a, back); diff != "" {
		t.Error(diff)
	}
}

func TestDecodeAlertDistrustsTheWire(t *testing.T) {
	const undated = `{"kind":"node","sequence":0,"at":"0001-01-01T00:00:00Z"}`
	for doc, want := range map[string]string{
		`{"kind":"node","node":"a\u0000b","secret":1,"sequence":5}`: `{"kind":"node","sequence":5,` +
			`"at":"0001-01-01T00:00:00Z","node":"a b"}`,
		`{"kind":"node","rc":99999999999,"sequence":-4}`:   undated,
		`{"kind":"node","at":"2026-11-23T02:00:00+02:00"}`: `{"kind":"node","sequence":0,"at":"2026-11-23T00:00:00Z"}`,
		`{"kind":"node","at":"1066-10-14T00:00:00Z"}`:      undated,
		`{}`:                       "",
		`{"kind":"\u0000"}`:        `{"kind":" ","sequence":0,"at":"0001-01-01T00:00:00Z"}`,
		`null`:                     "",
		`{"kind":"node"} {}`:       "",
		`{"kind":1}`:               "",
		`{"kind":"node","rc":"0"}`: "",
		`{"kind":"` + strings.Repeat("a", 40000) + `"}`: "",
		``: "",
	} {
		a, err := DecodeAlert([]byte(doc))
		if want == "" {
			if err == nil || a != (Alert{}) {
				t.Errorf("DecodeAlert(%.60q) = %+v, %v", doc, a, err)
			}
			continue
		}
		if got := mustJSON(t, a); err != nil || got != want {
			t.Errorf("DecodeAlert(%.60q) = %s, %v, want %s", doc, got, err, want)
		}
	}
}

func TestSequenceCountsGapsAndRestarts(t *testing.T) {
	const restart = -1000 // in want: restarted, plus what is missed
	for name, test := range map[string]struct{ numbers, want []int }{
		"in order":                        {[]int{5, 6, 7}, []int{0, 0, 0}},
		"gap":                             {[]int{1, 2, 5, 6}, []int{0, 0, 2, 0}},
		"overtaken":                       {[]int{1, 3, 2, 4}, []int{0, 1, 0, 0}},
		"overtaken by several":            {[]int{1, 5, 3, 4, 2, 6}, []int{0, 3, 0, 0, 0, 0}},
		"restart":                         {[]int{40, 41, 1, 2}, []int{0, 0, restart, 0}},
		"restart, first ones overtaken":   {[]int{40, 3, 1, 2, 4}, []int{0, restart + 2, 0, 0, 0}},
		"restart, number known from then": {[]int{1, 2, 3, 4, 1}, []int{0, 0, 0, 0, restart}},
		"doubled":                         {[]int{7, 7, 8}, []int{0, 0, 0}},
		"late one twice":                  {[]int{1, 3, 2, 2}, []int{0, 1, 0, restart + 1}},
		"too late":                        {[]int{1, 3, 100, 2}, []int{0, 1, 96, restart + 1}},
		"not given":                       {[]int{0, 5, 0, -3, 6}, []int{0, 0, 0, 0, 0}},
		"forged":                          {[]int{5, 1 << 40, 6, 7}, []int{0, restart, restart + 5, 0}},
	} {
		t.Run(name, func(t *testing.T) {
			var s Sequence
			for i, n := range test.numbers {
				missed, restarted := s.Next(n)
				if restarted {
					missed += restart
				}
				if missed != test.want[i] {
					t.Errorf("%d: Next(%d) = %d, want %d", i, n, missed, test.want[i])
				}
				if len(s.skipped) > sequenceWindow {
					t.Errorf("remembers %d numbers", len(s.skipped))
				}
			}
		})
	}
}

func FuzzAlertFromEnv(f *testing.F) {
	f.Add("kind", "resource", "desc", "Not running", "rc", "7")
	f.Add("kind", "\x00\xff\n", "timestamp_epoch", "9223372036", "timestamp_usec", "999999")
	f.Add("version", "3.0.0", "node_sequence", "-9223372036854775808", "exec_time", "2147483648")
	f.Fuzz(func(t *testing.T, n1, v1, n2, v2, n3, v3 string) {
		a, ok, err := AlertFromEnv([]string{
			"CRM_alert_" + n1 + "=" + v1, "CRM_alert_" + n2 + "=" + v2, "CRM_alert_" + n3 + "=" + v3,
		})
		if (err != nil || !ok) && a != (Alert{}) {
			t.Fatalf("a value and an error: %+v, %v", a, err)
		}
		if ok {
			checkAlert(t, a)
		}
	})
}

func FuzzDecodeAlert(f *testing.F) {
	f.Add([]byte(`{"kind":"node","sequence":4,"at":"2026-11-23T00:52:38.012007Z","node":"a","rc":-61}`))
	f.Add([]byte(`{"kind":"<<<>>>&&&","at":"9999-12-31T23:59:59-23:59","rc":1e3}`))
	f.Fuzz(func(t *testing.T, doc []byte) {
		a, err := DecodeAlert(doc)
		if err != nil {
			if a != (Alert{}) {
				t.Fatalf("a value and an error: %+v, %v", a, err)
			}
			return
		}
		checkAlert(t, a)
	})
}
