package route53

import (
	"os"
	"path/filepath"
	"testing"
)

func TestNormalName(t *testing.T) {
	for in, want := range map[string]string{
		"DB.x.": "db.x", `\052.x.`: "*.x", `\137pgha.db.x.`: "_pgha.db.x", `a\05`: `a\05`, `\400.x`: `\400.x`, "": "",
	} {
		if got := normalName(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func TestSystemServerLooksBehindTheStub(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		p := filepath.Join(dir, name)
		if err := os.WriteFile(p, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return p
	}
	plain := file("plain", "# comment\nsearch x\nnameserver junk\nnameserver 10.0.0.2\nnameserver 10.0.0.3\n")
	stub := file("stub", "nameserver 127.0.0.53\n")
	none := file("none", "search x\n")
	for _, tt := range []struct{ path, behind, want string }{
		{plain, none, "10.0.0.2:53"}, {stub, plain, "10.0.0.2:53"}, {stub, none, "127.0.0.53:53"},
		{file("six", "nameserver fd00::1\n"), none, "[fd00::1]:53"}, {none, plain, ""}, {filepath.Join(dir, "missing"), plain, ""},
	} {
		got, err := systemServer(tt.path, tt.behind)
		if got != tt.want || (err == nil) != (tt.want != "") {
			t.Errorf("%s: %q, %v", tt.path, got, err)
		}
	}
}
