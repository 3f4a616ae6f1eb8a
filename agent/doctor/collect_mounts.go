package doctor

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/pgha/pgha-agent/agent/mounts"
	"github.com/pgha/pgha-agent/agent/status"
)

// spaceFacts are the filesystems of the database that are mounted here.
type spaceFacts struct {
	Mounts []status.MountDoc
	WAL    string // why the filesystem of the WAL may not be among them, "" when it is
}

const mountsTimeout = 5 * time.Second

// collectMounts looks how full the filesystems of the database are. It does not wait for one that hangs.
func collectMounts(ctx context.Context, f *Facts) error {
	if f.Crm != nil && !f.promotedHere() {
		return absent(skip("the database's filesystems are mounted on the promoted node only: run the doctor there"))
	}
	want := mounts.Wanted{DataDir: f.dataDirectory()}
	if f.CIB != nil {
		want.Points = f.CIB.MountPoints(f.Options.Clone)
	}
	if f.State != nil {
		for _, d := range f.State.Devices {
			if d.Minor != nil {
				want.Minors = append(want.Minors, *d.Minor)
			}
		}
	}
	type result struct {
		space *spaceFacts
		err   error
	}
	done := make(chan result, 1)
	go func() {
		s, err := lookAtSpace(want)
		done <- result{s, err}
	}()
	ctx, cancel := context.WithTimeout(ctx, mountsTimeout)
	defer cancel()
	select {
	case r := <-done:
		f.Space = r.space
		return r.err
	case <-ctx.Done():
		return absent(unknown("a filesystem of the database gives no answer within %s", mountsTimeout).remedy(
			"see what the device below it waits for: `drbdsetup status --verbose --statistics {resource}`"))
	}
}

// lookAtSpace measures the filesystems. The WAL may be elsewhere by a symbolic link, which not everybody may read.
func lookAtSpace(want mounts.Wanted) (*spaceFacts, error) {
	s := &spaceFacts{}
	dirs := []string{want.DataDir}
	if want.DataDir == "" {
		s.WAL = "where the data directory is is not known"
	} else {
		wal := filepath.Join(want.DataDir, "pg_wal")
		real, err := filepath.EvalSymlinks(wal)
		switch {
		case errors.Is(err, fs.ErrPermission):
			s.WAL = "this user may not see where " + wal + " leads"
		case err != nil:
			s.WAL = oneLine(err.Error())
		case real != wal:
			dirs = append(dirs, real)
		}
	}
	for _, dir := range dirs {
		want.DataDir = dir
		found, err := new(mounts.Watch).Look(0, want)
		if err != nil {
			return nil, err
		}
		for _, m := range found {
			if !slices.ContainsFunc(s.Mounts, func(d status.MountDoc) bool { return d.Point == m.Point }) {
				s.Mounts = append(s.Mounts, status.NewMountDoc(m))
			}
		}
	}
	return s, nil
}

// dataDirectory asks the server first: pgdata of the resource may be a link, or be overruled by the configuration. It
// is "" when neither tells.
func (f *Facts) dataDirectory() string {
	dir := ""
	if f.CIB != nil {
		for _, p := range f.database() {
			if p.RunsPostgres() {
				dir = p.Params["pgdata"]
			}
		}
	}
	if f.Postgres != nil {
		dir = cmp.Or(f.Postgres.Settings["data_directory"], dir)
	}
	return strings.TrimSuffix(dir, "/")
}
