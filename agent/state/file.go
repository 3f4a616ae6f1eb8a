package state

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// openRegular opens a file of the state directory, and nothing that somebody else may have put in its place: no symlink
// is followed, a FIFO does not block, and a file counts only when it has no second name, belongs to root, to us or to
// the directory's owner, and nobody but its owner may write it.
func openRegular(path string, flag int, mode os.FileMode) (*os.File, error) {
	f, err := os.OpenFile(path, flag|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, mode) // os adds O_CLOEXEC
	if err != nil {
		return nil, err
	}
	if err := checkOwnership(f, filepath.Dir(path)); err != nil {
		_ = f.Close()
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	return f, nil
}

// checkOwnership says why an open file of dir is none of the agent's.
func checkOwnership(f *os.File, dir string) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	above, err := os.Stat(dir)
	if err != nil {
		return err
	}
	st, owner := info.Sys().(*syscall.Stat_t), above.Sys().(*syscall.Stat_t).Uid
	switch {
	case !info.Mode().IsRegular():
		return errors.New("not a regular file")
	case st.Nlink > 1: // 0 is a journal that was replaced a moment ago
		return errors.New("has a second name (hard link): remove it")
	case st.Uid != owner && st.Uid != 0 && st.Uid != uint32(os.Geteuid()):
		return fmt.Errorf("belongs to user %d, who does not own the directory: remove it", st.Uid)
	case info.Mode()&0o022 != 0:
		return fmt.Errorf("others than its owner may write it (mode %v): remove it, or chmod go-w", info.Mode().Perm())
	}
	return nil
}

// replaceFile gives a small file of the state directory a new content, which survives a crash once this returns nil.
// Until then the old one is what counts.
func replaceFile(dir, name string, data []byte) (err error) {
	tmp, err := os.CreateTemp(dir, "."+name+"-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(tmp.Name())
		}
	}()
	if _, err = tmp.Write(data); err == nil {
		err = tmp.Chmod(0o640) // the hook reads it as hacluster, in the file's group
	}
	if err == nil {
		err = tmp.Sync()
	}
	if err = errors.Join(err, tmp.Close()); err != nil {
		return err
	}
	if err := os.Rename(tmp.Name(), filepath.Join(dir, name)); err != nil {
		return err
	}
	return syncDir(dir, (*os.File).Sync)
}

// syncDir makes the names in dir survive a crash.
func syncDir(dir string, sync func(*os.File) error) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer func() { _ = d.Close() }()
	return sync(d)
}
