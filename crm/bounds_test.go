package crm

import (
	"encoding/json"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// shapes of a document. Each repeats an element between a head and a tail, as often as the bounds allow. A head begins
// with the root element's name.
var shapes = map[string]struct {
	head, tail string
	each       func(i int) string
}{
	"nodes":            {"crm_mon><nodes>", "</nodes>", always(`<node/>`)},
	"nodes, full":      {"crm_mon><nodes>", "</nodes>", node},
	"attributes":       {"crm_mon><nodes><node ", "/></nodes>", numbered(`a%x="" `)},
	"attributes, many": {"crm_mon><nodes>", "</nodes>", always(`<a b="" c="" d="" e="" f="" g="" h="" i="" j="" k=""/>`)},
	"unknown elements": {"crm_mon><nodes>", "</nodes>", always(`<a/>`)},
	"deep elements":    {"crm_mon><nodes>", "</nodes>", always(strings.Repeat("<a>", 60) + strings.Repeat("</a>", 60))},
	"texts":            {"crm_mon><nodes>", "</nodes>", always(`<a/>x`)},
	"comments":         {"crm_mon><nodes>", "</nodes>", always(`<!---->`)},
	"instructions":     {"crm_mon><nodes>", "</nodes>", always(`<?a?>`)},
	"one long name":    {`crm_mon><nodes><node name="`, `"/></nodes>`, always(strings.Repeat("&lt;", 100))},

	"resources":          {"crm_mon><resources>", "</resources>", always(`<resource/>`)},
	"resources, full":    {"crm_mon><resources>", "</resources>", resource},
	"resources in nodes": {"crm_mon><nodes><node>", "</node></nodes>", numbered(`<resource id="%d" role=""/>`)},
	"one on many nodes":  {"crm_mon><resources><resource>", "</resource></resources>", always(`<node/>`)},
	"clones":             {"crm_mon><resources>", "</resources>", numbered(`<clone id="%d" multi_state="true"/>`)},
	"nested clones": {
		"crm_mon><resources>" + strings.Repeat("<clone>", 60), strings.Repeat("</clone>", 60) + "</resources>",
		always(`<a/>`),
	},
	"bundles": {
		"crm_mon><resources>", "</resources>",
		numbered(`<bundle id="%d"><resource role="Master"><node name="n"/></resource></bundle>`),
	},

	"node attributes": {"crm_mon><node_attributes><node>", "</node></node_attributes>", always(`<attribute/>`)},
	"operations": {
		"crm_mon><node_history><node><resource_history>", "</resource_history></node></node_history>",
		always(`<operation_history/>`),
	},
	"fail counts": {
		"crm_mon><node_history><node>", "</node></node_history>", always(`<resource_history fail-count="1"/>`),
	},
	"failures":     {"crm_mon><failures>", "</failures>", always(`<failure/>`)},
	"fence events": {"crm_mon><fence_history>", "</fence_history>", always(`<fence_event/>`)},
	"fence events, full": {
		"crm_mon><fence_history>", "</fence_history>",
		always(`<fence_event target="n" action="off" status="success" completed="2026-11-02 09:59:50.253165Z"/>`),
	},
	"bans":   {"crm_mon><bans>", "</bans>", always(`<ban/>`)},
	"errors": {`pacemaker-result><nodes/><status code="0"><errors>`, `</errors></status>`, always(`<error/>`)},

	"pairs":       {"configuration><crm_config><a>", "</a></crm_config>", numbered(`<nvpair name="%d"/>`)},
	"primitives":  {"configuration><resources>", "</resources>", always(`<primitive/>`)},
	"constraints": {"configuration><constraints>", "</constraints>", always(`<rsc_order/>`)},
	"alerts":      {"configuration><alerts>", "</alerts>", always(`<alert/>`)},
	"templates": {
		"configuration><resources>", "</resources>", numbered(`<template id="%[1]d"/><primitive template="%[1]d"/>`),
	},
	"one template": {
		`configuration><resources><template id="t"><operations><op/></operations></template>`, "</resources>",
		always(`<primitive template="t"/>`),
	},
}

func always(element string) func(int) string { return func(int) string { return element } }

func numbered(element string) func(int) string {
	return func(i int) string { return fmt.Sprintf(element, i) }
}

func node(i int) string {
	return fmt.Sprintf(`    <node name="node%d" id="%d" online="true" standby="false" standby_onfail="false" `+
		`maintenance="false" pending="false" unclean="false" health="green" feature_set="3.16.2" shutdown="false" `+
		`expected_up="true" is_dc="false" resources_running="16" type="member"/>`+"\n", i, i)
}

func resource(i int) string {
	return fmt.Sprintf(`    <resource id="rsc%d" resource_agent="ocf:pacemaker:Dummy" role="Started" active="true" `+
		`orphaned="false" blocked="false" maintenance="false" managed="true" failed="false" failure_ignored="false" `+
		`nodes_running_on="1">`+"\n"+
		`      <node name="node%d" id="%d" cached="true"/>`+"\n    </resource>\n", i, i%32, i%32)
}

// document makes one of a shape that takes that part of every bound.
func document(t testing.TB, shape string, part int) []byte {
	t.Helper()
	s, ok := shapes[shape]
	if !ok {
		t.Fatal(shape)
	}
	root, head, _ := strings.Cut(s.head, ">")
	tail := s.tail + "</" + root + ">"
	const room = 100 // for the root's start tag
	var b strings.Builder
	b.WriteString(head)
	size, tags, attributes := room, 2, 1
	add := func(text string) bool {
		size, tags, attributes = size+len(text), tags+strings.Count(text, "<"), attributes+strings.Count(text, "=")
		return size <= MaxDocument/part && tags <= MaxTags/part && attributes <= MaxAttributes/part
	}
	add(head + tail)
	for i := 0; ; i++ {
		text := s.each(i)
		if !add(text) {
			break
		}
		b.WriteString(text)
	}
	b.WriteString(tail)
	fill := strings.Repeat("x", max(0, MaxDocument/part-room-b.Len()))
	return []byte("<" + root + ` fill="` + fill + `">` + b.String())
}

// readShape parses a document of a shape.
func readShape(t testing.TB, shape string, doc []byte) {
	t.Helper()
	if strings.HasPrefix(shapes[shape].head, "configuration") {
		if _, err := ParseConfiguration(doc); err != nil {
			t.Errorf("%s: %v", shape, err)
		}
		return
	}
	if _, err := Parse(doc); err != nil {
		t.Errorf("%s: %v", shape, err)
	}
}

// cost returns how often and how much f allocates.
func cost(f func()) (allocations, bytes uint64) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.Mallocs - before.Mallocs, after.TotalAlloc - before.TotalAlloc
}

