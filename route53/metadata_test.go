package route53_test

import (
	"net/http/httptest"
	"testing"
	"time"

	"github.com/pgha/pgha-agent/route53"
	"github.com/pgha/pgha-agent/route53/route53test"
)

func TestOwnAddress(t *testing.T) {
	m := &route53test.IMDS{LocalIPv4: "10.0.1.10"}
	srv := httptest.NewServer(m)
	defer srv.Close()
	defer m.Close()
	t.Setenv("AWS_EC2_METADATA_DISABLED", "")
	if addr, err := route53.OwnAddress(t.Context(), srv.URL); err != nil || addr != addrA {
		t.Errorf("%v, %v", addr, err)
	}
	for mode, what := range map[route53test.IMDSMode]string{
		route53test.IMDSHang: "hang", route53test.IMDSNotFound: "not found", route53test.IMDSDisabled: "disabled",
	} {
		m.SetMode(mode)
		start := time.Now()
		addr, err := route53.OwnAddress(t.Context(), srv.URL)
		if took := time.Since(start); err == nil || addr.IsValid() || took > 3*time.Second {
			t.Errorf("%s: %v, %v in %v", what, addr, err, took)
		}
	}
	m.SetMode(route53test.IMDSv2Only)
	m.LocalIPv4 = "<html>"
	if addr, err := route53.OwnAddress(t.Context(), srv.URL); err == nil {
		t.Errorf("garbage: %v", addr)
	}
}

func TestDescribeInstance(t *testing.T) {
	m := &route53test.IMDS{LocalIPv4: "10.0.1.10", InstanceID: "i-00000000000000001", Zone: "eu-central-1a", VPC: "vpc-1"}
	srv := httptest.NewServer(m)
	t.Cleanup(func() { m.Close(); srv.Close() })
	want := route53.Instance{Addr: addrA, ID: m.InstanceID, Region: "eu-central-1", VPC: "vpc-1"}
	if got, err := route53.DescribeInstance(t.Context(), srv.URL); err != nil || got != want {
		t.Errorf("%+v, %v", got, err)
	}
	m.SetMode(route53test.IMDSv1Too)
	want.V1 = true
	if got, err := route53.DescribeInstance(t.Context(), srv.URL); err != nil || got != want {
		t.Errorf("with version 1: %+v, %v", got, err)
	}
	m.SetMode(route53test.IMDSDisabled)
	if got, err := route53.DescribeInstance(t.Context(), srv.URL); err == nil {
		t.Errorf("switched off: %+v", got)
	}
}
