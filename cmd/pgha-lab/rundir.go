package main

import (
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// newRunDir makes the directory of one run, locked for its life, and removes those of runs that are no more.
func newRunDir(cache string) (dir string, remove func(), err error) {
	runs := filepath.Join(cache, "run")
	if err := os.MkdirAll(runs, 0o700); err != nil {
		return "", nil, err
	}
	old, _ := filepath.Glob(filepath.Join(runs, "*"))
	for _, o := range old {
		if f, err := lockDir(o); err == nil {
			_ = os.RemoveAll(o)
			_ = f.Close()
		}
	}
	dir, err = os.MkdirTemp(runs, "")
	if err != nil {
		return "", nil, err
	}
	f, err := lockDir(dir)
	if err != nil {
		return "", nil, err
	}
	return dir, func() { _ = os.RemoveAll(dir); _ = f.Close() }, nil
}

func lockDir(dir string) (*os.File, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("lock %s: %w", dir, err)
	}
	return f, nil
}
