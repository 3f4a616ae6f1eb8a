package main

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/pgha/pgha-agent/agent/status"
)

func TestScenariosAreChosenByNumber(t *testing.T) {
	names := func(list string) (names []string) {
		chosen, err := choose(list)
		if err != nil {
			t.Errorf("%q: %v", list, err)
		}
		for _, c := range chosen {
			names = append(names, c.name)
		}
		return names
	}
	parts := 0
	for _, s := range scenarios {
		parts += len(s.parts)
	}
	if got := names(""); len(got) != parts {
		t.Errorf("all: %d of %d", len(got), parts)
	}
	if got := strings.Join(names("4, 1,9c,5"), " "); got != "4 1 9c 5a 5b 5c" {
		t.Errorf("chosen: %s", got)
	}
	for _, bad := range []string{"0", "99", "one", "1,,2", "9z"} {
		if _, err := choose(bad); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
	seen := map[int]bool{}
	for _, s := range scenarios {
		if seen[s.number] || s.name == "" || len(s.parts) == 0 {
			t.Errorf("scenario %d %q: twice, or without name or parts", s.number, s.name)
		}
		seen[s.number] = true
	}
}

func TestDRBDConfigurationHasTheFormOfItsVersion(t *testing.T) {
	old, now := string(drbdConfig(false, 5)), string(drbdConfig(true, 0))
	for _, c := range []struct {
		conf string
		has  []string
		not  []string
	}{
		{old, []string{"crm-fence-peer.sh --timeout 5", "on node1 { address", "after-resync-target"},
			[]string{"node-id", ".9.sh"}},
		{now, []string{`crm-fence-peer.9.sh"`, "node-id 1", "unfence-peer", "connection {"}, []string{"--timeout"}},
	} {
		for _, h := range c.has {
			if !strings.Contains(c.conf, h) {
				t.Errorf("without %q:\n%s", h, c.conf)
			}
		}
		for _, n := range c.not {
			if strings.Contains(c.conf, n) {
				t.Errorf("with %q:\n%s", n, c.conf)
			}
		}
	}
	// The policy belongs into "disk" in 8.4 and into "net" in 9.
	section := func(conf string) string {
		return regexp.MustCompile(`(?s)(\w+) \{[^{}]*fencing resource-and-stonith`).FindStringSubmatch(conf)[1]
	}
	if section(old) != "disk" || section(now) != "net" {
		t.Errorf("fencing is in %q and in %q", section(old), section(now))
	}
}

func TestClusterDocumentsAreXMLAndNameTheMachines(t *testing.T) {
	for name, doc := range map[string][]byte{"cib.xml": cibXML, "dns-resource.xml": dnsResourceXML} {
		for d := xml.NewDecoder(bytes.NewReader(doc)); ; {
			if _, err := d.Token(); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
	}
	for _, id := range []string{"i-00000000000000001", "i-00000000000000002"} {
		if !bytes.Contains(cibXML, []byte(`value="`+id+`"`)) {
			t.Errorf("no fence device for %s", id)
		}
	}
}

func TestHistoryTellsTheRoleAtATime(t *testing.T) {
	h := newHistory("node1")
	start := time.Now()
	at := func(s int) time.Time { return start.Add(time.Duration(s) * time.Second) }
	h.add("Secondary", at(0))
	h.add("Primary", at(10))
	h.add("Primary", at(12)) // a new stream begins with what is
	h.off(at(20))
	for _, c := range []struct {
		at   int
		want string
	}{{-1, ""}, {0, "Secondary"}, {9, "Secondary"}, {10, "Primary"}, {19, "Primary"}, {20, ""}, {30, ""}} {
		if got := h.at(at(c.at)); got != c.want {
			t.Errorf("at %d: %q, want %q", c.at, got, c.want)
		}
	}
	if !h.primarySince().IsZero() {
		t.Error("a machine without power is Primary")
	}
	h.add("Primary", at(40))
	if got := h.promotedAt(); !got.Equal(at(40)) {
		t.Errorf("promoted at %v", got)
	}
	h2 := newHistory("node2")
	h2.add("Primary", at(0))
	if got := h2.promotedAt(); !got.IsZero() {
		t.Errorf("a node that was Primary from the first was promoted at %v", got)
	}
	if got := h.primarySince(); !got.Equal(at(40)) {
		t.Errorf("Primary since %v", got)
	}
}

func TestRoleIsReadFromTheEventsOfBothVersions(t *testing.T) {
	for line, want := range map[string]string{
		"2026-11-23T08:07:07.306000+00:00 exists resource name:pg role:Secondary suspended:no":          "Secondary",
		"2026-11-23T08:07:49.337000+00:00 change resource name:pg role:Primary":                         "Primary",
		"2026-11-23T08:07:49.337000+00:00 change resource name:pg may_promote:no promotion_score:10101": "",
		"2026-11-23T08:07:49.337000+00:00 change connection name:pg peer-node-id:0 role:Unknown":        "",
		"2026-11-23T08:07:49.337000+00:00 change resource name:pgother role:Primary":                    "",
	} {
		got := ""
		if m := roleLine.FindStringSubmatch(line); m != nil {
			got = m[1]
		}
		if got != want {
			t.Errorf("%q: %q, want %q", line, got, want)
		}
	}
}

func TestPhasesOutOfOrderAreNoticed(t *testing.T) {
	phases := func(names ...string) (list []status.PhaseDoc) {
		for _, n := range names {
			list = append(list, status.PhaseDoc{Phase: n})
		}
		return list
	}
	if !inOrder(phases("peer_lost", "fenced", "promoted", "mounted", "dns_accepted", "writable", "dns_insync")) {
		t.Error("a good order is refused")
	}
	if inOrder(phases("promoted", "dns_accepted", "fenced")) {
		t.Error("an acceptance before the fencing is taken")
	}
}

func TestCacheKeepsOnlyWhatWasFinished(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "layer")
	if err := cached(dir, func(string) error { return os.ErrInvalid }); err == nil {
		t.Error("no error")
	}
	if _, err := os.Stat(dir); err == nil {
		t.Error("a failed layer is in the cache")
	}
	for range 2 {
		if err := cached(dir, func(tmp string) error {
			if _, err := os.Stat(dir); err == nil {
				t.Error("built again")
			}
			return os.WriteFile(filepath.Join(tmp, "x"), nil, 0o644)
		}); err != nil {
			t.Fatal(err)
		}
	}
	left, _ := filepath.Glob(filepath.Join(filepath.Dir(dir), ".*"))
	if len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestRunDirectoriesOfDeadLabsAreRemoved(t *testing.T) {
	cache := t.TempDir()
	one, removeOne, err := newRunDir(cache)
	if err != nil {
		t.Fatal(err)
	}
	dead := filepath.Join(cache, "run", "dead")
	if err := os.MkdirAll(filepath.Join(dead, "x"), 0o755); err != nil {
		t.Fatal(err)
	}
	_, removeTwo, err := newRunDir(cache)
	if err != nil {
		t.Fatal(err)
	}
	defer removeTwo()
	if _, err := os.Stat(one); err != nil {
		t.Error("the directory of a running lab was removed")
	}
	if _, err := os.Stat(dead); err == nil {
		t.Error("the directory of a dead lab is still there")
	}
	removeOne()
}

func TestReportShowsEachModeAndView(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "bench.jsonl")
	var b bytes.Buffer
	for i := range 3 {
		for _, mode := range benchModes {
			r := benchRun{Mode: mode, Promoted: 30 + float64(i), Accepted: 31, Writable: 60, Calls: 7, CPU: 1.5}
			for j, v := range benchViews() {
				r.Views = append(r.Views, benchView{v, 40, 60 + float64(j)})
			}
			if err := json.NewEncoder(&b).Encode(r); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := os.WriteFile(file, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	svg := filepath.Join(dir, "p.svg")
	if err := report(&out, file, filepath.Join(dir, "none"), svg); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"| 3 | 31.0 (30.0 to 32.0) |", "| delay 30 s, TTL 30 s | 65.0 (65.0 to 65.0) |",
		"aws-vpc-route53"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("without %q:\n%s", want, &out)
		}
	}
	picture, err := os.ReadFile(svg)
	if err != nil {
		t.Fatal(err)
	}
	for d := xml.NewDecoder(bytes.NewReader(picture)); ; {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("the picture: %v", err)
		}
	}
	if err := report(io.Discard, filepath.Join(dir, "none"), "", svg); err == nil {
		t.Error("a report of nothing")
	}
}
