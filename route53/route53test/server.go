// Package route53test is a strict stand-in for Route 53: the API over real HTTP (version 2013-04-01), the resolver over
// UDP and TCP, and instance metadata. It knows nothing of the client it tests. Where it and the real service might
// differ, it refuses: a program that gets along with this one does not depend on leniency.
package route53test

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Options describe the zone and the manners of the fake. The zero value of each is the friendly one.
type Options struct {
	ZoneID   string // default "Z0PGHATEST"
	ZoneName string // default "pgha.internal."
	VPCs     []VPC  // default one

	Now       func() time.Time // the clock of change status, propagation and rate limit; default time.Now
	SyncDelay time.Duration    // from accepted to INSYNC; longer when a resolver's own DNSOptions.Delay is longer
	DNSDelay  time.Duration    // from accepted to visible in DNS; 0 means SyncDelay, negative means at once
	Applying  time.Duration    // after an accepted change: how long others get PriorRequestNotComplete

	Rate  float64 // requests a second of the account, as a token bucket; 0 means no limit
	Burst int     // size of the bucket; 0 means Rate, at least 1

	AccessKeyID string // the only key that is accepted; "" means any
	Scope       string // the region that signatures must be for, one in each partition; default "us-east-1"
	FlatErrors  bool   // refused batches in the ErrorResponse form, as newer deployments send them
}

// Call is one request of the API as the fake saw it.
type Call struct {
	Op        string // the API's name of the operation
	At        time.Time
	Caller    string // access key id out of the request's signature, "" without one
	From      string // the client's address without its port
	Query     string
	Changes   []Change // of ChangeResourceRecordSets, decoded
	Status    int      // of the answer; 0 when none was sent
	Code      string   // error code, or "" for success
	Messages  []string // of a refused batch
	Applied   bool     // the zone changed
	RequestID string
}

// Values are what an accepted batch left the record set of that name and type with: nil when it did not touch it, or
// deleted it.
func (c Call) Values(name, typ string) (values []string) {
	if !c.Applied {
		return nil
	}
	name = canonicalName(name)
	for _, ch := range c.Changes {
		if ch.Set.Name == name && ch.Set.Type == typ {
			values = nil
			if ch.Action != "DELETE" {
				values = ch.Set.Values
			}
		}
	}
	return values
}

// Server is the fake. It is an http.Handler; Start also gives it a listener.
type Server struct {
	opts Options
	done chan struct{}

	mu       sync.Mutex
	inSync   time.Duration // from accepted to INSYNC
	inDNS    time.Duration // from accepted to visible in DNS, for resolvers without a delay of their own
	slowest  time.Duration // the longest own delay of a resolver
	zone     zone
	views    []view // what DNS shows from when on, oldest first
	changes  map[string]change
	calls    []Call
	faults   []*Fault
	latency  map[string]time.Duration
	onChange []func([]Change)
	serial   int
	tokens   float64
	filled   time.Time
	probes   int

	url    string
	http   *http.Server
	late   sync.WaitGroup
	closed sync.Once
}

type view struct {
	at   time.Time // accepted
	from time.Time // shown by resolvers without a delay of their own
	zone zone
}

// since is from when on a resolver shows the view. A hand edit is seen by all at once: it is the zone's past, not a
// change under way.
func (v view) since(delay time.Duration) time.Time {
	if delay == 0 || v.at.IsZero() {
		return v.from
	}
	return v.at.Add(max(0, delay))
}

type change struct {
	at      time.Time
	insync  time.Time
	comment string
}

// New makes a zone with its SOA and NS records.
func New(o Options) *Server {
	if o.ZoneID == "" {
		o.ZoneID = "Z0PGHATEST"
	}
	if o.Scope == "" {
		o.Scope = "us-east-1"
	}
	if o.ZoneName == "" {
		o.ZoneName = "pgha.internal"
	}
	o.ZoneName = canonicalName(o.ZoneName)
	if o.VPCs == nil {
		o.VPCs = []VPC{{Region: "eu-central-1", ID: "vpc-0pgha"}}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Burst == 0 {
		o.Burst = max(1, int(o.Rate))
	}
	s := &Server{
		opts: o, done: make(chan struct{}), zone: apex(o.ZoneName), changes: map[string]change{},
		latency: map[string]time.Duration{}, tokens: float64(o.Burst), filled: o.Now(),
	}
	s.views = []view{{zone: s.zone}}
	s.SetDelays(o.SyncDelay, o.DNSDelay)
	return s
}

// Simple makes a record set without a routing policy.
func Simple(name, typ string, ttl int64, values ...string) RecordSet {
	return RecordSet{Name: canonicalName(name), Type: typ, TTL: &ttl, Values: values}
}

// SetDelays replaces Options.SyncDelay and Options.DNSDelay, in their meaning, for the changes accepted from now on.
func (s *Server) SetDelays(sync, dns time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if dns == 0 {
		dns = sync
	}
	s.inSync, s.inDNS = sync, dns
}

// Start listens on addr ("127.0.0.1:0" for any port) and serves until Close.
func (s *Server) Start(addr string) error {
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return fmt.Errorf("start fake route 53: %w", err)
	}
	s.url = "http://" + ln.Addr().String()
	s.http = &http.Server{Handler: s, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = s.http.Serve(ln) }()
	return nil
}

