package main

import (
	"context"
	"os"
	"regexp"
	"sync"
	"time"

	"github.com/pgha/pgha-agent/cmd/internal/wait"
)

// history is what the lab itself saw of one node's DRBD role: the judge of who was promoted when. It does not use the
// agent's code, and its times are the host's.
type history struct {
	node string
	file *os.File // everything that was said, for the records

	mu    sync.Mutex
	roles []roleSince
}

type roleSince struct {
	role string // Primary, Secondary, Unknown, or "" while the machine is off or does not speak
	at   time.Time
}

func newHistory(node string) *history { return &history{node: node} }

var roleLine = regexp.MustCompile(`resource name:pg .*\brole:(\w+)`)

// follow keeps up with the node until ctx ends, over all its restarts.
func (h *history) follow(ctx context.Context, s *shell) {
	for ctx.Err() == nil {
		_ = s.follow(ctx, "exec drbdsetup events2 --timestamps --statistics", func(line string) {
			if h.file != nil {
				_, _ = h.file.WriteString(line + "\n")
			}
			if m := roleLine.FindStringSubmatch(line); m != nil {
				h.add(m[1], time.Now())
			}
		})
		_ = wait.For(ctx, time.Second)
	}
}

func (h *history) add(role string, at time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if n := len(h.roles); n > 0 && h.roles[n-1].role == role {
		return
	}
	h.roles = append(h.roles, roleSince{role, at})
}

// off notes that the machine lost its power.
func (h *history) off(at time.Time) { h.add("", at) }

// reset forgets everything.
func (h *history) reset() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.roles = nil
}

// at is the role the node had then.
func (h *history) at(t time.Time) (role string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, r := range h.roles {
		if r.at.After(t) {
			break
		}
		role = r.role
	}
	return role
}

// primarySince is since when the node has been Primary without a break; zero if it is not.
func (h *history) primarySince() time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	if n := len(h.roles); n > 0 && h.roles[n-1].role == "Primary" {
		return h.roles[n-1].at
	}
	return time.Time{}
}

// promotedAt is primarySince of a promotion that was seen; zero for a node that has been Primary from the first.
func (h *history) promotedAt() time.Time {
	if len(h.all()) < 2 {
		return time.Time{}
	}
	return h.primarySince()
}

func (h *history) all() []roleSince {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]roleSince{}, h.roles...)
}
