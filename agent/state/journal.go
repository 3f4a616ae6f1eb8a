// Package state keeps what survives a restart of the agent, in files of the state directory: the journal of episodes, a
// pause, and which peers DRBD has a split brain with.
package state

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
)

const (
	journalName = "journal"
	journalLock = "journal.lock"
	journalTemp = "journal.new"

	// Keeps is how many episodes the journal keeps, the newest ones.
	Keeps = 500
	// journalMax is the size at which the journal is rewritten with what it keeps, which is at most half of this. When it
	// cannot be rewritten it may grow to twice this size.
	journalMax = 1 << 20
)

// JournalFile returns the path of the journal in dir.
func JournalFile(dir string) string { return filepath.Join(dir, journalName) }

// ErrLocked says that another process writes this journal.
var ErrLocked = errors.New("another agent writes this journal")

// Journal keeps the episodes of this node in a file of the state directory. Each change of an episode is a new line, of
// which the last one counts; a line says by a checksum that it is whole. Safe for use by several goroutines.
type Journal struct {
	// Skipped is the number of lines that were damaged when the journal was opened. After a crash in the middle of a line
	// it is 1.
	Skipped int

	mu          sync.Mutex
	dir         string
	lock        *os.File
	file        *os.File
	size        int64 // the part of the file that is kept
	open        bool  // that part does not end in a newline: there was a torn line when the journal was opened
	dirty       bool  // the file may be longer, by what a failed write left
	dirUnsynced bool  // the directory entry of file may not survive a crash yet
	max         int64 // journalMax
	ops         journalOps
}

// journalOps are the calls that can fail late; tests make them fail.
type journalOps struct {
	write    func(*os.File, []byte) (int, error)
	sync     func(*os.File) error
	truncate func(*os.File, int64) error
	rename   func(from, to string) error
}

var journalSystem = journalOps{write: (*os.File).Write, sync: (*os.File).Sync, truncate: (*os.File).Truncate,
	rename: os.Rename}

// OpenJournal opens the journal in dir for writing, makes it when there is none, and returns the newest Keeps episodes
// by ascending id, each as it was saved last. It fails with ErrLocked while another process has it open for writing.
func OpenJournal(dir string) (*Journal, []Entry, error) {
	return openJournal(dir, journalMax, journalSystem)
}

