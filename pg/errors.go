package pg

import (
	"context"
	"errors"
	"net"
	"os"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"unicode"

	"github.com/jackc/pgx/v5/pgconn"
)

// classify names the answer that err stands for. It looks at SQLSTATE first: a server that says why it
// refuses knows better than the socket does.
func classify(err error) State {
	if pgErr, ok := errors.AsType[*pgconn.PgError](err); ok {
		return classifySQLState(pgErr)
	}
	var netErr net.Error
	switch {
	case errors.Is(err, context.Canceled):
		return StateUnknown
	case errors.Is(err, context.DeadlineExceeded), pgconn.Timeout(err), errors.Is(err, os.ErrDeadlineExceeded),
		errors.As(err, &netErr) && netErr.Timeout():
		return StateTimeout
	case errors.Is(err, syscall.EAGAIN):
		// Linux answers a unix connect so when the listen queue is full: a server that does not accept.
		return StateTimeout
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.ENOENT):
		return StateRefused
	}
	return StateError
}

// ownLimits are the functions of the server that refuse a connection for the CONNECTION LIMIT of a role (src/backend/
// utils/init/miscinit.c) and of a database (postinit.c): others may come in. A server without a connection left says so
// in InitProcess, one that keeps the rest for superusers in InitPostgres. Texts are translated, names of functions are
// not.
var ownLimits = []string{"InitializeSessionUserId", "CheckMyDatabase"}

// ReadOnlySource comes before what sets default_transaction_read_only for the agent and not for everybody, in
// the Err of a StateAuth.
const ReadOnlySource = "default_transaction_read_only is on, and its source is "

// readOnlyError is not nil when source, a name of GucSource_Names in src/backend/utils/misc/guc_tables.c, sets
// default_transaction_read_only for this role, database or connection. Then it tells nothing of other clients.
func readOnlyError(source string) error {
	switch source {
	case "user", "database user", "database", "client":
		return errors.New(ReadOnlySource + source)
	}
	return nil
}

// classifySQLState maps the error codes of PostgreSQL's appendix A. All 57P03 come from the same place in the
// server and differ only in their text, which a server with a foreign lc_messages translates; such a server
// shows starting_up while it stops.
func classifySQLState(e *pgconn.PgError) State {
	switch e.Code {
	case "57P03": // cannot_connect_now
		if strings.Contains(e.Message, "shutting down") {
			return StateShuttingDown
		}
		return StateStartingUp
	case "57P01", "57P02": // admin_shutdown, crash_shutdown
		return StateShuttingDown
	case "53300": // too_many_connections
		if slices.Contains(ownLimits, e.Routine) {
			return StateAuth
		}
		return StateTooMany
	case "57014": // query_canceled: our own statement_timeout
		return StateTimeout
	case "25006": // read_only_sql_transaction
		return StateReadOnly
	case "3D000", // invalid_catalog_name: no such database
		"42704", // undefined_object: a pooler's word for a missing role
		"42501", // insufficient_privilege: no CONNECT on the database
		"55000", // object_not_in_prerequisite_state: the database does not allow connections
		"57P04": // database_dropped
		return StateAuth
	}
	if strings.HasPrefix(e.Code, "28") { // invalid authorization specification
		return StateAuth
	}
	return StateError
}

// maxErrText bounds Health.Err and View.Err, in bytes.
const maxErrText = 400

// errText renders err in one line of valid UTF-8 without the secrets.
func errText(err error, secrets []string) string {
	if err == nil {
		return ""
	}
	if pgErr, ok := errors.AsType[*pgconn.PgError](err); ok {
		err = pgErr // what the server said, without every way that the driver tried to reach it
	}
	text := redact(err.Error(), secrets)
	text = strings.Join(strings.FieldsFunc(strings.ToValidUTF8(text, "?"), func(r rune) bool {
		return unicode.IsSpace(r) || unicode.IsControl(r)
	}), " ")
	if len(text) > maxErrText {
		text = strings.ToValidUTF8(text[:maxErrText], "") + "..."
	}
	return text
}

// minSecret is the length from which on text is hidden: hiding each "a" protects no one whose password is "a".
const minSecret = 3

func redact(text string, secrets []string) string {
	for _, s := range secrets {
		if len(s) >= minSecret {
			text = strings.ReplaceAll(text, s, "xxxxx")
		}
	}
	return text
}

var (
	keywordPassword = regexp.MustCompile(`(?is)p(?:a|%61)ss[^=\s]*\s*=\s*(.*)`)
	secretSeparator = regexp.MustCompile(`[\s:/?@&='"\\]+`)
)

// dsnSecrets returns whatever in a connection string may be a password. It is generous, because it serves the
// message about a string that cannot be parsed, where nobody knows which part was meant as what.
func dsnSecrets(dsn string) []string {
	var parts []string
	if _, rest, ok := strings.Cut(dsn, "://"); ok {
		if at := strings.LastIndexByte(rest, '@'); at >= 0 {
			if _, password, ok := strings.Cut(rest[:at], ":"); ok {
				parts = append(parts, password)
			}
		}
	}
	if m := keywordPassword.FindStringSubmatch(dsn); m != nil {
		parts = append(parts, m[1])
	}
	secrets := parts
	for _, p := range parts {
		secrets = append(secrets, secretSeparator.Split(p, -1)...)
	}
	return secrets
}

// parseDSN reads a connection string (URL or keyword=value, as libpq does, PG* environment and .pgpass included).
// Its errors hold neither the string nor a part of it that may be a password, and do not wrap the driver's
// error, which carries the string.
func parseDSN(dsn string) (*pgconn.Config, error) {
	cfg, err := pgconn.ParseConfig(dsn)
	if err == nil {
		return cfg, nil
	}
	reason := err.Error()
	if i := strings.LastIndex(reason, "`: "); i >= 0 {
		reason = reason[i+len("`: "):] // what comes before quotes the string
	}
	return nil, errors.New("parse connection string: " + errText(errors.New(reason), dsnSecrets(dsn)))
}
