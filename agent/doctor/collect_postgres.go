package doctor

import (
	"context"
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

// ask puts one question to the local server. Root has no role there, so it becomes the user that owns the server, and
// asks with psql; anybody else asks as the agent does.
func (f *Facts) ask(ctx context.Context, sql string) ([]byte, error) {
	if f.Crm != nil && !f.promotedHere() {
		return nil, absent(skip("PostgreSQL runs on the promoted node only: run the doctor there"))
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
