package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/pgha/pgha-agent/agent/config"
	"github.com/pgha/pgha-agent/agent/doctor"
	"github.com/pgha/pgha-agent/agent/explain"
	"github.com/pgha/pgha-agent/agent/fsm"
	"github.com/pgha/pgha-agent/agent/status"
	"github.com/pgha/pgha-agent/pg"
	"github.com/pgha/pgha-agent/route53"
)

// TestVisibleNames freezes what scripts, dashboards, rules and configuration files of users are written with. A name
// may be added, and with it a line here (-update). A line that changes or goes breaks somebody.
func TestVisibleNames(t *testing.T) {
	var b strings.Builder
	section := func(title string, lines []string) {
		fmt.Fprintf(&b, "# %s\n%s\n\n", title, strings.Join(lines, "\n"))
	}
	section("JSON: status", jsonNames(reflect.TypeFor[status.Doc]()))
	section("JSON: history", jsonNames(reflect.TypeFor[storyDoc]()))
	section("JSON: explain", jsonNames(reflect.TypeFor[explain.Explanation]()))
	section("JSON: doctor", jsonNames(reflect.TypeFor[doctor.Result]()))
	section("JSON: switchover", jsonNames(reflect.TypeFor[switchoverDoc]()))
	section("configuration", configNames())
	section("metrics", metricNames(t))
	section("commands and flags", commandNames(newRoot(), ""))

	var holds, phases []string
	for _, h := range fsm.AllHolds() {
		holds = append(holds, h.String())
	}
	for p := range fsm.NumPhases {
		phases = append(phases, p.String())
	}
	section("holds", holds)
	section("phases", phases)
	section("causes", words(fsm.Causes))
	section("outcomes", words(fsm.Outcomes))
	section("publications", words(status.Publications))
	section("reasons of Route 53", words(route53.Reasons))
	section("states of PostgreSQL", words(pg.States))
	var checks []string
	for _, c := range doctor.All() {
		checks = append(checks, c.Name)
	}
	section("checks of the doctor", checks)
	section("verdicts of the doctor", words(doctor.Verdicts))

	const golden = "testdata/visible.txt"
	if *update {
		if err := os.WriteFile(golden, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), b.String()); diff != "" {
		t.Errorf("what users see has other names (-frozen +now):\n%s", diff)
	}
}

func words[T ~string](list []T) []string {
	out := make([]string, len(list))
	for i, w := range list {
		out[i] = string(w)
	}
	return out
}

// jsonNames lists the path of every value that a document of a type can hold.
func jsonNames(t reflect.Type) []string {
	var list []string
	var walk func(t reflect.Type, path string)
	walk = func(t reflect.Type, path string) {
		for t.Kind() == reflect.Pointer {
			t = t.Elem()
		}
		switch {
		case t == reflect.TypeFor[time.Time]() || t.Implements(reflect.TypeFor[json.Marshaler]()):
			list = append(list, path)
		case t.Kind() == reflect.Slice:
			walk(t.Elem(), path+"[]")
		case t.Kind() == reflect.Struct:
			for f := range t.Fields() {
				name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
				if !f.IsExported() || name == "-" {
					continue
				}
				below := path
				if name == "" && !f.Anonymous {
					name = f.Name
				}
				if name != "" {
					below = path + "." + name
				}
				walk(f.Type, below)
			}
		default:
			list = append(list, path)
		}
	}
	walk(t, "")
	return list
}

// configNames lists every key of the configuration file with its default.
func configNames() []string {
	c := config.Default()
	names, values := config.Fields(&c)
	for i, v := range values {
		if names[i] != "node.name" { // its default is the machine's
			names[i] += fmt.Sprintf(" = %v", reflect.ValueOf(v).Elem())
		}
	}
	return names
}

// metricNames lists metrics with their type and labels, from the page that a test holds to what the agent exports.
func metricNames(t *testing.T) []string {
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "metrics.md"))
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, row := range regexp.MustCompile(
		"(?m)^\\| `(pgha_[a-z0-9_]+)` \\| (\\w+) \\| ([^|]*) \\|").FindAllStringSubmatch(string(page), -1) {
		list = append(list, strings.TrimSpace(strings.Join(row[1:], " ")))
	}
	return list
}

func commandNames(parent *cobra.Command, path string) []string {
	var list []string
	parent.LocalFlags().VisitAll(func(f *pflag.Flag) {
		list = append(list, strings.TrimSpace(path+" --"+f.Name))
	})
	for _, c := range parent.Commands() {
		if c.Name() != "help" {
			below := strings.TrimSpace(path + " " + c.Name())
			list = append(append(list, below), commandNames(c, below)...)
		}
	}
	slices.Sort(list)
	return list
}
