package fsm

import (
	"testing"
	"time"
)

// edited is a reading of this node's record with an address that somebody else has put there.
func edited(at Time, epoch uint64) Read {
	return Read{Zone: Zone{At: at, OK: true, Addr: "10.9.9.9", Epoch: epoch, Owner: me, Claim: "p1", Raw: "raw"}}
}

// drive feeds events to a state that has published, each with a fresh look and word of DRBD before it, and returns the
// writes.
func drive(s State, now Time, events ...Event) (State, []Write) {
	var writes []Write
	for _, ev := range events {
		now += time.Second
		for _, e := range []Event{DrbdChanged{goodDrbd(now)}, ClusterPolled{goodCluster(now)}, ev} {
			var out []Action
			s, out = s.Step(now, e)
			for _, a := range out {
				if w, ok := a.(Write); ok {
					writes = append(writes, w)
				}
			}
		}
	}
	return s, writes
}

func TestRepairIsOfOurOwnClaimAlone(t *testing.T) {
	for name, c := range map[string]struct {
		prepare func(*State)
		read    func(at Time) Read
		writes  int
	}{
		"another address": {read: func(at Time) Read { return edited(at, 5) }, writes: 1},
		"no address":      {read: func(at Time) Read { r := edited(at, 5); r.Zone.Addr = ""; return r }, writes: 1},
		"repair is off": {prepare: func(s *State) { s.Config.Repair = false },
			read: func(at Time) Read { return edited(at, 5) }},
		"no claim": {read: func(at Time) Read {
			r := edited(at, 0)
			r.Zone.Owner, r.Zone.Claim, r.Zone.Raw = "", "",
				""
			return r
		}},
		"another claim": {read: func(at Time) Read { r := edited(at, 5); r.Zone.Claim = "p0"; return r }},
		"another node's": {read: func(at Time) Read {
			r := edited(at, 6)
			r.Zone.Owner, r.Zone.Claim = peer,
				"c2"
			return r
		}},
		"several values": {read: func(at Time) Read {
			return Read{Zone: Zone{At: at, Refused: true},
				Reason: "refused_record"}
		}},
		"an older epoch": {prepare: func(s *State) { s.Promotion.Epoch = 7 },
			read: func(at Time) Read { return edited(at, 5) }},
		"after its repair": {prepare: func(s *State) { s.Repair.writtenAt = boot },
			read: func(at Time) Read { return edited(at, 5) }},
		"long after it": {prepare: func(s *State) { s.Repair.writtenAt = boot - repeatedEditWindow },
			read: func(at Time) Read { return edited(at, 5) }, writes: 1},
	} {
		t.Run(name, func(t *testing.T) {
			s, now := settled()
			s.Write.resolversStaleUntil, s.Write.apiStaleUntil = now, now // long ago
			if c.prepare != nil {
				c.prepare(&s)
			}
			s, writes := drive(s, now, c.read(now+1))
			if len(writes) != c.writes {
				t.Fatalf("writes %+v", writes)
			}
			if s.Drift() == s.Promotion.Contested {
				t.Errorf("drift %v, contested %v", s.Drift(), s.Promotion.Contested)
			}
			if c.writes > 0 && (writes[0].Claim != "p1" || writes[0].NextEpoch != 6 || writes[0].Addr != myAddr) {
				t.Errorf("%+v", writes[0])
			}
		})
	}
}

// TestRepairWhoseReplyWasLost: the record tells whether it was made. Made, and edited again: somebody fights.
func TestRepairWhoseReplyWasLost(t *testing.T) {
	lost := Wrote{Reason: "timeout", Sent: true, OutcomeUnknown: true}
	for name, c := range map[string]struct {
		epoch  uint64
		fights bool
	}{"not made": {5, false}, "made, and edited again": {6, true}} {
		s, now := settled()
		s, _ = drive(s, now, edited(now+1, 5), lost)
		s, writes := drive(s, now+time.Minute, edited(now+time.Minute, c.epoch), Tick{})
		if s.Repair.GivenUp != c.fights || (len(writes) > 0) == c.fights {
			t.Errorf("%s: fights %v, writes %+v", name, s.Repair.GivenUp, writes)
		}
		if again := New(s.Config, 1, s.Episode, true); again.Repair.GivenUp != c.fights || again.Repair.writtenAt == 0 {
			t.Errorf("%s: forgotten over a restart", name)
		}
	}
}

