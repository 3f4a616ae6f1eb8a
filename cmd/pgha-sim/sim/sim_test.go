package sim

import (
	"flag"
	"os"
	"testing"
)

var seeds = flag.Uint64("sim.seeds", 25, "how many seeds")

// TestNoSeedViolatesAnInvariant is the small version of `make sim`. A seed that fails is repeated, and told, by `pgha-sim --seed`.
func TestNoSeedViolatesAnInvariant(t *testing.T) {
	promotions := 0
	for seed := range *seeds {
		r := Run(Generate(seed, 20), nil)
		promotions += r.Promotions
		if r.Violation != "" {
			t.Errorf("seed %d: %s", seed, r.Violation)
			Run(Shrink(Generate(seed, 20)), os.Stderr)
			return
		}
	}
	if promotions < int(*seeds) {
		t.Errorf("only %d promotions in %d seeds: this is no test", promotions, *seeds)
	}
}

// TestSameSeedSameStory: a seed that fails today fails tomorrow.
func TestSameSeedSameStory(t *testing.T) {
	for seed := range uint64(3) {
		a, b := Run(Generate(seed, 20), nil), Run(Generate(seed, 20), nil)
		if a != b {
			t.Errorf("seed %d: %+v, then %+v", seed, a, b)
		}
	}
}
