package route53

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/feature/ec2/imds"
)

const (
	imdsTimeout  = time.Second
	imdsAttempts = 2
)

// OwnAddress asks instance metadata (version 2 only) for this instance's private IPv4 address. endpoint is "" for the
// link-local address that every instance has. It takes at most 2 s: two attempts of 1 s, token included.
func OwnAddress(ctx context.Context, endpoint string) (netip.Addr, error) {
	c, stop := metadataClient(endpoint)
	defer stop()
	var errs []error
	for range imdsAttempts {
		addr, err := ownAddress(ctx, c)
		if err == nil {
			return addr, nil
		}
		errs = append(errs, err)
		if ctx.Err() != nil {
			break
		}
	}
	return netip.Addr{}, fmt.Errorf("ask instance metadata for the own address: %w", errs[len(errs)-1])
}

// metadataClient asks version 2 only, and never through a proxy. Call stop at the end.
func metadataClient(endpoint string) (c *imds.Client, stop func()) {
	tr := &http.Transport{DisableKeepAlives: true} // no proxy: the metadata service is a neighbor
	return imds.New(imds.Options{
		Endpoint:       endpoint,
		HTTPClient:     &http.Client{Transport: tr},
		Retryer:        aws.NopRetryer{},
		EnableFallback: aws.FalseTernary, // version 1 has no protection against request forgery
	}, func(o *imds.Options) { o.DisableDefaultTimeout = true }), tr.CloseIdleConnections
}

func ownAddress(ctx context.Context, c *imds.Client) (netip.Addr, error) {
	text, err := metadata(ctx, c, "local-ipv4")
	if err != nil {
		return netip.Addr{}, err
	}
	addr, err := netip.ParseAddr(text)
	if err != nil || !addr.Is4() || addr.IsUnspecified() {
		return netip.Addr{}, errors.New("the answer is not an IPv4 address")
	}
	return addr, nil
}

// metadata reads one item.
func metadata(ctx context.Context, c *imds.Client, path string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, imdsTimeout)
	defer cancel()
	out, err := c.GetMetadata(ctx, &imds.GetMetadataInput{Path: path})
	if err != nil {
		return "", err
	}
	defer func() { _ = out.Content.Close() }()
	b, err := io.ReadAll(io.LimitReader(out.Content, 256))
	return strings.TrimSpace(string(b)), err
}

// Instance is what instance metadata says of this machine.
type Instance struct {
	Addr   netip.Addr
	ID     string
	Region string
	VPC    string // id of the network of the first interface, "" when the service does not say
	V1     bool   // version 1 answers as well: anything that can be made to send a GET gets the role's credentials
}

// DescribeInstance asks instance metadata what this machine is.
func DescribeInstance(ctx context.Context, endpoint string) (Instance, error) {
	var i Instance
	var err error
	if i.Addr, err = OwnAddress(ctx, endpoint); err != nil {
		return Instance{}, err
	}
	c, stop := metadataClient(endpoint)
	defer stop()
	if i.ID, err = metadata(ctx, c, "instance-id"); err != nil {
		return Instance{}, fmt.Errorf("ask instance metadata for the instance id: %w", err)
	}
	if i.Region, err = metadata(ctx, c, "placement/region"); err != nil {
		return Instance{}, fmt.Errorf("ask instance metadata for the region: %w", err)
	}
	if mac, err := metadata(ctx, c, "mac"); err == nil {
		i.VPC, _ = metadata(ctx, c, "network/interfaces/macs/"+mac+"/vpc-id")
	}
	i.V1 = answersWithoutToken(ctx, endpoint)
	return i, nil
}

// answersWithoutToken sends a request in the form of version 1.
func answersWithoutToken(ctx context.Context, endpoint string) bool {
	if endpoint == "" {
		endpoint = "http://169.254.169.254"
	}
	ctx, cancel := context.WithTimeout(ctx, imdsTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet,
		strings.TrimSuffix(endpoint, "/")+"/latest/meta-data/instance-id", nil)
	if err != nil {
		return false
	}
	tr := &http.Transport{DisableKeepAlives: true}
	defer tr.CloseIdleConnections()
	resp, err := tr.RoundTrip(req)
	if err != nil {
		return false
	}
	_ = resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}
