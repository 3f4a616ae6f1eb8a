//go:build man

package main

import (
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

// The generator of man pages is not in the agent itself: what it links in would cost the alert hook time at each start.
func init() { extras = append(extras, newMan) }

func newMan(root *cobra.Command) *cobra.Command {
	return &cobra.Command{
		Use:    "man DIR",
		Short:  "Write the man pages into a directory",
		Hidden: true,
		Args:   cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			root.DisableAutoGenTag = true
			// A fixed date keeps package builds reproducible.
			date := time.Unix(0, 0)
			return doc.GenManTree(root, &doc.GenManHeader{Title: "PGHA-AGENT", Section: "8", Source: "pgha-agent", Date: &date},
				args[0])
		},
	}
}
