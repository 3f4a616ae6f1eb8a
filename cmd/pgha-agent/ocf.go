package main

import (
	"cmp"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/pgha/pgha-agent/agent/config"
	"github.com/pgha/pgha-agent/agent/status"
	"github.com/pgha/pgha-agent/cmd/internal/wait"
)

//go:embed ocf-metadata.xml
var ocfMetadata string

// Exit codes of the OCF resource agent API 1.1. There is deliberately no "failed": whatever DNS does, Pacemaker must
// not move the database.
const (
	ocfBroken       = 1 // OCF_ERR_GENERIC: this machine cannot keep a file in /run
	ocfArgs         = 2 // OCF_ERR_ARGS: wrong on this machine
	ocfUnknown      = 3 // OCF_ERR_UNIMPLEMENTED
	ocfConfigured   = 6 // OCF_ERR_CONFIGURED: wrong everywhere
	ocfNotRunning   = 7
	ocfDegraded     = 190 // shown by crm_mon, and no reason to do anything
	ocfDefaultWait  = 10 * time.Second
	ocfMonitorWait  = 5 * time.Second // a daemon that restarts is back by then
	ocfAskAgain     = 200 * time.Millisecond
	ocfDefaultRunIn = "/run/resource-agents" // HA_RSCTMP of the resource-agents package; emptied at boot, as it must be
)

func newOCF(file *string) *cobra.Command {
	return &cobra.Command{
		Use:   "ocf ACTION",
		Short: "The actions of the resource agent ocf:pgha:route53",
		Long: "ocf is what the resource agent ocf:pgha:route53 calls: start, stop, monitor, validate-all and meta-data, " +
			"with the parameters in\n" +
			"OCF_RESKEY_*. It asks the daemon and the configuration, never AWS, and exits with OCF's codes.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			o := ocf{*file, os.Getenv, cmd.ErrOrStderr()}
			switch args[0] {
			case "meta-data":
				fmt.Fprint(cmd.OutOrStdout(), ocfMetadata)
				return nil
			case "start":
				return o.start(cmd.Context())
			case "stop":
				return o.stop()
			case "monitor":
				return o.monitor(cmd.Context())
			case "validate-all":
				return o.validate()
			}
			return &exitError{ocfUnknown, fmt.Errorf("no action %q: want start, stop, monitor, validate-all or meta-data",
				args[0])}
		},
	}
}

// ocf is one call by Pacemaker.
type ocf struct {
	file   string
	env    func(string) string
	errOut io.Writer
}

// reason ends with a code and the text that Pacemaker shows beside it.
func (o ocf) reason(code int, err error) error {
	fmt.Fprintf(o.errOut, "ocf-exit-reason:%v\n", err)
	return &exitError{code: code}
}

// marker is the file that says that the resource was started here since the last boot. It is all that a probe looks at.
func (o ocf) marker() string {
	instance := strings.ReplaceAll(cmp.Or(o.env("OCF_RESOURCE_INSTANCE"), "default"), "/", "_")
	return filepath.Join(cmp.Or(o.env("HA_RSCTMP"), ocfDefaultRunIn), "pgha-route53-"+instance)
}

// start returns when the daemon has published the record, or after a short time: then with a warning, and success.
func (o ocf) start(ctx context.Context) error {
	if err := os.MkdirAll(filepath.Dir(o.marker()), 0o755); err != nil {
		return o.reason(ocfBroken, fmt.Errorf("keep state: %w", err))
	}
	if err := os.WriteFile(o.marker(), nil, 0o644); err != nil {
		return o.reason(ocfBroken, fmt.Errorf("keep state: %w", err))
	}
	wait, err := o.wait()
	if err != nil {
		fmt.Fprintln(o.errOut, "warning:", err)
		wait = ocfDefaultWait
	}
	if trouble := o.trouble(ctx, wait); trouble != nil {
		fmt.Fprintf(o.errOut, "warning: started, but %v; the daemon goes on trying\n", trouble)
	}
	return nil
}

// stop forgets the start. The record stays as it is: removing it would serve nobody. It succeeds whatever happens,
// because a stop that fails has the node fenced.
func (o ocf) stop() error {
	_ = os.Remove(o.marker())
	return nil
}

// monitor says whether the resource was started here. If it was and the record is not right, the result is "degraded"
// for a Pacemaker that takes this as running; before 2.0.5 it counted as a failure, and 2.1.0 is the first that says
// its version.
func (o ocf) monitor(ctx context.Context) error {
	if _, err := os.Stat(o.marker()); errors.Is(err, fs.ErrNotExist) {
		return &exitError{code: ocfNotRunning}
	}
	if interval, _ := strconv.Atoi(o.env("OCF_RESKEY_CRM_meta_interval")); interval == 0 {
		return nil // a probe
	}
	trouble := o.trouble(ctx, ocfMonitorWait)
	if trouble == nil {
		return nil
	}
	major, _ := strconv.Atoi(o.env("OCF_RA_VERSION_MAJOR"))
	minor, _ := strconv.Atoi(o.env("OCF_RA_VERSION_MINOR"))
	if major > 1 || major == 1 && minor >= 1 {
		return o.reason(ocfDegraded, trouble)
	}
	fmt.Fprintln(o.errOut, "warning:", trouble)
	return nil
}

