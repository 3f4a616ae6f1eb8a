package drbd

import (
	"bytes"
	"time"
)

// apply is the work of one line.
type apply struct {
	f          *Folder
	s          *state
	now        time.Time
	ev         *Event
	statistics bool // only counters, only of objects that exist
	changed    bool

	name, newName, conn, local, peer, helper []byte
	node, volume, minor                      int // -1 when not printed
}

// identify reads the fields that say which object is meant, and reports whether they suffice.
func (a *apply) identify() bool {
	a.node, a.volume, a.minor = -1, -1, -1
	for _, fd := range a.ev.Fields {
		switch fd.Key {
		case KeyName:
			a.name = fd.Value
		case KeyNewName:
			a.newName = fd.Value
		case KeyConnName:
			a.conn = fd.Value
		case KeyLocal:
			a.local = fd.Value
		case KeyPeer:
			a.peer = fd.Value
		case KeyHelper:
			a.helper = fd.Value
		case KeyPeerNodeID:
			a.node = a.number(fd.Value)
		case KeyVolume:
			a.volume = a.number(fd.Value)
		case KeyMinor:
			a.minor = a.number(fd.Value)
		case KeyUnknown:
			a.f.counters.UnknownKeys++
		}
	}
	if len(a.name) == 0 {
		return false
	}
	conn := a.node >= 0 || len(a.conn) > 0
	switch a.ev.Object {
	case ObjectDevice:
		if a.volume < 0 { // an edited recording may name the minor alone
			r := a.s.resource(a.name)
			return r != nil && r.device(-1, a.minor) != nil
		}
		return true
	case ObjectConnection:
		return conn
	case ObjectPeerDevice:
		return conn && a.volume >= 0
	case ObjectPath:
		return conn && (len(a.local) > 0 || len(a.peer) > 0)
	case ObjectHelper:
		return len(a.helper) > 0
	}
	return a.ev.Verb != VerbRename || len(a.newName) > 0
}

func (a *apply) number(b []byte) int {
	n, ok := parseUint(b)
	if !ok || n > 1<<30 {
		a.f.counters.UnknownValues++
		return -1
	}
	return int(n)
}

func (a *apply) run() {
	switch a.ev.Verb {
	case VerbDestroy:
		a.destroy()
		return
	case VerbRename:
		if a.ev.Object == ObjectResource {
			a.rename()
		}
		return
	}
	r := a.s.resource(a.name)
	if r == nil {
		// The answer of a helper may come after its resource was destroyed.
		if a.statistics || a.ev.Verb == VerbResponse {
			return
		}
		name := string(a.name)
		r = &resource{Resource: Resource{Name: name, Role: RoleUnknown, PromotionScore: -1}}
		a.s.resources[name] = r
		a.changed = true
	}
	switch a.ev.Object {
	case ObjectResource:
		a.resource(r)
	case ObjectDevice:
		a.device(r)
	case ObjectHelper:
		a.helperCall(r)
	default:
		if c := a.connection(r); c != nil {
			a.perConnection(r, c)
		}
	}
}

func (a *apply) perConnection(r *resource, c *connection) {
	switch a.ev.Object {
	case ObjectConnection:
		a.connectionFields(c)
		if c.State == ConnStandAlone && a.ev.Verb == VerbExists && a.f.next != nil {
			a.note(set(&c.suspected, true))
		}
		a.note(a.f.latches.compared(r.Name, c))
	case ObjectPeerDevice:
		p := c.peers.byKey[a.volume]
		if p == nil {
			if a.statistics {
				return
			}
			p = &peerDevice{
				PeerDevice: PeerDevice{Volume: a.volume, Replication: ReplUnknown, PeerDisk: DiskUnknown,
					Done: -1, RateBytesPerSec: -1, ETA: -1},
				progress: progress{moved: a.now, toldDone: c.Name != onlyPeer},
			}
			c.peers.put(a.volume, p)
			a.changed = true
		}
		before := p.replicates()
		a.peerDevice(p)
		c.replicating += one(p.replicates()) - one(before)
		a.note(a.f.latches.compared(r.Name, c))
	case ObjectPath:
		a.path(c)
	}
}

func (a *apply) note(changed bool) {
	if changed {
		a.changed = true
	}
}

func one(is bool) int {
	if is {
		return 1
	}
	return 0
}

// onlyPeer is what drbdsetup of 8.4 calls the only peer there is. It leaves the name out in a dump of a connection that
// was given up.
const onlyPeer = "peer"

