package main

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// xmlDoc writes elements in the layout of Pacemaker's tools.
type xmlDoc struct {
	b     bytes.Buffer
	depth int
}

func (d *xmlDoc) tag(name, end string, kv []string) {
	d.b.WriteString(strings.Repeat("  ", d.depth) + "<" + name)
	for i := 0; i+1 < len(kv); i += 2 {
		d.b.WriteString(" " + kv[i] + `="`)
		_ = xml.EscapeText(&d.b, []byte(kv[i+1]))
		d.b.WriteByte('"')
	}
	d.b.WriteString(end + "\n")
}

func (d *xmlDoc) leaf(name string, kv ...string) { d.tag(name, "/>", kv) }

func (d *xmlDoc) open(name string, kv ...string) {
	d.tag(name, ">", kv)
	d.depth++
}

func (d *xmlDoc) close(name string) {
	d.depth--
	d.b.WriteString(strings.Repeat("  ", d.depth) + "</" + name + ">\n")
}

func (d *xmlDoc) text(name, text string) {
	d.b.WriteString(strings.Repeat("  ", d.depth) + "<" + name + ">")
	_ = xml.EscapeText(&d.b, []byte(text))
	d.b.WriteString("</" + name + ">\n")
}

func tf(b bool) string { return strconv.FormatBool(b) }

func ms(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) + "ms" }

// ctime is how Pacemaker prints a time in most places: without a zone, in that of the process, which the agent makes
// UTC.
func ctime(t time.Time) string { return t.UTC().Format(time.ANSIC) }

// crmMon is `crm_mon --output-as=xml` as it runs on node i, with its exit code.
func (c *cluster) crmMon(i int, request string) (string, int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	d := &xmlDoc{}
	d.b.WriteString("<?xml version=\"1.0\"?>\n")
	d.open("pacemaker-result", "api-version", "2.38", "request", request)
	me := c.nodes[i]
	if !me.stack {
		d.open("status", "code", "102", "message", "Not connected")
		d.open("errors")
		d.text("error", "crm_mon: Connection to cluster failed: Connection refused")
		d.close("errors")
		d.close("status")
		d.close("pacemaker-result")
		return d.b.String(), 102
	}
	c.summary(d, me)
	c.members(d, me)
	c.resources(d, me)
	if !me.joining {
		c.attributes(d)
		c.history(d)
		c.fenceHistory(d)
	}
	c.bans(d)
	d.leaf("status", "code", "0", "message", "OK")
	d.close("pacemaker-result")
	return d.b.String(), 0
}

func (c *cluster) summary(d *xmlDoc, me *node) {
	d.open("summary")
	d.leaf("stack", "type", "corosync", "pacemakerd-state", "running")
	if me.joining {
		d.leaf("current_dc", "present", "false")
	} else {
		dc := c.nodes[c.dc]
		d.leaf("current_dc", "present", "true", "version", "3.0.0-3.0.0", "name", dc.name, "id", strconv.Itoa(dc.id),
			"with_quorum", "true", "mixed_version", "false")
	}
	d.leaf("last_update", "time", ctime(time.Now()), "origin", me.name)
	d.leaf("last_change", "time", ctime(c.changed), "user", "root", "client", "root", "origin", c.changer)
	d.leaf("nodes_configured", "number", "2")
	d.leaf("resources_configured", "number", "6", "disabled", "0", "blocked", "0")
	d.leaf("cluster_options", "stonith-enabled", "true", "symmetric-cluster", "true", "no-quorum-policy", "ignore",
		"maintenance-mode", "false",
		"stop-all-resources", "false", "stonith-timeout-ms", "120000", "priority-fencing-delay-ms", "0")
	d.close("summary")
}

func (c *cluster) members(d *xmlDoc, me *node) {
	d.open("nodes")
	for i, n := range c.nodes {
		online, unclean, expected, running := n.online, n.unclean, n.expectedUp, c.running(i)
		if me.joining {
			online, unclean, expected, running = false, true, false, 0
		}
		kv := []string{"name", n.name, "id", strconv.Itoa(n.id), "online", tf(online), "standby", "false", "standby_onfail",
			"false",
			"maintenance", "false", "pending", "false", "unclean", tf(unclean), "health", "green"}
		if online {
			kv = append(kv, "feature_set", "3.20.0")
		}
		d.leaf("node", append(kv, "shutdown", "false", "expected_up", tf(expected), "is_dc", tf(!me.joining && c.dc == i),
			"resources_running", strconv.Itoa(running), "type", "member")...)
	}
	d.close("nodes")
}

