package crm

import (
	"strconv"
	"strings"
	"time"

	"github.com/beevik/etree"
)

// Infinity is the score that outweighs every other but its negative, as Pacemaker counts.
const Infinity = 1000000

// read fills s from the sections under root and tells whether there was any.
func (s *Status) read(root *etree.Element) bool {
	var found bool
	var nodes, resources *etree.Element
	for e := range root.ChildElementsSeq() {
		known := true
		switch e.Tag {
		case "summary":
			s.readSummary(e)
		case "nodes":
			nodes = e
			s.readNodes(e)
		case "resources":
			resources = e
		case "node_attributes":
			s.readAttributes(e)
		case "node_history":
			s.readHistory(e)
		case "failures":
			s.readFailures(e)
		case "fence_history":
			s.readFenceHistory(e)
		case "bans":
			s.readBans(e)
		case "tickets":
			s.Tickets = []Ticket{}
			for t := range e.ChildElementsSeq() {
				if t.Tag == "ticket" {
					s.Tickets = append(s.Tickets, Ticket{attr(t, "id"), attr(t, "status"), tri(t, "standby")})
				}
			}
		default:
			known = false
		}
		found = found || known
	}
	s.readResources(resources, nodes)
	return found
}

func (s *Status) readSummary(summary *etree.Element) {
	for e := range summary.ChildElementsSeq() {
		switch e.Tag {
		case "current_dc":
			s.PacemakerVersion = attr(e, "version")
			s.Quorum = tri(e, "with_quorum")
			if tri(e, "present") != No {
				s.DC = attr(e, "name")
			}
		case "last_change":
			s.LastChange = parseTime(attr(e, "time"))
			s.ChangedBy = Change{attr(e, "user"), attr(e, "client"), attr(e, "origin")}
		case "cluster_options":
			// 3.0.2 and later print both words; they agree.
			s.FencingEnabled = tri(e, "fencing-enabled").or(tri(e, "stonith-enabled"))
			s.MaintenanceMode = tri(e, "maintenance-mode")
			s.NoQuorumPolicy = attr(e, "no-quorum-policy")
		}
	}
}

func (s *Status) readNodes(section *etree.Element) {
	s.Nodes = []Node{}
	for e := range section.ChildElementsSeq() {
		if e.Tag != "node" {
			continue
		}
		n := Node{
			Name: attr(e, "name"), ID: attr(e, "id"), Type: attr(e, "type"), Health: attr(e, "health"),
			Online: tri(e, "online"), Standby: tri(e, "standby"), StandbyOnFail: tri(e, "standby_onfail"),
			Maintenance: tri(e, "maintenance"), Pending: tri(e, "pending"), Unclean: tri(e, "unclean"),
			Shutdown: tri(e, "shutdown"), ExpectedUp: tri(e, "expected_up"), DC: tri(e, "is_dc"),
		}
		// A guest is printed as a remote node that names the resource it runs in.
		if attr(e, "id_as_resource") != "" {
			n.Type = "guest"
		}
		s.Nodes = append(s.Nodes, n)
	}
}

func (s *Status) readAttributes(section *etree.Element) {
	s.Attributes = []Attribute{}
	for node := range section.ChildElementsSeq() {
		name := attr(node, "name")
		for e := range node.ChildElementsSeq() {
			if e.Tag == "attribute" {
				s.Attributes = append(s.Attributes, Attribute{Node: name, Name: attr(e, "name"), Value: attr(e, "value")})
			}
		}
	}
}

func (s *Status) readHistory(section *etree.Element) {
	s.Operations, s.FailCounts = []Operation{}, []FailCount{}
	for node := range section.ChildElementsSeq() {
		name := attr(node, "name")
		for history := range node.ChildElementsSeq() {
			if history.Tag != "resource_history" {
				continue
			}
			id := attr(history, "id")
			if count, ok := score(attr(history, "fail-count")); ok {
				threshold, _ := score(attr(history, "migration-threshold"))
				s.FailCounts = append(s.FailCounts, FailCount{Node: name, Resource: id, Count: count, Threshold: threshold})
			}
			for e := range history.ChildElementsSeq() {
				if e.Tag != "operation_history" {
					continue
				}
				changed := attr(e, "last-rc-change")
				s.Operations = append(s.Operations, Operation{
					Node: name, Resource: id, Task: attr(e, "task"),
					Call: number(e, "call"), RC: number(e, "rc"),
					Interval: duration(attr(e, "interval")), ExecTime: duration(attr(e, "exec-time")),
					LastChange: parseTime(changed), LastChangeText: changed,
				})
			}
		}
	}
}

func (s *Status) readFailures(section *etree.Element) {
	s.Failures = []Failure{}
	for e := range section.ChildElementsSeq() {
		if e.Tag != "failure" {
			continue
		}
		op := attr(e, "op_key")
		if op == "" {
			op = attr(e, "id") // what 2.0.3 and later print when the operation has no key
		}
		task := attr(e, "task")
		resource, keyTask := splitOpKey(op, task)
		if task == "" {
			task = keyTask
		}
		s.Failures = append(s.Failures, Failure{
			Node: attr(e, "node"), Resource: resource, Op: op, Task: task,
			ExitReason: attr(e, "exitreason"), ExitStatus: attr(e, "exitstatus"), Status: attr(e, "status"),
			ExitCode: number(e, "exitcode"), At: parseTime(attr(e, "last-rc-change")),
		})
	}
}

