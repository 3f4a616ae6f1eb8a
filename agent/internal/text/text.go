// Package text makes what others said fit for a line, a file or a message.
package text

import "strings"

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
	if len(s) > n {
		s = strings.ToValidUTF8(s[:n], "") + "..."
	}
	return s
}
