package fsm

import (
	"testing"
	"time"
)

// standby is a node that has seen its peer promoted and well, with this history of fencings, and DRBD connected to it.
func standby(s State, now Time, fenced FenceID) State {
	s, _ = s.Step(now, DrbdChanged{Drbd{At: now, Live: true, UpToDate: true, Connected: true, PeerPrimary: true}})
	s, _ = s.Step(now, ClusterPolled{peerLook(now, Peer{Online: true, Promoted: true, Promotion: "a/1", Fenced: fenced})})
	return s
}

// peerLook is a look at a cluster in which this node is not promoted and the peer is so.
func peerLook(at Time, p Peer) Cluster {
	c := goodCluster(at)
	c.PromotedHere, c.Promotion, c.FilesystemHere, c.PromotedCount = false, "", false, 0
	p.Name = peer
	if c.Peers[0] = p; p.Promoted {
		c.PromotedPeer, c.PromotedCount = peer, 1
	}
	return c
}

// TestWhatFencingProvesALoss steps through what is seen of a peer that is gone in the end, and clean: is it held for
// unfenced?
func TestWhatFencingProvesALoss(t *testing.T) {
	promoted := Peer{Online: true, Promoted: true, Promotion: "a/1"}
	with := func(p Peer, id FenceID) Peer { p.Fenced = id; return p }
	unread := func(p Peer) Peer { p.HistoryUnreadable = true; return p }
	back := Peer{Online: true}
	again := Peer{Online: true, Promoted: true, Promotion: "a/2"}
	fails := Peer{Name: "no look"}
	for name, c := range map[string]struct {
		looks []Peer // ten seconds apart
		held  bool
	}{
		"lost":                           {[]Peer{with(promoted, 1), with(Peer{}, 1)}, true},
		"lost and fenced":                {[]Peer{with(promoted, 1), with(Peer{}, 2)}, false},
		"lost, fenced later":             {[]Peer{with(promoted, 1), with(Peer{}, 1), with(Peer{}, 2)}, false},
		"fenced, the history cleaned":    {[]Peer{with(promoted, 1), with(Peer{}, 2), {}}, false},
		"a cleaned history comes back":   {[]Peer{with(promoted, 1), {}, with(Peer{}, 1)}, true},
		"fenced as a member just before": {[]Peer{with(promoted, 1), with(promoted, 2), with(Peer{}, 2)}, false},
		"fenced as a member long before": {[]Peer{with(promoted, 1), with(promoted, 2), promoted, promoted, promoted,
			with(Peer{}, 2)}, true},
		"in the history at the first sight": {[]Peer{with(promoted, 2), with(Peer{}, 2)}, true},
		"fenced, back and promoted, and lost": {[]Peer{with(promoted, 1), with(promoted, 2), with(Peer{Unclean: true}, 2),
			with(promoted, 2), with(Peer{}, 2)}, true},
		"fenced with its return": {[]Peer{with(promoted, 1), with(Peer{}, 1), with(promoted, 2),
			with(Peer{}, 2)}, true},
		"unclean on its way at the first sight": {[]Peer{{Unclean: true, ChangingRole: true}, {}}, true},
		"unclean on its way at once":            {[]Peer{{Online: true}, {Unclean: true, ChangingRole: true}, {}}, true},
		"online and unclean is not back":        {[]Peer{promoted, {}, {Online: true, Unclean: true}, {}}, true},
		"back, and gone in good order":          {[]Peer{promoted, {}, back, {}}, false},
		"fenced and back while looks failed": {[]Peer{with(promoted, 1), fails, fails, fails, with(again, 2),
			with(Peer{}, 2)}, true},
		"fenced while a look failed": {[]Peer{with(promoted, 1), fails, with(promoted, 2), with(Peer{}, 2)}, false},
		"lost and fenced while looks failed": {[]Peer{with(promoted, 1), fails, fails, fails, fails, with(Peer{}, 2)},
			false},
		"fenced as a member, not readable": {[]Peer{with(promoted, 1), unread(promoted), unread(promoted),
			unread(promoted), with(promoted, 2), with(Peer{}, 2)}, false},
		"lost and fenced, not readable": {[]Peer{with(promoted, 1), unread(promoted), unread(promoted),
			unread(promoted), unread(promoted), unread(Peer{}), with(Peer{}, 2)}, false},
		"fenced and back, not readable": {[]Peer{with(promoted, 1), unread(promoted), unread(Peer{Unclean: true}),
			unread(again), with(again, 2), with(Peer{}, 2)}, true},
		"fenced, back and lost, not readable": {[]Peer{with(promoted, 1), unread(Peer{Unclean: true}), unread(again),
			unread(Peer{}), with(Peer{}, 2)}, true},
		"not readable when it was fenced": {[]Peer{with(promoted, 1), unread(promoted), unread(Peer{}), with(Peer{}, 2)},
			false},
	} {
		t.Run(name, func(t *testing.T) {
			s, now := New(testConfig(), 1, Episode{}, false), boot
			s, _ = s.Step(now, DrbdChanged{Drbd{At: now, Live: true, UpToDate: true, Connected: true, PeerPrimary: true}})
			for _, p := range c.looks {
				now += 10 * time.Second
				look := Cluster{At: now}
				if p != fails {
					look = peerLook(now, p)
				}
				s, _ = s.Step(now, ClusterPolled{look})
			}
			if held := s.Safety(now).Has(HoldPeerUnfenced); held != c.held {
				t.Errorf("held %v", held)
			}
		})
	}
}

