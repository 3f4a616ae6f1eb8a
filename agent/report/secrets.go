package report

import (
	"bytes"
	"errors"
	"os"
	"regexp"
	"strings"

	"github.com/beevik/etree"

	"github.com/pgha/pgha-agent/agent/config"
)

const redacted = "REDACTED"

// minSecret is the length from which on a secret is looked for everywhere: shorter ones are words, too.
const minSecret = 4

// secrets are values that no file may hold.
type secrets struct{ known []string }

// learn adds values.
func (s *secrets) learn(values ...string) {
	for _, v := range values {
		if v = strings.TrimSpace(v); len(v) >= minSecret {
			s.known = append(s.known, v)
		}
	}
}

var (
	// As in connection strings, and in what programs print of them.
	inKeyword = regexp.MustCompile(`(?i)\b(password\s*=\s*)('(?:[^'\\]|\\.)*'|[^\s'"]+)`)
	inURL     = regexp.MustCompile(`(://[^\s/:@"']*:)([^\s/@"']+)(@)`)
)

// from replaces all secrets in data.
func (s *secrets) from(data []byte) []byte {
	for _, v := range s.known {
		data = bytes.ReplaceAll(data, []byte(v), []byte(redacted))
	}
	data = inKeyword.ReplaceAll(data, []byte("${1}"+redacted))
	return inURL.ReplaceAll(data, []byte("${1}"+redacted+"${3}"))
}

// secretsOf are those that the agent's configuration holds or names.
func secretsOf(c *config.Config) *secrets {
	s := &secrets{}
	for _, v := range []string{c.Postgres.DSN, c.Postgres.Client, c.Record.EndpointURL, c.CloudWatch.EndpointURL,
		c.CloudWatch.SNSURL} {
		for _, m := range inKeyword.FindAllStringSubmatch(v, -1) {
			s.learn(strings.Trim(m[2], "'"))
		}
		for _, m := range inURL.FindAllStringSubmatch(v, -1) {
			s.learn(m[2])
		}
	}
	if data, err := os.ReadFile(c.Peer.PasswordFile); err == nil {
		s.learn(string(data))
	}
	return s
}

// secretName is what parameters of fence agents and resource agents are called whose value is a secret.
var secretName = regexp.MustCompile(`(?i)passw|secret|access_key|private_key|token|credential|community|^key$`)

// cleanCIB replaces the values of parameters whose name says that they are secret.
func cleanCIB(data []byte) ([]byte, []string, error) {
	doc := etree.NewDocument()
	if err := doc.ReadFromBytes(data); err != nil {
		return nil, nil, err
	}
	if doc.Root() == nil {
		return nil, nil, errors.New("no XML")
	}
	var found []string
	for _, e := range append(doc.FindElements("//nvpair"), doc.FindElements("//attributes")...) {
		if value := e.SelectAttr("value"); value != nil && secretName.MatchString(e.SelectAttrValue("name", "")) {
			found = append(found, value.Value)
			value.Value = redacted
		}
	}
	clean, err := doc.WriteToBytes()
	return clean, found, err
}

var (
	sharedSecret = regexp.MustCompile(`(?m)^(\s*shared-secret\s+)("(?:[^"\\]|\\.)*"|[^\s;]+)`)
	corosyncKey  = regexp.MustCompile(`(?m)^(\s*(?:key|keyfile)\s*:[ \t]*)(\S.*)$`)
)

// cleanDrbd replaces what DRBD's nodes know each other by.
func cleanDrbd(data []byte) ([]byte, []string, error) { return cleanText(data, sharedSecret) }

// cleanCorosync replaces the key of totem.key, which stands in the file.
func cleanCorosync(data []byte) ([]byte, []string, error) { return cleanText(data, corosyncKey) }

func cleanText(data []byte, secret *regexp.Regexp) ([]byte, []string, error) {
	var found []string
	for _, m := range secret.FindAllSubmatch(data, -1) {
		found = append(found, strings.Trim(string(m[2]), `"`))
	}
	return secret.ReplaceAll(data, []byte("${1}"+redacted)), found, nil
}
