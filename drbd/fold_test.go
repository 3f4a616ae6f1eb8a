package drbd

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files")

func TestRecordingsGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/recordings/*.log")
	if err != nil || len(files) == 0 {
		t.Fatal("no recordings", err)
	}
	for _, path := range files {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		d, err := ReadAll(bytes.NewReader(b), time.Unix(0, 0))
		if err != nil {
			t.Fatal(err)
		}
		got, err := json.MarshalIndent(d, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		golden := strings.TrimSuffix(path, ".log") + ".json"
		if *update {
			if err := os.WriteFile(golden, append(got, '\n'), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), string(got)+"\n"); diff != "" {
			t.Errorf("%s (-want +got):\n%s", golden, diff)
		}
	}
}

const base = `exists resource name:pg role:Secondary suspended:no may_promote:no promotion_score:1
exists connection name:pg peer-node-id:1 conn-name:n2 connection:Connected role:Primary
exists device name:pg volume:0 minor:5 backing_dev:none disk:Inconsistent client:no quorum:yes
exists peer-device name:pg peer-node-id:1 conn-name:n2 volume:0 replication:Established peer-disk:UpToDate resync-suspended:no
exists -
`

// show is a Status in one line, of what the cases below are about.
func show(s Status) string {
	var b strings.Builder
	for _, r := range s.Resources {
		fmt.Fprintf(&b, "%s %s %v", r.Name, r.Role, r.Suspended)
		for _, d := range r.Devices {
			fmt.Fprintf(&b, " dev%d/%d %s %s", d.Volume, d.Minor, d.Disk, d.BackingDev)
		}
		for _, c := range r.Connections {
			fmt.Fprintf(&b, " %s(%d) %s %s %s", c.Name, c.PeerNodeID, c.State, c.PeerRole, c.SplitBrain)
			for _, p := range c.Volumes {
				fmt.Fprintf(&b, " vol%d %s %s", p.Volume, p.Replication, p.PeerDisk)
				if p.Done >= 0 {
					fmt.Fprintf(&b, " %v%%", p.Done)
				}
			}
			for _, p := range c.Paths {
				fmt.Fprintf(&b, " %s-%s", p.Local, p.Peer)
			}
		}
		b.WriteString(";")
	}
	return b.String()
}

func TestFold(t *testing.T) {
	const rest = "pg Secondary [] dev0/5 Inconsistent  n2(1) Connected Primary none vol0 Established UpToDate;"
	for name, c := range map[string]struct{ lines, want string }{
		"nothing more": {base, rest},
		"a partial change is merged": {base + "change device name:pg volume:0 disk:UpToDate",
			strings.Replace(rest, "Inconsistent", "UpToDate", 1)},
		"a device without minor goes": {base + "destroy device name:pg volume:0",
			strings.Replace(rest, " dev0/5 Inconsistent ", "", 1)},
		"a device is found by minor": {base + "change device name:pg minor:5 disk:Failed",
			strings.Replace(rest, "Inconsistent", "Failed", 1)},
		"a connection takes its all": {base + "destroy connection name:pg peer-node-id:1",
			"pg Secondary [] dev0/5 Inconsistent ;"},
		"a resource takes its all": {base + "destroy resource name:pg\ndestroy device name:pg volume:0", ""},
		"renamed": {base + "rename resource name:pg new_name:db\nchange resource name:db " +
			"role:Primary", "db Primary" + rest[12:]},
		"objects nobody announced": {"change device name:x volume:1 disk:UpToDate\nchange path name:x peer-node-id:2 " +
			"conn-name:b local:ipv4:1.2.3.4:1 peer:ipv6:[::1]:2 established:yes\nexists -",
			"x Unknown [] dev1/-1 UpToDate  b(2) Unknown Unknown none ipv4:1.2.3.4:1-ipv6:[::1]:2;"},
		"a path goes": {base + "change path name:pg peer-node-id:1 local:a peer:b " +
			"established:yes\ndestroy path name:pg peer-node-id:1 local:a peer:b", rest},
		"spaces, tabs, CR, a number": {base + "*  change \t resource   name:pg\t role:Primary \r\n17 change resource " +
			"name:pg suspended:user,quorum", strings.Replace(rest, "Secondary []", "Primary [user quorum]", 1)},
		"unknown words": {base + "change resource name:pg role:King suspended:weather x y:z\nfrobnicate " +
			"resource name:pg\nchange thing name:pg", strings.Replace(rest, "Secondary []", "Unknown [Unknown]", 1)},
		"a connection by name alone": {base + "change connection name:pg conn-name:n2 connection:Timeout",
			strings.Replace(rest, "Connected", "Timeout", 1)},
		"a torn line": {base + "change resource name:pg role:Primary\nchange resource name:pg role:Sec",
			strings.Replace(rest, "Secondary", "Primary", 1)},
		"the end with a timestamp": {strings.Replace(base, "exists -", "2026-01-02T03:04:05.123456+00:00 exists -",
			1), rest},
		"done goes with the resync": {base + "change peer-device name:pg peer-node-id:1 volume:0 replication:SyncTarget " +
			"done:37.50\nchange peer-device name:pg peer-node-id:1 volume:0 replication:Established", rest},
		"done stays while paused": {base + "change peer-device name:pg peer-node-id:1 volume:0 replication:SyncTarget " +
			"done:37.50\nchange peer-device name:pg peer-node-id:1 volume:0 replication:PausedSyncT",
			strings.Replace(rest, "Established UpToDate", "PausedSyncT UpToDate 37.5%", 1)},
		"a verify is not a resync": {base + "change peer-device name:pg peer-node-id:1 volume:0 replication:VerifyS " +
			"done:1.00", strings.Replace(rest, "Established UpToDate", "VerifyS UpToDate 1%", 1)},
		"a dump that does not end": {"exists resource name:pg", ""},
		"split brain": {base + "call helper name:pg peer-node-id:1 conn-name:n2 " +
			"helper:split-brain\nchange connection name:pg peer-node-id:1 connection:StandAlone role:Unknown",
			strings.Replace(rest, "Connected Primary none", "StandAlone Unknown latched", 1)},
		"split brain without a peer": {base + "call helper name:pg helper:initial-split-brain",
			strings.Replace(rest, "none", "latched", 1)},
		"split brain over a recreation": {base + "call helper name:pg peer-node-id:1 helper:split-brain\ndestroy " +
			"connection name:pg peer-node-id:1\ncreate connection name:pg peer-node-id:1 conn-name:n2 connection:StandAlone",
			"pg Secondary [] dev0/5 Inconsistent  n2(1) StandAlone Unknown latched;"},
		"split brain is over": {base + "call helper name:pg peer-node-id:1 helper:split-brain\nchange connection " +
			"name:pg peer-node-id:1 connection:StandAlone\nchange connection name:pg peer-node-id:1 " +
			"connection:Connecting\nchange connection name:pg peer-node-id:1 connection:Connected\nchange peer-device name:pg " +
			"peer-node-id:1 volume:0 replication:Established", rest},
		"StandAlone live is no suspect": {base + "change connection name:pg peer-node-id:1 connection:StandAlone",
			strings.Replace(rest, "Connected", "StandAlone", 1)},
		"StandAlone at start is": {strings.Replace(base, "connection:Connected", "connection:StandAlone", 1),
			strings.Replace(rest, "Connected Primary none", "StandAlone Primary suspected", 1)},
	} {
		t.Run(name, func(t *testing.T) {
			f := NewFolder()
			if err := f.readFrom(strings.NewReader(c.lines+"\n"), time.Unix(0, 0)); err != nil {
				t.Fatal(err)
			}
			if name == "a torn line" {
				f = NewFolder()
				_ = f.readFrom(strings.NewReader(c.lines), time.Unix(0, 0))
				if f.Counters().Skipped != 1 {
					t.Errorf("%+v", f.Counters())
				}
			}
			if name == "unknown words" {
				if want := (Counters{Lines: 8, UnknownVerbs: 1, UnknownObjects: 1, UnknownKeys: 2,
					UnknownValues: 2}); f.Counters() != want {
					t.Errorf("%+v", f.Counters())
				}
			}
			if got := show(f.Status(time.Unix(0, 0))); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

func folder(t *testing.T, text string) *Folder {
	t.Helper()
	f := NewFolder()
	if err := f.readFrom(strings.NewReader(text), time.Unix(0, 0)); err != nil {
		t.Fatal(err)
	}
	return f
}

func TestNewStreamReplacesTheStateOnlyWhenItsDumpIsComplete(t *testing.T) {
	now := time.Unix(0, 0)
	f := folder(t, base+"exists resource name:old\ncall helper name:pg peer-node-id:1 helper:split-brain\nchange "+
		"connection name:pg peer-node-id:1 connection:StandAlone\n")
	before := f.Status(now)
	f.NewStream()
	for _, l := range strings.Split(strings.Replace(base, "connection:Connected", "connection:StandAlone", 1), "\n")[:4] {
		f.Line(now, []byte(l))
		if diff := cmp.Diff(before, f.Status(now), cmp.AllowUnexported(HelperCall{})); diff != "" {
			t.Fatal(diff)
		}
	}
	f.Line(now, []byte("exists -"))
	s := f.Status(now)
	if len(s.Resources) != 1 || s.Resources[0].Connections[0].SplitBrain != SplitBrainLatched || f.Generation() != 2 {
		t.Errorf("%s", show(s))
	}
	if h := last(s.Resources[0]); h.Name != "split-brain" || h.Running || h.ExitCode != -1 {
		t.Errorf("helper %+v", h)
	}
}

// What each DRBD prints around a split brain. 8.4 and 9.0 say Connected, and then compare; 9.1 and later compare while
// they connect. A split brain that is resolved by hand is detected once more when the sides meet, and calls the helper.
// Before each line stands what is known of a split brain after it.
func TestSplitBrainInTheOrderOfEachVersion(t *testing.T) {
	const (
		early = `
none    exists resource role:Secondary suspended:no
none    exists connection CONN connection:Connecting role:Unknown
none    exists device volume:0 minor:5 disk:UpToDate
none    exists peer-device CONN volume:0 replication:Off peer-disk:DUnknown resync-suspended:no
none    exists -
none    change connection CONN connection:Connected
none    change connection CONN role:Primary
latched call helper CONN volume:0 minor:5 helper:initial-split-brain
latched response helper CONN volume:0 minor:5 helper:initial-split-brain status:0
`
		late = `
none    exists resource role:Secondary suspended:no may_promote:no promotion_score:10101
none    exists connection CONN connection:Connecting role:Unknown congested:no
none    exists device volume:0 minor:5 backing_dev:/dev/vdb disk:UpToDate client:no quorum:yes
none    exists peer-device CONN volume:0 replication:Off peer-disk:DUnknown peer-client:no resync-suspended:no
none    exists -
latched call helper CONN volume:0 minor:5 helper:initial-split-brain
latched response helper CONN volume:0 minor:5 helper:initial-split-brain status:0
`
		unresolved = `
latched call helper CONN volume:0 minor:5 helper:split-brain
latched response helper CONN volume:0 minor:5 helper:split-brain status:0
latched change connection CONN connection:Disconnecting role:Unknown
latched change connection CONN connection:StandAlone
`
		resync = `
none    change peer-device CONN volume:0 replication:WFBitMapS peer-disk:Consistent
none    change peer-device CONN volume:0 replication:SyncSource peer-disk:Inconsistent
none    change peer-device CONN volume:0 replication:Established peer-disk:UpToDate
`
		byHand = `
latched change connection CONN connection:Unconnected
latched change connection CONN connection:Connecting
`
		connected = `
latched change connection CONN connection:Connected role:Secondary
`
		again = `
latched call helper CONN volume:0 minor:5 helper:initial-split-brain
latched response helper CONN volume:0 minor:5 helper:initial-split-brain status:0
`
		// Of full lines, which repeat what has not changed.
		full = `
latched change peer-device CONN volume:0 replication:Off peer-disk:DUnknown peer-client:no resync-suspended:no sent:4
`
	)
	for _, version := range []struct{ name, conn string }{
		{"8.4", "peer-node-id:0 conn-name:peer"}, {"9.0", "peer-node-id:1 conn-name:n2"},
		{"9.2", "peer-node-id:1 conn-name:n2"},
	} {
		start, reconnected := early, connected+again
		if version.name == "9.2" {
			start, reconnected = late, again+full+connected
		}
		resolved := resync
		if version.name == "9.2" { // one change of state, and Connected comes first
			resolved = connected + resync
		}
		for name, lines := range map[string]string{
			"unresolved":         start + unresolved,
			"resolved by itself": start + resolved,
			"resolved by hand":   start + unresolved + byHand + reconnected + resync,
			"splits again":       start + unresolved + byHand + reconnected + unresolved,
			"resolved, and splits years on": start + resolved + strings.NewReplacer("latched", "none   ").Replace(byHand) +
				start[strings.Index(start, "exists -")+8:] + unresolved,
			"found by a new stream": start + unresolved + "latched change peer-device CONN volume:0 " +
				"replication:Off\nNEW\n" + found(start, "latched") + byHand + reconnected + resync,
			"fixed while no stream was": start + unresolved + "NEW\n" +
				strings.NewReplacer("Connecting", "Connected", "replication:Off",
					"replication:Established").Replace(found(start, "none")),
			"connected to a side that waits": start + unresolved + byHand + connected,
		} {
			t.Run(version.name+" "+name, func(t *testing.T) { followSplitBrain(t, version.conn, lines) })
		}
	}
}

// found is the dump at the start of the lines, and what is to be known after it.
func found(lines, want string) string {
	dump, _, _ := strings.Cut(lines, "none    exists -")
	return strings.ReplaceAll(dump, "none   ", "any    ") + want + " exists -\n"
}

// followSplitBrain feeds lines, each behind what is to be known of the (first) connection after it.
func followSplitBrain(t *testing.T, conn, lines string) {
	t.Helper()
	f, now := NewFolder(), time.Unix(0, 0)
	for line := range strings.Lines(lines) {
		line = strings.TrimSpace(line)
		if line == "NEW" {
			f.NewStream()
		}
		want, line, ok := strings.Cut(line, " ")
		if !ok {
			continue
		}
		w := strings.Fields(strings.ReplaceAll(line, "CONN", conn))
		if w[1] != "-" {
			w = slices.Insert(w, 2, "name:pg")
		}
		f.Line(now, []byte(strings.Join(w, " ")))
		s := f.Status(now)
		if len(s.Resources) == 0 || want == "any" {
			continue
		}
		if got := s.Resources[0].Connections[0].SplitBrain.String(); got != want {
			t.Errorf("%s after %q, want %s", got, strings.Join(w, " "), want)
		}
	}
	if d := f.Counters(); d.UnknownKeys+d.UnknownValues+d.Skipped > 0 {
		t.Errorf("the test's own lines are not understood: %+v", d)
	}
}

func TestSplitBrainEndsWithEachReplicationStateButOff(t *testing.T) {
	for _, state := range ReplicationStates {
		want := SplitBrainNone
		if state == ReplOff {
			want = SplitBrainLatched
		}
		f := folder(t, strings.Replace(base, "Established", "Off", 1)+
			"call helper name:pg peer-node-id:1 conn-name:n2 volume:0 helper:split-brain\n"+
			"change peer-device name:pg peer-node-id:1 conn-name:n2 volume:0 replication:"+string(state)+"\n")
		if got := f.Status(time.Unix(0, 0)).Resources[0].Connections[0].SplitBrain; got != want {
			t.Errorf("%s: %s, want %s", state, got, want)
		}
	}
	f := folder(t, strings.Replace(base, "Established", "Off", 1)+
		"call helper name:pg peer-node-id:1 conn-name:n2 volume:0 helper:split-brain\n"+
		"change peer-device name:pg peer-node-id:1 conn-name:n2 volume:0 replication:Tomorrow\n")
	if got := f.Status(time.Unix(0, 0)).Resources[0].Connections[0].SplitBrain; got != SplitBrainLatched {
		t.Errorf("a state nobody knows: %s", got)
	}
}

// Two peers: what one connection says is nothing to the split brain of the other.
func TestSplitBrainBelongsToOnePeer(t *testing.T) {
	const dump = `exists resource name:pg role:Primary suspended:no
exists connection name:pg peer-node-id:1 conn-name:n2 connection:Connected role:Secondary
exists connection name:pg peer-node-id:2 conn-name:dr connection:Connecting role:Unknown
exists device name:pg volume:0 minor:5 disk:UpToDate quorum:yes
exists peer-device name:pg peer-node-id:1 conn-name:n2 volume:0 replication:Established peer-disk:UpToDate peer-client:no
exists peer-device name:pg peer-node-id:2 conn-name:dr volume:0 replication:Off peer-disk:DUnknown peer-client:no
exists -
`
	for name, c := range map[string]struct{ lines, want string }{
		"the other connects": {"call helper name:pg peer-node-id:1 conn-name:n2 volume:0 helper:split-brain\n" +
			"change peer-device name:pg peer-node-id:1 conn-name:n2 volume:0 replication:Off\n" +
			"change connection name:pg peer-node-id:1 conn-name:n2 connection:StandAlone\n" +
			"change connection name:pg peer-node-id:2 conn-name:dr connection:Connected\n" +
			"change peer-device name:pg peer-node-id:2 conn-name:dr volume:0 replication:SyncSource\n" +
			"change peer-device name:pg peer-node-id:2 conn-name:dr volume:0 replication:Established", "n2 latched, dr none"},
		"the other goes on": {"call helper name:pg peer-node-id:2 conn-name:dr volume:0 helper:split-brain\n" +
			"change connection name:pg peer-node-id:2 conn-name:dr connection:StandAlone\n" +
			"change peer-device name:pg peer-node-id:1 conn-name:n2 volume:0 replication:VerifyS\n" +
			"change peer-device name:pg peer-node-id:1 conn-name:n2 volume:0 replication:Established", "n2 none, dr latched"},
		"the other stays down": {"change peer-device name:pg peer-node-id:1 conn-name:n2 volume:0 replication:Off\n" +
			"change connection name:pg peer-node-id:1 conn-name:n2 connection:Connecting\n" +
			"call helper name:pg peer-node-id:1 conn-name:n2 volume:0 helper:initial-split-brain\n" +
			"change connection name:pg peer-node-id:1 conn-name:n2 connection:Connected\n" +
			"change peer-device name:pg peer-node-id:1 conn-name:n2 volume:0 replication:SyncSource\n" +
			"change connection name:pg peer-node-id:2 conn-name:dr connection:Connecting", "n2 none, dr none"},
		"both": {"call helper name:pg peer-node-id:1 conn-name:n2 volume:0 helper:split-brain\n" +
			"call helper name:pg peer-node-id:2 conn-name:dr volume:0 helper:split-brain", "n2 latched, dr latched"},
		"a call that names nobody": {"call helper name:pg helper:split-brain\n" +
			"change connection name:pg peer-node-id:2 conn-name:dr connection:Connected\n" +
			"change peer-device name:pg peer-node-id:2 conn-name:dr volume:0 replication:Established", "n2 latched, dr none"},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, c := range folder(t, dump+c.lines+"\n").Status(time.Unix(0, 0)).Resources[0].Connections {
				got = append(got, c.Name+" "+c.SplitBrain.String())
			}
			if got := strings.Join(got, ", "); got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
		})
	}
}

// Two volumes, and a disk that is attached while connected: the state of the volume counts that was compared, from
// then on.
func TestSplitBrainBelongsToOneVolume(t *testing.T) {
	const (
		dump = `exists resource name:pg role:Primary suspended:no
exists connection name:pg peer-node-id:1 conn-name:n2 connection:Connected role:Secondary
exists peer-device name:pg peer-node-id:1 conn-name:n2 volume:0 replication:Off peer-disk:UpToDate
exists peer-device name:pg peer-node-id:1 conn-name:n2 volume:1 replication:Established peer-disk:Negotiating
exists -
`
		one  = "call helper name:pg peer-node-id:1 conn-name:n2 volume:1 helper:split-brain\n"
		zero = "call helper name:pg peer-node-id:1 conn-name:n2 volume:0 helper:split-brain\n"
		conn = "change connection name:pg peer-node-id:1 conn-name:n2 connection:"
		pd   = "change peer-device name:pg peer-node-id:1 conn-name:n2 volume:"
		full = pd + "1 replication:Established peer-disk:Negotiating resync-suspended:no sent:1\n"
	)
	for name, c := range map[string]struct {
		lines string
		want  SplitBrain
	}{
		"the other volume is well":               {one + pd + "0 replication:Established\n", SplitBrainLatched},
		"the other volume's news come late":      {zero + pd + "1 replication:VerifyS\n", SplitBrainLatched},
		"attached: still the same state":         {one + full, SplitBrainLatched},
		"attached: the same state in a new dump": {one + "NEW\n" + dump, SplitBrainLatched},
		"attached and resolved":                  {one + full + pd + "1 replication:WFBitMapS\n", SplitBrainNone},
		"attached, and the connection was away": {one + conn + "StandAlone\n" + pd + "1 replication:Off\n" + conn +
			"Connected\n" + full, SplitBrainNone},
		"both, and one is resolved": {zero + one + pd + "0 replication:SyncTarget\n", SplitBrainLatched},
		"both are": {zero + one + pd + "0 replication:SyncTarget\n" + pd +
			"1 replication:SyncTarget\n", SplitBrainNone},
		"the volume is no more": {one +
			"destroy peer-device name:pg peer-node-id:1 conn-name:n2 volume:1\n", SplitBrainNone},
		"all is taken down and comes back": {one + "destroy resource name:pg\n" +
			strings.ReplaceAll(strings.ReplaceAll(dump, "Established", "Off"), "Connected", "StandAlone"), SplitBrainLatched},
		"renamed": {one + "rename resource name:pg new_name:db\n", SplitBrainLatched},
	} {
		t.Run(name, func(t *testing.T) {
			f := folder(t, dump)
			for line := range strings.Lines(c.lines) {
				if line == "NEW\n" {
					f.NewStream()
					continue
				}
				f.Line(time.Unix(0, 0), []byte(strings.TrimSpace(line)))
			}
			if got := f.Status(time.Unix(0, 0)).Resources[0].Connections[0].SplitBrain; got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
		})
	}
}

// More split brains of one connection than are told apart: those above the bound stand for each volume.
func TestSplitBrainsAboveTheBound(t *testing.T) {
	var dump, calls, same, ends, gone strings.Builder
	dump.WriteString("exists resource name:pg\nexists connection name:pg peer-node-id:1 connection:Connected\n")
	for i := range maxLatches + 1 {
		of := fmt.Sprintf("name:pg peer-node-id:1 volume:%d", i)
		fmt.Fprintf(&dump, "exists peer-device %s replication:Off\n", of)
		fmt.Fprintf(&calls, "call helper %s helper:split-brain\n", of)
		if i < maxLatches {
			fmt.Fprintf(&same, "change peer-device %s replication:Off\n", of)
			fmt.Fprintf(&ends, "change peer-device %s replication:SyncTarget\n", of)
			fmt.Fprintf(&gone, "destroy peer-device %s\n", of)
		}
	}
	dump.WriteString("exists -\n")
	for then, want := range map[string]SplitBrain{
		"":            SplitBrainLatched,
		same.String(): SplitBrainLatched,
		ends.String(): SplitBrainNone,
		gone.String(): SplitBrainLatched, // the one above the bound
	} {
		s := folder(t, dump.String()+calls.String()+then).Status(time.Unix(0, 0))
		if got := s.Resources[0].Connections[0].SplitBrain; got != want {
			t.Errorf("%s, want %s after %.60q", got, want, then)
		}
	}
}

// Quorum, and what identifies a peer, as each version prints them: 8.4 prints no quorum and no client, and one name for
// whatever peer. The last is a tiebreaker without a disk. DRBD prints quorum:yes when quorum is off.
func TestQuorumAndPeers(t *testing.T) {
	const (
		eight = `exists resource name:pg role:Primary suspended:no write-ordering:flush
exists connection name:pg peer-node-id:0 conn-name:peer connection:Connected role:Secondary congested:no
exists device name:pg volume:0 minor:0 disk:UpToDate size:524236 read:3531
exists peer-device name:pg peer-node-id:0 conn-name:peer volume:0 replication:Established peer-disk:UpToDate resync-suspended:no
exists -
`
		nine = `exists resource name:pg role:Primary suspended:no force-io-failures:no may_promote:no promotion_score:10103
exists connection name:pg peer-node-id:1 conn-name:pg-b connection:Connected role:Secondary
exists connection name:pg peer-node-id:2 conn-name:tie connection:Connected role:Secondary
exists device name:pg volume:0 minor:0 backing_dev:/dev/vdb disk:UpToDate client:no open:yes quorum:yes
exists device name:pg volume:1 minor:1 backing_dev:/dev/vdc disk:UpToDate client:no open:no quorum:yes
exists peer-device name:pg peer-node-id:1 conn-name:pg-b volume:0 replication:Established peer-disk:UpToDate peer-client:no resync-suspended:no
exists peer-device name:pg peer-node-id:2 conn-name:tie volume:0 replication:Established peer-disk:Diskless peer-client:yes resync-suspended:no
exists -
`
	)
	for name, c := range map[string]struct{ lines, want string }{
		"8.4": {eight, "quorum ? | 0 peer client ?"},
		"8.4 loses its peer": {eight + "change connection name:pg peer-node-id:0 conn-name:peer " +
			"connection:NetworkFailure role:Unknown\n", "quorum ? | 0 peer client ?"},
		"9": {nine, "quorum yes yes | 1 pg-b client no | 2 tie client yes"},
		"9 loses it on one volume": {nine + "change device name:pg volume:1 minor:1 backing_dev:/dev/vdc disk:UpToDate " +
			"client:no open:no quorum:no\n", "quorum yes no | 1 pg-b client no | 2 tie client yes"},
		"9 has it again": {nine + "change device name:pg volume:1 minor:1 quorum:no\nchange device name:pg " +
			"volume:1 minor:1 disk:UpToDate client:no open:no quorum:yes\n",
			"quorum yes yes | 1 pg-b client no | 2 tie client yes"},
		"counters say nothing of it": {nine + "change device name:pg volume:0 minor:0 quorum:no\nchange device name:pg " +
			"volume:0 minor:0 size:1 read:2\n", "quorum no yes | 1 pg-b client no | 2 tie client yes"},
		"a recording made with --diff": {nine + "change device name:pg volume:0 minor:0 backing_dev:/dev/vdb disk:UpToDate " +
			"client:no open:yes quorum:yes->no\n", "quorum no yes | 1 pg-b client no | 2 tie client yes"},
		"a word nobody knows": {nine + "change device name:pg volume:0 minor:0 quorum:perhaps\n",
			"quorum ? yes | 1 pg-b client no | 2 tie client yes"},
		"a peer whose disk has failed": {nine + "change peer-device name:pg peer-node-id:1 conn-name:pg-b volume:0 " +
			"peer-disk:Diskless peer-client:no\n", "quorum yes yes | 1 pg-b client no | 2 tie client yes"},
		"the connection has a name": {strings.ReplaceAll(nine, "pg-b", "replica-link"),
			"quorum yes yes | 1 replica-link client no | 2 tie client yes"},
	} {
		t.Run(name, func(t *testing.T) {
			word := map[Tri]string{Unknown: "?", Yes: "yes", No: "no"}
			r := folder(t, c.lines).Status(time.Unix(0, 0)).Resources[0]
			got := "quorum"
			for _, d := range r.Devices {
				got += " " + word[d.Quorum]
			}
			for _, c := range r.Connections {
				got += fmt.Sprintf(" | %d %s client %s", c.PeerNodeID, c.Name, word[c.Volumes[0].PeerClient])
			}
			if got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
		})
	}
}

func TestUnits(t *testing.T) {
	f := folder(t, base+"change connection name:pg peer-node-id:1 ap-in-flight:18446744073709551608 rs-in-flight:3\n"+
		"change device name:pg volume:0 size:5 read:10 al-writes:7 upper-pending:18446744073709551615\n"+
		"change peer-device name:pg peer-node-id:1 volume:0 replication:SyncSource out-of-sync:2 sent:1 dbdt1:0.50 eta:nan "+
		"done:12.34\n")
	r := f.Status(time.Unix(0, 0)).Resources[0]
	c, d, p := r.Connections[0], r.Devices[0].Stats, r.Connections[0].Volumes[0]
	if c.APInFlightBytes != 0 || c.RSInFlightBytes != 1536 || !c.StatsKnown {
		t.Errorf("%+v", c)
	}
	if *d != (DeviceStats{SizeBytes: 5120, ReadBytes: 10240, ALWrites: 7}) {
		t.Errorf("%+v", d)
	}
	if p.Stats.OutOfSyncBytes != 2048 || p.Stats.SentBytes != 1024 || p.RateBytesPerSec != 524288 || p.ETA >= 0 ||
		p.Done != 12.34 {
		t.Errorf("%+v %+v", p, p.Stats)
	}
	if f.Counters().UnknownValues != 2 {
		t.Errorf("%+v", f.Counters())
	}
}

// last is the newest helper call of a resource.
func last(r Resource) Helper {
	if len(r.Helpers) == 0 {
		return Helper{}
	}
	return r.Helpers[len(r.Helpers)-1].Helper
}

func TestHelpers(t *testing.T) {
	f := folder(t, base)
	now := time.Unix(100, 0)
	line := func(at time.Duration, l string) { f.Line(now.Add(at), []byte(l)) }
	line(0, "call helper name:pg peer-node-id:1 conn-name:n2 helper:fence-peer")
	if h := last(f.Status(now).Resources[0]); !h.Running || h.ExitCode != -1 || !h.Started.Equal(now) {
		t.Errorf("%+v", h)
	}
	line(92*time.Second, "response helper name:pg peer-node-id:1 conn-name:n2 helper:fence-peer status:1280")
	want := Helper{Name: "fence-peer", Started: now, Duration: 92 * time.Second, ExitCode: 5}
	if r := f.Status(now).Resources[0]; last(r) != want || r.Helpers[len(r.Helpers)-1].PeerNodeID != 1 {
		t.Errorf("%+v", r.Helpers)
	}
	line(0, "2026-01-02T03:04:05.5+00:00 call helper name:pg helper:pri-lost")
	line(0, "2026-01-02T03:04:07.0+00:00 response helper name:pg helper:pri-lost status:7")
	if h := last(f.Status(now).Resources[0]); h.Duration != 1500*time.Millisecond || h.ExitCode != 7 {
		t.Errorf("%+v", h)
	}
	line(0, "response helper name:pg helper:quorum-lost status:256")
	if h := last(f.Status(now).Resources[0]); !h.Started.IsZero() || h.ExitCode != 1 || h.Duration != 0 {
		t.Errorf("%+v", h)
	}
}

func TestStallAndDerivedRate(t *testing.T) {
	f := folder(t, base)
	f.StallAfter = time.Minute
	now := time.Unix(100, 0)
	say := func(at int, kib int) PeerDevice {
		f.Line(now.Add(time.Duration(at)*time.Second), fmt.Appendf(nil,
			"change peer-device name:pg peer-node-id:1 volume:0 replication:SyncTarget out-of-sync:%d", kib))
		return f.Status(now.Add(time.Duration(at) * time.Second)).Resources[0].Connections[0].Volumes[0]
	}
	say(0, 10000)
	if p := say(10, 9000); p.RateBytesPerSec != 102400 || p.ETA != 90*time.Second || p.Stalled {
		t.Errorf("%+v", p)
	}
	if p := say(69, 9000); p.Stalled || p.RateBytesPerSec != 0 || p.ETA >= 0 {
		t.Errorf("%+v", p)
	}
	before := f.Status(now.Add(69 * time.Second))
	at := func(s int) bool {
		return f.Status(now.Add(time.Duration(s) * time.Second)).Resources[0].Connections[0].Volumes[0].Stalled
	}
	if !at(70) || before.Resources[0].Connections[0].Volumes[0].Stalled {
		t.Error("not stalled after a minute, or the Status handed out before was changed")
	}
	if say(71, 8999).Stalled {
		t.Error("stalled although it moved")
	}
	f.Line(now, []byte("change peer-device name:pg peer-node-id:1 volume:0 replication:Established"))
	if at(7100) {
		t.Error("stalled without a resync")
	}
}

func TestLostEventsAskForANewStream(t *testing.T) {
	f := folder(t, base+"- skipped 12\n")
	if !f.NeedResync() || f.Counters().SkippedEvents != 12 {
		t.Errorf("%v %+v", f.NeedResync(), f.Counters())
	}
	f.NewStream()
	if f.NeedResync() {
		t.Error("still asks")
	}
}

func TestStatisticsDoNotTouchStates(t *testing.T) {
	f := folder(t, base)
	now := time.Unix(0, 0)
	f.Line(now, []byte("change resource name:pg role:Primary"))
	for l := range strings.SplitSeq(base+"exists device name:gone volume:0 read:1\nexists device name:pg volume:0 "+
		"disk:Failed read:4", "\n") {
		f.Statistics(now, []byte(l))
	}
	r := f.Status(now).Resources
	if len(r) != 1 || r[0].Role != RolePrimary || r[0].Devices[0].Disk != "Inconsistent" ||
		r[0].Devices[0].Stats.ReadBytes != 4096 {
		t.Errorf("%+v", r)
	}
}

func TestLinesInChunksOfEverySize(t *testing.T) {
	text := base + strings.Repeat("x", MaxLine+10) + "\n\nshort\n" + strings.Repeat("y", MaxLine) + "\ntorn"
	var want []string
	for i, l := range strings.Split(text, "\n") {
		if i != 5 && l != "torn" {
			want = append(want, l)
		}
	}
	for _, size := range []int{1, 2, 3, 5, 7, 11, 64, 100, 1000, 4096, 65535, 65536, 65537, len(text)} {
		var l lines
		var got []string
		long := 0
		for b := []byte(text); len(b) > 0; b = b[min(size, len(b)):] {
			l.feed(b[:min(size, len(b))], func(line []byte) { got = append(got, string(line)) }, func() { long++ })
		}
		if !l.end() || long != 1 || !cmp.Equal(got, want) {
			t.Errorf("size %d: %d lines, %d long", size, len(got), long)
		}
	}
	for size := 1; size <= len(base); size++ {
		var l lines
		f := NewFolder()
		for b := []byte(base); len(b) > 0; b = b[min(size, len(b)):] {
			l.feed(b[:min(size, len(b))], func(line []byte) { f.Line(time.Unix(0, 0), line) }, f.Torn)
		}
		if diff := cmp.Diff(folder(t, base).Status(time.Unix(0, 0)), f.Status(time.Unix(0, 0))); diff != "" {
			t.Fatalf("size %d: %s", size, diff)
		}
	}
}

func TestStatusJSON(t *testing.T) {
	b, err := os.ReadFile("testdata/status.json")
	if err != nil {
		t.Fatal(err)
	}
	s, err := parseStatusJSON(b)
	if err != nil || len(s.Resources) != 1 {
		t.Fatal(err)
	}
	if got, want := show(s), "pg Primary [] dev0/0 UpToDate  node2(1) Connected Secondary none vol0 SyncSource "+
		"Inconsistent 15.63%;"; got != want {
		t.Error(got)
	}
	p := s.Resources[0].Connections[0].Volumes[0]
	if p.ETA != 51*time.Second || p.RateBytesPerSec != 8.46*(1<<20) || p.Stats.OutOfSyncBytes != 442284*1024 ||
		s.Resources[0].Connections[0].RSInFlightBytes != 30720*512 {
		t.Errorf("%+v %+v", p, p.Stats)
	}
	for _, bad := range []string{"", "{}", "[{}]", "[1]", "[] []", `[{"name":""}]`,
		`[{"name":"x","devices":[{"volume":"y"}]`} {
		if s, err := parseStatusJSON([]byte(bad)); err == nil || s.Resources != nil {
			t.Errorf("%q: %v %v", bad, s, err)
		}
	}
	s, err = parseStatusJSON([]byte(`[{"name":"r","suspended":true,"connections":[{"name":"p","ap-in-flight":18446744073709551608,"peer_devices":[{"volume":0,"estimated-seconds-to-finish":987654321}]}]}]`))
	if err != nil || s.Resources[0].Connections[0].APInFlightBytes != 0 ||
		s.Resources[0].Connections[0].Volumes[0].ETA >= 0 || len(s.Resources[0].Suspended) != 1 {
		t.Errorf("%+v %v", s, err)
	}
}

// 8.4's module with drbd-utils 9.22 printed "- skipped -2" in the lab: a loss of unknown size is a loss.
func TestSkippedCountBelowZeroIsALoss(t *testing.T) {
	ev, err := Parse([]byte("- skipped -2"), nil)
	if err != nil || ev.Verb != VerbSkipped || ev.Skipped == 0 {
		t.Errorf("%+v, %v", ev, err)
	}
}

// 8.4 prints no percent: what is left tells it.
func TestEightFourResyncHasAPercent(t *testing.T) {
	f := NewFolder()
	now := time.Unix(0, 0)
	feed := func(line string) {
		t.Helper()
		now = now.Add(2 * time.Second)
		f.Line(now, []byte(line))
	}
	done := func() float64 { return f.Status(now).Resources[0].Connections[0].Volumes[0].Done }
	feed("exists resource name:pg role:Primary suspended:no")
	feed("exists connection name:pg peer-node-id:0 conn-name:peer connection:Connected role:Secondary")
	feed("exists peer-device name:pg peer-node-id:0 conn-name:peer volume:0 replication:Established peer-disk:UpToDate " +
		"out-of-sync:0")
	feed("exists -")
	if done() >= 0 {
		t.Errorf("done %v without a resync", done())
	}
	feed("change peer-device name:pg peer-node-id:0 conn-name:peer volume:0 replication:SyncSource " +
		"peer-disk:Inconsistent out-of-sync:1000")
	for left, want := range map[int]float64{1000: 0, 750: 25, 250: 75} {
		feed(fmt.Sprintf("change peer-device name:pg peer-node-id:0 conn-name:peer volume:0 out-of-sync:%d", left))
		if got := done(); got != want {
			t.Errorf("%d left: %v %%, want %v", left, got, want)
		}
	}
	feed("change peer-device name:pg peer-node-id:0 conn-name:peer volume:0 replication:Established peer-disk:UpToDate " +
		"out-of-sync:0")
	if done() >= 0 {
		t.Errorf("done %v after the resync", done())
	}
}

// Under congestion a resync begins anew every few seconds and copies nothing.
func TestResyncThatBeginsAnewAllTheTimeIsStalled(t *testing.T) {
	f := folder(t, base)
	now := time.Unix(100, 0)
	at := func(second int, line string) PeerDevice {
		now := now.Add(time.Duration(second) * time.Second)
		f.Line(now, []byte("change peer-device name:pg peer-node-id:1 volume:0 "+line))
		return f.Status(now).Resources[0].Connections[0].Volumes[0]
	}
	for second := range 301 {
		at(second, "replication:PausedSyncS")
		at(second, "replication:Ahead")
		p := at(second, "done:98.12 out-of-sync:1000")
		if p.Stalled != (second == 300) {
			t.Fatalf("stalled is %t after %d s", p.Stalled, second)
		}
	}
	if at(301, "done:98.13 out-of-sync:990").Stalled || !at(601, "replication:PausedSyncS").Stalled {
		t.Error("it is stalled when it moves, or not when it ceases to")
	}
	if at(602, "replication:Established done:100.00").Stalled {
		t.Error("it is stalled at its end")
	}
}
