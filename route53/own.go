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
	tr := &http.Transport{DisableKeepAlives: true} // no proxy: the metadata service is a neighbour
	defer tr.CloseIdleConnections()
	c := imds.New(imds.Options{
		Endpoint:       endpoint,
		HTTPClient:     &http.Client{Transport: tr},
		Retryer:        aws.NopRetryer{},
		EnableFallback: aws.FalseTernary, // version 1 has no protection against request forgery
	}, func(o *imds.Options) { o.DisableDefaultTimeout = true })
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

func ownAddress(ctx context.Context, c *imds.Client) (netip.Addr, error) {
	ctx, cancel := context.WithTimeout(ctx, imdsTimeout)
	defer cancel()
	out, err := c.GetMetadata(ctx, &imds.GetMetadataInput{Path: "local-ipv4"})
	if err != nil {
		return netip.Addr{}, err
	}
	defer func() { _ = out.Content.Close() }()
	b, err := io.ReadAll(io.LimitReader(out.Content, 256))
	if err != nil {
		return netip.Addr{}, err
	}
	addr, err := netip.ParseAddr(strings.TrimSpace(string(b)))
	if err != nil || !addr.Is4() || addr.IsUnspecified() {
		return netip.Addr{}, errors.New("the answer is not an IPv4 address")
	}
	return addr, nil
}
