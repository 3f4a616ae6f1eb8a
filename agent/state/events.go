package state

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/pgha/pgha-agent/agent/internal/text"
)

// EventKind says what an Event is about.
type EventKind string

// The kinds of events.
const (
	EventAgent     EventKind = "agent"     // it began
	EventGap       EventKind = "gap"       // it stood still, or did not run
	EventCutOff    EventKind = "cut_off"   // clients of the name are not served any more
	EventServed    EventKind = "served"    // and are again
	EventFailed    EventKind = "failed"    // an operation of Pacemaker
	EventRestarted EventKind = "restarted" // PostgreSQL, without a promotion
	EventFenced    EventKind = "fenced"
	EventChanged   EventKind = "changed" // somebody changed the cluster's configuration
	EventCluster   EventKind = "cluster" // a node, or maintenance
	EventPaused    EventKind = "paused"  // or resumed
	EventClock     EventKind = "clock"   // somebody set the clock of this machine: times before and after do not compare
	EventDrbd      EventKind = "drbd"    // a connection, a disk, a resync, and what keeps it from writing
	EventRecord    EventKind = "record"  // somebody else changed it
	EventPeer      EventKind = "peer"    // the agent of another node
	EventHost      EventKind = "host"    // a filesystem, or a server, that is not as it should be on a node
)

// EventKinds lists every EventKind.
var EventKinds = []EventKind{EventAgent, EventGap, EventCutOff, EventServed, EventFailed, EventRestarted, EventFenced,
	EventChanged, EventCluster, EventPaused, EventClock, EventDrbd, EventRecord, EventPeer, EventHost}

// Event is something that happened and that no episode tells. In the file it is a line of JSON.
type Event struct {
	At   time.Time `json:"at"` // by the wall clock of then
	Kind EventKind `json:"kind"`
	Text string    `json:"text"`
}

const (
	eventsFile   = "events"
	maxEvents    = 1000
	maxEventText = 400
	maxEventsLen = 1 << 20 // of the file, in bytes: then the older half goes
)

// Events keeps what happened, in a file of the state directory. It is for people: a line that is lost costs nothing
// else. It is not safe for concurrent use.
type Events struct{ Dir string }

// Add appends events.
func (e Events) Add(list []Event) error {
	lines, err := formatEvents(list)
	if err != nil {
		return err
	}
	name := filepath.Join(e.Dir, eventsFile)
	if info, err := os.Lstat(name); err == nil && info.Size() > maxEventsLen {
		if err := e.shorten(); err != nil {
			return err
		}
	}
	f, err := openRegular(name, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o640)
	if err != nil {
		return fmt.Errorf("open events: %w", err)
	}
	_, err = f.Write(lines)
	return errors.Join(err, f.Close())
}

func formatEvents(list []Event) ([]byte, error) {
	var lines bytes.Buffer
	for _, ev := range list {
		ev.At, ev.Text = ev.At.UTC().Truncate(time.Millisecond), text.Bound(ev.Text, maxEventText)
		line, err := json.Marshal(ev)
		if err != nil {
			return nil, fmt.Errorf("format event: %w", err)
		}
		lines.Write(append(line, '\n'))
	}
	return lines.Bytes(), nil
}

// shorten leaves the newest events.
func (e Events) shorten() error {
	list, err := ReadEvents(e.Dir)
	if err != nil {
		return err
	}
	data, err := formatEvents(list[len(list)-min(len(list), maxEvents/2):])
	if err != nil {
		return err
	}
	return replaceFile(e.Dir, eventsFile, data)
}

// ReadEvents returns the newest events, oldest first. Lines that cannot be read are left out.
func ReadEvents(dir string) ([]Event, error) {
	f, err := openRegular(filepath.Join(dir, eventsFile), os.O_RDONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("open events: %w", err)
	}
	defer f.Close()
	var list []Event
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 8192)
	for lines.Scan() {
		var ev Event
		if json.Unmarshal(lines.Bytes(), &ev) == nil && ev.Kind != "" {
			list = append(list, ev)
		}
	}
	return list[len(list)-min(len(list), maxEvents):], lines.Err()
}
