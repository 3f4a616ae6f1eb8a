package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/pgha/pgha-agent/agent/status"
)

func newPause(file *string) *cobra.Command {
	var length time.Duration
	cmd := &cobra.Command{
		Use:   "pause",
		Short: "Hold publication back on this node for a while",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if length <= 0 {
				return fmt.Errorf("--for %v: want more than nothing; `pgha-agent resume` ends a pause", length)
			}
			return setPause(cmd, *file, length)
		},
	}
	cmd.Flags().DurationVar(&length, "for", time.Hour, "when the pause ends by itself")
	return cmd
}

func newResume(file *string) *cobra.Command {
	return &cobra.Command{
		Use:   "resume",
		Short: "End a pause",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return setPause(cmd, *file, 0) },
	}
}

func setPause(cmd *cobra.Command, file string, length time.Duration) error {
	cfg, err := readSettings(cmd, file)
	if err != nil {
		return err
	}
	if err := status.Pause(cmd.Context(), cfg.State.ControlSocket, length); err != nil {
		return err
	}
	if length == 0 {
		fmt.Fprintln(cmd.OutOrStdout(), "publication is not paused")
		return nil
	}
	fmt.Fprintf(cmd.OutOrStdout(), "publication on this node is paused until %s\n",
		time.Now().Add(length).Format(time.RFC3339))
	return nil
}
