package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// BenchmarkStart is what every command costs before it does anything: the real binary, from exec to exit, as
// `pgha-agent version`. init-ns and init-B are the initialization of its packages, as the runtime counts it.
func BenchmarkStart(b *testing.B) {
	agent := filepath.Join(b.TempDir(), "pgha-agent")
	build := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", agent, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		b.Fatalf("build: %v\n%s", err, out)
	}
	var cpu time.Duration
	for b.Loop() {
		cmd := exec.Command(agent, "version")
		if out, err := cmd.CombinedOutput(); err != nil {
			b.Fatalf("%v\n%s", err, out)
		}
		cpu += cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	}
	b.ReportMetric(float64(cpu.Nanoseconds())/float64(b.N), "cpu-ns/op")
	clock, size := initialization(b, agent)
	b.ReportMetric(float64(clock.Nanoseconds()), "init-ns")
	b.ReportMetric(float64(size), "init-B")
}

// initialization is how long the packages of the agent's binary take to initialize, and what they allocate for it.
func initialization(b *testing.B, agent string) (clock time.Duration, size int) {
	cmd := exec.Command(agent, "version")
	cmd.Env = append(os.Environ(), "GODEBUG=inittrace=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		b.Fatalf("%v\n%s", err, out)
	}
	for line := range strings.Lines(string(out)) {
		var name string
		var at, took float64
		var bytes int
		_, err := fmt.Sscanf(line, "init %s @%f ms, %f ms clock, %d bytes", &name, &at, &took, &bytes)
		if err == nil {
			clock += time.Duration(took * float64(time.Millisecond))
			size += bytes
		}
	}
	if size == 0 {
		b.Fatalf("the runtime does not say what the initialization costs:\n%s", out)
	}
	return clock, size
}
