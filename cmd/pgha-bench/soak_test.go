package main

import (
	"math"
	"testing"
	"time"
)

func TestTrendIsTheGrowthWithoutThePeaks(t *testing.T) {
	for name, c := range map[string]struct {
		f    func(i int) float64
		want float64
	}{
		"flat":                       {func(int) float64 { return 7 }, 0},
		"grows":                      {func(i int) float64 { return 7 + float64(i)/60 }, 1},
		"flat with peaks":            {func(i int) float64 { return 7 + 100*float64(i%7/6) }, 0},
		"flat with peaks at the end": {func(i int) float64 { return 7 + 100*float64(i/55) }, 0},
		"grows under a saw":          {func(i int) float64 { return float64(i)/60 + float64(i%2) }, 1},
	} {
		var x, y []float64
		for i := range 60 {
			x, y = append(x, float64(i)/60), append(y, c.f(i))
		}
		if got := trend(x, y); math.Abs(got-c.want) > 0.05 {
			t.Errorf("%s: %v an hour, want %v", name, got, c.want)
		}
	}
}

func TestSoakFailsWhatGrows(t *testing.T) {
	var g growth
	for i := range 60 {
		g.at = append(g.at, float64(i)/60)
		for s := range g.series {
			g.series[s] = append(g.series[s], 10)
		}
	}
	if text, err := g.verdict(time.Hour); err != nil {
		t.Errorf("flat: %v\n%s", err, text)
	}
	for s := range g.series {
		leak := g
		leak.series[s] = nil
		for i := range 60 {
			leak.series[s] = append(leak.series[s], 10+2*watched[s].most*float64(i)/60)
		}
		if _, err := leak.verdict(time.Hour); err == nil {
			t.Errorf("%s may grow", watched[s].what)
		}
	}
	if _, err := (&growth{at: []float64{0, 1}}).verdict(time.Hour); err == nil {
		t.Error("two samples are no trend")
	}
}
