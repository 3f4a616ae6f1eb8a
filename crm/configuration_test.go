package crm

import (
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const smallCIB = `<cib crm_feature_set="3.19.0"><configuration>
 <crm_config><cluster_property_set id="o">
  <nvpair id="a" name="fencing-enabled" value="true"/><nvpair id="b" name="no-quorum-policy" value="stop"/>
 </cluster_property_set></crm_config>
 <nodes><node id="1" uname="a"><instance_attributes id="na"><nvpair id="na1" name="standby" value="on"/></instance_attributes></node><node id="2" uname="b"/><node id="3" uname="r" type="remote"/></nodes>
 <resources>
  <template id="t" class="ocf" provider="heartbeat" type="Filesystem"><instance_attributes id="ti">
    <nvpair id="ti1" name="fstype" value="xfs"/><nvpair id="ti2" name="device" value="x"/>
  </instance_attributes></template>
  <master id="ms"><primitive id="d" class="ocf" provider="linbit" type="drbd"><operations>
    <op id="dm" name="monitor" interval="11s" timeout="60s" role="Master"/>
  </operations></primitive></master>
  <group id="g">
    <primitive id="fs" template="t"><instance_attributes id="fi">
      <nvpair id="fi2" name="device" value="/dev/drbd0"/>
    </instance_attributes></primitive>
    <meta_attributes id="gm"><nvpair id="gm1" name="priority" value="5"/></meta_attributes>
  </group>
 </resources>
 <constraints>
  <rsc_location id="l1" rsc="g" node="a" score="-INFINITY"/>
  <rsc_location id="l2" rsc="ms"><rule id="r" role="Master" score="-INFINITY">
    <expression id="e" attribute="#uname" operation="ne" value="a"/>
  </rule></rsc_location>
  <rsc_location id="l3" rsc="ms"><rule id="r3" score="50">
    <expression id="e1" attribute="#uname" operation="eq" value="a"/>
    <date_expression id="e2" operation="gt" start="2020"/>
  </rule></rsc_location>
  <rsc_colocation id="c" rsc="g" with-rsc="ms" with-rsc-role="Master" score="INFINITY"/>
  <rsc_order id="o1" first="ms" first-action="promote" then="g" then-action="start"/>
  <rsc_order id="o2" first="g" then="x" score="0"/>
  <rsc_colocation id="c2" score="10"><resource_set id="s1" sequential="false" role="Master"><resource_ref id="ms"/>
   </resource_set><resource_set id="s2"><resource_ref id="g"/><resource_ref id="x"/></resource_set></rsc_colocation>
  <rsc_location id="l4" rsc-pattern="^web" node="b" score="7"/>
  <rsc_ticket id="t1" rsc="ms" rsc-role="Master" ticket="T" loss-policy="demote"/>
  <rsc_order id="o3"><resource_set id="s"><resource_ref id="g"/></resource_set></rsc_order>
 </constraints>
 <alerts><alert id="al" path="/p">
  <instance_attributes id="i"><nvpair id="n" name="o" value="v"/></instance_attributes>
  <select><select_nodes/></select>
 </alert></alerts>
</configuration></cib>`

func TestLocationAbout(t *testing.T) {
	database := []string{"drbd", "drbd-clone", "pg"}
	for _, c := range []struct {
		l    Location
		want bool
	}{
		{Location{Resource: "drbd-clone"}, true}, {Location{Resource: "web"}, false},
		{Location{Pattern: "rbd"}, true}, {Location{Pattern: "^web_.*"}, false}, {Location{Pattern: "!^drbd"}, true},
		{Location{Pattern: "!."}, false}, {Location{Pattern: "("}, false},
	} {
		if got := c.l.About(database); got != c.want {
			t.Errorf("%+v: %v", c.l, got)
		}
	}
}

func TestParseConfiguration(t *testing.T) {
	c, err := ParseConfiguration([]byte(smallCIB))
	if err != nil {
		t.Fatal(err)
	}
	none := map[string]string{}
	want := &Configuration{
		Properties: map[string]string{"fencing-enabled": "true", "no-quorum-policy": "stop"},
		Nodes:      []string{"a", "b"}, Defaults: none,
		Primitives: []Primitive{
			{
				ID: "d", Class: "ocf", Provider: "linbit", Type: "drbd", Clone: "ms", Params: none, Meta: none,
				Ops: []Op{{"monitor", "11s", "60s", RolePromoted}},
			},
			{
				ID: "fs", Class: "ocf", Provider: "heartbeat", Type: "Filesystem", Group: "g",
				Params: map[string]string{"fstype": "xfs", "device": "/dev/drbd0"}, Meta: none,
			},
		},
		Clones: []Clone{{ID: "ms", Promotable: true, Meta: none}},
		Groups: []Group{{ID: "g", Meta: map[string]string{"priority": "5"}}},
		Locations: []Location{
			{ID: "l1", Resource: "g", Node: "a", Score: -Infinity},
			{ID: "l2", Resource: "ms", Role: RolePromoted, Score: -Infinity},
			{ID: "l3", Resource: "ms", Node: "a", Score: 50},
			{ID: "l4", Pattern: "^web", Node: "b", Score: 7},
		},
		Colocations: []Colocation{
			{ID: "c", Resource: "g", With: "ms", WithRole: RolePromoted, Score: Infinity},
			{ID: "c2", Score: 10, Sets: []ResourceSet{{Role: RolePromoted, Resources: []string{"ms"}},
				{Sequential: true, Resources: []string{"g", "x"}}}},
		},
		Tickets:        []TicketConstraint{{ID: "t1", Resource: "ms", Role: RolePromoted, Ticket: "T", LossPolicy: "demote"}},
		NodeAttributes: map[string]map[string]string{"a": {"standby": "on"}, "b": none},
		Orders: []Order{
			{ID: "o1", First: "ms", FirstAction: "promote", Then: "g", ThenAction: "start", Kind: "Mandatory"},
			{ID: "o2", First: "g", FirstAction: "start", Then: "x", ThenAction: "start", Kind: "Optional"},
			{ID: "o3", FirstAction: "start", ThenAction: "start", Kind: "Mandatory", Sets: true},
		},
		Alerts: []AlertAgent{
			{ID: "al", Path: "/p", Params: map[string]string{"o": "v"}, Meta: none, Kinds: []string{"select_nodes"}},
		},
	}
	if diff := cmp.Diff(want, c); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	for name, want := range map[string]string{
		"stonith-enabled": "true", "no-quorum-policy": "stop", "stonith-timeout": "",
	} {
		if got := c.Property(name); got != want {
			t.Errorf("%s = %q, want %q", name, got, want)
		}
	}
	if c.Clone("d") == nil || c.Clone("ms") == nil || c.Clone("g") != nil {
		t.Error("clones are found by another id")
	}
	if c.Primitive("d").Top() != "ms" || c.Primitive("fs").Top() != "g" {
		t.Error("who is in what")
	}
}

func TestParseConfigurationRefuses(t *testing.T) {
	for name, text := range map[string]string{
		"nothing": "", "another document": "<crm_mon/>", "no configuration": "<cib/>",
		"cut off":  smallCIB[:len(smallCIB)/2],
		"too deep": strings.Repeat("<a>", MaxDepth+2) + strings.Repeat("</a>", MaxDepth+2),
	} {
		if c, err := ParseConfiguration([]byte(text)); err == nil || c != nil {
			t.Errorf("%s: %v, %v", name, c, err)
		}
	}
}

func TestParseConfigurationOfTheLab(t *testing.T) {
	text, err := os.ReadFile("../cmd/pgha-lab/guest/cib.xml")
	if err != nil {
		t.Fatal(err)
	}
	c, err := ParseConfiguration([]byte("<cib>" + string(text) + "</cib>"))
	if err != nil {
		t.Fatal(err)
	}
	got := []int{
		len(c.FenceDevices()), len(c.Nodes), len(c.Clones), len(c.Colocations), len(c.Orders), len(c.Locations),
	}
	if !slices.Equal(got, []int{2, 2, 1, 1, 1, 3}) || !c.Clones[0].Promotable {
		t.Errorf("%+v", c)
	}
}

func FuzzParseConfiguration(f *testing.F) {
	f.Add([]byte(smallCIB))
	f.Fuzz(func(t *testing.T, text []byte) {
		if c, err := ParseConfiguration(text); (c == nil) == (err == nil) {
			t.Errorf("%v, %v", c, err)
		}
	})
}

func TestFailCountsOfTheStatusSection(t *testing.T) {
	transient := parseTransient([]byte(`<status>
  <node_state id="1" uname="pg-a"><lrm id="1"/><transient_attributes id="1"><instance_attributes id="status-1">
    <nvpair id="a" name="fail-count-pgsql#start_0" value="INFINITY"/>
    <nvpair id="b" name="fail-count-fs#monitor_20000" value="1"/>
    <nvpair id="c" name="fail-count-fs#start_0" value="2"/>
    <nvpair id="d" name="last-failure-fs#start_0" value="1796067188"/>
    <nvpair id="e" name="standby" value="on"/>
  </instance_attributes></transient_attributes></node_state>
  <node_state id="2" uname="pg-b"/>
</status>`))
	c := &Configuration{Transient: transient, Defaults: map[string]string{"migration-threshold": "5"},
		Primitives: []Primitive{{ID: "pgsql", Group: "g", Meta: map[string]string{"migration-threshold": "2"}},
			{ID: "fs", Group: "g"}, {ID: "other", Group: "h"}, {ID: "drbd", Clone: "c"}},
		Groups: []Group{{ID: "g", Meta: map[string]string{"migration-threshold": "3"}}},
		Clones: []Clone{{ID: "c", Meta: map[string]string{"migration-threshold": "INFINITY"}}}}
	if got := c.FailCounts("pg-a"); !maps.Equal(got, map[string]int{"pgsql": Infinity, "fs": 3}) {
		t.Errorf("pg-a: %v", got)
	}
	if got := c.FailCounts("pg-b"); len(got) != 0 || transient["pg-a"]["standby"] != "on" {
		t.Errorf("pg-b: %v", got)
	}
	for id, want := range map[string]int{"pgsql": 2, "fs": 3, "other": 5, "drbd": Infinity, "gone": Infinity} {
		if got := c.Threshold(id); got != want {
			t.Errorf("%s may run there up to %d, want %d", id, got, want)
		}
	}
	for _, doc := range []string{"", "<configuration/>", "<status>"} {
		if parseTransient([]byte(doc)) != nil {
			t.Errorf("%q has attributes", doc)
		}
	}
}

func TestOption(t *testing.T) {
	for word, want := range map[string]Tri{
		"true": Yes, "ON": Yes, "yes": Yes, "Y": Yes, "1": Yes, "False": No, "off": No, "NO": No, "n": No, "0": No,
		"": Unknown, "2": Unknown, "maybe": Unknown,
	} {
		if got := Option(word); got != want {
			t.Errorf("%q: %v", word, got)
		}
	}
}
