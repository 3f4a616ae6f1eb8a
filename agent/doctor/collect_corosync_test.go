package doctor

import (
	"errors"
	"strings"
	"testing"
)

// TestCollectCorosync: what is wrong with the file decides the remedy, and its timeouts as AWS recommends them pass
// with fencing.
func TestCollectCorosync(t *testing.T) {
	for text, want := range map[string]string{
		"":                           "run it as root; `chmod 644 /etc/corosync/corosync.conf`",
		"totem {\n token: 30 s\n}\n": "fix /etc/corosync/corosync.conf on both nodes",
		"totem {\n token: 30000\n consensus: 36000\n transport: udpu\n} # as AWS recommends\n": "",
	} {
		files := map[string]string{"/etc/hostname": "pg-1"}
		if text != "" {
			files["/etc/corosync/corosync.conf"] = text
		}
		f := tree(t, files)
		err := collectCorosync(t.Context(), f)
		if a, is := errors.AsType[*absence](err); is != (want != "") || is && !strings.HasPrefix(a.Remedy, want) {
			t.Errorf("%q: %v, want remedy %q", text, err, want)
		}
		if want != "" {
			continue
		}
		f.CIB = healthy(t).CIB
		if r := judge(t, f, "corosync-token"); r.Verdict != Pass ||
			!strings.Contains(r.Evidence, "together 1m6s, before a failover begins") {
			t.Errorf("%s: %s", r.Verdict, r.Evidence)
		}
	}
}
