// pgha-lab runs the agent on a real cluster: two virtual machines with systemd, Corosync, Pacemaker, DRBD, PostgreSQL
// and fencing, in two subnets, with a strict model of Route 53, instance metadata and EC2's power API. See docs/lab.md.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
)

func main() {
	slog.SetDefault(slog.New(slog.NewTextHandler(os.Stderr,
		&slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				a.Value = slog.StringValue(a.Value.Time().Format("15:04:05.000"))
			}
			return a
		}})))
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	if err := newCommand().ExecuteContext(ctx); err != nil {
		if code, ok := errors.AsType[exitCode](err); ok {
			os.Exit(int(code))
		}
		fmt.Fprintln(os.Stderr, "pgha-lab:", err)
		os.Exit(1)
	}
}

// exitCode ends the program with what the process in the namespaces ended with; it has said why.
type exitCode int

func (c exitCode) Error() string { return fmt.Sprintf("exit %d", int(c)) }

type options struct {
	cache, stage, packages, modules, handler string
}

func newCommand() *cobra.Command {
	var o options
	root := &cobra.Command{
		Use: "pgha-lab", Short: "The agent on a real two-node cluster in virtual machines",
		SilenceUsage: true, SilenceErrors: true,
	}
	f := root.PersistentFlags()
	f.StringVar(&o.cache, "cache", envOr("LAB_CACHE", "/var/cache/pgha-lab"),
		"`directory` of images and snapshots ($LAB_CACHE)")
	f.StringVar(&o.stage, "stage", "dist/lab-root", "`directory` that `make install DESTDIR=` filled")
	f.StringVar(&o.packages, "packages", "dist/packages", "`directory` that `make packages` filled")
	f.StringVar(&o.modules, "modules", os.Getenv("LAB_MODULES"),
		"`directory` with drbd.ko and drbd_transport_tcp.ko of DRBD 9 for the guests' kernel ($LAB_MODULES)")
	f.StringVar(&o.handler, "handler", os.Getenv("LAB_HANDLER"),
		"fence-peer handler of a newer drbd-utils, a `file`; it runs without --timeout ($LAB_HANDLER)")
	var layer string
	up := &cobra.Command{
		Use: "up", Short: "Bring the cluster up and leave it running until Ctrl-C", Args: cobra.NoArgs,
		RunE: o.sandboxed(func(ctx context.Context, l *lab, _ []string) error { return up(ctx, l, layer) }),
	}
	up.Flags().StringVar(&layer, "layer", agentLayer, "cluster: without the agent; agent: with it")
	sh := &cobra.Command{
		Use: "sh node1|node2 [command...]", Short: "A root shell in a machine of the running lab",
		Args:               cobra.MinimumNArgs(1),
		DisableFlagParsing: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			return openShell(cmd.Context(), o.cache, args[0], args[1:])
		},
	}
	var list, out string
	var record bool
	test := &cobra.Command{
		Use: "test", Short: "Run the scenarios", Args: cobra.NoArgs,
		RunE: o.sandboxed(func(ctx context.Context, l *lab, _ []string) error {
			l.record = record
			return runScenarios(ctx, l, list, out)
		}),
	}
	test.Flags().BoolVar(&record, "record", false,
		"have the machines write down every alert and each change of crm_mon's output; slows them down")
	test.Flags().StringVar(&list, "scenarios", os.Getenv("SCENARIOS"),
		"`numbers` of the scenarios, as in 1,2,4; empty means all ($SCENARIOS)")
	test.Flags().StringVar(&out, "out", "dist/lab", "`directory` for what was recorded")
	var runs int
	var modes, file string
	bench := &cobra.Command{
		Use: "bench", Short: "Compare the failovers of the agent and of a shell resource agent", Args: cobra.NoArgs,
		RunE: o.sandboxed(func(ctx context.Context, l *lab, _ []string) error {
			return runBench(ctx, l, runs, strings.Split(modes, ","), file)
		}),
	}
	bench.Flags().IntVar(&runs, "runs", 5, "failovers of each mode")
	bench.Flags().StringVar(&modes, "modes", strings.Join(benchModes, ","),
		"shell, promoted, writable, found (promoted, with the fence-peer handler as the distribution has it), or upgraded "+
			"(promoted, with that of --handler)")
	bench.Flags().StringVar(&file, "file", "dist/lab/bench.jsonl",
		"where the results are, and are added; runs that are there are not repeated")
	var dnsFile, svg string
	dns := &cobra.Command{
		Use: "bench-dns", Short: "Measure the shell resource agent's DNS part on this machine, without emulation",
		Args: cobra.NoArgs,
		RunE: o.sandboxed(func(ctx context.Context, l *lab, _ []string) error { return benchDNS(ctx, l, runs, dnsFile) }),
	}
	dns.Flags().IntVar(&runs, "runs", 5, "starts for each propagation delay")
	dns.Flags().StringVar(&dnsFile, "file", "dist/lab/dns.json", "where the results go")
	rep := &cobra.Command{
		Use: "report", Short: "Print the tables of what bench and bench-dns measured, and draw the picture",
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return report(os.Stdout, file, dnsFile, svg) },
	}
	rep.Flags().StringVar(&file, "file", "dist/lab/bench.jsonl", "results of bench")
	rep.Flags().StringVar(&dnsFile, "dns", "dist/lab/dns.json", "results of bench-dns")
	rep.Flags().StringVar(&svg, "svg", "dist/lab/failover.svg", "the picture")
	root.AddCommand(up, sh, test, bench, dns, rep)
	return root
}

