package drbd

import (
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func FuzzParse(f *testing.F) {
	for _, l := range append(strings.Split(base, "\n"), append(fullDump, "- skipped 3", "* 1 2", "\x1b[1;31m",
		"change resource name:a role:b->c")...) {
		f.Add([]byte(l))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		ev, err := Parse(line, nil)
		if err != nil && len(ev.Fields) > 0 {
			t.Error("fields and an error")
		}
		for _, fd := range ev.Fields {
			if len(fd.Value) > len(line) {
				t.Error("a value longer than its line")
			}
		}
	})
}

func FuzzFold(f *testing.F) {
	f.Add([]byte(base))
	f.Add([]byte(strings.Join(fullDump, "\n") + "\n"))
	f.Add([]byte(base + "call helper name:pg peer-node-id:1 helper:split-brain\nrename resource name:pg " +
		"new_name:x\ndestroy device name:x volume:0\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		now := time.Unix(1000, 0)
		fold := func() *Folder {
			fo := NewFolder()
			if err := fo.readFrom(strings.NewReader(string(text)), now); err != nil {
				t.Fatal(err)
			}
			return fo
		}
		a, b := fold(), fold()
		if x, y := a.Dump(now), b.Dump(now); !reflect.DeepEqual(x, y) {
			t.Errorf("the same dump, another state: %s", cmp.Diff(x, y))
		}
		for l := range strings.SplitSeq(string(text), "\n") {
			ev, err := Parse([]byte(l), nil)
			if err != nil || ev.Object == ObjectHelper || ev.Object == ObjectEnd || ev.Verb == VerbRename ||
				ev.Verb == VerbSkipped {
				continue
			}
			a.Line(now, []byte(l))
			before := a.Status(now)
			dump := a.Dump(now).Resources
			a.Line(now, []byte(l))
			if again := a.Dump(now).Resources; !reflect.DeepEqual(dump, again) {
				t.Errorf("the same line twice changed something: %q: %s", l, cmp.Diff(dump, again))
			}
			if again := a.Status(now); !reflect.DeepEqual(before, again) {
				t.Errorf("the same line twice changed the status: %q", l)
			}
		}
	})
}

func FuzzStatusJSON(f *testing.F) {
	b, err := os.ReadFile("testdata/status.json")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte(`[{"name":"r","suspended-quorum":true,"devices":[{}],"connections":[{"peer_devices":[{"resync-suspended":"user,x"}]}]}]`))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := parseStatusJSON(b)
		if err != nil && s.Resources != nil {
			t.Error("a value and an error")
		}
		for _, r := range s.Resources {
			if r.Name == "" {
				t.Error("a resource without a name")
			}
		}
	})
}
