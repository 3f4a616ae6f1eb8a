package route53_test

import (
	"slices"
	"testing"

	"github.com/pgha/pgha-agent/route53"
	"github.com/pgha/pgha-agent/route53/route53test"
)

// TestTryWriteChangesNothing whatever stands in the zone, and however often; and it can tell when writing is not
// allowed.
func TestTryWriteChangesNothing(t *testing.T) {
	for name, ownership := range map[string]bool{"with ownership": true, "without": false} {
		t.Run(name, func(t *testing.T) {
			s := fake(t, route53test.Options{})
			c := client(t, s.URL(), func(o *route53.Options) { o.Ownership = ownership })
			try := func(what string) {
				t.Helper()
				rec, err := c.Read(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				before := s.Records()
				if err := c.TryWrite(t.Context(), rec); err != nil {
					t.Errorf("%s: %v", what, err)
				}
				if after := s.Records(); !slices.EqualFunc(before, after, func(a, b route53test.RecordSet) bool {
					return a.Name == b.Name && a.Type == b.Type && slices.Equal(a.Values, b.Values) && *a.TTL == *b.TTL
				}) {
					t.Errorf("%s: the zone was %v, is %v", what, before, after)
				}
			}
			try("empty zone")
			s.Set(route53test.Simple(txtName, "TXT", 77,
				`"v=1 epoch=4 owner=pg-b addr=10.0.2.10 claim=0e5b6a52-6b3f-5d43-9d6e-7c5a1f2b3c4d"`))
			try("owner only")
			s.Set(route53test.Simple(name, "A", 77, addrB.String()))
			try("both")
			if n := len(s.Accepted()); n != 0 || s.Count("ChangeResourceRecordSets") != 3 {
				t.Errorf("%d of %d batches were accepted", n, s.Count("ChangeResourceRecordSets"))
			}

			s.Inject(route53test.Fault{Kind: route53test.Refuse, Op: "ChangeResourceRecordSets", Status: 403,
				Code: "AccessDenied", Body: "no", Count: 1})
			wantErr(t, c.TryWrite(t.Context(), route53.Record{}), route53.ReasonDenied, true)
			s.Inject(route53test.Fault{Kind: route53test.Throttle, Op: "ChangeResourceRecordSets", Count: 1})
			wantErr(t, c.TryWrite(t.Context(), route53.Record{}), route53.ReasonThrottled, true)
		})
	}
}

// TestTryWriteOfAStaleRecordChangesNothing: between the read and the try another node took the record over.
func TestTryWriteOfAStaleRecordChangesNothing(t *testing.T) {
	s := fake(t, route53test.Options{})
	c := client(t, s.URL())
	first := next(route53.Owner{}, "pg-a", addrA)
	if _, err := c.Write(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	stale, err := c.Read(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write(t.Context(), next(stale.Owner, "pg-b", addrB)); err != nil {
		t.Fatal(err)
	}
	if err := c.TryWrite(t.Context(), stale); err != nil {
		t.Error(err)
	}
	if got := aRecord(t, s); got != addrB.String()+"/30" || len(s.Accepted()) != 2 {
		t.Errorf("the record is %s after %d accepted batches", got, len(s.Accepted()))
	}
}
