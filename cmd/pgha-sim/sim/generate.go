package sim

import (
	"math/rand/v2"
	"strings"
	"time"
)

// Generate makes the scenario of a seed: about as many stories of the cluster as asked for, and what goes wrong beside
// them.
func Generate(seed uint64, stories int) *Scenario {
	r := rand.New(rand.NewPCG(seed, 6))
	once := func(n int) bool { return r.IntN(n) == 0 }
	s := &Scenario{Seed: seed, Fencing: !once(4), Writable: once(4), View: once(4), StaysOff: once(4),
		Token: pick(r, 0, 0, 0, time.Second, 3*time.Second, 10*time.Second)}
	if once(2) {
		s.Deadly = 100 + r.IntN(1500)
	}
	if once(2) {
		s.Stalling = 200 + r.IntN(3000)
	}
	if once(3) {
		if s.Third = pick(r, "dr", "tiebreaker"); once(2) {
			s.Quorum = pick(r, "suspend-io", "io-error")
		}
	} else {
		s.DRBD84 = once(4)
	}
	if once(4) {
		s.Volumes = 2
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
				d = pick(r, time.Second, -time.Second, -span(20, 90).Truncate(time.Second), time.Hour, -time.Hour, 26*time.Hour,
					-26*time.Hour)
			}
			what = strings.Replace(what, name, d.String(), 1)
		}
		s.Steps = append(s.Steps, Step{at, what})
	}
	aside := func() { // something that is no story of the cluster
		step(pick(r, asides[r.IntN(len(asides))]...))
	}
	trouble := false
	for range stories {
		switch {
		case trouble:
			step("api works")
			trouble = once(3)
		case once(3):
			trouble = true
			step(pick(r, "api throttled", "api off", "api prior", "api broken", "api denied", "api loses replies", "api late",
				"api late", "api slow",
				"api behind", "api behind", "api expired", "api new words"))
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
		switch r.IntN(24) {
		case 0: // promotions in place that the standby does not see, and a power cut, while requests are late
			if once(2) {
				step("crm_mon fails standby " + span(10, 30).String())
				at += span(0, 2)
			}
			step("bounce primary")
			at += span(1, 6)
			step("api late")
			at += span(0, 2)
			step("bounce primary")
			at += span(0, 2)
			step("power off primary")
			trouble = true
		case 1: // the other node is demoted, DRBD's link breaks, and it is promoted again
			step("standby primary TIME")
			at += span(0, 15)
			step("cut replication TIME")
		case 2: // fenced and back again while the standby cannot see that, and lost without a fencing once it can
			blind := span(120, 220)
			step(pick(r, "crm_mon fails standby ", "fence history hidden ") + blind.String())
			began := at
			at += span(0, 10)
			step("power off primary")
			at = began + blind - span(20, 60)
			step("move")
			at = began + blind - span(0, 15)
			step("fencing skips")
			at = began + blind + span(-5, 25)
			step("power off primary")
		default:
			step(pick(r, "move", "move", "move", "move", "bounce primary", "bounce primary", "power off primary",
				"power off primary", "power off primary",
				"power off NODE", "freeze primary TIME", "freeze NODE TIME", "freeze primary with its clocks TIME",
				"partition TIME", "fail primary",
				"standby primary TIME", "standby NODE TIME", "stop cluster primary TIME", "stop cluster NODE TIME", "replace NODE"))
		}
		for once(2) {
			at += span(0, 20)
			aside()
		}
		if s.StaysOff && once(2) {
			step("power on " + pick(r, "pg-1", "pg-2"))
		}
		if once(5) { // and at once the next
			at += span(0, 8)
		} else {
			at += span(15, 80)
		}
		if once(40) { // a quiet quarter of an hour
			at += span(300, 1500)
		}
	}
	return s
}

// asides are what goes wrong beside the stories, by what it concerns.
var asides = [][]string{
	{"kill NODE", "stop NODE TIME", "stall NODE TIME", "pause NODE TIME", "resume NODE", "clock NODE TIME",
		"clock NODE TIME", "publish NODE"},
	{"events2 ends NODE TIME", "events2 hangs NODE TIME", "crm_mon fails NODE TIME", "crm_mon slow NODE TIME",
		"crm_mon crawls NODE TIME"},
	{"alerts few", "alerts lost", "alerts work", "forge NODE", "forge NODE"},
	{"cleanup", "maintenance TIME", "fence history cleaned", "fence history returns", "fence history hidden TIME",
		"instance failed NODE TIME", "instance blocked NODE TIME", "instance orphaned NODE TIME"},
	{"cut replication TIME", "cut replication TIME", "fail disk NODE TIME", "third down", "third up"},
	{"insync TIME", "api works", "edit address", "edit delete address", "edit delete owner", "edit owner",
		"edit second value", "edit nonsense", "edit fights", "edit ends"},
	{"journal unreadable NODE TIME", "disk hangs NODE TIME", "systemd hangs NODE TIME", "reload NODE", "rename", "rezone",
		"renumber NODE", "swap addresses"},
}

func pick[T any](r *rand.Rand, from ...T) T { return from[r.IntN(len(from))] }
