package explain

import (
	"context"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgha/pgha-agent/agent/status"
	"github.com/pgha/pgha-agent/pg"
	"github.com/pgha/pgha-agent/pg/pgtest"
)

// statements are what a command gives to psql, one after the other over one session.
func statements(command string) (list []string) {
	for _, part := range strings.Split(command, ` -c "`)[1:] {
		sql, _, _ := strings.Cut(part, `"`)
		list = append(list, sql)
	}
	return list
}

// TestRealRemedies plants in a real server what keeps the agent or clients out, and runs the commands of the finding as
// its superuser: then it accepts writes.
func TestRealRemedies(t *testing.T) {
	s := pgtest.Start(t, pgtest.Options{Settings: map[string]string{
		"max_connections": "8", "superuser_reserved_connections": "2", "max_wal_senders": "0",
	}})
	// carryOut runs the statements as psql does: over one session, each in a transaction of its own.
	carryOut := func(list ...string) {
		t.Helper()
		c, err := pgconn.Connect(t.Context(), s.DSN())
		for range 1000 { // a connection that was just turned away holds its slot for a moment
			if err == nil {
				break
			}
			c, err = pgconn.Connect(t.Context(), s.DSN())
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, sql := range list {
			if _, err := c.Exec(t.Context(), sql).ReadAll(); err != nil {
				t.Errorf("%s: %v", sql, err)
			}
		}
		if err := c.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
	carryOut("CREATE ROLE pgha LOGIN IN ROLE pg_monitor", "CREATE ROLE app LOGIN")
	const on = " SET default_transaction_read_only = on"
	// fill takes every connection that is there for other roles, each with a statement.
	fill := func(first string) func() {
		return func() {
			for {
				c, err := pgconn.Connect(t.Context(), s.DSN()+" user=app")
				if err != nil {
					return
				}
				t.Cleanup(func() { _ = c.Close(context.Background()) })
				c.Exec(t.Context(), first) // nobody waits for the answer
			}
		}
	}
	run := func(list ...string) func() { return func() { carryOut(list...) } }
	for name, c := range map[string]struct {
		plant func()
		want  pg.State
	}{
		"limit of the role":       {run("ALTER ROLE pgha CONNECTION LIMIT 0"), pg.StateAuth},
		"limit of the database":   {run("ALTER DATABASE postgres CONNECTION LIMIT 0"), pg.StateAuth},
		"role":                    {run("ALTER ROLE pgha" + on), pg.StateAuth},
		"role in the database":    {run("ALTER ROLE pgha IN DATABASE postgres" + on), pg.StateAuth},
		"database":                {run("ALTER DATABASE postgres" + on), pg.StateAuth},
		"all roles":               {run("ALTER ROLE ALL" + on), pg.StateReadOnly},
		"server":                  {run("ALTER SYSTEM"+on, "SELECT pg_reload_conf()"), pg.StateReadOnly},
		"sessions in transaction": {fill("BEGIN"), pg.StateTooMany},
		"sessions that work":      {fill("SELECT pg_sleep(60)"), pg.StateTooMany},
	} {
		c.plant()
		p, err := pg.NewProber(s.DSN() + " user=pgha")
		if err != nil {
			t.Fatal(err)
		}
		h := p.Probe(t.Context())
		for range 1000 { // a reload takes a moment
			if h.State == c.want {
				break
			}
			h = p.Probe(t.Context())
		}
		findings := (&judge{}).postgres("pg-a", &status.PostgresDoc{State: h.State, Error: h.Err})
		if h.State != c.want || len(findings) != 1 {
			t.Fatalf("%s: %s (%s), %+v", name, h.State, h.Err, findings)
		}
		for _, command := range findings[0].Commands {
			carryOut(statements(command)...)
		}
		for range 1000 {
			if h = p.Probe(t.Context()); h.State == pg.StateWritable {
				break
			}
		}
		if h.State != pg.StateWritable {
			t.Errorf("%s: %s (%s) after %q", name, h.State, h.Err, findings[0].Commands)
		}
		p.Close()
	}
	fill("BEGIN")()
	carryOut(strings.Replace(endIdle, "1 minute", "0", 1))
	p, err := pg.NewProber(s.DSN() + " user=pgha")
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	h := p.Probe(t.Context())
	for range 1000 {
		if h.State == pg.StateWritable {
			return
		}
		h = p.Probe(t.Context())
	}
	t.Errorf("%s (%s) after %s", h.State, h.Err, endIdle)
}