// The unit gives the daemon and crm_mon 256 MiB (MemoryMax in deploy/pgha-agent.service). Half of it would do if
// nothing that is allocated on the way were ever freed.
const mostMemory = 128 << 20

func TestLargestDocumentsFitIntoMemory(t *testing.T) {
	for _, shape := range []string{"attributes", "one template", "resources in nodes"} { // those that need the most
		doc := document(t, shape, 1)
		if _, bytes := cost(func() { readShape(t, shape, doc) }); bytes > mostMemory {
			t.Errorf("%s: %d MiB are allocated for a document of %d KiB", shape, bytes>>20, len(doc)>>10)
		}
	}
}

// Twice the document allocates twice: to read it, and to print it as `debug crm-mon` does.
func TestCostGrowsAsTheDocumentDoes(t *testing.T) {
	for _, shape := range slices.Sorted(maps.Keys(shapes)) {
		var read, bytes, printed [2]uint64
		for i, part := range []int{32, 16} {
			doc := document(t, shape, part)
			read[i], bytes[i] = cost(func() { readShape(t, shape, doc) })
			if s, err := Parse(doc); err == nil {
				printed[i], _ = cost(func() { mustJSON(t, s) })
			}
			if bytes[i] > mostMemory/uint64(part) {
				t.Errorf("%s: %d KiB are allocated for a document of %d KiB", shape, bytes[i]>>10, len(doc)>>10)
			}
		}
		const fixed = 2000 // what does not grow
		// What is printed is counted to a tenth: encoding/json takes a buffer from a sync.Pool for each element, and under
		// the race detector a pool drops one of four at random. What grows as the square needs four times as many.
		if read[1] > 2*read[0]+fixed || 10*printed[1] > 22*printed[0]+10*fixed || bytes[1] > 3*bytes[0] {
			t.Errorf("%s: read with %d allocations (%d bytes), printed with %d; for twice as much %d (%d) and %d",
				shape, read[0], bytes[0], printed[0], read[1], bytes[1], printed[1])
		}
	}
}

