package main

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

func TestWriteNew(t *testing.T) {
	name := filepath.Join(t.TempDir(), "report.tar.gz")
	broken := errors.New("broken")
	if _, err := writeNew(name, func(io.Writer) error { return broken }); !errors.Is(err, broken) {
		t.Errorf("%v", err)
	}
	if _, err := os.Stat(name); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("half a file is left: %v", err)
	}
	size, err := writeNew(name, func(w io.Writer) error {
		_, err := io.WriteString(w, "first")
		return err
	})
	if info, serr := os.Stat(name); err != nil || size != 5 || serr != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%d, %v, %v, %v", size, err, info, serr)
	}
	if _, err := writeNew(name, func(io.Writer) error { return nil }); !errors.Is(err, fs.ErrExist) {
		t.Errorf("written over: %v", err)
	}
	if data, err := os.ReadFile(name); err != nil || string(data) != "first" {
		t.Errorf("%q, %v", data, err)
	}
}

func TestReportRefusesATimeThatIsNone(t *testing.T) {
	for _, since := range []string{"0s", "-1h", "169h"} {
		root := newRoot()
		root.SetArgs([]string{"report", "--since", since})
		if err := root.Execute(); err == nil {
			t.Errorf("--since %s: no error", since)
		}
	}
}
