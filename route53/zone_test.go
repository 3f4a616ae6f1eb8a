package route53_test

import (
	"slices"
	"testing"

	"github.com/pgha/pgha-agent/route53"
	"github.com/pgha/pgha-agent/route53/route53test"
)

func TestZone(t *testing.T) {
	s := fake(t, route53test.Options{VPCs: []route53test.VPC{{Region: "eu-central-1", ID: "vpc-1"},
		{Region: "eu-west-1", ID: "vpc-2"}}})
	z, err := client(t, s.URL()).Zone(t.Context())
	if err != nil || z.Name != "pgha.internal" || !z.Private || !slices.Equal(z.VPCs, []string{"vpc-1", "vpc-2"}) {
		t.Errorf("%+v, %v", z, err)
	}
	_, err = client(t, s.URL(), func(o *route53.Options) { o.ZoneID = "Z0OTHER" }).Zone(t.Context())
	wantErr(t, err, route53.ReasonNoZone, true)
}
