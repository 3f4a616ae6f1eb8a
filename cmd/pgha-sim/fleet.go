package main

import (
	"flag"
	"io"
	"os"
	"time"

	"github.com/pgha/pgha-agent/cmd/pgha-sim/fleet"
)

// runFleet compares what a regional event does to many clusters of one account.
func runFleet(args []string, out io.Writer) error {
	var acc fleet.Account
	flags := flag.NewFlagSet("pgha-sim fleet", flag.ContinueOnError)
	flags.IntVar(&acc.Clusters, "clusters", 10000, "clusters in the account")
	flags.Float64Var(&acc.Rate, "rate", 5, "requests a second that Route 53 serves for the account")
	flags.Float64Var(&acc.Burst, "burst", 50, "requests that it serves at once after a quiet time")
	end := flags.Duration("for", 48*time.Hour, "how long to wait for the last record")
	svg := flags.String("svg", "", "draw a picture into this file")
	if err := flags.Parse(args); err != nil {
		return err
	}
	lines := []fleet.Line{
		{Name: "pgha-agent", Outcome: fleet.Ours(acc, *end)},
		{Name: "shell agent, every 30 s", Outcome: fleet.Shell(acc, *end)},
	}
	fleet.Table(out, acc, *end, lines)
	if *svg == "" {
		return nil
	}
	f, err := os.Create(*svg)
	if err != nil {
		return err
	}
	fleet.SVG(f, acc, *end, lines)
	return f.Close()
}
