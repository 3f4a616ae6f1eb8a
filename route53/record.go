package route53

import (
	"net/netip"
	"time"
)

// Record is what the zone holds under the service name: the address record and the ownership record beside it.
type Record struct {
	Addr  netip.Addr // invalid when there is no A record
	TTL   time.Duration
	Owner Owner
}

// Owner is the content of the TXT record _pgha.<name>. The zero value means that there is none.
type Owner struct {
	Epoch uint64
	Node  string
	Addr  netip.Addr
	Claim string // uuid that names one promotion
	TTL   time.Duration
	Raw   string // the value exactly as read, quotes included: a DELETE must repeat it
}
