package pg

import (
	"context"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"
)

const testPassword = "hunter2-secret"

// fakeProber is a Prober whose every connection is served by serve, on the other end of a pipe.
func fakeProber(t testing.TB, serve func(net.Conn)) (p *Prober, dials *atomic.Int32) {
	t.Helper()
	p = newProber(t, "host=/nowhere user=pgha dbname=postgres password="+testPassword)
	p.dial, dials = fakeDial(serve)
	return p, dials
}

func fakeDial(serve func(net.Conn)) (dialFunc, *atomic.Int32) {
	dials := new(atomic.Int32)
	return func(context.Context, string, string) (net.Conn, error) {
		dials.Add(1)
		client, server := net.Pipe()
		go func() {
			defer func() { _ = server.Close() }()
			serve(server)
		}()
		return client, nil
	}, dials
}

// fakeServer speaks PostgreSQL's protocol over c.
type fakeServer struct {
	*pgproto3.Backend
	c net.Conn
}

// accept does the startup and says whether the client stayed.
func accept(c net.Conn) (*fakeServer, bool) {
	b := &fakeServer{pgproto3.NewBackend(c, c), c}
	if _, err := b.ReceiveStartupMessage(); err != nil {
		return b, false
	}
	return b, true
}

func (b *fakeServer) ready() {
	b.Send(&pgproto3.AuthenticationOk{})
	b.Send(&pgproto3.ParameterStatus{Name: "server_version", Value: "15.0"})
	b.Send(&pgproto3.BackendKeyData{ProcessID: 1, SecretKey: []byte{0, 0, 0, 1}})
	b.Send(&pgproto3.ReadyForQuery{TxStatus: 'I'})
	_ = b.Flush() // the client may have gone; Receive says so
}

func (b *fakeServer) fail(severity, code, message string) {
	b.Send(&pgproto3.ErrorResponse{Severity: severity, SeverityUnlocalized: severity, Code: code, Message: message})
	_ = b.Flush()
}

func (b *fakeServer) rows(columns int, rows ...[]string) {
	d := &pgproto3.RowDescription{}
	for range columns {
		d.Fields = append(d.Fields, pgproto3.FieldDescription{Name: []byte("c"), DataTypeOID: 25})
	}
	b.Send(d)
	for _, r := range rows {
		var values [][]byte
		for _, v := range r {
			if v == "NULL" {
				values = append(values, nil)
			} else {
				values = append(values, []byte(v))
			}
		}
		b.Send(&pgproto3.DataRow{Values: values})
	}
	b.Send(&pgproto3.CommandComplete{CommandTag: []byte("SELECT")})
}

var writableRow = []string{"f", "off", "1700000000000000", "150010", "00000007", "5000", "5000", "200000", "f", "NULL", "NULL"}

// answer sends what a server without standbys answers to a query of the Prober.
func (b *fakeServer) answer(sql string, core []string) {
	b.rows(11, core)
	if strings.Contains(sql, "pg_stat_replication") {
		b.rows(11)
		b.rows(5)
		b.rows(1, []string{"/srv/pg"})
		b.rows(1, []string{"6"})
	}
	b.Send(&pgproto3.ReadyForQuery{TxStatus: 'I'})
	_ = b.Flush()
}

// serveRow answers every query with core.
func serveRow(core []string) func(net.Conn) {
	return func(c net.Conn) {
		b, ok := accept(c)
		if !ok {
			return
		}
		b.ready()
		for {
			m, err := b.Receive()
			if err != nil {
				return
			}
			if q, ok := m.(*pgproto3.Query); ok {
				b.answer(q.String, core)
			}
		}
	}
}

