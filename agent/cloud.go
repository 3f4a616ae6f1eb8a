package agent

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/pgha/pgha-agent/agent/aws"
	"github.com/pgha/pgha-agent/agent/explain"
	"github.com/pgha/pgha-agent/agent/fsm"
	"github.com/pgha/pgha-agent/agent/internal/wait"
	"github.com/pgha/pgha-agent/agent/status"
	"github.com/pgha/pgha-agent/drbd"
)

// Datapoints are the metrics that go to CloudWatch; docs/cloudwatch.md says what they mean,
// deploy/cloudwatch/alarms.yaml uses them.
var Datapoints = []string{"Writer", "Ready", "CriticalFindings", "ClientsServed", "FailoverPossible", "ReplicaUpToDate",
	"RecordCorrect", "ClientOutage"}

const (
	cloudTimeout = 10 * time.Second
	cloudTries   = 6  // of a message: over a minute
	cloudQueue   = 16 // messages that wait
)

// cloud sends datapoints and messages beside the loop. What cannot be sent is a log line and a counter, and never waits
// for anybody.
type cloud struct {
	agent    *Agent
	client   aws.CloudWatch
	messages chan *status.EpisodeDoc
}

// newCloud returns nil when the configuration wants neither datapoints nor messages.
func newCloud(a *Agent) *cloud {
	c := a.cfg.CloudWatch
	if c.Namespace == "" && c.TopicARN == "" {
		return nil
	}
	return &cloud{agent: a, messages: make(chan *status.EpisodeDoc, cloudQueue), client: aws.CloudWatch{
		Region: c.Region, Credentials: a.src.Credentials, Metrics: c.EndpointURL, Messages: c.SNSURL,
		HTTP: &http.Client{Timeout: cloudTimeout}, Now: a.clock.Wall,
	}}
}

// putAll sends the datapoints again and again until ctx ends.
func (c *cloud) putAll(ctx context.Context) {
	if c.agent.cfg.CloudWatch.Namespace == "" {
		return
	}
	tick := time.NewTicker(c.agent.cfg.CloudWatch.Interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C: // a tick that comes while the last is being sent is the one after it: nothing queues up
			c.put(ctx, c.agent.datapoints(c.agent.Snapshot()))
		}
	}
}

func (c *cloud) put(ctx context.Context, datapoints []aws.Datapoint) {
	c.count("PutMetricData", c.client.Put(ctx, c.agent.cfg.CloudWatch.Namespace, datapoints))
}

// count makes a metric, and of a failure a log line, of how a request went.
func (c *cloud) count(op string, err error) {
	result := "ok"
	if err != nil {
		result = "failed"
		c.agent.log.Warn("not sent to AWS", "op", op, keyErr, err)
	}
	c.agent.metrics.CloudWatch(op, result)
}

// episodeEnds takes an episode that is over. It is called by the loop, and does not wait.
func (c *cloud) episodeEnds(d *status.EpisodeDoc) {
	if c == nil {
		return
	}
	select {
	case c.messages <- d:
	default:
		c.agent.metrics.CloudWatch("Publish", "dropped")
	}
}

// publish sends what waits, one after the other, each a few times.
func (c *cloud) publish(ctx context.Context) {
	for {
		var d *status.EpisodeDoc
		select {
		case <-ctx.Done():
			return
		case d = <-c.messages:
		}
		if c.agent.cfg.CloudWatch.Namespace != "" && d.Outage != nil {
			c.put(ctx, []aws.Datapoint{c.agent.datapoint("ClientOutage", *d.Outage, aws.Seconds, d.Start)})
		}
		if c.agent.cfg.CloudWatch.TopicARN == "" {
			continue
		}
		subject, text := episodeMessage(d, c.agent.cfg.Record.Name)
		for try := range cloudTries {
			err := c.client.Publish(ctx, c.agent.cfg.CloudWatch.TopicARN, subject, text)
			c.count("Publish", err)
			if err == nil || aws.Final(err) || ctx.Err() != nil {
				break
			}
			wait.For(ctx, time.Second<<try)
		}
	}
}

// datapoint makes one of this node.
func (a *Agent) datapoint(name string, v float64, unit aws.Unit, at time.Time) aws.Datapoint {
	return aws.Datapoint{Name: name, Value: v, Unit: unit, At: at,
		Dimensions: [][2]string{{"Record", a.cfg.Record.Name}, {"Node", a.id.node}}}
}

// datapoints reads them off a snapshot. What a standby cannot say, and what is not known, is not sent.
func (a *Agent) datapoints(s *status.Snapshot) []aws.Datapoint {
	var list []aws.Datapoint
	add := func(name string, v float64, unit aws.Unit) {
		list = append(list, a.datapoint(name, v, unit, s.Wall))
	}
	now := a.clock.Boot()
	critical := 0
	for _, p := range s.Problems() {
		if p.Severity == status.Critical {
			critical++
		}
	}
	add("Writer", number(s.IsWriter(now) && s.State.Postgres.Writable), aws.None)
	d := explain.Of(s)
	add("Ready", number(now-s.At < fsm.StallBound && d.Ready), aws.None)
	add("CriticalFindings", float64(critical), aws.Count)
	if clients := d.Judgment.Database.State; clients != status.ClientsUnknown {
		add("ClientsServed", number(clients == status.ClientsServed), aws.None)
	}
	if possible := d.Judgment.Failover.Possible; possible != nil {
		add("FailoverPossible", number(*possible), aws.None)
	}
	if s.IsWriter(now) {
		res, _ := s.Resource()
		add("ReplicaUpToDate", number(replicated(res)), aws.None)
		add("RecordCorrect", number(s.Publication() == status.PubObserved), aws.None)
	}
	return list
}

// replicated reports that another node has a good copy: connected, and every disk that was not left out on purpose is
// UpToDate.
func replicated(r drbd.Resource) bool {
	for _, c := range r.Connections {
		good := c.State == drbd.ConnConnected && len(c.Volumes) > 0
		for _, v := range c.Volumes {
			good = good && v.PeerDisk == drbd.DiskUpToDate && v.PeerClient != drbd.Yes
		}
		if good {
			return true
		}
	}
	return false
}

// episodeMessage says in words how an episode went.
func episodeMessage(d *status.EpisodeDoc, record string) (subject, text string) {
	subject = fmt.Sprintf("%s: %s on %s, %s", record, d.Cause, d.Node, d.Outcome)
	var b strings.Builder
	fmt.Fprintf(&b, "Episode %d of %s on %s\ncause: %s\noutcome: %s\nfirst sign: %s\nbefore: %s\nstart: %s\n\n", d.ID,
		record, d.Node, d.Cause, d.Outcome, d.Why, d.Peer, d.Start.Format(time.RFC3339))
	for _, p := range d.Phases {
		fmt.Fprintf(&b, "T+%.2fs  %s\n", p.After, p.Phase)
	}
	if d.Outage != nil {
		fmt.Fprintf(&b, "\nA client of the name was without a server for %.1f s; then %s answered.\n", *d.Outage, d.Answered)
	}
	fmt.Fprintf(&b, "\npgha-agent history %d, on %s, shows it again.\n", d.ID, d.Node)
	return subject, b.String()
}

func number(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
