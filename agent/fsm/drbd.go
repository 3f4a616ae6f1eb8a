package fsm

import "time"

// Drbd is what the events2 stream says about the configured resource.
type Drbd struct {
	At Time
	// The stream is up and its first dump is complete, with the resource in it; the other fields mean nothing otherwise.
	Live bool
	Down bool // the stream is up, and the resource is not in it: nobody is Primary here

	Primary, UpToDate, Suspended bool
	NoQuorum                     bool // a volume has lost DRBD's own quorum: writes fail or wait

	// Over all connections. What is decided goes by the peer's own connection, where connections have names.
	SplitBrain             bool   // latched
	Connected, PeerPrimary bool   // every one connected, any peer Primary
	PeerDiskLost           bool   // a peer's disk is Failed or Diskless, and was not left out on purpose
	DisconnectReason       string // connection state that ended Connected

	Connections [MaxConnections]Connection // those with a name, from the first on
}

// MaxConnections bounds the DRBD connections that the core keeps apart.
const MaxConnections = 8

// Connection is what the stream says of one DRBD peer, which need not be a node of the cluster.
type Connection struct {
	// DRBD's name of the peer: its host name, unless the configuration says otherwise.
	Name                           string
	Connected, Primary, SplitBrain bool
	// Connected, and the role has not been said yet: DRBD 8.4 says it about 30 ms later.
	RoleUnknown bool
	// Connected, and the data have not been compared yet: DRBD 8.4 and early 9.0 say so first.
	Comparing        bool
	DiskLost         bool   // as PeerDiskLost
	DisconnectReason string // connection state that ended Connected
}

// demotion remembers that a connected DRBD peer was not Primary.
type demotion struct {
	name  string // of the connection
	known bool
	at    Time // when DRBD said so
	// The peer's promote operation that the history showed then, or that the first look since has shown.
	promotion      string
	unseen         bool // it had been promoted, or may have been, and no look since has shown which promotion that was
	disconnectedAt Time // when the connection was lost since
}

// demotionDelay is how long Pacemaker may go on to show a peer as promoted that DRBD has demoted: the end of the
// operation is written down later.
const demotionDelay = 10 * time.Second

// drbdChanged takes in what the events2 stream says.
func (s *State) drbdChanged(now Time, d Drbd) {
	old := s.Drbd
	s.Drbd = d
	s.foreign.roleHeard(&d)
	if s.peerDiskLost(&d) || s.peerDiskLost(&old) {
		s.Peers.diskLostAt = now
	}
	if !d.Live {
		if old.Live {
			s.tasks[taskPollCluster].trigger(now)
		}
		s.Peers.demotions = [MaxConnections]demotion{}
		return
	}
	is := d.connections()
	for _, c := range is {
		if c.Connected && !s.outsideCluster(&d, c.Name) {
			s.recordDemotion(now, c, old.Live && findConnection(old.connections(), c.Name).Primary)
		}
	}
	if old.Live {
		s.connectionsChanged(now, old.connections(), is)
	} else {
		s.streamRestarted(now, is)
	}
	if !old.Live || old.Primary != d.Primary || old.Suspended != d.Suspended || !sameRoles(old.connections(), is) {
		s.tasks[taskPollCluster].trigger(now)
	}
	if !old.Live || s.Promotion.Claim != "" || old.Primary {
		return
	}
	if d.Primary {
		s.beginEpisode(now, "DRBD: Primary")
		s.markPhase(now, Promoted)
		s.startFastPolling(now)
		s.tasks[taskProbePostgres].trigger(now)
		return
	}
	for _, was := range old.connections() {
		if !was.Connected || !was.Primary || s.outsideCluster(&old, was.Name) {
			continue
		}
		switch c := findConnection(is, was.Name); {
		case !c.Connected:
			s.beginEpisode(now, "DRBD: "+c.DisconnectReason)
			s.markPhase(now, PeerLost)
		case !c.Primary:
			s.beginEpisode(now, "DRBD: peer demoted")
		}
	}
}

