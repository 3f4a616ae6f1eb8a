package doctor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pgha/pgha-agent/drbd"
)

// collectShow and collectDump read the same configuration twice, because they can differ: what runs decides protocol
// and fencing, while the kernel has drbdadm call a handler, and drbdadm reads the files then.
func collectShow(ctx context.Context, f *Facts) error {
	out, err := run(ctx, nil, append(slices.Clone(f.Options.Drbdsetup), "show")...)
	if err == nil {
		f.Show, err = drbd.ParseConfig(out, f.Options.Resource)
	}
	if err != nil {
		return absent(unknown("the running configuration of DRBD: %s",
			oneLine(err.Error())).remedy("is the resource up? `drbdadm status %s`", f.Options.Resource))
	}
	return nil
}

func collectDump(ctx context.Context, f *Facts) error {
	out, err := run(ctx, nil, "drbdadm", "dump")
	if err == nil {
		f.Dump, err = drbd.ParseConfig(out, f.Options.Resource)
	}
	if err != nil {
		return absent(unknown("the files of DRBD's configuration: %s",
			oneLine(err.Error())).remedy(
			"run it as root: the files may be for root only (`ls -l /etc/drbd.d`), and drbdadm must accept them (`drbdadm " +
				"dump`)"))
	}
	return nil
}

// drbdVersions are as `drbdadm --version` has them; Module is "" when the module is not loaded.
type drbdVersions struct{ Module, Utils string }

func collectVersions(ctx context.Context, f *Facts) (err error) {
	out, err := run(ctx, nil, "drbdadm", "--version")
	if err != nil {
		return absent(unknown("%s", oneLine(err.Error())).remedy("install drbd-utils"))
	}
	f.Versions, err = readVersions(out)
	return err
}

// readVersions reads the module's version from its code, because drbdadm prints nothing else with a module of DRBD 8.4.
func readVersions(out []byte) (v drbdVersions, err error) {
	for line := range bytes.Lines(out) {
		key, value, _ := strings.Cut(strings.TrimSpace(string(line)), "=")
		switch key {
		case "DRBD_KERNEL_VERSION_CODE":
			if code, err := strconv.ParseUint(value, 0, 32); err == nil && code > 0 { // 0x000000: no module
				v.Module = fmt.Sprintf("%d.%d.%d", code>>16, code>>8&0xff, code&0xff)
			}
		case "DRBDADM_VERSION":
			v.Utils = value
		}
	}
	if v.Utils == "" {
		return v, errors.New("drbdadm --version prints no DRBDADM_VERSION")
	}
	return v, nil
}

func collectState(ctx context.Context, f *Facts) error {
	out, err := run(ctx, nil, append(slices.Clone(f.Options.Drbdsetup), "events2", "--now")...)
	if err == nil {
		var all *drbd.Dump
		if all, err = drbd.ReadAll(bytes.NewReader(out), time.Now()); err == nil {
			for i := range all.Resources {
				if all.Resources[i].Name == f.Options.Resource {
					f.State = &all.Resources[i]
				}
			}
			if f.State == nil {
				err = fmt.Errorf("resource %q is not up here", f.Options.Resource)
			}
		}
	}
	if err != nil {
		return absent(unknown("the state of DRBD: %s",
			oneLine(err.Error())).remedy("is the module loaded and the resource up? `drbdadm status %s`", f.Options.Resource))
	}
	return nil
}
