package fsm

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "rewrite the expected traces")

// boot is how long the node has been up when a story starts.
const boot = 1000 * time.Second

const divider = "----\n"

// TestStories runs each testdata/*.txt: lines of "+time what happens", and below the divider what the agent made of it.
// Looks, probes and resolver queries are not shown.
func TestStories(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no stories", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			script, want, _ := strings.Cut(string(text), divider)
			got, err := tell(script)
			if err != nil {
				t.Fatal(err)
			}
			if *update {
				if err := os.WriteFile(file, []byte(script+divider+got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if got != want {
				t.Errorf("trace differs; got:\n%s\nwant:\n%s", got, want)
			}
		})
	}
}

// story is the world of one node, pg-b, as the lines of a script make it.
type story struct {
	k          kernel
	a          *agent
	z          zone
	c          Cluster
	d          Drbd
	pg         Postgres
	client     bool // the service answers a client
	crmOff     bool
	fence      FenceID
	claims     int
	promotions int  // of the peer
	lastOK     Time // of the client
	wasOff     bool
	out        strings.Builder
	holds      Holds
	err        error
}

func tell(script string) (string, error) {
	s := newStory()
	err := s.play(script)
	return s.out.String(), err
}

func newStory() *story {
	s := &story{client: true}
	s.k.now = boot
	s.z = zone{ownership: true, addr: peerAddr, epoch: 4, owner: peer, claim: "a/1", changed: []answer{{1, peerAddr}}}
	s.c = Cluster{OK: true, Online: true, FencingEnabled: true, PromotedCount: 1, PromotedPeer: peer, PeerCount: 1}
	s.c.Peers[0] = Peer{Name: peer, Online: true, Promoted: true, Promotion: "a/1", Fenced: 1}
	s.fence = 1
	s.d = Drbd{Live: true, UpToDate: true}
	s.link(Connection{Connected: true, Primary: true})
	s.a = &agent{
		k: &s.k, cfg: testConfig(), zone: &s.z,
		look: func() Cluster {
			if s.crmOff {
				return Cluster{}
			}
			return s.c
		},
		probe: func() Postgres { return s.pg },
		drbd:  func() Drbd { d := s.d; d.At = s.k.now; return d },
		view:  s.viewed,
		lag: func(kind string) time.Duration {
			return map[string]time.Duration{"look": 200 * time.Millisecond, "request": 60 * time.Millisecond,
				"reply": 20 * time.Millisecond}[kind]
		},
		seen: s.trace,
	}
	return s
}

// link sets what DRBD says of the connection to the peer.
func (s *story) link(c Connection) {
	c.Name = peer
	s.d.Connected, s.d.PeerPrimary, s.d.PeerDiskLost, s.d.DisconnectReason, s.d.Connections[0] = c.Connected, c.Primary,
		c.DiskLost, c.DisconnectReason, c
}

// play runs the lines of a script.
func (s *story) play(script string) error {
	for line := range strings.Lines(script) {
		line, _, _ = strings.Cut(strings.TrimSpace(line), "#")
		if strings.TrimSpace(line) == "" {
			continue
		}
		at, what, _ := strings.Cut(strings.TrimSpace(line), " ")
		d, err := time.ParseDuration(at)
		if err != nil || boot+d < s.k.now {
			return fmt.Errorf("%q: want +time, going forwards, and what happens", line)
		}
		s.runUntil(boot + d)
		s.do(strings.Fields(what))
		if s.err != nil {
			return fmt.Errorf("%q: %w", line, s.err)
		}
	}
	return nil
}

// runUntil keeps the stream of DRBD alive on the way.
func (s *story) runUntil(t Time) {
	for s.k.now < t {
		s.k.runUntil(min(t, s.k.now+20*time.Second))
		if s.d.Live && !s.a.stalled {
			s.a.event(DrbdChanged{s.a.drbd()})
		}
	}
}

func (s *story) viewed() ClientProbed {
	if !s.client {
		s.wasOff = true
		return ClientProbed{Down: true}
	}
	v := ClientProbed{}
	if s.wasOff {
		v.Outage = Outage{From: s.lastOK, To: s.k.now, Answered: s.z.addr}
	}
	s.wasOff, s.lastOK = false, s.k.now
	return v
}

