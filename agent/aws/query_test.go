package aws

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
)

// network keeps where a request was going and what it was signed for.
type network struct{ host, scope string }

func (n *network) RoundTrip(r *http.Request) (*http.Response, error) {
	n.host = r.URL.Host
	_, scope, _ := strings.Cut(r.Header.Get("Authorization"), "/")
	_, scope, _ = strings.Cut(scope, "/")
	n.scope, _, _ = strings.Cut(scope, ",")
	return nil, errors.New("no network")
}

// Another address changes nothing in what a regional service's request is signed for.
func TestRequestGoesToTheRegionAndIsSignedForIt(t *testing.T) {
	for _, tt := range []struct{ region, url, host string }{
		{"eu-central-1", "", "ec2.eu-central-1.amazonaws.com"},
		{"us-gov-west-1", "", "ec2.us-gov-west-1.amazonaws.com"},
		{"cn-north-1", "", "ec2.cn-north-1.amazonaws.com.cn"},
		{"eusc-de-east-1", "", "ec2.eusc-de-east-1.amazonaws.eu"},
		{"us-iso-east-1", "", "ec2.us-iso-east-1.c2s.ic.gov"},
		{"us-isob-east-1", "", "ec2.us-isob-east-1.sc2s.sgov.gov"},
		{"eu-central-1", "https://vpce-1.ec2.eu-central-1.vpce.amazonaws.com/", "vpce-1.ec2.eu-central-1.vpce.amazonaws.com"},
		{"eu-central-1", "https://10.0.0.5/", "10.0.0.5"},
	} {
		var n network
		to := Endpoint{Service: "ec2", Region: tt.region, URL: tt.url, HTTP: &http.Client{Transport: &n},
			Credentials: sdk.CredentialsProviderFunc(func(context.Context) (sdk.Credentials, error) {
				return sdk.Credentials{AccessKeyID: "AKID", SecretAccessKey: "secret"}, nil
			})}
		if _, _, err := to.Post(t.Context(), url.Values{"Action": {"DescribeInstances"}}); err == nil {
			t.Fatal("there is a network")
		}
		if want := (network{tt.host, tt.region + "/ec2/aws4_request"}); n != want {
			t.Errorf("%+v: got %+v", tt, n)
		}
	}
}
