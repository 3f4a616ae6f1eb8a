package drbd

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
)

// corpus returns the directory of more recordings than stand in testdata, "" where there is none.
func corpus() string {
	dirs := []string{os.Getenv("PGHA_CORPUS")}
	if dirs[0] == "" {
		dirs = []string{"../../shared/corpus", "../../../shared/corpus"} // beside a clone
	}
	for _, dir := range dirs {
		if _, err := os.Stat(dir); err == nil {
			return dir
		}
	}
	return ""
}

// recordings are all files that match: those in testdata, of our own lab with DRBD 8.4 (lab) and 9.2 (lab9), and those
// of the corpus.
func recordings(t testing.TB, match func(path string) bool) []string {
	t.Helper()
	var out []string
	for _, root := range []string{"testdata", corpus()} {
		if root == "" {
			t.Log("no corpus: only the recordings in testdata are read")
			continue
		}
		err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.Type().IsRegular() && match(filepath.ToSlash(path)) {
				out = append(out, path)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if len(out) == 0 {
		t.Skip("there are no such recordings in testdata, and there is no corpus")
	}
	return out
}

func isEvents(path string) bool {
	name := filepath.Base(path)
	if strings.HasSuffix(name, ".stderr") || strings.Contains(path, "/module-unload/") ||
		strings.Contains(name, "strace") {
		return false
	}
	return strings.Contains(path, "/drbd_events2/") || strings.Contains(name, "events2") &&
		!strings.Contains(path, "/privileges/")
}

func TestEveryRecordingIsUnderstood(t *testing.T) {
	files := recordings(t, isEvents)
	verbs := []string{"exists", "create", "change", "destroy", "call", "response", "rename", "-"}
	objects := []string{"resource", "device", "connection", "peer-device", "path", "helper", "-"}
	for _, path := range files {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		// Counted again in the plainest way there is.
		var want DumpCounters
		complete := false
		all := strings.Split(string(b), "\n")
		for _, line := range all[:len(all)-1] {
			w := strings.Fields(line)
			if len(w) > 0 && strings.HasPrefix(w[0][min(1, len(w[0])):], "0") { // 20.., 80..: a year
				w = w[1:]
			}
			if len(w) == 0 {
				continue
			}
			want.Lines++
			switch {
			case !slices.Contains(verbs, w[0]):
				want.UnknownVerbs++
			case len(w) > 1 && w[0] != "-" && !slices.Contains(objects, w[1]):
				want.UnknownObjects++
			case len(w) > 1 && w[1] == "-":
				complete = true
			}
		}
		if strings.TrimSpace(all[len(all)-1]) != "" {
			want.Lines++
			want.Skipped++
		}
		d, err := ReadAll(bytes.NewReader(b), time.Now())
		if err != nil {
			t.Fatal(err)
		}
		c := d.Counters
		if c.Lines != want.Lines || c.UnknownVerbs != want.UnknownVerbs || c.UnknownObjects != want.UnknownObjects ||
			d.Complete != complete {
			t.Errorf("%s: %+v complete %v, want %+v complete %v", path, c, d.Complete, want, complete)
		}
		if c.UnknownKeys+c.UnknownValues > 0 || c.Skipped != want.Skipped {
			t.Logf("%s: %+v", path, c)
		}
		if c.UnknownKeys+c.UnknownValues > 0 && strings.Contains(path, "/lab") {
			t.Errorf("%s: our own recording has unknown words: %+v", path, c)
		}
	}
	t.Logf("%d recordings", len(files))
}

func TestStatusJSONAgreesWithEventsOfTheSameMoment(t *testing.T) {
	files := recordings(t, func(path string) bool {
		return strings.Contains(path, "/lab9/") && strings.Contains(path, "/states/") &&
			filepath.Base(path) == "drbdsetup-status.json"
	})
	compared := 0
	for _, path := range files {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if len(bytes.TrimSpace(b)) == 0 {
			continue
		}
		got, err := parseStatusJSON(b)
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		alike(&got)
		want := make([]Status, 2)
		for i, name := range []string{"drbdsetup-events2-now.txt", "drbdsetup-events2-full-now.txt"} {
			events, err := os.ReadFile(filepath.Join(filepath.Dir(path), name))
			if err != nil {
				t.Fatal(err)
			}
			f, now := NewFolder(), time.Now()
			if err := f.readFrom(bytes.NewReader(events), now); err != nil {
				t.Fatal(err)
			}
			want[i] = f.Status(now)
			alike(&want[i])
		}
		if !gocmp.Equal(want[0], want[1]) {
			t.Logf("%s: recorded in the middle of a change", path)
			continue
		}
		if diff := gocmp.Diff(want[0], got); diff != "" {
			t.Errorf("%s (-events2 +json):\n%s", path, diff)
		}
		compared++
	}
	t.Logf("%d compared", compared)
}

// alike blanks what only one of the two prints, and what moves between two calls of drbdsetup.
func alike(s *Status) {
	for i := range s.Resources {
		r := &s.Resources[i]
		r.MayPromote, r.PromotionScore, r.Helpers = Unknown, -1, nil
		for j := range r.Devices {
			d := &r.Devices[j]
			d.BackingDev = ""
			if d.Stats != nil {
				d.Stats = &DeviceStats{SizeBytes: d.Stats.SizeBytes}
			}
		}
		for j := range r.Connections {
			c := &r.Connections[j]
			c.Paths, c.SplitBrain, c.APInFlightBytes, c.RSInFlightBytes, c.Congested = nil, SplitBrainNone, 0, 0, Unknown
			for k := range c.Volumes {
				p := &c.Volumes[k]
				p.Done = math.Copysign(1, p.Done) // whether it is known, not how much
				p.ETA, p.RateBytesPerSec, p.Stats = -1, -1, nil
			}
		}
	}
}

func TestStatusDocumentsOfOthersParse(t *testing.T) {
	for _, path := range recordings(t, func(path string) bool { return strings.Contains(path, "/drbd_json/") }) {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		s, err := parseStatusJSON(b)
		show := strings.Contains(filepath.Base(path), "_show-")
		if (err != nil) != show {
			t.Errorf("%s: %v", path, err)
		}
		if err != nil && s.Resources != nil {
			t.Errorf("%s: a value and an error", path)
		}
	}
}

var (
	procDRBD      = regexp.MustCompile(`cs:(\w+) ro:(\w+)/(\w+) ds:(\w+)/(\w+)`)
	drbdadmStatus = regexp.MustCompile(`^pg role:(\w+)\s+disk:(\w+)\s+\w+ (?:connection:(\w+)|role:(\w+)` +
		`[^\n]*\s+(?:replication:(\w+) )?peer-disk:(\w+))`)
)

// told is what another program printed of the states in dir: the kernel's /proc/drbd of 8.4, or drbdadm status of 9.
// What it leaves out is as it should be.
func told(t *testing.T, dir string) string {
	t.Helper()
	read := func(name string) string {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		return string(b)
	}
	if m := procDRBD.FindStringSubmatch(read("proc-drbd.txt")); m != nil {
		switch m[1] {
		case "WFConnection":
			return statesOf(m[2], m[4], "Connecting", "", "", "")
		case "Connected":
			m[1] = "Established"
		}
		return statesOf(m[2], m[4], "Connected", m[3], m[5], m[1])
	}
	if m := drbdadmStatus.FindStringSubmatch(read("drbdadm-status.txt")); m != nil {
		return statesOf(m[1], m[2], cmp.Or(m[3], "Connected"), m[4], m[6], cmp.Or(m[5], "Established"))
	}
	return ""
}

func statesOf(role, disk, connection, peerRole, peerDisk, replication string) string {
	if connection != "Connected" {
		peerRole, peerDisk, replication = "", "", ""
	}
	return fmt.Sprintln(role, disk, connection, peerRole, peerDisk, replication)
}

func TestADumpAgreesWithOtherPrograms(t *testing.T) {
	compared, differ := 0, 0
	for _, dump := range recordings(t, func(path string) bool {
		return strings.HasSuffix(path,
			"/drbdsetup-events2-now.txt")
	}) {
		f, at := foldUntil(t, dump, time.Time{})
		s, want := f.Status(at), told(t, filepath.Dir(dump))
		if want == "" || len(s.Resources) == 0 || len(s.Resources[0].Connections) == 0 {
			continue
		}
		r := s.Resources[0]
		c := r.Connections[0]
		got := statesOf(string(r.Role), string(r.Devices[0].Disk), string(c.State), string(c.PeerRole),
			string(c.Volumes[0].PeerDisk), string(c.Volumes[0].Replication))
		compared++
		if got != want {
			differ++
			t.Logf("%s: %swant %s", dump, got, want)
		}
		if got != want && strings.HasPrefix(dump, "testdata/") { // others may be of the middle of a change
			t.Errorf("%s: differs", dump)
		}
	}
	if compared < 10 || differ > compared/20 {
		t.Errorf("%d of %d differ", differ, compared)
	}
	t.Logf("%d compared, %d differ", compared, differ)
}

// The files of the lab's resource, as drbdadm printed them with each DRBD, and the running configuration.
func TestConfigOfTheLab(t *testing.T) {
	files := recordings(t, func(path string) bool {
		name := filepath.Base(path)
		return strings.Contains(path, "/states/") && (name == "drbdadm-dump.txt" || name == "drbdsetup-show.txt")
	})
	for _, path := range files {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		c, err := ParseConfig(b, "pg")
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		handlers := 2
		if filepath.Base(path) == "drbdsetup-show.txt" {
			handlers = 0
		}
		if c.Protocol != "C" || c.Fencing != "resource-and-stonith" || c.TwoPrimaries || len(c.Handlers) != handlers ||
			!slices.Equal(c.Devices, []string{"/dev/drbd0"}) || len(c.Addresses) != 2 {
			t.Errorf("%s: %+v", path, c)
		}
	}
	t.Logf("%d configurations", len(files))
}

// A second drbdsetup is what a child without --poll is compared with: the two must tell the same states of one moment,
// or a quiet child would be taken for hung.
func TestADumpTellsWhatTheStreamHasTold(t *testing.T) {
	streams := recordings(t, func(path string) bool { return strings.Contains(path, "/drbd/events2") })
	compared := map[string]int{}
	for _, dump := range recordings(t, func(path string) bool { return strings.HasSuffix(path, "events2-now.txt") }) {
		second, at := foldUntil(t, dump, time.Time{})
		node, lab := filepath.Base(filepath.Dir(dump)), strings.Contains(dump, "/lab9/")
		for _, path := range streams {
			if !strings.Contains(path, "/"+node+"/") || strings.Contains(path, "/lab9/") != lab {
				continue
			}
			f, last := foldUntil(t, path, at)
			if at.IsZero() || last.IsZero() || !f.Complete() {
				continue // of another time
			}
			if a, b := f.Status(at), second.Status(at); !sameStates(a, b, "pg") {
				t.Errorf("%s and %s differ:\n%s\n%s", path, dump, show(a), show(b))
			}
			compared[map[bool]string{true: "9", false: "8.4"}[lab]]++
		}
	}
	if compared["8.4"] == 0 || compared["9"] == 0 {
		t.Error("nothing was compared")
	}
	t.Logf("%v compared", compared)
}

// foldUntil folds the lines up to that time, or all; it returns the time of the line after them, zero when there is
// none. Of all lines it is the first one's.
func foldUntil(t *testing.T, path string, until time.Time) (*Folder, time.Time) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	f, first := NewFolder(), time.Time{}
	for line := range bytes.Lines(b) {
		ev, _ := Parse(bytes.TrimSpace(line), nil)
		at, stamped := ev.Time()
		if stamped && first.IsZero() {
			first = at
		}
		if !until.IsZero() && stamped && at.After(until) {
			return f, at
		}
		f.Line(at, line)
	}
	if until.IsZero() {
		return f, first
	}
	return f, time.Time{}
}
