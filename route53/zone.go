package route53

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/route53"
)

// Zone is the hosted zone of the record.
type Zone struct {
	Name    string   // lower case, no trailing dot
	Private bool     // only the associated networks resolve it
	VPCs    []string // ids of the associated networks
}

// Zone asks for the hosted zone. It needs route53:GetHostedZone, which the agent itself does without.
func (c *Client) Zone(ctx context.Context) (Zone, error) {
	var out *route53.GetHostedZoneOutput
	err := c.call(ctx, "read zone", "GetHostedZone", nil, func(ctx context.Context) (err error) {
		out, err = c.api.GetHostedZone(ctx, &route53.GetHostedZoneInput{Id: aws.String(c.opts.ZoneID)})
		return err
	}, func() bool { return out != nil && out.HostedZone != nil })
	if err != nil {
		return Zone{}, err
	}
	z := Zone{
		Name:    normalName(aws.ToString(out.HostedZone.Name)),
		Private: out.HostedZone.Config != nil && out.HostedZone.Config.PrivateZone,
	}
	for _, v := range out.VPCs {
		z.VPCs = append(z.VPCs, aws.ToString(v.VPCId))
	}
	return z, nil
}
