package agent

import (
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Clock is where the agent takes the time from. Tests bring their own.
type Clock interface {
	Boot() time.Duration // CLOCK_BOOTTIME: goes on while the machine sleeps
	Mono() time.Duration // CLOCK_MONOTONIC: stands still while the machine sleeps
	Wall() time.Time
}

// SystemClock is the Clock of the kernel.
type SystemClock struct{}

// Boot implements Clock.
func (SystemClock) Boot() time.Duration { return clockGettime(unix.CLOCK_BOOTTIME) }

// Mono implements Clock.
func (SystemClock) Mono() time.Duration { return clockGettime(unix.CLOCK_MONOTONIC) }

// Wall implements Clock.
func (SystemClock) Wall() time.Time { return time.Now() }

func clockGettime(id int32) time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(id, &ts); err != nil {
		// Both clocks exist on every kernel since 2.6.39 and the call has no other way to fail.
		panic(fmt.Sprintf("clock_gettime(%d): %v", id, err))
	}
	return time.Duration(ts.Nano())
}

// bootID names this boot of the machine.
func bootID() (string, error) {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", fmt.Errorf("read boot id: %w", err)
	}
	return strings.TrimSpace(string(b)), nil
}
