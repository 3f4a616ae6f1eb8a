package crm

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Alert kinds. Any other word is kept as it is.
const (
	AlertNode      = "node"
	AlertFencing   = "fencing"
	AlertResource  = "resource"
	AlertAttribute = "attribute"
)

// Alert is one call of an alert agent by pacemaker-execd. It is a hint to look, never a fact: alerts may be lost,
// doubled, reordered or forged. The variables' names are in lib/common/alerts.c, and which of them a kind has in
// lib/lrmd/lrmd_alerts.c.
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

const (
	maxAlertText = 1 << 10  // bytes of one value
	maxAlertJSON = 32 << 10 // bytes of an alert on the wire; eleven texts, escaped, fit
	alertPrefix  = "CRM_alert_"
)

// AlertFromEnv reads the CRM_alert_* variables of env ("NAME=value", as of os.Environ). It returns false when neither
// version nor kind is there: called by hand, not by Pacemaker. The only error is a missing kind; a number that does not
// parse is as if it were not given. Texts are made valid, printable UTF-8 of at most 1 KiB.
// The CRM_notify_* twins of Pacemaker 1.1 and 2 are not read, nor CRM_alert_timestamp, which has no date by default.
func AlertFromEnv(env []string) (Alert, bool, error) {
	vars := make(map[string]string)
	for _, entry := range env {
		name, value, _ := strings.Cut(entry, "=")
		if name, ok := strings.CutPrefix(name, alertPrefix); ok {
			if _, twice := vars[name]; !twice { // getenv takes the first
				vars[name] = value
			}
		}
	}
	if vars["version"] == "" && vars["kind"] == "" {
		return Alert{}, false, nil
	}
	a := Alert{
		Kind: vars["kind"], Version: vars["version"], Recipient: vars["recipient"],
		Node: vars["node"], NodeID: vars["nodeid"], Desc: vars["desc"], Task: vars["task"], Resource: vars["rsc"],
		RC: integer(vars["rc"]), TargetRC: integer(vars["target_rc"]), Status: integer(vars["status"]),
		IntervalMS: integer(vars["interval"]), ExecTimeMS: integer(vars["exec_time"]),
		AttributeName: vars["attribute_name"], AttributeValue: vars["attribute_value"],
		At: alertTime(vars["timestamp_epoch"], vars["timestamp_usec"]),
	}
	if n := integer(vars["node_sequence"]); n != nil {
		a.Sequence = *n
	}
	a.sanitize()
	if a.Kind == "" {
		return Alert{}, false, errors.New("alert: CRM_alert_kind is not set")
	}
	return a, true, nil
}

// DecodeAlert reads an alert's JSON, as json.Marshal makes it of what AlertFromEnv returned. The sender is not trusted:
// texts and numbers are bounded again, more than 32 KiB are refused, unknown fields are ignored.
func DecodeAlert(doc []byte) (Alert, error) {
	if len(doc) > maxAlertJSON {
		return Alert{}, fmt.Errorf("decode alert: %d bytes are more than %d", len(doc), maxAlertJSON)
	}
	var a Alert
	if err := json.Unmarshal(doc, &a); err != nil {
		return Alert{}, fmt.Errorf("decode alert: %w", err)
	}
	a.sanitize()
	if a.Kind == "" {
		return Alert{}, errors.New("decode alert: no kind")
	}
	return a, nil
}

// sanitize bounds every field; what it made it leaves as it is.
func (a *Alert) sanitize() {
	for _, text := range []*string{
		&a.Kind, &a.Version, &a.Recipient, &a.Node, &a.NodeID, &a.Desc, &a.Task, &a.Resource,
		&a.AttributeName, &a.AttributeValue,
	} {
		*text = clean(*text, maxAlertText)
	}
	for _, number := range []**int{&a.RC, &a.TargetRC, &a.Status, &a.IntervalMS, &a.ExecTimeMS} {
		if n := *number; n != nil && (*n < math.MinInt32 || *n > math.MaxInt32) {
			*number = nil
		}
	}
	if a.Sequence < 0 || a.Sequence > math.MaxInt32 {
		a.Sequence = 0
	}
	a.At = a.At.UTC()
	if y := a.At.Year(); y < 1970 || y > 9999 {
		a.At = time.Time{}
	}
}

// clean makes valid UTF-8 of at most limit bytes, cut between runes, with a space for each rune that does not print.
// JSON writes < > & in six bytes and quotes in two: what would double the limit there is cut as well.
func clean(text string, limit int) string {
	var b strings.Builder
	escaped := 0
	for _, r := range text { // an invalid byte comes as U+FFFD
		if !unicode.IsPrint(r) {
			r = ' '
		}
		switch r {
		case '<', '>', '&':
			escaped += 6
		case '"', '\\':
			escaped += 2
		default:
			escaped += utf8.RuneLen(r)
		}
		if b.Len()+utf8.RuneLen(r) > limit || escaped > 2*limit {
			break
		}
		b.WriteRune(r)
	}
	return b.String()
}

// integer is nil for what is not a 32-bit decimal number.
func integer(text string) *int {
	n, err := strconv.ParseInt(text, 10, 32)
	if err != nil {
		return nil
	}
	v := int(n)
	return &v
}

func alertTime(epoch, usec string) time.Time {
	sec, err := strconv.ParseInt(epoch, 10, 64)
	if err != nil || sec <= 0 || sec > math.MaxInt64/int64(time.Second) {
		return time.Time{}
	}
	us, err := strconv.ParseInt(usec, 10, 64)
	if err != nil || us < 0 || us >= 1e6 {
		us = 0
	}
	return time.Unix(sec, us*1000).UTC()
}

const (
	sequenceWindow = 64    // numbers that may still arrive late
	sequenceJump   = 10000 // a larger step is no gap: somebody else's numbers, or a forgery
)

// Sequence follows the numbers that one node's pacemaker-execd gives to its alerts (daemons/execd/execd_alerts.c), to
// count lost ones. The zero value is ready; the first number is taken as it comes. Not safe for concurrent use.
type Sequence struct {
	last    int
	skipped []int // ascending: counted as missed, may still arrive
}

// Next takes the next number and returns how many were skipped before it, and whether execd has started to count anew
// (a number below the last one). Alerts run in parallel and overtake each other: a skipped number that arrives later is
// not a restart; it has been counted as missed, and a counter cannot take that back. A number that is not positive, and
// the last one again, say nothing.
func (s *Sequence) Next(n int) (missed int, restarted bool) {
	switch {
	case n <= 0 || n == s.last:
		return 0, false
	case s.last == 0:
		s.last = n
		return 0, false
	case n < s.last:
		if i, late := slices.BinarySearch(s.skipped, n); late {
			s.skipped = slices.Delete(s.skipped, i, i+1)
			return 0, false
		}
		*s, restarted = Sequence{}, true // execd begins with 1
	case n-s.last > sequenceJump:
		*s, restarted = Sequence{last: n - 1}, true
	}
	missed = n - s.last - 1
	if missed > sequenceJump {
		missed = 0
	}
	for skipped := max(s.last+1, n-sequenceWindow); skipped < n; skipped++ {
		s.skipped = append(s.skipped, skipped)
	}
	if extra := len(s.skipped) - sequenceWindow; extra > 0 {
		s.skipped = slices.Delete(s.skipped, 0, extra)
	}
	s.last = n
	return missed, restarted
}