// TestFencedPeerThatIsPromotedUnseen: DRBD shows it as Primary once more, and no look does before it is lost again.
func TestFencedPeerThatIsPromotedUnseen(t *testing.T) {
	primary := Drbd{Live: true, UpToDate: true, Connected: true, PeerPrimary: true}
	gone := Drbd{Live: true, UpToDate: true, DisconnectReason: "Connecting"}
	for name, c := range map[string]struct {
		drbd []Drbd
		held bool
	}{
		"still the old connection":       {[]Drbd{primary, gone}, false},
		"back as Secondary":              {[]Drbd{gone, {Live: true, UpToDate: true, Connected: true}, gone}, false},
		"back and promoted":              {[]Drbd{gone, {Live: true, UpToDate: true, Connected: true}, primary, gone}, true},
		"back as Primary":                {[]Drbd{gone, primary, gone}, true},
		"the stream cannot tell of when": {[]Drbd{gone, {}, primary, gone}, false},
	} {
		t.Run(name, func(t *testing.T) {
			s, now := standby(New(testConfig(), 1, Episode{}, false), boot, 1), boot+time.Second
			s, _ = s.Step(now, ClusterPolled{peerLook(now, Peer{Fenced: 2})})
			for _, d := range c.drbd {
				now += time.Second
				d.At = now
				s, _ = s.Step(now, DrbdChanged{d})
			}
			now += time.Second
			if s, _ = s.Step(now, ClusterPolled{peerLook(now, Peer{Fenced: 2})}); s.Safety(now).Has(HoldPeerUnfenced) != c.held {
				t.Errorf("held %v", !c.held)
			}
			if s, _ = s.Step(now+1, ClusterPolled{peerLook(now+1, Peer{Fenced: 3})}); s.Safety(now + 1).Has(HoldPeerUnfenced) {
				t.Error("another fencing does not count")
			}
		})
	}
}

