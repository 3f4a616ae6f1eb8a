package route53

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/route53"
	"github.com/aws/aws-sdk-go-v2/service/route53/types"
)

const (
	// pageSize is enough for what can stand between db.x and _pgha.db.x in the zone's order: the other types at db.x, and
	// children of db.x whose label sorts before "_pgha" (Route 53 sorts by reversed labels).
	pageSize = 10

	maxTTL = (1<<31 - 1) * time.Second // RFC 2181, section 8
)

// Read gets the address record and the ownership record. It takes one API call, or two when other records push the
// ownership record out of the first page. A record that must not be overwritten gives ReasonRefusedRecord.
func (c *Client) Read(ctx context.Context) (Record, error) {
	sets, truncated, err := c.list(ctx, c.name)
	if err != nil {
		return Record{}, err
	}
	hasTXT := func(s types.ResourceRecordSet) bool { return setName(s) == c.txtName && s.Type == types.RRTypeTxt }
	// The second call does not rely on our idea of the zone's order: being wrong there would be read as "no owner".
	if c.opts.Ownership && truncated && !slices.ContainsFunc(sets, hasTXT) {
		more, _, err := c.list(ctx, c.txtName)
		if err != nil {
			return Record{}, err
		}
		sets = append(sets, more...)
	}
	rec, err := c.interpret(sets)
	if err != nil {
		return Record{}, &Error{Op: "read record", Reason: ReasonRefusedRecord, Sent: true, Err: err,
			Named: slices.ContainsFunc(sets, c.leadsClients)}
	}
	return rec, nil
}

// leadsClients reports a record set that a client of the name is answered, of whatever form.
func (c *Client) leadsClients(s types.ResourceRecordSet) bool {
	return setName(s) == c.name && (s.Type == types.RRTypeA || s.Type == types.RRTypeAaaa || s.Type == types.RRTypeCname)
}

func (c *Client) list(ctx context.Context, from string) (sets []types.ResourceRecordSet, truncated bool, err error) {
	var out *route53.ListResourceRecordSetsOutput
	err = c.call(ctx, "read record", "ListResourceRecordSets", nil, func(ctx context.Context) error {
		var err error
		out, err = c.api.ListResourceRecordSets(ctx, &route53.ListResourceRecordSetsInput{
			HostedZoneId:    aws.String(c.opts.ZoneID),
			StartRecordName: aws.String(from),
			StartRecordType: types.RRTypeA, // the first in the order of types
			MaxItems:        aws.Int32(pageSize),
		})
		return err
	}, func() bool {
		// Each real answer repeats MaxItems. Without this an empty body would read as "no record".
		return out != nil && out.MaxItems != nil
	})
	if err != nil {
		return nil, false, err
	}
	return out.ResourceRecordSets, out.IsTruncated, nil
}

// interpret picks our two records out of the listing, and refuses what a write would destroy.
func (c *Client) interpret(sets []types.ResourceRecordSet) (Record, error) {
	var rec Record
	for _, s := range sets {
		switch name := setName(s); {
		case name == c.name:
			switch s.Type {
			case types.RRTypeA:
				value, ttl, err := simple(s)
				if err != nil {
					return Record{}, err
				}
				addr, err := netip.ParseAddr(value)
				if err != nil || !addr.Is4() {
					return Record{}, fmt.Errorf("the A record %s holds %q, which is not an IPv4 address", name, shorten(value))
				}
				rec.Addr, rec.TTL = addr, ttl
			case types.RRTypeAaaa, types.RRTypeCname:
				return Record{}, fmt.Errorf("there is a %s record at %s beside which no A record can lead clients; remove it, or "+
					"choose another name", s.Type, name)
			}
		case name == c.txtName && c.opts.Ownership:
			if s.Type != types.RRTypeTxt {
				if s.Type == types.RRTypeCname {
					return Record{}, fmt.Errorf("there is a CNAME record at %s where the ownership record belongs; remove it", name)
				}
				continue
			}
			value, ttl, err := simple(s)
			if err != nil {
				return Record{}, err
			}
			owner, err := ParseOwner(value)
			if err != nil {
				return Record{}, fmt.Errorf("the TXT record %s holds %q, which this version did not write (%w); remove it when "+
					"nothing else needs it", name, shorten(value), err)
			}
			owner.TTL = ttl
			rec.Owner = owner
		}
	}
	return rec, nil
}

// simple returns the one value of a plain record set.
func simple(s types.ResourceRecordSet) (value string, ttl time.Duration, err error) {
	what := string(s.Type) + " record " + setName(s)
	const remedy = "; delete it in Route 53 so that the agent can create a simple one, or choose another name"
	switch {
	case s.AliasTarget != nil:
		return "", 0, fmt.Errorf("the %s is an alias of %s"+remedy, what, shorten(aws.ToString(s.AliasTarget.DNSName)))
	case s.SetIdentifier != nil:
		return "", 0, fmt.Errorf("the %s has the routing policy %q (set identifier %q)"+remedy, what, policy(s),
			shorten(*s.SetIdentifier))
	case s.TrafficPolicyInstanceId != nil:
		return "", 0, fmt.Errorf("the %s belongs to a traffic policy"+remedy, what)
	case s.HealthCheckId != nil:
		return "", 0, fmt.Errorf("the %s has a health check, which a write would remove"+remedy, what)
	case len(s.ResourceRecords) != 1:
		return "", 0, fmt.Errorf("the %s has %d values, want 1"+remedy, what, len(s.ResourceRecords))
	case s.TTL == nil || *s.TTL < 0 || *s.TTL > int64(maxTTL/time.Second):
		return "", 0, fmt.Errorf("the %s has no valid TTL", what)
	}
	return aws.ToString(s.ResourceRecords[0].Value), time.Duration(*s.TTL) * time.Second, nil
}

// policy names a routing policy as the console does.
func policy(s types.ResourceRecordSet) string {
	switch {
	case s.Weight != nil:
		return "weighted"
	case s.Region != "":
		return "latency"
	case s.Failover != "":
		return "failover"
	case s.GeoLocation != nil:
		return "geolocation"
	case s.GeoProximityLocation != nil:
		return "geoproximity"
	case s.CidrRoutingConfig != nil:
		return "IP-based"
	case aws.ToBool(s.MultiValueAnswer):
		return "multivalue answer"
	}
	return "unknown"
}

func setName(s types.ResourceRecordSet) string { return normalName(aws.ToString(s.Name)) }

// normalName makes names comparable: lower case, no trailing dot, and Route 53's octal escapes (\052 for *) undone.
func normalName(s string) string {
	s = strings.TrimSuffix(s, ".")
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if v, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(v))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return strings.ToLower(b.String())
}

// checkName accepts host names: what a client of the database would connect to.
func checkName(name string) (string, error) {
	n := strings.ToLower(strings.TrimSuffix(name, "."))
	if n == "" {
		return "", errors.New("the record name is empty")
	}
	if len(OwnerPrefix)+1+len(n) > 253 {
		return "", fmt.Errorf("the record name has %d characters, which leaves no room for %s", len(n), OwnerPrefix)
	}
	for label := range strings.SplitSeq(n, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return "", fmt.Errorf("the record name %q has the bad label %q", name, label)
		}
		for _, r := range label {
			if (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' && r != '_' {
				return "", fmt.Errorf("the record name %q has the bad character %q", name, r)
			}
		}
	}
	return n, nil
}
