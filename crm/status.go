package crm

import "time"

// Tri is a boolean attribute that a document may leave out. The zero value is "not said".
type Tri uint8

// The three values of a Tri.
const (
	Unknown Tri = iota
	No
	Yes
)

// Status is what one crm_mon document says. A nil slice means that the section is absent (not known), an empty one
// that it is there and empty. MarshalJSON says what its JSON form is. The document's elements and attributes are
// those of xml/api/crm_mon-*.rng in Pacemaker's sources.
type Status struct {
	PacemakerVersion string // version of the DC, "" when not printed
	DC               string // name of the designated controller, "" when there is none or it is not known
	Quorum           Tri    // proves nothing in a two-node cluster: shown, never trusted
	FencingEnabled   Tri    // stonith-enabled, fencing-enabled from 3.0.2
	MaintenanceMode  Tri
	NoQuorumPolicy   string
	LastChange       time.Time // of the CIB; zero when not known
	ChangedBy        Change    // who made it; "" for what is not known

	Nodes       []Node
	Resources   []Resource // one element per instance, in document order; those printed only below their node come last
	Attributes  []Attribute
	Operations  []Operation
	FailCounts  []FailCount
	Failures    []Failure
	FenceEvents []FenceEvent // newest first, as crm_mon prints them; nil also when there was none yet
	Bans        []Ban
	Tickets     []Ticket

	// FenceHistoryError is the exit code with which crm_mon failed to ask the fencer (102: not connected), "" when it did
	// not fail.
	FenceHistoryError string

	// PromotableClones holds the ids of the promotable clones, and of the bundles in which a promotable role is shown.
	// Nil when there is no resources section: a document grouped by node alone does not tell what is promotable.
	PromotableClones []string
	Elements         ElementCounts

	Errors []string // texts of <errors> beside usable data
}

// Change says who changed the configuration last: a user, with a program, on a node.
type Change struct{ User, Client, Origin string }

// ElementCounts counts the <resource> elements of a document as they are printed. It differs from the instances in
// Status.Resources when one element names several nodes, and when a document grouped by node prints an instance twice.
// Unmanaged counts the elements' own word, without that of the enclosing clone or group.
type ElementCounts struct {
	Total      int `json:"count"`
	IDs        int `json:"ids"` // distinct ids
	Started    int `json:"started"`
	Stopped    int `json:"stopped"`
	Promoted   int `json:"promoted"`
	Unpromoted int `json:"unpromoted"`
	OtherRoles int `json:"other_roles"`
	Failed     int `json:"failed"`
	Blocked    int `json:"blocked"`
	Unmanaged  int `json:"unmanaged"`
	Orphaned   int `json:"orphaned"`
}

// Node is one cluster node (xml/api/nodes-*.rng).
type Node struct {
	Name          string `json:"name"`
	ID            string `json:"id" unknown:""`
	Type          string `json:"type" unknown:""` // member, remote, ping, guest ("" when not printed)
	Online        Tri    `json:"online"`
	Unclean       Tri    `json:"unclean"`
	Standby       Tri    `json:"standby"`
	StandbyOnFail Tri    `json:"standby_onfail"`
	Maintenance   Tri    `json:"maintenance"`
	Pending       Tri    `json:"pending"`
	Shutdown      Tri    `json:"shutdown"`
	ExpectedUp    Tri    `json:"expected_up"`
	DC            Tri    `json:"dc"`
	Health        string `json:"health" unknown:""`
}

// Role is a resource role in today's words; Master and Slave are read as Promoted and Unpromoted.
type Role string

// Resource roles; a word that this package does not know is kept as it is.
const (
	RoleStopped    Role = "Stopped"
	RoleStarted    Role = "Started"
	RolePromoted   Role = "Promoted"
	RoleUnpromoted Role = "Unpromoted"
	RoleStarting   Role = "Starting"
	RoleStopping   Role = "Stopping"
	RolePromoting  Role = "Promoting"
	RoleDemoting   Role = "Demoting"
)

// InFlight reports whether a role, or the word of a pending action, says that the role is changing; a pending monitor
// does not.
func (r Role) InFlight() bool {
	switch r {
	case RoleStarting, RoleStopping, RolePromoting, RoleDemoting:
		return true
	default:
		return false
	}
}