// TestPromotedUnseenInALongGap: between two looks that are a minute apart the peer may have been fenced, promoted once
// more, and lost.
func TestPromotedUnseenInALongGap(t *testing.T) {
	primary := Drbd{Live: true, UpToDate: true, Connected: true, PeerPrimary: true}
	gone := Drbd{Live: true, UpToDate: true, DisconnectReason: "Connecting"}
	secondary := Drbd{Live: true, UpToDate: true, Connected: true}
	for name, c := range map[string]struct {
		first Drbd // at the first look
		drbd  []Drbd
		held  bool
	}{
		"lost once":                        {primary, []Drbd{gone}, false},
		"not connected before, and lost":   {gone, []Drbd{primary, gone}, true},
		"not connected before, Secondary":  {gone, []Drbd{secondary, gone}, false},
		"lost, Secondary once more, lost":  {primary, []Drbd{gone, secondary, gone}, false},
		"lost, back as Primary, and lost":  {primary, []Drbd{gone, primary, gone}, true},
		"demoted and promoted, then lost":  {primary, []Drbd{secondary, primary, gone}, false},
		"lost, Secondary, promoted, again": {primary, []Drbd{gone, secondary, primary, gone}, true},
		"lost and back out of sight":       {primary, []Drbd{{}, secondary, primary, gone}, true},
		"lost out of sight, back":          {primary, []Drbd{{}, gone, primary, gone}, true},
		"lost, back and promoted unseen":   {primary, []Drbd{{}, primary, gone}, true},
		"lost out of sight":                {primary, []Drbd{{}, gone}, false},
		"the stream was down, and lost":    {primary, []Drbd{{}, secondary, gone}, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := standby(New(testConfig(), 1, Episode{}, false), boot, 1)
			s, _ = s.Step(boot+1, DrbdChanged{c.first})
			s, _ = s.Step(boot+1, ClusterPolled{peerLook(boot+1,
				Peer{Online: true, Promoted: true, Promotion: "a/1", Fenced: 1})})
			now := boot + time.Minute
			for _, d := range c.drbd {
				now += time.Second
				d.At = now
				s, _ = s.Step(now, DrbdChanged{d})
			}
			if s, _ = s.Step(now, ClusterPolled{peerLook(now, Peer{Fenced: 2})}); s.Safety(now).Has(HoldPeerUnfenced) != c.held {
				t.Errorf("held %v", !c.held)
			}
		})
	}
}

// TestLostOnceMoreOutOfSight: a peer that was fenced, and is then shown unclean and promoted, came back between two
// looks.
func TestLostOnceMoreOutOfSight(t *testing.T) {
	for name, c := range map[string]struct {
		before Peer // the look before the last
		held   bool
	}{
		"it was away":            {Peer{Fenced: 2}, true},
		"it was still unclean":   {Peer{Unclean: true, Promoted: true, Fenced: 2}, false},
		"it had been cleaned up": {Peer{Unclean: true, Fenced: 2}, false},
	} {
		s := standby(New(testConfig(), 1, Episode{}, false), boot, 1)
		now := boot
		for _, p := range []Peer{{Online: true, Promoted: true, Promotion: "a/1", Fenced: 1},
			{Unclean: true, Promoted: true, Fenced: 1}, {Unclean: true, Promoted: true, Fenced: 2}, c.before,
			{Unclean: true, Promoted: true, Fenced: 2}, {Fenced: 2}} {
			now += time.Second
			s, _ = s.Step(now, ClusterPolled{peerLook(now, p)})
		}
		if s.Safety(now).Has(HoldPeerUnfenced) != c.held {
			t.Errorf("%s: held %v", name, !c.held)
		}
	}
}

// TestFencedAndBackBetweenTwoLooks: no look shows the peer away, because the agent stalled, but DRBD has lost its
// connection and is back.
func TestFencedAndBackBetweenTwoLooks(t *testing.T) {
	primary := Drbd{Live: true, UpToDate: true, Connected: true, PeerPrimary: true}
	gone := Drbd{Live: true, UpToDate: true, DisconnectReason: "Connecting"}
	secondary := Drbd{Live: true, UpToDate: true, Connected: true}
	promoted := Peer{Online: true, Promoted: true, Promotion: "a/2"}
	with := func(p Peer, id FenceID) Peer { p.Fenced = id; return p }
	unread := func(p Peer) Peer { p.HistoryUnreadable = true; return p }
	for name, c := range map[string]struct {
		drbd []Drbd // between the first two looks
		then []Peer // looks, with the peer Primary; the last one shows it lost
		held bool
	}{
		"back, history hidden": {[]Drbd{gone, secondary}, []Peer{unread(promoted), with(Peer{}, 2)}, true},
		"back later, history hidden": {[]Drbd{gone},
			[]Peer{unread(Peer{Online: true}), unread(promoted), with(Peer{}, 2)}, true},
		"the stream was down, hidden":       {[]Drbd{{}, secondary}, []Peer{unread(promoted), with(Peer{}, 2)}, true},
		"back, the fencing shown":           {[]Drbd{gone, secondary}, []Peer{with(promoted, 2), with(Peer{}, 2)}, true},
		"connected all the time":            {nil, []Peer{unread(promoted), with(Peer{}, 2)}, false},
		"cut, and fenced as a member":       {[]Drbd{gone}, []Peer{with(Peer{Online: true}, 2), with(Peer{}, 2)}, false},
		"back, and fenced when it was lost": {[]Drbd{gone, secondary}, []Peer{with(promoted, 1), with(Peer{}, 2)}, false},
	} {
		s := standby(New(testConfig(), 1, Episode{}, false), boot, 1)
		now := boot
		for _, d := range c.drbd {
			now += time.Second
			d.At = now
			s, _ = s.Step(now, DrbdChanged{d})
		}
		for _, p := range c.then {
			d := gone
			if p.Promoted {
				d = primary
			}
			now += time.Second
			d.At = now
			s, _ = s.Step(now, DrbdChanged{d})
			s, _ = s.Step(now, ClusterPolled{peerLook(now, p)})
		}
		if held := s.Safety(now).Has(HoldPeerUnfenced); held != c.held {
			t.Errorf("%s: held %v", name, held)
		}
	}
}

