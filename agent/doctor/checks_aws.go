package doctor

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/pgha/pgha-agent/route53"
)

var awsChecks = []Check{
	{
		Name: "imds-v2", Area: AWS, Needs: []Source{fromInstance},
		Want: "instance metadata answers in version 2 only",
		Why: "With version 1, any program here that can be made to fetch a URL hands out the role's credentials: those " +
			"that stop machines and move the record.",
		Remedy: "aws ec2 modify-instance-metadata-options --instance-id INSTANCE --http-tokens required",
		Judge: func(f *Facts) Finding {
			if f.Instance.V1 {
				return warn("version 1 answers as well").remedy(
					"aws ec2 modify-instance-metadata-options --instance-id %s --http-tokens required", f.Instance.ID)
			}
			return pass("instance %s", f.Instance.ID)
		},
	},
	{
		Name: "own-address", Area: AWS, Needs: []Source{fromInstance},
		Want:   "the address to publish is this instance's",
		Why:    "Otherwise the record leads clients to another machine after a failover.",
		Remedy: `in the agent's configuration: address = "imds", or this instance's private address`,
		Judge: func(f *Facts) Finding {
			if f.Options.Address == "imds" {
				return pass("%s, from instance metadata", f.Instance.Addr)
			}
			if own, err := netip.ParseAddr(f.Options.Address); err != nil || own != f.Instance.Addr {
				return fail("node.address is %s, the instance's is %s", f.Options.Address, f.Instance.Addr)
			}
			return pass("%s", f.Instance.Addr)
		},
	},
	{
		Name: "fence-instance", Area: AWS, Needs: []Source{fromCIB, fromInstance},
		Want: "the fence device for this node names this instance",
		Why: "After an instance was replaced, its old id stays in the device: fencing then stops nothing, or another " +
			"machine.",
		Remedy: "pcs stonith update DEVICE pcmk_host_map=\"{node}:INSTANCE;...\"",
		Judge:  judgeFenceInstance,
	},
	{
		Name: "fence-permissions", Area: AWS, Needs: []Source{fromPower},
		Want: "EC2 would let the fence devices describe, stop and start their instances (asked with DryRun, nothing is " +
			"done)",
		Why: "A fence device without permission fails only when it is needed.",
		Remedy: "allow ec2:DescribeInstances on *, ec2:StopInstances and ec2:StartInstances on the cluster's instances " +
			"for the role of both nodes",
		Judge: judgePower,
	},
	{
		Name: "route53-read", Area: AWS, Needs: []Source{fromRecord},
		Want: "the record can be read",
		Why: "The agent reads the record before each write. Without permission or network nothing is published at a " +
			"failover.",
		Remedy: "see the reason: credentials (instance profile), denied (deploy/iam-policy.json), network (NAT or " +
			"PrivateLink with record.endpoint_url)",
		Judge: func(f *Facts) Finding {
			switch err := f.Record.Err; route53.ReasonOf(err) {
			case route53.ReasonNone:
				return pass("owner %s, epoch %d", orNobody(f.Record.Record.Owner.Node), f.Record.Record.Owner.Epoch)
			case route53.ReasonRefusedRecord: // it was read; what it is has a check of its own
				return pass("it can, see record-simple")
			case route53.ReasonThrottled, route53.ReasonPriorRequest, route53.ReasonServer: // not for long
				return unknown("%s", oneLine(err.Error())).remedy("try again in a minute")
			default:
				return failedCall(err)
			}
		},
	},
	{
		Name: "route53-write", Area: AWS, Needs: []Source{fromTryWrite},
		Want:   "the record could be written (tried with a batch that Route 53 must refuse)",
		Why:    "A missing permission is otherwise found at the first failover to this node.",
		Remedy: "attach deploy/iam-policy.json with the zone's id and both names to the role of both nodes",
		Judge: func(f *Facts) Finding {
			// Every answer is an error here, because the batch must be refused: for its content when this role may write, and
			// for the role when it may not.
			err := f.TryWrite
			if errors.Is(err, route53.ErrAccepted) {
				return fail("%s: it does not guard a write either",
					oneLine(err.Error())).remedy("is record.endpoint_url Route 53? See the manual test in docs/design.md")
			}
			switch route53.ReasonOf(err) {
			case route53.ReasonNone:
				return pass("refused for its content only, as it should be")
			case route53.ReasonDenied, route53.ReasonCredentials, route53.ReasonNoZone:
				return failedCall(err)
			case route53.ReasonInvalid:
				return unknown("refused in words that this version does not know: %s",
					oneLine(err.Error())).remedy("see the manual test in docs/design.md")
			default:
				return unknown("%s", oneLine(err.Error())).remedy("try again in a minute")
			}
		},
	},
	{
		Name: "zone-private", Area: AWS, Needs: []Source{fromZone}, Also: []Source{fromInstance},
		Want: "the zone is private, holds the record's name, and is associated with this network",
		Why: "A public zone shows private addresses to everybody. A private zone that is not associated with this " +
			"network cannot be resolved here.",
		Remedy: "aws route53 associate-vpc-with-hosted-zone --hosted-zone-id ZONE --vpc VPCRegion=REGION,VPCId=VPC",
		Judge:  judgeZone,
	},
	{
		Name: "record-simple", Area: AWS, Needs: []Source{fromRecord},
		Want:   "the name has one plain A record, or none yet",
		Why:    "An alias, a routing policy or several values are never overwritten: the agent refuses to publish.",
		Remedy: "delete the record in Route 53, or choose another name in record.name",
		Judge: func(f *Facts) Finding {
			err := f.Record.Err
			switch {
			case route53.ReasonOf(err) == route53.ReasonRefusedRecord:
				return fail("%s", oneLine(err.Error()))
			case err != nil:
				return unknown("%s", oneLine(err.Error())).remedy("first fix what the check route53-read reports")
			case !f.Record.Record.Addr.IsValid():
				return pass("there is none yet")
			}
			return pass("%s", f.Record.Record.Addr)
		},
	},
	{
		Name: "record-ttl", Area: AWS, Needs: []Source{fromRecord},
		Want:   "the record's TTL is at most 60 s",
		Why:    "Clients and resolvers use the old address for this long after a failover.",
		Remedy: `in the agent's configuration: ttl = "10s"; the next publication writes it`,
		Judge: func(f *Facts) Finding {
			if f.Record.Err != nil && route53.ReasonOf(f.Record.Err) != route53.ReasonRefusedRecord {
				return unknown("%s", oneLine(f.Record.Err.Error())).remedy("first fix what the check route53-read reports")
			}
			// The longer of the two: the zone's is in the resolvers' caches now, the configured one will be after the next
			// write.
			if ttl := max(f.Record.Record.TTL, f.Options.Record.TTL); ttl > time.Minute {
				return warn("%s in the zone, %s in the configuration", f.Record.Record.TTL, f.Options.Record.TTL)
			}
			return pass("%s", f.Options.Record.TTL)
		},
	},
	{
		Name: "resolver", Area: AWS, Needs: []Source{fromResolver}, Also: []Source{fromRecord},
		Want:   "this machine's resolver answers with the one address of the zone",
		Why:    "What clients see is the resolver's answer.",
		Remedy: "wait for the TTL and look again; then /etc/resolv.conf, and the zone's association with this VPC",
		Judge: func(f *Facts) Finding {
			var rec netip.Addr
			if f.Record != nil && f.Record.Err == nil {
				rec = f.Record.Record.Addr
			}
			switch {
			case len(f.Resolved) != 1:
				return fail("%d addresses: %v", len(f.Resolved), f.Resolved)
			case rec.IsValid() && rec != f.Resolved[0]:
				return warn("%s, the zone has %s", f.Resolved[0], rec)
			}
			return pass("%s", f.Resolved[0])
		},
	},
}

