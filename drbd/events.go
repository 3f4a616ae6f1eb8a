package drbd

import (
	"bytes"
	"errors"
	"regexp"
	"time"
)

// MaxLine bounds one line of the stream, in bytes. The longest real line is below 1 KiB; a longer one is torn or
// not ours.
const MaxLine = 64 << 10

// Verb is the first word of a record.
type Verb uint8

// The verbs of `drbdsetup events2` (drbd-utils, user/v9/drbdsetup_events2.c). VerbSkipped is the line
// "- skipped N" of DRBD 8.4 and old drbd-utils 9.
const (
	VerbUnknown Verb = iota
	VerbExists
	VerbCreate
	VerbChange
	VerbDestroy
	VerbCall
	VerbResponse
	VerbRename
	VerbSkipped
)

// Object is the second word of a record.
type Object uint8

// The objects of `drbdsetup events2`. ObjectEnd is the "-" of "exists -", the end of the initial dump.
const (
	ObjectUnknown Object = iota
	ObjectResource
	ObjectDevice
	ObjectConnection
	ObjectPeerDevice
	ObjectPath
	ObjectHelper
	ObjectEnd
)

// Key is the name of a field.
type Key uint8

// The keys this package reads. KeyIgnored is a known key whose value nobody needs.
const (
	KeyUnknown Key = iota
	KeyIgnored
	KeyName
	KeyNewName
	KeyPeerNodeID
	KeyConnName
	KeyVolume
	KeyMinor
	KeyLocal
	KeyPeer
	KeyHelper
	KeyStatus
	KeyRole
	KeySuspended
	KeyMayPromote
	KeyPromotionScore
	KeyConnection
	KeyCongested
	KeyAPInFlight
	KeyRSInFlight
	KeyBackingDev
	KeyDisk
	KeyClient
	KeyOpen
	KeyQuorum
	KeySize
	KeyRead
	KeyWritten
	KeyALWrites
	KeyBMWrites
	KeyUpperPending
	KeyLowerPending
	KeyALSuspended
	KeyReplication
	KeyPeerDisk
	KeyPeerClient
	KeyResyncSuspended
	KeyDone
	KeyReceived
	KeySent
	KeyOutOfSync
	KeyPending
	KeyUnacked
	KeyRate // dbdt1
	KeyETA
	KeyEstablished
	keyCount
)

var (
	verbWords = newWords("", "exists", "create", "change", "destroy", "call", "response", "rename", "-")

	objectWords = newWords("", "resource", "device", "connection", "peer-device", "path", "helper", "-")

	// The first keyCount words stand at the index of their Key; the rest are known and ignored.
	keyWords = newWords("", "", "name", "new_name", "peer-node-id", "conn-name", "volume", "minor", "local", "peer",
		"helper", "status", "role", "suspended", "may_promote", "promotion_score", "connection", "congested",
		"ap-in-flight", "rs-in-flight", "backing_dev", "disk", "client", "open", "quorum", "size", "read", "written",
		"al-writes", "bm-writes", "upper-pending", "lower-pending", "al-suspended", "replication", "peer-disk",
		"peer-client", "resync-suspended", "done", "received", "sent", "out-of-sync", "pending", "unacked", "dbdt1",
		"eta", "established",
		"force-io-failures", "write-ordering", "blocked", "want", "dbdt", "dbdt0", "rs-total", "rs-dt-start-ms",
		"rs-paused-ms", "rs-dt0-ms", "rs-db0-sectors", "rs-dt1-ms", "rs-db1-sectors", "rs-failed", "rs-same-csum",
		"ov-start-sector", "ov-stop-sector", "ov-position", "ov-left", "ov-skipped")
)

// Field is one key:value of a record.
type Field struct {
	Key   Key
	Value []byte
}

// Event is one line of the stream, its words known but its values still as printed. It points into the line it
// was parsed from.
type Event struct {
	Stamp   []byte // the timestamp as printed, nil without --timestamps
	Verb    Verb
	Object  Object
	Skipped uint64 // how many events were lost, of VerbSkipped
	Fields  []Field
}

// Time returns the line's own time, and whether it has one.
func (e *Event) Time() (time.Time, bool) {
	if e.Stamp == nil {
		return time.Time{}, false
	}
	t, err := time.Parse(time.RFC3339Nano, string(e.Stamp))
	return t, err == nil
}