// TestDemotionIsOfItsConnection: a tiebreaker, which is never Primary, tells nothing of the peer.
func TestDemotionIsOfItsConnection(t *testing.T) {
	third := Connection{Name: "tiebreaker", Connected: true}
	d := Drbd{At: boot, Live: true, UpToDate: true, Connected: true, PeerPrimary: true}
	d.Connections[0], d.Connections[1] = Connection{Name: peer, Connected: true, Primary: true}, third
	s, _ := New(testConfig(), 1, Episode{}, false).Step(boot, DrbdChanged{d})
	s, _ = s.Step(boot, ClusterPolled{peerLook(boot, Peer{Online: true, Promoted: true})})
	if s, _ = s.Step(boot+1, ClusterPolled{peerLook(boot+1, Peer{})}); !s.Safety(boot + 1).Has(HoldPeerUnfenced) {
		t.Error("not held")
	}
}

// TestFencingWhileNoAgentRan proves no loss of a peer that was back when the agent started again, whenever the history
// can be read.
func TestFencingWhileNoAgentRan(t *testing.T) {
	for name, first := range map[string]Peer{
		"readable":     {Online: true, Promoted: true, Fenced: 2},
		"not readable": {Online: true, Promoted: true, HistoryUnreadable: true},
	} {
		s := New(testConfig(), 1, Episode{ID: 1, Outcome: OutcomeDemoted,
			Memory: Memory{Kept: true, Fences: Fences("").With(1)}}, true)
		s, _ = s.Step(boot, DrbdChanged{Drbd{At: boot, Live: true, UpToDate: true, Connected: true, PeerPrimary: true}})
		s, _ = s.Step(boot, ClusterPolled{peerLook(boot, first)})
		now := boot + 10*time.Second
		if s, _ = s.Step(now, ClusterPolled{peerLook(now, Peer{Fenced: 2})}); !s.Safety(now).Has(HoldPeerUnfenced) {
			t.Errorf("%s: not held", name)
		}
		if s, _ = s.Step(now+1, ClusterPolled{peerLook(now+1, Peer{Fenced: 3})}); s.Safety(now + 1).Has(HoldPeerUnfenced) {
			t.Errorf("%s: another fencing does not count", name)
		}
	}
}

