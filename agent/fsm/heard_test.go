package fsm

import (
	"testing"
	"time"
)

// TestPhaseThatIsLearnedLate: the first word of a source after the start, or after a stall, tells of what may be long
// past, and the story says so.
func TestPhaseThatIsLearnedLate(t *testing.T) {
	promotedAt := func(now Time) Event {
		c := Cluster{At: now, OK: true, Online: true, FencingEnabled: true, PromotedHere: true, FilesystemHere: true,
			Promotion: "p1", PeerCount: 1}
		c.Peers[0] = Peer{Name: "pg-a", Online: true}
		return ClusterPolled{c}
	}
	standby := func(now Time) Event {
		c := Cluster{At: now, OK: true, Online: true, FencingEnabled: true, PromotedPeer: "pg-a", PeerCount: 1}
		c.Peers[0] = Peer{Name: "pg-a", Online: true, Promoted: true}
		return ClusterPolled{c}
	}
	writable := func(now Time) Event { return PostgresProbed{Postgres{At: now, Accepting: true, Writable: true}} }
	idle := func(now Time) Event { return PostgresProbed{Postgres{At: now}} }
	ours := func(now Time) Event {
		return Read{Zone: Zone{At: now, OK: true, Addr: myAddr, Owner: me, Claim: "p1", Epoch: 3, Raw: "x"}}
	}
	theirs := func(now Time) Event {
		return Read{Zone: Zone{At: now, OK: true, Addr: peerAddr, Owner: "pg-a", Claim: "a1", Epoch: 2, Raw: "x"}}
	}
	stalled := func(Time) Event { return Stalled{} }
	primary := func(now Time) Event {
		return DrbdChanged{Drbd{At: now, Live: true, Primary: true, UpToDate: true, Connected: true}}
	}

	for name, c := range map[string]struct {
		events                    []func(Time) Event
		promoted, writable, known bool // which of the phases are late; known: dns_accepted
	}{
		"seen as it came":     {[]func(Time) Event{standby, idle, theirs, primary, promotedAt, writable, ours}, false, false, false},
		"began in the middle": {[]func(Time) Event{primary, promotedAt, writable, ours}, true, true, true},
		"began before PostgreSQL was up": {[]func(Time) Event{primary, promotedAt, idle, writable, theirs, ours}, true, false,
			false},
		"stood still during the promotion": {[]func(Time) Event{standby, idle, theirs, stalled, primary, promotedAt, writable,
			ours}, true, true, true},
		"stood still afterwards": {[]func(Time) Event{standby, idle, theirs, primary, promotedAt, stalled, writable, ours},
			false, true, true},
	} {
		cfg := testConfig()
		cfg.ProbeClient = false
		s, now := New(cfg, 1, Episode{}, false), boot
		s.Wait.PausedUntil = now + time.Hour // somebody else writes the record
		for _, ev := range c.events {
			now += time.Second
			s, _ = s.Step(now, ev(now))
		}
		e := &s.Episode
		if !e.Seen(Promoted) || !e.Seen(Writable) || !e.Seen(DNSAccepted) {
			t.Fatalf("%s: %+v", name, e)
		}
		if e.Late[Promoted] != c.promoted || e.Late[Writable] != c.writable || e.Late[DNSAccepted] != c.known {
			t.Errorf("%s: late %v", name, e.Late)
		}
	}
}

// TestOutageThatOutlastsTheEpisode is shown as one that goes on, and is completed when it ends.
func TestOutageThatOutlastsTheEpisode(t *testing.T) {
	s, now := settled()
	s.Episode.Outcome = ""
	s.Episode.Stamps[DNSObserved], s.Episode.Stamps[Writable] = now-outageGrace, now-outageGrace
	s.Episode.Outage = Outage{From: now - time.Hour, To: now - time.Hour + 20*time.Second}
	since := now - outageGrace
	s, _ = s.Step(now+time.Second, ClientProbed{Down: true, Since: since})
	if e := s.Episode; e.Outcome != OutcomeComplete || e.Outage != (Outage{From: since}) {
		t.Fatalf("%+v", e)
	}
	now += time.Hour
	ended := Outage{From: since, To: now, Answered: myAddr}
	s, out := s.Step(now, ClientProbed{Outage: ended})
	saved := false
	for _, a := range out {
		save, is := a.(Save)
		saved = saved || is && save.Episode.Outage == ended
	}
	if s.Episode.Outage != ended || !saved {
		t.Errorf("%+v, saved: %v", s.Episode.Outage, saved)
	}
	later := Outage{From: now + time.Minute, To: now + time.Hour}
	if s, _ = s.Step(now+time.Hour, ClientProbed{Outage: later}); s.Episode.Outage != ended {
		t.Errorf("another outage has become the episode's: %+v", s.Episode.Outage)
	}
}
