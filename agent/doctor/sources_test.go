package doctor

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/pgha/pgha-agent/crm"
)

// TestLabPasses: what the lab builds is what docs/install.md recommends.
func TestLabPasses(t *testing.T) {
	text, err := os.ReadFile("../../cmd/pgha-lab/guest/cib.xml")
	if err != nil {
		t.Fatal(err)
	}
	// The alert is registered later; this preference is for the first start only.
	preference := `<rsc_location id="first-promotion" rsc="drbd_pg-clone" role="Promoted" node="node2" score="50"/>`
	if !strings.Contains(string(text), preference) {
		t.Fatal("the lab's first preference is another one")
	}
	cib, err := crm.ParseConfiguration([]byte(strings.Replace(string(text), preference, "", 1)))
	if err != nil {
		t.Fatal(err)
	}
	f := healthy(t)
	cib.Properties["dc-version"] = "3.0.0-3.0.0" // Pacemaker adds it
	f.Options.Clone, f.Options.Resource, f.Options.Node, f.CIB = "drbd_pg-clone", "pg", "node1", cib
	for _, c := range All() {
		if !slices.Equal(c.Needs, []Source{fromCIB}) && c.Name != "drbd-handler-timeout" {
			continue
		}
		if r := f.result(c); r.Verdict != Pass && c.Name != "fence-timeout" { // fence_lab states no time
			t.Errorf("%s: %s: %s", c.Name, r.Verdict, r.Evidence)
		}
	}
}

// TestNothingIsThere runs everything on a machine that is no cluster node: no check may pass for want of facts, and
// none may hang.
func TestNothingIsThere(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	t.Setenv("AWS_CONFIG_FILE", "/nonexistent")
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
	o := healthy(t).Options
	o.CrmMon, o.Drbdsetup, o.root = []string{"/nonexistent/crm_mon"}, []string{"/nonexistent/drbdsetup"}, t.TempDir()
	o.PostgresDSN = "host=" + t.TempDir() + " user=pgha dbname=postgres"
	o.Record.EndpointURL, o.IMDS, o.Resolver = "http://127.0.0.1:1", "http://127.0.0.1:1", "127.0.0.1:1"
	hostOnly := []string{"postgres-not-enabled", "drbd-not-enabled", "multipath"} // no file says that it is wrong
	for _, r := range Run(t.Context(), o, All()) {
		if r.Verdict == Pass && !slices.Contains(hostOnly, r.Check) && r.Check != "clock" {
			t.Errorf("%s passes: %s", r.Check, r.Evidence)
		}
		if r.Verdict == Unknown && r.Evidence == "" {
			t.Errorf("%s is unknown and does not say why", r.Check)
		}
	}
}
