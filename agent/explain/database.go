package explain

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pgha/pgha-agent/agent/status"
	"github.com/pgha/pgha-agent/crm"
	"github.com/pgha/pgha-agent/drbd"
	"github.com/pgha/pgha-agent/pg"
)

// clientView is what a client of the name sees from one node.
type clientView struct {
	node  string
	known bool
	ok    bool
	state pg.State
	why   string // it is not served
	since *time.Time
}

func (j *judge) clientViews() (views []clientView) {
	for _, d := range j.docs() {
		c := d.Client
		switch {
		case c == nil || c.State == "" && c.Asked: // off, or not tried yet
			continue
		case !c.Asked && (d.Record.Read == nil || d.Record.Addr != ""): // not asked yet: a name that was made a moment ago
			continue
		case !c.Asked && d.Record.Name != j.recordName(): // a name by mistake, which was never published
			continue
		}
		v := clientView{node: d.Node, known: true, ok: c.OK, state: c.State, why: c.Error, since: c.DownSince}
		switch {
		case !c.Asked:
			v.ok, v.why = false, fmt.Sprintf("%s does not exist", d.Record.Name)
		case c.State == pg.StateAuth:
			v.known = false
		}
		views = append(views, v)
	}
	return views
}

// blink is for how long the client of one node may fail while that of another one is served: one attempt that takes too
// long on a busy machine is no news.
const blink = 5 * time.Second

// database says whether clients can write through the name, and what keeps them from it.
func (j *judge) database() (status.Database, []status.Finding) {
	out := status.Database{Node: j.primary(), State: status.ClientsUnknown}
	var good, bad []clientView
	var rejected *clientView
	for _, v := range j.clientViews() {
		switch {
		case !v.known:
			rejected = &v
		case v.ok:
			good = append(good, v)
		default:
			bad = append(bad, v)
		}
	}
	if len(good) > 0 {
		bad = slices.DeleteFunc(bad, func(v clientView) bool { return v.since != nil && j.Now.Sub(*v.since).Abs() < blink })
	}
	writers := j.writers()
	if len(writers) > 1 {
		out.Node = ""
	}
	server := j.server(out.Node)
	switch {
	case len(good) > 0 && len(bad) > 0:
		out.State = status.ClientsPartly
	case len(good) > 0:
		out.State = status.ClientsServed
	case len(bad) > 0, slices.ContainsFunc(server, critical), out.Node == "" && j.Cluster != nil:
		out.State = status.ClientsCutOff
	}
	name := j.recordName()
	findings := server
	if len(writers) > 1 {
		findings = append(findings, j.manyPromoted(writers))
	}
	switch out.State {
	case status.ClientsServed:
		out.Text = fmt.Sprintf("Clients can write through %s: the database is on %s.", name, out.Node)
		switch {
		case len(writers) > 1:
			out.State = status.ClientsPartly
			out.Text = fmt.Sprintf("Clients can write through %s, and more than one node has the database: %s.", name,
				strings.Join(writers, ", "))
		case out.Node == "":
			out.Text = fmt.Sprintf("Clients can write through %s. Which node has the database is not known here.", name)
		}
		if full := slices.IndexFunc(server, critical); full >= 0 {
			out.State = status.ClientsPartly
			out.Text = fmt.Sprintf("Clients reach the database through %s, and may not be able to write: %s.", name,
				server[full].Text)
		}
	case status.ClientsPartly:
		out.Text = fmt.Sprintf("Clients can write through %s from %s, and not from %s: %s.", name, good[0].node, bad[0].node,
			bad[0].why)
		findings = append(findings, j.way(out.Node, bad)...)
	case status.ClientsCutOff:
		for _, v := range bad {
			// The clock of another node may be ahead.
			if v.since != nil && (out.Since == nil || v.since.After(*out.Since)) && !v.since.After(j.Now) {
				out.Since = v.since
			}
		}
		out.Text = fmt.Sprintf("CLIENTS ARE CUT OFF: nobody can write through %s", name)
		if out.Since != nil {
			out.Text += fmt.Sprintf(" since %s (%s)", out.Since.Format("15:04:05 MST"), status.Ago(j.Now.Sub(*out.Since)))
		}
		out.Text += "."
		switch {
		case out.Node != "":
			out.Text += fmt.Sprintf(" The database is on %s.", out.Node)
		case len(writers) > 1:
			out.Text += fmt.Sprintf(" More than one node has the database: %s.", strings.Join(writers, ", "))
		case j.Cluster != nil:
			out.Text += " No node has the database."
		}
		if len(writers) > 1 {
			break
		} else if out.Node == "" {
			findings = append(findings, j.nobody()...)
		} else if !slices.ContainsFunc(server, critical) {
			findings = append(findings, j.way(out.Node, bad)...)
		}
	case status.ClientsUnknown:
		out.Text = fmt.Sprintf("Whether clients can write through %s is not known: no view of a client is there.", name)
		if rejected != nil {
			out.Text = fmt.Sprintf("Whether clients can write through %s is not known: the server rejects the role of the "+
				"client's view.", name)
			if !slices.ContainsFunc(findings, isRejected) {
				findings = append(findings, j.rejectedRole(out.Node, rejected.why, nil))
			}
		}
		findings = append(findings, j.misledUnseen(out.Node)...)
	}
	if rejected != nil && out.State != status.ClientsUnknown && !slices.ContainsFunc(findings, isRejected) {
		findings = append(findings, j.rejectedRole(out.Node, rejected.why, rejected))
	}
	if out.Node != "" && j.Cluster != nil {
		if lost := j.promoted(); lost != "" && j.unfenced(lost) {
			findings = append(findings, j.unfencedWriter(lost))
		}
		findings = append(findings, j.failing(out.Node)...)
	}
	if out.State == status.ClientsServed {
		findings = append(findings, j.otherNames(out.Node)...)
	}
	if out.Node != "" && j.Own != nil && j.Own.Cluster != nil && len(j.Own.Cluster.Promoted) == 0 {
		findings = append(findings, report(status.Warning, "role_forgotten", out.Node, fmt.Sprintf(
			"Pacemaker shows no node as promoted, and %s is DRBD's Primary: a cleanup or a refresh has erased what it knew, or "+
				"somebody made it Primary by hand", out.Node),
			"wait until it shows the promoted node again; clean up or move nothing until then", "crm_mon -1"))
	}
	return out, findings
}

