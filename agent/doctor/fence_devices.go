package doctor

import (
	"cmp"
	"slices"
	"strings"

	"github.com/pgha/pgha-agent/crm"
)

// activeDevices leaves out what the fencer leaves out (Pacemaker daemons/fenced/fenced_scheduler.c,
// register_if_fencing_device: "because it is disabled").
func activeDevices(c *crm.Configuration) []*crm.Primitive {
	return slices.DeleteFunc(c.FenceDevices(), func(d *crm.Primitive) bool { return d.Meta["target-role"] == "Stopped" })
}

// fencePlug returns what the device calls a node: the map's name first, as the fencer does it (Pacemaker
// daemons/fenced/fenced_commands.c, build_port_aliases), then the device's fixed one, then the node's own name.
func fencePlug(d *crm.Primitive, node string) string {
	for pair := range strings.FieldsFuncSeq(d.Params["pcmk_host_map"],
		func(r rune) bool { return strings.ContainsRune(" ,;", r) }) {
		if name, plug, ok := strings.Cut(pair, ":"); ok && name == node {
			return plug
		}
	}
	return cmp.Or(d.Params["plug"], d.Params["port"], node)
}
