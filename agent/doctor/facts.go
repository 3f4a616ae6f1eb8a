package doctor

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/pgha/pgha-agent/crm"
	"github.com/pgha/pgha-agent/crm/corosync"
	"github.com/pgha/pgha-agent/drbd"
	"github.com/pgha/pgha-agent/pg"
	"github.com/pgha/pgha-agent/route53"
)

// Options say what to look at. They come from the agent's configuration.
type Options struct {
	Node, Clone, Resource string // as the agent's configuration names them
	Address               string // node.address: an IPv4 address, or "imds"
	CrmMon, Drbdsetup     []string
	PostgresDSN           string
	Record                route53.Options
	IMDS                  string // endpoint of the metadata service, "" for the usual one
	Resolver              string // host:port, "" for the system's
	ConfigFile            string // of the agent: the hook must be able to read it

	root string // prefix of every file that is looked at; "" but in tests
}

// Source is one place that facts come from.
type Source int

// The sources.
const (
	fromCIB Source = iota
	fromCrm
	fromCorosync
	fromShow
	fromDump
	fromVersions
	fromState
	fromHost
	fromPostgres
	fromHBA
	fromInstance
	fromRecord
	fromTryWrite
	fromZone
	fromPower
	fromResolver
	fromPorts
	fromClock
	numSources
)

// source is how a Source is asked. It writes its own fields of Facts and reads those of the sources in after, which may
// be missing.
type source struct {
	free    bool // costs nothing, and is asked by the daemon too
	after   []Source
	collect func(context.Context, *Facts) error
}

var sources [numSources]source

// An init because the collectors refer to this table in turn.
func init() {
	sources = [numSources]source{
		fromCIB:      {free: true, collect: collectCIB},
		fromCrm:      {free: true, collect: collectCrm},
		fromCorosync: {free: true, collect: collectCorosync},
		fromShow:     {free: true, collect: collectShow},
		fromDump:     {free: true, collect: collectDump},
		fromVersions: {free: true, collect: collectVersions},
		fromState:    {free: true, collect: collectState},
		fromHost:     {free: true, collect: collectHost, after: []Source{fromCIB, fromDump}},
		fromPostgres: {free: true, collect: collectPostgres, after: []Source{fromCIB, fromCrm}},
		fromHBA:      {collect: collectHBA, after: []Source{fromCIB, fromCrm}},
		fromInstance: {collect: collectInstance},
		fromRecord:   {collect: collectRecord},
		fromTryWrite: {collect: collectTryWrite, after: []Source{fromRecord}},
		fromZone:     {collect: collectZone},
		fromPower:    {collect: collectPower, after: []Source{fromCIB, fromInstance}},
		fromResolver: {collect: collectResolver},
		fromPorts:    {collect: collectPorts, after: []Source{fromShow, fromHost, fromState}},
		fromClock:    {collect: collectClock},
	}
}

// Facts are what was collected. A check may read a field when it needs its source, else only after a look whether it is
// there.
type Facts struct {
	Options Options

	CIB      *crm.Configuration
	Crm      *crm.Status
	Corosync *corosync.Config
	Show     *drbd.Config // the running configuration
	Dump     *drbd.Config // that of the files
	Versions drbdVersions
	State    *drbd.DumpResource
	Host     *hostFacts
	Postgres *pg.Audit
	HBA      []pg.HBARule
	Instance *route53.Instance
	Record   *recordAnswer
	TryWrite error
	Zone     *route53.Zone
	Power    []powerAnswer
	Resolved []netip.Addr
	Ports    *portFacts
	Clock    *clockFacts
	Now      time.Time

	route53Client func() (*route53.Client, error) // one for all that ask AWS: they share its connection and credentials
	absent        map[Source]Finding              // why a source gave nothing
}

// absence is the error of a collector that knows the verdict and a remedy.
type absence struct{ Finding }

func (a *absence) Error() string { return a.Evidence }

func absent(f Finding) error { return &absence{f} }

const (
	collectTimeout = 30 * time.Second // of each collector
	atOnce         = 4                // so that a small machine's tools do not time out on each other
)