// URL is the endpoint after Start.
func (s *Server) URL() string { return s.url }

// Close ends hanging requests, late changes and the listener.
func (s *Server) Close() {
	s.closed.Do(func() {
		close(s.done)
		if s.http != nil {
			_ = s.http.Close()
		}
		s.late.Wait()
	})
}

// Records lists the zone in its order: the truth, whatever was told to whom.
func (s *Server) Records() []RecordSet {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.zone.sorted()
}

// Get returns the simple record set of that name and type.
func (s *Server) Get(name, typ string) (RecordSet, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	set, ok := s.zone[key{canonicalName(name), typ, ""}]
	return set, ok
}

// Set puts a record set into the zone without the API and its checks, visible at once: a hand edit.
func (s *Server) Set(set RecordSet) {
	set.Name = canonicalName(set.Name)
	s.edit(func(z zone) { z[keyOf(set)] = set })
}

// Remove takes all record sets of that name and type out of the zone.
func (s *Server) Remove(name, typ string) {
	name = canonicalName(name)
	s.edit(func(z zone) {
		maps.DeleteFunc(z, func(k key, _ RecordSet) bool { return k.name == name && k.typ == typ })
	})
}

func (s *Server) edit(f func(zone)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.zone = s.zone.clone()
	f(s.zone)
	s.views = append(s.views, view{from: s.opts.Now(), zone: s.zone})
}

// Calls lists the API requests so far.
func (s *Server) Calls() []Call {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.calls)
}

// Accepted lists the requests that changed the zone, in the order in which they did.
func (s *Server) Accepted() []Call {
	return slices.DeleteFunc(s.Calls(), func(c Call) bool { return !c.Applied })
}

// Count is the number of API requests of one operation, or of all for "".
func (s *Server) Count(op string) int {
	n := 0
	for _, c := range s.Calls() {
		if op == "" || c.Op == op {
			n++
		}
	}
	return n
}

// Probes is the number of requests that were none of the API's: no signature asked, nothing counted.
func (s *Server) Probes() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.probes
}

// OnChange calls f after each accepted batch, outside of the fake's lock.
func (s *Server) OnChange(f func([]Change)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.onChange = append(s.onChange, f)
}

// visible is what a resolver with that delay (0: none of its own) shows now.
func (s *Server) visible(delay time.Duration) zone {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.opts.Now()
	shown, past := 0, 0
	for i, v := range s.views {
		if !v.since(delay).After(now) {
			shown = i
		}
		if !v.from.After(now) && !v.since(s.slowest).After(now) {
			past = i // all resolvers show this or a later one
		}
	}
	z := s.views[shown].zone
	s.views = s.views[past:]
	return z
}

// request is one API request on its way through the fake.
type request struct {
	call Call
	id   string // zone or change id
	http *http.Request
	body []byte
}

// answer is what goes back.
type answer struct {
	status int
	doc    any
}

// ServeHTTP is the API's front door.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, 4<<20))
	if err != nil {
		return // half a request is no request
	}
	if r.URL.Path == "/" {
		s.mu.Lock()
		s.probes++
		s.mu.Unlock()
		w.Header().Set("Location", "https://aws.amazon.com/route53/")
		w.WriteHeader(http.StatusFound)
		return
	}
	req := &request{http: r, body: body}
	req.call.Op, req.id = route(r)
	s.mu.Lock()
	s.serial++
	req.call.RequestID = fmt.Sprintf("00000000-0000-4000-8000-%012d", s.serial)
	req.call.At, req.call.Query = s.opts.Now(), r.URL.RawQuery
	req.call.Caller, req.call.From = caller(r), clientOf(r)
	fault := s.takeFault(req.call.Op, req.call.Caller)
	delay := s.latency[req.call.Op] + s.latency[""]
	s.mu.Unlock()
	if delay > 0 && !s.sleep(r.Context(), delay) {
		s.log(req.call)
		return
	}
	s.serve(w, req, fault)
}

// sleep is cut short by the client's leaving and by Close.
func (s *Server) sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
	case <-s.done:
	}
	return false
}

func (s *Server) log(c Call) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = append(s.calls, c)
}

