package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

// FetchStatus asks the daemon for its status over the control socket.
func FetchStatus(ctx context.Context, socket string) (*StatusDoc, error) {
	body, err := control(ctx, socket, http.MethodGet, "/status", nil)
	if err != nil {
		return nil, err
	}
	return readStatus(body)
}

func readStatus(body []byte) (*StatusDoc, error) {
	var doc StatusDoc
	if err := json.Unmarshal(body, &doc); err != nil {
		return nil, fmt.Errorf("read status: %w", err)
	}
	return &doc, nil
}

// FetchStatusOf asks another node's daemon for its status, where it serves metrics: address is host:port.
func FetchStatusOf(ctx context.Context, address string) (*StatusDoc, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/status", nil)
	if err != nil {
		return nil, err
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}} // of its own: no proxy between the nodes
	resp, err := client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("ask the daemon at %s: %w", address, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, fmt.Errorf("read the daemon's answer: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the daemon at %s says %s", address, resp.Status)
	}
	return readStatus(body)
}

// maxAnswer bounds what is read of a daemon's answer, in bytes.
const maxAnswer = 16 << 20

// Pause holds publication back for a while; zero ends a pause.
func Pause(ctx context.Context, socket string, length time.Duration) error {
	body, err := json.Marshal(map[string]float64{"seconds": length.Seconds()})
	if err != nil {
		return err
	}
	_, err = control(ctx, socket, http.MethodPost, "/pause", body)
	return err
}

// control makes one request over the control socket.
func control(ctx context.Context, socket, method, path string, body []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	client := http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", socket)
		},
	}}
	req, err := http.NewRequestWithContext(ctx, method, "http://pgha-agent"+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("ask the daemon at %s (is pgha-agent.service running, and are you root or in group haclient?): %w", socket, err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, fmt.Errorf("read the daemon's answer: %w", err)
	}
	if resp.StatusCode >= 300 {
		return nil, fmt.Errorf("the daemon says %s: %s", resp.Status, bytes.TrimSpace(data))
	}
	return data, nil
}
