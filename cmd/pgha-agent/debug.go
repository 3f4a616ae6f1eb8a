package main

import (
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/pgha/pgha-agent/crm"
	"github.com/pgha/pgha-agent/drbd"
)

func newDebug() *cobra.Command {
	debug := &cobra.Command{
		// a wrong word is an error, not help
		Use: "debug", Short: "Show what the parsers make of real output (for support)", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	debug.AddCommand(
		&cobra.Command{
			Use: "crm-mon FILE|-", Short: "Parse the XML of crm_mon", Args: cobra.ExactArgs(1),
			RunE: func(cmd *cobra.Command, args []string) error {
				return withInput(cmd, args[0], func(r io.Reader) error {
					data, err := io.ReadAll(io.LimitReader(r, maxInput))
					if err != nil {
						return err
					}
					st, err := crm.Parse(data)
					if err != nil {
						return asError(cmd, err)
					}
					return printJSON(cmd.OutOrStdout(), st)
				})
			},
		},
		&cobra.Command{
			Use: "events2 FILE|-", Short: "Fold the output of drbdsetup events2", Args: cobra.ExactArgs(1),
			RunE: func(cmd *cobra.Command, args []string) error {
				return withInput(cmd, args[0], func(r io.Reader) error {
					dump, err := drbd.ReadAll(r, time.Now())
					if err != nil {
						return err
					}
					return printJSON(cmd.OutOrStdout(), dump)
				})
			},
		},
		&cobra.Command{
			Use: "alert", Short: "Show what the alert hook makes of the CRM_alert_* environment", Args: cobra.NoArgs,
			RunE: func(cmd *cobra.Command, _ []string) error {
				alert, called, err := crm.AlertFromEnv(os.Environ())
				if err != nil {
					return err
				}
				if !called {
					return printJSON(cmd.OutOrStdout(), nil)
				}
				return printJSON(cmd.OutOrStdout(), alert)
			},
		},
	)
	return debug
}

// maxInput is more than any parser takes: they say themselves what is too much.
const maxInput = 64 << 20

// asError prints the documented JSON of a document that says that there is nothing to say, and fails.
func asError(cmd *cobra.Command, err error) error {
	if perr := printJSON(cmd.OutOrStdout(), crm.NewErrorDump(err)); perr != nil {
		return perr
	}
	return err
}

func withInput(cmd *cobra.Command, name string, read func(io.Reader) error) error {
	if name == "-" {
		return read(cmd.InOrStdin())
	}
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	return read(f)
}