// However many clones there are, one pass over the resources finds the nodes of all.
func TestPrintingLooksAtEachResourceOnce(t *testing.T) {
	s, err := Parse(document(t, "bundles", 16))
	if err != nil {
		t.Fatal(err)
	}
	var seen int
	nodes := nodesByClone(s.PromotableClones, func(yield func(Resource) bool) {
		for _, r := range s.Resources {
			if seen++; !yield(r) {
				return
			}
		}
	}, RolePromoted)
	if len(nodes) < 100 || len(nodes) != len(s.PromotableClones) || seen != len(s.Resources) {
		t.Errorf("%d of %d clones, %d looks at %d resources", len(nodes), len(s.PromotableClones), seen, len(s.Resources))
	}
}

// What a real document does not reach is refused with the bound in the error.
func TestDocumentsBeyondTheBoundsAreRefused(t *testing.T) {
	for _, test := range []struct {
		head, each, tail string
		n                int
		want             string
	}{
		{"<crm_mon><nodes>", "<a/>", "</nodes></crm_mon>", MaxTags - 4, "of 65537 tags, more than 65536"},
		{"<crm_mon><nodes ", "a='' ", "/></crm_mon>", MaxAttributes, "of 131073 attributes, more than 131072"},
	} {
		if _, err := Parse([]byte(test.head + strings.Repeat(test.each, test.n) + test.tail)); err != nil {
			t.Error(err)
		}
		s, err := Parse([]byte(test.head + strings.Repeat(test.each, test.n+1) + test.tail))
		if s != nil || err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%v, want %q", err, test.want)
		}
	}
	template := `<template id="t"><operations>` + strings.Repeat(`<op/>`, 1000) + `</operations></template>`
	primitives := strings.Repeat(`<primitive template="t"/>`, 66)
	doc := `<configuration><resources>` + template + primitives + `</resources></configuration>`
	c, err := ParseConfiguration([]byte(doc))
	const want = "templates give their primitives more than 65536 elements"
	if c != nil || err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("%v, want %q", err, want)
	}
	doc = strings.Replace(doc, `<primitive template="t"/>`, "", 1)
	c, err = ParseConfiguration([]byte(doc))
	if err != nil || len(c.Primitives) != 65 || len(c.Primitives[64].Ops) != 1000 {
		t.Errorf("%v", err)
	}
}

func BenchmarkParse(b *testing.B) {
	for _, shape := range slices.Sorted(maps.Keys(shapes)) {
		b.Run(shape, func(b *testing.B) {
			doc := document(b, shape, 1)
			b.SetBytes(int64(len(doc)))
			b.ReportAllocs()
			for b.Loop() {
				readShape(b, shape, doc)
			}
		})
	}
}

func BenchmarkPrint(b *testing.B) {
	for _, shape := range []string{"bundles", "clones", "one on many nodes", "resources, full"} {
		b.Run(shape, func(b *testing.B) {
			s, err := Parse(document(b, shape, 1))
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := json.Marshal(s); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// bigDocument has the shape of a document of crm_mon 2.1.5 for a static CIB of 32 nodes and 500 resources with history.
func bigDocument() []byte {
	const nodes, resources = 32, 500
	var b strings.Builder
	b.WriteString("<pacemaker-result>\n<nodes>\n")
	for n := range nodes {
		b.WriteString(node(n))
	}
	b.WriteString("</nodes>\n<resources>\n")
	for r := range resources {
		b.WriteString(resource(r))
	}
	b.WriteString("</resources>\n<node_history>\n")
	for n := range nodes {
		fmt.Fprintf(&b, "    <node name=\"node%d\">\n", n)
		for r := n; r < resources; r += nodes {
			fmt.Fprintf(&b, "      <resource_history id=\"rsc%d\" orphan=\"false\" migration-threshold=\"1000000\">\n", r)
			for call, task := range []string{"start", "monitor"} {
				fmt.Fprintf(&b, `        <operation_history call="%d" task="%s" rc="0" rc_text="ok" interval="10000ms" `+
					`last-rc-change="Mon Nov 23 00:50:00 2026" exec-time="20ms" queue-time="0ms"/>`+"\n", 2*r+call, task)
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