func openJournal(dir string, most int64, ops journalOps) (_ *Journal, _ []Entry, err error) {
	j := &Journal{dir: dir, max: most, ops: ops}
	defer func() {
		if err != nil {
			_ = j.Close()
		}
	}()
	// The lock is a file of its own, for the journal is replaced when it is rewritten. Nobody but its owner may open it:
	// whoever may read a file may also lock it.
	if j.lock, err = openRegular(filepath.Join(dir, journalLock), os.O_RDWR|os.O_CREATE, 0o600); err != nil {
		return nil, nil, fmt.Errorf("lock journal: %w", err)
	}
	if err := syscall.Flock(int(j.lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); errors.Is(err, syscall.EWOULDBLOCK) {
		return nil, nil, fmt.Errorf("lock journal: %w", ErrLocked)
	} else if err != nil {
		return nil, nil, fmt.Errorf("lock journal: %w", err)
	}
	if j.file, err = openRegular(filepath.Join(dir, journalName), os.O_RDWR|os.O_APPEND|os.O_CREATE, 0o640); err != nil {
		return nil, nil, fmt.Errorf("open journal: %w", err)
	}
	data, size, err := readJournalTail(j.file)
	if err != nil {
		return nil, nil, fmt.Errorf("read journal: %w", err)
	}
	entries, skipped := parseJournal(data)
	j.Skipped, j.size, j.dirUnsynced = skipped, size, true
	j.open = len(data) > 0 && data[len(data)-1] != '\n'
	return j, newestEpisodes(entries), nil
}

// ReadJournal reads the journal in dir without the right to write it, also while an agent does. It returns the newest
// Keeps episodes by ascending id, and how many damaged lines were skipped; a line that is being written may be one of
// them.
func ReadJournal(dir string) (entries []Entry, skipped int, err error) {
	f, err := openRegular(filepath.Join(dir, journalName), os.O_RDONLY, 0)
	if err != nil {
		return nil, 0, fmt.Errorf("open journal: %w", err)
	}
	defer func() { _ = f.Close() }()
	data, _, err := readJournalTail(f)
	if err != nil {
		return nil, 0, fmt.Errorf("read journal: %w", err)
	}
	entries, skipped = parseJournal(data)
	return newestEpisodes(entries), skipped, nil
}

// Append saves an episode as it is now. When it returns nil, the episode survives a crash of the machine. After an
// error the caller should try again with the newest state of the episode; the journal stays usable.
func (j *Journal) Append(e Entry) error {
	line, err := formatEntry(e)
	if err != nil {
		return err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.file == nil {
		return fmt.Errorf("append to journal: %w", fs.ErrClosed)
	}
	if j.size+int64(len(line)) > j.max {
		// Without space for the new file the old one still has some: what counts is that this episode is saved.
		if err := j.rewrite(); err != nil && j.size+int64(len(line)) > 2*j.max {
			return fmt.Errorf("rewrite journal: %w", err)
		}
	}
	if err := j.write(line); err != nil {
		return fmt.Errorf("append to journal: %w", err)
	}
	return nil
}

func (j *Journal) write(line []byte) (err error) {
	if j.dirUnsynced {
		if err := syncDir(j.dir, j.ops.sync); err != nil {
			return err
		}
		j.dirUnsynced = false
	}
	j.truncatePartial()
	if j.open || j.dirty {
		line = append([]byte{'\n'}, line...) // ends the torn line, which costs that line only
	}
	defer func() {
		if err != nil {
			j.dirty = true
			j.truncatePartial()
		}
	}()
	if _, err := j.ops.write(j.file, line); err != nil {
		return err
	}
	// After a failed fsync the kernel may forget the pages: the line counts as not written, and is written again by the
	// caller.
	if err := j.ops.sync(j.file); err != nil {
		return err
	}
	info, err := j.file.Stat()
	if err != nil {
		return err
	}
	j.size, j.open, j.dirty = info.Size(), false, false
	return nil
}

// truncatePartial cuts off what a failed write left.
func (j *Journal) truncatePartial() {
	if j.dirty && j.ops.truncate(j.file, j.size) == nil {
		j.dirty = false
	}
}

// rewrite replaces the file by one that holds what is kept. Until the rename the old file is what counts.
func (j *Journal) rewrite() error {
	data, _, err := readJournalTail(j.file)
	if err != nil {
		return err
	}
	entries, _ := parseJournal(data)
	kept, err := formatNewest(newestEpisodes(entries), int(j.max/2))
	if err != nil {
		return err
	}
	temp := filepath.Join(j.dir, journalTemp)
	if err := os.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := openRegular(temp, os.O_RDWR|os.O_APPEND|os.O_CREATE|os.O_EXCL, 0o640)
	if err != nil {
		return err
	}
	if _, err = j.ops.write(f, kept); err == nil {
		err = j.ops.sync(f)
	}
	if err == nil {
		err = j.ops.rename(temp, filepath.Join(j.dir, journalName))
	}
	if err != nil {
		_ = f.Close()
		_ = os.Remove(temp)
		return err
	}
	_ = j.file.Close() // everything in it was synced, and it is no longer linked
	j.file, j.size, j.open, j.dirty, j.dirUnsynced = f, int64(len(kept)), false, false, true
	return nil
}

// Close gives the journal free for another process.
func (j *Journal) Close() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	var errs []error
	for _, f := range []**os.File{&j.file, &j.lock} {
		if *f != nil {
			errs = append(errs, (*f).Close())
			*f = nil
		}
	}
	return errors.Join(errs...)
}

// readJournalTail returns the end of the file, more than its largest size unless somebody else wrote it, and the size
// of the whole file.
func readJournalTail(f *os.File) (data []byte, size int64, err error) {
	info, err := f.Stat()
	if err != nil {
		return nil, 0, err
	}
	size = info.Size()
	from := max(0, size-2*journalMax-maxEntryLine)
	data, err = io.ReadAll(io.NewSectionReader(f, from, size-from))
	return data, size, err
}

// parseJournal returns the entries of a journal in the order of the file, and the number of lines that are damaged.
func parseJournal(data []byte) (entries []Entry, skipped int) {
	for line := range bytes.SplitSeq(data, []byte{'\n'}) {
		if len(line) == 0 {
			continue // stands after a torn line that ended in its newline
		}
		if e, err := parseEntry(line); err == nil {
			entries = append(entries, e)
			continue
		}
		skipped++
		// The damage may be in the newline: what follows it on the line is whole.
		for rest := line[1:]; ; {
			at := bytes.Index(rest, []byte(entryMark))
			if at < 0 {
				break
			}
			if at >= crcDigits {
				if e, err := parseEntry(rest[at-crcDigits:]); err == nil {
					entries = append(entries, e)
					break
				}
			}
			rest = rest[at+1:]
		}
	}
	return entries, skipped
}

// newestEpisodes returns the last entry of each of the newest Keeps episodes, by ascending id.
func newestEpisodes(entries []Entry) []Entry {
	last := map[uint64]int{}
	for i := range entries {
		last[entries[i].Episode.ID] = i
	}
	var kept []Entry
	for _, i := range last {
		kept = append(kept, entries[i])
	}
	slices.SortFunc(kept, func(a, b Entry) int { return cmp.Compare(a.Episode.ID, b.Episode.ID) })
	return kept[max(0, len(kept)-Keeps):]
}

// formatNewest returns the lines of the newest of the entries that fit into most bytes.
func formatNewest(entries []Entry, most int) ([]byte, error) {
	lines := make([][]byte, len(entries))
	first, size := len(entries), 0
	for first > 0 {
		line, err := formatEntry(entries[first-1])
		if err != nil {
			return nil, err
		}
		if size += len(line); size > most {
			break
		}
		first--
		lines[first] = line
	}
	return bytes.Join(lines[first:], nil), nil
}