func TestProbeNamesEverySQLState(t *testing.T) {
	cases := []struct {
		code, message string
		want          State
	}{
		{"57P03", "the database system is starting up", StateStartingUp},
		{"57P03", "the database system is not yet accepting connections", StateStartingUp},
		{"57P03", "the database system is in recovery mode", StateStartingUp},
		{"57P03", "the database system is shutting down", StateShuttingDown},
		{"57P01", "terminating connection due to administrator command", StateShuttingDown},
		{"57P02", "terminating connection because of crash of another server process", StateShuttingDown},
		{"53300", "sorry, too many clients already", StateTooMany},
		{"28000", "no pg_hba.conf entry for host", StateAuth},
		{"28P01", "password authentication failed for user \"pgha\"", StateAuth},
		{"3D000", "database \"x\" does not exist", StateAuth},
		{"42704", "role does not exist", StateAuth},
		{"42501", "permission denied for database", StateAuth},
		{"55000", "database is not currently accepting connections", StateAuth},
		{"25006", "cannot execute in a read-only transaction", StateReadOnly},
		{"57014", "canceling statement due to statement timeout", StateTimeout},
		{"53100", "could not write: No space left on device", StateError},
		{"XX000", "internal error", StateError},
		{"", "no code", StateError},
	}
	for _, c := range cases {
		t.Run(c.code+" "+c.message, func(t *testing.T) {
			t.Run("at startup", func(t *testing.T) {
				p, dials := fakeProber(t, func(conn net.Conn) {
					if b, ok := accept(conn); ok {
						b.fail("FATAL", c.code, c.message)
					}
				})
				h := p.Probe(t.Context())
				if h.State != c.want || !strings.Contains(h.Err, c.message) || dials.Load() != 1 {
					t.Errorf("%s after %d dials, want %s; err %q", h.State, dials.Load(), c.want, h.Err)
				}
			})
			for _, severity := range []string{"ERROR", "FATAL"} {
				t.Run("at the first query, "+severity, func(t *testing.T) {
					p, _ := fakeProber(t, func(conn net.Conn) {
						b, ok := accept(conn)
						if !ok {
							return
						}
						b.ready()
						if _, err := b.Receive(); err != nil {
							return
						}
						b.fail(severity, c.code, c.message)
						if severity == "ERROR" {
							b.Send(&pgproto3.ReadyForQuery{TxStatus: 'I'})
							_ = b.Flush()
							_, _ = b.Receive()
						}
					})
					if h := p.Probe(t.Context()); h.State != c.want {
						t.Errorf("%s, want %s; err %q", h.State, c.want, h.Err)
					}
				})
			}
		})
	}
}

func TestProbeReadsTheRow(t *testing.T) {
	cases := []struct {
		name string
		row  []string
		want State
	}{
		{"writable", writableRow, StateWritable},
		{"read only", []string{"f", "on", "1", "150010", "00000001", "1", "1", "200000", "f", "NULL", "configuration file"}, StateReadOnly},
		{"read only for us", []string{"f", "on", "1", "150010", "00000001", "1", "1", "200000", "f", "NULL", "user"}, StateAuth},
		{"in recovery", []string{"t", "on", "1", "150010", "NULL", "1", "NULL", "200000", "f", "NULL", "NULL"}, StateInRecovery},
		{"in recovery without position", []string{"t", "on", "1", "150010", "NULL", "NULL", "NULL", "200000", "f", "NULL", "NULL"}, StateInRecovery},
		{"boolean missing", []string{"NULL", "on", "1", "150010", "NULL", "NULL", "NULL", "200000", "f", "NULL", "NULL"}, StateError},
		{"number is text", []string{"f", "off", "soon", "150010", "00000001", "1", "1", "200000", "f", "NULL", "NULL"}, StateError},
		{"position below zero", []string{"f", "off", "1", "150010", "00000001", "-1", "1", "200000", "f", "NULL", "NULL"}, StateError},
		{"too few columns", []string{"f", "off"}, StateError},
		{"too many columns", append([]string{"f"}, writableRow...), StateError},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			p, _ := fakeProber(t, serveRow(c.row))
			h := p.Probe(t.Context())
			if h.State != c.want || (h.Err != "") != (c.want == StateError || c.want == StateAuth) {
				t.Errorf("%s (%s), want %s", h.State, h.Err, c.want)
			}
			if c.want == StateError && (h.Version != 0 || h.LSN != 0) {
				t.Errorf("an error and values: %+v", h)
			}
		})
	}
	p, _ := fakeProber(t, serveRow(writableRow))
	h := p.Probe(t.Context())
	if h.Version != 150010 || h.Timeline != 7 || h.LSN != 5000 || h.Started.Unix() != 1700000000 {
		t.Errorf("%+v", h)
	}
}

