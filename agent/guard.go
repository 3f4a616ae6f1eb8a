package agent

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/pgha/pgha-agent/agent/fsm"
)

// guard is the last check before the request leaves: the decision is young by both clocks, the promotion is the same,
// and what must hold still holds on what is known now, which includes what DRBD and an operator have said and the loop
// has not taken in yet.
func (a *Agent) guard(ctx context.Context, w fsm.Write, mono time.Duration) error {
	boot := a.clock.Boot()
	if age := max(boot-w.Decided, a.clock.Mono()-mono); age > fsm.MaxDecisionAge {
		return fmt.Errorf("the decision is %v old: this process stalled", age)
	}
	s := a.Snapshot().State
	h := s.Safety(boot)
	s.Drbd = *a.lastDrbd.Load()
	if h |= s.Safety(boot); h != 0 {
		return fmt.Errorf("no longer allowed: %v", holdNames(h))
	}
	if until := a.pausedUntil(); until > boot {
		if a.opts.once { // or it would ask again, and not know why
			a.send(ctx, message{event: fsm.Paused{Until: until}})
		}
		return errors.New("paused meanwhile")
	}
	if s.Promotion.Claim != w.Claim || s.Promotion.Contested {
		return errors.New("the promotion has changed")
	}
	if s.Promotion.Published && !s.Repair.Pending {
		return errors.New("the claim was accepted meanwhile")
	}
	return nil
}
