package sim

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/pgha/pgha-agent/route53"
	"github.com/pgha/pgha-agent/route53/route53test"
)

const attemptTimeout = 3 * time.Second // of one call, as the real client has it

// key is where a record stands: a hosted zone, and a name in it.
type key struct{ zone, name string }

// builders make the real client's batches, one for each key. They never call anybody.
var builders sync.Map

func builder(k key) *route53.Client {
	if c, ok := builders.Load(k); ok {
		return c.(*route53.Client)
	}
	c, err := route53.New(context.Background(), route53.Options{ZoneID: k.zone, Name: k.name, TTL: recordTTL,
		Ownership: true, Region: "us-east-1"})
	if err != nil {
		panic(err)
	}
	builders.Store(k, c)
	return c
}

// zone is Route 53: the strict rules of route53test for what a batch does, and a network and a service that can go
// wrong.
type zone struct {
	w            *world
	sets         map[string]*route53test.Zone
	records      map[key]*record
	fault        string        // what is wrong with the API, "" when nothing is
	percent      int           // of the requests
	faultChanged time.Duration // when that last changed; 0: never
	pending      time.Duration
	insync       map[string]time.Duration
	flying       [2]int // change requests of each node on their way
	fights       bool   // somebody changes each record back that an agent writes
}

// record is what stands under a key.
type record struct {
	addr    netip.Addr
	owner   route53.Owner
	err     error                   // it is of a form that no agent may overwrite
	written []route53test.RecordSet // what an agent wrote last
	edited  bool                    // by a stranger, since an agent wrote it
	usual   bool                    // the last write was a claim, right after its promotion
	since   time.Duration           // of that promotion
	settled time.Duration
	strayed time.Duration // when a claim last arrived with an address that its node no longer had
	answers []answer      // of resolvers, newest last
	past    []state       // what it was, newest last
}

type answer struct {
	at   time.Duration // when resolvers show it
	addr netip.Addr
}

type state struct {
	at  time.Duration // since when
	rec route53.Record
	err error
}

func newZone(w *world) *zone {
	sets := map[string]*route53test.Zone{"Z1SIM": route53test.NewZone("pgha.internal"),
		"Z2SIM": route53test.NewZone("pgha.internal")}
	return &zone{w: w, sets: sets, records: map[key]*record{}, pending: 5 * time.Second,
		insync: map[string]time.Duration{}}
}

func (z *zone) of(k key) *record {
	r := z.records[k]
	if r == nil {
		r = &record{past: []state{{}}}
		z.records[k] = r
	}
	return r
}

func (z *zone) resolve(k key) netip.Addr {
	for _, a := range slices.Backward(z.of(k).answers) {
		if a.at <= z.w.now {
			return a.addr
		}
	}
	return netip.Addr{}
}

// api is the way of one process to Route 53.
type api struct{ p *proc }

func (a api) Warm(context.Context) error { return nil }
func (a api) Close()                     {}

func fail(op string, reason route53.Reason, sent bool) error {
	return &route53.Error{Op: op, Reason: reason, Sent: sent, Err: errors.New(string(reason))}
}

