package text

import (
	"testing"
	"unicode/utf8"
)

func TestLine(t *testing.T) {
	for in, want := range map[string]string{
		"":                         "",
		"as it is":                 "as it is",
		" two\nlines\r\n\tof it\n": "two lines of it",
		"\x1b[2Jcursor\u009b":      "[2Jcursor",
		"no\xffUTF-8":              "no?UTF-8",
		"0123456789abcdefx":        "0123456789abcdef...",
		"0123456789abcde\u00e9x":   "0123456789abcde...",
	} {
		if got := Line(in, 16); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

func TestQuoted(t *testing.T) {
	for in, want := range map[string]string{
		"as  it is":         "as  it is",
		"two\nlines":        `"two\nlines"`,
		"\x1b[2J":           `"\x1b[2J"`,
		"0123456789abcdefx": "0123456789abcdef...",
	} {
		if got := Quoted(in, 16); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

func TestASCII(t *testing.T) {
	for in, want := range map[string]string{
		"as it is":           "as it is",
		"two\nlines\x7f":     "two?lines?",
		"caf\u00e9":          "caf?",
		"no\xffUTF-8":        "no?UTF-8",
		"0123456789abcdefxy": "0123456789abcdef",
	} {
		if got := ASCII(in, 16); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

func FuzzBound(f *testing.F) {
	f.Add("a\u00e9\xff", 2)
	f.Fuzz(func(t *testing.T, s string, n int) {
		if n < 0 {
			return
		}
		if got := Bound(s, n); len(got) > n || !utf8.ValidString(got) {
			t.Errorf("%q of %q", got, s)
		}
	})
}
