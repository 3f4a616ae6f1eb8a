package state

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestEventsAreKept(t *testing.T) {
	dir := t.TempDir()
	if list, err := ReadEvents(dir); err != nil || len(list) != 0 {
		t.Fatalf("without a file: %v, %v", list, err)
	}
	e := Events{dir}
	at := time.Date(2026, 11, 23, 5, 50, 0, 0, time.UTC)
	want := Event{at, EventFailed, "start of pgsql failed on pg-b"}
	if err := e.Add([]Event{want, {at, EventCluster, strings.Repeat("x", 2*maxEventText)}}); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, eventsFile)
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, append(data, "torn {\n{\"kind\":\"\"}\n"...), 0o640); err != nil {
		t.Fatal(err)
	}
	if err := e.Add([]Event{want}); err != nil {
		t.Fatal(err)
	}
	list, err := ReadEvents(dir)
	if err != nil || len(list) != 3 || list[0] != want || list[2] != want || len(list[1].Text) > maxEventText {
		t.Errorf("%+v, %v", list, err)
	}
}

// TestEventsStayBounded, and the newest are left.
func TestEventsStayBounded(t *testing.T) {
	dir := t.TempDir()
	e := Events{dir}
	long := strings.Repeat("y", maxEventText)
	for n := range 2 * maxEventsLen / maxEventText / 100 {
		var list []Event
		for range 100 {
			list = append(list, Event{time.Unix(int64(n), 0).UTC(), EventCluster, long})
		}
		if err := e.Add(list); err != nil {
			t.Fatal(err)
		}
	}
	if err := e.Add([]Event{{time.Unix(1<<31, 0).UTC(), EventAgent, "the last"}}); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(filepath.Join(dir, eventsFile))
	if err != nil || info.Size() > maxEventsLen+100*2*maxEventText {
		t.Errorf("%v, %v", info, err)
	}
	if list, err := ReadEvents(dir); err != nil || len(list) < maxEvents/2 || list[len(list)-1].Text != "the last" {
		t.Errorf("%d events, %v", len(list), err)
	}
}