// Resource is one instance of a primitive resource (xml/api/resources-*.rng). Instances of an anonymous clone share
// their ID: the key is (ID, Node).
type Resource struct {
	ID         string `json:"id"`
	Agent      string `json:"agent" unknown:""`  // "ocf:linbit:drbd"
	Node       string `json:"node" unknown:""`   // "" when it runs nowhere; an element per node when active on several
	Clone      string `json:"clone" unknown:""`  // id of the enclosing clone, "" outside
	Group      string `json:"group" unknown:""`  // id of the enclosing group
	Bundle     string `json:"bundle" unknown:""` // id of the enclosing bundle
	Role       Role   `json:"role" unknown:""`
	TargetRole string `json:"target_role" unknown:""`
	Pending    string `json:"pending" unknown:""` // action in flight: "Promoting", "Monitoring", ...
	Active     Tri    `json:"active"`
	// Managed and Maintenance take the enclosing clone's and group's word into account.
	Managed     Tri `json:"managed"`
	Maintenance Tri `json:"maintenance"`
	Blocked     Tri `json:"blocked"`
	Failed      Tri `json:"failed"`
	Orphaned    Tri `json:"orphaned"`
	// Promotable says that the enclosing clone is promotable; in a bundle, that this primitive shows a promotable role.
	Promotable bool `json:"-"`
}

// Attribute is a transient or permanent node attribute (xml/api/node-attrs-*.rng). Promotion scores are "master-<rsc>".
type Attribute struct {
	Node  string `json:"node"`
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Operation is one line of a node's operation history (xml/api/node-history-*.rng).
type Operation struct {
	Node           string        `json:"node"`
	Resource       string        `json:"resource"`
	Task           string        `json:"task"`
	Call           int           `json:"call" unknown:"-1"` // -1 when not printed
	RC             int           `json:"rc" unknown:"-1"`   // -1 when not printed
	Interval       time.Duration `json:"interval_ms"`
	ExecTime       time.Duration `json:"exec_time_ms"`
	LastChange     time.Time     `json:"last_change"` // last-rc-change, zero when not known
	LastChangeText string        `json:"-"`           // as printed, in UTC when it has no zone
}

// FailCount is a resource's fail count on a node (xml/api/node-history-*.rng); Infinity is 1000000.
type FailCount struct {
	Node      string `json:"node"`
	Resource  string `json:"resource"`
	Count     int    `json:"count"`
	Threshold int    `json:"threshold" unknown:"0"` // migration-threshold, 0 when not printed
}

// Failure is one failed operation (xml/api/failure-*.rng).
type Failure struct {
	Node       string    `json:"node"`
	Resource   string    `json:"resource" unknown:""`
	Op         string    `json:"op" unknown:""`
	Task       string    `json:"task" unknown:""`
	ExitCode   int       `json:"exit_code" unknown:"-1"` // -1 when not printed
	ExitStatus string    `json:"exit_status" unknown:""`
	ExitReason string    `json:"exit_reason" unknown:""`
	Status     string    `json:"status" unknown:""`
	At         time.Time `json:"at"`
}

// FenceEvent is one entry of the fencing history (xml/api/fence-event-*.rng).
type FenceEvent struct {
	Target     string    `json:"target"`
	Action     string    `json:"action" unknown:""`
	Status     string    `json:"status" unknown:""` // success, failed, pending; "" when not known
	Delegate   string    `json:"delegate" unknown:""`
	Client     string    `json:"client" unknown:""`
	Origin     string    `json:"origin" unknown:""`
	Completed  time.Time `json:"completed"` // zero while pending or when not known
	ExitReason string    `json:"exit_reason" unknown:""`
}

// Ticket is a ticket of a cluster of clusters (xml/api/crm_mon-*.rng).
type Ticket struct {
	ID      string `json:"id"`
	Status  string `json:"status"` // granted or revoked
	Standby Tri    `json:"standby"`
}

// Ban is a location constraint with a negative score.
type Ban struct {
	ID           string `json:"id"`
	Resource     string `json:"resource"`
	Node         string `json:"node"`
	Weight       int    `json:"weight"`
	PromotedOnly Tri    `json:"promoted_only"`
}
