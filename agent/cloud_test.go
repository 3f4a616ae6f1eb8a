package agent

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/aws"

	"github.com/pgha/pgha-agent/agent/aws/awstest"
	"github.com/pgha/pgha-agent/agent/config"
	"github.com/pgha/pgha-agent/agent/fsm"
	"github.com/pgha/pgha-agent/agent/status"
	"github.com/pgha/pgha-agent/crm"
	"github.com/pgha/pgha-agent/drbd"
	"github.com/pgha/pgha-agent/pg"
)

// cloudAgent is an agent that sends to a stand-in. Its loop does not run.
func cloudAgent(t *testing.T) (*Agent, *awstest.Server) {
	t.Helper()
	s := awstest.Start()
	t.Cleanup(s.Close)
	a := bareAgent(t)
	a.cfg.CloudWatch = config.CloudWatch{
		Namespace: "PGHA", Interval: 10 * time.Millisecond, TopicARN: "arn:aws:sns:eu-central-1:123456789012:pgha",
		Region:      awstest.Region,
		EndpointURL: s.URL, SNSURL: s.URL,
	}
	a.cloud = newCloud(a)
	a.cloud.client.Credentials = sdk.CredentialsProviderFunc(func(context.Context) (sdk.Credentials, error) {
		return sdk.Credentials{AccessKeyID: awstest.AccessKey, SecretAccessKey: awstest.Secret}, nil
	})
	a.cloud.client.Now = nil
	return a, s
}

func episode(id uint64) *status.EpisodeDoc {
	return &status.EpisodeDoc{
		ID: id, Node: "pg-b", Cause: "node_lost", Outcome: "complete", Peer: "pg-a", Why: "DRBD: NetworkFailure",
		Start:  time.Now(),
		Phases: []status.PhaseDoc{{Phase: "promoted", After: 8.5}}, Outage: new(12.25), Answered: "10.0.2.10",
	}
}

func sent(a *Agent, op, result string) float64 {
	families, err := a.metrics.Registry.Gather()
	if err != nil {
		panic(err)
	}
	for _, f := range families {
		for _, m := range f.Metric {
			if f.GetName() == "pgha_cloudwatch_requests_total" && m.Label[0].GetValue() == op &&
				m.Label[1].GetValue() == result {
				return m.Counter.GetValue()
			}
		}
	}
	return 0
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("not in time: " + what)
		}
	}
}

func TestEpisodeIsToldBySNSAndCloudWatch(t *testing.T) {
	a, s := cloudAgent(t)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); a.cloud.publish(ctx) }()
	a.cloud.episodeEnds(episode(7))
	eventually(t, "the message", func() bool { return sent(a, "Publish", "ok") == 1 })
	stop()
	<-done
	m := s.Calls("Publish")[0]
	if got, want := m.Get("Subject"), "db.pgha.internal: node_lost on pg-b, complete"; got != want {
		t.Errorf("subject %q, want %q", got, want)
	}
	for _, want := range []string{"first sign: DRBD: NetworkFailure", "T+8.50s  promoted",
		"without a server for 12.2 s; then 10.0.2.10 answered", "pgha-agent history 7"} {
		if !strings.Contains(m.Get("Message"), want) {
			t.Errorf("message without %q:\n%s", want, m.Get("Message"))
		}
	}
	p := s.Calls("PutMetricData")[0]
	if p.Get("MetricData.member.1.MetricName") != "ClientOutage" || p.Get("MetricData.member.1.Value") != "12.25" {
		t.Errorf("figure %v", p)
	}
}

func TestServiceThatIsDownCostsNothing(t *testing.T) {
	a, s := cloudAgent(t)
	s.Fail(http.StatusServiceUnavailable)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{}, 2)
	go func() { a.cloud.publish(ctx); done <- struct{}{} }()
	go func() { a.cloud.putAll(ctx); done <- struct{}{} }()
	for id := range uint64(100) { // an episode's end is in the loop: it must not wait
		a.cloud.episodeEnds(episode(id + 1))
	}
	eventually(t, "failures", func() bool {
		return sent(a, "Publish", "failed") >= 1 &&
			sent(a, "PutMetricData", "failed") >= 2
	})
	if n := sent(a, "Publish", "dropped"); n < 100-cloudQueue-1 {
		t.Errorf("%g dropped, want at least %d: the queue is bounded", n, 100-cloudQueue-1)
	}
	s.Fail(0)
	eventually(t, "figures after it came back", func() bool { return sent(a, "PutMetricData", "ok") >= 1 })
	stop()
	<-done
	<-done
}

