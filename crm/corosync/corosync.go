// Package corosync reads Corosync's configuration file.
package corosync

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// File is where Corosync keeps its configuration. It is readable for everybody unless somebody changed that.
const File = "/etc/corosync/corosync.conf"

// Config is what the agent needs of corosync.conf(5) and votequorum(5). It is what the file says: Corosync follows a
// change only when it is told to (corosync-cfgtool -R).
type Config struct {
	Token      time.Duration // until a silent node is missed, with what each node after the second adds
	TokenGiven bool          // the file says it; else it depends on Corosync's version, and Token is the longest
	Consensus  time.Duration // until the others agree after that
	Nodes      int           // in the nodelist
	TwoNode    bool
	WaitForAll bool // two_node implies it
	Device     bool // a quorum device decides instead of two_node
}

// Defaults and bounds, from Corosync's exec/totemconfig.c and corosync.conf(5).
const (
	// defaultToken is that of 3.1 and later. It is 1 s before.
	defaultToken       = 3 * time.Second
	defaultCoefficient = 650 * time.Millisecond
	// maxNodes is PROCESSOR_COUNT_MAX.
	maxNodes = 384
)

// Membership is how long Corosync takes from the last sign of a node until the others have a membership without it:
// token and consensus timeout. It is 0, which means unknown, when the file gives no token.
func (c *Config) Membership() time.Duration {
	if !c.TokenGiven {
		return 0
	}
	return c.Token + c.Consensus
}

// Read reads the file.
func Read(file string) (*Config, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read Corosync's configuration: %w", err)
	}
	return Parse(filepath.Base(file), string(text))
}

// Parse reads the text of a file with the given name: `section {`, `key: value`, `}`. As in Corosync
// (exec/coroparse.c) a line with an opening brace begins a section whatever follows, and what follows a closing brace
// is not looked at.
func Parse(name, text string) (*Config, error) {
	c := &Config{}
	values := settings{}
	var path []string
	n := 0
	for line := range strings.Lines(text) {
		n++
		line = strings.TrimSpace(line)
		section, _, opens := strings.Cut(line, "{")
		key, value, sets := strings.Cut(line, ":")
		switch {
		case line == "" || strings.HasPrefix(line, "#"):
		case opens:
			path = append(path, strings.TrimSpace(section))
			switch strings.Join(path, ".") {
			case "nodelist.node":
				c.Nodes++
			case "quorum.device":
				c.Device = true
			}
		case sets:
			where := strings.Join(append(path, strings.TrimSpace(key)), ".")
			values[where] = setting{strings.TrimSpace(value), fmt.Sprintf("%s:%d", name, n)}
		case strings.Contains(line, "}"):
			if len(path) == 0 {
				return nil, fmt.Errorf("%s:%d: a brace closes nothing", name, n)
			}
			path = path[:len(path)-1]
		default:
			return nil, fmt.Errorf("%s:%d: neither a section nor a setting", name, n)
		}
	}
	if len(path) > 0 {
		return nil, fmt.Errorf("%s: it ends in the middle of a section", name)
	}
	if c.Nodes > maxNodes {
		return nil, fmt.Errorf("%s: %d nodes, Corosync takes at most %d", name, c.Nodes, maxNodes)
	}
	c.TwoNode = values["quorum.two_node"].text == "1"
	wait, given := values["quorum.wait_for_all"]
	c.WaitForAll = given && wait.text == "1" || !given && c.TwoNode
	if err := c.timeouts(values); err != nil {
		return nil, err
	}
	return c, nil
}

// timeouts computes the two timeouts as Corosync does: 0 means the default, but for the coefficient.
func (c *Config) timeouts(values settings) error {
	token, err1 := values.millis("totem.token", 0)
	coefficient, err2 := values.millis("totem.token_coefficient", defaultCoefficient)
	consensus, err3 := values.millis("totem.consensus", 0)
	c.TokenGiven = token > 0
	c.Token = cmp.Or(token, defaultToken) + time.Duration(max(0, c.Nodes-2))*coefficient
	c.Consensus = cmp.Or(consensus, c.Token+c.Token/5)
	return errors.Join(err1, err2, err3)
}

// setting is a value and the place where it stands.
type setting struct{ text, place string }

type settings map[string]setting

// millis returns a number of milliseconds, or what holds when the setting is not there.
func (s settings) millis(key string, otherwise time.Duration) (time.Duration, error) {
	v, given := s[key]
	if !given {
		return otherwise, nil
	}
	ms, err := strconv.ParseUint(v.text, 10, 32)
	if err != nil {
		return 0, fmt.Errorf("%s: %s is %q, not a number of milliseconds", v.place, key, v.text)
	}
	return time.Duration(ms) * time.Millisecond, nil
}
