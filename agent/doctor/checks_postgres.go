package doctor

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/pgha/pgha-agent/agent/explain"
	"github.com/pgha/pgha-agent/agent/status"
	"github.com/pgha/pgha-agent/pg"
)

var postgresChecks = []Check{
	{
		Name: "postgres-not-enabled", Area: Postgres, Needs: []Source{fromHost},
		Want: "systemd does not start PostgreSQL at boot",
		Why: "Only Pacemaker may start it. Otherwise a node that boots finds an empty directory, or starts on data " +
			"that it must not write.",
		Remedy: "systemctl disable postgresql.service",
		Judge:  judgeEnabled("postgresql"),
	},
	{
		Name: "data-on-drbd", Area: Postgres, Needs: []Source{fromCIB, fromHost},
		Also: []Source{fromCrm, fromShow, fromPostgres},
		Want: "the data directory is on the file system on DRBD's device",
		Why:  "Otherwise the data is not replicated, and a failover starts an empty or an old database.",
		Remedy: "move the data directory below the mount point of the Filesystem resource, and set the PostgreSQL " +
			"resource's pgdata",
		Judge: judgeDataDirectory,
	},
	{
		Name: "listen-addresses", Area: Postgres, Needs: []Source{fromPostgres},
		Want: "PostgreSQL listens on the address of whichever node it runs on",
		Why: "The configuration moves with the data. The address of one node does not exist on the other, and no " +
			"client reaches localhost.",
		Remedy: "psql -c \"ALTER SYSTEM SET listen_addresses = '*'\"; it takes a restart: pcs resource restart {group}",
		Judge:  judgeListen,
	},
	{
		Name: "hba-trust", Area: Postgres, Needs: []Source{fromHBA},
		Want:   "pg_hba.conf trusts nobody from another machine, and has no line that the server rejects",
		Why:    "trust lets everybody who reaches the port log in as any role, without a password.",
		Remedy: "in pg_hba.conf: scram-sha-256 instead of trust; then psql -c 'SELECT pg_reload_conf()'",
		Judge:  judgeHBA,
	},
	setting("password-encryption", "password_encryption", "scram-sha-256", warn,
		"md5 hashes can be used to log in by whoever reads them, and support for them ends.",
		"psql -c \"ALTER SYSTEM SET password_encryption = 'scram-sha-256'\" -c 'SELECT pg_reload_conf()'; then set the "+
			"passwords again"),
	setting("fsync", "fsync", "on", fail,
		"A failover is a crash for PostgreSQL. Without fsync the data is damaged after one.",
		"psql -c 'ALTER SYSTEM SET fsync = on' -c 'SELECT pg_reload_conf()'"),
	setting("full-page-writes", "full_page_writes", "on", fail,
		"A page that was half written at the crash cannot be repaired without it.",
		"psql -c 'ALTER SYSTEM SET full_page_writes = on' -c 'SELECT pg_reload_conf()'"),
	{
		Name: "synchronous-commit", Area: Postgres, Needs: []Source{fromPostgres},
		Want: "synchronous_commit is not off",
		Why: "With off, a commit is acknowledged before it is on any disk: a failover loses the last commits although " +
			"DRBD works.",
		Remedy: "psql -c 'ALTER SYSTEM SET synchronous_commit = on' -c 'SELECT pg_reload_conf()'",
		Judge: func(f *Facts) Finding {
			v, ok := f.Postgres.Settings["synchronous_commit"]
			switch {
			case !ok:
				return unknown("synchronous_commit is not visible")
			case v == "off":
				return warn("off")
			}
			return pass("%s", v)
		},
	},
	{
		Name: "filesystem-space", Area: Postgres, Needs: []Source{fromSpace},
		Want: "the filesystems of the data and of the WAL have space and inodes left, and can be looked at",
		Why: "PostgreSQL stops accepting writes, or stops altogether, when it cannot write WAL. A failover takes the full " +
			"filesystem along.",
		Remedy: "free space, and never in pg_wal by hand: see what keeps WAL back (slots, archiving), or make the volume " +
			"larger",
		Judge: judgeSpace,
	},
	{
		Name: "clients", Area: Postgres, Needs: []Source{fromCrm},
		Also:   []Source{fromCIB, fromState, fromDaemon, fromPeers},
		Want:   "clients can write through the name, as the daemons on the nodes see it",
		Why:    "This is what the cluster is for.",
		Remedy: "`pgha-agent explain`",
		Judge:  judgeClients,
	},
	{
		Name: "postgres-role", Area: Postgres, Needs: []Source{fromLogin}, Also: []Source{fromPostgres},
		Want: "the agent's role can log in, is in pg_monitor, and is not read-only by default",
		Why: "Without the role the agent cannot tell whether PostgreSQL accepts writes. A role with " +
			"default_transaction_read_only=on makes a healthy primary look read-only.",
		Remedy: "psql -c 'CREATE ROLE pgha LOGIN' -c 'GRANT pg_monitor TO pgha'",
		Judge:  judgeRole,
	},
	{
		Name: "backups", Area: Postgres, Needs: []Source{fromPostgres, fromHost},
		Want:   "there are signs of backups: archived WAL, a WAL receiver, or a dump that is less than 26 hours old",
		Why:    "Replication copies a dropped table and a damaged page as well. Only a backup restores the data.",
		Remedy: "set up pgBackRest or Barman with archive_mode=on, or a nightly pg_dump into /var/backups/postgresql",
		Judge:  judgeBackups,
	},
}

