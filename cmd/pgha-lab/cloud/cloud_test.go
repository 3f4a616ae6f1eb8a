package cloud_test

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pgha/pgha-agent/cmd/pgha-lab/cloud"
	"github.com/pgha/pgha-agent/route53/route53test"
)

const (
	id1 = "i-00000000000000001"
	id2 = "i-00000000000000002"
)

// machine is a power switch and its wire.
type machine struct {
	name, id, addr string

	mu   sync.Mutex
	on   bool
	fail error         // of PowerOff
	boot chan struct{} // PowerOn waits for it
}

func (m *machine) InstanceID() string { return m.id }
func (m *machine) Name() string       { return m.name }
func (m *machine) Addr() netip.Addr   { return netip.MustParseAddr(m.addr) }

func (m *machine) Running() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.on
}

func (m *machine) PowerOff() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fail == nil {
		m.on = false
	}
	return m.fail
}

func (m *machine) PowerOn() error {
	if m.boot != nil {
		<-m.boot
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.on = true
	return nil
}

func (m *machine) setFail(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fail = err
}

type lab struct {
	t            *testing.T
	ec2          *cloud.EC2
	node1, node2 *machine
	url          string
}

func newLab(t *testing.T) *lab {
	t.Helper()
	l := &lab{t: t,
		node1: &machine{name: "node1", id: id1, addr: "10.0.1.10", on: true},
		node2: &machine{name: "node2", id: id2, addr: "10.0.2.10", on: true},
	}
	l.ec2 = cloud.NewEC2(l.node1, l.node2)
	srv := httptest.NewServer(l.ec2)
	t.Cleanup(srv.Close)
	t.Cleanup(l.ec2.Close) // first, as it ends hanging requests
	l.url = srv.URL
	return l
}

// reply is what the tests read of any answer.
type reply struct {
	XMLName   xml.Name
	Code      string `xml:"Errors>Error>Code"`
	Instances []struct {
		ID    string `xml:"instanceId"`
		State string `xml:"instanceState>name"`
		Code  string `xml:"instanceState>code"`
		Addr  string `xml:"privateIpAddress"`
		Tag   string `xml:"tagSet>item>value"`
	} `xml:"reservationSet>item>instancesSet>item"`
	Changes []struct {
		ID     string `xml:"instanceId"`
		Now    string `xml:"currentState>name"`
		Before string `xml:"previousState>name"`
	} `xml:"instancesSet>item"`
	Return string `xml:"return"`
}

// String is the reply in short: the error code, or the instances with their states.
func (r reply) String() string {
	var b strings.Builder
	b.WriteString(r.Code)
	for _, i := range r.Instances {
		fmt.Fprintf(&b, "%s %s %s %s %s; ", i.ID, i.Code, i.State, i.Addr, i.Tag)
	}
	for _, c := range r.Changes {
		fmt.Fprintf(&b, "%s %s->%s; ", c.ID, c.Before, c.Now)
	}
	return strings.TrimSuffix(b.String()+r.Return, "; ")
}

// do sends an action with its parameters as name, value pairs.
func (l *lab) do(action string, pairs ...string) (int, reply) {
	l.t.Helper()
	q := url.Values{"Action": {action}, "Version": {"2016-11-15"}}
	for i := 0; i+1 < len(pairs); i += 2 {
		q.Set(pairs[i], pairs[i+1])
	}
	resp, err := http.PostForm(l.url, q)
	if err != nil {
		l.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	b, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, read(l.t, b)
}

func read(t *testing.T, answer []byte) (r reply) {
	t.Helper()
	if err := xml.Unmarshal(answer, &r); err != nil {
		t.Fatalf("%v\n%s", err, answer)
	}
	if !bytes.HasPrefix(answer, []byte(xml.Header)) {
		t.Errorf("no XML header: %s", answer)
	}
	return r
}

func (l *lab) state(id string) string {
	l.t.Helper()
	_, r := l.do("DescribeInstances", "InstanceId.1", id)
	if len(r.Instances) != 1 {
		l.t.Fatalf("%v", r)
	}
	return r.Instances[0].State
}

// eventually waits for a state; nothing in the model takes long.
func (l *lab) eventually(id, want string) {
	l.t.Helper()
	got := ""
	for range 500 {
		if got = l.state(id); got == want {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	l.t.Fatalf("%s is %s, want %s", id, got, want)
}

func TestRequestsAreAnsweredInTheWordsOfTheAPI(t *testing.T) {
	const both = id1 + " 16 running 10.0.1.10 node1; " + id2 + " 16 running 10.0.2.10 node2"
	tests := []struct {
		name   string
		action string
		pairs  []string
		status int
		want   string
	}{
		{"all", "DescribeInstances", nil, 200, both},
		{"by id", "DescribeInstances", []string{"InstanceId.1", id2}, 200, id2 + " 16 running 10.0.2.10 node2"},
		{"by id filter", "DescribeInstances", []string{"Filter.1.Name", "instance-id", "Filter.1.Value.1", id2,
			"Filter.1.Value.2", id1}, 200, both},
		{"filter of an unknown id", "DescribeInstances", []string{"Filter.1.Name", "instance-id", "Filter.1.Value.1",
			"i-0000000000000000f"}, 200, ""},
		{"by tag and state", "DescribeInstances", []string{"Filter.1.Name", "tag:Name", "Filter.1.Value.1", "node1",
			"Filter.2.Name", "instance-state-name", "Filter.2.Value.1", "running"}, 200, id1 + " 16 running 10.0.1.10 node1"},
		{"by state", "DescribeInstances", []string{"Filter.1.Name", "instance-state-name", "Filter.1.Value.1", "stopped"},
			200, ""},
		{"unknown filter", "DescribeInstances", []string{"Filter.1.Name", "color"}, 400, "InvalidParameterValue"},
		{"dry run of a look", "DescribeInstances", []string{"DryRun", "true"}, 412, "DryRunOperation"},
		{"dry run", "StopInstances", []string{"InstanceId.1", id1, "DryRun", "true", "Force", "true"}, 412,
			"DryRunOperation"},
		{"unknown instance", "StopInstances", []string{"InstanceId.1", id1, "InstanceId.2", "i-0000000000000000f"}, 400,
			"InvalidInstanceID.NotFound"},
		{"no instance id", "StopInstances", []string{"InstanceId.1", "node1"}, 400, "InvalidInstanceID.Malformed"},
		{"no instance", "StopInstances", nil, 400, "MissingParameter"},
		{"unknown action", "FlyInstances", nil, 400, "InvalidAction"},
		{"no action", "", nil, 400, "MissingAction"},
		{"other version", "DescribeInstances", []string{"Version", "2010-01-01"}, 400, "NoSuchVersion"},
		{"start of a running one", "StartInstances", []string{"InstanceId.1", id1}, 200, id1 + " running->running"},
	}
	l := newLab(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			status, r := l.do(tt.action, tt.pairs...)
			if status != tt.status || r.String() != tt.want {
				t.Errorf("got %d %q, want %d %q", status, r, tt.status, tt.want)
			}
		})
	}
	if !l.node1.Running() || !l.node2.Running() {
		t.Error("one of these cut the power")
	}
}

func TestStopTakesItsTimeAndStartGivesPowerBack(t *testing.T) {
	l := newLab(t)
	l.ec2.SetStopTime(300 * time.Millisecond)
	if _, r := l.do("StopInstances", "InstanceId.1", id2, "Force", "true"); r.String() != id2+" running->stopping" {
		t.Errorf("stop: %v", r)
	}
	if _, r := l.do("StopInstances", "InstanceId.1", id2, "Force", "true"); r.String() != id2+" stopping->stopping" {
		t.Errorf("second stop: %v", r)
	}
	if !l.node2.Running() {
		t.Error("no power while stopping")
	}
	if status, r := l.do("StartInstances", "InstanceId.1", id2); status != 400 || r.Code != "IncorrectInstanceState" {
		t.Errorf("start while stopping: %d %v", status, r)
	}
	l.eventually(id2, "stopped")
	if l.node2.Running() || !l.node1.Running() {
		t.Error("the wrong power was cut")
	}
	if _, r := l.do("StopInstances", "InstanceId.1", id2); r.String() != id2+" stopped->stopped" {
		t.Errorf("stop of a stopped one: %v", r)
	}
	if status, r := l.do("RebootInstances", "InstanceId.1", id2); status != 400 || r.Code != "IncorrectInstanceState" {
		t.Errorf("reboot of a stopped one: %d %v", status, r)
	}

	l.node2.boot = make(chan struct{})
	if _, r := l.do("StartInstances", "InstanceId.1", id2); r.String() != id2+" stopped->pending" {
		t.Errorf("start: %v", r)
	}
	if status, r := l.do("StopInstances", "InstanceId.1", id2); status != 400 || r.Code != "IncorrectInstanceState" {
		t.Errorf("stop while pending: %d %v", status, r)
	}
	close(l.node2.boot)
	l.eventually(id2, "running")

	if status, r := l.do("RebootInstances", "InstanceId.1", id1); status != 200 || r.String() != "true" {
		t.Errorf("reboot: %d %v", status, r)
	}
	l.eventually(id1, "running")

	var calls []string
	for _, c := range l.ec2.Calls() {
		if c.Action != "DescribeInstances" {
			calls = append(calls, fmt.Sprintf("%s %v %v %q %s", c.Action, c.Instances, c.Force, c.Code, c.From))
		}
	}
	want := []string{"StopInstances [" + id2 + `] true "" 127.0.0.1`,
		"StartInstances [" + id2 + `] false "IncorrectInstanceState" 127.0.0.1`}
	if diff := cmp.Diff(want, []string{calls[0], calls[2]}); diff != "" {
		t.Error(diff)
	}
}

func TestInstanceWhoseGuestWentDownIsStopped(t *testing.T) {
	l := newLab(t)
	_ = l.node1.PowerOff()
	if got := l.state(id1); got != "stopped" {
		t.Error(got)
	}
}

func TestStopIsNotUndoneByARebootBeforeIt(t *testing.T) {
	l := newLab(t)
	l.node1.boot = make(chan struct{})
	l.do("RebootInstances", "InstanceId.1", id1)
	for l.node1.Running() {
		time.Sleep(time.Millisecond)
	}
	l.do("StopInstances", "InstanceId.1", id1, "Force", "true")
	close(l.node1.boot)
	l.eventually(id1, "stopped")
	if l.node1.Running() {
		t.Error("power is on")
	}
}

func TestPowerThatCannotBeCutStaysStopping(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &machine{name: "node1", id: id1, addr: "10.0.1.10", on: true}
		ec2 := cloud.NewEC2(m)
		defer ec2.Close()
		do := func(query string) reply {
			rec := httptest.NewRecorder()
			ec2.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/?Version=2016-11-15&InstanceId.1="+id1+"&"+query, nil))
			synctest.Wait() // until the attempt is over
			return read(t, rec.Body.Bytes())
		}
		for _, step := range []struct {
			fail error
			want string
		}{{errors.New("no"), "stopping"}, {nil, "stopped"}} {
			m.setFail(step.fail)
			do("Action=StopInstances&Force=true")
			if r := do("Action=DescribeInstances"); len(r.Instances) != 1 || r.Instances[0].State != step.want {
				t.Errorf("with %v: %v, want %s", step.fail, r, step.want)
			}
		}
	})
}

