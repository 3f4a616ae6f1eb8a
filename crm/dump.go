package crm

import (
	"errors"
	"time"
)

// Dump is the JSON form of a Status that `pgha-agent debug crm-mon` prints. What the document does not say is null, never
// a guess: a null list is an absent section, an empty one is a section without entries. Times are RFC 3339 in UTC.
// The JSON form of an Alert (`pgha-agent debug alert`) is that of the type itself.
type Dump struct {
	PacemakerVersion *string `json:"pacemaker_version"`
	DC               *string `json:"dc"`
	Quorum           *bool   `json:"quorum"`
	FencingEnabled   *bool   `json:"fencing_enabled"`
	MaintenanceMode  *bool   `json:"maintenance_mode"`
	NoQuorumPolicy   *string `json:"no_quorum_policy"`

	Nodes      []DumpNode          `json:"nodes"`
	Promoted   map[string][]string `json:"promoted"`   // promotable clone or bundle -> nodes, sorted; null without a resources section
	Unpromoted map[string][]string `json:"unpromoted"` // the same for the role Unpromoted
	Resources  *DumpResources      `json:"resources"`

	Failures    []DumpFailure    `json:"failures"`
	FenceEvents []DumpFenceEvent `json:"fence_events"`
	Bans        []DumpBan        `json:"bans"`
	FailCounts  []DumpFailCount  `json:"fail_counts"`
	Attributes  []DumpAttribute  `json:"attributes"`
	Operations  []DumpOperation  `json:"operations"`
	Errors      []string         `json:"errors"` // never null
}

// DumpNode is a Node.
type DumpNode struct {
	Name          string  `json:"name"`
	ID            *string `json:"id"`
	Type          *string `json:"type"`
	Online        *bool   `json:"online"`
	Unclean       *bool   `json:"unclean"`
	Standby       *bool   `json:"standby"`
	StandbyOnFail *bool   `json:"standby_onfail"`
	Maintenance   *bool   `json:"maintenance"`
	Pending       *bool   `json:"pending"`
	Shutdown      *bool   `json:"shutdown"`
	ExpectedUp    *bool   `json:"expected_up"`
	DC            *bool   `json:"dc"`
	Health        *string `json:"health"`
}

// DumpResources holds the instances, and counts of the <resource> elements as they are printed.
type DumpResources struct {
	Count    int            `json:"count"` // of instances: the length of List
	Elements ElementCounts  `json:"elements"`
	List     []DumpResource `json:"list"`
}

// DumpResource is a Resource: one instance.
type DumpResource struct {
	ID          string  `json:"id"`
	Agent       *string `json:"agent"`
	Node        *string `json:"node"` // null when it runs nowhere
	Clone       *string `json:"clone"`
	Group       *string `json:"group"`
	Bundle      *string `json:"bundle"`
	Role        *string `json:"role"`
	TargetRole  *string `json:"target_role"`
	Pending     *string `json:"pending"`
	Active      *bool   `json:"active"`
	Managed     *bool   `json:"managed"`
	Maintenance *bool   `json:"maintenance"`
	Blocked     *bool   `json:"blocked"`
	Failed      *bool   `json:"failed"`
	Orphaned    *bool   `json:"orphaned"`
}

// DumpFailure is a Failure.
type DumpFailure struct {
	Node       string     `json:"node"`
	Resource   *string    `json:"resource"`
	Op         *string    `json:"op"`
	Task       *string    `json:"task"`
	ExitCode   *int       `json:"exit_code"`
	ExitStatus *string    `json:"exit_status"`
	ExitReason *string    `json:"exit_reason"`
	Status     *string    `json:"status"`
	At         *time.Time `json:"at"`
}

// DumpFenceEvent is a FenceEvent.
type DumpFenceEvent struct {
	Target     string     `json:"target"`
	Action     *string    `json:"action"`
	Status     *string    `json:"status"`
	Delegate   *string    `json:"delegate"`
	Client     *string    `json:"client"`
	Origin     *string    `json:"origin"`
	Completed  *time.Time `json:"completed"`
	ExitReason *string    `json:"exit_reason"`
}

// DumpBan is a Ban.
type DumpBan struct {
	ID           string `json:"id"`
	Resource     string `json:"resource"`
	Node         string `json:"node"`
	Weight       int    `json:"weight"`
	PromotedOnly *bool  `json:"promoted_only"`
}

// DumpFailCount is a FailCount.
type DumpFailCount struct {
	Node      string `json:"node"`
	Resource  string `json:"resource"`
	Count     int    `json:"count"`
	Threshold *int   `json:"threshold"`
}

// DumpAttribute is an Attribute.
type DumpAttribute struct {
	Node  string `json:"node"`
	Name  string `json:"name"`
	Value string `json:"value"`
}

// DumpOperation is an Operation.
type DumpOperation struct {
	Node       string     `json:"node"`
	Resource   string     `json:"resource"`
	Task       string     `json:"task"`
	Call       *int       `json:"call"`
	RC         *int       `json:"rc"`
	IntervalMS int64      `json:"interval_ms"`
	ExecTimeMS int64      `json:"exec_time_ms"`
	LastChange *time.Time `json:"last_change"`
}

