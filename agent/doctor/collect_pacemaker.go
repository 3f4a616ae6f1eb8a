package doctor

import (
	"context"
	"errors"

	"github.com/pgha/pgha-agent/crm"
)

// inCluster is the remedy when Pacemaker's or DRBD's tools do not answer.
const inCluster = "run it as root on a cluster node, or as a member of group haclient; see `systemctl status pacemaker`"

func collectCIB(ctx context.Context, f *Facts) error {
	cib := crm.CIB{Timeout: commandTimeout}
	var err error
	if f.CIB, err = cib.Configuration(ctx); err == nil && len(f.CIB.Properties) == 0 {
		// Otherwise many settings would look like their defaults.
		f.CIB, err = nil, errors.New("it has no cluster properties; an ACL may hide them from this user")
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
