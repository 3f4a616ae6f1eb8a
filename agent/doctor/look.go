package doctor

import (
	"context"

	"github.com/pgha/pgha-agent/crm"
	"github.com/pgha/pgha-agent/drbd"
)

// Seen is what the tools of Pacemaker and DRBD say on this node. What is nil could not be read.
type Seen struct {
	Cluster *crm.Status
	Config  *crm.Configuration
	Drbd    *drbd.DumpResource
	Missing []string // why, for each that is nil
}

// Look asks the tools once, all at the same time. Each is ended when ctx ends.
func Look(ctx context.Context, o Options) Seen {
	asked := []Source{fromCrm, fromCIB, fromState}
	f := collect(ctx, o, asked)
	seen := Seen{Cluster: f.Crm, Config: f.CIB, Drbd: f.State}
	for _, s := range asked {
		if absent, is := f.absent[s]; is {
			seen.Missing = append(seen.Missing, absent.Evidence)
		}
	}
	return seen
}
