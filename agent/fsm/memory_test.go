package fsm

import (
	"fmt"
	"testing"
	"time"
)

// writing is a state whose first write is in flight, based on a record that was read after the promotion (fresh) or
// before it.
func writing(t *testing.T, fresh bool) State {
	t.Helper()
	s := New(testConfig(), 1, Episode{}, false)
	step := func(now Time, ev Event) { s, _ = s.Step(now, ev) }
	step(boot, DrbdChanged{goodDrbd(boot)})
	if !fresh {
		step(boot, Read{Zone: goodZone(boot)})
	}
	step(boot+1, ClusterPolled{goodCluster(boot + 1)})
	if fresh {
		step(boot+2, Read{Zone: goodZone(boot + 2)})
		step(boot+3, ClusterPolled{goodCluster(boot + 3)})
	}
	if s.Write.InFlight.Claim != "p1" {
		t.Fatal("no write")
	}
	return s
}

// foreign is a claim of the peer that is newer than goodZone.
func foreign() Read {
	return Read{Zone: Zone{At: boot + 9, OK: true, Addr: peerAddr, Epoch: 5, Owner: peer, Claim: "c1", Raw: "raw5"}}
}

// TestForeignClaimsAreWaitedOut: with fencing enabled a foreign claim that is newer than our base is waited out three
// times, over restarts as well. Without fencing the second one is final.
func TestForeignClaimsAreWaitedOut(t *testing.T) {
	for _, c := range []struct {
		fencing bool
		waits   int
	}{{true, 3}, {false, 1}} {
		for _, fresh := range []bool{true, false} {
			for _, restart := range []bool{true, false} {
				look := func(at Time) ClusterPolled {
					cluster := goodCluster(at)
					cluster.FencingEnabled = c.fencing
					return ClusterPolled{cluster}
				}
				s, now := writing(t, fresh), boot+8
				for n := 1; n <= c.waits+1; n++ {
					s, _ = s.Step(now, Wrote{Reason: "conflict", Conflict: true, Sent: true})
					if restart {
						s = New(testConfig(), 1, s.Episode, true)
					}
					s, _ = s.Step(now, look(now))
					claim := foreign()
					claim.Zone.At, claim.Zone.Epoch, claim.Zone.Claim = now+1, uint64(4+n), fmt.Sprintf("c%d", n)
					s, _ = s.Step(now+1, claim)
					s, _ = s.Step(now+2, look(now+2))
					if waits := n <= c.waits; s.Promotion.Contested == waits || s.Gate(now+2).Has(HoldLostRace) != waits {
						t.Errorf("fencing %v, base fresh %v, restarted %v, claim %d: contested %v, held by %v", c.fencing, fresh, restart,
							n, s.Promotion.Contested, s.Gate(now+2).List())
					}
					now += PostStallDelay + time.Second
				}
				if s = New(testConfig(), 1, s.Episode, true); !s.Promotion.Contested {
					t.Errorf("fencing %v, base fresh %v: forgotten after another restart", c.fencing, fresh)
				}
			}
		}
	}
}

// TestClaimOfOurBaseThatWasWrittenAgainIsNoRace: its node has repaired the record meanwhile, or was told to publish it
// once more.
func TestClaimOfOurBaseThatWasWrittenAgainIsNoRace(t *testing.T) {
	for _, restart := range []bool{false, true} {
		s, now := writing(t, true), boot+8
		s, _ = s.Step(now, Wrote{Reason: "conflict", Conflict: true, Sent: true})
		if restart {
			s = New(testConfig(), 1, s.Episode, true)
			s, _ = s.Step(now, DrbdChanged{goodDrbd(now)})
			s, _ = s.Step(now, ClusterPolled{goodCluster(now)})
		}
		again := goodZone(now + 1)
		again.Epoch, again.Raw = 5, "raw5"
		s, _ = s.Step(now+1, Read{Zone: again})
		_, out := s.Step(now+time.Second, ClusterPolled{goodCluster(now + time.Second)})
		if s.Promotion.Contested || s.Promotion.RaceUntil != 0 || len(out) == 0 || s.Episode.BaseEpoch != 5 {
			t.Errorf("restart %v: contested %v, race until %v, base %d, %v", restart, s.Promotion.Contested,
				s.Promotion.RaceUntil, s.Episode.BaseEpoch, out)
		}
	}
}

