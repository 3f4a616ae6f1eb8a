package deploy

import (
	"os/exec"
	"path"
	"strings"
	"testing"
)

// TestDesignNamesEveryPackage keeps the table of docs/design.md complete.
func TestDesignNamesEveryPackage(t *testing.T) {
	cmd := exec.Command("go", "list", "./...")
	cmd.Dir = ".."
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	named := map[string]bool{}
	for _, row := range submatches("(?m)^\\| (`[^|]*) \\|", read(t, "../docs/design.md")) {
		for _, name := range submatches("`([^`]+)`", row) {
			named[name] = true
		}
	}
	seen := 0
	for pkg := range strings.Lines(string(out)) {
		dir := strings.TrimPrefix(strings.TrimSpace(pkg), "github.com/pgha/pgha-agent/")
		seen++
		if !named[dir] && !named[path.Dir(dir)+"/*"] {
			t.Errorf("docs/design.md does not say what package %s does", dir)
		}
	}
	if seen < 20 {
		t.Errorf("only %d packages found", seen)
	}
}