// misledUnseen tells where the name leads away from a node with the database when nobody is a client of it. That node
// itself says so in its part about the record, and why it does not follow is told of it.
func (j *judge) misledUnseen(node string) (list []status.Finding) {
	has := j.docOf(node)
	if has == nil || has == j.Own || has.Episode != nil && has.Episode.Outcome == "open" {
		return nil
	}
	if _, remedy, _ := j.notFollowing(has); remedy != "" {
		return nil
	}
	for _, f := range j.misled(node, j.Own) {
		if f.Code == "name_elsewhere" || f.Code == "name_negative" {
			f.Severity = status.Warning
			list = append(list, f)
		}
	}
	return list
}

// failing warns of what has failed on the node that has the database, and works again: one failure more may move it.
func (j *judge) failing(node string) []status.Finding {
	t := &target{judge: j, node: node}
	for _, c := range j.Cluster.FailCounts {
		if c.Node == node && slices.Contains(j.ids, base(c.Resource)) && c.Count > 0 {
			t.failCount(c)
		}
	}
	for i := range t.list {
		t.list[i].Severity = status.Warning
	}
	return t.list
}

// manyPromoted is about two nodes that both have the database.
func (j *judge) manyPromoted(nodes []string) status.Finding {
	return report(status.Critical, "many_promoted", "", fmt.Sprintf("more than one node has the database: %s",
		strings.Join(nodes, ", ")), "fencing ends this when it works; if it lasts, find out, on both nodes, which one has "+
		"the data before anything else: docs/operate.md, Split brain", "crm_mon -1", "drbdsetup status --verbose "+j.Resource)
}

func critical(f status.Finding) bool { return f.Severity == status.Critical }

// otherNames finds nodes that are set to another record than the one that has the database. What they see of theirs is
// no news of the database.
func (j *judge) otherNames(node string) (list []status.Finding) {
	served := j.docOf(node)
	for _, d := range j.docs() {
		if served == nil || d.Record.Name == served.Record.Name {
			continue
		}
		for _, diff := range Differences(served, d) {
			list = append(list, report(status.Warning, "other_configuration", d.Node, diff,
				"make it equal on both nodes, then reload the one that you changed", "systemctl reload pgha-agent"))
		}
	}
	return list
}

// recordName is the name that clients use, as far as it is known: that of the node that has the database.
func (j *judge) recordName() string {
	docs := j.docs()
	if d := j.docOf(j.primary()); d != nil {
		docs = append([]*status.Doc{d}, docs...)
	}
	for _, d := range docs {
		if d.Record.Name != "" {
			return d.Record.Name
		}
	}
	return "the name"
}

func report(severity, code, node, text, remedy string, commands ...string) status.Finding {
	return status.Finding{Code: code, Severity: severity, Node: node, Text: text, Remedy: remedy, Commands: commands}
}

