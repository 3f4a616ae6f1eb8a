package deploy

import (
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode"
)

// Links to files and sections of this repository lead somewhere. Links to elsewhere are not tried.
func TestLinksInDocumentsResolve(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^()\s]+)\)`)
	seen := 0
	for _, doc := range documents(t) {
		for _, target := range submatches(link.String(), withoutCode(read(t, doc))) {
			u, err := url.Parse(target)
			if err != nil {
				t.Errorf("%s: link %s: %v", doc, target, err)
				continue
			}
			if u.Scheme != "" {
				continue
			}
			seen++
			path := doc
			if u.Path != "" {
				path = filepath.Join(filepath.Dir(doc), filepath.FromSlash(u.Path))
			}
			if _, err := os.Stat(path); err != nil {
				t.Errorf("%s: link %s: %v", doc, target, err)
			} else if u.Fragment != "" && !sections(read(t, path))[u.Fragment] {
				t.Errorf("%s: link %s: %s has no such section", doc, target, path)
			}
		}
	}
	if seen < 50 {
		t.Errorf("only %d links found: has the form of links changed?", seen)
	}
}

func documents(t *testing.T) []string {
	t.Helper()
	var docs []string
	if err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		switch name := filepath.Base(path); {
		case err != nil:
			return err
		case d.IsDir() && (name == ".git" || name == "bin" || name == "dist" || name == "testdata"):
			return fs.SkipDir
		case strings.HasSuffix(name, ".md"):
			docs = append(docs, path)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return docs
}

// withoutCode drops fenced blocks: what looks like a link or a heading there is none.
func withoutCode(text string) string {
	return regexp.MustCompile("(?ms)^ *```.*?^ *```$").ReplaceAllString(text, "")
}

// sections returns the anchors that GitHub makes of a document's headings.
func sections(text string) map[string]bool {
	anchors := map[string]bool{}
	for _, heading := range submatches(`(?m)^#+ +(.*)$`, withoutCode(text)) {
		anchors[strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r):
				return unicode.ToLower(r)
			}
			return -1
		}, heading)] = true
	}
	return anchors
}
