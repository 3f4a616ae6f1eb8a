package explain

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pgha/pgha-agent/agent/status"
	"github.com/pgha/pgha-agent/drbd"
	"github.com/pgha/pgha-agent/pg"
)

// clientView is what a client of the name sees from one node.
type clientView struct {
	node  string
	known bool
	ok    bool
	why   string // it is not served
	since *time.Time
}

func (j *judge) clientViews() (views []clientView) {
	for _, d := range j.docs() {
		c := d.Client
		if c == nil || c.State == "" && c.Asked { // off, or not tried yet
			continue
		}
		v := clientView{node: d.Node, known: true, ok: c.OK, why: c.Error, since: c.DownSince}
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

// database says whether clients can write through the name, and what keeps them from it.
func (j *judge) database() (status.Database, []status.Finding) {
	out := status.Database{Node: j.primary(), State: status.ClientsUnknown}
	var good, bad []clientView
	rejected := ""
	for _, v := range j.clientViews() {
		switch {
		case !v.known:
			rejected = v.node
		case v.ok:
			good = append(good, v)
		default:
			bad = append(bad, v)
		}
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
	switch out.State {
	case status.ClientsServed:
		out.Text = fmt.Sprintf("Clients can write through %s: the database is on %s.", name, status.OrDash(out.Node))
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
			if v.since != nil && (out.Since == nil || v.since.After(*out.Since)) {
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
		case j.Cluster != nil:
			out.Text += " No node has the database."
		}
		if out.Node == "" {
			findings = append(findings, j.nobody()...)
		} else if !slices.ContainsFunc(server, critical) {
			findings = append(findings, j.way(out.Node, bad)...)
		}
	case status.ClientsUnknown:
		out.Text = fmt.Sprintf("Whether clients can write through %s is not known: no view of a client is there.", name)
		if rejected != "" {
			out.Text = fmt.Sprintf("Whether clients can write through %s is not known: the server rejects the role of the "+
				"client's view.", name)
			findings = append(findings, j.rejectedRole(out.Node))
		}
	}
	if out.Node != "" && j.Own != nil && j.Own.Cluster != nil && len(j.Own.Cluster.Promoted) == 0 {
		findings = append(findings, report(status.Warning, "role_forgotten", out.Node, fmt.Sprintf(
			"Pacemaker shows no node as promoted, and %s is DRBD's Primary: a cleanup or a refresh has erased what it knew",
			out.Node),
			"wait until it shows the promoted node again; clean up or move nothing until then", "crm_mon -1"))
	}
	return out, findings
}

func critical(f status.Finding) bool { return f.Severity == status.Critical }

func (j *judge) recordName() string {
	for _, d := range j.docs() {
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
					"connect the DRBD nodes that vote", "drbdsetup status --verbose "+j.Resource)
			}
		}
		if len(r.Suspended) > 0 {
			remedy, commands := j.resume(r.Suspended)
			add(status.Critical, "drbd_suspended", fmt.Sprintf("DRBD has suspended I/O on %s (%s): every write waits", node,
				strings.Join(r.Suspended, ", ")), remedy, commands...)
		}
	}
	list = append(list, j.space(d)...)
	p := &d.Postgres
	if p.FlushStall > 0 {
		add(status.Critical, "commits_hang", fmt.Sprintf("commits hang on %s: WAL has not reached the disk for %s", node,
			status.Ago(time.Duration(p.FlushStall*float64(time.Second)))),
			"see what the disk waits for: DRBD, then the device below it",
			"drbdsetup status --verbose "+j.Resource, "iostat -x 1 3")
	}
	if p.Foreign {
		add(status.Critical, "foreign_postgres", fmt.Sprintf("a PostgreSQL outside of Pacemaker holds the port on %s: "+
			"the database cannot start", node),
			"stop it, on "+node+"; then let Pacemaker try again", "systemctl disable --now postgresql", cleanup(j.postgresID(),
				node))
		return list
	}
	return append(list, j.postgres(node, p)...)
}

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
	case !slices.Contains(lostDisks, state):
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
			"wait: crash recovery takes its time; its log shows how far it is", "journalctl -t postgres -n 20")
	case pg.StateTimeout:
		return one(status.Critical, "postgres_hangs", fmt.Sprintf("PostgreSQL on %s takes no new connection: it hangs (%s)",
			node, p.Error),
			"see what its processes wait for: T is stopped and goes on by the second command, D waits for the disk; then let "+
				"Pacemaker restart it",
			"ps -o pid,stat,wchan:20,cmd -C postgres", "pkill -CONT -x postgres",
			"crm_resource --restart --resource "+id)
	case pg.StateTooMany:
		return one(status.Critical, "postgres_too_many", fmt.Sprintf("PostgreSQL on %s has no connection left for clients",
			node),
			"see who holds them, as a superuser; end those that are idle, or raise max_connections",
			asOwner(`-c "SELECT usename, application_name, state, count(*) FROM pg_stat_activity GROUP BY 1, 2, 3 ORDER BY 4 DESC"`))
	case pg.StateReadOnly:
		return one(status.Critical, "postgres_read_only", fmt.Sprintf("PostgreSQL on %s is read only by "+
			"default_transaction_read_only", node),
			"turn it off, as a superuser, unless it is meant to "+
				"be", asOwner(`-c "ALTER SYSTEM RESET default_transaction_read_only" -c "SELECT pg_reload_conf()"`))
	case pg.StateInRecovery:
		return one(status.Critical, "postgres_standby", fmt.Sprintf("PostgreSQL on %s is a standby: it takes no writes",
			node),
			"find out who made a standby.signal in its data directory; remove it and restart by Pacemaker",
			"crm_resource --restart --resource "+id)
	case pg.StateShuttingDown:
		return one(status.Critical, "postgres_stops", fmt.Sprintf("PostgreSQL on %s is shutting down", node),
			"see who stops it", "crm_mon -1",
			"journalctl -u pacemaker -n 50")
	case pg.StateAuth:
		return []status.Finding{j.rejectedRole(node)}
	}
	t := &target{judge: j, node: node}
	if j.Cluster != nil {
		t.maintenance()
		t.resources()
		t.bans("")
	}
	for _, f := range t.list {
		if f.Severity == status.Critical && f.Code != "promotion_score" && f.Code != "no_instance" {
			f.Text = fmt.Sprintf("PostgreSQL does not run on %s: %s", node, f.Text)
			return []status.Finding{f}
		}
	}
	return one(status.Critical, "postgres_down", fmt.Sprintf("PostgreSQL does not run on %s, where the database is (%s)",
		node,
		status.OrDash(p.Error)), "see what Pacemaker says about it, and its log",
		"crm_mon --one-shot --failcounts --operations",
		"journalctl -u pacemaker -n 50")
}