// TestRestartAfterTheHistoryWasHidden: what it shows first to the new process may be older than the loss, unless the
// last one had read it since the peer came back.
func TestRestartAfterTheHistoryWasHidden(t *testing.T) {
	promoted := Peer{Online: true, Promoted: true, Promotion: "a/1"}
	with := func(p Peer, id FenceID) Peer { p.Fenced = id; return p }
	unread := func(p Peer) Peer { p.HistoryUnreadable = true; return p }
	for name, c := range map[string]struct {
		before []Peer // ten seconds apart, the last one lost
		held   bool
	}{
		"never shown": {[]Peer{unread(promoted), unread(Peer{})}, true},
		"hidden over a return": {[]Peer{with(promoted, 1), unread(Peer{Unclean: true}), unread(promoted),
			unread(Peer{})}, true},
		"shown after a return": {[]Peer{with(promoted, 1), unread(Peer{Unclean: true}), unread(promoted),
			with(promoted, 1), unread(Peer{})}, false},
		"hidden as it was lost":      {[]Peer{with(promoted, 1), unread(promoted), unread(Peer{})}, false},
		"shown all the time":         {[]Peer{with(promoted, 1), with(promoted, 1), with(Peer{}, 1)}, false},
		"shown only when it is lost": {[]Peer{unread(promoted), with(Peer{}, 1)}, false},
	} {
		s, now := New(testConfig(), 1, Episode{}, false), boot
		for _, p := range c.before {
			now += 10 * time.Second
			s, _ = s.Step(now, DrbdChanged{Drbd{At: now, Live: true, UpToDate: true, Connected: p.Online,
				PeerPrimary: p.Promoted}})
			s, _ = s.Step(now, ClusterPolled{peerLook(now, p)})
		}
		s = New(testConfig(), 1, s.Episode, true)
		now += time.Second
		s, _ = s.Step(now, DrbdChanged{Drbd{At: now, Live: true, UpToDate: true}})
		if s, _ = s.Step(now, ClusterPolled{peerLook(now, Peer{Fenced: 2})}); s.Safety(now).Has(HoldPeerUnfenced) != c.held {
			t.Errorf("%s: held %v", name, !c.held)
		}
		if s, _ = s.Step(now+1, ClusterPolled{peerLook(now+1, Peer{Fenced: 3})}); s.Safety(now + 1).Has(HoldPeerUnfenced) {
			t.Errorf("%s: another fencing does not count", name)
		}
	}
}

// TestUnfencedPeerOfAnOlderAgent: its journal says who was lost, and nothing of the fencings that it knew.
func TestUnfencedPeerOfAnOlderAgent(t *testing.T) {
	last := Episode{ID: 1, Start: 1, Peer: peer, Lost: LostPeer{Name: peer}}
	s := New(testConfig(), 1, last, true)
	if s, _ = s.Step(boot, ClusterPolled{peerLook(boot, Peer{Fenced: 7})}); !s.Safety(boot).Has(HoldPeerUnfenced) {
		t.Error("what the history held before counts as a fencing")
	}
	if s, _ = s.Step(boot+1, ClusterPolled{peerLook(boot+1, Peer{Fenced: 8})}); s.Safety(boot + 1).Has(HoldPeerUnfenced) {
		t.Error("a new fencing does not count")
	}
}

// TestWhatExcusesALoss: DRBD said over a live connection that the peer was demoted, and nothing has shown it promoted
// since.
func TestWhatExcusesALoss(t *testing.T) {
	demoted := Drbd{Live: true, UpToDate: true, Connected: true}
	alone := Drbd{Live: true, UpToDate: true, DisconnectReason: "Connecting"}
	handshake := demoted // of DRBD 8.4, which says Connected first and the role a moment later
	handshake.Connections[0] = Connection{Name: peer, Connected: true, RoleUnknown: true}
	stillShown := Peer{Online: true, Promoted: true, Promotion: "a/1"}
	again := Peer{Online: true, Promoted: true, Promotion: "a/2"}
	for name, c := range map[string]struct {
		between []Event // three seconds apart
		held    bool
	}{
		"nothing said": {nil, true},
		"demoted":      {[]Event{DrbdChanged{demoted}, DrbdChanged{alone}}, false},
		"a look from before the end of it": {[]Event{DrbdChanged{demoted}, ClusterPolled{peerLook(0, stillShown)},
			DrbdChanged{alone}}, false},
		"promoted by another operation": {[]Event{DrbdChanged{demoted}, ClusterPolled{peerLook(0, stillShown)},
			ClusterPolled{peerLook(0, again)}, DrbdChanged{alone}}, true},
		"shown as promoted for long": {[]Event{DrbdChanged{demoted}, Tick{}, Tick{}, Tick{},
			ClusterPolled{peerLook(0, stillShown)}, DrbdChanged{alone}}, true},
		"Primary again": {[]Event{DrbdChanged{demoted},
			DrbdChanged{Drbd{Live: true, UpToDate: true, Connected: true, PeerPrimary: true}}, DrbdChanged{alone}}, true},
		"the stream has ended since":         {[]Event{DrbdChanged{demoted}, DrbdChanged{Drbd{}}, DrbdChanged{alone}}, true},
		"the stream is down":                 {[]Event{DrbdChanged{demoted}, DrbdChanged{Drbd{}}}, true},
		"not said, the connection was there": {[]Event{DrbdChanged{alone}}, true},
		"connected for a moment, no role": {[]Event{DrbdChanged{alone}, DrbdChanged{handshake},
			ClusterPolled{peerLook(0, stillShown)}, DrbdChanged{alone}}, true},
	} {
		t.Run(name, func(t *testing.T) {
			if lostHeld(standby(New(testConfig(), 1, Episode{}, false), boot, 1), boot, c.between) != c.held {
				t.Errorf("held %v", !c.held)
			}
		})
	}
}

