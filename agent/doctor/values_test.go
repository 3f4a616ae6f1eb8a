package doctor

import "testing"

func FuzzPacemakerTime(f *testing.F) {
	for _, s := range []string{"15s", "node1:15s;node2:0s", "2 min", "99999999999999999999h", "9223372036854775807h",
		"node1:1000000000h", ":;:"} {
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
