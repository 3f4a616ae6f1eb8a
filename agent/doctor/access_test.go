package doctor

import (
	"errors"
	"os"
	"strings"
	"testing"
)

func TestMay(t *testing.T) {
	f := tree(t, map[string]string{"/a/b/hook": "x"})
	if err := os.Chmod(f.path("/"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct {
		file, dir os.FileMode
		bit       uint32
		want      string
	}{
		{0o755, 0o755, 1, ""}, {0o744, 0o755, 1, "mode 0744"}, {0o755, 0o750, 1, "directory"}, {0o644, 0o755, 4, ""},
		{0o640, 0o755, 4, "mode 0640"},
	} {
		if err := errors.Join(os.Chmod(f.path("/a/b/hook"), x.file), os.Chmod(f.path("/a/b"), x.dir)); err != nil {
			t.Fatal(err)
		}
		// nobody is in no group that owns the files.
		if got := f.may("/a/b/hook", "nobody", x.bit); x.want == "" && got != "" || !strings.Contains(got, x.want) {
			t.Errorf("file %o, directory %o: %q, want %q", x.file, x.dir, got, x.want)
		}
	}
	if got := f.may("/a/b/hook", "no-such-user", 1); got == "" {
		t.Error("a user who does not exist may run it")
	}
}
