package cloud

import (
	"cmp"
	"encoding/xml"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	version   = "2016-11-15"
	namespace = "http://ec2.amazonaws.com/doc/" + version + "/"
)

// refusal is an error of the API.
type refusal struct {
	status  int
	code    string
	message string
}

func refuse(status int, code, format string, args ...any) *refusal {
	return &refusal{status, code, fmt.Sprintf(format, args...)}
}

// ServeHTTP takes a request as a POSTed form, or as a query.
func (e *EC2) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	call := PowerCall{At: time.Now(), From: clientOf(r)}
	r.Body = http.MaxBytesReader(w, r.Body, 1<<20)
	if err := r.ParseForm(); err != nil {
		http.Error(w, "Bad Request", http.StatusBadRequest)
		return
	}
	q := r.Form
	call.Action, call.Force = q.Get("Action"), q.Get("Force") == "true"
	call.Instances = append(numbered(q, "InstanceId"), filters(q)["instance-id"]...)

	e.mu.Lock()
	e.serial++
	id := fmt.Sprintf("00000000-0000-4000-8000-%012d", e.serial)
	fault := e.fault
	var doc any
	var refused *refusal
	switch fault {
	case Hang:
		refused = &refusal{code: "Hang"}
	case Unavailable:
		refused = refuse(http.StatusServiceUnavailable, "ServiceUnavailable",
			"The service is unavailable. Please try again shortly.")
	default:
		doc, refused = e.dispatch(q, id, call.At)
	}
	if refused != nil {
		call.Code = refused.code
	}
	e.calls = append(e.calls, call)
	e.mu.Unlock()

	if fault == Hang {
		e.hold(r.Context())
		panic(http.ErrAbortHandler) // net/http's way to end a request without an answer
	}
	status := http.StatusOK
	if refused != nil {
		status, doc = refused.status, errorDoc{Code: refused.code, Message: refused.message, RequestID: id}
	}
	b, err := xml.Marshal(doc)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/xml;charset=UTF-8")
	w.Header().Set("X-Amzn-Requestid", id)
	w.WriteHeader(status)
	_, _ = w.Write(append([]byte(xml.Header), b...))
}

// dispatch is called with the lock held.
func (e *EC2) dispatch(q url.Values, id string, now time.Time) (any, *refusal) {
	action := q.Get("Action")
	switch {
	case action == "":
		return nil, refuse(http.StatusBadRequest, "MissingAction", "The request must contain the parameter Action")
	case q.Get("Version") != version:
		return nil, refuse(http.StatusBadRequest, "NoSuchVersion",
			"The requested version (%s) of service AmazonEC2 does not exist", q.Get("Version"))
	}
	switch action {
	case "DescribeInstances":
		return e.describe(q, id, now)
	case "StopInstances":
		return e.power(q, id, now, e.stop, stateRunning, stateStopping, stateStopped)
	case "StartInstances":
		return e.power(q, id, now, e.start, stateRunning, statePending, stateStopped)
	case "RebootInstances":
		return e.power(q, id, now, e.reboot, stateRunning)
	}
	return nil, refuse(http.StatusBadRequest, "InvalidAction", "The action %s is not valid for this web service.", action)
}

// instanceForm are the ids EC2 gives: 8 hexadecimal digits once, 17 now.
var instanceForm = regexp.MustCompile(`^i-([0-9a-f]{8}|[0-9a-f]{17})$`)

// named gives the instances with these ids, all or an error.
func (e *EC2) named(ids []string) (out []*instance, _ *refusal) {
	for _, id := range ids {
		if !instanceForm.MatchString(id) {
			return nil, refuse(http.StatusBadRequest, "InvalidInstanceID.Malformed", "Invalid id: %q", id)
		}
		i := slices.IndexFunc(e.order, func(m *instance) bool { return m.InstanceID() == id })
		if i < 0 {
			return nil, refuse(http.StatusBadRequest, "InvalidInstanceID.NotFound", "The instance ID '%s' does not exist", id)
		}
		if !slices.Contains(out, e.order[i]) {
			out = append(out, e.order[i])
		}
	}
	return out, nil
}

func (e *EC2) describe(q url.Values, id string, now time.Time) (any, *refusal) {
	list, refused := e.named(numbered(q, "InstanceId"))
	if refused != nil {
		return nil, refused
	}
	if list == nil {
		list = slices.Clone(e.order)
	}
	for name, values := range filters(q) {
		var of func(*instance) string
		switch name {
		case "instance-id":
			of = func(m *instance) string { return m.InstanceID() }
		case "instance-state-name":
			of = func(m *instance) string { return m.state(now).Name }
		case "tag:Name":
			of = func(m *instance) string { return m.Name() }
		default:
			return nil, refuse(http.StatusBadRequest, "InvalidParameterValue", "The filter '%s' is invalid", name)
		}
		list = slices.DeleteFunc(list, func(m *instance) bool { return !slices.Contains(values, of(m)) })
	}
	if refused := dryRun(q); refused != nil {
		return nil, refused
	}
	doc := describeDoc{NS: namespace, RequestID: id}
	for _, m := range list {
		r := reservation{ID: "r-" + strings.TrimPrefix(m.InstanceID(), "i-"), Owner: "111122223333"}
		r.Instance = describedInstance{ID: m.InstanceID(), State: m.state(now), Addr: m.Addr().String(),
			Tags: []tag{{"Name", m.Name()}}}
		doc.Reservations = append(doc.Reservations, r)
	}
	return doc, nil
}

