package drbd

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The forms of `drbdsetup show` (8.4, 9) and of `drbdadm dump`, shortened; r1 stands beside the resource that is asked
// for.
const (
	show84 = `resource r0 {
    options {
    }
    net {
        timeout         	90; # 1/10 seconds
        shared-secret   	"a { secret; }";
    }
    _remote_host {
        address			ipv4 10.0.2.10:7789;
    }
    _this_host {
        address			ipv4 10.0.1.10:7789;
        volume 0 {
            device			minor 0;
            disk			"/dev/vdb";
            disk {
                fencing         	resource-and-stonith;
            }
        }
    }
}
`
	show9 = `resource "r1" {
    connection {
        net {
            protocol A;
            allow-two-primaries	yes;
        }
    }
}
resource "r0" {
    _this_host {
        node-id			0;
        volume 0 {
            device			minor 7;
        }
    }
    connection {
        _peer_node_id 1;
        path {
            _this_host ipv4 10.0.1.10:7789;
            _remote_host ipv4 10.0.2.10:7789;
        }
        net {
            fencing         	resource-and-stonith;
            _name           	"pg-2";
        }
    }
}
`
	dump = `# /etc/drbd.conf
global {
    usage-count no;
}
common {
    net {
        protocol B;
    }
    handlers {
        split-brain /bin/true;
    }
}
# resource r0 on pg-1: not ignored, not stacked
resource r0 {
    device               /dev/drbd0 minor 0;
    on pg-1 {
        node-id 0;
        address          ipv4 10.0.1.10:7789;
    }
    on pg-2 {
        address          ipv4 10.0.2.10:7789;
    }
    net {
        protocol           C;
        allow-two-primaries;
    }
    handlers {
        fence-peer       "/usr/lib/drbd/crm-fence-peer.9.sh --timeout 5";
    }
}
`
)

func addrPorts(list ...string) (out []netip.AddrPort) {
	for _, s := range list {
		out = append(out, netip.MustParseAddrPort(s))
	}
	return out
}

func TestParseConfig(t *testing.T) {
	none := map[string]string{}
	for name, x := range map[string]struct {
		text, resource string
		want           Config
	}{
		"show of 8.4": {show84, "r0", Config{
			Protocol: "C", Fencing: "resource-and-stonith", Handlers: none, Devices: []string{"/dev/drbd0"},
			Addresses: addrPorts("10.0.2.10:7789", "10.0.1.10:7789"), Peers: addrPorts("10.0.2.10:7789"),
		}},
		"show of 9": {show9, "r0", Config{
			Protocol: "C", Fencing: "resource-and-stonith", Handlers: none, Devices: []string{"/dev/drbd7"},
			Addresses: addrPorts("10.0.1.10:7789", "10.0.2.10:7789"), Peers: addrPorts("10.0.2.10:7789"),
		}},
		"another resource": {show9, "r1", Config{Protocol: "A", Fencing: "dont-care", TwoPrimaries: true, Handlers: none}},
		"dump": {dump, "r0", Config{
			Protocol: "C", Fencing: "dont-care", TwoPrimaries: true, Devices: []string{"/dev/drbd0"},
			Addresses: addrPorts("10.0.1.10:7789", "10.0.2.10:7789"),
			Handlers: map[string]string{"fence-peer": "/usr/lib/drbd/crm-fence-peer.9.sh --timeout 5",
				"split-brain": "/bin/true"},
		}},
	} {
		got, err := ParseConfig([]byte(x.text), x.resource)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		x.want.Name = x.resource
		if diff := cmp.Diff(&x.want, got, cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestParseConfigRefuses(t *testing.T) {
	for name, text := range map[string]string{
		"nothing": "", "another resource only": "resource r1 { }", "cut off": show84[:200], "a brace too many": show84 +
			"}", "a nameless section": "{ }",
	} {
		if c, err := ParseConfig([]byte(text), "r0"); err == nil {
			t.Errorf("%s: %+v", name, c)
		}
	}
}

func FuzzParseConfig(f *testing.F) {
	f.Add([]byte(show84))
	f.Add([]byte(show9))
	f.Add([]byte(dump))
	f.Fuzz(func(t *testing.T, text []byte) {
		if c, err := ParseConfig(text, "r0"); (c == nil) == (err == nil) {
			t.Errorf("%v, %v", c, err)
		}
	})
}
