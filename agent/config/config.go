// Package config is the configuration file: its fields, their defaults, and what is wrong with the file that somebody
// wrote.
package config

import "time"

// Config is the configuration file (TOML). Every field has its default in Default; a Config that Load returned is
// valid.
type Config struct {
	Node     Node
	Cluster  Cluster
	Drbd     Drbd
	Postgres Postgres
	Record   Record
	HTTP     HTTP
	Peer     Peer
	State    State
	Log      Log

	CloudWatch CloudWatch
}

// Node names this node.
type Node struct {
	// Name is this node as crm_mon prints it. Default: the host name, which is also Pacemaker's default.
	Name string
	// Address is the IPv4 address to publish, or "imds" (default) for the instance metadata's local-ipv4, asked until it
	// answers and then kept.
	Address string
}

// Cluster says which promotable clone carries the database.
type Cluster struct {
	// Promotable is the id of the promotable clone, or of its primitive. Required.
	Promotable string
	// CrmMon is the command to run, as a list of words; the agent adds its own arguments. Default: crm_mon from PATH.
	CrmMon []string
}

// Drbd says which DRBD resource carries the data.
type Drbd struct {
	// Resource is the name of the DRBD resource under the database's filesystem. Required.
	Resource string
	// Drbdsetup is the command to run, as a list of words; the agent adds its own arguments. Default: drbdsetup from PATH.
	Drbdsetup []string
}

// Postgres says how to reach the local server, and the service as a client.
type Postgres struct {
	// DSN is the connection string of the local probe. Default: the Unix socket, user pgha, database postgres.
	DSN string
	// Client is the connection string of the client's view, as keywords and without a host: the record's name is the host.
	// "off" turns the client's view off.
	Client string
	// WriteEvery is how often the client's view writes a WAL record of its own and waits until it is on disk, whole
	// seconds up to 1h. Default 0s: never. It shows commits that hang where nobody else commits, and costs WAL.
	WriteEvery time.Duration
}

// Record is the Route 53 record.
type Record struct {
	// ZoneID is the id of the hosted zone, with or without "/hostedzone/". Required.
	ZoneID string
	// Name is the service name that clients connect to; kept in lower case, without the dot at the end. Required.
	Name string
	// TTL of the record, whole seconds from 1s to 24h; default 10s. Clients may use the old address for this long.
	TTL time.Duration
	// PublishOn says when: "promoted" (default), at once after the promotion of DRBD, or "writable", once PostgreSQL
	// accepts writes.
	PublishOn string
	// Ownership is "txt" (default), which guards each write by a TXT record beside the address, or "none" for a plain
	// UPSERT.
	Ownership string
	// DriftCheck is the time between two reads of the published record, from 30s to 24h; default 5m.
	DriftCheck time.Duration
	// Repair writes the record again when somebody else has edited its address and left this node's claim; default true.
	// It needs ownership.
	Repair bool
	// EndpointURL replaces the address of the Route 53 API: for PrivateLink or tests. Default: AWS's own.
	EndpointURL string
	// Region chooses the AWS partition (aws, aws-cn, aws-us-gov). Default "": the AWS configuration's own, else us-east-1.
	Region string
	// IMDS replaces the address of the instance metadata service. Default: the link-local one.
	IMDS string
	// Resolver that clients use, as host:port, best an address. Default: the first name server of /etc/resolv.conf.
	Resolver string
}

// HTTP is the listener for Prometheus and health checks.
type HTTP struct {
	// Listen is host:port, where an empty host means every address; default ":9668". "off" for no listener.
	Listen string
	// WebConfig is the path of a file with TLS and basic auth, in the format of Prometheus exporters. Default: none, plain
	// HTTP.
	WebConfig string
}

// Peer says how the daemons of the other nodes are asked for their status. They serve it as this one does: on the port
// of HTTP.Listen, and with TLS where HTTP.WebConfig has it.
type Peer struct {
	// CAFile is the certificate, in PEM, of who signed the other nodes' certificates. Default "": the system's.
	CAFile string
	// Username and PasswordFile are for basic authentication: HTTP.WebConfig holds passwords as hashes only. Default "":
	// none.
	Username     string
	PasswordFile string
}

// State says where the agent keeps what must survive it.
type State struct {
	// Dir holds the journal and the pause; default /var/lib/pgha-agent.
	Dir string
	// AlertSocket receives the alerts of the hook; default /run/pgha-alert.sock. systemd holds it, so that alerts wait
	// while the agent restarts.
	AlertSocket string
	// ControlSocket serves the command line tool; default /run/pgha-agent/control.sock.
	ControlSocket string
}

// CloudWatch is for those without Prometheus: a few figures to CloudWatch, and a message by SNS when an episode ends.
// Both are off by default.
type CloudWatch struct {
	// Namespace that the figures go to, like "PGHA". Default "": none are sent.
	Namespace string
	// Interval between two sets of figures, whole seconds from 10s to 1h; default 1m.
	Interval time.Duration
	// TopicARN is the SNS topic that gets a message when an episode ends. Default "": none is sent.
	TopicARN string
	// Region of both. Required when one of them is used.
	Region string
	// EndpointURL replaces the address of CloudWatch: for PrivateLink or tests. Default: AWS's own.
	EndpointURL string
	// SNSURL replaces the address of SNS. Default: AWS's own.
	SNSURL string
}

// Log is the log.
type Log struct {
	// Level is debug, info (default), warn or error.
	Level string
	// Format is auto (default: JSON unless on a terminal), text or json.
	Format string
}

// Values of Record.PublishOn and Ownership.
const (
	PublishOnPromoted = "promoted"
	PublishOnWritable = "writable"
	OwnershipTXT      = "txt"
	OwnershipNone     = "none"
)

// Words that stand for a value of their own.
const (
	AddressIMDS = "imds" // Node.Address
	Off         = "off"  // Postgres.Client, HTTP.Listen
)

// Default returns the configuration of an empty file: everything but the required fields.
func Default() Config {
	return Config{
		Node:     Node{Name: hostName(), Address: AddressIMDS},
		Cluster:  Cluster{CrmMon: []string{"crm_mon"}},
		Drbd:     Drbd{Drbdsetup: []string{"drbdsetup"}},
		Postgres: Postgres{DSN: "host=/var/run/postgresql user=pgha dbname=postgres", Client: "user=pgha dbname=postgres"},
		Record: Record{
			TTL: 10 * time.Second, PublishOn: PublishOnPromoted, Ownership: OwnershipTXT, DriftCheck: 5 * time.Minute,
			Repair: true,
		},
		HTTP: HTTP{Listen: ":9668"},
		State: State{
			Dir: "/var/lib/pgha-agent", AlertSocket: "/run/pgha-alert.sock", ControlSocket: "/run/pgha-agent/control.sock",
		},
		Log:        Log{Level: "info", Format: "auto"},
		CloudWatch: CloudWatch{Interval: time.Minute},
	}
}