func TestProbeReadsReplicationRelativeToTheCoreRow(t *testing.T) {
	p, _ := fakeProber(t, func(c net.Conn) {
		b, ok := accept(c)
		if !ok {
			return
		}
		b.ready()
		_, _ = b.Receive()
		b.rows(9, writableRow) // LSN 5000
		b.rows(11,
			[]string{"a\xff", "192.0.2.1", "streaming", "sync", "6000", "5000", "4000", "NULL", "1500", "NULL", "-7"},
			[]string{"hidden", "NULL", "NULL", "NULL", "NULL", "NULL", "NULL", "NULL", "NULL", "NULL", "NULL"})
		b.rows(5, []string{"s", "physical", "f", "1000", "reserved"}, []string{"old", "logical", "t", "NULL", "NULL"})
		b.rows(1, []string{"NULL"})
		b.rows(1, []string{"6"})
		b.Send(&pgproto3.ReadyForQuery{TxStatus: 'I'})
		_ = b.Flush()
		_, _ = b.Receive()
	})
	h := p.Probe(t.Context())
	wantState(t, h, StateWritable)
	wantReplicas := []Replica{
		{"a?", "192.0.2.1", "streaming", "sync", 0, 0, 1000, -1, 1500 * time.Microsecond, -1, 0},
		{"hidden", "", "", "", -1, -1, -1, -1, -1, -1, -1},
	}
	wantSlots := []Slot{{"s", "physical", false, 4000, "reserved"}, {"old", "logical", true, -1, ""}}
	if len(h.Replicas) != 2 || h.Replicas[0] != wantReplicas[0] || h.Replicas[1] != wantReplicas[1] {
		t.Errorf("replicas %+v", h.Replicas)
	}
	if len(h.Slots) != 2 || h.Slots[0] != wantSlots[0] || h.Slots[1] != wantSlots[1] {
		t.Errorf("slots %+v", h.Slots)
	}
	if h.Timeline != 7 {
		t.Errorf("timeline %d is not that of the current WAL file", h.Timeline)
	}
}

func TestProbeKeepsTheCoreWhenExtrasFail(t *testing.T) {
	var asked atomic.Int32
	p, dials := fakeProber(t, func(c net.Conn) {
		b, ok := accept(c)
		if !ok {
			return
		}
		b.ready()
		for {
			m, err := b.Receive()
			if err != nil {
				return
			}
			q, ok := m.(*pgproto3.Query)
			if !ok {
				return
			}
			b.rows(9, writableRow)
			if strings.Contains(q.String, "pg_stat_replication") {
				asked.Add(1)
				b.fail("ERROR", "42501", "permission denied for view pg_stat_replication")
			}
			b.Send(&pgproto3.ReadyForQuery{TxStatus: 'I'})
			_ = b.Flush()
		}
	})
	p.ReplicationEvery = 1
	for range 3 {
		wantState(t, p.Probe(t.Context()), StateWritable)
	}
	if asked.Load() != 1 || dials.Load() != 1 {
		t.Errorf("asked %d times for what is denied, over %d connections", asked.Load(), dials.Load())
	}
}

