package main

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pgha/pgha-agent/crm"
	"github.com/pgha/pgha-agent/drbd"
)

var testNames, testAddrs = [2]string{"pg-primary", "pg-secondary"}, [2]string{"127.0.1.10", "127.0.2.10"}

func look(t *testing.T, c *cluster, i int) *crm.Status {
	t.Helper()
	doc, code := c.crmMon(i, "crm_mon --output-as=xml")
	if code != 0 {
		t.Fatalf("crm_mon exits with %d:\n%s", code, doc)
	}
	st, err := crm.Parse([]byte(doc))
	if err != nil {
		t.Fatalf("%v in\n%s", err, doc)
	}
	return st
}

func roles(st *crm.Status, id string) string {
	var list []string
	for _, r := range st.Resources {
		if r.ID == id {
			list = append(list, string(r.Role)+"@"+r.Node)
		}
	}
	return strings.Join(list, " ")
}

func TestHealthyClusterReadsAsBuilt(t *testing.T) {
	c := newCluster(testNames, testAddrs, defaultFigures)
	for i := range c.nodes {
		st := look(t, c, i)
		if got, want := roles(st, rscDrbd), "Promoted@pg-primary Unpromoted@pg-secondary"; got != want {
			t.Errorf("node %d sees %q, want %q", i, got, want)
		}
		if got, want := roles(st, rscFs)+" "+roles(st, rscPg), "Started@pg-primary Started@pg-primary"; got != want {
			t.Errorf("node %d sees the group as %q, want %q", i, got, want)
		}
		op, ok := st.PromoteOp(rscClone, testNames[0])
		if !ok || op.Call <= 0 || op.LastChange.IsZero() {
			t.Errorf("node %d sees no promote operation: %+v", i, op)
		}
		if len(st.FenceEvents) != 0 || st.FencingEnabled != crm.Yes || st.DC != testNames[1] {
			t.Errorf("node %d sees fencing %v %v and DC %q", i, st.FenceEvents, st.FencingEnabled, st.DC)
		}
	}
}

// watcher folds what a stream prints, as the agent does.
type watcher struct {
	st    *stream
	fold  *drbd.Folder
	lines []string
}

func watch(t *testing.T, c *cluster, i int, options ...string) *watcher {
	t.Helper()
	o, bad := parseEvents2(options)
	if bad != "" {
		t.Fatal(bad)
	}
	w := &watcher{st: c.subscribe(i, o), fold: drbd.NewFolder()}
	w.fold.NewStream()
	return w
}

func (w *watcher) read() drbd.Resource {
	for {
		select {
		case line := <-w.st.lines:
			w.lines = append(w.lines, line)
			w.fold.Line(time.Now(), []byte(strings.TrimSuffix(line, "\n")))
		default:
			if r := w.fold.Status(time.Now()).Resources; len(r) > 0 {
				return r[0]
			}
			return drbd.Resource{}
		}
	}
}

func TestFailoverAndReturnAsBothToolsShowIt(t *testing.T) {
	for _, options := range [][]string{{"--timestamps", "--statistics", "--full", "--poll", "pg"},
		{"--timestamps", "--statistics"}, {"pg"}} {
		t.Run(strings.Join(options, " "), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { failover(t, options) })
		})
	}
}

