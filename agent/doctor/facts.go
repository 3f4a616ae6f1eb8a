package doctor

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/pgha/pgha-agent/agent/peer"
	"github.com/pgha/pgha-agent/agent/status"
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

	Version       string            // of this program
	Settings      *status.ConfigDoc // what the other nodes must have alike
	Client        bool              // whether there is a client's view
	ControlSocket string            // of the daemon; "" when it is not to be asked
	Peer          *peer.Client

	root string // prefix of every file that is looked at; "" but in tests
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
	Daemon   *status.Doc   // what the daemon here says
	Peers    []status.Peer // what those of the other nodes say
	Space    *spaceFacts
	Login    *loginFacts
	Now      time.Time

	route53Client func() (*route53.Client, error) // one for all that ask AWS: they share its connection and credentials
	absent        map[Source]Finding              // why a source gave nothing
}

func (f *Facts) path(name string) string { return filepath.Join("/", f.Options.root, name) }

func (f *Facts) readFile(name string) ([]byte, error) { return os.ReadFile(f.path(name)) }

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
		if f.onDrbd(p) || p.RunsPostgres() {
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
