package agent

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"strings"
	"testing"
)

// TestImportsPointOneWay holds the shape: cmd -> agent -> {drbd, crm, pg, route53}, agent -> agent/fsm; leaves import
// nothing of this module, and the core imports only time. Whatever the table allows, no package imports its parent: so
// nothing below agent imports agent.
func TestImportsPointOneWay(t *testing.T) {
	const module = "github.com/pgha/pgha-agent/"
	allowed := map[string][]string{
		"agent": {"agent/alertsock", "agent/aws", "agent/config", "agent/doctor", "agent/explain", "agent/fsm",
			"agent/internal/wait", "agent/metrics", "agent/mounts", "agent/peer", "agent/state", "agent/status", "agent/web", "crm", "crm/corosync", "drbd",
			"pg", "route53"},
		"agent/alertsock":   {"crm"},
		"agent/aws":         {"agent/internal/text"},
		"agent/aws/awstest": {},
		"agent/config":      {"agent/internal/text", "pg", "route53"},
		"agent/doctor": {"agent/aws", "agent/explain", "agent/fsm", "agent/internal/command", "agent/internal/text", "agent/mounts", "agent/peer",
			"agent/status", "crm", "crm/corosync", "drbd", "pg", "route53"},
		"agent/explain":            {"agent/fsm", "agent/status", "crm", "drbd", "pg"},
		"agent/fsm":                {},
		"agent/internal/codetest":  {},
		"agent/internal/command":   {"agent/internal/text"},
		"agent/internal/doctable":  {},
		"agent/internal/statetest": {"agent/fsm", "agent/state"},
		"agent/internal/text":      {},
		"agent/internal/wait":      {},
		"agent/metrics":            {"agent/doctor", "agent/explain", "agent/fsm", "agent/status", "crm", "drbd", "pg", "route53"},
		"agent/mounts":             {},
		"agent/peer":               {"agent/config", "agent/status"},
		"agent/report":             {"agent/config", "agent/internal/command", "agent/internal/text", "agent/peer", "agent/status"},
		"agent/web":                {"agent/alertsock", "agent/explain", "agent/fsm", "agent/state", "agent/status"},
		"agent/state":              {"agent/fsm", "agent/internal/text", "agent/internal/wait"},
		"agent/status":             {"agent/config", "agent/fsm", "agent/mounts", "agent/state", "crm", "drbd", "pg", "route53"},
		"agent/switchover": {"agent/config", "agent/explain", "agent/fsm", "agent/internal/wait", "agent/peer", "agent/status", "crm", "drbd", "pg",
			"route53"},
		"crm":                   {},
		"crm/corosync":          {},
		"drbd":                  {},
		"pg":                    {},
		"pg/pgtest":             {},
		"route53":               {},
		"route53/route53test":   {},
		"deploy":                {},
		"cmd/pgha-demo/standin": {},
		"cmd/pgha-lab/cloud":    {"route53/route53test"},
		"cmd/internal/appload":  {"cmd/internal/wait"},
		"cmd/internal/wait":     {},
	}
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports", module+"...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	seen := 0
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var pkg struct {
			ImportPath string
			Imports    []string
		}
		if err := dec.Decode(&pkg); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		name := strings.TrimPrefix(pkg.ImportPath, module)
		may, listed := allowed[name]
		if !listed && !strings.HasPrefix(name, "cmd/") {
			t.Errorf("package %s is not in this test: say what it may import", name)
		}
		seen++
		for _, imp := range pkg.Imports {
			if name == "agent/fsm" && imp != "time" {
				t.Errorf("the core imports %s: effects go out as values, time comes in as an argument", imp)
			}
			ours, is := strings.CutPrefix(imp, module)
			if !is {
				continue
			}
			if strings.HasPrefix(name, ours+"/") {
				t.Errorf("%s imports its parent %s: a package is made of its children, and no child knows its parent", name,
					ours)
			}
			if !listed { // a program
				if strings.HasPrefix(ours, "cmd/") && !strings.HasPrefix(ours, "cmd/internal/") &&
					!strings.HasPrefix(ours, name+"/") {
					t.Errorf("%s imports a part of the program %s", name, ours)
				}
				continue
			}
			ok := false
			for _, m := range may {
				ok = ok || m == ours
			}
			if !ok {
				t.Errorf("%s must not import %s", name, ours)
			}
		}
	}
	if seen < len(allowed)-1 {
		t.Errorf("go list found %d packages, too few to have looked at all", seen)
	}
}