// call is the way of one request: to the API, where serve runs, and back. guard is asked right before the first byte,
// and sends told of it.
func (a api) call(ctx context.Context, op, id string, guard func() error, sends func(), serve func() error) error {
	w, p := a.p.w, a.p
	z := w.zone
	began := w.now
	if !w.wait(w.usually(ms(1), ms(20), 3500*time.Millisecond)) { // credentials, signature, connection
		return fail(op, route53.ReasonOther, false)
	}
	switch {
	case ctx.Err() != nil:
		return fail(op, route53.ReasonOther, false)
	// the sender and the timer of its timeout wake together: either may be first
	case w.now-began >= attemptTimeout && w.rng.IntN(2) == 0:
		return fail(op, route53.ReasonTimeout, false)
	case z.fault == "expired" && w.rng.IntN(100) < z.percent:
		return fail(op, route53.ReasonCredentials, false)
	}
	if guard != nil {
		if err := guard(); err != nil {
			return &route53.Error{Op: op, Reason: route53.ReasonGuard, Err: err}
		}
	}
	if op == "write" { // whether it was guarded or not
		sends()
		z.flying[p.n.i]++
	}
	if !w.wait(w.usually(0, ms(1), ms(20))) { // here the process may stand still, or die
		if op == "write" {
			z.flying[p.n.i]--
		}
		return fail(op, route53.ReasonOther, true)
	}
	wake, wait := w.waiting()
	w.current.cancels(ctx, wake)
	way := w.usually(ms(5), ms(200), 2*time.Second)
	fault := ""
	if z.fault != "" && w.rng.IntN(100) < z.percent {
		fault = z.fault
	}
	switch fault {
	case "late":
		way = w.between(3*time.Second, Flight-time.Second)
	case "slow":
		way = w.between(ms(500), 3*time.Second)
	}
	var reply error
	answered := false
	w.after(way, func() {
		if op == "write" {
			z.flying[p.n.i]--
		}
		w.oracle.call(p.n, op, id)
		if fault == "lost" {
			return
		}
		if reply = z.refuses(op, fault); reply == nil {
			reply = serve()
		}
		if fault == "loses replies" {
			return
		}
		w.on(p, w.usually(ms(5), ms(200), 2*time.Second), func() { answered = true; wake() })
	})
	w.on(p, max(began+attemptTimeout-w.now, 0), wake)
	alive := wait()
	p.cancels = nil
	switch {
	case answered:
		return reply
	case !alive, ctx.Err() != nil:
		return fail(op, route53.ReasonOther, true)
	default:
		return fail(op, route53.ReasonTimeout, true)
	}
}

// refuses is the API's own trouble.
func (z *zone) refuses(op, fault string) error {
	switch fault {
	case "throttled":
		return fail(op, route53.ReasonThrottled, true)
	case "prior":
		if op == "write" {
			return fail(op, route53.ReasonPriorRequest, true)
		}
	case "broken":
		return fail(op, route53.ReasonServer, true)
	case "denied":
		return fail(op, route53.ReasonDenied, true)
	}
	return nil
}

// Read implements the source. A listing may be behind what was changed.
func (a api) Read(ctx context.Context) (route53.Record, error) {
	w, z := a.p.w, a.p.w.zone
	var is state
	began := w.now
	err := a.call(ctx, "read", "", nil, nil, func() error {
		r, at := z.of(a.p.is.key), w.now
		if z.fault == "behind" && w.rng.IntN(100) < z.percent {
			at -= w.between(0, Behind)
		}
		is = r.past[0]
		for _, s := range r.past {
			if s.at <= at {
				is = s
			}
		}
		return is.err
	})
	switch {
	case route53.ReasonOf(err) == route53.ReasonThrottled:
		a.p.throttled = min(a.p.throttled+1, 5)
	case err == nil:
		a.p.throttled = max(a.p.throttled-1, 0)
	}
	if err != nil {
		a.p.missed = w.now
		return route53.Record{}, err
	}
	w.oracle.reads(a.p, is.rec, began)
	return is.rec, nil
}

// Write implements the source.
func (a api) Write(ctx context.Context, write route53.Write) (string, error) {
	p, w := a.p, a.p.w
	batch, err := builder(p.is.key).Batch(write)
	if err != nil {
		return "", fail("write", route53.ReasonInvalid, false)
	}
	w.story(p.n, "decides to write epoch %d over epoch %d of %q", write.Next.Epoch, write.Base.Epoch, write.Base.Node)
	changes := make([]route53test.Change, len(batch))
	for i, c := range batch {
		s := c.ResourceRecordSet
		changes[i] = route53test.Change{
			Action: string(c.Action),
			Set: route53test.Simple(aws.ToString(s.Name), string(s.Type), aws.ToInt64(s.TTL),
				aws.ToString(s.ResourceRecords[0].Value)),
		}
	}
	var id string
	var repairs bool
	during := p.n.promotions
	d := p.is
	d.addr, d.claim = write.Addr, write.Next.Claim
	sends := func() {
		if repairs = w.oracle.sends(p, d); repairs {
			p.repairing = write.Next.Epoch
		}
	}
	err = a.call(ctx, "write", "", write.Guard, sends, func() (err error) {
		id, err = w.zone.change(p, d, write.Next, during, repairs, changes)
		return err
	})
	if p.wrote = w.now; err != nil {
		return "", err
	}
	w.oracle.tells(p, d)
	w.oracle.repairKnown(p, d, write.Next.Epoch)
	return id, nil
}

