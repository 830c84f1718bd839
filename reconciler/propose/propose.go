// Package propose edits the CUE source of a site: it adds what was asked for, and leaves every other byte as it is. It knows
// syntax only; whoever calls it evaluates the result and sees that nothing else has changed.
package propose

import (
	"bytes"
	"fmt"
	"strings"

	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/format"
	"cuelang.org/go/cue/literal"
	"cuelang.org/go/cue/parser"
	"cuelang.org/go/cue/token"

	"github.com/pomona-gitops/pomona/reconciler/desired"
)

// File is one file of a site.
type File struct {
	Path    string
	Content []byte
}

// ByHand is what a person must do where no program can tell what was meant.
func ByHand(file string, line, column int, path, why, write string) desired.Problems {
	return desired.Problems{{
		File: file, Line: line, Column: column, Path: path, Text: why, Advice: "write by hand: " + inOneLine(write),
	}}
}

// inOneLine is CUE text that ends no line.
func inOneLine(text string) string {
	var b strings.Builder
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		b.WriteString(strings.TrimSpace(line))
		if i+1 < len(lines) && !strings.HasSuffix(line, "{") && !strings.HasPrefix(strings.TrimSpace(lines[i+1]), "}") {
			b.WriteString(", ")
		}
	}
	return b.String()
}

// Declare adds a field with a value, which is CUE text, below the deepest struct of f that spells the path out. f is known
// to contribute to the path; problems say what is to be written by hand.
func Declare(f File, path []string, value string) (File, error) {
	parsed, err := parse(f)
	if err != nil {
		return f, err
	}
	if name := parsed.PackageName(); name != "site" {
		return f, ByHand(f.Path, 1, 1, cuePath(path), fmt.Sprintf("comes from package %q", name), declaration(path, value))
	}
	at, depth := deepest(parsed.Decls, path, parsed, f.Content)
	text, err := format.Source([]byte(declaration(path[depth:], value)))
	if err != nil {
		return f, fmt.Errorf("format %s: %w", cuePath(path), err)
	}
	edited := at.insert(f.Content, string(text))
	if _, err := parse(File{f.Path, edited}); err != nil {
		return f, ByHand(f.Path, at.line, 1, cuePath(path), "this file cannot be edited by a program", declaration(path, value))
	}
	return File{f.Path, edited}, nil
}

// Replace gives a field that f spells out another value.
func Replace(f File, path []string, value string) (File, error) {
	parsed, err := parse(f)
	if err != nil {
		return f, err
	}
	field := find(parsed.Decls, path)
	if field == nil {
		return f, ByHand(f.Path, 1, 1, cuePath(path), "comes from a template or a comprehension, which must no longer make it", declaration(path, value))
	}
	start, end := field.Value.Pos().Offset(), field.Value.End().Offset()
	text, err := format.Source([]byte(value))
	if err != nil {
		return f, fmt.Errorf("format %s: %w", cuePath(path), err)
	}
	indented := indent(strings.TrimSpace(string(text)), indentOf(f.Content, field.Pos().Offset()))
	edited := splice(f.Content, start, end, withEnds(indented, f.Content))
	return File{f.Path, edited}, nil
}

// Restate replaces one text, found by its place, which is all that decides: a value may be used by many.
func Restate(f File, line, column int, path, from, to string) (File, error) {
	parsed, err := parse(f)
	if err != nil {
		return f, err
	}
	lit := literalAt(parsed, line, column, from)
	if lit == nil {
		return f, ByHand(f.Path, line, column, path, "what stands here is no plain text", fmt.Sprintf("%q in place of %q", to, from))
	}
	start := lit.Pos().Offset()
	return File{f.Path, splice(f.Content, start, start+len(lit.Value), quote(to))}, nil
}

// IsDefault says whether the text at a place is a default, which a field may replace wherever it is used.
func IsDefault(f File, line, column int, value string) bool {
	parsed, err := parse(f)
	if err != nil {
		return false
	}
	lit, found := literalAt(parsed, line, column, value), false
	ast.Walk(parsed, func(n ast.Node) bool {
		if u, ok := n.(*ast.UnaryExpr); ok && u.Op == token.MUL && lit != nil && u.X == ast.Expr(lit) {
			found = true
		}
		return true
	}, nil)
	return found
}

// Text is a text as CUE writes it.
func Text(s string) string { return quote(s) }

// ReleaseText is a release as CUE text.
func ReleaseText(r desired.Release) string {
	var b strings.Builder
	b.WriteString("{\n")
	for _, f := range []struct{ name, value string }{{"channel", r.Channel}, {"released", r.Released}, {"notes", r.Notes}} {
		if f.value != "" {
			fmt.Fprintf(&b, "%s: %s\n", f.name, quote(f.value))
		}
	}
	for platform, p := range r.Payload { // one; see Declare for more
		fmt.Fprintf(&b, "payload: %s: %s\n", label(platform), PayloadText(p))
	}
	b.WriteString("}")
	return b.String()
}

// PayloadText is a payload in the blob store as CUE text.
func PayloadText(p desired.Payload) string {
	var b strings.Builder
	fmt.Fprintf(&b, "{\nblob: sha256: %s\ninstall: %s\n", quote(p.Blob.SHA256), quote(p.Install))
	if p.Format != "" {
		fmt.Fprintf(&b, "format: %s\n", quote(string(p.Format)))
	}
	b.WriteString("}")
	return b.String()
}

func parse(f File) (*ast.File, error) {
	parsed, err := parser.ParseFile(f.Path, f.Content, parser.ParseComments)
	if err != nil {
		return nil, fmt.Errorf("parse %q: %w", f.Path, err)
	}
	return parsed, nil
}

func declaration(path []string, value string) string {
	var b strings.Builder
	for _, name := range path {
		b.WriteString(label(name) + ": ")
	}
	return b.String() + value
}

func label(name string) string {
	if ast.StringLabelNeedsQuoting(name) {
		return quote(name)
	}
	return name
}

func quote(s string) string { return literal.String.Quote(s) }

func cuePath(path []string) string {
	parts := make([]any, len(path))
	for i, p := range path {
		parts[i] = p
	}
	return desired.CUEPath(parts...)
}

// literalAt is the text that begins at a place or whose label does, or the only one with that value in the line.
func literalAt(f *ast.File, line, column int, value string) (found *ast.BasicLit) {
	var inLine []*ast.BasicLit
	at := func(p token.Pos) bool { return p.Line() == line && p.Column() == column }
	ast.Walk(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.Field:
			if lit, ok := n.Value.(*ast.BasicLit); ok && at(n.Label.Pos()) && says(lit, value) {
				found = lit
			}
		case *ast.BasicLit:
			if !says(n, value) {
				break
			}
			if at(n.Pos()) {
				found = n
			}
			if n.Pos().Line() == line {
				inLine = append(inLine, n)
			}
		}
		return true
	}, nil)
	if found == nil && len(inLine) == 1 {
		return inLine[0]
	}
	return found
}

// says says whether a literal is a text of this value.
func says(lit *ast.BasicLit, value string) bool {
	if lit.Kind != token.STRING {
		return false
	}
	s, err := literal.Unquote(lit.Value)
	return err == nil && s == value
}

func splice(b []byte, start, end int, text string) []byte {
	return bytes.Join([][]byte{b[:start], b[end:]}, []byte(text))
}
