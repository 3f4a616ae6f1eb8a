package state

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// newestTail is the part of the journal, in bytes, in which the newest episodes are looked for first.
const newestTail = 256 << 10

// ReadNewest returns at least the newest count episodes that there are. They mostly stand in the last part of the
// journal; to parse all of a full one takes a tenth of a second, on a node that may be in the middle of a failover.
func ReadNewest(dir string, count int) ([]Entry, error) {
	f, err := openRegular(filepath.Join(dir, journalName), os.O_RDONLY, 0)
	if err != nil {
		return nil, fmt.Errorf("open journal: %w", err)
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("read journal: %w", err)
	}
	from := max(0, info.Size()-newestTail)
	data, err := io.ReadAll(io.NewSectionReader(f, from, info.Size()-from))
	if err != nil {
		return nil, fmt.Errorf("read journal: %w", err)
	}
	if from > 0 {
		_, data, _ = bytes.Cut(data, []byte{'\n'}) // begins in the middle of a line
	}
	entries, _ := parseJournal(data)
	if entries = newestEpisodes(entries); from == 0 || len(entries) >= count {
		return entries, nil
	}
	entries, _, err = ReadJournal(dir)
	return entries, err
}
