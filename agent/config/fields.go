package config

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// field is one field of the file.
type field struct {
	name string              // section.key
	of   func(c *Config) any // where it stands: *string, *[]string, *bool or *time.Duration

	check       check // of a string
	least, most time.Duration
	seconds     bool   // a duration of whole seconds
	required    string // what to set it to; "" when it has a default
	secret      bool   // never shown: a mistake in it may uncover a password
}

// check tests the value of a string: it returns the value to keep, or what is wrong and the remedy.
type check func(s string) (clean, what, remedy string)

// fields is every field of the file, in the order of deploy/config.toml. A new one is a line here, beside its place in
// Config, its default, and its lines in deploy/config.toml and docs/configure.md, which tests ask for.
var fields = []field{
	{
		name: "node.name", of: func(c *Config) any { return &c.Node.Name }, check: checkWord,
		required: "this node's name in crm_mon (the host name cannot be used)",
	},
	{name: "node.address", of: func(c *Config) any { return &c.Node.Address }, check: checkAddress},

	{
		name: "cluster.promotable", of: func(c *Config) any { return &c.Cluster.Promotable }, check: checkWord,
		required: `the id of the promotable clone, like "drbd-clone"`,
	},
	{name: "cluster.crm_mon", of: func(c *Config) any { return &c.Cluster.CrmMon }},

	{
		name: "drbd.resource", of: func(c *Config) any { return &c.Drbd.Resource }, check: checkWord,
		required: `the DRBD resource under the database, like "r0"`,
	},
	{name: "drbd.drbdsetup", of: func(c *Config) any { return &c.Drbd.Drbdsetup }},

	{name: "postgres.dsn", of: func(c *Config) any { return &c.Postgres.DSN }, check: checkDSN, secret: true},
	{name: "postgres.client", of: func(c *Config) any { return &c.Postgres.Client }, check: checkClientDSN, secret: true},
	{
		name: "postgres.write_every", of: func(c *Config) any { return &c.Postgres.WriteEvery },
		most: time.Hour, seconds: true,
	},

	{
		name: "record.zone_id", of: func(c *Config) any { return &c.Record.ZoneID }, check: checkZone,
		required: `the id of the hosted zone, like "Z0123456789ABC"`,
	},
	{
		name: "record.name", of: func(c *Config) any { return &c.Record.Name }, check: checkName,
		required: `the service name that clients connect to, like "db.example.internal"`,
	},
	{
		name: "record.ttl", of: func(c *Config) any { return &c.Record.TTL },
		least: time.Second, most: 24 * time.Hour, seconds: true,
	},
	{
		name: "record.publish_on", of: func(c *Config) any { return &c.Record.PublishOn },
		check: oneOf(PublishOnPromoted, PublishOnWritable),
	},
	{
		name: "record.ownership", of: func(c *Config) any { return &c.Record.Ownership },
		check: oneOf(OwnershipTXT, OwnershipNone),
	},
	{
		name: "record.drift_check", of: func(c *Config) any { return &c.Record.DriftCheck },
		least: 30 * time.Second, most: 24 * time.Hour,
	},
	{name: "record.repair", of: func(c *Config) any { return &c.Record.Repair }},
	{
		name: "record.endpoint_url", of: func(c *Config) any { return &c.Record.EndpointURL },
		check: checkURL, secret: true,
	},
	{name: "record.region", of: func(c *Config) any { return &c.Record.Region }, check: checkRegion},
	{name: "record.imds_endpoint", of: func(c *Config) any { return &c.Record.IMDS }, check: checkURL, secret: true},
	{name: "record.resolver", of: func(c *Config) any { return &c.Record.Resolver }, check: checkResolver},

	{name: "http.listen", of: func(c *Config) any { return &c.HTTP.Listen }, check: checkListen},
	{name: "http.web_config_file", of: func(c *Config) any { return &c.HTTP.WebConfig }, check: checkOptionalPath},

	{name: "peer.ca_file", of: func(c *Config) any { return &c.Peer.CAFile }, check: checkOptionalPath},
	{name: "peer.username", of: func(c *Config) any { return &c.Peer.Username }, check: checkUsername},
	{name: "peer.password_file", of: func(c *Config) any { return &c.Peer.PasswordFile }, check: checkOptionalPath},

	{name: "state.dir", of: func(c *Config) any { return &c.State.Dir }, check: checkPath},
	{name: "state.alert_socket", of: func(c *Config) any { return &c.State.AlertSocket }, check: checkSocket},
	{name: "state.control_socket", of: func(c *Config) any { return &c.State.ControlSocket }, check: checkSocket},

	{
		name: "log.level", of: func(c *Config) any { return &c.Log.Level },
		check: oneOf("debug", "info", "warn", "error"),
	},
	{name: "log.format", of: func(c *Config) any { return &c.Log.Format }, check: oneOf("auto", "text", "json")},

	{name: "cloudwatch.namespace", of: func(c *Config) any { return &c.CloudWatch.Namespace }, check: checkNamespace},
	{
		name: "cloudwatch.interval", of: func(c *Config) any { return &c.CloudWatch.Interval },
		least: 10 * time.Second, most: time.Hour, seconds: true,
	},
	{name: "cloudwatch.topic_arn", of: func(c *Config) any { return &c.CloudWatch.TopicARN }, check: checkTopic},
	{name: "cloudwatch.region", of: func(c *Config) any { return &c.CloudWatch.Region }, check: checkRegion},
	{
		name: "cloudwatch.endpoint_url", of: func(c *Config) any { return &c.CloudWatch.EndpointURL },
		check: checkURL, secret: true,
	},
	{
		name: "cloudwatch.sns_endpoint_url", of: func(c *Config) any { return &c.CloudWatch.SNSURL },
		check: checkURL, secret: true,
	},
}