// connections lists what the stream says of each peer. Facts without a named connection are of one peer: DRBD 8.4 has
// only one, and destroys the connection when it gives up.
func (d *Drbd) connections() []Connection {
	for n := range d.Connections {
		if d.Connections[n].Name == "" {
			if n == 0 {
				return []Connection{{
					Connected: d.Connected, Primary: d.PeerPrimary, SplitBrain: d.SplitBrain, DiskLost: d.PeerDiskLost,
					DisconnectReason: d.DisconnectReason,
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

// findConnection finds one by its name; one that is gone is not connected.
func findConnection(list []Connection, name string) Connection {
	for _, c := range list {
		if c.Name == name {
			return c
		}
	}
	return Connection{Name: name, DisconnectReason: "no connection"}
}

func sameRoles(a, b []Connection) bool {
	if len(a) != len(b) {
		return false
	}
	for _, c := range a {
		if now := findConnection(b, c.Name); now.Connected != c.Connected || now.Primary != c.Primary {
			return false
		}
	}
	return true
}

// outsideCluster reports whether a connection is to a node that is no peer in the cluster: a copy for disaster
// recovery, or a tiebreaker without a disk. That is known once another connection bears the name of a peer.
func (s *State) outsideCluster(d *Drbd, name string) bool {
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

func (s *State) peerDiskLost(d *Drbd) bool {
	for _, c := range d.connections() {
		if c.DiskLost && !s.outsideCluster(d, c.Name) {
			return true
		}
	}
	return false
}

// SplitBrain reports whether DRBD has a split brain with a peer of the cluster, or with nobody knows whom.
func (s *State) SplitBrain() bool {
	elsewhere := false
	for _, c := range s.Drbd.connections() {
		if c.SplitBrain && !s.outsideCluster(&s.Drbd, c.Name) {
			return true
		}
		elsewhere = elsewhere || c.SplitBrain
	}
	return s.Drbd.SplitBrain && !elsewhere
}

// PeersConnected reports whether DRBD is connected to every peer of the cluster that it has a connection to, and to one
// at least.
func (s *State) PeersConnected() bool {
	some := false
	for _, c := range s.Drbd.connections() {
		if s.outsideCluster(&s.Drbd, c.Name) {
			continue
		}
		if !c.Connected {
			return false
		}
		some = true
	}
	return some
}

// ConnectedPeer returns the name of a peer of the cluster that DRBD is connected to, the Primary if it is one of
// several.
// ok is false when there is none.
func (s *State) ConnectedPeer() (name string, ok bool) {
	for _, c := range s.Drbd.connections() {
		if c.Connected && (c.Primary || !ok) && !s.outsideCluster(&s.Drbd, c.Name) {
			name, ok = c.Name, true
		}
	}
	return name, ok
}

// recordDemotion keeps when DRBD said over a live connection that the peer is not Primary, and whether it was until
// then.
func (s *State) recordDemotion(now Time, c Connection, was bool) {
	slot := -1
	for i, d := range s.Peers.demotions {
		if d.known && d.name == c.Name {
			if c.Primary {
				s.Peers.demotions[i] = demotion{}
			}
			return
		}
		if slot < 0 && !d.known {
			slot = i
		}
	}
	if c.Primary || c.RoleUnknown || slot < 0 {
		return
	}
	s.Peers.demotions[slot] = demotion{name: c.Name, known: true, at: now, promotion: s.promotionOf(c.Name),
		unseen: was || !s.Poll.everSucceeded}
}

// connectionsChanged takes in which connections have gone since, which are back, and which show a peer promoted once
// more. No look may show that before it is gone again: then a fencing from before does not tell that it is off.
func (s *State) connectionsChanged(now Time, old, is []Connection) {
	for i := range s.Peers.demotions {
		if d := &s.Peers.demotions[i]; d.known && findConnection(old, d.name).Connected &&
			!findConnection(is, d.name).Connected {
			d.disconnectedAt = now
		}
	}
	for _, was := range old {
		if f := s.fencingOf(s.peerOfConnection(was.Name)); f != nil && was.Connected &&
			!findConnection(is, was.Name).Connected {
			f.disconnected = true
		}
	}
	for _, c := range is {
		was := findConnection(old, c.Name)
		promoted := c.Connected && c.Primary && (!was.Connected || !was.Primary)
		if promoted || c.Connected && !was.Connected {
			// What is only said again is as old as it was.
			s.connectionRestored(now, c)
		}
		if l := s.lostPeer(s.peerOfConnection(c.Name)); l != nil && promoted {
			l.Fenced = false
		}
	}
}

// streamRestarted takes in what the stream says first. While it was down each connection may have gone and come back.
// Who is lost and was fenced just before stays so: its connection lives on for seconds.
func (s *State) streamRestarted(now Time, is []Connection) {
	for i := range s.Peers.fencing {
		f := &s.Peers.fencing[i]
		f.mayHaveReturned = f.mayHaveReturned || f.reconnected && now-f.seenAt > earlyFenceWindow
		f.disconnected = !f.unseen || !s.connected(f.name)
	}
	for _, c := range is {
		s.connectionRestored(now, c)
	}
}

// connectionRestored takes in a connection that DRBD has lost since the last look, or may have, and has again. The peer
// may have been fenced meanwhile; when it is promoted and that look was long ago, it was promoted since.
func (s *State) connectionRestored(now Time, c Connection) {
	f := s.fencingOf(s.peerOfConnection(c.Name))
	if f == nil || !f.disconnected || !c.Connected {
		return
	}
	f.reconnected, f.reconnectedAt = true, now
	if c.Primary && now-f.seenAt > earlyFenceWindow {
		f.mayHaveReturned = true
		if l := s.lostPeer(f.name); l != nil {
			l.Fenced = false
		}
	}
}

// connected reports whether DRBD says that it is connected to the peer.
func (s *State) connected(name string) bool {
	for _, c := range s.Drbd.connections() {
		if c.Connected && s.peerOfConnection(c.Name) == name {
			return s.Drbd.Live
		}
	}
	return false
}

// peerOfConnection is the peer of the cluster with this connection; one that is none keeps the connection's name.
func (s *State) peerOfConnection(connection string) string {
	if len(s.Drbd.connections()) != 1 {
		return connection
	}
	switch { // DRBD 8.4 calls its only peer "peer"
	case s.Cluster.PeerCount == 1:
		return s.Cluster.Peers[0].Name
	case s.Cluster.PeerCount == 0 && s.Peers.fencing[0].name != "" && s.Peers.fencing[1].name == "":
		return s.Peers.fencing[0].name // no look yet
	default:
		return connection
	}
}

// promotionOf is the promote operation of the peer with this connection in the last look.
func (s *State) promotionOf(connection string) string {
	name := s.peerOfConnection(connection)
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
	for i := range s.Peers.demotions {
		d := &s.Peers.demotions[i]
		if d.known && (d.name == p.Name || only && (d.name == list[0].Name || list[0].Name == "")) {
			return d
		}
	}
	return nil
}

// departedCleanly reports whether a peer that is gone and clean was demoted before it went: DRBD said so over a live
// connection. Nobody fences such a peer, although two looks may show it promoted and then gone, with nothing between.
func (s *State) departedCleanly(now Time, p Peer) bool {
	return !p.Online && !p.Unclean && s.demotionOf(p) != nil && s.Drbd.Live && now-s.Drbd.At <= MaxDrbdAge
}

// forgetDemotion forgets that a peer was demoted once a look shows that it was promoted since: by another operation, or
// long after. DRBD tells a promotion and its end at once, Pacemaker a while later: what the first look after the end
// shows has ended, if it began with the connection as it was.
func (s *State) forgetDemotion(look Time, p Peer) {
	d := s.demotionOf(p)
	switch {
	case d == nil:
	case !p.Promoted:
		d.unseen = d.unseen && look < d.at
	case look-d.at > demotionDelay:
		*d = demotion{}
	case d.unseen && (s.connected(p.Name) || look < d.disconnectedAt):
		d.unseen, d.promotion = look < d.at, p.Promotion
	case p.Promotion != d.promotion && p.Promotion != "":
		*d = demotion{}
	}
}
