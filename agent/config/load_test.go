package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/pelletier/go-toml/v2"
)

// leastConfig is the shortest configuration: the required fields only.
const leastConfig = `[cluster]
promotable = "drbd-clone"
[drbd]
resource = "r0"
[record]
zone_id = "Z0123456789EXAMPLE"
name = "db.example.internal"
`

func TestParseFillsTheDefaults(t *testing.T) {
	got, err := Parse("c.toml", []byte("[node]\nname = \"pg-1\"\n"+leastConfig))
	if err != nil {
		t.Fatal(err)
	}
	want := Default()
	want.Node.Name = "pg-1"
	want.Cluster.Promotable, want.Drbd.Resource = "drbd-clone", "r0"
	want.Record.ZoneID, want.Record.Name = "Z0123456789EXAMPLE", "db.example.internal"
	if d := cmp.Diff(want, *got); d != "" {
		t.Error(d)
	}
	if w := got.Warnings(); len(w) != 0 {
		t.Errorf("warnings about the defaults: %q", w)
	}
}

func TestParseTakesEveryField(t *testing.T) {
	got, err := Parse("c.toml", []byte(`
drbd = { resource = "r0", drbdsetup = "/sbin/drbdsetup" }
[node]
name = "pg-1.example"
address = "10.0.1.10"
[cluster]
promotable = "pg-clone"
crm_mon = ["sudo", "crm_mon"] # a comment
[postgres]
dsn = "postgres://pgha:secret@127.0.0.1:5433/postgres?sslmode=disable"
client = 'user=pgha dbname=app password=secret'
write_every = "10s"
[record]
zone_id = "/hostedzone/Z1D633PJN98FT9"
name = "DB.Example.Internal."
ttl = "1m"
publish_on = "writable"
ownership = "none"
drift_check = "30s"
repair = false
endpoint_url = "http://127.0.0.1:4566"
region = "us-gov-west-1"
imds_endpoint = "http://[::1]:1338"
resolver = "[fd00::2]:53"
[http]
listen = "127.0.0.1:9668"
web_config_file = "/etc/pgha-agent/web.yml"
[peer]
ca_file = "/etc/pgha-agent/ca.pem"
username = "pgha"
password_file = "/etc/pgha-agent/peer.password"
[state]
dir = "/srv/pgha/"
alert_socket = "/run/a.sock"
control_socket = "/run/c.sock"
[log]
level = "debug"
format = "json"
[cloudwatch]
namespace = "PGHA/prod"
interval = "30s"
topic_arn = "arn:aws-us-gov:sns:us-gov-west-1:123456789012:pgha"
region = "us-gov-west-1"
endpoint_url = "http://127.0.0.1:1"
sns_endpoint_url = "http://127.0.0.1:2"
`))
	if err != nil {
		t.Fatal(err)
	}
	want := &Config{
		Node:    Node{"pg-1.example", "10.0.1.10"},
		Cluster: Cluster{"pg-clone", []string{"sudo", "crm_mon"}},
		Drbd:    Drbd{"r0", []string{"/sbin/drbdsetup"}},
		Postgres: Postgres{"postgres://pgha:secret@127.0.0.1:5433/postgres?sslmode=disable",
			"user=pgha dbname=app password=secret", 10 * time.Second},
		Record: Record{
			"Z1D633PJN98FT9", "db.example.internal", time.Minute, PublishOnWritable, OwnershipNone, 30 * time.Second, false,
			"http://127.0.0.1:4566", "us-gov-west-1", "http://[::1]:1338", "[fd00::2]:53",
		},
		HTTP:  HTTP{"127.0.0.1:9668", "/etc/pgha-agent/web.yml"},
		Peer:  Peer{"/etc/pgha-agent/ca.pem", "pgha", "/etc/pgha-agent/peer.password"},
		State: State{"/srv/pgha", "/run/a.sock", "/run/c.sock"},
		Log:   Log{"debug", "json"},
		CloudWatch: CloudWatch{
			"PGHA/prod", 30 * time.Second, "arn:aws-us-gov:sns:us-gov-west-1:123456789012:pgha", "us-gov-west-1",
			"http://127.0.0.1:1", "http://127.0.0.1:2",
		},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestParseReportsAllProblemsAtOnce(t *testing.T) {
	_, err := Parse("c.toml", []byte(`[node]
name = "pg-1"
addr = "10.0.0.1"
address = "10.0.0.256"
[clutser]
promotable = "not reported"
[cluster]
promotable = "drbd-clone"
crm_mon = 7
[record]
zone_id = "z123"
name = "db.example.internal"
ttl = "90000s"
drift_check = "5 minutes"
publish_on = "Promoted"
ownership = "txt"
ownership = "none"
`))
	want := `c.toml:3: node.addr: unknown field (got addr); the fields of [node] are name, address
c.toml:4: node.address: is not an IP address (got "10.0.0.256"); give this node's own IPv4 address, or "imds" to ask the instance metadata
c.toml:5: [clutser]: unknown section (got [clutser]); the sections are node, cluster, drbd, postgres, record, http, peer, state, log, cloudwatch
c.toml:9: cluster.crm_mon: must be a list of strings (got 7); write a list of words, like ["/usr/sbin/crm_mon"]
c.toml:11: record.zone_id: is not the id of a hosted zone (got "z123"); copy the id from Route 53: it starts with Z, in capital letters and digits
c.toml:13: record.ttl: is out of range (got "90000s"); choose from 1s to 86400s
c.toml:14: record.drift_check: is not a duration (got "5 minutes"); write a number with its unit, like "10s" or "5m"
c.toml:15: record.publish_on: is none of the known words (got "Promoted"); choose promoted or writable
c.toml:17: record.ownership: given twice (got it first in line 16); remove one`
	// The tenth has no line: its whole section is missing.
	want =
		"c.toml: drbd.resource: is required (got nothing); set it to the DRBD resource under the database, like \"r0\"\n" +
			want
	if err == nil || err.Error() != want {
		t.Errorf("%v", cmp.Diff(want, configErrText(err)))
	}
}

func configErrText(err error) string {
	if err == nil {
		return "no error"
	}
	return err.Error()
}

func TestParseRefuses(t *testing.T) {
	// Each case is one section and what must be said about it.
	for name, c := range map[string]struct{ text, want string }{
		"integer for a duration":    {"[record]\nttl = 10", `record.ttl: must be a duration in quotes (got 10)`},
		"number for a string":       {"[node]\nname = 1.5", `node.name: must be a string (got 1.5)`},
		"bool for a string":         {"[log]\nlevel = true", `log.level: must be a string (got true)`},
		"date for a string":         {"[log]\nlevel = 2024-01-01", `log.level: must be a string (got 2024-01-01)`},
		"table for a string":        {"[log]\nlevel = { a = 1 }", `log.level: must be a string (got a table)`},
		"list for a string":         {"[log]\nlevel = [\"info\"]", `log.level: must be a string (got a list)`},
		"fraction of a second":      {"[record]\nttl = \"1500ms\"", `must be whole seconds (got "1500ms"); write "1s"`},
		"TTL of zero":               {"[record]\nttl = \"0s\"", `is out of range`},
		"negative TTL":              {"[record]\nttl = \"-5s\"", `is out of range`},
		"repair in quotes":          {"[record]\nrepair = \"no\"", `must be true or false`},
		"drift check too often":     {"[record]\ndrift_check = \"29s\"", `choose from 30s to 86400s`},
		"IPv6":                      {"[node]\naddress = \"fd00::1\"", `is an IPv6 address`},
		"IPv4 in IPv6":              {"[node]\naddress = \"::ffff:10.0.0.1\"", `is an IPv6 address`},
		"unspecified address":       {"[node]\naddress = \"0.0.0.0\"", `is not the address of one host`},
		"multicast address":         {"[node]\naddress = \"224.0.0.1\"", `is not the address of one host`},
		"broadcast address":         {"[node]\naddress = \"255.255.255.255\"", `is not the address of one host`},
		"node name with a space":    {"[node]\nname = \"pg 1\"", `is not a name`},
		"name like an option":       {"[drbd]\nresource = \"-r0\"", `is not a name`},
		"empty required field":      {"[drbd]\nresource = \"\"", `drbd.resource: is not a name (got "")`},
		"empty DSN":                 {"[postgres]\ndsn = \" \"", `is empty`},
		"client with a host":        {"[postgres]\nclient = \"host=10.0.0.1 user=pgha\"", `names a host`},
		"client with a quoted host": {"[postgres]\nclient = \"user = pgha host = 'a b'\"", `names a host`},
		"client with an empty host": {"[postgres]\nclient = \"host='' user=pgha\"", `names a host`},
		"client as a URL":           {"[postgres]\nclient = \"postgres:///postgres\"", `is a URL`},
		"address as service name":   {"[record]\nname = \"10.0.0.1\"", `is an address`},
		"wildcard":                  {"[record]\nname = \"*.example.com\"", `is not the name of a host`},
		"underscore in the name":    {"[record]\nname = \"_db.example.com\"", `is not the name of a host`},
		"empty label":               {"[record]\nname = \"db..example.com\"", `is not the name of a host`},
		"name of the root":          {"[record]\nname = \".\"", `is not the name of a host`},
		"label too long": {"[record]\nname = \"" + strings.Repeat("a", 64) + ".com\"",
			`is not the name of a host`},
		"name too long for _pgha.": {"[record]\nname = \"" + strings.Repeat("a.", 123) + "ab\"", `is too long`},
		"URL without scheme":       {"[record]\nendpoint_url = \"route53.example.com\"", `is not an http or https URL`},
		"URL without host":         {"[record]\nendpoint_url = \"https:///x\"", `has no host`},
		"URL with a user":          {"[record]\nendpoint_url = \"https://user@h/\"", `has a user or password`},
		"URL with a query":         {"[record]\nimds_endpoint = \"http://h/?a=b\"", `has a query`},
		"region":                   {"[record]\nregion = \"Frankfurt\"", `is not a region`},
		"resolver without port":    {"[record]\nresolver = \"10.0.0.2\"", `is not host:port`},
		"resolver without host":    {"[record]\nresolver = \":53\"", `is not complete`},
		"listen without port":      {"[http]\nlisten = \"9668\"", `is not host:port`},
		"listen port too large":    {"[http]\nlisten = \":66000\"", `has no port from 0 to 65535`},
		"relative state directory": {"[state]\ndir = \"var/lib\"", `is not an absolute path`},
		"root as state directory":  {"[state]\ndir = \"/.\"", `is not an absolute path`},
		"socket path too long": {"[state]\ncontrol_socket = \"/" + strings.Repeat("s", 107) + "\"",
			`is too long for a socket`},
		"one socket for both": {"[state]\ncontrol_socket = \"/run/x\"\nalert_socket = \"/run/x\"",
			`state.control_socket: is the alert socket as well`},
		"command with a space":       {"[cluster]\ncrm_mon = \"sudo crm_mon\"", `is one word with a space in it`},
		"empty command":              {"[cluster]\ncrm_mon = []", `is an empty command (got an empty list)`},
		"command of an empty word":   {"[cluster]\ncrm_mon = \"\"", `is an empty command`},
		"number in a command":        {"[cluster]\ncrm_mon = [\"crm_mon\", 1]", `must be a list of strings`},
		"field of a field":           {"[record]\nttl.x = 1", `record.ttl.x: unknown field`},
		"section of a section":       {"[record.ttl]\nx = 1", `[record.ttl]: unknown section`},
		"section twice":              {"[log]\n[log]", `x:2: [log]: given twice (got it first in line 1)`},
		"list of sections":           {"[[log]]\nlevel = \"info\"", `is one section, not a list`},
		"section as a value":         {"log = \"info\"", `log: is a section (got "info")`},
		"field outside of a section": {"level = \"info\"", `level: unknown field outside of a section`},
		"control bytes in a key":     {"[log]\n\"a\\nb\" = 1", `"log.a\nb": unknown field`},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Parse("x", []byte(c.text))
			var ce *Error
			if !errors.As(err, &ce) || got != nil {
				t.Fatalf("got %v, error %v", got, err)
			}
			// The required fields are missing in most cases: not what is tested here.
			ce.Problems = slices.DeleteFunc(ce.Problems,
				func(p Problem) bool { return strings.HasPrefix(p.Message, "is required") })
			if len(ce.Problems) != 1 || !strings.Contains(ce.Error(), c.want) || strings.Contains(ce.Error(), "\n") {
				t.Errorf("got  %s\nwant %s", ce, c.want)
			}
		})
	}
}

