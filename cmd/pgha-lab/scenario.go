package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// scenario is one thing that happens to clusters, in one or more parts. Each part starts from the cached, healthy
// cluster.
type scenario struct {
	number int
	name   string
	parts  []part
}

type part struct {
	name string
	run  func(context.Context, *scenarioRun) error
}

// scenarios are all of them, in their order.
var scenarios []scenario

func init() {
	scenarios = slices.Concat(failoverScenarios, linkScenarios, agentScenarios, clusterScenarios, switchoverScenarios,
		packageScenarios, doctorScenarios,
		driftScenarios, clockScenarios, answerScenarios)
	slices.SortFunc(scenarios, func(a, b scenario) int { return a.number - b.number })
}

// choice is a part of a scenario with the name it goes by: the scenario's number, and a letter when it has several
// parts.
type choice struct {
	name     string
	scenario scenario
	part     part
}

// choose picks parts by a list like "1,2,9c"; a number alone means all its parts, an empty list means everything.
func choose(list string) (chosen []choice, err error) {
	var all []choice
	for _, s := range scenarios {
		for i, p := range s.parts {
			name := fmt.Sprint(s.number)
			if len(s.parts) > 1 {
				name += string(rune('a' + i))
			}
			all = append(all, choice{name, s, p})
		}
	}
	if list == "" {
		return all, nil
	}
	for w := range strings.SplitSeq(list, ",") {
		w = strings.TrimSpace(w)
		n := len(chosen)
		for _, c := range all {
			if c.name == w || fmt.Sprint(c.scenario.number) == w {
				chosen = append(chosen, c)
			}
		}
		if len(chosen) == n {
			return nil, fmt.Errorf("no scenario %q: choose from 1 to %d, as in SCENARIOS=1,2,9c", w,
				scenarios[len(scenarios)-1].number)
		}
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
	stalls := 0
	start := time.Now()
	for _, c := range chosen {
		begun := time.Now()
		fmt.Printf("scenario %s: %s: %s\n", c.name, c.scenario.name, c.part.name)
		errs, noticed := runPart(ctx, l, c.part, filepath.Join(out, c.name))
		stalls += noticed
		if ctx.Err() != nil {
			return fmt.Errorf("interrupted in scenario %s", c.name)
		}
		took := time.Since(begun).Round(time.Second)
		if len(errs) > 0 {
			failed = append(failed, c.name)
			fmt.Printf("scenario %s: FAILED after %s, %d stalls noticed\n  %s\n  records: %s\n", c.name, took, noticed,
				strings.Join(errs, "\n  "), filepath.Join(out, c.name))
		} else {
			fmt.Printf("scenario %s: ok after %s, %d stalls noticed\n", c.name, took, noticed)
		}
	}
	if len(failed) > 0 {
		return fmt.Errorf("%d of %d failed: scenario %s", len(failed), len(chosen), strings.Join(failed, ", "))
	}
	fmt.Printf("all %d held, in %s, %d stalls noticed\n", len(chosen), time.Since(start).Round(time.Second), stalls)
	return nil
}

// runPart runs one part and returns what did not hold, and how often the agents noticed a stall of their own.
func runPart(ctx context.Context, l *lab, p part, out string) (failed []string, stalls int) {
	if err := os.RemoveAll(out); err != nil {
		return []string{err.Error()}, 0
	}
	if err := l.ready(ctx, agentLayer); err != nil {
		return []string{err.Error()}, 0
	}
	if l.handler != nil {
		if err := l.useHandler(ctx, l.handler); err != nil {
			return []string{err.Error()}, 0
		}
	}
	defer func() { _ = healLinks(context.WithoutCancel(ctx)) }() // those that a part that failed left cut
	r, err := newScenarioRun(ctx, l, out)
	if err != nil {
		return []string{err.Error()}, 0
	}
	if err := p.run(ctx, r); err != nil && ctx.Err() == nil {
		r.expect(false, "%v", err)
	}
	r.stop()
	stalls, _ = r.stalls()
	r.say("%d stalls noticed", stalls)
	r.write(ctx)
	return r.failed, stalls
}
