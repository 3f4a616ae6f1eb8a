package fsm

import (
	"reflect"
	"regexp"
	"testing"
	"time"
)

const (
	me       = "pg-b"
	peer     = "pg-a"
	myAddr   = "10.0.2.10"
	peerAddr = "10.0.1.10"
)

func testConfig() Config {
	return Config{Node: me, Addr: myAddr, Ownership: true, Repair: true, Record: "Z1 db txt", TTL: 10 * time.Second,
		DriftEvery: 5 * time.Minute, Unnamed: "unnamed"}
}

// goodCluster is a look in which this node is promoted and the peer is well.
func goodCluster(at Time) Cluster {
	c := Cluster{
		At: at, OK: true, Online: true, FencingEnabled: true, PromotedHere: true, PromotedCount: 1, Promotion: "p1",
		FilesystemHere: true, PeerCount: 1,
	}
	c.Peers[0] = Peer{Name: peer, Online: true}
	return c
}

func goodDrbd(at Time) Drbd {
	return Drbd{At: at, Live: true, Primary: true, UpToDate: true, Connected: true}
}

func goodZone(at Time) Zone {
	return Zone{At: at, OK: true, Addr: peerAddr, Epoch: 4, Owner: peer, Claim: "c0", Raw: "raw4"}
}

// goodState is one in which nothing holds publication back.
func goodState(now Time) State {
	s := New(testConfig(), 1, Episode{}, false)
	s.Cluster, s.Drbd, s.Zone = goodCluster(now), goodDrbd(now), goodZone(now)
	s.Postgres = Postgres{At: now, Accepting: true, Writable: true}
	s.Promotion.Claim = "p1"
	return s
}

