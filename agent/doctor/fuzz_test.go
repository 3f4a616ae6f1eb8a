package doctor

import (
	"os"
	"testing"
)

func FuzzCorosync(f *testing.F) {
	lab, err := os.ReadFile("../../cmd/pgha-lab/guest/corosync.conf")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(lab))
	f.Add("totem {\n token: 99999999999999999\n token_coefficient: 9223372036854775807\n}\nnodelist {\n node {\n }\n node {\n }\n node {\n }\n}\n")
	f.Fuzz(func(t *testing.T, text string) {
		c, err := parseCorosync(text)
		if (c == nil) == (err == nil) {
			t.Fatalf("%v, %v", c, err)
		}
		if c != nil && (c.Token < 0 || c.Consensus < 0 || c.Nodes < 0) {
			t.Errorf("%+v", c)
		}
	})
}

func FuzzPacemakerTime(f *testing.F) {
	for _, s := range []string{"15s", "node1:15s;node2:0s", "2 min", "99999999999999999999h", "9223372036854775807h", "node1:1000000000h", ":;:"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if d, ok := pacemakerTime(text); d < 0 || !ok && d != 0 {
			t.Errorf("%v, %v", d, ok)
		}
		if d := delayFor(text, "node1"); d < 0 {
			t.Errorf("delay %v", d)
		}
	})
}
