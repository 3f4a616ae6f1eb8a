// Command pgha-bench measures what docs/performance.md promises on the real agent: the way of an alert to Route 53, a
// scrape, and an idle daemon. `pgha-bench soak` watches the daemon for an hour in which nothing stands still, and looks
// for what only grows. It needs nothing but this machine (the soak wants PostgreSQL installed): Route 53, crm_mon and
// drbdsetup are stand-ins.
package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	var err error
	if len(os.Args) > 1 && os.Args[1] == "soak" {
		flags := flag.NewFlagSet("pgha-bench soak", flag.ExitOnError)
		agent := agentFlag(flags)
		length := flags.Duration("for", time.Hour, "how long")
		_ = flags.Parse(os.Args[2:]) // ends the program on a mistake
		err = soak(ctx, *agent, *length)
	} else {
		agent := agentFlag(flag.CommandLine)
		rounds := flag.Int("rounds", 50, "promotions in a series")
		series := flag.Int("series", 3, "series of each figure; the best one is shown")
		idle := flag.Duration("idle", 30*time.Second, "how long to watch the idle daemon")
		flag.Parse()
		err = run(ctx, *agent, *rounds, *series, *idle)
	}
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "pgha-bench:", err)
		os.Exit(1)
	}
}

func agentFlag(flags *flag.FlagSet) *string {
	return flags.String("agent", "",
		"binary to measure, with pgha-alert beside it; empty builds both as `make build` does")
}

func run(ctx context.Context, agent string, rounds, series int, idle time.Duration) error {
	if rounds < 1 || series < 1 {
		return fmt.Errorf("%d rounds in %d series: want at least one", rounds, series)
	}
	return inWorld(ctx, agent, func(dir string) node {
		return node{"10.0.2.10", "host=" + dir + " user=pgha dbname=postgres", "off"}
	}, func(w *world) error {
		var t table
		if err := w.measureIdle(ctx, idle, &t); err != nil {
			return err
		}
		if err := w.measureScrape(ctx, series, &t); err != nil {
			return err
		}
		if err := w.measureHook(ctx, rounds, series, &t); err != nil {
			return err
		}
		if err := w.measureAlert(ctx, rounds, series, &t); err != nil {
			return err
		}
		fmt.Print(t.String())
		return nil
	})
}

// inWorld runs do with a running daemon and everything around it. An empty agent is built first.
func inWorld(ctx context.Context, agent string, n func(dir string) node, do func(*world) error) error {
	dir, err := os.MkdirTemp("", "pgha") // a socket's path has to be short
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if agent == "" {
		agent = filepath.Join(dir, "bin", "pgha-agent")
		build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", filepath.Dir(agent)+"/",
			"github.com/pgha/pgha-agent/cmd/pgha-agent", "github.com/pgha/pgha-agent/cmd/pgha-alert")
		build.Env, build.Stderr = append(os.Environ(), "CGO_ENABLED=0"), os.Stderr
		if err := build.Run(); err != nil {
			return fmt.Errorf("build the agent: %w", err)
		}
	}
	if agent, err = filepath.Abs(agent); err != nil {
		return err
	}
	w, err := newWorld(ctx, dir, agent, n(dir))
	if err != nil {
		return err
	}
	defer w.close()
	return do(w)
}

// sample is one series of durations.
type sample []time.Duration

func (s sample) at(quantile float64) time.Duration {
	sorted := slices.Sorted(slices.Values(s))
	return sorted[int(quantile*float64(len(sorted)-1)+0.5)]
}

// best returns the series with the lowest median: the machine that runs this has other work, which only ever adds.
func best(series []sample) sample {
	return slices.MinFunc(series, func(a, b sample) int { return int(a.at(.5) - b.at(.5)) })
}

// table collects the figures as rows of Markdown.
type table struct{ bytes.Buffer }

func (t *table) row(cells ...string) {
	if t.Len() == 0 {
		t.WriteString("| What | p50 | p90 | p99 | Target |\n|---|---|---|---|---|\n")
	}
	t.WriteString("| " + strings.Join(cells, " | ") + " |\n")
}

func (t *table) times(what string, s sample, target string) {
	ms := func(q float64) string { return fmt.Sprintf("%.2f ms", float64(s.at(q).Microseconds())/1000) }
	t.row(what, ms(.5), ms(.9), ms(.99), target)
}

// note tells how it goes, and how busy the machine is.
func note(format string, args ...any) {
	load, _ := os.ReadFile("/proc/loadavg") // for the reader only
	fmt.Fprintf(os.Stderr, "%s (load %.14s)\n", fmt.Sprintf(format, args...), load)
}
