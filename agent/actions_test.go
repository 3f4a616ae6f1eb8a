package agent

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pgha/pgha-agent/agent/fsm"
	"github.com/pgha/pgha-agent/crm"
	"github.com/pgha/pgha-agent/pg"
	"github.com/pgha/pgha-agent/route53"
	"github.com/pgha/pgha-agent/route53/route53test"
)

// slow is a world in which each answer takes a while, and is about the time before that. err is each answer's.
type slow struct {
	*route53.Client // nil: nothing else is asked
	clock           *testClock
	err             error
}

const slowness = 4 * time.Second

func (s slow) wait() error { s.clock.advance(slowness, slowness, slowness); return s.err }

func (s slow) Close()                                       {}
func (s slow) Read(context.Context) (route53.Record, error) { return route53.Record{}, s.wait() }
func (s slow) Look(context.Context) (*crm.Status, error)    { return &crm.Status{}, s.wait() }
func (s slow) Probe(context.Context) pg.Health {
	_ = s.wait()
	return pg.Health{State: pg.StateWritable}
}
func (s slow) Write(context.Context, route53.Write) (string, error) { return "", s.wait() }
func (s slow) Lookup(context.Context, string) ([]netip.Addr, error) {
	return nil, s.wait()
}

// What is found out is as old as the question: what happened while the answer was on its way may be missing in it.
func TestObservationIsStampedAtItsBeginning(t *testing.T) {
	refused := &route53.Error{Op: "read record", Reason: route53.ReasonRefusedRecord, Sent: true,
		Err: errors.New("an alias")}
	record := func(a *Agent) fsm.Time { return a.readRecord(t.Context()).event.(fsm.Read).Zone.At }
	cluster := func(a *Agent) fsm.Time { return a.pollCluster(t.Context()).event.(fsm.ClusterPolled).Cluster.At }
	for name, c := range map[string]struct {
		err   error
		stamp func(*Agent) fsm.Time // asks
	}{
		"record":          {nil, record},
		"refused record":  {refused, record},
		"record not read": {errors.New("no"), record},
		"cluster":         {nil, cluster},
		"no cluster":      {errors.New("no"), cluster},
		"PostgreSQL": {nil, func(a *Agent) fsm.Time {
			return a.probePostgres(t.Context()).event.(fsm.PostgresProbed).Postgres.At
		}},
		"resolver": {nil, func(a *Agent) fsm.Time {
			return a.resolve(t.Context()).event.(fsm.ResolvedName).Resolved.At
		}},
	} {
		a, clock := bareAgent(t), newTestClock()
		a.clock = clock
		s := slow{clock: clock, err: c.err}
		a.src.Zone, a.src.Crm, a.src.Postgres, a.src.Resolver = s, s, s, s
		asked := clock.Boot()
		if at := c.stamp(a); at != asked || clock.Boot() != asked+slowness {
			t.Errorf("%s: stamped %v after the question", name, at-asked)
		}
	}
}

// After a write that failed only the record tells what is, unless the API itself has said that the record had no part
// in it.
func TestWriteThatFailedLeavesTheRecordUnknown(t *testing.T) {
	known := map[route53.Reason]bool{
		route53.ReasonThrottled: true, route53.ReasonPriorRequest: true, route53.ReasonDenied: true,
		route53.ReasonCredentials: true,
		route53.ReasonNoZone:      true, route53.ReasonGuard: true,
		// A conflict in words that nobody here knows is invalid input.
		route53.ReasonInvalid: false, route53.ReasonConflict: false, route53.ReasonRefusedRecord: false,
		route53.ReasonOther:   false,
		route53.ReasonTimeout: false, route53.ReasonNetwork: false, route53.ReasonServer: false, route53.ReasonGarbage: false,
	}
	a, clock, w := promotedAgent(t)
	outcome := func(err error) fsm.Wrote {
		a.src.Zone = slow{clock: newTestClock(), err: err}
		return a.write(t.Context(), w, clock.Mono()).event.(fsm.Wrote)
	}
	for _, r := range route53.Reasons {
		known, listed := known[r]
		if !listed {
			t.Errorf("%s is not in the table", r)
		}
		for _, sent := range []bool{false, true} {
			for _, foreign := range []bool{false, true} {
				got := outcome(&route53.Error{Op: "write record", Reason: r, Sent: sent, Foreign: foreign, Err: errors.New("no")})
				want := fsm.Wrote{Reason: string(r), Sent: sent, Conflict: r == route53.ReasonConflict,
					OutcomeUnknown: sent && (foreign || !known)}
				if got != want {
					t.Errorf("%s, sent %v, foreign %v: got %+v, want %+v", r, sent, foreign, got, want)
				}
			}
		}
	}
	if got, want := outcome(errors.New("who?")), (fsm.Wrote{Reason: "other", Sent: true,
		OutcomeUnknown: true}); got != want {
		t.Errorf("an error of another kind: got %+v, want %+v", got, want)
	}
}

