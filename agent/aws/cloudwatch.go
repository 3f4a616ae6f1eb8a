package aws

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

	sdk "github.com/aws/aws-sdk-go-v2/aws"

	"github.com/pgha/pgha-agent/agent/internal/text"
)

// Limits of the services (API references of PutMetricData and Publish).
const (
	MaxMetrics    = 1000 // datapoints in one request
	MaxDimensions = 30
	MaxSubject    = 100       // characters, ASCII
	MaxMessage    = 256 << 10 // bytes
)

// Unit of a datapoint.
type Unit string

// The units that the agent uses, of those that CloudWatch knows.
const (
	None    Unit = "None"
	Count   Unit = "Count"
	Seconds Unit = "Seconds"
)

// Datapoint is one value of a metric at a time.
type Datapoint struct {
	Name       string
	Value      float64
	Unit       Unit
	At         time.Time
	Dimensions [][2]string // name and value
}

// CloudWatch sends datapoints to Amazon CloudWatch and messages to Amazon SNS, within the limits of both. It is safe
// for concurrent use, and never tries a second time: that is the caller's to decide.
type CloudWatch struct {
	Region      string
	Credentials sdk.CredentialsProvider
	Metrics     string       // endpoint of CloudWatch; "" means that of the region
	Messages    string       // endpoint of SNS; "" means that of the region
	HTTP        *http.Client // nil means http.DefaultClient
	Now         func() time.Time
}

// Put sends datapoints to a namespace with PutMetricData. Their times must be within two weeks of now.
func (c *CloudWatch) Put(ctx context.Context, namespace string, points []Datapoint) error {
	if len(points) == 0 || len(points) > MaxMetrics {
		return fmt.Errorf("put %d datapoints: want 1 to %d", len(points), MaxMetrics)
	}
	form := url.Values{"Action": {"PutMetricData"}, "Version": {"2010-08-01"}, "Namespace": {namespace}}
	for i, f := range points {
		if len(f.Dimensions) > MaxDimensions {
			return fmt.Errorf("put datapoint %s: %d dimensions, want at most %d", f.Name, len(f.Dimensions), MaxDimensions)
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
func (c *CloudWatch) Publish(ctx context.Context, topic, subject, message string) error {
	return c.call(ctx, "sns", c.Messages, url.Values{
		"Action": {"Publish"}, "Version": {"2010-03-31"}, "TopicArn": {topic},
		"Subject": {text.ASCII(subject, MaxSubject)},
		"Message": {text.Bound(message, MaxMessage)},
	})
}

// call posts a signed form.
func (c *CloudWatch) call(ctx context.Context, service, endpoint string, form url.Values) error {
	status, answer, err := Endpoint{
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

// Final reports whether the same request would be refused again. When that is not known, another try may succeed.
func Final(err error) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && e.Status >= 400 && e.Status < 500 && e.Status != http.StatusTooManyRequests &&
		!strings.Contains(e.Code, "Throttl") && e.Code != "ExpiredToken"
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
