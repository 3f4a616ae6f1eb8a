// Command pgha-sim runs agents in simulated clusters and looks for a way to make them wrong.
//
//	pgha-sim                      many seeds, until one violates an invariant
//	pgha-sim --seed 4711          one seed, told as a story
//	pgha-sim --scenario FILE      a scenario from a file, told as a story
//	pgha-sim fleet                many clusters in one AWS account that fail over at once
//	pgha-sim explore              every interleaving of a small model, within budgets
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pgha/pgha-agent/cmd/pgha-sim/sim"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "pgha-sim:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out io.Writer) error {
	if len(args) > 0 {
		switch args[0] {
		case "fleet":
			return runFleet(args[1:], out)
		case "explore":
			return runExplore(ctx, args[1:], out)
		}
	}
	var o options
	flags := flag.NewFlagSet("pgha-sim", flag.ContinueOnError)
	flags.Uint64Var(&o.from, "from", 0, "the first of many seeds")
	flags.Uint64Var(&o.seeds, "seeds", 1000, "how many")
	flags.IntVar(&o.stories, "stories", 20,
		"things that happen to the cluster of one seed, each with what goes wrong beside it")
	flags.IntVar(&o.jobs, "jobs", runtime.GOMAXPROCS(0), "simulations at a time")
	seed := flags.Int64("seed", -1, "run this one and tell its story")
	file := flags.String("scenario", "", "run the scenario of this file and tell its story")
	flags.Usage = func() {
		fmt.Fprintln(flags.Output(),
			"pgha-sim [flags] plays seeds until one violates an invariant; pgha-sim explore and pgha-sim fleet have flags of "+
				"their own.")
		flags.PrintDefaults()
	}
	if err := flags.Parse(args); err != nil {
		return err
	}
	debug.SetGCPercent(400) // small heaps that live short
	switch {
	case *file != "":
		text, err := os.ReadFile(*file)
		if err != nil {
			return err
		}
		s, err := sim.Parse(string(text))
		if err != nil {
			return fmt.Errorf("%s: %w", *file, err)
		}
		return tell(s, out)
	case *seed >= 0:
		return tell(sim.Generate(uint64(*seed), o.stories), out)
	default:
		return o.search(ctx, out)
	}
}

func tell(s *sim.Scenario, out io.Writer) error {
	fmt.Fprintf(out, "%s----\n", s)
	if r := sim.Run(s, out); r.Violation != "" {
		return fmt.Errorf("%s", r.Violation)
	}
	fmt.Fprintln(out, "no violation")
	return nil
}

type options struct {
	from, seeds   uint64
	stories, jobs int
}

// search runs many seeds and ends at the first violation, which it makes as small as it can.
func (o options) search(ctx context.Context, out io.Writer) error {
	var (
		next, done atomic.Uint64
		mu         sync.Mutex
		bad        *sim.Scenario
		sum        sim.Result
		wg         sync.WaitGroup
	)
	began := time.Now()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	for range o.jobs {
		wg.Go(func() {
			for ctx.Err() == nil {
				i := next.Add(1) - 1
				if i >= o.seeds {
					return
				}
				s := sim.Generate(o.from+i, o.stories)
				r := sim.Run(s, nil)
				done.Add(1)
				mu.Lock()
				sum.Promotions += r.Promotions
				sum.Episodes += r.Episodes
				sum.Virtual += r.Virtual
				sum.Settle, sum.Quick, sum.Prompt = max(sum.Settle, r.Settle), max(sum.Quick, r.Quick), max(sum.Prompt, r.Prompt)
				sum.CallsPerMinute = max(sum.CallsPerMinute, r.CallsPerMinute)
				if r.Violation != "" && bad == nil {
					bad = s
					stop()
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	took := time.Since(began)
	fmt.Fprintf(out, "%d seeds, %d promotions, %d episodes, %.0f hours of two nodes in %v: %.0f episodes a second\n",
		done.Load(), sum.Promotions, sum.Episodes, sum.Virtual.Hours(), took.Round(time.Second),
		float64(sum.Episodes)/took.Seconds())
	fmt.Fprintf(out, "slowest record %v after the last trouble (bound %v), %v without trouble (bound %v), %v of a "+
		"standby that knew the latest claim (bound %v)\n",
		sum.Settle, sim.Settle, sum.Quick, sim.Quick, sum.Prompt, sim.Prompt)
	fmt.Fprintf(out, "at most %d API calls of a node in a minute (bound %d)\n", sum.CallsPerMinute, sim.CallsPerMinute)
	if bad == nil {
		fmt.Fprintln(out, "no violation")
		return nil
	}
	fmt.Fprintf(out, "\nseed %d violates an invariant. The smallest scenario that still does:\n\n", bad.Seed)
	return tell(sim.Shrink(bad), out)
}
