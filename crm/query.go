package crm

import (
	"slices"
	"strings"
)

// FenceBanPrefix begins the ids of the location constraints that DRBD's fence-peer handler sets (crm-fence-peer.9.sh).
const FenceBanPrefix = "drbd-fence-by-handler-"

// Node returns the cluster node of that name.
func (s *Status) Node(name string) (Node, bool) {
	i := slices.IndexFunc(s.Nodes, func(n Node) bool { return n.Name == name })
	if i < 0 {
		return Node{}, false
	}
	return s.Nodes[i], true
}

// ShowsAttributes reports that the document would show attributes of nodes. Without any, crm_mon leaves the section
// out; it prints the histories behind it (lib/pacemaker/pcmk_output.c, cluster_status_xml).
func (s *Status) ShowsAttributes() bool { return s.Attributes != nil || s.Operations != nil }

// Instances returns the instances that id names: a primitive, with or without the number of its instance, or the clone,
// group or bundle around it. Stopped instances are among them.
func (s *Status) Instances(id string) []Resource {
	var out []Resource
	for _, r := range s.Resources {
		if r.named(id) {
			out = append(out, r)
		}
	}
	return out
}

func (r *Resource) named(id string) bool {
	names := r.names()
	return id != "" && slices.Contains(names[:], id)
}

// names lists what an id may call the instance; some are empty or the same.
func (r *Resource) names() [6]string {
	return [...]string{r.ID, r.Clone, r.Bundle, r.Group, baseID(r.ID), baseID(r.Group)}
}

// Promoted returns the nodes, sorted, on which an instance of the promotable clone has the role Promoted; id is as for
// Instances, and of a cloned group one promoted member is enough. Nodes come as printed: of an unclean or offline node
// the role is a memory and no fact, so join the answer with Node.
func (s *Status) Promoted(id string) []string { return s.inRole(id, RolePromoted) }

// Unpromoted is Promoted for the role Unpromoted.
func (s *Status) Unpromoted(id string) []string { return s.inRole(id, RoleUnpromoted) }

func (s *Status) inRole(id string, role Role) []string {
	nodes := []string{}
	for i := range s.Resources {
		if r := &s.Resources[i]; r.Role == role && r.Node != "" && r.named(id) {
			nodes = append(nodes, r.Node)
		}
	}
	slices.Sort(nodes)
	return slices.Compact(nodes)
}

// PromoteOp returns the last successful promote operation in the node's history of the clone's primitives: the one with
// the highest call id. A cleanup or refresh erases it, and a demotion after it does not, so join it with Promoted.
func (s *Status) PromoteOp(id, node string) (Operation, bool) {
	primitives := map[string]bool{id: true}
	for i := range s.Resources {
		if r := &s.Resources[i]; r.named(id) {
			primitives[baseID(r.ID)] = true
		}
	}
	var last Operation
	var found bool
	for _, op := range s.Operations {
		if op.Node == node && op.Task == "promote" && op.RC == 0 && (primitives[baseID(op.Resource)] || op.Resource == id) &&
			(!found || op.Call > last.Call) {
			last, found = op, true
		}
	}
	return last, found
}

// Fenced returns the events that took target down: off or reboot, with success, in the order of the document. The
// history has a name as the requester typed it, and Pacemaker compares names without case (full_history_xml in
// crm_mon's output of fencing, 2.1).
func (s *Status) Fenced(target string) []FenceEvent {
	var out []FenceEvent
	for _, e := range s.FenceEvents {
		if strings.EqualFold(e.Target, target) && e.Status == "success" && (e.Action == "off" || e.Action == "reboot") {
			out = append(out, e)
		}
	}
	return out
}

// LastFence returns the newest event that took target down: off or reboot, with success. An event without a time counts
// only when there is none with a time.
func (s *Status) LastFence(target string) (FenceEvent, bool) {
	var last FenceEvent
	var found bool
	for _, e := range s.Fenced(target) {
		if !found || e.Completed.After(last.Completed) {
			last, found = e, true
		}
	}
	return last, found
}

// PendingFence returns the fencing of target that is under way. Names are compared as Fenced does.
func (s *Status) PendingFence(target string) (FenceEvent, bool) {
	i := slices.IndexFunc(s.FenceEvents, func(e FenceEvent) bool {
		return strings.EqualFold(e.Target, target) && e.Status == "pending"
	})
	if i < 0 {
		return FenceEvent{}, false
	}
	return s.FenceEvents[i], true
}

// FenceBans returns the bans that DRBD's fence-peer handler set and, as long as they are there, did not lift.
func (s *Status) FenceBans() []Ban {
	var out []Ban
	for _, b := range s.Bans {
		if strings.HasPrefix(b.ID, FenceBanPrefix) {
			out = append(out, b)
		}
	}
	return out
}
