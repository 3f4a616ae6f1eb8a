package agent

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestEachProgramOfTheAgentSpeaksEnglishInUTC finds whoever starts a program with another environment: the parsers rely
// on it.
func TestEachProgramOfTheAgentSpeaksEnglishInUTC(t *testing.T) {
	found := 0
	// The hook becomes the agent.
	for _, root := range []string{"agent", "crm", "drbd", "pg", "route53", "cmd/pgha-agent"} {
		err := filepath.WalkDir(filepath.Join("..", root), func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if d.Name() == "pgtest" { // servers for tests
				return fs.SkipDir
			}
			if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return nil
			}
			source, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			starts := strings.Count(string(source), "exec.Command")
			for _, other := range []string{"os.StartProcess", "syscall.ForkExec", "syscall.Exec(", "exec.Cmd{"} {
				starts += strings.Count(string(source), other)
			}
			if starts == 0 {
				return nil
			}
			if got := strings.Count(string(source), "cmd.Env = append(os.Environ(), childEnv...)"); got != starts {
				t.Errorf("%s starts a program in %d places, %d of them with childEnv", path, starts, got)
			}
			if !strings.Contains(string(source), `childEnv = []string{"LC_ALL=C", "TZ=UTC"}`) {
				t.Errorf("%s: childEnv is another one", path)
			}
			found += starts
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if found < 3 {
		t.Errorf("found %d places that start a program: the test looks past them", found)
	}
}
