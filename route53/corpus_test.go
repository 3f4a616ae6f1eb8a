package route53_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pgha/pgha-agent/route53"
	"github.com/pgha/pgha-agent/route53/route53test"
)

// TestCorpusErrors answers calls with error documents that other programs recorded or wrote down.
func TestCorpusErrors(t *testing.T) {
	root := os.Getenv("PGHA_CORPUS")
	if root == "" {
		dir, err := os.Getwd()
		if err != nil {
			t.Fatal(err)
		}
		root = filepath.Join(dir, "..", "..", "shared", "corpus")
	}
	files, _ := filepath.Glob(filepath.Join(root, "open", "route53", "*", "*.xml"))
	if len(files) == 0 {
		t.Skip("the error documents of other programs were not tried: no corpus (PGHA_CORPUS)")
	}
	wants := []struct {
		part string
		want route53.Reason
	}{
		{"ErrorResponse_Throttling", route53.ReasonThrottled},
		{"ErrorResponse_PriorRequestNotComplete", route53.ReasonPriorRequest},
		{"ErrorResponse_NoSuchHostedZone", route53.ReasonNoZone},
		{"ErrorResponse_InvalidInput", route53.ReasonInvalid},
		{"ErrorResponse_MalformedInput", route53.ReasonInvalid},
		{"ErrorResponse_InvalidDomainName", route53.ReasonInvalid},
		{"ErrorResponse_InvalidChangeBatch", route53.ReasonConflict},
		{"jclouds_InvalidChangeBatch", route53.ReasonConflict},
		{"denominator_InvalidChangeBatch", route53.ReasonConflict},
	}
	tried := 0
	for _, f := range files {
		for _, w := range wants {
			if !strings.Contains(f, w.part) {
				continue
			}
			b, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			// Some documents were cut out of program text, quotes of its lines included: those are no XML.
			if strings.Contains(string(b), "'\n") || strings.Contains(string(b), "\"\n ") {
				t.Logf("%s is no XML as it stands", filepath.Base(f))
				continue
			}
			tried++
			s := fake(t, route53test.Options{})
			s.Inject(route53test.Fault{Kind: route53test.Raw, Status: 400, Body: string(b)})
			_, err = client(t, s.URL()).Write(t.Context(), next(route53.Owner{}, "pg-a", addrA))
			if got := route53.ReasonOf(err); got != w.want {
				t.Errorf("%s: %s, want %s: %v", filepath.Base(f), got, w.want, err)
			}
		}
	}
	t.Logf("%d documents", tried)
}
