package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pgha/pgha-agent/crm"
)

// SpoolName is the directory of undelivered alerts in the state directory. The hook writes there as the cluster's user, the agent reads
// and removes as its own; so the group of both may write, and everything in it is distrusted.
const SpoolName = "spool"

const (
	spoolFiles    = 256      // kept at most
	spoolFileSize = 64 << 10 // bytes of one alert at most
	spoolTemp     = ".new-"
	spoolNames    = 4096 // looked at in one go: somebody may fill the directory
)

// spoolForm is <unix nanoseconds>-<pid>.json: the order of names is the order of time.
var spoolForm = regexp.MustCompile(`^[0-9]{19}-[0-9]{1,10}\.json$`)

// SpoolAlert keeps an alert, in a file of its own in dir, for an agent that is not there to take it. The oldest one is dropped when there
// are too many. Nothing is synced: an alert is a hint, and means nothing after a crash of the machine.
func SpoolAlert(dir string, a crm.Alert) error {
	doc, err := json.Marshal(a)
	if err != nil {
		return fmt.Errorf("spool alert: %w", err)
	}
	if len(doc) > spoolFileSize {
		return fmt.Errorf("spool alert: %d bytes are more than %d", len(doc), spoolFileSize)
	}
	d, err := openSpool(dir)
	if err != nil {
		return fmt.Errorf("spool alert: %w", err)
	}
	defer func() { _ = d.Close() }()
	names, err := spooled(d)
	if err != nil {
		return fmt.Errorf("spool alert: %w", err)
	}
	for _, old := range names[:max(0, len(names)-spoolFiles+1)] {
		// What others put there only they and the agent may remove (the directory is sticky): it must not keep this alert out.
		if err := removeAt(d, old); err != nil && !errors.Is(err, fs.ErrPermission) {
			return fmt.Errorf("spool alert: make room: %w", err)
		}
	}
	name := fmt.Sprintf("%019d-%d.json", time.Now().UnixNano(), os.Getpid())
	if err := writeSpooled(d, name, doc); err != nil {
		return fmt.Errorf("spool alert: %w", err)
	}
	return nil
}

// writeSpooled writes beside the final name first, so that a reader sees whole files only.
func writeSpooled(d *os.File, name string, doc []byte) error {
	temp := spoolTemp + name
	f, err := openAt(d, temp, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL)
	if err != nil {
		return err
	}
	// The agent reads it as a member of the group, whatever umask the cluster manager gave the hook.
	err = f.Chmod(0o640)
	if err == nil {
		_, err = f.Write(doc)
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = unix.Renameat(int(d.Fd()), temp, int(d.Fd()), name)
	}
	if err != nil {
		_ = removeAt(d, temp)
	}
	return err
}

// DrainSpool takes at most as many alerts out of dir, the oldest first, and removes their files. What is no alert is removed as well, without
// being followed, waited for or read beyond the bound, and counted in bad. A spool that does not exist is empty. With an
// error, the alerts that were read are returned all the same.
func DrainSpool(dir string, most int) (alerts []crm.Alert, bad int, err error) {
	d, err := openSpool(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, 0, nil
	} else if err != nil {
		return nil, 0, fmt.Errorf("drain spool: %w", err)
	}
	defer func() { _ = d.Close() }()
	names, err := spooled(d)
	if err != nil {
		return nil, 0, fmt.Errorf("drain spool: %w", err)
	}
	var errs []error
	for _, name := range names {
		if len(alerts)+bad >= most {
			break
		}
		if strings.HasPrefix(name, spoolTemp) && isYoung(d, name) {
			continue // is being written
		}
		a, readErr := readSpooled(d, name)
		if errors.Is(readErr, fs.ErrNotExist) {
			continue // dropped for a newer one
		}
		if err := removeAt(d, name); err != nil {
			// A directory with something in it. An alert that stays is read again, which does no harm.
			errs = append(errs, fmt.Errorf("drain spool: %w", err))
		}
		if readErr != nil {
			bad++
			continue
		}
		alerts = append(alerts, a)
	}
	return alerts, bad, errors.Join(errs...)
}

func readSpooled(d *os.File, name string) (crm.Alert, error) {
	if !spoolForm.MatchString(name) {
		return crm.Alert{}, errors.New("not the name of an alert")
	}
	f, err := openAt(d, name, unix.O_RDONLY)
	if err != nil {
		return crm.Alert{}, err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return crm.Alert{}, err
	}
	if !info.Mode().IsRegular() || info.Size() > spoolFileSize {
		return crm.Alert{}, errors.New("not an alert")
	}
	doc, err := io.ReadAll(io.LimitReader(f, spoolFileSize+1)) // it may grow while it is read
	if err != nil {
		return crm.Alert{}, err
	}
	return crm.DecodeAlert(doc)
}

// openSpool opens the directory itself: from here on nobody can put another one in its place.
func openSpool(dir string) (*os.File, error) {
	// os adds O_CLOEXEC and O_RDONLY.
	return os.OpenFile(dir, unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
}

// spooled returns the names in the spool, oldest first.
func spooled(d *os.File) ([]string, error) {
	names, err := d.Readdirnames(spoolNames)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	// Names that are not ours come last: they may be anything.
	var ours, others []string
	for _, name := range names {
		if spoolForm.MatchString(name) {
			ours = append(ours, name)
		} else {
			others = append(others, name)
		}
	}
	slices.Sort(ours)
	return append(ours, others...), nil
}

// openAt opens a name in d without following a symlink and without waiting for the other end of a FIFO.
func openAt(d *os.File, name string, flag int) (*os.File, error) {
	fd, err := unix.Openat(int(d.Fd()), name, flag|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0o640)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	return os.NewFile(uintptr(fd), name), nil
}

// removeAt removes a name in d, whatever it is; a directory only when it is empty. That it is gone already is fine.
func removeAt(d *os.File, name string) error {
	err := unix.Unlinkat(int(d.Fd()), name, 0)
	if errors.Is(err, unix.EISDIR) {
		err = unix.Unlinkat(int(d.Fd()), name, unix.AT_REMOVEDIR)
	}
	if err != nil && !errors.Is(err, unix.ENOENT) {
		return &fs.PathError{Op: "unlink", Path: name, Err: err}
	}
	return nil
}

// isYoung reports whether the file was changed within the last minute, or has its final name by now.
func isYoung(d *os.File, name string) bool {
	var st unix.Stat_t
	if err := unix.Fstatat(int(d.Fd()), name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return errors.Is(err, unix.ENOENT)
	}
	age := time.Since(time.Unix(st.Mtim.Unix()))
	return age > -time.Minute && age < time.Minute
}
