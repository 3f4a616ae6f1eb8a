package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// scenario is one thing that happens to clusters, in one or more parts. Each part starts from the cached, healthy cluster.
type scenario struct {
	number int
	name   string
	parts  []part
}

type part struct {
	name string
	run  func(context.Context, *trial) error
}

// scenarios are all of them, in their order.
var scenarios []scenario

func init() {
	scenarios = slices.Concat(failoverScenarios, linkScenarios, agentScenarios, clusterScenarios)
	slices.SortFunc(scenarios, func(a, b scenario) int { return a.number - b.number })
}

// choose picks scenarios by a list like "1,2,4"; empty means all.
func choose(list string) ([]scenario, error) {
	if list == "" {
		return scenarios, nil
	}
	var chosen []scenario
	for w := range strings.SplitSeq(list, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(w))
		i := slices.IndexFunc(scenarios, func(s scenario) bool { return s.number == n })
		if err != nil || i < 0 {
			return nil, fmt.Errorf("no scenario %q: choose from 1 to %d, as in SCENARIOS=1,2,4", w, scenarios[len(scenarios)-1].number)
		}
		chosen = append(chosen, scenarios[i])
	}
	return chosen, nil
}

// runScenarios runs them one after the other and says at the end which failed.
func runScenarios(ctx context.Context, l *lab, list, out string) error {
	chosen, err := choose(list)
	if err != nil {
		return err
	}
	var failed []string
	start := time.Now()
	for _, s := range chosen {
		for i, p := range s.parts {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			name := fmt.Sprintf("%d%c", s.number, 'a'+i)
			if len(s.parts) == 1 {
				name = fmt.Sprint(s.number)
			}
			fmt.Printf("scenario %s: %s: %s\n", name, s.name, p.name)
			if errs := runPart(ctx, l, p, filepath.Join(out, name)); len(errs) > 0 {
				failed = append(failed, name)
				fmt.Printf("scenario %s: FAILED\n  %s\n  records: %s\n", name, strings.Join(errs, "\n  "), filepath.Join(out, name))
			} else {
				fmt.Printf("scenario %s: ok\n", name)
			}
		}
	}
	if len(failed) > 0 {
		return fmt.Errorf("%d failed: scenario %s", len(failed), strings.Join(failed, ", "))
	}
	fmt.Printf("all held: %d scenarios in %s\n", len(chosen), time.Since(start).Round(time.Second))
	return nil
}

// runPart runs one part and returns what did not hold.
func runPart(ctx context.Context, l *lab, p part, out string) []string {
	if err := os.RemoveAll(out); err != nil {
		return []string{err.Error()}
	}
	if err := l.ready(ctx, agentLayer); err != nil {
		return []string{err.Error()}
	}
	defer func() { _ = healLinks(context.WithoutCancel(ctx)) }() // those that a part that failed left cut
	t, err := newTrial(ctx, l, out)
	if err != nil {
		return []string{err.Error()}
	}
	if err := p.run(ctx, t); err != nil && !errors.Is(err, context.Canceled) {
		t.expect(false, "%v", err)
	}
	t.stop()
	t.write(ctx)
	return t.failed
}
