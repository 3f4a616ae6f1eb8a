package crm

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// cibStandIn writes a shell script that is run instead of cibadmin; it keeps each argument in a line of the returned
// file.
func cibStandIn(t *testing.T, script string) (cib *CIB, args string) {
	t.Helper()
	dir := t.TempDir()
	file, args := filepath.Join(dir, "cibadmin"), filepath.Join(dir, "args")
	script = "#!/bin/sh\nfor a; do echo \"$a\"; done >>" + args + "\n" + script + "\n"
	if err := os.WriteFile(file, []byte(script), 0o755); err != nil { //nolint:gosec // It has to be executable.
		t.Fatal(err)
	}
	return &CIB{Command: []string{file}, Timeout: 5 * time.Second}, args
}

var wish = Location{
	ID: "pgha-switchover-drbd_pg-clone", Resource: "drbd_pg-clone", Node: "node1", Role: RolePromoted, Score: Infinity,
	Until: time.Date(2026, 11, 26, 3, 0, 0, 0, time.UTC),
}

// What AddPreference writes was tried with the cibadmin and the scheduler of Pacemaker 2.1.5: crm_simulate moves the
// promoted role and its group with resource-stickiness 0 and 1000, not with INFINITY, and not after the end.
const wishXML = `<rsc_location id="pgha-switchover-drbd_pg-clone" rsc="drbd_pg-clone">` +
	`<rule id="pgha-switchover-drbd_pg-clone-rule" role="Promoted" score="INFINITY" boolean-op="and">` +
	`<expression id="pgha-switchover-drbd_pg-clone-node" attribute="#uname" operation="eq" value="node1"/>` +
	`<date_expression id="pgha-switchover-drbd_pg-clone-until" operation="lt" end="2026-11-26 03:00:00Z"/>` +
	`</rule></rsc_location>`

func TestAddPreferenceAndRemoveConstraint(t *testing.T) {
	cib, args := cibStandIn(t, "")
	if err := cib.AddPreference(t.Context(), wish, "3.0.0"); err != nil {
		t.Fatal(err)
	}
	if err := cib.RemoveConstraint(t.Context(), wish.ID); err != nil {
		t.Fatal(err)
	}
	got, _ := os.ReadFile(args)
	want := "-C\n-o\nconstraints\n-X\n" + wishXML + "\n-D\n--xpath\n//rsc_location[@id='pgha-switchover-drbd_pg-clone']\n"
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("cibadmin was called otherwise (-want +got):\n%s", diff)
	}
}

func TestAddPreferenceTellsARefusalApart(t *testing.T) {
	cib, _ := cibStandIn(t, `echo "Call failed: File exists" >&2; exit 108`)
	if err := cib.AddPreference(t.Context(), wish, ""); !errors.Is(err, ErrExists) {
		t.Errorf("err = %v, want ErrExists", err)
	}
	cib, _ = cibStandIn(t, `echo "Could not connect to the CIB: Transport endpoint is not connected" >&2; exit 102`)
	var exit *ExitError
	err := cib.AddPreference(t.Context(), wish, "")
	if !errors.As(err, &exit) || exit.Code != 102 || exit.Command != "cibadmin" {
		t.Errorf("err = %v", err)
	}
	cib, _ = cibStandIn(t, `sleep 60`)
	cib.Timeout = 50 * time.Millisecond
	if err := cib.RemoveConstraint(t.Context(), wish.ID); err == nil {
		t.Error("a cibadmin that hangs is no success")
	}
}

func TestRoleWordOfOldVersions(t *testing.T) {
	for version, want := range map[string]string{
		"1.1.24-3850484742": "Master", "2.0.5-ba59be712": "Master", "2.1.0-7c3f660707": "Promoted",
		"2.1.5-a3f44794f94": "Promoted", "3.0.0-d8340737c4": "Promoted", "": "Promoted",
	} {
		if got := roleWord(RolePromoted, version); got != want {
			t.Errorf("%q: %s, want %s", version, got, want)
		}
	}
}

func TestConfiguration(t *testing.T) {
	const doc = `<configuration><crm_config/><resources><clone id="drbd_pg-clone">
  <meta_attributes id="m"><nvpair id="n1" name="resource-stickiness" value="INFINITY"/></meta_attributes>
</clone></resources>
<constraints>
  <rsc_colocation id="c" rsc="g_pg" with-rsc="drbd_pg-clone" score="INFINITY"/>
  <rsc_location id="fence_node1-not-on-target" rsc="fence_node1" node="node1" score="-INFINITY"/>
  <rsc_location id="wish" rsc="drbd_pg-clone" role="Master" node="node2" score="50"/>
  ` + wishXML + `
  <rsc_location id="fence" rsc="drbd_pg-clone"><rule id="r" role="Promoted" score="-INFINITY">
    <expression id="x" attribute="#uname" operation="ne" value="node2"/>
  </rule></rsc_location>
</constraints>
<rsc_defaults><meta_attributes id="defaults">
  <nvpair id="n2" name="resource-stickiness" value="1000"/>
</meta_attributes></rsc_defaults></configuration>`
	file := filepath.Join(t.TempDir(), "cib.xml")
	if err := os.WriteFile(file, []byte(doc), 0o644); err != nil {
		t.Fatal(err)
	}
	cib, _ := cibStandIn(t, `[ "$*" = "-Q -o configuration" ] && cat `+file)
	got, err := cib.Configuration(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := &Configuration{InfiniteStickiness: []string{"m"}, Locations: []Location{
		{ID: "fence_node1-not-on-target", Resource: "fence_node1", Node: "node1", Score: -Infinity},
		{ID: "wish", Resource: "drbd_pg-clone", Node: "node2", Role: RolePromoted, Score: 50},
		wish,
		{ID: "fence", Resource: "drbd_pg-clone", Role: RolePromoted, Score: -Infinity},
	}}
	got = &Configuration{InfiniteStickiness: got.InfiniteStickiness, Locations: got.Locations}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if !wish.Applies(wish.Until.Add(-time.Second)) || wish.Applies(wish.Until) || !(Location{}).Applies(wish.Until) {
		t.Error("a constraint applies until its end, and without one for ever")
	}
	cib, _ = cibStandIn(t, `echo '<configuration>'`)
	if _, err := cib.Configuration(t.Context()); err == nil {
		t.Error("half of a document is no configuration")
	}
}

func FuzzConfiguration(f *testing.F) {
	f.Add([]byte("<configuration><constraints>" + wishXML + "</constraints></configuration>"))
	f.Add([]byte(`<configuration><resources><clone id="c"><meta_attributes>
<nvpair name="resource-stickiness" value="INFINITY"/>
</meta_attributes></clone></resources></configuration>`))
	f.Add([]byte(`<configuration><constraints><rsc_location rsc="x" node="y" score="-1000000000000"><rule>
<date_expression operation="lt" end="24:00"/>
</rule></rsc_location></constraints></configuration>`))
	f.Fuzz(func(t *testing.T, doc []byte) {
		c, err := ParseConfiguration(doc)
		if err != nil {
			return
		}
		for _, l := range c.Locations {
			if l.Score > Infinity || l.Score < -Infinity {
				t.Errorf("score %d", l.Score)
			}
			_ = l.Applies(time.Unix(0, 0))
		}
	})
}