// server judges the server of the node that has the database: its disk first, which everything waits for.
func (j *judge) server(node string) (list []status.Finding) {
	d := j.docOf(node)
	if d == nil {
		return nil
	}
	add := func(severity, code, text, remedy string, commands ...string) {
		list = append(list, report(severity, code, node, text, remedy, commands...))
	}
	if r := d.Drbd; r != nil && r.Role == drbd.RolePrimary {
		for _, v := range r.Devices {
			if v.Disk != drbd.DiskUpToDate {
				list = append(list, j.writerDisk(node, r, v.Disk))
			}
			if v.Quorum != nil && !*v.Quorum {
				add(status.Critical, "drbd_quorum", fmt.Sprintf("volume %d of DRBD has lost its quorum on %s: writes fail or wait",
					v.Volume, node),
					"connect the DRBD nodes that vote; on "+node+":", "drbdsetup status --verbose "+j.Resource)
			}
		}
		if len(r.Suspended) > 0 {
			remedy, commands := j.resume(r.Suspended)
			add(status.Critical, "drbd_suspended", fmt.Sprintf("DRBD has suspended I/O on %s (%s): every write waits", node,
				strings.Join(r.Suspended, ", ")), remedy+"; on "+node+":", commands...)
		}
	}
	list = append(list, j.space(d)...)
	p := &d.Postgres
	if p.FlushStall > 0 {
		commands := []string{"drbdsetup status --verbose --statistics " + j.Resource}
		for _, m := range d.Mounts {
			if m.OfDatabase() {
				commands = append(commands, "fsfreeze --unfreeze "+m.Point)
			}
		}
		add(status.Critical, "commits_hang", fmt.Sprintf("commits hang on %s: WAL has not reached the disk for %s", node,
			status.Ago(time.Duration(p.FlushStall*float64(time.Second)))),
			"see, on "+node+", what the disk waits for: lower-pending is the device below DRBD there; pending and unacked "+
				"are the other node's disk and the network, and `drbdadm disconnect "+j.Resource+"` lets commits go on "+
				"without them; when DRBD waits for nothing, a snapshot job may have frozen the filesystem: see that none runs "+
				"any more, then thaw it by what follows the first command: runbook PghaCommitsHang",
			commands...)
	}
	if p.SyncWait > 0 {
		list = append(list, j.syncStandby(node, time.Duration(p.SyncWait*float64(time.Second))))
	}
	if p.Foreign {
		commands := []string{"systemctl disable --now postgresql", cleanup(j.postgresID(), node)}
		remedy := "stop it, on " + node + "; then let Pacemaker try again"
		if j.serverStopped(node) { // else the oldest may be the database
			remedy = "stop it, however it was started: the second command stops the oldest server on " + node + ", where the " +
				"database's own does not run; then let Pacemaker try again"
			commands = slices.Insert(commands, 1, stopServer)
		}
		add(status.Critical, "foreign_postgres", fmt.Sprintf("a PostgreSQL outside of Pacemaker holds the port on %s: "+
			"the database cannot start", node), remedy, commands...)
		return list
	}
	if (p.State == pg.StateRefused || p.State == pg.StateError) && j.answers(d.Record.OwnAddr) && !j.serverStopped(node) {
		add(status.Warning, "postgres_dsn", fmt.Sprintf("the agent of %s does not find PostgreSQL, and clients of the name "+
			"are served there: %s", node, status.OrDash(p.Error)),
			"correct postgres.dsn in /etc/pgha-agent/config.toml, and reload: the first command shows where the server "+
				"listens, on "+node, asOwner(`-c "SHOW unix_socket_directories" -c "SHOW listen_addresses" -c "SHOW port"`),
			"systemctl reload pgha-agent")
		return list
	}
	return append(list, j.postgres(node, p)...)
}

// syncStandby is about commits that have waited for a synchronous standby for so long, 0 when that is not known.
func (j *judge) syncStandby(node string, waited time.Duration) status.Finding {
	text := fmt.Sprintf("commits hang on %s: no synchronous standby has confirmed one", status.OrDash(node))
	if waited > 0 {
		text += " for " + status.Ago(waited)
	}
	return report(status.Critical, "sync_standby", node, text,
		"bring the standby back that synchronous_standby_names wants: the first command, on "+status.OrDash(node)+
			", shows it, and which are connected; or let commits go on without it by the second: they are on the disks of "+
			"DRBD, and that standby may not have them; set the name again when it is back",
		asOwner(`-c "SHOW synchronous_standby_names" -c "SELECT application_name, client_addr, state, sync_state FROM `+
			`pg_stat_replication"`),
		asOwner(`-c "ALTER SYSTEM SET synchronous_standby_names = ''" -c "SELECT pg_reload_conf()"`))
}

// answers reports a client's view that is served at an address.
func (j *judge) answers(addr string) bool {
	return addr != "" && slices.ContainsFunc(j.docs(), func(d *status.Doc) bool {
		return d.Client != nil && d.Client.Asked && d.Client.OK && d.Client.Answered == addr
	})
}

// stopServer is a fast shutdown of the oldest PostgreSQL on a machine. That is a postmaster: its children are younger.
const stopServer = "pkill -INT -o -x 'postgres|postmaster'"

// asOwner is a command that root types on the node of the server, and that PostgreSQL lets in.
func asOwner(args string) string { return "runuser -u postgres -- psql -d postgres " + args }

// resume says what ends a suspension of I/O, by its reason.
func (j *judge) resume(reasons []string) (remedy string, commands []string) {
	see := "drbdsetup status --verbose " + j.Resource
	switch {
	case slices.Contains(reasons, "fencing"):
		return "wait for the fence-peer handler; see whether the other node is being fenced: runbook PghaDrbdSuspended",
			[]string{see, "stonith_admin --history '*'"}
	case slices.Contains(reasons, "no-data"):
		return "no disk with good data is reachable: attach this one, or bring the other node back",
			[]string{see, "drbdadm attach " + j.Resource}
	case slices.Contains(reasons, "quorum"):
		return "connect the DRBD nodes that vote", []string{see, "drbdadm adjust " + j.Resource}
	}
	return "somebody suspended it by hand: let it go on when that work is done", []string{"drbdadm resume-io " +
		j.Resource}
}

