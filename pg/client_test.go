package pg

import (
	"context"
	"errors"
	"testing"
)

// dnsAnswer is a resolver's answer without an address.
type dnsAnswer struct {
	error

	notFound bool
}

func (a dnsAnswer) NotFound() bool { return a.notFound }

// TestNoName: a client whose name has no address says so. A resolver that fails, and a server that turns it away, are
// something else.
func TestNoName(t *testing.T) {
	for name, c := range map[string]struct {
		err  error
		want bool
	}{
		"NODATA":            {dnsAnswer{errors.New("the resolver answers NODATA"), true}, true},
		"SERVFAIL":          {dnsAnswer{errors.New("the resolver answers SERVFAIL"), false}, false},
		"unreachable":       {errors.New("network is unreachable"), false},
		"it is turned away": {nil, false},
	} {
		client := newClient(t, "host=db.pgha.internal port=1 user=postgres dbname=postgres",
			func(context.Context, string) ([]string, error) { return []string{"127.0.0.1"}, c.err })
		v := client.Probe(t.Context())
		if v.NoName != c.want || v.OK || v.Answers || c.err != nil && v.Err != c.err.Error() {
			t.Errorf("%s: %+v", name, v)
		}
	}
}
