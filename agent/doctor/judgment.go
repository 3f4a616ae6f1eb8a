package doctor

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/pgha/pgha-agent/agent/explain"
	"github.com/pgha/pgha-agent/agent/status"
)

// facts are what the shared judgment rests on. What was not collected is nil there too.
func (f *Facts) facts() explain.Facts {
	x := explain.Facts{
		Now: f.Now, Node: f.Options.Node, Clone: f.Options.Clone, Resource: f.Options.Resource, TTL: f.Options.Record.TTL,
		Own: f.own(), Cluster: f.Crm, Config: f.CIB, ConfigErr: f.absent[fromCIB].Evidence,
		Peers: map[string]*status.Doc{}, Errs: map[string]string{},
	}
	for _, p := range f.Peers {
		if p.Doc != nil {
			x.Peers[p.Node] = p.Doc
		} else {
			x.Errs[p.Node] = p.Err
		}
	}
	return x
}

// own is the status of this node: what its daemon says, else what the doctor sees without it.
func (f *Facts) own() *status.Doc {
	d := status.Doc{Node: f.Options.Node, Time: f.Now, Version: f.Options.Version, Config: f.Options.Settings,
		Record: status.RecordDoc{Name: f.Options.Record.Name}}
	if f.Daemon != nil {
		d = *f.Daemon
	}
	if d.Drbd == nil {
		d.Drbd = f.State
	}
	return &d
}

// owners name the checks that have the remedy of a reason or finding of the shared judgment. Those that are about one
// node have it there only.
var owners = map[string]struct {
	check string
	there bool
}{
	"fencing_disabled":    {"fencing-enabled", false},
	"other_configuration": {"peer-settings", false},
	"filesystem_full":     {"filesystem-space", true},
	"filesystem_fills":    {"filesystem-space", true},
	"role_rejected":       {"postgres-role", true},
}

// owner returns the other check that has the remedy of what the judgment found, "" when there is none.
func (f *Facts) owner(r status.Finding) string {
	o := owners[r.Code]
	if o.there && r.Node != f.Options.Node {
		return ""
	}
	return o.check
}

// refer is the remedy of a fact that another check has the commands for.
func refer(checks string) string {
	return fmt.Sprintf("the commands: `pgha-agent doctor --only %s --fix-hints`", checks)
}

// told is the remedy of a fact that the shared judgment may know too: the check that tells it then has the commands.
func (f *Facts) told(otherwise string, codes ...string) string {
	x := explain.Judge(f.facts())
	is := func(r status.Finding) bool { return slices.Contains(codes, r.Code) }
	switch {
	case slices.ContainsFunc(x.Findings, is):
		return refer("clients")
	case x.Database.Node != "" && slices.ContainsFunc(x.Failover.Reasons, is):
		return refer("failover")
	}
	return otherwise
}

// advice joins the remedies of findings, what to fix first first.
func (f *Facts) advice(list []status.Finding) string {
	var all []string
	for _, r := range list {
		text := r.Advice()
		if check := f.owner(r); check != "" {
			text = refer(check)
		}
		if text != "" && !slices.Contains(all, text) {
			all = append(all, text)
		}
	}
	return strings.Join(all, "; then ")
}

// evidence is a text with those findings that it does not tell.
func evidence(text string, list []status.Finding) string {
	text = strings.TrimSuffix(text, ".")
	for _, r := range list {
		if !strings.Contains(text, r.Text) {
			text += "; " + r.Text
		}
	}
	return text
}

// judgeFailover gives the reasons that the judgment has against a failover, with its words and commands.
func judgeFailover(f *Facts) Finding {
	x := explain.Judge(f.facts())
	if x.Database.Node == "" {
		return fail("no node has the database: there is nothing that could fail over").remedy("%s", refer("clients"))
	}
	o := x.Failover
	text, advice := evidence(o.Text, o.Reasons), f.advice(o.Reasons)
	switch {
	case o.Possible == nil:
		return unknown("%s", text).remedy("%s", advice)
	case !*o.Possible:
		return fail("%s", text).remedy("%s", advice)
	case f.Daemon == nil && o.To == f.Options.Node:
		silent := f.absent[fromDaemon]
		return unknown("nothing that is seen here forbids a failover to %s, but not all of it is: %s", o.To, silent.Evidence).
			remedy("%s", silent.Remedy)
	case len(o.Reasons) > 0:
		return warn("%s", text).remedy("%s", advice)
	}
	return pass("%s", text)
}

