// Command pgha-demo shows a failover on one machine: two real agents, a real PostgreSQL, a strict stand-in for Route 53
// and a client that never stops writing, over a model of Pacemaker and DRBD whose power is then cut.
//
// Everything happens on loopback addresses and in one temporary directory, and ends with the program.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() { os.Exit(run()) }

func run() (code int) {
	once := flag.Bool("once", false, "run the story, check it, clean up and exit: 0 when everything held")
	agentPath := flag.String("agent", "", "the agent's `binary`; built from this module when empty")
	port := flag.Int("port", 15432, "port of PostgreSQL on both nodes; another one is taken when it is in use")
	httpPort := flag.Int("http-port", 19668,
		"port of both agents, on the address of each; another one is taken when it is in use")
	keep := flag.Bool("keep", false, "keep the directory with the logs")
	flag.Parse()
	if flag.NArg() > 0 {
		fmt.Fprintln(os.Stderr, "pgha-demo takes no arguments, only options; see -h")
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	// A reader that leaves (`| head`) must end us in order, not by a signal that leaves our files behind.
	signal.Ignore(syscall.SIGPIPE)

	d := &demo{ui: newUI(os.Stdout, stop), once: *once, agentPath: *agentPath, port: *port, httpPort: *httpPort,
		keep: *keep}
	defer func() {
		// Before the stack is printed, and whatever happened.
		p := recover()
		if err := d.cleanUp(); err != nil {
			fmt.Fprintln(os.Stderr, "pgha-demo: clean up:", err)
			code = max(code, 1)
		}
		if p != nil {
			panic(p)
		}
	}()
	err := d.story(ctx)
	switch {
	case ctx.Err() != nil && (err == nil || errors.Is(err, context.Canceled)):
		d.ui.print("\nstopping")
		if d.told && d.ui.failed == 0 {
			return 0
		}
		return 130
	case err != nil:
		d.ui.print("\npgha-demo: " + err.Error())
		d.explain()
		return 1
	case d.ui.failed > 0:
		d.ui.print(fmt.Sprintf("\n%d checks failed", d.ui.failed))
		d.explain()
		return 1
	}
	return 0
}
