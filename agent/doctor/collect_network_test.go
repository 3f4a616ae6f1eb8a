package doctor

import (
	"context"
	"net"
	"net/netip"
	"testing"
)

func TestDial(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	to := netip.MustParseAddrPort(l.Addr().String())
	if got := dial(t.Context(), to); got != reachOpen {
		t.Errorf("open port: %s", got)
	}
	l.Close()
	if got := dial(t.Context(), to); got != reachRefused {
		t.Errorf("closed port: %s", got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if got := dial(ctx, to); got != reachSilent {
		t.Errorf("no answer: %s", got)
	}
}