// TestRepairEndsWithTheClaim: a newer reading shows that the claim is gone as well, before the repair was written.
func TestRepairEndsWithTheClaim(t *testing.T) {
	s, now := settled()
	s, _ = s.Step(now+1, Paused{now + time.Hour})
	s, writes := drive(s, now+time.Minute, edited(now+time.Minute, 5))
	if !s.Repair.Pending || len(writes) > 0 {
		t.Fatalf("repairing %v, writes %+v", s.Repair.Pending, writes)
	}
	gone := Read{Zone: Zone{At: now + 3*time.Minute, OK: true, Addr: "10.9.9.9"}}
	s, writes = drive(s, now+3*time.Minute, gone, Paused{}, Tick{})
	if s.Repair.Pending || len(writes) > 0 || !s.Drift() {
		t.Errorf("repairing %v, drift %v, writes %+v", s.Repair.Pending, s.Drift(), writes)
	}
}

func TestRecordPublishedByHandEndsTheFight(t *testing.T) {
	s, now := settled()
	s.Repair.GivenUp, s.Repair.writtenAt = true, now
	right := edited(now+1, 7)
	right.Zone.Addr = myAddr
	if s, _ = drive(s, now, right); s.Repair.GivenUp || s.Drift() {
		t.Errorf("fights %v, drift %v", s.Repair.GivenUp, s.Drift())
	}
	s, now = settled()
	s.Repair.GivenUp, s.Repair.writtenAt = true, now // and edited again before this node has read it
	s, writes := drive(s, now, edited(now+1, 7), Tick{})
	if s.Repair.GivenUp || len(writes) != 1 {
		t.Errorf("edited since: fights %v, writes %+v", s.Repair.GivenUp, writes)
	}
	s, now = settled() // while a repair is under way whose reply was lost
	s, _ = drive(s, now, edited(now+1, 5), Wrote{Reason: "timeout", Sent: true, OutcomeUnknown: true})
	s, writes = drive(s, now+time.Minute, edited(now+time.Minute, 7), Tick{})
	if s.Repair.GivenUp || len(writes) != 1 || writes[0].NextEpoch != 8 {
		t.Errorf("published while it was repaired: fights %v, writes %+v", s.Repair.GivenUp, writes)
	}
}

// TestRepairIsBasedOnAReadingThatIsYoung: what held it back may have lasted, and the address may have become an alias
// meanwhile.
func TestRepairIsBasedOnAReadingThatIsYoung(t *testing.T) {
	for name, c := range map[string]struct {
		late   time.Duration
		read   func(at Time) Read
		writes int
	}{
		"soon":            {30 * time.Second, nil, 1},
		"later, not read": {2 * time.Minute, nil, 0},
		"later, read":     {2 * time.Minute, func(at Time) Read { return edited(at, 5) }, 1},
		"later, an alias": {2 * time.Minute, func(at Time) Read {
			return Read{Zone: Zone{At: at, Refused: true},
				Reason: "refused_record"}
		}, 0},
		"later, not there": {2 * time.Minute, func(at Time) Read { return Read{Zone: Zone{At: at}, Reason: "network"} }, 0},
	} {
		s, now := settled()
		s.Write.resolversStaleUntil, s.Write.apiStaleUntil = now, now
		s, _ = s.Step(now+1, Paused{now + time.Hour})
		s, _ = drive(s, now, edited(now+1, 5))
		now += c.late
		s, writes := drive(s, now, Paused{}, Tick{})
		if c.late > maxRepairBaseAge && (len(writes) > 0 || !s.tasks[taskReadRecord].inFlight) {
			t.Fatalf("%s: reads %v, writes %+v", name, s.tasks[taskReadRecord].inFlight, writes)
		}
		if c.read != nil {
			s, writes = drive(s, now+5*time.Second, c.read(now+5*time.Second), Tick{})
		}
		if len(writes) != c.writes {
			t.Errorf("%s: repairing %v, writes %+v", name, s.Repair.Pending, writes)
		}
	}
}

