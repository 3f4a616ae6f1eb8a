package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"text/template"
	"time"
)

// machine is one node: the real agent, and the stand-ins for what the cluster model plays.
type machine struct {
	index      int
	name, addr string
	dir        string
	http       string       // host:port
	reserved   net.Listener // keeps that port for the agent until it starts
	agentPath  string
	env        []string
	spawn      *spawner

	tools  *toolServer
	daemon *proc
	hooks  procs
}

// socketDir is where PostgreSQL puts its Unix socket when it runs on the node.
func (m *machine) socketDir() string { return filepath.Join(m.dir, "run") }

func (m *machine) config() string { return filepath.Join(m.dir, "pgha-agent.toml") }

var configTemplate = template.Must(template.New("").Parse(`# Node {{.Name}} of the demo.
[node]
name = "{{.Name}}"
address = "{{.Addr}}"

[cluster]
promotable = "drbd_pg-clone"
crm_mon = ["{{.Dir}}/crm_mon"]

[drbd]
resource = "pg"
drbdsetup = ["{{.Dir}}/drbdsetup"]

[postgres]
dsn = "host={{.Dir}}/run port={{.Port}} user=pgha dbname=postgres"
client = "port={{.Port}} user=pgha dbname=postgres sslmode=disable"

[record]
zone_id = "{{.Zone}}"
name = "{{.Record}}"
ttl = "{{.TTL}}"
endpoint_url = "{{.Endpoint}}"
resolver = "{{.Resolver}}"

[http]
listen = "{{.HTTP}}"

[state]
dir = "{{.Dir}}/state"
alert_socket = "{{.Dir}}/alert.sock"
control_socket = "{{.Dir}}/control.sock"
`))

// settings are what the configuration files say beside the node's own.
type settings struct {
	Port                  int
	Zone, Record, TTL     string
	Endpoint, Resolver    string
	Name, Addr, Dir, HTTP string
}

// prepare makes the node's directory: configuration and the cluster's tools.
func (m *machine) prepare(s settings, standin string) error {
	for _, dir := range []string{filepath.Join(m.dir, "state"), m.socketDir()} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	s.Name, s.Addr, s.Dir, s.HTTP = m.name, m.addr, m.dir, m.http
	f, err := os.Create(m.config())
	if err != nil {
		return err
	}
	if err := configTemplate.Execute(f, s); err != nil {
		return fmt.Errorf("write configuration: %w", err)
	}
	for _, tool := range []string{"crm_mon", "cibadmin", "drbdsetup"} {
		if err := os.Link(standin, filepath.Join(m.dir, tool)); err != nil {
			return fmt.Errorf("install stand-in: %w", err)
		}
	}
	return f.Close()
}

// boot starts the node's cluster tools.
func (m *machine) boot(c *cluster) (err error) {
	m.tools, err = serveTools(c, m.index, m.dir)
	return err
}

func (m *machine) command(args ...string) *exec.Cmd {
	cmd := exec.Command(m.agentPath, append(args, "--config", m.config())...)
	cmd.Env = append(os.Environ(), m.env...)
	cmd.Dir = m.dir
	return cmd
}

// startAgent starts the real agent, whose log goes to a file.
func (m *machine) startAgent() error {
	if m.reserved != nil {
		_ = m.reserved.Close()
		m.reserved = nil
	}
	log, err := os.OpenFile(m.log(), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }() // the child has its own
	cmd := m.command("run")
	cmd.Stdout, cmd.Stderr = log, log
	m.daemon, err = m.spawn.start(cmd)
	return err
}

func (m *machine) log() string { return filepath.Join(m.dir, "agent.log") }

// alert calls the real alert hook as pacemaker-execd does: in the background, one process for each alert.
func (m *machine) alert(env map[string]string) {
	cmd := m.command("alert")
	for k, v := range env {
		cmd.Env = append(cmd.Env, k+"="+v)
	}
	cmd.Env = append(cmd.Env, "USER=root")
	log, err := os.OpenFile(filepath.Join(m.dir, "alert.log"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return
	}
	defer func() { _ = log.Close() }() // the child has its own
	cmd.Stdout, cmd.Stderr = log, log
	if p, err := m.spawn.start(cmd); err == nil {
		m.hooks.add(p)
	}
}

// cutPower ends everything on the node at once.
func (m *machine) cutPower() {
	if m.daemon != nil {
		m.daemon.kill()
	}
	if m.tools != nil {
		m.tools.kill()
	}
	m.hooks.killAll()
}

// shutDown ends everything in order.
func (m *machine) shutDown() {
	if m.daemon != nil {
		m.daemon.stop(5 * time.Second)
	}
	m.cutPower()
}

// statusDoc is what the demo reads of /status.
type statusDoc struct {
	Ready   bool     `json:"ready"`
	Unready []string `json:"unready"`
	Record  struct {
		Addr         string  `json:"addr"`
		Owner        string  `json:"owner"`
		Epoch        uint64  `json:"epoch"`
		ResolverAddr *string `json:"resolver_addr"`
	} `json:"record"`
	Drbd *struct {
		Role    string
		Devices []struct{ Disk string }
	} `json:"drbd"`
	Episode *struct {
		ID      uint64 `json:"id"`
		Cause   string `json:"cause"`
		Outcome string `json:"outcome"`
		Writes  int    `json:"writes"`
		Phases  []struct {
			Phase string    `json:"phase"`
			At    time.Time `json:"at"`
		} `json:"phases"`
		Outage *float64 `json:"client_outage_seconds"`
	} `json:"episode"`
	Publication struct {
		State string `json:"state"`
		Holds []struct {
			Name string `json:"name"`
		} `json:"holds"`
	} `json:"publication"`
}

// status asks the agent over HTTP.
func (m *machine) status(ctx context.Context) (*statusDoc, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+m.http+"/status", nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answers %s", req.URL, resp.Status)
	}
	doc := &statusDoc{}
	if err := json.NewDecoder(resp.Body).Decode(doc); err != nil {
		return nil, fmt.Errorf("read %s: %w", req.URL, err)
	}
	return doc, nil
}

// history is what `pgha-agent history` prints of an episode.
func (m *machine) history(id uint64) (string, error) {
	out, err := m.command("history", strconv.FormatUint(id, 10)).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("pgha-agent history: %w: %s", err, out)
	}
	return string(out), nil
}

// logTail is the end of the agent's log, for a message about a failure.
func (m *machine) logTail() string {
	b, _ := os.ReadFile(m.log()) // no log is an empty one
	if len(b) > 3000 {
		b = b[len(b)-3000:]
	}
	return string(b)
}
