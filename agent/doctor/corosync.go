package doctor

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// corosyncConf is what the checks read of corosync.conf(5) and votequorum(5).
type corosyncConf struct {
	Token, Consensus time.Duration // with Corosync's defaults
	Nodes            int
	TwoNode          bool
	WaitForAll       bool // two_node implies it
	Device           bool // a quorum device decides instead of two_node
}

// defaultToken is Corosync 3.1's; before it was 1 s, so this errs on the long side.
const defaultToken = 3 * time.Second

// maxNodes is Corosync's PROCESSOR_COUNT_MAX.
const maxNodes = 384

// parseCorosync reads the file: `name {`, `key: value`, `}`.
func parseCorosync(text string) (*corosyncConf, error) {
	values := map[string]string{}
	c := &corosyncConf{}
	var path []string
	n := 0
	for line := range strings.Lines(text) {
		n++
		line = strings.TrimSpace(line)
		switch {
		case line == "" || strings.HasPrefix(line, "#"):
		case strings.HasSuffix(line, "{"):
			path = append(path, strings.TrimSpace(strings.TrimSuffix(line, "{")))
			switch strings.Join(path, ".") {
			case "nodelist.node":
				c.Nodes++
			case "quorum.device":
				c.Device = true
			}
		case line == "}":
			if len(path) == 0 {
				return nil, fmt.Errorf("corosync.conf:%d: a brace closes nothing", n)
			}
			path = path[:len(path)-1]
		default:
			key, value, ok := strings.Cut(line, ":")
			if !ok {
				return nil, fmt.Errorf("corosync.conf:%d: neither a section nor a setting", n)
			}
			values[strings.Join(append(path, strings.TrimSpace(key)), ".")] = strings.TrimSpace(value)
		}
	}
	if len(path) > 0 {
		return nil, errors.New("corosync.conf: it ends in the middle of a section")
	}
	if c.Nodes > maxNodes {
		return nil, fmt.Errorf("corosync.conf: %d nodes, Corosync takes at most %d", c.Nodes, maxNodes)
	}
	millis := func(key string, def time.Duration) time.Duration {
		if ms, err := strconv.ParseUint(values[key], 10, 32); err == nil {
			return time.Duration(ms) * time.Millisecond
		}
		return def
	}
	c.Token = millis("totem.token", defaultToken)
	if extra := c.Nodes - 2; extra > 0 {
		c.Token += time.Duration(extra) * millis("totem.token_coefficient", 650*time.Millisecond)
	}
	c.Consensus = millis("totem.consensus", c.Token+c.Token/5)
	c.TwoNode = values["quorum.two_node"] == "1"
	wait, given := values["quorum.wait_for_all"]
	c.WaitForAll = given && wait == "1" || !given && c.TwoNode
	return c, nil
}