// setting is a check that a setting has the one right value.
func setting(name, key, want string, otherwise func(string, ...any) Finding, why, remedy string) Check {
	return Check{
		Name: name, Area: Postgres, Needs: []Source{fromPostgres}, Want: key + " is " + want, Why: why, Remedy: remedy,
		Judge: func(f *Facts) Finding {
			switch v, ok := f.Postgres.Settings[key]; {
			case !ok:
				return unknown("%s is not visible", key)
			case v != want:
				return otherwise("%s is %s", key, v)
			}
			return pass("%s", want)
		},
	}
}

// judgeDataDirectory wants the data below the mount point of a file system on DRBD's device.
func judgeDataDirectory(f *Facts) Finding {
	var mounts []string
	for _, p := range f.database() {
		if f.onDrbd(p) {
			mounts = append(mounts, p.Params["directory"])
		}
	}
	if len(mounts) == 0 {
		return fail("no Filesystem resource is on DRBD's device")
	}
	dir := f.dataDirectory()
	if dir == "" {
		return unknown("the PostgreSQL resource does not say where its data is").remedy("run it as root on the promoted node")
	}
	if !slices.ContainsFunc(mounts, func(m string) bool { return below(dir, m) }) {
		return fail("%s is not below %s", dir, strings.Join(mounts, " or "))
	}
	// Mounted here: then by the right device.
	if device := f.deviceOf(dir); f.promotedHere() && !strings.HasPrefix(device, "/dev/drbd") {
		return fail("%s is on %s here", dir, device)
	}
	return pass("%s", dir)
}

// deviceOf returns the device of the mount that holds a path.
func (f *Facts) deviceOf(dir string) string {
	longest := ""
	for at := range f.Host.Mounts {
		if below(dir, at) && len(at) > len(longest) {
			longest = at
		}
	}
	return f.Host.Mounts[longest]
}

func below(dir, mount string) bool {
	return dir == mount || strings.HasPrefix(dir, strings.TrimSuffix(mount, "/")+"/")
}