// hangs are the phases in which a server can stop answering.
var hangs = map[string]func(net.Conn){
	"before reading": func(net.Conn) { time.Sleep(2 * hangLimit) },
	"after the startup message": func(c net.Conn) {
		_, _ = accept(c)
		_, _ = io.Copy(io.Discard, c)
	},
	"after asking for a password": func(c net.Conn) {
		b, _ := accept(c)
		b.Send(&pgproto3.AuthenticationCleartextPassword{})
		_ = b.Flush()
		_, _ = io.Copy(io.Discard, c)
	},
	"before ready": func(c net.Conn) {
		b, _ := accept(c)
		b.Send(&pgproto3.AuthenticationOk{})
		_ = b.Flush()
		_, _ = io.Copy(io.Discard, c)
	},
	"in a message": func(c net.Conn) {
		_, _ = accept(c)
		_, _ = c.Write([]byte{'R', 0, 0})
		_, _ = io.Copy(io.Discard, c)
	},
	"at the query": func(c net.Conn) {
		b, _ := accept(c)
		b.ready()
		_, _ = io.Copy(io.Discard, c)
	},
	"between rows": func(c net.Conn) {
		b, _ := accept(c)
		b.ready()
		_, _ = b.Receive()
		b.rows(9, writableRow)
		_ = b.Flush()
		_, _ = io.Copy(io.Discard, c)
	},
}

func TestProbeIsBoundedWhereverTheServerHangs(t *testing.T) {
	for name, serve := range hangs {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p, dials := fakeProber(t, serve)
				for range 5 {
					begin := time.Now()
					h := p.Probe(t.Context())
					if took := time.Since(begin); h.State != StateTimeout || took != defaultTimeout || h.Took != took {
						t.Errorf("%s after %v (%s)", h.State, took, h.Err)
					}
				}
				if dials.Load() != 1 {
					t.Errorf("%d connections to a server that hangs", dials.Load())
				}
				time.Sleep(hangLimit)
				wantState(t, p.Probe(t.Context()), StateTimeout)
				if dials.Load() != 2 {
					t.Errorf("%d connections after the hang limit", dials.Load())
				}
				p.Close()
				time.Sleep(2 * hangLimit) // the bubble's clock stops with us, and a sleeping server must end
			})
			synctest.Test(t, func(t *testing.T) {
				c := newClient(t, "host=192.0.2.1 sslmode=disable user=pgha password="+testPassword, nil)
				c.dial, _ = fakeDial(serve)
				v := c.Probe(t.Context())
				if v.State != StateTimeout || v.OK || v.Answered.IsValid() || v.End.Sub(v.Begin) != defaultTimeout {
					t.Errorf("client: %+v", v)
				}
				time.Sleep(maxHangLimit)
			})
		})
	}
}

func TestProbeAsksAgainAfterALateAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		p, dials := fakeProber(t, func(c net.Conn) {
			b, ok := accept(c)
			if !ok {
				return
			}
			b.ready()
			first := true
			for {
				m, err := b.Receive()
				if err != nil {
					return
				}
				q, ok := m.(*pgproto3.Query)
				switch {
				case !ok:
					return
				case first:
					first = false
					<-release
					b.answer(q.String, writableRow)
				default:
					b.answer(q.String, []string{"f", "on", "1", "150010", "00000001", "1", "1", "200000", "f", "NULL", "NULL"})
				}
			}
		})
		wantState(t, p.Probe(t.Context()), StateTimeout)
		close(release)
		synctest.Wait()
		wantState(t, p.Probe(t.Context()), StateReadOnly) // not the old "writable"
		if dials.Load() != 1 {
			t.Errorf("%d connections", dials.Load())
		}
		p.Close()
	})
}