func (c *cluster) running(i int) int {
	count := 0
	for _, p := range []place{c.fencers[0], c.fencers[1], c.fs, c.pg} {
		if p.node == i {
			count++
		}
	}
	if c.nodes[i].role != "Stopped" {
		count++
	}
	return count
}

func (c *cluster) resource(d *xmlDoc, me *node, id, agent string, p place) {
	if me.joining {
		p = place{node: nobody, role: "Stopped"}
	}
	active := p.node != nobody
	kv := []string{"id", id, "resource_agent", agent, "role", p.role, "active", tf(active), "orphaned", "false", "blocked",
		"false",
		"maintenance", "false", "managed", "true", "failed", "false", "failure_ignored", "false"}
	if !active {
		d.leaf("resource", append(kv, "nodes_running_on", "0")...)
		return
	}
	kv = append(kv, "nodes_running_on", "1")
	if p.pending != "" {
		kv = append(kv, "pending", p.pending)
	}
	n := c.nodes[p.node]
	d.open("resource", kv...)
	d.leaf("node", "name", n.name, "id", strconv.Itoa(n.id), "cached", tf(n.online))
	d.close("resource")
}

func (c *cluster) resources(d *xmlDoc, me *node) {
	d.open("resources")
	for i := range c.fencers {
		c.resource(d, me, fencePre+c.nodes[i].name, "stonith:fence_aws", c.fencers[i])
	}
	d.open("clone", "id", rscClone, "multi_state", "true", "unique", "false", "maintenance", "false", "managed", "true",
		"disabled", "false",
		"failed", "false", "failure_ignored", "false")
	// Promoted instances come first, stopped ones last and without a node.
	for _, rank := range []func(role string) bool{
		func(r string) bool { return r == "Promoted" },
		func(r string) bool { return r != "Promoted" && r != "Stopped" },
		func(r string) bool { return r == "Stopped" },
	} {
		for i, n := range c.nodes {
			if !rank(n.role) {
				continue
			}
			p := place{node: i, role: n.role, pending: n.pending}
			if n.role == "Stopped" {
				p.node = nobody
			}
			c.resource(d, me, rscDrbd, "ocf:linbit:drbd", p)
		}
	}
	d.close("clone")
	d.open("group", "id", rscGroup, "number_resources", "2", "maintenance", "false", "managed", "true", "disabled",
		"false")
	c.resource(d, me, rscFs, "ocf:heartbeat:Filesystem", c.fs)
	c.resource(d, me, rscPg, "ocf:heartbeat:pgsql", c.pg)
	d.close("group")
	d.close("resources")
}

func (c *cluster) attributes(d *xmlDoc) {
	d.open("node_attributes")
	for _, n := range c.nodes {
		if n.online && n.score != "" {
			d.open("node", "name", n.name)
			d.leaf("attribute", "name", "master-"+rscDrbd, "value", n.score)
			d.close("node")
		}
	}
	d.close("node_attributes")
}

func (c *cluster) history(d *xmlDoc) {
	d.open("node_history")
	for _, n := range c.nodes {
		if len(n.history) == 0 {
			continue
		}
		d.open("node", "name", n.name)
		open := ""
		for _, o := range n.history {
			if o.rsc != open {
				if open != "" {
					d.close("resource_history")
				}
				open = o.rsc
				d.open("resource_history", "id", o.rsc, "orphan", "false", "migration-threshold", "3")
			}
			c.operation(d, o)
		}
		d.close("resource_history")
		d.close("node")
	}
	d.close("node_history")
}

func (c *cluster) operation(d *xmlDoc, o operation) {
	kv := []string{"call", strconv.Itoa(o.call), "task", o.task, "rc", strconv.Itoa(o.rc), "rc_text",
		map[int]string{0: "OK", 8: "Promoted", 193: "No exit status available"}[o.rc]}
	if o.interval > 0 {
		kv = append(kv, "interval", ms(o.interval))
	}
	d.leaf("operation_history", append(kv, "last-rc-change", ctime(o.at), "exec-time", ms(o.exec), "queue-time", "0ms")...)
}

