// Command pgha-alert is the Pacemaker alert agent: it hands one alert to the daemon. It is `pgha-agent alert` without
// everything that only the daemon needs, because it starts once for each alert of a failover and every millisecond of
// its start is one of the outage. When the daemon does not take the alert, the real one is called, which publishes a
// promotion by itself.
package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"github.com/pgha/pgha-agent/agent/alertsock"
	"github.com/pgha/pgha-agent/crm"
)

// It always exits 0: DNS trouble is nothing that Pacemaker should act on.
func main() {
	alert, called, err := crm.AlertFromEnv(os.Environ())
	if err != nil || !called || len(os.Args) > 1 {
		handOver() // for its message, or its flags
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), alertsock.DeliverBy)
	defer cancel()
	if err := alertsock.SendAlert(ctx, alertsock.Path(alert), alert); err != nil {
		fmt.Fprintln(os.Stderr, "pgha-alert:", err)
		handOver()
	}
}

// handOver becomes `pgha-agent alert`.
func handOver() {
	self, err := os.Executable()
	if err == nil {
		err = syscall.Exec(filepath.Join(filepath.Dir(self), "pgha-agent"),
			append([]string{"pgha-agent", "alert"}, os.Args[1:]...), os.Environ())
	}
	fmt.Fprintln(os.Stderr, "pgha-alert: call pgha-agent:", err)
}
