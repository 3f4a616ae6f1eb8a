package pg

import (
	"context"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

func newClient(t testing.TB, dsn string, resolve func(context.Context, string) ([]string, error)) *Client {
	t.Helper()
	c, err := NewClient(dsn, resolve)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// checkHealth holds what is true of every Health.
func checkHealth(t testing.TB, h Health) {
	t.Helper()
	if !slices.Contains(States, h.State) {
		t.Errorf("state %q is none of States", h.State)
	}
	answered := h.State == StateWritable || h.State == StateReadOnly && h.Err == "" || h.State == StateInRecovery
	if answered != (h.Err == "") {
		t.Errorf("state %s with error %q", h.State, h.Err)
	}
	if !answered && (h.Version != 0 || h.LSN != 0 || h.Replicas != nil || h.Slots != nil) {
		t.Errorf("values and an error: %+v", h)
	}
	if !utf8.ValidString(h.Err) || strings.ContainsAny(h.Err, "\n\r\x00") || strings.Contains(h.Err, testPassword) {
		t.Errorf("err %q", h.Err)
	}
}
