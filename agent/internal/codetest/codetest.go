// Package codetest reads source files for tests that want a closed set to be complete.
package codetest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// code is the form of a code: one word, in lower case.
var code = regexp.MustCompile(`^[a-z][a-z0-9]*(_[a-z0-9]*)*$`)

// Codes lists, sorted, the codes that some functions are called with in Go files, and those in composite literals of
// some types, or assigned to a field Code. A code is the first argument, or element, that is a literal of one word;
// what such a word is added to
// ("source_" + name) is left out.
func Codes(files, funcs, types []string) ([]string, error) {
	var codes []string
	first := func(list []ast.Expr) {
		for _, e := range list {
			if pair, ok := e.(*ast.KeyValueExpr); ok {
				e = pair.Value
			}
			if sum, ok := e.(*ast.BinaryExpr); ok {
				e = sum.X
			}
			if lit, ok := e.(*ast.BasicLit); ok && lit.Kind == token.STRING {
				if word, err := strconv.Unquote(lit.Value); err == nil && code.MatchString(word) {
					codes = append(codes, word)
					return
				}
			}
		}
	}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			return nil, err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.CallExpr:
				if slices.Contains(funcs, lastName(n.Fun)) {
					first(n.Args)
				}
			case *ast.AssignStmt: // x.Code = "word"
				if len(n.Lhs) == 1 && lastName(n.Lhs[0]) == "Code" {
					first(n.Rhs)
				}
			case *ast.CompositeLit:
				if slices.Contains(types, lastName(n.Type)) {
					first(n.Elts)
				}
			}
			return true
		})
	}
	slices.Sort(codes)
	return slices.Compact(codes), nil
}

func lastName(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		return e.Sel.Name
	}
	return ""
}

// placeholder is what a person would have to fill in. SQL has words in capitals, and names of units and states are no
// commands.
var placeholder = regexp.MustCompile(`<[a-z]|\$[A-Za-z{]|%!|\b(NODE|DEVICE|RESOURCE|NAME|ID|IP)\b|  | $|^$`)

// Vague reports a command that is not complete: somebody would have to fill in something, or something is missing.
func Vague(command string) bool { return placeholder.MatchString(command) }

var quoted = regexp.MustCompile("`([^`]+)`")

// Quoted lists what stands between backticks in a text.
func Quoted(text string) (commands []string) {
	for _, m := range quoted.FindAllStringSubmatch(text, -1) {
		commands = append(commands, m[1])
	}
	return commands
}
