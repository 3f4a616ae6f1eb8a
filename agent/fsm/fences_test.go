package fsm

import (
	"testing"
	"time"
)

// The words of DRBD, and a way to hand them over.
var (
	peerPrimary   = Drbd{Live: true, UpToDate: true, Connected: true, PeerPrimary: true}
	peerSecondary = Drbd{Live: true, UpToDate: true, Connected: true}
	peerGone      = Drbd{Live: true, UpToDate: true, DisconnectReason: "Connecting"}
	peerPromoted  = Peer{Online: true, Promoted: true, Promotion: "a/1", Fenced: 1}
)

func hear(s State, now Time, d Drbd) State {
	d.At = now
	s, _ = s.Step(now, DrbdChanged{d})
	return s
}

func look(s State, began, now Time, p Peer) State {
	s, _ = s.Step(now, ClusterPolled{peerLook(began, p)})
	return s
}

// TestFencingFromBeforeTheLastReturn: the peer is away, and the fencing that the last look shows for the first time may
// be from before it was back and promoted. Each story ends with another fencing, which always counts.
func TestFencingFromBeforeTheLastReturn(t *testing.T) {
	gone := func() (State, Time) { // the peer, which was promoted, is lost, and not yet fenced
		s := hear(standby(New(testConfig(), 1, Episode{}, false), boot, 1), boot+time.Second, peerGone)
		return look(s, boot+2*time.Second, boot+2*time.Second, Peer{Unclean: true, Fenced: 1}), boot + 3*time.Second
	}
	for name, story := range map[string]func() (State, Time){
		"DRBD shows it back to a process without a look": func() (State, Time) {
			s, now := gone()
			s = hear(New(testConfig(), 1, s.Episode, true), now, peerGone)
			s = hear(s, now+time.Minute, peerSecondary)
			s = hear(s, now+2*time.Minute, peerPrimary)
			return hear(s, now+3*time.Minute, peerGone), now + 4*time.Minute
		},
		"the same, by DRBD 8.4's name": func() (State, Time) {
			named := func(d Drbd) Drbd {
				d.Connections[0] = Connection{Name: "peer", Connected: d.Connected, Primary: d.PeerPrimary}
				return d
			}
			s, now := gone()
			s = hear(New(testConfig(), 1, s.Episode, true), now, named(peerGone))
			s = hear(s, now+time.Minute, named(peerPrimary))
			return hear(s, now+2*time.Minute, named(peerGone)), now + 3*time.Minute
		},
		"a look from before DRBD's word": func() (State, Time) {
			s, now := standby(New(testConfig(), 1, Episode{}, false), boot, 1), boot+5*time.Minute
			for _, d := range []Drbd{peerGone, peerSecondary, peerPrimary} {
				s = hear(s, now, d)
			}
			s = look(s, boot+10*time.Second, now, peerPromoted)
			return hear(s, now+time.Second, peerGone), now + 2*time.Second
		},
		"fenced, and Primary after minutes without a stream": func() (State, Time) {
			s, now := gone()
			s = look(s, now, now, Peer{Fenced: 2})
			s = hear(s, now+time.Second, Drbd{})
			s = hear(s, now+4*time.Minute, peerPrimary)
			return hear(s, now+5*time.Minute, peerGone), now + 6*time.Minute
		},
		"back as Secondary, and then no stream": func() (State, Time) {
			s, now := standby(New(testConfig(), 1, Episode{}, false), boot, 1), boot
			s = hear(s, now+time.Minute, peerGone)
			s = hear(s, now+2*time.Minute, peerSecondary)
			s = hear(s, now+3*time.Minute, Drbd{})
			return hear(s, now+4*time.Minute, peerGone), now + 5*time.Minute
		},
		"the first look shows it unclean": func() (State, Time) {
			s := hear(New(testConfig(), 1, Episode{}, false), boot, peerPrimary)
			s = look(s, boot, boot, Peer{Unclean: true, Promoted: true, Promotion: "a/1", Fenced: 2})
			return hear(s, boot+time.Second, peerGone), boot + 5*time.Second
		},
	} {
		s, now := story()
		if s = look(s, now, now, Peer{Fenced: 2}); !s.Safety(now).Has(HoldPeerUnfenced) {
			t.Errorf("%s: not held", name)
		}
		if s = look(s, now+1, now+1, Peer{Fenced: 3}); s.Safety(now + 1).Has(HoldPeerUnfenced) {
			t.Errorf("%s: another fencing does not count", name)
		}
	}
}