func (j *judge) rejectedRole(node string) status.Finding {
	return report(status.Warning, "role_rejected", node, fmt.Sprintf("PostgreSQL on %s rejects the agent's role: "+
		"whether it accepts writes is not known",
		status.OrDash(node)), "let it in: a line for pgha in pg_hba.conf, its password in /etc/pgha-agent/pgpass "+
		"(docs/install.md), then a reload",
		asOwner(`-c "SELECT pg_reload_conf()"`), "pgha-agent doctor --only postgres-role")
}

// postgresID is the resource that runs PostgreSQL.
func (j *judge) postgresID() string {
	if j.Config != nil {
		for _, p := range j.Config.Primitives {
			if slices.Contains(j.ids, p.ID) && (strings.HasPrefix(p.Type, "pgsql") || strings.HasPrefix(p.Type, "postgresql")) {
				return p.ID
			}
		}
	}
	if j.Cluster != nil {
		for _, r := range j.Cluster.Resources {
			if kind := r.Agent[strings.LastIndexByte(r.Agent, ':')+1:]; strings.HasPrefix(kind, "pgsql") ||
				strings.HasPrefix(kind, "postgresql") {
				return base(r.ID)
			}
		}
	}
	return "pgsql"
}

// nobody judges a cluster in which no node has the database.
func (j *judge) nobody() []status.Finding {
	if j.Cluster == nil {
		return []status.Finding{report(status.Critical, "cluster_unknown", j.Node, "Pacemaker does not answer on this node",
			"see whether it runs", "systemctl status pacemaker corosync")}
	}
	if promoted := j.Cluster.Promoted(j.Clone); len(promoted) == 1 { // and lost
		e, pending := j.Cluster.PendingFence(promoted[0])
		if pending {
			return []status.Finding{report(status.Critical, "fencing_under_way", promoted[0], fmt.Sprintf(
				"%s had the database and is lost; it is being fenced by %s", promoted[0], status.OrDash(e.Delegate)),
				"wait for the fencing: then the other node is promoted", "stonith_admin --history "+promoted[0])}
		}
		return []status.Finding{report(status.Critical, "fencing_missing", promoted[0], fmt.Sprintf(
			"%s had the database and is lost; until it is fenced no other node is promoted", promoted[0]),
			"find out why it is not fenced; only when that machine is off for certain, confirm it",
			"stonith_admin --history '*'",
			"stonith_admin --confirm "+promoted[0])}
	}
	var all, may []status.Finding
	for _, node := range j.targets("") {
		t := &target{judge: j, node: node}
		for _, f := range t.look("") {
			severity := f.Severity
			f.Text, f.Severity = fmt.Sprintf("no node is promoted: %s", f.Text), status.Critical
			switch {
			case severity == status.Critical:
				all = append(all, f)
			case severity == status.Warning && f.Code != "path" && f.Code != "fencing_disabled":
				may = append(may, f)
			}
		}
	}
	if all = append(all, may...); len(all) > 0 {
		return all
	}
	return []status.Finding{report(status.Critical, "nobody_promoted", "",
		"no node is promoted, and nothing that is seen here forbids it",
		"see what Pacemaker would do, and why not", "crm_simulate --live-check --show-scores",
		"journalctl -u pacemaker -n 100")}
}