// lostHeld lets these events happen, three seconds apart, and reports whether the loss of the peer, seen by the next
// look, holds the publication. A look that has a time began that long before.
func lostHeld(s State, now Time, events []Event) bool {
	for _, ev := range events {
		now += 3 * time.Second
		switch e := ev.(type) {
		case DrbdChanged:
			e.Drbd.At = now
			ev = e
		case ClusterPolled:
			e.Cluster.At = now - e.Cluster.At
			ev = e
		}
		s, _ = s.Step(now, ev)
	}
	now += time.Second
	s, _ = s.Step(now, ClusterPolled{peerLook(now, Peer{Fenced: 1})})
	return s.Safety(now).Has(HoldPeerUnfenced)
}

// TestADemotionSoonAfterThePromotion: no look has shown the promotion when DRBD tells of its end, because it is the
// first or one in place. The look that shows it then does not show another one.
func TestADemotionSoonAfterThePromotion(t *testing.T) {
	primary := DrbdChanged{Drbd{Live: true, UpToDate: true, Connected: true, PeerPrimary: true}}
	demoted := DrbdChanged{Drbd{Live: true, UpToDate: true, Connected: true}}
	alone := DrbdChanged{Drbd{Live: true, UpToDate: true, DisconnectReason: "Connecting"}}
	look := func(promotion string) Event {
		return ClusterPolled{peerLook(0, Peer{Online: true, Promoted: promotion != "", Promotion: promotion, Fenced: 1})}
	}
	early := func(promotion string) Event { // began before the demotion
		return ClusterPolled{peerLook(4*time.Second,
			Peer{Online: true, Promoted: promotion != "", Promotion: promotion, Fenced: 1})}
	}
	for name, c := range map[string]struct {
		events []Event
		held   bool
	}{
		"shown after its end":                    {[]Event{primary, demoted, look("a/2"), alone}, false},
		"shown after its end, twice":             {[]Event{primary, demoted, look("a/2"), look("a/2"), alone}, false},
		"shown after a look from before its end": {[]Event{primary, demoted, early(""), look("a/2"), alone}, false},
		"shown before its end":                   {[]Event{primary, look("a/2"), demoted, look("a/2"), alone}, false},
		"in place":                               {[]Event{primary, look("a/2"), demoted, look("a/3"), alone}, false},
		"in place, and a look from before": {[]Event{primary, look("a/2"), demoted, early("a/2"), look("a/3"), alone},
			false},
		"shown after its end, then another one": {[]Event{primary, demoted, look("a/2"), look("a/3"), alone}, true},
		"its end shown, then another one":       {[]Event{primary, demoted, look(""), look("a/2"), alone}, true},
		"shown before the connection ended":     {[]Event{primary, demoted, alone, early("a/2")}, false},
		"in place, before the connection ended": {[]Event{primary, look("a/2"), demoted, primary, demoted, alone,
			early("a/3")}, false},
		"another one, after the connection ended": {[]Event{primary, demoted, alone, look("a/2")}, true},
		"another one, which DRBD never called so": {[]Event{demoted, look("a/2"), alone}, true},
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := New(testConfig(), 1, Episode{}, false).Step(boot, look("").(ClusterPolled))
			if lostHeld(s, boot, c.events) != c.held {
				t.Errorf("held %v", !c.held)
			}
		})
	}
}