// TestFencedAsAMemberThenLooksFail: an operator has fenced a healthy node, and a look has shown that. Nothing has shown
// it back since.
func TestFencedAsAMemberThenLooksFail(t *testing.T) {
	for fails := range 6 {
		fenced := peerPromoted
		fenced.Fenced = 2
		s := look(standby(New(testConfig(), 1, Episode{}, false), boot, 1), boot+10*time.Second, boot+10*time.Second, fenced)
		s = hear(s, boot+11*time.Second, peerGone)
		now := boot + 10*time.Second
		for range fails {
			now += 10 * time.Second
			s, _ = s.Step(now, ClusterPolled{Cluster{At: now}})
		}
		now += 10 * time.Second
		if s = look(s, now, now, Peer{Fenced: 2}); s.Safety(now).Has(HoldPeerUnfenced) {
			t.Errorf("held after %d failed looks", fails)
		}
	}
}

// TestMorePeersThanAreKept: nodes of a cluster of three are replaced, each by one with a new name. What was known of
// those that are gone gives way.
func TestMorePeersThanAreKept(t *testing.T) {
	s, now := hear(New(testConfig(), 1, Episode{}, false), boot, peerPrimary), boot
	see := func(p Peer, other string) {
		now += 10 * time.Second
		c := peerLook(now, p)
		c.Peers[1], c.PeerCount = Peer{Name: other, Online: true}, 2
		s, _ = s.Step(now, ClusterPolled{c})
	}
	for _, other := range []string{"b", "c", "d", "d", "d"} {
		see(peerPromoted, other)
	}
	see(Peer{Unclean: true, Fenced: 1}, "d")
	if see(Peer{Fenced: 1}, "d"); !s.Safety(now).Has(HoldPeerUnfenced) {
		t.Error("not held")
	}
	if see(Peer{Fenced: 2}, "d"); s.Safety(now).Has(HoldPeerUnfenced) {
		t.Error("its fencing does not count")
	}
	if s.Episode.Memory.Partial {
		t.Error("the journal says that fencings may be missing from it")
	}
}

// TestConnectionOfADeadPeer lives on for seconds: what a stream says first after a restart of the agent shows no
// return.
func TestConnectionOfADeadPeer(t *testing.T) {
	s := standby(New(testConfig(), 1, Episode{}, false), boot, 1)
	s = hear(s, boot+time.Second, peerGone)
	s = look(s, boot+2*time.Second, boot+2*time.Second, Peer{Unclean: true, Fenced: 1})
	for now := boot + 3*time.Second; now < boot+6*time.Second; now += time.Second { // three starts
		s = hear(New(testConfig(), 1, s.Episode, true), now, peerPrimary)
	}
	s = hear(s, boot+7*time.Second, peerGone)
	if s = look(s, boot+8*time.Second, boot+8*time.Second,
		Peer{Fenced: 2}); s.Safety(boot + 8*time.Second).Has(HoldPeerUnfenced) {
		t.Error("held")
	}
}

// TestConnectionThatIsSaidAgain is no return: it is as old as it was when DRBD said so first. Looks fail meanwhile, and
// then the peer is fenced.
func TestConnectionThatIsSaidAgain(t *testing.T) {
	s := hear(standby(New(testConfig(), 1, Episode{}, false), boot, 1), boot+5*time.Second, peerGone)
	now := boot + 10*time.Second
	for ; now < boot+2*time.Minute; now += 20 * time.Second {
		s = hear(s, now, peerPrimary)
	}
	s = hear(s, now, peerGone)
	if s = look(s, now+10*time.Second, now+10*time.Second,
		Peer{Fenced: 2}); s.Safety(now + 10*time.Second).Has(HoldPeerUnfenced) {
		t.Error("a peer that was fenced is held for unfenced")
	}
}
