package deploy

import (
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const clusterDoc = "../docs/cluster.md"

// block returns the one code block of a document that contains a text.
func block(t *testing.T, path, containing string) string {
	t.Helper()
	var found []string
	for i, part := range strings.Split(read(t, path), "\n```") {
		if i%2 == 1 && strings.Contains(part, containing) {
			_, body, _ := strings.Cut(part, "\n") // the first line names the language
			found = append(found, body)
		}
	}
	if len(found) != 1 {
		t.Fatalf("%s: %d code blocks with %q, want one", path, len(found), containing)
	}
	return found[0]
}

// The commands of the page are run as they stand, on a file; then Pacemaker judges what they made.
func TestDocumentedClusterIsValid(t *testing.T) {
	script := block(t, clusterDoc, "pcs -f cluster.xml")
	commands := regexp.MustCompile(`(?m)^pcs -f cluster\.xml (?:.*\\\n)*.*$`).FindAllString(script, -1)
	if len(commands) < 10 || strings.Count(script, "pcs -f cluster.xml") != len(commands) {
		t.Fatalf("%d commands found: has the form of %s changed?", len(commands), clusterDoc)
	}
	for _, tool := range []string{"pcs", "crm_verify", "cibadmin", "fence_aws", "/usr/lib/ocf/resource.d/linbit/drbd",
		"/usr/lib/ocf/resource.d/heartbeat/pgsql"} {
		need(t, tool, "that pcs takes the commands of docs/cluster.md and Pacemaker what they make")
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "cluster.xml")
	empty, err := output(t, nil, "cibadmin", "--empty")
	if err != nil {
		t.Fatalf("cibadmin --empty: %v\n%s", err, empty)
	}
	cib := strings.Replace(empty[strings.Index(empty, "<cib"):], "<cib", `<cib have-quorum="1"`, 1)
	write(t, path, strings.Replace(cib, "<nodes/>",
		`<nodes><node id="1" uname="pg-1"/><node id="2" uname="pg-2"/></nodes>`, 1), 0o600)
	for _, command := range commands {
		if out, err := output(t, nil, "sh", "-c", "cd "+dir+" && "+command); err != nil {
			t.Errorf("%s\n%v\n%s", command, err, out)
		}
	}
	if out, err := output(t, nil, "crm_verify", "--verbose", "--xml-file", path); err != nil {
		t.Errorf("crm_verify: %v\n%s", err, out)
	}
	for _, want := range []string{`name="stonith-max-attempts" value="1000"`, `name="priority-fencing-delay" value="10s"`,
		`name="priority" value="10"`, `name="promotable" value="true"`, `with-rsc-role="Promoted"`,
		`first-action="promote"`} {
		if got := read(t, path); !strings.Contains(got, want) {
			t.Errorf("no %s in\n%s", want, got)
		}
	}
}

func TestDocumentedResourceIsReadByDRBD(t *testing.T) {
	resource := block(t, clusterDoc, "resource r0 {")
	need(t, "drbdadm", "that drbdadm reads the resource file of docs/cluster.md")
	path := filepath.Join(t.TempDir(), "r0.res")
	write(t, path, resource, 0o644)
	out, err := output(t, nil, "drbdadm", "--config-file", path, "dump", "all")
	if err != nil {
		t.Fatalf("drbdadm dump: %v\n%s", err, out)
	}
	for _, want := range []string{`crm-fence-peer.9.sh`, "resource-and-stonith", "hosts pg-1 pg-2"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in what drbdadm understood:\n%s", want, out)
		}
	}
}
