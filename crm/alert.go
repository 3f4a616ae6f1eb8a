package crm

import "time"

// Alert kinds. Any other word is kept as it is.
const (
	AlertNode      = "node"
	AlertFencing   = "fencing"
	AlertResource  = "resource"
	AlertAttribute = "attribute"
)

// Alert is one call of an alert agent by pacemaker-execd. It is a hint to look, never a fact: alerts may be lost, doubled,
// reordered or forged.
type Alert struct {
	Kind           string    `json:"kind"`
	Version        string    `json:"version,omitempty"` // Pacemaker's
	Recipient      string    `json:"recipient,omitempty"`
	Sequence       int       `json:"sequence"` // per node, restarts at 1 with pacemaker-execd; 0 when not given
	At             time.Time `json:"at"`       // from CRM_alert_timestamp_epoch and _usec; zero when not given
	Node           string    `json:"node,omitempty"`
	NodeID         string    `json:"nodeid,omitempty"`
	Desc           string    `json:"desc,omitempty"`
	Task           string    `json:"task,omitempty"`
	Resource       string    `json:"resource,omitempty"`
	RC             *int      `json:"rc,omitempty"`
	TargetRC       *int      `json:"target_rc,omitempty"`
	Status         *int      `json:"status,omitempty"`
	IntervalMS     *int      `json:"interval_ms,omitempty"`
	ExecTimeMS     *int      `json:"exec_time_ms,omitempty"`
	AttributeName  string    `json:"attribute_name,omitempty"`
	AttributeValue string    `json:"attribute_value,omitempty"`
}