// way judges the way from clients to a server that is well: name, address, network, access.
func (j *judge) way(node string, bad []clientView) []status.Finding {
	d := j.docOf(bad[0].node)
	one := func(code, text, remedy string, commands ...string) []status.Finding {
		return []status.Finding{report(status.Critical, code, bad[0].node, text, remedy, commands...)}
	}
	name := d.Record.Name
	dig := "dig " + name
	has := ""
	if s := j.docOf(node); s != nil {
		has = s.Record.OwnAddr
		if s.Config != nil && s.Record.Name != name {
			return one("other_configuration", fmt.Sprintf("%s publishes %s, and %s looks at %s: record.name differs", node,
				s.Record.Name, d.Node, name),
				"correct record.name in /etc/pgha-agent/config.toml where it is wrong, and reload", "pgha-agent check-config",
				"systemctl reload pgha-agent")
		}
	}
	resolver := d.Record.ResolverAddr
	switch {
	case d.Client != nil && !d.Client.Asked:
		return one("record_missing", fmt.Sprintf("the zone holds no address for %s: no client can resolve it", name),
			"write it, on "+status.OrDash(node), "pgha-agent publish --once")
	case sourceOf(d, "resolver").Error != "":
		return one("resolver_down", fmt.Sprintf("the resolver does not answer on %s: %s", d.Node, sourceOf(d,
			"resolver").Error),
			"see the resolver that clients use: the VPC's, or the one of record.resolver", dig)
	case resolver != nil && *resolver == "":
		text := fmt.Sprintf("the resolver of %s answers that %s does not exist", d.Node, name)
		if d.Record.Read != nil {
			text += ", and the zone holds " + status.OrDash(d.Record.Addr)
		}
		return one("name_negative", text, "it remembers that for the zone's negative TTL, up to 15 minutes; see the zone's "+
			"association with this VPC", dig)
	case resolver != nil && has != "" && *resolver != has:
		return one("name_elsewhere", fmt.Sprintf("%s leads to %s, and the database is on %s (%s)", name, *resolver, node,
			has),
			"see below why the record does not follow; to write it, on "+node, "pgha-agent publish --once")
	}
	to := has
	if to == "" && resolver != nil {
		to = *resolver
	}
	return one("way_blocked", fmt.Sprintf("PostgreSQL runs on %s, and a client on %s does not reach it at %s: %s",
		status.OrDash(node), d.Node,
		status.OrDash(to), bad[0].why), "see listen_addresses, pg_hba.conf and the security group; try it as a client does",
		"psql -h "+name+" -U pgha -d postgres -c 'SELECT 1'")
}

func sourceOf(d *status.Doc, name string) status.SourceDoc {
	for _, s := range d.Sources {
		if s.Name == name {
			return s
		}
	}
	return status.SourceDoc{}
}
