package status

import (
	"flag"
	"fmt"
	"strings"
	"testing"

	"github.com/pgha/pgha-agent/agent/fsm"
	"github.com/pgha/pgha-agent/agent/internal/doctable"
)

// TestHoldsAreComplete wants each hold once, and whoever meets one told what it means, what ends it and the next step.
func TestHoldsAreComplete(t *testing.T) {
	seen := map[fsm.Hold]bool{}
	for _, h := range Holds {
		if seen[h.Is] {
			t.Errorf("%s is there twice", h.Is)
		}
		seen[h.Is] = true
		if h.Text == "" || h.WaitsFor == "" || h.Next == "" || h.Command == "" ||
			h.Remedy == "" && h.Is != fsm.HoldNotPromoted {
			t.Errorf("%s: %+v", h.Is, h)
		}
	}
	for _, h := range fsm.AllHolds() {
		if !seen[h] {
			t.Errorf("%s is not in the table", h)
		}
	}
}

func TestPhasesAreComplete(t *testing.T) {
	if len(Phases) != int(fsm.NumPhases) {
		t.Errorf("%d phases, want %d", len(Phases), fsm.NumPhases)
	}
	for i, p := range Phases {
		if int(p.Is) != i || p.Text == "" || PhaseText(p.Is.String()) != p.Text {
			t.Errorf("%d: %+v", i, p)
		}
	}
	if PhaseText("newer") != "newer" {
		t.Error("a phase of a newer daemon has no name")
	}
}

var update = flag.Bool("update", false, "rewrite generated documents")

// TestHoldsDocumented holds the table of docs/operate.md to the table of holds; -update rewrites it.
func TestHoldsDocumented(t *testing.T) {
	var b strings.Builder
	b.WriteString("| Hold | It means | Do |\n|---|---|---|\n")
	for _, h := range Holds {
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", h.Is, strings.TrimSpace(sentence(h.Text)+" "+h.More), sentence(h.Remedy))
	}
	doctable.Hold(t, "../../docs/operate.md", "agent/status", b.String(), *update)
}

// sentence makes a sentence of words that stand elsewhere in the middle of one.
func sentence(s string) string {
	if s == "" {
		return "Nothing."
	}
	if s[0] >= 'a' && s[0] <= 'z' && !strings.HasPrefix(s, "crm_") {
		s = strings.ToUpper(s[:1]) + s[1:]
	}
	if strings.HasSuffix(s, "?") {
		return s
	}
	return s + "."
}