// judgeClients tells what the views of clients on the nodes saw. A warning that another check has is left to that one.
func judgeClients(f *Facts) Finding {
	x := explain.Judge(f.facts())
	// Check peer-settings tells that.
	x.Findings = slices.DeleteFunc(x.Findings, func(r status.Finding) bool { return r.Code == "peer_agent" })
	switch x.Database.State {
	case status.ClientsCutOff, status.ClientsPartly:
		return fail("%s", evidence(x.Database.Text, x.Findings)).remedy("%s", f.advice(x.Findings))
	case status.ClientsServed:
		var own []status.Finding
		for _, r := range x.Findings {
			if f.owner(r) == "" {
				own = append(own, r)
			}
		}
		if len(own) > 0 {
			return warn("%s", evidence(x.Database.Text, own)).remedy("%s", f.advice(own))
		}
		return pass("%s", x.Database.Text)
	}
	silent, is := f.absent[fromDaemon]
	switch {
	case len(x.Findings) > 0:
		return unknown("%s", evidence(x.Database.Text, x.Findings)).remedy("%s", f.advice(x.Findings))
	case !f.Options.Client:
		return skip(`nobody looks: postgres.client is "off"`)
	case is:
		return unknown("%s", silent.Evidence).remedy("%s", silent.Remedy)
	}
	return unknown("%s", x.Database.Text).remedy("wait a few seconds and look again: `pgha-agent explain`")
}

// judgePeerSettings compares this node's file, which counts from the next start on, with what the other daemons run
// with.
func judgePeerSettings(f *Facts) Finding {
	file := &status.Doc{Node: f.Options.Node, Version: f.Options.Version, Config: f.Options.Settings}
	var differ, untold, odd, same []string
	if a, err := netip.ParseAddr(f.Options.Address); err == nil {
		file.Record.OwnAddr = a.String()
	} else if f.Daemon != nil {
		file.Record.OwnAddr = f.Daemon.Record.OwnAddr
	}
	shared := ""
	if d := f.Daemon; d != nil {
		if len(explain.Differences(file, d)) > 0 {
			odd = append(odd, "the daemon here runs with other settings than its file has")
		}
		if d.Version != file.Version {
			odd = append(odd, fmt.Sprintf("the daemon here is of version %s, and %s is installed", d.Version, file.Version))
		}
		file.Version = d.Version
	}
	for _, p := range f.Peers {
		switch {
		case p.Doc == nil:
			untold = append(untold, fmt.Sprintf("the agent of %s was not reached: %s", p.Node, oneLine(p.Err)))
			continue
		case p.Doc.Config == nil:
			untold = append(untold, fmt.Sprintf("the agent of %s (version %s) does not tell its settings", p.Node,
				p.Doc.Version))
		default:
			differ = append(differ, explain.Differences(file, p.Doc)...)
			if text := explain.SameAddress(file, p.Doc); text != "" {
				shared = text
			}
			same = append(same, p.Node)
		}
		if p.Doc.Version != file.Version {
			odd = append(odd, fmt.Sprintf("the agents are of version %s on %s and %s on %s", file.Version, file.Node,
				p.Doc.Version, p.Node))
		}
	}
	text := func(parts ...[]string) string {
		var all []string
		for _, p := range parts {
			all = append(all, p...)
		}
		return strings.Join(all, "; ")
	}
	switch {
	case shared != "":
		return fail("%s", text([]string{shared}, differ, untold, odd)).remedy("correct node.address in %s where it is not "+
			"the node's own, then `systemctl reload pgha-agent` there", f.Options.ConfigFile)
	case len(differ) > 0:
		return fail("%s", text(differ, untold, odd))
	case len(untold) > 0:
		return unknown("%s", text(untold, odd)).remedy("on {peer}: `systemctl restart pgha-agent`, which is safe at any "+
			"time; its http.listen must be reachable from {node}. To compare by hand, on both: `grep -v '^ *#' %s`", f.Options.ConfigFile)
	case len(odd) > 0:
		return warn("%s", text(odd)).remedy("`systemctl reload pgha-agent` reads the file again, `systemctl restart " +
			"pgha-agent` runs what is installed; upgrade both nodes to one version")
	}
	return pass("%s: the same", strings.Join(same, ", "))
}