// writerDisk judges a disk under the database that is not good. While the other node has a good copy, DRBD serves the
// database from there.
func (j *judge) writerDisk(node string, r *drbd.DumpResource, state drbd.DiskState) status.Finding {
	text := fmt.Sprintf("the disk of DRBD is %s on %s", state, node)
	copied := slices.ContainsFunc(r.Connections, func(c drbd.DumpConnection) bool {
		return hasCopy(c) && j.member(c.Name, node)
	})
	see := "drbdadm status " + j.Resource
	switch {
	case !state.Lost():
		return report(status.Warning, "disk_lost", node, text+": the database is served by the other node's disk",
			"wait for the end of the resync, and do not move meanwhile; without one, see what DRBD says", see)
	case !copied:
		return report(status.Critical, "disk_lost", node, text+", and no good copy is connected: reads and writes fail",
			"bring back the disk, or the node that has a good copy: runbook PghaWriterDiskBad", see)
	default:
		return report(status.Warning, "disk_lost", node, text+": the database is served by the other node's disk",
			"move the database, then mend that disk: runbook PghaWriterDiskBad", Rescue, see)
	}
}

// member reports a DRBD peer of a node that is a node of the cluster, as far as these are known: a copy elsewhere takes
// no database.
func (j *judge) member(peer, node string) bool {
	members := slices.DeleteFunc(append(j.others(), j.Node), func(n string) bool { return n == node })
	return len(members) == 0 || slices.ContainsFunc(members, func(n string) bool { return j.sameNode(peer, n) })
}

// full is how little may be free for writes to fail: PostgreSQL takes WAL segments of 16 MiB.
const full = 16 << 20

// space judges how full the filesystems of the database are.
func (j *judge) space(d *status.Doc) (list []status.Finding) {
	for _, m := range d.Mounts {
		if m.OfDatabase() {
			list = append(list, Space(d.Node, m)...)
		}
	}
	return list
}

// Space judges how full a filesystem of a node is. What could not be looked at gives nothing: that is the caller's.
func Space(node string, m status.MountDoc) []status.Finding {
	if m.Error != "" || m.Size == 0 {
		return nil
	}
	see := []string{"df -h " + m.Point, "du -xhd1 " + m.Point + " | sort -h"}
	const remedy = "free space there, and never in pg_wal by hand: see what keeps WAL back (slots, archiving), or " +
		"make the volume larger"
	one := func(severity, code, text string, commands ...string) []status.Finding {
		return []status.Finding{report(severity, code, node, text, remedy, commands...)}
	}
	in := time.Duration(m.FullIn * float64(time.Second))
	switch percent := 100 * float64(m.Free) / float64(m.Size); {
	case m.Free < full:
		return one(status.Critical, "filesystem_full",
			fmt.Sprintf("%s is full on %s (%d MiB left): writes fail", m.Point, node, m.Free>>20), see...)
	case m.Inodes != nil && *m.Inodes == 0:
		return one(status.Critical, "filesystem_full",
			fmt.Sprintf("%s has no inode left on %s: writes fail", m.Point, node), "df -i "+m.Point)
	case percent < 10, in > 0 && in < 4*time.Hour && percent < 50:
		text := fmt.Sprintf("%s on %s has %.0f %% left", m.Point, node, percent)
		if in > 0 {
			text += ", and is full in " + status.Ago(in) + " at this rate"
		}
		return one(status.Warning, "filesystem_fills", text, see...)
	}
	return nil
}

// Statements that free connections. PostgreSQL keeps superuser_reserved_connections, 3 by default, for who sends them.
const (
	endIdle = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE state LIKE 'idle%' AND " +
		"state_change < now() - interval '1 minute'"
	endMost = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename <> current_user AND " +
		"usename = (SELECT usename FROM pg_stat_activity WHERE backend_type = 'client backend' AND usename <> current_user " +
		"GROUP BY 1 ORDER BY count(*) DESC LIMIT 1)"
)

