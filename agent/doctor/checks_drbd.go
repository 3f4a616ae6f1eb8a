package doctor

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/pgha/pgha-agent/agent/explain"
	"github.com/pgha/pgha-agent/drbd"
)

var drbdChecks = []Check{
	{
		Name: "drbd-state", Area: Drbd, Needs: []Source{fromState}, Also: []Source{fromCrm},
		Want:   "DRBD is connected, both disks are UpToDate, and no block is out of sync",
		Why:    "Until then there is no second copy of the data, and no failover that keeps it.",
		Remedy: "see `drbdadm status {resource}`; a StandAlone connection: docs/operate.md, split brain",
		Judge:  judgeState,
	},
	{
		Name: "drbd-protocol", Area: Drbd, Needs: []Source{fromShow},
		Want:   "protocol C",
		Why:    "With A or B a commit is acknowledged before the peer has it on its disk: a failover loses the last commits.",
		Remedy: "in the resource's net section: protocol C; then drbdadm adjust {resource} on both nodes",
		Judge: func(f *Facts) Finding {
			if f.Show.Protocol != "C" {
				return fail("protocol %s", f.Show.Protocol)
			}
			return pass("C")
		},
	},
	{
		Name: "drbd-two-primaries", Area: Drbd, Needs: []Source{fromShow},
		Want:   "allow-two-primaries is off",
		Why:    "ext4 and XFS on two Primaries at once are destroyed.",
		Remedy: "remove allow-two-primaries from the resource; then drbdadm adjust {resource} on both nodes",
		Judge: func(f *Facts) Finding {
			if f.Show.TwoPrimaries {
				return fail("allow-two-primaries is on")
			}
			return pass("off")
		},
	},
	{
		// Only resource-and-stonith freezes I/O on a disconnected Primary until its fence-peer handler has ended (drbd-utils
		// documentation/v9/drbdsetup-options.xml, fencing). With resource-only it writes on, and what it acknowledges
		// meanwhile is lost if the peer takes over.
		Name: "drbd-fencing", Area: Drbd, Needs: []Source{fromShow},
		Want: "fencing resource-and-stonith",
		Why: "With less, a Primary that loses its peer continues to write before it is certain that the peer is off: " +
			"this leads to a split brain.",
		Remedy: "in the resource's net section (DRBD 8.4: disk): fencing resource-and-stonith; then drbdadm adjust " +
			"{resource} on both nodes",
		Judge: func(f *Facts) Finding {
			if f.Show.Fencing != "resource-and-stonith" {
				return fail("fencing %s", f.Show.Fencing)
			}
			return pass("resource-and-stonith")
		},
	},
	{
		Name: "drbd-handlers", Area: Drbd, Needs: []Source{fromDump, fromHost},
		Want: "fence-peer and unfence-peer handlers are configured, and their programs can be run",
		Why: "Without fence-peer a Primary with fencing resource-and-stonith stays frozen after the loss of its peer. " +
			"Without unfence-peer its constraint stays and blocks the next failover.",
		Remedy: `in the resource: handlers { fence-peer "/usr/lib/drbd/crm-fence-peer.9.sh"; unfence-peer "/usr/lib/drbd/crm-unfence-peer.9.sh"; }; then drbdadm adjust {resource} on both nodes; then the check drbd-handler-timeout`,
		Judge:  judgeHandlers,
	},
	{
		Name: "drbd-handler-timeout", Area: Drbd, Needs: []Source{fromDump, fromCIB, fromVersions},
		Want: "the fence-peer handler understands this Pacemaker, or has a short --timeout and the promoted node wins the " +
			"fence race",
		Why: "Pacemaker 2.1.7 and later write times where handlers of drbd-utils before 9.28 look for words: they wait " +
			"for their whole timeout, 90 s by default, inside every promotion, and as long on the healthy Primary " +
			"when the replication link breaks. A short timeout lets a Primary go on before the fate of its peer is known: " +
			"when it then loses the fence race, its last commits are lost.",
		Remedy: "upgrade drbd-utils to 9.28 or later and remove --timeout; until then --timeout 5 on the fence-peer line, " +
			"with priority-fencing-delay (check fence-delay); then drbdadm adjust {resource} on both nodes",
		Judge: judgeHandlerTimeout,
	},
	{
		Name: "drbd-agent", Area: Drbd, Needs: []Source{fromHost},
		Want: "the resource agent ocf:linbit:drbd is installed",
		Why: "On Enterprise Linux it is in a package of its own, drbd-pacemaker. Without it this node cannot run DRBD " +
			"at a failover.",
		Remedy: "dnf install drbd-pacemaker (Enterprise Linux), apt-get install drbd-utils (Debian)",
		Judge: func(f *Facts) Finding {
			if !f.Host.DrbdAgent {
				return fail("/usr/lib/ocf/resource.d/linbit/drbd is missing or cannot be run")
			}
			return pass("installed")
		},
	},
	{
		// Before 9.14 events2 can print "- skipped N": events are lost, and only a new dump shows the state. 9.14 also
		// brought may_promote and promotion_score (drbd-utils ChangeLog).
		Name: "drbd-version", Area: Drbd, Needs: []Source{fromVersions},
		Want:   "the module is loaded, and drbd-utils are of version 9.14 or later",
		Why:    "Tools before 9.14 may lose events. Tools of version 8 do not know a module of version 9.",
		Remedy: "modprobe drbd; upgrade drbd-utils",
		Judge: func(f *Facts) Finding {
			v := f.Versions
			text := fmt.Sprintf("module %s, drbd-utils %s", v.Module, v.Utils)
			switch {
			case v.Module == "" || strings.HasPrefix(v.Module, "0"):
				return fail("the module is not loaded (drbd-utils %s)", v.Utils)
			case older(v.Utils, 9, 0) && !older(v.Module, 9, 0):
				return fail("%s", text)
			case older(v.Utils, 9, 14):
				return warn("%s", text)
			}
			return pass("%s", text)
		},
	},
	{
		Name: "drbd-port", Area: Drbd, Needs: []Source{fromShow, fromHost},
		Want: "DRBD's port is outside of the range for outgoing connections, or reserved",
		Why: "Any outgoing connection may have taken it when DRBD wants to listen, most likely right after a boot: the " +
			"nodes do not connect.",
		Remedy: "sysctl -w net.ipv4.ip_local_reserved_ports=PORT, and in /etc/sysctl.d; or an address with port 7789 in " +
			"the resource",
		Judge: judgePort,
	},
	{
		Name: "drbd-not-enabled", Area: Drbd, Needs: []Source{fromHost},
		Want: "systemd does not start DRBD resources at boot",
		Why: "Otherwise both Pacemaker and systemd control the resource: it may be up, or even Primary, before the " +
			"cluster has decided.",
		Remedy: "systemctl disable drbd.service",
		Judge:  judgeEnabled("drbd"),
	},
	{
		Name: "multipath", Area: Drbd, Needs: []Source{fromHost},
		Want:   "multipathd does not run, or leaves DRBD's devices alone",
		Why:    "It takes the devices under DRBD, or DRBD's own, and DRBD cannot attach or demote.",
		Remedy: `systemctl disable --now multipathd; or in /etc/multipath.conf: blacklist { devnode "^drbd" }, and the backing device`,
		Judge: func(f *Facts) Finding {
			switch f.Host.Multipath {
			case "":
				return pass("it does not run")
			case "running":
				return warn("multipathd runs, and its configuration does not mention drbd")
			}
			return pass("%s", f.Host.Multipath)
		},
	},
}