// From one day on AWS says in other words that the record is not what the write expected. Then it is invalid input to
// the agent, again and again, and it must still find out that another node's claim stands there.
func TestConflictInNewWordsIsFoundInTheRecord(t *testing.T) {
	w := newWorld(t)
	a, _ := w.start()
	w.ready(a)
	w.aws.Set(route53test.Simple("_pgha."+testName, "TXT", 10,
		`"v=1 epoch=4 owner=pg-a addr=127.0.1.10 claim=1e5b6a52-6b3f-5d43-9d6e-7c5a1f2b3c4d"`))
	w.aws.Inject(route53test.Fault{
		Op: "ChangeResourceRecordSets", Kind: route53test.Refuse, Count: -1, Status: 400, Code: "InvalidChangeBatch",
		Body: "[The value to delete differs from the one in the zone]",
	})
	w.failOver()
	w.await("the other's claim to be seen", func() bool { return a.Snapshot().State.Zone.Epoch == 4 })
	if w.record() != "127.0.1.10" {
		t.Errorf("the record is %s", w.record())
	}
}

// A record is refused, and then the account is at its limit: what stands there is still said.
func TestReasonOfARefusedRecordOutlivesTheNextError(t *testing.T) {
	a := bareAgent(t)
	a.start = func(func()) {}
	text := "the A record db.pgha.internal has 2 values"
	for _, tt := range []struct {
		err  error
		want string // "" means that the record is fine
	}{
		{&route53.Error{Op: "read record", Reason: route53.ReasonRefusedRecord, Sent: true, Err: errors.New(text)}, text},
		{&route53.Error{Op: "read record", Reason: route53.ReasonThrottled, Sent: true, Err: errors.New("Rate exceeded")},
			text},
		{&route53.Error{Op: "read record", Reason: route53.ReasonTimeout, Sent: true, Err: context.DeadlineExceeded}, text},
		{nil, ""},
	} {
		a.src.Zone = slow{clock: newTestClock(), err: tt.err}
		a.step(t.Context(), a.readRecord(t.Context()))
		s := a.Snapshot()
		hold := s.HoldDoc(fsm.HoldRecordRefused)
		if s.State.Zone.Refused != (tt.want != "") || s.Refusal != tt.want || !strings.HasSuffix(hold.Text, tt.want) {
			t.Errorf("after %v: refused %v, %q, hold %q", tt.err, s.State.Zone.Refused, s.Refusal, hold.Text)
		}
	}
}

// A write waits for its connection no longer than its decision lasts, with as much time again for the rest.
func TestDecisionOutlivesTheWaitForAConnection(t *testing.T) {
	if 2*route53.ConnectWait > fsm.MaxDecisionAge {
		t.Errorf("a write waits %v for a connection, a decision lasts %v", route53.ConnectWait, fsm.MaxDecisionAge)
	}
}

// TestHookForgetsNoSplitBrain: it sees one moment, and the daemon that comes back decides.
func TestHookForgetsNoSplitBrain(t *testing.T) {
	for name, text := range map[string]string{"with nobody knows whom": "", "with pg-a": "pg-a\n"} {
		a := bareAgent(t)
		file := filepath.Join(a.cfg.State.Dir, "split-brain")
		if err := os.WriteFile(file, []byte(text), 0o640); err != nil {
			t.Fatal(err)
		}
		for _, once := range []bool{true, false} {
			a.opts.once = once
			a.lastDrbd.Store(&fsm.Drbd{})
			a.drbdChanged(healthyDrbd())
			if now, err := os.ReadFile(file); (err == nil) != once || string(now) != text && once {
				t.Errorf("%s, once %t: file %q, %v", name, once, now, err)
			}
		}
	}
}
