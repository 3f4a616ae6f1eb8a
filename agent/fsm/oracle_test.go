package fsm

import (
	"flag"
	"fmt"
	"os"
	"reflect"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestMain makes rapid thorough by default: a walk takes half a millisecond.
func TestMain(m *testing.M) {
	flag.Parse()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "rapid.checks" })
	if !given {
		if err := flag.Set("rapid.checks", "2000"); err != nil {
			panic(err)
		}
	}
	os.Exit(m.Run())
}

// oracle says again, in other words and from the events alone, what the core may do.
type oracle struct {
	cfg      Config
	cluster  Cluster // the last look, successful or not
	drbd     Drbd
	pg       Postgres
	lastRead Read
	stalled  Time // until
	paused   Time
	unfenced map[string]bool // lost while promoted, and not fenced since
	prior    map[string]Peer // of the last successful look
	fenced   map[FenceID]bool
	follows  map[string]bool // peers whose history has been seen
	kept     bool            // what was known before the start is in fenced
	early    map[string]Time // when a fencing of a member came up
	demoted  map[string]Time // since when DRBD, connected to it, has said that the peer is not Primary
	claim    string          // promotion that the core believes in
	mine     uint64          // epoch of its accepted claim
	ours     bool            // its claim was accepted
	taken    bool            // and then somebody else's was read
}

func (o *oracle) restart(kept bool) {
	o.cluster, o.drbd, o.pg, o.lastRead, o.stalled = Cluster{}, Drbd{}, Postgres{}, Read{}, 0
	o.prior, o.follows, o.early, o.demoted = map[string]Peer{}, map[string]bool{}, map[string]Time{}, map[string]Time{}
	if o.kept = kept; !kept {
		o.unfenced, o.fenced = map[string]bool{}, map[FenceID]bool{}
	}
}

// news reports whether the history holds a fencing that was never seen before.
func (o *oracle) news(now Time, p Peer, was Peer) bool {
	member := p.Online && !p.Unclean
	fresh := p.Fenced != 0 && !o.fenced[p.Fenced]
	first := !o.follows[p.Name]
	o.follows[p.Name] = true
	if fresh {
		o.fenced[p.Fenced] = true
		delete(o.early, p.Name)
		if member && !first {
			o.early[p.Name] = now
		}
	}
	if !first && member && (!was.Online || was.Unclean) {
		delete(o.early, p.Name)
	}
	return fresh && (!first || o.kept)
}

// says is what DRBD says of the peer: by name, or of its only connection.
func (o *oracle) says(name string) Connection {
	if o.drbd.Connections[0].Name == "" {
		return Connection{Connected: o.drbd.Connected, Primary: o.drbd.PeerPrimary, SplitBrain: o.drbd.SplitBrain}
	}
	for _, c := range o.drbd.Connections {
		if c.Name == name {
			return c
		}
	}
	return Connection{}
}

func (o *oracle) learn(now Time, ev Event) {
	switch e := ev.(type) {
	case ClusterPolled:
		o.cluster = e.Cluster
		if !e.Cluster.OK {
			return
		}
		for _, p := range e.Cluster.Peers[:e.Cluster.PeerCount] {
			was, known := o.prior[p.Name]
			if since, told := o.demoted[p.Name]; told && p.Promoted && e.Cluster.At-since > 10*time.Second {
				delete(o.demoted, p.Name) // it was promoted again
			}
			seen, early := o.early[p.Name]
			early = early && now-seen <= 30*time.Second
			fresh := o.news(now, p, was)
			switch _, demoted := o.demoted[p.Name]; {
			case p.Online && !p.Unclean:
				delete(o.unfenced, p.Name)
			case o.unfenced[p.Name]:
				o.unfenced[p.Name] = !fresh
			case known && was.Online && !was.Unclean && (was.Promoted || was.ChangingRole):
				orderly := !p.Online && !p.Unclean && demoted && o.drbd.Live && now-o.drbd.At <= time.Minute
				o.unfenced[p.Name] = !orderly && !fresh && !early
			case known && p.Unclean && p.Promoted:
				o.unfenced[p.Name] = !fresh && !early
			}
		}
		o.prior = map[string]Peer{}
		for _, p := range e.Cluster.Peers[:e.Cluster.PeerCount] {
			o.prior[p.Name] = p
		}
	case DrbdChanged:
		o.drbd = e.Drbd
		for _, name := range []string{peer, "pg-c", "pg-d"} {
			switch _, told := o.demoted[name]; {
			case !e.Drbd.Live:
				delete(o.demoted, name)
			case !o.says(name).Connected:
			case o.says(name).Primary:
				delete(o.demoted, name)
			case !told:
				o.demoted[name] = now
			}
		}
	case PostgresProbed:
		o.pg = e.Postgres
	case Stalled:
		o.cluster.OK, o.stalled = false, now+15*time.Second
	case Paused:
		o.paused = e.Until
	case Read:
		if e.Reason != "" && !e.Zone.Refused {
			return // the last successful one counts
		}
		o.lastRead = e
		z := e.Zone
		if o.claim == "" || !z.OK || !o.cfg.Ownership {
			return
		}
		if z.Claim == o.claim {
			o.ours, o.mine = true, z.Epoch
		} else if o.ours && z.Owner != "" && z.Owner != o.cfg.Node && z.Epoch > o.mine {
			o.taken = true
		}
	}
}