// TestContestedStaysSoOverARestart, also with another address of this node, and when its episode was over before.
func TestContestedStaysSoOverARestart(t *testing.T) {
	s, now := settled()
	s.Episode.Outcome = OutcomeComplete
	s, _ = s.Step(now, Read{Zone: Zone{At: now, OK: true, Addr: peerAddr, Epoch: 9, Owner: peer, Claim: "c9",
		Raw: "raw9"}})
	if !s.Promotion.Contested {
		t.Fatal("not contested")
	}
	cfg := testConfig()
	cfg.Addr = "10.0.2.99"
	if s = New(cfg, 1, s.Episode, true); !s.Promotion.Contested {
		t.Error("forgotten")
	}
}

// TestNewerClaimIsFinalThoughOurAddressChanged: the claim was accepted, and is not written over a newer one with
// another address.
func TestNewerClaimIsFinalThoughOurAddressChanged(t *testing.T) {
	s, now := settled()
	cfg := testConfig()
	cfg.Addr = "10.0.2.99"
	s = New(cfg, 1, s.Episode, true)
	s, _ = s.Step(now, DrbdChanged{goodDrbd(now)})
	s, _ = s.Step(now, ClusterPolled{goodCluster(now)})
	if s, _ = s.Step(now+1, Read{Zone: Zone{At: now, OK: true, Addr: peerAddr, Epoch: 9, Owner: peer, Claim: "c9",
		Raw: "raw9"}}); !s.Promotion.Contested {
		t.Error("not contested")
	}
}

// TestForeignBaseIsOlderThanTheLook: a node that was demoted, and has not been told, may read the claim of the node
// that was promoted since. It must not take that claim for the base of a write before a look that is newer shows that
// it still is the promoted one.
func TestForeignBaseIsOlderThanTheLook(t *testing.T) {
	s := New(testConfig(), 1, Episode{}, false)
	writes := func(now Time, ev Event) bool {
		var out []Action
		s, out = s.Step(now, ev)
		for _, a := range out {
			if _, ok := a.(Write); ok {
				return true
			}
		}
		return false
	}
	writes(boot, DrbdChanged{goodDrbd(boot)})
	writes(boot+2, ClusterPolled{goodCluster(boot)})
	if writes(boot+3, Read{Zone: goodZone(boot + 1)}) {
		t.Error("written over a claim that may be newer than the look")
	}
	if s.tasks[taskPollCluster].due > boot+3 && !s.tasks[taskPollCluster].inFlight {
		t.Error("no look is under way")
	}
	if writes(boot+4, ClusterPolled{goodCluster(boot + 2)}) {
		t.Error("the look began before the read had ended")
	}
	if !writes(boot+5, ClusterPolled{goodCluster(boot + 4)}) {
		t.Error("not written after a newer look")
	}
}

func TestWriteInFlightIsCancelledWhenItIsNoLongerAllowed(t *testing.T) {
	for name, ev := range map[string]Event{
		"paused": Paused{boot * 2}, "stalled": Stalled{},
		"drbd_not_primary": DrbdChanged{Drbd{At: boot, Live: true, UpToDate: true}},
	} {
		_, actions := writing(t, true).Step(boot+5, ev)
		found := false
		for _, a := range actions {
			c, ok := a.(Cancel)
			found = found || ok && c.Why == name
		}
		if !found {
			t.Errorf("%s: no Cancel in %v", name, actions)
		}
	}
}

func TestDemotedEpisodeIsNotContinuedAfterARestart(t *testing.T) {
	last := Episode{ID: 3, Outcome: OutcomeDemoted, Start: 1, Promotion: "p1"}
	if s := New(testConfig(), 1, last, true); s.Promotion.Claim != "" {
		t.Errorf("promotion %q", s.Promotion.Claim)
	}
}

