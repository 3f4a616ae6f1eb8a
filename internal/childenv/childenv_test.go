package childenv

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestAChildHasItsOwnLocaleAndZone(t *testing.T) {
	t.Setenv("LC_ALL", "de_DE.UTF-8")
	t.Setenv("TZ", "Europe/Berlin")
	t.Setenv("PGHA_TEST", "kept")
	cmd := exec.CommandContext(t.Context(), "/bin/sh", "-c", `echo "$LC_ALL $TZ $PGHA_TEST $(date -d @1795398715 +%H:%M)"`)
	cmd.Env = Environ()
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	if got, want := string(out), "C UTC kept 01:51\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// TestEachProgramOfTheAgentGetsIt finds whoever starts a program in another way.
func TestEachProgramOfTheAgentGetsIt(t *testing.T) {
	found := 0
	for _, root := range []string{"agent", "crm", "drbd", "pg", "route53", "cmd/pgha-agent"} { // the hook becomes the agent
		err := filepath.WalkDir("../../"+root, func(path string, d fs.DirEntry, err error) error {
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
			if got := strings.Count(string(source), "cmd.Env = childenv.Environ()"); got != starts {
				t.Errorf("%s starts a program in %d places, %d of them with childenv.Environ", path, starts, got)
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
