package main

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pgha/pgha-agent/crm"
)

// installTools builds the stand-ins and serves one node's.
func installTools(tb testing.TB, c *cluster, node int) (dir string, t *toolServer) {
	tb.Helper()
	dir, err := os.MkdirTemp("", "pgha-demo-") // not the test's own: its name may be too long for a socket
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = os.RemoveAll(dir) })
	standin := filepath.Join(dir, "standin")
	if err := build(context.Background(), modulePath+"/cmd/pgha-demo/standin", standin, staticBuild); err != nil {
		tb.Fatal(err)
	}
	for _, tool := range []string{"crm_mon", "cibadmin", "drbdsetup"} {
		if err := os.Link(standin, filepath.Join(dir, tool)); err != nil {
			tb.Fatal(err)
		}
	}
	t, err = serveTools(c, node, dir)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(t.kill)
	return dir, t
}

func exitCode(err error) int {
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return exit.ExitCode()
	}
	return 0
}

func TestToolsAnswerAsTheRealOnes(t *testing.T) {
	c := newCluster(testNames, testAddrs, defaultFigures)
	dir, server := installTools(t, c, 1)
	run := func(args ...string) (string, int) {
		out, err := exec.Command(filepath.Join(dir, args[0]), args[1:]...).Output()
		return string(out), exitCode(err)
	}

	doc, code := run("crm_mon", "--output-as=xml")
	if _, err := crm.Parse([]byte(doc)); code != 0 || err != nil {
		t.Errorf("crm_mon: exit %d, %v", code, err)
	}
	doc, code = run("cibadmin", "-Q", "-o", "configuration")
	conf, err := crm.ParseConfiguration([]byte(doc))
	if code != 0 || err != nil {
		t.Fatalf("cibadmin: exit %d, %v", code, err)
	}
	if ids := conf.Database(rscClone); !slices.Equal(ids, []string{rscDrbd, rscClone, rscFs, rscGroup, rscPg}) {
		t.Errorf("the database is made of %q", ids)
	}
	if out, code := run("cibadmin", "--delete-all"); code != 64 || out != "" {
		t.Errorf("cibadmin changes something: exit %d, %q", code, out)
	}
	if out, code := run("drbdsetup", "events2", "--now", "--statistics", "pg"); code != 0 ||
		!strings.HasSuffix(out, "exists -\n") || !strings.Contains(out, "disk:UpToDate") {
		t.Errorf("events2 --now: exit %d, %q", code, out)
	}
	if out, code := run("drbdsetup", "events2", "--diff"); code != 20 || !strings.Contains(out, "USAGE") {
		t.Errorf("unknown option: exit %d, %q", code, out)
	}
	if out, code := run("drbdsetup", "events2", "--full", "--poll", "pg"); code != 0 ||
		!strings.HasSuffix(out, "exists -\n") {
		t.Errorf("--poll without standard input: exit %d, %q", code, out)
	}
	c.update(func() { c.nodes[1].stack = false })
	doc, code = run("crm_mon", "--output-as=xml")
	var said *crm.StatusError
	if _, err := crm.Parse([]byte(doc)); code != 102 || !errors.As(err, &said) || said.Code != 102 {
		t.Errorf("without Pacemaker: exit %d, %v", code, err)
	}

	if out, code := run("cibadmin", "-Q", "-o", "configuration"); code != 102 || out != "" {
		t.Errorf("cibadmin without Pacemaker: exit %d, %q", code, out)
	}

	server.kill()
	if out, code := run("crm_mon", "--output-as=xml"); code != 102 || out != "" {
		t.Errorf("on a dead node: exit %d, %q", code, out)
	}
	if out, code := run("drbdsetup", "events2"); code != 20 || out != "" {
		t.Errorf("on a dead node: exit %d, %q", code, out)
	}
}

func TestPolledStreamAnswersRefreshesAndDiesWithItsNode(t *testing.T) {
	c := newCluster(testNames, testAddrs, defaultFigures)
	dir, server := installTools(t, c, 1)
	cmd := exec.Command(filepath.Join(dir, "drbdsetup"), "events2", "--statistics", "--full", "--poll", "pg")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	expect := func(want string) {
		t.Helper()
		buf, text := make([]byte, 4096), ""
		for deadline := time.Now().Add(5 * time.Second); !strings.Contains(text, want); {
			n, err := out.Read(buf)
			text += string(buf[:n])
			if err != nil || time.Now().After(deadline) {
				t.Fatalf("no %q in %q: %v", want, text, err)
			}
		}
	}
	expect("exists -\n")
	c.wrote(0, 4000)
	if _, err := io.WriteString(in, "n\n"); err != nil {
		t.Fatal(err)
	}
	expect("written:4000")
	c.change(1, func(s *side) { s.conn = "NetworkFailure" })
	expect("connection:NetworkFailure")
	server.kill()
	if err := cmd.Wait(); err == nil {
		t.Error("the tool outlives its node")
	}
}

func BenchmarkCrmMonProcess(b *testing.B) {
	c := newCluster(testNames, testAddrs, defaultFigures)
	dir, _ := installTools(b, c, 1)
	for b.Loop() {
		if out, err := exec.Command(filepath.Join(dir, "crm_mon"), "--output-as=xml").Output(); err != nil ||
			len(out) < 1000 {
			b.Fatalf("%v: %d bytes", err, len(out))
		}
	}
}
