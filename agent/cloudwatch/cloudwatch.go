// Package cloudwatch sends figures to Amazon CloudWatch and messages to Amazon SNS. Both speak the AWS Query protocol, so two signed forms do
// what two more SDK modules would: the binary stays small, and the limits of the services are held here.
package cloudwatch

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/pgha/pgha-agent/agent/awsquery"
)

// Limits of the services (API references of PutMetricData and Publish).
const (
	MaxMetrics    = 1000 // figures in one request
	MaxDimensions = 30
	MaxSubject    = 100       // characters, ASCII
	MaxMessage    = 256 << 10 // bytes
)

// Unit of a figure.
type Unit string

// The units that the agent uses, of those that CloudWatch knows.
const (
	None    Unit = "None"
	Count   Unit = "Count"
	Seconds Unit = "Seconds"
)

// Figure is one value of a metric at a time.
type Figure struct {
	Name       string
	Value      float64
	Unit       Unit
	At         time.Time
	Dimensions [][2]string // name and value
}

// Client sends. It is safe for concurrent use, and never tries a second time: that is the caller's to decide.
type Client struct {
	Region      string
	Credentials aws.CredentialsProvider
	Metrics     string       // endpoint of CloudWatch; "" means that of the region
	Messages    string       // endpoint of SNS; "" means that of the region
	HTTP        *http.Client // nil means http.DefaultClient
	Now         func() time.Time
}

// Put sends figures to a namespace with PutMetricData. Their times must be within two weeks of now.
func (c *Client) Put(ctx context.Context, namespace string, figures []Figure) error {
	if len(figures) == 0 || len(figures) > MaxMetrics {
		return fmt.Errorf("put %d figures: want 1 to %d", len(figures), MaxMetrics)
	}
	form := url.Values{"Action": {"PutMetricData"}, "Version": {"2010-08-01"}, "Namespace": {namespace}}
	for i, f := range figures {
		if len(f.Dimensions) > MaxDimensions {
			return fmt.Errorf("put figure %s: %d dimensions, want at most %d", f.Name, len(f.Dimensions), MaxDimensions)
		}
		p := fmt.Sprintf("MetricData.member.%d.", i+1)
		form.Set(p+"MetricName", f.Name)
		form.Set(p+"Value", strconv.FormatFloat(f.Value, 'f', -1, 64))
		form.Set(p+"Unit", string(f.Unit))
		form.Set(p+"Timestamp", f.At.UTC().Format(time.RFC3339))
		for j, d := range f.Dimensions {
			q := fmt.Sprintf("%sDimensions.member.%d.", p, j+1)
			form.Set(q+"Name", d[0])
			form.Set(q+"Value", d[1])
		}
	}
	return c.call(ctx, "monitoring", c.Metrics, form)
}

// Publish sends a message to a topic with Publish. What is too long, or not allowed in a subject, is cut.
func (c *Client) Publish(ctx context.Context, topic, subject, message string) error {
	subject = strings.Map(func(r rune) rune {
		if r > unicode.MaxASCII || unicode.IsControl(r) {
			return '?'
		}
		return r
	}, subject)
	return c.call(ctx, "sns", c.Messages, url.Values{
		"Action": {"Publish"}, "Version": {"2010-03-31"}, "TopicArn": {topic},
		"Subject": {subject[:min(len(subject), MaxSubject)]}, "Message": {strings.ToValidUTF8(message[:min(len(message), MaxMessage)], "")},
	})
}

// call posts a signed form.
func (c *Client) call(ctx context.Context, service, endpoint string, form url.Values) error {
	status, answer, err := awsquery.Endpoint{
		Service: service, Region: c.Region, URL: endpoint, Credentials: c.Credentials, HTTP: c.HTTP, Now: c.Now,
	}.Post(ctx, form)
	if err == nil && status != http.StatusOK {
		err = &Error{Status: status, Code: errorCode(answer)}
	}
	return err
}

// Error is a refusal by the service.
type Error struct {
	Status int
	Code   string // "Throttling", "AccessDenied", "InvalidParameterValue"; "" when the answer names none
}

// Error names status and code.
func (e *Error) Error() string {
	return strings.TrimSpace(fmt.Sprintf("status %d %s", e.Status, e.Code))
}

// Final reports whether the same request would be refused again. What cannot be told may be worth another try.
func Final(err error) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && e.Status >= 400 && e.Status < 500 && e.Status != http.StatusTooManyRequests && !strings.Contains(e.Code, "Throttl") && e.Code != "ExpiredToken"
}

func errorCode(answer []byte) string {
	var doc struct {
		Code string `xml:"Error>Code"`
	}
	if xml.Unmarshal(answer, &doc) != nil || len(doc.Code) > 100 {
		return ""
	}
	return doc.Code
}
