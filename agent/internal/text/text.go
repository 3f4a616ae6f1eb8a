// Package text makes what others said fit for a line, a file or a message.
package text

import (
	"fmt"
	"strings"
)

// Bound returns valid UTF-8 of at most n bytes.
func Bound(s string, n int) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) > n {
		s = strings.ToValidUTF8(s[:n], "") // the cut may go through a character
	}
	return s
}

// Line returns s as one printable line of at most n bytes, with "..." behind it when that cuts something off. Control
// characters and line breaks become spaces, several spaces one.
func Line(s string, n int) string {
	s = strings.Join(strings.FieldsFunc(strings.ToValidUTF8(s, "?"), func(r rune) bool {
		return r <= ' ' || r >= 0x7f && r < 0xa0
	}), " ")
	return Cut(s, n)
}

// Cut returns s, with "..." instead of what is beyond n bytes.
func Cut(s string, n int) string {
	if len(s) > n {
		s = strings.ToValidUTF8(s[:n], "") + "..."
	}
	return s
}

// Quoted returns s as it is when all of it can be read in a line, else in quotes and with escapes, and cut after n
// bytes. It is for messages about a text that the reader wrote: Line would change the text.
func Quoted(s string, n int) string {
	if q := fmt.Sprintf("%q", s); q != `"`+s+`"` {
		s = q
	}
	return Cut(s, n)
}

// ASCII returns s with a "?" for what is not a printable character of ASCII, at most n bytes of it.
func ASCII(s string, n int) string {
	return Bound(strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f {
			return '?'
		}
		return r
	}, s), n)
}
