package main

import (
	"context"
	"strings"
	"testing"
)

func TestExplore(t *testing.T) {
	var out strings.Builder
	if err := runExplore(context.Background(), []string{"--budget", "unsafe-power"}, &out); err != nil {
		t.Errorf("%v\n%s", err, out.String())
	}
	if want := "no violation"; !strings.Contains(out.String(), want) {
		t.Errorf("no %q:\n%s", want, out.String())
	}
	err := runExplore(context.Background(), []string{"--budget", "unsave"}, &out)
	if err == nil || !strings.Contains(err.Error(), `no budget "unsave"`) ||
		!strings.Contains(err.Error(), "unsafe-power") {
		t.Errorf("%v", err)
	}
}
