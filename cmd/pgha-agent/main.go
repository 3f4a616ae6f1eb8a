// Command pgha-agent moves a Route 53 record to the promoted node of a Pacemaker and DRBD cluster, and says how it
// went.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

const defaultConfig = "/etc/pgha-agent/config.toml"

func main() {
	forbidDumps()
	args := os.Args[1:]
	if filepath.Base(os.Args[0]) == "pgha-alert" { // as Pacemaker calls an alert agent: no arguments
		args = append([]string{"alert"}, args...)
	}
	hook := len(args) > 0 && args[0] == "alert"
	cmd := newRoot()
	cmd.SetArgs(args)
	if err := cmd.ExecuteContext(context.Background()); err != nil {
		if text := err.Error(); text != "" {
			fmt.Fprintln(os.Stderr, "pgha-agent:", text)
		}
		if hook {
			return // whatever it is: Pacemaker must not see a failure
		}
		os.Exit(exitCode(err))
	}
}

// forbidDumps keeps what this process holds (AWS credentials, passwords of connection strings) out of core dumps, and
// from other processes of the same user. LimitCORE= is not enough: the kernel does not apply it where core_pattern is a
// pipe, as it is with systemd-coredump. The children that run crm_mon and drbdsetup get this back at their exec.
func forbidDumps() {
	_ = unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0) // fails on other values only (prctl(2))
}

// exitError is an error with an exit code of its own. Without err it is an answer, and nothing is printed.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return ""
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

func exitCode(err error) int {
	if e, ok := errors.AsType[*exitError](err); ok {
		return e.code
	}
	return 1
}

// extras are commands that only some builds have.
var extras []func(root *cobra.Command) *cobra.Command

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "pgha-agent",
		Short: "Node agent for PostgreSQL on Pacemaker, DRBD and Route 53",
		Long: "pgha-agent runs on each node of a two-node PostgreSQL cluster. It follows DRBD and Pacemaker, probes " +
			"PostgreSQL, points one\n" +
			"Route 53 record at the promoted node, and keeps the timeline of every failover.",
		SilenceUsage: true, SilenceErrors: true, Version: version,
	}
	var file string
	root.PersistentFlags().StringVarP(&file, "config", "c", defaultConfig, "configuration file")
	root.AddCommand(
		newRun(&file), newAlert(&file), newPublish(&file), newStatus(&file), newHistory(&file), newPause(&file),
		newResume(&file),
		newExplain(&file), newWatch(&file), newSwitchover(&file), newDoctor(&file), newCheckConfig(&file), newOCF(&file),
		newReport(&file), newVersion(), newDebug(),
	)
	for _, add := range extras {
		root.AddCommand(add(root))
	}
	return root
}
