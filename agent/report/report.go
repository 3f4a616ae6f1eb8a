// Package report collects what somebody needs to know who helps from afar: what this node, its daemon and the other
// one say, in one archive. It changes nothing and sends nothing.
package report

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/pgha/pgha-agent/agent/config"
	"github.com/pgha/pgha-agent/agent/internal/command"
	"github.com/pgha/pgha-agent/agent/internal/text"
	"github.com/pgha/pgha-agent/agent/peer"
	"github.com/pgha/pgha-agent/agent/status"
)

// Options say what to collect.
type Options struct {
	Config  *config.Config
	File    string // of the configuration
	Program string // pgha-agent
	Since   time.Duration
}

// Item is one file of the archive.
type Item struct {
	Name, What string
	Bytes      int
	Why        string // it is missing, or only a part of it is there
}

const (
	itemTimeout   = 20 * time.Second
	doctorTimeout = 3 * time.Minute
)

// source is what becomes one file.
type source struct {
	name, what string
	argv       []string
	get        func(ctx context.Context) ([]byte, error) // instead of argv
	within     time.Duration                             // itemTimeout when 0
	answers    bool                                      // its exit status is an answer
	clean      func([]byte) ([]byte, []string, error)    // removes secrets, and says which
}

// Write writes the archive to w, whose files are below the directory dir, and tells of each file when it is there. What
// cannot be had is left out and told: a report of a broken node is a report. The error is that of w, or of ctx.
func Write(ctx context.Context, w io.Writer, dir string, o Options, tell func(Item)) ([]Item, error) {
	zipped := gzip.NewWriter(w)
	archive := tar.NewWriter(zipped)
	now := time.Now()
	add := func(name string, data []byte) error {
		head := &tar.Header{Name: dir + "/" + name, Mode: 0o600, Size: int64(len(data)), ModTime: now}
		if err := archive.WriteHeader(head); err != nil {
			return err
		}
		_, err := archive.Write(data)
		return err
	}
	var items []Item
	hide := secretsOf(o.Config)
	for _, s := range o.sources() {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		item := Item{Name: s.name, What: s.what}
		data, err := s.read(ctx, hide)
		data = hide.from(data)
		if item.Bytes = len(data); err != nil {
			item.Why = text.Line(string(hide.from([]byte(err.Error()))), 300)
		}
		if len(data) > 0 {
			if err := add(s.name, data); err != nil {
				return nil, err
			}
		}
		items = append(items, item)
		tell(item)
	}
	return items, errors.Join(add("contents.txt", contents(now, o, items)), archive.Close(), zipped.Close())
}

// read gets the data of one file, and learns the secrets in it.
func (s *source) read(ctx context.Context, hide *secrets) (data []byte, err error) {
	within := max(s.within, itemTimeout)
	if s.get != nil {
		ctx, cancel := context.WithTimeout(ctx, within)
		defer cancel()
		data, err = s.get(ctx)
	} else {
		data, err = command.Run(ctx, within, nil, s.argv...)
		if s.answers && len(data) > 0 {
			err = nil
		}
	}
	if s.clean == nil || len(data) == 0 {
		return data, err
	}
	cleaned, found, cerr := s.clean(data)
	hide.learn(found...)
	if cerr != nil { // what cannot be read may hold anything
		return nil, errors.Join(err, fmt.Errorf("left out, as its secrets cannot be found: %w", cerr))
	}
	return cleaned, err
}

