package doctor

import (
	"context"
	"time"

	"github.com/pgha/pgha-agent/agent/explain"
	"github.com/pgha/pgha-agent/agent/status"
)

// collectDaemon asks this node's daemon, after it has asked every source once more: what was true before a remedy
// misleads.
func collectDaemon(ctx context.Context, f *Facts) error {
	if f.Options.ControlSocket == "" {
		return absent(unknown("the daemon does not ask itself"))
	}
	d, err := status.Recheck(ctx, f.Options.ControlSocket)
	const remedy = "`systemctl restart pgha-agent`, which starts it too and is safe at any time; then run the doctor as root, " +
		"or as a member of group haclient"
	if err != nil {
		return absent(unknown("the daemon does not answer: %s", oneLine(err.Error())).remedy(remedy))
	}
	if age := time.Since(d.Time); age > explain.OldAnswer {
		return absent(unknown("the daemon hangs: its last step was %s ago", status.Ago(age)).remedy(
			"`journalctl -u pgha-agent -n 50`, then `systemctl restart pgha-agent`"))
	}
	f.Daemon = d
	return nil
}

// collectPeers asks the daemons of the other nodes that have a copy of the data.
func collectPeers(ctx context.Context, f *Facts) error {
	x := f.facts()
	nodes := explain.Targets(x, x.Node)
	if len(nodes) == 0 {
		if f.Crm == nil {
			return absent(unknown("which other nodes there are is not known: %s", f.absent[fromCrm].Evidence).remedy(inCluster))
		}
		return absent(skip("no other node has a copy of the data"))
	}
	hosts := f.Options.Peer.Hosts(x.Own)
	if f.Show != nil { // DRBD 8.4 shows them here only
		for _, peer := range f.Show.Peers {
			hosts = append(hosts, peer.Addr().String())
		}
	}
	f.Peers = f.Options.Peer.AskEach(ctx, nodes, hosts...)
	return nil
}