func TestProbeReconnectsOnceWhenTheServerWasReplaced(t *testing.T) {
	endings := map[string]func(*fakeServer){
		"closed":         func(*fakeServer) {},
		"admin shutdown": func(b *fakeServer) { b.fail("FATAL", "57P01", "terminating connection") },
		"cut in a row": func(b *fakeServer) {
			_, _ = b.Receive()
			_, _ = b.c.Write([]byte{'D', 0, 0, 0, 50, 0})
		},
		"garbage": func(b *fakeServer) {
			_, _ = b.Receive()
			_, _ = b.c.Write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n"))
		},
	}
	for name, end := range endings {
		t.Run(name, func(t *testing.T) {
			var n atomic.Int32
			p, dials := fakeProber(t, func(c net.Conn) {
				if n.Add(1) > 1 {
					serveRow([]string{"f", "off", "1800000000000000", "150010", "00000008", "6000", "6000", "200000", "f", "NULL", "NULL"})(c)
					return
				}
				b, _ := accept(c)
				b.ready()
				m, _ := b.Receive()
				b.answer(m.(*pgproto3.Query).String, writableRow)
				end(b)
			})
			first := p.Probe(t.Context())
			wantState(t, first, StateWritable)
			h := p.Probe(t.Context())
			wantState(t, h, StateWritable)
			if !h.Started.After(first.Started) || dials.Load() != 2 {
				t.Errorf("started %v, %d connections", h.Started, dials.Load())
			}
		})
	}
}

func TestProbeOfNonsenseIsAnError(t *testing.T) {
	for name, reply := range map[string]string{
		"nothing":           "",
		"HTTP":              "HTTP/1.1 200 OK\r\n\r\nhello",
		"zeros":             strings.Repeat("\x00", 100),
		"cut in a header":   "R\x00\x00",
		"cut in a message":  "R\x00\x00\x00\x08\x00",
		"huge length":       "R\x7f\xff\xff\xff",
		"negative length":   "R\xff\xff\xff\xff",
		"unknown auth":      "R\x00\x00\x00\x08\x00\x00\x00\x63",
		"ready before auth": "Z\x00\x00\x00\x05I",
	} {
		t.Run(name, func(t *testing.T) {
			p, _ := fakeProber(t, func(c net.Conn) {
				if _, ok := accept(c); ok {
					_, _ = c.Write([]byte(reply))
				}
			})
			if h := p.Probe(t.Context()); h.State != StateError || h.Err == "" {
				t.Errorf("%s (%s)", h.State, h.Err)
			}
		})
	}
}

func TestProbeGivesUpWithItsCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, _ := fakeProber(t, hangs["at the query"])
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		if h := p.Probe(ctx); h.State != StateUnknown || h.Took != time.Second {
			t.Errorf("%s after %v", h.State, h.Took)
		}
		p.Close()
		if h := p.Probe(t.Context()); h.State != StateUnknown || h.Err == "" {
			t.Errorf("after Close: %+v", h)
		}
		p.Close()
	})
}

func TestErrNeverHoldsThePassword(t *testing.T) {
	serve := func(c net.Conn) {
		b, ok := accept(c)
		if !ok {
			return
		}
		b.Send(&pgproto3.AuthenticationCleartextPassword{})
		_ = b.Flush()
		_ = b.SetAuthType(pgproto3.AuthTypeCleartextPassword)
		m, err := b.Receive()
		if err != nil {
			return
		}
		b.fail("FATAL", "28P01", "wrong password: "+m.(*pgproto3.PasswordMessage).Password+"\nat line 2\x00")
	}
	p, _ := fakeProber(t, serve)
	h := p.Probe(t.Context())
	c := newClient(t, "postgres://pgha:"+testPassword+"@192.0.2.1/postgres?sslmode=disable", nil)
	c.dial, _ = fakeDial(serve)
	v := c.Probe(t.Context())
	for _, text := range []string{h.Err, v.Err} {
		if strings.Contains(text, testPassword) || !strings.Contains(text, "wrong password") ||
			strings.ContainsAny(text, "\n\x00") {
			t.Errorf("err %q", text)
		}
	}
	if h.State != StateAuth || v.State != StateAuth {
		t.Errorf("states %s, %s", h.State, v.State)
	}
}