// mayPublish is section 3 of the design, as one sentence after the other.
func (o *oracle) mayPublish(now Time) error {
	c, d := o.cluster, o.drbd
	if !c.OK || now-c.At > 5*time.Second {
		return fmt.Errorf("crm_mon not fresh")
	}
	if !c.Online || c.Unclean || c.Standby || c.Pending {
		return fmt.Errorf("node not well")
	}
	if c.Maintenance || c.ActionPending {
		return fmt.Errorf("maintenance, or a pending action")
	}
	if !c.PromotedHere || c.PromotedCount != 1 || c.PromotedPeer != "" {
		return fmt.Errorf("not the one promoted instance")
	}
	if c.TooMany || c.PeerCount == 0 {
		return fmt.Errorf("peers not known")
	}
	for i := range c.PeerCount {
		p := c.Peers[i]
		wellBehaved := p.Online && !p.Promoted && !p.Unclean
		gone := !p.Online && !p.Unclean && !p.Promoted
		if !wellBehaved && !gone {
			return fmt.Errorf("%s is neither online and unpromoted, nor offline and clean", p.Name)
		}
		if gone && o.unfenced[p.Name] && c.FencingEnabled {
			return fmt.Errorf("%s lost while promoted and not fenced", p.Name)
		}
	}
	if !d.Live || now-d.At > time.Minute || !d.Primary || !d.UpToDate || d.Suspended || d.NoQuorum ||
		o.says(peer).SplitBrain {
		return fmt.Errorf("DRBD")
	}
	if o.cfg.PublishWritable && (!o.pg.Writable || now-o.pg.At > 5*time.Second) {
		return fmt.Errorf("PostgreSQL")
	}
	if now < o.stalled || now < o.paused {
		return fmt.Errorf("stalled or paused")
	}
	return nil
}

// walk feeds a State and checks every step.
type walk struct {
	t             *rapid.T
	nonsense      bool
	named         bool // DRBD's connections have names
	cfg           Config
	now           Time
	st            State
	o             oracle
	z             zone
	flying        map[string]Action
	reads         map[string]Read // what the reads in flight will say
	saved         Episode
	episodes      map[uint64]Episode
	applied       map[string]int
	promo         int
	facts         Cluster
	kernel        Drbd
	again         bool // an operator asked for another write of the claim
	edited        bool // somebody has edited the address since a write was last made
	repaired      Time // when a claim was last made a second time because of that
	repairedClaim string

	stepped   func(ev Event, actions []Action) // after each step
	restarted func()
}

func kind(a Action) string { return fmt.Sprintf("%T", a) }

func (w *walk) step(ev Event) {
	before := w.st
	after, actions := before.Step(w.now, ev)
	twin, same := before.Step(w.now, ev)
	if after != twin || !reflect.DeepEqual(actions, same) {
		w.t.Fatalf("Step is not deterministic at %T", ev)
	}
	w.st = after
	if w.stepped != nil {
		w.stepped(ev, actions)
	}
	w.o.learn(w.now, ev)
	if _, ok := ev.(Wrote); ok && after.Promotion.Published && !before.Promotion.Published {
		w.o.ours, w.o.mine = true, after.Promotion.Epoch
	}
	if after.Promotion.Claim != w.o.claim {
		// What the record says already may be the new promotion's claim.
		w.o.claim, w.o.ours, w.o.taken, w.o.mine = after.Promotion.Claim, after.Promotion.Published, false,
			after.Promotion.Epoch
		w.again = false
	}
	if after.Next(w.now) <= w.now {
		w.t.Fatalf("after %T the next tick is due at %v, it is %v: a busy loop", ev, after.Next(w.now), w.now)
	}
	if before.Promotion.Contested && after.Promotion.Claim == before.Promotion.Claim && !after.Promotion.Contested {
		w.t.Fatal("a contest ended without a new promotion")
	}
	if e, ok := ev.(Read); ok && e.Reason != "" {
		for _, a := range actions {
			if _, again := a.(ReadRecord); again {
				w.t.Fatal("a read that failed is repeated at once")
			}
		}
	}
	w.checkEpisode(before.Episode, actions)
	for _, a := range actions {
		w.act(a)
	}
	if w.saved != after.Episode {
		w.t.Fatalf("episode not saved:\n%+v\n%+v", w.saved, after.Episode)
	}
}

