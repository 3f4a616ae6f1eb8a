package drbd

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

// maxConfig bounds a configuration in bytes; a resource takes about one KiB.
const maxConfig = 4 << 20

// Config is what one resource's configuration says, as `drbdsetup show` prints the running one (versions 8.4 and 9
// differ in where things stand) or `drbdadm dump` that of the files. What is not printed has DRBD's default.
type Config struct {
	Name         string
	Protocol     string            // A, B or C; "C" by default
	Fencing      string            // dont-care by default
	TwoPrimaries bool              // allow-two-primaries
	Handlers     map[string]string // only in files: event to command line
	Devices      []string          // "/dev/drbd0"
	Addresses    []netip.AddrPort  // of all hosts
	Peers        []netip.AddrPort  // of the other hosts; nil when the text does not tell which is which
}

// ParseConfig reads the named resource out of the output of `drbdsetup show` or `drbdadm dump`.
func ParseConfig(text []byte, resource string) (*Config, error) {
	if len(text) > maxConfig {
		return nil, fmt.Errorf("parse drbd configuration: more than %d bytes", maxConfig)
	}
	p := configParser{rest: string(text)}
	top, err := p.section(0)
	if err != nil {
		return nil, fmt.Errorf("parse drbd configuration: %w", err)
	}
	c := &configReader{
		Config: Config{Name: resource, Protocol: "C", Fencing: "dont-care", Handlers: map[string]string{}},
		seen:   map[string]bool{},
	}
	found := false
	// What stands in common holds for every resource that does not say otherwise.
	for _, pass := range []string{"common", "resource"} {
		for _, s := range top.sections {
			if s.words[0] == pass && (pass == "common" || len(s.words) == 2 && s.words[1] == resource) {
				found = found || pass == "resource"
				c.read(s, "")
			}
		}
	}
	if !found {
		return nil, fmt.Errorf("parse drbd configuration: there is no resource %q", resource)
	}
	return &c.Config, nil
}

// configReader fills a Config, in which each device and address stands once.
type configReader struct {
	Config
	seen map[string]bool
}

// first reports whether the text is new of its kind.
func (c *configReader) first(kind, text string) bool {
	kind += " " + text
	if c.seen[kind] {
		return false
	}
	c.seen[kind] = true
	return true
}

// read takes over a section and what is in it; in is the keyword of the section around a statement.
func (c *configReader) read(s section, in string) {
	for _, words := range s.statements {
		key, value := words[0], words[1:]
		last := ""
		if len(value) > 0 {
			last = value[len(value)-1]
		}
		switch {
		case in == "handlers":
			c.Handlers[key] = strings.Join(value, " ")
		case key == "protocol" && last != "": // 8.3 wrote it outside of net
			c.Protocol = last
		case key == "fencing" && (in == "net" || in == "disk"):
			c.Fencing = last
		case key == "allow-two-primaries":
			c.TwoPrimaries = last != "no"
		case key == "device":
			c.addDevice(value)
		case key == "address" || key == "_this_host" || key == "_remote_host":
			c.addAddress(last, key == "_remote_host" || in == "_remote_host")
		}
	}
	for _, sub := range s.sections {
		c.read(sub, sub.words[0])
	}
}

// addDevice takes `minor 0` and `/dev/drbd0 minor 0`.
func (c *configReader) addDevice(value []string) {
	if len(value) == 0 {
		return
	}
	dev := value[0]
	if dev == "minor" && len(value) == 2 {
		dev = "/dev/drbd" + value[1]
	}
	if c.first("device", dev) {
		c.Devices = append(c.Devices, dev)
	}
}

func (c *configReader) addAddress(text string, peer bool) {
	a, err := netip.ParseAddrPort(text)
	if err != nil {
		return // a family that is not ours (sdp, ssocks)
	}
	if c.first("address", a.String()) {
		c.Addresses = append(c.Addresses, a)
	}
	if peer && c.first("peer", a.String()) {
		c.Peers = append(c.Peers, a)
	}
}

// section is a block: `words { statements; sections }`.
type section struct {
	words      []string
	statements [][]string
	sections   []section
}

// configParser reads DRBD's configuration language: words end with white space, a semicolon or a brace; # begins a
// comment.
type configParser struct{ rest string }

const maxNesting = 16

func (p *configParser) section(depth int) (s section, err error) {
	if depth > maxNesting {
		return s, errors.New("nested too deeply")
	}
	var words []string
	for {
		word, special, ok := p.next()
		switch {
		case !ok && (depth > 0 || len(words) > 0):
			return s, errors.New("it ends in the middle of a section")
		case !ok:
			return s, nil
		case !special:
			words = append(words, word)
		case word == ";":
			if len(words) > 0 {
				s.statements = append(s.statements, words)
			}
			words = nil
		case word == "{":
			if len(words) == 0 {
				return s, errors.New("a section has no name")
			}
			sub, err := p.section(depth + 1)
			if err != nil {
				return s, err
			}
			sub.words, words = words, nil
			s.sections = append(s.sections, sub)
		case depth == 0 || len(words) > 0: // "}"
			return s, errors.New("a brace closes nothing")
		default:
			return s, nil
		}
	}
}

// next returns a word, or one of { } ; which are special unless quoted.
func (p *configParser) next() (word string, special, ok bool) {
	for {
		p.rest = strings.TrimLeft(p.rest, " \t\r\n")
		if !strings.HasPrefix(p.rest, "#") {
			break
		}
		_, p.rest, _ = strings.Cut(p.rest, "\n")
	}
	switch {
	case p.rest == "":
		return "", false, false
	case strings.ContainsAny(p.rest[:1], "{};"):
		word, p.rest = p.rest[:1], p.rest[1:]
		return word, true, true
	case p.rest[0] == '"':
		word, p.rest, _ = strings.Cut(p.rest[1:], `"`)
		return word, false, true
	}
	end := strings.IndexAny(p.rest, " \t\r\n{};")
	if end < 0 {
		end = len(p.rest)
	}
	word, p.rest = p.rest[:end], p.rest[end:]
	return word, false, true
}
