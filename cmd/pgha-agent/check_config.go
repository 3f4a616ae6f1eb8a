package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/pgha/pgha-agent/agent/config"
)

func newCheckConfig(file *string) *cobra.Command {
	return &cobra.Command{
		Use:   "check-config",
		Short: "Check the configuration file: every problem at once, with its line",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := config.Load(*file)
			if err != nil {
				return err
			}
			for _, w := range cfg.Warnings() {
				fmt.Fprintln(cmd.OutOrStdout(), "warning:", w)
			}
			fmt.Fprintln(cmd.OutOrStdout(), *file+": ok")
			return nil
		},
	}
}