// route names the operation.
func route(r *http.Request) (op, id string) {
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	if len(parts) < 3 || parts[0] != "2013-04-01" {
		return "Unknown", ""
	}
	switch id = parts[2]; {
	case parts[1] == "hostedzone" && len(parts) == 4 && parts[3] == "rrset" && r.Method == http.MethodPost:
		return "ChangeResourceRecordSets", id
	case parts[1] == "hostedzone" && len(parts) == 4 && parts[3] == "rrset" && r.Method == http.MethodGet:
		return "ListResourceRecordSets", id
	case parts[1] == "hostedzone" && len(parts) == 3 && r.Method == http.MethodGet:
		return "GetHostedZone", id
	case parts[1] == "change" && len(parts) == 3 && r.Method == http.MethodGet:
		return "GetChange", id
	}
	return "Unknown", ""
}

// process is the API proper: it always gives an answer, and fills req.call.
func (s *Server) process(req *request) answer {
	out, hooks := func() (answer, []func([]Change)) {
		s.mu.Lock()
		defer s.mu.Unlock()
		a, err := s.dispatch(req)
		if err != nil {
			req.call.Code, req.call.Messages = err.code, err.messages
			a = answer{status: err.status, doc: s.document(err, req.call.RequestID)}
		}
		req.call.Status = a.status
		s.calls = append(s.calls, req.call)
		return a, slices.Clone(s.onChange)
	}()
	if req.call.Applied {
		for _, f := range hooks {
			f(slices.Clone(req.call.Changes))
		}
	}
	return out
}

func (s *Server) dispatch(req *request) (answer, *apiError) {
	if err := s.authorize(req.http); err != nil {
		return answer{}, err
	}
	if !s.takeToken() {
		return answer{}, throttled()
	}
	switch req.call.Op {
	case "GetChange":
		return s.getChange(req)
	case "Unknown":
		return answer{}, refuse(http.StatusNotFound, "UnknownOperationException", "")
	}
	if req.id != s.opts.ZoneID {
		return answer{}, refuse(http.StatusNotFound, "NoSuchHostedZone", "No hosted zone found with ID: %s", req.id)
	}
	switch req.call.Op {
	case "ListResourceRecordSets":
		return s.list(req)
	case "ChangeResourceRecordSets":
		return s.change(req)
	}
	return s.getZone()
}

func throttled() *apiError { return refuse(http.StatusBadRequest, "Throttling", "Rate exceeded") }

func prior() *apiError {
	return refuse(http.StatusBadRequest, "PriorRequestNotComplete",
		"The request was rejected because Route 53 was still processing a prior request.")
}

var (
	authForm = regexp.MustCompile(`^AWS4-HMAC-SHA256 Credential=([^/, ]+)/(\d{8})/([a-z0-9-]+)/route53/aws4_request, ?` +
		`SignedHeaders=([a-z0-9;-]+), ?Signature=[0-9a-f]{64}$`)
	dateForm = regexp.MustCompile(`^\d{8}T\d{6}Z$`)
)

// caller is the access key id of a signed request.
func caller(r *http.Request) string {
	if m := authForm.FindStringSubmatch(r.Header.Get("Authorization")); m != nil {
		return m[1]
	}
	return ""
}

func clientOf(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

// authorize looks whether the request is signed at all, for Route 53 in its region, and over the host. It does not
// compute the signature: the SDK's signer is not under test. The words for another region are the service's own (IAM
// User Guide, "Troubleshoot signed requests"; aws-sdk-php#732 has them from Route 53).
func (s *Server) authorize(r *http.Request) *apiError {
	auth := r.Header.Get("Authorization")
	if auth == "" {
		return refuse(http.StatusForbidden, "MissingAuthenticationToken", "Missing Authentication Token")
	}
	m := authForm.FindStringSubmatch(auth)
	date := r.Header.Get("X-Amz-Date")
	if m == nil || !dateForm.MatchString(date) || !strings.HasPrefix(date, m[2]) ||
		!slices.Contains(strings.Split(m[4], ";"), "host") {
		return refuse(http.StatusForbidden, "IncompleteSignature",
			"The Authorization header is not a Signature Version 4 for Route 53.")
	}
	if m[3] != s.opts.Scope {
		return refuse(http.StatusForbidden, "SignatureDoesNotMatch",
			"Credential should be scoped to a valid region, not '%s'.", m[3])
	}
	if s.opts.AccessKeyID != "" && m[1] != s.opts.AccessKeyID {
		return refuse(http.StatusForbidden, "InvalidClientTokenId", "The security token included in the request is invalid.")
	}
	return nil
}

func (s *Server) takeToken() bool {
	if s.opts.Rate <= 0 {
		return true
	}
	now := s.opts.Now()
	s.tokens = min(float64(s.opts.Burst), s.tokens+now.Sub(s.filled).Seconds()*s.opts.Rate)
	s.filled = now
	if s.tokens < 1 {
		return false
	}
	s.tokens--
	return true
}

// document renders a refusal in the form the API has for it.
func (s *Server) document(e *apiError, requestID string) any {
	if e.messages != nil && !s.opts.FlatErrors {
		return batchResponse{NS: namespace, Messages: e.messages, RequestID: requestID}
	}
	doc := errorResponse{NS: namespace, RequestID: requestID}
	doc.Error.Type, doc.Error.Code, doc.Error.Message = "Sender", e.code, e.message
	if e.status >= 500 {
		doc.Error.Type = "Receiver"
	}
	return doc
}

func (s *Server) list(req *request) (answer, *apiError) {
	q := req.http.URL.Query()
	limit := 300
	if v := q.Get("maxitems"); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil || n < 1 {
			return answer{}, invalidInput("Invalid value for maxItems: %s", v)
		}
		limit = min(n, 300)
	}
	from := key{typ: q.Get("type"), id: q.Get("identifier")}
	switch {
	case q.Get("name") != "":
		from.name = canonicalName(q.Get("name"))
	case from.typ != "":
		return answer{}, invalidInput("The type parameter is not valid without the name parameter")
	}
	if from.id != "" && from.typ == "" {
		return answer{}, invalidInput("The identifier parameter is not valid without the type parameter")
	}
	doc := listResponse{NS: namespace, MaxItems: limit}
	for _, set := range s.zone.sorted() {
		if from.name != "" && compareKeys(keyOf(set), from) < 0 {
			continue
		}
		if len(doc.Sets) == limit {
			doc.IsTruncated, doc.NextName, doc.NextType, doc.NextIdentifier = true, set.Name, set.Type, set.SetIdentifier
			break
		}
		doc.Sets = append(doc.Sets, set)
	}
	return answer{http.StatusOK, doc}, nil
}

