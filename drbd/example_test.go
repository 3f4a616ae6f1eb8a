package drbd_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"strings"
	"time"

	"github.com/pgha/pgha-agent/drbd"
)

// A stream that is kept alive. The command stands in for drbdsetup here: it prints a recorded dump and waits.
func ExampleStream() {
	const dump = "cat testdata/lab9/states/01-healthy/node1/drbdsetup-events2-now.txt; exec cat >/dev/null"
	s := &drbd.Stream{Command: []string{"/bin/sh", "-c", dump, "drbdsetup"}, Resource: "pg"}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	err := s.Run(ctx, func(r drbd.Report) {
		if r.Live {
			fmt.Println(r.Status.Resources[0].Role, r.Status.Resources[0].Devices[0].Disk)
			cancel()
		}
	})
	fmt.Println(err)
	// Output:
	// Secondary UpToDate
	// context canceled
}

// Lines are folded into a Status, which is complete after the line "exists -".
func ExampleFolder() {
	f, now := drbd.NewFolder(), time.Now()
	for _, line := range []string{
		"exists resource name:pg role:Secondary suspended:no",
		"exists connection name:pg peer-node-id:1 conn-name:node2 connection:Connecting role:Unknown",
		"exists -",
		"change connection name:pg peer-node-id:1 conn-name:node2 connection:Connected role:Primary",
	} {
		f.Line(now, []byte(line))
	}
	c := f.Status(now).Resources[0].Connections[0]
	fmt.Println(c.Name, c.State == drbd.ConnConnected, c.PeerRole)
	// Output: node2 true Primary
}

// A whole recording, as `pgha-agent debug events2` reads it.
func ExampleReadAll() {
	f, err := os.Open("testdata/lab9/scenarios/failover-kill9-primary/node1/drbd/events2.1795398773.log")
	if err != nil {
		log.Fatal(err)
	}
	defer f.Close()
	d, err := drbd.ReadAll(f, time.Now())
	if err != nil {
		log.Fatal(err)
	}
	r := d.Resources[0]
	fmt.Println(r.Name, r.Role, r.Devices[0].Disk, r.Connections[0].Connection)
	// Output: pg Primary UpToDate Connected
}

func ExampleParse() {
	ev, err := drbd.Parse([]byte("change device name:pg volume:0 disk:Failed"), nil)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(ev.Verb == drbd.VerbChange, ev.Object == drbd.ObjectDevice)
	for _, f := range ev.Fields {
		if f.Key == drbd.KeyDisk {
			fmt.Println(string(f.Value))
		}
	}
	// Output:
	// true true
	// Failed
}

func ExampleParseConfig() {
	text, err := os.ReadFile("testdata/lab9/states/01-healthy/node1/drbdadm-dump.txt")
	if err != nil {
		log.Fatal(err)
	}
	c, err := drbd.ParseConfig(text, "pg")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(c.Protocol, c.Fencing, c.Devices, c.Addresses)
	fmt.Println(strings.Fields(c.Handlers["fence-peer"])[0])
	// Output:
	// C resource-and-stonith [/dev/drbd0] [10.0.1.10:7789 10.0.2.10:7789]
	// /usr/lib/drbd/crm-fence-peer.9.sh
}
