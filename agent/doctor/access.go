package doctor

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
)

// runnable says what keeps a user from running a program, "" for nothing.
func (f *Facts) runnable(program, name string) string { return f.may(program, name, 1) }

// may says what keeps a user from a file: the modes of the file (bit 4 reads, 1 runs) and of the directories above it.
// Access lists and SELinux are not looked at. The error of a question that this user may not even ask is such a reason
// too.
func (f *Facts) may(file, name string, bit uint32) string {
	uid, gids, err := identity(name)
	if err != nil {
		return err.Error()
	}
	real, err := filepath.EvalSymlinks(f.path(file))
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return file + " does not exist"
		}
		return err.Error()
	}
	info, err := os.Stat(real)
	switch {
	case err != nil:
		return err.Error()
	case !info.Mode().IsRegular():
		return file + " is not a file"
	case !allowed(info, uid, gids, bit):
		return fmt.Sprintf("%s has mode %04o", file, info.Mode().Perm())
	}
	for dir := filepath.Dir(real); dir != "/" && dir != f.path("/"); dir = filepath.Dir(dir) {
		info, err := os.Stat(dir)
		if err != nil {
			return err.Error()
		}
		if !allowed(info, uid, gids, 1) {
			return fmt.Sprintf("directory %s has mode %04o", dir, info.Mode().Perm())
		}
	}
	return ""
}

// allowed is the kernel's rule: owner, else group, else others. Root may run what anybody may run, and read everything.
func allowed(info fs.FileInfo, uid uint32, gids map[uint32]bool, bit uint32) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return false
	}
	mode := uint32(info.Mode().Perm())
	switch {
	case uid == 0 && bit == 1 && !info.IsDir():
		return mode&0o111 != 0
	case uid == 0:
		return true
	case st.Uid == uid:
		return mode>>6&bit != 0
	case gids[st.Gid]:
		return mode>>3&bit != 0
	}
	return mode&bit != 0
}

func identity(name string) (uid uint32, gids map[uint32]bool, err error) {
	if name == "root" {
		return 0, nil, nil
	}
	u, err := user.Lookup(name)
	if err != nil {
		return 0, nil, err
	}
	n, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return 0, nil, err
	}
	ids, err := u.GroupIds()
	if err != nil {
		return 0, nil, err
	}
	gids = map[uint32]bool{}
	for _, id := range ids {
		if g, err := strconv.ParseUint(id, 10, 32); err == nil {
			gids[uint32(g)] = true
		}
	}
	return uint32(n), gids, nil
}
