package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pgha/pgha-agent/cmd/internal/wait"
)

// usage is what the kernel counts for a process.
type usage struct {
	own, children  time.Duration
	childrenFaults string // of children that were reaped: it grows with every one
	rss            string
}

// usageOf reads /proc/PID/stat (proc(5): fields 11 and 14 to 17; the kernel's clock tick is 10 ms for every program)
// and VmRSS.
func usageOf(pid int) (u usage, err error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return u, err
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return u, err
	}
	f := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:])) // f[0] is field 3
	ticks := func(fields ...int) (sum time.Duration) {
		for _, n := range fields {
			v, _ := strconv.Atoi(f[n-3]) // the kernel writes numbers
			sum += time.Duration(v) * 10 * time.Millisecond
		}
		return sum
	}
	u.own, u.children, u.childrenFaults = ticks(14, 15), ticks(16, 17), f[11-3]
	for line := range strings.SplitSeq(string(status), "\n") {
		if kb, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			n, _ := strconv.Atoi(strings.Fields(kb)[0])
			u.rss = fmt.Sprintf("%.1f MiB", float64(n)/1024)
		}
	}
	return u, nil
}

// childrenOf lists the living children of all threads of a process.
func childrenOf(pid int) (string, error) {
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	var all []string
	for _, name := range tasks {
		data, e := os.ReadFile(name)
		if e == nil { // else the thread has ended
			all = append(all, strings.Fields(string(data))...)
		}
	}
	return strings.Join(all, " "), err
}

// usageDuring is the processor time that the daemon took while f ran, and its memory at the end.
func (w *world) usageDuring(f func() error) (u usage, err error) {
	before, err := usageOf(w.daemon.Process.Pid)
	if err != nil {
		return u, err
	}
	if err := f(); err != nil {
		return u, err
	}
	u, err = usageOf(w.daemon.Process.Pid)
	u.own, u.children = u.own-before.own, u.children-before.children
	return u, err
}

func (w *world) measureIdle(ctx context.Context, length time.Duration, t *table) error {
	note("watching the idle daemon for %v", length)
	used, err := w.usageDuring(func() error { return wait.For(ctx, length) })
	if err != nil {
		return err
	}
	share := func(d time.Duration) string { return fmt.Sprintf("%.2f %%", 100*d.Seconds()/length.Seconds()) }
	t.row("idle daemon, CPU of one core", share(used.own), "", "", "< 0.5 %")
	t.row("its crm_mon and drbdsetup (stand-ins)", share(used.children), "", "", "")
	t.row("idle daemon, resident memory", used.rss, "", "", "< 40 MiB")
	return nil
}

func (w *world) measureScrape(ctx context.Context, series int, t *table) error {
	const scrapes = 100
	pid := w.daemon.Process.Pid
	var all []sample
	size, quiet := 0, 0
	for i := 0; i < series || quiet == 0 && i < 20; i++ {
		note("scraping, series %d", i+1)
		children, err := childrenOf(pid)
		if err != nil {
			return err
		}
		before, err := usageOf(pid)
		if err != nil {
			return err
		}
		var s sample
		for range scrapes {
			start := time.Now()
			page, err := w.get(ctx, "/metrics")
			if err != nil {
				return fmt.Errorf("scrape: %w", err)
			}
			s, size = append(s, time.Since(start)), len(page)
		}
		all = append(all, s)
		after, err := usageOf(pid)
		if err != nil {
			return err
		}
		now, err := childrenOf(pid)
		if err != nil {
			return err
		}
		if now == children && after.childrenFaults == before.childrenFaults {
			quiet++ // in the other series the daemon looked at the cluster, as it does every few seconds
		}
	}
	t.times(fmt.Sprintf("scrape of /metrics (%d KiB)", size/1024), best(all), "< 2 ms")
	if quiet == 0 {
		return errors.New("in every series of scrapes the daemon started a process")
	}
	t.row(fmt.Sprintf("processes started by %d scrapes", scrapes), "0", "", "", "0")
	return nil
}

// alertEnv is what Pacemaker sets for a promotion.
func (w *world) alertEnv(socket string, n int) []string {
	return append(slices.Clip(w.env), "CRM_alert_version=3.0.0", "CRM_alert_kind=resource", "CRM_alert_task=promote",
		"CRM_alert_rc=0",
		"CRM_alert_node=pg-b", "CRM_alert_rsc=drbd_pg", "CRM_alert_recipient="+socket,
		"CRM_alert_node_sequence="+strconv.Itoa(n))
}

