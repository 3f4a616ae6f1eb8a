package crm

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestCompare: what differs between two configurations is said, and no password with it.
func TestCompare(t *testing.T) {
	const base = `<configuration><crm_config><cluster_property_set id="o"><nvpair id="o-1" name="stonith-enabled" value="true"/>` +
		`</cluster_property_set></crm_config><nodes><node id="1" uname="pg-a"><instance_attributes id="n">` +
		`<nvpair id="n-1" name="site" value="west"/></instance_attributes></node></nodes><resources>` +
		`<primitive id="fence_pg-a" class="stonith" type="fence_aws"><instance_attributes id="f-p">` +
		`<nvpair id="f-1" name="secret_key" value="abc"/><nvpair id="f-2" name="plug" value="i-1"/>` +
		`<nvpair id="f-3" name="options" value="password=abc"/></instance_attributes></primitive>` +
		`<primitive id="pgsql" class="ocf" provider="heartbeat" type="pgsql"><operations>` +
		`<op id="p-1" name="monitor" interval="10s" timeout="30s"/></operations></primitive>` +
		`</resources><constraints/></configuration>`
	for name, c := range map[string]struct {
		from, to string
		want     []string
	}{
		"nothing": {"", "", nil},
		"a ban": {"<constraints/>", `<constraints><rsc_location id="cli-ban-x" rsc="drbd-clone" role="Promoted" node="pg-b" ` +
			`score="-INFINITY"/></constraints>`, []string{"constraint cli-ban-x is new: drbd-clone as Promoted on pg-b: -INFINITY"}},
		"other constraints": {"<constraints/>", `<constraints><rsc_order id="o" first="drbd" first-action="promote" then="fs"/>` +
			`<rsc_colocation id="c" rsc="fs" with-rsc="drbd" with-rsc-role="Master" score="5"/>` +
			`<rsc_ticket id="t" rsc="fs" ticket="T" loss-policy="stop"/></constraints>`, []string{
			"constraint c is new: fs with drbd as Promoted: 5",
			"constraint o is new: promote drbd before promote fs (Mandatory)",
			"constraint t is new: fs needs ticket T, without it stop"}},
		"a property":    {`"stonith-enabled" value="true"`, `"stonith-enabled" value="false"`, []string{"property stonith-enabled: true -> false"}},
		"one more":      {`</cluster_property_set>`, `<nvpair id="x" name="a" value=""/></cluster_property_set>`, []string{`property a is new: ""`}},
		"a secret":      {`name="secret_key" value="abc"`, `name="secret_key" value="def"`, []string{"parameter secret_key of fence_pg-a: (not shown) -> (not shown)"}},
		"one in a text": {`password=abc`, `password=d`, []string{"parameter options of fence_pg-a: (not shown) -> (not shown)"}},
		"a parameter":   {`value="i-1"`, `value="i-2"`, []string{"parameter plug of fence_pg-a: i-1 -> i-2"}},
		"it is gone":    {`<nvpair id="f-2" name="plug" value="i-1"/>`, ``, []string{"parameter plug of fence_pg-a is gone, it was: i-1"}},
		"a long one":    {`value="i-1"`, `value="` + strings.Repeat("x", 99) + `"`, []string{"parameter plug of fence_pg-a: i-1 -> " + strings.Repeat("x", 60) + "..."}},
		"a target role": {`<primitive id="fence_pg-a" class="stonith" type="fence_aws">`,
			`<primitive id="fence_pg-a" class="stonith" type="fence_aws"><meta_attributes id="m"><nvpair id="m-1" name="target-role" ` +
				`value="Stopped"/></meta_attributes>`, []string{"target-role of fence_pg-a is new: Stopped"}},
		"an operation":     {`timeout="30s"`, `timeout="60s"`, []string{"monitor every 10s of pgsql: timeout 30s -> timeout 60s"}},
		"an attribute":     {`value="west"`, `value="east"`, []string{"attribute site of pg-a: west -> east"}},
		"a resource comes": {`</resources>`, `<primitive id="x" class="ocf" provider="p" type="t"><meta_attributes id="m"><nvpair id="m-1" name="a" value="b"/></meta_attributes></primitive></resources>`, []string{"resource x is new: ocf:p:t"}},
	} {
		before, err := ParseConfiguration([]byte(base))
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(base, c.from) {
			t.Fatalf("%s: changes nothing", name)
		}
		after, err := ParseConfiguration([]byte(strings.Replace(base, c.from, c.to, 1)))
		if err != nil {
			t.Fatal(err)
		}
		if name == "nothing" {
			after = before
		}
		if diff := cmp.Diff(c.want, Compare(before, after)); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", name, diff)
		}
		if back := Compare(after, before); len(back) != len(c.want) {
			t.Errorf("%s, back: %q", name, back)
		}
	}
}
