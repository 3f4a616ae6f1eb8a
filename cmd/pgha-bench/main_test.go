package main

import (
	"os"
	"strings"
	"testing"
	"time"
)

func TestQuantilesOfASample(t *testing.T) {
	var s sample
	for i := 100; i > 0; i-- {
		s = append(s, time.Duration(i)*time.Millisecond)
	}
	for q, want := range map[float64]time.Duration{0: 1, .5: 51, .9: 90, .99: 99, 1: 100} {
		if got := s.at(q); got != want*time.Millisecond {
			t.Errorf("quantile %v is %v, want %dms", q, got, want)
		}
	}
	if got := (sample{5}).at(.99); got != 5 {
		t.Errorf("p99 of one value is %v", got)
	}
	if got := best([]sample{{9, 9, 9}, {1, 7, 99}, {8, 8, 8}}).at(.5); got != 7 {
		t.Errorf("best series has the median %v, want the lowest, 7", got)
	}
}

func TestBenchmarkStillRuns(t *testing.T) {
	if testing.Short() {
		t.Skip("it builds and runs the agent for some seconds: that the benchmark still works was not tested")
	}
	out, err := os.CreateTemp(t.TempDir(), "out")
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	stdout := os.Stdout
	os.Stdout = out
	err = run(t.Context(), "", 2, 1, 100*time.Millisecond)
	os.Stdout = stdout
	if err != nil {
		t.Fatal(err)
	}
	table, err := os.ReadFile(out.Name())
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []string{"| idle daemon, resident memory |", "| scrape of /metrics",
		"| processes started by 100 scrapes | 0 |", "| **alert hook exec to UPSERT at Route 53** |"} {
		if !strings.Contains(string(table), row) {
			t.Errorf("no row %q in:\n%s", row, table)
		}
	}
}
