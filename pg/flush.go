package pg

import "time"

const (
	// flushBlock is more WAL than may wait for long on a server that is well: XLogBackgroundFlush of PostgreSQL's
	// src/backend/access/transam/xlog.c leaves at most the block of 8 KiB that is not full.
	flushBlock = 2 * 8192
	// flushPatience is how long the flush position may stand while WAL waits: the WAL writer sleeps for 5 s at the most
	// by default (wal_writer_delay times HIBERNATE_FACTOR, 25; src/backend/postmaster/walwriter.c).
	flushPatience   = 8 * time.Second
	hibernateFactor = 25
)

// walPosition is how far a server has written WAL, and how far that is on disk, in bytes.
type walPosition struct {
	inserted, flushed uint64
	writerDelay       time.Duration // wal_writer_delay
	waiting           bool          // a process waits for WAL to be written or synced
	standby           string        // which commit waits for a synchronous standby, "" when none does
}

// flushWatch finds commits that hang, without writing: WAL waits, and none of it reaches the disk. The zero value is
// ready.
type flushWatch struct {
	flushed uint64
	since   time.Time // since when the position stands and WAL waits; zero when none does
}

// observe returns for how long WAL has been waiting in vain, 0 when it does not. A little WAL that waits is no sign:
// that of a transaction that goes on has no need to be flushed. So either a process is seen waiting each time, or there
// is more than the WAL writer leaves.
func (f *flushWatch) observe(now time.Time, p walPosition) time.Duration {
	waits := p.inserted > p.flushed && (p.waiting || p.inserted-p.flushed >= flushBlock)
	if !waits || p.flushed != f.flushed {
		*f = flushWatch{flushed: p.flushed}
		if waits {
			f.since = now
		}
		return 0
	}
	if f.since.IsZero() {
		f.since = now
	}
	stands := now.Sub(f.since)
	if stands < max(flushPatience, hibernateFactor*p.writerDelay+3*time.Second) {
		return 0
	}
	return stands
}

// syncWatch finds commits that wait for a synchronous standby in vain. A standby that is well confirms one after the
// other: then the one that has waited longest is soon another. The zero value is ready.
type syncWatch struct {
	commit string
	since  time.Time // since when it is seen waiting
}

// NoStandby begins the Err of a ClientProbe that found such commits.
const NoStandby = "commits hang: no synchronous standby has confirmed one"

// observe returns for how long the same commit has been waiting, 0 when that is not long.
func (w *syncWatch) observe(now time.Time, commit string) time.Duration {
	if commit == "" || commit != w.commit {
		*w = syncWatch{commit, now}
	}
	if waits := now.Sub(w.since); waits >= flushPatience {
		return waits
	}
	return 0
}
