package alertsock

import (
	"bytes"
	"context"
	"io"
	"net"
	"testing"

	"github.com/pgha/pgha-agent/crm"
)

// FuzzAlertFrame sends bytes to the alert socket, as anybody who may connect can.
func FuzzAlertFrame(f *testing.F) {
	f.Add([]byte(`{"kind":"resource","sequence":4,"at":"2026-11-23T00:52:38.012007Z","node":"a","task":"promote","rc":0}` +
		"\n"))
	f.Add([]byte("\n"))
	f.Add([]byte(`{"kind":"node"`))
	f.Add([]byte("\x00\xff{\n{}\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		here, there := net.Pipe()
		delivered := 0
		s := &alertServer{AlertServer: AlertServer{
			Deliver:  func(context.Context, crm.Alert, uint32) error { delivered++; return nil },
			AllowUID: func(uint32) bool { return true },
			Counters: &AlertCounters{},
		}}
		go func() {
			_, _ = here.Write(data) // the server may have had enough
			if !bytes.Contains(data, []byte("\n")) {
				_ = here.Close()
			}
			_, _ = io.Copy(io.Discard, here)
		}()
		s.take(t.Context(), there, 0)
		_ = there.Close()
		c := s.Counters
		if n := c.Received.Load() + c.Malformed.Load(); n != 1 || uint64(delivered) != c.Received.Load() {
			t.Fatalf("received %d, malformed %d, delivered %d", c.Received.Load(), c.Malformed.Load(), delivered)
		}
	})
}
