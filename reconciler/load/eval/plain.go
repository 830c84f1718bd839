package eval

import (
	"encoding/json"
	"regexp"
	"strings"
	"unicode/utf8"

	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/build"
	"cuelang.org/go/cue/literal"
	"cuelang.org/go/cue/token"

	"github.com/pomona-gitops/pomona/reconciler/load/wire"
)

// plain holds the JSON of the objects that a unit writes down once and without any expression, by name; of the others
// nil. The schema has no defaults, so once such an object is valid it is what is written, and need not be exported, which
// costs a quarter of an evaluation. Where anything but fields stands beside objects, a pattern or a comprehension for
// instance, which may add to them, it is nil as a whole.
type plain map[objectName][]byte

// objectName names an object of a site.
type objectName struct{ section, name string }

// plainOf reads the files of an instance, those of the folders above included.
func plainOf(inst *build.Instance) plain {
	p := plain{}
	for _, f := range inst.Files {
		for _, d := range f.Decls {
			switch d := d.(type) {
			case *ast.Package, *ast.ImportDecl, *ast.CommentGroup:
			case *ast.Field:
				if !p.section(d) {
					return nil
				}
			default:
				return nil
			}
		}
	}
	return p
}

// section reads one top-level field; false when it is not made of fields.
func (p plain) section(f *ast.Field) bool {
	name, value, ok := plainField(f)
	if !ok {
		return false
	}
	if name == wire.Settings {
		p.object(name, "", value)
		return true
	}
	fields, ok := value.(*ast.StructLit)
	if !ok {
		return false
	}
	for _, d := range fields.Elts {
		f, ok := d.(*ast.Field)
		if !ok {
			if _, comment := d.(*ast.CommentGroup); comment {
				continue
			}
			return false
		}
		object, value, ok := plainField(f)
		if !ok {
			return false
		}
		p.object(name, object, value)
	}
	return true
}

func (p plain) object(section, name string, value ast.Expr) {
	key := objectName{section, name}
	_, twice := p[key]
	p[key] = nil
	if twice {
		return
	}
	if b, ok := appendPlain(nil, value); ok {
		p[key] = b
	}
}

// plainField is the name and value of a regular field.
func plainField(f *ast.Field) (string, ast.Expr, bool) {
	if f.Constraint != token.ILLEGAL || len(f.Attrs) > 0 || f.Alias != nil {
		return "", nil, false
	}
	switch l := f.Label.(type) {
	case *ast.Ident:
		return l.Name, f.Value, !strings.HasPrefix(l.Name, "#") && !strings.HasPrefix(l.Name, "_")
	case *ast.BasicLit:
		if l.Kind == token.STRING {
			s, err := literal.Unquote(l.Value)
			return s, f.Value, err == nil
		}
	}
	return "", nil, false
}

var plainNumber = regexp.MustCompile(`^(0|[1-9][0-9]{0,15})$`)

// appendPlain appends a value as JSON; false when it is an expression.
func appendPlain(b []byte, x ast.Expr) ([]byte, bool) {
	switch x := x.(type) {
	case *ast.BasicLit:
		return appendLiteral(b, x)
	case *ast.StructLit:
		return appendStruct(b, x)
	case *ast.ListLit:
		b = append(b, '[')
		for i, e := range x.Elts {
			if i > 0 {
				b = append(b, ',')
			}
			var ok bool
			if b, ok = appendPlain(b, e); !ok {
				return nil, false
			}
		}
		return append(b, ']'), true
	}
	return nil, false
}

func appendLiteral(b []byte, x *ast.BasicLit) ([]byte, bool) {
	switch x.Kind {
	case token.STRING:
		if !strings.HasPrefix(x.Value, `"`) {
			return nil, false // bytes, or a string with marks of its own
		}
		s, err := literal.Unquote(x.Value)
		if err != nil || !utf8.ValidString(s) {
			return nil, false
		}
		quoted, err := json.Marshal(s)
		return append(b, quoted...), err == nil
	case token.TRUE, token.FALSE:
		return append(b, x.Value...), true
	case token.INT:
		return append(b, x.Value...), plainNumber.MatchString(x.Value)
	}
	return nil, false
}

func appendStruct(b []byte, x *ast.StructLit) ([]byte, bool) {
	seen := make(map[string]bool, len(x.Elts))
	b = append(b, '{')
	for _, d := range x.Elts {
		f, ok := d.(*ast.Field)
		if !ok {
			if _, comment := d.(*ast.CommentGroup); comment {
				continue
			}
			return nil, false
		}
		name, value, ok := plainField(f)
		if !ok || seen[name] {
			return nil, false
		}
		if len(seen) > 0 {
			b = append(b, ',')
		}
		seen[name] = true
		key, err := json.Marshal(name)
		if err != nil {
			return nil, false
		}
		if b, ok = appendPlain(append(append(b, key...), ':'), value); !ok {
			return nil, false
		}
	}
	return append(b, '}'), true
}
