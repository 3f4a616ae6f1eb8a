// Package doctor checks a node and its cluster for what makes a failover slow, unsafe or impossible, and says how to
// fix it.
//
// Collectors gather facts and may fail; checks are pure functions on facts. A missing fact makes the verdict
// unknown, with the reason, and never a pass. Nothing here changes anything: see route53.Client.TryWrite and
// dryRun for how permissions to write are tried.
package doctor

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
)

// Verdict is the outcome of one check.
type Verdict string

// The verdicts, best first. Skip says that the check does not apply here, Unknown that a fact is missing.
const (
	Pass    Verdict = "pass"
	Skip    Verdict = "skip"
	Unknown Verdict = "unknown"
	Warn    Verdict = "warn"
	Fail    Verdict = "fail"
)

// Verdicts lists them all, best first.
var Verdicts = []Verdict{Pass, Skip, Unknown, Warn, Fail}

// Worse orders verdicts by how much they ask for attention: positive when a is worse than b.
func Worse(a, b Verdict) int {
	return cmp.Compare(slices.Index(Verdicts, a), slices.Index(Verdicts, b))
}

// Area groups checks for people.
type Area string

// The areas, in the order in which they are shown.
const (
	Fencing   Area = "fencing"
	Pacemaker Area = "pacemaker"
	Corosync  Area = "corosync"
	Drbd      Area = "drbd"
	Postgres  Area = "postgres"
	Network   Area = "network"
	AWS       Area = "aws"
	Node      Area = "node"
)

// Areas lists them all.
var Areas = []Area{Fencing, Pacemaker, Corosync, Drbd, Postgres, Network, AWS, Node}

// Check is one thing that must be so.
type Check struct {
	Name   string // a word for --only and the metric's label
	Area   Area
	Want   string               // what must be so, in a line
	Why    string               // what happens otherwise
	Remedy string               // what to do; {clone}, {resource}, {group}, {node}, {peer}, {record} stand for names
	Needs  []Source             // without one of these the verdict is unknown
	Also   []Source             // looked at as well when they are there
	Judge  func(*Facts) Finding // called only when all that it needs is there
}

// Free says that the check costs nothing: no request to AWS, no connection to another machine, no privilege. The daemon
// runs these.
func (c *Check) Free() bool {
	return !slices.ContainsFunc(slices.Concat(c.Needs, c.Also), func(s Source) bool { return !sources[s].free })
}

// Finding is what a check found. Remedy replaces the check's own when the facts allow a more exact one.
type Finding struct {
	Verdict  Verdict
	Evidence string
	Remedy   string
}

func pass(format string, args ...any) Finding {
	return Finding{Verdict: Pass, Evidence: fmt.Sprintf(format, args...)}
}

func warn(format string, args ...any) Finding {
	return Finding{Verdict: Warn, Evidence: fmt.Sprintf(format, args...)}
}

func fail(format string, args ...any) Finding {
	return Finding{Verdict: Fail, Evidence: fmt.Sprintf(format, args...)}
}

func skip(format string, args ...any) Finding {
	return Finding{Verdict: Skip, Evidence: fmt.Sprintf(format, args...)}
}

func unknown(format string, args ...any) Finding {
	return Finding{Verdict: Unknown, Evidence: fmt.Sprintf(format, args...)}
}

// remedy returns the finding with a remedy of its own.
func (f Finding) remedy(format string, args ...any) Finding {
	f.Remedy = fmt.Sprintf(format, args...)
	return f
}

// Result is the answer of one check, as JSON shows it.
type Result struct {
	Check    string  `json:"check"`
	Area     Area    `json:"area"`
	Verdict  Verdict `json:"verdict"`
	Want     string  `json:"want"`
	Evidence string  `json:"evidence"`
	Why      string  `json:"why"`
	Remedy   string  `json:"remedy,omitempty"` // absent with pass and skip
}

// All returns every check, by area.
func All() []Check {
	return slices.Concat(fencingChecks, pacemakerChecks, corosyncChecks, drbdChecks, postgresChecks, networkChecks,
		awsChecks, nodeChecks)
}

// FreeChecks returns the checks that the daemon runs.
func FreeChecks() []Check {
	return slices.DeleteFunc(All(), func(c Check) bool { return !c.Free() })
}

// Select returns the checks whose name or area is in only, all when it is empty, without those in leave. A word that is
// neither is an error.
func Select(only, leave []string) ([]Check, error) {
	all := All()
	for _, word := range slices.Concat(only, leave) {
		if !slices.ContainsFunc(all, func(c Check) bool { return c.goesBy(word) }) {
			return nil, fmt.Errorf("there is no check or area %q: `pgha-agent doctor --list` shows them", word)
		}
	}
	return slices.DeleteFunc(all, func(c Check) bool {
		return len(only) > 0 && !slices.ContainsFunc(only, c.goesBy) || slices.ContainsFunc(leave, c.goesBy)
	}), nil
}

func (c *Check) goesBy(word string) bool { return word == c.Name || word == string(c.Area) }

// Run collects what the checks need and judges. Results are in the order of the checks.
func Run(ctx context.Context, o Options, checks []Check) []Result {
	var needs []Source
	for _, c := range checks {
		needs = append(append(needs, c.Needs...), c.Also...)
	}
	f := collect(ctx, o, needs)
	results := make([]Result, 0, len(checks))
	for _, c := range checks {
		results = append(results, f.result(c))
	}
	return results
}

// result judges one check, or says which fact is missing.
func (f *Facts) result(c Check) Result {
	finding, ok := f.missing(c.Needs)
	if !ok {
		finding = c.Judge(f)
	}
	r := Result{Check: c.Name, Area: c.Area, Verdict: finding.Verdict, Want: c.Want, Evidence: finding.Evidence,
		Why: c.Why}
	if r.Verdict != Pass && r.Verdict != Skip {
		r.Remedy = finding.Remedy
		if r.Remedy == "" && r.Verdict != Unknown { // an unknown one needs the fact first, not the check's cure
			r.Remedy = c.Remedy
		}
		r.Remedy = f.names().Replace(r.Remedy)
	}
	return r
}

// missing returns the finding of the first fact that is not there, if there is one. A fact that has no place here comes
// before one that failed: what does not apply needs no other fact.
func (f *Facts) missing(needs []Source) (worst Finding, is bool) {
	for _, s := range needs {
		if absent, ok := f.absent[s]; ok && (!is || absent.Verdict == Skip) {
			worst, is = absent, true
		}
	}
	return worst, is
}

// names replaces the placeholders of remedies by what they are here.
func (f *Facts) names() *strings.Replacer {
	group := "GROUP"
	if f.CIB != nil {
		if list := f.database(); len(list) > 0 {
			group = list[0].ID
			if list[0].Group != "" {
				group = list[0].Group
			}
		}
	}
	return strings.NewReplacer("{clone}", f.Options.Clone, "{resource}", f.Options.Resource, "{group}", group,
		"{node}", f.Options.Node, "{peer}", cmp.Or(f.peer(), "PEER"), "{record}", f.Options.Record.Name)
}

// Worst returns the worst verdict among results; Pass when there are none.
func Worst(results []Result) Verdict {
	worst := Pass
	for _, r := range results {
		if Worse(r.Verdict, worst) > 0 {
			worst = r.Verdict
		}
	}
	return worst
}