// power switches all instances of a request, or none of them.
func (e *EC2) power(q url.Values, id string, now time.Time, do func(*instance, time.Time), from ...state) (any,
	*refusal) {
	action := q.Get("Action")
	if e.fault == Denied {
		return nil, refuse(http.StatusForbidden, "UnauthorizedOperation",
			"You are not authorized to perform this operation. No identity-based policy allows the ec2:%s action", action)
	}
	ids := numbered(q, "InstanceId")
	if len(ids) == 0 {
		return nil, refuse(http.StatusBadRequest, "MissingParameter", "The request must contain the parameter InstanceId")
	}
	list, refused := e.named(ids)
	if refused != nil {
		return nil, refused
	}
	if refused := dryRun(q); refused != nil {
		return nil, refused
	}
	before := make([]state, len(list))
	for i, m := range list {
		if before[i] = m.state(now); !slices.Contains(from, before[i]) {
			verb := map[string]string{"StopInstances": "stopped", "StartInstances": "started",
				"RebootInstances": "rebooted"}[action]
			return nil, refuse(http.StatusBadRequest, "IncorrectInstanceState",
				"The instance '%s' is not in a state from which it can be %s.", m.InstanceID(), verb)
		}
	}
	doc := powerDoc{XMLName: xml.Name{Local: action + "Response"}, NS: namespace, RequestID: id}
	for i, m := range list {
		do(m, now)
		doc.Changes = append(doc.Changes, stateChange{ID: m.InstanceID(), Now: m.state(now), Before: before[i]})
	}
	if action == "RebootInstances" {
		return rebootDoc{NS: namespace, RequestID: id, Return: true}, nil
	}
	return doc, nil
}

// dryRun refuses what would have been done.
func dryRun(q url.Values) *refusal {
	if q.Get("DryRun") != "true" {
		return nil
	}
	return refuse(http.StatusPreconditionFailed, "DryRunOperation",
		"Request would have succeeded, but DryRun flag is set.")
}

// numbered gives the values of name.1, name.2 and so on, in that order.
func numbered(q url.Values, name string) (values []string) {
	n := map[string]int{}
	for k := range q {
		if rest, ok := strings.CutPrefix(k, name+"."); ok {
			if i, err := strconv.Atoi(rest); err == nil {
				n[k] = i
			}
		}
	}
	keys := make([]string, 0, len(n))
	for k := range n {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b string) int { return cmp.Compare(n[a], n[b]) })
	for _, k := range keys {
		values = append(values, q.Get(k))
	}
	return values
}

// filters gives the values of each Filter.N by its name.
func filters(q url.Values) map[string][]string {
	out := map[string][]string{}
	for k := range q {
		if prefix, ok := strings.CutSuffix(k, ".Name"); ok && strings.HasPrefix(k, "Filter.") {
			out[q.Get(k)] = numbered(q, prefix+".Value")
		}
	}
	return out
}

type errorDoc struct {
	XMLName   xml.Name `xml:"Response"`
	Code      string   `xml:"Errors>Error>Code"`
	Message   string   `xml:"Errors>Error>Message"`
	RequestID string   `xml:"RequestID"`
}

type describeDoc struct {
	XMLName      xml.Name      `xml:"DescribeInstancesResponse"`
	NS           string        `xml:"xmlns,attr"`
	RequestID    string        `xml:"requestId"`
	Reservations []reservation `xml:"reservationSet>item"`
}

type reservation struct {
	ID       string            `xml:"reservationId"`
	Owner    string            `xml:"ownerId"`
	Instance describedInstance `xml:"instancesSet>item"`
}

type describedInstance struct {
	ID    string `xml:"instanceId"`
	State state  `xml:"instanceState"`
	Addr  string `xml:"privateIpAddress"`
	Tags  []tag  `xml:"tagSet>item"`
}

type tag struct {
	Key   string `xml:"key"`
	Value string `xml:"value"`
}

type powerDoc struct {
	XMLName   xml.Name
	NS        string        `xml:"xmlns,attr"`
	RequestID string        `xml:"requestId"`
	Changes   []stateChange `xml:"instancesSet>item"`
}

type stateChange struct {
	ID     string `xml:"instanceId"`
	Now    state  `xml:"currentState"`
	Before state  `xml:"previousState"`
}

type rebootDoc struct {
	XMLName   xml.Name `xml:"RebootInstancesResponse"`
	NS        string   `xml:"xmlns,attr"`
	RequestID string   `xml:"requestId"`
	Return    bool     `xml:"return"`
}
