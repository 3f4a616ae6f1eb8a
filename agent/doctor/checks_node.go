package doctor

import "time"

var nodeChecks = []Check{
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
