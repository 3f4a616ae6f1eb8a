package main

import (
	"encoding/json"
	"io"
	"testing"
	"time"

	"github.com/pgha/pgha-agent/agent/explain"
	"github.com/pgha/pgha-agent/agent/status"
)

// FuzzExplainStatus gives `explain` and `status` any document for the daemon's: one of another version, or of another
// program at the socket.
func FuzzExplainStatus(f *testing.F) {
	for _, d := range []*status.Doc{{}, standby(), promoted()} {
		data, err := json.Marshal(d)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte(`{"cluster":{"nodes":[{}]},"drbd":{"connections":[{}]},"episode":{},"client":{},"sources":[{}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var doc status.Doc
		if json.Unmarshal(data, &doc) != nil {
			return
		}
		x := explain.Status(&doc, time.Unix(1_800_000_000, 0), 10*time.Second)
		if x.Verdict == "" {
			t.Fatal("no verdict")
		}
		printExplanation(io.Discard, x)
		printJudgment(io.Discard, &x)
		printDocument(io.Discard, &doc, &x)
		printFindings(io.Discard, &x)
	})
}