// Change implements the source.
func (a api) Change(ctx context.Context, id string) (insync bool, err error) {
	w := a.p.w
	err = a.call(ctx, "poll", id, nil, nil, func() error { insync = w.now >= w.zone.insync[id]; return nil })
	return insync && err == nil, err
}

// listed is what a reader of the record makes of it.
func (z *zone) listed(k key) (rec route53.Record, err error) {
	refused := fail("read", route53.ReasonRefusedRecord, true)
	if set, ok := z.sets[k.zone].Get(k.name, "A"); ok {
		if len(set.Values) != 1 {
			return rec, refused
		}
		rec.Addr, rec.TTL = netip.MustParseAddr(set.Values[0]), time.Duration(*set.TTL)*time.Second
	}
	if set, ok := z.sets[k.zone].Get(route53.OwnerPrefix+"."+k.name, "TXT"); ok {
		if rec.Owner, err = route53.ParseOwner(set.Values[0]); err != nil {
			return route53.Record{}, refused
		}
		rec.Owner.TTL = time.Duration(*set.TTL) * time.Second
	}
	return rec, nil
}

// changed notes what the record is now, and returns the id of the change.
func (z *zone) changed(k key) string {
	w, r := z.w, z.of(k)
	rec, err := z.listed(k)
	r.addr, r.owner, r.err, r.settled = rec.Addr, rec.Owner, err, w.now
	for len(r.past) > 1 && r.past[1].at < w.now-Behind {
		r.past = r.past[1:]
	}
	r.past = append(r.past, state{w.now, rec, err})
	w.changed()
	id := fmt.Sprintf("C%d", len(z.insync)+1)
	z.insync[id] = w.now + w.between(z.pending/2, z.pending)
	r.answers = append(r.answers, answer{min(z.insync[id], w.now+Flight), rec.Addr})
	if len(r.answers) > 8 {
		r.answers = r.answers[len(r.answers)-8:]
	}
	return id
}

// change makes a batch or refuses it.
func (z *zone) change(p *proc, d deed, next route53.Owner, during int, repairs bool,
	changes []route53test.Change) (string, error) {
	w, n := z.w, p.n
	if messages := z.sets[d.key.zone].Change(changes); messages != nil {
		if z.fault == "new words" {
			messages = []string{"The batch asks for a record set that is not as it says"}
		}
		w.story(n, "Route 53 refuses the change: %s", strings.Join(messages, "; "))
		return "", fail("write", route53.ReasonOfBatch(messages), true)
	}
	r := z.of(d.key)
	only := r.settled <= n.since // and no late one of an earlier promotion, which a standby may take for it
	id := z.changed(d.key)
	r.edited, r.written = false, nil
	for _, c := range changes {
		if c.Action != "DELETE" {
			r.written = append(r.written, c.Set)
		}
	}
	if p.once {
		if n.byHand = w.now; n.daemon != nil {
			n.daemon.repairing = 0 // whatever became of it
		}
	}
	r.since = n.since
	r.usual = !repairs && only && n.known && w.oracle.erased[n.i] != n.promotions && w.now-n.since < Prompt/2
	w.story(n, "Route 53 ACCEPTS %s, epoch %d", r.addr, next.Epoch)
	w.oracle.accepts(n, d, next, during, repairs)
	if z.fights {
		w.after(w.between(5*time.Second, 50*time.Second), func() {
			if z.fights {
				w.editAddress(d.key)
			}
		})
	}
	return id, nil
}
