package aws

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/aws"

	"github.com/pgha/pgha-agent/agent/aws/awstest"
)

const topic = "arn:aws:sns:eu-central-1:123456789012:pgha"

func start(t *testing.T) (*awstest.Server, *CloudWatch) {
	t.Helper()
	s := awstest.Start()
	t.Cleanup(s.Close)
	creds := sdk.CredentialsProviderFunc(func(context.Context) (sdk.Credentials, error) {
		return sdk.Credentials{AccessKeyID: awstest.AccessKey, SecretAccessKey: awstest.Secret}, nil
	})
	return s, &CloudWatch{Region: awstest.Region, Credentials: creds, Metrics: s.URL, Messages: s.URL}
}

func point(i int) Datapoint {
	return Datapoint{Name: fmt.Sprint("F", i), Value: float64(i) / 4, Unit: Seconds, At: time.Now(),
		Dimensions: [][2]string{{"Record", "db.pgha.internal"}, {"Node", "pg 1/ü&=+%~*"}}}
}

func TestPut(t *testing.T) {
	s, c := start(t)
	if err := c.Put(t.Context(), "PGHA", []Datapoint{point(1), point(2)}); err != nil {
		t.Fatal(err)
	}
	got := s.Calls("PutMetricData")[0]
	for field, want := range map[string]string{
		"Namespace": "PGHA", "MetricData.member.2.MetricName": "F2", "MetricData.member.2.Value": "0.5",
		"MetricData.member.2.Unit":                      "Seconds",
		"MetricData.member.1.Dimensions.member.2.Name":  "Node",
		"MetricData.member.1.Dimensions.member.2.Value": "pg 1/ü&=+%~*",
	} {
		if got.Get(field) != want {
			t.Errorf("%s = %q, want %q", field, got.Get(field), want)
		}
	}
}

func TestPutHoldsTheLimits(t *testing.T) {
	s, c := start(t)
	many := make([]Datapoint, MaxMetrics+1)
	for i := range many {
		many[i] = point(i)
	}
	if err := c.Put(t.Context(), "PGHA", many[:MaxMetrics]); err != nil {
		t.Errorf("%d figures: %v", MaxMetrics, err)
	}
	wide := point(1)
	for len(wide.Dimensions) <= MaxDimensions {
		wide.Dimensions = append(wide.Dimensions, [2]string{fmt.Sprint("D", len(wide.Dimensions)), "x"})
	}
	for name, points := range map[string][]Datapoint{"too many": many, "none": nil, "too many dimensions": {wide}} {
		if err := c.Put(t.Context(), "PGHA", points); err == nil {
			t.Errorf("%s: was sent", name)
		}
	}
	if n := len(s.Calls("PutMetricData")); n != 1 {
		t.Errorf("%d calls reached the service", n)
	}
	old := point(1)
	old.At = time.Now().Add(-15 * 24 * time.Hour)
	var refused *Error
	if err := c.Put(t.Context(), "PGHA", []Datapoint{old}); !errors.As(err, &refused) ||
		refused.Code != "InvalidParameterValue" || !Final(err) {
		t.Errorf("two weeks ago: %v", err)
	}
}

func TestPublishCutsWhatTheServiceWouldRefuse(t *testing.T) {
	s, c := start(t)
	if err := c.Publish(t.Context(), topic, "db.pgha.internal: operator\n on nöde, "+strings.Repeat("x", 200),
		strings.Repeat("ü", MaxMessage)); err != nil {
		t.Fatal(err)
	}
	if got := s.Calls("Publish")[0]; got.Get("TopicArn") != topic ||
		!strings.HasPrefix(got.Get("Subject"), "db.pgha.internal: operator? on n") {
		t.Errorf("sent %q to %q", got.Get("Subject"), got.Get("TopicArn"))
	}
}

func TestRefusalsAreTold(t *testing.T) {
	s, c := start(t)
	wrong := *c
	wrong.Credentials = sdk.CredentialsProviderFunc(func(context.Context) (sdk.Credentials, error) {
		return sdk.Credentials{AccessKeyID: awstest.AccessKey, SecretAccessKey: "another"}, nil
	})
	if err := wrong.Put(t.Context(), "PGHA", []Datapoint{point(1)}); err == nil ||
		!strings.Contains(err.Error(), "SignatureDoesNotMatch") || !Final(err) {
		t.Errorf("wrong secret: %v", err)
	}
	s.Fail(http.StatusServiceUnavailable)
	if err := c.Put(t.Context(), "PGHA", []Datapoint{point(1)}); err == nil || Final(err) {
		t.Errorf("503: %v, want an error that is worth another try", err)
	}
	none := *c
	none.Credentials = sdk.CredentialsProviderFunc(func(context.Context) (sdk.Credentials,
		error) {
		return sdk.Credentials{}, errors.New("no role")
	})
	if err := none.Publish(t.Context(), topic, "s", "m"); err == nil || !strings.Contains(err.Error(), "no role") {
		t.Errorf("without credentials: %v", err)
	}
}
