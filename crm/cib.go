package crm

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"time"

	"github.com/beevik/etree"
)

// CIB reads and changes the cluster's configuration with cibadmin. The daemon only reads: what changes is for
// commands that an operator gave.
type CIB struct {
	Command []string      // default: cibadmin from PATH, else /usr/sbin/cibadmin
	Timeout time.Duration // of one run, default 10 s
}

// Exit codes of cibadmin (include/crm/common/results.h; tried with 2.1.5).
const exitExists = 108

// ErrExists says that the configuration has a constraint of that id already.
var ErrExists = errors.New("a constraint of that name is there already")

// Configuration reads the configuration, and beside it the attributes that last until a node's next reboot: crm_mon
// shows a fail count only of a resource that has run on the node. They stay nil when they cannot be read.
func (c *CIB) Configuration(ctx context.Context) (*Configuration, error) {
	out, err := c.run(ctx, "-Q", "-o", "configuration")
	if err != nil {
		return nil, err
	}
	conf, err := ParseConfiguration(out)
	if err != nil {
		return nil, err
	}
	if out, err := c.run(ctx, "-Q", "-o", "status"); err == nil {
		conf.Transient = parseTransient(out)
	}
	return conf, nil
}

// AddPreference adds a location constraint of its own id, which ends to apply by itself at l.Until. version is the
// Pacemaker's, of Status.PacemakerVersion: before 2.1.0 the promoted role has another word. ErrExists: nothing was
// changed.
func (c *CIB) AddPreference(ctx context.Context, l Location, version string) error {
	e := etree.NewElement("rsc_location")
	e.CreateAttr("id", l.ID)
	e.CreateAttr("rsc", l.Resource)
	rule := e.CreateElement("rule")
	rule.CreateAttr("id", l.ID+"-rule")
	if l.Role != "" {
		rule.CreateAttr("role", roleWord(l.Role, version))
	}
	rule.CreateAttr("score", scoreText(l.Score))
	rule.CreateAttr("boolean-op", "and")
	node := rule.CreateElement("expression")
	node.CreateAttr("id", l.ID+"-node")
	node.CreateAttr("attribute", "#uname")
	node.CreateAttr("operation", "eq")
	node.CreateAttr("value", l.Node)
	until := rule.CreateElement("date_expression")
	until.CreateAttr("id", l.ID+"-until")
	until.CreateAttr("operation", "lt")
	until.CreateAttr("end", l.Until.UTC().Format("2006-01-02 15:04:05Z"))
	doc := etree.NewDocument()
	doc.SetRoot(e)
	xml, err := doc.WriteToString()
	if err != nil {
		return fmt.Errorf("write constraint: %w", err)
	}
	_, err = c.run(ctx, "-C", "-o", "constraints", "-X", xml)
	if exit, ok := errors.AsType[*ExitError](err); ok && exit.Code == exitExists {
		return ErrExists
	}
	return err
}

// RemoveConstraint removes the location constraint of that id. That there is none is no error. The id must have no
// quote in it.
func (c *CIB) RemoveConstraint(ctx context.Context, id string) error {
	_, err := c.run(ctx, "-D", "--xpath", "//rsc_location[@id='"+id+"']")
	return err
}

func (c *CIB) run(ctx context.Context, args ...string) ([]byte, error) {
	argv := c.Command
	if len(argv) == 0 {
		argv = []string{"cibadmin"}
		if _, err := exec.LookPath(argv[0]); err != nil { // the PATH of somebody who is not root
			argv[0] = "/usr/sbin/cibadmin"
		}
	}
	timeout := c.Timeout
	if timeout <= 0 {
		timeout = defaultTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var one child
	r, err := one.run(ctx, "cibadmin", append(slices.Clip(argv), args...))
	switch {
	case err != nil:
		return nil, err
	case r.code != 0:
		return nil, r.exitError("cibadmin")
	case r.stdout.over:
		return nil, fmt.Errorf("cibadmin printed more than %d bytes", MaxDocument)
	}
	return r.stdout.Bytes(), nil
}

func scoreText(n int) string {
	switch {
	case n >= Infinity:
		return "INFINITY"
	case n <= -Infinity:
		return "-INFINITY"
	}
	return fmt.Sprint(n)
}

// roleWord is a role as a Pacemaker of that version reads it in a rule: 2.1.0 took the words of today.
func roleWord(r Role, version string) string {
	var major, minor int
	if n, _ := fmt.Sscanf(version, "%d.%d", &major, &minor); n == 2 && (major < 2 || major == 2 && minor < 1) {
		if old, ok := map[Role]string{RolePromoted: "Master", RoleUnpromoted: "Slave"}[r]; ok {
			return old
		}
	}
	return string(r)
}
