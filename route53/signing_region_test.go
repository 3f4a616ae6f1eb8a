package route53_test

import (
	"errors"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pgha/pgha-agent/route53"
	"github.com/pgha/pgha-agent/route53/route53test"
)

// Each partition has Route 53 in one region, and signatures are for that one, wherever the instance is.
var scopes = map[string]string{ // region of the instance: region of the signature
	"": "us-east-1", "us-east-1": "us-east-1", "eu-central-1": "us-east-1", "ap-southeast-7": "us-east-1",
	"cn-north-1": "cn-northwest-1", "cn-northwest-1": "cn-northwest-1",
	"us-gov-east-1": "us-gov-west-1", "us-gov-west-1": "us-gov-west-1",
	"us-iso-west-1": "us-iso-east-1", "us-isob-east-1": "us-isob-east-1", "us-isof-east-1": "us-isof-south-1",
	"eu-isoe-west-1": "eu-isoe-west-1", "eusc-de-east-1": "eusc-de-east-1",
}

// noRegion empties what the SDK could take a region or another kind of endpoint from.
func noRegion(t *testing.T) {
	for _, v := range []string{"AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE", "AWS_ENDPOINT_URL",
		"AWS_ENDPOINT_URL_ROUTE_53",
		"AWS_USE_FIPS_ENDPOINT", "AWS_USE_DUALSTACK_ENDPOINT"} {
		t.Setenv(v, "")
	}
}

func TestSignatureIsForThePartitionOfTheRegion(t *testing.T) {
	noRegion(t)
	for region, scope := range scopes {
		s := fake(t, route53test.Options{Scope: scope})
		for how, set := range map[string]func(*route53.Options){
			"record.region and record.endpoint_url": func(o *route53.Options) { o.Region = region },
			"AWS_REGION and record.endpoint_url":    func(*route53.Options) { t.Setenv("AWS_REGION", region) },
			"AWS_REGION and AWS_ENDPOINT_URL": func(o *route53.Options) {
				t.Setenv("AWS_REGION", region)
				t.Setenv("AWS_ENDPOINT_URL", o.EndpointURL)
				o.EndpointURL = ""
			},
		} {
			c := client(t, s.URL(), set)
			if _, err := c.Read(t.Context()); err != nil {
				t.Errorf("%q by %s: %v", region, how, err)
			}
			if _, err := c.Change(t.Context(), "C1"); route53.ReasonOf(err) != route53.ReasonInvalid { // NoSuchChange
				t.Errorf("%q by %s: %v", region, how, err)
			}
			noRegion(t)
		}
		if n := s.Count(""); n != 6 {
			t.Errorf("%q: %d calls, want 6", region, n)
		}
	}
}

func TestWrongPartitionSaysWhatToCheck(t *testing.T) {
	noRegion(t)
	s := fake(t, route53test.Options{Scope: "cn-northwest-1"})
	_, err := client(t, s.URL(), func(o *route53.Options) { o.Region = "eu-central-1" }).Read(t.Context())
	wantErr(t, err, route53.ReasonDenied, true)
	for _, says := range []string{"not 'us-east-1'", "record.region", "record.endpoint_url"} {
		if !strings.Contains(err.Error(), says) {
			t.Errorf("%v does not say %s", err, says)
		}
	}
}

var scopeOf = regexp.MustCompile(`Credential=[^/]+/\d+/([^/]+)/route53/`)

// seen is a network on which no request gets far, and which keeps where each was going and what it was signed for.
type seen []string

func (n *seen) RoundTrip(r *http.Request) (*http.Response, error) {
	line := r.Method + " " + r.URL.Host
	if m := scopeOf.FindStringSubmatch(r.Header.Get("Authorization")); m != nil {
		line += " " + m[1]
	}
	*n = append(*n, line)
	return nil, errors.New("no network")
}

// The host that Warm touches is the one that calls go to.
func TestAWSsOwnEndpoints(t *testing.T) {
	for _, tt := range []struct{ region, fips, host, scope string }{
		{"", "", "route53.amazonaws.com", "us-east-1"},
		{"eu-central-1", "", "route53.amazonaws.com", "us-east-1"},
		{"eu-central-1", "true", "route53-fips.amazonaws.com", "us-east-1"},
		{"us-gov-east-1", "", "route53.us-gov.amazonaws.com", "us-gov-west-1"},
		{"cn-north-1", "", "route53.amazonaws.com.cn", "cn-northwest-1"},
		{"eusc-de-east-1", "", "route53.amazonaws.eu", "eusc-de-east-1"},
	} {
		noRegion(t)
		t.Setenv("AWS_USE_FIPS_ENDPOINT", tt.fips)
		var network seen
		c := client(t, "", func(o *route53.Options) { o.Region, o.HTTPClient = tt.region, &http.Client{Transport: &network} })
		_ = c.Warm(t.Context())
		_, _ = c.Read(t.Context())
		if diff := cmp.Diff(seen{"HEAD " + tt.host, "GET " + tt.host + " " + tt.scope}, network); diff != "" {
			t.Errorf("%+v: %s", tt, diff)
		}
	}
}

// The SDK refuses both together with each call. It is better known at the start.
func TestFIPSAndAnotherEndpointExcludeEachOther(t *testing.T) {
	noRegion(t)
	t.Setenv("AWS_USE_FIPS_ENDPOINT", "true")
	_, err := route53.New(t.Context(), route53.Options{ZoneID: "Z1", Name: name, EndpointURL: "https://10.0.0.5"})
	if err == nil || !strings.Contains(err.Error(), "FIPS") || !strings.Contains(err.Error(), "endpoint_url") {
		t.Errorf("%v", err)
	}
}
