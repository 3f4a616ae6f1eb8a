package doctor

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pgha/pgha-agent/agent/mounts"
)

func TestCollectMounts(t *testing.T) {
	data := t.TempDir()
	f := healthy(t)
	f.Space, f.Postgres.Settings["data_directory"] = nil, data
	if err := collectMounts(t.Context(), f); err != nil || len(f.Space.Mounts) == 0 || f.Space.Mounts[0].Size == 0 {
		t.Fatalf("%v, %+v", err, f.Space)
	}
	if !strings.Contains(f.Space.WAL, "pg_wal") {
		t.Errorf("a WAL that is not there: %q", f.Space.WAL)
	}
	f.Options.Node = "pg-2"
	if err := collectMounts(t.Context(), f); err == nil || !strings.Contains(err.Error(), "promoted node only") {
		t.Errorf("on the standby: %v", err)
	}
}

// TestWALElsewhere follows the symbolic link of a WAL that has a filesystem of its own.
func TestWALElsewhere(t *testing.T) {
	data := t.TempDir()
	if err := os.Symlink("/proc", filepath.Join(data, "pg_wal")); err != nil {
		t.Fatal(err)
	}
	s, err := lookAtSpace(mounts.Wanted{DataDir: data})
	if err != nil || s.WAL != "" {
		t.Fatalf("%v, %+v", err, s)
	}
	points := ""
	for _, m := range s.Mounts {
		points += m.Point + " "
	}
	if !strings.Contains(points, "/proc ") || len(s.Mounts) != 2 {
		t.Errorf("%s", points)
	}
	if s, err := lookAtSpace(mounts.Wanted{}); err != nil || s.WAL == "" {
		t.Errorf("without a data directory: %v, %+v", err, s)
	}
}
