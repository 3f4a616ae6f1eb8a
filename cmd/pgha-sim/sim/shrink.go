package sim

import "slices"

// Shrink leaves out of a scenario that violates an invariant what is not needed for it.
func Shrink(s *Scenario) *Scenario {
	small := *s
	fails := func(s *Scenario) bool { return Run(s, nil).Violation != "" }
	for n := len(small.Steps) / 2; n > 0; n /= 2 {
		for i := 0; i < len(small.Steps); {
			try := small
			try.Steps = slices.Delete(slices.Clone(small.Steps), i, min(i+n, len(small.Steps)))
			if fails(&try) {
				small = try
			} else {
				i += n
			}
		}
	}
	for _, change := range []func(*Scenario){
		func(s *Scenario) { s.Deadly = 0 }, func(s *Scenario) { s.Stalling = 0 },
		func(s *Scenario) { s.View = false }, func(s *Scenario) { s.Writable = false },
	} {
		try := small
		if change(&try); fails(&try) {
			small = try
		}
	}
	return &small
}
