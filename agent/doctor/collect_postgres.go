package doctor

import (
	"context"
	"os"
	"strings"

	"github.com/pgha/pgha-agent/pg"
)

func collectPostgres(ctx context.Context, f *Facts) error {
	_, _, role, err := pg.Endpoint(f.Options.PostgresDSN)
	if err != nil {
		return err
	}
	value, err := f.ask(ctx, pg.AuditSQL(role))
	if err == nil {
		f.Postgres, err = pg.ParseAudit(value)
	}
	return err
}

func collectHBA(ctx context.Context, f *Facts) error {
	value, err := f.ask(ctx, pg.HBASQL)
	if err == nil {
		f.HBA, err = pg.ParseHBA(value)
	}
	return err
}

// loginFacts say whether the server lets the agent's role in.
type loginFacts struct {
	Rejected string // what the server said, "" when it let the role in
}

var promotedOnly = skip("PostgreSQL runs on the promoted node only: run the doctor there")

// collectLogin finds out whether the server lets the agent's role in. The daemon knows; without it only the agent's
// user can try, and over TCP everybody.
func collectLogin(ctx context.Context, f *Facts) error {
	if f.Crm != nil && !f.promotedHere() {
		return absent(promotedOnly)
	}
	if f.Daemon != nil {
		switch p := f.Daemon.Postgres; p.State {
		case pg.StateAuth:
			f.Login = &loginFacts{Rejected: oneLine(p.Error)}
			return nil
		case pg.StateWritable, pg.StateReadOnly, pg.StateInRecovery:
			f.Login = &loginFacts{}
			return nil
		}
	}
	host, _, role, err := pg.Endpoint(f.Options.PostgresDSN)
	if err != nil {
		return err
	}
	uid, _, err := identity("pgha")
	if strings.HasPrefix(host, "/") && (err != nil || uid != uint32(os.Geteuid())) {
		return absent(unknown("whether the server lets role %s in is not known: the daemon does not tell, and this user is "+
			"another one", role).remedy("`runuser -u pgha -- pgha-agent doctor --only postgres-role`"))
	}
	_, state, err := pg.Ask(ctx, f.Options.PostgresDSN, "SELECT 1")
	switch {
	case err == nil:
		f.Login = &loginFacts{}
	case state == pg.StateAuth:
		f.Login = &loginFacts{Rejected: oneLine(err.Error())}
	default:
		return absent(unknown("PostgreSQL: %s: %s", state, oneLine(err.Error())).remedy(
			"see the check clients, and the PostgreSQL log"))
	}
	return nil
}

// ask puts one question to the local server. Root has no role there, so it becomes the user that owns the server, and
// asks with psql; anybody else asks as the agent does.
func (f *Facts) ask(ctx context.Context, sql string) ([]byte, error) {
	if f.Crm != nil && !f.promotedHere() {
		return nil, absent(promotedOnly)
	}
	host, port, _, err := pg.Endpoint(f.Options.PostgresDSN)
	if err != nil {
		return nil, err
	}
	if asRoot() && strings.HasPrefix(host, "/") {
		owner, psql := "postgres", "psql"
		if f.CIB != nil {
			for _, p := range f.database() {
				if name := p.Params["pgdba"]; name != "" {
					owner = name
				}
				if program := p.Params["psql"]; program != "" {
					psql = program
				}
			}
		}
		as, err := credential(owner)
		if err != nil {
			return nil, err
		}
		out, err := run(ctx, as, psql, "-XAtq", "-h", host, "-p", port, "-U", owner, "-d", "postgres", "-c",
			"SET statement_timeout = 5000", "-c", sql)
		if err != nil {
			return nil, absent(unknown("ask PostgreSQL as %s: %s", owner,
				oneLine(err.Error())).remedy("see the PostgreSQL log; does pg_hba.conf have `local all %s peer`?", owner))
		}
		return out, nil
	}
	value, state, err := pg.Ask(ctx, f.Options.PostgresDSN, sql)
	if err != nil {
		return nil, absent(unknown("PostgreSQL: %s: %s", state,
			oneLine(err.Error())).remedy("run it as root, or as user pgha with the role that docs/install.md describes"))
	}
	return value, nil
}
