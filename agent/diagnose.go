package agent

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/pgha/pgha-agent/agent/config"
	"github.com/pgha/pgha-agent/agent/doctor"
	"github.com/pgha/pgha-agent/agent/internal/wait"
	"github.com/pgha/pgha-agent/agent/peer"
	"github.com/pgha/pgha-agent/agent/status"
)

// DoctorOptions tells the doctor what this configuration, read from file, is about. version is that of the program that
// asks.
func DoctorOptions(c *config.Config, file, version string) doctor.Options {
	return doctor.Options{
		Node: c.Node.Name, Clone: c.Cluster.Promotable, Resource: c.Drbd.Resource, Address: c.Node.Address,
		CrmMon: c.Cluster.CrmMon, Drbdsetup: c.Drbd.Drbdsetup, PostgresDSN: c.Postgres.DSN,
		Record: c.Route53(), IMDS: c.Record.IMDS, Resolver: c.Record.Resolver, ConfigFile: file,
		Version: version, Settings: status.NewConfigDoc(c), Client: c.Postgres.Client != config.Off,
		ControlSocket: c.State.ControlSocket, Peer: peer.New(c),
	}
}

const (
	doctorFirst = 5 * time.Minute // after the start: the node has enough to do before
	doctorEvery = time.Hour
	doctorBusy  = time.Minute // later, when a failover is under way
)

// diagnose runs the doctor's free checks now and then. The time varies, so that two nodes that were started together do
// not go together.
func (a *Agent) diagnose(ctx context.Context) {
	for delay := doctorFirst; ; delay = doctorEvery {
		wait.For(ctx, delay+rand.N(delay/5))
		for ctx.Err() == nil && a.Snapshot().State.Episode.Open() {
			wait.For(ctx, doctorBusy)
		}
		if ctx.Err() != nil {
			return
		}
		o := DoctorOptions(a.cfg, a.opts.File, a.opts.Version)
		o.ControlSocket = "" // it would ask itself
		results := doctor.Run(ctx, o, doctor.FreeChecks())
		if ctx.Err() != nil {
			return // answers of children that were ended
		}
		for _, r := range results {
			a.metrics.Verdict(r.Check, r.Verdict)
		}
		a.metrics.DoctorRan(a.clock.Wall())
	}
}