func TestEachViolationRaisesItsHoldAlone(t *testing.T) {
	const now = 1000 * time.Second
	cases := []struct {
		hold Hold
		do   func(*State)
	}{
		{HoldNotPromoted, func(s *State) { s.Cluster.PromotedHere, s.Cluster.PromotedCount = false, 0 }},
		{HoldCrmUnknown, func(s *State) { s.Cluster.OK = false }},
		{HoldCrmUnknown, func(s *State) { s.Cluster.At = now - MaxClusterAge - 1 }},
		{HoldNodeOffline, func(s *State) { s.Cluster.Online = false }},
		{HoldNodeUnclean, func(s *State) { s.Cluster.Unclean = true }},
		{HoldNodeStandby, func(s *State) { s.Cluster.Standby = true }},
		{HoldNodePending, func(s *State) { s.Cluster.Pending = true }},
		{HoldMaintenance, func(s *State) { s.Cluster.Maintenance = true }},
		{HoldManyPromoted, func(s *State) { s.Cluster.PromotedCount = 2 }},
		{HoldManyPromoted, func(s *State) { s.Cluster.PromotedCount = 0 }},
		{HoldManyPromoted, func(s *State) { s.Cluster.PromotedPeer = peer }},
		{HoldManyPromoted, func(s *State) { s.Cluster.Peers[0].Promoted = true }},
		{HoldPromotionPending, func(s *State) { s.Cluster.ActionPending = true }},
		{HoldPeerUnknown, func(s *State) { s.Cluster.PeerCount = 0 }},
		{HoldPeerUnknown, func(s *State) { s.Cluster.TooMany = true }},
		{HoldPeerUnclean, func(s *State) { s.Cluster.Peers[0].Unclean = true }},
		{HoldPeerUnclean, func(s *State) {
			s.Cluster.PeerCount, s.Cluster.Peers[1] = 2, Peer{Name: "pg-c", Unclean: true}
		}},
		{HoldPeerUnfenced, func(s *State) {
			s.Cluster.Peers[0] = Peer{Name: peer, Fenced: 7}
			s.Peers.Lost[0] = LostPeer{Name: peer}
		}},
		{HoldPeerUnfenced, func(s *State) {
			s.Cluster.PeerCount, s.Cluster.Peers[1] = 2, Peer{Name: "pg-c"}
			s.Peers.Lost[2] = LostPeer{Name: "pg-c"}
		}},
		{HoldDrbdUnknown, func(s *State) { s.Drbd.Live = false }},
		{HoldDrbdUnknown, func(s *State) { s.Drbd.At = now - MaxDrbdAge - 1 }},
		{HoldDrbdNotPrimary, func(s *State) { s.Drbd.Primary = false }},
		{HoldDrbdNotUpToDate, func(s *State) { s.Drbd.UpToDate = false }},
		{HoldDrbdNoQuorum, func(s *State) { s.Drbd.NoQuorum = true }},
		{HoldDrbdSuspended, func(s *State) { s.Drbd.Suspended = true }},
		{HoldSplitBrain, func(s *State) { s.Drbd.SplitBrain = true }},
		{HoldPostgres, func(s *State) { s.Config.PublishWritable, s.Postgres.Writable = true, false }},
		{HoldPostgres, func(s *State) { s.Config.PublishWritable, s.Postgres.At = true, now-MaxProbeAge-1 }},
		{HoldStalled, func(s *State) { s.Wait.StalledUntil = now + 1 }},
		{HoldPaused, func(s *State) { s.Wait.PausedUntil = now + 1 }},
		{HoldContested, func(s *State) { s.Promotion.Contested = true }},
		{HoldLostRace, func(s *State) { s.Promotion.RaceUntil = now + 1 }},
		{HoldIdentityUnknown, func(s *State) { s.Promotion.Claim = "" }},
		{HoldAddressUnknown, func(s *State) { s.Config.Addr = "" }},
		{HoldRecordUnknown, func(s *State) { s.Zone = Zone{} }},
		{HoldRecordRefused, func(s *State) { s.Zone = Zone{Refused: true} }},
		{HoldBackoff, func(s *State) { s.Write.Retry.At = now + 1 }},
	}
	base := goodState(now)
	if h := base.Gate(now); h != 0 {
		t.Fatalf("the base state is held back by %v", h.List())
	}
	covered := map[Hold]bool{}
	for i, c := range cases {
		covered[c.hold] = true
		s := base
		c.do(&s)
		if got, want := s.Gate(now).List(), []Hold{c.hold}; !reflect.DeepEqual(got, want) {
			t.Errorf("case %d: held back by %v, want %v", i, got, want)
		}
		isSafety := c.hold < HoldContested
		if got := s.Safety(now) != 0; got != isSafety {
			t.Errorf("case %d: Safety forbids = %v, want %v for %v", i, got, isSafety, c.hold)
		}
	}
	for _, h := range AllHolds() {
		if !covered[h] {
			t.Errorf("no case for %v", h)
		}
	}
}

func TestWhatDoesNotHoldBack(t *testing.T) {
	const now = 1000 * time.Second
	cases := map[string]func(*State){
		"data exactly at its bounds": func(s *State) {
			s.Config.PublishWritable = true
			s.Cluster.At, s.Drbd.At, s.Postgres.At = now-MaxClusterAge, now-MaxDrbdAge, now-MaxProbeAge
			s.Wait.StalledUntil, s.Wait.PausedUntil, s.Promotion.RaceUntil, s.Write.Retry.At = now, now, now, now
		},
		"peer cleanly offline": func(s *State) { s.Cluster.Peers[0].Online = false },
		"lost peer fenced since": func(s *State) {
			s.Cluster.Peers[0] = Peer{Name: peer, Fenced: 8}
			s.Peers.Lost[0] = LostPeer{Name: peer, Fenced: true}
		},
		"fencing seen, then its history cleaned up": func(s *State) {
			s.Cluster.Peers[0] = Peer{Name: peer}
			s.Peers.Lost[0] = LostPeer{Name: peer, Fenced: true}
		},
		"lost peer, fencing disabled": func(s *State) {
			s.Cluster.FencingEnabled, s.Cluster.Peers[0] = false, Peer{Name: peer}
			s.Peers.Lost[0] = LostPeer{Name: peer}
		},
		"lost peer is back": func(s *State) { s.Peers.Lost[0] = LostPeer{Name: peer} },
		"PostgreSQL down, publish on promotion": func(s *State) {
			s.Postgres = Postgres{}
		},
		"DRBD without its peer": func(s *State) { s.Drbd.Connected = false },
		"record without owner":  func(s *State) { s.Zone = Zone{OK: true} },
	}
	for name, do := range cases {
		s := goodState(now)
		do(&s)
		if h := s.Gate(now); h != 0 {
			t.Errorf("%s: held back by %v", name, h.List())
		}
	}
}