// sources is every file, in the order in which they are collected: first those that tell what the secrets are.
func (o *Options) sources() []source {
	self := func(args ...string) []string { return append([]string{o.Program, "--config", o.File}, args...) }
	drbdsetup := func(args ...string) []string { return slices.Concat(o.Config.Drbd.Drbdsetup, args) }
	mon := func(args ...string) []string { return slices.Concat(o.Config.Cluster.CrmMon, args) }
	since := "--since=-" + fmt.Sprintf("%.0fs", o.Since.Seconds())
	journal := func(args ...string) []string {
		return append([]string{"journalctl", "--no-pager", "--utc", "-o", "short-iso-precise", "-n", "20000", since}, args...)
	}
	return []source{
		{name: "cib.xml", what: "configuration and state of the cluster", argv: []string{"cibadmin", "--query"},
			clean: cleanCIB},
		{name: "drbdadm-dump.txt", what: "DRBD's configuration", argv: []string{"drbdadm", "dump"}, clean: cleanDrbd},
		{name: "drbdsetup-show.txt", what: "what DRBD works with", argv: drbdsetup("show"), clean: cleanDrbd},
		{name: "corosync.conf", what: "Corosync's configuration", argv: []string{"cat", "/etc/corosync/corosync.conf"},
			clean: cleanCorosync},
		{name: "settings.txt", what: "the agent's configuration, default values included", get: o.settings},

		{name: "status.txt", what: "status of this node", argv: self("status"), answers: true},
		{name: "status.json", what: "the same for programs", argv: self("status", "--json"), answers: true},
		{name: "peers.json", what: "status of the other nodes, as their agents say", get: o.peers},
		{name: "explain.txt", what: "the judgment", argv: self("explain"), within: time.Minute, answers: true},
		{name: "explain.json", what: "the same for programs", argv: self("explain", "--json"), within: time.Minute,
			answers: true},
		{name: "history.txt", what: "episodes of this node", argv: self("history"), answers: true},
		{name: "history.json", what: "the same for programs", argv: self("history", "--json"), answers: true},
		{name: "events.txt", what: "all events of this node", argv: self("history", "--events"), answers: true},
		{name: "check-config.txt", what: "what is wrong with the agent's configuration", argv: self("check-config"),
			answers: true},
		{name: "doctor.txt", what: "every check, with remedies", argv: self("doctor", "--fix-hints"),
			within: doctorTimeout, answers: true},
		{name: "version.txt", what: "version of the agent", argv: self("version")},

		{name: "crm_mon.txt", what: "the cluster, with fail counts and operations", argv: mon("-1rfAot")},
		{name: "crm_mon.xml", what: "the same for programs", argv: mon("-1", "--output-as=xml")},
		{name: "fencing.txt", what: "who was fenced, and when", argv: []string{"stonith_admin", "--history", "*",
			"--verbose"}},
		{name: "corosync-links.txt", what: "Corosync's links", argv: []string{"corosync-cfgtool", "-s"}},
		{name: "corosync-quorum.txt", what: "Corosync's quorum", argv: []string{"corosync-quorumtool", "-s"},
			answers: true},
		{name: "drbdsetup-status.txt", what: "state of DRBD", argv: drbdsetup("status", "--verbose", "--statistics")},
		{name: "drbdsetup-events2.txt", what: "the same as events", argv: drbdsetup("events2", "--now", "--statistics")},
		{name: "proc-drbd.txt", what: "the same of DRBD 8.4, and the module's version", argv: []string{"cat", "/proc/drbd"}},

		{name: "os-release.txt", what: "the distribution", argv: []string{"cat", "/etc/os-release"}},
		{name: "uname.txt", what: "the kernel", argv: []string{"uname", "-a"}},
		{name: "packages.txt", what: "versions of what the cluster runs on", argv: []string{"sh", "-c", packages}},
		{name: "uptime.txt", what: "time of the boot, and load", argv: []string{"uptime"}},
		{name: "clock.txt", what: "how exact the clock is", argv: []string{"timedatectl"}},
		{name: "memory.txt", what: "memory, in MiB", argv: []string{"free", "-m"}},
		{name: "filesystems.txt", what: "how full filesystems are", argv: []string{"df", "-hT"}, answers: true},
		{name: "disks.txt", what: "disks", argv: []string{"lsblk", "-o", "NAME,SIZE,TYPE,FSTYPE,MOUNTPOINT"}},
		{name: "addresses.txt", what: "addresses", argv: []string{"ip", "address"}},
		{name: "routes.txt", what: "routes", argv: []string{"ip", "route"}},
		{name: "processes.txt", what: "programs that run, without their arguments", argv: []string{"ps", "-eo",
			"pid,ppid,user,stat,wchan:20,lstart,rss,comm"}},
		{name: "units.txt", what: "state of the services", argv: append([]string{"systemctl", "--no-pager", "--lines=0",
			"status"}, units...), answers: true},

		{name: "journal.txt", what: "logs of the services", argv: journal(unitFlags()...)},
		{name: "kernel.txt", what: "the kernel's log", argv: journal("-k")},
	}
}

// units are the services that matter to the cluster.
var units = []string{"pgha-agent.service", "pgha-agent.socket", "pacemaker.service", "corosync.service", "drbd.service"}

func unitFlags() (flags []string) {
	for _, u := range units {
		flags = append(flags, "-u", u)
	}
	return flags
}

const packages = `if command -v dpkg-query >/dev/null; then dpkg-query -W; else rpm -qa | sort; fi |
grep -iE 'pgha|pacemaker|corosync|libqb|drbd|resource-agents|fence|pcs|crmsh|postgresql|systemd|linux-image|kernel'`

// settings prints the configuration as the agent reads it.
func (o *Options) settings(context.Context) ([]byte, error) { return []byte(o.Config.Shown()), nil }

// peers asks the daemons of the other nodes.
func (o *Options) peers(ctx context.Context) ([]byte, error) {
	own, err := status.Fetch(ctx, o.Config.State.ControlSocket)
	if err != nil {
		return nil, err
	}
	var others []string
	for _, n := range own.Cluster.Nodes {
		if n.Name != own.Node {
			others = append(others, n.Name)
		}
	}
	c := peer.New(o.Config)
	return json.MarshalIndent(c.AskEach(ctx, others, c.Hosts(own)...), "", "  ")
}

// contents is the file that says what the others are.
func contents(now time.Time, o Options, items []Item) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "Report of node %s, %s. Logs go back %s.\n\n", o.Config.Node.Name,
		now.UTC().Format("2006-01-02 15:04:05 UTC"), o.Since)
	Print(&b, items)
	fmt.Fprint(&b, "\n", Limits, "\n")
	return []byte(b.String())
}

// Print prints what is in the archive.
func Print(w io.Writer, items []Item) {
	for _, i := range items {
		fmt.Fprintf(w, "%-24s %8s  %s\n", i.Name, size(i.Bytes), i.What)
		if i.Why != "" {
			fmt.Fprintf(w, "%-24s %8s  incomplete: %s\n", "", "", i.Why)
		}
	}
}

func size(n int) string {
	switch {
	case n == 0:
		return "missing"
	case n < 10_000:
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%d kB", n/1000)
}

// Limits says what a reader must know who sends the archive on.
const Limits = `Passwords, keys and secrets that the configurations hold are replaced by REDACTED, in every file.
Host names, addresses, the record's name and ids of AWS are in it. No data of the database and no log of
PostgreSQL is in it: they may hold what your users wrote.`
