package status

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

// Fetch asks the daemon for its status over the control socket.
func Fetch(ctx context.Context, socket string) (*Doc, error) {
	body, err := control(ctx, socket, http.MethodGet, "/status", nil)
	if err != nil {
		return nil, err
	}
	return readStatus(body)
}

// Recheck asks the daemon to ask every source once more, and for its status then. A daemon of before 0.2, and one that
// is not done in time, only give their status.
func Recheck(ctx context.Context, socket string) (*Doc, error) {
	body, err := control(ctx, socket, http.MethodPost, "/recheck", nil)
	if _, refused := errors.AsType[refusal](err); refused || errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		return Fetch(ctx, socket)
	}
	if err != nil {
		return nil, err
	}
	return readStatus(body)
}

func readStatus(body []byte) (*Doc, error) {
	var doc Doc
	if err := json.Unmarshal(body, &doc); err != nil {
		return nil, fmt.Errorf("read status: %w", err)
	}
	return &doc, nil
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
	ctx, cancel := context.WithTimeout(ctx, 8*time.Second)
	defer cancel()
	overSocket := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", socket)
	}}
	data, err := ask(ctx, overSocket, method, "http://pgha-agent"+path, body)
	if _, refused := errors.AsType[refusal](err); err != nil && !refused {
		return nil,
			fmt.Errorf("ask the daemon at %s (is pgha-agent.service running, and are you root or in group haclient?): %w",
				socket, err)
	}
	return data, err
}

// refusal is what a daemon answered instead of what was asked.
type refusal string

// Error implements error.
func (r refusal) Error() string { return "the daemon says " + string(r) }

// ask makes one request to a daemon over a connection of its own.
func ask(ctx context.Context, transport *http.Transport, method, url string, body []byte) ([]byte, error) {
	transport.DisableKeepAlives = true
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	resp, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, fmt.Errorf("read the answer: %w", err)
	}
	if resp.StatusCode >= 300 {
		return nil, refusal(fmt.Sprintf("%s: %s", resp.Status, bytes.TrimSpace(data)))
	}
	return data, nil
}