var (
	errBlank   = errors.New("parse event: blank line")
	errLong    = errors.New("parse event: line too long")
	errNoWords = errors.New("parse event: no object after the verb")
	errSkipped = errors.New("parse event: no count after \"- skipped\"")
)

// Parse reads one line without its newline. Unknown verbs, objects and keys are not errors: they come out as
// VerbUnknown, ObjectUnknown and KeyUnknown. The fields are appended to reuse[:0], which may be nil, so that a
// caller who hands the last event's Fields back causes no allocation.
func Parse(line []byte, reuse []Field) (Event, error) {
	ev := Event{Fields: reuse[:0]}
	if len(line) > MaxLine {
		return ev, errLong
	}
	rest := trim(plain(line))
	if len(rest) == 0 {
		return ev, errBlank
	}
	word, rest := cut(rest)
	// A timestamp, and the event number or "*" that the 8.4 manual page promises, may stand first.
	for range 2 {
		if c := word[0]; c != '*' && (c < '0' || c > '9') {
			break
		}
		if len(word) > len("2006-01-02T") && word[10] == 'T' {
			ev.Stamp = word
		}
		if word, rest = cut(rest); word == nil {
			return ev, errNoWords
		}
	}
	ev.Verb = Verb(verbWords.index(word))
	object, rest := cut(rest)
	if object == nil {
		return ev, errNoWords
	}
	if ev.Verb == VerbSkipped {
		n, _ := cut(rest)
		// 8.4 with drbd-utils 9.22 prints "- skipped -2" as well: something was lost, and how much is not known.
		lost, negative := bytes.CutPrefix(n, []byte("-"))
		count, ok := parseUint(lost)
		if negative {
			count = 1
		}
		if string(object) != "skipped" || !ok {
			return ev, errSkipped
		}
		ev.Skipped = count
		return ev, nil
	}
	ev.Object = Object(objectWords.index(object))
	diff := bytes.IndexByte(rest, '>') >= 0
	for len(rest) > 0 {
		if rest[0] == ' ' {
			rest = rest[1:]
			continue
		}
		var word []byte
		word, rest = cut(rest)
		name, value, ok := bytes.Cut(word, []byte{':'})
		if !ok {
			ev.Fields = append(ev.Fields, Field{KeyUnknown, word})
			continue
		}
		key := KeyIgnored
		if i := keyWords.index(name); i < int(keyCount) {
			key = Key(i)
		}
		if diff && key >= KeyRole {
			// We never pass --diff, but a recording somebody sends us may have been made with it.
			if i := bytes.LastIndex(value, []byte("->")); i >= 0 {
				value = value[i+2:]
			}
		}
		ev.Fields = append(ev.Fields, Field{key, value})
	}
	return ev, nil
}

// cut splits the first word off. The word is nil when there is none.
func cut(b []byte) (word, rest []byte) {
	for len(b) > 0 && b[0] == ' ' {
		b = b[1:]
	}
	if len(b) == 0 {
		return nil, nil
	}
	if i := bytes.IndexByte(b, ' '); i >= 0 {
		return b[:i], b[i+1:]
	}
	return b, nil
}

func trim(b []byte) []byte {
	for len(b) > 0 && (b[len(b)-1] == '\r' || b[len(b)-1] == '\n' || b[len(b)-1] == ' ') {
		b = b[:len(b)-1]
	}
	for len(b) > 0 && b[0] == ' ' {
		b = b[1:]
	}
	return b
}

// plain removes what only edited or colored recordings have: tabs and terminal escapes, these also in the "^["
// form that cat -v makes of them. The stream of our own child has none, so the copy is rare.
func plain(line []byte) []byte {
	if bytes.IndexByte(line, '\t') < 0 && bytes.IndexByte(line, 0x1b) < 0 && bytes.IndexByte(line, '^') < 0 {
		return line
	}
	return escapes.ReplaceAllLiteral(bytes.ReplaceAll(line, []byte("\t"), []byte(" ")), nil)
}

var escapes = regexp.MustCompile(`(?:\x1b|\^\[)\[[0-9;]*[A-Za-z]`)