func TestBadDSNErrorHoldsNoPassword(t *testing.T) {
	const secret = "s3cr3tpw"
	for _, dsn := range []string{
		"host=a port=none password=" + secret,
		"host=a password='" + secret,
		"host=a password = " + secret + " sslmode=bogus",
		"password=" + secret + " nonsense",
		"password=" + secret + " host",
		"host=a sslmode=" + "bogus password='" + secret + " x'",
		"postgres://u:" + secret + "@h:none/db",
		"postgres://u:" + secret + "@[::1/db",
		"postgres://u:a/" + secret + "@h/db",
		"postgres://u@h/db?password=" + secret + "&sslmode=bogus",
		"postgres://u@h/db?pass%77ord=" + secret + "&sslmode=bogus",
		"postgres://u:%zz" + secret + "@h/db",
		"host=a password=" + secret + " target_session_attrs=" + secret,
		"host=a,b password=" + secret,
	} {
		p, err := NewProber(dsn)
		if err == nil || p != nil {
			t.Errorf("%q is accepted", dsn)
			continue
		}
		if strings.Contains(err.Error(), secret) || len(err.Error()) < len("parse connection string: x") {
			t.Errorf("%q: %v", dsn, err)
		}
	}
}

func FuzzProbeServerBytes(f *testing.F) {
	record := func(serve func(*fakeServer)) []byte {
		var b strings.Builder
		serve(&fakeServer{pgproto3.NewBackend(strings.NewReader(""), &b), nil})
		return []byte(b.String())
	}
	f.Add(false, []byte("HTTP/1.1 200 OK\r\n\r\n"))
	f.Add(false, record(func(b *fakeServer) { b.fail("FATAL", "57P03", "the database system is starting up") }))
	f.Add(false, []byte("R\x00\x00\x00\x17\x00\x00\x00\x0aSCRAM-SHA-256\x00\x00"))
	f.Add(true, record(func(b *fakeServer) { b.answer("pg_stat_replication", writableRow) }))
	f.Add(true, record(func(b *fakeServer) {
		b.rows(9, writableRow)
		b.fail("ERROR", "42501", "permission denied")
		b.Send(&pgproto3.ReadyForQuery{TxStatus: 'I'})
		_ = b.Flush()
	}))
	f.Add(true, record(func(b *fakeServer) { b.fail("FATAL", "57P01", "terminating connection") }))
	f.Fuzz(func(t *testing.T, startup bool, data []byte) {
		serve := func(c net.Conn) {
			b, ok := accept(c)
			if !ok {
				return
			}
			if startup {
				b.ready()
				_, _ = b.Receive()
			}
			go func() { _, _ = io.Copy(io.Discard, c) }()
			_, _ = c.Write(data)
		}
		p, _ := fakeProber(t, serve)
		for range 2 {
			checkHealth(t, p.Probe(t.Context()))
		}
		p.Close()
		c := newClient(t, "host=192.0.2.1 sslmode=disable user=pgha", nil)
		c.dial, _ = fakeDial(serve)
		if v := c.Probe(t.Context()); v.OK != (v.State == StateWritable) || v.Answers != (v.OK || v.State == StateAuth) {
			t.Errorf("%+v", v)
		}
	})
}

// TestNewConnectionsCount: a postmaster that is stopped, or has no connection left, serves the one that we keep. What a
// client that connects now is told is the state.
func TestNewConnectionsCount(t *testing.T) {
	for name, c := range map[string]struct {
		serve func(net.Conn) // the second connection and those after it
		want  State
	}{
		"accepted":  {serveRow(writableRow), StateWritable},
		"none left": {func(c net.Conn) { b, _ := accept(c); b.fail("FATAL", "53300", "too many clients") }, StateTooMany},
		"rejected":  {func(c net.Conn) { b, _ := accept(c); b.fail("FATAL", "28000", "no pg_hba.conf entry") }, StateAuth},
		"stopped":   {func(c net.Conn) { _, _ = accept(c); _, _ = io.Copy(io.Discard, c) }, StateTimeout},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var n atomic.Int32
				p, dials := fakeProber(t, func(conn net.Conn) {
					if n.Add(1) == 1 {
						serveRow(writableRow)(conn)
					} else {
						c.serve(conn)
					}
				})
				wantState(t, p.Probe(t.Context()), StateWritable)
				time.Sleep(defaultNewEvery - 1)
				if wantState(t, p.Probe(t.Context()), StateWritable); dials.Load() != 1 {
					t.Errorf("%d connections at once", dials.Load())
				}
				time.Sleep(time.Second)
				h := p.Probe(t.Context())
				wantState(t, h, c.want)
				checkHealth(t, h)
				if dials.Load() != 2 {
					t.Errorf("%d connections", dials.Load())
				}
				p.Close()
				time.Sleep(2 * maxHangLimit)
			})
		})
	}
}