// TestRepairThatNeverLeftIsNoFightAfterTwoRestarts: the first of them found it held back.
func TestRepairThatNeverLeftIsNoFightAfterTwoRestarts(t *testing.T) {
	s, now := settled()
	s, writes := drive(s, now, edited(now+1, 5))
	if len(writes) != 1 {
		t.Fatal("no repair")
	}
	s = New(s.Config, 1, s.Episode, true)
	s, _ = s.Step(now+time.Minute, Paused{now + time.Hour})
	s, _ = drive(s, now+time.Minute, edited(now+time.Minute, 5))
	s = New(s.Config, 1, s.Episode, true)
	s, writes = drive(s, now+2*time.Minute, edited(now+2*time.Minute, 5), Tick{})
	if s.Repair.GivenUp || len(writes) != 1 {
		t.Errorf("fights %v, writes %+v", s.Repair.GivenUp, writes)
	}
}

// TestRecordIsReadSoonWhenSomebodyDoesNotFindUs, but not while it may still be on its way, nor too often, nor when the
// account is at its limit.
func TestRecordIsReadSoonWhenSomebodyDoesNotFindUs(t *testing.T) {
	for name, c := range map[string]struct {
		prepare func(*State, Time)
		event   Event
		reads   bool
	}{
		"resolver":              {event: ResolvedName{Resolved{OK: true, Addr: peerAddr}}, reads: true},
		"client":                {event: ClientProbed{Down: true}, reads: true},
		"resolver without name": {event: ResolvedName{Resolved{OK: true}}, reads: true},
		"resolver is right":     {event: ResolvedName{Resolved{OK: true, Addr: myAddr}}},
		"resolver is down":      {event: ResolvedName{Resolved{}}},
		"written just now": {prepare: func(s *State, now Time) { s.Write.resolversStaleUntil = now + time.Minute },
			event: ClientProbed{Down: true}},
		"not in sync": {prepare: func(s *State, _ Time) { s.Write.ChangeID = "C1" },
			event: ClientProbed{Down: true}},
		"asked a moment ago": {prepare: func(s *State, now Time) { s.Repair.suspectedAt = now - 50*time.Second },
			event: ClientProbed{Down: true}},
		"account at its limit": {prepare: func(s *State, _ Time) { s.Record.throttleLevel = 1 },
			event: ClientProbed{Down: true}},
		"known already": {prepare: func(s *State, now Time) { s.Zone.Addr, s.Record.readAt = "10.9.9.9", now },
			event: ClientProbed{Down: true}},
		"not promoted": {prepare: func(s *State, _ Time) { s.Cluster.PromotedHere = false },
			event: ClientProbed{Down: true}},
		"contested": {prepare: func(s *State, _ Time) { s.Promotion.Contested = true },
			event: ClientProbed{Down: true}},
	} {
		t.Run(name, func(t *testing.T) {
			s, now := settled()
			now += 2 * time.Minute
			s.Write.resolversStaleUntil, s.tasks[taskReadRecord] = now-1, taskState{due: now + time.Hour}
			s.Cluster.At, s.Drbd.At = now, now
			if c.prepare != nil {
				c.prepare(&s, now)
			}
			_, out := s.Step(now, c.event)
			reads := false
			for _, a := range out {
				_, is := a.(ReadRecord)
				reads = reads || is
			}
			if reads != c.reads {
				t.Errorf("reads %v", reads)
			}
		})
	}
}

