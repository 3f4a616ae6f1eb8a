package main

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// Every fifth scrape is kept, and each one during a resync. Here the resync is the third scrape of eight.
func TestScrapesAreKept(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "scrapes")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var n atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		switch i := n.Add(1); i {
		case 3:
			fmt.Fprint(w, "pgha_episode_open 0\npgha_drbd_sync_done_ratio{peer=\"peer\"} 0.4\n")
		case 8:
			cancel()
		default:
			fmt.Fprintf(w, "pgha_episode_open %d\n", i)
		}
	}))
	defer server.Close()
	keepScrapes(ctx, dir, map[string]string{"node1": server.URL, "node2": "http://127.0.0.1:1/metrics"},
		20*time.Millisecond)

	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var kept strings.Builder
	for _, f := range files {
		if !regexp.MustCompile(`^node1-\d+\.prom$`).MatchString(f.Name()) {
			t.Errorf("kept %s: node2 does not answer", f.Name())
		}
		body, err := os.ReadFile(filepath.Join(dir, f.Name()))
		if err != nil {
			t.Fatal(err)
		}
		kept.Write(body)
	}
	const want = "pgha_episode_open 1\npgha_episode_open 0\npgha_drbd_sync_done_ratio{peer=\"peer\"} 0.4\n" +
		"pgha_episode_open 6\n"
	if got := kept.String(); got != want {
		t.Errorf("kept:\n%s\nwant:\n%s", got, want)
	}
}
