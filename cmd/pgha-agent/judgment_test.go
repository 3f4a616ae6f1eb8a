package main

import (
	"bytes"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// TestWordsFitTheTerminal: lines that the terminal breaks are hard to read; a pipe has no width.
func TestWordsFitTheTerminal(t *testing.T) {
	if got := wordsOf(&bytes.Buffer{}); got != wordsWidth {
		t.Errorf("a pipe: %d", got)
	}
	f, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skip(err)
	}
	defer f.Close()
	for columns, want := range map[uint16]int{80: 70, 200: wordsWidth, 20: 30} {
		if err := unix.IoctlSetWinsize(int(f.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: columns}); err != nil {
			t.Skip(err)
		}
		if got := wordsOf(f); got != want {
			t.Errorf("%d columns: %d, want %d", columns, got, want)
		}
	}
}
