package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/pgha/pgha-agent/cmd/internal/wait"
)

const (
	scrapeEvery = 3 * time.Second
	keepEvery   = 5 // scrapes; during a resync each one is kept, since some are over in seconds
)

// resync is in a scrape while one runs.
var resync = []byte("\npgha_drbd_sync_done_ratio{")

// keepScrapes writes whole scrapes of each target (node -> URL) to dir until ctx ends: NODE-UNIXMILLISECONDS.prom, for
// deploy's test of the dashboards. A node that does not answer in time leaves a gap.
func keepScrapes(ctx context.Context, dir string, targets map[string]string, every time.Duration) {
	_ = os.RemoveAll(dir) // of an earlier run
	if os.MkdirAll(dir, 0o755) != nil {
		return // as with the other records: the run does not fail for them
	}
	var wg sync.WaitGroup
	for node, url := range targets {
		wg.Go(func() {
			client := &http.Client{Transport: &http.Transport{}, Timeout: 2 * every} // no proxy
			defer client.CloseIdleConnections()
			for i := 0; ; i++ {
				if body, err := fetch(ctx, client, url); err == nil && (i%keepEvery == 0 || bytes.Contains(body, resync)) {
					_ = os.WriteFile(filepath.Join(dir, fmt.Sprintf("%s-%d.prom", node, time.Now().UnixMilli())), body, 0o644)
				}
				if wait.For(ctx, every) != nil {
					return
				}
			}
		})
	}
	wg.Wait()
}

func fetch(ctx context.Context, client *http.Client, url string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }() // read, or failed
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("GET %s: %s", url, resp.Status)
	}
	return io.ReadAll(io.LimitReader(resp.Body, 1<<20))
}