// Fields returns the name of every field, as section.key, with where it stands in c.
func Fields(c *Config) (names []string, values []any) {
	for _, f := range fields {
		names, values = append(names, f.name), append(values, f.of(c))
	}
	return names, values
}

// Shown returns every field with its value, a line each. Of what may hold a password it tells only that it is set.
func (c *Config) Shown() string {
	var b strings.Builder
	for _, f := range fields {
		var value string
		switch v := f.of(c).(type) {
		case *string:
			value = strconv.Quote(*v)
		case *[]string:
			value = fmt.Sprintf("%q", *v)
		case *time.Duration:
			value = strconv.Quote(v.String())
		case *bool:
			value = strconv.FormatBool(*v)
		}
		if f.secret && (strings.Contains(strings.ToLower(value), "password") || strings.Contains(value, "@")) {
			value = "is set; it is not shown, as it holds a password"
		}
		fmt.Fprintf(&b, "%s = %s\n", f.name, value)
	}
	return b.String()
}

// findField returns the field with these names in the file.
func findField(section, key string) (field, bool) {
	for _, f := range fields {
		if f.name == section+"."+key {
			return f, true
		}
	}
	return field{}, false
}

// sectionNames lists the sections in order.
func sectionNames() []string {
	var names []string
	for _, f := range fields {
		section, _, _ := strings.Cut(f.name, ".")
		if len(names) == 0 || names[len(names)-1] != section {
			names = append(names, section)
		}
	}
	return names
}

// keysOf lists the keys of a section in order.
func keysOf(section string) []string {
	var keys []string
	for _, f := range fields {
		if key, ok := strings.CutPrefix(f.name, section+"."); ok {
			keys = append(keys, key)
		}
	}
	return keys
}

// checkDuration says what is wrong with a duration, and the remedy.
func (f *field) checkDuration(d time.Duration) (what, remedy string) {
	if d < f.least || d > f.most {
		return "is out of range", fmt.Sprintf("choose from %gs to %gs", f.least.Seconds(), f.most.Seconds())
	}
	if f.seconds && d%time.Second != 0 {
		return "must be whole seconds", fmt.Sprintf("write \"%ds\"", d/time.Second)
	}
	return "", ""
}