// judgeListen warns of an address of one node, and fails when only this machine can connect: the first is found at the
// failover, the second by the first client.
func judgeListen(f *Facts) Finding {
	v, ok := f.Postgres.Settings["listen_addresses"]
	if !ok {
		return unknown("listen_addresses is not visible")
	}
	own := false
	for name := range strings.SplitSeq(v, ",") {
		name = strings.TrimSpace(name)
		addr, err := netip.ParseAddr(name)
		switch {
		case name == "*", err == nil && addr.IsUnspecified():
			return pass("%s", v)
		case name == "" || name == "localhost" || err == nil && addr.IsLoopback():
		default:
			own = true
		}
	}
	if own {
		return warn("listen_addresses is %q: the other node has another address", v)
	}
	return fail("listen_addresses is %q: no client of another machine can connect", v)
}

// judgeHBA leaves trust for this machine alone: who can log in here is root's affair. A line that the server rejects
// is a failure, because the running server still uses the old file, and the start after a failover does not.
func judgeHBA(f *Facts) Finding {
	var trusted, broken []string
	for _, r := range f.HBA {
		if r.Error != "" {
			broken = append(broken, fmt.Sprintf("line %d: %s", r.Line, r.Error))
		}
		if r.Method == "trust" && strings.HasPrefix(r.Type, "host") && !loopback(r) {
			trusted = append(trusted, fmt.Sprintf("line %d trusts %s", r.Line, strings.TrimSpace(r.Address+" "+r.Netmask)))
		}
	}
	switch {
	case len(trusted) > 0:
		return fail("%s", strings.Join(trusted, "; "))
	case len(broken) > 0:
		return fail("%s", strings.Join(broken,
			"; ")).remedy("fix the lines in pg_hba.conf: the next reload, and the start after a failover, fail on them")
	}
	return pass("%d lines, none trusts another machine", len(f.HBA))
}

// loopback says whether a line is for this machine only. The mask of an address is a column of its own; 127.0.0.1/0 is
// everybody.
func loopback(r pg.HBARule) bool {
	addr, err := netip.ParseAddr(r.Address)
	mask, maskErr := netip.ParseAddr(r.Netmask)
	narrow := maskErr != nil || mask.AsSlice()[0] == 255
	return r.Address == "samehost" || r.Address == "localhost" || err == nil && addr.IsLoopback() && narrow
}

// judgeSpace judges what it could look at, and passes only when it saw all.
func judgeSpace(f *Facts) Finding {
	var bad, blind, fine []string
	var found []status.Finding
	worst := warn
	for _, m := range f.Space.Mounts {
		list := explain.Space(f.Options.Node, m)
		found = append(found, list...)
		for _, r := range list {
			bad = append(bad, r.Text)
			if r.Severity == status.Critical {
				worst = fail
			}
		}
		switch {
		case m.Error != "" || m.Size == 0:
			blind = append(blind, m.Point+": "+cmp.Or(m.Error, "it does not tell its size"))
		case len(list) == 0:
			fine = append(fine, fmt.Sprintf("%s has %.0f %% left", m.Point, 100*float64(m.Free)/float64(m.Size)))
		}
	}
	if len(f.Space.Mounts) == 0 {
		blind = append(blind, "no filesystem of the database is mounted here")
	}
	if f.Space.WAL != "" {
		blind = append(blind, f.Space.WAL)
	}
	switch {
	case len(bad) > 0:
		var advice []string
		for _, r := range found {
			advice = append(advice, r.Advice())
		}
		return worst("%s", strings.Join(append(bad, blind...), "; ")).remedy("%s", strings.Join(advice, "; then "))
	case len(blind) > 0:
		return unknown("%s", strings.Join(append(blind, fine...), "; ")).remedy("run the doctor as root; `df -h`, `df -i`")
	}
	return pass("%s", strings.Join(fine, ", "))
}

