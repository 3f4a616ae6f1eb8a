package explain

import (
	"flag"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/pgha/pgha-agent/agent/internal/doctable"
)

var update = flag.Bool("update", false, "rewrite generated documents")

// TestReasonsDocumented holds the table of docs/operate.md to the table of reasons; -update rewrites it.
func TestReasonsDocumented(t *testing.T) {
	var b strings.Builder
	b.WriteString("| Reason | It means | Do |\n|---|---|---|\n")
	for i, r := range Reasons {
		if r.Means == "" || r.Do == "" || slices.Contains(ReasonCodes[:i], r.Code) {
			t.Errorf("%+v", r)
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", r.Code, r.Means, r.Do)
	}
	doctable.Hold(t, "../../docs/operate.md", "agent/explain", b.String(), *update)
}
