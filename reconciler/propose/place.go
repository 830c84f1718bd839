package propose

import (
	"bytes"
	"strings"

	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/token"
)

// place is where a new field goes: before the closing brace of a struct, or at the end of the file.
type place struct {
	offset int
	line   int
	indent string // of the fields there
	end    bool   // of the file
}

// deepest is the place for the rest of a path, and how many of its names the file has spelt out until there.
func deepest(decls []ast.Decl, path []string, file *ast.File, src []byte) (place, int) {
	best, depth := place{offset: len(src), line: 1, end: true}, 0
	var look func(decls []ast.Decl, n int)
	look = func(decls []ast.Decl, n int) {
		for _, s := range structs(decls, path, n) {
			if at, ok := inside(s.lit, src); ok && s.depth > depth {
				best, depth = at, s.depth
			}
			look(s.lit.Elts, s.depth)
		}
	}
	look(decls, 0)
	return best, depth
}

// nested is a struct with the number of names of a path that lead to it.
type nested struct {
	lit   *ast.StructLit
	depth int
}

// structs are those that the fields for the n-th name of a path hold; the last name is new.
func structs(decls []ast.Decl, path []string, n int) (out []nested) {
	if n >= len(path)-1 {
		return nil
	}
	for _, d := range decls {
		if f, ok := d.(*ast.Field); ok && names(f, path[n]) {
			for _, lit := range operands(f.Value) {
				out = append(out, nested{lit, n + 1})
			}
		}
	}
	return out
}

// names says whether a field is a plain one of this name.
func names(f *ast.Field, name string) bool {
	label := f.Label
	if a, ok := label.(*ast.Alias); ok {
		if label, ok = a.Expr.(ast.Label); !ok {
			return false
		}
	}
	got, _, err := ast.LabelName(label)
	if id, ok := label.(*ast.Ident); ok && (strings.HasPrefix(id.Name, "_") || strings.HasPrefix(id.Name, "#")) {
		return false // hidden, or a definition
	}
	return err == nil && got == name && f.Constraint == token.ILLEGAL
}

// operands are the structs that a value is made of, where it is nothing but structs joined with others.
func operands(v ast.Expr) []*ast.StructLit {
	switch v := v.(type) {
	case *ast.StructLit:
		return []*ast.StructLit{v}
	case *ast.ParenExpr:
		return operands(v.X)
	case *ast.BinaryExpr:
		if v.Op == token.AND {
			return append(operands(v.X), operands(v.Y)...)
		}
	}
	return nil
}

// inside is the place before the closing brace of a struct, if that stands alone in its line.
func inside(s *ast.StructLit, src []byte) (place, bool) {
	if !s.Lbrace.IsValid() || !s.Rbrace.IsValid() || s.Lbrace.Line() == s.Rbrace.Line() {
		return place{}, false
	}
	if n := len(s.Elts); n > 0 {
		if _, ok := s.Elts[n-1].(*ast.Ellipsis); ok {
			return place{}, false // nothing follows it
		}
	}
	brace := s.Rbrace.Offset()
	start := bytes.LastIndexByte(src[:brace], '\n') + 1
	before := string(src[start:brace])
	if strings.TrimLeft(before, " \t") != "" {
		return place{}, false
	}
	at := place{offset: start, line: s.Rbrace.Line(), indent: before + "\t"}
	for _, e := range s.Elts {
		if e.Pos().Line() > s.Lbrace.Line() {
			at.indent = indentOf(src, e.Pos().Offset())
			break
		}
	}
	return at, true
}

// insert puts formatted text at the place.
func (at place) insert(src []byte, text string) []byte {
	text = at.indent + indent(strings.TrimSpace(text), at.indent) + "\n"
	if at.end {
		if len(src) > 0 && src[len(src)-1] != '\n' {
			text = "\n" + text
		}
		text = "\n" + text
	}
	return splice(src, at.offset, at.offset, withEnds(text, src))
}

// indentOf is the white space at the beginning of the line of an offset.
func indentOf(src []byte, offset int) string {
	line := src[bytes.LastIndexByte(src[:offset], '\n')+1:]
	return string(line[:len(line)-len(bytes.TrimLeft(line, " \t"))])
}

// indent moves all lines but the first.
func indent(text, by string) string { return strings.ReplaceAll(text, "\n", "\n"+by) }

// withEnds gives text the line ends of src.
func withEnds(text string, src []byte) string {
	if bytes.Contains(src, []byte("\r\n")) {
		return strings.ReplaceAll(text, "\n", "\r\n")
	}
	return text
}

// find is the field that spells a whole path out.
func find(decls []ast.Decl, path []string) *ast.Field {
	for _, d := range decls {
		f, ok := d.(*ast.Field)
		if !ok || !names(f, path[0]) {
			continue
		}
		if len(path) == 1 {
			return f
		}
		for _, lit := range operands(f.Value) {
			if found := find(lit.Elts, path[1:]); found != nil {
				return found
			}
		}
	}
	return nil
}
