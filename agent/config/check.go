package config

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgha/pgha-agent/pg"
)

// Sets of characters for madeOf.
const (
	lower   = "abcdefghijklmnopqrstuvwxyz"
	upper   = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	letters = lower + upper
	digits  = "0123456789"
)

// madeOf reports whether s has from least to most bytes, all of them from a set. A bounded regular expression would say
// the same, and is compiled at each start of the program: docs/performance.md has the cost.
func madeOf(s string, least, most int, set string) bool {
	return len(s) >= least && len(s) <= most && strings.Trim(s, set) == ""
}

func oneOf(words ...string) check {
	return func(s string) (clean, what, remedy string) {
		if !slices.Contains(words, s) {
			return "", "is none of the known words", "choose " + strings.Join(words, " or ")
		}
		return s, "", ""
	}
}

// checkWord wants the name of a node or a resource: it becomes an argument of commands and a word in the ownership
// record.
func checkWord(s string) (clean, what, remedy string) {
	if !madeOf(s, 1, 128, letters+digits+"_.-") || s[0] == '.' || s[0] == '-' {
		return "", "is not a name", "use letters, digits and _ . - only, at most 128, as crm_mon and drbdsetup show it"
	}
	return s, "", ""
}

// hostName returns the host name if it can be a node's name, else "".
func hostName() string {
	name, err := os.Hostname()
	if err != nil {
		return ""
	}
	name, _, _ = checkWord(name)
	return name
}

func checkAddress(s string) (clean, what, remedy string) {
	const other = `give this node's own IPv4 address, or "imds" to ask the instance metadata`
	if s == AddressIMDS {
		return s, "", ""
	}
	a, err := netip.ParseAddr(s)
	switch {
	case err != nil:
		return "", "is not an IP address", other
	case !a.Is4():
		return "", "is an IPv6 address, and the record is an A record", other
	case a.IsUnspecified() || a.IsMulticast() || a == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return "", "is not the address of one host", other
	}
	return a.String(), "", ""
}

func checkDSN(s string) (clean, what, remedy string) {
	if strings.TrimSpace(s) == "" {
		return "", "is empty", "leave it out for the default"
	}
	// The error's text may show parts of a password when the string is broken: it is not passed on.
	if _, err := pgconn.ParseConfig(s); err != nil {
		return "", "is not a PostgreSQL connection string",
			`write keywords like "host=/var/run/postgresql user=pgha dbname=postgres", with quotes around values with spaces`
	}
	if _, err := pg.NewProber(s); err != nil {
		return "", "is not the address of one server",
			`name this node's own server only, like "host=/var/run/postgresql user=pgha dbname=postgres"`
	}
	return s, "", ""
}

func checkClientDSN(s string) (clean, what, remedy string) {
	const without = "write keywords without host and hostaddr, like \"user=pgha dbname=postgres\": the host is the " +
		"record's name; or \"off\""
	if s == Off {
		return s, "", ""
	}
	if strings.HasPrefix(s, "postgres://") || strings.HasPrefix(s, "postgresql://") {
		return "", "is a URL", without
	}
	if _, what, _ = checkDSN(s); what != "" {
		return "", what, without
	}
	// The last host given wins: if it is not ours, the string has its own.
	const probe = "host.of.the.record.invalid"
	c, err := pgconn.ParseConfig("host=" + probe + " " + s)
	if err != nil || c.Host != probe {
		return "", "names a host", without
	}
	return s, "", ""
}

func checkZone(s string) (clean, what, remedy string) {
	clean = strings.TrimPrefix(strings.TrimPrefix(s, "/"), "hostedzone/")
	if !strings.HasPrefix(clean, "Z") || !madeOf(clean, 2, 32, upper+digits) {
		return "", "is not the id of a hosted zone",
			"copy the id from Route 53: it starts with Z, in capital letters and digits"
	}
	return clean, "", ""
}

// checkName wants the name of a host, short enough for "_pgha." in front of it (RFC 1035 2.3.4: 253 characters without
// the last dot).
func checkName(s string) (clean, what, remedy string) {
	clean = strings.ToLower(strings.TrimSuffix(s, "."))
	const remedyName = "use letters, digits and - in parts of at most 63, joined by dots, like \"db.example.internal\""
	if _, err := netip.ParseAddr(clean); err == nil {
		return "", "is an address", remedyName
	}
	if len("_pgha.")+len(clean) > 253 {
		return "", "is too long", "use at most 247 characters"
	}
	for part := range strings.SplitSeq(clean, ".") {
		if !madeOf(part, 1, 63, lower+digits+"-") || part[0] == '-' || part[len(part)-1] == '-' {
			return "", "is not the name of a host", remedyName
		}
	}
	return clean, "", ""
}

func checkURL(s string) (clean, what, remedy string) {
	const form = `write it like "https://host" or "http://host:port", without user and password`
	if s == "" {
		return "", "", ""
	}
	u, err := url.Parse(s)
	switch {
	case err != nil:
		return "", "is not a URL", form
	case u.Scheme != "http" && u.Scheme != "https":
		return "", "is not an http or https URL", form
	case u.Hostname() == "" || u.Opaque != "":
		return "", "has no host", form
	case u.User != nil:
		return "", "has a user or password in it", form
	case u.RawQuery != "" || u.Fragment != "":
		return "", "has a query or fragment", form
	}
	return s, "", ""
}