// postgres judges the server's answer.
func (j *judge) postgres(node string, p *status.PostgresDoc) []status.Finding {
	id := j.postgresID()
	one := func(severity, code, text, remedy string, commands ...string) []status.Finding {
		return []status.Finding{report(severity, code, node, text, remedy, commands...)}
	}
	switch p.State {
	case pg.StateWritable, pg.StateUnknown, "":
		return nil
	case pg.StateStartingUp:
		return one(status.Critical, "postgres_recovers", fmt.Sprintf("PostgreSQL on %s recovers: it accepts connections "+
			"when that is done", node),
			"see, on "+node+", whether it goes on: the startup process names the WAL file that it is at. One that does not "+
				"move, or that waits for more WAL, is no crash recovery: see its log",
			"ps -o pid,stat,etime,cmd -C postgres", "journalctl -t postgres -n 20")
	case pg.StateTimeout:
		return one(status.Critical, "postgres_hangs", fmt.Sprintf("PostgreSQL on %s takes no new connection: it hangs (%s)",
			node, p.Error),
			"see, on "+node+", what its processes wait for: T is stopped and goes on by the second command, D waits for the "+
				"disk; if it still hangs a minute later, let Pacemaker restart it: `crm_resource --restart --resource "+id+"`",
			"ps -o pid,stat,wchan:20,cmd -C postgres", "pkill -CONT -x postgres")
	case pg.StateTooMany:
		return one(status.Critical, "postgres_too_many", fmt.Sprintf("PostgreSQL on %s has no connection left for clients",
			node),
			"see, on "+node+", who holds them; the second command ends those that have done nothing for a minute, also in a "+
				"transaction; the third all of the role that holds the most; when psql itself gets no connection: "+
				"`crm_resource --restart --resource "+id+"`",
			asOwner(`-c "SELECT usename, application_name, state, count(*) FROM pg_stat_activity GROUP BY 1, 2, 3 ORDER BY 4 DESC"`),
			asOwner(`-c "`+endIdle+`"`), asOwner(`-c "`+endMost+`"`))
	case pg.StateReadOnly:
		return one(status.Critical, "postgres_read_only", fmt.Sprintf("PostgreSQL on %s is read only by "+
			"default_transaction_read_only", node),
			"turn it off, on "+node+", unless it is meant to be: for the server, then for all roles; the last command shows "+
				"what single roles and databases have set",
			asOwner(`-c "ALTER SYSTEM SET default_transaction_read_only = off" -c "SELECT pg_reload_conf()"`),
			asOwner(`-c "SET default_transaction_read_only = off" -c "ALTER ROLE ALL RESET default_transaction_read_only"`),
			asOwner(`-c '\drds'`))
	case pg.StateInRecovery:
		return one(status.Critical, "postgres_standby", fmt.Sprintf("PostgreSQL on %s is a standby: it takes no writes",
			node),
			"see, on "+node+", that its data is the database's own; then end it by the second command: pg_promote removes "+
				"the standby.signal that somebody left in the data directory, and begins a new timeline",
			asOwner(`-c "SELECT pg_is_in_recovery(), pg_last_wal_replay_lsn(), pg_last_xact_replay_timestamp()"`),
			asOwner(`-c "SELECT pg_promote()"`))
	case pg.StateShuttingDown:
		return one(status.Critical, "postgres_stops", fmt.Sprintf("PostgreSQL on %s is shutting down", node),
			"see who stops it; on "+node+" its log and Pacemaker's", "crm_mon -1",
			"journalctl -u pacemaker -n 50")
	case pg.StateAuth:
		return []status.Finding{j.rejectedRole(node, p.Error, nil)}
	}
	t := &target{judge: j, node: node}
	if j.Cluster != nil {
		t.maintenance()
		t.resources()
		t.bans("")
		t.tickets()
	}
	for _, f := range t.list {
		if f.Severity == status.Critical && f.Code != "promotion_score" && f.Code != "no_instance" {
			f.Text = fmt.Sprintf("PostgreSQL does not run on %s: %s", node, f.Text)
			return []status.Finding{f}
		}
	}
	text := fmt.Sprintf("PostgreSQL does not run on %s, where the database is", node)
	if p.State == pg.StateError { // a server is there
		text = fmt.Sprintf("PostgreSQL on %s answers with an error", node)
	}
	if p.Error != "" {
		text += " (" + p.Error + ")"
	}
	return one(status.Critical, "postgres_down", text, "see what Pacemaker says about it, and, on "+node+", the logs",
		"crm_mon --one-shot --failcounts --operations",
		"journalctl -u pacemaker -n 50")
}