// connection finds or makes the connection of a line.
func (a *apply) connection(r *resource) *connection {
	c := r.connection(a.node, a.conn)
	if c == nil {
		if a.statistics {
			return nil
		}
		name := string(a.conn)
		if name == "" && a.node <= 0 {
			name = onlyPeer
		}
		c = &connection{Connection: Connection{
			PeerNodeID: a.node, Name: name, State: ConnUnknown, PeerRole: RoleUnknown,
		}}
		r.addConnection(c)
		a.changed = true
	}
	if len(a.conn) > 0 && !a.statistics && c.Name != string(a.conn) {
		c.Name = string(a.conn)
		r.addConnection(c)
		a.changed = true
	}
	if a.node >= 0 && c.PeerNodeID != a.node {
		r.conns.remove(c.key())
		c.PeerNodeID = a.node
		r.addConnection(c)
		a.changed = true
	}
	return c
}

func (a *apply) resource(r *resource) {
	if a.statistics {
		return
	}
	for _, fd := range a.ev.Fields {
		switch fd.Key {
		case KeyRole:
			word(a, &r.Role, roleWords, fd.Value)
		case KeySuspended:
			a.reasons(&r.Suspended, &r.SuspendedKnown, fd.Value)
		case KeyMayPromote:
			a.tri(&r.MayPromote, fd.Value)
		case KeyPromotionScore:
			if n, ok := parseUint(fd.Value); ok && n < maxCounter {
				a.note(set(&r.PromotionScore, int64(n)))
			} else {
				a.f.counters.UnknownValues++
			}
		}
	}
}

func (a *apply) device(r *resource) {
	d := r.device(a.volume, a.minor)
	if d == nil {
		if a.statistics {
			return
		}
		d = &Device{Volume: a.volume, Minor: -1, Disk: DiskUnknown}
		r.devices.put(a.volume, d)
		a.changed = true
	}
	if a.minor >= 0 && !a.statistics && set(&d.Minor, a.minor) {
		r.minors.add(d.Minor, d.Volume)
		a.changed = true
	}
	for _, fd := range a.ev.Fields {
		switch {
		case fd.Key >= KeySize && fd.Key <= KeyALSuspended:
			if d.Stats == nil {
				d.Stats = &DeviceStats{}
				a.changed = true
			}
			a.deviceStat(d.Stats, fd)
		case a.statistics:
		case fd.Key == KeyDisk:
			word(a, &d.Disk, diskWords, fd.Value)
		case fd.Key == KeyBackingDev:
			if string(fd.Value) == "none" {
				fd.Value = nil
			}
			a.text(&d.BackingDev, fd.Value)
		case fd.Key == KeyClient:
			a.tri(&d.Client, fd.Value)
		case fd.Key == KeyOpen:
			a.tri(&d.Open, fd.Value)
		case fd.Key == KeyQuorum:
			a.tri(&d.Quorum, fd.Value)
		}
	}
}

func (a *apply) deviceStat(s *DeviceStats, fd Field) {
	switch fd.Key {
	case KeySize:
		a.counter(&s.SizeBytes, fd.Value, 1024)
	case KeyRead:
		a.counter(&s.ReadBytes, fd.Value, 1024)
	case KeyWritten:
		a.counter(&s.WrittenBytes, fd.Value, 1024)
	case KeyALWrites:
		a.counter(&s.ALWrites, fd.Value, 1)
	case KeyBMWrites:
		a.counter(&s.BMWrites, fd.Value, 1)
	case KeyUpperPending:
		a.counter(&s.UpperPending, fd.Value, 1)
	case KeyLowerPending:
		a.counter(&s.LowerPending, fd.Value, 1)
	case KeyALSuspended:
		a.tri(&s.ALSuspended, fd.Value)
	}
}

func (a *apply) connectionFields(c *connection) {
	for _, fd := range a.ev.Fields {
		switch fd.Key {
		case KeyAPInFlight: // 512-byte sectors, unlike everything else (drbdsetup.c prints them raw)
			a.counter(&c.APInFlightBytes, fd.Value, 512)
			a.note(set(&c.StatsKnown, true))
		case KeyRSInFlight:
			a.counter(&c.RSInFlightBytes, fd.Value, 512)
		case KeyCongested:
			a.tri(&c.Congested, fd.Value)
		case KeyConnection:
			if !a.statistics {
				word(a, &c.State, connectionWords, fd.Value)
			}
		case KeyRole:
			if !a.statistics {
				word(a, &c.PeerRole, roleWords, fd.Value)
			}
		}
	}
}

