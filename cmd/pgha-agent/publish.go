package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/pgha/pgha-agent/agent"
)

func newPublish(file *string) *cobra.Command {
	var once bool
	var wait time.Duration
	cmd := &cobra.Command{
		Use:   "publish --once",
		Short: "Look at the cluster once more and publish the record if this node may",
		Long: "publish --once takes the daemon's decision by itself: the same conditions, on fresh data, and the same " +
			"guarded write. It writes only if\n" +
			"this node is the promoted one and the zone does not say so yet, or with another TTL, and exits 0 when the zone " +
			"does in the end.\n" +
			"Without fencing nothing is written for 30 s after the first look, and for longer when Corosync takes longer to " +
			"notice a node that was away.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !once {
				return errors.New("say --once: without it, publishing is the daemon's work")
			}
			cfg, err := needConfig(*file, "the daemon publishes by the one it runs with")
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), wait)
			defer cancel()
			doc, err := agent.PublishOnce(ctx, agent.Options{Config: cfg, Version: version, Logger: newLogger(cfg.Log)})
			if err != nil {
				if doc != nil {
					for _, h := range doc.Publication.Holds {
						fmt.Fprintf(cmd.ErrOrStderr(), "  %-22s %s\n", h.Name, h.Text)
						if h.Remedy != "" {
							fmt.Fprintf(cmd.ErrOrStderr(), "  %-22s -> %s\n", "", h.Remedy)
						}
					}
				}
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s is %s, epoch %d\n", doc.Record.Name, doc.Record.Addr, doc.Record.Epoch)
			return nil
		},
	}
	cmd.Flags().BoolVar(&once, "once", false, "publish once and exit")
	cmd.Flags().DurationVar(&wait, "wait", 45*time.Second, "how long to wait for the conditions")
	return cmd
}
