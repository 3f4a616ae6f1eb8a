package fsm

import "time"

// demotion remembers that a connected DRBD peer was not Primary.
type demotion struct {
	name      string // of the connection
	told      bool
	at        Time   // when DRBD said so
	promotion string // the peer's promote operation that the history showed then, or that the first look since has shown
	unseen    bool   // it had been promoted, or may have been, and no look since has shown which promotion that was
	cut       Time   // when the connection was lost since
}

// demoteTakes is how long Pacemaker may go on to show a peer as promoted that DRBD has demoted: the end of the operation is written down later.
const demoteTakes = 10 * time.Second

// drbd takes in what the events2 stream says.
func (s *State) drbd(now Time, d Drbd) {
	old := s.Drbd
	s.Drbd = d
	if s.diskLost(&d) || s.diskLost(&old) {
		s.peerDisk = now
	}
	if !d.Live {
		if old.Live {
			s.tasks[taskLook].nudge(now)
		}
		s.demotions = [MaxConnections]demotion{}
		return
	}
	is := d.connections()
	for _, c := range is {
		if c.Connected && !s.foreign(&d, c.Name) {
			s.told(now, c, old.Live && connection(old.connections(), c.Name).Primary)
		}
	}
	if old.Live {
		s.relinked(now, old.connections(), is)
	} else {
		s.restreamed(now, is)
	}
	if !old.Live || old.Primary != d.Primary || old.Suspended != d.Suspended || !sameRoles(old.connections(), is) {
		s.tasks[taskLook].nudge(now)
	}
	if !old.Live || s.Promotion != "" || old.Primary {
		return
	}
	if d.Primary {
		s.begin(now, "DRBD: Primary")
		s.mark(now, Promoted)
		s.hurried(now)
		s.tasks[taskProbe].nudge(now)
		return
	}
	for _, was := range old.connections() {
		if !was.Connected || !was.Primary || s.foreign(&old, was.Name) {
			continue
		}
		switch c := connection(is, was.Name); {
		case !c.Connected:
			s.begin(now, "DRBD: "+c.LostWhy)
			s.mark(now, PeerLost)
		case !c.Primary:
			s.begin(now, "DRBD: peer demoted")
		}
	}
}

// connections lists what the stream says of each peer. Facts without a named connection are of one peer: DRBD 8.4 has only one, and
// destroys the connection when it gives up.
func (d *Drbd) connections() []Connection {
	for n := range d.Connections {
		if d.Connections[n].Name == "" {
			if n == 0 {
				return []Connection{{
					Connected: d.Connected, Primary: d.PeerPrimary, SplitBrain: d.SplitBrain, DiskLost: d.PeerDiskLost, LostWhy: d.LostWhy,
				}}
			}
			return d.Connections[:n]
		}
	}
	return d.Connections[:]
}

// Connection returns what the stream says of the peer with this name, the zero value when it says nothing.
func (d *Drbd) Connection(name string) Connection {
	for _, c := range d.connections() {
		if c.Name == name {
			return c
		}
	}
	return Connection{}
}

// connection finds one by its name; one that is gone is not connected.
func connection(list []Connection, name string) Connection {
	for _, c := range list {
		if c.Name == name {
			return c
		}
	}
	return Connection{Name: name, LostWhy: "no connection"}
}

func sameRoles(a, b []Connection) bool {
	if len(a) != len(b) {
		return false
	}
	for _, c := range a {
		if now := connection(b, c.Name); now.Connected != c.Connected || now.Primary != c.Primary {
			return false
		}
	}
	return true
}

// foreign reports whether a connection is to a node that is no peer in the cluster: a copy for disaster recovery, or a tiebreaker without a
// disk. That is known once another connection bears the name of a peer.
func (s *State) foreign(d *Drbd, name string) bool {
	ours := false
	for _, p := range s.Cluster.Peers[:s.Cluster.PeerCount] {
		if p.Name == name {
			return false
		}
		for _, c := range d.connections() {
			ours = ours || c.Name == p.Name
		}
	}
	return ours
}

func (s *State) diskLost(d *Drbd) bool {
	for _, c := range d.connections() {
		if c.DiskLost && !s.foreign(d, c.Name) {
			return true
		}
	}
	return false
}

// SplitBrain reports whether DRBD has a split brain with a peer of the cluster, or with nobody knows whom.
func (s *State) SplitBrain() bool {
	elsewhere := false
	for _, c := range s.Drbd.connections() {
		if c.SplitBrain && !s.foreign(&s.Drbd, c.Name) {
			return true
		}
		elsewhere = elsewhere || c.SplitBrain
	}
	return s.Drbd.SplitBrain && !elsewhere
}

// PeersConnected reports whether DRBD is connected to every peer of the cluster that it has a connection to, and to one at least.
func (s *State) PeersConnected() bool {
	some := false
	for _, c := range s.Drbd.connections() {
		if s.foreign(&s.Drbd, c.Name) {
			continue
		}
		if !c.Connected {
			return false
		}
		some = true
	}
	return some
}

