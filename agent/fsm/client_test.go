package fsm

import (
	"testing"
	"time"
)

func reads(actions []Action) bool {
	for _, a := range actions {
		if _, is := a.(ReadRecord); is {
			return true
		}
	}
	return false
}

// standbyOf returns the state of a node whose peer is promoted and has published, a while after anything happened.
func standbyOf() (State, Time) {
	s, now := settled()
	now += 10 * time.Minute
	s.Promotion, s.Episode.Outcome = Promotion{}, OutcomeDemoted
	s.Cluster = Cluster{At: now, OK: true, Online: true, PromotedPeer: "pg-a", PeerCount: 1, FencingEnabled: true,
		Peers: s.Cluster.Peers}
	s.Cluster.Peers[0].Promoted, s.Drbd.Primary, s.Drbd.At = true, false, now
	s.Zone = Zone{At: now, OK: true, Addr: peerAddr, Owner: "pg-a", Claim: "a/1", Epoch: 7, Raw: "x", TTL: 10 * time.Second}
	s.Record = RecordState{readAt: now, awaited: awaitedClaim{peer: "pg-a", reads: maxClaimReads}}
	s.Write, s.Repair = WriteState{}, RepairState{}
	for t := range s.tasks {
		s.tasks[t] = taskState{due: now + time.Hour}
	}
	return s, now
}

// TestStandbyReadsTheRecordThatTheResolverContradicts: what the zone held is minutes old there.
func TestStandbyReadsTheRecordThatTheResolverContradicts(t *testing.T) {
	for name, c := range map[string]struct {
		prepare func(*State, Time)
		answer  Resolved
		reads   bool
	}{
		"the same":     {answer: Resolved{OK: true, Addr: peerAddr}},
		"another":      {answer: Resolved{OK: true, Addr: "10.9.9.9"}, reads: true},
		"two values":   {answer: Resolved{OK: true, Addr: "[10.0.1.10 10.9.9.9]"}, reads: true},
		"none":         {answer: Resolved{OK: true}, reads: true},
		"no answer":    {answer: Resolved{}},
		"just changed": {func(s *State, now Time) { s.Record.resolversStaleUntil = now + 1 }, Resolved{OK: true}, false},
		"just asked":   {func(s *State, now Time) { s.Repair.suspectedAt = now - 50*time.Second }, Resolved{OK: true}, false},
		"never read":   {func(s *State, _ Time) { s.Zone = Zone{} }, Resolved{OK: true, Addr: myAddr}, false},
		"known to be wrong": {func(s *State, _ Time) { s.Zone.Owner = me }, Resolved{OK: true, Addr: myAddr},
			false},
	} {
		s, now := standbyOf()
		s.Write.resolversStaleUntil = now // all have heard of what this node wrote last
		if c.prepare != nil {
			c.prepare(&s, now)
		}
		if _, out := s.Step(now, ResolvedName{c.answer}); reads(out) != c.reads {
			t.Errorf("%s: reads %v", name, reads(out))
		}
	}
}

// TestRecordThatIsWrongIsReadOften, so that a remedy is seen within half a minute.
func TestRecordThatIsWrongIsReadOften(t *testing.T) {
	const soon = troubledCheck + troubledCheck/2
	for name, c := range map[string]struct {
		zone func(z *Zone)
		soon bool
	}{
		"right":           {func(*Zone) {}, false},
		"no address":      {func(z *Zone) { z.Addr = "" }, true},
		"another owner":   {func(z *Zone) { z.Owner = me }, true},
		"nobody owns it":  {func(z *Zone) { z.Owner, z.Claim, z.Raw = "", "", "" }, true},
		"refused":         {func(z *Zone) { *z = Zone{At: z.At, Refused: true} }, true},
		"refused, exists": {func(z *Zone) { *z = Zone{At: z.At, Refused: true, Named: true} }, true},
	} {
		s, now := standbyOf()
		z := s.Zone
		z.At = now
		c.zone(&z)
		reason := ""
		if z.Refused {
			reason = "refused_record"
		}
		s, _ = s.Step(now+time.Second, Read{Zone: z, Reason: reason})
		if due := s.tasks[taskReadRecord].due - now; (due <= soon+time.Second) != c.soon {
			t.Errorf("%s: read again after %v", name, due)
		}
		if want := z.Addr != "" || z.Named; s.NameExists() != want {
			t.Errorf("%s: the name exists: %v", name, s.NameExists())
		}
	}
	s, now := standbyOf()
	s.Cluster.PromotedPeer = "" // nobody is promoted: nobody is about to publish
	z := s.Zone
	z.Addr, z.At = "", now
	if s, _ = s.Step(now, Read{Zone: z}); s.tasks[taskReadRecord].due-now <= soon {
		t.Errorf("without a promoted node: read again after %v", s.tasks[taskReadRecord].due-now)
	}
}

