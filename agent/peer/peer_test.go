package peer

import (
	"encoding/json"
	"encoding/pem"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pgha/pgha-agent/agent/config"
	"github.com/pgha/pgha-agent/agent/status"
	"github.com/pgha/pgha-agent/drbd"
)

// daemon answers as the daemon of a node does, on a port of this machine. mux may replace its answer.
func daemon(t *testing.T, node string, secure bool, answer http.HandlerFunc) (c *config.Config, s *httptest.Server) {
	t.Helper()
	if answer == nil {
		answer = func(w http.ResponseWriter, _ *http.Request) {
			_ = json.NewEncoder(w).Encode(status.Doc{Node: node}) // the client sees what comes
		}
	}
	s = httptest.NewUnstartedServer(answer)
	cfg := config.Default()
	if secure {
		s.StartTLS()
		cfg.HTTP.WebConfig = write(t, "tls_server_config: {cert_file: c, key_file: k}")
		cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
		cfg.Peer.CAFile = write(t, string(cert))
	} else {
		s.Start()
	}
	t.Cleanup(s.Close)
	_, port, err := net.SplitHostPort(s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	cfg.HTTP.Listen = ":" + port
	return &cfg, s
}

func write(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestAsk(t *testing.T) {
	auth := func(w http.ResponseWriter, r *http.Request) {
		if user, password, _ := r.BasicAuth(); user != "pgha" || password != "secret" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		_, _ = w.Write([]byte(`{"node": "pg-b"}`))
	}
	for name, c := range map[string]struct {
		secure bool
		answer http.HandlerFunc
		change func(*config.Config)
		err    string // "": it is answered
	}{
		"plain": {},
		"TLS":   {secure: true},
		"not of that name": {answer: func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"node": "pg-z"}`)) },
			err: `the daemon of "pg-z"`},
		"another program": {answer: func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) },
			err: "read the answer"},
		"hangs": {answer: func(w http.ResponseWriter, _ *http.Request) {
			_ = json.NewEncoder(w).Encode(status.Doc{Node: "pg-b", Time: time.Now().Add(-time.Minute)})
		}, err: "hangs"},
		"another clock": {answer: func(w http.ResponseWriter, _ *http.Request) { // on both
			then := time.Now().Add(-time.Hour)
			w.Header().Set("Date", then.UTC().Format(http.TimeFormat))
			_ = json.NewEncoder(w).Encode(status.Doc{Node: "pg-b", Time: then})
		}},
		"an error":   {answer: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) }, err: "500"},
		"redirected": {answer: func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/x", http.StatusFound) }, err: "302"},
		"password": {answer: auth, change: func(c *config.Config) {
			c.Peer.Username, c.Peer.PasswordFile = "pgha", write(t, "secret\n")
		}},
		"no password": {answer: auth, err: "peer.password_file"},
		"no such password file": {answer: auth, change: func(c *config.Config) {
			c.Peer.Username, c.Peer.PasswordFile = "pgha", "/nowhere/x"
		}, err: "/nowhere/x"},
		"unknown certificate":   {secure: true, change: func(c *config.Config) { c.Peer.CAFile = "" }, err: "peer.ca_file"},
		"no certificate":        {secure: true, change: func(c *config.Config) { c.Peer.CAFile = write(t, "x") }, err: "no certificate"},
		"off":                   {change: func(c *config.Config) { c.HTTP.Listen = config.Off }, err: "http.listen"},
		"no web configuration":  {change: func(c *config.Config) { c.HTTP.WebConfig = "/nowhere/w" }, err: "/nowhere/w"},
		"bad web configuration": {change: func(c *config.Config) { c.HTTP.WebConfig = write(t, "{") }, err: "web_config_file"},
		"nobody there":          {change: func(c *config.Config) { c.HTTP.Listen = ":1" }, err: "connection refused"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg, _ := daemon(t, "pg-b", c.secure, c.answer)
			if c.change != nil {
				c.change(cfg)
			}
			d, err := New(cfg).ask(t.Context(), "pg-b", "127.0.0.1")
			if c.err == "" && (err != nil || d.Node != "pg-b") || c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) {
				t.Errorf("%+v, %v, want %q", d, err, c.err)
			}
		})
	}
}

// TestAskTriesEveryHost: the name of a node need not resolve.
func TestAskTriesEveryHost(t *testing.T) {
	cfg, _ := daemon(t, "pg-b", false, nil)
	if d, err := New(cfg).Ask(t.Context(), "pg-b", "127.0.0.9", "127.0.0.1"); err != nil || d.Node != "pg-b" {
		t.Errorf("%+v, %v", d, err)
	}
}

func TestHosts(t *testing.T) {
	d := &status.Doc{
		Record: status.RecordDoc{OwnAddr: "10.0.1.10", Addr: "10.0.2.10", ResolverAddr: new("10.0.1.10")},
		Drbd: &drbd.DumpResource{Connections: []drbd.DumpConnection{{Paths: []drbd.DumpPath{
			{Peer: "ipv4:10.9.2.10:7789"}, {Peer: "ipv6:[fd00::2]:7789"}, {Peer: "nonsense"}}}}},
	}
	cfg := config.Default()
	if got := strings.Join(New(&cfg).Hosts(d), " "); got != "10.9.2.10 fd00::2 10.0.2.10" {
		t.Error(got)
	}
	cfg.Peer.Username = "pgha"
	if got := strings.Join(New(&cfg).Hosts(d), " "); got != "10.9.2.10 fd00::2" {
		t.Errorf("with a password: %s", got)
	}
}
