package sim

import (
	"fmt"
	"time"

	"github.com/pgha/pgha-agent/route53"
	"github.com/pgha/pgha-agent/route53/route53test"
)

// stranger is the address that an editor of the record writes.
const stranger = "203.0.113.9"

// edits is what somebody does to the record who is no agent. It does nothing when there is nothing to edit.
func (w *world) edits(k key, changes ...route53test.Change) {
	r := w.zone.of(k)
	if messages := w.zone.sets[k.zone].Change(changes); messages != nil {
		return
	}
	w.oracle.edited(k)
	w.zone.changed(k)
	r.edited, r.usual = true, false
	for _, n := range w.nodes {
		w.rough(n)
	}
	w.story(nil, "the record is edited: %v of %q", r.addr, r.owner.Node)
}

func upsert(name, typ string, values ...string) route53test.Change {
	return route53test.Change{Action: "UPSERT", Set: route53test.Simple(name, typ, recordTTL.Milliseconds()/1000,
		values...)}
}

func (w *world) editAddress(k key) { w.edits(k, upsert(k.name, "A", stranger)) }

func (w *world) editSecondValue(k key) {
	w.edits(k, upsert(k.name, "A", stranger, w.nodes[0].addr.String()))
	w.undoes(k)
}

// editDelete takes one of the two record sets away.
func (w *world) editDelete(k key, name, typ string) {
	if set, ok := w.zone.sets[k.zone].Get(name, typ); ok {
		w.edits(k, route53test.Change{Action: "DELETE", Set: set})
	}
}

// editOwner writes an ownership record that no node of this cluster made.
func (w *world) editOwner(k key) {
	claim := route53.Claim("elsewhere", "pg-9", fmt.Sprint(w.now))
	w.edits(k, upsert(ownerName(k), "TXT", fmt.Sprintf(`"v=1 epoch=%d owner=pg-9 addr=%s claim=%s"`,
		w.zone.of(k).owner.Epoch+1, stranger, claim)))
}

// editNonsense writes an ownership record that no agent can read.
func (w *world) editNonsense(k key) {
	w.edits(k, upsert(ownerName(k), "TXT", `"hands off"`))
	w.undoes(k)
}

// undoes makes an operator bring back after a while what the agents wrote last, where no agent may write over what is
// there.
func (w *world) undoes(k key) {
	w.after(w.between(time.Minute, 5*time.Minute), func() {
		r := w.zone.of(k)
		if r.err == nil {
			return
		}
		var changes []route53test.Change
		for _, is := range []struct{ name, typ string }{{k.name, "A"}, {ownerName(k), "TXT"}} {
			if set, ok := w.zone.sets[k.zone].Get(is.name, is.typ); ok {
				changes = append(changes, route53test.Change{Action: "DELETE", Set: set})
			}
		}
		for _, set := range r.written {
			changes = append(changes, route53test.Change{Action: "CREATE", Set: set})
		}
		w.edits(k, changes...)
		r.edited = false
	})
}

func ownerName(k key) string { return route53.OwnerPrefix + "." + k.name }
