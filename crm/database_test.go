package crm

import (
	"slices"
	"strings"
	"testing"
)

func TestDatabase(t *testing.T) {
	const resources = `<cib><configuration><resources>
 <clone id="drbd-clone"><meta_attributes id="m"><nvpair id="m1" name="promotable" value="true"/></meta_attributes>
  <primitive id="drbd" class="ocf" provider="linbit" type="drbd"/></clone>
 <group id="pg"><primitive id="fs" class="ocf" provider="heartbeat" type="Filesystem"><instance_attributes id="i">
   <nvpair id="i1" name="directory" value="/srv/pg"/></instance_attributes></primitive>
  <primitive id="pgsql" class="ocf" provider="heartbeat" type="pgsql"/></group>
 <primitive id="app" class="systemd" type="app"/><primitive id="far" class="systemd" type="far"/>
 <primitive id="web" class="systemd" type="web"/><clone id="ping-clone"><primitive id="ping" class="ocf" type="ping"/></clone>
 <primitive id="mail" class="systemd" type="mail"/><primitive id="dlm" class="ocf" type="dlm"/>
</resources><constraints>`
	const withClone = `<rsc_colocation id="a" rsc="pg" with-rsc="drbd-clone" with-rsc-role="Promoted" score="INFINITY"/>`
	const core = "drbd drbd-clone fs pg pgsql"
	for name, c := range map[string]struct{ constraints, want string }{
		"alone":        {"", "drbd drbd-clone"},
		"with a group": {withClone, core},
		"transitively": {withClone + `<rsc_colocation id="b" rsc="app" with-rsc="pgsql" score="INFINITY"/>
<rsc_colocation id="c" rsc="far" with-rsc="app" score="INFINITY"/>`, "app drbd drbd-clone far fs pg pgsql"},
		"a preference is no tie": {withClone + `<rsc_colocation id="b" rsc="app" with-rsc="pgsql" score="100"/>`, core},
		"kept apart":             {withClone + `<rsc_colocation id="b" rsc="app" with-rsc="pgsql" score="-INFINITY"/>`, core},
		"what the clone needs": {withClone + `<rsc_order id="o" first="dlm" then="drbd-clone"/>
<rsc_colocation id="b" rsc="drbd-clone" with-rsc="ping-clone" score="INFINITY"/>
<rsc_colocation id="d" rsc="mail" with-rsc="ping-clone" score="INFINITY"/>`, "dlm drbd drbd-clone fs pg pgsql ping ping-clone"},
		"what PostgreSQL needs, and what that needs": {withClone + `<rsc_colocation id="b" rsc="pg" with-rsc="mail" score="INFINITY"/>
<rsc_order id="o" first="dlm" then="mail"/><rsc_order id="p" first="far" then="dlm" kind="Optional"/>
<rsc_colocation id="d" rsc="web" with-rsc="mail" score="INFINITY"/>`, "dlm drbd drbd-clone fs mail pg pgsql"},
		"what a guest of the database needs": {withClone + `<rsc_colocation id="b" rsc="app" with-rsc="pgsql" score="INFINITY"/>
<rsc_order id="o" first="dlm" then="app"/>`, "app drbd drbd-clone fs pg pgsql"},
		"as a set": {`<rsc_colocation id="a" score="INFINITY"><resource_set id="s1"><resource_ref id="fs"/></resource_set>
<resource_set id="s2" role="Promoted"><resource_ref id="drbd-clone"/></resource_set></rsc_colocation>`, core},
		"a set in order": {withClone + `<rsc_colocation id="b" score="INFINITY"><resource_set id="s"><resource_ref id="pgsql"/>
<resource_ref id="app"/><resource_ref id="far"/></resource_set></rsc_colocation>`, "app drbd drbd-clone far fs pg pgsql"},
		"a set without order": {withClone + `<rsc_colocation id="b" score="INFINITY"><resource_set id="s" sequential="false">
<resource_ref id="pgsql"/><resource_ref id="app"/></resource_set></rsc_colocation>`, core},
	} {
		c2, err := ParseConfiguration([]byte(resources + c.constraints + `</constraints></configuration></cib>`))
		if err != nil {
			t.Fatal(err)
		}
		for _, clone := range []string{"drbd-clone", "drbd"} {
			if got := strings.Join(c2.Database(clone), " "); got != c.want {
				t.Errorf("%s, %s: %s, want %s", name, clone, got, c.want)
			}
		}
		if points := c2.MountPoints("drbd-clone"); strings.Contains(c.want, "fs") != slices.Equal(points, []string{"/srv/pg"}) {
			t.Errorf("%s: %q", name, points)
		}
	}
}
