package doctor

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/pgha/pgha-agent/agent/internal/text"
	"github.com/pgha/pgha-agent/route53"
)

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
	fromDaemon
	fromPeers
	fromSpace
	fromLogin
	numSources
)

// source is how a Source is asked. It writes its own fields of Facts and reads those of the sources in after, which may
// be missing.
type source struct {
	free    bool // costs nothing, and is asked by the daemon too, but for what its own judgment knows
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
		fromDaemon:   {free: true, collect: collectDaemon},
		fromPeers:    {collect: collectPeers, after: []Source{fromCrm, fromShow, fromState, fromDaemon}},
		fromSpace:    {collect: collectMounts, after: []Source{fromCIB, fromCrm, fromState, fromPostgres}},
		fromLogin:    {free: true, collect: collectLogin, after: []Source{fromCrm, fromDaemon}},
	}
}

// absence is the error of a collector that knows the verdict and a remedy.
type absence struct{ Finding }

func (a *absence) Error() string { return a.Evidence }

func absent(f Finding) error { return &absence{f} }

func (f *Facts) absence(s Source) error { return absent(f.absent[s]) }

const (
	collectTimeout = 30 * time.Second // of each collector
	atOnce         = 4                // so that a small machine's tools do not time out on each other
)

// collect asks the sources, and what they come after, first those that come after nothing. No chain is longer than two.
// A source that fails stops no other: its checks become unknown, the rest is judged.
func collect(ctx context.Context, o Options, needs []Source) *Facts {
	f := &Facts{Options: o, Now: time.Now(), absent: map[Source]Finding{}}
	f.route53Client = sync.OnceValues(func() (*route53.Client, error) {
		o := o.Record
		o.Timeout = 8 * time.Second // no failover waits for this
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

// oneLine makes foreign text fit for a table.
func oneLine(s string) string { return text.Line(s, 300) }
