// Package route53 owns the service's record: it reads it, moves it with a guard, waits for INSYNC, and asks the
// resolver what clients see. It never retries by itself: the caller decides when, and passes its own gate again each
// time.
package route53

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials/ec2rolecreds"
	"github.com/aws/aws-sdk-go-v2/feature/ec2/imds"
	"github.com/aws/aws-sdk-go-v2/service/route53"
	smithyendpoints "github.com/aws/smithy-go/endpoints"
	"github.com/aws/smithy-go/logging"
)

const (
	defaultTimeout = 3 * time.Second
	defaultTTL     = 30 * time.Second

	// renewBefore is how long before their end credentials are fetched again. Instance metadata has the next ones at
	// least five minutes before the old ones end, so asking earlier would only repeat the old ones on the write's path.
	renewBefore = 5 * time.Minute
)

// Options says which record, and how to reach the API.
type Options struct {
	ZoneID    string        // "Z123..." or "/hostedzone/Z123..."
	Name      string        // the service name, with or without the trailing dot
	TTL       time.Duration // of what is written; 0 means 30 s
	Ownership bool          // keep the TXT record that makes a write a compare-and-swap

	EndpointURL string // "" means the public endpoint
	// Region chooses the partition; "" means the SDK's own lookup without instance metadata, then us-east-1.
	Region      string
	Timeout     time.Duration           // of one attempt, credentials included; 0 means 3 s
	Credentials aws.CredentialsProvider // nil means the SDK's chain
	HTTPClient  *http.Client            // its Transport carries the calls; nil means one that keeps a connection warm

	// Observe is told about each API call: the operation's name in the API, ReasonNone when it succeeded, and the time
	// until the answer was read. Warm is not an API call.
	Observe func(op string, reason Reason, took time.Duration)
}

// Client reads and writes one record. It is safe for concurrent use.
type Client struct {
	opts     Options
	name     string // lower case, no trailing dot
	txtName  string
	api      *route53.Client
	http     *http.Client
	creds    *chain
	endpoint string
}

