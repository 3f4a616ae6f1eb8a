package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/pgha/pgha-agent/route53/route53test"
)

// dnsRun is one start of the shell resource agent on this machine, without emulation and without a cluster.
type dnsRun struct {
	Delay    float64 `json:"delay"`    // seconds from accepted to INSYNC
	Accepted float64 `json:"accepted"` // seconds from the start of the agent to the accepted change
	Returned float64 `json:"returned"` // and to its end: what Pacemaker waits for
	CPU      float64 `json:"cpu"`
	Calls    int     `json:"calls"`
}

const shellAgent = "/usr/lib/ocf/resource.d/heartbeat/aws-vpc-route53"

// benchDNS runs the shell agent's start natively against the same Route 53.
func benchDNS(ctx context.Context, l *lab, runs int, file string) error {
	for _, p := range []string{shellAgent, "/usr/bin/aws"} {
		if _, err := os.Stat(p); err != nil {
			return fmt.Errorf("the native comparison needs the packages resource-agents, awscli and bind9-dnsutils: %w", err)
		}
	}
	home := filepath.Join(l.dir, "home")
	if err := os.MkdirAll(filepath.Join(home, ".aws"), 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(home, ".aws/config"),
		[]byte("[profile cluster]\nregion = us-east-1\noutput = text\naws_access_key_id = AKIALABLABLABLABLABL\n"+
			"aws_secret_access_key = lab\n"), 0o600); err != nil {
		return err
	}
	// Debian 12's aws does not read an endpoint from its configuration.
	wrapper := filepath.Join(home, "aws")
	if err := os.WriteFile(wrapper, []byte("#!/bin/sh\nexec /usr/bin/aws --endpoint-url "+l.aws.zone.URL()+" \"$@\"\n"),
		0o700); err != nil {
		return err
	}
	var all []dnsRun
	for _, delay := range []time.Duration{0, 10 * time.Second, 30 * time.Second} {
		l.aws.zone.SetDelays(delay, 0)
		for i := range runs {
			l.aws.zone.Set(route53test.Simple(recordName, "A", 10, "10.0.1.10"))
			before, start := len(l.aws.zone.Calls()), time.Now()
			cmd := exec.CommandContext(ctx, shellAgent, "start")
			cmd.Env = append(os.Environ(), "HOME="+home, "OCF_ROOT=/usr/lib/ocf", "OCF_RESOURCE_INSTANCE=dns",
				"OCF_RESKEY_hostedzoneid="+zoneID,
				"OCF_RESKEY_fullname="+recordName+".", "OCF_RESKEY_ip=10.0.2.10", "OCF_RESKEY_ttl=10", "OCF_RESKEY_profile=cluster",
				"OCF_RESKEY_awscli="+wrapper,
				"HA_logfile="+filepath.Join(l.dir, "shell.log"))
			if out, err := cmd.CombinedOutput(); err != nil {
				return fmt.Errorf("run %s: %w: %s", shellAgent, err, tail(out))
			}
			r := dnsRun{
				Delay: delay.Seconds(), Returned: time.Since(start).Seconds(), Calls: len(l.aws.zone.Calls()) - before,
				CPU: (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds(),
			}
			accepted := l.aws.zone.Accepted()
			if len(accepted) == 0 || accepted[len(accepted)-1].At.Before(start) {
				return fmt.Errorf("%s changed nothing", shellAgent)
			}
			r.Accepted = accepted[len(accepted)-1].At.Sub(start).Seconds()
			fmt.Printf("dns, delay %s, run %d: accepted %.2fs, returned %.2fs, %d calls, %.2fs of CPU\n", delay, i+1, r.Accepted,
				r.Returned, r.Calls, r.CPU)
			all = append(all, r)
		}
	}
	b, err := json.MarshalIndent(all, "", " ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	return os.WriteFile(file, append(b, '\n'), 0o644)
}