func (a *apply) path(c *connection) {
	if a.statistics {
		return
	}
	p := c.paths.byKey[pathKey{string(a.local), string(a.peer)}]
	if p == nil {
		p = &Path{Local: string(a.local), Peer: string(a.peer)}
		c.paths.put(pathKey{p.Local, p.Peer}, p)
		a.changed = true
	}
	for _, fd := range a.ev.Fields {
		if fd.Key == KeyEstablished {
			a.tri(&p.Established, fd.Value)
		}
	}
}

func (a *apply) destroy() {
	r := a.s.resource(a.name)
	if r == nil {
		return
	}
	if a.ev.Object == ObjectResource {
		delete(a.s.resources, r.Name)
		a.changed = true
		return
	}
	if a.ev.Object == ObjectDevice {
		if d := r.device(a.volume, a.minor); d != nil {
			r.devices.remove(d.Volume)
			a.changed = true
		}
		return
	}
	c := r.connection(a.node, a.conn)
	if c == nil {
		return
	}
	switch a.ev.Object {
	case ObjectConnection:
		r.conns.remove(c.key())
		a.changed = true
	case ObjectPeerDevice:
		if p := c.peers.byKey[a.volume]; p != nil {
			c.replicating -= one(p.replicates())
			c.peers.remove(a.volume)
			a.changed = true
		}
	case ObjectPath:
		a.note(c.paths.remove(pathKey{string(a.local), string(a.peer)}))
	}
}

func (a *apply) rename() {
	r := a.s.resource(a.name)
	if r == nil || bytes.Equal(a.name, a.newName) {
		return
	}
	from, to := r.Name, string(a.newName)
	delete(a.s.resources, from)
	r.Name = to
	a.s.resources[to] = r
	a.f.latches.rename(from, to)
	a.changed = true
}

// Values. Each sets one field, and counts what it does not understand.

func word[T ~string](a *apply, dst *T, w *words, b []byte) {
	i := w.index(b)
	if i == 0 {
		a.f.counters.UnknownValues++
		a.note(set(dst, T(unknownWord)))
		return
	}
	a.note(set(dst, T(w.list[i])))
}

func (a *apply) text(dst *string, b []byte) {
	if *dst != string(b) {
		*dst = string(b)
		a.changed = true
	}
}

func (a *apply) tri(dst *Tri, b []byte) {
	t, ok := parseTri(b)
	if !ok {
		a.f.counters.UnknownValues++
	}
	a.note(set(dst, t))
}

// counter sets a number of units, in base units. One below zero counts as 0, as it was when the kernel's unlocked
// subtraction missed it; one that is no number leaves what was known.
func (a *apply) counter(dst *uint64, b []byte, unit uint64) {
	n, ok := parseUint(b)
	if !ok {
		a.f.counters.UnknownValues++
		return
	}
	if n >= maxCounter {
		a.f.counters.UnknownValues++
		n = 0
	}
	a.note(set(dst, n*unit))
}

// reasons sets a list such as "user,quorum", nil for "no". A reason not known still suspends.
func (a *apply) reasons(dst *[]string, known *bool, b []byte) {
	a.note(set(known, true))
	if string(b) == "no" {
		if *dst != nil {
			*dst, a.changed = nil, true
		}
		return
	}
	same, n := true, 0
	for rest := b; rest != nil; n++ {
		var word []byte
		word, rest = cutComma(rest)
		reason := reasonOf(word)
		if reason == unknownWord {
			a.f.counters.UnknownValues++
		}
		same = same && n < len(*dst) && (*dst)[n] == reason
	}
	if same && n == len(*dst) {
		return
	}
	list := make([]string, 0, n)
	for rest := b; rest != nil; {
		var word []byte
		word, rest = cutComma(rest)
		list = append(list, reasonOf(word))
	}
	*dst, a.changed = list, true
}

func reasonOf(b []byte) string {
	if i := reasonWords.index(b); i > 0 {
		return reasonWords.list[i]
	}
	return unknownWord
}

// cutComma cuts the first part off; the rest is nil after the last.
func cutComma(b []byte) (part, rest []byte) {
	if before, after, ok := bytes.Cut(b, []byte{','}); ok {
		return before, after
	}
	return b, nil
}
