// Package mounts tells which filesystems the database lives on, and how full they are, with no right to look into
// them: a mount point can be asked about by anybody who may see it, also when its root is closed.
package mounts

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/prometheus/procfs"
)

// Filesystem is a mounted filesystem that matters to the database.
type Filesystem struct {
	Point  string // where it is mounted
	Source string // what is mounted there, as the kernel says
	OnDrbd bool   // its device is a volume of the DRBD resource, or lies on one
	Wanted bool   // at a mount point of the cluster's configuration

	Err                string // why the rest is not known; "" when it is
	Size, Free         uint64 // in bytes; free is what others than root may use
	Inodes, FreeInodes uint64 // 0 inodes: the filesystem has no fixed number of them
	// FullIn is when it is full at the rate of the last minutes; 0 when it does not fill.
	FullIn time.Duration
}

// Wanted says which filesystems matter.
type Wanted struct {
	Minors  []int    // of the volumes of the DRBD resource
	Points  []string // mount points of the cluster's configuration
	DataDir string   // of PostgreSQL; "" when it is not known
}

// Watch looks at filesystems again and again. The zero value is ready. It is not safe for concurrent use.
type Watch struct {
	samples map[string][]sample // by mount point, oldest first
}

type sample struct {
	at   time.Duration
	free uint64
}

const (
	// rateOver is how far back the rate looks at which a filesystem fills, and rateLeast the least that tells one.
	rateOver  = 10 * time.Minute
	rateLeast = time.Minute

	drbdMajor = 147 // DRBD_MAJOR, include/linux/major.h of the kernel
)

// Look tells of the filesystems that matter, at now by a clock that only goes forward. A filesystem that hangs holds it
// up.
func (w *Watch) Look(now time.Duration, want Wanted) ([]Filesystem, error) {
	all, err := procfs.GetMounts()
	if err != nil {
		return nil, fmt.Errorf("read mount table: %w", err)
	}
	found := choose(all, want, slaves)
	for i := range found {
		w.measure(now, &found[i])
	}
	seen := map[string][]sample{}
	for _, f := range found {
		seen[f.Point] = w.samples[f.Point]
	}
	w.samples = seen // of what is not mounted any more nothing is known
	return found, nil
}

// choose picks the mounts that matter, in the order of their points. Of several at one point the last hides the others.
func choose(all []*procfs.MountInfo, want Wanted, slaves func(device string) []string) []Filesystem {
	byPoint := map[string]*procfs.MountInfo{}
	for _, m := range all {
		m.MountPoint = unescape(m.MountPoint)
		byPoint[m.MountPoint] = m
	}
	points, wanted := map[string]bool{}, map[string]bool{}
	for _, p := range want.Points {
		wanted[filepath.Clean(p)] = true
	}
	if want.DataDir != "" {
		points[pointOf(byPoint, want.DataDir)] = true
		// A symbolic link below a closed directory cannot be read, but what is mounted there is listed.
		points[pointOf(byPoint, filepath.Join(want.DataDir, "pg_wal"))] = true
	}
	var out []Filesystem
	for point, m := range byPoint {
		on := onDrbd(m.MajorMinorVer, want.Minors, slaves, 0)
		if points[point] || wanted[point] || on {
			out = append(out, Filesystem{Point: point, Source: unescape(m.Source), OnDrbd: on, Wanted: wanted[point]})
		}
	}
	slices.SortFunc(out, func(a, b Filesystem) int { return strings.Compare(a.Point, b.Point) })
	return out
}

// pointOf returns the mount point that a path is below.
func pointOf(byPoint map[string]*procfs.MountInfo, path string) string {
	for path = filepath.Clean(path); byPoint[path] == nil && path != "/" && path != "."; {
		path = filepath.Dir(path)
	}
	return path
}

// maxLayers bounds how many devices lie on each other.
const maxLayers = 8

// onDrbd reports whether a device is one of the volumes, or lies on one: LVM and encryption come between.
func onDrbd(device string, minors []int, slaves func(string) []string, layers int) bool {
	if slices.ContainsFunc(minors, func(minor int) bool { return device == fmt.Sprintf("%d:%d", drbdMajor, minor) }) {
		return true
	}
	return layers < maxLayers && slices.ContainsFunc(slaves(device), func(below string) bool {
		return onDrbd(below, minors, slaves, layers+1)
	})
}

// slaves lists the devices that a device lies on.
func slaves(device string) (below []string) {
	dir := "/sys/dev/block/" + device + "/slaves"
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil // a device that lies on none has no such directory
	}
	for _, e := range entries {
		if number, err := os.ReadFile(filepath.Join(dir, e.Name(), "dev")); err == nil {
			below = append(below, strings.TrimSpace(string(number)))
		}
	}
	return below
}

// measure fills in how full a filesystem is.
func (w *Watch) measure(now time.Duration, f *Filesystem) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(f.Point, &st); err != nil {
		f.Err = fmt.Sprintf("statfs: %v", err)
		return
	}
	block := uint64(st.Frsize)
	f.Size, f.Free, f.Inodes, f.FreeInodes = st.Blocks*block, st.Bavail*block, st.Files, st.Ffree
	f.FullIn = w.rate(now, f.Point, f.Free)
}

// rate remembers how much is free, and returns when nothing will be.
func (w *Watch) rate(now time.Duration, point string, free uint64) time.Duration {
	if w.samples == nil {
		w.samples = map[string][]sample{}
	}
	s := append(w.samples[point], sample{now, free})
	for len(s) > 1 && now-s[0].at > rateOver {
		s = s[1:]
	}
	w.samples[point] = s
	first := s[0]
	if now-first.at < rateLeast || free >= first.free {
		return 0
	}
	return time.Duration(float64(now-first.at) * float64(free) / float64(first.free-free))
}

// unescape reads the form in which the kernel writes a path (mangle_path in fs/seq_file.c).
func unescape(path string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(path)
}
