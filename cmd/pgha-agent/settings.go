package main

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pgha/pgha-agent/agent/config"
)

// settings are those of a command that does not act by them: it asks the daemon, or reads what that has written.
type settings struct {
	*config.Config
	file   string
	broken bool // the file is wrong, and the rest is what could be read of it
	whole  bool // all that is required is there
}

// mendConfig is what ends it.
const mendConfig = "`pgha-agent check-config` shows all of it; correct it, then `systemctl reload pgha-agent`"

// readSettings tells of a file that is wrong in one line, and goes on with what can be read of it: the daemon runs on
// with what it read before, and knows what the person wants to know.
func readSettings(cmd *cobra.Command, file string) (*settings, error) {
	cfg, err := config.Load(file)
	if err == nil {
		return &settings{cfg, file, false, true}, nil
	}
	if errors.Is(err, fs.ErrPermission) { // who may not read it may not ask the daemon either
		return nil, err
	}
	cfg, whole := config.Salvage(file)
	fmt.Fprintf(cmd.ErrOrStderr(), "pgha-agent: the configuration is broken, and a restart of this node starts no agent: "+
		"%s: %s\n", firstLine(err), mendConfig)
	return &settings{cfg, file, true, whole}, nil
}

// needConfig reads the configuration for a command that acts by it.
func needConfig(file, instead string) (*config.Config, error) {
	cfg, err := config.Load(file)
	if err != nil && !errors.Is(err, fs.ErrPermission) {
		err = fmt.Errorf("%w\nthis command needs the whole configuration: %s; %s", err, mendConfig, instead)
	}
	return cfg, err
}

// firstLine is the first of the problems of a file, and how many there are beside it.
func firstLine(err error) string {
	first, rest, more := strings.Cut(err.Error(), "\n")
	if first = printable(first); more {
		first += fmt.Sprintf(" (and %d more)", 1+strings.Count(rest, "\n"))
	}
	return first
}
