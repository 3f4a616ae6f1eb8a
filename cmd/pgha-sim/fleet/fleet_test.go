package fleet

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"
	"time"
)

// TestOursTakesLittleMoreThanTheAccountAllows: nothing can be faster than one change for each cluster at the account's
// rate.
func TestOursTakesLittleMoreThanTheAccountAllows(t *testing.T) {
	acc := Account{Clusters: 400, Rate: 1, Burst: 10}
	o := Ours(acc, time.Hour)
	all, ok := o.After(1, acc.Clusters)
	least := time.Duration(float64(acc.Clusters)-acc.Burst) * time.Second
	if !ok || all < least || all > least*3/2+promoted {
		t.Errorf("%v after %v, %d right; the account allows %v", ok, all, len(o.Right), least)
	}
	if o.Polls > acc.Clusters/4 {
		t.Errorf("%d polls were served while others waited to write", o.Polls)
	}
}

func TestShellStarvesItself(t *testing.T) {
	acc := Account{Clusters: 400, Rate: 1, Burst: 10}
	o := Shell(acc, time.Hour)
	if o.Refused*2 < o.Requests {
		t.Errorf("%d of %d refused", o.Refused, o.Requests)
	}
	alone := Shell(Account{Clusters: 1, Rate: 1, Burst: 10}, time.Hour)
	if d, ok := alone.After(1, 1); !ok || d > 2*time.Minute {
		t.Errorf("one cluster alone: %v, %v", d, ok)
	}
}

func TestReport(t *testing.T) {
	acc := Account{Clusters: 4}
	lines := []Line{{"one & only", &Outcome{Right: []time.Duration{time.Minute, time.Hour}, Requests: 4, Refused: 1}}}
	var table, svg bytes.Buffer
	Table(&table, acc, 3*time.Hour, lines)
	if !strings.Contains(table.String(), "| 60 min | not within 3.0 h (50.0 % are) |") {
		t.Error(table.String())
	}
	SVG(&svg, acc, 3*time.Hour, lines)
	for d := xml.NewDecoder(&svg); ; {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
}