func TestTwoPromotedElsewhereAreShown(t *testing.T) {
	s := goodState(boot)
	s.Cluster.PromotedHere, s.Cluster.PromotedCount = false, 2
	if got, want := s.Gate(boot).List(), []Hold{HoldNotPromoted, HoldManyPromoted}; !reflect.DeepEqual(got, want) {
		t.Errorf("held back by %v, want %v", got, want)
	}
}

// A change of an earlier promotion was made after all; its exact text is not known, so that it is read before the next
// write.
func TestRecordIsReadAgainAfterAChangeOfAnEarlierPromotion(t *testing.T) {
	now := boot
	s := New(testConfig(), 1, Episode{}, false)
	var actions []Action
	step := func(ev Event) { s, actions = s.Step(now, ev) }
	has := func(want Action) bool {
		for _, a := range actions {
			if reflect.TypeOf(a) == reflect.TypeOf(want) {
				return true
			}
		}
		return false
	}
	step(DrbdChanged{goodDrbd(now)})
	step(Read{Zone: goodZone(now)})
	now++
	step(ClusterPolled{goodCluster(now)})
	if !has(Write{}) {
		t.Fatal("no write")
	}
	next := goodCluster(now)
	next.Promotion = "p2"
	step(ClusterPolled{next})
	if !has(Cancel{}) {
		t.Error("the write of the earlier promotion is not canceled")
	}
	step(Wrote{ChangeID: "C1", Sent: true})
	if has(Write{}) || !has(ReadRecord{}) {
		t.Fatalf("want a read first, got %v", actions)
	}
	for range 50 {
		step(Read{Reason: "throttled"})
		if has(ReadRecord{}) {
			t.Fatal("a read that failed is repeated at once")
		}
		now = s.Record.Retry.At
		if step(Tick{}); !has(ReadRecord{}) {
			t.Fatal("a read that failed is not repeated after its backoff")
		}
	}
	step(ClusterPolled{func() Cluster { next.At = now; return next }()})
	step(DrbdChanged{goodDrbd(now)})
	step(Read{Zone: Zone{At: now, OK: true, Addr: myAddr, Epoch: 5, Owner: me, Claim: "p1", Raw: "raw5"}})
	if !has(Write{}) || s.Write.InFlight.Claim != "p2" || s.Write.InFlight.Base.Raw != "raw5" {
		t.Errorf("want a write of p2 over raw5, got %v", actions)
	}
}

// The answer about an earlier change says nothing about the one made since.
func TestPollOfAnEarlierChangeIsIgnored(t *testing.T) {
	s, now := settled()
	s.Write.ChangeID, s.Write.polling, s.Write.Polls = "C2", "C1", 0
	s.Episode.Outcome, s.Episode.Stamps[DNSInSync] = "", 0
	if s, _ = s.Step(now, ChangePolled{InSync: true}); s.Episode.Seen(DNSInSync) || s.Write.ChangeID != "C2" {
		t.Error("C2 counts as in sync because C1 is")
	}
}