// judgeRole looks for a read-only default first: the agent asks the server whether it accepts writes as this role, so
// such a default looks like a server that does not. What the catalog says is more exact than a refusal.
func judgeRole(f *Facts) Finding {
	_, _, role, err := pg.Endpoint(f.Options.PostgresDSN)
	if err != nil {
		return unknown("postgres.dsn: %v", err)
	}
	if f.Postgres != nil {
		if bad := judgeCatalog(f.Postgres, role); bad.Verdict == Fail {
			return bad
		}
	}
	switch {
	case strings.Contains(f.Login.Rejected, "SQLSTATE 53300"):
		return fail("the server does not let role %s in: %s", role, f.Login.Rejected).remedy(
			"psql -c 'ALTER ROLE %s CONNECTION LIMIT -1'", role)
	case f.Login.Rejected != "":
		return fail("the server does not let role %s in: %s", role, f.Login.Rejected).remedy(
			"create the role if it is missing; in pg_hba.conf, above the other lines of type local: `local all %s peer`; then "+
				"psql -c 'SELECT pg_reload_conf()'", role)
	case f.Postgres == nil:
		silent := f.absent[fromPostgres]
		return unknown("role %s is let in, and what it may do is not known: %s", role, silent.Evidence).remedy("%s",
			silent.Remedy)
	}
	return judgeCatalog(f.Postgres, role)
}

// judgeCatalog is about the role as the server's catalog has it.
func judgeCatalog(a *pg.Audit, role string) Finding {
	for _, who := range a.ReadOnlyFor {
		if who == "" || who == role || strings.HasPrefix(who, role+" in ") {
			return fail("default_transaction_read_only is on for %s",
				cmp.Or(who, "everybody")).remedy("psql -c 'ALTER ROLE %s RESET default_transaction_read_only'", cmp.Or(who, "ALL"))
		}
	}
	switch {
	case a.Settings["default_transaction_read_only"] == "on":
		return fail("default_transaction_read_only is on").remedy(
			"psql -c 'ALTER SYSTEM RESET default_transaction_read_only' -c 'SELECT pg_reload_conf()'")
	case !a.RoleExists:
		return fail("there is no role %s", role)
	case !a.RoleLogin:
		return fail("role %s may not log in", role).remedy("psql -c 'ALTER ROLE %s LOGIN'", role)
	case !a.RoleMonitors:
		return warn("role %s is not in pg_monitor: the replication of further standbys is not seen",
			role).remedy("psql -c 'GRANT pg_monitor TO %s'", role)
	}
	return pass("%s", role)
}

// dumpIsOld leaves a nightly dump two hours.
const dumpIsOld = 26 * time.Hour

// judgeBackups looks for signs, best first, and warns at most when there is none: a backup may be made in a way that
// nothing here shows. Archiving that fails is sure, and fills the disk.
func judgeBackups(f *Facts) Finding {
	a := f.Postgres
	unix := func(t float64) time.Time { return time.UnixMilli(int64(t * 1000)) }
	archives := a.ArchiveTool != "" && a.Settings["archive_mode"] != "off"
	switch {
	case archives && a.LastFailed > a.LastArchived:
		return fail("archiving WAL fails (%s), last at %s", a.ArchiveTool, unix(a.LastFailed).Format(time.RFC3339)).
			remedy("see the PostgreSQL log for the archive command's error; WAL piles up until the disk is full")
	case archives && a.LastArchived == 0:
		return warn("archiving is configured (%s), and nothing has been archived since the statistics began", a.ArchiveTool)
	case archives:
		return pass("WAL is archived (%s), last at %s", a.ArchiveTool, unix(a.LastArchived).Format(time.RFC3339))
	case len(a.Receivers) > 0:
		return pass("WAL is taken by %s", strings.Join(a.Receivers, ", "))
	case f.Host.DumpAge >= 0 && f.Host.DumpAge < dumpIsOld:
		return pass("the newest dump is %s old", f.Host.DumpAge.Round(time.Minute))
	case f.Host.DumpAge >= 0:
		return warn("the newest dump is %s old", f.Host.DumpAge.Round(time.Hour))
	}
	return warn("no archived WAL, no WAL receiver, no dump in %s", strings.Join(dumpPlaces, ", "))
}
