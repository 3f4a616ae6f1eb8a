package agent

import (
	"os"
	"path/filepath"
	"testing"
)

// TestAReplacedProgramIsSeen: another file under the name is an update, the same one is none, and no file is no reason
// for a restart.
func TestAReplacedProgramIsSeen(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(self, link); err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(t.TempDir(), "other")
	if err := os.WriteFile(other, nil, 0o755); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]bool{self: false, link: false, other: true, other + ".gone": false} {
		if got := replacedAt(path); got != want {
			t.Errorf("%s: %v", path, got)
		}
	}
}
