package doctor

import "time"

var nodeChecks = []Check{
	{
		Name: "peer-settings", Area: Node, Needs: []Source{fromPeers}, Also: []Source{fromDaemon},
		Want: "the agents of both nodes have the same record, zone, ownership, publish_on, TTL, repair, clone and DRBD " +
			"resource, and are of one version",
		Why: "With another record.name on the other node, the record does not follow a failover to it: every client is cut " +
			"off, and each agent by itself finds nothing wrong.",
		Remedy: "make them equal in /etc/pgha-agent/config.toml of both nodes; then `systemctl reload pgha-agent` on the one " +
			"that you changed",
		Judge: judgePeerSettings,
	},
	{
		Name: "clock", Area: Node, Needs: []Source{fromClock},
		Want: "the clock is synchronized",
		Why: "A clock that is off by minutes makes AWS refuse every signature: no fencing by API, no record. Logs of " +
			"both nodes cannot be compared.",
		Remedy: "systemctl enable --now chrony (Enterprise Linux: chronyd), with `server 169.254.169.123 prefer iburst` " +
			"on AWS",
		Judge: func(f *Facts) Finding {
			switch {
			case !f.Clock.Synchronized:
				return warn("the kernel counts its clock as not synchronized")
			case f.Clock.Error > time.Second: // AWS allows minutes; the logs and phases of two nodes are compared by seconds
				return warn("synchronized, but it may be off by %s", f.Clock.Error)
			}
			return pass("off by at most %s", f.Clock.Error.Round(time.Millisecond))
		},
	},
}
