package route53_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/pgha/pgha-agent/route53"
	"github.com/pgha/pgha-agent/route53/route53test"
)

// example starts a stand-in for the service, and makes a client of it.
func example() (s *route53test.Server, c *route53.Client, end func()) {
	s = route53test.New(route53test.Options{})
	if err := s.Start("127.0.0.1:0"); err != nil {
		log.Fatal(err)
	}
	tr := &http.Transport{}
	c, err := route53.New(context.Background(), route53.Options{
		ZoneID: "Z0PGHATEST", Name: "db.pgha.internal", TTL: 10 * time.Second, Ownership: true,
		EndpointURL: s.URL(), Credentials: aws.CredentialsProviderFunc(staticCredentials),
		HTTPClient: &http.Client{Transport: tr},
	})
	if err != nil {
		log.Fatal(err)
	}
	return s, c, func() {
		tr.CloseIdleConnections()
		s.Close()
	}
}

// A node takes the record over: it reads who has it, and writes on that condition.
func ExampleClient_Write() {
	_, c, end := example()
	defer end()
	ctx := context.Background()
	rec, err := c.Read(ctx)
	if err != nil {
		log.Fatal(err)
	}
	here := netip.MustParseAddr("10.0.1.10")
	claim := route53.Claim("boot id", "pg-a", "promotion")
	w := route53.Write{
		Base: rec.Owner,
		Next: route53.Owner{Epoch: rec.Owner.Epoch + 1, Node: "pg-a", Addr: here, Claim: claim},
		Addr: here,
		Guard: func() error { // asked right before the request leaves
			return nil
		},
	}
	if _, err := c.Write(ctx, w); err != nil {
		log.Fatal(err)
	}
	if rec, err = c.Read(ctx); err != nil {
		log.Fatal(err)
	}
	fmt.Println(rec.Addr, rec.TTL, rec.Owner.Node, rec.Owner.Epoch)

	// A node that has read the zone before that has lost the race.
	_, err = c.Write(ctx, w)
	fmt.Println(route53.ReasonOf(err))
	// Output:
	// 10.0.1.10 10s pg-a 1
	// conflict
}

func ExampleResolver_Lookup() {
	s, _, end := example()
	defer end()
	s.Set(route53test.Simple("db.pgha.internal", "A", 10, "10.0.1.10"))
	server, err := s.DNS(route53test.DNSOptions{})
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	r := route53.Resolver{Server: server.Addr()}
	fmt.Println(r.Lookup(context.Background(), "db.pgha.internal"))
	_, err = r.Lookup(context.Background(), "other.pgha.internal")
	fmt.Println(err)
	// Output:
	// [10.0.1.10] <nil>
	// look up other.pgha.internal: the resolver answers NXDOMAIN
}

func ExampleParseOwner() {
	o, err := route53.ParseOwner(`"v=1 epoch=4 owner=pg-b addr=10.0.2.10 claim=0e5b6a52-6b3f-5d43-9d6e-7c5a1f2b3c4d"`)
	fmt.Println(o.Node, o.Epoch, o.Addr, err)
	_, err = route53.ParseOwner(`"somebody else's"`)
	fmt.Println(err != nil)
	// Output:
	// pg-b 4 10.0.2.10 <nil>
	// true
}

func ExampleOwnAddress() {
	m := &route53test.IMDS{LocalIPv4: "10.0.1.10"}
	defer m.Close()
	server := httptest.NewServer(m) // without it, the instance's own metadata service is asked
	defer server.Close()
	fmt.Println(route53.OwnAddress(context.Background(), server.URL))
	// Output: 10.0.1.10 <nil>
}