// TestPromotionThatEndedAfterItsStoryIsNotContinued: without the history of operations crm_mon shows any later
// promotion the same way.
func TestPromotionThatEndedAfterItsStoryIsNotContinued(t *testing.T) {
	s, now := settled()
	s, _ = s.Step(now, ResolvedName{Resolved{At: now, OK: true, Addr: myAddr}})
	if s.Episode.Outcome != OutcomeComplete {
		t.Fatalf("outcome %q", s.Episode.Outcome)
	}
	if again := New(s.Config, 1, s.Episode, true); again.Promotion.Claim != "p1" {
		t.Errorf("promotion %q, which goes on", again.Promotion.Claim)
	}
	down, gone := goodDrbd(now), goodCluster(now)
	down.Primary, gone.PromotedHere, gone.PromotedCount, gone.Promotion = false, false, 0, ""
	s, _ = s.Step(now, DrbdChanged{down})
	s, _ = s.Step(now, ClusterPolled{gone})
	for range 2 {
		if s = New(s.Config, 1, s.Episode, true); s.Promotion.Claim != "" {
			t.Errorf("promotion %q, which has ended", s.Promotion.Claim)
		}
		s, _ = s.Step(now, Tick{})
	}
}

// TestEpochsGoOnAfterARestart, where somebody has deleted the claim, and even when this node was promoted by another
// boot.
func TestEpochsGoOnAfterARestart(t *testing.T) {
	for record, want := range map[string]uint64{"Z1 db txt": 6, "Z2 db txt": 1} {
		for _, sameBoot := range []bool{true, false} {
			s, now := settled()
			s, _ = s.Step(now, Tick{})
			now += 2 * time.Minute // readings are not from before our write any more
			cfg := s.Config
			cfg.Record = record
			c := goodCluster(now + time.Second)
			c.Promotion = "p2"
			s = New(cfg, 1, s.Episode, sameBoot)
			s, _ = s.Step(now+time.Second, DrbdChanged{goodDrbd(now + time.Second)})
			s, _ = s.Step(now+time.Second, Read{Zone: Zone{At: now + time.Second, OK: true, Addr: myAddr}})
			s, _ = s.Step(now+2*time.Second, ClusterPolled{c})
			if s.Write.InFlight.NextEpoch != want {
				t.Errorf("%s, same boot %v: epoch %d, want %d", record, sameBoot, s.Write.InFlight.NextEpoch, want)
			}
		}
	}
}

// TestLostRaceIsOfItsRecord: another record holds another history. What it holds may be written over, after a look that
// is newer.
func TestLostRaceIsOfItsRecord(t *testing.T) {
	for record, contested := range map[string]bool{"Z1 db txt": true, "Z2 db txt": false} {
		s, now := writing(t, true), boot+8
		unfenced := goodCluster(now)
		unfenced.FencingEnabled = false
		s, _ = s.Step(now, ClusterPolled{unfenced})
		s, _ = s.Step(now, Wrote{Reason: "conflict", Conflict: true, Sent: true})
		if s, _ = s.Step(now+1, foreign()); s.Promotion.RaceUntil == 0 {
			t.Fatal("no lost race")
		}
		cfg := s.Config
		cfg.Record = record
		s = New(cfg, 1, s.Episode, true)
		s, _ = s.Step(now+2, ClusterPolled{unfenced})
		claim := foreign()
		claim.Zone.At, claim.Zone.Epoch, claim.Zone.Claim = now+2, 9, "c9"
		s, _ = s.Step(now+3, claim)
		if s.Promotion.Contested != contested || (s.Promotion.RaceUntil != 0) != contested {
			t.Errorf("%s: contested %v, race until %v", record, s.Promotion.Contested, s.Promotion.RaceUntil)
		}
	}
}

