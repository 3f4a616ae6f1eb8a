package appload

import (
	"context"
	"fmt"
	"math/bits"
	"net"
	"slices"
	"strconv"
	"time"
)

// Ledger compares what a Writer was promised with what is stored.
type Ledger struct {
	Acked  int     // acknowledged before the table was read
	Stored int     // of this Writer; may be more: commits whose answer was lost, and those that came since
	Lost   []int64 // acknowledged and not stored
	Server string  // host:port of the server that was read
}

// verifyLimit bounds the reading of the table; an hour of writing is a million rows.
const verifyLimit = 2 * time.Minute

// patient is for what is done once: a slow server is no reason to fail there.
const patient = 10

// Prepare creates the table unless it is there, and starts the numbers above those that an earlier Writer of this name
// has stored. Call it before Run.
func (w *Writer) Prepare(ctx context.Context) error {
	s, err := w.connect(ctx, w.cfg.Host, w.cfg.Port, patient)
	if err != nil {
		return fmt.Errorf("prepare: %w", err)
	}
	defer s.close()
	ctx, cancel := context.WithTimeout(ctx, patient*w.cfg.Timeout)
	defer cancel()
	// IF NOT EXISTS alone is no protection from another writer at the same moment. All of it is one transaction.
	_, err = s.pg.Exec(ctx, "SELECT pg_advisory_xact_lock(hashtext('"+Table+"')); CREATE TABLE IF NOT EXISTS "+Table+
		" (writer text, n bigint, at timestamptz NOT NULL DEFAULT clock_timestamp(), PRIMARY KEY (writer, n))").ReadAll()
	if err != nil {
		return fmt.Errorf("create table: %w", err)
	}
	res := s.pg.ExecParams(ctx, "SELECT coalesce(max(n), 0) FROM "+Table+" WHERE writer = $1",
		[][]byte{[]byte(w.cfg.Name)}, nil, nil, nil).Read()
	if res.Err != nil {
		return fmt.Errorf("read the last number: %w", res.Err)
	}
	if w.from, err = strconv.ParseInt(string(res.Rows[0][0]), 10, 64); err != nil {
		return fmt.Errorf("read the last number: %w", err)
	}
	w.next.Store(w.from)
	return nil
}

// Verify reads the table from the server at addr, which is a host, host:port or the directory of a unix socket; "" is
// the service name. It may be called while Run runs.
func (w *Writer) Verify(ctx context.Context, addr string) (Ledger, error) {
	host, port := w.cfg.Host, w.cfg.Port
	if addr != "" {
		host = addr
	}
	if h, p, err := net.SplitHostPort(addr); err == nil {
		n, err := strconv.ParseUint(p, 10, 16)
		if err != nil {
			return Ledger{}, fmt.Errorf("verify: port of %q: %w", addr, err)
		}
		host, port = h, uint16(n)
	}
	w.mu.Lock()
	acked, count := slices.Clone(w.acked), w.count
	w.mu.Unlock()

	s, err := w.connect(ctx, host, port, patient)
	if err != nil {
		return Ledger{}, fmt.Errorf("verify: %w", err)
	}
	defer s.close()
	ctx, cancel := context.WithTimeout(ctx, verifyLimit)
	defer cancel()
	stored := 0
	rows := s.pg.ExecParams(ctx, "SELECT n FROM "+Table+" WHERE writer = $1 AND n > $2",
		[][]byte{[]byte(w.cfg.Name), strconv.AppendInt(nil, w.from, 10)}, nil, nil, nil)
	for rows.NextRow() {
		n, err := strconv.ParseInt(string(rows.Values()[0]), 10, 64)
		if err != nil {
			return Ledger{}, fmt.Errorf("read the rows: %w", err)
		}
		stored++
		acked.clear(n - w.from) // what remains is lost
	}
	if _, err := rows.Close(); err != nil {
		return Ledger{}, fmt.Errorf("read the rows: %w", err)
	}
	return Ledger{Acked: count, Stored: stored, Lost: acked.list(w.from), Server: s.raw.RemoteAddr().String()}, nil
}

// bitmap is a set of small numbers. An hour of commits takes some 100 KiB.
type bitmap []uint64

func (b *bitmap) set(i int64) {
	if need := int(i/64) + 1 - len(*b); need > 0 {
		*b = append(*b, make([]uint64, need)...)
	}
	(*b)[i/64] |= 1 << (i % 64)
}

func (b bitmap) clear(i int64) {
	if i/64 < int64(len(b)) {
		b[i/64] &^= 1 << (i % 64)
	}
}

// list is the numbers in order, each increased by base.
func (b bitmap) list(base int64) (numbers []int64) {
	for i, word := range b {
		for ; word != 0; word &= word - 1 {
			numbers = append(numbers, base+int64(i)*64+int64(bits.TrailingZeros64(word)))
		}
	}
	return numbers
}
