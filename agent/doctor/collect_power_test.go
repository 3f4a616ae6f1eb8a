package doctor

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/credentials"
)

// TestDryRun: DryRun is always sent, the request is signed, and each kind of answer is told apart.
func TestDryRun(t *testing.T) {
	status, body := http.StatusPreconditionFailed,
		`<Response><Errors><Error><Code>DryRunOperation</Code><Message>would have succeeded</Message></Error></Errors></Response>`
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := r.ParseForm(); err != nil || r.Form.Get("DryRun") != "true" ||
			r.Form.Get("InstanceId.1") != "i-00000000000000001" || r.Form.Get("Version") != "2016-11-15" {
			t.Errorf("%v, %v", r.Form, err)
		}
		if auth := r.Header.Get("Authorization"); !strings.Contains(auth, "Credential=AKID/") ||
			!strings.Contains(auth, "/eu-central-1/ec2/aws4_request") {
			t.Errorf("authorization %q", auth)
		}
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	}))
	defer srv.Close()
	api := ec2API{region: "eu-central-1", endpoint: srv.URL,
		credentials: credentials.NewStaticCredentialsProvider("AKID", "secret", "")}
	for _, action := range powerActions {
		if code, _, err := api.dryRun(t.Context(), action, "i-00000000000000001"); code != "DryRunOperation" || err != nil {
			t.Errorf("%s: %s, %v", action, code, err)
		}
	}
	status, body = http.StatusForbidden, strings.ReplaceAll(body, "DryRunOperation", "UnauthorizedOperation")
	if code, _, err := api.dryRun(t.Context(), "StopInstances", "i-00000000000000001"); code != "UnauthorizedOperation" ||
		err != nil {
		t.Errorf("%s, %v", code, err)
	}
	status, body = http.StatusOK, `<StopInstancesResponse/>`
	if code, _, err := api.dryRun(t.Context(), "StopInstances", "i-00000000000000001"); code != "" || err == nil {
		t.Errorf("an answer that says it was done: %s, %v", code, err)
	}
	body = `bad gateway`
	if code, _, err := api.dryRun(t.Context(), "StopInstances", "i-00000000000000001"); code != "" || err == nil {
		t.Errorf("another answer: %s, %v", code, err)
	}
}
