package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/pgha/pgha-agent/agent/switchover"
)

// TestConsent: what overrides a check wants another word, and its risk is said before.
func TestConsent(t *testing.T) {
	p := &switchover.Plan{From: "pg-a", To: "pg-b", Checks: []switchover.Check{
		{Name: "path", Verdict: switchover.Warn, Text: "a path is down"},
	}}
	if question, word := consent(p); word != "yes" || !strings.HasSuffix(question, "Move the database from pg-a to pg-b now? Type yes: ") {
		t.Errorf("%q, %q", question, word)
	}
	p.Checks = append(p.Checks, switchover.Check{Name: "drbd", Verdict: switchover.Warn, Text: "the disk is Diskless",
		Remedy: "wait", Rescue: "pg-b has it. Risk: one copy"})
	if question, word := consent(p); word != "rescue" || !strings.HasSuffix(question, "Type rescue: ") {
		t.Errorf("%q, %q", question, word)
	}
	var b bytes.Buffer
	printPlan(&b, p)
	if out := b.String(); !strings.Contains(out, "-> overridden by --rescue: pg-b has it. Risk: one copy\n") || strings.Contains(out, "wait") {
		t.Error(out)
	}
	p.Checks[1].Verdict = switchover.Fail
	b.Reset()
	printPlan(&b, p)
	if out := b.String(); !strings.Contains(out, "-> wait\n") || !strings.Contains(out, "would be overridden by --rescue: pg-b has it") {
		t.Error(out)
	}
}