// told keeps when DRBD said over a live connection that the peer is not Primary, and whether it was until then.
func (s *State) told(now Time, c Connection, was bool) {
	slot := -1
	for i, d := range s.demotions {
		if d.told && d.name == c.Name {
			if c.Primary {
				s.demotions[i] = demotion{}
			}
			return
		}
		if slot < 0 && !d.told {
			slot = i
		}
	}
	if c.Primary || c.RoleUnknown || slot < 0 {
		return
	}
	s.demotions[slot] = demotion{name: c.Name, told: true, at: now, promotion: s.promotionOf(c.Name), unseen: was || !s.everLooked}
}

// relinked takes in which connections have gone since, which are back, and which show a peer promoted once more. No look may show that before
// it is gone again: then a fencing from before does not tell that it is off.
func (s *State) relinked(now Time, old, is []Connection) {
	for i := range s.demotions {
		if d := &s.demotions[i]; d.told && connection(old, d.name).Connected && !connection(is, d.name).Connected {
			d.cut = now
		}
	}
	for _, was := range old {
		if f := s.fencingsOf(s.peerWith(was.Name)); f != nil && was.Connected && !connection(is, was.Name).Connected {
			f.cut = true
		}
	}
	for _, c := range is {
		was := connection(old, c.Name)
		promoted := c.Connected && c.Primary && (!was.Connected || !was.Primary)
		if promoted || c.Connected && !was.Connected {
			// What is only said again is as old as it was.
			s.linked(now, c)
		}
		if l := s.lost(s.peerWith(c.Name)); l != nil && promoted {
			l.Fenced = false
		}
	}
}

// restreamed takes in what the stream says first. While it was down each connection may have gone and come back. Who is lost and was fenced
// just before stays so: its connection lives on for seconds.
func (s *State) restreamed(now Time, is []Connection) {
	for i := range s.peers {
		f := &s.peers[i]
		f.old = f.old || f.back && now-f.seen > earlyFence
		f.cut = !f.unseen || !s.connected(f.name)
	}
	for _, c := range is {
		s.linked(now, c)
	}
}

// linked takes in a connection that DRBD has lost since the last look, or may have, and has again. The peer may have been fenced meanwhile; when
// it is promoted and that look was long ago, it was promoted since.
func (s *State) linked(now Time, c Connection) {
	f := s.fencingsOf(s.peerWith(c.Name))
	if f == nil || !f.cut || !c.Connected {
		return
	}
	f.back, f.said = true, now
	if c.Primary && now-f.seen > earlyFence {
		f.old = true
		if l := s.lost(f.name); l != nil {
			l.Fenced = false
		}
	}
}

// connected reports whether DRBD says that it is connected to the peer.
func (s *State) connected(name string) bool {
	for _, c := range s.Drbd.connections() {
		if c.Connected && s.peerWith(c.Name) == name {
			return s.Drbd.Live
		}
	}
	return false
}

// peerWith is the peer of the cluster with this connection; one that is none keeps the connection's name.
func (s *State) peerWith(connection string) string {
	if len(s.Drbd.connections()) != 1 {
		return connection
	}
	switch { // DRBD 8.4 calls its only peer "peer"
	case s.Cluster.PeerCount == 1:
		return s.Cluster.Peers[0].Name
	case s.Cluster.PeerCount == 0 && s.peers[0].name != "" && s.peers[1].name == "":
		return s.peers[0].name // no look yet
	default:
		return connection
	}
}

// promotionOf is the promote operation of the peer with this connection in the last look.
func (s *State) promotionOf(connection string) string {
	name := s.peerWith(connection)
	for _, p := range s.Cluster.Peers[:s.Cluster.PeerCount] {
		if p.Name == name {
			return p.Promotion
		}
	}
	return ""
}

// demotionOf finds what DRBD said of a peer of the cluster: by its name, or of the only connection there is.
func (s *State) demotionOf(p Peer) *demotion {
	list := s.Drbd.connections()
	only := len(list) == 1 && s.Cluster.PeerCount == 1 // DRBD 8.4 calls its only peer "peer"
	for i := range s.demotions {
		d := &s.demotions[i]
		if d.told && (d.name == p.Name || only && (d.name == list[0].Name || list[0].Name == "")) {
			return d
		}
	}
	return nil
}

// left reports whether a peer that is gone and clean was demoted before it went: DRBD said so over a live connection. Nobody fences
// such a peer, although two looks may show it promoted and then gone, with nothing between.
func (s *State) left(now Time, p Peer) bool {
	return !p.Online && !p.Unclean && s.demotionOf(p) != nil && s.Drbd.Live && now-s.Drbd.At <= MaxDrbdAge
}

// promotedAgain forgets that a peer was demoted once a look shows that it was promoted since: by another operation, or long after. DRBD tells a
// promotion and its end at once, Pacemaker a while later: what the first look after the end shows has ended, if it began with the connection
// as it was.
func (s *State) promotedAgain(look Time, p Peer) {
	d := s.demotionOf(p)
	switch {
	case d == nil:
	case !p.Promoted:
		d.unseen = d.unseen && look < d.at
	case look-d.at > demoteTakes:
		*d = demotion{}
	case d.unseen && (s.connected(p.Name) || look < d.cut):
		d.unseen, d.promotion = look < d.at, p.Promotion
	case p.Promotion != d.promotion && p.Promotion != "":
		*d = demotion{}
	}
}
