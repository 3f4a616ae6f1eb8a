package pg

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Audit is what an operator's check of a server wants to know beside its health.
type Audit struct {
	Version  int               `json:"version"`  // server_version_num
	Settings map[string]string `json:"settings"` // those of auditSettings that the asking role may see

	ArchiveTool  string  `json:"archive_tool"`  // pgbackrest, barman, wal-g or other; "" when nothing is archived
	LastArchived float64 `json:"last_archived"` // Unix time, 0 for never
	LastFailed   float64 `json:"last_failed"`   // Unix time of the last failure to archive, 0 for never
	// Receivers are the application names of connections that take WAL: pg_receivewal, barman_receive_wal, standbys.
	Receivers []string `json:"receivers"`

	RoleExists   bool `json:"role_exists"` // the agent's role
	RoleLogin    bool `json:"role_login"`
	RoleMonitors bool `json:"role_monitors"` // is a member of pg_monitor
	// ReadOnlyFor names those with default_transaction_read_only=on: "role", "role in database" or "database"; "" is
	// everybody.
	ReadOnlyFor []string `json:"read_only_roles"`
}

// HBARule is a line of pg_hba.conf as the server reads it. Address is "" for lines of type local.
type HBARule struct {
	Line    int    `json:"line"`
	Type    string `json:"type"`
	Address string `json:"address"` // address, host name, all, samehost or samenet
	Netmask string `json:"netmask"`
	Method  string `json:"method"`
	Error   string `json:"error"` // why the server cannot use the line
}

var auditSettings = []string{
	"fsync", "full_page_writes", "synchronous_commit", "listen_addresses", "password_encryption", "data_directory",
	"archive_mode", "default_transaction_read_only",
}

// AuditSQL gives one JSON value for ParseAudit. It works on PostgreSQL 12 to 18 for any role; without pg_monitor
// data_directory and the archive command are not seen. The archive command itself, which may hold credentials, never
// leaves the server.
func AuditSQL(role string) string {
	return `SELECT json_build_object(
 'version', current_setting('server_version_num')::int,
 'settings', (SELECT json_object_agg(name, setting) FROM pg_settings
   WHERE name IN ('` + strings.Join(auditSettings, "','") + `')),
 'archive_tool', (SELECT coalesce(max(CASE WHEN setting ILIKE '%pgbackrest%' THEN 'pgbackrest'
   WHEN setting ILIKE '%barman%' THEN 'barman' WHEN setting ILIKE '%wal-g%' THEN 'wal-g' ELSE 'other' END), '')
   FROM pg_settings WHERE name IN ('archive_command', 'archive_library') AND setting NOT IN ('', '(disabled)')),
 'last_archived', (SELECT coalesce(extract(epoch FROM last_archived_time), 0) FROM pg_stat_archiver),
 'last_failed', (SELECT coalesce(extract(epoch FROM last_failed_time), 0) FROM pg_stat_archiver),
 'receivers', (SELECT json_agg(application_name) FROM pg_stat_replication),
 'role_exists', EXISTS (SELECT FROM pg_roles WHERE rolname = ` + literal(role) + `),
 'role_login', EXISTS (SELECT FROM pg_roles WHERE rolname = ` + literal(role) + ` AND rolcanlogin),
 'role_monitors', EXISTS (SELECT FROM pg_roles WHERE rolname = ` + literal(role) + `
   AND pg_has_role(oid, 'pg_monitor', 'MEMBER')),
 'read_only_roles', (SELECT json_agg(concat_ws(' in ', r.rolname, d.datname)) FROM pg_db_role_setting s
   LEFT JOIN pg_roles r ON r.oid = s.setrole LEFT JOIN pg_database d ON d.oid = s.setdatabase
   WHERE EXISTS (SELECT FROM unnest(s.setconfig) c
     WHERE c IN ('default_transaction_read_only=on', 'default_transaction_read_only=true'))))`
}

// HBASQL gives one JSON value for ParseHBA: what stands in the file now, loaded or not. By default only superusers may
// ask.
const HBASQL = `SELECT coalesce(json_agg(json_build_object(
 'line', line_number, 'type', coalesce(type, ''), 'address', coalesce(address, ''), 'netmask', coalesce(netmask, ''),
 'method', coalesce(auth_method, ''), 'error', coalesce(error, '')) ORDER BY line_number), '[]')
 FROM pg_hba_file_rules`

// literal quotes a string for SQL.
func literal(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

// ParseAudit reads the value of AuditSQL.
func ParseAudit(value []byte) (*Audit, error) {
	a := &Audit{}
	if err := json.Unmarshal(value, a); err != nil {
		return nil, fmt.Errorf("read answer: %w", err)
	}
	if a.Version == 0 {
		return nil, errors.New("read answer: no version")
	}
	return a, nil
}

// ParseHBA reads the value of HBASQL.
func ParseHBA(value []byte) ([]HBARule, error) {
	var rules []HBARule
	if err := json.Unmarshal(value, &rules); err != nil {
		return nil, fmt.Errorf("read answer: %w", err)
	}
	return rules, nil
}

// askTimeout bounds an Ask; its statement gets the same on the server.
const askTimeout = 5 * time.Second

// Ask sends one statement over a connection of its own and returns the value in the first column of its last row. State
// says what is wrong when it fails; the error never holds a password.
func Ask(ctx context.Context, dsn, sql string) (value []byte, state State, err error) {
	cfg, err := parseDSN(dsn)
	if err != nil {
		return nil, StateError, err
	}
	ownParams(cfg)
	cfg.RuntimeParams["statement_timeout"] = fmt.Sprint(askTimeout.Milliseconds())
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	s, _, err := connect(ctx, cfg, newDialer())
	if err == nil {
		defer s.abort()
		err = run(ctx, s, sql, func(_ int, r row) error {
			if len(r) > 0 {
				value = append([]byte(nil), r[0]...)
			}
			return nil
		})
		if err == nil {
			_ = s.Close(ctx) // we have the answer
			return value, StateUnknown, nil
		}
	}
	return nil, classify(err), errors.New(errText(err, []string{cfg.Password}))
}

// Endpoint returns the host, which is a directory for a Unix socket, the port and the user of a connection string.
func Endpoint(dsn string) (host, port, user string, err error) {
	cfg, err := parseDSN(dsn)
	if err != nil {
		return "", "", "", err
	}
	return cfg.Host, fmt.Sprint(cfg.Port), cfg.User, nil
}
