package status

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pgha/pgha-agent/agent/fsm"
	"github.com/pgha/pgha-agent/crm"
)

// slowLook is how long crm_mon may take before there is a finding about it. With twice that no picture is young enough
// to publish by.
const slowLook = fsm.MaxClusterAge / 2

// slowCrm says that crm_mon is slow, "" when it is not.
func (s *Snapshot) slowCrm() string {
	if s.LookTook <= slowLook {
		return ""
	}
	took := s.LookTook.Round(100 * time.Millisecond)
	return fmt.Sprintf("crm_mon takes %s, and its picture of the cluster counts for %s", took, fsm.MaxClusterAge)
}

const slowCrmRemedy = "`time crm_mon -1`; then the load of this machine (`uptime`, `top`), and Pacemaker's log " +
	"(`journalctl -u pacemaker`)"

// unreadHistory says that crm_mon cannot read the fencing history, "" when it can. Without a DC, while the cluster
// forms, that is normal.
func (s *Snapshot) unreadHistory() string {
	if s.Crm == nil || s.Crm.FenceHistoryError == "" || s.Crm.DC == "" {
		return ""
	}
	return fmt.Sprintf("crm_mon cannot read the fencing history (code %s)", s.Crm.FenceHistoryError)
}

const unreadHistoryRemedy = "`runuser -u pgha -- stonith_admin --history '*'` and `journalctl -t pacemaker-fenced` say why"

// HoldDoc says what a condition means and what to do about it, as exactly as what is known allows.
func (s *Snapshot) HoldDoc(h fsm.Hold) HoldDoc {
	d := NewHoldDoc(h)
	switch h {
	case fsm.HoldCrmUnknown:
		if s.LookTook > fsm.MaxClusterAge {
			d.Text, d.Remedy = s.slowCrm(), slowCrmRemedy
		}
	case fsm.HoldStalled:
		if left := s.State.Wait.StalledUntil - s.At; left > 0 {
			d.Text = fmt.Sprintf("%s: nothing is written for %.0f s more", d.Text, max(1, left.Seconds()))
		}
	case fsm.HoldPeerUnclean:
		d.Remedy = s.uncleanRemedy()
	case fsm.HoldPeerUnfenced:
		s.unfencedDoc(&d)
	case fsm.HoldRecordRefused:
		if s.Refusal != "" { // the source's last error may be about a later call
			d.Text += ": " + s.Refusal
		}
	}
	return d
}

// uncleanRemedy is for a node that is lost and not fenced yet. Pacemaker gives up after some failures, and goes on
// when the resource of the fence device is cleaned up.
func (s *Snapshot) uncleanRemedy() string {
	remedy := HoldOf(fsm.HoldPeerUnclean).Remedy
	if s.Crm == nil {
		return remedy
	}
	var cleanups []string
	for _, n := range s.Crm.Nodes {
		if _, pending := s.Crm.PendingFence(n.Name); pending {
			return "wait for the fencing that is under way; if it fails, " + remedy
		}
	}
	for _, r := range s.Crm.Resources {
		if command := "`crm_resource --cleanup --resource " + r.ID + "`"; strings.HasPrefix(r.Agent, "stonith:") &&
			!slices.Contains(cleanups, command) {
			cleanups = append(cleanups, command)
		}
	}
	if len(cleanups) == 0 {
		return remedy
	}
	return "see the fence device: `stonith_admin --history '*'`; when it is mended: " + strings.Join(cleanups, ", ")
}

// unfencedDoc tells apart why no fencing is known: it cannot be seen, it is not in the history, or it may be from
// before.
func (s *Snapshot) unfencedDoc(d *HoldDoc) {
	if why := s.unreadHistory(); why != "" {
		d.Text = "the other node was lost while it was promoted, and whether it was fenced since cannot be seen: " + why
		d.Remedy = unreadHistoryRemedy + "; the hold ends when the history shows the fencing, or when that node is back: " +
			"--confirm is not seen either"
		return
	}
	if s.Crm == nil {
		return
	}
	var bare []string
	shown := false
	for _, l := range s.State.Peers.Lost {
		n, known := s.Crm.Node(l.Name)
		if known && n.Online != crm.Yes && !l.Fenced {
			d.Remedy = fmt.Sprintf("%s: `stonith_admin --confirm %s`", HoldOf(fsm.HoldPeerUnfenced).Remedy, l.Name)
		}
		if _, fenced := s.Crm.LastFence(l.Name); known && n.Online != crm.Yes && !fenced {
			bare = append(bare, l.Name)
		} else if known && n.Online != crm.Yes && !l.Fenced {
			shown = true
		}
	}
	if len(bare) == 0 && shown {
		d.Text += "; the one that the history shows may be from before its last return"
	}
	if len(bare) > 0 {
		d.Text = fmt.Sprintf("%s was lost while it was promoted, and the fencing history shows no fencing of it",
			strings.Join(bare, ", "))
		d.Remedy = fmt.Sprintf("see the fence device. A history that was cleaned up, or lost in a restart of Pacemaker, "+
			"does not come back: only when %s is off for certain (EC2 says stopped), `stonith_admin --confirm %[1]s`", bare[0])
	}
}

// Ago says a duration as a person would: no more than two units.
func Ago(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%.0f s", max(0, d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%d min %d s", int(d.Minutes()), int(d.Seconds())%60)
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h %d min", int(d.Hours()), int(d.Minutes())%60)
	default:
		return fmt.Sprintf("%d days", int(d.Hours())/24)
	}
}

// SyncNote says how far a resync is, "" when there is none.
func SyncNote(done, eta *float64, stalled bool) string {
	if done == nil {
		return ""
	}
	note := fmt.Sprintf("  %.1f %% done", *done)
	if eta != nil {
		note += fmt.Sprintf(", %s left", (time.Duration(*eta) * time.Second).String())
	}
	if stalled {
		note += ", STALLED"
	}
	return note
}

// OrDash stands in for a text that is empty.
func OrDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
