package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/pgha/pgha-agent/agent/status"
)

// options has the long options of the programs that remedies name. Those of Pacemaker are in each of its versions from
// 2.0.5 to 3.0, those of DRBD in 8.4 and 9. An option is added here when its program's source has it, in all of them.
var options = map[string]string{
	"crm_mon": "one-shot inactive failcounts operations neg-locations show-node-attributes output-as",
	"crm_resource": "wait timeout resource node cleanup refresh clear constraints restart force-check meta set-parameter " +
		"get-parameter parameter-value delete-parameter move ban",
	"crm_attribute": "node name type update delete query",
	"crm_standby":   "node lifetime delete",
	"crm_ticket":    "ticket grant activate force",
	"crm_simulate":  "live-check show-scores",
	"cibadmin":      "query delete create modify allow-create xml-text xpath scope",
	"attrd_updater": "node name delete refresh",
	"stonith_admin": "history verbose confirm fence query list cleanup",
	"drbdadm":       "discard-my-data force clear-bitmap version c-max-rate",
	"drbdsetup":     "verbose statistics",
	"pcs":           "force all wait config promoted off skip-offline start enable",
	"systemctl":     "now no-block",
	"journalctl":    "",
	"psql":          "",
	"dig":           "",
	"df":            "",
	"du":            "",
	"umount":        "",
	"iostat":        "",
	"fsfreeze":      "unfreeze",
	"ps":            "",
	"ss":            "",
	"ls":            "",
	"pkill":         "",
	"nft":           "",
	"iptables":      "",
	"ip":            "",
}

// verbs are the first words after the program, where it has such.
var verbs = map[string][]string{
	"drbdadm": {"up", "down", "status", "adjust", "connect", "disconnect", "attach", "primary", "secondary", "resume-io",
		"resume-sync", "verify", "disk-options", "peer-device-options", "create-md", "new-current-uuid", "resize", "invalidate", "dump"},
	"drbdsetup": {"status", "show", "events2"},
	"ip":        {"route"},
	"systemctl": {"status", "start", "stop", "restart", "reload", "reboot", "enable", "disable", "is-enabled", "daemon-reload"},
}

// program returns the words of a command after sudo and the like, nil when it is none of a program that is known here.
func program(command string) []string {
	words := shellWords(command)
	for len(words) > 0 {
		switch {
		case words[0] == "sudo" && len(words) > 2 && words[1] == "-u":
			words = words[3:]
		case words[0] == "runuser" && len(words) > 4 && words[1] == "-u" && words[3] == "--":
			words = words[4:]
		case words[0] == "sudo" || words[0] == "time":
			words = words[1:]
		default:
			if _, known := options[words[0]]; known || words[0] == "pgha-agent" {
				return words
			}
			return nil
		}
	}
	return nil
}

// shellWords splits a command as a shell does, up to its first pipe, list or comment.
func shellWords(command string) (words []string) {
	word, open, quote := "", false, rune(0)
	flush := func() {
		if open {
			words = append(words, word)
		}
		word, open = "", false
	}
	for _, r := range command {
		switch {
		case quote != 0 && r == quote:
			quote = 0
		case quote != 0:
			word += string(r)
		case r == '\'' || r == '"':
			quote, open = r, true
		case r == ' ' || r == '\n':
			flush()
		case strings.ContainsRune("|;&>", r), r == '#' && !open:
			flush()
			return words
		default:
			word, open = word+string(r), true
		}
	}
	flush()
	return words
}

// checkCommand holds that a command exists: the program, its verb, its long options.
func checkCommand(t *testing.T, where, command string) {
	t.Helper()
	words := program(command)
	if len(words) < 2 { // the name of a program
		return
	}
	if words[0] == "pgha-agent" {
		checkOwnCommand(t, where, words[1:])
		return
	}
	known := strings.Fields(options[words[0]])
	for _, word := range words[1:] {
		name, long := strings.CutPrefix(word, "--")
		name, _, _ = strings.Cut(name, "=")
		if long && !slices.Contains(known, name) {
			t.Errorf("%s: %s is not known to have --%s: %s", where, words[0], name, command)
		}
	}
	if list := verbs[words[0]]; list != nil && len(words) > 1 && !strings.HasPrefix(words[1], "-") &&
		!slices.Contains(list, words[1]) {
		t.Errorf("%s: %s is not known to have %q: %s", where, words[0], words[1], command)
	}
}

// checkOwnCommand lets the real table of commands parse it.
func checkOwnCommand(t *testing.T, where string, args []string) {
	t.Helper()
	if args[0] == "COMMAND" { // any of them
		return
	}
	cmd, rest, err := newRoot().Find(args)
	if err == nil && cmd.HasParent() {
		err = cmd.ParseFlags(rest)
	}
	if given := cmd.Flags().Args(); err == nil && len(given) > 0 { // without any, a text only names the command
		err = cmd.ValidateArgs(given)
	}
	if err != nil || !cmd.HasParent() && !strings.HasPrefix(args[0], "-") {
		t.Errorf("%s: pgha-agent %s: %v", where, strings.Join(args, " "), err)
	}
}

// said is a text of the source, with x for what is filled in.
type said struct{ where, text string }

// saidIn lists the texts in the Go files of a directory.
func saidIn(t *testing.T, dir string) (texts []said) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%s: %v", dir, err)
	}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		set := token.NewFileSet()
		file, err := parser.ParseFile(set, name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			e, ok := n.(ast.Expr)
			if !ok {
				return true
			}
			text, whole := fold(e)
			if whole {
				texts = append(texts, said{set.Position(n.Pos()).String(), verb.ReplaceAllString(text, "x")})
			}
			return !whole
		})
	}
	return texts
}