func (c *cluster) fenceHistory(d *xmlDoc) {
	if len(c.fencing) == 0 {
		return
	}
	d.open("fence_history")
	for _, e := range c.fencing {
		origin := c.nodes[e.origin].name
		kv := []string{"action", "off", "target", c.nodes[e.target].name, "client", "pacemaker-controld.860", "origin",
			origin, "status", e.status}
		if e.status == "pending" {
			kv = append(kv, "extended-status", "1")
		} else {
			kv = append(kv, "delegate", origin, "completed", e.completed.UTC().Format("2006-01-02 15:04:05.000000Z"))
		}
		d.leaf("fence_event", kv...)
	}
	d.close("fence_history")
}

func (c *cluster) bans(d *xmlDoc) {
	d.open("bans")
	for _, n := range c.nodes {
		rsc := fencePre + n.name
		d.leaf("ban", "id", "location-"+rsc+"-"+n.name+"--INFINITY", "resource", rsc, "node", n.name, "weight",
			strconv.Itoa(-infinity),
			"promoted-only", "false", "master_only", "false")
	}
	if c.handler {
		d.leaf("ban", "id", "drbd-fence-by-handler-"+drbdName+"-rule-"+rscClone, "resource", rscClone, "node",
			c.nodes[c.banned].name,
			"weight", strconv.Itoa(-infinity), "promoted-only", "true", "master_only", "true")
	}
	d.close("bans")
}

// configuration is `cibadmin -Q -o configuration` as it runs on node i, with its exit code: what the model's resources
// would be configured as.
func (c *cluster) configuration(i int) (string, int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.nodes[i].stack {
		return "cibadmin: Could not connect to the CIB API: Connection refused\n", 102
	}
	d := &xmlDoc{}
	d.open("configuration")
	d.open("resources")
	for _, n := range c.nodes {
		d.leaf("primitive", "id", fencePre+n.name, "class", "stonith", "type", "fence_aws")
	}
	d.open("clone", "id", rscClone)
	d.open("meta_attributes", "id", rscClone+"-meta")
	d.leaf("nvpair", "id", rscClone+"-promotable", "name", "promotable", "value", "true")
	d.close("meta_attributes")
	d.leaf("primitive", "id", rscDrbd, "class", "ocf", "provider", "linbit", "type", "drbd")
	d.close("clone")
	d.open("group", "id", rscGroup)
	d.leaf("primitive", "id", rscFs, "class", "ocf", "provider", "heartbeat", "type", "Filesystem")
	d.leaf("primitive", "id", rscPg, "class", "ocf", "provider", "heartbeat", "type", "pgsql")
	d.close("group")
	d.close("resources")
	d.open("constraints")
	d.leaf("rsc_colocation", "id", "with-"+rscClone, "rsc", rscGroup, "with-rsc", rscClone, "with-rsc-role", "Promoted",
		"score", "INFINITY")
	d.close("constraints")
	d.close("configuration")
	return d.b.String(), 0
}

// crmMonText is a short form of what crm_mon prints for people.
func (c *cluster) crmMonText(i int) (string, int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.nodes[i].stack {
		return "crm_mon: Connection to cluster failed: Connection refused\n", 102
	}
	var b strings.Builder
	fmt.Fprintf(&b, "Cluster Summary:\n  * Stack: corosync (Pacemaker is running)\n"+
		"  * Current DC: %s - partition with quorum\n\nNode List:\n", c.nodes[c.dc].name)
	for _, n := range c.nodes {
		state := map[bool]string{true: "online", false: "OFFLINE"}[n.online]
		if n.unclean {
			state = "UNCLEAN (offline)"
		}
		fmt.Fprintf(&b, "  * Node %s: %s\n", n.name, state)
	}
	b.WriteString("\nResources:\n")
	for i, n := range c.nodes {
		fmt.Fprintf(&b, "  * %s\t(ocf:linbit:drbd):\t %s %s\n", rscDrbd, n.role, c.nodes[i].name)
	}
	for _, r := range []struct {
		id string
		p  place
	}{{fencePre + c.nodes[0].name, c.fencers[0]}, {fencePre + c.nodes[1].name, c.fencers[1]}, {rscFs, c.fs},
		{rscPg, c.pg}} {
		where := ""
		if r.p.node != nobody {
			where = c.nodes[r.p.node].name
		}
		fmt.Fprintf(&b, "  * %s:\t %s %s\n", r.id, r.p.role, where)
	}
	return b.String(), 0
}
