package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pgha/pgha-agent/agent/status"
)

// TestCheckConfigComparesWithThePeer: the other node of this cluster is called localhost, so that its name leads to a
// daemon here.
func TestCheckConfigComparesWithThePeer(t *testing.T) {
	same := status.Doc{Node: "localhost", Version: version, Config: &status.ConfigDoc{Record: "db.pgha.internal", Zone: "Z1",
		Ownership: "txt", PublishOn: "promoted", TTL: "10s", Repair: true, Promotable: "drbd-clone", Resource: "pg"}}
	with := func(edit func(*status.Doc)) *status.Doc {
		d, c := same, *same.Config
		d.Config = &c
		edit(&d)
		return &d
	}
	for name, c := range map[string]struct {
		peer *status.Doc // nil: nobody listens
		args []string
		code int
		out  string // also of the error
	}{
		"the same":        {with(func(*status.Doc) {}), nil, 0, "compared with localhost: the same\n"},
		"other record":    {with(func(d *status.Doc) { d.Config.Record = "dbx.pgha.internal" }), nil, 1, `"dbx.pgha.internal" on localhost`},
		"what to do":      {with(func(d *status.Doc) { d.Config.TTL = "30s" }), nil, 1, "systemctl reload pgha-agent"},
		"alone":           {with(func(d *status.Doc) { d.Config.TTL = "30s" }), []string{"--alone"}, 0, "ok"},
		"another version": {with(func(d *status.Doc) { d.Version = "9.0.0" }), nil, 0, "warning: the agents are of version"},
		"an old one":      {with(func(d *status.Doc) { d.Config = nil }), nil, 0, "not compared with another node: the agent of localhost"},
		"not reached":     {nil, nil, 0, "not compared with another node: the agent of localhost was not reached"},
	} {
		t.Run(name, func(t *testing.T) {
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				_ = json.NewEncoder(w).Encode(c.peer) // the client sees what comes
			}))
			defer s.Close()
			_, port, err := net.SplitHostPort(s.Listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			if c.peer == nil {
				s.Close()
			}
			cmd := newRoot()
			var out bytes.Buffer
			cmd.SetOut(&out)
			cmd.SetArgs(append([]string{"check-config", "--config", clusterWithLocalhost(t, port)}, c.args...))
			err = cmd.ExecuteContext(t.Context())
			code := 0
			if err != nil {
				code = exitCode(err)
				fmt.Fprint(&out, err)
			}
			if code != c.code || !strings.Contains(out.String(), c.out) || strings.HasSuffix(out.String(), ": ok\n") != (code == 0) {
				t.Errorf("exit status %d, %q; want %d with %q", code, out.String(), c.code, c.out)
			}
		})
	}
}

// clusterWithLocalhost writes a configuration and a crm_mon of a cluster of pg-b and localhost.
func clusterWithLocalhost(t *testing.T, port string) (file string) {
	t.Helper()
	dir := t.TempDir()
	xml, err := os.ReadFile("testdata/world/crm.xml")
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"crm.xml": strings.ReplaceAll(string(xml), "pg-a", "localhost"),
		"crm_mon": "#!/bin/sh\ncat " + dir + "/crm.xml\n",
		"config.toml": fmt.Sprintf(`[node]
name = "pg-b"
[cluster]
promotable = "drbd-clone"
crm_mon = ["%[1]s/crm_mon"]
[drbd]
resource = "pg"
drbdsetup = ["/nonexistent/drbdsetup"]
[record]
zone_id = "Z1"
name = "db.pgha.internal"
[http]
listen = ":%[2]s"
[state]
control_socket = "%[1]s/control.sock"
`, dir, port),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "config.toml")
}