func envOr(name, otherwise string) string {
	if v := os.Getenv(name); v != "" {
		return v
	}
	return otherwise
}

// sandboxed makes a command that runs inside namespaces of its own. What needs the world outside is done before.
func (o *options) sandboxed(f func(context.Context, *lab, []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		ctx := cmd.Context()
		if os.Geteuid() != 0 {
			return errors.New("the lab needs root: it makes network namespaces and a root file system for its machines")
		}
		for _, p := range []*string{&o.cache, &o.stage, &o.packages, &o.modules, &o.handler} {
			if *p != "" {
				abs, err := filepath.Abs(*p)
				if err != nil {
					return err
				}
				*p = abs
			}
		}
		img, err := buildImage(ctx, o.cache, o.modules) // inside it is found in the cache
		if err != nil {
			return err
		}
		if _, err := os.Stat(filepath.Join(o.stage, "usr/bin/pgha-agent")); err != nil {
			return fmt.Errorf("find the agent: %w; run `make build && make install DESTDIR=%s`", err, o.stage)
		}
		dir := os.Getenv(sandboxDir)
		if dir == "" {
			dir, remove, err := newRunDir(o.cache)
			if err != nil {
				return fmt.Errorf("make the run's directory: %w", err)
			}
			defer remove()
			code, err := enterSandbox(dir)
			if err == nil && code != 0 {
				err = exitCode(code)
			}
			return err
		}
		if err := settleSandbox(); err != nil {
			return err
		}
		l, err := newLab(ctx, dir, o.cache, o.stage, img, o.modules != "")
		if err != nil {
			return err
		}
		l.packages = o.packages
		if o.handler != "" {
			if l.handler, err = os.ReadFile(o.handler); err != nil {
				return fmt.Errorf("read the fence-peer handler: %w", err)
			}
		}
		defer l.powerOff()
		return f(ctx, l, args)
	}
}

// up brings the lab up, shows it and waits.
func up(ctx context.Context, l *lab, layer string) error {
	start := time.Now()
	if err := l.ready(ctx, layer); err != nil {
		return err
	}
	out, err := l.node(first).run(ctx, map[string]string{agentLayer: "pgha-agent status",
		clusterLayer: "crm_mon -1"}[layer])
	if err != nil && out == "" {
		return err
	}
	fmt.Printf("%s\n\nThe cluster is up after %s. From another terminal:\n\n", out, time.Since(start).Round(time.Second))
	self := strings.Join([]string{"sudo", os.Args[0]}, " ")
	fmt.Printf("  %s sh node1                            a root shell (also node2)\n", self)
	fmt.Printf("  %s sh node1 pgha-agent status\n", self)
	fmt.Printf("  %s sh node1 curl -s 10.0.2.10:9668/metrics\n", self)
	if pid, err := os.ReadFile(filepath.Join(l.dir, "pid")); err == nil { // ours, as the host counts
		fmt.Printf("  sudo nsenter -t %s -n BROWSER http://10.0.1.10:9668/    the status page, from inside the lab's "+
			"network\n", pid)
	}
	fmt.Print("\nCtrl-C ends it and leaves nothing behind.\n")
	<-ctx.Done()
	return nil
}