func (w *walk) act(a Action) {
	switch a := a.(type) {
	case Save:
		if a.Episode.ID < w.saved.ID {
			w.t.Fatal("an older episode saved after a newer one")
		}
		w.saved = a.Episode
		return
	case Cancel:
		if w.flying[kind(Write{})] == nil {
			w.t.Fatal("Cancel without a write in flight")
		}
		return
	case Write:
		if err := w.o.mayPublish(w.now); err != nil {
			w.t.Fatalf("write although: %v", err)
		}
		r := w.o.lastRead
		// Without ownership there is nothing to compare with, and what was written last is as good.
		if w.cfg.Ownership && (!r.Zone.OK || a.Base != r.Zone) || !a.Base.OK {
			w.t.Fatalf("the base is not what was read last:\n%+v\n%+v", a.Base, r.Zone)
		}
		if w.cfg.Ownership && a.Base.Owner != "" && a.Base.Raw == "" ||
			a.NextEpoch != max(a.Base.Epoch, w.st.Promotion.Epoch, w.st.Record.newestEpoch)+1 || a.Claim == "" ||
			a.Claim != w.st.Promotion.Claim ||
			a.Addr != w.st.Config.Addr || a.Addr == "" || a.Decided != w.now {
			w.t.Fatalf("malformed write %+v", a)
		}
		if w.o.taken || w.st.Promotion.Contested {
			w.t.Fatal("write although another node's claim is newer than ours")
		}
		if z := r.Zone; w.o.ours && !w.again && (z.Claim != w.o.claim || z.Addr == w.st.Config.Addr || !w.cfg.Repair) {
			w.t.Fatal("a second claim of one promotion, and the record is not an edited one of ours")
		}
	case ReadRecord:
		w.reads[kind(a)] = w.z.read(w.now)
	}
	if w.flying[kind(a)] != nil {
		w.t.Fatalf("a second %s in flight", kind(a))
	}
	w.flying[kind(a)] = a
}

func (w *walk) checkEpisode(was Episode, actions []Action) {
	e := w.st.Episode
	if e.ID < was.ID || e.ID > was.ID+1 {
		w.t.Fatalf("episode %d after %d", e.ID, was.ID)
	}
	if e.ID != was.ID && was.Open() {
		ended := false
		for _, a := range actions {
			save, ok := a.(Save)
			ended = ended || ok && save.Episode.ID == was.ID && !save.Episode.Open()
		}
		if !ended {
			w.t.Fatalf("episode %d was followed by another, and its end never saved", was.ID)
		}
	}
	if old, seen := w.episodes[e.ID]; seen {
		old.Memory = e.Memory
		if old.Outcome != "" && old != e {
			w.t.Fatalf("an episode changed after its end:\n%+v\n%+v", old, e)
		}
		for p := range NumPhases {
			if old.Seen(p) && old.Stamps[p] != e.Stamps[p] {
				w.t.Fatalf("phase %v changed its time", p)
			}
		}
	}
	for p := range NumPhases {
		if e.Seen(p) && (e.Stamps[p] < e.Start || e.Stamps[p] > w.now) {
			w.t.Fatalf("phase %v at %v, start %v, now %v", p, e.Stamps[p], e.Start, w.now)
		}
	}
	w.episodes[e.ID] = e
}