// judgeFenceInstance compares the device's parameter with what instance metadata says of this machine. Only this node
// can be checked that way: the peer's id is in the peer's metadata only.
func judgeFenceInstance(f *Facts) Finding {
	var named []string
	for _, d := range activeDevices(f.CIB) {
		targets, _ := d.FenceTargets()
		if !slices.Contains(targets, f.Options.Node) {
			continue
		}
		id := fencePlug(d, f.Options.Node)
		if !instanceID.MatchString(id) {
			continue
		}
		if id != f.Instance.ID {
			return fail("%s fences %s, this node is %s", d.ID, id, f.Instance.ID).
				remedy("pcs stonith update %s: replace %s by %s in pcmk_host_map or plug", d.ID, id, f.Instance.ID)
		}
		named = append(named, d.ID)
	}
	if len(named) == 0 {
		return skip("no device names an instance for this node")
	}
	return pass("%s names %s", strings.Join(named, ", "), f.Instance.ID)
}

// judgePower takes DryRunOperation for a yes: EC2 answers a dry run with an error in any case, and with
// UnauthorizedOperation when the caller may not (EC2 API reference, StopInstances, DryRun). An instance id that EC2
// does not know is as bad as a missing permission. Anything else, like throttling, proves nothing.
func judgePower(f *Facts) Finding {
	var denied, odd []string
	for _, a := range f.Power {
		switch {
		case a.Err != nil:
			odd = append(odd, fmt.Sprintf("%s %s: %s", a.Action, a.Instance, oneLine(a.Err.Error())))
		case a.Code == "DryRunOperation":
		case a.Code == "UnauthorizedOperation" || a.Code == "AuthFailure" || strings.HasPrefix(a.Code, "InvalidInstanceID"):
			denied = append(denied, fmt.Sprintf("%s %s: %s", a.Action, a.Instance, a.Code))
		default:
			odd = append(odd, fmt.Sprintf("%s %s: %s: %s", a.Action, a.Instance, a.Code, a.Message))
		}
	}
	switch {
	case len(denied) > 0:
		return fail("%s", strings.Join(denied, "; "))
	case len(odd) > 0:
		return unknown("%s", strings.Join(odd,
			"; ")).remedy(
			"can this node reach the EC2 API of its region (NAT, or a VPC endpoint)? The fence device needs it too")
	}
	return pass("%d dry runs", len(f.Power))
}