func TestFaults(t *testing.T) {
	l := newLab(t)
	l.ec2.SetFault(cloud.Unavailable)
	if status, r := l.do("DescribeInstances"); status != 503 || r.Code != "ServiceUnavailable" {
		t.Errorf("unavailable: %d %v", status, r)
	}
	l.ec2.SetFault(cloud.Denied)
	for _, a := range []string{"StopInstances", "StartInstances", "RebootInstances"} {
		if status, r := l.do(a, "InstanceId.1", id1, "DryRun", "true"); status != 403 || r.Code != "UnauthorizedOperation" {
			t.Errorf("denied %s: %d %v", a, status, r)
		}
	}
	if got := l.state(id1); got != "running" {
		t.Errorf("denied: %s", got)
	}

	l.ec2.SetFault(cloud.Lie)
	l.ec2.SetStopTime(200 * time.Millisecond)
	if _, r := l.do("StopInstances", "InstanceId.1", id1, "Force", "true"); r.String() != id1+" running->stopping" {
		t.Errorf("lie: %v", r)
	}
	l.eventually(id1, "stopped")
	if !l.node1.Running() {
		t.Error("the power was cut after all")
	}
	if _, r := l.do("StartInstances", "InstanceId.1", id1); r.String() != id1+" stopped->running" {
		t.Errorf("start after a lie: %v", r)
	}
	l.do("StopInstances", "InstanceId.1", id1)
	l.ec2.SetFault(cloud.None)
	if got := l.state(id1); got != "running" {
		t.Errorf("the lie outlived its fault: %s", got)
	}

	l.ec2.SetFault(cloud.Hang)
	ended := make(chan error, 1)
	go func() {
		resp, err := http.Get(l.url + "/?Action=DescribeInstances&Version=2016-11-15")
		if err == nil {
			_ = resp.Body.Close()
		}
		ended <- err
	}()
	select {
	case err := <-ended:
		t.Errorf("answered: %v", err)
	case <-time.After(100 * time.Millisecond):
	}
	l.ec2.Close()
	if err := <-ended; err == nil {
		t.Error("a hanging request was answered at the end")
	}
	if c := l.ec2.Calls(); c[len(c)-1].Code != "Hang" {
		t.Errorf("%+v", c[len(c)-1])
	}
}

