package main

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"

	"github.com/pgha/pgha-agent/agent/status"
)

// decidedBy says what decided when a phase was reached.
func decidedBy(fig figures) map[string]string {
	return map[string]string{
		"peer_lost":       fmt.Sprintf("model: DRBD's ping timeout %v", fig.DrbdNotice),
		"fence_requested": fmt.Sprintf("model: Corosync's token %v, scheduler %v", fig.Token, fig.Transition),
		"fenced":          fmt.Sprintf("model: fence_aws %v", fig.Fence),
		"promoted":        fmt.Sprintf("model: promote %v", fig.Promote),
		"mounted":         fmt.Sprintf("model: mount %v", fig.Mount),
		"pg_started":      "real: PostgreSQL's crash recovery",
		"writable":        "real: probe",
		"dns_accepted":    "real: agent and API client",
		"dns_insync":      fmt.Sprintf("model: propagation %v; real: polling", dnsDelay),
		"dns_observed":    fmt.Sprintf("real: resolver's cache, TTL %d s", recordTTL),
		"complete":        "real",
	}
}

// shell is the timeline of the shell version that the agent replaces, in seconds.
var shell = map[string]string{"fence_requested": "10 (node lost)", "promoted": "20", "mounted": "25",
	"pg_started": "30", "dns_accepted": "35", "complete": "60 (TTL)"}

// report prints and checks the failover.
func (d *demo) report(ctx context.Context) error {
	st, err := d.nodes[1].status(ctx)
	if err != nil {
		return err
	}
	e := st.Episode
	d.ui.title("What the agent saw, and what was the case (T is the time since the power cut)")
	at := map[string]time.Time{}
	for _, p := range e.Phases {
		at[p.Phase] = p.At
	}
	var rows []table.Row
	decided := decidedBy(d.cluster.fig)
	for _, p := range status.Phases {
		name := p.Is.String()
		row := table.Row{p.Text, "-", "", "", decided[name], shell[name]}
		if t, ok := at[name]; ok {
			row[1] = seconds(t.Sub(d.cut))
		}
		if truth, ok := d.truth(name); ok {
			row[2] = seconds(truth.Sub(d.cut))
			if t, ok := at[name]; ok {
				row[3] = fmt.Sprintf("%d ms", t.Sub(truth).Milliseconds())
			}
		}
		rows = append(rows, row)
	}
	d.ui.table(table.Row{"phase", "agent T+s", "really T+s", "seen after", "decided by", "shell version T+s"}, rows)
	d.ui.print("The cluster's own part is modeled: measure your own. The agents, PostgreSQL and its crash recovery, " +
		"the writes in Route 53's protocol\n" +
		"and the name's way to the client are real. On loopback a dead node refuses connections; a real one is silent.")

	history, err := d.nodes[1].history(e.ID)
	if err != nil {
		return err
	}
	d.ui.title("The agent's own history")
	d.ui.print(strings.TrimRight(history, "\n"))

	now := time.Now()
	from, to := longest(d.client.Outages(now, 0), now)
	d.ui.title("Checks")
	if said, ok := d.cluster.reached("pacemaker_promoted"); ok {
		d.ui.print(fmt.Sprintf("         from Pacemaker's word that the node is promoted to the record accepted: %d ms",
			at["dns_accepted"].Sub(said).Milliseconds()))
	}
	d.ui.check(to.Sub(from) > 0 && !from.After(d.cut.Add(100*time.Millisecond)),
		"the client could not commit for %.1f s (T%+.1fs to T%+.1fs); the shell version took about 60 s",
		to.Sub(from).Seconds(), from.Sub(d.cut).Seconds(), to.Sub(d.cut).Seconds())
	if e.Outage != nil {
		d.ui.check(*e.Outage > 0, "the agent measured an outage of %.1f s as a client of the name", *e.Outage)
	}
	var missing []string
	for _, p := range status.Phases {
		if _, ok := at[p.Is.String()]; !ok {
			missing = append(missing, p.Text)
		}
	}
	d.ui.check(len(missing) == 0 && e.Outcome == "complete" && e.Cause == "node_lost",
		"the episode is %s, cause %s, and has all %d phases%s", e.Outcome, e.Cause, len(status.Phases),
		list(" but ", missing))
	d.checkRecord(st)
	_, _, server := d.client.Last()
	host, _, _ := net.SplitHostPort(server)
	d.ui.check(host == d.nodes[1].addr, "the client's commits are answered by %s", host)
	return d.checkRows(ctx)
}

// truth is when a phase was really reached, where the demo knows it.
func (d *demo) truth(phase string) (time.Time, bool) {
	after := d.accepted()[d.writes:]
	switch {
	case phase == "dns_accepted" && len(after) > 0:
		return after[0].At, true
	case phase == "dns_insync" && len(after) > 0:
		return after[0].At.Add(dnsDelay), true
	}
	return d.cluster.reached(phase)
}

func list(prefix string, items []string) string {
	if len(items) == 0 {
		return ""
	}
	return prefix + strings.Join(items, ", ")
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.2f", d.Seconds()) }

// checkRows compares what the client was promised with what is there.
func (d *demo) checkRows(ctx context.Context) error {
	l, err := d.client.Verify(ctx, "")
	if err != nil {
		return err
	}
	failed, _ := d.client.Failed()
	d.ui.check(len(l.Lost) == 0 && l.Acked > 0 && l.Stored >= l.Acked,
		"every acknowledged row is there: %d acknowledged, %d missing, %d stored (%d attempts failed)",
		l.Acked, len(l.Lost), l.Stored, failed)
	return nil
}

// checkRecord looks at the changes that Route 53 accepted.
func (d *demo) checkRecord(st *statusDoc) {
	all := d.accepted()
	after := all[d.writes:]
	moved := 0
	for _, call := range after {
		for _, c := range call.Changes {
			if c.Set.Type == "A" && c.Action != "DELETE" {
				moved++
			}
		}
	}
	d.ui.check(len(after) == 1 && moved == 1, "exactly one change of the address record: %d accepted, with %d address",
		len(after), moved)
	a, _ := d.zone.Get(recordName, "A")
	d.ui.check(slices.Equal(a.Values, []string{d.nodes[1].addr}), "%s names %s (%s)", recordName, list("", a.Values),
		d.nodes[1].name)
	owner, _ := d.zone.Get("_pgha."+recordName, "TXT")
	claim := list("", owner.Values)
	d.ui.check(strings.Contains(claim, "epoch=2 ") && strings.Contains(claim, "owner="+d.nodes[1].name+" ") &&
		st.Record.Epoch == 2, "the claim has the next epoch: %s", claim)
}