// TestADemotionBeforeTheFirstLook: the agent starts while the peer stops. DRBD's first word is that the peer is
// Secondary, and the first look shows the promotion whose end that is.
func TestADemotionBeforeTheFirstLook(t *testing.T) {
	demoted := DrbdChanged{Drbd{Live: true, UpToDate: true, Connected: true}}
	alone := DrbdChanged{Drbd{Live: true, UpToDate: true, DisconnectReason: "TearDown"}}
	look := func(began time.Duration, promotion string) Event {
		return ClusterPolled{peerLook(began, Peer{Online: true, Promoted: true, Promotion: promotion, Fenced: 1})}
	}
	for name, c := range map[string]struct {
		events []Event
		held   bool
	}{
		"shown, then the connection ends":    {[]Event{demoted, look(0, "a/1"), alone}, false},
		"shown by a look that began earlier": {[]Event{demoted, look(4*time.Second, "a/1"), look(0, "a/1"), alone}, false},
		"the connection ends during it":      {[]Event{demoted, alone, look(4*time.Second, "a/1")}, false},
		"the connection ends before it":      {[]Event{demoted, alone, look(0, "a/1")}, true},
		"shown, then another one":            {[]Event{demoted, look(0, "a/1"), look(0, "a/2"), alone}, true},
	} {
		if lostHeld(New(testConfig(), 1, Episode{}, false), boot, c.events) != c.held {
			t.Errorf("%s: held %v", name, !c.held)
		}
	}
}

// TestResourceThatIsDownIsNotPrimary, and neither is one whose peer is promoted: the promotion is over.
func TestResourceThatIsDownIsNotPrimary(t *testing.T) {
	for name, c := range map[string]struct {
		drbd Drbd
		peer Peer
		over bool
	}{
		"still Primary":          {Drbd{Live: true, Primary: true, UpToDate: true}, Peer{Online: true}, false},
		"Secondary":              {Drbd{Live: true, UpToDate: true}, Peer{Online: true}, true},
		"down":                   {Drbd{Down: true}, Peer{Online: true}, true},
		"not known":              {Drbd{}, Peer{Online: true}, false},
		"the peer is promoted":   {Drbd{}, Peer{Online: true, Promoted: true}, true},
		"both say it of the end": {Drbd{Down: true}, Peer{Online: true, Promoted: true}, true},
	} {
		s, now := settled()
		s, _ = s.Step(now, DrbdChanged{c.drbd})
		if s, _ = s.Step(now, ClusterPolled{peerLook(now, c.peer)}); (s.Promotion.Claim == "") != c.over {
			t.Errorf("%s: promotion %q", name, s.Promotion.Claim)
		}
	}
}

// TestEpochOfOurClaimIsFollowed: the claim may have been written again by the hook or an operator.
func TestEpochOfOurClaimIsFollowed(t *testing.T) {
	s, now := settled()
	own := Zone{At: now + 1, OK: true, Addr: myAddr, Epoch: 9, Owner: me, Claim: "p1", Raw: "raw9"}
	s, _ = s.Step(now+1, Read{Zone: own})
	foreign := Zone{At: now + 2*time.Minute, OK: true, Addr: peerAddr, Epoch: 8, Owner: peer, Claim: "c1", Raw: "raw8"}
	if s, _ = s.Step(now+2*time.Minute, Read{Zone: foreign}); s.Promotion.Contested {
		t.Error("contested by an older epoch")
	}
	foreign.Epoch = 10
	if s, _ = s.Step(now+3*time.Minute, Read{Zone: foreign}); !s.Promotion.Contested {
		t.Error("not contested by a newer one")
	}
}

// TestClaimOfThePeerIsReadAfterItsPromotion: a reading for another reason may be from before the claim, and takes the
// place of none.
func TestClaimOfThePeerIsReadAfterItsPromotion(t *testing.T) {
	s := standby(New(testConfig(), 1, Episode{}, false), boot, 1)
	s.tasks[taskReadRecord].inFlight = true
	s, _ = s.Step(boot+2*time.Second, Read{Zone: goodZone(boot + time.Second)})
	reads := 0
	for now := boot + 3*time.Second; now < boot+15*time.Second; now += time.Second {
		var out []Action
		s, out = s.Step(now, ClusterPolled{peerLook(now, Peer{Online: true, Promoted: true, Promotion: "a/1"})})
		for _, a := range out {
			if _, is := a.(ReadRecord); is {
				reads++
			}
		}
	}
	if reads != 1 {
		t.Errorf("%d reads", reads)
	}
}
