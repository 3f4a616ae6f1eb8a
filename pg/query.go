package pg

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// The statements of one probe travel in one simple-protocol message: one round trip, and no prepared statement
// that a restart or a pooler could lose. The server runs them in order and an error drops only what follows, so
// the one that must not fail comes first. All of them work on PostgreSQL 12 to 18 for any role; without
// pg_monitor some columns are null. Each CASE asks pg_is_in_recovery() itself: recovery can end between two
// columns, and never begins again.
const (
	coreSQL = `SELECT pg_is_in_recovery(), current_setting('transaction_read_only'),
 (extract(epoch from pg_postmaster_start_time()) * 1000000)::bigint, current_setting('server_version_num'),
 CASE WHEN pg_is_in_recovery() THEN NULL ELSE left(pg_walfile_name(pg_current_wal_lsn()), 8) END,
 pg_wal_lsn_diff(CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn()
  ELSE pg_current_wal_insert_lsn() END, '0/0'),
 CASE WHEN pg_is_in_recovery() THEN NULL ELSE pg_wal_lsn_diff(pg_current_wal_flush_lsn(), '0/0') END,
 ` + walWriterSQL + `, ` + walWaitSQL + `, ` + syncWaitSQL + `, ` + readOnlySQL

	walWriterSQL = `(extract(epoch from current_setting('wal_writer_delay')::interval) * 1000000)::bigint`

	// The words of PostgreSQL 13 to 16, 17, and 12. Without pg_monitor those of other roles are not seen.
	walWaitSQL = `EXISTS (SELECT FROM pg_stat_activity
  WHERE lower(wait_event) IN ('walsync', 'walwrite', 'walwritelock') AND pid <> pg_backend_pid())`

	// The commit that has waited for a synchronous standby for the longest: src/backend/replication/syncrep.c,
	// SyncRepWaitForLSN. state_change is when its statement began.
	syncWaitSQL = `(SELECT concat_ws(' ', pid, state_change) FROM pg_stat_activity
  WHERE wait_event = 'SyncRep' AND pid <> pg_backend_pid() ORDER BY state_change LIMIT 1)`

	// What makes the session read only.
	readOnlySQL = `CASE WHEN current_setting('transaction_read_only')::bool THEN
 (SELECT source FROM pg_settings WHERE name = 'default_transaction_read_only') END`

	replicasSQL = `;SELECT application_name, host(client_addr), state, sync_state,
 pg_wal_lsn_diff(sent_lsn, '0/0'), pg_wal_lsn_diff(write_lsn, '0/0'),
 pg_wal_lsn_diff(flush_lsn, '0/0'), pg_wal_lsn_diff(replay_lsn, '0/0'),
 (extract(epoch from write_lag) * 1000000)::bigint, (extract(epoch from flush_lag) * 1000000)::bigint,
 (extract(epoch from replay_lag) * 1000000)::bigint
 FROM pg_stat_replication ORDER BY 1, 2 LIMIT 100`

	// to_jsonb, because PostgreSQL 12 has no column wal_status.
	slotsSQL = `;SELECT slot_name, slot_type, active, pg_wal_lsn_diff(restart_lsn, '0/0'), to_jsonb(s)->>'wal_status'
 FROM pg_replication_slots s ORDER BY 1 LIMIT 100`

	// In recovery the timeline is that of the last restart point: pg_walfile_name refuses to work there.
	timelineSQL = `;SELECT timeline_id FROM pg_control_checkpoint()`

	directorySQL = `;SELECT CASE WHEN pg_has_role('pg_read_all_settings', 'MEMBER') THEN current_setting('data_directory') END`
)

// extras is what is read only now and then and kept in between.
type extras struct {
	read      time.Time // zero: never on this connection
	timeline  uint32    // of the control file
	directory string
	replicas  []Replica
	slots     []Slot
}

const (
	coreStatement = iota
	replicasStatement
	slotsStatement
	directoryStatement
	timelineStatement
)

// row is one row in text format; nil is null.
type row [][]byte

// run sends sql and gives each row to each, which must not keep it. An error of each comes back as "read answer"
// once the server has finished, so that the connection stays usable.
func run(ctx context.Context, s *session, sql string, each func(statement int, r row) error) error {
	results := s.Exec(ctx, sql)
	var bad error
	for n := 0; results.NextResult(); n++ {
		rows := results.ResultReader()
		for rows.NextRow() {
			if bad == nil {
				bad = each(n, rows.Values())
			}
		}
		if _, err := rows.Close(); err != nil {
			break
		}
	}
	if err := results.Close(); err != nil {
		return fmt.Errorf("query: %w", err)
	}
	if bad != nil {
		return fmt.Errorf("read answer: %w", bad)
	}
	return nil
}

