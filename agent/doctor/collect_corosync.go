package doctor

import (
	"context"
	"errors"
	"io/fs"

	"github.com/pgha/pgha-agent/crm/corosync"
)

func collectCorosync(_ context.Context, f *Facts) (err error) {
	if f.Corosync, err = corosync.Read(f.path(corosync.File)); err == nil {
		return nil
	}
	remedy := "fix " + corosync.File + " on both nodes; then corosync-cfgtool -R"
	if _, is := errors.AsType[*fs.PathError](err); is {
		remedy = "run it as root; `" + readableCorosync + "` lets the daemon see it too (it holds no secret)"
	}
	return absent(unknown("%s", oneLine(err.Error())).remedy("%s", remedy))
}

// readableCorosync gives the file back the mode that Corosync's packages give it.
const readableCorosync = "chmod 644 " + corosync.File