// drawCluster changes the world a little, or makes nonsense of it.
func (w *walk) drawCluster() Cluster {
	c := &w.facts
	flip := func(name string) bool { return rapid.IntRange(0, 19).Draw(w.t, name) == 0 }
	if w.nonsense {
		flip = func(name string) bool { return rapid.Bool().Draw(w.t, name) }
	}
	p := &c.Peers[0]
	switch rapid.IntRange(0, 9).Draw(w.t, "change") {
	case 0, 1: // promoted here, once more
		w.promo++
		c.PromotedHere, c.PromotedPeer, p.Promoted, c.Promotion = true, "", false, fmt.Sprintf("p%d", w.promo)
		w.kernel.Primary, w.kernel.PeerPrimary = true, false
	case 2: // promoted there
		c.PromotedHere, c.Promotion = false, ""
		c.PromotedPeer, p.Promoted, p.Online, p.Unclean = peer, true, true, false
		w.kernel.Primary, w.kernel.PeerPrimary = false, true
	case 3: // peer lost
		p.Online, p.Unclean = false, rapid.Bool().Draw(w.t, "unclean")
		w.kernel.Connected = false
	case 4: // fenced
		p.Fenced++
		p.Online, p.Unclean, p.Promoted, c.PromotedPeer = false, false, false, ""
	case 5: // back
		*p = Peer{Name: peer, Online: true, Fenced: p.Fenced}
		c.PromotedPeer, w.kernel.Connected = "", true
	case 6: // history erased
		c.Promotion = ""
	case 7: // demoted
		c.PromotedHere, c.Promotion, w.kernel.Primary = false, "", false
	}
	c.PromotedCount = 0
	if c.PromotedHere {
		c.PromotedCount++
	}
	if p.Promoted {
		c.PromotedCount++
	}
	out := *c
	for name, f := range map[string]*bool{"online": &out.Online} {
		*f = *f != flip(name)
	}
	for _, f := range []*bool{
		&out.Unclean, &out.Standby, &out.Pending, &out.Maintenance, &out.ActionPending, &out.Promoting, &out.FilesystemHere,
		&out.OperatorMove,
		&out.PeerFailed, &out.TooMany, &out.Peers[0].Fencing, &out.Peers[0].Unclean, &out.Peers[0].ChangingRole,
	} {
		*f = *f != flip("flip")
	}
	if flip("fencing") {
		out.FencingEnabled = false
	}
	if w.nonsense {
		out.PromotedCount = rapid.IntRange(0, 3).Draw(w.t, "count")
		out.PeerCount = rapid.IntRange(0, MaxPeers).Draw(w.t, "peers")
		out.PromotedHere = flip("here")
		if flip("fenced") {
			out.Peers[0].Fenced = rapid.Custom(func(t *rapid.T) FenceID {
				return FenceID(rapid.IntRange(0, 3).Draw(t,
					"id"))
			}).Draw(w.t, "fencedAt")
		}
	}
	out.OK = rapid.IntRange(0, 9).Draw(w.t, "ok") != 0
	return out
}

func (w *walk) drawDrbd() Drbd {
	d := w.kernel
	d.At = w.now
	flip := []*bool{&d.Live, &d.Primary, &d.UpToDate, &d.Suspended, &d.NoQuorum, &d.SplitBrain, &d.Connected,
		&d.PeerPrimary}
	if w.named { // with names, a third node that is no member of the cluster changes nothing
		d.Connections[0] = Connection{Name: peer, Connected: d.Connected, Primary: d.PeerPrimary}
		d.Connections[1] = Connection{Name: "dr", Connected: rapid.Bool().Draw(w.t, "dr"),
			SplitBrain: rapid.Bool().Draw(w.t, "dr split")}
		link := &d.Connections[0]
		flip = append(flip, &link.Connected, &link.Primary, &link.SplitBrain)
	}
	for _, f := range flip {
		odds := 29
		if w.nonsense {
			odds = 1
		}
		*f = *f != (rapid.IntRange(0, odds).Draw(w.t, "flip") == 0)
	}
	return d
}

