package cloud

import (
	"crypto/sha256"
	"encoding/base32"
	"net/http"
	"net/netip"
	"time"

	"github.com/pgha/pgha-agent/route53/route53test"
)

// NewIMDS gives each client the metadata service of its own instance, by the address it calls from, and no other.
func NewIMDS(nodes map[netip.Addr]*route53test.IMDS) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		client, err := netip.ParseAddr(clientOf(r))
		node := nodes[client.Unmap().WithZone("")]
		if err != nil || node == nil {
			http.NotFound(w, r)
			return
		}
		node.ServeHTTP(w, r)
	})
}

// NodeIMDS is the metadata service of a machine in an availability zone. Its role's credentials are the machine's own:
// their access key, AccessKey(m.Name()), tells the fake of Route 53 who calls.
func NodeIMDS(m Machine, zone string) *route53test.IMDS {
	return &route53test.IMDS{
		// the default of the fake zone
		LocalIPv4: m.Addr().String(), InstanceID: m.InstanceID(), Zone: zone, VPC: "vpc-0pgha",
		Role: "pgha-" + m.Name(), AccessKey: AccessKey(m.Name()), SecretKey: "lab-secret-of-" + m.Name(),
		Session: "lab-session-of-" + m.Name(),
		Expires: time.Now().Add(24 * time.Hour), // longer than any lab
	}
}

// AccessKey is the access key id of the machine of that name, in the form of temporary ones: ASIA and 16 characters.
func AccessKey(name string) string {
	sum := sha256.Sum256([]byte(name))
	return "ASIA" + base32.StdEncoding.EncodeToString(sum[:10])
}
