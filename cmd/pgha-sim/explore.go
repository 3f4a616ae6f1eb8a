package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"

	"github.com/pgha/pgha-agent/cmd/pgha-sim/explore"
)

// runExplore goes through every interleaving of a small model, one budget after the other, until one is violated.
func runExplore(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("pgha-sim explore", flag.ContinueOnError)
	name := flags.String("budget", "", "search this one: "+strings.Join(names(), ", ")+" (default: all that tests run)")
	long := flags.Bool("long", false, "search those that take longer than a test; they need up to 7 GiB of memory")
	if err := flags.Parse(args); err != nil {
		return err
	}
	searched := 0
	for _, b := range explore.Budgets() {
		if *name != "" && *name != b.Name || *name == "" && *long != b.Long {
			continue
		}
		searched++
		fmt.Fprintf(out, "%s: %v\n", b.Name, b)
		var story strings.Builder
		r, err := explore.Run(ctx, b, &story)
		fmt.Fprintf(out, "%s: %v\n", b.Name, r)
		if err != nil {
			return fmt.Errorf("%s: %w", b.Name, err)
		}
		if r.Violation != "" {
			fmt.Fprintf(out, "\nThe fewest moves that violate an invariant:\n\n%s", story.String())
			return errors.New(r.Violation)
		}
	}
	if searched == 0 {
		return fmt.Errorf("no budget %q: there are %s", *name, strings.Join(names(), ", "))
	}
	fmt.Fprintln(out, "no violation: every state within these budgets was seen")
	return nil
}

func names() []string {
	var list []string
	for _, b := range explore.Budgets() {
		list = append(list, b.Name)
	}
	return list
}
