package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/pgha/pgha-agent/agent"
	"github.com/pgha/pgha-agent/agent/alertsock"
	"github.com/pgha/pgha-agent/agent/config"
	"github.com/pgha/pgha-agent/crm"
)

// Pacemaker kills an alert agent at the timeout of its registration, and does not tell it. So the registration says it
// once more, as an option, which Pacemaker puts into the environment under its own name.
const (
	alertTimeoutVar = "pgha_timeout"
	// alertTimeout is Pacemaker's default, and that of a registration without the option.
	alertTimeout = 30 * time.Second
	// alertSpare is what the start, two attempts at the daemon's socket and the end may take of it.
	alertSpare = 5 * time.Second
)

// publishWait is how long the one-shot publish may take, with the option as it is in the environment.
func publishWait(option string) (time.Duration, error) {
	limit, err := seconds(option, alertTimeout)
	if err != nil || limit == 0 {
		return alertTimeout - alertSpare, fmt.Errorf("option %s of the alert: %q is no number of seconds", alertTimeoutVar,
			option)
	}
	return max(limit-alertSpare, limit/2), nil
}

func newAlert(file *string) *cobra.Command {
	return &cobra.Command{
		Use:   "alert",
		Short: "Pacemaker alert agent: hand one alert to the daemon",
		Long: "alert reads the CRM_alert_* environment and hands it to the daemon. If the daemon does not take it, then " +
			"on a promotion\n" +
			"of this node this command publishes the record itself, until 5 s before the end of the alert's timeout: option " +
			"pgha_timeout of its\n" +
			"registration, 30 s without it. It always exits 0: DNS trouble is nothing that Pacemaker should act on.\n" +
			"The socket is the alert's recipient when that is an absolute path, else the default one, else the configured one.",
		Args: cobra.NoArgs,
		Run: func(cmd *cobra.Command, _ []string) {
			alert, called, err := crm.AlertFromEnv(os.Environ())
			if err != nil {
				fmt.Fprintln(os.Stderr, "pgha-alert:", err)
				return
			}
			if !called {
				fmt.Fprintln(os.Stderr, "pgha-alert: CRM_alert_version is not set: this is called by Pacemaker, nothing to do")
				return
			}
			if err := deliver(cmd, *file, alert); err != nil {
				fmt.Fprintln(os.Stderr, "pgha-alert:", err)
				fallBack(cmd.Context(), *file, alert)
			}
		},
	}
}

// deliver hands the alert to the daemon. The configuration is read only if it is needed to find the socket: the hook is
// on the failover path.
func deliver(cmd *cobra.Command, file string, alert crm.Alert) error {
	socket := alertsock.Path(alert)
	if !filepath.IsAbs(alert.Recipient) && cmd.Flags().Changed("config") {
		cfg, err := config.Load(file)
		if err != nil {
			return err
		}
		socket = cfg.State.AlertSocket
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), alertsock.DeliverBy)
	defer cancel()
	err := alertsock.SendAlert(ctx, socket, alert)
	if !errors.Is(err, alertsock.ErrNoListener) {
		return err
	}
	// Only now is it worth the time to see whether the configuration names another socket.
	if cfg, cfgErr := config.Load(file); cfgErr == nil && cfg.State.AlertSocket != socket {
		return alertsock.SendAlert(ctx, cfg.State.AlertSocket, alert)
	}
	return err
}

// fallBack publishes a promotion that the daemon cannot. Other alerts need nobody: a daemon that starts looks at once,
// and Pacemaker keeps what has happened.
func fallBack(ctx context.Context, file string, alert crm.Alert) {
	cfg, err := config.Load(file)
	if err != nil {
		fmt.Fprintln(os.Stderr, "pgha-alert:", err)
		return
	}
	promoted := alert.Kind == crm.AlertResource && alert.Task == "promote" && alert.RC != nil && *alert.RC == 0
	if !promoted || alert.Node != cfg.Node.Name {
		return
	}
	wait, err := publishWait(os.Getenv(alertTimeoutVar))
	if err != nil {
		fmt.Fprintln(os.Stderr, "pgha-alert:", err)
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	if _, err := agent.PublishOnce(ctx, agent.Options{Config: cfg, Version: version, Logger: log}); err != nil {
		fmt.Fprintln(os.Stderr, "pgha-alert:", err)
	}
}