func TestDriftIsJudgedByThePromotedNode(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*State)
		drift  bool
	}{
		"promoted":                     {func(*State) {}, true},
		"not looked yet":               {func(s *State) { s.Poll.everSucceeded = false }, false},
		"demoted":                      {func(s *State) { s.Cluster.PromotedHere = false }, false},
		"promoted once more meanwhile": {func(s *State) { s.Cluster.Promotion = "p2" }, false},
		"own address not known yet":    {func(s *State) { s.Config.Addr = "" }, false},
		"DRBD is down":                 {func(s *State) { s.Drbd, s.Cluster.OK = Drbd{Down: true}, false }, false},
		"DRBD is Secondary":            {func(s *State) { s.Drbd.Primary, s.Cluster.OK = false, false }, false},
		"DRBD does not answer":         {func(s *State) { s.Drbd.Live = false }, true},
		"nobody answers":               {func(s *State) { s.Drbd.Live, s.Cluster.OK = false, false }, false},
		"a later claim of this node, which is forgotten": {func(s *State) {
			s.Zone = Zone{OK: true, Addr: myAddr, Epoch: 9, Owner: me, Claim: "p2"}
			s.Cluster.Promotion = ""
		}, false},
		"an earlier claim of this node": {func(s *State) {
			s.Zone = Zone{OK: true, Addr: myAddr, Epoch: 4, Owner: me, Claim: "p0"}
			s.Cluster.Promotion = ""
		}, true},
		"an alias": {func(s *State) { s.Zone = Zone{Refused: true} }, true},
	} {
		s, _ := settled()
		s.Zone.Addr = "10.9.9.9"
		c.change(&s)
		if s.Drift() != c.drift {
			t.Errorf("%s: drift %v", name, s.Drift())
		}
	}
	s, _ := settled()
	if s.Zone.TTL = time.Hour; s.Drift() || !s.TTLDrift() {
		t.Error("another TTL alone is no drift, and is reported")
	}
}

// TestReadingFromBeforeOurWriteIsNoDrift: soon after a write the API may answer what was before.
func TestReadingFromBeforeOurWriteIsNoDrift(t *testing.T) {
	for _, epoch := range []uint64{4, 5} { // where a claim was deleted, epochs begin again, and may be the same
		for name, late := range map[string]bool{"soon": false, "minutes later": true} {
			s, now := settled()
			s.Promotion.Epoch, s.Write.apiStaleUntil = 5, now+time.Minute
			if late {
				now += 2 * time.Minute
			}
			before := goodZone(now + 1)
			before.Epoch = epoch
			if !late {
				now += 2 * time.Minute // the process stalls until the answer is taken in
			}
			s, _ = drive(s, now, Read{Zone: before})
			if s.Drift() != late {
				t.Errorf("epoch %d, %s: drift %v", epoch, name, s.Drift())
			}
			if !late && s.tasks[taskReadRecord].due > now+time.Minute {
				t.Error("not read again soon")
			}
		}
	}
}

// TestReadingsFromBeforeOurWriteArePaced: a repair that was refused has to read the record first, and it goes on to be
// one from before.
func TestReadingsFromBeforeOurWriteArePaced(t *testing.T) {
	s, now := settled()
	s, writes := drive(s, now, edited(now+1, 5))
	if len(writes) != 1 {
		t.Fatal("no repair")
	}
	gone := Read{Zone: Zone{At: now + 4*time.Second, OK: true, Addr: "10.9.9.9"}} // nor is its TXT there
	s, _ = drive(s, now+time.Second, Wrote{Reason: "conflict", Conflict: true, Sent: true}, gone)
	if task := s.tasks[taskReadRecord]; task.inFlight || s.Next(now+5*time.Second) < now+5*time.Second ||
		s.Record.Retry.At < now+10*time.Second {
		t.Errorf("read again at once: %+v", task)
	}
}

// TestReadingFromBeforeOurWriteAfterARestart: the journal knows how long the API may answer what was before.
func TestReadingFromBeforeOurWriteAfterARestart(t *testing.T) {
	for name, late := range map[string]bool{"soon": false, "minutes later": true} {
		s, now := settled()
		s, _ = s.Step(now, Tick{})
		if late {
			now += 2 * time.Minute
		}
		s = New(s.Config, 1, s.Episode, true)
		s, _ = drive(s, now, Read{Zone: Zone{At: now + 1, OK: true, Addr: myAddr}}) // its TXT is not there
		if s.Drift() != late {
			t.Errorf("%s: drift %v", name, s.Drift())
		}
	}
}

