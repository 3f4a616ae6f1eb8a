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

// Status is what one crm_mon document says. A nil slice means that the section is absent (not known),
// an empty one that it is there and empty.
type Status struct {
	PacemakerVersion string // version of the DC, "" when not printed
	DC               string // name of the designated controller, "" when there is none or it is not known
	Quorum           Tri    // proves nothing in a two-node cluster: shown, never trusted
	FencingEnabled   Tri    // stonith-enabled, fencing-enabled from 3.0.2
	MaintenanceMode  Tri
	NoQuorumPolicy   string
	LastChange       time.Time // of the CIB; zero when not known

	Nodes       []Node
	Resources   []Resource // one element per instance, in document order; those printed only below their node come last
	Attributes  []Attribute
	Operations  []Operation
	FailCounts  []FailCount
	Failures    []Failure
	FenceEvents []FenceEvent // newest first, as crm_mon prints them; nil also when there was none yet
	Bans        []Ban

	FenceHistoryError string // exit code with which crm_mon failed to ask the fencer (102: not connected), "" when it did not fail

	// PromotableClones holds the ids of the promotable clones, and of the bundles in which a promotable role is shown.
	// Nil when there is no resources section: a document grouped by node alone does not tell what is promotable.
	PromotableClones []string
	Elements         ElementCounts

	Errors []string // texts of <errors> beside usable data
}

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

// Node is one cluster node.
type Node struct {
	Name, ID                                                      string
	Type                                                          string // member, remote, ping, guest ("" when not printed)
	Online, Standby, StandbyOnFail, Maintenance, Pending, Unclean Tri
	Shutdown, ExpectedUp, DC                                      Tri
	Health                                                        string
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

// InFlight reports whether a role, or the word of a pending action, says that the role is changing; a pending monitor does not.
func (r Role) InFlight() bool {
	switch r {
	case RoleStarting, RoleStopping, RolePromoting, RoleDemoting:
		return true
	default:
		return false
	}
}

// Resource is one instance of a primitive resource. Instances of an anonymous clone share their ID: the key is (ID, Node).
type Resource struct {
	ID                                                      string
	Agent                                                   string // "ocf:linbit:drbd"
	Node                                                    string // "" when it runs nowhere; one element per node when it is active on several
	Clone                                                   string // id of the enclosing clone, "" outside
	Group                                                   string // id of the enclosing group
	Bundle                                                  string // id of the enclosing bundle
	Promotable                                              bool   // the enclosing clone is promotable; in a bundle: this primitive shows a promotable role
	Role                                                    Role
	TargetRole                                              string
	Pending                                                 string // action in flight: "Promoting", "Monitoring", ...
	Active, Managed, Maintenance, Blocked, Failed, Orphaned Tri    // Managed and Maintenance take the enclosing clone's and group's word into account
}

// Attribute is a transient or permanent node attribute (promotion scores are "master-<rsc>").
type Attribute struct{ Node, Name, Value string }

// Operation is one line of a node's operation history.
type Operation struct {
	Node, Resource, Task string
	Call                 int // -1 when not printed
	RC                   int // -1 when not printed
	Interval             time.Duration
	LastChange           time.Time // last-rc-change, zero when not known
	LastChangeText       string    // as printed, in UTC when it has no zone
	ExecTime             time.Duration
}

// FailCount is a resource's fail count on a node; Infinity is 1000000.
type FailCount struct {
	Node, Resource string
	Count          int
	Threshold      int // migration-threshold, 0 when not printed
}

// Failure is one failed operation.
type Failure struct {
	Node, Resource, Op, Task, ExitReason, ExitStatus, Status string
	ExitCode                                                 int // -1 when not printed
	At                                                       time.Time
}

// FenceEvent is one entry of the fencing history.
type FenceEvent struct {
	Target, Action, Delegate, Client, Origin string
	Status                                   string    // success, failed, pending; "" when not known
	Completed                                time.Time // zero while pending or when not known
	ExitReason                               string
}

// Ban is a location constraint with a negative score.
type Ban struct {
	ID, Resource, Node string
	Weight             int
	PromotedOnly       Tri
}
