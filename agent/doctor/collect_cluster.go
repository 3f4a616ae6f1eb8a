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
	"strconv"
	"strings"
	"time"

	"github.com/pgha/pgha-agent/crm"
	"github.com/pgha/pgha-agent/crm/corosync"
	"github.com/pgha/pgha-agent/drbd"
)

// inCluster is the remedy when Pacemaker's or DRBD's tools do not answer.
const inCluster = "run it as root on a cluster node, or as a member of group haclient; see `systemctl status pacemaker`"

func collectCIB(ctx context.Context, f *Facts) error {
	cib := crm.CIB{Timeout: commandTimeout}
	var err error
	if f.CIB, err = cib.Configuration(ctx); err == nil && len(f.CIB.Properties) == 0 {
		// Else much would look like a default.
		f.CIB, err = nil, errors.New("it has no cluster properties; does an ACL hide them from this user?")
	}
	if err != nil {
		return absent(unknown("no CIB: %s", oneLine(err.Error())).remedy(inCluster))
	}
	return nil
}

func collectCrm(ctx context.Context, f *Facts) (err error) {
	mon := crm.Mon{Command: f.Options.CrmMon, Timeout: commandTimeout}
	if f.Crm, err = mon.Look(ctx); err != nil {
		return absent(unknown("%s", oneLine(err.Error())).remedy(inCluster))
	}
	return nil
}

func collectCorosync(_ context.Context, f *Facts) (err error) {
	if f.Corosync, err = corosync.Read(f.path(corosync.File)); err == nil {
		return nil
	}
	remedy := "mend " + corosync.File + " on both nodes; then corosync-cfgtool -R"
	if _, is := errors.AsType[*fs.PathError](err); is {
		remedy = "run it as root; `" + readableCorosync + "` lets the daemon see it too (it holds no secret)"
	}
	return absent(unknown("%s", oneLine(err.Error())).remedy("%s", remedy))
}

// readableCorosync gives the file back the mode that Corosync's packages give it.
const readableCorosync = "chmod 644 " + corosync.File

func collectShow(ctx context.Context, f *Facts) error {
	out, err := run(ctx, nil, append(slices.Clone(f.Options.Drbdsetup), "show")...)
	if err == nil {
		f.Show, err = drbd.ParseConfig(out, f.Options.Resource)
	}
	if err != nil {
		return absent(unknown("the running configuration of DRBD: %s",
			oneLine(err.Error())).remedy("is the resource up? `drbdadm status %s`", f.Options.Resource))
	}
	return nil
}

func collectDump(ctx context.Context, f *Facts) error {
	out, err := run(ctx, nil, "drbdadm", "dump")
	if err == nil {
		f.Dump, err = drbd.ParseConfig(out, f.Options.Resource)
	}
	if err != nil {
		return absent(unknown("the files of DRBD's configuration: %s",
			oneLine(err.Error())).remedy(
			"run it as root: the files may be for root only (`ls -l /etc/drbd.d`), and drbdadm must accept them (`drbdadm " +
				"dump`)"))
	}
	return nil
}

// drbdVersions are as `drbdadm --version` has them; Module is "" when the module is not loaded.
type drbdVersions struct{ Module, Utils string }

func collectVersions(ctx context.Context, f *Facts) (err error) {
	out, err := run(ctx, nil, "drbdadm", "--version")
	if err != nil {
		return absent(unknown("%s", oneLine(err.Error())).remedy("install drbd-utils"))
	}
	f.Versions, err = readVersions(out)
	return err
}

// readVersions reads the module's version from its code, because drbdadm prints nothing else with a module of DRBD 8.4.
func readVersions(out []byte) (v drbdVersions, err error) {
	for line := range bytes.Lines(out) {
		key, value, _ := strings.Cut(strings.TrimSpace(string(line)), "=")
		switch key {
		case "DRBD_KERNEL_VERSION_CODE":
			if code, err := strconv.ParseUint(value, 0, 32); err == nil && code > 0 { // 0x000000: no module
				v.Module = fmt.Sprintf("%d.%d.%d", code>>16, code>>8&0xff, code&0xff)
			}
		case "DRBDADM_VERSION":
			v.Utils = value
		}
	}
	if v.Utils == "" {
		return v, errors.New("drbdadm --version prints no DRBDADM_VERSION")
	}
	return v, nil
}

func collectState(ctx context.Context, f *Facts) error {
	out, err := run(ctx, nil, append(slices.Clone(f.Options.Drbdsetup), "events2", "--now")...)
	if err == nil {
		var all *drbd.Dump
		if all, err = drbd.ReadAll(bytes.NewReader(out), time.Now()); err == nil {
			for i := range all.Resources {
				if all.Resources[i].Name == f.Options.Resource {
					f.State = &all.Resources[i]
				}
			}
			if f.State == nil {
				err = fmt.Errorf("resource %q is not up here", f.Options.Resource)
			}
		}
	}
	if err != nil {
		return absent(unknown("the state of DRBD: %s",
			oneLine(err.Error())).remedy("is the module loaded and the resource up? `drbdadm status %s`", f.Options.Resource))
	}
	return nil
}

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

func (f *Facts) path(name string) string { return filepath.Join("/", f.Options.root, name) }

func (f *Facts) readFile(name string) ([]byte, error) { return os.ReadFile(f.path(name)) }

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
