package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/pgha/pgha-agent/agent/report"
)

// The longest time that logs go back.
const maxSince = 7 * 24 * time.Hour

func newReport(file *string) *cobra.Command {
	var output string
	var since time.Duration
	cmd := &cobra.Command{
		Use:   "report",
		Short: "Put what a helper needs to know into one archive",
		Long: "report asks this node what it knows, and writes the answers into one compressed archive: status of " +
			"both nodes, explain, history,\n" +
			"every check of doctor, the configurations of agent, Pacemaker, Corosync and DRBD, what their tools say, and the " +
			"logs of the last hours.\n" +
			"It changes nothing and sends nothing. It says what is in the archive, so that you can look at it before you send " +
			"it to anybody.\n" +
			report.Limits + "\n" +
			"Run it as root, on each node. What cannot be had, such as an answer of a program that hangs, is named as " +
			"missing. It takes a minute or two.\n\n" +
			"Exit status: 0 the archive is written, 1 it is not.",
		Example: "  pgha-agent report\n  pgha-agent report --since 24h --output /tmp/pg-1.tar.gz",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if since <= 0 || since > maxSince {
				return fmt.Errorf("--since %s: choose from 1m to %s", since, maxSince)
			}
			cfg, err := readSettings(cmd, *file)
			if err != nil {
				return err
			}
			self, err := os.Executable()
			if err != nil {
				return fmt.Errorf("find this program: %w", err)
			}
			path, err := filepath.Abs(*file)
			if err != nil {
				return err
			}
			name := "pgha-report-" + cfg.Node.Name + "-" + time.Now().UTC().Format("20060102T150405Z")
			if output == "" {
				output = name + ".tar.gz"
			}
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, unix.SIGTERM)
			defer stop()
			out := cmd.OutOrStdout()
			size, err := writeNew(output, func(w io.Writer) error {
				_, err := report.Write(ctx, w, name, report.Options{
					Config: cfg.Config, File: path, Program: self, Since: since,
				}, func(i report.Item) { report.Print(out, []report.Item{i}) })
				return err
			})
			if err != nil {
				return fmt.Errorf("write the report: %w", err)
			}
			fmt.Fprintf(out, "\n%s\n\nIt is in %s (%d kB); nobody has sent it anywhere.\nTo look: tar xzf %s\n", report.Limits,
				output, (size+999)/1000, output)
			return nil
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "", "file to write (pgha-report-NODE-TIME.tar.gz here)")
	cmd.Flags().DurationVar(&since, "since", 6*time.Hour, "how far logs go back")
	return cmd
}

// writeNew writes a file that is not there yet, for its owner only, and leaves nothing of it when that fails.
func writeNew(name string, write func(io.Writer) error) (size int64, err error) {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return 0, err
	}
	defer func() {
		if err = errors.Join(err, f.Close()); err != nil {
			_ = os.Remove(name)
		}
	}()
	if err := write(f); err != nil {
		return 0, err
	}
	if err := f.Sync(); err != nil {
		return 0, err
	}
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}