// rejectedRole is about a server that does not serve the agent's role, which tells nothing of others. why is what it
// says: with a SQLSTATE, or after package pg's ReadOnlySource. view is the client's view that it does not serve when it
// serves another.
func (j *judge) rejectedRole(node, why string, view *clientView) status.Finding {
	at := node
	one := func(text, remedy string, commands ...string) status.Finding {
		if view != nil {
			text += ", and so does not tell the client's view of " + view.node + " whether it is served"
		} else {
			text += ": whether it accepts writes is not known"
		}
		return report(status.Warning, "role_rejected", at, fmt.Sprintf("PostgreSQL on %s %s", status.OrDash(node), text),
			remedy+", on "+status.OrDash(at), commands...)
	}
	reset := func(what string) string {
		return asOwner(`-c "SET default_transaction_read_only = off" -c "` + what + ` RESET default_transaction_read_only"`)
	}
	_, source, _ := strings.Cut(why, pg.ReadOnlySource)
	switch {
	case strings.Contains(why, "SQLSTATE 53300") && strings.Contains(why, `"postgres"`):
		return one("lets no more connections into the agent's database, by its limit", "end that limit",
			asOwner(`-c "ALTER DATABASE postgres CONNECTION LIMIT -1"`))
	case strings.Contains(why, "SQLSTATE 53300"):
		return one("lets no more connections of the agent's role in, by its limit", "end that limit",
			asOwner(`-c "ALTER ROLE pgha CONNECTION LIMIT -1"`))
	case source == "user":
		return one("is read only for the agent's role", "turn that off", reset("ALTER ROLE pgha"))
	case source == "database user":
		return one("is read only for the agent's role in its database", "turn that off",
			reset("ALTER ROLE pgha IN DATABASE postgres"))
	case source == "database":
		return one("is read only in the agent's database", "turn that off", reset("ALTER DATABASE postgres"))
	case source != "":
		if view != nil { // it is that node's string
			at = view.node
		}
		return one("is read only by the agent's own connection string", "take default_transaction_read_only out of it in "+
			"/etc/pgha-agent/config.toml, and reload", "pgha-agent check-config", "systemctl reload pgha-agent")
	case view != nil:
		return report(status.Warning, "role_rejected", node, fmt.Sprintf("PostgreSQL on %s rejects the client's view of %s, "+
			"and perhaps other clients there: %s", status.OrDash(node), view.node, status.OrDash(why)),
			"see whether a line of pg_hba.conf rejects the address of that node, or its /etc/pgha-agent/pgpass has another "+
				"password: the first command shows the lines in their order; correct it, and reload, on "+status.OrDash(node),
			asOwner(`-c "SELECT line_number, type, user_name, address, netmask, auth_method, error FROM pg_hba_file_rules"`),
			asOwner(`-c "SELECT pg_reload_conf()"`))
	}
	return one("rejects the agent's role", "let it in: a line for pgha in pg_hba.conf, its password in "+
		"/etc/pgha-agent/pgpass (docs/install.md), then a reload",
		asOwner(`-c "SELECT pg_reload_conf()"`), "pgha-agent doctor --only postgres-role")
}

func isRejected(f status.Finding) bool { return f.Code == "role_rejected" }

// postgresID is the resource that runs PostgreSQL.
func (j *judge) postgresID() string {
	if j.Config != nil {
		for _, p := range j.Config.Primitives {
			if slices.Contains(j.ids, p.ID) && p.RunsPostgres() {
				return p.ID
			}
		}
	}
	if j.Cluster != nil {
		for _, r := range j.Cluster.Resources {
			if crm.RunsPostgres(r.Agent) {
				return base(r.ID)
			}
		}
	}
	return "pgsql"
}

// noObstacle are warnings that keep no node from being promoted.
var noObstacle = []string{"path", "fencing_disabled", "fencing_stopped"}

// nobody judges a cluster in which no node has the database.
func (j *judge) nobody() []status.Finding {
	if j.Cluster == nil {
		return []status.Finding{report(status.Critical, "cluster_unknown", j.Node, "Pacemaker does not answer on this node",
			"see whether it runs, else start it", "systemctl status pacemaker corosync", startPacemaker)}
	}
	if promoted := j.promoted(); promoted != "" { // and lost
		return []status.Finding{j.unfencedWriter(promoted)}
	}
	var all, may []status.Finding
	candidates := j.candidates()
	free := len(candidates) > 0 && !slices.ContainsFunc(candidates[0].list, critical)
	for i, t := range candidates {
		for _, f := range t.list {
			severity := f.Severity
			f.Text, f.Severity = fmt.Sprintf("no node is promoted: %s", f.Text), status.Critical
			switch {
			case severity != status.Critical && (severity != status.Warning || slices.Contains(noObstacle, f.Code)):
			case severity == status.Critical || free && i > 0:
				all = append(all, f)
			default:
				may = append(may, f)
			}
		}
	}
	switch {
	case free && len(may) > 0: // what keeps the others from it is not why this one is not promoted
		return append(may, all...)
	case !free && len(all)+len(may) > 0:
		return append(all, may...)
	}
	return append([]status.Finding{report(status.Critical, "nobody_promoted", "",
		"no node is promoted, and nothing that is seen here forbids it",
		"see what Pacemaker would do, and why not", "crm_simulate --live-check --show-scores",
		"journalctl -u pacemaker -n 100")}, all...)
}

// candidates lists the nodes that could be promoted when none is, with what keeps each from it: first the one that the
// least does.
func (j *judge) candidates() (list []*target) {
	for _, node := range j.targets("") {
		t := &target{judge: j, node: node}
		t.look("")
		list = append(list, t)
	}
	count := func(t *target) (n int) {
		for _, f := range t.list {
			if critical(f) {
				n++
			}
		}
		return n
	}
	slices.SortStableFunc(list, func(a, b *target) int { return count(a) - count(b) })
	return list
}