func TestNamesAreUniqueSnakeCase(t *testing.T) {
	form := regexp.MustCompile(`^[a-z]+(_[a-z]+)*$`)
	seen := map[string]bool{}
	check := func(kind, name string) {
		if !form.MatchString(name) {
			t.Errorf("%s %q is not snake_case", kind, name)
		}
		if seen[kind+name] {
			t.Errorf("%s %q is there twice", kind, name)
		}
		seen[kind+name] = true
	}
	for _, h := range AllHolds() {
		check("hold", h.String())
	}
	for p := range NumPhases {
		check("phase", p.String())
	}
	for _, c := range Causes {
		check("cause", string(c))
	}
	for _, o := range Outcomes {
		check("outcome", string(o))
	}
}

func TestStateIsComparable(t *testing.T) {
	a, b := goodState(time.Hour), goodState(time.Hour)
	if a != b {
		t.Error("equal states differ")
	}
}

func BenchmarkStepQuiet(b *testing.B) {
	s, now := settled()
	b.ReportAllocs()
	for b.Loop() {
		s, _ = s.Step(now, Tick{})
	}
}

// settled is a promoted node whose record is published and whose tasks have all landed.
func settled() (State, Time) {
	now := 1000 * time.Second
	s := New(testConfig(), 1, Episode{}, false)
	for _, ev := range []Event{
		DrbdChanged{goodDrbd(now)}, Read{Zone: goodZone(now - 1)}, ClusterPolled{goodCluster(now + 1)},
		Wrote{ChangeID: "C1", Sent: true}, Tick{}, ChangePolled{InSync: true},
		Read{Zone: Zone{At: now, OK: true, Addr: myAddr, Epoch: 5, Owner: me, Claim: "p1", Raw: "raw5"}},
		ResolvedName{Resolved{At: now, OK: true, Addr: myAddr}},
		PostgresProbed{Postgres{At: now, Accepting: true, Writable: true}}, ClusterPolled{goodCluster(now)},
	} {
		if _, tick := ev.(Tick); tick {
			now += 2 * time.Second // the poll is asked for
		}
		s, _ = s.Step(now, ev)
	}
	return s, now
}

func BenchmarkStepPromotion(b *testing.B) {
	const t0 = 1000 * time.Second
	start := New(testConfig(), 1, Episode{}, false)
	standby := goodCluster(t0)
	standby.PromotedHere, standby.Promotion, standby.PromotedPeer = false, "", peer
	standby.Peers[0].Promoted = true
	drbd := Drbd{At: t0, Live: true, UpToDate: true, Connected: true, PeerPrimary: true}
	for _, ev := range []Event{DrbdChanged{drbd}, ClusterPolled{standby}, Read{Zone: goodZone(t0)}, PostgresProbed{},
		ResolvedName{}, Hint{}} {
		start, _ = start.Step(t0, ev)
	}
	lost := drbd
	lost.Connected, lost.PeerPrimary, lost.DisconnectReason = false, false, "NetworkFailure"
	gone := standby
	gone.At, gone.Peers[0] = t0, Peer{Name: peer, Unclean: true, Promoted: true, Fencing: true}
	fenced := goodCluster(t0)
	fenced.Peers[0] = Peer{Name: peer, Fenced: 9}
	events := []Event{
		DrbdChanged{lost}, ClusterPolled{gone}, DrbdChanged{goodDrbd(t0)}, ClusterPolled{fenced},
		Wrote{ChangeID: "C1", Sent: true}, Tick{}, ChangePolled{InSync: true},
		Read{Zone: Zone{At: t0, OK: true, Addr: myAddr, Epoch: 5, Owner: me, Claim: "p1", Raw: "raw5"}},
		PostgresProbed{Postgres{At: t0 + 1, Accepting: true, Writable: true}},
		ResolvedName{Resolved{At: t0 + 9*time.Second, OK: true, Addr: myAddr}},
	}
	s := start
	b.ReportAllocs()
	for b.Loop() {
		s = start
		for i, ev := range events {
			s, _ = s.Step(t0+Time(i)*1100*time.Millisecond, ev)
		}
	}
	if !s.Promotion.Published || s.Episode.Outcome == "" {
		b.Fatalf("the promotion did not end: %+v", s.Episode)
	}
}
