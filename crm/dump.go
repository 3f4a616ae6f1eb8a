package crm

import (
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"reflect"
	"slices"
	"strconv"
	"time"
)

// MarshalJSON writes what `pgha-agent debug crm-mon` prints. What the document does not say is null, never a guess: a
// null list is an absent section, an empty one is a section without entries. Times are RFC 3339 in UTC, durations
// milliseconds. The instances stand beside the counts of the elements, and the nodes of each promotable clone or
// bundle, sorted, by role.
func (s Status) MarshalJSON() ([]byte, error) {
	type instances struct {
		Count    int           `json:"count"` // of instances: the length of List
		Elements ElementCounts `json:"elements"`
		List     []Resource    `json:"list"`
	}
	var resources *instances
	if s.Resources != nil {
		resources = &instances{len(s.Resources), s.Elements, s.Resources}
	}
	return object(struct {
		PacemakerVersion string              `json:"pacemaker_version" unknown:""`
		DC               string              `json:"dc" unknown:""`
		Quorum           Tri                 `json:"quorum"`
		FencingEnabled   Tri                 `json:"fencing_enabled"`
		MaintenanceMode  Tri                 `json:"maintenance_mode"`
		NoQuorumPolicy   string              `json:"no_quorum_policy" unknown:""`
		Nodes            []Node              `json:"nodes"`
		Promoted         map[string][]string `json:"promoted"` // null without a resources section
		Unpromoted       map[string][]string `json:"unpromoted"`
		Resources        *instances          `json:"resources"`
		Failures         []Failure           `json:"failures"`
		FenceEvents      []FenceEvent        `json:"fence_events"`
		Bans             []Ban               `json:"bans"`
		Tickets          []Ticket            `json:"tickets"`
		FailCounts       []FailCount         `json:"fail_counts"`
		Attributes       []Attribute         `json:"attributes"`
		Operations       []Operation         `json:"operations"`
		Errors           []string            `json:"errors"` // never null
	}{
		s.PacemakerVersion, s.DC, s.Quorum, s.FencingEnabled, s.MaintenanceMode, s.NoQuorumPolicy,
		s.Nodes,
		nodesByClone(s.PromotableClones, slices.Values(s.Resources), RolePromoted),
		nodesByClone(s.PromotableClones, slices.Values(s.Resources), RoleUnpromoted),
		resources,
		s.Failures, s.FenceEvents, s.Bans, s.Tickets, s.FailCounts, s.Attributes, s.Operations, append([]string{},
			s.Errors...),
	})
}

// MarshalJSON writes null for what is not said.
func (t Tri) MarshalJSON() ([]byte, error) {
	switch t {
	case Yes:
		return []byte("true"), nil
	case No:
		return []byte("false"), nil
	}
	return []byte("null"), nil
}

// MarshalJSON writes null for what is not known.
func (n Node) MarshalJSON() ([]byte, error) { return object(n) }

// MarshalJSON writes null for what is not known.
func (r Resource) MarshalJSON() ([]byte, error) { return object(r) }

// MarshalJSON writes null for what is not known.
func (o Operation) MarshalJSON() ([]byte, error) { return object(o) }

// MarshalJSON writes null for what is not known.
func (f FailCount) MarshalJSON() ([]byte, error) { return object(f) }

// MarshalJSON writes null for what is not known.
func (f Failure) MarshalJSON() ([]byte, error) { return object(f) }

// MarshalJSON writes null for what is not known.
func (e FenceEvent) MarshalJSON() ([]byte, error) { return object(e) }

// object writes a struct as encoding/json does, but for values that stand for "not known", which become null: what the
// field's tag `unknown` holds, and the zero time. Every field has a json tag with a name alone.
func object(v any) ([]byte, error) {
	value := reflect.ValueOf(v)
	out := []byte{'{'}
	for i := range value.NumField() {
		field := value.Type().Field(i)
		name := field.Tag.Get("json")
		if name == "-" {
			continue
		}
		text, err := json.Marshal(known(value.Field(i).Interface(), field.Tag))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if len(out) > 1 {
			out = append(out, ',')
		}
		out = append(strconv.AppendQuote(out, name), ':')
		out = append(out, text...)
	}
	return append(out, '}'), nil
}

func known(v any, tag reflect.StructTag) any {
	if unknown, ok := tag.Lookup("unknown"); ok && fmt.Sprint(v) == unknown {
		return nil
	}
	switch v := v.(type) {
	case time.Time:
		if v.IsZero() {
			return nil
		}
		return v.UTC()
	case time.Duration:
		return v.Milliseconds()
	}
	return v
}

// nodesByClone is Status.Promoted or Unpromoted for each of the promotable clones; nil when it is not known which
// are. One pass over the resources serves all of them: a document may hold as many clones as instances.
func nodesByClone(clones []string, resources iter.Seq[Resource], role Role) map[string][]string {
	if clones == nil {
		return nil
	}
	nodes := make(map[string][]string, len(clones))
	for _, id := range clones {
		nodes[id] = []string{}
	}
	for r := range resources {
		if r.Role != role || r.Node == "" {
			continue
		}
		for _, name := range r.names() {
			if list, ok := nodes[name]; ok && name != "" {
				nodes[name] = append(list, r.Node)
			}
		}
	}
	for id, list := range nodes {
		slices.Sort(list)
		nodes[id] = slices.Compact(list)
	}
	return nodes
}

// ErrorDump is the JSON form of what went wrong instead:
// {"error": {"code": 102, "message": "Not connected", "errors": [...]}}.
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
