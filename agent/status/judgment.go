package status

import (
	"strings"
	"time"
)

// Verdict is a judgment in a word.
type Verdict string

// The verdicts. What goes on by itself hides what should be looked at some time: first it has to end.
const (
	VerdictOK        Verdict = "ok"
	VerdictAttention Verdict = "attention" // works, and somebody should look
	VerdictWaiting   Verdict = "waiting"   // goes on by itself
	VerdictProblem   Verdict = "problem"   // needs a person
)

// Verdicts lists every Verdict.
var Verdicts = []Verdict{VerdictOK, VerdictAttention, VerdictWaiting, VerdictProblem}

// Judgment answers what an operator asks: do clients reach the database, could it fail over, why does the record point
// where it points, why does this node publish or not, and what is to be done. Fields are only ever added.
type Judgment struct {
	Verdict  Verdict   `json:"verdict"`
	Database Database  `json:"database"`
	Failover Failover  `json:"failover"`
	Record   string    `json:"record"` // why the record points where it points
	Node     string    `json:"node"`   // why this node publishes or not
	Holds    []HoldDoc `json:"holds"`  // what holds it back, what to fix first first
	WaitsFor string    `json:"waits_for"`
	Next     string    `json:"next"` // the one next step
	Command  string    `json:"command,omitempty"`
	Findings []Finding `json:"findings"` // what to fix first first
	Notes    []string  `json:"notes"`
}

// ClientsState says whether clients can write through the name.
type ClientsState string

// The states of the clients.
const (
	ClientsServed  ClientsState = "served"
	ClientsPartly  ClientsState = "partly"  // from some nodes
	ClientsCutOff  ClientsState = "cut_off" // from none
	ClientsUnknown ClientsState = "unknown"
)

// ClientsStates lists every ClientsState.
var ClientsStates = []ClientsState{ClientsServed, ClientsPartly, ClientsCutOff, ClientsUnknown}

// Database says whether clients can write through the name.
type Database struct {
	State ClientsState `json:"state"`
	Node  string       `json:"node,omitempty"`  // that has the database, as far as it is known
	Since *time.Time   `json:"since,omitempty"` // the last success of a client, while they are cut off
	Text  string       `json:"text"`
}

// Failover says whether the database would fail over now if its node failed.
type Failover struct {
	Possible *bool     `json:"possible"` // null when not known
	To       string    `json:"to,omitempty"`
	Text     string    `json:"text"`
	Reasons  []Finding `json:"reasons"` // what forbids it, or is not known
}

// Finding is something that is wrong, with what to do about it.
type Finding struct {
	Code     string   `json:"code"`           // from a closed set
	Severity string   `json:"severity"`       // critical or warning; "unknown" for what could not be told
	Node     string   `json:"node,omitempty"` // where the commands are to be run, if they have to be run somewhere
	Text     string   `json:"text"`
	Remedy   string   `json:"remedy,omitempty"`   // in words
	Commands []string `json:"commands,omitempty"` // in this order, with everything filled in
}

// Advice is the remedy and its commands in one line.
func (f *Finding) Advice() string {
	if len(f.Commands) == 0 {
		return f.Remedy
	}
	return strings.TrimSuffix(f.Remedy, ":") + ": `" + strings.Join(f.Commands, "`, `") + "`"
}

// Unknown is the severity of a Finding about what could not be told: it is no pass.
const Unknown = "unknown"