func drbdConnected(c drbd.DumpConnection) bool { return c.Connection == drbd.ConnConnected }

// partners are the connections to the nodes that have a copy of the data: a third DRBD node, with a disk or without,
// changes nothing for the two. It needs DRBD's state.
func (f *Facts) partners() []drbd.DumpConnection {
	x := f.facts()
	x.Own.Drbd = f.State
	return explain.PartnerConnections(x)
}

// inSync says whether the peers are connected and all disks are UpToDate. No peer, or a peer without a volume, is not
// in sync: "all of none" would be.
func (f *Facts) inSync() bool {
	partners := f.partners()
	ok := len(partners) > 0 && len(f.State.Devices) > 0
	for _, d := range f.State.Devices {
		ok = ok && d.Disk == drbd.DiskUpToDate
	}
	for _, c := range partners {
		ok = ok && drbdConnected(c) && len(c.PeerDevices) > 0
		for _, v := range c.PeerDevices {
			ok = ok && v.PeerDisk == drbd.DiskUpToDate
		}
	}
	return ok
}

// differing returns how many bytes a verify found to differ on a connection on which no resync runs: nothing copies
// them.
func differing(c drbd.DumpConnection) (bytes uint64) {
	for _, v := range c.PeerDevices {
		if drbdConnected(c) && v.Replication == drbd.ReplEstablished && v.OutOfSyncBytes != nil {
			bytes += *v.OutOfSyncBytes
		}
	}
	return bytes
}

// judgeState warns of a resync and does not fail for it: it ends by itself. Everything else that is not "connected and
// UpToDate on both sides" needs a person, or leaves one copy of the data.
func judgeState(f *Facts) Finding {
	r := f.State
	var text strings.Builder
	text.WriteString(string(r.Role))
	for _, d := range r.Devices {
		fmt.Fprintf(&text, ", disk %s", d.Disk)
	}
	var differ uint64
	for _, c := range f.partners() {
		fmt.Fprintf(&text, ", %s %s", c.Name, c.Connection)
		differ += differing(c)
		for _, v := range c.PeerDevices {
			fmt.Fprintf(&text, " with disk %s", v.PeerDisk)
			if v.Done != nil {
				return warn("%s: a resync runs, %.1f %% done", &text, *v.Done).remedy("wait for the end of the resync")
			}
		}
	}
	if differ > 0 {
		fmt.Fprintf(&text, ": %d KiB are out of sync, and nothing copies them", differ/1024)
	}
	if differ > 0 || !f.inSync() {
		return fail("%s", &text).remedy("%s", f.told("", "disk_lost", "split_brain", "disk", "disconnected", "out_of_sync"))
	}
	return pass("%s", &text)
}

