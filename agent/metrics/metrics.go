// Package metrics is what Prometheus scrapes: counters that live longer than a state, and what can be read off a
// snapshot.
package metrics

import (
	"regexp"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/pgha/pgha-agent/agent/doctor"
	"github.com/pgha/pgha-agent/agent/fsm"
	"github.com/pgha/pgha-agent/agent/status"
	"github.com/pgha/pgha-agent/crm"
	"github.com/pgha/pgha-agent/route53"
)

// phaseBuckets reach to ten minutes: a failover that waits for a fence device or a long crash recovery is not an
// outlier to be cut off.
var phaseBuckets = []float64{0.1, 0.25, 0.5, 1, 2, 3, 5, 7.5, 10, 15, 20, 30, 45, 60, 90, 120, 180, 300, 600}

// Metrics are the counters and histograms that live longer than a state. What can be read off the state is read off the
// snapshot by stateCollector when Prometheus asks.
type Metrics struct {
	Registry        *prometheus.Registry
	alerts          *prometheus.CounterVec
	AlertGaps       prometheus.Counter
	Stalls          prometheus.Counter
	JournalFailures prometheus.Counter
	Looks           prometheus.Histogram
	calls           *prometheus.CounterVec
	callSeconds     *prometheus.HistogramVec
	episodes        *prometheus.CounterVec
	phases          *prometheus.HistogramVec
	outage          prometheus.Histogram
	lastEpisode     prometheus.Gauge
	cloud           *prometheus.CounterVec
	doctor          *prometheus.GaugeVec
	doctorRun       prometheus.Gauge
}

// Operations of the API, for the label op.
var route53Ops = []string{"ListResourceRecordSets", "ChangeResourceRecordSets", "GetChange"}

var alertKinds = []string{crm.AlertNode, crm.AlertFencing, crm.AlertResource, crm.AlertAttribute, "other"}

// Source is where the metrics come from that this package does not count.
type Source struct {
	Snapshot  func() *status.Snapshot
	Now       func() fsm.Time // CLOCK_BOOTTIME
	Rejected  func() uint64   // alerts that were refused
	Malformed func() uint64   // connections to the alert socket that carried no alert
}