// judgeZone cannot fail a private zone when this instance's network is not known: the association may be right.
func judgeZone(f *Facts) Finding {
	z := f.Zone
	name := strings.ToLower(strings.TrimSuffix(f.Options.Record.Name, "."))
	switch {
	case name != z.Name && !strings.HasSuffix(name, "."+z.Name):
		return fail("%s is not in zone %s", name, z.Name).remedy("record.zone_id or record.name in the agent's configuration")
	case !z.Private:
		return warn("zone %s is public", z.Name).remedy(
			"make a private zone of the same name for this VPC: aws route53 create-hosted-zone --vpc ...")
	case f.Instance == nil || f.Instance.VPC == "":
		return pass("%s is private, associated with %s (this instance's network is not known)", z.Name,
			strings.Join(z.VPCs, ", "))
	case !slices.Contains(z.VPCs, f.Instance.VPC):
		return fail("%s is associated with %s, not with %s", z.Name, strings.Join(z.VPCs, ", "), f.Instance.VPC).
			remedy("aws route53 associate-vpc-with-hosted-zone --hosted-zone-id %s --vpc VPCRegion=%s,VPCId=%s",
				f.Options.Record.ZoneID, f.Instance.Region, f.Instance.VPC)
	}
	return pass("%s is private, associated with %s", z.Name, f.Instance.VPC)
}

// failedCall looks for the remedy on the way to Route 53 when somebody else answered.
func failedCall(err error) Finding {
	f := fail("%s", oneLine(err.Error()))
	if e, ok := errors.AsType[*route53.Error](err); ok && e.Foreign {
		return f.remedy("this is not Route 53: see record.endpoint_url, and the proxy in HTTPS_PROXY and NO_PROXY")
	}
	return f
}

func orNobody(s string) string {
	if s == "" {
		return "nobody"
	}
	return s
}