// TestRefusedRecordIsReadAgainThoughTheAccountIsAtItsLimit: a promoted node waits for somebody to clear it away.
func TestRefusedRecordIsReadAgainThoughTheAccountIsAtItsLimit(t *testing.T) {
	s, _ := drive(goodState(boot), boot, Read{Zone: Zone{At: boot, Refused: true}, Reason: "refused_record"},
		Read{Zone: Zone{}, Reason: throttled})
	if due := s.tasks[taskReadRecord].due; !s.Zone.Refused || due > boot+2*time.Minute {
		t.Errorf("refused %v, read again after %v", s.Zone.Refused, due-boot)
	}
}

func TestErasedPromotionIsAdoptedFromOurOwnRecord(t *testing.T) {
	s := New(testConfig(), 1, Episode{}, false)
	c := goodCluster(boot)
	c.Promotion = ""
	s, _ = s.Step(boot, ClusterPolled{c})
	s, _ = s.Step(boot, Read{Zone: Zone{At: boot, OK: true, Addr: myAddr, Epoch: 5, Owner: me, Claim: "p1", Raw: "raw5"}})
	if s.Promotion.Claim != "p1" || !s.Promotion.Published || s.Promotion.Epoch != 5 {
		t.Errorf("promotion %q, published %v, epoch %d", s.Promotion.Claim, s.Promotion.Published, s.Promotion.Epoch)
	}
}

func TestOurClaimWithAnotherAddressIsWrittenAgain(t *testing.T) {
	s, now := settled()
	s, _ = s.Step(now+MaxClusterAge+1, Republish{}) // the picture of the cluster is too old: the record is read first
	s, _ = s.Step(now+MaxClusterAge+2, Read{Zone: Zone{At: now + 1, OK: true, Addr: "10.9.9.9", Epoch: 5, Owner: me,
		Claim: "p1", Raw: "raw5"}})
	if s.Promotion.Published {
		t.Error("a record with another address counts as published")
	}
}

// TestRepublishWritesTheConfiguredTTL: an operator who asks for it gets it, with the same claim. Nobody else does.
func TestRepublishWritesTheConfiguredTTL(t *testing.T) {
	read := func(now Time, ttl time.Duration) Read {
		return Read{Zone: Zone{At: now, OK: true, Addr: myAddr, TTL: ttl, Epoch: 5, Owner: me, Claim: "p1", Raw: "raw5"}}
	}
	for name, c := range map[string]struct {
		asked  bool
		ttl    time.Duration
		hold   Event
		writes int
	}{
		"another TTL, and asked":     {true, time.Hour, nil, 1},
		"another TTL, and not asked": {false, time.Hour, nil, 0},
		"the same TTL, and asked":    {true, 10 * time.Second, nil, 0},
		"asked, and paused":          {true, time.Hour, Paused{Until: 100 * time.Hour}, 0},
	} {
		s, now := settled()
		if s.Config.TTL = 10 * time.Second; !c.asked { // as after the hook's write, which is read now
			s.Promotion.Published, s.Zone.OK = false, false
		}
		events := []Event{}
		if c.hold != nil {
			events = append(events, c.hold)
		}
		if c.asked {
			events = append(events, Republish{})
		}
		s, writes := drive(s, now, append(events, ClusterPolled{goodCluster(now)}, read(now, c.ttl))...)
		if len(writes) != c.writes {
			t.Errorf("%s: writes %+v", name, writes)
		}
		if len(writes) == 1 {
			if w := writes[0]; w.Claim != "p1" || w.Addr != myAddr || w.Base.Raw != "raw5" || w.NextEpoch != 6 {
				t.Errorf("%s: %+v", name, w)
			}
			s, _ = s.Step(now, Wrote{ChangeID: "C1", Sent: true})
			if !s.Promotion.Published || s.TTLDrift() || s.Repair.ttl {
				t.Errorf("%s: published %v, TTL %v", name, s.Promotion.Published, s.Zone.TTL)
			}
		} else if c.hold == nil && !s.Promotion.Published {
			t.Errorf("%s: not published", name)
		}
	}
}