func failover(t *testing.T, options []string) {
	ctx := context.Background()
	c := newCluster(testNames, testAddrs, defaultFigures)
	var alerts []string
	c.hooks.alert = func(node int, env map[string]string) {
		alerts = append(alerts, testNames[node]+": "+strings.Join([]string{env["CRM_alert_kind"], env["CRM_alert_node"],
			env["CRM_alert_desc"], env["CRM_alert_rsc"], env["CRM_alert_task"]}, " "))
		if env["CRM_alert_task"] == "promote" {
			if st := look(t, c, node); roles(st, rscDrbd) != "Promoted@pg-secondary Stopped@" {
				t.Errorf("at the promote alert crm_mon says %q", roles(st, rscDrbd))
			}
		}
	}
	w := watch(t, c, 1, options...)
	if r := w.read(); r.Role != drbd.RoleSecondary || r.Connections[0].PeerRole != drbd.RolePrimary || !w.fold.Complete() {
		t.Fatalf("before: %+v", r)
	}
	c.wrote(0, 400)

	start := time.Now()
	go func() {
		if err := c.powerCut(ctx, 0); err != nil {
			t.Error(err)
		}
	}()
	at := func(d time.Duration) { time.Sleep(d - time.Since(start)); synctest.Wait() }

	at(1400 * time.Millisecond)
	if r := w.read(); r.Connections[0].State != "Connected" {
		t.Errorf("DRBD noticed before its timeout: %+v", r.Connections[0])
	}
	at(1700 * time.Millisecond)
	if r := w.read(); r.Connections[0].State != "Connecting" || r.Devices[0].Disk != "UpToDate" ||
		r.MayPromote != drbd.Yes {
		t.Errorf("after the ping timeout: %+v", r)
	}
	if all := strings.Join(w.lines, ""); !strings.Contains(all, "connection:NetworkFailure role:Unknown") ||
		!strings.Contains(all, "disk:Consistent") {
		t.Errorf("the loss is not told:\n%s", all)
	}
	at(3100 * time.Millisecond)
	st := look(t, c, 1)
	if n, _ := st.Node(testNames[0]); n.Online != crm.No || n.Unclean != crm.Yes ||
		roles(st, rscDrbd) != "Promoted@pg-primary Unpromoted@pg-secondary" {
		t.Errorf("after the token: %+v, %s", n, roles(st, rscDrbd))
	}
	if _, code := c.crmMon(0, "crm_mon"); code != 102 {
		t.Errorf("crm_mon on the dead node exits with %d", code)
	}
	at(4 * time.Second)
	if _, pending := look(t, c, 1).PendingFence(testNames[0]); !pending {
		t.Error("no fencing is pending")
	}
	at(7300 * time.Millisecond)
	st = look(t, c, 1)
	if n, _ := st.Node(testNames[0]); n.Unclean != crm.No || roles(st, rscDrbd) != "Promoting@pg-secondary Stopped@" {
		t.Errorf("after fencing: %+v, %s", n, roles(st, rscDrbd))
	}
	if ev, ok := st.LastFence(testNames[0]); !ok || ev.Completed.IsZero() {
		t.Errorf("no completed fencing: %+v", st.FenceEvents)
	}
	at(9 * time.Second)
	st = look(t, c, 1)
	if got := roles(st, rscDrbd) + " " + roles(st, rscPg); got != "Promoted@pg-secondary Stopped@ Started@pg-secondary" {
		t.Errorf("at the end: %s", got)
	}
	if op, ok := st.PromoteOp(rscClone, testNames[1]); !ok || op.Call <= 0 {
		t.Errorf("no promote operation in the history: %+v", op)
	}
	if r := w.read(); r.Role != drbd.RolePrimary || r.Connections[0].Volumes[0].PeerDisk != "Outdated" {
		t.Errorf("DRBD at the end: %+v", r)
	}
	want := []string{
		"pg-secondary: node pg-primary lost  ", "pg-secondary: resource pg-secondary OK drbd_pg promote",
		"pg-secondary: resource pg-secondary OK fs_pg start",
		"pg-secondary: resource pg-secondary OK pgsql start",
	}
	for _, a := range want {
		if !strings.Contains(strings.Join(alerts, "\n"), a) {
			t.Errorf("no alert %q in %q", a, alerts)
		}
	}

	c.wrote(1, 10000)
	var back *watcher
	sawSync := false
	err := c.comeBack(ctx, 0, func() error { back = watch(t, c, 0, options...); return nil }, func(float64) {
		c.poll(w.st)
		if v := w.read().Connections[0].Volumes[0]; v.Replication == "SyncSource" && v.Done > 10 {
			sawSync = true
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if !sawSync {
		t.Error("no progress of the resync was seen")
	}
	for name, r := range map[string]drbd.Resource{"survivor": w.read(), "returned": back.read()} {
		con := r.Connections[0]
		if r.Devices[0].Disk != "UpToDate" || con.State != "Connected" || con.Volumes[0].Replication != "Established" ||
			con.Volumes[0].PeerDisk != "UpToDate" {
			t.Errorf("%s: %+v", name, r)
		}
	}
	if r := back.read(); r.Role != drbd.RoleSecondary {
		t.Errorf("the returned node is %s", r.Role)
	}
	for i := range c.nodes {
		if got := roles(look(t, c, i), rscDrbd); got != "Promoted@pg-secondary Unpromoted@pg-primary" {
			t.Errorf("node %d sees %q", i, got)
		}
	}
	if n := w.fold.Counters(); n.UnknownKeys+n.UnknownValues != 0 {
		t.Errorf("package drbd does not know what the model prints: %+v", n)
	}
}

func TestJoiningNodeKnowsNothing(t *testing.T) {
	c := newCluster(testNames, testAddrs, defaultFigures)
	c.nodes[0].joining = true
	st := look(t, c, 0)
	if n, _ := st.Node(testNames[1]); st.DC != "" || n.Unclean != crm.Yes || roles(st, rscDrbd) != "Stopped@ Stopped@" {
		t.Errorf("DC %q, %+v, %s", st.DC, n, roles(st, rscDrbd))
	}
}
