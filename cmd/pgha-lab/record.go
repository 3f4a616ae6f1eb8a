package main

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// With --record, the machines write down what Pacemaker tells its alert agents and how crm_mon changes, besides what
// they do without. It costs an emulated machine a third of its processor, so it is not on by itself.

const recordScript = `set -e
install -d -m 1777 /var/lib/lab/alerts /var/lib/lab/crm_mon
cat >/usr/local/bin/lab-alert <<'EOF'
#!/bin/sh
f=/var/lib/lab/alerts/$(date +%s.%N)-${CRM_alert_kind:-none}
env | grep ^CRM_alert_ | sort >$f.env
# What does the cluster say at the moment of the promote alert?
[ "$CRM_alert_task" != promote ] || crm_mon --output-as=xml >$f.xml
EOF
cat >/usr/local/bin/lab-crm_mon <<'EOF'
#!/bin/bash
while sleep 0.5; do
	x=$(crm_mon --output-as=xml)
	s=$(grep -v 'last_update\|execution_code\|<pacemaker-result' <<<"$x" | md5sum)
	[ "$s" = "$last" ] || echo "$x" >/var/lib/lab/crm_mon/$(date +%s.%3N).xml
	last=$s
done
EOF
chmod 755 /usr/local/bin/lab-*
systemd-run --quiet --unit lab-crm_mon /usr/local/bin/lab-crm_mon
sync`

const recordAlert = `cibadmin --create --scope alerts --xml-text '<alert id="lab" path="/usr/local/bin/lab-alert"/>'
cibadmin --create --scope alerts --xml-text '<alert id="lab-attributes" path="/usr/local/bin/lab-alert"><select><select_attributes/></select></alert>'`

// startRecording starts the recorders.
func (r *scenarioRun) startRecording(ctx context.Context) error {
	if err := r.both(func(n *node) error {
		_, err := n.run(ctx, recordScript)
		return err
	}); err != nil {
		return err
	}
	_, err := r.nodes[0].run(ctx, recordAlert)
	return err
}

// fetchRecords copies what was recorded into the run's directory.
func (r *scenarioRun) fetchRecords(ctx context.Context) error {
	return r.both(func(n *node) error {
		if !n.Running() {
			return nil
		}
		archive, err := n.run(ctx, "cd /var/lib/lab && tar -c .")
		if err != nil {
			return err
		}
		for files := tar.NewReader(bytes.NewReader([]byte(archive))); ; {
			h, err := files.Next()
			if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
				return nil
			}
			if err != nil {
				return err
			}
			name := filepath.Clean(h.Name)
			if h.Typeflag != tar.TypeReg || strings.HasPrefix(name, "..") {
				continue
			}
			b, err := io.ReadAll(files)
			if err != nil {
				return err
			}
			path := filepath.Join(r.out, n.name+"-records", name)
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				return err
			}
			if err := os.WriteFile(path, b, 0o644); err != nil {
				return err
			}
		}
	})
}