func TestEachClientHasItsOwnMetadata(t *testing.T) {
	l := newLab(t)
	h := cloud.NewIMDS(map[netip.Addr]*route53test.IMDS{
		l.node1.Addr(): cloud.NodeIMDS(l.node1, "eu-central-1a"),
		l.node2.Addr(): cloud.NodeIMDS(l.node2, "eu-central-1b"),
	})
	ask := func(from, method, path string, header ...string) (int, string) {
		r := httptest.NewRequest(method, "http://169.254.169.254"+path, nil)
		r.RemoteAddr = net.JoinHostPort(from, "40000")
		for i := 0; i+1 < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w.Code, w.Body.String()
	}
	read := func(from, path string) string {
		_, token := ask(from, "PUT", "/latest/api/token", "X-Aws-Ec2-Metadata-Token-Ttl-Seconds", "60")
		_, text := ask(from, "GET", "/latest/meta-data/"+path, "X-Aws-Ec2-Metadata-Token", token)
		return text
	}
	if got := read("10.0.1.10", "instance-id") + " " + read("::ffff:10.0.2.10", "instance-id") + " " +
		read("10.0.2.10", "placement/availability-zone"); got != id1+" "+id2+" eu-central-1b" {
		t.Error(got)
	}
	if code, _ := ask("10.0.3.10", "PUT", "/latest/api/token", "X-Aws-Ec2-Metadata-Token-Ttl-Seconds", "60"); code != 404 {
		t.Errorf("stranger: %d", code)
	}
	for _, m := range []*machine{l.node1, l.node2} {
		key := cloud.AccessKey(m.name)
		if got := read(m.addr, "iam/security-credentials/"+read(m.addr, "iam/security-credentials/")); len(key) != 20 ||
			!strings.Contains(got, `"AccessKeyId":"`+key+`"`) {
			t.Errorf("%s: no %s in %s", m.name, key, got)
		}
	}
	if cloud.AccessKey("node1") == cloud.AccessKey("node2") {
		t.Error("both nodes have the same key")
	}
}
