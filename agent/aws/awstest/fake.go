// Package awstest is a stand-in for CloudWatch's PutMetricData and SNS's Publish that is as strict as the services: it
// computes the signature by itself, and refuses what their documentation says they refuse.
package awstest

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Region, AccessKey and Secret are what the stand-in takes.
const (
	Region    = "eu-central-1"
	AccessKey = "AKIATEST"
	Secret    = "secret"
)

// Server is both services under one address. The zero value of its faults is a healthy one.
type Server struct {
	URL string

	mu    sync.Mutex
	calls []url.Values
	fail  int // status of every answer; 0: none
	http  *httptest.Server
}

// Start starts a Server.
func Start() *Server {
	s := &Server{}
	s.http = httptest.NewServer(s)
	s.URL = s.http.URL
	return s
}

// Close stops the server.
func (s *Server) Close() { s.http.Close() }

// Fail makes every call fail with a status; 0 ends it.
func (s *Server) Fail(status int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fail = status
}

// Calls are the accepted calls of an action, in their order.
func (s *Server) Calls(action string) (list []url.Values) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.calls {
		if c.Get("Action") == action {
			list = append(list, c)
		}
	}
	return list
}

// ServeHTTP answers one call.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBody+1))
	if err != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail != 0 {
		refuse(w, s.fail, "InternalFailure", "as asked")
		return
	}
	form, err := url.ParseQuery(string(body))
	if err != nil || r.Method != http.MethodPost ||
		!strings.HasPrefix(r.Header.Get("Content-Type"), "application/x-www-form-urlencoded") {
		refuse(w, 400, "MalformedQueryString", "not a form")
		return
	}
	service, check := "monitoring", checkPut
	if form.Get("Action") == "Publish" {
		service, check = "sns", checkPublish
	}
	if why := checkSignature(r, body, service, time.Now()); why != "" {
		refuse(w, 403, "SignatureDoesNotMatch", why)
		return
	}
	if len(body) > maxBody {
		refuse(w, 413, "RequestEntityTooLarge", "")
		return
	}
	if why := check(form); why != "" {
		refuse(w, 400, "InvalidParameterValue", why)
		return
	}
	s.calls = append(s.calls, form)
	fmt.Fprintf(w, `<%sResponse><ResponseMetadata><RequestId>1</RequestId></ResponseMetadata></%[1]sResponse>`,
		form.Get("Action"))
}

func refuse(w http.ResponseWriter, status int, code, why string) {
	w.WriteHeader(status)
	fmt.Fprintf(w,
		`<ErrorResponse><Error><Type>Sender</Type><Code>%s</Code><Message>%s</Message></Error><RequestId>1</RequestId></ErrorResponse>`, code, why)
}

var authorization = regexp.MustCompile(
	`^AWS4-HMAC-SHA256 Credential=([^/]+)/(\d{8})/([^/]+)/([^/]+)/aws4_request, SignedHeaders=([a-z0-9;-]+), Signature=([0-9a-f]{64})$`)

// checkSignature computes Signature Version 4 of a request without a query, from its definition.
func checkSignature(r *http.Request, body []byte, service string, now time.Time) string {
	m := authorization.FindStringSubmatch(r.Header.Get("Authorization"))
	if m == nil {
		return "no Authorization header of the form"
	}
	key, day, region, svc, signed, signature := m[1], m[2], m[3], m[4], m[5], m[6]
	stamp := r.Header.Get("X-Amz-Date")
	at, err := time.Parse("20060102T150405Z", stamp)
	switch {
	case err != nil || !strings.HasPrefix(stamp, day):
		return "the date is not that of the credential"
	case now.Sub(at).Abs() > 5*time.Minute: // 5 minutes by the documentation of both services
		return "the date is too far from now"
	case key != AccessKey || region != Region || svc != service:
		return "wrong key, region or service: " + strings.Join(m[1:5], " ")
	}
	names := strings.Split(signed, ";")
	if !slices.IsSorted(names) || !slices.Contains(names, "host") || !slices.Contains(names, "x-amz-date") {
		return "host and date must be signed, names in order: " + signed
	}
	var headers strings.Builder
	for _, name := range names {
		value := strings.Join(r.Header.Values(name), ",")
		switch name {
		case "host":
			value = r.Host
		case "content-length":
			value = strconv.FormatInt(r.ContentLength, 10)
		}
		fmt.Fprintf(&headers, "%s:%s\n", name, strings.TrimSpace(value))
	}
	canonical := strings.Join([]string{r.Method, r.URL.EscapedPath(), r.URL.RawQuery, headers.String(), signed,
		hash(body)}, "\n")
	scope := strings.Join([]string{day, region, service, "aws4_request"}, "/")
	secret := []byte("AWS4" + Secret)
	for _, part := range []string{day, region, service, "aws4_request"} {
		secret = sign(secret, part)
	}
	want := hex.EncodeToString(sign(secret,
		strings.Join([]string{"AWS4-HMAC-SHA256", stamp, scope, hash([]byte(canonical))}, "\n")))
	if want != signature {
		return "the signature is another one"
	}
	return ""
}