func (s *Server) change(req *request) (answer, *apiError) {
	var doc changeRequest
	err := xml.Unmarshal(req.body, &doc)
	if err == nil && (doc.XMLName.Space != namespace || doc.Batch == nil) {
		err = errors.New("wrong document")
	}
	if err != nil {
		return answer{}, refuse(http.StatusBadRequest, "MalformedInput",
			"ChangeBatch is not valid, expected ChangeResourceRecordSetsRequest")
	}
	req.call.Changes = doc.Batch.Changes
	now := s.opts.Now()
	if s.opts.Applying > 0 {
		for _, c := range s.changes {
			if now.Sub(c.at) < s.opts.Applying {
				return answer{}, prior()
			}
		}
	}
	next, refused := s.zone.apply(s.opts.ZoneName, doc.Batch.Changes)
	if refused != nil {
		return answer{}, refused
	}
	req.call.Applied = true
	s.zone = next
	s.views = append(s.views, view{at: now, from: now.Add(max(0, s.inDNS)), zone: next})
	id := fmt.Sprintf("C%020d", len(s.changes)+1)
	s.changes[id] = change{at: now, insync: now.Add(max(s.inSync, s.slowest)), comment: doc.Batch.Comment}
	return answer{http.StatusOK, s.changeDoc("ChangeResourceRecordSetsResponse", id)}, nil
}

func (s *Server) getChange(req *request) (answer, *apiError) {
	if _, ok := s.changes[req.id]; !ok {
		return answer{}, refuse(http.StatusNotFound, "NoSuchChange", "Could not find resource with ID: %s", req.id)
	}
	return answer{http.StatusOK, s.changeDoc("GetChangeResponse", req.id)}, nil
}

func (s *Server) changeDoc(root, id string) changeResponse {
	c := s.changes[id]
	status := "PENDING"
	if !s.opts.Now().Before(c.insync) && root == "GetChangeResponse" {
		status = "INSYNC"
	}
	return changeResponse{
		XMLName: xml.Name{Local: root}, NS: namespace,
		Info: changeInfo{ID: "/change/" + id, Status: status, SubmittedAt: timestamp(c.at), Comment: c.comment},
	}
}

func (s *Server) getZone() (answer, *apiError) {
	doc := zoneResponse{NS: namespace, VPCs: s.opts.VPCs}
	doc.Zone.ID, doc.Zone.Name, doc.Zone.Reference = "/hostedzone/"+s.opts.ZoneID, s.opts.ZoneName, "pgha-test"
	doc.Zone.Config.Private, doc.Zone.Count = true, len(s.zone)
	return answer{http.StatusOK, doc}, nil
}

// send writes an answer as the service does.
func send(w http.ResponseWriter, a answer, requestID string) {
	var b bytes.Buffer
	b.WriteString("<?xml version=\"1.0\"?>\n")
	if err := xml.NewEncoder(&b).Encode(a.doc); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/xml")
	w.Header().Set("X-Amzn-Requestid", requestID)
	w.WriteHeader(a.status)
	_, _ = w.Write(b.Bytes())
}
