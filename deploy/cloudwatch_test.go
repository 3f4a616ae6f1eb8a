package deploy_test

import (
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/pgha/pgha-agent/agent"
)

// TestAlarmsUseWhatTheAgentSends compares the template's metrics with the figures, and its references with its
// parameters.
func TestAlarmsUseWhatTheAgentSends(t *testing.T) {
	data, err := os.ReadFile("cloudwatch/alarms.yaml")
	if err != nil {
		t.Fatal(err)
	}
	type metric struct {
		Namespace  yaml.Node `yaml:"Namespace"` // a word, or !Ref of a parameter
		MetricName string    `yaml:"MetricName"`
	}
	var template struct {
		Parameters map[string]struct {
			Type string `yaml:"Type"`
		} `yaml:"Parameters"`
		Resources map[string]struct {
			Type       string `yaml:"Type"`
			Properties struct {
				Metric            metric `yaml:",inline"`
				AlarmDescription  string `yaml:"AlarmDescription"`
				TreatMissingData  string `yaml:"TreatMissingData"`
				EvaluationPeriods int    `yaml:"EvaluationPeriods"`
				Metrics           []struct {
					MetricStat struct {
						Metric metric `yaml:"Metric"`
					} `yaml:"MetricStat"`
				} `yaml:"Metrics"`
			} `yaml:"Properties"`
		} `yaml:"Resources"`
	}
	if err := yaml.Unmarshal(data, &template); err != nil {
		t.Fatal(err)
	}
	used := map[string]bool{}
	for name, r := range template.Resources {
		p := r.Properties
		if r.Type != "AWS::CloudWatch::Alarm" || p.AlarmDescription == "" || p.TreatMissingData == "" ||
			p.EvaluationPeriods == 0 {
			t.Errorf("%s: no whole alarm: %+v", name, p)
		}
		if p.Metric.MetricName != "" {
			used[p.Metric.Namespace.Value+" "+p.Metric.MetricName] = true
		}
		for _, m := range p.Metrics {
			if m.MetricStat.Metric.MetricName != "" {
				used[m.MetricStat.Metric.Namespace.Value+" "+m.MetricStat.Metric.MetricName] = true
			}
		}
	}
	var ours, others []string
	for key := range used {
		if figure, is := strings.CutPrefix(key, "Namespace "); is { // !Ref Namespace
			ours = append(ours, figure)
		} else {
			others = append(others, key)
		}
	}
	slices.Sort(ours)
	slices.Sort(others)
	if want := slices.Sorted(slices.Values(agent.Datapoints)); !slices.Equal(ours, want) {
		t.Errorf("the alarms use %v, the agent sends %v", ours, want)
	}
	if want := []string{"AWS/EC2 CPUUtilization", "AWS/EC2 StatusCheckFailed",
		"CWAgent disk_used_percent"}; !slices.Equal(others, want) {
		t.Errorf("of others the alarms use %v, want %v", others, want)
	}
	for _, ref := range regexp.MustCompile(`!Ref (\w+)|\$\{(\w+)\}`).FindAllStringSubmatch(string(data), -1) {
		if name := ref[1] + ref[2]; template.Parameters[name].Type == "" {
			t.Errorf("%s is no parameter", name)
		}
	}
	page, err := os.ReadFile("../docs/cloudwatch.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, figure := range agent.Datapoints {
		if !strings.Contains(string(page), "| `"+figure+"` |") {
			t.Errorf("docs/cloudwatch.md does not say what %s means", figure)
		}
	}
}

// TestCloudWatchPolicy wants the two actions that the agent uses, and no more.
func TestCloudWatchPolicy(t *testing.T) {
	data, err := os.ReadFile("iam-policy-cloudwatch.json")
	if err != nil {
		t.Fatal(err)
	}
	var policy struct {
		Statement []struct{ Effect, Action string }
	}
	if err := json.Unmarshal(data, &policy); err != nil {
		t.Fatal(err)
	}
	var actions []string
	for _, s := range policy.Statement {
		actions = append(actions, s.Effect+" "+s.Action)
	}
	if want := []string{"Allow cloudwatch:PutMetricData", "Allow sns:Publish"}; !slices.Equal(actions, want) {
		t.Errorf("actions %v, want %v", actions, want)
	}
}