// New makes the metrics in a registry of their own.
func New(src Source) *Metrics {
	reg := prometheus.NewRegistry()
	f := promauto.With(reg)
	m := &Metrics{
		Registry: reg,
		alerts: f.NewCounterVec(prometheus.CounterOpts{
			Name: "pgha_alerts_total", Help: "Alerts received from Pacemaker, by kind.",
		}, []string{"kind"}),
		AlertGaps: f.NewCounter(prometheus.CounterOpts{
			Name: "pgha_alert_gaps_total", Help: "Alerts that Pacemaker numbered and that never arrived.",
		}),
		Stalls: f.NewCounter(prometheus.CounterOpts{
			Name: "pgha_stalls_total", Help: "Times this process stalled for longer than its bound.",
		}),
		JournalFailures: f.NewCounter(prometheus.CounterOpts{
			Name: "pgha_journal_failures_total", Help: "Failed attempts to save an episode.",
		}),
		Looks: f.NewHistogram(prometheus.HistogramOpts{
			Name: "pgha_crm_look_seconds", Help: "Time of one run of crm_mon.",
			Buckets: []float64{.002, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}),
		calls: f.NewCounterVec(prometheus.CounterOpts{
			Name: "pgha_route53_requests_total", Help: "Requests to Route 53 by operation and result; reason ok is success.",
		}, []string{"op", "reason"}),
		callSeconds: f.NewHistogramVec(prometheus.HistogramOpts{
			Name: "pgha_route53_request_seconds", Help: "Time of one request to Route 53.",
			Buckets: []float64{.01, .025, .05, .1, .25, .5, 1, 2, 3, 5},
		}, []string{"op"}),
		episodes: f.NewCounterVec(prometheus.CounterOpts{
			Name: "pgha_episodes_total",
			Help: "Episodes (one per promotion, or per alarm that did not become one) that ended on this node.",
		}, []string{"cause", "outcome"}),
		phases: f.NewHistogramVec(prometheus.HistogramOpts{
			Name: "pgha_failover_phase_seconds", Help: "Time from the first sign of a failover to each phase, on this node.",
			Buckets: phaseBuckets,
		}, []string{"phase"}),
		outage: f.NewHistogram(prometheus.HistogramOpts{
			Name:    "pgha_client_outage_seconds",
			Help:    "Outages that a client of the service name saw from this node: last success to first success.",
			Buckets: phaseBuckets,
		}),
		lastEpisode: f.NewGauge(prometheus.GaugeOpts{
			Name: "pgha_episode_last_end_timestamp_seconds",
			Help: "When the last episode on this node ended, 0 when none has since the agent started.",
		}),
	}
	f.NewCounter(prometheus.CounterOpts{ // goes with the next release; a query for it finds 0 until then
		Name: "pgha_alerts_spooled_total", Help: "Deprecated, always 0: the hook keeps no alert on disk.",
	})
	m.cloud = f.NewCounterVec(prometheus.CounterOpts{
		Name: "pgha_cloudwatch_requests_total",
		Help: "What was sent to CloudWatch (PutMetricData) and SNS (Publish), by result; dropped messages found the queue " +
			"full.",
	}, []string{"op", "result"})
	for _, result := range []string{"ok", "failed", "dropped"} {
		m.cloud.WithLabelValues("PutMetricData", result)
		m.cloud.WithLabelValues("Publish", result)
	}
	m.doctor = f.NewGaugeVec(prometheus.GaugeOpts{
		Name: "pgha_doctor_check",
		Help: "1, with the present verdict of each of the doctor's checks that cost nothing, looked at a few minutes " +
			"after the start and every hour; unknown before.",
	}, []string{"check", "verdict"})
	m.doctorRun = f.NewGauge(prometheus.GaugeOpts{
		Name: "pgha_doctor_last_run_timestamp_seconds",
		Help: "When the daemon last ran the doctor's checks, 0 when it has not since its start.",
	})
	for _, c := range doctor.FreeChecks() {
		m.Verdict(c.Name, doctor.Unknown)
	}
	f.NewCounterFunc(prometheus.CounterOpts{
		Name: "pgha_alerts_rejected_total", Help: "Alerts refused: sent by a user who may not, or not delivered.",
	}, func() float64 { return float64(src.Rejected()) })
	f.NewCounterFunc(prometheus.CounterOpts{
		Name: "pgha_alerts_malformed_total",
		Help: "Connections to the alert socket that carried no alert, were too long or too slow.",
	}, func() float64 { return float64(src.Malformed()) })
	for _, kind := range alertKinds {
		m.alerts.WithLabelValues(kind)
	}
	for _, op := range route53Ops {
		m.calls.WithLabelValues(op, "ok")
		m.callSeconds.WithLabelValues(op)
		for _, reason := range route53.Reasons {
			m.calls.WithLabelValues(op, string(reason))
		}
	}
	for _, cause := range fsm.Causes {
		for _, outcome := range fsm.Outcomes {
			m.episodes.WithLabelValues(string(cause), string(outcome))
		}
	}
	for p := range fsm.NumPhases {
		m.phases.WithLabelValues(p.String())
	}
	// Beside the usual ones the heap that the last collection left: what a leak would show in, without the garbage.
	live := collectors.WithGoCollectorRuntimeMetrics(
		collectors.GoRuntimeMetricsRule{Matcher: regexp.MustCompile(`^/gc/heap/live:bytes$`)})
	reg.MustRegister(newStateCollector(src), collectors.NewGoCollector(live),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// Route53Call counts one request to the API.
func (m *Metrics) Route53Call(op string, reason route53.Reason, took time.Duration) {
	label := string(reason)
	if reason == route53.ReasonNone {
		label = "ok"
	}
	m.calls.WithLabelValues(op, label).Inc()
	m.callSeconds.WithLabelValues(op).Observe(took.Seconds())
}

// Verdict shows the verdict of one check, and no longer the one before. The others are not there as zeros: they would
// be a third of all series.
func (m *Metrics) Verdict(check string, is doctor.Verdict) {
	m.doctor.WithLabelValues(check, string(is)).Set(1)
	for _, v := range doctor.Verdicts {
		if v != is {
			m.doctor.DeleteLabelValues(check, string(v))
		}
	}
}

// Alert counts an alert by its kind.
func (m *Metrics) Alert(kind string) {
	if slices.Contains(alertKinds, kind) {
		m.alerts.WithLabelValues(kind).Inc()
		return
	}
	m.alerts.WithLabelValues("other").Inc() // the text comes from outside and is no label
}

// Transitions observes what one step of the core added to the episode.
func (m *Metrics) Transitions(was, e *fsm.Episode) {
	if e.ID != was.ID {
		was = &fsm.Episode{}
	}
	for p := range fsm.NumPhases {
		if e.Seen(p) && !was.Seen(p) {
			m.phases.WithLabelValues(p.String()).Observe((e.Stamps[p] - e.Start).Seconds())
		}
	}
}

// ClientServedAgain counts an outage that has ended, with or without a promotion.
func (m *Metrics) ClientServedAgain(o fsm.Outage) { m.outage.Observe(o.Length().Seconds()) }

// EpisodeEnds counts an episode that is over.
func (m *Metrics) EpisodeEnds(e *fsm.Episode, wall time.Time) {
	m.episodes.WithLabelValues(string(e.Cause), string(e.Outcome)).Inc()
	m.lastEpisode.Set(float64(wall.UnixNano()) / 1e9)
}

// DoctorRan notes when the doctor's checks were run.
func (m *Metrics) DoctorRan(wall time.Time) { m.doctorRun.Set(float64(wall.Unix())) }

// CloudWatch counts what became of a request to CloudWatch or SNS: ok, failed or dropped.
func (m *Metrics) CloudWatch(op, result string) { m.cloud.WithLabelValues(op, result).Inc() }
