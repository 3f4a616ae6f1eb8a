package agent

import "time"

// Config is the configuration file (TOML). Every field has its default in DefaultConfig; a Config that LoadConfig returned is valid.
type Config struct {
	Node     NodeConfig     `toml:"node"`
	Cluster  ClusterConfig  `toml:"cluster"`
	Drbd     DrbdConfig     `toml:"drbd"`
	Postgres PostgresConfig `toml:"postgres"`
	Record   RecordConfig   `toml:"record"`
	HTTP     HTTPConfig     `toml:"http"`
	State    StateConfig    `toml:"state"`
	Log      LogConfig      `toml:"log"`

	CloudWatch CloudWatchConfig `toml:"cloudwatch"`
}

// NodeConfig names this node.
type NodeConfig struct {
	// Name is this node as crm_mon prints it. Default: the host name, which is also Pacemaker's default.
	Name string `toml:"name"`
	// Address is the IPv4 address to publish, or "imds" (default) for the instance metadata's local-ipv4, asked until it answers and then kept.
	Address string `toml:"address"`
}

// ClusterConfig says which promotable clone carries the database.
type ClusterConfig struct {
	// Promotable is the id of the promotable clone, or of its primitive. Required.
	Promotable string `toml:"promotable"`
	// CrmMon is the command to run, as a list of words; the agent adds its own arguments. Default: crm_mon from PATH.
	CrmMon []string `toml:"crm_mon"`
}

// DrbdConfig says which DRBD resource carries the data.
type DrbdConfig struct {
	// Resource is the name of the DRBD resource under the database's filesystem. Required.
	Resource string `toml:"resource"`
	// Drbdsetup is the command to run, as a list of words; the agent adds its own arguments. Default: drbdsetup from PATH.
	Drbdsetup []string `toml:"drbdsetup"`
}

// PostgresConfig says how to reach the local server, and the service as a client.
type PostgresConfig struct {
	// DSN is the connection string of the local probe. Default: the Unix socket, user pgha, database postgres.
	DSN string `toml:"dsn"`
	// Client is the connection string of the client's view, as keywords and without a host: the record's name is the host.
	// "off" turns the client's view off.
	Client string `toml:"client"`
}

// RecordConfig is the Route 53 record.
type RecordConfig struct {
	// ZoneID is the id of the hosted zone, with or without "/hostedzone/". Required.
	ZoneID string `toml:"zone_id"`
	// Name is the service name that clients connect to; kept in lower case, without the dot at the end. Required.
	Name string `toml:"name"`
	// TTL of the record, whole seconds from 1s to 24h; default 10s. Clients may use the old address for this long.
	TTL time.Duration `toml:"ttl"`
	// PublishOn says when: "promoted" (default), at once after the promotion of DRBD, or "writable", once PostgreSQL accepts writes.
	PublishOn string `toml:"publish_on"`
	// Ownership is "txt" (default), which guards each write by a TXT record beside the address, or "none" for a plain UPSERT.
	Ownership string `toml:"ownership"`
	// DriftCheck is the time between two reads of the published record, from 30s to 24h; default 5m.
	DriftCheck time.Duration `toml:"drift_check"`
	// Repair writes the record again when somebody else has edited its address and left this node's claim; default true. It needs ownership.
	Repair bool `toml:"repair"`
	// EndpointURL replaces the address of the Route 53 API: for PrivateLink or tests. Default: AWS's own.
	EndpointURL string `toml:"endpoint_url"`
	// Region chooses the AWS partition (aws, aws-cn, aws-us-gov). Default "": the AWS configuration's own, else us-east-1.
	Region string `toml:"region"`
	// IMDS replaces the address of the instance metadata service. Default: the link-local one.
	IMDS string `toml:"imds_endpoint"`
	// Resolver that clients use, as host:port, best an address. Default: the first name server of /etc/resolv.conf.
	Resolver string `toml:"resolver"`
}

// HTTPConfig is the listener for Prometheus and health checks.
type HTTPConfig struct {
	// Listen is host:port, where an empty host means every address; default ":9668". "off" for no listener.
	Listen string `toml:"listen"`
	// WebConfig is the path of a file with TLS and basic auth, in the format of Prometheus exporters. Default: none, plain HTTP.
	WebConfig string `toml:"web_config_file"`
}

// StateConfig says where the agent keeps what must survive it.
type StateConfig struct {
	// Dir holds the journal and the pause; default /var/lib/pgha-agent.
	Dir string `toml:"dir"`
	// AlertSocket receives the alerts of the hook; default /run/pgha-alert.sock. systemd holds it, so that alerts wait while the agent restarts.
	AlertSocket string `toml:"alert_socket"`
	// ControlSocket serves the command line tool; default /run/pgha-agent/control.sock.
	ControlSocket string `toml:"control_socket"`
}

// CloudWatchConfig is for those without Prometheus: a few figures to CloudWatch, and a message by SNS when an episode ends. Both are off by default.
type CloudWatchConfig struct {
	// Namespace that the figures go to, like "PGHA". Default "": none are sent.
	Namespace string `toml:"namespace"`
	// Interval between two sets of figures, whole seconds from 10s to 1h; default 1m.
	Interval time.Duration `toml:"interval"`
	// TopicARN is the SNS topic that gets a message when an episode ends. Default "": none is sent.
	TopicARN string `toml:"topic_arn"`
	// Region of both. Required when one of them is used.
	Region string `toml:"region"`
	// EndpointURL replaces the address of CloudWatch: for PrivateLink or tests. Default: AWS's own.
	EndpointURL string `toml:"endpoint_url"`
	// SNSURL replaces the address of SNS. Default: AWS's own.
	SNSURL string `toml:"sns_endpoint_url"`
}

// LogConfig is the log.
type LogConfig struct {
	// Level is debug, info (default), warn or error.
	Level string `toml:"level"`
	// Format is auto (default: JSON unless on a terminal), text or json.
	Format string `toml:"format"`
}

// Values of RecordConfig.PublishOn and Ownership.
const (
	PublishOnPromoted = "promoted"
	PublishOnWritable = "writable"
	OwnershipTXT      = "txt"
	OwnershipNone     = "none"
)

// Words that stand for a value of their own.
const (
	AddressIMDS = "imds" // NodeConfig.Address
	Off         = "off"  // PostgresConfig.Client, HTTPConfig.Listen
)

// DefaultConfig returns the configuration of an empty file: everything but the required fields.
func DefaultConfig() Config {
	return Config{
		Node:     NodeConfig{Name: hostName(), Address: AddressIMDS},
		Cluster:  ClusterConfig{CrmMon: []string{"crm_mon"}},
		Drbd:     DrbdConfig{Drbdsetup: []string{"drbdsetup"}},
		Postgres: PostgresConfig{DSN: "host=/var/run/postgresql user=pgha dbname=postgres", Client: "user=pgha dbname=postgres"},
		Record: RecordConfig{
			TTL: 10 * time.Second, PublishOn: PublishOnPromoted, Ownership: OwnershipTXT, DriftCheck: 5 * time.Minute,
			Repair: true,
		},
		HTTP: HTTPConfig{Listen: ":9668"},
		State: StateConfig{
			Dir: "/var/lib/pgha-agent", AlertSocket: "/run/pgha-alert.sock", ControlSocket: "/run/pgha-agent/control.sock",
		},
		Log:        LogConfig{Level: "info", Format: "auto"},
		CloudWatch: CloudWatchConfig{Interval: time.Minute},
	}
}
