package route53

import (
	"context"
	"errors"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/route53"
	"github.com/aws/aws-sdk-go-v2/service/route53/types"
	"github.com/google/uuid"
)

// ErrAccepted is what TryWrite returns when the API did what it must not do. Nothing was changed that was not so
// before.
var ErrAccepted = errors.New("the API accepted a batch that it had to refuse")

// TryWrite finds out whether a Write would be allowed, and changes nothing: it sends a batch that Route 53 must refuse
// for its content, which it looks at only when the caller may write. nil means that it was refused in that way.
//
// Three things keep it from changing anything. The first change deletes a value that was made up for this call and
// stands nowhere; a batch is transactional, so what follows is not done either. And what follows is what rec, just
// read, already holds: an UPSERT of the same address and TTL, and a CREATE of the TXT record that exists. They are
// there because a policy may allow actions one by one.
func (c *Client) TryWrite(ctx context.Context, rec Record) error {
	err := c.call(ctx, "try to write", "ChangeResourceRecordSets", nil, func(ctx context.Context) error {
		_, err := c.api.ChangeResourceRecordSets(ctx, &route53.ChangeResourceRecordSetsInput{
			HostedZoneId: aws.String(c.opts.ZoneID),
			ChangeBatch: &types.ChangeBatch{
				Changes: c.refusedBatch(rec),
				Comment: aws.String("pgha-agent doctor: meant to be refused"),
			},
		})
		return err
	}, func() bool { return true })
	switch ReasonOf(err) {
	case ReasonNone:
		return &Error{Op: "try to write", Reason: ReasonOther, Sent: true, Err: ErrAccepted}
	case ReasonConflict:
		return nil
	}
	return err
}

// refusedBatch begins with what cannot be done.
func (c *Client) refusedBatch(rec Record) []types.Change {
	if !c.opts.Ownership {
		// The policy may know no TXT record. No agent ever wrote an address that is reserved for documentation.
		return []types.Change{change(types.ChangeActionDelete, c.name, types.RRTypeA, maxTTL, "192.0.2.1")}
	}
	changes := []types.Change{change(types.ChangeActionDelete, c.txtName, types.RRTypeTxt, maxTTL,
		`"pgha-agent doctor `+uuid.NewString()+`"`)}
	if !rec.Owner.IsZero() {
		changes = append(changes, change(types.ChangeActionCreate, c.txtName, types.RRTypeTxt, rec.Owner.TTL, rec.Owner.Raw))
	}
	if rec.Addr.IsValid() {
		changes = append(changes, change(types.ChangeActionUpsert, c.name, types.RRTypeA, rec.TTL, rec.Addr.String()))
	}
	return changes
}
