package main

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

const commandsPage = "../../docs/commands.md"

func TestCommandsDocumented(t *testing.T) {
	var page bytes.Buffer
	fmt.Fprint(&page, "# Commands\n\nMade from the program by `make docs`: do not edit.\n\n")
	root := newRoot()
	fmt.Fprintf(&page, "%s\n\nEvery command takes these flags:\n\n", paragraphs(root.Long))
	printFlags(&page, root.PersistentFlags())
	fmt.Fprint(&page, "| `-h`, `--help` | help for the command | |\n")
	printCommands(&page, root)
	fmt.Fprint(&page, "\n`pgha-alert` is the alert hook: a small program that hands the alert to the daemon, and "+
		"becomes `pgha-agent alert` when that fails. Called by that name, `pgha-agent` is the same.\n")

	if *update {
		if err := os.WriteFile(commandsPage, page.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(commandsPage)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(page.String(), string(got)); diff != "" {
		t.Errorf("docs/commands.md is not what the program says; run `make docs` (-want +got):\n%s", diff)
	}
}

// printCommands prints a section for each command that does something.
func printCommands(w *bytes.Buffer, parent *cobra.Command) {
	for _, c := range parent.Commands() {
		if c.Hidden || c.Name() == "help" {
			continue
		}
		fmt.Fprintf(w, "\n## %s\n\n    %s\n\n", strings.TrimPrefix(c.CommandPath(), "pgha-agent "), c.UseLine())
		text := c.Long
		if text == "" {
			text = c.Short + "."
		}
		fmt.Fprintln(w, paragraphs(text))
		if c.LocalNonPersistentFlags().HasAvailableFlags() {
			fmt.Fprintln(w)
			printFlags(w, c.LocalNonPersistentFlags())
		}
		printCommands(w, c)
	}
}

func printFlags(w *bytes.Buffer, flags *pflag.FlagSet) {
	fmt.Fprint(w, "| Flag | Meaning | Default |\n|---|---|---|\n")
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Hidden || f.Name == "help" {
			return
		}
		name := "`--" + f.Name + "`"
		if f.Shorthand != "" {
			name = "`-" + f.Shorthand + "`, " + name
		}
		def := ""
		if f.DefValue != "" && f.DefValue != "false" {
			def = "`" + f.DefValue + "`"
		}
		fmt.Fprintf(w, "| %s | %s | %s |\n", name, f.Usage, def)
	})
}

// paragraphs joins the lines of each paragraph: help is wrapped for a terminal, a page is not.
func paragraphs(text string) string {
	parts := strings.Split(strings.TrimSpace(text), "\n\n")
	for i, p := range parts {
		parts[i] = strings.ReplaceAll(p, "\n", " ")
	}
	return strings.Join(parts, "\n\n")
}

func TestEveryCommandSaysWhatItDoes(t *testing.T) {
	var visit func(c *cobra.Command)
	visit = func(c *cobra.Command) {
		if c.Short == "" || strings.HasSuffix(c.Short, ".") {
			t.Errorf("%s: short text %q, want one without a full stop", c.CommandPath(), c.Short)
		}
		if !c.Runnable() && !c.HasSubCommands() {
			t.Errorf("%s does nothing", c.CommandPath())
		}
		for _, sub := range c.Commands() {
			visit(sub)
		}
	}
	visit(newRoot())
}
