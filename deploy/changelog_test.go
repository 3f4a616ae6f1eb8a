package deploy

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

type packageRelease struct {
	Semver  string                  `yaml:"semver"`
	Date    string                  `yaml:"date"`
	Changes []struct{ Note string } `yaml:"changes"`
}

func packageChangelog(t *testing.T, version string) (list []packageRelease) {
	t.Helper()
	out, err := exec.Command("../.ci/changelog", version, "2031-05-06T07:08:09Z").Output()
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(out, &list); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return list
}

// TestPackagesHaveTheChangelogOfThisRepository holds what deb and rpm say to CHANGELOG.md, before, at and after a tag.
func TestPackagesHaveTheChangelogOfThisRepository(t *testing.T) {
	data, err := os.ReadFile("../CHANGELOG.md")
	if err != nil {
		t.Fatal(err)
	}
	if !regexp.MustCompile(`(?m)^## Unreleased$`).Match(data) {
		t.Error("CHANGELOG.md has no section Unreleased")
	}
	for _, heading := range submatches(`(?m)^## (.*)$`, string(data)) {
		if !regexp.MustCompile(`^(Unreleased|\d+\.\d+\.\d+ - \d{4}-\d\d-\d\d)$`).MatchString(heading) {
			t.Errorf("heading %q: want a version and its date", heading)
		}
	}
	releases := submatches(`(?m)^## (\d[^ ]*)`, string(data))
	last, bullets := releases[0], strings.Count(string(data), "\n- ")
	unreleased, _, _ := strings.Cut(string(data), "\n## "+last)
	news := strings.Count(unreleased, "\n- ")

	for _, c := range []struct {
		version string
		top     packageRelease
		notes   int // of the top entry
		all     int // entries
	}{
		{"0~git20310506.abcdef0", packageRelease{Semver: "0~git20310506.abcdef0"}, bullets, 1},
		{last, packageRelease{Semver: last}, -1, len(releases)},
		{last + "+4.gabcdef0", packageRelease{Semver: last + "+4.gabcdef0"}, max(news, 1), len(releases) + 1},
	} {
		got := packageChangelog(t, c.version)
		if len(got) != c.all || got[0].Semver != c.top.Semver || c.notes >= 0 && len(got[0].Changes) != c.notes {
			t.Errorf("%s: %d entries, the first %s with %d notes; want %d, %d", c.version, len(got), got[0].Semver,
				len(got[0].Changes), c.all, c.notes)
		}
		for _, e := range got {
			for _, change := range e.Changes {
				for line := range strings.Lines(change.Note) {
					if len(line) > 71 || strings.TrimSpace(line) == "" {
						t.Errorf("%s: line %q", e.Semver, line)
					}
				}
			}
		}
	}
	if date := packageChangelog(t, last)[0].Date; strings.HasPrefix(date, "2031") {
		t.Error("the date of a release is not that of its section")
	}
}