func TestPollingEnds(t *testing.T) {
	s, now := settled()
	s.Write.ChangeID, s.Write.polling, s.Write.Polls = "C2", "C2", 0
	for range MaxPolls {
		s.tasks[taskPollChange].inFlight = true
		s, _ = s.Step(now, ChangePolled{})
	}
	if s.Write.ChangeID != "" {
		t.Error("the change is still asked about")
	}
}

// TestLostPeerThatCameBackIsNotLostAfterARestart: it may have left cleanly since, and nobody fences it then.
func TestLostPeerThatCameBackIsNotLostAfterARestart(t *testing.T) {
	for name, c := range map[string]struct{ back, held bool }{"back, and left": {true, false},
		"never back": {false, true}} {
		s := New(testConfig(), 1, Episode{}, false)
		look := func(at time.Duration, promoted bool, p Peer) {
			cluster := goodCluster(boot + at)
			cluster.Peers[0] = p
			if !promoted {
				cluster.PromotedHere, cluster.PromotedCount, cluster.Promotion = false, 0, ""
			}
			if p.Promoted {
				cluster.PromotedPeer = p.Name
			}
			s, _ = s.Step(boot+at, DrbdChanged{goodDrbd(boot + at)})
			s, _ = s.Step(boot+at, ClusterPolled{cluster})
		}
		well := Peer{Name: peer, Online: true, Promoted: true}
		look(0, false, well)
		look(time.Second, false, Peer{Name: peer, Unclean: true})
		if c.back {
			look(5*time.Second, false, well)
		}
		look(20*time.Second, true, Peer{Name: peer})
		if !s.Episode.Open() {
			t.Fatal("the story is over")
		}
		s = New(s.Config, 1, s.Episode, true)
		look(21*time.Second, true, Peer{Name: peer})
		if held := s.Safety(boot + 21*time.Second).Has(HoldPeerUnfenced); held != c.held {
			t.Errorf("%s: held %v", name, held)
		}
	}
}

// contested is a state that has found a newer claim of the peer after its own was accepted.
func contested(t *testing.T) (State, Time) {
	t.Helper()
	s, now := settled()
	s.Episode.Outcome = "" // the story goes on
	newer := Zone{At: now, OK: true, Addr: peerAddr, Epoch: 9, Owner: peer, Claim: "c9", Raw: "raw9"}
	if s, _ = s.Step(now, Read{Zone: newer}); !s.Promotion.Contested || s.Episode.Outcome != OutcomeContested {
		t.Fatal("not contested")
	}
	return s, now
}

// TestContestedIsOfItsRecord: another record is not contested by that, however often the agent starts. The first one
// still is, when the configuration is what it was.
func TestContestedIsOfItsRecord(t *testing.T) {
	s, now := contested(t)
	cfg := s.Config
	for _, c := range []struct {
		record    string
		contested bool
	}{{"Z2 db txt", false}, {"Z2 db txt", false}, {"Z3 db txt", false}, {"Z1 db txt", true}, {"Z1 db txt", true}} {
		cfg.Record = c.record
		if s = New(cfg, 1, s.Episode, true); s.Promotion.Contested != c.contested {
			t.Errorf("%s: contested %v", c.record, s.Promotion.Contested)
		}
		s, _ = s.Step(now, Tick{})
	}
}

// TestClaimAcceptedInAnotherRecordIsNotForgotten: the story ended as contested in the first record, before any claim
// was accepted.
func TestClaimAcceptedInAnotherRecordIsNotForgotten(t *testing.T) {
	s := writing(t, true)
	s, _ = s.Step(boot+4, Wrote{Reason: "conflict", Conflict: true, Sent: true})
	s.Promotion.racesExhausted = true
	if s, _ = s.Step(boot+9, foreign()); s.Episode.Outcome != OutcomeContested || s.Episode.Seen(DNSAccepted) {
		t.Fatalf("%+v", s.Episode)
	}
	cfg := s.Config
	cfg.Record, cfg.Repair = "Z2 db txt", false
	now := boot + 10*time.Second
	s, writes := drive(New(cfg, 1, s.Episode, true), now, Read{Zone: Zone{At: now, OK: true}}, Tick{},
		Wrote{ChangeID: "C2", Sent: true})
	if len(writes) != 1 || !s.Promotion.Published {
		t.Fatalf("published %v, writes %+v", s.Promotion.Published, writes)
	}
	now += time.Hour
	edit := edited(now, s.Promotion.Epoch)
	s, writes = drive(New(cfg, 1, s.Episode, true), now, edit, Tick{})
	if !s.Drift() || len(writes) > 0 {
		t.Errorf("repair is off: drift %v, writes %+v", s.Drift(), writes)
	}
}