func (s *story) do(words []string) {
	arg := func(i int) string {
		if i < len(words) {
			return words[i]
		}
		return ""
	}
	rest := strings.Join(words[min(1, len(words)):], " ")
	p := &s.c.Peers[0]
	switch arg(0) {
	case "given": // before the agent starts
		s.given(rest)
	case "agent":
		switch rest {
		case "restarts with another name":
			s.a.stop()
			s.a.cfg.Record = "Z1 other txt"
			s.z.set(s.k.now, "", 0, "", "")
			s.a.start(true)
		case "restarts with another address":
			s.a.stop()
			s.a.cfg.Addr = "10.0.2.99"
			s.a.start(true)
		case "starts":
			s.a.start(true)
		case "stops":
			s.a.stop()
		case "restarts":
			s.a.stop()
			s.a.start(true)
		case "stalls":
			s.a.stalled = true
		case "resumes":
			s.a.resume()
		default:
			s.err = fmt.Errorf("unknown")
		}
	case "drbd":
		link := s.d.Connections[0]
		switch rest {
		case "connection lost":
			s.link(Connection{DisconnectReason: "NetworkFailure"})
		case "connected":
			s.link(Connection{Connected: true, Primary: p.Promoted})
		case "peer secondary", "peer primary":
			link.Primary = rest == "peer primary"
			s.link(link)
		case "peer disk lost", "peer disk back":
			link.DiskLost = rest == "peer disk lost"
			s.link(link)
		case "third node connected", "third node lost": // it is no member of the cluster
			s.d.Connections[1] = Connection{Name: "dr", Connected: rest == "third node connected"}
			s.d.Connected = link.Connected && s.d.Connections[1].Connected
		case "third node split":
			s.d.Connections[1] = Connection{Name: "dr", SplitBrain: true}
			s.d.Connected, s.d.SplitBrain = false, true
		case "primary":
			s.d.Primary = true
		case "secondary":
			s.d.Primary = false
		case "stream ends":
			s.d.Live = false
		case "stream starts":
			s.d.Live = true
		case "down":
			s.d = Drbd{Down: true}
		default:
			s.err = fmt.Errorf("unknown")
		}
		s.a.event(DrbdChanged{s.a.drbd()})
	case "crm":
		s.crm(rest, p)
	case "alert":
		s.a.event(Hint{Promotion: rest == "promote"})
	case "pg":
		s.pg.Accepting, s.pg.Writable = rest == "accepting" || rest == "writable", rest == "writable"
	case "api":
		switch rest {
		case "ok":
			s.z.fail = ""
		case "loses a reply":
			s.z.loseReplies = 1
		default:
			s.z.fail = rest
		}
	case "record":
		switch rest {
		case "alias":
			s.z.alias = true
		case "simple":
			s.z.alias = false
		case "peer":
			s.z.set(s.k.now, peerAddr, s.z.epoch+1, peer, fmt.Sprintf("a/%d", s.z.epoch))
		case "edited", "deleted": // by hand, the ownership record is left
			s.z.addr = map[string]string{"edited": "10.9.9.9"}[rest]
			s.z.changed = append(s.z.changed, answer{s.k.now, s.z.addr})
		case "ownership lost":
			s.z.owner, s.z.epoch, s.z.claim = "", 0, ""
		default:
			s.err = fmt.Errorf("unknown")
		}
	case "client":
		s.client = rest == "up"
	case "pause":
		d, err := time.ParseDuration(rest)
		s.err = err
		s.a.event(Paused{s.k.now + d})
	case "resume":
		s.a.event(Paused{0})
	case "republish":
		s.a.event(Republish{})
	case "address":
		s.a.event(AddressKnown{rest})
	case "end":
		s.note("record: %s, epoch %d, owner %s", s.z.addr, s.z.epoch, s.z.owner)
	default:
		s.err = fmt.Errorf("unknown")
	}
}

func (s *story) given(what string) {
	p := &s.c.Peers[0]
	switch what {
	case "promoted", "promoted, not published":
		s.c.PromotedHere, s.c.PromotedCount, s.c.PromotedPeer, s.c.Promotion, s.c.FilesystemHere = true, 1, "", "b/0", true
		p.Promoted, s.d.Primary = false, true
		s.link(Connection{Connected: true})
		s.pg = Postgres{Accepting: true, Writable: true}
		if what == "promoted" {
			s.z.set(1, myAddr, 5, me, "b/0")
		}
	case "nothing promoted":
		s.c.PromotedCount, s.c.PromotedPeer, p.Promoted = 0, "", false
		s.link(Connection{Connected: true})
	case "no record":
		s.z.set(1, "", 0, "", "")
	case "no address":
		s.a.cfg.Addr = ""
	case "publish_on writable":
		s.a.cfg.PublishWritable = true
	case "no repair":
		s.a.cfg.Repair = false
	case "ownership none":
		s.a.cfg.Ownership, s.z.ownership = false, false
	case "client view":
		s.a.cfg.ProbeClient = true
	case "fencing disabled":
		s.c.FencingEnabled = false
	default:
		s.err = fmt.Errorf("unknown")
	}
}