var verb = regexp.MustCompile(`%(\[\d+\])?[-+.0-9]*[a-z]`)

// fold returns the text of a literal, or of a sum that has one.
func fold(e ast.Expr) (string, bool) {
	switch e := e.(type) {
	case *ast.BasicLit:
		if e.Kind == token.STRING {
			text, err := strconv.Unquote(e.Value)
			return text, err == nil
		}
	case *ast.BinaryExpr:
		left, l := fold(e.X)
		right, r := fold(e.Y)
		if e.Op == token.ADD && (l || r) {
			if !l {
				left = "x"
			}
			if !r {
				right = "x"
			}
			return left + right, true
		}
	}
	return "", false
}

var (
	quoted      = regexp.MustCompile("`([^`]+)`")
	placeholder = regexp.MustCompile(`<[a-z]|\$[A-Za-z{]|\b(NODE|DEVICE|RESOURCE|NAME|ID|IP|CLONE)\b`)
)

// TestCommandsOfRemediesExist goes over every text of the packages that tell an operator what to do. What is a command
// there, by itself or between backticks, exists, and nobody has to fill in anything.
func TestCommandsOfRemediesExist(t *testing.T) {
	count := map[string]int{}
	for _, dir := range []string{"../../agent/explain", "../../agent/status", "../../agent/switchover"} {
		for _, s := range saidIn(t, dir) {
			commands := []string{s.text}
			for _, m := range quoted.FindAllStringSubmatch(s.text, -1) {
				commands = append(commands, m[1])
			}
			for _, c := range commands {
				words := program(c)
				if c != s.text && words == nil && strings.Contains(strings.Trim(c, "x "), " ") {
					t.Errorf("%s: the program of %q is not known", s.where, c)
				}
				// A sentence that begins with the name of a program is none of its commands.
				if len(words) < 2 || c == s.text && strings.Contains(c, "`") || prose.MatchString(c) {
					continue
				}
				count[words[0]]++
				checkCommand(t, s.where, c)
				if words[0] != "psql" && placeholder.MatchString(c) {
					t.Errorf("%s: somebody has to fill in something: %s", s.where, c)
				}
			}
		}
	}
	for _, name := range []string{"pgha-agent", "crm_mon", "crm_resource", "crm_attribute", "cibadmin", "drbdadm", "drbdsetup",
		"stonith_admin", "systemctl", "journalctl", "psql"} {
		if count[name] == 0 {
			t.Errorf("no command of %s is found: is it still written like this?", name)
		}
	}
}

// TestCommandsOfHoldsExist: each hold ends in a command.
func TestCommandsOfHoldsExist(t *testing.T) {
	for _, h := range status.Holds {
		if program(h.Command) == nil || placeholder.MatchString(h.Command+h.Remedy+h.Next) {
			t.Errorf("%s: command %q, remedy %q", h.Is, h.Command, h.Remedy)
		}
		checkCommand(t, h.Is.String(), h.Command)
	}
}

// prose is what a sentence about a program goes on with.
var prose = regexp.MustCompile(`^(crm_mon|drbdsetup|psql|x)? ?(takes|shows|does|says|lists|cannot|answers|has|is|prints)\b|^crm_mon: `)

// TestCommandsOfDocsExist goes over what docs have as code. They name NODE and RESOURCE where it is the reader's.
func TestCommandsOfDocsExist(t *testing.T) {
	pages, err := filepath.Glob("../../docs/*.md")
	if err != nil || len(pages) < 10 {
		t.Fatalf("%d pages, %v", len(pages), err)
	}
	pages = append(pages, "../../README.md", "../../CONTRIBUTING.md")
	found := 0
	for _, page := range pages {
		data, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		fenced := false
		for i, line := range strings.Split(string(data), "\n") {
			where := filepath.Base(page) + ":" + strconv.Itoa(i+1)
			if strings.HasPrefix(strings.TrimSpace(line), "```") {
				fenced = !fenced
				continue
			}
			commands := []string{strings.TrimPrefix(strings.TrimSpace(line), "$ ")}
			if !fenced {
				commands = nil
				for _, m := range quoted.FindAllStringSubmatch(line, -1) {
					commands = append(commands, m[1])
				}
			}
			for _, list := range commands {
				for c := range splitList(list) {
					if words := program(c); len(words) > 1 && !strings.Contains(c, "...") {
						found++
						checkCommand(t, where, c)
					}
				}
			}
		}
	}
	if found < 100 {
		t.Errorf("%d commands, want more", found)
	}
}

// splitList yields the commands of a line that has several.
func splitList(line string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for _, part := range regexp.MustCompile(`;|&&|\|`).Split(line, -1) {
			if !yield(strings.TrimSpace(part)) {
				return
			}
		}
	}
}

// TestCheckCommand: what does not exist is found.
func TestCheckCommand(t *testing.T) {
	for command, exists := range map[string]bool{
		"pgha-agent switchover --rescue":               true,
		"pgha-agent switchover --rescued":              false,
		"pgha-agent publish --once":                    true,
		"pgha-agent move":                              false,
		"pgha-agent resume now":                        false,
		"crm_resource --cleanup --resource x":          true,
		"crm_resource --cleanup --rsc x":               false,
		"sudo -u pgha stonith_admin --history '*'":     true,
		"sudo -u pgha stonith_admin --histories '*'":   false,
		"drbdadm adjust x":                             true,
		"drbdadm rejoin x":                             false,
		"cibadmin --delete --xpath \"//x[@id='--y']\"": true,
	} {
		probe := &testing.T{}
		checkCommand(probe, "probe", command)
		if probe.Failed() == exists {
			t.Errorf("%s: exists %v", command, !exists)
		}
	}
}
