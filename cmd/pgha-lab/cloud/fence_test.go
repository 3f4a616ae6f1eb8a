package cloud_test

import (
	"bytes"
	"context"
	"encoding/xml"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pgha/pgha-agent/cmd/pgha-lab/cloud"
)

const agent = "../guest/fence_lab"

// fence runs the agent with these options: on its standard input when they come as lines, else as arguments.
func fence(t *testing.T, stdin string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	for _, tool := range []string{"sh", "curl"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Fatalf("the fence agent is a script that needs %s: %v", tool, err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	c := exec.CommandContext(ctx, "sh", append([]string{agent}, args...)...)
	c.WaitDelay = time.Second
	var out, errs bytes.Buffer
	c.Stdin, c.Stdout, c.Stderr = strings.NewReader(stdin), &out, &errs
	_ = c.Run()
	return c.ProcessState.ExitCode(), out.String(), errs.String()
}

// stdin are the options as Pacemaker passes them.
func (l *lab) stdin(action, plug string, more ...string) string {
	lines := append([]string{"action=" + action, "plug=" + plug, "nodename=node2", "endpoint=" + l.url,
		"crm_feature_set=3.20.0"}, more...)
	return strings.Join(lines, "\n") + "\n"
}

func (l *lab) fence(action, plug string, more ...string) (int, string) {
	l.t.Helper()
	code, _, stderr := fence(l.t, l.stdin(action, plug, more...))
	return code, stderr
}

func (l *lab) count(action, code string) (n int) {
	for _, c := range l.ec2.Calls() {
		if c.Action == action && c.Code == code {
			n++
		}
	}
	return n
}

func TestFenceAgentSwitchesPower(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.ec2.SetStopTime(1500 * time.Millisecond)
	step := func(action string, want int, on bool) {
		t.Helper()
		if code, stderr := l.fence(action, id2); code != want || stderr != "" || l.node2.Running() != on {
			t.Fatalf("%s: exit code %d, want %d; power %v, want %v; %s", action, code, want, l.node2.Running(), on, stderr)
		}
	}
	step("monitor", 0, true)
	step("status", 0, true)
	step("off", 0, false)
	step("status", 2, false)
	step("off", 0, false)
	step("on", 0, true)
	step("reboot", 0, true)
	if !l.node1.Running() {
		t.Error("the other machine was fenced")
	}
	forced, stops := 0, 0
	for _, c := range l.ec2.Calls() {
		if c.Action == "StopInstances" {
			stops++
			if c.Force && cmp.Equal(c.Instances, []string{id2}) {
				forced++
			}
		}
	}
	if forced != stops || stops != 3 || l.count("StartInstances", "") != 2 {
		t.Errorf("%d stops, %d of them with force: %+v", stops, forced, l.ec2.Calls())
	}
}

func TestFenceAgentTakesArguments(t *testing.T) {
	l := newLab(t)
	if code, _, stderr := fence(t, "", "-o", "off", "--plug="+id1, "-e", l.url+"/", "--power-timeout", "20"); code != 0 ||
		l.node1.Running() {
		t.Errorf("off: %d %s", code, stderr)
	}
	if code, _, _ := fence(t, "", "--action=status", "-n", id1, "--endpoint", l.url); code != 2 {
		t.Errorf("status: %d", code)
	}
	if code, out, stderr := fence(t, "", "-o", "list", "-e", l.url); code != 0 || out != id1+",node1\n"+id2+",node2\n" {
		t.Errorf("list: %d %q %s", code, out, stderr)
	}
	for _, bad := range [][]string{{"-o", "off", "-e", l.url}, {"-o", "off", "-n", id1},
		{"-o", "explode", "-n", id1, "-e", l.url}, {"-x"}, {"-o"},
		{"-o", "off", "-n", id1, "-e", l.url, "-t", "soon"}} {
		if code, _, stderr := fence(t, "", bad...); code != 1 || stderr == "" {
			t.Errorf("%q: %d %q", bad, code, stderr)
		}
	}
	if code, stderr := l.fence("validate-all", ""); code != 0 {
		t.Errorf("validate-all: %s", stderr)
	}
}

func TestFenceAgentSitsOutAShortOutage(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.ec2.SetFault(cloud.Unavailable)
	back := time.AfterFunc(2500*time.Millisecond, func() { l.ec2.SetFault(cloud.None) })
	defer back.Stop()
	if code, stderr := l.fence("off", id2); code != 0 || l.node2.Running() {
		t.Errorf("exit code %d, power %v: %s", code, l.node2.Running(), stderr)
	}
	if n := l.count("StopInstances", "ServiceUnavailable"); n < 2 || n > 6 {
		t.Errorf("%d attempts in vain", n)
	}
}

func TestFenceAgentGivesUpInItsTime(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		fault cloud.Fault
		want  string
	}{
		"unavailable": {cloud.Unavailable, "ServiceUnavailable"},
		"hanging":     {cloud.Hang, "curl: (28)"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			l.ec2.SetFault(tt.fault)
			begin := time.Now()
			code, stderr := l.fence("off", id2, "power_timeout=3")
			if took := time.Since(begin); took < 2*time.Second || took > 9*time.Second {
				t.Errorf("took %v", took)
			}
			if code != 1 || !strings.Contains(stderr, tt.want) || !strings.Contains(stderr, "not stopped after 3 s") ||
				!l.node2.Running() {
				t.Errorf("exit code %d: %s", code, stderr)
			}
		})
	}
	t.Run("refused connections", func(t *testing.T) {
		t.Parallel()
		code, _, stderr := fence(t, "action=off\nplug="+id1+"\nendpoint=http://127.0.0.1:9\npower_timeout=2\n")
		if code != 1 || !strings.Contains(stderr, "curl: (7)") {
			t.Errorf("exit code %d: %s", code, stderr)
		}
	})
}