// land ends one task in flight in some way.
func (w *walk) land(k string) {
	a := w.flying[k]
	delete(w.flying, k)
	began := max(1, w.now-rapid.SampledFrom([]time.Duration{0, time.Second, 4 * time.Second, 6 * time.Second}).Draw(w.t,
		"age"))
	reason := ""
	if rapid.IntRange(0, 3).Draw(w.t, "fails") == 0 {
		reason = rapid.SampledFrom([]string{"throttled", "timeout", "guard"}).Draw(w.t, "reason")
	}
	switch a := a.(type) {
	case PollCluster:
		c := w.drawCluster()
		c.At = began
		w.step(ClusterPolled{c})
	case ProbePostgres:
		w.step(PostgresProbed{Postgres{At: began, Accepting: rapid.Bool().Draw(w.t, "accepting"),
			Writable: rapid.Bool().Draw(w.t, "writable")}})
	case ReadRecord:
		r := w.reads[k]
		if reason != "" {
			r = Read{Zone: Zone{At: w.now}, Reason: reason}
		}
		w.step(r)
	case PollChange:
		w.step(ChangePolled{InSync: reason == "" && rapid.Bool().Draw(w.t, "insync"), Reason: reason})
	case Resolve:
		addr := rapid.SampledFrom([]string{"", myAddr, peerAddr}).Draw(w.t, "addr")
		w.step(ResolvedName{Resolved{At: began, OK: reason == "", Addr: addr}})
	case ProbeClient:
		down := rapid.Bool().Draw(w.t, "down")
		v := ClientProbed{Down: down}
		if !down && rapid.Bool().Draw(w.t, "gap") {
			v.Outage = Outage{From: began, To: w.now}
		}
		w.step(v)
	case Write:
		w.landWrite(a, reason)
	}
}

func (w *walk) landWrite(a Write, reason string) {
	switch reason {
	case "guard":
		w.step(Wrote{Reason: "guard"})
	case "throttled":
		w.step(Wrote{Reason: reason, Sent: true})
	case "timeout":
		if rapid.Bool().Draw(w.t, "made") {
			w.count(a, w.z.write(w.now, me, a))
		}
		w.step(Wrote{Reason: reason, Sent: true, OutcomeUnknown: true})
	default:
		e := w.z.write(w.now, me, a)
		w.count(a, e)
		w.step(e)
	}
}

func (w *walk) count(a Write, e Wrote) {
	if e.Reason != "" {
		return
	}
	w.applied[a.Claim]++
	if w.cfg.Ownership && w.applied[a.Claim] > 1 && !w.again {
		if !w.edited || w.repaired != 0 && w.repairedClaim == a.Claim && w.now-w.repaired < 10*time.Minute {
			w.t.Fatalf("claim %s was made %d times, the last time %v ago", a.Claim, w.applied[a.Claim], w.now-w.repaired)
		}
		w.repaired, w.repairedClaim = w.now, a.Claim
	}
	w.edited = false
}

func (w *walk) run() {
	for range rapid.IntRange(1, 120).Draw(w.t, "steps") {
		if w.now += rapid.SampledFrom([]time.Duration{0, time.Millisecond, 300 * time.Millisecond, time.Second,
			6 * time.Second, 70 * time.Second}).Draw(w.t, "dt"); w.now >= w.st.Next(w.now) {
			w.step(Tick{})
		}
		switch rapid.IntRange(0, 26).Draw(w.t, "what") {
		case 0:
			w.step(Hint{Promotion: rapid.Bool().Draw(w.t, "promotion")})
		case 1, 2, 3, 4:
			w.step(DrbdChanged{w.drawDrbd()})
		case 5:
			w.step(Stalled{})
		case 6:
			w.step(Paused{w.now + rapid.SampledFrom([]time.Duration{-1, 5 * time.Second}).Draw(w.t, "pause")})
		case 7:
			w.step(AddressKnown{myAddr})
		case 8:
			if rapid.IntRange(0, 3).Draw(w.t, "republish") == 0 {
				w.again = true
				w.step(Republish{})
			}
		case 9:
			if rapid.IntRange(0, 3).Draw(w.t, "restart") == 0 {
				w.restart()
			}
		case 10:
			w.z.set(w.now, peerAddr, w.z.epoch+1, peer, fmt.Sprintf("foreign%d", w.z.epoch))
		case 11:
			w.z.alias = !w.z.alias
		case 13:
			w.step(Recheck{})
		case 12:
			w.z.addr, w.edited = rapid.SampledFrom([]string{"", "10.9.9.9"}).Draw(w.t, "edit"), true
		default:
			if len(w.flying) == 0 {
				continue
			}
			for _, a := range []Action{PollCluster{}, Write{}, ReadRecord{}, ProbePostgres{}, PollChange{}, Resolve{},
				ProbeClient{}} {
				if w.flying[kind(a)] != nil && rapid.Bool().Draw(w.t, "land "+kind(a)) {
					w.land(kind(a))
				}
			}
		}
	}
}

