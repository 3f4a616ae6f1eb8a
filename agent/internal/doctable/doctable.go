// Package doctable holds tables of the documentation to the code that they are made from.
package doctable

import (
	"os"
	"strings"
	"testing"
)

// Hold fails the test when the table that a page has from a package is another than want. With update it rewrites the
// page. The table stands between a comment that names the package and the next "<!-- end -->".
func Hold(t *testing.T, page, pkg, want string, update bool) {
	t.Helper()
	begin := "<!-- made from " + pkg + " by `make docs` -->\n"
	got, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, found := strings.Cut(string(got), begin)
	is, after, ended := strings.Cut(rest, "<!-- end -->\n")
	switch {
	case !found || !ended:
		t.Fatalf("%s has no place for the table of %s", page, pkg)
	case is == want:
	case !update:
		t.Errorf("%s is not current: run `make docs`", page)
	default:
		if err := os.WriteFile(page, []byte(before+begin+want+"<!-- end -->\n"+after), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