// TestRepairThatNeverLeftIsNoFight: the process died between the decision and the write.
func TestRepairThatNeverLeftIsNoFight(t *testing.T) {
	s, now := settled()
	s, writes := drive(s, now, edited(now+1, 5))
	if len(writes) != 1 {
		t.Fatal("no repair")
	}
	for epoch, fights := range map[uint64]bool{5: false, 6: true} {
		again := New(s.Config, 1, s.Episode, true)
		again, writes = drive(again, now+time.Minute, edited(now+time.Minute, epoch), Tick{})
		if again.Repair.GivenUp != fights || (len(writes) > 0) == fights {
			t.Errorf("epoch %d: fights %v, writes %+v", epoch, again.Repair.GivenUp, writes)
		}
	}
}

// TestAnotherRecordIsWritten: what was published is so under its name, in its zone, with its address.
func TestAnotherRecordIsWritten(t *testing.T) {
	for name, c := range map[string]struct {
		change    func(*Config)
		published bool
	}{
		"the same":        {func(*Config) {}, true},
		"another record":  {func(c *Config) { c.Record = "Z2 db txt" }, false},
		"another address": {func(c *Config) { c.Addr = "10.0.2.99" }, false},
		"no address yet":  {func(c *Config) { c.Addr = "" }, true},
	} {
		s, _ := settled()
		cfg := s.Config
		c.change(&cfg)
		again := New(cfg, 1, s.Episode, true)
		if again.Promotion.Published != c.published || again.Promotion.Claim != "p1" {
			t.Errorf("%s: published %v", name, again.Promotion.Published)
		}
		if s = New(cfg, 1, again.Episode, true); s.Promotion.Published != c.published {
			t.Errorf("%s: published %v after a second restart", name, s.Promotion.Published)
		}
		again, _ = again.Step(boot*3, Tick{})
		if s = New(cfg, 1, again.Episode, true); s.Promotion.Published != c.published {
			t.Errorf("%s: published %v after a restart before the write", name, s.Promotion.Published)
		}
		if c.change(&cfg); cfg.Addr == "" {
			for addr, published := range map[string]bool{myAddr: true, "10.0.2.99": false} {
				if late, _ := again.Step(boot*3, AddressKnown{addr}); late.Promotion.Published != published {
					t.Errorf("address %s, known late: published %v", addr, late.Promotion.Published)
				}
			}
		}
	}
}

func TestStandstillIsJudgedByCorosyncWhereNobodyFences(t *testing.T) {
	for name, c := range map[string]struct {
		fencing     bool
		membership  time.Duration
		bound, hold time.Duration
	}{
		"fencing":                {true, 2200 * time.Millisecond, 3 * time.Second, 30 * time.Second},
		"fencing, a long token":  {true, time.Minute, 3 * time.Second, 30 * time.Second},
		"no fencing":             {false, 2200 * time.Millisecond, 1200 * time.Millisecond, 30 * time.Second},
		"no fencing, not known":  {false, 0, 1200 * time.Millisecond, 30 * time.Second},
		"no fencing, very short": {false, 900 * time.Millisecond, 250 * time.Millisecond, 30 * time.Second},
		"no fencing, long":       {false, 66 * time.Second, 3 * time.Second, 71 * time.Second},
	} {
		s, now := settled()
		s.Cluster.FencingEnabled, s.Config.Membership = c.fencing, c.membership
		bound := s.StallBound()
		s, _ = s.Step(now, Stalled{})
		if bound != c.bound || s.Wait.StalledUntil-now != c.hold {
			t.Errorf("%s: bound %v, hold %v", name, bound, s.Wait.StalledUntil-now)
		}
	}
}