func TestParseGivesSyntaxErrorsOneLineAndColumn(t *testing.T) {
	for text, want := range map[string]string{
		"[node]\nname = pg-1\naddress = 7\n": "c.toml:2:8: ",
		"[node\n":                            "c.toml:1:6: ",
		"[node]\nname = \"pg":                "c.toml:2:",
		"\xff":                               "c.toml:1:1: ",
		"[a]\nb = \"\xff\"":                  "c.toml:2:",
	} {
		_, err := Parse("c.toml", []byte(text))
		if err == nil || !strings.HasPrefix(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: got %v, want %s", text, err, want)
		}
	}
}

func TestParseRefusesTablesThatTOMLForbids(t *testing.T) {
	for _, text := range []string{
		"log.level = \"info\"\n" + leastConfig + "[log]\n",
		leastConfig + "[log]\n\"level\" = \"info\"\n'level' = \"info\"\n",
		"log = { level = \"info\" }\n" + leastConfig + "[log]\nformat = \"json\"\n",
	} {
		if c, err := Parse("c.toml", []byte(text)); err == nil || c != nil || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: got %v", text, err)
		}
	}
}

func TestParseNeverShowsPasswords(t *testing.T) {
	for _, text := range []string{
		`[postgres]
dsn = "host=/run password='hunter2 user=pgha"`,
		`[postgres]
dsn = "user=pgha port=hunter2"`,
		`[postgres]
dsn = "postgres://pgha:hunter2@h:port/x"`,
		`[postgres]
dsn = ["hunter2"]`,
		`[postgres]
client = "host=x password=hunter2"`,
		`[postgres]
password = "hunter2"`,
		`[postgres]
dsn = hunter2`,
		`[record]
endpoint_url = "https://user:hunter2@example.com"`,
		`[postgress]
dsn = "password=hunter2"`,
	} {
		_, err := Parse("c.toml", []byte(text))
		if err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s:\n%v", text, err)
		}
	}
}