// measureHook times the hook alone, at a socket of our own, and a run of the crm_mon stand-in.
func (w *world) measureHook(ctx context.Context, rounds, series int, t *table) error {
	socket := filepath.Join(w.dir, "own.sock")
	l, err := net.Listen("unix", socket)
	if err != nil {
		return err
	}
	defer func() { _ = l.Close() }()
	arrived := make(chan time.Time, 1)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			if _, err := bufio.NewReader(conn).ReadString('\n'); err == nil {
				arrived <- time.Now()
			}
			_, _ = conn.Write([]byte("ok\n"))
			_ = conn.Close()
		}
	}()
	var starts, exits, mons []sample
	for i := range series {
		note("the hook alone, series %d", i+1)
		var start, exit, mon sample
		for n := range rounds {
			hook := exec.CommandContext(ctx, w.hook())
			hook.Env = w.alertEnv(socket, n+1)
			began := time.Now()
			if err := hook.Run(); err != nil {
				return fmt.Errorf("run the hook: %w", err)
			}
			exit = append(exit, time.Since(began))
			select {
			case at := <-arrived:
				start = append(start, at.Sub(began))
			default:
				return errors.New("the hook delivered nothing")
			}
			began = time.Now()
			if err := exec.CommandContext(ctx, filepath.Join(w.dir, "crm_mon"), "--output-as=xml").Run(); err != nil {
				return fmt.Errorf("run the stand-in: %w", err)
			}
			mon = append(mon, time.Since(began))
		}
		starts, exits, mons = append(starts, start), append(exits, exit), append(mons, mon)
	}
	t.times("hook: exec to its line at the socket", best(starts), "")
	t.times("hook: exec to exit", best(exits), "")
	t.times("crm_mon stand-in: exec to exit", best(mons), "")
	return nil
}

// measureAlert times whole promotions: from the exec of the hook to the change request at Route 53.
func (w *world) measureAlert(ctx context.Context, rounds, series int, t *table) error {
	var total, toDaemon, toDecision, toRequest []sample
	call := 100
	for i := range series {
		note("alert to Route 53, series %d", i+1)
		var all, hook, look, write sample
		for len(all) < rounds {
			call++
			m, err := w.round(ctx, call)
			if err != nil {
				return fmt.Errorf("promotion %d: %w", call, err)
			}
			if m[1].Before(m[0]) || m[2].Before(m[1]) {
				continue // the daemon looked by itself at that very moment
			}
			all, hook = append(all, m[3].Sub(m[0])), append(hook, m[1].Sub(m[0]))
			look, write = append(look, m[2].Sub(m[1])), append(write, m[3].Sub(m[2]))
		}
		total, toDaemon = append(total, all), append(toDaemon, hook)
		toDecision, toRequest = append(toDecision, look), append(toRequest, write)
	}
	t.times("**alert hook exec to UPSERT at Route 53**", best(total), "p50 <= 10 ms")
	t.times("of that: process start and hook", best(toDaemon), "")
	t.times("of that: crm_mon and decision", best(toDecision), "")
	t.times("of that: signing, guard, HTTP", best(toRequest), "")
	return nil
}

// round makes one promotion and returns when the hook was started, its alert was taken, the promotion was seen and the
// request came.
func (w *world) round(ctx context.Context, call int) (m [4]time.Time, err error) {
	reads := w.aws.Count("ListResourceRecordSets")
	for len(w.marks) > 0 {
		<-w.marks
	}
	if err := w.promote(call); err != nil {
		return m, err
	}
	hook := exec.CommandContext(ctx, w.hook())
	hook.Env = w.alertEnv(filepath.Join(w.dir, "alert.sock"), call)
	m[0] = time.Now()
	if err := hook.Run(); err != nil {
		return m, fmt.Errorf("run the hook: %w", err)
	}
	late := time.After(20 * time.Second)
	for m[1].IsZero() || m[2].IsZero() || m[3].IsZero() {
		select {
		case k := <-w.marks:
			m[map[string]int{markAlert: 1, markPromoted: 2, markRequest: 3}[k.what]] = k.at
		case <-late:
			return m, errors.New("not published")
		case <-ctx.Done():
			return m, ctx.Err()
		}
	}
	// The next write is based on the record as it is read back.
	err = w.await(ctx, func() bool { return w.aws.Count("ListResourceRecordSets") > reads })
	return m, errors.Join(err, w.promote(0))
}
