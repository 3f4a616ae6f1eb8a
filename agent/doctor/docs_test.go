package doctor

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// TestDocumented holds docs/doctor.md to the checks; -update rewrites it.
func TestDocumented(t *testing.T) {
	var b strings.Builder
	b.WriteString(docHead)
	for _, area := range Areas {
		fmt.Fprintf(&b, "\n## %s\n\n| check | what must be so | otherwise | remedy |\n|---|---|---|---|\n", area)
		for _, c := range All() {
			if c.Area != area {
				continue
			}
			name := "`" + c.Name + "`"
			if c.Free() {
				name += " *"
			}
			fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", name, cell(c.Want), cell(c.Why), cell(c.Remedy))
		}
	}
	const page = "../../docs/doctor.md"
	if *update {
		if err := os.WriteFile(page, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := os.ReadFile(page); err != nil || string(got) != b.String() {
		t.Errorf("docs/doctor.md is not current (%v): run `make docs`", err)
	}
}

var placeholders = strings.NewReplacer("{clone}", "CLONE", "{resource}", "RESOURCE", "{group}", "GROUP", "{node}",
	"NODE", "{peer}", "PEER", "{record}", "NAME", "|", `\|`)

func cell(s string) string { return placeholders.Replace(s) }

const docHead = `# The doctor

Made from the checks by ` + "`make docs`" + `: do not edit.

` + "`pgha-agent doctor`" + ` looks at a node and its cluster for what makes a failover slow, unsafe or impossible, and says how to fix it. Run it as root on both nodes:
before you rely on the cluster, after each change, and after each upgrade of Pacemaker, DRBD or PostgreSQL. It needs no running daemon. Where the daemons of the nodes
answer, it asks them too: what clients see, what the other node is configured with and what runs there is unknown without them.

` + "```" + `
pgha-agent doctor                        # problems first, a line for each check
pgha-agent doctor --fix-hints            # with why it matters, and the remedy
pgha-agent doctor --only drbd,fence-delay --json
pgha-agent doctor --skip backups
` + "```" + `

| verdict | exit status when it is the worst | meaning |
|---|---|---|
| ` + "`pass`, `skip`" + ` | 0 | it is as it should be; it does not apply here, and the line says why (PostgreSQL runs on the promoted node only) |
| ` + "`fail`" + ` | 2 | a failover will be unsafe, fail, or take minutes; or data is at risk now |
| ` + "`warn`" + ` | 3 | it works now, and will cause trouble later |
| ` + "`unknown`" + ` | 4 | a fact is missing, and the line says why. It never counts as a pass |

Status 1 means that the doctor itself could not run. It changes nothing. Two checks ask AWS whether a change would be allowed: ` + "`fence-permissions`" + ` sends EC2's
` + "`DryRun`" + `; ` + "`route53-write`" + ` sends a batch that begins with the deletion of a value made up for this call. Route 53 must refuse that, and a batch is all or nothing; what follows in
it is what the zone holds already. ` + "`port-drbd`" + ` connects to the peer's port only when DRBD is not connected. As root, PostgreSQL is asked with ` + "`psql`" + ` as the user who owns the server.

The daemon runs the checks marked with * a few minutes after its start and every hour, as user pgha, and exports ` + "`pgha_doctor_check{check,verdict}`" + `. They cost no request to AWS and no
connection to another machine.

` + "`failover`" + ` and ` + "`clients`" + ` judge as ` + "`pgha-agent explain`" + ` does, with its words and commands. A fact that such a check tells has its remedy there; other checks that see it refer to it.

Words in capitals stand for your names. ` + "`pcs`" + ` commands are for one node, everything else for both. Measured times are of the [lab](lab.md)'s emulated machines.
`
