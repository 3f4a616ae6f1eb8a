package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"

	"github.com/pgha/pgha-agent/agent/internal/text"
)

// maxSize bounds the configuration file: a wrong path (a device, a log) must end in an error, not in full memory.
const maxSize = 1 << 20

// Error is everything that is wrong with one configuration file.
type Error struct {
	File     string
	Problems []Problem // in the order of lines, never empty
}

// Problem is one thing that is wrong.
type Problem struct {
	// 1 is the first; 0 when the problem is in no line, like a required field that is missing with its section.
	Line    int
	Column  int    // in bytes from 1, for syntax errors; 0 for all others
	Field   string // "section.field", or "[section]"; "" for syntax errors
	Message string // what is wrong, what was found, and the remedy
}

// Error returns one line for each problem: "file:line: section.field: what is wrong (got X); remedy".
func (e *Error) Error() string {
	var b strings.Builder
	for i, p := range e.Problems {
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(e.File)
		if p.Line > 0 {
			fmt.Fprintf(&b, ":%d", p.Line)
		}
		if p.Column > 0 {
			fmt.Fprintf(&b, ":%d", p.Column)
		}
		b.WriteString(": ")
		if p.Field != "" {
			b.WriteString(p.Field + ": ")
		}
		b.WriteString(p.Message)
	}
	return b.String()
}

// Load reads the configuration file at path. A file that can be read but is wrong gives a *Error.
func Load(path string) (*Config, error) {
	data, err := readFile(path)
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	return Parse(path, data)
}

// readFile reads at most one byte more than is allowed.
func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	return io.ReadAll(io.LimitReader(f, maxSize+1))
}

// Parse parses the text of a configuration file over the defaults. The name is for error messages only. Every error is
// a *Error that lists all problems of the file at once, and never shows a value that may hold a password.
func Parse(name string, data []byte) (*Config, error) {
	cfg := Default()
	if err := parse(&cfg, name, data); err != nil {
		return nil, err
	}
	return &cfg, nil
}

// Salvage returns what can be read of a configuration file that is wrong, over the defaults. It finds the daemon, which
// runs on with what it read before; nothing is published by it. whole: all that is required is there.
func Salvage(path string) (cfg *Config, whole bool) {
	c := Default()
	if data, err := readFile(path); err == nil {
		_ = parse(&c, path, data) // Load tells
	}
	return &c, !slices.ContainsFunc(fields, func(f field) bool { return f.required != "" && *f.of(&c).(*string) == "" })
}

// parse sets the fields of cfg that are right, and tells what is not.
func parse(cfg *Config, name string, data []byte) error {
	if len(data) > maxSize {
		return &Error{File: name, Problems: []Problem{{Message: fmt.Sprintf(
			"is larger than %d bytes; is this the right file?", maxSize)}}}
	}
	r := reader{cfg: cfg, seen: map[string]int{}}
	r.parser.Reset(data)
	r.read()
	if r.parser.Error() != nil {
		// Half of a file says nothing about the fields: the syntax comes first, alone.
		return &Error{File: name, Problems: []Problem{syntaxProblem(data)}}
	}
	r.finish()
	if len(r.problems) == 0 {
		// The parser above checks the grammar but not all the rules about tables that are defined twice.
		if err := toml.Unmarshal(data, &map[string]any{}); err != nil {
			r.problems = []Problem{syntaxProblem(data)}
		}
	}
	if len(r.problems) > 0 {
		slices.SortStableFunc(r.problems, func(a, b Problem) int { return a.Line - b.Line })
		return &Error{File: name, Problems: r.problems}
	}
	return nil
}

// syntaxProblem places the first error of a document that is not TOML.
func syntaxProblem(data []byte) Problem {
	err := toml.Unmarshal(data, &map[string]any{})
	p := Problem{Line: 1, Message: "is not valid TOML"}
	if de := (*toml.DecodeError)(nil); errors.As(err, &de) {
		p.Line, p.Column = de.Position()
		p.Message = strings.TrimPrefix(de.Error(), "toml: ")
	} else if err != nil {
		p.Message = strings.TrimPrefix(err.Error(), "toml: ")
	}
	return p
}

