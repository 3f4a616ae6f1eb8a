package drbd

import (
	"testing"
	"time"
)

// fullDump is what 9.x prints with --timestamps --statistics --full in the middle of a resync.
var fullDump = []string{
	"2026-11-23T01:59:28.694078+00:00 exists resource name:pg role:Primary suspended:no force-io-failures:no " +
		"write-ordering:flush may_promote:no promotion_score:10101",
	"2026-11-23T01:59:28.694078+00:00 exists connection name:pg peer-node-id:1 conn-name:node2 connection:Connected " +
		"role:Secondary congested:no ap-in-flight:0 rs-in-flight:32768",
	"2026-11-23T01:59:28.694078+00:00 exists device name:pg volume:0 minor:0 backing_dev:/dev/vdb disk:UpToDate " +
		"client:no quorum:yes size:524204 read:253488 written:104690 al-writes:33 bm-writes:24 upper-pending:0 " +
		"lower-pending:0 al-suspended:no blocked:no",
	"2026-11-23T01:59:28.694078+00:00 exists peer-device name:pg peer-node-id:1 conn-name:node2 volume:0 " +
		"replication:SyncSource peer-disk:Inconsistent peer-client:no resync-suspended:no done:16.41 received:0 " +
		"sent:250012 out-of-sync:438188 pending:16 unacked:0 rs-total:1048408 rs-dt-start-ms:9872 rs-paused-ms:0 " +
		"rs-dt0-ms:9872 rs-db0-sectors:172032 rs-dt1-ms:3840 rs-db1-sectors:65536 rs-failed:0 rs-same-csum:0 " +
		"dbdt:8.51 dbdt0:8.51 dbdt1:8.33 eta:51",
	"2026-11-23T01:59:28.694078+00:00 exists path name:pg peer-node-id:1 conn-name:node2 local:ipv4:10.0.1.10:7789 " +
		"peer:ipv4:10.0.2.10:7789 established:yes",
	"2026-11-23T01:59:28.694602+00:00 exists -",
}

func dumped(tb testing.TB, extra ...string) (*Folder, [][]byte) {
	tb.Helper()
	f := NewFolder()
	now := time.Unix(1000, 0)
	var all [][]byte
	for _, l := range append(fullDump, extra...) {
		f.Line(now, []byte(l))
		all = append(all, []byte(l))
	}
	return f, all
}

func BenchmarkFoldUnchanged(b *testing.B) {
	f, all := dumped(b)
	now := time.Unix(1001, 0)
	var size int
	for _, l := range all[:5] {
		size += len(l) + 1
	}
	b.SetBytes(int64(size / 5))
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		f.Line(now, all[i%5])
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "lines/s")
}

func TestUnchangedLineAllocatesNothing(t *testing.T) {
	f, all := dumped(t)
	now := time.Unix(1001, 0)
	for _, l := range all {
		if n := testing.AllocsPerRun(100, func() {
			if f.Line(now, l) {
				t.Error("changed something")
			}
		}); n != 0 {
			t.Errorf("%v allocations for %s", n, l)
		}
	}
	if n := testing.AllocsPerRun(100, func() { f.Status(now) }); n != 0 {
		t.Errorf("%v allocations for a Status that did not change", n)
	}
}

func BenchmarkStatus(b *testing.B) {
	f, _ := dumped(b)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		f.snapOK = false
		f.Status(time.Unix(1001, 0))
	}
}
