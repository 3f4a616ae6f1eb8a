package corosync_test

import (
	"fmt"

	"github.com/pgha/pgha-agent/crm/corosync"
)

// Read does the same with a file.
func ExampleParse() {
	c, err := corosync.Parse("corosync.conf", `totem {
  version: 2
  token: 10000
}
nodelist {
  node {
    ring0_addr: 10.0.0.1
  }
  node {
    ring0_addr: 10.0.0.2
  }
}
quorum {
  provider: corosync_votequorum
  two_node: 1
}
`)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(c.Nodes, "nodes, two_node:", c.TwoNode, "wait_for_all:", c.WaitForAll)
	fmt.Println("a silent node is out of the membership after", c.Membership())
	// Output:
	// 2 nodes, two_node: true wait_for_all: true
	// a silent node is out of the membership after 22s
}