// TestPromotionThatComesBackIsStillContested: a look may miss it while Pacemaker puts its view together. Another one is
// not.
func TestPromotionThatComesBackIsStillContested(t *testing.T) {
	for _, restart := range []bool{false, true} {
		for promotion, want := range map[string]bool{"p1": true, "p2": false} {
			s, now := contested(t)
			gone := goodCluster(now + 1)
			gone.PromotedHere, gone.Promotion, gone.PromotedPeer = false, "", peer
			gone.Peers[0].Promoted = true
			if s, _ = s.Step(now+1, ClusterPolled{gone}); s.Promotion.Claim != "" || s.Promotion.Contested {
				t.Fatal("the promotion goes on")
			}
			if restart {
				s = New(s.Config, 1, s.Episode, true)
			}
			back := goodCluster(now + 2)
			back.Promotion = promotion
			s, _ = s.Step(now+2, DrbdChanged{goodDrbd(now + 2)})
			if s, _ = s.Step(now+2, ClusterPolled{back}); s.Promotion.Contested != want || s.Promotion.Claim != promotion {
				t.Errorf("%s, restart %v: contested %v", promotion, restart, s.Promotion.Contested)
			}
		}
	}
}

// TestNameIsResolvedThoughItsMakerWasDemoted: the change that made the record was accepted after the end of its
// promotion.
func TestNameIsResolvedThoughItsMakerWasDemoted(t *testing.T) {
	s := goodState(boot)
	s.Zone = Zone{At: boot, OK: true}
	s, writes := drive(s, boot, Tick{})
	if len(writes) != 1 {
		t.Fatal("no write")
	}
	gone, down := goodCluster(boot+5), goodDrbd(boot+5)
	gone.PromotedHere, gone.Promotion, gone.PromotedPeer, down.Primary = false, "", peer, false
	now := boot + 2*time.Second
	made := Zone{At: boot + time.Minute, OK: true, Addr: myAddr, Epoch: 1, Owner: me, Claim: "p1", Raw: "raw1"}
	for _, ev := range []Event{DrbdChanged{down}, ClusterPolled{gone}, Wrote{ChangeID: "C1", Sent: true},
		Read{Zone: made}} {
		s, _ = s.Step(now, ev)
		now += 20 * time.Second
	}
	if s.Promotion.Claim != "" || !s.NameExists() {
		t.Errorf("promotion %q, the name exists: %v", s.Promotion.Claim, s.NameExists())
	}
}

// TestRecordNameThatWasWrong: this node has published its promotion under a wrong name. Corrected, and reloaded, it takes
// the right record over from the node that was promoted before, whatever the epochs there are.
func TestRecordNameThatWasWrong(t *testing.T) {
	s, now := settled() // with "Z1 db txt", which was the wrong one
	cfg := s.Config
	cfg.Record = "Z1 right txt"
	for _, epoch := range []uint64{1, 5, 99} {
		n := New(cfg, 1, s.Episode, true)
		theirs := Zone{At: now + time.Minute, OK: true, Addr: peerAddr, Epoch: epoch, Owner: peer, Claim: "theirs", Raw: "x"}
		n, writes := drive(n, now+time.Minute, Read{Zone: theirs}, Tick{}, Tick{}, Tick{})
		if n.Promotion.Contested || len(writes) != 1 || writes[0].Base.Claim != "theirs" || writes[0].NextEpoch != epoch+1 {
			t.Errorf("epoch %d: contested %v, writes %+v", epoch, n.Promotion.Contested, writes)
		}
	}
}
