package main

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/pgha/pgha-agent/cmd/pgha-lab/cloud"
	"github.com/pgha/pgha-agent/route53"
	"github.com/pgha/pgha-agent/route53/route53test"
)

const (
	zoneID     = "Z0LAB"
	recordName = "db.pgha.internal"
	ownerName  = route53.OwnerPrefix + "." + recordName
)

// aws is what the machines use of it: Route 53 with the VPC's resolver, instance metadata and the power API. All of it
// is on addresses of the lab's own namespace.
type aws struct {
	machines []*machine

	zone     *route53test.Server
	resolver *route53test.DNS
	ec2      *cloud.EC2
	servers  []*http.Server
}

func startAWS(machines []*machine) (*aws, error) {
	a := &aws{machines: machines}
	return a, a.start()
}

func (a *aws) start() error {
	a.zone = route53test.New(route53test.Options{ZoneID: zoneID, SyncDelay: 2 * time.Second, Rate: 5, Burst: 10})
	if err := a.zone.Start(resolverAddr.String() + ":8053"); err != nil {
		return err
	}
	var err error
	if a.resolver, err = a.zone.DNS(route53test.DNSOptions{Addr: resolverAddr.String() + ":53",
		CacheTTL: true}); err != nil {
		return err
	}
	power := make([]cloud.Machine, len(a.machines))
	metadata := map[netip.Addr]*route53test.IMDS{}
	for i, m := range a.machines {
		power[i] = m
		metadata[m.addr] = cloud.NodeIMDS(m, "eu-central-1"+string(rune('a'+i)))
	}
	a.ec2 = cloud.NewEC2(power...)
	a.servers = nil
	for addr, h := range map[string]http.Handler{":8001": a.ec2, metadataAddr.String() + ":80": cloud.NewIMDS(metadata)} {
		ln, err := net.Listen("tcp", addr)
		if err != nil {
			return err
		}
		s := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}
		go func() { _ = s.Serve(ln) }()
		a.servers = append(a.servers, s)
	}
	return nil
}

func (a *aws) stop() {
	a.ec2.Close()
	for _, s := range a.servers {
		_ = s.Close()
	}
	a.resolver.Close()
	a.zone.Close()
}

// reset starts anew, with the zone as the file says and nothing remembered.
func (a *aws) reset(zoneFile string) error {
	b, err := os.ReadFile(zoneFile)
	if err != nil {
		return err
	}
	var records []route53test.RecordSet
	if err := json.Unmarshal(b, &records); err != nil {
		return fmt.Errorf("read %s: %w", zoneFile, err)
	}
	a.stop()
	if err := a.start(); err != nil {
		return err
	}
	for _, r := range records {
		a.zone.Set(r)
	}
	return nil
}

// record is the address that the zone holds now, or "".
func (a *aws) record() string {
	set, ok := a.zone.Get(recordName, "A")
	if !ok || len(set.Values) != 1 {
		return ""
	}
	return set.Values[0]
}

// owner is what the zone's ownership record says now.
func (a *aws) owner() (route53.Owner, error) {
	set, ok := a.zone.Get(ownerName, "TXT")
	if !ok || len(set.Values) != 1 {
		return route53.Owner{}, fmt.Errorf("read the ownership record: it is %v", set.Values)
	}
	return route53.ParseOwner(set.Values[0])
}

// publication is one accepted change of the record.
type publication struct {
	at   time.Time
	by   string // the machine whose credentials signed it
	addr string
}

// publications lists the accepted changes of the record since the start.
func (a *aws) publications() (list []publication) {
	for _, c := range a.zone.Accepted() {
		if !slices.ContainsFunc(c.Changes, func(ch route53test.Change) bool {
			name := strings.TrimSuffix(ch.Set.Name, ".")
			return name == recordName || name == ownerName
		}) {
			continue
		}
		p := publication{at: c.At}
		for _, m := range a.machines {
			if cloud.AccessKey(m.name) == c.Caller {
				p.by = m.name
			}
		}
		if v := c.Values(recordName, "A"); len(v) == 1 {
			p.addr = v[0]
		}
		list = append(list, p)
	}
	return list
}