func TestConfigWarnsAboutWhatIsHardlyMeant(t *testing.T) {
	c := Default()
	c.Record.TTL, c.Record.Ownership, c.Node.Address = 61*time.Second, OwnershipNone, "127.0.0.1"
	if w := c.Warnings(); len(w) != 3 {
		t.Errorf("got %q", w)
	}
	for dsn, want := range map[string]bool{
		"host=/x password=hunter2": true, "PASSWORD = 'a b' host=/x": true, "postgres://u:hunter2@h/d": true,
		"postgres://u@h/d?password=hunter2": true,
		"host=/x passfile=/etc/password=x":  false, "postgres://u@h:5432/d": false, "host=/x user=password": false,
	} {
		c := Default()
		c.Postgres.DSN = dsn
		if w := c.Warnings(); (len(w) == 1) != want || strings.Contains(fmt.Sprint(w), "hunter2") {
			t.Errorf("%q: %q", dsn, w)
		}
	}
}

func TestLoadNamesTheFile(t *testing.T) {
	dir := t.TempDir()
	if _, err := Load(filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing file: %v", err)
	}
	path := filepath.Join(dir, "c.toml")
	if err := os.WriteFile(path, []byte("[x]"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(path); err == nil || !strings.HasPrefix(err.Error(), path+": ") {
		t.Errorf("wrong file: %v", err)
	}
	if err := os.WriteFile(path, []byte(leastConfig), 0o600); err != nil {
		t.Fatal(err)
	}
	if c, err := Load(path); err != nil || c.Drbd.Resource != "r0" {
		t.Errorf("good file: %v", err)
	}
	if _, err := Load("/dev/zero"); err == nil || !strings.Contains(err.Error(), "larger than") {
		t.Errorf("endless file: %v", err)
	}
}

// TestEveryFieldIsInTheTable holds the table to the struct: each field once, with what its type needs.
func TestEveryFieldIsInTheTable(t *testing.T) {
	var c Config
	places := map[any]string{}
	for _, f := range fields {
		if before := places[f.of(&c)]; before != "" {
			t.Errorf("%s is %s as well", f.name, before)
		}
		places[f.of(&c)] = f.name
		switch f.of(&c).(type) {
		case *string:
			if f.check == nil {
				t.Errorf("no check for %s", f.name)
			}
		case *time.Duration:
			if f.most == 0 {
				t.Errorf("no limit for %s", f.name)
			}
		}
	}
	n := 0
	for section := range reflect.TypeFor[Config]().Fields() {
		n += section.Type.NumField()
	}
	if len(fields) != n {
		t.Errorf("%d fields in the table, %d in Config", len(fields), n)
	}
}

// TestSampleShowsEveryFieldWithItsDefault holds deploy/config.toml to the code.
func TestSampleShowsEveryFieldWithItsDefault(t *testing.T) {
	const sample = "../../deploy/config.toml"
	c, err := Load(sample)
	if err != nil {
		t.Fatal(err)
	}
	if w := c.Warnings(); len(w) > 0 {
		t.Errorf("warnings: %q", w)
	}
	data, err := os.ReadFile(sample)
	if err != nil {
		t.Fatal(err)
	}
	all := regexp.MustCompile(`(?m)^#([a-z_]+ = )`).ReplaceAll(data, []byte("$1"))
	got, err := Parse("all", all)
	if err != nil {
		t.Fatal(err)
	}
	got.Node.Name = c.Node.Name // its default differs from host to host
	if d := cmp.Diff(c, got); d != "" {
		t.Errorf("what is commented out is not the default: %s", d)
	}
	var tree map[string]map[string]any
	if err := toml.Unmarshal(all, &tree); err != nil {
		t.Fatal(err)
	}
	for _, s := range sectionNames() {
		for _, f := range keysOf(s) {
			if _, ok := tree[s][f]; !ok {
				t.Errorf("%s.%s is not in the sample", s, f)
			}
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(leastConfig))
	if sample, err := os.ReadFile("../../deploy/config.toml"); err == nil {
		f.Add(sample)
	}
	f.Add([]byte("[record]\nttl = 5\nttl = \"x\"\n[[log]]\n[node"))
	f.Add([]byte("log = { level = \"info\", level = \"warn\" }\n[log]\nformat = 'json'"))
	f.Add([]byte("a.b.\"c d\" = [[], {}, [1, 2.5, inf, nan, 07:32:00]]\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := Parse("f", data)
		var ce *Error
		switch {
		case err == nil:
			// What we take must be TOML to others too.
			if e := toml.Unmarshal(data, &map[string]any{}); e != nil {
				t.Fatal(e)
			}
			if c.Record.ZoneID == "" || c.Record.Name == "" || c.Cluster.Promotable == "" || c.Drbd.Resource == "" ||
				c.Node.Name == "" {
				t.Fatalf("required field empty: %+v", c)
			}
		case c != nil:
			t.Fatal("a value and an error")
		case !errors.As(err, &ce) || len(ce.Problems) == 0:
			t.Fatalf("error of type %s", reflect.TypeOf(err))
		case strings.Count(err.Error(), "\n") != len(ce.Problems)-1:
			t.Fatalf("not one line each: %q", err)
		}
	})
}

func TestCloudWatchNeedsItsRegion(t *testing.T) {
	for section, want := range map[string]string{
		`namespace = "PGHA"`: "c.toml:9: cloudwatch.region: is required with namespace or topic_arn (got nothing); set it " +
			"to this instance's region, like \"eu-central-1\"",
		`namespace = "AWS/EC2"
region = "eu-central-1"`: `c.toml:9: cloudwatch.namespace: is not a namespace (got "AWS/EC2"); use letters, digits and . - _ / # : only, at most 255, not AWS/ in front, like "PGHA"; or leave it out`,
		`topic_arn = "pgha"
region = "eu-central-1"`: `c.toml:9: cloudwatch.topic_arn: is not the ARN of an SNS topic (got "pgha"); write it like "arn:aws:sns:eu-central-1:123456789012:pgha", or leave it out`,
		`interval = "1s"`: `c.toml:9: cloudwatch.interval: is out of range (got "1s"); choose from 10s to 3600s`,
	} {
		if _, err := Parse("c.toml", []byte(leastConfig+"[cloudwatch]\n"+section+"\n")); err == nil || err.Error() != want {
			t.Errorf("%s:\n%v", section, cmp.Diff(want, configErrText(err)))
		}
	}
}

// TestSalvage: what is right in a file that is wrong finds the daemon, and says whether it is enough to look around.
func TestSalvage(t *testing.T) {
	const good = "[cluster]\npromotable = \"c\"\n[drbd]\nresource = \"r\"\n[record]\nzone_id = \"Z1\"\nname = \"db.x\"\n" +
		"[state]\ncontrol_socket = \"/x/c.sock\"\n"
	for name, c := range map[string]struct {
		text, socket string
		whole        bool
	}{
		"an unknown field":    {good + "bogus = 1\n", "/x/c.sock", true},
		"a wrong value":       {strings.Replace(good, `"Z1"`, `"1"`, 1), "/x/c.sock", false},
		"no TOML at its end":  {good + "[[[\n", "/x/c.sock", true},
		"no TOML from begin":  {"[[[\n" + good, Default().State.ControlSocket, false},
		"empty":               {"", Default().State.ControlSocket, false},
		"larger than allowed": {good + strings.Repeat("#", maxSize), Default().State.ControlSocket, false},
	} {
		file := filepath.Join(t.TempDir(), "config.toml")
		if err := os.WriteFile(file, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		cfg, whole := Salvage(file)
		if cfg.State.ControlSocket != c.socket || whole != c.whole {
			t.Errorf("%s: %s, %v", name, cfg.State.ControlSocket, whole)
		}
	}
	if cfg, whole := Salvage(filepath.Join(t.TempDir(), "none")); whole || cfg.State.Dir != Default().State.Dir {
		t.Errorf("no file: %+v", cfg.State)
	}
}