// reader walks over the file, sets the fields of cfg and notes what is wrong. It does not stop at the first problem,
// which is why the file is not simply decoded.
type reader struct {
	parser   unstable.Parser
	cfg      *Config
	seen     map[string]int // line of each section and field
	problems []Problem
}

func (r *reader) complain(line int, field, format string, args ...any) {
	r.problems = append(r.problems, Problem{Line: line, Field: field, Message: fmt.Sprintf(format, args...)})
}

func (r *reader) line(n *unstable.Node) int {
	return r.parser.Shape(n.Raw).Start.Line
}

func (r *reader) read() {
	section, skip := "", false // skip: the section is unknown, and was reported
	for r.parser.NextExpression() {
		n := r.parser.Expression()
		switch n.Kind {
		case unstable.Table, unstable.ArrayTable:
			section, skip = r.header(n)
		case unstable.KeyValue:
			if !skip {
				r.keyValue(section, n)
			}
		default: // the parser was not asked for comments
		}
	}
}

// header reads "[section]" and reports whether what follows is to be skipped.
func (r *reader) header(n *unstable.Node) (section string, skip bool) {
	path, line := r.key(n)
	section = strings.Join(path, ".")
	field := "[" + printable(section) + "]"
	if !slices.Contains(sectionNames(), section) {
		r.complain(line, field, "unknown section (got %s); the sections are %s", field, strings.Join(sectionNames(), ", "))
		return section, true
	}
	if n.Kind == unstable.ArrayTable {
		r.complain(line, field, "is one section, not a list of them (got [%s]); write %s", field, field)
		return section, false
	}
	if first := r.seen[section]; first > 0 {
		r.complain(line, field, "given twice (got it first in line %d); write all its fields in one place", first)
	} else {
		r.seen[section] = line
	}
	return section, false
}

// key returns the words of a key or of a section's header, and its line.
func (r *reader) key(n *unstable.Node) (path []string, line int) {
	for it := n.Key(); it.Next(); {
		if line == 0 {
			line = r.line(it.Node())
		}
		path = append(path, string(it.Node().Data))
	}
	return path, line
}

// keyValue reads "key = value" in a section; the key may be dotted, and the value a whole section.
func (r *reader) keyValue(section string, n *unstable.Node) {
	path, line := r.key(n)
	value := n.Value()
	if section == "" {
		section, path = path[0], path[1:]
		if !slices.Contains(sectionNames(), section) {
			r.complain(line, printable(section), "unknown field outside of a section (got %s); the sections are %s",
				printable(section), strings.Join(sectionNames(), ", "))
			return
		}
		if len(path) == 0 {
			if value.Kind != unstable.InlineTable {
				r.complain(line, section, "is a section (got %s); write [%s] and its fields below", r.got(value), section)
				return
			}
			for it := value.Children(); it.Next(); {
				r.keyValue(section, it.Node())
			}
			return
		}
	}
	key := strings.Join(path, ".")
	name := section + "." + key
	f, known := findField(section, key)
	if !known {
		r.complain(line, printable(name), "unknown field (got %s); the fields of [%s] are %s", printable(key), section,
			strings.Join(keysOf(section), ", "))
		return
	}
	if first := r.seen[name]; first > 0 {
		r.complain(line, name, "given twice (got it first in line %d); remove one", first)
		return
	}
	r.seen[name] = line
	if what, remedy := r.set(&f, value); what != "" {
		got := r.got(value)
		if f.secret {
			got = "a value that is not shown, it may hold a password"
		}
		r.complain(line, name, "%s (got %s); %s", what, got, remedy)
	}
}