// restart loses the memory of the process; what it sent may still be made.
func (w *walk) restart() {
	if a, ok := w.flying[kind(Write{})].(Write); ok && rapid.Bool().Draw(w.t, "made") {
		w.count(a, w.z.write(w.now, me, a))
	}
	w.flying = map[string]Action{}
	paused := w.st.Wait.PausedUntil
	w.st = New(w.cfg, uint64(w.now), w.saved, true)
	w.st.Wait.PausedUntil = paused
	if w.restarted != nil {
		w.restarted()
	}
	w.o.restart(w.saved.ID != 0)
	w.o.claim, w.o.ours, w.o.mine, w.o.taken = w.st.Promotion.Claim, w.st.Promotion.Published, w.st.Promotion.Epoch,
		w.st.Promotion.Contested
	w.again = w.again || w.st.Promotion.Published // what a half-done republish did is known only after the next read
	w.step(Tick{})
}

func newWalk(t *rapid.T) *walk {
	cfg := testConfig()
	cfg.PublishWritable, cfg.ProbeClient = rapid.Bool().Draw(t, "publishWritable"), rapid.Bool().Draw(t, "view")
	cfg.Ownership = rapid.IntRange(0, 4).Draw(t, "ownership") != 0
	cfg.Repair = rapid.Bool().Draw(t, "repair")
	if rapid.IntRange(0, 4).Draw(t, "address") == 0 {
		cfg.Addr = ""
	}
	w := &walk{
		t: t, nonsense: rapid.IntRange(0, 3).Draw(t, "nonsense") == 0, named: rapid.Bool().Draw(t, "named"), cfg: cfg,
		now:    boot,
		flying: map[string]Action{}, reads: map[string]Read{}, episodes: map[uint64]Episode{}, applied: map[string]int{},
		facts:  Cluster{OK: true, Online: true, FencingEnabled: true, PeerCount: 1},
		kernel: Drbd{Live: true, UpToDate: true, Connected: true},
	}
	for i, name := range []string{peer, "pg-c", "pg-d"} {
		w.facts.Peers[i] = Peer{Name: name, Online: true}
	}
	w.z = zone{ownership: cfg.Ownership, addr: peerAddr, epoch: 4, owner: peer, claim: "old"}
	if !cfg.Ownership || rapid.Bool().Draw(t, "unowned") {
		w.z.owner, w.z.epoch, w.z.claim = "", 0, ""
	}
	w.st = New(cfg, 1, Episode{}, false)
	w.o.cfg = cfg
	w.o.restart(false)
	w.step(Tick{})
	return w
}

func TestRandomWalksObeyTheDesign(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) { newWalk(t).run() })
}

// FuzzWalk lets the fuzzer choose the walk.
func FuzzWalk(f *testing.F) {
	f.Fuzz(rapid.MakeFuzz(func(t *rapid.T) { newWalk(t).run() }))
}

// TestAPromotionStaysWithinItsBudget runs failovers in which nothing fails, at random speeds.
func TestAPromotionStaysWithinItsBudget(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		script := "+0s agent starts\n"
		at := 30 * time.Second
		for _, line := range []string{
			"drbd connection lost", "crm peer offline unclean", "crm peer fencing", "crm peer fenced", "drbd primary",
			"crm promoting", "crm promoted",
			"alert promote", "crm filesystem", "pg accepting", "pg writable",
		} {
			script += fmt.Sprintf("+%v %s\n", at, line)
			at += time.Duration(rapid.IntRange(0, 5000).Draw(t, "ms")) * time.Millisecond
		}
		s := newStory()
		s.a.cfg.DriftEvery = 24 * time.Hour
		s.a.cfg.PublishWritable = rapid.Bool().Draw(t, "publishWritable")
		lag := time.Duration(rapid.IntRange(1, 900).Draw(t, "lag")) * time.Millisecond
		s.a.lag = func(string) time.Duration { return lag }
		reads, writes, polls := 0, 0, 0
		s.a.seen = func(_ Event, _ State, actions []Action) {
			if s.k.now < boot+30*time.Second {
				return // what the start costs
			}
			for _, a := range actions {
				switch a.(type) {
				case ReadRecord:
					reads++
				case Write:
					writes++
				case PollChange:
					polls++
				}
			}
		}
		if err := s.play(script); err != nil {
			t.Fatal(err)
		}
		s.runUntil(s.k.now + 5*time.Minute)
		if reads > 2 || writes != 1 || polls < 1 || polls > MaxPolls {
			t.Fatalf("%d reads, %d writes, %d polls", reads, writes, polls)
		}
		if s.z.owner != me || s.a.st.Episode.Outcome != OutcomeComplete {
			t.Fatalf("record of %s, episode %+v", s.z.owner, s.a.st.Episode)
		}
	})
}