// TestHangingServerIsGivenUpMoreAndMoreRarely: each attempt that is given up may leave a backend that nothing ends.
func TestHangingServerIsGivenUpMoreAndMoreRarely(t *testing.T) {
	hang := func(c net.Conn) { _, _ = accept(c); _, _ = io.Copy(io.Discard, c) }
	const length = 20 * time.Minute
	const most = 7 // after 0.5, 1.5, 3.5, 7.5, 12.5 and 17.5 minutes
	synctest.Test(t, func(t *testing.T) {
		p, dials := fakeProber(t, hang)
		for begin := time.Now(); time.Since(begin) < length; time.Sleep(time.Second) {
			wantState(t, p.Probe(t.Context()), StateTimeout)
		}
		if n := dials.Load(); n < 2 || n > most {
			t.Errorf("probe: %d connections", n)
		}
		p.Close()
	})
	synctest.Test(t, func(t *testing.T) {
		c := newClient(t, "host=192.0.2.1 sslmode=disable user=pgha", nil)
		var dials *atomic.Int32
		c.dial, dials = fakeDial(hang)
		for begin := time.Now(); time.Since(begin) < length; time.Sleep(time.Second) {
			if v := c.Probe(t.Context()); v.State != StateTimeout || v.Answers {
				t.Fatalf("%+v", v)
			}
		}
		if n := dials.Load(); n < 2 || n > most {
			t.Errorf("client: %d connections", n)
		}
		time.Sleep(2 * maxHangLimit)
	})
}

// TestHungServerKeepsNoOtherFromBeingTried: after a failover the name leads elsewhere, at once.
func TestHungServerKeepsNoOtherFromBeingTried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		serving := "192.0.2.1"
		c := newClient(t, "host=db.pgha.internal sslmode=disable user=pgha",
			func(context.Context, string) ([]string, error) { return []string{serving}, nil })
		thaw := make(chan struct{})
		good, _ := fakeDial(serveClient)
		hung, dials := fakeDial(func(c net.Conn) { b, _ := accept(c); <-thaw; b.fail("FATAL", "57P01", "terminating") })
		c.dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
			if strings.HasPrefix(addr, "192.0.2.1") && dials.Load() == 0 {
				return hung(ctx, network, addr)
			}
			return good(ctx, network, addr)
		}
		view := func(want State) {
			t.Helper()
			if v := c.Probe(t.Context()); v.State != want {
				t.Fatalf("%+v, want %s", v, want)
			}
		}
		view(StateTimeout)
		view(StateTimeout) // at once: the first has not ended
		serving = "192.0.2.2"
		view(StateWritable)
		serving = "192.0.2.1"
		view(StateTimeout)
		close(thaw)
		synctest.Wait()
		view(StateWritable)
	})
}

// serveClient answers what a Client asks.
func serveClient(c net.Conn) {
	b, ok := accept(c)
	if !ok {
		return
	}
	b.ready()
	for {
		if m, err := b.Receive(); err != nil {
			return
		} else if _, ok := m.(*pgproto3.Query); ok {
			b.rows(10, []string{"f", "off", "192.0.2.2", "150010", "5000", "5000", "200000", "f", "NULL", "NULL"})
			b.Send(&pgproto3.ReadyForQuery{TxStatus: 'I'})
			_ = b.Flush()
		}
	}
}