func (s *story) crm(what string, p *Peer) {
	switch what {
	case "peer offline unclean":
		p.Online, p.Unclean, p.Promoted = false, true, s.c.PromotedPeer == peer
	case "peer fencing":
		p.Fencing = true
	case "peer fencing failed":
		p.Fencing = false
	case "peer fenced as a member": // by an operator: Corosync has not noticed yet
		s.fence++
		p.Fenced = s.fence
	case "peer fenced":
		s.fence++
		*p = Peer{Name: peer, Fenced: s.fence}
		s.c.PromotedPeer = ""
	case "peer offline": // a clean stop
		*p = Peer{Name: peer, Fenced: p.Fenced}
		s.c.PromotedPeer = ""
	case "peer online":
		p.Online, p.Unclean = true, false
	case "peer promoted":
		s.promotions++
		p.Promoted, s.c.PromotedPeer, p.Promotion = true, peer, "a/"+strconv.Itoa(s.promotions+1)
	case "peer demoted":
		p.Promoted, p.ChangingRole, s.c.PromotedPeer = false, false, ""
	case "peer demoting", "peer promoting": // shown in place of its role
		p.Promoted, p.ChangingRole, s.c.PromotedPeer = false, true, ""
	case "peer failed":
		s.c.PeerFailed = true
	case "peer standby":
		s.c.OperatorMove = true
	case "promoting":
		s.c.Promoting, s.c.ActionPending = true, true
	case "promoted":
		s.claims++
		s.c.Promoting, s.c.ActionPending, s.c.PromotedHere, s.c.Promotion = false, false, true, "b/"+strconv.Itoa(s.claims)
	case "filesystem":
		s.c.FilesystemHere = true
	case "demoted":
		s.c.PromotedHere, s.c.Promotion, s.c.FilesystemHere = false, "", false
	case "history erased":
		s.c.Promotion = ""
	case "maintenance on", "maintenance off":
		s.c.Maintenance = what == "maintenance on"
	case "fails", "answers":
		s.crmOff = what == "fails"
	default:
		s.err = fmt.Errorf("unknown")
	}
	s.c.PromotedCount = 0
	for _, is := range []bool{s.c.PromotedHere, p.Promoted} {
		if is {
			s.c.PromotedCount++
		}
	}
}

func (s *story) note(format string, args ...any) {
	fmt.Fprintf(&s.out, "%+9.2fs  %s\n", (s.k.now - boot).Seconds(), fmt.Sprintf(format, args...))
}

// trace writes what a Step changed.
func (s *story) trace(ev Event, before State, actions []Action) {
	after, e, was := &s.a.st, &s.a.st.Episode, &before.Episode
	if e.ID != was.ID {
		s.note("episode %d: %s", e.ID, e.Why)
		was = &Episode{}
	}
	for p := range NumPhases {
		if e.Seen(p) && !was.Seen(p) {
			s.note("  phase %s", p)
		}
	}
	if e.Outage != was.Outage {
		s.note("  clients were cut off for %.1fs", (e.Outage.To - e.Outage.From).Seconds())
	}
	if before.Promotion.Claim != after.Promotion.Claim {
		s.note("promotion %q, was %q", after.Promotion.Claim, before.Promotion.Claim)
	}
	if after.Promotion.Contested && !before.Promotion.Contested {
		s.note("CONTESTED by %s, epoch %d", after.Zone.Owner, after.Zone.Epoch)
	}
	if e.Outcome != was.Outcome {
		s.note("episode %d is over: %s, cause %s, %d writes", e.ID, e.Outcome, e.Cause, e.Writes)
	}
	if w, ok := ev.(Wrote); ok {
		s.note("wrote: %s", orOK(w.Reason))
	}
	if r, ok := ev.(Read); ok {
		s.note("read: %s", orOK(r.Reason))
	}
	for _, act := range actions {
		switch act := act.(type) {
		case Write:
			s.note("WRITE %s epoch %d claim %s over epoch %d of %s", act.Addr, act.NextEpoch, act.Claim, act.Base.Epoch,
				act.Base.Owner)
		case ReadRecord:
			s.note("read record")
		case PollChange:
			s.note("poll %s", act.ChangeID)
		case Cancel:
			s.note("cancel: %s", act.Why)
		}
	}
	h := Holds(0)
	if after.needsWrite() || after.Cluster.PromotedHere && after.Promotion.Claim == "" {
		h = after.Gate(s.k.now)
	}
	if h != s.holds {
		s.holds = h
		s.note("held back by %v", h.List())
	}
}

func orOK(reason string) string {
	if reason == "" {
		return "ok"
	}
	return reason
}