// New makes a Client. It reads the environment and the shared AWS files, and does not touch the network: credentials
// are fetched by the first call or by Warm.
func New(ctx context.Context, o Options) (*Client, error) {
	name, err := checkName(o.Name)
	if err != nil {
		return nil, fmt.Errorf("make route 53 client: %w", err)
	}
	o.ZoneID = strings.TrimPrefix(o.ZoneID, "/hostedzone/")
	if o.ZoneID == "" || strings.ContainsAny(o.ZoneID, "/?# ") {
		return nil, fmt.Errorf("make route 53 client: zone id %q is not one", o.ZoneID)
	}
	if o.TTL == 0 {
		o.TTL = defaultTTL
	}
	if o.TTL < time.Second || o.TTL%time.Second != 0 || o.TTL > maxTTL {
		return nil, fmt.Errorf("make route 53 client: ttl %v is not a whole number of seconds of at least 1 s", o.TTL)
	}
	if o.Timeout <= 0 {
		o.Timeout = defaultTimeout
	}

	load := []func(*config.LoadOptions) error{
		config.WithLogger(logging.Nop{}), // what fails comes back as an error
		config.WithEC2RoleCredentialOptions(func(o *ec2rolecreds.Options) {
			o.Client = imds.New(imds.Options{EnableFallback: aws.FalseTernary}) // version 2 only
		}),
		// The automatic mode of the SDK would ask instance metadata here.
		config.WithDefaultsMode(aws.DefaultsModeStandard),
		config.WithRetryer(func() aws.Retryer { return aws.NopRetryer{} }),
		config.WithCredentialsCacheOptions(func(c *aws.CredentialsCacheOptions) { c.ExpiryWindow = renewBefore }),
	}
	if o.Region != "" {
		load = append(load, config.WithRegion(o.Region))
	}
	if o.Credentials != nil {
		load = append(load, config.WithCredentialsProvider(o.Credentials))
	}
	cfg, err := config.LoadDefaultConfig(ctx, load...)
	if err != nil {
		return nil, fmt.Errorf("load aws config: %w", err)
	}
	if cfg.Region == "" {
		cfg.Region = "us-east-1" // Route 53 is global, but the SDK does nothing without a region (aws-sdk-go-v2#492)
	}

	base := http.RoundTripper(newTransport())
	if o.HTTPClient != nil {
		base = http.DefaultTransport
		if o.HTTPClient.Transport != nil {
			base = o.HTTPClient.Transport
		}
	}
	c := &Client{
		opts: o, name: name, txtName: OwnerPrefix + "." + name,
		http: &http.Client{
			Transport:     guarded{base},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		creds: &chain{cfg.Credentials},
	}
	cfg.Credentials = c.creds
	c.api = route53.NewFromConfig(cfg, func(ro *route53.Options) {
		ro.EndpointResolverV2 = scoped{route53.NewDefaultEndpointResolverV2()}
		ro.HTTPClient = c.http
		ro.Retryer = aws.NopRetryer{}
		ro.RetryMaxAttempts = 0 // AWS_MAX_ATTEMPTS must not bring the SDK's retries back
		if o.EndpointURL != "" {
			ro.BaseEndpoint = aws.String(o.EndpointURL)
		}
	})
	if c.endpoint, err = endpointOf(ctx, c.api.Options()); err != nil {
		return nil, fmt.Errorf("find the route 53 endpoint (region, endpoint_url, AWS's use_fips_endpoint): %w", err)
	}
	return c, nil
}

// scoped makes the SDK sign for the region in which the partition of Options.Region has Route 53 (us-east-1,
// cn-northwest-1, us-gov-west-1 and so on), whatever the address is. The SDK's rules say so only for AWS's own
// addresses; behind another one they sign for the configured region, which Route 53 refuses. An interface endpoint is
// such an address.
type scoped struct{ route53.EndpointResolverV2 }

// ResolveEndpoint takes the address from the SDK's rules with all parameters, and the rest from those without an
// address.
func (r scoped) ResolveEndpoint(ctx context.Context, p route53.EndpointParameters) (smithyendpoints.Endpoint, error) {
	ep, err := r.EndpointResolverV2.ResolveEndpoint(ctx, p)
	if err != nil || p.Endpoint == nil {
		return ep, err
	}
	p.Endpoint = nil
	own, err := r.EndpointResolverV2.ResolveEndpoint(ctx, p)
	ep.Properties = own.Properties
	return ep, err
}

// endpointOf applies the SDK's endpoint rules as a call does. They need no network.
func endpointOf(ctx context.Context, o route53.Options) (string, error) {
	ep, err := o.EndpointResolverV2.ResolveEndpoint(ctx, route53.EndpointParameters{
		Region: aws.String(o.Region), Endpoint: o.BaseEndpoint,
		UseDualStack: aws.Bool(o.EndpointOptions.UseDualStackEndpoint == aws.DualStackEndpointStateEnabled),
		UseFIPS:      aws.Bool(o.EndpointOptions.UseFIPSEndpoint == aws.FIPSEndpointStateEnabled),
	})
	if err != nil {
		return "", err
	}
	return strings.TrimSuffix(ep.URI.String(), "/") + "/", nil
}

// Name returns the service name as the client uses it: lower case, no trailing dot.
func (c *Client) Name() string { return c.name }

// Close gives up the warm connection. Without it that stays open for half an hour.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Credentials is where this client has its credentials from, for other services of AWS.
func (c *Client) Credentials() aws.CredentialsProvider { return c.creds }

// chain marks the errors of the credentials' source, and adds no cache: the SDK's is inside.
type chain struct{ next aws.CredentialsProvider }

func (p *chain) Retrieve(ctx context.Context) (aws.Credentials, error) {
	if p.next == nil {
		return aws.Credentials{}, &credentialsError{errors.New("no source of credentials is configured")}
	}
	v, err := p.next.Retrieve(ctx)
	if err != nil {
		return aws.Credentials{}, &credentialsError{err}
	}
	return v, nil
}

// refused makes the next call ask the source again. Credentials that AWS refuses may be of a role that was replaced
// since, and would otherwise be kept until they expire, for hours.
func (p *chain) refused() {
	if cache, ok := p.next.(*aws.CredentialsCache); ok {
		cache.Invalidate()
	}
}

// Warm makes the next call start with its first byte: it fetches credentials that end soon, and opens or exercises the
// pooled connection with an unsigned HEAD of the endpoint's root. That request names no account and no operation, so it
// is no API call and takes nothing from the account's limit; any status is a good answer. Call it every half minute or
// so: a server may close idle connections earlier than we would. When the endpoint closes the connection after such a
// request, the session cache still saves a round trip of the handshake.
func (c *Client) Warm(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, c.opts.Timeout)
	defer cancel()
	// Both are tried, so that a dead metadata service does not also cost the connection.
	_, credErr := c.creds.Retrieve(ctx)
	if credErr != nil {
		credErr = &Error{Op: "warm", Reason: classify(credErr), Err: describe(credErr)}
	}
	return errors.Join(credErr, c.touch(ctx))
}

func (c *Client) touch(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, c.endpoint, nil)
	if err != nil {
		return &Error{Op: "warm", Reason: ReasonInvalid, Err: err}
	}
	resp, err := c.http.Do(req)
	if err != nil {
		reason := classify(err)
		if reason == ReasonOther && !errors.Is(err, context.Canceled) {
			reason = ReasonNetwork
		}
		return &Error{Op: "warm", Reason: reason, Err: err}
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, maxAnswer)) // read to the end, or the connection is not kept
	_ = resp.Body.Close()
	return nil
}

// call runs one API call: bounds its time, observes it, and makes an *Error of its failure. ok checks the answer, which
// the SDK does not: it takes any well-formed XML, and no body at all, for an empty answer.
func (c *Client) call(
	ctx context.Context, what, op string, guard func() error, do func(context.Context) error, ok func() bool,
) error {
	a := &attempt{guard: guard}
	ctx, cancel := context.WithTimeout(withAttempt(ctx, a), c.opts.Timeout)
	defer cancel()
	start := time.Now()
	err := do(ctx)
	sent, status, guardErr := a.outcome()
	switch {
	case err == nil && status >= http.StatusMultipleChoices: // whatever the document says
		err = &foreignError{status}
	case err == nil && !ok():
		err = fmt.Errorf("%w (status %d)", errGarbage, status)
	case err != nil && guardErr != nil && !sent:
		err = guardErr
	}
	reason := classify(err)
	if reason == ReasonDenied && documented(err) {
		c.creds.refused()
	}
	if c.opts.Observe != nil {
		c.opts.Observe(op, reason, time.Since(start))
	}
	if err == nil {
		return nil
	}
	return &Error{Op: what, Reason: reason, Sent: sent, Foreign: status != 0 && !documented(err), Err: describe(err)}
}