// readHealth asks the server once. With x not nil it reads the extras too; when only they fail, err is nil and
// extraErr says why. A Health without an answer to the core statement is never returned without an error.
func readHealth(ctx context.Context, s *session, x *extras) (h Health, wal walPosition, extraErr, err error) {
	sql := coreSQL
	if x != nil {
		sql += replicasSQL + slotsSQL + directorySQL + timelineSQL
	}
	answered := false
	err = run(ctx, s, sql, func(statement int, r row) error {
		switch statement {
		case coreStatement:
			answered = true
			return readCore(r, &h, &wal)
		case replicasStatement:
			return readReplica(r, h.LSN, x)
		case slotsStatement:
			return readSlot(r, h.LSN, x)
		case directoryStatement:
			f := fields{row: r}
			x.directory = f.text(0)
			return f.done(1)
		case timelineStatement:
			f := fields{row: r}
			x.timeline = uint32(f.uint(0, 10, 32))
			return f.done(1)
		}
		return errors.New("more results than statements")
	})
	var pgErr *pgconn.PgError
	switch {
	case err == nil && !answered:
		return Health{}, wal, nil, errors.New("read answer: no row")
	case err != nil && answered && h.State != "" && x != nil && errors.As(err, &pgErr) && !s.IsClosed():
		return h, wal, err, nil
	case err != nil:
		return Health{}, wal, nil, err
	}
	return h, wal, nil, nil
}

func readCore(r row, h *Health, wal *walPosition) error {
	f := fields{row: r}
	recovery, readOnly := f.bool(0), f.bool(1)
	started := f.int(2)
	got := Health{
		Version:  int(f.uint(3, 10, 31)),
		Timeline: uint32(f.uint(4, 16, 32)),
		LSN:      f.uint(5, 10, 64),
	}
	at := walPosition{inserted: got.LSN, flushed: f.uint(6, 10, 64),
		writerDelay: time.Duration(f.int(7)) * time.Microsecond, waiting: f.bool(8), standby: f.text(9)}
	source := f.text(10)
	if err := f.done(11); err != nil {
		return err
	}
	if started > 0 {
		got.Started = time.UnixMicro(started)
	}
	switch {
	case recovery:
		got.State = StateInRecovery
	case readOnly && readOnlyError(source) != nil:
		got.State, got.Err = StateAuth, readOnlyError(source).Error()
	case readOnly:
		got.State = StateReadOnly
	default:
		got.State = StateWritable
	}
	*h = got
	if !recovery {
		*wal = at
	}
	return nil
}

func readReplica(r row, lsn uint64, x *extras) error {
	f := fields{row: r}
	rep := Replica{
		Name: f.text(0), Addr: f.text(1), State: f.text(2), SyncState: f.text(3),
		SentLagBytes: f.behind(4, lsn), WriteLagBytes: f.behind(5, lsn),
		FlushLagBytes: f.behind(6, lsn), ReplayLagBytes: f.behind(7, lsn),
		WriteLag: f.lag(8), FlushLag: f.lag(9), ReplayLag: f.lag(10),
	}
	if err := f.done(11); err != nil {
		return err
	}
	x.replicas = append(x.replicas, rep)
	return nil
}

func readSlot(r row, lsn uint64, x *extras) error {
	f := fields{row: r}
	slot := Slot{Name: f.text(0), Type: f.text(1), Active: f.bool(2), RetainedBytes: f.behind(3, lsn),
		WALStatus: f.text(4)}
	if err := f.done(5); err != nil {
		return err
	}
	x.slots = append(x.slots, slot)
	return nil
}

// fields reads the columns of a row and remembers the first that is not what it should be. Null is the zero
// value, or -1 where zero would be an answer.
type fields struct {
	row row
	err error
}

func (f *fields) raw(i int) []byte {
	if i >= len(f.row) {
		return nil // done reports it
	}
	return f.row[i]
}

func (f *fields) fail(i int, want string) {
	if f.err == nil {
		f.err = fmt.Errorf("column %d: %.40q is not %s", i+1, f.raw(i), want)
	}
}

func (f *fields) text(i int) string {
	return strings.ToValidUTF8(string(f.raw(i)), "?") // a label may not hold anything else
}

func (f *fields) bool(i int) bool {
	switch string(f.raw(i)) {
	case "t", "on":
		return true
	case "f", "off":
		return false
	}
	f.fail(i, "a boolean")
	return false
}

func (f *fields) int(i int) int64 {
	b := f.raw(i)
	if b == nil {
		return -1
	}
	n, err := strconv.ParseInt(string(b), 10, 64)
	if err != nil {
		f.fail(i, "an integer")
	}
	return n
}

func (f *fields) uint(i, base, bits int) uint64 {
	b := f.raw(i)
	if b == nil {
		return 0
	}
	n, err := strconv.ParseUint(string(b), base, bits)
	if err != nil {
		f.fail(i, "a natural number")
	}
	return n
}

// behind is the distance of column i to lsn. A position read a moment after lsn may be ahead of it: that is 0.
func (f *fields) behind(i int, lsn uint64) int64 {
	if f.raw(i) == nil {
		return -1
	}
	if at := f.uint(i, 10, 64); at < lsn {
		return int64(lsn - at)
	}
	return 0
}

func (f *fields) lag(i int) time.Duration {
	us := f.int(i)
	if f.raw(i) == nil {
		return -1
	}
	return time.Duration(max(us, 0)) * time.Microsecond
}

func (f *fields) done(columns int) error {
	if len(f.row) != columns {
		return fmt.Errorf("%d columns where %d were asked for", len(f.row), columns)
	}
	return f.err
}
