package doctor

import (
	"fmt"
	"time"

	"github.com/pgha/pgha-agent/agent/fsm"
)

var corosyncChecks = []Check{
	{
		// votequorum wants more than half of the votes, which the survivor of two does not have; two_node sets quorum to 1
		// (corosync man/votequorum.5). It does not go with a quorum device: exec/votequorum.c calls both an error.
		Name: "two-node", Area: Corosync, Needs: []Source{fromCorosync},
		Want: "Corosync knows that there are two nodes (two_node: 1), or has a quorum device",
		Why: "With two nodes and without it, the survivor has no quorum, and Pacemaker stops the database there: every " +
			"failover ends in an outage.",
		Remedy: "in /etc/corosync/corosync.conf on both nodes: quorum { two_node: 1 }; then corosync-cfgtool -R",
		Judge: func(f *Facts) Finding {
			c := f.Corosync
			switch {
			case c.Device:
				return pass("a quorum device decides")
			case c.Nodes != 2 && c.Nodes != 0:
				return skip("%d nodes", c.Nodes)
			case !c.TwoNode:
				return fail("two_node is not set")
			}
			return pass("two_node: 1")
		},
	},
	{
		// two_node turns wait_for_all on unless it is set to 0 (corosync man/votequorum.5). It is what keeps quorum 1 safe at
		// a boot: the node becomes quorate, and may fence, only after it has seen the other one once.
		Name: "wait-for-all", Area: Corosync, Needs: []Source{fromCorosync},
		Want: "a node that boots waits until it has seen the other one (wait_for_all, which two_node implies)",
		Why: "Otherwise a node that boots without a network fences the healthy one, that one boots and fences back, " +
			"and so on.",
		Remedy: "remove wait_for_all: 0 from /etc/corosync/corosync.conf on both nodes; then corosync-cfgtool -R",
		Judge: func(f *Facts) Finding {
			switch {
			case f.Corosync.WaitForAll:
				return pass("it waits")
			case !f.Corosync.TwoNode:
				return skip("two_node is not set")
			}
			return fail("wait_for_all is 0")
		},
	},
	{
		Name: "corosync-token", Area: Corosync, Needs: []Source{fromCorosync, fromCIB}, Also: []Source{fromHost},
		Want: "with fencing: any token; without fencing: the agent knows token and consensus timeout, and they are long " +
			"enough",
		Why: "Without fencing, a node may stall and be replaced meanwhile. Its agent must notice the stall before it " +
			"writes, and must hear from Corosync of the replacement before it stops holding back. With fencing that " +
			"node is off before another one is promoted. Each failover begins with both timeouts.",
		Remedy: "in /etc/corosync/corosync.conf on both nodes: totem { token: 10000 }; then corosync-cfgtool -R, and " +
			"systemctl reload pgha-agent on both; " +
			"or configure fencing",
		Judge: judgeToken,
	},
}

// Heartbeat is the longest that the agent's loop sleeps: only a longer stall shows.
const Heartbeat = time.Second

// membership is what the agent knows of Corosync's timeouts, 0 and why when it does not.
func (f *Facts) membership() (known time.Duration, why string) {
	switch {
	case f.Corosync == nil || f.Host == nil:
		return 0, "it is not known whether the agent can read Corosync's file"
	case f.Host.CorosyncFile != "":
		return 0, "the agent cannot read Corosync's file: " + f.Host.CorosyncFile
	case !f.Corosync.TokenGiven:
		return 0, "Corosync's file gives no token"
	}
	return f.Corosync.Membership(), ""
}

// unfencedBound is how late the loop of an agent may wake without fencing, with this knowledge of Corosync. The core
// itself says it.
func unfencedBound(membership time.Duration) time.Duration {
	s := fsm.New(fsm.Config{Membership: membership}, 1, fsm.Episode{}, false)
	s, _ = s.Step(time.Second, fsm.ClusterPolled{Cluster: fsm.Cluster{At: time.Second, OK: true}})
	return s.StallBound()
}

// judgeToken judges nothing with fencing: then the other node is off before it is replaced, however long its own loop
// stalled. Without fencing the two timeouts are the only thing that separates a stalled node from its successor. A loop
// that wakes before they are over has lost nothing. One that wakes later must notice the stall, so token and consensus
// must be longer than the shortest stall that the loop can notice, and shorter than the time it holds back after one.
func judgeToken(f *Facts) Finding {
	c := f.Corosync
	sum := c.Token + c.Consensus
	text := fmt.Sprintf("token %s, consensus %s: together %s", c.Token, c.Consensus, sum)
	if !c.TokenGiven {
		text = "Corosync's own token: 3 s, before 3.1 it is 1 s" // exec/totemconfig.c, TOKEN_TIMEOUT
	}
	if f.fenced() {
		return pass("%s, before a failover begins", text)
	}
	known, why := f.membership()
	bound := unfencedBound(known)
	// The other remedies have no effect while the agent cannot read what they change.
	read := func(x Finding) Finding {
		if c.TokenGiven && known == 0 {
			return x.remedy("%s && systemctl reload pgha-agent on both nodes; or configure fencing", readableCorosync)
		}
		return x
	}
	switch {
	case c.TokenGiven && sum < bound+Heartbeat:
		return read(fail("%s, and the agent notices a stall only from %s on", text, bound+Heartbeat))
	case c.TokenGiven && known == 0 && sum+fsm.MaxClusterAge > fsm.PostStallDelay:
		return read(fail("%s, and the agent holds back for %s only: %s", text, fsm.PostStallDelay, why))
	case bound < fsm.StallBound:
		if why != "" {
			text += "; " + why
		}
		return read(warn("%s. Each pause of the agent of %s counts as a stall, and holds publication back", text, bound))
	}
	return pass("%s, which the agent goes by", text)
}