// collect asks the sources, and what they come after, first those that come after nothing. No chain is longer than two.
func collect(ctx context.Context, o Options, needs []Source) *Facts {
	f := &Facts{Options: o, Now: time.Now(), absent: map[Source]Finding{}}
	f.route53Client = sync.OnceValues(func() (*route53.Client, error) {
		o := o.Record
		o.Timeout = 8 * time.Second // nobody waits for a failover here
		return route53.New(ctx, o)
	})
	for _, s := range slices.Clone(needs) {
		needs = append(needs, sources[s].after...)
		for _, before := range sources[s].after {
			needs = append(needs, sources[before].after...)
		}
	}
	slices.Sort(needs)
	needs = slices.Compact(needs)
	done := map[Source]bool{}
	for len(done) < len(needs) {
		var mu sync.Mutex
		var group errgroup.Group
		group.SetLimit(atOnce)
		var wave []Source
		for _, s := range needs {
			if !done[s] && !slices.ContainsFunc(sources[s].after, func(b Source) bool { return !done[b] }) {
				wave = append(wave, s)
			}
		}
		errs := map[Source]error{}
		for _, s := range wave {
			group.Go(func() error {
				ctx, cancel := context.WithTimeout(ctx, collectTimeout)
				defer cancel()
				err := sources[s].collect(ctx, f)
				mu.Lock()
				defer mu.Unlock()
				errs[s] = err
				return nil
			})
		}
		_ = group.Wait() // each collector's error is kept
		for _, s := range wave {
			done[s] = true
			if known, ok := errors.AsType[*absence](errs[s]); ok {
				f.absent[s] = known.Finding
			} else if errs[s] != nil {
				f.absent[s] = unknown("%s", oneLine(errs[s].Error()))
			}
		}
	}
	return f
}

// oneLine makes a text of others fit for a table.
func oneLine(s string) string {
	s = strings.Join(strings.Fields(strings.ToValidUTF8(s, "?")), " ")
	const most = 300
	if r := []rune(s); len(r) > most {
		s = string(r[:most]) + "..."
	}
	return s
}

// peer returns the name of the other node, "" when it is not known or there are several.
func (f *Facts) peer() string {
	var nodes []string
	switch {
	case f.CIB != nil:
		nodes = slices.Clone(f.CIB.Nodes)
	case f.Crm != nil:
		for _, n := range f.Crm.Nodes {
			nodes = append(nodes, n.Name)
		}
	}
	nodes = slices.DeleteFunc(nodes, func(n string) bool { return n == f.Options.Node })
	if len(nodes) != 1 {
		return ""
	}
	return nodes[0]
}

// promotedHere says whether Pacemaker shows this node as the promoted one; false when it is not known.
func (f *Facts) promotedHere() bool {
	return f.Crm != nil && slices.Contains(f.Crm.Promoted(f.Options.Clone), f.Options.Node)
}

// database returns the primitives that are the database: file systems on DRBD's device, and PostgreSQL. It needs the
// CIB.
func (f *Facts) database() (list []*crm.Primitive) {
	for i := range f.CIB.Primitives {
		p := &f.CIB.Primitives[i]
		if f.onDrbd(p) || isPostgres(p) {
			list = append(list, p)
		}
	}
	return list
}

// onDrbd says whether a primitive is a file system on DRBD's device.
func (f *Facts) onDrbd(p *crm.Primitive) bool {
	if p.Type != "Filesystem" {
		return false
	}
	device := p.Params["device"]
	return strings.HasPrefix(device, "/dev/drbd") || f.Show != nil && slices.Contains(f.Show.Devices, device)
}

// isPostgres knows the resource agents of PostgreSQL, and systemd units.
func isPostgres(p *crm.Primitive) bool {
	switch p.Class {
	case "ocf":
		return strings.HasPrefix(p.Type, "pgsql") || strings.HasPrefix(p.Type, "postgres")
	case "systemd", "service", "lsb":
		return strings.HasPrefix(p.Type, "postgresql")
	}
	return false
}
