package pg

import (
	"fmt"
	"testing"
	"time"
)

func TestFlushWatch(t *testing.T) {
	const delay = 200 * time.Millisecond
	at := func(inserted, flushed uint64, waiting bool) walPosition {
		return walPosition{inserted: inserted, flushed: flushed, writerDelay: delay, waiting: waiting}
	}
	same := func(p walPosition) func(int) walPosition { return func(int) walPosition { return p } }
	for name, c := range map[string]struct {
		seen  func(second int) walPosition
		delay time.Duration
		stall bool
	}{
		"all is on disk":         {seen: same(at(9000, 9000, false))},
		"nothing is known":       {seen: same(walPosition{})},
		"commits hang":           {seen: same(at(9000, 100, true)), stall: true},
		"much waits":             {seen: same(at(100+flushBlock, 100, false)), stall: true},
		"a transaction goes on":  {seen: same(at(100+flushBlock-1, 100, false))},
		"somebody waits for all": {seen: same(at(9000, 9000, true))},
		"a busy server": {seen: func(n int) walPosition {
			return at(uint64(n+1)*100_000, uint64(n)*100_000, true)
		}},
		"one commit after the other": {seen: func(n int) walPosition { return at(9000, 100, n%3 != 0) }},
		"hangs, and goes on":         {seen: func(n int) walPosition { return at(9000, uint64(n/5), true) }},
		"a writer that sleeps long": {seen: func(int) walPosition {
			return walPosition{inserted: 9000, flushed: 100, writerDelay: time.Second, waiting: true}
		}},
	} {
		var f flushWatch
		now := time.Unix(1_700_000_000, 0)
		var stall time.Duration
		for n := range 20 {
			stall = max(stall, f.observe(now, c.seen(n)))
			now = now.Add(time.Second)
		}
		if (stall > 0) != c.stall || stall > 0 && stall != 19*time.Second {
			t.Errorf("%s: %v", name, stall)
		}
	}
}

func TestSyncWatch(t *testing.T) {
	for name, c := range map[string]struct {
		seen func(second int) string
		want time.Duration
	}{
		"nobody waits":               {seen: func(int) string { return "" }},
		"one waits":                  {seen: func(int) string { return "1 12:00:00" }, want: 19 * time.Second},
		"one after the other":        {seen: func(n int) string { return fmt.Sprint(n / 5) }},
		"one that comes again":       {seen: func(n int) string { return []string{"1 12:00:00", ""}[n%2] }},
		"a standby that comes again": {seen: func(n int) string { return []string{"1 12:00:00", ""}[n/10] }, want: 9 * time.Second},
	} {
		var w syncWatch
		now := time.Unix(1_700_000_000, 0)
		var longest time.Duration
		for n := range 20 {
			longest = max(longest, w.observe(now, c.seen(n)))
			now = now.Add(time.Second)
		}
		if longest != c.want {
			t.Errorf("%s: %v, want %v", name, longest, c.want)
		}
	}
}