// set converts, checks and stores one value; it returns what is wrong with it, and the remedy.
func (r *reader) set(f *field, value *unstable.Node) (what, remedy string) {
	switch p := f.of(r.cfg).(type) {
	case *string:
		if value.Kind != unstable.String {
			return "must be a string", "put it in quotes"
		}
		var clean string
		if clean, what, remedy = f.check(string(value.Data)); what == "" {
			*p = clean
		}
	case *time.Duration:
		if value.Kind != unstable.String {
			return "must be a duration in quotes", `write a number with its unit, like "10s" or "5m"`
		}
		d, err := time.ParseDuration(string(value.Data))
		if err != nil {
			return "is not a duration", `write a number with its unit, like "10s" or "5m"`
		}
		if what, remedy = f.checkDuration(d); what == "" {
			*p = d
		}
	case *bool:
		if value.Kind != unstable.Bool {
			return "must be true or false", "write it without quotes"
		}
		*p = string(value.Data) == "true"
	case *[]string:
		var words []string
		if words, what, remedy = commandWords(value); what == "" {
			*p = words
		}
	default:
		panic("no conversion for the type of " + f.name) // a field of Config of a new type: caught by any test
	}
	return what, remedy
}

// commandWords reads a list of words; a string alone is a list of one.
func commandWords(value *unstable.Node) (words []string, what, remedy string) {
	const list = `write a list of words, like ["/usr/sbin/crm_mon"]`
	switch value.Kind {
	case unstable.String:
		words = []string{string(value.Data)}
		if strings.ContainsAny(words[0], " \t\n") {
			return nil, "is one word with a space in it", list
		}
	case unstable.Array:
		for it := value.Children(); it.Next(); {
			if it.Node().Kind != unstable.String {
				return nil, "must be a list of strings", list
			}
			words = append(words, string(it.Node().Data))
		}
	default:
		return nil, "must be a list of strings", list
	}
	if len(words) == 0 || words[0] == "" {
		return nil, "is an empty command", list
	}
	if strings.Contains(strings.Join(words, ""), "\x00") {
		return nil, "has a zero byte in it", list
	}
	return words, "", ""
}

// got shows a value in an error message.
func (r *reader) got(n *unstable.Node) string {
	switch n.Kind {
	case unstable.String:
		return text.Cut(fmt.Sprintf("%q", n.Data), maxShown)
	case unstable.Array:
		if n.Child() == nil {
			return "an empty list"
		}
		return "a list"
	case unstable.InlineTable:
		return "a table"
	default:
		return printable(string(bytes.TrimSpace(r.parser.Raw(n.Raw))))
	}
}

// finish notes the required fields that are missing, and values that contradict each other.
func (r *reader) finish() {
	for _, f := range fields {
		if f.required != "" && r.seen[f.name] == 0 && *f.of(r.cfg).(*string) == "" {
			section, _, _ := strings.Cut(f.name, ".")
			r.complain(r.seen[section], f.name, "is required (got nothing); set it to %s", f.required)
		}
	}
	if c := r.cfg.CloudWatch; c.Region == "" && (c.Namespace != "" || c.TopicARN != "") {
		line := max(r.seen["cloudwatch.namespace"], r.seen["cloudwatch.topic_arn"])
		r.complain(line, "cloudwatch.region",
			"is required with namespace or topic_arn (got nothing); set it to this instance's region, like \"eu-central-1\"")
	}
	if p := r.cfg.Peer; (p.Username == "") != (p.PasswordFile == "") {
		line := max(r.seen["peer.username"], r.seen["peer.password_file"])
		r.complain(line, "peer.username", "and password_file need each other; set both, or none")
	}
	if s := r.cfg.State; s.AlertSocket == s.ControlSocket {
		line := max(r.seen["state.alert_socket"], r.seen["state.control_socket"])
		r.complain(line, "state.control_socket", "is the alert socket as well (got %q); give each its own path",
			text.Cut(s.ControlSocket, maxShown))
	}
}

// maxShown is how much of a text from the file an error message shows, in bytes.
const maxShown = 80

// printable returns text from the file as it can stand in a line of an error message.
func printable(s string) string { return text.Quoted(s, maxShown) }
