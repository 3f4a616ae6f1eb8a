// Package peer asks the daemons of the other nodes for their status, over the port where they serve metrics. What a
// peer says is shown and compared. It never decides about a write: only what this node sees itself does.
package peer

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"sync"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/pgha/pgha-agent/agent/config"
	"github.com/pgha/pgha-agent/agent/status"
)

const (
	askTimeout = 2 * time.Second
	maxStep    = 10 * time.Second // since the last step of a daemon that does not hang
	maxAnswer  = 4 << 20          // bytes
	maxHosts   = 8
)

// Client asks the other daemons. It assumes that they are configured as this one: the same port, and certificates and
// passwords where this one has them.
type Client struct {
	http config.HTTP
	peer config.Peer
}

// New makes a Client. It reads no file yet.
func New(c *config.Config) *Client { return &Client{c.HTTP, c.Peer} }

// Ask returns the status of a node's daemon, which may be where its name leads or at any of the hosts. All are asked at
// once. The error is that at its name.
func (c *Client) Ask(ctx context.Context, node string, hosts ...string) (*status.Doc, error) {
	return c.ask(ctx, node, append([]string{node}, hosts...)...)
}

// AskEach asks several nodes at once, which may be at any of the hosts. The answers are in the order of the nodes.
func (c *Client) AskEach(ctx context.Context, nodes []string, hosts ...string) []status.Peer {
	peers := make([]status.Peer, len(nodes))
	var all sync.WaitGroup
	for i, node := range nodes {
		all.Go(func() {
			peers[i].Node = node
			doc, err := c.Ask(ctx, node, hosts...)
			if err != nil {
				peers[i].Err = err.Error()
				return
			}
			peers[i].Doc = doc
		})
	}
	all.Wait()
	return peers
}

func (c *Client) ask(ctx context.Context, node string, hosts ...string) (*status.Doc, error) {
	if c.http.Listen == config.Off {
		return nil, errors.New(`http.listen is "off" here, and so most likely there`)
	}
	_, port, err := net.SplitHostPort(c.http.Listen)
	if err != nil {
		return nil, fmt.Errorf("http.listen: %w", err)
	}
	secure, err := c.secure()
	if err != nil {
		return nil, err
	}
	transport, err := c.transport(secure)
	if err != nil {
		return nil, err
	}
	defer transport.CloseIdleConnections()
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	hosts = hosts[:min(len(hosts), maxHosts)]
	type answer struct {
		doc  *status.Doc
		err  error
		host int
	}
	answers := make(chan answer, len(hosts))
	for i, host := range hosts {
		go func() {
			doc, err := c.askAt(ctx, transport, secure, net.JoinHostPort(host, port))
			if err == nil && doc.Node != node {
				err = fmt.Errorf("at %s answers the daemon of %q", host, doc.Node)
			}
			answers <- answer{doc, err, i}
		}()
	}
	errs := make([]error, len(hosts))
	for range hosts {
		a := <-answers
		if a.err == nil {
			return a.doc, nil
		}
		errs[a.host] = a.err
	}
	return nil, errs[0]
}

func (c *Client) askAt(ctx context.Context, transport *http.Transport, secure bool, address string) (*status.Doc,
	error) {
	scheme := "http://"
	if secure {
		scheme = "https://"
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+address+"/status", nil)
	if err != nil {
		return nil, err
	}
	if c.peer.Username != "" {
		password, err := os.ReadFile(c.peer.PasswordFile)
		if err != nil {
			return nil, fmt.Errorf("read peer.password_file: %w", err)
		}
		req.SetBasicAuth(c.peer.Username, string(bytes.TrimRight(password, "\r\n")))
	}
	client := &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse // a daemon sends nobody elsewhere, and a password goes to nobody else
	}}
	resp, err := client.Do(req)
	if err != nil {
		return nil, explained(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	switch {
	case err != nil:
		return nil, fmt.Errorf("read the answer of %s: %w", address, err)
	case resp.StatusCode == http.StatusUnauthorized:
		return nil, fmt.Errorf("%s wants a password: set peer.username and peer.password_file", address)
	case resp.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("%s answers %s", address, resp.Status)
	}
	var doc status.Doc
	if err := json.Unmarshal(body, &doc); err != nil {
		return nil, fmt.Errorf("read the answer of %s: %w", address, err)
	}
	// A daemon that hangs answers with its last step. Both times are of its node: the clocks of two nodes may differ.
	if date, err := http.ParseTime(resp.Header.Get("Date")); err == nil && !doc.Time.IsZero() &&
		date.Sub(doc.Time) > maxStep {
		return nil, fmt.Errorf("%s hangs: its last step was %s before its answer", address,
			date.Sub(doc.Time).Round(time.Second))
	}
	return &doc, nil
}

// explained adds the remedy to an error whose text has none.
func explained(err error) error {
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return fmt.Errorf("%w: set peer.ca_file to the certificate of who signed it", err)
	}
	if _, ok := errors.AsType[x509.HostnameError](err); ok {
		return fmt.Errorf("%w: its certificate must name the node, or its address", err)
	}
	return err
}

// secure reports whether the daemons serve HTTPS.
func (c *Client) secure() (bool, error) {
	if c.http.WebConfig == "" {
		return false, nil
	}
	text, err := os.ReadFile(c.http.WebConfig)
	if err != nil {
		return false, fmt.Errorf("read http.web_config_file: %w", err)
	}
	var web struct {
		TLS map[string]any `yaml:"tls_server_config"`
	}
	if err := yaml.Unmarshal(text, &web); err != nil {
		return false, fmt.Errorf("read http.web_config_file: %w", err)
	}
	return len(web.TLS) > 0, nil
}

// transport makes connections for one question, straight to the peer: no proxy stands between the nodes.
func (c *Client) transport(secure bool) (*http.Transport, error) {
	t := &http.Transport{DisableKeepAlives: true}
	if !secure || c.peer.CAFile == "" {
		return t, nil
	}
	pem, err := os.ReadFile(c.peer.CAFile)
	if err != nil {
		return nil, fmt.Errorf("read peer.ca_file: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("peer.ca_file: %s holds no certificate", c.peer.CAFile)
	}
	t.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	return t, nil
}

// Hosts lists the addresses in a status of this node that may be another node's: where DRBD's peers are (9 says so),
// and
// where the name leads. Strangers may have edited the latter: with a password it is not among them.
func (c *Client) Hosts(d *status.Doc) (hosts []string) {
	add := func(host string) {
		if a, err := netip.ParseAddr(host); err == nil && host != d.Record.OwnAddr && !a.IsUnspecified() {
			hosts = append(hosts, host)
		}
	}
	if d.Drbd != nil {
		for _, conn := range d.Drbd.Connections {
			for _, p := range conn.Paths {
				if host, _, err := net.SplitHostPort(strings.TrimPrefix(strings.TrimPrefix(p.Peer, "ipv4:"), "ipv6:")); err == nil {
					add(host)
				}
			}
		}
	}
	if c.peer.Username == "" {
		add(d.Record.Addr)
		if d.Record.ResolverAddr != nil {
			add(*d.Record.ResolverAddr)
		}
	}
	return hosts
}