func TestNothingIsSentUnlessAsked(t *testing.T) {
	a := bareAgent(t)
	if a.cloud != nil {
		t.Error("CloudWatch is on by default")
	}
	a.cloud.episodeEnds(episode(1)) // the loop calls it all the same
}

func TestFiguresOfTheTwoRoles(t *testing.T) {
	a, _ := cloudAgent(t)
	names := func(s *status.Snapshot) (list []string, values map[string]float64) {
		values = map[string]float64{}
		for _, f := range a.datapoints(s) {
			if !slices.Contains(Datapoints, f.Name) {
				t.Errorf("figure %s is not among Figures", f.Name)
			}
			if len(f.Dimensions) != 2 || f.Dimensions[1] != [2]string{"Node", a.id.node} || f.Unit == "" {
				t.Errorf("%s: %+v", f.Name, f)
			}
			list, values[f.Name] = append(list, f.Name), f.Value
		}
		return list, values
	}
	now := a.clock.Boot()
	s := &status.Snapshot{Config: a.cfg, At: now, Wall: time.Now()}
	if list, v := names(s); !slices.Equal(list, []string{"Writer", "Ready", "CriticalFindings"}) || v["Writer"] != 0 ||
		v["Ready"] != 0 {
		t.Errorf("a standby sends %v", v)
	}
	r := healthyDrbd()
	r.Status.Resources[0].Name = a.cfg.Drbd.Resource
	s.Drbd = r
	s.State.Cluster = fsm.Cluster{At: now, OK: true, PromotedHere: true}
	s.State.Drbd = fsm.Drbd{At: now, Live: true, Primary: true, UpToDate: true, Connected: true}
	s.State.Postgres.Writable = true
	s.Client, s.ClientProbe, s.State.Zone = true, pg.ClientProbe{OK: true, State: pg.StateWritable},
		fsm.Zone{At: now, OK: true, Addr: "10.0.1.10"}
	s.Sources[status.SourceCrm].Up = true
	s.Crm = &crm.Status{Nodes: []crm.Node{{Name: a.id.node, Online: crm.Yes}}}
	list, v := names(s)
	if all := append(list, "ClientOutage"); !slices.Equal(all, Datapoints) {
		t.Errorf("sent are %v, Datapoints says %v", all, Datapoints)
	}
	// Alone it has nowhere to go.
	if v["Writer"] != 1 || v["RecordCorrect"] != 0 || v["ClientsServed"] != 1 || v["FailoverPossible"] != 0 {
		t.Errorf("the promoted node sends %v", v)
	}
	s.ClientProbe = pg.ClientProbe{State: pg.StateRefused}
	if _, v := names(s); v["ClientsServed"] != 0 {
		t.Errorf("while clients are cut off it sends %v", v)
	}
	s.ClientProbe = pg.ClientProbe{State: pg.StateAuth}
	if list, _ := names(s); slices.Contains(list, "ClientsServed") {
		t.Errorf("a role that is rejected tells nothing of clients: %v", list)
	}
}

func TestReplicated(t *testing.T) {
	volume := func(disk drbd.DiskState, client drbd.Tri) drbd.Connection {
		return drbd.Connection{State: "Connected", Volumes: []drbd.PeerDevice{{PeerDisk: disk, PeerClient: client}}}
	}
	for name, c := range map[string]struct {
		connections []drbd.Connection
		want        bool
	}{
		"a good copy":                {[]drbd.Connection{volume("UpToDate", drbd.No)}, true},
		"behind":                     {[]drbd.Connection{volume("Inconsistent", drbd.No)}, false},
		"nobody":                     {nil, false},
		"a diskless witness":         {[]drbd.Connection{volume("Diskless", drbd.Yes)}, false},
		"a good copy and a witness":  {[]drbd.Connection{volume("Diskless", drbd.Yes), volume("UpToDate", drbd.No)}, true},
		"connected without a volume": {[]drbd.Connection{{State: "Connected"}}, false},
	} {
		if got := replicated(drbd.Resource{Connections: c.connections}); got != c.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}