// readFenceHistory leaves FenceEvents nil when crm_mon says that it could not ask the fencer (@status not 0).
func (s *Status) readFenceHistory(section *etree.Element) {
	if code := attr(section, "status"); code == "" || code == "0" {
		s.FenceEvents = []FenceEvent{}
	} else {
		s.FenceHistoryError = code
	}
	for e := range section.ChildElementsSeq() {
		if e.Tag != "fence_event" {
			continue
		}
		status := attr(e, "status")
		if status == "" {
			status = attr(e, "state") // Pacemaker 2.0.0 to 2.0.2
		}
		s.FenceEvents = append(s.FenceEvents, FenceEvent{
			Target: attr(e, "target"), Action: attr(e, "action"), Delegate: attr(e, "delegate"),
			Client: attr(e, "client"), Origin: attr(e, "origin"), Status: status,
			Completed: parseTime(attr(e, "completed")), ExitReason: attr(e, "exit-reason"),
		})
	}
}

func (s *Status) readBans(section *etree.Element) {
	s.Bans = []Ban{}
	for e := range section.ChildElementsSeq() {
		if e.Tag != "ban" {
			continue
		}
		weight, _ := score(attr(e, "weight"))
		s.Bans = append(s.Bans, Ban{
			ID: attr(e, "id"), Resource: attr(e, "resource"), Node: attr(e, "node"), Weight: weight,
			PromotedOnly: tri(e, "promoted-only").or(tri(e, "master_only")),
		})
	}
}

// splitOpKey takes "<resource>_<task>_<interval>" apart. Resource ids and tasks may contain underscores, so the task is
// taken from the document when it is there, else from the tasks known to contain one.
func splitOpKey(key, task string) (resource, keyTask string) {
	i := strings.LastIndexByte(key, '_')
	if i < 0 {
		return key, ""
	}
	if _, err := strconv.ParseUint(key[i+1:], 10, 64); err != nil {
		return key, ""
	}
	key = key[:i]
	for _, known := range []string{task, "migrate_to", "migrate_from"} {
		if rest, ok := strings.CutSuffix(key, "_"+known); ok && known != "" {
			return rest, known
		}
	}
	for _, notify := range []string{"_pre_notify_", "_post_notify_", "_confirmed-pre_notify_", "_confirmed-post_notify_"} {
		if j := strings.LastIndex(key, notify); j >= 0 {
			return key[:j], "notify"
		}
	}
	if i = strings.LastIndexByte(key, '_'); i >= 0 {
		return key[:i], key[i+1:]
	}
	return key, ""
}

// attr returns an attribute's value. etree's own SelectAttrValue takes the key apart at every call, which is a third of
// the time that a large document takes.
func attr(e *etree.Element, key string) string {
	for i := range e.Attr {
		if e.Attr[i].Key == key && e.Attr[i].Space == "" {
			return e.Attr[i].Value
		}
	}
	return ""
}

func tri(e *etree.Element, key string) Tri {
	switch attr(e, key) {
	case "true":
		return Yes
	case "false":
		return No
	}
	return Unknown
}

// or returns t, or other when t is not said.
func (t Tri) or(other Tri) Tri {
	if t == Unknown {
		return other
	}
	return t
}

// number returns -1 for what is missing or not a number.
func number(e *etree.Element, key string) int {
	n, err := strconv.Atoi(attr(e, key))
	if err != nil {
		return -1
	}
	return n
}

func score(text string) (int, bool) {
	switch text {
	case "INFINITY", "+INFINITY":
		return Infinity, true
	case "-INFINITY":
		return -Infinity, true
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		return 0, false
	}
	return max(-Infinity, min(n, Infinity)), true
}

// duration reads "2044ms", and "2044" as milliseconds; zero for anything else.
func duration(text string) time.Duration {
	ms, err := strconv.ParseInt(strings.TrimSuffix(text, "ms"), 10, 64)
	if err != nil || ms < 0 || ms > int64(1<<63-1)/int64(time.Millisecond) {
		return 0
	}
	return time.Duration(ms) * time.Millisecond
}

// parseTime reads the forms that crm_mon prints: ctime without a zone, and since 2.0.3 ISO with or without a zone and
// microseconds. Without a zone it is UTC, which is the zone that crm_mon is run with (childEnv), and not this
// process's: that is the machine's, can be changed, and differs from the one of whoever made a recording. Anything else
// is the zero time, and so is 1970: 2.0.3 printed it for fencing that did not complete.
func parseTime(text string) time.Time {
	text = strings.TrimSpace(text)
	if text == "" {
		return time.Time{}
	}
	layouts := []string{time.ANSIC, "Mon Jan _2 15:04:05 UTC 2006"} // other abbreviations name no offset
	if text[0] >= '0' && text[0] <= '9' {
		layouts = []string{
			"2006-01-02 15:04:05Z07:00", "2006-01-02 15:04:05 Z07:00", time.DateTime, time.RFC3339,
			"2006-01-02 15:04:05 -0700",
		}
	}
	for _, layout := range layouts {
		if t, err := time.Parse(layout, text); err == nil {
			if t.UTC().Year() <= 1970 {
				return time.Time{}
			}
			return t
		}
	}
	return time.Time{}
}