// NewDump makes the printed form of s.
func NewDump(s *Status) *Dump {
	d := &Dump{
		PacemakerVersion: text(s.PacemakerVersion), DC: text(s.DC), Quorum: s.Quorum.pointer(),
		FencingEnabled: s.FencingEnabled.pointer(), MaintenanceMode: s.MaintenanceMode.pointer(), NoQuorumPolicy: text(s.NoQuorumPolicy),
		Nodes:       each(s.Nodes, dumpNode),
		Failures:    each(s.Failures, dumpFailure),
		FenceEvents: each(s.FenceEvents, dumpFenceEvent),
		Bans: each(s.Bans, func(b Ban) DumpBan {
			return DumpBan{ID: b.ID, Resource: b.Resource, Node: b.Node, Weight: b.Weight, PromotedOnly: b.PromotedOnly.pointer()}
		}),
		FailCounts: each(s.FailCounts, func(f FailCount) DumpFailCount {
			return DumpFailCount{Node: f.Node, Resource: f.Resource, Count: f.Count, Threshold: unless(f.Threshold, 0)}
		}),
		Attributes: each(s.Attributes, func(a Attribute) DumpAttribute { return DumpAttribute(a) }),
		Operations: each(s.Operations, dumpOperation),
		Errors:     append([]string{}, s.Errors...),
	}
	if s.PromotableClones != nil {
		d.Promoted, d.Unpromoted = map[string][]string{}, map[string][]string{}
		for _, id := range s.PromotableClones {
			d.Promoted[id], d.Unpromoted[id] = s.Promoted(id), s.Unpromoted(id)
		}
	}
	if s.Resources != nil {
		d.Resources = &DumpResources{Count: len(s.Resources), Elements: s.Elements, List: each(s.Resources, dumpResource)}
	}
	return d
}

func dumpNode(n Node) DumpNode {
	return DumpNode{
		Name: n.Name, ID: text(n.ID), Type: text(n.Type), Online: n.Online.pointer(), Unclean: n.Unclean.pointer(),
		Standby: n.Standby.pointer(), StandbyOnFail: n.StandbyOnFail.pointer(), Maintenance: n.Maintenance.pointer(),
		Pending: n.Pending.pointer(), Shutdown: n.Shutdown.pointer(), ExpectedUp: n.ExpectedUp.pointer(), DC: n.DC.pointer(),
		Health: text(n.Health),
	}
}

func dumpResource(r Resource) DumpResource {
	return DumpResource{
		ID: r.ID, Agent: text(r.Agent), Node: text(r.Node), Clone: text(r.Clone), Group: text(r.Group), Bundle: text(r.Bundle),
		Role: text(string(r.Role)), TargetRole: text(r.TargetRole), Pending: text(r.Pending), Active: r.Active.pointer(),
		Managed: r.Managed.pointer(), Maintenance: r.Maintenance.pointer(), Blocked: r.Blocked.pointer(),
		Failed: r.Failed.pointer(), Orphaned: r.Orphaned.pointer(),
	}
}

func dumpFailure(f Failure) DumpFailure {
	return DumpFailure{
		Node: f.Node, Resource: text(f.Resource), Op: text(f.Op), Task: text(f.Task), ExitCode: unless(f.ExitCode, -1),
		ExitStatus: text(f.ExitStatus), ExitReason: text(f.ExitReason), Status: text(f.Status), At: when(f.At),
	}
}

func dumpFenceEvent(e FenceEvent) DumpFenceEvent {
	return DumpFenceEvent{
		Target: e.Target, Action: text(e.Action), Status: text(e.Status), Delegate: text(e.Delegate), Client: text(e.Client),
		Origin: text(e.Origin), Completed: when(e.Completed), ExitReason: text(e.ExitReason),
	}
}

func dumpOperation(o Operation) DumpOperation {
	return DumpOperation{
		Node: o.Node, Resource: o.Resource, Task: o.Task, Call: unless(o.Call, -1), RC: unless(o.RC, -1),
		IntervalMS: o.Interval.Milliseconds(), ExecTimeMS: o.ExecTime.Milliseconds(), LastChange: when(o.LastChange),
	}
}

// ErrorDump is the JSON form of what went wrong instead: {"error": {"code": 102, "message": "Not connected", "errors": [...]}}.
type ErrorDump struct {
	Error DumpError `json:"error"`
}

// DumpError is one error. Code is crm_mon's own code, from the document or as exit code; null when there is none.
type DumpError struct {
	Code    *int     `json:"code"`
	Message string   `json:"message"`
	Errors  []string `json:"errors"` // never null
}

// NewErrorDump makes the printed form of an error of Parse or Look.
func NewErrorDump(err error) *ErrorDump {
	d := DumpError{Message: err.Error(), Errors: []string{}}
	var said *StatusError
	var exit *ExitError
	switch {
	case errors.As(err, &said):
		d.Code, d.Message, d.Errors = &said.Code, said.Message, append(d.Errors, said.Errors...)
	case errors.As(err, &exit):
		d.Code = &exit.Code
	}
	return &ErrorDump{Error: d}
}

func each[A, B any](in []A, f func(A) B) []B {
	if in == nil {
		return nil
	}
	out := make([]B, len(in))
	for i, v := range in {
		out[i] = f(v)
	}
	return out
}

func text(s string) *string { return unless(s, "") }

// unless returns nil for the value that stands for "not known".
func unless[T comparable](v, unknown T) *T {
	if v == unknown {
		return nil
	}
	return &v
}

func when(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

func (t Tri) pointer() *bool {
	if t == Unknown {
		return nil
	}
	yes := t == Yes
	return &yes
}
