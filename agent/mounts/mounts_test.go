package mounts

import (
	"slices"
	"testing"
	"time"

	"github.com/prometheus/procfs"
)

func TestChoose(t *testing.T) {
	all := []*procfs.MountInfo{
		{MajorMinorVer: "253:0", MountPoint: "/", Source: "/dev/nvme0n1p1"},
		{MajorMinorVer: "147:0", MountPoint: "/var/lib/postgresql", Source: "/dev/drbd0"},
		{MajorMinorVer: "253:7", MountPoint: "/var/lib/postgresql/17/main/pg_wal", Source: "/dev/mapper/wal"},
		{MajorMinorVer: "147:5", MountPoint: "/srv/other", Source: "/dev/drbd5"},
		{MajorMinorVer: "253:9", MountPoint: `/srv/cold\040data`, Source: "/dev/mapper/cold"},
		{MajorMinorVer: "0:30", MountPoint: "/mnt/taken", Source: "tmpfs"},
	}
	below := func(device string) []string {
		return map[string][]string{"253:7": {"253:8"}, "253:8": {"259:3", "147:1"}, "253:9": {"253:9"}}[device]
	}
	for name, c := range map[string]struct {
		want   Wanted
		points []string
		on     []bool
	}{
		"nothing is known":    {Wanted{}, nil, nil},
		"volumes":             {Wanted{Minors: []int{0}}, []string{"/var/lib/postgresql"}, []bool{true}},
		"below LVM":           {Wanted{Minors: []int{1}}, []string{"/var/lib/postgresql/17/main/pg_wal"}, []bool{true}},
		"another resource":    {Wanted{Minors: []int{7}}, nil, nil},
		"of the cluster":      {Wanted{Points: []string{"/srv/cold data", "/gone"}}, []string{"/srv/cold data"}, []bool{false}},
		"taken by another":    {Wanted{Minors: []int{9}, Points: []string{"/mnt/taken/"}}, []string{"/mnt/taken"}, []bool{false}},
		"data directory":      {Wanted{DataDir: "/srv/data/17"}, []string{"/"}, []bool{false}},
		"and its WAL":         {Wanted{DataDir: "/var/lib/postgresql/17/main"}, []string{"/var/lib/postgresql", "/var/lib/postgresql/17/main/pg_wal"}, []bool{false, false}},
		"WAL in the same one": {Wanted{DataDir: "/srv/other/x", Minors: []int{5}}, []string{"/srv/other"}, []bool{true}},
	} {
		var points []string
		var on []bool
		for _, f := range choose(all, c.want, below) {
			points, on = append(points, f.Point), append(on, f.OnDrbd)
		}
		if !slices.Equal(points, c.points) || !slices.Equal(on, c.on) {
			t.Errorf("%s: %q %v, want %q %v", name, points, on, c.points, c.on)
		}
	}
}

func TestRate(t *testing.T) {
	const mib = 1 << 20
	for name, c := range map[string]struct {
		free func(minute int) uint64
		want time.Duration // after 20 minutes
	}{
		"fills":           {func(m int) uint64 { return uint64(100-m) * mib }, 80 * time.Minute},
		"is full":         {func(int) uint64 { return 0 }, 0},
		"stands":          {func(int) uint64 { return mib }, 0},
		"empties":         {func(m int) uint64 { return uint64(m) * mib }, 0},
		"filled long ago": {func(m int) uint64 { return uint64(100-min(m, 5)) * mib }, 0},
	} {
		var w Watch
		var in time.Duration
		for m := range 21 {
			in = w.rate(time.Duration(m)*time.Minute, "/x", c.free(m))
			if m == 0 && in != 0 {
				t.Errorf("%s: one look tells %v", name, in)
			}
		}
		if in != c.want {
			t.Errorf("%s: full in %v, want %v", name, in, c.want)
		}
	}
}

// TestLook looks at this machine.
func TestLook(t *testing.T) {
	var w Watch
	found, err := w.Look(time.Minute, Wanted{DataDir: t.TempDir()})
	if err != nil || len(found) != 1 || found[0].Err != "" || found[0].Size == 0 || found[0].Free > found[0].Size {
		t.Errorf("%+v, %v", found, err)
	}
	if _, err := w.Look(2*time.Minute, Wanted{}); err != nil || len(w.samples) != 0 {
		t.Errorf("%v, remembers %v", err, w.samples)
	}
}