// TestFirstLookWithoutFencingMayBeFromBeforeAStandstill: what was seen until then is not fresh for anybody.
func TestFirstLookWithoutFencingMayBeFromBeforeAStandstill(t *testing.T) {
	for _, fencing := range []bool{true, false} {
		s, c := New(testConfig(), 1, Episode{}, false), goodCluster(boot)
		c.FencingEnabled = fencing
		s, _ = s.Step(boot+1, ClusterPolled{c})
		if held := s.Wait.StalledUntil > boot+1; held == fencing || (s.Wait.StalledAt > c.At) == fencing {
			t.Errorf("fencing %v: held %v, stalled at %v", fencing, held, s.Wait.StalledAt)
		}
	}
}

func TestFencesAreASet(t *testing.T) {
	var f Fences
	for id := range FenceID(2 * maxFences) {
		f = f.With(id + 1).With(id + 1).With(0)
		if !f.Has(id+1) || f.Has(id+2) || !f.Valid() || len(f.IDs()) != min(int(id)+1, maxFences) {
			t.Fatalf("after %d: %d members", id, len(f.IDs()))
		}
	}
	// Bytes of two neighbors are no third one.
	if f = Fences("").With(0x0102030405060708).With(0x0102030405060709); f.Has(0x0203040506070801) {
		t.Error("an identity that was never added")
	}
}

// TestReadingFromBeforeOurWriteHasNoEpoch: what was refused before our write, or is written without an owner, is no
// change soon after it.
func TestReadingFromBeforeOurWriteHasNoEpoch(t *testing.T) {
	for name, c := range map[string]struct {
		none bool
		zone Zone
	}{
		"several values before": {false, Zone{Refused: true}},
		"no owner":              {true, Zone{OK: true, Addr: peerAddr}},
		"no owner, an alias":    {true, Zone{Refused: true}},
	} {
		for _, late := range []bool{false, true} {
			s, now := settled()
			s.Config.Ownership, s.Config.Repair = !c.none, !c.none
			if late {
				now += 2 * time.Minute
			}
			c.zone.At = now + 1
			reason := ""
			if c.zone.Refused {
				reason = "refused_record"
			}
			s, _ = drive(s, now, Read{Zone: c.zone, Reason: reason})
			if s.Drift() != late {
				t.Errorf("%s, late %v: drift %v", name, late, s.Drift())
			}
		}
	}
}

// TestTimeToLiveIsNoMatterOfTheAPI: resolvers may remember the old record for a day, the API does not.
func TestTimeToLiveIsNoMatterOfTheAPI(t *testing.T) {
	s := goodState(boot)
	s.Zone.TTL = 24 * time.Hour
	s, _ = drive(s, boot, Tick{}, Wrote{ChangeID: "C1", Sent: true})
	now := boot + 2*time.Minute
	if s, _ = drive(s, now, Read{Zone: Zone{At: now, OK: true, Addr: "10.9.9.9"}}); !s.Drift() ||
		s.Write.resolversStaleUntil < now+time.Hour {
		t.Errorf("drift %v, settled after %v", s.Drift(), s.Write.resolversStaleUntil-now)
	}
}

// TestContestedIsForGood: a claim that comes later is not waited out, whatever has become of fencing since, and the
// story that has ended stays as it is.
func TestContestedIsForGood(t *testing.T) {
	s := State{
		Config:    Config{Node: "pg-b", Addr: "10.0.2.10", Ownership: true},
		Cluster:   Cluster{OK: true, PromotedHere: true, FencingEnabled: true},
		Promotion: Promotion{Claim: "b/1", Contested: true},
		Episode: Episode{ID: 1, Outcome: OutcomeContested, Promotion: "b/1", Attempted: true, BaseEpoch: 5,
			BaseClaim: "a/4", Races: 1},
		Zone: Zone{OK: true, Addr: "10.0.1.10", Owner: "pg-a", Claim: "a/5", Epoch: 7},
	}
	was := s.Episode
	s.reconcileOwner(time.Hour)
	if s.Episode != was || !s.Promotion.Contested || s.Promotion.RaceUntil != 0 {
		t.Errorf("contested %t, waits until %v, episode %+v", s.Promotion.Contested, s.Promotion.RaceUntil, s.Episode)
	}
}
