package pg

import (
	"slices"
	"strings"
	"testing"

	"github.com/pgha/pgha-agent/pg/pgtest"
)

func TestRealAudit(t *testing.T) {
	s := pgtest.Start(t, pgtest.Options{})
	ask := func(sql string) []byte {
		t.Helper()
		value, state, err := Ask(t.Context(), s.DSN(), sql)
		if err != nil {
			t.Fatalf("%s: %v", state, err)
		}
		return value
	}
	audit := func() *Audit {
		t.Helper()
		a, err := ParseAudit(ask(AuditSQL("it's"))) // a quote in the name
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	a := audit()
	for _, name := range auditSettings {
		if a.Settings[name] == "" {
			t.Errorf("no %s", name)
		}
	}
	if a.Version < 120000 || a.RoleExists || a.RoleLogin || a.RoleMonitors || a.ArchiveTool != "" ||
		len(a.ReadOnlyFor) != 0 || a.LastArchived != 0 {
		t.Errorf("%+v", a)
	}

	mustQuery(t, s, `CREATE ROLE "it's" LOGIN`)
	mustQuery(t, s, `GRANT pg_monitor TO "it's"`)
	mustQuery(t, s, `ALTER ROLE "it's" SET default_transaction_read_only = on`)
	mustQuery(t, s, `ALTER DATABASE postgres SET default_transaction_read_only = off`)
	mustQuery(t, s, `ALTER SYSTEM SET archive_command = 'pgbackrest --secret=hunter2 archive-push %p'`)
	mustQuery(t, s, `SELECT pg_reload_conf()`)
	a = audit()
	if !a.RoleExists || !a.RoleLogin || !a.RoleMonitors || !slices.Equal(a.ReadOnlyFor, []string{"it's"}) {
		t.Errorf("%+v", a)
	}
	if answer := ask(AuditSQL("x")); strings.Contains(string(answer), "hunter2") {
		t.Errorf("the archive command is shown: %s", answer)
	}

	rules, err := ParseHBA(ask(HBASQL))
	if err != nil || len(rules) == 0 || rules[0].Method == "" || rules[0].Type == "" {
		t.Errorf("%+v, %v", rules, err)
	}
}

func TestAskSaysWhatIsWrong(t *testing.T) {
	if _, state, err := Ask(t.Context(), "host="+t.TempDir()+" user=pgha dbname=postgres",
		"SELECT 1"); state != StateRefused || err == nil {
		t.Errorf("%s, %v", state, err)
	}
	if _, _, err := Ask(t.Context(), "host=x password='hunter2", "SELECT 1"); err == nil ||
		strings.Contains(err.Error(), "hunter2") {
		t.Errorf("%v", err)
	}
}

func TestParseAuditRefuses(t *testing.T) {
	for _, text := range []string{"", "{}", "[]", `{"version": "x"}`} {
		if a, err := ParseAudit([]byte(text)); err == nil {
			t.Errorf("%q: %+v", text, a)
		}
	}
	if rules, err := ParseHBA([]byte(`{"line": 1}`)); err == nil {
		t.Errorf("%+v", rules)
	}
}
