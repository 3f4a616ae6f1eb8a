package main

import (
	"encoding/xml"
	"fmt"
	"io"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestOCFMetadataSaysWhatThereIs holds the document to the code; `make packages-test` holds it to the published
// schemas.
func TestOCFMetadataSaysWhatThereIs(t *testing.T) {
	var doc struct {
		Parameters []struct {
			Name    string `xml:"name,attr"`
			Content struct {
				Default string `xml:"default,attr"`
			} `xml:"content"`
		} `xml:"parameters>parameter"`
		Actions []struct {
			Name string `xml:"name,attr"`
		} `xml:"actions>action"`
	}
	if err := xml.Unmarshal([]byte(ocfMetadata), &doc); err != nil {
		t.Fatal(err)
	}
	defaults := map[string]string{}
	for _, p := range doc.Parameters {
		defaults[p.Name] = p.Content.Default
	}
	want := map[string]string{"hosted_zone_id": "", "hostname": "", "ttl": "",
		"wait": fmt.Sprint(ocfDefaultWait.Seconds())}
	if diff := cmp.Diff(want, defaults); diff != "" {
		t.Errorf("parameters (-want +got):\n%s", diff)
	}
	t.Setenv("HA_RSCTMP", t.TempDir())
	for _, a := range doc.Actions {
		config := "/nonexistent"
		cmd := newOCF(&config)
		cmd.SetArgs([]string{a.Name})
		cmd.SilenceErrors, cmd.SilenceUsage = true, true
		cmd.SetOut(io.Discard)
		cmd.SetErr(io.Discard)
		if err := cmd.Execute(); err != nil && exitCode(err) == ocfUnknown {
			t.Errorf("action %s: %v", a.Name, err)
		}
	}
}
