// Package wait waits.
package wait

import (
	"context"
	"time"
)

// For returns nil after d, or why ctx ended before.
func For(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