func hash(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

func sign(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}

// Limits and words of PutMetricData (API reference, 2010-08-01).
const (
	maxBody       = 1 << 20
	maxMetrics    = 1000
	maxDimensions = 30
)

var units = strings.Fields(`Seconds Microseconds Milliseconds
Bytes Kilobytes Megabytes Gigabytes Terabytes Bits Kilobits Megabits Gigabits Terabits Percent Count
Bytes/Second Kilobytes/Second Megabytes/Second Gigabytes/Second Terabytes/Second
Bits/Second Kilobits/Second Megabits/Second Gigabits/Second Terabits/Second Count/Second None`)

var member = regexp.MustCompile(
	`^MetricData\.member\.(\d+)\.(MetricName|Value|Unit|Timestamp|Dimensions\.member\.(\d+)\.(Name|Value))$`)

func checkPut(form url.Values) string {
	if form.Get("Action") != "PutMetricData" || form.Get("Version") != "2010-08-01" {
		return "unknown action or version"
	}
	if ns := form.Get("Namespace"); ns == "" || len(ns) > 255 || strings.HasPrefix(ns, "AWS/") {
		return "namespace"
	}
	count, dims := 0, map[string]int{}
	for key, values := range form {
		if key == "Action" || key == "Version" || key == "Namespace" {
			continue
		}
		m := member.FindStringSubmatch(key)
		if m == nil || len(values) != 1 || values[0] == "" {
			return "field " + key
		}
		if m[2] == "MetricName" {
			count++
		}
		if m[4] == "Name" {
			dims[m[1]]++
		}
	}
	if count < 1 || count > maxMetrics {
		return fmt.Sprint("figures: ", count)
	}
	for i := 1; i <= count; i++ {
		p := fmt.Sprintf("MetricData.member.%d.", i)
		name := form.Get(p + "MetricName")
		value, err := strconv.ParseFloat(form.Get(p+"Value"), 64)
		at, terr := time.Parse(time.RFC3339, form.Get(p+"Timestamp"))
		switch since := time.Since(at); {
		case name == "" || len(name) > 255 || err != nil || value != value || value > 1e108:
			return "figure " + name
		case !slices.Contains(units, form.Get(p+"Unit")):
			return "unit of " + name
		case terr != nil || since > 14*24*time.Hour || since < -2*time.Hour:
			return "time of " + name
		case dims[strconv.Itoa(i)] > maxDimensions:
			return "dimensions of " + name
		}
	}
	return ""
}

// checkPublish holds the limits of Publish (API reference, 2010-03-31).
func checkPublish(form url.Values) string {
	subject, message := form.Get("Subject"), form.Get("Message")
	switch {
	case form.Get("Version") != "2010-03-31":
		return "version"
	case !strings.HasPrefix(form.Get("TopicArn"), "arn:aws:sns:"+Region+":"):
		return "topic"
	case message == "" || len(message) > 256<<10:
		return "message"
	case subject == "" || len(subject) > 100 ||
		strings.IndexFunc(subject, func(r rune) bool { return r < ' ' || r > '~' }) >= 0 || subject[0] == ' ':
		return "subject"
	}
	return ""
}
