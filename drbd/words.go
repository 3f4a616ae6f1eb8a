package drbd

import "math"

// words is a fixed set of strings that finds a word in bytes without allocating, and much faster than a map does
// for words this short.
type words struct {
	list  []string
	slots [256]uint8 // index into list, 0 is free
}

// newWords makes a set. The word at index 0 must be "" and stands for "unknown"; other empty words are only
// placeholders and are never found.
func newWords(list ...string) *words {
	w := &words{list: list}
	for i, s := range list {
		if s == "" {
			continue
		}
		h := wordHash([]byte(s))
		for w.slots[h] != 0 {
			h++
		}
		w.slots[h] = uint8(i)
	}
	return w
}

func wordHash(b []byte) uint8 {
	n := len(b)
	return uint8(n*31) + b[0]*7 + b[n/2]*29 + b[n-1]*13 + b[n/3]*3
}

// index returns the index of the word, 0 when it is not known.
func (w *words) index(b []byte) int {
	if len(b) == 0 {
		return 0
	}
	for h := wordHash(b); w.slots[h] != 0; h++ {
		if i := int(w.slots[h]); w.list[i] == string(b) {
			return i
		}
	}
	return 0
}

// wordsOf makes a set of typed words.
func wordsOf[T ~string](list ...T) *words {
	all := []string{""}
	for _, w := range list {
		all = append(all, string(w))
	}
	return newWords(all...)
}

var (
	roleWords        = wordsOf(RoleUnknown, RolePrimary, RoleSecondary)
	diskWords        = wordsOf(DiskStates...)
	connectionWords  = wordsOf(ConnectionStates...)
	replicationWords = wordsOf(ReplicationStates...)

	// All reasons of suspended and resync-suspended.
	reasonWords = newWords("", "user", "no-data", "fencing", "quorum", "peer", "dependency", "max-parallel")
)

// unknownWord stands for a word that this package does not know.
const unknownWord = "Unknown"

// maxCounter is above every honest counter (8 ZiB when it is in KiB). The kernel subtracts unsigned numbers
// without locks, so that a counter can pass below zero and be printed as 18446744073709551608.
const maxCounter = 1 << 53

func parseUint(b []byte) (uint64, bool) {
	if len(b) == 0 || len(b) > 20 {
		return 0, false
	}
	var n uint64
	for _, c := range b {
		c -= '0'
		if c > 9 || n > (math.MaxUint64-uint64(c))/10 {
			return 0, false
		}
		n = n*10 + uint64(c)
	}
	return n, true
}

// parseDecimal reads digits[.digits], the only form drbdsetup prints for finite numbers.
func parseDecimal(b []byte) (float64, bool) {
	var n, scale float64 = 0, 0
	digits := 0
	for _, c := range b {
		switch {
		case c >= '0' && c <= '9':
			n = n*10 + float64(c-'0')
			scale *= 10
			digits++
		case c == '.' && scale == 0:
			scale = 1
		default:
			return 0, false
		}
	}
	if digits == 0 || digits > 20 {
		return 0, false
	}
	if scale > 1 {
		n /= scale
	}
	return n, true
}

func parseTri(b []byte) (Tri, bool) {
	switch string(b) {
	case "yes":
		return Yes, true
	case "no":
		return No, true
	case "unknown":
		return Unknown, true
	}
	return Unknown, false
}