// TestNameThatMayBeNewIsNotAskedForYet: the API tells of a record before the name servers do.
func TestNameThatMayBeNewIsNotAskedForYet(t *testing.T) {
	for name, c := range map[string]struct {
		before Zone // what was read before
		epoch  uint64
		waits  bool
	}{
		"the first reading of an old record":   {Zone{}, 7, false},
		"the first reading of the first claim": {Zone{}, 1, true},
		"it was not there before":              {Zone{At: 1, OK: true}, 7, true},
		"it was":                               {Zone{At: 1, OK: true, Addr: myAddr}, 8, false},
	} {
		s, now := standbyOf()
		s.Config.ProbeClient = true
		z := s.Zone
		z.At, z.Epoch = now, c.epoch
		s.Zone = c.before
		s.tasks[taskResolve].due, s.tasks[taskProbeClient].due = now, now
		asks := func(out []Action) (n int) {
			for _, a := range out {
				switch a.(type) {
				case Resolve, ProbeClient:
					n++
				}
			}
			return n
		}
		s, out := s.Step(now, Read{Zone: z})
		if (asks(out) == 0) != c.waits {
			t.Errorf("%s: asks %d", name, asks(out))
		}
		if s, out = s.Step(now+inSyncAfter-1, Recheck{}); c.waits && (asks(out) > 0 || s.Next(now+inSyncAfter-1) > now+inSyncAfter) {
			t.Errorf("%s: asks %d before the name servers must know", name, asks(out))
		}
		if _, out = s.Step(now+inSyncAfter, Tick{}); c.waits && asks(out) != 2 {
			t.Errorf("%s: asks %d then", name, asks(out))
		}
	}
}

// TestAnswerThatIsNoLongerAskedForIsForgotten: it is no answer of now.
func TestAnswerThatIsNoLongerAskedForIsForgotten(t *testing.T) {
	s, now := standbyOf()
	s.Resolved = Resolved{At: now, OK: true, Addr: peerAddr}
	gone := s.Zone
	gone.At, gone.Addr = now, ""
	if s, _ = s.Step(now+time.Second, Read{Zone: gone}); s.Resolved.OK {
		t.Errorf("%+v", s.Resolved)
	}
}

// TestRecheckAsksEverything, and the API not more often than every ten seconds, however often it is asked for.
func TestRecheckAsksEverything(t *testing.T) {
	s, now := standbyOf()
	s.Config.ProbeClient = true
	count := func(at Time) int {
		_, out := s.Step(at, Recheck{})
		n := 0
		for _, a := range out {
			if _, is := a.(Save); !is {
				n++
			}
		}
		return n
	}
	s.Record.recheckedAt = now
	if n := count(now + recheckInterval); n != 5 { // crm_mon, PostgreSQL, zone, resolver, client
		t.Errorf("asks %d", n)
	}
	if n := count(now + recheckInterval - 1); n != 4 {
		t.Errorf("soon after a read: asks %d", n)
	}
	s.Record.Retry = Retry{N: 5, At: now + time.Hour}
	if n := count(now + time.Minute); n != 4 {
		t.Errorf("during the backoff: asks %d", n)
	}
}

// TestRecheckedWhenEverythingHasAnswered, and not when something answers that was asked before.
func TestRecheckedWhenEverythingHasAnswered(t *testing.T) {
	s, now := standbyOf()
	now += time.Minute
	s.tasks[taskProbePostgres].inFlight = true
	s, _ = s.Step(now, Recheck{})
	s, _ = s.Step(now, PostgresProbed{}) // asked before
	for _, ev := range []Event{ClusterPolled{s.Cluster}, Read{Zone: s.Zone}, ResolvedName{s.Resolved}, PostgresProbed{}} {
		if s.Rechecked() {
			t.Fatalf("before %T", ev)
		}
		s, _ = s.Step(now, ev)
	}
	if !s.Rechecked() {
		t.Error("everything has answered")
	}
}
