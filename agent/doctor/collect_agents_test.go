package doctor

import (
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pgha/pgha-agent/agent/config"
	"github.com/pgha/pgha-agent/agent/peer"
	"github.com/pgha/pgha-agent/agent/status"
	"github.com/pgha/pgha-agent/pg"
)

// serve answers every request on a listener with a status.
func serve(t *testing.T, l net.Listener, d status.Doc) (paths func() string) {
	t.Helper()
	asked := make(chan string, 10)
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- r.URL.Path
		_ = json.NewEncoder(w).Encode(d) // the client sees what comes
	}))
	s.Listener = l
	s.Start()
	t.Cleanup(s.Close)
	return func() string { return <-asked }
}

func listen(t *testing.T, network, address string) net.Listener {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), network, address)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestCollectDaemon(t *testing.T) {
	f := healthy(t)
	f.Daemon, f.Options.ControlSocket = nil, filepath.Join(t.TempDir(), "control.sock")
	if err := collectDaemon(t.Context(), f); err == nil || !strings.Contains(err.Error(), "does not answer") {
		t.Errorf("without a daemon: %v", err)
	}
	asked := serve(t, listen(t, "unix", f.Options.ControlSocket), status.Doc{Node: "pg-1", Time: time.Now()})
	if err := collectDaemon(t.Context(), f); err != nil || f.Daemon.Node != "pg-1" {
		t.Errorf("%v, %+v", err, f.Daemon)
	}
	if path := asked(); path != "/recheck" { // after a remedy, the answers of before mislead
		t.Errorf("it asked for %s", path)
	}
	f.Daemon, f.Options.ControlSocket = nil, filepath.Join(t.TempDir(), "hangs.sock")
	serve(t, listen(t, "unix", f.Options.ControlSocket), status.Doc{Time: time.Now().Add(-time.Minute)})
	if err := collectDaemon(t.Context(), f); err == nil || f.Daemon != nil || !strings.Contains(err.Error(), "hangs") {
		t.Errorf("a daemon that hangs: %v", err)
	}
	f.Options.ControlSocket = ""
	if err := collectDaemon(t.Context(), f); err == nil {
		t.Error("the daemon asks itself")
	}
}

func TestCollectPeers(t *testing.T) {
	l := listen(t, "tcp", "127.0.0.1:0")
	serve(t, l, status.Doc{Node: "pg-2", Version: "0.1.0"})
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	f := healthy(t)
	cfg := config.Default()
	cfg.HTTP.Listen = ":" + port
	f.Options.Peer, f.Peers = peer.New(&cfg), nil
	f.Daemon.Record.Addr = "127.0.0.1" // no name server knows pg-2
	if err := collectPeers(t.Context(), f); err != nil || len(f.Peers) != 1 || f.Peers[0].Doc == nil {
		t.Fatalf("%v, %+v", err, f.Peers)
	}
	f.Daemon.Record.Addr = "127.0.0.9"
	if err := collectPeers(t.Context(), f); err != nil || f.Peers[0].Doc != nil || f.Peers[0].Err == "" {
		t.Errorf("nobody there: %v, %+v", err, f.Peers)
	}
	f.Peers, f.Crm.Nodes = nil, f.Crm.Nodes[:1]
	if err := collectPeers(t.Context(), f); err == nil || !strings.Contains(err.Error(), "no other node") {
		t.Errorf("alone: %v", err)
	}
	f.Crm, f.Daemon, f.absent[fromCrm] = nil, nil, unknown("crm_mon hangs")
	if err := collectPeers(t.Context(), f); err == nil || !strings.Contains(err.Error(), "crm_mon hangs") {
		t.Errorf("without a cluster: %v", err)
	}
}

func TestCollectLogin(t *testing.T) {
	login := func(edit func(*Facts)) (string, error) {
		f := healthy(t)
		f.Login = nil
		edit(f)
		err := collectLogin(t.Context(), f)
		if f.Login == nil {
			return "", err
		}
		return "in " + f.Login.Rejected, err
	}
	if got, err := login(func(*Facts) {}); got != "in " || err != nil {
		t.Errorf("let in: %q, %v", got, err)
	}
	if got, _ := login(func(f *Facts) {
		f.Daemon.Postgres = status.PostgresDoc{State: pg.StateAuth, Error: "no entry"}
	}); got != "in no entry" {
		t.Errorf("rejected: %q", got)
	}
	for in, edit := range map[string]func(*Facts){
		"promoted node only": func(f *Facts) { f.Options.Node = "pg-2" },
		"the daemon does not tell, and this user is another one": func(f *Facts) { f.Daemon = nil },
		"PostgreSQL: refused": func(f *Facts) { f.Daemon, f.Options.PostgresDSN = nil, "host=127.0.0.1 port=1 user=pgha" },
	} {
		got, err := login(edit)
		if got != "" || err == nil {
			t.Errorf("%s: %q, %v", in, got, err)
		} else if !strings.Contains(err.Error(), in) {
			t.Errorf("%s: %v", in, err)
		}
	}
}
