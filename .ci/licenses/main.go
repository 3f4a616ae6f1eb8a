// Command licenses lists the license of every module that is linked into the programs it is given, and fails when one
// is not on the list of those that go with ours (Apache 2.0), or cannot be told.
package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/google/licensecheck"
)

// allowed are licenses (SPDX) under which a program of ours may pass on somebody's code, if it passes on their text
// too.
var allowed = []string{"Apache-2.0", "MIT", "BSD-2-Clause", "BSD-3-Clause", "ISC", "0BSD"}

// leastCovered is how much of a license's file has to be known words, in percent. Copyright lines and headings are not.
const leastCovered = 75

var licenseFile = regexp.MustCompile(`(?i)^(un)?licen[cs]e|^copying|^notice`)

// module is what `go list` says about one.
type module struct {
	Path, Version, Dir string
	Main               bool
	Replace            *module
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "licenses:", err)
		os.Exit(1)
	}
}

func run(programs []string) error {
	if len(programs) == 0 {
		return errors.New("name the packages of the programs, like ./cmd/pgha-agent")
	}
	modules, err := linked(programs)
	if err != nil {
		return err
	}
	out := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	var bad []error
	fmt.Fprintln(out, "MODULE\tVERSION\tLICENCE")
	for _, m := range modules {
		names, err := licensesOf(m.Dir)
		if err != nil {
			bad = append(bad, fmt.Errorf("%s: %w", m.Path, err))
			names = []string{"?"}
		}
		fmt.Fprintf(out, "%s\t%s\t%s\n", m.Path, m.Version, strings.Join(names, ", "))
	}
	fmt.Fprintf(out, "%d modules\t\t%d problems\n", len(modules), len(bad))
	return errors.Join(append(bad, out.Flush())...)
}

// linked lists the modules of all packages that the programs are made of, but our own and the standard library
// (BSD-3-Clause).
func linked(programs []string) ([]module, error) {
	cmd := exec.Command("go", append([]string{"list", "-deps", "-json=Module"}, programs...)...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("list packages: %w", err)
	}
	found := map[string]module{}
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var pkg struct{ Module *module }
		if err := dec.Decode(&pkg); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, fmt.Errorf("list packages: %w", err)
		}
		if m := pkg.Module; m != nil && !m.Main {
			if m.Replace != nil {
				m = m.Replace
			}
			found[m.Path] = *m
		}
	}
	if len(found) == 0 {
		return nil, errors.New("no module found: that cannot be")
	}
	return slices.SortedFunc(maps.Values(found), func(a, b module) int { return cmp.Compare(a.Path, b.Path) }), nil
}

// licensesOf names the licenses of a module by the files in its top directory.
func licensesOf(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if e.IsDir() || !licenseFile.MatchString(e.Name()) {
			continue
		}
		text, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			return nil, err
		}
		cover := licensecheck.Scan(text)
		if strings.HasPrefix(strings.ToLower(e.Name()), "notice") && len(cover.Match) == 0 {
			continue // names, no license
		}
		if cover.Percent < leastCovered {
			return nil, fmt.Errorf("%s is only to %.0f %% a known license: read it", e.Name(), cover.Percent)
		}
		for _, m := range cover.Match {
			if !slices.Contains(allowed, m.ID) {
				return nil, fmt.Errorf("%s has the license %s, which is not on the list", e.Name(), m.ID)
			}
			names = append(names, m.ID)
		}
	}
	if len(names) == 0 {
		return nil, errors.New("no license found")
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}