func TestFenceAgentDoesNotInsistWhenRefused(t *testing.T) {
	l := newLab(t)
	l.ec2.SetFault(cloud.Denied)
	begin := time.Now()
	code, stderr := l.fence("off", id2)
	if code != 1 || !strings.Contains(stderr, "StopInstances: UnauthorizedOperation: You are not") || !l.node2.Running() {
		t.Errorf("exit code %d: %s", code, stderr)
	}
	if code, stderr := l.fence("status", "i-0000000000000000f"); code != 1 ||
		!strings.Contains(stderr, "InvalidInstanceID.NotFound") {
		t.Errorf("unknown instance: %d %s", code, stderr)
	}
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("took %v", took)
	}
	if code, stderr := l.fence("monitor", ""); code != 0 {
		t.Errorf("monitor needs no right to switch power: %d %s", code, stderr)
	}
	_ = l.node2.PowerOff()
	if code, stderr := l.fence("off", id2); code != 0 {
		t.Errorf("off of what is off needs no right to switch power: %d %s", code, stderr)
	}
}

// TestFenceAgentBelievesALie shows the limit of fencing through an API: nobody but the machine itself knows better.
func TestFenceAgentBelievesALie(t *testing.T) {
	l := newLab(t)
	l.ec2.SetFault(cloud.Lie)
	if code, stderr := l.fence("off", id2); code != 0 || !l.node2.Running() {
		t.Errorf("exit code %d, power %v: %s", code, l.node2.Running(), stderr)
	}
}

func TestFenceAgentDescribesItself(t *testing.T) {
	code, out, stderr := fence(t, "action=metadata\n")
	if code != 0 {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	var doc struct {
		XMLName    xml.Name `xml:"resource-agent"`
		Name       string   `xml:"name,attr"`
		Parameters []struct {
			Name string `xml:"name,attr"`
		} `xml:"parameters>parameter"`
		Actions []struct {
			Name string `xml:"name,attr"`
		} `xml:"actions>action"`
	}
	if err := xml.Unmarshal([]byte(out), &doc); err != nil {
		t.Fatal(err)
	}
	got := doc.Name + ":"
	for _, p := range doc.Parameters {
		got += " " + p.Name
	}
	got += ";"
	for _, a := range doc.Actions {
		got += " " + a.Name
	}
	if want := "fence_lab: action plug port endpoint power_timeout; on off reboot status list monitor metadata " +
		"validate-all"; got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
}
