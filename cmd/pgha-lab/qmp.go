package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"time"

	"github.com/pgha/pgha-agent/cmd/internal/wait"
)

// qmp is a connection to QEMU's machine protocol: lines of JSON, one command at a time, events in between.
type qmp struct {
	conn net.Conn
	r    *bufio.Reader
}

func dialQMP(ctx context.Context, path string) (*qmp, error) {
	for {
		conn, err := (&net.Dialer{}).DialContext(ctx, "unix", path)
		if err == nil {
			q := &qmp{conn: conn, r: bufio.NewReader(conn)}
			if _, err = q.r.ReadString('\n'); err == nil {
				err = q.do("qmp_capabilities", nil, nil)
			}
			if err != nil {
				_ = conn.Close()
				return nil, fmt.Errorf("greet QEMU: %w", err)
			}
			return q, nil
		}
		if wait.For(ctx, 50*time.Millisecond) != nil {
			return nil, fmt.Errorf("connect to QEMU: %w", err)
		}
	}
}

func (q *qmp) close() { _ = q.conn.Close() }

// do runs a command and decodes its answer into result, if that is not nil.
func (q *qmp) do(command string, args map[string]any, result any) error {
	_ = q.conn.SetDeadline(time.Now().Add(30 * time.Second))
	req := map[string]any{"execute": command}
	if args != nil {
		req["arguments"] = args
	}
	b, err := json.Marshal(req)
	if err != nil {
		return err
	}
	if _, err := q.conn.Write(append(b, '\n')); err != nil {
		return fmt.Errorf("qmp %s: %w", command, err)
	}
	for {
		line, err := q.r.ReadBytes('\n')
		if err != nil {
			return fmt.Errorf("qmp %s: %w", command, err)
		}
		var answer struct {
			Return json.RawMessage `json:"return"`
			Error  *struct{ Class, Desc string }
		}
		if err := json.Unmarshal(line, &answer); err != nil {
			return fmt.Errorf("qmp %s: %w", command, err)
		}
		switch {
		case answer.Error != nil:
			return fmt.Errorf("qmp %s: %s", command, answer.Error.Desc)
		case answer.Return != nil && result != nil:
			return json.Unmarshal(answer.Return, result)
		case answer.Return != nil:
			return nil
		}
	}
}
