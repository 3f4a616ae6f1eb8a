package drbd

import (
	"slices"
	"testing"
)

// TestLostDisks: what DRBD mends by itself, by a resync or a connection, is not lost.
func TestLostDisks(t *testing.T) {
	for _, s := range append([]DiskState{DiskUnknown}, DiskStates...) {
		if want := slices.Contains([]DiskState{DiskDiskless, DiskFailed}, s); s.Lost() != want {
			t.Errorf("%s: %v", s, s.Lost())
		}
	}
}