func checkRegion(s string) (clean, what, remedy string) {
	if s != "" && !isRegion(s) {
		return "", "is not a region", `write it like "us-east-1", or leave it out`
	}
	return s, "", ""
}

func isRegion(s string) bool {
	parts := strings.Split(s, "-")
	if len(parts) < 2 || len(parts) > 5 || !madeOf(parts[0], 2, 2, lower) {
		return false
	}
	return !slices.ContainsFunc(parts[1:], func(p string) bool { return !madeOf(p, 1, len(s), lower+digits) })
}

// checkNamespace knows the characters of a namespace from the API reference of PutMetricData; AWS/ is for its own
// services.
func checkNamespace(s string) (clean, what, remedy string) {
	if s != "" && (!madeOf(s, 1, 255, letters+digits+"._/#:-") || strings.HasPrefix(s, "AWS/") ||
		strings.HasPrefix(s, ":")) {
		return "", "is not a namespace",
			"use letters, digits and . - _ / # : only, at most 255, not AWS/ in front, like \"PGHA\"; or leave it out"
	}
	return s, "", ""
}

func checkTopic(s string) (clean, what, remedy string) {
	if s != "" && !isTopic(s) {
		return "", "is not the ARN of an SNS topic",
			`write it like "arn:aws:sns:eu-central-1:123456789012:pgha", or leave it out`
	}
	return s, "", ""
}

func isTopic(s string) bool {
	parts := strings.Split(s, ":") // arn, partition, service, region, account, name
	if len(parts) != 6 {
		return false
	}
	partition, ok := strings.CutPrefix(parts[1], "aws")
	return ok && parts[0] == "arn" && parts[2] == "sns" && madeOf(partition, 0, len(s), lower+"-") &&
		madeOf(parts[3], 1, len(s), lower+digits+"-") &&
		madeOf(parts[4], 12, 12, digits) && madeOf(parts[5], 1, 256, letters+digits+"_-")
}

func checkResolver(s string) (clean, what, remedy string) {
	const form = `write the name server's address and port, like "10.0.0.2:53" or "[fd00::2]:53"`
	if s == "" {
		return "", "", ""
	}
	host, port, what := splitHostPort(s)
	switch {
	case what != "":
		return "", what, form
	case host == "" || port == 0:
		return "", "is not complete", form
	}
	return s, "", ""
}

func checkListen(s string) (clean, what, remedy string) {
	if s == Off {
		return s, "", ""
	}
	if _, _, what := splitHostPort(s); what != "" {
		return "", what, `write it like ":9668" or "127.0.0.1:9668", or "off"`
	}
	return s, "", ""
}

func splitHostPort(s string) (host string, port uint64, what string) {
	host, p, err := net.SplitHostPort(s)
	if err != nil || strings.ContainsAny(host, " \t\r\n\x00/@") {
		return "", 0, "is not host:port"
	}
	port, err = strconv.ParseUint(p, 10, 16)
	if err != nil {
		return "", 0, "has no port from 0 to 65535"
	}
	return host, port, ""
}

func checkPath(s string) (clean, what, remedy string) {
	if !filepath.IsAbs(s) || strings.Contains(s, "\x00") || filepath.Clean(s) == "/" {
		return "", "is not an absolute path", "write the whole path, from /"
	}
	return filepath.Clean(s), "", ""
}

func checkOptionalPath(s string) (clean, what, remedy string) {
	if s == "" {
		return "", "", ""
	}
	return checkPath(s)
}

func checkUsername(s string) (clean, what, remedy string) {
	if strings.ContainsFunc(s, func(c rune) bool { return c == ':' || unicode.IsControl(c) }) || len(s) > 128 {
		return "", "is not a user name", "write it as in http.web_config_file: at most 128 bytes, without a colon"
	}
	return s, "", ""
}

func checkSocket(s string) (clean, what, remedy string) {
	// sockaddr_un has room for 108 bytes with the zero at the end (unix(7)).
	const most = 107
	clean, what, remedy = checkPath(s)
	if what == "" && len(clean) > most {
		return "", "is too long for a socket", fmt.Sprintf("use at most %d bytes", most)
	}
	return clean, what, remedy
}

// Warnings returns what is allowed but probably not intended in production, a sentence for each.
func (c *Config) Warnings() []string {
	var w []string
	if c.Record.TTL > time.Minute {
		w = append(w,
			fmt.Sprintf("record.ttl is %s: after a failover clients may go to the old address for that long; 10s is usual.",
				c.Record.TTL))
	}
	if a, err := netip.ParseAddr(c.Node.Address); err == nil && (a.IsLoopback() || a.IsLinkLocalUnicast()) {
		w = append(w, fmt.Sprintf("node.address is %s: no other host can reach it; this is for tests on one machine only.",
			a))
	}
	if c.Record.Ownership == OwnershipNone {
		w = append(w,
			"record.ownership is none: a write that this node sent before it lost the promotion can undo the other node's.")
	}
	if passwordInside.MatchString(c.Postgres.DSN) || passwordInside.MatchString(c.Postgres.Client) {
		w = append(w,
			"postgres.dsn or postgres.client has a password in it, which group haclient can read here: use peer "+
				"authentication or passfile=.")
	}
	return w
}

// passwordInside finds the password of a connection string, as a keyword or in a URL; not the name of a passfile.
var passwordInside = regexp.MustCompile(`(?i)(^|[\s?&])password\s*=|://[^/@]*:[^@]*@`)
