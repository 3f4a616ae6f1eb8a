package sim

import (
	"math/rand/v2"
	"strings"
	"time"
)

// Generate makes the scenario of a seed: about as many stories of the cluster as asked for, and what goes wrong beside them.
func Generate(seed uint64, stories int) *Scenario {
	r := rand.New(rand.NewPCG(seed, 5))
	once := func(n int) bool { return r.IntN(n) == 0 }
	s := &Scenario{Seed: seed, Fencing: !once(4), Writable: once(4), View: once(4)}
	if once(2) {
		s.Deadly = 100 + r.IntN(1500)
	}
	if once(2) {
		s.Stalling = 200 + r.IntN(3000)
	}
	span := func(lo, hi int) time.Duration { return time.Duration(lo*1000+r.IntN((hi-lo)*1000)) * time.Millisecond }
	at := span(5, 40)
	step := func(what string) {
		for _, name := range []string{"NODE", "TIME"} {
			if name == "NODE" {
				what = strings.Replace(what, name, pick(r, "primary", "primary", "standby", "pg-1", "pg-2"), 1)
				continue
			}
			d := span(1, 20)
			if once(3) {
				d = span(10, 120)
			}
			if strings.HasPrefix(what, "clock") {
				d = pick(r, time.Second, -time.Second, time.Hour, -time.Hour, 26*time.Hour)
			}
			what = strings.Replace(what, name, d.String(), 1)
		}
		s.Steps = append(s.Steps, Step{at, what})
	}
	aside := func() { // something that is no story of the cluster
		step(pick(r, "kill NODE", "stop NODE TIME", "stall NODE TIME", "pause NODE TIME", "resume NODE", "clock NODE TIME",
			"events2 ends NODE TIME", "events2 hangs NODE TIME", "crm_mon fails NODE TIME", "crm_mon slow NODE TIME", "alerts few", "alerts lost", "alerts work",
			"forge NODE", "forge NODE", "cleanup", "maintenance TIME", "cut replication TIME", "insync TIME", "api works"))
	}
	trouble := false
	for range stories {
		switch {
		case trouble:
			step("api works")
			trouble = once(3)
		case once(3):
			trouble = true
			step(pick(r, "api throttled", "api off", "api prior", "api broken", "api denied", "api loses replies", "api late", "api late", "api slow"))
		}
		if once(6) {
			step(pick(r, "fencing slow", "fencing fails", "fencing lies", "fencing skips", "fencing works", "fencing works"))
		} else if once(2) {
			step("fencing works")
		}
		for once(3) {
			at += span(0, 15)
			aside()
		}
		at += span(0, 10)
		step(pick(r, "move", "move", "move", "bounce primary", "power off primary", "power off primary", "power off NODE", "freeze primary TIME", "freeze NODE TIME",
			"freeze primary with its clocks TIME", "partition TIME", "fail primary", "power off primary"))
		for once(2) {
			at += span(0, 20)
			aside()
		}
		if once(5) { // and at once the next
			at += span(0, 8)
		} else {
			at += span(15, 80)
		}
	}
	return s
}

func pick[T any](r *rand.Rand, from ...T) T { return from[r.IntN(len(from))] }
