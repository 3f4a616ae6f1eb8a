package route53

import (
	"net/netip"
	"time"
)

// Reason says why a call failed. The set is closed: a Reason is also a metric label.
type Reason string

// The reasons.
const (
	ReasonNone          Reason = ""
	ReasonThrottled     Reason = "throttled"      // Throttling: the account's shared limit
	ReasonPriorRequest  Reason = "prior_request"  // PriorRequestNotComplete: another change of the zone is in progress
	ReasonConflict      Reason = "conflict"       // InvalidChangeBatch: the record is not what the guard expected
	ReasonRefusedRecord Reason = "refused_record" // alias, weighted or multi-value record under the name: never overwritten
	ReasonDenied        Reason = "denied"         // AccessDenied, bad signature, expired token, a proxy that says no
	ReasonCredentials   Reason = "credentials"    // no credentials to sign with
	ReasonNoZone        Reason = "no_zone"        // NoSuchHostedZone
	ReasonInvalid       Reason = "invalid"        // the API refused our input
	ReasonTimeout       Reason = "timeout"        // no answer in time: the outcome is not known
	ReasonNetwork       Reason = "network"        // connection failed or broke: the outcome may not be known
	ReasonServer        Reason = "server"         // 5xx
	ReasonGarbage       Reason = "garbage"        // an answer that is not the API's, with a status that says no more
	ReasonGuard         Reason = "guard"          // our own last check said no: nothing was sent
	ReasonOther         Reason = "other"
)

// Reasons lists every Reason but ReasonNone.
var Reasons = []Reason{
	ReasonThrottled, ReasonPriorRequest, ReasonConflict, ReasonRefusedRecord, ReasonDenied, ReasonCredentials, ReasonNoZone,
	ReasonInvalid, ReasonTimeout, ReasonNetwork, ReasonServer, ReasonGarbage, ReasonGuard, ReasonOther,
}

// Error is a failed call with its Reason. Sent reports whether the request may have reached the API:
// when it is false nothing can have changed. Foreign reports that what came back is no document of the API: a proxy may
// have made it after the API took the request, so whatever its Reason, the change may have been made.
type Error struct {
	Op      string // "read record", "write record", "get change"
	Reason  Reason
	Sent    bool
	Foreign bool
	Err     error
}

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
