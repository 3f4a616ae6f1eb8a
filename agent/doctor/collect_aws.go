package doctor

import (
	"context"

	"github.com/pgha/pgha-agent/route53"
)

func collectInstance(ctx context.Context, f *Facts) error {
	i, err := route53.DescribeInstance(ctx, f.Options.IMDS)
	if err != nil {
		return absent(unknown("%s", oneLine(err.Error())).remedy(
			"`aws ec2 modify-instance-metadata-options --instance-id ID --http-endpoint enabled --http-tokens required " +
				"--http-put-response-hop-limit 1`"))
	}
	f.Instance = &i
	return nil
}

// recordAnswer is what a read of the record gave: the record, or why there is none.
type recordAnswer struct {
	Record route53.Record
	Err    error
}

func collectRecord(ctx context.Context, f *Facts) error {
	c, err := f.route53Client()
	if err != nil {
		return err
	}
	rec, err := c.Read(ctx)
	f.Record = &recordAnswer{rec, err}
	return nil
}

func collectTryWrite(ctx context.Context, f *Facts) error {
	if f.Record == nil || f.Record.Err != nil {
		return absent(unknown("the record could not be read, so no write was tried").remedy(
			"first fix what the check route53-read reports"))
	}
	c, err := f.route53Client()
	if err != nil {
		return err
	}
	f.TryWrite = c.TryWrite(ctx, f.Record.Record)
	return nil
}

func collectZone(ctx context.Context, f *Facts) error {
	c, err := f.route53Client()
	if err != nil {
		return err
	}
	z, err := c.Zone(ctx)
	if err != nil {
		return absent(unknown("%s", oneLine(err.Error())).remedy(
			"allow route53:GetHostedZone on the zone, as deploy/iam-policy.json does"))
	}
	f.Zone = &z
	return nil
}
