package corosync

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const lab = "../../cmd/pgha-lab/guest/corosync.conf"

func nodes(n int) string {
	return "nodelist {\n" + strings.Repeat(" node {\n  ring0_addr: 10.0.0.1\n }\n", n) + "}\n"
}

func TestParse(t *testing.T) {
	text, err := os.ReadFile(lab)
	if err != nil {
		t.Fatal(err)
	}
	type conf = Config // short, for the table
	for name, x := range map[string]struct {
		text                         string
		token, consensus, membership int // milliseconds
		rest                         conf
	}{
		"the lab's": {
			string(text), 10000, 12000, 22000, conf{TokenGiven: true, Nodes: 2, TwoNode: true, WaitForAll: true},
		},
		"the version decides":         {"totem {\n}\nquorum {\n}\n", 3000, 3600, 0, conf{}},
		"0 is the default":            {"totem {\n token: 0\n consensus: 0\n}\n", 3000, 3600, 0, conf{}},
		"a consensus without a token": {"totem {\n consensus: 9000\n}\n", 3000, 9000, 0, conf{}},
		"consensus follows the token": {"totem {\n token: 1000\n}\n", 1000, 1200, 2200, conf{TokenGiven: true}},
		"as AWS recommends": {
			"totem {\n token: 30000\n consensus: 36000\n}\n", 30000, 36000, 66000, conf{TokenGiven: true},
		},
		"wait_for_all against two_node": {"quorum {\n two_node: 1\n wait_for_all: 0\n}", 3000, 3600, 0, conf{TwoNode: true}},
		"the last one counts": {
			"totem {\n token: 1000\n token: 2000\n}\n", 2000, 2400, 4400, conf{TokenGiven: true},
		},
		"a third node adds": {
			"totem {\n token: 1000\n}\n" + nodes(3), 1650, 1980, 3630, conf{TokenGiven: true, Nodes: 3},
		},
		"a coefficient of 0": {
			"totem {\n token: 1000\n token_coefficient: 0\n}\n" + nodes(4), 1000, 1200, 2200, conf{TokenGiven: true, Nodes: 4},
		},
		"no coefficient with two": {
			"totem {\n token: 1000\n token_coefficient: 5000\n}\n" + nodes(2),
			1000, 1200, 2200, conf{TokenGiven: true, Nodes: 2},
		},
		"a device, and a token elsewhere": {
			"# c\ntotem {\n token: 1000\n consensus: 2000\n interface {\n token: 9\n }\n}\n" +
				"quorum {\n device {\n model: net\n }\n wait_for_all: 1\n}",
			1000, 2000, 3000, conf{TokenGiven: true, Device: true, WaitForAll: true},
		},
		"words after a brace": {
			"totem { # ours\n token:5000\n} # end of totem\r\n\tquorum{\n  two_node : 1 \n }",
			5000, 6000, 11000, conf{TokenGiven: true, TwoNode: true, WaitForAll: true},
		},
	} {
		got, err := Parse("corosync.conf", x.text)
		ms := func(n int) time.Duration { return time.Duration(n) * time.Millisecond }
		x.rest.Token, x.rest.Consensus = ms(x.token), ms(x.consensus)
		if err != nil || *got != x.rest || got.Membership() != ms(x.membership) {
			t.Errorf("%s: %+v, %v, want %+v, membership %v", name, got, err, x.rest, ms(x.membership))
		}
	}
	for text, want := range map[string]string{
		"}":                                     "corosync.conf:1: a brace closes nothing",
		"totem {":                               "ends in the middle of a section",
		"totem {\n what is this\n}":             "corosync.conf:2: neither a section nor a setting",
		"totem {\n\n token: 5s\n}":              `corosync.conf:3: totem.token is "5s", not a number of milliseconds`,
		"totem {\n consensus: 6000 # 1.2\n}":    `corosync.conf:2: totem.consensus is "6000 # 1.2"`,
		"totem {\n token_coefficient: -1\n}":    `totem.token_coefficient is "-1"`,
		"totem {\n token: 99999999999999999\n}": "totem.token",
		nodes(385):                              "385 nodes",
	} {
		if c, err := Parse("corosync.conf", text); c != nil || err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: %+v, %v, want %q", text, c, err, want)
		}
	}
}

func TestRead(t *testing.T) {
	if c, err := Read(lab); err != nil || c.Membership() != 22*time.Second {
		t.Errorf("%+v, %v", c, err)
	}
	if c, err := Read(filepath.Join(t.TempDir(), "nothing")); c != nil || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%+v, %v", c, err)
	}
}

func FuzzParse(f *testing.F) {
	text, err := os.ReadFile(lab)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(text))
	f.Add("totem {\n token: 4294967295\n token_coefficient: 4294967295\n}\n" + nodes(384))
	f.Fuzz(func(t *testing.T, text string) {
		c, err := Parse("corosync.conf", text)
		if (c == nil) == (err == nil) {
			t.Fatalf("%v, %v", c, err)
		}
		if c != nil && (c.Token <= 0 || c.Consensus <= 0 || c.Nodes < 0 || c.Membership() < 0) {
			t.Errorf("%+v", c)
		}
	})
}
