package main

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
)

// The lab's VPC: one subnet for each machine, joined by a router. The router is the lab process itself, in a network
// namespace that it made: nothing of this can be seen from outside.
var (
	resolverAddr = netip.MustParseAddr("10.0.0.2")        // the VPC's resolver, and here all of AWS
	metadataAddr = netip.MustParseAddr("169.254.169.254") // of the instances
)

// makeNetwork sets up the namespace the process lives in.
func makeNetwork(ctx context.Context, machines []*machine) error {
	steps := []string{
		"ip link set lo up",
		"ip addr add " + resolverAddr.String() + "/32 dev lo",
		"ip addr add " + metadataAddr.String() + "/32 dev lo",
	}
	for _, m := range machines {
		steps = append(steps,
			"ip tuntap add dev "+m.tap+" mode tap",
			// Always the same: a thawed machine goes on with the neighbors that it knew when it was frozen.
			"ip link set "+m.tap+" address 52:54:00:00:ff:"+m.mac[len(m.mac)-5:len(m.mac)-3],
			"ip addr add "+m.gateway.String()+"/24 dev "+m.tap,
			"ip link set "+m.tap+" up")
	}
	steps = append(steps, "echo 1 >/proc/sys/net/ipv4/ip_forward")
	if err := command(ctx, "sh", "-ec", strings.Join(steps, "\n")); err != nil {
		return fmt.Errorf("make the network: %w", err)
	}
	return nil
}

// The links that can be cut between the machines.
const (
	replicationLink = "tcp dport 7789 drop; tcp sport 7789 drop"
	clusterLink     = "udp dport 5404-5412 drop"
	everyLink       = "drop"
)

// cutLinks drops what goes from one machine to the other. The machines still reach AWS and the clients.
func cutLinks(ctx context.Context, rules string) error {
	return command(ctx, "nft", "table inet cut { chain forward { type filter hook forward priority 0; "+rules+"; }; }")
}

func healLinks(ctx context.Context) error { return command(ctx, "nft", "delete table inet cut") }
