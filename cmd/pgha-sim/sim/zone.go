package sim

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/pgha/pgha-agent/route53"
	"github.com/pgha/pgha-agent/route53/route53test"
)

const attemptTimeout = 3 * time.Second // of one call, as the real client has it

// builder makes the real client's batches. It never calls anybody.
var builder = func() *route53.Client {
	c, err := route53.New(context.Background(), route53.Options{ZoneID: "Z0SIM", Name: recordName, TTL: 10 * time.Second, Ownership: true, Region: "us-east-1"})
	if err != nil {
		panic(err)
	}
	return c
}()

// zone is Route 53: the strict rules of route53test for what a batch does, and a network and a service that can go wrong.
type zone struct {
	w       *world
	sets    *route53test.Zone
	addr    netip.Addr // what the record says
	owner   route53.Owner
	answers []answer // newest last
	fault   string   // what is wrong with the API, "" when nothing is
	percent int      // of the requests
	pending time.Duration
	insync  map[string]time.Duration
	flying  int // change requests on their way
}

type answer struct {
	at   time.Duration // when resolvers show it
	addr netip.Addr
}

func newZone(w *world) *zone {
	return &zone{w: w, sets: route53test.NewZone("pgha.internal"), pending: 5 * time.Second, insync: map[string]time.Duration{}}
}

func (z *zone) resolve() netip.Addr {
	for _, a := range slices.Backward(z.answers) {
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

// call is the way of one request about a claim or a change: to the API, where serve runs, and back. guard is asked right before the first byte.
func (a api) call(ctx context.Context, op, about string, guard func() error, serve func() error) error {
	w, p := a.p.w, a.p
	z := w.zone
	began := w.now
	if !w.wait(w.usually(ms(1), ms(20), 3500*time.Millisecond)) { // credentials, signature, connection
		return fail(op, route53.ReasonOther, false)
	}
	switch {
	case ctx.Err() != nil:
		return fail(op, route53.ReasonOther, false)
	case w.now-began >= attemptTimeout && w.rng.IntN(2) == 0: // the sender and the timer of its timeout wake together: either may be first
		return fail(op, route53.ReasonTimeout, false)
	}
	if guard != nil {
		if err := guard(); err != nil {
			return &route53.Error{Op: op, Reason: route53.ReasonGuard, Err: err}
		}
	}
	if op == "write" { // whether it was guarded or not
		w.oracle.sends(p, about)
		z.flying++
	}
	if !w.wait(w.usually(0, ms(1), ms(20))) { // here the process may stand still, or die
		if op == "write" {
			z.flying--
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
			z.flying--
		}
		w.oracle.call(p.n, op, about)
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

// Read implements the source.
func (a api) Read(ctx context.Context) (route53.Record, error) {
	var rec route53.Record
	err := a.call(ctx, "read", "", nil, func() error { rec = a.p.w.zone.record(); return nil })
	if err != nil {
		return route53.Record{}, err
	}
	a.p.w.oracle.reads(a.p, rec)
	return rec, nil
}

// Write implements the source.
func (a api) Write(ctx context.Context, write route53.Write) (string, error) {
	batch, err := builder.Batch(write)
	if err != nil {
		return "", fail("write", route53.ReasonInvalid, false)
	}
	w := a.p.w
	w.story(a.p.n, "decides to write epoch %d over epoch %d of %q", write.Next.Epoch, write.Base.Epoch, write.Base.Node)
	changes := make([]route53test.Change, len(batch))
	for i, c := range batch {
		s := c.ResourceRecordSet
		changes[i] = route53test.Change{
			Action: string(c.Action),
			Set:    route53test.Simple(aws.ToString(s.Name), string(s.Type), aws.ToInt64(s.TTL), aws.ToString(s.ResourceRecords[0].Value)),
		}
	}
	var id string
	during := a.p.n.promotions
	err = a.call(ctx, "write", write.Next.Claim, write.Guard, func() (err error) {
		id, err = w.zone.change(a.p.n, write.Next, during, changes)
		return err
	})
	if err != nil {
		return "", err
	}
	w.oracle.tells(a.p, write.Next.Claim)
	return id, nil
}

// Change implements the source.
func (a api) Change(ctx context.Context, id string) (insync bool, err error) {
	w := a.p.w
	err = a.call(ctx, "poll", id, nil, func() error { insync = w.now >= w.zone.insync[id]; return nil })
	return insync && err == nil, err
}

func (z *zone) record() route53.Record {
	var rec route53.Record
	if set, ok := z.sets.Get(recordName, "A"); ok {
		rec.Addr, rec.TTL = netip.MustParseAddr(set.Values[0]), time.Duration(*set.TTL)*time.Second
	}
	if set, ok := z.sets.Get(route53.OwnerPrefix+"."+recordName, "TXT"); ok {
		owner, err := route53.ParseOwner(set.Values[0])
		if err != nil {
			panic(err)
		}
		owner.TTL = time.Duration(*set.TTL) * time.Second
		rec.Owner = owner
	}
	return rec
}

// change makes a batch or refuses it.
func (z *zone) change(n *node, next route53.Owner, during int, changes []route53test.Change) (string, error) {
	w := z.w
	if messages := z.sets.Change(changes); messages != nil {
		w.story(n, "Route 53 refuses the change: %s", strings.Join(messages, "; "))
		return "", fail("write", route53.ReasonOfBatch(messages), true)
	}
	rec := z.record()
	z.addr, z.owner = rec.Addr, rec.Owner
	w.story(n, "Route 53 ACCEPTS %s, epoch %d", rec.Addr, next.Epoch)
	w.oracle.accepts(n, next, during)
	w.changed()
	id := fmt.Sprintf("C%d", len(z.insync)+1)
	z.insync[id] = w.now + w.between(z.pending/2, z.pending)
	z.answers = append(z.answers, answer{min(z.insync[id], w.now+Flight), rec.Addr})
	if len(z.answers) > 8 {
		z.answers = z.answers[len(z.answers)-8:]
	}
	return id, nil
}
