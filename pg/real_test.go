package pg

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgha/pgha-agent/pg/pgtest"
)

func newProber(t testing.TB, dsn string) *Prober {
	t.Helper()
	p, err := NewProber(dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

func mustQuery(t testing.TB, s *pgtest.Server, sql string) string {
	t.Helper()
	v, err := s.Query(t.Context(), sql)
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return v
}

func wantState(t testing.TB, h Health, want State) {
	t.Helper()
	if h.State != want {
		t.Fatalf("state %s (%s), want %s", h.State, h.Err, want)
	}
}

// eventually probes until the state is want: what a signal causes takes the server a moment.
func eventually(t testing.TB, p *Prober, want State) Health {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for {
		h := p.Probe(t.Context())
		if h.State == want {
			return h
		}
		if time.Now().After(deadline) {
			t.Fatalf("state %s (%s), want %s", h.State, h.Err, want)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func TestRealServer(t *testing.T) {
	s := pgtest.Start(t, pgtest.Options{})
	p := newProber(t, s.DSN())

	first := p.Probe(t.Context())
	t.Run("writable", func(t *testing.T) {
		wantState(t, first, StateWritable)
		if first.Err != "" || first.Version < 120000 || first.Timeline != 1 || first.LSN == 0 || first.Took <= 0 ||
			time.Since(first.Started) > time.Minute || time.Since(first.Started) < -time.Second {
			t.Errorf("implausible: %+v", first)
		}
		if first.Replicas != nil || first.Slots != nil {
			t.Errorf("replication where there is none: %+v", first)
		}
	})
	t.Run("one connection is kept", func(t *testing.T) {
		for range 5 {
			wantState(t, p.Probe(t.Context()), StateWritable)
		}
		if n := mustQuery(t, s, "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pgha-agent'"); n != "1" {
			t.Errorf("%s connections", n)
		}
		if got := mustQuery(t, s, "SELECT state FROM pg_stat_activity WHERE application_name = 'pgha-agent'"); got != "idle" {
			t.Errorf("our connection is %s between probes", got)
		}
	})
	t.Run("LSN grows with writes", func(t *testing.T) {
		mustQuery(t, s, "CREATE TABLE grow AS SELECT generate_series(1, 1000)")
		if h := p.Probe(t.Context()); h.LSN <= first.LSN {
			t.Errorf("%d after %d", h.LSN, first.LSN)
		}
	})
	t.Run("our connection terminated is no failure", func(t *testing.T) {
		mustQuery(t, s, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'pgha-agent'")
		wantState(t, p.Probe(t.Context()), StateWritable)
	})
	t.Run("role without pg_monitor", func(t *testing.T) {
		mustQuery(t, s, "CREATE ROLE plain LOGIN; SELECT pg_create_physical_replication_slot('s1')")
		defer mustQuery(t, s, "SELECT pg_drop_replication_slot('s1')")
		q := newProber(t, s.DSN()+" user=plain")
		h := q.Probe(t.Context())
		wantState(t, h, StateWritable)
		if h.LSN == 0 || h.Timeline != 1 || len(h.Slots) != 1 || h.Slots[0].RetainedBytes != -1 || h.Slots[0].Active {
			t.Errorf("%+v", h)
		}
	})
	t.Run("role that may not read the extras", func(t *testing.T) {
		mustQuery(t, s, "REVOKE EXECUTE ON FUNCTION pg_control_checkpoint() FROM PUBLIC")
		defer mustQuery(t, s, "GRANT EXECUTE ON FUNCTION pg_control_checkpoint() TO PUBLIC")
		q := newProber(t, s.DSN()+" user=plain")
		for range 2 {
			wantState(t, q.Probe(t.Context()), StateWritable)
		}
		if !q.noExtras {
			t.Error("asks again for what it may not have, and fills the server's log")
		}
	})
	t.Run("auth", func(t *testing.T) {
		mustQuery(t, s, "SET password_encryption = 'scram-sha-256'; CREATE ROLE scram LOGIN PASSWORD 'right'")
		hba := "local all rejected reject\nlocal all scram scram-sha-256\nlocal all all trust\nhost all all 127.0.0.1/32 " +
			"trust\n"
		if err := s.WriteFile("pg_hba.conf", hba); err != nil {
			t.Fatal(err)
		}
		mustQuery(t, s, "CREATE ROLE rejected LOGIN")
		mustQuery(t, s, "CREATE DATABASE closed ALLOW_CONNECTIONS false")
		mustQuery(t, s, "SELECT pg_reload_conf()")
		for _, extra := range []string{"user=rejected", "user=nosuchrole", "dbname=nosuchdb", "dbname=closed",
			"user=scram password=wr0ng-secret", "user=scram"} {
			h := newProber(t, s.DSN()+" "+extra).Probe(t.Context())
			if h.State != StateAuth || h.Err == "" || strings.Contains(h.Err, "wr0ng-secret") {
				t.Errorf("%s: %s, %q", extra, h.State, h.Err)
			}
		}
		wantState(t, newProber(t, s.DSN()+" user=scram password=right").Probe(t.Context()), StateWritable)
	})
	t.Run("read_only", func(t *testing.T) {
		mustQuery(t, s, "ALTER SYSTEM SET default_transaction_read_only = on")
		mustQuery(t, s, "SELECT pg_reload_conf()")
		h := eventually(t, p, StateReadOnly)
		if h.Err != "" || h.LSN == 0 {
			t.Errorf("%+v", h)
		}
		c := newClient(t, s.TCP(""), nil)
		if v := c.Probe(t.Context()); v.State != StateReadOnly || v.OK {
			t.Errorf("client: %+v", v)
		}
		mustQuery(t, s, "ALTER SYSTEM RESET default_transaction_read_only")
	})
	t.Run("what is set for the agent alone", func(t *testing.T) {
		mustQuery(t, s, "SELECT pg_reload_conf()")
		eventually(t, p, StateWritable)
		mustQuery(t, s, "CREATE ROLE pgha LOGIN IN ROLE pg_monitor")
		mustQuery(t, s, "CREATE DATABASE other")
		const set, reset = " SET default_transaction_read_only = on", " RESET default_transaction_read_only"
		for _, c := range []struct{ set, reset, in, why string }{
			{"ALTER ROLE pgha" + set, "ALTER ROLE pgha" + reset, "", "source is user"},
			{"ALTER ROLE pgha IN DATABASE postgres" + set, "ALTER ROLE pgha IN DATABASE postgres" + reset, "", "source is database user"},
			{"ALTER DATABASE other" + set, "ALTER DATABASE other" + reset, " dbname=other", "source is database"},
			{"ALTER ROLE pgha CONNECTION LIMIT 0", "ALTER ROLE pgha CONNECTION LIMIT -1", "", "(SQLSTATE 53300)"},
			{"ALTER DATABASE other CONNECTION LIMIT 0", "ALTER DATABASE other CONNECTION LIMIT -1", " dbname=other", "(SQLSTATE 53300)"},
		} {
			q, v := newProber(t, s.DSN()+" user=pgha"+c.in), newClient(t, s.TCP("")+" user=pgha"+c.in, nil)
			mustQuery(t, s, c.set)
			h, seen := q.Probe(t.Context()), v.Probe(t.Context())
			if h.State != StateAuth || !strings.Contains(h.Err, c.why) || seen.State != StateAuth || seen.OK || !seen.Answers ||
				!strings.Contains(seen.Err, c.why) {
				t.Errorf("%s: %+v, client %+v", c.set, h, seen)
			}
			mustQuery(t, s, c.reset)
			wantState(t, q.Probe(t.Context()), StateWritable) // with a session of after that
			if seen := v.Probe(t.Context()); !seen.OK {
				t.Errorf("%s: client %+v", c.reset, seen)
			}
		}
	})
	t.Run("restart is seen", func(t *testing.T) {
		if err := s.Stop(pgtest.Fast); err != nil {
			t.Fatal(err)
		}
		if err := s.Start(); err != nil {
			t.Fatal(err)
		}
		h := p.Probe(t.Context())
		wantState(t, h, StateWritable)
		if !h.Started.After(first.Started) {
			t.Errorf("started %v, before %v", h.Started, first.Started)
		}
	})
	t.Run("hang does not pile up connections", func(t *testing.T) {
		q := newProber(t, s.DSN())
		q.Timeout = 50 * time.Millisecond
		if err := s.Signal(syscall.SIGSTOP); err != nil { // a postmaster that accepts nobody
			t.Fatal(err)
		}
		defer func() { _ = s.Signal(syscall.SIGCONT) }() // else the next subtest hangs when this one fails
		for range 5 {
			begin := time.Now()
			wantState(t, q.Probe(t.Context()), StateTimeout)
			if took := time.Since(begin); took > time.Second {
				t.Errorf("took %v", took)
			}
		}
		wantState(t, p.Probe(t.Context()), StateWritable) // the backend we have still serves
		if err := s.Signal(syscall.SIGCONT); err != nil {
			t.Fatal(err)
		}
		q.Timeout = 5 * time.Second
		wantState(t, q.Probe(t.Context()), StateWritable)
		if n := mustQuery(t, s, "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pgha-agent'"); n != "2" {
			t.Errorf("%s connections of 2 probers", n)
		}
	})
	t.Run("shutting_down", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		stay, err := pgconn.Connect(ctx, s.DSN())
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Signal(syscall.SIGTERM); err != nil { // smart: waits for stay
			t.Fatal(err)
		}
		deadline := time.Now().Add(10 * time.Second)
		for {
			h := newProber(t, s.DSN()).Probe(t.Context())
			if h.State == StateShuttingDown {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("state %s (%s)", h.State, h.Err)
			}
		}
		if err := stay.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("refused", func(t *testing.T) {
		if err := s.Stop(pgtest.Fast); err != nil {
			t.Fatal(err)
		}
		for name, dsn := range map[string]string{"no socket": s.DSN(), "nobody listens": s.TCP("")} {
			if h := newProber(t, dsn).Probe(t.Context()); h.State != StateRefused {
				t.Errorf("%s: %s (%s)", name, h.State, h.Err)
			}
		}
		wantState(t, p.Probe(t.Context()), StateRefused)
		if v := newClient(t, s.TCP(""), nil).Probe(t.Context()); v.State != StateRefused || v.OK || v.Answered.IsValid() {
			t.Errorf("client: %+v", v)
		}
	})
	t.Run("left socket of a killed server", func(t *testing.T) {
		if err := s.Start(); err != nil {
			t.Fatal(err)
		}
		wantState(t, p.Probe(t.Context()), StateWritable)
		if err := s.Kill(); err != nil {
			t.Fatal(err)
		}
		wantState(t, p.Probe(t.Context()), StateRefused)
	})
}

func TestRealTooManyConnections(t *testing.T) {
	s := pgtest.Start(t, pgtest.Options{Settings: map[string]string{
		"max_connections": "4", "superuser_reserved_connections": "0", "max_wal_senders": "0",
	}})
	var held []*pgconn.PgConn
	defer func() {
		for _, c := range held {
			_ = c.Close(context.Background())
		}
	}()
	for {
		c, err := pgconn.Connect(t.Context(), s.DSN())
		if err != nil {
			break
		}
		held = append(held, c)
	}
	wantState(t, newProber(t, s.DSN()).Probe(t.Context()), StateTooMany)
	v := newClient(t, s.TCP(""), nil).Probe(t.Context())
	if v.State != StateTooMany || v.OK || v.Answered != netip.MustParseAddr("127.0.0.1") {
		t.Errorf("client: %+v", v)
	}
}

func TestRealReplication(t *testing.T) {
	s := pgtest.Start(t, pgtest.Options{})
	sb := pgtest.StartStandby(t, s, pgtest.Options{}, "standby1", "slot1")
	p := newProber(t, s.DSN())
	p.ReplicationEvery = time.Nanosecond
	mustQuery(t, s, "CREATE TABLE load AS SELECT generate_series(1, 10000)")

	var h Health
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		h = p.Probe(t.Context())
		if len(h.Replicas) == 1 && h.Replicas[0].State == "streaming" && h.Replicas[0].ReplayLagBytes == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("standby does not catch up: %+v", h)
		}
	}
	t.Run("standby and slot", func(t *testing.T) {
		r := h.Replicas[0]
		if r.Name != "standby1" || r.SyncState != "async" || r.SentLagBytes != 0 || r.FlushLagBytes != 0 || r.ReplayLag < -1 {
			t.Errorf("replica %+v", r)
		}
		if len(h.Slots) != 1 || h.Slots[0].Name != "slot1" || h.Slots[0].Type != "physical" || !h.Slots[0].Active ||
			h.Slots[0].RetainedBytes < 0 {
			t.Errorf("slots %+v", h.Slots)
		}
		if h.Version >= 130000 && h.Slots[0].WALStatus != "reserved" {
			t.Errorf("wal_status %q", h.Slots[0].WALStatus)
		}
	})
	t.Run("in_recovery", func(t *testing.T) {
		h := newProber(t, sb.DSN()).Probe(t.Context())
		wantState(t, h, StateInRecovery)
		if h.LSN == 0 || h.Timeline != 1 || h.Err != "" || h.Replicas != nil {
			t.Errorf("%+v", h)
		}
		if v := newClient(t, sb.TCP(""), nil).Probe(t.Context()); v.State != StateInRecovery || v.OK {
			t.Errorf("client: %+v", v)
		}
	})
	t.Run("columns hidden from a plain role are -1", func(t *testing.T) {
		mustQuery(t, s, "CREATE ROLE plain LOGIN")
		h := newProber(t, s.DSN()+" user=plain").Probe(t.Context())
		wantState(t, h, StateWritable)
		if len(h.Replicas) != 1 {
			t.Fatalf("replicas %+v", h.Replicas)
		}
		if r := h.Replicas[0]; r.Name != "standby1" || r.SentLagBytes != -1 || r.ReplayLagBytes != -1 || r.ReplayLag != -1 {
			t.Errorf("%+v", r)
		}
	})
	t.Run("rows are kept until they are due", func(t *testing.T) {
		q := newProber(t, s.DSN())
		q.ReplicationEvery = time.Hour
		if a, b := q.Probe(t.Context()), q.Probe(t.Context()); len(a.Replicas) != 1 || len(b.Replicas) != 1 ||
			&a.Replicas[0] != &b.Replicas[0] {
			t.Errorf("%+v then %+v", a.Replicas, b.Replicas)
		}
	})
	t.Run("a stopped standby leaves a slot that retains WAL", func(t *testing.T) {
		if err := sb.Stop(pgtest.Fast); err != nil {
			t.Fatal(err)
		}
		mustQuery(t, s, "INSERT INTO load SELECT generate_series(1, 50000)")
		h := p.Probe(t.Context())
		if h.Replicas != nil || len(h.Slots) != 1 || h.Slots[0].Active || h.Slots[0].RetainedBytes < 1_000_000 ||
			h.Slots[0].RetainedBytes > 100_000_000 {
			t.Errorf("replicas %+v, slots %+v", h.Replicas, h.Slots)
		}
	})
	t.Run("standby that lets nobody in is starting_up", func(t *testing.T) {
		if err := sb.Configure(map[string]string{"primary_conninfo": "", "hot_standby": "off"}); err != nil {
			t.Fatal(err)
		}
		if err := sb.Launch(); err != nil {
			t.Fatal(err)
		}
		q := newProber(t, sb.DSN())
		h := eventually(t, q, StateStartingUp)
		if !strings.Contains(h.Err, "57P03") {
			t.Errorf("err %q", h.Err)
		}
		if v := newClient(t, sb.TCP(""), nil).Probe(t.Context()); v.State != StateStartingUp || v.OK ||
			!v.Answered.IsValid() {
			t.Errorf("client: %+v", v)
		}
	})
	t.Run("a promotion raises the timeline", func(t *testing.T) {
		if err := sb.Stop(pgtest.Immediate); err != nil {
			t.Fatal(err)
		}
		if err := sb.Configure(map[string]string{"hot_standby": "on"}); err != nil {
			t.Fatal(err)
		}
		if err := sb.Start(); err != nil {
			t.Fatal(err)
		}
		q := newProber(t, sb.DSN())
		wantState(t, q.Probe(t.Context()), StateInRecovery)
		mustQuery(t, sb, "SELECT pg_promote(false)")
		if h := eventually(t, q, StateWritable); h.Timeline != 2 {
			t.Errorf("timeline %d", h.Timeline)
		}
	})
}

func TestRealCrashRecovery(t *testing.T) {
	s := pgtest.Start(t, pgtest.Options{Settings: map[string]string{
		"max_wal_size": "2GB", "checkpoint_timeout": "1h", "synchronous_commit": "off", "fsync": "off",
	}})
	mustQuery(t, s, "CREATE TABLE dirty (n int, pad text)")
	mustQuery(t, s, "INSERT INTO dirty SELECT n, repeat('x', 200) FROM generate_series(1, 60000) n")
	mustQuery(t, s, "CHECKPOINT")
	mustQuery(t, s, "INSERT INTO dirty SELECT n, repeat('y', 200) FROM generate_series(1, 60000) n")
	p := newProber(t, s.DSN())
	wantState(t, p.Probe(t.Context()), StateWritable)
	if err := s.Kill(); err != nil {
		t.Fatal(err)
	}
	wantState(t, p.Probe(t.Context()), StateRefused)
	if err := s.Launch(); err != nil {
		t.Fatal(err)
	}
	var story []State
	for deadline := time.Now().Add(60 * time.Second); ; time.Sleep(2 * time.Millisecond) {
		h := p.Probe(t.Context())
		if len(story) == 0 || story[len(story)-1] != h.State {
			story = append(story, h.State)
		}
		if h.State == StateWritable {
			break
		}
		if !slices.Contains([]State{StateRefused, StateStartingUp}, h.State) || time.Now().After(deadline) {
			t.Fatalf("states %v: %s", story, h.Err)
		}
	}
	t.Logf("states after the crash: %v", story)
	if !slices.Contains(story, StateStartingUp) {
		t.Error("crash recovery was not seen as starting_up")
	}
}

// TestRealClientFailover moves a service name between two servers and lets Outage measure it.
func TestRealClientFailover(t *testing.T) {
	a := pgtest.Start(t, pgtest.Options{})
	b := pgtest.Start(t, pgtest.Options{Listen: "127.0.0.2", Port: a.Port})
	serving := "127.0.0.1"
	asked := 0
	c := newClient(t, fmt.Sprintf("host=db.pgha.internal port=%d user=postgres dbname=postgres", a.Port),
		func(_ context.Context, host string) ([]string, error) {
			if asked++; host != "db.pgha.internal" {
				return nil, errors.New("no such host")
			}
			return []string{serving}, nil
		})
	var o OutageTracker
	view := func(want State) *Outage {
		t.Helper()
		v := c.Probe(t.Context())
		if v.State != want || v.End.Before(v.Begin) || v.OK != (want == StateWritable) || v.Answers != v.OK {
			t.Fatalf("%+v, want %s", v, want)
		}
		return o.Observe(v)
	}
	if view(StateWritable) != nil {
		t.Fatal("gap at the first view")
	}
	if err := a.Kill(); err != nil {
		t.Fatal(err)
	}
	view(StateRefused)
	view(StateRefused)
	serving = b.Listen
	gap := view(StateWritable)
	if gap == nil || gap.Failures != 2 || gap.Before != netip.MustParseAddr("127.0.0.1") ||
		gap.After != netip.MustParseAddr("127.0.0.2") ||
		gap.Duration() <= 0 {
		t.Fatalf("gap %+v", gap)
	}
	if asked != 4 {
		t.Errorf("resolved %d times for 4 attempts", asked)
	}
	// a backend takes a moment to leave
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		n := mustQuery(t, b, "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pgha-agent'")
		if n == "0" {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the client holds %s connections", n)
		}
	}
	serving = a.Listen
	if err := a.Start(); err != nil {
		t.Fatal(err)
	}
	if gap := view(StateWritable); gap == nil || gap.Failures != 0 {
		t.Errorf("move without failure: %+v", gap)
	}
	noRole := newClient(t, a.TCP("")+" user=nosuchrole", nil)
	if v := noRole.Probe(t.Context()); v.OK || !v.Answers || v.State != StateAuth || v.Answered != netip.MustParseAddr("127.0.0.1") {
		t.Errorf("server that does not know us: %+v", v)
	}
}

// TestRealHang: a postmaster that is stopped serves our kept connection, and nobody who connects now.
func TestRealHang(t *testing.T) {
	s := pgtest.Start(t, pgtest.Options{})
	p := newProber(t, s.DSN())
	p.NewEvery, p.Timeout = time.Millisecond, 300*time.Millisecond
	c := newClient(t, s.TCP(""), nil)
	c.Timeout = 300 * time.Millisecond
	wantState(t, p.Probe(t.Context()), StateWritable)
	if err := s.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	for range 5 {
		wantState(t, p.Probe(t.Context()), StateTimeout)
		if v := c.Probe(t.Context()); v.State != StateTimeout || v.OK {
			t.Errorf("client: %+v", v)
		}
	}
	if err := s.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	eventually(t, p, StateWritable)
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if v := c.Probe(t.Context()); v.OK {
			break
		} else if time.Now().After(deadline) {
			t.Fatalf("client: %+v", v)
		}
	}
}

// TestRealWALPosition: what an open transaction has written may wait for long, and is no sign of a disk that hangs.
func TestRealWALPosition(t *testing.T) {
	s := pgtest.Start(t, pgtest.Options{})
	p := newProber(t, s.DSN())
	mustQuery(t, s, "CREATE TABLE t (x int)")
	done := make(chan error, 1)
	go func() {
		_, err := s.Query(context.WithoutCancel(t.Context()), "INSERT INTO t VALUES (1); SELECT pg_sleep(2)")
		done <- err
	}()
	for begin := time.Now(); time.Since(begin) < 2*time.Second; time.Sleep(100 * time.Millisecond) {
		wantState(t, p.Probe(t.Context()), StateWritable)
		if _, wal, _, err := readHealth(t.Context(), p.idle, nil); err != nil || wal.flushed == 0 || wal.waiting ||
			wal.writerDelay != 200*time.Millisecond || wal.inserted >= wal.flushed+flushBlock {
			t.Fatalf("%+v, %v", wal, err)
		}
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// TestRealSynchronousStandby: commits that wait for a standby that is not there are seen by role and client, and the
// remedies of explain let them go on.
func TestRealSynchronousStandby(t *testing.T) {
	s := pgtest.Start(t, pgtest.Options{})
	mustQuery(t, s, "CREATE ROLE pgha LOGIN IN ROLE pg_monitor")
	mustQuery(t, s, "CREATE TABLE t (x int)")
	p, c := newProber(t, s.DSN()+" user=pgha"), newClient(t, s.TCP("")+" user=pgha", nil)
	c.WriteEvery = 1 // which waits for no standby
	mustQuery(t, s, "ALTER SYSTEM SET synchronous_standby_names = 'nosuch'")
	mustQuery(t, s, "SELECT pg_reload_conf()")
	done := make(chan error, 1)
	commit := func() {
		_, err := s.Query(context.WithoutCancel(t.Context()), "SELECT pg_sleep(0.5); INSERT INTO t VALUES (1)")
		done <- err
	}
	go commit()
	// waits is how long the agent and the client's view take a commit to wait, had they first seen it so long ago.
	waits := func(ago time.Duration) (time.Duration, ClientProbe) {
		t.Helper()
		p.sync.since, c.sync.since = p.sync.since.Add(-ago), c.sync.since.Add(-ago)
		h := p.Probe(t.Context())
		wantState(t, h, StateWritable)
		return h.SyncWait, c.Probe(t.Context())
	}
	for deadline := time.Now().Add(10 * time.Second); p.sync.commit == "" || c.sync.commit == ""; {
		if wait, v := waits(0); wait != 0 || !v.OK {
			t.Fatalf("at once: %v, %+v", wait, v)
		}
		if time.Now().After(deadline) {
			t.Fatal("no commit is seen waiting")
		}
	}
	if wait, v := waits(2 * flushPatience); wait < 2*flushPatience || v.OK || v.State != StateTimeout ||
		!strings.Contains(v.Err, "synchronous standby") {
		t.Errorf("%v, %+v", wait, v)
	}
	mustQuery(t, s, "ALTER SYSTEM SET synchronous_standby_names = ''")
	mustQuery(t, s, "SELECT pg_reload_conf()")
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if wait, v := waits(0); wait != 0 || !v.OK {
		t.Errorf("afterwards: %v, %+v", wait, v)
	}
}

// TestRealWrite: with WriteEvery a Probe has a WAL record of its own on disk, as a role without rights, also where
// transactions are read only by default.
func TestRealWrite(t *testing.T) {
	s := pgtest.Start(t, pgtest.Options{})
	mustQuery(t, s, "CREATE ROLE plain LOGIN")
	c := newClient(t, s.TCP("")+" user=plain", nil)
	// writes reports whether each of some probes wrote; the server now and then writes by itself.
	writes := func() bool {
		t.Helper()
		for range 10 {
			before := mustQuery(t, s, "SELECT pg_current_wal_flush_lsn()")
			if v := c.Probe(t.Context()); !v.OK {
				t.Fatalf("%+v", v)
			}
			if mustQuery(t, s, "SELECT pg_current_wal_flush_lsn()") == before {
				return false
			}
		}
		return true
	}
	mustQuery(t, s, "CHECKPOINT")
	if writes() {
		t.Error("writes without being told to")
	}
	if c.WriteEvery = 1; !writes() {
		t.Error("does not write")
	}
	if c.WriteEvery = time.Hour; writes() {
		t.Error("writes again within the hour")
	}
}

func benchmarkProbe(b *testing.B, every time.Duration) {
	s := pgtest.Start(b, pgtest.Options{})
	p := newProber(b, s.DSN())
	p.ReplicationEvery = every
	wantState(b, p.Probe(b.Context()), StateWritable)
	b.ReportAllocs()
	for b.Loop() {
		wantState(b, p.Probe(b.Context()), StateWritable)
	}
}

func BenchmarkProbeWarm(b *testing.B)       { benchmarkProbe(b, time.Hour) }
func BenchmarkProbeWithExtras(b *testing.B) { benchmarkProbe(b, 1) }

func BenchmarkClientProbe(b *testing.B) {
	s := pgtest.Start(b, pgtest.Options{})
	c := newClient(b, s.TCP(""), nil)
	for b.Loop() {
		if v := c.Probe(b.Context()); !v.OK {
			b.Fatal(v)
		}
	}
}