// judgeHandlers wants both handlers: fence-peer places the constraint that keeps the peer from being promoted, and only
// unfence-peer removes it (drbd-utils scripts/crm-fence-peer.9.sh and crm-unfence-peer.9.sh).
func judgeHandlers(f *Facts) Finding {
	h := f.Dump.Handlers
	fence, unfence := h["fence-peer"], h["unfence-peer"]
	if unfence == "" && strings.Contains(h["after-resync-target"], "unfence-peer") {
		unfence = h["after-resync-target"] // the form of DRBD 8.4
	}
	switch {
	case fence == "":
		return fail("there is no fence-peer handler")
	case unfence == "":
		return fail("there is no unfence-peer handler (DRBD 8.4: after-resync-target)")
	}
	for _, command := range []string{fence, unfence} {
		program, _, _ := strings.Cut(command, " ")
		if trouble := f.Host.Programs[program]; trouble != "" {
			return fail("%s", trouble)
		}
	}
	return pass("%s", fence)
}

// judgeHandlerTimeout is about one change: since Pacemaker 2.1.7 node_state has times in in_ccm and crmd where it had
// true, false, online and offline. The handlers learned that in drbd-utils 9.28.0 (scripts/crm-fence-peer.9.sh, "fixes
// for pacemaker 2.1.7"). An older one never sees the answer that it polls for, and gives up after --timeout, inside the
// promotion. A short timeout avoids the wait. But then the handler may return before the fencing is over, and a Primary
// that then loses the fence race has acknowledged writes that its peer does not have: so the promoted node has to win.
func judgeHandlerTimeout(f *Facts) Finding {
	command := f.Dump.Handlers["fence-peer"]
	if !strings.Contains(command, "crm-fence-peer") {
		return skip("the fence-peer handler is not DRBD's own")
	}
	timeout := 90 // the handler's default
	words := strings.Fields(command)
	for i, w := range words {
		value, has := strings.CutPrefix(w, "--timeout=")
		if w == "--timeout" && i+1 < len(words) {
			value, has = words[i+1], true
		}
		if n, err := strconv.Atoi(value); has && err == nil {
			timeout = n
		}
	}
	pacemaker, _, _ := strings.Cut(f.CIB.Property("dc-version"), "-")
	if pacemaker == "" {
		return unknown("the cluster has no dc-version yet").remedy("see `crm_mon -1`")
	}
	old := older(f.Versions.Utils, 9, 28)
	waits := old && !older(pacemaker, 2, 1, 7)
	text := fmt.Sprintf("%d s, drbd-utils %s, Pacemaker %s", timeout, f.Versions.Utils, pacemaker)
	switch {
	case timeout <= longHandler && !promotedWins(f.CIB):
		return fail("%s: so short that the promoted node must win the fence race, and it does not", text)
	case timeout > longHandler && waits:
		return fail("%s: it waits for all of it", text)
	case timeout > longHandler && old:
		return warn("%s: harmless until Pacemaker is upgraded to 2.1.7 or later", text)
	}
	return pass("%s", text)
}

// longHandler is a timeout in seconds. A handler that waits no longer may return before an ordinary fencing has ended;
// one that waits longer, and in vain, is most of a failover.
const longHandler = 30

// judgePort compares with the kernel's range for outgoing connections: DRBD's port is free for anybody until DRBD
// listens.
func judgePort(f *Facts) Finding {
	h := f.Host
	if h.Ephemeral[1] == 0 {
		return unknown("/proc/sys/net/ipv4/ip_local_port_range cannot be read")
	}
	for _, a := range f.Show.Addresses {
		port := int(a.Port())
		if port >= h.Ephemeral[0] && port <= h.Ephemeral[1] && !reserved(h.Reserved, port) {
			return warn("port %d is within %d to %d", port, h.Ephemeral[0], h.Ephemeral[1]).
				remedy("sysctl -w net.ipv4.ip_local_reserved_ports=%d, and in /etc/sysctl.d", port)
		}
	}
	return pass("outside of %d to %d", h.Ephemeral[0], h.Ephemeral[1])
}

// reserved reads the kernel's list: "1,2-4,8".
func reserved(list string, port int) bool {
	return slices.ContainsFunc(strings.Split(list, ","), func(part string) bool {
		from, to, isRange := strings.Cut(part, "-")
		first, err := strconv.Atoi(from)
		if err != nil {
			return false
		}
		last := first
		if isRange {
			last, err = strconv.Atoi(to)
		}
		return err == nil && port >= first && port <= last
	})
}

// judgeEnabled fails when systemd starts a unit of that kind at boot: before Pacemaker has decided anything.
func judgeEnabled(kind string) func(*Facts) Finding {
	return func(f *Facts) Finding {
		var units []string
		for _, u := range f.Host.Enabled {
			if strings.HasPrefix(u, kind) {
				units = append(units, u)
			}
		}
		if len(units) > 0 {
			return fail("enabled: %s", strings.Join(units, ", ")).remedy("systemctl disable %s", strings.Join(units, " "))
		}
		return pass("none is enabled")
	}
}