// unfencedWriter is about the node that had the database, is lost, and keeps the other from it until it is fenced.
func (j *judge) unfencedWriter(node string) status.Finding {
	if j.primary() == node {
		return report(status.Critical, "fencing_missing", node, fmt.Sprintf("Pacemaker has lost %s, which still has the "+
			"database: it fences it as soon as it can", node), "see Corosync's network between the nodes, and the fencing; "+
			"confirm no fencing, because that node is not off", "stonith_admin --history '*' --verbose", "crm_mon -1")
	}
	if e, pending := j.Cluster.PendingFence(node); pending {
		return report(status.Critical, "fencing_under_way", node, fmt.Sprintf(
			"%s had the database and is lost; it is being fenced by %s", node, status.OrDash(e.Delegate)),
			"wait for the fencing: then the other node is promoted", "stonith_admin --history "+node)
	}
	text := fmt.Sprintf("%s had the database and is lost; until it is fenced no other node is promoted", node)
	t := &target{judge: j, node: node}
	if e, failed := t.fencingFailed(node); failed {
		text += "; its last fencing failed"
		if e.ExitReason != "" {
			text += ": " + e.ExitReason
		}
	}
	return report(status.Critical, "fencing_missing", node, text,
		"find out why it is not fenced, mend that, and fence it by the second command; only when that machine is off for "+
			"certain, confirm it: `stonith_admin --confirm "+node+"`",
		"stonith_admin --history '*' --verbose", "stonith_admin --fence "+node)
}

// way judges the way from clients to a server that is well, as far as it is known: name, address, network, access.
func (j *judge) way(node string, bad []clientView) []status.Finding {
	d, there := j.docOf(bad[0].node), j.docOf(node)
	if d.Client != nil && !d.Client.Asked && there == nil && node != "" && j.Errs[node] != "" {
		return []status.Finding{report(status.Critical, "record_missing", node, fmt.Sprintf(
			"the zone holds no address for %s; the agent of %s, which has the database and writes it, was not reached",
			d.Record.Name, node), "restart that agent, which starts it too and is safe at any time, on "+node, restartAgent,
			"systemctl status pgha-agent", "pgha-agent explain")}
	}
	if d.Client != nil && !d.Client.Asked {
		return []status.Finding{report(status.Critical, "record_missing", node, fmt.Sprintf(
			"the zone holds no address for %s: no client can resolve it", d.Record.Name), "write it, on "+status.OrDash(node),
			"pgha-agent publish --once")}
	}
	if list := j.misled(node, d); len(list) > 0 {
		return list
	}
	if strings.HasPrefix(bad[0].why, pg.NoStandby) {
		return []status.Finding{j.syncStandby(node, 0)}
	}
	switch state := bad[0].state; state {
	case pg.StateStartingUp, pg.StateShuttingDown, pg.StateInRecovery, pg.StateReadOnly, pg.StateTooMany:
		// The way is there: the server says so itself, before its agent has asked again.
		return j.postgres(node, &status.PostgresDoc{State: state, Error: bad[0].why})
	}
	to := ""
	if d.Record.ResolverAddr != nil {
		to = *d.Record.ResolverAddr
	}
	try := "psql -h " + d.Record.Name + " -U pgha -d postgres -c 'SELECT 1'"
	if there == nil {
		if j.serverStopped(node) {
			return j.postgres(node, &status.PostgresDoc{State: pg.StateRefused, Error: "Pacemaker shows it stopped"})
		}
		return []status.Finding{report(status.Critical, "way_blocked", d.Node, fmt.Sprintf("a client on %s does not reach "+
			"PostgreSQL on %s at %s: %s; whether it runs there is not known, because that agent was not reached", d.Node,
			status.OrDash(node), status.OrDash(to), bad[0].why), "look on "+status.OrDash(node)+
			" first; then try it as a client does, on "+d.Node, "pgha-agent explain", try)}
	}
	to = status.OrDash(cmp.Or(there.Record.OwnAddr, to))
	text := fmt.Sprintf("PostgreSQL runs on %s, and a client on %s does not reach it at %s: %s", node, d.Node, to,
		bad[0].why)
	one := func(on, remedy string, commands ...string) []status.Finding {
		return []status.Finding{report(status.Critical, "way_blocked", on, text, remedy, commands...)}
	}
	switch everybody := !slices.ContainsFunc(j.clientViews(), func(v clientView) bool { return v.ok || !v.known }); {
	case everybody && bad[0].state == pg.StateRefused:
		return one(node, "nothing listens there: let it listen, and restart it, on "+node+"; when it is refused after that, "+
			"the firewall of that machine rejects it: `iptables -S INPUT`",
			asOwner(`-c "ALTER SYSTEM SET listen_addresses = '*'"`), "crm_resource --restart --resource "+j.postgresID())
	case everybody && bad[0].state == pg.StateTimeout:
		return one(node, "a filter drops it, perhaps that machine's own: see its firewall, on "+node+", and take the rule "+
			"out that drops PostgreSQL's port; else see the security group, the network ACL and the route",
			"nft list ruleset", "iptables -S INPUT")
	case bad[0].state == pg.StateRefused || bad[0].state == pg.StateTimeout:
		return one(d.Node, "a client elsewhere does, so a filter is between: on "+d.Node+" see its own firewall and route; "+
			"then the firewall of "+node+", the security group and the network ACL", "nft list ruleset", "ip route get "+to, try)
	}
	return one(d.Node, "see listen_addresses, pg_hba.conf and the security group; try it as a client does, on "+d.Node,
		try)
}

