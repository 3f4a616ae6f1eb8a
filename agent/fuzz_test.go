package agent

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pgha/pgha-agent/agent/fsm"
	"github.com/pgha/pgha-agent/agent/state"
	"github.com/pgha/pgha-agent/agent/web"
)

// FuzzPause reads a pause file, and takes a request for one over the control socket.
func FuzzPause(f *testing.F) {
	f.Add([]byte(`{"until":"2999-01-01T00:00:00Z"}`))
	f.Add([]byte(`{"until":"-1"}`))
	f.Add([]byte(`{"seconds":3600}`))
	f.Add([]byte(`{"seconds":-0}`))
	f.Add([]byte(`{"seconds":1e300}{"seconds":null}`))
	a := bareAgent(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		dir := t.TempDir()
		a.cfg.State.Dir, a.inbox = dir, make(chan message, 1)
		if err := os.WriteFile(filepath.Join(dir, "pause.json"), data, 0o600); err != nil {
			t.Fatal(err)
		}
		clock := newTestClock()
		if until, err := state.ReadPause(dir, clock.Wall(), clock.Boot()); until < 0 ||
			until != 0 && (err != nil || until < clock.Boot()) {
			t.Fatalf("paused until %v, %v", until, err)
		}
		_ = os.Remove(filepath.Join(dir, "pause.json"))
		rec := httptest.NewRecorder()
		web.Control(a.webOptions()).ServeHTTP(rec,
			httptest.NewRequest(http.MethodPost, "/pause", strings.NewReader(string(data))))
		_, err := os.Stat(filepath.Join(dir, "pause.json"))
		switch {
		case rec.Code == http.StatusBadRequest:
			if len(a.inbox) != 0 || err == nil {
				t.Fatal("a refused request did something")
			}
		case rec.Code != http.StatusOK || len(a.inbox) != 1:
			t.Fatalf("status %d, %d events", rec.Code, len(a.inbox))
		default:
			until := (<-a.inbox).event.(fsm.Paused).Until
			if now := a.clock.Boot(); until != 0 && (until < 0 || until > now+state.MaxPause) || (until != 0) != (err == nil) {
				t.Fatalf("paused until %v at %v, file %v", until, now, err)
			}
		}
	})
}
