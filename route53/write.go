package route53

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/route53"
	"github.com/aws/aws-sdk-go-v2/service/route53/types"
)

// Write is one move of the record.
type Write struct {
	Base Owner      // the ownership record as Read returned it; zero when there was none
	Next Owner      // what to put in its place; its TTL is Options.TTL when zero
	Addr netip.Addr // where the name shall lead

	// Guard is asked after signing and connecting, right before the request leaves, and again when the request has to
	// move to another connection. Its error stops the write: nothing is sent, and the Error has ReasonGuard. When it
	// takes longer than the attempt's timeout, Write returns without it, and nothing is sent either. nil means yes.
	Guard func() error
}

// Write moves the record in one transactional batch: UPSERT of the address and, with Options.Ownership, DELETE of the
// ownership record exactly as read and CREATE of the next one. The pair is a compare-and-swap: when another node
// claimed in between, the whole batch fails with ReasonConflict, however late it arrives. The id is for Change.
//
// When the Error has Sent, the change may have been made or may yet be made: Read and compare the claim.
func (c *Client) Write(ctx context.Context, w Write) (changeID string, err error) {
	changes, err := c.Batch(w)
	if err != nil {
		return "", &Error{Op: "write record", Reason: ReasonInvalid, Err: err}
	}
	var out *route53.ChangeResourceRecordSetsOutput
	err = c.call(ctx, "write record", "ChangeResourceRecordSets", w.Guard, func(ctx context.Context) error {
		var err error
		out, err = c.api.ChangeResourceRecordSets(ctx, &route53.ChangeResourceRecordSetsInput{
			HostedZoneId: aws.String(c.opts.ZoneID),
			ChangeBatch:  &types.ChangeBatch{Changes: changes, Comment: aws.String("pgha-agent " + w.Next.Node)},
		})
		return err
	}, func() bool { return out != nil && out.ChangeInfo != nil && aws.ToString(out.ChangeInfo.Id) != "" })
	if err != nil {
		return "", err
	}
	return strings.TrimPrefix(*out.ChangeInfo.Id, "/change/"), nil
}

// Batch is what Write sends. It refuses what would break the compare-and-swap.
func (c *Client) Batch(w Write) ([]types.Change, error) {
	if !w.Addr.Is4() {
		return nil, errors.New("the address is not IPv4")
	}
	changes := []types.Change{change(types.ChangeActionUpsert, c.name, types.RRTypeA, c.opts.TTL, w.Addr.String())}
	if !c.opts.Ownership {
		return changes, nil
	}
	if err := w.Next.check(); err != nil {
		return nil, fmt.Errorf("next owner: %w", err)
	}
	switch {
	case w.Next.Addr != w.Addr:
		return nil, fmt.Errorf("the next owner states %s, the record would lead to %s", w.Next.Addr, w.Addr)
	case w.Next.Epoch <= w.Base.Epoch:
		return nil, fmt.Errorf("epoch %d does not follow epoch %d", w.Next.Epoch, w.Base.Epoch)
	case !w.Base.IsZero() && w.Base.Raw == "":
		return nil, errors.New("the base owner lacks the value as read")
	}
	if !w.Base.IsZero() {
		changes = append(changes, change(types.ChangeActionDelete, c.txtName, types.RRTypeTxt, w.Base.TTL, w.Base.Raw))
	}
	ttl := w.Next.TTL
	if ttl == 0 {
		ttl = c.opts.TTL
	}
	return append(changes, change(types.ChangeActionCreate, c.txtName, types.RRTypeTxt, ttl, w.Next.String())), nil
}

func change(action types.ChangeAction, name string, typ types.RRType, ttl time.Duration, value string) types.Change {
	return types.Change{Action: action, ResourceRecordSet: &types.ResourceRecordSet{
		Name: aws.String(name + "."), Type: typ, TTL: aws.Int64(int64(ttl / time.Second)),
		ResourceRecords: []types.ResourceRecord{{Value: aws.String(value)}},
	}}
}

// Change reports whether all authoritative servers have the change. It says nothing about resolvers' caches.
func (c *Client) Change(ctx context.Context, id string) (insync bool, err error) {
	var out *route53.GetChangeOutput
	err = c.call(ctx, "get change", "GetChange", nil, func(ctx context.Context) error {
		var err error
		out, err = c.api.GetChange(ctx, &route53.GetChangeInput{Id: aws.String(id)})
		return err
	}, func() bool {
		return out != nil && out.ChangeInfo != nil &&
			(out.ChangeInfo.Status == types.ChangeStatusInsync || out.ChangeInfo.Status == types.ChangeStatusPending)
	})
	if err != nil {
		return false, err
	}
	return out.ChangeInfo.Status == types.ChangeStatusInsync, nil
}
