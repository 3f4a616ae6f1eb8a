package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/pgha/pgha-agent/agent"
	"github.com/pgha/pgha-agent/agent/config"
	"github.com/pgha/pgha-agent/agent/doctor"
)

func newCheckConfig(file *string) *cobra.Command {
	var alone bool
	cmd := &cobra.Command{
		Use:   "check-config",
		Short: "Check the configuration file: every problem at once, with its line",
		Long: "check-config reports every problem at once, with its line. It compares the settings that both nodes must " +
			"have alike with those that the agent of the\n" +
			"other node runs with, where that can be asked. A difference is an error. A node that cannot be asked is named, " +
			"and is no error: nothing was compared then.\n\n" +
			"A file that changes such a setting on both nodes differs until both agents have read it: --alone looks at " +
			"the file only, and opens no connection.\n\n" +
			"Exit status: 0 no error, 1 an error.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := config.Load(*file)
			if err != nil {
				return err
			}
			for _, w := range cfg.Warnings() {
				fmt.Fprintln(cmd.OutOrStdout(), "warning:", w)
			}
			if !alone {
				err = compareWithPeer(cmd.Context(), cmd.OutOrStdout(), cfg, *file)
			}
			if err == nil {
				fmt.Fprintln(cmd.OutOrStdout(), *file+": ok")
			}
			return err
		},
	}
	cmd.Flags().BoolVar(&alone, "alone", false, "do not compare with the other node")
	return cmd
}

// compareWithPeer runs the doctor's check of what the nodes must have alike.
func compareWithPeer(ctx context.Context, w io.Writer, cfg *config.Config, file string) error {
	checks, err := doctor.Select([]string{"peer-settings"}, nil)
	if err != nil {
		return err
	}
	for _, r := range doctor.Run(ctx, agent.DoctorOptions(cfg, file, version), checks) {
		text := printable(r.Evidence)
		switch r.Verdict {
		case doctor.Fail:
			return errors.New(text + "\n" + r.Remedy)
		case doctor.Warn:
			fmt.Fprintln(w, "warning:", text)
		case doctor.Unknown, doctor.Skip:
			fmt.Fprintln(w, "not compared with another node:", text)
		default:
			fmt.Fprintln(w, "compared with", text)
		}
	}
	return nil
}
