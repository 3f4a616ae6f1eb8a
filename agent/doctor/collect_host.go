package doctor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pgha/pgha-agent/crm/corosync"
)

// hostFacts are what the files of this machine say.
type hostFacts struct {
	DrbdAgent  bool              // ocf:linbit:drbd is there and executable
	Enabled    []string          // units that systemd starts at boot, of those that are Pacemaker's
	PcsdMasked bool              // or not installed
	Multipath  string            // "", "running", or "running, drbd is blacklisted"
	Ephemeral  [2]int            // first and last port that outgoing connections take; zero when not known
	Reserved   string            // ports that they leave out, as the kernel prints them
	Mounts     map[string]string // mount point to device
	// Handlers and alerts to what keeps user hacluster or root from running them, "" for nothing.
	Programs   map[string]string
	ConfigFile string // what keeps hacluster from reading the agent's configuration, "" for nothing

	CorosyncFile string        // what keeps the agent from reading Corosync's configuration, "" for nothing
	DumpAge      time.Duration // of the newest dump of a database, negative when there is none
}

// clusterUnits are units that only Pacemaker may start. A user who wants one of them outside of the cluster knows why.
var clusterUnits = regexp.MustCompile(
	`^(postgresql(-\d+|@.*)?\.service|drbd(@.*)?\.(service|target)|drbd-promote@.*\.service)$`)

func collectHost(_ context.Context, f *Facts) error {
	h := &hostFacts{Programs: map[string]string{}}
	h.DrbdAgent = f.runnable("/usr/lib/ocf/resource.d/linbit/drbd", "root") == ""
	links, _ := filepath.Glob(f.path("/etc/systemd/system/*.wants/*"))
	for _, l := range links {
		if unit := filepath.Base(l); clusterUnits.MatchString(unit) && !slices.Contains(h.Enabled, unit) {
			h.Enabled = append(h.Enabled, unit)
		}
	}
	target, _ := os.Readlink(f.path("/etc/systemd/system/pcsd.service"))
	_, err := os.Stat(f.path("/usr/sbin/pcsd"))
	h.PcsdMasked = target == "/dev/null" || errors.Is(err, fs.ErrNotExist)
	h.Multipath = f.multipath()
	if text, err := f.readFile("/proc/sys/net/ipv4/ip_local_port_range"); err == nil {
		_, _ = fmt.Sscan(string(text), &h.Ephemeral[0], &h.Ephemeral[1])
	}
	if text, err := f.readFile("/proc/sys/net/ipv4/ip_local_reserved_ports"); err == nil {
		h.Reserved = strings.TrimSpace(string(text))
	}
	h.Mounts = f.mounts()
	if f.Dump != nil {
		for _, command := range f.Dump.Handlers {
			if program, _, _ := strings.Cut(command, " "); strings.HasPrefix(program, "/") {
				h.Programs[program] = f.runnable(program, "root")
			}
		}
	}
	if f.CIB != nil {
		for _, a := range f.CIB.Alerts {
			h.Programs[a.Path] = f.runnable(a.Path, "hacluster")
		}
	}
	if f.Options.ConfigFile != "" {
		h.ConfigFile = f.may(f.Options.ConfigFile, "hacluster", 4)
	}
	h.CorosyncFile = f.may(corosync.File, "pgha", 4)
	h.DumpAge = f.newestDump()
	f.Host = h
	return nil
}

// multipath says whether multipathd runs, which grabs DRBD's backing device or DRBD itself unless told not to.
func (f *Facts) multipath() string {
	_, err := os.Stat(f.path("/run/multipathd.pid"))
	if _, other := os.Stat(f.path("/run/multipathd/multipathd.pid")); err != nil && other != nil {
		return ""
	}
	files, _ := filepath.Glob(f.path("/etc/multipath/conf.d/*.conf"))
	for _, name := range append(files, f.path("/etc/multipath.conf")) {
		text, err := os.ReadFile(name)
		if err == nil && bytes.Contains(text, []byte("blacklist")) && bytes.Contains(text, []byte("drbd")) {
			return "running, drbd is blacklisted"
		}
	}
	return "running"
}

func (f *Facts) mounts() map[string]string {
	out := map[string]string{}
	text, err := f.readFile("/proc/self/mounts")
	if err != nil {
		return out
	}
	for line := range strings.Lines(string(text)) {
		if w := strings.Fields(line); len(w) > 1 {
			out[strings.ReplaceAll(w[1], `\040`, " ")] = w[0]
		}
	}
	return out
}

// dumpPlaces is where distributions and people keep dumps.
var dumpPlaces = []string{"/var/backups/postgresql", "/var/backups/pgsql", "/var/lib/pgsql/backups",
	"/var/lib/postgresql/backups", "/backup/postgresql"}

func (f *Facts) newestDump() time.Duration {
	age := time.Duration(-1)
	for _, dir := range dumpPlaces {
		files, _ := os.ReadDir(f.path(dir))
		for _, e := range files {
			if info, err := e.Info(); err == nil && info.Mode().IsRegular() && info.Size() > 0 {
				if a := f.Now.Sub(info.ModTime()); age < 0 || a < age {
					age = a
				}
			}
		}
	}
	return age
}

type clockFacts struct {
	Synchronized bool
	Error        time.Duration // the kernel's estimate of the largest error
}

func collectClock(_ context.Context, f *Facts) error {
	var t unix.Timex // all zero: only asks
	state, err := unix.Adjtimex(&t)
	if err != nil {
		return fmt.Errorf("ask the kernel about its clock: %w", err)
	}
	f.Clock = &clockFacts{Synchronized: state != unix.TIME_ERROR && t.Status&unix.STA_UNSYNC == 0,
		Error: time.Duration(t.Maxerror) * time.Microsecond}
	return nil
}
