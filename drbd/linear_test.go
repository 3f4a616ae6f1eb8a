package drbd

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// manyObjects are recordings of n lines, each of a shape in which one line could cost as much as all before it.
var manyObjects = []struct {
	name  string
	lines func(n int, line func(format string, args ...any))
}{
	{"resources", func(n int, line func(string, ...any)) {
		for i := range n {
			line("exists resource name:r%d role:Primary suspended:no", i)
		}
	}},
	{"connections", func(n int, line func(string, ...any)) {
		for i := range n { // from the last to the first
			line("exists connection name:pg peer-node-id:%d conn-name:n connection:Connected role:Secondary", n-i)
		}
	}},
	{"connections_named_first", func(n int, line func(string, ...any)) {
		for i := range n / 2 {
			line("exists connection name:pg conn-name:n%d connection:Connected role:Secondary", i)
		}
		for i := range n / 2 {
			line("change connection name:pg peer-node-id:%d conn-name:n%d role:Primary", i, i)
		}
	}},
	{"connections_destroyed_by_name", func(n int, line func(string, ...any)) {
		for i := range n / 2 {
			line("exists connection name:pg peer-node-id:%d conn-name:n connection:Connected role:Secondary", i)
		}
		for range n / 2 {
			line("destroy connection name:pg conn-name:n")
		}
	}},
	{"devices_by_minor", func(n int, line func(string, ...any)) {
		for i := range n / 2 {
			line("exists device name:pg volume:%d minor:%d disk:UpToDate", n-i, i)
		}
		for i := range n / 2 {
			line("change device name:pg minor:%d disk:Failed", i)
		}
	}},
	{"peer_devices", func(n int, line func(string, ...any)) {
		for i := range n {
			line("exists peer-device name:pg peer-node-id:1 volume:%d replication:Established", n-i)
		}
	}},
	{"peer_devices_of_a_suspect", func(n int, line func(string, ...any)) {
		line("exists connection name:pg peer-node-id:1 conn-name:b connection:StandAlone")
		for i := range n {
			line("exists peer-device name:pg peer-node-id:1 volume:%d replication:Off", i)
		}
	}},
	{"paths", func(n int, line func(string, ...any)) {
		for i := range n {
			line("exists path name:pg peer-node-id:1 local:ipv4:10.0.1.1:%d peer:ipv4:10.0.2.1:%d established:yes", n-i, i)
		}
	}},
	{"split_brains_of_connections", func(n int, line func(string, ...any)) {
		for i := range n / 2 {
			line("exists peer-device name:pg peer-node-id:%d volume:0 replication:Off", i)
		}
		for i := range n / 2 {
			line("call helper name:pg peer-node-id:%d volume:0 helper:split-brain", i)
		}
	}},
	{"split_brains_of_each", func(n int, line func(string, ...any)) {
		for i := range n / 2 {
			line("exists peer-device name:pg peer-node-id:%d volume:0 replication:Off", i)
		}
		for range n / 2 {
			line("call helper name:pg helper:split-brain")
		}
	}},
	{"split_brains_of_volumes", func(n int, line func(string, ...any)) {
		for i := range n / 3 {
			line("exists peer-device name:pg peer-node-id:1 volume:%d replication:Off", i)
		}
		for i := range n / 3 {
			line("call helper name:pg peer-node-id:1 volume:%d helper:split-brain", i)
		}
		for i := range n / 3 {
			line("change peer-device name:pg peer-node-id:1 volume:%d replication:Off", i)
		}
	}},
	{"split_brains_renamed", func(n int, line func(string, ...any)) {
		names := [2]string{"a", "b"}
		for i := range n / 3 {
			line("call helper name:a peer-node-id:%d volume:0 helper:split-brain", i)
		}
		for i := range n / 3 {
			line("call helper name:%s peer-node-id:%d volume:1 helper:split-brain", names[(i+1)%2], i)
			line("rename resource name:%s new_name:%s", names[i%2], names[(i+1)%2])
		}
	}},
	{"words_without_a_colon", func(n int, line func(string, ...any)) {
		line("change resource name:pg %s y:z", strings.Repeat("x ", n))
	}},
}

func BenchmarkManyObjects(b *testing.B) {
	for _, shape := range manyObjects {
		for _, n := range []int{3000, 6000} {
			b.Run(fmt.Sprintf("%s/%d", shape.name, n), func(b *testing.B) {
				var text strings.Builder
				shape.lines(n, func(format string, args ...any) { fmt.Fprintf(&text, format+"\n", args...) })
				text.WriteString("exists -\n")
				b.ReportAllocs()
				for b.Loop() {
					if d, err := ReadAll(strings.NewReader(text.String()), time.Unix(0, 0)); err != nil || d.Counters.Skipped > 0 {
						b.Fatal(d, err)
					}
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/line")
			})
		}
	}
}

// A recording of twice the lines takes twice the steps. A step is a basic block of this package, as the counters of
// the coverage tool count it: that is the same on each machine and on each run.
func TestTwiceTheLinesAreTwiceTheSteps(t *testing.T) {
	if testing.Short() {
		t.Skip("builds this test with counters")
	}
	counted := filepath.Join(t.TempDir(), "counted.test")
	if out, err := exec.Command("go", "test", "-c", "-covermode=count", "-o", counted, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, shape := range manyObjects {
		few, many := steps(t, counted, shape.name+"/3000"), steps(t, counted, shape.name+"/6000")
		if few < 3000 || float64(many) > 2.4*float64(few) { // sorting takes n log n
			t.Errorf("%s: %d steps for 3000 lines, %d for 6000", shape.name, few, many)
		}
		t.Logf("%s: %d steps for 3000 lines, %d for 6000", shape.name, few, many)
	}
}

// steps runs one benchmark once and adds up the counters: "file:from,to statements count".
func steps(t *testing.T, counted, benchmark string) (sum int) {
	t.Helper()
	profile := filepath.Join(t.TempDir(), "profile")
	out, err := exec.Command(counted, "-test.run=^$",
		"-test.bench=^BenchmarkManyObjects$/^"+strings.ReplaceAll(benchmark, "/", "$/^")+"$",
		"-test.benchtime=1x", "-test.coverprofile="+profile).CombinedOutput()
	if err != nil || !strings.Contains(string(out), benchmark) {
		t.Fatalf("%s: %v\n%s", benchmark, err, out)
	}
	f, err := os.Open(profile)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		count, err := strconv.Atoi(lines.Text()[strings.LastIndexByte(lines.Text(), ' ')+1:])
		if err == nil {
			sum += count
		}
	}
	return sum
}