// trouble waits until the record is published, and returns what is in the way after that time. It leaves at least half
// of the time that Pacemaker gives the action: being killed would be a failure.
func (o ocf) trouble(ctx context.Context, limit time.Duration) error {
	if ms, err := strconv.Atoi(o.env("OCF_RESKEY_CRM_meta_timeout")); err == nil && ms > 0 {
		limit = min(limit, time.Duration(ms)*time.Millisecond/2)
	}
	cfg, err := o.agree()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var last error
	for {
		doc, err := status.Fetch(ctx, cfg.State.ControlSocket)
		if err == nil {
			if err = unpublished(doc); err == nil || doc.Publication.State == status.PubContested {
				return err // contested is final
			}
		}
		if last == nil || ctx.Err() == nil { // not that this question was cut short
			last = err
		}
		if wait.For(ctx, ocfAskAgain) != nil {
			return last
		}
	}
}

// unpublished says why the record does not name this node, as its daemon knows it.
func unpublished(d *status.Doc) error {
	p := &d.Publication
	switch {
	case (p.State == status.PubPublished || p.State == status.PubObserved) && d.Record.Drift:
		return fmt.Errorf("the record was changed by somebody else: %s", d.Record.Addr)
	case p.State == status.PubPublished, p.State == status.PubObserved:
		return nil
	case p.State == status.PubHeld && len(p.Holds) > 0:
		var holds []string
		for _, h := range p.Holds {
			holds = append(holds, h.Name)
		}
		return fmt.Errorf("the record is not published: held by %s (see `pgha-agent explain`)", strings.Join(holds, ", "))
	}
	return fmt.Errorf("the record is not published: %s (see `pgha-agent explain`)", p.State)
}

func (o ocf) validate() error {
	if _, err := o.wait(); err != nil {
		return o.reason(ocfConfigured, err)
	}
	for _, name := range []string{"hosted_zone_id", "hostname"} {
		if o.env("OCF_RESKEY_"+name) == "" {
			return o.reason(ocfConfigured, fmt.Errorf("parameter %s is missing", name))
		}
	}
	if _, err := seconds(o.env("OCF_RESKEY_ttl"), 0); err != nil {
		return o.reason(ocfConfigured, fmt.Errorf("parameter ttl: %w", err))
	}
	if _, err := o.agree(); err != nil {
		return o.reason(ocfArgs, err)
	}
	return nil
}

// agree holds the resource's parameters to the daemon's configuration: the daemon publishes what its own file says.
func (o ocf) agree() (*config.Config, error) {
	cfg, err := config.Load(o.file)
	if err != nil {
		return cfg, err
	}
	ttl, err := seconds(o.env("OCF_RESKEY_ttl"), cfg.Record.TTL)
	if err != nil {
		return cfg, fmt.Errorf("parameter ttl: %w", err)
	}
	for _, c := range []struct{ param, key, got, want string }{
		{"hosted_zone_id", "zone_id", strings.TrimPrefix(strings.TrimPrefix(o.env("OCF_RESKEY_hosted_zone_id"), "/"),
			"hostedzone/"), cfg.Record.ZoneID},
		{"hostname", "name", strings.ToLower(strings.TrimSuffix(o.env("OCF_RESKEY_hostname"), ".")), cfg.Record.Name},
		{"ttl", "ttl", ttl.String(), cfg.Record.TTL.String()},
	} {
		if c.got != c.want {
			return cfg, fmt.Errorf("parameter %s is %q, record.%s in %s is %q: make them agree", c.param, c.got, c.key, o.file,
				c.want)
		}
	}
	return cfg, nil
}

// wait is how long start waits for the publication at most.
func (o ocf) wait() (time.Duration, error) {
	d, err := seconds(o.env("OCF_RESKEY_wait"), ocfDefaultWait)
	if err != nil {
		return 0, fmt.Errorf("parameter wait: %w", err)
	}
	return d, nil
}

// seconds reads a parameter as cluster people write it, "10" or "10s".
func seconds(s string, otherwise time.Duration) (time.Duration, error) {
	if s == "" {
		return otherwise, nil
	}
	n, err := strconv.ParseUint(strings.TrimSuffix(s, "s"), 10, 31)
	if err != nil {
		return 0, fmt.Errorf("%q is not a number of seconds", s)
	}
	return time.Duration(n) * time.Second, nil
}
