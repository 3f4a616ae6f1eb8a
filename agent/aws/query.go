// Package aws asks the services of AWS of which the agent needs one or two actions: EC2, CloudWatch and SNS. They speak
// the AWS Query protocol: a signed form. The SDK's modules for the three would cost 7 % of the binary and 13 % of the
// CPU time of each start, which an alert hook pays too, and compiling the one for EC2 takes 2.9 GB of memory.
package aws

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

// maxAnswer bounds what is read of an answer, in bytes.
const maxAnswer = 64 << 10

// Endpoint is where a service is asked, and as whom. These services are regional: a signature is for Region, whatever
// the URL is. Route 53 is not like that, and has its own client.
type Endpoint struct {
	Service     string // as in its host name, and in signatures: "ec2", "monitoring", "sns"
	Region      string
	URL         string // "" means the service's own in the region
	Credentials sdk.CredentialsProvider
	HTTP        *http.Client     // nil means http.DefaultClient
	Now         func() time.Time // nil means time.Now
}

// Post sends the form once and returns the answer, whatever its status. The error is that there was none.
func (e Endpoint) Post(ctx context.Context, form url.Values) (status int, answer []byte, err error) {
	target := e.URL
	if target == "" {
		target = "https://" + e.Service + "." + e.Region + "." + suffix(e.Region) + "/"
	}
	body := form.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, target, strings.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
	keys, err := e.Credentials.Retrieve(ctx)
	if err != nil {
		return 0, nil, fmt.Errorf("get credentials: %w", err)
	}
	now := time.Now
	if e.Now != nil {
		now = e.Now
	}
	sum := sha256.Sum256([]byte(body))
	if err := v4.NewSigner().SignHTTP(ctx, keys, req, hex.EncodeToString(sum[:]), e.Service, e.Region, now()); err != nil {
		return 0, nil, fmt.Errorf("sign: %w", err)
	}
	client := e.HTTP
	if client == nil {
		client = http.DefaultClient
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	if answer, err = io.ReadAll(io.LimitReader(resp.Body, maxAnswer)); err != nil {
		return 0, nil, fmt.Errorf("read answer: %w", err)
	}
	return resp.StatusCode, answer, nil
}

// suffixes are the domains of the partitions that have their own, by the beginning of their regions' names, as the
// SDK's endpoint rules have them.
var suffixes = map[string]string{
	"cn-": "amazonaws.com.cn", "eusc-": "amazonaws.eu",
	"us-iso-": "c2s.ic.gov", "us-isob-": "sc2s.sgov.gov", "us-isof-": "csp.hci.ic.gov", "eu-isoe-": "cloud.adc-e.uk",
}

// suffix is the domain of a region's partition.
func suffix(region string) string {
	for prefix, domain := range suffixes {
		if strings.HasPrefix(region, prefix) {
			return domain
		}
	}
	return "amazonaws.com"
}
