package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/pgha/pgha-agent/cmd/internal/appload"
)

// invite leaves everything running and says how to look at it.
func (d *demo) invite() {
	d.ui.title("Both agents keep running; Ctrl-C ends everything")
	for _, m := range d.nodes {
		d.ui.print(fmt.Sprintf("  %-13s http://%s/status   http://%s/metrics", m.name, m.http, m.http))
	}
	m := d.nodes[1]
	d.ui.print(fmt.Sprintf(`
  export PATH=%[3]s:$PATH
  %[1]s explain --config %[2]s
  %[1]s history --config %[2]s
  %[3]s/crm_mon
  %[3]s/drbdsetup status
  psql -h %[4]s -p %[5]d -U app -c 'SELECT count(*) FROM %[6]s' app
`, d.agentPath, m.config(), m.dir, m.addr, d.port, appload.Table))
}

// explain shows the ends of the logs after a failure.
func (d *demo) explain() {
	for _, m := range d.nodes {
		if m != nil {
			d.ui.print("\n--- end of " + m.log() + "\n" + m.logTail())
		}
	}
}

// cleanUp ends every process and removes the directory. It may be called at any time.
func (d *demo) cleanUp() error {
	if d.stop != nil {
		d.stop()
	}
	d.bg.Wait()
	for _, m := range d.nodes {
		if m != nil {
			m.shutDown()
		}
	}
	var err error
	if d.db != nil && d.db.server != nil {
		err = d.db.stop()
	}
	if d.dns != nil {
		d.dns.Close()
	}
	if d.zone != nil {
		d.zone.Close()
	}
	if d.dir != "" && d.keep {
		d.ui.print("kept " + d.dir)
	} else if d.dir != "" {
		err = errors.Join(err, os.RemoveAll(d.dir))
	}
	return err
}