// serverStopped reports that Pacemaker does not show PostgreSQL as started on a node. It stands in for the answer of an
// agent that is not reached.
func (j *judge) serverStopped(node string) bool {
	return j.Cluster != nil && !slices.ContainsFunc(j.Cluster.Resources, func(r crm.Resource) bool {
		return base(r.ID) == j.postgresID() && r.Node == node && r.Role == crm.RoleStarted && r.Failed != crm.Yes
	})
}

// misled judges the name as a node sees it: clients that it leads elsewhere find no database.
func (j *judge) misled(node string, d *status.Doc) []status.Finding {
	one := func(code, text, remedy string, commands ...string) []status.Finding {
		return []status.Finding{report(status.Critical, code, d.Node, text, remedy, commands...)}
	}
	name, dig, resolver := d.Record.Name, "dig "+d.Record.Name, d.Record.ResolverAddr
	s := j.docOf(node)
	has := ""
	if s != nil {
		has = s.Record.OwnAddr
		if s.Config != nil && s.Record.Name != name {
			return one("other_configuration", fmt.Sprintf("%s publishes %s, and %s looks at %s: record.name differs", node,
				s.Record.Name, d.Node, name),
				"correct record.name in /etc/pgha-agent/config.toml where it is wrong, and reload", "pgha-agent check-config",
				"systemctl reload pgha-agent")
		}
	}
	for _, other := range j.docs() {
		if s == nil || SameAddress(s, other) == "" || resolver == nil || *resolver != has {
			continue
		}
		text, remedy, commands := sameAddress(s, other, node)
		return []status.Finding{report(status.Critical, "other_configuration", node, text, remedy, commands...)}
	}
	switch {
	case sourceOf(d, "resolver").Error != "":
		return one("resolver_down", fmt.Sprintf("the resolver does not answer on %s: %s", d.Node, sourceOf(d,
			"resolver").Error),
			"see, on "+d.Node+", the resolver that clients use: the VPC's, or the one of record.resolver", dig)
	case resolver != nil && *resolver == "", resolver == nil && d.Client != nil && d.Client.NoName:
		text := fmt.Sprintf("the resolver of %s answers that %s does not exist", d.Node, name)
		if d.Record.Read != nil {
			text += ", and the zone holds " + status.OrDash(d.Record.Addr)
		}
		remedy := "it remembers that for the zone's negative TTL, up to 15 minutes; see the zone's association with this VPC"
		if has != "" {
			remedy += "; until then clients reach the database at " + has
		}
		return one("name_negative", text, remedy, dig)
	case resolver != nil && has != "" && *resolver != has:
		return j.elsewhere(s, d, fmt.Sprintf("%s leads to %s, and the database is on %s (%s)", name, *resolver, node, has))
	}
	return nil
}

// elsewhere is for a name that leads away from the node that has the database, whose document is has, as the node of d
// resolves it.
func (j *judge) elsewhere(has, d *status.Doc, text string) []status.Finding {
	one := func(node, text, remedy string, commands ...string) []status.Finding {
		return []status.Finding{report(status.Critical, "name_elsewhere", node, text, remedy, commands...)}
	}
	if why, remedy, command := j.notFollowing(has); remedy != "" {
		if has != j.Own { // else the parts about the record and this node say why
			text += "; " + why
		}
		return one(has.Node, text, remedy, command)
	}
	if has.Record.Addr == has.Record.OwnAddr && has.Record.Read != nil {
		return one(d.Node, text+"; the zone has the right address", "the resolver of "+d.Node+" may hold an old answer for "+
			"one TTL; one that stays is of another resolver or zone: see, on "+d.Node+", record.resolver and what the zone is "+
			"associated with", "dig "+d.Record.Name)
	}
	return one(has.Node, text, "the record does not follow; to write it, on "+has.Node, "pgha-agent publish --once")
}

// notFollowing tells why the record does not follow the node that has the database, and what to do, as far as its agent
// says so.
func (j *judge) notFollowing(has *status.Doc) (why, remedy, command string) {
	e := &explainer{Doc: has, now: j.Now, judge: j}
	p := &has.Publication
	switch {
	case repairing(has):
		return "the record was changed by somebody else, and is being written again", "wait for that; if it lasts, on " +
			has.Node, "pgha-agent explain"
	case p.State == status.PubContested:
		next, command := e.promoteAnew()
		return "another node claimed the record later", next, command
	case p.State == status.PubHeld && len(p.Holds) > 0:
		holds, first := e.holdsInOrder()
		why = "not published: " + holds[0].Text
		if p.LastFailure != "" {
			why += " (the last reason of the API: " + p.LastFailure + ")"
		}
		return why, strings.TrimRight(first.Next, ".:") + ". On " + has.Node + ":", cmp.Or(first.Command,
			"pgha-agent explain")
	}
	for _, p := range has.Problems {
		if p.Code == "record_drift" {
			return p.Text, strings.TrimRight(p.Remedy, ".") + "; on " + has.Node + ":", "pgha-agent publish --once"
		}
	}
	return "", "", ""
}

func sourceOf(d *status.Doc, name string) status.SourceDoc {
	for _, s := range d.Sources {
		if s.Name == name {
			return s
		}
	}
	return status.SourceDoc{}
}
