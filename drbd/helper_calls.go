package drbd

import "slices"

// helperCall notes the call or the answer of a userspace helper.
func (a *apply) helperCall(r *resource) {
	if a.statistics {
		return
	}
	at := a.now
	stamp, stamped := a.ev.Time()
	if a.ev.Verb == VerbCall {
		if a.node >= 0 || len(a.conn) > 0 {
			a.node = a.connection(r).PeerNodeID
		}
		call := HelperCall{Helper: Helper{Name: string(a.helper), Running: true, Started: at, ExitCode: -1},
			PeerNodeID: a.node, Volume: a.volume}
		if stamped {
			call.Started = stamp
			call.stamped = true
		}
		if len(r.Helpers) == MaxHelpers {
			r.Helpers = slices.Delete(r.Helpers, 0, 1)
		}
		r.Helpers = append(r.Helpers, call)
		if call.Name == "split-brain" || call.Name == "initial-split-brain" {
			a.f.latches.call(r, a.node, a.volume)
		}
		a.changed = true
		return
	}
	if a.ev.Verb != VerbResponse {
		return
	}
	if c := r.connection(a.node, a.conn); c != nil {
		a.node = c.PeerNodeID
	}
	i := len(r.Helpers) - 1
	for ; i >= 0; i-- {
		h := &r.Helpers[i]
		if h.Running && h.Name == string(a.helper) && h.PeerNodeID == a.node && h.Volume == a.volume {
			break
		}
	}
	if i < 0 { // called before this stream began
		if len(r.Helpers) == MaxHelpers {
			r.Helpers = slices.Delete(r.Helpers, 0, 1)
		}
		r.Helpers = append(r.Helpers, HelperCall{
			Helper: Helper{Name: string(a.helper)}, PeerNodeID: a.node, Volume: a.volume,
		})
		i = len(r.Helpers) - 1
	}
	h := &r.Helpers[i]
	h.Running = false
	h.ExitCode = a.exitCode()
	if !h.Started.IsZero() {
		// Both ends by drbdsetup's clock or both by ours: the two may differ, and only ours is monotonic.
		if h.stamped && stamped {
			at = stamp
		}
		if h.stamped == stamped {
			h.Duration = max(0, at.Sub(h.Started))
		}
	}
	a.changed = true
}

// exitCode decodes a helper's status: the raw wait status (1280 is exit code 5), or the plain exit code.
func (a *apply) exitCode() int {
	for _, fd := range a.ev.Fields {
		if fd.Key != KeyStatus {
			continue
		}
		n, ok := parseUint(fd.Value)
		switch {
		case ok && n < 256:
			return int(n)
		case ok && n%256 == 0 && n/256 < 256:
			return int(n / 256)
		}
		a.f.counters.UnknownValues++
	}
	return -1
}
